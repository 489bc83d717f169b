"""Every text of every page of a traced unit is legible and overlaps nothing."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.patches import PathPatch
from matplotlib.text import Text
from page_checks import check_page
from traced_units import UNITS, broken_unit, make_unit

from kernelviz.drawing.figures import RasterArtist
from kernelviz.explain.unit_pages import plot_kernel_and_map, plot_unit


@pytest.mark.sampled
@pytest.mark.parametrize("name", UNITS)
def test_the_texts_of_every_unit_do_not_overlap(name):
    """The page of one value leaves its texts legible, apart, in their cells and on the page."""
    check_page(plot_unit(UNITS[name]()))


@pytest.mark.sampled
@pytest.mark.parametrize("name", UNITS)
def test_the_texts_of_every_kernel_and_map_do_not_overlap(name):
    """The page of a kernel and its map leaves its texts legible, apart, in their cells and on the page."""
    check_page(plot_kernel_and_map(UNITS[name]()))


@pytest.mark.parametrize("channels", [1, 3, 30])
@pytest.mark.parametrize("plot", [plot_unit, plot_kernel_and_map])
def test_values_that_are_not_finite_do_not_overlap(plot, channels):
    """Not a number, infinities: a page, and the count in its caption."""
    figure = plot(broken_unit(channels))
    check_page(figure)
    assert figure.recipe["nonfinite"] == 4
    said = [text.get_text() for text in figure.findobj(Text)]
    assert any("1 of 784 values of the map" in text or "4 of 784 values of the map" in text for text in said)


@pytest.mark.parametrize("plot", [plot_unit, plot_kernel_and_map])
@pytest.mark.parametrize("channels", [1, 3, 30])
@pytest.mark.parametrize("value", [0.0, -0.0625, np.nan])
def test_a_map_of_one_value_has_no_bar_that_is_made_up(plot, channels, value):
    """A kernel of zeros makes a map of zeros or of the bias, one of NaN a map of NaN: no end of a bar is invented."""
    unit = make_unit(channels, bias=value or None)
    kernel = np.full_like(unit.kernel, value if np.isnan(value) else 0.0)
    figure = plot(replace(unit, kernel=kernel, map=np.full_like(unit.map, value), value=value))
    check_page(figure)
    said = [text.get_text() for text in figure.findobj(Text)]
    assert figure.recipe["limits"] == ([-0.0625, 0.0] if value < 0 else None) or value < 0
    assert not {"1.00", "−1.00", "≥ 1.00"} & set(said) or value < 0
    assert not any("nan" in text or "0.0000" in text for text in said)
    shown = {0.0: "every value is 0", -0.0625: "every value is −0.062500"}.get(
        value, "values of the map are not finite"
    )
    assert any(shown in text for text in said)


def test_digits_and_signs_leave_the_frames_alone():
    """The photograph's three channels: numbers keep four pixels from their frames, signs four from the matrices."""
    figure = plot_unit(make_unit(image=True, size=(112, 112), at=(15, 60, 70)))
    FigureCanvasAgg(figure).draw()
    renderer = figure.canvas.get_renderer()
    frames = [patch.get_path().get_extents(patch.get_transform()) for patch in figure.findobj(PathPatch)]
    frames = [each for each in frames if 200 < each.width < 240 and abs(each.width - each.height) < 2]
    texts = [text for text in figure.findobj(Text) if re.fullmatch(r"−?\d\.\d\d|[×=]", text.get_text())]
    assert len(frames) >= 9
    assert len(texts) >= 81 + 6
    for text in texts:
        box = text.get_window_extent(renderer)
        near = 4
        for each in frames:
            if box.y0 < each.y1 and box.y1 > each.y0:
                assert not (box.x0 - near < each.x0 < box.x1 + near)
                assert not (box.x0 - near < each.x1 < box.x1 + near)


@pytest.mark.parametrize("name", ["rows", "a row", "a row of one", "short rows", "columns", "a long row"])
def test_maps_of_one_row_are_bands(name):
    """Every picture is at least 12 pixels thick, every bar 100 long, and one row is called a row."""
    figure = plot_unit(UNITS[name]())
    check_page(figure)
    boxes = [each.get_window_extent() for each in figure.findobj(RasterArtist)]
    assert min(min(box.width, box.height) for box in boxes) >= 12
    bars = [raster.get_window_extent() for raster in figure.findobj(RasterArtist) if raster.pixels.shape[1] == 201]
    assert bars
    assert min(box.width for box in bars) >= 100
    said = [text.get_text() for text in figure.findobj(Text)]
    assert not any(re.search(r"rows 0–0|columns 0–0", text) for text in said)

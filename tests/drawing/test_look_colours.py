"""Looks: what is read stays legible, what is told apart stays apart, and no size of a value is lost."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.text import Text as DrawnText
from page_kinds import KINDS, make_maps, make_weight, odd_weight
from PIL import Image
from traced_units import make_unit

import kernelviz as kv
from kernelviz.drawing.colour import (
    BROKEN,
    CHEQUER_DARK,
    CHEQUER_LIGHT,
    DARK_MARK,
    DEAD,
    LEVELS,
    NOT_FINITE,
    PAPER,
    WHITE_RED,
    ZERO_LEVEL,
    Indexed,
    Overlaid,
    Ramp,
    TintRamp,
    palette_in,
    pixels_in,
    textured_pixels,
)
from kernelviz.drawing.figures import draw_page, figure_pixels, figure_vector
from kernelviz.drawing.looks import LOOKS
from kernelviz.drawing.mosaic import make_mosaic, make_singles
from kernelviz.drawing.page import Panel, Raster, Text
from kernelviz.drawing.sheets import make_sheet
from kernelviz.drawing.worksheets import Tint

ROOT = Path(kv.__file__).parent
DARK, PRINT = LOOKS["dark"], LOOKS["print"]
TEXTS = ("ink", "grey", "quiet", "dark", "dim", "faint", "series")
LINES = ("bar", "family: standard", "family: grouped", "family: pointwise 1 × 1", "family: depthwise", "positive",
         "median: standard", "median: grouped", "median: pointwise 1 × 1", "median: depthwise",
         "negative", "named", "border", "dash", "span", "dead", "unnamed edge", "red", "green", "blue")  # fmt: skip


def luminance(colours):
    """The relative luminance of colours (…, 3), 0 to 255, by WCAG 2."""
    share = np.asarray(colours, float) / 255
    return np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4) @ (0.2126, 0.7152, 0.0722)


def contrast(one, other):
    """The contrast of two colours by WCAG 2."""
    low, high = np.sort(np.stack(np.broadcast_arrays(luminance(one), luminance(other))), axis=0)
    return (high + 0.05) / (low + 0.05)


def rgb(colour):
    """The parts of a hexadecimal colour."""
    return [int(colour[at : at + 2], 16) for at in (1, 3, 5)]


@pytest.mark.parametrize(("look", "texts", "lines"), [(DARK, 7, 3), (PRINT, 5, 3)], ids=["dark", "print"])
def test_texts_lines_and_bars_are_legible_on_the_ground(look, texts, lines):
    """Texts have a contrast of 7 on a dark page, lines and bars of 3; in print all but what is pale on purpose."""
    roles, ground = look.roles, rgb(look.ground)
    assert {role: value for role in TEXTS if (value := contrast(rgb(roles[role]), ground)) < texts} == {}
    pale = {"span", "negative", "blue", "green"} if look is PRINT else set()
    assert {role for role in LINES if contrast(rgb(roles[role]), ground) < lines} <= pale
    for ink, area in (("badge ink", "badge"), ("on named", "named"), ("on dark", "dark"), ("ink", "undrawn"),
                      ("ink", "unnamed")):  # fmt: skip
        assert contrast(rgb(roles[ink]), rgb(roles[area])) >= 7, ink


def test_every_look_colours_every_role_and_print_has_no_colour():
    """A role that one look lacks could not be drawn in it."""
    roles = {name: look.roles for name, look in LOOKS.items()}
    assert len({frozenset(each) for each in roles.values()}) == 1
    assert all(len(set(rgb(colour))) == 1 for role, colour in roles["print"].items())


@pytest.mark.parametrize(("look", "least"), [("page", 8), ("slide", 8), ("dark", 7), ("print", 7)])
def test_digits_are_legible_on_every_level_that_carries_them(look, least):
    """Cells with digits use the part of the palette on which these have a contrast of at least 7."""
    table = palette_in(LOOKS[look], TintRamp(pale=True, digits=True))
    digits = rgb(LOOKS[look].roles["dark"])
    assert contrast(table[:LEVELS], digits).min() >= least
    assert contrast(table[BROKEN], digits) >= least


@pytest.mark.parametrize("palette", [Ramp(None, signed=True), TintRamp(pale=False)], ids=str)
def test_size_is_lightness_on_a_dark_page(palette):
    """From zero to both ends every level is at least as light as the one before, and the ends are equally light."""
    light = luminance(palette_in(DARK, palette)[:LEVELS])
    up, down = light[ZERO_LEVEL:], light[ZERO_LEVEL::-1]
    assert (np.diff(up) >= 0).all()
    assert (np.diff(down) >= 0).all()
    assert up[-1] == pytest.approx(0.62, abs=0.01)
    assert down[-1] == pytest.approx(0.64, abs=0.01)
    one_sided = palette_in(DARK, Ramp(WHITE_RED, signed=False))
    assert one_sided[0].tolist() == palette_in(DARK, palette)[ZERO_LEVEL].tolist() == [0x20, 0x24, 0x2B]
    assert one_sided[LEVELS - 1].tolist() == [0xFF, 0xC0, 0xA8]


@pytest.mark.parametrize("name", LOOKS)
@pytest.mark.parametrize(
    "palette", [Ramp(None, signed=True), Ramp(None, signed=False), Ramp(WHITE_RED, signed=False)], ids=str
)
def test_marks_are_visible(name, palette):
    """Zero, dead, not finite and the diagonals over them stay apart in every look."""
    table = palette_in(LOOKS[name], palette).astype(int)
    zero = table[ZERO_LEVEL if palette.signed else 0]
    mark = table[DARK_MARK if luminance(palette_in(LOOKS["page"], palette)[ZERO_LEVEL if palette.signed else 0]) > 0.3
                 else DARK_MARK + 1]  # fmt: skip
    assert contrast(mark, zero) >= 3
    assert contrast(table[DARK_MARK + 1], table[DEAD]) >= 3
    assert contrast(table[NOT_FINITE], table[PAPER]) >= 3
    assert contrast(table[CHEQUER_DARK], table[CHEQUER_LIGHT]) >= 3


def levels_of(value, size=(90, 90)):
    """An area of one value of a signed map."""
    return Indexed(np.full(size, ZERO_LEVEL + round(ZERO_LEVEL * value), np.uint8), Ramp(None, signed=True))


@pytest.mark.parametrize("scale", [1, 2, 3])
@pytest.mark.parametrize("share", [0.02, 0.1, 0.25, 0.5, 0.75, 1.0])
def test_stripes_have_the_mean_grey_of_the_same_positive_value(share, scale):
    """Positive values are solid, 255 − 180 · share, negative ones striped, with the same mean grey."""
    size = (90 * scale, 90 * scale)
    solid = textured_pixels(PRINT, levels_of(share), size, (3, 5), scale)
    striped = textured_pixels(PRINT, levels_of(-share), size, (3, 5), scale)
    assert np.unique(solid).tolist() == [round(255 - 180 * share)]
    assert striped.mean() == pytest.approx(255 - 180 * share, abs=1)
    assert striped.std() > 1
    period = 9 * scale
    assert np.array_equal(striped[period:], striped[:-period])
    assert np.array_equal(striped[1:, :-1], striped[:-1, 1:])  # at 45°, upwards to the right


def test_stripes_go_on_in_the_next_cell_and_in_the_next_raster():
    """They have one pattern for the picture, so that a negative lobe is one surface; below 2 % there are none."""
    whole = textured_pixels(PRINT, levels_of(-0.5, (60, 60)), (60, 60), (7, 11), 1)
    cells = levels_of(-0.5, (3, 3))
    assert np.array_equal(textured_pixels(PRINT, cells, (60, 60), (7, 11), 1), whole)
    part = textured_pixels(PRINT, levels_of(-0.5, (20, 20)), (20, 20), (27, 41), 1)
    assert np.array_equal(part, whole[20:40, 30:50])
    assert (textured_pixels(PRINT, levels_of(-0.01), (90, 90), (0, 0), 1) == 255).all()


@pytest.mark.parametrize("zoom", [5, 8, 11])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_small_negative_cell_has_a_minus(zoom, share):
    """Stripes do not fit: the cell has a horizontal bar in its middle, and the same mean grey."""
    cells = np.repeat(np.arange(6), zoom), np.repeat(np.arange(6), zoom)
    content = Indexed(levels_of(-share, (6 * zoom, 6 * zoom)).index, Ramp(None, signed=True), cells)
    drawn = textured_pixels(PRINT, content, content.shape, (2, 1), 1)[..., 0].astype(float)
    cell = drawn[:zoom, :zoom]
    assert np.array_equal(drawn, np.tile(cell, (6, 6)))
    assert cell.mean() == pytest.approx(255 - 180 * share, abs=2)
    assert np.array_equal(cell, cell[:, ::-1])
    assert (cell[0] == cell[0, 0]).all()
    assert abs(cell[zoom // 2, zoom // 2] - cell[0, 0]) > 20
    assert cell[zoom // 2, 0] == cell[0, 0]


def test_a_map_over_a_photograph_darkens_it_in_print():
    """The photograph is light, the map darkens it, and negative values are striped with the same mean."""
    ground = np.full((90, 90), 160.0)
    clear, solid, striped = (
        textured_pixels(PRINT, Overlaid(ground, np.full((90, 90), share)), (90, 90), (0, 0), 1)
        for share in (0, 0.6, -0.6)
    )
    assert clear.min() > 200
    assert solid.mean() < clear.mean() - 60
    assert solid.std() == clear.std() == 0
    assert striped.mean() == pytest.approx(solid.mean(), abs=2)
    assert striped.std() > 20


@pytest.mark.parametrize("cmap", ["viridis", "gray"])
def test_a_requested_colour_map_of_one_direction_stays_in_grey(cmap):
    """Print replaces a colour map only if greys would lose the sign or the size."""
    table = palette_in(PRINT, Ramp(cmap, signed=True))[:LEVELS].astype(int)
    assert (np.diff(table[:, 0]) >= 0).all()
    dark, page = (palette_in(look, Ramp(cmap, signed=True))[:LEVELS] for look in (DARK, LOOKS["page"]))
    assert np.array_equal(dark, page)
    both = palette_in(PRINT, Ramp("RdBu_r", signed=True))[:LEVELS]
    assert np.array_equal(both, both[::-1])


@pytest.mark.sampled
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_page_is_drawn_in_the_dark_and_for_print(kind):
    """The corners have the ground, the dark page no white paper, print no colour."""
    page = KINDS[kind]()
    dark, grey = (figure_pixels(draw_page(page, None, LOOKS[look])) for look in ("dark", "print"))
    assert [dark[at].tolist() for at in ((0, 0), (-1, -1), (0, -1))] == [rgb(DARK.ground)] * 3
    assert dark.shape[:2] == (page.height, page.width)
    assert np.mean((dark > 250).all(axis=2)) < 0.02
    assert (grey == grey[..., :1]).all()


def test_print_states_what_its_textures_and_greys_mean():
    """Stripes, the minus of small cells, darkness, and colours that became grey are in the caption."""

    def lines(kind, look="print"):
        page = KINDS[kind]()
        known = {item.text for item in page.items if isinstance(item, Text)}
        texts = [text.get_text() for text in draw_page(page, None, LOOKS[look]).findobj(DrawnText)]
        return " ".join(text for text in texts if text and text not in known)

    assert (
        lines("kernels sum") == "Solid: positive · striped: negative, from 2 % of full colour · the darker, the larger"
    )
    assert "or with a minus in small cells" in lines("small cells")
    assert lines("kernels norm") == "The darker, the larger"
    assert lines("step") == "The darker, the larger"
    assert lines("kernels rgb").startswith("Colours in grey")
    assert lines("overview").endswith("Photographs in grey")
    assert lines("viridis") == lines("growth") == ""
    assert lines("kernels sum", "dark") == ""
    assert "white frame" in lines("marks", "dark")
    figure = kv.plot_kernels(make_weight(), view="sum", look="print", caption=False)
    assert figure.recipe["left_out"][-1].startswith("Solid: positive")


def test_equal_numbers_have_equal_pixels_within_a_look():
    """One palette for input, kernel and output of a page, in each look."""
    tint = Tint(4.0, 1.0)
    for look in LOOKS.values():
        one = pixels_in(look, tint.indexed(np.array([[2.0, -1.0]]), digits=True))
        other = pixels_in(look, tint.indexed(np.array([[-1.0, 4.0, 2.0]]), digits=True))
        assert one[0, 0].tolist() == other[0, 2].tolist()
        assert one[0, 1].tolist() == other[0, 0].tolist()


def test_no_colour_is_written_anywhere_else():
    """Hexadecimal colours and triples of colours are in two files, one for roles and one for values."""
    pattern = re.compile(r'"#[0-9a-fA-F]{6}"|\(\s*0x[0-9A-Fa-f]{2}\s*,|color="(?!none)[a-z]+"|[=(,]\s*"white"(?!:)')
    found = {
        path.name: lines
        for path in ROOT.rglob("*.py")
        if path.parent.name in {"drawing", "explain", "filters", "views"} and path.name not in {"looks.py", "colour.py"}
        and (lines := [line for line in path.read_text(encoding="utf-8").splitlines() if pattern.search(line)])
    }  # fmt: skip
    assert set(found) <= {"figures.py"}
    assert all('color="black"' in line for line in found.get("figures.py", []))  # the mask of a text


def test_bare_tiles_and_single_maps_have_the_colours_of_a_look():
    """The dark palette, and in print the stripes themselves, as greys; the recipe states the look."""
    sheet = make_sheet(make_weight(), view="sum", style="bare")
    page, dark, grey = (make_mosaic(sheet, look=look) for look in ("page", "dark", "print"))
    assert page.recipe == sheet.recipe
    assert (dark.recipe["look"], grey.recipe["look"]) == ("dark", "print")
    assert np.array_equal(dark.pixels, page.pixels)
    assert np.array_equal(dark.palette, palette_in(DARK, Ramp(None, signed=True)))
    assert len(grey.palette) == 256
    assert grey.rgb.shape == page.rgb.shape
    rgb_tiles = make_mosaic(make_sheet(make_weight(), style="bare"), look="dark")
    assert rgb_tiles.rgb[1, 1].tolist() != [255, 255, 255]
    singles = make_singles(make_maps((2, 6, 6)), zoom=14, look="print")
    pixels, palette = singles.drawn(slice(0, 2))
    assert pixels.shape == (2, 84, 84)
    negative = np.repeat(np.repeat(singles.levels[0] < 60, 14, 0), 14, 1)
    assert len(np.unique(palette[pixels[0]][negative])) > 3


def test_an_axes_takes_the_colours_of_a_look_and_keeps_its_ground():
    """Texts, lines and tiles are those of the look; sizes and captions are those of a page."""
    figure = Figure((5, 4), facecolor="#123456")
    kv.plot_kernels(odd_weight(), ax=figure.add_subplot(), look="dark")
    pixels = figure_pixels(figure)
    assert pixels[0, 0].tolist() == [0x12, 0x34, 0x56]
    with pytest.raises(kv.KernelvizError, match="Axes"):
        kv.plot_kernels(odd_weight(), ax=figure.add_subplot(), look="slide")


def test_negative_cells_of_an_svg_for_print_are_filled_with_stripes():
    """One rectangle per negative cell, whose pattern covers as much of it as makes the mean grey of the picture."""
    values = np.array([[1.0, -1.0], [-0.5, 0.0]])
    tint = Tint(1.0)
    raster = Raster(tint.indexed(np.kron(values, np.ones((40, 40)))), 0, 0, 80, 80)
    cells = np.repeat(np.arange(2), 40)
    content = replace(raster.content, cells=(cells, cells))
    page = Panel((replace(raster, content=content), Text(0, 99, "a title", 12)), 80, 100)
    text = figure_vector(draw_page(page, None, PRINT), "svg", {"Date": None}).decode()
    fills = re.findall(r'<rect [^>]*fill="url\(#stripes-(\d+)\)"', text)
    assert len(fills) == 2
    greys = [int(pixels_in(PRINT, tint.indexed(np.array([[value]])))[0, 0, 0]) for value in (-1.0, -0.5)]
    covered = [255 - 200 * int(share) / 1000 for share in fills]
    assert np.allclose(covered, greys, atol=1)
    assert text.count("<pattern") == 2


def test_bars_of_negative_sums_are_striped_in_print():
    """Positive ones are filled; the stripes have an outline."""
    figure = kv.plot_unit(make_unit(40), look="print")
    hatched = [patch for patch in figure.findobj(PathPatch) if patch.get_hatch()]
    page = kv.plot_unit(make_unit(40))
    colour = LOOKS["page"].roles["negative"]
    negative = [patch for patch in page.findobj(PathPatch) if to_hex(patch.get_facecolor()) == colour]
    assert len(hatched) == len(negative) > 0
    assert all(patch.get_linewidth() > 0 for patch in hatched)


def test_print_draws_colours_as_planes():
    """Kernels as rgb have three planes, components three pictures, and the overlay states how its photograph is drawn."""
    rgb = kv.plot_kernels(make_weight(), view="rgb", look="print")
    pca = kv.plot_features(make_maps((5, 8, 8)), reduce="pca", look="print")
    assert rgb.recipe["palette"] == pca.recipe["palette"] == "planes"
    assert {"L", "Y−B", "R−G"} <= {text.get_text() for text in rgb.findobj(DrawnText)}
    assert {"component 1", "component 2", "component 3"} <= {text.get_text() for text in pca.findobj(DrawnText)}
    assert "palette" not in kv.plot_kernels(make_weight(), view="sum", look="print").recipe
    over = kv.plot_overlay(
        np.arange(4.0).reshape(1, 2, 2), image=np.full((8, 8, 3), (9, 99, 9), np.uint8), look="print"
    )
    assert "Photographs in grey, below the map lightened" in [text.get_text() for text in over.findobj(DrawnText)]


@pytest.mark.parametrize(("look", "kind"), [("dark", "kernels sum"), ("print", "small cells")])
def test_vector_files_have_ground_and_textures(look, kind):
    """The page of an SVG has the ground; its tiles are those of the picture, with textures those of one at 300 dpi."""
    page = KINDS[kind]()
    figure = draw_page(page, None, LOOKS[look])
    text = figure_vector(figure, "svg", {"Date": None}).decode()
    assert f"fill: {LOOKS[look].ground}" in text
    assert ("pixelated" in text) == (look == "dark")  # which makes dashes of thin stripes
    assert figure_vector(figure, "pdf", {"CreationDate": None}).startswith(b"%PDF")
    images = [np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"))
              for data in re.findall(r'base64,([^"]*)"', text)]  # fmt: skip
    largest = max(images, key=lambda image: image.size)
    times = 3 if LOOKS[look].textured else 1
    figure.set_dpi(100 * times)
    drawn_page = figure_pixels(figure)
    rows, columns = largest.shape[:2]
    raster = max((item for item in page.items if hasattr(item, "content")), key=lambda item: item.width * item.height)
    top, left = round(raster.top) * times, round(raster.left) * times
    shown = drawn_page[top : top + rows, left : left + columns]
    assert any(np.array_equal(shown, each) for each in (largest, largest[::-1]))

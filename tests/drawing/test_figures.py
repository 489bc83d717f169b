import base64
import io
import random
import re
import subprocess
import sys

import matplotlib as mpl
import matplotlib.style
import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.text import Text
from PIL import Image

from kernelviz.drawing.figures import DPI, PageFigure, RasterArtist
from kernelviz.drawing.mosaic import make_mosaic
from kernelviz.drawing.sheet_page import draw_sheet, plot_features, plot_kernels
from kernelviz.drawing.sheets import make_sheet
from kernelviz.errors import UsageError
from kernelviz.records import as_maps

HOSTILE = {
    "text.usetex": True,
    "font.size": 40,
    "font.family": "serif",
    "axes.facecolor": "red",
    "axes.titlecolor": "red",
    "text.color": "red",
    "text.antialiased": False,
    "lines.linestyle": ":",
    "lines.marker": "o",
    "lines.antialiased": False,
    "figure.facecolor": "black",
    "figure.edgecolor": "black",
    "figure.dpi": 37,
    "figure.frameon": True,
    "figure.autolayout": True,
    "figure.constrained_layout.use": True,
    "figure.figsize": (1, 1),
    "image.origin": "lower",
    "image.interpolation": "bicubic",
    "axes.grid": True,
    "axes.axisbelow": False,
    "path.sketch": (3, 3, 3),
    "path.effects": [withStroke(linewidth=4, foreground="red")],
    "axes.xmargin": 0.3,
}


def weight(shape=(12, 3, 3, 3)):
    """A seeded weight."""
    return np.random.default_rng(0).standard_normal(shape)


def rendered(figure):
    """The figure's pixels, (H, W, 3)."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def mosaic_artist(figure):
    """The raster that holds the tiles: the largest."""
    return max(figure.findobj(RasterArtist), key=lambda artist: artist.pixels.size)


def test_a_figure_comes_without_pyplot():
    """Drawing any weight gives a Figure of exactly its page and never imports pyplot."""
    code = (
        "import sys, numpy as np, kernelviz, matplotlib.figure\n"
        "figure = kernelviz.plot_kernels(np.arange(24.0).reshape(2, 3, 2, 2))\n"
        "figure._repr_png_()\n"
        "print(isinstance(figure, matplotlib.figure.Figure), sorted({'matplotlib.pyplot', 'torch'} & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert (out.stdout, out.stderr) == ("True []\n", "")


@pytest.mark.parametrize("given", [weight(), torch.from_numpy(weight()), torch.nn.Conv2d(3, 4, 3).weight], ids=type)
def test_arrays_tensors_and_parameters_are_drawn(given):
    """Any weight is drawn as one figure that holds its mosaic, and the caller's values stay as they were."""
    before = given.detach().numpy().copy() if hasattr(given, "detach") else given.copy()
    figure = plot_kernels(given)
    assert isinstance(figure, PageFigure)
    assert np.array_equal(mosaic_artist(figure).pixels, make_mosaic(make_sheet(given)).rgb)
    assert np.array_equal(given.detach().numpy() if hasattr(given, "detach") else given, before)


def test_a_transposed_weight_is_drawn_by_output_channel():
    """``transposed`` draws the weight of a transposed convolution like its turned one."""
    given = weight((3, 12, 3, 3))
    found, expected = plot_kernels(given, transposed=True), plot_kernels(given.swapaxes(0, 1))
    assert np.array_equal(mosaic_artist(found).pixels, mosaic_artist(expected).pixels)


def test_choices_reach_the_sheet():
    """Every choice of a plot is that of its sheet."""
    choice = {"view": "norm", "channels": "0-7", "top": 5, "sort": "max", "scale": "tile", "cmap": "viridis"}
    choice |= {"columns": 2, "zoom": 9}
    recipe = plot_kernels(weight(), **choice).recipe
    assert recipe == make_sheet(weight(), **choice).recipe
    assert (recipe["view"], recipe["tiles_a_row"], recipe["zoom"], recipe["shown"]) == ("norm", 2, 9, 5)


def test_a_wrong_choice_leaves_the_axes_alone():
    """What cannot be drawn is refused before the caller's Axes is touched."""
    ax = Figure().add_subplot()
    children = ax.get_children()
    with pytest.raises(UsageError):
        plot_kernels(weight(), ax=ax, view="nosuch")
    assert ax.get_children() == children


DRAWN = {"kernels": (plot_kernels, (12, 3, 3, 3)), "maps": (plot_features, (12, 9, 13))}


@pytest.mark.parametrize(("plot", "shape"), DRAWN.values(), ids=DRAWN)
def test_an_axes_of_the_caller_gets_tiles_and_bar_only(plot, shape):
    """With ``ax`` that Axes is returned with the tiles in it; its title, its artists and other Axes are unchanged."""
    figure = Figure(figsize=(8, 4))
    ax, other = figure.subplots(1, 2)
    other.plot([0, 1], [2, 5])
    ax.set_title("mine")
    line = ax.axvline(3)
    position, limits, children = ax.get_position().frozen(), other.axis(), other.get_children()
    assert plot(weight(shape), ax=ax) is ax
    FigureCanvasAgg(figure).draw()
    assert figure.axes == [ax, other]
    assert (ax.get_title(), line.axes) == ("mine", ax)
    assert line in ax.lines
    assert (other.axis(), other.get_children()) == (limits, children)
    assert ax.get_position(original=True).bounds == position.bounds
    raster = max(ax.findobj(RasterArtist), key=lambda artist: artist.pixels.size)
    values = as_maps(weight(shape)) if plot is plot_features else weight(shape)
    mosaics = [make_mosaic(make_sheet(values, zoom=zoom)).rgb for zoom in range(1, 60)]
    assert any(np.array_equal(raster.pixels, mosaic) for mosaic in mosaics)
    box, room = raster.get_window_extent(), ax.get_window_extent()
    assert room.padded(1).containsx(box.x0)
    assert room.padded(1).containsy(box.y1)
    assert box.width / box.height == pytest.approx(raster.pixels.shape[1] / raster.pixels.shape[0])


@pytest.mark.parametrize(
    "shape", [(12, 3, 3, 3), (40, 12, 1, 1), (20, 1, 3, 3), (12, 9, 13), (64, 56, 56), (300, 7, 7), (1, 1, 1)], ids=str
)
def test_the_texts_of_an_axes_stay_inside_it_and_apart(shape):
    """Numbers and bar drawn into an Axes lie within its box and do not meet."""
    figure = Figure(figsize=(7, 5))
    ax = figure.add_axes((0.1, 0.1, 0.8, 0.8))
    (plot_kernels if len(shape) == 4 else plot_features)(weight(shape), ax=ax)
    renderer = FigureCanvasAgg(figure).get_renderer()
    texts = [text for text in ax.findobj(Text) if text.get_text() and text.get_visible()]
    boxes = [text.get_window_extent(renderer) for text in texts]
    room = ax.get_window_extent().padded(2)
    assert texts
    assert all(room.contains(*box.min) and room.contains(*box.max) for box in boxes)
    assert not [(i, j) for i in range(len(boxes)) for j in range(i) if boxes[i].overlaps(boxes[j])]


def test_nothing_of_the_session_changes():
    """Drawing leaves rcParams and the random states of NumPy, Python and torch as they were."""

    def state():
        legacy = np.random.get_state()  # noqa: NPY002  (the caller's may be the legacy one)
        return dict(mpl.rcParams), legacy[1].tolist(), legacy[2], random.getstate(), torch.get_rng_state().tolist()

    before = state()
    rendered(plot_kernels(torch.from_numpy(weight())))
    plot_kernels(weight(), ax=Figure().add_subplot())
    assert state() == before


@pytest.mark.parametrize("view", ["rgb", "sum", "matrix"])
@pytest.mark.parametrize("style", ["dark_background", HOSTILE], ids=["dark_background", "hostile"])
def test_a_figure_looks_the_same_under_any_style(view, style):
    """Made and drawn under the user's style, a figure has the very pixels that it has without."""
    expected = rendered(plot_kernels(weight(), view=view))
    with mpl.style.context(style):
        found = rendered(plot_kernels(weight(), view=view))
    assert np.array_equal(found, expected)


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("choice", [{}, {"view": "matrix"}, {"view": "sum", "zoom": 1}, {"top": 5}], ids=str)
def test_the_mosaic_is_repeated_exactly(choice, times):
    """At one and two times the resolution each pixel of the mosaic is a block of so many pixels of the page."""
    figure = plot_kernels(weight((40, 3, 3, 3)), **choice)
    figure.set_dpi(DPI * times)
    artist = mosaic_artist(figure)
    for text in figure.findobj(Text):
        text.set_visible(False)
    page, box = rendered(figure), artist.get_window_extent()
    left, top = round(box.x0), page.shape[0] - round(box.y1)
    expected = artist.pixels.repeat(times, axis=0).repeat(times, axis=1)
    assert np.array_equal(page[top : top + len(expected), left : left + expected.shape[1]], expected)


def test_the_whole_page_is_the_tight_page():
    """A figure saved with a tight box is the page as it was laid out, neither cropped nor padded by its contents."""
    figure = draw_sheet(make_sheet(weight()))
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", bbox_inches="tight", pad_inches=0)
    with Image.open(buffer) as image:
        assert image.size == tuple(figure.bbox.size.round().astype(int))


def test_a_figure_shows_itself_as_its_pixels():
    """The PNG of a notebook is the page at the figure's resolution, and showing it leaves the canvas in place."""
    figure = plot_kernels(weight())
    canvas = figure.canvas
    data = figure._repr_png_()
    assert figure.canvas is canvas
    with Image.open(io.BytesIO(data)) as image:
        assert np.array_equal(np.asarray(image.convert("RGB")), rendered(figure))


@pytest.mark.parametrize("choice", [{}, {"view": "sum"}, {"view": "matrix"}], ids=str)
def test_an_svg_holds_the_mosaic_as_it_is(choice):
    """The image inside an SVG is the mosaic, unsmoothed and the right way up, scaled without smoothing."""
    figure = plot_kernels(weight(), **choice)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg")
    text = buffer.getvalue().decode()
    pictures = []
    for tag in re.findall(r"<image[^>]*>", text):
        data = re.search(r'base64,([^"]*)"', tag)[1]
        with Image.open(io.BytesIO(base64.b64decode(data))) as image:
            pixels = np.asarray(image.convert("RGB"))
        pictures.append((pixels.size, pixels, tag))
    _, pixels, tag = max(pictures, key=lambda each: each[0])
    turned = re.search(r"scale\(1 -1\)|matrix\([^)]* -[\d.]+ [-\d.]+ [-\d.]+\)", tag) is not None
    assert np.array_equal(pixels[::-1] if turned else pixels, mosaic_artist(figure).pixels)


@pytest.mark.parametrize("file_format", ["pdf", "svg"])
def test_vector_formats_are_saved_without_a_warning(file_format):
    """Every kind of page is saved as a vector file, with its own media size."""
    for view in ("rgb", "sum", "norm", "channels", "matrix"):
        buffer = io.BytesIO()
        plot_kernels(weight(), view=view).savefig(buffer, format=file_format)
        assert buffer.getvalue().startswith(b"%PDF" if file_format == "pdf" else b"<?xml")


def test_the_figure_contains_the_texts_of_the_sheet():
    """The figure contains the title, the identity and the whole caption, and has the recipe."""
    sheet = make_sheet(weight())
    figure = draw_sheet(sheet)
    words = " ".join(text.get_text() for text in figure.findobj(Text)).split()
    for line in (sheet.title, sheet.identity, *sheet.caption):
        assert set(line.split()) - {"·"} <= set(words)
    assert figure.recipe is sheet.recipe

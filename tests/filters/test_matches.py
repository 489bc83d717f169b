"""The picture of matches shows what was found, and no texts overlap."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text
from page_checks import check_composition

from kernelviz import apply_filter
from kernelviz.drawing.figures import RasterArtist
from kernelviz.drawing.page import Raster
from kernelviz.drawing.page import Text as Words
from kernelviz.errors import UsageError
from kernelviz.filters.bank import classical_filters, unit_rows
from kernelviz.filters.filter_pages import filter_page
from kernelviz.filters.match_pages import TALLEST, matches_page, plot_matches
from kernelviz.filters.matching import UNNAMED, match_kernels

ODD = {"letters": "a" * 300, "CJK": "编码器.卷积層.一", "mathtext": r"$\foo$ $x_1$", "newline": "two\nlines\x1b[31m"}


def check(figure, *, filled=True):
    """No text overlaps another or a tile, leaves the page, or is too small on a narrow screen."""
    FigureCanvasAgg(figure).draw()
    texts = [text for text in figure.findobj(Text) if text.get_text() and text.get_visible()]
    boxes = [text.get_window_extent(figure.canvas.get_renderer()) for text in texts]
    tiles = [artist.get_window_extent() for artist in figure.findobj(RasterArtist) if artist.pixels.size > 3]
    check_composition(
        figure, [text.get_text() for text in texts], np.array([box.extents for box in boxes]), filled=filled
    )
    for at, box in enumerate(boxes):
        word = texts[at].get_text()
        assert box.x0 >= 0, word
        assert box.y0 >= 0, word
        assert box.x1 <= figure.bbox.width, word
        assert box.y1 <= figure.bbox.height, word
        assert box.height * 640 / figure.bbox.width >= 9, word
        assert not [texts[other].get_text() for other in range(at) if box.overlaps(boxes[other])], word
        assert not any(box.overlaps(tile) for tile in tiles), word


def words(figure):
    """All texts of a figure."""
    return [text.get_text() for text in figure.findobj(Text)]


@pytest.mark.sampled
@pytest.mark.parametrize("size", [2, 3, 5, 16])
@pytest.mark.parametrize("inputs", [1, 3, 8])
@pytest.mark.parametrize("count", [1, 40])
def test_no_text_meets_another(size, inputs, count):
    """For any size of kernel, any number of inputs and of kernels."""
    kernels = np.random.default_rng(0).standard_normal((count, inputs, size, size))
    bank = classical_filters(size)
    for at in range(0, count, 2):
        kernels[at] = bank[at * 7 % len(bank)].values
    check(plot_matches(kernels, gabor=size < 8, layout="torch"), filled=count > 1)


@pytest.mark.parametrize("inputs", [1, 3])
def test_a_huge_layer_fits_on_a_page(inputs):
    """Two thousand kernels of every kind: some of each are drawn, and the caption states how many."""
    bank = classical_filters(5)
    kernels = (
        unit_rows(np.stack([bank[at % len(bank)].values for at in range(2000)]))
        .reshape(-1, 1, 5, 5)
        .repeat(inputs, axis=1)
    )
    kernels[-300:] = np.random.default_rng(0).standard_normal((300, inputs, 5, 5)) / 5
    figure = plot_matches(kernels, gabor=False)
    assert figure.bbox.height <= TALLEST * 1.15
    assert any("of 2,000 kernels are drawn" in word for word in words(figure))
    check(figure)


@pytest.mark.parametrize("name", ODD)
def test_any_name_stays_on_the_page(new_bank, name):
    """Whatever a layer and a model are called."""
    check(plot_matches(new_bank((6, 3, 3, 3), name=ODD[name], label=ODD[name] * 2)))


def test_what_is_zero_or_broken_is_listed(new_bank, odd_weight):
    """By number, and counted."""
    figure = plot_matches(new_bank(weight=odd_weight))
    check(figure)
    assert "as good as zero" in words(figure)
    assert "kernels 5, 9, 12" in words(figure)


def test_numbers_are_those_of_the_matches():
    """Each kernel's number and its score are on the page, with the threshold."""
    kernels = np.random.default_rng(1).standard_normal((9, 3, 3, 3))
    kernels[4] = classical_filters(3)[1].values
    found = match_kernels(kernels)
    told = words(plot_matches(found))
    for row in found.main_rows:
        assert str(row.kernel) in told
        assert f"{row.score:.2f}" in told
    needs = f"a name needs a score of {found.threshold:.2f} with one of {found.filters} filters"
    assert any(needs in word for word in told)


def test_chance_and_weak_matches_are_separate_groups():
    """Each kernel is in the right group, both thresholds are in the caption, and fits are marked."""
    random = np.random.default_rng(4)
    kernels = random.standard_normal((150, 1, 5, 5))
    kernels[:120, 0] = unit_rows(np.stack([one.values for one in classical_filters(5)[:120]])).reshape(-1, 5, 5) * 5
    kernels[:120] += 0.8 * random.standard_normal((120, 1, 5, 5))
    found = match_kernels(kernels)
    assert {"none", "weak"} < set(found.counts)
    figure = plot_matches(found)
    told = words(figure)
    page = " ".join(told)
    assert "closer than chance, but not close enough" in page
    assert "no closer than chance" in page
    assert f"or {found.fit_threshold:.2f} with a fitted Gabor function" in page
    shown = sum(row.closest is not None and row.closest.name == "gabor-fit" for row in found.rows)
    assert 0 < told.count("fit") <= shown
    check(figure)


def test_sums_that_are_zero_are_called_sums():
    """A kernel whose planes cancel is not itself as good as zero."""
    weight = np.random.default_rng(0).standard_normal((3, 4, 3, 3))
    weight[1, 2:] = -weight[1, :2]
    told = words(plot_matches(weight))
    assert "sums as good as zero" in told
    assert "kernel 1" in told


def test_plain_arrays_and_records_draw_the_same():
    """A weight is matched on the way; what has no filters is refused."""
    kernels = np.random.default_rng(2).standard_normal((5, 1, 3, 3))
    assert words(plot_matches(kernels)) == words(plot_matches(match_kernels(kernels)))
    with pytest.raises(UsageError, match="no classical filters"):
        plot_matches(np.ones((3, 4, 1, 1)))


def test_the_closest_filter_is_shown_of_kernels_without_a_name_too():
    """In grey, so that it is not taken for a name; the caption says so."""
    kernels = np.random.default_rng(0).standard_normal((12, 1, 3, 3))
    found = match_kernels(kernels)
    unnamed = [row for row in found.main_rows if row.kind in UNNAMED]
    assert unnamed
    page = matches_page(found)
    grey = [
        item for item in page.items
        if isinstance(item, Raster) and item.pixels.ndim == 3 and item.width < 60 and item.width == item.height
        and (item.pixels[2:-2, 2:-2].max(axis=2) == item.pixels[2:-2, 2:-2].min(axis=2)).all()
    ]  # fmt: skip
    assert len(grey) == len(unnamed)
    assert any("grey tiles" in item.text for item in page.items if isinstance(item, Words))


def test_every_kind_is_named_at_the_bar():
    """However narrow its part of the bar is, each kind has its name in it or below it."""
    bank = classical_filters(3)
    kernels = np.stack([one.values for one in bank[::3]] + [bank[0].values] * 200)[:, None]
    found = match_kernels(kernels, layout="torch")
    words = [item.text for item in matches_page(found).items if isinstance(item, Words)]
    first_group = words.index(next(word for word in words if word == next(iter(found.counts))))
    at_the_bar = " ".join(words[:first_group])
    assert len(found.counts) > 5
    assert all(kind in at_the_bar for kind in found.counts)


def test_filters_keep_the_column_of_the_image_free_and_bars_are_as_wide_as_images():
    """No response stands below the photograph as if it were one of it; a bar ends where its image ends."""
    image = np.random.default_rng(0).random((224, 224))
    page = filter_page([apply_filter(image, name) for name in ("sobel-x", "laplacian", "sobel-y", "gaussian")])
    pictures = [item for item in page.items if isinstance(item, Raster) and item.height > 200]
    lefts = sorted({item.left for item in pictures})
    assert [sum(item.left == left for item in pictures) for left in lefts] == [1, 2, 2]
    bars = [item for item in page.items if isinstance(item, Raster) and item.height < 20]
    assert len(bars) == 4
    assert {bar.width for bar in bars} == {pictures[0].width}

"""Pages of two weights: the pixels are the numbers, ranges are stated, and captions forbid the commonest misreadings."""

from __future__ import annotations

import numpy as np
import pytest
from page_kinds import changes, make_weight, two_weights

import kernelviz as kv
from kernelviz.drawing import colour
from kernelviz.drawing.changes_page import changes_page
from kernelviz.drawing.comparison_page import (
    angle_text,
    comparison_page,
    comparison_recipe,
    make_pairs,
    plot_comparison,
    ratio_text,
)
from kernelviz.drawing.layer_axis import BARS, draw_legend
from kernelviz.drawing.looks import LOOKS
from kernelviz.drawing.page import MARGIN, PAGE_WIDTH, Raster, Shape, Text, paragraphs, text_width
from kernelviz.errors import KernelvizError, UsageError

PAGE = LOOKS["page"]


def texts(page):
    """All lines of a page."""
    return [item.text for item in page.items if isinstance(item, Text)]


def caption(page):
    """The text alternative of a page, as one line."""
    return " ".join(paragraphs(page))


def tiles(page, count):
    """The rasters of the first row of A, of B, and of B − A."""
    rasters = [item for item in page.items if isinstance(item, Raster) and item.height > 20]
    return [rasters[at * count : (at + 1) * count] for at in range(3)]


def pairs_of(found, **choices):
    """What is drawn on a page."""
    return make_pairs(found, look=choices.pop("look", PAGE), **choices)


def test_the_pixels_of_colours_are_the_weights():
    """A and B in the range of their pair, B − A in one range for the layer: 127.5 + 127.5 · w / limit."""
    a = make_weight((6, 3, 3, 3))
    b = a + 0.1 * np.arange(6, dtype=np.float32)[:, None, None, None] * make_weight((6, 3, 3, 3))[::-1]
    found = kv.compare_weights(a, b)
    pairs = pairs_of(found)
    page = comparison_page(pairs)
    delta = b.astype(np.float64) - a
    limit = np.abs(delta).max()
    assert pairs.difference == limit
    for at, number in enumerate(found.layer().order):
        own = max(np.abs(a[number]).max(), np.abs(b[number]).max())
        rows = [row[at].content[:: int(row[at].height) // 3, :: int(row[at].width) // 3] for row in tiles(page, 6)]
        for pixels, weight, full in zip(rows, (a[number], b[number], delta[number]), (own, own, limit), strict=True):
            wanted = np.rint(127.5 + 127.5 * np.moveaxis(weight.astype(np.float64), 0, -1) / full)
            assert np.array_equal(pixels, wanted)


@pytest.mark.parametrize(("shape", "view"), [((6, 1, 3, 3), "sum"), ((6, 8, 3, 3), "sum"), ((6, 8, 3, 3), "norm")])
def test_the_levels_of_other_views_have_one_range(shape, view):
    """A and B share the range of the layer, over all kernels of both; B − A is the view of the difference."""
    a, b = make_weight(shape), make_weight(shape)[::-1].copy()
    pairs = pairs_of(kv.compare_weights(a, b), view=view)
    reduce = {"sum": lambda each: each.sum(1), "norm": lambda each: np.sqrt((each**2).sum(1))}[view]
    planes = [reduce(each.astype(np.float64)) for each in (a, b, b.astype(np.float64) - a)]
    assert pairs.limit == pytest.approx(max(np.abs(planes[0]).max(), np.abs(planes[1]).max()), rel=1e-6)
    assert pairs.difference == pytest.approx(np.abs(planes[2]).max(), rel=1e-6)
    page = comparison_page(pairs)
    scale = colour.Scale("layer", -1.0 if pairs.signed else 0.0, 1.0, signed=pairs.signed)
    for row, plane, limit in zip(tiles(page, 6), planes, (pairs.limit, pairs.limit, pairs.difference), strict=True):
        for at, number in enumerate(pairs.numbers):
            zoom = int(row[at].height) // 3
            wanted = colour.levels(plane[number][None] / limit, scale)[0]
            assert np.abs(row[at].content.index[::zoom, ::zoom].astype(int) - wanted).max() <= 1  # rounding at an edge


def test_kernels_that_died_or_were_born_are_first_and_struck_through():
    """They have no angle; those as good as zero in both are last; what is not finite is chequered and framed."""
    found = two_weights()
    page = comparison_page(pairs_of(found))
    words = texts(page)
    assert found.layer().order[:3] == (1, 2, 5)
    assert [words.count(word) for word in ("born", "died")] == [1, 1]
    assert words.count("–") == 6
    first, second, _ = tiles(page, 16)
    middle = tuple(int(first[0].height) // 2 for _ in range(2))
    struck = [len(np.unique(row[at].content.reshape(-1, 3), axis=0)) == 2 for row in (first, second) for at in (0, 1)]
    assert struck == [True, False, False, True]
    assert middle
    chequered = second[2].content
    assert {tuple(colour.INKS[ink]) for ink in (colour.CHEQUER_DARK, colour.CHEQUER_LIGHT)} <= {
        tuple(pixel) for pixel in chequered.reshape(-1, 3).tolist()
    }
    assert sum(isinstance(item, Shape) and item.colour == "not finite" for item in page.items) == 2
    text = caption(page)
    for line in (
        "1 kernel died (as good as zero in B only): 2", "1 kernel was born (as good as zero in A only): 1",
        "1 kernel is as good as zero in both, struck through: 3",
        "1 kernel has values that are not finite (chequered), and no angle or norm: 5",
        "A large change of weights does not mean that a layer is important",
        "A normalisation after the layer cancels a change of norm",
    ):  # fmt: skip
        assert line in text


def test_the_caption_states_how_much_finer_the_range_of_the_difference_is():
    """Without that a small difference looks as strong as the weights."""
    a = make_weight((8, 3, 3, 3))
    found = kv.compare_weights(a, a * 1.01)
    largest = np.abs(a).max() * 1.01
    times = f"{largest / np.abs(a * 1.01 - a).max():.0f}"
    line = next(line for line in paragraphs(comparison_page(pairs_of(found))) if line.startswith("B − A"))
    assert line.endswith(f"; the largest weight is {largest:.2f}, {times} times as much")
    same = caption(comparison_page(pairs_of(kv.compare_weights(a, a))))
    assert "B − A is 0 everywhere" in same
    assert "All kernels are bitwise the same" in same


def test_pointwise_kernels_are_strips_of_all_inputs_that_fit():
    """A cell per input channel; of too many the caption states how many are drawn."""
    found = two_weights((24, 16, 1, 1))
    pairs = pairs_of(found)
    page = comparison_page(pairs)
    strip = next(item for item in page.items if isinstance(item, Raster) and item.width > 100)
    assert strip.content.index.shape[1] % 16 == 0
    assert "each cell its weight for one of 16 input channels" in caption(page)
    assert comparison_recipe(pairs)["shown"] == 24
    wide = make_weight((4, 2000, 1, 1))
    text = caption(comparison_page(pairs_of(kv.compare_weights(wide, -wide))))
    assert "for one of the first 1," in text
    assert "of 2,000 input channels" in text


def test_choices_of_kernels_and_views():
    """Channels in their order, the first so many, and views that the shape allows."""
    found = two_weights()
    assert pairs_of(found, channels="7,0-2").numbers == (7, 0, 1, 2)
    assert pairs_of(found, top=4).numbers == found.layer().order[:4]
    assert "Sorted by" not in caption(comparison_page(pairs_of(found, channels=[7])))
    assert pairs_of(found, view="channels").rows[0].pictures.shape == (24, 3, 3, 3)
    for choices in ({"channels": "24"}, {"view": "rbg"}, {"top": 0}, {"name": "nothing"}):
        with pytest.raises(UsageError):
            pairs_of(found, **choices)


def test_a_large_layer_is_cut_to_a_page():
    """As many kernels as fit, those that moved most; the picture stays below four megapixels."""
    a = make_weight((1280, 4, 3, 3))
    found = kv.compare_weights(a, a + 0.1 * make_weight((1280, 4, 3, 3))[::-1])
    figure = plot_comparison(found)
    width, height = figure.get_size_inches() * 100
    assert width * height <= 4e6
    assert 40 < figure.recipe["shown"] < 100
    assert f"{figure.recipe['shown']} of 1,280 kernels" in " ".join(figure.alternative)


def test_matched_kernels_have_their_own_numbers():
    """Numbers of A above, numbers of B above their tiles, cosines below, and the chance level in the caption."""
    found = two_weights(match=True)
    page = comparison_page(pairs_of(found))
    words, pairing = texts(page), found.layer().pairing
    first = words.index(str(pairing.a[0]))
    assert words[first : first + 3] == [str(number) for number in pairing.a[:3]]
    assert "cosine" in words
    assert "B − A" not in words
    assert f"{pairing.cosines[0]:.2f}" in words
    text = caption(page)
    assert "Kernels of conv1 in A and B, matched " in text
    assert "of 21 pairs; 3 kernels as good as zero or not finite in A or B" in text
    assert f"Mean cosine {pairing.mean:.3f}" in text
    assert "in 98 % of cases below" in text
    unrelated = kv.compare_weights(
        make_weight((8, 3, 3, 3)), np.random.default_rng(9).normal(size=(8, 3, 3, 3)), match=True
    )
    text = caption(comparison_page(pairs_of(unrelated)))
    assert "Kernels in A and B, matched no better than chance" in text
    assert ": no better than chance; by chance" in text


def test_without_a_match_there_is_no_matched_page():
    """Nothing to match is a failure of the weights; a chosen kernel that takes no part is wrong usage."""
    weight = make_weight((4, 3, 3, 3))
    nothing = kv.compare_weights(weight, weight * np.nan, match=True)
    with pytest.raises(KernelvizError, match="No kernel is matched") as caught:
        pairs_of(nothing)
    assert not isinstance(caught.value, UsageError)
    with pytest.raises(UsageError, match="No kernel is matched"):
        pairs_of(two_weights(match=True), channels=[3])


def test_slices_of_volumes_are_side_by_side():
    """A kernel of three axes has its slices in one row."""
    weight = make_weight((5, 2, 3, 3, 3))
    found = kv.compare_weights(weight, 2 * weight)
    assert pairs_of(found).rows[0].pictures.shape == (5, 3, 3, 3)
    assert "one row of slices per kernel" in caption(comparison_page(pairs_of(found)))


def test_print_has_planes_instead_of_colours():
    """Red, green and blue planes side by side, in the same range."""
    pairs = pairs_of(two_weights(), look=LOOKS["print"])
    assert pairs.rows[0].pictures.shape == (24, 3, 3, 3)
    assert "Left to right: the red, green and blue plane of each kernel" in caption(comparison_page(pairs))


@pytest.mark.parametrize(
    ("angle", "text"),
    [(22.16, "22.2°"), (0.05, "0.05°"), (1e-7, "≈0°"), (0.0, "0°"), (180.0, "180°"), (99.94, "99.9°"), (np.nan, "–")],
)
def test_angles_are_short(angle, text):
    """One decimal, two below 0.1°; 0° is bitwise the same."""
    assert angle_text(angle) == text


@pytest.mark.parametrize(
    ("ratio", "text"), [(1.0226, "1.02"), (12.34, "12.3"), (1234.0, "1,234"), (np.inf, "–"), (0.0, "0.00")]
)
def test_ratios_are_short(ratio, text):
    """Two decimals, three digits from 10 on."""
    assert ratio_text(ratio) == text


def test_the_bars_are_the_changes():
    """Heights are proportional to the change; layers that are bitwise the same have a mark instead."""
    page = changes()
    bars = [
        item
        for item in page.items
        if isinstance(item, Raster) and str(item.content.palette[0]).startswith("family") and item.height != 20
    ]
    assert len(bars) == 22
    marks = [item for item in page.items if isinstance(item, Raster) and item.content.palette == ("grey",)]
    assert len(marks) == 3  # of two layers, and in the legend
    text = caption(page)
    for line in (
        "Which layers changed", "24 of 25 convolutions",
        "Bitwise the same in A and B: 2 of 24 layers: stages.0.conv4, stages.0.conv5",
        "Left out: head is (8, 3, 3, 3) in A, but (8, 1, 3, 3) in B",
        "A large change of weights does not mean that a layer is important",
    ):  # fmt: skip
        assert line in text
    assert {"stages.0", "stages.1", "stages.2", "bitwise the same", "standard 3 × 3"} <= set(texts(page))


def test_the_heights_of_few_bars():
    """Of few layers the numbers are written at their bars; the heights have the ratios of the numbers."""
    state = {f"{number}.weight": make_weight((4, 3, 3, 3)) for number in range(3)}
    other = {name: value * (1.0, 1.1, 1.4)[int(name[0])] for name, value in state.items()}
    page = changes_page(kv.compare_weights(state, other))
    words = texts(page)
    assert {"same", "10.0 %", "40.0 %"} <= set(words)
    heights = [
        item.height for item in page.items
        if isinstance(item, Raster) and item.content.palette == ("family: standard",) and item.height != 20
    ]  # fmt: skip
    assert heights[1] / heights[0] == pytest.approx(4, rel=1e-5)


def test_a_network_that_has_not_moved():
    """The chart has no bars, and states why."""
    state = {"conv.weight": make_weight((4, 3, 3, 3))}
    page = changes_page(kv.compare_weights(state, state))
    text = caption(page)
    assert "Bitwise the same in A and B: 1 of 1" in text
    assert "Largest changes" not in text
    assert {"0 %", "0°"} == {word for word in texts(page) if word.endswith((" %", "°"))}  # the axes have no other end


@pytest.mark.parametrize("count", [16, 400])
def test_a_slide_counts_the_kernels_that_it_draws(count):
    """Smaller tiles if all kernels fit then; what is printed beside a slide has no other number of kernels."""
    figure = plot_comparison(two_weights((count, 3, 3, 3)), look="slide")
    number = figure.recipe["shown"]
    assert number == count if count == 16 else number < count
    assert f"{number} of {count} kernels" in figure.recipe["drawn"]
    assert not any(f"of {count} kernels" in line for line in figure.recipe["left_out"])


def test_one_pair_is_matched_without_a_chance_level():
    """Neither the title nor the caption compares it with chance."""
    found = kv.compare_weights(make_weight((1, 3, 3, 3)), -make_weight((1, 3, 3, 3)), match=True)
    text = caption(comparison_page(pairs_of(found)))
    assert "than chance" not in text
    assert "no chance level" in text


def test_the_legend_ends_where_the_page_does():
    """What does not fit beside the others is in a row below them."""
    families = [(family, size) for family in BARS for size in ((3, 3), (5, 5))]
    items, below = draw_legend(families, 0.0, [("grey", "bitwise the same")])
    words = [item for item in items if isinstance(item, Text)]
    assert len(words) == 5
    assert all(item.x + text_width(item.text, item.size) <= PAGE_WIDTH - MARGIN for item in words)
    assert below > 0
    assert draw_legend(families[:2], 0.0)[1] == 0


def test_a_minus_sign_costs_no_row():
    """Sixteen pairs are in one row, as sixteen kernels are, if their texts are a little wider."""
    random = np.random.default_rng(0)
    a, b = random.uniform(size=(2, 16, 3, 3, 3)).astype(np.float32)
    page = comparison_page(pairs_of(kv.compare_weights(a, -b, match=True)))
    words = [item for item in page.items if isinstance(item, Text) and item.align == "center" and "." in item.text]
    assert sum("−" in item.text for item in words) == 16
    assert len({item.y for item in words}) == 2  # cosines and ratios

"""The pictures for lessons: their numbers are right, their texts legible and apart, their bounds stated."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from matplotlib.text import Text
from page_checks import check_page

import kernelviz
from kernelviz import Convolution, Pooling, TransposedConvolution, work_out
from kernelviz.arithmetic.costs import compare_costs
from kernelviz.drawing.figures import draw_page
from kernelviz.drawing.looks import LOOKS
from kernelviz.drawing.page import Shape
from kernelviz.drawing.page import Text as PageText
from kernelviz.drawing.worksheets import ON_DISC
from kernelviz.errors import UsageError
from kernelviz.explain.chain import chain_lines, chain_page, work_out_chain
from kernelviz.explain.costs import cost_lines, cost_notes, cost_page, share_text
from kernelviz.explain.map_pages import maps_page
from kernelviz.explain.maps import as_maps_of, as_pool, maps_lines
from kernelviz.explain.matrix import as_matrix, matrix_lines
from kernelviz.explain.uses import uses_lines, work_out_uses
from kernelviz.explain.walkthrough import example_numbers

FOUR = [
    [0, 0, 0, 0, 0, 0, 0, 0],
    [0, 0, 0, 0, 2, 3, 0, 0],
    [0, 0, 0, 2, 0, 2, 0, 0],
    [0, 0, 2, 0, 0, 2, 0, 0],
    [0, 3, 2, 2, 2, 2, 2, 0],
    [0, 0, 0, 0, 0, 2, 0, 0],
    [0, 0, 0, 0, 0, 2, 0, 0],
    [0, 0, 0, 0, 0, 0, 0, 0],
]
KERNELS = [
    [[1, 0, -1]] * 3,
    [[1, 1, 1], [0, 0, 0], [-1, -1, -1]],
    [[-1, -1, 2], [-1, 2, -1], [2, -1, -1]],
]


def worked_out(operation, seed=0):
    """An operation with example numbers."""
    return work_out(operation, *example_numbers(operation, seed))


@pytest.fixture(scope="module")
def four():
    """Three kernels on the image of a 4."""
    return work_out(Convolution(8, 3, out_channels=3), FOUR, [[kernel] for kernel in KERNELS])


def check_maps(figure):
    """The checks of every page; the letters on discs may be on the frames, which the discs cover."""
    for text in figure.findobj(Text):
        text.set_visible(text.get_color() != LOOKS["page"].roles["on dark"])
    check_page(figure)


def texts(figure):
    """The texts of a page."""
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


def test_maps_relu_and_pools_are_those_of_torch(four):
    """Largest numbers with their places, what ReLU cuts, and the pools are those of the lesson, and torch's."""
    maps = as_maps_of(four, relu=True, pool=2)
    assert [(float(row.values[row.at]), row.at) for row in maps.rows] == [(7, (1, 5)), (7, (4, 1)), (12, (1, 2))]
    assert [int(row.cut.sum()) for row in maps.rows] == [14, 13, 17]
    assert [row.pooled.astype(int).tolist() for row in maps.rows] == [
        [[0, 0, 7], [1, 2, 6], [1, 0, 6]], [[0, 3, 3], [2, 2, 0], [7, 6, 4]], [[0, 12, 2], [10, 2, 4], [1, 2, 2]],
    ]  # fmt: skip
    theirs = torch.relu(torch.from_numpy(four.output))
    for name, pooled in (("2", torch.nn.functional.max_pool2d), ("avg4", torch.nn.functional.avg_pool2d)):
        found = as_maps_of(four, relu=True, pool=name)
        expected = pooled(theirs[None], found.pool.size)[0]
        np.testing.assert_allclose([row.pooled.astype(float) for row in found.rows], expected.numpy(), atol=1e-12)


def test_what_a_pool_passes_on_is_the_first_of_equal_numbers(four):
    """The bold numbers are those that torch's max pooling takes, one per block."""
    maps = as_maps_of(four, relu=True, pool=2)
    _, taken = torch.nn.functional.max_pool2d(torch.relu(torch.from_numpy(four.output)), 2, return_indices=True)
    for row, indices in zip(maps.rows, taken, strict=True):
        assert np.flatnonzero(maps.pool.passed_on(row.relu)).tolist() == sorted(indices.ravel().tolist())


def test_the_largest_number_need_not_be_the_best_match(four):
    """The response of the horizontal edge is largest, 7, where a brighter window is; another window is more like it."""
    kernel, windows = four.kernel[1, 0], np.lib.stride_tricks.sliding_window_view(four.input[0], (3, 3))
    with np.errstate(invalid="ignore"):
        cosines = four.output[1] / np.linalg.norm(windows, axis=(2, 3)) / np.linalg.norm(kernel)
    assert as_maps_of(four).rows[1].at == (4, 1)
    assert cosines[4, 1] == pytest.approx(0.693, abs=5e-4)
    assert (np.nanmax(cosines), cosines[4, 2]) == pytest.approx((0.707, 0.707), abs=5e-4)


def test_maps_state_biases_and_what_is_left_out():
    """At most four kernels are on a page; biases are listed."""
    worked = worked_out(Convolution(3, 2, out_channels=8, bias=True))
    shown = " ".join(item.text for item in maps_page(as_maps_of(worked)).items if isinstance(item, PageText))
    assert "4 of 8 kernels" in shown
    assert "8 biases (" in shown


def test_the_framed_number_is_the_sum_of_its_products(four):
    """Under each map stands how its largest number is made, and the page does not call that a match."""
    figure = kernelviz.plot_maps(four, relu=True, pool=2, names=["vertical", "horizontal", "diagonal"])
    found = texts(figure)
    assert {"7 = 3×1 + 2×1 + 2×1", "12 = 2×2 + 2×2 + 2×2", "8 − 3 + 1 = 6", "6 / 2 = 3", "vertical"} <= set(found)
    assert "which is the strongest response" in " ".join(found)
    assert not any("match" in text or "alike" in text for text in found)
    assert [found.count(letter) for letter in "abcd"] == [2, 2, 2, 0]
    assert (figure.recipe["view"], figure.recipe["shown"], figure.recipe["limits"]) == ("maps", 3, [-12.0, 12.0])


def test_a_slide_of_maps_has_the_numbers_of_its_sums():
    """One kernel whose numbers can be read comes before several without; the others are counted."""
    figure = kernelviz.plot_maps(worked_out(Convolution(8, 3, out_channels=3)), relu=True, pool=2, look="slide")
    found = texts(figure)
    assert len([text for text in found if text.isdecimal()]) >= 64, found
    assert "1 of 3 kernels" in " ".join(found)
    assert "which is the strongest response" in " ".join(found)


def test_a_slide_without_numbers_has_no_sums_but_a_key():
    """Sums that cannot be found in the picture are left out; marks and colours are explained."""
    found = " ".join(
        texts(kernelviz.plot_maps(worked_out(Convolution(20, 3, out_channels=3)), relu=True, look="slide"))
    )
    assert "×" not in found.replace(" × ", "")
    assert "frames: the largest number of each map and its window" in found
    assert "logarithmic colours" in found


def test_averages_are_never_left_out_silently():
    """The cells of a pool are as wide as its numbers, if there is space, and else the page states that some are missing."""
    worked = worked_out(Convolution(4, 2, in_channels=2, out_channels=5))
    shown = texts(kernelviz.plot_maps(worked, pool="avg2"))
    assert {
        f"{row.pooled[0, 0]:f}".rstrip("0").rstrip(".").replace("-", "−")
        for row in as_maps_of(worked, pool="avg2").rows
    } <= set(shown)
    without_space = kernelviz.plot_maps(worked_out(Convolution(8, 2, out_channels=3)), relu=True, pool="avg2")
    assert "numbers too long for their cells are omitted: these cells have only their colour" in " ".join(
        texts(without_space)
    )


def test_the_recipe_has_the_limits_of_the_colours():
    """They cover the input and the kernels, too, and on a slide only the kernels that are drawn."""
    weak = work_out(Convolution(2, 1), [[100, 50], [20, 10]], [[[[0.1]]]])
    assert kernelviz.plot_maps(weak).recipe["limits"] == [0.0, 100.0]
    two = work_out(
        Convolution(8, 3, out_channels=2), np.ones((1, 8, 8)), np.stack([np.ones((1, 3, 3)), np.full((1, 3, 3), 9)])
    )
    assert kernelviz.plot_maps(two).recipe["limits"] == [0.0, 81.0]
    slide = kernelviz.plot_maps(two, relu=True, pool=2, look="slide").recipe
    assert (slide["shown"], slide["limits"]) == (1, [0.0, 9.0])


def test_a_letter_is_at_the_corner_of_one_window(four):
    """Windows of the input may touch: the letter of each is where no other window is."""
    items = maps_page(as_maps_of(four)).items
    letters = {item.text: item for item in reversed(items) if isinstance(item, PageText) and item.colour == ON_DISC}
    frames = [np.array(item.points) for item in items if isinstance(item, Shape) and item.width > 4]
    windows = sorted(frames, key=lambda points: -np.ptp(points[:, 0]))[:3]
    assert set(letters) == {"a", "b", "c"}
    for letter in letters.values():
        at = letter.x, letter.y
        assert sum((points.min(0) - 1 <= at).all() and (at <= points.max(0) + 1).all() for points in windows) == 1


def test_several_largest_cells_are_counted():
    """The first of equal cells is framed, the others are counted; if all are equal none is framed."""
    maps = as_maps_of(work_out(Convolution(3, 1), [[1, 5, 5], [0, 5, 0], [0, 0, 0]], [[1]]))
    assert (maps.rows[0].at, maps.rows[0].more) == ((0, 1), 2)
    assert "5 = 5×1, and 2 more places" in texts(draw_page(maps_page(maps)))
    equal = as_maps_of(work_out(Convolution(3, 1), np.ones((3, 3)), [[1]]))
    assert "all numbers of the map of kernel 0 are equal: none is framed" in equal.notes


MAPS = {
    "lesson": (Convolution(8, 3, out_channels=3), {"relu": True, "pool": 2}),
    "four": (Convolution(6, 3, out_channels=4), {"relu": True, "pool": "avg2"}),
    "colours": (Convolution(32, 3, out_channels=4), {"relu": True, "pool": 4}),
    "planes": (Convolution(5, 3, in_channels=3, out_channels=2, padding=1, bias=True), {"relu": True}),
    "more": (Convolution(4, 2, out_channels=8), {}),
    "row": (Convolution((1, 12), (1, 3), out_channels=2), {"relu": True}),
    "stride": (Convolution(7, 3, stride=2, dilation=2, padding=1), {"pool": 2}),
    "one": (Convolution(1, 1, out_channels=2), {"relu": True, "pool": 1}),
    "large kernel": (Convolution((12, 20), (9, 11), out_channels=3), {"relu": True, "pool": 2}),
}


@pytest.mark.parametrize(
    "name", ["row", *(pytest.param(name, marks=pytest.mark.slow) for name in MAPS if name != "row")]
)
def test_maps_are_legible(name):
    """No text overlaps another, leaves the page or is too small."""
    operation, choices = MAPS[name]
    check_maps(kernelviz.plot_maps(worked_out(operation), **choices))


@pytest.mark.slow
def test_maps_of_real_numbers_are_legible():
    """Long decimals shrink or leave their matrices without digits."""
    random = np.random.default_rng(0)
    worked = work_out(Convolution(6, 3, out_channels=4), random.normal(size=(6, 6)), random.normal(size=(4, 1, 3, 3)))
    check_maps(kernelviz.plot_maps(worked, relu=True, pool=2, names=["a very long name of a kernel", *"xyz"]))


@pytest.mark.slow
def test_the_animation_fills_all_maps_together(four):
    """One frame per cell of a map, all of one size; the last is the picture."""
    animation = kernelviz.animate_maps(four, relu=True, pool=2)
    assert len(animation.pages) == 37
    assert len({(page.width, page.height) for page in animation.pages}) == 1
    last = draw_page(animation.pages[-1])
    assert texts(last) == texts(kernelviz.plot_maps(four, relu=True, pool=2))
    assert texts(draw_page(animation.pages[3])).count("−3") == 2  # and the tick of the bar
    check_page(draw_page(animation.pages[14]))


@pytest.mark.parametrize(
    ("operation", "choices", "message"),
    [
        (TransposedConvolution(3, 2), {}, "Maps are shown of a convolution"),
        (Pooling(4, 2), {}, "Maps are shown of a convolution"),
        (Convolution(5, 3), {"pool": 4}, "pool of 4 × 4 is larger than the map"),
        (Convolution(40, 3), {}, "up to 32 × 32"),
        (Convolution(5, 3, in_channels=5), {}, "up to 4 input channels"),
        (Convolution(5, 3), {"pool": "mean2"}, "pool must be a size"),
        (Convolution(5, 3), {"names": ["a", "b"]}, "one name per kernel"),
    ],
)
def test_what_has_no_maps_is_refused(operation, choices, message):
    """Other operations, sizes beyond the bounds, and settings that do not fit."""
    with pytest.raises(UsageError) as caught:
        kernelviz.plot_maps(worked_out(operation), **choices)
    assert message in str(caught.value)


def test_a_pool_is_read():
    """A number is a max pool, avg and a number an average."""
    assert [(as_pool(text).size, as_pool(text).average) for text in (2, "3", "max3", "avg2")] == [
        (2, False), (3, False), (3, False), (2, True),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "choices",
    [
        pytest.param({}, marks=pytest.mark.slow),
        pytest.param(
            {"units": 9, "kernel": 5, "image": (224, 224, 3), "maps": 64, "image_kernel": 7, "hidden": 4096},
            marks=pytest.mark.slow,
        ),
        {"units": 3, "image": (5, 7, 1), "maps": 1, "image_kernel": 1, "hidden": 1},
        pytest.param(
            {
                "units": 9,
                "kernel": 9,
                "image": (50_000,) * 3,
                "maps": 100_000,
                "image_kernel": 50_000,
                "hidden": 100_000,
            },
            marks=pytest.mark.slow,
        ),
    ],
)
def test_shared_weights_are_legible(choices):
    """At the bounds, too; the shortest bars are stated not to be to scale."""
    figure = kernelviz.plot_sharing(**choices)
    check_page(figure)
    same = (
        "The same number of outputs: 100,000."
        if choices.get("hidden") == 100_000
        else "The numbers of outputs differ: "
    )
    assert same in " ".join(texts(figure))
    assert ("The shortest bars are drawn 2 pixels wide" in " ".join(texts(figure))) == (choices.get("hidden") == 4096)


@pytest.mark.parametrize(
    "operation",
    [
        Convolution(5, 3, padding=1),
        pytest.param(Convolution(6, 3, stride=2), marks=pytest.mark.slow),
        pytest.param(Convolution(12, 5, padding=2), marks=pytest.mark.slow),
        pytest.param(Convolution(24, 5, stride=2, padding=2), marks=pytest.mark.slow),
        pytest.param(Convolution((1, 40), (1, 3), padding=(0, 1)), marks=pytest.mark.slow),
        pytest.param(Convolution(64, 3, padding=3), marks=pytest.mark.slow),
        pytest.param(Convolution(7, 3, padding=1, dilation=2), marks=pytest.mark.slow),
        pytest.param(Convolution(4, 1), marks=pytest.mark.slow),
        pytest.param(Convolution(3, 5, padding=2), marks=pytest.mark.slow),
        pytest.param(Convolution(3, (2, 1), padding=(3, 0, 0, 5)), marks=pytest.mark.slow),
    ],
    ids=repr,
)
def test_uses_are_legible(operation):
    """No text overlaps another, with digits and without, beside each other and below."""
    check_page(kernelviz.plot_uses(operation))


def test_padding_shows_its_value_not_its_uses():
    """Cells of the padding show the zeros that they hold; 12 × 12 cells have digits, 40 × 40 colours alone."""
    found = texts(kernelviz.plot_uses(Convolution(5, 3, padding=1)))
    assert found.count("0") == 7 * 7 - 5 * 5
    assert found.count("9") == 1 + 9
    counts = [texts(kernelviz.plot_uses(Convolution(side, 3))).count("9") for side in (12, 40)]
    assert counts == [8 * 8, 1]  # the one of the colour bar


def test_uses_state_what_they_mean():
    """Ratios, sums and cells that are never read are stated; equal uses are called equal."""
    lines = "\n".join(uses_lines(work_out_uses(Convolution(5, 3, padding=1))))
    assert "9 windows × 9 cells = 81 readings" in lines
    assert "225 readings: 169 of the input, 56 of zeros" in lines
    assert "4 : 9: with padding, windows extend beyond the border: a corner is read four times" in lines
    assert "11 of 36 cells of the input are never read" in "\n".join(
        uses_lines(work_out_uses(Convolution(6, 3, stride=2)))
    )
    assert "every cell is read equally often" in "\n".join(uses_lines(work_out_uses(Convolution(4, 1))))
    with pytest.raises(UsageError, match="65 × 65"):
        kernelviz.plot_uses(Convolution(65, 3))


@pytest.mark.parametrize(
    ("size", "layers", "padding"),
    [
        (16, ["conv6"] * 3, "same"),
        pytest.param(16, ["conv6"] * 5, None, marks=pytest.mark.slow),
        (4, ["up4s2p1"] * 4, None),
        pytest.param(28, ["conv5", "pool2", "conv5", "pool2"], None, marks=pytest.mark.slow),
        pytest.param(10_000, ["conv11s4", "pool3s2", "conv5"] * 4, "same", marks=pytest.mark.slow),
        pytest.param(24, ["conv3"] * 12, "same", marks=pytest.mark.slow),
        pytest.param(9, ["conv3s3d2p1", "up3s3"], None, marks=pytest.mark.slow),
        pytest.param(1, ["conv1"], None, marks=pytest.mark.slow),
    ],
)
def test_chains_are_legible(size, layers, padding):
    """From one layer to twelve, as cells and as bars, with and without padding beside each other."""
    check_page(draw_page(chain_page(work_out_chain(size, layers, padding=padding))))


def test_a_chain_states_where_it_ends():
    """The last line is the layer that does not fit; with same padding any number fits."""
    assert chain_lines(work_out_chain(16, ["conv6"] * 5))[-2:] == [
        "3 of 5 layers fit",
        "no fourth layer: 1 − 6 + 1 < 1",
    ]
    both = "\n".join(chain_lines(work_out_chain(16, ["conv6"] * 3, padding="same")))
    assert "16 + (2 + 3) − 6 + 1 = 16: any number of layers" in both
    assert "an even kernel has no middle: 2 zeros before, 3 after" in both


@pytest.mark.parametrize(
    ("operation", "at"),
    [
        (Convolution(4, 2), (1, 1)),
        pytest.param(Convolution(5, 3, padding=1), (0, 2), marks=pytest.mark.slow),
        pytest.param(Convolution(12, 3), (4, 4), marks=pytest.mark.slow),
        pytest.param(TransposedConvolution(3, 3, stride=2, padding=1), (2, 2), marks=pytest.mark.slow),
        pytest.param(Convolution(3, 2, in_channels=2, out_channels=2, bias=True), (0, 1), marks=pytest.mark.slow),
        pytest.param(Convolution((1, 9), (1, 3), padding=(0, 1)), (0, 0), marks=pytest.mark.slow),
        pytest.param(Convolution(2, 1, padding=2), (0, 0), marks=pytest.mark.slow),
    ],
    ids=repr,
)
def test_matrices_are_legible(operation, at):
    """No text overlaps another, with digits and without, of one channel and of several.

    A matrix with many more rows than columns is tall: smaller cells would have no digits.
    """
    worked = worked_out(operation)
    check_page(kernelviz.plot_matrix(worked, at=at), filled=worked.output.size < 8 * worked.input.size)


def test_a_matrix_is_written_row_by_row():
    """Each line is an output cell, and the framed row is added up."""
    worked = work_out(Convolution(3, 2), [[1, 2, 3], [4, 5, 6], [7, 8, 9]], [[1, 0], [0, -1]])
    lines = matrix_lines(as_matrix(worked, at=(1, 0)))
    assert "row 0, column 0  1  0  .  0 −1  .  .  .  . = −4" in lines
    assert lines[-1] == "row 1, column 0: 4×1 + 5×0 + 7×0 + 8×(−1) = −4"
    assert "4 × 9 = 36 entries: 16 connections, 4 weights; all other entries are 0" in lines
    for operation, message in ((Pooling(4, 2), "no matrix"), (Convolution(13, 2), "At most 144")):
        with pytest.raises(UsageError) as caught:
            kernelviz.plot_matrix(worked_out(operation))
        assert message in str(caught.value)


def test_the_text_of_maps_has_every_number(four):
    """Input, kernels, maps, ReLU and pools as tables beside each other."""
    lines = "\n".join(maps_lines(as_maps_of(four, relu=True, pool=2)))
    assert "−2 −2  0 −5  2  7    0 0 0 0 2 7    1 2 6" in lines
    assert "largest at row 1, column 2: 12 = 2×2 + 2×2 + 2×2" in lines


@pytest.mark.parametrize(
    ("size", "settings", "choices"),
    [
        (56, ["conv7", "3xconv3", "conv1x7+conv7x1", "dw7+conv1", "conv7s2"], {"in_channels": 64, "padding": "same"}),
        pytest.param((224, 160), ["12xconv3", "conv1c16+conv3c16p1+conv1", "conv3s2p1+dw3+conv1c128+dw3+conv1c256+pool2",
                                  "conv3g4", "pool2", "conv11s4", "conv3d2", "conv3"],
                     {"in_channels": 4, "out_channels": 64, "bias": True}, marks=pytest.mark.slow),
        pytest.param(28, ["conv3"], {}, marks=pytest.mark.slow),
        pytest.param(10_000, ["conv3", "conv100"], {"in_channels": 100_000}, marks=pytest.mark.slow),
    ],
)  # fmt: skip
def test_costs_are_legible(size, settings, choices):
    """One setting or eight, short and long, small and huge: no text meets another or leaves the page."""
    costs = compare_costs(size, settings, **choices)
    check_page(draw_page(cost_page(costs)))
    for cost in costs:
        assert f"{cost.parameters:,}" in "\n".join(cost_lines(costs))


def test_costs_are_stated_as_shares_of_the_first():
    """Percent below two times, then factors; outputs that differ are stated."""
    assert [share_text(number, 100) for number in (100, 55, 3, 1.25, 199, 200, 275, 12_345)] == [
        "100 %", "55 %", "3 %", "1.2 %", "199 %", "× 2", "× 2.8", "× 123",
    ]  # fmt: skip
    costs = compare_costs(9, ["conv3", "conv3s2", "conv5"])
    assert cost_notes(costs) == [
        "the outputs differ in size", "the receptive fields differ in size",
    ]  # fmt: skip
    assert cost_notes(compare_costs(4, ["3xconv3"], padding="same")) == [
        "receptive fields larger than the input: as if the image had no border"
    ]

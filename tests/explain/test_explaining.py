"""Explaining pages show the numbers of the walkthrough, and frames those of their steps."""

from __future__ import annotations

import inspect
from collections import Counter

import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb
from page_checks import check_page
from torch.nn import functional

from kernelviz import (
    Convolution,
    Pooling,
    TransposedConvolution,
    animate_convolution,
    animate_maps,
    plot_convolution,
    read_recipe,
    save_picture,
    work_out,
)
from kernelviz.drawing.colour import pixels_in
from kernelviz.drawing.figures import draw_page
from kernelviz.drawing.looks import LOOKS
from kernelviz.drawing.page import Panel, Raster, Text, text_width
from kernelviz.drawing.worksheets import DARK, LEGIBLE, Cells, Tint, cells_panel, digit_size, tint_bar, tints
from kernelviz.errors import UsageError
from kernelviz.explain import map_pages
from kernelviz.explain.plots import explaining_page, overlaps
from kernelviz.explain.step_pages import step_page
from kernelviz.explain.step_parts import step_tint
from kernelviz.explain.walkthrough import example_numbers
from kernelviz.wording import factor_text, value_text


def words(page):
    """Every text of a page, and how often it occurs."""
    return Counter(item.text for item in page.items if isinstance(item, Text))


def worked(operation, seed=1):
    """The operation on whole numbers of a seed."""
    return work_out(operation, *example_numbers(operation, seed))


def test_a_large_input_is_drawn_once_beside_a_ruler():
    """The windows of the first row and of the first column are spans from edge to edge, their results in the output."""
    ours = worked(Convolution(25, 5, stride=2))
    page = explaining_page(ours, view="steps")
    shown = words(page)
    assert sum(isinstance(item, Raster) and item.pixels.shape == (25, 25, 3) for item in page.items) == 1
    results = Counter(value_text(float(value)) for value in [*ours.output[0, 0], *ours.output[0, 1:, 0]])
    assert all(shown[text] >= count for text, count in results.items())
    assert all(shown[str(number)] >= 4 for number in range(11))


def test_columns_are_beside_each_other_and_long_sides_are_spread():
    """Each step of a narrow input has its digits; of a long output the steps reach from the first to the last."""
    ours = worked(Convolution((16, 1), (6, 1)))
    page = explaining_page(ours, view="steps")
    shown = words(page)
    assert page.height < 2500
    assert all(shown[text] >= 11 * count for text, count in Counter(map(value_text, ours.input.flat)).items())
    assert [f"row {number}" for number in range(11)] == [text for text in shown if text.startswith("row ")]
    spread = list(words(explaining_page(worked(Convolution((300, 3), (9, 3))), view="steps")))
    rows = [int(text.removeprefix("row ")) for text in spread if text.startswith("row ")]
    assert (rows[0], rows[-1], len(rows)) == (0, 291, 12)


@pytest.mark.parametrize("operation", [Convolution(5, 3, padding=1), Convolution(6, 3, stride=2, bias=True), Pooling(4, 2),
                                       TransposedConvolution(2, 3, stride=2)], ids=repr)  # fmt: skip
def test_a_page_shows_every_number_of_its_step(operation):
    """Canvas, kernel, output and result are in cells; the bold ones are those of the window and the marked cell."""
    ours = worked(operation)
    step = ours.step(1, 1)
    page = step_page(ours, step)
    shown = words(page)
    numbers = [
        *ours.canvas.values.ravel(),
        *ours.output.ravel(),
        *(() if step.weights is None else step.weights.ravel()),
    ]
    for text, count in Counter(value_text(float(number)) for number in numbers).items():
        assert shown[text] >= count, text
    bold = [item.text for item in page.items if isinstance(item, Text) and item.bold]
    assert bold.count(value_text(step.value)) >= 2


def test_frames_are_the_steps():
    """As many frames as the output has cells; each marks its cell, shows its result, and no later one; all of one size."""
    ours = work_out(Convolution(5, 3), np.arange(1, 26).reshape(5, 5), np.arange(1, 10).reshape(3, 3))
    animation = animate_convolution(ours)
    assert len(animation.pages) == 9
    assert len({(page.width, page.height) for page in animation.pages}) == 1
    results = [value_text(float(each)) for each in ours.output.ravel()]
    bar = words(Panel(tint_bar(step_tint(ours, ours.step(0, 0)), 480.0).items, 0, 0))
    for at, (page, step) in enumerate(zip(animation.pages, ours.steps(), strict=True)):
        shown = words(page) - bar
        assert [text for text in results if shown[text]] == results[: at + 1]
        assert shown[value_text(step.value)] == 2
        assert shown[f"the framed cell, row {step.at[0]}, column {step.at[1]} (counted from 0)"] == 1
        assert {item.text for item in page.items if isinstance(item, Text) and item.bold} >= {
            value_text(float(each)) for each in step.window.ravel()
        }


def output_of(page, ours):
    """The numbers in the output's cells, by row and column; None in an empty one."""
    rows, columns = ours.operation.output_size
    shape = (rows, columns, 3)
    raster = [item for item in page.items if isinstance(item, Raster) and item.pixels.shape == shape][-1]
    cell = raster.width / columns
    found = {}
    for item in page.items:
        if isinstance(item, Text) and item.middle and item.align == "center":
            row, column = (item.y - raster.top) / cell, (item.x - raster.left) / cell
            if 0 <= row < rows and 0 <= column < columns:
                found.setdefault((int(row), int(column)), []).append(item.text)
    return found


@pytest.mark.parametrize("operation", [TransposedConvolution(2, 2), TransposedConvolution((2, 3), 3, stride=2, padding=1),
                                       TransposedConvolution(2, 2, stride=3, output_padding=1, bias=True),
                                       TransposedConvolution(3, 2, dilation=2)], ids=repr)  # fmt: skip
def test_stamps_add_up_frame_by_frame(operation):
    """Each stamp is torch's output for its value alone; frames show their running sum, and what is added to what."""
    ours = worked(operation)
    animation = animate_convolution(ours, view="stamps")
    kernel = torch.from_numpy(ours.kernel)
    settings = {"stride": operation.stride, "padding": operation.padding, "output_padding": operation.output_padding,
                "dilation": operation.dilation}  # fmt: skip
    pages, total, there = list(animation.pages), np.zeros(operation.output_size), np.zeros(operation.output_size, bool)
    for place, value in np.ndenumerate(ours.input[0]):
        alone, ones = torch.zeros(2, 1, 1, *operation.input_size, dtype=torch.float64)
        alone[0, 0][place], ones[0, 0][place] = value, 1
        stamp = functional.conv_transpose2d(alone, kernel, **settings)[0, 0].numpy()
        covered = functional.conv_transpose2d(ones, torch.ones_like(kernel), **settings)[0, 0].numpy() > 0
        if (covered & there).any():
            shown = output_of(pages.pop(0), ours)
            for at in np.argwhere(covered & there):
                more = value_text(float(stamp[tuple(at)]))
                sign = "" if more.startswith("−") else "+"
                assert "".join(shown[tuple(at)]) == f"{value_text(float(total[tuple(at)]))}{sign}{more}"
        total, there = total + stamp, there | covered
        shown = output_of(pages.pop(0), ours)
        assert {at: [value_text(float(total[at]))] for at in map(tuple, np.argwhere(there))} == shown
    (last,) = pages
    assert {at: [value_text(float(each))] for at, each in np.ndenumerate(ours.output[0])} == output_of(last, ours)
    assert animation.durations[-1] == 3000


def test_stamps_that_cannot_be_shown_are_refused():
    """What stamps nothing, too many channels, too many numbers, and a view that there is none of."""
    for operation, words in (
        (Convolution(5, 3), "has no stamps"),
        (TransposedConvolution(2, 2, in_channels=5), "up to 4 input channels, but each output reads 5"),
        (TransposedConvolution(9, 3, stride=2), "too many to be animated legibly"),
        (TransposedConvolution(15, 3), "450 frames, two for each value"),
    ):
        with pytest.raises(UsageError, match=words):
            animate_convolution(worked(operation), view="stamps")
    with pytest.raises(UsageError, match="window or stamps"):
        animate_convolution(worked(TransposedConvolution(2, 2)), view="steps")


def test_headings_do_not_move_between_frames():
    """Headings and formula have the same position in all frames."""
    pages = animate_convolution(worked(Convolution(4, 2, stride=2, padding=1, bias=True))).pages
    for word in ("output", "the size of the output", "="):
        places = {tuple((i.x, i.y) for i in page.items if isinstance(i, Text) and i.text == word)[:1] for page in pages}
        assert len(places) == 1, word
    assert len({head_of(page, "kernel") for page in pages}) == 1
    stamps = animate_convolution(worked(TransposedConvolution(2, 3, stride=2)), view="stamps").pages
    for word in ("input", "kernel", "output", "the size of the output"):
        assert len({head_of(page, word) for page in stamps}) == 1


def head_of(page, word):
    """Where the first text of these words is, which names a matrix; later ones are in the legend of the formula."""
    return next((item.x, item.y) for item in page.items if isinstance(item, Text) and item.text == word)


@pytest.mark.slow
def test_four_hundred_frames_are_drawn():
    """As many as an animation may have."""
    assert len(animate_convolution(worked(Pooling(40, 2))).pages) == 400


def test_too_many_frames_are_refused():
    """At most 400; the error states what to do."""
    with pytest.raises(UsageError, match="441 frames"):
        animate_convolution(worked(Pooling(42, 2)))
    with pytest.raises(UsageError, match="between"):
        animate_convolution(worked(Pooling(4, 2)), fps=90)


def test_the_frames_of_maps_are_counted_as_promised(monkeypatch):
    """Maps of 400 numbers are animated, with one more frame for all of them; of more the numbers are stated."""
    monkeypatch.setattr(map_pages, "maps_page", lambda *_: None)
    monkeypatch.setattr(map_pages, "make_animation", lambda pages, *_: pages)
    assert len(animate_maps(worked(Convolution(22, 3)))) == 401
    with pytest.raises(UsageError, match="would have 441 frames, one for each cell of a map") as error:
        animate_maps(worked(Convolution(23, 3)))
    assert error.value.why == "At most 400 are drawn."


@pytest.mark.parametrize("animate", [animate_convolution, animate_maps])
def test_the_speeds_of_animations_are_those_of_the_command(animate):
    """Both animations take 0.1 to 50 steps per second, and say so in one sentence."""
    for speed in (0.05, 50.5, float("nan")):
        with pytest.raises(UsageError, match=r"steps per second must be between 0\.1 and 50, but got"):
            animate(worked(Convolution(4, 3)), fps=speed)
    assert "0.1 to 50" in inspect.getdoc(animate)


def test_channels_add_up_on_the_page():
    """The sum of every channel, the bias and the result are below each other."""
    ours = worked(Convolution(4, 3, in_channels=3, bias=True))
    step = ours.step(1, 0)
    shown = words(step_page(ours, step))
    for value in step.sums:
        assert shown[value_text(float(value))]
    assert shown[f"+ {factor_text(step.bias)}"] == 1
    assert shown[value_text(step.value)] >= 2


def test_many_channels_are_counted():
    """Channels that are not shown are added as one number, and counted in the caption."""
    ours = worked(Convolution(8, 3, in_channels=20))
    step = ours.step(0, 0)
    shown = words(step_page(ours, step))
    strongest = sorted(range(20), key=lambda place: (-abs(step.sums[place]), place))[:6]
    assert shown["the other 14"] == 1
    assert shown[f"+ {factor_text(float(np.delete(step.sums, strongest).sum()))}"] == 1
    assert all(shown[f"channel {step.channels[place]}"] == 1 for place in strongest)
    assert any("the 6 channels with the largest |sum| of 20" in text for text in shown)
    moving = [words(page) for page in animate_convolution(ours).pages[:3]]
    rows = [{text for text in page if text.startswith("channel ")} for page in moving]
    assert rows[0] == rows[1] == rows[2]


def test_many_channels_are_in_two_columns():
    """The page is wider than tall, has the digits of all windows, and a map of the place of the window."""
    ours = worked(Convolution(5, 3, in_channels=8))
    step = ours.step(1, 2)
    page = step_page(ours, step)
    assert page.width > page.height
    order = step.strongest(6)
    lefts = [item.x for item in page.items if isinstance(item, Text) and item.text.startswith("channel ")]
    assert [lefts.count(left) for left in sorted(set(lefts))] == [3, 3]
    shown = words(page)
    needed = Counter(value_text(float(number)) for plane in order for number in step.window[plane].flat)
    assert all(shown[text] >= count for text, count in needed.items())
    assert shown[f"input, channel {step.channels[order[0]]}"] == 1
    check_page(draw_page(page))


def test_large_kernels_of_many_channels_are_four():
    """If two columns leave no digits, four channels are below each other, with a map of the place of the window."""
    ours = worked(Convolution(9, 5, in_channels=8))
    shown = words(step_page(ours, ours.step(0, 0)))
    assert sum(text.startswith("channel ") for text in shown) == 4
    assert any(text.startswith("input, channel ") for text in shown)


def test_dots_count_overlaps():
    """As many stamps meet on a cell as ones of a kernel of ones add up there."""
    operation = TransposedConvolution((3, 4), 3, stride=2, padding=1, output_padding=1)
    ours = work_out(operation, np.ones((3, 4)), np.ones((3, 3)))
    np.testing.assert_array_equal(overlaps(operation), ours.output[0])


def test_only_what_is_transposed_stamps():
    """A view that does not fit is refused."""
    with pytest.raises(UsageError, match="no stamps"):
        explaining_page(worked(Convolution(5, 3)), view="stamps")
    with pytest.raises(UsageError, match="step, steps or stamps"):
        plot_convolution(worked(Convolution(5, 3)), view="nosuch")


def test_digits_stay_dark_on_every_tint():
    """The contrast of a digit with any cell that carries one is at least 8.6."""
    for tint in (Tint(1.0), Tint(1.0, 0.001)):
        colours = pixels_in(PAGE, tints(Cells(np.linspace(-1, 1, 2001)[None], tint), digits=True))[0] / 255
        linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
        luminance = linear @ np.array([0.2126, 0.7152, 0.0722])
        ink = np.array(to_rgb(PAGE.roles[DARK]))
        dark = ((ink + 0.055) / 1.055) ** 2.4 @ np.array([0.2126, 0.7152, 0.0722])
        assert ((luminance + 0.05) / (dark + 0.05)).min() >= 8.6


def sizes(values, cell):
    """The sizes of the digits of a row of numbers in cells of this size, by text."""
    cells = Cells(np.array([values]), Tint(1.0))
    panel = cells_panel(cells, cell, digit_size([cells], cell))
    return {item.text: item.size for item in panel.items if isinstance(item, Text)}


def test_a_long_number_shrinks_alone():
    """It takes 0.85 of its cell, the others keep their size; only if it is not legible the digits of its matrix vanish."""
    found = sizes([1.0, 23.0, 1234.5], 96)
    assert found["1"] == found["23"] > found["1234.5"] > LEGIBLE
    assert text_width("1234.5", found["1234.5"]) == pytest.approx(0.85 * 96)
    assert sizes([1.0, 23.0, 1234.5], 60) == {}
    assert set(sizes([1.0, 23.0], 60)) == {"1", "23"}


@pytest.mark.parametrize(
    ("value", "text"),
    [(411, "411"), (-1, "−1"), (0.5, "0.5"), (1 / 3, "0.333"), (2.25, "2.25"), (1e6, "1000000"), (-np.inf, "−∞"),
     (-0.0, "0"), (1234.5, "1234.5"), (1234567, "1.23×10⁶"), (1234.567, "1230"), (1e-5, "1×10⁻⁵"), (0.1 + 0.2, "0.300"),
     (-3.125, "−3.125"), (999999.5, "1×10⁶"), (2.5e9, "2.5×10⁹"), (np.nan, "NaN")],
)  # fmt: skip
def test_values_as_people_write_them(value, text):
    """Numbers of up to six digits exactly, others in three digits."""
    assert value_text(value) == text


PAGE = LOOKS["page"]
BROKEN = {"nan": [np.nan], "infinities": [np.inf, -np.inf], "too large": [1e308, 1e308, -1e308]}


BROKEN_OPERATIONS = [
    Convolution(3, 2), Convolution(20, 3), Convolution(20, 3, in_channels=9), TransposedConvolution(2, 2),
    Pooling(4, 2, kind="average"), Pooling(20, 2),
]  # fmt: skip


@pytest.mark.sampled
@pytest.mark.parametrize(
    ("operation", "kind"),
    [
        pytest.param(operation, kind, marks=() if (row + column) % 3 == 0 else pytest.mark.slow)
        for row, operation in enumerate(BROKEN_OPERATIONS)
        for column, kind in enumerate(BROKEN)
    ],
    ids=repr,
)
def test_what_is_not_finite_is_drawn_and_counted(operation, kind, tmp_path):
    """Every view is saved without a warning of NumPy's, chequered or with its name; caption and recipe count it."""
    data, kernel, _ = example_numbers(operation)
    data.ravel()[: len(BROKEN[kind])] = BROKEN[kind]
    ours = work_out(operation, data, None if kernel is None else np.full_like(kernel, 9))
    count = sum(int((~np.isfinite(values)).sum()) for values in (data, ours.output))
    transposed = isinstance(operation, TransposedConvolution)
    for view in ("step", "steps", *(["stamps"] if transposed else [])):
        figure = plot_convolution(ours, view=view)
        check_page(figure)
        recipe = read_recipe(save_picture(figure, tmp_path / f"{view}.png"))
        assert recipe["nonfinite"] == count
        shown = explaining_page(ours, view=view)
        assert all(any(note in text for text in words(shown)) for note in recipe["notes"])
        assert bool(recipe["notes"]) == bool(count)
        if count:
            names = {value_text(float(value)) for value in ours.output.ravel() if not np.isfinite(value)}
            chequered = any(isinstance(item, Raster) and np.ptp(item.pixels) == 148 for item in shown.items)
            assert chequered or names & set(words(shown)) or max(operation.output_size) > 10 or not names
    if operation.output_size[0] < 5:
        save_picture(animate_convolution(ours), tmp_path / "steps.gif")
    if transposed and count:
        with pytest.raises(UsageError, match="not finite"):
            animate_convolution(ours, view="stamps")


def test_a_single_value_that_is_not_finite_is_chequered():
    """If cells are too small for digits, and if a pixel is a cell."""
    values = np.array([[1.0, np.nan], [np.inf, -2.0]])
    panel = cells_panel(Cells(values, Tint(2.0, pale=False)), 20, 0)
    chequers = {(item.left, item.top): item for item in panel.items if isinstance(item, Raster)}
    assert set(chequers) == {(0, 0), (20, 0), (0, 20)}
    assert {tuple(map(int, np.unique(chequers[place].pixels))) for place in ((20, 0), (0, 20))} == {(64, 212)}
    colours = pixels_in(PAGE, tints(Cells(np.full((2, 2), np.nan), Tint(1.0)), digits=False))
    assert colours[..., 0].tolist() == [[64, 212], [212, 64]]
    empty = tints(Cells(values, Tint(2.0), empty=~np.isfinite(values)), digits=False)
    assert pixels_in(PAGE, empty)[0, 1].tolist() == [255, 255, 255]


@pytest.mark.parametrize(
    ("stride", "kernel", "at", "words"),
    [
        (2, 2, (0, 0), "1 of 36 stamps: the one that covers the framed cell"),
        (1, 2, (1, 1), "4 of 36 stamps: those that cover the framed cell"),
        (2, 1, (1, 1), "0 of 36 stamps: none covers the framed cell"),
    ],
)
def test_stamps_are_counted_in_their_number(stride, kernel, at, words):
    """One stamp is not called "those that meet"."""
    page = explaining_page(worked(TransposedConvolution(6, kernel, stride=stride)), at=at, view="stamps")
    assert any(words in item.text for item in page.items if isinstance(item, Text))

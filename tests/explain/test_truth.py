"""Nothing on an explaining page is untrue: numbers read back from its texts give its sums, and torch's results."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from page_checks import check_page
from torch.nn import functional

from kernelviz import Convolution, Pooling, TransposedConvolution, animate_convolution, work_out
from kernelviz.drawing.figures import draw_page
from kernelviz.drawing.page import Raster, Strokes, Text
from kernelviz.drawing.worksheets import BORDER, DASH, FORMULA, ShortText
from kernelviz.errors import UsageError
from kernelviz.explain.plots import explaining_page, plot_convolution
from kernelviz.explain.step_parts import step_tint
from kernelviz.explain.texts import chosen_steps, number_lines
from kernelviz.explain.walkthrough import example_numbers
from kernelviz.files.numbers import typed_numbers

ROUNDED = "rounded for display"
NUMBER = r"\(?−?[\d.]+(?:[eE][−+]?\d+)?(?:×10[⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+)?\)?"
TERM = re.compile(rf"({NUMBER})×({NUMBER})")


def number(text):
    """The number of a text, exactly; None if it is none."""
    bare = text.strip("()").translate(str.maketrans("−⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "--0123456789")).replace("×10", "e")
    try:
        return Fraction(bare)
    except ValueError:
        return None


def words(page):
    """The texts of a page."""
    return [item.text for item in page.items if isinstance(item, Text)]


def is_rounded(page):
    """Whether the page states that something is rounded."""
    return any(ROUNDED in text for text in words(page))


def matrices(page):
    """The matrices with digits: for each the texts by cell, and the pixels."""
    found = []
    for raster in (item for item in page.items if isinstance(item, Raster)):
        rows, columns = raster.pixels.shape[:2]
        cell = raster.width / columns
        texts = {}
        for item in page.items:
            if isinstance(item, Text) and item.middle and item.align == "center" and number(item.text) is not None:
                row, column = (item.y - raster.top) / cell, (item.x - raster.left) / cell
                if 0 <= row < rows and 0 <= column < columns:
                    texts[int(row), int(column)] = item.text
        if texts and abs(raster.height / rows - cell) < 1e-6:
            found.append((texts, raster.pixels))
    return found


def typed(text):
    """Numbers as typed on the command line, without the axis of the channels."""
    numbers = typed_numbers(text, "input")
    return numbers if len(numbers.values) > 1 else type(numbers)(numbers.values[0], numbers.texts[0])


LESSON = work_out(Convolution(4, 2), typed("12.5 2 -3.125 4; 0 1.5 2 13; 5 6 14 8; 9 1 2 3"), typed("1 2; 0 -1"))


def test_the_lesson():
    """Its outputs, its scale from 1 to 32, its terms as typed, and one colour for the 2 of input and kernel."""
    assert LESSON.output[0].tolist() == [[15, -6.25, -8.125], [-3, -8.5, 20], [16, 32, 27]]
    step = LESSON.step(0, 1)
    tint = step_tint(LESSON, step)
    assert (tint.limit, tint.unit) == (32, 1)
    page = explaining_page(LESSON, at=(0, 1))
    shown = words(page)
    assert {"2×1", "(−3.125)×2", "1.5×0", "2×(−1)", "2 − 6.25 + 0 − 2 = −6.25"} <= set(shown)
    assert "the framed cell, row 0, column 1 (counted from 0)" in shown
    assert any(text.endswith("numbers as typed; results exact") for text in shown)
    twos = {tuple(pixels[at]) for texts, pixels in matrices(page) for at, text in texts.items() if text == "2"}
    assert len(twos) == 1
    for value, share in ((32, 1), (-32, -1), (0, 0), (2, np.log(3) / np.log(33)), (-1, -np.log(2) / np.log(33))):
        assert tint.shares(np.array(float(value))) == pytest.approx(share, abs=0.005)


def test_typed_numbers_stand_as_typed():
    """1234.5 and −3.125 are not shortened, 12.50 keeps its zero, −0 is 0, 1e-5 is written as results are."""
    ours = work_out(Convolution(2, 2), typed("1234.5 2; -3.125 4"), typed("1 0.1; 2 3"))
    text = "\n".join(number_lines(ours, chosen_steps(ours, 0, None), 0))
    assert "row 0, column 0: 1234.5×1 + 2×0.1 + (−3.125)×2 + 4×3 = 1240.45" in text
    assert {"1234.5", "−3.125", "1240.45"} <= set(words(explaining_page(ours)))
    ours = work_out(Convolution(2, 1), typed("12.50 -0; +1e-5 .5"), typed("1"))
    assert {"12.50", "0", "1×10⁻⁵", ".5"} <= set(words(explaining_page(ours)))


def test_longer_numbers_are_rounded_and_it_is_said():
    """A number of seven digits is written in three, in text and picture, with a note; whole results are not touched."""
    ours = work_out(Convolution(2, 2), typed("1234567 2; 3 4"), typed("1 0; 0 0"))
    page = explaining_page(ours)
    assert "1.23×10⁶" in words(page)
    assert is_rounded(page)
    assert ROUNDED in "\n".join(number_lines(ours, chosen_steps(ours, 0, None), 0))
    assert not is_rounded(explaining_page(LESSON))


@pytest.mark.parametrize(
    ("data", "kernel", "sign"),
    [("12349.95 0; 0 0", "2 0; 0 0", "≈"), ("12.50 0; 0 1e-5", "1 0; 0 1", "≈"),
     ("99999999999999999999 2; 3 4", "1 1; 1 1", "≈"), ("1234.5 2; -3.125 4", "1 0.1; 2 3", "=")],
)  # fmt: skip
@pytest.mark.parametrize("channels", [1, 2])
def test_equals_is_written_before_exact_results_only(data, kernel, sign, channels):
    """If a term, a product or a result is rounded, each sum has ``≈`` in picture, text and caption, else ``=``."""
    given = "|".join([data] * channels), "|".join([kernel] * channels)
    operation = Convolution(2, 2, in_channels=channels)
    data, kernel = typed_numbers(given[0], "input"), typed_numbers(given[1], "kernel")
    ours = work_out(operation, data, kernel.spread(operation.kernel_shape))
    page = explaining_page(ours)
    assert sign in "".join(words(page))
    assert any("(≈)" in text for text in words(page)) == (sign == "≈")
    check_page(draw_page(page))
    if channels == 1:
        check_sums(page, result_of(page))
        assert sign_before(page, result_of(page)) == sign
    text = number_lines(ours, chosen_steps(ours, 0, None), 0)
    assert all(f" {sign} " in line for line in text if line.startswith("  row 0, column 0: "))


def test_powers_of_ten_have_one_spelling():
    """The same number is written alike in cells, terms and products, in brackets in sums, and without zeros at its end."""
    ours = work_out(Convolution(2, 2), typed("1e-5 2; 3 99999999999999999999"), typed("1 1; 1 1"))
    shown = words(explaining_page(ours))
    assert {"1×10⁻⁵", "(1×10⁻⁵)×1", "1×10²⁰", "(1×10²⁰)×1"} <= set(shown)
    assert "(−1×10⁶) + 0 + 0 + 1 ≈ −1×10⁶" in words(
        explaining_page(work_out(Convolution(2, 2), typed("-1000000.1 2; 3 1"), typed("1 0; 0 1")))
    )
    assert "(1×10⁻⁵) + 2 + 3 + (1×10²⁰) ≈ 1×10²⁰" in shown


@pytest.mark.parametrize("view", ["step", "stamps"])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize(("first", "kernel"), [("1e308 1e308", "10 1"), ("1e308 -1e308", "100 10"), ("1e308 3", "1 1")])
def test_what_overflows_is_infinite_everywhere_and_not_exact(first, kernel, channels, view):
    """A product or sum beyond every float is ∞ in all cells and sums, and the caption does not call it exact."""
    data = typed(f"{first}; 1 2" if channels == 1 else f"{first} | 1 2")
    operation = TransposedConvolution(data.values.shape[-2:], (1, 2), in_channels=channels)
    ours = work_out(operation, data, np.broadcast_to(typed(kernel).values, (channels, 1, 1, 2)))
    for at in ((0, 0), (0, 1)):
        shown = " ".join(words(explaining_page(ours, at=at, view=view)))
        assert re.search("inf|nan|10³(⁰⁹|¹)|e309", shown) is None
        assert ("∞" in shown) == ("1.8×10³⁰⁸" in shown) == (not np.isfinite(ours.output).all())
        assert "results exact" not in shown or "results exact up to 1.8×10³⁰⁸, ∞ beyond" in shown or "∞" not in shown


def test_a_finite_result_is_exact_although_a_channel_overflows():
    """Channels beyond every float that cancel out are written in full: ∞ would not add up."""
    kernel = np.array([[[[1.0, 1.0]], [[1.0, 0.0]]]])
    data = np.array([[[1e308, 1e308]], [[-1e308, 0]]])
    step = work_out(Convolution((1, 2), (1, 2), in_channels=2), data, kernel).step(0, 0)
    assert (step.value, float(step.exact), step.exact_sums[0]) == (1e308, 1e308, Decimal("2e308"))


def test_channels_that_are_not_drawn_are_finite_if_the_result_is():
    """What is left out adds up to the result: it is ∞ only if that is, also if it is beyond every float."""
    data = np.array([-1.01e308, -1.01e308, 1e308, 1e308] * 4).reshape(16, 1, 1)
    for values, result in ((data, float(sum(map(Fraction, data.flat)))), (np.abs(data), np.inf)):
        ours = work_out(Convolution(1, 1, in_channels=16), values, np.ones((1, 16, 1, 1)))
        ours = replace(ours, output=np.full((1, 1, 1), result))  # NumPy may add them in an order that overflows
        shown = words(explaining_page(ours))
        assert any(text.startswith("the other ") for text in shown)
        assert np.isfinite(result) == ("∞" not in " ".join(shown))


def test_python_numbers_are_as_exact_as_typed_ones():
    """Floats given in Python are written with up to six digits, and 0.1 · 3 is 0.3."""
    ours = work_out(Convolution((1, 3), (1, 3)), [[0.1, 0.2, -0.3]], [[1, 1, 1]])
    assert "0.1 + 0.2 − 0.3 = 0" in words(explaining_page(ours))
    assert not is_rounded(explaining_page(ours))


def test_one_long_number_leaves_the_others():
    """One 1e-5 among the numbers of a 3 × 3 input is smaller, and all the others are there."""
    for tiny in ("1e-5", "0.00001"):
        page = explaining_page(work_out(Convolution(3, 2), typed(f"8 6 5; {tiny} 2 3; 4 7 9"), typed("1 0; 0 1")))
        (texts, _), *_ = matrices(page)
        assert len(texts) == 9
        sizes = {item.text: item.size for item in page.items if isinstance(item, Text) and item.middle}
        assert sizes["1×10⁻⁵" if "e" in tiny else tiny] < sizes["5"]


LONG = [
    ("-1234567 2 3; 4 5 6; 7 8 9", "1 0; 0 1"), ("1234567 2 3; 4 5 6; 7 8 9", "-1 0.333333; 2 -1.25"),
    ("1 2 3; 4 5 -0.000123457; 7 8 9", "1 0; 0 1"), ("-1234567 2 3; 4 5 6; 7 8 9|1 2 3; 4 5 6; 7 8 9", "1 0; 0 1|2 1; 1 2"),
]  # fmt: skip


@pytest.mark.parametrize(("data", "kernel"), LONG)
@pytest.mark.parametrize("view", ["step", "steps"])
def test_a_number_too_long_for_its_cell_is_shortened_alone(data, kernel, view):
    """The other numbers of input, kernel and output keep their digits, and the caption states it."""
    data, kernel = typed_numbers(data, "input"), typed_numbers(kernel, "kernel")
    operation = Convolution(3, 2, in_channels=len(data.values))
    page = explaining_page(work_out(operation, data, kernel.spread(operation.kernel_shape)), view=view)
    shown = [{*texts.values()} for texts, pixels in matrices(page) if pixels.shape[:2] == (3, 3)]
    assert len(shown) == (len(data.values) if view == "step" else 4)
    assert all({"2", "3", "4", "5", "7", "8", "9"} <= each for each in shown)
    short = [item.text for item in page.items if isinstance(item, ShortText)]
    assert ("numbers too long for their cells" in " ".join(words(page))) == bool(short)
    check_page(draw_page(page))


def test_cells_that_are_not_computed_yet_differ_from_zeros():
    """On a sheet of steps each of them has a dot, which the caption explains."""
    page = explaining_page(work_out(Convolution(3, 2), np.zeros((3, 3)), np.ones((2, 2))), view="steps")
    dots = [len(item.lines) for item in page.items if isinstance(item, Strokes) and item.colour == BORDER]
    assert dots == [3, 2, 1]
    assert any("with a dot are not computed yet" in text for text in words(page))


def test_captions_explain_the_signs_of_their_page():
    """No caption explains a sign that is not drawn, and every sum of products has an equals sign."""
    steps = words(explaining_page(LESSON, view="steps"))
    assert not any("∗" in text for text in steps)
    operation = Convolution(3, 2, in_channels=3)
    shown = words(explaining_page(work_out(operation, *example_numbers(operation))))
    assert shown.count("Σ =") == 3
    assert any(text.startswith("× : multiply window and kernel cell by cell; Σ : add up") for text in shown)


def test_sum_and_size_are_beside_each_other():
    """If both fit the width of the page, their headings have the same height."""
    heads = [item for item in explaining_page(LESSON, at=(0, 1)).items if isinstance(item, Text)]
    heights = {item.y for item in heads if item.text.startswith(("the framed cell", "the size of"))}
    assert len(heights) == 1


def test_marking_leaves_colours():
    """The cell in the frame has the colour of its value, and so have all cells outside the window."""
    values = np.arange(1, 26).reshape(5, 5)
    pages = animate_convolution(work_out(Convolution(5, 3), values, [[1, 2, 3], [4, 5, 6], [7, 8, 9]])).pages
    colours = defaultdict(set)
    for page in pages:
        for texts, pixels in matrices(page):
            for at, text in texts.items():
                colours[text].add(tuple(pixels[at]))
    assert {len(found) for found in colours.values()} == {1}
    assert len({next(iter(colours[text])) for text in ("411", "681", "951")}) == 3


@pytest.mark.parametrize(("size", "side"), [(12, 3), (25, 5)])
def test_input_and_window_share_their_scale(size, side):
    """The pixels of a large input are those of the same numbers in the enlarged window; a zero is white everywhere."""
    operation = Convolution(size, side)
    ours = work_out(operation, *example_numbers(operation))
    page = explaining_page(ours)
    rasters = [item.pixels for item in page.items if isinstance(item, Raster)]
    whole = next(each for each in rasters if each.shape == (size, size, 3))
    window, kernel = (each for each in rasters if each.shape == (side, side, 3))
    np.testing.assert_array_equal(whole[:side, :side], window)
    assert (whole[ours.input[0] == 0] == 255).all()
    assert (kernel[ours.kernel[0, 0] == 0] == 255).all()


@pytest.mark.parametrize(
    "operation", [TransposedConvolution(2, 2, stride=2), TransposedConvolution(2, 3, in_channels=2),
                  TransposedConvolution(20, 3)], ids=repr,
)  # fmt: skip
@pytest.mark.parametrize("view", ["step", "steps"])
def test_a_turned_kernel_is_called_turned(operation, view):
    """Wherever a transposed convolution is drawn as a convolution, beside the kernel and in the caption."""
    shown = words(explaining_page(work_out(operation, *example_numbers(operation)), view=view))
    assert "flipped" in shown
    assert any("here the kernel is flipped (rotated by 180°)" in text for text in shown)
    assert not any("not flipped" in text for text in shown)


def test_what_padding_cuts_off_a_stamp_is_drawn():
    """All nine numbers of each stamp are there, those outside of the output in dashed cells."""
    operation = TransposedConvolution(2, 3, stride=2, padding=1)
    ours = work_out(operation, typed("8 6; 5 2"), typed("1 2 3; 4 5 6; 7 8 9"))
    page = explaining_page(ours, view="stamps")
    stamps = [texts for texts, pixels in matrices(page) if pixels.shape[:2] == (5, 5)]
    assert [len(texts) for texts in stamps] == [9, 9, 9, 9]
    assert stamps[0] == {(i, j): str(8 * (3 * i + j + 1)) for i in range(3) for j in range(3)}
    assert any(isinstance(item, Strokes) and item.dashed and item.colour == DASH for item in page.items)
    assert any("dashed, not in the output" in text for text in words(page))
    frames = animate_convolution(ours, view="stamps").pages
    cut = [texts for texts, pixels in matrices(frames[0]) if pixels.shape[:2] == (5, 5)]
    assert len(cut) == 1
    assert {"8", "16", "24", "32"} <= set(cut[0].values())


def test_negative_factors_of_stamps_are_in_brackets():
    """The heading of a stamp is ``(−2) × kernel``, as in sums."""
    ours = work_out(TransposedConvolution(2, 2), typed("-2 1; 3 4"), typed("1 2; 3 4"))
    assert {"(−2)", "1", "× kernel"} <= set(words(explaining_page(ours, view="stamps")))


def test_every_letter_of_a_formula_is_explained():
    """Each letter has a name and a value in picture and text, and rounding down is explained once."""
    shown = words(explaining_page(LESSON, at=(0, 1)))
    for letter, name, value in (("i", "input", "4"), ("p", "padding", "0"), ("k", "kernel", "2"), ("s", "stride", "1")):
        assert {letter, name, value} <= set(shown)
    assert sum("⌊ ⌋ round down" in text for text in shown) == 1
    assert sum("∗ :" in text for text in shown) == 1
    assert sum("counted from 0" in text for text in shown) == 1


def random_text(random, kind, shape):
    """Numbers of a kind as they are typed."""
    make = {
        "whole": lambda: str(random.integers(-9, 10)),
        "decimals": lambda: f"{random.integers(-999, 1000) / 100:.2f}",
        "large": lambda: str(random.integers(-99999, 100000)),
        "tiny": lambda: f"{random.integers(-9, 10)}e-{random.integers(4, 8)}",
        "mixed": lambda: random.choice(["0.5", "1e4", "-3", "1234.5", "-0", ".25", "7e-3", "100000", "-12.50"]),
        "long": lambda: repr(float(random.normal() * 10.0 ** random.integers(-3, 4))),
    }[kind]
    planes = (";".join(" ".join(make() for _ in range(shape[2])) for _ in range(shape[1])) for _ in range(shape[0]))
    return "|".join(planes) + ";"


KINDS = ("whole", "decimals", "large", "tiny", "mixed", "long")


def random_case(seed):
    """An operation with typed numbers, worked out, torch's output, and a cell."""
    random = np.random.default_rng(seed)
    while True:
        channels, outputs = int(random.choice([1, 1, 1, 2, 3])), int(random.integers(1, 3))
        size = tuple(map(int, random.integers(1, 7, 2)))
        kernel, stride, dilation, padding = (
            tuple(map(int, random.integers(low, high, 2))) for low, high in ((1, 4), (1, 3), (1, 3), (0, 2))
        )
        which = random.choice(["convolution", "convolution", "transposed", "maximum", "average"])
        try:
            if which == "convolution":
                operation = Convolution(size, kernel, stride=stride, dilation=dilation, padding=padding,
                                        in_channels=channels, out_channels=outputs, bias=bool(seed % 2))  # fmt: skip
            elif which == "transposed":
                operation = TransposedConvolution(size, kernel, stride=stride, dilation=dilation, padding=padding,
                                                  in_channels=channels, out_channels=outputs)  # fmt: skip
            else:
                around = tuple(min(each, side // 2) for each, side in zip(padding, kernel, strict=True))
                operation = Pooling(size, kernel, stride=stride, padding=around, in_channels=channels,
                                    kind="max" if which == "maximum" else "average")  # fmt: skip
        except UsageError:
            continue
        break
    kinds = [random.choice(KINDS) for _ in range(3)]
    data = typed_numbers(random_text(random, kinds[0], (channels, *size)), "input")
    weight = bias = None
    if not isinstance(operation, Pooling):
        first, second, *sides = operation.kernel_shape
        planes = typed_numbers(random_text(random, kinds[1], (first * second, *sides)), "kernel")
        weight = planes.spread(operation.kernel_shape)
    if getattr(operation, "bias", False):
        biases = typed_numbers(random_text(random, kinds[2], (1, 1, operation.out_channels)), "bias")
        bias = type(biases)(biases.values.ravel(), biases.texts.ravel())
    at = tuple(int(random.integers(side)) for side in operation.output_size)
    worked = work_out(operation, data, weight, bias)
    return worked, at, int(random.integers(operation.out_channels)), torch_output(worked)


def torch_output(worked):
    """The output by torch in float64."""
    operation, data = worked.operation, torch.from_numpy(worked.input)[None]
    if isinstance(operation, Pooling):
        pool = functional.max_pool2d if operation.kind == "max" else functional.avg_pool2d
        return pool(data, operation.kernel, operation.stride, operation.padding)[0].numpy()
    kernel = torch.from_numpy(worked.kernel)
    bias = None if worked.bias is None else torch.from_numpy(worked.bias)
    settings = {"stride": operation.stride, "dilation": operation.dilation, "padding": operation.padding[::2]}
    if isinstance(operation, TransposedConvolution):
        settings["padding"] = operation.padding
        return functional.conv_transpose2d(data, kernel, bias, **settings)[0].numpy()
    return functional.conv2d(data, kernel, bias, **settings)[0].numpy()


def added(terms):
    """The sum of ``2 − 6.25 + (1×10⁻⁵)``."""
    first, *rest = re.split(r" ([+−]) ", terms)
    return number(first) + sum(
        number(each) * (1 if sign == "+" else -1) for sign, each in zip(rest[::2], rest[1::2], strict=True)
    )


def sign_before(page, result):
    """The sign at the left of the result of the framed cell, at its height."""
    texts = [item for item in page.items if isinstance(item, Text)]
    where = next(item for item in texts if item.text == result and item.bold and item.size == FORMULA - 1)
    return next(item.text for item in texts if item.text in "=≈" and item.y == where.y and item.x < where.x)


def check_sums(page, result):
    """With ``=`` the terms and the products on the page add up to the result as printed, else the sign is ``≈``."""
    shown = words(page)
    exact = not is_rounded(page)
    terms = [found for text in shown if (found := TERM.fullmatch(text))]
    products = [number(found[1]) * number(found[2]) for found in terms]
    biases = [number(text.removesuffix(" bias")) for text in shown if text.endswith(" bias")]
    if products and sign_before(page, result) == "=":
        assert sum(products + biases) == number(result)
    for text in shown:
        terms, equals, total = text.rpartition(" = ")
        if equals and re.fullmatch(rf"{NUMBER}(?: [+−] {NUMBER})*", terms):
            assert added(terms) == number(total) == number(result), text
    assert exact <= ("≈" not in "".join(shown))
    for texts, _ in matrices(page):
        assert all(number(text) is not None for text in texts.values())


def check_channels(page, step):
    """Window × kernel = products in every channel, products add up to sums, and sums to the result, as printed."""
    numbers = [{at: number(text) for at, text in texts.items()} for texts, _ in matrices(page)]
    size = step.window.shape[1:]
    products = [each for each in numbers if len(each) == size[0] * size[1]]
    sums = [number(item.text) for item in page.items if isinstance(item, Text) and item.bold and item.align == "right"]
    if is_rounded(page) or None in sums:
        return
    *parts, total = sums
    assert sum(parts) == total
    for plane, part in enumerate(parts[: len(step.channels)]):
        window, weights = step.window[plane].astype(float), step.weights[plane]
        made = {at: Fraction(repr(float(window[at]))) * Fraction(repr(float(weights[at]))) for at in np.ndindex(*size)}
        assert sum(made.values()) == part
        assert made in products or len(products) < 2 * len(step.channels)


def check_colours(page):
    """Equal numbers have equal pixels in all matrices of a page; a zero is white."""
    colours = defaultdict(set)
    for texts, pixels in matrices(page):
        for at, text in texts.items():
            colours[number(text)].add(tuple(map(int, pixels[at])))
    if not is_rounded(page):
        assert all(len(found) == 1 for found in colours.values()), colours
        assert colours.get(Fraction(0), {(255, 255, 255)}) == {(255, 255, 255)}


def check_truth(seed):
    """All that has to be true of the pages of one setting."""
    worked, at, channel, theirs = random_case(seed)
    operation, step = worked.operation, worked.step(*at, channel)
    largest = np.abs(worked.input).max() * (1.0 if worked.kernel is None else np.abs(worked.kernel).max())
    terms = step.window.size * largest + (0 if worked.bias is None else np.abs(worked.bias).max())
    np.testing.assert_allclose(worked.output, theirs, rtol=1e-12, atol=1e-15 * terms)
    views = ["step", "steps", *(["stamps"] if isinstance(operation, TransposedConvolution) else [])]
    for view in views:
        page = explaining_page(worked, at=at, channel=channel, view=view)
        check_colours(page)
        if view == "step":
            result = result_of(page)
            close = Fraction(float(theirs[channel][at]))
            error = Fraction(float(1e-15 * terms)) + (abs(close) / 100 if is_rounded(page) else abs(close) / 10**12)
            assert abs(number(result) - close) <= error
            check_sums(page, result) if len(step.channels) == 1 else check_channels(page, step)


def result_of(page):
    """The text of the result of the framed cell: under a line below the sums of channels, or behind a sum."""
    bold = [item for item in page.items if isinstance(item, Text) and item.bold]
    totals = [item.text for item in bold if item.size == FORMULA and item.align == "right"]
    return totals[0] if totals else next(item.text for item in bold if item.size == FORMULA - 1)


@pytest.mark.parametrize("seed", [*range(0, 500, 10), 87])
def test_numbers_read_back_give_the_sums(seed):
    """A sample of the random settings."""
    check_truth(seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(500))
def test_numbers_read_back_give_the_sums_of_all(seed):
    """500 random settings: integers, decimals, large, tiny and long numbers, one and several channels."""
    check_truth(seed)


@pytest.mark.sampled
@pytest.mark.parametrize("seed", [5, 173, *range(3, 500, 60), 217])
def test_pages_of_random_settings_are_legible(seed):
    """No text of a sample meets another, leaves the page, or is below nine pixels at a width of 640."""
    worked, at, channel, _ = random_case(seed)
    figure = draw_page(explaining_page(worked, at=at, channel=channel))
    check_page(figure)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(500))
def test_all_pages_of_random_settings_are_legible(seed):
    """The same of all, in every view; sheets of steps are laid out as their outputs, which may be narrow."""
    worked, at, channel, _ = random_case(seed)
    views = ["step", "steps", *(["stamps"] if isinstance(worked.operation, TransposedConvolution) else [])]
    for view in views:
        check_page(draw_page(explaining_page(worked, at=at, channel=channel, view=view)), filled=view != "steps")


@pytest.mark.parametrize(
    ("operation", "view", "limit"),
    [(Convolution(3, 2), "step", 90), (Convolution(3, 2), "steps", 90), (Convolution(3, 2, in_channels=2), "step", 90),
     (TransposedConvolution(3, 2), "stamps", 270)],
)  # fmt: skip
def test_the_recipe_has_the_limits_of_what_is_drawn(operation, view, limit):
    """Not those of the output alone: the colours are also those of the input, the kernel, the products and the stamps."""
    data, kernel, _ = example_numbers(operation)
    data[..., 0, 0] = 90
    kernel = np.zeros_like(kernel)
    kernel[..., -1, -1] = 3 if view == "stamps" else 1
    data[..., 1:, 1:] = 2
    ours = work_out(operation, data, kernel)
    recipe = plot_convolution(ours, view=view).recipe
    low, high = recipe["limits"]
    assert high == limit
    assert low in (0, -high)
    assert high >= np.abs(ours.output).max()


def test_equal_numbers_have_equal_pixels_when_drawn():
    """In the rendered page a corner of each cell, free of digits and frames, has the colour of its number."""
    page = explaining_page(LESSON, at=(0, 1))
    figure = draw_page(page)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    drawn = np.asarray(canvas.buffer_rgba())[..., :3]
    scale = drawn.shape[1] / page.width
    colours = defaultdict(set)
    for raster in (item for item in page.items if isinstance(item, Raster) and item.pixels.shape[1] > 1):
        cell = raster.width / raster.pixels.shape[1]
        texts = next(texts for texts, pixels in matrices(page) if pixels is raster.pixels)
        for (row, column), text in texts.items():
            y, x = raster.top + (row + 0.12) * cell, raster.left + (column + 0.5) * cell
            colours[text].add(tuple(map(int, drawn[int(y * scale), int(x * scale)])))
    assert len(colours["2"]) == len(colours["0"]) == len(colours["1"]) == 1
    assert colours["0"] == {(255, 255, 255)}
    assert all(len(found) == 1 for found in colours.values())

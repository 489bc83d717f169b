"""Every text of every kind of worked-out page is legible and overlaps nothing."""

from __future__ import annotations

import re
from collections import Counter

import numpy as np
import pytest
from matplotlib.text import Text
from page_checks import check_page

from kernelviz import Convolution, Pooling, TransposedConvolution, animate_convolution, work_out
from kernelviz.drawing.figures import RasterArtist, draw_page
from kernelviz.explain.plots import plot_convolution
from kernelviz.explain.texts import number_texts
from kernelviz.explain.walkthrough import example_numbers

OPERATIONS = {
    "plain": Convolution(5, 3),
    "one cell": Convolution(1, 1),
    "one weight": Convolution(6, 1, stride=2),
    "stride and padding": Convolution(5, 3, stride=2, padding=1),
    "left over": Convolution(6, 3, stride=2, padding=1, bias=True),
    "gaps": Convolution(9, 2, stride=4),
    "dilation": Convolution(7, 3, dilation=2),
    "asymmetric": Convolution((4, 7), (2, 3), padding=(1, 0, 2, 1), bias=True),
    "same": Convolution(6, 4, padding="same"),
    "both axes": Convolution((12, 3), (5, 1), stride=(3, 1), dilation=(2, 1), padding=(2, 0)),
    "a row": Convolution((1, 12), (1, 3)),
    "a column": Convolution((12, 1), (3, 1), stride=(2, 1)),
    "kernel of 7": Convolution(9, 7, padding=1),
    "kernel of 11": Convolution(15, 11, stride=4),
    "16 rows": Convolution(16, 3, padding=1),
    "large": Convolution(25, 5, stride=2),
    "huge": Convolution(224, 7, stride=2, padding=3),
    "wide": Convolution((3, 300), 3, padding=1),
    "tall": Convolution((300, 3), (9, 3)),
    "slim": Convolution((3, 60), 3, stride=2),
    "slim and tall": Convolution((60, 3), 3),
    "slim row": Convolution((1, 200), (1, 3), in_channels=1, padding=(0, 1)),
    "slim channels": Convolution((2, 60), (1, 3), in_channels=3),
    "slim transposed": TransposedConvolution((1, 40), (2, 4), stride=2),
    "slim pool": Pooling((60, 2), (3, 2)),
    "channels": Convolution(4, 3, in_channels=3, bias=True),
    "groups": Convolution(6, 3, in_channels=4, out_channels=4, groups=2, padding=1),
    "depthwise": Convolution(9, 3, in_channels=4, out_channels=4, groups=4, stride=2),
    "many channels": Convolution(28, 3, in_channels=64, out_channels=8, padding=1, bias=True),
    "channels and 7": Convolution(30, 7, in_channels=3, out_channels=2, stride=2, padding=3),
    "channels and 11": Convolution(30, 11, in_channels=3),
    "pointwise": Convolution(5, 1, in_channels=12, out_channels=3),
    "max": Pooling(4, 2),
    "overlapping max": Pooling(9, 3, stride=2, padding=1, dilation=2),
    "average": Pooling(6, 3, stride=2, padding=1, ceil_mode=True, kind="average"),
    "average of the input": Pooling(6, 3, stride=2, padding=1, kind="average", count_include_pad=False),
    "channels of a pool": Pooling(6, 3, in_channels=3),
    "adaptive": Pooling(7, adaptive=(3, 2), kind="average"),
    "global": Pooling(7, adaptive=1, kind="average"),
    "large pool": Pooling(30, 3, stride=2, padding=1),
    "large window": Pooling(30, 14, kind="average"),
    "transposed": TransposedConvolution(2, 2, stride=2),
    "transposed 1": TransposedConvolution(1, 4, stride=3),
    "transposed and cut": TransposedConvolution(3, 2, stride=2, padding=2, output_padding=1),
    "transposed and dilated": TransposedConvolution((2, 3), 3, dilation=2, bias=True),
    "transposed channels": TransposedConvolution(5, 3, stride=2, padding=1, in_channels=4, out_channels=2, groups=2),
    "many stamps": TransposedConvolution(7, 5),
    "large transposed": TransposedConvolution(20, 4, stride=2, padding=1),
}


def tiny_and_huge(size):
    """Numbers of every order, of both signs."""
    return np.geomspace(1e-9, 1e9, np.prod(size)).reshape(size) * np.where(np.indices(size)[-1] % 2, 1, -1)


NUMBERS = {
    "digits": lambda size: np.random.default_rng(0).integers(-9, 10, size).astype(float),
    "hundreds": lambda size: np.random.default_rng(0).integers(-999, 1000, size).astype(float),
    "real": lambda size: np.random.default_rng(0).normal(size=size),
    "tiny and huge": tiny_and_huge,
    "zeros": np.zeros,
    "endless": lambda size: np.resize([0.123456, 1e9, -3e-7, 5], size),
}


def worked(operation, kind="digits"):
    """The operation worked out on numbers of this kind."""
    make = NUMBERS[kind]
    data, kernel, bias = example_numbers(operation)
    return work_out(
        operation,
        make(data.shape),
        None if kernel is None else make(kernel.shape),
        None if bias is None else make(bias.shape),
    )


@pytest.mark.sampled
@pytest.mark.parametrize("name", OPERATIONS)
def test_the_texts_of_the_last_step_do_not_overlap(name):
    """The page of the last cell leaves its texts legible, apart, in their cells and on the page."""
    operation = OPERATIONS[name]
    rows, columns = operation.output_size
    check_page(plot_convolution(worked(operation), at=(rows - 1, columns - 1), channel=operation.out_channels - 1))


@pytest.mark.slow
@pytest.mark.parametrize("kind", NUMBERS)
@pytest.mark.parametrize("name", OPERATIONS)
def test_the_texts_of_steps_of_any_numbers_do_not_overlap(name, kind):
    """The pages of the first cell and of one in the middle, of every operation and all kinds of numbers."""
    operation = OPERATIONS[name]
    rows, columns = operation.output_size
    for at in ((0, 0), (rows // 2, columns // 2)):
        check_page(plot_convolution(worked(operation, kind), at=at))


@pytest.mark.sampled
@pytest.mark.parametrize("kind", [kind for kind in NUMBERS if kind != "digits"])
@pytest.mark.parametrize(
    "name", ["plain", "one weight", "asymmetric", "large", "channels", "average", "transposed", "adaptive"]
)
def test_any_numbers_do_not_overlap(name, kind):
    """Long numbers and real ones shrink, or give way to colours, and never meet."""
    check_page(plot_convolution(worked(OPERATIONS[name], kind), at=(0, 0)))


@pytest.mark.sampled
@pytest.mark.parametrize("name", ["plain", "one cell", "left over", "dilation", "large", "huge", "channels", "max",
                                  "adaptive", "transposed", "a row", "tall"])  # fmt: skip
def test_the_texts_of_every_sheet_of_steps_do_not_overlap(name):
    """A sheet of steps leaves its texts legible, apart and on the page."""
    check_page(plot_convolution(worked(OPERATIONS[name]), view="steps"))


@pytest.mark.parametrize("kind", ["digits", "real"])
@pytest.mark.parametrize("name", [name for name in OPERATIONS if isinstance(OPERATIONS[name], TransposedConvolution)])
def test_the_texts_of_stamps_do_not_overlap(name, kind):
    """Stamps leave their texts legible, apart, in their cells and on the page."""
    operation = OPERATIONS[name]
    rows, columns = operation.output_size
    check_page(plot_convolution(worked(operation, kind), at=(rows // 2, columns // 2), view="stamps"))


@pytest.mark.sampled
@pytest.mark.parametrize(
    ("operation", "at"),
    [(TransposedConvolution((4, 6), (2, 1), stride=(2, 1), dilation=2), (7, 3)), (TransposedConvolution((9, 1), 1), (3, 0)),
     (TransposedConvolution((12, 2), 1, stride=2), (3, 0)), (TransposedConvolution((16, 1), (3, 1)), (3, 0))],
)  # fmt: skip
def test_narrow_stamps_leave_no_third_of_the_page_empty(operation, at):
    """Where few or no stamps meet on the framed cell of a tall output, they are beside the input and the kernel."""
    check_page(plot_convolution(worked(operation), at=at, view="stamps"))


@pytest.mark.sampled
@pytest.mark.parametrize("name", [name for name in OPERATIONS if name.startswith("slim") and "channels" not in name])
def test_slim_inputs_are_drawn_in_part(name):
    """The window is always within the part; cells are large enough to be seen, and the caption states the part."""
    operation = OPERATIONS[name]
    shown = worked(operation)
    rows, columns = operation.output_size
    for part in (0, 0.1, 1 / 3, 0.5, 0.9):
        at = int(part * (rows - 1)), int(part * (columns - 1))
        figure = plot_convolution(shown, at=at)
        check_page(figure)
        rasters = [each for each in figure.findobj(RasterArtist) if each.get_window_extent().height > 17]  # no bars
        assert min(each.get_window_extent().width / each.pixels.shape[1] for each in rasters) >= 12
        said = " ".join(text.get_text() for text in figure.findobj(Text))
        origin = (0, 0) if "transposed" in name else shown.canvas.origin
        window = [side[place] for side, place in zip((shown.canvas.rows, shown.canvas.columns), at, strict=True)]
        noun, axis = ("rows", 0) if rows > columns else ("columns", 1)
        found = re.search(rf"only {noun} (−?\d+) to (\d+) of the", said)
        first, last = (int(number.replace("−", "-")) + origin[axis] for number in found.groups())
        assert first <= window[axis][0] <= window[axis][-1] <= last


@pytest.mark.parametrize(
    ("operation", "at"),
    [
        (Convolution((16, 1), (6, 1)), (4, 0)),
        (Convolution((1, 16), (1, 6)), (0, 4)),
        (Convolution(16, (1, 16)), (3, 0)),
        pytest.param(Convolution(16, (16, 1)), (0, 3), marks=pytest.mark.slow),
        pytest.param(Convolution((24, 1), (16, 1)), (3, 0), marks=pytest.mark.slow),
        pytest.param(Convolution((40, 1), (16, 1)), (9, 0), marks=pytest.mark.slow),
        pytest.param(Convolution((1, 40), (1, 16)), (0, 9), marks=pytest.mark.slow),
        pytest.param(Convolution((18, 1), (5, 1), stride=(2, 1), padding=(2, 0)), (3, 0), marks=pytest.mark.slow),
        pytest.param(Pooling((16, 1), (4, 1)), (1, 0), marks=pytest.mark.slow),
        pytest.param(Pooling((16, 1), (4, 1), kind="average"), (1, 0), marks=pytest.mark.slow),
    ],
)
def test_kernels_of_one_column_or_row_have_their_numbers(operation, at):
    """A signal is drawn along its direction; all numbers of the window, and those of the kernel, are legible."""
    shown, step = worked(operation), worked(operation).step(*at)
    figure = plot_convolution(shown, at=at)
    check_page(figure, filled=operation.kernel[0] < operation.kernel[1])
    texts = Counter(text.get_text() for text in figure.findobj(Text))
    numbers = [*number_texts(step.window).flat, *([] if step.weights is None else number_texts(step.weights).flat)]
    assert not Counter(numbers) - texts


@pytest.mark.sampled
@pytest.mark.parametrize("most", [1, 9, 60, 0.25])
def test_frames_of_stamps_do_not_overlap(most):
    """Frames of additions and the last one, for short numbers and for long ones, which are below each other."""
    operation = TransposedConvolution((2, 3), 2, bias=True)
    data, kernel, bias = example_numbers(operation, 3)
    pages = animate_convolution(work_out(operation, most * data, kernel, bias), view="stamps").pages
    for page in (pages[1], pages[-3], pages[-1]):
        check_page(draw_page(page))

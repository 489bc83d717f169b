"""Pages of images as numbers, of pools, and of transposed convolutions of several channels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from matplotlib.text import Text
from page_checks import check_page
from torch import nn

import kernelviz
from kernelviz import Convolution, Pooling, TransposedConvolution, animate_convolution, plot_convolution, work_out
from kernelviz.drawing.page import Shape
from kernelviz.drawing.page import Text as PageText
from kernelviz.explain.plots import explaining_page
from kernelviz.explain.stamp_channels import StampGrid
from kernelviz.explain.step_parts import grey_colours
from kernelviz.explain.walkthrough import example_numbers
from kernelviz.wording import value_text

TRANSPOSED = {
    "two": TransposedConvolution(2, 3, stride=2, in_channels=2),
    "outputs": TransposedConvolution(2, 2, stride=2, in_channels=2, out_channels=2, bias=True),
    "groups": TransposedConvolution(3, 3, stride=2, padding=1, in_channels=4, out_channels=4, groups=2),
    "many": TransposedConvolution((2, 3), 3, padding=1, dilation=2, in_channels=6, bias=True),
    "row": TransposedConvolution((1, 4), (1, 3), stride=2, output_padding=(0, 1), in_channels=3),
}


def worked_out(operation):
    """An operation with example numbers."""
    return work_out(operation, *example_numbers(operation))


def by_torch(worked):
    """The output of torch."""
    operation = worked.operation
    given = [None if each is None else torch.tensor(each) for each in (worked.input, worked.kernel, worked.bias)]
    return nn.functional.conv_transpose2d(
        given[0][None], given[1], given[2], stride=operation.stride, padding=operation.padding,
        output_padding=operation.output_padding, groups=operation.groups, dilation=operation.dilation,
    )[0].numpy()  # fmt: skip


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("groups", "many", "row")]


@pytest.mark.parametrize("name", ["two", "outputs", *SLOW])
def test_the_stamps_of_all_channels_add_up_to_the_output_of_torch(name):
    """Stamps of each channel, without what is cut off, and the bias make the output; the page is legible."""
    worked = worked_out(TRANSPOSED[name])
    channel = worked.operation.out_channels - 1
    grid = StampGrid(worked, worked.step(0, 0, channel))
    rows, columns = worked.operation.output_size
    for step, stamps in zip(grid.steps, grid.stamps, strict=True):
        total = np.zeros((rows, columns))
        for stamp in stamps:
            for (i, j), value in np.ndenumerate(stamp.values):
                row, column = stamp.rows[i], stamp.columns[j]
                if 0 <= row < rows and 0 <= column < columns:
                    total[row, column] += float(value)
        total += 0 if worked.bias is None else worked.bias[step.channel]
        if not grid.rest:
            assert np.array_equal(total, by_torch(worked)[step.channel])
    check_page(plot_convolution(worked, channel=channel, view="stamps"))


def test_the_animation_of_several_channels_ends_with_the_output_of_torch():
    """Each page has the stamps of every channel and their sum; the last one has the output."""
    worked = worked_out(TRANSPOSED["two"])
    pages = animate_convolution(worked, view="stamps").pages
    shown = [int(i.text.replace("−", "-")) for i in pages[-1].items if isinstance(i, PageText) and i.align == "center"]
    for value in by_torch(worked).ravel():
        assert int(value) in shown
    heads = [item.text for item in pages[0].items if isinstance(item, PageText)]
    assert {"channel 0", "channel 1", "all channels"} <= set(heads)


def test_black_and_white_digits_are_legible():
    """Digits of black cells are white, of white ones dark; padding between them is grey; the page states it."""
    image = [[-1, -1, 1], [-1, 1, -1], [1, -1, -1]]
    worked = replace(work_out(Convolution(3, 2, padding=1), image, [[1, 0], [0, -1]]), greys=(-1.0, 1.0))
    assert grey_colours(worked, np.array([[-1.0, 0.0, 1.0]])).tolist() == [[[0] * 3, [128] * 3, [255] * 3]]
    figure = plot_convolution(worked, at=(1, 1))
    colours = {text.get_color() for text in figure.findobj(Text) if text.get_text() in ("−1", "1")}
    assert "#ffffff" in colours
    assert any("−1 is black, 1 is white" in text.get_text() for text in figure.findobj(Text))
    check_page(figure)


ROWS = {
    "convolution": Convolution((1, 16), (1, 6)),
    "padded": Convolution((1, 16), (1, 6), stride=2, padding=(0, 2)),
    "last": Convolution((1, 24), 1),
    "maximum": Pooling((1, 18), (1, 3)),
    "mean": Pooling((1, 18), (1, 3), kind="average"),
}


@pytest.mark.parametrize(
    "name", ["padded", *(pytest.param(name, marks=pytest.mark.slow) for name in ROWS if name != "padded")]
)
def test_a_single_row_has_all_its_digits(name):
    """A signal of up to 24 values is drawn whole and with digits, its kernel below the window, also in the last step."""
    worked = worked_out(ROWS[name])
    columns = worked.operation.output_size[1]
    figure = plot_convolution(worked, at=(0, columns - 1))
    shown = [text.get_text() for text in figure.findobj(Text)]
    for value in (*worked.input.ravel(), *worked.output.ravel()):
        assert shown.count(value_text(value)) >= (worked.input == value).sum() + (worked.output == value).sum()
    assert not any(text.endswith("are drawn") for text in shown)
    check_page(figure)


def test_the_numbers_of_an_image_are_on_its_page():
    """Each pixel's number is drawn on its colour, three of a coloured one; of a large image the part."""
    pixels = np.random.default_rng(0).integers(0, 256, (3, 4, 3)).astype(np.uint8)
    figure = kernelviz.plot_pixels(kernelviz.read_image(pixels))
    shown = [text.get_text() for text in figure.findobj(Text)]
    assert all(shown.count(str(value)) >= (pixels == value).sum() for value in np.unique(pixels))
    assert "4 wide × 3 high = 12 pixels, × 3 colours = 36 numbers" in shown
    check_page(figure)
    large = kernelviz.plot_pixels(kernelviz.read_image(np.zeros((40, 50), np.uint8)), at=(39, 0), size=(1, 5))
    assert (large.recipe["shown"], large.recipe["total"]) == (5, 2000)


def same_pad(x):
    """The padding of TensorFlow before a maximum."""
    return nn.functional.max_pool2d(nn.functional.pad(x, (0, 1, 0, 1), value=-np.inf), 3, 2)


class Function(nn.Module):
    """A function as a module."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        """Call it."""
        return self.function(x)


POOLS = [
    nn.MaxPool2d(3, 2, 1), nn.MaxPool2d(2, ceil_mode=True), nn.MaxPool2d(3, 1, 1, dilation=2), nn.MaxPool2d((1, 3), (2, 1)),
    nn.AvgPool2d(2), nn.AvgPool2d(3, 2, 1), nn.AvgPool2d(3, 2, 1, count_include_pad=False),
    nn.AvgPool2d(3, 2, 1, ceil_mode=True), nn.AvgPool2d(2, divisor_override=3), nn.AdaptiveAvgPool2d(1),
    nn.AdaptiveAvgPool2d((3, 2)), nn.AdaptiveMaxPool2d((3, 4)), Function(same_pad),
    Function(lambda x: x.mean((2, 3))), Function(lambda x: x.amax((2, 3), keepdim=True)),
]  # fmt: skip


@pytest.mark.parametrize("pool", POOLS, ids=str)
def test_pooled_values_are_those_of_torch(pool):
    """Of each value of a map: the window holds what torch pools, its maximum is exact, its mean up to float32."""
    torch.manual_seed(0)
    network, image = nn.Sequential(nn.Conv2d(3, 2, 3), pool).eval(), torch.randn(1, 3, 9, 8)
    made = network(image)[0].detach().numpy()
    made = made.reshape(2, *(made.shape[1:] or (1, 1)))
    for row, column in {(0, 0), (made.shape[1] - 1, made.shape[2] - 1)}:
        unit = kernelviz.trace_unit(network, image, "1", (1, row, column))
        assert unit.value == made[1, row, column]
        assert unit.total == pytest.approx(unit.value, rel=1e-6, abs=0 if unit.maximum else 1e-7)
        assert np.isclose(unit.products.sum(), unit.total)
        assert np.array_equal(unit.map, made[1])
        if unit.maximum:
            assert unit.window[0][unit.taken] == unit.value


@pytest.mark.parametrize("pool", [POOLS[0], pytest.param(POOLS[5], marks=pytest.mark.slow)], ids=str)
def test_pages_of_a_pool_are_legible(pool):
    """The window's numbers are on the page of a value, both maps on that of a channel."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 2, 3), pool).eval()
    unit = kernelviz.trace_unit(network, torch.randn(1, 3, 24, 24), "1", (0, 0, 3))
    figure = kernelviz.plot_unit(unit)
    assert any("row" in text.get_text() for text in figure.findobj(Text)) or not unit.maximum
    check_page(figure)
    check_page(kernelviz.plot_kernel_and_map(unit))


def test_a_layer_that_does_more_than_pool_is_refused():
    """The output must be that of the pool alone."""
    network = nn.Sequential(
        nn.Conv2d(3, 2, 3), Function(lambda x: torch.tanh(nn.functional.max_pool2d(x, 2))), nn.ReLU()
    ).eval()
    for layer, words in (("1", "does more than pool"), ("2", "runs no convolution")):
        with pytest.raises(kernelviz.KernelvizError, match=words):
            kernelviz.trace_unit(network, torch.randn(1, 3, 9, 9), layer, (0, 0, 0))


def test_the_largest_cell_of_a_large_output_is_marked():
    """Cells without numbers have a thin frame around the largest, too, and the caption explains it."""
    values = np.zeros((28, 28))
    values[20:23, 9:12] = 1
    worked = work_out(Convolution(28, 3), values, np.ones((3, 3)))
    items = explaining_page(worked, at=(0, 0), channel=0, view="step").items
    thin = [item for item in items if isinstance(item, Shape) and item.width == 2.0]
    assert len(thin) == 1
    assert any("row 20, column 9 (thin frame)" in item.text for item in items if isinstance(item, PageText))

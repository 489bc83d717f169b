"""Convolutions as plain integers: published sizes, costs, windows, and rejected settings."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from torch import nn

from kernelviz import Convolution, TransposedConvolution, plot_convolution, work_out
from kernelviz.errors import UsageError


@pytest.mark.parametrize(
    ("shape", "size"),
    [((4, 3, 1, 0, 1), 2), ((5, 4, 1, 2, 1), 6), ((5, 3, 1, 1, 1), 5), ((5, 3, 2, 1, 1), 3), ((6, 3, 2, 1, 1), 3),
     ((7, 3, 1, 0, 2), 3), ((25, 5, 2, 0, 1), 11), ((5, 3, 1, 0, 1), 3)],
)  # fmt: skip
def test_the_sizes_of_the_guide(shape, size):
    """Dumoulin and Visin's table holds, and the formula has the same result."""
    side, kernel, stride, padding, dilation = shape
    operation = Convolution(side, kernel, stride=stride, padding=padding, dilation=dilation)
    assert operation.output_size == (size, size)
    assert [formula.result for formula in operation.formulas] == [size, size]
    assert operation.formulas[0].text.endswith(f"= {size}")


def test_one_row_and_one_column_are_left_over():
    """The guide's example with an input of 6 leaves one row and one column, with 5 none."""
    assert Convolution(6, 3, stride=2, padding=1).left_over == (1, 1)
    assert Convolution(6, 3, stride=2, padding=1).unread == (1, 1)
    assert Convolution(5, 3, stride=2, padding=1).left_over == (0, 0)


def test_the_costs_of_the_articles():
    """100 kernels of 5 × 5 × 3 have 7,600 parameters; 10 × 10 × 3 to 300 units dense 90,300."""
    assert Convolution(10, 5, in_channels=3, out_channels=100, bias=True).parameters == 7600
    assert Convolution(10, 10, in_channels=3, out_channels=300, bias=True).dense_parameters == 90_300
    assert Convolution(3, 3, in_channels=3).weights == 27
    assert Convolution(5, 3).dense_parameters == 225


@pytest.mark.parametrize(("inputs", "outputs", "groups"), [(3, 8, 1), (6, 4, 2), (5, 5, 5)])
def test_parameters_and_shapes_are_torchs(inputs, outputs, groups):
    """As many weights as torch has, in the same shape."""
    module = nn.Conv2d(inputs, outputs, (3, 2), groups=groups)
    ours = Convolution(9, (3, 2), in_channels=inputs, out_channels=outputs, groups=groups, bias=True)
    assert ours.parameters == sum(parameter.numel() for parameter in module.parameters())
    assert ours.kernel_shape == tuple(module.weight.shape)


def test_multiply_adds_are_those_of_torchs_counter():
    """Half of what torch counts as operations."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    module = nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2, bias=False)
    with FlopCounterMode(display=False) as counter:
        module(torch.zeros(1, 4, 11, 8))
    ours = Convolution((11, 8), 3, stride=2, padding=1, groups=2, in_channels=4, out_channels=6)
    assert 2 * ours.macs == counter.get_total_flops()


def test_windows_and_what_they_read():
    """A window begins in the padding, and reads only what is there."""
    operation = Convolution(7, 3, stride=2, padding=2, dilation=2)
    assert [list(side) for side in operation.window(0, 1)] == [[-2, 0, 2], [0, 2, 4]]
    assert operation.reads(0, 1) == ([0, 2], [0, 2, 4])
    with pytest.raises(UsageError, match="row 9"):
        operation.window(9, 0)


def test_fields_can_be_replaced():
    """As of any dataclass; numbers that were made of ``same`` stay as numbers."""
    changed = replace(Convolution(5, 3, padding="same", bias=True), stride=2)
    assert (changed.stride, changed.padding, changed.bias, changed.padding_name) == ((2, 2), (1, 1, 1, 1), True, "")
    assert replace(Convolution(5, 3), kernel=2) == Convolution(5, 2)
    assert replace(TransposedConvolution(5, 3), output_padding=0, stride=2) == TransposedConvolution(5, 3, stride=2)


@pytest.mark.parametrize("at", [(0.0, 1), ("0", 1), (None, 0)])
def test_a_cell_is_two_whole_numbers(at):
    """Anything else is rejected by our message, not by NumPy."""
    with pytest.raises(UsageError, match="A cell must be a row and a column"):
        Convolution(5, 3).window(*at)
    worked = work_out(Convolution(5, 3), np.ones((5, 5)), np.ones((3, 3)))
    with pytest.raises(UsageError, match="A cell must be a row and a column"):
        plot_convolution(worked, at=at)
    assert Convolution(5, 3).window(np.int64(1), 0)[0] == range(1, 4)


def test_it_is_a_frozen_value():
    """Equal settings are equal and hash alike, whether a side is one number or two; nothing can be changed."""
    assert Convolution(5, 3) == Convolution((5, 5), (3, 3))
    assert hash(Convolution(5, 3)) == hash(Convolution([5, 5], 3))
    with pytest.raises(AttributeError):
        Convolution(5, 3).stride = (2, 2)


@pytest.mark.parametrize(
    ("arguments", "choices", "message"),
    [((5, 7), {}, "7 × 7 kernel is larger"), ((5, 3), {"dilation": 3}, "spans 7 × 7 with its dilation"),
     ((5, 3), {"stride": 0}, "stride must be at least 1"), ((5, 3), {"padding": -1}, "padding must not be negative"),
     ((5, 3), {"padding": "same", "stride": 2}, "cannot be same with stride 2"),
     ((5, 3), {"padding": "full"}, "same or valid"),
     ((5, 3), {"groups": 2}, "input channels must be divisible"), ((5, 0), {}, "kernel must be at least 1"),
     ((5, 3), {"groups": 2, "in_channels": 2}, "output channels must be divisible"), ((5, 2.5), {}, "whole number"),
     ((5, (1, 2, 3)), {}, "height and width"), ((5, 3), {"padding": (1, 2, 3)}, "one, two or four"),
     (("", 3), {}, "whole")],
)  # fmt: skip
def test_what_torch_refuses_is_refused(arguments, choices, message):
    """Each rejected setting has its own message."""
    with pytest.raises(UsageError, match=message):
        Convolution(*arguments, **choices)


def test_same_with_a_stride_names_the_equivalent_padding():
    """The padding of TensorFlow is in the hint, and works."""
    with pytest.raises(UsageError) as caught:
        Convolution(6, 3, stride=2, padding="same")
    assert "0,1,0,1" in caught.value.hint
    assert Convolution(6, 3, stride=2, padding=(0, 1, 0, 1)).output_size == (3, 3)


def test_formulas_explain_irregularities():
    """A dilation, and padding that differs at the ends, have their own letters."""
    assert Convolution(7, 3, dilation=2).formulas[0].where == ("k′ = d(k − 1) + 1 = 2·2 + 1 = 5",)
    formula = Convolution(5, 2, padding=(0, 1, 0, 1)).formulas[0]
    assert formula.numbers == "⌊(5 + 0 + 1 − 2) / 1⌋ + 1"

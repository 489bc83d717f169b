"""Pools as plain integers: torch's rounding, adaptive windows, refusals."""

from __future__ import annotations

import pytest

from kernelviz import Pooling
from kernelviz.errors import UsageError


@pytest.mark.parametrize(
    ("shape", "floor", "ceiling"),
    [((6, 3, 2, 0), 2, 3), ((5, 2, 2, 0), 2, 3), ((4, 3, 2, 1), 2, 3), ((4, 2, 3, 1), 2, 2)],
)
def test_pools_round_as_torch_does(shape, floor, ceiling):
    """Floor and ceiling of published examples, with the same result in the formula."""
    side, kernel, stride, padding = shape
    for ceil_mode, size in ((False, floor), (True, ceiling)):
        operation = Pooling(side, kernel, stride=stride, padding=padding, ceil_mode=ceil_mode)
        assert operation.output_size == (size, size)
        assert operation.formulas[0].text.endswith(f"= {size}")
    assert ("− 1" in operation.formulas[0].tail) == (ceiling == floor)


def test_a_window_in_ceil_mode_ends_with_the_padded_input():
    """What reaches out is cut off."""
    assert [len(side) for side in Pooling(5, 2, ceil_mode=True).window(2, 0)] == [1, 2]
    assert Pooling(5, 2).left_over == (1, 1)
    assert Pooling(5, 2, ceil_mode=True).left_over == (0, 0)


def test_the_stride_defaults_to_the_kernel():
    """As torch has it."""
    assert Pooling(9, (3, 2)).stride == (3, 2)


def test_nothing_is_learned():
    """A pool has no weights, and as many output channels as input channels."""
    operation = Pooling(4, 2, in_channels=3)
    assert (operation.parameters, operation.macs, operation.out_channels) == (0, 0, 3)


@pytest.mark.parametrize(
    ("arguments", "choices", "message"),
    [((4, 3), {"padding": 2}, "at most half"), ((4, 5), {}, "would be empty"), ((4,), {}, "needs a kernel"),
     ((4, 2), {"kind": "average", "dilation": 2}, "no dilation"), ((4, 2), {"adaptive": 2}, "has no kernel"),
     ((4, 2), {"kind": "median"}, "max or average"), ((4, 0), {}, "at least 1"), ((4,), {"adaptive": 0}, "at least 1")],
)  # fmt: skip
def test_what_torch_refuses_is_refused(arguments, choices, message):
    """Each rejected setting has its own message."""
    with pytest.raises(UsageError, match=message):
        Pooling(*arguments, **choices)

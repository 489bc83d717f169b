"""Transposed convolutions as plain integers: sizes of the guide, both ways to see them, refusals."""

from __future__ import annotations

import pytest

from kernelviz import Convolution, TransposedConvolution
from kernelviz.errors import UsageError


@pytest.mark.parametrize(("i", "k", "s", "p"), [(4, 3, 1, 0), (5, 4, 1, 2), (5, 3, 1, 1), (5, 3, 2, 1), (6, 3, 2, 1)])
def test_it_gives_back_the_size_of_the_guide(i, k, s, p):
    """Transposed, each convolution of the guide's table has its input size again: o' = s(i' − 1) + a + k − 2p."""
    smaller = Convolution(i, k, stride=s, padding=p).output_size
    left = (i + 2 * p - k) % s
    assert TransposedConvolution(smaller, k, stride=s, padding=p, output_padding=left).output_size == (i, i)


def test_two_by_two_with_two_by_two_is_three_by_three():
    """The articles' example: W + K − 1 at stride 1."""
    assert TransposedConvolution(2, 2).output_size == (3, 3)


@pytest.mark.parametrize(
    ("stride", "padding", "more", "dilation"), [(1, 0, 0, 1), (2, 1, 1, 1), (3, 2, 1, 2), (1, 3, 0, 2)]
)
def test_it_is_a_convolution_over_the_stretched_input(stride, padding, more, dilation):
    """Size and windows are those of a convolution with stride 1 and torch's implicit padding d(k − 1) − p."""
    ours = TransposedConvolution(4, 3, stride=stride, padding=padding, output_padding=more, dilation=dilation)
    size = ours.stretched_size[0] + sum(ours.implicit_padding[:2])
    assert ours.implicit_padding[0] == dilation * 2 - padding
    assert ours.output_size[0] == Convolution(size, 3, dilation=dilation).output_size[0]
    rows, _ = ours.window(1, 0)
    assert ours.reads(1, 0)[0] == sorted(
        row // stride for row in rows if row % stride == 0 and 0 <= row < ours.stretched_size[0]
    )


@pytest.mark.parametrize(
    ("choices", "message"),
    [({"output_padding": 2, "stride": 2}, "smaller than the stride or the dilation"), ({"padding": 9}, "would be empty"),
     ({"output_padding": -1}, "must not be negative"), ({"groups": 2}, "divisible"), ({"dilation": 0}, "at least 1")],
)  # fmt: skip
def test_what_torch_refuses_is_refused(choices, message):
    """Each rejected setting has its own message."""
    with pytest.raises(UsageError, match=message):
        TransposedConvolution(3, 3, **choices)

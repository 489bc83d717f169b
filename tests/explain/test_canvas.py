"""The canvas is the input with what is around and between its values."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional

from kernelviz import Convolution, Pooling, TransposedConvolution
from kernelviz.explain.walkthrough import make_canvas


def test_padding_is_torchs():
    """Zeros where torch's pad puts them, and a mask of them."""
    data = np.arange(1.0, 13).reshape(1, 3, 4)
    canvas = make_canvas(Convolution((3, 4), 2, padding=(1, 0, 2, 3)), data, np.ones((1, 1, 2, 2)))
    padded = functional.pad(torch.from_numpy(data), (2, 3, 1, 0)).numpy()
    np.testing.assert_array_equal(canvas.values, padded)
    np.testing.assert_array_equal(canvas.padding, padded[0] == 0)


def test_a_large_padding_cuts_a_transposed_input():
    """Where d(k − 1) − p is negative the stretched input loses rows and columns."""
    data = np.arange(1.0, 10).reshape(1, 3, 3)
    canvas = make_canvas(TransposedConvolution(3, 2, stride=2, padding=2), data, np.ones((1, 1, 2, 2)))
    np.testing.assert_array_equal(canvas.values[0], [[0, 0, 0], [0, 5, 0], [0, 0, 0]])
    assert not canvas.padding.any()
    assert canvas.stretched.sum() == 8


def test_cells_in_no_window_are_known():
    """The last row and column of a stride that does not fit; none of a pool in ceil mode."""
    data = np.zeros((1, 6, 6))
    unread = make_canvas(Convolution(6, 3, stride=2, padding=1), data, np.ones((1, 1, 3, 3))).unread
    assert unread.sum() == 15
    assert unread[-1].all()
    assert unread[:, -1].all()
    assert not make_canvas(Pooling(6, 4, stride=3, ceil_mode=True), data, None).unread.any()

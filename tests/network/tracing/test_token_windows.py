"""Windows along a sequence of tokens, and windows as columns in networks with many channels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gradient_boxes import gradient_boxes, positive
from torch import nn

from kernelviz.network.capture import capture_features
from kernelviz.network.tracing.trace import trace


class PooledTokens(nn.Module):
    """A map of 8 × 16 as tokens, pooled in windows of ``size`` tokens, and a convolution of the pooled grid."""

    def __init__(self, size, grid):
        super().__init__()
        self.before = nn.Conv2d(3, 2, 3, padding=1)
        self.pool = nn.AvgPool1d(size)
        self.grid = grid
        self.after = nn.Conv2d(2, 2, 3, padding=1)

    def forward(self, image):
        """Convolution, tokens, pool, grid, convolution."""
        return self.after(self.pool(self.before(image).flatten(2)).unflatten(2, self.grid))


@pytest.mark.parametrize(("size", "grid"), [(4, (8, 4)), (8, (8, 2)), (32, (4, 1))])
def test_windows_that_end_with_rows_form_a_grid(size, grid):
    """The pooled tokens and the convolution after them read what their gradient says."""
    network = PooledTokens(size, grid)
    traced = trace(network, (3, 8, 16))
    units = [(row, column) for row in range(grid[0]) for column in range(grid[1])]
    wanted = [("after", (2, 3), *unit) for unit in units]
    wanted += [("pool", (0, 2), 0, row * grid[1] + column) for row, column in units]
    boxes = gradient_boxes(positive(network), (3, 8, 16), wanted)
    for name, (row, column), box in zip(["after"] * len(units) + ["pool"] * len(units), units * 2, boxes, strict=True):
        found = traced.field_of(name, row, column)
        assert (found.top, found.bottom, found.left, found.right) == box, (name, row, column)


def test_windows_that_cross_rows_have_no_grid():
    """The layer has no receptive field, and the reason is reported."""
    traced = trace(PooledTokens(6, (3, 7)), (3, 8, 16))
    assert traced.layer("pool").field is None
    assert "do not end where rows end" in traced.layer("pool").lost


class Columns(nn.Module):
    """Windows as columns, weighed per window, as outlook attention does."""

    def __init__(self, channels):
        super().__init__()
        self.before = nn.Conv2d(3, channels, 3, padding=1)
        self.unfold = nn.Unfold(3, padding=1, stride=2)
        self.after = nn.Conv2d(channels, 2, 3)

    def forward(self, image):
        """Convolution, columns by heads, mixed, folded, convolution."""
        image = self.before(image)
        columns = self.unfold(image)
        parts = columns.reshape(1, 2, image.shape[1] // 2, 9, -1).permute(0, 1, 4, 3, 2)
        mixed = (torch.ones(9, 9, device=image.device) @ parts).permute(0, 1, 4, 3, 2).reshape(columns.shape)
        return self.after(nn.functional.fold(mixed, image.shape[2:], 3, padding=1, stride=2))


def test_the_number_of_channels_does_not_matter():
    """Columns of 2,160 channels at 32 × 32 positions have the receptive fields that those of two channels have."""
    wide, narrow = (trace(Columns(channels), (3, 64, 64)) for channels in (240, 2))
    assert all(layer.field is not None for layer in wide.layers)
    for one, other in zip(wide.layers, narrow.layers, strict=True):
        for axis, expected in zip(one.field.axes, other.field.axes, strict=True):
            np.testing.assert_array_equal(axis.first, expected.first)
            np.testing.assert_array_equal(axis.last, expected.last)
            assert (axis.size, axis.jump) == (expected.size, expected.jump)


def test_columns_of_many_channels_are_maps():
    """Each of 2,160 channels of columns is a map of the values that a hook sees."""
    network, batch = Columns(240).eval(), torch.randn(1, 3, 64, 64)
    (maps,) = capture_features(network, batch, "unfold")
    with torch.no_grad():
        columns = network.unfold(network.before(batch))
    np.testing.assert_array_equal(maps.values, columns.reshape(2160, 32, 32).numpy())

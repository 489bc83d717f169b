"""What the window of an operation slides over: the input, padded, stretched or cut."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kernelviz.arithmetic.operations import Convolution, Operation, TransposedConvolution

if TYPE_CHECKING:
    from kernelviz.records import Array


@dataclass(frozen=True)
class Canvas:
    """What the window slides over: the input, with all that is put around and between its values.

    ``values`` is (C, H, W); of ``padding`` and ``stretched`` (H, W) the one tells what lies around the input, the other the
    zeros between its values. The input's first row and column are at ``origin``, which lies before the canvas where the
    input is cut. ``rows`` and ``columns`` are what each row and column of the output reads; ``kernel`` is
    (out_channels, in_channels / groups, h, w) as it slides, turned by 180° for a transposed convolution; None for a pool.
    """

    values: Array
    padding: Array
    stretched: Array
    origin: tuple[int, int]
    rows: tuple[range, ...]
    columns: tuple[range, ...]
    kernel: Array | None

    @property
    def unread(self) -> Array:
        """(H, W): which cells no window reads."""
        rows = np.isin(np.arange(self.values.shape[1]), [at for side in self.rows for at in side])
        columns = np.isin(np.arange(self.values.shape[2]), [at for side in self.columns for at in side])
        return ~(rows[:, None] & columns[None, :])


def make_canvas(operation: Operation, data: Array, kernel: Array | None) -> Canvas:
    """The canvas of an operation for this input (C, H, W) and this kernel as torch stores it."""
    if isinstance(operation, TransposedConvolution) and kernel is not None:
        return _stretched(operation, data, kernel)
    between = np.zeros(data.shape[1:], bool)
    if isinstance(operation, Convolution):
        return _around(operation, data, operation.padding, between, kernel)
    above, beside = operation.padding
    return _around(operation, data, (above, above, beside, beside), between, None)


def cut(values: Array, rows: range, columns: range) -> Array:
    """The part of (…, H, W) at these rows and columns."""
    return values[..., rows.start : rows.stop : rows.step, columns.start : columns.stop : columns.step]


def _stretched(operation: TransposedConvolution, data: Array, kernel: Array) -> Canvas:
    between = np.ones(operation.stretched_size, bool)
    spread = np.zeros((len(data), *operation.stretched_size))
    down, across = operation.stride
    between[::down, ::across] = False
    spread[:, ::down, ::across] = data
    inputs, outputs = operation.in_channels // operation.groups, operation.out_channels // operation.groups
    grouped = kernel.reshape(operation.groups, inputs, outputs, *operation.kernel).swapaxes(1, 2)
    turned = grouped.reshape(operation.out_channels, inputs, *operation.kernel)[..., ::-1, ::-1]
    return _around(operation, spread, operation.implicit_padding, between, turned)


def _around(
    operation: Operation, data: Array, padding: tuple[int, int, int, int], stretched: Array, kernel: Array | None
) -> Canvas:
    """The data with its padding around it, or cut where the padding is negative."""
    top, bottom, left, right = padding
    height, width = data.shape[1] + top + bottom, data.shape[2] + left + right
    values = np.zeros((len(data), height, width))
    around, between = np.ones((height, width), bool), np.zeros((height, width), bool)
    rows, columns = data.shape[1:]
    target = range(max(0, top), height - max(0, bottom)), range(max(0, left), width - max(0, right))
    kept = range(max(0, -top), rows - max(0, -bottom)), range(max(0, -left), columns - max(0, -right))
    cut(values, *target)[:] = cut(data, *kept)
    cut(around, *target)[:] = False
    cut(between, *target)[:] = cut(stretched, *kept)
    outputs = operation.output_size
    return Canvas(
        values=values,
        padding=around,
        stretched=between,
        origin=(top, left),
        rows=tuple(_moved(operation.window(row, 0)[0], top) for row in range(outputs[0])),
        columns=tuple(_moved(operation.window(0, column)[1], left) for column in range(outputs[1])),
        kernel=kernel,
    )


def _moved(positions: range, by: int) -> range:
    return range(positions.start + by, positions.stop + by, positions.step)

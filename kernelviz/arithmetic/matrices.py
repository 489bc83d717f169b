"""A convolution as a matrix: which weight connects which cell of the input with which cell of the output."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

from kernelviz.arithmetic.operations import TransposedConvolution

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kernelviz.arithmetic.operations import Convolution


def connections(operation: Convolution | TransposedConvolution) -> Iterator[tuple[int, int, int]]:
    """Row (output cell), column (input cell) and weight of every entry of the matrix that is not zero by structure.

    Cells are numbered channel by channel and row by row, weights in the order in which torch stores them. What a window
    reads of the padding has no entry.
    """
    if isinstance(operation, TransposedConvolution):
        yield from _stamped(operation)
    else:
        yield from _slid(operation)


def _slid(operation: Convolution) -> Iterator[tuple[int, int, int]]:
    (height, width), (rows, columns) = operation.input_size, operation.output_size
    inputs, outputs = operation.in_channels // operation.groups, operation.out_channels // operation.groups
    kernel = operation.kernel
    for channel, row, column in product(range(operation.out_channels), range(rows), range(columns)):
        window = operation.window(row, column)
        first = channel // outputs * inputs
        for plane, (a, y), (b, x) in product(range(inputs), enumerate(window[0]), enumerate(window[1])):
            if 0 <= y < height and 0 <= x < width:
                weight = ((channel * inputs + plane) * kernel[0] + a) * kernel[1] + b
                yield (channel * rows + row) * columns + column, ((first + plane) * height + y) * width + x, weight


def _stamped(operation: TransposedConvolution) -> Iterator[tuple[int, int, int]]:
    (height, width), (rows, columns) = operation.input_size, operation.output_size
    inputs, outputs = operation.in_channels // operation.groups, operation.out_channels // operation.groups
    kernel = operation.kernel
    for channel, y, x in product(range(operation.in_channels), range(height), range(width)):
        first = channel // inputs * outputs
        for plane, a, b in product(range(outputs), range(kernel[0]), range(kernel[1])):
            row = y * operation.stride[0] - operation.padding[0] + a * operation.dilation[0]
            column = x * operation.stride[1] - operation.padding[1] + b * operation.dilation[1]
            if 0 <= row < rows and 0 <= column < columns:
                weight = ((channel * outputs + plane) * kernel[0] + a) * kernel[1] + b
                yield ((first + plane) * rows + row) * columns + column, (channel * height + y) * width + x, weight

"""Windows laid out as columns and put back (``F.unfold``, ``F.fold``), for the watched pass."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from kernelviz.arithmetic.windows import window
from kernelviz.network.carried import Carried
from kernelviz.network.fields import FAR, PLACE, Reads, as_taps, check_size, gathered, whole
from kernelviz.network.operations import RULES, Call, Found

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kernelviz.records import Array


def _unfold(call: Call) -> Found:
    """(N, C, H, W) -> (N, C · kh · kw, L): each window as a column, at the window's place."""
    kernel, dilation, padding, stride = (tuple(map(int, call.args[at])) for at in range(1, 5))
    sizes, channels = call.shape[2:], call.shape[1]
    outputs = [
        (size + 2 * pad - gap * (side - 1) - 1) // step + 1
        for size, side, gap, pad, step in zip(sizes, kernel, dilation, padding, stride, strict=True)
    ]
    taps = [
        as_taps([window(place, kernel[axis], stride[axis], padding[axis], dilation[axis]) for place in range(output)])
        for axis, output in enumerate(outputs)
    ]
    if any(reads.home not in (None, 2, 3) for reads in call.source.axes):
        return Carried(lost="windows of what does not lie in rows and columns")

    def unfold(reads: Reads) -> Reads:
        home = reads.home
        if home is None:
            return replace(reads, planes=reads.planes.reshape(5, 1, 1, 1)) if reads.planes.size == 5 else reads
        parts = [
            gathered(
                gathered(reads, 2, taps[0][:, [row]], sizes[0], at_home=home == 2),
                3, taps[1][:, [column]], sizes[1], at_home=home == 3,
            ).planes
            for row in range(kernel[0])
            for column in range(kernel[1])
        ]  # fmt: skip
        shape = (5, 1, channels, len(parts), *outputs)
        check_size(shape)
        columns = np.stack([np.broadcast_to(part, (5, 1, channels, *outputs)) for part in parts], axis=3)
        planes = columns.reshape(5, 1, channels * len(parts), -1)
        return Reads(planes, reads.jump * Fraction(stride[home - 2]), reads.pooled, reads.mixed)

    result = call.source.each(unfold)
    if any(reads.planes.ndim != 4 for reads in result.axes):
        return Carried(lost="windows of what has no place")
    return result.with_channels(channels * kernel[0] * kernel[1], 1, 3)


def _fold(call: Call) -> Found:
    """(N, C · kh · kw, L) -> (N, C, H, W): columns added up where their windows overlap."""
    output, kernel, dilation, padding, stride = (tuple(map(int, call.args[at])) for at in range(1, 6))
    counts = [
        (size + 2 * pad - gap * (side - 1) - 1) // step + 1
        for size, side, gap, pad, step in zip(output, kernel, dilation, padding, stride, strict=True)
    ]
    channels = call.shape[1] // (kernel[0] * kernel[1])
    targets = [
        [np.arange(count) * step - pad + tap * gap for tap in range(side)]
        for count, side, gap, pad, step in zip(counts, kernel, dilation, padding, stride, strict=True)
    ]

    def fold(axis: int, reads: Reads) -> Reads:
        whole_reads = whole(reads)
        shape = (5, 1, channels, *kernel, *counts)
        check_size(shape)
        planes = np.broadcast_to(whole_reads.planes, (5, *call.shape)).reshape(shape)
        result = _scattered(planes, targets, output)
        places = np.arange(output[axis]).reshape([-1, 1] if axis == 0 else [1, -1])
        result[PLACE] = -1 if reads.pooled else np.broadcast_to(places, output)
        return Reads(result, reads.jump / stride[axis], reads.pooled, reads.mixed)

    axes = call.source.axes
    if len(axes) != 2 or len(call.shape) != 3:
        return Carried(lost="windows of what is no image")
    return Carried(tuple(fold(axis, reads) for axis, reads in enumerate(axes))).with_channels(channels, 1, 4)


def _scattered(planes: Array, targets: Sequence[Sequence[Array]], output: Sequence[int]) -> Array:
    """The union of what is read by all that lands on each place; channels that agree stay one."""
    if (planes == planes[:, :, :1]).all():
        planes = planes[:, :, :1]
    result = np.empty((5, *planes.shape[1:3], *output), dtype=np.int32)
    result[:4:2], result[1::2] = FAR, -FAR
    for i, rows in enumerate(targets[0]):
        for j, columns in enumerate(targets[1]):
            down = np.flatnonzero((rows >= 0) & (rows < output[0]))
            across = np.flatnonzero((columns >= 0) & (columns < output[1]))
            part = planes[:, :, :, i, j][..., down[:, None], across]
            at = np.s_[..., rows[down][:, None], columns[across]]
            result[:4:2][at] = np.minimum(result[:4:2][at], part[:4:2])
            result[1:4:2][at] = np.maximum(result[1:4:2][at], part[1:4:2])
    return result


RULES.update({"im2col": _unfold, "col2im": _fold})

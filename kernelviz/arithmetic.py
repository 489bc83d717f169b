"""Convolutions and pools as plain integers: sizes, windows and what torch refuses."""

from __future__ import annotations

import struct
from functools import lru_cache
from math import ceil, floor, gcd
from typing import Literal, TypeAlias

Interpolation: TypeAlias = Literal["nearest", "nearest-exact", "linear", "cubic"]


def convolution_size(size: int, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> int:
    """How many positions a convolution has: ``floor((size + 2p - d(k - 1) - 1) / s) + 1``; 0 where none fits."""
    return max(0, (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1)


def transposed_size(  # noqa: PLR0917  (the order of the formula)
    size: int, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1, output_padding: int = 0
) -> int:
    """How large a transposed convolution's output is: ``(size - 1)s - 2p + d(k - 1) + output_padding + 1``."""
    return max(0, (size - 1) * stride - 2 * padding + dilation * (kernel - 1) + output_padding + 1)


def pooling_size(
    size: int, kernel: int, stride: int, padding: int = 0, dilation: int = 1, *, ceil_mode: bool = False
) -> int:
    """How many windows a pool has; with ``ceil_mode`` the last one must start inside the input or the left padding."""
    if not ceil_mode:
        return convolution_size(size, kernel, stride, padding, dilation)
    count = -(-(size + 2 * padding - dilation * (kernel - 1) - 1) // stride) + 1
    return max(0, count - 1 if (count - 1) * stride >= size + padding else count)


def same_padding(size: int, kernel: int, stride: int = 1, dilation: int = 1) -> tuple[int, int]:
    """The padding before and after with which ``ceil(size / stride)`` positions come out; the odd one is after."""
    total = max(0, (-(-size // stride) - 1) * stride + dilation * (kernel - 1) + 1 - size)
    return total // 2, total - total // 2


def window(position: int, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> range:
    """What one position of a convolution or a pool reads; it may reach into the padding."""
    start = position * stride - padding
    return range(start, start + dilation * (kernel - 1) + 1, dilation)


def transposed_window(position: int, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> list[int]:
    """The input positions whose stamps meet at one output position of a transposed convolution."""
    places = (position + padding - dilation * tap for tap in range(kernel))
    return sorted(place // stride for place in places if place % stride == 0)


@lru_cache(maxsize=64)
def unread(size: int, kernel: int, stride: int, dilation: int, windows: int) -> tuple[int, int]:
    """How many rows no window reads: all of them, and those behind the last row that is read.

    ``size`` counts the padding, too; what ``windows`` windows read beyond it is cut off. The rows read are
    ``stride·o + dilation·t``. Taps that differ by ``stride / gcd(stride, dilation)`` read the same rows modulo the stride,
    so that they are one progression, or parts of it that do not meet.
    """
    missing = bytearray(b"\1") * size
    for start, step, number in min(
        _progressions(kernel, dilation, windows, stride), _progressions(windows, stride, kernel, dilation), key=len
    ):
        rows = range(start, min(size, start + step * number), step)
        missing[rows.start : rows.stop : step] = bytes(len(rows))
    return missing.count(1), size - 1 - missing.rfind(0)


def _progressions(taps: int, apart: int, windows: int, stride: int) -> list[tuple[int, int, int]]:
    """Start, step and length of progressions that hold ``apart·t + stride·o`` for all t < ``taps``, o < ``windows``."""
    common = gcd(apart, stride)
    cycle, shift = stride // common, apart // common
    if windows < shift:
        return [(apart * tap, stride, windows) for tap in range(taps)]
    alike = [(tap, len(range(tap, taps, cycle))) for tap in range(min(taps, cycle))]
    return [(apart * tap, stride, (number - 1) * shift + windows) for tap, number in alike]


def unreached(  # noqa: PLR0917  (the order of the formula)
    size: int, kernel: int, stride: int, padding: int, dilation: int, output_size: int
) -> int:
    """How many rows of the input of a transposed convolution stamp only onto what its padding cuts off."""
    lost = max(0, size - -(-(padding + output_size) // stride))  # those whose first tap lies behind the output
    for row in range(min(size, -(-padding // stride))):
        tap = -(-(padding - row * stride) // dilation)  # the first that is not cut off before it
        lost += tap >= kernel or row * stride + tap * dilation >= padding + output_size
    return lost


def adaptive_window(position: int, size: int, output_size: int) -> range:
    """What one position of an adaptive pool reads."""
    return range(position * size // output_size, -(-(position + 1) * size // output_size))


def interpolated_window(
    position: int,
    size: int,
    output_size: int,
    kind: Interpolation,
    scale: float | None = None,
    *,
    corners: bool = False,
) -> list[int]:
    """The input positions that one output position of an enlargement mixes with a weight that is not zero.

    ``scale`` is the factor that torch was given; without it, it is the ratio of the sizes. ``corners`` is torch's
    ``align_corners``. Edges repeat.
    """
    if corners:
        step = (size - 1) / (output_size - 1) if output_size > 1 else 0.0
        place = position * step
    else:
        step = 1 / scale if scale else size / output_size
        place = (position + 0.5) * step - 0.5
        if kind == "nearest":
            place = _single(position * _single(step))  # torch counts so, and rounds down what is only nearly whole
        elif kind == "nearest-exact":
            place = _single((position + 0.5) * _single(step))
    if kind in ("nearest", "nearest-exact"):
        return [min(floor(place), size - 1)]
    if kind == "linear":
        place = max(place, 0.0)
    below = floor(place)
    on_grid = abs(place - round(place)) < 1e-9
    if on_grid:
        taps = [round(place)]
    elif kind == "linear":
        taps = [below, below + 1]
    else:
        taps = list(range(below - 1, ceil(place) + 2))
    return sorted({min(max(tap, 0), size - 1) for tap in taps})


def _single(value: float) -> float:
    """The nearest number of single precision."""
    return float(struct.unpack("f", struct.pack("f", value))[0])

"""Sizes, positions and windows of convolutions and pools, on plain integers.

One axis at a time: ``size`` is the number of rows (or columns) of the input; positions outside ``range(size)`` are
padding. The formulas are those of Dumoulin and Visin, *A guide to convolution arithmetic for deep learning*,
and of torch where torch differs.
"""

from __future__ import annotations

import operator
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import ceil, floor, gcd
from typing import Literal, TypeAlias

from kernelviz.errors import UsageError

Sides: TypeAlias = int | Iterable[int]
Pair: TypeAlias = tuple[int, int]
Edges: TypeAlias = tuple[int, int, int, int]

LARGEST = 1 << 24  # of a size, stride or channel count: sums of products stay exact


def pair(name: str, value: Sides, *, least: int = 1) -> Pair:
    """(height, width) of one number, or of two.

    Raises:
        UsageError: the value is something else, or a number is below ``least``.
    """
    numbers = _whole(name, value, least)
    if len(numbers) > 2:
        what = f"The {name} must be one number, or height and width, but got {value!r}."
        raise UsageError(what, "An image has rows and columns.", "Give 3 for both, or 3x5; in Python (3, 5).")
    return numbers[0], numbers[-1]


def edges(name: str, value: Sides) -> Edges:
    """(top, bottom, left, right) of a number, of height and width, or of all four.

    Raises:
        UsageError: the value is something else, or a number is negative.
    """
    numbers = _whole(name, value, 0)
    if len(numbers) == 4:
        return numbers[0], numbers[1], numbers[2], numbers[3]
    if len(numbers) > 2:
        raise UsageError(
            f"The {name} must be one, two or four numbers (top, bottom, left, right), but got {value!r}.",
            "One number is for all sides, two are for height and width.",
            "Give 1, or 1x2, or 1,0,1,0; in Python (1, 2) or (1, 0, 1, 0).",
        )
    return numbers[0], numbers[0], numbers[-1], numbers[-1]


def count(name: str, value: int) -> int:
    """A positive whole number.

    Raises:
        UsageError: the value is something else.
    """
    if len(_several(value)) != 1 or _is_iterable(value):
        what = f"The {name} must be one whole number, but got {value!r}."
        raise UsageError(what, "It is a count, without height and width.", "Give one number from 1 on.")
    return pair(name, value)[0]


def _is_iterable(value: object) -> bool:
    try:
        iter(value)  # type: ignore[call-overload]
    except TypeError:
        return False
    return True


def _several(value: object) -> tuple[object, ...]:
    return tuple(value) if _is_iterable(value) else (value,)  # type: ignore[arg-type]


def _whole(name: str, value: Sides, least: int) -> tuple[int, ...]:
    several = _several(value)
    try:
        numbers = tuple(operator.index(number) for number in several)  # type: ignore[arg-type]
    except TypeError:
        numbers = ()
    if any(isinstance(number, bool) for number in several):
        numbers = ()
    if not numbers:
        what = f"The {name} must be a whole number or several, but got {value!r}."
        raise UsageError(what, "Rows and columns are counted.", f"Give a whole number from {least} on.")
    if min(numbers) < least:
        found = "must not be negative" if least == 0 else f"must be at least {least}"
        why = "It counts rows and columns." if least == 0 else "Nothing could be read, or made."
        raise UsageError(
            f"The {name} {found}, but got {sides_text(numbers).replace('-', '−')}.", why,
            f"Give a whole number from {least} on.",
        )  # fmt: skip
    if max(numbers) > LARGEST:
        what = f"The {name} must be at most {LARGEST:,}, but got {max(numbers):,}."
        raise UsageError(what, "Larger sums could not be counted exactly.", "Give a smaller number.")
    return numbers


def sides_text(sides: Sequence[int]) -> str:
    """``3`` if all are equal, else ``3 × 5``."""
    return str(sides[0]) if len(set(sides)) == 1 else size_text(sides)


def size_text(size: Sequence[int]) -> str:
    """``3 × 5``, also for a square; with separators of thousands in all sides if one has five digits."""
    long = max(size, default=0) >= 10_000
    return " × ".join(f"{side:,}" if long else str(side) for side in size)


Interpolation: TypeAlias = Literal["nearest", "nearest-exact", "linear", "cubic"]


def convolution_size(size: int, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> int:
    """The number of positions of a convolution: ``floor((size + 2p - d(k - 1) - 1) / s) + 1``; 0 if none fits."""
    return max(0, (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1)


def transposed_size(  # noqa: PLR0917  (the order of the formula)
    size: int, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1, output_padding: int = 0
) -> int:
    """The output size of a transposed convolution: ``(size - 1)s - 2p + d(k - 1) + output_padding + 1``."""
    return max(0, (size - 1) * stride - 2 * padding + dilation * (kernel - 1) + output_padding + 1)


def pooling_size(
    size: int, kernel: int, stride: int, padding: int = 0, dilation: int = 1, *, ceil_mode: bool = False
) -> int:
    """The number of windows of a pool; with ``ceil_mode`` the last one must start inside the input or the left padding."""
    if not ceil_mode:
        return convolution_size(size, kernel, stride, padding, dilation)
    windows = -(-(size + 2 * padding - dilation * (kernel - 1) - 1) // stride) + 1
    return max(0, windows - 1 if (windows - 1) * stride >= size + padding else windows)


def same_padding(size: int, kernel: int, stride: int = 1, dilation: int = 1) -> tuple[int, int]:
    """The padding before and after for ``ceil(size / stride)`` positions; an odd row or column is added after."""
    total = max(0, (-(-size // stride) - 1) * stride + dilation * (kernel - 1) + 1 - size)
    return total // 2, total - total // 2


def window(position: int, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> range:
    """The input positions that one output position of a convolution or a pool reads, including padding."""
    start = position * stride - padding
    return range(start, start + dilation * (kernel - 1) + 1, dilation)


def transposed_window(position: int, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> list[int]:
    """The input positions whose stamps overlap at one output position of a transposed convolution."""
    offsets = (position + padding - dilation * tap for tap in range(kernel))
    return sorted(offset // stride for offset in offsets if offset % stride == 0)


@lru_cache(maxsize=64)
def unread(size: int, kernel: int, stride: int, dilation: int, windows: int) -> tuple[int, int]:
    """The number of rows that no window reads: in total, and after the last row that is read.

    ``size`` includes the padding; what ``windows`` windows read beyond it is ignored. The rows read are
    ``stride·o + dilation·t``. Taps that differ by ``stride / gcd(stride, dilation)`` read the same rows modulo the stride,
    so that they form one arithmetic progression, or disjoint parts of it.
    """
    missing = bytearray(b"\1") * size
    alternatives = (kernel, dilation, windows, stride), (windows, stride, kernel, dilation)
    for start, step, number in _progressions(*min(alternatives, key=_progression_count)):
        rows = range(start, min(size, start + step * number), step)
        missing[rows.start : rows.stop : step] = bytes(len(rows))
    return missing.count(1), size - 1 - missing.rfind(0)


def _progression_count(axis: tuple[int, int, int, int]) -> int:
    """The number of progressions for these arguments; the smaller one of the two alternatives is always small."""
    taps, apart, windows, stride = axis
    common = gcd(apart, stride)
    return taps if windows < apart // common else min(taps, stride // common)


def _progressions(taps: int, apart: int, windows: int, stride: int) -> list[tuple[int, int, int]]:
    """Start, step and length of progressions that contain ``apart·t + stride·o`` for all t < ``taps``, o < ``windows``."""
    common = gcd(apart, stride)
    cycle, shift = stride // common, apart // common
    if windows < shift:
        return [(apart * tap, stride, windows) for tap in range(taps)]
    alike = [(tap, len(range(tap, taps, cycle))) for tap in range(min(taps, cycle))]
    return [(apart * tap, stride, (number - 1) * shift + windows) for tap, number in alike]


def unreached(  # noqa: PLR0917  (the order of the formula)
    size: int, kernel: int, stride: int, padding: int, dilation: int, output_size: int
) -> int:
    """The number of input rows of a transposed convolution whose stamps are entirely cut off by its padding."""
    lost = max(0, size - -(-(padding + output_size) // stride))  # those whose first tap is after the output
    for row in range(min(size, -(-padding // stride))):
        tap = -(-(padding - row * stride) // dilation)  # the first that is not cut off at the start
        lost += tap >= kernel or row * stride + tap * dilation >= padding + output_size
    return lost


def adaptive_window(position: int, size: int, output_size: int) -> range:
    """The input positions that one output position of an adaptive pool reads."""
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
    """The input positions that one output position of an interpolation reads with a nonzero weight.

    ``scale`` is torch's ``scale_factor``, by default the ratio of the sizes; ``corners`` is torch's ``align_corners``.
    Positions outside the input are clamped to its edges.
    """
    if corners:
        step = (size - 1) / (output_size - 1) if output_size > 1 else 0.0
        source = position * step
    else:
        step = 1 / scale if scale else size / output_size
        source = (position + 0.5) * step - 0.5
        if kind == "nearest":
            source = _single(position * _single(step))  # as torch does, so that nearly whole positions are rounded down
        elif kind == "nearest-exact":
            source = _single((position + 0.5) * _single(step))
    if kind in ("nearest", "nearest-exact"):
        return [min(floor(source), size - 1)]
    if kind == "linear":
        source = max(source, 0.0)
    below = floor(source)
    on_grid = abs(source - round(source)) < 1e-9
    if on_grid:
        taps = [round(source)]
    elif kind == "linear":
        taps = [below, below + 1]
    else:
        taps = list(range(below - 1, ceil(source) + 2))
    return sorted({min(max(tap, 0), size - 1) for tap in taps})


def _single(value: float) -> float:
    """The nearest single-precision number."""
    return float(struct.unpack("f", struct.pack("f", value))[0])


@dataclass(frozen=True)
class Formula:
    """The formula of the output size along one axis: ``numerator`` / ``denominator``, rounded, plus 1.

    Without a denominator it is the numerator. ``where`` explains further letters and irregularities. ``values`` are the
    letters with their names and values. The signs are typographic: ``−`` and ``·``.
    """

    letters: str
    numerator: str
    denominator: str
    rounding: Literal["floor", "ceil", ""]
    tail: str
    result: int
    where: tuple[str, ...] = ()
    values: tuple[tuple[str, str, int], ...] = ()

    @property
    def brackets(self) -> tuple[str, str]:
        """The brackets around the fraction."""
        return {"floor": ("⌊", "⌋"), "ceil": ("⌈", "⌉"), "": ("", "")}[self.rounding]

    @property
    def numbers(self) -> str:
        """``⌊(5 + 2·0 − 3) / 1⌋ + 1``: the formula with its numbers."""
        if not self.denominator:
            return self.numerator
        low, high = self.brackets
        return f"{low}({self.numerator}) / {self.denominator}{high}{self.tail}"

    @property
    def text(self) -> str:
        """The formula with its numbers and the result."""
        return self.numbers if self.numbers == str(self.result) else f"{self.numbers} = {self.result}"


def window_formula(  # noqa: PLR0917  (the order of the formula)
    size: int,
    kernel: int,
    stride: int,
    padding: tuple[int, int],
    dilation: int,
    result: int,
    *,
    ceil_mode: bool = False,
) -> Formula:
    """The number of windows of a convolution or a pool."""
    before, after = padding
    even = before == after
    pads = ("2p", f"2·{before}") if even else ("p₀ + p₁", f"{before} + {after}")
    span = dilation * (kernel - 1) + 1
    letter = "k" if dilation == 1 else "k′"
    low, high = ("⌈", "⌉") if ceil_mode else ("⌊", "⌋")
    where = []
    if dilation > 1:
        where.append(f"k′ = d(k − 1) + 1 = {dilation}·{kernel - 1} + 1 = {span}")
    tail = " + 1"
    steps = size + before + after - span
    if ceil_mode and -(-steps // stride) + 1 > result:
        tail = " + 1 − 1"
        where.append("one less: the last window would begin behind the input")
    return Formula(
        letters=f"{low}(i + {pads[0]} − {letter}) / s{high}{tail}",
        numerator=f"{size} + {pads[1]} − {span}",
        denominator=str(stride),
        rounding="ceil" if ceil_mode else "floor",
        tail=tail,
        result=result,
        where=tuple(where),
        values=(
            ("i", "input", size),
            *(
                [("p", "padding", before)]
                if even
                else [("p₀", "padding before", before), ("p₁", "padding after", after)]
            ),
            ("k", "kernel", kernel),
            ("s", "stride", stride),
            *([("d", "dilation", dilation)] if dilation > 1 else []),
        ),
    )


def transposed_formula(  # noqa: PLR0917  (the order of the formula)
    size: int, kernel: int, stride: int, padding: int, dilation: int, output_padding: int, result: int
) -> Formula:
    """The output size of a transposed convolution."""
    return Formula(
        letters="(i − 1)·s − 2p + d·(k − 1) + output padding + 1",
        numerator=f"({size} − 1)·{stride} − 2·{padding} + {dilation}·({kernel} − 1) + {output_padding} + 1",
        denominator="",
        rounding="",
        tail="",
        result=result,
        values=(("i", "input", size), ("s", "stride", stride), ("p", "padding", padding), ("d", "dilation", dilation),
                ("k", "kernel", kernel)),
    )  # fmt: skip


def adaptive_formula(size: int, result: int) -> Formula:
    """The windows of an adaptive pool, whose output size is given."""
    return Formula(
        letters="as given; window n reads from ⌊n·i / o⌋ to ⌈(n + 1)·i / o⌉ − 1",
        numerator=str(result),
        denominator="",
        rounding="",
        tail="",
        result=result,
        values=(("i", "input", size), ("o", "output", result)),
    )

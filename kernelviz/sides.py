"""Heights and widths: one number for both, or one for each; and how they are written."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import TypeAlias

from kernelviz.errors import UsageError

Sides: TypeAlias = int | Sequence[int]
Pair: TypeAlias = tuple[int, int]
Edges: TypeAlias = tuple[int, int, int, int]

LARGEST = 1 << 24  # no side, stride or channel count is larger: sums of products stay far from losing a unit


def pair(name: str, value: Sides, *, least: int = 1) -> Pair:
    """(height, width) of a number, or of two.

    Raises:
        UsageError: it is something else, or a number is below ``least``.
    """
    numbers = _whole(name, value, least)
    if len(numbers) > 2:
        raise UsageError(f"The {name} must be one number, or height and width, but got {value!r}.")
    return numbers[0], numbers[-1]


def edges(name: str, value: Sides) -> Edges:
    """(top, bottom, left, right) of a number, of height and width, or of all four.

    Raises:
        UsageError: it is something else, or a number is negative.
    """
    numbers = _whole(name, value, 0)
    if len(numbers) == 4:
        return numbers[0], numbers[1], numbers[2], numbers[3]
    if len(numbers) > 2:
        raise UsageError(f"The {name} must be one, two or four numbers (top, bottom, left, right), but got {value!r}.")
    return numbers[0], numbers[0], numbers[-1], numbers[-1]


def count(name: str, value: int) -> int:
    """A whole number from 1 on.

    Raises:
        UsageError: it is none.
    """
    return pair(name, value)[0]


def _whole(name: str, value: Sides, least: int) -> tuple[int, ...]:
    several: Sequence[int] = value if isinstance(value, Sequence) else (value,)
    try:
        numbers = tuple(operator.index(number) for number in several)
    except TypeError:
        numbers = ()
    if not numbers:
        raise UsageError(f"The {name} must be a whole number or several, but got {value!r}.")
    if min(numbers) < least:
        what = "must not be negative" if least == 0 else f"must be at least {least}"
        raise UsageError(f"The {name} {what}, but got {sides_text(numbers)}.")
    if max(numbers) > LARGEST:
        raise UsageError(f"The {name} must be at most {LARGEST:,}, but got {max(numbers)}.")
    return numbers


def sides_text(sides: Sequence[int]) -> str:
    """``3`` where all are the same, else ``3 × 5``."""
    return str(sides[0]) if len(set(sides)) == 1 else size_text(sides)


def size_text(size: Sequence[int]) -> str:
    """``3 × 5``; a square too has both sides."""
    return " × ".join(f"{side:,}" if side >= 10_000 else str(side) for side in size)

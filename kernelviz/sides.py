"""Heights and widths: one number for both, or one for each; and how they are written."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from typing import TypeAlias

from kernelviz.errors import UsageError

Sides: TypeAlias = int | Iterable[int]
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
        what = f"The {name} must be one number, or height and width, but got {value!r}."
        raise UsageError(what, "An image has rows and columns.", "Give 3 for both, or 3x5, in Python (3, 5).")
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
        raise UsageError(
            f"The {name} must be one, two or four numbers (top, bottom, left, right), but got {value!r}.",
            "One is for all four sides, two are for height and width.",
            "Give 1, or 1x2, or 1,0,1,0; in Python (1, 2) or (1, 0, 1, 0).",
        )
    return numbers[0], numbers[0], numbers[-1], numbers[-1]


def count(name: str, value: int) -> int:
    """A whole number from 1 on.

    Raises:
        UsageError: it is none, or several.
    """
    if len(_several(value)) != 1 or _is_iterable(value):
        what = f"The {name} must be one whole number, but got {value!r}."
        raise UsageError(what, "It is a count, and has no height and width.", "Give one number from 1 on.")
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
    """``3`` where all are the same, else ``3 × 5``."""
    return str(sides[0]) if len(set(sides)) == 1 else size_text(sides)


def size_text(size: Sequence[int]) -> str:
    """``3 × 5``; a square too has both sides."""
    return " × ".join(f"{side:,}" if side >= 10_000 else str(side) for side in size)

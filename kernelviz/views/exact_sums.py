"""Exact sums of float64 numbers, one per channel, in fixed point: the same bits whatever the order; NumPy only."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kernelviz.records import Array


DIGIT = 32
"""Bits of a digit."""
_PIECES = 3  # digits that the 53 bits of a number can touch
_MOST_WAITING = 64  # rows that are added at once, since a call costs as much as some thousands of numbers
_MOST_ADDED = 2**30  # numbers of 32 bits that a digit of 64 bits takes before its carry must move on


class ExactSums:
    """The exact sum of any number of float64 numbers for each channel.

    A sum is a fixed-point number of 32-bit digits in int64, as far as its digits were touched; carries stay in the digits
    until they would overflow. Integers are added, so neither the order nor the grouping of the numbers matters. The idea is
    that of Kulisch's accumulator.
    """

    __slots__ = ("_added", "_digits", "_first", "_rows", "_waiting")

    def __init__(self, channels: int) -> None:
        self._waiting: list[tuple[Array, Array | int]] = []
        self._rows = 0  # of those that wait
        self._first = 0  # the weight of the first digit is 2 ** (32 * first)
        self._digits = np.zeros((channels, 0), np.int64)
        self._added = 0

    def __getstate__(self) -> tuple[int, Array, int]:
        self._add_waiting()
        return self._first, self._digits, self._added

    def __setstate__(self, state: tuple[int, Array, int]) -> None:
        self._first, self._digits, self._added = state
        self._waiting, self._rows = [], 0

    def add(self, values: Array, power: Array | int = 0) -> None:
        """Add finite numbers (n, C), or (C,), each times ``2 ** power``; the arrays are kept for a while."""
        values = values if values.ndim == 2 else values[None]
        self._wait([(values, power)], len(values))

    def _wait(self, added: Sequence[tuple[Array, Array | int]], rows: int) -> None:
        self._waiting += added
        self._rows += rows
        if self._rows >= _MOST_WAITING:
            self._add_waiting()

    def _add_waiting(self) -> None:
        """Add the numbers that wait to the digits."""
        if not self._waiting:
            return
        values = np.concatenate([each for each, _ in self._waiting], dtype=np.float64)
        power = np.concatenate([np.broadcast_to(power, each.shape) for each, power in self._waiting])
        self._waiting, self._rows = [], 0
        mantissa, exponent = np.frexp(values)
        whole = np.ldexp(mantissa, 53).astype(np.int64)
        if not whole.any():
            return
        bits = exponent.astype(np.int64) + (power - 53)
        bits[whole == 0] = int(bits[whole != 0].min())
        digit, shift = bits >> 5, (bits & 31).astype(np.uint64)
        self._widen(int(digit.min()), int(digit.max()) + _PIECES)
        self._make_room(len(values))
        size, sign = np.abs(whole).astype(np.uint64), np.sign(whole)
        low = (size << shift) & np.uint64(2**DIGIT - 1)
        rest = (size >> np.uint64(1)) >> (np.uint64(DIGIT - 1) - shift)
        pieces = np.stack([low, rest & np.uint64(2**DIGIT - 1), rest >> np.uint64(DIGIT)]).astype(np.int64) * sign
        channels, wide = self._digits.shape
        at = np.arange(channels) * wide + (digit - self._first)
        places = at + np.arange(_PIECES)[:, None, None]
        np.add.at(self._digits.reshape(-1), places.reshape(-1), pieces.reshape(-1))

    def merge(self, other: ExactSums) -> None:
        """Add the sums of another one, of as many channels."""
        self._wait(other._waiting, other._rows)
        wide = other._digits.shape[1]
        if not wide:
            return
        self._widen(other._first, other._first + wide)
        self._make_room(other._added)
        start = other._first - self._first
        self._digits[:, start : start + wide] += other._digits

    def _widen(self, first: int, end: int) -> None:
        """Extend the digits so that they contain those from ``first`` up to ``end``."""
        wide = self._digits.shape[1]
        if not wide:
            self._first = first
        below, above = max(0, self._first - first), max(0, end - self._first - wide)
        if below or above:
            self._digits = np.pad(self._digits, ((0, 0), (below, above)))
            self._first -= below

    def _make_room(self, more: int) -> None:
        """Move carries on if adding so many further numbers could overflow a digit."""
        if self._added + more > _MOST_ADDED:
            self._widen(self._first, self._first + self._digits.shape[1] + 1)
            for at in range(self._digits.shape[1] - 1):
                carry = self._digits[:, at] >> DIGIT
                self._digits[:, at] -= carry << DIGIT
                self._digits[:, at + 1] += carry
            self._added = 1
        self._added += more

    def integers(self) -> tuple[list[int], int]:
        """The sum of each channel as an integer, and the power of two that they are all to be multiplied with."""
        self._add_waiting()
        totals = [
            sum(digit << (DIGIT * at) for at, digit in enumerate(digits) if digit) for digits in self._digits.tolist()
        ]
        return totals, DIGIT * self._first


def means(sums: ExactSums, counts: Sequence[int]) -> Array:
    """The sums divided by counts, correctly rounded; NaN where a count is 0."""
    totals, power = sums.integers()
    return np.array([_quotient(total, count, power) for total, count in zip(totals, counts, strict=True)])


def deviations(sums: ExactSums, squares: ExactSums, counts: Sequence[int]) -> Array:
    """The standard deviations of numbers with these sums and sums of squares, correctly rounded; NaN where a count is 0."""
    (totals, power), (of_squares, square_power) = sums.integers(), squares.integers()
    common = min(2 * power, square_power)
    found = []
    for total, square, count in zip(totals, of_squares, counts, strict=True):
        spread = (count * square << (square_power - common)) - (total * total << (2 * power - common))
        found.append(_root(max(spread, 0), count * count, common) if count else math.nan)
    return np.array(found)


def _quotient(total: int, count: int, power: int) -> float:
    """``total / count * 2 ** power``, correctly rounded."""
    if not count:
        return math.nan
    return (total << power) / count if power >= 0 else total / (count << -power)


def _root(above: int, below: int, power: int) -> float:
    """The square root of ``above / below * 2 ** power`` for an even power, correctly rounded."""
    if not above:
        return 0.0
    shift = 130 - above.bit_length() + below.bit_length()
    shift += shift & 1
    quotient, rest = divmod(above << shift, below) if shift >= 0 else divmod(above, below << -shift)
    root = math.isqrt(quotient)
    inexact = rest > 0 or root * root < quotient
    half = (power - shift) // 2 - 1
    return _quotient(2 * root + inexact, 1, half)

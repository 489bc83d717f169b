"""How high random kernels score, against all filters of their size and with a fitted Gabor function. NumPy only."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from kernelviz.filters import classical_filters, unit_rows
from kernelviz.gabor import SMALLEST, chance_of_fit

if TYPE_CHECKING:
    from kernelviz.records import Array


LEVEL = 0.02
"""Kernels get names such that at most this share of random ones would."""
LEAST = 0.8
"""And where the filter makes at least 0.8² = 64 % of the kernel's energy: at 16 × 16 far less is no chance either."""
NULL = 20_000


@dataclass(frozen=True)
class Bar:
    """From which scores on a kernel is named, so that at most ``level`` of random ones are, by either way.

    ``threshold`` is for the filters of the bank and ``fit_threshold`` for a fitted Gabor function, None where none is
    fitted. ``fit_level`` is what of the level the bank leaves to the fits: it takes no more than half where both are tried.
    """

    level: float
    threshold: float
    fit_threshold: float | None = None
    fit_level: float = 0.0


def bar_of(size: int, level: float, *, gabor: bool) -> Bar:
    """The scores from which kernels of this size are named."""
    if not gabor or size < SMALLEST:
        return Bar(level, name_from(size, level))
    threshold = name_from(size, level / 2)
    rest = level - float(np.mean(scores_of_chance(size) >= threshold))
    return Bar(level, threshold, fit_from(size, rest), rest)


def fit_from(size: int, level: float) -> float:
    """The lowest score of a fit whose chance is at most ``level``, and never below 0.8; 1 where there is none."""
    left = chance_of_fit(size)
    allowed = int(level * (len(left) + 1)) - 1  # so many may leave as little: chance is (k + 1) / (n + 1)
    return max(LEAST, float(np.sqrt(1 - left[allowed]))) if allowed >= 0 else 1.0


@lru_cache(maxsize=32)
def templates(size: int) -> Array:
    """All filters of a size, those at every place too, as rows of length 1."""
    return unit_rows(np.stack([one.values for one in classical_filters(size, everywhere=True)]))


@lru_cache(maxsize=32)
def lengths(size: int) -> Array:
    """How long each of these filters was."""
    return np.array([np.linalg.norm(one.values) for one in classical_filters(size, everywhere=True)])


@lru_cache(maxsize=32)
def scores_of_chance(size: int) -> Array:
    """The best scores of random kernels (size, size) of independent normal weights, rising; always the same.

    There are 20,000 of them, and 2,000 beyond 11 × 11, where there are thousands of filters and scores hardly vary.
    """
    random = np.random.default_rng(0)
    each = NULL // 10 if size <= 11 else NULL // 100
    best = [
        np.abs(unit_rows(random.standard_normal((each, size * size))) @ templates(size).T).max(axis=1)
        for _ in range(10)
    ]
    return np.asarray(np.sort(np.concatenate(best)))


def chance_of(size: int, scores: Array) -> Array:
    """The share of random kernels of this size that score as high: (k + 1) / (n + 1), where k of n do."""
    by_chance = scores_of_chance(size)
    as_high = len(by_chance) - np.searchsorted(by_chance, scores - 1e-12, side="left")
    return np.asarray((as_high + 1) / (len(by_chance) + 1))


def name_from(size: int, level: float = LEVEL) -> float:
    """The lowest score that gets a name: at most ``level`` of the random kernels reach it, and never below 0.8."""
    by_chance = scores_of_chance(size)
    allowed = int(level * (len(by_chance) + 1)) - 1  # so many may reach it: chance is (k + 1) / (n + 1)
    reached = by_chance[-allowed] if allowed > 0 else 1.0
    return max(LEAST, float(reached))

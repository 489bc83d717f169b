"""Which classical filter a learned kernel resembles, and how often chance does as well. NumPy only."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from kernelviz.errors import UsageError
from kernelviz.filters import LARGEST, Filter, classical_filters, unit_rows
from kernelviz.gabor import SMALLEST, GaborFit, fit_gabors
from kernelviz.records import KernelBank, as_array, shape_text
from kernelviz.views import as_bank

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kernelviz.records import Array

Plane: TypeAlias = int | Literal["sum", "strongest"]

LEVEL = 0.02
"""A score gets a name where at most this share of random kernels scores as high."""
LEAST = 0.8
"""And where the filter makes at least 0.8² = 64 % of the kernel's energy: at 16 × 16 far less is no chance either."""
ZERO = 0.005  # of the layer's largest weight; what pictures strike through
NULL = 20_000
_CHUNK = 8192  # kernels at once, and
_COSINES = 2**22  # no more numbers than these

COLOURS: dict[str, tuple[float, float, float]] = {
    "light–dark": (1, 1, 1),
    "red–green": (1, -1, 0),
    "red–blue": (1, 0, -1),
    "green–blue": (0, 1, -1),
    "yellow–blue": (1, 1, -2),
    "magenta–green": (1, -2, 1),
    "red–cyan": (2, -1, -1),
    "red": (1, 0, 0),
    "green": (0, 1, 0),
    "blue": (0, 0, 1),
    "yellow": (1, 1, 0),
    "magenta": (1, 0, 1),
    "cyan": (0, 1, 1),
}
"""Directions in colour, (red, green, blue): light against dark, opponents, single channels and pairs of them."""


@dataclass(frozen=True)
class Colour:
    """The strongest direction in colour: the nearest name, its |cosine|, the three ``weights``, its share of the energy."""

    name: str
    score: float
    weights: tuple[float, float, float]
    share: float


@dataclass(frozen=True)
class KernelMatch:
    """One plane of one kernel beside the filter closest to it.

    ``plane`` is an input channel, ``"sum"`` over them, or for image layers ``"strongest"``: the pattern of the strongest
    colour direction. ``kind`` is the filter's, or ``none`` (chance does as well), ``zero``, ``not finite``. ``score`` is
    |cosine|, ``chance`` the share of random kernels that score as high, ``factor`` what the filter is multiplied with.
    ``pattern`` is what was compared. In rows that are zero or not finite the last four, and ``closest``, are None.
    """

    kernel: int
    plane: Plane
    kind: str
    pattern: Array
    closest: Filter | None = None
    score: float | None = None
    chance: float | None = None
    factor: float | None = None
    colour: Colour | None = None
    gabor: GaborFit | None = None


@dataclass(frozen=True)
class Matches:
    """All kernels of a layer beside their closest filters.

    ``rows`` holds one row a kernel first, the ``main`` plane's, then the others if they were asked for. A name is given
    from ``threshold`` on, against ``filters`` filters, at ``level``.
    """

    rows: tuple[KernelMatch, ...]
    bank: KernelBank
    main: str
    level: float
    threshold: float
    filters: int

    @property
    def main_rows(self) -> tuple[KernelMatch, ...]:
        """One row a kernel, in their order."""
        return self.rows[: len(self.bank.weight)]

    @property
    def counts(self) -> dict[str, int]:
        """How many kernels are of each kind, the commonest first; ``none``, ``zero`` and ``not finite`` last."""
        found = Counter(row.kind for row in self.main_rows)
        last = ("none", "zero", "not finite")
        order = sorted(found, key=lambda kind: (kind in last, -found[kind] if kind not in last else last.index(kind)))
        return {kind: found[kind] for kind in order}


def match_kernels(
    kernels: object,
    *,
    planes: bool = False,
    gabor: bool = True,
    level: float = LEVEL,
    transposed: bool = False,
    progress: Callable[[str, int, int], None] | None = None,
) -> Matches:
    """Compare every kernel of a layer with every classical filter of its size, over scale, sign and orientation.

    Takes a KernelBank, a weight (out_channels, in_channels / groups, n, n), or one kernel (n, n). Each kernel has one
    main plane: the strongest colour direction where three channels are read, the only plane where one is, else the sum
    over the input channels. ``planes`` adds the sum and each input plane. From 5 × 5 on a Gabor function is fitted to the
    main planes, unless ``gabor`` is False. ``level`` is the share of random kernels, of independent normal weights, that
    may get a name.

    Raises:
        UsageError: kernels that are no squares of 2 × 2 to 32 × 32, or a level outside 0 … 1.
    """
    bank = _square_bank(kernels, transposed=transposed)
    if not 0 < level < 1:
        raise UsageError(f"A level lies between 0 and 1, but got {level:g}.")
    inputs, size = bank.weight.shape[1:3]
    weight = bank.weight.astype(np.float64)
    limit = float(np.abs(weight, where=np.isfinite(weight), out=np.zeros_like(weight)).max(initial=0))
    in_colour = inputs == 3 and bank.groups == 1
    patterns, colours = _strongest(weight) if in_colour else (weight[:, 0] if inputs == 1 else _sum(weight), [])
    main: Plane = "strongest" if in_colour else 0 if inputs == 1 else "sum"
    threshold = name_from(size, level)
    rows = list(_compare(patterns, main, limit, threshold, progress))
    if colours:
        rows = [replace(row, colour=colours[row.kernel]) if row.closest else row for row in rows]
    if gabor and size >= SMALLEST:
        rows = _with_gabors(rows, level)
    for plane in _other_planes(main, inputs) if planes else ():
        values = _sum(weight) if plane == "sum" else weight[:, int(plane)]
        rows += _compare(values, plane, limit, threshold, progress)
    return Matches(tuple(rows), bank, str(main), level, threshold, len(classical_filters(size, everywhere=True)))


def _other_planes(main: Plane, inputs: int) -> list[Plane]:
    """The planes of a kernel besides its main one."""
    return [plane for plane in ("sum", *range(inputs)) if plane != main] if inputs > 1 else []


def _square_bank(kernels: object, *, transposed: bool) -> KernelBank:
    if not isinstance(kernels, KernelBank):
        weight = as_array(kernels)
        kernels = weight[None, None] if weight.ndim == 2 else weight
    bank = as_bank(kernels, transposed=transposed)
    sides = bank.weight.shape[2:]
    if len(sides) != 2 or sides[0] != sides[1] or not 2 <= sides[0] <= LARGEST:
        raise UsageError(
            f"Kernels of {' × '.join(map(str, sides))} have no classical filters.",
            f"There are some for squares of 2 × 2 to {LARGEST} × {LARGEST}; the weight is {shape_text(bank.weight.shape)}.",
        )
    return bank


def _sum(weight: Array) -> Array:
    with np.errstate(invalid="ignore", over="ignore"):
        return np.asarray(weight.sum(axis=1))


def _strongest(weight: Array) -> tuple[Array, list[Colour]]:
    """The pattern (n, h, w) and the direction in colour that make the most of each kernel's energy."""
    whole = np.asarray(np.isfinite(weight).all(axis=(1, 2, 3)))
    flat = np.where(whole[:, None, None], weight.reshape(len(weight), 3, -1), 0)
    size = np.abs(flat).max(axis=(1, 2), keepdims=True)
    size = np.where(size > 0, size, 1)
    directions, strengths, patterns = np.linalg.svd(flat / size, full_matrices=False)
    names, table = list(COLOURS), unit_rows(np.array(list(COLOURS.values())))
    cosines = directions[:, :, 0] @ table.T
    nearest = np.abs(cosines).argmax(axis=1)
    at = np.arange(len(weight))
    signs = np.sign(cosines[at, nearest])
    shares = strengths[:, 0] ** 2 / np.maximum((strengths**2).sum(axis=1), 1e-300)
    result = patterns[:, 0] * (signs * strengths[:, 0])[:, None] * size[:, 0]
    colours = []
    for i, name in enumerate(nearest):
        red, green, blue = map(float, directions[i, :, 0] * signs[i])
        colours.append(Colour(names[name], float(abs(cosines[i, name])), (red, green, blue), float(shares[i])))
    return np.where(whole[:, None], result, np.nan).reshape(len(weight), *weight.shape[2:]), colours


def _compare(
    patterns: Array,
    plane: Plane,
    limit: float,
    threshold: float,
    progress: Callable[[str, int, int], None] | None,
) -> Iterator[KernelMatch]:
    """One row for each pattern (n, h, w)."""
    size = patterns.shape[-1]
    bank, templates = classical_filters(size, everywhere=True), _templates(size)
    step = min(_CHUNK, max(1, _COSINES // len(bank)))
    for start in range(0, len(patterns), step):
        if progress is not None:
            progress("comparing", start, len(patterns))
        chunk = patterns[start : start + step]
        finite = np.asarray(np.isfinite(chunk).all(axis=(1, 2)))
        clean = np.where(finite[:, None, None], chunk, 0)
        empty = np.asarray(np.abs(clean).max(axis=(1, 2)) <= ZERO * limit)
        units = unit_rows(clean)
        cosines = units @ templates.T
        best = np.abs(cosines).argmax(axis=1)
        signed = cosines[np.arange(len(chunk)), best]
        chances = chance_of(size, np.abs(signed))
        factors = _factors(chunk, units, signed, best, size)
        for at, pattern in enumerate(chunk):
            number = start + at
            if not finite[at] or empty[at]:
                yield KernelMatch(number, plane, "zero" if finite[at] else "not finite", pattern)
                continue
            found, score = bank[best[at]], min(1.0, abs(float(signed[at])))
            kind = found.kind if score >= threshold else "none"
            yield KernelMatch(number, plane, kind, pattern, found, score, float(chances[at]), float(factors[at]))


def _factors(chunk: Array, units: Array, signed: Array, best: Array, size: int) -> Array:
    """What each closest filter is to be multiplied with to come as near as it can."""
    flat = chunk.reshape(len(chunk), -1)
    with np.errstate(invalid="ignore", over="ignore"):
        lengths = np.nansum(flat * units, axis=1)
        return np.asarray(signed * lengths / _lengths(size)[best])


def _with_gabors(rows: list[KernelMatch], level: float) -> list[KernelMatch]:
    fitted = [row for row in rows if row.closest is not None]
    if not fitted:
        return rows
    fits = dict(zip((row.kernel for row in fitted), fit_gabors(np.stack([row.pattern for row in fitted])), strict=True))
    return [_with_gabor(row, fits.get(row.kernel), level) for row in rows]


def _with_gabor(row: KernelMatch, fit: GaborFit | None, level: float) -> KernelMatch:
    """A row with its fit; where no filter of the bank is better than chance but the fit is, it is what the kernel is."""
    row = replace(row, gabor=fit)
    if fit is None or row.kind != "none" or fit.chance > level or fit.score < LEAST:
        return row
    about, source = "stripes of one direction, width and place", "fitted by least squares"
    found = Filter("gabor-fit", fit.kind, fit.values, about, source, "gabor-fit", fit.orientation, "gabor-fit")
    return replace(row, kind=fit.kind, closest=found, score=fit.score, chance=fit.chance, factor=1.0)


@lru_cache(maxsize=32)
def _templates(size: int) -> Array:
    return unit_rows(np.stack([one.values for one in classical_filters(size, everywhere=True)]))


@lru_cache(maxsize=32)
def _lengths(size: int) -> Array:
    return np.array([np.linalg.norm(one.values) for one in classical_filters(size, everywhere=True)])


@lru_cache(maxsize=32)
def scores_of_chance(size: int) -> Array:
    """The best scores of random kernels (size, size) of independent normal weights, rising; always the same.

    There are 20,000 of them, and 2,000 beyond 11 × 11, where there are thousands of filters and scores hardly vary.
    """
    random = np.random.default_rng(0)
    each = NULL // 10 if size <= 11 else NULL // 100
    best = [
        np.abs(unit_rows(random.standard_normal((each, size * size))) @ _templates(size).T).max(axis=1)
        for _ in range(10)
    ]
    return np.asarray(np.sort(np.concatenate(best)))


def chance_of(size: int, scores: Array) -> Array:
    """The share of random kernels of this size that score as high: (k + 1) / (n + 1), where k of n do."""
    by_chance = scores_of_chance(size)
    as_high = len(by_chance) - np.searchsorted(by_chance, scores - 1e-12, side="left")
    return np.asarray((as_high + 1) / (len(by_chance) + 1))


def name_from(size: int, level: float = LEVEL) -> float:
    """The lowest score that gets a name: no more than ``level`` of the random kernels reach it, and never below 0.8."""
    by_chance = scores_of_chance(size)
    allowed = int(level * (len(by_chance) + 1)) - 1  # so many may reach it: chance is (k + 1) / (n + 1)
    reached = by_chance[-allowed] if allowed > 0 else 1.0
    return max(LEAST, float(reached))

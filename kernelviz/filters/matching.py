"""The classical filters that learned kernels resemble, and how often random kernels are as similar; NumPy only."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from kernelviz.errors import UsageError
from kernelviz.filters.bank import ALIKE, LARGEST, Filter, classical_filters, unit_rows
from kernelviz.filters.formulas import SMALLEST, GaborFit, chance_of_fit, fit_gabors
from kernelviz.notebook import record_repr
from kernelviz.records import KernelBank, as_array, as_bank, shape_text
from kernelviz.wording import aligned

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from kernelviz.records import Array, Layout


@dataclass(frozen=True)
class ColourDirection:
    """A direction in colour by its ``weights`` (red, green, blue), its purpose ``about`` and the source of its numbers.

    Example:
        >>> direction = kernelviz.colour_directions()[0]
        >>> direction.name, direction.weights
        ('light–dark', (1, 1, 1))
    """

    name: str
    weights: tuple[float, float, float]
    about: str
    source: str

    __repr__ = record_repr


_CONES = "Ruderman, Cronin and Chiao 1998, Statistics of cone responses to natural images"
_ALONE, _PAIR, _REST = "by definition", "one channel minus another", "one channel minus the mean of the others"
_DIRECTIONS = tuple(
    ColourDirection(name, weights, about, source)
    for name, weights, about, source in (
        ("light–dark", (1, 1, 1), "brightness, regardless of colour", _CONES),
        ("red–green", (1, -1, 0), "reds versus greens", _CONES),
        ("red–blue", (1, 0, -1), "warm versus cold colours", _PAIR),
        ("green–blue", (0, 1, -1), "greens versus blues", _PAIR),
        ("yellow–blue", (1, 1, -2), "yellows versus blues: land and sky", _CONES),
        ("magenta–green", (1, -2, 1), "greens versus colours without green", _REST),
        ("red–cyan", (2, -1, -1), "reds versus colours without red", _REST),
        ("red", (1, 0, 0), "amount of red", _ALONE),
        ("green", (0, 1, 0), "amount of green", _ALONE),
        ("blue", (0, 0, 1), "amount of blue", _ALONE),
        ("yellow", (1, 1, 0), "brightness without blue", _ALONE),
        ("magenta", (1, 0, 1), "brightness without green", _ALONE),
        ("cyan", (0, 1, 1), "brightness without red", _ALONE),
    )
)
COLOURS: dict[str, tuple[float, float, float]] = {one.name: one.weights for one in _DIRECTIONS}
"""Directions in colour, (red, green, blue): light against dark, opponents, single channels and pairs of them."""


def colour_directions() -> tuple[ColourDirection, ...]:
    """The directions in colour that kernels of three channels are compared with, in a fixed order.

    Example:
        >>> [direction.name for direction in kernelviz.colour_directions()][:4]
        ['light–dark', 'red–green', 'red–blue', 'green–blue']
    """
    return _DIRECTIONS


@dataclass(frozen=True)
class Colour:
    """The strongest colour direction of a kernel: the nearest name, the |cosine| with it, and its share of the energy."""

    name: str
    score: float
    weights: tuple[float, float, float]
    share: float


def strongest(weight: Array) -> tuple[Array, list[Colour]]:
    """The best approximation of each kernel by one pattern times one colour direction: patterns (n, h, w) and colours."""
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


LEVEL = 0.02
"""The default level: the largest share of random kernels that may be named."""
LEAST = 0.8
"""The lowest threshold: at least 0.8² = 64 % of the energy. For large kernels chance would allow far less."""
NULL = 20_000


@dataclass(frozen=True)
class NamingThreshold:
    """The scores from which kernels are named, such that at most the share ``level`` of random kernels is.

    ``threshold`` is for the filters of the bank, ``fit_threshold`` for fitted Gabor functions, None without fits. With fits
    the bank uses at most half of the level; ``fit_level`` is the rest.
    """

    level: float
    threshold: float
    fit_threshold: float | None = None
    fit_level: float = 0.0


def check_level(level: float) -> None:
    """Check the share of random kernels that may be named.

    Raises:
        UsageError: the level is not between 0 and 1.
    """
    if not 0 < level < 1:
        raise UsageError(f"The level must be between 0 and 1, but got {level:g}.", hint="For example 0.05.")


def naming_threshold(size: int, level: float, *, gabor: bool) -> NamingThreshold:
    """The thresholds for kernels of this size.

    Raises:
        UsageError: the level is not between 0 and 1.
    """
    check_level(level)
    if not gabor or size < SMALLEST:
        return NamingThreshold(level, name_from(size, level))
    threshold = name_from(size, level / 2)
    rest = level - float(np.mean(scores_of_chance(size) >= threshold))
    return NamingThreshold(level, threshold, fit_from(size, rest), rest)


def _allowed(level: float, total: int) -> int:
    """The largest k whose chance (k + 1) / (n + 1) is at most ``level``, if n is ``total``; negative if there is none."""
    return int(level * (total + 1)) - 1


def fit_from(size: int, level: float) -> float:
    """The lowest score of a fit whose chance is at most ``level``, but at least 0.8; 1 if there is none."""
    left = chance_of_fit(size)
    allowed = _allowed(level, len(left))
    return max(LEAST, float(np.sqrt(1 - left[allowed]))) if allowed >= 0 else 1.0


@lru_cache(maxsize=32)
def templates(size: int) -> Array:
    """All filters of a size at all positions, as rows of length 1."""
    return unit_rows(np.stack([one.values for one in classical_filters(size, everywhere=True)]))


@lru_cache(maxsize=32)
def lengths(size: int) -> Array:
    """The norms of these filters."""
    return np.array([np.linalg.norm(one.values) for one in classical_filters(size, everywhere=True)])


@lru_cache(maxsize=32)
def scores_of_chance(size: int) -> Array:
    """The best scores of random kernels (size, size) of independent normal weights, ascending; deterministic.

    There are 20,000 kernels, and 2,000 beyond 11 × 11, where there are thousands of filters and scores hardly vary.
    """
    random = np.random.default_rng(0)
    each = NULL // 10 if size <= 11 else NULL // 100
    best = [
        np.abs(unit_rows(random.standard_normal((each, size * size))) @ templates(size).T).max(axis=1)
        for _ in range(10)
    ]
    return np.asarray(np.sort(np.concatenate(best)))


def chance_of(size: int, scores: Array) -> Array:
    """The share of random kernels with at least this score: (k + 1) / (n + 1), if k of n have it."""
    by_chance = scores_of_chance(size)
    as_high = len(by_chance) - np.searchsorted(by_chance, scores - 1e-12, side="left")
    return np.asarray((as_high + 1) / (len(by_chance) + 1))


def name_from(size: int, level: float = LEVEL) -> float:
    """The lowest score that at most the share ``level`` of random kernels reaches, but at least 0.8."""
    by_chance = scores_of_chance(size)
    allowed = _allowed(level, len(by_chance))
    reached = by_chance[-allowed] if allowed > 0 else 1.0
    return max(LEAST, float(reached))


Plane: TypeAlias = int | Literal["sum", "strongest"]

ZERO = 0.005  # share of the largest number that is compared; smaller kernels are struck through in pictures
ROUNDING = float(np.finfo(np.float32).eps)
"""Share of the largest weight of a layer: smaller sums of weights are rounding errors of 0."""
FAR_BETTER = 1 / 3
"""A fit replaces a filter below ``ALIKE`` if it leaves less than this share of the energy that the filter leaves."""
FIT = "gabor-fit"
UNNAMED = ("weak", "none", "zero", "not finite")
_CHUNK = 8192  # the most kernels at once,
_COSINES = 2**22  # and the most cosines


@dataclass(frozen=True)
class KernelMatch:
    """One plane of one kernel beside the filter closest to it.

    ``plane`` is an input channel, ``"sum"`` over them, or for image layers ``"strongest"``: the pattern of the strongest
    colour direction. ``kind`` is the filter's, or ``weak`` (closer than chance, but below the threshold), ``none``
    (no closer than chance), ``zero`` (as good as zero beside the largest of its plane) or ``not finite``. ``score`` is the
    |cosine|, ``chance`` the share of random kernels with this score, ``factor`` the scale of the filter, ``pattern`` the
    compared values. ``colour`` is the strongest colour direction of an image layer, ``gabor`` the Gabor function that was
    fitted. Rows that are zero or not finite have None for ``closest`` and the fields after it.

    Example:
        >>> sobel, laplacian = [[1, 0, -1], [2, 0, -2], [1, 0, -1]], [[0, 1, 0], [1, -4, 1], [0, 1, 0]]
        >>> kernels = np.array([[sobel], [laplacian]])
        >>> match = kernelviz.match_kernels(kernels).rows[0]
        >>> match.kernel, match.plane, match.closest.name, round(match.factor, 3)
        (0, 0, 'sobel-x', -1.0)
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

    __repr__ = record_repr


@dataclass(frozen=True)
class Matches:
    """All kernels of a layer beside their closest filters.

    ``rows`` has first one row per kernel for the ``main`` plane, then the other planes if requested. Kernels are named from
    the score ``threshold`` on, among ``filters`` filters, or from ``fit_threshold`` on for a fitted Gabor function (None
    without fits), such that at most the share ``level`` of random kernels is named.

    Example:
        >>> sobel, laplacian = [[1, 0, -1], [2, 0, -2], [1, 0, -1]], [[0, 1, 0], [1, -4, 1], [0, 1, 0]]
        >>> kernels = np.array([[sobel], [laplacian]])
        >>> matches = kernelviz.match_kernels(kernels)
        >>> matches.counts, matches.main
        ({'edge': 1, 'spot': 1}, '0')
    """

    rows: tuple[KernelMatch, ...]
    bank: KernelBank
    main: str
    level: float
    threshold: float
    filters: int
    fit_threshold: float | None = None

    __repr__ = record_repr

    @property
    def main_rows(self) -> tuple[KernelMatch, ...]:
        """One row per kernel, in their order."""
        return self.rows[: len(self.bank.weight)]

    @property
    def counts(self) -> dict[str, int]:
        """The number of kernels of each kind, the most common first, unnamed kinds last."""
        found = Counter(row.kind for row in self.main_rows)
        order = sorted(found, key=lambda one: (UNNAMED.index(one) + 1, 0) if one in UNNAMED else (0, -found[one]))
        return {kind: found[kind] for kind in order}


@dataclass(frozen=True)
class _Set:
    """The patterns (n, h, w) of one plane of the kernels ``numbers``; patterns are zero relative to ``limit``."""

    plane: Plane
    patterns: Array
    limit: float
    numbers: Sequence[int]


def match_kernels(
    kernels: object,
    *,
    planes: bool = False,
    gabor: bool = True,
    level: float = LEVEL,
    transposed: bool = False,
    progress: Callable[[str, int, int], None] | None = None,
    layout: Layout | None = None,
) -> Matches:
    """Compare every kernel of a layer with every classical filter of its size, over scale, sign and orientation.

    Each kernel has one main plane: the strongest colour direction for three input channels, the only plane for one, else
    the sum over the input channels.

    Args:
        kernels: A ``KernelBank``, a weight (out_channels, in_channels / groups, n, n), or one kernel (n, n).
        planes: Also compare the sum and each input plane.
        gabor: Whether a Gabor function is fitted to the main planes, from 5 × 5 on.
        level: The share of random kernels, of independent normal weights, that may be named.
        transposed: Whether a plain weight is that of a transposed convolution.
        progress: Called with a label, what is done and the total.
        layout: Of a plain weight, as in ``plot_kernels``.

    Raises:
        UsageError: the kernels are not 2 × 2 to 32 × 32 and square, or the level is not between 0 and 1.

    Example:
        >>> sobel, laplacian = [[1, 0, -1], [2, 0, -2], [1, 0, -1]], [[0, 1, 0], [1, -4, 1], [0, 1, 0]]
        >>> kernels = np.array([[sobel], [laplacian]])
        >>> matches = kernelviz.match_kernels(kernels)
        >>> for match in matches.main_rows:
        ...     print(match.kind, match.closest.name, round(match.score, 3))
        edge sobel-x 1.0
        spot laplacian-4 1.0
    """
    bank = _square_bank(kernels, transposed=transposed, layout=layout)
    inputs, size = bank.weight.shape[1:3]
    naming, weight = naming_threshold(size, level, gabor=gabor), bank.weight.astype(np.float64)
    rows = _main_rows(bank, naming, range(len(weight)), progress)
    for plane in _other_planes(rows[0].plane, inputs) if planes and rows else ():
        values = _sum(weight) if plane == "sum" else weight[:, int(plane)]
        limit = _limit(values if plane == "sum" else weight, weight)
        rows += _compare(_Set(plane, values, limit, range(len(weight))), naming, progress)
    main, filters = str(_main_plane(bank)), len(classical_filters(size, everywhere=True))
    return Matches(tuple(rows), bank, main, level, naming.threshold, filters, naming.fit_threshold)


def match_kernel(bank: KernelBank, kernel: int, *, gabor: bool = True, level: float = LEVEL) -> KernelMatch:
    """The main row of one kernel, as in ``match_kernels``, without comparing the others.

    Raises:
        UsageError: as in ``match_kernels``.
    """
    bank = _square_bank(bank, transposed=False)
    (row,) = _main_rows(bank, naming_threshold(bank.weight.shape[2], level, gabor=gabor), [kernel], None)
    return row


def main_patterns(bank: KernelBank) -> tuple[Plane, Array, Array]:
    """The main plane that ``match_kernels`` compares, its patterns (n, h, w), and which are neither zero nor broken.

    Raises:
        UsageError: as in ``match_kernels``.
    """
    bank = _square_bank(bank, transposed=False)
    weight, plane = bank.weight.astype(np.float64), _main_plane(bank)
    patterns = strongest(weight)[0] if plane == "strongest" else weight[:, 0] if plane == 0 else _sum(weight)
    finite = np.asarray(np.isfinite(patterns).all(axis=(1, 2)))
    clean = np.where(finite[:, None, None], patterns, 0)
    return plane, patterns, finite & (np.abs(clean).max(axis=(1, 2)) > ZERO * _limit(patterns, weight))


def _main_plane(bank: KernelBank) -> Plane:
    inputs = bank.weight.shape[1]
    return "strongest" if inputs == 3 and bank.groups == 1 else 0 if inputs == 1 else "sum"


def _main_rows(
    bank: KernelBank, naming: NamingThreshold, numbers: Sequence[int], progress: Callable[[str, int, int], None] | None
) -> list[KernelMatch]:
    """The main rows of the kernels of these numbers."""
    weight, plane = bank.weight.astype(np.float64), _main_plane(bank)
    colours: list[Colour] = []
    if plane == "strongest":
        patterns, colours = strongest(weight)
    else:
        patterns = weight[:, 0] if plane == 0 else _sum(weight)
    chosen = _Set(plane, patterns[list(numbers)], _limit(patterns, weight), numbers)
    rows = list(_compare(chosen, naming, progress))
    if colours:
        rows = [replace(row, colour=colours[row.kernel]) if row.closest else row for row in rows]
    return rows if naming.fit_threshold is None else _with_gabors(rows, naming)


def _limit(values: Array, weight: Array) -> float:
    """The magnitude relative to which numbers are as good as zero: the largest finite one among those compared together."""
    return max(_largest(values), ROUNDING / ZERO * _largest(weight))


def _largest(values: Array) -> float:
    return float(np.abs(values, where=np.isfinite(values), out=np.zeros_like(values)).max(initial=0))


def _other_planes(main: Plane, inputs: int) -> list[Plane]:
    """The planes of a kernel besides its main one."""
    return [plane for plane in ("sum", *range(inputs)) if plane != main] if inputs > 1 else []


def _square_bank(kernels: object, *, transposed: bool, layout: Layout | None = None) -> KernelBank:
    if not isinstance(kernels, KernelBank) and (weight := as_array(kernels)).ndim == 2:
        kernels = KernelBank(weight[None, None])
    bank = as_bank(kernels, transposed=transposed, layout=layout)
    sides = bank.weight.shape[2:]
    if len(sides) != 2 or sides[0] != sides[1] or not 2 <= sides[0] <= LARGEST:
        raise UsageError(
            f"There are no classical filters of {' × '.join(map(str, sides))}.",
            f"Kernels must be square, 2 × 2 to {LARGEST} × {LARGEST}; the weight is {shape_text(bank.weight.shape)}.",
        )
    return bank


def _sum(weight: Array) -> Array:
    with np.errstate(invalid="ignore", over="ignore"):
        return np.asarray(weight.sum(axis=1))


def _compare(
    held: _Set, naming: NamingThreshold, progress: Callable[[str, int, int], None] | None
) -> Iterator[KernelMatch]:
    """One row for each pattern."""
    patterns, plane, size = held.patterns, held.plane, held.patterns.shape[-1]
    bank, rows = classical_filters(size, everywhere=True), templates(size)
    step = min(_CHUNK, max(1, _COSINES // len(bank)))
    for start in range(0, len(patterns), step):
        if progress is not None:
            progress("comparing", start, len(patterns))
        chunk = patterns[start : start + step]
        finite = np.asarray(np.isfinite(chunk).all(axis=(1, 2)))
        clean = np.where(finite[:, None, None], chunk, 0)
        empty = np.asarray(np.abs(clean).max(axis=(1, 2)) <= ZERO * held.limit)
        units = unit_rows(clean)
        cosines = units @ rows.T
        best = np.abs(cosines).argmax(axis=1)
        signed = cosines[np.arange(len(chunk)), best]
        chances = chance_of(size, np.abs(signed))
        factors = _factors(chunk, units, signed, best, size)
        for at, pattern in enumerate(chunk):
            number = held.numbers[start + at]
            if not finite[at] or empty[at]:
                yield KernelMatch(number, plane, "zero" if finite[at] else "not finite", pattern)
                continue
            found, score, chance = bank[best[at]], min(1.0, abs(float(signed[at]))), float(chances[at])
            kind = found.kind if score >= naming.threshold else "weak" if chance <= naming.level else "none"
            yield KernelMatch(number, plane, kind, pattern, found, score, chance, float(factors[at]))


def _factors(chunk: Array, units: Array, signed: Array, best: Array, size: int) -> Array:
    """The factors by which the closest filters approximate the patterns best."""
    flat = chunk.reshape(len(chunk), -1)
    with np.errstate(invalid="ignore", over="ignore"):
        return np.asarray(signed * np.nansum(flat * units, axis=1) / lengths(size)[best])


def _with_gabors(rows: list[KernelMatch], naming: NamingThreshold) -> list[KernelMatch]:
    fitted = [row for row in rows if row.closest is not None]
    if not fitted:
        return rows
    fits = dict(zip((row.kernel for row in fitted), fit_gabors(np.stack([row.pattern for row in fitted])), strict=True))
    return [_with_gabor(row, fits[row.kernel], naming) if row.kernel in fits else row for row in rows]


def _with_gabor(row: KernelMatch, fit: GaborFit, naming: NamingThreshold) -> KernelMatch:
    """A row with its fit, which replaces the filter if none is close enough, or none nearly as close."""
    row = replace(row, gabor=fit)
    named = row.kind not in UNNAMED
    left = 1 - (row.score or 0) ** 2
    close = fit.chance <= naming.fit_level and fit.score >= (naming.fit_threshold or 1)
    if not close or (named and (left <= 1 - ALIKE**2 or fit.unexplained >= FAR_BETTER * left)):
        return replace(row, kind="weak") if row.kind == "none" and fit.chance <= naming.level else row
    about, source = "stripes of one orientation, width and phase", "fitted by least squares"
    found = Filter(FIT, fit.kind, fit.values, about, source, FIT, fit.orientation, FIT)
    return replace(row, kind=fit.kind, closest=found, score=fit.score, chance=fit.chance, factor=1.0)


def match_entry(row: KernelMatch, layer: str) -> dict[str, Any]:
    """One row of the matches as JSON."""
    closest, colour, gabor = row.closest, row.colour, row.gabor
    return {
        "layer": layer,
        "kernel": row.kernel,
        "plane": row.plane,
        "kind": row.kind,
        "name": closest.name if closest else None,
        "family": closest.family if closest else None,
        "score": row.score,
        "chance": row.chance,
        "factor": row.factor,
        "orientation": closest.orientation if closest else None,
        "colour": None
        if colour is None
        else {"name": colour.name, "score": colour.score, "weights": colour.weights, "share": colour.share},
        "gabor": None
        if gabor is None
        else {
            "orientation": gabor.orientation,
            "frequency": gabor.frequency,
            "wavelength": gabor.wavelength,
            "width": gabor.width,
            "length": gabor.length,
            "phase": gabor.phase,
            "centre": gabor.centre,
            "unexplained": gabor.unexplained,
            "chance": gabor.chance,
        },
    }


def colour_entry(one: ColourDirection) -> dict[str, Any]:
    """One direction in colour as JSON."""
    return {"name": one.name, "weights": list(one.weights), "about": one.about, "source": one.source}


def match_table(rows: Sequence[KernelMatch], width: int | None = None) -> str:
    """Aligned text, one row per plane of a kernel: its kind, the closest filter, its score and its chance."""
    heads = ("kernel", "plane", "kind", "closest", "score", "chance", "orientation", "colour", "unexplained", "gabor")
    numbers = {"kernel", "score", "chance", "orientation", "unexplained"}
    return aligned(heads, [_match_cells(row) for row in rows], numbers, width=width)


def _match_cells(row: KernelMatch) -> tuple[str, ...]:
    fit, closest = row.gabor, row.closest
    angle = None if closest is None else closest.orientation
    return (
        str(row.kernel),
        str(row.plane),
        row.kind,
        closest.name if closest else "",
        "" if row.score is None else f"{row.score:.3f}",
        "" if row.chance is None else f"{row.chance:.4f}" if row.chance >= 1e-4 else "<0.0001",
        "" if angle is None else f"{angle:.0f}°",
        row.colour.name if row.colour else "",
        "" if fit is None else f"{fit.unexplained:.3f}",
        ""
        if fit is None
        else f"{fit.orientation:.0f}°, wavelength {fit.wavelength:.1f}, envelope {fit.width:.1f} × {fit.length:.1f}",
    )


def colour_table(directions: Sequence[ColourDirection], width: int | None = None, *, sources: bool = True) -> str:
    """Aligned text, one row per direction in colour: its weights, its purpose and, if ``sources``, its source."""
    rows = [
        (one.name, *(f"{weight:g}" for weight in one.weights), one.about, one.source if sources else "")
        for one in directions
    ]
    heads = ("colour", "red", "green", "blue", "for", "source")
    return aligned(heads, rows, {"red", "green", "blue"}, width=width)

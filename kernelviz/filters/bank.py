"""The classical filters of image processing, at every square size for which they are defined.

Arrays are (rows, columns), for cross-correlation as in convolutional networks. The orientation is the direction in which
an edge, a line or a stripe runs, in degrees anticlockwise from horizontal, from 0 to 180, because an edge and its negative
are the same. Line ends and corners have a direction, from 0 to 360.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache, partial
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from kernelviz.errors import UsageError
from kernelviz.filters.formulas import (
    difference_of_gaussians,
    edges,
    gabor,
    gaussian,
    in_quadrant,
    laplacian_of_gaussian,
    on_line,
    on_ray,
    sigma_of,
    turned,
    zero_mean,
)
from kernelviz.notebook import record_repr
from kernelviz.records import check_positive
from kernelviz.wording import aligned, nearest_text, shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from kernelviz.records import Array


_BOOK = "Gonzalez and Woods, Digital Image Processing"
SOURCES = {
    "identity": "by definition",
    "box": f"the mean; {_BOOK}",
    "gaussian": "the normal distribution, sigma = 0.3 ((n - 1) / 2 - 1) + 0.8 as in OpenCV's getGaussianKernel",
    "laplacian": f"second differences over 8 neighbours; {_BOOK}",
    "laplacian-4": f"second differences over 4 neighbours; {_BOOK}",
    "sharpen": f"the pixel plus laplacian-4; {_BOOK}",
    "log": "Marr and Hildreth 1980, Theory of edge detection; its mean is taken off",
    "dog": "Marr and Hildreth 1980: a Gaussian minus one 1.6 times as wide; its mean is taken off",
    "log-wide": "as log, as wide as the Gaussian of this size",
    "dog-wide": "as dog, as wide as the Gaussian of this size",
    "sobel": "Sobel and Feldman 1968; beyond 3 x 3 binomial, as in OpenCV's getDerivKernels",
    "scharr": "Scharr 2000, Optimal operators in digital image processing: 3, 10, 3",
    "prewitt": "Prewitt 1970, Object enhancement and extraction: the least-squares plane",
    "difference": "by definition",
    "central": "by definition",
    "roberts": "Roberts 1963, Machine perception of three-dimensional solids",
    "line": f"one on the line, zero mean; {_BOOK}",
    "line-end": "one on the half line, zero mean; after Hubel and Wiesel 1965 (end-stopped cells)",
    "corner": "one on the quadrant, zero mean",
    "gabor": "Daugman 1985, with a circular envelope of one octave, as in scikit-image's gabor_kernel",
}
ABOUT = {
    "identity": "copies one pixel",
    "box": "the mean: blurs and reduces noise",
    "gaussian": "a mean weighted towards the middle: blurs smoothly",
    "laplacian": "a pixel compared with its eight neighbours: fine detail",
    "laplacian-4": "a pixel compared with its four neighbours: fine detail",
    "sharpen": "the image with its fine detail added",
    "log": "a spot compared with its surroundings, at one scale",
    "dog": "a spot compared with its surroundings, as in the retina",
    "log-wide": "a larger spot compared with its surroundings",
    "dog-wide": "a larger spot compared with its surroundings, as in the retina",
    "sobel": "{}edges, smoothed along their direction",
    "scharr": "{}edges, equally strong in every direction",
    "prewitt": "{}edges, with equal weights along their direction",
    "difference": "difference of two neighbours: the finest edges",
    "central": "difference of the pixels on both sides: the slope",
    "roberts": "difference of two diagonal neighbours",
    "line": "thin {}lines, bright or dark",
    "line-end": "where a thin line ends",
    "corner": "where two edges meet",
    "gabor": "stripes of one orientation, width and phase",
}
RUNS = {
    90.0: ("x", "vertical"),
    0.0: ("y", "horizontal"),
    45.0: ("45", "diagonal (/)"),
    135.0: ("135", "diagonal (\\)"),
}
"""The suffix of the name for each orientation, and its description."""


ALIKE = 0.95
"""Filters of a size whose |cosine| exceeds this are one family."""
LARGEST = 32
"""The largest size: beyond it, single pixels and differences at every position would take gigabytes."""
QUARTERS, EIGHTHS, SIXTEENTHS = (90.0, 0.0, 45.0, 135.0), tuple(range(0, 360, 45)), tuple(np.arange(8) * 22.5)
PHASES = (0, 45, 90, 135)


@dataclass(frozen=True)
class Filter:
    """A classical filter: ``values`` (n, n) for cross-correlation, its purpose (``about``) and ``source``.

    ``kind`` is what it detects: blur, spot, edge, …. ``stem`` is the name without the orientation, ``orientation`` is in
    degrees (see the module) or None. Filters of one ``family`` are indistinguishable at this size.

    Example:
        >>> sobel = kernelviz.find_filter("sobel-x")
        >>> sobel.values
        array([[-1.,  0.,  1.],
               [-2.,  0.,  2.],
               [-1.,  0.,  1.]])
        >>> sobel.kind, sobel.family, sobel.about
        ('edge', 'sobel', 'vertical edges, smoothed along their direction')
    """

    name: str
    kind: str
    values: Array
    about: str
    source: str
    stem: str
    orientation: float | None = None
    family: str = ""

    __repr__ = record_repr


def classical_filters(size: int = 3, *, everywhere: bool = False) -> tuple[Filter, ...]:
    """All classical filters of (size, size) values, in a fixed order.

    ``name@3`` is the filter of 3 × 3 in the middle of a larger one. ``everywhere``, which matching uses, adds single pixels
    and differences of two neighbours at all positions, and from 5 × 5 on blurs and spots up to one pixel off the middle, in
    steps of a half: kernels of a layer with stride 2 are centred between two pixels.

    Raises:
        UsageError: the size is below 2 or above 32.

    Example:
        >>> filters = kernelviz.classical_filters(3)
        >>> len(filters), sorted({filter.kind for filter in filters})
        (62, ['blur', 'corner', 'difference', 'edge', 'gabor', 'line', 'line end', 'pixel', 'spot'])
    """
    return _bank(check_size(size), everywhere=everywhere)


def check_size(size: int) -> int:
    """Check that there are filters of a size; return it as an int.

    Raises:
        UsageError: there are none.
    """
    whole = check_positive("size", size) or 0
    if not 2 <= whole <= LARGEST:
        raise UsageError(
            f"Classical filters are 2 × 2 to {LARGEST} × {LARGEST}, but got size {whole}.",
            hint="Give larger filters by their numbers.",
        )
    return whole


@lru_cache(maxsize=32)
def _bank(size: int, *, everywhere: bool) -> tuple[Filter, ...]:
    filters = [*_in_the_middle(size), *(_beside_the_middle(size) if everywhere else ())]
    filters += _points_at(size, everywhere=True) if everywhere else _points_at(size)
    families = _families(size)
    known = [replace(one, family=families[one.stem][0], kind=families[one.stem][1]) for one in filters]
    return tuple(sorted(known, key=lambda one: _KINDS.index(one.kind)))


def find_filter(name: str, size: int = 3) -> Filter:
    """Find a filter by its name, of ``size`` × ``size``; ``name@5`` is that of 5 × 5.

    Raises:
        UsageError: there is none; the message has the nearest names.

    Example:
        >>> kernelviz.find_filter("laplacian").values
        array([[-1., -1., -1.],
               [-1.,  8., -1.],
               [-1., -1., -1.]])
        >>> kernelviz.find_filter("gaussian@5").values.shape
        (5, 5)
    """
    stem, at, own = name.strip().partition("@")
    if at and not (own.isdecimal() and len(own) < 10):
        raise UsageError(f"A filter is NAME or NAME@SIZE, but got '{shown(name)}'.", hint="For example sobel-x@5.")
    size = int(own) if at else size
    known = {one.name: one for one in classical_filters(size, everywhere=bool(_POSITION.search(stem)))}
    if stem in known:
        return known[stem]
    raise _unknown(stem, size, [one.name for one in classical_filters(size)])


def _unknown(stem: str, size: int, names: Iterable[str]) -> UsageError:
    """The error of a word that is none of these names of filters."""
    return UsageError(
        f"There is no filter '{shown(stem)}' of {size} × {size}.",
        nearest_text(dict.fromkeys(names), stem, least=0.4),
        f"`kernelviz filter --list --size {size}` shows them all.",
    )


_POSITION = re.compile(r"-r([\d.]+)c([\d.]+)$")


def name_and_position(name: str) -> tuple[str, str]:
    """``difference-x`` and ``row 0, column 1`` of ``difference-x-r0c1``; the position is empty if the name has none."""
    found = _POSITION.search(name)
    return (name[: found.start()], f"row {found[1]}, column {found[2]}") if found else (name, "")


_KINDS = ("pixel", "blur", "spot", "edge", "difference", "line", "line end", "corner", "gabor")


def _make(stem: str, kind: str, values: Array, orientation: float | None = None, name: str = "") -> Filter:
    """A filter with the texts of its stem and read-only values."""
    base = stem.partition("@")[0]
    base = "gabor" if base.startswith("gabor") else base
    word, runs = RUNS.get(-1.0 if orientation is None else orientation, ("", ""))
    about = ABOUT[base].format(f"{runs} " if runs else "")
    if kind in ("line", "line end", "corner"):
        word = f"{orientation:g}"
    values = np.array(values, dtype=np.float64)
    values.setflags(write=False)
    return Filter(name or _joined(stem, word), kind, values, about, SOURCES[base], stem, orientation)


def _joined(stem: str, word: str) -> str:
    """``sobel-x@3`` of ``sobel@3`` and ``x``."""
    base, at, support = stem.partition("@")
    return f"{base}{f'-{word}' if word else ''}{at}{support}"


def _supports(size: int) -> list[int]:
    return [size, *(k for k in (7, 5, 3) if k < size and size % 2 == 1)]


def _in_the_middle(size: int) -> Iterator[Filter]:
    for support in _supports(size):
        yield from _of_support(support, size)


def _beside_the_middle(size: int) -> Iterator[Filter]:
    for support in _supports(size) if size >= 5 else ():
        yield from _off_centre(support, size)


def _of_support(support: int, size: int) -> Iterator[Filter]:
    """The filters of (support, support) by formula or table, in the middle of (size, size)."""
    end = "" if support == size else f"@{support}"
    put = partial(np.pad, pad_width=(size - support) // 2)
    odd = support % 2 == 1
    yield _make(f"box{end}", "blur", put(np.full((support, support), 1 / support**2)))
    if support < 3:
        return
    yield _make(f"gaussian{end}", "blur", put(gaussian(support, sigma_of(support))))
    if support == 3:
        yield _make(f"laplacian{end}", "spot", put(zero_mean(3, lambda x, y: (x == 0) & (y == 0))))
        cross = np.array([[0, -1, 0], [-1, 4, -1], [0, -1, 0]])
        yield _make(f"laplacian-4{end}", "spot", put(cross))
        yield _make(f"sharpen{end}", "spot", put(cross + (np.arange(9) == 4).reshape(3, 3)))
    narrow = sigma_of(support - 2)
    yield _make(f"log{end}", "spot", put(laplacian_of_gaussian(support, narrow)))
    yield _make(f"dog{end}", "spot", put(difference_of_gaussians(support, narrow)))
    if support >= 5:
        wide = sigma_of(support)
        yield _make(f"log-wide{end}", "spot", put(laplacian_of_gaussian(support, wide)))
        yield _make(f"dog-wide{end}", "spot", put(difference_of_gaussians(support, wide)))
    for angle in QUARTERS:
        for stem, values in edges(support):
            yield _make(f"{stem}{end}", "edge", put(turned(values, angle)), angle)
        if odd:
            yield _make(f"line{end}", "line", put(zero_mean(support, partial(on_line, angle))), angle)
    for angle in EIGHTHS if odd else ():
        yield _make(f"line-end{end}", "line end", put(zero_mean(support, partial(on_ray, angle))), angle)
        if angle % 90 == 45:
            yield _make(f"corner{end}", "corner", put(zero_mean(support, partial(in_quadrant, angle))), angle)
    if support == size:
        yield from _gabors(size)


def _gabors(size: int) -> Iterator[Filter]:
    """Gabor functions of wavelengths from 2√2 pixels to the size, in half octaves."""
    half_octaves = np.arange(3, 2 * np.log2(LARGEST) + 1)
    for wavelength in (2 ** (half_octaves / 2))[2 ** (half_octaves / 2) <= size]:
        for phase in PHASES:
            for angle in sorted(QUARTERS) if size < 5 else SIXTEENTHS:
                name = f"gabor-{angle:g}-{wavelength:.3g}-{phase}"
                stem = f"gabor-{wavelength:.3g}-{min(phase, 45) if phase % 90 else phase}"  # 135: 45 rotated by 180 degrees
                values = gabor(size, angle=angle, wavelength=wavelength, phase=phase)
                yield _make(stem, "gabor", values, float(angle), name)


def _off_centre(support: int, size: int) -> Iterator[Filter]:
    """Blurs and spots off the middle, named by the row and the column of their centre."""
    end, middle = "" if support == size else f"@{support}", (size - 1) / 2
    for down, across in product((-1.0, -0.5, 0.0, 0.5, 1.0), repeat=2):
        if down or across:
            name = f"{end}-r{middle + down:g}c{middle + across:g}"
            at = (down, across)
            yield _make(f"gaussian{end}", "blur", gaussian(size, sigma_of(support), at), name=f"gaussian{name}")
            if support >= 5:  # a narrower spot off the middle is a single pixel
                for word, width in (("", sigma_of(support - 2)), ("-wide", sigma_of(support))):
                    log, dog = laplacian_of_gaussian(size, width, at), difference_of_gaussians(size, width, at)
                    yield _make(f"log{word}{end}", "spot", log, name=f"log{word}{name}")
                    yield _make(f"dog{word}{end}", "spot", dog, name=f"dog{word}{name}")


def _points_at(size: int, *, everywhere: bool = False) -> Iterator[Filter]:
    """Single pixels and differences of two pixels; the one in the middle has the plain name."""
    middle = (size // 2, size // 2)
    for row, column in np.ndindex(size, size) if everywhere else (middle,):
        name = "identity" if (row, column) == middle else f"identity-r{row}c{column}"
        yield _make("identity", "pixel", _points(size, {(row, column): 1}), name=name)
    steps = {90.0: (0, 1), 0.0: (1, 0), 45.0: (1, 1), 135.0: (-1, 1)}
    for angle, (down, across) in steps.items():
        word = RUNS[angle][0]
        pairs = [((r, c), (r + down, c + across)) for r, c in np.ndindex(size, size)]
        pairs = [pair for pair in pairs if 0 <= pair[1][0] < size and pair[1][1] < size]
        plain = ([pair for pair in pairs if middle in pair] or pairs)[-1]
        for first, second in pairs if everywhere else (plain,):
            position = "" if (first, second) == plain else f"-r{first[0]}c{first[1]}"
            values = _points(size, {first: -1, second: 1})
            yield _make("difference", "difference", values, angle, f"difference-{word}{position}")
        if size % 2 == 1:
            ends = {(middle[0] - down, middle[1] - across): -1, (middle[0] + down, middle[1] + across): 1}
            yield _make("central", "difference", _points(size, ends), angle)
    low = size // 2 - (size == 2)
    for angle, ones in ((45.0, ((0, 0), (1, 1))), (135.0, ((0, 1), (1, 0)))):
        (a, b), (c, d) = ones
        yield _make("roberts", "difference", _points(size, {(low + a, low + b): 1, (low + c, low + d): -1}), angle)


def _points(size: int, points: dict[tuple[int, int], int]) -> Array:
    values = np.zeros((size, size))
    for position, value in points.items():
        values[position] = value
    return values


def unit_rows(values: Array) -> Array:
    """(n, …) as (n, d) rows of length 1, in float64; rows of zeros stay."""
    rows = values.reshape(len(values), -1).astype(np.float64)
    largest = np.abs(rows).max(axis=1, keepdims=True)
    rows = np.divide(rows, largest, out=np.zeros_like(rows), where=largest > 0)  # squares of 1e200 would overflow
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(np.divide(rows, length, out=rows, where=length > 0))


@lru_cache(maxsize=32)
def _families(size: int) -> dict[str, tuple[str, str]]:
    """The family and the kind of each stem. A family is a set of stems connected by similarity, named by the first.

    Single pixels and differences off the middle are similar to no other filter, so they are left out.
    """
    filters = [*_in_the_middle(size), *_points_at(size), *_beside_the_middle(size)]
    filters.sort(key=lambda one: _KINDS.index(one.kind))
    rows = unit_rows(np.stack([one.values for one in filters]))
    stems = list(dict.fromkeys(one.stem for one in filters))
    leader = {stem: stem for stem in stems}
    for i, j in np.argwhere(np.triu(np.abs(rows @ rows.T) > ALIKE, 1)):
        first, second = leader[filters[i].stem], leader[filters[j].stem]
        if first == second:
            continue
        keep, gone = sorted((first, second), key=stems.index)
        leader = {stem: keep if lead == gone else lead for stem, lead in leader.items()}
    kinds = {one.stem: one.kind for one in reversed(filters)}
    return {stem: (lead, kinds[lead]) for stem, lead in leader.items()}


def filter_entry(one: Filter) -> dict[str, Any]:
    """One filter as JSON."""
    return {
        "name": one.name,
        "kind": one.kind,
        "family": one.family,
        "orientation": one.orientation,
        "about": one.about,
        "source": one.source,
        "values": one.values.tolist(),
    }


def filter_table(filters: Sequence[Filter], width: int | None = None, *, sources: bool = True) -> str:
    """Aligned text, one row per filter: its kind, its family at this size, its purpose and, if ``sources``, its source."""
    rows = [(one.name, one.kind, one.family, one.about, one.source if sources else "") for one in filters]
    return aligned(("filter", "kind", "family", "for", "source"), rows, width=width)


KINDS = _KINDS
"""What filters detect."""


def find_filters(word: str, size: int = 3) -> tuple[Filter, ...]:
    """The filters that a word means: one by its name, all of a kind (``edge``), or one in all orientations (``sobel``).

    They are ``size`` × ``size``; ``edge@5`` are those of 5 × 5. Filters of smaller sizes within a larger one are found by
    their names only.

    Raises:
        UsageError: there are none; the message has the nearest names.

    Example:
        >>> [filter.name for filter in kernelviz.find_filters("sobel")]
        ['sobel-x', 'sobel-y', 'sobel-45', 'sobel-135']
    """
    stem, at, own = word.strip().partition("@")
    if at and not (own.isdecimal() and len(own) < 10):
        return (find_filter(word, size),)
    filters = classical_filters(int(own) if at else size)
    if any(one.name == stem for one in filters):
        return (find_filter(word, size),)
    named = [one for one in filters if "@" not in one.name]
    found = [one for one in named if stem in (one.kind, one.kind.replace(" ", "-"))]
    found = [one for one in found if stem == "gabor" or not one.stem.startswith("gabor")]
    found = found or [one for one in named if one.stem == stem]
    if found:
        return tuple(found)
    try:
        return (find_filter(word, size),)
    except UsageError:
        words = (each for one in named for each in (one.kind.replace(" ", "-"), one.stem))
        raise _unknown(stem, int(own) if at else size, [*words, *(one.name for one in filters)]) from None


@dataclass(frozen=True)
class Known:
    """A filter that some numbers are, exactly: ``factor`` times ``filter``, rotated by ``turned`` degrees anticlockwise.

    Example:
        >>> known = kernelviz.known_filter([[2, 4, 2], [0, 0, 0], [-2, -4, -2]])
        >>> known.filter.name, known.factor, known.turned
        ('sobel-y', Fraction(-2, 1), 0)
        >>> known.text
        '2 × sobel-y, negated'
    """

    filter: Filter
    factor: Fraction
    turned: int = 0

    __repr__ = record_repr

    @property
    def text(self) -> str:
        """``2 × sobel-x, negated``."""
        size = abs(self.factor)
        one = self.filter
        name = one.name if len(one.values) == 3 or "@" in one.name else f"{one.name}@{len(one.values)}"
        scaled = name if size == 1 else f"{_factor_text(size)} × {name}"
        turned = f", rotated by {self.turned}°" if self.turned else ""
        return f"{scaled}{turned}{', negated' if self.factor < 0 else ''}"


def known_filter(values: object) -> Known | None:
    """The classical filter that these numbers (h, w) are, up to an exact factor and a quarter turn; None for no other.

    A filter that is neither scaled, negated nor rotated comes first, then one that is not rotated. Gabor functions are left
    out.

    Example:
        >>> kernelviz.known_filter([[1, 1, 1], [1, 1, 1], [1, 1, 1]]).text
        '9 × box'
        >>> kernelviz.known_filter([[0, 1, 0], [0, 5, 0], [7, 0, 0]]) is None
        True
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 2 or array.shape[0] != array.shape[1] or not 2 <= len(array) <= LARGEST:
        return None
    if not np.isfinite(array).all() or not array.any():
        return None
    found = []
    for turns in range(4):
        turned = np.rot90(array, -turns)
        for one in classical_filters(len(array)):
            factor = None if one.kind == "gabor" else _exact_factor(turned, one.values)
            if factor is not None:
                found.append(Known(one, factor, 90 * turns))
    return min(found, key=lambda one: (one.turned != 0, one.factor < 0, one.factor != 1, one.turned), default=None)


def _exact_factor(values: Array, of: Array) -> Fraction | None:
    """The factor by which ``of`` becomes these values; None if there is none, or none with a short fraction."""
    at = np.unravel_index(int(np.abs(of).argmax()), of.shape)
    with np.errstate(over="ignore", under="ignore"):
        ratio = float(values[at] / of[at])
    if not ratio or not np.isfinite(ratio) or not np.allclose(values / ratio, of, rtol=1e-12, atol=1e-12):
        return None
    factor = Fraction(ratio).limit_denominator(10_000)
    return factor if factor and abs(float(factor) / ratio - 1) < 1e-12 else None


def _factor_text(factor: Fraction) -> str:
    """A whole number or a short decimal, else a fraction."""
    decimal = f"{float(factor):.6g}"
    return decimal if Fraction(decimal) == factor else f"{factor.numerator}/{factor.denominator}"

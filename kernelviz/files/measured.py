"""Measured values: images of more than 8 bits or of any number of bands, as they are in the file, and ``.npy`` files.

The values are kept in their own type. What is computed here are the two numbers that become 0 and 1, and pixels to show.
"""

from __future__ import annotations

import io
import math
import operator
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from kernelviz.errors import BadImageError, UsageError
from kernelviz.records import shape_text, shares_of
from kernelviz.wording import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from kernelviz.records import Array


_STRIP = 1 << 20  # values examined at a time
_MOST_RANKED = 1 << 20  # values of which quantiles are computed
_TENTH = 0.1
"""What floating-point numbers may lie outside of 0 to 1 or 0 to 255, and a range outside of its core, in shares of them."""

_FEW = 10_000
"""One in so many values at each end, and one of a hundred values and more, is not in the core."""


@dataclass(frozen=True)
class Reading:
    """How an image is read: the ``limits`` that become 0 and 1, and the ``bands`` in their order, from 1; None for all.

    If the first limit is the larger one, the image is inverted.
    """

    limits: tuple[float, float] | None = None
    bands: tuple[int, ...] | None = None


WHOLE = Reading()
"""All of the image, in the range of its own."""


def checked_reading(limits: object, bands: object) -> Reading:
    """The choices of ``read_image``.

    Raises:
        UsageError: ``limits`` are not two different finite numbers, or ``bands`` are not whole numbers from 1.
    """
    if limits is not None:
        try:
            low, high = map(float, limits)  # type: ignore[call-overload]
        except (TypeError, ValueError):
            low = high = math.nan
        if not (math.isfinite(low) and math.isfinite(high) and low != high):
            raise UsageError(
                f"The range must be two different numbers, but got {limits!r}.", hint="For example -1000,400"
            )
        limits = (low, high)
    if bands is not None:
        try:
            numbers = tuple(map(operator.index, [bands] if hasattr(bands, "__index__") else bands))  # type: ignore[call-overload]
        except TypeError:
            numbers = ()
        if not numbers or min(numbers) < 1:
            raise UsageError(f"Bands must be whole numbers from 1, but got {bands!r}.", hint="For example 4,3,2")
        bands = numbers
    return Reading(limits, bands)


@dataclass
class Numbers:
    """The numbers of a picture, (H, W, C), before their range is chosen.

    ``full`` are the ends of the scale that the file states, ``inverted`` is whether its lowest number is white, ``kind``
    how a note names the values, by default by their type. ``stored`` is their type in the file, if another one holds them.
    ``missing`` is the number that marks what was not measured, and how many there are in each band.
    """

    values: Array
    full: tuple[float, float] | None = None
    inverted: bool = False
    kind: str = ""
    stored: np.dtype[Any] | None = None
    missing: tuple[float, tuple[int, ...]] | None = None

    def of_bands(self, bands: Sequence[int], name: str) -> Numbers:
        """The numbers of chosen bands, counted from 1.

        Raises:
            UsageError: there is no such band.
        """
        at = list(_indices(bands, self.values.shape[2], name))
        missing = (self.missing[0], tuple(self.missing[1][band] for band in at)) if self.missing else None
        return replace(self, values=self.values[:, :, at], missing=missing)

    def of_type(self) -> Numbers:
        """The numbers with the facts that their type states; truth values are 0 and 1."""
        if self.values.dtype.kind == "b":
            return replace(self, values=self.values.view(np.uint8), full=(0.0, 1.0), kind="boolean values")
        stored = self.stored or self.values.dtype
        full = (0.0, white_of(stored)) if self.full is None and stored.name in {"uint8", "uint16"} else self.full
        kind = self.kind or f"{8 * stored.itemsize}-bit {_KINDS[stored.kind]}values"
        return replace(self, stored=stored, full=full, kind=kind)


def white_of(kind: np.dtype[Any]) -> float:
    """The number of a type that is white by default: the largest one of unsigned integers, else 1."""
    return float(np.iinfo(kind).max) if kind.kind == "u" else 1.0


@dataclass(frozen=True)
class Measured:
    """``values`` (H, W, C), the ``limits`` that become 0 and 1, the numbers of chosen ``bands``, and ``pixels`` to show.

    ``values`` is None if the pixels are all there is. ``notes`` are about the bands that are shown, or that were chosen;
    ``of_first`` returns limits and notes of so many bands.
    """

    values: Array | None
    limits: tuple[float, float]
    bands: tuple[int, ...]
    pixels: Array
    notes: tuple[str, ...]
    of_first: Callable[[int], tuple[tuple[float, float], tuple[str, ...]]]


def measure(read: Numbers, reading: Reading, name: str) -> Measured:
    """Choose bands, and the numbers that become 0 and 1.

    Args:
        read: the numbers of the file.
        reading: the choices of the user.
        name: of the image, for messages.

    Raises:
        UsageError: there is no such band.
    """
    bands, total = reading.bands or (), read.values.shape[2]
    first: tuple[str, ...] = ()
    if bands:
        read = read.of_bands(bands, name)
        first = () if total == 1 == len(bands) else (bands_note(bands, total),)
    read = read.of_type()
    values = read.values
    of_first = partial(_limits_and_notes, read, reading, first)
    limits, notes = of_first(len(bands) or _number_shown(values))
    pixels = displayed(values, limits)
    if limits == (0.0, 65535.0) and values.dtype.kind == "u" and values.shape[2] in (1, 3) and _holds_8_bits(values):
        notes += ("every value is a multiple of 257: 8 bits hold them",)
        return Measured(None, limits, bands, pixels, notes, of_first)
    return Measured(values, limits, bands, pixels, notes, of_first)


def _limits_and_notes(
    read: Numbers, reading: Reading, notes: tuple[str, ...], count: int
) -> tuple[tuple[float, float], tuple[str, ...]]:
    """The numbers that become 0 and 1 in the first ``count`` bands, which alone decide, and notes about them.

    By default these are the ends of the scale of unsigned integers of 8 and 16 bits. Of others, they are the smallest and
    the largest value, without padding and far outliers (``_Ends.inner``); of floats they are 0 and 1 if that range is in
    it, give or take a tenth, or 0 and 255 if it is in that and reaches above half of it.
    """
    values = read.values[:, :, :count]
    found = _survey(values, read)
    limits = reading.limits or read.full or _default_limits(found, read)
    limits = limits[::-1] if read.inverted and reading.limits is None else limits
    more = list(notes)
    if read.missing and (missing := sum(read.missing[1][:count])):
        verb = "value is" if missing == 1 else "values are"
        more.append(f"{missing:,} {verb} marked as missing ({read.missing[0]:.6g})")
    if found.odd:
        verb = "is" if found.odd == 1 else "are"
        more.append(f"{found.odd:,} of {values.size:,} values {verb} not finite: drawn black, +∞ white")
    if found.low > found.high:
        more.append("no value is finite")
    elif values.dtype.name != "uint8" or reading.limits or read.inverted:
        span = (min(limits), max(limits))
        more.append(f"{read.kind}: {_became(values, found, limits, chosen=reading.limits is not None)}")
        if (found.low < span[0] or found.high > span[1]) and (beyond := _beyond(values, *span)):
            verbs = "is outside this range and was" if beyond == 1 else "are outside this range and were"
            more.append(f"{beyond:,} of {counted(values.size, 'value')} {verbs} clipped")
    return limits, tuple(more)


def _became(values: Array, found: _Survey, limits: tuple[float, float], *, chosen: bool) -> str:
    """What became 0 and 1, where the values are, and whether another range would show more of them."""
    low, high = min(limits), max(limits)
    if low == high:
        return f"all are {low:.6g}, drawn black (see --range)"
    text = f"{limits[0]:.6g} became 0 and {limits[1]:.6g} became 1"
    text += ", inverted" if limits[0] > limits[1] else ""
    if found.low == found.high:
        return f"{text}; all are {found.low:.6g}"
    if (found.low, found.high) != (low, high):
        text += f"; they range from {found.low:.6g} to {found.high:.6g}"
    if chosen:
        return text
    most = (found.low, found.high)
    if 4 * (most[1] - most[0]) >= high - low:
        most = _middle(values)
        if 4 * (most[1] - most[0]) < high - low:
            where = f"{most[0]:.6g}" if most[0] == most[1] else f"from {most[0]:.6g} to {most[1]:.6g}"
            text += f"; 98 % of them are {where}"
    return f"{text} (see --range)" if 4 * (most[1] - most[0]) < high - low else text


def _middle(values: Array) -> tuple[float, float]:
    """The values between which 98 in a hundred are, of a regular sample of the finite ones."""
    step = max(1, math.isqrt(values.size // _MOST_RANKED) + 1)
    sample = values[::step, ::step].astype(np.float64)
    low, high = np.quantile(sample[np.isfinite(sample)], (0.01, 0.99), method="nearest")
    return float(low), float(high)


def _holds_8_bits(values: Array) -> bool:
    """Whether 16-bit values are those of an 8-bit image times 257, so that its pixels are all there is."""
    return not any((values[strip] % 257).any() for strip in _strips(values))


def bands_note(bands: Sequence[int], total: int) -> str:
    """Which bands of how many were chosen."""
    return f"band{'s' if len(bands) > 1 else ''} {', '.join(map(str, bands))} of {counted(total, 'band')}"


_KINDS = {"u": "", "i": "signed ", "f": "float "}


def _indices(bands: Sequence[int], total: int, name: str) -> Iterator[int]:
    for band in bands:
        if band > total:
            raise UsageError(f"{name} has {counted(total, 'band')}, but got band {band}.", hint="Bands count from 1.")
        yield band - 1


def choose(pixels: Array, reading: Reading, name: str) -> Measured:
    """The chosen bands of an 8-bit image (H, W, C), in the chosen range.

    Raises:
        UsageError: there is no such band.
    """
    found = measure(Numbers(pixels), reading, name)
    if reading.limits is None and len(found.bands) == 3:  # then the pixels are all there is
        return replace(found, values=None)
    return found


def displayed(values: Array, limits: tuple[float, float]) -> Array:
    """Pixels, uint8 (H, W, 3), of the first three bands; of one or two bands the first in grey."""
    shown = values[:, :, : _number_shown(values)]
    pixels = np.empty((*values.shape[:2], 3), np.uint8)
    for strip in _strips(values):
        pixels[strip] = np.rint(shares_of(shown[strip], limits) * 255)
    return pixels


def _number_shown(values: Array) -> int:
    """How many bands are shown, and read by filters: three, or one of one or two."""
    return 3 if values.shape[2] >= 3 else 1


def _strips(values: Array) -> Iterator[slice]:
    """Slices of rows that together are the whole array."""
    rows = max(1, _STRIP // max(1, values[:1].size))
    for top in range(0, len(values), rows):
        yield slice(top, top + rows)


@dataclass
class _Survey:
    """The smallest and largest finite value, the number of others, and the range without padding and far outliers."""

    low: float = math.inf
    high: float = -math.inf
    odd: int = 0
    inner: tuple[float, float] = (0.0, 1.0)


def _default_limits(found: _Survey, read: Numbers) -> tuple[float, float]:
    low, high = found.inner
    if read.stored is None or read.stored.kind != "f":
        return low, high
    for white, least in ((1.0, -math.inf), (255.0, 127.5)):
        tenth = white * (_TENTH + 1e-6)  # rounding
        if -tenth <= low and least < high <= white + tenth:
            return 0.0, white
    return low, high


def _survey(values: Array, read: Numbers) -> _Survey:
    found = _Survey()
    ends = _Ends(1 + _few(values.size)) if read.full is None else None
    padding = _padding(read.stored) if read.stored is not None else ()
    for strip in _strips(values):
        part = values[strip].astype(np.float64)
        finite = np.isfinite(part)
        found.odd += part.size - int(np.count_nonzero(finite))
        part = part[finite]
        if not part.size:
            continue
        low, high = float(part.min()), float(part.max())
        found.low, found.high = min(found.low, low), max(found.high, high)
        if ends is None:
            continue
        if low in padding or high in padding:
            part = part[~np.isin(part, padding)]
        ends.add(part)
    if ends is not None and found.low <= found.high:
        found.inner = ends.inner() or (found.low, found.high)
    return found


def _padding(kind: np.dtype[Any]) -> tuple[float, ...]:
    """The values of a type that usually mark what was not measured: its smallest and its largest, but 0."""
    facts: Any = np.finfo(kind) if kind.kind == "f" else np.iinfo(kind)
    return tuple(float(end) for end in (facts.min, facts.max) if end)


def _few(size: int) -> int:
    """The number of values at each end that are not in the core of a range."""
    return size // _FEW or int(size >= 100)


class _Ends:
    """The smallest and the largest values of an array that is added in parts."""

    def __init__(self, most: int) -> None:
        self.most, self.size = most, 0
        self.lows, self.highs = np.empty(0), np.empty(0)

    def add(self, part: Array) -> None:
        self.size += part.size
        self.lows = self._smallest(self.lows, part)
        self.highs = self._smallest(self.highs, -part)

    def _smallest(self, kept: Array, part: Array) -> Array:
        if len(kept) == self.most:
            part = part[part < kept[-1]]
        if len(part) > self.most:
            part = np.partition(part, self.most - 1)[: self.most]
        return np.sort(np.concatenate([kept, part]))[: self.most]

    def inner(self) -> tuple[float, float] | None:
        """The range of the values, at most a tenth of the core's length beyond the core; None without values.

        The core leaves out one in ten thousand values at each end. So one value moves the range by a tenth at most, however
        far out it is. If all of the core is one number, the range is that of all values.
        """
        if not self.size:
            return None
        few = min(_few(self.size), self.most - 1)
        (low, high), core = (self.lows[0], -self.highs[0]), (self.lows[few], -self.highs[few])
        if core[0] < core[1]:
            reach = _TENTH * core[1] - _TENTH * core[0]
            low, high = max(low, core[0] - reach), min(high, core[1] + reach)
        return float(low), float(high)


def _beyond(values: Array, low: float, high: float) -> int:
    """How many finite values are outside of the limits."""
    count = 0
    for strip in _strips(values):
        part = values[strip]
        count += int(np.count_nonzero(((part < low) | (part > high)) & np.isfinite(part)))
    return count


ON_WHITE = "transparent parts are drawn on white"
"""The note of an image with transparent parts."""


def over_white(values: Array, opacity: Array, notes: list[str], white: float | None = None) -> None:
    """Blend values (H, W, C) with white, in place, and note it; ``opacity`` is (H, W) from 0 to ``white``."""
    white = white_of(values.dtype) if white is None else white
    if opacity.min() >= white:
        return
    notes.append(ON_WHITE)
    for strip in _strips(values):
        share = (opacity[strip] / white)[..., None]
        mixed = values[strip] * share + white * (1 - share)
        values[strip] = np.rint(mixed) if values.dtype.kind in "ui" else mixed


def read_npy(data: bytes, name: str) -> Array:
    """The array in the bytes of an ``.npy`` file, (H, W, C); it shares their memory, and no pickle is read.

    Raises:
        BadImageError: it is truncated, holds no real numbers, or its shape is not that of an image, or is ambiguous.
    """
    stream = io.BytesIO(data[: 1 << 16])
    try:
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read(stream)
        shape = tuple(int(side) for side in shape)  # NumPy lets truth values pass
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise BadImageError(f"{name} is a damaged or truncated NumPy array.", reason, "Save it again.") from error
    if dtype.kind not in "biuf":
        held = "Python objects, which are not read" if dtype.hasobject else f"values of type {dtype}"
        raise BadImageError(f"{name} is no image: it contains {held}.", hint="Save real numbers by numpy.save.")
    if len(shape) not in (2, 3) or min(shape) < 1:
        raise _no_image(shape, name)
    size = math.prod(shape)
    if stream.tell() + size * dtype.itemsize > len(data):
        why = f"Its {shape_text(shape)} values of {dtype} do not fit in its {len(data):,} bytes."
        raise BadImageError(f"{name} is a damaged or truncated NumPy array.", why, "Save it again.")
    values = np.frombuffer(data, dtype, size, stream.tell()).reshape(shape, order="F" if fortran else "C")
    return channels_last(values, name)


def channels_last(values: Array, name: str) -> Array:
    """An array (H, W), (H, W, C) or (C, H, W) as (H, W, C).

    The axis of the channels is the first or the last: that which is at most half as long as the two others. If this holds
    for both or for none, the array is rejected with both readings.

    Raises:
        BadImageError: it is not clear which axis counts the channels.
    """
    shape = values.shape
    if values.ndim == 2:
        return values[..., None]
    first, last = 2 * shape[0] <= min(shape[1:]), 2 * shape[2] <= min(shape[:2])
    if first == last:
        what = f"{name} is ambiguous: which axis of {shape_text(shape)} counts the bands is not clear."
        why = (
            f"As (H, W, C) it has {shape[1]} × {shape[0]} pixels and {counted(shape[2], 'band')}, "
            f"as (C, H, W) {shape[2]} × {shape[1]} pixels and {counted(shape[0], 'band')}."
        )
        raise BadImageError(what, why, "Save each band as (H, W), or an image with more pixels than bands.")
    return np.moveaxis(values, 0, -1) if first else values


def _no_image(shape: tuple[int, ...], name: str) -> BadImageError:
    what = f"{name} is no image: its shape is {shape_text(shape)}."
    return BadImageError(what, "An image is (H, W), (H, W, C) or (C, H, W).", "Save one image by itself.")


def is_plain(values: Array) -> bool:
    """Whether 8-bit pixels hold all of the values: uint8 or booleans of one or three bands."""
    return values.dtype.name in {"uint8", "bool"} and values.shape[2] in (1, 3)


def as_plain(values: Array) -> Array:
    """The pixels (H, W, 3) of values that 8 bits hold."""
    levels: Any = values.astype(np.uint8) * np.uint8(255) if values.dtype.kind == "b" else values
    return np.ascontiguousarray(np.broadcast_to(levels, (*values.shape[:2], 3)))

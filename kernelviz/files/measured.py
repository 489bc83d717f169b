"""Measured values: images of more than 8 bits or of any number of bands, as they are in the file, and ``.npy`` files.

The values are kept in their own type. What is computed here are the two numbers that become 0 and 1, and pixels to show.
"""

from __future__ import annotations

import io
import math
import operator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from kernelviz.errors import BadImageError, UsageError
from kernelviz.records import shape_text, shares_of
from kernelviz.wording import counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kernelviz.records import Array


_STRIP = 1 << 20  # values examined at a time
_FULL = {"uint8": 255, "uint16": 65535}
_MOST_RANKED = 1 << 20  # values of which quantiles are computed


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


@dataclass(frozen=True)
class Measured:
    """``values`` (H, W, C), the ``limits`` that become 0 and 1, the numbers of chosen ``bands``, and ``pixels`` to show.

    ``values`` is None if the pixels are all there is.
    """

    values: Array | None
    limits: tuple[float, float]
    bands: tuple[int, ...]
    pixels: Array
    notes: tuple[str, ...]


def measure(
    values: Array,
    reading: Reading,
    name: str,
    *,
    full: tuple[float, float] | None = None,
    inverted: bool = False,
    kind: str = "",
) -> Measured:
    """Choose bands and the numbers that become 0 and 1.

    By default these are the ends of the scale of unsigned integers of 8 and 16 bits. Of other integers, they are the
    smallest and the largest value, by the type alone: no value is clipped, and no single one switches between two scales.
    Of floats they are 0 and 1, or 0 and 255, unless more than one in a hundred is outside; with two in a hundred they are
    the smallest and the largest value, and in between they move from one to the other (``limits_of_floats``).

    Args:
        values: (H, W, C).
        reading: the choices of the user.
        name: of the image, for messages.
        full: the ends of the scale that the file states.
        inverted: whether the file states that its lowest number is white.
        kind: how a note names the values, by default by their type.

    Raises:
        UsageError: there is no such band.
    """
    notes: list[str] = []
    bands = reading.bands or ()
    if bands:
        total = values.shape[2]
        values = values[:, :, list(_indices(bands, total, name))]
        notes += [] if total == 1 == len(bands) else [bands_note(bands, total)]
    if values.dtype.kind == "b":
        values, full, kind = values.view(np.uint8), (0.0, 1.0), "boolean values"
    kind = kind or f"{8 * values.dtype.itemsize}-bit {_KINDS[values.dtype.kind]}values"
    limits = full
    if limits is None and values.dtype.name in _FULL:
        limits = 0.0, float(_FULL[values.dtype.name])
    found = _survey(values)
    limits = limits or (found.limits_of_floats() if values.dtype.kind == "f" else found.own)
    limits = reading.limits or (limits[::-1] if inverted else limits)
    if found.odd:
        notes.append(f"{found.odd:,} of {values.size:,} values are not finite: drawn black, +∞ white")
    if found.low > found.high:
        notes.append("no value is finite")
    elif values.dtype.name != "uint8" or reading.limits or inverted:
        span = (min(limits), max(limits))
        notes.append(f"{kind}: {_became(values, found, limits, chosen=reading.limits is not None)}")
        if (found.low < span[0] or found.high > span[1]) and (beyond := _beyond(values, *span)):
            notes.append(f"{beyond:,} of {counted(values.size, 'value')} beyond were clipped")
    pixels = displayed(values, limits)
    if limits == (0.0, 65535.0) and values.dtype.kind == "u" and values.shape[2] in (1, 3) and _holds_8_bits(values):
        notes.append("every value is a multiple of 257: 8 bits hold them")
        return Measured(None, limits, bands, pixels, tuple(notes))
    return Measured(values, limits, bands, pixels, tuple(notes))


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
        text += (
            f"; 98 % of them are from {most[0]:.6g} to {most[1]:.6g}" if 4 * (most[1] - most[0]) < high - low else ""
        )
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
    found = measure(pixels, reading, name)
    if reading.limits is None and len(found.bands) == 3:  # then the pixels are all there is
        return replace(found, values=None)
    return found


def displayed(values: Array, limits: tuple[float, float]) -> Array:
    """Pixels, uint8 (H, W, 3), of the first three bands; of one or two bands the first in grey."""
    shown = values[:, :, :3] if values.shape[2] >= 3 else values[:, :, :1]
    pixels = np.empty((*values.shape[:2], 3), np.uint8)
    for strip in _strips(values):
        pixels[strip] = np.rint(shares_of(shown[strip], limits) * 255)
    return pixels


def _strips(values: Array) -> Iterator[slice]:
    """Slices of rows that together are the whole array."""
    rows = max(1, _STRIP // max(1, values[:1].size))
    for top in range(0, len(values), rows):
        yield slice(top, top + rows)


@dataclass
class _Survey:
    """The smallest and largest finite value, the number of all and of others, and how many are in which part of a scale."""

    count: int
    low: float = math.inf
    high: float = -math.inf
    odd: int = 0
    beyond_1: int = 0
    beyond_255: int = 0
    """How many are outside of 0 to 1 and of 0 to 255."""
    clear: int = 0
    """How many are above a tenth of 255."""

    @property
    def own(self) -> tuple[float, float]:
        """The range of the finite values."""
        return (self.low, self.high) if self.low <= self.high else (0.0, 1.0)

    def limits_of_floats(self) -> tuple[float, float]:
        """0 to 1 or to 255 if the values are in it, else their own range.

        Values of floating point state no scale. A few are outside of that of an image because filters overshoot. A limit
        to their number would switch the scale by one pixel; so while their number doubles, what a value becomes is the
        mean of both scales, weighted by that number.
        """
        if self.low > self.high:
            return 0.0, 1.0
        unit = 1 - self._many(self.beyond_1)
        bytes_ = (1 - unit) * (1 - self._many(self.beyond_255)) * self._many(self.clear)
        weighted = ((unit, (0.0, 1.0)), (bytes_, (0.0, 255.0)), (1 - unit - bytes_, self.own))
        for weight, limits in weighted:
            if weight == 1:
                return limits
        slope = sum(weight / (high - low) for weight, (low, high) in weighted if weight)
        start = -sum(weight * low / (high - low) for weight, (low, high) in weighted if weight)
        return -start / slope, (1 - start) / slope

    def _many(self, number: int) -> float:
        """0 for up to one in a hundred values (for one value, unless the image is tiny), 1 for twice as many."""
        finite = self.count - self.odd
        few = max(finite // 100, min(1, finite // 16))
        return min(max((number - few) / max(few, 1), 0.0), 1.0)


def _survey(values: Array) -> _Survey:
    found = _Survey(values.size)
    for strip in _strips(values):
        part = values[strip].astype(np.float64)
        finite = np.isfinite(part)
        found.odd += part.size - int(np.count_nonzero(finite))
        part = part[finite]
        if not part.size:
            continue
        found.low, found.high = min(found.low, float(part.min())), max(found.high, float(part.max()))
        if values.dtype.kind == "f":
            found.beyond_1 += int(np.count_nonzero((part < 0) | (part > 1)))
            found.beyond_255 += int(np.count_nonzero((part < 0) | (part > 255)))
            found.clear += int(np.count_nonzero(part > 25.5))
    return found


def _beyond(values: Array, low: float, high: float) -> int:
    """How many finite values are outside of the limits."""
    count = 0
    for strip in _strips(values):
        part = values[strip]
        count += int(np.count_nonzero(((part < low) | (part > high)) & np.isfinite(part)))
    return count


ON_WHITE = "transparent parts stand on white"
"""The note of an image with transparent parts."""


def over_white(values: Array, opacity: Array, white: float) -> None:
    """Blend values (H, W, C) with white, in place; ``opacity`` is (H, W) from 0 to ``white``."""
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
            f"As (H, W, C) it has {shape[0]}×{shape[1]} pixels and {counted(shape[2], 'band')}, "
            f"as (C, H, W) {shape[1]}×{shape[2]} pixels and {counted(shape[0], 'band')}."
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

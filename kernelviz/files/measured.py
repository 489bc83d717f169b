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
_SCALES = {"f": (1, 255), "i": (255, 65535), "u": (255, 65535)}
"""Full scales that values of other types may have, by the kind of the type."""


@dataclass(frozen=True)
class Reading:
    """How an image is read: the ``limits`` that become 0 and 1, and the ``bands`` in their order, from 1; None for all."""

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

    By default these are the ends of the scale of unsigned integers of 8 and 16 bits. Of other types, the scale is 0 to 1 or
    to 255 (floats), 0 to 255 or to 65535 (integers) if values fit in it, except for at most one in a hundred, and do not
    all lie in its lowest hundredth: one odd pixel must not change the scale. Otherwise it is the range of the values.

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
        notes.append(bands_note(bands, total))
    if values.dtype.kind == "b":
        values, full, kind = values.view(np.uint8), (0.0, 1.0), "boolean values"
    kind = kind or f"{8 * values.dtype.itemsize}-bit {_KINDS[values.dtype.kind]}values"
    limits = full
    if limits is None and values.dtype.name in _FULL:
        limits = 0.0, float(_FULL[values.dtype.name])
    found = _survey(values, _SCALES[values.dtype.kind])
    limits = limits or found.limits()
    limits = reading.limits or (limits[::-1] if inverted else limits)
    if found.odd:
        notes.append(f"{found.odd:,} of {values.size:,} values are not finite: drawn black, +∞ white")
    if found.low > found.high:
        notes.append("no value is finite")
    elif values.dtype.name != "uint8" or reading.limits or inverted:
        became = f"{kind}: {limits[0]:.6g} became 0 and {limits[1]:.6g} became 1"
        span = (min(limits), max(limits))
        own = "" if (found.low, found.high) == span else f"; they range from {found.low:.6g} to {found.high:.6g}"
        dim = not reading.limits and 0 < 4 * (found.high - found.low) < span[1] - span[0]
        notes.append(f"{became}{own}{' (see --range)' if dim else ''}")
        if (found.low < span[0] or found.high > span[1]) and (beyond := _beyond(values, *span)):
            notes.append(f"{beyond:,} of {counted(values.size, 'value')} beyond were clipped")
    pixels = displayed(values, limits)
    if limits == (0.0, 65535.0) and values.dtype.kind == "u" and values.shape[2] in (1, 3) and _holds_8_bits(values):
        notes.append("every value is a multiple of 257: 8 bits hold them")
        return Measured(None, limits, bands, pixels, tuple(notes))
    return Measured(values, limits, bands, pixels, tuple(notes))


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
    """The smallest and largest finite value, the number of others, and how many values are in which part of a scale."""

    count: int
    scales: tuple[int, ...]
    low: float = math.inf
    high: float = -math.inf
    odd: int = 0
    negative: int = 0
    above: tuple[int, ...] = ()
    """How many values are above each scale."""
    clear: tuple[int, ...] = ()
    """How many are above its lowest hundredth."""

    def limits(self) -> tuple[float, float]:
        """The scale in which the values lie, else their own range."""
        finite = self.count - self.odd
        if self.low > self.high:
            return 0.0, 1.0
        few = max(finite // 100, min(1, finite // 16))  # also a single one, unless it is a large part
        for scale, above, clear in zip(self.scales, self.above, self.clear, strict=True):
            if self.negative + above <= few and (clear > few or scale == 1):
                return 0.0, float(scale)
        return self.low, self.high


def _survey(values: Array, scales: tuple[int, ...]) -> _Survey:
    found = _Survey(values.size, scales)
    above, clear = np.zeros(len(scales), int), np.zeros(len(scales), int)
    for strip in _strips(values):
        part = values[strip].astype(np.float64)
        finite = np.isfinite(part)
        found.odd += part.size - int(np.count_nonzero(finite))
        part = part[finite]
        if not part.size:
            continue
        found.low, found.high = min(found.low, float(part.min())), max(found.high, float(part.max()))
        found.negative += int(np.count_nonzero(part < 0))
        above += [np.count_nonzero(part > scale) for scale in scales]
        clear += [np.count_nonzero(part > scale / 100) for scale in scales]
    found.above, found.clear = tuple(map(int, above)), tuple(map(int, clear))
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

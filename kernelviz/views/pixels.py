"""An image as numbers, its grey levels or those of its three colours; and the input of a network as an image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kernelviz.errors import UsageError
from kernelviz.notebook import record_repr
from kernelviz.records import LUMA
from kernelviz.wording import counted, inflected

if TYPE_CHECKING:
    from kernelviz.records import Array, Image


WHITE = 255
NAMES = ("red", "green", "blue")
_BAND = 1 << 20  # pixels examined at once


@dataclass(frozen=True)
class Pixels:
    """The numbers of an image: ``planes`` (1 or 3, H, W) are uint8 from 0, black, to ``white``.

    Three planes are red, green and blue. ``name`` is that of the file, and ``notes`` list the conversions.
    """

    planes: Array
    white: int
    name: str
    notes: tuple[str, ...] = ()

    __repr__ = record_repr

    @property
    def names(self) -> tuple[str, ...]:
        """``grey``, or the three colours."""
        return ("grey",) if len(self.planes) == 1 else NAMES

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.planes.shape[1], self.planes.shape[2]

    @property
    def dimensions(self) -> str:
        """``512 × 600``: width and height, as those of image files are written; matrices are rows × columns."""
        return f"{self.planes.shape[2]:,} × {self.planes.shape[1]:,}"

    @property
    def levels(self) -> list[int]:
        """The different numbers of the image, ascending."""
        there = np.zeros(WHITE + 1, bool)
        for start in range(0, self.planes.size, _BAND):
            there[self.planes.reshape(-1)[start : start + _BAND]] = True
        return np.flatnonzero(there).tolist()

    def colours(self, rows: slice = slice(None), columns: slice = slice(None)) -> Array:
        """(planes, rows, columns, 3) uint8: each plane in grey, or in its own colour."""
        shares = np.rint(np.arange(self.white + 1) / self.white * WHITE).astype(np.uint8)
        part = shares[self.planes[:, rows, columns]]
        if len(part) == 1:
            return np.repeat(part[..., None], 3, axis=-1)
        return np.asarray(part[..., None] * np.eye(3, dtype=np.uint8)[:, None, None])

    @property
    def picture(self) -> Array:
        """(H, W, 3) uint8: the image with its levels."""
        shares = np.rint(np.arange(self.white + 1) / self.white * WHITE).astype(np.uint8)
        planes = shares[self.planes] if self.white < WHITE else self.planes
        return np.stack([*(planes if len(planes) == 3 else np.broadcast_to(planes, (3, *planes.shape[1:])))], -1)


def averaged(plane: Array, size: tuple[int, int]) -> Array:
    """A plane (H, W) of uint8 in another size: each pixel is the mean of the area that it covers, rounded."""
    rows, columns = (_overlaps(old, new) for old, new in zip(plane.shape, size, strict=True))
    means = np.zeros((size[0], plane.shape[1]))
    step = max(1, _BAND // plane.shape[1])
    for start in range(0, len(plane), step):
        means += rows[:, start : start + step] @ plane[start : start + step].astype(np.float64)
    return np.rint(means @ columns.T).astype(np.uint8)


def _overlaps(old: int, new: int) -> Array:
    """(new, old): the share of each old cell in each of the ``new`` cells of the same length together."""
    ends = np.arange(new + 1) * (old / new)
    cells = np.arange(old)
    shares = np.minimum(ends[1:, None], cells + 1) - np.maximum(ends[:-1, None], cells)
    return np.asarray(np.clip(shares, 0, None) * (new / old))


def as_pixels(
    image: Image, *, levels: int | None = None, grey: bool = False, size: tuple[int, int] | None = None
) -> Pixels:
    """The numbers of an image that was read; one plane if it has no colours.

    Args:
        image: the result of ``read_image``.
        levels: the number of levels, 2 to 256, of equal width: level ⌊value · levels / 256⌋. None keeps 0 to 255.
        grey: convert a coloured image to grey.
        size: rows and columns to which the image is resized before that, see ``averaged``.

    Raises:
        UsageError: there cannot be so many levels.
    """
    if levels is not None and not 2 <= levels <= WHITE + 1:
        raise UsageError(
            f"The levels must be between 2 and {WHITE + 1}, but got {levels:,}.",
            "A pixel of 8 bits has 256.",
            "For example --levels 2 for black and white.",
        )
    pixels, notes = image.pixels, [*image.notes]
    if image.values is not None:
        notes.append("its numbers are shown with 8 bits, 0 to 255")
    planes = np.ascontiguousarray(pixels.transpose(2, 0, 1))
    if size is not None and size != planes.shape[1:]:
        (rows, columns), before = size, " × ".join(map(str, planes.shape[:0:-1]))
        planes = np.stack([averaged(plane, size) for plane in planes])
        notes.append(
            f"resized from {before} pixels to {counted(rows, 'row')} and {counted(columns, 'column')}, "
            "each pixel the mean of the area that it covers"
        )
    if (planes == planes[0]).all():
        planes = planes[:1]
    elif grey:
        planes = np.rint(np.tensordot(LUMA, planes, 1)).astype(np.uint8)[None]
        notes.append("its colours are converted to grey: 0.299 red + 0.587 green + 0.114 blue")
    if levels is not None:
        planes = (np.arange(WHITE + 1) * levels // (WHITE + 1)).astype(np.uint8)[planes]
    return Pixels(planes, WHITE if levels is None else levels - 1, image.name, tuple(notes))


def drawn_channels(values: Array) -> Array:
    """The channels (1 or 3, ...) of an input that are drawn: the first three as colours; of one or two the first."""
    return values[:3] if len(values) >= 3 else values[:1]


def tensor_picture(values: Array) -> tuple[Array, str]:
    """A picture uint8 (H, W, 3) of an input (C, L), (C, H, W) or (C, D, H, W), and how it was made.

    It reaches from the smallest finite value, black, to the largest, white; NaN is drawn as the smallest.
    """
    note = "the input is a tensor, drawn from its smallest value to its largest"
    if values.ndim == 2:
        values = values[:, None]
    if values.ndim == 4:
        values, note = values.reshape(len(values), -1, values.shape[3]), f"{note}, its slices below each other"
    shown = drawn_channels(values).astype(np.float64)
    if len(values) not in (1, 3):
        note += f", the first {inflected(len(shown), 'channel', f'{len(shown)} channels')} of {len(values)}"
    finite = shown[np.isfinite(shown)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    shown = np.nan_to_num(shown, nan=low, posinf=high, neginf=low)
    half = high / 2 - low / 2  # in halves: from -1e308 to 1e308 is beyond every float
    shares = (shown / 2 - low / 2) / (half or 1.0)
    pixels = np.rint(np.moveaxis(shares, 0, -1) * 255).astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(pixels, (*pixels.shape[:2], 3))), note

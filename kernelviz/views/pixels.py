"""An image as numbers: its grey levels, or those of its three colours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kernelviz.errors import UsageError
from kernelviz.notebook import record_repr

if TYPE_CHECKING:
    from kernelviz.records import Array, Image


WHITE = 255
LUMA = (0.299, 0.587, 0.114)  # of red, green and blue, ITU-R BT.601, as in Pillow's mode L
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


def as_pixels(image: Image, *, levels: int | None = None, grey: bool = False) -> Pixels:
    """The numbers of an image that was read; one plane if it has no colours.

    Args:
        image: the result of ``read_image``.
        levels: the number of levels, 2 to 256, of equal width: level ⌊value · levels / 256⌋. None keeps 0 to 255.
        grey: convert a coloured image to grey.

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
    if (planes == planes[0]).all():
        planes = planes[:1]
    elif grey:
        planes = np.rint(np.tensordot(LUMA, planes, 1)).astype(np.uint8)[None]
        notes.append("its colours are converted to grey: 0.299 red + 0.587 green + 0.114 blue")
    if levels is not None:
        planes = (np.arange(WHITE + 1) * levels // (WHITE + 1)).astype(np.uint8)[planes]
    return Pixels(planes, WHITE if levels is None else levels - 1, image.name, tuple(notes))

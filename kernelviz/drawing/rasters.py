"""What the rasters of a page show, without colours: the look that draws the page gives them.

A raster is an array of pixels (H, W, 3), which every look takes as they are or in grey, or one of the records below.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from kernelviz.records import Array


@dataclass(frozen=True)
class Ramp:
    """The palette of values: the colours of all levels by ``colour.ramp``, then paper, outline and marks."""

    name: str | None
    signed: bool


@dataclass(frozen=True)
class TintRamp:
    """The palette of worksheets: levels from −1 to 1 through the ground of the page, then paper, outline and marks.

    ``pale`` takes the part on which digits are legible; with ``digits`` the cells also contain numbers with their signs.
    """

    pale: bool
    digits: bool = False


Palette: TypeAlias = Ramp | TintRamp | tuple[str, ...]
"""A tuple holds roles of colours."""


@dataclass(frozen=True, eq=False)
class Indexed:
    """Indices (H, W) of a palette, uint8.

    ``cells`` are the number of the value that each row and each column of pixels shows, negative in the gaps; None if each
    pixel is a value of its own.
    """

    index: Array
    palette: Palette
    cells: tuple[Array, Array] | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.index.shape[0], self.index.shape[1]


@dataclass(frozen=True, eq=False)
class Tiles:
    """Tiles of colour (H, W, 3) uint8; paper, outlines and frames between them have the inks of a white page.

    ``cells`` are as in ``Indexed``; ``blanks`` are boxes (top, left, bottom, right) without a tile.
    """

    pixels: Array
    cells: tuple[Array, Array]
    blanks: tuple[tuple[int, int, int, int], ...] = ()

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.pixels.shape[0], self.pixels.shape[1]

    @property
    def gaps(self) -> Array:
        """(H, W) bool: the pixels between tiles."""
        down, across = self.cells
        gaps = (down < 0)[:, None] | (across < 0)[None]
        for top, left, bottom, right in self.blanks:
            gaps[top:bottom, left:right] = True
        return gaps


@dataclass(frozen=True, eq=False)
class Overlaid:
    """A map over a grey picture: ``ground`` (H, W), 0 to 255, and the map's ``shares`` of full opacity, −1 to 1."""

    ground: Array
    shares: Array

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.shares.shape[0], self.shares.shape[1]


@dataclass(frozen=True, eq=False)
class Veiled:
    """A photograph (H, W, 3) that fades into the page except in one part, ``clear``."""

    pixels: Array
    clear: tuple[slice, slice]

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.pixels.shape[0], self.pixels.shape[1]


Content: TypeAlias = "Array | Indexed | Tiles | Overlaid | Veiled"


def plain(role: str) -> Indexed:
    """One pixel in the colour of a role."""
    return Indexed(np.zeros((1, 1), np.uint8), (role,))


def content_key(content: Content) -> bytes:
    """Equal for equal contents, whatever look draws them."""
    match content:
        case Indexed():
            return repr(content.palette).encode() + content.index.tobytes()
        case Tiles():
            return content.pixels.tobytes()
        case Overlaid():
            return content.ground.tobytes() + content.shares.tobytes()
        case Veiled():
            return content.pixels.tobytes() + repr(content.clear).encode()
        case _:
            return content.tobytes()


def changed_pixels(before: Content, after: Content) -> Array:
    """(H, W) bool: the pixels in which two contents of one shape may differ in some look."""
    if isinstance(before, Indexed) and isinstance(after, Indexed) and before.palette == after.palette:
        return np.asarray(before.index != after.index)
    if isinstance(before, np.ndarray) and isinstance(after, np.ndarray):
        return np.asarray((before != after).any(axis=-1))
    return np.full(after.shape[:2], fill_value=content_key(before) != content_key(after))

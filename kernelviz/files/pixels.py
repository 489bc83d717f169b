"""A small image as numbers: its grey levels, or those of its three colours."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kernelviz.errors import UsageError
from kernelviz.wording import shown

if TYPE_CHECKING:
    from kernelviz.records import Array, Image


MOST = 32  # rows and columns of an image whose numbers an operation is worked out on
WHITE = 255
LUMA = (0.299, 0.587, 0.114)  # of red, green and blue, ITU-R BT.601, as in Pillow's mode L
_SUFFIXES = (".png", ".jpg", ".jpeg", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".npy")


@dataclass(frozen=True)
class Pixels:
    """The numbers of an image: ``planes`` (1 or 3, H, W) are whole numbers from 0, black, to ``white``.

    Three planes are red, green and blue. ``pixels`` (H, W, 3) uint8 is the image itself, ``name`` that of its file, and
    ``notes`` list the conversions.
    """

    planes: Array
    white: int
    pixels: Array
    name: str
    notes: tuple[str, ...] = ()

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.planes.shape[1], self.planes.shape[2]

    @property
    def colours(self) -> Array:
        """(planes, H, W, 3) uint8: each plane in grey, or in its own colour."""
        shares = np.rint(self.planes / self.white * WHITE).astype(np.uint8)
        if len(shares) == 1:
            return np.repeat(shares[..., None], 3, axis=-1)
        return np.asarray(shares[..., None] * np.eye(3, dtype=np.uint8)[:, None, None])


def is_picture(text: str) -> bool:
    """Whether a text is the name of an image: by its suffix, or a file with the content of one."""
    if text.lower().endswith(_SUFFIXES) or text.startswith("sample:"):
        return True
    if text.lower().endswith(".csv") or not os.path.isfile(text):  # noqa: PTH113  (it takes every name)
        return False
    from kernelviz.files.images import readable_format
    from kernelviz.reading import open_regular

    try:
        with open_regular(text) as file:
            return readable_format(file.read(64)) is not None
    except OSError:
        return False


def read_pixels(path: str, *, levels: int | None = None, grey: bool = False) -> Pixels:
    """Read the numbers of an image, one plane if it has no colours.

    Args:
        path: as in ``read_image``.
        levels: the number of levels, 2 to 256, of equal width: level ⌊value · levels / 256⌋. None keeps 0 to 255.
        grey: convert a coloured image to grey.

    Raises:
        BadImageError: the file does not exist, or is not a supported image.
    """
    from kernelviz.files.images import read_image

    return as_pixels(read_image(path), levels=levels, grey=grey)


def as_pixels(image: Image, *, levels: int | None = None, grey: bool = False) -> Pixels:
    """The numbers of an image that was read; as ``read_pixels``.

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
    planes = pixels.transpose(2, 0, 1).astype(np.float64)
    if (planes == planes[0]).all():
        planes = planes[:1]
    elif grey:
        planes = np.rint(np.tensordot(LUMA, planes, 1))[None]
        notes.append("its colours are converted to grey: 0.299 red + 0.587 green + 0.114 blue")
    if levels is not None:
        planes = np.floor(planes * levels / (WHITE + 1))
    return Pixels(planes, WHITE if levels is None else levels - 1, pixels, image.name, tuple(notes))


def small_pixels(path: str, levels: int | None) -> Pixels:
    """The grey levels of an image of at most 32 × 32 pixels.

    Raises:
        BadImageError: the file does not exist, or is not a supported image.
        UsageError: the image is larger.
    """
    found = read_pixels(path, levels=levels, grey=True)
    rows, columns = found.size
    if max(found.size) > MOST:
        raise UsageError(
            f"The image {shown(found.name)} has {rows} × {columns} pixels.",
            f"An image is worked out as numbers up to {MOST} × {MOST}.",
            "Resize it to that first, or type the numbers of a part: `kernelviz explain image` shows them.",
        )
    return found

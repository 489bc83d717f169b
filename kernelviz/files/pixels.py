"""Small images whose pixels are the numbers of an input."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from kernelviz.errors import UsageError
from kernelviz.storage.uris import name_in, resolved
from kernelviz.wording import shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kernelviz.records import Image
    from kernelviz.views.pixels import Pixels


MOST = 32  # rows and columns of an image whose numbers an operation is worked out on
_SUFFIXES = (".png", ".jpg", ".jpeg", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".npy")


def is_picture(text: str) -> bool:
    """Whether a text is the name of an image: by its suffix, or a file with the content of one."""
    path = resolved(text)
    name = name_in(path).lower()
    if name.endswith(_SUFFIXES) or text.startswith("sample:"):
        return True
    if name.endswith(".csv") or not os.path.isfile(path):  # noqa: PTH113  (it takes every name)
        return False
    from kernelviz.files.images import readable_format
    from kernelviz.reading import open_regular

    try:
        with open_regular(path) as file:
            return readable_format(file.read(64)) is not None
    except OSError:
        return False


def small_pixels(path: str, levels: int | None, resize: Sequence[int] | None = None) -> Pixels:
    """The grey levels of an image of at most 32 × 32 pixels.

    Args:
        path: of the file.
        levels: the number of levels, None for 0 to 255.
        resize: rows and columns to which the image is resized first, or its longer side alone.

    Raises:
        BadImageError: the file does not exist, or is not a supported image.
        UsageError: the image, or the size that it is to have, is larger.
    """
    from kernelviz.files.images import read_one_image
    from kernelviz.views.pixels import as_pixels

    image = read_one_image(path)
    rows, columns = image.size
    if resize is not None:
        return as_pixels(image, levels=levels, grey=True, size=resized_sides(image, resize))
    if max(image.size) > MOST:
        raise UsageError(
            f"The image {shown(image.name)} has {columns:,} × {rows:,} pixels.",
            f"An image is worked out as numbers up to {MOST} × {MOST}.",
            "Add --resize 16; `kernelviz explain image` shows the numbers of a part.",
        )
    return as_pixels(image, levels=levels, grey=True)


def resized_sides(image: Image, resize: Sequence[int]) -> tuple[int, int]:
    """Rows and columns of an image that is resized to these, or to this longer side.

    Raises:
        UsageError: they are no size of an image whose numbers are shown.
    """
    longer = max(image.size)
    size = [max(1, round(side * resize[0] / longer)) for side in image.size] if len(resize) == 1 else [*resize]
    if not 1 <= min(*size, *resize) <= max(*size, *resize) <= MOST:
        raise UsageError(
            f"--resize must be 1 to {MOST} rows and columns, but got {' × '.join(map(str, resize))}.",
            hint="For example --resize 16 or --resize 16x20",
        )
    return size[0], size[1]

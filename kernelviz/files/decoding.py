"""From the bytes of a picture to its pixels: whole or not at all, upright, within a bound on memory.

What a picture needs is worked out from its header before anything is decoded. The decoders are called by name and not by
``PIL.Image.open``, which would try others too, some of which start programs, and has limits of its own.
"""

from __future__ import annotations

import io
import threading
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from kernelviz.errors import BadImageError, KernelvizError
from kernelviz.files.colours import to_srgb
from kernelviz.files.sniffing import READ_FORMATS, other_format, readable_format

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from PIL import Image as Pillow

    from kernelviz.files.sniffing import Format
    from kernelviz.records import Array


MOST_BYTES = 96 << 20
"""The largest file that is read."""

MOST_MEMORY = 240_000_000
"""Bytes that reading one picture may take at a time, by what its header says."""

LARGEST_ASPECT = 1000
"""The most that one side may be of the other."""

_PLUGINS: dict[Format, Callable[[io.BytesIO], ImageFile.ImageFile]] = {
    "PNG": PngImagePlugin.PngImageFile,
    "JPEG": JpegImagePlugin.JpegImageFile,
    "WEBP": WebPImagePlugin.WebPImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
    "GIF": GifImagePlugin.GifImageFile,
    "TIFF": TiffImagePlugin.TiffImageFile,
    "PPM": PpmImagePlugin.PpmImageFile,
}
_ORIENTATION = 0x0112
_TURNS: dict[int, Callable[[Array], Array]] = {
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: pixels[::-1, ::-1].swapaxes(0, 1),
    8: np.rot90,
}
_BYTES = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2}  # that Pillow takes for a pixel; others take 4
_SMALLER = "Make it smaller with an image editor, or cut out the part that matters."
_pillow_lock = threading.RLock()


def decode(data: bytes, name: str) -> tuple[Array, str, str, list[str]]:
    """The pixels of a picture's bytes, uint8 (H, W, 3), with its format, its mode, and what was done to it.

    Raises:
        BadImageError: it is none of the formats that are read, damaged, cut short, or too large.
    """
    if not data:
        raise BadImageError(f"{name} is empty.", hint="Give an image.")
    kind = readable_format(data)
    if kind is None:
        what = f"{name} is no image that is read here: it is {other_format(data)}."
        raise BadImageError(what, f"Read are {READ_FORMATS}.", "Convert it to PNG.")
    with _quiet_pillow():
        try:
            if kind == "WEBP":  # its decoder takes memory for all pixels as soon as it exists
                _check_size(name, _webp_size(data), len(data), 16)
            picture = _PLUGINS[kind](io.BytesIO(data))
            notes = _bring_within_bounds(picture, kind, len(data), name)
            if _has_more_frames(picture, kind, data):
                notes.append(f"the first of several {'pages' if kind == 'TIFF' else 'frames'} alone")
            if _is_16_bit_colour(picture):
                notes.append("16-bit channels were reduced to 8 bits")
            if kind == "TIFF":
                orientation(picture, notes)  # Pillow turns it as it loads
            picture.load()
            mode, turn = picture.mode, orientation(picture, notes)
            pixels, more = to_srgb(picture)
            picture.close()
        except (KernelvizError, MemoryError):
            raise
        except Exception as error:  # a damaged file makes its decoder raise anything
            raise _damaged(name, kind, error) from error
    return upright(pixels, turn), kind, mode, notes + more


def prepare_pixels(picture: Pillow.Image, name: str) -> tuple[Array, list[str]]:
    """The upright pixels of a picture that Pillow holds already, or has opened, and what was done to it.

    Raises:
        BadImageError: it is too large, damaged, or of colours that are not known.
    """
    with _quiet_pillow():
        _check_size(name, picture.size, 0, 7)
        notes: list[str] = []
        try:
            picture.load()
            turn = orientation(picture, notes)
            pixels, more = to_srgb(picture)
        except (KernelvizError, MemoryError):
            raise
        except Exception as error:  # a damaged file makes its decoder raise anything
            raise _damaged(name, picture.format or "Pillow", error) from error
    return upright(pixels, turn), [*notes, *more]


def orientation(picture: Pillow.Image, notes: list[str]) -> int:
    """How a picture must be turned, EXIF's 1 to 8; what was found is noted.

    Asked before a PNG is loaded, Pillow loads it for its EXIF, and an error of that would pass for one of EXIF.
    """
    try:
        value = picture.getexif().get(_ORIENTATION, 1)
    except Exception:  # noqa: BLE001 - there is much that can be wrong with EXIF, and the pixels may be fine
        notes.append("its EXIF data cannot be read and was ignored")
        return 1
    if value in _TURNS:
        notes.append(_turned(value))
        return int(value)
    if value not in (0, 1):
        notes.append("its EXIF orientation is none of 1 to 8 and was ignored")
    return 1


def upright(pixels: Array, turn: int) -> Array:
    """The pixels turned as EXIF's orientation says, contiguous."""
    return np.ascontiguousarray(_TURNS[turn](pixels)) if turn in _TURNS else pixels


def _turned(value: int) -> str:
    return f"turned upright (EXIF orientation {value})"


def _has_more_frames(picture: ImageFile.ImageFile, kind: Format, data: bytes) -> bool:
    """Whether there is a second frame or page; looking for one moves the readers of GIF and TIFF, so it has its own."""
    try:
        reader = _PLUGINS[kind](io.BytesIO(data)) if kind in {"GIF", "TIFF"} else picture
        return bool(getattr(reader, "is_animated", False))
    except Exception:  # noqa: BLE001 - a second frame that is damaged is none
        return False


def _bring_within_bounds(picture: ImageFile.ImageFile, kind: Format, size: int, name: str) -> list[str]:
    """Refuse a picture that takes too much memory; a JPEG is decoded at half size, a quarter or an eighth instead."""
    full = picture.size
    each = _BYTES.get(picture.mode, 4)
    decoder = 0
    if kind == "TIFF":
        decoder = each * (2 if picture.getexif().get(_ORIENTATION, 1) in _TURNS else 1)
    elif kind == "WEBP":
        decoder = 12
    elif kind == "JPEG" and picture.info.get("progressive"):
        size += full[0] * full[1] * 2 * len(picture.getbands())  # its coefficients are kept at full size
    bytes_a_pixel = max(decoder + each, each + 3, 6)
    if kind == "JPEG":
        for share in (2, 4, 8):
            if picture.size[0] * picture.size[1] * bytes_a_pixel + size <= MOST_MEMORY:
                break
            picture.draft(None, (-(-full[0] // share), -(-full[1] // share)))
    _check_size(name, picture.size, size, bytes_a_pixel)
    if picture.size == full:
        return []
    return [f"decoded smaller: {full[0]}×{full[1]} pixels as {picture.size[0]}×{picture.size[1]}"]


def _check_size(name: str, size: tuple[int, int], others: int, bytes_a_pixel: int) -> None:
    width, height = size
    memory = width * height * bytes_a_pixel + others
    if memory > MOST_MEMORY:
        why = f"Reading its {width}×{height} pixels takes {memory / 1e6:,.0f} MB; the limit is {MOST_MEMORY / 1e6:.0f} MB."
        raise BadImageError(f"{name} is too large.", why, _SMALLER)
    if max(size) > LARGEST_ASPECT * min(size):
        why = f"It has {width}×{height} pixels; one side may be {LARGEST_ASPECT} times the other."
        raise BadImageError(f"{name} is too long and thin.", why, "Cut out the part that matters.")


def _webp_size(data: bytes) -> tuple[int, int]:
    """Width and height by the first chunk; (1, 1) where it has none, which the decoder will refuse.

    WebP container specification and RFC 6386, 9.1.
    """
    chunk = data[12:16]
    if chunk == b"VP8X" and len(data) >= 30:
        return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
    if chunk == b"VP8L" and len(data) >= 25:
        bits = int.from_bytes(data[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if chunk == b"VP8 " and len(data) >= 30:
        width, height = (int.from_bytes(data[at : at + 2], "little") & 0x3FFF for at in (26, 28))
        return max(1, width), max(1, height)
    return 1, 1


def _is_16_bit_colour(picture: ImageFile.ImageFile) -> bool:
    """Whether the file has 16 bits a channel of which Pillow keeps eight."""
    args: Any = picture.tile[0].args if picture.tile else ()
    words = (args,) if isinstance(args, str) else args or ()
    return not picture.mode.startswith("I") and any(isinstance(word, str) and ";16" in word for word in words)


def _damaged(name: str, kind: str, error: Exception) -> BadImageError:
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    return BadImageError(
        f"{name} is damaged or cut short.", f"Its decoder ({kind}) says: {reason}.", "Fetch or export it again."
    )


@contextmanager
def _quiet_pillow() -> Iterator[None]:
    """Pillow without warnings, and refusing files that are cut short whatever the caller has told it."""
    with _pillow_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        kept, ImageFile.LOAD_TRUNCATED_IMAGES = ImageFile.LOAD_TRUNCATED_IMAGES, False
        try:
            yield
        finally:
            ImageFile.LOAD_TRUNCATED_IMAGES = kept

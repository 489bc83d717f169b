"""Pictures of more than 8 bits per channel at full depth, where Pillow's modes hold more, or can be made to."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from kernelviz.files.measured import ON_WHITE, Numbers, over_white
from kernelviz.files.srgb import has_effective_profile

if TYPE_CHECKING:
    from PIL import Image as Pillow
    from PIL import ImageFile

    from kernelviz.records import Array


WIDE = ("I;16", "I;16L", "I;16B", "I;16N", "I", "F")
"""Pillow's modes of one band of more than 8 bits."""

_16_BITS = "16-bit values"
_LOW_BYTES = {";16B": ";16L", ";16L": ";16B", ";16N": ";16B" if sys.byteorder == "little" else ";16L"}
"""Pillow's raw modes keep the high bytes of 16-bit colours; those of the other byte order keep the low bytes."""
_STRIP = 1 << 20  # pixels converted at a time
BYTES_PER_PIXEL = 12
"""The most that 16-bit colours take while they are read: four channels of two bytes, and Pillow's picture."""


def wide_values(picture: Pillow.Image, data: bytes | None, notes: list[str]) -> Numbers:
    """The values of a picture in one of the modes ``WIDE``; a transparent value becomes white."""
    kinds = {"I": np.int32, "F": np.float32}
    values = np.empty((picture.height, picture.width, 1), kinds.get(picture.mode, np.uint16))
    for top, bottom in _strips(picture):
        values[top:bottom, :, 0] = np.asarray(picture.crop((0, top, picture.width, bottom)))
    found = Numbers(values)
    if picture.format == "PPM" and picture.mode == "I":
        found = values_of_ppm(data) or Numbers(values.astype(np.uint16))
    key = picture.info.get("transparency")
    if isinstance(key, int) and values.dtype == np.uint16 and (values == key).any():
        values[values == key] = 65535
        notes.append(ON_WHITE)
    if has_effective_profile(picture):
        notes.append("its colour profile was not applied: the values are used as stored")
    return found


def values_of_ppm(data: bytes | None) -> Numbers | None:
    """The numbers of a binary PGM or PPM of 16 bits, which count to the number in its header; None for other files.

    Raises:
        ValueError: it is truncated.
    """
    gap = rb"(?:\s+|#[^\n]*\n)+"
    header = re.match(rb"P[56]" + 3 * (gap + rb"(\d+)") + rb"\s", data or b"")
    if data is None or header is None:
        return None
    width, height, largest = map(int, header.groups())
    channels = 3 if data[:2] == b"P6" else 1
    if header.end() + 2 * width * height * channels > len(data):
        raise ValueError("image file is truncated")
    values = np.frombuffer(data, ">u2", width * height * channels, header.end())
    return Numbers(values.reshape(height, width, channels), (0.0, float(largest)), kind=_16_BITS)


def is_16_bit_colour(picture: ImageFile.ImageFile) -> bool:
    """Whether the file has 16 bits per channel of which Pillow keeps eight."""
    args: Any = picture.tile[0].args if picture.tile else ()
    if picture.format == "PPM" and picture.mode == "RGB":
        return isinstance(args, tuple) and args[-1] > 255
    words = (args,) if isinstance(args, str) else args or ()
    return not picture.mode.startswith("I") and any(isinstance(word, str) and ";16" in word for word in words)


def why_eight_bits(picture: ImageFile.ImageFile, *, fits: bool) -> str | None:
    """Why 16-bit colours are not read at full depth; None if they are.

    Args:
        picture: not loaded yet.
        fits: whether there is enough memory for them.
    """
    if not fits:
        return "16-bit channels were reduced to 8 bits: at full depth the image is too large"
    if picture.format == "PPM":
        return "16-bit channels were reduced to 8 bits" if picture.tile[0].codec_name == "ppm_plain" else None
    raw = _raw_mode(picture)
    if raw[-4:] not in _LOW_BYTES or raw.split(";")[0] not in {"RGB", "RGBA", "LA"}:
        return "16-bit channels were reduced to 8 bits"
    if has_effective_profile(picture):
        return "16-bit channels were reduced to 8 bits, to convert their colour profile"
    return None


def high_bytes(picture: ImageFile.ImageFile) -> Array:
    """Load a picture of 16-bit colours, and return its values, uint16 (H, W, C); the low bytes are missing.

    Only of grey with opacity they are complete: Pillow has no raw mode for its low bytes, but it decodes both bytes as if
    they were channels of 8 bits.
    """
    raw = _raw_mode(picture)
    grey = raw.startswith("LA")
    if grey:
        _set_raw_mode(picture, "RGBA")
    picture.load()
    values = np.zeros((picture.height, picture.width, 2 if grey else len(picture.getbands())), np.uint16)
    _add_bytes(values, picture, slice(0, None, 2) if grey else slice(None), 8)
    if grey:
        _add_bytes(values, picture, slice(1, None, 2), 0)
    return values


def add_low_bytes(values: Array, picture: ImageFile.ImageFile) -> None:
    """Add the low bytes of 16-bit colours to values, by decoding the picture, which is not loaded yet, once more."""
    raw = _raw_mode(picture)
    if not raw.startswith("LA"):
        _set_raw_mode(picture, raw[:-4] + _LOW_BYTES[raw[-4:]])
        picture.load()
        _add_bytes(values, picture, slice(None), 0)


def without_opacity(values: Array, key: object, notes: list[str]) -> Array:
    """The colours of 16-bit values (H, W, C) over white: the last of two or four is opacity; ``key`` is transparent."""
    if values.shape[2] not in (2, 4):
        if isinstance(key, tuple) and (transparent := (values == key).all(axis=2)).any():
            values[transparent] = 65535
            notes.append(ON_WHITE)
        return values
    colours, opacity = values[..., :-1], values[..., -1]
    over_white(colours, opacity, notes)
    return colours


def as_numbers(values: Array) -> Numbers:
    """The numbers of 16-bit colours."""
    return Numbers(values, kind=_16_BITS)


def _raw_mode(picture: ImageFile.ImageFile) -> str:
    """The raw mode in which the picture is decoded; empty if there is none."""
    args: Any = picture.tile[0].args if picture.tile else ()
    return str(args[0] if isinstance(args, tuple) and args else args or "")


def _set_raw_mode(picture: ImageFile.ImageFile, raw: str) -> None:
    """Have the picture decoded in another raw mode."""
    picture.tile = [
        tile._replace(args=(raw, *tile.args[1:]) if isinstance(tile.args, tuple) else raw) for tile in picture.tile
    ]


def _add_bytes(values: Array, picture: Pillow.Image, channels: slice, shift: int) -> None:
    """Add the bytes of a decoded picture, shifted to the left by ``shift`` bits, to values."""
    for top, bottom in _strips(picture):
        part = np.asarray(picture.crop((0, top, picture.width, bottom)))[..., channels]
        values[top:bottom] |= part.astype(np.uint16) << shift


def _strips(picture: Pillow.Image) -> list[tuple[int, int]]:
    """The first row of each strip of a picture, and the first below it."""
    rows = max(1, _STRIP // picture.width)
    return [(top, min(top + rows, picture.height)) for top in range(0, picture.height, rows)]

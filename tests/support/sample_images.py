"""Small pictures of every kind, and what they should become."""

from __future__ import annotations

import io
import zlib
from struct import pack

import numpy as np
from PIL import Image, ImageCms

RNG = np.random.default_rng(5)
RGB = RNG.integers(0, 256, (13, 17, 3), dtype=np.uint8)
GREY = RNG.integers(0, 256, (13, 17), dtype=np.uint8)
ALPHA = RNG.integers(0, 256, (13, 17), dtype=np.uint8)
WIDE = RNG.integers(0, 65536, (13, 17), dtype=np.uint16)


def encoded(picture, kind="PNG", **options):
    """The bytes of a file of a Pillow image or an array."""
    buffer = io.BytesIO()
    (picture if isinstance(picture, Image.Image) else Image.fromarray(picture)).save(buffer, kind, **options)
    return buffer.getvalue()


def grey3(values):
    """A grey picture as (H, W, 3)."""
    return np.repeat(np.asarray(values, float)[..., None], 3, axis=2)


def over_white(colour, alpha):
    """The composition with white, in real numbers."""
    share = alpha[..., None] / 255
    return colour * share + 255 * (1 - share)


def close(image, reference):
    """Whether pixels are those of a reference, within one level."""
    return image.pixels.shape == reference.shape and np.abs(image.pixels - reference).max() <= 1.0


def png(width, height, depth, colour, rows, *chunks):
    """A PNG made by hand."""

    def chunk(kind, data):
        return pack(">I", len(data)) + kind + data + pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    more = b"".join(chunk(*each) for each in chunks)
    return b"\x89PNG\r\n\x1a\n" + header + more + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")


def swapped_profile():
    """The sRGB profile with the red and the green primary exchanged: converting with it exchanges the channels."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    count = int.from_bytes(data[128:132], "big")
    for index in range(count):
        at = 132 + 12 * index
        name = bytes(data[at : at + 4])
        data[at : at + 4] = {b"rXYZ": b"gXYZ", b"gXYZ": b"rXYZ"}.get(name, name)
    return bytes(data)

"""What kind of file some bytes are, told by their beginning: the formats that are read, and the names of others."""

from __future__ import annotations

import re
from typing import Literal, TypeAlias

Format: TypeAlias = Literal["PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM"]

READ_FORMATS = "PNG, JPEG, WebP, BMP, GIF, TIFF and PPM"
SUFFIXES = frozenset(
    {".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".dib", ".gif", ".tif", ".tiff"}
    | {".ppm", ".pgm", ".pbm", ".pnm", ".pfm"}
)
"""The suffixes that those formats have."""

_READ: dict[Format, re.Pattern[bytes]] = {
    "PNG": re.compile(rb"\x89PNG\r\n\x1a\n"),
    "JPEG": re.compile(rb"\xff\xd8\xff"),
    "WEBP": re.compile(rb"RIFF....WEBP", re.DOTALL),
    "BMP": re.compile(rb"BM"),
    "GIF": re.compile(rb"GIF8[79]a"),
    "TIFF": re.compile(rb"(?!.{8}CR)(?:II[*+]\0|MM\0[*+])", re.DOTALL),
    "PPM": re.compile(rb"P[1-6f][\s#]"),
}
_OTHERS = {
    "a PDF document": rb"\s*%PDF",
    "PostScript (EPS)": rb"%!PS|\xc5\xd0\xd3\xc6",
    "an SVG drawing": rb"(?:\xef\xbb\xbf)?\s*<(?:\?xml|!--|!DOCTYPE)?.*<svg|(?:\xef\xbb\xbf)?\s*<svg",
    "a HEIC picture": rb"....ftyp(?:hei|hev|mif1|msf1)",
    "an AVIF picture": rb"....ftypavi",
    "a video": rb"....ftyp|\x1a\x45\xdf\xa3|RIFF....AVI ",
    "a JPEG 2000 picture": rb"\0\0\0\x0cjP|\xff\x4f\xff\x51",
    "a JPEG XL picture": rb"\xff\x0a|\0\0\0\x0cJXL",
    "a camera's raw file": rb"(?:II\*\0|MM\0\*).{4}CR|FUJIFILM|IIRO|IIU\0",
    "a Photoshop document": rb"8BPS",
    "an icon": rb"\0\0[\x01\x02]\0",
    "an OpenEXR picture": rb"\x76\x2f\x31\x01",
    "a Radiance picture": rb"#\?R",
    "a QOI picture": rb"qoif",
    "a GIMP document": rb"gimp xcf",
    "a DirectDraw surface": rb"DDS ",
    "a NumPy array": rb"\x93NUMPY",
    "a zip archive (or what is kept in one)": rb"PK\x03\x04",
    "a gzip archive": rb"\x1f\x8b",
    "an HTML page": rb"\s*<(?:!DOCTYPE )?html",
}
_HEAD = 4096


def readable_format(data: bytes) -> Format | None:
    """Which of the formats that are read these bytes are; None where they are none."""
    return next((name for name, pattern in _READ.items() if pattern.match(data)), None)


def other_format(data: bytes) -> str:
    """What bytes are that are no image that is read: ``a PDF document``, ``text``, ``an unknown format``."""
    head = data[:_HEAD]
    for name, pattern in _OTHERS.items():
        if re.match(pattern, head, re.DOTALL | re.IGNORECASE):
            return name
    return "text" if _is_text(head) else "an unknown format"


def _is_text(head: bytes) -> bool:
    try:
        text = head[:-3].decode() if len(head) == _HEAD else head.decode()  # a character may be cut
    except UnicodeDecodeError:
        return False
    return not re.search(r"[\0-\x08\x0e-\x1a\x1c-\x1f]", text)

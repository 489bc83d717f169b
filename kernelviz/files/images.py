"""Read images from a file, standard input or memory: complete, upright, and with bounded memory.

The memory for an image is computed from its header before anything is decoded. Decoders are called by name, because
``PIL.Image.open`` would try others, some of which start programs, and has limits of its own.
"""

from __future__ import annotations

import ctypes
import hashlib
import io
import logging
import os
import re
import sys
import threading
import zlib
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal, TypeAlias, cast

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
from PIL import Image as Pillow

from kernelviz.errors import BadImageError, KernelvizError, UsageError
from kernelviz.files.depth import (
    BYTES_PER_PIXEL,
    WIDE,
    add_low_bytes,
    as_numbers,
    high_bytes,
    is_16_bit_colour,
    values_of_ppm,
    why_eight_bits,
    wide_values,
    without_opacity,
)
from kernelviz.files.measured import (
    WHOLE,
    Measured,
    Numbers,
    Reading,
    as_plain,
    channels_last,
    checked_reading,
    choose,
    is_plain,
    measure,
    over_white,
    read_npy,
    white_of,
)
from kernelviz.files.pieces import check_pieces, png_chunks
from kernelviz.files.srgb import to_srgb
from kernelviz.files.tiffs import (
    NotDecodedError,
    Tags,
    is_complete,
    is_undecoded,
    read_page,
    read_tags,
    why_undecoded,
)
from kernelviz.reading import SpecialFileError, open_regular
from kernelviz.records import Image, as_array, shape_text
from kernelviz.storage.uris import is_uri, name_in, resolved
from kernelviz.threads import no_warnings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from kernelviz.records import Array


Format: TypeAlias = Literal["PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "NPY"]

READ_FORMATS = "PNG, JPEG, WebP, BMP, GIF, TIFF, PPM and .npy"
SUFFIXES = frozenset(
    {".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".dib", ".gif", ".tif", ".tiff"}
    | {".ppm", ".pgm", ".pbm", ".pnm", ".pfm", ".npy"}
)
"""The suffixes of these formats."""

_READ: dict[Format, re.Pattern[bytes]] = {
    "PNG": re.compile(rb"\x89PNG\r\n\x1a\n"),
    "JPEG": re.compile(rb"\xff\xd8\xff"),
    "WEBP": re.compile(rb"RIFF....WEBP", re.DOTALL),
    "BMP": re.compile(rb"BM"),
    "GIF": re.compile(rb"GIF8[79]a"),
    "TIFF": re.compile(rb"(?!.{8}CR)(?:II[*+]\0|MM\0[*+])", re.DOTALL),
    "PPM": re.compile(rb"P[1-6f][\s#]"),
    "NPY": re.compile(rb"\x93NUMPY"),
}
_OTHERS = {
    # Also without its preamble, from the first element of group 2 or 8, whose type is written (explicit) or not.
    "a DICOM file": rb".{128}DICM|(?:DICM)?[\x02\x08]\0.\0(?:AE|CS|DA|IS|LO|OB|OW|PN|SH|SQ|TM|UI|UL|UN|US)"
    rb"|\x08\0[\0\x01\x05\x08\x12-\x20]\0.\0\0\0",
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
    "a zip archive (or what is kept in one)": rb"PK\x03\x04",
    "a gzip archive": rb"\x1f\x8b",
    "an HTML page": rb"\s*<(?:!DOCTYPE )?html",
}
_HEAD = 4096
_CONVERT = {"a DICOM file": "Save its pixels as a 16-bit PNG or as .npy, for example with pydicom."}
"""What to do with files of other formats, if it is not converting them to PNG."""


def readable_format(data: bytes) -> Format | None:
    """The supported format of these bytes; None if there is none."""
    return next((name for name, pattern in _READ.items() if pattern.match(data)), None)


def other_format(data: bytes) -> str:
    """Describe bytes in an unsupported format: ``a PDF document``, ``text``, ``an unknown format``."""
    head = data[:_HEAD]
    for name, pattern in _OTHERS.items():
        if re.match(pattern, head, re.DOTALL | re.IGNORECASE):
            return name
    return "text" if _is_text(head) else "an unknown format"


def _is_text(head: bytes) -> bool:
    try:
        text = head[:-3].decode() if len(head) == _HEAD else head.decode()  # the last character may be incomplete
    except UnicodeDecodeError:
        return False
    return not re.search(r"[\0-\x08\x0e-\x1a\x1c-\x1f]", text)


MOST_BYTES = 96 << 20
"""The size of the largest file."""

MOST_MEMORY = 240_000_000
"""The most memory for reading one picture, in bytes, computed from its header."""

LARGEST_ASPECT = 1000
"""The largest ratio of the sides."""

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
_PNG_ANCILLARY = {b"tRNS", b"eXIf", b"acTL", b"fcTL", b"fdAT"}
_PNG_TEXTS = {b"tEXt", b"zTXt", b"iTXt"}
_PNG_EXIF = {b"exif", b"Raw profile type exif", b"XML:com.adobe.xmp"}
"""Keywords of the texts in which Pillow finds an orientation."""

_LONGEST_KEYWORD = 80
"""Keywords and profile names have at most 79 bytes, and a zero (PNG specification, 11.3)."""

MOST_PROFILE = 16 << 20
"""The size of the largest colour profile of a PNG in bytes; a larger one is ignored."""

_BYTES = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2}  # per pixel in Pillow; other modes take 4
_SMALLER = "Scale it down, or crop it."


@dataclass(frozen=True)
class Decoded:
    """What was decoded: the parts of an ``Image`` that do not depend on where it comes from."""

    pixels: Array
    format: str | None
    mode: str
    notes: tuple[str, ...]
    found: Measured | None = None
    with_opacity: int = 0
    """The number of bands of the file if the last one is opacity, which is not one of those that were read."""


def decode(data: bytes, name: str, reading: Reading = WHOLE) -> Decoded:
    """Decode a picture.

    Raises:
        BadImageError: its format is not supported, or it is damaged, truncated, or too large.
        UsageError: it has no such band.
    """
    if not data:
        raise BadImageError(f"{name} is empty.", hint="Give an image.")
    kind = readable_format(data)
    if kind is None:
        other = other_format(data)
        what = f"{name} is not a supported image: it contains {other}."
        raise BadImageError(what, f"Supported formats: {READ_FORMATS}.", _CONVERT.get(other, "Convert it to PNG."))
    if kind == "NPY":
        values = read_npy(data, name)
        copied = values.dtype.itemsize * len(reading.bands or ())
        _check_size(name, (values.shape[1], values.shape[0]), len(data), 3 + copied)
        return _Decoding(name, reading, kind).developed(Numbers(values), values.dtype.name)
    with _quiet_pillow():
        try:
            return _Decoding(name, reading, kind, data).run()
        except (KernelvizError, MemoryError):
            raise
        except Exception as error:  # a decoder may raise any exception for a damaged file
            raise _undecoded(data, kind, name, error) from error


@dataclass
class _Decoding:
    """One picture while it is decoded: the choices of the user, and the notes so far."""

    name: str
    reading: Reading
    kind: str | None
    data: bytes = b""
    notes: list[str] = field(default_factory=list)
    with_opacity: int = 0

    def decoded(self, pixels: Array, mode: str, found: Measured | None = None) -> Decoded:
        """The parts of an image."""
        return Decoded(pixels, self.kind, mode, tuple(self.notes), found, self.with_opacity)

    def run(self) -> Decoded:
        """Decode ``data``."""
        if self.kind == "WEBP":  # its decoder allocates all pixels when it is created
            _check_size(self.name, _webp_size(self.data), len(self.data), 16)
        tags = read_tags(self.data) if self.kind == "TIFF" else None
        if tags is not None and not tags.is_pillows:
            return self.bands_of_tiff(tags)
        try:
            check_pieces(self.data, str(self.kind), self.name)
            opened = _Opener(self.kind, self.data)
            picture = opened()
        except (SyntaxError, KeyError):
            if tags is not None and is_complete(tags, self.data):
                return self.bands_of_tiff(tags)
            raise
        others = len(self.data) + (0 if opened.encoded is self.data else len(opened.encoded))
        self.notes += _bring_within_bounds(picture, opened.kind, others, self.name)
        if _has_more_frames(picture, opened.kind, self.data):
            self.notes.append(_first_alone(self.kind))
        if self.kind in {"PNG", "TIFF", "PPM"} and is_16_bit_colour(picture) and self.keeps_depth(picture, others):
            return self.deep(picture, opened)
        if self.kind == "TIFF":
            orientation(picture, self.notes)  # Pillow rotates it when loading
        picture.load()
        return self.finish(picture, tags, ours=True)

    def finish(self, picture: Pillow.Image, tags: Tags | None = None, *, ours: bool = False) -> Decoded:
        """What was decoded of a picture that is loaded; if it is ours, it is closed as soon as possible."""
        turn = orientation(picture, self.notes)
        if picture.mode not in WIDE:
            return self.with_pixels(picture, turn)
        found = wide_values(picture, self.data, self.notes)
        if ours:
            picture.close()
        if tags is not None:
            values = found.values.astype(tags.dtype, copy=False) if picture.mode == "I" else found.values
            found = tags.numbers(values)
        return self.developed(found, picture.mode, turn)

    def with_pixels(self, picture: Pillow.Image, turn: int) -> Decoded:
        """What was decoded of a picture of 8 bits; chosen bands are those of the file, opacity being one of them."""
        if self.reading.bands is not None and picture.mode in {"RGBA", "LA"}:
            pixels: Array = np.asarray(picture)
        else:
            pixels, more = to_srgb(picture)
            self.notes += more
            self.with_opacity = {"RGBA": 4, "LA": 2}.get(picture.mode, 0)
            if self.reading != WHOLE and picture.mode in {"L", "1"}:
                pixels = pixels[:, :, :1]  # the colours of grey are alike; the file has one band
        pixels = upright(pixels, turn)
        if self.reading == WHOLE:
            return self.decoded(pixels, picture.mode)
        found = choose(pixels, self.reading, self.name)
        return self.decoded(found.pixels, picture.mode, found)

    def developed(self, read: Numbers, mode: str, turn: int = 1) -> Decoded:
        """What was decoded of numbers (H, W, C); if 8 bits hold all of them, they are pixels."""
        values = _TURNS[turn](read.values) if turn in _TURNS else read.values
        if self.reading == WHOLE and is_plain(values) and not read.inverted:
            return self.decoded(as_plain(values), mode)
        found = measure(replace(read, values=values), self.reading, self.name)
        return self.decoded(found.pixels, mode, found)

    def keeps_depth(self, picture: ImageFile.ImageFile, others: int) -> bool:
        """Whether 16-bit colours are read at full depth; if they are not, it is noted."""
        fits = picture.width * picture.height * BYTES_PER_PIXEL + others <= MOST_MEMORY
        why = why_eight_bits(picture, fits=fits)
        self.notes += [] if why is None else [why]
        return why is None

    def deep(self, picture: ImageFile.ImageFile, opened: _Opener) -> Decoded:
        """What was decoded of 16-bit colours."""
        mode, key = picture.mode, picture.info.get("transparency")
        if self.kind == "PPM" and (read := values_of_ppm(self.data)):
            return self.developed(read, mode)
        if self.kind == "TIFF":
            orientation(picture, self.notes)  # Pillow rotates it when loading
        values = high_bytes(picture)
        turn = orientation(picture, self.notes)
        picture.close()
        add_low_bytes(values, opened())
        if self.reading.bands is None:
            self.with_opacity = values.shape[2] if values.shape[2] in (2, 4) else 0
            values = without_opacity(values, key, self.notes)
        return self.developed(as_numbers(values), mode, turn)

    def bands_of_tiff(self, tags: Tags) -> Decoded:
        """What was decoded of a TIFF that Pillow does not read in full.

        Raises:
            BadImageError: it is not decoded.
        """

        def check_size(size: tuple[int, int], sample: int, segment: int) -> None:
            sample += 0 if tags.missing is None or tags.sample_format == 3 else 4 if sample <= 2 else 8
            each = sample * (tags.samples + len(self.reading.bands or ())) + 3
            _check_size(self.name, size, len(self.data) + segment, each)

        try:
            page = read_page(self.data, tags, self.name, check_size, keep_alpha=self.reading.bands is not None)
        except NotDecodedError as error:
            return self.bands_by_pillow(tags, error)
        self.notes += [_first_alone("TIFF")] if page.several else []
        read = tags.numbers(page.values)
        if page.alpha is not None:
            white = white_of(page.values.dtype) if read.full is None else read.full[1]
            over_white(read.values, page.alpha, self.notes, white)
            read.full = (0.0, white)
            self.with_opacity = tags.samples
        if tags.orientation in _TURNS:
            self.notes.append(_turned(tags.orientation))
        return self.developed(read, f"{page.values.dtype.name} × {tags.samples}", tags.orientation)

    def bands_by_pillow(self, tags: Tags, error: NotDecodedError) -> Decoded:
        """The bands of an 8-bit TIFF that Pillow reads although ``error`` was raised: all four, or only the colours.

        Raises:
            NotDecodedError: ``error``, if there are none.
        """
        if (tags.bits[0], tags.sample_format) != (8, 1) or tags.photometric not in (1, 2):
            raise error
        try:
            picture = _PLUGINS["TIFF"](io.BytesIO(self.data))
            _check_size(self.name, picture.size, len(self.data), 8)
            picture.load()
        except KernelvizError:
            raise
        except Exception:  # noqa: BLE001 - Pillow does not read it either
            raise error from None
        values = np.asarray(picture)
        values = values.reshape(*values.shape[:2], -1)
        read = tags.samples if picture.mode == "RGBA" and tags.samples == 4 else tags.colours
        if self.reading.bands is not None and max(self.reading.bands) > read:
            raise error
        if read < tags.samples:
            why, hint = (f"{text[:1].lower()}{text[1:]}".rstrip(".") for text in (error.why, error.hint))
            self.notes.append(f"{read} of {tags.samples} bands were read: {why} ({hint})")
        return self.developed(Numbers(values[..., :read]), picture.mode)


class _Opener:
    """Opens a picture from its bytes, each time anew; of a PNG, only ``encoded`` is given to Pillow."""

    def __init__(self, kind: str | None, data: bytes) -> None:
        self.kind = cast("Format", kind)
        self.encoded, self.profile = _pixels_of_png(data) if kind == "PNG" else (data, None)

    def __call__(self) -> ImageFile.ImageFile:
        picture = _PLUGINS[self.kind](io.BytesIO(self.encoded))
        if self.profile is not None:
            picture.info["icc_profile"] = self.profile
        return picture


def _first_alone(kind: str | None) -> str:
    return f"only the first of several {'pages' if kind == 'TIFF' else 'frames'} was read"


def _undecoded(data: bytes, kind: Format, name: str, error: Exception) -> BadImageError:
    """The error of a picture whose decoder failed: of a complete TIFF of unknown kind, that it is not decoded."""
    tags = read_tags(data) if kind == "TIFF" else None
    if tags is not None and is_undecoded(tags, data, error):
        return why_undecoded(tags, name)
    return _damaged(name, kind, error)


def prepare_pixels(picture: Pillow.Image, name: str, reading: Reading = WHOLE) -> Decoded:
    """The upright pixels of a Pillow image.

    Raises:
        BadImageError: it is too large, damaged, or of an unknown colour mode.
    """
    with _quiet_pillow():
        _check_size(name, picture.size, 0, 7)
        try:
            picture.load()
            return _Decoding(name, reading, picture.format).finish(picture)
        except (KernelvizError, MemoryError):
            raise
        except Exception as error:  # a decoder may raise any exception for a damaged file
            raise _damaged(name, picture.format or "Pillow", error) from error


def orientation(picture: Pillow.Image, notes: list[str]) -> int:
    """The EXIF orientation, 1 to 8; problems are noted.

    Call it after loading: Pillow would load a PNG for its EXIF, and errors of that would seem to be errors of the EXIF.
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
        notes.append("its EXIF orientation is not one of 1 to 8 and was ignored")
    return 1


def upright(pixels: Array, turn: int) -> Array:
    """The pixels turned upright by the EXIF orientation, contiguous."""
    return np.ascontiguousarray(_TURNS[turn](pixels)) if turn in _TURNS else pixels


def _turned(value: int) -> str:
    return f"rotated upright (EXIF orientation {value})"


def _has_more_frames(picture: ImageFile.ImageFile, kind: Format, data: bytes) -> bool:
    """Whether there is a second frame or page; opens the data again, because GIF and TIFF readers are moved by it."""
    try:
        reader = _PLUGINS[kind](io.BytesIO(data)) if kind in {"GIF", "TIFF"} else picture
        return bool(getattr(reader, "is_animated", False))
    except Exception:  # noqa: BLE001 - a second frame that is damaged does not count
        return False


def _bring_within_bounds(picture: ImageFile.ImageFile, kind: Format, size: int, name: str) -> list[str]:
    """Check the memory that a picture takes; a large JPEG is decoded at half its size, a quarter or an eighth."""
    full = picture.size
    each = _BYTES.get(picture.mode, 4)
    decoder = 0
    if kind == "TIFF":
        decoder = each * (2 if picture.getexif().get(_ORIENTATION, 1) in _TURNS else 1)
    elif kind == "WEBP":
        decoder = 12
    elif kind == "JPEG" and picture.info.get("progressive"):
        size += full[0] * full[1] * 2 * len(picture.getbands())  # its coefficients are stored at full size
    bytes_a_pixel = max(decoder + each, each + 3, 6)
    if kind == "JPEG":
        for share in (2, 4, 8):
            if picture.size[0] * picture.size[1] * bytes_a_pixel + size <= MOST_MEMORY:
                break
            picture.draft(None, (-(-full[0] // share), -(-full[1] // share)))
    _check_size(name, picture.size, size, bytes_a_pixel)
    if picture.size == full:
        return []
    return [f"decoded at {picture.size[0]} × {picture.size[1]} instead of {full[0]} × {full[1]} pixels"]


def _check_size(name: str, size: tuple[int, int], others: int, bytes_a_pixel: int) -> None:
    width, height = size
    memory = width * height * bytes_a_pixel + others
    if memory > MOST_MEMORY:
        need, limit = f"{memory / 1e6:,.0f} MB", f"{MOST_MEMORY / 1e6:.0f} MB"
        why = f"Reading its {width} × {height} pixels takes {need}; the limit is {limit}."
        raise BadImageError(f"{name} is too large.", why, _SMALLER)
    if max(size) > LARGEST_ASPECT * min(size):
        why = f"It has {width} × {height} pixels; the limit of the aspect ratio is {LARGEST_ASPECT}."
        raise BadImageError(f"{name} is too long and thin.", why, "Crop it.")


def _pixels_of_png(data: bytes) -> tuple[bytes, bytes | None]:
    """A PNG reduced to the chunks on which its pixels depend, and its colour profile.

    Pillow refuses a picture for what is wrong with any other chunk: compressed text of more than a megabyte, for example.
    """
    parts, profile = [memoryview(data)[:8]], None
    walked = len(parts[0])
    for at, end in png_chunks(data):
        if end > len(data):
            break
        kind, content = data[at + 4 : at + 8], memoryview(data)[at + 8 : end - 4]
        keyword = bytes(content[:_LONGEST_KEYWORD]).partition(b"\0")[0]
        if kind == b"iCCP":
            profile = _inflate(content[len(keyword) + 2 :], MOST_PROFILE) or b"unusable"
        elif (
            kind[:1].isupper()
            or kind in _PNG_ANCILLARY
            or (kind in _PNG_TEXTS and keyword in _PNG_EXIF and _is_readable_text(kind, content, keyword))
        ):
            parts.append(memoryview(data)[at:end])
        walked = end
    kept = sum(map(len, parts)) + len(data) - walked
    return (data if kept == len(data) else b"".join([*parts, data[walked:]])), profile


def _is_readable_text(kind: bytes, content: memoryview, keyword: bytes) -> bool:
    """Whether Pillow reads a text: it is not compressed, or has at most a megabyte."""
    flag, rest = bytes(content[len(keyword) + 1 : len(keyword) + 2]), bytes(content[len(keyword) + 2 :])
    if kind == b"tEXt" or (kind == b"iTXt" and flag == b"\0"):
        return len(content) <= PngImagePlugin.MAX_TEXT_CHUNK
    if kind == b"iTXt":  # the method, the language and the translated keyword are before the text
        rest = rest[1:].split(b"\0", 2)[-1]
    elif flag != b"\0":
        return False
    return _inflate(rest, PngImagePlugin.MAX_TEXT_CHUNK) is not None


def _inflate(compressed: bytes | memoryview, most: int) -> bytes | None:
    """The decompressed bytes; None if there are more than ``most``, or if they are damaged."""
    stream = zlib.decompressobj()
    try:
        inflated = stream.decompress(compressed, most)
    except zlib.error:
        return None
    return None if stream.unconsumed_tail else inflated


def _webp_size(data: bytes) -> tuple[int, int]:
    """Width and height by the first chunk; (1, 1) without a size, which the decoder will reject.

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


def _damaged(name: str, kind: str, error: Exception) -> BadImageError:
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    return BadImageError(
        f"{name} is damaged or truncated.", f"The {kind} decoder reports: {reason}.", "Download or export it again."
    )


@contextmanager
def _quiet_pillow() -> Iterator[None]:
    """Silence the warnings of Pillow and have it reject truncated files, regardless of the caller's settings."""
    with no_warnings(), _quiet_libtiff():
        kept, ImageFile.LOAD_TRUNCATED_IMAGES = ImageFile.LOAD_TRUNCATED_IMAGES, False
        try:
            yield
        finally:
            ImageFile.LOAD_TRUNCATED_IMAGES = kept


logging.getLogger("PIL").addHandler(logging.NullHandler())  # else errors go to stderr where logging is not set up


@contextmanager
def _quiet_libtiff() -> Iterator[None]:
    """Silence libtiff, which Pillow links and which prints what is wrong with a file; where it cannot be found, nothing."""
    try:
        set_handler = ctypes.CDLL(sys.modules["PIL._imaging"].__file__).TIFFSetErrorHandler
    except (AttributeError, OSError):
        yield
        return
    set_handler.restype, set_handler.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
    kept = set_handler(None)
    try:
        yield
    finally:
        set_handler(kept)


SAMPLES = {"sample:grace_hopper": "grace_hopper.jpg"}
"""Sample photographs of matplotlib, by their names here."""

_STDIN = "standard input"


def read_image(
    source: object,
    *,
    name: str | None = None,
    range: Sequence[float] | None = None,  # noqa: A002  (as the option is called)
    bands: Sequence[int] | None = None,
) -> Image:
    """Read an image: upright, opaque, sRGB; its notes list the conversions.

    PNG, JPEG, WebP, BMP, GIF, TIFF, PPM and ``.npy`` are recognised by content; of several frames the first is read. The
    EXIF orientation is applied, and transparency is blended with white. A colour profile is converted to sRGB, an invalid
    one is ignored. A large JPEG is decoded at a smaller size. TIFFs that Pillow does not decode are read by tifffile
    (``kernelviz[tiff]``).

    Of images of more than 8 bits, or of other than one or three bands, ``values`` holds the numbers of the file, and
    ``pixels`` only shows them. Those that become 0 and 1 are in ``limits``: by default the ends of the scale of 16 bits;
    of signed integers and those of 32 bits and more their smallest and their largest; of floating-point numbers 0 and 1 if
    they are in it, 0 and 255 if they are in that and reach above half of it, give or take a tenth, else their smallest and
    their largest. Padding (the smallest and largest number of the type) does not count, and a few outliers (one in ten
    thousand at each end) move the range by a tenth at most. Only the bands that are read count: the first three, or those
    of a network; a file with as many bands as it has inputs, opacity included, is read as a whole.

    Args:
        source: A path or a URI such as ``s3://bucket/a.png`` (opened by fsspec), ``"-"`` (standard input),
            ``"sample:grace_hopper"`` (matplotlib's photograph), the bytes of a file,
            a binary file object, a Pillow image, or an array (H, W) or (H, W, C) of uint8, uint16, bool, or float in
            [0, 1]; with ``range``, of any real numbers. As in an ``.npy`` file, no band of it is
            opacity: give a Pillow image for that.
        name: Its name in pictures and messages; by default that of the file.
        range: The two numbers that become 0 and 1; what is beyond is clipped. A larger first one inverts the image.
        bands: The numbers of the bands to read, in their order, counted from 1; opacity is then a band like others.

    Raises:
        BadImageError: the file does not exist, or is not a supported image, damaged, truncated, or too large.
        UsageError: ``source`` is not one of these, or has no such band, or ``range`` is not two different numbers.

    Example:
        >>> image = kernelviz.read_image("sample:grace_hopper")
        >>> image.pixels.shape
        (600, 512, 3)
        >>> scan = kernelviz.read_image(np.linspace(-1000, 400, 64).reshape(8, 8), range=(-1000, 400))
        >>> scan.pixels[0, 0], scan.pixels[-1, -1]
        (array([0, 0, 0], dtype=uint8), array([255, 255, 255], dtype=uint8))
    """
    if isinstance(source, str | os.PathLike):
        return load_image(source, name=name).decode(range, bands)
    if isinstance(source, bytes | bytearray | memoryview):
        return _of_bytes(bytes(source), name or "image").decode(range, bands)
    reading = checked_reading(range, bands)
    if isinstance(source, Pillow.Image):
        name = name or _file_name(source) or "image"
        again = partial(prepare_pixels, source, name)
        return _in_memory(again(reading), name, again, reading)
    if hasattr(source, "read"):
        name = name or _file_name(source) or "image"
        return _of_bytes(_read_bounded(source, name), name).decode(range, bands)
    return _from_array(source, name or "image", reading)


@dataclass(frozen=True)
class EncodedImage:
    """The undecoded bytes of an image, which identify it."""

    data: bytes
    name: str
    stem: str
    path: str | None
    sha256: str

    def as_recipe(self) -> dict[str, Any]:
        """As ``Image.as_recipe``."""
        return {"name": self.name, "sha256": self.sha256}

    def decode(
        self,
        range: Sequence[float] | None = None,  # noqa: A002  (as for read_image)
        bands: Sequence[int] | None = None,
    ) -> Image:
        """The picture; ``range`` and ``bands`` as for ``read_image``.

        Raises:
            BadImageError: it is not a supported image, damaged, truncated, or too large.
            UsageError: it has no such band, or a choice is malformed.
        """
        reading = WHOLE if range is None and bands is None else checked_reading(range, bands)
        again = partial(decode, self.data, self.path or self.name)
        return _as_image(again(reading), (self.name, self.stem, self.path, self.sha256), again, reading)


def read_one_image(source: str, **reading: Any) -> Image:
    """As ``read_image``, for a command that takes one image and no folder: no error advises ``-r``.

    Raises:
        BadImageError, UsageError: as ``read_image``.
    """
    try:
        return read_image(source, **reading)
    except BadImageError as error:
        if error.hint in (_IN_FOLDER, _GIVE_IMAGE):
            error.hint = "Give one image, for example sample:grace_hopper."
        raise


def load_image(source: str | os.PathLike[str], *, name: str | None = None) -> EncodedImage:
    """Read the bytes of a file, an object, of standard input or of a sample, by the name as for ``read_image``.

    Raises:
        BadImageError: the file does not exist, cannot be read, or is too large.
    """
    path = resolved(source)
    if path == "-":
        return _of_bytes(_standard_input.read(), name or _STDIN, stem="stdin")
    if path in SAMPLES and not os.path.lexists(path):
        from matplotlib import cbook

        data = _read_file(str(cbook.get_sample_data(SAMPLES[path], asfileobj=False)))
        return _of_bytes(data, name or path, stem=Path(SAMPLES[path]).stem)
    return _of_bytes(_read_file(path), name or name_in(path), path=path)


def _of_bytes(data: bytes, name: str, *, stem: str | None = None, path: str | None = None) -> EncodedImage:
    if len(data) > MOST_BYTES:
        raise _too_many_bytes(path or name)
    return EncodedImage(data, name, stem or Path(name).stem, path, hashlib.sha256(data).hexdigest())


def _in_memory(found: Decoded, name: str, again: Again | None = None, reading: Reading = WHOLE) -> Image:
    """An image without a file."""
    held = found.pixels if found.found is None or found.found.values is None else found.found.values
    return _as_image(found, (name, Path(name).stem, None, _digest(held)), again, reading)


Again: TypeAlias = "Callable[[Reading], Decoded]"
"""Decodes the same picture once more."""


def _as_image(
    read: Decoded, identity: tuple[str, str, str | None, str], again: Again | None, reading: Reading
) -> Image:
    """What was decoded as an image of this name, stem, path and hash, which is read anew for networks of other inputs."""
    found, facts = read.found, (read.format, read.mode)
    if found is None:
        image = Image(read.pixels, *identity, *facts, read.notes)
    else:
        notes = (*read.notes, *found.notes)
        image = Image(read.pixels, *identity, *facts, notes, found.values, found.limits, found.bands)
        if found.values is not None and not read.with_opacity:
            return replace(image, reader=partial(_of_first, found.of_first, read.notes))
    if read.with_opacity and again is not None:
        return replace(image, reader=partial(_with_opacity, again, reading.limits, read.with_opacity))
    return image


def _of_first(
    of_first: Callable[[int], tuple[tuple[float, float], tuple[str, ...]]],
    notes: tuple[str, ...],
    image: Image,
    inputs: int,
) -> Image:
    """An image with the range and the notes of the bands that a network with so many inputs reads."""
    limits, more = of_first(len(image.bands_for(inputs)[0]))
    return replace(image, limits=limits, notes=(*notes, *more), reader=None)


def _with_opacity(again: Again, limits: tuple[float, float] | None, total: int, image: Image, inputs: int) -> Image:
    """An image with opacity as its last band, if a network has as many inputs as the file has bands."""
    if inputs != total:
        return image
    reading = Reading(limits, tuple(range(1, total + 1)))
    whole = _as_image(again(reading), (image.name, image.stem, image.path, image.sha256), None, reading)
    return replace(whole, notes=(*whole.notes, f"opacity is read as band {total}"), reader=None)


def _from_array(values: object, name: str, reading: Reading) -> Image:
    """Convert an array to an image; its type, never its range, determines what becomes 0 and 1."""
    if not hasattr(values, "__array__"):
        raise UsageError(
            f"An image must be a path, bytes, a file, a Pillow image or an array, but got {type(values).__name__}."
        )
    array = _as_it_is(values)
    if array.ndim not in (2, 3) or array.size == 0 or (array.ndim == 3 and not _has_channels_last(array, name)):
        what = f"An image array must be (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), but got {shape_text(array.shape)}."
        raise UsageError(what, hint="Convert (C, H, W) by `array.transpose(1, 2, 0)`.")
    if array.dtype.kind not in "biuf":
        raise UsageError(f"The values of an image array must be real numbers, but got {array.dtype}.")
    array = np.array(array[..., None] if array.ndim == 2 else array)
    full = None if reading.limits else _full_range(array)
    if array.dtype == np.uint8 and array.shape[2] in (1, 3):
        picture = Pillow.fromarray(array[..., 0] if array.shape[2] == 1 else array)
        return _in_memory(prepare_pixels(picture, name, reading), name)
    _check_size(name, (array.shape[1], array.shape[0]), 0, 7)
    return _in_memory(_Decoding(name, reading, None).developed(Numbers(array, full), array.dtype.name), name)


def _has_channels_last(array: Array, name: str) -> bool:
    """Whether the last axis of (H, W, C) counts channels: it has a usual length, or is clearly shorter than the others."""
    if array.shape[2] in (1, 3, 4):
        return True
    with suppress(BadImageError):
        return channels_last(array, name).shape == array.shape
    return False


def _as_it_is(values: Any) -> Any:
    """The values in their own type, which determines their meaning; as float32 if NumPy lacks the type."""
    try:
        return np.asarray(values.detach().cpu() if hasattr(values, "detach") else values)
    except (RuntimeError, TypeError, ValueError):
        return as_array(values)


def _full_range(array: Array) -> tuple[float, float] | None:
    """The numbers of an array that are black and white by its type; None for integers of 8 and 16 bits and booleans.

    Raises:
        UsageError: its type states no range.
    """
    kind = array.dtype
    if kind.kind == "b" or kind in (np.uint8, np.uint16):
        return None
    if kind.kind == "f" and bool(((array >= 0) & (array <= 1)).all()):
        return 0.0, 1.0
    raise UsageError(
        f"The values of an image array must be uint8, uint16, bool or float in [0, 1], but got {kind} "
        f"from {array.min()} to {array.max()}.",
        hint="Give range=(LO, HI): the numbers that become 0 and 1.",
    )


_IN_FOLDER = "Add -r for all images in it."
_GIVE_IMAGE = "Give an image, a folder with -r, or sample:grace_hopper."


def _read_file(path: str) -> bytes:
    """Read a regular file."""
    shown = path or "(an empty name)"
    try:
        with open_regular(path) as file:
            return _read_bounded(file, shown)
    except IsADirectoryError:
        raise BadImageError(f"{shown} is a directory.", hint=_IN_FOLDER) from None
    except SpecialFileError:
        hint = "Give an image, or `-` for standard input."
        raise BadImageError(f"{shown} is not a regular file.", hint=hint) from None
    except (FileNotFoundError, NotADirectoryError):
        raise BadImageError(f"There is no file {shown}.", hint=_GIVE_IMAGE) from None
    except (OSError, ValueError) as error:  # ValueError: a name with a zero byte
        raise _unreadable(shown, error) from None


class _StandardInput:
    """Standard input, whose bytes are kept: it can be read only once, but an image may be needed several times."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.stream: object = None
        self.data = b""

    def read(self) -> bytes:
        stream = getattr(sys.stdin, "buffer", None)
        with self.lock:
            if stream is not None and stream is self.stream:
                return self.data
            if stream is None or stream.closed or sys.stdin.isatty():
                raise BadImageError("There is no image on standard input.", hint="Pipe one in: `… - < photo.jpg`.")
            data = _read_bounded(stream, _STDIN)
            self.stream, self.data = stream, data
            return data


_standard_input = _StandardInput()


def _read_bounded(file: IO[bytes] | Any, name: str) -> bytes:
    """Read a file object to its end; it must return bytes, not too many."""
    try:
        data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise _unreadable(name, error) from error
    if not isinstance(data, bytes):
        raise UsageError("An image file must be opened in binary mode.", hint='Open it with mode "rb".')
    if len(data) > MOST_BYTES:
        raise _too_many_bytes(name)
    return data


def _unreadable(name: str, error: Exception) -> BadImageError:
    """The error of an image that cannot be read; of a URI, the reason is in the line that several images print."""
    why = f"{getattr(error, 'strerror', None) or error}."
    if isinstance(error, ValueError):  # NUL
        why = "The path contains an invalid character."
    if is_uri(name):
        return BadImageError(f"{name} cannot be read: {why}", hint="Give another image.")
    return BadImageError(f"{name} cannot be read.", why, "Give another image.")


def _too_many_bytes(name: str) -> BadImageError:
    why = f"It has more than {MOST_BYTES >> 20} MiB."
    return BadImageError(f"{name} is too large.", why, "Scale it down with an image editor.")


def _file_name(source: object) -> str:
    """The file name of a file object or a Pillow image; empty if there is none."""
    name = getattr(source, "filename", None) or getattr(source, "name", None)
    return Path(os.fsdecode(name)).name if isinstance(name, str | bytes | os.PathLike) else ""


def _digest(pixels: Array) -> str:
    """SHA-256 of shape and pixels, or values, for images without a file."""
    return hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).hexdigest()

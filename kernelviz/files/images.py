"""Read images from a file, standard input or memory: complete, upright, and with bounded memory.

The memory for an image is computed from its header before anything is decoded. Decoders are called by name, because
``PIL.Image.open`` would try others, some of which start programs, and has limits of its own.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal, TypeAlias

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
from kernelviz.files.srgb import to_srgb
from kernelviz.reading import SpecialFileError, open_regular
from kernelviz.records import Image, as_array, shape_text
from kernelviz.threads import no_warnings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kernelviz.records import Array


Format: TypeAlias = Literal["PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM"]

READ_FORMATS = "PNG, JPEG, WebP, BMP, GIF, TIFF and PPM"
SUFFIXES = frozenset(
    {".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".dib", ".gif", ".tif", ".tiff"}
    | {".ppm", ".pgm", ".pbm", ".pnm", ".pfm"}
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
_BYTES = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2}  # per pixel in Pillow; other modes take 4
_SMALLER = "Scale it down, or crop it."


def decode(data: bytes, name: str) -> tuple[Array, str, str, list[str]]:
    """Decode a picture to pixels, uint8 (H, W, 3), with its format, its mode, and notes of the conversions.

    Raises:
        BadImageError: its format is not supported, or it is damaged, truncated, or too large.
    """
    if not data:
        raise BadImageError(f"{name} is empty.", hint="Give an image.")
    kind = readable_format(data)
    if kind is None:
        what = f"{name} is not a supported image: it contains {other_format(data)}."
        raise BadImageError(what, f"Supported formats: {READ_FORMATS}.", "Convert it to PNG.")
    with _quiet_pillow():
        try:
            if kind == "WEBP":  # its decoder allocates all pixels when it is created
                _check_size(name, _webp_size(data), len(data), 16)
            picture = _PLUGINS[kind](io.BytesIO(data))
            notes = _bring_within_bounds(picture, kind, len(data), name)
            if _has_more_frames(picture, kind, data):
                notes.append(f"the first of several {'pages' if kind == 'TIFF' else 'frames'} alone")
            if _is_16_bit_colour(picture):
                notes.append("16-bit channels were reduced to 8 bits")
            if kind == "TIFF":
                orientation(picture, notes)  # Pillow rotates it when loading
            picture.load()
            mode, turn = picture.mode, orientation(picture, notes)
            pixels, more = to_srgb(picture)
            picture.close()
        except (KernelvizError, MemoryError):
            raise
        except Exception as error:  # a decoder may raise any exception for a damaged file
            raise _damaged(name, kind, error) from error
    return upright(pixels, turn), kind, mode, notes + more


def prepare_pixels(picture: Pillow.Image, name: str) -> tuple[Array, list[str]]:
    """The upright pixels of a Pillow image, and notes of the conversions.

    Raises:
        BadImageError: it is too large, damaged, or of an unknown colour mode.
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
        except Exception as error:  # a decoder may raise any exception for a damaged file
            raise _damaged(name, picture.format or "Pillow", error) from error
    return upright(pixels, turn), [*notes, *more]


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
    return f"turned upright (EXIF orientation {value})"


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
    return [f"decoded smaller: {full[0]}×{full[1]} pixels as {picture.size[0]}×{picture.size[1]}"]


def _check_size(name: str, size: tuple[int, int], others: int, bytes_a_pixel: int) -> None:
    width, height = size
    memory = width * height * bytes_a_pixel + others
    if memory > MOST_MEMORY:
        why = f"Reading its {width}×{height} pixels takes {memory / 1e6:,.0f} MB; the limit is {MOST_MEMORY / 1e6:.0f} MB."
        raise BadImageError(f"{name} is too large.", why, _SMALLER)
    if max(size) > LARGEST_ASPECT * min(size):
        why = f"It has {width}×{height} pixels; the limit of the aspect ratio is {LARGEST_ASPECT}."
        raise BadImageError(f"{name} is too long and thin.", why, "Crop it.")


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


def _is_16_bit_colour(picture: ImageFile.ImageFile) -> bool:
    """Whether the file has 16 bits per channel of which Pillow keeps eight."""
    args: Any = picture.tile[0].args if picture.tile else ()
    words = (args,) if isinstance(args, str) else args or ()
    return not picture.mode.startswith("I") and any(isinstance(word, str) and ";16" in word for word in words)


def _damaged(name: str, kind: str, error: Exception) -> BadImageError:
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    return BadImageError(
        f"{name} is damaged or truncated.", f"The {kind} decoder reports: {reason}.", "Download or export it again."
    )


@contextmanager
def _quiet_pillow() -> Iterator[None]:
    """Silence the warnings of Pillow and have it reject truncated files, regardless of the caller's settings."""
    with no_warnings():
        kept, ImageFile.LOAD_TRUNCATED_IMAGES = ImageFile.LOAD_TRUNCATED_IMAGES, False
        try:
            yield
        finally:
            ImageFile.LOAD_TRUNCATED_IMAGES = kept


SAMPLES = {"sample:grace_hopper": "grace_hopper.jpg"}
"""Sample photographs of matplotlib, by their names here."""

_STDIN = "standard input"


def read_image(source: object, *, name: str | None = None) -> Image:
    """Read an image: upright, opaque, sRGB, 8 bits; its notes list the conversions.

    PNG, JPEG, WebP, BMP, GIF, TIFF and PPM are recognised by content; of several frames the first is read. The EXIF
    orientation is applied, transparency is blended with white, 16-bit values are divided by 257, float values in [0, 1]
    multiplied by 255, others stretched. For 16-bit colours, and 16-bit grey with alpha, the decoder returns the upper eight
    bits, which may differ by one from the rounded quotient. A colour profile is converted to sRGB, an invalid one is
    ignored. A large JPEG is decoded at a smaller size.

    Args:
        source: A path, ``"-"`` (standard input), ``"sample:grace_hopper"`` (matplotlib's photograph), the bytes of a file,
            a binary file object, a Pillow image, or an array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) of uint8, uint16,
            bool, or float in [0, 1].
        name: Its name in pictures and messages; by default that of the file.

    Raises:
        BadImageError: the file does not exist, or is not a supported image, damaged, truncated, or too large.
        UsageError: ``source`` is not one of these.
    """
    if isinstance(source, str | os.PathLike):
        return load_image(source, name=name).decode()
    if isinstance(source, bytes | bytearray | memoryview):
        return _of_bytes(bytes(source), name or "image").decode()
    if isinstance(source, Pillow.Image):
        return _from_pillow(source, name or _file_name(source) or "image")
    if hasattr(source, "read"):
        name = name or _file_name(source) or "image"
        return _of_bytes(_read_bounded(source, name), name).decode()
    return _from_array(source, name or "image")


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

    def decode(self) -> Image:
        """The picture.

        Raises:
            BadImageError: it is not a supported image, damaged, truncated, or too large.
        """
        pixels, kind, mode, notes = decode(self.data, self.path or self.name)
        return Image(pixels, self.name, self.stem, self.path, self.sha256, kind, mode, tuple(notes))


def load_image(source: str | os.PathLike[str], *, name: str | None = None) -> EncodedImage:
    """Read the bytes of a file, of standard input or of a sample, by the name as for ``read_image``.

    Raises:
        BadImageError: the file does not exist, cannot be read, or is too large.
    """
    path = os.fsdecode(source)
    if path == "-":
        return _of_bytes(_standard_input.read(), name or _STDIN, stem="stdin")
    if path in SAMPLES and not os.path.lexists(path):
        from matplotlib import cbook

        data = _read_file(str(cbook.get_sample_data(SAMPLES[path], asfileobj=False)))
        return _of_bytes(data, name or path, stem=Path(SAMPLES[path]).stem)
    return _of_bytes(_read_file(path), name or Path(path).name, path=path)


def _of_bytes(data: bytes, name: str, *, stem: str | None = None, path: str | None = None) -> EncodedImage:
    if len(data) > MOST_BYTES:
        raise _too_many_bytes(path or name)
    return EncodedImage(data, name, stem or Path(name).stem, path, hashlib.sha256(data).hexdigest())


def _from_pillow(picture: Pillow.Image, name: str) -> Image:
    pixels, notes = prepare_pixels(picture, name)
    return Image(pixels, name, Path(name).stem, None, _digest(pixels), picture.format, picture.mode, tuple(notes))


def _from_array(values: object, name: str) -> Image:
    """Convert an array to an image; its type, never its range, determines the conversion to 8 bits."""
    if not hasattr(values, "__array__"):
        raise UsageError(
            f"An image must be a path, bytes, a file, a Pillow image or an array, but got {type(values).__name__}."
        )
    array = _as_it_is(values)
    if array.ndim not in (2, 3) or array.size == 0 or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)):
        what = f"An image array must be (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), but got {shape_text(array.shape)}."
        raise UsageError(what, hint="Convert (C, H, W) by `array.transpose(1, 2, 0)`.")
    levels, note = _as_levels(array)
    picture = Pillow.fromarray(levels[..., 0] if levels.ndim == 3 and levels.shape[2] == 1 else levels)
    pixels, notes = prepare_pixels(picture, name)
    return Image(pixels, name, Path(name).stem, None, _digest(pixels), None, picture.mode, (*note, *notes))


def _as_it_is(values: Any) -> Any:
    """The values in their own type, which determines their meaning; as float32 if NumPy lacks the type."""
    try:
        return np.asarray(values.detach().cpu() if hasattr(values, "detach") else values)
    except (RuntimeError, TypeError, ValueError):
        return as_array(values)


def _as_levels(array: Array) -> tuple[Array, tuple[str, ...]]:
    """Convert an array to uint8; also return notes of the conversion."""
    kind = array.dtype
    if kind == np.uint8:
        return np.ascontiguousarray(array), ()
    if kind == np.bool_:
        return array.astype(np.uint8) * np.uint8(255), ()
    if kind == np.uint16:
        return np.rint(array / 257).astype(np.uint8), ("16-bit values were divided by 257",)
    if kind.kind == "f" and bool(((array >= 0) & (array <= 1)).all()):
        return np.rint(array.astype(np.float64) * 255).astype(np.uint8), (
            "float values in [0, 1] were multiplied by 255",
        )
    raise UsageError(
        f"The values of an image array must be uint8, uint16, bool or float in [0, 1], but got {kind} "
        f"from {array.min()} to {array.max()}.",
        hint="Scale them, and convert them to uint8.",
    )


def _read_file(path: str) -> bytes:
    """Read a regular file."""
    shown = path or "(an empty name)"
    try:
        with open_regular(path) as file:
            return _read_bounded(file, shown)
    except IsADirectoryError:
        raise BadImageError(f"{shown} is a directory.", hint="Add -r for all images in it.") from None
    except SpecialFileError:
        hint = "Give an image, or `-` for standard input."
        raise BadImageError(f"{shown} is not a regular file.", hint=hint) from None
    except (FileNotFoundError, NotADirectoryError):
        hint = "Give an image, a folder with -r, or sample:grace_hopper."
        raise BadImageError(f"There is no file {shown}.", hint=hint) from None
    except (OSError, ValueError) as error:  # ValueError: a name with a zero byte
        why = getattr(error, "strerror", None) or str(error)
        raise BadImageError(f"{shown} cannot be read.", f"{why}.", "Give another image.") from None


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
        raise BadImageError(f"{name} cannot be read.", f"{error.strerror or error}.", "Give another image.") from error
    if not isinstance(data, bytes):
        raise UsageError("An image file must be opened in binary mode.", hint='Open it with mode "rb".')
    if len(data) > MOST_BYTES:
        raise _too_many_bytes(name)
    return data


def _too_many_bytes(name: str) -> BadImageError:
    why = f"It has more than {MOST_BYTES >> 20} MiB."
    return BadImageError(f"{name} is too large.", why, "Scale it down with an image editor.")


def _file_name(source: object) -> str:
    """The file name of a file object or a Pillow image; empty if there is none."""
    name = getattr(source, "filename", None) or getattr(source, "name", None)
    return Path(os.fsdecode(name)).name if isinstance(name, str | bytes | os.PathLike) else ""


def _digest(pixels: Array) -> str:
    """SHA-256 of shape and pixels, for images without a file."""
    return hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).hexdigest()

"""Images for a network, from a file, standard input or memory: decoded whole or not at all, upright, within bounds.

What a picture needs is worked out from its header before anything is decoded. The decoders are called by name and not by
``PIL.Image.open``, which would try others too, some of which start programs, and has limits of its own.
"""

from __future__ import annotations

import hashlib
import os
import stat
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from PIL import Image as Pillow

from kernelviz.errors import BadImageError, UsageError
from kernelviz.files.decoding import MOST_BYTES, decode, prepare_pixels
from kernelviz.records import Image, as_array, shape_text

if TYPE_CHECKING:
    from kernelviz.records import Array


SAMPLES = {"sample:grace_hopper": "grace_hopper.jpg"}
"""Photographs that matplotlib brings, by the names under which they are asked for."""

_STDIN = "standard input"


def read_image(source: object, *, name: str | None = None) -> Image:
    """Read a picture: upright, opaque, sRGB, 8 bits; what was done to it stands in its notes.

    Read are PNG, JPEG, WebP, BMP, GIF, TIFF and PPM, told by content, the first frame of several. EXIF's orientation is
    applied, transparent parts stand on white, 16-bit numbers are divided by 257, float numbers in [0, 1] multiplied by
    255, others stretched. Of 16-bit colours, and of 16-bit grey with alpha, the decoder gives the upper eight bits, which
    may differ by one from the rounded quotient. A colour profile is converted, or ignored where it is bad. A large JPEG is
    decoded smaller.

    Args:
        source: A path, ``"-"`` (standard input), ``"sample:grace_hopper"`` (matplotlib's photograph), the bytes of a file,
            a binary file object, a Pillow image, or an array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) of uint8, uint16,
            bool, or float in [0, 1].
        name: What it is called in pictures and messages; by default the file's name.

    Raises:
        BadImageError: there is no such file, it is no image that is read here, damaged, cut short, or too large.
        UsageError: ``source`` is nothing of the above.
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
class ImageFile:
    """The bytes of a picture that nothing was read of yet; they tell which picture it is."""

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
            BadImageError: it is no image that is read here, damaged, cut short, or too large.
        """
        pixels, kind, mode, notes = decode(self.data, self.path or self.name)
        return Image(pixels, self.name, self.stem, self.path, self.sha256, kind, mode, tuple(notes))


def load_image(source: str | os.PathLike[str], *, name: str | None = None) -> ImageFile:
    """The bytes of a file, of standard input or of a sample, as ``read_image`` takes their names.

    Raises:
        BadImageError: there is no such file, it cannot be read, or it is too large.
    """
    path = os.fsdecode(source)
    if path == "-":
        return _of_bytes(_read_stdin(), name or _STDIN, stem="stdin")
    if path in SAMPLES and not os.path.lexists(path):
        from matplotlib import cbook

        data = _read_file(str(cbook.get_sample_data(SAMPLES[path], asfileobj=False)))
        return _of_bytes(data, name or path, stem=Path(SAMPLES[path]).stem)
    return _of_bytes(_read_file(path), name or Path(path).name, path=path)


def _of_bytes(data: bytes, name: str, *, stem: str | None = None, path: str | None = None) -> ImageFile:
    if len(data) > MOST_BYTES:
        raise _too_many_bytes(path or name)
    return ImageFile(data, name, stem or Path(name).stem, path, hashlib.sha256(data).hexdigest())


def _from_pillow(picture: Pillow.Image, name: str) -> Image:
    pixels, notes = prepare_pixels(picture, name)
    return Image(pixels, name, Path(name).stem, None, _digest(pixels), picture.format, picture.mode, tuple(notes))


def _from_array(values: object, name: str) -> Image:
    """An array as a picture; its numbers are brought to 8 bits by its type and never by its range."""
    if not hasattr(values, "__array__"):
        raise UsageError(
            f"An image is a path, bytes, a file, a Pillow image or an array, but got {type(values).__name__}."
        )
    array = _as_it_is(values)
    if array.ndim not in (2, 3) or array.size == 0 or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)):
        what = f"An image array is (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), but got {shape_text(array.shape)}."
        raise UsageError(what, hint="An array (C, H, W) is turned by `array.transpose(1, 2, 0)`.")
    levels, note = _as_levels(array)
    picture = Pillow.fromarray(levels[..., 0] if levels.ndim == 3 and levels.shape[2] == 1 else levels)
    pixels, notes = prepare_pixels(picture, name)
    return Image(pixels, name, Path(name).stem, None, _digest(pixels), None, picture.mode, (*note, *notes))


def _as_it_is(values: Any) -> Any:
    """The values with their own type, which says what they mean; as 32 bits where NumPy has no such type."""
    try:
        return np.asarray(values.detach().cpu() if hasattr(values, "detach") else values)
    except (RuntimeError, TypeError, ValueError):
        return as_array(values)


def _as_levels(array: Array) -> tuple[Array, tuple[str, ...]]:
    """The array as uint8, and what was done to its numbers."""
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
        f"The numbers of an image array are uint8, uint16, bool or float in [0, 1], but got {kind} "
        f"from {array.min()} to {array.max()}.",
        hint="Scale them, and turn them into uint8.",
    )


def _read_file(path: str) -> bytes:
    """The bytes of a regular file: pipes and devices are never waited for."""
    shown = path or "(an empty name)"
    try:
        status = os.stat(path)  # noqa: PTH116  (a name may be no path that pathlib takes)
        if stat.S_ISDIR(status.st_mode):
            raise BadImageError(f"{shown} is a directory.", hint="Add -r for all images in it.")
        if not stat.S_ISREG(status.st_mode):
            raise BadImageError(f"{shown} is not a regular file.", hint="Give an image, or `-` for standard input.")
        with open(path, "rb") as file:  # noqa: PTH123
            return _read_bounded(file, shown)
    except (FileNotFoundError, NotADirectoryError):
        hint = "Give an image, a folder with -r, or sample:grace_hopper."
        raise BadImageError(f"There is no file {shown}.", hint=hint) from None
    except (OSError, ValueError) as error:  # a name with a zero byte is a ValueError
        why = getattr(error, "strerror", None) or str(error)
        raise BadImageError(f"{shown} cannot be read.", f"{why}.", "Give another image.") from None


def _read_stdin() -> bytes:
    stream = getattr(sys.stdin, "buffer", None)
    if stream is None or stream.closed or sys.stdin.isatty():
        raise BadImageError("No image comes from standard input.", hint="Pipe one in: `… - < photo.jpg`.")
    return _read_bounded(stream, _STDIN)


def _read_bounded(file: IO[bytes] | Any, name: str) -> bytes:
    """All that a file has, which must be neither text nor too much."""
    try:
        data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise BadImageError(f"{name} cannot be read.", f"{error.strerror or error}.", "Give another image.") from error
    if not isinstance(data, bytes):
        raise UsageError("An image's file must be opened for reading bytes.", hint='Open it with mode "rb".')
    if len(data) > MOST_BYTES:
        raise _too_many_bytes(name)
    return data


def _too_many_bytes(name: str) -> BadImageError:
    why = f"It has more than {MOST_BYTES >> 20} MiB."
    return BadImageError(f"{name} is too large.", why, "Make it smaller with an image editor.")


def _file_name(source: object) -> str:
    """The name of the file behind a file object or a Pillow image; empty where there is none."""
    name = getattr(source, "filename", None) or getattr(source, "name", None)
    return Path(os.fsdecode(name)).name if isinstance(name, str | bytes | os.PathLike) else ""


def _digest(pixels: Array) -> str:
    """SHA-256 of shape and pixels, for pictures that have no file."""
    return hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).hexdigest()

"""Encode pictures and arrays: equal values result in equal bytes, in every process and under any ``rcParams``.

The PNG encoder is made for mosaics, whose rows repeat in few colours: it takes half the time of Pillow, and files are
smaller, since every row has the filter that suits mosaics. The format is that of W3C's Portable Network Graphics
specification, third edition.
"""

from __future__ import annotations

import io
import math
import zipfile
from typing import TYPE_CHECKING, Any, Protocol, TypeGuard

import numpy as np
from zlib_ng import zlib_ng

from kernelviz.drawing.animations import ANIMATED, animation_bytes
from kernelviz.errors import UsageError
from kernelviz.files.names import file_stems, safe_part
from kernelviz.files.recipes import PNG_KEY, recipe_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from kernelviz.drawing.animations import Animation
    from kernelviz.drawing.figures import Figure
    from kernelviz.records import Array, Progress, Recipe


_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_RGB, _INDEXED = 2, 3
_NONE, _SUB, _UP = 0, 1, 2
_BAND = 1 << 20  # bytes filtered at once
_METRE = 1000 / 25.4  # inches
_STORED = 1 << 11  # bytes: deflating smaller maps saves a tenth at best, and a file occupies a block of 4 KB anyway


def png_bytes(pixels: Array, palette: Array | None, texts: dict[str, str], *, dpi: float | None = None) -> bytes:
    """Encode 8-bit pixels as PNG.

    Args:
        pixels: (H, W) indices into ``palette``, or (H, W, 3) RGB.
        palette: (n, 3), or None for RGB.
        texts: written as iTXt, before the pixels.
        dpi: pixels per inch, stored as whole pixels per metre (pHYs).

    Raises:
        ValueError: the arrays have another shape or type, or an index is not in the palette.
    """
    _check(pixels, palette)
    height, width = pixels.shape[:2]
    size = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    chunks = [_chunk(b"IHDR", size + bytes([8, _RGB if palette is None else _INDEXED, 0, 0, 0]))]
    chunks += [_chunk(b"iTXt", key.encode("latin-1") + bytes(5) + text.encode()) for key, text in texts.items()]
    if palette is not None:
        chunks.append(_chunk(b"PLTE", palette.tobytes()))
    if dpi is not None:
        chunks.append(_chunk(b"pHYs", round(dpi * _METRE).to_bytes(4, "big") * 2 + b"\x01"))
    # In a page of RGB more than zeros repeats: text and the colours of tiles.
    step, strategy = (3, zlib_ng.Z_DEFAULT_STRATEGY) if palette is None else (1, zlib_ng.Z_RLE)
    data = _packed(_filtered(np.ascontiguousarray(pixels).reshape(height, -1), step), strategy)
    return b"".join([_SIGNATURE, *chunks, _chunk(b"IDAT", data), _chunk(b"IEND", b"")])


def jpeg_bytes(pixels: Array) -> bytes:
    """Encode pixels uint8 (H, W, 3) as JPEG, for previews: values change a little."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=85, optimize=True)
    return buffer.getvalue()


def png_series(pixels: Array, palette: Array, key: str, texts: Iterable[str]) -> Iterator[bytes]:
    """Encode many small pictures of one size as PNG: common parts are made once, and small pictures are not deflated.

    Args:
        pixels: (n, H, W) indices into ``palette``, 8-bit.
        palette: (m, 3).
        key: the keyword of the iTXt before the pixels.
        texts: the text of each picture.

    Raises:
        ValueError: the arrays have another shape or type, or an index is not in the palette.
    """
    count, height, width = pixels.shape
    _check(pixels.reshape(count * height, width), palette)
    size = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    head = _SIGNATURE + _chunk(b"IHDR", size + bytes([8, _INDEXED, 0, 0, 0]))
    colours, end = _chunk(b"PLTE", palette.tobytes()), _chunk(b"IEND", b"")
    before = key.encode("latin-1") + bytes(5)
    small = height * (width + 1) <= _STORED
    rows = np.empty((count, height, width + 1), np.uint8)
    rows[:, :, 0], rows[:, 0, 1:] = _NONE if small else _UP, pixels[:, 0]
    rows[:, 1:, 1:] = pixels[:, 1:] if small else pixels[:, 1:] - pixels[:, :-1]
    for picture, text in zip(rows, texts, strict=True):
        data = zlib_ng.compress(picture.data, 0) if small else _packed([picture])
        yield b"".join((head, _chunk(b"iTXt", before + text.encode()), colours, _chunk(b"IDAT", data), end))


def _check(pixels: Array, palette: Array | None) -> None:
    """Check the arrays of a mosaic; wrong ones are a fault of the program, hence a plain ValueError."""
    colour_axis = (3,) if palette is None else ()
    if pixels.dtype != np.uint8 or pixels.size == 0 or pixels.ndim < 2 or pixels.shape[2:] != colour_axis:
        raise ValueError(f"The pixels must be 8-bit (H, W) or (H, W, 3), but they are {pixels.dtype} {pixels.shape}.")
    if palette is None:
        return
    if palette.dtype != np.uint8 or palette.shape[1:] != (3,) or not pixels.max() < len(palette) <= 256:
        raise ValueError(f"The palette must be 8-bit (n, 3) and hold every index, but it is {palette.shape}.")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return b"".join(
        [len(data).to_bytes(4, "big"), kind, data, zlib_ng.crc32(data, zlib_ng.crc32(kind)).to_bytes(4, "big")]
    )


def _packed(bands: Iterable[NDArray[np.uint8]], strategy: int = zlib_ng.Z_RLE) -> bytes:
    # Filtered mosaics are runs of zeros: run-length matching only is the fastest and the smallest, at any level.
    packer = zlib_ng.compressobj(2, zlib_ng.DEFLATED, zlib_ng.MAX_WBITS, 9, strategy)
    return b"".join([*(packer.compress(band.data) for band in bands), packer.flush()])


def _filtered(rows: NDArray[np.uint8], step: int) -> Iterator[NDArray[np.uint8]]:
    """Rows after the number of their filter: zeros for a row equal to the one above, else differences of pixels."""
    height, width = rows.shape
    for top in range(0, height, max(1, _BAND // width)):
        band = rows[top : top + max(1, _BAND // width)]
        first = 0 if top else 1  # the first row has none above
        new = np.ones(len(band), dtype=np.bool_)
        new[first:] = (band[first:] != rows[top + first - 1 : top + len(band) - 1]).any(axis=1)
        fresh = band[new]
        filtered = np.zeros((len(band), width + 1), dtype=np.uint8)
        filtered[:, 0] = np.where(new, _SUB, _UP)
        filtered[new, 1 : 1 + step] = fresh[:, :step]
        filtered[new, 1 + step :] = fresh[:, step:] - fresh[:, :-step]
        yield filtered


FORMATS = ("png", "svg", "pdf")


_FIRST_DATE = (1980, 1, 1, 0, 0, 0)  # the earliest date of a zip file


class Pixels(Protocol):
    """A picture as 8-bit pixels: (H, W) indices into a palette (n, 3), or (H, W, 3) RGB without palette."""

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """(H, W) or (H, W, 3)."""

    @property
    def palette(self) -> NDArray[np.uint8] | None:
        """(n, 3), or None for RGB."""

    @property
    def recipe(self) -> Recipe | None:
        """The recipe of the picture."""


def is_mosaic(picture: object) -> TypeGuard[Pixels]:
    """Whether a picture is pixels, not a figure."""
    return hasattr(picture, "pixels") and hasattr(picture, "palette")


def is_animation(picture: object) -> TypeGuard[Animation]:
    """Whether a picture is an animation."""
    return hasattr(picture, "pages") and hasattr(picture, "durations")


def formats_of(picture: object) -> tuple[str, ...]:
    """The formats in which a picture can be written."""
    return ANIMATED if is_animation(picture) else FORMATS


def encode_picture(picture: Pixels | Figure | Animation, file_format: str, progress: Progress | None = None) -> bytes:
    """Encode a picture as a file with its recipe.

    Args:
        picture: pixels (PNG only), or a matplotlib Figure, optionally with an attribute ``recipe``. A figure with a
            recipe is drawn under matplotlib's defaults, any other one under the caller's rcParams.
        file_format: ``png``, ``svg`` or ``pdf``; ``gif`` or ``webp`` for an Animation.
        progress: called for the frames of an Animation with a label, the number drawn, and the total.

    Raises:
        UsageError: the format is unknown or does not suit the picture, or it is not a picture.
    """
    formats = formats_of(picture)
    if file_format not in formats:
        raise UsageError(f"The format must be one of {', '.join(formats)}, but got {file_format!r}.")
    if is_animation(picture):
        recipe = picture.recipe

        def text(notes: Sequence[str]) -> bytes:
            found = {**recipe, "notes": [*recipe.get("notes", ()), *notes]} if notes else recipe
            return recipe_text(found).encode("ascii")

        return animation_bytes(picture, file_format, text, progress)
    if is_mosaic(picture):
        if file_format != "png":
            raise UsageError(
                f"A bare picture must be PNG, but got {file_format!r}.",
                "It consists of pixels.",
                "Plot it as a figure.",
            )
        return _mosaic_png(picture)
    from kernelviz.drawing.figures import checked_figure

    figure = checked_figure(picture)
    return _figure_png(figure) if file_format == "png" else _figure_vector(figure, file_format)


def frame_recipe(recipe: Recipe, frame: int) -> dict[str, Any]:
    """The recipe of one frame of an animation."""
    return {**recipe, "view": f"{recipe.get('view')}, frame {frame}"}


def frame_pngs(animation: Animation, progress: Progress | None = None) -> Iterator[bytes]:
    """Encode each frame of an animation as PNG, in the size of its page."""
    from kernelviz.drawing.animations import Film
    from kernelviz.drawing.figures import DPI

    film = Film(animation, progress, width=math.inf)
    for at in range(len(animation.pages)):
        texts = _png_texts(frame_recipe(animation.recipe, at), animation.alternative_of(at))
        yield png_bytes(film.frame(at), None, texts, dpi=DPI)


def npz_bytes(arrays: Mapping[str, Array], recipe: Recipe | None) -> bytes:
    """Encode arrays as ``numpy.savez`` does, without dates; ``numpy.load(allow_pickle=False)`` reads them.

    Keys are the names made safe as for files. The array ``names`` contains the original names in the order of the keys,
    ``recipe`` the recipe as JSON. Nothing is compressed: deflating weights takes sixty times as long and saves seven
    percent.

    Raises:
        UsageError: an array contains objects.
    """
    keys = _array_keys(list(arrays))
    entries = dict(zip(keys, arrays.values(), strict=True))
    entries["names"] = np.array(list(arrays), dtype=np.str_)
    if recipe is not None:
        entries["recipe"] = np.array(recipe_text(recipe))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for key, array in entries.items():
            values = np.asarray(array, order="C")
            if values.dtype.hasobject:
                raise UsageError(f"Arrays must hold numbers, but {key!r} holds objects.")
            info = zipfile.ZipInfo(f"{key}.npy", _FIRST_DATE)
            info.create_system = 3  # else it depends on the operating system
            with archive.open(info, "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, values, allow_pickle=False)
    return buffer.getvalue()


def _array_keys(names: list[str]) -> list[str]:
    """Distinct keys, also distinct from our own two, and without the ``.npy`` that NumPy would remove."""
    ours = ("names", "recipe")
    taken = {*ours, *(f"{key}.npy" for key in (*ours, *map(safe_part, names)))}
    return file_stems([(name,) for name in names], taken=taken)


def _mosaic_png(picture: Pixels) -> bytes:
    return png_bytes(picture.pixels, picture.palette, _png_texts(picture.recipe, getattr(picture, "alternative", ())))


def _png_texts(recipe: Recipe | None, alternative: Sequence[str]) -> dict[str, str]:
    """The recipe, and the text alternative under the keywords that the PNG specification registers for it."""
    texts = {} if recipe is None else {PNG_KEY: recipe_text(recipe)}
    return texts | ({"Title": alternative[0], "Description": "\n".join(alternative[1:])} if alternative else {})


def _figure_png(figure: Figure) -> bytes:
    from kernelviz.drawing.figures import alternative_of, figure_pixels, figure_recipe

    texts = _png_texts(figure_recipe(figure), alternative_of(figure))
    return png_bytes(figure_pixels(figure), None, texts, dpi=figure.dpi)


def _figure_vector(figure: Figure, file_format: str) -> bytes:
    """Encode as SVG or PDF, without dates."""
    from kernelviz.drawing.figures import figure_recipe, figure_vector

    recipe = figure_recipe(figure)
    field, undated = {"svg": ("Description", "Date"), "pdf": ("Keywords", "CreationDate")}[file_format]
    metadata: dict[str, Any] = {"Creator": "kernelviz", undated: None}
    if recipe is not None:
        metadata[field] = recipe_text(recipe)
    return figure_vector(figure, file_format, metadata)

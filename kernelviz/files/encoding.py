"""Pictures and arrays as bytes: the same values give the same bytes, in every process and under any ``rcParams``.

PNG are packed by our own writer, made for rows that repeat in few colours: half the time of Pillow, and smaller files,
since each row gets the one filter that suits a mosaic. The format is that of W3C's Portable Network Graphics
specification, third edition.
"""

from __future__ import annotations

import io
import zipfile
from typing import TYPE_CHECKING, Any, Protocol, TypeGuard

import numpy as np

from kernelviz.errors import UsageError
from kernelviz.files.animations import ANIMATED, animation_bytes, is_animation
from kernelviz.files.names import file_stems, safe_part
from kernelviz.files.png import png_bytes
from kernelviz.files.recipes import PNG_KEY, recipe_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from kernelviz.drawing.figures import Animation, Figure
    from kernelviz.records import Array, Progress, Recipe


FORMATS = ("png", "svg", "pdf")


_FIRST_DATE = (1980, 1, 1, 0, 0, 0)  # the first that a zip can tell


class Pixels(Protocol):
    """A picture as pixels: (H, W) indices into a palette (n, 3), or (H, W, 3) RGB with no palette; all 8-bit."""

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """(H, W) or (H, W, 3)."""

    @property
    def palette(self) -> NDArray[np.uint8] | None:
        """(n, 3), or None for RGB."""

    @property
    def recipe(self) -> Recipe | None:
        """How the picture was made."""


def is_mosaic(picture: object) -> TypeGuard[Pixels]:
    """Whether a picture is pixels, and no figure."""
    return hasattr(picture, "pixels") and hasattr(picture, "palette")


def formats_of(picture: object) -> tuple[str, ...]:
    """The formats that a picture can have."""
    return ANIMATED if is_animation(picture) else FORMATS


def encode_picture(picture: Pixels | Figure | Animation, file_format: str, progress: Progress | None = None) -> bytes:
    """A picture as the bytes of a file, with its recipe inside.

    Args:
        picture: pixels, which become PNG only, or a matplotlib Figure, perhaps with an attribute ``recipe``. A figure
            with a recipe is drawn under matplotlib's own defaults, any other one under the caller's rcParams.
        file_format: ``png``, ``svg`` or ``pdf``; of an Animation ``gif`` or ``webp``.
        progress: hears of the frames of an Animation as they are drawn: a label, how many are done, and of how many.

    Raises:
        UsageError: the format is none of these, or no format for this picture; or it is no picture.
    """
    formats = formats_of(picture)
    if file_format not in formats:
        raise UsageError(f"The format must be one of {', '.join(formats)}, but got {file_format!r}.")
    if is_animation(picture):
        return animation_bytes(picture, file_format, progress)
    if is_mosaic(picture):
        if file_format != "png":
            raise UsageError(
                f"A bare picture must be PNG, but got {file_format!r}.", "It is pixels only.", "Plot it as a figure."
            )
        return _mosaic_png(picture)
    from kernelviz.drawing.figures import checked_figure

    figure = checked_figure(picture)
    return _figure_png(figure) if file_format == "png" else _figure_vector(figure, file_format)


def npz_bytes(arrays: Mapping[str, Array], recipe: Recipe | None) -> bytes:
    """Arrays as ``numpy.savez`` would write them, without dates: ``numpy.load(allow_pickle=False)`` reads them.

    Each key is the array's name made safe like a file's name. The array ``names`` holds the true names in the order of
    the keys, and ``recipe`` the recipe's JSON. Nothing is compressed: weights are noise, and deflating them takes sixty
    times as long to save seven percent.

    Raises:
        UsageError: an array holds objects.
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
                raise UsageError(f"Arrays must hold numbers, but those of {key!r} hold objects.")
            info = zipfile.ZipInfo(f"{key}.npy", _FIRST_DATE)
            info.create_system = 3  # else it tells Windows from the rest
            with archive.open(info, "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, values, allow_pickle=False)
    return buffer.getvalue()


def _array_keys(names: list[str]) -> list[str]:
    """Keys that differ from one another, from our own two, and from any with the ``.npy`` that NumPy takes off."""
    ours = ("names", "recipe")
    taken = {*ours, *(f"{key}.npy" for key in (*ours, *map(safe_part, names)))}
    return file_stems([(name,) for name in names], taken=taken)


def _mosaic_png(picture: Pixels) -> bytes:
    return png_bytes(picture.pixels, picture.palette, _png_texts(picture.recipe))


def _png_texts(recipe: Recipe | None) -> dict[str, str]:
    return {} if recipe is None else {PNG_KEY: recipe_text(recipe)}


def _figure_png(figure: Figure) -> bytes:
    from kernelviz.drawing.figures import figure_pixels, figure_recipe

    return png_bytes(figure_pixels(figure), None, _png_texts(figure_recipe(figure)), dpi=figure.dpi)


def _figure_vector(figure: Figure, file_format: str) -> bytes:
    """SVG or PDF, with nothing in it that changes from day to day."""
    from kernelviz.drawing.figures import figure_recipe, figure_vector

    recipe = figure_recipe(figure)
    place, undated = {"svg": ("Description", "Date"), "pdf": ("Keywords", "CreationDate")}[file_format]
    metadata: dict[str, Any] = {"Creator": "kernelviz", undated: None}
    if recipe is not None:
        metadata[place] = recipe_text(recipe)
    return figure_vector(figure, file_format, metadata)

"""Small outlined tiles of kernels and filters, and the key to their colours, as items of a page."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from kernelviz.drawing.colour import INKS, OUTLINE, Scale, levels, ramp, rgb_pixels
from kernelviz.drawing.page import QUIET, Item, Raster, Rule, Text, text_width

if TYPE_CHECKING:
    from kernelviz.records import Array


EDGE = 2  # pixels of outline around a tile


def zoom_for(side: int, room: float) -> int:
    """How many pixels a value takes so that ``side`` of them fill about this room."""
    return max(1, round(room / side))


def stamp(values: Array, x: float, y: float, zoom: int) -> Raster:
    """A tile of (h, w) values in its own symmetric range, or of (3, h, w) as colour, with an outline, at (x, y)."""
    finite = np.where(np.isfinite(values), values, 0)
    limit = float(np.abs(finite).max(initial=0)) or 1.0
    scale = Scale("layer", -1.0, 1.0, signed=True)
    shares = finite / limit
    if values.ndim == 3:
        pixels = rgb_pixels(np.moveaxis(shares, 0, -1)[None], scale)[0]
    else:
        pixels = ramp(None, signed=True)[levels(shares[None], scale)[0]]
    return framed(np.repeat(np.repeat(pixels, zoom, axis=0), zoom, axis=1), x, y)


def framed(pixels: Array, x: float, y: float) -> Raster:
    """Pixels (H, W, 3), one page pixel each, with an outline."""
    height, width = pixels.shape[:2]
    result = np.empty((height + 2 * EDGE, width + 2 * EDGE, 3), np.uint8)
    result[:] = INKS[OUTLINE]
    result[EDGE:-EDGE, EDGE:-EDGE] = pixels
    return Raster(result, x, y, width + 2 * EDGE, height + 2 * EDGE)


def colour_key(
    right: float, y: float, size: float, words: tuple[str, str, str] = ("−max", "0", "+max"), width: float = 0
) -> list[Item]:
    """A colour bar that ends at ``right`` with a word at each end and one in the middle, below it."""
    width = width or 12 * size
    shares = np.linspace(-1, 1, int(width))[None]
    pixels = ramp(None, signed=True)[levels(shares[None], Scale("layer", -1.0, 1.0, signed=True))[0]]
    left, foot = right - width, y + 0.6 * size
    items: list[Item] = [Raster(pixels, left, y, width, 0.6 * size)]
    half = width / 2 - text_width(words[1], size) / 2 - 0.4 * size
    inner = max(text_width(words[0], size), text_width(words[2], size)) < half
    for share, word, align in ((0.0, words[0], "left"), (0.5, words[1], "center"), (1.0, words[2], "right")):
        at = left + share * width
        items.append(Rule(at, foot, at, foot + 6, QUIET))
        if inner or share != 0.5:
            items.append(Text(at, foot + 12 + 0.8 * size, word, size, QUIET, align=align))  # type: ignore[arg-type]
    return items

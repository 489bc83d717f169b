"""One kernel as a tile of a page: its colours, an outline, and the marks of tiles that are irregular."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from kernelviz.drawing import colour
from kernelviz.drawing.mosaic import STRUCK, chequer
from kernelviz.drawing.page import OUTLINE, Raster, Strokes, outline

if TYPE_CHECKING:
    from kernelviz.drawing.colour import Content, Scale
    from kernelviz.drawing.page import Item
    from kernelviz.records import Array


def kernel_tile(
    values: Array, scale: Scale, at: tuple[float, float], zoom: int, *, filled: int | None = None
) -> list[Item]:
    """A kernel (h, w), or (h, w, 3) of colour, at (x, y), each value ``zoom`` by ``zoom`` pixels.

    Values that are not finite are chequered, and their tile has a frame. A tile that is as good as zero on its scale is
    struck through. Of values along the rows only the first ``filled`` are drawn, if given.
    """
    x, y = at
    rows, columns = values.shape[:2]
    tall, wide = rows * zoom, columns * zoom
    finite = np.asarray(np.isfinite(values) if values.ndim == 2 else np.isfinite(values).all(axis=-1))
    items: list[Item] = [Raster(_content(values, scale, finite, zoom, filled), x, y, wide, tall)]
    if not finite.all():
        return [*items, outline(x - 1, y - 1, wide + 2, tall + 2, colour="not finite", line=4.0)]
    largest = float(np.abs(values).max(initial=0.0))
    limit = float(colour.tile_limits(values[None], scale).reshape(-1)[0])
    if largest <= colour.GOOD_AS_ZERO * limit and min(tall, wide) >= STRUCK:
        items.append(Strokes(((x, y + tall, x + wide, y),), "quiet", 1.5))
    return [*items, outline(x, y, wide, tall, colour=OUTLINE)]


def _content(values: Array, scale: Scale, finite: Array, zoom: int, filled: int | None) -> Content:
    """The pixels of a tile: one per value, ``zoom`` by ``zoom`` if some of the values are chequered."""
    coloured = values.ndim == 3
    drawn = (colour.rgb_pixels if coloured else colour.levels)(values[None], scale)[0]
    cells = np.arange(values.shape[0]), np.arange(values.shape[1])
    if filled is not None and not coloured:
        drawn.reshape(-1)[filled:] = colour.PAPER
    if not finite.all():
        drawn, lost = (np.repeat(np.repeat(each, zoom, 0), zoom, 1) for each in (drawn, ~finite))
        cells = np.repeat(cells[0], zoom), np.repeat(cells[1], zoom)
        table = colour.palette(None, signed=scale.signed)
        inks = table if coloured else np.arange(len(table), dtype=np.uint8)
        chequer(drawn, lost, inks, max(1, min(4, zoom // 4)))
    return drawn if coloured else colour.Indexed(drawn, colour.Ramp(None, scale.signed), cells)

"""One kernel as a tile of a page, or its planes side by side: colours, an outline, and the marks of irregular tiles."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from kernelviz.drawing import colour
from kernelviz.drawing.mosaic import STRUCK, chequer, strike
from kernelviz.drawing.page import OUTLINE, Raster, outline

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
    if not finite.all():
        content = _content(values, scale, finite, zoom, filled)
        return [
            Raster(content, x, y, wide, tall),
            outline(x - 1, y - 1, wide + 2, tall + 2, colour="not finite", line=4.0),
        ]
    largest = float(np.abs(values).max(initial=0.0))
    limit = float(colour.tile_limits(values[None], scale).reshape(-1)[0])
    struck = largest <= colour.GOOD_AS_ZERO * limit and min(tall, wide) >= STRUCK
    content = _content(values, scale, finite, zoom, filled, struck=struck)
    return [Raster(content, x, y, wide, tall), outline(x, y, wide, tall, colour=OUTLINE)]


def _content(
    values: Array, scale: Scale, finite: Array, zoom: int, filled: int | None, *, struck: bool = False
) -> Content:
    """The pixels of a tile: one per value, ``zoom`` by ``zoom`` if some are chequered or the tile is struck through."""
    coloured = values.ndim == 3
    drawn = (colour.rgb_pixels if coloured else colour.levels)(values[None], scale)[0]
    cells = np.arange(values.shape[0]), np.arange(values.shape[1])
    if filled is not None and not coloured:
        drawn.reshape(-1)[filled:] = colour.PAPER
    if struck or not finite.all():
        ground = drawn[0, 0].copy()
        drawn, lost = (np.repeat(np.repeat(each, zoom, 0), zoom, 1) for each in (drawn, ~finite))
        cells = np.repeat(cells[0], zoom), np.repeat(cells[1], zoom)
        chequer(drawn, lost, _inks(scale, coloured=coloured), max(1, min(4, zoom // 4)))
        if struck:
            _strike(drawn, ground, scale)
    return drawn if coloured else colour.Indexed(drawn, colour.Ramp(None, scale.signed), cells)


def _inks(scale: Scale, *, coloured: bool) -> Array:
    """The colours of marks, by their index: as they are, or in a picture of levels the index itself."""
    table = colour.palette(None, signed=scale.signed)
    return table if coloured else np.arange(len(table), dtype=np.uint8)


def _strike(pixels: Array, ground: Array, scale: Scale) -> None:
    """Strike a tile through, in a colour that is visible on its ``ground``: a colour, or the index of one."""
    coloured = pixels.ndim == 3
    under = ground if coloured else colour.palette(None, signed=scale.signed)[ground]
    strike(pixels, (0, 0, *pixels.shape[:2]), _inks(scale, coloured=coloured)[colour.mark_on(under)])


def planes_tile(
    planes: Array,
    scale: Scale,
    at: tuple[float, float],
    zoom: tuple[int, int],
    *,
    gap: int = 0,
    zero: bool = False,
    broken: bool = False,
) -> list[Item]:
    """The planes (n, h, w) of a kernel side by side, or one plane (1, h, w, 3) of colour, at (x, y).

    Each value is ``zoom`` pixels down and across, with ``gap`` pixels of paper between the planes. Values that are not
    finite are chequered. A kernel that is as good as ``zero`` is struck through, a ``broken`` one has a frame.
    """
    content = _planes_content(planes, scale, zoom, gap, zero=zero)
    rows, columns = planes.shape[1:3]
    tall, wide = rows * zoom[0], len(planes) * columns * zoom[1] + (len(planes) - 1) * gap
    style = {"colour": "not finite", "line": 4.0} if broken else {"colour": OUTLINE}
    return [Raster(content, *at, wide, tall), outline(*at, wide, tall, **style)]


def _planes_content(planes: Array, scale: Scale, zoom: tuple[int, int], gap: int, *, zero: bool) -> Content:
    """The pixels of a tile: the colours of one plane, or levels of planes side by side."""
    down, across = zoom
    coloured = planes.ndim == 4
    inks = _inks(scale, coloured=coloured)
    if coloured:
        drawn, lost = colour.rgb_pixels(planes[0], scale), ~np.isfinite(planes[0]).all(axis=-1)
    else:
        drawn, lost = (np.concatenate([*each], axis=1) for each in (colour.levels(planes, scale), ~np.isfinite(planes)))
    pixels, lost = (np.repeat(np.repeat(each, down, axis=0), across, axis=1) for each in (drawn, lost))
    cells = np.repeat(np.arange(drawn.shape[1]), across)
    chequer(pixels, lost, inks, max(2, min(8, min(zoom) // 3)))
    if zero and min(pixels.shape[:2]) >= STRUCK:
        _strike(pixels, drawn[0, 0], scale)
    if coloured:
        return np.asarray(pixels)
    if gap and len(planes) > 1:
        pixels, cells = _spaced(pixels, cells, planes.shape[2] * across, gap)
    rows = np.repeat(np.arange(len(drawn)), down)
    return colour.Indexed(pixels, colour.Ramp(None, signed=scale.signed), (rows, cells))


def _spaced(pixels: Array, cells: Array, wide: int, gap: int) -> tuple[Array, Array]:
    """Planes of this width with paper between them, and the numbers of the cells, negative in the gaps."""
    starts = range(0, pixels.shape[1], wide)
    paper = np.full((len(pixels), gap), colour.PAPER, np.uint8)
    parts = [part for start in starts for part in (pixels[:, start : start + wide], paper)][:-1]
    numbers = [part for start in starts for part in (cells[start : start + wide], np.full(gap, -1))][:-1]
    return np.concatenate(parts, axis=1), np.concatenate(numbers)

"""A sheet or a set of channels becomes pixels: palette indices, or RGB where the view is ``rgb``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kernelviz.drawing import colour
from kernelviz.drawing.sheets import map_facts, picture_facts
from kernelviz.errors import UsageError
from kernelviz.notebook import record_repr
from kernelviz.records import as_maps, check_positive
from kernelviz.views.map_views import map_tiles
from kernelviz.wording import visible

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kernelviz.drawing.colour import Scale, ScaleChoice
    from kernelviz.drawing.sheets import Grid, Sheet
    from kernelviz.records import Array, Recipe


STRUCK = 24  # pixels; on a smaller dead tile a diagonal looks like a pattern, and grey is clear enough


@dataclass(frozen=True)
class Mosaic:
    """A sheet as pixels.

    ``pixels`` is uint8: (H, W) indices into ``palette`` (n, 3), or (H, W, 3) RGB, then ``palette`` is None.
    ``alternative`` is the text alternative: a title, and the paragraphs of a description.
    """

    pixels: Array
    palette: Array | None
    recipe: Recipe | None = None
    alternative: tuple[str, ...] = ()

    __repr__ = record_repr

    @property
    def rgb(self) -> Array:
        """The pixels as (H, W, 3) uint8."""
        return self.pixels if self.palette is None else np.take(self.palette, self.pixels, axis=0)


def make_mosaic(sheet: Sheet) -> Mosaic:
    """The pixels of a sheet: each value a whole number of pixels, outlines in the gaps, marks on irregular tiles."""
    values, grid = sheet.tiles.values, sheet.grid
    in_colour = values.ndim == 4
    table = colour.palette(None if in_colour else sheet.colours, signed=sheet.tiles.signed)
    finite = np.isfinite(values)
    broken = np.asarray(~(finite.all(axis=-1) if in_colour else finite))
    drawn = colour.rgb_pixels(values, sheet.scale) if in_colour else colour.levels(values, sheet.scale)
    if sheet.marks.dead:
        drawn[list(sheet.marks.dead)] = colour.DEAD
    colours = table if in_colour else np.arange(len(table), dtype=np.uint8)
    pixels = _compose(drawn, grid, colours[colour.PAPER], colours[colour.OUTLINE])
    if broken.any():
        where = _compose(broken.astype(np.uint8), grid, np.zeros((), np.uint8), np.zeros((), np.uint8)).astype(bool)
        chequer(pixels, where, colours, max(1, min(4, grid.zoom[1] // 4)))
    _blank_empty(pixels, grid, colours[colour.PAPER])
    _mark(pixels, sheet, table, colours)
    alternative = tuple(map(visible, (sheet.title, sheet.identity, *sheet.caption)))
    return Mosaic(pixels, None if in_colour else table, sheet.recipe, alternative)


def _compose(drawn: Array, grid: Grid, paper: Array, outline: Array) -> Array:
    """Place tiles (n, h, w[, 3]) by two look-ups: one along the columns, one along the rows."""
    rows, columns = grid.arrangement.shape
    height, width = drawn.shape[1:3]
    table = drawn[np.maximum(grid.arrangement, 0)]
    flat = table.swapaxes(1, 2).reshape(rows * height, columns * width, *drawn.shape[3:])
    source = np.empty((rows * height + 2, columns * width + 2, *drawn.shape[3:]), np.uint8)
    source[:-2, :-2] = flat
    source[-2], source[:, -2] = outline, outline
    source[-1], source[:, -1] = paper, paper
    down = _sources(grid.tops, height, grid.zoom[0], grid.height)
    across = _sources(grid.lefts, width, grid.zoom[1], grid.width)
    return np.take(np.take(source, across, axis=1), down, axis=0)


def _sources(starts: Array, size: int, zoom: int, length: int) -> Array:
    """For each pixel along one side the row it shows: a value's, else −2 for outline, −1 for paper."""
    result = np.full(length, -1)
    extent = size * zoom
    result[np.maximum(starts - 1, 0)] = -2
    result[np.minimum(starts + extent, length - 1)] = -2
    inside = starts[:, None] + np.arange(extent)
    result[inside] = np.arange(len(starts))[:, None] * size + np.arange(extent) // zoom
    return result


def _blank_empty(pixels: Array, grid: Grid, paper: Array) -> None:
    for row, column in np.argwhere(grid.arrangement < 0):
        top, left, bottom, right = _box(grid, row, column)
        pixels[top - 1 : bottom + 1, left - 1 : right + 1] = paper


def _box(grid: Grid, row: int, column: int) -> tuple[int, int, int, int]:
    top, left = int(grid.tops[row]), int(grid.lefts[column])
    return top, left, top + grid.tile[0] * grid.zoom[0], left + grid.tile[1] * grid.zoom[1]


def chequer(pixels: Array, where: Array, colours: Array, cell: int) -> None:
    """Paint dark and light cells over the pixels (H, W[, 3]) of a mask (H, W); ``colours`` are indexed as INKS."""
    rows, columns = np.nonzero(where)
    dark = (rows // cell + columns // cell) % 2 == 0
    pixels[rows[dark], columns[dark]] = colours[colour.CHEQUER_DARK]
    pixels[rows[~dark], columns[~dark]] = colours[colour.CHEQUER_LIGHT]


def _mark(pixels: Array, sheet: Sheet, table: Array, colours: Array) -> None:
    """A diagonal through tiles that are as good as zero, a black frame around those with broken values."""
    grid = sheet.grid
    if sheet.tiles.layout == "heatmap":
        return
    cells = {int(tile): divmod(cell, grid.arrangement.shape[1]) for cell, tile in enumerate(grid.arrangement.flat)}
    large = min(grid.tile[0] * grid.zoom[0], grid.tile[1] * grid.zoom[1]) >= STRUCK
    for tile in (*sheet.marks.zero, *(sheet.marks.dead if large else ())):
        if tile in cells:
            box = _box(grid, *cells[tile])
            ground = pixels[box[0], box[1]]
            strike(pixels, box, colours[colour.mark_on(ground if pixels.ndim == 3 else table[ground])])
    for tile in sheet.marks.broken:
        if tile in cells:
            _frame(pixels, _box(grid, *cells[tile]), grid.pad, colours[colour.NOT_FINITE])


def strike(pixels: Array, box: tuple[int, int, int, int], shade: Array) -> None:
    """Draw a diagonal, upwards to the right, through a box (top, left, bottom, right) of pixels."""
    top, left, bottom, right = box
    length = max(bottom - top, right - left)
    steps = (np.arange(length) + 0.5) / length
    rows = bottom - 1 - np.floor(steps * (bottom - top)).astype(int)
    pixels[rows, left + np.floor(steps * (right - left)).astype(int)] = shade


def _frame(pixels: Array, box: tuple[int, int, int, int], thick: int, shade: Array) -> None:
    top, left, bottom, right = box
    outer = np.s_[top - thick : bottom + thick, left - thick : right + thick]
    inside = pixels[top:bottom, left:right].copy()
    pixels[outer] = shade
    pixels[top:bottom, left:right] = inside


LARGEST_SIDE = 1 << 14


@dataclass(frozen=True)
class Singles:
    """Channels of one layer as pictures.

    ``levels`` is uint8 (n, H, W), indices into ``palette``; picture i is of channel ``numbers[i]``, and its colours go from
    ``limits[i, 0]`` to ``limits[i, 1]``. Each value becomes ``zoom`` by ``zoom`` pixels. Values that are not finite are
    black; a map with one value everywhere is grey if each map has its own range.
    """

    levels: Array
    palette: Array
    numbers: tuple[int, ...]
    limits: Array
    scale: Scale
    zoom: int
    nonfinite: int
    recipe: Recipe

    __repr__ = record_repr


def make_singles(
    maps: object,
    *,
    channels: str | Sequence[int] | None = None,
    top: int | None = None,
    sort: str | None = None,
    scale: ScaleChoice | None = None,
    cmap: str | None = None,
    zoom: int = 1,
) -> Singles:
    """A picture for each chosen channel of feature maps (C, H, W), at their own resolution times ``zoom``.

    Raises:
        UsageError: A choice does not fit the maps, or a picture is too large.
    """
    subject = as_maps(maps)
    tiles = map_tiles(subject, channels=channels, top=top, sort=sort)
    found = colour.make_scale(tiles, scale)
    check_positive("zoom", zoom)
    if zoom * max(tiles.values.shape[1:]) > LARGEST_SIDE:
        raise UsageError(f"A map at zoom {zoom} is too large for a picture.", hint="Choose a smaller --zoom.")
    levels = colour.levels(tiles.values, found)
    flat = tiles.values.reshape(len(tiles.values), -1)
    finite = np.isfinite(tiles.values)
    levels[~finite] = colour.NOT_FINITE
    dead = (flat == flat[:, :1]).all(axis=1) & (flat.shape[1] > 1)
    if found.kind == "tile":
        levels[dead] = colour.DEAD
    ends = colour.tile_limits(tiles.values, found).reshape(-1)
    own = np.stack([-ends if tiles.signed else np.zeros_like(ends), ends], axis=1)
    limits = own if found.kind == "tile" else np.tile([found.low, found.high], (len(ends), 1))
    facts = picture_facts(tiles, found, None, cmap)
    return Singles(
        levels=levels,
        palette=colour.palette(colour.colours_of(tiles, cmap), signed=tiles.signed),
        numbers=tiles.numbers,
        limits=limits,
        scale=found,
        zoom=zoom,
        nonfinite=int(finite.size - np.count_nonzero(finite)),
        recipe={**map_facts(subject), **facts, "view": "single", "zoom": zoom},
    )

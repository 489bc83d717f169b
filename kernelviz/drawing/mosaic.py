"""A sheet or a set of channels becomes pixels: palette indices, or RGB for the views ``rgb`` and ``pca``."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from kernelviz.drawing import colour
from kernelviz.drawing.colour import ColourTiles, Indexed, Ramp
from kernelviz.drawing.looks import LOOKS, find_look
from kernelviz.drawing.sheets import map_facts, picture_facts
from kernelviz.errors import UsageError
from kernelviz.notebook import record_repr
from kernelviz.records import as_maps, check_positive
from kernelviz.views.kernel_views import rgb_weights
from kernelviz.views.map_views import map_tiles
from kernelviz.wording import visible

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kernelviz.drawing.colour import Content, Scale, ScaleChoice
    from kernelviz.drawing.looks import Look, LookName
    from kernelviz.drawing.sheets import Grid, Sheet
    from kernelviz.records import Array, Recipe, Tiles


STRUCK = 24  # pixels; on a smaller dead tile a diagonal looks like a pattern, and grey is clear enough


@dataclass(frozen=True)
class Mosaic:
    """A sheet as pixels.

    ``pixels`` is uint8: (H, W) indices into ``palette`` (n, 3), or (H, W, 3) RGB, then ``palette`` is None.
    ``alternative`` is the text alternative: a title, and the paragraphs of a description.

    Example:
        >>> mosaic = kernelviz.make_mosaic(kernelviz.make_sheet(torch.nn.Conv2d(3, 16, 5).weight, style="bare"))
        >>> mosaic.rgb.dtype
        dtype('uint8')
        >>> mosaic.alternative[0]
        'Kernels, as RGB'
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


def make_mosaic(sheet: Sheet, *, look: LookName = "page") -> Mosaic:
    """The pixels of a sheet: each value a whole number of pixels, outlines in the gaps, marks on irregular tiles.

    ``look`` is ``page``, ``dark`` or ``print``.

    Example:
        >>> sheet = kernelviz.make_sheet(torch.nn.Conv2d(3, 16, 5).weight, style="bare", columns=4, zoom=2)
        >>> kernelviz.make_mosaic(sheet).rgb.shape
        (48, 48, 3)
    """
    values = sheet.tiles.values
    in_colour = values.ndim == 4
    table = colour.palette(None if in_colour else sheet.colours, signed=sheet.tiles.signed)
    finite = np.isfinite(values)
    if sheet.tiles.pictures:
        drawn, broken = _pictures(sheet.tiles, sheet.scale)
    else:
        broken = np.asarray(~(finite.all(axis=-1) if in_colour else finite))
        volumes = sheet.tiles.as_volumes
        if in_colour:
            drawn = colour.rgb_pixels(values, sheet.scale)
        elif volumes is None:
            drawn = colour.levels(values, sheet.scale)
        else:  # the slices of a map have one range
            drawn = colour.levels(volumes, sheet.scale).swapaxes(0, 1).reshape(values.shape)
    alternative = tuple(map(visible, (sheet.title, sheet.identity, *sheet.caption)))
    pixels = _painted(sheet, drawn, broken, table)
    mosaic = Mosaic(pixels, None if in_colour else table, sheet.recipe, alternative)
    return mosaic if look == "page" else _in_look(sheet, mosaic, find_look(look))


def _painted(sheet: Sheet, drawn: Array, broken: Array, table: Array) -> Array:
    """The mosaic of drawn tiles, of indices of ``table`` or of colours, with marks on those that are irregular."""
    grid, values = sheet.grid, sheet.tiles.values
    if sheet.marks.dead:
        for first in range(0, len(drawn), len(values)):  # of the tiles in each picture
            drawn[first + np.array(sheet.marks.dead)] = colour.DEAD
    colours = table if drawn.ndim == 4 else np.arange(len(table), dtype=np.uint8)
    pixels = _compose(drawn, grid, colours[colour.PAPER], colours[colour.OUTLINE])
    if broken.any():
        where = _compose(broken.astype(np.uint8), grid, np.zeros((), np.uint8), np.zeros((), np.uint8)).astype(bool)
        chequer(pixels, where, colours, max(1, min(4, grid.zoom[1] // 4)))
    _blank_empty(pixels, grid, colours[colour.PAPER])
    _mark(pixels, sheet, table, colours)
    return pixels


def _in_look(sheet: Sheet, mosaic: Mosaic, look: Look) -> Mosaic:
    """The mosaic in the colours of another look; with textures its palette is one of greys."""
    content, recipe = content_of(sheet, mosaic), {**sheet.recipe, **look.as_recipe()}
    if look.textured:
        pixels = colour.textured_pixels(look, content, content.shape[:2], (0, 0), 1.0)
        return Mosaic(np.ascontiguousarray(pixels[..., 0]), colour.greys(), recipe, mosaic.alternative)
    if isinstance(content, Indexed):
        return Mosaic(content.index, colour.palette_in(look, content.palette), recipe, mosaic.alternative)
    return Mosaic(colour.pixels_in(look, content), None, recipe, mosaic.alternative)


def content_of(sheet: Sheet, mosaic: Mosaic) -> Content:
    """The pixels of a sheet's mosaic for a page of any look."""
    grid = sheet.grid
    cells = (
        _sources(grid.tops, grid.tile[0], grid.zoom[0], grid.height),
        _sources(grid.lefts, grid.tile[1], grid.zoom[1], grid.width),
    )
    if mosaic.palette is not None:
        return Indexed(mosaic.pixels, Ramp(sheet.colours, sheet.tiles.signed), cells)
    levels = valued = None
    if sheet.tiles.pictures:
        levels, valued = _levels_of_pictures(sheet, cells)
        if valued.all():
            return levels
    boxes = [_box(grid, row, column) for row, column in np.argwhere(grid.arrangement < 0)]
    blanks = tuple((top - 1, left - 1, bottom + 1, right + 1) for top, left, bottom, right in boxes)
    return ColourTiles(mosaic.pixels, cells, blanks, levels, valued)


def _pictures(tiles: Tiles, scale: Scale) -> tuple[Array, Array]:
    """The pictures of all tiles (p · n, h, w, 3), those of each kind together, and where they are not finite."""
    values = tiles.values
    broken = list(np.moveaxis(~np.isfinite(values), -1, 0))
    signed = np.moveaxis(colour.ramp(None, signed=True)[colour.levels(values, scale)], 3, 0)
    if tiles.view == "pca" and len(tiles.pictures) < len(signed):
        shares = colour.fractions(values, scale)
        drawn = [colour.component_pixels(shares[..., 0], shares[..., 1]), signed[2]]
        broken = [broken[0] | broken[1], broken[2]]
    else:
        drawn = list(signed)
    if len(tiles.pictures) > len(drawn):  # the kernel as colour, in its own range
        drawn.insert(0, colour.rgb_pixels(rgb_weights(values), replace(scale, kind="tile")))
        broken.insert(0, np.asarray(~np.isfinite(values).all(axis=-1)))
    return np.concatenate(drawn), np.concatenate(broken)


def _levels_of_pictures(sheet: Sheet, cells: tuple[Array, Array]) -> tuple[Indexed, Array]:
    """The mosaic of pictures that show values, not colours: its levels, and which of its columns (W,) they are in."""
    tiles, grid = sheet.tiles, sheet.grid
    planes = np.moveaxis(colour.levels(tiles.values, sheet.scale), -1, 0)
    planes = planes[2:] if len(tiles.pictures) < len(planes) else planes
    first = len(tiles.pictures) - len(planes)
    drawn = np.concatenate([*np.zeros((first, *planes.shape[1:]), np.uint8), *planes])
    _, broken = _pictures(tiles, sheet.scale)
    ramp = Ramp(None, signed=True)
    index = _painted(sheet, drawn, broken, colour.palette(ramp.name, signed=ramp.signed))
    valued = np.full(grid.width, first == 0)
    if first:
        for at, left in enumerate(grid.lefts):
            valued[left - grid.pad : left + grid.tile[1] * grid.zoom[1] + grid.pad] = at % len(tiles.pictures) >= first
        index[:, ~valued] = colour.PAPER
    return Indexed(index, ramp, cells), valued


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
    marked, cells = (
        {*sheet.marks.zero, *sheet.marks.dead, *sheet.marks.broken},
        dict[int, list[tuple[int, int, int, int]]](),
    )
    for cell, number in enumerate(grid.arrangement.flat):
        if number >= 0 and (tile := int(number) % len(sheet.tiles.values)) in marked:
            cells.setdefault(tile, []).append(_box(grid, *divmod(cell, grid.arrangement.shape[1])))
    large = min(grid.tile[0] * grid.zoom[0], grid.tile[1] * grid.zoom[1]) >= STRUCK
    for tile in (*sheet.marks.zero, *(sheet.marks.dead if large else ())):
        for box in cells.get(tile, ()):
            ground = pixels[box[0], box[1]]
            strike(pixels, box, colours[colour.mark_on(ground if pixels.ndim == 3 else table[ground])])
    for tile in sheet.marks.broken:
        for box in cells.get(tile, ()):
            _frame(pixels, box, grid.pad, colours[colour.NOT_FINITE])


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
    black (white in the look ``dark``); a map with one value everywhere is grey if each map has its own range.

    Example:
        >>> singles = kernelviz.make_singles(torch.rand(8, 14, 14), top=3)
        >>> len(singles.numbers), singles.limits.shape
        (3, (3, 2))
    """

    levels: Array
    palette: Array
    numbers: tuple[int, ...]
    limits: Array
    scale: Scale
    zoom: int
    nonfinite: int
    recipe: Recipe
    ramp: Ramp | None = field(default=None, repr=False)
    look: LookName = "page"

    __repr__ = record_repr

    def drawn(self, part: slice) -> tuple[Array, Array]:
        """Some of the pictures at their zoom, (n, H, W) indices, and the palette of these."""
        pixels = self.levels[part]
        if self.zoom > 1:
            pixels = np.repeat(np.repeat(pixels, self.zoom, 1), self.zoom, 2)
        look = LOOKS[self.look]
        if self.ramp is None or not look.textured:
            return pixels, self.palette
        cells = np.arange(pixels.shape[1]) // self.zoom, np.arange(pixels.shape[2]) // self.zoom
        contents = [Indexed(each, self.ramp, cells) for each in pixels]
        drawn = [colour.textured_pixels(look, each, each.shape, (0, 0), 1.0)[..., 0] for each in contents]
        return np.stack(drawn), colour.greys()


def make_singles(
    maps: object,
    *,
    channels: str | Sequence[int] | None = None,
    top: int | None = None,
    sort: str | None = None,
    scale: ScaleChoice | None = None,
    cmap: str | None = None,
    zoom: int = 1,
    look: LookName = "page",
) -> Singles:
    """A picture for each chosen channel of feature maps (C, H, W), at their own resolution times ``zoom``.

    ``channels``, ``top``, ``sort``, ``scale`` and ``cmap`` are as in ``plot_features``; ``look`` is ``page``, ``dark`` or
    ``print``.

    Raises:
        UsageError: A choice does not fit the maps, or a picture is too large.

    Example:
        >>> singles = kernelviz.make_singles(torch.rand(8, 14, 14), channels="0-3", zoom=2)
        >>> singles.numbers, singles.levels.shape
        ((0, 1, 2, 3), (4, 14, 14))
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
    facts = {**picture_facts(tiles, found, None, cmap), **find_look(look).as_recipe()}
    ramp = Ramp(colour.colours_of(tiles, cmap), tiles.signed)
    return Singles(
        levels=levels,
        palette=colour.palette_in(find_look(look), ramp),
        numbers=tiles.numbers,
        limits=limits,
        scale=found,
        zoom=zoom,
        nonfinite=int(finite.size - np.count_nonzero(finite)),
        recipe={**map_facts(subject), **facts, "view": "single", "zoom": zoom},
        ramp=ramp,
        look=look,
    )

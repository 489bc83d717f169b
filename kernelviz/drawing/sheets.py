"""Tiles become a sheet: which of them fit, their positions in whole pixels, and what their colours mean."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from kernelviz.drawing.captions import (
    Marks,
    caption,
    find_marks,
    kernel_identity,
    kernel_title,
    map_identity,
    map_notes,
    map_title,
    notes,
)
from kernelviz.drawing.colour import Scale, ScaleChoice, check_palette, colours_of, make_scale, ramp
from kernelviz.drawing.page import CONTENT
from kernelviz.errors import UsageError
from kernelviz.notebook import record_repr
from kernelviz.records import FeatureMaps, KernelBank, as_bank, check_positive
from kernelviz.version import SCHEMA, __version__
from kernelviz.views.components import fit_note
from kernelviz.views.kernel_views import OPPONENTS, check_cmap, kernel_tiles
from kernelviz.views.map_views import map_tiles
from kernelviz.wording import runs_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from kernelviz.drawing.colour import Palette
    from kernelviz.records import Array, Axis, Layout, Recipe, Source, Tiles
    from kernelviz.views.components import Basis


FLAT = 96  # the height of a heat map of few rows
LEAST_STRIP = 8  # the height of a map of one axis
LABEL_ROOM = 34  # room for a line of numbers between rows, if the mosaic is CONTENT pixels wide
DIGIT = 16  # the width of a digit, at that width
SMALLEST_UNIT = 0.62  # type does not shrink below this share of its size, however narrow the mosaic
BIGGEST_TILE = 420
COLUMNS = (1, 2, 4, 8, 16, 32, 64)
TABLE_ROWS, TABLE_COLUMNS = 24, 48
BAND = 32
WITH_RGB, MOST_PLANES = 32, 64  # kernels with their colour beside their planes, and kernels as planes, on a page
LETTER = 14  # the width of a letter of a heading, if the mosaic is CONTENT pixels wide
MEGAPIXEL = 1_000_000
FIGURE_PIXELS = 4 * MEGAPIXEL
BARE_PIXELS = 64 * MEGAPIXEL
FRAME_WIDTH, FRAME_HEIGHT = 260, 480  # the room for margins, numbers, heading and caption of a figure, at that width


@dataclass(frozen=True)
class Grid:
    """The positions of the tiles of a mosaic.

    ``arrangement`` (rows, columns) holds the tile of each cell, −1 for none; ``tops`` and ``lefts`` are the cells' first
    pixels; a tile of (h, w) values takes h · ``zoom[0]`` by w · ``zoom[1]`` pixels. ``numbered`` tiles have a number
    each; ``band`` is the number of rows after which a table continues with its further columns.
    """

    arrangement: Array
    zoom: tuple[int, int]
    tile: tuple[int, int]
    gap: int
    pad: int
    tops: Array
    lefts: Array
    height: int
    width: int
    numbered: bool = False
    band: int | None = None

    __repr__ = record_repr


def plan_tiles(
    count: int,
    tile: tuple[int, int],
    *,
    columns: int | None = None,
    zoom: int | None = None,
    digits: int = 0,
    most_pixels: int = FIGURE_PIXELS,
) -> Grid:
    """A grid of ``count`` tiles of (h, w) values near a 2 : 1 page, cut behind the row that fits in ``most_pixels``.

    ``digits`` above 0 leaves room for a number of so many digits at each tile.
    """
    across = check_positive("columns", columns) or _even_columns(count, tile, digits)
    across = min(across, count)

    def shown(columns: int, z: int) -> int:
        gap = _gap(z * min(tile))
        width = columns * max(tile[1] * z + gap, _number_width(digits)) + columns // 8 * _extra(gap)
        label = LABEL_ROOM * max(1.0, width / CONTENT) + 1 if digits else 0
        return min(count, columns * int(_tallest(width, most_pixels) // (tile[0] * z + gap + label)))

    z = check_positive("zoom", zoom) or _fit_zoom(across, tile)
    if zoom is None and _narrow(across, tile, z) and shown(across, z + 1) == count:
        z += 1
    gap = _gap(z * min(tile))
    pitch = max(tile[1] * z + gap, _number_width(digits))
    if columns is None or shown(across, z) < 1:
        fewer = {across, *(even for even in COLUMNS if even < across)}
        across = max(fewer, key=lambda columns: (shown(columns, z), columns))
    rows = math.ceil(count / across)
    grouped = across > 16
    lefts, width = _starts(across, tile[1] * z, pitch - tile[1] * z, _extra(gap) if grouped else 0)
    label = math.ceil(LABEL_ROOM * max(1.0, width / CONTENT)) if digits else 0
    tops, _ = _starts(rows, tile[0] * z, gap + label, _extra(gap) if grouped and not digits else 0)
    tops += label
    rows = int(np.count_nonzero(tops + tile[0] * z + gap <= _tallest(width + gap, most_pixels)))
    _check_room(rows, tile, z, most_pixels)
    cells = np.arange(rows * across)
    arrangement = np.where(cells < count, cells, -1).reshape(rows, across)
    return _grid(arrangement, (z, z), tile, gap, tops=tops[:rows], lefts=lefts, numbered=digits > 0)


def plan_strips(
    count: int, length: int, *, zoom: tuple[int, int] | None = None, most_pixels: int = FIGURE_PIXELS
) -> Grid:
    """Strips of ``length`` values, one below the other, each as wide as the page and high enough to be seen.

    ``zoom`` is the height and the width of a value instead.
    """
    z = max(1, CONTENT // length)
    tall = max(z, LEAST_STRIP, min(FLAT // 2, round(0.5 * CONTENT / count)))
    tall, z = zoom or (tall, z)
    gap = _gap(tall)
    tops, _ = _starts(count, tall, gap, 0)
    fitting = int(np.count_nonzero(tops + tall + gap <= _tallest(length * z + gap, most_pixels)))
    _check_room(fitting, (1, length), z, most_pixels)
    arrangement = np.arange(fitting).reshape(-1, 1)
    return _grid(arrangement, (tall, z), (1, length), gap, tops=tops[:fitting], lefts=np.zeros(1, int))


def plan_table(
    rows: int,
    columns: int,
    tile: tuple[int, int],
    *,
    band: int | None = None,
    zoom: int | None = None,
    digits: int = 0,
    most_pixels: int = FIGURE_PIXELS,
) -> Grid:
    """A table of tiles, tile r · columns + c in row r and column c; wide tables of few rows continue below, in bands.

    ``digits`` above 0 leaves room between bands for upright numbers of so many digits. A figure without ``zoom`` is cut
    to what stays readable, any picture to ``most_pixels``.
    """
    across = check_positive("columns", band)
    if across is None:
        across = (BAND if columns <= 4 * BAND else TABLE_COLUMNS) if rows <= 8 and columns > BAND else columns
    readable = zoom is None and most_pixels <= FIGURE_PIXELS
    down, across = (min(rows, TABLE_ROWS), min(across, TABLE_COLUMNS)) if readable else (rows, min(across, columns))
    bands = math.ceil(columns / across) if rows <= 8 or band else 1
    if readable:
        bands = min(bands, max(1, 2 * TABLE_ROWS // down))
    biggest = min(BIGGEST_TILE // 3, 1000 // (down * bands)) if readable else BIGGEST_TILE // 3
    z = check_positive("zoom", zoom) or _fit_zoom(across, tile, biggest)
    gap = _gap(z * min(tile))
    lefts, width = _starts(across, tile[1] * z, gap, _extra(gap) if across > 32 else 0)
    label = math.ceil(max(LABEL_ROOM * 1.5, DIGIT * digits + LABEL_ROOM) * max(1.0, width / CONTENT))
    tops, _ = _starts(down, tile[0] * z, gap, _extra(gap) if down > 16 else 0)
    per_band = int(tops[-1]) + tile[0] * z + label
    across = int(np.count_nonzero(tile[0] * z + gap <= _tallest(lefts + tile[1] * z + gap, most_pixels)))
    _check_room(across, tile, z, most_pixels)
    lefts = lefts[:across]
    width = int(lefts[-1]) + tile[1] * z + gap
    tallest = int(_tallest(width, most_pixels))
    down = int(np.count_nonzero(tops + tile[0] * z + gap <= tallest))
    tops = tops[:down]
    bands = max(1, min(bands, tallest // per_band))
    numbers = np.arange(across * bands).reshape(bands, 1, across)
    cells = np.where(numbers < columns, numbers + columns * np.arange(down)[None, :, None], -1)
    all_tops = (tops[None, :] + per_band * np.arange(bands)[:, None]).reshape(-1)
    return _grid(
        cells.reshape(-1, across), (z, z), tile, gap, tops=all_tops, lefts=lefts, band=down if bands > 1 else None
    )


def plan_groups(
    count: int,
    tile: tuple[int, int],
    pictures: Sequence[str],
    *,
    columns: int | None = None,
    zoom: int | None = None,
    digits: int = 0,
    most_pixels: int = FIGURE_PIXELS,
) -> Grid:
    """A grid of tiles of (h, w) values that are drawn as several pictures each, side by side, near a 2 : 1 page.

    The tiles are below each other, in ``columns``. Picture p of tile t is p · n + t in the arrangement, if n tiles fit in
    ``most_pixels``. ``digits`` leaves room for the number of a tile before its pictures.
    """
    wanted = check_positive("columns", columns)
    candidates = [min(wanted, count)] if wanted else range(1, min(count, 16) + 1)
    grids = [_grouped(count, tile, pictures, across, zoom=zoom, digits=digits, most_pixels=most_pixels)
             for across in candidates]  # fmt: skip

    def fit(grid: Grid) -> tuple[int, float]:
        wide = max(0.0, math.log(grid.width / CONTENT))  # names that are wider than pictures keep these small
        return int(grid.arrangement.max()), -abs(math.log(grid.width / grid.height / 2)) - 4 * wide

    found = max(filter(None, grids), key=fit, default=None)
    if found is None:
        _check_room(0, tile, zoom or 1, most_pixels)
        raise AssertionError  # it always raises
    return found


def _grouped(
    count: int,
    tile: tuple[int, int],
    pictures: Sequence[str],
    across: int,
    *,
    zoom: int | None,
    digits: int,
    most_pixels: int,
    fixed_unit: float = 0.0,
) -> Grid | None:
    """The grid of ``plan_groups`` of so many columns; None if not one row fits. ``fixed_unit`` is the scale of labels."""
    many, named = len(pictures), most_pixels <= FIGURE_PIXELS or fixed_unit > 0
    letters = max(map(len, pictures)) if named else 0
    wide = (CONTENT - (across - 1) * (DIGIT * digits + 40)) / (across * many * 1.08)
    z = check_positive("zoom", zoom) or max(1, min(int(wide / tile[1]), BIGGEST_TILE // max(tile)))
    tall = max(z, FLAT // 2) if zoom is None and _is_flat(tile) else z
    gap, unit = _gap(min(tall * tile[0], z * tile[1])), fixed_unit or SMALLEST_UNIT
    apart = 0 if pictures == OPPONENTS else gap  # more than between pictures of one key
    for _ in range(4):  # type grows with the page that it makes wider
        pitch = max(tile[1] * z + gap, math.ceil(LETTER * (letters + 2) * unit if letters else 0))
        group = (many - 1) * pitch + apart + tile[1] * z
        spill = pitch - tile[1] * z - gap  # of a name to the right of its picture
        between = max(3 * gap, spill + math.ceil((DIGIT * digits + 40) * unit) if digits else 0)
        width = across * (group + between) - between
        unit = fixed_unit or max(SMALLEST_UNIT, width / CONTENT)
    firsts = np.arange(across)[:, None] * (group + between)
    lefts = (firsts + np.arange(many) * pitch + (np.arange(many) > 0) * apart).reshape(-1)
    down = max(tile[0] * tall + gap, math.ceil(LABEL_ROOM * unit) if digits else 0)
    fitting = int((_tallest(width + 2 * gap, most_pixels) - tile[0] * tall - gap) // down) + 1
    rows = min(math.ceil(count / across), fitting)
    if rows < 1:
        return None
    shown = min(count, rows * across)
    numbers = np.arange(across)[None, :] * rows + np.arange(rows)[:, None]
    cells = np.where(numbers < shown, numbers, -1)[..., None] + np.arange(many) * shown
    arrangement = np.where(numbers[..., None] < shown, cells, -1).reshape(rows, -1)
    grid = _grid(arrangement, (tall, z), tile, gap, tops=np.arange(rows) * down, lefts=lefts)
    return replace(grid, width=grid.width + spill)


def plan_heat_map(
    rows: int, columns: int, *, zoom: int | None = None, most_pixels: int = FIGURE_PIXELS
) -> tuple[Grid, int, int]:
    """One tile of (rows, columns) pixels, and how many of its rows and columns fit in ``most_pixels``."""
    most = max(48, min(120, 640 // max(rows, columns)))
    z = check_positive("zoom", zoom) or max(1, min(round(CONTENT / columns), round(CONTENT / rows), most))
    widths = np.arange(1, columns + 1)
    room = _tallest(widths * z + 2, most_pixels) - 2
    wanted = np.maximum(np.minimum(rows, widths // 2) * z, max(z, FLAT))  # rows are cut to half the columns at most
    columns = int(np.count_nonzero(room >= wanted))
    _check_room(columns, (rows, 1), z, most_pixels)
    rows = min(rows, int(room[columns - 1]) // z)
    tall = z if zoom else max(z, min(8 * z, FLAT // rows))
    grid = _grid(np.zeros((1, 1), int), (tall, z), (rows, columns), 1, tops=np.zeros(1, int), lefts=np.zeros(1, int))
    return grid, rows, columns


def _tallest(width: Any, most_pixels: int) -> Any:
    """The largest height of a mosaic of this width; that of a figure leaves room for its margins and texts."""
    if most_pixels > FIGURE_PIXELS:
        return most_pixels // width
    unit = np.maximum(width / CONTENT, SMALLEST_UNIT)
    return most_pixels / ((CONTENT + FRAME_WIDTH) * unit) - FRAME_HEIGHT * unit


def _check_room(fitting: int, tile: tuple[int, int], zoom: int, most_pixels: int) -> None:
    if fitting >= 1:
        return
    hint = "Choose a smaller --zoom; --style bare takes sixteen times the pixels of a figure."
    if zoom == 1 and most_pixels <= FIGURE_PIXELS:
        hint = 'Draw it without a page: --style bare, or in the library make_sheet(..., style="bare").'
    elif zoom == 1:
        hint = "Give a smaller --input-size, or a part of it."
    raise UsageError(
        f"A tile of {tile[0]:,} × {tile[1]:,} values at zoom {zoom} is too large for the picture.", hint=hint
    )


def _even_columns(count: int, tile: tuple[int, int], digits: int) -> int:
    def distance(columns: int) -> float:
        rows = math.ceil(count / columns)
        ratio = float(abs(math.log(columns * tile[1] / (rows * tile[0]) / 2)))
        return round(ratio + (rows * columns - count) / count, 6)

    widest = CONTENT // (15 * digits + 16) if digits else max(COLUMNS)
    candidates = [columns for columns in sorted({*COLUMNS, *range(3, 9), 10, 12}) if columns <= min(count, widest)]
    if count > 8 and not digits:  # numbers are easy to add if rows hold a power of two
        candidates = [columns for columns in candidates if columns in COLUMNS]
    return int(min(reversed(candidates), key=distance))  # the wider of two equal ones, since a page also has a caption


def _fit_zoom(across: int, tile: tuple[int, int], tallest: int = BIGGEST_TILE) -> int:
    widest = max(1, round(CONTENT / (across * tile[1] * 1.08)))
    return max(1, min(widest, min(BIGGEST_TILE, tallest) // tile[0], BIGGEST_TILE * 2 // tile[1]))


def _narrow(across: int, tile: tuple[int, int], zoom: int) -> bool:
    """Whether a whole-number zoom leaves the tiles far narrower than a page although a larger zoom would fit."""
    return across * tile[1] * zoom * 1.08 < 0.75 * CONTENT and (zoom + 1) * max(tile) <= BIGGEST_TILE


def _gap(tile: int) -> int:
    return max(2, min(8, round(0.08 * tile)))


def _number_width(digits: int) -> int:
    """The width of a tile's number with the space after it, in the smallest type."""
    return math.ceil(SMALLEST_UNIT * (DIGIT * digits + 12)) if digits else 0


def _extra(gap: int) -> int:
    return 2 * gap + 2


def _starts(count: int, size: int, gap: int, extra: int) -> tuple[Array, int]:
    cells = np.arange(count)
    starts = cells * (size + gap) + cells // 8 * extra
    return starts, int(starts[-1]) + size


def _grid(
    arrangement: Array,
    zoom: tuple[int, int],
    tile: tuple[int, int],
    gap: int,
    *,
    tops: Array,
    lefts: Array,
    numbered: bool = False,
    band: int | None = None,
) -> Grid:
    pad = max(1, gap // 3)
    return Grid(
        arrangement=arrangement,
        zoom=zoom,
        tile=tile,
        gap=gap,
        pad=pad,
        tops=tops + pad,
        lefts=lefts + pad,
        height=int(tops[-1]) + pad + tile[0] * zoom[0] + pad,
        width=int(lefts[-1]) + pad + tile[1] * zoom[1] + pad,
        numbered=numbered,
        band=band,
    )


@dataclass(frozen=True)
class Sheet:
    """All tiles of one picture with their positions, scale, texts and recipe; not drawn yet.

    ``source`` is the model with its weights; empty if it is unknown.

    Example:
        >>> sheet = kernelviz.make_sheet(torch.nn.Conv2d(3, 16, 5).weight, channels="0-3")
        >>> sheet.shown
        4
        >>> mosaic = kernelviz.make_mosaic(sheet)
    """

    tiles: Tiles
    grid: Grid
    scale: Scale
    marks: Marks
    colours: str | None
    title: str
    identity: str
    caption: tuple[str, ...]
    recipe: Recipe
    notes: tuple[str, ...] = ()
    source: str = ""

    __repr__ = record_repr

    @property
    def shown(self) -> int:
        """The number of kernels or channels shown."""
        return len(self.tiles.numbers)


@dataclass(frozen=True)
class SheetTexts:
    """The texts about the subject of a picture: title, identity, notes, and the facts of its recipe."""

    title: str
    identity: str
    notes: tuple[str, ...]
    facts: Recipe


def make_sheet(
    subject: object,
    *,
    view: str = "auto",
    channels: str | Sequence[int] | None = None,
    top: int | None = None,
    sort: str | None = None,
    scale: ScaleChoice | None = None,
    cmap: str | None = None,
    columns: int | None = None,
    zoom: int | None = None,
    style: Literal["figure", "bare"] = "figure",
    basis: Basis | None = None,
    layout: Layout | None = None,
    palette: Palette = "standard",
) -> Sheet:
    """The sheet of a kernel bank, of feature maps, or of a plain weight (out_channels, in_channels / groups, *kernel_size).

    Args:
        subject: A ``KernelBank``, a ``FeatureMaps`` or a plain weight.
        view: Of kernels as in ``plot_kernels``, of maps as ``reduce`` of ``plot_features``; ``auto`` is all maps.
        channels: As in ``plot_kernels``.
        top: As in ``plot_kernels``.
        sort: As in ``plot_kernels``.
        scale: As in ``plot_kernels`` and ``plot_features``.
        cmap: As in ``plot_kernels`` and ``plot_features``.
        columns: As in ``plot_kernels``.
        zoom: As in ``plot_kernels``.
        style: ``figure`` leaves space for a caption and has at most 4 megapixels; ``bare`` is the tiles alone, of at most
            64 megapixels. Tiles that do not fit are left out, and the caption states it.
        basis: The components of the view ``pca``; without it they are fitted to these maps alone.
        layout: As in ``plot_kernels``.
        palette: With ``safe`` kernels as rgb are drawn as light–dark, yellow–blue and red–green planes too, and principal
            components as light–dark, orange–blue and, apart, red–blue; the other views have safe colours already. With
            ``planes`` each plane and each component is a picture of its own, for prints without colours.

    Raises:
        UsageError: A view, scale, colour map, palette or choice does not fit, or a weight may be of either layout.

    Example:
        >>> sheet = kernelviz.make_sheet(torch.nn.Conv2d(3, 16, 5).weight, view="sum", columns=8)
        >>> sheet.shown, sheet.title
        (16, 'Kernels, summed over channels')
    """
    if style not in ("figure", "bare"):
        raise UsageError(f"The style must be figure or bare, but got {style!r}.")
    check_palette(palette)
    safe, planes = palette != "standard", palette == "planes"
    held = subject if isinstance(subject, FeatureMaps) else as_bank(subject, layout=layout)
    if isinstance(held, FeatureMaps):
        shown = "maps" if view == "auto" else view
        tiles = map_tiles(held, view=shown, channels=channels, top=top, sort=sort, basis=basis, apart=safe, each=planes)
    else:
        tiles = kernel_tiles(held, view=view, channels=channels, top=top, sort=sort, opponent=safe)
    check_cmap(tiles.view, cmap, chosen=view != "auto")
    ramp(cmap, signed=tiles.signed)
    found_scale = make_scale(tiles, scale)
    most = FIGURE_PIXELS if style == "figure" else BARE_PIXELS
    most_values = CONTENT // max(1, len(tiles.pictures))
    tiles, how = (
        shortened(tiles, most_values) if style == "figure" and zoom is None and columns is None else (tiles, "")
    )
    grid, tiles = lay_out(tiles, columns=columns, zoom=zoom, most_pixels=most, with_rgb=not planes)
    if found_scale.kind == "range":
        found_scale = make_scale(tiles, scale)
    marks = find_marks(tiles, found_scale)
    used = palette if not planes or tiles.pictures or tiles.parts == OPPONENTS else "standard"
    words = _sheet_texts(held, tiles, basis)
    words = replace(words, notes=(how, *words.notes)) if how else words
    return Sheet(
        tiles=tiles,
        grid=grid,
        scale=found_scale,
        marks=marks,
        colours=colours_of(tiles, cmap),
        title=words.title,
        identity=words.identity,
        caption=caption(tiles, found_scale, marks, words.notes),
        recipe={**words.facts, **picture_facts(tiles, found_scale, grid, cmap), **palette_facts(used)},
        notes=notes(tiles, found_scale, marks, words.notes),
        source=held.source.short_label if held.source else "",
    )


def _sheet_texts(held: FeatureMaps | KernelBank, tiles: Tiles, basis: Basis | None) -> SheetTexts:
    if isinstance(held, FeatureMaps):
        more = fit_note(basis, held.source) if tiles.view == "pca" else ()
        return SheetTexts(map_title(held, tiles), map_identity(held), (*more, *map_notes(held)), map_facts(held))
    return SheetTexts(kernel_title(held, tiles), kernel_identity(held), held.notes, kernel_facts(held))


def is_strip(tiles: Tiles) -> bool:
    """Whether the tiles are maps of one row that would be less than ``LEAST_STRIP`` pixels high as square values."""
    return tiles.noun == "map" and _is_flat(tiles.values.shape[1:3])


def _is_flat(tile: tuple[int, ...]) -> bool:
    return tile[0] == 1 and 2 * BIGGEST_TILE // tile[1] < LEAST_STRIP


def shortened(tiles: Tiles, most: int) -> tuple[Tiles, str]:
    """Long strips with at most ``most`` values, and how they were shortened as text; empty if they were not.

    Of the values of a group the one farthest from zero stays, of colours their mean.
    """
    length = tiles.values.shape[2]
    if not is_strip(tiles) or length <= most:
        return tiles, ""
    size = math.ceil(length / most)
    missing = -length % size
    padded = np.pad(tiles.values, [(0, 0), (0, 0), (0, missing), *[(0, 0)] * (tiles.values.ndim - 3)], mode="edge")
    groups = padded.reshape(len(padded), 1, -1, size, *padded.shape[3:])
    if tiles.values.ndim == 4:
        values, which = groups.mean(axis=3), "the mean"
    else:
        farthest = np.abs(groups).argmax(axis=3)[..., None]  # the first that is not finite, if there is one
        values, which = np.take_along_axis(groups, farthest, axis=3)[..., 0], "the value farthest from zero"
    return replace(tiles, values=values), f"{length:,} values per strip: each column shows {which} of {size}"


def lay_out(
    tiles: Tiles, *, columns: int | None, zoom: int | None, most_pixels: int, with_rgb: bool = True
) -> tuple[Grid, Tiles]:
    """The grid of these tiles, and those of them that fit into it; few opponent planes have their colour beside them."""
    height, width = tiles.values.shape[1:3]
    regular = tiles.numbers == tuple(range(tiles.numbers[0], tiles.numbers[0] + len(tiles.numbers)))
    digits = 0 if regular or tiles.is_reduced else len(str(max(tiles.numbers)))
    if tiles.pictures:
        return _lay_out_groups(tiles, columns=columns, zoom=zoom, most_pixels=most_pixels, with_rgb=with_rgb)
    if tiles.layout == "grid":
        count = len(tiles.values)
        if is_strip(tiles) and zoom is None and columns is None:
            grid = plan_strips(count, width, most_pixels=most_pixels)
        else:
            grid = plan_tiles(
                count, (height, width), columns=columns, zoom=zoom, digits=digits, most_pixels=most_pixels
            )
        if tiles.is_reduced:
            return grid, tiles  # one tile of all of them
        shown = min(count, grid.arrangement.size)
        return grid, replace(tiles, values=tiles.values[:shown], numbers=tiles.numbers[:shown])
    if tiles.rows is None or tiles.columns is None:
        raise ValueError("A table or a heat map has two axes.")
    rows, across = len(tiles.rows.labels), len(tiles.columns.labels)
    if tiles.layout == "heatmap":
        grid, rows, across = plan_heat_map(rows, across, zoom=zoom, most_pixels=most_pixels)
        return grid, _cut(tiles, tiles.values[:, :rows, :across], rows, across)
    size = (height, width)
    grid = plan_table(rows, across, size, band=columns, zoom=zoom, digits=digits, most_pixels=most_pixels)
    cells = grid.arrangement[grid.arrangement >= 0]
    fitting_rows, fitting = int(cells.max()) // across + 1, int((cells % across).max()) + 1
    table = tiles.values.reshape(rows, across, *tiles.values.shape[1:])[:fitting_rows, :fitting]
    renumbered = np.where(grid.arrangement >= 0, grid.arrangement // across * fitting + grid.arrangement % across, -1)
    values = table.reshape(-1, *tiles.values.shape[1:])
    return replace(grid, arrangement=renumbered), _cut(tiles, values, fitting_rows, fitting)


def _lay_out_groups(
    tiles: Tiles, *, columns: int | None, zoom: int | None, most_pixels: int, with_rgb: bool
) -> tuple[Grid, Tiles]:
    """The grid of tiles of several pictures, and those of them that fit; few kernels have their colour, too."""
    count = len(tiles.values)
    if tiles.parts == OPPONENTS:
        count = min(count, MOST_PLANES) if most_pixels <= FIGURE_PIXELS else count
        if with_rgb and count <= WITH_RGB:
            tiles = replace(tiles, pictures=("rgb", *OPPONENTS))
    digits = 0 if tiles.is_reduced or most_pixels > FIGURE_PIXELS else len(str(max(tiles.numbers)))
    size = (tiles.values.shape[1], tiles.values.shape[2])
    grid = plan_groups(count, size, tiles.pictures, columns=columns, zoom=zoom, digits=digits, most_pixels=most_pixels)
    if tiles.is_reduced:
        return grid, tiles
    shown = min(count, grid.arrangement.size // len(tiles.pictures))
    return grid, replace(tiles, values=tiles.values[:shown], numbers=tiles.numbers[:shown])


LEAST, CUT = 24, 32  # pixels: the least side of a tile if all are shown in a box, and if some are left out


def fit_sheet(sheet: Sheet, width: float, height: float, fits: Callable[[Sheet], bool], unit: float = 0.8) -> bool:
    """Call ``fits`` with sheets of the same tiles in other arrangements, the largest first, until it returns True.

    If the tiles were too small all together, there are fewer.

    Args:
        sheet: The sheet.
        width: An estimate of the space for its tiles, in pixels.
        height: As above.
        fits: Whether a sheet with its labels fits into the space.
        unit: The scale of its labels.
    """
    tiles = sheet.tiles
    if is_strip(tiles):
        tiles = shortened(tiles, max(1, int(width - 60)) // max(1, len(tiles.pictures)))[0]
        candidates = _strips_within(tiles, width, height, unit)
    elif tiles.rows is not None and tiles.columns is not None:
        candidates = _tables_within(tiles, width, height)
    elif tiles.pictures:
        candidates = _groups_within(tiles, width, height, unit)
    else:
        candidates = _grids_within(tiles, width, height)
    return any(fits(_rearranged(sheet, *candidate)) for candidate in candidates)


def _rearranged(sheet: Sheet, grid: Grid, tiles: Tiles) -> Sheet:
    """The sheet with these tiles and their marks."""
    scale = sheet.scale
    if scale.kind == "range":
        finite = tiles.values[np.isfinite(tiles.values)]
        below, above = (int(np.count_nonzero(each)) for each in (finite < scale.low, finite > scale.high))
        scale = replace(scale, below=below, above=above)
    return replace(sheet, tiles=tiles, grid=grid, scale=scale, marks=find_marks(tiles, scale))


def _grids_within(tiles: Tiles, width: float, height: float) -> Iterator[tuple[Grid, Tiles]]:
    """All tiles as large as possible; then, if they are small, fewer of them."""
    count, (tall, wide) = len(tiles.values), tiles.values.shape[1:3]
    regular = tiles.numbers == tuple(range(tiles.numbers[0], tiles.numbers[0] + count))
    digits = 0 if regular or tiles.is_reduced else len(str(max(tiles.numbers)))
    extra = LABEL_ROOM if digits else 0

    def zoom_of(columns: int, shown: int) -> int:
        rows = math.ceil(shown / columns)
        fitting = ((width - (40 if rows > 1 else 0)) / columns / wide, ((height - 28) / rows - extra) / tall)
        return max(0, int(min(*fitting, 2 * BIGGEST_TILE / max(tall, wide))))

    for shown, least in ((count, LEAST), *((some, 0) for some in _fewer(count, (tall, wide), width, height - extra))):
        usual = [
            columns for columns in (*COLUMNS, *(range(3, 17) if shown <= 16 or digits else ())) if columns <= shown
        ]
        plans = {(zoom, columns) for columns in usual for zoom in _steps(zoom_of(columns, shown))}
        part = replace(tiles, values=tiles.values[:shown], numbers=tiles.numbers[:shown])
        for zoom, columns in sorted(plans, key=lambda plan: (-plan[0], plan[1])):
            if zoom * min(tall, wide) >= least or zoom * max(tall, wide) >= 2 * least:
                size = (tall, wide)
                grid = plan_tiles(shown, size, columns=columns, zoom=zoom, digits=digits, most_pixels=BARE_PIXELS)
                yield grid, tiles if tiles.is_reduced else part


def _strips_within(tiles: Tiles, width: float, height: float, unit: float) -> Iterator[tuple[Grid, Tiles]]:
    """All strips, or as many of them as are high enough to be seen."""
    count, length = len(tiles.values), int(tiles.values.shape[2])
    if tiles.pictures:
        grid = _grouped(count, (1, length), tiles.pictures, 1, zoom=None, digits=0, most_pixels=BARE_PIXELS,
                        fixed_unit=unit)  # fmt: skip
        yield from [] if grid is None else [(grid, tiles)]
        return
    least = LEAST_STRIP + _gap(LEAST_STRIP)
    shown = min(count, max(1, int((height - LABEL_ROOM) // least)))
    tall = int((height - LABEL_ROOM) / shown) - _gap(int((height - LABEL_ROOM) / shown))
    grid = plan_strips(shown, length, zoom=(min(FLAT // 2, tall), max(1, int((width - 60) // length))))
    part = replace(tiles, values=tiles.values[:shown], numbers=tiles.numbers[:shown])
    yield grid, tiles if tiles.is_reduced else part


def _groups_within(tiles: Tiles, width: float, height: float, unit: float) -> Iterator[tuple[Grid, Tiles]]:
    """As ``_grids_within`` for tiles of several pictures each, side by side."""
    count, tall, wide = len(tiles.values), int(tiles.values.shape[1]), int(tiles.values.shape[2])
    digits = 0 if tiles.is_reduced else len(str(max(tiles.numbers)))
    numbers = (DIGIT * digits + 40) * unit if digits else 0.0  # before the first column
    names = LABEL_ROOM * unit

    def plan(shown: int, across: int, zoom: int) -> Grid | None:
        return _grouped(shown, (tall, wide), tiles.pictures, across, zoom=zoom, digits=digits, most_pixels=BARE_PIXELS,
                        fixed_unit=unit)  # fmt: skip

    def plans(shown: int, zooms: Iterable[int]) -> list[Grid]:
        found = [plan(shown, across, zoom) for zoom in zooms for across in range(1, min(shown, 16) + 1)]
        fitting = [grid for grid in found if grid and grid.width <= width - numbers and grid.height <= height - names]
        return sorted(fitting, key=lambda grid: (-grid.zoom[0], grid.width))

    largest = max(1, int(min(width / wide, height / tall, 2 * BIGGEST_TILE / max(tall, wide))))
    least = max(1, math.ceil(LEAST / max(tall, wide)))
    for grid in plans(count, range(largest, least - 1, -1)):
        yield grid, tiles
    zoom = max(1, math.ceil(CUT / max(tall, wide)))
    for shown in range(count - 1, 0, -1) if not tiles.is_reduced else ():
        part = replace(tiles, values=tiles.values[:shown], numbers=tiles.numbers[:shown])
        for grid in plans(shown, [zoom]):
            yield grid, part


def _steps(zoom: int) -> list[int]:
    """This zoom, and smaller ones down to three quarters of it."""
    return list(range(zoom, max(0, math.ceil(0.75 * zoom) - 3), -max(1, zoom // 24)))


def _fewer(count: int, tile: tuple[int, int], width: float, height: float) -> list[int]:
    """Numbers of tiles of which each is at least ``CUT`` pixels wide, the largest first."""
    tall, wide = tile
    zoom = max(1, math.ceil(CUT / max(tile)))
    columns, rows = (max(1, int(space // pitch)) for space, pitch in
                     ((width - 60, zoom * wide * 1.08 + 3), (height - 34, zoom * tall * 1.08 + 3)))  # fmt: skip
    columns = max(even for even in (*COLUMNS, columns) if even <= columns) if columns > 16 else columns
    most = columns * rows
    return [
        shown
        for shown in dict.fromkeys(columns * left for left in range(rows, 0, -1))
        if shown < count and shown <= most
    ] + [1]


def _tables_within(tiles: Tiles, width: float, height: float) -> Iterator[tuple[Grid, Tiles]]:
    """A table or a heat map with as many of its rows and columns as fit, at least in small cells."""
    if tiles.rows is None or tiles.columns is None:
        raise ValueError("A table or a heat map has two axes.")
    rows, columns = len(tiles.rows.labels), len(tiles.columns.labels)
    heat = tiles.layout == "heatmap"
    tall, wide = (1, 1) if heat else tiles.values.shape[1:3]
    room_across, room_down = width - 150, height - 110
    if heat:
        zoom = max(3, math.floor(min(room_across / columns, room_down / rows, BIGGEST_TILE / 3)))
        for z in _steps(zoom):
            grid, down, across = plan_heat_map(
                min(rows, int(room_down // z)), min(columns, int(room_across // z)), zoom=z, most_pixels=BARE_PIXELS
            )
            yield grid, _cut(tiles, tiles.values[:, :down, :across], down, across)
        return
    plans = set()
    for bands in range(1, 5 if rows <= 8 else 2):
        across = math.ceil(columns / bands)
        fitting = (
            room_across / across / wide,
            (height - 64 * bands) / rows / bands / tall,
            BIGGEST_TILE / 3 / max(tall, wide),
        )
        plans |= {(zoom, across) for zoom in _steps(int(min(fitting)))}
    least = math.ceil(LEAST / max(tall, wide))
    for zoom, across in sorted(plans, reverse=True):
        if zoom >= least:
            yield plan_table(rows, columns, (tall, wide), band=across, zoom=zoom, most_pixels=BARE_PIXELS), tiles
    for share in np.arange(1.0, 0.3, -0.05):
        down, across = (max(1, min(most, int(share * space // (side * least * 1.08 + 2)))) for most, space, side in
                        ((rows, room_down, tall), (columns, room_across, wide)))  # fmt: skip
        table = tiles.values.reshape(rows, columns, *tiles.values.shape[1:])[:down, :across]
        part = _cut(tiles, table.reshape(-1, *tiles.values.shape[1:]), down, across)
        yield plan_table(down, across, (tall, wide), band=across, zoom=least, most_pixels=BARE_PIXELS), part


def _cut(tiles: Tiles, values: Array, rows: int, columns: int) -> Tiles:
    if tiles.rows is None or tiles.columns is None:
        raise ValueError("A table or a heat map has two axes.")
    kept = rows if tiles.numbers_along == "rows" else columns
    return replace(
        tiles,
        values=values,
        numbers=tiles.numbers if tiles.is_reduced else tiles.numbers[:kept],
        rows=replace(tiles.rows, labels=tiles.rows.labels[:rows]),
        columns=replace(tiles.columns, labels=tiles.columns.labels[:columns]),
    )


def source_facts(command: str, source: Source | None) -> dict[str, Any]:
    """The part of a recipe about the command, the versions and the model; it contains no path."""
    return {
        "kernelviz": __version__,
        "schema": SCHEMA,
        "command": command,
        "environment": {**source.versions, "device": source.device, "threads": source.threads} if source else None,
        "model": source.as_recipe() if source else None,
    }


def image_facts(image: Recipe | None, source: Source | None) -> dict[str, Any]:
    """The part of a recipe about the image, or images, and how it entered the network."""
    entry = source.preprocessing_entry() if image and source else None
    return {"image": image, **({"preprocessing": entry} if entry else {})}


def kernel_facts(bank: KernelBank) -> dict[str, Any]:
    """The part of a recipe about the source of the kernels."""
    return {
        **source_facts("kernels", bank.source),
        "layer": bank.layer.name if bank.layer else None,
        "shape": list(bank.layer.weight_shape if bank.layer else bank.weight.shape),
        **({"weight": bank.reading} if bank.reading else {}),
        **({"stored": True} if bank.reading == "stored" else {}),
    }


def map_facts(maps: FeatureMaps) -> dict[str, Any]:
    """The part of a recipe about the source of the maps, and the image."""
    return {
        **source_facts("features", maps.source),
        "layer": maps.layer,
        "tap": maps.tap,
        **image_facts(maps.image.as_recipe() if maps.image else None, maps.source),
        "input_size": list(maps.input_size) if maps.input_size else None,
        "seen": maps.seen.as_recipe() if maps.seen else None,
        "shape": list(maps.shape or maps.values.shape),
    }


def picture_facts(tiles: Tiles, scale: Scale, grid: Grid | None, cmap: str | None) -> dict[str, Any]:
    """The part of a recipe about what is drawn and how."""
    return {
        "view": tiles.view,
        "channels": runs_text(tiles.numbers),
        "sort": tiles.order,
        "shown": len(tiles.numbers),
        "total": tiles.total,
        "rows": _axis_entry(tiles.rows),
        "columns": _axis_entry(tiles.columns),
        "scale": scale.kind,
        "limits": [scale.low, scale.high],
        "cmap": cmap,
        "zoom": grid.zoom[1] if grid else None,
        "tiles_a_row": int(grid.arrangement.shape[1]) if grid else None,
    }


def palette_facts(palette: str) -> dict[str, Any]:
    """The part of a recipe about the palette; nothing if it is the standard one."""
    return {} if palette == "standard" else {"palette": str(palette)}


def _axis_entry(axis: Axis | None) -> dict[str, Any] | None:
    """The name and labels of a table's rows or columns; None for tiles without such an axis."""
    return None if axis is None else {"name": axis.name, "shown": len(axis.labels), "total": axis.total}

"""Where tiles stand in a mosaic, in whole pixels: columns, zoom, gaps, bands, and where a picture is cut."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from kernelviz.errors import UsageError
from kernelviz.records import check_positive

if TYPE_CHECKING:
    from kernelviz.records import Array


CONTENT = 1440  # pixels that a mosaic aims to be wide; the page's type is laid out for it
FLAT = 96  # the height of a heat map of few rows
LABEL_ROOM = 34  # room for a line of numbers between rows, at that width
DIGIT = 16  # the width of a digit, at that width
SMALLEST_UNIT = 0.62  # type does not shrink below this share of its size, however narrow the mosaic
BIGGEST_TILE = 420
COLUMNS = (1, 2, 4, 8, 16, 32, 64)
TABLE_ROWS, TABLE_COLUMNS = 24, 48
BAND = 32
MEGAPIXEL = 1_000_000
FIGURE_PIXELS = 4 * MEGAPIXEL
BARE_PIXELS = 64 * MEGAPIXEL
PAGE_WIDTH, PAGE_HEIGHT = 260, 480  # what margins, numbers, heading and caption of a figure take, at that width


@dataclass(frozen=True)
class Grid:
    """Where every tile of a mosaic stands.

    ``arrangement`` (rows, columns) holds the tile of each cell, −1 for none; ``tops`` and ``lefts`` are the cells' first
    pixels; a tile of (h, w) values takes h · ``zoom[0]`` by w · ``zoom[1]`` pixels. ``numbered`` tiles carry their own
    numbers; ``band`` is the number of rows after which a table goes on with its further columns.
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

    ``digits`` above 0 leaves room for each tile's own number of so many digits.
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
    lefts, width = _places(across, tile[1] * z, pitch - tile[1] * z, _extra(gap) if grouped else 0)
    label = math.ceil(LABEL_ROOM * max(1.0, width / CONTENT)) if digits else 0
    tops, _ = _places(rows, tile[0] * z, gap + label, _extra(gap) if grouped and not digits else 0)
    tops += label
    rows = int(np.count_nonzero(tops + tile[0] * z + gap <= _tallest(width + gap, most_pixels)))
    _check_room(rows, tile, z, most_pixels)
    cells = np.arange(rows * across)
    arrangement = np.where(cells < count, cells, -1).reshape(rows, across)
    return _grid(arrangement, (z, z), tile, gap, tops=tops[:rows], lefts=lefts, numbered=digits > 0)


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
    """A table of tiles, tile r · columns + c in row r and column c; wide tables of few rows go on below, in bands.

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
    lefts, width = _places(across, tile[1] * z, gap, _extra(gap) if across > 32 else 0)
    label = math.ceil(max(LABEL_ROOM * 1.5, DIGIT * digits + LABEL_ROOM) * max(1.0, width / CONTENT))
    tops, _ = _places(down, tile[0] * z, gap, _extra(gap) if down > 16 else 0)
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


def plan_heat_map(
    rows: int, columns: int, *, zoom: int | None = None, most_pixels: int = FIGURE_PIXELS
) -> tuple[Grid, int, int]:
    """One tile of (rows, columns) pixels, and how many of its rows and columns fit in ``most_pixels``."""
    z = check_positive("zoom", zoom) or max(1, min(round(CONTENT / columns), round(CONTENT / rows), 48))
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
    """How high a mosaic of this width may be: a bare one by itself, a figure with all that stands around it."""
    if most_pixels > FIGURE_PIXELS:
        return most_pixels // width
    unit = np.maximum(width / CONTENT, SMALLEST_UNIT)
    return most_pixels / ((CONTENT + PAGE_WIDTH) * unit) - PAGE_HEIGHT * unit


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
    if count > 8 and not digits:  # numbers are easy to add where rows hold a power of two
        candidates = [columns for columns in candidates if columns in COLUMNS]
    return int(min(reversed(candidates), key=distance))  # of two as good the wider: a page also holds a caption


def _fit_zoom(across: int, tile: tuple[int, int], tallest: int = BIGGEST_TILE) -> int:
    widest = max(1, round(CONTENT / (across * tile[1] * 1.08)))
    return max(1, min(widest, min(BIGGEST_TILE, tallest) // tile[0], BIGGEST_TILE * 2 // tile[1]))


def _narrow(across: int, tile: tuple[int, int], zoom: int) -> bool:
    """Whether a whole-number zoom has left the tiles far from the width of a page, and a larger one is not too much."""
    return across * tile[1] * zoom * 1.08 < 0.75 * CONTENT and (zoom + 1) * max(tile) <= BIGGEST_TILE


def _gap(tile: int) -> int:
    return max(2, min(8, round(0.08 * tile)))


def _number_width(digits: int) -> int:
    """The room of a tile's own number, with the space behind it, in the smallest type."""
    return math.ceil(SMALLEST_UNIT * (DIGIT * digits + 12)) if digits else 0


def _extra(gap: int) -> int:
    return 2 * gap + 2


def _places(count: int, size: int, gap: int, extra: int) -> tuple[Array, int]:
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

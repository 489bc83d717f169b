"""The page of a sheet: tiles with their numbers, the colour bar, the caption; ``plot_kernels`` and ``plot_features``."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from itertools import repeat
from typing import TYPE_CHECKING, TypedDict, Unpack, overload

import numpy as np

from kernelviz.drawing import colour
from kernelviz.drawing.captions import clipped_text, count_text, irregularities, is_cut
from kernelviz.drawing.figures import PageFigure, add_items, draw_page
from kernelviz.drawing.looks import LOOKS, find_look
from kernelviz.drawing.mosaic import content_of, make_mosaic
from kernelviz.drawing.page import (
    BAR_HEIGHT,
    BAR_WIDTH,
    CAPTION,
    CONTENT,
    GREY,
    LABEL,
    LINE_HEIGHT,
    MARGIN,
    QUIET,
    TITLE,
    BarStyle,
    Body,
    Item,
    PageParts,
    Panel,
    Raster,
    Rule,
    Text,
    badge,
    caption_block,
    colour_bar,
    heading,
    moved,
    outline,
    text_block,
    text_width,
)
from kernelviz.drawing.sheets import SMALLEST_UNIT, Sheet, fit_sheet, is_strip, make_sheet, picture_facts
from kernelviz.errors import UsageError
from kernelviz.records import as_bank, as_maps, is_untrained
from kernelviz.views.kernel_views import OPPONENTS
from kernelviz.wording import number_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from matplotlib.axes import Axes

    from kernelviz.drawing.colour import Content, Palette, ScaleChoice
    from kernelviz.drawing.looks import Look, LookName
    from kernelviz.drawing.mosaic import Mosaic
    from kernelviz.drawing.page import Box
    from kernelviz.records import Axis, Layout, Tiles
    from kernelviz.views.components import Basis
    from kernelviz.views.map_views import MapView


def mosaic_page(sheet: Sheet, mosaic: Mosaic) -> Panel:
    """The whole page of one mosaic: title, identity, tiles, caption and colour bar; in whole pixels."""
    height, width = mosaic.pixels.shape[:2]
    unit = max(width / CONTENT, SMALLEST_UNIT)
    tiles = tiles_panel(sheet, mosaic, unit)
    bar = bar_panel(sheet, unit)
    beside = width < 0.55 * CONTENT * unit and height > 260 * unit
    margin, gap = MARGIN * unit, 44 * unit
    inner = tiles.width + gap + max(620 * unit, bar.width) if beside else max(tiles.width, CONTENT * unit)
    gutter = tiles.width - width
    column = inner - gutter
    items, y = heading(sheet.title, sheet.identity, (margin + gutter, margin * 0.75), column, unit)
    y = float(round(y + 18 * unit))
    items += moved(tiles, round(margin), y)
    if beside:
        x, top, wide = margin + tiles.width + gap, y + (tiles.height - height), inner - tiles.width - gap
        words, below = caption_block(sheet.caption, (x, top), wide, unit)
        items += [*words, *moved(bar, x, below + 28 * unit)]
        bottom = max(y + tiles.height, below + 28 * unit + bar.height)
    else:
        top = y + tiles.height + 26 * unit
        words, below = caption_block(sheet.caption, (margin + gutter, top), column - bar.width - gap, unit)
        items += [*words, *moved(bar, margin + inner - bar.width, top + 4 * unit)]
        bottom = max(below, top + bar.height)
    return Panel(
        tuple(items),
        math.ceil(inner + 2 * margin),
        math.ceil(bottom + margin * 0.7),
        partial(_parts, sheet, tiles, bar, unit),
    )


def _headline(sheet: Sheet) -> tuple[str, str]:
    """The title without the view, and the view."""
    layer = str(sheet.recipe.get("layer") or "")
    name = sheet.title.index(layer) + len(layer) if layer in sheet.title else 0
    end = sheet.title.find(", ", name)
    return (sheet.title, "") if end < 0 else (sheet.title[:end], sheet.title[end + 2 :])


def _missing(sheet: Sheet) -> tuple[str, ...]:
    """The lines that change what the picture means: tiles that are missing, values clipped or not finite."""
    tiles, scale, marks = sheet.tiles, sheet.scale, sheet.marks
    return (
        *([count_text(tiles)] if is_cut(tiles) else []),
        *([clipped_text(tiles, scale)] if scale.below + scale.above else []),
        *(irregularities(tiles, scale, marks)[:1] if marks.nonfinite else []),
    )


TOO_LARGE = "Choose fewer tiles with --channels or --top, or draw a page: --look page."


def _parts(sheet: Sheet, tiles: Panel, bar: Panel, unit: float) -> PageParts:
    title, aside = _headline(sheet)
    y = round(tiles.height + 26 * unit)
    width = max(tiles.width, bar.width)
    body = Panel((*tiles.items, *moved(bar, width - bar.width, y)), width, y + bar.height)
    return PageParts(
        title, body, aside, sheet.source, sheet.identity, sheet.caption, _missing(sheet),
        (partial(_sheet_body, sheet),), hint=TOO_LARGE, size=TITLE * unit,
    )  # fmt: skip


def _sheet_body(sheet: Sheet, box: Box) -> Body:
    """The tiles as large as fit into the box, in whole pixels, with an upright colour bar at their right."""
    size = max(box.smallest, 20.0)
    unit, gap = size / LABEL, 32.0
    bar_width = upright_bar(sheet, 100, size).width
    tiles, found = None, sheet

    def fits(candidate: Sheet) -> bool:
        nonlocal tiles, found
        panel = tiles_panel(candidate, make_mosaic(candidate), unit)
        if panel.width > box.width - bar_width - gap or panel.height > box.height:
            return False
        tiles, found = panel, candidate
        return True

    if not fit_sheet(sheet, box.width - bar_width - gap, box.height, fits, unit) or tiles is None:
        return Body(Panel((Text(0, 0, "", 1.0),), 1, 1), fixed=True)  # letters that are too small
    top = min((item.top for item in tiles.items if isinstance(item, Raster)), default=0.0)
    bar = upright_bar(found, max(120.0, tiles.height - top), size)
    items = (*tiles.items, *moved(bar, round(tiles.width + gap), top if tiles.height - top >= 120 else 0))
    panel = Panel(items, tiles.width + gap + bar.width, max(tiles.height, bar.height))
    facts = picture_facts(found.tiles, found.scale, found.grid, sheet.recipe["cmap"])
    facts |= {"nonfinite": found.marks.nonfinite}
    return Body(panel, (*_missing(found), *_shortened(sheet, found)), fixed=True, facts=facts)


def _shortened(sheet: Sheet, found: Sheet) -> tuple[str, ...]:
    """That columns of strips show one value of several, on the page or because of the width of a box."""
    shorter = found.tiles.values.shape[2] < sheet.tiles.values.shape[2]
    if not is_strip(found.tiles) or not (shorter or any("values per strip" in note for note in sheet.notes)):
        return ()
    which = "the mean" if found.tiles.values.ndim == 4 else "the value farthest from zero"
    return (f"each column shows {which} of several",)


def upright_bar(sheet: Sheet, height: float, size: float) -> Panel:
    """The colour bar upright, with its ends and 0 at its right; three for red, green and blue."""
    tiles, scale = sheet.tiles, sheet.scale
    low, high = _bar_ends(sheet)
    wide, tall = 24.0, float(round(height))
    ends = (scale.low, scale.high) if scale.kind != "tile" else (-1.0 if scale.signed else 0.0, 1.0)
    items: list[Item] = []
    if _has_parts(tiles):
        foot, strips = math.ceil(size * LINE_HEIGHT), _strips(tiles, *ends, int(tall))
        tall -= foot
        for at, (strip, letter) in enumerate(zip(strips, tiles.parts, strict=True)):
            items.append(Raster(_upright(strip), at * (wide + 6), 0, wide, tall))
            items.append(Text(at * (wide + 6) + wide / 2, tall + foot - 4, letter[:1], size, QUIET, align="center"))
        wide = 3 * wide + 12
    else:
        shades = colour.bar_levels(*ends, int(tall), signed=scale.signed, cmap=sheet.colours)
        items.append(Raster(_upright(shades), 0, 0, wide, tall))
        items.append(outline(0, 0, wide, tall))
    labels = [(0.62 * size, high), (tall - 0.5 * size, low)]
    if scale.low == scale.high:
        labels = [(tall / 2, number_text(scale.low))]
    elif scale.low < 0 < scale.high:
        labels.append((tall * scale.high / (scale.high - scale.low), "0"))
    kept: list[tuple[float, str]] = []
    for y, text in labels:
        if all(abs(y - other) > 1.2 * size for other, _ in kept):
            kept.append((y, text))
    items += [Text(wide + 12, y, text, size, QUIET, middle=True) for y, text in kept]
    widest = max(text_width(text, size) for _, text in labels)
    return Panel(tuple(items), wide + 14 + widest, height)


def _upright(strip: Content) -> Content:
    """A strip from left to right as one from below to above."""
    if isinstance(strip, colour.Indexed):
        return replace(strip, index=strip.index[:, ::-1].T)
    return np.asarray(strip)[:, ::-1].swapaxes(0, 1)


def _has_parts(tiles: Tiles) -> bool:
    """Whether the colours of tiles have several parts, with a bar each."""
    return tiles.values.ndim == 4 and tiles.parts != OPPONENTS


def tiles_panel(sheet: Sheet, mosaic: Mosaic, unit: float) -> Panel:
    """The mosaic with the numbers of its rows and columns to its left and above it."""
    if sheet.tiles.layout == "heatmap":
        return _heat_map(sheet, mosaic, unit)
    size = LABEL * unit
    if sheet.tiles.pictures:
        rows, columns = _picture_labels(sheet, size)
    else:
        rows, columns = _row_labels(sheet, size), _column_labels(sheet, size)
    beside = float(math.ceil(max((text_width(item.text, size) for item in rows), default=0) + 14 * unit if rows else 0))
    name = _row_name(sheet, mosaic.pixels.shape[0], size) if rows else ""
    left = beside + (math.ceil(size * LINE_HEIGHT) if name else 0)
    lowest = [item.y - (text_width(item.text, size) if item.upright else size) for item in columns]
    top = float(math.ceil(max(0.0, -min(lowest, default=0.0))))
    height, width = mosaic.pixels.shape[:2]
    panel = Panel((Raster(content_of(sheet, mosaic), 0, 0, width, height), *columns), width, height)
    named = (
        [Text(size / 2, top + height / 2, name, size, GREY, align="center", middle=True, upright=True)] if name else []
    )
    placed = (*named, *moved(Panel(tuple(rows), 0, 0), left - 14 * unit, top), *moved(panel, left, top))
    return Panel(placed, left + width, top + height)


def _row_name(sheet: Sheet, height: int, size: float) -> str:
    """The name of a table's rows, if it fits along them."""
    name = sheet.tiles.rows.name if sheet.tiles.rows else ""
    return name if text_width(name, size) < height else ""


def _row_labels(sheet: Sheet, size: float) -> list[Text]:
    grid, tiles = sheet.grid, sheet.tiles
    rows, columns = grid.arrangement.shape
    centre = grid.tile[0] * grid.zoom[0] / 2
    if grid.numbered or (tiles.layout == "grid" and rows == 1):
        return []
    if tiles.rows is None:
        labels = [str(tiles.numbers[row * columns]) for row in range(rows)]
    else:
        labels = list(tiles.rows.labels) * (rows // len(tiles.rows.labels))
    pitch = float(np.diff(grid.tops).min()) if rows > 1 else math.inf
    regular = tiles.rows is None or _regular(tiles.rows.labels)
    step = _step(len(labels), size * 1.12 / pitch) if regular or pitch < size * 1.12 else 1
    return [
        Text(0, float(grid.tops[row]) + centre, labels[row], size, QUIET, align="right", middle=True)
        for row in range(0, rows, step)
    ]


def _column_labels(sheet: Sheet, size: float) -> list[Text]:
    grid, tiles = sheet.grid, sheet.tiles
    if tiles.is_reduced:
        return []
    wide = grid.tile[1] * grid.zoom[1]
    lefts = [float(left) for left in grid.lefts]
    if grid.numbered:
        widest = text_width(str(max(tiles.numbers)), size) + 0.3 * size
        step = _step(len(lefts), widest / (lefts[1] - lefts[0])) if len(lefts) > 1 else 1
        if ranges := _own_ranges(sheet, wide, size):
            return ranges
        return [
            _above(lefts[column] + wide / 2, float(grid.tops[row]), str(tiles.numbers[tile]), size)
            for (row, column), tile in np.ndenumerate(grid.arrangement)
            if 0 <= tile < len(tiles.numbers) and column % step == 0
        ]
    labels = [f"+{column}" for column in range(len(grid.lefts))]
    if tiles.columns is None:
        if len(labels) == 1 < len(grid.arrangement):
            return []
        if len(grid.arrangement) == 1:
            labels = [str(number) for number in tiles.numbers]
        return _along(labels, lefts, wide, float(grid.tops[0]), size, grouped=len(labels) > 16)
    texts = []
    for band, row in enumerate(range(0, len(grid.tops), grid.band or len(grid.tops))):
        part = tiles.columns.labels[band * len(grid.lefts) :][: len(grid.lefts)]
        texts += _along(part, lefts, wide, float(grid.tops[row]), size, grouped=len(lefts) > 32)
    return texts


def _picture_labels(sheet: Sheet, size: float) -> tuple[list[Text], list[Text]]:
    """Tiles of several pictures: the numbers of the first column; the names of the pictures, and the other numbers."""
    grid, tiles = sheet.grid, sheet.tiles
    many, centre, gap = len(tiles.pictures), grid.tile[0] * grid.zoom[0] / 2, 14 * size / LABEL
    wide, top = grid.tile[1] * grid.zoom[1], float(grid.tops[0])
    rows: list[Text] = []
    fit = all(text_width(name, size) <= wide + size for name in tiles.pictures)
    columns = [
        _above(left + wide / 2, top, tiles.pictures[at % many], size)
        if fit
        else Text(float(left), top - 0.4 * size, tiles.pictures[at % many], size, QUIET)
        for at, left in enumerate(grid.lefts)
    ]
    for (row, column), tile in np.ndenumerate(grid.arrangement[:, ::many]):
        if tile >= 0 and not tiles.is_reduced:
            x, y = float(grid.lefts[column * many]) - gap if column else 0.0, float(grid.tops[row]) + centre
            label = Text(x, y, str(tiles.numbers[tile]), size, QUIET, align="right", middle=True)
            (columns if column else rows).append(label)
    return rows, columns


def _own_ranges(sheet: Sheet, wide: float, size: float) -> list[Text]:
    """The number of each chosen map above it on the left and its range on the right, if both fit on all tiles."""
    grid, tiles = sheet.grid, sheet.tiles
    if tiles.noun != "map" or sheet.scale.kind != "tile":
        return []
    limits = colour.tile_limits(tiles.values, sheet.scale).ravel()
    labels = [f"{'±' if tiles.signed else '0…'}{number_text(limit)}" for limit in limits]
    widest = max(text_width(f"{number}  {label}", size) for number, label in zip(tiles.numbers, labels, strict=True))
    pitch = float(np.diff(grid.lefts).min()) if len(grid.lefts) > 1 else math.inf
    inset = max(0.0, 0.8 * size - (pitch - wide))  # so that it stands apart from the number of the next tile
    if widest + inset > wide:
        return []
    texts = []
    for (row, column), tile in np.ndenumerate(grid.arrangement):
        if 0 <= tile < len(labels):
            left, y = float(grid.lefts[column]), float(grid.tops[row]) - 0.4 * size
            texts.append(Text(left, y, str(tiles.numbers[tile]), size, QUIET))
            if tile not in sheet.marks.dead:
                texts.append(Text(left + wide - inset, y, labels[tile], size, QUIET, align="right"))
    return texts


def _along(
    labels: Sequence[str], lefts: Sequence[float], wide: float, top: float, size: float, *, grouped: bool = False
) -> list[Text]:
    """Labels above their columns: all, or every second, fourth, eighth; numbers out of order are turned upright instead."""
    widest = max(map(text_width, labels, repeat(size))) + 0.5 * size
    pitch = float(lefts[1] - lefts[0]) if len(lefts) > 1 else math.inf
    if widest > pitch and not _regular([label.removeprefix("+") for label in labels]):
        kept = range(0, len(labels), _step(len(labels), size * 1.05 / pitch))
        return [_above(lefts[i] + wide / 2, top, labels[i], size, upright=True) for i in kept]
    step = max(_step(len(labels), widest / pitch), 8 if grouped else 1)
    if step == 1:
        return [_above(lefts[i] + wide / 2, top, label, size) for i, label in enumerate(labels)]
    return [Text(float(lefts[i]), top - 0.4 * size, labels[i], size, QUIET) for i in range(0, len(labels), step)]


def _above(x: float, top: float, label: str, size: float, *, upright: bool = False) -> Text:
    return Text(float(x), float(top) - 0.4 * size, label, size, QUIET, align="center", upright=upright)


def _regular(labels: Sequence[str]) -> bool:
    """Whether every label follows from the first, so that some can be left out."""
    if not all(label.isdigit() for label in labels):
        return False
    return all(int(label) == int(labels[0]) + i for i, label in enumerate(labels))


def _step(count: int, needed: float) -> int:
    step = 1
    while step < needed and step < count:
        step *= 2
    return step


def _heat_map(sheet: Sheet, mosaic: Mosaic, unit: float) -> Panel:
    """One tile whose rows and columns are channels: ticks, and the names of both axes."""
    rows, columns, grid = sheet.tiles.rows, sheet.tiles.columns, sheet.grid
    if rows is None or columns is None:
        raise ValueError("A heat map has two axes.")
    size, tick, name = LABEL * unit, 9 * unit, CAPTION * unit
    height, width = mosaic.pixels.shape[:2]
    down = _ticks(rows, grid.zoom[0], size * 1.5)
    across = _ticks(columns, grid.zoom[1], text_width("0" * len(columns.labels[-1]), size) * 1.6 + size)
    beside = max(text_width(rows.labels[i], size) for i in down)
    left = float(math.ceil(name * LINE_HEIGHT + 10 * unit + beside + tick + 8 * unit))
    top = float(math.ceil(2 * size * LINE_HEIGHT + tick + 6 * unit))
    items: list[Item] = [Raster(content_of(sheet, mosaic), left, top, width, height)]
    for i in across:
        x = left + grid.pad + (i + 0.5) * grid.zoom[1]
        half = text_width(columns.labels[i], size) / 2
        items.append(Rule(x, top - tick, x, top, width=unit))
        middle = min(max(x, left + half - tick), left + width - half)  # apart from the first row's, and on the page
        items.append(Text(middle, top - tick - 8 * unit, columns.labels[i], size, QUIET, align="center"))
    for i in down:
        y = top + grid.pad + (i + 0.5) * grid.zoom[0]
        items.append(Rule(left - tick, y, left, y, width=unit))
        items.append(Text(left - tick - 8 * unit, y, rows.labels[i], size, QUIET, align="right", middle=True))
    if text_width(columns.name, name) < width:
        items.append(Text(left + width / 2, name, columns.name, name, GREY, align="center"))
    if text_width(rows.name, name) < height:
        items.append(Text(name, top + height / 2, rows.name, name, GREY, align="center", middle=True, upright=True))
    return Panel(tuple(items), left + width, top + height)


def _ticks(axis: Axis, zoom: int, room: float) -> range:
    """Every 1st, 2nd, 5th, 10th … row or column, as many as fit."""
    steps = (base * 10**power for power in range(6) for base in (1, 2, 5))
    step = next(step for step in steps if step * zoom >= room or step >= len(axis.labels))
    return range(0, len(axis.labels), step)


def bar_panel(sheet: Sheet, unit: float) -> Panel:
    """The colour bar with its quantity above and its ends below; no numbers if each tile has its own range."""
    tiles, scale = sheet.tiles, sheet.scale
    size = LABEL * unit
    low, high = _bar_ends(sheet)
    widest = max(text_width(part, size) for part in tiles.parts)
    several = _has_parts(tiles)
    left = float(round(max(34 * unit, widest + 12 * unit))) if several else 0.0
    room = left + text_width(low, size) + text_width(high, size) + size
    width = float(round(max(BAR_WIDTH * unit, room)))
    own = "kernel" if tiles.parts == OPPONENTS else "tile" if tiles.as_volumes is None else "map"
    heading = tiles.quantity if scale.kind != "tile" else f"one scale per {own}"
    items, y = text_block([heading], 0, 0, size)
    y = float(round(y + 8 * unit))
    ends = (scale.low, scale.high) if scale.kind != "tile" else (-1.0 if scale.signed else 0.0, 1.0)
    strips: Sequence[Content]
    if several:
        strips, pitch = _strips(tiles, *ends, int(width)), round(size * 1.12)
        for i, letter in enumerate(tiles.parts):
            items.append(Text(0, y + i * pitch + BAR_HEIGHT * unit / 2, letter, size, QUIET, middle=True))
    else:
        strips, pitch = [colour.bar_levels(*ends, int(width), signed=scale.signed, cmap=sheet.colours)], 0
    drop = 12 * unit + size * 0.8
    style = BarStyle(BAR_HEIGHT * unit, size, drop, clear=size, tick=6 * unit, line=unit)
    if scale.low == scale.high:
        texts, zero, label = ("", ""), (left + width) / 2, number_text(scale.low)
    else:
        texts, zero, label = (low, high), left + (width - left) * -scale.low / (scale.high - scale.low), "0"
    bar, foot = colour_bar(
        strips, texts, style, left=left, top=y, right=width, middle=zero, middle_label=label, pitch=pitch
    )
    return Panel((*items, *bar), width, foot - drop + 12 * unit + size * 1.1)


def _strips(tiles: Tiles, low: float, high: float, count: int) -> list[Content]:
    """A strip each for red, green and blue, or for the components that are drawn in other colours."""
    limit = max(abs(low), abs(high)) or 1.0
    scale = colour.Scale("layer", low / limit, high / limit, tiles.signed)
    share = np.linspace(scale.low, scale.high, count)
    if len(tiles.pictures) == len(tiles.parts):
        return [colour.bar_levels(low, high, count, signed=True)] * len(tiles.parts)
    if tiles.pictures:
        lighter, warmer = (colour.component_pixels(*pair)[None] for pair in ((share, 0 * share), (0 * share, share)))
        return [lighter, warmer, colour.bar_levels(low, high, count, signed=True)]
    rows = colour.rgb_pixels(np.stack([np.eye(3) * value for value in share], axis=1), scale)
    return [rows[i : i + 1] for i in range(3)]


def _bar_ends(sheet: Sheet) -> tuple[str, str]:
    scale = sheet.scale
    if scale.kind == "tile":
        return ("−max", "+max") if scale.signed else ("0", "max")
    low = ("≤ " if scale.below else "") + number_text(scale.low, plus=True)
    return low, ("≥ " if scale.above else "") + number_text(scale.high, plus=scale.signed or scale.kind == "range")


class Choices(TypedDict, total=False):
    """The keyword arguments of ``plot_kernels``."""

    transposed: bool
    view: str
    channels: str | Sequence[int] | None
    top: int | None
    sort: str | None
    scale: ScaleChoice | None
    cmap: str | None
    columns: int | None
    zoom: int | None
    layout: Layout | None
    palette: Palette
    look: LookName
    caption: bool


@overload
def plot_kernels(kernels: object, *, ax: None = None, **choices: Unpack[Choices]) -> PageFigure: ...
@overload
def plot_kernels(kernels: object, *, ax: Axes, **choices: Unpack[Choices]) -> Axes: ...
def plot_kernels(
    kernels: object,
    *,
    ax: Axes | None = None,
    transposed: bool = False,
    view: str = "auto",
    channels: str | Sequence[int] | None = None,
    top: int | None = None,
    sort: str | None = None,
    scale: ScaleChoice | None = None,
    cmap: str | None = None,
    columns: int | None = None,
    zoom: int | None = None,
    layout: Layout | None = None,
    palette: Palette = "standard",
    look: LookName = "page",
    caption: bool = True,
) -> PageFigure | Axes:
    """Draw the kernels of one layer: a KernelBank, or a plain weight (out_channels, in_channels / groups, height, width).

    Args:
        kernels: A ``KernelBank``, or a plain weight, tensor or array. Kernels of one and three axes are drawn as strips and
            as columns of slices.
        ax: Draw the tiles and the colour bar into this Axes of matplotlib, which is returned and otherwise unchanged.
            Without it a new figure is returned, a page with title and caption.
        transposed: Whether a plain weight is that of a transposed convolution, (in_channels, out_channels, height, width).
        view: ``rgb`` (three input channels as red, green and blue), ``sum`` or ``norm`` (over the input channels),
            ``channels`` (each input channel apart), ``matrix`` (a table of all planes, a heat map of 1 × 1 kernels) or
            ``spectrum`` (frequency responses). ``auto`` depends on the shape.
        channels: The kernels to draw, ``"0-15,40"`` or numbers; by default all.
        top: Draw only the first so many, in the order of ``sort``.
        sort: ``index``, or ``norm``, ``mean``, ``max`` or ``std``, largest first; the default is ``index``, or ``norm`` if
            ``top`` is given.
        scale: The range of the colours: ``tile`` (each its own), ``layer`` (one for all) or two numbers; the default is
            ``tile`` for ``rgb`` and ``layer`` for any other view.
        cmap: A colour map of matplotlib; the view ``rgb`` takes none.
        columns: Tiles per row; by default as the page has space for.
        zoom: Pixels per weight; by default as the page has space for.
        layout: Of a plain weight: ``torch``, or ``keras``, (height, width, in_channels, out_channels). Without it, a shape
            such as (3, 3, 3, 32), which is more likely that of Keras, is rejected.
        palette: ``safe`` is for every kind of colour vision: kernels as ``rgb`` are drawn as light–dark, yellow–blue and
            red–green planes too; the colours of the other views are safe already. ``planes`` draws the planes alone, as
            the look ``print`` does.
        look: ``page``, ``slide`` (1280 × 720 pixels, large type), ``dark`` or ``print``.
        caption: Whether identity and caption are drawn; without them they are only in the recipe.

    Raises:
        UsageError: A shape, view, scale, colour map, palette or choice does not fit, or a weight may be of either layout.

    Example:
        >>> weight = torch.nn.Conv2d(3, 16, 5).weight
        >>> figure = kernelviz.plot_kernels(weight)
        >>> figure = kernelviz.plot_kernels(weight, view="sum", top=8, look="dark")
    """
    bank = as_bank(kernels, transposed=transposed, layout=layout)
    draw = partial(make_sheet, bank, view=view, channels=channels, top=top, sort=sort, scale=scale, cmap=cmap)
    chosen = find_look(look, caption=caption)
    return _plot(partial(draw, palette=chosen.palette(palette)), ax, columns, zoom, chosen)


class MapChoices(TypedDict, total=False):
    """The keyword arguments of ``plot_features``."""

    axes: int | None
    reduce: MapView | None
    basis: Basis | None
    channels: str | Sequence[int] | None
    top: int | None
    sort: str | None
    scale: ScaleChoice | None
    cmap: str | None
    columns: int | None
    zoom: int | None
    palette: Palette
    look: LookName
    caption: bool


@overload
def plot_features(maps: object, *, ax: None = None, **choices: Unpack[MapChoices]) -> PageFigure: ...
@overload
def plot_features(maps: object, *, ax: Axes, **choices: Unpack[MapChoices]) -> Axes: ...
def plot_features(
    maps: object,
    *,
    ax: Axes | None = None,
    axes: int | None = None,
    reduce: MapView | None = None,
    basis: Basis | None = None,
    channels: str | Sequence[int] | None = None,
    top: int | None = None,
    sort: str | None = None,
    scale: ScaleChoice | None = None,
    cmap: str | None = None,
    columns: int | None = None,
    zoom: int | None = None,
    palette: Palette = "standard",
    look: LookName = "page",
    caption: bool = True,
) -> PageFigure | Axes:
    """Draw the feature maps of one layer: a FeatureMaps, or a plain array or tensor (C, H, W) or (1, C, H, W).

    Args:
        maps: A ``FeatureMaps``, or an array or tensor. Maps of one axis, (C, L), are drawn as strips, those of three,
            (1, C, D, H, W), as slices. Of signals longer than the page is wide, each column shows the value farthest from
            zero of several, and the caption states how many.
        ax: Draw the tiles and the colour bar into this Axes of matplotlib, which is returned and otherwise unchanged.
            Without it a new figure is returned, a page with title and caption.
        axes: How many axes the maps of an array have if its shape leaves that open: 1 for (1, C, L), 3 for (C, D, H, W).
        reduce: Draw one map instead of all: at each position the ``mean``, ``max`` or ``norm`` over the chosen channels,
            or, as colour, the first three principal components (``pca``).
        basis: The components of ``pca``; without it they are fitted to these maps alone.
        channels: The maps to draw, ``"0-15,40"`` or numbers; by default all.
        top: Draw only the first so many, in the order of ``sort``.
        sort: ``index``, or ``norm``, ``mean``, ``max`` or ``std``, largest first; the default is ``index``, or ``norm`` if
            ``top`` is given.
        scale: The range of the colours: ``tile`` (each its own), ``layer`` (one for all) or two numbers; the default is
            ``tile`` for maps and ``layer`` for a reduction.
        cmap: A colour map of matplotlib; ``pca`` takes none.
        columns: Tiles per row; by default as the page has space for.
        zoom: Pixels per value; by default as the page has space for.
        palette: ``safe`` is for every kind of colour vision: the first component is drawn as light–dark, the second as
            orange–blue, and the third apart from them; the colours of the other reductions are safe already. ``planes``
            draws each component by itself, as the look ``print`` does.
        look: ``page``, ``slide`` (1280 × 720 pixels, large type), ``dark`` or ``print``.
        caption: Whether identity and caption are drawn; without them they are only in the recipe.

    Raises:
        UsageError: A shape, scale, palette or choice does not fit.

    Example:
        >>> maps = torch.rand(32, 14, 14)  # or of capture_features
        >>> figure = kernelviz.plot_features(maps, top=16)
        >>> figure = kernelviz.plot_features(maps, reduce="norm")
    """
    subject, view = as_maps(maps, of_any_axes=True, axes=axes), reduce or "maps"
    choice = partial(make_sheet, subject, view=view, channels=channels, top=top, sort=sort, scale=scale, cmap=cmap)
    chosen = find_look(look, caption=caption)
    return _plot(partial(choice, basis=basis, palette=chosen.palette(palette)), ax, columns, zoom, chosen)


def _plot(
    draw: Callable[..., Sheet], ax: Axes | None, columns: int | None, zoom: int | None, look: Look
) -> PageFigure | Axes:
    """A page of its own, or into an Axes."""
    if ax is not None and (look.size or not look.caption):
        raise UsageError(
            "Size and caption are those of a page, and an Axes is none.", hint="Omit look or caption, or ax."
        )
    sheet = draw(columns=columns, zoom=zoom)
    if ax is None:
        return draw_sheet(sheet, look)
    if zoom is None and sheet.tiles.layout == "grid" and sheet.grid.zoom[0] == sheet.grid.zoom[1]:
        across = sheet.grid.arrangement.shape[1] // max(1, len(sheet.tiles.pictures))
        sheet = draw(columns=across, zoom=_zoom_for(ax, sheet))
    return _draw_into(ax, sheet, look)


def _zoom_for(ax: Axes, sheet: Sheet) -> int:
    """The zoom at which the tiles are slightly smaller than the Axes, since enlarging loses no line of pixels."""
    box, grid = ax.get_window_extent(), sheet.grid
    return max(1, math.floor(grid.zoom[1] * min(0.88 * box.width / grid.width, 0.78 * box.height / grid.height)))


def draw_sheet(sheet: Sheet, look: Look = LOOKS["page"]) -> PageFigure:
    """A sheet as a page of its own."""
    return draw_page(mosaic_page(sheet, make_mosaic(sheet)), sheet.recipe, look)


def _draw_into(ax: Axes, sheet: Sheet, look: Look) -> Axes:
    """Draw tiles and bar in the coordinates of the Axes, with type of about 8 points; its ground stays the caller's."""
    mosaic = make_mosaic(sheet)
    box = ax.get_window_extent()
    pixels_per_point = ax.get_figure(root=True).dpi / 72  # type: ignore[union-attr]
    width = mosaic.pixels.shape[1]
    unit = max(0.2, 8 / 25 * pixels_per_point * 1.1 * width / max(1.0, box.width))
    tiles, bar = tiles_panel(sheet, mosaic, unit), bar_panel(sheet, unit)
    total = max(tiles.width, bar.width)
    height = tiles.height + 20 * unit + bar.height
    items = (*moved(tiles, 0, 0), *moved(bar, total - bar.width, tiles.height + 20 * unit))
    if is_untrained(sheet.recipe):
        label = badge(LABEL * unit)
        beside = label.width + 20 * unit <= total - bar.width
        items += moved(label, 0, tiles.height + 20 * unit if beside else height + 10 * unit)
        height += 0 if beside else label.height + 10 * unit
    ax.set(xlim=(0, total), ylim=(height, 0), aspect="equal", xticks=[], yticks=[])
    ax.set_axis_off()
    share = min(box.width / total, box.height / height)
    add_items(ax, items, share / pixels_per_point, look)
    return ax

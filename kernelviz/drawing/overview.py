"""How a network sees one image: the image, its first classes, and the most varied maps of a few layers."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from kernelviz.drawing import colour
from kernelviz.drawing.colour import Indexed, Ramp
from kernelviz.drawing.looks import find_look
from kernelviz.drawing.page import (
    BAR_HEIGHT,
    BAR_WIDTH,
    GREY,
    INK,
    LABEL,
    LINE_HEIGHT,
    MARGIN,
    OUTLINE,
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
    caption_block,
    colour_bar,
    drawable,
    heading,
    moved,
    text_block,
    wrap,
)
from kernelviz.drawing.sheets import image_facts, source_facts
from kernelviz.errors import UsageError
from kernelviz.views.map_views import Highlights, downsampled, highlights_of, overview_notes
from kernelviz.wording import PART, counted, inflected, sentence

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kernelviz.drawing.figures import PageFigure
    from kernelviz.drawing.looks import LookName
    from kernelviz.drawing.page import Box
    from kernelviz.records import Array, ClassScore, FeatureMaps


WIDTH = 1812.0
UNIT = WIDTH / 1552
LEFT, WIDEST_LEFT = 560.0, 760.0  # of the image with its classes; the image alone may be larger
GAP = 56.0
SIZE = 0.9 * LABEL * UNIT
TILE_GAP = 16.0
WIDEST_TILE = 200.0
MOST_LAYERS, FEWEST, MOST_ROWS = 9, 5, 3
FEWEST_BROKEN = 7  # layers whose names are broken even beside fewer
HEAD_LINES = 3
BAR, TRACK = "bar", "track"


def plot_overview(
    layers: Sequence[FeatureMaps | Highlights],
    classes: Sequence[ClassScore] = (),
    *,
    cmap: str | None = None,
    look: LookName = "page",
    caption: bool = True,
    complete: bool = True,
) -> PageFigure:
    """Draw one image in several layers: the network's input, its first classes, and the most varied maps.

    One column per layer (one row if there are few) with the five most varied maps; near-duplicates
    (|correlation| ≥ 0.98) are left out. At most nine layers are shown, seven if their names are long, evenly spread from
    the first to the last. ``cmap`` is a colour map of matplotlib for all maps.

    ``look`` is ``page``, ``slide``, ``dark`` or ``print``; ``caption=False`` leaves out identity and caption. If the
    layers are not ``complete``, since the forward pass broke after them, the page states it.

    Raises:
        UsageError: There is no layer, or no such colour map.

    Example:
        >>> network = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(), torch.nn.MaxPool2d(2))
        >>> maps = kernelviz.capture_features(network, torch.rand(3, 32, 32), ["1", "2"])
        >>> figure = kernelviz.plot_overview(maps)
    """
    from kernelviz.drawing.figures import draw_page

    if not layers:
        raise UsageError("There is no layer to draw.")
    columns = [each if isinstance(each, Highlights) else highlights_of(each) for each in layers]
    shown = _fitting_layers(columns)
    page, recipe = overview_page(shown, classes, len(columns), cmap, complete=complete), _recipe(shown, classes, cmap)
    return draw_page(page, recipe, find_look(look, caption=caption))


def _fitting_layers(columns: Sequence[Highlights]) -> list[Highlights]:
    """Layers from the first to the last: at most nine, fewer if their names would be broken within words."""
    room = WIDTH - 2 * MARGIN * UNIT - (LEFT + GAP if columns[0].seen is not None else 0)
    for most in range(MOST_LAYERS, FEWEST - 1, -1):
        kept = _spread(columns, most)
        if all(_fits(column, _tile_width(room, len(kept))) for column in kept):
            return kept
    return _spread(columns, FEWEST_BROKEN)


def _spread(columns: Sequence[Highlights], most: int) -> list[Highlights]:
    if len(columns) <= most:
        return list(columns)
    return [columns[i] for i in sorted({round(i * (len(columns) - 1) / (most - 1)) for i in range(most)})]


def _fits(column: Highlights, wide: float) -> bool:
    """Whether the layer's name fits above its maps in a few lines that are not broken within a word."""
    lines = _head(column, wide)
    return len(lines) <= HEAD_LINES and all(line[-1] in "._/" for line in lines[:-1])


def _head(column: Highlights, wide: float) -> list[str]:
    return wrap(drawable(column.layer or "maps", bold=True), SIZE, wide, bold=True)


def _tile_width(room: float, columns: int) -> int:
    return math.floor(min(WIDEST_TILE, (room + TILE_GAP) / columns - TILE_GAP))


def overview_page(
    columns: Sequence[Highlights],
    classes: Sequence[ClassScore],
    total: int,
    cmap: str | None = None,
    *,
    complete: bool = True,
) -> Panel:
    """The page: title, the image with its classes on the left, a column of maps for each layer, caption and keys."""
    first = columns[0]
    margin, inner = MARGIN * UNIT, WIDTH - 2 * MARGIN * UNIT
    items, top = heading(
        _title(first), _identity(first, len(columns), total, complete=complete), (margin, margin * 0.75), inner, UNIT
    )
    top += 26 * UNIT
    maps_left = margin
    left_bottom = top
    if first.seen is not None:
        panel = _left(first, classes, _left_width(columns, classes))
        items += moved(panel, round(margin), round(top))
        left_bottom = top + panel.height
        maps_left = margin + panel.width + GAP
    right = _maps(columns, WIDTH - margin - maps_left, cmap)
    items += moved(right, round(maps_left), round(top))
    bottom = max(left_bottom, top + right.height) + 34 * UNIT
    keys = _keys({column.signed for column in columns}, cmap)
    lines = _caption(columns)
    words, below = caption_block(lines, (margin, bottom), inner - keys.width - 44 * UNIT, UNIT)
    items += [*words, *moved(keys, round(margin + inner - keys.width), round(bottom + 4 * UNIT))]
    parts = partial(_parts, columns, classes, total, cmap, complete=complete)
    return Panel(tuple(items), WIDTH, math.ceil(max(below, bottom + keys.height) + margin * 0.7), parts)


def _parts(
    columns: Sequence[Highlights], classes: Sequence[ClassScore], total: int, cmap: str | None, *, complete: bool
) -> PageParts:
    first = columns[0]
    whole = _body(columns, classes, cmap)

    def boxed(_box: Box, maps: int, scores: int, layers: int) -> Body:
        kept = [
            replace(each, numbers=each.numbers[:maps], values=each.values[:maps]) for each in _spread(columns, layers)
        ]
        tallest = _box.height / _box.width * whole.width
        drawn = [f"{len(kept)} of {counted(total, 'layer')}"] if len(kept) < total else []
        cut = [f"{maps} maps of each layer"] if any(len(each.numbers) > maps for each in columns) else []
        names = [{"name": column.layer, "channels": list(column.numbers)} for column in kept]
        facts = {"layers": names, "shown": len(kept)}
        return Body(_body(kept, classes[:scores], cmap, tallest), (*drawn, *cut), facts=facts)

    sizes = [(5, 5), (4, 5), (3, 5), (3, 3), (2, 3), (1, 2)]
    versions = [
        partial(boxed, maps=maps, scores=scores, layers=layers)
        for layers in (len(columns), *(fewer for fewer in (6, 4, 3) if fewer < len(columns)))
        for maps, scores in sizes
    ]
    source = first.source.short_label if first.source else ""
    notices = (f"{len(columns)} of {counted(total, 'layer')}",) if len(columns) < total else ()
    identity, caption = _identity(first, len(columns), total, complete=complete), tuple(_caption(columns))
    return PageParts(_title(first), whole, "", source, identity, caption, notices, tuple(versions), size=TITLE * UNIT)


def _body(
    columns: Sequence[Highlights], classes: Sequence[ClassScore], cmap: str | None, tallest: float = math.inf
) -> Panel:
    """The image with its classes, the maps, and the colour bars below them."""
    first, inner = columns[0], WIDTH - 2 * MARGIN * UNIT
    items: list[Item] = []
    left = 0.0
    bottom = 0.0
    if first.seen is not None:
        lines, wide = LABEL * UNIT * LINE_HEIGHT, _left_width(columns, classes)
        panel = _left(first, classes, wide, max(240.0, tallest - (len(classes) + 2) * (lines + 18 * UNIT)))
        items += panel.items
        left, bottom = wide + GAP, panel.height
    keys = _keys({column.signed for column in columns}, cmap)
    room = tallest - keys.height - 20 * UNIT
    if len(columns) <= MOST_ROWS:
        widest = (room + 24 * UNIT) / len(columns) - 2 * SIZE * LINE_HEIGHT - 55 * UNIT - SIZE
    else:
        most = max(1, *(len(column.numbers) for column in columns))
        widest = (room - 4 * SIZE * LINE_HEIGHT) / most - 21 * UNIT - 0.76 * SIZE
    right = _maps(columns, inner - left, cmap, max(110.0, widest))
    items += moved(right, round(left), 0)
    y = round(right.height + 20 * UNIT)
    items += moved(keys, round(inner - keys.width), y)
    return Panel(tuple(items), inner, max(bottom, y + keys.height))


def _title(column: Highlights) -> str:
    model = column.source.model if column.source else "the network"
    return f"How {model} sees {column.image.name}" if column.image else f"How {model} sees its input"


def _identity(column: Highlights, shown: int, total: int, *, complete: bool) -> str:
    many = f"{shown} of {total} layers" if shown < total else f"{shown} {inflected(shown, 'layer')}"
    which = " before the forward pass failed" if not complete else ", from first to last" if shown > 1 else ""
    parts = [column.source.short_label] if column.source else []
    return PART.join([*parts, f"maps of {many}{which}"])


def _left_width(columns: Sequence[Highlights], classes: Sequence[ClassScore]) -> float:
    """The width of the image: without classes below it, as large as the maps beside it allow.

    It gets no taller than the maps, whose shapes and parts of names stay on one line.
    """
    inner = WIDTH - 2 * MARGIN * UNIT - GAP
    for wide in np.arange(WIDEST_LEFT, LEFT, -10.0) if not classes else ():
        tile = inner - wide if len(columns) <= MOST_ROWS else _tile_width(inner - wide, len(columns))
        fit = all(_fits(each, tile) and len(wrap(_shape(each.shape), SIZE, tile)) == 1 for each in columns)
        if fit and _left(columns[0], (), float(wide)).height <= _maps(columns, inner - wide, None).height:
            return float(wide)
    return LEFT


def _left(column: Highlights, classes: Sequence[ClassScore], room: float, side: float = math.inf) -> Panel:
    """The network's input, of this side if it is a square, and its first classes with a bar each, in this width."""
    pixels = column.seen.pixels if column.seen is not None else np.zeros((1, 1, 3), np.uint8)
    size = LABEL * UNIT
    wide = min(room, side, 1.4 * min(room, side) * pixels.shape[1] / pixels.shape[0])
    tall = round(wide * pixels.shape[0] / pixels.shape[1])
    rows, across = pixels.shape[:2]
    words = wrap(f"what the network saw, {rows} × {across}", size, room)
    items, y = text_block(words, 0, 0, size, colour=QUIET)
    y = float(round(y + 6 * UNIT))
    items.append(Raster(pixels, 0, y, round(wide), tall))
    y += tall + 30 * UNIT
    if classes:
        name = "top five classes" if len(classes) == 5 else "top classes"
        label, y = text_block([name], 0, y, size, colour=QUIET)
        items += label
    for number, score in enumerate(classes):
        row, y = _class_row(score, y + 6 * UNIT, best=number == 0)
        items += row
    return Panel(tuple(items), room, y)


def _class_row(score: ClassScore, y: float, *, best: bool) -> tuple[list[Item], float]:
    size, shade = LABEL * UNIT, INK if best else GREY
    share = f"{100 * score.probability:.1f} %"
    name = drawable(score.label if score.label is not None else f"class {score.index}")
    items, below = text_block(wrap(name, size, LEFT - 4.6 * size), 0, y, size, colour=shade)
    items.append(Text(LEFT, y + size, share, size, shade, align="right"))
    line = below + 4 * UNIT
    items.append(Rule(0, line, LEFT, line, TRACK, width=7 * UNIT))
    items.append(Rule(0, line, max(2.0, LEFT * min(1.0, score.probability)), line, BAR, width=7 * UNIT))
    return items, line + 6 * UNIT


def _maps(columns: Sequence[Highlights], width: float, cmap: str | None, widest: float = math.inf) -> Panel:
    """The maps of all layers: one column per layer, or one row per layer if there are few."""
    return (_rows if len(columns) <= MOST_ROWS else _columns)(columns, width, cmap, widest)


def _columns(columns: Sequence[Highlights], width: float, cmap: str | None, widest: float = math.inf) -> Panel:
    """One column per layer: name, shape, and maps with their numbers; all tiles have one width."""
    tile = math.floor(min(widest, _tile_width(width, len(columns))))
    pitch = (width + TILE_GAP) / len(columns)
    room = tile if widest >= WIDEST_TILE else pitch - TILE_GAP
    heads = [_head(column, room) for column in columns]
    shapes = [wrap(_shape(column.shape), SIZE, room) for column in columns]
    name_lines, shape_lines = max(map(len, heads)), max(map(len, shapes))
    items: list[Item] = []
    bottom = 0.0
    for number, (column, head, shape) in enumerate(zip(columns, heads, shapes, strict=True)):
        x = round(number * pitch)
        top = (name_lines - len(head)) * SIZE * LINE_HEIGHT
        words, _ = _heading(head, shape, x, top)
        y = (name_lines + shape_lines) * SIZE * LINE_HEIGHT
        items += [*words, Rule(x, y + 6 * UNIT, x + tile, y + 6 * UNIT, colour="rule", width=UNIT)]
        y += 10 * UNIT
        for channel, values in zip(column.numbers, column.values, strict=True):
            tiles, y = _tile(channel, values, (x, y), tile, column=column, cmap=cmap)
            items += tiles
        items += _empty_label(column, x, y, tile)
        bottom = max(bottom, y, y + 3 * SIZE * (not column.numbers))
    return Panel(tuple(items), width, bottom)


def _rows(columns: Sequence[Highlights], width: float, cmap: str | None, widest: float = math.inf) -> Panel:
    """The same for few layers: one row per layer."""
    across = max(MOST_ROWS + 1, *(len(column.numbers) for column in columns))
    tile = math.floor(min(widest, _tile_width(width, across)))
    if len(columns) == 1 and across > MOST_ROWS:  # larger, in two rows
        room = math.floor(min((width + TILE_GAP) / MOST_ROWS - TILE_GAP, (widest - 21 * UNIT - SIZE) / 2))
        across, tile = (MOST_ROWS, room) if room > tile else (across, tile)
    items: list[Item] = []
    y = 0.0
    for column in columns:
        words, y = _heading(_head(column, width), [_shape(column.shape)], 0, y)
        items += [*words, Rule(0, y + 6 * UNIT, width, y + 6 * UNIT, colour="rule", width=UNIT)]
        top, y = y + 10 * UNIT, y + 10 * UNIT + 3 * SIZE * (not column.numbers)
        for number, (channel, values) in enumerate(zip(column.numbers, column.values, strict=True)):
            if number and number % across == 0:
                top = y
            x = round(number % across * (tile + TILE_GAP))
            tiles, bottom = _tile(channel, values, (x, top), tile, column=column, cmap=cmap)
            items += tiles
            y = max(y, bottom)
        items += _empty_label(column, 0, top, width)
        y += 24 * UNIT
    return Panel(tuple(items), width, y - 24 * UNIT)


def _heading(head: list[str], shape: list[str], x: float, y: float) -> tuple[list[Item], float]:
    words, y = text_block(head, x, y, SIZE, colour=INK, bold=True)
    more, y = text_block(shape, x, y, SIZE, colour=QUIET)
    return [*words, *more], y


def _empty_label(column: Highlights, x: float, y: float, width: float) -> list[Item]:
    """The text shown instead of maps if no map varies."""
    return [] if column.numbers else text_block(wrap("no map varies", SIZE, width), x, y, SIZE, colour=QUIET)[0]


def _shape(shape: Sequence[int]) -> str:
    channels, height, width = shape
    return f"{channels:,} × {height}²" if height == width else f"{channels:,} × {height} × {width}"


def _tile(
    channel: int, values: Array, at: tuple[float, float], wide: int, *, column: Highlights, cmap: str | None
) -> tuple[list[Item], float]:
    """One map under its number, from (x, y) on, and the y below it."""
    x, y = at
    baseline = y + 14 * UNIT + 0.76 * SIZE  # nearer to its own tile than to the one above
    tall = max(2, min(2 * wide, round(wide * values.shape[0] / values.shape[1])))
    top = round(baseline + 7 * UNIT)
    pixels = _coloured(downsampled(values, tall, wide), signed=column.signed, cmap=cmap)
    label = Text(x, baseline, str(channel), SIZE, QUIET)
    return [label, Raster(pixels, x, top, wide, tall), *_outline(x, top, wide, tall)], top + tall


def _outline(x: float, y: float, wide: float, tall: float) -> list[Item]:
    right, bottom = x + wide, y + tall
    sides = ((x, y, right, y), (x, bottom, right, bottom), (x, y, x, bottom), (right, y, right, bottom))
    return [Rule(*side, OUTLINE) for side in sides]


def _coloured(values: Array, *, signed: bool, cmap: str | None) -> Indexed:
    limit = float(np.abs(values[np.isfinite(values)]).max(initial=0.0))
    scale = colour.Scale("layer", -limit if signed else 0.0, limit, signed)
    return Indexed(colour.levels(values, scale), Ramp(cmap or colour.map_colours(signed=signed), signed))


def _keys(kinds: set[bool], cmap: str | None) -> Panel:
    """What the colours mean: each tile has its own range; one bar for signed layers, one for others."""
    size, width, tall = LABEL * UNIT, float(round(BAR_WIDTH * UNIT)), float(round(BAR_HEIGHT * UNIT))
    style = BarStyle(tall, size, 6 * UNIT + size, clear=size)
    items, y = text_block(["one scale per map"], 0, 0, size)
    for signed in sorted(kinds, reverse=True):
        colours = cmap or colour.map_colours(signed=signed)
        strip = colour.bar_levels(-1.0 if signed else 0.0, 1.0, int(width), signed=signed, cmap=colours)
        ends, zero = (("−max", "+max"), width / 2) if signed else (("0", "max"), None)
        bar, foot = colour_bar([strip], ends, style, top=float(round(y + 8 * UNIT)), right=width, middle=zero)
        items += bar
        y = foot + 0.8 * size  # nearer to its own bar than to the next one
    return Panel(tuple(items), width, y)


def _caption(columns: Sequence[Highlights]) -> list[str]:
    most = max(len(column.numbers) for column in columns)
    lines = [
        f"The {most} most varied maps of each layer, without near-duplicates; channel numbers above them",
        "One colour scale per map, so colours are not comparable between maps",
    ]
    return [*lines, *map(sentence, overview_notes(columns))]


def _recipe(columns: Sequence[Highlights], classes: Sequence[ClassScore], cmap: str | None) -> dict[str, Any]:
    first = columns[0]
    return {
        **source_facts("features", first.source),
        "layer": None,
        "view": "overview",
        **({"cmap": cmap} if cmap else {}),
        **image_facts(first.image.as_recipe() if first.image else None, first.source),
        "input_size": list(first.input_size) if first.input_size else None,
        "seen": first.seen.as_recipe() if first.seen else None,
        "layers": [{"name": column.layer, "channels": list(column.numbers)} for column in columns],
        "classes": [{"index": each.index, "label": each.label, "probability": each.probability} for each in classes],
    }

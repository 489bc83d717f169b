"""An image that moves, one map of some layers for each shift, and how similar all their maps stay."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from kernelviz.drawing import colour
from kernelviz.drawing.looks import find_look
from kernelviz.drawing.page import (
    GREY,
    INK,
    LINE_HEIGHT,
    MARGIN,
    OUTLINE,
    PAGE_WIDTH,
    QUIET,
    SEPARATOR,
    Body,
    Item,
    Panel,
    Raster,
    Rule,
    Shape,
    Strokes,
    Text,
    caption_block,
    drawable,
    heading,
    moved,
    outline,
    text_block,
    text_width,
    whole_body,
    wrap,
)
from kernelviz.drawing.sheets import source_facts
from kernelviz.views.map_views import downsampled
from kernelviz.views.shifts import cosine_text
from kernelviz.wording import PART, counted, number_text, sentence

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kernelviz.drawing.figures import PageFigure
    from kernelviz.drawing.looks import LookName
    from kernelviz.drawing.page import Box, PageParts
    from kernelviz.views.shifts import ShiftedImage, ShiftedLayer


TYPE, SMALL, HEAD = 25.0, 23.0, 27.0
PICTURES, TILE_GAP = 1036.0, 14.0  # the width of all tiles of a row, and between two
WIDEST, WIDEST_OF_FEW, FEW = 200.0, 320.0, 3  # of a tile, and if there are few layers
LEFT, RIGHT = 1160.0, PAGE_WIDTH - MARGIN  # of the charts
RING, CURVE = 8.0, 4.0
HALO = "paper"
NEAREST_FRAME = 9.0  # pixels from the middle of a frame to its sides, at least
CLASS_LINES = 3
MOVED_ALONG = "with shifted original maps"


def plot_shift(shifted: ShiftedImage, *, look: LookName = "page", caption: bool = True) -> PageFigure:
    """Draw an image that moves, and what the layers make of it.

    One column per shift: the moved image, one map of each layer, and the likeliest class. On the right for each layer
    the cosine of all its maps with the unmoved ones as a line, and with the unmoved ones moved along as rings.

    ``look`` is ``page``, ``slide``, ``dark`` or ``print``; ``caption=False`` leaves out identity and caption.

    Example:
        >>> network = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.ReLU())
        >>> shifted = kernelviz.shift_image(network, torch.rand(3, 32, 32), by=[0, 2, 4], layers=["0", "1"])
        >>> figure = kernelviz.plot_shift(shifted)
    """
    from kernelviz.drawing.figures import draw_page

    return draw_page(shift_page(shifted), shift_recipe(shifted), find_look(look, caption=caption))


def shift_recipe(shifted: ShiftedImage) -> dict[str, Any]:
    """The recipe of the picture; it contains no path."""
    return {
        **source_facts("shift", shifted.source),
        "layer": None,
        "view": "shift",
        "image": shifted.image.as_recipe() if shifted.image else None,
        "input_size": list(shifted.input_size) if shifted.input_size else None,
        "seen": shifted.seen.as_recipe() if shifted.seen else None,
        "by": list(shifted.by),
        "along": shifted.along,
        "repeated": shifted.repeated,
        "layers": [{"name": layer.name, "channels": [layer.channel]} for layer in shifted.layers],
    }


def shift_page(shifted: ShiftedImage) -> Panel:
    """The page: title, a row of images, a row of maps with its chart for each layer, classes and caption."""
    inner = PAGE_WIDTH - 2 * MARGIN
    title = "Response to shifts of the image"
    items, y = heading(title, _identity(shifted), (MARGIN, 0.75 * MARGIN), inner, 1.0)
    start, before = y, len(items)
    wide = _tile(shifted)
    words = max((_row_words(layer)[1] for layer in shifted.layers), default=0.0)
    charts = min(LEFT, MARGIN + max(len(shifted.by) * (wide + TILE_GAP) + 3.4 * TYPE, words + 3 * TYPE))
    more, y = _rows(shifted, Columns(wide, round(charts)), y + 26)
    items += more
    body = items[before:], (MARGIN, start, PAGE_WIDTH - MARGIN, y)
    items.append(Rule(MARGIN, y, PAGE_WIDTH - MARGIN, y, SEPARATOR, 2))
    lines = _caption(shifted)
    more, y = caption_block(lines, (MARGIN, y + 12), inner, 1.0)
    parts = partial(_parts, shifted, title, body, lines)
    return Panel((*items, *more), PAGE_WIDTH, float(round(y + 0.6 * MARGIN)), parts)


@dataclass(frozen=True)
class Columns:
    """The width of the tiles, where the charts begin, their least height, and whether each row has a colour bar.

    ``words`` is where the words about a layer begin if they are beside its tiles; 0 if they are above.
    """

    tile: float
    charts: float = LEFT
    least: float = 130.0
    bars: bool = False
    words: float = 0.0


def _rows(shifted: ShiftedImage, columns: Columns, y: float) -> tuple[list[Item], float]:
    """The images, the maps with the charts, and the classes, from this y on; and the y below them."""
    wide, beside = columns.tile, y + 0.55 * HEAD
    if columns.words:  # beside the shifts: a slide has less height
        items: list[Item] = [Text(columns.words, y + HEAD, f"shifted {_direction(shifted)}", TYPE)]
    else:
        items = [Text(MARGIN, y + TYPE, f"shifted {_direction(shifted)} by", TYPE)]
        y = round(y + 1.6 * TYPE)
    for at, shift in enumerate(shifted.by):
        middle = _left(at, wide) + wide / 2
        items.append(Text(middle, y + HEAD, f"{shift} px", HEAD, INK, bold=True, align="center"))
    y = round(y + 1.5 * HEAD)
    more, tall = _images(shifted, y, wide)
    beside = beside if columns.bars else y  # of the legend: a slide has less height
    items += [*more, *_legend(beside, shifted, columns)]
    y = max(y + tall, beside + 176.0) + 22
    low = _lowest(shifted)
    for number, layer in enumerate(shifted.layers):
        if columns.words:
            top, (head, low_end) = round(y), _words_beside(layer, y, columns)
        else:
            (head, base), low_end = _row_heading(layer, y, columns), 0.0
            top = round(base + 0.5 * TYPE)
        items += head
        more, tall = _maps(layer, shifted, top, wide)
        chart = max(tall, columns.least, low_end - top)
        items += [*more, *_chart(layer, shifted, (columns.charts, top), chart, low)]
        y = top + chart + (26 if columns.words else 18)
        if number == len(shifted.layers) - 1:
            items += _shift_axis(shifted, top + chart, columns)
    y += 1.2 * TYPE
    if shifted.classes:
        more, y = _classes(shifted, y, columns)
        items += more
    return items, y + 14


def _parts(
    shifted: ShiftedImage, title: str, body: tuple[Sequence[Item], tuple[float, float, float, float]], lines: list[str]
) -> PageParts:
    source = shifted.source.short_label if shifted.source else ""
    whole = whole_body(title, *body, source=source, identity=_identity(shifted), lines=lines, notices=_notices(shifted))
    counts = [count for count in (len(shifted.layers), 3, 2, 1) if count <= len(shifted.layers)]
    choices = [(count, classes) for count in dict.fromkeys(counts) for classes in (True, False)]
    fewer = tuple(partial(_boxed, shifted, count=count, classes=classes) for count, classes in choices)
    return replace(whole, versions=fewer, hint="Choose fewer shifts with --by, or draw a page: --look page.")


LEAST_TILE = 96.0  # of a slide, before it is scaled


def _boxed(shifted: ShiftedImage, box: Box, *, count: int, classes: bool) -> Body:
    """The image and so many of the layers, from the first to the last, with tiles as large as fit into the box."""
    kept = [shifted.layers[round(at * (len(shifted.layers) - 1) / max(1, count - 1))] for at in range(count)]
    few = replace(shifted, layers=tuple(kept), classes=shifted.classes if classes else ())
    factor = min((box.width - 1) / (PAGE_WIDTH - 2 * MARGIN), 1.0)
    height = box.height / max(factor, 1.005 * box.smallest / SMALL)
    rows, columns = shifted.pictures.shape[1:3]
    most = max(LEFT, math.floor(RIGHT - 24 - text_width(MOVED_ALONG, SMALL, bold=True)))  # the legend ends at the right

    def laid_out(wide: float) -> tuple[list[Item], float]:
        tiles = len(few.by) * (wide + TILE_GAP)
        words = max(_row_words(layer)[1] for layer in few.layers) + 2 * TYPE + BAR + 3 * TYPE
        charts = min(most, round(MARGIN + max(tiles + 3.4 * TYPE, words)))
        beside = max(BESIDE, *(text_width(drawable(layer.name, bold=True), TYPE, bold=True) for layer in few.layers))
        after = 0.0
        if MARGIN + tiles + 4 * TYPE + beside <= LEFT:  # few shifts leave space beside their tiles
            after = MARGIN + tiles + TYPE
            charts = round(after + beside + 3 * TYPE)
        return _rows(few, Columns(wide, charts, min(130.0, wide * rows / columns), bars=True, words=after), 0.0)

    wide, largest = LEAST_TILE, _tile(few)
    items, y = laid_out(max(LEAST_TILE, largest))
    if y > height:
        items, y = laid_out(wide)
        while y <= height and wide + 1 < largest:  # the largest tiles that fit, to a pixel
            middle = float(math.floor((wide + largest) / 2))
            found = laid_out(middle)
            wide, largest = (middle, largest) if found[1] <= height else (wide, middle)
            items, y = found if found[1] <= height else (items, y)
    panel = Panel(moved(Panel(tuple(items), 0, 0), -MARGIN, 0), PAGE_WIDTH - 2 * MARGIN, y)
    if y > height:
        return Body(Panel((Text(0, 0, "", 1.0),), 1, 1))  # letters that are too small
    of = [f"{count} of {counted(len(shifted.layers), 'layer')}"] if count < len(shifted.layers) else []
    lost = ["without the top classes"] if shifted.classes and not classes else []
    facts = {
        "layers": [{"name": layer.name, "channels": [layer.channel]} for layer in kept],
        "shown": count,
        "total": len(shifted.layers),
    }
    return Body(panel, (*of, *lost, *_notices(few)), facts=facts)


def _notices(shifted: ShiftedImage) -> tuple[str, ...]:
    """The lines that change the meaning of the picture."""
    return (*([_border_text(shifted)] if shifted.repeated else []), *_broken_lines(shifted))


def _identity(shifted: ShiftedImage) -> str:
    parts = [shifted.source.short_label] if shifted.source else []
    if shifted.image and shifted.input_size:
        size = " × ".join(map(str, shifted.input_size[1:]))
        parts.append(f"image {shifted.image.name} at {size}")
    return PART.join(parts) or "a network"


def _direction(shifted: ShiftedImage) -> str:
    return "down" if shifted.along == "down" else "to the right"


def _tile(shifted: ShiftedImage) -> float:
    """The width of a tile; images that are taller than wide have narrower ones."""
    count = len(shifted.by)
    rows, columns = shifted.pictures.shape[1:3]
    room = (PICTURES - TILE_GAP * (count - 1)) / count
    most = WIDEST_OF_FEW if len(shifted.layers) <= FEW else WIDEST
    return float(math.floor(min(room, most, 1.4 * most * columns / rows)))


def _left(at: int, wide: float) -> float:
    return round(MARGIN + at * (wide + TILE_GAP))


def _images(shifted: ShiftedImage, y: float, wide: float) -> tuple[list[Item], float]:
    rows, columns = shifted.pictures.shape[1:3]
    tall = float(max(2, round(wide * rows / columns)))
    items: list[Item] = []
    for at, picture in enumerate(shifted.pictures):
        planes = np.moveaxis(picture.astype(np.float64), -1, 0)
        pixels = np.stack([downsampled(plane, int(tall), int(wide)) for plane in planes], axis=-1)
        items.append(Raster(np.rint(pixels).astype(np.uint8), _left(at, wide), y, wide, tall))
        items.append(outline(_left(at, wide), y, wide, tall, colour=OUTLINE))
    return items, tall


BESIDE = 345.0  # the least width of words beside tiles
BAR = 320.0  # of a colour bar beside the name of a layer, with its ends


def _row_words(layer: ShiftedLayer) -> tuple[str, float]:
    """What is drawn of a layer, and its width with the name before it."""
    channels, rows, columns = layer.shape
    cell = f": one cell is {layer.jump} px" if layer.jump else ""
    words = f"channel {layer.channel} of {channels:,}, {rows} × {columns}{cell}"
    return words, text_width(drawable(layer.name, bold=True), TYPE, bold=True) + TYPE + text_width(words, TYPE)


def _row_heading(layer: ShiftedLayer, y: float, columns: Columns) -> tuple[list[Item], float]:
    """The name of the layer and what is drawn of it, and the y of the last line."""
    words = _row_words(layer)[0]
    taken = BAR + TYPE if columns.bars else 0.0
    room = columns.charts - 2 * TYPE - MARGIN - text_width(words, TYPE) - taken
    lines = wrap(drawable(layer.name, bold=True), TYPE, room, bold=True) or [""]
    items, below = text_block(lines, MARGIN, y, TYPE, colour=INK, bold=True)
    last = below - TYPE * LINE_HEIGHT + TYPE
    end = MARGIN + text_width(lines[-1], TYPE, bold=True) + TYPE * bool(lines[-1])
    bar = _row_bar(layer, columns.charts - 3 * TYPE, last) if columns.bars else []
    return [*items, Text(end, last, words, TYPE), *bar], last


def _words_beside(layer: ShiftedLayer, y: float, columns: Columns) -> tuple[list[Item], float]:
    """The name of a layer, what is drawn of it, and its colour bar, below each other beside its tiles; the y below."""
    name = drawable(layer.name, bold=True)
    items: list[Item] = [Text(columns.words, y + TYPE, name, TYPE, INK, bold=True)]
    room = columns.charts - 3 * TYPE - columns.words
    lines = [line for part in _row_words(layer)[0].split(", ") for line in wrap(part, TYPE, room)]
    more, below = text_block(lines, columns.words, y + LINE_HEIGHT * TYPE, TYPE)
    right = columns.words - 2 * TYPE + BAR
    return [*items, *more, *_row_bar(layer, right, below + TYPE)], below + 1.1 * TYPE


def _row_bar(layer: ShiftedLayer, right: float, y: float) -> list[Item]:
    """The colours of the maps of a layer between the numbers of their ends, on the line of its name."""
    scale = _scale(layer)
    low, high = number_text(scale.low), number_text(scale.high, plus=scale.signed)
    left = right - BAR + 2 * TYPE
    start, end = left + text_width(low, TYPE) + 10, right - text_width(high, TYPE) - 10
    strip = colour.bar_levels(scale.low, scale.high, int(end - start), signed=scale.signed)
    top = y - 0.62 * TYPE
    return [
        Text(left, y, low, TYPE), Raster(strip, start, top, end - start, 0.5 * TYPE),
        outline(start, top, end - start, 0.5 * TYPE, colour=OUTLINE), Text(right, y, high, TYPE, align="right"),
    ]  # fmt: skip


def _scale(layer: ShiftedLayer) -> colour.Scale:
    """One scale for all maps of a layer, symmetric if it has negative values."""
    finite = layer.maps[np.isfinite(layer.maps)]
    signed = bool(finite.size and finite.min() < 0)
    limit = float(np.abs(finite).max(initial=0.0))
    return colour.Scale("layer", -limit if signed else 0.0, limit, signed)


def _maps(layer: ShiftedLayer, shifted: ShiftedImage, y: float, wide: float) -> tuple[list[Item], float]:
    """The map for each shift on one scale, with a frame where the strongest place of the unmoved one went."""
    rows, columns = layer.maps.shape[1:]
    image_rows, image_columns = shifted.pictures.shape[1:3]
    tall = float(max(2, round(wide * image_rows / image_columns)))
    scale = _scale(layer)
    ramp = colour.Ramp(colour.map_colours(signed=scale.signed), scale.signed)
    items: list[Item] = []
    for at, values in enumerate(layer.maps):
        shown = downsampled(values.astype(np.float64), int(tall), int(wide))
        levels = colour.levels(shown, scale)
        levels[~np.isfinite(shown)] = colour.NOT_FINITE
        x = _left(at, wide)
        items += [Raster(colour.Indexed(levels, ramp), x, y, wide, tall), outline(x, y, wide, tall, colour=OUTLINE)]
        if layer.jump and layer.peak:
            moved = shifted.by[at] / layer.jump
            down, across = (moved, 0.0) if shifted.along == "down" else (0.0, moved)
            cell = wide / columns, tall / rows
            middle = x + (layer.peak[1] + 0.5 + across) * cell[0], y + (layer.peak[0] + 0.5 + down) * cell[1]
            items += _frame(middle, cell)
    return items, tall


def _frame(middle: tuple[float, float], cell: tuple[float, float]) -> list[Item]:
    """A black frame with a light border around a cell, or around a few if cells are small."""
    half = [max(NEAREST_FRAME, side / 2) for side in cell]
    x, y, wide, tall = middle[0] - half[0], middle[1] - half[1], 2 * half[0], 2 * half[1]
    return [outline(x, y, wide, tall, colour=HALO, line=7), outline(x, y, wide, tall, colour=INK, line=3.5)]


def _legend(y: float, shifted: ShiftedImage, columns: Columns) -> list[Item]:
    moves = any(len(layer.equivariance) > 1 for layer in shifted.layers)
    left = columns.charts - 36
    items: list[Item] = [
        Text(left, y - 0.55 * HEAD, "cosine of all maps of the layer", TYPE, INK),
        Strokes(((left, y + 20, left + 44, y + 20),), INK, CURVE),
        Text(left + 60, y + 20 + 0.36 * SMALL, "with the original maps", SMALL, INK, bold=True),
        Text(left + 60, y + 20 + 1.6 * SMALL, "1: the maps do not change", SMALL),
    ]
    if moves:
        items += [
            *_ring(left + 22, y + 100, RING),
            Text(left + 60, y + 100 + 0.36 * SMALL, MOVED_ALONG, SMALL, INK, bold=True),
            Text(left + 60, y + 100 + 1.6 * SMALL, "1: the maps shift, too", SMALL),
        ]
    return items


def _ring(x: float, y: float, radius: float) -> list[Item]:
    turns = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    points = tuple((x + radius * math.cos(turn), y + radius * math.sin(turn)) for turn in turns)
    return [Shape(points, HALO), Shape(points, INK, CURVE)]


def _lowest(shifted: ShiftedImage) -> float:
    """The lower end of all charts: 0, or a half or −1 if a cosine is negative."""
    every = [
        value
        for layer in shifted.layers
        for found in (layer.invariance, layer.equivariance)
        for value in found.values()
    ]
    smallest = min((value for value in every if math.isfinite(value)), default=0.0)
    return 0.0 if smallest >= 0 else -0.5 if smallest >= -0.5 else -1.0


def _x(shift: float, shifted: ShiftedImage, left: float) -> float:
    return left + (RIGHT - left) * shift / max(shifted.by)


def _chart(layer: ShiftedLayer, shifted: ShiftedImage, at: tuple[float, float], tall: float, low: float) -> list[Item]:
    """The line of invariance and the rings of equivariance, with the numbers at the largest shift."""
    left, top = at

    def height(value: float) -> float:
        return top + tall * (1 - value) / (1 - low)

    items: list[Item] = []
    for tick in sorted({1.0, 0.5, 0.0, low}):
        at_foot = tick == low
        items.append(Rule(left, height(tick), RIGHT, height(tick), QUIET if at_foot else SEPARATOR, 2))
        if tick != 0.5:
            label = f"{tick:g}".replace("-", "−")
            items.append(Text(left - 16, height(tick), label, TYPE, align="right", middle=True))
    items.append(Rule(left, top, left, top + tall, QUIET, 2))
    line = [
        (_x(shift, shifted, left), height(value)) for shift, value in layer.invariance.items() if math.isfinite(value)
    ]
    items.append(Strokes(tuple((*one, *other) for one, other in pairwise(line)), INK, CURVE))
    rings = [(shift, value) for shift, value in layer.equivariance.items() if math.isfinite(value)]
    pitch = _x(rings[1][0], shifted, left) - _x(rings[0][0], shifted, left) if len(rings) > 1 else 100.0
    for shift, value in rings:
        items += _ring(_x(shift, shifted, left), height(value), min(RING, max(3.0, 0.36 * pitch)))
    drawn = [(_x(shift, shifted, left), height(value)) for shift, value in rings]
    return [*items, *_chart_texts(layer, drawn, line, at, tall)]


def _chart_texts(
    layer: ShiftedLayer,
    rings: Sequence[tuple[float, float]],
    line: Sequence[tuple[float, float]],
    at: tuple[float, float],
    tall: float,
) -> list[Item]:
    """The last number of the line and of the rings where they are free, and why there are no rings."""
    items: list[Item] = []
    taken: list[tuple[float, float, float]] = []  # left, right, baseline
    start, top = at

    def is_free(left: float, right: float, base: float) -> bool:
        """Whether a text there crosses neither line, rings, frame nor another text."""
        upper, lower = base - 0.85 * TYPE, base + 0.2 * TYPE
        near = [y for x, y in line if left - 12 <= x <= right + 12]
        crossed = bool(near) and min(near) - CURVE < lower and max(near) + CURVE > upper
        rung = any(left - RING < x < right + RING and upper - RING - 2 < y < lower + RING + 2 for x, y in rings)
        met = any(a < right and left < b and abs(base - other) < 1.05 * TYPE for a, b, other in taken)
        return not (crossed or rung or met) and top - 1.6 * TYPE < upper and lower < top + tall

    def write(text: str, x: float, y: float, bases: Sequence[float], *, bold: bool) -> None:
        left = max(start + 6, x - text_width(text, TYPE, bold=bold))
        right = left + text_width(text, TYPE, bold=bold)
        base = next((y + each for each in bases if is_free(left, right, y + each)), y + bases[0])
        taken.append((left, right, base))
        items.append(Text(left, base, text, TYPE, INK if bold else GREY, bold=bold))

    below, above = 1.25 * TYPE, -0.64 * TYPE
    further = [sign * 0.5 * TYPE * step for step in range(3, 9) for sign in (1, -1)]
    if len(rings) > 1:
        value = layer.equivariance[max(layer.equivariance)]
        x, y = rings[-1]
        write(cosine_text(value, 4), min(RIGHT, x + 2 * TYPE), y, (below + 6, above, *further), bold=False)
    if line:
        value = layer.invariance[max(layer.invariance)]
        lower = max(y for x, y in line if x > RIGHT - 3 * TYPE) - line[-1][1]
        write(cosine_text(value, 2), RIGHT, line[-1][1], (below + lower, above, *further), bold=True)
    if layer.lost or len(rings) < 2:
        why = f"no rings: {layer.lost}" if layer.lost else f"no shift is a multiple of {layer.jump}"
        lines = wrap(drawable(why), SMALL, RIGHT - start - 20)
        first = top + tall - 12 - (len(lines) - 1) * 1.2 * SMALL
        items += [
            Text(start + 12, first + number * 1.2 * SMALL, each, SMALL, GREY) for number, each in enumerate(lines)
        ]
    return items


def _shift_axis(shifted: ShiftedImage, y: float, columns: Columns) -> list[Item]:
    """The shifts below the last chart, as many as there is room for."""
    items: list[Item] = []
    free = RIGHT + TYPE
    for shift in sorted(shifted.by, reverse=True):
        label = f"{shift} px" if shift == max(shifted.by) else str(shift)
        x, width = _x(shift, shifted, columns.charts), text_width(label, TYPE)
        end = min(x + width / 2, RIGHT)
        if end > free - 12:
            continue
        free = end - width
        items += [Rule(x, y, x, y + 8, QUIET, 2), Text(end, y + 8 + TYPE, label, TYPE, align="right")]
    return items


def _classes(shifted: ShiftedImage, y: float, columns: Columns) -> tuple[list[Item], float]:
    """The likeliest class below each column: its name, or a letter that is explained if names are too long."""
    wide, left = columns.tile, columns.charts
    names = [drawable(one.label or f"class {one.index}", bold=True) for one in shifted.classes]
    shares = [f"{100 * one.probability:.0f} %" for one in shifted.classes]
    lines = [wrap(name, SMALL, wide + TILE_GAP - 6, bold=True) for name in names]
    words = [part for name in names for part in name.split()]
    known = {name: chr(ord("a") + at) for at, name in enumerate(dict.fromkeys(names))}
    short = max(map(len, lines)) > CLASS_LINES or any(
        text_width(word, SMALL, bold=True) > wide + TILE_GAP - 6 for word in words
    )
    if short:
        lines = [[known[name]] for name in names]
    items: list[Item] = []
    bottom = y
    for at, (name, share) in enumerate(zip(lines, shares, strict=True)):
        middle = _left(at, wide) + wide / 2
        for number, part in enumerate((*name, share)):
            base, bold = y + SMALL + number * 1.25 * SMALL, number < len(name)
            colour_of = INK if bold else GREY
            items.append(Text(middle, base, part, SMALL, colour_of, bold=bold, align="center"))
            bottom = max(bottom, base)
    several = "the same for every shift" if len(known) == 1 else f"{len(known)} different ones"
    more, below = text_block(["top class of the network:", several], left - 36, y + 0.6 * TYPE, TYPE)
    items += more
    if short:
        parts = PART.join(f"{letter} {name}" for name, letter in known.items())
        more, bottom = text_block(wrap(parts, SMALL, left - 60 - MARGIN), MARGIN, bottom + 0.5 * SMALL, SMALL)
        items += more
    return items, max(bottom + 0.4 * SMALL, below)


def _caption(shifted: ShiftedImage) -> list[str]:
    lines = []
    if any(layer.jump and layer.peak for layer in shifted.layers):
        lines.append(
            "Frame: the largest value of the original map that stays inside the map, shifted by s / j cells "
            "(s: shift, j: pixels per cell)"
        )
    lines.append(
        "Line: cosine with the original maps; it decreases less if cells are large, as a shift is a smaller part of a cell"
    )
    ringed = [layer for layer in shifted.layers if len(layer.equivariance) > 1]
    if ringed:
        lines.append(
            "Rings: cosine with the original maps shifted by s / j cells, over the cells that both contain; without "
            "interpolation, this is possible only if s is a multiple of j"
        )
        lines += _border_lines(ringed)
    border = "The shifted images are parts of a larger photograph, so no border is made up"
    border = _border_text(shifted) if shifted.repeated else border
    lines.append(f"{border}{PART}Red positive, blue negative; one colour scale per row")
    positive = [layer.name for layer in shifted.layers if not layer.signed]
    if positive:
        lines.append(f"No negative values, which alone makes maps similar: {', '.join(positive)}")
    return [*lines, *_broken_lines(shifted), *map(sentence, shifted.notes)]


def _border_text(shifted: ShiftedImage) -> str:
    """That the image is continued beyond the photograph."""
    beyond = f" beyond {shifted.room} px" if shifted.room else ""
    return f"Border made up: the edge of the image is repeated{beyond}, where the photograph ends"


def _broken_lines(shifted: ShiftedImage) -> list[str]:
    """How many values of which layers are not finite."""
    return [
        f"{layer.name}: {counted(layer.nonfinite, 'value')} not finite, drawn black"
        for layer in shifted.layers
        if layer.nonfinite
    ]


def _border_lines(layers: Sequence[ShiftedLayer]) -> list[str]:
    """What a ring lacks to 1: the border, as far as units that do not read it were equal to the last bit."""
    lines = []
    if any(layer.columns and not _differing(layer.columns) for layer in layers):
        lines.append("Rings below 1 are due to the border: units that do not read it are bitwise the same")
    for layer in layers:
        if differing := _differing(layer.columns):
            words = counted(differing, "column that does not read the border", "columns that do not read the border")
            lines.append(f"{layer.name}: {words} differ nevertheless")
    mixing = [layer.name for layer in layers if layer.mixes_image]
    if mixing:
        lines.append(
            f"A gate, a mean or attention reads the whole image, so these shift only approximately: {', '.join(mixing)}"
        )
    return lines


def _differing(columns: Mapping[int, Any]) -> int:
    return sum(one.inside - one.equal for one in columns.values())

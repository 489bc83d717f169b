"""The parts of a traced unit's page: the photograph, maps, enlarged windows, and channels written out in numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from kernelviz.drawing.colour import Indexed, Veiled
from kernelviz.drawing.number_tiles import exponent_text
from kernelviz.drawing.page import (
    INK,
    BarStyle,
    Item,
    Panel,
    Raster,
    Rule,
    Shape,
    Text,
    colour_bar,
    moved,
    outline,
    text_block,
    text_width,
    wrap,
)
from kernelviz.drawing.worksheets import (
    BORDER,
    DARK,
    DIM,
    FORMULA,
    MARGIN,
    SIGN,
    SMALL,
    TITLED,
    WIDEST,
    Cells,
    DigitRule,
    LabelledPicture,
    Tint,
    cells_panel,
    digit_size,
    page_tint,
    strongest,
    tint_bar,
    tints,
    titled,
    with_bar,
)
from kernelviz.explain.unit_texts import (
    COLOURS,
    bias_text,
    decimals_for,
    field_text,
    reads_colours,
    short_decimals,
    sum_text,
)
from kernelviz.wording import fixed_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kernelviz.drawing.colour import Content
    from kernelviz.records import Array
    from kernelviz.traces import Unit


NEAR = 15  # rows and columns of an enlarged part
BAND, BAR = 16.0, 170.0  # the least height of a map, and the least width of a colour bar
FIELD = "receptive field"
MANY = 1024  # with at least this many values a few may saturate
QUANTILE = 0.99
WHITE = "halo"


@dataclass(frozen=True)
class MapColours:
    """What the colours of one map mean: full colour at ``limit``; ``clipped`` if some values exceed it.

    It is not ``known`` if no value is finite and other than 0, since a bar would have no end.
    """

    limit: float
    negative: bool
    clipped: bool
    known: bool = True

    def indexed(self, values: Array) -> Indexed:
        """The colours of values (h, w)."""
        return tints(Cells(values, Tint(self.limit, pale=False)), digits=False)


def map_colours(values: Array) -> MapColours:
    """The colours of a map; if 1 % of many values are far larger than the others, these take the end colour."""
    limit, finite = strongest(values), values[np.isfinite(values)]
    usual = float(np.quantile(np.abs(finite), QUANTILE)) if finite.size >= MANY else limit
    clipped = 0 < usual < 0.75 * limit
    return MapColours(usual if clipped else limit, bool((finite < 0).any()), clipped, bool(finite.any()))


def clipping_text(colours: MapColours) -> str:
    """The line of the caption about clipped colours; empty if nothing is clipped."""
    if not colours.clipped:
        return ""
    sign = "±" if colours.negative else ""
    return f"map colours saturate at {sign}{_end(colours)}: 99 % of the values are within this range"


def _end(colours: MapColours) -> str:
    return fixed_text(colours.limit, decimals_for(np.array([colours.limit])))


def map_bar(colours: MapColours, width: float) -> Panel:
    """The colour bar of a map, at least ``BAR`` wide; its ends are in the middle, as ±, if there is no room for both."""
    width = max(width, BAR)
    end = _end(colours)
    low, high = (f"−{end}" if colours.negative else "0"), end
    if colours.clipped:
        low, high = (f"≤ {low}" if colours.negative else low), f"≥ {high}"
    strip = colours.indexed(np.linspace(-1.0 if colours.negative else 0.0, 1, 201)[None] * colours.limit)
    middle, label = (width / 2 if colours.negative else None), "0"
    clear = 14.0
    if colours.negative and width - sum(text_width(text, SMALL) for text in (low, high)) < 24:
        low, high, label, clear = "", "", f"{'beyond ' if colours.clipped else ''}±{end}", -width
    style = BarStyle(13, SMALL, 25, clear=clear, colour=DIM)
    items, y = colour_bar([strip], (low, high), style, right=width, middle=middle, middle_label=label)
    return Panel((*items, bordered(width, 13)), width, y + 6)


def bordered(width: float, height: float) -> Shape:
    """The border of a picture whose corner is the origin."""
    return outline(0, 0, width, height, colour=BORDER, line=2.0)


def mark(left: float, top: float, width: float, height: float, *, least: float = 14.0) -> list[Item]:
    """A near-black frame with a white halo, never smaller than can be seen."""
    more = max(0.0, least - width) / 2, max(0.0, least - height) / 2
    box = left - more[0] - 3, top - more[1] - 3, width + 2 * more[0] + 6, height + 2 * more[1] + 6
    return [outline(*box, colour=WHITE, line=8.5), outline(*box, colour=DARK, line=4.0)]


def photograph(unit: Unit, side: float, *, field: bool, name: str = "what the network saw") -> LabelledPicture | None:
    """The network's input; with ``field`` all but the unit's receptive field is faded. None if there is no image."""
    if unit.seen is None:
        return None
    pixels = unit.seen.pixels
    height, width = pixels.shape[:2]
    factor = side / max(height, width)
    size = max(1, round(height * factor)), max(1, round(width * factor))
    shown: Content = resampled(pixels, size)
    items: list[Item] = []
    box = unit.box if field else None
    if box is not None:
        top, bottom = round(box.top * factor), round((box.bottom + 1) * factor)
        left, right = round(box.left * factor), round((box.right + 1) * factor)
        part = slice(max(0, top), max(0, bottom)), slice(max(0, left), max(0, right))
        shown = Veiled(resampled(pixels, size), part)
        if bottom > top and right > left:
            items = mark(left + 3, top + 3, right - left - 6, bottom - top - 6)
    picture = Panel((Raster(shown, 0, 0, size[1], size[0]), bordered(size[1], size[0]), *items), size[1], size[0])
    lines = []
    if field:
        name = FIELD
        lines = ["unknown"] if box is None else wrap(field_text(unit).replace("pixels", "px"), SMALL, max(side, 220.0))
    return titled(name, "", picture, lines, scale=(factor, factor))


def resampled(pixels: Array, size: tuple[int, int]) -> Array:
    """A photograph in another size, smoothed, since its single pixels do not matter."""
    from PIL import Image

    if pixels.shape[:2] == size:
        return pixels
    return np.asarray(Image.fromarray(pixels).resize(size[::-1], Image.Resampling.LANCZOS))


def map_picture(values: Array, colours: MapColours, side: float) -> tuple[Panel, tuple[float, float]]:
    """A map as cells of whole pixels within a box, and the size of a cell; rows are taller if there are few."""
    height, width = values.shape
    across, down = side / width, side / height
    if min(across, down) >= 1:
        across, down = float(int(across)), float(int(down))
    column = min(across, 4 * down)
    row = min(down, 4 * across)
    if max(row, column) > 1.5 * min(row, column):
        row, column = (min(row, 4 * column), column) if row > column else (row, min(column, 4 * row))
    else:
        row = column = min(row, column)
    row, column = max(row, BAND / height), max(column, BAND / width)
    size = height * row, width * column
    items = (Raster(colours.indexed(values), 0, 0, size[1], size[0]), bordered(size[1], size[0]))
    return Panel(items, size[1], size[0]), (row, column)


def map_view(unit: Unit, side: float, *, of: tuple[range, range] | None = None) -> LabelledPicture:
    """The feature map with the unit marked, or the part ``of`` it."""
    picture, scale = map_picture(unit.map, map_colours(unit.map), side)
    _, row, column = unit.at
    rows, columns = of or (range(row, row + 1), range(column, column + 1))
    frame = mark(columns.start * scale[1], rows.start * scale[0], len(columns) * scale[1], len(rows) * scale[0])
    panel = Panel((*picture.items, *frame), picture.width, picture.height)
    return titled(f"feature map {unit.at[0]}", " × ".join(map(str, unit.map.shape)), panel, scale=scale)


def with_map_bar(view: LabelledPicture, colours: MapColours, *, gap: float = 10) -> LabelledPicture:
    """The same with a colour bar ``gap`` pixels below, if the map has a colour to be read."""
    return with_bar(view, map_bar(colours, view.size[1]), gap) if colours.known else view


def input_view(unit: Unit, position: int, side: float, *, name: str = "") -> LabelledPicture:
    """One input channel with the window marked."""
    values = unit.inputs[position]
    colours = map_colours(values)
    picture, scale = map_picture(values, colours, side)
    items = (*picture.items, *window_mark(unit, scale))
    panel = Panel(items, picture.width, picture.height)
    if not name:
        return LabelledPicture(items, (panel.height, panel.width), panel.width, scale=scale)
    return with_map_bar(titled(name, f"{values.shape[0]} × {values.shape[1]}", panel, scale=scale), colours)


def window_mark(unit: Unit, scale: tuple[float, float]) -> list[Item]:
    """The frame of the part of the input under the kernel."""
    ends = []
    for (first, last), size in zip((unit.rows, unit.columns), unit.inputs.shape[1:], strict=True):
        ends.append((min(max(first, 0), size - 1), min(max(last, 0), size - 1)))
    (top, bottom), (left, right) = ends
    return mark(
        left * scale[1], top * scale[0], (right - left + 1) * scale[1], (bottom - top + 1) * scale[0], least=10.0
    )


def near(first: int, last: int, size: int, count: int = NEAR) -> range:
    """Rows (or columns) around these, within the map."""
    count = min(size, max(count, last - first + 5))
    start = min(max(0, (first + last + 1) // 2 - count // 2), size - count)
    return range(start, start + count)


def enlarged(
    picture: Array | Indexed, around: tuple[tuple[int, int], tuple[int, int]], side: float
) -> tuple[LabelledPicture, tuple[range, range]]:
    """A part of a picture around these rows and columns, with these in a frame; and its rows and columns."""
    rows, columns = (near(*ends, size) for ends, size in zip(around, picture.shape[:2], strict=True))
    cell = float(max(1, int(side / max(len(rows), len(columns)))))
    shown = slice(rows.start, rows.stop), slice(columns.start, columns.stop)
    part = replace(picture, index=picture.index[shown]) if isinstance(picture, Indexed) else picture[shown]
    (top, bottom), (left, right) = (
        (max(first, span.start), min(last, span.stop - 1))
        for (first, last), span in zip(around, (rows, columns), strict=True)
    )
    down, across = max(cell, BAND / len(rows)), max(cell, BAND / len(columns))
    width, height = len(columns) * across, len(rows) * down
    framed = mark(
        (left - columns.start) * across + 3, (top - rows.start) * down + 3,
        (right - left + 1) * across - 6, (bottom - top + 1) * down - 6,
    )  # fmt: skip
    items: list[Item] = [Raster(part, 0, 0, width, height), bordered(width, height), *framed]
    lines = [f"{_span('row', rows)},", _span("column", columns)]
    items += [Text(0, height + 30 * (i + 1), line, SMALL, DIM) for i, line in enumerate(lines)]
    wide = max(width, *(text_width(line, SMALL) for line in lines))
    view = LabelledPicture(tuple(items), (height, width), wide, below=68, scale=(down, across))
    return view, (rows, columns)


def _span(noun: str, positions: range) -> str:
    return f"{noun} {positions[0]}" if len(positions) == 1 else f"{noun}s {positions[0]}–{positions[-1]}"


def funnel(frame: tuple[float, float, float], below: tuple[float, float, float]) -> list[Item]:
    """Lines from a frame's lower corners (left, right, bottom) to the upper ones of a picture (left, right, top)."""
    return [Rule(a, frame[2], b, below[2], DARK, 1.6) for a, b in zip(frame[:2], below[:2], strict=True)]


SIDE, ACROSS, TAIL = 400.0, 46.0, 36.0  # of a single matrix, between two of them, and for the arrow at the right
SMALLER, SIGNS, SUM_SIGN = 230.0, 36.0, 52.0  # of one of several matrices, of a sign between them, and of Σ =
LEFT, COLUMN, BESIDE, GAP = 176.0, 225.0, 30.0, 36.0  # the pictures at the left and at the right, and the space beside
# Frames take a part of their cells.
UNIT_DIGITS = DigitRule(largest=26.0, tall=0.42, share=0.88, usual=math.inf, bold=False)
CLEAR_DIGITS = replace(UNIT_DIGITS, share=0.84)  # keep six pixels from the borders of cells of 75, if they stay legible
RULES = (CLEAR_DIGITS, UNIT_DIGITS)
SWATCHES = ("red", "green", "blue")


def unit_tint(unit: Unit, *, pale: bool = True) -> Tint:
    """The scale of window, kernel and products."""
    return page_tint(unit.window, unit.kernel, unit.products, pale=pale)


def tint_text(unit: Unit) -> str:
    """The line of the caption about the scale of window, kernel and products."""
    limit = unit_tint(unit).limit
    end = fixed_text(limit, decimals_for(np.array([limit])))
    what = "values and weights" if unit.window[0].size == 1 else "window, kernel and products"
    return f"{what} have one logarithmic colour scale, full at ±{end}"


def power_of(values: Array, *, narrow: bool = False) -> int:
    """The power of ten of the largest number if decimals of a fixed number do not show it, else 0.

    If ``narrow``, also if two decimals do not show it, which are the shortest.
    """
    finite, decimals = np.abs(values[np.isfinite(values)]), short_decimals(values)
    return (
        math.floor(math.log10(finite.max())) if finite.any() and (decimals is None or (narrow and decimals != 2)) else 0
    )


def written_cells(
    values: Array,
    tint: Tint,
    power: int = 0,
    decimals: int = 2,
    *,
    padding: Array | None = None,
    stretched: Array | None = None,
) -> list[Cells]:
    """The cells of each plane of ``values``; with a ``power`` they are written divided by ten to it."""
    if not power:
        usual = short_decimals(values)
        return [Cells(plane, tint, padding=padding, stretched=stretched, decimals=usual) for plane in values]
    texts = [[[fixed_text(float(value) / 10.0**power, decimals) for value in row] for row in plane] for plane in values]
    written = np.array(texts, object)
    return [
        Cells(plane, tint, text, padding=padding, stretched=stretched)
        for plane, text in zip(values, written, strict=True)
    ]


def matrices(unit: Unit, side: float) -> tuple[list[tuple[Panel, Panel, Panel]], tuple[int, ...]]:
    """Window, kernel and products of each channel, and the powers of ten of their numbers.

    All have one scale of colours, the windows of all channels one number of decimals, as have kernels and products.
    Powers other than 0 are used only if the numbers do not fit without.
    """
    cell, tint = side / max(unit.window.shape[1:]), unit_tint(unit)
    around = {"padding": unit.padding, "stretched": unit.stretched}
    kinds: list[tuple[Array, dict[str, Array]]] = [(unit.window, around), (unit.kernel, {}), (unit.products, around)]
    plain = (0, 0, 0)
    found, narrow = (tuple(power_of(values, narrow=each) for values, _ in kinds) for each in (False, True))
    for powers, decimals in [(plain, 2), *((each, count) for each in (found, narrow) if any(each) for count in (2, 1))]:
        columns = [
            written_cells(values, tint, power, decimals, **masks)
            for (values, masks), power in zip(kinds, powers, strict=True)
        ]
        size = next(filter(None, (min(digit_size(each, cell, rule) for each in columns) for rule in RULES)), 0.0)
        if size:
            break
    else:
        powers = plain
    rows = []
    for triple in zip(*columns, strict=True):
        first, second, third = (cells_panel(cells, cell, size, UNIT_DIGITS) for cells in triple)
        border = outline(
            -2.2, -2.2, first.width + 4.4, first.height + 4.4, colour=DARK, line=4.4
        )  # outside of the cells
        rows.append((Panel((*first.items, border), first.width, first.height), second, third))
    return rows, powers


def tint_key(unit: Unit, height: float, width: float, *, pale: bool = True) -> Panel:
    """The colour bar of window, kernel and products under its name, for pages that have no caption."""
    words, y = text_block(wrap("window, kernel and products", SMALL, width), 0, 0, SMALL, colour=DIM)
    bar = tint_bar(unit_tint(unit, pale=pale), max(90.0, height - y - 32))
    items = (*words, *moved(Panel(bar.items, 0, 0), 0, y + 16))
    return Panel(items, max(width, bar.width), y + 32 + bar.size[0])


def has_digits(matrix: Panel) -> bool:
    """Whether the numbers of a matrix are in its cells."""
    return any(isinstance(item, Text) for item in matrix.items)


def sums_text(unit: Unit) -> list[str]:
    """The sums of the channels and the total, with the same decimals."""
    return [sum_text(unit, float(value)) for value in (*unit.sums, unit.total)]


def single_page(unit: Unit, *, brief: bool = False) -> Panel:
    """One input channel: the channel, the receptive field and the map; below them window, kernel, products and sum.

    A ``brief`` one has these alone.
    """
    side = min(SIDE, (WIDEST - 2 * MARGIN - TAIL - 2 * ACROSS) / 3)
    across = side + ACROSS
    items: list[Item] = []
    views = [input_view(unit, 0, side, name=f"input channel {unit.numbers[0]}")]
    field = photograph(unit, side, field=True)
    made = with_map_bar(map_view(unit, side), map_colours(unit.map))
    for position, view in ((0, views[0]), (1, field), (2, made)):
        items += () if view is None or brief else view.at(position * across, 0)
    top = 30.0 if brief else max(view.height for view in (*views, made, *([field] if field else []))) + 64
    (row,), powers = matrices(unit, side)
    for position, (name, panel, power) in enumerate(zip(("window", "kernel", "products"), row, powers, strict=True)):
        middle = position * across + panel.width / 2
        items.append(Text(middle, top - 16, name, SMALL, INK, bold=True, align="center"))
        end = middle + text_width(name, SMALL, bold=True) / 2 + 12
        items += [Text(end, top - 16, exponent_text(power), SMALL, DIM)] if power else []
        items += moved(panel, position * across, top)
    middle = top + row[0].height / 2
    for position, sign in enumerate("×="):
        x = position * across + row[0].width + (across - row[0].width) / 2
        items.append(Text(x, middle, sign, SIGN, DIM, align="center", middle=True))
    right, below = 2 * across + max(row[2].width, SIDE / 2), top + row[2].height + 46
    total = sums_text(unit)[-1]
    before = "Σ  =" if unit.bias is None else f"Σ + {bias_text(unit)}  ="
    end = right - text_width(total, FORMULA, bold=True) - 14
    items.append(Text(right, below, total, FORMULA, INK, bold=True, align="right"))
    items.append(Text(end, below, before, SMALL + 3, DIM, align="right"))
    if unit.bias is None and end - text_width(before, SMALL + 3) - 2 * across > text_width(bias_text(unit), SMALL) + 20:
        items.append(Text(2 * across, below, bias_text(unit), SMALL, DIM))
    if brief:
        key = tint_key(unit, below + 10, 190) if not has_digits(row[0]) else None
        items += moved(key, right + 60, 0) if key else ()
        return Panel(tuple(items), right + (60 + key.width if key else 0), below + 10)
    level = TITLED + (unit.at[1] + 0.5) * made.scale[0]
    map_right = 2 * across + made.size[1]
    items += _elbow((right + 12, below - 11), max(right, map_right) + TAIL - 2, map_right, level)
    return Panel(tuple(items), right + TAIL, below + 10)


def _elbow(start: tuple[float, float], x: float, to: float, level: float) -> list[Item]:
    """From the value to the right up to x, upwards, and to the left into the map in the row of the unit."""
    return [
        Rule(start[0], start[1], x, start[1], DIM, 2.6),
        Rule(x, start[1] + 1.3, x, level - 1.3, DIM, 2.6),
        Rule(x, level, to + 20, level, DIM, 2.6),
        Shape(((to + 22, level - 7), (to + 22, level + 7), (to + 6, level)), DIM),
    ]


def _with_sums(
    unit: Unit, free: float, tallest: float
) -> tuple[tuple[list[tuple[Panel, Panel, Panel]], tuple[int, ...]], float, tuple[float, float]]:
    """The matrices beside their sums, the width of the sums, and the sizes of the sums' and of the total's letters."""

    def fitted(letters: float, apart: float) -> tuple[tuple[list[tuple[Panel, Panel, Panel]], tuple[int, ...]], float]:
        widest = max(text_width(text, letters, bold=True) for text in sums_text(unit)) + apart
        wide = max(widest, text_width(bias_text(unit), SMALL) - 30)
        return matrices(unit, min(SMALLER, (free - wide) / 3, tallest)), wide

    usual = fitted(FORMULA, 0)
    if not has_digits(usual[0][0][0][0]):
        smaller = fitted(SMALL, 12)  # apart from the sign before them
        if has_digits(smaller[0][0][0][0]):
            return *smaller, (SMALL, SMALL)
    return *usual, (SMALL + 5, FORMULA)


def stacked_page(unit: Unit, tallest: float = math.inf) -> Panel:
    """Two to four input channels: one row each, with the inputs on the left and the map on the right.

    Lower than usual, matrices are smaller and the map is alone on the right. If long sums leave no room for the numbers in
    the cells, the sums are smaller.
    """
    texts = sums_text(unit)
    sees = not unit.reads_image and unit.seen is not None
    beside = max(COLUMN, text_width(FIELD, SMALL, bold=True)) if sees else COLUMN
    before = (176.0 if sees else LEFT) + BESIDE
    free = WIDEST - 2 * MARGIN - before - beside - 2 * SIGNS - SUM_SIGN - GAP
    (rows, powers), sums_wide, (sum_size, total_size) = _with_sums(unit, free, (tallest - 124) / len(unit.numbers) - 58)
    tall, wide = rows[0][0].height, max(rows[0][0].width, 130.0)
    pitch = tall + 58
    x0 = before
    lefts = [x0, x0 + wide + SIGNS, x0 + 2 * (wide + SIGNS)]
    sums = lefts[2] + wide + SUM_SIGN + sums_wide
    items: list[Item] = [
        Text(x, 22, name, SMALL, INK, bold=True)
        for x, name in zip(lefts, ("window", "kernel", "products"), strict=True)
    ]
    size = " × ".join(map(str, unit.window.shape))
    for x, name, power, text in zip(lefts, ("window", "kernel", "products"), powers, (size, size, ""), strict=True):
        at, beside_name = x + text_width(name, SMALL, bold=True) + 12, exponent_text(power) or text
        if beside_name and (power or at + text_width(beside_name, SMALL) < x + wide + 18):
            items.append(Text(at, 22, beside_name, SMALL, DIM))
    top = 76.0
    for position, row in enumerate(rows):
        y = top + position * pitch
        items += _label(unit, position, lefts[0], y - 12)
        for x, panel in zip(lefts, row, strict=True):
            items += moved(panel, x, y)
        middle = y + tall / 2
        for x, sign in zip(lefts[1:], "×=", strict=True):
            items.append(
                Text(
                    x - SIGNS / 2 - (wide - row[0].width) / 2, middle, sign, SIGN - 14, DIM, align="center", middle=True
                )
            )
        items.append(Text(lefts[2] + row[0].width + 12, middle, "Σ =", SMALL + 3, DIM, middle=True))
        items.append(Text(sums, middle, texts[position], sum_size, INK, bold=True, align="right", middle=True))
        if position:
            items.append(Text(sums, y - 29, "+", FORMULA, DIM, align="right", middle=True))
    y = top + len(rows) * pitch - 58 + 44
    items.append(Text(sums, y, bias_text(unit), SMALL, DIM, align="right"))
    items.append(Rule(sums - 130, y + 16, sums + 8, y + 16, INK, 2.4))
    items.append(Text(sums, y + 56, texts[-1], total_size, INK, bold=True, align="right"))
    right = sums + GAP
    if tallest < math.inf:
        view = map_view(unit, COLUMN)
        shown = with_map_bar(view, map_colours(unit.map))
        items += shown.at(right, 0)
        below, level = shown.height, TITLED + (unit.at[1] + 0.5) * view.scale[0]
        if not has_digits(rows[0][0]):
            key = tint_key(unit, y + 62 - below - 30, beside)
            items += moved(key, right, below + 30)
            below += 30 + key.height
    else:
        below, level = _map_column(unit, right, items)
    items += [
        Rule(sums + 8, y + 46, sums + 17, y + 46, DIM, 2.6),
        Rule(sums + 16, y + 47, sums + 16, level, DIM, 2.6),
        Rule(sums + 15, level, right - 18, level, DIM, 2.6),
        Shape(((right - 20, level - 7), (right - 20, level + 7), (right - 5, level)), DIM),
    ]
    deep = _input_column(unit, items, [top + position * pitch + tall / 2 for position in range(len(rows))], tall)
    return Panel(tuple(items), right + beside, max(y + 62, below, deep))


def _label(unit: Unit, position: int, x: float, y: float) -> list[Item]:
    """The channel of a row: its colour, or its number."""
    if not reads_colours(unit):
        return [Text(x, y, f"channel {unit.numbers[position]}", SMALL, DIM)]
    swatch = ((x, y - 15), (x + 15, y - 15), (x + 15, y), (x, y))
    return [Shape(swatch, SWATCHES[position]), Text(x + 24, y, COLOURS[unit.numbers[position]], SMALL, DIM)]


def _map_column(unit: Unit, x: float, items: list[Item]) -> tuple[float, float]:
    """Add the map, its surroundings enlarged if its cells are small, and the receptive field.

    Returns the y below them, and that of the unit in the map whose cells are the larger ones.
    """
    colours = map_colours(unit.map)
    view, (_, row, column) = map_view(unit, COLUMN), unit.at
    if min(view.scale) >= 8 or max(unit.map.shape) <= 30:
        shown = with_map_bar(view, colours)
        items += shown.at(x, 0)
        y, level = shown.height + 40, TITLED + (row + 0.5) * view.scale[0]
    else:
        part, (rows, columns) = enlarged(colours.indexed(unit.map), ((row, row), (column, column)), COLUMN)
        items += map_view(unit, COLUMN, of=(rows, columns)).at(x, 0)
        y = view.height + 56
        items += funnel(_corners(view, rows, columns, x), (x, x + part.size[1], y))
        items += part.at(x, y)
        level = y + (row - rows.start + 0.5) * part.scale[0]
        height, width = unit.map.shape
        items.append(Text(x, y + part.height + 22, f"of {height} × {width} values", SMALL, DIM))
        y += part.height + 46
        if colours.known:
            bar = map_bar(colours, part.size[1])
            items += moved(bar, x, y)
            y += bar.height + 40
    field = None if unit.reads_image else photograph(unit, COLUMN, field=True)
    if field is not None:
        items += field.at(x, y)
        y += field.height
    return y, level


def _corners(view: LabelledPicture, rows: range, columns: range, x: float) -> tuple[float, float, float]:
    """Left, right and lower end of a part of a map on the page."""
    return (
        x + columns.start * view.scale[1], x + columns.stop * view.scale[1], TITLED + rows.stop * view.scale[0],
    )  # fmt: skip


def _input_column(unit: Unit, items: list[Item], middles: Sequence[float], tall: float) -> float:
    """Add the inputs: the photograph with the windows enlarged, or a small map per channel; returns the y below them."""
    whole = photograph(unit, LEFT, field=False, name="input image") if unit.reads_image else None
    if whole is None or unit.seen is None:
        height, width = unit.inputs.shape[1:]
        side = LEFT - 20 if height * (LEFT - 20) <= width * tall else min(LEFT - 20, tall)
        for position, middle in enumerate(middles):
            view = input_view(unit, position, side)
            items += view.centred_at(0, middle)
        items.append(Text(0, 22, "input channels", SMALL, INK, bold=True))
        return 0.0
    height, width = unit.seen.pixels.shape[:2]
    part, (rows, columns) = enlarged(unit.seen.pixels, (unit.rows, unit.columns), LEFT)
    y = whole.height + 56
    corners = _corners(whole, rows, columns, 0)
    items += whole.at(0, 0)
    ends = near(*unit.rows, height), near(*unit.columns, width)
    items += _span_mark(whole, ends)
    items += funnel(corners, (0, part.size[1], y))
    items += part.at(0, y)
    items.append(Text(0, y + part.height + 22, f"of {height} × {width} px", SMALL, DIM))
    return y + part.height + 30


def _span_mark(view: LabelledPicture, ends: tuple[range, range]) -> list[Item]:
    rows, columns = ends
    return mark(
        columns.start * view.scale[1], TITLED + rows.start * view.scale[0],
        len(columns) * view.scale[1], len(rows) * view.scale[0],
    )  # fmt: skip

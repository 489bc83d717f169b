"""Pages of a traced unit whose few channels are written out: window × kernel = products, added downwards."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernelviz.drawing.page import INK, Item, Panel, Rule, Shape, Text, moved, text_width
from kernelviz.drawing.sights import (
    BAR,
    SIGHT,
    TOP,
    enlarged,
    funnel,
    ink_bar,
    ink_of,
    input_view,
    map_view,
    mark,
    near,
    photograph,
    with_bar,
)
from kernelviz.drawing.worksheets import DIM, FORMULA, MARGIN, SIGN, SMALL, WIDEST, Cells, cells_panel, frame, strongest
from kernelviz.unit_texts import COLOURS, bias_text, reads_colours, short_decimals, sum_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kernelviz.drawing.sights import View
    from kernelviz.traces import Unit


SIDE = 350.0  # of a matrix that stands alone
SMALLER, SIGNS = 225.0, 38.0  # of one of several, and room of a sign between them
LEFT, COLUMN, BESIDE = 190.0, 225.0, 30.0  # the pictures on the left and on the right, and the room between
LEGIBLE = 21.0
SWATCHES = ("#c0392b", "#2e8b57", "#2e6bb0")


def fitted_digits(cells: Sequence[Cells], cell: float) -> float:
    """The size at which these numbers fill their cells; 0 where that is not legible."""
    widest = max((text_width(text, 1.0) for each in cells for row in each.texts for text in row), default=0.0)
    room = cell / max(widest, 0.1)
    size = min(28.0, 0.44 * cell, max(0.87 * room, min(LEGIBLE, 0.93 * room)))  # frames take a part of their cells
    return size if size >= LEGIBLE else 0.0


def matrices(unit: Unit, place: int, side: float, *, framed: bool = True) -> tuple[Panel, Panel, Panel]:
    """Window, kernel and products of one channel; one scale and one number of decimals for all channels of each."""
    cell = side / max(unit.window.shape[1:])
    triples = []
    for values, padded in ((unit.window, True), (unit.kernel, False), (unit.products, True)):
        limit, decimals = strongest(values), short_decimals(values)
        around, between = (unit.padding, unit.stretched) if padded else (None, None)
        triples.append([Cells(plane, limit, padding=around, stretched=between, decimals=decimals) for plane in values])
    size = min(fitted_digits(every, cell) for every in triples)
    panels = [cells_panel(every[place], cell, size) for every in triples]
    if framed:
        rows, columns = unit.window.shape[1:]
        panels[0] = Panel((*panels[0].items, frame(0, 0, rows, columns, cell)), panels[0].width, panels[0].height)
    return panels[0], panels[1], panels[2]


def sums_text(unit: Unit) -> list[str]:
    """The sums of the channels and the total, with the same decimals."""
    return [sum_text(unit, float(value)) for value in (*unit.sums, unit.total)]


def single_page(unit: Unit) -> Panel:
    """One input channel: it, what the unit can see, and the map; below them the window, the kernel and the products."""
    total = sums_text(unit)[-1]
    tail = 24 + max(38 + text_width(total, FORMULA, bold=True), text_width(bias_text(unit), SMALL))
    side = min(SIDE, (WIDEST - 2 * MARGIN - tail - 2 * 58) / 3)
    across = side + 58
    items: list[Item] = []
    views = [input_view(unit, 0, side, name=f"input channel {unit.numbers[0]}")]
    sight = photograph(unit, side, sight=True)
    made = with_bar(map_view(unit, side), ink_of(unit.map))
    for place, view in ((0, views[0]), (1, sight), (2, made)):
        items += () if view is None else moved(view.panel, place * across, 0)
    top = max(view.panel.height for view in (*views, made, *([sight] if sight else []))) + 64
    row = matrices(unit, 0, side)
    for place, (name, panel) in enumerate(zip(("window", "kernel", "products"), row, strict=True)):
        items.append(Text(place * across + panel.width / 2, top - 16, name, SMALL, INK, bold=True, align="center"))
        items += moved(panel, place * across, top)
    middle = top + row[0].height / 2
    for place, sign in enumerate("×="):
        x = place * across + row[0].width + (across - row[0].width) / 2
        items.append(Text(x, middle, sign, SIGN, DIM, align="center", middle=True))
    right = 2 * across + row[2].width
    end = right + tail
    items.append(Text(right + 18, middle, "Σ", FORMULA, DIM, middle=True))
    items.append(Text(end, middle, total, FORMULA, INK, bold=True, align="right", middle=True))
    items.append(Text(end, middle + 44, bias_text(unit), SMALL, DIM, align="right"))
    picture = 2 * across + made.size[1], TOP + made.size[0] * 0.72
    items += _elbow((end - 40, middle - 34), picture)
    return Panel(tuple(items), end, top + max(row[0].height, 60 + row[0].height / 2))


def _elbow(start: tuple[float, float], end: tuple[float, float]) -> list[Item]:
    """From the value upwards, and to the left into the map."""
    (x, y), (to, level) = start, end
    if x - to < 30:
        return []
    return [
        Rule(x, y, x, level, DIM, 2.6),
        Rule(x + 1.3, level, to + 20, level, DIM, 2.6),
        Shape(((to + 22, level - 7), (to + 22, level + 7), (to + 6, level)), DIM),
    ]


def stacked_page(unit: Unit) -> Panel:
    """Two to four input channels: a row each, what they were cut out of on the left, the map on the right."""
    texts = sums_text(unit)
    sums_wide = max(*(text_width(text, FORMULA, bold=True) for text in texts), text_width(bias_text(unit), SMALL) - 30)
    sees = not unit.reads_image and unit.seen is not None
    beside = max(COLUMN, text_width(SIGHT, SMALL, bold=True)) if sees else COLUMN
    before = (176.0 if sees else LEFT) + BESIDE
    fixed = before + beside + 2 * SIGNS + 34 + sums_wide + 44
    side = min(SMALLER, (WIDEST - 2 * MARGIN - fixed) / 3)
    rows = [matrices(unit, place, side) for place in range(len(unit.numbers))]
    tall, wide = rows[0][0].height, max(rows[0][0].width, 130.0)
    pitch = tall + 58
    x0 = before
    lefts = [x0, x0 + wide + SIGNS, x0 + 2 * (wide + SIGNS)]
    sums = lefts[2] + wide + 34 + sums_wide
    items: list[Item] = [
        Text(x, 22, name, SMALL, INK, bold=True)
        for x, name in zip(lefts, ("window", "kernel", "products"), strict=True)
    ]
    size = " × ".join(map(str, unit.window.shape))
    for x, name in zip(lefts, ("window", "kernel"), strict=False):
        at = x + text_width(name, SMALL, bold=True) + 12
        if at + text_width(size, SMALL) < x + wide + 18:
            items.append(Text(at, 22, size, SMALL, DIM))
    top = 76.0
    for place, row in enumerate(rows):
        y = top + place * pitch
        items += _label(unit, place, lefts[0], y - 12)
        for x, panel in zip(lefts, row, strict=True):
            items += moved(panel, x, y)
        middle = y + tall / 2
        for x, sign in zip(lefts[1:], "×=", strict=True):
            items.append(
                Text(
                    x - SIGNS / 2 - (wide - row[0].width) / 2, middle, sign, SIGN - 6, DIM, align="center", middle=True
                )
            )
        items.append(Text(lefts[2] + row[0].width + 12, middle, "Σ", SMALL + 3, DIM, middle=True))
        items.append(Text(sums, middle, texts[place], SMALL + 5, INK, bold=True, align="right", middle=True))
        if place:
            items.append(Text(sums, y - 29, "+", FORMULA, DIM, align="right", middle=True))
    y = top + len(rows) * pitch - 58 + 44
    items.append(Text(sums, y, bias_text(unit), SMALL, DIM, align="right"))
    items.append(Rule(sums - 130, y + 16, sums + 8, y + 16, INK, 2.4))
    items.append(Text(sums, y + 56, texts[-1], FORMULA, INK, bold=True, align="right"))
    right = sums + 44
    below = _map_column(unit, right, items)
    level = TOP + map_view(unit, COLUMN).size[0] / 2
    items += [
        Rule(sums + 12, y + 46, sums + 25, y + 46, DIM, 2.6),
        Rule(sums + 24, y + 47, sums + 24, level, DIM, 2.6),
        Rule(sums + 23, level, right - 18, level, DIM, 2.6),
        Shape(((right - 20, level - 7), (right - 20, level + 7), (right - 5, level)), DIM),
    ]
    deep = _input_column(unit, items, [top + place * pitch + tall / 2 for place in range(len(rows))], tall)
    return Panel(tuple(items), right + beside, max(y + 62, below, deep))


def _label(unit: Unit, place: int, x: float, y: float) -> list[Item]:
    """What channel a row is: its colour, or its number."""
    if not reads_colours(unit):
        return [Text(x, y, f"channel {unit.numbers[place]}", SMALL, DIM)]
    swatch = ((x, y - 15), (x + 15, y - 15), (x + 15, y), (x, y))
    return [Shape(swatch, SWATCHES[place]), Text(x + 24, y, COLOURS[unit.numbers[place]], SMALL, DIM)]


def _map_column(unit: Unit, x: float, items: list[Item]) -> float:
    """The map, its surroundings enlarged where its cells are small, and what the unit can see; how deep it goes."""
    ink = ink_of(unit.map)
    view = map_view(unit, COLUMN)
    if min(view.scale) >= 8 or max(unit.map.shape) <= 30:
        shown = with_bar(view, ink)
        items += moved(shown.panel, x, 0)
        y = shown.panel.height + 40
    else:
        _, row, column = unit.at
        part, (rows, columns) = enlarged(ink.pixels(unit.map), ((row, row), (column, column)), COLUMN)
        items += moved(map_view(unit, COLUMN, of=(rows, columns)).panel, x, 0)
        y = view.panel.height + 56
        items += funnel(_corners(view, rows, columns, x), (x, x + part.size[1], y))
        items += moved(part.panel, x, y)
        height, width = unit.map.shape
        items.append(Text(x, y + part.panel.height + 22, f"of {height} × {width} values", SMALL, DIM))
        y += part.panel.height + 46
        if ink.known:
            bar = ink_bar(ink, max(part.size[1], BAR))
            items += moved(bar, x, y)
            y += bar.height + 40
    sight = None if unit.reads_image else photograph(unit, COLUMN, sight=True)
    if sight is not None:
        items += moved(sight.panel, x, y)
        y += sight.panel.height
    return y


def _corners(view: View, rows: range, columns: range, x: float) -> tuple[float, float, float]:
    """Left, right and lower end of a part of a map on the page."""
    return (
        x + columns.start * view.scale[1], x + columns.stop * view.scale[1], TOP + rows.stop * view.scale[0],
    )  # fmt: skip


def _input_column(unit: Unit, items: list[Item], middles: Sequence[float], tall: float) -> float:
    """What the windows were cut out of: the photograph with them enlarged, or a small map for each channel."""
    whole = photograph(unit, LEFT, sight=False, name="image as seen") if unit.reads_image else None
    if whole is None or unit.seen is None:
        height, width = unit.inputs.shape[1:]
        side = LEFT - 20 if height * (LEFT - 20) <= width * tall else min(LEFT - 20, tall)
        for place, middle in enumerate(middles):
            view = input_view(unit, place, side)
            items += moved(view.panel, 0, middle - view.size[0] / 2)
        items.append(Text(0, 22, "input channels", SMALL, INK, bold=True))
        return 0.0
    height, width = unit.seen.pixels.shape[:2]
    part, (rows, columns) = enlarged(unit.seen.pixels, (unit.rows, unit.columns), LEFT)
    y = whole.panel.height + 56
    corners = _corners(whole, rows, columns, 0)
    items += moved(whole.panel, 0, 0)
    ends = near(*unit.rows, height), near(*unit.columns, width)
    items += _span_mark(whole, ends)
    items += funnel(corners, (0, part.size[1], y))
    items += moved(part.panel, 0, y)
    items.append(Text(0, y + part.panel.height + 22, f"of {height} × {width} px", SMALL, DIM))
    return y + part.panel.height + 30


def _span_mark(view: View, ends: tuple[range, range]) -> list[Item]:
    rows, columns = ends
    return mark(
        columns.start * view.scale[1], TOP + rows.start * view.scale[0],
        len(columns) * view.scale[1], len(rows) * view.scale[0],
    )  # fmt: skip

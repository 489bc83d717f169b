"""The bodies of the pages of a pooled value: its window beside the value, and a map before and after pooling."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from kernelviz.arithmetic.windows import size_text
from kernelviz.drawing.page import INK, Item, Panel, Text, moved, outline, text_width, wrap
from kernelviz.drawing.worksheets import (
    DARK,
    DIM,
    FORMULA,
    HEAD,
    MARGIN,
    SMALL,
    SUM,
    WIDEST,
    Cells,
    arrow_items,
    cells_panel,
    digit_size,
    page_tint,
    titled,
)
from kernelviz.explain.unit_parts import (
    UNIT_DIGITS,
    input_view,
    map_bar,
    map_colours,
    map_picture,
    map_view,
    photograph,
    with_map_bar,
)
from kernelviz.explain.unit_texts import pool_sum_text, pool_verb, short_decimals, sum_text

if TYPE_CHECKING:
    from kernelviz.drawing.worksheets import LabelledPicture
    from kernelviz.explain.unit_parts import MapColours
    from kernelviz.traces import PooledUnit


SIDE, BESIDE = 400.0, 46.0  # of the pictures above, and the space between them
WINDOW, ARROW = 430.0, 150.0
MAP, BETWEEN = 560.0, 190.0  # of a map before and after pooling, and the space for the arrow
LARGEST_DIGITS = replace(UNIT_DIGITS, largest=30.0)


def pooled_body(unit: PooledUnit, *, brief: bool = False) -> Panel:
    """The channel with the window, what the value can see, and the pooled map; below them the window and the value.

    A ``brief`` one has these alone.
    """
    side = min(SIDE, (WIDEST - 2 * MARGIN - 2 * BESIDE) / 3)
    views = [
        input_view(unit, 0, side, name=f"input channel {unit.numbers[0]}"),
        photograph(unit, side, field=True),
        with_map_bar(map_view(unit, side), map_colours(unit.map)),
    ]
    items: list[Item] = []
    for position, view in enumerate(views):
        items += () if view is None or brief else view.at(position * (side + BESIDE), 0)
    top = 30.0 if brief else max(view.height for view in views if view is not None) + 62
    panel = _window(unit)
    name = "window"
    items += [
        Text(0, top - 16, name, SMALL, INK, bold=True),
        Text(text_width(name, SMALL, bold=True) + 12, top - 16, size_text(unit.window.shape[1:]), SMALL, DIM),
        *moved(panel, 0, top),
    ]
    middle, x = top + panel.height / 2, panel.width
    items += moved(Panel(tuple(arrow_items(20, 0, ARROW - 22)), ARROW, 0), x, middle)
    items.append(Text(x + ARROW / 2, middle - 16, pool_verb(unit), HEAD, DIM, align="center"))
    x += ARROW + 8
    value = sum_text(unit, unit.total)
    items.append(Text(x, middle, value, FORMULA + 4, INK, bold=True, middle=True))
    room = WIDEST - 2 * MARGIN - x
    lines = wrap(pool_sum_text(unit), SUM - 2, room)
    items += [Text(x, middle + 50 + 32 * at, line, SUM - 2, DIM) for at, line in enumerate(lines)]
    right = x + max(text_width(line, SUM - 2) for line in lines)
    right = max(right, x + text_width(value, FORMULA + 4, bold=True)) if brief else max(right, 3 * side + 2 * BESIDE)
    return Panel(tuple(items), right, max(top + panel.height, middle + 60 + 32 * len(lines)))


def _window(unit: PooledUnit) -> Panel:
    """The window; bold is what takes part, and in a frame the value that a maximum takes."""
    values, shares = unit.window[0], unit.kernel[0]
    cell = min(96.0, WINDOW / max(values.shape))
    bold = np.asarray(shares > 0)
    cells = Cells(values, page_tint(values), bold=bold, padding=unit.padding, decimals=short_decimals(values))
    size = digit_size([cells], cell, LARGEST_DIGITS)
    if not size:
        cells = replace(cells, tint=replace(cells.tint, pale=False))
    panel = cells_panel(cells, cell, size, LARGEST_DIGITS)
    items = [*panel.items, outline(-2.2, -2.2, panel.width + 4.4, panel.height + 4.4, colour=DARK, line=4.4)]
    if unit.taken is not None:
        row, column = unit.taken
        inset = min(5.0, cell / 8)
        box = column * cell + inset, row * cell + inset, cell - 2 * inset, cell - 2 * inset
        items.append(outline(*box, colour=DARK, line=min(4.0, cell / 6)))
    return Panel(tuple(items), panel.width, panel.height)


def pooled_map_body(unit: PooledUnit, tallest: float = math.inf) -> Panel:
    """A channel before and after pooling, in one scale of colours; for a box of this height smaller."""
    side = min(MAP, tallest - 150)
    colours = map_colours(unit.inputs[0])
    before = _map(unit.inputs[0], colours, side, f"input channel {unit.numbers[0]}")
    after = _map(unit.map, colours, side, f"pooled map {unit.at[0]}")
    middle = max(before.above + before.size[0] / 2, after.above + after.size[0] / 2)
    x = before.width + BETWEEN
    items = [*before.centred_at(0, middle), *after.centred_at(x, middle)]
    items += moved(Panel(tuple(arrow_items(24, 0, BETWEEN - 26)), BETWEEN, 0), before.width, middle)
    words = [pool_verb(unit), size_text(unit.operation.kernel) if unit.operation else ""]
    for at, word in enumerate(words):
        y = middle - 16 if at == 0 else middle + 34
        items.append(Text(before.width + BETWEEN / 2, y, word, HEAD, DIM, align="center"))
    bottom = middle + max(before.size[0], after.size[0]) / 2
    if colours.known:
        bar = map_bar(colours, before.size[1])
        items += moved(bar, 0, bottom + 22)
        bottom += 22 + bar.height
    return Panel(tuple(items), x + after.width, bottom)


def _map(values: np.ndarray, colours: MapColours, side: float, name: str) -> LabelledPicture:
    panel, _ = map_picture(values, colours, side)
    return titled(name, size_text(values.shape), panel, foot=0, whole_head=True)

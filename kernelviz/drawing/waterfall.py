"""The page of a traced unit that reads many channels: those that contribute most, as bars that add up to the value."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kernelviz.drawing.page import INK, Item, Panel, Raster, Rule, Shape, Text, moved, text_width
from kernelviz.drawing.sights import ink_of, input_view, map_view, photograph, with_bar
from kernelviz.drawing.unit_numbers import fitted_digits
from kernelviz.drawing.worksheets import DIM, FORMULA, MARGIN, SMALL, WIDEST, Cells, cells_panel, strongest
from kernelviz.unit_texts import SHOWN, short_decimals, sum_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kernelviz.records import Array
    from kernelviz.traces import Unit


THUMB, PITCH, HEADS = 96.0, 112.0, 44.0
NUMBERS, GAP, SIGNS = 86.0, 40.0, 40.0  # the channel's number, and what stands between the matrices
BARS, COLUMN = 206.0, 308.0
RED, BLUE = "#cb4c42", "#3b86c0"
THICK = 32.0


@dataclass(frozen=True)
class Part:
    """One bar: what it is called, its value, the middle of its row, and whether the name stands below the rows."""

    name: str
    value: float
    middle: float


def waterfall_page(unit: Unit) -> tuple[Panel, str]:
    """The body of the page, and what is said of the choice of channels."""
    order = unit.strongest(SHOWN)
    pointwise = unit.window[0].size == 1
    texts, parts, bottom = _parts(unit, order)
    lefts = [NUMBERS + THUMB + GAP + place * (THUMB + SIGNS) for place in range(3)]
    widest = max(text_width(text, FORMULA, bold=True) for text in texts)
    end = (lefts[2] - SIGNS + 40 if pointwise else lefts[2] + THUMB + 44) + widest
    items = _heads(lefts, end, pointwise=pointwise)
    for row, place in enumerate(order):
        items += _row(unit, place, HEADS + row * PITCH, lefts, pointwise=pointwise)
    items += _sums(unit, parts, texts, end)
    bars = min(BARS + (100 if pointwise else 0), WIDEST - 2 * MARGIN - end - 94 - COLUMN)
    items += _bars(parts, end + 44, bottom, bars)
    right = end + 44 + bars + 50
    below, width = _pictures(unit, items, right)
    measure = "product" if pointwise else "sum"
    n = len(unit.numbers)
    said = f"the {len(order)} channels with the largest |{measure}| of {n:,}, largest first" if n > len(order) else ""
    said = " · ".join(part for part in (said, "each input map in colours of its own") if part)
    return Panel(tuple(items), right + width, max(bottom, below)), said


def _parts(unit: Unit, order: Sequence[int]) -> tuple[list[str], list[Part], float]:
    """All that is added up, as texts and as bars, the whole last; and where the rows end."""
    sums = unit.sums
    parts = [
        Part(str(unit.numbers[place]), float(sums[place]), HEADS + row * PITCH + THUMB / 2)
        for row, place in enumerate(order)
    ]
    y = HEADS + len(order) * PITCH + 10.0
    rest = len(unit.numbers) - len(order)
    if rest:
        others = np.delete(sums, list(order)).sum()
        name = f"the other {rest:,} channels together" if rest > 1 else "the other channel"
        parts.append(Part(name, float(others), y + 6))
        y += 52
    if unit.bias is not None:
        parts.append(Part("bias", unit.bias, y + 6))
        y += 52
    name = "the value (no bias)" if unit.bias is None else "the value"
    parts.append(Part(name, unit.total, y + 22))
    values = [part.value for part in parts]
    return [sum_text(unit, float(value)) for value in values], parts, y + 52


def _heads(lefts: Sequence[float], end: float, *, pointwise: bool) -> list[Item]:
    names = ("value", "weight") if pointwise else ("window", "kernel", "products")
    items: list[Item] = [Text(0, 22, "input channel", SMALL, INK, bold=True)]
    for left, name in zip(lefts, names, strict=False):
        items.append(Text(left + THUMB / 2, 22, name, SMALL, INK, bold=True, align="center"))
    items.append(Text(end, 22, "product" if pointwise else "sum", SMALL, INK, bold=True, align="right"))
    items.append(Text(end + 44, 22, "adding up", SMALL, INK, bold=True))
    return items


def _row(unit: Unit, place: int, y: float, lefts: Sequence[float], *, pointwise: bool) -> list[Item]:
    """The channel's number, its map with the window, and window × kernel = products as colours."""
    middle = y + THUMB / 2
    items: list[Item] = [Text(0, middle, f"{unit.numbers[place]:,}", SMALL + 1, INK, middle=True)]
    view = input_view(unit, place, THUMB)
    items += moved(view.panel, NUMBERS, middle - view.size[0] / 2)
    columns = [(unit.window, True), (unit.kernel, False)] if pointwise else [
        (unit.window, True), (unit.kernel, False), (unit.products, True)
    ]  # fmt: skip
    for left, (values, padded) in zip(lefts, columns, strict=False):
        panel = _number(unit, values, place) if pointwise else _matrix(unit, values, place, padded=padded)
        items += moved(panel, left + (THUMB - panel.width) / 2, middle - panel.height / 2)
    for left, sign in zip(lefts[1:], "×=", strict=True):
        x = left - SIGNS / 2
        items.append(Text(x, middle, sign, 34, DIM, align="center", middle=True))
    if not pointwise:
        items.append(Text(lefts[2] + THUMB + 16, middle, "Σ", SMALL + 2, DIM, middle=True))
    return items


def _matrix(unit: Unit, values: Array, place: int, *, padded: bool) -> Panel:
    """One matrix as colours of the scale of all of its kind."""
    cell = THUMB / max(values.shape[1:])
    shown = values[list(unit.strongest(SHOWN))]
    around, between = (unit.padding, unit.stretched) if padded else (None, None)
    return cells_panel(Cells(values[place], strongest(shown), padding=around, stretched=between), cell, 0)


def _number(unit: Unit, values: Array, place: int) -> Panel:
    """A single number as a cell as wide as a matrix."""
    shown = values[list(unit.strongest(SHOWN))]
    every = [Cells(plane, strongest(shown), decimals=short_decimals(shown)) for plane in shown]
    cells = Cells(values[place], strongest(shown), decimals=short_decimals(shown))
    panel = cells_panel(cells, THUMB, min(24.0, fitted_digits(every, THUMB)))
    return _flattened(panel, 62.0 / THUMB)


def _flattened(panel: Panel, share: float) -> Panel:
    """A cell less tall than wide; its digits keep their size."""
    items: list[Item] = []
    for item in panel.items:
        if isinstance(item, Raster):
            items.append(Raster(item.pixels, item.left, item.top, item.width, item.height * share))
        elif isinstance(item, Shape):
            items.append(Shape(tuple((x, y * share) for x, y in item.points), item.colour, item.width))
        elif isinstance(item, Text):
            items.append(
                Text(item.x, item.y * share, item.text, item.size, item.colour, item.bold, item.align, middle=True)
            )
    return Panel(tuple(items), panel.width, panel.height * share)


def _sums(unit: Unit, parts: Sequence[Part], texts: Sequence[str], end: float) -> list[Item]:
    """The sums on the right, what is taken together, and the value under a line."""
    items: list[Item] = []
    rows = min(SHOWN, len(unit.numbers))
    for at, (part, text) in enumerate(zip(parts, texts, strict=True)):
        last = at == len(parts) - 1
        if last:
            items.append(Rule(end - 120, part.middle - 26, end + 8, part.middle - 26, INK, 2.4))
            items.append(Text(0, part.middle, part.name, SMALL + 1, INK, bold=True, middle=True))
        elif at >= rows:
            items.append(Text(0, part.middle, part.name, SMALL + 1, DIM, middle=True))
        size = FORMULA if last else SMALL + 3
        items.append(Text(end, part.middle, text, size, INK, bold=True, align="right", middle=True))
    return items


def _bars(parts: Sequence[Part], left: float, bottom: float, wide: float) -> list[Item]:
    """Each part begins where the one before it ends; the last is the whole, from 0."""
    values = [part.value for part in parts]
    if not all(map(math.isfinite, values)):
        return [Text(left, parts[0].middle, "not finite", SMALL, DIM, middle=True)]
    ends = np.concatenate([[0.0], np.cumsum(values[:-1])])
    low, high = float(min(ends.min(), values[-1])), float(max(ends.max(), values[-1]))
    scale = wide / ((high - low) or 1.0)
    zero = left - low * scale
    items: list[Item] = []
    for at, part in enumerate(parts):
        last = at == len(parts) - 1
        start, stop = (0.0, part.value) if last else (float(ends[at]), float(ends[at + 1]))
        a, b = sorted((zero + start * scale, zero + stop * scale))
        top, below = part.middle - THICK / 2, part.middle + THICK / 2
        b = max(b, a + 1.5)
        colour = INK if last else RED if part.value >= 0 else BLUE
        items.append(Shape(((a, top), (b, top), (b, below), (a, below)), colour))
        if not last:
            x = zero + stop * scale
            items.append(Rule(x, below, x, parts[at + 1].middle - THICK / 2, DIM, 1.4))
    items.append(Rule(zero, HEADS - 8, zero, bottom - 4, INK, 2.2))
    return items


def _pictures(unit: Unit, items: list[Item], x: float) -> tuple[float, float]:
    """The map with the unit, and what the unit can see; how deep they go, and how wide they are."""
    view = with_bar(map_view(unit, COLUMN), ink_of(unit.map))
    items += moved(view.panel, x, 0)
    y, width = view.panel.height + 36, max(COLUMN, view.panel.width)
    sight = photograph(unit, COLUMN, sight=True)
    if sight is not None:
        items += moved(sight.panel, x, y)
        y += sight.panel.height
        width = max(width, sight.panel.width)
    return y, width

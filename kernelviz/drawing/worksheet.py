"""The parts of an explaining page: headed matrices in a row, what stands at its foot, and the page around them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kernelviz.drawing.cells import DIM, Cells
from kernelviz.drawing.colour import ramp
from kernelviz.drawing.headings import fitted
from kernelviz.drawing.page import (
    INK,
    LINE_HEIGHT,
    Item,
    Panel,
    Raster,
    Rule,
    Shape,
    Text,
    drawable,
    moved,
    text_block,
    text_width,
    wrap,
)
from kernelviz.wording import value_text

if TYPE_CHECKING:
    from collections.abc import Sequence


NARROWEST, WIDEST = 1280.0, 1480.0
MARGIN = 53.0
TITLE, SETTINGS, HEAD, SIGN, SUM, FORMULA, SMALL = 31.0, 24.0, 24.0, 42.0, 24.0, 30.0, 21.0
TAB = 46.0  # between the number of the step and the caption
HEADER = 58.0  # what a matrix' name takes above it


@dataclass(frozen=True)
class Placed:
    """A panel that stands in a row; its head is ``above`` its box and as wide as ``room``, notes are ``below``."""

    panel: Panel
    room: float
    above: float
    below: float = 0.0


def headed(
    panel: Panel, name: str, size: str = "", *, lift: float = 0.0, below: str = "", aside: bool = False
) -> Placed:
    """A matrix with its name in bold and its size above it, in the middle; ``lift`` leaves room between.

    A head that is wider than its matrix begins with it where ``aside``, so that it leaves free what comes from the left.
    """
    gap = 16.0 if size else 0.0
    widths = text_width(name, HEAD, bold=True), text_width(size, HEAD)
    total = widths[0] + gap + widths[1]
    room = max(panel.width, total)
    left = (room - total) / 2
    y = -22.0 - lift
    items: list[Item] = [Text(left, y, name, HEAD, INK, bold=True)]
    if size:
        items.append(Text(left + widths[0] + gap, y, size, HEAD, DIM))
    if below:
        items.append(Text((room - panel.width) / 2, panel.height + 34, below, SMALL, DIM))
    items += moved(panel, 0 if aside else (room - panel.width) / 2, 0)
    return Placed(Panel(tuple(items), room, panel.height), room, HEADER + lift, 38 if below else 0)


def sign(text: str, room: float = 98.0) -> Placed:
    """A sign between two matrices."""
    return Placed(Panel((Text(room / 2, 0, text, SIGN, DIM, align="center", middle=True),), room, 0), room, 0)


def arrow(word: str = "", room: float = 98.0) -> Placed:
    """An arrow between two matrices, with a word above it."""
    items: list[Item] = [*arrow_items(20, 0, room - 22)]
    if word:
        items.append(Text(room / 2, -16, word, HEAD, DIM, align="center"))
    return Placed(Panel(tuple(items), room, 0), room, 0)


def arrow_items(x0: float, y: float, x1: float, width: float = 3.0) -> tuple[Item, ...]:
    """A horizontal arrow to the right."""
    head = 5 * width
    points = ((x1 - head, y - 0.5 * head), (x1 - head, y + 0.5 * head), (x1, y))
    return Rule(x0, y, x1 - head, y, DIM, width), Shape(points, DIM)


def in_a_row(parts: Sequence[Placed], gap: float = 0.0) -> Panel:
    """Parts beside each other, their boxes centred on one line; heads reach up."""
    above = max(part.panel.height / 2 + part.above for part in parts)
    below = max(part.panel.height / 2 + part.below for part in parts)
    items: list[Item] = []
    x = 0.0
    for part in parts:
        items += moved(part.panel, x, above - part.panel.height / 2)
        x += part.room + gap
    return Panel(tuple(items), x - gap, above + below)


def stacked(panels: Sequence[Panel], gap: float) -> Panel:
    """Panels below each other."""
    items: list[Item] = []
    y = 0.0
    for panel in panels:
        items += moved(panel, 0, y)
        y += panel.height + gap
    return Panel(tuple(items), max(panel.width for panel in panels), y - gap)


def feet(left: Panel, right: Panel, preferred: float, room: float) -> list[tuple[float, Panel]]:
    """Two panels at the foot of a page: beside each other where there is room, else one below the other."""
    if left.width + 40 <= preferred and preferred + right.width <= room:
        return [(0.0, left), (preferred, right)]
    if left.width + 70 + right.width <= room:
        return [(0.0, left), (left.width + 70, right)]
    return [(0.0, stacked([left, right], 26))]


def colour_bar(cells: Cells, width: float) -> Panel:
    """A slim bar with its ends below."""
    low = cells.low if cells.grey else -cells.limit
    ends = value_text(low), value_text(cells.limit)
    width = max(width, sum(text_width(end, SMALL) for end in ends) + 30)
    share = np.linspace(0, 1, 201)
    grey = np.repeat(np.rint(255 * share)[:, None], 3, axis=1).astype(np.uint8)
    pixels = (grey if cells.grey else ramp(None, signed=True))[None]
    items: list[Item] = [Raster(pixels, 0, 0, width, 16)]
    items += [Text(0, 42, ends[0], SMALL, DIM), Text(width, 42, ends[1], SMALL, DIM, align="right")]
    if not cells.grey and width > sum(text_width(end, SMALL) for end in ends) + 60:
        items.append(Text(width / 2, 42, "0", SMALL, DIM, align="center"))
    return Panel(tuple(items), width, 46)


def worksheet(
    title: str,
    settings: str,
    body: Panel,
    foot: Sequence[tuple[float, Panel]],
    notes: Sequence[str],
    *,
    counted: tuple[int, int] | None = None,
) -> Panel:
    """The whole page: heading, body, what stands under it at these places across, and the caption.

    ``counted``, the step and how many there are, begins the caption in a room of its own: nothing behind it moves.
    """
    inner = max(NARROWEST - 2 * MARGIN, body.width, *(x + panel.width for x, panel in foot or [(0, body)]))
    items, y = _heading(drawable(title, bold=True), drawable(settings), inner)
    items += moved(body, MARGIN, y)
    y += body.height
    if foot:
        y += 46
        for x, panel in foot:
            items += moved(panel, MARGIN + x, y)
        y += max(panel.height for _, panel in foot)
    words, below = _caption([note for note in notes if note], counted, y + 40, inner)
    return Panel((*items, *words), math.ceil(inner + 2 * MARGIN), math.ceil(below + 26))


def _caption(notes: Sequence[str], counted: tuple[int, int] | None, y: float, room: float) -> tuple[list[Item], float]:
    """The notes behind one another, in as many lines as they need, and the y below them."""
    step, steps = (f"step {each:,} of {counted[1]:,}" for each in counted) if counted else ("", "")
    start = text_width(steps, SMALL) + TAB if counted else 0.0
    lines = [""]
    for part in notes:
        behind = start and len(lines) == 1
        joined = f"{lines[-1]} · {part}" if lines[-1] else part
        if text_width(joined, SMALL) + (start if behind else 0) <= room:
            lines[-1] = joined
        else:
            lines += wrap(part, SMALL, room)
    if not counted:
        return text_block([line for line in lines if line], MARGIN, y, SMALL, colour=DIM)
    words, below = text_block(lines[1:], MARGIN, y + SMALL * LINE_HEIGHT, SMALL, colour=DIM)
    first = [Text(MARGIN, y + SMALL, step, SMALL, DIM), Text(MARGIN + start, y + SMALL, lines[0], SMALL, DIM)]
    return [*(item for item in first if item.text), *words], below


def _heading(title: str, settings: str, room: float) -> tuple[list[Item], float]:
    wide = text_width(title, TITLE, bold=True)
    size = TITLE * max(0.75, min(1.0, room / wide))
    lines = wrap(title, size, room, bold=True)
    items, y = text_block(lines, MARGIN, 60 - size, size, colour=INK, bold=True)
    x = wide + 26
    if len(lines) == 1 and x + text_width(settings, SETTINGS) <= room:
        return [*items, Text(MARGIN + x, 60, settings, SETTINGS, DIM)], 106.0
    words, below = text_block(fitted(settings, SETTINGS, room), MARGIN, y + 3, SETTINGS, colour=DIM)
    return [*items, *words], below + 30

"""The parts of an explaining page: headed matrices in a row, the sum, the formula, and the page around them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kernelviz.drawing.cells import DARK, DIM, FAINT, Cells
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
from kernelviz.drawing.terms import plane_terms, shortened, value_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kernelviz.size_formulas import Formula
    from kernelviz.walkthrough import Step

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


def sum_panel(step: Step, room: float, *, widest: tuple[float, float] = (0.0, 0.0)) -> Panel:
    """How the marked cell came about: the terms in the kernel's rows, those of padding faint, the result bold.

    ``widest`` are the widths of the longest term and result of all steps, so that nothing moves from step to step.
    """
    row, column = step.at
    heading = f"the marked cell, row {row}, column {column}"
    items: list[Item] = [Text(0, SMALL, heading, SMALL, DIM)]
    terms = plane_terms(step, 0)
    _, height, width = step.window.shape
    term = max(widest[0], *(text_width(text, SUM) for text in terms))
    plus, tail = text_width(" + ", SUM), 20.0
    value = value_text(step.value)
    bias = "" if step.bias is None else f"{value_text(step.bias)} bias"
    result = max(widest[1], text_width(value, FORMULA, bold=True))
    whole = (
        width * (term + plus) + text_width("=", SUM) + 2 * tail + result + (text_width(bias, SUM) if bias else -plus)
    )
    if len(step.window) > 1 or height > 5 or whole > room:
        return _one_line(step, heading, room)
    y = SMALL + 44.0
    for i in range(height):
        x = 0.0
        for j in range(width):
            faint = bool(step.padding[i, j] or step.stretched[i, j])
            text = terms[i * width + j]
            items.append(Text(x + term, y, text, SUM, FAINT if faint else DARK, align="right"))
            x += term
            if (i, j) != (height - 1, width - 1) or bias:
                items.append(Text(x + plus / 2, y, "+", SUM, FAINT, align="center"))
            x += plus
        if i == height - 1:
            if bias:
                items.append(Text(x, y, bias, SUM, DARK))
                x += text_width(bias, SUM) + tail
            items.append(Text(x, y, "=", SUM, FAINT))
            items.append(Text(x + text_width("=", SUM) + tail, y, value, FORMULA - 1, INK, bold=True))
        y += 38
    return Panel(tuple(items), max(whole, text_width(heading, SMALL) + 8), y - 26)


def _one_line(step: Step, heading: str, room: float) -> Panel:
    """The first terms and the last ones of a long sum."""
    terms = [term for plane in range(len(step.window)) for term in plane_terms(step, plane)]
    head = Text(0, SMALL, f"{heading}: {len(terms):,} products", SMALL, DIM)
    bias = [] if step.bias is None else [f"({value_text(step.bias)})" if step.bias < 0 else value_text(step.bias)]
    value = value_text(step.value)
    end = 30 + text_width("=", SUM) + text_width(value, FORMULA, bold=True)
    shown, most = terms, len(terms)
    while text_width(" + ".join(shown + bias), SUM) + end > room and most > 2:
        most = min(most, 12) - 1
        shown = shortened(terms, most) if most > 2 else [terms[0], "…"]
    text = " + ".join(shown + bias)
    x = text_width(text, SUM)
    items: list[Item] = [head, Text(0, SMALL + 44, text, SUM, DARK), Text(x + 14, SMALL + 44, "=", SUM, FAINT)]
    items.append(Text(x + 30 + text_width("=", SUM), SMALL + 44, value, FORMULA - 1, INK, bold=True))
    return Panel(tuple(items), max(x + end, text_width(head.text, SMALL) + 8), SMALL + 54)


def formula_panel(formulas: tuple[Formula, Formula], room: float) -> Panel:
    """The size of the output: in numbers as it is written by hand, and in letters under it."""
    rows, columns = formulas
    items: list[Item] = [Text(0, SMALL, "the size of the output", SMALL, DIM)]
    if rows == columns and rows.denominator:
        return _fraction(rows, items, room)
    y, widest = SMALL + 10.0, 0.0
    texts = [rows.text] if rows == columns else [f"rows: {rows.text}", f"columns: {columns.text}"]
    size = min(FORMULA - 3, *((room - 20) / text_width(text, 1.0, bold=True) for text in texts))
    for text in texts:
        before, equals, result = text.rpartition(" = ")
        y += 40
        items.append(Text(0, y, (before + equals).rstrip() or text, size, INK))
        if equals:
            x = text_width(before + equals, size)
            items.append(Text(x + 16, y, result, size, INK, bold=True))
        widest = max(widest, text_width(text, size, bold=True) + 16)
    same = rows.where == columns.where
    where = (
        rows.where
        if same
        else [f"{name}: {each}" for name, one in zip(("rows", "columns"), formulas, strict=True) for each in one.where]
    )
    lines = [*dict.fromkeys((rows.letters, columns.letters)), *where]
    return _letters(items, lines, y + 12, widest, room)


def _fraction(formula: Formula, items: list[Item], room: float) -> Panel:
    top, x = SMALL + 16.0, 22.0
    width = text_width(formula.numerator, FORMULA) + 10
    middle = top + 46
    low, high = top + 4, top + 88
    right = x + width + 22
    ends = {"floor": (high,), "ceil": (low,), "": ()}[formula.rounding]
    for edge, inward in ((4.0, 9.0), (right, -9.0)):
        items.append(Rule(edge, low, edge, high, INK, 2.2))
        items += [Rule(edge, end, edge + inward, end, INK, 2.2) for end in ends]
    items.append(Text(x + width / 2, middle - 12, formula.numerator, FORMULA, INK, align="center"))
    items.append(Rule(x, middle, x + width, middle, INK, 2))
    items.append(Text(x + width / 2, middle + 34, formula.denominator, FORMULA, INK, align="center"))
    after = f"{formula.tail.strip()}  ="
    items.append(Text(right + 14, middle + 10, after, FORMULA, INK))
    x = right + 40 + text_width(after, FORMULA)
    items.append(Text(x, middle + 10, str(formula.result), FORMULA, INK, bold=True))
    return _letters(items, [formula.letters, *formula.where], high + 6, x + text_width("000", FORMULA), room)


def _letters(items: list[Item], lines: Sequence[str], y: float, width: float, room: float) -> Panel:
    broken = [part for line in lines for part in wrap(line, SMALL, room)]
    words, bottom = text_block(broken, 0, y, SMALL, colour=DIM)
    wide = max(width, *(text_width(line, SMALL) for line in broken))
    return Panel((*items, *words), wide, bottom)


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

"""The parts of a step's page: matrices, the sum behind one cell, the formula of the output's size."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from kernelviz.arithmetic.operations import Pooling, TransposedConvolution
from kernelviz.arithmetic.windows import size_text
from kernelviz.drawing.page import INK, Item, Panel, Rule, Shape, Text, text_block, text_width, wrap
from kernelviz.drawing.worksheets import (
    CELL,
    DARK,
    DIM,
    FAINT,
    FORMULA,
    MARGIN,
    SMALL,
    SUM,
    WIDEST,
    Cells,
    LabelledPicture,
    arrow_items,
    cells_panel,
    digit_size,
    frame,
    headed,
    strongest,
    window_frame,
)
from kernelviz.explain.texts import padding_text, plane_terms, rows_text, shortened
from kernelviz.wording import value_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kernelviz.arithmetic.steps import Step
    from kernelviz.arithmetic.windows import Formula
    from kernelviz.explain.walkthrough import Walkthrough
    from kernelviz.records import Array


MARKS = 44.0  # the room for the marks of the stride above the canvas
LARGE = 16  # with at least this many rows or columns the window is enlarged beside the input


def canvas_cells(worked: Walkthrough, step: Step, plane: int) -> Cells:
    """One channel of the canvas, the cells under the window lit."""
    canvas = worked.canvas
    lit = np.zeros(canvas.padding.shape, bool)
    rows, columns = canvas.rows[step.at[0]], canvas.columns[step.at[1]]
    lit[rows.start : rows.stop : rows.step, columns.start : columns.stop : columns.step] = True
    values = canvas.values[plane]
    return Cells(values, strongest(worked.input[plane]), lit, None, canvas.padding, canvas.stretched, canvas.unread)


def output_cells(worked: Walkthrough, step: Step, reached: int | None = None) -> Cells:
    """One channel of the output, the marked cell lit; in an animation, the cells after ``reached`` are empty."""
    values = worked.output[step.channel]
    limit = strongest(values)
    empty = np.zeros(values.shape, bool)
    if reached is not None:
        empty.ravel()[reached + 1 :] = True
    lit = np.zeros(values.shape, bool)
    lit[step.at] = True
    return Cells(values, limit, lit, empty=empty)


def plain_cells(values: Array, limit: float | None = None) -> Cells:
    """Cells without emphasis."""
    return Cells(values, strongest(values) if limit is None else limit)


def fitting_cell(cells: Sequence[Cells], fixed: float) -> float:
    """The size of a cell at which these matrices fit beside each other on a page; 0 if they would not be legible."""
    columns = sum(each.shape[1] for each in cells)
    cell = min(CELL, (WIDEST - 2 * MARGIN - fixed) / columns)
    large = any(max(each.shape) >= LARGE for each in cells)
    return 0.0 if large or not all(digit_size([each], cell) for each in cells) else cell


def matrix(cells: Cells, cell: float) -> Panel:
    """Cells with their digits at the size that fits."""
    return cells_panel(cells, cell, digit_size([cells], cell))


def output_matrix(worked: Walkthrough, step: Step, cell: float, reached: int | None) -> LabelledPicture:
    """The output with the marked cell in a frame."""
    cells = output_cells(worked, step, reached)
    panel = matrix(cells, cell)
    framed = Panel((*panel.items, frame(*step.at, 1, 1, cell)), panel.width, panel.height)
    return headed(framed, "output", size_text(cells.shape))


def canvas_matrix(worked: Walkthrough, step: Step, cell: float) -> LabelledPicture:
    """The canvas with the window in a frame, the stride above it, and a note about cells that are never read below it."""
    operation, canvas = worked.operation, worked.canvas
    cells = canvas_cells(worked, step, step.channels[0])
    bold = None
    if isinstance(operation, Pooling) and operation.kind == "max":
        bold = cells.lit & ~cells.mask("padding") & (cells.values == step.value)
        cells = Cells(cells.values, cells.limit, cells.lit, bold, canvas.padding, None, canvas.unread)
    panel = matrix(cells, cell)
    marks = stride_marks(worked, step, cell)
    rows, columns = canvas.rows[step.at[0]], canvas.columns[step.at[1]]
    items = (*panel.items, *marks, *window_frame(rows, columns, cell))
    name, size = canvas_name(worked)
    lift = MARKS if marks else 0.0
    below = never_read(worked)
    return headed(Panel(items, panel.width, panel.height), name, size, lift=lift, below=below)


def canvas_name(worked: Walkthrough) -> tuple[str, str]:
    """The name of the canvas, and its size."""
    operation = worked.operation
    if isinstance(operation, TransposedConvolution):
        padded = " and ".join(
            word
            for word, there in (
                ("stretched", operation.stride != (1, 1)),
                ("padded", max(operation.implicit_padding) > 0),
                ("cut", min(operation.implicit_padding) < 0),
            )
            if there
        )
        return padded or "input", size_text(worked.canvas.padding.shape)
    size = size_text(operation.input_size)
    if not any(operation.padding):
        return "input", size
    return "input", f"{size}, {padding_text(operation)}" if len(set(operation.padding)) == 1 else f"{size}, padded"


def never_read(worked: Walkthrough) -> str:
    """Why some cells are hatched; empty if none is."""
    if not worked.canvas.unread.any():
        return ""
    operation = worked.operation
    if isinstance(operation, TransposedConvolution):
        return "hatched: never read"
    over = " left over" if operation.unread == operation.left_over else ""
    return f"never read: {rows_text(operation.unread)}{over}"


def stride_marks(worked: Walkthrough, step: Step, cell: float) -> list[Item]:
    """Marks at the first column of each window, and an arrow from this window to the next; none for a stride of 1."""
    operation, columns = worked.operation, worked.canvas.columns
    if isinstance(operation, TransposedConvolution) or operation.stride[1] == 1 or len(columns) < 2:
        return []
    if getattr(operation, "adaptive", None):
        return []
    items: list[Item] = []
    for at, window in enumerate(columns):
        x = window.start * cell
        points = ((x - 7, -18.0), (x + 7, -18.0), (x, -6.0))
        items.append(Shape(points, DARK if at == step.at[1] else "#9aa1aa"))
    first = min(step.at[1], len(columns) - 2)
    x0, x1 = columns[first].start * cell + 10, columns[first + 1].start * cell - 10
    word = f"stride {operation.stride[1]}"
    items += arrow_items(x0, -14, x1, 2.4) if x1 - x0 > 16 else [Rule(x0, -14, x1, -14, DIM, 2)]
    half = text_width(word, SMALL) / 2
    middle = max((x0 + x1) / 2, half)
    items.append(Text(middle, -25, word, SMALL, DIM, align="center"))
    return items


def sum_panel(step: Step, room: float, *, widest: tuple[float, float] = (0.0, 0.0)) -> Panel:
    """How the marked cell is computed: the terms in the rows of the kernel, those of padding faint, the result bold.

    ``widest`` holds the widths of the longest term and result of all steps, so that nothing moves from step to step.
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


INPUT_RATIO, OUTPUT_RATIO = 8, 4  # how many times as long as wide the part is at most


def part_around(shape: tuple[int, int], spans: Sequence[range], times: int) -> tuple[range, range]:
    """The rows and the columns that are drawn, around these spans; the long side is at most ``times`` the short one.

    The part moves in leaps, so that consecutive frames of an animation mostly show the same part.
    """
    rows, columns = (
        _along(side, span, max(times * min(shape), 2 * len(span))) for side, span in zip(shape, spans, strict=True)
    )
    return rows, columns


def _along(side: int, span: range, most: int) -> range:
    length = min(side, most)
    leap = max(1, (length - len(span)) // 2)
    middle = (span[0] + span[-1]) // 2
    start = middle // leap * leap - (length - leap) // 2
    start = max(0, min(start, side - length))
    return range(start, start + length)


def cut_cells(cells: Cells, rows: range, columns: range) -> Cells:
    """These rows and columns, with the same colours."""
    part = slice(rows.start, rows.stop), slice(columns.start, columns.stop)
    masks = (cells.lit, cells.bold, cells.padding, cells.stretched, cells.unread, cells.empty)
    lit, bold, padding, stretched, unread, empty = (None if mask is None else mask[part] for mask in masks)
    return replace(
        cells, values=cells.values[part], lit=lit, bold=bold, padding=padding, stretched=stretched, unread=unread,
        empty=empty,
    )  # fmt: skip


def part_text(name: str, shape: tuple[int, int], part: tuple[range, range], first: tuple[int, int] = (0, 0)) -> str:
    """``columns 9 to 32 of the input``, numbered from ``first``; empty if all is drawn."""
    texts = [
        f"{noun} {each.start - zero} to {each[-1] - zero} of the {name}".replace("-", "−")
        for noun, each, side, zero in zip(("rows", "columns"), part, shape, first, strict=True)
        if len(each) < side
    ]
    return " and ".join(texts)

"""The matrices of one step, ready to be put into a row: canvas, kernel, output, and the marks of the stride."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from kernelviz.arithmetic.operations import Pooling, TransposedConvolution
from kernelviz.arithmetic.windows import size_text
from kernelviz.drawing.page import Item, Panel, Rule, Shape, Text, text_width
from kernelviz.drawing.terms import padding_text, rows_text
from kernelviz.drawing.worksheets import (
    CELL,
    DARK,
    DIM,
    MARGIN,
    SMALL,
    WIDEST,
    Cells,
    Placed,
    arrow_items,
    cells_panel,
    digit_size,
    frame,
    headed,
    strongest,
    window_frame,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kernelviz.records import Array
    from kernelviz.walkthrough import Step, Walkthrough


MARKS = 44.0  # what the marks of the stride take above the canvas
LARGE = 16  # from so many rows or columns on the window is enlarged beside the input


def canvas_cells(worked: Walkthrough, step: Step, plane: int) -> Cells:
    """One channel of what the window slides over, the window lit."""
    canvas = worked.canvas
    lit = np.zeros(canvas.padding.shape, bool)
    rows, columns = canvas.rows[step.at[0]], canvas.columns[step.at[1]]
    lit[rows.start : rows.stop : rows.step, columns.start : columns.stop : columns.step] = True
    values = canvas.values[plane]
    return Cells(values, strongest(worked.input[plane]), lit, None, canvas.padding, canvas.stretched, canvas.unread)


def output_cells(worked: Walkthrough, step: Step, reached: int | None = None) -> Cells:
    """One channel of the output, the marked cell lit; the cells that come later are empty in an animation."""
    values = worked.output[step.channel]
    limit = strongest(values)
    empty = np.zeros(values.shape, bool)
    if reached is not None:
        empty.ravel()[reached + 1 :] = True
    lit = np.zeros(values.shape, bool)
    lit[step.at] = True
    return Cells(values, limit, lit, empty=empty)


def plain_cells(values: Array, limit: float | None = None) -> Cells:
    """Numbers of which none is in the step more than another."""
    return Cells(values, strongest(values) if limit is None else limit)


def fitting_cell(cells: Sequence[Cells], fixed: float) -> float:
    """The size of a cell at which these matrices fit beside each other on a page; 0 where they would not be legible."""
    columns = sum(each.shape[1] for each in cells)
    cell = min(CELL, (WIDEST - 2 * MARGIN - fixed) / columns)
    large = any(max(each.shape) >= LARGE for each in cells)
    return 0.0 if large or not all(digit_size([each], cell) for each in cells) else cell


def matrix(cells: Cells, cell: float) -> Panel:
    """Cells with their digits at the size that fits."""
    return cells_panel(cells, cell, digit_size([cells], cell))


def output_matrix(worked: Walkthrough, step: Step, cell: float, reached: int | None) -> Placed:
    """The output with the marked cell in a frame."""
    cells = output_cells(worked, step, reached)
    panel = matrix(cells, cell)
    framed = Panel((*panel.items, frame(*step.at, 1, 1, cell)), panel.width, panel.height)
    return headed(framed, "output", size_text(cells.shape))


def canvas_matrix(worked: Walkthrough, step: Step, cell: float) -> Placed:
    """The canvas with the window in a frame, the stride above it, and what is never read below it."""
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
    """What the canvas is called, and its size."""
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
    """Why some cells are hatched; empty where none is."""
    if not worked.canvas.unread.any():
        return ""
    operation = worked.operation
    if isinstance(operation, TransposedConvolution):
        return "hatched: never read"
    over = " left over" if operation.unread == operation.left_over else ""
    return f"never read: {rows_text(operation.unread)}{over}"


def stride_marks(worked: Walkthrough, step: Step, cell: float) -> list[Item]:
    """Where windows begin along the columns, and an arrow from this one to the next; none for a stride of 1."""
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

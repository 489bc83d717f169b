"""A sheet of all steps: the window at every place, and what comes out there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernelviz.arithmetic.operations import Pooling
from kernelviz.arithmetic.windows import size_text
from kernelviz.drawing.enlarged import WHITE, colours_of
from kernelviz.drawing.operands import canvas_cells, output_cells, plain_cells
from kernelviz.drawing.page import Item, Panel, Text, moved, text_width
from kernelviz.drawing.sums import formula_panel
from kernelviz.drawing.terms import broken_notes, name_text, settings_text, step_text
from kernelviz.drawing.worksheets import (
    CELL,
    DARK,
    DIM,
    MARGIN,
    NARROWEST,
    SMALL,
    SUM,
    WIDEST,
    Cells,
    cells_panel,
    digit_size,
    frame,
    headed,
    in_a_row,
    sign,
    stacked,
    window_frame,
    worksheet,
)
from kernelviz.wording import value_text

if TYPE_CHECKING:
    from kernelviz.walkthrough import Step, Walkthrough


ROWS, COLUMNS = 6, 6  # of steps on one sheet; the caption says how many of how many
GAP, LABEL = 40.0, 44.0
BIGGEST = 60.0


def steps_page(worked: Walkthrough, channel: int) -> Panel:
    """Kernel and output on top, then a picture a step in the rows and columns of the output."""
    rows, columns = worked.operation.output_size
    shown = shown_steps(worked)
    steps = [[worked.step(row, column, channel) for column in range(shown[1])] for row in range(shown[0])]
    room = WIDEST - 2 * MARGIN
    width = (room - (shown[1] - 1) * GAP) / shown[1]
    height, across = worked.canvas.padding.shape
    cell = min(BIGGEST, width / across, 560 / height)
    cells = canvas_cells(worked, steps[0][0], steps[0][0].channels[0])
    size = digit_size([cells], cell)
    tiles = [[_tile(worked, step, cell, size) for step in row] for row in steps]
    wide = max(width if shown[1] > 2 else 0.0, *(tile.width for row in tiles for tile in row))
    gap = min(GAP, (room - shown[1] * wide) / max(1, shown[1] - 1))  # results may be wider than what they are of
    items: list[Item] = []
    for i, row in enumerate(tiles):
        for j, tile in enumerate(row):
            items += moved(tile, j * (wide + gap), i * (tile.height + GAP))
    pitch = tiles[0][0].height + GAP
    sheet = Panel(tuple(items), shown[1] * (wide + gap) - gap, shown[0] * pitch - GAP)
    body = stacked([_top(worked, steps[0][0], max(sheet.width, NARROWEST - 2 * MARGIN)), sheet], 40)
    count = shown[0] * shown[1]
    total = rows * columns
    notes = [
        f"{count:,} of {total:,} steps" if count < total else f"all {total:,} steps",
        *_meanings(worked, steps[0][0]),
        *broken_notes(worked),
    ]
    return worksheet(f"{name_text(worked.operation)}, step by step", settings_text(worked.operation), body, [], notes)


def shown_steps(worked: Walkthrough) -> tuple[int, int]:
    """The rows and the columns of steps that a sheet shows, from the first on."""
    rows, columns = worked.operation.output_size
    return min(rows, ROWS), min(columns, COLUMNS)


def _tile(worked: Walkthrough, step: Step, cell: float, size: float) -> Panel:
    """The canvas with the window at one place, and the result below."""
    cells = canvas_cells(worked, step, step.channels[0])
    cells = cells if size else colours_of(cells)
    panel = cells_panel(cells, cell, size)
    rows, columns = worked.canvas.rows[step.at[0]], worked.canvas.columns[step.at[1]]
    if cell >= 14:
        frames = window_frame(rows, columns, cell)
    else:
        place = (rows[0], columns[0], rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1)
        frames = [frame(*place, cell, colour=WHITE, width=7), frame(*place, cell, width=3.4)]
    label = f"{step.at[0]}, {step.at[1]}:"
    x = text_width(label, SMALL) + 10
    value = value_text(step.value)
    words = [
        Text(0, panel.height + 32, label, SMALL, DIM),
        Text(x, panel.height + 32, value, SUM, DARK, bold=True),
    ]
    width = max(panel.width, x + text_width(value, SUM, bold=True))
    return Panel((*panel.items, *frames, *words), width, panel.height + LABEL)


def _top(worked: Walkthrough, step: Step, room: float) -> Panel:
    """The kernel and the whole output, the size beside them."""
    parts = []
    if step.weights is not None:
        kernel = plain_cells(step.weights[0])
        count = f"{len(step.channels)} × " if len(step.channels) > 1 else ""
        parts += [headed(_small(kernel), "kernel", count + size_text(kernel.shape)), sign("", 70)]
    output = output_cells(worked, step)
    parts += [headed(_small(Cells(output.values, output.limit)), "output", size_text(output.shape)), sign("", 70)]
    row = in_a_row(parts)
    formula = formula_panel(worked.operation.formulas, max(420.0, room - row.width))
    if row.width + formula.width > WIDEST - 2 * MARGIN:
        return stacked([row, formula], 24)
    items = (*row.items, *moved(formula, row.width, max(0.0, (row.height - formula.height) / 2)))
    return Panel(items, row.width + formula.width, max(row.height, formula.height))


def _small(cells: Cells) -> Panel:
    cell = min(CELL * 0.75, 380 / max(cells.shape))
    return cells_panel(cells, cell, digit_size([cells], cell))


def _meanings(worked: Walkthrough, step: Step) -> list[str]:
    operation = worked.operation
    example = step_text(operation, step)
    meanings = ["row, column: result below each"]
    if len(step.channels) > 1:
        meanings.append(
            f"channel {step.channels[0]} of the input is drawn; the results are sums over {len(step.channels)}"
        )
    if text_width(example, SMALL) < WIDEST - 2 * MARGIN - 200:
        meanings.append(f"the first: {example}")
    return meanings if isinstance(operation, Pooling) else [*meanings, "the same kernel at every place"]

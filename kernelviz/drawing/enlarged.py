"""The page of a step whose input is too large for digits: the input as colours, the window enlarged beside it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from kernelviz.drawing.cells import DARK, Cells, cells_panel, digit_size, frame
from kernelviz.drawing.operands import canvas_cells, canvas_name, output_cells, plain_cells
from kernelviz.drawing.page import Panel, Rule, moved
from kernelviz.drawing.terms import name_text, settings_text
from kernelviz.drawing.worksheet import (
    MARGIN,
    NARROWEST,
    Placed,
    arrow,
    colour_bar,
    feet,
    formula_panel,
    headed,
    in_a_row,
    sign,
    sum_panel,
    worksheet,
)
from kernelviz.sides import size_text
from kernelviz.transposed import TransposedConvolution

if TYPE_CHECKING:
    from kernelviz.drawing.page import Item
    from kernelviz.walkthrough import Step, Walkthrough

MIDDLE_CELL = 60.0
USUAL, WIDE_KERNEL = (350.0, 270.0, 260.0), (240.0, 335.0, 200.0)  # input, window and kernel, output
WHITE = "#ffffff"


def enlarged_page(worked: Walkthrough, step: Step, reached: int | None) -> Panel:
    """Input as colours → window × kernel, added up = output."""
    from kernelviz.drawing.convolution import counted, notes, words_panel

    operation = worked.operation
    source = colours_of(canvas_cells(worked, step, step.channels[0]))
    box, middle, last = USUAL if max(step.window.shape[1:]) <= 5 else WIDE_KERNEL
    seen = input_box(worked, step, source, box)
    rows, columns = step.window.shape[1:]
    cell = min(MIDDLE_CELL, middle / max(rows, columns))
    window = Cells(
        step.window[0], source.limit, None, None, step.padding, step.stretched, None, source.grey, source.low
    )
    drawn = cells_panel(window, cell, digit_size([window], cell))
    framed = Panel((*drawn.items, frame(0, 0, rows, columns, cell)), drawn.width, drawn.height)
    parts = [seen, Placed(Panel((), 70, 0), 70, 0), headed(framed, "window", size_text((rows, columns)))]
    if step.weights is not None:
        kernel = plain_cells(step.weights[0])
        size = "turned 180°" if isinstance(operation, TransposedConvolution) else size_text(operation.kernel)
        panel = cells_panel(kernel, cell, digit_size([kernel], cell))
        parts += [sign("×", 64), headed(panel, "kernel", size), sign("Σ", 64)]
    else:
        parts.append(arrow("max" if step.counted is None else "mean", 130))
    parts.append(output_box(worked, step, reached, last))
    body = in_a_row(parts)
    room = max(body.width, NARROWEST - 2 * MARGIN)
    words = words_panel(worked, step, room) if step.weights is None else sum_panel(step, room)
    foot = feet(words, formula_panel(operation.formulas, room), 0.0, room)
    body = Panel((*body.items, *zoom_lines(worked, step, parts, (box, cell), source)), body.width, body.height)
    return worksheet(
        name_text(operation),
        settings_text(operation),
        body,
        foot,
        notes(worked, step, cells=False),
        counted=counted(worked, step),
    )


def colours_of(cells: Cells) -> Cells:
    """Brightness for what is never negative, else red and blue; unlit, for nothing is veiled."""
    plain = replace(cells, lit=None)
    inner = cells.values[~cells.mask("padding")]
    if np.nanmin(inner, initial=0) < 0:
        return plain
    return replace(plain, grey=True, low=0.0)


def input_box(worked: Walkthrough, step: Step, cells: Cells, box: float) -> Placed:
    """The canvas as colours, the window in a frame with a white halo, a bar below."""
    rows, columns = cells.shape
    cell = box / max(rows, columns)
    panel = cells_panel(cells, cell, 0)
    down, across = worked.canvas.rows[step.at[0]], worked.canvas.columns[step.at[1]]
    place = (down[0], across[0], down[-1] - down[0] + 1, across[-1] - across[0] + 1)
    items: list[Item] = [*panel.items, frame(*place, cell, colour=WHITE, width=9), frame(*place, cell, width=4.5)]
    bar = colour_bar(cells, min(180.0, panel.width))
    items += moved(bar, 0, panel.height + 14)
    name, size = canvas_name(worked)
    size = size.partition(",")[0]  # the padding stands in the heading of the page
    placed = headed(Panel(tuple(items), max(panel.width, bar.width), panel.height), name, size)
    return replace(placed, below=66.0)


def output_box(worked: Walkthrough, step: Step, reached: int | None, box: float) -> Placed:
    """The output as colours, or as numbers where they fit, the marked cell in a frame."""
    cells = output_cells(worked, step, reached)
    cell = min(MIDDLE_CELL, box / max(cells.shape))
    size = digit_size([cells], cell)
    if not size:
        cell = box / max(cells.shape)
        cells = colours_of(cells)
    panel = cells_panel(cells, cell, size)
    halo = frame(*step.at, 1, 1, cell, colour=WHITE, width=9 if cell > 12 else 7)
    items: list[Item] = [*panel.items, halo, frame(*step.at, 1, 1, cell, width=4.5 if cell > 12 else 3.5)]
    return with_bar(Panel(tuple(items), panel.width, panel.height), cells, bar=not size)


def with_bar(panel: Panel, cells: Cells, *, bar: bool) -> Placed:
    """The output with its name, and a bar of colours below where it has no digits."""
    size = size_text(cells.shape)
    if not bar:
        return headed(panel, "output", size)
    below = colour_bar(cells, max(panel.width, 120.0))
    items = (*panel.items, *moved(below, 0, panel.height + 14))
    return replace(headed(Panel(items, max(panel.width, below.width), panel.height), "output", size), below=66.0)


def zoom_lines(
    worked: Walkthrough, step: Step, parts: list[Placed], sizes: tuple[float, float], source: Cells
) -> list[Item]:
    """Lines from the window in the input to the enlarged one."""
    box, cell = sizes
    small = box / max(source.shape)
    above = max(part.panel.height / 2 + part.above for part in parts)
    left = (parts[0].room - max(source.shape[1] * small, colour_bar(source, 0).width)) / 2
    across, down = worked.canvas.columns[step.at[1]], worked.canvas.rows[step.at[0]]
    x = left + (across[-1] + 1) * small
    top = above - source.shape[0] * small / 2
    target = parts[0].room + parts[1].room + (parts[2].room - step.window.shape[2] * cell) / 2
    height = step.window.shape[1] * cell / 2
    return [
        Rule(x, top + down[0] * small, target, above - height, DARK, 1.6),
        Rule(x, top + (down[-1] + 1) * small, target, above + height, DARK, 1.6),
    ]

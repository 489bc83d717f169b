"""The page of a step whose input is too large for digits: the input as colours, the window enlarged beside it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from kernelviz.arithmetic.operations import TransposedConvolution
from kernelviz.arithmetic.windows import size_text
from kernelviz.drawing.operands import canvas_cells, canvas_name, output_cells, plain_cells
from kernelviz.drawing.page import Panel, Rule, moved
from kernelviz.drawing.slim import INPUT, OUTPUT, cut_cells, part_around, part_text
from kernelviz.drawing.sums import formula_panel, sum_panel
from kernelviz.drawing.terms import name_text, settings_text
from kernelviz.drawing.worksheets import (
    DARK,
    MARGIN,
    NARROWEST,
    Cells,
    Placed,
    arrow,
    cells_panel,
    colour_bar,
    digit_size,
    feet,
    frame,
    headed,
    in_a_row,
    sign,
    worksheet,
)

if TYPE_CHECKING:
    from kernelviz.drawing.page import Item
    from kernelviz.walkthrough import Step, Walkthrough


MIDDLE_CELL = 60.0
USUAL, WIDE_KERNEL = (350.0, 270.0, 260.0), (240.0, 335.0, 200.0)  # input, window and kernel, output
WHITE = "#ffffff"


def enlarged_page(worked: Walkthrough, step: Step, reached: int | None) -> Panel:
    """Input as colours → window × kernel, added up = output."""
    from kernelviz.drawing.step_pages import counted, notes, words_panel

    operation = worked.operation
    source = colours_of(canvas_cells(worked, step, step.channels[0]))
    part = part_around(source.shape, window_place(worked, step), INPUT)
    source = cut_cells(source, *part)
    box, middle, last = USUAL if max(step.window.shape[1:]) <= 5 else WIDE_KERNEL
    place = frame_place(worked, step, part)
    seen = input_box(worked, source, box, place)
    rows, columns = step.window.shape[1:]
    cell = min(MIDDLE_CELL, middle / max(rows, columns))
    window = Cells(
        step.window[0], source.limit, None, None, step.padding, step.stretched, None, source.grey, source.low
    )
    drawn = cells_panel(window, cell, digit_size([window], cell))
    framed = Panel((*drawn.items, frame(0, 0, rows, columns, cell)), drawn.width, drawn.height)
    named = headed(framed, "window", size_text((rows, columns)), aside=True)
    parts = [seen, Placed(Panel((), 70, 0), 70, 0), named]
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
    sizes = box / max(source.shape), cell
    body = Panel(
        (*body.items, *zoom_lines(parts, sizes, source, step.window.shape[1:], place)), body.width, body.height
    )
    said = [*notes(worked, step, cells=False), *cut_notes(worked, step, part)]
    count = counted(worked, step)
    return worksheet(name_text(operation), settings_text(operation), body, foot, said, counted=count)


def window_place(worked: Walkthrough, step: Step) -> tuple[range, range]:
    """The rows and columns of the canvas from the first of the window to its last."""
    rows, columns = worked.canvas.rows[step.at[0]], worked.canvas.columns[step.at[1]]
    return range(rows[0], rows[-1] + 1), range(columns[0], columns[-1] + 1)


def frame_place(worked: Walkthrough, step: Step, part: tuple[range, range]) -> tuple[int, int, int, int]:
    """Row, column, rows and columns of the window within the part of the canvas that is drawn."""
    down, across = window_place(worked, step)
    return down.start - part[0].start, across.start - part[1].start, len(down), len(across)


def cut_notes(worked: Walkthrough, step: Step, part: tuple[range, range] | None = None) -> list[str]:
    """Which part of a slim input and of a slim output is drawn, where it is not all."""
    whole = worked.operation.output_size
    said = [part_text("output", whole, output_part(whole, step.at))]
    if part:
        rows, columns = worked.canvas.padding.shape
        transposed = isinstance(worked.operation, TransposedConvolution)
        name = f"{canvas_name(worked)[0]} input" if transposed else "input"
        said.insert(0, part_text(name, (rows, columns), part, (0, 0) if transposed else worked.canvas.origin))
    said = [text for text in said if text]
    return [f"drawn are only {' and '.join(said)}"] if said else []


def output_part(shape: tuple[int, int], at: tuple[int, int]) -> tuple[range, range]:
    """The rows and columns of the output that are drawn."""
    return part_around(shape, (range(at[0], at[0] + 1), range(at[1], at[1] + 1)), OUTPUT)


def colours_of(cells: Cells) -> Cells:
    """Brightness for what is never negative, else red and blue; unlit, for nothing is veiled."""
    plain = replace(cells, lit=None)
    inner = cells.values[~cells.mask("padding")]
    if np.nanmin(inner, initial=0) < 0:
        return plain
    return replace(plain, grey=True, low=0.0)


def input_box(worked: Walkthrough, cells: Cells, box: float, place: tuple[int, int, int, int]) -> Placed:
    """The canvas as colours, the window in a frame with a white halo, a bar below."""
    cell = box / max(cells.shape)
    panel = cells_panel(cells, cell, 0)
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
    whole, part = cells.shape, output_part(cells.shape, step.at)
    at = step.at[0] - part[0].start, step.at[1] - part[1].start
    cells = cut_cells(cells, *part)
    cell = min(MIDDLE_CELL, box / max(cells.shape))
    size = digit_size([cells], cell)
    if not size:
        cell = box / max(cells.shape)
        cells = colours_of(cells)
    panel = cells_panel(cells, cell, size)
    halo = frame(*at, 1, 1, cell, colour=WHITE, width=9 if cell > 12 else 7)
    items: list[Item] = [*panel.items, halo, frame(*at, 1, 1, cell, width=4.5 if cell > 12 else 3.5)]
    return with_bar(Panel(tuple(items), panel.width, panel.height), cells, whole, bar=not size)


def with_bar(panel: Panel, cells: Cells, whole: tuple[int, int], *, bar: bool) -> Placed:
    """The output with its name and the size of the ``whole``, and a bar of colours below where it has no digits."""
    size = size_text(whole)
    if not bar:
        return headed(panel, "output", size)
    below = colour_bar(cells, max(panel.width, 120.0))
    items = (*panel.items, *moved(below, 0, panel.height + 14))
    return replace(headed(Panel(items, max(panel.width, below.width), panel.height), "output", size), below=66.0)


def zoom_lines(
    parts: list[Placed],
    sizes: tuple[float, float],
    source: Cells,
    window: tuple[int, ...],
    place: tuple[int, int, int, int],
) -> list[Item]:
    """Lines from the window in the input to the enlarged one; around what stands above and below the input."""
    small, cell = sizes
    above = max(part.panel.height / 2 + part.above for part in parts)
    left = (parts[0].room - max(source.shape[1] * small, colour_bar(source, 0).width)) / 2
    x, end = left + (place[1] + place[3]) * small, parts[0].room + 10
    top, bottom = above - source.shape[0] * small / 2, above + source.shape[0] * small / 2
    starts = top + place[0] * small, top + (place[0] + place[2]) * small
    target = parts[0].room + parts[1].room
    goals = above - window[0] * cell / 2, above + window[0] * cell / 2
    met = [start + (goal - start) * (end - x) / (target - x) for start, goal in zip(starts, goals, strict=True)]
    if all(top <= y <= bottom for y in met):
        return [Rule(x, start, target, goal, DARK, 1.6) for start, goal in zip(starts, goals, strict=True)]
    bent = [[Rule(x, start, end, start, DARK, 1.6), Rule(end, start, target, goal, DARK, 1.6)]
            for start, goal in zip(starts, goals, strict=True)]  # fmt: skip
    return [rule for line in bent for rule in line]

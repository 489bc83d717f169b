"""Pictures of a walkthrough: one step, a sheet of all steps, or the stamps of a transposed convolution."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from kernelviz.arithmetic.operations import Pooling, TransposedConvolution
from kernelviz.arithmetic.steps import exact_sum
from kernelviz.arithmetic.windows import sides_text, size_text
from kernelviz.drawing.looks import find_look
from kernelviz.drawing.page import INK, Item, Panel, Rule, Text, moved, right_end, text_block, text_width, wrap
from kernelviz.drawing.worksheets import (
    CELL,
    DARK,
    DIM,
    FORMULA,
    HEAD,
    LEGIBLE,
    MARGIN,
    NARROWEST,
    SMALL,
    SUM,
    WIDEST,
    LabelledPicture,
    Tint,
    cells_panel,
    digit_size,
    digits_panel,
    foot_panels,
    frame,
    headed,
    in_a_row,
    legible_cell,
    refitted,
    shortened_cells,
    sign,
    space,
    stacked,
    tint_bar,
    window_frame,
    worksheet,
)
from kernelviz.errors import UsageError
from kernelviz.explain.stamp_channels import MOST_ROWS, Stamp, StampColumns, StampGrid, stamp_area, stamped_kernel
from kernelviz.explain.step_pages import WHITE, number_note, scale_lines, step_page, window_span
from kernelviz.explain.step_parts import (
    LARGE,
    TURNED,
    canvas_cells,
    canvas_name,
    formula_panel,
    framed_text,
    input_cells,
    kernel_cells,
    output_cells,
    step_tint,
)
from kernelviz.explain.texts import (
    broken_count,
    broken_notes,
    equals_sign,
    gap_text,
    greys_text,
    macs_text,
    name_text,
    settings_text,
    shortened,
    step_parts,
    step_text,
    weights_text,
)
from kernelviz.version import SCHEMA, __version__
from kernelviz.wording import factor_text, value_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kernelviz.arithmetic.steps import Step
    from kernelviz.drawing.figures import PageFigure
    from kernelviz.drawing.looks import LookName
    from kernelviz.explain.walkthrough import Walkthrough
    from kernelviz.records import Array


MOST_STEPS = 36  # on one sheet; of more the first row and the first column
MOST_IN_A_BOX = 9
FEW = 6  # steps of a side of the output that is longer than half of that, evenly spread
GAP, LABEL, BETWEEN = 40.0, 44.0, 24.0
NARROW = 26.0, 8.0  # GAP and BETWEEN if the output is a column
LONGEST = 1800.0  # of the steps on a sheet
TALLEST, TALLEST_COLUMN = 560.0, 800.0  # of an input, and of one beside an output of one column
BIGGEST, SMALLEST = 60.0, 14.0  # cells of a tile; smaller ones have no output beside them


@dataclass(frozen=True)
class StepsSheet:
    """The pictures of some steps, or with ``ruled`` the input once.

    ``few`` steps are a spread choice, with ``edges`` one of the first and the last row of the output.
    """

    panel: Panel
    steps: list[Step]
    layout: SheetLayout
    ruled: bool
    few: bool
    edges: bool = False


def steps_page(worked: Walkthrough, channel: int, tallest: float = math.inf) -> Panel:
    """The kernel on top, then one picture per step: the window on the input, and the output up to there.

    A large input is drawn once, with a ruler that has the windows of the first row and of the first column. For a box of
    this height there are fewer steps, without the kernel; with a colour bar if cells have no numbers, and with the kernel
    beside a spread choice of steps.
    """
    boxed = tallest < math.inf
    first = worked.step(0, 0, channel)
    tint = step_tint(worked, first)
    room = WIDEST - 2 * MARGIN
    sheet = _steps_sheet(worked, first, tint, room, tallest)
    if not boxed:
        top = _top(worked, first, tint, max(sheet.panel.width, NARROWEST - 2 * MARGIN))
        body = stacked([top, sheet.panel], 40)
    elif not sheet.ruled and _has_digits(worked, first, tint, sheet.layout):
        body = sheet.panel
    else:
        key = _key(worked, first, tint, kernel=sheet.few)
        sheet = _steps_sheet(worked, first, tint, room - key.width - GAP, tallest)
        width = max(sheet.panel.width, right_end(sheet.panel.items)) + GAP
        height = max(sheet.panel.height, key.height) if sheet.few else sheet.panel.height
        left, right = moved(sheet.panel, 0, (height - sheet.panel.height) / 2), (height - key.height) / 2
        body = Panel((*left, *moved(key, width, right)), width + key.width, height)
    steps, layout, total = sheet.steps, sheet.layout, worked.output[channel].size
    count = _steps_text(worked, sheet, total, boxed=boxed)
    labels = "below each step: its row and column in the output, counted from 0, and its result"
    dots = "output cells with a dot are not computed yet" if layout.output and total > 1 else ""
    if sheet.ruled:
        labels = "each span is the window of a column or row of the output, counted from 0; framed: the outermost"
        dots = "results of the other steps are left out" if len(steps) < total else ""
    elif worked.operation.output_size[1] == 1:
        labels = f"below each step: its row in the output, counted from 0{'' if layout.output else ', and its result'}"
    texts = [count, labels, *_meanings(worked, steps[0]), dots, *broken_notes(worked)]
    texts.append(number_note(worked, steps[0], drawn=[body], text=" ".join(texts)))
    lines = scale_lines(worked.operation, "", greys=greys_text(worked))
    title = f"{name_text(worked.operation)}, step by step"
    notices = [*([count] if len(steps) < total else []), *broken_notes(worked)]
    fewer = [partial(refitted, partial(steps_page, worked, channel))] if tallest == math.inf else []
    settings = settings_text(worked.operation)
    return worksheet(
        title, settings, body, [], texts, lines=lines, notices=notices, fewer=fewer, facts={"shown": len(steps)}
    )


def _steps_sheet(worked: Walkthrough, first: Step, tint: Tint, room: float, tallest: float) -> StepsSheet:
    """The pictures of the steps in this width and height."""
    boxed, channel = tallest < math.inf, first.channel
    layout = _sheet_layout(worked, first, tint, room, (len(shown_steps(worked)), LONGEST))
    ruled = None if layout.output else _ruled_panel(worked, first, tint, room, tallest)
    if ruled is not None and ruled.height > tallest:  # its output takes more
        ruled = None
    few = not layout.output and ruled is None
    positions = shown_steps(worked, few=few)
    if boxed and not ruled:
        positions = positions if few else positions[:MOST_IN_A_BOX]
        layouts = [
            _sheet_layout(worked, first, tint, room, (count, min(LONGEST, tallest)))
            for count in range(len(positions), 0, -1)
        ]
        layout = next((each for each in layouts if each.output), layouts[0])
    steps = [worked.step(*at, channel) for at in positions]
    if ruled is not None:
        return StepsSheet(ruled, steps, layout, ruled=True, few=few)
    if boxed and few and not layout.output and min(worked.operation.output_size) > 1:
        return _edges_sheet(worked, first, tint, room, tallest)
    panel, drawn = _tiles(worked, steps, tint, layout, (room, tallest))
    if few and drawn < len(steps):  # up to the last one
        steps = [steps[at] for at in _spread(len(steps), 0, drawn)]
        panel, drawn = _tiles(worked, steps, tint, layout, (room, tallest))
    return StepsSheet(panel, steps[:drawn], layout, ruled=False, few=few)


MOST_ACROSS = 4  # steps of a row in a box


def _edges_sheet(worked: Walkthrough, first: Step, tint: Tint, room: float, tallest: float) -> StepsSheet:
    """Steps of the first and of the last row of the output, evenly spread over each, as many as fit with their labels."""
    (rows, columns), (high, wide) = worked.operation.output_size, worked.canvas.padding.shape
    for across in range(min(MOST_ACROSS, columns), 0, -1):
        width = (room - (across - 1) * GAP) / across - 0.01
        layout = SheetLayout(across, min(BIGGEST, width / wide, ((tallest - GAP) / 2 - LABEL) / high))
        positions = [(row, column) for row in (0, rows - 1) for column in _spread(columns, 0, across)]
        steps = [worked.step(*at, first.channel) for at in positions]
        panel, drawn = _tiles(worked, steps, tint, layout, (room, tallest))
        if drawn == len(steps) and panel.height < 2 * (high * layout.cell + LABEL + GAP):  # in two rows
            break
    return StepsSheet(panel, steps[:drawn], layout, ruled=False, few=True, edges=True)


def _key(worked: Walkthrough, step: Step, tint: Tint, *, kernel: bool) -> Panel:
    """What is beside the steps in a box: the colour bar, and above it the kernel."""
    bar = tint_bar(tint, BOXED_BAR)
    if not kernel or step.weights is None:
        return Panel(tuple(bar.at(0, 0)), bar.width, bar.height)
    return stacked(
        [in_a_row([_kernel_part(worked, step, tint, BOXED_KERNEL)]), _key(worked, step, tint, kernel=False)], 34
    )


def _steps_text(worked: Walkthrough, sheet: StepsSheet, total: int, *, boxed: bool) -> str:
    """How many of the steps are on a sheet, and which."""
    drawn = len(sheet.steps)
    if drawn == total:
        return f"all {total:,} steps"
    if sheet.edges:
        return f"{drawn:,} of {total:,} steps, spread over the first and the last row"
    if boxed and not sheet.ruled:
        return f"{drawn:,} of {total:,} steps{'' if sheet.few else ': the first ones'}"
    if 1 in worked.operation.output_size:
        return f"{drawn:,} of {total:,} steps, evenly spread"
    which = "those of" if drawn == sum(worked.operation.output_size) - 1 else "evenly spread over"
    return f"{drawn:,} of {total:,} steps: {which} the first row and the first column"


BOXED_BAR, BOXED_KERNEL = 300.0, 180.0  # in a box, the height of the colour bar and the side of the kernel


def _has_digits(worked: Walkthrough, step: Step, tint: Tint, layout: SheetLayout) -> bool:
    """Whether the cells of the input on a sheet, and those of the output beside it, have their numbers."""
    canvas, output = canvas_cells(worked, step, step.channels[0], tint), output_cells(worked, step, tint)
    pairs = [(canvas, layout.cell), (output, layout.output)]
    return all(digit_size([shortened_cells(cells, cell)], cell) > 0 for cells, cell in pairs if cell)


def _tiles(
    worked: Walkthrough, steps: Sequence[Step], tint: Tint, layout: SheetLayout, box: tuple[float, float]
) -> tuple[Panel, int]:
    """One picture per step, in rows, as many as fit into a box of this width and height; and their number."""
    room, tallest = box
    canvas = canvas_cells(worked, steps[0], steps[0].channels[0], tint)
    same = (
        None if digit_size([shortened_cells(canvas, layout.cell)], layout.cell) else cells_panel(canvas, layout.cell, 0)
    )
    tiles = [_tile(worked, step, tint, layout, same) for step in steps]
    wide, tall = max(tile.width for tile in tiles), max(tile.height for tile in tiles)
    gap = layout.gap
    across = max(1, min(layout.across, int((room + gap) // (wide + gap))))
    if tallest < math.inf:
        tiles = tiles[: across * max(1, int((tallest + GAP) // (tall + GAP)))]
    items: list[Item] = []
    for number, tile in enumerate(tiles):
        items += moved(tile, number % across * (wide + gap), number // across * (tall + GAP))
    rows = -(-len(tiles) // across)
    sheet = Panel(tuple(items), min(across, len(tiles)) * (wide + gap) - gap, rows * (tall + GAP) - GAP)
    return sheet, len(tiles)


LANE, APART, SHORTEST = 30.0, 6.0, 46.0  # of a ruler, between two of its spans, and the least length of a span
MOST_LANES = 6
Spans: TypeAlias = list[tuple[float, float]]  # where each window starts and ends along one side
RULED_CELL, RULED_SIDE, RULED_OUTPUT = 26.0, 640.0, 72.0  # cell and side of the input, and cell of the output


def _ruled_panel(worked: Walkthrough, step: Step, tint: Tint, room: float, tallest: float) -> Panel | None:
    """The input with the windows of the first row and column on rulers, and the output with these; None if they do not fit.

    The windows are numbered as the columns and the rows of the output.
    """
    canvas, (rows, columns) = worked.canvas, worked.operation.output_size
    drawn = len(shown_steps(worked))
    if drawn not in (rows * columns, rows + columns - 1) or min(rows, columns) < 2:
        return None
    source, made = canvas_cells(worked, step, step.channels[0], tint), output_cells(worked, step, tint)
    if drawn < rows * columns:
        later = np.ones((rows, columns), bool)
        later[0], later[:, 0] = False, False
        made = replace(made, pending=later)
    least = legible_cell([made], LEGIBLE, RULED_OUTPUT)
    if not least or any("…" in row for row in shortened_cells(made, least).written):
        return None
    left = room - BETWEEN - 2 * LANE - columns * least
    for lanes in range(1, MOST_LANES + 1):
        side = min(RULED_SIDE, tallest - HEAD - (lanes + 1) * LANE)
        cell = min(RULED_CELL, side / source.shape[0], (left - lanes * LANE - BETWEEN) / source.shape[1])
        across, down = (_spans(sides, cell) for sides in (canvas.columns, canvas.rows))
        ends = [(one[lanes:], one) for one in (across, down)]
        apart = all(b[0] - a[1] >= APART for later, all_of in ends for a, b in zip(all_of, later, strict=False))
        if apart and min(end - start for start, end in (*across, *down)) >= SHORTEST:
            break
    else:
        return None
    size = min(BIGGEST, (room - lanes * LANE - 2 * BETWEEN - 2 * LANE - cell * source.shape[1]) / columns)
    size = min(size, cell * source.shape[0] / rows)
    name, whole = canvas_name(worked)
    inner = _on_rulers(worked, step, cells_panel(source, cell, 0), cell, spans=(across, down), lanes=lanes)
    output = _numbered(digits_panel(replace(made, bold=None), max(size, least)), rows, columns)
    parts = [
        headed(inner, name, whole, lift=lanes * LANE, aside=True),
        space(2 * BETWEEN),
        headed(output, "output", size_text((rows, columns)), lift=LANE, aside=True),
    ]
    above = max(part.above for part in parts)
    placed: list[Item] = []
    x = 0.0
    for part in parts:
        placed += part.at(x, above - part.above)
        x += part.width
    return Panel(tuple(placed), x, above + max(part.size[0] for part in parts))


def _on_rulers(
    worked: Walkthrough, step: Step, panel: Panel, cell: float, *, spans: tuple[Spans, Spans], lanes: int
) -> Panel:
    """The input with frames around the windows at three corners; above and beside it the spans of columns and rows."""
    rows, columns = worked.operation.output_size
    items: list[Item] = [*panel.items]
    for at in dict.fromkeys([(0, 0), (0, columns - 1), (rows - 1, 0)]):
        box = window_span(worked, worked.step(*at, step.channel))
        position = (box[0].start, box[1].start, len(box[0]), len(box[1]))
        items += [frame(*position, cell, colour=WHITE, width=7), frame(*position, cell, width=3.4)]
    for upright, along in zip((False, True), spans, strict=True):
        for number, span in enumerate(along):
            items += _ruler_mark(str(number), *span, -LANE * (number % lanes + 0.6), upright=upright)
    return Panel(tuple(moved(Panel(tuple(items), 0, 0), lanes * LANE, 0)), lanes * LANE + panel.width, panel.height)


def _numbered(table: Panel, rows: int, columns: int) -> Panel:
    """A table with the numbers of its columns above it and those of its rows beside it."""
    numbers: list[Item] = [
        *(Text((at + 0.5) * table.width / columns, -14, str(at), SMALL, DIM, align="center") for at in range(columns)),
        *(
            Text(-12, (at + 0.5) * table.height / rows, str(at), SMALL, DIM, align="right", middle=True)
            for at in range(rows)
        ),
    ]
    shifted = moved(Panel((*table.items, *numbers), 0, 0), 1.5 * LANE, 0)
    return Panel(shifted, 1.5 * LANE + table.width, table.height)


def _spans(windows: Sequence[range], cell: float) -> Spans:
    """Where each window starts and ends along one side."""
    return [(window[0] * cell, (window[-1] + 1) * cell) for window in windows]


def _ruler_mark(text: str, start: float, end: float, level: float, *, upright: bool) -> list[Item]:
    """A span with ticks at its ends and its number in its middle; to the left of the input if ``upright``."""
    middle, half = (start + end) / 2, 11.0 if upright else text_width(text, SMALL) / 2 + 5
    lines = [(start + 1.5, middle - half), (middle + half, end - 1.5)]
    rules = [(a, level, b, level) for a, b in lines] + [(x, level - 6, x, level + 6) for x in (start + 1.5, end - 1.5)]
    if upright:
        rules = [(y0, x0, y1, x1) for x0, y0, x1, y1 in rules]
    at = (level, middle) if upright else (middle, level)
    return [*(Rule(*rule, DIM, 1.6) for rule in rules), Text(*at, text, SMALL, DIM, align="center", middle=True)]


def shown_steps(worked: Walkthrough, *, few: bool = False) -> list[tuple[int, int]]:
    """The positions of the steps on a sheet: all, or those of the first row and of the first column, or a few of these."""
    rows, columns = worked.operation.output_size
    if rows * columns <= MOST_STEPS:
        return [*np.ndindex(rows, columns)]
    alone = 1 in (rows, columns)
    most = (2 if alone else 1) * (FEW if few else MOST_STEPS // 2)
    across, down = (_spread(side, most, 2 * FEW if alone else FEW) for side in (columns, rows))
    return [(0, column) for column in across] + [(row, 0) for row in down if row]


def _spread(length: int, most: int, few: int) -> list[int]:
    """All positions along a side of the output; of more than this many a few, from the first to the last one."""
    return [*range(length)] if length <= most else [*map(int, np.rint(np.linspace(0, length - 1, few)))]


@dataclass(frozen=True)
class SheetLayout:
    """How many steps are in a row, and the cells of their input and of the output beside it; 0 for no output."""

    across: int
    cell: float
    output: float = 0.0
    gap: float = GAP
    between: float = BETWEEN


def _sheet_layout(worked: Walkthrough, step: Step, tint: Tint, room: float, limits: tuple[int, float]) -> SheetLayout:
    """As many steps in a row as leave the digits legible, on a page that is not too long.

    Where there is no space for digits in both, the input has them, else neither; an output of tiny cells is left out.
    """
    canvas, output = canvas_cells(worked, step, step.channels[0], tint), output_cells(worked, step, tint)
    columns, (total, longest) = output.shape[1], limits
    most = columns if total > 4 and 1 < columns <= 6 and output.shape[0] > 1 else min(6, total)
    gap, between, tallest = GAP, BETWEEN, TALLEST
    if columns == 1:
        most, (gap, between), tallest = min(12, total), NARROW, TALLEST_COLUMN
    widths = [(across, (room - (across - 1) * gap) / across) for across in range(most, 0, -1)]
    if max(canvas.shape) <= LARGE:
        first, second = (legible_cell([cells], LEGIBLE, BIGGEST) for cells in (canvas, output))
        for cells in ((first, second), (first, SMALLEST), (SMALLEST, SMALLEST)):
            wide = canvas.shape[1] * cells[0] + output.shape[1] * cells[1]
            for across, width in widths if all(cells) else []:
                scale = min((width - between) / wide, BIGGEST / max(cells), tallest / canvas.shape[0] / cells[0])
                tall = max(canvas.shape[0] * cells[0], output.shape[0] * cells[1]) * scale + LABEL + GAP
                if scale >= 1 and -(-total // across) * tall <= longest + GAP:
                    return SheetLayout(across, cells[0] * scale, cells[1] * scale, gap, between)
    across, width = widths[0]
    return SheetLayout(
        across, min(BIGGEST, width / canvas.shape[1], min(TALLEST, longest - LABEL) / canvas.shape[0]), gap=gap
    )


def _tile(worked: Walkthrough, step: Step, tint: Tint, layout: SheetLayout, same: Panel | None) -> Panel:
    """The canvas with the window at one position, the output up to there, and the result below.

    Without digits the canvas is the ``same`` for all steps, and takes its memory once.
    """
    cell = layout.cell
    if same is None:
        canvas = canvas_cells(worked, step, step.channels[0], tint)
        panel = digits_panel(canvas, cell)
    else:
        panel = same
    rows, columns = worked.canvas.rows[step.at[0]], worked.canvas.columns[step.at[1]]
    if cell >= SMALLEST:
        frames = window_frame(rows, columns, cell, halo=worked.greys is not None)
    else:
        position = (rows[0], columns[0], rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1)
        frames = [frame(*position, cell, colour=WHITE, width=7), frame(*position, cell, width=3.4)]
    items, width, height = [*panel.items, *frames], panel.width, panel.height
    if layout.output:
        cell, reached = layout.output, step.at[0] * worked.operation.output_size[1] + step.at[1]
        output = output_cells(worked, step, tint, reached)
        output = replace(output, empty=None, pending=output.empty)
        made = digits_panel(output, cell)
        height = max(height, made.height)
        items = [*moved(Panel(tuple(items), 0, 0), 0, (height - panel.height) / 2)]
        there = Panel((*made.items, frame(*step.at, 1, 1, cell, width=min(5.5, cell / 5))), made.width, made.height)
        items += moved(there, width + layout.between, (height - made.height) / 2)
        width += layout.between + made.width
    label = f"row {step.at[0]}, column {step.at[1]}" if worked.operation.output_size[1] > 1 else f"row {step.at[0]}"
    if layout.output and worked.operation.output_size[1] == 1:  # the result is framed beside the input
        words = [Text(0, height + 32, label, SMALL, DIM)]
        return Panel((*items, *words), max(width, text_width(label, SMALL)), height + LABEL)
    x = text_width(label, SMALL) + 14
    value = value_text(step.exact)
    words = [
        Text(0, height + 32, label, SMALL, DIM),
        Text(x, height + 32, value, SUM, DARK, bold=True),
    ]
    return Panel((*items, *words), max(width, x + text_width(value, SUM, bold=True)), height + LABEL)


def _top(worked: Walkthrough, step: Step, tint: Tint, room: float) -> Panel:
    """The kernel, the size of the output, and the scale of the colours."""
    parts: list[LabelledPicture] = []
    if step.weights is not None:
        parts += [_kernel_part(worked, step, tint), space(70)]
    row = in_a_row(parts) if parts else Panel((), 0, 0)
    bar = tint_bar(tint, 200.0)
    formula = formula_panel(worked.operation.formulas, max(420.0, room - row.width - bar.width - 70))
    height = max(row.height, formula.height, bar.height)
    items = (
        *moved(row, 0, (height - row.height) / 2),
        *moved(formula, row.width, max(0.0, (height - formula.height) / 2)),
        *bar.centred_at(row.width + formula.width + 70, height / 2),
    )
    return Panel(items, row.width + formula.width + 70 + bar.width, height)


def _kernel_part(worked: Walkthrough, step: Step, tint: Tint, side: float = 380.0) -> LabelledPicture:
    """The kernel of the first channel, within a square of this side."""
    kernel = kernel_cells(step, 0, tint)
    count = f"{len(step.channels)} × " if len(step.channels) > 1 else ""
    turned = isinstance(worked.operation, TransposedConvolution)
    size = TURNED if turned else count + size_text(kernel.shape)
    panel = digits_panel(kernel, min(CELL * 0.75, side / max(kernel.shape)))
    return headed(panel, "kernel", size, aside=True)


def _meanings(worked: Walkthrough, step: Step) -> list[str]:
    operation = worked.operation
    example = step_text(operation, step)
    meanings = []
    if len(step.channels) > 1:
        meanings.append(
            f"channel {step.channels[0]} of the input is drawn; the results are sums over {len(step.channels)} channels"
        )
    if text_width(example, SMALL) < WIDEST - 2 * MARGIN - 200:
        meanings.append(f"the first: {example}")
    return meanings if isinstance(operation, Pooling) else [*meanings, "the same kernel at every position"]


# All stamps are shown up to the first number; of more, at most the second number of those on the framed cell.
ALL, MOST, A_ROW = 4, 16, 4
SIGN = 50.0
MOST_FREE, BESIDE = 0.4, 40.0  # the share of a page that may be free beside narrow stamps; between them and the input


def stamps_page(worked: Walkthrough, at: tuple[int, int], channel: int, tallest: float = math.inf) -> Panel:
    """Input and kernel, the stamps, and the output as their sum; for a box of this height the stamps alone.

    Raises:
        UsageError: The operation is not transposed, or there is no such cell.
    """
    operation = worked.operation
    if not isinstance(operation, TransposedConvolution):
        raise UsageError(f"A {name_text(operation).lower()} has no stamps.", hint="The view step shows how it works.")
    step = worked.step(*at, channel)
    if len(step.channels) > 1:
        return _channels_of_stamps(worked, step, tallest)
    tint = step_tint(worked, step, products=True)
    positions, choice = _stamp_positions(operation, step)
    stamps = [make_stamp(worked, position, step) for position in positions]
    room, bar = WIDEST - 2 * MARGIN, tint_bar(tint, BOXED_BAR)
    bottom, digits = _stamp_rows(worked, step, positions, stamps, tint, box=(room, tallest))
    if tallest < math.inf and not digits:
        room -= bar.width + GAP
        bottom, digits = _stamp_rows(worked, step, positions, stamps, tint, box=(room, tallest))
        items = (*bottom.items, *bar.centred_at(bottom.width + GAP, bottom.height / 2))
        bottom = Panel(items, bottom.width + GAP + bar.width, max(bottom.height, BOXED_BAR))
    top = _inputs_panel(worked, step, tint)
    dots = "dots: the number of stamps that cover a cell" if digits and overlaps(operation).max() > 1 else ""
    apart = _apart_text(operation)
    lost = [gap_text(operation), *broken_notes(worked)]
    note = number_note(worked, step, [stamp.values for stamp in stamps], drawn=[top, bottom])
    foot = [choice, apart, dots, *lost, weights_text(operation, dense=False), macs_text(operation), note]
    settings = f"{settings_text(operation)}: every value stamps the kernel"
    lines = scale_lines(operation, greys=greys_text(worked))
    body = bottom
    if tallest == math.inf:
        body = stacked([top, bottom], 34)
        if (body.width - bottom.width) * bottom.height > MOST_FREE * body.width * body.height:
            body = _stamps_beside_inputs(worked, step, tint, bottom)
    fewer = [partial(refitted, partial(stamps_page, worked, at, channel))] if tallest == math.inf else []
    notices = [part for part in (choice, *broken_notes(worked)) if part]
    return worksheet(name_text(operation), settings, body, [], foot, lines=lines, notices=notices, fewer=fewer)


def _apart_text(operation: TransposedConvolution) -> str:
    """How far the stamps are apart, and what is cut off and added."""
    apart = f"stamps are {sides_text(operation.stride)} apart"
    if any(operation.padding):
        apart += f"; the padding cuts {sides_text(operation.padding)} off each end: dashed, not in the output"
    if any(operation.output_padding):
        apart += f"; the output padding adds {sides_text(operation.output_padding)} at the end"
    return apart


def _channels_of_stamps(worked: Walkthrough, step: Step, tallest: float = math.inf) -> Panel:
    """The page of several input channels; for a box of this height with as many of them as have legible numbers."""
    operation = worked.operation
    if not isinstance(operation, TransposedConvolution):
        raise TypeError(operation)
    grid = StampGrid(worked, step) if tallest == math.inf else _boxed_stamps(worked, step, tallest)
    body = grid.panel()
    room = max(NARROWEST - 2 * MARGIN, body.width)
    words = _sum_panel(worked, step, room)
    words = replace(words, width=max(words.width, text_width(framed_text(step), SMALL) + 30))
    foot = foot_panels(words, formula_panel(operation.formulas, room), 0, room)
    made = [stamp.values for column in grid.stamps for stamp in column]
    note = number_note(worked, step, made, drawn=[body, *(panel for _, panel in foot)])
    outputs = len(grid.outputs)
    one = (
        f"output channel {step.channel} of {operation.out_channels:,}" if outputs == 1 < operation.out_channels else ""
    )
    texts = [
        grid.choice,
        one,
        "framed in the input: the values whose stamps cover the framed cell",
        _apart_text(operation),
        gap_text(operation),
        *broken_notes(worked),
        weights_text(operation, dense=False),
        macs_text(operation),
        note,
    ]
    settings = f"{settings_text(operation)}: each channel stamps with its own kernel, and the channels are added up"
    lines = scale_lines(operation, greys=greys_text(worked))
    notices = [text for text in (grid.choice, one, *broken_notes(worked)) if text]
    fewer = [partial(refitted, partial(_channels_of_stamps, worked, step))] if tallest == math.inf else []
    return worksheet(
        name_text(operation), settings, body, foot, texts, lines=lines, notices=notices, fewer=fewer,
        aside=settings_text(operation),
    )  # fmt: skip


def _boxed_stamps(worked: Walkthrough, step: Step, tallest: float) -> StampGrid:
    """As many channels as have legible numbers, below each other or else beside each other, if possible above the sum."""
    low = tallest - 46 - _sum_panel(worked, step, WIDEST - 2 * MARGIN).height
    for most in range(MOST_ROWS, 0, -1):
        for kind, height in ((StampGrid, tallest), (StampColumns, low), (StampColumns, tallest)):
            grid = kind(worked, step, height, most)
            if grid.digits:
                return grid
    return StampGrid(worked, step, tallest, 1)


def make_stamp(worked: Walkthrough, position: tuple[int, int], step: Step) -> Stamp:
    """The stamp of an input position, summed over the channels.

    Raises:
        TypeError: The operation is not transposed.
    """
    operation = worked.operation
    if not isinstance(operation, TransposedConvolution) or step.weights is None:
        raise TypeError(operation)
    rows, columns = (
        tuple(first * stride - padding + tap * dilation for tap in range(taps))
        for first, stride, padding, taps, dilation in zip(
            position, operation.stride, operation.padding, operation.kernel, operation.dilation, strict=True
        )
    )
    kernel = step.weights[:, ::-1, ::-1]
    window = np.broadcast_to(worked.input[list(step.channels), position[0], position[1]][:, None, None], kernel.shape)
    products = replace(step, window=window, weights=kernel).exact_products
    if products is None:
        raise TypeError(operation)
    added = [exact_sum(terms) for terms in products.reshape(len(products), -1).T]
    return Stamp(rows, columns, np.array([*added, None], object)[:-1].reshape(products.shape[1:]))


def overlaps(operation: TransposedConvolution) -> Array:
    """(rows, columns): the number of stamps that overlap on each cell of the output."""
    sizes = operation.output_size
    rows = [len(operation.reads(row, 0)[0]) for row in range(sizes[0])]
    columns = [len(operation.reads(0, column)[1]) for column in range(sizes[1])]
    return np.outer(rows, columns)


def shown_positions(worked: Walkthrough, step: Step) -> list[tuple[int, int]]:
    """The input positions whose stamps are shown.

    Raises:
        UsageError: The operation is not transposed.
    """
    if not isinstance(worked.operation, TransposedConvolution):
        raise UsageError(f"A {name_text(worked.operation).lower()} has no stamps.", hint="Use the view step.")
    return _stamp_positions(worked.operation, step)[0]


def _stamp_positions(operation: TransposedConvolution, step: Step) -> tuple[list[tuple[int, int]], str]:
    """The input positions whose stamps are shown, and a text about the choice."""
    total = operation.input_size[0] * operation.input_size[1]
    if total <= ALL:
        return [divmod(at, operation.input_size[1]) for at in range(total)], ""
    rows, columns = operation.reads(*step.at)
    positions = [(row, column) for row in rows for column in columns]
    which = {0: "none covers the framed cell", 1: "the one that covers the framed cell"}
    meet = which.get(len(positions), "those that cover the framed cell")
    shown = f"{min(len(positions), MOST)} of {total:,} stamps: {meet}"
    return positions[:MOST], shown if len(positions) <= MOST else f"{shown}, {MOST} of {len(positions)}"


def _inputs_panel(worked: Walkthrough, step: Step, tint: Tint) -> Panel:
    """Input, kernel, and beside them the size, the framed cell and the scale of the colours."""
    body, bar = _input_and_kernel(worked, step, tint), tint_bar(tint, 270.0)
    room = WIDEST - 2 * MARGIN - body.width - bar.width - 40
    words = stacked([formula_panel(worked.operation.formulas, room), _sum_panel(worked, step, room)], 22)
    height = max(body.height, words.height, bar.height)
    items = (
        *moved(body, 0, height - body.height),
        *moved(words, body.width, (height - words.height) / 2),
        *bar.centred_at(body.width + room + 40, height / 2),
    )
    return Panel(items, WIDEST - 2 * MARGIN, height)


def _input_and_kernel(worked: Walkthrough, step: Step, tint: Tint) -> Panel:
    """The input and the kernel as it stamps, and the space behind them."""
    parts = []
    sources = ("input", input_cells(worked, step.channels[0], tint)), ("kernel", stamped_kernel(step, tint))
    for name, cells in sources:
        panel = digits_panel(cells, min(CELL, 280 / max(cells.shape)))
        parts += [headed(panel, name, size_text(cells.shape)), space(70)]
    return in_a_row(parts)


def _stamps_beside_inputs(worked: Walkthrough, step: Step, tint: Tint, stamps: Panel) -> Panel:
    """The stamps at the right of the input and the kernel, below which are the size and the framed cell."""
    source, bar, room = _input_and_kernel(worked, step, tint), tint_bar(tint, BOXED_BAR), WIDEST - 2 * MARGIN
    left = room - stamps.width - bar.width - 2 * BESIDE
    formulas, added = formula_panel(worked.operation.formulas, left), _sum_panel(worked, step, left)
    column = stacked([source, formulas, added], 30)
    height = max(column.height, stamps.height, bar.height)
    items = (
        *moved(column, 0, (height - column.height) / 2),
        *moved(stamps, left + BESIDE, (height - stamps.height) / 2),
        *bar.centred_at(room - bar.width, height / 2),
    )
    return Panel(items, room, height)


def _sum_panel(worked: Walkthrough, step: Step, room: float) -> Panel:
    """The framed cell as the sum of the stamps on it."""
    text, equals, value = step_parts(worked.operation, step)
    terms, most = text.split(" + "), 12
    end = 52 + text_width(value, FORMULA, bold=True)
    while text_width(text, SUM) + end > room and most > 2:
        most -= 1
        text = " + ".join(shortened(terms, most)) if most > 2 else f"{len(terms)} products"
    x = text_width(text, SUM) + 14
    items, below = text_block(wrap(framed_text(step), SMALL, room), 0, 0, SMALL, colour=DIM)
    y = below + 34
    items += [
        Text(0, y, text, SUM, INK),
        Text(x, y, equals, SUM, DIM),
        Text(x + 34, y, value, FORMULA - 1, INK, bold=True),
    ]
    return Panel(tuple(items), x + end - 14, y + 10)


def _stamp_rows(
    worked: Walkthrough,
    step: Step,
    positions: list[tuple[int, int]],
    stamps: list[Stamp],
    tint: Tint,
    *,
    box: tuple[float, float],
) -> tuple[Panel, bool]:
    """The stamps with plus signs between them, and the output, in this width and height; whether digits could be shown."""
    room, tallest = box
    size = worked.operation.output_size
    area = stamp_area(size, stamps)
    cells = [stamp.cells(area, size, tint) for stamp in stamps]
    out = output_cells(worked, step, tint)
    every = [*cells, out]
    layouts = [
        (count, min(cell, (tallest / -(-(len(positions) + 1) // count) - 74) / len(area[0])))
        for count, cell in (_stamps_in_a_row(len(positions), area, room, more) for more in range(4))
    ]  # more lines leave more to the digits
    fits = [each for each in layouts if digit_size(every, each[1])]
    fits += [each for each in layouts if digit_size([shortened_cells(one, each[1]) for one in every], each[1])]
    count, cell = (fits or layouts)[0]
    *cells, out = (shortened_cells(each, cell) for each in every)
    fitting = digit_size([*cells, out], cell)
    parts: list[LabelledPicture] = []
    for position, stamp, each in zip(positions, stamps, cells, strict=True):
        panel = cells_panel(each, cell, fitting)
        framed = Panel((*panel.items, *_frames(stamp, step, area, cell)), panel.width, panel.height)
        parts += [_named(worked, step, position, framed), sign("+", SIGN)]
    output = cells_panel(out, cell, fitting)
    items = [*output.items, *(_dots(worked, cell) if fitting else ()), frame(*step.at, 1, 1, cell)]
    last = headed(Panel(tuple(items), output.width, output.height), "output", size_text(out.shape))
    across, down = -area[1].start * cell, -area[0].start * cell  # its name is directly above it, also beside cut stamps
    placed, whole = moved(Panel(last.items, 0, 0), across, down), (len(area[0]) * cell, len(area[1]) * cell)
    last = replace(last, items=placed, size=whole, width=max(whole[1], across + last.width))
    made = [stamp.values for stamp in stamps]
    parts = [*parts[:-1], sign(equals_sign(*made, worked.results(step.channel)), SIGN), last]
    lines = [parts[at : at + 2 * count] for at in range(0, len(parts), 2 * count)]
    return stacked([in_a_row(line) for line in lines], 10), bool(fitting)


def _stamps_in_a_row(stamps: int, area: tuple[range, range], room: float, more: int) -> tuple[int, float]:
    """How many stamps, or the output, are in a row, and the size of their cells; with so many more rows than needed."""
    rows = min(stamps + 1, -(-(stamps + 1) // (A_ROW + 1)) + more)
    count = -(-(stamps + 1) // rows)
    return count, min(CELL, (room - count * SIGN) / (count * len(area[1])), 600 / len(area[0]))


def _frames(stamp: Stamp, step: Step, area: tuple[range, range], cell: float) -> list[Item]:
    """A frame around the stamp, and a strong one around the framed cell if the stamp covers it."""
    top, left = stamp.rows[0] - area[0].start, stamp.columns[0] - area[1].start
    tall, wide = stamp.rows[-1] - stamp.rows[0] + 1, stamp.columns[-1] - stamp.columns[0] + 1
    around = frame(top, left, tall, wide, cell, width=3)
    inside = step.at[0] in stamp.rows and step.at[1] in stamp.columns
    row, column = step.at[0] - area[0].start, step.at[1] - area[1].start
    return [around, frame(row, column, 1, 1, cell)] if inside else [around]


def _named(worked: Walkthrough, step: Step, position: tuple[int, int], panel: Panel) -> LabelledPicture:
    """``3 × kernel`` if it fits."""
    typed, place = worked.typed.get("input"), (step.channels[0], *position)
    value, kernel = ("" if typed is None else typed[place]) or value_text(worked.input[place]), "× kernel"
    factor = factor_text(value)
    wide = text_width(factor, HEAD, bold=True) + text_width(kernel, HEAD) + 16
    if wide > max(panel.width, 160):
        return headed(panel, value, "")
    return headed(panel, factor, kernel)


def _dots(worked: Walkthrough, cell: float) -> list[Item]:
    """One dot per stamp in the corner of a cell with several stamps."""
    operation = worked.operation
    if not isinstance(operation, TransposedConvolution) or cell < 2 * LEGIBLE:
        return []
    items: list[Item] = []
    for (row, column), count in np.ndenumerate(overlaps(operation)):
        for dot in range(int(count) if 1 < count <= 6 else 0):
            x, y = (column + 1) * cell - 11 - 9 * dot, (row + 1) * cell - 10
            items.append(frame(y - 2.2, x - 2.2, 4.4, 4.4, 1.0, colour=DIM, width=0))
    return items


WorkView = Literal["step", "steps", "stamps"]


def plot_convolution(
    worked: Walkthrough,
    *,
    at: tuple[int, int] = (0, 0),
    channel: int = 0,
    view: WorkView = "step",
    look: LookName = "page",
    caption: bool = True,
) -> PageFigure:
    """Draw a convolution, a transposed convolution or a pool that was worked out.

    Args:
        worked: The result of ``work_out``.
        at: The row and the column of the output cell to show.
        channel: The output channel.
        view: ``step`` draws how that cell is computed (a transposed convolution as a convolution over the stretched
            input), ``steps`` a sheet of all cells, ``stamps`` how a transposed convolution stamps its kernel.
        look: ``page``, ``slide`` (1280 × 720 pixels, large type), ``dark`` or ``print``.
        caption: Whether identity and caption are drawn; without them they are only in the recipe.

    Raises:
        UsageError: There is no such cell, channel or view, or stamps are requested of an operation that is not transposed.

    Example:
        >>> worked = kernelviz.work_out(kernelviz.Convolution(5, 3), np.arange(25).reshape(5, 5), [[1, 0, -1]] * 3)
        >>> figure = kernelviz.plot_convolution(worked, at=(1, 2))
        >>> figure = kernelviz.plot_convolution(worked, view="steps")
    """
    from kernelviz.drawing.figures import draw_page

    page = explaining_page(worked, at=at, channel=channel, view=view)
    recipe = explaining_recipe(worked, view=view, at=None if view == "steps" else at, channel=channel)
    return draw_page(page, recipe, find_look(look, caption=caption))


@np.errstate(all="ignore")  # sums of what is not finite
def explaining_page(
    worked: Walkthrough, *, at: tuple[int, int] = (0, 0), channel: int = 0, view: WorkView = "step"
) -> Panel:
    """The page of ``plot_convolution``.

    Raises:
        UsageError: As for ``plot_overlay``.
    """
    if view == "steps":
        return steps_page(worked, channel)
    if view == "stamps":
        return stamps_page(worked, at, channel)
    if view != "step":
        raise UsageError(f"The view must be step, steps or stamps, but got {view!r}.")
    return step_page(worked, worked.step(*at, channel))


def explaining_recipe(worked: Walkthrough, *, view: str, at: tuple[int, int] | None, channel: int) -> dict[str, Any]:
    """The recipe of the picture: settings, what is shown, and the numbers if they are few.

    ``shown`` of ``total`` are steps, or stamps of the input; ``limits`` are those of the colours of the whole picture. JSON
    has no numbers that are not finite: these are only part of the hash.
    """
    from dataclasses import asdict

    settings = {
        key: list(value) if isinstance(value, tuple) else value for key, value in asdict(worked.operation).items()
    }
    numbers = {"input": worked.input, "kernel": worked.kernel, "bias": worked.bias}
    there = [values for values in numbers.values() if values is not None]
    few = sum(values.size for values in there) <= 4096 and all(np.isfinite(values).all() for values in there)
    return {
        "kernelviz": __version__,
        "schema": SCHEMA,
        "command": "explain",
        "model": None,
        "layer": f"{name_text(worked.operation)}, {settings_text(worked.operation)}",
        "view": f"{view} of channel {channel}" if at is None else f"{view} {at[0]},{at[1]} of channel {channel}",
        "image": numbers_hash(worked),
        "settings": settings,
        "numbers": {key: None if value is None else value.tolist() for key, value in numbers.items()} if few else None,
        **_shown(worked, view, at, channel),
        "limits": _limits(worked, view, at or (0, 0), channel),
        "nonfinite": broken_count(worked),
        "notes": broken_notes(worked),
    }


def _limits(worked: Walkthrough, view: str, at: tuple[int, int], channel: int) -> list[float]:
    """The limits of the colours of a picture: of input, kernel and output, and of the products and stamps that it shows."""
    step = worked.step(*at, channel)
    several = len(step.channels) > 1
    if several and view == "stamps":
        return StampGrid(worked, step).tint.limits
    stamped = view in ("stamps", "stamps-animation")
    return step_tint(worked, step, products=stamped or (several and view in ("step", "animation"))).limits


def _shown(worked: Walkthrough, view: str, at: tuple[int, int] | None, channel: int) -> dict[str, int]:
    """The number of steps or stamps shown, and of all."""
    total = worked.operation.output_size[0] * worked.operation.output_size[1]
    if view == "stamps" and at is not None:
        total, step = worked.operation.input_size[0] * worked.operation.input_size[1], worked.step(*at, channel)
        if len(step.channels) > 1:
            return {"shown": total, "total": total}
        return {"shown": len(shown_positions(worked, step)), "total": total}
    if view == "steps":
        return {"shown": len(shown_steps(worked)), "total": total}
    return {"shown": 1 if at is not None else total, "total": total}


def numbers_hash(worked: Walkthrough) -> str:
    """Sixteen hex digits that identify these numbers and settings."""
    from hashlib import sha256

    digest = sha256(repr(worked.operation).encode())
    for values in (worked.input, worked.kernel, worked.bias):
        digest.update(b"-" if values is None else np.ascontiguousarray(values, "<f8").tobytes())
    return digest.hexdigest()[:16]

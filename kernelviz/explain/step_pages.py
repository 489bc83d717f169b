"""The page of one step: as numbers, as one row per channel, or with the window enlarged."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from kernelviz.arithmetic.operations import Pooling, TransposedConvolution
from kernelviz.arithmetic.steps import largest
from kernelviz.arithmetic.windows import size_text
from kernelviz.drawing.page import INK, Item, Panel, Rule, Shape, Text, moved, text_block, text_width, wrap
from kernelviz.drawing.worksheets import (
    CELL,
    DARK,
    DIM,
    FORMULA,
    HEAD,
    MARGIN,
    NARROWEST,
    SIGN,
    SMALL,
    SUM,
    WIDEST,
    Cells,
    LabelledPicture,
    arrow,
    cells_bar,
    cells_panel,
    digit_size,
    foot_panels,
    frame,
    headed,
    in_a_row,
    sign,
    space,
    stacked,
    strongest,
    window_frame,
    worksheet,
)
from kernelviz.explain.step_parts import (
    INPUT_RATIO,
    LARGE,
    OUTPUT_RATIO,
    canvas_cells,
    canvas_matrix,
    canvas_name,
    cut_cells,
    fitting_cell,
    formula_panel,
    matrix,
    output_cells,
    output_matrix,
    part_around,
    part_text,
    plain_cells,
    sum_panel,
)
from kernelviz.explain.texts import (
    broken_notes,
    gap_text,
    left_over_text,
    macs_text,
    name_text,
    product_text,
    settings_text,
    step_text,
    weights_text,
)
from kernelviz.wording import factor_text, value_text

if TYPE_CHECKING:
    from kernelviz.arithmetic.steps import Step
    from kernelviz.explain.walkthrough import Walkthrough


BIGGEST, GAP, ROWS = 66.0, 76.0, 6
OUTPUT = 190.0


def channels_page(worked: Walkthrough, step: Step, reached: int | None) -> Panel:
    """Window × kernel = products, one sum per channel, and the sums and the bias added up to the output cell."""
    operation = worked.operation
    grid = ChannelGrid(worked, step, moving=reached is not None)
    items: list[Item] = grid.heads()
    y = 40.0
    for plane in grid.order:
        items += grid.row(plane, y)
        y += grid.pitch
    y -= grid.pitch - grid.tall - (44 if grid.shown == len(step.channels) else 64)
    tail, below = grid.total(y)
    items += tail
    output = grid.output(reached)
    x, tall = grid.right + 90, output.size[0]
    middle = max(below - 14, 60 + tall / 2)
    items += output.centred_at(x, middle)
    items += moved(formula_panel(operation.formulas, grid.sums - 260), 0, y + 16)
    body = Panel(tuple(items), x + output.width, max(below + 100, below - 14 + tall / 2 + output.below))
    many = f"{len(step.channels)} input channels, a kernel for each, one sum; {settings_text(operation)}"
    title = name_text(operation)
    if isinstance(operation, TransposedConvolution):
        title += " as a convolution"
    texts = [grid.choice, *notes(worked, step, cells=grid.whole), *cut_notes(worked, step)]
    return worksheet(title, many, body, [], texts, counted=counted(worked, step))


def chosen_planes(step: Step, *, moving: bool) -> tuple[tuple[int, ...], str]:
    """The channels that are drawn, and a text about the choice.

    Of many, those that contribute most, the largest first; with ``moving`` those with the largest weights, which are the
    same in all steps.
    """
    n = len(step.channels)
    if n <= ROWS or step.sums is None or step.weights is None:
        return tuple(range(n)), ""
    order = largest(np.square(step.weights).sum(axis=(1, 2)), ROWS) if moving else step.strongest(ROWS)
    what = "largest weights" if moving else "largest |sum|"
    return order, f"the {ROWS} channels with the {what} of {n:,}, largest first"


class ChannelGrid:
    """The layout of the matrices of all channels."""

    def __init__(self, worked: Walkthrough, step: Step, *, moving: bool) -> None:
        self.worked, self.step = worked, step
        self.order, self.choice = chosen_planes(step, moving=moving)
        height, width = worked.canvas.padding.shape
        self.shown = len(self.order)
        self.whole = max(height, width) < LARGE
        rows, columns = step.window.shape[1:]
        across = width + 2 * columns
        texts = [value_text(float(each)) for each in (*(() if step.sums is None else step.sums), step.value)]
        widest = max(text_width(f"+ ({text})", SUM + 5, bold=True) for text in texts)
        room = WIDEST - 2 * MARGIN - 2 * GAP - max(60, widest) - 300 - OUTPUT
        self.cell = min(BIGGEST, room / across)
        if not self.whole or not all(self.sizes):
            self.whole = False
            self.cell = min(BIGGEST, room / (3 * columns))
        first = (height, width) if self.whole else (rows, columns)
        self.tall = max(first[0], rows) * self.cell
        self.pitch = self.tall + 52
        self.lefts = [0.0]
        for wide in (first[1], columns):
            self.lefts.append(self.lefts[-1] + max(wide * self.cell, 150) + GAP)
        self.sums = self.lefts[2] + max(columns * self.cell, 150) + max(60, widest)
        self.right = self.sums + 130

    @property
    def sizes(self) -> list[float]:
        """The sizes of digits: one for the inputs, one for the kernels, one for the products."""
        columns = zip(*(self._cells(plane) for plane in self.order), strict=True)
        return [digit_size(column, self.cell) for column in columns]

    def _cells(self, plane: int) -> list[Cells]:
        step, channel = self.step, self.step.channels[plane]
        if step.weights is None or step.products is None:
            raise TypeError(step)
        first = canvas_cells(self.worked, step, channel)
        limit = strongest(self.worked.input)
        if self.whole:
            seen = Cells(first.values, limit, first.lit, None, first.padding, first.stretched, first.unread)
        else:
            seen = Cells(step.window[plane], limit, None, None, step.padding, step.stretched)
        return [seen, plain_cells(step.weights[plane], strongest(step.weights)),
                plain_cells(step.products[plane], strongest(step.products))]  # fmt: skip

    def heads(self) -> list[Item]:
        """What the columns are."""
        step = self.step
        names = [
            ("input" if self.whole else "window", size_text((len(step.channels), *self._first()))),
            ("kernel", size_text((len(step.channels), *step.window.shape[1:]))),
            ("products", ""),
        ]
        items: list[Item] = []
        for left, (name, size) in zip(self.lefts, names, strict=True):
            items.append(Text(left, 14, name, HEAD, INK, bold=True))
            if text_width(name, HEAD, bold=True) + text_width(size, SMALL) + 20 < max(150.0 + GAP - 16, 0):
                items.append(Text(left + text_width(name, HEAD, bold=True) + 12, 14, size, SMALL, DIM))
        return [*items, Text(self.sums + 60, 14, "sums", HEAD, INK, bold=True, align="right")]

    def _first(self) -> tuple[int, int]:
        return self.worked.operation.input_size if self.whole else self.step.window.shape[1:]

    def row(self, plane: int, y: float) -> list[Item]:
        """One channel."""
        step, sums = self.step, self.step.sums
        if sums is None:
            raise TypeError(step)
        items: list[Item] = []
        middle = y + self.tall / 2
        cells = self._cells(plane)
        for left, each, size in zip(self.lefts, cells, self.sizes, strict=True):
            panel = cells_panel(each, self.cell, size)
            items += moved(panel, left, middle - panel.height / 2)
        top = middle - cells[0].shape[0] * self.cell / 2
        rows, columns = self.worked.canvas.rows[step.at[0]], self.worked.canvas.columns[step.at[1]]
        if self.whole:
            items += moved(Panel(tuple(window_frame(rows, columns, self.cell)), 0, 0), 0, top)
        items.append(Text(0, y + self.tall + 28, f"channel {step.channels[plane]}", SMALL, DIM))
        for at, word in enumerate("×="):
            right = self.lefts[at] + cells[at].shape[1] * self.cell
            items.append(
                Text((right + self.lefts[at + 1]) / 2, middle, word, SIGN - 6, DIM, align="center", middle=True)
            )
        items.append(
            Text(
                self.lefts[2] + cells[2].shape[1] * self.cell + 34,
                middle,
                "Σ",
                SUM + 6,
                DIM,
                align="center",
                middle=True,
            )
        )
        items.append(
            Text(self.sums + 60, middle, value_text(sums[plane]), SUM + 5, INK, bold=True, align="right", middle=True)
        )
        if plane != self.order[0]:
            items.append(Text(self.sums + 60, y - 26, "+", SUM + 6, DIM, align="right", middle=True))
        return items

    def total(self, y: float) -> tuple[list[Item], float]:
        """The sum of the channels not shown, the bias, a line and the result."""
        step, x = self.step, self.sums + 60
        items: list[Item] = []
        rest = len(step.channels) - self.shown
        if rest and step.sums is not None:
            others = float(np.delete(step.sums, self.order).sum())
            items += self._added(f"the other {rest:,}", others, y)
            y += 44
        if step.bias is not None:
            items += self._added("bias", step.bias, y)
            y += 30
        items.append(Rule(self.sums - 40, y, self.sums + 70, y, INK, 2.4))
        items.append(Text(x, y + 42, value_text(step.value), FORMULA, INK, bold=True, align="right"))
        items += [
            Rule(x + 18, y + 32, self.right + 52, y + 32, DIM, 2.6),
            Shape(((self.right + 50, y + 25), (self.right + 50, y + 39), (self.right + 66, y + 32)), DIM),
        ]
        return items, y + 46

    def _added(self, name: str, value: float, y: float) -> list[Item]:
        """One more number to be added, with its name before it."""
        text = f"+ {factor_text(value)}"
        left = self.sums + 60 - text_width(text, SUM + 2, bold=True)
        return [
            Text(self.sums + 60, y + 8, text, SUM + 2, INK, bold=True, align="right"),
            Text(left - 20, y + 8, name, SUM, DIM, align="right"),
        ]

    def output(self, reached: int | None) -> LabelledPicture:
        """The output, the marked cell framed."""
        cells = output_cells(self.worked, self.step, reached)
        whole, part = cells.shape, output_part(cells.shape, self.step.at)
        cells = cut_cells(cells, *part)
        at = self.step.at[0] - part[0].start, self.step.at[1] - part[1].start
        cell = min(CELL * 0.9, OUTPUT / cells.shape[1])
        size = digit_size([cells], cell)
        panel = cells_panel(cells, cell, size)
        framed = (*panel.items, frame(*at, 1, 1, cell, width=4.5))
        return output_picture(Panel(framed, panel.width, panel.height), cells, whole, bar=not size)


MIDDLE_CELL = 60.0
USUAL, WIDE_KERNEL = (350.0, 270.0, 260.0), (240.0, 335.0, 200.0)  # input, window and kernel, output
WHITE = "#ffffff"


def enlarged_page(worked: Walkthrough, step: Step, reached: int | None) -> Panel:
    """Input as colours → window × kernel, added up = output."""
    operation = worked.operation
    source = colours_of(canvas_cells(worked, step, step.channels[0]))
    part = part_around(source.shape, window_span(worked, step), INPUT_RATIO)
    source = cut_cells(source, *part)
    box, middle, last = USUAL if max(step.window.shape[1:]) <= 5 else WIDE_KERNEL
    marked = window_box(worked, step, part)
    seen = input_box(worked, source, box, marked)
    rows, columns = step.window.shape[1:]
    cell = min(MIDDLE_CELL, middle / max(rows, columns))
    window = Cells(
        step.window[0], source.limit, None, None, step.padding, step.stretched, None, source.grey, source.low
    )
    drawn = cells_panel(window, cell, digit_size([window], cell))
    framed = Panel((*drawn.items, frame(0, 0, rows, columns, cell)), drawn.width, drawn.height)
    named = headed(framed, "window", size_text((rows, columns)), aside=True)
    parts = [seen, space(70), named]
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
    words = pool_sum_panel(worked, step, room) if step.weights is None else sum_panel(step, room)
    foot = foot_panels(words, formula_panel(operation.formulas, room), 0.0, room)
    sizes = box / max(source.shape), cell
    body = Panel(
        (*body.items, *zoom_lines(parts, sizes, source, step.window.shape[1:], marked)), body.width, body.height
    )
    texts = [*notes(worked, step, cells=False), *cut_notes(worked, step, part)]
    count = counted(worked, step)
    return worksheet(name_text(operation), settings_text(operation), body, foot, texts, counted=count)


def window_span(worked: Walkthrough, step: Step) -> tuple[range, range]:
    """The rows and columns of the canvas from the first of the window to its last."""
    rows, columns = worked.canvas.rows[step.at[0]], worked.canvas.columns[step.at[1]]
    return range(rows[0], rows[-1] + 1), range(columns[0], columns[-1] + 1)


def window_box(worked: Walkthrough, step: Step, part: tuple[range, range]) -> tuple[int, int, int, int]:
    """Row, column, rows and columns of the window within the part of the canvas that is drawn."""
    down, across = window_span(worked, step)
    return down.start - part[0].start, across.start - part[1].start, len(down), len(across)


def cut_notes(worked: Walkthrough, step: Step, part: tuple[range, range] | None = None) -> list[str]:
    """Which part of a narrow input and of a narrow output is drawn, if not all."""
    whole = worked.operation.output_size
    parts = [part_text("output", whole, output_part(whole, step.at))]
    if part:
        rows, columns = worked.canvas.padding.shape
        transposed = isinstance(worked.operation, TransposedConvolution)
        name = f"{canvas_name(worked)[0]} input" if transposed else "input"
        parts.insert(0, part_text(name, (rows, columns), part, (0, 0) if transposed else worked.canvas.origin))
    parts = [text for text in parts if text]
    return [f"drawn are only {' and '.join(parts)}"] if parts else []


def output_part(shape: tuple[int, int], at: tuple[int, int]) -> tuple[range, range]:
    """The rows and columns of the output that are drawn."""
    return part_around(shape, (range(at[0], at[0] + 1), range(at[1], at[1] + 1)), OUTPUT_RATIO)


def colours_of(cells: Cells) -> Cells:
    """The cells as brightness if no value is negative, else in red and blue; none is faded."""
    plain = replace(cells, lit=None)
    inner = cells.values[~cells.mask("padding")]
    if np.nanmin(inner, initial=0) < 0:
        return plain
    return replace(plain, grey=True, low=0.0)


def input_box(worked: Walkthrough, cells: Cells, box: float, marked: tuple[int, int, int, int]) -> LabelledPicture:
    """The canvas as colours, the window in a frame with a white halo, a bar below."""
    cell = box / max(cells.shape)
    panel = cells_panel(cells, cell, 0)
    items: list[Item] = [*panel.items, frame(*marked, cell, colour=WHITE, width=9), frame(*marked, cell, width=4.5)]
    bar = cells_bar(cells, min(180.0, panel.width))
    items += moved(bar, 0, panel.height + 14)
    name, size = canvas_name(worked)
    size = size.partition(",")[0]  # the heading of the page states the padding
    placed = headed(Panel(tuple(items), max(panel.width, bar.width), panel.height), name, size)
    return replace(placed, below=66.0)


def output_box(worked: Walkthrough, step: Step, reached: int | None, box: float) -> LabelledPicture:
    """The output as numbers if they fit, else as colours, the marked cell in a frame."""
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
    return output_picture(Panel(tuple(items), panel.width, panel.height), cells, whole, bar=not size)


def output_picture(panel: Panel, cells: Cells, whole: tuple[int, int], *, bar: bool) -> LabelledPicture:
    """The output with its name and the size of the ``whole``, and a colour bar below if it has no digits."""
    size = size_text(whole)
    if not bar:
        return headed(panel, "output", size)
    below = cells_bar(cells, max(panel.width, 120.0))
    items = (*panel.items, *moved(below, 0, panel.height + 14))
    return replace(headed(Panel(items, max(panel.width, below.width), panel.height), "output", size), below=66.0)


def zoom_lines(
    parts: list[LabelledPicture],
    sizes: tuple[float, float],
    source: Cells,
    window: tuple[int, ...],
    marked: tuple[int, int, int, int],
) -> list[Item]:
    """Lines from the window in the input to the enlarged one; they avoid the labels above and below the input."""
    small, cell = sizes
    above = max(part.size[0] / 2 + part.above for part in parts)
    left = (parts[0].width - max(source.shape[1] * small, cells_bar(source, 0).width)) / 2
    x, end = left + (marked[1] + marked[3]) * small, parts[0].width + 10
    top, bottom = above - source.shape[0] * small / 2, above + source.shape[0] * small / 2
    starts = top + marked[0] * small, top + (marked[0] + marked[2]) * small
    target = parts[0].width + parts[1].width
    stops = above - window[0] * cell / 2, above + window[0] * cell / 2
    crossings = [start + (stop - start) * (end - x) / (target - x) for start, stop in zip(starts, stops, strict=True)]
    if all(top <= y <= bottom for y in crossings):
        return [Rule(x, start, target, stop, DARK, 1.6) for start, stop in zip(starts, stops, strict=True)]
    bent = [[Rule(x, start, end, start, DARK, 1.6), Rule(end, start, target, stop, DARK, 1.6)]
            for start, stop in zip(starts, stops, strict=True)]  # fmt: skip
    return [rule for line in bent for rule in line]


@np.errstate(all="ignore")
def step_page(worked: Walkthrough, step: Step, reached: int | None = None) -> Panel:
    """The page of one step; in an animation, cells of the output after ``reached`` are empty."""
    if len(step.channels) > 1:
        return channels_page(worked, step, reached)
    parts = [canvas_cells(worked, step, step.channels[0]), output_cells(worked, step)]
    fixed = 2 * 98.0
    if step.weights is not None:
        parts.append(plain_cells(step.weights[0]))
    if isinstance(worked.operation, TransposedConvolution):
        parts.append(plain_cells(worked.input[step.channels[0]]))
        fixed += 98
    draw = pool_page if step.weights is None else kernel_page
    cell = fitting_cell(parts, fixed)
    while cell and all(digit_size([part], cell) for part in parts):
        page = draw(worked, step, cell, reached)
        if page.width <= WIDEST:
            return page
        cell *= 0.96  # heads may be wider than their matrices

    return enlarged_page(worked, step, reached)


def kernel_page(worked: Walkthrough, step: Step, cell: float, reached: int | None) -> Panel:
    """Input ∗ kernel = output, and below them the sum and the size."""
    operation = worked.operation
    if step.weights is None:
        raise TypeError(operation)
    kernel = headed(matrix(plain_cells(step.weights[0]), cell), "kernel", size_text(operation.kernel))
    parts = [
        canvas_matrix(worked, step, cell),
        sign("∗"),
        kernel,
        sign("="),
        output_matrix(worked, step, cell, reached),
    ]
    title = name_text(operation)
    if isinstance(operation, TransposedConvolution):
        first = plain_cells(worked.input[step.channels[0]])
        given = headed(matrix(first, cell), "input", size_text(operation.input_size))
        turned = headed(matrix(plain_cells(step.weights[0]), cell), "kernel", "turned 180°")
        parts = [given, arrow(), parts[0], sign("∗"), turned, sign("="), parts[-1]]
        title += " as a convolution"
    body = in_a_row(parts)
    room = max(NARROWEST - 2 * MARGIN, body.width)
    left = sum_panel(step, room, widest=widest_texts(worked, step))
    kernel_at = sum(part.width for part in parts[: len(parts) - 3])
    foot = foot_panels(left, formula_panel(operation.formulas, room), kernel_at, room)
    return worksheet(title, settings_text(operation), body, foot, notes(worked, step), counted=counted(worked, step))


def pool_page(worked: Walkthrough, step: Step, cell: float, reached: int | None) -> Panel:
    """Input → output, with the step and the size beside them, or below if they do not fit."""
    operation = worked.operation
    kind = operation.kind if isinstance(operation, Pooling) else ""
    body = in_a_row(
        [
            canvas_matrix(worked, step, cell),
            arrow("max" if kind == "max" else "mean", 150),
            output_matrix(worked, step, cell, reached),
        ]
    )
    count = counted(worked, step)
    texts = [*notes(worked, step), "bold: the value that the window passes on" if kind == "max" else ""]
    room = WIDEST - 2 * MARGIN - body.width - 90
    beside = room >= 460
    width = room if beside else max(body.width, NARROWEST - 2 * MARGIN)
    words = stacked([pool_sum_panel(worked, step, width), formula_panel(operation.formulas, width)], 40)
    if not beside:
        return worksheet(name_text(operation), settings_text(operation), body, [(0.0, words)], texts, counted=count)
    y = max(0.0, (body.height - words.height) / 2)
    height = max(body.height, words.height)
    items = (*moved(body, 0, (height - body.height) / 2), *moved(words, body.width + 90, y))
    both = Panel(items, body.width + 90 + words.width, height)
    return worksheet(name_text(operation), settings_text(operation), both, [], texts, counted=count)


def pool_sum_panel(worked: Walkthrough, step: Step, room: float) -> Panel:
    """The marked cell of a pool in one line, or several."""
    row, column = step.at
    text, _, value = step_text(worked.operation, step).rpartition(" = ")
    lines = wrap(text, SUM, room - text_width(f"  =  {value}", FORMULA))
    words, below = text_block(lines, 0, SMALL + 14, SUM, colour=INK)
    x, y = text_width(lines[-1], SUM) + 14, below - SUM * 0.36
    heading = Text(0, SMALL, f"the marked cell, row {row}, column {column}", SMALL, DIM)
    items = [
        heading,
        *words,
        Text(x, y, "=", SUM, DIM),
        Text(x + text_width("=  ", SUM) + 4, y, value, FORMULA - 1, INK, bold=True),
    ]
    head = text_width(heading.text, SMALL) + 8
    end = x + text_width("=  ", SUM) + text_width(value, FORMULA, bold=True)
    width = max(head, end, *(text_width(line, SUM) for line in lines))
    return Panel(tuple(items), width, below + 8)


def widest_texts(worked: Walkthrough, step: Step) -> tuple[float, float]:
    """The largest widths of a term and of a result in all steps, so that nothing moves from one step to the next."""
    if step.weights is None:
        return 0.0, 0.0
    values = worked.canvas.values[step.channels[0]]
    value = max((value_text(float(each)) for each in np.unique(values)[:500]), key=lambda text: text_width(text, SUM))
    weights = [product_text(0.0, float(weight)).removeprefix("0") for weight in np.unique(step.weights)[:500]]
    results = [value_text(float(each)) for each in np.unique(worked.output[step.channel])[:500]]
    term = text_width(value, SUM) + max(text_width(weight, SUM) for weight in weights)
    return term, max(text_width(result, FORMULA, bold=True) for result in results)


def counted(worked: Walkthrough, step: Step) -> tuple[int, int]:
    """The number of the step, from 1, and the number of steps."""
    rows, columns = worked.operation.output_size
    return step.at[0] * columns + step.at[1] + 1, rows * columns


def notes(worked: Walkthrough, step: Step, *, cells: bool = True) -> list[str]:
    """The caption: what the signs mean (if all ``cells`` are drawn), and the cost."""
    operation, canvas = worked.operation, worked.canvas
    lines = []
    if operation.out_channels > 1:
        lines.append(f"output channel {step.channel} of {operation.out_channels:,}")
    transposed = isinstance(operation, TransposedConvolution)
    if cells and canvas.stretched.any():
        lines.append("shaded cells: zeros put between the values (s − 1)")
    if cells and canvas.padding.any():
        around = "torch’s implicit padding d(k − 1) − p" if transposed else "padding: zeros round the input"
        if isinstance(operation, Pooling) and operation.kind == "max":
            around = "padding, which no maximum takes"
        lines.append(f"dashed cells are {around}")
    if isinstance(operation, TransposedConvolution) and min(operation.implicit_padding) < 0:
        lines.append("the padding is so large that it cuts the input")
    if getattr(operation, "dilation", (1, 1)) != (1, 1):
        span = [d * (k - 1) + 1 for d, k in zip(operation.dilation, operation.kernel, strict=True)]
        lines.append(f"the kernel spans {size_text(span)} and reads the framed cells")
    lines += [text for text in (left_over_text(operation), gap_text(operation)) if text] + broken_notes(worked)
    if isinstance(operation, Pooling):
        return [*lines, "no weights"]
    lines += [weights_text(operation), macs_text(operation)]
    return lines if transposed else [*lines, "the kernel is not flipped, as in torch"]

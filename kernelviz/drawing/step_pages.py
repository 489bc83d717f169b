"""The page of one step: input, kernel and output as numbers, and the sum as by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from kernelviz.arithmetic.operations import Pooling, TransposedConvolution
from kernelviz.arithmetic.windows import size_text
from kernelviz.drawing.operands import (
    canvas_cells,
    canvas_matrix,
    fitting_cell,
    matrix,
    output_cells,
    output_matrix,
    plain_cells,
)
from kernelviz.drawing.page import INK, Panel, Text, moved, text_block, text_width, wrap
from kernelviz.drawing.sums import formula_panel, sum_panel
from kernelviz.drawing.terms import (
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
from kernelviz.drawing.worksheets import (
    DIM,
    FORMULA,
    MARGIN,
    NARROWEST,
    SMALL,
    SUM,
    WIDEST,
    arrow,
    digit_size,
    feet,
    headed,
    in_a_row,
    sign,
    stacked,
    worksheet,
)
from kernelviz.wording import value_text

if TYPE_CHECKING:
    from kernelviz.walkthrough import Step, Walkthrough


@np.errstate(all="ignore")
def step_page(worked: Walkthrough, step: Step, reached: int | None = None) -> Panel:
    """The page of one step; ``reached`` empties the output behind this cell, for an animation."""
    if len(step.channels) > 1:
        from kernelviz.drawing.channels import channels_page

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
    from kernelviz.drawing.enlarged import enlarged_page

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
    kernel_at = sum(part.room for part in parts[: len(parts) - 3])
    foot = feet(left, formula_panel(operation.formulas, room), kernel_at, room)
    return worksheet(title, settings_text(operation), body, foot, notes(worked, step), counted=counted(worked, step))


def pool_page(worked: Walkthrough, step: Step, cell: float, reached: int | None) -> Panel:
    """Input → output, with the step and the size beside them, or below where there is no room."""
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
    said = [*notes(worked, step), "bold: the value that the window passes on" if kind == "max" else ""]
    room = WIDEST - 2 * MARGIN - body.width - 90
    beside = room >= 460
    width = room if beside else max(body.width, NARROWEST - 2 * MARGIN)
    words = stacked([words_panel(worked, step, width), formula_panel(operation.formulas, width)], 40)
    if not beside:
        return worksheet(name_text(operation), settings_text(operation), body, [(0.0, words)], said, counted=count)
    y = max(0.0, (body.height - words.height) / 2)
    height = max(body.height, words.height)
    items = (*moved(body, 0, (height - body.height) / 2), *moved(words, body.width + 90, y))
    both = Panel(items, body.width + 90 + words.width, height)
    return worksheet(name_text(operation), settings_text(operation), both, [], said, counted=count)


def words_panel(worked: Walkthrough, step: Step, room: float) -> Panel:
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
    """The widths that no term and no result of any step exceed, so that nothing moves from one to the next."""
    if step.weights is None:
        return 0.0, 0.0
    values = worked.canvas.values[step.channels[0]]
    value = max((value_text(float(each)) for each in np.unique(values)[:500]), key=lambda text: text_width(text, SUM))
    weights = [product_text(0.0, float(weight)).removeprefix("0") for weight in np.unique(step.weights)[:500]]
    results = [value_text(float(each)) for each in np.unique(worked.output[step.channel])[:500]]
    term = text_width(value, SUM) + max(text_width(weight, SUM) for weight in weights)
    return term, max(text_width(result, FORMULA, bold=True) for result in results)


def counted(worked: Walkthrough, step: Step) -> tuple[int, int]:
    """Which step it is, from 1 on, and of how many."""
    rows, columns = worked.operation.output_size
    return step.at[0] * columns + step.at[1] + 1, rows * columns


def notes(worked: Walkthrough, step: Step, *, cells: bool = True) -> list[str]:
    """The caption: what the signs mean (where all ``cells`` are drawn), what it costs."""
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

"""A transposed convolution as stamps: every input value lays the kernel, times itself, onto the output."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from kernelviz.arithmetic.operations import TransposedConvolution
from kernelviz.arithmetic.windows import sides_text, size_text
from kernelviz.drawing.operands import output_cells, plain_cells
from kernelviz.drawing.page import INK, Item, Panel, Text, moved, text_width
from kernelviz.drawing.sums import formula_panel
from kernelviz.drawing.terms import (
    broken_notes,
    gap_text,
    macs_text,
    name_text,
    settings_text,
    shortened,
    step_text,
    weights_text,
)
from kernelviz.drawing.worksheets import (
    CELL,
    DIM,
    FORMULA,
    HEAD,
    LEGIBLE,
    MARGIN,
    SMALL,
    SUM,
    WIDEST,
    Cells,
    Placed,
    cells_panel,
    digit_size,
    frame,
    headed,
    in_a_row,
    sign,
    stacked,
    strongest,
    worksheet,
)
from kernelviz.errors import UsageError
from kernelviz.wording import value_text

if TYPE_CHECKING:
    from kernelviz.records import Array
    from kernelviz.walkthrough import Step, Walkthrough


ALL, MOST, A_ROW = 4, 16, 4  # so many stamps are all shown; at most so many that meet on the marked cell; in a row
SIGN = 50.0


def stamps_page(worked: Walkthrough, at: tuple[int, int], channel: int) -> Panel:
    """Input and kernel, the stamps, and the output that they add up to.

    Raises:
        UsageError: the operation is not transposed, or there is no such cell.
    """
    operation = worked.operation
    if not isinstance(operation, TransposedConvolution):
        raise UsageError(f"A {name_text(operation).lower()} has no stamps.", hint="The view step shows how it works.")
    step = worked.step(*at, channel)
    places, said = _places(operation, step)
    stamps = [worked.stamp(*place, channel) for place in places]
    bottom, digits = _stamp_rows(worked, step, places, stamps)
    top = _givens(worked, step)
    dots = "dots count the stamps that meet on a cell" if digits and overlaps(operation).max() > 1 else ""
    apart = f"stamps are {sides_text(operation.stride)} apart"
    if any(operation.padding):
        apart += f"; the padding cuts {sides_text(operation.padding)} off each end"
    if any(operation.output_padding):
        apart += f"; the output padding adds {sides_text(operation.output_padding)} behind"
    lost = [gap_text(operation), *broken_notes(worked)]
    foot = [said, apart, dots, *lost, weights_text(operation, dense=False), macs_text(operation)]
    settings = f"{settings_text(operation)}: every value stamps the kernel"
    return worksheet(name_text(operation), settings, stacked([top, bottom], 34), [], foot)


def overlaps(operation: TransposedConvolution) -> Array:
    """(rows, columns): how many stamps meet on each cell of the output."""
    sizes = operation.output_size
    rows = [len(operation.reads(row, 0)[0]) for row in range(sizes[0])]
    columns = [len(operation.reads(0, column)[1]) for column in range(sizes[1])]
    return np.outer(rows, columns)


def shown_places(worked: Walkthrough, step: Step) -> list[tuple[int, int]]:
    """The input places whose stamps are shown.

    Raises:
        UsageError: the operation is not transposed.
    """
    if not isinstance(worked.operation, TransposedConvolution):
        raise UsageError(f"A {name_text(worked.operation).lower()} has no stamps.", hint="Take the view step.")
    return _places(worked.operation, step)[0]


def _places(operation: TransposedConvolution, step: Step) -> tuple[list[tuple[int, int]], str]:
    """The input places whose stamps are shown, and which of all they are."""
    total = operation.input_size[0] * operation.input_size[1]
    if total <= ALL:
        return [divmod(at, operation.input_size[1]) for at in range(total)], ""
    rows, columns = operation.reads(*step.at)
    places = [(row, column) for row in rows for column in columns]
    shown = f"{min(len(places), MOST)} of {total:,} stamps: those that meet on the marked cell"
    return places[:MOST], shown if len(places) <= MOST else f"{shown}, {MOST} of {len(places)}"


def _givens(worked: Walkthrough, step: Step) -> Panel:
    """Input, kernel, and beside them the size and the marked cell."""
    operation = worked.operation
    if step.weights is None:
        raise TypeError(operation)
    values = worked.input[step.channels[0]]
    kernel = step.weights[0][::-1, ::-1]
    parts = []
    for name, numbers in (("input", values), ("kernel", kernel)):
        cells, cell = plain_cells(numbers), min(CELL, 280 / max(numbers.shape))
        panel = cells_panel(cells, cell, digit_size([cells], cell))
        count = f"{len(step.channels)} × " if len(step.channels) > 1 else ""
        parts += [headed(panel, name, count + size_text(numbers.shape)), sign("", 84)]
    body = in_a_row(parts)
    room = WIDEST - 2 * MARGIN - body.width
    words = stacked([formula_panel(operation.formulas, room), _met(worked, step, room)], 22)
    height = max(body.height, words.height)
    items = (*moved(body, 0, height - body.height), *moved(words, body.width, (height - words.height) / 2))
    return Panel(items, body.width + words.width, height)


def _met(worked: Walkthrough, step: Step, room: float) -> Panel:
    """The marked cell as the sum of the stamps that meet there."""
    text, _, value = step_text(worked.operation, step).rpartition(" = ")
    terms, most = text.split(" + "), 12
    end = 52 + text_width(value, FORMULA, bold=True)
    while text_width(text, SUM) + end > room and most > 2:
        most -= 1
        text = " + ".join(shortened(terms, most)) if most > 2 else f"{len(terms)} products"
    x = text_width(text, SUM) + 14
    items: list[Item] = [
        Text(0, SMALL, f"the marked cell, row {step.at[0]}, column {step.at[1]}", SMALL, DIM),
        Text(0, SMALL + 42, text, SUM, INK),
        Text(x, SMALL + 42, "=", SUM, DIM),
        Text(x + 34, SMALL + 42, value, FORMULA - 1, INK, bold=True),
    ]
    return Panel(tuple(items), x + end - 14, SMALL + 52)


def _stamp_rows(
    worked: Walkthrough, step: Step, places: list[tuple[int, int]], stamps: list[Array]
) -> tuple[Panel, bool]:
    """The stamps with plus signs between them, and the output; whether digits could be shown."""
    rows, columns = worked.operation.output_size
    count = min(len(places), A_ROW) + 1
    room = WIDEST - 2 * MARGIN - count * SIGN
    cell = min(CELL, room / (count * columns), 600 / rows)
    limit = strongest(*stamps)
    cells = [Cells(stamp, limit, empty=_untouched(worked, place)) for place, stamp in zip(places, stamps, strict=True)]
    out = output_cells(worked, step)
    size = digit_size([*cells, out], cell)
    parts: list[Placed] = []
    for place, each in zip(places, cells, strict=True):
        panel = cells_panel(each, cell, size)
        framed = Panel((*panel.items, *_frames(worked, step, place, cell)), panel.width, panel.height)
        parts += [_named(worked, step, place, framed), sign("+", SIGN)]
    output = cells_panel(out, cell, size)
    items = [*output.items, *(_dots(worked, cell) if size else ()), frame(*step.at, 1, 1, cell)]
    last = headed(Panel(tuple(items), output.width, output.height), "output", size_text(out.shape))
    parts = [*parts[:-1], sign("=", SIGN), last]
    lines = [parts[at : at + 2 * count] for at in range(0, len(parts), 2 * count)]
    return stacked([in_a_row(line) for line in lines], 10), bool(size)


def _untouched(worked: Walkthrough, place: tuple[int, int]) -> Array:
    """(rows, columns): which cells of the output the stamp of an input place does not reach."""
    result = np.ones(worked.operation.output_size, bool)
    result[np.ix_(*reached(worked, place))] = False
    return result


def reached(worked: Walkthrough, place: tuple[int, int]) -> tuple[list[int], list[int]]:
    """The rows and columns of the output on which the stamp of an input place falls."""
    operation = worked.operation
    if not isinstance(operation, TransposedConvolution):
        raise TypeError(operation)
    rows, columns = (
        [at for tap in range(taps) if 0 <= (at := place_ * stride - padding + tap * dilation) < size]
        for place_, stride, padding, taps, dilation, size in zip(
            place, operation.stride, operation.padding, operation.kernel, operation.dilation, operation.output_size,
            strict=True,
        )
    )  # fmt: skip
    return rows, columns


def _frames(worked: Walkthrough, step: Step, place: tuple[int, int], cell: float) -> list[Item]:
    """A frame around the stamp, and a strong one around the marked cell where it lies on it."""
    rows, columns = reached(worked, place)
    if not rows or not columns:
        return []
    around = frame(rows[0], columns[0], rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1, cell, width=3)
    inside = step.at[0] in rows and step.at[1] in columns
    return [around, frame(*step.at, 1, 1, cell)] if inside else [around]


def _named(worked: Walkthrough, step: Step, place: tuple[int, int], panel: Panel) -> Placed:
    """``3 × kernel``, where there is room; of several channels the place."""
    if len(step.channels) > 1:
        return headed(panel, f"{place[0]}, {place[1]}", "")
    value, kernel = value_text(float(worked.input[step.channels[0], *place])), "× kernel"
    wide = text_width(value, HEAD, bold=True) + text_width(kernel, HEAD) + 16
    return headed(panel, value, kernel if wide <= max(panel.width, 160) else "")


def _dots(worked: Walkthrough, cell: float) -> list[Item]:
    """As many dots in a corner of a cell as stamps meet there; none for one."""
    operation = worked.operation
    if not isinstance(operation, TransposedConvolution) or cell < 2 * LEGIBLE:
        return []
    items: list[Item] = []
    for (row, column), count in np.ndenumerate(overlaps(operation)):
        for dot in range(int(count) if 1 < count <= 6 else 0):
            x, y = (column + 1) * cell - 11 - 9 * dot, (row + 1) * cell - 10
            items.append(frame(y - 2.2, x - 2.2, 4.4, 4.4, 1.0, colour=DIM, width=0))
    return items

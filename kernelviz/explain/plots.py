"""Pictures of a walkthrough: one step, a sheet of all steps, or the stamps of a transposed convolution."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from kernelviz.arithmetic.operations import Pooling, TransposedConvolution
from kernelviz.arithmetic.windows import sides_text, size_text
from kernelviz.drawing.page import INK, Item, Panel, Text, moved, text_width
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
    Cells,
    LabelledPicture,
    cells_panel,
    digit_size,
    frame,
    headed,
    in_a_row,
    sign,
    stacked,
    strongest,
    window_frame,
    worksheet,
)
from kernelviz.errors import UsageError
from kernelviz.explain.step_pages import WHITE, colours_of, step_page
from kernelviz.explain.step_parts import canvas_cells, formula_panel, output_cells, plain_cells
from kernelviz.explain.texts import (
    broken_count,
    broken_notes,
    gap_text,
    macs_text,
    name_text,
    settings_text,
    shortened,
    step_text,
    weights_text,
)
from kernelviz.version import SCHEMA, __version__
from kernelviz.wording import value_text

if TYPE_CHECKING:
    from kernelviz.arithmetic.steps import Step
    from kernelviz.drawing.figures import PageFigure
    from kernelviz.explain.walkthrough import Walkthrough
    from kernelviz.records import Array


ROWS, COLUMNS = 6, 6  # of steps on one sheet; the caption states how many of how many
GAP, LABEL = 40.0, 44.0
BIGGEST = 60.0


def steps_page(worked: Walkthrough, channel: int) -> Panel:
    """Kernel and output on top, then one picture per step in the rows and columns of the output."""
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
    gap = min(GAP, (room - shown[1] * wide) / max(1, shown[1] - 1))  # results may be wider than their steps
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
    """The number of rows and of columns of steps that a sheet shows."""
    rows, columns = worked.operation.output_size
    return min(rows, ROWS), min(columns, COLUMNS)


def _tile(worked: Walkthrough, step: Step, cell: float, size: float) -> Panel:
    """The canvas with the window at one position, and the result below."""
    cells = canvas_cells(worked, step, step.channels[0])
    cells = cells if size else colours_of(cells)
    panel = cells_panel(cells, cell, size)
    rows, columns = worked.canvas.rows[step.at[0]], worked.canvas.columns[step.at[1]]
    if cell >= 14:
        frames = window_frame(rows, columns, cell)
    else:
        position = (rows[0], columns[0], rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1)
        frames = [frame(*position, cell, colour=WHITE, width=7), frame(*position, cell, width=3.4)]
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


# All stamps are shown up to the first number; of more, at most the second number of those on the marked cell.
ALL, MOST, A_ROW = 4, 16, 4
SIGN = 50.0


def stamps_page(worked: Walkthrough, at: tuple[int, int], channel: int) -> Panel:
    """Input and kernel, the stamps, and the output as their sum.

    Raises:
        UsageError: The operation is not transposed, or there is no such cell.
    """
    operation = worked.operation
    if not isinstance(operation, TransposedConvolution):
        raise UsageError(f"A {name_text(operation).lower()} has no stamps.", hint="The view step shows how it works.")
    step = worked.step(*at, channel)
    positions, choice = _stamp_positions(operation, step)
    stamps = [worked.stamp(*position, channel) for position in positions]
    bottom, digits = _stamp_rows(worked, step, positions, stamps)
    top = _inputs_panel(worked, step)
    dots = "dots count the stamps that meet on a cell" if digits and overlaps(operation).max() > 1 else ""
    apart = f"stamps are {sides_text(operation.stride)} apart"
    if any(operation.padding):
        apart += f"; the padding cuts {sides_text(operation.padding)} off each end"
    if any(operation.output_padding):
        apart += f"; the output padding adds {sides_text(operation.output_padding)} behind"
    lost = [gap_text(operation), *broken_notes(worked)]
    foot = [choice, apart, dots, *lost, weights_text(operation, dense=False), macs_text(operation)]
    settings = f"{settings_text(operation)}: every value stamps the kernel"
    return worksheet(name_text(operation), settings, stacked([top, bottom], 34), [], foot)


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
    shown = f"{min(len(positions), MOST)} of {total:,} stamps: those that meet on the marked cell"
    return positions[:MOST], shown if len(positions) <= MOST else f"{shown}, {MOST} of {len(positions)}"


def _inputs_panel(worked: Walkthrough, step: Step) -> Panel:
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
    words = stacked([formula_panel(operation.formulas, room), _sum_panel(worked, step, room)], 22)
    height = max(body.height, words.height)
    items = (*moved(body, 0, height - body.height), *moved(words, body.width, (height - words.height) / 2))
    return Panel(items, body.width + words.width, height)


def _sum_panel(worked: Walkthrough, step: Step, room: float) -> Panel:
    """The marked cell as the sum of the stamps on it."""
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
    worked: Walkthrough, step: Step, positions: list[tuple[int, int]], stamps: list[Array]
) -> tuple[Panel, bool]:
    """The stamps with plus signs between them, and the output; whether digits could be shown."""
    rows, columns = worked.operation.output_size
    count = min(len(positions), A_ROW) + 1
    room = WIDEST - 2 * MARGIN - count * SIGN
    cell = min(CELL, room / (count * columns), 600 / rows)
    limit = strongest(*stamps)
    cells = [
        Cells(stamp, limit, empty=_untouched(worked, position))
        for position, stamp in zip(positions, stamps, strict=True)
    ]
    out = output_cells(worked, step)
    size = digit_size([*cells, out], cell)
    parts: list[LabelledPicture] = []
    for position, each in zip(positions, cells, strict=True):
        panel = cells_panel(each, cell, size)
        framed = Panel((*panel.items, *_frames(worked, step, position, cell)), panel.width, panel.height)
        parts += [_named(worked, step, position, framed), sign("+", SIGN)]
    output = cells_panel(out, cell, size)
    items = [*output.items, *(_dots(worked, cell) if size else ()), frame(*step.at, 1, 1, cell)]
    last = headed(Panel(tuple(items), output.width, output.height), "output", size_text(out.shape))
    parts = [*parts[:-1], sign("=", SIGN), last]
    lines = [parts[at : at + 2 * count] for at in range(0, len(parts), 2 * count)]
    return stacked([in_a_row(line) for line in lines], 10), bool(size)


def _untouched(worked: Walkthrough, position: tuple[int, int]) -> Array:
    """(rows, columns): the cells of the output outside the stamp of an input position."""
    result = np.ones(worked.operation.output_size, bool)
    result[np.ix_(*reached(worked, position))] = False
    return result


def reached(worked: Walkthrough, position: tuple[int, int]) -> tuple[list[int], list[int]]:
    """The rows and columns of the output under the stamp of an input position."""
    operation = worked.operation
    if not isinstance(operation, TransposedConvolution):
        raise TypeError(operation)
    rows, columns = (
        [at for tap in range(taps) if 0 <= (at := first * stride - padding + tap * dilation) < size]
        for first, stride, padding, taps, dilation, size in zip(
            position, operation.stride, operation.padding, operation.kernel, operation.dilation, operation.output_size,
            strict=True,
        )
    )  # fmt: skip
    return rows, columns


def _frames(worked: Walkthrough, step: Step, position: tuple[int, int], cell: float) -> list[Item]:
    """A frame around the stamp, and a strong one around the marked cell if the stamp covers it."""
    rows, columns = reached(worked, position)
    if not rows or not columns:
        return []
    around = frame(rows[0], columns[0], rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1, cell, width=3)
    inside = step.at[0] in rows and step.at[1] in columns
    return [around, frame(*step.at, 1, 1, cell)] if inside else [around]


def _named(worked: Walkthrough, step: Step, position: tuple[int, int], panel: Panel) -> LabelledPicture:
    """``3 × kernel`` if it fits; the position if there are several channels."""
    if len(step.channels) > 1:
        return headed(panel, f"{position[0]}, {position[1]}", "")
    value, kernel = value_text(float(worked.input[step.channels[0], *position])), "× kernel"
    wide = text_width(value, HEAD, bold=True) + text_width(kernel, HEAD) + 16
    return headed(panel, value, kernel if wide <= max(panel.width, 160) else "")


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
    worked: Walkthrough, *, at: tuple[int, int] = (0, 0), channel: int = 0, view: WorkView = "step"
) -> PageFigure:
    """Draw a convolution, a transposed convolution or a pool that was worked out.

    Args:
        worked: The result of ``work_out``.
        at: The row and the column of the output cell to show.
        channel: The output channel.
        view: ``step`` draws how that cell is computed (a transposed convolution as a convolution over the stretched
            input), ``steps`` a sheet of all cells, ``stamps`` how a transposed convolution stamps its kernel.

    Raises:
        UsageError: There is no such cell, channel or view, or stamps are requested of an operation that is not transposed.
    """
    from kernelviz.drawing.figures import draw_page

    figure = draw_page(explaining_page(worked, at=at, channel=channel, view=view))
    figure.recipe = explaining_recipe(worked, view=view, at=None if view == "steps" else at, channel=channel)
    return figure


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

    ``shown`` of ``total`` are steps, or stamps of the input; ``limits`` are those of the output. JSON has no numbers that
    are not finite: these are only part of the hash.
    """
    from dataclasses import asdict

    settings = {
        key: list(value) if isinstance(value, tuple) else value for key, value in asdict(worked.operation).items()
    }
    numbers = {"input": worked.input, "kernel": worked.kernel, "bias": worked.bias}
    there = [values for values in numbers.values() if values is not None]
    few = sum(values.size for values in there) <= 4096 and all(np.isfinite(values).all() for values in there)
    output = worked.output[channel]
    limit = strongest(output)
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
        "limits": [-limit if (output < 0).any() else 0.0, limit],
        "nonfinite": broken_count(worked),
        "notes": broken_notes(worked),
    }


def _shown(worked: Walkthrough, view: str, at: tuple[int, int] | None, channel: int) -> dict[str, int]:
    """The number of steps or stamps shown, and of all."""
    total = worked.operation.output_size[0] * worked.operation.output_size[1]
    if view == "stamps" and at is not None:
        total = worked.operation.input_size[0] * worked.operation.input_size[1]
        return {"shown": len(shown_positions(worked, worked.step(*at, channel))), "total": total}
    if view == "steps":
        rows, columns = shown_steps(worked)
        return {"shown": rows * columns, "total": total}
    return {"shown": 1 if at is not None else total, "total": total}


def numbers_hash(worked: Walkthrough) -> str:
    """Sixteen hex digits that identify these numbers and settings."""
    from hashlib import sha256

    digest = sha256(repr(worked.operation).encode())
    for values in (worked.input, worked.kernel, worked.bias):
        digest.update(b"-" if values is None else np.ascontiguousarray(values, "<f8").tobytes())
    return digest.hexdigest()[:16]

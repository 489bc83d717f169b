"""How often a convolution reads each cell of its input: the numbers as text, and the picture."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from kernelviz.arithmetic.operations import Convolution
from kernelviz.arithmetic.uses import Uses, uses_of
from kernelviz.arithmetic.windows import size_text
from kernelviz.drawing.looks import find_look
from kernelviz.drawing.page import INK, Item, Panel, Text, balanced, fitted, moved, text_block, text_width, wrap
from kernelviz.drawing.worksheets import (
    DIM,
    FORMULA,
    HEAD,
    LEGIBLE,
    MARGIN,
    SETTINGS,
    SMALL,
    WIDEST,
    Cells,
    DigitRule,
    Tint,
    cells_panel,
    digit_size,
    refitted,
    stacked,
    tint_bar,
    window_frame,
    worksheet,
)
from kernelviz.errors import UsageError
from kernelviz.explain.texts import padding_text, settings_text, short_formula
from kernelviz.version import SCHEMA, __version__
from kernelviz.wording import counted

if TYPE_CHECKING:
    from kernelviz.drawing.figures import PageFigure
    from kernelviz.drawing.looks import LookName
    from kernelviz.records import Array

MOST, MOST_PADDED = 64, 128
WIDTH = WIDEST - 2 * MARGIN
BETWEEN, BESIDE = 54.0, 196.0  # the two halves; the text beside a matrix
LARGEST_CELL, LARGEST_BESIDE = 64.0, 8  # pixels; columns of an input with its text beside it
ALONE_CELL, ALONE_BESIDE = 92.0, 420.0  # of a matrix with none beside it
DIGITS = DigitRule(largest=28.0, tall=0.6, usual=2.0, bold=False)
TIMES = ("never", "once", "twice", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")


def plot_uses(operation: Convolution, *, look: LookName = "page", caption: bool = True) -> PageFigure:
    """Draw how many windows read each cell of the input; with padding, beside the same convolution without it.

    Args:
        operation: The convolution; only sizes, stride, padding and dilation matter.
        look: ``page``, ``slide`` (1280 × 720 pixels, large type), ``dark`` or ``print``.
        caption: Whether identity and caption are drawn; without them they are only in the recipe.

    Raises:
        UsageError: It is no convolution, or its input is larger than 64 × 64.

    Example:
        >>> figure = kernelviz.plot_uses(kernelviz.Convolution(7, 3, stride=2, padding=1))
    """
    from kernelviz.drawing.figures import draw_page

    readings = work_out_uses(operation)
    return draw_page(uses_page(readings), uses_recipe(readings), find_look(look, caption=caption))


@dataclass(frozen=True)
class Readings:
    """A convolution and its uses, and ``bare``, the same without padding: None if it has none, or does not fit then."""

    operation: Convolution
    uses: Uses
    bare: Readings | None = None

    @property
    def counts(self) -> Array:
        """(rows, columns): how often each cell of the input is read."""
        return np.array(self.uses.of_input)

    @property
    def all(self) -> list[Readings]:
        """Both, the one without padding first."""
        return [self] if self.bare is None else [self.bare, self]


def work_out_uses(operation: Convolution) -> Readings:
    """Count the uses of a convolution, and of the same without padding.

    Raises:
        UsageError: It is no convolution, or its input is too large.
    """
    if not isinstance(operation, Convolution):
        raise UsageError("How often cells are read is counted of a convolution.", hint="Give a Convolution.")
    top, bottom, left, right = operation.padding
    rows, columns = operation.input_size
    padded = rows + top + bottom, columns + left + right
    if max(operation.input_size) > MOST or max(padded) > MOST_PADDED:
        raise UsageError(
            f"The input is {size_text(operation.input_size)}, padded {size_text(padded)}.",
            f"How often each cell is read is counted up to {MOST} × {MOST}, padded {MOST_PADDED} × {MOST_PADDED}.",
            "Choose a smaller input.",
        )
    found = Readings(operation, uses_of(operation))
    if not any(operation.padding):
        return found
    try:
        bare = Convolution(operation.input_size, operation.kernel, stride=operation.stride, dilation=operation.dilation)
    except UsageError:
        return found
    return replace(found, bare=Readings(bare, uses_of(bare)))


def times(number: int) -> str:
    """``never``, ``once``, ``twice``, ``three times``."""
    if number < 3:
        return TIMES[number]
    return f"{TIMES[number] if number < len(TIMES) else f'{number:,}'} times"


def output_text(operation: Convolution) -> str:
    """``output 5 − 3 + 1 = 3 × 3``."""
    rows, columns = operation.formulas
    if rows == columns:
        return f"output {short_formula(rows, size_text(operation.output_size))}"
    return f"output {size_text(operation.output_size)}: " + " and ".join(
        short_formula(each, str(each.result)) for each in (rows, columns)
    )


def ratio_texts(readings: Readings) -> tuple[str, str]:
    """``1 : 9`` for a corner and the cells that are read most, and what that means."""
    counts = readings.counts
    corner, most = int(counts[0, 0]), int(counts.max())
    if counts.min() == most:
        return f"{corner} : {most}", f"every cell is read equally often: {times(most)}"
    if readings.bare is not None and corner > readings.bare.counts[0, 0]:
        return (
            f"{corner} : {most}",
            f"with padding, windows extend beyond the border: a corner is read {times(corner)}",
        )
    rows, columns = (side // 2 for side in counts.shape)
    where = "the middle" if counts[rows, columns] == most else "other cells up to"
    border = ": the border of an image has little influence" if most >= 4 * corner else ""
    return f"{corner} : {most}", f"a corner is read {times(corner)}, {where} {times(most)}{border}"


def sum_text(readings: Readings) -> str:
    """``9 windows × 9 cells = 81 readings``, with padding how many are of the input."""
    uses, kernel = readings.uses, readings.operation.kernel
    cells = kernel[0] * kernel[1]
    text = f"{counted(uses.windows, 'window')} × {counted(cells, 'cell')} = {counted(uses.readings, 'reading')}"
    if not any(readings.operation.padding):
        return text
    text = f"{uses.windows:,} × {cells:,} = {counted(uses.readings, 'reading')}"
    return f"{text}: {uses.input_readings:,} of the input, {uses.readings - uses.input_readings:,} of zeros"


def notes(readings: Readings) -> list[str]:
    """Irregularities: cells that are never read, uses that are not smooth, a comparison that cannot be made."""
    operation, found = readings.operation, []
    for each in readings.all:
        unread = int((each.counts == 0).sum())
        if unread:
            number = f"{unread:,} of {each.counts.size:,} cells of the input"
            found.append(f"{padding_text(each.operation)}: {number} are never read")
    if any(_uneven(axis) for each in readings.all for axis in (each.uses.rows, each.uses.columns)):
        stride, kernel = (max(each) for each in (operation.stride, operation.kernel))
        dilated = ", dilated" if max(operation.dilation) > 1 else ""
        found.append(f"the counts are not smooth: windows of {kernel} cells{dilated}, {stride} apart, overlap unevenly")
    if any(operation.padding) and readings.bare is None:
        found.append("without padding the kernel does not fit into the input")
    return found


def _uneven(counts: tuple[int, ...]) -> bool:
    """Whether the counts fall and rise again."""
    steps = [after - before for before, after in pairwise(counts) if after != before]
    falls = [at for at, step in enumerate(steps) if step < 0]
    return bool(falls) and any(step > 0 for step in steps[falls[0] :])


def uses_lines(readings: Readings) -> list[str]:
    """The numbers as lines of text."""
    operation = readings.operation
    lines = [f"How many windows read each cell: {_settings(operation)}"]
    for each in readings.all:
        ratio, meaning = ratio_texts(each)
        wide = len(str(each.counts.max()))
        lines += ["", f"{padding_text(each.operation)}: {output_text(each.operation)}"]
        lines += ["  " + " ".join(str(number).rjust(wide) for number in row) for row in each.counts]
        lines += [f"  {sum_text(each)}", f"  {ratio}: {meaning}"]
    return [*lines, *([""] if notes(readings) else []), *notes(readings)]


def _settings(operation: Convolution) -> str:
    text = f"{size_text(operation.input_size)} input, {size_text(operation.kernel)} kernel"
    return f"{text}, {settings_text(operation).replace(f', {padding_text(operation)}', '')}"


def uses_entry(readings: Readings) -> dict[str, Any]:
    """The fields of the JSON document."""

    def entry(each: Readings) -> dict[str, Any]:
        uses = each.uses
        return {
            "padding": list(each.operation.padding), "output_size": list(each.operation.output_size),
            "windows": uses.windows, "readings": uses.readings, "input_readings": uses.input_readings,
            "uses": uses.of_input, "unread": int((each.counts == 0).sum()),
        }  # fmt: skip

    bare = readings.bare
    return {"uses": entry(readings), "uses_without_padding": None if bare is None else entry(bare)}


def uses_recipe(readings: Readings) -> dict[str, Any]:
    """The recipe of the picture."""
    from dataclasses import asdict

    operation = readings.operation
    settings = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(operation).items()}
    return {
        "kernelviz": __version__,
        "schema": SCHEMA,
        "command": "explain",
        "model": None,
        "layer": f"Convolution, {size_text(operation.kernel)} kernel, {settings_text(operation)}",
        "view": "uses",
        "image": None,
        "settings": settings,
        "shown": readings.counts.size,
        "total": readings.counts.size,
        "limits": [0.0, float(max(each.counts.max() for each in readings.all))],
        "nonfinite": 0,
        "notes": notes(readings),
    }


def uses_page(readings: Readings, tallest: float = math.inf) -> Panel:
    """The uses of each cell, with padding beside those without; smaller for a box of this height."""
    halves = readings.all
    tint = Tint(max(1.0, *(float(each.counts.max()) for each in halves)), negative=False)
    every = [_cells(each, tint) for each in halves]
    shapes = [cells.shape for cells in every]
    low = any(columns > max(12, 2 * rows) for rows, columns in shapes)  # one below the other
    room = WIDTH if low or len(halves) == 1 else (WIDTH - BETWEEN) / 2
    widest, alone = max(columns for _, columns in shapes), len(halves) == 1
    beside = (ALONE_BESIDE if alone else BESIDE) if max(readings.operation.input_size) <= LARGEST_BESIDE else 0.0
    down = TALLEST
    if tallest < math.inf:
        down = min(down, (tallest - 40) / len(halves) - BELOW if low else tallest - BELOW)
    across = (room - beside - 30 if beside else room) / widest
    cell = min(ALONE_CELL if alone else LARGEST_CELL, across, down / max(rows for rows, _ in shapes))
    size = digit_size(every, cell, DIGITS)
    if not size:
        cell = min(cell, (room - 90) / widest)  # the bar is beside the last one
    lift = max(each.uses.inside[0].start for each in halves) * cell  # the inputs begin at one height
    panels = [
        _half(each, cells, (cell, size, 0.0 if low else lift), room, beside)
        for each, cells in zip(halves, every, strict=True)
    ]
    if not size:
        bar = tint_bar(tint, min(300.0, shapes[-1][0] * cell))
        last = panels[-1]
        items = (*last.items, *bar.at(shapes[-1][1] * cell + 30, HEADS - 16))
        panels[-1] = Panel(items, max(last.width, shapes[-1][1] * cell + 30 + bar.width), last.height)
    if low:
        body = stacked(panels, 40)
    else:
        lefts = [0.0, *(max((WIDTH + BETWEEN) / 2, panels[0].width + BETWEEN) for _ in panels[1:])]
        placed = tuple(item for x, panel in zip(lefts, panels, strict=True) for item in moved(panel, x, 0))
        body = Panel(placed, lefts[-1] + panels[-1].width, max(panel.height for panel in panels))
    frame_text = "the frame is the first window"
    scale = "one colour scale for both, from 0" if len(halves) > 1 else "one colour scale, from 0"
    texts = [frame_text, scale, *notes(readings)]
    if any(readings.operation.padding):
        texts.insert(1, "dashed: padding, which is 0")
    if any(cells.mask("unread").any() for cells in every):
        texts.insert(1, "hatched: never read" if size or cell >= LEGIBLE else "white: never read")
    title = "Effect of padding" if readings.bare is not None else "How often each cell is read"
    settings = f"how many windows read each cell: {_settings(readings.operation)}"
    fewer = [partial(refitted, partial(uses_page, readings))] if tallest == math.inf else []
    return worksheet(title, settings, body, [], texts, notices=notes(readings), fewer=fewer)


HEADS = 74.0  # above a matrix
TALLEST, BELOW = 640.0, 210.0  # of a matrix; what its heads and the texts below it take


def _cells(readings: Readings, tint: Tint) -> Cells:
    """The input with how often each cell is read, and its padding as the zeros that it is."""
    uses = readings.uses
    shape = len(uses.rows), len(uses.columns)
    padding = np.ones(shape, bool)
    rows, columns = uses.inside
    padding[rows.start : rows.stop, columns.start : columns.stop] = False
    values = np.where(padding, 0, np.outer(uses.rows, uses.columns)).astype(np.float64)
    texts = values.astype(int).astype(str).astype(object)
    return Cells(values, tint, texts, padding=padding, unread=(values == 0) & ~padding)


def _half(readings: Readings, cells: Cells, look: tuple[float, float, float], room: float, beside: float) -> Panel:
    """One matrix with its head, its ratio beside it, in this width, or below it if that is 0, and its sum, within ``room``.

    ``look`` are the sizes of a cell and of digits, and how far the input has to be below the head.
    """
    cell, size, lift = look
    operation, uses = readings.operation, readings.uses
    name, windows = padding_text(operation), counted(uses.windows, "window")
    x = text_width(name, HEAD, bold=True) + 16
    words, below = text_block(fitted(output_text(operation), SMALL, 640), 0, 34, SMALL, colour=DIM)
    items: list[Item] = [Text(0, 24, name, HEAD, INK, bold=True), Text(x, 24, windows, SETTINGS, DIM), *words]
    top = max(HEADS, below + 14) + max(0.0, lift - uses.inside[0].start * cell)
    panel = cells_panel(cells, cell, size, DIGITS)
    window = operation.window(0, 0)
    moved_window = (
        range(window[0].start + operation.padding[0], window[0].stop + operation.padding[0], window[0].step),
        range(window[1].start + operation.padding[2], window[1].stop + operation.padding[2], window[1].step),
    )
    items += moved(Panel((*panel.items, *window_frame(*moved_window, cell)), 0, 0), 0, top)
    ratio, meaning = ratio_texts(readings)
    bottom, width = top + panel.height, panel.width
    total, bottom = text_block(wrap(sum_text(readings), SMALL, room), 0, bottom + 13, SMALL, colour=DIM)
    if beside:
        words, end = text_block(balanced(meaning, SMALL, beside), width + 30, top + 52, SMALL, colour=DIM)
        items += [Text(width + 30, top + 34, ratio, FORMULA, INK, bold=True), *words, *total]
        return Panel(tuple(items), max(width + 30 + beside, *_widths(total)), max(bottom, end))
    indent = text_width(ratio, HEAD, bold=True) + 16
    words, end = text_block(wrap(meaning, SMALL, room - indent), indent, bottom + 6, SMALL, colour=DIM)
    items += [*total, Text(0, bottom + 6 + SMALL, ratio, HEAD, INK, bold=True), *words]
    return Panel(tuple(items), max(width, *_widths([*words, *total])), end)


def _widths(items: list[Item]) -> list[float]:
    """How far to the right texts reach."""
    return [item.x + text_width(item.text, item.size) for item in items if isinstance(item, Text)]

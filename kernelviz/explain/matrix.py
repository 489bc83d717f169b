"""A convolution as a matrix: rows are cells of the output, columns cells of the input, weights on its diagonals."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from kernelviz.arithmetic.matrices import connections
from kernelviz.arithmetic.operations import Pooling, TransposedConvolution, check_cell
from kernelviz.arithmetic.windows import size_text
from kernelviz.drawing.looks import find_look
from kernelviz.drawing.page import INK, Item, Panel, Strokes, Text, moved, text_width
from kernelviz.drawing.worksheets import (
    BORDER,
    DIM,
    HEAD,
    MARGIN,
    SMALL,
    SUM,
    WIDEST,
    Cells,
    DigitRule,
    LabelledPicture,
    Tint,
    cells_panel,
    digit_size,
    digits_panel,
    frame,
    headed,
    in_a_row,
    page_tint,
    refitted,
    sign,
    space,
    stacked,
    tint_bar,
    window_frame,
    worksheet,
)
from kernelviz.errors import UsageError
from kernelviz.explain.plots import explaining_recipe
from kernelviz.explain.texts import (
    broken_notes,
    display_text,
    equals_sign,
    name_text,
    number_texts,
    product_text,
    settings_text,
)
from kernelviz.records import listed
from kernelviz.wording import counted, factor_text, value_text

if TYPE_CHECKING:
    from kernelviz.drawing.figures import PageFigure
    from kernelviz.drawing.looks import LookName
    from kernelviz.explain.walkthrough import Walkthrough
    from kernelviz.records import Array

MOST = 144  # rows or columns
WIDTH = WIDEST - 2 * MARGIN
DIGITS = DigitRule(largest=26.0, tall=0.6, usual=2.2, bold=True)
LARGEST_CELL, TOP_CELL, TOP_SIDE = 48.0, 56.0, 300.0
TIMES = "times the weights below it, and the products added up"
HEADS, LEAST_PITCH = 76.0, 26.0  # above the input; the smallest cells with a number beside them
ROWS, EQUALS, GAP = 84.0, 70.0, 22.0  # the labels at the left, the sign before the output, the input above the matrix


def plot_matrix(
    worked: Walkthrough,
    *,
    at: tuple[int, int] = (0, 0),
    channel: int = 0,
    look: LookName = "page",
    caption: bool = True,
) -> PageFigure:
    """Draw a convolution as a matrix that is multiplied by the input, written row after row.

    Args:
        worked: The result of ``work_out`` of a convolution or a transposed convolution; its ``matrix`` is drawn.
        at: The row and the column of the output cell whose row of the matrix is framed.
        channel: The output channel of that cell.
        look: ``page``, ``slide`` (1280 × 720 pixels, large type), ``dark`` or ``print``.
        caption: Whether identity and caption are drawn; without them they are only in the recipe.

    Raises:
        UsageError: It is a pool, there is no such cell, or the matrix has more than 144 rows or columns.

    Example:
        >>> worked = kernelviz.work_out(kernelviz.Convolution(3, 2), np.ones((3, 3)), [[1, 2], [3, 4]])
        >>> worked.matrix[0]
        array([1., 2., 0., 3., 4., 0., 0., 0., 0.])
        >>> figure = kernelviz.plot_matrix(worked)
    """
    from kernelviz.drawing.figures import draw_page

    found = as_matrix(worked, at=at, channel=channel)
    return draw_page(matrix_page(found), matrix_recipe(found), find_look(look, caption=caption))


@dataclass(frozen=True)
class MatrixForm:
    """A walkthrough in the form of a matrix; ``index`` (outputs, inputs) is the weight of each entry, −1 for none."""

    worked: Walkthrough
    index: Array
    at: tuple[int, int]
    channel: int

    @property
    def row(self) -> int:
        """The row of the framed cell."""
        _, rows, columns = self.worked.output.shape
        return int((self.channel * rows + self.at[0]) * columns + self.at[1])

    @cached_property
    def input_texts(self) -> Array:
        """(inputs,): the numbers of the input as they are written."""
        typed = self.worked.typed.get("input")
        return number_texts(self.worked.input.ravel(), None if typed is None else typed.ravel())

    @cached_property
    def entry_texts(self) -> Array:
        """(outputs, inputs): the weights as they are written; empty where there is none."""
        kernel, typed = self.worked.kernel, self.worked.typed.get("kernel")
        if kernel is None:
            raise TypeError(self.worked)
        texts = number_texts(kernel.ravel(), None if typed is None else typed.ravel())
        return np.append(texts, "")[self.index]  # −1 is the last

    @cached_property
    def results(self) -> Array:
        """(outputs,) of ``Decimal``."""
        return np.concatenate([self.worked.results(channel).ravel() for channel in range(len(self.worked.output))])

    @property
    def bias_text(self) -> str:
        """The bias of the framed cell; empty if there is none."""
        bias, typed = self.worked.bias, self.worked.typed.get("bias")
        if bias is None:
            return ""
        return ("" if typed is None else str(typed[self.channel])) or value_text(bias[self.channel])

    @property
    def sum_text(self) -> str:
        """``1×2 + 0×1 = 2``: the framed row times the input."""
        used = np.flatnonzero(self.index[self.row] >= 0)
        terms = [product_text(self.input_texts[at], self.entry_texts[self.row, at]) for at in used]
        terms += [factor_text(self.bias_text)] if self.bias_text else []
        result = self.results[self.row : self.row + 1]
        equals = equals_sign(self.worked.input.ravel()[used], self.worked.kernel, result)
        return f"{' + '.join(terms) or '0'} {equals} {value_text(result[0])}"

    @property
    def facts(self) -> str:
        """``9 × 16 = 144 entries: 36 connections, 4 weights; all other entries are 0``."""
        rows, columns = self.index.shape
        used, different = int((self.index >= 0).sum()), len(np.unique(self.index[self.index >= 0]))
        entries, links = counted(rows * columns, "entry", "entries"), counted(used, "connection")
        return f"{rows} × {columns} = {entries}: {links}, {counted(different, 'weight')}; all other entries are 0"


def as_matrix(worked: Walkthrough, *, at: tuple[int, int] = (0, 0), channel: int = 0) -> MatrixForm:
    """The form of a walkthrough as a matrix.

    Raises:
        UsageError: As for ``plot_matrix``.
    """
    operation = worked.operation
    if isinstance(operation, Pooling):
        raise UsageError("A pool is no matrix.", "It has no weights.", "Give a convolution.")
    shape = worked.output.size, worked.input.size
    if max(shape) > MOST:
        raise UsageError(
            f"The matrix would be {size_text(shape)}.",
            f"At most {MOST} rows and columns are shown, as of an input of 12 × 12.",
            "Choose a smaller input, or fewer channels.",
        )
    check_cell(operation.output_size, *at)
    worked.step(*at, channel)  # raises if there is no such channel
    index = np.full(shape, -1)
    for row, column, weight in connections(operation):
        index[row, column] = weight
    return MatrixForm(worked, index, at, channel)


def matrix_lines(found: MatrixForm) -> list[str]:
    """The matrix as lines of text."""
    worked = found.worked
    _, height, width = worked.output.shape
    texts = np.where(found.entry_texts == "", ".", found.entry_texts)
    wide = max(len(text) for text in (*texts.flat, *found.input_texts))
    outputs = number_texts(found.results)
    last = max(map(len, outputs))
    lines = [f"{_title(found)}: {_settings(found)}", "", found.facts]
    lines.append(
        "rows: cells of the output, columns: cells of the input, row after row; . is no weight, which counts as 0"
    )
    if isinstance(worked.operation, TransposedConvolution):
        lines.append(TRANSPOSED)
    indent = " " * 16
    lines += ["", f"{'input':<16}{' '.join(text.rjust(wide) for text in found.input_texts)}", ""]
    for number, (row, result) in enumerate(zip(texts, outputs, strict=True)):
        channel, at = divmod(number, height * width)
        name = f"row {at // width}, column {at % width}"
        if at == 0 and len(worked.output) > 1:
            lines.append(f"output channel {channel}")
        lines.append(f"{name:<16}{' '.join(text.rjust(wide) for text in row)} = {result.rjust(last)}")
    if worked.bias is not None:
        lines.append(f"{indent}plus the bias {', '.join(number_texts(worked.bias, worked.typed.get('bias')))}")
    lines += ["", f"row {found.at[0]}, column {found.at[1]}: {found.sum_text}"]
    return [*lines, *broken_notes(worked)]


TRANSPOSED = (
    "the matrix of the convolution with this kernel, stride and padding, transposed: rows and columns are swapped"
)


def matrix_entry(found: MatrixForm) -> dict[str, Any]:
    """The fields of the JSON document."""
    typed = found.worked.typed.get("kernel")
    return {
        "matrix": listed(found.worked.matrix, None if typed is None else np.append(typed, "")[found.index]),
        "matrix_weights": found.index.tolist(),
        "matrix_row": {"at": list(found.at), "channel": found.channel, "row": found.row, "text": found.sum_text},
    }


def matrix_recipe(found: MatrixForm) -> dict[str, Any]:
    """The recipe of the picture."""
    recipe = explaining_recipe(found.worked, view="matrix", at=found.at, channel=found.channel)
    return {**recipe, "shown": len(found.index), "total": len(found.index), "limits": _tint(found).limits}


def _tint(found: MatrixForm) -> Tint:
    """The colours of the page."""
    return page_tint(found.worked.input, found.worked.kernel, found.worked.output)


def _title(found: MatrixForm) -> str:
    return f"{name_text(found.worked.operation)} as a matrix"


def _settings(found: MatrixForm) -> str:
    operation = found.worked.operation
    return f"{size_text(operation.input_size)} input, {size_text(operation.kernel)} kernel, {settings_text(operation)}"


def matrix_page(found: MatrixForm, tallest: float = math.inf) -> Panel:
    """The convolution as it is drawn elsewhere, and below it the same as a matrix times the input.

    For a box of this height only the matrix.
    """
    worked = found.worked
    tint = _tint(found)
    alone = len(worked.input) > 1 or len(worked.output) > 1 or tallest < math.inf
    parts = [_product_panel(found, tint, tallest, with_bar=alone)]
    if not alone:
        parts.insert(0, _top(found, tint))
    body = stacked(parts, 34)
    lines = [found.facts, f"the framed row: {found.sum_text}"]
    room = max(body.width, 1280 - 2 * MARGIN)
    lines = [line for line in lines if text_width(line, SMALL) <= room]
    if isinstance(worked.operation, TransposedConvolution):
        lines.append(TRANSPOSED)
    origin = display_text(worked, worked.input, worked.kernel, found.results, marked="≈" in found.sum_text)
    texts = ["rows and columns are counted from 0", "grey: no weight, which counts as 0", origin, *broken_notes(worked)]
    fewer = [partial(refitted, partial(matrix_page, found))] if tallest == math.inf else []
    notices = broken_notes(worked)
    return worksheet(_title(found), _settings(found), body, [], texts, lines=lines, notices=notices, fewer=fewer)


def _top(found: MatrixForm, tint: Tint) -> Panel:
    """Input, kernel and output with the framed cell, and the scale of the colours."""
    worked, operation = found.worked, found.worked.operation
    shape = worked.input.shape[1:]
    bold: Array = found.index[found.row].reshape(shape) >= 0
    cells = Cells(worked.input[0], tint, found.input_texts.reshape(shape), bold)
    frames: list[Item] = []
    if not isinstance(operation, TransposedConvolution):
        window = operation.window(*found.at)
        cell = _top_cell(shape)
        inside = [
            range(side.start + max(0, -(side.start // side.step)) * side.step, min(side.stop, end), side.step)
            for side, end in zip(window, shape, strict=True)
        ]
        frames = window_frame(inside[0], inside[1], cell) if all(map(len, inside)) else []
    kernel = (np.zeros((1, 1)) if worked.kernel is None else worked.kernel)[0, 0]
    typed = worked.typed.get("kernel")
    weights = Cells(kernel, tint, number_texts(kernel, None if typed is None else typed[0, 0]))
    output = Cells(worked.output[0], tint, number_texts(worked.results(0)), _one(worked.output.shape[1:], found.at))
    made = "stamps" if isinstance(operation, TransposedConvolution) else "∗"
    parts = [
        _headed("input", cells, frames),
        sign("∗") if made == "∗" else space(70),
        _headed("kernel", weights),
        sign("=") if made == "∗" else space(70),
        _headed("output", output, [frame(*found.at, 1, 1, _top_cell(output.shape))]),
        space(60),
        tint_bar(tint, 220.0),
    ]
    return in_a_row(parts)


def _one(shape: tuple[int, ...], at: tuple[int, int]) -> Array:
    mask = np.zeros(shape, bool)
    mask[at] = True
    return mask


def _top_cell(shape: tuple[int, ...]) -> float:
    return min(TOP_CELL, TOP_SIDE / max(shape))


def _headed(name: str, cells: Cells, frames: list[Item] | None = None) -> LabelledPicture:
    panel = digits_panel(cells, _top_cell(cells.shape))
    if _top_cell(cells.shape) < TOP_CELL:
        panel = cells_panel(cells, _top_cell(cells.shape), digit_size([cells], _top_cell(cells.shape), DIGITS), DIGITS)
    return headed(Panel((*panel.items, *(frames or [])), panel.width, panel.height), name, size_text(cells.shape))


def _product_panel(found: MatrixForm, tint: Tint, tallest: float, *, with_bar: bool) -> Panel:
    """The input as a row above the matrix, and the output as a column beside it."""
    worked, columns = found.worked, found.index.shape[1]
    several = len(worked.output) > 1 or len(worked.input) > 1
    bar = tint_bar(tint, 220.0) if with_bar else None
    equals = "=" if worked.bias is None else "+ bias ="
    apart = max(EQUALS, text_width(equals, SUM) + 24)
    results = number_texts(found.results)
    longest = max(text_width(text, SMALL, bold=True) for text in (*results, "output")) + 12
    room = WIDTH - ROWS - apart - longest - (bar.width + 50 if bar else 0)
    cell = min(LARGEST_CELL, room / (columns + 1), (tallest - HEADS - GAP - 8) / (len(found.index) + 1))
    used: Array = found.index[found.row] >= 0
    bold: Array = np.zeros(found.index.shape, bool)
    bold[found.row] = used
    matrix = Cells(worked.matrix, tint, found.entry_texts, bold, blank=found.index < 0)
    size = digit_size([matrix], cell, DIGITS)
    row = Cells(worked.input.reshape(1, -1), tint, found.input_texts[None], used[None])
    column = Cells(worked.output.reshape(-1, 1), tint, results[:, None], np.any(bold, axis=1, keepdims=True))
    top = HEADS + cell + GAP
    panel = cells_panel(matrix, cell, size, DIGITS)
    wide = min(4.5, cell / 4)
    items = [*panel.items, *_blocks(found, cell), frame(found.row, 0, 1, columns, cell, width=wide)]
    placed = [*moved(cells_panel(row, cell, digit_size([row], cell, DIGITS), DIGITS), ROWS, HEADS)]
    placed += moved(Panel(tuple(items), 0, 0), ROWS, top)
    end, middle = ROWS + panel.width + apart, top + panel.height / 2
    digits = digit_size([column], cell, DIGITS)
    outputs = [*cells_panel(column, cell, digits, DIGITS).items, frame(found.row, 0, 1, 1, cell, width=wide)]
    width = end + max(cell, text_width("output", SMALL, bold=True))
    if not digits and cell >= LEAST_PITCH:  # the numbers are beside their cells
        outputs += [
            Text(cell + 12, (at + 0.5) * cell, text, SMALL, INK, bold=at == found.row, middle=True)
            for at, text in enumerate(results)
        ]
        width = max(width, end + cell + longest)
    placed += moved(Panel(tuple(outputs), 0, 0), end, top)
    what = "the input, row after row" if not several else "the input, channel after channel"
    after = Text(ROWS + text_width(what, HEAD, bold=True) + 16, 24, TIMES, SMALL, DIM)
    placed += [
        Text(ROWS + panel.width + apart / 2, middle, equals, SUM, DIM, align="center", middle=True),
        Text(ROWS, 24, what, HEAD, INK, bold=True),
        after,
        *_names(found, cell, top),
        Text(end + cell / 2, top - 14, "output", SMALL, INK, bold=True, align="center"),
    ]
    width = max(width, after.x + text_width(after.text, SMALL))
    if bar is not None:
        placed += bar.at(width + 50, top - 16)
        width += 50 + bar.width
    return Panel(tuple(placed), width, top + panel.height)


def _blocks(found: MatrixForm, cell: float) -> list[Item]:
    """Stronger lines between the rows of the input, and between those of the output."""
    rows, columns = found.index.shape
    across, down = found.worked.input.shape[2], found.worked.output.shape[2]
    lines = [(at * cell, 0.0, at * cell, rows * cell) for at in range(across, columns, across)] if across > 1 else []
    lines += [(0.0, at * cell, columns * cell, at * cell) for at in range(down, rows, down)] if down > 1 else []
    return [Strokes(tuple(lines), BORDER, min(2.4, cell / 8))] if lines else []


def _names(found: MatrixForm, cell: float, top: float) -> list[Item]:
    """Which row of the input and of the output each block is."""
    items: list[Item] = []
    _, height, width = found.worked.input.shape
    for block in range(found.index.shape[1] // width):
        text = f"row {block % height}"
        if width * cell > text_width(text, SMALL) + 12:
            items.append(Text(ROWS + (block + 0.5) * width * cell, 64, text, SMALL, DIM, align="center"))
    _, height, width = found.worked.output.shape
    for block in range(found.index.shape[0] // width):
        if width * cell > 30:
            y = top + (block + 0.5) * width * cell
            items.append(Text(ROWS - 14, y, f"row {block % height}", SMALL, DIM, align="right", middle=True))
    return items

"""The parts of a step's page: matrices, the sum behind one cell, the formula of the output's size."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from kernelviz.arithmetic.operations import Convolution, Pooling, TransposedConvolution
from kernelviz.arithmetic.windows import size_text
from kernelviz.drawing.page import INK, Item, Panel, Rule, Shape, Text, fitted, text_block, text_width, wrap
from kernelviz.drawing.worksheets import (
    DARK,
    DIM,
    FAINT,
    FORMULA,
    NARROWEST,
    SMALL,
    SUM,
    WORKSHEET_DIGITS,
    Cells,
    LabelledPicture,
    Tint,
    arrow_items,
    digit_size,
    digits_panel,
    foot_panels,
    frame,
    headed,
    page_tint,
    shortened_cells,
    window_frame,
)
from kernelviz.explain.texts import (
    bias_number,
    equals_sign,
    letter_values,
    number_texts,
    padding_text,
    plane_terms,
    rounding_text,
    rows_text,
    shortened,
    sum_numbers,
    weight_texts,
    window_texts,
    worked_text,
)
from kernelviz.wording import PART, factor_text, value_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kernelviz.arithmetic.operations import Operation
    from kernelviz.arithmetic.steps import Step
    from kernelviz.arithmetic.windows import Formula
    from kernelviz.explain.walkthrough import Walkthrough
    from kernelviz.records import Array


MARKS = 44.0  # the room for the marks of the stride above the canvas
LARGE = 16  # with at least this many rows or columns the window is enlarged beside the input
MOST_PRODUCTS = 64  # that are added up in one line
WIDEST_CELL = 140.0  # of cells that are larger than usual so that long numbers fit
BAR_GAP = 36.0
THIN_INSET, LEAST_THIN = 6.0, 36.0  # of the frame within a cell; the frame of a smaller cell is around it
SMALLEST_FRAME = 10.0


def legible_at(width: float) -> float:
    """The smallest type that is nine pixels high if a page of this width is shown 640 pixels wide."""
    return 9.0 * max(NARROWEST, width) / 640


def step_tint(worked: Walkthrough, step: Step, *, products: bool = False, pale: bool = True) -> Tint:
    """The scale of all pages of an output channel; with ``products`` it reaches the largest product, too."""
    data = worked.input[list(step.channels)]
    weights = step.weights
    more = [] if weights is None or not products else [
        float(np.abs(plane).max() * np.abs(kernel).max()) for plane, kernel in zip(data, weights, strict=True)
    ]  # fmt: skip
    return page_tint(data, weights, worked.output[step.channel], more=more, pale=pale)


def canvas_cells(worked: Walkthrough, step: Step, plane: int, tint: Tint) -> Cells:
    """One channel of the canvas; what takes part in the step is bold: the window, or what a maximum passes on."""
    canvas, operation = worked.canvas, worked.operation
    bold = np.zeros(canvas.padding.shape, bool)
    rows, columns = canvas.rows[step.at[0]], canvas.columns[step.at[1]]
    bold[rows.start : rows.stop : rows.step, columns.start : columns.stop : columns.step] = True
    values = canvas.values[plane]
    if isinstance(operation, Pooling):
        if operation.kind == "max":
            bold &= ~canvas.padding & (values == step.value)
        elif not operation.count_include_pad:
            bold &= ~canvas.padding
    texts = None
    if max(values.shape) < 2 * LARGE:
        texts = number_texts(values, None if canvas.texts is None else canvas.texts[plane])
    colours = grey_colours(worked, values)
    return Cells(values, tint, texts, bold, canvas.padding, canvas.stretched, canvas.unread, colours=colours)


def grey_colours(worked: Walkthrough, values: Array) -> Array | None:
    """(h, w, 3) uint8: values of the input as greys, if it is drawn as an image; else None."""
    if worked.greys is None:
        return None
    low, high = worked.greys
    shares = np.clip((np.nan_to_num(values) - low) / ((high - low) or 1.0), 0, 1)
    return np.repeat(np.rint(255 * shares).astype(np.uint8)[..., None], 3, axis=-1)


def output_cells(worked: Walkthrough, step: Step, tint: Tint, reached: int | None = None) -> Cells:
    """One channel of the output, the framed cell bold; in an animation, the cells after ``reached`` are empty."""
    values = worked.output[step.channel]
    empty, bold = np.zeros((2, *values.shape), bool)
    if reached is not None:
        empty.ravel()[reached + 1 :] = True
    bold[step.at] = True
    texts = number_texts(worked.results(step.channel)) if max(values.shape) < 2 * LARGE else None
    return Cells(values, tint, texts, bold, empty=empty)


def kernel_cells(step: Step, plane: int, tint: Tint) -> Cells:
    """One plane of the kernel as it slides; all of it takes part."""
    values = step.window[plane] if step.weights is None else step.weights[plane]
    texts = weight_texts(step)[plane]
    return Cells(values, tint, texts, np.ones(values.shape, bool))


def window_cells(worked: Walkthrough, step: Step, plane: int, tint: Tint) -> Cells:
    """The window alone; all of it takes part but padding that a pool leaves out."""
    values, bold = step.window[plane], np.ones(step.padding.shape, bool)
    if step.weights is None:
        bold = ~step.padding & ((values == step.value) if step.counted is None else True)
    colours = grey_colours(worked, values)
    return Cells(values, tint, window_texts(step)[plane], bold, step.padding, step.stretched, colours=colours)


def input_cells(worked: Walkthrough, plane: int, tint: Tint) -> Cells:
    """One channel of the input itself."""
    typed = worked.typed.get("input")
    values = worked.input[plane]
    texts = None
    if max(values.shape) < 2 * LARGE:
        texts = number_texts(values, None if typed is None else typed[plane])
    return Cells(values, tint, texts, colours=grey_colours(worked, values))


@dataclass(frozen=True)
class Look:
    """How the matrices of a page are drawn: the scale of their colours, the size of a cell, and the smallest type."""

    tint: Tint
    cell: float
    legible: float

    def legible_of(self, cells: Sequence[Cells], *, whole: bool = False) -> int:
        """The number of these matrices whose digits are legible; with ``whole`` none of them shortened."""
        if not whole:
            cells = [shortened_cells(each, self.cell, legible=self.legible) for each in cells]
        return sum(digit_size([each], self.cell, legible=self.legible) > 0 for each in cells)

    def panel(self, cells: Cells) -> Panel:
        """Cells with their digits at the size that fits, see ``digits_panel``."""
        return digits_panel(cells, self.cell, self.legible)


TURNED = "flipped"


def turned_text(operation: Operation) -> str:
    """What is beside the name of a kernel as it slides: its size, or that it is turned."""
    return TURNED if isinstance(operation, TransposedConvolution) else size_text(operation.kernel)


def output_matrix(
    worked: Walkthrough, step: Step, look: Look, reached: int | None, name: str = "output", *, sized: bool = True
) -> LabelledPicture:
    """The output with its cell in a frame; its size is in its head if it is ``sized``."""
    cells = output_cells(worked, step, look.tint, reached)
    panel = look.panel(cells)
    most = largest_frame(worked, step, look.cell) if reached is None else []
    framed = Panel((*panel.items, *most, frame(*step.at, 1, 1, look.cell)), panel.width, panel.height)
    return headed(framed, name, size_text(cells.shape) if sized else "")


def largest_frame(worked: Walkthrough, step: Step, cell: float) -> list[Item]:
    """A thin frame within the cell in which the response of a convolution is largest, or around it if it is small.

    None if that is the framed cell, or its number leaves no room.
    """
    found = worked.largest(step.channel) if isinstance(worked.operation, Convolution) else None
    if found is None or found[0] == step.at or not cell:
        return []
    if cell < LEAST_THIN:  # such cells have no numbers
        beyond, (row, column) = max(0.0, SMALLEST_FRAME / cell - 1) / 2, found[0]
        return [frame(row - beyond, column - beyond, 1 + 2 * beyond, 1 + 2 * beyond, cell, width=2.0)]
    inset, (row, column) = THIN_INSET / cell, found[0]
    size = min(WORKSHEET_DIGITS.largest, WORKSHEET_DIGITS.tall * cell)
    number = text_width(value_text(worked.results(step.channel)[row, column]), size)
    if number > cell - 2 * THIN_INSET - 6:
        return []
    return [frame(row + inset, column + inset, 1 - 2 * inset, 1 - 2 * inset, cell, width=2.0)]


def canvas_matrix(worked: Walkthrough, step: Step, look: Look, *, sized: bool = True) -> LabelledPicture:
    """The canvas with the window in a frame, the stride above it, and a note about cells that are never read below it.

    Its size is in its head if it is ``sized``.
    """
    canvas = worked.canvas
    panel = look.panel(canvas_cells(worked, step, step.channels[0], look.tint))
    marks = stride_marks(worked, step, look.cell)
    rows, columns = canvas.rows[step.at[0]], canvas.columns[step.at[1]]
    items = (*panel.items, *marks, *window_frame(rows, columns, look.cell, halo=worked.greys is not None))
    name, size = canvas_name(worked)
    lift = MARKS if marks else 0.0
    below = never_read(worked)
    return headed(Panel(items, panel.width, panel.height), name, size if sized else "", lift=lift, below=below)


def canvas_name(worked: Walkthrough) -> tuple[str, str]:
    """The name of the canvas, and its size."""
    operation = worked.operation
    if isinstance(operation, TransposedConvolution):
        *others, last = [""] + [
            word
            for word, there in (
                ("stretched", operation.stride != (1, 1)),
                ("padded", max(operation.implicit_padding) > 0),
                ("cut", min(operation.implicit_padding) < 0),
            )
            if there
        ]
        padded = " and ".join(filter(None, [", ".join(filter(None, others)), last]))
        return padded or "input", size_text(worked.canvas.padding.shape)
    size = size_text(operation.input_size)
    if not any(operation.padding):
        return "input", size
    return "input", f"{size}, {padding_text(operation)}" if len(set(operation.padding)) == 1 else f"{size}, padded"


def never_read(worked: Walkthrough) -> str:
    """Why some cells are hatched; empty if none is."""
    if not worked.canvas.unread.any():
        return ""
    operation = worked.operation
    if isinstance(operation, TransposedConvolution):
        return "hatched: never read"
    over = " left over" if operation.unread == operation.left_over else ""
    return f"never read: {rows_text(operation.unread)}{over}"


def stride_marks(worked: Walkthrough, step: Step, cell: float) -> list[Item]:
    """Marks at the first column of each window, and an arrow from this window to the next; none for a stride of 1."""
    operation, columns = worked.operation, worked.canvas.columns
    if isinstance(operation, TransposedConvolution) or operation.stride[1] == 1 or len(columns) < 2:
        return []
    if getattr(operation, "adaptive", None):
        return []
    items: list[Item] = []
    for at, window in enumerate(columns):
        x = window.start * cell
        points = ((x - 7, -18.0), (x + 7, -18.0), (x, -6.0))
        items.append(Shape(points, DARK if at == step.at[1] else "other step"))
    first = min(step.at[1], len(columns) - 2)
    x0, x1 = columns[first].start * cell + 10, columns[first + 1].start * cell - 10
    word = f"stride {operation.stride[1]}"
    items += arrow_items(x0, -14, x1, 2.4) if x1 - x0 > 16 else [Rule(x0, -14, x1, -14, DIM, 2)]
    half = text_width(word, SMALL) / 2
    middle = max((x0 + x1) / 2, half)
    items.append(Text(middle, -25, word, SMALL, DIM, align="center"))
    return items


def framed_text(step: Step) -> str:
    """``the framed cell, row 0, column 1 (counted from 0)``."""
    return f"the framed cell, row {step.at[0]}, column {step.at[1]} (counted from 0)"


def sum_panel(step: Step, room: float, *, widest: tuple[float, float] | None = None) -> Panel:
    """How the framed cell is computed: the terms in the rows of the kernel, the result bold, below them the products.

    ``widest`` holds the widths of the longest term and result of all steps, so that nothing moves from step to step. The
    line of products is left out if it does not fit.
    """
    heading = framed_text(step)
    items: list[Item] = [Text(0, SMALL, heading, SMALL, DIM)]
    terms = plane_terms(step, 0)
    _, height, width = step.window.shape
    columns = [max(text_width(text, SUM) for text in terms[at::width]) for at in range(width)]
    if widest:
        columns = [max(widest[0], *columns)] * width
    plus, tail = text_width(" + ", SUM), 20.0
    value = value_text(step.exact)
    bias = "" if step.bias is None else f"{factor_text(bias_number(step))} bias"
    result = max(widest[1] if widest else 0.0, text_width(value, FORMULA, bold=True))
    whole = sum(columns) + width * plus + text_width("=", SUM) + 2 * tail + result
    whole += text_width(bias, SUM) if bias else -plus
    if len(step.window) > 1 or height > 5 or whole > room:
        return _one_line(step, heading, room)
    y = SMALL + 44.0
    for i in range(height):
        x = 0.0
        for j, term in enumerate(columns):
            items.append(Text(x + term, y, terms[i * width + j], SUM, DARK, align="right"))
            x += term
            if (i, j) != (height - 1, width - 1) or bias:
                items.append(Text(x + plus / 2, y, "+", SUM, FAINT, align="center"))
            x += plus
        if i == height - 1:
            if bias:
                items.append(Text(x, y, bias, SUM, DARK))
                x += text_width(bias, SUM) + tail
            items.append(Text(x, y, equals_sign(*sum_numbers(step)), SUM, FAINT))
            items.append(Text(x + text_width("=", SUM) + tail, y, value, FORMULA - 1, INK, bold=True))
        y += 38
    panel = Panel(tuple(items), max(whole, text_width(heading, SMALL) + 8), y - 26)
    return _with_products(panel, step, panel.width if widest else min(room, 560.0))


def _with_products(panel: Panel, step: Step, room: float) -> Panel:
    """The panel with the products added up below it, if they fit; the space is there in any case."""
    line, below = worked_text(step) if step.window.size <= MOST_PRODUCTS else "", panel.height + 36
    wide = text_width(line, SMALL)
    if not line or wide > room:
        return Panel(panel.items, panel.width, below if line else panel.height)
    return Panel((*panel.items, Text(0, below - 4, line, SMALL, DIM)), max(panel.width, wide), below)


def _one_line(step: Step, heading: str, room: float) -> Panel:
    """The first terms and the last ones of a long sum."""
    terms = [term for plane in range(len(step.window)) for term in plane_terms(step, plane)]
    head = Text(0, SMALL, f"{heading}: {len(terms):,} products", SMALL, DIM)
    bias = [] if step.bias is None else [factor_text(bias_number(step))]
    value = value_text(step.exact)
    end = 30 + text_width("=", SUM) + text_width(value, FORMULA, bold=True)
    shown, most = terms, len(terms)
    while text_width(" + ".join(shown + bias), SUM) + end > room and most > 2:
        most = min(most, 12) - 1
        shown = shortened(terms, most) if most > 2 else [terms[0], "…"]
    text = " + ".join(shown + bias)
    x = text_width(text, SUM)
    equals = equals_sign(*sum_numbers(step))
    items: list[Item] = [head, Text(0, SMALL + 44, text, SUM, DARK), Text(x + 14, SMALL + 44, equals, SUM, FAINT)]
    items.append(Text(x + 30 + text_width("=", SUM), SMALL + 44, value, FORMULA - 1, INK, bold=True))
    return Panel(tuple(items), max(x + end, text_width(head.text, SMALL) + 8), SMALL + 54)


def formula_panel(formulas: tuple[Formula, Formula], room: float) -> Panel:
    """The size of the output: in numbers as it is written by hand, in letters under it, and what the letters are."""
    rows, columns = formulas
    items: list[Item] = [Text(0, SMALL, "the size of the output", SMALL, DIM)]
    if rows == columns and rows.denominator:
        return _with_letters(_fraction(rows, items, room), formulas, room)
    y, widest = SMALL + 10.0, 0.0
    texts = [rows.text] if rows == columns else [f"rows: {rows.text}", f"columns: {columns.text}"]
    size = min(FORMULA - 3, *((room - 20) / text_width(text, 1.0, bold=True) for text in texts))
    if size < SMALL:
        words, y = text_block([line for text in texts for line in wrap(text, SMALL, room)], 0, y + 4, SMALL, colour=INK)
        items, texts, widest = [*items, *words], [], room
    for text in texts:
        before, equals, result = text.rpartition(" = ")
        y += 40
        items.append(Text(0, y, (before + equals).rstrip() or text, size, INK))
        if equals:
            x = text_width(before + equals, size)
            items.append(Text(x + 16, y, result, size, INK, bold=True))
        widest = max(widest, text_width(text, size, bold=True) + 16)
    same = rows.where == columns.where
    where = (
        rows.where
        if same
        else [f"{name}: {each}" for name, one in zip(("rows", "columns"), formulas, strict=True) for each in one.where]
    )
    lines = [*dict.fromkeys((rows.letters, columns.letters)), *where, rounding_text(formulas)]
    return _with_letters(_letters(items, lines, y + 12, widest, room), formulas, room)


def _fraction(formula: Formula, items: list[Item], room: float) -> Panel:
    top, x = SMALL + 16.0, 22.0
    width = text_width(formula.numerator, FORMULA) + 10
    middle = top + 46
    low, high = top + 4, top + 88
    right = x + width + 22
    ends = {"floor": (high,), "ceil": (low,), "": ()}[formula.rounding]
    for edge, inward in ((4.0, 9.0), (right, -9.0)):
        items.append(Rule(edge, low, edge, high, INK, 2.2))
        items += [Rule(edge, end, edge + inward, end, INK, 2.2) for end in ends]
    items.append(Text(x + width / 2, middle - 12, formula.numerator, FORMULA, INK, align="center"))
    items.append(Rule(x, middle, x + width, middle, INK, 2))
    items.append(Text(x + width / 2, middle + 34, formula.denominator, FORMULA, INK, align="center"))
    after = f"{formula.tail.strip()}  ="
    items.append(Text(right + 14, middle + 10, after, FORMULA, INK))
    x = right + 40 + text_width(after, FORMULA)
    items.append(Text(x, middle + 10, str(formula.result), FORMULA, INK, bold=True))
    signs = rounding_text((formula, formula))
    letters = f"{formula.letters}     {signs}" if signs else formula.letters
    lines = [letters] if text_width(letters, SMALL) <= room else [formula.letters, signs]
    return _letters(items, [*lines, *formula.where], high + 6, x + text_width("000", FORMULA), room)


def _letters(items: list[Item], lines: Sequence[str], y: float, width: float, room: float) -> Panel:
    broken = [part for line in lines if line for part in wrap(line, SMALL, room)]
    words, bottom = text_block(broken, 0, y, SMALL, colour=DIM)
    wide = max(width, *(text_width(line, SMALL) for line in broken))
    return Panel((*items, *words), wide, bottom)


def _with_letters(panel: Panel, formulas: tuple[Formula, Formula], room: float) -> Panel:
    """The formula with its letters, their names and values at its right, or below it if they do not fit there."""
    letters = letter_values(formulas)
    first = 12 + max(text_width(letter, SMALL, bold=True) for letter, _, _ in letters)
    name = max(text_width(name, SMALL) for _, name, _ in letters) + 16
    wide = first + name + max(text_width(value, SMALL) for _, _, value in letters)
    left = panel.width + (44 if panel.width + 44 + wide <= room else 28)
    if left + wide > room:
        lines = fitted(PART.join(" ".join(each) for each in letters), SMALL, room)
        words, bottom = text_block(lines, 0, panel.height, SMALL, colour=DIM)
        return Panel((*panel.items, *words), max(panel.width, *(text_width(each, SMALL) for each in lines)), bottom)
    items: list[Item] = []
    for at, (letter, what, value) in enumerate(letters):
        y = SMALL + 30 + 28.0 * at
        items += [
            Text(left, y, letter, SMALL, INK, bold=True),
            Text(left + first, y, what, SMALL, DIM),
            Text(left + wide, y, value, SMALL, DIM, align="right"),
        ]
    return Panel((*panel.items, *items), left + wide, max(panel.height, SMALL + 10 + 28.0 * len(letters)))


NARROWEST_FORMULA = 420.0


def sum_and_formula(
    left: Panel, formulas: tuple[Formula, Formula], preferred: float, room: float
) -> list[tuple[float, Panel]]:
    """The sum and the size of the output at the foot of a page, beside each other if the formula can be that narrow."""
    foot, rest = foot_panels(left, formula_panel(formulas, room), preferred, room), room - left.width - 40
    if len(foot) == 1 and rest >= NARROWEST_FORMULA:
        narrow = foot_panels(left, formula_panel(formulas, rest), preferred, room)
        foot = narrow if len(narrow) == 2 else foot
    return foot


INPUT_RATIO, OUTPUT_RATIO = 8, 4  # how many times as long as wide the part is at most


def part_around(shape: tuple[int, int], spans: Sequence[range], times: int) -> tuple[range, range]:
    """The rows and the columns that are drawn, around these spans; the long side is at most ``times`` the short one.

    The part moves in leaps, so that consecutive frames of an animation mostly show the same part.
    """
    rows, columns = (
        _along(side, span, max(times * min(shape), 2 * len(span))) for side, span in zip(shape, spans, strict=True)
    )
    return rows, columns


def _along(side: int, span: range, most: int) -> range:
    length = min(side, most)
    leap = max(1, (length - len(span)) // 2)
    middle = (span[0] + span[-1]) // 2
    start = middle // leap * leap - (length - leap) // 2
    start = max(0, min(start, side - length))
    return range(start, start + length)


def cut_cells(cells: Cells, rows: range, columns: range) -> Cells:
    """These rows and columns, with the same colours."""
    part = slice(rows.start, rows.stop), slice(columns.start, columns.stop)
    names = (
        "texts",
        "bold",
        "padding",
        "stretched",
        "unread",
        "empty",
        "hidden",
        "short",
        "pending",
        "blank",
        "colours",
    )
    masks = {name: getattr(cells, name) for name in names if getattr(cells, name) is not None}
    return replace(cells, values=cells.values[part], **{name: mask[part] for name, mask in masks.items()})


def part_text(name: str, shape: tuple[int, int], part: tuple[range, range], first: tuple[int, int] = (0, 0)) -> str:
    """``columns 9 to 32 of the input``, numbered from ``first``; empty if all is drawn."""
    texts = [
        f"{noun} {each.start - zero} to {each[-1] - zero} of the {name}".replace("-", "−")
        for noun, each, side, zero in zip(("rows", "columns"), part, shape, first, strict=True)
        if len(each) < side
    ]
    return " and ".join(texts)

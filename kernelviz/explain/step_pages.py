"""The page of one step: as numbers, as one row per channel, or with the window enlarged."""

from __future__ import annotations

import math
from dataclasses import replace
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from kernelviz.arithmetic.operations import Pooling, TransposedConvolution
from kernelviz.arithmetic.steps import exact_sum, largest
from kernelviz.arithmetic.windows import size_text
from kernelviz.drawing.page import (
    INK,
    Item,
    PageParts,
    Panel,
    Rule,
    Shape,
    Text,
    drawn_width,
    moved,
    text_block,
    text_width,
    wrap,
)
from kernelviz.drawing.worksheets import (
    CELL,
    DARK,
    DIM,
    FORMULA,
    HEAD,
    HEADER,
    LEGIBLE,
    MARGIN,
    NARROWEST,
    SIGN,
    SMALL,
    SUM,
    WIDEST,
    Cells,
    LabelledPicture,
    ShortText,
    Tint,
    arrow,
    arrow_items,
    cells_panel,
    digit_size,
    digits_panel,
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
    titled,
    window_frame,
    with_tint_bar,
    worksheet,
)
from kernelviz.explain.step_parts import (
    BAR_GAP,
    INPUT_RATIO,
    LARGE,
    MOST_PRODUCTS,
    OUTPUT_RATIO,
    TURNED,
    WIDEST_CELL,
    Look,
    canvas_cells,
    canvas_matrix,
    canvas_name,
    cut_cells,
    formula_panel,
    framed_text,
    input_cells,
    kernel_cells,
    largest_frame,
    legible_at,
    output_cells,
    output_matrix,
    part_around,
    part_text,
    step_tint,
    sum_and_formula,
    sum_panel,
    turned_text,
    window_cells,
)
from kernelviz.explain.texts import (
    LEFT_OUT,
    POWER,
    SCALE,
    SCALE_BESIDE,
    SHORTENED,
    bias_and_result,
    bias_number,
    broken_notes,
    display_text,
    equals_sign,
    gap_text,
    greys_text,
    largest_text,
    left_over_text,
    macs_text,
    name_text,
    number_texts,
    settings_text,
    star_text,
    step_parts,
    sum_numbers,
    uneven_text,
    weight_texts,
    weights_text,
)
from kernelviz.wording import PART, factor_text, value_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kernelviz.arithmetic.operations import Operation
    from kernelviz.arithmetic.steps import Step
    from kernelviz.explain.walkthrough import Walkthrough
    from kernelviz.records import Array


BIGGEST, GAP, ROWS = 66.0, 60.0, 6
TALL_ROWS = 4  # in one column; more channels are in two columns
CLOSE_GAP, BETWEEN_COLUMNS = 32.0, 32.0  # of two columns
MAP, EQUATION = 150.0, 660.0  # the side of the map of the window, and the widest sum, below them
SMALLEST = 24.0  # cells of products without digits
LEGIBLE_CELL = 46.0  # in which short numbers are legible
OUTPUT = 190.0
MOST_TRIES = 12  # to lay out the channels within the widest page: each narrows the wide columns only


def channels_page(worked: Walkthrough, step: Step, reached: int | None, tallest: float = math.inf) -> Panel:
    """Window × kernel = products, one sum per channel, and the sums and the bias added up to the output cell."""
    operation, moving = worked.operation, reached is not None
    grid = ChannelGrid(worked, step, moving=moving, tallest=tallest)
    body = (_channels_in_two_columns if grid.beside else _channels_body)(grid, reached)
    reserved = 0.0
    for _ in range(MOST_TRIES):  # the bar may be beside the output, and heads may be wider than their matrices
        if grid.beside or body.width <= WIDEST - 2 * MARGIN:
            break
        reserved += body.width - WIDEST + 2 * MARGIN
        grid = ChannelGrid(worked, step, moving=moving, reserved=reserved, tallest=tallest)
        body = _channels_body(grid, reached)
    many = f"{len(step.channels)} input channels, one kernel plane each, one sum; {settings_text(operation)}"
    many = PART.join([many, grid.choice] if grid.choice else [many])
    title = name_text(operation)
    if isinstance(operation, TransposedConvolution):
        title += " as a convolution"
    lines = [
        framed_text(step),
        *scale_lines(operation, "× Σ", greys=greys_text(worked)),
    ]
    note = number_note(worked, step, [step.exact_products, step.exact_sums], drawn=[body])
    texts = [*notes(worked, step, reached, cells=grid.whole, thin=grid.output_cell), *cut_notes(worked, step), note]
    n = len(step.channels)
    notices = [*([f"{grid.shown} of {n:,} channels"] if grid.shown < n else []), *broken_notes(worked)]
    fewer = [partial(refitted, partial(channels_page, worked, step, reached))] if tallest == math.inf else []
    count = counted(worked, step)
    aside = f"{n:,} input channels; {settings_text(operation)}"
    return worksheet(
        title, many, body, [], texts, counted=count, lines=lines, notices=notices, fewer=fewer, aside=aside
    )


def _channels_body(grid: ChannelGrid, reached: int | None) -> Panel:
    """The rows of the channels, the output with the scale of the colours, and the size of the output."""
    items: list[Item] = grid.heads()
    y = 40.0
    for plane in grid.order:
        items += grid.row(plane, y)
        y += grid.pitch
    y -= grid.pitch - grid.tall - (44 if grid.shown == len(grid.step.channels) else 64)
    tail, below = grid.total(y)
    items += tail
    output = grid.output(reached)
    x, tall = grid.right + 62, output.size[0]
    middle = max(below - 14, 60 + tall / 2)
    above = middle - tall / 2 - output.above - 70
    if above >= 170:
        position = window_map(grid, MAP)
        spare = above - position.height - 70
        mapped = not grid.whole and spare >= 170
        bar = tint_bar(grid.tint, min(385.0, spare if mapped else above))
        items += bar.at(x, 40)
        if mapped:  # where the window is, as the input is not drawn
            items += position.at(x, 40 + bar.height + 40)
    else:  # beside the output
        bar = tint_bar(grid.tint, max(200.0, min(tall, 385.0)))
        middle = max(middle, 20 + bar.size[0] / 2)
        items += bar.centred_at(x + output.width + BAR_GAP, middle)
        output = replace(output, width=output.width + BAR_GAP + bar.width)
    items += output.centred_at(x, middle)
    sign_left = [
        item.x - text_width(item.text, item.size) for item in tail if isinstance(item, Text) and item.text == "≈"
    ]
    foot = y
    if not grid.boxed:
        formula = formula_panel(grid.worked.operation.formulas, min([grid.sums - 120, *(x - 30 for x in sign_left)]))
        items += moved(formula, 0, y + 16)
        foot = y + 16 + formula.height
    height = max(below + 10, foot, middle + tall / 2 + output.below, middle + 110)
    return Panel(tuple(items), x + max(output.width, bar.width), height)


def _channels_in_two_columns(grid: ChannelGrid, reached: int | None) -> Panel:
    """The rows of the channels in two columns; below them where the window is, the sum, the output and its size."""
    half = -(-len(grid.order) // 2)
    items: list[Item] = []
    for column, planes in enumerate((grid.order[:half], grid.order[half:])):
        part = grid.heads()
        for row, plane in enumerate(planes):
            part += grid.row(plane, 40.0 + row * grid.pitch)
        if not column:  # the sum goes on at the top of the next column
            part.append(
                Text(grid.sums + 60, 40.0 + half * grid.pitch - 26, "+", SUM + 6, DIM, align="right", middle=True)
            )
        items += moved(Panel(tuple(part), 0, 0), column * (grid.column + BETWEEN_COLUMNS), 0)
    width = 2 * grid.column + BETWEEN_COLUMNS
    y = 40.0 + half * grid.pitch + 64
    position = window_map(grid, MAP)
    output, bar = grid.output(reached), tint_bar(grid.tint, OUTPUT)
    right = width - bar.width - BAR_GAP - output.width
    tall = max(position.size[0], output.size[0], OUTPUT)
    items += [
        *position.at(0, y - position.above),
        *output.at(right, y - output.above),
        *bar.at(width - bar.width, y - bar.above),
    ]
    left = max(position.width, 180.0) + GAP
    equation, _, end = grid.equation(left, y + 20)
    items += [*equation, *arrow_items(end + 18, y + 48, right - 14)]
    formula = formula_panel(grid.worked.operation.formulas, right - 40 - left)
    items += moved(formula, left, y + 100)
    return Panel(tuple(items), width, y + max(tall + 10, 100 + formula.height))


def window_map(grid: ChannelGrid, side: float) -> LabelledPicture:
    """The first channel that is drawn as colours within a box, with the window in a frame."""
    worked, step = grid.worked, grid.step
    channel = step.channels[grid.order[0]]
    cells = canvas_cells(worked, step, channel, grid.tint)
    part = part_around(cells.shape, window_span(worked, step), INPUT_RATIO)
    cells = cut_cells(cells, *part)
    marked, cell = window_box(worked, step, part), side / max(cells.shape)
    panel = cells_panel(cells, cell, 0)
    frames = frame(*marked, cell, colour=WHITE, width=7), frame(*marked, cell, width=3.4)
    picture = Panel((*panel.items, *frames), panel.width, panel.height)
    return titled(f"input, channel {channel}", "", picture, [size_text(worked.operation.input_size)])


def scale_lines(operation: Operation, sign: str | None = None, *, greys: str = "") -> list[str]:
    """The first lines of the caption: what the sign between input and kernel means, and the colours.

    An empty sign states how results are computed; None leaves both out. ``greys`` is about an input drawn as an image.
    """
    star = [star_text(operation, sign)] if sign is not None and not isinstance(operation, Pooling) else []
    return [*star, f"{greys}; {SCALE_BESIDE}" if greys else SCALE]


def number_note(
    worked: Walkthrough, step: Step, made: Sequence[Array | None] = (), *, drawn: Sequence[Panel], text: str = ""
) -> str:
    """Where the numbers come from and whether any is rounded; ``made`` are others than of input, kernel and output.

    ``drawn`` are the panels of the page, and ``text`` its other words, in which ``≈`` may be.
    """
    items = [item for panel in drawn for item in panel.items if isinstance(item, Text)]
    words, short = [text, *(item.text for item in items)], [item.text for item in items if isinstance(item, ShortText)]
    known = [worked.input[list(step.channels)], step.weights, None if step.bias is None else np.array([step.bias])]
    if max(worked.operation.output_size) < 2 * LARGE:  # a larger one is drawn without numbers
        known.append(worked.results(step.channel))
    shown = [values for values in known if values is not None and max(values.shape) < 2 * LARGE]
    result, marked = np.array([step.exact], object), any("≈" in word for word in words)
    note = display_text(worked, *shown, *made, result, marked=marked)
    shortened = [SHORTENED, *([POWER] if "e" in "".join(short) else []), *([LEFT_OUT] if "…" in short else [])]
    return f"{note}; {', '.join(shortened)}" if short else note


def page_numbers(worked: Walkthrough, step: Step) -> list[Array | None]:
    """The numbers of the input, the kernel and the output of a page, and its bias."""
    return [worked.input[list(step.channels)], step.weights, *bias_and_result(step), worked.results(step.channel)]


def products_of(step: Step) -> list[Array | None]:
    """The products that a page writes out: those of one channel with few weights."""
    return [step.exact_products] if step.weights is not None and step.window.size <= MOST_PRODUCTS else []


def chosen_planes(step: Step, *, moving: bool, most: int = ROWS) -> tuple[tuple[int, ...], str]:
    """The channels that are drawn, and a text about the choice.

    Of many, those that contribute most, the largest first; with ``moving`` those with the largest weights, which are the
    same in all steps.
    """
    n = len(step.channels)
    if n <= most or step.sums is None or step.weights is None:
        return tuple(range(n)), ""
    order = largest(np.square(step.weights).sum(axis=(1, 2)), most) if moving else step.strongest(most)
    what = "largest weights" if moving else "largest |sum|"
    return order, f"the {most} channels with the {what} of {n:,}, largest first"


class ChannelGrid:
    """The layout of the matrices of all channels."""

    def __init__(
        self,
        worked: Walkthrough,
        step: Step,
        *,
        moving: bool,
        reserved: float = 0.0,
        tallest: float = math.inf,
    ) -> None:
        self.worked, self.step = worked, step
        self.boxed = tallest < math.inf
        least = step.window.shape[1] * LEGIBLE_CELL + 52
        most = ROWS if tallest == math.inf else max(1, min(ROWS, int((tallest - 240) / least)))
        self.order, self.choice = chosen_planes(step, moving=moving, most=most)
        self.biggest = max(SMALLEST, min(BIGGEST, ((tallest - 240) / most - 52) / step.window.shape[1]))
        self.products, self.exact_sums = step.exact_products, step.exact_sums
        self.sum_texts = [] if self.exact_sums is None else [*number_texts(self.exact_sums)]
        self.product_texts = number_texts(step.window if self.products is None else self.products)
        height, width = worked.canvas.padding.shape
        self.tint = step_tint(worked, step, products=True)
        rows, columns = step.window.shape[1:]
        self.beside = False  # whether the rows are in two columns
        if len(self.order) > TALL_ROWS and not self.boxed:
            if self._in_two_columns(rows, columns):
                return
            self.order, self.choice = chosen_planes(step, moving=moving, most=TALL_ROWS)
        self.shown, self.gap = len(self.order), GAP
        widest = max(
            text_width(f"+ ({text})", SUM + 5, bold=True) for text in (*self.sum_texts, value_text(step.exact))
        )
        room = WIDEST - 2 * MARGIN - 2 * GAP - max(60, widest) - 270 - OUTPUT - reserved
        self.whole, self.cells = max(height, width) < LARGE and tallest == math.inf, []
        self.cells = self._cells_within(room, (width, columns, columns)) if self.whole else []
        if not self.cells:
            self.whole = False
            self.cells = self._cells_within(room, (columns, columns, columns))
        if not self.cells:
            self.cells = [min(self.biggest, room / (3 * columns))] * 3
        if not any(self.sizes):
            self.tint = replace(self.tint, pale=False)
        first = (height, width) if self.whole else (rows, columns)
        self.tall = max(first[0] * self.cells[0], rows * self.cells[1])
        self.pitch = self.tall + 52
        self.lefts = [0.0]
        heads = 150, 200 if isinstance(worked.operation, TransposedConvolution) else 150
        for wide, cell, head in zip((first[1], columns), self.cells, heads, strict=False):
            self.lefts.append(self.lefts[-1] + max(wide * cell, head) + self.gap)
        self.sums = self.lefts[2] + max(columns * self.cells[2], 150) + max(60, widest)
        self.right = self.sums + 110
        self.drawn_sizes = self.sizes

    def _in_two_columns(self, rows: int, columns: int) -> bool:
        """Lay the channels out in two columns of windows, kernels and products, if all windows and kernels have digits."""
        self.column = (WIDEST - 2 * MARGIN - BETWEEN_COLUMNS) / 2
        widest = max(text_width(text, SUM + 5, bold=True) for text in (*self.sum_texts, "−000"))
        added = 76 + widest
        self.whole, self.cells, self.shown, self.gap = False, [], len(self.order), CLOSE_GAP
        room = self.column - 2 * CLOSE_GAP - added
        self.cells = self._cells_within(room, (columns, columns, columns))
        if not self.cells or self.equation(0, 0)[1] > EQUATION:
            return False
        heads = [text_width(name, HEAD, bold=True) for name in ("window", "kernel", "products")]
        widths = [max(columns * cell, head) for cell, head in zip(self.cells, heads, strict=True)]
        if sum(widths) > room:
            return False
        self.beside = True
        self.tall = rows * max(self.cells)
        self.pitch = self.tall + 52
        self.lefts = [0.0, widths[0] + CLOSE_GAP, widths[0] + widths[1] + 2 * CLOSE_GAP]
        self.sums = self.right = self.lefts[2] + widths[2] + added - 60
        self.drawn_sizes = self.sizes
        return True

    @property
    def rest_sum(self) -> Decimal:
        """What the channels that are not shown contribute; beyond every float it is ∞ only if the result is, too."""
        sums = () if self.exact_sums is None else np.delete(self.exact_sums, self.order)
        return exact_sum(sums, within_floats=not math.isfinite(self.step.value))

    def equation(self, x: float, y: float) -> tuple[list[Item], float, float]:
        """The sums in one line, below it the other channels, the bias and the result; their width, and where they end."""
        step, rest = self.step, len(self.step.channels) - self.shown
        first = " + ".join(factor_text(self.sum_texts[plane]) for plane in self.order)
        words: list[tuple[str, float, bool]] = []
        added: list[Array | None] = [None if self.exact_sums is None else self.exact_sums[[*self.order]]]
        if rest and self.exact_sums is not None:
            rest_sum = self.rest_sum
            words += [(f"+ {factor_text(value_text(rest_sum))}", SUM, True), (f"the other {rest:,}", SMALL, False)]
            added.append(np.array([rest_sum], object))
        if step.bias is not None:
            words += [(f"+ {factor_text(bias_number(step))}", SUM, True), ("bias", SMALL, False)]
        words += [(equals_sign(*added, *bias_and_result(step)), SUM, False), (value_text(step.exact), FORMULA, True)]
        items: list[Item] = [Text(x, y, first, SUM, INK)]
        end = x
        for text, size, bold in words:
            items.append(Text(end, y + 38, text, size, INK if bold else DIM, bold))
            end += text_width(text, size, bold=bold) + 12
        return items, max(end - 12 - x, text_width(first, SUM)), end - 12

    @property
    def columns(self) -> list[tuple[Cells, ...]]:
        """The matrices of the inputs, of the kernels and of the products."""
        return [*zip(*(self._cells(plane) for plane in self.order), strict=True)]

    @property
    def sizes(self) -> list[float]:
        """The sizes of digits: one for the inputs, one for the kernels, one for the products."""
        return [digit_size(column, cell) for column, cell in zip(self.columns, self.cells, strict=True)]

    def _cells_within(self, room: float, widths: tuple[int, int, int]) -> list[float]:
        """Cells for the three columns that leave the digits legible, in products only if possible; empty if none do."""
        least = [legible_cell(column, SMALLEST, self.biggest) for column in self.columns]
        if not all(least[:2]):
            return []
        for cells in (least, [*least[:2], SMALLEST]):
            total = sum(cell * width for cell, width in zip(cells, widths, strict=True))
            if all(cells) and total <= room:
                return [min(self.biggest, cell * room / total) for cell in cells]
        return []

    def _cells(self, plane: int) -> list[Cells]:
        step, channel = self.step, self.step.channels[plane]
        if step.weights is None or step.products is None:
            raise TypeError(step)
        whole = self.whole
        seen = (
            canvas_cells(self.worked, step, channel, self.tint)
            if whole
            else window_cells(self.worked, step, plane, self.tint)
        )
        products = Cells(step.products[plane], self.tint, self.product_texts[plane])
        drawn = [seen, kernel_cells(step, plane, self.tint), products]
        return [shortened_cells(each, cell) for each, cell in zip(drawn, self.cells or [self.biggest] * 3, strict=True)]

    def heads(self) -> list[Item]:
        """What the columns are."""
        step = self.step
        turned = isinstance(self.worked.operation, TransposedConvolution)
        names = [
            ("input" if self.whole else "window", size_text((len(step.channels), *self._first()))),
            ("kernel", TURNED if turned else size_text((len(step.channels), *step.window.shape[1:]))),
            ("products", ""),
        ]
        items: list[Item] = []
        for left, (name, size) in zip(self.lefts, names, strict=True):
            items.append(Text(left, 14, name, HEAD, INK, bold=True))
            following = min([other for other in (*self.lefts, self.sums) if other > left])
            if text_width(name, HEAD, bold=True) + text_width(size, SMALL) + 36 < following - left:
                items.append(Text(left + text_width(name, HEAD, bold=True) + 12, 14, size, SMALL, DIM))
        return [*items, Text(self.sums + 60, 14, "sums", HEAD, INK, bold=True, align="right")]

    def _first(self) -> tuple[int, int]:
        return self.worked.operation.input_size if self.whole else self.step.window.shape[1:]

    def row(self, plane: int, y: float) -> list[Item]:
        """One channel."""
        step = self.step
        items: list[Item] = []
        middle = y + self.tall / 2
        cells = self._cells(plane)
        for left, each, cell, size in zip(self.lefts, cells, self.cells, self.drawn_sizes, strict=True):
            panel = cells_panel(each, cell, size)
            items += moved(panel, left, middle - panel.height / 2)
        top = middle - cells[0].shape[0] * self.cells[0] / 2
        rows, columns = self.worked.canvas.rows[step.at[0]], self.worked.canvas.columns[step.at[1]]
        if self.whole:
            around = window_frame(rows, columns, self.cells[0], halo=self.worked.greys is not None)
            items += moved(Panel(tuple(around), 0, 0), 0, top)
        items.append(Text(0, y + self.tall + 28, f"channel {step.channels[plane]}", SMALL, DIM))
        products = None if self.products is None else self.products[plane]
        weights = None if step.weights is None else step.weights[plane]
        made = equals_sign(step.window[plane], weights, products)
        added = equals_sign(products, None if self.exact_sums is None else self.exact_sums[[plane]])
        size = SIGN - 12 if self.beside else SIGN - 6
        for at, word in enumerate(("×", made)):
            right = self.lefts[at] + cells[at].shape[1] * self.cells[at]
            items.append(Text((right + self.lefts[at + 1]) / 2, middle, word, size, DIM, align="center", middle=True))
        items.append(
            Text(
                self.lefts[2] + cells[2].shape[1] * self.cells[2] + 42,
                middle,
                f"Σ {added}",
                SUM + 6,
                DIM,
                align="center",
                middle=True,
            )
        )
        items.append(
            Text(self.sums + 60, middle, self.sum_texts[plane], SUM + 5, INK, bold=True, align="right", middle=True)
        )
        tops = [0, -(-len(self.order) // 2)] if self.beside else [0]
        if plane not in [self.order[at] for at in tops]:
            items.append(Text(self.sums + 60, y - 26, "+", SUM + 6, DIM, align="right", middle=True))
        return items

    def total(self, y: float) -> tuple[list[Item], float]:
        """The sum of the channels not shown, the bias, a line and the result."""
        step, x = self.step, self.sums + 60
        items: list[Item] = []
        rest, rest_sum = len(step.channels) - self.shown, Decimal(0)
        if rest and self.exact_sums is not None:
            rest_sum = self.rest_sum
            items += self._added(f"the other {rest:,}", value_text(rest_sum), y)
            y += 44
        if step.bias is not None:
            items += self._added("bias", bias_number(step), y)
            y += 30
        items.append(Rule(self.sums - 40, y, self.sums + 70, y, INK, 2.4))
        others = [np.array([rest_sum], object)] if rest else []
        sums = None if self.exact_sums is None else self.exact_sums[[*self.order]]
        if (equals := equals_sign(sums, *others, *bias_and_result(step))) != "=":
            left = x - text_width(value_text(step.exact), FORMULA, bold=True) - 16
            items.append(Text(left, y + 42, equals, SUM + 6, DIM, align="right"))
        items.append(Text(x, y + 42, value_text(step.exact), FORMULA, INK, bold=True, align="right"))
        items += [
            Rule(x + 18, y + 32, self.right + 36, y + 32, DIM, 2.6),
            Shape(((self.right + 34, y + 25), (self.right + 34, y + 39), (self.right + 50, y + 32)), DIM),
        ]
        return items, y + 46

    def _added(self, name: str, value: str, y: float) -> list[Item]:
        """One more number to be added, with its name before it."""
        text = f"+ {factor_text(value)}"
        left = self.sums + 60 - text_width(text, SUM + 2, bold=True)
        return [
            Text(self.sums + 60, y + 8, text, SUM + 2, INK, bold=True, align="right"),
            Text(left - 20, y + 8, name, SUM, DIM, align="right"),
        ]

    @property
    def output_cell(self) -> float:
        """The size of a cell of the output."""
        shape = self.worked.operation.output_size
        return min(CELL * 0.9, OUTPUT / len(output_part(shape, self.step.at)[1]))

    def output(self, reached: int | None) -> LabelledPicture:
        """The output with its cell in a frame."""
        cells = output_cells(self.worked, self.step, self.tint, reached)
        whole, part = cells.shape, output_part(cells.shape, self.step.at)
        cells = cut_cells(cells, *part)
        at = self.step.at[0] - part[0].start, self.step.at[1] - part[1].start
        cell = self.output_cell
        panel = digits_panel(cells, cell)
        most = largest_frame(self.worked, self.step, cell) if reached is None and cells.shape == whole else []
        framed = (*panel.items, *most, frame(*at, 1, 1, cell, width=4.5))
        return headed(Panel(framed, panel.width, panel.height), "output", size_text(whole))


MIDDLE_CELL = 60.0
USUAL, WIDE_KERNEL = (300.0, 245.0, 215.0), (220.0, 320.0, 185.0)  # input, window and kernel, output
HEAD_WIDTH = 200.0  # of an input with its size
NUMBER_CELL = 46.0  # cells in which short numbers are legible on the widest page
COLUMN_KERNEL, ROW_KERNEL = (220.0, 1104.0, 185.0), (150.0, 736.0, 150.0)  # of one or two columns, or rows
SLIM = 2  # rows or columns of a window that is drawn as a row or a column
WHITE = "halo"


def enlarged_page(worked: Walkthrough, step: Step, reached: int | None, tallest: float = math.inf) -> Panel:
    """Input as colours → window × kernel, added up = output; one scale of colours for all of them.

    The numbers of a long column or row have larger cells, but not for a box of a height.
    """
    operation, window = worked.operation, step.window.shape[1:]
    usual = USUAL if max(window) <= 5 else WIDE_KERNEL
    slim = tallest == math.inf and min(window) <= SLIM and NUMBER_CELL * max(window) > WIDE_KERNEL[1]
    if slim and step.weights is not None:
        first, most, last = COLUMN_KERNEL if window[0] > window[1] else ROW_KERNEL
        usual = first, min(most, NUMBER_CELL * max(window)), last
    for share in np.arange(1.0, 0.5, -0.04):  # heads and the labels of the bar may be wide
        parts, zoom, part = _enlarged_parts(
            worked, step, reached, [usual[0], *(float(share * box) for box in usual[1:])]
        )
        body = in_a_row(parts)
        if body.width <= WIDEST - 2 * MARGIN:
            break
    room = max(body.width, NARROWEST - 2 * MARGIN)
    words = pool_sum_panel(worked, step, room) if step.weights is None else sum_panel(step, room)
    foot = sum_and_formula(words, operation.formulas, 0.0, room)
    body = Panel((*body.items, *zoom), body.width, body.height)
    note = number_note(worked, step, products_of(step), drawn=[body, *(panel for _, panel in foot)])
    is_whole = tuple(map(len, output_part(operation.output_size, step.at))) == operation.output_size
    thin = box_cell(worked, step, step_tint(worked, step), float(share * usual[2])) if is_whole else 0.0
    texts = [*notes(worked, step, reached, cells=False, thin=thin), *cut_notes(worked, step, part), note]
    if isinstance(operation, TransposedConvolution):
        texts.insert(0, f"the input is drawn {', '.join(canvas_name(worked))}")
    lines = scale_lines(operation, "× Σ", greys=greys_text(worked))
    fewer = [partial(refitted, partial(enlarged_page, worked, step, reached))] if slim else []
    return worksheet(
        name_text(operation), settings_text(operation), body, foot, texts, counted=counted(worked, step), lines=lines,
        notices=broken_notes(worked), fewer=fewer,
    )  # fmt: skip


def _enlarged_parts(
    worked: Walkthrough, step: Step, reached: int | None, boxes: list[float]
) -> tuple[list[LabelledPicture], list[Item], tuple[range, range]]:
    """The matrices within these boxes, the lines from the input to the window, and the part of the input that is drawn."""
    box, middle, last = boxes
    rows, columns = step.window.shape[1:]
    cell = min(MIDDLE_CELL, middle / max(rows, columns))
    tint = step_tint(worked, step)
    drawn = [window_cells(worked, step, 0, tint), *([] if step.weights is None else [kernel_cells(step, 0, tint)])]
    short = [shortened_cells(each, cell) for each in drawn]
    if not any(digit_size([each], cell) for each in short) and not output_size(worked, step, tint, last):
        tint = replace(tint, pale=False)
        drawn = [replace(each, tint=tint) for each in drawn]
    source = canvas_cells(worked, step, step.channels[0], tint)
    part = part_around(source.shape, window_span(worked, step), INPUT_RATIO)
    source = cut_cells(source, *part)
    marked = window_box(worked, step, part)
    look = Look(tint, cell, LEGIBLE)
    panel = look.panel(drawn[0])
    framed = Panel((*panel.items, frame(0, 0, rows, columns, cell)), panel.width, panel.height)
    named = headed(framed, "window", size_text((rows, columns)), aside=True)
    large = middle > WIDE_KERNEL[1]
    row = large and columns > rows
    if large and not row and box * source.shape[1] / max(source.shape) < HEAD_WIDTH:
        box = middle  # the lines to the window would meet a head that is wider than its matrix
    first = input_box(worked, source, box, marked, sized=not row)
    parts, lift = [first, space(44 if row else 60), named], 0.0
    if step.weights is not None:
        kernel, size = look.panel(drawn[1]), turned_text(worked.operation)
        if row:  # below each other, as both are wide
            parts[-1], lift = _window_over_kernel(named, kernel, size)
        else:
            parts += [sign("×", 56), headed(kernel, "kernel", size)]
        parts += [sign(f"Σ {equals_sign(*sum_numbers(step))}", 96)]
    else:
        parts.append(arrow("max" if step.counted is None else "mean", 130))
    parts += [output_box(worked, step, tint, reached, last), space(BAR_GAP), tint_bar(tint, 320.0)]
    lines = zoom_lines(parts, (box / max(source.shape), cell), source, (rows, columns), marked, lift=lift)
    return parts, lines, part


def _window_over_kernel(window: LabelledPicture, kernel: Panel, size: str) -> tuple[LabelledPicture, float]:
    """A window of a row above its kernel, and how far the middle of the window is above that of both."""
    below, name = window.size[0] + 90, "kernel"
    end = text_width(name, HEAD, bold=True) + 16 + text_width(size, HEAD)
    items = (
        *window.items,
        Text(0, below - 22, name, HEAD, INK, bold=True),
        Text(text_width(name, HEAD, bold=True) + 16, below - 22, size, HEAD, DIM),
        Text(max(kernel.width / 2, end + 50), window.size[0] + 45, "×", SIGN, DIM, align="center", middle=True),
        *moved(kernel, 0, below),
    )
    height = below + kernel.height
    return LabelledPicture(items, (height, window.size[1]), window.width, window.above), (height - window.size[0]) / 2


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
    return [f"only {' and '.join(parts)} are drawn"] if parts else []


def output_part(shape: tuple[int, int], at: tuple[int, int]) -> tuple[range, range]:
    """The rows and columns of the output that are drawn."""
    return part_around(shape, (range(at[0], at[0] + 1), range(at[1], at[1] + 1)), OUTPUT_RATIO)


def input_box(
    worked: Walkthrough, cells: Cells, box: float, marked: tuple[int, int, int, int], *, sized: bool = True
) -> LabelledPicture:
    """The canvas as colours, the window in a frame with a white halo; its size is in its head if it is ``sized``."""
    cell = box / max(cells.shape)
    panel = cells_panel(cells, cell, 0)
    items: list[Item] = [*panel.items, frame(*marked, cell, colour=WHITE, width=9), frame(*marked, cell, width=4.5)]
    name, size = canvas_name(worked)
    size = size.partition(",")[0]  # the heading of the page states the padding
    picture = Panel(tuple(items), panel.width, panel.height)
    fits = text_width(name, HEAD, bold=True) + text_width(size, HEAD) <= panel.width + 30
    return headed(picture, name, size) if fits and sized else headed(picture, "input", "")


def output_size(worked: Walkthrough, step: Step, tint: Tint, box: float) -> float:
    """The size of the digits of the output in a box of this side; 0 if they do not fit."""
    cells = cut_cells(output_cells(worked, step, tint), *output_part(worked.operation.output_size, step.at))
    cell = min(MIDDLE_CELL, box / max(cells.shape))
    return digit_size([shortened_cells(cells, cell)], cell)


def box_cell(worked: Walkthrough, step: Step, tint: Tint, box: float) -> float:
    """The cell of the output in a box of this side."""
    shape = [len(part) for part in output_part(worked.operation.output_size, step.at)]
    return min(MIDDLE_CELL if output_size(worked, step, tint, box) else box, box / max(shape))


def output_box(worked: Walkthrough, step: Step, tint: Tint, reached: int | None, box: float) -> LabelledPicture:
    """The output as numbers if they fit, else as colours, the framed cell in a frame."""
    cells = output_cells(worked, step, tint, reached)
    whole, part = cells.shape, output_part(cells.shape, step.at)
    at = step.at[0] - part[0].start, step.at[1] - part[1].start
    cells = cut_cells(cells, *part)
    size, cell = output_size(worked, step, tint, box), box_cell(worked, step, tint, box)
    panel = cells_panel(shortened_cells(cells, cell), cell, size)
    most = largest_frame(worked, step, cell) if reached is None and cells.shape == whole else []
    halos = [replace(each, colour=WHITE, width=6.0) for each in most if isinstance(each, Shape)]
    halo = frame(*at, 1, 1, cell, colour=WHITE, width=9 if cell > 12 else 7)
    items: list[Item] = [*panel.items, *halos, *most, halo, frame(*at, 1, 1, cell, width=4.5 if cell > 12 else 3.5)]
    return headed(Panel(tuple(items), panel.width, panel.height), "output", size_text(whole))


def zoom_lines(
    parts: list[LabelledPicture],
    sizes: tuple[float, float],
    source: Cells,
    window: tuple[int, ...],
    marked: tuple[int, int, int, int],
    *,
    lift: float = 0.0,
) -> list[Item]:
    """Lines from the rows of the window, at the right of the input, to the enlarged window; they cross no cell.

    The window is ``lift`` above the middle of the input.
    """
    small, cell = sizes
    above = max(part.size[0] / 2 + part.above for part in parts)
    right = (parts[0].width + source.shape[1] * small) / 2
    top = above - source.shape[0] * small / 2
    starts = top + marked[0] * small, top + (marked[0] + marked[2]) * small
    target = parts[0].width + parts[1].width
    stops = above - lift - window[0] * cell / 2, above - lift + window[0] * cell / 2
    ticks = [Rule(right + 3, y, right + 12, y, DARK, 1.6) for y in starts]
    bracket = Rule(right + 12, starts[0], right + 12, starts[1], DARK, 1.6)
    lines = [Rule(right + 12, y, target - 4, stop, DARK, 1.6) for y, stop in zip(starts, stops, strict=True)]
    return [*ticks, bracket, *lines]


@np.errstate(all="ignore")
def step_page(worked: Walkthrough, step: Step, reached: int | None = None, tallest: float = math.inf) -> Panel:
    """The page of one step; in an animation, cells of the output after ``reached`` are empty.

    A page of one channel for a box has matrices that are at most about ``tallest``.
    """
    if len(step.channels) > 1:
        return channels_page(worked, step, reached)
    tint = step_tint(worked, step)
    cells = [canvas_cells(worked, step, step.channels[0], tint), output_cells(worked, step, tint)]
    pool, transposed = step.weights is None, isinstance(worked.operation, TransposedConvolution)
    if not pool:
        cells.append(kernel_cells(step, 0, tint))
    if transposed:
        cells.append(input_cells(worked, step.channels[0], tint))
    if max(max(each.shape) for each in cells) < LARGE:
        fixed = 150.0 if pool else 3 * NARROW if transposed else 2 * NARROW
        look, legible = fitting_look(cells, fixed + BAR, tint)
        highest = (tallest - HEADER - 190) / max(each.shape[0] for each in cells)
        look = replace(look, cell=min(look.cell, highest))
        while look.legible_of(cells) >= max(1, legible):
            boxed = tallest < math.inf
            page = (pool_page if pool else kernel_page)(worked, step, look, reached, boxed=boxed)
            page = page if boxed else with_smaller(page, partial(step_page, worked, step, reached))
            needed = legible_at(page.width)
            if page.width <= WIDEST and needed <= look.legible + 0.01:
                return page
            cell = look.cell * (1.0 if page.width <= WIDEST else 0.97)  # heads may be wider than their matrices
            look = replace(look, cell=cell, legible=max(look.legible, min(needed, LEGIBLE)))
    return row_page(worked, step, reached) or column_page(worked, step, reached) or enlarged_page(worked, step, reached)


SIGNS, BELOW, BAR_SPACE = (
    64.0,
    30.0,
    46.0,
)  # the space for the signs at the left of the rows, between rows, before the bar


def row_page(worked: Walkthrough, step: Step, reached: int | None) -> Panel | None:
    """A window that slides along one row: input, kernel and output below each other, the kernel below its window.

    None if there are several rows, or the numbers of the input or the output do not fit.
    """
    operation = worked.operation
    across, (rows, columns) = worked.canvas.columns[step.at[1]], worked.canvas.padding.shape
    if max(rows, *operation.output_size[:1]) > 1 or isinstance(operation, TransposedConvolution):
        return None
    tint = step_tint(worked, step)
    cells = [canvas_cells(worked, step, step.channels[0], tint), output_cells(worked, step, tint)]
    if step.weights is not None:
        cells.append(kernel_cells(step, 0, tint))
    bar = BAR_SPACE + tint_bar(tint, WIDEST).width  # with all its labels
    cell = min(CELL, (WIDEST - 2 * MARGIN - SIGNS - bar) / columns)
    look = Look(tint, cell, legible_at(WIDEST))
    if look.legible_of(cells) < len(cells):
        return None
    parts = [("", 0.0, canvas_matrix(worked, step, look))]
    maximum = step.weights is None and step.counted is None
    if step.weights is not None:
        strip, x = look.panel(cells[2]), across.start * cell
        head = headed(Panel((), strip.width, strip.height), "kernel", turned_text(operation))
        left = max(0.0, min(x + (strip.width - head.width) / 2, columns * cell - head.width))
        items = (*moved(Panel(head.items, 0, 0), left - x, 0), *strip.items)
        parts.append(("∗", x, LabelledPicture(items, (strip.height, strip.width), strip.width, HEADER)))
    equals = equals_sign(*page_numbers(worked, step)) if step.weights is not None else "max" if maximum else "mean"
    parts.append((equals, 0.0, output_matrix(worked, step, look, reached)))
    drawn, y = list[Item](), 0.0
    for mark, x, part in parts:
        middle = y + part.above + part.size[0] / 2
        size = SIGN if len(mark) < len("max") else SMALL
        drawn.append(Text(0, middle, mark, size, DIM, middle=True))
        drawn += part.at(SIGNS + x, y)
        y += part.height + BELOW
    body = with_tint_bar(
        Panel(tuple(drawn), SIGNS + columns * cell, y - BELOW), tint, top=20.0, height=y - BELOW - 40.0, gap=BAR_SPACE
    )
    room = max(NARROWEST - 2 * MARGIN, body.width)
    if step.weights is None:
        words = pool_sum_panel(worked, step, room)
    else:
        words = sum_panel(step, room, widest=None if reached is None else widest_texts(worked, step))
    foot = sum_and_formula(words, operation.formulas, 0.0, room)
    note = number_note(worked, step, products_of(step), drawn=[body, *(panel for _, panel in foot)])
    bold = ["bold: the maximum of the window"] if maximum else []
    lines = scale_lines(operation, None if step.weights is None else "∗", greys=greys_text(worked))
    return worksheet(
        name_text(operation), settings_text(operation), body, foot, [*bold, *notes(worked, step, reached, thin=cell), note],
        counted=counted(worked, step), lines=lines, notices=broken_notes(worked),
    )  # fmt: skip


TALLEST_COLUMN, COLUMN_SIGN = 1190.0, 64.0  # the cells of a column; the space for a sign
WORDS = 60.0  # before what is beside the columns


def column_page(worked: Walkthrough, step: Step, reached: int | None) -> Panel | None:
    """A window that slides along one column: input, kernel and output beside each other, the kernel beside its window.

    None if there are several columns, or the numbers of the input or the output do not fit.
    """
    operation = worked.operation
    columns = worked.canvas.padding.shape[1]
    if max(columns, *operation.output_size[1:]) > 1 or isinstance(operation, TransposedConvolution):
        return None
    for width in (NARROWEST, WIDEST):  # a long sum makes the page wider, on which numbers have to be larger
        page = _column_page(worked, step, reached, width)
        if page is not None and page.width <= width:
            return page
    return None


def _column_page(worked: Walkthrough, step: Step, reached: int | None, width: float) -> Panel | None:
    operation = worked.operation
    down, rows = worked.canvas.rows[step.at[0]], worked.canvas.padding.shape[0]
    tint = step_tint(worked, step)
    cells = [canvas_cells(worked, step, step.channels[0], tint), output_cells(worked, step, tint)]
    if step.weights is not None:
        cells.append(kernel_cells(step, 0, tint))
    look = Look(tint, min(CELL, TALLEST_COLUMN / rows), legible_at(width))
    if look.legible_of(cells) < len(cells):
        return None
    maximum = step.weights is None and step.counted is None
    source = canvas_matrix(worked, step, look, sized=False)
    output = output_matrix(worked, step, look, reached, sized=False)
    above = max(source.above, output.above)
    middle = above + (down.start + len(down) / 2) * look.cell
    items: list[Item] = [*source.at(0, above - source.above)]
    x = source.width
    if step.weights is not None:
        kernel = headed(look.panel(cells[2]), "kernel")
        items.append(Text(x + COLUMN_SIGN / 2, middle, "∗", SIGN, DIM, align="center", middle=True))
        items += kernel.at(x + COLUMN_SIGN, above + down.start * look.cell - kernel.above)
        x += COLUMN_SIGN + kernel.width
        equals = equals_sign(*page_numbers(worked, step))
        items.append(Text(x + COLUMN_SIGN / 2, middle, equals, SIGN, DIM, align="center", middle=True))
        x += COLUMN_SIGN
    else:
        pooled = arrow("max" if maximum else "mean", 150)
        items += pooled.at(x, middle)
        x += pooled.width
    items += output.at(x, above - output.above)
    tall = max(source.height, output.height + above - output.above)
    matrices = with_tint_bar(
        Panel(tuple(items), x + output.width, tall), tint, top=above, height=min(385.0, tall - above), gap=BAR_GAP
    )
    room = width - 2 * MARGIN - matrices.width - WORDS
    if step.weights is None:
        words = pool_sum_panel(worked, step, room)
    else:
        words = sum_panel(step, room, widest=None if reached is None else widest_texts(worked, step))
    words = stacked([words, formula_panel(operation.formulas, room)], 40)
    height = max(matrices.height, words.height)
    placed = (*matrices.items, *moved(words, matrices.width + WORDS, (height - words.height) / 2))
    body = Panel(placed, matrices.width + WORDS + words.width, height)
    note = number_note(worked, step, products_of(step), drawn=[body])
    bold = ["bold: the maximum of the window"] if maximum else []
    lines = scale_lines(operation, None if step.weights is None else "∗", greys=greys_text(worked))
    smaller = partial(enlarged_page, worked, step, reached)
    return worksheet(
        name_text(operation), settings_text(operation), body, [],
        [*bold, *notes(worked, step, reached, thin=look.cell), note], counted=counted(worked, step), lines=lines,
        notices=broken_notes(worked), fewer=[partial(refitted, smaller)],
    )  # fmt: skip


def with_smaller(page: Panel, smaller: Callable[[float], Panel]) -> Panel:
    """A page that in a small box has the body of another one, made for its height."""
    made = page.parts
    if made is None:
        raise ValueError("The page has no parts.")

    def parts() -> PageParts:
        found = made()
        *first, alone = found.versions
        return replace(found, versions=(*first, partial(refitted, smaller), alone))

    return replace(page, parts=parts)


BAR = 130.0  # the room for the colour bar
USUAL_SIGN, NARROW = 98.0, 58.0  # the room for a sign between two matrices
SPACIOUS = 60.0  # cells in which only very long numbers do not fit


def fitting_look(cells: Sequence[Cells], fixed: float, tint: Tint) -> tuple[Look, int]:
    """Cells in which these matrices fit beside each other with their numbers, and how many matrices have to have them.

    Cells are enlarged so that long numbers fit, too. If they do not, the matrix has no digits, unless the cells are so
    small that short numbers do not fit, either: then all matrices have to have theirs.
    """
    columns = sum(each.shape[1] for each in cells)
    room = (WIDEST - 2 * MARGIN - fixed) / columns
    usual = min(CELL, room)
    sizes = np.arange(usual, max(usual, min(WIDEST_CELL, room)) + 1e-6, 4.0)
    looks = [Look(tint, float(cell), legible_at(columns * cell + fixed + 2 * MARGIN)) for cell in sizes]
    best = max(looks, key=lambda look: (look.legible_of(cells), look.legible_of(cells, whole=True), -look.cell))
    return best, best.legible_of(cells) if usual >= SPACIOUS else len(cells)


def sum_line(worked: Walkthrough, step: Step, room: float) -> list[tuple[float, Panel]]:
    """The sum of a step in one line as wide as this; empty if it is too long."""
    text, equals, value = step_parts(worked.operation, step)
    wide = text_width(f"{text}  {equals}  ", 1.0) + text_width(value, 1.15, bold=True)
    size = min(FORMULA, room / wide)
    if size < legible_at(WIDEST):
        return []
    x = drawn_width(text, size) + 0.6 * size
    end = x + drawn_width(equals, size) + 0.6 * size
    items = (
        Text(0, 1.1 * size, text, size, INK),
        Text(x, 1.1 * size, equals, size, DIM),
        Text(end, 1.1 * size, value, 1.15 * size, INK, bold=True),
    )
    return [(0.0, Panel(items, end + text_width(value, 1.15 * size, bold=True), 1.5 * size))]


def kernel_page(worked: Walkthrough, step: Step, look: Look, reached: int | None, *, boxed: bool = False) -> Panel:
    """Input ∗ kernel = output, and below them the sum and the size; ``boxed`` the sum in one line."""
    operation = worked.operation
    if step.weights is None:
        raise TypeError(operation)
    transposed = isinstance(operation, TransposedConvolution)
    gap = USUAL_SIGN if look.cell >= CELL else NARROW
    parts = [
        canvas_matrix(worked, step, look),
        sign("∗", gap),
        headed(look.panel(kernel_cells(step, 0, look.tint)), "kernel", turned_text(operation)),
        sign(equals_sign(*page_numbers(worked, step)), gap),
        output_matrix(worked, step, look, reached),
    ]
    title = name_text(operation)
    if transposed:
        first = look.panel(input_cells(worked, step.channels[0], look.tint))
        parts = [headed(first, "input", size_text(operation.input_size)), arrow(width=max(gap, 72.0)), *parts]
        title += " as a convolution"
    kernel_at = sum(part.width for part in parts[: len(parts) - 3])
    tall = max(part.size[0] for part in parts)
    body = in_a_row([*parts, space(BAR_GAP), tint_bar(look.tint, max(230.0, min(tall, 480.0)))])
    room = max(NARROWEST - 2 * MARGIN, body.width)
    left = sum_panel(step, room, widest=None if reached is None else widest_texts(worked, step))
    foot = sum_and_formula(left, operation.formulas, kernel_at, room)
    if boxed:
        foot = sum_line(worked, step, body.width)
    note = number_note(worked, step, products_of(step), drawn=[body, *(panel for _, panel in foot)])
    texts = [*notes(worked, step, reached, thin=look.cell), note]
    lines, count = scale_lines(operation, "∗", greys=greys_text(worked)), counted(worked, step)
    return worksheet(
        title, settings_text(operation), body, foot, texts, counted=count, lines=lines, notices=broken_notes(worked)
    )


def pool_page(worked: Walkthrough, step: Step, look: Look, reached: int | None, *, boxed: bool = False) -> Panel:
    """Input → output, with the step and the size beside them, or below if they do not fit; ``boxed`` the step alone."""
    operation = worked.operation
    maximum = isinstance(operation, Pooling) and operation.kind == "max"
    parts = [
        canvas_matrix(worked, step, look),
        arrow("max" if maximum else "mean", 150),
        output_matrix(worked, step, look, reached),
    ]
    tall = max(part.size[0] for part in parts)
    body = in_a_row([*parts, space(BAR_GAP), tint_bar(look.tint, max(230.0, min(tall, 480.0)))])
    count = counted(worked, step)
    bold = "bold: the maximum of the window" if maximum else ""
    lines = scale_lines(operation, greys=greys_text(worked))
    room = WIDEST - 2 * MARGIN - body.width - 60
    beside = room >= 460
    width = room if beside else max(body.width, NARROWEST - 2 * MARGIN)
    words = pool_sum_panel(worked, step, width)
    words = words if boxed else stacked([words, formula_panel(operation.formulas, width)], 40)
    texts = [*notes(worked, step, reached), bold, number_note(worked, step, drawn=[body, words])]
    if not beside:
        return worksheet(
            name_text(operation), settings_text(operation), body, [(0.0, words)], texts, counted=count, lines=lines
        )
    y = max(0.0, (body.height - words.height) / 2)
    height = max(body.height, words.height)
    items = (*moved(body, 0, (height - body.height) / 2), *moved(words, body.width + 60, y))
    both = Panel(items, body.width + 60 + words.width, height)
    return worksheet(name_text(operation), settings_text(operation), both, [], texts, counted=count, lines=lines)


def pool_sum_panel(
    worked: Walkthrough, step: Step, room: float, *, most: int | None = None, head: bool = True
) -> Panel:
    """The framed cell of a pool in one line, or several, with ``most`` terms; the ``head`` is where it is."""
    text, equals, value = step_parts(worked.operation, step, most)
    lines = wrap(text, SUM, room - text_width(f"  =  {value}", FORMULA))
    heading = Text(0, SMALL, framed_text(step) if head else "", SMALL, DIM)
    words, below = text_block(lines, 0, SMALL + 14 if head else 0, SUM, colour=INK)
    x, y = text_width(lines[-1], SUM) + 14, below - SUM * 0.36
    items = [
        *([heading] if head else []),
        *words,
        Text(x, y, equals, SUM, DIM),
        Text(x + text_width("=  ", SUM) + 4, y, value, FORMULA - 1, INK, bold=True),
    ]
    named = text_width(heading.text, SMALL) + 8
    end = x + text_width("=  ", SUM) + text_width(value, FORMULA, bold=True)
    width = max(named, end, *(text_width(line, SUM) for line in lines))
    return Panel(tuple(items), width, below + 8)


def widest_texts(worked: Walkthrough, step: Step) -> tuple[float, float]:
    """The largest widths of a term and of a result in all steps, so that nothing moves from one step to the next."""
    if step.weights is None:
        return 0.0, 0.0
    canvas, plane = worked.canvas, step.channels[0]
    values = number_texts(canvas.values[plane], None if canvas.texts is None else canvas.texts[plane])
    value = max(text_width(factor_text(each), SUM) for each in set(values.flat))
    weight = max(text_width(f"×{factor_text(each)}", SUM) for each in weight_texts(step).flat)
    results = number_texts(worked.results(step.channel))
    return value + weight, max(text_width(each, FORMULA, bold=True) for each in results.flat)


def counted(worked: Walkthrough, step: Step) -> tuple[int, int]:
    """The number of the step, from 1, and the number of steps."""
    rows, columns = worked.operation.output_size
    return step.at[0] * columns + step.at[1] + 1, rows * columns


def notes(worked: Walkthrough, step: Step, reached: int | None, *, cells: bool = True, thin: float = 0.0) -> list[str]:
    """The caption: where the response is largest, what the signs mean (if all ``cells`` are drawn), and the cost.

    ``thin`` is the size of the cells of an output in which that place has a thin frame.
    """
    operation, canvas = worked.operation, worked.canvas
    mark = " (thin frame)" if largest_frame(worked, step, thin) else ""
    most = largest_text(worked, step.channel, mark) if reached is None else ""
    lines = [most] if most else []
    if operation.out_channels > 1:
        lines.append(f"output channel {step.channel} of {operation.out_channels:,}")
    transposed = isinstance(operation, TransposedConvolution)
    if cells and canvas.stretched.any():
        lines.append("cells with an inner frame: zeros inserted between the values (s − 1)")
    if cells and canvas.padding.any():
        around = "torch’s implicit padding d(k − 1) − p" if transposed else "padding: zeros around the input"
        if isinstance(operation, Pooling) and operation.kind == "max":
            around = "padding, which the maximum ignores"
        lines.append(f"dashed cells are {around}")
    if uneven := uneven_text(operation):
        lines.append(uneven)
    if isinstance(operation, TransposedConvolution) and min(operation.implicit_padding) < 0:
        lines.append("the padding is so large that it cuts off rows and columns of the input")
    if getattr(operation, "dilation", (1, 1)) != (1, 1):
        span = [d * (k - 1) + 1 for d, k in zip(operation.dilation, operation.kernel, strict=True)]
        lines.append(f"the kernel spans {size_text(span)} and reads the framed cells")
    lines += [text for text in (left_over_text(operation), gap_text(operation)) if text] + broken_notes(worked)
    if isinstance(operation, Pooling):
        return [*lines, "no weights"]
    return [*lines, weights_text(operation), macs_text(operation)]

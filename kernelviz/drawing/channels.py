"""The page of a step over several input channels: a row a channel, added downwards like school arithmetic."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from kernelviz.arithmetic.operations import TransposedConvolution
from kernelviz.arithmetic.windows import size_text
from kernelviz.drawing.enlarged import cut_notes, output_part, with_bar
from kernelviz.drawing.operands import LARGE, canvas_cells, output_cells, plain_cells
from kernelviz.drawing.page import INK, Item, Panel, Rule, Shape, Text, moved, text_width
from kernelviz.drawing.slim import cut_cells
from kernelviz.drawing.sums import formula_panel
from kernelviz.drawing.terms import name_text, settings_text
from kernelviz.drawing.worksheets import (
    CELL,
    DIM,
    FORMULA,
    HEAD,
    MARGIN,
    SIGN,
    SMALL,
    SUM,
    WIDEST,
    Cells,
    Placed,
    cells_panel,
    digit_size,
    frame,
    strongest,
    worksheet,
)
from kernelviz.wording import factor_text, value_text

if TYPE_CHECKING:
    from kernelviz.walkthrough import Step, Walkthrough


BIGGEST, GAP, ROWS = 66.0, 76.0, 6
OUTPUT = 190.0


def channels_page(worked: Walkthrough, step: Step, reached: int | None) -> Panel:
    """Window × kernel = products, a sum for each channel, all sums and the bias added up to the output's cell."""
    from kernelviz.drawing.step_pages import counted, notes

    operation = worked.operation
    grid = Grid(worked, step, moving=reached is not None)
    items: list[Item] = grid.heads()
    y = 40.0
    for plane in grid.order:
        items += grid.row(plane, y)
        y += grid.pitch
    y -= grid.pitch - grid.tall - (44 if grid.shown == len(step.channels) else 64)
    tail, below = grid.total(y)
    items += tail
    output = grid.output(reached)
    top = below - output.panel.height / 2 - 14
    x = grid.right + 90
    items += moved(output.panel, x, max(top, 60.0))
    items += moved(formula_panel(operation.formulas, grid.sums - 260), 0, y + 16)
    body = Panel(tuple(items), x + output.room, max(below + 100, top + output.panel.height + output.below))
    many = f"{len(step.channels)} input channels, a kernel for each, one sum; {settings_text(operation)}"
    title = name_text(operation)
    if isinstance(operation, TransposedConvolution):
        title += " as a convolution"
    said = [grid.choice, *notes(worked, step, cells=grid.whole), *cut_notes(worked, step)]
    return worksheet(title, many, body, [], said, counted=counted(worked, step))


def chosen_planes(step: Step, *, moving: bool) -> tuple[tuple[int, ...], str]:
    """The channels that are drawn, and what is said of the choice.

    Of many those that add most, the largest first; where the step ``moves`` those with the largest weights, which stay.
    """
    n = len(step.channels)
    if n <= ROWS or step.sums is None or step.weights is None:
        return tuple(range(n)), ""
    sizes = np.square(step.weights).sum(axis=(1, 2)) if moving else np.abs(step.sums)
    sizes = np.where(np.isnan(sizes), np.inf, sizes)
    order = tuple(sorted(range(n), key=lambda plane: (-float(sizes[plane]), plane))[:ROWS])
    what = "largest weights" if moving else "largest |sum|"
    return order, f"the {ROWS} channels with the {what} of {n:,}, largest first"


class Grid:
    """Where the matrices of all channels stand."""

    def __init__(self, worked: Walkthrough, step: Step, *, moving: bool) -> None:
        self.worked, self.step = worked, step
        self.order, self.choice = chosen_planes(step, moving=moving)
        height, width = worked.canvas.padding.shape
        self.shown = len(self.order)
        self.whole = max(height, width) < LARGE
        rows, columns = step.window.shape[1:]
        across = width + 2 * columns
        texts = [
            value_text(float(each))
            for each in (*(step.products.sum((1, 2)) if step.products is not None else ()), step.value)
        ]
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
            from kernelviz.drawing.worksheets import window_frame

            items += moved(Panel(tuple(window_frame(rows, columns, self.cell)), 0, 0), 0, top)
        items.append(Text(0, y + self.tall + 28, f"channel {step.channels[plane]}", SMALL, DIM))
        for at, word in enumerate("×="):
            place = self.lefts[at] + cells[at].shape[1] * self.cell
            items.append(
                Text((place + self.lefts[at + 1]) / 2, middle, word, SIGN - 6, DIM, align="center", middle=True)
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
        """The channels that are not shown, the bias, a line and the result."""
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

    def output(self, reached: int | None) -> Placed:
        """The output, the marked cell framed."""
        cells = output_cells(self.worked, self.step, reached)
        whole, part = cells.shape, output_part(cells.shape, self.step.at)
        cells = cut_cells(cells, *part)
        at = self.step.at[0] - part[0].start, self.step.at[1] - part[1].start
        cell = min(CELL * 0.9, OUTPUT / cells.shape[1])
        size = digit_size([cells], cell)
        panel = cells_panel(cells, cell, size)
        framed = (*panel.items, frame(*at, 1, 1, cell, width=4.5))
        return with_bar(Panel(framed, panel.width, panel.height), cells, whole, bar=not size)

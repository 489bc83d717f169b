"""The stamps of a transposed convolution of several input channels: a row for each channel, added up downwards."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from kernelviz.arithmetic.operations import TransposedConvolution
from kernelviz.arithmetic.windows import size_text
from kernelviz.drawing.page import INK, Item, Panel, Rule, Shape, Text, moved, text_width
from kernelviz.drawing.worksheets import (
    CELL,
    DIM,
    HEAD,
    LEGIBLE,
    MARGIN,
    SMALL,
    WIDEST,
    Cells,
    arrow_items,
    cells_panel,
    digit_size,
    frame,
    legible_cell,
    shortened_cells,
    tint_bar,
)
from kernelviz.explain.step_pages import chosen_planes
from kernelviz.explain.step_parts import BAR_GAP, input_cells, kernel_cells, output_cells, step_tint
from kernelviz.explain.texts import bias_number, number_texts
from kernelviz.explain.walkthrough import work_out
from kernelviz.wording import factor_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kernelviz.arithmetic.steps import Step
    from kernelviz.drawing.worksheets import Tint
    from kernelviz.explain.walkthrough import Walkthrough
    from kernelviz.records import Array


MOST_ROWS, MOST_OUTPUTS = 4, 3
TALLEST = 1800.0  # of the channels and the output together
HEADS, BETWEEN = 66.0, 46.0
FLAT = 16.0  # more between channels whose inputs are as tall as their stamps: each label has to be nearer to its own
BAR = 110.0  # the colour bar with its labels, at least
BESIDE, ARROW = (54.0, 40.0), (130.0, 90.0)  # of one output channel, and of several
REST = 44.0  # of a line about the bias
LEAST = 34.0  # of a cell, if all output channels are drawn


@dataclass(frozen=True)
class Stamp:
    """Stamps on the output: the rows and columns that they are on, also those cut off, and the values as ``Decimal``."""

    rows: tuple[int, ...]
    columns: tuple[int, ...]
    values: Array

    def cells(self, area: tuple[range, range], size: tuple[int, int], tint: Tint, *, cut_only: bool = False) -> Cells:
        """The stamp on these rows and columns, what is cut off dashed; with ``cut_only`` nothing else."""
        shape = len(area[0]), len(area[1])
        padding = np.ones(shape, bool)
        padding[-area[0].start : size[0] - area[0].start, -area[1].start : size[1] - area[1].start] = False
        values, texts, empty = np.zeros(shape), np.full(shape, "", object), np.ones(shape, bool)
        there = np.ix_([row - area[0].start for row in self.rows], [column - area[1].start for column in self.columns])
        values[there], texts[there], empty[there] = self.values.astype(np.float64), number_texts(self.values), False
        return Cells(values, tint, texts, padding=padding, empty=empty | ~padding if cut_only else empty)


def stamp_area(size: tuple[int, int], stamps: Sequence[Stamp]) -> tuple[range, range]:
    """The rows and columns of the output, and of what is cut off these stamps."""
    rows, columns = (
        range(min([0, *(side[0] for side in sides)]), max([end, *(side[-1] + 1 for side in sides)]))
        for end, sides in zip(size, ([each.rows for each in stamps], [each.columns for each in stamps]), strict=True)
    )
    return rows, columns


def stamped_kernel(step: Step, tint: Tint, plane: int = 0) -> Cells:
    """The kernel of a channel as it stamps: not turned."""
    cells = kernel_cells(step, plane, tint)
    return Cells(cells.values[::-1, ::-1], tint, None if cells.texts is None else cells.texts[::-1, ::-1])


def channel_stamps(worked: Walkthrough, step: Step, plane: int) -> Stamp:
    """All stamps of one input channel, added up; without rounding.

    Raises:
        TypeError: the operation is not transposed.
    """
    operation = worked.operation
    if not isinstance(operation, TransposedConvolution) or step.weights is None:
        raise TypeError(operation)
    alone = TransposedConvolution(
        operation.input_size, operation.kernel, stride=operation.stride, dilation=operation.dilation
    )
    made = work_out(alone, worked.input[step.channels[plane]], step.weights[plane, ::-1, ::-1])
    rows, columns = (
        tuple(range(-before, side - before)) for side, before in zip(alone.output_size, operation.padding, strict=True)
    )
    return Stamp(rows, columns, made.results(0))


class StampGrid:
    """A row per input channel: the input, and for each output channel its kernel and the stamps of the channel, added up.

    Below the stamps are the bias, a line and the output. For a box of a height, ``tallest``, there is one output channel;
    at most ``most`` input channels are drawn.
    """

    def __init__(
        self, worked: Walkthrough, step: Step, tallest: float = math.inf, most: int = MOST_ROWS
    ) -> None:  # fmt: skip
        operation = worked.operation
        if not isinstance(operation, TransposedConvolution):
            raise TypeError(operation)
        self.worked, self.step, self.operation = worked, step, operation
        self.tallest = tallest
        self.planes, self.choice = self._chosen(most)
        outputs = operation.out_channels // operation.groups
        first = step.channel // outputs * outputs
        self._lay_out(
            list(range(first, first + outputs)) if outputs <= MOST_OUTPUTS and tallest == math.inf else [step.channel]
        )
        if len(self.outputs) > 1 and (self.cell < LEAST or not self.digits):
            self._lay_out([step.channel])

    def _chosen(self, most: int) -> tuple[tuple[int, ...], str]:
        """The input channels that are drawn, and a text about the choice."""
        count = len(self.step.channels)
        if count <= most:
            return tuple(range(count)), ""
        planes = chosen_planes(self.step, moving=False)[0][: max(1, min(most, MOST_ROWS - 1))]
        which = "that" if len(planes) == 1 else "those"
        return planes, f"{len(planes)} of {count:,} input channels, {which} with the largest |sum| on the framed cell"

    @property
    def rest(self) -> int:
        """The number of input channels that are not drawn."""
        return len(self.step.channels) - len(self.planes)

    def _lay_out(self, outputs: list[int]) -> None:
        self.outputs, worked = outputs, self.worked
        self.steps = [worked.step(*self.step.at, channel) for channel in outputs]
        tints = [step_tint(worked, step, products=True) for step in self.steps]
        self.stamps = [[channel_stamps(worked, step, plane) for plane in self.planes] for step in self.steps]
        values = [float(value) for column in self.stamps for each in column for value in each.values.flat]
        values = [value for value in values if math.isfinite(value)]
        self.tint = replace(
            tints[0], limit=max([*(tint.limit for tint in tints), *map(abs, values)]),
            unit=min(tint.unit for tint in tints),
            negative=any(tint.negative for tint in tints) or any(value < 0 for value in values),
        )  # fmt: skip
        self.area = stamp_area(self.operation.output_size, [each for column in self.stamps for each in column])
        self._fit()
        self.digits = self._digits()
        if not self.digits:
            self.tint = replace(self.tint, pale=False)

    def _digits(self) -> float:
        """The size of all digits; 0 if some would not be legible."""
        return min(digit_size([shortened_cells(each, self.cell)], self.cell) for each in self._every())

    def _fit(self) -> None:
        """Choose the cell and the distances for the width and the height."""
        outputs = self.outputs
        lines = len(self.planes) + 1 + bool(self.rest)
        tall = max(len(self.area[0]), self.operation.input_size[0], self.operation.kernel[0])
        columns = self.operation.input_size[1] + len(outputs) * (self.operation.kernel[1] + len(self.area[1]))
        self.beside, self.arrow = BESIDE[len(outputs) > 1], ARROW[len(outputs) > 1]
        bar = max(BAR, tint_bar(self.tint, 300.0).width)
        fixed = (2 * self.beside + self.arrow) * len(outputs) - self.beside + BAR_GAP + bar
        least = [self._wide("input", self._input_size()), *([self._wide("kernel", "to 0")] * len(outputs))]
        sides = [self.operation.input_size[1], *([self.operation.kernel[1]] * len(outputs))]
        width = (WIDEST - 2 * MARGIN - fixed) / columns
        for _ in range(len(sides)):  # heads may be wider than their matrices
            wide = [head for head, side in zip(least, sides, strict=True) if head > side * width]
            narrow = sum(side for head, side in zip(least, sides, strict=True) if head > side * width)
            width = (WIDEST - 2 * MARGIN - fixed - sum(wide)) / (columns - narrow)
        self.between = BETWEEN + (FLAT if tall == self.operation.input_size[0] else 0)
        height = (TALLEST - lines * self.between) / (lines * tall)
        if self.tallest < math.inf:
            fixed = HEADS + len(self.planes) * self.between + self._added_height()
            height = (self.tallest - fixed) / (len(self.planes) * tall + self.operation.output_size[0])
        self.cell = min(CELL * 0.75, width, height)
        self.pitch = tall * self.cell + self.between
        self.tall = tall * self.cell

    def _input_size(self) -> str:
        return size_text((len(self.step.channels), *self.operation.input_size))

    def _wide(self, name: str, size: str) -> float:
        """The width of a head."""
        return text_width(name, HEAD, bold=True) + 12 + text_width(size, HEAD - 3)

    def _every(self) -> list[Cells]:
        """All matrices of the page."""
        found = [input_cells(self.worked, channel, self.tint) for channel in self._channels()]
        for step, column in zip(self.steps, self.stamps, strict=True):
            found += [stamped_kernel(step, self.tint, plane) for plane in self.planes]
            found += [stamp.cells(self.area, self.operation.output_size, self.tint) for stamp in column]
            found.append(output_cells(self.worked, step, self.tint))
        return found

    def _channels(self) -> list[int]:
        return [self.step.channels[plane] for plane in self.planes]

    def _panel(self, cells: Cells) -> Panel:
        return cells_panel(shortened_cells(cells, self.cell), self.cell, self.digits)

    def panel(self) -> Panel:
        """The page's body."""
        operation, cell = self.operation, self.cell
        left = max(operation.input_size[1] * cell, self._wide("input", self._input_size()))
        items: list[Item] = self._head(0, "input", self._input_size())
        rows, columns = operation.reads(*self.step.at)
        for line, channel in enumerate(self._channels()):
            panel = self._panel(input_cells(self.worked, channel, self.tint))
            around = [frame(rows[0], columns[0], len(rows), len(columns), cell)] if rows and columns else []
            items += self._placed(Panel((*panel.items, *around), panel.width, panel.height), 0, line)
            items.append(Text(0, self._bottom(line, panel) + 28, f"channel {channel}", SMALL, DIM))
        x = left + self.beside
        for at in range(len(self.outputs)):
            more, x = self._output(at, x)
            items += more
            x += self.beside
        bottom = HEADS + len(self.planes) * self.pitch - self.between + 38 + self._added_height()
        bottom += operation.output_size[0] * cell
        bar = tint_bar(self.tint, 300.0)
        x += BAR_GAP - self.beside
        items += bar.at(x, HEADS - 16)
        return Panel(tuple(items), x + bar.width, bottom + 8)

    def _added_height(self) -> float:
        return REST * (bool(self.rest) + (self.step.bias is not None))

    def _output(self, at: int, x: float) -> tuple[list[Item], float]:
        """The kernels of one output channel, the stamps of each input channel, and below them the output."""
        step, cell, operation = self.steps[at], self.cell, self.operation
        several = operation.out_channels > 1
        items = self._head(x, "kernel", f"to {step.channel}" if several else size_text(operation.kernel))
        kernel_wide = max(operation.kernel[1] * cell, self._wide("kernel", "to 0"))
        stamps = x + kernel_wide + self.arrow
        items += self._head(stamps, "stamps", "added up")
        area_wide = len(self.area[1]) * cell
        framed = step.channel == self.step.channel
        for line, (plane, stamp) in enumerate(zip(self.planes, self.stamps[at], strict=True)):
            items += self._placed(self._panel(stamped_kernel(step, self.tint, plane)), x, line)
            middle = self._middle(line)
            start = x + operation.kernel[1] * cell
            items += arrow_items(start + 16, middle, stamps - 20)
            panel = self._panel(stamp.cells(self.area, operation.output_size, self.tint))
            items += self._placed(self._marked(panel, at, framed=framed), stamps, line)
            if line:
                y = middle - self.tall / 2 - self.between / 2
                items.append(Text(stamps + area_wide / 2, y, "+", HEAD + 8, DIM, align="center", middle=True))
        y = HEADS + len(self.planes) * self.pitch - self.between + 24
        for text in self._added(step):
            items.append(Text(stamps + area_wide / 2, y + 8, text, HEAD - 3, INK, align="center"))
            y += REST
        items.append(Rule(stamps - 8, y - 6, stamps + area_wide + 8, y - 6, INK, 2.4))
        cells = output_cells(self.worked, step, self.tint)
        output = self._panel(cells if framed else replace(cells, bold=None))
        y += 14
        mark = [frame(*step.at, 1, 1, cell)] if framed else []
        inner = Panel((*output.items, *mark), output.width, output.height)
        items += moved(inner, stamps - self.area[1].start * cell, y)
        name = f"output {step.channel}" if several else "output"
        middle = y + output.height / 2
        head = Text(stamps - 24, middle - 16, name, HEAD, INK, bold=True, align="right", middle=True)
        size = Text(stamps - 24, middle + 16, size_text(operation.output_size), HEAD, DIM, align="right")
        return [*items, head, replace(size, middle=True)], stamps + area_wide

    def _added(self, step: Step) -> list[str]:
        """The lines between the stamps and the output."""
        texts = [f"+ the other {self.rest:,} input channels"] if self.rest > 1 else []
        texts += ["+ the other input channel"] if self.rest == 1 else []
        return texts + ([f"+ bias {factor_text(bias_number(step))}"] if step.bias is not None else [])

    def _marked(self, panel: Panel, at: int, *, framed: bool) -> Panel:
        """The stamps of a channel with the framed cell."""
        row, column = (where - area.start for where, area in zip(self.steps[at].at, self.area, strict=True))
        mark = [frame(row, column, 1, 1, self.cell)] if framed else []
        return Panel((*panel.items, *mark), panel.width, panel.height)

    def _head(self, x: float, name: str, size: str) -> list[Item]:
        wide = text_width(name, HEAD, bold=True)
        return [Text(x, 26, name, HEAD, INK, bold=True), Text(x + wide + 12, 26, size, HEAD - 3, DIM)]

    def _middle(self, line: int) -> float:
        return HEADS + line * self.pitch + self.tall / 2

    def _bottom(self, line: int, panel: Panel) -> float:
        return self._middle(line) + panel.height / 2

    def _placed(self, panel: Panel, x: float, line: int) -> tuple[Item, ...]:
        return moved(panel, x, self._middle(line) - panel.height / 2)


PAIR, PLUS, BLOCK_HEADS, DOWN = 26.0, 48.0, 44.0, 50.0  # input and kernel; two blocks; above a block; above its stamps


class StampColumns(StampGrid):
    """The channels beside each other: below the input and the kernel of each are its stamps, and at the right the output.

    For a box that is wide and not tall; there is one output channel, and no colour bar.
    """

    ADDED = "stamps, added up"

    def _fit(self) -> None:
        operation = self.operation
        upper = max(operation.input_size[0], operation.kernel[0])
        sources = self._sources()
        fixed = len(self.planes) * PLUS + self._texts_width()
        for cell in map(float, np.arange(CELL * 0.75, 1.0, -0.5)):
            for source in (cell, legible_cell(sources, LEGIBLE, cell) or cell):
                self.cell, self.source, self.tall = cell, source, upper * source
                width = len(self.planes) * self._block() + fixed
                width += max(operation.output_size[1] * cell, self._output_head())
                height = BLOCK_HEADS + self.tall + DOWN + len(self.area[0]) * cell + 6
                if width <= WIDEST - 2 * MARGIN and height <= self.tallest:
                    return

    def _sources(self) -> list[Cells]:
        """The inputs and the kernels, whose numbers are usually short."""
        found = [input_cells(self.worked, channel, self.tint) for channel in self._channels()]
        return found + [stamped_kernel(self.step, self.tint, plane) for plane in self.planes]

    def _digits(self) -> float:
        made = [stamp.cells(self.area, self.operation.output_size, self.tint) for stamp in self.stamps[0]]
        made.append(output_cells(self.worked, self.step, self.tint))
        sides = [(each, self.source) for each in self._sources()] + [(each, self.cell) for each in made]
        return min(digit_size([shortened_cells(each, cell)], cell) for each, cell in sides)

    def _block(self) -> float:
        """The width of a channel."""
        pair = self._kernel_left() + max(self.operation.kernel[1] * self.source, text_width("kernel", HEAD, bold=True))
        return max(pair, len(self.area[1]) * self.cell, 36 + text_width(self.ADDED, SMALL))

    def _kernel_left(self) -> float:
        names = [text_width(f"input {channel}", HEAD, bold=True) for channel in self._channels()]
        return max(self.operation.input_size[1] * self.source, *names) + PAIR

    def _output_name(self) -> str:
        return f"output {self.step.channel}" if self.operation.out_channels > 1 else "output"

    def _output_head(self) -> float:
        return self._wide(self._output_name(), size_text(self.operation.output_size))

    def _texts_width(self) -> float:
        """The width of the texts about the rest and the bias, before the output."""
        added = self._added(self.step)
        return max(text_width(text, HEAD - 3) for text in added) + PLUS if added else 0.0

    def panel(self) -> Panel:
        """The page's body."""
        operation, cell, items = self.operation, self.cell, list[Item]()
        stamps = BLOCK_HEADS + self.tall + DOWN
        middle = stamps + len(self.area[0]) * cell / 2
        x = end = 0.0
        for plane, channel, stamp in zip(self.planes, self._channels(), self.stamps[0], strict=True):
            items += moved(self._channel(plane, channel), x, 0)
            made = self._panel(stamp.cells(self.area, operation.output_size, self.tint))
            items += moved(self._marked(made, 0, framed=True), x, stamps)
            end = x + made.width
            x += self._block() + PLUS
            if channel != self._channels()[-1]:
                items.append(Text((end + x) / 2, middle, "+", HEAD + 8, DIM, align="center", middle=True))
        x = end
        for line, text in enumerate(added := self._added(self.step)):
            y = middle + (line - (len(added) - 1) / 2) * 36
            items.append(Text(x + 0.5 * PLUS, y, text, HEAD - 3, INK, middle=True))
        x += self._texts_width()
        items.append(Text(x + PLUS / 2, middle, "=", HEAD + 8, DIM, align="center", middle=True))
        x += PLUS
        output = self._panel(output_cells(self.worked, self.step, self.tint))
        y = stamps - self.area[0].start * cell
        items += moved(Panel((*output.items, frame(*self.step.at, 1, 1, cell)), output.width, output.height), x, y)
        items += moved(
            Panel(tuple(self._head(0, self._output_name(), size_text(operation.output_size))), 0, 0), x, y - 44
        )
        return Panel(tuple(items), max(x + max(output.width, self._output_head()), 1.0), middle * 2 - stamps + 4)

    def _channel(self, plane: int, channel: int) -> Panel:
        """The input and the kernel of a channel, and the arrow to its stamps."""
        cell, operation = self.source, self.operation
        sources = input_cells(self.worked, channel, self.tint), stamped_kernel(self.step, self.tint, plane)
        source, kernel = (cells_panel(shortened_cells(cells, cell), cell, self.digits) for cells in sources)
        rows, columns = operation.reads(*self.step.at)
        around = [frame(rows[0], columns[0], len(rows), len(columns), cell)] if rows and columns else []
        left, tall = self._kernel_left(), self.tall
        items: list[Item] = [
            Text(0, 26, f"input {channel}", HEAD, INK, bold=True),
            Text(left, 26, "kernel", HEAD, INK, bold=True),
            *moved(Panel((*source.items, *around), 0, 0), 0, BLOCK_HEADS),
            *moved(kernel, left, BLOCK_HEADS),
        ]
        x, top, bottom = 12.0, BLOCK_HEADS + tall + 10, BLOCK_HEADS + tall + DOWN - 10
        items += [
            Rule(x, top, x, bottom - 12, DIM, 2.6),
            Shape(((x - 7, bottom - 14), (x + 7, bottom - 14), (x, bottom)), DIM),
            Text(36, (top + bottom) / 2, self.ADDED, SMALL, DIM, middle=True),
        ]
        return Panel(tuple(items), self._block(), BLOCK_HEADS + tall + DOWN)


def channel_step(step: Step, plane: int) -> Step:
    """The part of a step of one input channel."""
    one = slice(plane, plane + 1)
    return replace(
        step, channels=(step.channels[plane],), window=step.window[one],
        weights=None if step.weights is None else step.weights[one],
        window_texts=None if step.window_texts is None else step.window_texts[one],
        weight_texts=None if step.weight_texts is None else step.weight_texts[one],
    )  # fmt: skip

"""The picture of several kernels and their maps, one kernel in a row, and its animation."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from kernelviz.arithmetic.operations import Convolution
from kernelviz.arithmetic.windows import sides_text, size_text
from kernelviz.drawing.animations import make_animation
from kernelviz.drawing.looks import find_look
from kernelviz.drawing.page import INK, Item, Panel, Rule, Shape, Strokes, Text, moved, right_end, text_width
from kernelviz.drawing.worksheets import (
    BORDER,
    CUT,
    DARK,
    DIM,
    DISC,
    HEAD,
    LEGIBLE,
    MARGIN,
    NARROWEST,
    ON_DISC,
    SMALL,
    WIDEST,
    Cells,
    DigitRule,
    Tint,
    arrow_items,
    cells_panel,
    circle,
    digit_size,
    disc,
    frame,
    level_tint_bar,
    page_tint,
    refitted,
    tint_bar,
    window_frame,
    with_tint_bar,
    worksheet,
)
from kernelviz.explain.animation import check_frames, step_time
from kernelviz.explain.maps import MapRow, Maps, answer_text, as_maps_of, formula_text, more_text, pool_formula
from kernelviz.explain.plots import explaining_recipe
from kernelviz.explain.step_parts import grey_colours
from kernelviz.explain.texts import SCALE_BESIDE, display_text, greys_text, number_texts, padding_text
from kernelviz.wording import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kernelviz.drawing.animations import Animation
    from kernelviz.drawing.figures import PageFigure
    from kernelviz.drawing.looks import LookName
    from kernelviz.explain.walkthrough import Walkthrough
    from kernelviz.records import Array

WIDTH = WIDEST - 2 * MARGIN
DIGITS = DigitRule(largest=26.0, tall=0.58, usual=2.2)
SMALLEST_CELL, USUAL_CELL, LARGEST_CELL, KERNEL_CELL = 3.5, 40.0, 60.0, 38.0
LARGEST_OF_ALL = 110.0  # of a column whose numbers are long
GAPS = {"kernel": 102.0, "map": 88.0, "ReLU": 64.0, "pool": 56.0}  # before each column
HEADS, NAME, ANSWER = 84.0, 46.0, 40.0  # above the rows; above a kernel; below a map
BETWEEN, CLOSE = 34.0, 16.0  # two rows, also in a box
PLANES = 12.0  # between two channels
LEAST_CORNER = 12.0  # the smallest cell with a corner
LETTERS = "abcd"
NUMBERS = ("", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
STEP, LAST = 500, 3000  # milliseconds
GAPS_NOTE = "numbers too long for their cells are omitted: these cells have only their colour"


def plot_maps(
    worked: Walkthrough,
    *,
    relu: bool = False,
    pool: int | str | None = None,
    names: Sequence[str] | None = None,
    look: LookName = "page",
    caption: bool = True,
) -> PageFigure:
    """Draw the kernels of a convolution with their maps, after ReLU and after pooling, one kernel in a row.

    The largest number of each map is framed, and in the input the window that it comes from.

    Args:
        worked: The result of ``work_out`` of a convolution; up to four of its kernels are drawn.
        relu: Whether negative numbers become 0 in a further column.
        pool: The side of the blocks whose maximum is a further column; of ``"avg2"``, the average.
        names: One name per kernel. Default: ``kernel 0`` and so on.
        look: ``page``, ``slide`` (1280 × 720 pixels, large type), ``dark`` or ``print``.
        caption: Whether identity and caption are drawn; without them they are only in the recipe.

    Raises:
        UsageError: It is no convolution, the padded input is larger than 32 × 32, the pool is larger than the maps, or
            values are not finite.

    Example:
        >>> operation = kernelviz.Convolution(6, 3, out_channels=2)
        >>> kernels = [[[[1, 0, -1]] * 3], [[[1] * 3, [0] * 3, [-1] * 3]]]
        >>> worked = kernelviz.work_out(operation, np.eye(6), kernels)
        >>> figure = kernelviz.plot_maps(worked, relu=True, pool=2, names=["vertical", "horizontal"])
    """
    from kernelviz.drawing.figures import draw_page

    maps = as_maps_of(worked, relu=relu, pool=pool, names=names)
    return draw_page(maps_page(maps), maps_recipe(maps), find_look(look, caption=caption))


def animate_maps(
    worked: Walkthrough,
    *,
    relu: bool = False,
    pool: int | str | None = None,
    names: Sequence[str] | None = None,
    fps: float | None = None,
    look: LookName = "page",
    caption: bool = True,
) -> Animation:
    """Animate ``plot_maps``: the window slides over the input, and all maps fill together.

    Args:
        worked: As for ``plot_maps``.
        relu: As for ``plot_maps``.
        pool: As for ``plot_maps``.
        names: As for ``plot_maps``.
        fps: Steps per second, 0.1 to 50. None takes half a second per step. The last frame is shown for 3 seconds.
        look: As for ``plot_maps``.
        caption: As for ``plot_maps``.

    Raises:
        UsageError: As for ``plot_maps``; or a map has more than 400 numbers, or the speed is not valid.

    Example:
        >>> operation = kernelviz.Convolution(6, 3, out_channels=2)
        >>> kernels = [[[[1, 0, -1]] * 3], [[[1] * 3, [0] * 3, [-1] * 3]]]
        >>> worked = kernelviz.work_out(operation, np.eye(6), kernels)
        >>> animation = kernelviz.animate_maps(worked, relu=True)
    """
    each = step_time(fps, STEP)
    maps = as_maps_of(worked, relu=relu, pool=pool, names=names)
    rows, columns = worked.operation.output_size
    check_frames(rows * columns, "one for each cell of a map", "Choose a smaller input, or a larger stride.")
    pages = [maps_page(maps, reached) for reached in range(rows * columns)] + [maps_page(maps)]
    durations = [each] * (len(pages) - 1) + [LAST]
    return make_animation(pages, durations, maps_recipe(maps, "maps-animation"), find_look(look, caption=caption))


def maps_recipe(maps: Maps, view: str = "maps") -> dict[str, Any]:
    """The recipe of the picture."""
    recipe = explaining_recipe(maps.worked, view=view, at=None, channel=0)
    pool = maps.pool
    settings = {
        **recipe["settings"], "relu": maps.relu,
        "pool": None if pool is None else f"{'avg' if pool.average else 'max'}{pool.size}",
        "names": [row.name for row in maps.rows],
    }  # fmt: skip
    return {
        **recipe, "view": view, "settings": settings, "shown": len(maps.rows), "total": len(maps.worked.output),
        "limits": maps_tint(maps).limits, "notes": maps.notes,
    }  # fmt: skip


def maps_tint(maps: Maps) -> Tint:
    """The colour scale of all matrices of the picture: input, kernels, and the maps of the drawn rows."""
    pooled = [row.pooled.astype(np.float64) for row in maps.rows if row.pooled is not None]
    shown = [maps.worked.output[row.channel] for row in maps.rows]
    kernel = None if maps.worked.kernel is None else maps.worked.kernel[: len(shown)]
    return page_tint(maps.worked.input, kernel, *shown, *pooled)


@dataclass(frozen=True)
class Column:
    """One column of the page: its head, the line below it, and the matrices of its rows."""

    key: str
    name: str
    size: str
    below: str
    cells: tuple[tuple[Cells, ...], ...]  # per row, one or several below each other

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of a matrix."""
        return self.cells[0][0].shape

    def tall(self, cell: float) -> float:
        """The height of a row's matrices."""
        return sum(each.shape[0] * cell for each in self.cells[0]) + PLANES * (len(self.cells[0]) - 1)

    @property
    def heads(self) -> tuple[float, float]:
        """The widths of the two lines of the head."""
        size = text_width(self.name, HEAD, bold=True) + 14 + text_width(self.size, HEAD)
        return size, text_width(self.below, SMALL)


class _Page:
    """The layout of one page, and what is shown up to the output cell ``reached``; None for all."""

    def __init__(self, maps: Maps, reached: int | None, tallest: float = math.inf, widest: float = WIDTH) -> None:
        self.maps, self.worked, self.reached, self.tallest, self.widest = maps, maps.worked, reached, tallest, widest
        self.between = BETWEEN if tallest == math.inf else CLOSE
        self.tint = maps_tint(maps)
        self.columns = self._columns()
        if not self._lay_out(aligned=True):
            legible = self._legible()
            self._lay_out(aligned=False)
            if self._legible() <= legible:
                self._lay_out(aligned=True)
        self.lefts, self.width = self._positions(self.cell, self.kernel_cell)

    def _lay_out(self, *, aligned: bool) -> bool:
        """Choose the cells, and return whether all matrices have their numbers.

        The head of the pool begins with its column if it is ``aligned``, else it ends with it, which takes less width.
        """
        self.aligned = aligned
        self.wider: dict[str, float] = {}  # the cells of columns whose numbers need larger ones than the others
        self.cell, self.kernel_cell = self._cells()
        self._widen()
        return self.has_numbers

    def _legible(self) -> int:
        """The number of matrices with all their numbers."""
        pairs = [(each, column.key) for column in self.columns for row in column.cells for each in row]
        return sum(digit_size([each], self.cell_of(key), DIGITS) > 0 for each, key in pairs)

    @property
    def current(self) -> tuple[int, int] | None:
        """The output cell that an animation has reached."""
        columns = self.worked.operation.output_size[1]
        return None if self.reached is None else (self.reached // columns, self.reached % columns)

    def _columns(self) -> list[Column]:
        maps, worked, operation = self.maps, self.worked, self.worked.operation
        canvas, texts = worked.canvas, worked.canvas.texts
        planes = tuple(
            Cells(values, self.tint, number_texts(values, None if texts is None else texts[at]), None, canvas.padding,
                  unread=canvas.unread, colours=grey_colours(worked, values))
            for at, values in enumerate(canvas.values)
        )  # fmt: skip
        low, high = (number_texts(np.array([value]))[0] for value in (worked.input.min(), worked.input.max()))
        size = size_text((len(planes), *operation.input_size) if len(planes) > 1 else operation.input_size)
        per = operation.kernel[0] * operation.kernel[1]
        of_all = f"{len(self._kernel(0))} × {per}" if len(self._kernel(0)) > 1 else f"{per:,}"
        weights = f"{of_all} {'weight' if of_all == '1' else 'weights'} each"
        map_size = size_text(operation.output_size)
        kernels = tuple(map(self._kernel, range(len(maps.rows))))
        found = [
            Column("input", "input", size, f"values {low} to {high}", (planes,)),
            Column("kernel", "kernel", size_text(operation.kernel), weights, kernels),
            Column("map", "map", map_size, formula_text(maps), tuple((self._map(row),) for row in maps.rows)),
        ]  # fmt: skip
        if maps.relu:
            cells = tuple((self._relu(row),) for row in maps.rows)
            found.append(Column("ReLU", "ReLU", map_size, "max(0, x), same size", cells))
        if maps.pool is not None:
            cells = tuple((self._pooled(row),) for row in maps.rows)
            below = pool_formula(maps.pool, operation.output_size)
            found.append(Column("pool", maps.pool.name, size_text(cells[0][0].shape), below, cells))
        return found

    def _kernel(self, number: int) -> tuple[Cells, ...]:
        """The planes of a kernel."""
        kernel, typed = self.worked.kernel, self.worked.typed.get("kernel")
        if kernel is None:
            raise TypeError(self.worked)
        return tuple(
            Cells(values, self.tint, number_texts(values, None if typed is None else typed[number, plane]))
            for plane, values in enumerate(kernel[number])
        )

    def _pending(self, shape: tuple[int, ...]) -> Array | None:
        """Which cells of a map are not computed yet."""
        if self.reached is None:
            return None
        mask = np.zeros(shape, bool)
        mask.ravel()[self.reached + 1 :] = True
        return mask

    def at(self, row: MapRow) -> tuple[int, int] | None:
        """The framed cell of a row: the one with the largest number, or the one that is reached."""
        return row.at if self.reached is None else self.current

    def _stage(self, row: MapRow, values: Array, *, last: bool) -> Cells:
        bold = np.zeros(values.shape, bool)
        if (at := self.at(row)) is not None:
            bold[at] = True
        if last and self.maps.pool is not None:
            bold |= self.maps.pool.passed_on(values) & self._complete(values.shape)
        return Cells(
            values.astype(np.float64), self.tint, number_texts(values), bold, pending=self._pending(values.shape)
        )

    def _complete(self, shape: tuple[int, ...]) -> Array:
        """Which cells of a map are in a block of which all are computed."""
        pending = self._pending(shape)
        mask = np.ones(shape, bool)
        if pending is not None and self.maps.pool is not None:
            for i, j in np.ndindex(*(side // self.maps.pool.size for side in shape)):
                if self.maps.pool.block(pending, i, j).any():
                    self.maps.pool.block(mask, i, j)[:] = False
        return mask

    def _map(self, row: MapRow) -> Cells:
        return self._stage(row, row.values, last=row.relu is None)

    def _relu(self, row: MapRow) -> Cells:
        return self._stage(row, row.values if row.relu is None else row.relu, last=True)

    def _pooled(self, row: MapRow) -> Cells:
        values, pool = row.pooled, self.maps.pool
        if values is None or pool is None:
            raise TypeError(row)
        complete = self._complete(row.values.shape)[:: pool.size, :: pool.size][: values.shape[0], : values.shape[1]]
        bold = np.zeros(values.shape, bool)
        if (block := self.block(row)) is not None:
            bold[block] = True
        return Cells(values.astype(np.float64), self.tint, number_texts(values), bold, pending=~complete)

    def block(self, row: MapRow) -> tuple[int, int] | None:
        """The cell of the pool whose block has the framed cell, if it is computed."""
        at, pool = self.at(row), self.maps.pool
        if at is None or pool is None or row.pooled is None:
            return None
        block = at[0] // pool.size, at[1] // pool.size
        inside = block[0] < row.pooled.shape[0] and block[1] < row.pooled.shape[1]
        return block if inside and self._complete(row.values.shape)[at] else None

    # Sizes.

    def _positions(self, cell: float, kernel_cell: float) -> tuple[list[float], float]:
        """The left of each column, and the width of all."""
        lefts, x, end = [], 0.0, 0.0
        for number, column in enumerate(self.columns):
            if number:
                before = self.columns[number - 1]
                widths = [*before.heads, *([self._longest_name - 10] if before.key == "kernel" else [])]
                free = column.key == "pool" and not self.aligned
                x = max(end + GAPS[column.key], x + (0.0 if free else max(widths) + 24))
            lefts.append(x)
            end = x + column.shape[1] * self._side(column.key, cell, kernel_cell)
        if self.aligned or self.columns[-1].key != "pool":
            return lefts, max(end, lefts[-1] + max(self.columns[-1].heads))
        heads = zip(self.columns[-2].heads, self.columns[-1].heads, strict=True)
        return lefts, max(end, lefts[-2] + 24 + max(before + own for before, own in heads))

    @cached_property
    def _longest_name(self) -> float:
        return 2 * DISC + 10 + max(text_width(row.name, SMALL, bold=True) for row in self.maps.rows)

    def _cells(self) -> tuple[float, float]:
        """The cells of all matrices and of the kernels, such that the digits of as many as possible are legible."""
        needed = [
            (column.key == "kernel", _least_cell(cells))
            for column in self.columns
            for row in column.cells
            for cells in row
        ]
        widest = min(KERNEL_CELL, 7 * KERNEL_CELL / self.columns[1].shape[1])
        most, found = -1, (SMALLEST_CELL, widest)
        for cell in map(float, (*np.arange(USUAL_CELL, LARGEST_CELL), *np.arange(USUAL_CELL, SMALLEST_CELL, -0.5))):
            kernel = max(cell, widest)
            legible = sum((kernel if is_kernel else cell) >= least for is_kernel, least in needed)
            fits = self._positions(cell, kernel)[1] <= self.widest and self._height(cell, kernel) <= self.tallest
            if legible > most and fits:
                most, found = legible, (cell, kernel)
        return found

    def _side(self, key: str, cell: float, kernel_cell: float) -> float:
        """The cell of a column, of those of the kernels and of the others."""
        return kernel_cell if key == "kernel" else max(cell, self.wider.get(key, 0.0))

    def cell_of(self, key: str) -> float:
        """The cell of a column."""
        return self._side(key, self.cell, self.kernel_cell)

    def _widen(self) -> None:
        """Choose larger cells for maps and pools whose numbers are not legible, and smaller ones for the other columns."""
        usual = self.cell, self.kernel_cell
        legible = [column for column in self.columns if self._is_legible(column)]
        if self.columns[0] not in legible:
            return
        rest = [column for column in self.columns[2:] if column not in legible]
        needed = {column.key: math.ceil(max(map(_least_cell, chain(*column.cells)))) + 1.0 for column in rest}
        for most in range(len(needed), 0, -1):  # of several the ones that need least
            chosen = sorted(needed, key=lambda key: needed[key])[:most]
            self.wider = {key: needed[key] for key in chosen if needed[key] <= LARGEST_OF_ALL}
            while self.wider and self.cell > SMALLEST_CELL and all(map(self._is_legible, legible)):
                wide, high = self._positions(self.cell, self.kernel_cell)[1], self._height(self.cell, self.kernel_cell)
                if wide <= self.widest and high <= self.tallest:
                    return
                self.cell -= 0.5
                self.kernel_cell = max(self.cell, min(KERNEL_CELL, self.kernel_cell))
            self.cell, self.kernel_cell = usual
        self.wider = {}

    def _is_legible(self, column: Column) -> bool:
        """Whether all matrices of a column have their numbers."""
        return all(digit_size([each], self.cell_of(column.key), DIGITS) > 0 for row in column.cells for each in row)

    @property
    def has_gaps(self) -> bool:
        """Whether a matrix has no numbers though others of its column have theirs."""
        return any(self.digits[column.key] and not self._is_legible(column) for column in self.columns)

    @cached_property
    def digits(self) -> dict[str, float]:
        """The size of the digits of each column: that of the matrices whose digits are legible."""
        found = {}
        for column in self.columns:
            cell = self.cell_of(column.key)
            sizes = [digit_size([each], cell, DIGITS) for row in column.cells for each in row]
            found[column.key] = min(filter(None, sizes), default=0.0)
        return found

    @property
    def has_numbers(self) -> bool:
        """Whether every matrix has its numbers."""
        return all(map(self._is_legible, self.columns))

    def _reach(self, cell: float, kernel_cell: float) -> tuple[float, float]:
        """What a row takes above and below its middle."""
        kernel, others = (
            self.columns[1].tall(kernel_cell),
            [each.tall(self._side(each.key, cell, kernel_cell)) for each in self.columns[2:]],
        )
        return max(kernel / 2 + NAME, *(each / 2 for each in others)), max(kernel / 2, max(others) / 2 + ANSWER)

    def _height(self, cell: float, kernel_cell: float) -> float:
        """The height of all with cells of these sizes."""
        rows, reach, half = len(self.maps.rows), self._reach(cell, kernel_cell), self.columns[0].tall(cell) / 2
        middle = reach[0] + (rows - 1) * (sum(reach) + self.between) / 2
        return HEADS + max(0.0, half - middle) + max(rows * (sum(reach) + self.between) - self.between, middle + half)

    @cached_property
    def reach(self) -> tuple[float, float]:
        """What a row takes above and below its middle."""
        return self._reach(self.cell, self.kernel_cell)

    @property
    def pitch(self) -> float:
        """From the middle of a row to that of the next."""
        return sum(self.reach) + self.between

    # Items.

    def panel(self) -> Panel:
        """The heads, the input, and a row for each kernel."""
        items: list[Item] = []
        ends = (0.0, 0.0)
        for left, column in zip(self.lefts, self.columns, strict=True):
            first, second = (
                max(least, min(left, self.width - wide)) for least, wide in zip(ends, column.heads, strict=True)
            )
            ends = (first + column.heads[0] + 24, second + column.heads[1] + 24)
            items.append(Text(first, 24, column.name, HEAD, INK, bold=True))
            items.append(Text(first + text_width(column.name, HEAD, bold=True) + 14, 24, column.size, HEAD, DIM))
            items.append(Text(second, 57, column.below, SMALL, DIM)) if column.below else None
        rows, tall = len(self.maps.rows), self.columns[0].tall(self.cell)
        middle = self.reach[0] + (rows - 1) * self.pitch / 2
        lift = max(0.0, tall / 2 - middle)
        first, top = HEADS + lift + self.reach[0], HEADS + lift + middle - tall / 2
        items += self._input(top)
        middles = [first + number * self.pitch for number in range(rows)]
        items += self._bus(top + tall / 2, middles)
        for number, (row, middle) in enumerate(zip(self.maps.rows, middles, strict=True)):
            items += self._row(number, row, middle)
        width = self.width if self.tallest == math.inf else max(self.width, right_end(items))
        return Panel(tuple(items), width, self._height(self.cell, self.kernel_cell))

    def _matrix(self, key: str, cells: Cells) -> Panel:
        cell = self.cell_of(key)
        digits = self.digits[key] if digit_size([cells], cell, DIGITS) else 0.0
        return cells_panel(cells, cell, digits, DIGITS)

    def _input(self, top: float) -> list[Item]:
        """The planes of the input, with the windows of the framed cells and their letters."""
        items: list[Item] = []
        column = self.columns[0]
        step = column.shape[0] * self.cell + PLANES
        for number, cells in enumerate(column.cells[0]):
            items += moved(self._matrix("input", cells), 0, top + number * step)
        halo = self.worked.greys is not None
        drawn, taken, discs = set(), list[tuple[float, float]](), list[Item]()
        canvas, places = self.worked.canvas, [self.at(row) for row in self.maps.rows]
        windows = [None if at is None else (canvas.rows[at[0]], canvas.columns[at[1]]) for at in places]
        for letter, row, at, window in zip(LETTERS, self.maps.rows, places, windows, strict=False):
            if at is None or window is None:
                continue
            planes = self.worked.step(*at, row.channel).channels
            for plane in planes:
                key = (plane, *window)
                if key not in drawn:
                    wide = Panel(tuple(window_frame(*window, self.cell, halo=halo)), 0, 0)
                    items += moved(wide, 0, top + plane * step)
                drawn.add(key)
            if self.reached is None:
                others = [other for other in windows if other not in (None, window)]
                x, y = self._corner(
                    window, top + planes[0] * step, taken, others, arrow=top + column.tall(self.cell) / 2
                )
                taken.append((x, y))
                ring = [Shape(circle(x, y, DISC + 3), ON_DISC)] if halo else []
                (discs if halo else items).extend([*ring, *disc(x, y, letter)])
        return [*items, *discs]

    def _corner(
        self,
        window: tuple[range, range],
        top: float,
        taken: list[tuple[float, float]],
        others: Sequence[tuple[range, range] | None],
        arrow: float,
    ) -> tuple[float, float]:
        """Where the letter of a window is: a corner that is free and belongs to no other window, else a free one.

        It is not on the arrows to the kernels, which begin at this y beside the input.
        """
        rows, columns = window
        ys = top + rows[0] * self.cell, top + (rows[-1] + 1) * self.cell
        xs = columns[0] * self.cell, (columns[-1] + 1) * self.cell
        corners = [(xs[0], ys[0]), (xs[1], ys[0]), (xs[0], ys[1]), (xs[1], ys[1])]
        corners += [((xs[0] + xs[1]) / 2, y) for y in ys] + [(x, (ys[0] + ys[1]) / 2) for x in xs]
        corners += [(xs[0] + shift * 2.2 * DISC, ys[0]) for shift in range(1, 8)]
        free = [each for each in corners if all(math.dist(each, other) > 2.1 * DISC for other in taken)]
        right = self.columns[0].shape[1] * self.cell

        def meets(corner: tuple[float, float]) -> bool:
            return corner[0] > right + DISC or (corner[0] > right - DISC and abs(corner[1] - arrow) < DISC + 4)

        return min(free or corners, key=lambda corner: (meets(corner), self._windows_at(corner, top, others)))

    def _windows_at(
        self, corner: tuple[float, float], top: float, windows: Sequence[tuple[range, range] | None]
    ) -> int:
        """How many of the windows contain this position, or have it on their border."""
        column, row = corner[0] / self.cell, (corner[1] - top) / self.cell
        return sum(
            window is not None
            and all(each[0] <= at <= each[-1] + 1 for each, at in zip(window, (row, column), strict=True))
            for window in windows
        )

    def _bus(self, y: float, middles: Sequence[float]) -> list[Item]:
        """Arrows from the input to every kernel."""
        right, left = self.columns[0].shape[1] * self.cell + 12, self.lefts[1] - 14
        turn = right + 0.32 * (left - right)
        items: list[Item] = [Rule(right, y, turn, y, DIM, 2.4)]
        ends = min(y, *middles), max(y, *middles)
        if ends[0] < ends[1]:
            items.append(Rule(turn, ends[0] - 1.2, turn, ends[1] + 1.2, DIM, 2.4))
        for middle in middles:
            items += arrow_items(turn, middle, left, 2.4)
        return items

    def _row(self, number: int, row: MapRow, middle: float) -> list[Item]:
        """The kernel with its letter and name, the map with its answer, and what follows."""
        items: list[Item] = []
        before = self.lefts[1]
        for left, column in zip(self.lefts[1:], self.columns[1:], strict=True):
            cell = self.cell_of(column.key)
            tall = column.tall(cell)
            y = middle - tall / 2
            for plane, cells in enumerate(column.cells[number]):
                items += moved(self._matrix(column.key, cells), left, y + plane * (column.shape[0] * cell + PLANES))
            if column.key == "kernel":
                items += self._name(number, row, left, y)
            else:
                items += arrow_items(before + 12, middle, left - 14, 2.4)
                items += moved(Panel(tuple(self._marks(row, column.key)), 0, 0), left, y)
            if column.key == "map":
                items += self._answer(row, left, y + tall)
            before = left + column.shape[1] * cell
        return items

    def _name(self, number: int, row: MapRow, left: float, y: float) -> list[Item]:
        x = left
        items: list[Item] = []
        if row.at is not None:
            items += disc(left + DISC, y - 26, LETTERS[number]) if self.reached is None else []
            x += 2 * DISC + 10
        return [*items, Text(x, y - 26, row.name, SMALL, INK, bold=True, middle=True)]

    def _answer(self, row: MapRow, left: float, y: float) -> list[Item]:
        """The framed number as a sum, if it fits."""
        if (at := self.at(row)) is None:
            return []
        if self.tallest < math.inf and not (self.digits["input"] and self.digits["kernel"]):
            return []  # a sum of numbers that are not in the picture
        text = answer_text(self.worked, row, at)
        more = more_text(row) if self.reached is None else ""
        room = min(self.widest, max(self.width, NARROWEST - 2 * MARGIN)) - left
        short = f"{text.partition(' ')[0]} at row {at[0]}, column {at[1]}"
        for each in (text + more, text, short + more, short):
            if text_width(each, SMALL) <= room:
                return [Text(left, y + 31, each, SMALL, DIM)]
        return []

    def _marks(self, row: MapRow, key: str) -> list[Item]:
        """The corners of cut cells, the blocks of the pool, and the frame."""
        cell, items = self.cell_of(key), list[Item]()
        pending = self._pending(row.values.shape)
        if key == "ReLU" and cell >= LEAST_CORNER:
            side = 0.28 * cell
            for i, j in np.argwhere(row.cut & ~(pending if pending is not None else np.zeros(row.cut.shape, bool))):
                x, y = j * cell + 1, (i + 1) * cell - 1
                items.append(Shape(((x, y - side), (x, y), (x + side, y)), CUT))
        pool = self.maps.pool
        if pool is not None and pool.size > 1 and key == ("ReLU" if self.maps.relu else "map"):
            rows, columns = (side // pool.size * pool.size for side in row.values.shape)
            lines = [
                (0.0, at * cell, columns * cell, at * cell) for at in range(pool.size, row.values.shape[0], pool.size)
            ]
            lines += [
                (at * cell, 0.0, at * cell, rows * cell) for at in range(pool.size, row.values.shape[1], pool.size)
            ]
            items.append(Strokes(tuple(lines), BORDER, 3.0 if cell >= LEGIBLE else 1.6)) if lines else None
        at = self.block(row) if key == "pool" else self.at(row)
        if at is not None:
            items.append(frame(*at, 1, 1, cell, width=min(4.5, max(2.4, cell / 8))))
        return items


def _least_cell(cells: Cells) -> float:
    """The smallest cell in which all numbers are legible, see ``digit_size``."""
    longest = max(text_width(text, 1.0, bold=True) for row in cells.written for text in row)
    return LEGIBLE * max(1 / DIGITS.tall, longest / DIGITS.share, 1e-9)


def maps_page(maps: Maps, reached: int | None = None, tallest: float = math.inf) -> Panel:
    """The page; in an animation up to the output cell ``reached``. For a box of this height it has fewer kernels."""
    page = _Page(maps, reached) if tallest == math.inf else _boxed(maps, reached, tallest)
    body = page.panel()
    legend, inner = _legend(page), max(body.width, NARROWEST - 2 * MARGIN)
    bar = level_tint_bar(page.tint, max(240.0, min(inner - legend.width - 28, 340.0)))
    foot = [(0.0, legend), (max(legend.width + 28, inner - bar.width), bar)]
    if tallest < math.inf and not page.has_numbers:
        body = with_tint_bar(body, page.tint, top=HEADS, height=BOXED_BAR, gap=BAR_GAP)
    foot = foot if tallest == math.inf else foot[:1]
    key = _short_key(page) if tallest < body.height + 46 + legend.height else []
    title, count = _title(page.maps), len(page.maps.rows)
    fewer = [partial(refitted, partial(maps_page, maps, reached))] if tallest == math.inf else []
    facts = {"shown": count, "notes": page.maps.notes, "limits": page.tint.limits}
    notices = [*page.maps.notes, *([GAPS_NOTE] if page.has_gaps else []), *key]
    return worksheet(title, maps.stages, body, foot, _notes(page), notices=notices, fewer=fewer, facts=facts)


def _title(maps: Maps) -> str:
    """How many kernels make how many maps; of how many, if some are left out."""
    shown, total = len(maps.rows), len(maps.worked.output)
    number = NUMBERS[shown]
    if shown < total:
        whole = NUMBERS[total] if total < len(NUMBERS) else f"{total:,}"
        return f"{number.capitalize()} of {whole} kernels and {'its map' if shown == 1 else 'their maps'}"
    one = shown == 1
    return f"{number.capitalize()} {'kernel makes' if one else 'kernels make'} {number} {'map' if one else 'maps'}"


def _short_key(page: _Page) -> list[str]:
    """What the marks mean, if there is no space for their samples."""
    frame_key = "frames: the largest number of each map and its window" if page.reached is None else ""
    corner_key = "blue corners: set to 0 by ReLU" if page.maps.relu and page.cell >= LEAST_CORNER else ""
    return [each for each in (frame_key, corner_key, "" if page.has_numbers else "logarithmic colours") if each]


BOXED_BAR, BAR_GAP, LEAST_MAP = 300.0, 46.0, 150.0  # of a box: the colour bar, and the side of a map without numbers


def _boxed(maps: Maps, reached: int | None, tallest: float) -> _Page:
    """The layout for a box: as many kernels as leave all numbers legible, else as many as leave the maps large enough.

    One kernel with its numbers can be checked, several without them cannot. Without all numbers there is a colour bar.
    """
    shown = [replace(maps, most=count) for count in range(len(maps.rows), 0, -1)]
    for each in shown:
        page = _Page(each, None, tallest)
        if page.panel().height <= tallest and page.has_numbers:
            return _Page(each, reached, tallest)
    room = WIDTH - tint_bar(_Page(maps, None).tint, BOXED_BAR).width - BAR_GAP
    fitting = [page for each in shown if (page := _Page(each, None, tallest, room)).panel().height <= tallest]
    large = (page for page in fitting if page.columns[2].shape[0] * page.cell >= LEAST_MAP)
    found = next(large, fitting[-1] if fitting else _Page(shown[-1], None, tallest, room))
    return _Page(found.maps, reached, tallest, room)


def _legend(page: _Page) -> Panel:
    """What frame, corner and bold type mean, each with a sample."""
    maps, y, items = page.maps, 0.0, list[Item]()
    indent, side = 46.0, 30.0
    if page.reached is None:
        what = "the largest number of a map, which is the strongest response, and its window"
    else:
        what = "the window, and the numbers computed from it"
    lines = [("frame", what)]
    last = page.digits["ReLU" if maps.relu else "map"]
    if maps.relu and page.cell_of("ReLU") >= LEAST_CORNER:
        lines.append(("corner", "negative, set to 0 by ReLU"))
    if maps.pool is not None:
        size = size_text((maps.pool.size, maps.pool.size))
        where = (
            "in the pool, the block with the framed number"
            if page.reached is None
            else "frame in the pool: the block of this number"
        )
        bold = f"bold: the largest number of its {size} block, which the pool keeps"
        bold = bold if last else f"the pool keeps the largest number of each {size} block"
        lines.append(("", f"the pool averages each {size} block; {where}" if maps.pool.average else bold))
    for kind, text in lines:
        if kind == "frame":
            items.append(frame(y + 4, 4, side - 8, side - 8, 1.0, width=4.5))
        elif kind == "corner":
            items.append(frame(y + 2, 2, side - 4, side - 4, 1.0, colour=BORDER, width=1.6))
            items.append(Shape(((3, y + side - 13), (3, y + side - 3), (13, y + side - 3)), CUT))
            zero = Text(side / 2 + 1, y + side / 2, "0", SMALL, DARK, align="center", middle=True)
            items += [zero] if last else []
        items.append(Text(indent, y + side / 2, text, SMALL, DIM, middle=True))
        y += 40
    width = max(text_width(text, SMALL) for _, text in lines) + indent
    return Panel(tuple(items), width, y - 6)


def _notes(page: _Page) -> list[str]:
    """Counts and settings, what is left out, and where the numbers come from."""
    maps, operation = page.maps, page.worked.operation
    if not isinstance(operation, Convolution):
        raise TypeError(operation)
    kernels = counted(operation.out_channels, "kernel")
    per = operation.weights // operation.out_channels
    bias = "no bias"
    if operation.bias and page.worked.bias is not None:
        typed, shown = page.worked.typed.get("bias"), len(maps.rows)
        texts = number_texts(page.worked.bias[:shown], None if typed is None else typed[:shown])
        written = ", ".join([*texts, *(["…"] if shown < operation.out_channels else [])])
        bias = f"{counted(operation.out_channels, 'bias', 'biases')} ({written})"
    settings = f"stride {sides_text(operation.stride)}, {padding_text(operation)}"
    if operation.dilation != (1, 1):
        settings += f", dilation {sides_text(operation.dilation)}"
    if maps.pool is not None:
        settings += f"; pool {size_text((maps.pool.size, maps.pool.size))}, stride {maps.pool.size}"
    numbers = [row.values for row in maps.rows]
    marked = any("≈" in item.text for item in page.panel().items if isinstance(item, Text))
    origin = display_text(page.worked, page.worked.input, page.worked.kernel, *numbers, marked=marked)
    answers, greys = page.reached is not None, greys_text(page.worked)
    return [
        f"{kernels} × {counted(per, 'weight')} = {counted(operation.weights, 'weight')}, {bias}", settings,
        *([] if answers else ["below each map: the products that are not 0"]), *maps.notes,
        *([GAPS_NOTE] if page.has_gaps else []),
        f"{greys}; {SCALE_BESIDE}" if greys else "one colour scale for the whole page, logarithmic", origin,
    ]  # fmt: skip

"""Maximum and average pooling of the same input in one picture: what each keeps of a window."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from kernelviz.arithmetic.operations import Pooling
from kernelviz.arithmetic.steps import exact_mean
from kernelviz.arithmetic.windows import size_text
from kernelviz.drawing.animations import make_animation
from kernelviz.drawing.looks import find_look
from kernelviz.drawing.page import Item, Panel, Text, moved
from kernelviz.drawing.worksheets import (
    CELL,
    DIM,
    HEAD,
    MARGIN,
    NARROWEST,
    WIDEST,
    LabelledPicture,
    arrow,
    arrow_items,
    in_a_row,
    level_tint_bar,
    page_tint,
    refitted,
    space,
    tint_bar,
    with_tint_bar,
    worksheet,
)
from kernelviz.errors import UsageError
from kernelviz.explain.animation import STEP, check_frames, step_time
from kernelviz.explain.plots import explaining_recipe
from kernelviz.explain.step_pages import counted, number_note, pool_sum_panel, scale_lines
from kernelviz.explain.step_parts import (
    Look,
    canvas_cells,
    canvas_matrix,
    formula_panel,
    framed_text,
    legible_at,
    output_cells,
    output_matrix,
)
from kernelviz.explain.texts import (
    broken_notes,
    explanation_entry,
    gap_text,
    greys_text,
    left_over_text,
    number_lines,
    result_lines,
    settings_text,
    size_lines,
    step_text,
)
from kernelviz.explain.walkthrough import work_out
from kernelviz.wording import value_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kernelviz.arithmetic.steps import Step
    from kernelviz.drawing.animations import Animation
    from kernelviz.drawing.figures import PageFigure
    from kernelviz.drawing.looks import LookName
    from kernelviz.explain.walkthrough import Walkthrough
    from kernelviz.records import Array

WIDTH = WIDEST - 2 * MARGIN
MOST_SIDE = 64  # rows or columns of the padded input
TALLEST = 1100.0  # of the two outputs
ARROW, BETWEEN, BESIDE = 130.0, 46.0, 56.0  # to the outputs; between them; before their sums
HEADER = 64.0  # above a matrix
MOST_TERMS = 12
LEAST_SUM, SUM_UNDER = 330.0, 70.0  # the narrowest sum beside an output; the height of one under it
BOXED_BAR, BAR_GAP = 300.0, 46.0  # the colour bar beside matrices of which some have no numbers
SMALLEST, LAST = 4.0, 3000  # of a cell; milliseconds
COLOURS = 440.0  # the side of an input without numbers


@dataclass(frozen=True)
class PoolPair:
    """The same input pooled by the maximum and by the average of the same windows."""

    maximum: Walkthrough
    average: Walkthrough

    @property
    def both(self) -> tuple[tuple[str, Walkthrough], ...]:
        """The two with their names in code."""
        return ("max", self.maximum), ("average", self.average)

    @property
    def title(self) -> str:
        """``Max and average pooling``."""
        adaptive = isinstance(self.maximum.operation, Pooling) and self.maximum.operation.adaptive
        return "Adaptive max and average pooling" if adaptive else "Max and average pooling"

    def steps(self, at: tuple[int, int], channel: int) -> tuple[Step, Step]:
        """How a cell of both outputs is computed."""
        return self.maximum.step(*at, channel), self.average.step(*at, channel)


def pool_pair(worked: Walkthrough) -> PoolPair:
    """The pool that was worked out, and the other kind of the same windows.

    Raises:
        UsageError: It is no pool, or the pool has a dilation, which averages do not have.
    """
    operation = worked.operation
    if not isinstance(operation, Pooling):
        raise UsageError("Maximum and average are compared for a pool.", hint="Give a Pooling.")
    settings: dict[str, Any] = {"in_channels": operation.in_channels}
    if operation.adaptive:
        settings["adaptive"] = operation.adaptive
    else:
        settings |= {
            "kernel": operation.kernel, "stride": operation.stride, "padding": operation.padding,
            "dilation": operation.dilation, "ceil_mode": operation.ceil_mode,
        }  # fmt: skip
        counted_padding = {"count_include_pad": operation.count_include_pad}
    typed = worked.typed.get("input")
    made = []
    for kind in ("max", "average"):
        more = counted_padding if kind == "average" and not operation.adaptive else {}
        pool = Pooling(operation.input_size, kind=kind, **settings, **more)
        made.append(replace(worked, operation=pool) if kind == operation.kind else _again(worked, pool, typed))
    return PoolPair(*made)


def _again(worked: Walkthrough, pool: Pooling, typed: Array | None) -> Walkthrough:
    """Another pool of the same numbers, of which it is known how they were typed."""
    from kernelviz.records import Typed

    again = work_out(pool, worked.input if typed is None else Typed(worked.input, typed))
    return replace(again, made_up=worked.made_up, seed=worked.seed, greys=worked.greys)


def plot_pools(
    worked: Walkthrough,
    *,
    at: tuple[int, int] = (0, 0),
    channel: int = 0,
    look: LookName = "page",
    caption: bool = True,
) -> PageFigure:
    """Draw maximum and average pooling of the same windows beside each other: what each keeps.

    Args:
        worked: The result of ``work_out`` of a pool of either kind.
        at: The row and the column of the output cell to show.
        channel: The channel.
        look: ``page``, ``slide`` (1280 × 720 pixels, large type), ``dark`` or ``print``.
        caption: Whether identity and caption are drawn; without them they are only in the recipe.

    Raises:
        UsageError: It is no pool, it has a dilation, its padded input is larger than 64 × 64, or there is no such cell.

    Example:
        >>> worked = kernelviz.work_out(kernelviz.Pooling(4, 2), np.arange(16).reshape(4, 4))
        >>> figure = kernelviz.plot_pools(worked, at=(1, 1))
    """
    from kernelviz.drawing.figures import draw_page

    pair = pool_pair(worked)
    return draw_page(pools_page(pair, at, channel), pools_recipe(pair, at, channel), find_look(look, caption=caption))


def animate_pools(
    worked: Walkthrough,
    *,
    channel: int = 0,
    fps: float | None = None,
    look: LookName = "page",
    caption: bool = True,
) -> Animation:
    """Animate ``plot_pools``: the window moves over the input, and both outputs fill together.

    Args:
        worked: As for ``plot_pools``.
        channel: The channel.
        fps: Steps per second, 0.1 to 50. None takes 0.9 seconds per step. The last frame is shown for 3 seconds.
        look: As for ``plot_pools``.
        caption: As for ``plot_pools``.

    Raises:
        UsageError: As for ``plot_pools``; or an output has more than 400 numbers, or the speed is not valid.

    Example:
        >>> worked = kernelviz.work_out(kernelviz.Pooling(4, 2), np.arange(16).reshape(4, 4))
        >>> animation = kernelviz.animate_pools(worked)
    """
    each, pair = step_time(fps, STEP), pool_pair(worked)
    rows, columns = worked.operation.output_size
    check_frames(rows * columns, "one for each cell of the output", "Choose a smaller input, or a larger stride.")
    pages = [pools_page(pair, divmod(at, columns), channel, at) for at in range(rows * columns)]
    durations = [each] * (len(pages) - 1) + [max(each, LAST)]
    return make_animation(pages, durations, pools_recipe(pair, None, channel), find_look(look, caption=caption))


def pools_recipe(pair: PoolPair, at: tuple[int, int] | None, channel: int) -> dict[str, Any]:
    """The recipe of the picture; without a cell that of the animation."""
    recipe = explaining_recipe(pair.maximum, view="pools" if at else "pools-animation", at=at, channel=channel)
    low, high = page_tint(*_values(pair, channel)).limits
    return {
        **recipe, "layer": f"{pair.title}, {settings_text(pair.average.operation)}",
        "settings": {**recipe["settings"], **_average_settings(pair), "kind": "max, average"}, "limits": [low, high],
    }  # fmt: skip


def _average_settings(pair: PoolPair) -> dict[str, Any]:
    operation = pair.average.operation
    return {"count_include_pad": operation.count_include_pad} if isinstance(operation, Pooling) else {}


def _values(pair: PoolPair, channel: int) -> list[Array]:
    """What the page draws as colours: a channel of the input and of both outputs."""
    return [pair.maximum.input[channel], pair.maximum.output[channel], pair.average.output[channel]]


def means_text(pair: PoolPair, channel: int) -> str:
    """``mean of all values: input 4.25, max pool 6.5, average pool 4.25``; empty for many values or ones not finite."""
    values = _values(pair, channel)
    if max(each.size for each in values) > MOST_SIDE**2 or not all(np.isfinite(each).all() for each in values):
        return ""
    exact = [[Decimal(float(value)) for value in values[0].flat]]
    exact += [[*each.results(channel).flat] for _, each in pair.both]
    means = [exact_mean(numbers, len(numbers)) for numbers in exact]
    names = "input", "max pool", "average pool"
    return "mean of all values: " + ", ".join(
        f"{name} {value_text(mean)}" for name, mean in zip(names, means, strict=True)
    )


def pools_lines(pair: PoolPair, channel: int, chosen: Sequence[Sequence[Step]]) -> list[str]:
    """Sizes, numbers, and the steps and the output of both; ``chosen`` are the steps of each."""
    first, *sizes = size_lines(pair.maximum.operation)
    lines = [first.replace(first.partition(":")[0], pair.title, 1), *sizes]
    for number, ((name, worked), steps) in enumerate(zip(pair.both, chosen, strict=True)):
        if number == 0:
            lines += number_lines(worked, [], channel)[: -len(result_lines(worked, [], channel, []))]
        lines += ["", f"{name} pooling"]
        sums = [step_text(worked.operation, step) for step in steps]
        lines += result_lines(worked, steps, channel, sums)
    means = means_text(pair, channel)
    return [*lines, *(["", means] if means else [])]


def pools_entry(pair: PoolPair, chosen: Sequence[Sequence[Step]]) -> dict[str, Any]:
    """The fields of the JSON document: what both have in common, and ``pools`` with the output and the steps of each."""
    entries = [
        explanation_entry(worked.operation, worked, steps) for (_, worked), steps in zip(pair.both, chosen, strict=True)
    ]
    own = ("settings", "output", "steps")
    return {
        **entries[1], "operation": pair.title, "output": None, "steps": [],
        "pools": [
            {"kind": name, **{key: entry[key] for key in own}}
            for (name, _), entry in zip(pair.both, entries, strict=True)
        ],
    }  # fmt: skip


def pools_page(
    pair: PoolPair, at: tuple[int, int], channel: int, reached: int | None = None, tallest: float = math.inf
) -> Panel:
    """The input with the window, both outputs, and how the framed cell of each is computed.

    In an animation cells of the outputs after ``reached`` are empty. For a box of a height the outputs are beside each
    other if that leaves more numbers.

    Raises:
        UsageError: The padded input is too large, or there is no such cell.
    """
    shape = pair.maximum.canvas.padding.shape
    if max(shape) > MOST_SIDE:
        raise UsageError(
            f"The padded input is {size_text(shape)}.",
            f"Both kinds of pooling are shown of inputs up to {MOST_SIDE} × {MOST_SIDE}.",
            "Choose a smaller input, or one kind.",
        )
    page = _Page(pair, at, channel, reached, tallest)
    operation, body = pair.average.operation, page.panel()
    room = max(body.width, NARROWEST - 2 * MARGIN)
    bar = level_tint_bar(page.tint, 340.0)
    foot = [(0.0, formula_panel(operation.formulas, room - bar.width - 60))]
    foot += [] if page.has_bar else [(room - bar.width, bar)]
    drawn = [body, *(panel for _, panel in foot)]
    note = number_note(pair.average, page.steps[1], [pair.maximum.results(channel)], drawn=drawn)
    broken = [*dict.fromkeys([*broken_notes(pair.maximum), *broken_notes(pair.average)])]
    texts = [
        framed_text(page.steps[0]),
        f"channel {channel} of {operation.in_channels:,}" if operation.in_channels > 1 else "",
        f"{'bold: ' if page.legible else ''}the maximum keeps the largest number, the average mixes all of them",
        _padding_note(operation), left_over_text(operation), gap_text(operation),
        means_text(pair, channel) if reached is None else "", *broken, "no weights", note,
    ]  # fmt: skip
    smaller = partial(refitted, partial(pools_page, pair, at, channel, reached))
    return worksheet(
        pair.title, settings_text(operation), body, foot if tallest == math.inf else [], texts,
        lines=scale_lines(operation, greys=greys_text(pair.maximum)),
        counted=None if reached is None else counted(pair.maximum, page.steps[0]), notices=broken,
        fewer=[smaller] if tallest == math.inf else [],
    )  # fmt: skip


def _padding_note(operation: object) -> str:
    if not isinstance(operation, Pooling) or not any(operation.padding):
        return ""
    counts = "counts it as zeros" if operation.count_include_pad else "leaves it out"
    return f"dashed cells are padding: the maximum ignores it, the average {counts}"


class _Page:
    """The layout of the matrices, with as many numbers as possible.

    The outputs are below each other with their sums beside them (``below``) or ``under`` them, or ``beside`` each other.
    """

    def __init__(
        self, pair: PoolPair, at: tuple[int, int], channel: int, reached: int | None, tallest: float
    ) -> None:  # fmt: skip
        self.pair, self.reached, self.tallest, self.width = pair, reached, tallest, WIDTH
        self.steps = pair.steps(at, channel)
        self.tint = page_tint(*_values(pair, channel))
        self.canvas = canvas_cells(pair.maximum, self.steps[0], channel, self.tint)
        self.outputs = [
            output_cells(worked, step, self.tint) for (_, worked), step in zip(pair.both, self.steps, strict=True)
        ]
        self.layout, source, output = self._chosen()
        if self._numbers(source, output) < len(self.outputs) + 1:  # the colours need their bar
            self.width -= BAR_GAP + tint_bar(self.tint, BOXED_BAR).width
            self.layout, source, output = self._chosen()
        self.legible = self._numbers(source, output)
        if not self.legible:
            self.tint = replace(self.tint, pale=False)
        self.looks = [Look(self.tint, cell, legible_at(WIDEST)) for cell in (source, output)]

    def _chosen(self) -> tuple[str, float, float]:
        """The layout, and the cells of the input and of the outputs."""
        layouts = {"below": self._below(LEAST_SUM), "under": self._below(0.0)}
        if self.tallest < math.inf:
            layouts = {"below": layouts["below"], "beside": self._beside()}
        name = max(layouts, key=lambda name: self._numbers(*layouts[name]))  # the first of equal ones
        return name, *layouts[name]

    def _numbers(self, source: float, output: float) -> int:
        """How many of the matrices have their numbers with these cells of the input and of the outputs."""
        first, others = (Look(self.tint, cell, legible_at(WIDEST)) for cell in (source, output))
        return first.legible_of([self.canvas]) + others.legible_of(self.outputs)

    def _source(self, most: float) -> float:
        """The cells of the input: smaller ones if they have no numbers in any case."""
        if Look(self.tint, most, legible_at(WIDEST)).legible_of([self.canvas]):
            return most
        return max(SMALLEST, min(most, COLOURS / max(self.canvas.shape)))

    def _output(self, least: float, most: float) -> float:
        """The smallest cells of the outputs in which all numbers are whole, else legible; the smallest without."""
        sizes = [float(cell) for cell in np.arange(least, max(least, most) + 1e-6, 2.0)]
        for whole in (True, False):
            for cell in sizes:
                if Look(self.tint, cell, legible_at(WIDEST)).legible_of(self.outputs, whole=whole) == len(self.outputs):
                    return cell
        return least

    def _labels(self) -> float:
        """The height of the labels of the input."""
        matrix = canvas_matrix(self.pair.maximum, self.steps[0], Look(self.tint, SMALLEST, legible_at(WIDEST)))
        return matrix.above + matrix.below

    def _below(self, least_sum: float) -> tuple[float, float]:
        """The cells of the input and of the outputs below each other, with sums of at least this width beside them."""
        (rows, columns), (down, across) = self.canvas.shape, self.outputs[0].shape
        height = min(TALLEST, self.tallest) - self._labels()
        each = (min(TALLEST, self.tallest) - 2 * HEADER - BETWEEN - (0 if least_sum else 2 * SUM_UNDER)) / (2 * down)
        room = self.width - ARROW - (BESIDE + least_sum if least_sum else 0.0)
        source = self._source(max(SMALLEST, min(CELL, height / rows, each, room / (columns + across))))
        return source, self._output(source, min(CELL, each, (room - source * columns) / across))

    def _beside(self) -> tuple[float, float]:
        """The cells of the input and of the outputs beside each other."""
        (rows, columns), (down, across) = self.canvas.shape, self.outputs[0].shape
        height, room = min(TALLEST, self.tallest) - self._labels(), self.width - ARROW - BETWEEN
        cell = max(SMALLEST, min(CELL, height / rows, height / down, room / (columns + 2 * across)))
        source = self._source(cell)
        return source, self._output(source, min(CELL, height / down, (room - source * columns) / (2 * across)))

    def _matrices(self, names: Sequence[str]) -> tuple[LabelledPicture, list[LabelledPicture]]:
        outputs = [
            output_matrix(worked, step, self.looks[1], self.reached, name)
            for (_, worked), step, name in zip(self.pair.both, self.steps, names, strict=True)
        ]
        return canvas_matrix(self.pair.maximum, self.steps[0], self.looks[0]), outputs

    @property
    def has_bar(self) -> bool:
        """Whether the body has the colour bar, because some matrices have no numbers."""
        return self.width < WIDTH

    def panel(self) -> Panel:
        """The body of the page."""
        body = self._panel_beside() if self.layout == "beside" else self._panel_below()
        if not self.has_bar:
            return body
        return with_tint_bar(body, self.tint, top=HEADER, height=min(BOXED_BAR, body.height - 80), gap=BAR_GAP)

    def _panel_beside(self) -> Panel:
        """The input, an arrow, and the outputs with what they are."""
        source, (maximum, average) = self._matrices(("max", "mean"))
        return in_a_row([source, arrow(width=ARROW), maximum, space(BETWEEN), average])

    def _panel_below(self) -> Panel:
        """The input, two arrows, the outputs below each other, and how the framed cell of each is computed."""
        source, outputs = self._matrices(("output", "output"))
        under = self.layout == "under"
        left = source.width + ARROW
        sums = left + (0.0 if under else max(output.width for output in outputs) + BESIDE)
        words = [
            pool_sum_panel(worked, step, max(LEAST_SUM, self.width - sums), most=MOST_TERMS, head=False)
            for (_, worked), step in zip(self.pair.both, self.steps, strict=True)
        ]
        items: list[Item] = []
        y, middles, right = 0.0, list[float](), left + max(output.width for output in outputs)
        for name, output, word in zip(("max", "mean"), outputs, words, strict=True):
            middle = y + output.above + output.size[0] / 2
            middle = middle if under else max(middle, y + word.height / 2)
            bottom = middle + output.size[0] / 2 + output.below
            items += output.centred_at(left, middle)
            items += moved(word, sums, bottom + 16 if under else middle - word.height / 2)
            items.append(Text(left - ARROW / 2, middle - 14, name, HEAD, DIM, align="center"))
            items += arrow_items(left - ARROW + 18, middle, left - 18)
            middles.append(middle)
            right = max(right, sums + word.width)
            y = (bottom + 16 + word.height if under else max(bottom, middle + word.height / 2)) + BETWEEN
        centre = sum(middles) / 2
        items += source.centred_at(0, centre)
        bottom = centre + source.size[0] / 2 + source.below
        top = min(0.0, centre - source.size[0] / 2 - source.above)
        return Panel(moved(Panel(tuple(items), 0, 0), 0, -top), right, max(y - BETWEEN, bottom) - top)

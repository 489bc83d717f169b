"""A walkthrough in motion: the sliding window, and the stamps of a transposed convolution."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from kernelviz.arithmetic.operations import TransposedConvolution
from kernelviz.arithmetic.windows import size_text
from kernelviz.drawing.animations import Animation
from kernelviz.drawing.page import INK, Panel, Text, text_width, wrap
from kernelviz.drawing.worksheets import (
    CELL,
    LEGIBLE,
    MARGIN,
    NARROWEST,
    SUM,
    WIDEST,
    Cells,
    LabelledPicture,
    arrow,
    cells_panel,
    digit_size,
    foot_panels,
    frame,
    headed,
    in_a_row,
    sign,
    strongest,
    worksheet,
)
from kernelviz.errors import UsageError
from kernelviz.explain.plots import explaining_recipe, reached
from kernelviz.explain.step_pages import step_page
from kernelviz.explain.step_parts import LARGE, formula_panel
from kernelviz.explain.texts import macs_text, name_text, settings_text, weights_text
from kernelviz.wording import value_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kernelviz.drawing.page import Item
    from kernelviz.explain.walkthrough import Walkthrough
    from kernelviz.records import Array


WINDOW = "Its window can be animated."


@dataclass(frozen=True)
class Stamping:
    """One stamp (kh, kw) of an input ``position``, and the output (rows, columns) ``before`` and ``after`` it is added.

    Cells without a stamp yet are NaN; ``covered`` marks the cells of this one.
    """

    position: tuple[int, int]
    stamp: Array
    before: Array
    after: Array
    covered: Array

    @property
    def meets(self) -> Array:
        """(rows, columns): the cells where it overlaps others."""
        return np.asarray(self.covered & ~np.isnan(self.before))


@dataclass(frozen=True)
class Scene:
    """The values shared by all frames."""

    worked: Walkthrough
    channel: int
    values: Array
    kernel: Array
    stamps: tuple[Stamping, ...]
    limit: float
    cell: float
    digits: float


def stamp_pages(worked: Walkthrough, channel: int) -> list[tuple[Panel, bool]]:
    """The pages in order, each with a flag whether it shows an addition, which takes longer to read.

    A stamp that overlaps others has two pages: the addition, and its result. The last page is the output.

    Raises:
        UsageError: It is not a transposed convolution of one channel, or it has too many numbers to be legible.
    """
    scene = _scene(worked, channel)
    pages = []
    for number, stamping in enumerate(scene.stamps):
        if stamping.meets.any():
            pages.append((_page(scene, number, adding=True), True))
        pages.append((_page(scene, number), False))
    return [*pages, (_page(scene, None), False)]


def _scene(worked: Walkthrough, channel: int) -> Scene:
    operation = worked.operation
    if not isinstance(operation, TransposedConvolution):
        raise UsageError(f"A {name_text(operation).lower()} has no stamps.", hint=WINDOW)
    step = worked.step(0, 0, channel)
    if step.weights is None or len(step.channels) > 1:
        what = f"Stamps can be animated for one input channel only, but each output reads {len(step.channels)}."
        raise UsageError(what, hint=WINDOW)
    values, kernel = worked.input[step.channels[0]], step.weights[0][::-1, ::-1]
    if not np.isfinite(worked.output).all():
        raise UsageError("Stamps cannot be animated if values are not finite.", hint=WINDOW)
    stamps = tuple(_stampings(worked, values, kernel, channel))
    numbers = [
        values,
        kernel,
        worked.output[channel],
        *(each for stamping in stamps for each in (stamping.stamp, stamping.after)),
    ]
    cell = min(
        CELL, (WIDEST - 2 * MARGIN - 3 * 98) / (values.shape[1] + 2 * kernel.shape[1] + operation.output_size[1])
    )
    digits = digit_size([Cells(each, 1.0, empty=np.isnan(each)) for each in numbers], cell)
    if not digits or max(*values.shape, *kernel.shape, *operation.output_size) >= LARGE:
        raise UsageError("The numbers of the stamps are too many to be animated legibly.", hint=WINDOW)
    limit = strongest(*numbers[2:])
    return Scene(worked, channel, values, kernel, stamps, limit, cell, digits)


def _stampings(worked: Walkthrough, values: Array, kernel: Array, channel: int) -> Iterator[Stamping]:
    before = np.full(worked.operation.output_size, np.nan)
    for position, value in np.ndenumerate(values):
        at = position[0], position[1]
        covered = np.zeros(before.shape, bool)
        covered[np.ix_(*reached(worked, at))] = True
        after = np.where(covered, np.nan_to_num(before) + worked.stamp(*at, channel), before)
        yield Stamping(at, value * kernel, before, after, covered)
        before = after


def _page(scene: Scene, number: int | None, *, adding: bool = False) -> Panel:
    """The page of a stamp, or of all of them."""
    operation = scene.worked.operation
    stamping = None if number is None else scene.stamps[number]
    room = NARROWEST - 2 * MARGIN
    parts = [
        _input(scene, stamping),
        sign("×"),
        _plain(scene, scene.kernel, "kernel"),
        sign("="),
        _stamp(scene, stamping),
        arrow(),
    ]
    if stamping is None:
        parts = [part if at in (0, 2) else replace(part, items=()) for at, part in enumerate(parts)]
    body = in_a_row([*parts, _output(scene, stamping, adding=adding)])
    room = max(room, body.width)
    formulas = formula_panel(operation.formulas, room)
    words = _sentence_panel(scene, number, room)
    notes = [weights_text(operation, dense=False), macs_text(operation), *_padding_notes(operation)]
    settings = f"{settings_text(operation)}: every value stamps the kernel"
    return worksheet(name_text(operation), settings, body, foot_panels(words, formulas, 0, room), notes)


def _padding_notes(operation: object) -> Iterator[str]:
    if isinstance(operation, TransposedConvolution) and any(operation.padding):
        yield "the padding cuts off what falls outside the output"
    if isinstance(operation, TransposedConvolution) and any(operation.output_padding):
        yield "the output padding adds rows and columns behind"


def _sentence_panel(scene: Scene, number: int | None, room: float) -> Panel:
    """The sentence that explains the page; it takes the same room on every page."""
    texts = [_sentence(scene, at) for at in (None, *range(len(scene.stamps)))]
    wide = max(text_width(line, SUM, bold=True) for text in texts for line in wrap(text, SUM, 0.5 * room))
    lines = wrap(_sentence(scene, number), SUM, 0.5 * room)
    items = [Text(0, SUM + 34 * at, line, SUM, INK) for at, line in enumerate(lines)]
    return Panel(tuple(items), wide, SUM + 34 * 2)


def _sentence(scene: Scene, number: int | None) -> str:
    count = len(scene.stamps)
    if number is None:
        bias = scene.worked.bias
        more = "" if bias is None else f", and the bias {value_text(float(bias[scene.channel]))}"
        return f"the output: all {count} stamps added up{more}"
    stamping = scene.stamps[number]
    value = value_text(float(scene.values[stamping.position]))
    where = f"of row {stamping.position[0]}, column {stamping.position[1]}"
    adds = "; what overlaps adds up" if stamping.meets.any() else ""
    return f"stamp {number + 1} of {count}: {value} × kernel, {where}{adds}"


def _plain(scene: Scene, values: Array, name: str) -> LabelledPicture:
    panel = cells_panel(Cells(values, strongest(values)), scene.cell, scene.digits)
    return headed(panel, name, size_text(values.shape))


def _input(scene: Scene, stamping: Stamping | None) -> LabelledPicture:
    """The input, with a frame around the value that is stamped."""
    lit = None
    items: list[Item] = []
    if stamping is not None:
        lit = np.zeros(scene.values.shape, bool)
        lit[stamping.position] = True
        items = [frame(*stamping.position, 1, 1, scene.cell)]
    panel = cells_panel(Cells(scene.values, strongest(scene.values), lit), scene.cell, scene.digits)
    return headed(Panel((*panel.items, *items), panel.width, panel.height), "input", size_text(scene.values.shape))


def _stamp(scene: Scene, stamping: Stamping | None) -> LabelledPicture:
    """The kernel times that value, framed as on the output."""
    values = scene.kernel if stamping is None else stamping.stamp
    panel = cells_panel(Cells(values, scene.limit), scene.cell, scene.digits)
    around = frame(0, 0, values.shape[0], values.shape[1], scene.cell)
    return headed(Panel((*panel.items, around), panel.width, panel.height), "stamp", "")


def _output(scene: Scene, stamping: Stamping | None, *, adding: bool) -> LabelledPicture:
    """The output so far; with ``adding`` the overlapping cells show the addition."""
    cell = scene.cell
    if stamping is None:
        whole = scene.worked.output[scene.channel]
        return headed(cells_panel(Cells(whole, scene.limit), cell, scene.digits), "output", size_text(whole.shape))
    values, items = stamping.after, []
    if adding:
        for row, column in np.argwhere(stamping.meets):
            old = stamping.before[row, column]
            items += _addition(old, values[row, column] - old, (column + 0.5) * cell, (row + 0.5) * cell, scene)
    hidden = stamping.meets if adding else None
    cells = Cells(values, scene.limit, stamping.covered, hidden=hidden, empty=np.isnan(values))
    panel = cells_panel(cells, cell, scene.digits)
    rows, columns = (np.flatnonzero(stamping.covered.any(axis=axis)) for axis in (1, 0))
    if len(rows) and len(columns):
        tall, wide = rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1
        items.append(frame(int(rows[0]), int(columns[0]), int(tall), int(wide), cell))
    return headed(Panel((*panel.items, *items), panel.width, panel.height), "output", size_text(values.shape))


def _addition(old: float, more: float, x: float, y: float, scene: Scene) -> list[Item]:
    """``3+2`` in one line, or the second number below the first; only the second if neither is legible."""
    first, second = value_text(old), value_text(more)
    second = second if second.startswith("−") else f"+{second}"

    def size(highest: float, *texts: str) -> float:
        return min(scene.digits, highest, *(0.86 * scene.cell / text_width(text, 1.0, bold=True) for text in texts))

    lines, fitting = [(0, first + second)], size(scene.digits, first + second)
    if fitting < LEGIBLE:
        lines, fitting = [(-1, first), (1, second)], size(0.36 * scene.cell, first, second)
    if fitting < LEGIBLE:
        lines, fitting = [(0, second)], size(scene.digits, second)
    return [
        Text(x, y + at * fitting * 0.56, text, fitting, INK, bold=True, align="center", middle=True)
        for at, text in lines
    ]


MOST_FRAMES = 400
STEP, LAYING, ADDING, LAST = 900, 1100, 1500, 3000  # milliseconds

MotionView = Literal["window", "stamps"]


def animate_convolution(
    worked: Walkthrough, *, channel: int = 0, fps: float | None = None, view: MotionView = "window"
) -> Animation:
    """Animate the window over the input, one frame per output cell; ``save_picture`` writes it as GIF or WebP.

    Args:
        worked: The result of ``work_out``.
        channel: The output channel.
        fps: Steps per second, at most 50. None takes 0.9 seconds per step; for stamps 1.1, and 1.5 for additions. The last
            frame is shown for at least 3 seconds.
        view: ``window`` (a transposed convolution is drawn as a convolution over the stretched and padded input), or
            ``stamps``, added one after the other, for a transposed convolution of one channel.

    Raises:
        UsageError: There are more than 400 frames, or the channel, view or speed is not valid; or for stamps it is not
            a transposed convolution, has several input channels, or its numbers would not be legible.
    """
    if fps is not None and not 0.01 <= fps <= 50:
        raise UsageError(f"The steps a second must be between 0.01 and 50, but got {fps:g}.")
    if view not in ("window", "stamps"):
        raise UsageError(f"The view must be window or stamps, but got {view!r}.")
    pages, durations = (_window if view == "window" else _stamps)(worked, channel)
    if fps is not None:
        durations = [max(20, round(100 / fps) * 10)] * len(pages)
    durations[-1] = max(LAST, durations[-1])
    width, height = (math.ceil(max(getattr(page, side) for page in pages)) for side in ("width", "height"))
    name = "animation" if view == "window" else "stamps-animation"
    recipe = explaining_recipe(worked, view=name, at=None, channel=channel)
    return Animation(
        tuple(replace(page, width=width, height=height) for page in pages),
        tuple(durations),
        {**recipe, "durations": [durations[0], durations[-1]]},
    )


def _window(worked: Walkthrough, channel: int) -> tuple[list[Panel], list[int]]:
    rows, columns = worked.operation.output_size
    _check_count(rows * columns, "one for each cell of the output", "Choose a smaller input, or a larger stride")
    pages = [step_page(worked, step, at) for at, step in enumerate(worked.steps(channel))]
    return pages, [STEP] * len(pages)


def _stamps(worked: Walkthrough, channel: int) -> tuple[list[Panel], list[int]]:
    rows, columns = worked.operation.input_size
    _check_count(2 * rows * columns, "two for each value of the input", "Choose a smaller input")
    pages = stamp_pages(worked, channel)
    return [page for page, _ in pages], [ADDING if adding else LAYING for _, adding in pages]


def _check_count(count: int, what: str, hint: str) -> None:
    if count > MOST_FRAMES:
        raise UsageError(
            f"The animation would have {count:,} frames, {what}.",
            f"At most {MOST_FRAMES} are drawn.",
            f"{hint}; a picture of one step has no such limit.",
        )

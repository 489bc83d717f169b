"""A walkthrough in motion: the sliding window, and the stamps of a transposed convolution."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Literal

import numpy as np

from kernelviz.arithmetic.operations import TransposedConvolution
from kernelviz.arithmetic.steps import exact_sum
from kernelviz.arithmetic.windows import size_text
from kernelviz.drawing.animations import make_animation
from kernelviz.drawing.looks import find_look
from kernelviz.drawing.page import INK, Panel, Rule, Text, moved, text_width, wrap
from kernelviz.drawing.worksheets import (
    CELL,
    DIM,
    HEAD,
    LEGIBLE,
    MARGIN,
    NARROWEST,
    SHARE,
    SIGN,
    SMALL,
    SUM,
    WIDEST,
    WORKSHEET_DIGITS,
    Cells,
    LabelledPicture,
    arrow,
    arrow_items,
    cells_panel,
    digit_size,
    foot_panels,
    frame,
    headed,
    in_a_row,
    refitted,
    sign,
    space,
    tint_bar,
    worksheet,
)
from kernelviz.errors import UsageError
from kernelviz.explain.plots import explaining_recipe, make_stamp
from kernelviz.explain.stamp_channels import MOST_ROWS, channel_step, stamp_area, stamped_kernel
from kernelviz.explain.step_pages import BAR, NARROW, number_note, scale_lines, step_page
from kernelviz.explain.step_parts import BAR_GAP, LARGE, formula_panel, input_cells, output_cells, step_tint
from kernelviz.explain.texts import (
    bias_number,
    equals_sign,
    greys_text,
    macs_text,
    name_text,
    number_texts,
    settings_text,
    weights_text,
)
from kernelviz.wording import factor_text, value_text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from decimal import Decimal

    from kernelviz.arithmetic.steps import Step
    from kernelviz.drawing.animations import Animation
    from kernelviz.drawing.looks import LookName
    from kernelviz.drawing.page import Item
    from kernelviz.drawing.worksheets import Tint
    from kernelviz.explain.stamp_channels import Stamp
    from kernelviz.explain.walkthrough import Walkthrough
    from kernelviz.records import Array


WINDOW = "Its window can be animated."
TALLEST, ROW_GAP = 900.0, 52.0  # of the rows of several input channels, and the space between them
SENTENCE = 140.0  # the height of the sentence with the space above it


@dataclass(frozen=True)
class Stamping:
    """One stamp of an input ``position``, and the output (rows, columns) of ``Decimal`` before and after it is added.

    Cells without a stamp yet are None; ``covered`` marks the cells of this one.
    """

    position: tuple[int, int]
    stamp: Stamp
    before: Array
    after: Array
    covered: Array

    @property
    def meets(self) -> Array:
        """(rows, columns): the cells where it overlaps others."""
        return np.asarray(self.covered & is_there(self.before))


def is_there(numbers: Array) -> Array:
    """Which of these numbers are not None."""
    return np.array([number is not None for number in numbers.flat]).reshape(numbers.shape)


@dataclass(frozen=True)
class Scene:
    """The values shared by all frames."""

    worked: Walkthrough
    step: Step
    kernel: Cells
    stamps: tuple[Stamping, ...]
    area: tuple[range, range]
    tint: Tint
    cell: float
    digits: float
    parts: tuple[tuple[Stamp, ...], ...] = ()  # the stamps of each of several input channels

    @property
    def channel(self) -> int:
        """The output channel."""
        return self.step.channel

    @property
    def input(self) -> Cells:
        """The input."""
        return input_cells(self.worked, self.step.channels[0], self.tint)

    def panel(self, cells: Cells) -> Panel:
        """A matrix with its digits."""
        return cells_panel(cells, self.cell, self.digits)

    def numbers(self, values: Array, *, bold: Array | None = None, hidden: Array | None = None) -> Cells:
        """The cells of numbers without rounding; None is an empty cell."""
        empty = ~is_there(values)
        known = np.where(empty, 0, values)
        texts = np.where(empty, "", number_texts(known))
        return Cells(known.astype(np.float64), self.tint, texts, bold, empty=empty, hidden=hidden)


def stamp_pages(worked: Walkthrough, channel: int) -> list[tuple[Panel, bool]]:
    """The pages in order, each with a flag whether it shows an addition, which takes longer to read.

    A stamp that overlaps others has two pages: the addition, and its result. The last page is the output.

    Raises:
        UsageError: It is not a transposed convolution of up to four input channels, or it has too many numbers to be
            legible.
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
    count = len(step.channels)
    if step.weights is None or count > MOST_ROWS:
        what = f"Stamps can be animated for up to {MOST_ROWS} input channels, but each output reads {count}."
        raise UsageError(what, hint=WINDOW)
    if not np.isfinite(worked.output).all():
        raise UsageError("Stamps cannot be animated if values are not finite.", hint=WINDOW)
    stamps = tuple(_stampings(worked, step))
    alone = [channel_step(step, plane) for plane in range(count)] if count > 1 else []
    parts = tuple(tuple(make_stamp(worked, each.position, one) for each in stamps) for one in alone)
    made = [*(each.stamp for each in stamps), *(stamp for column in parts for stamp in column)]
    numbers = [number for each in stamps for number in each.after.flat if number is not None]
    numbers += [number for stamp in made for number in stamp.values.flat]
    tint = step_tint(worked, step, products=True)
    tint = replace(tint, limit=max(tint.limit, *(abs(float(number)) for number in numbers)))
    tint = replace(tint, negative=tint.negative or min(numbers) < 0)
    kernel = stamped_kernel(step, tint)
    area = stamp_area(operation.output_size, [each.stamp for each in stamps])
    columns = operation.input_size[1] + 2 * kernel.shape[1] + len(area[1])
    cell = min(CELL, (WIDEST - 2 * MARGIN - 2 * NARROW - 82 - BAR - 20) / columns)
    if count > 1:
        tall = max(operation.input_size[0], operation.kernel[0])
        cell = min(cell, (TALLEST - (count + 1) * ROW_GAP) / (count * tall + operation.kernel[0]))
    scene = Scene(worked, step, kernel, stamps, area, tint, cell, 0.0, parts)
    every = [output_cells(worked, step, tint)]
    every += [input_cells(worked, channel, tint) for channel in step.channels]
    every += [stamped_kernel(step, tint, plane) for plane in range(count)]
    every += [scene.numbers(stamp.values) for stamp in made] + [scene.numbers(each.after) for each in stamps]
    digits = digit_size(every, cell)
    if not digits or max(*operation.input_size, *kernel.shape, *operation.output_size) >= LARGE:
        raise UsageError("The numbers of the stamps are too many to be animated legibly.", hint=WINDOW)
    return replace(scene, digits=digits)


def _stampings(worked: Walkthrough, step: Step) -> Iterator[Stamping]:
    before = np.full(worked.operation.output_size, None, object)
    for position in np.ndindex(*worked.operation.input_size):
        at = position[0], position[1]
        stamp = make_stamp(worked, at, step)
        after, covered = before.copy(), np.zeros(before.shape, bool)
        for i, row in enumerate(stamp.rows):
            for j, column in enumerate(stamp.columns):
                if 0 <= row < before.shape[0] and 0 <= column < before.shape[1]:
                    old = before[row, column]
                    after[row, column] = stamp.values[i, j] if old is None else exact_sum([old, stamp.values[i, j]])
                    covered[row, column] = True
        yield Stamping(at, stamp, before, after, covered)
        before = after


def _page(scene: Scene, number: int | None, *, adding: bool = False) -> Panel:
    """The page of a stamp, or of all of them."""
    operation = scene.worked.operation
    stamping = None if number is None else scene.stamps[number]
    room, made = NARROWEST - 2 * MARGIN, [each.stamp.values for each in scene.stamps]
    if scene.parts:
        return _channels_page(scene, number, adding=adding)
    parts = [
        _input(scene, stamping),
        sign("×", NARROW),
        headed(scene.panel(scene.kernel), "kernel", size_text(scene.kernel.shape)),
        sign(equals_sign(scene.input.values, scene.kernel.values, *made), NARROW),
        _stamp(scene, stamping),
        arrow(width=82),
    ]
    if stamping is None:
        parts = [part if at in (0, 2) else replace(part, items=()) for at, part in enumerate(parts)]
    output = _output(scene, stamping, adding=adding)
    bar = tint_bar(scene.tint, max(230.0, output.size[0]))
    body = in_a_row([*parts, output, space(BAR_GAP), bar])
    room = max(room, body.width)
    formulas = formula_panel(operation.formulas, room)
    words = _sentence_panel(scene, number, room)
    note = number_note(scene.worked, scene.step, made, drawn=[body])
    notes = [weights_text(operation, dense=False), macs_text(operation), *_padding_notes(operation), note]
    settings = f"{settings_text(operation)}: every value stamps the kernel"
    foot = foot_panels(words, formulas, 0, room)
    lines = scale_lines(operation, greys=greys_text(scene.worked))
    return worksheet(name_text(operation), settings, body, foot, notes, lines=lines)


def _channels_page(scene: Scene, number: int | None, *, adding: bool, tallest: float = math.inf) -> Panel:
    """The page of several input channels: a row for each, their stamps added up below them, and the output."""
    operation, boxed = scene.worked.operation, tallest < math.inf
    if boxed:
        scene = _smaller(scene, tallest)
    stamping = None if number is None else scene.stamps[number]
    made = [stamp.values for column in scene.parts for stamp in column]
    rows = _channel_rows(scene, number)
    output = _output(scene, stamping, adding=adding)
    x, middle = rows.width + 100, max((58 + rows.height) / 2, output.above + output.size[0] / 2)
    bar = tint_bar(scene.tint, max(230.0, min(output.size[0], 400.0)))
    items = (
        *rows.items,
        *(arrow_items(rows.width + 18, middle, x - 18) if stamping is not None else ()),
        *output.centred_at(x, middle),
        *bar.centred_at(x + output.width + BAR_GAP, middle),
    )
    below = max(rows.height, middle + output.size[0] / 2 + output.below, middle + bar.size[0] / 2)
    body = Panel(items, x + output.width + BAR_GAP + bar.width, below)
    room = max(NARROWEST - 2 * MARGIN, body.width)
    words = _sentence_panel(scene, number, room)
    note = number_note(scene.worked, scene.step, made, drawn=[body])
    several = operation.out_channels > 1
    notes = [
        f"output channel {scene.channel} of {operation.out_channels:,}" if several else "",
        weights_text(operation, dense=False), macs_text(operation), *_padding_notes(operation), note,
    ]  # fmt: skip
    settings = f"{settings_text(operation)}: every channel stamps with its own kernel"
    foot = [(0.0, words)] if boxed else foot_panels(words, formula_panel(operation.formulas, room), 0, room)
    lines = scale_lines(operation, greys=greys_text(scene.worked))
    page = partial(_channels_page, scene, number, adding=adding)
    fewer = [] if boxed else [partial(refitted, lambda height: page(tallest=height))]
    return worksheet(
        name_text(operation), settings, body, foot, notes, lines=lines, fewer=fewer, aside=settings_text(operation)
    )


def _smaller(scene: Scene, tallest: float) -> Scene:
    """The scene with cells for a box of this height, with the sentence below if the numbers are legible then."""
    rows = len(scene.parts) * max(scene.input.shape[0], scene.kernel.shape[0]) + scene.kernel.shape[0]
    fixed, cell = 38 + ROW_GAP * len(scene.parts), scene.cell
    for room in (tallest - SENTENCE, tallest):
        cell = min(scene.cell, (room - fixed) / rows, (room - 80) / len(scene.area[0]))
        if WORKSHEET_DIGITS.tall * cell >= LEGIBLE:
            break
    return replace(scene, cell=cell, digits=min(scene.digits, WORKSHEET_DIGITS.tall * cell))


def _channel_rows(scene: Scene, number: int | None) -> Panel:
    """Input, kernel and stamp of each channel, and below them the sum of the stamps."""
    cell, kernel, source = scene.cell, scene.kernel.shape, scene.input.shape
    stamping = None if number is None else scene.stamps[number]
    equals = equals_sign(*(stamp.values for column in scene.parts for stamp in column))
    heads = [("input", size_text((len(scene.parts), *source))), ("kernel", size_text(kernel)), ("stamp", "")]
    wide = [text_width(name, HEAD, bold=True) + 12 + text_width(size, HEAD - 3) + 16 for name, size in heads]
    first, second = max(source[1] * cell, wide[0]), max(kernel[1] * cell, wide[1])
    lefts = [0.0, first + NARROW, first + second + 2 * NARROW]
    right, tall = lefts[2] + kernel[1] * cell, max(source[0], kernel[0]) * cell
    items: list[Item] = []
    for x, (name, size) in list(zip(lefts, heads, strict=True))[: 2 if stamping is None else 3]:
        items.append(Text(x, 22, name, HEAD, INK, bold=True))
        items.append(Text(x + text_width(name, HEAD, bold=True) + 12, 22, size, HEAD - 3, DIM))
    y = 58.0
    for plane, (channel, stamps) in enumerate(zip(scene.step.channels, scene.parts, strict=True)):
        middle = y + tall / 2
        panels = [_framed_input(scene, channel, stamping), scene.panel(stamped_kernel(scene.step, scene.tint, plane))]
        if number is not None:
            panels.append(_framed_stamp(scene, stamps[number].values))
            signs = (("×", source[1] * cell, lefts[1]), (equals, lefts[1] + kernel[1] * cell, lefts[2]))
            items += [
                Text((a + b) / 2, middle, word, SIGN - 8, DIM, align="center", middle=True) for word, a, b in signs
            ]
        if number is not None and plane:
            above = y - ROW_GAP / 2 - 2
            items.append(Text((lefts[2] + right) / 2, above, "+", HEAD + 6, DIM, align="center", middle=True))
        for x, panel in zip(lefts, panels, strict=False):
            items += moved(panel, x, middle - panel.height / 2)
        items.append(Text(0, middle + source[0] * cell / 2 + 28, f"channel {channel}", SMALL, DIM))
        y += tall + ROW_GAP
    y += 16 - ROW_GAP
    bottom = y + 16 + kernel[0] * cell
    if stamping is not None:
        items.append(Rule(lefts[2] - 8, y, right + 8, y, INK, 2.4))
        items += moved(_framed_stamp(scene, stamping.stamp.values), lefts[2], y + 16)
        name_y = (y + 16 + bottom) / 2
        items.append(Text(lefts[2] - 20, name_y, "all channels", SMALL, DIM, align="right", middle=True))
    return Panel(tuple(items), right, bottom)


def _framed_input(scene: Scene, channel: int, stamping: Stamping | None) -> Panel:
    """An input channel, with a frame around the value that is stamped."""
    cells, items = input_cells(scene.worked, channel, scene.tint), []
    if stamping is not None:
        bold = np.zeros(cells.shape, bool)
        bold[stamping.position] = True
        cells, items = replace(cells, bold=bold), [frame(*stamping.position, 1, 1, scene.cell)]
    panel = scene.panel(cells)
    return Panel((*panel.items, *items), panel.width, panel.height)


def _framed_stamp(scene: Scene, values: Array) -> Panel:
    panel = scene.panel(scene.numbers(values))
    return Panel((*panel.items, frame(0, 0, *scene.kernel.shape, scene.cell)), panel.width, panel.height)


def _padding_notes(operation: object) -> Iterator[str]:
    if isinstance(operation, TransposedConvolution) and any(operation.padding):
        yield "dashed: the padding cuts off what falls outside the output"
    if isinstance(operation, TransposedConvolution) and any(operation.output_padding):
        yield "the output padding adds rows and columns at the end"


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
        bias = bias_number(scene.step)
        every = " of every channel" if scene.parts else ""
        return f"the output: all {count} stamps{every} added up{f', and the bias {bias}' if bias else ''}"
    stamping, texts = scene.stamps[number], scene.input.written
    if scene.parts:
        row, column = stamping.position
        adds = "; overlaps add up" if stamping.meets.any() else ""
        return f"stamp {number + 1} of {count}: row {row}, column {column} (counted from 0) of every channel{adds}"
    value = texts[stamping.position[0]][stamping.position[1]]
    where = f"of row {stamping.position[0]}, column {stamping.position[1]} (counted from 0)"
    adds = "; overlaps add up" if stamping.meets.any() else ""
    return f"stamp {number + 1} of {count}: {factor_text(value)} × kernel, {where}{adds}"


def _input(scene: Scene, stamping: Stamping | None) -> LabelledPicture:
    """The input, with a frame around the value that is stamped."""
    return headed(_framed_input(scene, scene.step.channels[0], stamping), "input", size_text(scene.input.shape))


def _stamp(scene: Scene, stamping: Stamping | None) -> LabelledPicture:
    """The kernel times that value, framed as on the output."""
    panel = scene.panel(scene.kernel if stamping is None else scene.numbers(stamping.stamp.values))
    around = frame(0, 0, *scene.kernel.shape, scene.cell)
    return headed(Panel((*panel.items, around), panel.width, panel.height), "stamp", "")


def _output(scene: Scene, stamping: Stamping | None, *, adding: bool) -> LabelledPicture:
    """The output so far, and dashed what is cut off this stamp; with ``adding`` overlapping cells show the addition."""
    cell, size = scene.cell, scene.worked.operation.output_size
    behind: tuple[Item, ...] = ()
    items: list[Item] = []
    if stamping is None:
        panel = scene.panel(replace(output_cells(scene.worked, scene.step, scene.tint), bold=None))
    else:
        if adding:
            for row, column in np.argwhere(stamping.meets):
                old = stamping.before[row, column]
                more = stamping.stamp.values[stamping.stamp.rows.index(row), stamping.stamp.columns.index(column)]
                items += _addition(old, more, (column + 0.5) * cell, (row + 0.5) * cell, scene)
        hidden = stamping.meets if adding else None
        panel = scene.panel(scene.numbers(stamping.after, bold=stamping.covered, hidden=hidden))
        rows, columns = stamping.stamp.rows, stamping.stamp.columns
        items.append(frame(rows[0], columns[0], rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1, cell))
        if scene.area != (range(size[0]), range(size[1])):
            behind = scene.panel(stamping.stamp.cells(scene.area, size, scene.tint, cut_only=True)).items
    inner = Panel((*panel.items, *items), panel.width, panel.height)
    placed = (*behind, *moved(inner, -scene.area[1].start * cell, -scene.area[0].start * cell))
    return headed(Panel(placed, len(scene.area[1]) * cell, len(scene.area[0]) * cell), "output", size_text(size))


def _addition(old: Decimal, more: Decimal, x: float, y: float, scene: Scene) -> list[Item]:
    """``3+2`` in one line, or the second number below the first; only the second if neither is legible."""
    first, second = value_text(old), value_text(more)
    second = second if second.startswith("−") else f"+{second}"

    def size(highest: float, *texts: str) -> float:
        return min(scene.digits, highest, *(SHARE * scene.cell / text_width(text, 1.0, bold=True) for text in texts))

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
SLOWEST, FASTEST = 0.1, 50  # steps per second
STEP, LAYING, ADDING, LAST = 900, 1100, 1500, 3000  # milliseconds

MotionView = Literal["window", "stamps"]


def animate_convolution(
    worked: Walkthrough,
    *,
    channel: int = 0,
    fps: float | None = None,
    view: MotionView = "window",
    look: LookName = "page",
    caption: bool = True,
) -> Animation:
    """Animate the window over the input, one frame per output cell.

    ``save_picture`` writes it as GIF or WebP, ``save_frames`` as numbered PNGs.

    Args:
        worked: The result of ``work_out``.
        channel: The output channel.
        fps: Steps per second, 0.1 to 50. None takes 0.9 seconds per step; for stamps 1.1, and 1.5 for additions. The last
            frame is shown for at least 3 seconds.
        view: ``window`` (a transposed convolution is drawn as a convolution over the stretched and padded input), or
            ``stamps``, added one after the other, for a transposed convolution of up to four input channels.
        look: ``page``, ``slide`` (1280 × 720 pixels, large type), ``dark`` or ``print``.
        caption: Whether identity and caption are drawn; without them they are only in the recipe.

    Raises:
        UsageError: There are more than 400 frames, or the channel, view or speed is not valid; or for stamps it is not
            a transposed convolution, has more than four input channels, or its numbers would not be legible.

    Example:
        >>> worked = kernelviz.work_out(kernelviz.Convolution(5, 3), np.arange(25).reshape(5, 5), [[1, 0, -1]] * 3)
        >>> animation = kernelviz.animate_convolution(worked, fps=2)
    """
    each = step_time(fps, STEP)
    if view not in ("window", "stamps"):
        raise UsageError(f"The view must be window or stamps, but got {view!r}.")
    chosen = find_look(look, caption=caption)
    pages, durations = (_window if view == "window" else _stamps)(worked, channel)
    if fps is not None:
        durations = [each] * len(pages)
    durations[-1] = max(LAST, durations[-1])
    name = "animation" if view == "window" else "stamps-animation"
    recipe = explaining_recipe(worked, view=name, at=None, channel=channel)
    if view == "stamps":  # sums of some stamps may be larger than all numbers of the last page
        recipe["limits"] = _scene(worked, channel).tint.limits
    return make_animation(pages, durations, recipe, chosen)


def _window(worked: Walkthrough, channel: int) -> tuple[list[Panel], list[int]]:
    rows, columns = worked.operation.output_size
    check_frames(
        rows * columns, "one for each cell of the output", f"Choose a smaller input, or a larger stride; {OF_ONE_STEP}."
    )
    pages = [step_page(worked, step, at) for at, step in enumerate(worked.steps(channel))]
    return pages, [STEP] * len(pages)


def _stamps(worked: Walkthrough, channel: int) -> tuple[list[Panel], list[int]]:
    rows, columns = worked.operation.input_size
    check_frames(2 * rows * columns, "two for each value of the input", f"Choose a smaller input; {OF_ONE_STEP}.")
    pages = stamp_pages(worked, channel)
    return [page for page, _ in pages], [ADDING if adding else LAYING for _, adding in pages]


OF_ONE_STEP = "a picture of one step has no such limit"


def step_time(fps: float | None, usual: int) -> int:
    """How long a step is shown, in milliseconds; ``usual`` without a speed.

    Raises:
        UsageError: the speed is not valid.
    """
    if fps is None:
        return usual
    if not SLOWEST <= fps <= FASTEST:
        raise UsageError(f"The steps per second must be between {SLOWEST:g} and {FASTEST:g}, but got {fps:g}.")
    return max(20, round(100 / fps) * 10)


def check_frames(count: int, what: str, hint: str) -> None:
    """Check that an animation has not too many frames; ``what`` is what they are, ``hint`` how there are fewer.

    Raises:
        UsageError: it has.
    """
    if count > MOST_FRAMES:
        raise UsageError(
            f"The animation would have {count:,} frames, {what}.",
            f"At most {MOST_FRAMES} are drawn.",
            hint,
        )

"""The kernels of a layer over a training: a film strip with curves of each kernel, and an animation."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from kernelviz.drawing import colour
from kernelviz.drawing.animations import make_animation
from kernelviz.drawing.captions import layer_text, own_scale_text, requested_scale_text
from kernelviz.drawing.kernel_bar import kernel_bar
from kernelviz.drawing.kernel_tile import kernel_tile
from kernelviz.drawing.looks import find_look
from kernelviz.drawing.page import (
    INK,
    LABEL,
    MARGIN,
    PAGE_WIDTH,
    QUIET,
    Body,
    Item,
    PageParts,
    Panel,
    Raster,
    Rule,
    Shape,
    Strokes,
    Text,
    caption_block,
    heading,
    moved,
    text_width,
)
from kernelviz.drawing.sheets import FIGURE_PIXELS, source_facts
from kernelviz.errors import UsageError
from kernelviz.records import are_colours, check_positive, shape_text
from kernelviz.views.kernel_history import (
    NUMBERED,
    as_history,
    even_positions,
    irregularities,
    step_text,
    tile_values,
    view_of,
)
from kernelviz.wording import PART, counted, fixed_text, number_text, numbers_text, runs_text, sentence

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kernelviz.drawing.animations import Animation
    from kernelviz.drawing.figures import PageFigure
    from kernelviz.drawing.looks import Look, LookName
    from kernelviz.drawing.page import Box
    from kernelviz.records import Array
    from kernelviz.views.kernel_history import KernelHistory


AxisName: TypeAlias = Literal["linear", "log"]
ScaleOver: TypeAlias = Literal["training", "tile"] | tuple[float, float]

INNER = PAGE_WIDTH - 2 * MARGIN
COLUMNS = 12  # checkpoints in a film strip
MOST_FRAMES, FRAME, LAST_FRAME = 400, 500, 2500  # frames, and milliseconds of each and of the last one
MOST_MOVING = 64  # kernels in an animation by default
LARGEST, SMALLEST = 120, 16  # pixels: sides of a tile
CHART, WIDEST_CHART = 130.0, 300.0
LINE, DOT = 2.6, 5.0


@dataclass(frozen=True)
class _Strip:
    """What is drawn of a history: rows of kernels, columns of checkpoints, what a colour and the axis mean."""

    history: KernelHistory
    rows: tuple[int, ...]
    columns: tuple[int, ...]
    scale: colour.Scale
    axis: AxisName
    view: str

    @property
    def positions(self) -> Array:
        """Where the checkpoints are on the axis, from 0 to 1."""
        return axis_shares(self.history.axis, self.axis)

    def tiles(self, checkpoint: int, kernels: Sequence[int]) -> Array:
        """The tiles of some kernels at one checkpoint."""
        history = self.history
        held = [history.kernels.index(kernel) for kernel in kernels]
        return tile_values(history.weights[checkpoint][held], self.view)

    @cached_property
    def is_clipped(self) -> bool:
        """Whether a value of the tiles is outside the scale."""
        for column in self.columns:
            tiles = self.tiles(column, self.rows)
            if (np.isfinite(tiles) & ((tiles < self.scale.low) | (tiles > self.scale.high))).any():
                return True
        return False

    @property
    def filled(self) -> int | None:
        """How many values a tile of 1 × 1 kernels has."""
        return self.history.weights.shape[2] if self.view == "inputs" else None

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns of a tile."""
        rows, columns = self.tiles(0, self.rows[:1]).shape[1:3]
        return int(rows), int(columns)


def plot_history(
    history: object,
    channels: str | Sequence[int] | None = None,
    *,
    top: int | None = None,
    shown: int = COLUMNS,
    scale: ScaleOver | None = None,
    axis: AxisName = "linear",
    look: LookName = "page",
    caption: bool = True,
) -> PageFigure:
    """Draw a film strip: one row per kernel, one column per checkpoint, and curves of its norm and its cosine.

    All tiles have one scale, that of the largest weight of all kernels at all checkpoints, so that early ones are faint.

    Args:
        history: As ``read_history`` returns it, or plain weights (T, O, I, kh, kw): an array, a tensor, a list of banks, or
            a mapping from steps to banks.
        channels: Kernels, as numbers or a string like ``0-3,7``; by default the eight that moved most.
        top: How many of those that moved most.
        shown: The number of checkpoints in columns, evenly spread, with the first and the last.
        scale: ``"training"``, ``"tile"`` for one range per tile, or two numbers.
        axis: Of the curves: ``"linear"`` or ``"log"``, the logarithm of 1 + step.
        look: ``page``, ``slide``, ``dark`` or ``print``.
        caption: Whether identity and caption are drawn.

    Raises:
        UsageError: a kernel does not exist, or a choice does not fit.

    Example:
        >>> weights = np.random.default_rng(0).normal(size=(5, 8, 3, 3, 3)).cumsum(0)  # or of read_history
        >>> figure = kernelviz.plot_history(weights, top=4)
    """
    from kernelviz.drawing.figures import draw_page

    found = as_history(history)
    chosen = find_look(look, caption=caption)
    strip = make_strip(found, found.shown(channels, top), shown, (scale, axis), chosen)
    page, drawn = strip_page(strip)
    return draw_page(page, history_recipe(drawn, "training"), chosen)


def animate_kernels(
    history: object,
    channels: str | Sequence[int] | None = None,
    *,
    top: int | None = None,
    scale: ScaleOver | None = None,
    axis: AxisName = "linear",
    look: LookName = "page",
    caption: bool = True,
) -> Animation:
    """Animate the kernels of a layer: one frame per checkpoint, none in between, half a second each.

    ``save_picture`` writes it as WebP, with exactly the colours of the pages, or as GIF with 256 colours per frame, whose
    largest error is stated in the file.

    Args:
        history: As for ``plot_history``.
        channels: Kernels; by default all, of more than 64 those that moved most.
        top: How many of those that moved most.
        scale: As for ``plot_history``: one for the whole training by default.
        axis: Of the time bar: ``"linear"`` or ``"log"``.
        look: ``page``, ``slide``, ``dark`` or ``print``.
        caption: Whether identity and caption are drawn.

    Raises:
        UsageError: a kernel does not exist, or a choice does not fit.

    Example:
        >>> weights = np.random.default_rng(0).normal(size=(5, 8, 3, 3, 3)).cumsum(0)  # or of read_history
        >>> animation = kernelviz.animate_kernels(weights, top=4)
    """
    found = as_history(history)
    if channels is None and top is None:
        kept = found.kernels if len(found.kernels) <= MOST_MOVING else found.shown(top=MOST_MOVING)
        channels = sorted(kept)
    chosen = find_look(look, caption=caption)
    strip = make_strip(found, found.shown(channels, top), MOST_FRAMES, (scale, axis), chosen)
    plan = _FramePlan.of(strip)
    strip = replace(strip, rows=strip.rows[: plan.count])
    pages = [frame_page(strip, plan, at) for at in range(len(strip.columns))]
    durations = [FRAME] * (len(pages) - 1) + [LAST_FRAME]
    recipe = history_recipe(strip, "training-animation")
    return make_animation(pages, durations, recipe, chosen, own_palettes=True)


def make_strip(
    history: KernelHistory, rows: tuple[int, ...], shown: int, choices: tuple[ScaleOver | None, AxisName], look: Look
) -> _Strip:
    """What is drawn: these kernels, and so many checkpoints.

    Raises:
        UsageError: the scale or the axis is none.
    """
    if (check_positive("number of checkpoints", shown) or COLUMNS) < 2:
        raise UsageError(f"There must be at least two checkpoints, but got {shown}.")
    scale, axis = choices
    if axis not in ("linear", "log"):
        raise UsageError(f"The axis must be linear or log, but got {axis!r}.")
    if axis == "log" and min(history.axis) < 0:
        raise UsageError("A logarithmic axis takes no negative steps.", hint="Choose the linear axis.")
    columns = even_positions(len(history.steps), shown)
    view = view_of((history.total, *history.weights.shape[2:]), history.groups, history.layer)
    if look.textured and view == "rgb":
        view = "sum"  # without colours
    limit = history.sum_limit if view == "sum" else history.limit
    return _Strip(history, rows, columns, _scale(limit, scale), axis, view)


def _scale(limit: float, choice: ScaleOver | None) -> colour.Scale:
    """The scale of all tiles.

    Raises:
        UsageError: it is neither a word nor two numbers, the lower one first.
    """
    if choice is None or choice == "training":
        return colour.Scale("layer", -limit, limit, signed=True)
    if choice == "tile":
        return colour.Scale("tile", -limit, limit, signed=True, floor=colour.GOOD_AS_ZERO * limit)
    try:
        low, high = map(float, choice)
    except (TypeError, ValueError):
        low = high = math.nan
    if not -math.inf < low < high < math.inf:
        raise UsageError(f"The scale must be training, tile or LOW,HIGH with LOW below HIGH, but got {choice!r}.")
    return colour.Scale("range", low, high, signed=True)


def axis_shares(steps: Sequence[float], axis: AxisName) -> Array:
    """The positions of steps on an axis from the first, 0, to the last, 1."""
    values = np.array(steps, np.float64)
    values = np.log1p(values) if axis == "log" else values
    return np.asarray((values - values[0]) / (values[-1] - values[0]))


def history_recipe(strip: _Strip, view: str) -> dict[str, Any]:
    """The recipe of a picture: every weights file by its hash, and the numbers beside the kernels that are drawn."""
    history = strip.history
    rows = list(strip.rows)

    def numbers(values: Array) -> list[float | None]:
        return [float(f"{value:.7g}") if math.isfinite(value) else None for value in values]

    return {
        **source_facts("training", history.source),
        "layer": history.layer.name if history.layer else None,
        "view": view,
        "image": None,
        "checkpoints": [
            {"name": name, "step": step, **({"sha256": weights.sha256} if weights else {})}
            for name, step, weights in zip(
                history.labels, history.steps, history.sources or [None] * len(history.labels), strict=True
            )
        ],
        "steps": history.step_source,
        "tiles": strip.view,
        "shape": [history.total, *history.weights.shape[2:]],
        "channels": runs_text(rows),
        "shown": len(rows),
        "total": history.total,
        "columns": {"name": "checkpoint", "shown": len(strip.columns), "total": len(history.steps)},
        "scale": {"layer": "training"}.get(strip.scale.kind, strip.scale.kind),
        "limits": [strip.scale.low, strip.scale.high],
        "axis": strip.axis,
        "norms": [numbers(history.norms[at, rows]) for at in (0, -1)],
        "cosines": numbers(history.cosines[0, rows]),
        "nonfinite": int(history.nonfinite.sum()),
        "notes": _notes(strip),
    }


def _notes(strip: _Strip) -> list[str]:
    return list(irregularities(strip.history))


# ---------------------------------------------------------------------------------------------------- the film strip


@dataclass(frozen=True)
class _Layout:
    """Positions in a film strip in pixels: of columns, rows and the two charts; its type is ``unit`` times the usual."""

    unit: float
    left: float
    zoom: int
    tile: tuple[int, int]
    pitch: tuple[float, float]
    chart: float
    charts: tuple[float, float]
    width: float
    staggered: bool

    @property
    def letters(self) -> float:
        """The size of the labels."""
        return LABEL * self.unit

    @property
    def top(self) -> float:
        """The height of the labels above the first row."""
        return round(self.letters * (2.75 if self.staggered else 1.5))


def _layout(strip: _Strip, width: float, unit: float, side: float = LARGEST) -> _Layout | None:
    """The layout with tiles as large as the width allows, at most ``side``; None if they would be too small."""
    letters = LABEL * unit
    names = [_axis_name(strip), *map(str, strip.rows)]
    left = round(max(text_width(name, letters, bold=True) for name in names) + 0.7 * letters)
    values = [number_text(float(value)) for value in strip.history.norms[-1, list(strip.rows)] if math.isfinite(value)]
    beside = max([text_width(text, letters) for text in values] + [text_width("−0.00", letters)]) + 0.8 * letters
    apart = letters
    count, (tall, wide) = len(strip.columns), strip.size
    room = width - left - 2 * (CHART * unit + beside) - 2 * apart
    gap = _gap(strip)
    zoom = min(int((room / count - gap) // wide), int(side // max(tall, wide)) or 1)
    if zoom < 1 or zoom * max(tall, wide) < min(SMALLEST, max(tall, wide)):
        return None
    across, down = zoom * wide + gap, max(zoom * tall + gap, round(1.7 * letters))
    strip_width = left + count * across - gap
    steps = [step_text(strip.history.steps[at]) for at in strip.columns]
    over = max(0.0, text_width(steps[-1], letters) - zoom * wide) / 2
    first = strip_width + max(1.25 * apart, over + letters)
    chart = min(WIDEST_CHART * unit, (width - first - 0.75 * apart - 2 * beside) / 2)
    staggered = any(
        (text_width(one, letters) + text_width(other, letters)) / 2 + 0.4 * letters > across
        for one, other in pairwise(steps)
    )
    second = first + chart + beside + apart * 0.75
    return _Layout(
        unit, left, zoom, (zoom * tall, zoom * wide), (across, down), chart, (first, second), second + chart + beside,
        staggered,
    )  # fmt: skip


def strip_page(strip: _Strip) -> tuple[Panel, _Strip]:
    """The page, and what of the strip is on it: as many kernels and checkpoints as fit."""
    room = FIGURE_PIXELS / PAGE_WIDTH - 620  # of the rows: title and caption take the rest
    side = min(LARGEST, max(2 * LABEL, room / len(strip.rows) - _gap(strip)))
    layout = _layout(strip, INNER, 1.0, side)
    while layout is None and len(strip.columns) > 2:
        strip = replace(strip, columns=even_positions(len(strip.history.steps), len(strip.columns) - 1))
        layout = _layout(strip, INNER, 1.0, side)
    if layout is None:
        size = " × ".join(map(str, strip.size))
        raise UsageError(f"Tiles of {size} values do not fit into a film strip.", hint="Draw them with plot_kernels.")
    most = max(1, int(room // layout.pitch[1]))
    strip = replace(strip, rows=strip.rows[:most])
    title, identity = _title(strip), _identity(strip)
    items, y = heading(title, identity, (MARGIN, 0.75 * MARGIN), INNER, 1.0)
    body = _body(strip, layout)
    y = float(round(y + 22))
    items += moved(body, MARGIN, y)
    y += body.height + 14
    bar = _bar(strip)
    lines = _caption(strip)
    words, below = caption_block(lines, (MARGIN, y), INNER - bar.width - 50, 1.0)
    items += [*words, *moved(bar, PAGE_WIDTH - MARGIN - bar.width, round(y + 8))]
    bottom = max(below, y + 8 + bar.height) + 0.7 * MARGIN
    parts = partial(_parts, strip, body, bar, (title, identity, tuple(lines)))
    return Panel(tuple(items), PAGE_WIDTH, float(math.ceil(bottom)), parts), strip


def _parts(strip: _Strip, body: Panel, bar: Panel, texts: tuple[str, str, tuple[str, ...]]) -> PageParts:
    title, identity, lines = texts
    source = strip.history.source
    whole = Panel(
        (*body.items, *moved(bar, body.width - bar.width, body.height + 20)), body.width, body.height + 20 + bar.height
    )
    counts = dict.fromkeys(
        (count, rows)
        for count in (len(strip.columns), 10, 8, 6, 5, 4, 3, 2)
        for rows in (4, 2, 1)
        if count <= len(strip.columns)
    )
    return PageParts(
        title, whole, counted(len(strip.history.steps), "checkpoint"), source.short_label if source else "", identity,
        lines, _notices(strip), tuple(partial(_boxed, strip, *each) for each in counts),
        "Choose fewer checkpoints with --shown.",
    )  # fmt: skip


def _boxed(strip: _Strip, columns: int, least: int, box: Box) -> Body:
    """The strip with so many columns and at least so many rows, if it fits into a box."""
    unit = 1.06 * box.smallest / LABEL
    found = replace(strip, columns=even_positions(len(strip.history.steps), columns))
    nothing = Body(Panel((Text(0, 0, "", 1.0),), 1, 1))
    foot = LABEL * unit * 1.7
    bar = _flat_bar(strip, unit)
    rows = min(len(strip.rows), max(least, 8))
    layout = None
    for wanted in range(rows, min(rows, least) - 1, -1):
        side = (box.height - 2.75 * LABEL * unit - foot - bar.height) / wanted - 8
        layout = _layout(found, box.width, unit, side) if side >= 40 or max(strip.size) * 2 <= side else None
        if layout is not None and layout.top + wanted * layout.pitch[1] + foot + bar.height <= box.height:
            break
        layout = None
    if layout is None:
        return nothing
    count = min(len(strip.rows), int((box.height - layout.top - foot - bar.height) // layout.pitch[1]))
    found = replace(found, rows=strip.rows[:count])
    body = _body(found, layout)
    items = (*body.items, *moved(bar, layout.left, body.height + 6))
    facts = {
        "shown": count, "channels": runs_text(found.rows),
        "columns": {"name": "checkpoint", "shown": len(found.columns), "total": len(strip.history.steps)},
    }  # fmt: skip
    panel = Panel(items, body.width, body.height + 6 + bar.height)
    return Body(panel, _notices(found), fixed=True, facts=facts)


def _body(strip: _Strip, layout: _Layout) -> Panel:
    """Steps above the columns, a row for each kernel, and the ends of the axes below the charts."""
    history, letters = strip.history, layout.letters
    items: list[Item] = [Text(0, layout.top - 0.55 * letters, _axis_name(strip), letters, QUIET)]
    items += _step_labels(strip, layout)
    for x, name in zip(layout.charts, ("norm", "cosine"), strict=True):
        items.append(Text(x, layout.top - 0.55 * letters, name, letters, INK, bold=True))
    y = layout.top
    norms, cosines = history.norms[:, list(strip.rows)], history.cosines[:, list(strip.rows)]
    highest = float(np.nanmax(norms, initial=0.0)) if np.isfinite(norms).any() else 0.0
    lowest = min(0.0, float(np.nanmin(cosines, initial=0.0))) if np.isfinite(cosines).any() else 0.0
    drawn = [strip.tiles(position, strip.rows) for position in strip.columns]
    for row, kernel in enumerate(strip.rows):
        top = round(y + (layout.pitch[1] - _gap(strip) - layout.tile[0]) / 2)
        middle = top + layout.tile[0] / 2
        items.append(
            Text(layout.left - 0.55 * letters, middle, str(kernel), letters, QUIET, align="right", middle=True)
        )
        for at, tiles in enumerate(drawn):
            x = layout.left + at * layout.pitch[0]
            items += kernel_tile(tiles[row], strip.scale, (round(x), top), layout.zoom, filled=strip.filled)
        height = max(layout.tile[0], layout.pitch[1] - _gap(strip))
        box = (layout.charts[0], round(y), layout.chart, height)
        items += _chart(strip, norms[:, row], (0.0, highest or 1.0), box, letters, last=True)
        box = (layout.charts[1], round(y), layout.chart, height)
        items += _chart(strip, cosines[:, row], (lowest, 1.0), box, letters, last=False)
        y += layout.pitch[1]
    for x in layout.charts:
        items += _ends(strip, x, y + 1.05 * letters, layout)
    return Panel(tuple(items), layout.width, y + 1.4 * letters)


def _gap(strip: _Strip) -> int:
    """Pixels between tiles: more if their ground is that of the page."""
    return 5 if strip.view == "rgb" else 9


def _axis_name(strip: _Strip) -> str:
    return "no." if strip.history.step_source == NUMBERED else "step"


def _step_labels(strip: _Strip, layout: _Layout) -> list[Item]:
    """The step above each column, in two lines if they are wide; the first and the last always, others that have room."""
    letters, count = layout.letters, len(strip.columns)
    texts = [step_text(strip.history.steps[position]) for position in strip.columns]
    xs = [layout.left + at * layout.pitch[0] + layout.tile[1] / 2 for at in range(count)]
    halves = [text_width(text, letters) / 2 + 0.2 * letters for text in texts]
    kept: list[int] = []
    lines = [layout.staggered and at % 2 != (count - 1) % 2 for at in range(count)]
    for at in (0, count - 1, *range(1, count - 1)):
        line = [other for other in kept if lines[other] == lines[at]]
        if at in (0, count - 1) or all(abs(xs[at] - xs[other]) >= halves[at] + halves[other] for other in line):
            kept.append(at)
    base = layout.top - 0.55 * letters
    items: list[Item] = []
    for at in sorted(kept):
        y = base - (1.22 * letters if lines[at] else 0.0)
        x = max(xs[at], halves[at]) if at == 0 and lines[0] else xs[at]
        items.append(Text(x, y, texts[at], letters, INK if at in (0, count - 1) else QUIET, align="center"))
    return items


def _ends(strip: _Strip, x: float, y: float, layout: _Layout) -> list[Item]:
    """The first and the last step below a chart."""
    steps = strip.history.axis
    texts, letters = (step_text(steps[0]), step_text(steps[-1])), layout.letters
    wide = sum(text_width(text, letters) for text in texts) + 0.5 * letters
    ends: list[Item] = [Text(x + layout.chart, y, texts[1], letters, QUIET, align="right")]
    return [Text(x, y, texts[0], letters, QUIET), *ends] if wide <= layout.chart else ends


def _chart(
    strip: _Strip, values: Array, ends: tuple[float, float], box: tuple[float, float, float, float], letters: float,
    *, last: bool,
) -> list[Item]:  # fmt: skip
    """A curve over all checkpoints with gaps where there is no value, a zero line, and its last or its first value."""
    left, top, width, height = box
    low, high = ends
    inset = min(0.14 * height, 8.0)

    def y_of(value: float) -> float:
        return top + height - inset - (value - low) / (high - low) * (height - 2 * inset)

    items: list[Item] = [Raster(colour.plain("band"), left, top, width, height)]
    items.append(Rule(left, y_of(0.0), left + width, y_of(0.0), "zero line", 1.2))
    xs = left + strip.positions * width
    known = np.isfinite(values)
    points = [
        (float(x), y_of(float(value))) if there else None for x, value, there in zip(xs, values, known, strict=True)
    ]
    lines = tuple((*one, *other) for one, other in pairwise(points) if one is not None and other is not None)
    if lines:
        items.append(Strokes(lines, "series", LINE))
    for at, point in enumerate(points):
        alone = all(points[near] is None for near in (at - 1, at + 1) if 0 <= near < len(points))
        if point is not None and alone:
            items.append(_dot(point, DOT * 0.7))
    at = len(values) - 1 if last else 0
    value, point = values[at], points[at]
    if point is not None:
        items.append(_dot(point, DOT))
    text = number_text(float(value)) if last else fixed_text(float(value), 2)
    text = text if point is not None else "none"
    y = top + height / 2 if point is None else min(max(point[1], top + 0.5 * letters), top + height - 0.5 * letters)
    items.append(Text(left + width + 0.45 * letters, y, text, letters, "series" if point else QUIET, middle=True))
    return items


def _dot(at: tuple[float, float], radius: float) -> Shape:
    x, y = at
    turns = [math.tau * step / 16 for step in range(16)]
    return Shape(tuple((x + radius * math.cos(turn), y + radius * math.sin(turn)) for turn in turns), "series")


# ----------------------------------------------------------------------------------------------------- the animation


@dataclass(frozen=True)
class _FramePlan:
    """How the kernels of a frame are arranged: how many, in how many columns, how large; ``pitch`` is (across, down)."""

    count: int
    columns: int
    zoom: int
    pitch: tuple[int, int]

    @staticmethod
    def of(strip: _Strip, width: float = INNER, height: float = 760.0, letters: float = LABEL) -> _FramePlan:
        """The arrangement with the largest tiles of a frame of about 2 : 1, or of as many kernels as fit in small tiles."""
        tall, wide = strip.size
        found: list[tuple[int, int, _FramePlan]] = []
        label = round(1.5 * letters)
        widest = max(text_width(str(kernel), letters) for kernel in strip.rows) + 0.3 * letters
        few = len(strip.rows) <= 4
        for columns in (len(strip.rows), 2, 1) if few else (1, 2, 4, 8, 16, 32):
            if few and found:
                break
            across = int(width / columns) - 8
            for zoom in range(max(1, min(across // wide, 200 // max(tall, wide) or 1)), 0, -1):
                if widest > zoom * max(tall, wide) + 8:
                    continue
                pitch = (max(zoom * wide + 8, math.ceil(widest)), zoom * tall + label + 8)
                if pitch[0] * columns > width + 8:
                    continue
                fitting = int(height // pitch[1]) * columns
                count = min(len(strip.rows), fitting)
                if count:
                    found.append((count, zoom, _FramePlan(count, columns, zoom, pitch)))
        if not found:
            raise UsageError("Kernels of this size do not fit into a frame.", hint="Draw them with plot_kernels.")
        return max(found, key=lambda each: (each[0], each[1], -each[2].columns))[2]


def frame_page(strip: _Strip, plan: _FramePlan, frame: int) -> Panel:
    """The page of one checkpoint: the kernels, and a time bar with a tick for every checkpoint."""
    title, identity = _title(strip), _identity(strip)
    items, y = heading(title, identity, (MARGIN, 0.75 * MARGIN), INNER, 1.0)
    body = _frame_body(strip, plan, frame, INNER, 1.0)
    y = float(round(y + 20))
    items += moved(body, MARGIN, y)
    y += body.height + 20
    bar = _bar(strip)
    lines = _frame_caption(strip)
    words, below = caption_block(lines, (MARGIN, y), INNER - bar.width - 50, 1.0)
    items += [*words, *moved(bar, PAGE_WIDTH - MARGIN - bar.width, round(y + 6))]
    bottom = max(below, y + 6 + bar.height) + 0.7 * MARGIN
    parts = partial(_frame_parts, strip, frame, body, (title, identity, tuple(lines)))
    return Panel(tuple(items), PAGE_WIDTH, float(math.ceil(bottom)), parts)


def _frame_parts(strip: _Strip, frame: int, body: Panel, texts: tuple[str, str, tuple[str, ...]]) -> PageParts:
    title, identity, lines = texts
    source = strip.history.source
    return PageParts(
        title, body, "", source.short_label if source else "", identity, lines, _notices(strip),
        (partial(_boxed_frame, strip, frame),), "Choose fewer kernels with --top.",
    )  # fmt: skip


def _boxed_frame(strip: _Strip, frame: int, box: Box) -> Body:
    unit = 1.06 * box.smallest / LABEL
    bar = _flat_bar(strip, unit)
    plan = _FramePlan.of(strip, box.width, box.height - 4.6 * LABEL * unit - bar.height, LABEL * unit)
    found = replace(strip, rows=strip.rows[: plan.count])
    body = _frame_body(found, plan, frame, box.width, unit)
    panel = Panel((*body.items, *moved(bar, 0, body.height + 8)), body.width, body.height + 8 + bar.height)
    facts = {"shown": plan.count, "channels": runs_text(found.rows)}
    return Body(panel, _notices(found), fixed=True, facts=facts)


def _frame_body(strip: _Strip, plan: _FramePlan, frame: int, width: float, unit: float) -> Panel:
    letters = LABEL * unit
    wide = plan.zoom * strip.size[1]
    columns = min(plan.columns, plan.count)
    left = (width - columns * plan.pitch[0] + 8) / 2 if columns * plan.pitch[0] < 0.6 * width else 0.0
    left = 0.0 if left < 0 else left
    items: list[Item] = []
    for at, tile in enumerate(strip.tiles(strip.columns[frame], strip.rows)):
        row, column = divmod(at, plan.columns)
        x = round(left + column * plan.pitch[0] + (plan.pitch[0] - 8 - wide) / 2)
        y = round(row * plan.pitch[1] + 1.35 * letters)
        items.append(Text(x + wide / 2, y - 0.42 * letters, str(strip.rows[at]), letters, QUIET, align="center"))
        items += kernel_tile(tile, strip.scale, (x, y), plan.zoom, filled=strip.filled)
    foot = math.ceil(plan.count / plan.columns) * plan.pitch[1] + 0.5 * letters
    items += moved(_time_bar(strip, frame, width, unit), 0, foot)
    return Panel(tuple(items), width, foot + 3.1 * letters)


def _time_bar(strip: _Strip, frame: int, width: float, unit: float) -> Panel:
    """The axis with a tick for every checkpoint; what is past is filled in, the step above it in bold."""
    letters = LABEL * unit
    history, at = strip.history, strip.columns[frame]
    shares = strip.positions
    name = f"step {step_text(history.steps[at])}" if history.step_source != NUMBERED else history.labels[at]
    y = 1.75 * letters
    xs, now = shares * width, float(shares[at]) * width
    items: list[Item] = [
        Text(0, letters, name, letters, INK, bold=True),
        Text(width, letters, f"{at + 1} of {counted(len(history.steps), 'checkpoint')}", letters, QUIET, align="right"),
        Rule(0, y, width, y, "track", 7 * unit),
    ]
    if now > 0:
        items.append(Rule(0, y, now, y, "series", 7 * unit))
    for past, role in ((False, "rule"), (True, "series")):
        ticks = tuple((float(x), y - 9 * unit, float(x), y + 9 * unit) for x in xs if (x <= now) == past)
        if ticks:
            items.append(Strokes(ticks, role, 1.6))
    items.append(_dot((now, y), 8 * unit))
    ends = history.axis
    items.append(Text(0, y + 1.35 * letters, step_text(ends[0]), letters, QUIET))
    items.append(Text(width, y + 1.35 * letters, step_text(ends[-1]), letters, QUIET, align="right"))
    return Panel(tuple(items), width, 3.1 * letters)


# --------------------------------------------------------------------------------------------------------- the texts


def _bar(strip: _Strip) -> Panel:
    """The colour bar of the page."""
    scale = strip.scale
    if scale.kind == "tile":
        return kernel_bar("one scale per tile", coloured=strip.view == "rgb")
    ends = number_text(scale.low, plus=True), number_text(scale.high, plus=True)
    return kernel_bar(_quantity(strip), ends, coloured=strip.view == "rgb")


def _flat_bar(strip: _Strip, unit: float) -> Panel:
    """The colours in one line: for pages of one size."""
    letters = LABEL * unit
    scale = strip.scale
    low, high = (
        ("−max", "+max")
        if scale.kind == "tile"
        else (number_text(scale.low, plus=True), number_text(scale.high, plus=True))
    )
    items: list[Item] = []
    x, wide, tall = 0.0, 150.0, 0.62 * letters

    def add(text: str) -> None:
        nonlocal x
        items.append(Text(x, 0.9 * letters, text, letters, QUIET))
        x += text_width(text, letters) + 0.5 * letters

    add(_quantity(strip) if scale.kind != "tile" else "one scale per tile")
    share = np.linspace(-1, 1, int(wide))
    whole = colour.Scale("layer", -1.0, 1.0, signed=True)
    strips: list[tuple[str, Any]] = [("", colour.bar_levels(-1.0, 1.0, int(wide), signed=True))]
    if strip.view == "rgb":
        rows = colour.rgb_pixels(np.stack([np.eye(3) * value for value in share], axis=1), whole)
        strips = [(letter, rows[at : at + 1]) for at, letter in enumerate("RGB")]
    add(low)
    for letter, pixels in strips:
        if letter:
            add(letter)
        items.append(Raster(pixels, round(x), round(0.9 * letters - tall), wide, round(tall)))
        x += wide + 0.6 * letters
    add(high)
    return Panel(tuple(items), x, 1.3 * letters)


def _quantity(strip: _Strip) -> str:
    inputs = strip.history.weights.shape[2]
    return "sum of weights" if strip.view == "sum" and inputs > 1 else "weight"


def _title(strip: _Strip) -> str:
    layer = strip.history.layer
    own = ", one colour scale per tile" if strip.scale.kind == "tile" else ""
    return f"Kernels{f' of {layer.name}' if layer else ''} over training{own}"


def _identity(strip: _Strip) -> str:
    history = strip.history
    parts = [history.source.short_label] if history.source else [counted(len(history.steps), "checkpoint")]
    if history.layer:
        parts.append(layer_text(history.layer))
    shape = history.layer.weight_shape if history.layer else (history.total, *history.weights.shape[2:])
    return PART.join([*parts, f"weight {shape_text(shape)}"])


def _count(strip: _Strip) -> tuple[str, str]:
    """How many kernels, in which order, and how many checkpoints are drawn."""
    history = strip.history
    kernels = f"{len(strip.rows):,} of {counted(history.total, 'kernel')}"
    if strip.rows != tuple(sorted(strip.rows)) and history.shown(top=len(strip.rows)) == strip.rows:
        kernels += ", sorted by 1 − cosine, largest first"
    return kernels, f"{len(strip.columns):,} of {counted(len(history.steps), 'checkpoint')}"


def _scale_line(strip: _Strip) -> str:
    scale = strip.scale
    grey = "mid-grey is 0, " if strip.view == "rgb" else ""
    if scale.kind == "tile":
        return own_scale_text("tile", "absolute value", grey=strip.view == "rgb")
    if scale.kind == "range":
        clipped = f"{PART}some values are outside the colour scale and clipped" if strip.is_clipped else ""
        return f"{requested_scale_text(scale)}{clipped}"
    if scale.limit == 0:
        return "Every value is 0"
    largest = f"the largest {'weight' if _quantity(strip) == 'weight' else 'sum'} at any checkpoint"
    return f"One colour scale for all tiles: {grey}full colour is ±{number_text(scale.limit)}, {largest}"


def _view_lines(strip: _Strip, more: str = "") -> list[str]:
    """What a tile holds, if it is not the kernel itself; ``more`` follows where it is a sum."""
    inputs, *kernel = strip.history.weights.shape[2:]
    if strip.view == "inputs":
        return [f"A tile holds the {inputs:,} weights of a kernel, one per input channel, row by row"]
    slices = f", its {kernel[0]} slices below each other" if len(kernel) == 3 and kernel[0] > 1 else ""
    if strip.view == "sum" and inputs > 1:
        coloured = are_colours(strip.history.weights.shape[1:], strip.history.groups, strip.history.layer)
        over = "red, green and blue" if coloured else f"{inputs:,} input channels"
        return [f"A tile is a kernel summed over {over}{slices}{more}"]
    return [f"A tile is a kernel{slices}"] if slices else []


def _axis_line(strip: _Strip) -> str:
    history = strip.history
    where = {NUMBERED: "checkpoints numbered as given", "as given": "steps as given"}.get(
        history.step_source, f"steps from {history.step_source}"
    )
    how = "log axis (1 + step)" if strip.axis == "log" else "linear axis"
    return f"{where}, {how}"


def _caption(strip: _Strip) -> list[str]:
    kernels, checkpoints = _count(strip)
    return [
        f"Rows: {kernels}; columns: {checkpoints}",
        _scale_line(strip),
        *_view_lines(strip, "; curves are of all its weights"),
        "Norm (axis from 0) and cosine to the last checkpoint, labelled at the dots",
        f"Curves: all {counted(len(strip.history.steps), 'checkpoint')}; {_axis_line(strip)}",
        *_irregular_lines(strip),
    ]


def _frame_caption(strip: _Strip) -> list[str]:
    kernels, checkpoints = _count(strip)
    return [
        _scale_line(strip),
        *_view_lines(strip),
        f"One frame per checkpoint, not interpolated: {checkpoints}, {kernels}",
        sentence(_axis_line(strip)),
        *_irregular_lines(strip),
    ]


def _irregular_lines(strip: _Strip) -> list[str]:
    """Irregularities: kernels without a cosine, weights that are not finite, and the notes of the history."""
    history, rows = strip.history, list(strip.rows)
    lost = [kernel for kernel in rows if math.isnan(history.cosines[0, kernel])]
    lines = []
    if lost:
        lines.append(
            f"No cosine of the first and the last checkpoint (zero or not finite in one of them): {numbers_text(lost)}"
        )
    return [*lines, *map(sentence, irregularities(history))]


def _notices(strip: _Strip) -> tuple[str, ...]:
    """The lines that change the meaning of the picture."""
    own = [_scale_line(strip)] if strip.scale.kind != "layer" else []
    return (*_count(strip), *own, *_irregular_lines(strip))

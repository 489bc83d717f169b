"""How a network grows: receptive field, resolution and channels along its convolutions, three panels on one axis."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import log2
from typing import TYPE_CHECKING

import numpy as np

from kernelviz.drawing.colour import plain
from kernelviz.drawing.looks import find_look
from kernelviz.drawing.page import (
    GREY,
    INK,
    MARGIN,
    PAGE_WIDTH,
    TITLE,
    Body,
    Item,
    PageParts,
    Panel,
    Raster,
    Rule,
    Text,
    drawable,
    moved,
    text_block,
    text_width,
    wrap,
)
from kernelviz.errors import UsageError
from kernelviz.wording import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from kernelviz.drawing.figures import PageFigure
    from kernelviz.drawing.looks import LookName
    from kernelviz.drawing.page import Box
    from kernelviz.traces import Trace, TracedLayer


LEFT, RIGHT = 364.0, 1440.0
TYPE = 25.0
FEW = 8  # layers whose values are written at their steps and bars
WIDEST_BAR = 60.0
LINE, BAND, GRID = "series", "band", "grid"
STANDARD = "standard"  # a convolution of all channels; "dense" is a fully connected layer
BARS = {kind: f"family: {kind}" for kind in (STANDARD, "grouped", "pointwise 1 × 1", "depthwise")}


@dataclass(frozen=True)
class Chart:
    """One panel: its name, what it counts, its values, and the height of a value in it (0 at the bottom, 1 at the top)."""

    name: str
    words: tuple[str, str]
    values: Sequence[float]
    ticks: Sequence[float]
    height: float
    share: Callable[[float], float]
    unit: str = ""


def plot_growth(trace: Trace, *, look: LookName = "page", caption: bool = True) -> PageFigure:
    """Draw how receptive field, resolution and channels grow along the convolutions of a traced network.

    ``look`` is ``page``, ``slide``, ``dark`` or ``print``; ``caption=False`` leaves out identity and caption.

    Raises:
        UsageError: No convolution of the network has a known receptive field of rows and columns.

    Example:
        >>> network = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, stride=2), torch.nn.Conv2d(8, 16, 3))
        >>> figure = kernelviz.plot_growth(kernelviz.trace(network, (3, 64, 64)))
    """
    from kernelviz.drawing.figures import draw_page

    recipe = {
        "command": "layers",
        "model": trace.source.as_recipe() if trace.source else None,
        "layer": None,
        "view": "growth",
        "image": None,
        "input_size": list(trace.input_size),
    }
    return draw_page(growth_page(trace), recipe, find_look(look, caption=caption), badge=False)


def growth_page(trace: Trace) -> Panel:
    """The page: title, bands of stages with their names, three panels, a legend and a caption."""
    layers = [layer for layer in trace.layers if layer.family == "conv" and layer.field and layer.output_shape]
    layers = [layer for layer in layers if all(layer.output_shape or ())]
    if layers and len(trace.input_size) != 3:
        axes = counted(len(trace.input_size) - 1, "axis", "axes")
        raise UsageError(f"Growth is drawn of networks of images, but this one reads {axes}.")
    layers = [layer for layer in layers if layer.field and len(layer.field.axes) == 2 and layer.field.largest]
    if not layers:
        raise UsageError(
            "No convolution has a known receptive field.",
            hint="`kernelviz layers MODEL --kind all` lists every layer.",
        )
    items, top = _heading(trace, len(layers))
    body, foot = _body(trace, layers, top)
    items += body
    below = foot + 60
    for part in _caption(trace, layers):
        lines, below = text_block(wrap(part, TYPE, PAGE_WIDTH - 2 * MARGIN), MARGIN, below, TYPE, paragraph=part)
        items += lines
    height, width = trace.input_size[-2:]
    model = trace.source.model if trace.source else "a network"
    parts = lambda: PageParts(  # noqa: E731
        "How the network grows", _alone(trace, layers, 1.0), f"{model} at {height} × {width}", "",
        f"{len(layers)} convolutions in the order in which they run", tuple(_caption(trace, layers)), (),
        (lambda box: _boxed(trace, layers, box),), size=TITLE,
    )  # fmt: skip
    return Panel(tuple(items), PAGE_WIDTH, round(below + MARGIN / 2), parts)


def _boxed(trace: Trace, layers: Sequence[TracedLayer], box: Box) -> Body:
    """The charts as tall as the box allows with letters that are large enough."""
    room = box.height * 23 / (1.02 * box.smallest)
    return Body(_alone(trace, layers, max(0.2, min(1.0, (room - 330) / 610))))


def _alone(trace: Trace, layers: Sequence[TracedLayer], share: float) -> Panel:
    """The charts, of this share of their usual height, with the legend."""
    items, foot = _body(trace, layers, 74.0, share)
    return Panel(moved(Panel(tuple(items), 0, 0), -MARGIN, 0), PAGE_WIDTH - 2 * MARGIN, foot + 40)


def _body(trace: Trace, layers: Sequence[TracedLayer], top: float, share: float = 1.0) -> tuple[list[Item], float]:
    """The charts from this y on, with the bands of the stages and the legend; and the y of the legend."""
    charts = [replace(chart, height=round(chart.height * share)) for chart in _charts(trace, layers)]
    items: list[Item] = []
    foot = top + sum(chart.height + 60 for chart in charts)
    items += _bands(trace, layers, top, foot - 30)
    for number, chart in enumerate(charts):
        items += _frame(chart, top)
        items += _image_line(trace, chart, top) if number == 0 else []
        items += _bars(layers, chart, top) if number == len(charts) - 1 else _steps(trace, chart, top)
        top += chart.height + 60
    return [*items, *_legend(layers, foot + 10)], foot


def _heading(trace: Trace, count: int) -> tuple[list[Item], float]:
    title, (height, width) = "How the network grows", trace.input_size[-2:]
    name = drawable(trace.source.model if trace.source else "a network")
    words = f"{name} at {height} × {width}, {count} convolutions in the order in which they run"
    lines = wrap(words, TYPE, PAGE_WIDTH - 2 * MARGIN)
    items, below = text_block(lines, MARGIN, MARGIN + TITLE * 1.3, TYPE, paragraph=words)
    return [Text(MARGIN, MARGIN + TITLE * 0.8, title, TITLE, INK, bold=True, paragraph=title), *items], below + 90


def _charts(trace: Trace, layers: Sequence[TracedLayer]) -> list[Chart]:
    fields = [layer.field.largest for layer in layers if layer.field and layer.field.largest]
    rows = [len(layer.field.axes[0].first) for layer in layers if layer.field]
    channels = [layer.output_shape[0] for layer in layers if layer.output_shape]
    image = trace.input_size[-2]
    low, high = log2(min(rows)), log2(max(*rows, 2 * min(rows)))
    most_field, most_channels = max(1, *fields), max(channels)
    step = image * max(1, round(most_field / image / 4))
    halves = [max(rows)]
    while halves[-1] / 2 >= min(rows) and len(halves) < 6:
        halves.append(halves[-1] // 2)
    field = Chart(
        "receptive field", ("pixels of the input", "that one unit sees"), fields,
        range(0, most_field + 1, step), 250, lambda value: value / most_field, " px",
    )  # fmt: skip
    resolution = Chart(
        "resolution", ("rows and columns" if _square(layers) else "rows", "of the maps"), rows, halves, 180,
        lambda value: (log2(max(value, 1)) - low) / (high - low),
    )  # fmt: skip
    counts = Chart(
        "channels", ("maps that each", "convolution makes"), channels, _round_ticks(most_channels), 180,
        lambda value: value / most_channels,
    )  # fmt: skip
    return [field, resolution, counts]


def _square(layers: Sequence[TracedLayer]) -> bool:
    fields = [layer.field for layer in layers if layer.field]
    return all(len(field.axes[0].first) == len(field.axes[1].first) for field in fields)


def _round_ticks(most: int) -> list[int]:
    """0 and up to four round numbers below the largest."""
    rough = max(1, most / 3)
    power = 10 ** (len(str(int(rough))) - 1)
    step = max(1, round(rough / power) * power)
    return list(range(0, most + 1, step))


def _slot(count: int) -> float:
    return (RIGHT - LEFT) / count


def _frame(chart: Chart, top: float) -> list[Item]:
    """The name of a panel, its ticks and the lines at them."""
    items: list[Item] = [Text(MARGIN, top + TYPE, chart.name, TYPE, INK, bold=True)]
    items += [Text(MARGIN, top + TYPE * (2.3 + 1.25 * at), word, 23) for at, word in enumerate(chart.words) if word]
    taken = -100.0
    for tick in sorted(chart.ticks):
        y = top + chart.height * (1 - chart.share(tick))
        items.append(Raster(plain(GRID), LEFT, y - 1, RIGHT - LEFT, 2))  # below the bars, where a Rule would lie above
        if abs(taken - y) >= 1.3 * TYPE:
            items.append(Text(LEFT - 14, y, f"{tick:,}", TYPE, GREY, align="right", middle=True))
            taken = y
    return items


def _image_line(trace: Trace, chart: Chart, top: float) -> list[Item]:
    """A dashed line at the size of the image, its label, and a dot at the first receptive field of that size."""
    image, width = max(trace.input_size[-2:]), _slot(len(chart.values))
    first = _first_global(trace, chart.values)
    if first is None:
        return []
    y = top + chart.height * (1 - chart.share(image))
    items: list[Item] = [Rule(x, y, min(x + 12, RIGHT), y, INK, 2) for x in np.arange(LEFT, RIGHT, 20.0)]
    label = f"the image, {image:,} px"
    end = LEFT + first * width  # up to there the line of steps runs below
    if LEFT + 10 + text_width(label, TYPE) <= end:
        items.append(Text(LEFT + 10, y - 12, label, TYPE, INK))
    y = top + chart.height * (1 - chart.share(chart.values[first]))
    return [*items, Text(end + width / 2, y, "●", TYPE, LINE, align="center", middle=True)]


def _first_global(trace: Trace, fields: Sequence[float]) -> int | None:
    """The first convolution whose receptive field is as large as the image."""
    image = max(trace.input_size[-2:])
    return next((at for at, size in enumerate(fields) if size >= image), None)


def _steps(trace: Trace, chart: Chart, top: float) -> list[Item]:
    """A step line with its last value after its end; of few layers, each value stands on its step."""
    width = _slot(len(chart.values))
    heights = [top + chart.height * (1 - chart.share(value)) for value in chart.values]
    items: list[Item] = []
    for at, y in enumerate(heights):
        items.append(Rule(LEFT + at * width, y, LEFT + (at + 1) * width, y, LINE, 4))
        if at and heights[at - 1] != y:
            items.append(Rule(LEFT + at * width, heights[at - 1], LEFT + at * width, y, LINE, 4))
    if len(heights) <= FEW:
        image = top + chart.height * (1 - chart.share(max(trace.input_size[-2:]))) if chart.unit else -1.0
        first = _first_global(trace, chart.values) if chart.unit else None
        for at, (y, value) in enumerate(zip(heights[:-1], chart.values, strict=False)):
            free = (
                26 if 0 < y - image < 34 else -22 if at == first else -10
            )  # clear of the line of the image, of its dot
            items.append(Text(LEFT + (at + 0.5) * width, y + free, f"{value:,}", TYPE, LINE, align="center"))
    last = f"{chart.values[-1]:,}{chart.unit}"
    return [*items, Text(RIGHT + 14, heights[-1], last, TYPE, LINE, bold=True, middle=True)]


def _bars(layers: Sequence[TracedLayer], chart: Chart, top: float) -> list[Item]:
    width = _slot(len(layers))
    items: list[Item] = []
    for at, (layer, value) in enumerate(zip(layers, chart.values, strict=True)):
        tall = max(1.0, chart.height * chart.share(value))
        middle, base, wide = LEFT + (at + 0.5) * width, top + chart.height - tall, min(0.8 * width, WIDEST_BAR)
        items.append(Raster(plain(BARS[_family(layer)]), middle - wide / 2, base, wide, tall))
        if len(layers) <= FEW:
            items.append(Text(middle, base - 8, f"{value:,}", TYPE, GREY, align="center"))
    return items


def _family(layer: TracedLayer) -> str:
    if layer.groups and layer.groups > 1 and layer.output_shape and layer.groups == layer.output_shape[0]:
        return "depthwise"
    if layer.groups and layer.groups > 1:
        return "grouped"
    return "pointwise 1 × 1" if layer.kernel and set(layer.kernel) == {1} else STANDARD


@dataclass(frozen=True)
class Band:
    """A run of layers of one stage: its sides, the stage, and its label, empty if there is no room for it."""

    left: float
    right: float
    stage: str
    label: str


def _bands(trace: Trace, layers: Sequence[TracedLayer], top: float, foot: float) -> list[Item]:
    """Every second stage as a pale band, with its name on top if it fits."""
    items = list[Item]()
    for number, band in enumerate(_stages(trace, layers)):
        if number % 2 == 0:
            items.append(Raster(plain(BAND), band.left, top - 30, band.right - band.left, foot - top + 60))
        if band.label:
            items.append(Text((band.left + band.right) / 2, top - 44, band.label, TYPE, align="center"))
    return items


def _stages(trace: Trace, layers: Sequence[TracedLayer]) -> list[Band]:
    """The bands of the stages, labelled with their names; with the last parts of these if not all names fit."""
    owners = [_stage_of(trace, layer.name) for layer in layers]
    full = _labelled(owners, {owner: drawable(owner) for owner in owners})
    if all(band.label or not band.stage for band in full):
        return full
    short = _labelled(owners, _short_names(owners))
    return short if sum(bool(band.label) for band in short) > sum(bool(band.label) for band in full) else full


def _short_names(owners: Sequence[str]) -> dict[str, str]:
    """The last part of the name of each stage that has the parent of most; the others keep their names."""
    parents = [owner.rpartition(".")[0] for owner in dict.fromkeys(owners) if owner]
    parent = max(parents, key=parents.count)
    short = f"{parent}." if parent and parents.count(parent) > 1 else ""
    return {owner: drawable(owner.removeprefix(short)) for owner in owners}


def _labelled(owners: Sequence[str], names: Mapping[str, str]) -> list[Band]:
    """A band for each run of equal owners, with its name if that fits above it."""
    starts = [at for at in range(len(owners)) if not at or owners[at] != owners[at - 1]]
    width, taken, bands = _slot(len(owners)), LEFT - 20, list[Band]()
    for start, end in zip(starts, [*starts[1:], len(owners)], strict=True):
        left, right, name = LEFT + start * width, LEFT + end * width, names[owners[start]]
        half, middle = text_width(name, TYPE) / 2, (left + right) / 2
        fits = 2 * half <= right - left + 24 and middle - half >= taken + 12 and middle + half <= PAGE_WIDTH - MARGIN
        taken = middle + half if name and fits else taken
        bands.append(Band(left, right, owners[start], name if fits else ""))
    return bands


def _stage_of(trace: Trace, name: str) -> str:
    """The stage that contains a layer, or the module beside a stage; empty outside."""
    for stage in trace.stages:
        parent = stage.rpartition(".")[0]
        if f"{name}.".startswith(f"{stage}."):
            return stage
        if parent and name.startswith(f"{parent}.") and name.count(".") > stage.count("."):
            return ".".join(name.split(".")[: stage.count(".") + 1])
    return ""


def _legend(layers: Sequence[TracedLayer], y: float) -> list[Item]:
    x, items = LEFT, list[Item]()
    for kind, colour in BARS.items():
        sizes = {layer.kernel for layer in layers if layer.kernel and _family(layer) == kind}
        if not sizes:
            continue
        words = kind if kind.endswith("1 × 1") else f"{kind} {_sizes_text(sizes)}"
        items += [Raster(plain(colour), x, y, 20, 20), Text(x + 32, y + 10, words, TYPE, middle=True)]
        x += 32 + text_width(words, TYPE) + 44
    return items


def _sizes_text(sizes: Collection[tuple[int, ...]]) -> str:
    """``3 × 3 and 5 × 5``, or from the smallest to the largest."""
    words = [" × ".join(map(str, size)) for size in sorted(sizes)]
    return " and ".join(words) if len(words) < 3 else f"{words[0]} to {words[-1]}"


def _caption(trace: Trace, layers: Sequence[TracedLayer]) -> list[str]:
    """How to read it, which layer first sees the whole image, and the stages whose names did not fit."""
    mixed = any(layer.field and layer.field.mixes_image for layer in layers)
    also = "; gates, means and norms mix in the whole image besides" if mixed else ""
    fields = [layer.field.largest for layer in layers if layer.field and layer.field.largest]
    image, first = max(trace.input_size[-2:]), _first_global(trace, fields)
    seen = f"no convolution sees as much as the image, {image:,} px"
    if first is not None:
        name = drawable(layers[first].name)
        seen = f"● the first to see as much as the image, {image:,} px: {name}, {fields[first]:,} px"
    bands = _stages(trace, layers)
    narrow = dict.fromkeys(drawable(band.stage) for band in bands if band.stage and not band.label)
    short = [(band.label, drawable(band.stage)) for band in bands if band.label not in ("", drawable(band.stage))]
    more = f" and {len(narrow) - 12} more" if len(narrow) > 12 else ""
    return [
        f"receptive field: the largest one, as if the image had no border{also} · resolution on a logarithmic scale",
        seen,
        *([f"stages {short[0][0]} to {short[-1][0]}: {short[0][1]} to {short[-1][1]}"] if short else []),
        *([f"too narrow for their names: {', '.join(list(narrow)[:12])}{more}"] if narrow else []),
    ]

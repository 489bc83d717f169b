"""How a network grows: receptive field, resolution and channels along its convolutions, three panels on one axis."""

from __future__ import annotations

from dataclasses import replace
from math import log2
from typing import TYPE_CHECKING

import numpy as np

from kernelviz.drawing.colour import plain
from kernelviz.drawing.layer_axis import (
    BARS,
    LEFT,
    RIGHT,
    TYPE,
    Band,
    Chart,
    bands_of,
    draw_bands,
    draw_frame,
    draw_legend,
    family_of,
    slot_width,
    unlabelled_text,
)
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
    from collections.abc import Sequence

    from kernelviz.drawing.figures import PageFigure
    from kernelviz.drawing.looks import LookName
    from kernelviz.drawing.page import Box
    from kernelviz.traces import Trace, TracedLayer


FEW = 8  # layers whose values are written at their steps and bars
WIDEST_BAR = 60.0
LINE = "series"


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
        "Receptive field, resolution and channels", _alone(trace, layers, 1.0), f"{model} at {height} × {width}", "",
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
    items += draw_bands(_bands(trace, layers), top, foot - 30)
    for number, chart in enumerate(charts):
        items += draw_frame(chart, top)
        items += _image_line(trace, chart, top) if number == 0 else []
        items += _bars(layers, chart, top) if number == len(charts) - 1 else _steps(trace, chart, top)
        top += chart.height + 60
    legend, y = draw_legend(((_family(layer), layer.kernel) for layer in layers), foot + 10)
    return [*items, *legend], y - 10


def _heading(trace: Trace, count: int) -> tuple[list[Item], float]:
    title, (height, width) = "Receptive field, resolution and channels", trace.input_size[-2:]
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
        "receptive field", ("pixels of the input", "that one unit reads"), fields,
        range(0, most_field + 1, step), 250, lambda value: value / most_field, " px",
    )  # fmt: skip
    resolution = Chart(
        "resolution", ("rows and columns" if _square(layers) else "rows", "of the maps"), rows, halves, 180,
        lambda value: (log2(max(value, 1)) - low) / (high - low),
    )  # fmt: skip
    counts = Chart(
        "channels", ("output channels of", "each convolution"), channels, _round_ticks(most_channels), 180,
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


def _image_line(trace: Trace, chart: Chart, top: float) -> list[Item]:
    """A dashed line at the size of the image, its label, and a dot at the first receptive field of that size."""
    image, width = max(trace.input_size[-2:]), slot_width(len(chart.values))
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
    width = slot_width(len(chart.values))
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
    width = slot_width(len(layers))
    items: list[Item] = []
    for at, (layer, value) in enumerate(zip(layers, chart.values, strict=True)):
        tall = max(1.0, chart.height * chart.share(value))
        middle, base, wide = LEFT + (at + 0.5) * width, top + chart.height - tall, min(0.8 * width, WIDEST_BAR)
        items.append(Raster(plain(BARS[_family(layer)]), middle - wide / 2, base, wide, tall))
        if len(layers) <= FEW:
            items.append(Text(middle, base - 8, f"{value:,}", TYPE, GREY, align="center"))
    return items


def _family(layer: TracedLayer) -> str:
    return family_of(layer.kernel, layer.groups, layer.output_shape[0] if layer.output_shape else None)


def _bands(trace: Trace, layers: Sequence[TracedLayer]) -> list[Band]:
    return bands_of([layer.name for layer in layers], trace.stages)


def _caption(trace: Trace, layers: Sequence[TracedLayer]) -> list[str]:
    """How to read it, which layer first sees the whole image, and the stages whose names did not fit."""
    mixed = any(layer.field and layer.field.mixes_image for layer in layers)
    also = "; gates, means and norms also mix in the whole image" if mixed else ""
    fields = [layer.field.largest for layer in layers if layer.field and layer.field.largest]
    image, first = max(trace.input_size[-2:]), _first_global(trace, fields)
    seen = f"no receptive field is as large as the image, {image:,} px"
    if first is not None:
        name = drawable(layers[first].name)
        seen = f"● the first receptive field as large as the image, {image:,} px: {name}, {fields[first]:,} px"
    return [
        f"receptive field: the largest one, as if the image had no border{also} · resolution on a logarithmic scale",
        seen,
        *unlabelled_text(_bands(trace, layers)),
    ]

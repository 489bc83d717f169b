"""Statistics of every channel of a layer over many images, as panels on one axis of channels."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from kernelviz.drawing.colour import Indexed
from kernelviz.drawing.looks import find_look
from kernelviz.drawing.page import (
    CAPTION,
    GREY,
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
    Text,
    caption_block,
    heading,
    moved,
    outline,
    text_block,
    text_width,
    wrap,
)
from kernelviz.drawing.sheets import image_facts, source_facts
from kernelviz.wording import PART, counted, number_text, numbers_text, sentence

if TYPE_CHECKING:
    from kernelviz.drawing.figures import PageFigure
    from kernelviz.drawing.looks import LookName
    from kernelviz.drawing.page import Box
    from kernelviz.records import Array, Source
    from kernelviz.views.statistics import ChannelStatistics


LEFT, RIGHT = 392.0, 1520.0
TALL, APART = 210, 52.0
_LARGEST = float(np.finfo(np.float64).max)
ROLES = ("paper", "series", "span", "dead", "zero line")
PAPER, LINE, SPAN, DEAD, ZERO = range(len(ROLES))


@dataclass(frozen=True)
class Strip:
    """One panel: its name, what it counts, its lowest and highest value, and for each channel a span and a mark."""

    name: str
    words: str
    low: float
    high: float
    spans: tuple[Array, Array]
    marks: Array | None
    percent: bool = False


def plot_statistics(
    statistics: ChannelStatistics, source: Source | None = None, *, look: LookName = "page", caption: bool = True
) -> PageFigure:
    """Draw a layer's channels over many images: mean and deviation, the range of values, and the share of zeros.

    Channels with one value everywhere are grey from top to bottom. ``source`` is the source of the layer.

    ``look`` is ``page``, ``slide``, ``dark`` or ``print``; ``caption=False`` leaves out identity and caption.

    Example:
        >>> tally = kernelviz.ChannelTally()
        >>> tally.add(torch.rand(8, 14, 14).numpy())
        >>> figure = kernelviz.plot_statistics(tally.result())
    """
    from kernelviz.drawing.figures import draw_page

    recipe = statistics_recipe(statistics, source)
    return draw_page(statistics_page(statistics, source), recipe, find_look(look, caption=caption))


def statistics_recipe(statistics: ChannelStatistics, source: Source | None = None) -> dict[str, Any]:
    """The recipe of the figure, or of the arrays of the same numbers."""
    return {
        **source_facts("features", source),
        "layer": statistics.layer or None,
        "view": "statistics",
        **image_facts(statistics.identity, source),
        "images": len(statistics.images),
        "total": len(statistics.mean),
    }


def statistics_page(statistics: ChannelStatistics, source: Source | None = None) -> Panel:
    """The page: title, panels, the axis of channels, caption."""
    many = len(statistics.images)
    title = f"Channel statistics of {statistics.layer}" if statistics.layer else "Channel statistics"
    over = f"over {counted(many, 'image')}, {statistics.values:,} values per channel"
    identity = PART.join([*([source.short_label] if source else []), counted(len(statistics.mean), "channel"), over])
    items, top = heading(title, identity, (MARGIN, MARGIN * 0.75), PAGE_WIDTH - 2 * MARGIN, 1.0)
    top = float(round(top + 36))
    for strip in strips(statistics):
        items += _panel(strip, statistics.dead, top)
        top += TALL + APART
    items += _axis(len(statistics.mean), top - APART)
    words, below = caption_block(_caption(statistics), (MARGIN, top + 34), PAGE_WIDTH - 2 * MARGIN, 1.0)
    parts = lambda: PageParts(  # noqa: E731
        title, _body(statistics, TALL), "", source.short_label if source else "", identity, tuple(_caption(statistics)),
        _lost(statistics), (partial(_boxed, statistics),), "Choose another layer, or draw a page: --look page.",
    )  # fmt: skip
    return Panel((*items, *words), PAGE_WIDTH, round(below + MARGIN * 0.7), parts)


def _body(statistics: ChannelStatistics, tall: int) -> Panel:
    """The panels, each of this height, and the axis of channels."""
    items: list[Item] = []
    top = 0.0
    for strip in strips(statistics):
        items += _panel(strip, statistics.dead, top, tall)
        top += tall + APART
    items += _axis(len(statistics.mean), top - APART)
    return Panel(
        moved(Panel(tuple(items), 0, 0), -MARGIN, 0), PAGE_WIDTH - 2 * MARGIN, top - APART + 14 + 1.3 * CAPTION
    )


def _boxed(statistics: ChannelStatistics, box: Box) -> Body:
    room = box.height * LABEL / (1.02 * box.smallest) - 50
    return Body(_body(statistics, min(TALL, int(room / len(strips(statistics)) - APART))))


def _lost(statistics: ChannelStatistics) -> tuple[str, ...]:
    """The line about values that are not finite."""
    lost = int(statistics.nonfinite.sum())
    return (f"{lost:,} values are not finite and left out",) if lost else ()


def strips(statistics: ChannelStatistics) -> list[Strip]:
    """The panels' numbers; without any zero that of zeros is left out, and the caption states it."""
    mean, deviation = statistics.mean, statistics.deviation
    with np.errstate(over="ignore"):
        ends = (mean - deviation, mean + deviation)
    spans = tuple(np.clip(end, -_LARGEST, _LARGEST) for end in ends)
    shown = [
        _strip("mean", "line, with ± one standard deviation", (spans[0], spans[1]), mean),
        _strip("values", "from the smallest to the largest", (statistics.smallest, statistics.largest), None),
    ]
    if (statistics.zeros > 0).any():
        zeros = (np.zeros_like(mean), statistics.zeros)
        shown.append(Strip("zeros", "share of exact zeros", 0.0, 1.0, zeros, None, percent=True))
    return shown


def _strip(name: str, words: str, spans: tuple[Array, Array], marks: Array | None) -> Strip:
    finite = np.concatenate([each[np.isfinite(each)] for each in spans])
    low, high = (min(0.0, float(finite.min())), max(0.0, float(finite.max()))) if finite.size else (0.0, 0.0)
    return Strip(name, words, low, high if high / 2 > low / 2 else low + 1.0, spans, marks)


def _panel(strip: Strip, dead: Array, top: float, tall: int = TALL) -> list[Item]:
    items: list[Item] = [Text(MARGIN, top + LABEL, strip.name, LABEL, INK, bold=True)]
    lines, _ = text_block(wrap(strip.words, LABEL, LEFT - MARGIN - 150), MARGIN, top + 1.5 * LABEL, LABEL, colour=QUIET)
    items += lines
    items.append(Raster(painted(strip, dead, tall), LEFT, top, RIGHT - LEFT, tall))
    items.append(outline(LEFT, top, RIGHT - LEFT, tall))
    ticks = {strip.low, 0.0, strip.high}
    taken: list[float] = []
    for value in sorted(ticks, key=lambda tick: tick == 0):
        y = top + tall * float(_share(strip, value))
        if all(abs(y - other) > 1.3 * LABEL for other in taken):
            text = f"{100 * value:.0f} %" if strip.percent else number_text(value, plus=strip.low < 0)
            items.append(Text(LEFT - 16, y, text, LABEL, GREY, align="right", middle=True))
            items.append(Rule(LEFT - 10, y, LEFT, y))
            taken.append(y)
    return items


def painted(strip: Strip, dead: Array, height: int = TALL) -> Indexed:
    """The panel's pixels (H, W), indices of ``ROLES``: the span of each channel pale, its mark dark; dead channels grey.

    If there are more channels than columns of pixels, a column shows the union of its channels' spans, over grey if one
    of them is dead.
    """
    width = int(RIGHT - LEFT)
    pixels = np.full((height, width), PAPER, np.uint8)
    channels = len(dead)
    starts = np.arange(channels) * width // channels
    ends = np.maximum(starts + 1, (np.arange(channels) + 1) * width // channels - (channels <= width // 4))
    rows = [_rows(strip, each, height) for each in strip.spans]
    columns = [slice(int(start), int(end)) for start, end in zip(starts, ends, strict=True)]
    for number in np.flatnonzero(dead).tolist():
        pixels[:, columns[number]] = DEAD
    for number in np.flatnonzero(~dead & (rows[0] >= 0)).tolist():
        top, bottom = sorted((rows[0][number], rows[1][number]))
        pixels[top : bottom + 1, columns[number]] = LINE if strip.marks is None else SPAN
    if strip.marks is not None:
        for number, row in enumerate(_rows(strip, strip.marks, height)):
            if row >= 0 and not dead[number]:
                pixels[max(0, row - 1) : row + 2, columns[number]] = LINE
    zero = int(_rows(strip, np.zeros(1), height)[0])
    pixels[zero][pixels[zero] == PAPER] = ZERO
    return Indexed(pixels, ROLES)


def _share(strip: Strip, values: Any) -> Any:
    """The distance of values from the panel's top as shares of its height; in halves, since ±1e308 are too far apart."""
    return (strip.high / 2 - values / 2) / (strip.high / 2 - strip.low / 2)


def _rows(strip: Strip, values: Array, height: int) -> Any:
    """The row of pixels of each value; -1 if it is not finite."""
    share = _share(strip, values)
    rows = np.clip(np.rint(np.nan_to_num(share, posinf=0, neginf=0) * (height - 1)), 0, height - 1).astype(int)
    return np.where(np.isfinite(values), rows, -1)


def _axis(channels: int, y: float) -> list[Item]:
    slot = (RIGHT - LEFT) / channels
    room = text_width(str(channels), LABEL) + 30
    step = next(
        each for power in range(6) for each in (10**power, 2 * 10**power, 5 * 10**power)
        if each * slot >= room or each >= channels
    )  # fmt: skip
    items: list[Item] = [Text(MARGIN, y + 12 + LABEL, "channel", LABEL, QUIET)]
    for number in range(0, channels, step):
        x = LEFT + (number + 0.5) * slot
        items.append(Rule(x, y, x, y + 8))
        items.append(Text(x, y + 12 + CAPTION, str(number), LABEL, GREY, align="center"))
    return items


def _caption(statistics: ChannelStatistics) -> list[str]:
    dead = np.flatnonzero(statistics.dead)
    lines = []
    if dead.size:
        are = counted(dead.size, "channel is", "channels are")
        lines.append(f"{are} dead (the same value in all images), grey: {numbers_text(dead.tolist())}")
    else:
        lines.append("No channel is dead (the same value in all images)")
    if not (statistics.zeros > 0).any():
        lines.append("No value is exactly zero")
    highest = statistics.largest
    if np.isfinite(highest).any():
        channel = int(np.nanargmax(highest))
        image = statistics.images[int(statistics.image[channel])]
        lines.append(f"Largest value: {number_text(float(highest[channel]))}, in channel {channel} of image {image}")
    lines += _lost(statistics)
    if len(statistics.mean) > RIGHT - LEFT:
        lines.append("More channels than columns of pixels: a column shows several")
    return [*lines, *map(sentence, statistics.notes)]

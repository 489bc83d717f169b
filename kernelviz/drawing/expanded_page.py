"""The channels of a layer as linear weights on the pixels, each with how much of its real output they explain."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from kernelviz.drawing import colour
from kernelviz.drawing.captions import own_scale_text
from kernelviz.drawing.kernel_bar import kernel_bar
from kernelviz.drawing.looks import find_look
from kernelviz.drawing.page import (
    GREY,
    INK,
    LABEL,
    MARGIN,
    OUTLINE,
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
    text_width,
)
from kernelviz.drawing.sheets import image_facts, source_facts
from kernelviz.errors import KernelvizError
from kernelviz.views.kernel_views import named_channels
from kernelviz.views.linear_weights import HALF
from kernelviz.views.map_views import downsampled
from kernelviz.wording import PART, counted, numbers_text, runs_text, sentence

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kernelviz.drawing.colour import Content
    from kernelviz.drawing.figures import PageFigure
    from kernelviz.drawing.looks import Look, LookName
    from kernelviz.drawing.page import Box
    from kernelviz.records import Array
    from kernelviz.views.linear_weights import LinearWeights


TILE, LARGE, TILE_GAP = 134, 280, 15.0  # pixels: the side that a tile aims for, that of a few tiles, and between two
MOST, FEW = 100, 5  # channels on a page, and those that are drawn large
LARGEST_TILE = 672  # pixels; fields that are larger are averaged
BAR, BAR_GAP = 8.0, 9.0
PALER = 0.6  # of the contrast of a tile, below its veil


def plot_expanded(
    expanded: LinearWeights,
    *,
    channels: str | Sequence[int] | None = None,
    show_all: bool = False,
    look: LookName = "page",
    caption: bool = True,
) -> PageFigure:
    """Draw the channels of a layer as linear weights on pixels, each with the share of its output that they explain.

    Each tile has its own range: mid-grey is 0, full colour its largest weight. A tile that explains less than one half of
    the variation of its channel is veiled. Channels as good as zero are grey and struck through.

    Args:
        expanded: The weights, as ``expand_units`` returns them.
        channels: The channels to draw, ``"0-15,40"`` or numbers; by default the first hundred.
        show_all: Whether a layer is drawn of which no channel is explained by one half.
        look: ``page``, ``slide``, ``dark`` or ``print``.
        caption: Whether identity and caption are drawn.

    Raises:
        KernelvizError: no channel of the layer is explained by one half, and not ``show_all``.
        UsageError: there is no such channel.

    Example:
        >>> network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Conv2d(4, 4, 3))
        >>> expanded = kernelviz.expand_units(network, [torch.rand(3, 12, 12) for _ in range(4)], "2")
        >>> figure = kernelviz.plot_expanded(expanded, show_all=True)
    """
    from kernelviz.drawing.figures import draw_page

    check_explained(expanded, show_all=show_all)
    chosen = find_look(look, caption=caption)
    total = len(expanded.weights)
    numbers = tuple(range(min(MOST, total))) if channels is None else named_channels(channels, total)
    page = expanded_page(expanded, numbers, chosen)
    return draw_page(page, expanded_recipe(expanded, numbers), chosen)


def check_explained(expanded: LinearWeights, *, show_all: bool) -> None:
    """Reject a layer whose tiles would explain nothing, unless all are requested.

    Raises:
        KernelvizError: no channel is explained by one half.
    """
    if show_all or expanded.half.any():
        return
    alive = expanded.explained[~expanded.dead]
    if not alive.size:
        if expanded.negligible.all():
            raise KernelvizError(f"All channels of {expanded.layer} are as good as zero.", hint="Choose another layer.")
        what = f"No channel of {expanded.layer} varies over the images on which its weights are judged."
        raise KernelvizError(what, hint="Give other images, or choose another layer.")
    best = int(np.nanargmax(np.where(expanded.dead, np.nan, expanded.explained)))
    what = f"No channel of {expanded.layer} has linear weights that explain one half of its output."
    why = (
        f"They explain {_percent(float(alive.max()))} of channel {best}, the most, and {_percent(expanded.median)} in the "
        f"median of {counted(alive.size, 'channel')}, over {counted(len(expanded.judged), 'image')}."
    )
    last = f"The last convolution before it that works is {expanded.works}. " if expanded.works else ""
    raise KernelvizError(what, why, f"{last}With --all (show_all=True) it is drawn nevertheless.")


def expanded_recipe(expanded: LinearWeights, numbers: Sequence[int]) -> dict[str, Any]:
    """The recipe of the picture; it contains no path."""
    return {
        **source_facts("expand", expanded.source),
        "layer": expanded.layer,
        "view": "expanded",
        "slopes": expanded.slopes,
        "shape": list(expanded.weights.shape),
        **image_facts(expanded.identity, expanded.source),
        "input_size": list(expanded.input_size),
        "images": list(expanded.image_recipes),
        "measured": list(expanded.measured),
        "judged": list(expanded.judged),
        "channels": runs_text(numbers),
        "shown": len(numbers),
        "total": len(expanded.weights),
    }


@dataclass(frozen=True)
class _Layout:
    """The pixels of a value (negative: the values of a pixel), tiles in a row, size of letters, pictures of a tile."""

    zoom: int
    across: int
    letters: float
    planes: int
    width: float

    def side(self, length: int) -> int:
        """The pixels of a tile along a side of the field."""
        return length * self.zoom if self.zoom > 0 else math.ceil(length / -self.zoom)


def expanded_page(expanded: LinearWeights, numbers: Sequence[int], look: Look) -> Panel:
    """The page: title, tiles with numbers, bars and percentages, caption and the bars of the colours."""
    inner = PAGE_WIDTH - 2 * MARGIN
    items, y = heading(_title(expanded), _identity(expanded), (MARGIN, 0.75 * MARGIN), inner, 1.0)
    y = float(round(y + 14))
    layout = _layout(expanded, inner, LABEL, look, side=TILE if len(numbers) > FEW else LARGE)
    tiles = _tiles(expanded, numbers, layout)
    items += moved(tiles, MARGIN, y)
    y += tiles.height + 8
    lines = _caption(expanded, numbers, look)
    coloured = expanded.weights.shape[1] == 3 and _planes(expanded, look) == 1
    bars = kernel_bar("one scale per tile", coloured=coloured)
    words, below = caption_block(lines, (MARGIN, y), inner - bars.width - 56, 1.0)
    items += [*words, *moved(bars, MARGIN + inner - bars.width, y + 6)]
    bottom = max(below, y + 6 + bars.height)
    parts = partial(_parts, expanded, tuple(numbers), tiles, tuple(lines), look)
    return Panel(tuple(items), PAGE_WIDTH, float(round(bottom + 0.6 * MARGIN)), parts)


def _layout(expanded: LinearWeights, width: float, letters: float, look: Look, side: float = TILE) -> _Layout:
    """Whole pixels for each value, and as many tiles in a row as there is space for."""
    rows, columns = expanded.weights.shape[2:]
    planes = _planes(expanded, look)
    longest, side = max(rows, columns), side if planes == 1 else 2 * side / 3
    most = min(float(LARGEST_TILE), width / planes)
    zoom = max(1, int(side // longest)) if longest <= most else -math.ceil(longest / most)
    wide = planes * (columns * zoom if zoom > 0 else math.ceil(columns / -zoom))
    least = text_width("100 %", letters) + 6
    across = max(1, int((width + TILE_GAP) // (max(wide, least) + TILE_GAP)))
    return _Layout(zoom, across, letters, planes, width)


def _planes(expanded: LinearWeights, look: Look) -> int:
    """The pictures of one tile: without colours one each for red, green and blue."""
    return 3 if expanded.weights.shape[1] == 3 and look.textured else 1


def _tiles(expanded: LinearWeights, numbers: Sequence[int], layout: _Layout) -> Panel:
    """The tiles with their numbers above and their bars and percentages below."""
    rows, columns = expanded.weights.shape[2:]
    tall, wide = layout.side(rows), layout.side(columns) * layout.planes
    pitch = max(wide, text_width("100 %", layout.letters) + 6) + TILE_GAP
    if len(numbers) > layout.across > 1:  # the last column ends where the page does
        pitch = min((layout.width - wide) / (layout.across - 1), pitch + TILE_GAP)
    size, step = layout.letters, _step(tall, layout.letters)
    dead, half = expanded.dead, expanded.half
    items: list[Item] = []
    for at, number in enumerate(numbers):
        x, y = round(at % layout.across * pitch), at // layout.across * step
        top = y + math.ceil(1.28 * size)
        explains = bool(half[number])
        role = INK if explains else QUIET
        items.append(Text(x, top - 0.36 * size, str(number), size, role, bold=explains))
        if dead[number]:
            items.append(Raster(colour.plain("dead"), x, top, wide, tall))
            items.append(Rule(x, top + tall, x + wide, top, "paper", 2))
        else:
            contents = _contents(expanded.weights[number], layout, veiled=not explains)
            part = wide / len(contents)
            items += [Raster(each, x + at * part, top, part, tall) for at, each in enumerate(contents)]
        items.append(outline(x, top, wide, tall, colour=OUTLINE))
        bar = top + tall + BAR_GAP
        items.append(Raster(colour.plain("track"), x, bar, wide, BAR))
        share = 0.0 if dead[number] else float(expanded.explained[number])
        if round(wide * share):
            items.append(Raster(colour.plain("bar" if explains else "other step"), x, bar, round(wide * share), BAR))
        text = "–" if dead[number] else _percent(share)
        items.append(Text(x + wide, bar + BAR + size, text, size, GREY if explains else QUIET, align="right"))
    count = len(numbers)
    across = min(layout.across, count)
    return Panel(tuple(items), round((across - 1) * pitch) + wide, math.ceil(count / layout.across) * step)


def _step(tall: int, letters: float) -> int:
    """From one row of tiles to the next: number, tile, bar and percentage."""
    return math.ceil(1.28 * letters + tall + BAR_GAP + BAR + 1.5 * letters)


def _contents(weights: Array, layout: _Layout, *, veiled: bool) -> list[Content]:
    """The pictures of a tile (I, h, w): its colours, or its planes in blue and red."""
    if layout.zoom < 0:
        weights = np.stack([downsampled(plane, *map(layout.side, plane.shape)) for plane in weights])
    limit = float(np.abs(weights).max(initial=0.0)) or 1.0
    if len(weights) == 3 and layout.planes == 1:
        scale = colour.Scale("layer", -limit, limit, signed=True)
        pixels = colour.rgb_pixels(np.moveaxis(weights, 0, -1), scale)
        if not veiled:
            return [pixels]
        paler = np.rint(127.5 + PALER * (pixels.astype(np.float64) - 127.5)).astype(np.uint8)
        return [colour.Veiled(paler, (slice(0, 0), slice(0, 0)))]
    planes = weights if len(weights) == layout.planes else weights.sum(0, keepdims=True)
    limit = float(np.abs(planes).max(initial=0.0)) or 1.0
    scale = colour.Scale("layer", -limit, limit, signed=True)
    shown = planes * (0.3 if veiled else 1.0)
    return [colour.Indexed(colour.levels(plane[None], scale)[0], colour.Ramp(None, signed=True)) for plane in shown]


def _percent(share: float) -> str:
    """``92 %``; less than one half is never written as 50 %."""
    whole = math.floor(100 * share) if share < HALF else round(100 * share)
    return f"{whole} %"


def _title(expanded: LinearWeights) -> str:
    return f"{expanded.layer} as linear weights on pixels"


def _identity(expanded: LinearWeights) -> str:
    rows, columns = expanded.weights.shape[2:]
    images = len(expanded.measured) + len(expanded.judged)
    size = " × ".join(map(str, expanded.input_size[1:]))
    source = [expanded.source.short_label] if expanded.source else []
    return PART.join([*source, f"receptive field {rows} × {columns} px", f"{counted(images, 'image')} at {size}"])


def _is_exact(expanded: LinearWeights) -> bool:
    return not expanded.activations and not expanded.pools


def _truth(expanded: LinearWeights) -> str:
    """What is left out, the first line of the caption."""
    if _is_exact(expanded):
        return "Exactly what the unit computes, up to a constant: there is no activation before it"
    if not expanded.activations:
        return "Not what the unit computes: each max pooling before it is replaced by an average pooling"
    left = "Not what the unit computes: each activation before it is replaced by"
    if expanded.slopes == "one":
        return f"{left} the identity"
    images = counted(len(expanded.measured), "image")
    return f"{left} its mean slope over {images}"


def _count(expanded: LinearWeights, shown: int) -> str:
    total, half = len(expanded.weights), int(expanded.half.sum())
    half_text = f"at least half of the variance is explained in {half:,} of {total:,}"
    return f"{shown:,} of {counted(total, 'channel')}; {half_text}"


def _caption(expanded: LinearWeights, numbers: Sequence[int], look: Look) -> list[str]:
    others = "other image" if expanded.slopes == "mean" else "image"
    images = counted(len(expanded.judged), others)
    bar = f"Bar: explained variance of the real output on {images}"
    veiled = any(not expanded.half[number] and not expanded.dead[number] for number in numbers)
    lines = [
        _truth(expanded),
        f"{bar}; tiles below one half are faded, as they do not describe the unit" if veiled else bar,
        _count(expanded, len(numbers)),
        *_dead(expanded, numbers),
    ]
    inputs = expanded.weights.shape[1]
    if inputs == 3 and _planes(expanded, look) == 1:
        lines.append(own_scale_text("tile", "absolute weight", grey=True))
    elif inputs == 3:
        lines.append("One colour scale per tile; left to right: its red, green and blue plane")
    elif inputs == 1:
        lines.append("One colour scale per tile: red positive, blue negative")
    else:
        lines.append(f"Each tile is the sum over the {inputs:,} channels of the image; one colour scale per tile")
    if expanded.pools:
        lines.append(f"Max pooling replaced by average pooling: {', '.join(expanded.pools)}")
    if min(_layout(expanded, PAGE_WIDTH - 2 * MARGIN, LABEL, look).zoom, 0):
        lines.append("Tiles are reduced: each pixel is the mean of several weights")
    return [*lines, *map(sentence, expanded.notes)]


def _dead(expanded: LinearWeights, numbers: Sequence[int]) -> list[str]:
    """Why channels are struck through."""
    zero = [number for number in numbers if expanded.negligible[number]]
    constant = [number for number in numbers if expanded.dead[number] and not expanded.negligible[number]]
    are, vary = counted(len(zero), "channel is", "channels are"), counted(len(constant), "channel does", "channels do")
    return [
        *([f"{are} as good as zero, struck through: {numbers_text(zero)}"] if zero else []),
        *([f"{vary} not vary over these images, struck through: {numbers_text(constant)}"] if constant else []),
    ]


def _notices(expanded: LinearWeights, shown: int) -> tuple[str, ...]:
    """The lines that change the meaning of the picture."""
    images = counted(len(expanded.judged), "image")
    bar = f"bar: explained variance on {images}, faded below one half"
    truth = _truth(expanded)
    return truth, bar, _count(expanded, shown)


def _parts(
    expanded: LinearWeights, numbers: tuple[int, ...], tiles: Panel, lines: tuple[str, ...], look: Look
) -> PageParts:
    return PageParts(
        _title(expanded), tiles, source=expanded.source.short_label if expanded.source else "",
        identity=_identity(expanded), caption=lines, notices=_notices(expanded, len(numbers)),
        versions=(partial(_boxed, expanded, numbers, look),),
        hint="Choose fewer channels with --channels, or draw a page: --look page.",
    )  # fmt: skip


def _boxed(expanded: LinearWeights, numbers: tuple[int, ...], look: Look, box: Box) -> Body:
    """As many tiles as fit into a box, the first of them, as large as possible in whole pixels."""
    size = max(box.smallest, 20.0)
    best: tuple[int, _Layout] | None = None
    for side in range(200, 71, -4):
        layout = _layout(expanded, box.width, size, look, side)
        step = _step(layout.side(expanded.weights.shape[2]), size)
        count = min(len(numbers), layout.across * int(box.height // step))
        if count and (best is None or count > best[0]):
            best = count, layout
        if count == len(numbers):
            break
    if best is None:
        return Body(Panel((Text(0, 0, "", 1.0),), 1, 1))  # letters that are too small
    count, layout = best
    shown = numbers[:count]
    panel = _tiles(expanded, shown, layout)
    facts = {"channels": runs_text(shown), "shown": count}
    return Body(panel, _notices(expanded, count), fixed=True, facts=facts)

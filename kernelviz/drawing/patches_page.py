"""What excites the channels of a layer: one row per channel, its kernel and its best patches with their values."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from kernelviz.drawing import colour
from kernelviz.drawing.captions import layer_text, own_scale_text
from kernelviz.drawing.looks import find_look
from kernelviz.drawing.mosaic import Mosaic
from kernelviz.drawing.page import (
    BAR_HEIGHT,
    BAR_WIDTH,
    GREY,
    INK,
    LABEL,
    MARGIN,
    OUTLINE,
    PAGE_WIDTH,
    QUIET,
    BarStyle,
    Body,
    Item,
    PageParts,
    Panel,
    Raster,
    Strokes,
    Text,
    caption_block,
    colour_bar,
    heading,
    moved,
    outline,
    right_end,
    text_width,
)
from kernelviz.drawing.sheets import FIGURE_PIXELS, image_facts, source_facts
from kernelviz.errors import UsageError
from kernelviz.views.patches import (
    Crop,
    border_text,
    choice_text,
    clipping_texts,
    end_text,
    irregularities,
    reduction_text,
    shrunk,
    ties_text,
)
from kernelviz.wording import PART, counted, number_text, sentence

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kernelviz.drawing.figures import PageFigure
    from kernelviz.drawing.looks import LookName
    from kernelviz.drawing.page import Box
    from kernelviz.records import Array, KernelBank
    from kernelviz.views.patches import Patches, Ranking


INNER = PAGE_WIDTH - 2 * MARGIN
MOST_COLUMNS, LINES_APART, BLOCKS_APART = 8, 16, 48.0
KERNEL, LARGEST, GAP, APART = 120, 168, 14.0, 22.0
HATCH, CROSS = 11.0, 9.0
TALLEST = FIGURE_PIXELS / PAGE_WIDTH - 620  # of the rows: title and caption take the rest
HATCH_GROUND, HATCH_LINE = "side", "quiet"


def plot_patches(
    patches: Patches,
    channels: str | Sequence[int] | None = None,
    *,
    top: int | None = None,
    kernels: KernelBank | None = None,
    look: LookName = "page",
    caption: bool = True,
) -> PageFigure:
    """Draw what excites the channels of a layer: one row per channel, its patches in their order, below them the values.

    What is outside the image is hatched. Channels of which nothing fits on the page are left out, and the caption states
    how many are drawn.

    Args:
        patches: As ``crop_patches`` returns them, with the crops of these channels.
        channels: Numbers, or a string like ``0-3,7``; by default those whose patches are highest above their mean.
        top: The number of channels by default; six.
        kernels: The kernels of the layer, drawn at the left if they read three channels, or one; not those of groups of
            three.
        look: ``page``, ``slide``, ``dark`` or ``print``.
        caption: Whether identity and caption are drawn.

    Raises:
        UsageError: a channel does not exist, or its patches were not cut.

    Example:
        >>> network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 5), torch.nn.ReLU())
        >>> images = [torch.rand(3, 16, 16) for _ in range(3)]
        >>> tally = kernelviz.PatchTally(patches=3)
        >>> kernelviz.capture_many(network, images, "1", on_map=tally.add)
        ()
        >>> patches = kernelviz.crop_patches(network, tally.result(), images)
        >>> figure = kernelviz.plot_patches(patches)
    """
    from kernelviz.drawing.figures import draw_page

    numbers = patches.chosen(channels, top)
    page = patches_page(patches, numbers, kernels)
    return draw_page(page.panel, patches_recipe(patches, page.channels), find_look(look, caption=caption))


def patches_recipe(patches: Patches, channels: Sequence[int]) -> dict[str, Any]:
    """The recipe of a picture of these channels; it identifies all images together, and those shown one by one."""
    indices = dict.fromkeys(image for image, _, _ in patches.places_of(channels))
    notes = [*irregularities(patches, channels), *map(sentence, patches.notes)]
    return {
        **source_facts("patches", patches.source),
        "layer": patches.layer or None,
        "view": "patches",
        **image_facts(patches.identity, patches.source),
        "input_size": list(patches.input_size) if patches.input_size else None,
        "images": [{"name": patches.images[at], "sha256": patches.digests[at]} for at in indices],
        "patches": int(patches.values.shape[1]),
        "per_image": patches.per_image,
        "inside": patches.inside,
        "lowest": patches.lowest is not None,
        "channels": list(channels),
        "shown": len(channels),
        "total": len(patches.mean),
        "nonfinite": int(patches.nonfinite.sum()),
        "notes": notes,
    }


@dataclass(frozen=True)
class PatchesPage:
    """The page and the channels that are on it."""

    panel: Panel
    channels: tuple[int, ...]


@dataclass(frozen=True)
class _Layout:
    """How the rows are laid out: the side of a cell, how many are in a line, where the first one begins.

    A value of the image becomes ``zoom`` pixels, or ``shrink`` by ``shrink`` values one pixel. If receptive fields are
    larger than the image, ``clipped``, only their parts inside are drawn, with a cross at the centre of the field. If each
    unit reads the whole image, ``map_size`` are the rows and columns of the map, of which the unit's own one is framed.
    """

    cell: int
    columns: int
    numbers: float
    left: float
    pitch: float
    zoom: int
    shrink: int
    clipped: bool
    map_size: tuple[int, int] | None = None


def patches_page(patches: Patches, channels: Sequence[int], kernels: KernelBank | None = None) -> PatchesPage:
    """The page of these channels, or of the first ones that fit.

    Raises:
        UsageError: the patches of a channel were not cut.
    """
    lost = [place for place in patches.places_of(channels) if place not in patches.crops]
    if lost:
        raise UsageError(
            "The patches of these channels were not cut.", hint="Give what `crop_patches` returns for them."
        )
    kernels = kernels if kernels is not None and _are_pictures(kernels, len(patches.mean)) else None
    layout = _layout(patches, channels, kernels)
    rows = [_row(patches, channel, kernels, layout) for channel in channels]
    blocks = _blocks(rows)
    heights = np.cumsum(
        [max(row.height for row in rows[at : at + blocks]) + APART for at in range(0, len(rows), blocks)]
    )
    kept = channels[: blocks * max(1, int(np.count_nonzero(heights <= TALLEST)))]
    title, identity = _title(patches), _identity(patches, kernels)
    items, y = heading(title, identity, (MARGIN, 0.75 * MARGIN), INNER, 1.0)
    body = _body(patches, kept, kernels, layout)
    y = float(round(y + 20))
    items += moved(body, MARGIN, y)
    y += body.height
    key = _key() if kernels is not None and kernels.weight.shape[1] == 1 else Panel((), 0, 0)
    lines = _caption(patches, kept, kernels, layout)
    words, below = caption_block(lines, (MARGIN, y + 8), INNER - (key.width + 44 if key.width else 0), 1.0)
    items += [*words, *moved(key, PAGE_WIDTH - MARGIN - key.width, y + 12)]
    bottom = max(below, y + 12 + key.height) + 0.7 * MARGIN
    parts = partial(_parts, patches, channels, kernels, (title, identity, tuple(lines)), layout)
    return PatchesPage(Panel(tuple(items), PAGE_WIDTH, float(math.ceil(bottom)), parts), tuple(kept))


def _parts(
    patches: Patches,
    channels: Sequence[int],
    kernels: KernelBank | None,
    texts: tuple[str, str, tuple[str, ...]],
    layout: _Layout,
) -> PageParts:
    title, identity, lines = texts
    counts = range(min(len(channels), 12), 0, -1)
    versions = [partial(_boxed, patches, channels[:count], kernels, layout) for count in counts]
    many = counted(len(patches.images), "image")
    return PageParts(
        title, _body(patches, channels, kernels, layout), many, patches.source.short_label if patches.source else "",
        identity, lines, _notices(patches, channels), tuple(versions), "Choose fewer patches with --patches.",
    )  # fmt: skip


def _boxed(patches: Patches, channels: Sequence[int], kernels: KernelBank | None, layout: _Layout, box: Box) -> Body:
    """These channels, if their letters are large enough in the box."""
    panel = _body(patches, channels, kernels, layout)
    if min(box.width / panel.width, box.height / panel.height) * LABEL < box.smallest:
        return Body(Panel((Text(0, 0, "", 1.0),), 1, 1))
    return Body(panel, _notices(patches, channels), facts={"channels": list(channels), "shown": len(channels)})


def _are_pictures(kernels: KernelBank, channels: int) -> bool:
    """Whether each kernel is one picture of its channel: of colour, or a single plane, larger than one number."""
    shape = kernels.weight.shape
    one = shape[1] == 1 or kernels.are_colours
    return len(shape) == 4 and shape[0] == channels and one and 1 < max(shape[2:]) <= KERNEL


def _layout(patches: Patches, channels: Sequence[int], kernels: KernelBank | None) -> _Layout:
    """The largest cells that a line of patches has room for; each pixel of an image is a whole number of pixels."""
    clipped, framed = patches.exceeds_image, patches.map_size if patches.covers_image else None
    boxes = [
        crop.inside if clipped else crop.box for crop in map(patches.crops.get, patches.places_of(channels)) if crop
    ]
    largest = max((max(box[1] - box[0], box[3] - box[2]) + 1 for box in boxes), default=1)
    names = [str(channel) for channel in channels]
    numbers = max(text_width(name, LABEL, bold=True) for name in names) + 22
    if patches.lowest is not None:
        numbers = max(numbers, text_width("lowest", LABEL) + 22)
    left = numbers + (KERNEL + 34 if kernels is not None else 0)
    count = min(patches.possible, MOST_COLUMNS)
    cell, tight = (min(LARGEST, int((INNER - left + gap) / count - gap)) for gap in (GAP, 8.0))
    if cell < largest <= tight:
        cell = tight
    elif cell < largest <= LARGEST:  # in two lines
        count = -(-count // 2)
        cell = min(LARGEST, int((INNER - left + GAP) / count - GAP))
    zoom, shrink = max(1, cell // largest), -(-largest // cell)
    cell = min(cell, max(96, zoom * (-(-largest // shrink))))
    pitch = min(cell + 60, (INNER - left - cell) // (count - 1)) if count > 3 else cell + GAP
    return _Layout(cell, count, numbers, left, float(pitch), zoom, shrink, clipped, framed)


def _body(patches: Patches, channels: Sequence[int], kernels: KernelBank | None, layout: _Layout) -> Panel:
    """The ranks above the columns, and a row for each channel."""
    rows = [_row(patches, channel, kernels, layout) for channel in channels]
    blocks = _blocks(rows)
    items: list[Item] = []
    y = 0.0
    if blocks == 1 and 1 < patches.possible <= layout.columns:
        for at in range(layout.columns):
            x = layout.left + at * layout.pitch + layout.cell / 2
            items.append(Text(x, LABEL, str(at + 1), LABEL, QUIET, align="center"))
        if kernels is not None:
            items.append(Text(layout.numbers + KERNEL / 2, LABEL, "kernel", LABEL, QUIET, align="center"))
        y = LABEL + 14
    width = max(row.width for row in rows)
    for first in range(0, len(rows), blocks):
        line = rows[first : first + blocks]
        for at, row in enumerate(line):
            items += moved(row, round(at * (width + BLOCKS_APART)), y)
        y += max(row.height for row in line) + APART
    across = min(blocks, len(rows))
    return Panel(tuple(items), across * (width + BLOCKS_APART) - BLOCKS_APART, y - APART + 14)


def _blocks(rows: Sequence[Panel]) -> int:
    """How many rows fit beside each other."""
    width = max(row.width for row in rows)
    return max(1, math.floor((INNER + BLOCKS_APART) / (width + BLOCKS_APART)))


def _row(patches: Patches, channel: int, kernels: KernelBank | None, layout: _Layout) -> Panel:
    """One channel: its number, its kernel, and its patches."""
    items: list[Item] = []
    y = 0.0
    for at, ranking in enumerate(patches.rankings):
        name = str(channel) if at == 0 else "lowest"
        items.append(Text(0, y + layout.cell / 2, name, LABEL, QUIET if at else INK, bold=not at, middle=True))
        if kernels is not None and not at:
            items += _kernel(kernels.weight[channel], layout)
        more, y = _line(patches, ranking, channel, y, layout)
        items += more
        y += LINES_APART if at + 1 < len(patches.rankings) else 0
    height = max(y, (layout.cell + KERNEL) / 2 if kernels is not None else 0)
    width = max(layout.left + (layout.columns - 1) * layout.pitch + layout.cell, right_end(items))
    return Panel(tuple(items), float(math.ceil(width)), float(math.ceil(height)))


def _line(patches: Patches, ranking: Ranking, channel: int, y: float, layout: _Layout) -> tuple[list[Item], float]:
    """The patches of a channel, in several lines if one is too short for them, and the y below."""
    items: list[Item] = []
    most, count, ties = patches.possible, int(ranking.counts[channel]), ties_text(ranking, channel)
    below = round(8 + 1.3 * LABEL)
    step = layout.cell + below + LINES_APART
    for at in range(count):
        line, column = divmod(at, layout.columns)
        x = layout.left + column * layout.pitch
        top = y + line * step
        place = tuple(ranking.places[channel, at].tolist())
        items += _tile(patches.crops[place], round(x), round(top), layout, place[1:])
        text = number_text(float(ranking.values[channel, at]), plus=True)
        items.append(Text(x + layout.cell / 2, round(top) + layout.cell + 8 + LABEL, text, LABEL, align="center"))
    lines = max(1, -(-(count + (count < most)) // layout.columns))
    if count < most:
        line, column = divmod(count, layout.columns)
        x, top = layout.left + column * layout.pitch, y + line * step
        items += _end(patches, ranking, channel, (round(x), round(top)), layout.cell)
    y += (lines - 1) * step + layout.cell + below
    if ties:
        items.append(Text(layout.left, y + LABEL, ties, LABEL, QUIET))
        y += round(1.3 * LABEL)
    return items, y


def _end(patches: Patches, ranking: Ranking, channel: int, at: tuple[int, int], side: int) -> list[Item]:
    """What is drawn after the last patch of a row that ends early."""
    x, y = at
    text = end_text(patches, ranking, channel)
    if patches.dead[channel]:
        return [
            Raster(colour.plain("dead"), x, y, side, side),
            Strokes(((x, y + side, x + side, y),), "paper", 3),
            Text(x + side + GAP, y + side / 2, text, LABEL, QUIET, middle=True),
        ]
    return [Text(x + 4, y + side / 2, text, LABEL, QUIET, middle=True)]


def _kernel(weight: Array, layout: _Layout) -> list[Item]:
    """A kernel (1 or 3, h, w) in its own range, in the middle of its column."""
    planes, rows, columns = weight.shape
    zoom = max(1, KERNEL // max(rows, columns))
    scale = colour.Scale("tile", 0.0, 0.0, signed=True)
    if planes == 3:
        content: Any = colour.rgb_pixels(np.moveaxis(weight, 0, -1)[None], scale)[0]
    else:
        levels = colour.levels(weight, scale)[0]
        levels[~np.isfinite(weight[0])] = colour.NOT_FINITE
        content = colour.Indexed(levels, colour.Ramp(None, signed=True), (np.arange(rows), np.arange(columns)))
    wide, tall = columns * zoom, rows * zoom
    x, y = round(layout.numbers + (KERNEL - wide) / 2), round((layout.cell - tall) / 2)
    return [Raster(content, x, y, wide, tall), outline(x, y, wide, tall, colour=OUTLINE)]


def _tile(crop: Crop, x: int, y: int, layout: _Layout, unit: tuple[int, int]) -> list[Item]:
    """A patch in the middle of its cell, hatched where it is outside the image."""
    full = Crop(crop.pixels, crop.inside, crop.inside) if layout.clipped else crop
    pixels, box, inside = shrunk(full, layout.shrink) if layout.shrink > 1 else (full.pixels, full.box, full.inside)
    zoom = layout.zoom
    tall, wide = (box[1] - box[0] + 1) * zoom, (box[3] - box[2] + 1) * zoom
    x, y = x + (layout.cell - wide) // 2, y + (layout.cell - tall) // 2
    top, left = (inside[0] - box[0]) * zoom, (inside[2] - box[2]) * zoom
    bottom, right = top + pixels.shape[0] * zoom, left + pixels.shape[1] * zoom
    if not pixels.size:
        top = bottom = tall
        left = right = wide
    outer = [(0, 0, wide, top), (0, bottom, wide, tall), (0, top, left, bottom), (right, top, wide, bottom)]
    items: list[Item] = []
    for part in outer:
        if part[0] < part[2] and part[1] < part[3]:
            items += _hatched(x, y, part)
    if pixels.size:
        items.append(Raster(pixels, x + left, y + top, right - left, bottom - top))
    items.append(outline(x, y, wide, tall, colour=OUTLINE))
    if layout.clipped:
        factor = layout.zoom / layout.shrink
        row, column = ((crop.box[at] + crop.box[at + 1] + 1) / 2 - crop.inside[at] for at in (0, 2))
        within = 0 < row * factor < tall and 0 < column * factor < wide
        middle = x + column * factor, y + row * factor
        items += _cross(middle, (x, y, x + wide, y + tall)) if within else []
    if layout.map_size:
        (row, column), (rows, columns) = unit, layout.map_size
        start = x + column * wide / columns, y + row * tall / rows
        items += _frame((*start, start[0] + wide / columns, start[1] + tall / rows))
    return items


def _frame(box: tuple[float, float, float, float]) -> list[Item]:
    """A frame with a light border around a box (left, top, right, bottom)."""
    left, top, right, bottom = box
    lines = (
        (left, top, right, top),
        (right, top, right, bottom),
        (right, bottom, left, bottom),
        (left, bottom, left, top),
    )
    return [Strokes(lines, "halo", 7), Strokes(lines, INK, 3)]


def _cross(at: tuple[float, float], box: tuple[float, float, float, float]) -> list[Item]:
    """A cross with a light border, as far as it is in a box (left, top, right, bottom)."""
    (x, y), (left, top, right, bottom) = at, box
    lines = (
        (max(left, x - CROSS), y, min(right, x + CROSS), y),
        (x, max(top, y - CROSS), x, min(bottom, y + CROSS)),
    )
    return [Strokes(lines, "halo", 7), Strokes(lines, INK, 3)]


def single_patch(crop: Crop, recipe: dict[str, Any]) -> Mosaic:
    """A patch alone, at the size of the network's input; hatched where it is outside the image."""
    rows, columns = crop.box[1] - crop.box[0] + 1, crop.box[3] - crop.box[2] + 1
    diagonal = (np.arange(rows)[:, None] + np.arange(columns)) % 6 == 0
    pixels = np.where(diagonal[..., None], np.uint8(107), np.uint8(240)) * np.ones(3, np.uint8)
    top, left = crop.inside[0] - crop.box[0], crop.inside[2] - crop.box[2]
    pixels[top : top + crop.pixels.shape[0], left : left + crop.pixels.shape[1]] = crop.pixels
    return Mosaic(np.ascontiguousarray(pixels, np.uint8), None, recipe)


def _hatched(x: float, y: float, part: tuple[int, int, int, int]) -> list[Item]:
    """Thin diagonals on a part (left, top, right, bottom) of a tile whose upper left corner is (x, y)."""
    left, top, right, bottom = part
    lines = []
    first = math.ceil((left + top) / HATCH) * HATCH
    for total in np.arange(first, right + bottom, HATCH):  # points with column + row = total
        start = max(left, total - bottom)
        end = min(right, total - top)
        if end - start > 0.5:
            lines.append((x + start, y + total - start, x + end, y + total - end))
    ground = Raster(colour.plain(HATCH_GROUND), x + left, y + top, right - left, bottom - top)
    return [ground, Strokes(tuple(lines), HATCH_LINE, 1.2)] if lines else [ground]


def _key() -> Panel:
    """The colours of kernels."""
    strip = colour.bar_levels(-1.0, 1.0, int(BAR_WIDTH), signed=True)
    style = BarStyle(BAR_HEIGHT, LABEL, 10 + LABEL, clear=30)
    bar, y = colour_bar([strip], ("−max", "+max"), style, top=LABEL + 14, right=BAR_WIDTH, middle=BAR_WIDTH / 2)
    return Panel((Text(0, LABEL, "one scale per kernel", LABEL, GREY), *bar), BAR_WIDTH, y + 0.3 * LABEL)


def _title(patches: Patches) -> str:
    return f"What excites the channels of {patches.layer}" if patches.layer else "What excites the channels of a layer"


def _identity(patches: Patches, kernels: KernelBank | None) -> str:
    parts = [patches.source.short_label] if patches.source else []
    if kernels is not None and kernels.layer is not None:
        parts.append(layer_text(kernels.layer))
    plus = "+" if patches.mixes_image else ""
    if patches.sizes is not None:
        parts.append(f"receptive field {' × '.join(map(str, patches.sizes))} px{plus}")
    seen = f" at {' × '.join(map(str, patches.input_size[1:]))}" if patches.input_size else ""
    parts.append(f"{counted(len(patches.images), 'image')}{seen}")
    return PART.join(parts)


def _caption(patches: Patches, channels: Sequence[int], kernels: KernelBank | None, layout: _Layout) -> list[str]:
    most = patches.values.shape[1]
    lines = [f"{choice_text(patches)}, each below the receptive field of its unit"]
    if patches.possible < most:
        have = counted(len(patches.images), "image has", "images have")
        lines.append(
            f"{have} at most {counted(patches.possible, 'patch', 'patches')} of a channel; {most} were requested"
        )
    if patches.lowest is not None:
        lines.append("Below them: the smallest values, likewise")
    lines += _counts(patches, channels)
    if kernels is not None:
        lines.append(own_scale_text("kernel", "absolute weight", grey=kernels.are_colours))
    lines += [*clipping_texts(patches), *filter(None, [reduction_text(layout.shrink)])]
    lines += irregularities(patches, channels)
    return [*lines, *map(sentence, patches.notes)]


def _counts(patches: Patches, channels: Sequence[int]) -> list[str]:
    """How many channels and patches are drawn, and how many of these cross the border."""
    many = f"{len(channels):,} of {counted(len(patches.mean), 'channel')}"
    return ["; ".join(filter(None, [many, border_text(patches, channels)]))]


def _notices(patches: Patches, channels: Sequence[int]) -> tuple[str, ...]:
    """The lines that change the meaning of the picture."""
    framed = clipping_texts(patches) if patches.covers_image else ()
    return (*_counts(patches, channels), *framed, *irregularities(patches, channels))

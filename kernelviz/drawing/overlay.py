"""A map over the network's input: the image in light grey, under colour whose opacity grows with the value."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from kernelviz.drawing import colour
from kernelviz.drawing.captions import REDUCED, clipped_text, find_marks, map_identity, map_notes, scale_text
from kernelviz.drawing.colour import Overlaid
from kernelviz.drawing.looks import LOOKS, find_look
from kernelviz.drawing.page import (
    BAR_WIDTH,
    GREY,
    LABEL,
    LINE_HEIGHT,
    MARGIN,
    QUIET,
    TITLE,
    BarStyle,
    Body,
    Item,
    PageParts,
    Panel,
    Raster,
    caption_block,
    colour_bar,
    heading,
    moved,
    text_block,
    wrap,
)
from kernelviz.drawing.sheets import map_facts, palette_facts, picture_facts
from kernelviz.errors import UsageError
from kernelviz.notebook import record_repr
from kernelviz.records import LUMA, as_maps
from kernelviz.views.map_views import map_tiles
from kernelviz.wording import inflected, number_text, sentence

if TYPE_CHECKING:
    from kernelviz.drawing.captions import Marks
    from kernelviz.drawing.colour import Content, Palette, Scale, ScaleChoice
    from kernelviz.drawing.figures import PageFigure
    from kernelviz.drawing.looks import Look, LookName
    from kernelviz.drawing.page import Box
    from kernelviz.records import Array, FeatureMaps, Recipe, Tiles
    from kernelviz.views.map_views import MapView


SIDE = 680.0  # pixels that each of the two pictures aims to be wide
GAP = 40.0  # between both pictures, in units of type
NARROWEST = 480.0  # the least width of a picture at which labels, caption and bar fit, in units of type
LIFT = 0.25


@dataclass(frozen=True)
class Overlay:
    """One map with its scale, and the network's input (H, W, 3) under it; not drawn yet."""

    maps: FeatureMaps
    tiles: Tiles
    scale: Scale
    marks: Marks
    seen: Array
    channel: int | None
    notes: tuple[str, ...]
    recipe: Recipe
    palette: Palette = "standard"

    __repr__ = record_repr

    @property
    def shown(self) -> int:
        """The number of channels shown, alone or reduced to one map."""
        return len(self.tiles.numbers)


def plot_overlay(
    maps: object,
    channel: int | None = None,
    *,
    image: object = None,
    reduce: MapView = "norm",
    scale: ScaleChoice | None = None,
    palette: Palette = "standard",
    look: LookName = "page",
    caption: bool = True,
) -> PageFigure:
    """Draw one map, or a reduction of all maps, over the network's input, beside the input in colour.

    Args:
        maps: A ``FeatureMaps``, or a plain array or tensor (C, H, W).
        channel: The map to draw; None draws the reduction.
        image: The network's input, (H, W, 3) uint8; required if ``maps`` does not contain it.
        reduce: ``mean``, ``max`` or ``norm`` over all channels.
        scale: Two numbers, or ``tile`` (the map's own range) or ``layer``; the default is ``tile``.
        palette: ``standard`` is red over grey for positive values and blue for negative ones; ``safe`` orange and another
            blue, which stand out from grey for every kind of colour vision.
        look: ``page``, ``slide`` (1280 × 720 pixels, large type), ``dark`` or ``print``.
        caption: Whether identity and caption are drawn; without them they are only in the recipe.

    Each pixel shows the unit whose receptive field has the nearest centre, unsmoothed. If the receptive fields are not
    known, the cells share the image evenly, and the caption states it. A map with negative values is transparent at 0,
    any other at its smallest value.

    Raises:
        UsageError: The channel does not exist, or there is no image to draw it over.

    Example:
        >>> image = kernelviz.read_image("sample:grace_hopper").pixels
        >>> figure = kernelviz.plot_overlay(torch.rand(8, 14, 14), 3, image=image)
    """
    overlay = make_overlay(maps, channel, image=image, reduce=reduce, scale=scale, palette=palette)
    return draw_overlay(overlay, find_look(look, caption=caption))


def draw_overlay(overlay: Overlay, look: Look = LOOKS["page"]) -> PageFigure:
    """An overlay as a page of its own."""
    from kernelviz.drawing.figures import draw_page

    return draw_page(overlay_page(overlay), overlay.recipe, look)


def make_overlay(
    maps: object,
    channel: int | None = None,
    *,
    image: object = None,
    reduce: MapView = "norm",
    scale: ScaleChoice | None = None,
    palette: Palette = "standard",
) -> Overlay:
    """The overlay that ``plot_overlay`` draws.

    Raises:
        UsageError: As for ``plot_overlay``.
    """
    colour.check_palette(palette)
    subject = as_maps(maps)
    seen = _checked_image(subject, image)
    tiles = map_tiles(subject, view="maps" if channel is not None else reduce, channels=_one_channel(channel))
    found = _own_scale(tiles) if scale in (None, "tile") else colour.make_scale(tiles, scale)
    marks = find_marks(tiles, found)
    words = tuple(_irregularities(tiles, found, marks)) + map_notes(subject)
    facts = {
        **map_facts(subject),
        **picture_facts(tiles, found, None, None),
        "zoom": _zoom(seen),
        **palette_facts(palette),
    }
    facts["view"] = f"overlay-{reduce if channel is None else channel}"
    return Overlay(subject, tiles, found, marks, seen, channel, words, facts, palette)


def _one_channel(channel: int | None) -> list[int] | None:
    if channel is not None and (isinstance(channel, bool) or not isinstance(channel, int | np.integer)):
        raise UsageError(f"A channel must be a whole number, but got {channel!r}.")
    return None if channel is None else [int(channel)]


def _own_scale(tiles: Tiles) -> Scale:
    """Symmetric about 0 for a map with negative values, else from its smallest to its largest value."""
    finite = tiles.values[np.isfinite(tiles.values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    if low >= 0:
        return colour.Scale("tile", low, high, signed=False)
    limit = max(-low, high)
    return colour.Scale("tile", -limit, limit, signed=True)


def _checked_image(maps: FeatureMaps, image: object) -> Array:
    if image is None:
        if maps.seen is None:
            hint = "Give what the network saw as image=, (H, W, 3) uint8."
            raise UsageError("There is no image to draw the map over.", hint=hint)
        return maps.seen.pixels
    pixels = np.asarray(image)
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8 or 0 in pixels.shape:
        raise UsageError(f"The image must be (H, W, 3) uint8, but it is {pixels.shape} {pixels.dtype}.")
    return pixels


def overlay_page(overlay: Overlay) -> Panel:
    """The page: the network's input, the same with the map over it, caption and colour bar."""
    maps, scale = overlay.maps, overlay.scale
    zoom = _zoom(overlay.seen)
    width = overlay.seen.shape[1] * zoom
    unit = max(0.62, (2 * width + 40) / 1440)
    margin, gap = MARGIN * unit, GAP * unit
    room = max(float(width), NARROWEST * unit)
    inner = 2 * room + gap
    what = overlay_text(overlay)
    title = f"Feature {what}" if overlay.channel is not None else f"{what[0].upper()}{what[1:]}"
    title += f" {'into' if maps.tap == 'input' else 'of'} {maps.layer}" if maps.layer else ""
    items, y = heading(title, map_identity(maps), (margin, margin * 0.75), inner, unit)
    pictures, start = _pictures(overlay, unit, zoom, room), round(y + 14 * unit)
    items += moved(pictures, round(margin), start)
    top = start + pictures.height + 24 * unit
    bar = _bar(scale, unit, overlay.palette)
    lines = _caption(overlay)
    quiet, below = caption_block(lines, (margin, top), inner - bar.width - gap, unit)
    items += [*quiet, *moved(bar, margin + inner - bar.width, top + 4 * unit)]
    width, height = round(inner + 2 * margin), round(max(below, top + bar.height) + margin * 0.7)
    return Panel(tuple(items), width, height, partial(_parts, overlay, title, lines, unit))


def _parts(overlay: Overlay, title: str, lines: list[str], unit: float) -> PageParts:
    source = overlay.maps.source.short_label if overlay.maps.source else ""
    notices = tuple(_irregularities(overlay.tiles, overlay.scale, overlay.marks))
    return PageParts(
        title, _body(overlay, unit, _zoom(overlay.seen)), "", source, map_identity(overlay.maps), tuple(lines), notices,
        (partial(_boxed, overlay),), size=TITLE * unit,
    )  # fmt: skip


def _boxed(overlay: Overlay, box: Box) -> Body:
    """Both pictures as large as fit, in whole pixels if they are small."""
    unit = box.smallest / LABEL * 1.1
    height, width = overlay.seen.shape[:2]
    bar = _bar(overlay.scale, unit, overlay.palette)
    least = min((box.height - bar.height - 80 * unit) / height, (box.width - GAP * unit) / 2 / width)
    return Body(_body(overlay, unit, math.floor(least) if least >= 3 else least), fixed=True)


def _body(overlay: Overlay, unit: float, zoom: float) -> Panel:
    """The network's input, the same with the map over it, and the colour bar."""
    bar = _bar(overlay.scale, unit, overlay.palette)
    room = max(float(round(overlay.seen.shape[1] * zoom)), bar.width)
    pictures = _pictures(overlay, unit, zoom, room)
    y = pictures.height + 20 * unit
    return Panel((*pictures.items, *moved(bar, pictures.width - room, y)), pictures.width, y + bar.height)


def _pictures(overlay: Overlay, unit: float, zoom: float, room: float) -> Panel:
    """The network's input, and the same with the map over it, on whole pixels; each has this width for its label above."""
    seen, size = overlay.seen, LABEL * unit
    over = blended(seen, overlay.tiles.values[0], overlay.scale, overlay.maps.centres, overlay.palette)
    pictures: tuple[Content, ...] = seen, over
    width, height = round(seen.shape[1] * zoom), round(seen.shape[0] * zoom)
    items: list[Item] = []
    texts = [wrap(words, size, room) for words in ("what the network saw", f"with {overlay_text(overlay)} overlaid")]
    most = max(map(len, texts))
    top = round(most * size * LINE_HEIGHT + 6 * unit)
    for x, words, picture in zip((0, round(room + GAP * unit)), texts, pictures, strict=True):
        label, _ = text_block(words, x, (most - len(words)) * size * LINE_HEIGHT, size, colour=QUIET)
        items += [*label, Raster(picture, x, top, width, height)]
    return Panel(tuple(items), 2 * room + GAP * unit, top + height)


def overlay_text(overlay: Overlay) -> str:
    """``map 3``, or ``the norm of all 40 maps``."""
    if overlay.channel is not None:
        return f"map {overlay.channel}"
    many = f"all {overlay.tiles.total:,} maps" if overlay.tiles.total > 1 else "the one map"
    return f"the {REDUCED[overlay.tiles.view]} of {many}"


def _zoom(seen: Array) -> int:
    return max(1, int(SIDE / max(seen.shape[1], 0.62 * seen.shape[0])))


def blended(
    seen: Array,
    values: Array,
    scale: Scale,
    centres: tuple[Array, Array] | None = None,
    palette: Palette = "standard",
) -> Overlaid:
    """The network's input (H, W, 3) in light grey, with one map (h, w) over it.

    ``centres`` are the rows and the columns of ``seen`` at the centres of the receptive fields.
    """
    grey = seen @ LUMA
    ground = 255 * LIFT + (1 - LIFT) * grey
    rows, columns = (
        nearest(None if centres is None else centres[axis], values.shape[axis], seen.shape[axis]) for axis in (0, 1)
    )
    return Overlaid(ground, _shares(values, scale)[np.ix_(rows, columns)], palette)


def _shares(values: Array, scale: Scale) -> Array:
    """Shares of full opacity, negative for negative values; values that are not finite are transparent."""
    ends = replace(scale, kind="layer") if scale.kind == "tile" else scale
    return np.where(np.isfinite(values), colour.fractions(values[None], ends)[0], 0.0)


def nearest(centres: Array | None, units: int, pixels: int) -> Array:
    """For each pixel along one side the unit with the nearest centre; without centres the side is shared evenly."""
    if centres is None or len(centres) != units:
        return np.arange(pixels) * units // pixels
    borders = (centres[1:] + centres[:-1]) / 2
    return np.asarray(np.searchsorted(borders, np.arange(pixels), side="left"))


def _caption(overlay: Overlay) -> list[str]:
    maps, tiles, scale = overlay.maps, overlay.tiles, overlay.scale
    lines = [_opacity_line(scale), _scale_line(tiles, scale)]
    beyond = _beyond(overlay)
    rows, columns = (
        round(side / (units - outside))
        for side, units, outside in zip(overlay.seen.shape, tiles.values.shape[1:], beyond, strict=False)
    )
    if maps.centres is None:
        cells = f"cells of about {rows} × {columns} pixels, not smoothed"
        lines.append(f"The map is stretched to the size of the image: {cells}")
    else:
        lines.append(f"Each cell is about {rows} × {columns} pixels, centred on its receptive field")
    lines += _padding_line(overlay, beyond)
    return [*lines, *(sentence(note) for note in overlay.notes if note not in lines[1])]


def _beyond(overlay: Overlay) -> tuple[int, int]:
    """The numbers of rows and columns beyond the image, at which no pixel shows them."""
    centres, counts = overlay.maps.centres, [0, 0]
    if centres is None or tuple(map(len, centres)) != overlay.tiles.values.shape[1:]:
        return 0, 0
    for axis, line in enumerate(centres):
        side = overlay.seen.shape[axis]
        drawn = np.isin(np.arange(len(line)), nearest(line, len(line), side))
        counts[axis] = int((((line <= -0.5) | (line >= side - 0.5)) & ~drawn).sum())
    return counts[0], counts[1]


def _padding_line(overlay: Overlay, beyond: tuple[int, int]) -> list[str]:
    """That rows or columns beyond the image, as those of a padded batch, are not drawn."""
    units = overlay.tiles.values.shape[1:]
    parts = [
        f"{count:,} of {many:,} {word}"
        for count, many, word in zip(beyond, units, ("rows", "columns"), strict=True)
        if count
    ]
    return [f"Not drawn: {' and '.join(parts)}, which are padding beyond the image"] if parts else []


def _opacity_line(scale: Scale) -> str:
    if scale.signed:
        return "The larger the magnitude, the stronger the colour; 0 has no colour"
    return f"The larger the value, the stronger the colour; {number_text(scale.low)} has no colour"


def _scale_line(tiles: Tiles, scale: Scale) -> str:
    if scale.kind != "tile":
        return scale_text(tiles, scale)
    if scale.signed:
        return f"Colour scale: the range of the map, ±{number_text(scale.high)}"
    return f"Colour scale: the range of the map, {number_text(scale.low)} to {number_text(scale.high)}"


def _irregularities(tiles: Tiles, scale: Scale, marks: Marks) -> list[str]:
    """The warnings about the map itself."""
    lines = []
    if marks.nonfinite:
        verb = inflected(marks.nonfinite, "is", "are")
        lines.append(f"{marks.nonfinite:,} of {tiles.values.size:,} values {verb} not finite, drawn transparent")
    if marks.dead:
        lines.append(f"the map has the same value everywhere, {number_text(float(tiles.values.flat[0]))}")
    if scale.kind == "range" and scale.below + scale.above:
        lines.append(clipped_text(tiles, scale))
    return lines


def _bar(scale: Scale, unit: float, palette: Palette) -> Panel:
    """The colours on a light and on a dark ground."""
    size = LABEL * unit
    width = max(float(round(BAR_WIDTH * unit)), 17.0 * size)
    items, y = text_block(["activation, on light and on dark"], 0, 0, size)
    share = np.linspace(-1.0 if scale.low < 0 else 0.0, 1.0, int(width))[None]
    strips = [Overlaid(np.full(share.shape, ground), share, palette) for ground in (240.0, 90.0)]
    drop = 12 * unit + size * 0.8
    style = BarStyle(round(12 * unit), size, drop, clear=-width, tick=6 * unit, line=unit, whole=True, colour=GREY)
    ends = number_text(scale.low, plus=scale.signed), number_text(scale.high, plus=scale.signed)
    zero = width * -scale.low / (scale.high - scale.low) if scale.low < 0 < scale.high else None
    bar, foot = colour_bar(strips, ends, style, top=float(round(y + 8 * unit)), right=width, middle=zero)
    return Panel((*items, *bar), width, foot - drop + 12 * unit + size * 1.1)

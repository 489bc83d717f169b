"""A map over what the network saw: the photograph in grey, lifted, under colour that grows with the value."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from kernelviz.drawing import colour
from kernelviz.drawing.captions import map_identity, map_notes, scale_text
from kernelviz.drawing.headings import LABEL, MARGIN, caption_block, heading
from kernelviz.drawing.marks import find_marks
from kernelviz.drawing.page import GREY, QUIET, Panel, Raster, Rule, Text, moved, text_block
from kernelviz.drawing.sheets import map_facts, picture_facts
from kernelviz.drawing.wording import number_text
from kernelviz.errors import UsageError
from kernelviz.map_views import as_maps, map_tiles

if TYPE_CHECKING:
    from kernelviz.drawing.colour import Scale, ScaleChoice
    from kernelviz.drawing.figures import PageFigure
    from kernelviz.map_views import MapView
    from kernelviz.records import Array, FeatureMaps, Tiles

SIDE = 680.0  # pixels that each of the two pictures aims to be wide
NEGATIVE, POSITIVE = (0x21, 0x66, 0xAC), (0xB2, 0x18, 0x2B)
STRONGEST = 0.85
LIFT = 0.25


def plot_overlay(
    maps: object,
    channel: int | None = None,
    *,
    image: object = None,
    reduce: MapView = "norm",
    scale: ScaleChoice | None = None,
) -> PageFigure:
    """Draw one map, or a reduction of all of them, over what the network saw, beside that in colour.

    Args:
        maps: A ``FeatureMaps``, or a plain array or tensor (C, H, W).
        channel: Which map; without it the reduction is drawn.
        image: What the network saw, (H, W, 3) uint8; needed where ``maps`` does not hold it.
        reduce: ``mean``, ``max`` or ``norm`` over all channels.
        scale: Two numbers, or ``tile`` (the map's own range) or ``layer``; ``tile`` unless said.

    Each pixel shows the unit whose field has its middle nearest to it, unsmoothed; where the fields are not known the
    cells share the image evenly, and the caption says so.

    Raises:
        UsageError: no such channel, or nothing to draw it over.
    """
    from kernelviz.drawing.figures import draw_page

    subject = as_maps(maps)
    seen = _checked_image(subject, image)
    view = "maps" if channel is not None else reduce
    tiles = map_tiles(subject, view=view, channels=None if channel is None else [channel])
    found = colour.make_scale(tiles, scale or ("tile" if channel is not None else "layer"))
    if found.kind == "tile":
        limit = float(colour.tile_limits(tiles.values, found).max())
        found = colour.Scale("tile", -limit if found.signed else 0.0, limit, found.signed)
    figure = draw_page(overlay_page(subject, tiles, found, seen, channel))
    grid = {"zoom": _zoom(seen), "tiles_a_row": 2}
    facts = {**map_facts(subject), **picture_facts(tiles, found, None, None), **grid}
    figure.recipe = {**facts, "view": f"overlay-{channel}" if channel is not None else f"overlay-{view}"}
    return figure


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


def overlay_page(maps: FeatureMaps, tiles: Tiles, scale: Scale, seen: Array, channel: int | None) -> Panel:
    """The page: what the network saw, the same with the map over it, caption and bar."""
    zoom = _zoom(seen)
    height, width = seen.shape[0] * zoom, seen.shape[1] * zoom
    unit = max(0.62, (2 * width + 40) / 1440)
    margin, gap = MARGIN * unit, 40 * unit
    inner = 2 * width + gap
    what = f"map {channel}" if channel is not None else f"the {tiles.view} of all {tiles.total:,} maps"
    title = f"Feature {what} of {maps.layer}" if channel is not None and maps.layer else f"{what[0].upper()}{what[1:]}"
    if channel is None and maps.layer:
        title = f"{title} of {maps.layer}"
    items, y = heading(title, map_identity(maps), (margin, margin * 0.75), inner, unit)
    size = LABEL * unit
    for x, words, picture in (
        (margin, "what the network saw", seen),
        (margin + width + gap, f"with {what} over it", blended(seen, tiles.values[0], scale, maps.centres)),
    ):
        label, top = text_block([words], round(x), y + 14 * unit, size, colour=QUIET)
        items += [*label, Raster(picture, round(x), round(top + 6 * unit), width, height)]
    top = round(top + 6 * unit) + height + 24 * unit
    bar = _bar(scale, unit)
    lines = _caption(maps, tiles, scale, seen)
    quiet, below = caption_block(lines, (margin, top), inner - bar.width - gap, unit)
    items += [*quiet, *moved(bar, margin + inner - bar.width, top + 4 * unit)]
    return Panel(tuple(items), round(inner + 2 * margin), round(max(below, top + bar.height) + margin * 0.7))


def _zoom(seen: Array) -> int:
    return max(1, int(SIDE / max(seen.shape[1], 0.62 * seen.shape[0])))


def blended(seen: Array, values: Array, scale: Scale, centres: tuple[Array, Array] | None = None) -> Array:
    """What the network saw (H, W, 3) in grey, lifted, with one map (h, w) over it; uint8.

    ``centres`` are the rows and the columns of ``seen`` at which the units' fields have their middle.
    """
    grey = seen @ np.array([0.299, 0.587, 0.114])  # Rec. 601
    ground = np.repeat((255 * LIFT + (1 - LIFT) * grey)[..., None], 3, axis=2)
    rows, columns = (
        nearest(None if centres is None else centres[axis], values.shape[axis], seen.shape[axis]) for axis in (0, 1)
    )
    share = colour.fractions(values[None], scale)[0][np.ix_(rows, columns)]
    return _mixed(ground, share)


def _mixed(ground: Array, share: Array) -> Array:
    inks = np.where((share < 0)[..., None], np.array(NEGATIVE, float), np.array(POSITIVE, float))
    opacity = (STRONGEST * np.abs(np.clip(share, -1, 1)))[..., None]
    return np.asarray(np.rint(ground * (1 - opacity) + inks * opacity), dtype=np.uint8)


def nearest(centres: Array | None, units: int, pixels: int) -> Array:
    """For each pixel along one side the unit whose centre is nearest; without centres the side is shared evenly."""
    if centres is None or len(centres) != units:
        return np.arange(pixels) * units // pixels
    borders = (centres[1:] + centres[:-1]) / 2
    return np.asarray(np.searchsorted(borders, np.arange(pixels), side="left"))


def _caption(maps: FeatureMaps, tiles: Tiles, scale: Scale, seen: Array) -> list[str]:
    lines = ["Opacity grows with the magnitude, clear where the map is 0"]
    if scale.kind == "tile":
        ends = f"±{number_text(scale.high)}" if scale.signed else f"0 to {number_text(scale.high)}"
        lines.append(f"Scale tile: {ends}, the map’s own")
    else:
        lines.append(scale_text(tiles, scale))
    rows, columns = (round(side / units) for side, units in zip(seen.shape, tiles.values.shape[1:], strict=False))
    if maps.centres is None:
        lines.append(f"Cells of about {rows} × {columns} pixels share the image evenly, unsmoothed; each sees more")
    else:
        lines.append(f"A cell of about {rows} × {columns} pixels, unsmoothed, lies where its field has its middle")
    marks = find_marks(tiles, scale)
    if marks.nonfinite:
        lines.append(f"{marks.nonfinite:,} of {tiles.values.size:,} values are not finite and drawn as 0")
    return [*lines, *map_notes(maps)]


def _bar(scale: Scale, unit: float) -> Panel:
    """The colours on a light and on a dark ground."""
    size, width, height = LABEL * unit, float(round(330 * unit)), round(12 * unit)
    items, y = text_block(["activation, on light and on dark"], 0, 0, size)
    width = max(width, 17.0 * size)
    y = float(round(y + 8 * unit))
    low = -1.0 if scale.low < 0 else 0.0
    share = np.linspace(low, 1.0, int(width))[None]
    for ground in (240.0, 90.0):
        items.append(Raster(_mixed(np.full((1, share.size, 3), ground), share), 0, y, int(width), height))
        y += height
    ends = [(0.0, scale.low, "left"), (width, scale.high, "right")]
    if low < 0 < scale.high:
        ends.insert(1, (width * -scale.low / (scale.high - scale.low), 0.0, "center"))
    for x, value, align in ends:
        items.append(Rule(x, y, x, y + 6 * unit, width=unit))
        text = number_text(value, plus=scale.signed)
        items.append(Text(x, y + 12 * unit + size * 0.8, text, size, GREY, align=align))  # type: ignore[arg-type]
    return Panel(tuple(items), width, y + 12 * unit + size * 1.1)

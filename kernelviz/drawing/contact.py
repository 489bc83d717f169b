"""A contact sheet: the same channels of one layer for every image, a row an image, on one scale."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kernelviz.drawing import colour
from kernelviz.drawing.grids import FIGURE_PIXELS
from kernelviz.drawing.headings import LABEL, MARGIN, caption_block, heading
from kernelviz.drawing.page import GREY, QUIET, Item, Panel, Raster, Rule, Text, drawable, moved, text_width, wrap
from kernelviz.drawing.sheets import source_facts
from kernelviz.drawing.wording import PART, number_text
from kernelviz.errors import UsageError
from kernelviz.map_views import as_maps, telling_channels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kernelviz.drawing.figures import PageFigure
    from kernelviz.records import Array, FeatureMaps, Source

CONTENT = 1440.0
WIDEST = 168
NARROWER = (120, 84, 64)  # for many images
NAMES = 300.0
GAP = 10.0
MOST_CHANNELS = 16


@dataclass(frozen=True)
class ContactRow:
    """One image: its name, what the network saw of it in small (h, w, 3), and the chosen maps (n, H, W)."""

    name: str
    thumbnail: Array | None
    values: Array


class ContactSheet:
    """Gathers the rows, image by image; the channels are chosen at the first one, and rows kept as far as they fit."""

    def __init__(self, channels: Sequence[int] | None = None, count: int = 8) -> None:
        self.channels = tuple(channels) if channels is not None else None
        self.count = count
        self.total = 0
        self.rows: list[ContactRow] = []
        self.layer = ""
        self.source: Source | None = None
        self.of_channels = 0

    def add(self, maps: FeatureMaps | Array) -> None:
        """Take in the maps (C, H, W) of one image.

        Raises:
            UsageError: a channel that there is not, or more than sixteen of them.
        """
        subject = as_maps(maps)
        if self.channels is None:
            chosen = telling_channels(subject.values, self.count)
            self.channels = chosen or tuple(range(min(self.count, len(subject.values))))
        if len(self.channels) > MOST_CHANNELS:
            raise UsageError(f"A contact sheet has room for {MOST_CHANNELS} channels, but got {len(self.channels)}.")
        if max(self.channels) >= len(subject.values):
            what = f"There are channels 0 to {len(subject.values) - 1}, but {max(self.channels)} was asked for."
            raise UsageError(what)
        self.layer, self.source = subject.layer or "", subject.source
        self.of_channels = len(subject.values)
        self.total += 1
        if len(self.rows) < _most_rows():
            name = subject.image.name if subject.image else f"image {self.total - 1}"
            small = _thumbnail(subject.seen.pixels) if subject.seen else None
            self.rows.append(ContactRow(name, small, subject.values[list(self.channels)].copy()))


def _most_rows() -> int:
    """More rows than that fit into no figure."""
    return int(FIGURE_PIXELS / CONTENT / 40)


def _thumbnail(pixels: Array) -> Array:
    step = max(1, max(pixels.shape[:2]) // WIDEST)
    rows, columns = (side // step for side in pixels.shape[:2])
    cut = pixels[: rows * step, : columns * step].reshape(rows, step, columns, step, 3)
    return np.asarray(np.rint(cut.mean(axis=(1, 3))), np.uint8)


def plot_contact(sheet: ContactSheet | Sequence[FeatureMaps], channels: Sequence[int] | None = None) -> PageFigure:
    """Draw the same channels of one layer for several images, a row an image with the image in front, on one scale.

    ``sheet`` is a ``ContactSheet``, or the maps of one layer for each image; ``channels`` then says which of them, else
    the eight that differ most over the first image. Rows that do not fit into four megapixels are left out, and said.

    Raises:
        UsageError: there is no row, or no such channel.
    """
    from kernelviz.drawing.figures import draw_page

    if not isinstance(sheet, ContactSheet):
        gathered = ContactSheet(channels)
        for maps in sheet:
            gathered.add(maps)
        sheet = gathered
    if not sheet.rows or sheet.channels is None:
        raise UsageError("There is no image to put on the contact sheet.")
    page, shown, limits = contact_page(sheet)
    figure = draw_page(page)
    figure.recipe = {
        **source_facts("features", sheet.source),
        "layer": sheet.layer or None,
        "view": "contact",
        "image": None,
        "channels": list(sheet.channels),
        "images": [row.name for row in sheet.rows[:shown]],
        "shown": shown,
        "total": sheet.total,
        "limits": list(limits),
    }
    return figure


def contact_page(sheet: ContactSheet) -> tuple[Panel, int, tuple[float, float]]:
    """The page, how many images stand in it, and the ends of its scale."""
    channels = sheet.channels or ()
    widest = min(WIDEST, int((CONTENT - NAMES) / (len(channels) + 1) - GAP))
    scale = _scale(sheet.rows)
    pictured = any(row.thumbnail is not None for row in sheet.rows)
    for tile in sorted({min(widest, side) for side in (*NARROWER, widest)}, reverse=True):
        left = NAMES + (tile + 2 * GAP if pictured else 0)
        width = left + len(channels) * (tile + GAP)
        page_width = math.ceil(max(width, 900.0) + 2 * MARGIN)
        shown = _fitting(sheet, tile, page_width)
        if shown == sheet.total:
            break
    title = f"Contact sheet of {sheet.layer}" if sheet.layer else "Contact sheet"
    many = f"{shown:,} of {sheet.total:,} images, {len(channels)} of {sheet.of_channels:,} maps"
    identity = PART.join([*([sheet.source.label] if sheet.source else []), many])
    items, y = heading(title, identity, (MARGIN, MARGIN * 0.75), page_width - 2 * MARGIN, 1.0)
    y = float(round(y + 24 + LABEL))
    for at, channel in enumerate(channels):
        x = MARGIN + left + at * (tile + GAP) + tile / 2
        items.append(Text(x, y, str(channel), LABEL, QUIET, align="center"))
    y += 12
    for row in sheet.rows[:shown]:
        placed, tall = _row(row, scale, tile, left if pictured else NAMES, pictured=pictured)
        pitch = _pitch(row, tile)
        items += moved(Panel(tuple(placed), width, tall), MARGIN, round(y + (pitch - tall) / 2))
        y += pitch + GAP
    key = _key(scale)
    lines = [
        "A row an image, a column a channel of the layer, its number on top",
        f"One scale for all: {number_text(scale.low, plus=scale.signed)} to {number_text(scale.high, plus=scale.signed)}",
    ]
    if shown < sheet.total:
        lines.append(f"The first {shown:,} of {sheet.total:,} images: the others have no room")
    words, below = caption_block(lines, (MARGIN, y + 14), page_width - 2 * MARGIN - key.width - 44, 1.0)
    items += [*words, *moved(key, page_width - MARGIN - key.width, y + 18)]
    bottom = max(below, y + 18 + key.height) + MARGIN * 0.7
    return Panel(tuple(items), page_width, math.ceil(bottom)), shown, (scale.low, scale.high)


def _scale(rows: Sequence[ContactRow]) -> colour.Scale:
    finite = [row.values[np.isfinite(row.values)] for row in rows]
    low = min((float(each.min()) for each in finite if each.size), default=0.0)
    high = max((float(each.max()) for each in finite if each.size), default=0.0)
    limit = max(-low, high)
    return colour.Scale("layer", -limit, limit, True) if low < 0 else colour.Scale("layer", 0.0, high, False)  # noqa: FBT003


def _height(row: ContactRow, tile: int) -> int:
    height, width = row.values.shape[1:3]
    return max(2, min(2 * tile, int(round(tile * height / width))))  # noqa: RUF046


def _pitch(row: ContactRow, tile: int) -> int:
    """How high the row is: a line of its image's name needs room beside very flat maps too."""
    return max(_height(row, tile), math.ceil(1.3 * LABEL))


def _fitting(sheet: ContactSheet, tile: int, page_width: float) -> int:
    """How many rows a figure of four megapixels has room for, at least one."""
    room = FIGURE_PIXELS / page_width - 420
    total = np.cumsum([_pitch(row, tile) + GAP for row in sheet.rows])
    return max(1, int(np.count_nonzero(total <= room)))


def _row(row: ContactRow, scale: colour.Scale, tile: int, left: float, *, pictured: bool) -> tuple[list[Item], int]:
    tall = _height(row, tile)
    lines = _name_lines(row.name, tall)
    first = tall / 2 - (len(lines) - 1) * LABEL * 0.65
    items: list[Item] = [
        Text(0, first + at * 1.3 * LABEL, line, LABEL, GREY, middle=True) for at, line in enumerate(lines)
    ]
    if pictured and row.thumbnail is not None:
        high, wide = row.thumbnail.shape[:2]
        share = min(tile / wide, tall / high)
        items.append(Raster(row.thumbnail, NAMES, 0, round(wide * share), round(high * share)))
    ramp = colour.ramp(None, signed=scale.signed)
    for at, values in enumerate(row.values):
        x = round(left + at * (tile + GAP))
        items.append(Raster(np.asarray(ramp[colour.levels(values[None], scale)[0]]), x, 0, tile, tall))
        items += [Rule(x, 0, x + tile, 0, "#c4c4c4"), Rule(x, tall, x + tile, tall, "#c4c4c4")]
        items += [Rule(x, 0, x, tall, "#c4c4c4"), Rule(x + tile, 0, x + tile, tall, "#c4c4c4")]
    return items, tall


def _name_lines(name: str, tall: int) -> list[str]:
    """An image's name in as many lines as the row has room for; its middle gives way to ``…`` where it is longer."""
    text, room = drawable(name), max(1, int(tall // (1.3 * LABEL)))
    lines = wrap(text, LABEL, NAMES - 20)
    while len(lines) > room:
        keep = int(len(text) * 0.9) - 1
        text = text[: keep // 2].rstrip("…") + "…" + text[len(text) - keep // 2 :].lstrip("…")
        lines = wrap(text, LABEL, NAMES - 20)
    return lines


def _key(scale: colour.Scale) -> Panel:
    width, tall = 330, 15
    share = np.linspace(scale.low / (scale.limit or 1), scale.high / (scale.limit or 1), width)[None]
    own = colour.Scale("layer", float(share[0, 0]), float(share[0, -1]) or 1.0, scale.signed)
    ramp = colour.ramp(None, signed=scale.signed)
    items: list[Item] = [Text(0, LABEL, "activation", LABEL, GREY)]
    items.append(Raster(np.asarray(ramp[colour.levels(share[None], own)[0]]), 0, LABEL + 14, width, tall))
    low, high = number_text(scale.low, plus=scale.signed), number_text(scale.high, plus=scale.signed)
    y = LABEL + 14 + tall + 10 + LABEL
    items += [Text(0, y, low, LABEL, QUIET), Text(width, y, high, LABEL, QUIET, align="right")]
    if scale.signed and text_width(low + high, LABEL) < width - 60:
        items.append(Text(width / 2, y, "0", LABEL, QUIET, align="center"))
    return Panel(tuple(items), width, y + 0.3 * LABEL)

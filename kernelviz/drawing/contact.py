"""A contact sheet: the same channels of one layer for every image, one row per image, on one scale."""

from __future__ import annotations

import bisect
import copy
import math
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from kernelviz.drawing import colour
from kernelviz.drawing.captions import Marks, find_marks
from kernelviz.drawing.colour import Indexed, Ramp, Scale
from kernelviz.drawing.looks import find_look
from kernelviz.drawing.mosaic import STRUCK, chequer, strike
from kernelviz.drawing.page import (
    BAR_HEIGHT,
    BAR_WIDTH,
    CONTENT,
    GREY,
    LABEL,
    MARGIN,
    QUIET,
    BarStyle,
    Body,
    Item,
    PageParts,
    Panel,
    Raster,
    Text,
    caption_block,
    colour_bar,
    drawable,
    heading,
    moved,
    outline,
    text_width,
    wrap,
)
from kernelviz.drawing.sheets import FIGURE_PIXELS, image_facts, source_facts
from kernelviz.errors import UsageError
from kernelviz.notebook import gathered_repr, record_repr
from kernelviz.records import Tiles, as_maps, check_positive
from kernelviz.views.gathered import Gathered
from kernelviz.views.kernel_views import named_channels
from kernelviz.views.map_views import distinct_channels
from kernelviz.views.statistics import check_alike, check_channels
from kernelviz.wording import PART, counted, inflected, number_text, sentence

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kernelviz.drawing.figures import PageFigure
    from kernelviz.drawing.looks import LookName
    from kernelviz.drawing.page import Box
    from kernelviz.records import Array, FeatureMaps, Source


MOST_CHANNELS = 16
MOST_ROWS = 120  # no figure has room for more
THUMBNAIL = 168


@dataclass(frozen=True)
class ContactRow:
    """One image: a thumbnail (h, w, 3) of the network's input, and the chosen maps (n, H, W)."""

    thumbnail: Array | None
    values: Array

    __repr__ = record_repr


class ContactSheet:
    """Collects one row per image; the channels are chosen at the first image, and at most as many rows kept as fit.

    Rows are in the order of the images' places, in whatever order they are added and sheets merged.

    ``channels`` are numbers, or a string like ``0-3,7``; the default is the ``count`` maps that vary most over the first
    image. ``total`` counts the images, ``nonfinite`` the values of the chosen maps that are not finite, including those
    of images that are left out.

    Raises:
        UsageError: More than sixteen channels are requested, or none.

    Example:
        >>> sheet = kernelviz.ContactSheet(channels="0-3")
        >>> images = [torch.rand(3, 16, 16) for _ in range(3)]
        >>> kernelviz.capture_many(torch.nn.Conv2d(3, 8, 3), images, on_map=sheet.add)
        ()
        >>> sheet.total, sheet.channels
        (3, (0, 1, 2, 3))
        >>> figure = kernelviz.plot_contact(sheet)
    """

    def __init__(self, channels: str | Sequence[int] | None = None, count: int = 8) -> None:
        check_count(check_positive("number of channels", count) or 1)
        self.wanted = channels
        self.channels: tuple[int, ...] | None = None
        self.count = count
        self.images = Gathered()
        self.nonfinite = 0
        self.rows: list[ContactRow] = []
        self._row_places: list[int] = []
        self._most_rows = MOST_ROWS
        self.layer = ""
        self.source: Source | None = None
        self.of_channels = 0

    __repr__ = gathered_repr

    @property
    def undecided(self) -> bool:
        """Whether the next image chooses the channels."""
        return self.channels is None and self.wanted is None

    @property
    def total(self) -> int:
        """How many images there are."""
        return len(self.images)

    def add(self, maps: FeatureMaps | Array, place: int | None = None) -> None:
        """Take in the maps (C, H, W) of one image.

        Args:
            maps: Those of the image.
            place: Its position among all images, by default the next one.

        Raises:
            UsageError: a channel that there is not, more than sixteen, another number of channels than before, or a place
                that is taken.
        """
        subject = as_maps(maps)
        total = len(subject.values)
        if self.channels is None:
            self.channels = self._chosen(subject.values)
        if self.images:
            check_channels(self.of_channels, total)
        place = self.images.add(subject, place=place)
        self._note(subject.layer or "", subject.source, total)
        values = subject.values[list(self.channels)]
        self.nonfinite += int(values.size - np.count_nonzero(np.isfinite(values)))
        at = bisect.bisect(self._row_places, place)
        if at < self._most_rows:
            small = _thumbnail(subject.seen.pixels) if subject.seen else None
            self._row_places.insert(at, place)
            self.rows.insert(at, ContactRow(small, values))
            self._cut()

    def _note(self, layer: str, source: Source | None, total: int) -> None:
        self.layer, self.source = self.layer or layer, self.source or source
        self.of_channels = self.of_channels or total

    def _cut(self) -> None:
        del self._row_places[self._most_rows :], self.rows[self._most_rows :]

    def fresh(self) -> ContactSheet:
        """An empty sheet of the same channels, to be merged into this one: for later images than those of this one."""
        found = ContactSheet(self.wanted if self.channels is None else self.channels, self.count)
        found._most_rows = MOST_ROWS if len(self.rows) < MOST_ROWS else 0
        return found

    def merge(self, other: ContactSheet) -> None:
        """Add the images of another sheet of the same layer and channels.

        Raises:
            UsageError: it is of another layer or other channels, or has an image of this one.
        """
        check_alike(self, other)
        if not other.images:
            return
        if self.images:
            check_channels(self.of_channels, other.of_channels)
        if self.channels is not None and self.channels != other.channels:
            what = f"Only sheets of the same channels are merged, but got {self.channels} and {other.channels}."
            raise UsageError(what, hint="Name the channels: ContactSheet(channels).")
        self.images.merge(other.images)
        self.channels = other.channels
        self._note(other.layer, other.source, other.of_channels)
        self.nonfinite += other.nonfinite
        pairs = sorted(
            [*zip(self._row_places, self.rows, strict=True), *zip(other._row_places, other.rows, strict=True)],
            key=lambda pair: pair[0],
        )
        self._row_places, self.rows = [place for place, _ in pairs], [row for _, row in pairs]
        self._cut()

    def _chosen(self, values: Array) -> tuple[int, ...]:
        if self.wanted is not None:
            return contact_channels(self.wanted, len(values))
        return distinct_channels(values, self.count) or tuple(range(min(self.count, len(values))))


def contact_channels(channels: str | Sequence[int], total: int) -> tuple[int, ...]:
    """The requested channels of a layer with ``total`` channels.

    Raises:
        UsageError: A channel does not exist, or there are more than sixteen.
    """
    chosen = named_channels(channels, total)
    check_count(len(chosen))
    return chosen


def check_count(count: int) -> None:
    """Reject more channels than fit in a row.

    Raises:
        UsageError: There are more than sixteen.
    """
    if count > MOST_CHANNELS:
        hint = "Choose fewer with --channels, or with --top."
        raise UsageError(f"A contact sheet takes at most {MOST_CHANNELS} channels, but got {count:,}.", hint=hint)


def _thumbnail(pixels: Array) -> Array:
    step = max(1, max(pixels.shape[:2]) // THUMBNAIL)
    rows, columns = (max(1, side // step) for side in pixels.shape[:2])
    across, down = min(step, pixels.shape[1]), min(step, pixels.shape[0])
    cut = pixels[: rows * down, : columns * across].reshape(rows, down, columns, across, 3)
    return np.asarray(np.rint(cut.mean(axis=(1, 3))), np.uint8)


def plot_contact(
    sheet: ContactSheet | Sequence[FeatureMaps],
    channels: str | Sequence[int] | None = None,
    *,
    look: LookName = "page",
    caption: bool = True,
) -> PageFigure:
    """Draw the same channels of one layer for several images, one row per image after its thumbnail, on one scale.

    ``sheet`` is a ``ContactSheet``, or the maps of one layer for each image. In the latter case ``channels`` selects maps
    (numbers, or a string like ``0-3,7``); the default is the eight that vary most over the first image. Rows that do not
    fit on the page are left out, and the caption states how many.

    ``look`` is ``page``, ``slide``, ``dark`` or ``print``; ``caption=False`` leaves out identity and caption.

    Raises:
        UsageError: There is no row, a channel does not exist, or there are more than sixteen channels, or none.

    Example:
        >>> network = torch.nn.Conv2d(3, 8, 3)
        >>> images = [torch.rand(3, 16, 16) for _ in range(3)]
        >>> maps = [kernelviz.capture_features(network, image, "Conv2d")[0] for image in images]
        >>> figure = kernelviz.plot_contact(maps, channels="0-3")
    """
    from kernelviz.drawing.figures import draw_page

    if not isinstance(sheet, ContactSheet):
        gathered = ContactSheet(channels)
        for maps in sheet:
            gathered.add(maps)
        sheet = gathered
    if not sheet.rows or sheet.channels is None:
        raise UsageError("There is no image to put on the contact sheet.")
    page = contact_page(sheet)
    return draw_page(
        page.panel,
        {
            **source_facts("features", sheet.source),
            "layer": sheet.layer or None,
            "view": "contact",
            **image_facts(sheet.images.as_recipe(), sheet.source),
            "channels": list(sheet.channels),
            "images": list(sheet.images.names[: page.shown]),
            "shown": page.shown,
            "total": sheet.total,
            "limits": [page.scale.low, page.scale.high],
            "nonfinite": sheet.nonfinite,
            "notes": list(page.notes),
        },
        find_look(look, caption=caption),
    )


TILES = (168, 120, 84, 64)
NAMES = 300.0
GAP = 10.0
BETWEEN = 44.0
MOST_BLOCKS = 4
BLOCKS_WIDE = 1500.0
FRAME = 4.0
TALLEST = 1.6  # of a page's width
WORDS = 480  # what title and caption take of a page's height


@dataclass(frozen=True)
class ContactPage:
    """The page, the number of images shown, the scale of the colours, and the warnings of the caption."""

    panel: Panel
    shown: int
    scale: Scale
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Layout:
    """The layout: rows in ``blocks`` side by side, each a range of rows.

    A row has ``names`` for its image's name, its first tile at ``left``, and is ``width`` wide with tiles of ``tile``.
    """

    tile: int
    names: float
    left: float
    width: float
    page_width: int
    blocks: tuple[range, ...]

    @property
    def shown(self) -> int:
        """How many rows there are."""
        return self.blocks[-1].stop


def contact_page(sheet: ContactSheet) -> ContactPage:
    """Lay the sheet out with the widest tiles at which all rows fit, else with those at which most rows fit."""
    channels = sheet.channels or ()
    layout = _best_layout(sheet)
    rows = sheet.rows[: layout.shown]
    scale = _scale(rows)
    marks = [_marks(sheet, row, scale) for row in rows]
    title = f"Contact sheet of {sheet.layer}" if sheet.layer else "Contact sheet"
    many = f"{layout.shown:,} of {sheet.total:,} images, {len(channels)} of {sheet.of_channels:,} maps"
    identity = PART.join([*([sheet.source.short_label] if sheet.source else []), many])
    items, top = heading(title, identity, (MARGIN, MARGIN * 0.75), layout.page_width - 2 * MARGIN, 1.0)
    top = float(round(top + 24 + LABEL))
    bottoms = []
    for number, block in enumerate(layout.blocks):
        panel = _block(sheet, block, [marks[row] for row in block], scale, layout)
        items += moved(panel, round(MARGIN + number * (layout.width + BETWEEN)), top)
        bottoms.append(top + panel.height)
    y = max(bottoms)
    notes = _notes(sheet, layout.shown, marks)
    key = _key(scale)
    lines = ["One row per image, one column per channel, numbered on top", _scale_text(scale), *notes]
    words, below = caption_block(lines, (MARGIN, y + 14), layout.page_width - 2 * MARGIN - key.width - 44, 1.0)
    items += [*words, *moved(key, layout.page_width - MARGIN - key.width, y + 18)]
    bottom = max(below, y + 18 + key.height) + MARGIN * 0.7
    parts = partial(_parts, sheet, title, identity, (lines, notes))
    return ContactPage(Panel(tuple(items), layout.page_width, math.ceil(bottom), parts), layout.shown, scale, notes)


def _parts(sheet: ContactSheet, title: str, identity: str, texts: tuple[list[str], tuple[str, ...]]) -> PageParts:
    source = sheet.source.short_label if sheet.source else ""
    return PageParts(
        title, _body(sheet, _best_layout(sheet)).panel, "", source, identity, tuple(texts[0]), texts[1],
        tuple(partial(_boxed, sheet, count) for count in range(len(sheet.channels or ()), 0, -1)),
        "Choose fewer channels.",
    )  # fmt: skip


def _boxed(sheet: ContactSheet, count: int, box: Box) -> Body:
    """The first channels and rows that fit into the box with letters that are large enough."""
    fewer = copy.copy(sheet)
    fewer.channels = (sheet.channels or ())[:count]
    fewer.rows = [replace(row, values=row.values[:count]) for row in sheet.rows]
    share = LABEL / (1.02 * box.smallest)
    wide, tall = box.width * share, box.height * share - 2 * LABEL - BAR_HEIGHT - 60
    found = [layout for tile in TILES if (layout := _layout(fewer, tile, NAMES, 1, tall)) and layout.width <= wide]
    if not found:
        return Body(Panel((Text(0, 0, "", 1.0),), 1, 1))  # letters that are too small
    best = max(found, key=lambda layout: (min(layout.shown, 4), layout.tile))
    return _body(fewer, best)


def _body(sheet: ContactSheet, layout: _Layout) -> Body:
    """The rows of a layout, and the colour bar."""
    scale = _scale(sheet.rows[: layout.shown])
    marks = [_marks(sheet, row, scale) for row in sheet.rows[: layout.shown]]
    items: list[Item] = []
    bottom = 0.0
    for number, block in enumerate(layout.blocks):
        panel = _block(sheet, block, [marks[row] for row in block], scale, layout)
        items += moved(panel, round(number * (layout.width + BETWEEN)), LABEL)
        bottom = max(bottom, LABEL + panel.height)
    key, width = _key(scale), len(layout.blocks) * (layout.width + BETWEEN) - BETWEEN
    width = max(width, key.width)
    items += moved(key, width - key.width, bottom + 8)
    cut = f"{layout.shown:,} of {sheet.total:,} images" if layout.shown < sheet.total else ""
    lost = sum(each.nonfinite for each in marks)
    broken = f"{counted(lost, 'value is', 'values are')} not finite, chequered" if lost else ""
    many = f"{len(sheet.channels or ()):,} of {sheet.of_channels:,} maps"
    notices = tuple(text for text in (cut, many, broken) if text)
    facts = {"shown": layout.shown, "channels": list(sheet.channels or ())}
    return Body(Panel(tuple(items), width, bottom + 8 + key.height), notices, facts=facts)


def _block(sheet: ContactSheet, block: range, marks: Sequence[Marks], scale: Scale, layout: _Layout) -> Panel:
    """Rows below one another, with the numbers of the channels above them; its upper edge is their baseline."""
    items: list[Item] = []
    for at, channel in enumerate(sheet.channels or ()):
        x = layout.left + at * (layout.tile + GAP) + layout.tile / 2
        items.append(Text(x, 0, str(channel), LABEL, QUIET, align="center"))
    y, names = 12.0, sheet.images.names
    for number, mark in zip(block, marks, strict=True):
        row = sheet.rows[number]
        placed, tall = _row(names[number], row, scale, mark, layout)
        pitch = _pitch(row, layout.tile)
        items += moved(Panel(tuple(placed), layout.width, tall), 0, round(y + (pitch - tall) / 2))
        y += pitch + GAP
    return Panel(tuple(items), layout.width, y)


def _best_layout(sheet: ContactSheet) -> _Layout:
    """The widest tiles and the fewest blocks at which all rows fit, else those at which most fit."""
    names = sheet.images.names[: len(sheet.rows)]
    room = min(NAMES, max(text_width(drawable(name), LABEL) for name in names) + 2 * GAP)
    widest = min(TILES[0], int((CONTENT - room) / (len(sheet.channels or ()) + 1) - GAP))
    choices = [
        layout
        for tile in sorted({min(widest, tile) for tile in TILES})
        for count in range(1, MOST_BLOCKS + 1)
        if (layout := _layout(sheet, tile, math.ceil(room), count)) is not None
    ]
    return max(choices, key=lambda layout: (layout.shown, layout.tile, -len(layout.blocks)))


def _layout(sheet: ContactSheet, tile: int, names: float, count: int, tallest: float | None = None) -> _Layout | None:
    """The layout with tiles of this width in ``count`` blocks of rows; None if that is too wide."""
    pictured = any(row.thumbnail is not None for row in sheet.rows)
    left = names + (tile + 2 * GAP if pictured else 0)
    width = left + len(sheet.channels or ()) * (tile + GAP) - GAP
    inner = count * width + (count - 1) * BETWEEN
    if count > 1 and inner > BLOCKS_WIDE:
        return None
    page_width = math.ceil(max(inner, 900.0) + 2 * MARGIN)
    room = min(FIGURE_PIXELS / page_width, TALLEST * page_width) - WORDS if tallest is None else tallest
    heights = [_pitch(row, tile) + GAP for row in sheet.rows]
    shown = sum(map(len, _blocks(heights, count, room)))
    lowest = sum(heights[:shown]) / count  # as even as they go
    blocks = next(
        blocks
        for more in range(len(heights) + 1)
        if sum(map(len, blocks := _blocks(heights, count, lowest + more * max(heights)))) >= shown
    )
    return _Layout(tile, names, left, width, page_width, tuple(blocks))


def _blocks(heights: Sequence[float], count: int, room: float) -> list[range]:
    """Rows of these heights in at most ``count`` blocks no higher than ``room``; the first row is always included."""
    blocks: list[range] = []
    start = 0
    while start < len(heights) and len(blocks) < count:
        ends = np.cumsum(heights[start:])
        fitting = int(np.count_nonzero(ends <= room)) or (not blocks)
        if not fitting:
            break
        blocks.append(range(start, start + fitting))
        start += fitting
    return blocks


def _scale(rows: Sequence[ContactRow]) -> Scale:
    """One scale for the rows that are drawn."""
    finite = [row.values[np.isfinite(row.values)] for row in rows]
    low = min((float(each.min()) for each in finite if each.size), default=0.0)
    high = max((float(each.max()) for each in finite if each.size), default=0.0)
    limit = max(-low, high)
    return Scale("layer", -limit, limit, signed=True) if low < 0 else Scale("layer", 0.0, high, signed=False)


def _scale_text(scale: Scale) -> str:
    if scale.limit == 0:
        return "Every value is 0"
    low, high = number_text(scale.low, plus=scale.signed), number_text(scale.high, plus=scale.signed)
    return f"One colour scale for all maps: {low} to {high}"


def _marks(sheet: ContactSheet, row: ContactRow, scale: Scale) -> Marks:
    """Irregularities of the maps of one row."""
    tiles = Tiles(
        values=row.values,
        view="maps",
        layout="grid",
        numbers=sheet.channels or (),
        total=sheet.of_channels,
        extent=(scale.low, scale.high),
        quantity="activation",
        explanation="",
        noun="map",
    )
    return find_marks(tiles, scale)


def _notes(sheet: ContactSheet, shown: int, marks: Sequence[Marks]) -> tuple[str, ...]:
    """The warnings: images left out, and maps that are not finite, dead, or as good as zero."""
    maps = shown * len(sheet.channels or ())
    notes = []
    if shown < sheet.total:
        notes.append(f"The first {shown:,} of {sheet.total:,} images: there is no space for the others")
    broken, lost = sum(len(each.broken) for each in marks), sum(each.nonfinite for each in marks)
    if broken:
        where = f"{counted(broken, 'map')} with a black frame"
        notes.append(f"{counted(lost, 'value is', 'values are')} not finite (chequered), in {where}")
    if more := sheet.nonfinite - lost:
        notes.append(f"{counted(more, 'value is', 'values are')} not finite in images that are not shown")
    if dead := sum(len(each.dead) for each in marks):
        notes.append(f"{dead:,} of {maps:,} maps {inflected(dead, 'is', 'are')} dead (the same value everywhere), grey")
    if zero := sum(len(each.zero) for each in marks):
        notes.append(f"{zero:,} of {maps:,} maps {inflected(zero, 'is', 'are')} as good as zero, struck through")
    return (*notes, *map(sentence, sheet.images.notes()))


def _height(row: ContactRow, tile: int) -> int:
    height, width = row.values.shape[1:3]
    return max(2, min(2 * tile, int(round(tile * height / width))))  # noqa: RUF046


def _pitch(row: ContactRow, tile: int) -> int:
    """The height of the row, at least that of one line of the image's name."""
    return max(_height(row, tile), math.ceil(1.3 * LABEL))


def _row(name: str, row: ContactRow, scale: Scale, marks: Marks, layout: _Layout) -> tuple[list[Item], int]:
    tile = layout.tile
    tall = _height(row, tile)
    lines = _name_lines(name, tall, layout.names - 10)
    first = tall / 2 - (len(lines) - 1) * LABEL * 0.65
    items: list[Item] = [
        Text(0, first + at * 1.3 * LABEL, line, LABEL, GREY, middle=True) for at, line in enumerate(lines)
    ]
    if row.thumbnail is not None:
        high, wide = row.thumbnail.shape[:2]
        share = min(tile / wide, tall / high)
        items.append(Raster(row.thumbnail, layout.names, 0, max(1, round(wide * share)), max(1, round(high * share))))
    for at, values in enumerate(row.values):
        x = round(layout.left + at * (tile + GAP))
        pixels = painted(values, scale, (tall, tile), dead=at in marks.dead, zero=at in marks.zero)
        items.append(Raster(pixels, x, 0, tile, tall))
        if at in marks.broken:
            out = FRAME / 2
            items.append(outline(x - out, -out, tile + 2 * out, tall + 2 * out, colour="not finite", line=FRAME))
        else:
            items.append(outline(x, 0, tile, tall))
    return items, tall


def painted(values: Array, scale: Scale, size: tuple[int, int], *, dead: bool, zero: bool) -> Indexed:
    """One map (H, W) as the pixels (h, w) of its tile, coloured and marked as in a mosaic."""
    ramp = Ramp(colour.map_colours(signed=scale.signed), scale.signed)
    colours = colour.palette(ramp.name, signed=ramp.signed)
    down, across = (np.arange(pixels) * length // pixels for pixels, length in zip(size, values.shape, strict=True))
    level = colour.levels(values[None], scale)[0] if not dead else np.full(values.shape, colour.DEAD, np.uint8)
    pixels = level[np.ix_(down, across)]
    inks = np.arange(len(colours), dtype=np.uint8)
    broken = ~np.isfinite(values)
    if broken.any():
        chequer(pixels, _shown_at(broken, size), inks, max(1, min(4, size[1] // (4 * values.shape[1]))))
    if zero or (dead and min(size) >= STRUCK):
        strike(pixels, (0, 0, *size), inks[colour.mark_on(colours[pixels[0, 0]])])
    return Indexed(pixels, ramp, (down, across))


def _shown_at(flags: Array, size: tuple[int, int]) -> Array:
    """Flags (H, W) at the pixels of a tile; no flag is lost if the tile has fewer pixels than the map has values."""
    for axis, length in enumerate(size):
        many = flags.shape[axis]
        starts = np.arange(length) * many // length
        shrunk = many > length
        flags = np.logical_or.reduceat(flags, starts, axis) if shrunk else np.take(flags, starts, axis)
    return flags


def _name_lines(name: str, tall: int, wide: float) -> list[str]:
    """An image's name in as many lines as fit in the row; the middle of a longer name becomes ``…``."""
    text, room = drawable(name), max(1, int(tall // (1.3 * LABEL)))
    lines = wrap(text, LABEL, wide)
    while len(lines) > room:
        keep = int(len(text) * 0.9) - 1
        text = text[: keep // 2].rstrip("…") + "…" + text[len(text) - keep // 2 :].lstrip("…")
        lines = wrap(text, LABEL, wide)
    return lines


def _key(scale: Scale) -> Panel:
    cmap = colour.map_colours(signed=scale.signed)
    strip = colour.bar_levels(scale.low, scale.high, int(BAR_WIDTH), signed=scale.signed, cmap=cmap)
    ends = number_text(scale.low, plus=scale.signed), number_text(scale.high, plus=scale.signed)
    style = BarStyle(BAR_HEIGHT, LABEL, 10 + LABEL, clear=30)
    zero = BAR_WIDTH / 2 if scale.signed else None
    bar, y = colour_bar([strip], ends, style, top=LABEL + 14, right=BAR_WIDTH, middle=zero)
    return Panel((Text(0, LABEL, "activation", LABEL, GREY), *bar), BAR_WIDTH, y + 0.3 * LABEL)

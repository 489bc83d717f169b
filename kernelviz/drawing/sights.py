"""What a traced unit reads and makes, as pictures: the photograph, maps, and parts of them enlarged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kernelviz.drawing.page import INK, Item, Panel, Raster, Rule, Shape, Text, moved, text_width, wrap
from kernelviz.drawing.worksheets import BORDER, DARK, DIM, SMALL, Cells, strongest, tints
from kernelviz.unit_texts import decimals_for, sight_text
from kernelviz.wording import fixed_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kernelviz.records import Array
    from kernelviz.traces import Unit


TOP = 40.0  # what the head above a picture takes
NEAR = 15  # rows and columns of a part that is enlarged
VEIL = 0.55
BAND, BAR = 16.0, 170.0  # no map is drawn thinner than the one, no bar shorter than the other
SIGHT = "what it can see"
MANY = 1024  # values from which on a few may saturate
QUANTILE = 0.99
WHITE = "#ffffff"


@dataclass(frozen=True)
class Ink:
    """What the colours of one map mean: full colour at ``limit``; ``clipped`` where some values lie beyond.

    It is not ``known`` where no value is finite and other than 0: there is no end then that a bar could show.
    """

    limit: float
    negative: bool
    clipped: bool
    known: bool = True

    def pixels(self, values: Array) -> Array:
        """(h, w, 3) uint8."""
        return tints(Cells(values, self.limit), digits=False)


@dataclass(frozen=True)
class View:
    """A picture with its head above and its lines below; the picture itself lies at ``top``, its height and width ``size``.

    ``scale`` is how many page pixels a row and a column of it take.
    """

    panel: Panel
    size: tuple[float, float]
    scale: tuple[float, float]
    top: float = TOP


def ink_of(values: Array) -> Ink:
    """The colours of a map; where 1 % of many values are far larger than the others, these take the end colour."""
    limit, finite = strongest(values), values[np.isfinite(values)]
    usual = float(np.quantile(np.abs(finite), QUANTILE)) if finite.size >= MANY else limit
    clipped = 0 < usual < 0.75 * limit
    return Ink(usual if clipped else limit, bool((finite < 0).any()), clipped, bool(finite.any()))


def ink_text(ink: Ink) -> str:
    """A clipped end told in the caption; empty where nothing is clipped."""
    if not ink.clipped:
        return ""
    sign = "±" if ink.negative else ""
    return f"map colours saturate at {sign}{_end(ink)}: 99 % of its values lie within"


def _end(ink: Ink) -> str:
    return fixed_text(ink.limit, decimals_for(np.array([ink.limit])))


def ink_bar(ink: Ink, width: float) -> Panel:
    """A slim bar with its ends below."""
    low = -1.0 if ink.negative else 0.0
    share = np.linspace(low, 1, 201)[None] * ink.limit
    texts = [("−" if ink.negative else "") + (_end(ink) if ink.negative else "0"), _end(ink)]
    if ink.clipped:
        texts = [f"≤ {texts[0]}" if ink.negative else texts[0], f"≥ {texts[1]}"]
    items: list[Item] = [Raster(ink.pixels(share), 0, 0, width, 13), outline(0, 0, width, 13)]
    room = width - sum(text_width(text, SMALL) for text in texts)
    if room < 24 and ink.negative:
        text = f"{'beyond ' if ink.clipped else ''}±{_end(ink)}"
        return Panel((*items, Text(width / 2, 38, text, SMALL, DIM, align="center")), width, 44)
    items += [Text(0, 38, texts[0], SMALL, DIM), Text(width, 38, texts[1], SMALL, DIM, align="right")]
    if ink.negative and room > 70:
        items.append(Text(width / 2, 38, "0", SMALL, DIM, align="center"))
    return Panel(tuple(items), width, 44)


def outline(left: float, top: float, width: float, height: float, *, colour: str = BORDER, ink: float = 2.0) -> Shape:
    """The border of a picture."""
    right, bottom = left + width, top + height
    return Shape(((left, top), (right, top), (right, bottom), (left, bottom)), colour, ink)


def mark(left: float, top: float, width: float, height: float, *, least: float = 14.0) -> list[Item]:
    """A near-black frame with a white halo, never smaller than can be seen."""
    more = max(0.0, least - width) / 2, max(0.0, least - height) / 2
    box = left - more[0] - 3, top - more[1] - 3, width + 2 * more[0] + 6, height + 2 * more[1] + 6
    return [outline(*box, colour=WHITE, ink=8.5), outline(*box, colour=DARK, ink=4.0)]


def titled(
    name: str, size: str, picture: Panel, lines: Sequence[str] = (), scale: tuple[float, float] = (1, 1)
) -> View:
    """A picture with its name in bold above it, its size behind that, and lines below."""
    items: list[Item] = [Text(0, 22, name, SMALL, INK, bold=True)]
    x = text_width(name, SMALL, bold=True) + 14
    widths = [x - 14, picture.width]
    if size and x + text_width(size, SMALL) <= max(picture.width, 1.0) + 6:
        items.append(Text(x, 22, size, SMALL, DIM))
        widths.append(x + text_width(size, SMALL))
    items += moved(picture, 0, TOP)
    y = TOP + picture.height
    for line in lines:
        y += 30
        items.append(Text(0, y, line, SMALL, DIM))
        widths.append(text_width(line, SMALL))
    return View(Panel(tuple(items), max(widths), y + 8), (picture.height, picture.width), scale)


def photograph(unit: Unit, side: float, *, sight: bool, name: str = "what the network saw") -> View | None:
    """What the network saw; with ``sight`` all but what the unit can see is veiled. None where there is no image."""
    if unit.seen is None:
        return None
    pixels = unit.seen.pixels
    height, width = pixels.shape[:2]
    factor = side / max(height, width)
    size = max(1, round(height * factor)), max(1, round(width * factor))
    shown = resampled(pixels, size)
    items: list[Item] = []
    box = unit.box if sight else None
    if box is not None:
        top, bottom = round(box.top * factor), round((box.bottom + 1) * factor)
        left, right = round(box.left * factor), round((box.right + 1) * factor)
        veiled = np.rint(shown + (255.0 - shown) * VEIL).astype(np.uint8)
        veiled[max(0, top) : max(0, bottom), max(0, left) : max(0, right)] = shown[
            max(0, top) : max(0, bottom), max(0, left) : max(0, right)
        ]
        shown = veiled
        if bottom > top and right > left:
            items = mark(left + 3, top + 3, right - left - 6, bottom - top - 6)
    picture = Panel((Raster(shown, 0, 0, size[1], size[0]), outline(0, 0, size[1], size[0]), *items), size[1], size[0])
    lines = []
    if sight:
        name = SIGHT
        lines = (
            ["not known"] if box is None else wrap(sight_text(unit).replace("pixels", "px"), SMALL, max(side, 220.0))
        )
    return titled(name, "", picture, lines, (factor, factor))


def resampled(pixels: Array, size: tuple[int, int]) -> Array:
    """A photograph in another size; smooth, for its pixels are not what is looked at."""
    from PIL import Image

    if pixels.shape[:2] == size:
        return pixels
    return np.asarray(Image.fromarray(pixels).resize(size[::-1], Image.Resampling.LANCZOS))


def map_picture(values: Array, ink: Ink, side: float) -> tuple[Panel, tuple[float, float]]:
    """A map as cells of whole pixels within a box, and how large they are; rows are taller where there are few."""
    height, width = values.shape
    across, down = side / width, side / height
    if min(across, down) >= 1:
        across, down = float(int(across)), float(int(down))
    column = min(across, 4 * down)
    row = min(down, 4 * across)
    if max(row, column) > 1.5 * min(row, column):
        row, column = (min(row, 4 * column), column) if row > column else (row, min(column, 4 * row))
    else:
        row = column = min(row, column)
    row, column = max(row, BAND / height), max(column, BAND / width)
    size = height * row, width * column
    items = (Raster(ink.pixels(values), 0, 0, size[1], size[0]), outline(0, 0, size[1], size[0]))
    return Panel(items, size[1], size[0]), (row, column)


def map_view(unit: Unit, side: float, *, of: tuple[range, range] | None = None) -> View:
    """The feature map with the unit marked, or this part of it."""
    picture, scale = map_picture(unit.map, ink_of(unit.map), side)
    _, row, column = unit.at
    rows, columns = of or (range(row, row + 1), range(column, column + 1))
    frame = mark(columns.start * scale[1], rows.start * scale[0], len(columns) * scale[1], len(rows) * scale[0])
    panel = Panel((*picture.items, *frame), picture.width, picture.height)
    return titled(f"feature map {unit.at[0]}", " × ".join(map(str, unit.map.shape)), panel, (), scale)


def with_bar(view: View, ink: Ink) -> View:
    """The same with a colour bar below, where there is a colour to be read."""
    if not ink.known:
        return view
    bar = ink_bar(ink, max(view.size[1], BAR))
    items = (*view.panel.items, *moved(bar, 0, view.panel.height + 10))
    return View(
        Panel(items, max(view.panel.width, bar.width), view.panel.height + 10 + bar.height), view.size, view.scale
    )


def input_view(unit: Unit, place: int, side: float, *, name: str = "") -> View:
    """One input channel with the window marked."""
    values = unit.inputs[place]
    ink = ink_of(values)
    picture, scale = map_picture(values, ink, side)
    items = (*picture.items, *window_mark(unit, scale))
    panel = Panel(items, picture.width, picture.height)
    if not name:
        return View(panel, (panel.height, panel.width), scale, 0.0)
    return with_bar(titled(name, f"{values.shape[0]} × {values.shape[1]}", panel, (), scale), ink)


def window_mark(unit: Unit, scale: tuple[float, float]) -> list[Item]:
    """The frame of what the kernel lies on, as far as that is inside of the input."""
    ends = []
    for (first, last), size in zip((unit.rows, unit.columns), unit.inputs.shape[1:], strict=True):
        ends.append((min(max(first, 0), size - 1), min(max(last, 0), size - 1)))
    (top, bottom), (left, right) = ends
    return mark(
        left * scale[1], top * scale[0], (right - left + 1) * scale[1], (bottom - top + 1) * scale[0], least=10.0
    )


def near(first: int, last: int, size: int, count: int = NEAR) -> range:
    """Rows (or columns) around these, inside of the map."""
    count = min(size, max(count, last - first + 5))
    start = min(max(0, (first + last + 1) // 2 - count // 2), size - count)
    return range(start, start + count)


def enlarged(
    pixels: Array, around: tuple[tuple[int, int], tuple[int, int]], side: float
) -> tuple[View, tuple[range, range]]:
    """A part of a picture (h, w, 3) around these rows and columns, with these in a frame; and which part it is."""
    rows, columns = (near(*ends, size) for ends, size in zip(around, pixels.shape[:2], strict=True))
    cell = float(max(1, int(side / max(len(rows), len(columns)))))
    part = pixels[rows.start : rows.stop, columns.start : columns.stop]
    (top, bottom), (left, right) = (
        (max(first, span.start), min(last, span.stop - 1))
        for (first, last), span in zip(around, (rows, columns), strict=True)
    )
    down, across = max(cell, BAND / len(rows)), max(cell, BAND / len(columns))
    width, height = len(columns) * across, len(rows) * down
    framed = mark(
        (left - columns.start) * across + 3, (top - rows.start) * down + 3,
        (right - left + 1) * across - 6, (bottom - top + 1) * down - 6,
    )  # fmt: skip
    items: list[Item] = [Raster(part, 0, 0, width, height), outline(0, 0, width, height), *framed]
    lines = [f"{_span('row', rows)},", _span("column", columns)]
    items += [Text(0, height + 30 * (i + 1), line, SMALL, DIM) for i, line in enumerate(lines)]
    panel = Panel(tuple(items), max(width, *(text_width(line, SMALL) for line in lines)), height + 68)
    return View(panel, (height, width), (down, across), 0.0), (rows, columns)


def _span(noun: str, places: range) -> str:
    return f"{noun} {places[0]}" if len(places) == 1 else f"{noun}s {places[0]}–{places[-1]}"


def funnel(frame: tuple[float, float, float], below: tuple[float, float, float]) -> list[Item]:
    """Lines from a frame's lower corners (left, right, bottom) to the upper ones of a picture (left, right, top)."""
    return [Rule(a, frame[2], b, below[2], DARK, 1.6) for a, b in zip(frame[:2], below[:2], strict=True)]

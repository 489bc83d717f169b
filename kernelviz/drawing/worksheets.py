"""Matrices with digits in their cells, and the pages on which calculations are laid out."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from kernelviz.drawing.colour import CHEQUER_DARK, CHEQUER_LIGHT, INKS, LEVELS, RD_BU, ZERO_LEVEL, ramp
from kernelviz.drawing.page import (
    INK,
    LINE_HEIGHT,
    BarStyle,
    Item,
    Panel,
    Raster,
    Rule,
    Shape,
    Strokes,
    Text,
    colour_bar,
    drawable,
    fitted,
    moved,
    outline,
    text_block,
    text_width,
    wrap,
)
from kernelviz.wording import fixed_text, value_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from kernelviz.records import Array


CELL = 89.0
LEGIBLE = 21.0  # the smallest digits that are still nine pixels high if the widest page is shown 640 pixels wide
DARK, DIM, FAINT = "#1a1c22", "#5a626e", "#8a929c"
LINE, BORDER, DASH = "#c6cad0", "#7d8590", "#8d949c"
SHADE = (241, 243, 245)
BROKEN, CHEQUER = (222, 222, 222), (INKS[CHEQUER_DARK][0], INKS[CHEQUER_LIGHT][0])
PATTERN = np.repeat(np.array(CHEQUER, np.uint8)[np.indices((4, 4)).sum(axis=0) % 2][..., None], 3, axis=-1)
# The middle of the blue and red colours, through the white of the page: dark digits are legible on all of them.
PALE = (RD_BU[3], RD_BU[4], (255, 255, 255), RD_BU[6], RD_BU[7])
VEIL = 0.5  # how far cells outside the step fade to white


@dataclass(frozen=True)
class Cells:
    """Values (h, w) and how each cell is drawn; ``empty`` cells show nothing.

    Values that are not finite are grey, or chequered if there are no digits.

    ``limit`` is the value with the strongest tint. ``lit`` cells belong to the step: full tint, bold digits; the others are
    faded; without ``lit`` all are plain. ``bold`` affects digits only. ``grey`` draws values from ``low`` to ``limit`` as
    brightness. ``decimals`` is the number of decimals of all numbers; without it each is as short as possible.
    ``hidden`` digits are left out.
    """

    values: Array
    limit: float
    lit: Array | None = None
    bold: Array | None = None
    padding: Array | None = None
    stretched: Array | None = None
    unread: Array | None = None
    grey: bool = False
    low: float = 0.0
    decimals: int | None = None
    empty: Array | None = None
    hidden: Array | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.values.shape[0], self.values.shape[1]

    def mask(self, name: str) -> Array:
        """One of the masks, all False if it is None."""
        found: Array | None = getattr(self, name)
        return np.zeros(self.shape, bool) if found is None else found

    @property
    def texts(self) -> list[list[str]]:
        """The texts in the cells."""
        return [
            ["" if bare else fixed_text(float(value), self.decimals) for value, bare in zip(*row, strict=True)]
            for row in zip(self.values, self.mask("empty"), strict=True)
        ]

    @property
    def broken(self) -> Array:
        """(h, w): which values are not finite."""
        return ~np.isfinite(self.values) & ~self.mask("empty")


@dataclass(frozen=True)
class DigitRule:
    """How large the numbers in cells may be: at most ``largest``, and these shares of a cell's height and width.

    Numbers that are not legible at the share ``wide`` take ``widest`` instead.
    """

    largest: float
    tall: float
    wide: float
    widest: float
    bold: bool


WORKSHEET_DIGITS = DigitRule(largest=31.0, tall=0.46, wide=0.86, widest=0.86, bold=True)


def digit_size(cells: Iterable[Cells], cell: float, rule: DigitRule = WORKSHEET_DIGITS) -> float:
    """The size at which all numbers fit into cells of this size; 0 if that is not legible."""
    words = {text for each in cells for row in each.texts for text in row}
    ems = max(0.1, max((text_width(word, 1.0, bold=rule.bold) for word in words), default=0.0))
    fitting = max(rule.wide * cell / ems, min(LEGIBLE, rule.widest * cell / ems))
    size = min(rule.largest, rule.tall * cell, fitting)
    return size if size >= LEGIBLE else 0.0


def tints(cells: Cells, *, digits: bool) -> Array:
    """(h, w, 3) uint8: the middle half of the colours, on which dark digits are legible; all colours without digits."""
    values = np.where(np.isfinite(cells.values), cells.values, 0.0)
    if cells.grey:
        share = np.clip((values - cells.low) / ((cells.limit - cells.low) or 1.0), 0, 1)
        level = 150 + 105 * share if digits else 255 * share
        colours = np.repeat(level[..., None], 3, axis=-1)
    else:
        share = np.clip(values / (cells.limit or 1.0), -1, 1)
        levels = np.rint(ZERO_LEVEL + (LEVELS - 1 - ZERO_LEVEL) * share).astype(int)
        colours = ramp(None, signed=True)[levels].astype(np.float64)
        if digits:
            colours = np.stack(
                [np.interp(share, (-1, -0.5, 0, 0.5, 1), channel) for channel in zip(*PALE, strict=True)], -1
            )
    if cells.lit is not None and digits:
        veiled = ~cells.lit & ~cells.mask("padding")
        colours[veiled] += (255 - colours[veiled]) * VEIL
    colours[cells.mask("stretched")] = SHADE
    colours[cells.broken] = BROKEN
    if not digits:
        rows, columns = np.nonzero(cells.broken)
        colours[rows, columns] = np.array(CHEQUER)[(rows + columns) % 2, None]
    colours[cells.mask("padding") | cells.mask("empty")] = 255
    return np.asarray(np.rint(colours), np.uint8)


def cells_panel(cells: Cells, cell: float, size: float) -> Panel:
    """The cells, each of this size, with digits of that size; 0 for colours alone."""
    rows, columns = cells.shape
    width, height = columns * cell, rows * cell
    items: list[Item] = [Raster(tints(cells, digits=size > 0), 0, 0, width, height)]
    if not size and cell >= 8:
        items += [Raster(PATTERN, j * cell, i * cell, cell, cell) for i, j in np.argwhere(cells.broken)]
    items += _lines(cells, cell, fine=size > 0 or cell >= 16)
    if size:
        items += _hatching(cells, cell)
        items += _digits(cells, cell, size)
    return Panel(tuple(items), width, height)


def _digits(cells: Cells, cell: float, size: float) -> list[Item]:
    lit, faint = cells.lit, cells.mask("padding") | cells.mask("stretched")
    bold = cells.mask("bold") if cells.bold is not None else cells.mask("lit") & ~faint
    hidden = cells.mask("hidden")
    items: list[Item] = []
    for i, row in enumerate(cells.texts):
        for j, text in enumerate(row):
            if text and not hidden[i, j]:
                inside = lit is None or bool(lit[i, j])
                colour = (DIM if inside else FAINT) if faint[i, j] else (DARK if inside or bold[i, j] else DIM)
                middle = (j + 0.5) * cell, (i + 0.5) * cell
                items.append(Text(*middle, text, size, colour, bool(bold[i, j]), "center", middle=True))
    return items


def _lines(cells: Cells, cell: float, *, fine: bool) -> list[Item]:
    """Lines between cells, dashed between cells of padding; a border around the other cells."""
    rows, columns = cells.shape
    padding = cells.mask("padding")
    inner = ~padding
    if not inner.any():
        top, bottom, left, right = 0, 0, 0, 0
    else:
        down, across = np.flatnonzero(inner.any(axis=1)), np.flatnonzero(inner.any(axis=0))
        top, bottom, left, right = int(down[0]), int(down[-1]) + 1, int(across[0]), int(across[-1]) + 1
    items: list[Item] = []
    if fine:
        solid = [(x * cell, top * cell, x * cell, bottom * cell) for x in range(left + 1, right)]
        solid += [(left * cell, y * cell, right * cell, y * cell) for y in range(top + 1, bottom)]
        items.append(Strokes(tuple(solid), LINE, 2)) if solid else None
    dashed = []
    for x in range(columns + 1):
        inside = left <= x <= right
        spans = ((0, top), (bottom, rows)) if inside else ((0, rows),)
        dashed += [(x * cell, a * cell, x * cell, b * cell) for a, b in spans if a < b]
    for y in range(rows + 1):
        inside = top <= y <= bottom
        spans = ((0, left), (right, columns)) if inside else ((0, columns),)
        dashed += [(a * cell, y * cell, b * cell, y * cell) for a, b in spans if a < b]
    if dashed and fine:
        items.append(Strokes(tuple(dashed), DASH, 1.6, dashed=True))
    if inner.any():
        items.append(frame(top, left, bottom - top, right - left, cell, colour=BORDER, width=2.6))
    return items


def _hatching(cells: Cells, cell: float) -> list[Item]:
    """Thin diagonals on the cells that no window reads; one line for a whole diagonal of them."""
    unread = cells.mask("unread")
    if not unread.any():
        return []
    step, lines = cell / 5, []
    for i, j in np.argwhere(unread):
        left, top = j * cell, i * cell
        for at in np.arange(step / 2, 2 * cell, step):
            x0, y0 = left + max(0.0, at - cell), top + min(at, cell)
            x1, y1 = left + min(at, cell), top + max(0.0, at - cell)
            lines.append((x0, y0, x1, y1))
    return [Strokes(tuple(lines), LINE, 1.4)]


def frame(
    row: float, column: float, rows: float, columns: float, cell: float, *, colour: str = DARK, width: float = 5.5
) -> Shape:
    """A frame around some cells."""
    return outline(column * cell, row * cell, columns * cell, rows * cell, colour=colour, line=width)


def window_frame(rows: range, columns: range, cell: float) -> list[Item]:
    """The frame of a window; for a dilated one a frame around each cell, and a dashed line around all."""
    if rows.step == 1 and columns.step == 1:
        return [frame(rows.start, columns.start, len(rows), len(columns), cell)]
    left, top, right, bottom = columns[0] * cell, rows[0] * cell, (columns[-1] + 1) * cell, (rows[-1] + 1) * cell
    around = (
        (left, top, right, top),
        (right, top, right, bottom),
        (right, bottom, left, bottom),
        (left, bottom, left, top),
    )
    return [
        Strokes(around, DARK, 3, dashed=True),
        *(frame(i, j, 1, 1, cell, width=4.5) for i in rows for j in columns),
    ]


def strongest(*values: Array) -> float:
    """The largest absolute finite value, for one scale of them all; 1 if there is none."""
    sizes = [np.abs(each[np.isfinite(each)]).max(initial=0) for each in values]
    return float(max(sizes, default=0)) or 1.0


NARROWEST, WIDEST = 1280.0, 1480.0
MARGIN = 53.0
TITLE, SETTINGS, HEAD, SIGN, SUM, FORMULA, SMALL = 31.0, 24.0, 24.0, 42.0, 24.0, 30.0, 21.0
TAB = 46.0  # between the number of the step and the caption
HEADER, TITLED = 58.0, 40.0  # what the name of a matrix, and a small title, take above it


@dataclass(frozen=True)
class LabelledPicture:
    """A picture with its labels; y is 0 at the picture's upper edge.

    ``size`` is the picture's height and width; ``width`` is that of all. The labels take ``above`` and ``below``.
    ``scale`` is how many page pixels a row and a column of the picture take.
    """

    items: tuple[Item, ...]
    size: tuple[float, float]
    width: float
    above: float = 0.0
    below: float = 0.0
    scale: tuple[float, float] = (1.0, 1.0)

    @property
    def height(self) -> float:
        """With the labels."""
        return self.above + self.size[0] + self.below

    def at(self, x: float, y: float) -> tuple[Item, ...]:
        """The items, with the upper left corner of all at (x, y)."""
        return moved(Panel(self.items, self.width, self.height), x, y + self.above)

    def centred_at(self, x: float, middle: float) -> tuple[Item, ...]:
        """The items, with the left at x and the middle of the picture at this height."""
        return moved(Panel(self.items, self.width, self.height), x, middle - self.size[0] / 2)


def headed(
    panel: Panel, name: str, size: str = "", *, lift: float = 0.0, below: str = "", aside: bool = False
) -> LabelledPicture:
    """A matrix with its name in bold and its size above it, centred; ``lift`` leaves space between.

    With ``aside`` a head that is wider than its matrix starts with it, which keeps the left of the matrix free.
    """
    gap = 16.0 if size else 0.0
    widths = text_width(name, HEAD, bold=True), text_width(size, HEAD)
    total = widths[0] + gap + widths[1]
    room = max(panel.width, total)
    left = (room - total) / 2
    y = -22.0 - lift
    items: list[Item] = [Text(left, y, name, HEAD, INK, bold=True)]
    if size:
        items.append(Text(left + widths[0] + gap, y, size, HEAD, DIM))
    if below:
        items.append(Text((room - panel.width) / 2, panel.height + 34, below, SMALL, DIM))
    items += moved(panel, 0 if aside else (room - panel.width) / 2, 0)
    return LabelledPicture(tuple(items), (panel.height, panel.width), room, HEADER + lift, 38 if below else 0)


def titled(
    name: str,
    size: str,
    picture: Panel,
    lines: Sequence[str] = (),
    *,
    scale: tuple[float, float] = (1.0, 1.0),
    pitch: float = 30.0,
    foot: float = 8.0,
    whole_head: bool = False,
) -> LabelledPicture:
    """A picture with its name in small bold type above it, its size beside the name, and lines below.

    The size is left out if it reaches beyond the picture, unless ``whole_head``.
    """
    items: list[Item] = [Text(0, -18, name, SMALL, INK, bold=True)]
    x = text_width(name, SMALL, bold=True) + 14
    end = x + text_width(size, SMALL)
    fits = end <= max(picture.width, 1.0) + 6
    if size and (fits or whole_head):
        items.append(Text(x, -18, size, SMALL, DIM))
    widths = [end if whole_head or (size and fits) else x - 14, picture.width]
    items += picture.items
    for number, line in enumerate(lines):
        items.append(Text(0, picture.height + pitch * (number + 1), line, SMALL, DIM))
        widths.append(text_width(line, SMALL))
    below = pitch * len(lines) + foot
    return LabelledPicture(tuple(items), (picture.height, picture.width), max(widths), TITLED, below, scale)


def with_bar(picture: LabelledPicture, bar: Panel, gap: float) -> LabelledPicture:
    """The picture with a colour bar under its labels."""
    items = (*picture.items, *moved(bar, 0, picture.size[0] + picture.below + gap))
    below = picture.below + gap + bar.height
    return replace(picture, items=items, width=max(picture.width, bar.width), below=below)


def space(width: float) -> LabelledPicture:
    """Free space in a row."""
    return LabelledPicture((), (0.0, width), width)


def sign(text: str, width: float = 98.0) -> LabelledPicture:
    """A sign between two matrices."""
    return replace(space(width), items=(Text(width / 2, 0, text, SIGN, DIM, align="center", middle=True),))


def arrow(word: str = "", width: float = 98.0) -> LabelledPicture:
    """An arrow between two matrices, with a word above it."""
    items: list[Item] = [*arrow_items(20, 0, width - 22)]
    if word:
        items.append(Text(width / 2, -16, word, HEAD, DIM, align="center"))
    return replace(space(width), items=tuple(items))


def arrow_items(x0: float, y: float, x1: float, width: float = 3.0) -> tuple[Item, ...]:
    """A horizontal arrow to the right."""
    head = 5 * width
    points = ((x1 - head, y - 0.5 * head), (x1 - head, y + 0.5 * head), (x1, y))
    return Rule(x0, y, x1 - head, y, DIM, width), Shape(points, DIM)


def in_a_row(parts: Sequence[LabelledPicture], gap: float = 0.0) -> Panel:
    """Pictures beside each other, their middles on one line."""
    above = max(part.size[0] / 2 + part.above for part in parts)
    below = max(part.size[0] / 2 + part.below for part in parts)
    items: list[Item] = []
    x = 0.0
    for part in parts:
        items += part.centred_at(x, above)
        x += part.width + gap
    return Panel(tuple(items), x - gap, above + below)


def stacked(panels: Sequence[Panel], gap: float) -> Panel:
    """Panels below each other."""
    items: list[Item] = []
    y = 0.0
    for panel in panels:
        items += moved(panel, 0, y)
        y += panel.height + gap
    return Panel(tuple(items), max(panel.width for panel in panels), y - gap)


def foot_panels(left: Panel, right: Panel, preferred: float, room: float) -> list[tuple[float, Panel]]:
    """Two panels at the foot of a page: beside each other if they fit, else one below the other."""
    if left.width + 40 <= preferred and preferred + right.width <= room:
        return [(0.0, left), (preferred, right)]
    if left.width + 70 + right.width <= room:
        return [(0.0, left), (left.width + 70, right)]
    return [(0.0, stacked([left, right], 26))]


def cells_bar(cells: Cells, width: float) -> Panel:
    """The colour bar of a matrix, at least as wide as its labels."""
    low = cells.low if cells.grey else -cells.limit
    ends = value_text(low), value_text(cells.limit)
    width = max(width, sum(text_width(end, SMALL) for end in ends) + 30)
    grey = np.repeat(np.rint(255 * np.linspace(0, 1, 201))[:, None], 3, axis=1).astype(np.uint8)
    pixels = (grey if cells.grey else ramp(None, signed=True))[None]
    clear = 30 - text_width("−", SMALL) / 2
    style = BarStyle(16, SMALL, 26, clear=clear, colour=DIM)
    items, y = colour_bar([pixels], ends, style, right=width, middle=None if cells.grey else width / 2)
    return Panel(tuple(items), width, y + 4)


def worksheet(
    title: str,
    settings: str,
    body: Panel,
    foot: Sequence[tuple[float, Panel]],
    notes: Sequence[str],
    *,
    counted: tuple[int, int] | None = None,
) -> Panel:
    """The whole page: heading, body, the panels of ``foot`` at their x, and the caption.

    ``counted``, the step and the number of steps, starts the caption in a fixed width: the rest does not move.
    """
    inner = max(NARROWEST - 2 * MARGIN, body.width, *(x + panel.width for x, panel in foot or [(0, body)]))
    items, y = _heading(drawable(title, bold=True), drawable(settings), inner)
    items += moved(body, MARGIN, y)
    y += body.height
    if foot:
        y += 46
        for x, panel in foot:
            items += moved(panel, MARGIN + x, y)
        y += max(panel.height for _, panel in foot)
    words, below = _caption([note for note in notes if note], counted, y + 40, inner)
    return Panel((*items, *words), math.ceil(inner + 2 * MARGIN), math.ceil(below + 26))


def _caption(notes: Sequence[str], counted: tuple[int, int] | None, y: float, room: float) -> tuple[list[Item], float]:
    """The notes one after the other, in as many lines as needed, and the y below them."""
    step, steps = (f"step {each:,} of {counted[1]:,}" for each in counted) if counted else ("", "")
    start = text_width(steps, SMALL) + TAB if counted else 0.0
    lines = [""]
    for part in notes:
        behind = start and len(lines) == 1
        joined = f"{lines[-1]} · {part}" if lines[-1] else part
        if text_width(joined, SMALL) + (start if behind else 0) <= room:
            lines[-1] = joined
        else:
            lines += wrap(part, SMALL, room)
    if not counted:
        return text_block([line for line in lines if line], MARGIN, y, SMALL, colour=DIM)
    words, below = text_block(lines[1:], MARGIN, y + SMALL * LINE_HEIGHT, SMALL, colour=DIM)
    first = [Text(MARGIN, y + SMALL, step, SMALL, DIM), Text(MARGIN + start, y + SMALL, lines[0], SMALL, DIM)]
    return [*(item for item in first if item.text), *words], below


def _heading(title: str, settings: str, room: float) -> tuple[list[Item], float]:
    wide = text_width(title, TITLE, bold=True)
    size = TITLE * max(0.75, min(1.0, room / wide))
    lines = wrap(title, size, room, bold=True)
    items, y = text_block(lines, MARGIN, 60 - size, size, colour=INK, bold=True)
    x = wide + 26
    if len(lines) == 1 and x + text_width(settings, SETTINGS) <= room:
        return [*items, Text(MARGIN + x, 60, settings, SETTINGS, DIM)], 106.0
    words, below = text_block(fitted(settings, SETTINGS, room), MARGIN, y + 3, SETTINGS, colour=DIM)
    return [*items, *words], below + 30

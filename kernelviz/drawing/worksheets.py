"""Matrices with digits in their cells, and the pages on which calculations are laid out."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from kernelviz.drawing.colour import BLANK, BROKEN, CHEQUER_DARK, CHEQUER_LIGHT, PAPER, Indexed, TintRamp
from kernelviz.drawing.page import (
    INK,
    LINE_HEIGHT,
    Body,
    Item,
    PageParts,
    Panel,
    Raster,
    Rule,
    Shape,
    Strokes,
    Text,
    balanced,
    drawable,
    fitted,
    moved,
    outline,
    text_block,
    text_width,
    wrap,
)
from kernelviz.records import LUMA
from kernelviz.wording import fixed_text, value_text, visible

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from kernelviz.drawing.page import Box
    from kernelviz.records import Array


CELL = 96.0
LEGIBLE = 20.82  # the smallest digits that are still nine pixels high if the widest page is shown 640 pixels wide
SHARE = 0.85  # of the width of its cell that a number takes at most
DARK, DIM, FAINT = "dark", "dim", "faint"
LINE, BORDER, DASH = "line", "border", "dash"
HALO, ON_DISC = "halo", "on dark"  # around frames; on discs
ON_LIGHT, ON_DARK = "on light pixel", "on dark pixel"  # digits on the cells of an image, which look alike in every look
LUMINANCE = np.array([0.2126, 0.7152, 0.0722])  # of red, green and blue of sRGB
CHEQUER = np.array([CHEQUER_DARK, CHEQUER_LIGHT], np.uint8)
PATTERN = Indexed(CHEQUER[np.indices((4, 4)).sum(axis=0) % 2], TintRamp(pale=False))
STEPS = 100  # of the colours on each side of zero
MOST_AT_ONCE = 1 << 18  # values whose colours are computed at once
MOST_DIGITS = 10_000  # numbers of a matrix: more do not fit on a page
CUT = "cut"  # the corner of a cell whose negative number became 0
RANGE = 1000.0  # the largest size is at most this many times the smallest one that has a tint of its own


@dataclass(frozen=True)
class Tint:
    """What the colours of cells mean, one scale for a whole page: full colour at ``limit``.

    With a ``unit`` it is logarithmic: the share of full colour is ln(1 + |v| / unit) / ln(1 + limit / unit); without, it is
    |v| / limit. ``pale`` takes the middle half of red–blue only, on which dark digits are legible. ``negative`` is whether
    the bar has a negative half.
    """

    limit: float
    unit: float = 0.0
    pale: bool = True
    negative: bool = True

    @property
    def limits(self) -> list[float]:
        """The values at both ends of the bar."""
        return [-self.limit if self.negative else 0.0, self.limit]

    def shares(self, values: Array) -> Array:
        """From −1 to 1, in ``STEPS`` steps on each side; 0 for what is not finite."""
        with np.errstate(all="ignore"):
            size = np.where(np.isfinite(values), np.abs(values), 0.0)
            if self.unit:
                share = np.log1p(size / self.unit) / np.log1p(self.limit / self.unit)
            else:
                share = size / (self.limit or 1.0)
            return np.asarray(np.sign(np.nan_to_num(values)) * np.rint(STEPS * np.clip(share, 0, 1)) / STEPS)

    def indexed(self, values: Array, *, digits: bool = False) -> Indexed:
        """The colours of values (h, w); ``digits`` is whether the cells contain them as numbers, too."""
        found = [(np.rint(STEPS * self.shares(band)) + STEPS).astype(np.uint8) for band in _bands(values)]
        levels = np.concatenate([*found, np.empty(0, np.uint8)]).reshape(values.shape)
        return Indexed(levels, TintRamp(self.pale, digits))


def page_tint(*values: Array | None, more: Iterable[float] = (), pale: bool = True) -> Tint:
    """The logarithmic scale of a page with these matrices: from its smallest size that is not 0 to its largest.

    ``more`` are sizes that the scale has to reach, too.
    """
    bands = [band for each in values if each is not None for band in _bands(each)]
    limit = max([0.0, *(float(each) for each in more if np.isfinite(each))])
    smallest, negative = math.inf, False
    for band in bands:
        sizes = np.abs(band[np.isfinite(band)])
        limit = max(limit, float(sizes.max(initial=0)))
        smallest = min(smallest, float(sizes[sizes > 0].min(initial=np.inf)))
        negative = negative or bool((band < 0).any())
    limit = limit or 1.0
    return Tint(limit, max(min(smallest, limit), limit / RANGE), pale, negative)


def _bands(values: Array) -> Iterator[Array]:
    """Parts of an array, as flat views, such that what is computed of each takes little memory."""
    flat = np.ravel(values)
    return (flat[start : start + MOST_AT_ONCE] for start in range(0, flat.size, MOST_AT_ONCE))


@dataclass(frozen=True)
class Cells:
    """Values (h, w) and how each cell is drawn; ``empty`` cells show nothing.

    Values that are not finite are grey, or chequered if there are no digits.

    ``tint`` is the scale of the colours. Digits are ``texts``, or else the values with ``decimals`` decimals; without them
    each is written by ``value_text``. ``bold`` marks the cells that take part. ``padding`` is dashed, ``stretched`` cells
    have an inner frame, ``unread`` ones are hatched. ``hidden`` digits are left out, ``short``
    ones are not written in full. ``pending`` cells, not computed yet, are empty with a dot. ``blank`` ones are grey, as
    they have no number. ``colours`` (h, w, 3) uint8 are those of an image, instead of the scale; digits on dark ones are
    white.
    """

    values: Array
    tint: Tint
    texts: Array | None = None
    bold: Array | None = None
    padding: Array | None = None
    stretched: Array | None = None
    unread: Array | None = None
    decimals: int | None = None
    empty: Array | None = None
    hidden: Array | None = None
    short: Array | None = None
    pending: Array | None = None
    blank: Array | None = None
    colours: Array | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.values.shape[0], self.values.shape[1]

    def mask(self, name: str) -> Array:
        """One of the masks, all False if it is None."""
        found: Array | None = getattr(self, name)
        return np.zeros(self.shape, bool) if found is None else found

    @property
    def written(self) -> list[list[str]]:
        """The texts of all cells, also of empty ones."""
        if self.texts is not None:
            return [[*row] for row in self.texts]
        return [[fixed_text(float(value), self.decimals) for value in row] for row in self.values]

    @property
    def dark(self) -> Array:
        """(h, w): which cells of an image are so dark that white digits are more legible, in colour and in grey."""
        if self.colours is None:
            return np.zeros(self.shape, bool)
        shares = self.colours / 255.0
        luminances = (shares**2.2 @ LUMINANCE + 0.05) * ((shares @ LUMA) ** 2.2 + 0.05)
        return np.asarray(luminances < 0.247**2)

    @property
    def broken(self) -> Array:
        """(h, w): which values are not finite."""
        return ~np.isfinite(self.values) & ~self.mask("empty") & ~self.mask("pending")


@dataclass(frozen=True)
class DigitRule:
    """How large the numbers in cells are: at most ``largest``, and ``tall`` and ``share`` of a cell's height and width.

    Numbers no wider than ``usual`` ems share one size; longer ones shrink alone.
    """

    largest: float = 31.0
    tall: float = 0.46
    share: float = SHARE
    usual: float = 2.75  # that of −000
    bold: bool = True


WORKSHEET_DIGITS = DigitRule()


def digit_size(
    cells: Sequence[Cells], cell: float, rule: DigitRule = WORKSHEET_DIGITS, legible: float = LEGIBLE
) -> float:
    """The size of numbers that are not too long, in cells of this size; 0 if some number would not be legible."""
    if min(rule.largest, rule.tall * cell) < legible or any(each.values.size > MOST_DIGITS for each in cells):
        return 0.0
    words = {text for each in cells for row in each.written for text in row}
    ems = [max(0.1, text_width(word, 1.0, bold=rule.bold)) for word in words]
    usual = max((each for each in ems if each <= rule.usual), default=0.1)
    size = min(rule.largest, rule.tall * cell, rule.share * cell / usual)
    return size if min(size, rule.share * cell / max(ems, default=0.1)) >= legible else 0.0


def legible_cell(cells: Sequence[Cells], least: float, most: float) -> float:
    """The smallest cell from ``least`` to ``most`` that leaves all numbers legible; 0 if there is none.

    If no cell fits the longest numbers, these are shortened, see ``shortened_cells``.
    """
    sizes = np.arange(least, most + 1)
    found = next((cell for cell in sizes if digit_size(cells, cell)), 0.0)
    if found or not len(sizes):
        return found
    short = [shortened_cells(each, sizes[-1]) for each in cells]
    return next((cell for cell in sizes if digit_size(short, cell)), 0.0)


class ShortText(Text):
    """A number in a shorter form, as it does not fit its cell."""


def shortened_cells(cells: Cells, cell: float, legible: float = LEGIBLE) -> Cells:
    """Cells with few numbers that are too long to be legible: these in a shorter form, or ``…`` if none fits.

    Other cells are returned as they are: if all numbers are legible, if at least half of them are not, or if one is not
    although it is no wider than usual.
    """
    rule = WORKSHEET_DIGITS
    if cells.values.size > MOST_DIGITS or min(rule.largest, rule.tall * cell) < legible:
        return cells
    most = rule.share * cell / legible
    texts = np.array([*(text for row in cells.written for text in row), None], object)[:-1].reshape(cells.shape)
    long = np.array([text_width(text, 1.0, bold=rule.bold) > most for text in texts.flat]).reshape(cells.shape)
    if not long.any() or 2 * np.count_nonzero(long) >= long.size:
        return cells
    if any(text_width(text, 1.0, bold=rule.bold) <= rule.usual for text in texts[long]):
        return cells
    texts[long] = [_short_form(float(value), most, rule) for value in cells.values[long]]
    return replace(cells, texts=texts, short=long)


def _short_form(value: float, most: float, rule: DigitRule) -> str:
    """``−1.2e6``: as many digits as fit this many ems; ``…`` if one is too long."""
    if not math.isfinite(value):
        return value_text(value)
    forms = [re.sub(r"e([+-])0*", r"e\1", f"{value:.{digits}g}").replace("+", "") for digits in (3, 2, 1)]
    written = (form.replace("-", "−") for form in forms)
    return next((form for form in written if text_width(form, 1.0, bold=rule.bold) <= most), "…")


def digits_panel(cells: Cells, cell: float, legible: float = LEGIBLE) -> Panel:
    """The cells with their digits at the size that fits; long numbers are shortened, see ``shortened_cells``."""
    short = shortened_cells(cells, cell, legible=legible)
    return cells_panel(short, cell, digit_size([short], cell, legible=legible))


def tints(cells: Cells, *, digits: bool) -> Indexed:
    """The colours of the values of the cells; what is not finite is grey beside digits, else chequered."""
    colours = cells.tint.indexed(cells.values, digits=digits)
    colours.index[cells.broken] = BROKEN
    if not digits:
        rows, columns = np.nonzero(cells.broken)
        colours.index[rows, columns] = CHEQUER[(rows + columns) % 2]
    colours.index[cells.mask("empty") | cells.mask("pending")] = PAPER
    colours.index[cells.mask("blank")] = BLANK
    return colours


def cells_panel(cells: Cells, cell: float, size: float, rule: DigitRule = WORKSHEET_DIGITS) -> Panel:
    """The cells, each of this size, with digits of that size, the long ones smaller; 0 for colours alone."""
    rows, columns = cells.shape
    width, height = columns * cell, rows * cell
    content = tints(cells, digits=size > 0) if cells.colours is None else cells.colours
    items: list[Item] = [Raster(content, 0, 0, width, height)]
    if not size and cell >= 8:
        items += [Raster(PATTERN, j * cell, i * cell, cell, cell) for i, j in np.argwhere(cells.broken)]
    items += _lines(cells, cell, fine=size > 0 or cell >= 16)
    if cell >= LEGIBLE:
        items += _inner_frames(cells, cell)
    if size or cell >= LEGIBLE:
        items += _hatching(cells, cell)
    if (pending := np.argwhere(cells.mask("pending"))).size:
        half = max(1.2, 0.045 * cell)
        middles = [((j + 0.5) * cell, (i + 0.5) * cell) for i, j in pending]
        items.append(Strokes(tuple((x - half, y, x + half, y) for x, y in middles), BORDER, 2 * half))
    if size:
        items += _digits(cells, cell, size, rule)
    return Panel(tuple(items), width, height)


def _digits(cells: Cells, cell: float, size: float, rule: DigitRule) -> list[Item]:
    strong, short, dark = cells.mask("bold"), cells.mask("short"), cells.dark
    hidden = cells.mask("hidden") | cells.mask("empty") | cells.mask("pending")
    items: list[Item] = []
    for i, row in enumerate(cells.written):
        for j, text in enumerate(row):
            if text and not hidden[i, j]:
                fitting = min(size, rule.share * cell / text_width(text, 1.0, bold=bool(strong[i, j])))
                middle = (j + 0.5) * cell, (i + 0.5) * cell
                kind = ShortText if short[i, j] else Text
                ink = DARK if cells.colours is None else ON_DARK if dark[i, j] else ON_LIGHT
                items.append(kind(*middle, text, fitting, ink, bool(strong[i, j]), "center", middle=True))
    return items


def _inner_frames(cells: Cells, cell: float) -> list[Item]:
    """A thin frame inside each cell of a zero that was put between the values."""
    inset, lines = max(3.5, 0.07 * cell), []
    for i, j in np.argwhere(cells.mask("stretched")):
        left, top, right, bottom = j * cell + inset, i * cell + inset, (j + 1) * cell - inset, (i + 1) * cell - inset
        lines += [(left, top, right, top), (right, top, right, bottom), (left, top, left, bottom)]
        lines.append((left, bottom, right, bottom))
    return [Strokes(tuple(lines), LINE, 1.4)] if lines else []


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


def window_frame(rows: range, columns: range, cell: float, *, halo: bool = False) -> list[Item]:
    """The frame of a window; for a dilated one a frame around each cell, and a dashed line around all.

    With ``halo`` it has a border in the colour of the page, so that it is seen on the cells of an image.
    """
    if halo:
        cells = [(rows.start, columns.start, len(rows), len(columns))]
        if rows.step != 1 or columns.step != 1:
            cells = [(i, j, 1, 1) for i in rows for j in columns]
        halos = [frame(*each, cell, colour=HALO, width=10.5) for each in cells]
        return [*halos, *window_frame(rows, columns, cell)]
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


DISC = 15.0  # radius


def circle(x: float, y: float, radius: float) -> tuple[tuple[float, float], ...]:
    """The points of a polygon that looks like a circle."""
    angles = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    return tuple((x + radius * math.cos(a), y + radius * math.sin(a)) for a in angles)


def disc(x: float, y: float, letter: str) -> list[Item]:
    """A letter on a black disc."""
    return [
        Shape(circle(x, y, DISC), DARK), Text(x, y, letter, SMALL, ON_DISC, bold=True, align="center", middle=True),
    ]  # fmt: skip


def in_a_row(parts: Sequence[LabelledPicture]) -> Panel:
    """Pictures beside each other, their middles on one line."""
    above = max(part.size[0] / 2 + part.above for part in parts)
    below = max(part.size[0] / 2 + part.below for part in parts)
    items: list[Item] = []
    x = 0.0
    for part in parts:
        items += part.centred_at(x, above)
        x += part.width
    return Panel(tuple(items), x, above + below)


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
    if left.width + 40 + right.width <= room:
        return [(0.0, left), (min(left.width + 70, room - right.width), right)]
    return [(0.0, stacked([left, right], 26))]


BAR_WIDTH, TICK = 18.0, 8.0  # of the upright colour bar of a page
BAR_PITCH = 27.0  # between the labels of its ticks
NICE = (1.0, 3.0)


def tick_values(tint: Tint) -> list[float]:
    """The positive values that a bar names, the most important first: limit, unit, and the 1, 3, 10, … between them."""
    low = tint.unit or tint.limit / 2
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(tint.limit)) + 1)
    between = [float(f"{factor:.0f}e{power}") for power in powers for factor in NICE]
    smallest = [low] if tint.unit > tint.limit / RANGE else []  # else it is no number of the page
    return [tint.limit, *smallest, *(value for value in between if 1.8 * low <= value <= tint.limit / 1.4)]


def _ticks(tint: Tint, length: float, apart: Callable[[str, str], float]) -> list[tuple[float, str]]:
    """Where the ticks of a bar are, in pixels from 0, and their labels, each pair at least this far apart."""
    kept: list[tuple[float, str, float]] = [(0.0, "0", 0.0)]
    sign = -1 if tint.negative else 1  # labels of negative values are wider
    for value in tick_values(tint):
        share, text = float(tint.shares(np.array(value))), value_text(sign * value)
        if all(abs(share - other) * length >= apart(text, word) for _, word, other in kept):
            kept.append((value, text, share))
    signed = [(value, share) for value, _, share in kept]
    signed += [(-value, -share) for value, share in signed if value and tint.negative]
    return [(share * length, value_text(value)) for value, share in signed]


def _bar_values(tint: Tint) -> Array:
    """The values of a bar, from the largest to the smallest."""
    shares = np.linspace(1, -1 if tint.negative else 0, 2 * STEPS + 1 if tint.negative else STEPS + 1)
    sizes: Array = tint.limit * np.abs(shares)
    if tint.unit:
        sizes = tint.unit * np.expm1(np.abs(shares) * np.log1p(tint.limit / tint.unit))
    values: Array = np.sign(shares) * sizes
    return values


def tint_bar(tint: Tint, height: float) -> LabelledPicture:
    """The colour bar of a page, upright, with ticks at 0, at the smallest and the largest size, and between them."""
    zero = height / 2 if tint.negative else height
    items: list[Item] = [
        Raster(tint.indexed(_bar_values(tint)[:, None], digits=tint.pale), 0, 0, BAR_WIDTH, height),
        outline(0, 0, BAR_WIDTH, height, colour=BORDER, line=1.6),
    ]
    widest = 0.0
    for at, text in _ticks(tint, zero, lambda *_: BAR_PITCH):
        y = zero - at
        items += [
            Rule(BAR_WIDTH, y, BAR_WIDTH + TICK, y, BORDER, 1.4),
            Text(BAR_WIDTH + TICK + 6, y, text, SMALL, DIM, middle=True),
        ]
        widest = max(widest, text_width(text, SMALL))
    return LabelledPicture(tuple(items), (height, BAR_WIDTH), BAR_WIDTH + TICK + 8 + widest, above=16, below=16)


def level_tint_bar(tint: Tint, width: float) -> Panel:
    """The colour bar of a page, lying, with its ticks below it; the labels at its ends are within this width."""

    def apart(one: str, other: str) -> float:
        return (text_width(one, SMALL) + text_width(other, SMALL)) / 2 + 8

    edge = text_width(value_text(-tint.limit if tint.negative else tint.limit), SMALL) / 2
    length = (width - 2 * edge) / (2 if tint.negative else 1)
    zero = edge + (length if tint.negative else 0.0)
    whole = width - 2 * edge
    items: list[Item] = [
        Raster(tint.indexed(_bar_values(tint)[None, ::-1], digits=tint.pale), edge, 0, whole, BAR_WIDTH),
        outline(edge, 0, whole, BAR_WIDTH, colour=BORDER, line=1.6),
    ]
    for at, text in _ticks(tint, length, apart):
        x = zero + at
        items += [
            Rule(x, BAR_WIDTH, x, BAR_WIDTH + TICK, BORDER, 1.4),
            Text(x, BAR_WIDTH + TICK + 4 + 0.8 * SMALL, text, SMALL, DIM, align="center"),
        ]
    return Panel(tuple(items), width, BAR_WIDTH + TICK + 4 + SMALL)


def with_tint_bar(body: Panel, tint: Tint, *, top: float = 0.0, height: float = 385.0, gap: float = 46.0) -> Panel:
    """A panel with the colour bar of its page at its right, from this y on."""
    bar = tint_bar(tint, height)
    items = (*body.items, *moved(Panel(bar.items, 0, 0), body.width + gap, top))
    return Panel(items, body.width + gap + bar.width, max(body.height, top + height + 16))


def worksheet(
    title: str,
    settings: str,
    body: Panel,
    foot: Sequence[tuple[float, Panel]],
    notes: Sequence[str],
    *,
    counted: tuple[int, int] | None = None,
    lines: Sequence[str] = (),
    source: str = "",
    notices: Sequence[str] = (),
    fewer: Sequence[Callable[[Box], Body]] = (),
    aside: str | None = None,
    facts: Mapping[str, Any] | None = None,
) -> Panel:
    """The whole page: heading, body, the panels of ``foot`` at their x, and the caption.

    The caption has ``lines`` of its own under a rule, then the ``notes`` one after the other. ``counted``, the step and the
    number of steps, starts the notes in a fixed width: the rest does not move. ``source``, ``notices``, ``fewer`` (the
    versions with less in them), ``aside`` (instead of the settings) and ``facts`` are those of the parts of the page.
    """
    inner = max(NARROWEST - 2 * MARGIN, body.width, *(x + panel.width for x, panel in foot or [(0, body)]))
    items, y = _heading(title, settings, inner)
    items += moved(body, MARGIN, y)
    y += body.height
    if foot:
        y += 46
        for x, panel in foot:
            items += moved(panel, MARGIN + x, y)
        y += max(panel.height for _, panel in foot)
    y += 40
    if lines:
        items.append(Rule(MARGIN, y - 8, MARGIN + inner, y - 8, LINE, 1.6))
        y += 4
        for line in filter(None, lines):
            words, y = text_block(wrap(line, SMALL, inner), MARGIN, y, SMALL, colour=DIM, paragraph=line)
            items += words
    words, below = _caption([note for note in notes if note], counted, y, inner)
    texts = [line for line in (*lines, *notes) if line]
    parts = partial(
        worksheet_parts,
        title,
        (settings, aside),
        body,
        foot,
        texts,
        source=source,
        notices=notices,
        fewer=fewer,
        facts=facts,
    )
    return Panel((*items, *words), math.ceil(inner + 2 * MARGIN), math.ceil(below + 26), parts)


def tallest_of(box: Box) -> float:
    """How tall the body of such a page may be so that its letters are large enough in the box."""
    return box.height * SMALL / (1.01 * box.smallest)


def refitted(page: Callable[[float], Panel], box: Box) -> Body:
    """The body of a page that is made for a height; without its foot if it is too tall with it."""
    tallest = tallest_of(box)
    parts = page(tallest).parts
    if parts is None:
        raise ValueError("The page has no parts.")
    found = parts()
    versions = [version(box) for version in found.versions[:3]] or [Body(found.body)]
    best = next((body for body in versions if body.panel.height <= tallest), versions[-1])
    return replace(best, notices=found.notices, facts=found.facts, title=found.title)


def worksheet_parts(
    title: str,
    settings: tuple[str, str | None],
    body: Panel,
    foot: Sequence[tuple[float, Panel]],
    caption: Sequence[str],
    *,
    source: str = "",
    notices: Sequence[str] = (),
    fewer: Sequence[Callable[[Box], Body]] = (),
    facts: Mapping[str, Any] | None = None,
) -> PageParts:
    """The parts of such a page: in a small box only the first of the panels of the foot, or none.

    ``settings`` are those of the page, and what is beside the title instead of them; None for themselves.
    """
    identity, aside = settings
    aside, identity = (identity, "") if aside is None else (aside, identity)
    y = body.height + 46
    whole = [*body.items, *(item for x, panel in foot for item in moved(panel, x, y))]
    width = max([body.width, *(x + panel.width for x, panel in foot)])
    both = Panel(tuple(whole), width, max([body.height, *(y + panel.height for _, panel in foot)]))
    versions: list[Callable[[Box], Body]] = [lambda _: Body(both)]
    if len(foot) > 1:
        versions.append(lambda _: Body(stacked([body, foot[0][1]], 46)))
    if foot:
        versions.append(lambda _: Body(body))
    return PageParts(
        title, both, aside, source, identity, tuple(caption), tuple(notices), (*versions, *fewer),
        "Choose smaller sizes, or draw a page: --look page.", TITLE, facts or {},
    )  # fmt: skip


def _caption(notes: Sequence[str], counted: tuple[int, int] | None, y: float, room: float) -> tuple[list[Item], float]:
    """The notes one after the other, in as many lines as needed, and the y below them."""
    step, steps = (f"step {each:,} of {counted[1]:,}" for each in counted) if counted else ("", "")
    paragraph = " · ".join([step, *notes] if counted else notes)
    start = text_width(steps, SMALL) + TAB if counted else 0.0
    lines = [""]
    for part in notes:
        behind = start and len(lines) == 1
        joined = f"{lines[-1]} · {part}" if lines[-1] else part
        if text_width(joined, SMALL) + (start if behind else 0) <= room:
            lines[-1] = joined
        else:
            lines += balanced(part, SMALL, room)
    if not counted:
        return text_block([line for line in lines if line], MARGIN, y, SMALL, colour=DIM, paragraph=paragraph)
    words, below = text_block(lines[1:], MARGIN, y + SMALL * LINE_HEIGHT, SMALL, colour=DIM)
    first = [
        Text(MARGIN, y + SMALL, step, SMALL, DIM, paragraph=paragraph),
        Text(MARGIN + start, y + SMALL, lines[0], SMALL, DIM),
    ]
    return [*(item for item in first if item.text), *words], below


def _heading(title: str, settings: str, room: float) -> tuple[list[Item], float]:
    text, words = drawable(title, bold=True), drawable(settings)
    wide = text_width(text, TITLE, bold=True)
    size = TITLE * max(0.75, min(1.0, room / wide))
    lines = wrap(text, size, room, bold=True)
    items, y = text_block(lines, MARGIN, 60 - size, size, colour=INK, bold=True, paragraph=title)
    x = wide + 26
    if len(lines) == 1 and x + text_width(words, SETTINGS) <= room:
        return [*items, Text(MARGIN + x, 60, words, SETTINGS, DIM, paragraph=visible(settings))], 106.0
    rest = fitted(words, SETTINGS, room)
    more, below = text_block(rest, MARGIN, y + 3, SETTINGS, colour=DIM, paragraph=settings)
    return [*items, *more], below + 30

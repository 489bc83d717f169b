"""Numbers in cells: tints, digits, padding, zeros from stretching, cells that nothing reads, and frames."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kernelviz.drawing.colour import CHEQUER_DARK, CHEQUER_LIGHT, INKS, LEVELS, RD_BU, ZERO_LEVEL, ramp
from kernelviz.drawing.page import Item, Panel, Raster, Shape, Strokes, Text, text_width
from kernelviz.wording import fixed_text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kernelviz.records import Array


CELL, DIGITS = 89.0, 31.0
LEGIBLE = 21.0  # the smallest digits that the widest page still shows nine pixels high on a screen of 640
DARK, DIM, FAINT = "#1a1c22", "#5a626e", "#8a929c"
LINE, BORDER, DASH = "#c6cad0", "#7d8590", "#8d949c"
SHADE = (241, 243, 245)
BROKEN, CHEQUER = (222, 222, 222), (INKS[CHEQUER_DARK][0], INKS[CHEQUER_LIGHT][0])
PATTERN = np.repeat(np.array(CHEQUER, np.uint8)[np.indices((4, 4)).sum(axis=0) % 2][..., None], 3, axis=-1)
# The middle of the blue and red colours, through the white of the page: digits stay dark on every one of them.
PALE = (RD_BU[3], RD_BU[4], (255, 255, 255), RD_BU[6], RD_BU[7])
VEIL = 0.5  # how far cells outside the step fade to white


@dataclass(frozen=True)
class Cells:
    """Values (h, w) with what is to be seen of each cell; where ``empty``, nothing.

    What is not finite is grey, or chequered where there are no digits.

    ``limit`` is the value with the strongest tint. ``lit`` cells are in the step: full tint, bold; the others are veiled;
    without ``lit`` all are plain. ``bold`` marks digits alone. ``grey`` draws values from ``low`` to ``limit`` as
    brightness. ``decimals`` are the places behind the point of all numbers; without them each is as short as it can be.
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
        """One of the masks, all False where there is none."""
        found: Array | None = getattr(self, name)
        return np.zeros(self.shape, bool) if found is None else found

    @property
    def texts(self) -> list[list[str]]:
        """What stands in the cells."""
        return [
            ["" if bare else fixed_text(float(value), self.decimals) for value, bare in zip(*row, strict=True)]
            for row in zip(self.values, self.mask("empty"), strict=True)
        ]

    @property
    def broken(self) -> Array:
        """(h, w): which values are not finite."""
        return ~np.isfinite(self.values) & ~self.mask("empty")


def digit_size(cells: Iterable[Cells], cell: float) -> float:
    """The size at which all numbers fit into cells of this size; 0 where that is not legible."""
    words = {text for each in cells for row in each.texts for text in row}
    widest = max((text_width(word, 1.0, bold=True) for word in words), default=0.0)
    size = min(DIGITS, 0.46 * cell, 0.86 * cell / max(widest, 0.1))
    return size if size >= LEGIBLE else 0.0


def tints(cells: Cells, *, digits: bool) -> Array:
    """(h, w, 3) uint8: the middle half of the colours, so that digits stay dark on every cell; all of them without."""
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
    """Lines between cells, dashed where both are padding; a border around what is none."""
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
    left, top, right, bottom = column * cell, row * cell, (column + columns) * cell, (row + rows) * cell
    return Shape(((left, top), (right, top), (right, bottom), (left, bottom)), colour, width)


def window_frame(rows: range, columns: range, cell: float) -> list[Item]:
    """The frame of a window; each cell of a dilated one, and a dashed line around them all."""
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
    """The largest size of these numbers, for one scale of them all; 1 where there is none."""
    sizes = [np.abs(each[np.isfinite(each)]).max(initial=0) for each in values]
    return float(max(sizes, default=0)) or 1.0

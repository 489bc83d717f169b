"""Effective receptive fields: one tile per layer, all on one scale of pixels, with the squares that hold their sums."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from kernelviz.drawing import colour
from kernelviz.drawing.looks import find_look
from kernelviz.drawing.page import (
    GREY,
    INK,
    LINE_HEIGHT,
    MARGIN,
    OUTLINE,
    PAGE_WIDTH,
    SEPARATOR,
    Body,
    Item,
    Panel,
    Raster,
    Rule,
    Strokes,
    Text,
    badge,
    balanced,
    caption_block,
    drawable,
    heading,
    moved,
    outline,
    text_block,
    text_width,
    whole_body,
    wrap,
)
from kernelviz.drawing.sheets import image_facts, source_facts
from kernelviz.errors import UsageError
from kernelviz.records import is_untrained
from kernelviz.views.effective_fields import MOST_FIELDS, EffectiveField
from kernelviz.views.map_views import downsampled
from kernelviz.wording import PART, counted, sentence

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kernelviz.drawing.figures import PageFigure
    from kernelviz.drawing.looks import LookName
    from kernelviz.drawing.page import Box, PageParts
    from kernelviz.records import Array, Source
    from kernelviz.records import Box as ReadBox
    from kernelviz.views.effective_fields import Square


TYPE, SMALL, NAME = 25.0, 23.0, 27.0
INNER = PAGE_WIDTH - 2 * MARGIN
COLUMNS = 3  # beside each other on a page
APART, FAR, BELOW = 30.0, 160.0, 34.0  # the least and the largest gap between tiles, and that below a table
LABEL = 190.0  # the width of the names of models
TALLEST, LARGEST_TILE = 760.0, 760.0
TABLE, WIDEST_TABLE = 384.0, 460.0  # the least and the largest width of a table
FAINTEST = 4  # powers of ten from the largest value to the end of the colours
DRAWN = (0.5, 0.99)  # the squares in the picture
LIGHT, DARK = "on dark pixel", "on light pixel"  # the same in every look, as the colours below them
BAR = 340.0
EDGE = 3.0  # from the sides of a tile to the middle of lines in it
INSET, SMALLEST_SHARE = 0.42, 0.25  # of a tile: an enlarged field, and how small one is that is enlarged


def plot_fields(
    fields: EffectiveField | Sequence[EffectiveField], *, look: LookName = "page", caption: bool = True
) -> PageFigure:
    """Draw effective receptive fields: tiles on one scale of pixels, with the smallest squares that hold their sums.

    A frame is what the unit can read at all; dashed are the squares that hold 50 and 99 % of the sum. Below each tile are
    the sides of four squares. Colours are logarithmic, from 1/10,000 to 1 of the tile's largest value; numbers are linear.

    Args:
        fields: One or several, of inputs of one size. Those of each model follow each other; each further model is a row of
            its own, and has as many layers as the first.
        look: ``page``, ``slide``, ``dark`` or ``print``.
        caption: Whether the page has identity and caption.

    Raises:
        UsageError: there are none, too many for a page, or they differ in their input sizes or numbers of layers.

    Example:
        >>> network = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 5, padding=2), torch.nn.Conv2d(8, 8, 5, padding=2))
        >>> fields = kernelviz.effective_fields(network, torch.rand(3, 32, 32), ["0", "1"])
        >>> figure = kernelviz.plot_fields(fields)
    """
    from kernelviz.drawing.figures import draw_page

    rows = _rows_of([fields] if isinstance(fields, EffectiveField) else list(fields))
    untrained = [is_untrained(field_recipe([row])) for row in rows]
    return draw_page(field_page(rows), field_recipe(rows), find_look(look, caption=caption), badge=all(untrained))


def _rows_of(fields: Sequence[EffectiveField]) -> list[list[EffectiveField]]:
    """The fields of each model.

    Raises:
        UsageError: as ``plot_fields``.
    """
    rows: list[list[EffectiveField]] = []
    for each in fields:
        row = rows[-1] if rows else []
        same = any((each.layer, each.unit, each.channels) == (one.layer, one.unit, one.channels) for one in row)
        if not row or same or _identity_of(row[0].source) != _identity_of(each.source):
            rows.append([])
        rows[-1].append(each)
    if not rows:
        raise UsageError("There is no effective receptive field to draw.")
    if len({len(row) for row in rows}) > 1:
        counts = " and ".join(str(len(row)) for row in rows)
        raise UsageError(f"Every model must have as many layers as the first, but they have {counts}.")
    if len(rows[0]) > MOST_FIELDS or len(rows) > MOST_FIELDS:
        raise UsageError(f"A page takes at most {MOST_FIELDS} layers, but got {max(len(rows), len(rows[0]))}.")
    sizes = {each.values.shape for each in fields}
    if len(sizes) > 1:
        text = " and ".join(f"{rows} × {columns}" for rows, columns in sorted(sizes))
        what = f"Effective receptive fields are drawn on one scale of pixels, but the inputs are {text}."
        raise UsageError(what, hint="Compute them at one input size.")
    return rows


def _identity_of(source: Source | None) -> object:
    return source and (source.label, source.stem, source.as_recipe())


def field_recipe(rows: Sequence[Sequence[EffectiveField]]) -> dict[str, Any]:
    """The recipe of the picture; it contains no path."""
    first = rows[0][0]
    size = first.input_size
    models = [row[0].source.as_recipe() for row in rows if row[0].source]
    return {
        **source_facts("field", first.source),
        **({"model": models} if len(models) > 1 else {}),
        "layer": None,
        "view": "field",
        **image_facts(first.identity, first.source),
        "input_size": list(size) if size else None,
        "layers": [
            {"name": each.layer, "unit": list(each.unit), "channels": each.channels and list(each.channels)}
            for each in rows[0]
        ],
    }


def field_page(rows: Sequence[Sequence[EffectiveField]]) -> Panel:
    """The page: title, tiles with their tables, caption and colour bar."""
    title = "Effective receptive field" + ("s" if len(rows) * len(rows[0]) > 1 else "")
    items, y = heading(title, _identity(rows), (MARGIN, 0.75 * MARGIN), INNER, 1.0)
    start, before = y, len(items)
    layout = _page_layout(rows)
    more, y = _body(rows, layout, y + 22)
    items += more
    body = items[before:], (MARGIN, start, PAGE_WIDTH - MARGIN, y)
    items.append(Rule(MARGIN, y + 14, PAGE_WIDTH - MARGIN, y + 14, SEPARATOR, 2))
    lines = _caption(rows, layout)
    more, y = caption_block(lines, (MARGIN, y + 26), INNER, 1.0)
    parts = partial(_parts, rows, title, body, lines)
    return Panel((*items, *more), PAGE_WIDTH, float(round(y + 0.6 * MARGIN)), parts)


def _body(rows: Sequence[Sequence[EffectiveField]], layout: Layout, y: float) -> tuple[list[Item], float]:
    """All tiles with their tables, and the key, from this y on; and the y below."""
    items, bottom = _bands(rows, layout, y)
    right = MARGIN + layout.width
    if layout.columns == 1 and len(rows) == 1:  # below the only table
        left = MARGIN + layout.wide + TYPE
        _, tall = _key(rows, left, 0.0, right - left)
        _, foot = _bar(left, tall + 16, BAR)
        top = bottom - 24 - foot
        lowest = max(item.y for item in items if isinstance(item, Text)) + TYPE
        if left + BAR <= right and top > lowest:
            more, below = _key(rows, left, top, right - left)
            return [*items, *more, *_bar(left, below + 16, BAR)[0]], bottom
    more, below = _key(rows, MARGIN, bottom, layout.width - BAR - 2 * TYPE)
    bar, foot = _bar(right - BAR, bottom, BAR)
    return [*items, *more, *bar], max(below, foot)


def _key(rows: Sequence[Sequence[EffectiveField]], x: float, y: float, wide: float) -> tuple[list[Item], float]:
    """What frames, dashes and colours mean, from the top y on, and the y below."""
    every = [each for row in rows for each in row]
    lines = [
        *(["Frame: the receptive field, all pixels that the unit can read"] if any(map(_framed, every)) else []),
        "Dashed: the smallest squares that contain 50 and 99 % of the sum",
        "Colours are logarithmic, relative to the largest value of each tile; the numbers are linear",
    ]
    items: list[Item] = []
    for line in lines:
        more, y = text_block(balanced(line, SMALL, wide), x, y, SMALL, paragraph=line)
        items += more
    return items, y


def _framed(each: EffectiveField) -> ReadBox | None:
    """The box of all that the unit can read; None if that is everything, nothing or not known."""
    return each.box if each.box is not None and not each.reads_all and each.box.bottom >= each.box.top else None


@dataclass(frozen=True)
class Layout:
    """Where tiles are: the columns beside each other, as wide as a ``cell``, and the size of a tile, ``wide`` × ``tall``.

    If ``beside``, tables are beside tiles, else below; ``brief`` ones have no centroid. ``label`` is the width of the names
    of models before the tiles, ``width`` that of everything.
    """

    columns: int
    cell: float
    wide: float
    tall: float
    beside: bool = False
    label: float = 0.0
    width: float = INNER
    brief: bool = False

    @property
    def table(self) -> float:
        """The width of a table."""
        return min(WIDEST_TABLE, self.cell - self.wide - TYPE) if self.beside else max(self.wide, min(TABLE, self.cell))

    def left(self, at: int) -> float:
        """The x of a column; the last one ends with the page, unless they would be far apart."""
        cell = self.cell if self.beside else self.table
        pitch = (self.width - self.label - cell) / max(1, self.columns - 1)
        return round(MARGIN + self.label + at * min(pitch, cell + FAR))


def _page_layout(rows: Sequence[Sequence[EffectiveField]]) -> Layout:
    count = len(rows[0])
    bands = math.ceil(count / COLUMNS)
    columns = math.ceil(count / bands)
    label = LABEL if len(rows) > 1 else 0.0
    beside = columns == 1
    cell = (INNER - label - APART * (columns - 1)) / columns
    wide = cell - TYPE - WIDEST_TABLE if beside else cell
    return _layout(rows, columns, cell, (min(wide, LARGEST_TILE), TALLEST), label=label, beside=beside)


def _layout(
    rows: Sequence[Sequence[EffectiveField]],
    columns: int,
    cell: float,
    most: tuple[float, float],
    *,
    label: float,
    beside: bool,
    width: float = INNER,
) -> Layout:
    """Tiles of at most this width and height, of whole pixels where that wastes little."""
    down, across = rows[0][0].values.shape
    zoom = min(most[0] / across, most[1] / down)
    if zoom >= 1 and math.floor(zoom) > 0.66 * zoom:
        zoom = math.floor(zoom)
    return Layout(columns, cell, round(across * zoom), round(down * zoom), beside, label, width)


def _bands(rows: Sequence[Sequence[EffectiveField]], layout: Layout, y: float) -> tuple[list[Item], float]:
    """All tiles with their tables from this y on, and the y below them."""
    items: list[Item] = []
    count = len(rows[0])
    for start in range(0, count, layout.columns):
        several = [row[start : start + layout.columns] for row in rows]
        for number, row in enumerate(several):
            if layout.label:
                items += _label(row, rows, y)
            room = [min(layout.cell, MARGIN + layout.width - layout.left(at)) for at in range(len(row))]
            heads = [_head(each, wide) for each, wide in zip(row, room, strict=True)]
            named = number == 0 or [each.layer for each in row] != [each.layer for each in several[0]]
            tall = max(map(len, heads)) if named else 0
            top = y + tall * LINE_HEIGHT * SMALL + (14 if tall else 4)
            bottom = top
            for at, each in enumerate(row):
                x = layout.left(at)
                items += _head_items(heads[at], x, top - 14, tall) if tall else []
                more, below = _tile(each, layout, x, top)
                items += more
                bottom = max(bottom, below)
            y = bottom + BELOW * (0.7 if number + 1 < len(several) else 1)
    return items, y - BELOW + 24


def _label(row: Sequence[EffectiveField], rows: Sequence[Sequence[EffectiveField]], y: float) -> list[Item]:
    """The model of a row, with a badge if it alone has random weights."""
    items, y = text_block(_label_lines(row[0].source, rows), MARGIN, y, TYPE, colour=INK, bold=True)
    untrained = [is_untrained(field_recipe([each])) for each in rows]
    if is_untrained(field_recipe([row])) and not all(untrained):
        items += moved(badge(SMALL), MARGIN, round(y + 8))
    return items


def _label_lines(source: Source | None, rows: Sequence[Sequence[EffectiveField]]) -> list[str]:
    """The model and its weights; the weights alone if all rows are of one model."""
    label = source.short_label if source else "a network"
    names = {row[0].source.model if row[0].source else "" for row in rows}
    if source and len(names) == 1 and label.startswith(f"{source.model}, "):
        label = label.removeprefix(f"{source.model}, ")
    return wrap(drawable(label, bold=True), TYPE, LABEL - TYPE, bold=True)


def _head(each: EffectiveField, wide: float) -> list[tuple[str, bool]]:
    """The lines above a tile: the name of the layer, its receptive field, and the unit; True if bold."""
    names = wrap(drawable(each.layer, bold=True), NAME, wide, bold=True)
    parts = [f"{_field_text(each)}; {_unit_text(each)}"]
    if text_width(drawable(parts[0]), SMALL) > wide:
        parts = [_field_text(each), _unit_text(each)]
    facts = [line for part in parts for line in wrap(drawable(part), SMALL, wide)]
    return [*((line, True) for line in names), *((line, False) for line in facts)]


def _head_items(lines: Sequence[tuple[str, bool]], x: float, bottom: float, tall: int) -> Iterator[Item]:
    """The lines above a tile, which end at this y; names of one row are on one line."""
    top = bottom - tall * LINE_HEIGHT * SMALL
    for number, (line, bold) in enumerate(lines):
        y = top + (number + 1) * LINE_HEIGHT * SMALL - 6
        yield Text(x, y, line, NAME if bold else SMALL, INK if bold else GREY, bold=bold)


def _field_text(each: EffectiveField) -> str:
    if each.size is None:
        return "receptive field unknown" if each.box is None else "receptive field of unknown size"
    tall, wide = each.size
    plus = "+" if each.mixes_image else ""
    return f"receptive field {tall:,}{plus} px" if tall == wide else f"receptive field {tall:,} × {wide:,}{plus} px"


def _unit_text(each: EffectiveField) -> str:
    if len(each.shape) != 3:
        return f"unit {each.unit[0]}, {each.unit[1]}"
    return f"unit {each.unit[0]}, {each.unit[1]} of {each.shape[1]} × {each.shape[2]}"


def _tile(each: EffectiveField, layout: Layout, x: float, top: float) -> tuple[list[Item], float]:
    """A tile with its frame and squares, and the table."""
    wide, tall = layout.wide, layout.tall
    rows, columns = each.values.shape
    items: list[Item] = [Raster(_levels(_reduced(each.values, layout)), x, top, wide, tall)]
    across, down = wide / columns, tall / rows

    def box(first: tuple[float, float], size: tuple[float, float]) -> tuple[float, float, float, float]:
        sides = x + first[1] * across, top + first[0] * down, size[1] * across, size[0] * down
        return _within(sides, (x, top, wide, tall))

    if framed := _framed(each):
        frame = box((framed.top, framed.left), (framed.bottom + 1 - framed.top, framed.right + 1 - framed.left))
        items += [outline(*frame, colour=DARK, line=6), outline(*frame, colour=LIGHT, line=2.5)]
    for square in each.squares:
        if square.share in DRAWN:
            sides = min(square.side, rows), min(square.side, columns)
            items += _dashed(*box((square.top, square.left), sides))
    items += _inset(each, (x, top), (wide, tall))
    items.append(outline(x, top, wide, tall, colour=OUTLINE))
    if layout.beside:
        more, below = _table(each, x + wide + TYPE, top, layout)
        return [*items, *more], max(top + tall, below)
    more, below = _table(each, x, top + tall + 8, layout)
    return [*items, *more], below


def _within(
    box: tuple[float, float, float, float], tile: tuple[float, float, float, float]
) -> tuple[float, float, float, float]:
    """A box (left, top, width, height) whose lines are inside a tile."""
    left, top = max(box[0], tile[0] + EDGE), max(box[1], tile[1] + EDGE)
    right, bottom = (min(box[at] + box[at + 2], tile[at] + tile[at + 2] - EDGE) for at in (0, 1))
    return left, top, right - left, bottom - top


def _inset(each: EffectiveField, at: tuple[float, float], size: tuple[float, float]) -> list[Item]:
    """The field enlarged in a corner of its tile, if it is small there."""
    (x, top), (wide, tall) = at, size
    rows, columns = each.values.shape
    zoom, framed, square = wide / columns, _framed(each), each.squares[-1]
    first = (framed.top, framed.left) if framed else (square.top, square.left)
    last = (framed.bottom, framed.right) if framed else (square.top + square.side - 1, square.left + square.side - 1)
    side = max(end - start + 1 for start, end in zip(first, last, strict=True)) + 2
    if side * zoom > SMALLEST_SHARE * min(wide, tall):
        return []
    times = math.floor(INSET * min(wide, tall) / (side * zoom))
    if times < 2:
        return []
    down, right = (
        range(max(0, start - 1), min(length, end + 2))
        for start, end, length in zip(first, last, (rows, columns), strict=True)
    )
    cell = times * zoom
    inset = len(right) * cell, len(down) * cell
    gap = 0.035 * min(wide, tall)
    ends = x + wide - gap - inset[0], top + tall - gap - inset[1]
    corners = [(x + gap, top + gap), (ends[0], top + gap), (x + gap, ends[1]), ends]
    middle = x + (first[1] + last[1] + 1) / 2 * zoom, top + (first[0] + last[0] + 1) / 2 * zoom
    larger = [
        (x + one.left * zoom, top + one.top * zoom, one.side * zoom)
        for one in each.squares
        if one.share in DRAWN and one.side > side
    ]
    place = _free_corner(corners, inset, middle, side * zoom / 2 + 6, larger)
    if place is None:
        return []
    part = _levels(each.values[down.start : down.stop, right.start : right.stop], float(each.values.max()))
    items: list[Item] = [Raster(part, *place, *inset)]
    for one in each.squares:
        if one.share in DRAWN and one.side < side:
            corner = place[0] + (one.left - right.start) * cell, place[1] + (one.top - down.start) * cell
            items += _dashed(*_within((*corner, one.side * cell, one.side * cell), (*place, *inset)))
    if framed:
        lengths = [end - start + 1 for start, end in zip(first, last, strict=True)]
        corner = place[0] + (first[1] - right.start) * cell, place[1] + (first[0] - down.start) * cell
        frame = _within((*corner, lengths[1] * cell, lengths[0] * cell), (*place, *inset))
        items += [outline(*frame, colour=DARK, line=5), outline(*frame, colour=LIGHT, line=2.0)]
    text = f"× {times}"
    above = place[1] > top + tall / 2
    label = text_width(text, SMALL) + 12, 1.3 * SMALL
    box = place[0], place[1] - label[1] if above else place[1] + inset[1], *label
    items += [outline(*place, *inset, colour=OUTLINE, line=1.5), outline(*box, colour=DARK, line=0),
              Text(box[0] + 6, box[1] + 1.0 * SMALL, text, SMALL, LIGHT)]  # fmt: skip
    return items


def _free_corner(
    corners: Sequence[tuple[float, float]],
    inset: tuple[float, float],
    middle: tuple[float, float],
    reach: float,
    squares: Sequence[tuple[float, float, float]],
) -> tuple[float, float] | None:
    """The first corner where an inset and its label leave the field visible, preferably also the larger squares.

    The field extends from its middle as far as ``reach``; a square is (left, top, side).
    """

    def apart(corner: tuple[float, float]) -> bool:
        beside = corner[0] > middle[0] + reach or corner[0] + inset[0] < middle[0] - reach
        return bool(beside or corner[1] > middle[1] + reach or corner[1] + inset[1] + 1.5 * SMALL < middle[1] - reach)

    def crossed(corner: tuple[float, float]) -> bool:
        ends = corner[0] + inset[0], corner[1] + inset[1]
        return any(
            corner[0] < left + side and left < ends[0] and corner[1] < top + side and top < ends[1]
            for left, top, side in squares
        )

    return next(filter(apart, sorted(corners, key=crossed)), None)


def _reduced(values: Array, layout: Layout) -> Array:
    """Values (H, W) as means of neighbours if a tile has fewer pixels."""
    return downsampled(values, int(layout.tall), int(layout.wide))


def _levels(values: Array, largest: float | None = None) -> colour.Indexed:
    """The logarithm of values (H, W), from 1/10,000 to 1 of the ``largest``, as levels of the ramp."""
    largest = float(values.max()) if largest is None else largest
    with np.errstate(divide="ignore"):
        share = np.log10(values / largest) / FAINTEST + 1
    levels = np.rint(np.clip(share, 0, 1) * (colour.LEVELS - 1)).astype(np.uint8)
    return colour.Indexed(levels, colour.Ramp(None, signed=False))


def _dashed(x: float, y: float, wide: float, tall: float) -> list[Item]:
    """A square that is visible on every colour; small ones have thinner lines."""
    right, bottom = x + wide, y + tall
    lines = ((x, y, right, y), (right, y, right, bottom), (right, bottom, x, bottom), (x, bottom, x, y))
    thin = 2.0 if min(wide, tall) < 40 else 2.5
    return [Strokes(lines, DARK, thin + 1), Strokes(lines, LIGHT, thin, dashed=True)]


def _table(each: EffectiveField, x: float, top: float, layout: Layout) -> tuple[list[Item], float]:
    """The four squares as numbers, and what else is known of the sum; and the y below."""
    squares, wide = each.squares, layout.table
    rows: list[tuple[str, list[str], bool]] = [
        ("share", [_share_text(square.share) for square in squares], False),
        ("side, px", [f"{square.side:,}" for square in squares], True),
        ("area, %", [_area_text(each, square) for square in squares], False),
    ]
    items: list[Item] = []
    labels = max(text_width(label, SMALL) for label, _, _ in rows)
    pitch = (wide - labels) / len(squares)
    step = LINE_HEIGHT * SMALL
    y = top + SMALL
    for label, cells, strong in rows:
        paragraph = _alternative(each) if strong else ""
        items.append(Text(x, y, label, SMALL, GREY, paragraph=paragraph))
        for at, cell in enumerate(cells):
            right = x + labels + pitch * (at + 1)
            items.append(Text(right, y, cell, SMALL, INK if strong else GREY, bold=strong, align="right"))
        y += step
    more, below = text_block(
        [line for fact in _facts(each, layout) for line in wrap(drawable(fact), SMALL, wide)], x, y - SMALL, SMALL
    )
    return [*items, *more], below


def _facts(each: EffectiveField, layout: Layout) -> list[str]:
    """What is known of the sum besides its squares."""
    row, column = each.centroid
    off = each.distance
    facts = (
        []
        if layout.brief
        else [f"centroid {row:.1f}, {column:.1f}" + (f"; offset {off:.1f} px" if off is not None else "")]
    )
    if each.outside:
        facts.append(f"{_percent(each.outside)} % outside the receptive field")
    return facts


def _share_text(share: float) -> str:
    return f"{100 * share:g} %"


def _area_text(each: EffectiveField, square: Square) -> str:
    return _percent(each.area(square))


def _percent(share: float) -> str:
    """A share in percent, with at least one significant digit: 0.004, 0.02, 1.4, 21.1, 100."""
    percent = 100 * share
    if percent >= 1:
        return f"{percent:.1f}".removesuffix(".0") if percent >= 99.95 else f"{percent:.1f}"
    decimals = 2 if percent >= 0.01 or percent == 0 else min(6, -math.floor(math.log10(percent)))
    return f"{percent:.{decimals}f}"


def _alternative(each: EffectiveField) -> str:
    """A tile as a sentence."""
    sides = ", ".join(f"{_share_text(square.share)} in {square.side} px" for square in each.squares)
    return f"{each.layer}, {_field_text(each)}, {_unit_text(each)}: {sides}"


def _bar(left: float, top: float, wide: float) -> tuple[list[Item], float]:
    """The logarithmic colour bar with its labels, and the y below them."""
    items: list[Item] = [Text(left, top + SMALL, "relative to the maximum", SMALL, GREY)]
    y = top + 1.45 * SMALL
    strip = colour.bar_levels(0.0, 1.0, int(wide), signed=False)
    items += [Raster(strip, left, y, wide, 18.0), outline(left, y, wide, 18.0, colour=OUTLINE)]
    for power, align in ((FAINTEST, "left"), (2, "center"), (0, "right")):
        x = left + wide * (1 - power / FAINTEST)
        items.append(Rule(x, y + 18, x, y + 26, OUTLINE, 2))
        text = "1" if power == 0 else f"1/{10**power:,}"
        items.append(Text(x, y + 26 + SMALL, text, SMALL, GREY, align=align))  # type: ignore[arg-type]
    return items, y + 26 + 1.4 * SMALL


def _identity(rows: Sequence[Sequence[EffectiveField]]) -> str:
    """The models, the input size, the number of images, and the units."""
    sources = [row[0].source for row in rows]
    names = list(dict.fromkeys(source.model if source else "a network" for source in sources))
    label = sources[0].short_label if sources[0] and len(rows) == 1 else " and ".join(names)
    down, across = rows[0][0].values.shape
    every = [each for row in rows for each in row]
    middle = all(len(each.shape) == 3 and each.unit == (each.shape[1] // 2, each.shape[2] // 2) for each in every)
    unit = "the middle unit" if middle else "one unit"
    which = f"{unit} of {'each' if len(rows[0]) > 1 else 'the'} layer"
    return PART.join((f"{label} at {down} × {across}", _images_text(rows), f"pixels that affect {which}"))


def _images_text(rows: Sequence[Sequence[EffectiveField]]) -> str:
    """How many images; of fields of different images, which a caller can put side by side, how many each is of."""
    names, *others = dict.fromkeys(each.images for row in rows for each in row)
    if others:
        return f"{' and '.join(f'{len(each):,}' for each in (names, *others))} images, which differ"
    return f"image {names[0]}" if len(names) == 1 else counted(len(names), "image")


def _caption(rows: Sequence[Sequence[EffectiveField]], layout: Layout) -> list[str]:
    every = [each for row in rows for each in row]
    down, across = every[0].values.shape
    channels = {each.channels for each in every}
    summed = "the unit’s channels"
    if channels != {None}:
        texts = dict.fromkeys(", ".join(map(str, each)) if each else "all" for each in channels)
        summed = f"channels {'; '.join(texts)} of the unit"
    inputs = every[0].input_size[0] if every[0].input_size else 0
    over = "red, green and blue" if inputs == 3 else counted(inputs, "input channel") if inputs else "its channels"
    areas = f"Areas are shares of {down} × {across} pixels"
    centre = (
        "; offset: from the centroid to the middle of the receptive field" if any(each.middle for each in every) else ""
    )
    return [
        f"Mean magnitude of ∂ (sum of {summed}) / ∂ input pixel, summed over {over}",
        areas + centre,
        *(["Tiles are reduced: pixels are means of neighbours"] if across > layout.wide else []),
        *_unframed_lines(every),
        *_mixed_lines(every),
        *_note_lines(rows),
    ]


def _unframed_lines(every: Sequence[EffectiveField]) -> list[str]:
    """Why tiles have no frame."""
    whole = list(dict.fromkeys(each.layer for each in every if each.reads_all))
    lines = [f"No frame where the unit can read the whole image: {', '.join(whole)}"] if whole else []
    reasons: dict[str, list[str]] = {}
    for each in every:
        if each.box is None:
            reasons.setdefault(each.lost, []).append(each.layer)
    lines += [f"No frame where the receptive field is unknown: {', '.join(dict.fromkeys(names))} ({why})"
              for why, names in reasons.items()]  # fmt: skip
    return lines


def _mixed_lines(every: Sequence[EffectiveField]) -> list[str]:
    """Which layers read all of the image besides their receptive fields."""
    mixing = list(dict.fromkeys(each.layer for each in every if each.mixes_image and not each.reads_all))
    return [f"+: a gate, a mean or attention mixes in the rest of the image: {', '.join(mixing)}"] if mixing else []


def _note_lines(rows: Sequence[Sequence[EffectiveField]]) -> list[str]:
    """The notes of all fields, each once, with the layers that it is about unless these are all."""
    every = [each for row in rows for each in row]
    notes: dict[str, list[str]] = {}
    for each in every:
        for note in each.notes:
            notes.setdefault(note, []).append(each.layer)
    return [
        sentence(note) if len(set(names)) == len({each.layer for each in every})
        else f"{', '.join(dict.fromkeys(names))}: {note}"
        for note, names in notes.items()
    ]  # fmt: skip


def _notices(rows: Sequence[Sequence[EffectiveField]]) -> tuple[str, ...]:
    """The lines that change the meaning of the picture."""
    every = [each for row in rows for each in row]
    left_out = [
        f"{each.layer}: {each.zero + each.nonfinite:,} of {counted(len(each.images), 'image')} are left out"
        for each in every
        if each.zero + each.nonfinite
    ]
    return (*_unframed_lines(every), *_mixed_lines(every), *dict.fromkeys(left_out))


def _parts(
    rows: Sequence[Sequence[EffectiveField]],
    title: str,
    body: tuple[Sequence[Item], tuple[float, float, float, float]],
    lines: list[str],
) -> PageParts:
    source = rows[0][0].source
    names = dict.fromkeys(row[0].source.model for row in rows if row[0].source)
    label = source.short_label if source and len(rows) == 1 else " and ".join(names)
    whole = whole_body(title, *body, source=label, identity=_identity(rows), lines=lines, notices=_notices(rows))
    most = min(len(rows[0]), COLUMNS)
    versions = tuple(partial(_boxed, rows, count) for count in range(most, 0, -1))
    down, across = rows[0][0].values.shape
    aside = PART.join((f"{down} × {across}", _images_text(rows)))
    return replace(whole, aside=aside, versions=versions, hint="Choose fewer layers, or draw a page: --look page.")


def _boxed(rows: Sequence[Sequence[EffectiveField]], count: int, box: Box) -> Body:
    """So many of the layers, from the first to the last, with tiles as large as fit into the box."""
    total = len(rows[0])
    places = [round(at * (total - 1) / max(1, count - 1)) for at in range(count)]
    kept = [[row[at] for at in places] for row in rows]
    factor = 1.005 * box.smallest / SMALL
    width, height = box.width / factor, box.height / factor
    label = LABEL if len(rows) > 1 else 0.0
    beside = len(rows) > 1 or count == 1
    cell = (width - label - APART * (count - 1)) / count
    wide = cell - TABLE - TYPE if beside else cell
    nothing = Body(Panel((Text(0, 0, "", 1.0),), 1, 1))  # letters that are too small
    if wide < 120 or cell < TABLE:
        return nothing
    tall = height / len(rows)
    while tall > 100:
        layout = _layout(kept, count, cell, (wide, tall), label=label, beside=beside, width=width)
        layout = replace(layout, brief=True)
        items, y = _body(kept, layout, 0.0)
        if y <= height:
            break
        tall = layout.tall - max(1.0, (y - height) / len(rows))
    else:
        return nothing
    panel = Panel(moved(Panel(tuple(items), 0, 0), -MARGIN, 0), width, y)
    of = [f"{count} of {counted(total, 'layer')}"] if count < total else []
    layers = [{"name": each.layer, "unit": list(each.unit), "channels": each.channels and list(each.channels)}
              for each in kept[0]]  # fmt: skip
    facts = {"layers": layers, "shown": count, "total": total}
    return Body(panel, (*of, *_notices(kept)), facts=facts)

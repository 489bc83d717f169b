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
    caption_block,
    drawable,
    fitted,
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
from kernelviz.views.effective_fields import MOST_FIELDS, EffectiveField
from kernelviz.views.map_views import averaged
from kernelviz.wording import PART, counted, sentence

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kernelviz.drawing.figures import PageFigure
    from kernelviz.drawing.looks import LookName
    from kernelviz.drawing.page import Box, PageParts
    from kernelviz.records import Array, Source
    from kernelviz.views.effective_fields import Square


TYPE, SMALL, NAME = 25.0, 23.0, 27.0
INNER = PAGE_WIDTH - 2 * MARGIN
COLUMNS = 4  # beside each other on a page
APART, BELOW = 30.0, 34.0  # between tiles, and below a table
LABEL = 190.0  # the width of the names of models
TALLEST, LARGEST_TILE = 760.0, 760.0
TABLE = 352.0  # the least width of a table
FAINTEST = 4  # powers of ten from the largest value to the end of the colours
DRAWN = (0.5, 0.99)  # the squares in the picture
LIGHT, DARK = "on dark pixel", "on light pixel"  # the same in every look, as the colours below them
BAR = 420.0


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
    """
    from kernelviz.drawing.figures import draw_page

    rows = _rows_of([fields] if isinstance(fields, EffectiveField) else list(fields))
    return draw_page(field_page(rows), field_recipe(rows), find_look(look, caption=caption))


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
        raise UsageError(f"A page has room for {MOST_FIELDS} layers, but got {max(len(rows), len(rows[0]))}.")
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
    others = [row[0].source.as_recipe() if row[0].source else None for row in rows[1:]]
    size = first.input_size
    return {
        **source_facts("field", first.source),
        "layer": None,
        "view": "field",
        **image_facts(first.identity, first.source),
        "input_size": list(size) if size else None,
        "layers": [
            {"name": each.layer, "unit": list(each.unit), "channels": each.channels and list(each.channels)}
            for each in rows[0]
        ],
        **({"against": others} if others else {}),
    }


def field_page(rows: Sequence[Sequence[EffectiveField]]) -> Panel:
    """The page: title, tiles with their tables, caption and colour bar."""
    title = "Effective receptive field" + ("s" if len(rows) * len(rows[0]) > 1 else "")
    items, y = heading(title, _identity(rows), (MARGIN, 0.75 * MARGIN), INNER, 1.0)
    start, before = y, len(items)
    more, y = _bands(rows, _page_layout(rows), y + 22)
    items += more
    body = items[before:], (MARGIN, start, PAGE_WIDTH - MARGIN, y)
    items.append(Rule(MARGIN, y, PAGE_WIDTH - MARGIN, y, SEPARATOR, 2))
    lines = _caption(rows)
    bar, foot = _bar(PAGE_WIDTH - MARGIN - BAR, y + 20, BAR)
    more, below = caption_block(lines, (MARGIN, y + 12), INNER - BAR - 2 * TYPE, 1.0)
    parts = partial(_parts, rows, title, body, lines)
    return Panel((*items, *bar, *more), PAGE_WIDTH, float(round(max(below, foot) + 0.6 * MARGIN)), parts)


@dataclass(frozen=True)
class Layout:
    """Where tiles are: the columns beside each other, the size of a tile, and the pixels of the page for one of the input.

    The images are reduced by ``reduced`` in both directions before that. ``cell`` is the width of a column; if ``beside``,
    tables are beside tiles, else below.
    """

    columns: int
    cell: float
    wide: float
    tall: float
    reduced: int = 1
    beside: bool = False
    label: float = 0.0

    @property
    def table(self) -> float:
        """The width of a table."""
        return self.cell - self.wide - TYPE if self.beside else max(self.wide, min(TABLE, self.cell))


def _page_layout(rows: Sequence[Sequence[EffectiveField]]) -> Layout:
    count = len(rows[0])
    bands = math.ceil(count / COLUMNS)
    columns = math.ceil(count / bands)
    label = LABEL if len(rows) > 1 else 0.0
    beside = columns == 1
    cell = (INNER - label - APART * (columns - 1)) / columns
    wide = cell - TYPE - TABLE - 130 if beside else cell
    return _layout(rows, columns, cell, (min(wide, LARGEST_TILE), TALLEST), label=label, beside=beside)


def _layout(
    rows: Sequence[Sequence[EffectiveField]],
    columns: int,
    cell: float,
    most: tuple[float, float],
    *,
    label: float,
    beside: bool,
) -> Layout:
    """Tiles of at most this width and height, of whole pixels where that wastes little."""
    down, across = rows[0][0].values.shape
    zoom = min(most[0] / across, most[1] / down)
    reduced = max(1, math.ceil(1 / zoom))
    if zoom >= 1 and math.floor(zoom) > 0.75 * zoom:
        zoom = math.floor(zoom)
    return Layout(columns, cell, round(across * zoom), round(down * zoom), reduced, beside, label)


def _bands(rows: Sequence[Sequence[EffectiveField]], layout: Layout, y: float) -> tuple[list[Item], float]:
    """All tiles with their tables from this y on, and the y below them."""
    items: list[Item] = []
    count = len(rows[0])
    for start in range(0, count, layout.columns):
        several = [row[start : start + layout.columns] for row in rows]
        for number, row in enumerate(several):
            if layout.label:
                items += text_block(_label_lines(row[0].source, rows), MARGIN, y, TYPE, colour=INK, bold=True)[0]
            heads = [_head(each, layout.cell) for each in row]
            named = number == 0 or [each.layer for each in row] != [each.layer for each in several[0]]
            tall = max(map(len, heads)) if named else 0
            top = y + tall * LINE_HEIGHT * SMALL + (14 if tall else 4)
            bottom = top
            for at, each in enumerate(row):
                x = round(MARGIN + layout.label + at * (layout.cell + APART))
                items += _head_items(heads[at], x, top - 14, tall) if tall else []
                more, below = _tile(each, layout, x, top)
                items += more
                bottom = max(bottom, below)
            y = bottom + BELOW * (0.7 if number + 1 < len(several) else 1)
    return items, y - BELOW + 24


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
    facts = fitted(drawable(PART.join((_field_text(each), _unit_text(each)))), SMALL, wide)
    return [*((line, True) for line in names), *((line, False) for line in facts)]


def _head_items(lines: Sequence[tuple[str, bool]], x: float, bottom: float, tall: int) -> Iterator[Item]:
    """The lines above a tile, which end at this y; names of one row are on one line."""
    top = bottom - tall * LINE_HEIGHT * SMALL
    for number, (line, bold) in enumerate(lines):
        y = top + (number + 1) * LINE_HEIGHT * SMALL - 6
        yield Text(x, y, line, NAME if bold else SMALL, INK if bold else GREY, bold=bold)


def _field_text(each: EffectiveField) -> str:
    if each.size is None:
        return "field not known" if each.box is None else "field of unknown size"
    tall, wide = each.size
    plus = "+" if each.mixes_image else ""
    return f"field {tall:,}{plus} px" if tall == wide else f"field {tall:,} × {wide:,}{plus} px"


def _unit_text(each: EffectiveField) -> str:
    if len(each.shape) != 3:
        return f"unit {each.unit[0]}, {each.unit[1]}"
    return f"unit {each.unit[0]}, {each.unit[1]} of {each.shape[1]} × {each.shape[2]}"


def _tile(each: EffectiveField, layout: Layout, x: float, top: float) -> tuple[list[Item], float]:
    """A tile with its frame and squares, and the table."""
    wide, tall = layout.wide, layout.tall
    rows, columns = each.values.shape
    items: list[Item] = [Raster(_levels(each.values, layout.reduced), x, top, wide, tall)]
    across, down = wide / columns, tall / rows

    def box(first: tuple[float, float], size: tuple[float, float]) -> tuple[float, float, float, float]:
        return x + first[1] * across, top + first[0] * down, size[1] * across, size[0] * down

    if each.box is not None and not each.reads_all and each.box.bottom >= each.box.top:
        sides = each.box.bottom + 1 - each.box.top, each.box.right + 1 - each.box.left
        frame = box((each.box.top, each.box.left), sides)
        items += [outline(*frame, colour=DARK, line=6), outline(*frame, colour=LIGHT, line=2.5)]
    for square in each.squares:
        if square.share in DRAWN:
            sides = min(square.side, rows), min(square.side, columns)
            items += _dashed(*box((square.top, square.left), sides))
    items.append(outline(x, top, wide, tall, colour=OUTLINE))
    if layout.beside:
        more, below = _table(each, x + wide + TYPE, top, layout.table)
        return [*items, *more], max(top + tall, below)
    more, below = _table(each, x, top + tall + 8, layout.table)
    return [*items, *more], below


def _levels(values: Array, reduced: int) -> colour.Indexed:
    """The logarithm of values (H, W), from 1/10,000 to 1 of the largest, as levels of the ramp."""
    largest = float(values.max())
    if reduced > 1:
        rows, columns = (max(1, math.ceil(side / reduced)) for side in values.shape)
        values = averaged(averaged(values, rows, 0), columns, 1)
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


def _table(each: EffectiveField, x: float, top: float, wide: float) -> tuple[list[Item], float]:
    """The four squares as numbers, and what else is known of the sum; and the y below."""
    squares = each.squares
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
        [line for fact in _facts(each) for line in wrap(drawable(fact), SMALL, wide)], x, y - SMALL, SMALL
    )
    return [*items, *more], below


def _facts(each: EffectiveField) -> list[str]:
    """What is known of the sum besides its squares."""
    row, column = each.centroid
    off = each.distance
    facts = [f"centroid {row:.1f}, {column:.1f}" + (f": {off:.1f} px off" if off is not None else "")]
    if each.outside:
        facts.append(f"{_percent(each.outside)} % outside of the field")
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
    items: list[Item] = [Text(left, top + SMALL, "share of the tile’s largest value", SMALL, GREY)]
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
    return PART.join((f"{label} at {down} × {across}", _images_text(rows), f"what {which} listens to"))


def _images_text(rows: Sequence[Sequence[EffectiveField]]) -> str:
    names = rows[0][0].images
    return f"image {names[0]}" if len(names) == 1 else counted(len(names), "image")


def _caption(rows: Sequence[Sequence[EffectiveField]]) -> list[str]:
    every = [each for row in rows for each in row]
    down, across = every[0].values.shape
    channels = {each.channels for each in every}
    summed = "the unit’s channels"
    if channels != {None}:
        texts = dict.fromkeys(", ".join(map(str, each)) if each else "all" for each in channels)
        summed = f"channels {'; '.join(texts)} of the unit"
    inputs = every[0].input_size[0] if every[0].input_size else 0
    over = "red, green and blue" if inputs == 3 else f"{counted(inputs, 'input channel')}" if inputs else "its channels"
    framed = any(each.box is not None and not each.reads_all for each in every)
    squares = "the smallest squares that hold 50 and 99 % of the sum"
    return [
        f"Mean size of ∂ (sum of {summed}) / ∂ pixel, summed over {over}; pixels as the network takes them",
        f"Frame: all that the unit can read{PART}dashed: {squares}" if framed else f"Dashed: {squares}",
        f"Colours are logarithmic, each tile from its own largest value; the numbers are not{PART}areas are of {down} × "
        f"{across}",
        *_reduced_lines(rows),
        *_unframed_lines(every),
        *_mixed_lines(every),
        *([f"off: from the middle of the receptive field"] if any(each.middle for each in every) else []),
        *_note_lines(rows),
    ]


def _reduced_lines(rows: Sequence[Sequence[EffectiveField]]) -> list[str]:
    reduced = _page_layout(rows).reduced
    return [f"Reduced: each pixel is the mean of {reduced} × {reduced}"] if reduced > 1 else []


def _unframed_lines(every: Sequence[EffectiveField]) -> list[str]:
    """Why tiles have no frame."""
    whole = list(dict.fromkeys(each.layer for each in every if each.reads_all))
    lines = [f"No frame: the field is larger than the image, all of which is read: {', '.join(whole)}"] if whole else []
    reasons: dict[str, list[str]] = {}
    for each in every:
        if each.box is None:
            reasons.setdefault(each.lost, []).append(each.layer)
    lines += [f"No frame, the field is not known: {', '.join(dict.fromkeys(names))} ({why})"
              for why, names in reasons.items()]  # fmt: skip
    return lines


def _mixed_lines(every: Sequence[EffectiveField]) -> list[str]:
    """Which layers read all of the image besides their receptive fields."""
    mixing = list(dict.fromkeys(each.layer for each in every if each.mixes_image))
    return [f"+: a gate, a mean or attention adds the rest of the image: {', '.join(mixing)}"] if mixing else []


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
        f"{each.layer}: {each.zero + each.nonfinite:,} of {counted(len(each.images), 'image')} left out"
        for each in every
        if each.zero + each.nonfinite
    ]
    return ("logarithmic colours", *_unframed_lines(every), *_mixed_lines(every), *dict.fromkeys(left_out))


def _parts(
    rows: Sequence[Sequence[EffectiveField]],
    title: str,
    body: tuple[Sequence[Item], tuple[float, float, float, float]],
    lines: list[str],
) -> PageParts:
    source = rows[0][0].source
    label = source.short_label if source and len(rows) == 1 else ""
    whole = whole_body(title, *body, source=label, identity=_identity(rows), lines=lines, notices=_notices(rows))
    most = min(len(rows[0]), 4)
    versions = tuple(partial(_boxed, rows, count) for count in range(most, 0, -1))
    return replace(whole, versions=versions, hint="Choose fewer layers, or draw a page: --look page.")


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
    table = TABLE + TYPE
    room = (height - 120) / len(rows) - (2 * LINE_HEIGHT * SMALL + 14)
    room -= 0 if beside else 8 + (3 + max(len(_facts(each)) for row in kept for each in row)) * LINE_HEIGHT * SMALL
    wide = cell - table if beside else cell
    if min(cell, wide) < 120 or room < 120 or cell < TABLE:
        return Body(Panel((Text(0, 0, "", 1.0),), 1, 1))  # letters that are too small
    layout = _layout(kept, count, cell, (wide, room), label=label, beside=beside)
    items, y = _bands(kept, layout, 0.0)
    bar, foot = _bar(MARGIN + width - BAR, y, BAR)
    panel = Panel(moved(Panel((*items, *bar), 0, 0), -MARGIN, 0), width, foot)
    if foot > height:
        return Body(Panel((Text(0, 0, "", 1.0),), 1, 1))
    of = [f"{count} of {counted(total, 'layer')}"] if count < total else []
    layers = [{"name": each.layer, "unit": list(each.unit), "channels": each.channels and list(each.channels)}
              for each in kept[0]]  # fmt: skip
    facts = {"layers": layers, "shown": count, "total": total}
    return Body(panel, (*of, *_notices(kept)), facts=facts)

"""Pictures of a traced unit: one value with its computation, and a kernel beside its map."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from kernelviz.arithmetic.steps import largest
from kernelviz.drawing.looks import find_look
from kernelviz.drawing.number_tiles import exponent_text
from kernelviz.drawing.page import INK, Item, Panel, Raster, Rule, Shape, Text, moved, text_width
from kernelviz.drawing.sheets import map_facts
from kernelviz.drawing.worksheets import (
    DIM,
    FORMULA,
    MARGIN,
    SIGN,
    SMALL,
    TITLED,
    WIDEST,
    Cells,
    LabelledPicture,
    Tint,
    arrow_items,
    cells_panel,
    digit_size,
    refitted,
    strongest,
    titled,
    with_bar,
    worksheet,
)
from kernelviz.explain.pool_pages import pooled_body, pooled_map_body
from kernelviz.explain.unit_parts import (
    UNIT_DIGITS,
    MapColours,
    clipping_text,
    input_view,
    map_bar,
    map_colours,
    map_picture,
    map_view,
    photograph,
    power_of,
    single_page,
    stacked_page,
    tint_key,
    tint_text,
    unit_tint,
    with_map_bar,
    written_cells,
)
from kernelviz.explain.unit_texts import (
    COLOURS,
    SHOWN,
    at_text,
    bias_text,
    reads_colours,
    settings_text,
    short_decimals,
    sum_text,
    value_of,
)
from kernelviz.records import FeatureMaps
from kernelviz.traces import PooledUnit
from kernelviz.wording import PART, normalising_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kernelviz.drawing.figures import PageFigure
    from kernelviz.drawing.looks import LookName
    from kernelviz.records import Array
    from kernelviz.traces import Unit


THUMB, PITCH, HEADS = 96.0, 112.0, 44.0
NUMBERS, GAP, SIGNS = 86.0, 40.0, 40.0  # the room for the channel's number, and between the matrices
BARS, COLUMN = 206.0, 308.0
BAR_GAP = 22.0  # between a titled map and its colour bar
RED, BLUE = "positive", "negative"
THICK = 32.0


@dataclass(frozen=True)
class Summand:
    """One bar: its name, its value, and the middle of its row."""

    name: str
    value: float
    middle: float


def waterfall_page(unit: Unit, most: int = SHOWN) -> tuple[Panel, str]:
    """The body of the page, and a text about the choice of channels; with fewer than usual without the photograph."""
    order = unit.strongest(most)
    pointwise = unit.window[0].size == 1
    texts, parts, bottom = _summands(unit, order)
    lefts = [NUMBERS + THUMB + GAP + position * (THUMB + SIGNS) for position in range(3)]
    widest = max(text_width(text, FORMULA, bold=True) for text in texts)
    end = (lefts[2] - SIGNS + 40 if pointwise else lefts[2] + THUMB + 68) + widest
    items = _heads(lefts, end, pointwise=pointwise)
    for left, values in zip(lefts, (unit.window, unit.kernel) if pointwise else (), strict=False):
        power = exponent_text(_written(unit, values)[2])
        items += [Text(left + THUMB / 2, 49, power, SMALL, DIM, align="center")] if power else []
    for row, position in enumerate(order):
        items += _row(unit, position, HEADS + row * PITCH, lefts, pointwise=pointwise)
    items += _sums(parts, texts, end, len(order))
    bars = min(BARS + (100 if pointwise else 0), WIDEST - 2 * MARGIN - end - 94 - COLUMN)
    items += _bars(parts, end + 44, bottom, bars)
    right = end + 44 + bars + 50
    below, width = _pictures(unit, items, right, bottom, field=most == SHOWN)
    measure = "product" if pointwise else "sum"
    n = len(unit.numbers)
    choice = f"the {len(order)} channels with the largest |{measure}| of {n:,}, largest first" if n > len(order) else ""
    choice = " · ".join(part for part in (choice, "each input map has its own colour scale") if part)
    return Panel(tuple(items), right + width, max(bottom, below)), choice


def _summands(unit: Unit, order: Sequence[int]) -> tuple[list[str], list[Summand], float]:
    """All summands, as texts and as bars, the total last; and the y below the rows."""
    sums = unit.sums
    parts = [
        Summand(str(unit.numbers[position]), float(sums[position]), HEADS + row * PITCH + THUMB / 2)
        for row, position in enumerate(order)
    ]
    y = HEADS + len(order) * PITCH + 10.0
    rest = len(unit.numbers) - len(order)
    if rest:
        others = np.delete(sums, list(order)).sum()
        name = f"the other {rest:,} channels, summed" if rest > 1 else "the other channel"
        parts.append(Summand(name, float(others), y + 6))
        y += 52
    if unit.bias is not None:
        parts.append(Summand("bias", unit.bias, y + 6))
        y += 52
    name = "the value (no bias)" if unit.bias is None else "the value"
    parts.append(Summand(name, unit.total, y + 22))
    values = [part.value for part in parts]
    return [sum_text(unit, float(value)) for value in values], parts, y + 52


def _heads(lefts: Sequence[float], end: float, *, pointwise: bool) -> list[Item]:
    names = ("value", "weight") if pointwise else ("window", "kernel", "products")
    items: list[Item] = [Text(0, 22, "input channel", SMALL, INK, bold=True)]
    for left, name in zip(lefts, names, strict=False):
        items.append(Text(left + THUMB / 2, 22, name, SMALL, INK, bold=True, align="center"))
    items.append(Text(end, 22, "product" if pointwise else "sum", SMALL, INK, bold=True, align="right"))
    items.append(Text(end + 44, 22, "running sum", SMALL, INK, bold=True))
    return items


def _row(unit: Unit, position: int, y: float, lefts: Sequence[float], *, pointwise: bool) -> list[Item]:
    """The channel's number, its map with the window, and window × kernel = products as colours."""
    middle = y + THUMB / 2
    items: list[Item] = [Text(0, middle, f"{unit.numbers[position]:,}", SMALL + 1, INK, middle=True)]
    view = input_view(unit, position, THUMB)
    items += view.centred_at(NUMBERS, middle)
    columns = [(unit.window, True), (unit.kernel, False)] if pointwise else [
        (unit.window, True), (unit.kernel, False), (unit.products, True)
    ]  # fmt: skip
    for left, (values, padded) in zip(lefts, columns, strict=False):
        panel = _number(unit, values, position) if pointwise else _matrix(unit, values, position, padded=padded)
        items += moved(panel, left + (THUMB - panel.width) / 2, middle - panel.height / 2)
    for left, sign in zip(lefts[1:], "×=", strict=True):
        x = left - SIGNS / 2
        items.append(Text(x, middle, sign, 34, DIM, align="center", middle=True))
    if not pointwise:
        items.append(Text(lefts[2] + THUMB + 12, middle, "Σ =", SMALL + 2, DIM, middle=True))
    return items


def _matrix(unit: Unit, values: Array, position: int, *, padded: bool) -> Panel:
    """One matrix as colours of the scale of all of them."""
    cell = THUMB / max(values.shape[1:])
    around, between = (unit.padding, unit.stretched) if padded else (None, None)
    tint = unit_tint(unit, pale=False)
    return cells_panel(Cells(values[position], tint, padding=around, stretched=between), cell, 0)


def _number(unit: Unit, values: Array, position: int) -> Panel:
    """A single number as a cell as wide as a matrix."""
    every, size, _ = _written(unit, values)
    cells = every[list(unit.strongest(SHOWN)).index(position)]
    panel = cells_panel(cells, THUMB, min(24.0, size), UNIT_DIGITS)
    return _flattened(panel, 62.0 / THUMB)


def _written(unit: Unit, values: Array) -> tuple[list[Cells], float, int]:
    """The cells of the numbers of the strongest channels, the size of their digits, and their power of ten."""
    shown, tint, size = values[list(unit.strongest(SHOWN))], unit_tint(unit), 0.0
    for power in dict.fromkeys([0, power_of(shown)]):
        every = written_cells(shown, tint, power)
        size = digit_size(every, THUMB, UNIT_DIGITS)
        if size:
            return every, size, power
    return every, 0.0, 0


def _flattened(panel: Panel, share: float) -> Panel:
    """A cell less tall than wide; its digits keep their size."""
    items: list[Item] = []
    for item in panel.items:
        if isinstance(item, Raster):
            items.append(Raster(item.content, item.left, item.top, item.width, item.height * share))
        elif isinstance(item, Shape):
            items.append(Shape(tuple((x, y * share) for x, y in item.points), item.colour, item.width))
        elif isinstance(item, Text):
            items.append(
                Text(item.x, item.y * share, item.text, item.size, item.colour, item.bold, item.align, middle=True)
            )
    return Panel(tuple(items), panel.width, panel.height * share)


def _sums(parts: Sequence[Summand], texts: Sequence[str], end: float, rows: int) -> list[Item]:
    """The sums on the right, the combined rest, and the value under a line."""
    items: list[Item] = []
    for at, (part, text) in enumerate(zip(parts, texts, strict=True)):
        last = at == len(parts) - 1
        if last:
            items.append(Rule(end - 120, part.middle - 26, end + 8, part.middle - 26, INK, 2.4))
            items.append(Text(0, part.middle, part.name, SMALL + 1, INK, bold=True, middle=True))
        elif at >= rows:
            items.append(Text(0, part.middle, part.name, SMALL + 1, DIM, middle=True))
        size = FORMULA if last else SMALL + 3
        items.append(Text(end, part.middle, text, size, INK, bold=True, align="right", middle=True))
    return items


def _bars(parts: Sequence[Summand], left: float, bottom: float, wide: float) -> list[Item]:
    """Bars that each start at the end of the one before; the last is the total, from 0."""
    values = [part.value for part in parts]
    if not all(map(math.isfinite, values)):
        return [Text(left, parts[0].middle, "not finite", SMALL, DIM, middle=True)]
    ends = np.concatenate([[0.0], np.cumsum(values[:-1])])
    low, high = float(min(ends.min(), values[-1])), float(max(ends.max(), values[-1]))
    scale = wide / ((high - low) or 1.0)
    zero = left - low * scale
    items: list[Item] = []
    for at, part in enumerate(parts):
        last = at == len(parts) - 1
        start, stop = (0.0, part.value) if last else (float(ends[at]), float(ends[at + 1]))
        a, b = sorted((zero + start * scale, zero + stop * scale))
        top, below = part.middle - THICK / 2, part.middle + THICK / 2
        b = max(b, a + 1.5)
        colour = INK if last else RED if part.value >= 0 else BLUE
        items.append(Shape(((a, top), (b, top), (b, below), (a, below)), colour))
        if not last:
            x = zero + stop * scale
            items.append(Rule(x, below, x, parts[at + 1].middle - THICK / 2, DIM, 1.4))
    items.append(Rule(zero, HEADS - 8, zero, bottom - 4, INK, 2.2))
    return items


def _pictures(unit: Unit, items: list[Item], x: float, bottom: float, *, field: bool) -> tuple[float, float]:
    """Add the map with the unit, and its receptive field; returns the y below them and their width.

    The receptive field is below the map, or below the rows of few channels, which end at ``bottom``.
    """
    view = with_map_bar(map_view(unit, COLUMN), map_colours(unit.map))
    items += view.at(x, 0)
    y, width = view.height + 36, max(COLUMN, view.width)
    seen = photograph(unit, COLUMN, field=True) if field else None
    if not field and unit.window[0].size > 1:
        key = tint_key(unit, max(150.0, bottom - y), COLUMN, pale=False)
        items += moved(key, x, y)
        y += key.height
    if seen is not None and bottom + 36 <= 0.7 * view.height:
        items += seen.at(0, bottom + 36)
        y = max(y, bottom + 36 + seen.height)
    elif seen is not None:
        items += seen.at(x, y)
        y += seen.height
        width = max(width, seen.width)
    return y, width


ROWS = 3  # planes shown at most
PICTURE, LARGER, PLANE, ALONE = 448.0, 560.0, 206.0, 344.0
BESIDE, BETWEEN = 66.0, 44.0


def kernel_and_map_page(unit: Unit, tallest: float = math.inf) -> Panel:
    """The page of ``plot_kernel_and_map``; for a box of this height with smaller pictures."""
    if isinstance(unit, PooledUnit):
        return pooled_map_page(unit, tallest)
    plane, picture, larger = PLANE, PICTURE, LARGER
    if tallest < math.inf:
        room = tallest - 150
        plane, picture, larger = min(PLANE, (room - 2 * BETWEEN) / ROWS), min(PICTURE, room), min(LARGER, room)
    planes = shown_planes(unit)
    rest = len(unit.numbers) - len(planes)
    whole = unit.reads_image and unit.seen is not None and not rest
    columns = [
        _photo(unit, picture) if whole else _inputs(unit, planes, plane, picture),
        _kernel(unit, planes, plane),
        _map(unit, picture if whole or len(planes) == 1 else larger),
    ]
    middle = TITLED + max(column.size[0] for column in columns) / 2
    items: list[Item] = []
    x, bottom = 0.0, 0.0
    for at, column in enumerate(columns):
        items += column.centred_at(x, middle)
        bottom = max(bottom, middle + column.size[0] / 2 + column.below)
        x += column.width
        if at == 0:
            rows = [middle] if whole or len(planes) == 1 else _rows(columns[0], middle, len(planes))
            items += [Text(x + BESIDE / 2, y, "∗", SIGN, DIM, align="center", middle=True) for y in rows]
        elif at == 1 and rest:
            items += arrow_items(x + 12, middle, x + BESIDE - 12)
        elif at == 1:
            items.append(Text(x + BESIDE / 2, middle, "=", SIGN, DIM, align="center", middle=True))
        x += BESIDE
    body = Panel(tuple(items), x - BESIDE, bottom)
    title = f"How kernel {unit.at[0]} of {unit.layer.name} makes feature map {unit.at[0]}"
    n = len(unit.numbers)
    choice = f"{len(planes)} of {n:,} planes" if len(planes) < n else ""
    fewer = [partial(refitted, partial(kernel_and_map_page, unit))] if tallest == math.inf else []
    return worksheet(
        title, _identity(unit), body, [], _captions(unit, planes), source=unit.source.short_label if unit.source else "",
        notices=[text for text in (choice, *_broken(unit)) if text], fewer=fewer, facts={"shown": len(planes)},
        aside="",
    )  # fmt: skip


def pooled_map_page(unit: PooledUnit, tallest: float = math.inf) -> Panel:
    """The page of ``plot_kernel_and_map`` for a pool; for a box of this height with smaller pictures."""
    title = f"How {unit.layer.name} pools channel {unit.at[0]}"
    channels = f"each of {unit.layer.out_channels:,} channels separately, no weights"
    lines = ["one colour scale for both maps", channels]
    if unit.source:
        lines.append(f"weights: {unit.source.short_label}")
    clipped = clipping_text(map_colours(unit.inputs[0]))
    fewer = [partial(refitted, partial(pooled_map_page, unit))] if tallest == math.inf else []
    return worksheet(
        title, _identity(unit), pooled_map_body(unit, tallest), [], [*lines, clipped, *notes(unit)], aside="",
        source=unit.source.short_label if unit.source else "", notices=_broken(unit), fewer=fewer,
    )  # fmt: skip


def shown_planes(unit: Unit) -> tuple[int, ...]:
    """All planes of a kernel if they are few, in order; else those with the largest norm, largest first."""
    if len(unit.numbers) <= ROWS:
        return tuple(range(len(unit.numbers)))
    return largest(np.sqrt((np.nan_to_num(unit.kernel) ** 2).sum(axis=(1, 2))), ROWS)


def _rows(column: LabelledPicture, middle: float, count: int) -> list[float]:
    """The middles of pictures below each other."""
    tall = (column.size[0] - (count - 1) * BETWEEN) / count
    top = middle - column.size[0] / 2
    return [top + tall / 2 + at * (tall + BETWEEN) for at in range(count)]


def _stack(panels: Sequence[Panel], labels: Sequence[str], side: float) -> Panel:
    """Pictures of one size below each other, a ``+`` between them, each with its label above."""
    items: list[Item] = []
    y = 0.0
    for panel, label in zip(panels, labels, strict=True):
        items += moved(panel, 0, y + (side - panel.height) / 2)
        if y and label:
            items.append(Text(0, y + (side - panel.height) / 2 - 11, label, SMALL, DIM))
        y += side + BETWEEN
    return Panel(tuple(items), max(panel.width for panel in panels), y - BETWEEN)


def _kernel(unit: Unit, planes: Sequence[int], plane: float) -> LabelledPicture:
    """The planes with their weights, or as colours if these do not fit."""
    side = ALONE if len(planes) == 1 else plane
    shown = unit.kernel[list(planes)]
    cell = side / max(shown.shape[1:])
    tint = Tint(strongest(shown))
    every = [Cells(values, tint, decimals=short_decimals(shown)) for values in shown]
    size = digit_size(every, cell, UNIT_DIGITS)
    if not size:
        every = [replace(each, tint=replace(tint, pale=False)) for each in every]
    colours = reads_colours(unit)
    numbers = [unit.numbers[position] for position in planes]
    labels = [f"kernel {unit.at[0]}: {COLOURS[number] if colours else f'plane {number}'}" for number in numbers]
    panels = [cells_panel(each, cell, size, UNIT_DIGITS) for each in every]
    box = _stack(panels, labels, side if len(planes) > 1 else panels[0].height)
    size_text = "flipped" if unit.layer.transposed else " × ".join(map(str, unit.kernel.shape))
    name = labels[0] if len(planes) > 1 else f"kernel {unit.at[0]}"
    column = _column(name, "" if len(planes) > 1 else size_text, box)
    if size or not np.isfinite(shown).any() or not np.nan_to_num(shown).any():
        return column
    return with_bar(column, map_bar(MapColours(strongest(shown), negative=True, clipped=False), side), BAR_GAP)


def _column(name: str, size: str, box: Panel, below: str = "") -> LabelledPicture:
    return titled(name, size, box, [below] if below else [], pitch=27, foot=0, whole_head=True)


def _photo(unit: Unit, side: float) -> LabelledPicture:
    """What the network saw."""
    view = photograph(unit, side, field=False)
    if view is None:
        raise TypeError(unit.seen)
    picture = tuple(item for item in view.items if not isinstance(item, Text))
    size = " × ".join(map(str, unit.inputs.shape))
    return _column("what the network saw", size, Panel(picture, *view.size[::-1]))


def _inputs(unit: Unit, planes: Sequence[int], plane: float, picture: float) -> LabelledPicture:
    """The maps that these planes slide over, in one scale."""
    side = picture if len(planes) == 1 else plane
    shown = unit.inputs[list(planes)]
    colours = map_colours(shown)
    panels = [map_picture(values, colours, side)[0] for values in shown]
    labels = [f"input {unit.numbers[position]}" for position in planes]
    box = _stack(panels, labels, side if len(planes) > 1 else panels[0].height)
    size = " × ".join(map(str, unit.inputs.shape[1:]))
    rest = len(unit.numbers) - len(planes)
    below = f"+ {rest:,} more" if rest else ""
    return with_map_bar(_column(labels[0], size, box, below), colours, gap=BAR_GAP + (14 if below else 0))


def _map(unit: Unit, side: float) -> LabelledPicture:
    colours = map_colours(unit.map)
    panel, _ = map_picture(unit.map, colours, side)
    height, width = unit.map.shape
    return with_map_bar(_column(f"feature map {unit.at[0]}", f"{height} × {width}", panel), colours, gap=BAR_GAP)


def _identity(unit: Unit) -> str:
    parts = [unit.source.model if unit.source else "", settings_text(unit)]
    if unit.image and unit.input_size:
        parts.append(f"image {unit.image.name} at {' × '.join(map(str, unit.input_size[1:]))}")
    return PART.join(part for part in parts if part)


def _captions(unit: Unit, planes: Sequence[int]) -> list[str]:
    """How to read the page, and what is left out."""
    n, rows, columns = unit.kernel.shape
    products = n * rows * columns
    what = "image" if unit.reads_image else "input"
    lines = [
        f"the kernel slides over the {what}; each position yields one sum of {products:,} products, a cell of the map"
    ]
    if n > len(planes):
        lines.append(
            f"{len(planes)} of {n:,} planes, those with the largest norm, largest first: the sum is not complete"
        )
    if unit.bias is not None:
        lines.append(f"{bias_text(unit)} is added everywhere")
    if not unit.reads_image and len(planes) > 1:
        lines.append("one colour scale for all inputs shown")
    if unit.source:
        lines.append(f"weights: {unit.source.short_label}")
    return [*lines, clipping_text(map_colours(unit.map)), *notes(unit)]


FEW = 4  # channels whose matrices are written out
TITLE = "One value of a feature map"


def plot_unit(unit: Unit, *, look: LookName = "page", caption: bool = True) -> PageFigure:
    """Draw how one value of a feature map is computed.

    Up to four input channels are written out as window × kernel = products; of more, those that contribute most are drawn
    with bars that add up to the value. Beside them are the map with the unit marked, and its receptive field. Of a
    pool, the window is drawn, and which of its values is taken.

    Args:
        unit: The result of ``trace_unit``.
        look: ``page``, ``slide`` (1280 × 720 pixels, large type), ``dark`` or ``print``.
        caption: Whether identity and caption are drawn; without them they are only in the recipe.

    Example:
        >>> network = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU())
        >>> unit = kernelviz.trace_unit(network, torch.rand(3, 16, 16), "0", at=(5, 2, 7))
        >>> figure = kernelviz.plot_unit(unit)
    """
    from kernelviz.drawing.figures import draw_page

    return draw_page(unit_page(unit), unit_recipe(unit, whole=False), find_look(look, caption=caption))


def plot_kernel_and_map(unit: Unit, *, look: LookName = "page", caption: bool = True) -> PageFigure:
    """Draw a kernel, its input, and its feature map side by side; of a pool, the map before and after it.

    Of many input channels, those with the largest weights are shown. The row and column of the unit do not matter.

    Args:
        unit: The result of ``trace_unit`` for any unit of that map.
        look: ``page``, ``slide`` (1280 × 720 pixels, large type), ``dark`` or ``print``.
        caption: Whether identity and caption are drawn; without them they are only in the recipe.

    Example:
        >>> network = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU())
        >>> unit = kernelviz.trace_unit(network, torch.rand(3, 16, 16), "0", at=(5, 0, 0))
        >>> figure = kernelviz.plot_kernel_and_map(unit)
    """
    from kernelviz.drawing.figures import draw_page

    return draw_page(kernel_and_map_page(unit), unit_recipe(unit, whole=True), find_look(look, caption=caption))


def unit_recipe(unit: Unit, *, whole: bool) -> dict[str, Any]:
    """The recipe of the picture, of the ``whole`` map or of the one unit."""
    position = ",".join(map(str, unit.at))
    limit = map_colours(unit.map)
    maps = FeatureMaps(
        unit.map[None], unit.layer.name, unit.layer.kind, source=unit.source, image=unit.image, seen=unit.seen,
        input_size=unit.input_size,
    )  # fmt: skip
    shown = min(len(unit.numbers), SHOWN if len(unit.numbers) > FEW else FEW)
    if whole and not isinstance(unit, PooledUnit):
        shown = len(shown_planes(unit))
    return {
        **map_facts(maps),
        "command": "explain",
        "view": f"map {unit.at[0]}" if whole else f"unit {position}",
        "shown": shown,
        "limits": [-limit.limit if limit.negative else 0.0, limit.limit] if limit.known else None,
        "nonfinite": int(np.count_nonzero(~np.isfinite(unit.map))),
        "notes": notes(unit),
    }


def unit_page(unit: Unit, tallest: float = math.inf) -> Panel:
    """The page of ``plot_unit``; for a box of this height with fewer pictures."""
    boxed = tallest < math.inf
    settings = " · ".join(part for part in (unit.source.model if unit.source else "", _place(unit)) if part)
    if isinstance(unit, PooledUnit):
        return pooled_page(unit, settings, tallest)
    n, rows, columns = unit.window.shape
    facts, notices = dict[str, Any](), _broken(unit)
    if rows * columns == 1 or n > FEW:
        most = max(1, min(SHOWN - 1, int((tallest - HEADS - 170) / PITCH))) if boxed else SHOWN
        body, more = waterfall_page(unit, most)
        facts = {"shown": min(n, most)}
        notices = [*([f"{most} of {n:,} channels, the others summed"] if boxed and n > most else []), *notices]
    else:
        body, more = (single_page(unit, brief=boxed) if n == 1 else stacked_page(unit, tallest)), ""
    lines = [
        more,
        "rounded for display, after summation",
        f"value in the network: {value_of(unit.value)}",
        tint_text(unit),
        clipping_text(map_colours(unit.map)),
    ]
    fewer = [] if boxed else [partial(refitted, partial(unit_page, unit))]
    return worksheet(
        TITLE, settings, body, [], [*captions(unit), *lines, *notes(unit)], fewer=fewer, aside=_place(unit), facts=facts,
        source=unit.source.short_label if unit.source else "", notices=notices,
    )  # fmt: skip


def _place(unit: Unit) -> str:
    """The layer, and where the unit is in its map."""
    return " · ".join(part for part in (unit.layer.name, at_text(unit)) if part)


def pooled_page(unit: PooledUnit, settings: str, tallest: float = math.inf) -> Panel:
    """The page of ``plot_unit`` for a pool; for a box of a height with the window alone."""
    lines = [
        "framed in the window: its maximum" if unit.maximum else "bold: the values of the mean",
        "rounded for display",
        f"value in the network: {value_of(unit.value)}",
        clipping_text(map_colours(unit.map)),
    ]
    body = pooled_body(unit, brief=tallest < math.inf)
    fewer = [partial(refitted, partial(pooled_page, unit, settings))] if tallest == math.inf else []
    return worksheet(
        "One value of a pooled map", settings, body, [], [*captions(unit), *lines, *notes(unit)], aside=_place(unit),
        source=unit.source.short_label if unit.source else "", notices=_broken(unit), fewer=fewer,
    )  # fmt: skip


def captions(unit: Unit) -> list[str]:
    """The layer, its weights, and the preprocessing of an image."""
    lines = [settings_text(unit)]
    if unit.layer.depthwise and not isinstance(unit, PooledUnit):
        lines[0] += ": one kernel reads one channel"
    if unit.layer.transposed:
        lines.append(
            "transposed: as a convolution with the kernel flipped (rotated by 180°) and zeros between the values"
        )
    if unit.reads_image and unit.source and unit.source.preprocessing:
        lines.append(f"input {normalising_text(unit.source.preprocessing)}")
    if unit.source and unit.source.label != unit.source.model:  # for a plain module both are its class
        lines.append(f"weights: {unit.source.short_label}")
    if unit.padding.any():
        ignored = ", which the maximum ignores" if isinstance(unit, PooledUnit) and unit.maximum else ""
        lines.append(f"dashed: padding around the input{ignored}")
    if unit.mixes_image:
        lines.append("+: a gate, a mean or attention mixes in the whole image")
    if unit.box is None:
        lines.append(f"the receptive field is unknown: {unit.unseen}")
    return lines


def notes(unit: Unit) -> list[str]:
    """Irregularities: of the image, of the network's input, and values that are not finite."""
    lines = [*(unit.image.notes if unit.image else ()), *(unit.seen.notes if unit.seen else ()), *_broken(unit)]
    if unit.map.size > 1 and (unit.map == unit.map.flat[0]).all():
        lines.append(f"the map is constant: every value is {value_of(float(unit.map.flat[0]))}")
    return lines


def _broken(unit: Unit) -> list[str]:
    """How many values are not finite."""
    lines = []
    for name, values in (("map", unit.map), ("window", unit.window), ("kernel", unit.kernel)):
        broken = int(np.count_nonzero(~np.isfinite(values)))
        if broken:
            lines.append(f"{broken:,} of {values.size:,} values of the {name} are not finite: grey or chequered")
    return lines

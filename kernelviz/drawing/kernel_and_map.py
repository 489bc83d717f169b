"""A kernel, what it slides over, and the map that it makes, side by side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kernelviz.drawing.page import INK, Item, Panel, Text, moved, text_width
from kernelviz.drawing.sights import TOP, Ink, ink_bar, ink_of, ink_text, map_picture, photograph
from kernelviz.drawing.unit_numbers import fitted_digits
from kernelviz.drawing.worksheets import DIM, SIGN, SMALL, Cells, arrow_items, cells_panel, strongest, worksheet
from kernelviz.unit_texts import COLOURS, reads_colours, settings_text, short_decimals
from kernelviz.wording import PART

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kernelviz.traces import Unit


ROWS = 3  # planes that are shown of many
PICTURE, LARGER, PLANE, ALONE = 448.0, 560.0, 206.0, 344.0
BESIDE, BETWEEN = 66.0, 44.0


@dataclass(frozen=True)
class Column:
    """Pictures below each other: ``box`` is as large as they are, without the head above and the bar below."""

    name: str
    size: str
    box: Panel
    bar: Panel | None
    below: str = ""

    @property
    def width(self) -> float:
        """With the head and the bar."""
        head = text_width(self.name, SMALL, bold=True) + 14 + text_width(self.size, SMALL)
        return max(self.box.width, self.bar.width if self.bar else 0.0, head, text_width(self.below, SMALL))

    def placed(self, x: float, middle: float) -> tuple[list[Item], float]:
        """Its items with the middle of the box at this height, and where they end."""
        y = middle - self.box.height / 2
        items: list[Item] = [Text(x, y - 18, self.name, SMALL, INK, bold=True)]
        if self.size:
            items.append(Text(x + text_width(self.name, SMALL, bold=True) + 14, y - 18, self.size, SMALL, DIM))
        items += moved(self.box, x, y)
        y += self.box.height
        if self.below:
            y += 34
            items.append(Text(x, y, self.below, SMALL, DIM))
        if self.bar:
            y += 22
            items += moved(self.bar, x, y)
            y += self.bar.height
        return items, y


def kernel_and_map_page(unit: Unit) -> Panel:
    """The page of ``plot_kernel_and_map``."""
    planes = shown_planes(unit)
    rest = len(unit.numbers) - len(planes)
    whole = unit.reads_image and unit.seen is not None and not rest
    columns = [
        _kernel(unit, planes),
        _photo(unit) if whole else _inputs(unit, planes),
        _map(unit, PICTURE if whole or len(planes) == 1 else LARGER),
    ]
    tallest = max(column.box.height for column in columns)
    middle = TOP + tallest / 2
    items: list[Item] = []
    x, bottom = 0.0, 0.0
    for at, column in enumerate(columns):
        drawn, below = column.placed(x, middle)
        items += drawn
        bottom = max(bottom, below)
        x += column.width
        if at == 0:
            rows = [middle] if whole or len(planes) == 1 else _rows(columns[1], middle, len(planes))
            items += [Text(x + BESIDE / 2, y, "∗", SIGN, DIM, align="center", middle=True) for y in rows]
        elif at == 1 and rest:
            items += arrow_items(x + 12, middle, x + BESIDE - 12)
        elif at == 1:
            items.append(Text(x + BESIDE / 2, middle, "=", SIGN, DIM, align="center", middle=True))
        x += BESIDE
    body = Panel(tuple(items), x - BESIDE, bottom)
    title = f"How kernel {unit.at[0]} of {unit.layer.name} makes feature map {unit.at[0]}"
    return worksheet(title, _identity(unit), body, [], _captions(unit, planes))


def shown_planes(unit: Unit) -> tuple[int, ...]:
    """All planes of a kernel of few, in their order; of more those with the largest weights together, largest first."""
    if len(unit.numbers) <= ROWS:
        return tuple(range(len(unit.numbers)))
    norms = np.sqrt((np.nan_to_num(unit.kernel) ** 2).sum(axis=(1, 2)))
    return tuple(sorted(range(len(norms)), key=lambda place: (-float(norms[place]), place))[:ROWS])


def _rows(column: Column, middle: float, count: int) -> list[float]:
    """The middles of pictures below each other."""
    tall = (column.box.height - (count - 1) * BETWEEN) / count
    top = middle - column.box.height / 2
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


def _kernel(unit: Unit, planes: Sequence[int]) -> Column:
    """The planes with their weights, or as colours where these do not fit."""
    side = ALONE if len(planes) == 1 else PLANE
    shown = unit.kernel[list(planes)]
    cell = side / max(shown.shape[1:])
    every = [Cells(plane, strongest(shown), decimals=short_decimals(shown)) for plane in shown]
    size = fitted_digits(every, cell)
    colours = reads_colours(unit)
    labels = [COLOURS[unit.numbers[place]] if colours else f"plane {unit.numbers[place]}" for place in planes]
    panels = [cells_panel(each, cell, size) for each in every]
    box = _stack(panels, labels, side if len(planes) > 1 else panels[0].height)
    first = f": {labels[0]}" if len(planes) > 1 else ""
    size_text = "turned 180°" if unit.layer.transposed else " × ".join(map(str, unit.kernel.shape))
    bar = None
    if not size and np.isfinite(shown).any() and np.nan_to_num(shown).any():
        bar = ink_bar(Ink(strongest(shown), negative=True, clipped=False), max(side, 170.0))
    return Column(
        f"kernel {unit.at[0]}{first}" if first else f"kernel {unit.at[0]}", "" if first else size_text, box, bar
    )


def _photo(unit: Unit) -> Column:
    """What the network saw."""
    view = photograph(unit, PICTURE, sight=False)
    if view is None:
        raise TypeError(unit.seen)
    height, width = view.size
    picture = tuple(item for item in moved(view.panel, 0, -TOP) if not isinstance(item, Text))
    size = " × ".join(map(str, unit.inputs.shape))
    return Column("what the network saw", size, Panel(picture, width, height), None)


def _inputs(unit: Unit, planes: Sequence[int]) -> Column:
    """The maps that these planes slide over, in one scale."""
    side = PICTURE if len(planes) == 1 else PLANE
    shown = unit.inputs[list(planes)]
    ink = ink_of(shown)
    panels = [map_picture(values, ink, side)[0] for values in shown]
    labels = [f"input {unit.numbers[place]}" for place in planes]
    box = _stack(panels, labels, side if len(planes) > 1 else panels[0].height)
    size = " × ".join(map(str, unit.inputs.shape[1:]))
    rest = len(unit.numbers) - len(planes)
    below = f"+ {rest:,} more" if rest else ""
    bar = ink_bar(ink, max(box.width, 170.0)) if ink.known else None
    return Column(labels[0], size, box, bar, below)


def _map(unit: Unit, side: float) -> Column:
    ink = ink_of(unit.map)
    panel, _ = map_picture(unit.map, ink, side)
    height, width = unit.map.shape
    bar = ink_bar(ink, max(panel.width, 170.0)) if ink.known else None
    return Column(f"feature map {unit.at[0]}", f"{height} × {width}", panel, bar)


def _identity(unit: Unit) -> str:
    parts = [unit.source.model if unit.source else "", settings_text(unit)]
    if unit.image and unit.input_size:
        parts.append(f"image {unit.image.name}, seen at {' × '.join(map(str, unit.input_size[1:]))}")
    return PART.join(part for part in parts if part)


def _captions(unit: Unit, planes: Sequence[int]) -> list[str]:
    """How to read it, and what is left out."""
    from kernelviz.drawing.unit import notes

    n, rows, columns = unit.kernel.shape
    products = n * rows * columns
    what = "image" if unit.reads_image else "input"
    lines = [f"the kernel slides over the {what}; each stop is one sum of {products:,} products, one cell of the map"]
    if n > len(planes):
        lines.append(
            f"{len(planes)} of {n:,} planes, those with the largest norm, largest first: the sum is not complete"
        )
    if unit.bias is not None:
        from kernelviz.unit_texts import bias_text

        lines.append(f"{bias_text(unit)} is added everywhere")
    if not unit.reads_image and len(planes) > 1:
        lines.append("the inputs shown have one scale")
    if unit.source:
        lines.append(f"weights: {unit.source.label}")
    return [*lines, ink_text(ink_of(unit.map)), *notes(unit)]

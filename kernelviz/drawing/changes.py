"""What differs between two pages of an animation, so that only that is drawn again."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from kernelviz.drawing.page import Panel, Raster, Rule, Shape, Strokes, Text, text_width

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Sequence

    from kernelviz.drawing.page import Item
    from kernelviz.records import Array


Box: TypeAlias = tuple[float, float, float, float]  # left, top, right, bottom
EDGE = 2.0  # pixels by which smoothed edges and rounded places may reach further
FEW = 64  # so many changed cells have a box each


def changed_boxes(before: Panel, after: Panel) -> list[Box] | None:
    """Boxes outside which two pages look the same; None where they may differ anywhere."""
    old, new = [_key(item) for item in before.items], [_key(item) for item in after.items]
    gone, come = Counter(old) - Counter(new), Counter(new) - Counter(old)
    kept = [key for key in old if key not in gone]
    if (before.width, before.height) != (after.width, after.height) or kept != [key for key in new if key not in come]:
        return None
    lost = [item for item, key in zip(before.items, old, strict=True) if key in gone]
    found = [item for item, key in zip(after.items, new, strict=True) if key in come]
    rasters = {_place(item): item for item in lost if isinstance(item, Raster)}
    boxes: list[Box] = []
    for item in found:
        other = rasters.get(_place(item)) if isinstance(item, Raster) else None
        if other is not None and isinstance(item, Raster):
            boxes += _changed_cells(other, item)
            lost = [each for each in lost if each is not other]
        else:
            boxes += boxes_of(item)
    return boxes + [box for item in lost for box in boxes_of(item)]


def touching(page: Panel, region: Array, scale: float) -> Panel:
    """The page with those items alone that reach into the region (rows, columns) of its picture, in their order."""

    def reaches(item: Item) -> bool:
        return any(region[pixels_of(box, scale, region.shape)].any() for box in boxes_of(item))

    return Panel(tuple(item for item in page.items if reaches(item)), page.width, page.height)


def pixels_of(box: Box, scale: float, shape: tuple[int, ...]) -> tuple[slice, slice]:
    """Rows and columns of a picture of this scale that a box may touch."""
    left, top, right, bottom = (side * scale for side in box)
    rows = slice(max(0, int(top - EDGE)), max(0, min(shape[0], int(bottom + EDGE) + 1)))
    return rows, slice(max(0, int(left - EDGE)), max(0, min(shape[1], int(right + EDGE) + 1)))


def boxes_of(item: Item) -> list[Box]:
    """Boxes that together hold all of an item; more than needed of a text, whose hints may widen it."""
    match item:
        case Raster():
            return [(item.left, item.top, item.left + item.width, item.top + item.height)]
        case Text():
            return [_text_box(item)]
        case Rule():
            return [_around([(item.x0, item.y0), (item.x1, item.y1)], item.width)]
        case Strokes():
            return [_around([(x0, y0), (x1, y1)], item.width) for x0, y0, x1, y1 in item.lines]
        case Shape() if item.width == 0:
            return [_around(item.points, 0)]
        case Shape():
            ends = (*item.points[1:], item.points[0])
            return [_around(side, 2 * item.width) for side in zip(item.points, ends, strict=True)]


def _text_box(item: Text) -> Box:
    size = item.size
    long = 1.1 * text_width(item.text, size, bold=item.bold) + 0.6 * size
    if item.upright:
        return item.x - long, item.y - long, item.x + long, item.y + long
    before = {"left": 0.3 * size, "center": long / 2, "right": long - 0.3 * size}[item.align]
    above, below = (0.8 * size, 0.8 * size) if item.middle else (size, 0.4 * size)
    return item.x - before, item.y - above, item.x - before + long, item.y + below


def _around(points: Sequence[tuple[float, float]], width: float) -> Box:
    across, down = zip(*points, strict=True)
    return min(across) - width, min(down) - width, max(across) + width, max(down) + width


def _key(item: Item) -> Hashable:
    if isinstance(item, Raster):
        return (*_place(item), item.pixels.tobytes())
    return item


def _place(item: Raster) -> tuple[object, ...]:
    return item.left, item.top, item.width, item.height, item.pixels.shape


def _changed_cells(before: Raster, after: Raster) -> Iterator[Box]:
    """The cells of two rasters of one place that have another colour."""
    rows, columns = np.nonzero((before.pixels != after.pixels).any(axis=-1))
    tall, wide = after.height / after.pixels.shape[0], after.width / after.pixels.shape[1]
    ends = list(zip(rows, columns, rows, columns, strict=True))
    for top, left, bottom, right in (
        ends if len(ends) <= FEW else [(rows.min(), columns.min(), rows.max(), columns.max())]
    ):
        yield (
            after.left + left * wide,
            after.top + top * tall,
            after.left + (right + 1) * wide,
            after.top + (bottom + 1) * tall,
        )

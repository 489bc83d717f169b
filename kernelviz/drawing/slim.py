"""The part of a slim matrix that is drawn, so that its cells can be seen."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kernelviz.drawing.worksheets import Cells


INPUT, OUTPUT = 8, 4  # how many times as long as wide the part is at most


def part_around(shape: tuple[int, int], places: Sequence[range], times: int) -> tuple[range, range]:
    """The rows and the columns that are drawn: around these places, of the long side ``times`` the short one at most.

    It moves on by leaps, so that an animation stands still in between.
    """
    rows, columns = (
        _along(side, place, max(times * min(shape), 2 * len(place))) for side, place in zip(shape, places, strict=True)
    )
    return rows, columns


def _along(side: int, place: range, most: int) -> range:
    length = min(side, most)
    leap = max(1, (length - len(place)) // 2)
    middle = (place[0] + place[-1]) // 2
    start = middle // leap * leap - (length - leap) // 2
    start = max(0, min(start, side - length))
    return range(start, start + length)


def cut_cells(cells: Cells, rows: range, columns: range) -> Cells:
    """These rows and columns, with the same colours."""
    part = slice(rows.start, rows.stop), slice(columns.start, columns.stop)
    masks = (cells.lit, cells.bold, cells.padding, cells.stretched, cells.unread, cells.empty)
    lit, bold, padding, stretched, unread, empty = (None if mask is None else mask[part] for mask in masks)
    return replace(
        cells, values=cells.values[part], lit=lit, bold=bold, padding=padding, stretched=stretched, unread=unread,
        empty=empty,
    )  # fmt: skip


def part_text(name: str, shape: tuple[int, int], part: tuple[range, range], first: tuple[int, int] = (0, 0)) -> str:
    """``columns 9 to 32 of the input``, numbered from the input's own ``first``; empty where all is drawn."""
    said = [
        f"{noun} {each.start - zero} to {each[-1] - zero} of the {name}".replace("-", "−")
        for noun, each, side, zero in zip(("rows", "columns"), part, shape, first, strict=True)
        if len(each) < side
    ]
    return " and ".join(said)

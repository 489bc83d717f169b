"""Kernels of one kind on shelves, each beside its filter, with its number and its score."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kernelviz.drawing.page import GREY, INK, QUIET, Item, Text, text_width
from kernelviz.drawing.stamps import EDGE, stamp, zoom_for
from kernelviz.matching import FIT, UNNAMED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kernelviz.matching import KernelMatch, Matches


WIDTH, MARGIN = 1600.0, 52.0
CONTENT = WIDTH - 2 * MARGIN
HEAD, TYPE = 30.0, 25.0
ROOM = 62.0  # of a tile
SIGN = 46.0  # of ≈
ABOUT = {
    "pixel": "pass one pixel on",
    "blur": "average",
    "spot": "a pixel against those around it",
    "edge": "where brightness changes",
    "difference": "one pixel against another",
    "line": "bright or dark lines",
    "line end": "where a line ends",
    "corner": "where edges meet",
    "gabor": "stripes",
    "weak": "closer than chance, but not close enough for a name",
    "none": "the closest filter is no closer than chance",
}


@dataclass(frozen=True)
class Shelf:
    """How entries stand in a row: how wide one is, how far apart, how many."""

    entry: float
    across: int

    @property
    def pitch(self) -> float:
        """From the left of one entry to the left of the next."""
        return (CONTENT - self.entry) / (self.across - 1)


def group_items(
    matches: Matches, kind: str, rows: Sequence[KernelMatch], shelf: Shelf, *, total: int, start: int, top: float
) -> tuple[list[Item], float]:
    """The heading of one kind and its entries, from a slot of a shelf on; and the y below."""
    x, y = MARGIN + start * shelf.pitch, top + 46
    items: list[Item] = [Text(x, y, kind, HEAD, INK, bold=True)]
    x += text_width(kind, HEAD, bold=True) + 16
    count = _count_text(total, len(rows))
    items.append(Text(x, y, count, HEAD * 0.93, GREY))
    x += text_width(count, HEAD * 0.93) + 20
    taken = min(len(rows), shelf.across)
    end = MARGIN + (start + taken - 1) * shelf.pitch + shelf.entry if taken < shelf.across else WIDTH - MARGIN
    if x + text_width(ABOUT[kind], TYPE) <= end:
        items.append(Text(x, y, ABOUT[kind], TYPE))
    y += 22
    height = _entry_height(matches, kind)
    for at, row in enumerate(rows):
        down, across = divmod(at, shelf.across)
        left = MARGIN + (start + across) * shelf.pitch
        items += _entry(row, matches, kind, shelf.entry, x=left, y=y + down * height)
    return items, y + ((len(rows) - 1) // shelf.across + 1) * height + 8


def _count_text(total: int, shown: int) -> str:
    return f"{total:,}" if shown == total else f"{total:,}, the closest {shown:,}"


def slots(kind: str, total: int, shown: int, shelf: Shelf) -> int:
    """How many slots a group takes, its heading too; all of them where it has several shelves."""
    heading = text_width(kind, HEAD, bold=True) + 16 + text_width(_count_text(total, shown), HEAD * 0.93) + 30
    return max(min(shown, shelf.across), int(np.ceil(heading / shelf.pitch)))


def _entry(row: KernelMatch, matches: Matches, kind: str, width: float, *, x: float, y: float) -> list[Item]:
    """Kernel as colour, its pattern, ≈, the filter; number, score and colour below."""
    zoom, tile = _zoom(matches), _tile(matches)
    items: list[Item] = []
    at = round(x)
    if in_colour(matches):
        items.append(stamp(matches.bank.weight[row.kernel], at, round(y), zoom))
        at += round(tile + 12)
    items.append(stamp(row.pattern, at, round(y), zoom))
    foot = y + tile + 8 + 0.8 * TYPE
    number = f"{row.kernel}"
    items.append(Text(x, foot, number, TYPE, INK, bold=True))
    score = "" if row.score is None else f"{row.score:.2f}"
    if kind in UNNAMED or row.closest is None:
        beside = text_width(number, TYPE, bold=True) + text_width(score, TYPE) + 10 <= width
        low = foot if beside else foot + 1.2 * TYPE
        items.append(Text(x + width if beside else x, low, score, TYPE, QUIET, align="right" if beside else "left"))
        return items
    at += round(tile)
    items.append(Text(at + SIGN / 2, y + tile / 2, "≈", 34, QUIET, align="center", middle=True))
    sign = -1 if row.factor is not None and row.factor < 0 else 1
    items.append(stamp(row.closest.values * sign, at + round(SIGN), round(y), zoom))
    items.append(Text(x + width, foot, score, TYPE, INK, bold=True, align="right"))
    if row.closest.name == FIT:
        items.append(Text(x + width - text_width(score, TYPE, bold=True) - 8, foot, "fit", TYPE, align="right"))
    if row.colour:
        items.append(Text(x, foot + 1.2 * TYPE, row.colour.name, TYPE))
    return items


def _entry_height(matches: Matches, kind: str) -> float:
    one_line = (kind in UNNAMED) == in_colour(matches)
    return _tile(matches) + 8 + (1.0 if one_line else 2.2) * TYPE + 24


def entry_width(matches: Matches, *, named: bool) -> float:
    """How wide an entry is: one to three tiles and the sign between them."""
    tile = _tile(matches)
    first = 2 * tile + 12 if in_colour(matches) else tile
    return first + (SIGN + tile if named else 0)


def in_colour(matches: Matches) -> bool:
    """Whether each kernel is drawn as colour besides its pattern."""
    return matches.main == "strongest"


def _zoom(matches: Matches) -> int:
    return zoom_for(matches.bank.weight.shape[2], ROOM)


def _tile(matches: Matches) -> float:
    return float(matches.bank.weight.shape[2] * _zoom(matches) + 2 * EDGE)

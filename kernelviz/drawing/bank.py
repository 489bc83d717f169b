"""The bank of classical filters in one picture: a row a filter, turned into every direction, with what it is for."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from kernelviz.colours import colour_directions
from kernelviz.drawing.page import INK, Item, Panel, Rule, Text, text_block, text_width, wrap
from kernelviz.drawing.stamps import EDGE, colour_key, stamp
from kernelviz.filters import ALIKE, QUARTERS, Filter, classical_filters

if TYPE_CHECKING:
    from kernelviz.drawing.figures import PageFigure


WIDTH, MARGIN = 1600.0, 52.0
TITLE, HEAD, TYPE = 40.0, 30.0, 25.0
ROOM, GAP, NAMES = 58.0, 10.0, 330.0
SWATCH, ACROSS = 32, 5
_DIRECTION = re.compile(r" that (run|rise|fall)[^,]*")
TALLEST, ALL_OF = 2330.0, 7  # up to this size every filter is drawn
KINDS = {"line end": "line ends", "pixel": "pixels", "gabor": "Gabor functions"}


def plot_filters(size: int = 3) -> PageFigure:
    """A figure of all classical filters of one size.

    Raises:
        UsageError: there are none of this size.
    """
    from kernelviz.drawing.figures import draw_page

    figure = draw_page(bank_page(size))
    figure.recipe = {"command": "filter", "layer": None, "view": f"bank-{size}", "image": None}
    return figure


def bank_page(size: int) -> Panel:
    """The page: kinds as headings, a row a stem, and below them the colours."""
    filters = [one for one in classical_filters(size) if "@" not in one.name]
    items, y = text_block([f"Classical filters of {size} × {size}"], MARGIN, 0.7 * MARGIN, TITLE, colour=INK, bold=True)
    kind = told = ""
    shown = 0
    for stem in dict.fromkeys(one.stem for one in filters):
        if y > (TALLEST if size <= ALL_OF else TALLEST - 250):
            break
        rows = [one for one in filters if one.stem == stem]
        if rows[0].kind != kind:
            kind = rows[0].kind
            more, y = _heading(KINDS.get(kind, f"{kind}s"), y)
            items += more
        shown += len(rows)
        more, y = _row(rows, y)
        items += [item for item in more if not (isinstance(item, Text) and item.text == told)]
        told = more[-1].text if isinstance(more[-1], Text) else told
    more, y = _colours(y)
    items += more
    y += 20
    items.append(Rule(MARGIN, y, WIDTH - MARGIN, y, "#d9dce0", 2))
    items += colour_key(WIDTH - MARGIN, y + 34, TYPE)
    smaller = size > 3 and size % 2 == 1
    lines = [
        "each tile has its own scale; filters are turned as they stand",
        "colours: + and − of each direction in which a kernel of three channels can read",
        f"filters whose |cosine| is above {ALIKE:g} are one family: no kernel of this size tells them apart",
        *([f"{shown} of {len(filters)} filters are drawn"] if shown < len(filters) else []),
        *(["and those of smaller odd sizes in the middle, named like sobel-x@3"] if smaller else []),
    ]
    for line in lines:
        more, y = text_block(
            wrap(line, TYPE, WIDTH - 2 * MARGIN - 14 * TYPE), MARGIN, y + (18 if line == lines[0] else 0), TYPE
        )
        items += more
    return Panel(tuple(items), WIDTH, float(round(y + 0.6 * MARGIN)))


def _heading(words: str, y: float) -> tuple[list[Item], float]:
    rule = Rule(MARGIN, y + 10, WIDTH - MARGIN, y + 10, "#d9dce0", 2)
    return [rule, Text(MARGIN, y + 48, words, HEAD, INK, bold=True)], y + 62


def _colours(y: float) -> tuple[list[Item], float]:
    """Each direction in colour: what it reads as positive, what as negative, and its name."""
    items, y = _heading("colours", y)
    directions = colour_directions()
    pitch = (WIDTH - 2 * MARGIN) / ACROSS
    side = SWATCH + 2 * EDGE
    for at, one in enumerate(directions):
        down, right = divmod(at, ACROSS)
        x, top = round(MARGIN + right * pitch), round(y + down * (side + GAP))
        weights = np.array(one.weights)[:, None, None]
        items += [stamp(weights, x, top, SWATCH), stamp(-weights, x + side + 4, top, SWATCH)]
        items.append(Text(x + 2 * side + 16, top + side / 2, one.name, TYPE, INK, middle=True))
    return items, y + ((len(directions) - 1) // ACROSS + 1) * (side + GAP)


def _labels(filters: list[Filter]) -> tuple[str, str]:
    """The first name of a row, and how the others are written: so that each can be typed."""
    names = [one.name for one in filters]
    if len(names) == 1:
        return names[0], ""
    if len(names) > len(QUARTERS) or filters[0].stem.startswith("gabor"):
        return names[0], f"… {names[-1]}"
    stem = filters[0].stem
    return names[0], ", ".join(name.removeprefix(stem) for name in names[1:])


def _row(filters: list[Filter], y: float) -> tuple[list[Item], float]:
    """The names on the left, then the filters, as many lines of them as they take, then what it is for."""
    size = len(filters[0].values)
    zoom = max(1, int(ROOM // size))
    tile = size * zoom + 2 * EDGE
    first, others = _labels(filters)
    middle = y + tile / 2 - (0.55 * TYPE if others else 0)
    items: list[Item] = [Text(MARGIN, middle, first, TYPE, INK, bold=True, middle=True)]
    if others:
        items.append(Text(MARGIN, middle + 1.15 * TYPE, others, TYPE, middle=True))
    left = MARGIN + NAMES
    across = max(1, int((WIDTH - MARGIN - left + GAP) // (tile + GAP)))
    for at, one in enumerate(filters):
        down, right = divmod(at, across)
        items.append(stamp(one.values, round(left + right * (tile + GAP)), round(y + down * (tile + GAP)), zoom))
    below = y + max(((len(filters) - 1) // across + 1) * (tile + GAP), 2.7 * TYPE if others else 0)
    about = _DIRECTION.sub("", filters[0].about)
    x = left + min(len(filters), across) * (tile + GAP) + 12
    if filters[0].family != filters[0].stem:
        about += f" (family {filters[0].family})"
    if x + text_width(about, TYPE) <= WIDTH - MARGIN:
        items.append(Text(x, y + tile / 2, about, TYPE, middle=True))
    return items, below

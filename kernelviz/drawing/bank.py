"""The bank of classical filters in one picture: a row a filter, turned into every direction, with what it is for."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from kernelviz.drawing.page import INK, Item, Panel, Rule, Text, text_block, text_width, wrap
from kernelviz.drawing.stamps import EDGE, colour_key, stamp
from kernelviz.filters import ALIKE, Filter, classical_filters

if TYPE_CHECKING:
    from kernelviz.drawing.figures import PageFigure

WIDTH, MARGIN = 1600.0, 52.0
TITLE, HEAD, TYPE = 40.0, 30.0, 25.0
ROOM, GAP, NAMES = 58.0, 10.0, 300.0
_DIRECTION = re.compile(r" that (run|rise|fall)[^,]*")
TALLEST = 2330.0
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
    """The page: kinds as headings, a row a stem."""
    filters = [one for one in classical_filters(size) if "@" not in one.name]
    items, y = text_block([f"Classical filters of {size} × {size}"], MARGIN, 0.7 * MARGIN, TITLE, colour=INK, bold=True)
    kind = told = ""
    shown = 0
    for stem in dict.fromkeys(one.stem for one in filters):
        if y > TALLEST:
            break
        rows = [one for one in filters if one.stem == stem]
        if rows[0].kind != kind:
            kind = rows[0].kind
            y += 10
            items += [Rule(MARGIN, y, WIDTH - MARGIN, y, "#d9dce0", 2),
                      Text(MARGIN, y + 38, KINDS.get(kind, f"{kind}s"), HEAD, INK, bold=True)]  # fmt: skip
            y += 52
        shown += len(rows)
        more, y = _row(stem, rows, y)
        items += [item for item in more if not (isinstance(item, Text) and item.text == told)]
        told = more[-1].text if isinstance(more[-1], Text) else ""
    y += 20
    items.append(Rule(MARGIN, y, WIDTH - MARGIN, y, "#d9dce0", 2))
    items += colour_key(WIDTH - MARGIN, y + 34, TYPE)
    smaller = size > 3 and size % 2 == 1
    lines = [
        "each tile has its own scale; filters are turned as they stand",
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


def _row(stem: str, filters: list[Filter], y: float) -> tuple[list[Item], float]:
    """The stem on the left, then its filters, as many lines of them as they take, then what it is for."""
    size = len(filters[0].values)
    zoom = max(1, int(ROOM // size))
    tile = size * zoom + 2 * EDGE
    items: list[Item] = [Text(MARGIN, y + tile / 2, stem, TYPE, INK, bold=True, middle=True)]
    left = MARGIN + NAMES
    across = max(1, int((WIDTH - MARGIN - left + GAP) // (tile + GAP)))
    for at, one in enumerate(filters):
        down, right = divmod(at, across)
        items.append(stamp(one.values, round(left + right * (tile + GAP)), round(y + down * (tile + GAP)), zoom))
    below = y + ((len(filters) - 1) // across + 1) * (tile + GAP)
    about = _DIRECTION.sub("", filters[0].about)
    x = left + min(len(filters), across) * (tile + GAP) + 12
    if filters[0].family != filters[0].stem:
        about += f" (family {filters[0].family})"
    if x + text_width(about, TYPE) <= WIDTH - MARGIN:
        items.append(Text(x, y + tile / 2, about, TYPE, middle=True))
    return items, below

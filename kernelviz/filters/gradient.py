"""The strength and the direction of edges, of two filters of one kind across each other: numbers and page."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kernelviz.drawing.captions import outside_text
from kernelviz.drawing.colour import INKS, PAPER
from kernelviz.drawing.looks import find_look
from kernelviz.drawing.page import INK, BarStyle, Item, Panel, Strokes, colour_bar, text_block
from kernelviz.errors import UsageError
from kernelviz.filters.bank import check_size
from kernelviz.filters.filter_pages import (
    EDGE,
    NAME,
    QUANTILE,
    TYPE,
    Further,
    filter_page,
    filter_recipe,
    framed,
    prose,
)
from kernelviz.filters.filtering import Response, apply_filter
from kernelviz.notebook import record_repr
from kernelviz.wording import number_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kernelviz.drawing.figures import PageFigure
    from kernelviz.drawing.looks import LookName
    from kernelviz.filters.filtering import Border
    from kernelviz.records import Array


GRADIENTS = ("sobel", "scharr", "prewitt")
"""The filters that have one form for edges that run up and down, and one for edges that run across."""
DARKEST = np.array([0x1A, 0x1A, 0x1A])
ARROWS = 26.0  # units of type from one arrow to the next
SMALLEST_EDGE = 0.25  # of full colour: weaker edges have no arrow
APART = 0.8  # of that, at least
UNDER_ARROWS = 0.35  # of the darkness of the strength


@dataclass(frozen=True)
class Gradient:
    """The edges of an image by ``across`` and ``down``, the responses of a filter such as sobel-x and sobel-y.

    ``strength`` (H, W) is √(across² + down²). ``direction`` (H, W) is where the image becomes brighter, in degrees from
    −180 to 180 as ``arctan2(down, across)`` returns them: 0 to the right, 90 down, since rows count downwards. It is 0
    where the strength is 0.

    Example:
        >>> image = np.zeros((4, 6))
        >>> image[:, 3:] = 1  # dark on the left, bright on the right
        >>> edges = kernelviz.apply_gradient(image.T, "prewitt")
        >>> edges.strength[:, 0]
        array([0., 0., 3., 3., 0., 0.])
        >>> float(edges.direction[2, 0])  # brighter downwards
        90.0
    """

    name: str
    across: Response
    down: Response
    strength: Array
    direction: Array

    __repr__ = record_repr


def gradient_name(kernels: Sequence[object], size: int = 3) -> tuple[str, int] | None:
    """``sobel``, ``scharr`` or ``prewitt`` with its size (``sobel@5``), if that is the only kernel; else None."""
    name = kernels[0] if len(kernels) == 1 else None
    stem, at, own = name.strip().partition("@") if isinstance(name, str) else ("", "", "")
    if stem not in GRADIENTS or (at and not (own.isdecimal() and len(own) < 10)):
        return None
    return stem, int(own) if at else size


def apply_gradient(image: object, name: str = "sobel", size: int = 3, *, border: Border = "repeat") -> Gradient:
    """The strength and the direction of the edges of an image, by ``sobel``, ``scharr`` or ``prewitt``.

    ``name`` is one of these, ``size`` the side of its filters; ``image`` and ``border`` are as in ``apply_filter``.

    Raises:
        UsageError: there is no such pair of filters of this size, or ``apply_filter`` rejects the image or the border.

    Example:
        >>> image = np.zeros((4, 6))
        >>> image[:, 3:] = 1  # dark on the left, bright on the right
        >>> edges = kernelviz.apply_gradient(image, "sobel")
        >>> edges.strength[0]
        array([0., 0., 4., 4., 0., 0.])
        >>> float(edges.direction[0, 2])  # brighter to the right
        0.0
    """
    if name not in GRADIENTS:
        raise UsageError(f"The strength of edges is that of {', '.join(GRADIENTS)}, but got {name!r}.")
    from kernelviz.filters.bank import find_filter

    across, down = (
        apply_filter(image, find_filter(f"{name}-{axis}", check_size(size)), border=border) for axis in ("x", "y")
    )
    # sobel-x is positive where it becomes brighter to the right, sobel-y where it becomes brighter downwards
    strength = np.hypot(across.values, down.values)
    direction = np.degrees(np.arctan2(down.values, across.values))
    return Gradient(name, across, down, strength, np.where(strength > 0, direction, 0.0))


def plot_gradient(gradient: Gradient, *, title: str = "", look: LookName = "page", caption: bool = True) -> PageFigure:
    """Draw an image, both responses, the strength of the edges, and their directions as arrows.

    ``gradient`` is of ``apply_gradient``. ``title`` replaces the title of the page.
    ``look`` is ``page``, ``slide``, ``dark`` or ``print``; ``caption=False`` leaves out identity and caption.

    Example:
        >>> image = kernelviz.read_image("sample:grace_hopper")
        >>> figure = kernelviz.plot_gradient(kernelviz.apply_gradient(image.pixels[::4, ::4]))
    """
    from kernelviz.drawing.figures import draw_page

    responses = (gradient.across, gradient.down)
    recipe = {**filter_recipe(responses), "view": [gradient.name, *(each.name for each in responses)]}
    return draw_page(gradient_page(gradient, title), recipe, find_look(look, caption=caption))


def gradient_page(gradient: Gradient, title: str = "") -> Panel:
    """The page of both responses, with strength and direction below them."""
    limit = limit_of(gradient.strength)
    beyond = int(np.count_nonzero(gradient.strength > limit))

    def more(part: tuple[slice, slice], zoom: int, unit: float, width: float) -> Further:
        strength = gradient.strength[part]
        shares = np.clip(strength / limit, 0, 1)
        picture = framed(_darkened(shares), 0, 0, zoom)
        x, y = gradient.across.name, gradient.down.name
        first = _head("strength", f"√({x}² + {y}²): how much the brightness changes, in any direction", unit, width)
        bar, below = _bar(gradient.strength, limit, picture.height + 12 * unit, picture.width, unit)
        pale = framed(_darkened(UNDER_ARROWS * shares), 0, 0, zoom)
        second = _head("direction", "arctan2: arrows point towards brighter pixels, across the edge", unit, width)
        arrows = _arrows(shares, gradient.direction[part], zoom, unit)
        panels = [
            (first, Panel((picture, *bar), max(picture.width, width), below)),
            (second, Panel((pale, *arrows), max(picture.width, width), picture.height)),
        ]
        note = f"arrows: at the strongest pixel of each cell, if it has at least {SMALLEST_EDGE:.0%} of full strength"
        clipped = [f"strength: {outside_text(beyond, gradient.strength.size)}"] if beyond else []
        return Further(panels, [note.replace("%", " %")], clipped)

    return filter_page((gradient.across, gradient.down), title or "Strength and direction of edges", more)


def limit_of(strength: Array) -> float:
    """The strength of full colour: the 99 % quantile, or the largest."""
    return float(np.quantile(strength, QUANTILE)) or float(strength.max()) or 1.0


def _darkened(shares: Array) -> Array:
    """White where there is no edge, nearly black at full strength; uint8 (h, w, 3)."""
    paper = np.array(INKS[PAPER], float)
    return np.asarray(np.rint(paper + (DARKEST - paper) * shares[..., None]), np.uint8)


def _head(name: str, about: str, unit: float, width: float) -> Panel:
    items, y = text_block([name], 0, 0, NAME * unit, colour=INK, bold=True)
    more, y = text_block(prose(about, TYPE * unit, width), 0, y + 4 * unit, TYPE * unit)
    return Panel((*items, *more), width, y + 24 * unit)


def _bar(strength: Array, limit: float, y: float, width: float, unit: float) -> tuple[list[Item], float]:
    size = TYPE * unit
    above = "≥ " if (strength > limit).any() else ""
    strip = _darkened(np.linspace(0, 1, max(2, int(width)))[None])
    style = BarStyle(14 * unit, size, 10 * unit + 0.8 * size, clear=size, tick=6 * unit, line=unit, end_ticks=False)
    items, foot = colour_bar([strip], ("0", f"{above}{number_text(limit)}"), style, top=y, right=width)
    return items, foot + 0.4 * size


def _arrows(shares: Array, direction: Array, zoom: int, unit: float) -> list[Item]:
    """An arrow for each cell of the picture, at its strongest pixel, as long as that is strong.

    All are inside the frame, and of two that would meet the weaker one is left out.
    """
    step = max(1, round(ARROWS * unit / zoom))
    found: list[tuple[float, int, int]] = []  # strength, row and column of each
    for top in range(0, shares.shape[0], step):
        for left in range(0, shares.shape[1], step):
            cell = shares[top : top + step, left : left + step]
            strongest = np.unravel_index(int(cell.argmax()), cell.shape)
            if cell[strongest] >= SMALLEST_EDGE:
                found.append((float(cell[strongest]), top + int(strongest[0]), left + int(strongest[1])))
    lines: list[tuple[float, float, float, float]] = []
    taken: list[tuple[float, float]] = []
    high, wide = (EDGE + side * zoom for side in shares.shape)
    for share, row, column in sorted(found, key=lambda one: (-one[0], one[1:])):
        angle = np.radians(direction[row, column])
        length = 0.5 * step * zoom * (0.5 + 0.5 * share)
        half_wide, half_high = abs(length * np.cos(angle)), abs(length * np.sin(angle))
        x = float(np.clip(EDGE + (column + 0.5) * zoom, EDGE + half_wide, max(EDGE + half_wide, wide - half_wide)))
        y = float(np.clip(EDGE + (row + 0.5) * zoom, EDGE + half_high, max(EDGE + half_high, high - half_high)))
        if any(math.hypot(x - other[0], y - other[1]) < APART * step * zoom for other in taken):
            continue
        taken.append((x, y))
        tip = x + length * np.cos(angle), y + length * np.sin(angle)
        lines.append((x - length * np.cos(angle), y - length * np.sin(angle), *tip))
        head = 0.7 * length
        lines += [(*tip, tip[0] + head * np.cos(angle + turn), tip[1] + head * np.sin(angle + turn))
                  for turn in (2.6, -2.6)]  # fmt: skip
    inside = [tuple(map(float, line)) for line in lines]
    return [Strokes(tuple(inside), INK, max(1.2, 2 * unit))] if inside else []  # type: ignore[arg-type]

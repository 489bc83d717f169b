"""The kernels of many layers that resemble one filter or family most: numbers and page."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from kernelviz.drawing.looks import find_look
from kernelviz.drawing.number_tiles import CELL, ROUNDED, exponent_of, exponent_text, numbered_tile
from kernelviz.drawing.page import (
    GREY,
    INK,
    LINE_HEIGHT,
    PAGE_WIDTH,
    QUIET,
    SEPARATOR,
    TITLE,
    Body,
    Item,
    PageParts,
    Panel,
    Raster,
    Rule,
    Text,
    drawable,
    moved,
    right_end,
    text_block,
    text_width,
    whole_body,
    wrap,
)
from kernelviz.drawing.worksheets import page_tint
from kernelviz.errors import UsageError
from kernelviz.filters.bank import KINDS, classical_filters, find_filters, unit_rows
from kernelviz.filters.filter_pages import MARGIN, TYPE
from kernelviz.filters.matching import chance_of, main_patterns
from kernelviz.notebook import record_repr
from kernelviz.version import __version__
from kernelviz.wording import PART, aligned, counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from kernelviz.drawing.figures import PageFigure
    from kernelviz.drawing.looks import LookName
    from kernelviz.drawing.page import Box
    from kernelviz.filters.bank import Filter
    from kernelviz.records import Array, KernelBank, Source


@dataclass(frozen=True)
class Likeness:
    """One kernel beside the filter of a family that it resembles most.

    ``pattern`` (n, n) are the compared values, of the ``plane`` that ``match_kernels`` compares: an input channel, ``sum``
    or ``strongest``. ``score`` is the |cosine|, ``factor`` the scale of the filter; ``chance`` is the share of random
    kernels that come as close to any filter of their size.

    Example:
        >>> sobel, laplacian = [[1, 0, -1], [2, 0, -2], [1, 0, -1]], [[0, 1, 0], [1, -4, 1], [0, 1, 0]]
        >>> kernels = np.array([[sobel], [laplacian]])
        >>> row = kernelviz.most_alike([kernelviz.KernelBank(kernels)], "sobel").rows[0]
        >>> row.kernel, row.filter.name, round(row.score, 3), row.pattern.shape
        (0, 'sobel-x', 1.0, (3, 3))
    """

    layer: str
    kernel: int
    plane: int | str
    pattern: Array
    filter: Filter
    score: float
    factor: float
    chance: float

    __repr__ = record_repr


@dataclass(frozen=True)
class Likenesses:
    """The kernels of some layers that are most like ``like``, the most similar first.

    ``total`` is the number of compared kernels in ``layers``; those that are zero or not finite are among them.

    Example:
        >>> sobel, laplacian = [[1, 0, -1], [2, 0, -2], [1, 0, -1]], [[0, 1, 0], [1, -4, 1], [0, 1, 0]]
        >>> kernels = np.array([[sobel], [laplacian]])
        >>> found = kernelviz.most_alike([kernelviz.KernelBank(kernels)], "laplacian")
        >>> [(row.kernel, round(row.score, 3)) for row in found.rows]
        [(1, 0.949), (0, 0.0)]
    """

    like: str
    rows: tuple[Likeness, ...]
    layers: tuple[str, ...]
    total: int
    source: Source | None = None

    __repr__ = record_repr


def filters_like(word: str, size: int) -> tuple[Filter, ...]:
    """The filters of (size, size) that a word means, those of smaller sizes and at other positions among them.

    Empty if there are none of this size. A word is a kind (``edge``), a filter in all orientations (``sobel``), or a name.
    """
    every = classical_filters(size, everywhere=True)
    kind = [one for one in every if word in (one.kind, one.kind.replace(" ", "-"))]
    kind = [one for one in kind if word == "gabor" or not one.stem.startswith("gabor")]
    if word in KINDS:
        return tuple(kind)
    found = [one for one in every if word in (one.name, one.name.partition("@")[0])]
    found = found or [one for one in every if one.stem.partition("@")[0] == word]
    return tuple(found or kind)


def check_like(word: str) -> None:
    """Check that some size has filters of this name.

    Raises:
        UsageError: neither 3 × 3 nor 5 × 5 has; the message has the nearest names.
    """
    if not any(filters_like(word, size) for size in (3, 5, 2, 7)):
        find_filters(word)  # raises, with the nearest names
        raise UsageError(f"There is no filter '{word}'.")


def most_alike(banks: Iterable[KernelBank], like: str, top: int = 12) -> Likenesses:
    """The kernels that resemble a filter or a family most, over scale, sign and orientation.

    Args:
        banks: The kernels of each layer, as ``read_kernels`` returns them; those without filters of their size are skipped.
        like: A kind of filter (``edge``), a filter in all orientations (``sobel``), or a name (``laplacian``).
        top: How many.

    Raises:
        UsageError: there is no such filter, or no layer has kernels of a size that has it.

    Example:
        >>> bank = kernelviz.read_kernels(torch.nn.Conv2d(3, 16, 3), "Conv2d")
        >>> found = kernelviz.most_alike([bank], "edge", top=4)
        >>> len(found.rows), found.total
        (4, 16)
    """
    check_like(like)
    if top < 1:
        raise UsageError(f"The number of kernels must be at least 1, but got {top}.")
    found: list[Likeness] = []
    layers: list[str] = []
    total, source = 0, None
    for number, bank in enumerate(banks):
        sides = bank.weight.shape[2:]
        filters = filters_like(like, sides[0]) if len(sides) == 2 and sides[0] == sides[1] else ()
        if not filters:
            continue
        name = bank.layer.name if bank.layer else f"layer {number}"
        layers.append(name)
        total, source = total + len(bank.weight), bank.source
        found = sorted([*found, *_of_layer(bank, name, filters)], key=lambda row: -row.score)[:top]
    if not layers:
        raise UsageError(f"None of these layers has kernels of a size for which there is '{like}'.")
    return Likenesses(like, tuple(found), tuple(layers), total, source)


def _of_layer(bank: KernelBank, name: str, filters: Sequence[Filter]) -> list[Likeness]:
    plane, patterns, usable = main_patterns(bank)
    templates = np.stack([one.values for one in filters])
    units, rows = unit_rows(np.where(usable[:, None, None], patterns, 0)), unit_rows(templates)
    cosines = units @ rows.T
    best = np.abs(cosines).argmax(axis=1)
    signed = cosines[np.arange(len(units)), best]
    chances = chance_of(patterns.shape[-1], np.abs(signed))
    found = []
    for kernel in np.flatnonzero(usable).tolist():
        one, score = filters[best[kernel]], min(1.0, abs(float(signed[kernel])))
        length = float(np.linalg.norm(patterns[kernel])) / float(np.linalg.norm(one.values))
        factor = float(signed[kernel]) * length
        found.append(Likeness(name, kernel, plane, patterns[kernel], one, score, factor, float(chances[kernel])))
    return found


def likeness_entry(row: Likeness) -> dict[str, Any]:
    """One kernel as JSON, with its numbers and those of the scaled filter."""
    return {
        "layer": row.layer,
        "kernel": row.kernel,
        "plane": row.plane,
        "name": row.filter.name,
        "score": row.score,
        "factor": row.factor,
        "chance": row.chance,
        "values": row.pattern.tolist(),
        "filter": (row.factor * row.filter.values).tolist(),
    }


def likeness_table(rows: Sequence[Likeness]) -> str:
    """Aligned text, one line per kernel."""
    cells = [
        (row.layer, str(row.kernel), str(row.plane), row.filter.name, f"{row.score:.3f}",
         f"{row.chance:.4f}" if row.chance >= 1e-4 else "<0.0001")
        for row in rows
    ]  # fmt: skip
    return aligned(("layer", "kernel", "plane", "filter", "score", "chance"), cells, {"kernel", "score", "chance"})


def plot_likenesses(found: Likenesses, *, look: LookName = "page", caption: bool = True) -> PageFigure:
    """Draw the kernels large, with their numbers, each beside the scaled filter that it resembles.

    ``look`` is ``page``, ``slide``, ``dark`` or ``print``; ``caption=False`` leaves out identity and caption.

    Example:
        >>> sobel, laplacian = [[1, 0, -1], [2, 0, -2], [1, 0, -1]], [[0, 1, 0], [1, -4, 1], [0, 1, 0]]
        >>> kernels = np.array([[sobel], [laplacian]])
        >>> found = kernelviz.most_alike([kernelviz.KernelBank(kernels)], "sobel")
        >>> figure = kernelviz.plot_likenesses(found)
    """
    from kernelviz.drawing.figures import draw_page

    recipe = {
        "kernelviz": __version__,
        "command": "match",
        "model": found.source.as_recipe() if found.source else None,
        "layer": None,
        "view": f"like-{found.like}",
        "image": None,
        "layers": list(found.layers),
        "kernels": [[row.layer, row.kernel] for row in found.rows],
    }
    return draw_page(likeness_page(found), recipe, find_look(look, caption=caption))


SIDE = 216.0  # of a kernel, at least
SIGN, BETWEEN = 40.0, 44.0  # of ≈, and between pairs
FOOT = 2.6 * TYPE + 30  # below a pair
SMALLEST_SIDE = 120.0
TALLEST = 2500.0


def likeness_page(found: Likenesses) -> Panel:
    """The page, with as many kernels as fit in four megapixels."""
    inner = PAGE_WIDTH - 2 * MARGIN
    title = f"The kernels most similar to {found.like}{' filters' if found.like in KINDS else ''}"
    items, y = text_block(wrap(title, TITLE, inner, bold=True), MARGIN, 0.7 * MARGIN, TITLE, colour=INK, bold=True)
    compared = f"{counted(found.total, 'kernel')} of {counted(len(found.layers), 'layer')} compared"
    identity = PART.join([*([found.source.short_label] if found.source else []), compared])
    more, y = text_block(wrap(drawable(identity), TYPE, inner), MARGIN, y + 2, TYPE)
    items += more
    y += 26
    body, end, shown = _grid(found.rows, _across(found.rows), y, TALLEST)
    items += body
    box = (MARGIN, y, PAGE_WIDTH - MARGIN, end)
    y = end
    items.append(Rule(MARGIN, y, PAGE_WIDTH - MARGIN, y, SEPARATOR, 2))
    lines = [
        "kernel ≈ filter × factor; score: |cosine|, regardless of scale, sign and orientation; one colour scale per pair"
    ]
    planes = {row.plane for row in found.rows}
    if "sum" in planes:
        lines.append("sum: the kernel summed over its input channels")
    if "strongest" in planes:
        lines.append("strongest: its pattern in its strongest colour direction")
    notices = [f"{shown} of {len(found.rows)} kernels are drawn"] if shown < len(found.rows) else []
    lines += notices
    lines.append(f"numbers are {ROUNDED}")
    for line in lines:
        more, y = text_block(wrap(line, TYPE, inner), MARGIN, y + (16 if line == lines[0] else 0), TYPE)
        items += more
    whole = partial(
        whole_body, title, body, box, source=found.source.short_label if found.source else "", identity=compared,
        lines=lines, notices=notices, size=TITLE,
    )  # fmt: skip

    def parts() -> PageParts:
        fewer = (partial(_fewer, found, kept=kept) for kept in range(shown, 0, -1))
        return replace(whole(), versions=tuple(fewer))

    return Panel(tuple(items), PAGE_WIDTH, float(round(y + 0.5 * MARGIN)), parts)


def _across(rows: Sequence[Likeness]) -> int:
    """How many pairs are beside each other on a page."""
    largest = max((len(row.pattern) for row in rows), default=3)
    return 3 if largest <= 3 else 2 if largest <= 5 else 1


def _fewer(found: Likenesses, box: Box, kept: int) -> Body:
    """The first so many pairs, arranged such that their letters become as large as possible in a box."""
    tall = box.height * TYPE / (1.02 * box.smallest)  # of the box, if the letters are just legible
    bodies = []
    for across in range(1, min(kept, _across(found.rows)) + 1):
        items, end, _ = _grid(found.rows[:kept], across, 0.0, math.inf, tall)
        right = max(right_end(items), *(item.left + item.width for item in items if isinstance(item, Raster)))
        bodies.append(Panel(moved(Panel(tuple(items), 0, 0), -MARGIN, 0), right - MARGIN, end))
    best = max(bodies, key=lambda body: min(box.width / body.width, box.height / body.height))
    notices = (f"{kept} of {len(found.rows)} kernels",) if kept < len(found.rows) else ()
    return Body(best, notices, facts={"shown": kept, "total": len(found.rows)})


def _grid(
    rows: Sequence[Likeness], across: int, y: float, bottom: float, tall: float = math.inf
) -> tuple[list[Item], float, int]:
    """Pairs from the top ``y`` on, as many as end above ``bottom``, the y below them, and their number.

    No pair with its texts is higher than ``tall``.
    """
    items: list[Item] = []
    pitch = (PAGE_WIDTH - 2 * MARGIN + BETWEEN) / _across(rows)
    width, shown = pitch - BETWEEN, 0
    for start in range(0, len(rows), across):
        shelf = rows[start : start + across]
        names = [wrap(drawable(f"{row.layer}: {row.kernel}", bold=True), TYPE, width, bold=True) for row in shelf]
        above = max(map(len, names)) * LINE_HEIGHT * TYPE + 8
        most = max(SMALLEST_SIDE, tall - above - FOOT)
        height = above + max(_side(row, width, most) for row in shelf) + FOOT
        if y + height > bottom and shown:
            break
        for at, (row, name) in enumerate(zip(shelf, names, strict=True)):
            x = round(MARGIN + at * pitch)
            label, _ = text_block(name, x, y + above - 8 - len(name) * LINE_HEIGHT * TYPE, TYPE, colour=INK, bold=True)
            items += [*label, *_pair(row, x, round(y + above), _side(row, width, most))]
        shown += len(shelf)
        y = float(round(y + height))
    return items, y, shown


def _side(row: Likeness, width: float, most: float) -> float:
    """The side of a kernel: so large that its numbers can be read, if there is room."""
    return min(max(SIDE, CELL * len(row.pattern)), (width - SIGN) / 2, most)


def _pair(row: Likeness, x: float, y: float, side: float) -> list[Item]:
    """The kernel, ≈, the filter; name and score below."""
    near = row.factor * row.filter.values
    tint, exponent = page_tint(row.pattern, near), exponent_of(row.pattern, near)
    items: list[Item] = list(moved(numbered_tile(row.pattern, side, tint, exponent), x, y))
    items.append(Text(x + side + SIGN / 2, y + side / 2, "≈", 34, QUIET, align="center", middle=True))
    items += moved(numbered_tile(near, side, tint, exponent), x + side + SIGN, y)
    foot = y + side + 1.3 * TYPE
    score = f"{row.score:.3f}"
    items.append(Text(x, foot, score, TYPE, INK, bold=True))
    beside = [row.plane if isinstance(row.plane, str) else "", exponent_text(exponent)]
    note = "  ".join(filter(None, beside))
    items.append(Text(x + text_width(score, TYPE, bold=True) + 14, foot, note, TYPE, GREY))
    taken = text_width(score, TYPE, bold=True) + text_width(note, TYPE) + 28
    name = row.filter.name
    if taken + text_width(name, TYPE) > 2 * side + SIGN:
        foot += 1.2 * TYPE
    items.append(Text(x + 2 * side + SIGN, foot, name, TYPE, INK, align="right"))
    return items

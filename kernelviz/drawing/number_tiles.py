"""Kernels as cells with their numbers, large enough to read."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from kernelviz.drawing.captions import layer_text
from kernelviz.drawing.looks import LOOKS, Look, find_look
from kernelviz.drawing.page import (
    GREY,
    INK,
    MARGIN,
    PAGE_WIDTH,
    SEPARATOR,
    Body,
    Box,
    Item,
    PageParts,
    Panel,
    Rule,
    Text,
    caption_block,
    heading,
    moved,
    text_width,
    whole_body,
)
from kernelviz.drawing.sheets import kernel_facts, make_sheet
from kernelviz.drawing.worksheets import Cells, DigitRule, cells_panel, digit_size, page_tint
from kernelviz.errors import UsageError
from kernelviz.records import as_bank
from kernelviz.wording import PART, counted, sentence

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kernelviz.drawing.figures import PageFigure
    from kernelviz.drawing.looks import LookName
    from kernelviz.drawing.sheets import Sheet
    from kernelviz.drawing.worksheets import Tint
    from kernelviz.records import Array, KernelBank, Layout, Sort

TYPE = 25.0
LEGIBLE = 22.5  # digits that are nine pixels high if a page of 1,600 pixels is shown at 640
DIGITS = DigitRule(largest=25.0, tall=0.46, usual=2.6, bold=False)
CELL, SMALLEST_CELL, WIDEST_CELL = 72.0, 67.0, 92.0  # the smallest holds −.78 in legible digits
GAP, BETWEEN = 44.0, 14.0  # between kernels, and between the planes of one
TALLEST = 2500.0
MOST_PLANES = 3
LARGEST = 19  # values across: more have no room for their numbers
PLANES = {3: ("R", "G", "B")}


def exponent_of(*values: Array) -> int:
    """The power of ten by which numbers are divided, so that two decimals of the largest say enough; 0 for most."""
    sizes = np.concatenate([np.abs(each[np.isfinite(each)]).ravel() for each in values] or [np.zeros(0)])
    largest = float(sizes.max(initial=0.0))
    if largest == 0 or 0.095 <= largest < 99.5:
        return 0
    return math.floor(math.log10(largest) + 1e-9)


ROUNDED = "rounded to two decimals, or to two significant digits if 1 or larger; --json and --arrays have all digits"


def exponent_text(exponent: int) -> str:
    """``× 10⁻³``; empty for 0."""
    if not exponent:
        return ""
    return f"× 10{str(exponent).translate(str.maketrans('-0123456789', '⁻⁰¹²³⁴⁵⁶⁷⁸⁹'))}"


def short_text(value: float) -> str:
    """Two decimals below 1, two digits above: ``−.12``, ``1.5``, ``12``; ``0.00`` for what is not quite 0."""
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "∞" if value > 0 else "−∞"
    if value == 0:
        return "0"
    size = abs(value)
    if size < 0.005:
        return "0.00"
    decimals = 2 if size < 0.995 else 1 if size < 9.95 else 0
    text = f"{size:.{decimals}f}".removeprefix("0") if size < 0.995 else f"{size:.{decimals}f}"
    return f"−{text}" if value < 0 else text


def numbered_tile(values: Array, side: float, tint: Tint, exponent: int = 0) -> Panel:
    """Values (h, w) as cells with their numbers, divided by a power of ten; without numbers if these are not legible."""
    cell = side / max(values.shape)
    scaled = values / 10.0**exponent
    texts = np.array([[short_text(float(value)) for value in row] for row in scaled], object).reshape(values.shape)
    cells = Cells(values, tint, texts=texts)
    return cells_panel(cells, cell, digit_size([cells], cell, DIGITS, LEGIBLE), DIGITS)


def plot_kernel_numbers(
    kernels: object,
    *,
    channels: str | Sequence[int] | None = None,
    top: int | None = None,
    sort: Sort | None = None,
    transposed: bool = False,
    layout: Layout | None = None,
    look: LookName = "page",
    caption: bool = True,
) -> PageFigure:
    """Draw kernels with their numbers in the cells: each plane of at most three, else the sum over the input channels.

    Args:
        kernels: A ``KernelBank``, or a weight (out_channels, in_channels / groups, height, width), tensor or array.
        channels: The kernels to draw, as in ``plot_kernels``.
        top: The first so many.
        sort: Their order, as in ``plot_kernels``.
        transposed: As in ``plot_kernels``.
        layout: As in ``plot_kernels``.
        look: ``page``, ``slide`` (1280 × 720 pixels, large type), ``dark`` or ``print``.
        caption: Whether identity and caption are drawn; without them they are only in the recipe.

    Raises:
        UsageError: The kernels have not two axes, are single numbers, or too large for numbers that can be read.

    Example:
        >>> figure = kernelviz.plot_kernel_numbers([[[[1, 0, -1], [2, 0, -2], [1, 0, -1]]]])
        >>> figure = kernelviz.plot_kernel_numbers(torch.nn.Conv2d(3, 16, 3).weight, channels="0-1")
    """
    bank = as_bank(kernels, transposed=transposed, layout=layout)
    sheet, planes = kernel_numbers(bank, channels=channels, top=top, sort=sort)
    return draw_kernel_numbers(bank, sheet, planes, find_look(look, caption=caption))


def kernel_numbers(
    bank: KernelBank, *, channels: str | Sequence[int] | None = None, top: int | None = None, sort: str | None = None
) -> tuple[Sheet, Array]:
    """The sheet of the chosen kernels summed over their inputs, and the numbers to draw, (n, planes, h, w).

    Raises:
        UsageError: as ``plot_kernel_numbers``.
    """
    sides = bank.weight.shape[2:]
    if len(sides) != 2 or set(sides) == {1}:
        what = "single numbers" if sides and set(sides) == {1} else "no rows and columns"
        raise UsageError(
            f"Numbers are drawn in kernels of rows and columns, but these are {what}.",
            hint="--arrays writes all numbers of any kernel.",
        )
    if max(sides) > LARGEST:
        raise UsageError(
            f"Numbers can be read in kernels of up to {LARGEST} × {LARGEST}, but these are {sides[0]} × {sides[1]}.",
            hint="--arrays writes all numbers of any kernel.",
        )
    depth = bank.weight.shape[1]
    wide = depth * sides[1] * SMALLEST_CELL > PAGE_WIDTH - 2 * MARGIN
    if 1 < depth <= MOST_PLANES and wide and _stacked_cell(depth, sides[0]) < SMALLEST_CELL:
        raise UsageError(
            f"The {depth} planes of kernels of {sides[0]} × {sides[1]} do not fit on a page with numbers that can be read.",
            hint="--arrays writes all numbers of any kernel.",
        )
    sheet = make_sheet(bank, view="sum", channels=channels, top=top, sort=sort)
    if 1 <= bank.weight.shape[1] <= MOST_PLANES:
        return sheet, bank.weight[list(sheet.tiles.numbers)]
    return sheet, sheet.tiles.values[:, None]


def draw_kernel_numbers(bank: KernelBank, sheet: Sheet, planes: Array, look: Look = LOOKS["page"]) -> PageFigure:
    """The page of what ``kernel_numbers`` returns."""
    from kernelviz.drawing.figures import draw_page

    page, shown = kernel_numbers_page(bank, sheet, planes)
    numbers = list(sheet.tiles.numbers[:shown])
    recipe: dict[str, Any] = {
        **kernel_facts(bank),
        "view": "numbers",
        "image": None,
        "channels": numbers,
        "shown": shown,
    }
    return draw_page(page, recipe, look)


def kernel_numbers_page(bank: KernelBank, sheet: Sheet, planes: Array) -> tuple[Panel, int]:
    """The page, and how many kernels fit on it."""
    count, depth, rows, columns = planes.shape
    inner = PAGE_WIDTH - 2 * MARGIN
    flat = depth * columns * SMALLEST_CELL + (depth - 1) * BETWEEN
    stacked = flat > inner  # planes below each other
    least, beside = (columns * SMALLEST_CELL, 0.0) if stacked else (flat, (depth - 1) * BETWEEN)
    across = max(1, min(count, int((inner + GAP) // (least + GAP))))
    cells = columns if stacked else depth * columns
    cell = min(WIDEST_CELL, ((inner + GAP) / across - GAP - beside) / cells)
    if stacked:
        cell = min(cell, _stacked_cell(depth, rows))
    wide = cells * cell + beside
    tall = depth * rows * cell + (depth - 1) * BETWEEN if stacked else rows * cell
    label = 1.5 * TYPE
    name = bank.layer.name if bank.layer else ""
    title = f"Kernels of {name}, as numbers" if name else "Kernels, as numbers"
    facts = layer_text(bank.layer) if bank.layer else f"{counted(len(bank.weight), 'kernel')} of {rows} × {columns}"
    identity = PART.join([*([bank.source.short_label] if bank.source else []), facts])
    items, y = heading(title, identity, (MARGIN, 0.75 * MARGIN), inner, 1.0)
    y = float(round(y + 20))
    start, before = y, len(items)
    scale = page_tint(planes), exponent_of(planes)
    shown = 0
    while shown < count and (not shown or y + label + tall + GAP < TALLEST):
        for at in range(min(across, count - shown)):
            x = round(MARGIN + at * (wide + GAP))
            panel = _kernel(planes[shown + at], sheet.tiles.numbers[shown + at], cell, scale, stacked=stacked)
            items += moved(panel, x, y)
        shown += min(across, count - shown)
        y = float(round(y + label + tall + 0.7 * GAP))
    body = items[before:], (MARGIN, start, PAGE_WIDTH - MARGIN, y)
    items.append(Rule(MARGIN, y, PAGE_WIDTH - MARGIN, y, SEPARATOR, 2))
    lines = _caption(bank, sheet, planes, shown, scale[1])
    more, y = caption_block(lines, (MARGIN, y + 10), inner, 1.0)
    whole = partial(
        whole_body, title, *body, source=bank.source.short_label if bank.source else "", identity=facts, lines=lines,
        notices=lines[-1:] if shown < sheet.tiles.total else (),
    )  # fmt: skip

    def fewer(_: Box, kept: int) -> Body:
        page = kernel_numbers_page(bank, sheet, planes[:kept])[0]
        held = page.parts() if page.parts else whole()
        return Body(held.body, held.notices, facts={"shown": kept})

    def parts() -> PageParts:
        return replace(whole(), versions=tuple(partial(fewer, kept=kept) for kept in range(shown, 0, -1)))

    return Panel((*items, *more), PAGE_WIDTH, float(round(y + 0.6 * MARGIN)), parts), shown


def _stacked_cell(depth: int, rows: int) -> float:
    """The largest cell with which planes below each other fit on a page."""
    return (TALLEST - 230 - (depth - 1) * BETWEEN) / (depth * rows)


def _kernel(planes: Array, number: int, cell: float, scale: tuple[Tint, int], *, stacked: bool) -> Panel:
    """One kernel under its number, its planes beside or below each other."""
    items: list[Item] = [Text(0, TYPE, str(number), TYPE, INK, bold=True)]
    names = PLANES.get(len(planes), ()) if len(planes) > 1 else ()
    left, top = 0.0, float(round(1.5 * TYPE))
    if names and stacked:
        items.append(Text(text_width(str(number), TYPE, bold=True) + 14, TYPE, ", ".join(names), TYPE, GREY))
    for at, plane in enumerate(planes):
        wide, tall = plane.shape[1] * cell, plane.shape[0] * cell
        items += moved(numbered_tile(plane, cell * max(plane.shape), *scale), left, top)
        if names and not stacked:
            items.append(Text(left + wide, TYPE, names[at], TYPE, GREY, align="right"))
        left, top = (left, top + tall + BETWEEN) if stacked else (left + wide + BETWEEN, top)
    return Panel(tuple(items), left, top)


def _caption(bank: KernelBank, sheet: Sheet, planes: Array, shown: int, exponent: int) -> list[str]:
    what = "each tile is a kernel"
    if bank.weight.shape[1] > MOST_PLANES:
        what = f"each tile is a kernel, summed over its {bank.weight.shape[1]:,} input channels"
    elif len(planes) and bank.are_colours:
        what = "the three tiles of a kernel are its red, green and blue plane"
    elif planes.shape[1] > 1:
        what = f"the {planes.shape[1]} tiles of a kernel are its planes, one for each input channel"
        what += " of its group" if bank.groups > 1 else ""
    lines = [f"{sentence(what)}; one logarithmic colour scale for all, red positive, blue negative"]
    unit = f"in units of {exponent_text(exponent).removeprefix('× ')}, " if exponent else ""
    lines.append(f"The numbers are {unit}{ROUNDED}")
    if shown < sheet.tiles.total:
        lines.append(f"{shown:,} of {sheet.tiles.total:,} kernels are drawn")
    return lines


def number_lines(numbers: Sequence[int], planes: Array) -> list[str]:
    """The numbers for a terminal, a block for each kernel, in four significant digits; planes beside each other."""
    lines: list[str] = []
    for number, kernel in zip(numbers, planes, strict=True):
        texts = [
            [[f"{float(value) + 0.0:.4g}".replace("-", "−") for value in row] for row in plane] for plane in kernel
        ]
        width = max(len(text) for plane in texts for row in plane for text in row)
        rows = zip(*([" ".join(text.rjust(width) for text in row) for row in plane] for plane in texts), strict=True)
        lines += [f"kernel {number}", *(f"  {'  |  '.join(row)}" for row in rows)]
    return lines

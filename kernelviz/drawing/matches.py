"""What the kernels of a layer resemble: groups on shelves, each kernel beside its filter, the counts on top."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from kernelviz.chances import LEAST, LEVEL
from kernelviz.drawing.captions import layer_text
from kernelviz.drawing.match_groups import (
    CONTENT,
    HEAD,
    MARGIN,
    TYPE,
    WIDTH,
    Shelf,
    entry_width,
    group_items,
    in_colour,
    slots,
)
from kernelviz.drawing.page import GREY, INK, Item, Panel, Raster, Rule, Text, drawable, text_block, text_width, wrap
from kernelviz.drawing.stamps import colour_key
from kernelviz.matching import FIT, UNNAMED, Matches, match_kernels
from kernelviz.wording import numbers_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kernelviz.drawing.figures import PageFigure
    from kernelviz.matching import KernelMatch


TITLE = 40.0
TALLEST = 2500.0
DARK, PALE = "#575f6b", "#b9bec6"
UNDRAWN = ("zero", "not finite")


def plot_matches(matches: object, *, gabor: bool = True, level: float = LEVEL, transposed: bool = False) -> PageFigure:
    """A figure of what the kernels of a layer resemble: Matches, or whatever ``match_kernels`` takes.

    Raises:
        UsageError: kernels that have no classical filters, see ``match_kernels``.
    """
    from kernelviz.drawing.figures import draw_page

    if not isinstance(matches, Matches):
        matches = match_kernels(matches, gabor=gabor, level=level, transposed=transposed)
    figure = draw_page(matches_page(matches))
    figure.recipe = matches_recipe(matches)
    return figure


def matches_recipe(matches: Matches) -> dict[str, object]:
    """How this picture was made, for machines; no path in it."""
    from kernelviz.version import __version__

    bank = matches.bank
    return {
        "kernelviz": __version__,
        "command": "match",
        "model": bank.source.as_recipe() if bank.source else None,
        "layer": bank.layer.name if bank.layer else None,
        "view": matches.main,
        "image": None,
        "shape": list(bank.weight.shape),
        "level": matches.level,
        "gabor": matches.fit_threshold is not None,
        "threshold": matches.threshold,
        "fit_threshold": matches.fit_threshold,
        "filters": matches.filters,
    }


def matches_page(matches: Matches) -> Panel:
    """The page, with as many shelves a group as keep it within four megapixels."""
    page = _page(matches, 1)
    if page.height > TALLEST:
        return _page(matches, 0.5)  # kinds side by side
    for shelves in range(2, 9):
        larger = _page(matches, shelves)
        if larger.height > TALLEST:
            break
        page = larger
    return page


def _page(matches: Matches, shelves: float) -> Panel:
    items, y = _heading(matches)
    items += _bar(matches, y)
    y += 44 + 34
    groups = {kind: _sorted(matches, kind) for kind in matches.counts if kind not in UNDRAWN}
    shelf = Shelf(entry_width(matches, named=True), 5 if in_colour(matches) else 7)
    free, shown = 0, 0
    for kind, rows in groups.items():
        narrow = Shelf(entry_width(matches, named=False), 7 if in_colour(matches) else 12)
        if kind in UNNAMED and shelf != narrow:
            shelf, free = narrow, 0
        rows_shown = rows[: int(shelves * shelf.across)]
        shown += len(rows_shown)
        needed = slots(kind, len(rows), len(rows_shown), shelf)
        if needed > free:
            items.append(Rule(MARGIN, y, WIDTH - MARGIN, y, "#d9dce0", 2))
            start, top, free = 0, y, shelf.across
        else:
            start = shelf.across - free
        group, foot = group_items(matches, kind, rows_shown, shelf, total=len(rows), start=start, top=top)
        items += group
        y, free = max(y, foot), free - needed
    for kind in UNDRAWN:
        if kind in matches.counts:
            more, y = _listed(word_of(kind, matches), _sorted(matches, kind), y)
            items += more
    more, y = _caption(matches, shown, y)
    return Panel((*items, *more), WIDTH, float(round(y + 0.5 * MARGIN)))


def word_of(kind: str, matches: Matches) -> str:
    """What stands over kernels of a kind."""
    zero = "sums as good as zero" if matches.main == "sum" else "as good as zero"
    return zero if kind == "zero" else kind


def _heading(matches: Matches) -> tuple[list[Item], float]:
    bank = matches.bank
    parts = [bank.source.label] if bank.source else []
    sizes = " × ".join(map(str, bank.weight.shape[1:]))
    settings = layer_text(bank.layer) if bank.layer else f"{len(bank.weight):,} kernels of {sizes}"
    title = f"What the kernels of {bank.layer.name} resemble" if bank.layer else "What the kernels resemble"
    title = drawable(title, bold=True)
    size = TITLE * max(0.7, min(1.0, CONTENT / text_width(title, TITLE, bold=True)))
    items, y = text_block(wrap(title, size, CONTENT, bold=True), MARGIN, 0.7 * MARGIN, size, colour=INK, bold=True)
    for part in [*parts, settings]:
        more, y = text_block(wrap(drawable(part), TYPE, CONTENT), MARGIN, y + 2, TYPE)
        items += more
    return items, y + 26


def _bar(matches: Matches, y: float) -> list[Item]:
    """Counts as lengths: named kinds dark, ``none`` white, what is zero or not finite grey."""
    counts = matches.counts
    total, x, items = sum(counts.values()), MARGIN, list[Item]()
    for kind, count in counts.items():
        width = CONTENT * count / total
        dark = kind not in UNNAMED
        colour = DARK if dark else PALE if kind in UNDRAWN else "#ffffff"
        outline = DARK if dark else "#8a919c"
        items.append(Raster(_pixel(outline), x, y, max(1.0, width - (3 if dark else 0)), 44))
        if not dark and width > 4:
            items.append(Raster(_pixel(colour), x + 2, y + 2, width - 4, 40))
        word = word_of(kind, matches)
        for text in (f"{word}  {count:,}", f"{count:,}"):
            if text_width(text, TYPE, bold=dark) < width - 14:
                ink = "#ffffff" if dark else INK
                items.append(Text(x + width / 2, y + 22, text, TYPE, ink, bold=dark, align="center", middle=True))
                break
        x += width
    return items


def _listed(words: str, rows: Sequence[KernelMatch], y: float) -> tuple[list[Item], float]:
    """Kernels that are only named, by number."""
    items: list[Item] = [
        Rule(MARGIN, y, WIDTH - MARGIN, y, "#d9dce0", 2),
        Text(MARGIN, y + 46, words, HEAD, INK, bold=True),
    ]
    x = MARGIN + text_width(words, HEAD, bold=True) + 16
    count = f"{len(rows):,}"
    items.append(Text(x, y + 46, count, HEAD * 0.93, GREY))
    numbers = numbers_text(sorted(row.kernel for row in rows))
    kernels = f"kernel{'' if len(rows) == 1 else 's'} {numbers}"
    items.append(Text(x + text_width(count, HEAD * 0.93) + 20, y + 46, kernels, TYPE))
    return items, y + 46 + 30


def _caption(matches: Matches, shown: int, y: float) -> tuple[list[Item], float]:
    """How to read it, what a name means, and the key to the colours on the right."""
    items: list[Item] = [Rule(MARGIN, y, WIDTH - MARGIN, y, "#d9dce0", 2)]
    key = 12 * TYPE
    items += colour_key(WIDTH - MARGIN, y + 34, TYPE)
    y += 18
    for line in caption_lines(matches, shown):
        more, y = text_block(wrap(line, TYPE, CONTENT - key - 50), MARGIN, y, TYPE)
        items += more
    return items, max(y, y + 20)


def caption_lines(matches: Matches, shown: int) -> list[str]:
    """What is drawn, what the score is, and from where on there is a name."""
    inputs = matches.bank.weight.shape[1]
    first = {
        "strongest": "kernel as colour (mid-grey is 0), its pattern in its strongest colour direction",
        "sum": f"kernel, summed over its {inputs:,} input channels",
    }.get(matches.main, "kernel")
    lines = [f"{first} ≈ the closest filter; score: |cosine|, over scale and sign; each tile has its own scale"]
    lines.append(naming_text(matches))
    if any(row.closest and row.closest.name == FIT for row in matches.main_rows):
        lines.append("fit: a fitted Gabor function, where no filter is close enough or the fit far closer")
    drawn = sum(count for kind, count in matches.counts.items() if kind not in UNDRAWN)
    return lines if shown == drawn else [*lines, f"{shown:,} of {drawn:,} kernels are drawn, of each kind the closest"]


def naming_text(matches: Matches) -> str:
    """From which scores on there are names, and how many of random kernels get one."""
    size, at, fit = matches.bank.weight.shape[2], matches.threshold, matches.fit_threshold
    per = f"{matches.level * 100:g} of 100 random {size} × {size} kernels"
    starts = f"named from {at:.2f} on against {matches.filters:,} filters"
    if fit is not None:
        starts += f", from {fit:.2f} on by a fitted Gabor function"
    if max(at, fit or 0) == LEAST:
        return f"{starts}: {LEAST**2:.0%} of its energy, which fewer than {per} reach".replace("%", " %")
    expected = matches.level * len(matches.main_rows)
    alone = f", of these {len(matches.main_rows):,} about {expected:.0f} by chance alone" if expected >= 1 else ""
    return f"{starts}: at most {per} get a name{alone}"


def _sorted(matches: Matches, kind: str) -> list[KernelMatch]:
    return sorted((row for row in matches.main_rows if row.kind == kind), key=lambda row: -(row.score or 0))


def _pixel(colour: str) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.array([[[int(colour[at : at + 2], 16) for at in (1, 3, 5)]]], dtype=np.uint8)

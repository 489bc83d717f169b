"""The kernels of a layer grouped by what they resemble, each beside its filter, with counts on top."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from kernelviz.drawing.captions import layer_text
from kernelviz.drawing.colour import check_palette, plain
from kernelviz.drawing.looks import find_look
from kernelviz.drawing.page import (
    GREY,
    INK,
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
    fitted,
    moved,
    text_block,
    text_width,
    wrap,
)
from kernelviz.drawing.sheets import palette_facts
from kernelviz.errors import UsageError
from kernelviz.filters.filter_pages import EDGE, HEAD, MARGIN, TYPE, own_scale_bar, stamp, zoom_for
from kernelviz.filters.matching import FIT, LEAST, LEVEL, UNNAMED, Matches, match_kernels
from kernelviz.version import __version__
from kernelviz.views.kernel_views import opponent_planes
from kernelviz.wording import PART, counted, inflected, nearest_text, numbers_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kernelviz.drawing.colour import Palette
    from kernelviz.drawing.figures import PageFigure
    from kernelviz.drawing.looks import LookName
    from kernelviz.drawing.page import Box
    from kernelviz.filters.matching import KernelMatch
    from kernelviz.records import Layout


INNER_WIDTH = PAGE_WIDTH - 2 * MARGIN
ROOM = 62.0  # of a tile
SMALL_ROOM = 42.0  # of the filter beside a kernel without a name
BETWEEN = 4  # pixels between the planes of a kernel
SIGN = 46.0  # of ≈
ABOUT = {
    "pixel": "copy one pixel",
    "blur": "average",
    "spot": "a pixel compared with its neighbours",
    "edge": "where brightness changes",
    "difference": "one pixel minus another",
    "line": "bright or dark lines",
    "line end": "where a line ends",
    "corner": "where edges meet",
    "gabor": "stripes",
    "weak": "closer than chance, but not close enough for a name",
    "none": "the closest filter is no closer than chance",
}


@dataclass(frozen=True)
class ShelfLayout:
    """The layout of entries in a row: the width of one, how many there are, and whether planes are drawn for colour."""

    entry: float
    across: int
    planes: bool = False

    @property
    def pitch(self) -> float:
        """From the left of one entry to the left of the next."""
        return (INNER_WIDTH - self.entry) / (self.across - 1)


def group_items(
    matches: Matches, kind: str, rows: Sequence[KernelMatch], shelf: ShelfLayout, *, total: int, start: int, top: float
) -> tuple[list[Item], float]:
    """The heading of one kind and its entries, starting at a slot of a shelf; and the y below."""
    x, y = MARGIN + start * shelf.pitch, top + 46
    items: list[Item] = [Text(x, y, kind, HEAD, INK, bold=True)]
    x += text_width(kind, HEAD, bold=True) + 16
    count = _count_text(total, len(rows))
    items.append(Text(x, y, count, HEAD * 0.93, GREY))
    x += text_width(count, HEAD * 0.93) + 20
    taken = min(len(rows), shelf.across)
    end = MARGIN + (start + taken - 1) * shelf.pitch + shelf.entry if taken < shelf.across else PAGE_WIDTH - MARGIN
    if x + text_width(ABOUT[kind], TYPE) <= end:
        items.append(Text(x, y, ABOUT[kind], TYPE))
    y += 22
    height = _entry_height(matches, kind)
    for at, row in enumerate(rows):
        down, across = divmod(at, shelf.across)
        left = MARGIN + (start + across) * shelf.pitch
        items += _entry(row, matches, kind, shelf, x=left, y=y + down * height)
    return items, y + ((len(rows) - 1) // shelf.across + 1) * height + 8


def _count_text(total: int, shown: int) -> str:
    return f"{total:,}" if shown == total else f"{total:,}, the closest {shown:,}"


def slots_needed(kind: str, total: int, shown: int, shelf: ShelfLayout) -> int:
    """The number of slots that a group and its heading take; all of them if it has several shelves."""
    heading = text_width(kind, HEAD, bold=True) + 16 + text_width(_count_text(total, shown), HEAD * 0.93) + 30
    return max(min(shown, shelf.across), int(np.ceil(heading / shelf.pitch)))


def _entry(row: KernelMatch, matches: Matches, kind: str, shelf: ShelfLayout, *, x: float, y: float) -> list[Item]:
    """Kernel as colour or as planes, its pattern, ≈, the filter; number, score and colour below."""
    zoom, tile, width = _zoom(matches), _tile(matches), shelf.entry
    items: list[Item] = []
    at = round(x)
    if shelf.planes:
        items += _planes(matches, row.kernel, at, round(y))
        at += round(_colour_width(matches, planes=True))
    elif in_colour(matches):
        items.append(stamp(matches.bank.weight[row.kernel], at, round(y), zoom))
        at += round(tile + 12)
    items.append(stamp(row.pattern, at, round(y), zoom))
    foot = y + tile + 8 + 0.8 * TYPE
    number = f"{row.kernel}"
    items.append(Text(x, foot, number, TYPE, INK, bold=True))
    score = "" if row.score is None else f"{row.score:.2f}"
    sign = -1 if row.factor is not None and row.factor < 0 else 1
    if kind in UNNAMED or row.closest is None:
        if row.closest is not None:
            side = _small_tile(matches)
            top = round(y + (tile - side) / 2)
            items.append(stamp(row.closest.values * sign, round(x + width - side), top, _small_zoom(matches), "gray"))
        beside = _is_one_line(matches)
        low = foot if beside else foot + 1.2 * TYPE
        items.append(Text(x + width if beside else x, low, score, TYPE, QUIET, align="right" if beside else "left"))
        return items
    at += round(tile)
    items.append(Text(at + SIGN / 2, y + tile / 2, "≈", 34, QUIET, align="center", middle=True))
    items.append(stamp(row.closest.values * sign, at + round(SIGN), round(y), zoom))
    items.append(Text(x + width, foot, score, TYPE, INK, bold=True, align="right"))
    if row.closest.name == FIT:
        items.append(Text(x + width - text_width(score, TYPE, bold=True) - 8, foot, "fit", TYPE, align="right"))
    if row.colour:
        items.append(Text(x, foot + 1.2 * TYPE, row.colour.name, TYPE))
    return items


def _planes(matches: Matches, kernel: int, x: int, y: int) -> list[Item]:
    """The light–dark, yellow–blue and red–green planes of a kernel, in one range."""
    planes = np.moveaxis(opponent_planes(np.moveaxis(matches.bank.weight[kernel], 0, -1)), -1, 0)
    side, limit = _small_tile(matches), float(np.abs(np.where(np.isfinite(planes), planes, 0)).max(initial=0))
    top = y + round((_tile(matches) - side) / 2)
    zoom = _small_zoom(matches)
    return [stamp(plane, x + at * (side + BETWEEN), top, zoom, limit=limit) for at, plane in enumerate(planes)]


def _colour_width(matches: Matches, *, planes: bool) -> float:
    """The width of a kernel as colour or as planes, up to its pattern."""
    if planes:
        return 3 * _small_tile(matches) + 2 * BETWEEN + 12
    return _tile(matches) + 12 if in_colour(matches) else 0.0


def _entry_height(matches: Matches, kind: str) -> float:
    one_line = _is_one_line(matches) if kind in UNNAMED else not in_colour(matches)
    return _tile(matches) + 8 + (1.0 if one_line else 2.2) * TYPE + 24


def _is_one_line(matches: Matches) -> bool:
    """Whether the number of a kernel without a name and its score fit beside each other."""
    number = str(len(matches.bank.weight) - 1)
    return text_width(number, TYPE, bold=True) + text_width("0.00", TYPE) + 10 <= entry_width(matches, named=False)


def entry_width(matches: Matches, *, named: bool, planes: bool = False) -> float:
    """The width of an entry: one to three tiles and the sign between them, or a small tile of the closest filter."""
    tile = _tile(matches)
    first = _colour_width(matches, planes=planes) + tile
    return first + (SIGN + tile if named else 10 + _small_tile(matches))


def in_colour(matches: Matches) -> bool:
    """Whether each kernel is drawn as colour besides its pattern."""
    return matches.main == "strongest"


def _zoom(matches: Matches) -> int:
    return zoom_for(matches.bank.weight.shape[2], ROOM)


def _small_zoom(matches: Matches) -> int:
    return zoom_for(matches.bank.weight.shape[2], SMALL_ROOM)


def _small_tile(matches: Matches) -> int:
    return int(matches.bank.weight.shape[2] * _small_zoom(matches) + 2 * EDGE)


def _tile(matches: Matches) -> float:
    return float(matches.bank.weight.shape[2] * _zoom(matches) + 2 * EDGE)


TALLEST = 2500.0
MOST_SHELVES_OF_ALL, MOST_SHELVES = 9, 40  # per group, of all kinds and of chosen ones
DARK, PALE = "named", "undrawn"
UNDRAWN = ("zero", "not finite")


def plot_matches(
    matches: object,
    *,
    gabor: bool = True,
    level: float = LEVEL,
    transposed: bool = False,
    layout: Layout | None = None,
    kind: str | Sequence[str] | None = None,
    palette: Palette = "standard",
    look: LookName = "page",
    caption: bool = True,
) -> PageFigure:
    """Draw what the kernels of a layer resemble: a ``Matches``, or what ``match_kernels`` accepts.

    Args:
        matches: A ``Matches``, or what ``match_kernels`` accepts.
        gabor: As in ``match_kernels``. It has no effect on a ``Matches``, nor do ``level``, ``transposed`` and ``layout``.
        level: As in ``match_kernels``.
        transposed: As in ``match_kernels``.
        layout: As in ``match_kernels``.
        kind: Draw only kernels of this kind or of these kinds, for example ``"spot"``.
        palette: With ``safe``, for every kind of colour vision, kernels of three channels are drawn as light–dark,
            yellow–blue and red–green planes instead of as colour.
        look: ``page``, ``slide`` (1280 × 720 pixels, large type), ``dark`` or ``print``.
        caption: Whether identity and caption are drawn; without them they are only in the recipe.

    Raises:
        UsageError: There are no classical filters for these kernels, see ``match_kernels``; there is no such kind, or no
            kernel is of it; or there is no such palette.

    Example:
        >>> sobel, laplacian = [[1, 0, -1], [2, 0, -2], [1, 0, -1]], [[0, 1, 0], [1, -4, 1], [0, 1, 0]]
        >>> kernels = np.array([[sobel], [laplacian]])
        >>> figure = kernelviz.plot_matches(kernelviz.match_kernels(kernels))
    """
    from kernelviz.drawing.figures import draw_page

    check_palette(palette)
    kinds = check_kinds([kind] if isinstance(kind, str) else kind or [])
    if not isinstance(matches, Matches):
        matches = match_kernels(matches, gabor=gabor, level=level, transposed=transposed, layout=layout)
    chosen = find_look(look, caption=caption)
    palette = chosen.palette(palette) if in_colour(matches) else palette
    recipe = {**matches_recipe(matches, kinds), **palette_facts(palette)}
    return draw_page(matches_page(matches, kinds, palette), recipe, chosen)


def check_kinds(kinds: Sequence[str]) -> tuple[str, ...]:
    """The kinds, each once.

    Raises:
        UsageError: One of them does not exist.
    """
    for kind in kinds:
        if kind not in ABOUT:
            raise UsageError(
                f"There is no kind '{kind}'.", nearest_text(ABOUT, kind), f"The kinds are {', '.join(ABOUT)}."
            )
    return tuple(dict.fromkeys(kinds))


def matches_recipe(matches: Matches, kinds: Sequence[str] = ()) -> dict[str, object]:
    """The recipe of the picture; it contains no path."""
    bank = matches.bank
    return {
        "kernelviz": __version__,
        "command": "match",
        "model": bank.source.as_recipe() if bank.source else None,
        "layer": bank.layer.name if bank.layer else None,
        "view": matches.main,
        **({"kinds": list(kinds)} if kinds else {}),
        "image": None,
        "shape": list(bank.weight.shape),
        "level": matches.level,
        "gabor": matches.fit_threshold is not None,
        "threshold": matches.threshold,
        "fit_threshold": matches.fit_threshold,
        "filters": matches.filters,
    }


def matches_page(matches: Matches, kinds: Sequence[str] = (), palette: Palette = "standard") -> Panel:
    """The page of all kinds or of these, with as many shelves per group as fit in four megapixels.

    Raises:
        UsageError: No kernel is of these kinds.
    """
    return counted_page(matches, kinds, palette)[0]


def counted_page(matches: Matches, kinds: Sequence[str] = (), palette: Palette = "standard") -> tuple[Panel, int]:
    """The page of all kinds or of these, and how many kernels it draws.

    Raises:
        UsageError: No kernel is of these kinds.
    """
    if kinds and not any(kind in matches.counts for kind in kinds):
        counts = ", ".join(f"{kind} {count}" for kind, count in matches.counts.items())
        raise UsageError(f"No kernel of this layer is of the kind {' or '.join(kinds)}.", f"They are: {counts}.")
    planes = palette != "standard" and in_colour(matches)
    page, shown = _page(matches, kinds, 1, planes=planes)
    if page.height > TALLEST:
        return _page(matches, kinds, 0.5, planes=planes)  # kinds side by side
    for shelves in range(2, MOST_SHELVES if kinds else MOST_SHELVES_OF_ALL):
        larger, more = _page(matches, kinds, shelves, planes=planes)
        if larger.height > TALLEST:
            break
        page, shown = larger, more
    return page, shown


def _page(matches: Matches, kinds: Sequence[str], shelves: float, *, planes: bool) -> tuple[Panel, int]:
    items, y = _heading(matches)
    bar, y = _bar(matches, y)
    items += bar
    y += 34
    groups, y, drawn = _shelves(matches, kinds, shelves, y, planes=planes)
    items += groups
    shown = sum(drawn.values())
    for kind in UNDRAWN if not kinds else ():
        if kind in matches.counts:
            more, y = _listed(kind_text(kind, matches), _sorted(matches, kind), y)
            items += more
    more, y = _caption(matches, kinds, shown, y, planes=planes)
    parts = partial(_parts, matches, kinds, shelves, shown, planes=planes)
    return Panel((*items, *more), PAGE_WIDTH, float(round(y + 0.5 * MARGIN)), parts), shown


def _title(matches: Matches) -> str:
    layer = matches.bank.layer
    return f"What the kernels of {layer.name} resemble" if layer else "What the kernels resemble"


def _parts(matches: Matches, kinds: Sequence[str], shelves: float, shown: int, *, planes: bool) -> PageParts:
    bank = matches.bank
    title = _title(matches)
    settings = layer_text(bank.layer) if bank.layer else ""
    source = bank.source.short_label if bank.source else ""

    lines = tuple(caption_lines(matches, shown, kinds, planes=planes))
    notices = lines[-1:] if shown < _drawable(matches) else ()

    def body(shelves: float, tallest: float = math.inf) -> Body:
        items, y = _bar(matches, 0.0)
        groups, y, drawn = _shelves(matches, kinds, shelves, y + 34, tallest, planes=planes)
        items += [*groups, *own_scale_bar(PAGE_WIDTH - MARGIN, y + 34)]
        panel = Panel(moved(Panel(tuple(items), 0, 0), -MARGIN, 0), INNER_WIDTH, y + 34 + 2.6 * TYPE)
        count = sum(drawn.values())
        cut = (_left_out_text(matches, drawn, kinds),) if count < len(matches.main_rows) else ()
        return Body(panel, cut, facts={"shown": count, "total": len(matches.main_rows)})

    def boxed(box: Box, *shelves: float) -> Body:
        tallest = box.height * TYPE / (1.02 * box.smallest) - 34 - 2.6 * TYPE
        return max((body(each, tallest) for each in shelves), key=lambda found: found.facts["shown"])

    rows = range(1, MOST_SHELVES_OF_ALL) if kinds else (1.0,)
    return PageParts(
        title, body(shelves).panel, "", source, settings, lines, notices,
        (lambda box: boxed(box, *rows), lambda box: boxed(box, 0.5)), size=TITLE,
    )  # fmt: skip


def _shelves(
    matches: Matches, kinds: Sequence[str], shelves: float, y: float, tallest: float = math.inf, *, planes: bool
) -> tuple[list[Item], float, dict[str, int]]:
    """The groups from this y on that end above ``tallest``; the y below them, and how many of each kind are drawn."""
    items: list[Item] = []
    shown_kinds = [kind for kind in matches.counts if kind not in UNDRAWN and (not kinds or kind in kinds)]
    groups = {kind: _sorted(matches, kind) for kind in shown_kinds}
    across = (4, 5) if planes else (5, 6) if in_colour(matches) else (7, 9)
    shelf = ShelfLayout(entry_width(matches, named=True, planes=planes), across[0], planes)
    free, top, shown = 0, y, dict[str, int]()
    for kind, rows in groups.items():
        narrow = ShelfLayout(entry_width(matches, named=False, planes=planes), across[1], planes)
        if kind in UNNAMED and shelf != narrow:
            shelf, free = narrow, 0
        rows_shown = rows[: int(shelves * shelf.across)]
        height = 68 + -(-len(rows_shown) // shelf.across) * _entry_height(matches, kind) + 8
        needed = slots_needed(kind, len(rows), len(rows_shown), shelf)
        if (y if needed > free else top) + height > tallest:
            continue
        shown[kind] = len(rows_shown)
        if needed > free:
            items.append(Rule(MARGIN, y, PAGE_WIDTH - MARGIN, y, SEPARATOR, 2))
            start, top, free = 0, y, shelf.across
        else:
            start = shelf.across - free
        group, foot = group_items(matches, kind, rows_shown, shelf, total=len(rows), start=start, top=top)
        items += group
        y, free = max(y, foot), free - needed
    return items, y, shown


def kind_text(kind: str, matches: Matches) -> str:
    """The heading of a kind."""
    zero = "sums as good as zero" if matches.main == "sum" else "as good as zero"
    return zero if kind == "zero" else kind


def _heading(matches: Matches) -> tuple[list[Item], float]:
    bank = matches.bank
    parts = [bank.source.short_label] if bank.source else []
    sizes = " × ".join(map(str, bank.weight.shape[1:]))
    settings = layer_text(bank.layer) if bank.layer else f"{counted(len(bank.weight), 'kernel')} of {sizes}"
    title = _title(matches)
    text = drawable(title, bold=True)
    size = TITLE * max(0.7, min(1.0, INNER_WIDTH / text_width(text, TITLE, bold=True)))
    lines = wrap(text, size, INNER_WIDTH, bold=True)
    items, y = text_block(lines, MARGIN, 0.7 * MARGIN, size, colour=INK, bold=True, paragraph=title)
    lines = fitted(drawable(PART.join([*parts, settings])), TYPE, INNER_WIDTH)
    more, y = text_block(lines, MARGIN, y + 2, TYPE, paragraph=PART.join([*parts, settings]))
    items += more
    return items, y + 26


def _bar(matches: Matches, y: float) -> tuple[list[Item], float]:
    """Counts as lengths, and the y below: named kinds dark, ``none`` white, what is zero or not finite grey.

    Names that do not fit are below, in the order of the parts.
    """
    counts = matches.counts
    total, x, items = sum(counts.values()), MARGIN, list[Item]()
    below: list[tuple[float, str]] = []
    for kind, count in counts.items():
        width = INNER_WIDTH * count / total
        dark = kind not in UNNAMED
        colour = DARK if dark else PALE if kind in UNDRAWN else "unnamed"
        outline = DARK if dark else "unnamed edge"
        items.append(Raster(plain(outline), x, y, max(1.0, width - (3 if dark else 0)), 44))
        if not dark and width > 4:
            items.append(Raster(plain(colour), x + 2, y + 2, width - 4, 40))
        word = kind_text(kind, matches)
        fitting = [text for text in (f"{word}  {count:,}", f"{count:,}", "") if _fits(text, width, bold=dark)]
        if fitting[0]:
            shade = "on named" if dark else INK
            items.append(Text(x + width / 2, y + 22, fitting[0], TYPE, shade, bold=dark, align="center", middle=True))
        if len(fitting) < 3:
            below.append((x + width / 2, word if fitting[0] else f"{word} {count:,}"))
        x += width
    names, bottom = _names_below(below, y + 44)
    return [*items, *names], bottom


def _fits(text: str, width: float, *, bold: bool) -> bool:
    return not text or text_width(text, TYPE, bold=bold) < width - 14


def _names_below(parts: Sequence[tuple[float, str]], y: float) -> tuple[list[Item], float]:
    """Names below the middles of their parts of a bar, apart from each other, each joined to its part by a line."""
    if not parts:
        return [], y
    lefts: list[float] = []
    for middle, name in parts:
        free = lefts[-1] + text_width(parts[len(lefts) - 1][1], TYPE) + 0.8 * TYPE if lefts else MARGIN
        lefts.append(max(free, middle - text_width(name, TYPE) / 2))
    end = PAGE_WIDTH - MARGIN
    for at in reversed(range(len(parts))):  # back from the right margin
        lefts[at] = min(lefts[at], end - text_width(parts[at][1], TYPE))
        end = lefts[at] - 0.8 * TYPE
    items: list[Item] = []
    for (middle, name), left in zip(parts, lefts, strict=True):
        centre = left + text_width(name, TYPE) / 2
        items += [Rule(middle, y + 3, centre, y + 28, width=1.5), Text(left, y + 32 + 0.8 * TYPE, name, TYPE)]
    return items, y + 32 + 0.8 * TYPE + 8


def _listed(words: str, rows: Sequence[KernelMatch], y: float) -> tuple[list[Item], float]:
    """Kernels that are only named, by number."""
    items: list[Item] = [
        Rule(MARGIN, y, PAGE_WIDTH - MARGIN, y, SEPARATOR, 2),
        Text(MARGIN, y + 46, words, HEAD, INK, bold=True),
    ]
    x = MARGIN + text_width(words, HEAD, bold=True) + 16
    count = f"{len(rows):,}"
    items.append(Text(x, y + 46, count, HEAD * 0.93, GREY))
    numbers = numbers_text(sorted(row.kernel for row in rows))
    kernels = f"{inflected(len(rows), 'kernel')} {numbers}"
    items.append(Text(x + text_width(count, HEAD * 0.93) + 20, y + 46, kernels, TYPE))
    return items, y + 46 + 30


def _caption(matches: Matches, kinds: Sequence[str], shown: int, y: float, *, planes: bool) -> tuple[list[Item], float]:
    """How to read the page, what a name means, and the colour bar on the right."""
    items: list[Item] = [Rule(MARGIN, y, PAGE_WIDTH - MARGIN, y, SEPARATOR, 2)]
    key = 12 * TYPE
    items += own_scale_bar(PAGE_WIDTH - MARGIN, y + 34)
    y += 18
    for line in caption_lines(matches, shown, kinds, planes=planes):
        more, y = text_block(wrap(line, TYPE, INNER_WIDTH - key - 50), MARGIN, y, TYPE, paragraph=line)
        items += more
    return items, max(y, y + 20)


def caption_lines(matches: Matches, shown: int, kinds: Sequence[str] = (), *, planes: bool = False) -> list[str]:
    """What is drawn, what the score is, and the score from which kernels are named."""
    inputs = matches.bank.weight.shape[1]
    first = {
        "strongest": "kernel as colour (mid-grey is 0), and its pattern in its strongest colour direction",
        "sum": f"kernel, summed over its {inputs:,} input channels",
    }.get(matches.main, "kernel")
    lines = [f"{first} ≈ the closest filter; score: |cosine|, regardless of scale and sign; one colour scale per tile"]
    if planes:
        first = "small: the kernel as light–dark, yellow–blue and red–green, on one colour scale"
        second = "large: its pattern in its strongest colour direction ≈ the closest filter"
        lines = [
            f"{first}; {second}",
            "score: |cosine|, regardless of scale and sign; one colour scale per kernel and per pattern",
        ]
    rows = [row for row in matches.main_rows if not kinds or row.kind in kinds]
    if any(row.kind in UNNAMED and row.closest for row in rows):
        lines.append("grey tiles, from black (−max) to white (+max): the filter closest to a kernel without a name")
    lines.append(naming_text(matches))
    if any(row.closest and row.closest.name == FIT for row in rows):
        lines.append("fit: a fitted Gabor function, if no filter is close enough or the fit is much closer")
    drawn = _drawable(matches)
    if kinds:
        whole = shown == sum(row.kind not in UNDRAWN for row in rows)
        closest = "" if whole else ", the closest ones"
        only = f"only those of the {inflected(len(kinds), 'kind')} {' and '.join(kinds)}{closest}"
        return [*lines, f"{shown:,} of {drawn:,} kernels are drawn: {only}"]
    cut = [] if shown == drawn else [f"{shown:,} of {drawn:,} kernels are drawn, the closest ones of each kind"]
    return [*lines, *cut]


def _left_out_text(matches: Matches, drawn: Mapping[str, int], kinds: Sequence[str]) -> str:
    """How many of all kernels are drawn, and how many of each kind are not."""
    total = len(matches.main_rows)
    missing = {kind: count - drawn.get(kind, 0) for kind, count in matches.counts.items()}
    if kinds:
        of_them = sum(count for kind, count in matches.counts.items() if kind in kinds)
        chosen = f"{inflected(len(kinds), 'kind')} {' and '.join(kinds)}"
        closest = "" if sum(drawn.values()) == of_them else ", the closest ones"
        return f"{sum(drawn.values()):,} of {counted(total, 'kernel')}: only those of the {chosen}{closest}"
    each = ", ".join(f"{count:,} {kind_text(kind, matches)}" for kind, count in missing.items() if count)
    return f"{sum(drawn.values()):,} of {counted(total, 'kernel')}, without {each}"


def _drawable(matches: Matches) -> int:
    """The number of kernels that are neither zero nor not finite."""
    return sum(count for kind, count in matches.counts.items() if kind not in UNDRAWN)


def naming_text(matches: Matches) -> str:
    """The scores from which kernels are named, and how many random kernels would be."""
    size, at, fit = matches.bank.weight.shape[2], matches.threshold, matches.fit_threshold
    per = f"{matches.level * 100:g} of 100 random {size} × {size} kernels"
    starts = f"a name needs a score of {at:.2f} with one of {counted(matches.filters, 'filter')}"
    if fit is not None:
        starts += f" or {fit:.2f} with a fitted Gabor function"
    if max(at, fit or 0) == LEAST:
        return f"{starts}: {LEAST**2:.0%} of its energy, reached by fewer than {per}".replace("%", " %")
    expected = matches.level * len(matches.main_rows)
    alone = f"; by chance alone, about {expected:.0f} of these {len(matches.main_rows):,}" if expected >= 1 else ""
    return f"{starts}: at most {per} reach it{alone}"


def _sorted(matches: Matches, kind: str) -> list[KernelMatch]:
    return sorted((row for row in matches.main_rows if row.kind == kind), key=lambda row: -(row.score or 0))

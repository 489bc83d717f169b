"""The kernels of a layer in two weights: pairs of tiles with their differences, angles and norms, or matched pairs."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from kernelviz.drawing import colour
from kernelviz.drawing.captions import layer_text, own_scale_text
from kernelviz.drawing.kernel_bar import kernel_bar
from kernelviz.drawing.kernel_tile import planes_tile
from kernelviz.drawing.looks import find_look
from kernelviz.drawing.page import (
    GREY,
    IDENTITY,
    INK,
    LABEL,
    MARGIN,
    PAGE_WIDTH,
    Body,
    Item,
    PageParts,
    Panel,
    Text,
    caption_block,
    drawable,
    fitted,
    heading,
    moved,
    text_block,
    text_width,
)
from kernelviz.drawing.sheets import FIGURE_PIXELS, source_facts
from kernelviz.errors import KernelvizError, UsageError
from kernelviz.records import KernelBank, check_positive, is_untrained, shape_text
from kernelviz.views.kernel_views import kernel_pictures, kernel_tiles, named_channels, resolve_view
from kernelviz.wording import PART, counted, inflected, number_text, numbers_text, runs_text, sentence

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kernelviz.drawing.figures import PageFigure
    from kernelviz.drawing.looks import Look, LookName
    from kernelviz.drawing.page import Box
    from kernelviz.records import Array, Source
    from kernelviz.views.comparisons import ComparedLayer, Comparison


INNER = PAGE_WIDTH - 2 * MARGIN
TALLEST = FIGURE_PIXELS / PAGE_WIDTH - 680  # of the tiles: title and caption take the rest
SIDE, LARGE, FEW = 80, 150, 8  # pixels: the side that a tile aims for, and that of a few tiles
STRIP, STRIP_CELL = 24, 28  # pixels: the least height of a strip, the largest width of a cell in it
MOST_PLANES = 4  # of a kernel as a tile; kernels of more planes are strips
ACROSS, ROWS = 7.0, 8.0  # pixels between tiles
PLANES_APART, STRIPS_APART = 3, 48.0  # pixels between the planes of a kernel, and between columns of strips
NORMALISED = "A normalisation after the layer cancels a change of norm, which affects ‖B − A‖ / ‖A‖ but not the angle"
MATTERING = "A large change of weights does not mean that a layer is important"


def plot_comparison(
    comparison: Comparison,
    layer: str | None = None,
    *,
    channels: str | Sequence[int] | None = None,
    top: int | None = None,
    view: str = "auto",
    look: LookName = "page",
    caption: bool = True,
) -> PageFigure:
    """Draw the kernels of a layer in two weights: each kernel in A, in B, and what B has more, B − A.

    Kernels that died or were born are first, then those that moved most. Below them are the angle between A and B and the
    ratio of their norms. A and B share a range, which is that of each pair in the view rgb, else one for the layer; B − A
    has one range for the layer. If the layer was matched, its kernels are above those of B that match them best.

    Args:
        comparison: As ``compare_weights`` returns it.
        layer: The name of the layer; the first one by default.
        channels: The kernels to draw, ``"0-15,40"`` or numbers, in this order.
        top: How many kernels to draw; by default as many as fit on a page.
        view: How kernels become tiles, as in ``plot_kernels``.
        look: ``page``, ``slide``, ``dark`` or ``print``.
        caption: Whether identity and caption are drawn.

    Raises:
        UsageError: there is no such layer, kernel or view.

    Example:
        >>> before = np.random.default_rng(0).normal(size=(8, 3, 3, 3))
        >>> comparison = kernelviz.compare_weights(before, before + 0.2 * np.eye(3))
        >>> figure = kernelviz.plot_comparison(comparison, top=4)
    """
    from kernelviz.drawing.figures import draw_page

    chosen = find_look(look, caption=caption)
    pairs = make_pairs(comparison, layer, channels=channels, top=top, view=view, look=chosen)
    page = comparison_page(pairs)
    recipe = comparison_recipe(pairs)
    models = recipe["model"] or []
    untrained = bool(models) and all(is_untrained({"model": each}) for each in models)
    return draw_page(page, recipe, chosen, badge=untrained)


@dataclass(frozen=True)
class TileRow:
    """A row of tiles: its label, and for each kernel the planes, the size of full colour, and what is irregular.

    ``pictures`` is (n, planes, h, w), of colours (n, 1, h, w, 3). ``heads`` are the numbers above the tiles; empty if they
    have none.
    """

    label: str
    pictures: Array
    limits: Array
    zero: Array
    broken: Array
    heads: tuple[str, ...] = ()

    def part(self, kept: slice) -> TileRow:
        """The row with some of its kernels."""
        return TileRow(
            self.label, self.pictures[kept], self.limits[kept], self.zero[kept], self.broken[kept], self.heads[kept]
        )


@dataclass(frozen=True)
class Pairs:
    """What is drawn of a layer: rows of tiles, and texts below the tiles of each kernel.

    ``numbers`` are the kernels of A. ``planes`` is how many planes a kernel has, of which ``inputs`` are drawn. ``limit``
    and ``difference`` are the largest values of A and B, and of B − A, in this view.
    """

    comparison: Comparison
    layer: ComparedLayer
    view: str
    numbers: tuple[int, ...]
    rows: tuple[TileRow, ...]
    texts: tuple[tuple[str, tuple[str, ...]], ...]
    limit: float
    difference: float
    sorted: bool
    coloured: bool
    planes: int
    as_planes: bool = False

    @property
    def matched(self) -> bool:
        """Whether kernels of B are those that match A best."""
        return self.layer.pairing is not None

    @property
    def signed(self) -> bool:
        """Whether values have a sign."""
        return self.view not in ("norm", "spectrum")

    @property
    def own_ranges(self) -> bool:
        """Whether each pair has its own range."""
        return self.view == "rgb"

    def part(self, count: int) -> Pairs:
        """The first of the kernels."""
        kept = slice(0, count)
        texts = tuple((label, each[kept]) for label, each in self.texts)
        return replace(self, numbers=self.numbers[kept], rows=tuple(row.part(kept) for row in self.rows), texts=texts)


def make_pairs(
    comparison: Comparison,
    name: str | None = None,
    *,
    channels: str | Sequence[int] | None = None,
    top: int | None = None,
    view: str = "auto",
    look: Look,
) -> Pairs:
    """Choose the kernels and make their tiles.

    Raises:
        UsageError: there is no such layer, kernel or view, or none of the chosen kernels is matched.
        KernelvizError: no kernel of the layer is matched.
    """
    layer = comparison.layer(name)
    check_positive("number of kernels", top)
    weight = layer.a.weight
    view = resolve_view(weight.shape, layer.a.groups, view, layer.layer)
    as_planes = view == "rgb" and look.textured
    drawn = "channels" if as_planes else view
    with np.errstate(over="ignore", invalid="ignore"):
        delta = layer.b.weight.astype(np.float64) - layer.a.weight
    banks = layer.a, layer.b, KernelBank(delta, layer.layer, groups=layer.a.groups)
    pictures = [kernel_pictures(bank, drawn) for bank in banks]
    limit, difference = max(map(_largest, pictures[:2])), _largest(pictures[2])
    order, chosen = _ordered(layer), None if channels is None else named_channels(channels, len(weight))
    numbers = (chosen or order)[:top]
    pairs: list[int] = []
    if layer.pairing is not None:
        pairs = [int(at) for number in numbers for at in np.flatnonzero(layer.pairing.a == number)]
        numbers = tuple(int(layer.pairing.a[at]) for at in pairs)
        partners = [int(layer.pairing.b[at]) for at in pairs]
        if not numbers:
            why = "They are as good as zero or not finite in A or B."
            raise (KernelvizError if not len(layer.pairing.a) else UsageError)("No kernel is matched.", why)
    else:
        partners = list(numbers)
    index = list(numbers)
    one, other = pictures[0][index], pictures[1][partners]
    limits = np.full(len(index), limit)
    zero = [layer.zero_a[index], layer.zero_b[partners]]
    if view == "rgb":
        own = np.array([max(_largest(first), _largest(second)) for first, second in zip(one, other, strict=True)])
        limits = np.where((zero[0] & zero[1]) | (own == 0), limit, own)
    broken = layer.broken[index] | layer.broken[partners]
    heads = [tuple(map(str, each)) for each in (index, partners)]
    rows = [
        TileRow("A", one, limits, zero[0], broken, heads[0]),
        TileRow("B", other, limits, zero[1], broken, heads[1] if layer.pairing is not None else ()),
    ]
    if layer.pairing is None:
        rows.append(TileRow("B − A", pictures[2][index], np.full(len(index), difference), zero[0] & zero[1], broken))
    return Pairs(
        comparison, layer, view, numbers, tuple(rows), _texts(layer, index, pairs), limit, difference, chosen is None,
        view == "rgb" and not as_planes, one.shape[1], as_planes,
    )  # fmt: skip


def _texts(
    layer: ComparedLayer, numbers: Sequence[int], pairs: Sequence[int]
) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """The texts below the tiles of kernels, which are those of ``pairs`` if the kernels are matched."""
    if layer.pairing is not None:
        cosines = tuple(f"{layer.pairing.cosines[at]:.2f}".replace("-", "−") for at in pairs)
        return ("cosine", cosines), ("norm ×", tuple(ratio_text(float(layer.pairing.ratios[at])) for at in pairs))
    angles = tuple(_state(layer, number) or angle_text(float(layer.angles[number])) for number in numbers)
    ratios = ("–" if _state(layer, number) else ratio_text(float(layer.ratios[number])) for number in numbers)
    return ("angle", angles), ("norm ×", tuple(ratios))


def _ordered(layer: ComparedLayer) -> tuple[int, ...]:
    return layer.order if layer.pairing is None else tuple(map(int, layer.pairing.a))


def _state(layer: ComparedLayer, number: int) -> str:
    if layer.zero_a[number] == layer.zero_b[number]:
        return ""
    return "born" if layer.zero_a[number] else "died"


def _largest(values: Array) -> float:
    finite = values if np.isfinite(values).all() else values[np.isfinite(values)]
    return float(np.abs(finite).max(initial=0))


def angle_text(angle: float) -> str:
    """``22.2°``; two decimals below 0.1°, and a dash if there is none."""
    if not math.isfinite(angle):
        return "–"
    if angle < 0.005:
        return "≈0°" if angle else "0°"
    return f"{angle:.2f}°" if angle < 0.095 else f"{angle:.1f}°" if angle < 99.95 else f"{angle:.0f}°"


def ratio_text(ratio: float) -> str:
    """``1.02``; three digits from 10 on, and a dash if there is none."""
    if not math.isfinite(ratio):
        return "–"
    if ratio >= 99_950 or 0 < ratio < 0.005:
        return number_text(ratio)
    return f"{ratio:.2f}" if ratio < 9.995 else f"{ratio:.1f}" if ratio < 99.95 else f"{ratio:,.0f}"


@dataclass(frozen=True)
class _Layout:
    """Pixels of a value down and across, planes of a kernel in a tile and the gap between them, and how tiles are placed.

    Tiles begin at ``left`` and follow each other every ``pitch`` pixels, ``across`` of them. ``strips`` are below each
    other, each kernel with its texts at the right. ``letters`` is the size of numbers.
    """

    zoom: tuple[int, int]
    planes: int
    gap: int
    left: float
    pitch: float
    across: int
    letters: float
    strips: bool = False

    def size(self, pictures: Array) -> tuple[int, int]:
        """Rows and columns of pixels of a tile."""
        rows, columns = pictures.shape[2:4]
        return rows * self.zoom[0], self.planes * columns * self.zoom[1] + (self.planes - 1) * self.gap


def comparison_page(pairs: Pairs) -> Panel:
    """The page: title, tiles with their texts, caption and the bars of the colours."""
    layout, shown = _on_page(pairs)
    title, identity = _title(pairs), _identity(pairs)
    first, *more = [identity] if text_width(identity, IDENTITY) <= INNER else _identity_lines(pairs)
    items, y = heading(title, first, (MARGIN, 0.75 * MARGIN), INNER, 1.0)
    for line in more:
        words, y = text_block(fitted(drawable(line), IDENTITY, INNER), MARGIN, y, IDENTITY, paragraph=line)
        items += words
    tiles = _tiles(shown, layout)
    y = float(round(y + (26 if layout.strips else 14)))
    items += moved(tiles, MARGIN, y)
    y += tiles.height + 10
    bars = _bars(pairs)
    lines = _caption(shown, layout)
    words, below = caption_block(lines, (MARGIN, y), INNER - bars.width - 56, 1.0)
    items += [*words, *moved(bars, PAGE_WIDTH - MARGIN - bars.width, y + 6)]
    bottom = max(below, y + 6 + bars.height)
    parts = partial(_parts, pairs, tiles, tuple(lines), (title, identity))
    return Panel(tuple(items), PAGE_WIDTH, float(round(bottom + 0.6 * MARGIN)), parts)


def _on_page(pairs: Pairs) -> tuple[_Layout, Pairs]:
    """The layout of the page, and the kernels that fit on it."""
    layout = _layout(pairs, INNER, LABEL, SIDE if len(pairs.numbers) > FEW else LARGE)
    return layout, pairs.part(_fitting(pairs, layout, TALLEST))


def _facts(shown: Pairs) -> dict[str, Any]:
    return {"kernels": runs_text(shown.numbers), "shown": len(shown.numbers)}


def comparison_recipe(pairs: Pairs) -> dict[str, Any]:
    """The recipe of the picture; it contains no path."""
    return {
        **sources_facts(pairs.comparison.sources),
        "layer": pairs.layer.name or None,
        "view": f"matched {pairs.view}" if pairs.matched else f"compared {pairs.view}",
        "shape": list(pairs.layer.a.weight.shape),
        "limit": pairs.limit,
        "difference": None if pairs.matched else pairs.difference,
        **_facts(_on_page(pairs)[1]),
        "total": len(pairs.layer.changes),
    }


def sources_facts(sources: Sequence[Source | None]) -> dict[str, Any]:
    """The part of a recipe about the versions and the two weights, ``model``."""
    models = [source.as_recipe() for source in sources if source is not None]
    return {**source_facts("compare", sources[0]), "model": models or None}


def _layout(pairs: Pairs, width: float, letters: float, side: float) -> _Layout:
    """As many tiles in a row as there is space for; strips if a kernel has many planes."""
    rows, columns = pairs.rows[0].pictures.shape[2:4]
    names = [row.label for row in pairs.rows] + [label for label, _ in pairs.texts]
    left = float(round(max(text_width(name, letters, bold=True) for name in names) + 0.7 * letters))
    if pairs.planes > MOST_PLANES:
        return _strip_layout(pairs, width, letters, left)
    gap = PLANES_APART if pairs.planes > 1 else 0
    planes = pairs.planes
    side = min(side * (1 if planes == 1 else 0.8), (width - left - gap * planes) / planes)
    longest = max(rows, columns)
    zoom = max(1, int(side // longest))
    down, across = (max(zoom, 24) if length == 1 < longest else zoom for length in (rows, columns))
    widest = max(text_width(text, letters) for _, each in pairs.texts for text in (*each, ""))
    widest = max(widest, *(text_width(head, letters, bold=True) for row in pairs.rows for head in (*row.heads, "")))
    wide = planes * columns * across + (planes - 1) * gap
    fits: list[tuple[int, float, int]] = []
    for apart in (0.4, 0.25):  # closer texts only if they save a row
        pitch = float(math.ceil(max(wide + ACROSS, widest + apart * letters)))
        count = max(1, int((width - left + pitch - wide) // pitch))
        fits.append((math.ceil(len(pairs.numbers) / count), pitch, count))
    _, pitch, count = min(fits, key=lambda each: each[0])
    if len(pairs.numbers) > count > 1:  # the last column ends where the page does
        pitch = max(pitch, float(math.floor((width - left - wide) / (count - 1))))
    return _Layout((down, across), planes, gap, left, pitch, count, letters)


def _strip_layout(pairs: Pairs, width: float, letters: float, labels: float) -> _Layout:
    """Strips of planes side by side, as many of these as fit; in two or three columns if the strips are short."""
    rows, columns = pairs.rows[0].pictures.shape[2:4]
    number = max((text_width(str(number), letters, bold=True) for number in pairs.numbers), default=0.0)
    left = float(round(number + 0.9 * letters + labels))
    right = _texts_width(pairs, letters) + 0.9 * letters
    gap = 0 if rows == columns == 1 else PLANES_APART
    most, least = (STRIP_CELL, 14) if not gap else (max(3, 66 // columns), 36 // columns)
    across, zoom = 1, 0
    for across in (3, 2, 1):
        free = (width - (across - 1) * STRIPS_APART) / across - left - right
        zoom = (int((free + gap) / pairs.planes) - gap) // columns
        if zoom >= least:
            break
    zoom = max(1 if not gap else 3, min(zoom, most))
    planes = max(1, min(pairs.planes, int((free + gap) // (columns * zoom + gap))))
    wide = left + planes * columns * zoom + (planes - 1) * gap + right
    pitch = max(wide + STRIPS_APART, (width - wide) // max(1, across - 1)) if across > 1 else wide
    down = zoom if rows > 1 else STRIP if not gap else max(zoom, 12)
    return _Layout((down, zoom), planes, gap, left, pitch, across, letters, strips=True)


def _texts_width(pairs: Pairs, letters: float) -> float:
    """The width of the texts at the right of strips."""
    texts = (f"{label} {text}" for label, each in pairs.texts for text in each)
    return max((text_width(text, letters) for text in texts), default=0.0)


def _step(pairs: Pairs, layout: _Layout) -> float:
    """From one row of kernels to the next."""
    tall, size, rows = layout.size(pairs.rows[0].pictures)[0], layout.letters, len(pairs.rows)
    if layout.strips:
        return math.ceil(rows * max(tall, size) + (rows - 1) * 5 + 0.9 * size)
    heads = sum(bool(row.heads) for row in pairs.rows)
    return math.ceil(heads * 1.36 * size + rows * tall + (rows - heads) * ROWS + (rows - 1) * ROWS
                     + len(pairs.texts) * 1.28 * size + 1.5 * size)  # fmt: skip


def _fitting(pairs: Pairs, layout: _Layout, height: float) -> int:
    """The number of kernels that fit into a height, at least one."""
    return max(1, layout.across * int(height // _step(pairs, layout)))


def _tiles(pairs: Pairs, layout: _Layout) -> Panel:
    """The tiles with numbers above and texts below, or the strips with texts at their right."""
    if layout.strips:
        return _strips(pairs, layout)
    items: list[Item] = []
    tall, wide = layout.size(pairs.rows[0].pictures)
    size, count = layout.letters, len(pairs.numbers)
    labels = layout.left - 0.7 * size
    for start in range(0, count, layout.across):
        kept = range(start, min(start + layout.across, count))
        y = start // layout.across * _step(pairs, layout)
        for index, row in enumerate(pairs.rows):
            if row.heads:
                y += round(1.36 * size)
                items += [
                    Text(
                        _x(layout, at) + wide / 2, y - 0.36 * size, row.heads[at], size, INK, bold=True, align="center"
                    )
                    for at in kept
                ]
            elif index:
                y += ROWS if index == 1 else 2 * ROWS
            items.append(Text(labels, y + tall / 2, row.label, size, INK, bold=True, align="right", middle=True))
            for at in kept:
                items += _tile(pairs, row, at, layout, (_x(layout, at), y))
            y += tall
        for label, texts in pairs.texts:
            y += round(1.28 * size)
            items.append(Text(labels, y, label, size, GREY, align="right"))
            items += [Text(_x(layout, at) + wide / 2, y, texts[at], size, GREY, align="center") for at in kept]
    across = min(layout.across, count)
    height = math.ceil(count / layout.across) * _step(pairs, layout) - size
    return Panel(tuple(items), layout.left + (across - 1) * layout.pitch + wide, height)


def _x(layout: _Layout, at: int) -> float:
    return round(layout.left + at % layout.across * layout.pitch)


def _strips(pairs: Pairs, layout: _Layout) -> Panel:
    """The strips of each kernel below each other, its number at the left, its texts at the right."""
    items: list[Item] = []
    tall, wide = layout.size(pairs.rows[0].pictures)
    size, step, count = layout.letters, _step(pairs, layout), len(pairs.numbers)
    each, end = max(tall, size), layout.left + wide + 0.9 * size
    down = math.ceil(count / layout.across)
    for at, number in enumerate(pairs.numbers):
        x, y = round(at // down * layout.pitch), at % down * step
        items.append(Text(x, y + each / 2, str(number), size, INK, bold=True, middle=True))
        for index, row in enumerate(pairs.rows):
            top = round(y + index * (each + 5) + (each - tall) / 2)
            label = f"B {row.heads[at]}" if index and row.heads else row.label
            items.append(
                Text(x + layout.left - 0.7 * size, top + tall / 2, label, size, GREY, align="right", middle=True)
            )
            items += _tile(pairs, row, at, layout, (x + layout.left, top))
        middle = y + (len(pairs.rows) * each + (len(pairs.rows) - 1) * 5) / 2
        for line, (label, texts) in enumerate(pairs.texts):
            below = middle + (line - (len(pairs.texts) - 1) / 2) * 1.28 * size
            items.append(Text(x + end, below, f"{label} {texts[at]}", size, GREY, middle=True))
    columns = math.ceil(count / down)
    width = round((columns - 1) * layout.pitch) + end + _texts_width(pairs, size)
    return Panel(tuple(items), width, down * step - 0.5 * size)


def _tile(pairs: Pairs, row: TileRow, at: int, layout: _Layout, position: tuple[float, float]) -> list[Item]:
    limit = float(row.limits[at]) or 1.0
    scale = colour.Scale("layer", -limit if pairs.signed else 0.0, limit, signed=pairs.signed)
    return planes_tile(
        row.pictures[at][: layout.planes], scale, position, layout.zoom, gap=layout.gap, zero=bool(row.zero[at]),
        broken=not np.isfinite(row.pictures[at]).all(),
    )  # fmt: skip


def _bars(pairs: Pairs) -> Panel:
    """The bars of the colours, of A and B and of B − A."""
    limit, difference = number_text(pairs.limit), number_text(pairs.difference)
    if pairs.own_ranges:
        bars = [kernel_bar("A, B: one scale per pair", coloured=pairs.coloured)]
    else:
        ends = (f"−{limit}", f"+{limit}") if pairs.signed else ("0", limit)
        bars = [kernel_bar("A, B: one scale", ends, coloured=False, signed=pairs.signed)]
    if not pairs.matched and pairs.difference:
        ends = (f"−{difference}", f"+{difference}") if pairs.signed else ("0", difference)
        bars.append(kernel_bar("B − A: one scale", ends, coloured=pairs.coloured, signed=pairs.signed))
    items: list[Item] = []
    y = 0.0
    for bar in bars:
        items += moved(bar, 0, y)
        y += bar.height + 22
    return Panel(tuple(items), max(bar.width for bar in bars), y - 22)


def _title(pairs: Pairs) -> str:
    name = f"Kernels of {pairs.layer.name} in A and B" if pairs.layer.name else "Kernels in A and B"
    pairing = pairs.layer.pairing
    if pairing is None:
        return name
    return f"{name}, matched no better than chance" if pairing.better is False else f"{name}, matched"


def weights_text(comparison: Comparison) -> list[str]:
    """``A`` and ``B``, each with its model and weights; the model once."""
    first, second = comparison.sources
    labels = [_short(first, None), _short(second, first)]
    return [f"{which}  {label}" for which, label in zip("AB", labels, strict=True) if label]


def _short(source: Source | None, other: Source | None) -> str:
    label = source.short_label if source else ""
    if source and other and source.title == other.title:
        return label.removeprefix(f"{source.title}, ")
    return label


def _identity_lines(pairs: Pairs) -> list[str]:
    """Both weights, and the layer."""
    layer, bank = pairs.layer.layer, pairs.layer.a
    kind = [layer_text(layer)] if layer else []
    weight = f"{bank.reading} weight" if bank.reading else "weight"
    lines = [weights_text(pairs.comparison), [*kind, f"{weight} {shape_text(bank.weight.shape)}"]]
    return [PART.join(parts) for parts in lines if parts]


def _identity(pairs: Pairs) -> str:
    return PART.join(_identity_lines(pairs))


def _count(pairs: Pairs) -> str:
    return f"{len(pairs.numbers):,} of {counted(len(pairs.layer.changes), 'kernel')}"


def _difference(pairs: Pairs) -> str:
    """How much finer the range of B − A is."""
    if not pairs.difference:
        return "B − A is 0 everywhere"
    what = {"sum": "sum of weights", "norm": "norm", "spectrum": "response"}.get(pairs.view, "weight")
    if pairs.view == "sum" and pairs.layer.a.weight.shape[1] == 1:
        what = "weight"
    sign = "±" if pairs.signed else "0 to "
    times = pairs.limit / pairs.difference
    more = f"{number_text(times)} times as much" if times >= 1 else f"1/{number_text(1 / times)} of it"
    return (
        f"B − A: one colour scale for all kernels, {sign}{number_text(pairs.difference)}; "
        f"the largest {what} is {number_text(pairs.limit)}, {more}"
    )


def _caption(pairs: Pairs, layout: _Layout) -> list[str]:
    if pairs.matched:
        return _matched_caption(pairs)
    return [
        _order_line(pairs, f"{_count(pairs)}, paired by number"),
        *_view_lines(pairs, layout),
        _range(pairs),
        _difference(pairs),
        "Angle: between A and B as vectors; norm ×: ‖B‖ / ‖A‖",
        f"{NORMALISED}. {MATTERING}",
        *odd_lines(pairs.layer),
        *map(sentence, pairs.layer.notes),
    ]


def _order_line(pairs: Pairs, which: str) -> str:
    how = "Sorted by their change ‖B − A‖ / ‖A‖; " if pairs.sorted else ""
    return sentence(f"{how}{which}")


def _matched_caption(pairs: Pairs) -> list[str]:
    return [
        "Kernels of A, each above its best match in B, one to one; numbers are those in A and in B",
        _matched_count(pairs),
        _range(pairs),
        *chance_lines(pairs.layer),
        *map(sentence, pairs.layer.notes),
    ]


def _matched_count(pairs: Pairs) -> str:
    total = 0 if pairs.layer.pairing is None else len(pairs.layer.pairing.a)
    unpaired = len(pairs.layer.changes) - total
    left = f"; {counted(unpaired, 'kernel')} as good as zero or not finite in A or B" if unpaired else ""
    return f"{len(pairs.numbers):,} of {counted(total, 'pair')}{left}"


def chance_lines(layer: ComparedLayer) -> list[str]:
    """The mean cosine of matched kernels beside that by chance."""
    pairing = layer.pairing
    if pairing is None:
        return []
    numbers = [number_text(each) for each in (pairing.mean, pairing.chance, pairing.bound, pairing.own)]
    mean, chance, bound, own = numbers
    if pairing.better is None:
        return [f"Mean cosine {mean}, no chance level (it needs two kernels); in their original order {own}"]
    verdict = "" if pairing.better else ": no better than chance"
    banks = f"{pairing.banks} random mixtures of the kernels of B"
    by_chance = f"by chance {chance}, in 98 % of cases below {bound} ({banks})"
    return [f"Mean cosine {mean}{verdict}; {by_chance}; in their original order {own}"]


def _view_lines(pairs: Pairs, layout: _Layout) -> list[str]:
    if pairs.as_planes:
        return ["Left to right: the red, green and blue plane of each kernel"]
    if pairs.view == "rgb":
        return []
    weight = pairs.layer.a.weight
    if pairs.view in ("channels", "matrix"):
        what = "cell its weight" if set(weight.shape[2:]) == {1} else "plane its weights"
        cut = f"the first {layout.planes:,} of " if layout.planes < pairs.planes else ""
        channels = counted(pairs.planes, "input channel")
        return [f"View {pairs.view}: each strip is one kernel, each {what} for one of {cut}{channels}"]
    bank = replace(pairs.layer.a, weight=weight[:1])
    text = kernel_tiles(bank, view=pairs.view).explanation.replace("one column of slices", "one row of slices")
    return [f"View {pairs.view}: {text}"]


def _range(pairs: Pairs) -> str:
    if pairs.own_ranges:
        return own_scale_text("pair", "absolute weight", grey=pairs.coloured)
    sign = "±" if pairs.signed else "0 to "
    return f"A and B: one colour scale for all kernels, {sign}{number_text(pairs.limit)}"


def odd_lines(layer: ComparedLayer) -> list[str]:
    """Irregularities: kernels that died or were born, those as good as zero, not finite, or bitwise the same."""
    lines = []
    for numbers, verb, where in ((layer.died, "died", "B"), (layer.born, "born", "A")):
        if numbers:
            kernels = counted(len(numbers), "kernel")
            is_born = inflected(len(numbers), "was ", "were ") if verb == "born" else ""
            lines.append(f"{kernels} {is_born}{verb} (as good as zero in {where} only): {numbers_text(numbers)}")
    if layer.zero:
        are = counted(len(layer.zero), "kernel is", "kernels are")
        lines.append(f"{are} as good as zero in both, struck through: {numbers_text(layer.zero)}")
    if layer.broken.any():
        numbers = tuple(map(int, np.flatnonzero(layer.broken)))
        have = counted(len(numbers), "kernel has", "kernels have")
        lines.append(f"{have} values that are not finite (chequered), and no angle or norm: {numbers_text(numbers)}")
    same = int(np.count_nonzero(layer.equal))
    if layer.same:
        lines.append("All kernels are bitwise the same")
    elif same:
        lines.append(
            f"{same:,} of {counted(len(layer.equal), 'kernel')} {inflected(same, 'is', 'are')} bitwise the same"
        )
    return lines


def _notices(pairs: Pairs) -> tuple[str, ...]:
    """The lines that change the meaning of the picture."""
    if pairs.matched:
        return (_matched_count(pairs), *chance_lines(pairs.layer))
    return (_count(pairs), _difference(pairs), *odd_lines(pairs.layer), *map(sentence, pairs.layer.notes))


def _parts(pairs: Pairs, tiles: Panel, lines: tuple[str, ...], texts: tuple[str, str]) -> PageParts:
    title, identity = texts
    if not pairs.matched:  # a look may draw fewer kernels, and counts them
        lines = (_order_line(pairs, "paired by number"), *lines[1:])
    return PageParts(
        title, tiles, source=PART.join(weights_text(pairs.comparison)), identity=identity, caption=lines,
        notices=_notices(pairs), versions=(partial(_boxed, pairs),),
        hint="Choose fewer kernels with --channels, or draw a page: --look page.",
    )  # fmt: skip


def _boxed(pairs: Pairs, box: Box) -> Body:
    """As many kernels as fit into a box, the first of them, as large as possible in whole pixels."""
    size = max(box.smallest, 20.0)
    best: tuple[int, _Layout] | None = None
    for side in range(150, 47, -6):
        layout = _layout(pairs, box.width, size, side)
        rows = int((box.height + size) // _step(pairs, layout))
        count = min(len(pairs.numbers), layout.across * rows)
        whole = count == len(pairs.numbers)
        if count and (
            best is None or (count > best[0] and (whole or side > SIDE - 6))
        ):  # smaller ones only to show all
            best = count, layout
        if whole:
            break
    if best is None:
        return Body(Panel((Text(0, 0, "", 1.0),), 1, 1))  # letters that are too small
    shown = pairs.part(best[0])
    return Body(_tiles(shown, best[1]), _notices(shown), fixed=True, facts=_facts(shown))

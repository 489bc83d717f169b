"""A chain of layers along one dimension: its sizes as text, and the picture of what one unit depends on."""

from __future__ import annotations

import math
from functools import partial
from itertools import groupby, pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from kernelviz.arithmetic.chains import Chain, make_chain, without_same
from kernelviz.drawing.colour import Indexed
from kernelviz.drawing.looks import find_look
from kernelviz.drawing.page import (
    INK,
    SEPARATOR,
    Item,
    Panel,
    Raster,
    Shape,
    Strokes,
    Text,
    moved,
    outline,
    text_block,
    text_width,
    wrap,
)
from kernelviz.drawing.worksheets import (
    BORDER,
    DARK,
    DASH,
    DIM,
    HEAD,
    LINE,
    MARGIN,
    NARROWEST,
    SMALL,
    WIDEST,
    refitted,
    worksheet,
)
from kernelviz.version import SCHEMA, __version__
from kernelviz.wording import aligned, counted, inflected

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kernelviz.drawing.figures import PageFigure
    from kernelviz.drawing.looks import LookName

WIDTH = WIDEST - 2 * MARGIN
BETWEEN = 60.0  # two towers
TALLEST, PITCH, BAR = 34.0, 92.0, 27.0  # the largest cell; from layer to layer; the height of a layer
CLOSEST, AROUND = 36.0, 130.0  # from layer to layer at least; what is above and below the layers
LINED, ZEROS = 8.0, 19.0  # the smallest cells with lines between them, and with a 0 in the padding
MOST_CELLS = 4096  # of a layer whose cells are drawn one by one
ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth", "eleventh",
            "twelfth", "thirteenth")  # fmt: skip
NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")


def plot_chain(
    size: int, layers: Sequence[str], *, padding: str | None = None, look: LookName = "page", caption: bool = True
) -> PageFigure:
    """Draw a chain of layers along one dimension: how sizes shrink or grow, and what one unit of the last layer reads.

    Args:
        size: The number of values of the input, up to 10,000.
        layers: Up to twelve layers from the input on: ``conv3``, with stride, padding and dilation ``conv3s2p1d2``;
            ``pool2``; a transposed convolution ``up4s2p1``.
        padding: ``same`` pads the convolutions that have no padding of their own so that they keep the size, and draws
            them beside those without.
        look: ``page``, ``slide`` (1280 × 720 pixels, large type), ``dark`` or ``print``.
        caption: Whether identity and caption are drawn; without them they are only in the recipe.

    Raises:
        UsageError: A layer is malformed, not even the first one fits, or there are too many layers or values.

    Example:
        >>> figure = kernelviz.plot_chain(16, ["conv3", "conv3", "pool2"], padding="same")
    """
    from kernelviz.drawing.figures import draw_page

    chains = work_out_chain(size, layers, padding=padding)
    return draw_page(chain_page(chains), chain_recipe(chains), find_look(look, caption=caption))


def work_out_chain(size: int, layers: Sequence[str], *, padding: str | None = None) -> list[Chain]:
    """The chain; if ``same`` padding changes it, after the one without.

    Raises:
        UsageError: As for ``plot_chain``.
    """
    from kernelviz.errors import UsageError

    if padding not in (None, "same", "valid"):
        raise UsageError(
            f"The padding of a chain must be same or valid, but got {padding!r}.",
            "Numbers are written at each layer.",
            "For example conv3p1",
        )
    layers = [layers] if isinstance(layers, str) else list(layers)
    chain = make_chain(size, layers, same=padding == "same")
    bare = without_same(chain, layers)
    return [chain] if bare is None else [bare, chain]


def end_text(chain: Chain) -> str:
    """``no fourth layer: 1 − 6 + 1 < 1``, or that any number of them fits; empty if nothing is to be stated."""
    number = ORDINALS[len(chain.layers)]
    if chain.refused is not None:
        return f"no {number} layer: {chain.refused.formula} < 1"
    if len(set(chain.sizes)) == 1:
        return f"{chain.layers[-1].formula} = {chain.sizes[-1]:,}: any number of layers"
    return ""


def chain_notes(chain: Chain) -> list[str]:
    """What was left out, and irregularities of the padding."""
    notes = []
    if len(chain.layers) < chain.requested:
        notes.append(f"{len(chain.layers)} of {chain.requested} layers fit")
    uneven = [layer for layer in chain.layers if layer.before != layer.after]
    if uneven:
        before, after = uneven[0].before, uneven[0].after
        notes.append(f"an even kernel has no middle: {counted(before, 'zero')} before, {after} after")
    return notes


_HEADS = ("layer", "size", "computed as", "needed")


def chain_lines(chains: Sequence[Chain]) -> list[str]:
    """The sizes as lines of text."""
    lines: list[str] = []
    for chain in chains:
        rows = [("input", f"{chain.size:,}", "", f"{sum(chain.reads[0]):,}")]
        for layer, reads in zip(chain.layers, chain.reads[1:], strict=True):
            rows.append((layer.layer.text, f"{layer.result:,}", layer.formula, f"{sum(reads):,}"))
        unit = f"needed: the number of cells that unit {chain.unit} of the last layer (counted from 0) depends on"
        lines += [*([""] if lines else []), f"{_title(chain)}{_padded(chain, chains)}", unit, ""]
        lines += aligned(_HEADS, rows, ("size", "needed")).splitlines()
        end = end_text(chain)
        lines += [*chain_notes(chain), *([end] if end else [])]
    return lines


def chain_summary(chains: Sequence[Chain]) -> str:
    """The input and the layers in one line, with all paddings that are drawn."""
    if len(chains) > 1:
        return f"{_title(chains[-1])}, with no padding and with same padding"
    return f"{_title(chains[-1])}{_padded(chains[-1], chains)}"


def _padded(chain: Chain, chains: Sequence[Chain]) -> str:
    return "" if len(chains) == 1 and not chain.same else ", same padding" if chain.same else ", no padding"


def _title(chain: Chain) -> str:
    names = [(text, len([*each])) for text, each in groupby(layer.layer.text for layer in chain.layers)]
    parts = [text if number == 1 else f"{number} × {text}" for text, number in names]
    return f"one dimension, {counted(chain.size, 'value')}, {', '.join(parts)}"


def chain_entry(chains: Sequence[Chain]) -> dict[str, Any]:
    """The fields of the JSON document: the last chain is the one that was requested."""

    def entry(chain: Chain) -> dict[str, Any]:
        return {
            "sizes": list(chain.sizes),
            "layers": [
                {
                    "layer": each.layer.text, "formula": each.formula, "size": each.result,
                    "padding": [each.before, each.after],
                }
                for each in chain.layers
            ],
            "unit": chain.unit,
            "reads": [sum(each) for each in chain.reads],
            "end": end_text(chain) or None,
            "notes": chain_notes(chain),
        }  # fmt: skip

    bare = entry(chains[0]) if len(chains) > 1 else None
    return {"operation": "chain", "chain": entry(chains[-1]), "chain_without_padding": bare}


def chain_recipe(chains: Sequence[Chain]) -> dict[str, Any]:
    """The recipe of the picture."""
    chain = chains[-1]
    return {
        "kernelviz": __version__,
        "schema": SCHEMA,
        "command": "explain",
        "model": None,
        "layer": f"chain of {_title(chain)}",
        "view": "chain",
        "image": None,
        "settings": {
            "size": chain.size, "layers": [each.layer.text for each in chain.layers], "same": chain.same,
            "requested": chain.requested,
        },
        "shown": len(chain.layers),
        "total": chain.requested,
        "limits": None,
        "nonfinite": 0,
        "notes": [note for each in chains for note in chain_notes(each)],
    }  # fmt: skip


def chain_page(chains: Sequence[Chain], tallest: float = math.inf) -> Panel:
    """One tower, or without and with padding beside each other; with layers closer together for a box of this height."""
    chain = chains[-1]
    room = WIDTH if len(chains) == 1 else (WIDTH - BETWEEN) / 2
    if len(chains) == 1:
        room = max(NARROWEST - 2 * MARGIN, min(WIDTH, sum(_sides(chain, TALLEST, _labels(chain, formulas=True)))))
    labels = [_labels(each, formulas=len(set(each.sizes)) > 1) for each in chains]
    cell = min(_fitting(each, texts, room) for each, texts in zip(chains, labels, strict=True))
    short = [[text.partition(":")[0] for text in texts] for texts in labels]
    wide = min(_fitting(each, texts, room) for each, texts in zip(chains, short, strict=True))
    if cell < LINED and cell < 0.5 * wide:  # the formulas would leave no room for the layers
        labels, cell = short, wide
    most = max(len(each.layers) for each in chains)
    pitch = max(CLOSEST, min(PITCH, (tallest - AROUND) / max(1, most)))
    towers = []
    for each, texts in zip(chains, labels, strict=True):
        name = "" if len(chains) == 1 else "same padding" if each.same else "no padding"
        towers.append(_tower(each, name, room, texts, (cell, pitch)))
    height = max(tower.height for tower in towers)
    items: list[Item] = []
    for number, tower in enumerate(towers):
        items += moved(tower, number * (room + BETWEEN), height - tower.height)
    body = Panel(tuple(items), room if len(towers) == 1 else WIDTH, height)
    reads = {", ".join(f"{sum(cells):,}" for cells in reversed(each.reads[:-1])) for each in chains}
    texts = ["black: one unit of the last layer; grey: the cells it depends on"]
    texts[0] += f", {min(reads)} from layer to layer" if len(reads) == 1 else ""
    texts += [note for each in chains for note in chain_notes(each)]
    if any(layer.layer.kind == "up" for layer in chain.layers):
        texts.append("up: a transposed convolution")
    texts.append("for images, the same holds for rows and for columns")
    settings = _title(chain)
    bare = chains[0]
    if bare.refused is not None and len(bare.layers) == bare.requested and not bare.same:
        number = len(bare.layers)
        settings += f": {NUMBERS[number]} {inflected(number, 'layer')} {inflected(number, 'uses', 'use')} up the input"
    fewer = [partial(refitted, partial(chain_page, chains))] if tallest == math.inf else []
    notices = [*dict.fromkeys(note for each in chains for note in chain_notes(each))]
    return worksheet("Stacked layers", settings, body, [], [*dict.fromkeys(texts)], notices=notices, fewer=fewer)


def _labels(chain: Chain, *, formulas: bool) -> list[str]:
    """What is beside the input and beside each layer."""
    if not formulas:
        return ["input", *("" for _ in chain.layers)]
    return ["input", *(f"{layer.layer.text}:  {layer.formula}" for layer in chain.layers)]


def _sides(chain: Chain, cell: float, labels: Sequence[str]) -> tuple[float, float]:
    """What a tower takes at the left and at the right of its middle, with cells of this size."""
    left = right = 0.0
    number = max(text_width(f"{size:,}", HEAD, bold=True) for size in chain.sizes) + 18
    for at, (size, label) in enumerate(zip(chain.sizes, labels, strict=True)):
        before, after = _around(chain, at)
        left = max(left, (size / 2 + before) * cell + number)
        right = max(right, (size / 2 + after) * cell + (text_width(label, SMALL) + 18 if label else 0.0))
    return left, right


def _around(chain: Chain, at: int) -> tuple[int, int]:
    """The padding that the layer above puts around these cells."""
    above = chain.layers[at] if at < len(chain.layers) else None
    return (above.before, above.after) if above is not None and above.layer.kind != "up" else (0, 0)


def _fitting(chain: Chain, labels: Sequence[str], room: float) -> float:
    """The largest cell that fits, of whole pixels if it is large."""
    low, high = 0.0, TALLEST
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if sum(_sides(chain, middle, labels)) <= room else (low, middle)
    return math.floor(low + 1e-6) if low >= LINED else low


def _tower(chain: Chain, name: str, room: float, labels: Sequence[str], sizes: tuple[float, float]) -> Panel:
    """The layers above each other from the input up, and the cells that one unit depends on.

    ``sizes`` are those of a cell, and from layer to layer.
    """
    cell, pitch = sizes
    left, right = _sides(chain, cell, labels)
    x = left + max(0.0, (room - left - right) / 2)
    top = 46.0 if name else 8.0
    items: list[Item] = [Text(0, 24, name, HEAD, INK, bold=True)] if name else []
    extents = []
    for at in range(len(chain.sizes) - 1, -1, -1):
        y = top + (len(chain.sizes) - 1 - at) * pitch
        items += _layer(chain, at, (x, y, cell), labels[at])
        cells = np.flatnonzero(np.frombuffer(bytes(chain.reads[at]), np.uint8))
        begin = x - chain.sizes[at] / 2 * cell
        extents.append((begin + cells[0] * cell, begin + (cells[-1] + 1) * cell, y) if len(cells) else None)
    for upper, lower in pairwise(extents):
        if upper and lower:
            points = (
                (upper[0], upper[2] + BAR + 1), (upper[1], upper[2] + BAR + 1), (lower[1], lower[2] - 1),
                (lower[0], lower[2] - 1),
            )  # fmt: skip
            items.insert(0, Shape(points, SEPARATOR))
    y = top + (len(chain.sizes) - 1) * pitch + BAR
    if end := end_text(chain):
        indent = max(0.0, x - chain.sizes[0] / 2 * cell)
        indent = min(indent, max(0.0, room - text_width(end, SMALL)))
        words, y = text_block(wrap(end, SMALL, room), indent, y + 14, SMALL, colour=DIM)
        items += words
    return Panel(tuple(items), room, y)


def _layer(chain: Chain, at: int, look: tuple[float, float, float], label: str) -> list[Item]:
    """One row of cells around x, with its size at the left and how it is computed at the right."""
    x, y, cell = look
    size, reads, last = chain.sizes[at], chain.reads[at], at == len(chain.layers)
    begin, width = x - size / 2 * cell, size * cell
    before, after = _around(chain, at)
    items = _row(reads, (begin, y, cell), last=last)
    items += _zeros(begin - before * cell, y, before, cell) + _zeros(begin + width, y, after, cell)
    items.append(outline(begin, y, width, BAR, colour=BORDER, line=2.2))
    middle = y + BAR / 2
    items.append(
        Text(begin - before * cell - 18, middle, f"{size:,}", HEAD, INK, bold=True, align="right", middle=True)
    )
    if label:
        items.append(Text(begin + width + after * cell + 18, middle, label, SMALL, DIM, middle=True))
    return items


def _row(reads: bytearray, look: tuple[float, float, float], *, last: bool) -> list[Item]:
    """The cells of a layer: those that the unit depends on are grey, the unit itself is black."""
    begin, y, cell = look
    size, colour = len(reads), DARK if last else DASH
    read = np.frombuffer(bytes(reads), np.uint8) > 0
    if cell >= 1 and size <= MOST_CELLS:
        cells = Indexed(read[None].astype(np.uint8), ("paper", colour))
        items: list[Item] = [Raster(cells, begin, y, size * cell, BAR)]
    else:  # cells narrower than a pixel: from the first to the last
        found = np.flatnonzero(read)
        wide = max(2.0, (found[-1] + 1 - found[0]) * cell) if len(found) else 0.0
        items = [outline(begin + found[0] * cell, y, wide, BAR, colour=colour, line=0)] if wide else []
    if cell >= LINED and size > 1:
        lines = tuple((begin + at * cell, y, begin + at * cell, y + BAR) for at in range(1, size))
        items.append(Strokes(lines, LINE, 1.6))
    return items


def _zeros(x: float, y: float, number: int, cell: float) -> list[Item]:
    """Dashed cells of padding."""
    if not number:
        return []
    right = x + number * cell
    lines = [(x, y, right, y), (x, y + BAR, right, y + BAR)]
    if cell >= LINED:
        lines += [(x + at * cell, y, x + at * cell, y + BAR) for at in range(number + 1)]
    items: list[Item] = [Strokes(tuple(lines), DASH, 1.6, dashed=True)]
    if cell >= ZEROS:
        items += [
            Text(x + (at + 0.5) * cell, y + BAR / 2, "0", SMALL, DIM, align="center", middle=True)
            for at in range(number)
        ]
    return items

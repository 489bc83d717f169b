"""Settings of convolutions compared by what they cost: the numbers as text, and the picture."""

from __future__ import annotations

import math
import re
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Any

from kernelviz.arithmetic.costs import Cost, compare_costs
from kernelviz.arithmetic.operations import Convolution, Pooling
from kernelviz.arithmetic.windows import sides_text, size_text
from kernelviz.drawing.looks import find_look
from kernelviz.drawing.page import INK, Item, Panel, Rule, Text, moved, outline, text_width, wrap
from kernelviz.drawing.worksheets import (
    DARK,
    DIM,
    FAINT,
    HEAD,
    LINE,
    MARGIN,
    SMALL,
    WIDEST,
    refitted,
    worksheet,
)
from kernelviz.explain.chain import NUMBERS
from kernelviz.version import SCHEMA, __version__
from kernelviz.wording import aligned, counted, value_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kernelviz.arithmetic.costs import CostLayer
    from kernelviz.arithmetic.windows import Sides
    from kernelviz.drawing.figures import PageFigure
    from kernelviz.drawing.looks import LookName

WIDTH = WIDEST - 2 * MARGIN
NAME, READS, OUTPUT = 330.0, 130.0, 210.0  # the first three columns; the bars share the rest
BETWEEN = 36.0
ICON, LEAST_ICON, LEAST_CELL = 88.0, 30.0, 7.0  # of the side of the largest receptive field, or output; of its cells
BAR, LEAST_BAR = 26.0, 2.0
HEADS, ABOVE = 52.0, 40.0  # above the settings; above the squares and the bars of one
PITCH, APART, CLOSE = 30.0, 26.0, 18.0  # from line to line; between two settings; on a slide
PAPER = "paper"
GRID = 11  # cells along a side of a receptive field that are drawn one by one


def plot_costs(
    size: Sides,
    settings: Sequence[str],
    *,
    in_channels: int = 1,
    out_channels: int | None = None,
    padding: str | None = None,
    bias: bool = False,
    look: LookName = "page",
    caption: bool = True,
) -> PageFigure:
    """Draw what settings of convolutions cost on the same input, one in a row: weights and multiply-adds as bars.

    Args:
        size: Rows and columns of the input, up to 10,000.
        settings: Up to eight settings, each of up to twelve layers joined by ``+``: ``conv7``, ``3xconv3``,
            ``dw7+conv1``, ``conv3s2p1d1g4c128``; see ``compare_costs``.
        in_channels: The channels of the input.
        out_channels: The channels of the output of each convolution that has none of its own; by default those of the
            input.
        padding: ``same`` pads the convolutions that have no padding of their own so that they keep the size.
        bias: Whether each output channel of a convolution has a bias.
        look: ``page``, ``slide`` (1280 × 720 pixels, large type), ``dark`` or ``print``.
        caption: Whether identity and caption are drawn; without them they are only in the recipe.

    Raises:
        UsageError: A setting is malformed or does not fit the input, or there are too many.

    Example:
        >>> figure = kernelviz.plot_costs(56, ["conv7", "3xconv3", "dw7+conv1"], in_channels=64, padding="same")
    """
    from kernelviz.drawing.figures import draw_page

    costs = compare_costs(
        size, settings, in_channels=in_channels, out_channels=out_channels, padding=padding, bias=bias
    )
    return draw_page(cost_page(costs), cost_recipe(costs), find_look(look, caption=caption))


def cost_settings(costs: Sequence[Cost]) -> str:
    """What the settings have in common: the input, and whether biases are counted."""
    first = costs[0].layers[0].operation
    return f"input {size_text((first.in_channels, *first.input_size))}, {'with' if _has_bias(costs) else 'no'} bias"


def _has_bias(costs: Sequence[Cost]) -> bool:
    made = (layer.operation for cost in costs for layer in cost.layers)
    return any(isinstance(each, Convolution) and each.bias for each in made)


def layer_text(layer: CostLayer) -> str:
    """``7 × 7 depthwise, stride 2, padding 3``."""
    made = layer.operation
    plain = (made.kernel if isinstance(made, Pooling) else (1, 1)), (1, 1)
    name = "max pool" if isinstance(made, Pooling) else "depthwise" if layer.is_depthwise else ""
    groups = 1 if isinstance(made, Pooling) or layer.is_depthwise else made.groups
    parts = [
        f"{size_text(made.kernel)} {name}".strip(),
        f"{groups} groups" if groups > 1 else "",
        "" if made.stride == plain[0] else f"stride {sides_text(made.stride)}",
        "" if made.dilation == plain[1] else f"dilation {sides_text(made.dilation)}",
        f"padding {_padding_text(padding)}" if any(padding := _padding(made)) else "",
    ]
    return ", ".join(filter(None, parts))


def _padding(made: Convolution | Pooling) -> tuple[int, int, int, int]:
    """The rows and columns at the top, bottom, left and right."""
    if isinstance(made, Convolution):
        return made.padding
    return made.padding[0], made.padding[0], made.padding[1], made.padding[1]


def _padding_text(padding: tuple[int, int, int, int]) -> str:
    top, bottom, left, right = padding
    return sides_text((top, left)) if (top, left) == (bottom, right) else ",".join(map(str, padding))


def setting_text(cost: Cost) -> str:
    """``3 × 3, three times``, ``7 × 7 depthwise, then 1 × 1``."""
    runs = [(text, len([*each])) for text, each in groupby(map(layer_text, cost.layers))]
    return ", then ".join(text if number == 1 else f"{text}, {_times(number)}" for text, number in runs)


def _times(number: int) -> str:
    return "twice" if number == 2 else f"{NUMBERS[number]} times"


def share_text(number: int, first: int) -> str:
    """``55 %`` of the first setting, ``× 2.8`` from two times on; empty if the first has none."""
    if not first:
        return ""
    share = number / first
    if share >= 2:
        return f"× {share:,.0f}" if share >= 100 or share == round(share) else f"× {share:.1f}"
    percent = 100 * share
    return f"{percent:.0f} %" if percent >= 10 or percent == round(percent) else f"{percent:.1f} %"


_HEADS = ("setting", "reads", "output", "weights", "of first", "multiply–adds", "of first", "values")


def _weights_head(costs: Sequence[Cost]) -> str:
    return "parameters" if _has_bias(costs) else "weights"


def _weights_text(costs: Sequence[Cost]) -> str:
    return f"{_weights_head(costs)}: kernel · channels in and out{' + biases' if _has_bias(costs) else ''}"


def cost_lines(costs: Sequence[Cost]) -> list[str]:
    """The table, and how the weights are computed, as lines of text."""
    first, weights = costs[0], _weights_head(costs)
    heads = (*_HEADS[:3], weights, *_HEADS[4:])
    rows = [
        (
            cost.text, size_text(cost.receptive_field), size_text(cost.output_shape), f"{cost.parameters:,}",
            share_text(cost.parameters, first.parameters), f"{cost.macs:,}", share_text(cost.macs, first.macs),
            f"{cost.values:,}",
        )
        for cost in costs
    ]  # fmt: skip
    formulas = [(cost.text, cost.formula, f"= {cost.parameters:,}") for cost in costs]
    return [
        f"costs of {counted(len(costs), 'setting')}, {cost_settings(costs)}",
        "reads: the receptive field of one output value; values: the number of output values of all layers",
        "",
        *aligned(heads, rows, heads[3:]).splitlines(),
        "",
        *aligned(("setting", _weights_text(costs), ""), formulas).splitlines(),
        "",
        "multiply–adds of a layer: output rows · columns · weights",
        *(notes if (notes := cost_notes(costs)) else []),
    ]


def cost_notes(costs: Sequence[Cost]) -> list[str]:
    """What makes the settings different beside their costs, and where the border of the image matters."""
    notes = []
    if len({cost.output_shape for cost in costs}) > 1:
        notes.append("the outputs differ in size")
    if len({cost.receptive_field for cost in costs}) > 1:
        notes.append("the receptive fields differ in size")
    size = costs[0].layers[0].operation.input_size
    if any(side > end for cost in costs for side, end in zip(cost.receptive_field, size, strict=True)):
        notes.append("receptive fields larger than the input: as if the image had no border")
    return notes


def cost_entry(costs: Sequence[Cost]) -> dict[str, Any]:
    """The fields of the JSON document."""
    first = costs[0].layers[0].operation
    return {
        "operation": "cost",
        "input_size": list(first.input_size),
        "in_channels": first.in_channels,
        "bias": _has_bias(costs),
        "settings": [
            {
                "setting": cost.text,
                "receptive_field": list(cost.receptive_field),
                "output_shape": list(cost.output_shape),
                "parameters": cost.parameters,
                "formula": cost.formula,
                "macs": cost.macs,
                "values": cost.values,
                "layers": [_layer_entry(layer) for layer in cost.layers],
            }
            for cost in costs
        ],
        "notes": cost_notes(costs),
    }


def _layer_entry(layer: CostLayer) -> dict[str, Any]:
    made = layer.operation
    return {
        "layer": layer.text,
        "kernel": list(made.kernel),
        "stride": list(made.stride),
        "padding": list(_padding(made)),
        "dilation": list(made.dilation),
        "groups": made.groups if isinstance(made, Convolution) else None,
        "in_channels": made.in_channels,
        "out_channels": made.out_channels,
        "output_size": list(made.output_size),
        "parameters": made.parameters,
        "formula": layer.formula or None,
        "macs": made.macs,
        "values": layer.values,
    }


def cost_recipe(costs: Sequence[Cost]) -> dict[str, Any]:
    """The recipe of the picture."""
    entry = cost_entry(costs)
    return {
        "kernelviz": __version__,
        "schema": SCHEMA,
        "command": "explain",
        "model": None,
        "layer": f"costs of {', '.join(cost.text for cost in costs)}, {cost_settings(costs)}",
        "view": "cost",
        "image": None,
        "settings": {
            **{key: entry[key] for key in ("input_size", "in_channels", "bias")},
            "settings": [
                {key: each[key] for key in ("setting", "output_shape", "parameters", "macs")}
                for each in entry["settings"]
            ],
        },
        "shown": len(costs),
        "total": len(costs),
        "limits": None,
        "nonfinite": 0,
        "notes": cost_notes(costs),
    }


def cost_page(costs: Sequence[Cost], tallest: float = math.inf) -> Panel:
    """A row for each setting; for a box of this height with small squares, or with the first settings alone."""
    shown = list(costs)
    body = _table(shown, costs, tallest)
    while body.height > tallest and len(shown) > 1:
        shown.pop()
        body = _table(shown, costs, tallest)
    left_out = [] if len(shown) == len(costs) else [f"the first {len(shown)} of {len(costs)} settings"]
    texts = [
        *left_out,
        "bars: one scale per column, from 0, one part per layer",
        "percent and ×: relative to the first setting" if len(costs) > 1 else "",
        "squares drawn to scale" if len(costs) > 1 else "",
        f"{_weights_text(costs)}; multiply–adds: output rows · columns · weights, layer by layer",
        *cost_notes(costs),
    ]
    title = "What each setting costs" if len(costs) > 1 else "What the setting costs"
    fewer = [partial(refitted, partial(cost_page, costs))] if tallest == math.inf else []
    return worksheet(
        title, cost_settings(costs), body, [], texts, notices=[*left_out, *cost_notes(costs)], fewer=fewer,
        facts={"shown": len(shown)} if left_out else None,
    )  # fmt: skip


def _table(costs: Sequence[Cost], every: Sequence[Cost], tallest: float) -> Panel:
    """Heads, and a row for each of these settings; shares and scales are those of all."""
    wide = (WIDTH - NAME - READS - OUTPUT - 4 * BETWEEN) / 2
    starts = [0.0]
    for width in (NAME, READS, OUTPUT, wide):
        starts.append(starts[-1] + width + BETWEEN)
    names = ("setting", "reads", "output", _weights_head(every), "multiply–adds")
    items: list[Item] = [Text(x, 26, name, HEAD, INK, bold=True) for x, name in zip(starts, names, strict=True)]
    items.append(Rule(0, 42, WIDTH, 42, LINE, 1.6))
    boxed = tallest < math.inf
    apart, y = CLOSE if boxed else APART, HEADS
    icon = max(LEAST_ICON, min(ICON, (tallest - HEADS) / len(costs) - ABOVE - apart - 4))
    for cost in costs:
        parts = [
            _name(cost),
            _size(cost.receptive_field, [each.receptive_field for each in every], icon, READS),
            _size(cost.output_shape, [each.output_shape[1:] for each in every], icon, OUTPUT),
            _amount([each.operation.parameters for each in cost.layers], [each.parameters for each in every], wide),
            _amount([each.operation.macs for each in cost.layers], [each.macs for each in every], wide),
        ]
        if not boxed:
            parts[3] = _explained(parts[3], cost.formula if cost.parameters else "", wide)
            parts[4] = _explained(parts[4], f"{cost.values:,} output values", wide)
        for x, part in zip(starts, parts, strict=True):
            items += moved(part, x, y)
        y += max(part.height for part in parts) + apart
    return Panel(tuple(items), WIDTH, y - apart)


def _name(cost: Cost) -> Panel:
    """The setting as written, and below it what it is."""
    lines = _lines(re.findall(r"[^+]+\+?", cost.text), HEAD, bold=True)
    items: list[Item] = [Text(0, 26 + PITCH * at, line, HEAD, INK, bold=True) for at, line in enumerate(lines)]
    y = 26 + PITCH * len(lines)
    words = _lines(re.findall(r"[^,]+,?", setting_text(cost)), SMALL)
    items += [Text(0, y + PITCH * at, line, SMALL, DIM) for at, line in enumerate(words)]
    return Panel(tuple(items), NAME, y + PITCH * (len(words) - 1) + 8)


def _lines(parts: Sequence[str], size: float, *, bold: bool = False) -> list[str]:
    """The parts in as few lines as possible, broken inside a part only if it is wider than the column."""
    lines = [""]
    for part in parts:
        if lines[-1] and text_width(lines[-1] + part, size, bold=bold) > NAME:
            lines.append("")
        lines[-1] += part if lines[-1] else part.lstrip()
    return [piece for line in lines for piece in wrap(line, size, NAME, bold=bold)]


def _size(shape: tuple[int, ...], every: Sequence[tuple[int, int]], icon: float, room: float) -> Panel:
    """A size as text, and rows and columns in proportion to the largest, the cells apart if they are few."""
    longest = max(max(each) for each in every)
    tall, wide = (max(3.0, icon * side / longest) for side in shape[-2:])
    lines = wrap(size_text(shape), SMALL, room)
    items: list[Item] = [Text(0, 26 + PITCH * at, line, SMALL, INK) for at, line in enumerate(lines)]
    top = ABOVE + PITCH * (len(lines) - 1)
    few = max(shape[-2:]) <= GRID and icon / longest >= LEAST_CELL
    rows, columns = shape[-2:] if few else (1, 1)
    gap = 1.0 if rows * columns > 1 else 0.0
    for row in range(rows):
        for column in range(columns):
            x, y = column * wide / columns, top + row * tall / rows
            items.append(outline(x, y, wide / columns - gap, tall / rows - gap, colour=FAINT, line=0))
    return Panel(tuple(items), room, top + tall + 4)


def _amount(parts: Sequence[int], every: Sequence[int], wide: float) -> Panel:
    """A number with its share of the first setting, and its bar in parts on a scale from 0 to the largest."""
    number, total = sum(parts), max(every)
    text = f"{number:,}"
    if text_width(text, HEAD, bold=True) > wide:
        text = value_text(float(number))
    share = share_text(number, every[0]) if len(every) > 1 else ""
    x = text_width(text, HEAD, bold=True) + 14
    items: list[Item] = [Text(0, 26, text, HEAD, INK, bold=True)]
    if share and x + text_width(share, SMALL) <= wide:
        items.append(Text(x, 26, share, SMALL, DIM))
    if number:
        items.append(outline(0, ABOVE, max(LEAST_BAR, wide * number / total), BAR, colour=DARK, line=0))
    done = 0
    for part in parts[:-1]:
        done += part
        gap = wide * done / total if number else 0.0
        if 2 < gap < wide * number / total - 2:
            items.append(outline(gap - 1, ABOVE, 2, BAR, colour=PAPER, line=0))
    return Panel(tuple(items), wide, ABOVE + BAR + 4)


def _explained(amount: Panel, text: str, wide: float) -> Panel:
    """With a text below the bar."""
    lines = wrap(text, SMALL, wide) if text else []
    items = [Text(0, ABOVE + BAR + PITCH * (1 + at), line, SMALL, DIM) for at, line in enumerate(lines)]
    return Panel((*amount.items, *items), wide, amount.height + PITCH * len(lines))

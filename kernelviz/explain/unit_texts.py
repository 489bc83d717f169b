"""A traced unit as text for people and as JSON for programs; pictures use the same texts."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from kernelviz.drawing.captions import layer_text
from kernelviz.explain.texts import name_text
from kernelviz.explain.texts import settings_text as operation_text
from kernelviz.traces import PooledUnit
from kernelviz.wording import PART, counted, fixed_text, value_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kernelviz.records import Array
    from kernelviz.traces import Unit


SHOWN = 6  # channels written out at most
COLOURS = ("red", "green", "blue")
_MOST_WINDOW = 400  # values of a pooled window that are printed


def decimals_for(*values: Array) -> int | None:
    """The decimals at which the largest of these numbers has three or four digits; None outside 10⁻³ … 10⁵."""
    largest = _largest(*values)
    if largest == 0:
        return 0
    power = math.floor(math.log10(largest))
    if not -3 <= power < 5:
        return None
    return max(0, min(4, 2 - power))


def _largest(*values: Array) -> float:
    """The largest finite size of these numbers."""
    sizes = np.abs(np.concatenate([np.ravel(each) for each in values]) if values else np.zeros(0))
    return float(sizes[np.isfinite(sizes)].max(initial=0))


def short_decimals(*values: Array) -> int | None:
    """The same for narrow cells: two decimals if the largest is between 0.1 and 10, three from 0.01 on, None below."""
    decimals = decimals_for(*values)
    if decimals == 4 and _largest(*values) < 0.01:  # three decimals would leave one digit
        return None
    return 2 if decimals == 3 else 3 if decimals == 4 else decimals


def value_of(value: float) -> str:
    """The value that the network computed, in five significant digits."""
    if value == 0 or not math.isfinite(value):
        return value_text(value)
    return f"{value:#.5g}".rstrip(".").replace("-", "−")


def at_text(unit: Unit) -> str:
    """``channel 15, row 69, column 73``."""
    channel, row, column = unit.at
    return f"channel {channel}, row {row}, column {column}"


def settings_text(unit: Unit) -> str:
    """The layer's settings and its padding."""
    if isinstance(unit, PooledUnit):
        return _pool_settings(unit)
    top, bottom, left, right = unit.around
    if (top, left) != (bottom, right):
        around = f"padding {top} above, {bottom} below, {left} left, {right} right"
    else:
        around = f"padding {top if top == left else f'{top} × {left}'}" if top or left else ""
    return ", ".join(part for part in (layer_text(unit.layer), around) if part)


def _pool_settings(unit: PooledUnit) -> str:
    """``MaxPool2d: max pooling, 3 × 3, stride 2, padding 1, each of 64 channels by itself``."""
    operation = unit.operation
    if operation is None:
        return unit.layer.kind
    added = tuple(np.subtract(unit.around, np.repeat(operation.padding, 2)).tolist())
    sides = [f"{n} {side}" for n, side in zip(added, ("above", "below", "left", "right"), strict=True) if n]
    own = f", the layer itself pads {', '.join(sides)}" if sides else ""
    name = name_text(operation)
    kind = unit.layer.kind if "Pool" in unit.layer.kind else ""
    return f"{kind + ': ' if kind else ''}{name[0].lower()}{name[1:]}, {operation_text(operation)}{own}"


def pool_verb(unit: PooledUnit) -> str:
    """``max``, or ``mean``."""
    return "max" if unit.maximum else "mean"


def pool_sum_text(unit: PooledUnit) -> str:
    """``the largest of 9 values``; of a mean, ``12.34 / 9``: the sum of its values, and by how many it is divided."""
    count = int(np.count_nonzero(~unit.padding))
    if unit.taken is not None:
        row, column = (first + at * step for first, at, step in zip(
            (unit.rows[0], unit.columns[0]), unit.taken, _spacing(unit), strict=True
        ))  # fmt: skip
        return f"the largest of {counted(count, 'value')}: that of row {row}, column {column} of the input"
    total = sum_text(unit, float(unit.window[unit.kernel > 0].sum()))
    zeros = (unit.counted or 0) - count
    padding = f", with {counted(zeros, 'value')} of padding" if zeros > 0 and unit.padding.any() else ""
    return f"the sum of {counted(count, 'value')}, {total}, divided by {unit.counted}{padding}"


def _spacing(unit: PooledUnit) -> tuple[int, int]:
    return unit.operation.dilation if unit.operation else (1, 1)


def channel_name(unit: Unit, position: int) -> str:
    """``0 (red)`` if the layer reads an image of three channels, else the channel's number."""
    number = unit.numbers[position]
    return f"{number} ({COLOURS[number]})" if reads_colours(unit) else str(number)


def reads_colours(unit: Unit) -> bool:
    """Whether the input channels are red, green and blue."""
    return unit.reads_image and unit.seen is not None and len(unit.numbers) == 3


def field_text(unit: Unit) -> str:
    """The size of the unit's receptive field in the image."""
    if unit.box is None:
        return f"receptive field unknown: {unit.unseen}"
    height, width = (unit.input_size or unit.inputs.shape)[-2:]
    text = (
        f"{_side(unit.box.top, unit.box.bottom)} × {_side(unit.box.left, unit.box.right)} of {height} × {width} pixels"
    )
    return f"{text} +" if unit.mixes_image else text


def _side(first: int, last: int) -> int:
    return max(0, last - first + 1)


def bias_text(unit: Unit) -> str:
    """``no bias``, or the bias."""
    return "no bias" if unit.bias is None else f"bias {fixed_text(unit.bias, sum_decimals(unit))}"


def sum_decimals(unit: Unit) -> int | None:
    """The decimals of sums, bias and total, one more than those of cells."""
    decimals = decimals_for(unit.sums, np.array([unit.total, unit.bias or 0.0]))
    return None if decimals is None else decimals + 1


def sum_text(unit: Unit, value: float) -> str:
    """A sum with the same decimals as all sums; 0 is written as 0."""
    return "0" if value == 0 else fixed_text(value, sum_decimals(unit))


def unit_lines(unit: Unit) -> list[str]:
    """The unit, the windows, kernels, products and sums that contribute most, and the value."""
    if isinstance(unit, PooledUnit):
        return _pooled_lines(unit)
    source = f"{unit.source.label}{PART}" if unit.source else ""
    image = f"{PART}image {unit.image.name}" if unit.image else ""
    lines = [f"One value of {unit.layer.name}: {at_text(unit)}", f"  {source}{settings_text(unit)}{image}"]
    if unit.layer.transposed:
        lines.append(
            "  a transposed convolution as a convolution: its kernel is flipped, · are zeros between the values"
        )
    n, height, width = unit.window.shape
    lines.append(
        f"  it reads {_span('row', unit.rows)}, {_span('column', unit.columns)} of {counted(n, 'input channel')}"
    )
    lines.append(f"  {_field_line(unit)}")
    order = unit.strongest(SHOWN) if n > SHOWN else range(n)
    if n > SHOWN:
        lines += ["", f"the {SHOWN} channels with the largest |sum| of {n:,}, largest first"]
    shown = list(order)
    digits = [decimals_for(each[shown]) for each in (unit.window, unit.kernel, unit.products)]
    if height * width == 1:
        lines += ["", *_pointwise(unit, shown, digits)]
    else:
        for position in shown:
            lines += ["", *_matrices(unit, position, digits)]
    lines += ["", *_adding_up(unit, shown)]
    return lines


def _pooled_lines(unit: PooledUnit) -> list[str]:
    """The pooled value, its window, and how it follows from it."""
    source = f"{unit.source.label}{PART}" if unit.source else ""
    image = f"{PART}image {unit.image.name}" if unit.image else ""
    lines = [
        f"One value of {unit.layer.name}: {at_text(unit)}",
        f"  {source}{settings_text(unit)}{image}",
        f"  it reads {_span('row', unit.rows)}, {_span('column', unit.columns)} of input channel {unit.numbers[0]}",
        f"  {_field_line(unit)}",
        "",
        "window (· is padding)" if unit.padding.any() else "window",
    ]
    values, decimals = unit.window[0], decimals_for(unit.window)
    texts = [
        ["·" if unit.padding[i, j] else fixed_text(float(value), decimals) for j, value in enumerate(row)]
        for i, row in enumerate(values)
    ]
    wide = max(len(text) for row in texts for text in row)
    if values.size <= _MOST_WINDOW:
        lines += ["  " + " ".join(text.rjust(wide) for text in row) for row in texts]
    else:
        lines.append(f"  {values.shape[0]} × {values.shape[1]} values")
    verb, more = pool_verb(unit), None if decimals is None else decimals + 2
    rows = [(verb, unit.total), ("in the network", unit.value)]
    lines += ["", pool_sum_text(unit)]
    return lines + [f"{name:<16}  {fixed_text(value, more)}" for name, value in rows]


def _span(noun: str, ends: tuple[int, int]) -> str:
    first, last = (str(end).replace("-", "−") for end in ends)
    return f"{noun} {first}" if first == last else f"{noun}s {first} to {last}"


def _field_line(unit: Unit) -> str:
    if unit.box is None:
        return field_text(unit)
    box = unit.box
    more = "; + the whole image, which a gate, a mean or attention mixes in" if unit.mixes_image else ""
    box_text = f"rows {box.top} to {box.bottom}, columns {box.left} to {box.right}"
    return f"receptive field {field_text(unit).removesuffix(' +')}: {box_text}{more}"


def _pointwise(unit: Unit, order: Sequence[int], digits: Sequence[int | None]) -> list[str]:
    """One line per channel: value × weight = product."""
    lines = []
    width = max(len(channel_name(unit, position)) for position in order)
    values, weights, products = (each[:, 0, 0] for each in (unit.window, unit.kernel, unit.products))
    for position in order:
        terms = [
            fixed_text(float(each[position]), many)
            for each, many in zip((values, weights, products), digits, strict=True)
        ]
        factor = f"({terms[1]})" if terms[1].startswith("−") else terms[1]
        lines.append(f"  channel {channel_name(unit, position):>{width}}: {terms[0]} × {factor} = {terms[2]}")
    return lines


def _matrices(unit: Unit, position: int, digits: Sequence[int | None]) -> list[str]:
    """Window × kernel = products of one channel, beside each other."""
    numbers = unit.window[position], unit.kernel[position], unit.products[position]
    around = unit.padding | unit.stretched
    blocks = []
    for which, (values, decimals) in enumerate(zip(numbers, digits, strict=True)):
        texts = [
            ["·" if around[i, j] and which != 1 and value == 0 else fixed_text(float(value), decimals)
             for j, value in enumerate(row)]
            for i, row in enumerate(values)
        ]  # fmt: skip
        wide = max(len(text) for row in texts for text in row)
        blocks.append([" ".join(text.rjust(wide) for text in row) for row in texts])
    middle = len(blocks[0]) // 2
    total = f"   Σ {value_of(float(unit.sums[position]))}"
    lines = [f"channel {channel_name(unit, position)}: window × kernel = products"]
    for i, parts in enumerate(zip(*blocks, strict=True)):
        signs = ("  ×  ", "  =  ") if i == middle else ("     ", "     ")
        lines.append(f"  {parts[0]}{signs[0]}{parts[1]}{signs[1]}{parts[2]}{total if i == middle else ''}")
    return lines


def _adding_up(unit: Unit, order: Sequence[int]) -> list[str]:
    rest = [position for position in range(len(unit.numbers)) if position not in set(order)]
    named = [(f"channel {channel_name(unit, position)}", float(unit.sums[position])) for position in order]
    if rest:
        named.append((f"the other {counted(len(rest), 'channel')}", float(unit.sums[rest].sum())))
    named += [("bias", unit.bias or 0.0), ("sum", unit.total), ("in the network", unit.value)]
    decimals = decimals_for(np.array([value for _, value in named]))
    more = None if decimals is None else decimals + 2
    rows = [(name, fixed_text(value, more)) for name, value in named]
    if unit.bias is None:
        rows[-3] = ("bias", "none")
    names, values = max(len(name) for name, _ in rows), max(len(value) for _, value in rows)
    return [f"{name:<{names}}  {value:>{values}}" for name, value in rows]


def map_line(unit: Unit) -> str:
    """One line about a map: its layer, its size, and its range."""
    height, width = unit.map.shape
    finite = unit.map[np.isfinite(unit.map)]
    ends = f", from {value_of(float(finite.min()))} to {value_of(float(finite.max()))}" if finite.size else ""
    return f"{unit.layer.name}: map {unit.at[0]}, {height} × {width}{ends}"


def map_entry(unit: Unit) -> dict[str, Any]:
    """A map in the JSON document: its channel, the kernel that makes it, and its values."""
    return {
        "channel": unit.at[0],
        "channels": list(unit.numbers),
        "kernel": None if isinstance(unit, PooledUnit) else unit.kernel.tolist(),
        "bias": unit.bias,
        "map": unit.map.tolist(),
    }


def unit_entry(unit: Unit) -> dict[str, Any]:
    """The step of the JSON document, with the other facts about the unit."""
    channel, row, column = unit.at
    box = unit.box
    return {
        "at": [row, column],
        "channel": channel,
        "channels": list(unit.numbers),
        "rows": list(unit.rows),
        "columns": list(unit.columns),
        "window": unit.window.tolist(),
        "kernel": unit.kernel.tolist(),
        "padding": unit.padding.tolist(),
        "stretched": unit.stretched.tolist(),
        "products": unit.products.tolist(),
        "sums": unit.sums.tolist(),
        "bias": unit.bias,
        "sum": unit.total,
        "value": unit.value,
        "sees": None if box is None else {"rows": [box.top, box.bottom], "columns": [box.left, box.right]},
        "sees_whole_image": unit.mixes_image,
        "text": "\n".join(unit_lines(unit)),
        **_pool_entry(unit),
    }


def _pool_entry(unit: Unit) -> dict[str, Any]:
    """The fields that a pooled value has besides: which value a maximum takes, and by how many a mean is divided."""
    if not isinstance(unit, PooledUnit):
        return {}
    return {
        "pooling": pool_verb(unit),
        "taken": None if unit.taken is None else list(unit.taken),
        "counted": unit.counted,
    }

"""Rules for operations that read windows: convolutions, pools, enlargements, padding, ``unfold`` and ``fold``."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from kernelviz.arithmetic.windows import adaptive_window, interpolated_window, transposed_window, window
from kernelviz.network.tracing.reads import (
    FAR,
    FREE_POSITION,
    LARGEST_REARRANGED,
    NO_POSITION,
    NOWHERE,
    POSITION,
    AxisReads,
    TensorReads,
    as_taps,
    check_size,
    concatenated,
    gathered,
    narrowed,
    reduced,
    step_along,
    together,
    whole,
)
from kernelviz.network.tracing.rules import QUANTISED_LINEAR, RULES, Call, Found

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kernelviz.records import Array


def _convolution(call: Call) -> Found:
    source, weight = call.known(call.args[0]), call.args[1]
    if source is None or call.known(weight) is not None:
        return _mixed_weight(call, source)
    stride, padding, dilation, transposed, _, groups = call.args[3:9]
    sizes, outputs, kernel = call.shape[2:], call.output.shape[2:], weight.shape[2:]
    rank = len(call.shape)
    result = _over_channels(source, groups, call.shape[1], call.output.shape[1])
    taps, ratios = [], []
    for axis, (size, output) in enumerate(zip(sizes, outputs, strict=True)):
        shape = (int(kernel[axis]), _at(stride, axis), _at(padding, axis), _at(dilation, axis))
        taps.append(_convolution_taps(output, shape, transposed=transposed))
        ratios.append(Fraction(1, shape[1]) if transposed else Fraction(shape[1]))
        del size
    return _numbered(over_windows(result, sizes, taps, ratios), call.output.shape[1], rank)


QUANTISED_CONVOLUTIONS = tuple(
    f"{name}{axes}d{more}" for name in ("conv", "conv_transpose") for axes in (1, 2, 3) for more in ("", "_relu")
)


def _quantised(call: Call) -> Found:
    """``quantized::conv2d`` and its variants: (input, packed weight, ...)."""
    if call.operator.partition("::")[0] != "quantized":
        return TensorReads(lost=f"receptive fields are not followed through {call.operator}")
    packed = call.args[1]
    weight = packed.unpack()[0]
    known = call.known
    plain = replace(
        call,
        args=(call.args[0], weight, None, packed.stride(), packed.padding(), packed.dilation(), packed.transpose(),
              packed.output_padding(), packed.groups()),
        known=lambda tensor: None if tensor is weight else known(tensor),
    )  # fmt: skip
    return _convolution(plain)


def quantised_macs(call: Call) -> int:
    """Multiply-accumulates of a quantised convolution or linear layer; 0 of other operations."""
    kinds = (*QUANTISED_CONVOLUTIONS, *QUANTISED_LINEAR)
    if call.name not in kinds or call.operator.partition("::")[0] != "quantized":
        return 0
    packed = call.args[1]
    weight = int(packed.unpack()[0].numel())
    if call.name in QUANTISED_LINEAR:
        return weight * int(np.prod(call.shape[:-1]))
    spatial = call.shape if packed.transpose() else call.output.shape
    return weight * int(spatial[0]) * int(np.prod(spatial[2:]))


def _numbered(carried: TensorReads, count: int, rank: int) -> TensorReads:
    """New channel numbers; heads in the batch dimension have separate numbers."""
    before = carried.channel
    result = carried.with_channels(count, 1, rank)
    if before is None or before.ndim != rank + 1 or before.shape[1] == 1 or result.channel is None:
        return result
    heads = (
        before[:, :, :1].reshape(1, before.shape[1], *[1] * (rank - 1))
        if before.size == before.shape[1] * before.shape[2]
        else None
    )
    return result if heads is None else replace(result, channel=heads * count + result.channel)


def _mixed_weight(call: Call, source: Found) -> Found:
    """A convolution whose weight depends on the image (a mix of experts), or whose input is a constant."""
    weight = call.known(call.args[1])
    if source is None or weight is None or not all(reads.pooled or not reads.spread for reads in weight.axes):
        return TensorReads(lost="a convolution whose kernels are made from the rows of the image")
    known = call.known
    plain = replace(call, known=lambda tensor: None if tensor is call.args[1] else known(tensor))
    result = _convolution(plain)
    return result and result.each(lambda reads: replace(reads, mixed=True))


def _over_channels(carried: TensorReads, groups: int, channels: int, outputs: int) -> TensorReads:
    """Every output channel reads all channels of its group."""

    def read(reads: AxisReads) -> AxisReads:
        if 1 not in reads.spread:
            return reads
        if groups == 1:
            before = reads.home
            united = together(reads, 1)
            return united if before != 1 else replace(united, mixed=True)
        planes = whole(reads).planes
        split = planes.reshape(planes.shape[0], planes.shape[1], groups, channels // groups, *planes.shape[3:])
        grouped = together(replace(reads, planes=split, beside=()), 2).planes.squeeze(3)
        return replace(reads, planes=grouped.repeat(outputs // groups, axis=2), beside=())

    return carried.each(read)


def over_windows(
    carried: TensorReads,
    sizes: Sequence[int],
    taps: Sequence[Array],
    ratios: Sequence[Fraction],
    first: int = 2,
    *,
    free_taps: Sequence[Array] | None = None,
) -> TensorReads:
    """The result of reading each dimension from ``first`` on in windows; ``ratios`` are the factors of the jump.

    ``free_taps`` are the positions that are read if the image continues, where they are not ``taps``.
    """
    carried = carried.judged(range(first, first + len(sizes)))
    axes = []
    homes = [_home(reads, number, len(carried.axes), len(sizes), first) for number, reads in enumerate(carried.axes)]
    for number, original in enumerate(carried.axes):
        home = None if homes.count(homes[number]) > 1 else homes[number]  # tokens: both axes are along one dimension
        reads = original
        if home is not None and home - first < len(sizes) and reads.planes.shape[home + 1] > 1:
            reads = replace(reads, jump=reads.jump * step_along(reads, home))
        for at, (size, positions) in enumerate(zip(sizes, taps, strict=True)):
            free, dim = None if free_taps is None else free_taps[at], first + at
            reads = gathered(reads, dim, positions, size, at_home=dim == home, free_taps=free)
        along = homes[number]
        if along is not None and home is None and along - first < len(taps):
            reads = _placed(reads, carried, number, along, taps[along - first])
        if np.array_equal(reads.planes[POSITION], original.planes[POSITION]):
            reads = replace(reads, jump=original.jump)  # 1 × 1: positions are unchanged
        if home is not None and not reads.pooled:
            reads = replace(reads, jump=reads.jump * ratios[home - first])
        axes.append(reads)
    return replace(carried, axes=tuple(axes))


def _placed(reads: AxisReads, tokens: TensorReads, axis: int, dim: int, taps: Array) -> AxisReads:
    """The reads of windows along ``dim`` of ``tokens``, at the first row and column of each window if these form a grid."""
    size = max(each.planes.shape[dim + 1] for each in tokens.axes)
    if len(taps) == size:
        return reads  # every token keeps its position
    inside = (taps >= 0) & (taps < size)

    def starts(each: AxisReads, plane: int) -> Array:
        line = np.moveaxis(each.planes[plane], dim, -1).reshape(-1, size)[0]
        found: Array = np.where(inside, line[np.clip(taps, 0, size - 1)], FAR).min(axis=1)
        return found

    cells = np.stack([starts(each, POSITION) for each in tokens.axes])
    count = len(np.unique(cells, axis=1).T)
    if count < len(taps) or count != np.prod([len(np.unique(line)) for line in cells]):
        return replace(reads, gridless=_NO_GRID)
    planes, around = reads.planes.copy(), [1] * (reads.planes.ndim - 1)
    around[dim] = len(taps)
    planes[POSITION] = cells[axis].reshape(around)
    planes[FREE_POSITION] = starts(tokens.axes[axis], FREE_POSITION).reshape(around)
    return replace(reads, planes=planes)


_NO_GRID = "its windows along the tokens do not end where rows end, so its units form no rows and columns"


def _home(reads: AxisReads, number: int, axes: int, spatial: int, first: int) -> int | None:
    """The windowed dimension along which the positions of this axis differ."""
    if reads.home is not None:
        return reads.home if reads.home >= first else None
    differing = [dim for dim in reads.spread if first <= dim < first + spatial]
    if len(differing) == 1 and spatial == axes:
        return differing[0]  # positions differ along channels too: parts were flipped or moved before joining
    lies_there = reads.planes[POSITION].size == 1 and spatial == axes
    return first + number if lies_there else None


def _at(values: Sequence[int], axis: int) -> int:
    return int(values[axis if len(values) > 1 else 0])


@lru_cache(maxsize=512)
def _convolution_taps(output: int, shape: tuple[int, int, int, int], *, transposed: bool = False) -> Array:
    read: Callable[..., Sequence[int]] = transposed_window if transposed else window
    return as_taps([read(position, *shape) for position in range(output)])


def _pool(call: Call) -> Found | list[Found]:
    """Pools with a window: (input, kernel, stride, padding, dilation or ceil_mode, ...)."""
    spatial = 1 if "1d" in call.name else 3 if "3d" in call.name else 2
    sizes, outputs = call.shape[-spatial:], _first(call.output).shape[-spatial:]
    kernel = call.args[1]
    stride = call.option(2, "stride", None) or kernel
    padding = call.option(3, "padding", [0])
    dilation = call.option(4, "dilation", [1]) if "max" in call.name else [1]
    shapes = [
        (_at(kernel, axis), _at(stride, axis), _at(padding, axis), _at(dilation, axis)) for axis in range(spatial)
    ]
    taps = [_convolution_taps(output, shape) for output, shape in zip(outputs, shapes, strict=True)]
    ratios = [Fraction(_at(stride, axis)) for axis in range(spatial)]
    return _each_output(call, over_windows(call.source, sizes, taps, ratios, len(call.shape) - spatial))


def _adaptive(call: Call) -> Found | list[Found]:
    first = call.shape[-1:] if "1d" in call.name else call.shape[-2:] if "2d" in call.name else call.shape[-3:]
    outputs = _first(call.output).shape[-len(first) :]
    dims = range(len(call.shape) - len(first), len(call.shape))
    if all(size == 1 for size in outputs):
        return _each_output(call, reduced(call.source, list(dims), keep=True))
    taps = [
        as_taps([adaptive_window(position, size, output) for position in range(output)])
        for size, output in zip(first, outputs, strict=True)
    ]
    ratios = [Fraction(size, output) for size, output in zip(first, outputs, strict=True)]
    result = over_windows(call.source, first, taps, ratios, dims[0])
    return _each_output(call, result if outputs == first else _of_a_set_size(result))


def _of_a_set_size(carried: TensorReads) -> TensorReads:
    """The reads of a map whose size was set, so that its windows may grow with the image."""
    return carried.each(lambda reads: replace(reads, uncertain=True))


def _each_output(call: Call, found: Found) -> Found | list[Found]:
    return [found, *[None] * (len(call.output) - 1)] if isinstance(call.output, (tuple, list)) else found


def _first(output: Any) -> Any:
    return output[0] if isinstance(output, (tuple, list)) else output


def _enlarge(call: Call) -> Found:
    """``upsample_*``: from (N, C, *sizes) to (N, C, *outputs)."""
    sizes, outputs = call.shape[2:], call.output.shape[2:]
    if "_aa" in call.name and any(output < size for size, output in zip(sizes, outputs, strict=True)):
        return TensorReads(lost=f"{call.name} to a smaller size")
    kind: Any = (
        "nearest-exact" if "nearest_exact" in call.name else "nearest" if "nearest" in call.name
        else "cubic" if "bicubic" in call.name else "linear"
    )  # fmt: skip
    corners = "nearest" not in call.name and bool(call.option(2, "align_corners", None))
    given = [value for value in (*call.args[2:], *call.kwargs.values()) if not isinstance(value, bool)]
    scales = [
        value
        for item in given
        for value in (item if isinstance(item, (list, tuple)) else [item])
        if isinstance(value, float)
    ]
    taps, ratios = [], []
    for axis, (size, output) in enumerate(zip(sizes, outputs, strict=True)):
        scale = float(scales[axis]) if len(scales) == len(sizes) and scales[axis] else None
        windows = [
            interpolated_window(position, size, output, kind, scale, corners=corners) for position in range(output)
        ]
        taps.append(as_taps(windows))
        ratios.append(Fraction(size, output))
    result = over_windows(call.source, sizes, taps, ratios)
    if len(result.axes) == len(outputs):
        result = replace(result, axes=tuple(map(_spread_out, result.axes, range(2, len(call.shape)), outputs)))
    return result if scales or outputs == sizes else _of_a_set_size(result)


def _spread_out(reads: AxisReads, dim: int, count: int) -> AxisReads:
    """A mean over the image that is enlarged to ``count`` rows has positions again; each row still reads all of it."""
    if not reads.pooled or reads.planes.size > len(reads.planes) or count == 1:
        return reads
    planes = reads.planes.repeat(count, axis=dim + 1)
    planes[POSITION] = np.arange(count).reshape([count if at == dim else 1 for at in range(planes.ndim - 1)])
    return replace(reads, planes=planes)


def _pad(call: Call) -> Found:
    """Constant padding: (before, after) for the last dimension first; padding reads nothing."""
    carried, amounts = call.source, call.args[1]
    pairs = [(int(amounts[at]), int(amounts[at + 1])) for at in range(0, len(amounts), 2)][::-1]
    first = len(call.shape) - len(pairs)
    if first < 2:
        leading = pairs[: max(0, 2 - first)]
        if any(before or after for before, after in leading):
            return _pad_any(call, carried, pairs, first)
        pairs, first = pairs[len(leading) :], first + len(leading)
    sizes = call.shape[first:]
    taps = [np.arange(-before, size + after)[:, None] for size, (before, after) in zip(sizes, pairs, strict=True)]
    homes = [reads.home for reads in carried.axes]
    tokens = len(homes) > 1 and homes[0] == homes[1] is not None
    if first == 2 and all(home is None or home >= 2 for home in homes) and not tokens and not _in_windows(carried):
        return over_windows(carried, sizes, taps, [Fraction(1)] * len(pairs)) if pairs else carried
    return _pad_any(call, carried, pairs, first)


def _in_windows(carried: TensorReads) -> bool:
    return any(reads.home is None and bool(reads.spread) for reads in carried.axes)


def _pad_any(call: Call, carried: TensorReads, pairs: Sequence[tuple[int, int]], first: int) -> TensorReads:
    """Padding of any dimensions; the padding reads nothing and has no position."""
    result, shape = carried, list(call.shape)
    for dim, (before, after) in enumerate(pairs, start=first):
        if min(before, after) < 0:
            return TensorReads(lost="padding that cuts")
        parts = [(None, before), (result, shape[dim]), (None, after)]
        kept = [(part, size) for part, size in parts if size]
        if len(kept) > 1:
            channel = result.channel
            result = concatenated([part for part, _ in kept], [size for _, size in kept], dim, len(shape))
            result = replace(result, channel=channel) if channel is not None and channel.shape[dim + 1] == 1 else result
        shape[dim] += before + after
    return result


def _mirror(call: Call) -> Found:
    """Reflection and replication padding of the last dimensions."""
    amounts = call.args[1]
    pairs = [(int(amounts[at]), int(amounts[at + 1])) for at in range(0, len(amounts), 2)][::-1]
    first = len(call.shape) - len(pairs)
    mode = "reflect" if "reflection" in call.name else "edge"
    taps = [
        np.pad(np.arange(size), pair, mode=mode)[:, None]  # type: ignore[call-overload]
        for size, pair in zip(call.shape[first:], pairs, strict=True)
    ]
    free = [
        np.arange(-before, size + after)[:, None]
        for size, (before, after) in zip(call.shape[first:], pairs, strict=True)
    ]
    return over_windows(call.source, call.shape[first:], taps, [Fraction(1)] * len(pairs), first, free_taps=free)


def _shuffle(call: Call) -> Found:
    """Pixel shuffle and unshuffle: every pixel reads the union of its block."""
    sizes, outputs = call.shape[-2:], call.output.shape[-2:]
    factor = call.args[1]
    if call.name == "pixel_shuffle":
        taps = [np.arange(output)[:, None] // factor for output in outputs]
        ratio = Fraction(1, factor)
    else:
        taps = [np.arange(output)[:, None] * factor + np.arange(factor) for output in outputs]
        ratio = Fraction(factor)
    rank = len(call.shape)
    result = over_windows(call.source, sizes, taps, [ratio] * 2, rank - 2)
    return result.with_channels(call.output.shape[-3], rank - 3, rank)


RULES.update(
    {
        "convolution": _convolution,
        "_convolution": _convolution,
        **dict.fromkeys(QUANTISED_CONVOLUTIONS, _quantised),
        "constant_pad_nd": _pad,
        "pixel_shuffle": _shuffle,
        "pixel_unshuffle": _shuffle,
        **dict.fromkeys(
            ("max_pool2d_with_indices", "max_pool3d_with_indices", "max_pool2d", "avg_pool1d", "avg_pool2d",
             "avg_pool3d", "quantized_max_pool1d", "quantized_max_pool2d", "quantized_max_pool3d"), _pool,
        ),
        **dict.fromkeys(
            ("_adaptive_avg_pool2d", "adaptive_avg_pool2d", "adaptive_max_pool2d", "adaptive_avg_pool1d",
             "_adaptive_avg_pool3d", "adaptive_max_pool3d"), _adaptive,
        ),
        **dict.fromkeys(
            ("upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d", "_upsample_nearest_exact2d",
             "upsample_bilinear2d", "upsample_bicubic2d", "upsample_linear1d", "upsample_trilinear3d",
             "_upsample_bilinear2d_aa", "_upsample_bicubic2d_aa"), _enlarge,
        ),
        **dict.fromkeys(
            ("reflection_pad1d", "reflection_pad2d", "replication_pad1d", "replication_pad2d", "replication_pad3d"),
            _mirror,
        ),
    }
)  # fmt: skip


def _unfold(call: Call) -> Found:
    """(N, C, H, W) -> (N, C · kh · kw, L): each window as a column, at the window's position."""
    kernel, dilation, padding, stride = (tuple(map(int, call.args[at])) for at in range(1, 5))
    sizes, channels = call.shape[2:], call.shape[1]
    outputs = [
        (size + 2 * pad - gap * (side - 1) - 1) // step + 1
        for size, side, gap, pad, step in zip(sizes, kernel, dilation, padding, stride, strict=True)
    ]
    taps = [
        as_taps(
            [window(position, kernel[axis], stride[axis], padding[axis], dilation[axis]) for position in range(output)]
        )
        for axis, output in enumerate(outputs)
    ]
    if any(reads.home not in (None, 2, 3) for reads in call.source.axes):
        return TensorReads(lost="windows of what does not lie in rows and columns")

    def unfold(reads: AxisReads) -> AxisReads:
        home = reads.home
        if home is None:
            single = reads.planes.size == len(reads.planes)
            return replace(reads, planes=reads.planes.reshape(-1, 1, 1, 1)) if single else reads
        parts = [
            gathered(
                gathered(reads, 2, taps[0][:, [row]], sizes[0], at_home=home == 2),
                3, taps[1][:, [column]], sizes[1], at_home=home == 3,
            ).planes
            for row in range(kernel[0])
            for column in range(kernel[1])
        ]  # fmt: skip
        shape = (6, 1, channels, len(parts), *outputs)
        check_size(shape, most=LARGEST_REARRANGED)
        columns = np.stack([np.broadcast_to(part, (6, 1, channels, *outputs)) for part in parts], axis=3)
        planes = columns.reshape(6, 1, channels * len(parts), -1)
        return replace(reads, planes=planes, jump=reads.jump * stride[home - 2], beside=())

    result = call.source.each(unfold)
    if any(reads.planes.ndim != 4 for reads in result.axes):
        return TensorReads(lost="windows of a tensor whose rows and columns are not known")
    return result.with_channels(channels * kernel[0] * kernel[1], 1, 3)


def _fold(call: Call) -> Found:
    """(N, C · kh · kw, L) -> (N, C, H, W): overlapping windows are summed."""
    output, kernel, dilation, padding, stride = (tuple(map(int, call.args[at])) for at in range(1, 6))
    counts = [
        (size + 2 * pad - gap * (side - 1) - 1) // step + 1
        for size, side, gap, pad, step in zip(output, kernel, dilation, padding, stride, strict=True)
    ]
    channels = call.shape[1] // (kernel[0] * kernel[1])
    targets = [
        [np.arange(count) * step - pad + tap * gap for tap in range(side)]
        for count, side, gap, pad, step in zip(counts, kernel, dilation, padding, stride, strict=True)
    ]

    def fold(axis: int, reads: AxisReads) -> AxisReads:
        whole_reads = whole(reads)
        shape = (6, 1, channels, *kernel, *counts)
        check_size(shape, most=LARGEST_REARRANGED)
        planes = np.broadcast_to(whole_reads.planes, (6, *call.shape)).reshape(shape)
        result = _scattered(planes, targets, output)
        positions = np.arange(output[axis]).reshape([-1, 1] if axis == 0 else [1, -1])
        result[POSITION:] = np.broadcast_to(positions, output)
        if reads.pooled:
            result[POSITION], result[FREE_POSITION] = NO_POSITION, NOWHERE
        return narrowed(replace(reads, planes=result, jump=reads.jump / stride[axis], beside=()))

    axes = call.source.axes
    if len(axes) != 2 or len(call.shape) != 3:
        return TensorReads(lost="windows of a tensor that is not an image")
    return TensorReads(tuple(fold(axis, reads) for axis, reads in enumerate(axes))).with_channels(channels, 1, 4)


def _scattered(planes: Array, targets: Sequence[Sequence[Array]], output: Sequence[int]) -> Array:
    """The union of the reads at each output position; equal channels are merged."""
    if (planes == planes[:, :, :1]).all():
        planes = planes[:, :, :1]
    result = np.empty((6, *planes.shape[1:3], *output), dtype=np.int32)
    result[:4:2], result[1:4:2] = FAR, -FAR
    for i, rows in enumerate(targets[0]):
        for j, columns in enumerate(targets[1]):
            down = np.flatnonzero((rows >= 0) & (rows < output[0]))
            across = np.flatnonzero((columns >= 0) & (columns < output[1]))
            part = planes[:, :, :, i, j][..., down[:, None], across]
            at = np.s_[..., rows[down][:, None], columns[across]]
            result[:4:2][at] = np.minimum(result[:4:2][at], part[:4:2])
            result[1:4:2][at] = np.maximum(result[1:4:2][at], part[1:4:2])
    return result


RULES.update({"im2col": _unfold, "col2im": _fold})

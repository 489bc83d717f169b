"""Operations that only move elements: reshaped, turned, cut, joined, repeated."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from kernelviz.network.carried import Carried, concatenated
from kernelviz.network.operations import RULES, Call, Found
from kernelviz.network.shapes import reshaped


def _permute(call: Call) -> Found:
    rank = len(call.shape)
    if call.name == "permute":
        order = [call.dim(dim) for dim in call.args[1]]
    elif call.name in ("t", "numpy_T"):
        order = list(reversed(range(rank)))
    else:
        order = list(range(rank))
        one, other = call.dim(call.args[1]), call.dim(call.args[2])
        order[one], order[other] = other, one
    return call.source.moved(lambda planes: planes.transpose(0, *(dim + 1 for dim in order)))


def _reshape(call: Call) -> Found:
    shape = tuple(call.output.shape)
    return call.source.moved(lambda planes: reshaped(planes, call.shape, shape))


def _expand(call: Call) -> Found:
    missing = len(call.output.shape) - len(call.shape)
    return call.source.moved(lambda planes: planes.reshape(planes.shape[0], *[1] * missing, *planes.shape[1:]))


def _restrided(call: Call) -> Found:
    """``as_strided_``: torch gives the mean of a map other strides, which moves nothing; anything else is lost."""
    source, shape = call.source, tuple(call.output.shape)
    long = [dim for dim, size in enumerate(shape) if size > 1]
    packed = not long or (len(long) == 1 and call.args[2][long[0]] == 1)
    arrays = [*(reads.planes for reads in source.axes), *([] if source.channel is None else [source.channel])]
    fits = all(
        array.ndim == len(shape) + 1
        and all(size in {1, side} for size, side in zip(array.shape[1:], shape, strict=True))
        for array in arrays
    )
    if packed and fits and not call.option(3, "storage_offset", 0):
        return source
    return Carried(lost="as_strided_ lays the elements of a tensor out anew")


def _slice(call: Call) -> Found:
    dim, start = call.dim(call.option(1, "dim", 0)), call.option(2, "start", None)
    step = call.option(4, "step", 1)
    stop = call.option(3, "end", None)
    return part_of(call.source, dim, slice(start, stop, step))


def part_of(carried: Carried, dim: int, part: slice) -> Carried:
    """What is known of a part of a tensor along one dimension."""
    index = (slice(None),) * (dim + 1)
    return carried.moved(lambda planes: planes if planes.shape[dim + 1] == 1 else planes[(*index, part)])


def _select(call: Call) -> Found:
    dim, place = call.dim(call.args[1]), call.args[2]
    return _selected(call.source, dim, place)


def _selected(carried: Carried, dim: int, place: int) -> Carried:
    return carried.moved(lambda planes: planes.take(0 if planes.shape[dim + 1] == 1 else place, axis=dim + 1))


def _split(call: Call) -> list[Found]:
    dim = call.dim(call.option(2, "dim", 0))
    results: list[Found] = []
    start = 0
    for output in call.output:
        results.append(part_of(call.source, dim, slice(start, start + output.shape[dim])))
        start += output.shape[dim]
    return results


def _unbind(call: Call) -> list[Found]:
    dim = call.dim(call.option(1, "dim", 0))
    return [_selected(call.source, dim, place) for place in range(len(call.output))]


def _roll(call: Call) -> Found:
    shifts, dims = call.args[1], call.option(2, "dims", [])
    if not dims:
        return Carried(lost="roll without dimensions")
    axes = [call.dim(dim) + 1 for dim in dims]
    return call.source.moved(lambda planes: np.roll(planes, shifts, axes))


def _flip(call: Call) -> Found:
    axes = [call.dim(dim) + 1 for dim in call.args[1]]
    turned = call.source.moved(lambda planes: np.flip(planes, tuple(axes)))
    return turned.each(lambda reads: replace(reads, jump=-reads.jump) if (reads.home or -1) + 1 in axes else reads)


def _repeat(call: Call) -> Found:
    times = call.args[1]
    missing = len(times) - len(call.shape)

    def repeat(planes: Any) -> Any:
        planes = planes.reshape(planes.shape[0], *[1] * missing, *planes.shape[1:])
        counts = [1 if size == 1 else count for size, count in zip(planes.shape[1:], times, strict=True)]
        return np.tile(planes, (1, *counts))

    return call.source.moved(repeat)


def _cat(call: Call) -> Found:
    tensors = [tensor for tensor in call.args[0] if tensor.shape != (0,)]
    dim = call.dim(call.option(1, "dim", 0), call.rank)
    return concatenated(list(map(call.known, tensors)), [tensor.shape[dim] for tensor in tensors], dim, call.rank)


def _stack(call: Call) -> Found:
    dim = call.dim(call.option(1, "dim", 0), call.rank)
    parts = [
        known and known.moved(lambda planes: np.expand_dims(planes, dim + 1)) for known in map(call.known, call.args[0])
    ]
    return concatenated(parts, [1] * len(parts), dim, call.rank)


def _unfold(call: Call) -> Found:
    """``Tensor.unfold``: windows of ``size`` along one dimension, the window's elements last."""
    dim, size, step = call.dim(call.args[1]), call.args[2], call.args[3]
    index = np.arange(call.output.shape[dim])[:, None] * step + np.arange(size)

    def unfold(planes: Any) -> Any:
        if planes.shape[dim + 1] == 1:
            return planes[..., None]
        return np.moveaxis(planes.take(index, axis=dim + 1), dim + 2, -1)

    return call.source.moved(unfold)


def _index(call: Call) -> Found:
    """``tensor[:, positions]``: where nothing differs along that dimension, or the positions have values."""
    if call.name == "index":
        chosen = [(dim, index) for dim, index in enumerate(call.args[1]) if index is not None]
    else:
        chosen = [(call.dim(call.args[1]), call.args[2])]
    (dim, positions), *more = chosen
    if more or positions.ndim != 1 or positions.dtype.is_floating_point or positions.dtype.itemsize == 1:
        return Carried(lost=f"{call.name} by more than one list of positions")
    source = call.source
    arrays = [*(reads.planes for reads in source.axes), *([] if source.channel is None else [source.channel])]
    if all(array.shape[dim + 1] == 1 for array in arrays):
        return source
    if positions.device.type == "meta":
        return Carried(lost=f"{call.name} takes positions that are not known without numbers")
    places = positions.numpy()
    return source.moved(lambda planes: planes if planes.shape[dim + 1] == 1 else planes.take(places, axis=dim + 1))


RULES.update(
    {
        **dict.fromkeys(("index", "index_select"), _index),
        **dict.fromkeys(("permute", "t", "numpy_T", "transpose", "transpose_", "swapaxes"), _permute),
        **dict.fromkeys(
            (
                "view",
                "reshape",
                "_unsafe_view",
                "_reshape_alias",
                "squeeze",
                "unsqueeze",
                "flatten",
                "unflatten",
                "squeeze_",
                "unsqueeze_",
            ),
            _reshape,
        ),
        **dict.fromkeys(("split", "split_with_sizes", "chunk", "unsafe_split", "unsafe_split_with_sizes"), _split),
        "as_strided_": _restrided,
        "expand": _expand,
        "slice": _slice,
        "select": _select,
        "unbind": _unbind,
        "roll": _roll,
        "flip": _flip,
        "repeat": _repeat,
        "cat": _cat,
        "stack": _stack,
        "unfold": _unfold,
    }
)

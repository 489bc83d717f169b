"""The effect of each torch operation on receptive fields and dimensions.

A rule takes a ``Call`` and returns what is known of its first output. Without a rule the result is ``lost``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import torch

from kernelviz.network.tracing.reads import (
    FREE_POSITION,
    NO_POSITION,
    NOWHERE,
    POSITION,
    AxisReads,
    TensorReads,
    TooLargeError,
    concatenated,
    continued,
    elementwise,
    located,
    mixed_over,
    reduced,
    reshaped,
    together,
)

Found: TypeAlias = "TensorReads | None"
Rule: TypeAlias = "Callable[[Call], Found | list[Found]]"


@dataclass(frozen=True)
class Call:
    """One operation: its name, arguments and output, and what is known of a tensor (None: it does not read the image).

    ``operator`` is the name with the library, as ``aten::add``.
    """

    name: str
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    output: Any
    known: Callable[[Any], Found]
    operator: str = ""

    @property
    def source(self) -> TensorReads:
        """What is known of the first argument; a constant counts as lost."""
        return self.known(self.args[0]) or TensorReads(lost=f"{self.name} of a constant")

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the first argument."""
        return tuple(self.args[0].shape)

    @property
    def rank(self) -> int:
        """The rank of the first output."""
        first = self.output[0] if isinstance(self.output, (tuple, list)) else self.output
        return int(first.ndim)

    def dim(self, value: int, rank: int | None = None) -> int:
        """A dimension as a non-negative index."""
        return value % (rank or max(len(self.shape), 1))

    def option(self, position: int, name: str, default: Any) -> Any:
        """An argument by its position or its name."""
        if len(self.args) > position:
            return self.args[position]
        return self.kwargs.get(name, default)


def outcome(call: Call) -> Found | list[Found]:
    """What is known of the outputs of an operation: one value, or one per output.

    If an argument is lost, so are the outputs, but their elements may still be located. The output of a convolution, a
    pool or a normalisation of maps is located whatever its arguments are.
    """
    overwrites = call.name in {"copy_", "fill_"}
    tensors = tensors_in((call.args[1:] if overwrites else call.args, call.kwargs))
    carried = [known for tensor in tensors if (known := call.known(tensor)) is not None]
    if not carried or call.name in _CONSTANT:
        return None
    lost = next((known.lost for known in carried if known.lost), "")
    if lost and not all(known.axes for known in carried):
        return _located(call, TensorReads(lost=lost))
    try:
        found = _followed(call)
    except Exception as error:  # noqa: BLE001 - a fault of a rule must not end the network's forward pass
        found = failed(call, error)
    if isinstance(found, list):
        return [value and _located(call, replace(value, lost=lost or value.lost)) for value in found]
    return found and _located(call, replace(found, lost=lost or found.lost))


def failed(call: Call, error: Exception) -> TensorReads:
    """What is known of a tensor if the rule for an operation raised an error: nothing, and why."""
    if isinstance(error, TooLargeError):
        return TensorReads(lost=f"{call.name} spreads rows and columns over too many elements to follow")
    return TensorReads(lost=f"the rule for {call.operator} failed")


def _followed(call: Call) -> Found | list[Found]:
    rule = RULES.get(call.name)
    return rule(call) if rule else TensorReads(lost=f"receptive fields are not followed through {call.name}")


def _located(call: Call, found: TensorReads) -> TensorReads:
    """What is known of the first output; if it is lost, an operation on maps still determines its dimensions."""
    if found.lost and _of_maps(call):
        first = call.output[0] if isinstance(call.output, (tuple, list)) else call.output
        return found if _covers(found, first.shape) else located(first.shape, found.lost)
    return found


def _covers(found: TensorReads, shape: Sequence[int]) -> bool:
    """Whether positions differ along each dimension of a map (N, C, *axes)."""
    along = {dim for reads in found.axes for dim in reads.varies_along}
    return bool(found.axes) and all(size == 1 or dim in along for dim, size in enumerate(shape[2:], 2))


def makes_map(call: Call, is_map: Callable[[Any], bool]) -> bool:
    """Whether the output is a map (N, C, *axes) by the contract of the operation, whatever its input is."""
    if _of_maps(call):
        return True
    shape = getattr(call.output, "shape", None)
    return call.name in _ELEMENTWISE and any(
        is_map(tensor) and tensor.shape == shape for tensor in tensors_in((call.args, call.kwargs))
    )


def _of_maps(call: Call) -> bool:
    """Whether the first output is a map by the contract of the operation; an image without a batch is none."""
    if call.name not in _OF_MAPS:
        return False
    axes = next((int(digit) for digit in "123" if f"{digit}d" in call.name), None)
    if call.name in {"pixel_shuffle", "pixel_unshuffle", "col2im"}:
        axes = 2
    return 3 <= call.rank <= 5 if axes is None else call.rank == axes + 2


def tensors_in(value: Any) -> list[torch.Tensor]:
    """All tensors of nested tuples, lists and mappings, in order; those of a container that occurs twice, once.

    A network may return values nested to any depth, lists that contain themselves, and mappings that fail when they are
    read, which count as empty.
    """
    if isinstance(value, torch.Tensor) and not value.is_nested:
        return [value]
    found: list[torch.Tensor] = []
    waiting, met = [value], {}
    while waiting:
        value = waiting.pop()
        if isinstance(value, torch.Tensor):
            if not value.is_nested:  # it has no shape
                found.append(value)
        elif isinstance(value, tuple | list | Mapping) and id(value) not in met:
            met[id(value)] = value  # kept, so that no other object gets its id
            with contextlib.suppress(Exception):
                waiting += list(value.values() if isinstance(value, Mapping) else value)[::-1]
    return found


def _elementwise(call: Call) -> Found:
    parts = [known for tensor in tensors_in((call.args, call.kwargs)) if (known := call.known(tensor)) is not None]
    return elementwise(parts, call.rank)


def _copy(call: Call) -> Found:
    """``copy_`` and ``fill_`` overwrite all of the first argument."""
    source = call.known(call.args[1])
    return source and elementwise([source], call.rank)


def _reduce(call: Call) -> list[Found] | Found:
    given = call.option(_DIM_AT.get(call.name, 1), "dim", None)
    if isinstance(given, bool) or given is None or given == []:
        given = list(range(len(call.shape)))
    dims = [call.dim(dim) for dim in ([given] if isinstance(given, int) else given)]
    first = call.output[0] if isinstance(call.output, (tuple, list)) else call.output
    result = reduced(call.source, dims, keep=first.ndim == len(call.shape))
    return [result] * len(call.output) if isinstance(call.output, (tuple, list)) else result


def _along(call: Call) -> Found:
    """Softmax and the like read everything along one dimension and keep positions."""
    dim = call.dim(call.args[1])
    return call.source.each(lambda reads: together(reads, dim, keep_positions=True))


def _norm_last(call: Call) -> list[Found] | Found:
    rank = len(call.shape)
    dims = range(rank - len(call.args[1]), rank)
    result = mixed_over(call.source, dims)
    return _first_of(call, result)


def _norm_groups(call: Call) -> list[Found] | Found:
    source = call.source
    if source.channel is None:
        source = source.with_channels(call.shape[1], 1, len(call.shape))
    return _first_of(call, mixed_over(source, range(1, len(call.shape))))


def _norm_batch(call: Call) -> list[Found] | Found:
    source = call.source
    if source.channel is None:
        source = source.with_channels(call.shape[1], 1, len(call.shape))
    over_batch = call.name == "native_batch_norm" and bool(call.args[5])
    over_batch = over_batch or (call.name == "_native_batch_norm_legit")
    return _first_of(call, mixed_over(source, range(2, len(call.shape))) if over_batch else source)


def _first_of(call: Call, result: Found) -> list[Found] | Found:
    if isinstance(call.output, (tuple, list)):
        return [result, *[None] * (len(call.output) - 1)]
    return result


def _product(call: Call) -> Found:
    """Matrix products read everything along the shared dimension."""
    one, other = call.args[1:3] if call.name in ("addmm", "baddbmm") else call.args[:2]
    left, right, rank = (
        call.known(one),
        call.known(other),
        call.rank,
    )  # the packed weight of quantised ones is no tensor
    if left is None and right is None:
        return call.known(call.args[0])
    left_axis = one.ndim - 1
    parts = []
    if left is not None:
        parts.append(_contracted(left, left_axis, other=right is not None))
    if right is not None:
        parts.append(_contracted(right, max(other.ndim - 2, 0), other=left is not None))
    result = elementwise(parts, rank)
    if right is None:
        if left is not None and _mixes_positions(left, left_axis):
            return _without_positions(left, parts[0], left_axis)
        return result.with_channels(call.output.shape[-1], rank - 1, rank)
    if left is None or right.channel is None or right.channel.shape[-1] == 1:
        return result
    return replace(result, channel=parts[-1].channel)


def _mixes_positions(carried: TensorReads, dim: int) -> bool:
    """Whether rows or columns are along this dimension; those of merged patches are channels and do not count."""
    channels = carried.channel is not None and carried.channel.shape[dim + 1] > 1
    return not channels and any(dim in reads.varies_along for reads in carried.axes)


def _without_positions(before: TensorReads, after: TensorReads, dim: int) -> TensorReads:
    """A product with a weight along rows or columns: axes along ``dim`` lose their positions; channels are kept."""
    axes = tuple(
        replace(reads, pooled=True, mixed=True) if dim in old.varies_along else reads
        for old, reads in zip(before.axes, after.axes, strict=True)
    )
    return replace(after, axes=axes)


def _contracted(carried: TensorReads, dim: int, *, other: bool) -> TensorReads:
    """The result of a sum along ``dim``; if the ``other`` factor reads the image too, positions may be lost."""

    def contract(reads: AxisReads) -> AxisReads:
        had_position = reads.positioned
        united = together(reads, dim)
        pooled = reads.pooled or (other and had_position and not united.positioned)
        if other and united.positioned and dim in reads.varies_along:
            planes = united.planes.copy()
            planes[POSITION], planes[FREE_POSITION] = NO_POSITION, NOWHERE  # the other factor determines the position
            united = replace(united, planes=planes)
        return replace(united, pooled=pooled)

    channel = carried.channel
    result = carried.each(contract)
    return replace(result, channel=None if channel is None else channel.take([0], axis=dim + 1))


_OF_MAPS = frozenset({
    "convolution", "_convolution", "cudnn_convolution", "mkldnn_convolution", "conv1d", "conv2d", "conv3d",
    "conv1d_relu", "conv2d_relu", "conv3d_relu", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d",
    "batch_norm2d", "batch_norm2d_relu", "batch_norm3d", "batch_norm3d_relu", "quantized_max_pool2d",
    "quantized_max_pool3d", "deform_conv2d", "max_pool2d", "max_pool2d_with_indices", "max_pool3d_with_indices",
    "avg_pool1d", "avg_pool2d", "avg_pool3d", "_adaptive_avg_pool2d", "adaptive_avg_pool1d", "adaptive_avg_pool2d",
    "_adaptive_avg_pool3d", "adaptive_max_pool2d", "adaptive_max_pool3d", "fractional_max_pool2d", "max_unpool2d",
    "native_batch_norm", "_native_batch_norm_legit", "_native_batch_norm_legit_no_training", "cudnn_batch_norm",
    "_batch_norm_no_update", "native_group_norm", "grid_sampler_2d", "grid_sampler_3d", "roi_align", "roi_pool",
    "ps_roi_align", "ps_roi_pool", "pixel_shuffle", "pixel_unshuffle", "native_channel_shuffle", "col2im",
    "fractional_max_pool3d", "max_unpool3d", "_upsample_bilinear2d_aa", "_upsample_bicubic2d_aa",
    "_upsample_nearest_exact1d", "_upsample_nearest_exact2d", "_upsample_nearest_exact3d",
    *(f"upsample_{kind}" for kind in ("nearest1d", "nearest2d", "nearest3d", "linear1d", "bilinear2d", "bicubic2d",
                                      "trilinear3d")),
    *(f"{kind}_pad{axes}d" for kind in ("reflection", "replication") for axes in (1, 2, 3)),
})  # fmt: skip
"""Operations whose first output is (N, C, ...) by their own contract."""

_DIM_AT = {"linalg_vector_norm": 2, "norm": 2}

_CONSTANT = frozenset({
    "empty_like", "zeros_like", "ones_like", "full_like", "new_zeros", "new_ones", "new_empty", "new_full",
    "rand_like", "randn_like", "new_empty_strided", "zero_",
})  # fmt: skip

_ELEMENTWISE = frozenset({
    "relu", "relu_", "relu6", "gelu", "gelu_", "silu", "silu_", "mish", "mish_", "sigmoid", "sigmoid_", "tanh",
    "tanh_", "hardtanh", "hardtanh_", "hardswish", "hardswish_", "hardsigmoid", "hardsigmoid_", "leaky_relu",
    "leaky_relu_", "elu", "elu_", "celu", "celu_", "selu", "selu_", "softplus", "threshold", "threshold_",
    "log_sigmoid_forward", "add", "add_", "sub", "sub_", "rsub", "mul", "mul_", "div", "div_", "pow", "pow_",
    "exp", "expm1", "sqrt", "rsqrt", "sqrt_", "clamp", "clamp_", "clamp_min", "clamp_min_", "clamp_max", "neg",
    "abs", "erf", "sin", "cos", "log", "log1p", "square", "reciprocal", "where", "minimum", "maximum",
    "_prelu_kernel", "prelu", "lerp", "lerp_", "addcmul", "addcmul_", "addcdiv", "clone", "contiguous",
    "detach", "alias", "_to_copy", "to", "lift_fresh", "native_dropout", "dropout", "masked_fill",
    "masked_fill_", "sign", "round", "floor", "ceil", "eq", "ne", "lt", "le", "gt", "ge", "logical_and",
    "logical_or", "logical_not", "bitwise_and", "bitwise_or", "bitwise_not", "nan_to_num", "isnan",
    "remainder", "fmod", "_conj", "view_as_real", "real", "imag", "positive", "detach_",
    "lift_fresh_copy", "quantize_per_tensor", "quantize_per_tensor_dynamic", "quantize_per_channel", "dequantize",
    "int_repr", "add_relu", "add_scalar", "add_scalar_relu", "mul_relu", "mul_scalar", "mul_scalar_relu",
    "batch_norm", "batch_norm_relu", "batch_norm1d", "batch_norm1d_relu", "batch_norm2d", "batch_norm2d_relu",
    "batch_norm3d", "batch_norm3d_relu", "fake_quantize_per_tensor_affine_cachemask",
})  # fmt: skip

QUANTISED_LINEAR = ("linear", "linear_relu", "linear_dynamic", "linear_relu_dynamic")

RULES: dict[str, Rule] = {
    **dict.fromkeys(_ELEMENTWISE, _elementwise),
    **dict.fromkeys(("mean", "sum", "amax", "amin", "max", "min", "std", "var", "var_mean", "linalg_vector_norm", "norm",
                     "logsumexp", "prod", "std_mean"), _reduce),
    **dict.fromkeys(("_softmax", "_log_softmax", "softmax", "_safe_softmax"), _along),
    **dict.fromkeys(("mm", "bmm", "addmm", "baddbmm", "mv", *QUANTISED_LINEAR), _product),
    **dict.fromkeys(("native_batch_norm", "_native_batch_norm_legit", "_native_batch_norm_legit_no_training",
                     "cudnn_batch_norm", "_batch_norm_no_update"), _norm_batch),
    "native_layer_norm": _norm_last,
    "_fused_rms_norm": _norm_last,
    "native_group_norm": _norm_groups,
    "copy_": _copy,
    "fill_": _copy,
}  # fmt: skip


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
    """``as_strided_``: new strides for the mean of a map move no elements; other uses are lost."""
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
    return TensorReads(lost="as_strided_ lays the elements of a tensor out anew")


def _slice(call: Call) -> Found:
    dim, start = call.dim(call.option(1, "dim", 0)), call.option(2, "start", None)
    step = call.option(4, "step", 1)
    stop = call.option(3, "end", None)
    return part_of(call.source, dim, slice(start, stop, step))


def part_of(carried: TensorReads, dim: int, part: slice) -> TensorReads:
    """What is known of a part of a tensor along one dimension."""
    index = (slice(None),) * (dim + 1)
    carried = carried.judged([dim]) if dim >= carried.leading else carried
    return _one_image(carried.moved(lambda planes: planes if planes.shape[dim + 1] == 1 else planes[(*index, part)]))


def _one_image(carried: TensorReads) -> TensorReads:
    """The reads of a part of a batch, which is no longer several images if its positions do not differ between them."""
    if carried.in_windows or not any(reads.several for reads in carried.axes):
        return carried
    return carried.each(lambda reads: replace(reads, several=None))


def _select(call: Call) -> Found:
    dim, position = call.dim(call.args[1]), call.args[2]
    return _selected(call.source, dim, position)


def _selected(carried: TensorReads, dim: int, position: int) -> TensorReads:
    moved = carried.moved(lambda planes: planes.take(0 if planes.shape[dim + 1] == 1 else position, axis=dim + 1))
    return _one_image(moved)


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
    return [_selected(call.source, dim, position) for position in range(len(call.output))]


def _roll(call: Call) -> Found:
    shifts, dims = call.args[1], call.option(2, "dims", [])
    if not dims:
        return TensorReads(lost="roll without dimensions")
    axes = [call.dim(dim) for dim in dims]
    result = call.source.moved(lambda planes: np.roll(planes, shifts, [axis + 1 for axis in axes]))
    for axis in axes:
        result = continued(result, axis)
    return result


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

    result = call.source.moved(repeat)
    for dim, count in enumerate(times):
        result = continued(result, dim) if count > 1 else result
    return result


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
    """``Tensor.unfold``: windows of ``size`` along one dimension; the elements of a window are the last dimension."""
    dim, size, step = call.dim(call.args[1]), call.args[2], call.args[3]
    index = np.arange(call.output.shape[dim])[:, None] * step + np.arange(size)

    def unfold(planes: Any) -> Any:
        if planes.shape[dim + 1] == 1:
            return planes[..., None]
        return np.moveaxis(planes.take(index, axis=dim + 1), dim + 2, -1)

    return call.source.moved(unfold)


def _index(call: Call) -> Found:
    """``tensor[:, positions]``, if nothing differs along that dimension or the values of the positions are known."""
    if call.name == "index":
        chosen = [(dim, index) for dim, index in enumerate(call.args[1]) if index is not None]
    else:
        chosen = [(call.dim(call.args[1]), call.args[2])]
    (dim, positions), *more = chosen
    if more or positions.ndim != 1 or positions.dtype.is_floating_point or positions.dtype.itemsize == 1:
        return TensorReads(lost=f"{call.name} by more than one list of positions")
    source = call.source
    arrays = [*(reads.planes for reads in source.axes), *([] if source.channel is None else [source.channel])]
    if all(array.shape[dim + 1] == 1 for array in arrays):
        return source
    if positions.device.type == "meta":
        return TensorReads(lost=f"{call.name} takes positions that are not known without numbers")
    positions = positions.cpu().numpy()
    result = source.moved(lambda planes: planes if planes.shape[dim + 1] == 1 else planes.take(positions, axis=dim + 1))
    return continued(result, dim)


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
        "cat_relu": _cat,
        "stack": _stack,
        "unfold": _unfold,
    }
)

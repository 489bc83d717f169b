"""The allow-list: what each operation of torch does to the fields and dimensions of tensors.

A rule takes a ``Call`` and gives what is known of its first output. An operation without a rule gives ``lost``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import torch

from kernelviz.network.carried import Carried, elementwise, mixed_over, reduced
from kernelviz.network.fields import PLACE, Reads, together

Found: TypeAlias = "Carried | None"
Rule: TypeAlias = "Callable[[Call], Found | list[Found]]"


@dataclass(frozen=True)
class Call:
    """One operation: its name, what went in and out, and what is known of a tensor (None: it reads no image)."""

    name: str
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    output: Any
    known: Callable[[Any], Found]

    @property
    def source(self) -> Carried:
        """What is known of the first argument; a constant reads nothing and counts as lost here."""
        return self.known(self.args[0]) or Carried(lost=f"{self.name} of a constant")

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
        """A dimension counted from the front."""
        return value % (rank or max(len(self.shape), 1))

    def option(self, place: int, name: str, default: Any) -> Any:
        """An argument by its place or its name."""
        if len(self.args) > place:
            return self.args[place]
        return self.kwargs.get(name, default)


def outcome(call: Call) -> Found | list[Found]:
    """What is known of the outputs of an operation: one value, or one for each of a list."""
    overwrites = call.name in {"copy_", "fill_"}
    tensors = tensors_in((call.args[1:] if overwrites else call.args, call.kwargs))
    carried = [known for tensor in tensors if (known := call.known(tensor)) is not None]
    if not carried or call.name in _CONSTANT:
        return None
    lost = next((known for known in carried if known.lost), None)
    if lost is not None:
        return lost
    rule = RULES.get(call.name)
    return rule(call) if rule else Carried(lost=f"{call.name} is not an operation that fields are followed through")


def tensors_in(value: Any) -> list[torch.Tensor]:
    """All tensors of nested arguments."""
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, Mapping):
        return [tensor for item in value.values() for tensor in tensors_in(item)]
    if isinstance(value, (tuple, list)):
        return [tensor for item in value for tensor in tensors_in(item)]
    return []


def _elementwise(call: Call) -> Found:
    parts = [known for tensor in tensors_in((call.args, call.kwargs)) if (known := call.known(tensor)) is not None]
    return elementwise(parts, call.rank)


def _copy(call: Call) -> Found:
    """``copy_`` and ``fill_``: nothing is left of what the first argument held."""
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
    """Softmax and the like: everything along one dimension is read, and places stay."""
    dim = call.dim(call.args[1])
    return call.source.each(lambda reads: together(reads, dim, keep_places=True))


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
    """Matrix products: rows of the one with columns of the other, everything along the shared dimension read."""
    one, other = call.args[1:3] if call.name in ("addmm", "baddbmm") else call.args[:2]
    left, right, rank = call.known(one), call.known(other), call.rank
    if left is None and right is None:
        return call.known(call.args[0])
    left_axis, right_axis = one.ndim - 1, max(other.ndim - 2, 0)
    parts = []
    if left is not None:
        parts.append(_contracted(left, left_axis, other=right is not None))
    if right is not None:
        parts.append(_contracted(right, right_axis, other=left is not None))
    result = elementwise(parts, rank)
    if right is None:
        if left is not None and _mixes_places(left, left_axis):
            return _without_places(left, parts[0], left_axis)
        return result.with_channels(call.output.shape[-1], rank - 1, rank)
    if left is None or right.channel is None or right.channel.shape[-1] == 1:
        return result
    return replace(result, channel=parts[-1].channel)


def _mixes_places(carried: Carried, dim: int) -> bool:
    """Whether rows or columns lie along this dimension; those of merged patches are channels too, and do not count."""
    channels = carried.channel is not None and carried.channel.shape[dim + 1] > 1
    return not channels and any(dim in reads.lies_along for reads in carried.axes)


def _without_places(before: Carried, after: Carried, dim: int) -> Carried:
    """A weight along rows or columns: what lay along ``dim`` has no place there any more; channels stay channels."""
    axes = tuple(
        replace(reads, pooled=True, mixed=True) if dim in old.lies_along else reads
        for old, reads in zip(before.axes, after.axes, strict=True)
    )
    return replace(after, axes=axes)


def _contracted(carried: Carried, dim: int, *, other: bool) -> Carried:
    """After everything along ``dim`` was summed; with another image tensor as ``other`` factor places may be gone."""

    def contract(reads: Reads) -> Reads:
        had_place = reads.placed
        united = together(reads, dim)
        pooled = reads.pooled or (other and had_place and not united.placed)
        if other and united.placed and dim in reads.lies_along:
            planes = united.planes.copy()
            planes[PLACE] = -1  # the sum over places within windows lies where the other factor says
            united = replace(united, planes=planes)
        return replace(united, pooled=pooled)

    channel = carried.channel
    result = carried.each(contract)
    return replace(result, channel=None if channel is None else channel.take([0], axis=dim + 1))


_DIM_AT = {"linalg_vector_norm": 2, "norm": 2}

_CONSTANT = frozenset({
    "empty_like", "zeros_like", "ones_like", "full_like", "new_zeros", "new_ones", "new_empty", "new_full",
    "rand_like", "randn_like", "new_empty_strided", "zero_",
})  # fmt: skip

_ELEMENTWISE = (
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
    "lift_fresh_copy",
)  # fmt: skip

RULES: dict[str, Rule] = {
    **dict.fromkeys(_ELEMENTWISE, _elementwise),
    **dict.fromkeys(("mean", "sum", "amax", "amin", "max", "min", "std", "var", "var_mean", "linalg_vector_norm", "norm",
                     "logsumexp", "prod", "std_mean"), _reduce),
    **dict.fromkeys(("_softmax", "_log_softmax", "softmax", "_safe_softmax"), _along),
    **dict.fromkeys(("mm", "bmm", "addmm", "baddbmm", "mv"), _product),
    **dict.fromkeys(("native_batch_norm", "_native_batch_norm_legit", "_native_batch_norm_legit_no_training",
                     "cudnn_batch_norm", "_batch_norm_no_update"), _norm_batch),
    "native_layer_norm": _norm_last,
    "_fused_rms_norm": _norm_last,
    "native_group_norm": _norm_groups,
    "copy_": _copy,
    "fill_": _copy,
}  # fmt: skip

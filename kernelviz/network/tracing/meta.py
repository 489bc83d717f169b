"""Networks on torch's ``meta`` device, which computes shapes but no values: their copies, and how operations run there."""

from __future__ import annotations

import copy
from collections import OrderedDict
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch._ops import OpOverload
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

from kernelviz.errors import KernelvizError
from kernelviz.network.tracing.rules import tensors_in
from kernelviz.network.tracing.shared_memory import written_by
from kernelviz.wording import reason_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


_HOOKS = (
    "_forward_hooks", "_forward_hooks_with_kwargs", "_forward_hooks_always_called", "_forward_pre_hooks",
    "_forward_pre_hooks_with_kwargs", "_backward_hooks", "_backward_pre_hooks",
)  # fmt: skip


def on_meta(network: nn.Module) -> nn.Module:
    """A copy of the network in eval mode on ``meta``, without its hooks; no tensor values are copied.

    Raises:
        KernelvizError: the network cannot be copied.
    """
    return copied_to_meta(network)[0]


def copied_to_meta(network: nn.Module) -> tuple[nn.Module, list[torch.Tensor]]:
    """``on_meta``, and all tensors of the copy, those in objects that are no modules too."""
    memo: dict[int, Any] = {}
    try:
        for module in network.modules():
            for name in _HOOKS:
                memo[id(vars(module).get(name))] = OrderedDict()
            for parameter in module.parameters(recurse=False):
                memo[id(parameter)] = nn.Parameter(like(parameter), requires_grad=False)
            for buffer in module.buffers(recurse=False):
                memo[id(buffer)] = like(buffer)
        memo.pop(id(None), None)
        with _WithoutNumbers():
            meta_copy = copy.deepcopy(network, memo)
    except Exception as error:  # noqa: BLE001 - a module may contain anything
        raise KernelvizError("The network could not be copied to trace it.", reason_text(error)) from None
    for module in meta_copy.modules():
        if isinstance(module, nn.DataParallel):
            module.device_ids = []  # it then runs its module without moving inputs to devices
    return meta_copy.eval(), [value for value in memo.values() if isinstance(value, torch.Tensor)]


def like(tensor: torch.Tensor) -> torch.Tensor:
    """A tensor on ``meta`` like this one."""
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_nested:
        return tensor.to("meta")
    return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="meta")


class _WithoutNumbers(TorchFunctionMode):
    """Copies tensors that are neither parameters nor buffers to ``meta`` too."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func is torch.Tensor.__deepcopy__:
            tensor, memo = args
            if id(tensor) not in memo:
                memo[id(tensor)] = like(tensor)
            return memo[id(tensor)]
        return func(*args, **(kwargs or {}))


def number_kind(network: nn.Module) -> torch.dtype:
    """The type of the first floating-point parameter; single precision if there is none."""
    kinds = (parameter.dtype for parameter in network.parameters() if parameter.is_floating_point())
    return next(kinds, torch.float32)


class OperationMode(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Runs every operation of a forward pass by ``run``, which a subclass may extend to observe them."""

    supports_higher_order_operators = True

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if any(_dispatches(kind) for kind in types):
            return NotImplemented  # the class of the tensor runs operations on plain ones, which are observed
        return self.run(func, args, kwargs or {})

    def run(self, func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """The output of an operation, or of an operator of higher order, which contains operations."""
        return run_operation(func, args, kwargs) if isinstance(func, OpOverload) else func(*args, **kwargs)


@lru_cache(maxsize=4096)
def _dispatches(kind: type) -> bool:
    """Whether a class of tensors runs its operations itself."""
    default = torch._C._disabled_torch_dispatch_impl  # noqa: SLF001
    return getattr(kind, "__torch_dispatch__", default) is not default


def run_operation(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """The output of an operation; on ``meta`` by a short cut if there is one.

    Raises:
        RuntimeError: it does not take its inputs, as on every other device.
    """
    name = func._overloadpacket.__name__  # noqa: SLF001
    short_cut, check = _SHORT_CUTS.get(name), _CHECKS.get(name)
    if short_cut and not kwargs and args[0].is_meta:
        return short_cut(*args)
    if check and not kwargs:
        check(*args)
    return _run(func, args, kwargs)


def _run(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """Run the operation; tensors that the network creates on the CPU are moved to ``meta`` if it mixes devices."""
    try:
        return func(*args, **kwargs)
    except RuntimeError:
        tensors = tensors_in((args, kwargs))
        if len({tensor.is_meta for tensor in tensors}) < 2 or not all(
            tensor.is_meta for tensor in written_by(func, args, kwargs)
        ):
            raise
    return func(*tree_map_only(torch.Tensor, _to_meta, args), **tree_map_only(torch.Tensor, _to_meta, dict(kwargs)))


def _to_meta(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.to("meta")


def _normalised(image: torch.Tensor, *others: Any) -> Sequence[torch.Tensor]:
    """The output of a batch norm in eval mode; its shape is that of the input."""
    if others[4]:
        return torch.ops.aten.native_batch_norm(image, *others)  # type: ignore[no-any-return]
    return torch.empty_like(image), image.new_empty(0), image.new_empty(0)


# On meta these run through decompositions in Python, which would take most of the time of a forward pass.
_SHORT_CUTS: Mapping[str, Callable[..., Any]] = {
    "native_batch_norm": _normalised,
    "hardtanh": lambda image, *_: torch.empty_like(image),
    "hardtanh_": lambda image, *_: image,
}


def _check_kernel(
    image: torch.Tensor, weight: torch.Tensor, _bias: Any, _stride: Any, padding: Any, dilation: Any, *others: Any
) -> None:
    """Raise what torch does for a kernel that is larger than the padded image."""
    transposed, _, groups = others
    if transposed or image.ndim != weight.ndim or image.shape[1] != groups * weight.shape[1]:
        return
    sides = [side + 2 * pad for side, pad in zip(image.shape[2:], _expanded(padding, image), strict=True)]
    kernel = [step * (side - 1) + 1 for side, step in zip(weight.shape[2:], _expanded(dilation, image), strict=True)]
    if any(side < length for side, length in zip(sides, kernel, strict=True)):
        got, wanted = (" x ".join(map(str, lengths)) for lengths in (sides, kernel))
        raise RuntimeError(
            f"Calculated padded input size per channel: ({got}). Kernel size: ({wanted}). "
            "Kernel size can't be greater than actual input size"
        )


def _check_indices(_weight: torch.Tensor, indices: torch.Tensor, *_others: Any) -> None:
    """Raise what torch does for an embedding of fractions."""
    if indices.dtype not in (torch.int64, torch.int32):
        raise RuntimeError(
            "Expected tensor for argument #1 'indices' to have one of the following scalar types: Long, Int; "
            f"but got {indices.dtype} instead"
        )


def _expanded(numbers: Sequence[int], image: torch.Tensor) -> Sequence[int]:
    """One number for each axis of an image."""
    return [*numbers] * (image.ndim - 2) if len(numbers) == 1 else numbers


# On meta, torch 2.10 makes an empty map of the one and takes the other; newer versions raise as on other devices.
_CHECKS: Mapping[str, Callable[..., None]] = {"convolution": _check_kernel, "embedding": _check_indices}

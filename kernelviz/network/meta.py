"""A network's double on torch's ``meta`` device: shapes without numbers, the caller's network left as it is."""

from __future__ import annotations

import copy
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from kernelviz.errors import KernelvizError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


_HOOKS = (
    "_forward_hooks", "_forward_hooks_with_kwargs", "_forward_hooks_always_called", "_forward_pre_hooks",
    "_forward_pre_hooks_with_kwargs", "_backward_hooks", "_backward_pre_hooks",
)  # fmt: skip


def on_meta(network: nn.Module) -> nn.Module:
    """A copy in eval mode whose tensors are all on ``meta``, without the network's hooks; no number is copied.

    Raises:
        KernelvizError: the network cannot be copied.
    """
    network = getattr(network, "_orig_mod", network)  # what torch.compile wraps
    memo: dict[int, Any] = {}
    for module in network.modules():
        if isinstance(module, torch.jit.ScriptModule):
            raise KernelvizError(
                "The network was compiled by torch.jit, and its steps cannot be watched.",
                hint="Give the network from which it was made.",
            )
        for name in _HOOKS:
            memo[id(vars(module).get(name))] = OrderedDict()
        for parameter in module.parameters(recurse=False):
            memo[id(parameter)] = nn.Parameter(_like(parameter), requires_grad=False)
        for buffer in module.buffers(recurse=False):
            memo[id(buffer)] = _like(buffer)
    memo.pop(id(None), None)
    try:
        with _WithoutNumbers():
            double = copy.deepcopy(network, memo)
    except Exception as error:  # noqa: BLE001 - a module may hold anything
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise KernelvizError("The network could not be copied to trace it.", reason) from None
    return double.eval()


def _like(tensor: torch.Tensor) -> torch.Tensor:
    return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="meta")


class _WithoutNumbers(TorchFunctionMode):
    """Within it a tensor that is no parameter is copied to ``meta`` too."""

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
                memo[id(tensor)] = _like(tensor) if tensor.layout == torch.strided else tensor.to("meta")
            return memo[id(tensor)]
        return func(*args, **(kwargs or {}))

"""The weight that a convolution really multiplies with, seen by watching the convolution that runs."""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.utils._python_dispatch import TorchDispatchMode

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


_ONLY_PADS = frozenset({"Conv2dSame", "Conv2dSameExport"})  # these convolve with the stored weight
_CONVOLVE = frozenset({
    "convolution", "_convolution",
    "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d",  # in inference mode
})  # fmt: skip
_HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_forward_hooks_with_kwargs", "_forward_hooks_always_called")


@dataclass(frozen=True)
class Watched:
    """The ``weight`` that a convolution multiplied with; or None and ``why`` that is not known."""

    weight: Tensor | None = None
    why: str = ""


def reworker(module: nn.Module) -> str:
    """What may make another weight of the stored one before it convolves, in words; empty for plain convolutions."""
    if parametrize.is_parametrized(module, "weight"):
        rules: Any = module.parametrizations
        return f"its parametrisation ({', '.join(type(rule).__name__.lstrip('_') for rule in rules.weight)})"
    if "weight" not in dict(module.named_parameters(recurse=False)):
        return "the hook that computes it before each pass"
    authors = {
        next(kind for kind in type(module).__mro__ if method in vars(kind)) for method in ("forward", "_conv_forward")
    }
    own_way = any(kind.__module__ != nn.Conv2d.__module__ and kind.__name__ not in _ONLY_PADS for kind in authors)
    return type(module).__name__ if own_way or "forward" in vars(module) else ""


def stored_weight(module: nn.Module) -> Tensor | None:
    """What the module itself holds: the first of its own tensors of the weight's shape that the weight is made of."""
    weight: Any = module.weight
    if not parametrize.is_parametrized(module, "weight"):
        own = dict(module.named_parameters(recurse=False))
        made_of = [own["weight"]] if "weight" in own else [own.get(f"weight_{part}") for part in ("orig", "v")]
    else:
        rules: Any = module.parametrizations
        made_of = [rules.weight.original] if rules.weight.is_tensor else list(rules.weight.parameters(recurse=False))
    return next((part for part in made_of if part is not None and part.shape == weight.shape), None)


def watched_weight(module: nn.Module) -> Watched:
    """Let the module convolve two small inputs, and see what it multiplies them with.

    Of the caller's hooks only those run that compute the weight. Modes and buffers are for the caller to keep.
    """
    stored: Any = module.weight
    seen = []
    try:
        with _weight_hooks_alone(module):
            for image in _two_inputs(module, stored):
                with _Watch() as watch:
                    module(image)
                seen.append([weight.detach().clone() for weight in watch.weights if weight.shape == stored.shape])
    except Exception as error:  # noqa: BLE001 - the module is the caller's, and may raise anything
        return Watched(why=f"it does not run by itself ({type(error).__name__})")
    first, second = seen
    if len(first) != 1 or len(second) != 1:
        return Watched(why="it runs no convolution with a weight of this shape, or more than one")
    if not torch.equal(first[0].nan_to_num(), second[0].nan_to_num()):
        return Watched(why="the weight that it convolves with depends on the image")
    return Watched(first[0])


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Keeps the weight of every convolution."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.weights: list[Tensor] = []

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func._overloadpacket.__name__ in _CONVOLVE:  # noqa: SLF001
            self.weights.append(args[1])
        return func(*args, **(kwargs or {}))


def _two_inputs(module: Any, weight: Tensor) -> list[Tensor]:
    """Zeros and a ramp, just large enough for the kernel and for any padding by reflection."""
    rank = len(module.kernel_size)
    padding = module.padding if isinstance(module.padding, tuple) else (0,) * rank
    sides = [
        max(dilation * (size - 1) + 1, around + 1)
        for size, dilation, around in zip(module.kernel_size, module.dilation, padding, strict=True)
    ]
    zeros = torch.zeros(1, module.in_channels, *sides, dtype=weight.dtype, device=weight.device)
    return [zeros, torch.linspace(-1, 1, zeros.numel(), device=weight.device).to(weight.dtype).reshape(zeros.shape)]


@contextlib.contextmanager
def _weight_hooks_alone(module: nn.Module) -> Iterator[None]:
    """Without other hooks than those that compute the weight; what they write into the module is taken back."""
    before = dict(vars(module))
    kept = _weight_hooks(module)
    try:
        for name in _HOOKS:
            vars(module)[name] = OrderedDict()
        vars(module)["_forward_pre_hooks"] = kept
        yield
    finally:
        for name in set(vars(module)) - set(before):
            del vars(module)[name]
        vars(module).update(before)


def _weight_hooks(module: Any) -> OrderedDict[int, Any]:
    """The hooks that compute the weight: torch's, or where it has none of these, any, as one of them must."""
    if "weight" in dict(module.named_parameters(recurse=False)) or parametrize.is_parametrized(module, "weight"):
        return OrderedDict()
    hooks = OrderedDict(module._forward_pre_hooks)  # noqa: SLF001
    known = {number: hook for number, hook in hooks.items() if type(hook).__module__.startswith("torch.nn.utils.")}
    return OrderedDict(known or hooks)

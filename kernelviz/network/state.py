"""A network that is the caller's own: lent for a pass, and given back as it was."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from kernelviz.errors import KernelvizError

if TYPE_CHECKING:
    from collections.abc import Iterator


def refuse_unready(module: nn.Module) -> None:
    """Refuse a network whose pass cannot be watched without changing it.

    Raises:
        KernelvizError: it has lazy modules that never ran, or is scripted.
    """
    if isinstance(module, torch.jit.ScriptModule):
        what = "A scripted network takes no hooks, so its layers cannot be watched."
        raise KernelvizError(what, hint="Give the Python module that it was made of.")
    if any(is_lazy(tensor) for tensor in (*module.parameters(), *module.buffers())):
        why = "Its lazy modules get theirs in their first pass, which would change it."
        raise KernelvizError("The network has layers without a shape yet.", why, "Run it once, then come back.")


@contextlib.contextmanager
def undisturbed(module: nn.Module) -> Iterator[None]:
    """Eval mode without gradients; attributes, buffers and the random state are afterwards as they were.

    Modules that train clear what they keep from passes in eval mode, as entering training does.
    """
    parts = list(module.modules())
    before = [(part, _copied(part)) for part in parts]
    tensors = [(tensor, tensor.clone()) for part in parts for tensor in _own_tensors(part)]
    devices = {tensor.device for tensor in module.parameters() if tensor.device.type == "cuda"}
    with torch.no_grad(), torch.random.fork_rng(devices=list(devices)):
        try:
            for part in parts:
                if part.training and type(part).train is not nn.Module.train:
                    part.train()
            for part in parts:
                part.training = False
            yield
        finally:
            for part, attributes in before:
                _put_back(vars(part), attributes)
            for tensor, values in tensors:
                if tensor.is_meta or not torch.equal(tensor, values):
                    tensor.copy_(values)


def _copied(part: nn.Module) -> dict[str, tuple[Any, Any]]:
    """Each attribute, with a copy of what it holds where it is a collection."""
    return {name: (value, _contents(value)) for name, value in vars(part).items()}


def _contents(value: Any) -> Any:
    return value.copy() if isinstance(value, dict | list | set) else None


def _put_back(attributes: dict[str, Any], before: dict[str, tuple[Any, Any]]) -> None:
    """The same objects again, and in collections the same contents."""
    attributes.clear()
    for name, (value, contents) in before.items():
        attributes[name] = value
        if isinstance(value, dict | set):
            value.clear()
            value.update(contents)
        elif isinstance(value, list):
            value[:] = contents


def _own_tensors(part: nn.Module) -> Iterator[torch.Tensor]:
    """The buffers, and the tensors that are plain attributes; sparse ones no pass writes into."""
    for value in (*part.buffers(recurse=False), *vars(part).values()):
        plain = isinstance(value, torch.Tensor) and not isinstance(value, nn.Parameter) and not is_lazy(value)
        if plain and value.layout == torch.strided:
            yield value

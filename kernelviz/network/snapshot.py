"""The state of a caller's network: used by one thread at a time, saved before a forward pass and restored after it."""

from __future__ import annotations

import contextlib
import operator
import random
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.nn.parameter import is_lazy

from kernelviz.errors import KernelvizError
from kernelviz.wording import shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


def is_scripted(module: nn.Module) -> bool:
    """Whether a module was compiled by ``torch.jit``, which leaves its layers neither hooks nor classes."""
    return isinstance(module, torch.jit.ScriptModule)


SCRIPTED = "it is scripted (torch.jit), so that it is observed as part of the module around it only"


def scripted_error(name: str = "") -> KernelvizError:
    """The error for a scripted network, or a scripted layer of this name."""
    what = f"The {f'layer {shown(name)}' if name else 'network'} is scripted (torch.jit), so its layers are not accessible."
    return KernelvizError(what, hint="Give the Python module that it was made of.")


def check_ready(module: nn.Module) -> None:
    """Reject a network whose forward pass cannot be observed without changing it.

    Raises:
        KernelvizError: the network has lazy modules that never ran, or all of it is scripted.
    """
    if is_scripted(module):
        raise scripted_error()
    if any(is_lazy(tensor) for tensor in (*module.parameters(), *module.buffers())):
        why = "Its lazy modules get their shapes in their first forward pass, which would change them."
        raise KernelvizError("The network has layers without a shape yet.", why, "Run the network once first.")


_in_use: dict[int, int] = {}  # the id of each module that is in use, and the thread that uses it
_released = threading.Condition()


@contextlib.contextmanager
def exclusive(module: nn.Module) -> Iterator[None]:
    """The modules of a network for this thread alone; waits until other threads have released all of them.

    Raises:
        KernelvizError: this thread uses one of them already, and would wait for itself.
    """
    thread, parts = threading.get_ident(), list(map(id, module.modules()))
    with _released:
        while owners := {_in_use[part] for part in parts if part in _in_use}:
            if thread in owners:
                raise KernelvizError(
                    "The network is in use by this thread.",
                    "A function of kernelviz was called for it during one of its forward passes, such as in a hook.",
                    "Call it after that forward pass.",
                )
            _released.wait()
        _in_use.update(dict.fromkeys(parts, thread))
    try:
        yield
    finally:
        with _released:
            for part in parts:
                _in_use.pop(part, None)
            _released.notify_all()


class _Users:
    """The threads that preserve the random state now, and the state before the first of them."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.depths: dict[int, int] = {}
        self.first = _RandomState(())


class _RandomState:
    """The states of the global generators of torch (for the CPU and these CUDA devices), NumPy and Python."""

    def __init__(self, devices: Iterable[torch.device]) -> None:
        self.cpu = torch.get_rng_state()
        self.cuda = {device: torch.cuda.get_rng_state(device) for device in devices}
        self.numpy, self.python = np.random.get_state(), random.getstate()  # noqa: NPY002 - what a module may use

    def restore(self) -> None:
        torch.set_rng_state(self.cpu)
        for device, state in self.cuda.items():
            torch.cuda.set_rng_state(state, device)
        np.random.set_state(self.numpy)  # noqa: NPY002
        random.setstate(self.python)


_users = _Users()


@contextlib.contextmanager
def preserved_random_state(devices: Iterable[torch.device] = ()) -> Iterator[None]:
    """Restore the state of the global generators of torch, NumPy and Python, which all threads share, afterwards.

    A thread never resets it under another one that is still inside, which may be drawing the weights of a network from
    its seed: the last thread to leave restores what the first one found.
    """
    thread = threading.get_ident()
    with _users.lock:
        before = _RandomState(devices)
        if not _users.depths:
            _users.first = before
        _users.first.cuda = before.cuda | _users.first.cuda
        _users.depths[thread] = _users.depths.get(thread, 0) + 1
    try:
        yield
    finally:
        with _users.lock:
            _users.depths[thread] -= 1
            outermost = not _users.depths[thread]
            if outermost:
                del _users.depths[thread]
            if not _users.depths:
                _users.first.restore()
            elif set(_users.depths) == {thread}:
                before.restore()


@contextlib.contextmanager
def undisturbed(module: nn.Module) -> Iterator[None]:
    """Eval mode without gradients, ``exclusive``; attributes, buffers and the random state are restored afterwards.

    Modules in training mode that override ``train`` are put into it once more, which clears what they cache in eval mode.
    """
    with PreservedModule(module).undisturbed():
        yield


class PreservedModule:
    """A network whose state is restored after each forward pass; it is saved again only if its owner has changed it."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self._held: _Held | None = None

    @contextlib.contextmanager
    def undisturbed(self) -> Iterator[None]:
        """As the function ``undisturbed``."""
        with exclusive(self.module), self.restored():
            yield

    @contextlib.contextmanager
    def restored(self) -> Iterator[None]:
        """As ``undisturbed``, for a caller that has ``exclusive`` use already."""
        if self._held is None or self._held.is_outdated():
            self._held = _Held(self.module)
        held = self._held
        training = [part for part in held.parts if part.training]
        with torch.no_grad(), preserved_random_state(held.devices):
            try:
                for part in training:
                    if type(part).train is not nn.Module.train:
                        part.train()
                for part in training:
                    part.training = False
                yield
            finally:
                held.restore()


class _Held:
    """The state of a network and its modules: attributes, the contents of collections among them, and buffers."""

    def __init__(self, module: nn.Module) -> None:
        self.parts = list(module.modules())
        self.attributes = [_Entries(vars(part)) for part in self.parts]
        values = [value for entries in self.attributes for value in entries.values]
        collections = [value for value in values if isinstance(value, dict | list | set)]
        self.empty = [value for value in collections if not value]  # nearly all of them: hooks
        self.dicts = [_Entries(value) for value in collections if value and isinstance(value, dict)]
        others = [value for value in collections if value and not isinstance(value, dict)]
        self.others = [(value, value.copy()) for value in others]
        tensors = [tensor for part in self.parts for tensor in _own_tensors(part)]
        self.devices = list({tensor.device for tensor in module.parameters() if tensor.device.type == "cuda"})
        self.tensors = [(tensor, tensor.clone(), tensor._version) for tensor in tensors]  # noqa: SLF001

    def is_outdated(self) -> bool:
        """Whether the state has changed; writes into buffers change their version."""
        return (
            any(self.empty)
            or any(entries.differ() for entries in (*self.attributes, *self.dicts))
            or any(_differ(value, contents) for value, contents in self.others)
            or any(tensor._version != version for tensor, _, version in self.tensors)  # noqa: SLF001
        )

    def restore(self) -> None:
        """Restore the same objects with the same contents."""
        for entries in (*self.attributes, *self.dicts):
            if entries.differ():
                entries.restore()
        if any(self.empty):
            for value in self.empty:
                value.clear()
        for held, contents in self.others:
            if _differ(held, contents):
                held.clear()
                held.update(contents) if isinstance(held, set) else held.extend(contents)
        for tensor, values, _ in self.tensors:
            if tensor.is_meta or not torch.equal(tensor, values):
                tensor.copy_(values)


class _Entries:
    """A dict and its contents, compared by identity, since ``==`` on tensors is not a bool."""

    def __init__(self, holder: dict[str, Any]) -> None:
        self.holder, self.keys, self.values = holder, tuple(holder), tuple(holder.values())

    def differ(self) -> bool:
        """Whether the contents have changed."""
        return tuple(self.holder) != self.keys or not all(map(operator.is_, self.holder.values(), self.values))

    def restore(self) -> None:
        """Restore the contents in the same order."""
        self.holder.clear()
        self.holder.update(dict(zip(self.keys, self.values, strict=True)))  # a Counter would count pairs


def _differ(value: Any, contents: Any) -> bool:
    """Whether a list, or a set, has other contents."""
    if isinstance(value, set):
        return bool(value != contents)
    return len(value) != len(contents) or not all(map(operator.is_, value, contents))


def _own_tensors(part: nn.Module) -> Iterator[torch.Tensor]:
    """The buffers, and the tensors that are plain attributes; no forward pass writes into sparse ones."""
    for value in (*part.buffers(recurse=False), *vars(part).values()):
        plain = isinstance(value, torch.Tensor) and not isinstance(value, nn.Parameter) and not is_lazy(value)
        if plain and value.layout == torch.strided:
            yield value

"""One watched pass on torch's ``meta`` device: order, runs, shapes, which dimension is which, fields, multiply-adds."""

from __future__ import annotations

import re
import warnings
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only
from torch.utils.flop_counter import flop_registry
from torch.utils.weak import WeakTensorKeyDictionary

import kernelviz.network.moves
import kernelviz.network.unfolding
import kernelviz.network.windows  # noqa: F401  (it registers its rules)
from kernelviz.errors import KernelvizError, UsageError
from kernelviz.network import carried as known
from kernelviz.network.carried import Carried
from kernelviz.network.fields import TooLargeError
from kernelviz.network.meta import on_meta
from kernelviz.network.models import Model, stage_names
from kernelviz.network.operations import Call, Found, outcome, tensors_in
from kernelviz.network.rows import network_rows
from kernelviz.network.sharing import Sharing, after_write, makes_views, written_by
from kernelviz.network.state import refuse_unready, undisturbed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from kernelviz.traces import Trace


@dataclass
class Visit:
    """What was seen of one module: its runs, its own work, and the first output."""

    runs: int = 0
    macs: int = 0
    operations: Counter[str] = field(default_factory=Counter)
    shape: tuple[int, ...] | None = None
    found: Found = None
    changes: bool = True
    taken: list[Passed] = field(default_factory=list)
    given: list[Passed] = field(default_factory=list)


@dataclass(frozen=True)
class Passed:
    """What went into a module, or came out of it, in one of its runs: the tensors with what is known of each.

    ``alone`` says that it was one tensor, not a tuple, list or dict of them.
    """

    tensors: tuple[tuple[tuple[int, ...], Found], ...]
    alone: bool


@dataclass(frozen=True)
class Watched:
    """What one watched pass saw: the network's double, each module's visits, and the order in which runs ended."""

    double: nn.Module
    visits: Mapping[str, Visit]
    ended: Sequence[str]


def trace(network: Model | nn.Module, input_size: Sequence[int] | None = None) -> Trace:
    """Watch one pass of an image of ``input_size``, (C, H, W), through a network, without its weights or any arithmetic.

    The network stays on its device and as it was. ``input_size`` may be left out for a ``Model``.

    Raises:
        UsageError: the input size is missing or no size.
        KernelvizError: the network does not take such an input, or cannot be copied.
    """
    size = checked_size(network, input_size)
    module = network.module if isinstance(network, Model) else network
    return as_trace(network, watched(module, size), size)


def watched(module: nn.Module, size: Sequence[int], batch: torch.Tensor | None = None) -> Watched:
    """Watch one pass of an image of ``size`` (C, H, W) through a double of the network.

    Where a double cannot be made, or goes another way without numbers, the network itself is watched with ``batch``.

    Raises:
        KernelvizError: the network does not take such an input, or cannot be copied.
    """
    refuse_unready(module)
    with (
        torch.inference_mode(mode=False),
        torch.random.fork_rng(devices=[]),
        warnings.catch_warnings(),
        torch.no_grad(),
    ):
        warnings.simplefilter("ignore")
        try:
            double = on_meta(module)
            image = torch.empty(1, *size, dtype=_number_kind(double), device="meta")
            return _Watch(double).watch(image)
        except KernelvizError:
            if batch is None:
                raise
    with undisturbed(module):
        return _Watch(module).watch(batch.detach())


def as_trace(network: Model | nn.Module, seen: Watched, size: tuple[int, ...], *, fields: bool = True) -> Trace:
    """The layers of a watched pass as a record; without ``fields`` it is told sooner."""
    if isinstance(network, Model):
        source, stages = network.source, network.stages
    else:
        source, stages = None, stage_names(network)
    return network_rows(seen.double, seen.visits, size, source=source, stages=stages, fields=fields)


def checked_size(network: Model | nn.Module, input_size: Sequence[int] | None) -> tuple[int, ...]:
    """The shape of one image, (C, H, W): as given, or the model's own.

    Raises:
        UsageError: it is missing, or no shape.
    """
    if input_size is None:
        if not isinstance(network, Model):
            raise UsageError(
                "The input size is missing.", hint="Give the shape of one image, input_size=(3, 224, 224)."
            )
        return network.input_size
    size = tuple(input_size)
    if not 2 <= len(size) <= 4 or not all(isinstance(side, int) and 0 < side < 2**20 for side in size):
        raise UsageError(f"The input size must be whole numbers (channels, height, width), but got {size}.")
    return size


def _normalised(image: torch.Tensor, *others: Any) -> Sequence[torch.Tensor]:
    """What a batch norm with known statistics gives; its shape is the image's."""
    if others[4]:
        return torch.ops.aten.native_batch_norm(image, *others)  # type: ignore[no-any-return]
    return torch.empty_like(image), image.new_empty(0), image.new_empty(0)


# On meta these run through decompositions in Python, which take most of a watched pass.
_SHORT_CUTS: Mapping[str, Callable[..., Any]] = {
    "native_batch_norm": _normalised,
    "hardtanh": lambda image, *_: torch.empty_like(image),
    "hardtanh_": lambda image, *_: image,
}


def _run(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """The operation itself; a tensor that the network makes on the CPU is taken to ``meta`` where it meets the image."""
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


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Carries what is known of tensors through every operation, and notes in whose forward it happens."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.network = network
        self.visits: dict[str, Visit] = {}
        self.carried: Any = WeakTensorKeyDictionary()
        self.sharing = Sharing()
        self.stack: list[Visit] = []
        self.ended: list[str] = []

    def watch(self, image: torch.Tensor) -> Watched:
        """Pass a batch of one image through the network."""
        self.carried[image] = known.image(image.shape)
        with ExitStack() as stack:
            for name, module in self.network.named_modules():
                stack.enter_context(module.register_forward_pre_hook(self._entering(name), with_kwargs=True))
                stack.enter_context(module.register_forward_hook(self._leaving(name), always_call=True))
            try:
                with self:
                    self.network(image)
            except Exception as error:
                raise _failed(error, image.shape[1:]) from error
        return Watched(self.network, self.visits, self.ended)

    def _entering(self, name: str) -> Any:
        def enter(_module: nn.Module, inputs: Any, named: Any) -> None:
            visit = self.visits.setdefault(name, Visit())
            visit.runs += 1
            taken = (*inputs, *(value for value in named.values() if tensors_in(value)))
            visit.taken.append(self._passed(taken[0] if len(taken) == 1 else taken))
            self.stack.append(visit)

        return enter

    def _leaving(self, name: str) -> Any:
        def leave(_module: nn.Module, inputs: Any, output: Any) -> None:
            visit = self.stack.pop()
            visit.given.append(self._passed(output))
            self.ended.append(name)
            tensors = tensors_in(output)
            if visit.shape is None and tensors:
                visit.shape, visit.found = tuple(tensors[0].shape), self._known(tensors[0])
                visit.changes = not any(tensors[0] is tensor for tensor in tensors_in(inputs)) or bool(visit.operations)

        return leave

    def _passed(self, values: Any) -> Passed:
        tensors = tuple((tuple(tensor.shape), self._known(tensor)) for tensor in tensors_in(values))
        return Passed(tensors, alone=isinstance(values, torch.Tensor))

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        name = func._overloadpacket.__name__  # noqa: SLF001
        short = _SHORT_CUTS.get(name)
        output = short(*args) if short and not kwargs and args[0].is_meta else _run(func, args, kwargs)
        if self.stack:
            visit = self.stack[-1]
            visit.operations[name] += 1
            count = flop_registry.get(func._overloadpacket)  # noqa: SLF001
            if count is not None:
                visit.macs += count(*args, **kwargs, out_val=output) // 2
        outputs = tensors_in([output])
        self._carry(Call(name, args, kwargs, output, self._known), outputs, written_by(func, args, kwargs))
        if makes_views(func):
            self.sharing.meet(args[0], outputs)
        return output

    def _known(self, tensor: Any) -> Found:
        found: Found = self.carried.get(tensor) if isinstance(tensor, torch.Tensor) else None
        return found

    def _carry(self, call: Call, outputs: Sequence[torch.Tensor], written: Sequence[torch.Tensor]) -> None:
        try:
            found = outcome(call)
        except TooLargeError:
            found = Carried(lost=f"{call.name} spreads rows and columns over too many elements to follow")
        values = found if isinstance(found, list) else [found] * len(outputs)
        for tensor, value in zip(outputs, values, strict=False):
            before = self._known(tensor)
            self._keep(call, tensor, value)
            if value is not before and any(tensor is target for target in written):
                self._overwrite(call, tensor)

    def _keep(self, call: Call, tensor: torch.Tensor, value: Found) -> None:
        if value is not None and not value.lost and any(part.planes.ndim != tensor.ndim + 1 for part in value.axes):
            value = Carried(lost=f"{call.name} gives another rank than expected")
        if value is None:
            self.carried.pop(tensor, None)
        else:
            self.carried[tensor] = value

    def _overwrite(self, call: Call, written: torch.Tensor) -> None:
        """Tell the other tensors in this one's memory what was written there."""
        value = self._known(written)
        for other in self.sharing.others(written):
            before = self._known(other)
            after = after_write(call.name, written, value, other, before)
            if after is not before:
                self._keep(call, other, after)


def _number_kind(network: nn.Module) -> torch.dtype:
    kinds = (parameter.dtype for parameter in network.parameters() if parameter.is_floating_point())
    return next(kinds, torch.float32)


def _failed(error: Exception, size: Sequence[int]) -> KernelvizError:
    reason = " ".join(str(error).split())[:300] or type(error).__name__
    reason = f"{reason[0].upper()}{reason[1:]}"
    if re.search(r"\bmeta\b|data-dependent", reason):
        return KernelvizError(
            "The network looks at the numbers of its tensors, and this pass has none.",
            reason,
            "Trace a part of it that goes the same way whatever it is shown.",
        )
    if re.search(r"\bdtype\b|scalar types?|same type", reason):
        return KernelvizError(
            "The network does not take its own number type.", reason, "Give all of it one type first, as .float() does."
        )
    return KernelvizError(
        f"The network does not take an input of {' × '.join(map(str, size))}.",
        reason,
        "Give the size that it was made for as the input size.",
    )

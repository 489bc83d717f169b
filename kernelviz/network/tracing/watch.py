"""Observe one forward pass on torch's ``meta`` device, operation by operation."""

from __future__ import annotations

import contextlib
import copy
import re
import sys
import threading
import time
from collections import Counter, OrderedDict
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch._ops import OpOverload
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only
from torch.utils.flop_counter import flop_registry
from torch.utils.weak import TensorWeakRef, WeakTensorKeyDictionary

from kernelviz.errors import BrokenPassError, KernelvizError, NeedsValuesError
from kernelviz.network.failures import broken_layer, broken_pass, failure_texts
from kernelviz.network.inputs import FurtherInputs, has_axes_of
from kernelviz.network.model import Model, root_of
from kernelviz.network.snapshot import PreservedModule, check_ready, exclusive, is_scripted, preserved_random_state
from kernelviz.network.tracing import reads as known
from kernelviz.network.tracing.reads import TensorReads, concatenated, located, narrowed
from kernelviz.network.tracing.rules import Call, Found, failed, makes_map, outcome, part_of, tensors_in
from kernelviz.network.tracing.window_rules import quantised_macs
from kernelviz.threads import no_warnings
from kernelviz.wording import reason_text, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence


class Sharing:
    """The living tensors of each storage that several tensors share."""

    def __init__(self) -> None:
        self._met: dict[int, list[TensorWeakRef]] = {}
        self._first: dict[int, TensorWeakRef] = {}

    def add(self, tensor: torch.Tensor) -> None:
        """Record a tensor that reads the image, unless its storage has one."""
        where = _memory(tensor)
        if where is not None and self.first(tensor) is None:
            self._first[where] = TensorWeakRef(tensor)

    def first(self, tensor: torch.Tensor) -> torch.Tensor | None:
        """The first recorded tensor in the storage of this one that still exists."""
        where = _memory(tensor)
        known = self._first.get(where) if where is not None else None
        found: torch.Tensor | None = known() if known is not None else None
        return found if found is not None and _memory(found) == where else None

    def meet(self, source: torch.Tensor, outputs: Sequence[torch.Tensor]) -> None:
        """Record that ``outputs`` are views of the storage of ``source``."""
        where = _memory(source)
        if where is None:
            return
        met = [known for known in self._met.get(where, ()) if known() is not None]
        met += [TensorWeakRef(tensor) for tensor in (source, *outputs) if not any(known() is tensor for known in met)]
        self._met[where] = met

    def others(self, tensor: torch.Tensor) -> list[torch.Tensor]:
        """The other living tensors in the storage of this one."""
        where = _memory(tensor)
        if where is None:
            return []
        living = [known() for known in self._met.get(where, ())]
        return [other for other in living if other is not None and other is not tensor and _memory(other) == where]


def written_by(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Sequence[torch.Tensor]:
    """The tensors whose elements an operation overwrites, according to its schema."""
    positions, names = _writes(func)
    if not positions:
        return ()
    return tensors_in([*(args[position] for position in positions if position < len(args)), *map(kwargs.get, names)])


@lru_cache(maxsize=4096)
def _writes(func: Any) -> tuple[tuple[int, ...], tuple[str, ...]]:
    if torch.Tag.inplace_view in func.tags:
        return (), ()  # another view of the same elements
    written = [
        (position, argument.name)
        for position, argument in enumerate(func._schema.arguments)  # noqa: SLF001
        if argument.alias_info is not None and argument.alias_info.is_write
    ]
    return tuple(position for position, _ in written), tuple(name for _, name in written)


@lru_cache(maxsize=4096)
def makes_views(func: Any) -> bool:
    """Whether the output of an operation shares the storage of its first argument."""
    aliases = (result.alias_info for result in func._schema.returns)  # noqa: SLF001
    return func._overloadpacket.__name__ == "_unsafe_view" or any(  # noqa: SLF001
        alias is not None and not alias.is_write for alias in aliases
    )


def after_write(name: str, written: torch.Tensor, value: Found, other: torch.Tensor, before: Found) -> Found:
    """What is known of ``other`` (so far ``before``) after the operation ``name`` wrote ``value`` into ``written``."""
    if (before is None and value is None) or not _overlap(written, other):
        return before
    if abs(written.ndim - other.ndim) == 1:
        return _after_write_into_row(name, written, value, other, before)
    inside, around = _box(written, other), _box(other, written)
    if around is not None:
        return value if inside is not None or value is None else _cut(value, around)
    return _after_partial_write(name, value, inside, other.shape, before)


def _after_partial_write(
    name: str, value: Found, inside: Sequence[tuple[int, int]] | None, shape: Sequence[int], before: Found
) -> Found:
    """What is known of a tensor of this shape after ``value`` was written into the block ``inside`` of it."""
    if before is not None and before.lost:
        return before
    if value is not None and value.lost:
        return _without_reads(before, value.lost)
    if inside is None:
        return _without_reads(before, f"{name} overwrites part of a tensor")
    pasted = _pasted(before, value, inside, shape)
    return pasted and pasted.each(narrowed)


def _after_write_into_row(name: str, written: torch.Tensor, value: Found, other: torch.Tensor, before: Found) -> Found:
    """As ``after_write``, if one tensor has a dimension less, as ``batch[0]`` has."""
    for dim in range(max(written.ndim, other.ndim)):
        if written.ndim < other.ndim and _box(written.unsqueeze(dim), other) is not None:
            return after_write(name, written.unsqueeze(dim), _lifted(value, dim), other, before)
        if other.ndim < written.ndim and _box(other.unsqueeze(dim), written) is not None:
            after = after_write(name, written, value, other.unsqueeze(dim), _lifted(before, dim))
            return _selected(after, dim)
    return _after_partial_write(name, None, None, other.shape, before)


def _lifted(found: Found, dim: int) -> Found:
    """What is known of a tensor with one more dimension, of size 1."""
    return found and found.moved(lambda planes: np.expand_dims(planes, dim + 1))


def _selected(found: Found, dim: int) -> Found:
    """What is known of a tensor without one of its dimensions, which has size 1."""
    return found and found.moved(lambda planes: planes.squeeze(dim + 1))


def _without_reads(found: Found, lost: str) -> TensorReads:
    """What is known of a tensor after other values were written into it: its elements are where they were."""
    return TensorReads(lost=lost) if found is None else replace(found, lost=lost)


def _memory(tensor: torch.Tensor) -> int | None:
    """The address of the storage, or of its values, which several storages may share after an exchange by DLPack."""
    if tensor.layout != torch.strided:
        return None
    storage = tensor.untyped_storage()
    return int((0 if tensor.is_meta else storage.data_ptr()) or storage._cdata)  # noqa: SLF001


def _overlap(one: torch.Tensor, other: torch.Tensor) -> bool:
    if not one.numel() or not other.numel():
        return False
    (first, last), (other_first, other_last) = _extent(one), _extent(other)
    return one.dtype != other.dtype or (first <= other_last and other_first <= last)


def _extent(tensor: torch.Tensor) -> tuple[int, int]:
    """The first and last position of a tensor in its storage."""
    first = int(tensor.storage_offset())
    steps = sum((size - 1) * int(stride) for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    return first, first + steps


def _box(inner: torch.Tensor, outer: torch.Tensor) -> list[tuple[int, int]] | None:
    """The block of ``outer`` that is ``inner``: start and stop along each dimension; None if it is not a block."""
    if inner.ndim != outer.ndim or inner.dtype != outer.dtype:
        return None
    box = [(0, 1)] * outer.ndim
    dims = sorted((dim for dim in range(outer.ndim) if outer.shape[dim] > 1), key=outer.stride, reverse=True)
    if any(inner.shape[dim] > 1 for dim in range(outer.ndim) if dim not in dims):
        return None
    away = int(inner.storage_offset() - outer.storage_offset())
    for at, dim in enumerate(dims):
        stride, size = outer.stride(dim), inner.shape[dim]
        reach = sum((outer.shape[finer] - 1) * outer.stride(finer) for finer in dims[at + 1 :])
        if stride <= reach or (size > 1 and inner.stride(dim) != stride):
            return None
        start, away = divmod(away, stride)
        box[dim] = start, start + size
        if start < 0 or start + size > outer.shape[dim]:
            return None
    return None if away else box


def _cut(carried: TensorReads, box: Sequence[tuple[int, int]]) -> TensorReads:
    for dim, (start, stop) in enumerate(box):
        carried = part_of(carried, dim, slice(start, stop))
    return carried


def _pasted(base: Found, value: Found, box: Sequence[tuple[int, int]], shape: Sequence[int]) -> Found:
    """``base`` of this shape after ``value`` was written into a block of it."""
    dim = next((dim for dim, (start, stop) in enumerate(box) if stop - start < shape[dim]), None)
    if dim is None or (base is None and value is None):
        return value
    start, stop = box[dim]
    pieces = [(at, to) for at, to in ((0, start), (start, stop), (stop, shape[dim])) if at < to]
    parts: list[Found] = [base and part_of(base, dim, slice(*piece)) for piece in pieces]
    middle = pieces.index((start, stop))
    inner_box = [(0, stop - start) if at == dim else side for at, side in enumerate(box)]
    inner_shape = [stop - start if at == dim else size for at, size in enumerate(shape)]
    parts[middle] = _pasted(parts[middle], value, inner_box, inner_shape)
    if all(part is None for part in parts):
        return None
    return concatenated(parts, [to - at for at, to in pieces], dim, len(shape))


_HOOKS = (
    "_forward_hooks", "_forward_hooks_with_kwargs", "_forward_hooks_always_called", "_forward_pre_hooks",
    "_forward_pre_hooks_with_kwargs", "_backward_hooks", "_backward_pre_hooks",
)  # fmt: skip


def on_meta(network: nn.Module) -> nn.Module:
    """A copy of the network in eval mode on ``meta``, without its hooks; no tensor values are copied.

    Raises:
        KernelvizError: the network cannot be copied.
    """
    return _copied(network)[0]


def _copied(network: nn.Module) -> tuple[nn.Module, list[torch.Tensor]]:
    """``on_meta``, and all tensors of the copy, those in objects that are no modules too."""
    memo: dict[int, Any] = {}
    try:
        for module in network.modules():
            for name in _HOOKS:
                memo[id(vars(module).get(name))] = OrderedDict()
            for parameter in module.parameters(recurse=False):
                memo[id(parameter)] = nn.Parameter(_like(parameter), requires_grad=False)
            for buffer in module.buffers(recurse=False):
                memo[id(buffer)] = _like(buffer)
        memo.pop(id(None), None)
        with _WithoutNumbers():
            meta_copy = copy.deepcopy(network, memo)
    except Exception as error:  # noqa: BLE001 - a module may contain anything
        raise KernelvizError("The network could not be copied to trace it.", reason_text(error)) from None
    for module in meta_copy.modules():
        if isinstance(module, nn.DataParallel):
            module.device_ids = []  # it then runs its module without moving inputs to devices
    return meta_copy.eval(), [value for value in memo.values() if isinstance(value, torch.Tensor)]


def _like(tensor: torch.Tensor) -> torch.Tensor:
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
                memo[id(tensor)] = _like(tensor)
            return memo[id(tensor)]
        return func(*args, **(kwargs or {}))


@dataclass
class ModuleVisit:
    """What was observed of one module: its runs, its own operations, and its first output."""

    runs: int = 0
    macs: int = 0
    operations: Counter[str] = field(default_factory=Counter)
    shape: tuple[int, ...] | None = None
    found: Found = None
    changes: bool = True
    taken: list[RunTensors] = field(default_factory=list)
    given: list[RunTensors] = field(default_factory=list)


@dataclass(frozen=True)
class RunTensors:
    """The input or output tensors of one run of a module, with what is known of each.

    ``maps``: whether each is (N, C, *axes) by the contract of the operation that returned it. ``alone``: it was a single
    tensor, not a tuple, list or dict.
    """

    tensors: tuple[tuple[tuple[int, ...], Found], ...]
    maps: tuple[bool, ...]
    alone: bool


@dataclass(frozen=True)
class ObservedPass:
    """One observed forward pass: the network that ran, the visits of each module, and the order in which runs ended."""

    network: nn.Module
    visits: Mapping[str, ModuleVisit]
    ended: Sequence[str]


def observe_pass(
    module: nn.Module,
    size: Sequence[int],
    batch: torch.Tensor | None = None,
    further: FurtherInputs | None = None,
) -> ObservedPass:
    """Observe one forward pass of an image of ``size`` (C, H, W) through a meta copy of the network.

    Receptive fields are those on the image; ``further`` inputs of its height and width count as parts of it. If the network
    cannot be copied, or the forward pass of the copy fails, the network itself is observed with ``batch``. If this fails
    too, but the network runs if its operations are not observed, only the inputs and outputs of its modules are.

    Raises:
        KernelvizError: the network does not take such an input, or cannot be copied.
    """
    check_ready(module)
    with exclusive(module):
        with (
            torch.inference_mode(mode=False),
            preserved_random_state(),
            no_warnings(),
            torch.no_grad(),
        ):
            try:
                meta_copy, constants = _copied(module)
                image = torch.empty(1, *size, dtype=_number_kind(meta_copy), device="meta")
                return _Observer(meta_copy, constants).observe(image, further or FurtherInputs())
            except KernelvizError:
                if batch is None:
                    raise
        try:
            with PreservedModule(module).restored():
                return _Observer(module).observe(batch.detach(), further or FurtherInputs())
        except KernelvizError:
            with (
                contextlib.suppress(KernelvizError),
                PreservedModule(module).restored(),
            ):  # observation may be the cause
                return _Observer(module, only_modules=True).observe(batch.detach(), further or FurtherInputs())
            raise


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


def run_operation(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """The output of an operation; on ``meta`` by a short cut if there is one."""
    short_cut = _SHORT_CUTS.get(func._overloadpacket.__name__)  # noqa: SLF001
    return short_cut(*args) if short_cut and not kwargs and args[0].is_meta else _run(func, args, kwargs)


def _to_meta(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.to("meta")


class _TakenValues(TorchFunctionMode):
    """Notices when values of the image become Python numbers, lists or NumPy arrays, which are not followed.

    On ``meta`` there are no values to take.
    """

    def __init__(self, reads_image: Callable[[Any], bool]) -> None:
        super().__init__()
        self.reads_image, self.reason = reads_image, ""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        how = _TAKES_VALUES.get(getattr(func, "__name__", ""))
        if how and not self.reason and args and self.reads_image(args[0]) and (how != _NUMBER or _fractions(args[0])):
            self.reason = f"values that depend on the image were taken out of torch as {how}, which is not followed"
        return func(*args, **(kwargs or {}))


class _MadeOfNumbers(TorchFunctionMode):
    """Reports tensors that are made of Python numbers, which no observed operation returns on ``meta``."""

    def __init__(self, made: Callable[[torch.Tensor], None]) -> None:
        super().__init__()
        self.made = made

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        output = func(*args, **(kwargs or {}))
        if getattr(func, "__name__", "") in {"tensor", "new_tensor", "as_tensor", "asarray"}:
            self.made(output)
        return output


_NUMBER = "a number"
_TAKES_VALUES = {
    "item": _NUMBER, "__float__": _NUMBER, "__complex__": _NUMBER, "tolist": "a list", "numpy": "a NumPy array",
    "__array__": "a NumPy array", "__dlpack__": "a DLPack capsule", "to_dlpack": "a DLPack capsule",
    "data_ptr": "a pointer",
}  # fmt: skip
_WITH_NUMBERS = frozenset({
    "add", "add_", "sub", "sub_", "rsub", "mul", "mul_", "div", "div_", "pow", "pow_", "lerp", "lerp_", "where", "clamp",
    "clamp_", "clamp_min", "clamp_min_", "clamp_max", "clamp_max_", "masked_fill", "masked_fill_", "fill", "fill_", "full",
    "full_like", "new_full", "scalar_tensor", "addcmul", "addcmul_", "addcdiv", "addcdiv_", "threshold", "linspace",
})  # fmt: skip
"""Operations that take a Python number as a value, rather than as a parameter such as the epsilon of a norm."""


def _fractions(tensor: torch.Tensor) -> bool:
    """Whether the values are no whole numbers, which serve as sizes and positions."""
    return tensor.is_floating_point() or tensor.is_complex()


def _takes_numbers(call: Call) -> bool:
    return call.name in _WITH_NUMBERS and any(
        isinstance(value, float | complex) for value in (*call.args, *call.kwargs.values())
    )


_UNOBSERVED = "an operation was not observed, as those in other threads are not"
_OTHER_AXES = "the network makes inputs of another number of axes for its convolutions"


class _Observer(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Propagates what is known of tensors through every operation, and records the operations of each module."""

    supports_higher_order_operators = True

    def __init__(
        self, network: nn.Module, constants: Sequence[torch.Tensor] = (), *, only_modules: bool = False
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.network, self.only_modules = network, only_modules
        self.visits: dict[str, ModuleVisit] = {}
        self.carried: Any = WeakTensorKeyDictionary()
        self.maps: Any = WeakTensorKeyDictionary()
        self.constants: Any = WeakTensorKeyDictionary()
        for module in network.modules():
            for tensor in tensors_in([module._parameters, module._buffers, vars(module)]):  # noqa: SLF001
                self.constants[tensor] = _memory(tensor)
        for tensor in constants:
            self.constants[tensor] = _memory(tensor)
        self.taken = _TakenValues(self._reads_image)
        if only_modules:
            self.taken.reason = "the operations of this forward pass cannot be observed"
        self.sharing = Sharing()
        self.stacks: dict[int, list[ModuleVisit]] = {}
        self.thread, self.in_threads = threading.get_ident(), False
        self.ended: list[str] = []
        self.unhooked = ""
        self.nested = False
        self.handled = sys.exception()

    @property
    def stack(self) -> list[ModuleVisit]:
        """The modules that run in this thread, the innermost last."""
        return self.stacks.setdefault(threading.get_ident(), [])

    def observe(self, image: torch.Tensor, further: FurtherInputs) -> ObservedPass:
        """Run a batch of one image, and further inputs, through the network.

        Raises:
            BrokenPassError: the network does not take such an input.
            KernelvizError: it removes hooks during its forward pass.
        """
        axes = has_axes_of(self.network, image.ndim - 2)
        self.carried[image] = known.image(image.shape) if axes else TensorReads(lost=_OTHER_AXES)

        def beside(tensor: torch.Tensor) -> torch.Tensor:
            tensor = _like(tensor) if image.is_meta else tensor.detach()
            if tensor.is_meta and not image.is_meta:
                tensor = torch.zeros_like(tensor, device=image.device)
            if tensor.is_floating_point():
                tensor = tensor.to(image.device, image.dtype)
            if axes and tensor.ndim == image.ndim and tensor.shape[2:] == image.shape[2:]:
                self.carried[tensor] = known.image(tensor.shape)
            else:
                self.constants[tensor] = _memory(tensor)
            return tensor

        with self._hooked():
            try:
                with self._observing(values=not image.is_meta):
                    further.call(self.network, image, beside)
            except Exception as error:
                raise self._failure(error, image.shape[1:]) from error
        if self.unhooked or self.stack:
            name = self.unhooked or next(name for name, visit in self.visits.items() if visit is self.stack[-1])
            what = f"The layer {shown(name) or '(the network)'} cannot be observed."
            raise KernelvizError(what, "Its hooks are removed, or others added, during the forward pass.")
        return ObservedPass(self.network, self.visits, self.ended)

    @contextlib.contextmanager
    def _hooked(self) -> Iterator[None]:
        """Hooks on every module; scripted ones take none, and count for the module around them."""
        with ExitStack() as stack:
            for name, module in self.network.named_modules():
                if not is_scripted(module):
                    stack.enter_context(module.register_forward_pre_hook(self._entering(name), with_kwargs=True))
                    stack.enter_context(module.register_forward_hook(self._leaving(name), always_call=True))
            yield

    @contextlib.contextmanager
    def _observing(self, *, values: bool) -> Iterator[None]:
        """Observe operations, and values that are taken out of torch if there are ``values``."""
        with ExitStack() as stack:
            if not self.only_modules:
                stack.enter_context(self)
                stack.enter_context(self.taken if values else _MadeOfNumbers(self._made))
            yield

    def _failure(self, error: Exception, size: Sequence[int]) -> BrokenPassError:
        """The error with what was observed before it."""
        ended = {name: visit for name, visit in self.visits.items() if visit.given}
        for visit in ended.values():
            visit.runs = len(visit.given)
        found = _without_values(error, self.network) or broken_pass(error, self.network, size)
        found.observed = ObservedPass(self.network, ended, self.ended)
        if self.ended and not broken_layer(self.network, error):
            found.why = f"{found.why.rstrip('.')}. The last layer before it is {shown(self.ended[-1])}."
        return found

    def _entering(self, name: str) -> Any:
        def enter(_module: nn.Module, inputs: Any, named: Any) -> None:
            self.in_threads = self.in_threads or threading.get_ident() != self.thread
            visit = self.visits.setdefault(name, ModuleVisit())
            visit.runs += 1
            taken = (*inputs, *(value for value in named.values() if tensors_in(value)))
            visit.taken.append(self._passed(taken[0] if len(taken) == 1 else taken))
            self.stack.append(visit)

        return enter

    def _leaving(self, name: str) -> Any:
        def leave(module: nn.Module, inputs: Any, output: Any) -> None:
            if not self.stack or self.stack[-1] is not self.visits.get(name):
                self.unhooked = self.unhooked or name
                return
            visit = self.stack.pop()
            if output is None and sys.exception() is not self.handled:
                return  # it did not end
            if self.only_modules:
                self._assume(module, inputs, output)
            self._locate(module, output)
            visit.given.append(self._passed(output))
            self.ended.append(name)
            tensors = tensors_in(output)
            if visit.shape is None and tensors:
                visit.shape, visit.found = visit.given[-1].tensors[0]
                visit.changes = not any(tensors[0] is tensor for tensor in tensors_in(inputs)) or bool(visit.operations)

        return leave

    def _assume(self, module: nn.Module, inputs: Any, output: Any) -> None:
        """Locate the output of a module without parts and parameters, such as an activation, where its input is."""
        taken = tensors_in(inputs)
        alone = not any(module.children()) and not any(True for _ in module.parameters())
        if alone and isinstance(output, torch.Tensor) and len(taken) == 1 and taken[0].shape == output.shape:
            found = self._known(taken[0])
            if found is not None:
                self.carried[output] = replace(found, lost=self.taken.reason)

    def _locate(self, module: nn.Module, output: Any) -> None:
        """Record that a module returns maps by its contract, and locate their elements if operations were not followed."""
        if not isinstance(output, torch.Tensor) or output.is_nested:
            return
        if _is_map(tuple(parent.__name__ for parent in type(module).__mro__), output.ndim):
            self.maps[output] = True
            found = self._known(output)
            if found is not None and found.lost and not found.axes:
                self.carried[output] = located(output.shape, found.lost)

    def _passed(self, values: Any) -> RunTensors:
        tensors = tuple((tuple(tensor.shape), _compact(self._known_as_map(tensor))) for tensor in tensors_in(values))
        maps = tuple(tensor in self.maps for tensor in tensors_in(values))
        return RunTensors(tensors, maps, alone=isinstance(values, torch.Tensor))

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if any(_dispatches(kind) for kind in types):
            return NotImplemented  # the class of the tensor runs operations on plain ones, which are observed
        if not isinstance(func, OpOverload):
            output = func(*args, **kwargs)
            self._lose(f"receptive fields are not followed through {func}", (args, kwargs), output)
            return output
        name = func._overloadpacket.__name__  # noqa: SLF001
        output = run_operation(func, args, kwargs)
        outputs = tensors_in([output])
        try:
            self._record(Call(name, args, kwargs, output, self._known, func._schema.name), func, outputs)  # noqa: SLF001
        except Exception:  # noqa: BLE001 - the network's operation did its work; what it means stays unknown
            for tensor in outputs:
                self.carried[tensor] = TensorReads(lost=f"{name} could not be followed here")
        for tensor in outputs:
            if tensor not in self.carried and tensor not in self.constants:
                self.constants[tensor] = _memory(tensor)
        if self.nested or _is_nested(output):
            self.nested = True
            self._lose("nested tensors are not followed", (args, kwargs), output, only_nested=True)
        return output

    def _lose(self, reason: str, inputs: Any, output: Any, *, only_nested: bool = False) -> None:
        """Lose what is known of the outputs if an input reads the image; ``only_nested``: if one of them is nested."""
        outputs = [each for each in tree_leaves(output) if isinstance(each, torch.Tensor)]
        every = [each for each in tree_leaves(inputs) if isinstance(each, torch.Tensor)]
        if only_nested and not any(map(_is_nested, (*every, *outputs))):
            return
        if any(self._known(each) is not None for each in every):
            for tensor in outputs:
                self.carried[tensor] = TensorReads(lost=reason)

    def _record(self, call: Call, func: Any, outputs: Sequence[torch.Tensor]) -> None:
        """Count an operation for the module that runs, and find out what is known of its outputs."""
        if self.stack:
            visit = self.stack[-1]
            visit.operations[call.name] += 1
            count = flop_registry.get(func._overloadpacket)  # noqa: SLF001
            if count is not None:
                visit.macs += count(*call.args, **call.kwargs, out_val=call.output) // 2
            elif call.operator.startswith("quantized::"):
                visit.macs += quantised_macs(call)
        self._carry(call, outputs, written_by(func, call.args, call.kwargs))
        if makes_views(func):
            self.sharing.meet(call.args[0], outputs)

    def _known(self, tensor: Any) -> Found:
        if not isinstance(tensor, torch.Tensor):
            return None
        found: Found = self.carried.get(tensor)
        if found is None and not tensor.is_nested and self.constants.get(tensor, 0) != _memory(tensor):
            found = self._known_by_memory(tensor)
            unobserved = (tensor.is_meta or self.in_threads) and _fractions(tensor) and tensor not in self.constants
            reason = self.taken.reason or (_UNOBSERVED if unobserved else "")
            if found is None and reason:
                found = TensorReads(lost=reason)
            if found is not None:
                self.carried[tensor] = found
        return found

    def _known_by_memory(self, tensor: torch.Tensor) -> Found:
        """What is known of a tensor that no operation returned, such as ``x.data``, by the memory that it shares."""
        other = self.sharing.first(tensor)
        found = None if other is None else self.carried.get(other)
        if other is None or found is None:
            return None
        self.sharing.meet(other, [tensor])
        box = _box(tensor, other)
        return TensorReads(lost="it is another view of the memory of a map") if box is None else _cut(found, box)

    def _made(self, tensor: torch.Tensor) -> None:
        if tensor not in self.carried and tensor not in self.constants and self.sharing.first(tensor) is None:
            self.constants[tensor] = _memory(tensor)

    def _reads_image(self, tensor: Any) -> bool:
        return self._known(tensor) is not None

    def _known_as_map(self, tensor: torch.Tensor) -> Found:
        """What is known of a tensor; a map that does not depend on the image is located."""
        found = self._known(tensor)
        constant = found is None and tensor in self.maps
        return located(tensor.shape, "it reads no image") if constant else found

    def _carry(self, call: Call, outputs: Sequence[torch.Tensor], written: Sequence[torch.Tensor]) -> None:
        found = outcome(call)
        if self.taken.reason and (found is None or not isinstance(found, list)) and _takes_numbers(call):
            found = TensorReads(lost=self.taken.reason) if found is None else replace(found, lost=self.taken.reason)
        if outputs and makes_map(call, self.maps.__contains__):
            self.maps[outputs[0]] = True
        values = found if isinstance(found, list) else [found] * len(outputs)
        for tensor, value in zip(outputs, values, strict=False):
            overwritten = any(tensor is target for target in written)
            before = self._known(tensor) if overwritten else None  # outputs such as those of unsafe_split share nothing
            if overwritten and value is not None and value.lost and not value.axes and call.name != "copy_":
                value = _without_reads(before, value.lost)  # noqa: PLW2901 - it was changed where it is
            self._keep(call, tensor, value)
            if overwritten and value is not before:
                self._overwrite(call, tensor)

    def _keep(self, call: Call, tensor: torch.Tensor, value: Found) -> None:
        if value is not None and any(part.planes.ndim != tensor.ndim + 1 for part in value.axes):
            value = TensorReads(lost=value.lost or f"{call.name} gives another rank than expected")
        if value is None:
            self.carried.pop(tensor, None)
            self.constants[tensor] = _memory(tensor)
        else:
            self.constants.pop(tensor, None)
            self.carried[tensor] = value
            self.sharing.add(tensor)

    def _overwrite(self, call: Call, written: torch.Tensor) -> None:
        """Update the other tensors in the storage that was written into."""
        value = self._known(written)
        for other in self.sharing.others(written):
            before = self._known(other)
            try:
                after = after_write(call.name, written, value, other, before)
            except Exception as error:  # noqa: BLE001 - a fault of a rule must not end the network's forward pass
                after = failed(call, error)
            if after is not before:
                self._keep(call, other, after)


def _compact(found: Found) -> Found:
    return found and found.compact()


def _is_nested(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.is_nested


@lru_cache(maxsize=4096)
def _dispatches(kind: type) -> bool:
    """Whether a class of tensors runs its operations itself."""
    default = torch._C._disabled_torch_dispatch_impl  # noqa: SLF001
    return getattr(kind, "__torch_dispatch__", default) is not default


@lru_cache(maxsize=4096)
def _is_map(classes: tuple[str, ...], rank: int) -> bool:
    """Whether an output of this rank is a map (N, C, *axes) by the names of the classes of its module."""
    for name in classes:
        if name in _OF_ANY_MAPS:
            return 3 <= rank <= 5
        if name in _OF_IMAGES or re.search(r"RoI(Align|Pool)$", name):
            return rank == 4
        if named := re.search(r"(?:Conv|Pool|Norm|LRN|Pad|Dropout|Softmax|Upsampling|Unpool)\w*([123])d$", name):
            return rank == int(named[1]) + 2
    return False


_OF_ANY_MAPS = frozenset({"LocalResponseNorm", "Upsample", "ChannelShuffle"})
_OF_IMAGES = frozenset({"PixelShuffle", "PixelUnshuffle", "Fold"})


def blank_batch(network: nn.Module, size: Sequence[int]) -> torch.Tensor | None:
    """A batch of one black image of ``size`` for the network itself; None if its weights are on ``meta``."""
    first = next((each for each in network.parameters() if each.is_floating_point()), None)
    device = torch.device("cpu") if first is None else first.device
    return None if device.type == "meta" else torch.zeros(1, *size, dtype=_number_kind(network), device=device)


def _number_kind(network: nn.Module) -> torch.dtype:
    kinds = (parameter.dtype for parameter in network.parameters() if parameter.is_floating_point())
    return next(kinds, torch.float32)


def _without_values(error: Exception, network: nn.Module) -> BrokenPassError | None:
    """The error for a forward pass that fails on ``meta`` only; None if it failed for another reason."""
    reason = reason_text(error)
    if "with Meta tensors" in reason:
        what = "The network runs an operation that a traced forward pass does not support"
        return BrokenPassError(*failure_texts(what, network, error), "Trace a part of it without this operation.")
    if re.search(r"\bmeta\b|data-dependent|register_meta", reason):
        what = "The forward pass depends on the values of tensors, which a traced one does not have"
        hint = 'Load it with weights, for example `load_model(name, weights="random")`.'
        return NeedsValuesError(*failure_texts(what, network, error), hint)
    return None


@contextlib.contextmanager
def naming_next_size(network: Model | nn.Module, size: Sequence[int]) -> Iterator[None]:
    """If a forward pass breaks and a ``Model`` takes a larger side than that of ``size`` (C, H, W), report that side.

    Raises:
        InputSizeError: it takes one.
    """
    try:
        yield
    except NeedsValuesError:
        raise
    except BrokenPassError as error:
        hint = next_size(network, size)
        if not hint or error.__cause__ is None:
            raise
        module = error.observed.network if isinstance(error.observed, ObservedPass) else root_of(network)
        found = broken_pass(error.__cause__, module, size, hint)
        found.observed = error.observed
        raise found from error.__cause__


_SECONDS = 8.0
"""The processor time for the search of a size; each size takes a forward pass on ``meta``."""
_NEAR = 64
"""The sides tried beyond the model's own: networks that take multiples only take those of at most this number."""


def next_size(network: Model | nn.Module, size: Sequence[int]) -> str:
    """A hint at the smallest side that works and is above the smaller side of ``size`` (C, H, W).

    It is empty if the network takes this size, or if it is not a ``Model``, of which no size is known to work. The sides
    that work need not be adjacent, since many networks take multiples of 32 only: so every side in between is tried. If
    that takes too long, the hint contains only what was tried.
    """
    if not isinstance(network, Model) or len(size) != 3 or size[0] != network.input_size[0]:
        return ""
    takes = _meta_runs(network)
    own, least = network.input_size[1:], min(size[1:])
    if not takes(*own) or takes(*size[1:]):
        return ""
    low, high = least, own[0] if own[0] == own[1] and own[0] > least else None
    while high is not None and high - low > 1:  # as if all sides from some on worked
        middle = (low + high) // 2
        low, high = (low, middle) if takes(middle, middle) else (middle, high)
    end = time.thread_time() + _SECONDS
    for side in range(least + 1, high or least + _NEAR + 1):
        if time.thread_time() > end:
            return f"It takes {own[0]} × {own[1]}" + (f" and {high} × {high}." if high not in (None, own[0]) else ".")
        if takes(side, side):
            high = side
            break
    return f"The smallest side above {least} that it takes is {high}." if high else f"It takes {own[0]} × {own[1]}."


def _meta_runs(network: Model) -> Callable[[int, int], bool]:
    """A function that returns whether the network takes an image of these rows and columns."""
    meta_copy = on_meta(root_of(network))
    dtype = _number_kind(meta_copy)

    def takes(*sides: int) -> bool:
        with torch.inference_mode(mode=False), torch.no_grad(), preserved_random_state(), no_warnings():
            try:
                meta_copy(torch.empty(1, network.input_size[0], *sides, dtype=dtype, device="meta"))
            except Exception:  # noqa: BLE001 - each network has its own
                return False
        return True

    return takes

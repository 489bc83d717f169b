"""Observe one forward pass on torch's ``meta`` device, operation by operation."""

from __future__ import annotations

import contextlib
import re
import sys
import threading
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch._ops import OpOverload
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry
from torch.utils.weak import WeakTensorKeyDictionary

from kernelviz.errors import BrokenPassError, KernelvizError, NeedsValuesError
from kernelviz.network.failures import broken_layer, broken_pass, failure_texts
from kernelviz.network.inputs import FurtherInputs, has_axes_of
from kernelviz.network.snapshot import PreservedModule, check_ready, exclusive, is_scripted, preserved_random_state
from kernelviz.network.tracing import reads as known
from kernelviz.network.tracing.meta import OperationMode, copied_to_meta, like, number_kind
from kernelviz.network.tracing.reads import TensorReads, located
from kernelviz.network.tracing.rules import Call, Found, failed, makes_map, not_followed, outcome, tensors_in
from kernelviz.network.tracing.shared_memory import (
    SharedMemory,
    after_write,
    known_of_view,
    makes_views,
    memory_of,
    without_reads,
    written_by,
)
from kernelviz.network.tracing.window_rules import quantised_macs
from kernelviz.threads import no_warnings
from kernelviz.wording import reason_text, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence


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
                meta_copy, constants = copied_to_meta(module)
                image = torch.empty(1, *size, dtype=number_kind(meta_copy), device="meta")
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


class _Observer(OperationMode):  # type: ignore[no-untyped-call]
    """Propagates what is known of tensors through every operation, and records the operations of each module."""

    def __init__(
        self, network: nn.Module, constants: Sequence[torch.Tensor] = (), *, only_modules: bool = False
    ) -> None:
        super().__init__()
        self.network, self.only_modules = network, only_modules
        self.visits: dict[str, ModuleVisit] = {}
        self.carried: Any = WeakTensorKeyDictionary()
        self.maps: Any = WeakTensorKeyDictionary()
        self.constants: Any = WeakTensorKeyDictionary()
        for module in network.modules():
            for tensor in tensors_in([module._parameters, module._buffers, vars(module)]):  # noqa: SLF001
                self.constants[tensor] = memory_of(tensor)
        for tensor in constants:
            self.constants[tensor] = memory_of(tensor)
        self.taken = _TakenValues(self._reads_image)
        if only_modules:
            self.taken.reason = "the operations of this forward pass cannot be observed"
        self.sharing = SharedMemory()
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
            tensor = like(tensor) if image.is_meta else tensor.detach()
            if tensor.is_meta and not image.is_meta:
                tensor = torch.zeros_like(tensor, device=image.device)
            if tensor.is_floating_point():
                tensor = tensor.to(image.device, image.dtype)
            if axes and tensor.ndim == image.ndim and tensor.shape[2:] == image.shape[2:]:
                self.carried[tensor] = known.image(tensor.shape)
            else:
                self.constants[tensor] = memory_of(tensor)
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

    def run(self, func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Run an operation, and find out what is known of its outputs."""
        output = super().run(func, args, kwargs)
        if not isinstance(func, OpOverload):
            self._lose(not_followed(str(func)), (args, kwargs), output)
            return output
        name = func._overloadpacket.__name__  # noqa: SLF001
        outputs = tensors_in([output])
        try:
            self._record(Call(name, args, kwargs, output, self._known, func._schema.name), func, outputs)  # noqa: SLF001
        except Exception:  # noqa: BLE001 - the network's operation did its work; what it means stays unknown
            for tensor in outputs:
                self.carried[tensor] = TensorReads(lost=f"{name} could not be followed here")
        for tensor in outputs:
            if tensor not in self.carried and tensor not in self.constants:
                self.constants[tensor] = memory_of(tensor)
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
        if found is None and not tensor.is_nested and self.constants.get(tensor, 0) != memory_of(tensor):
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
        return known_of_view(tensor, other, found)

    def _made(self, tensor: torch.Tensor) -> None:
        if tensor not in self.carried and tensor not in self.constants and self.sharing.first(tensor) is None:
            self.constants[tensor] = memory_of(tensor)

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
                value = without_reads(before, value.lost)  # noqa: PLW2901 - it was changed where it is
            self._keep(call, tensor, value)
            if overwritten and value is not before:
                self._overwrite(call, tensor)

    def _keep(self, call: Call, tensor: torch.Tensor, value: Found) -> None:
        if value is not None and any(part.planes.ndim != tensor.ndim + 1 for part in value.axes):
            value = TensorReads(lost=value.lost or f"{call.name} gives another rank than expected")
        if value is None:
            self.carried.pop(tensor, None)
            self.constants[tensor] = memory_of(tensor)
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
    return None if device.type == "meta" else torch.zeros(1, *size, dtype=number_kind(network), device=device)


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

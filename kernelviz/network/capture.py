"""Run forward passes and capture feature maps and class scores."""

from __future__ import annotations

import contextlib
from collections import Counter, OrderedDict
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from kernelviz.errors import BrokenPassError, KernelvizError, UsageError
from kernelviz.network.classes import first_classes
from kernelviz.network.convolutions import CONVOLUTIONS
from kernelviz.network.failures import broken_pass
from kernelviz.network.inputs import FurtherInputs, Input, as_input, check_batched
from kernelviz.network.model import Model, missing_weights, root_of, source_of, without_weights
from kernelviz.network.selection import few
from kernelviz.network.snapshot import PreservedModule, check_ready
from kernelviz.network.taps import choose_taps, layout_of
from kernelviz.network.tracing.next_size import naming_next_size, next_size
from kernelviz.network.tracing.reads import located
from kernelviz.network.tracing.rules import tensors_in
from kernelviz.network.tracing.trace import as_trace
from kernelviz.network.tracing.watch import ObservedPass, observe_pass
from kernelviz.records import ClassScore, FeatureMaps, Image, as_array, shape_text
from kernelviz.wording import reason_text, sentence, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from kernelviz.network.taps import Side, Tap, Taps
    from kernelviz.traces import Trace

    OnBatchMap = Callable[[int, FeatureMaps], object]
    OnMap = Callable[[FeatureMaps], object]


@dataclass(frozen=True)
class CapturePlan:
    """A network with the tensors to capture from it, for images of one size; ``make_taps`` returns it.

    ``left_out`` contains the layers that a pattern matches and that have no map for the last images, with the reason.
    ``broken`` is the error of a forward pass that breaks: layers before that can be captured. ``complete``: these are all
    chosen layers.
    """

    network: Model | nn.Module
    input_size: tuple[int, ...]
    taps: Taps
    side: Side
    observed: ObservedPass
    trace: Trace
    preserved: PreservedModule
    broken: BrokenPassError | None = None
    complete: bool = True
    left_out: dict[str, str] = field(default_factory=dict)

    @property
    def module(self) -> nn.Module:
        """The torch module itself."""
        return self.preserved.module

    def check_complete(self) -> None:
        """Raise the error of a forward pass that breaks before all chosen layers have run.

        Raises:
            BrokenPassError: it does.
        """
        if self.broken is not None and not self.complete:
            raise self.broken

    def only(self, names: Collection[str]) -> CapturePlan:
        """The plan for only those of its tensors that have one of these names."""
        taps = tuple(tap for tap in self.taps.taps if tap.name in names)
        return replace(self, taps=replace(self.taps, taps=taps))


class StopPassError(BaseException):
    """Ends a forward pass after the last requested layer; no module's own ``except Exception`` catches it."""


class CaptureHooks:
    """Hooks that report each captured tensor during the forward pass, as the maps of each image of the batch."""

    def __init__(self, plan: CapturePlan, given: Sequence[Input], on_map: OnBatchMap, *, to_the_end: bool) -> None:
        self.plan, self.given, self.on_map = plan, given, on_map
        self.to_the_end = to_the_end
        self.wanted: dict[str, dict[int, list[Tap]]] = {}
        for tap in plan.taps.taps:
            self.wanted.setdefault(tap.module, {}).setdefault(tap.run, []).append(tap)
        self.left = len(plan.taps.taps)
        self.runs: Counter[str] = Counter()
        self.left_out: dict[str, str] = {}
        self.source = replace(source_of(plan.network), device=_device(plan.module))
        self.failed_outside = False

    @contextlib.contextmanager
    def hooks(self, module: nn.Module) -> Iterator[None]:
        """Hooks on every captured module, after the caller's own, while the context lasts."""
        with contextlib.ExitStack() as stack:
            for name in self.wanted:
                part = _inside(module, name)
                if self.plan.side == "input":
                    handle = part.register_forward_pre_hook(self._taken(name), with_kwargs=True)
                else:
                    handle = part.register_forward_hook(self._given(name))
                stack.enter_context(handle)
            yield

    def check_all_ran(self) -> None:
        """Reject a forward pass that took another path than the observed one, if it misses a named layer or all.

        Raises:
            KernelvizError: a named run did not happen, or there is no map at all.
        """
        missing = self._not_run
        why = "The forward pass took another path than the traced one."
        every = len(missing) + len(self.left_out) == len(self.plan.taps.taps)
        if missing and (every or any(tap.named for tap in missing)):
            first = next((tap for tap in missing if tap.named), missing[0])
            raise KernelvizError(f"The layer {shown(first.name)} did not run.", why)
        if self.left_out and every:
            name, reason = next(iter(self.left_out.items()))
            raise _no_map(name, reason)
        self.left_out |= {tap.name: "it did not run for this image" for tap in missing}
        self.plan.left_out.clear()
        self.plan.left_out.update(self.left_out)

    @property
    def missing(self) -> list[str]:
        """The tensors that were not captured so far."""
        return [tap.name for tap in self._not_run]

    @property
    def _not_run(self) -> list[Tap]:
        return [tap for tap in self.plan.taps.taps if self.runs[tap.module] <= tap.run]

    def _given(self, name: str) -> Any:
        def given(_module: nn.Module, _inputs: Any, output: Any) -> None:
            self._catch(name, output)

        return given

    def _taken(self, name: str) -> Any:
        def taken(_module: nn.Module, inputs: Any, named: Any) -> None:
            self._catch(name, (*inputs, *named.values()))

        return taken

    def _catch(self, name: str, values: Any) -> None:
        run = self.runs[name]
        self.runs[name] += 1
        tensors = tensors_in(values)
        for planned in self.wanted[name].get(run, ()):
            tap = self._of_this_shape(planned, tensors)
            if not tap.named and self._is_empty(tap, tensors):
                self.left_out[tap.name] = _no_values(self.plan.side, tensors[tap.part].shape)
                self.left -= 1
                continue
            for number, tensor in enumerate(self._parts(tap, tensors)):
                rows = len(tensors[tap.part]) if len(self.given) == 1 and tap.layout.has_rows else 1
                maps = self._maps(tap, tensor, self.given[number], rows)
                self.failed_outside = True
                self.on_map(number, maps)
                self.failed_outside = False
            self.left -= 1
        if not self.left and not self.to_the_end:
            raise StopPassError

    def _is_empty(self, tap: Tap, tensors: Sequence[Tensor]) -> bool:
        """Whether the tensor has no values, as one row per box without boxes."""
        return len(self.given) == 1 and tap.part < len(tensors) and 0 in tensors[tap.part].shape

    def _of_this_shape(self, tap: Tap, tensors: Sequence[Tensor]) -> Tap:
        """The tap for a map of another size than the traced one, as after a hook that resizes: it is (N, C, *axes)."""
        shape = tuple(tensors[tap.part].shape) if tap.part < len(tensors) else ()
        one, known = tap.layout.shape, tap.known
        in_order = tap.layout.positions is None and tap.layout.order == tuple(range(len(one)))
        same_kind = len(self.given) == 1 and len(shape) == len(one) and shape[0] == one[0] == 1 and 0 not in shape
        if shape == one or not (in_order and same_kind) or known is None or len(known.axes) != len(shape) - 2:
            return tap
        why = f"the traced forward pass had {shape_text(one)} here, this one {shape_text(shape)}"
        found = located(shape, known.lost or why)
        return replace(tap, layout=layout_of(found, shape), known=found)

    def _parts(self, tap: Tap, tensors: Sequence[Tensor]) -> list[Tensor]:
        """The tensor of each image: the images are consecutive along one dimension, with their windows and heads.

        Raises:
            KernelvizError: the shape does not fit the number of images.
        """
        shapes = [tuple(tensor.shape) for tensor in tensors]
        one, many = tap.layout.shape, len(self.given)
        shape = shapes[tap.part] if tap.part < len(shapes) else ()
        if many == 1 and shape == one:
            return [tensors[tap.part].detach()]
        if self._is_empty(tap, tensors):
            raise _no_map(tap.name, _no_values(self.plan.side, shape))
        if many == 1 and tap.layout.has_rows and shape[1:] == one[1:]:
            return [tensors[tap.part].detach()[:1]]
        differing = [dim for dim in range(len(one)) if shape[dim] != one[dim]] if len(shape) == len(one) else []
        if many == 1 or len(differing) != 1 or shape[differing[0]] != many * one[differing[0]]:
            of = "" if many == 1 else f" of each of {many} images"
            why = f"The traced forward pass had {shape_text(one)}{of}, this one {shapes}."
            hint = "" if many == 1 else "Process one image at a time: --batch-size 1."
            raise KernelvizError(f"The output of the layer {shown(tap.name)} has an unexpected shape.", why, hint)
        dim, size = differing[0], one[differing[0]]
        return [tensors[tap.part].detach().narrow(dim, number * size, size) for number in range(many)]

    def _maps(self, tap: Tap, tensor: Tensor, given: Input, rows: int) -> FeatureMaps:
        many = len(self.plan.observed.visits[tap.module].given)
        quantised = str(tensor.dtype).removeprefix("torch.") if tensor.is_quantized else ""
        try:
            values = as_array(tap.layout.maps(tensor.dequantize() if quantised else tensor))
        except torch.OutOfMemoryError:
            raise
        except (UsageError, RuntimeError) as error:  # complex, sparse, quantised
            what = f"The {self.plan.side} of the layer {shown(tap.name)} is not an array of real numbers."
            raise KernelvizError(what, reason_text(error)) from error
        return FeatureMaps(
            values=values,
            layer=tap.name,
            kind=tap.kind,
            shape=tuple(tap.layout.shape[1:]),
            tap=self.plan.side,
            source=self.source,
            image=given.image,
            seen=given.seen,
            input_size=given.size,
            centres=tap.centres,
            field=tap.field,
            lost=tap.lost,
            notes=(
                *([f"run {tap.run + 1} of {many}"] if many > 1 else []),
                *([f"1 of {rows:,} along its first axis: the first is drawn"] if rows > 1 else []),
                *([f"dequantised: the layer returns {quantised}"] if quantised else []),
                *tap.notes,
            ),
        )


def _no_values(side: Side, shape: Sequence[int]) -> str:
    return f"its {side} {shape_text(tuple(shape))} has no values for this image"


def _no_map(name: str, reason: str) -> KernelvizError:
    return KernelvizError(f"The layer {shown(name)} has no map for this image.", f"{sentence(reason)}.")


def _inside(module: nn.Module, name: str) -> nn.Module:
    """The module of this name in ``named_modules``; attribute access could return a class attribute instead."""
    for part in filter(None, name.split(".")):
        found = module._modules[part]  # noqa: SLF001
        if found is None:
            raise KeyError(name)
        module = found
    return module


def module_of(network: Model | nn.Module) -> nn.Module:
    """The torch module. A single layer is put into a container, in which it is named by its class."""
    module = root_of(network)
    if isinstance(module, CONVOLUTIONS) or not any(module.children()):
        return nn.Sequential(OrderedDict({type(module).__name__: module}))
    return module


def _device(module: nn.Module) -> str:
    return str(next((tensor.device for tensor in module.parameters()), torch.device("cpu")))


def classify(
    model: Model | nn.Module,
    image: Image | Tensor,
    *,
    input_size: int | Sequence[int] | None = None,
    crop: bool | None = None,
) -> tuple[ClassScore, ...]:
    """The five likeliest classes of an image by softmax, the likeliest first.

    Empty with random weights and for networks without a classifier. Labels are None if the class names are not known.
    ``image`` is an ``Image`` or a tensor (C, H, W) or (1, C, H, W); ``input_size`` and ``crop`` are those of
    ``capture_features``. The state of the network is restored afterwards.

    Raises:
        UsageError: ``model`` is not a ``Model``, or ``image`` is not an image that the network takes.
        KernelvizError: the forward pass failed.

    Example:
        >>> model = kernelviz.load_model("tf_efficientnet_lite0", weights="bundled")
        >>> scores = kernelviz.classify(model, kernelviz.read_image("sample:grace_hopper"))
        >>> scores[0].label, len(scores)
        ('academic gown', 5)
    """
    if not isinstance(model, Model):
        what = f"Only a Model has known classes, but got {type(model).__name__}."
        raise UsageError(what, hint="kernelviz.load_model(name) returns one.")
    return first_classes(model, run_through(model, as_input(model, image, input_size=input_size, crop=crop)))


def capture_features(
    network: Model | nn.Module,
    image: Image | Tensor | Sequence[Any] | Mapping[str, Any],
    layers: str | Sequence[str] | None = None,
    *,
    on_map: OnMap | None = None,
    kind: str = "all",
    tap: Literal["output", "input"] = "output",
    input_size: int | Sequence[int] | None = None,
    crop: bool | None = None,
) -> tuple[FeatureMaps, ...]:
    """The outputs of the chosen layers for one image, copied during the forward pass before anything overwrites them.

    Args:
        network: A ``Model``, or any module that takes one batch of images.
        image: An ``Image`` from ``read_image``, which is preprocessed for the model, or a tensor (C, H, W) or
            (1, C, H, W); for networks whose convolutions have one or three axes (C, L) or (C, D, H, W). For a network that
            takes several inputs a tuple of them, as ``network(*inputs)`` takes it, or a dict by name,
            ``{"x": tensor, "t": 0.5}``; the first tensor with the axes of an image is the image. They may be numbers, None,
            texts, and lists, tuples and dicts of these. A list is a single argument if ``forward`` requires only one, as
            that of torchvision's detectors, ``([a, b],)`` in any case; its tensors are passed as they are.
        layers: Names (``layer1.0.act1``, ``name#2`` for a second run, ``name:0`` for a part of a tuple), shell patterns,
            or ``stage:0``; by default the first convolution and the stages. A module that contains others stands for
            its own output.
        on_map: Called with each ``FeatureMaps`` during the forward pass, which ends after the last requested layer. The
            maps are then not kept, and the result is ().
        kind: Only layers of this kind (conv, norm, act, pool, linear, or all), including those inside the named modules;
            without ``layers``, all such layers of the network.
        tap: ``"input"`` captures the inputs of the layers.
        input_size: Side, or (H, W), of the input; by default the model's own.
        crop: Whether the image is cropped as the model's preprocessing specifies; None for its own rule.

    Returns:
        The maps, (C, H, W) each, in the order of the forward pass.

    Hooks, modes, buffers, grad mode and the random state are restored afterwards.

    Raises:
        UnknownLayerError: there is no such layer.
        UsageError: a named layer has no map, or ``image`` is not an image that the network takes.
        BrokenPassError: the forward pass failed in a layer, before all chosen layers had run; its ``maps`` are those of the
            layers before, ``missing`` names the others.
        KernelvizError: a named layer did not run, or it has no weights.

    Example:
        >>> network = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(), torch.nn.MaxPool2d(2))
        >>> for maps in kernelviz.capture_features(network, torch.rand(3, 16, 16), ["1", "2"]):
        ...     print(maps.layer, maps.values.shape)
        1 (8, 14, 14)
        2 (8, 7, 7)
    """
    given = as_input(network, image, input_size=input_size, crop=crop)
    kept: list[FeatureMaps] = []
    plan = make_taps(network, given.size, layers, kind=kind, tap=tap, batch=given.batch, further=given.further)
    try:
        run(plan, given, on_map or kept.append, to_the_end=False)
        plan.check_complete()
    except BrokenPassError as error:
        error.maps = tuple(kept)
        raise
    return tuple(kept)


def make_taps(
    network: Model | nn.Module,
    input_size: tuple[int, ...],
    layers: str | Sequence[str] | None = None,
    *,
    kind: str = "all",
    tap: Side = "output",
    batch: Tensor | None = None,
    further: FurtherInputs | None = None,
) -> CapturePlan:
    """Observe one forward pass of an image of ``input_size`` (C, H, W), and find the tensors that the patterns name.

    A network that cannot be observed on ``meta`` is observed with ``batch``, if given; ``further`` are its other inputs. If
    the forward pass breaks, the plan is for the chosen layers before that.

    Raises:
        BrokenPassError: the forward pass breaks before any of the chosen layers.
        KernelvizError: as ``capture_features``.
    """
    module, broken = module_of(network), None
    given = Input(blank(input_size), further=further or FurtherInputs())
    try:
        with naming_next_size(network, input_size):
            observed = observe_pass(module, input_size, None if batch is None else fitting(batch, module), further)
    except BrokenPassError as error:
        if not isinstance(error.observed, ObservedPass):
            raise
        observed, broken = error.observed, error
    check_batched(module, observed.visits, input_size)
    trace = as_trace(network, observed, given.size, fields=False)
    taps = choose_taps(observed, trace, layers, kind=kind, side=tap, broken=broken is not None)
    if broken is not None:
        _add_missing(broken, taps.missing, [tap.name for tap in taps.taps])
        if not taps.taps:
            raise broken
    complete = broken is None or (bool(layers) and not taps.missing)
    plan = CapturePlan(network, given.size, taps, tap, observed, trace, PreservedModule(module), broken, complete)
    return _with_weights(plan, given, {layers} if isinstance(layers, str) else set(layers or ()))


def _add_missing(error: BrokenPassError, names: Sequence[str], captured: Sequence[str]) -> None:
    """State which of the chosen layers did not run, if others were captured."""
    error.missing = tuple(dict.fromkeys(names))
    if error.missing and captured:
        error.why = f"{error.why.rstrip('.')}. Not captured: {few(error.missing)}."


def _with_weights(plan: CapturePlan, given: Input, named: Collection[str] = ()) -> CapturePlan:
    """The plan without the layers that depend on weights which the file lacks: their maps are NaN.

    Maps are those of a black image of the size of ``given``, with its further inputs.

    Raises:
        BadWeightsError: one of these is ``named``, or none other is left.
    """
    if not missing_weights(plan.network):
        return plan
    broken: list[str] = []

    def look(_: int, maps: FeatureMaps) -> None:
        if np.isnan(maps.values).any():
            broken.append(str(maps.layer))

    black = replace(given, batch=blank(given.size))
    capture = CaptureHooks(plan, [black], look, to_the_end=False)
    run_through(plan.preserved, black, capture.hooks(plan.module))
    taps = tuple(tap for tap in plan.taps.taps if tap.name not in broken)
    for name in broken:
        if name in named or not taps:
            raise without_weights(plan.network, name)
    without = {**plan.taps.without, **dict.fromkeys(broken, "it has no weights, or follows layers without")}
    return replace(plan, taps=replace(plan.taps, taps=taps, without=without))


def blank(size: Sequence[int]) -> Tensor:
    """A batch of one black image of size (C, H, W), for networks that cannot be observed on ``meta``."""
    return torch.zeros(1, *size)


def tap_also(plan: CapturePlan) -> tuple[CapturePlan, frozenset[str]]:
    """The plan extended by the first convolution and the stages, and the names of these."""
    more = choose_taps(plan.observed, plan.trace, None, side=plan.side)
    every = {tap.name: tap for tap in (*plan.taps.taps, *more.taps)}
    plan = replace(plan, taps=replace(plan.taps, taps=tuple(every.values())))
    plan = _with_weights(plan, Input(blank(plan.input_size)))
    return plan, frozenset(tap.name for tap in more.taps) & {tap.name for tap in plan.taps.taps}


def run(plan: CapturePlan, given: Input, on_map: OnMap, *, to_the_end: bool = True) -> tuple[ClassScore, ...]:
    """Run one image through the network and call ``on_map`` with each map during the forward pass.

    Returns the first five classes if the forward pass runs ``to_the_end`` and the network has classes.

    Raises:
        KernelvizError: the forward pass failed, or a requested layer did not run.
    """
    return run_batch(plan, [given], lambda _, maps: on_map(maps), to_the_end=to_the_end)[0]


def run_batch(
    plan: CapturePlan, given: Sequence[Input], on_map: OnBatchMap, *, to_the_end: bool = True
) -> tuple[tuple[ClassScore, ...], ...]:
    """Run images of one size as one batch and call ``on_map`` with each map and its image's index in the batch.

    Returns the first five classes of each image, as ``run`` does. All maps of a layer come before those of the next.

    Raises:
        KernelvizError: the forward pass failed, a requested layer did not run, or its output has no part for each image.
    """
    capture = CaptureHooks(plan, given, on_map, to_the_end=to_the_end)
    whole = given[0] if len(given) == 1 else Input(torch.cat([each.batch for each in given]))
    try:
        output = run_through(plan.preserved, whole, capture.hooks(plan.module), ours=lambda: capture.failed_outside)
    except BrokenPassError as error:
        captured = [tap.name for tap in plan.taps.taps if tap.name not in capture.missing]
        _add_missing(error, [*capture.missing, *plan.taps.missing], captured)
        raise
    capture.check_all_ran()
    if not isinstance(plan.network, Model):
        return tuple(() for _ in given)
    return tuple(first_classes(plan.network, output, number) for number in range(len(given)))


def run_each(
    plan: CapturePlan, given: Sequence[Input], on_map: OnBatchMap, *, to_the_end: bool = True
) -> list[tuple[ClassScore, ...] | KernelvizError]:
    """As ``run_batch``; if the forward pass fails, the images run one by one, and each result may be an error.

    If ``on_map`` fails, only that image fails: its further maps are dropped, and the others continue. No map is reported
    twice. If the forward pass breaks before all chosen layers, each image fails after the maps before that.
    """
    handed: set[tuple[int, str | None]] = set()
    failed: dict[int, KernelvizError] = {}

    def once(number: int, maps: FeatureMaps) -> None:
        if number in failed or (number, maps.layer) in handed:
            return
        handed.add((number, maps.layer))
        try:
            on_map(number, maps)
        except KernelvizError as error:
            failed[number] = error
            if len(failed) == len(given):
                raise  # no image is left to continue for

    def alone(number: int) -> tuple[ClassScore, ...] | KernelvizError:
        try:
            return run(plan, given[number], partial(once, number), to_the_end=to_the_end)
        except KernelvizError as error:
            return error

    try:
        found: list[Any] = list(run_batch(plan, given, once, to_the_end=to_the_end))
    except KernelvizError as error:
        single = len(given) == 1
        found = [error if single else failed.get(number) or alone(number) for number in range(len(given))]
    broken = None if plan.complete else plan.broken
    return [
        failed.get(number, result if broken is None or isinstance(result, KernelvizError) else broken)
        for number, result in enumerate(found)
    ]


def run_through(
    network: Model | nn.Module | PreservedModule,
    given: Input,
    hooks: AbstractContextManager[object] | None = None,
    *,
    ours: Callable[[], bool] = lambda: False,
) -> Any:
    """The output of the network for an input; None if one of the ``hooks`` raised ``StopPassError``.

    The state of the network is restored afterwards. ``ours`` returns whether an error came from outside the network; such
    an error is raised unchanged.

    Raises:
        KernelvizError: the forward pass failed.
    """
    preserved = network if isinstance(network, PreservedModule) else PreservedModule(module_of(network))
    module = preserved.module
    if preserved is not network:  # a preserved module was checked when it was observed
        check_ready(module)
    with preserved.undisturbed(), hooks or nullcontext():
        try:
            batch = fitting(given.batch, module)
            return given.further.call(module, batch, partial(fitting, module=module, is_image=False))
        except StopPassError:
            return None
        except (KernelvizError, KeyboardInterrupt):
            raise
        except Exception as error:
            if ours():
                raise
            hint = "" if isinstance(network, PreservedModule) else next_size(network, given.size)
            raise broken_pass(error, module, given.size, hint) from error


def fitting(batch: Tensor, module: nn.Module, *, is_image: bool = True) -> Tensor:
    """A copy of an input with the device and dtype of the network; the first module may overwrite it.

    Whole numbers keep their type unless it ``is_image``.

    Raises:
        UsageError: the network is on ``meta``.
    """
    like = next((tensor for tensor in module.parameters() if tensor.is_floating_point()), None)
    if like is None:
        return batch.detach().clone()
    if like.is_meta:
        what = "The network was built without weights."
        raise UsageError(what, hint='Load it with weights, for example `load_model(name, weights="random")`.')
    dtype = like.dtype if batch.is_floating_point() or is_image else batch.dtype
    return batch.detach().to(device=like.device, dtype=dtype, copy=True)

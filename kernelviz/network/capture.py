"""One forward pass of an image, or of a batch, and the maps and class scores that come out of it."""

from __future__ import annotations

import contextlib
from collections import Counter, OrderedDict
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from kernelviz.errors import KernelvizError, UsageError
from kernelviz.network.classes import first_classes
from kernelviz.network.convolutions import CONVOLUTIONS
from kernelviz.network.kernels import source_of
from kernelviz.network.model import Model
from kernelviz.network.preprocessing import prepare
from kernelviz.network.snapshot import PreservedModule, check_ready
from kernelviz.network.taps import choose_taps
from kernelviz.network.tracing.rules import tensors_in
from kernelviz.network.tracing.trace import as_trace
from kernelviz.network.tracing.watch import observe_pass
from kernelviz.records import ClassScore, FeatureMaps, Image, SeenImage, as_array, shape_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from kernelviz.network.taps import Side, Tap, Taps
    from kernelviz.network.tracing.watch import ObservedPass
    from kernelviz.traces import Trace

    OnBatchMap = Callable[[int, FeatureMaps], object]
    OnMap = Callable[[FeatureMaps], object]


@dataclass(frozen=True)
class CapturePlan:
    """A network that knows what is to be caught in it, for images of one size; what ``make_taps`` gives."""

    network: Model | nn.Module
    input_size: tuple[int, ...]
    taps: Taps
    side: Side
    observed: ObservedPass
    trace: Trace
    preserved: PreservedModule

    @property
    def module(self) -> nn.Module:
        """The torch module itself."""
        return self.preserved.module


@dataclass(frozen=True)
class Input:
    """A batch (1, C, H, W) of one image, with the image and what the network saw of it, where there is one."""

    batch: Tensor
    image: Image | None = None
    seen: SeenImage | None = None

    @property
    def size(self) -> tuple[int, ...]:
        """(C, H, W)."""
        return tuple(self.batch.shape[1:])


class StopPassError(BaseException):
    """Ends a pass behind the last layer asked for; no module's own ``except Exception`` catches it."""


class CaptureHooks:
    """Hooks that hand each tapped tensor on, as the maps of each image of the batch, while the pass goes by."""

    def __init__(self, plan: CapturePlan, given: Sequence[Input], on_map: OnBatchMap, *, to_the_end: bool) -> None:
        self.plan, self.given, self.on_map = plan, given, on_map
        self.to_the_end = to_the_end
        self.wanted: dict[str, dict[int, list[Tap]]] = {}
        for tap in plan.taps.taps:
            self.wanted.setdefault(tap.module, {}).setdefault(tap.run, []).append(tap)
        self.left = len(plan.taps.taps)
        self.runs: Counter[str] = Counter()
        self.source = replace(source_of(plan.network), device=_device(plan.module))
        self.failed_outside = False

    @contextlib.contextmanager
    def hooks(self, module: nn.Module) -> Iterator[None]:
        """Hooks on every tapped module, behind the caller's own, for as long as the context lasts."""
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
        """Refuse a pass that went another way than the observed one.

        Raises:
            KernelvizError: a tapped run did not happen.
        """
        missing = [tap.name for tap in self.plan.taps.taps if self.runs[tap.module] <= tap.run]
        if missing:
            why = "The forward pass took another path than the traced one."
            raise KernelvizError(f"The layer {missing[0]} did not run.", why)

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
        for tap in self.wanted[name].get(run, ()):
            for number, tensor in enumerate(self._parts(tap, tensors)):
                maps = self._maps(tap, tensor, self.given[number])
                self.failed_outside = True
                self.on_map(number, maps)
                self.failed_outside = False
            self.left -= 1
        if not self.left and not self.to_the_end:
            raise StopPassError

    def _parts(self, tap: Tap, tensors: Sequence[Tensor]) -> list[Tensor]:
        """The tensor of each image: along one dimension they follow one another, windows and heads of one together.

        Raises:
            KernelvizError: the shape is not that of so many images.
        """
        shapes = [tuple(tensor.shape) for tensor in tensors]
        one, many = tap.layout.shape, len(self.given)
        shape = shapes[tap.part] if tap.part < len(shapes) else ()
        if many == 1 and shape == one:
            return [tensors[tap.part].detach()]
        differing = [dim for dim in range(len(one)) if shape[dim] != one[dim]] if len(shape) == len(one) else []
        if many == 1 or len(differing) != 1 or shape[differing[0]] != many * one[differing[0]]:
            of = "" if many == 1 else f" of each of {many} images"
            why = f"The traced forward pass had {shape_text(one)}{of}, this one {shapes}."
            hint = "" if many == 1 else "Process one image at a time: --batch-size 1."
            raise KernelvizError(f"The output of the layer {tap.name} has an unexpected shape.", why, hint)
        dim, size = differing[0], one[differing[0]]
        return [tensors[tap.part].detach().narrow(dim, number * size, size) for number in range(many)]

    def _maps(self, tap: Tap, tensor: Tensor, given: Input) -> FeatureMaps:
        many = len(self.plan.observed.visits[tap.module].given)
        return FeatureMaps(
            values=as_array(tap.layout.maps(tensor)),
            layer=tap.name,
            kind=tap.kind,
            shape=tuple(tap.layout.shape[1:]),
            tap=self.plan.side,
            source=self.source,
            image=given.image,
            seen=given.seen,
            input_size=given.size,
            centres=tap.centres,
            notes=(f"run {tap.run + 1} of {many}",) if many > 1 else (),
        )


def _inside(module: nn.Module, name: str) -> nn.Module:
    """The module of this name, as ``named_modules`` tells it: an attribute of a class may hide one."""
    for part in name.split("."):
        found = module._modules[part]  # noqa: SLF001
        if found is None:
            raise KeyError(name)
        module = found
    return module


def module_of(network: Model | nn.Module) -> nn.Module:
    """The torch module itself; where it was compiled, the one that was. One layer alone is called by its class."""
    module = network.module if isinstance(network, Model) else network
    original = getattr(module, "_orig_mod", module)
    module = original if isinstance(original, nn.Module) else module
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
    """The five likeliest classes of an image, the likeliest first, by softmax; () where the classes mean nothing.

    That is with random weights, and for networks without a classifier. Labels are None where the names of the classes
    are not known. ``image`` is what ``read_image`` gives, or a ready tensor (C, H, W) or (1, C, H, W); ``input_size`` and
    ``crop`` are those of ``capture_features``. The network is afterwards as it was.

    Raises:
        UsageError: no ``Model``, no image, or one that the network cannot take.
        KernelvizError: the pass failed.
    """
    if not isinstance(model, Model):
        what = f"Only a Model has known classes, but got {type(model).__name__}."
        raise UsageError(what, hint="kernelviz.load_model(name) returns one.")
    return first_classes(model, run_through(model, as_input(model, image, input_size=input_size, crop=crop)))


def capture_features(
    network: Model | nn.Module,
    image: Image | Tensor,
    layers: str | Sequence[str] | None = None,
    *,
    on_map: OnMap | None = None,
    kind: str = "all",
    tap: Literal["output", "input"] = "output",
    input_size: int | Sequence[int] | None = None,
    crop: bool | None = None,
) -> tuple[FeatureMaps, ...]:
    """What the chosen layers really gave for one image, at that point of the pass, before anything overwrote it.

    Args:
        network: A ``Model``, or any module that takes one batch of images.
        image: What ``read_image`` gives (the model's own preprocessing follows), or a ready tensor (C, H, W) or
            (1, C, H, W).
        layers: Names (``layer1.0.act1``, ``name#2`` for a second run, ``name:0`` for a part of a tuple), shell patterns,
            or ``stage:0``; without them the first convolution and the stages.
        on_map: Called with each ``FeatureMaps`` inside the pass; nothing is kept then, and () comes back. The pass ends
            behind the last layer asked for.
        kind: Only layers of this kind: conv, norm, act, pool, linear, or all; those inside the modules that were named
            too, and without ``layers`` all of the network.
        tap: ``"input"`` catches what goes into the layers.
        input_size: Side, or (H, W), of the input where it is not the model's own.
        crop: Whether the image is cropped as the model's preprocessing says; None for its own rule.

    Returns:
        The maps, (C, H, W) each, in the order of the pass.

    The network is afterwards as it was: hooks, modes, buffers, grad mode, and the random state.

    Raises:
        UnknownLayerError: no such layer.
        UsageError: a layer that was named has no map; or no image, or one that the network cannot take.
        KernelvizError: the pass failed, or a layer that was named did not run.
    """
    given = as_input(network, image, input_size=input_size, crop=crop)
    plan = make_taps(network, given.size, layers, kind=kind, tap=tap, batch=given.batch)
    kept: list[FeatureMaps] = []
    run(plan, given, on_map or kept.append, to_the_end=False)
    return tuple(kept)


def as_input(
    network: Model | nn.Module,
    image: object,
    *,
    input_size: int | Sequence[int] | None = None,
    crop: bool | None = None,
) -> Input:
    """What a network takes for an image.

    Raises:
        UsageError: neither image nor tensor, another rank, or an image for a network without known preprocessing.
    """
    if isinstance(image, Image):
        if not isinstance(network, Model):
            hint = "Give a tensor (C, H, W), or the Model that load_model returns."
            raise UsageError("The preprocessing of this network is not known.", hint=hint)
        batch, seen = prepare(network, image, input_size=input_size, crop=crop)
        return Input(batch, image, seen)
    if not isinstance(image, Tensor):
        hint = "kernelviz.read_image(path) reads one."
        raise UsageError(f"The image must be an Image or a tensor, but got {type(image).__name__}.", hint=hint)
    batch = image if image.ndim == 4 else image[None]
    if batch.ndim not in (3, 4) or batch.shape[0] != 1 or 0 in batch.shape:
        raise UsageError(f"The tensor must be (C, H, W) or (1, C, H, W), but got {shape_text(image.shape)}.")
    return Input(batch)


def make_taps(
    network: Model | nn.Module,
    input_size: tuple[int, ...],
    layers: str | Sequence[str] | None = None,
    *,
    kind: str = "all",
    tap: Side = "output",
    batch: Tensor | None = None,
) -> CapturePlan:
    """Watch one pass of an image of ``input_size`` (C, H, W), and find what the patterns mean in it.

    A network that cannot be observed without numbers is observed with those of ``batch``, where it is given.

    Raises:
        KernelvizError: as ``capture_features``.
    """
    module = module_of(network)
    observed = observe_pass(module, input_size, None if batch is None else _fitting(batch, module))
    trace = as_trace(network, observed, input_size, fields=False)
    taps = choose_taps(observed, trace, layers, kind=kind, side=tap)
    return CapturePlan(network, input_size, taps, tap, observed, trace, PreservedModule(module))


def blank(size: Sequence[int]) -> Tensor:
    """A batch of one image without content, (C, H, W): for networks that cannot be observed without numbers."""
    return torch.zeros(1, *size)


def tap_also(plan: CapturePlan) -> tuple[CapturePlan, frozenset[str]]:
    """The same with the first convolution and the stages, and the names of these."""
    more = choose_taps(plan.observed, plan.trace, None, side=plan.side)
    every = {tap.name: tap for tap in (*plan.taps.taps, *more.taps)}
    return replace(plan, taps=replace(plan.taps, taps=tuple(every.values()))), frozenset(tap.name for tap in more.taps)


def run(plan: CapturePlan, given: Input, on_map: OnMap, *, to_the_end: bool = True) -> tuple[ClassScore, ...]:
    """Pass one image through the network; each map goes to ``on_map`` inside the pass.

    The first five classes come back where the pass goes ``to_the_end`` and the network has classes.

    Raises:
        KernelvizError: the pass failed, or a tapped layer did not run.
    """
    return run_batch(plan, [given], lambda _, maps: on_map(maps), to_the_end=to_the_end)[0]


def run_batch(
    plan: CapturePlan, given: Sequence[Input], on_map: OnBatchMap, *, to_the_end: bool = True
) -> tuple[tuple[ClassScore, ...], ...]:
    """Pass images of one size through the network at once; each map goes to ``on_map`` with its image's place in the batch.

    The first five classes of each come back, as from ``run``. All maps of a layer come before those of the next.

    Raises:
        KernelvizError: the pass failed, a tapped layer did not run, or its output is not one part for each image.
    """
    capture = CaptureHooks(plan, given, on_map, to_the_end=to_the_end)
    whole = given[0] if len(given) == 1 else Input(torch.cat([each.batch for each in given]))
    output = run_through(plan.preserved, whole, capture.hooks(plan.module), ours=lambda: capture.failed_outside)
    capture.check_all_ran()
    if not isinstance(plan.network, Model):
        return tuple(() for _ in given)
    return tuple(first_classes(plan.network, output, number) for number in range(len(given)))


def run_each(
    plan: CapturePlan, given: Sequence[Input], on_map: OnBatchMap, *, to_the_end: bool = True
) -> list[tuple[ClassScore, ...] | KernelvizError]:
    """As ``run_batch``; where the pass fails, the images pass one by one, and the error of each stands in its place.

    Where ``on_map`` fails, that is the image's alone: it gets no more of its maps, and the others go on. No map is handed
    on twice.
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
                raise  # nobody is left for whom the pass would go on

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
    return [failed.get(number, result) for number, result in enumerate(found)]


def run_through(
    network: Model | nn.Module | PreservedModule,
    given: Input,
    hooks: AbstractContextManager[object] | None = None,
    *,
    ours: Callable[[], bool] = lambda: False,
) -> Any:
    """What the network gives for an input; None where one of the ``hooks`` raised ``StopPassError``. It is left as it was.

    ``ours`` says whether an error came from outside of the network, and goes on as it is.

    Raises:
        KernelvizError: the pass failed.
    """
    preserved = network if isinstance(network, PreservedModule) else PreservedModule(module_of(network))
    module = preserved.module
    if preserved is not network:  # what was lent was observed before, which refuses it
        check_ready(module)
    batch = _fitting(given.batch, module)
    with preserved.undisturbed(), hooks or nullcontext():
        try:
            return module(batch)
        except StopPassError:
            return None
        except (KernelvizError, KeyboardInterrupt):
            raise
        except Exception as error:
            if ours():
                raise
            raise _pass_failed(error, given.size) from error


def _fitting(batch: Tensor, module: nn.Module) -> Tensor:
    """A copy of the batch on the network's device and in its numbers: the first module may overwrite it.

    Raises:
        UsageError: the network has no numbers.
    """
    like = next((tensor for tensor in module.parameters() if tensor.is_floating_point()), None)
    if like is None:
        return batch.detach().clone()
    if like.is_meta:
        what = "The network was built without weights."
        raise UsageError(what, hint='Load it with weights, for example `load_model(name, weights="random")`.')
    return batch.detach().to(device=like.device, dtype=like.dtype, copy=True)


def _pass_failed(error: Exception, size: tuple[int, ...]) -> KernelvizError:
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return KernelvizError("There is not enough memory for this forward pass.", hint="Give a smaller --input-size.")
    reason = " ".join(str(error).split())[:300] or type(error).__name__
    what = f"The forward pass failed for an input of {' × '.join(map(str, size))}."
    return KernelvizError(what, f"{reason[0].upper()}{reason[1:]}")

"""Hooks that catch what layers give while a pass of one image, or of a batch of them, goes by."""

from __future__ import annotations

import contextlib
from collections import Counter, OrderedDict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from kernelviz.errors import KernelvizError
from kernelviz.network.kernels import source_of
from kernelviz.network.models import Model
from kernelviz.network.operations import tensors_in
from kernelviz.network.refusals import CONVOLUTIONS
from kernelviz.records import FeatureMaps, Image, SeenImage, as_array, shape_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from kernelviz.network.state import Lent
    from kernelviz.network.taps import Side, Tap, Taps
    from kernelviz.network.trace import Watched
    from kernelviz.traces import Trace

    OnBatchMap = Callable[[int, FeatureMaps], object]


@dataclass(frozen=True)
class Tapped:
    """A network that knows what is to be caught in it, for images of one size; what ``make_taps`` gives."""

    network: Model | nn.Module
    input_size: tuple[int, ...]
    taps: Taps
    side: Side
    seen: Watched
    trace: Trace
    lent: Lent

    @property
    def module(self) -> nn.Module:
        """The torch module itself."""
        return self.lent.module


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


class EnoughError(BaseException):
    """Ends a pass behind the last layer asked for; no module's own ``except Exception`` catches it."""


class Catcher:
    """Hooks that hand each tapped tensor on, as the maps of each image of the batch, while the pass goes by."""

    def __init__(self, tapped: Tapped, given: Sequence[Input], on_map: OnBatchMap, *, to_the_end: bool) -> None:
        self.tapped, self.given, self.on_map = tapped, given, on_map
        self.to_the_end = to_the_end
        self.wanted: dict[str, dict[int, list[Tap]]] = {}
        for tap in tapped.taps.taps:
            self.wanted.setdefault(tap.module, {}).setdefault(tap.run, []).append(tap)
        self.left = len(tapped.taps.taps)
        self.runs: Counter[str] = Counter()
        self.source = replace(source_of(tapped.network), device=_device(tapped.module))
        self.failed_outside = False

    @contextlib.contextmanager
    def hooks(self, module: nn.Module) -> Iterator[None]:
        """Hooks on every tapped module, behind the caller's own, for as long as the context lasts."""
        with contextlib.ExitStack() as stack:
            for name in self.wanted:
                part = _inside(module, name)
                if self.tapped.side == "input":
                    handle = part.register_forward_pre_hook(self._taken(name), with_kwargs=True)
                else:
                    handle = part.register_forward_hook(self._given(name))
                stack.enter_context(handle)
            yield

    def check_all_ran(self) -> None:
        """Refuse a pass that went another way than the watched one.

        Raises:
            KernelvizError: a tapped run did not happen.
        """
        missing = [tap.name for tap in self.tapped.taps.taps if self.runs[tap.module] <= tap.run]
        if missing:
            why = "The pass went another way than the one without numbers."
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
            raise EnoughError

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
            why = f"The pass without numbers saw {shape_text(one)}{of}, this one {shapes}."
            hint = "" if many == 1 else "Take one image at a time, --batch-size 1."
            raise KernelvizError(f"The layer {tap.name} gave another shape than expected.", why, hint)
        dim, size = differing[0], one[differing[0]]
        return [tensors[tap.part].detach().narrow(dim, number * size, size) for number in range(many)]

    def _maps(self, tap: Tap, tensor: Tensor, given: Input) -> FeatureMaps:
        many = len(self.tapped.seen.visits[tap.module].given)
        return FeatureMaps(
            values=as_array(tap.layout.maps(tensor)),
            layer=tap.name,
            kind=tap.kind,
            shape=tuple(tap.layout.shape[1:]),
            tap=self.tapped.side,
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

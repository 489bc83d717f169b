"""The kernels of a layer as arrays, as the convolution multiplies with them."""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.nn.utils import parametrize
from torch.utils._python_dispatch import TorchDispatchMode

from kernelviz.errors import UsageError
from kernelviz.network.architecture import Architecture
from kernelviz.network.convolutions import (
    experts_of,
    first_convolution,
    is_quantised,
    list_layers,
    no_convolutions,
)
from kernelviz.network.model import Model, missing_weights, root_of, source_of, without_weights
from kernelviz.network.named import find_convolution, left_out, names_of
from kernelviz.network.selection import without_expert
from kernelviz.network.snapshot import undisturbed
from kernelviz.network.stored_kernels import StoredKernels, StoredTensors, opened, stored_bank
from kernelviz.records import ConvLayer, KernelBank, as_array
from kernelviz.wording import shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from kernelviz.records import Array


_ONLY_PADS = frozenset({"Conv2dSame", "Conv2dSameExport"})  # these convolve with the stored weight
_CONVOLVE = frozenset({
    "convolution", "_convolution",
    "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d",  # in inference mode
})  # fmt: skip
_HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_forward_hooks_with_kwargs", "_forward_hooks_always_called")


@dataclass(frozen=True)
class ObservedWeight:
    """The ``weight`` that a convolution multiplied with; None if unknown, and ``why``."""

    weight: Tensor | None = None
    why: str = ""


def reworker(module: nn.Module) -> str:
    """What may change the stored weight before it convolves, as text; empty for plain convolutions."""
    if parametrize.is_parametrized(module, "weight"):
        rules: Any = module.parametrizations
        return f"its parametrisation ({', '.join(type(rule).__name__.lstrip('_') for rule in rules.weight)})"
    if "weight" not in dict(module.named_parameters(recurse=False)):
        return "a forward pre-hook"
    authors = {
        next(kind for kind in type(module).__mro__ if method in vars(kind)) for method in ("forward", "_conv_forward")
    }
    overrides = any(kind.__module__ != nn.Conv2d.__module__ and kind.__name__ not in _ONLY_PADS for kind in authors)
    return type(module).__name__ if overrides or "forward" in vars(module) else ""


def stored_weight(module: nn.Module) -> Tensor | None:
    """The stored weight: the first of the module's own tensors of this shape from which the weight is computed."""
    weight: Any = module.weight
    if not parametrize.is_parametrized(module, "weight"):
        own = dict(module.named_parameters(recurse=False))
        made_of = [own["weight"]] if "weight" in own else [own.get(f"weight_{part}") for part in ("orig", "v")]
    else:
        rules: Any = module.parametrizations
        made_of = [rules.weight.original] if rules.weight.is_tensor else list(rules.weight.parameters(recurse=False))
    return next((part for part in made_of if part is not None and part.shape == weight.shape), None)


def observed_weight(module: nn.Module) -> ObservedWeight:
    """Run the module on two small inputs, and record the weight that it convolves them with.

    Only those of the caller's hooks run that compute the weight. The caller restores modes and buffers.
    """
    stored: Any = module.weight
    recorded = []
    try:
        with _weight_hooks_alone(module):
            for image in _two_inputs(module, stored):
                with _WeightRecorder() as recorder:
                    module(image)
                recorded.append(
                    [weight.detach().clone() for weight in recorder.weights if weight.shape == stored.shape]
                )
    except Exception as error:  # noqa: BLE001 - the module is the caller's, and may raise anything
        return ObservedWeight(why=f"it does not run by itself ({type(error).__name__})")
    first, second = recorded
    if len(first) != 1 or len(second) != 1:
        return ObservedWeight(why="it runs no convolution with a weight of this shape, or more than one")
    if not torch.equal(first[0].nan_to_num(), second[0].nan_to_num()):
        return ObservedWeight(why="the weight that it convolves with depends on the image")
    return ObservedWeight(first[0])


class _WeightRecorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Records the weight of every convolution."""

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
    """Disable all hooks but those that compute the weight; attributes that they set are restored."""
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
    """The hooks that compute the weight: those of torch, or all of them if there are none of torch."""
    if "weight" in dict(module.named_parameters(recurse=False)) or parametrize.is_parametrized(module, "weight"):
        return OrderedDict()
    hooks = OrderedDict(module._forward_pre_hooks)  # noqa: SLF001
    known = {number: hook for number, hook in hooks.items() if type(hook).__module__.startswith("torch.nn.utils.")}
    return OrderedDict(known or hooks)


Reading: TypeAlias = Literal["effective"] | None


def read_kernels(network: Model | nn.Module, layer: str | ConvLayer, *, stored: bool = False) -> KernelBank:
    """The kernels of one convolution, (out_channels, in_channels / groups, *kernel_size), as it convolves with them.

    If a layer changes its weight first (weight standardisation, a parametrisation, a hook), these are the effective
    kernels, recorded while its convolution runs; with ``stored``, the kernels that the module stores. Kernel i computes
    output channel i, in transposed convolutions too. Notes list irregularities, such as an unknown effective weight.

    Raises:
        UnknownLayerError: the network has no convolution of this name.
        NoConvolutionsError: it has no convolution at all.
        UsageError: the layer has no weights that can be read.
        BadWeightsError: the model was loaded from a part of its weights, without those of this layer.

    Example:
        >>> network = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 7, stride=2), torch.nn.ReLU())
        >>> bank = kernelviz.read_kernels(network, "0")
        >>> bank.weight.shape
        (8, 3, 7, 7)
        >>> bool((bank.weight == network[0].weight.detach().numpy()).all())
        True
    """
    record, module = find_convolution(network, layer if isinstance(layer, str) else layer.name)
    if any(name.startswith(f"{without_expert(record.name)}.") for name in missing_weights(network)):
        raise without_weights(network, record.name)
    with undisturbed(module):
        if record.expert is not None:
            weight, reading, notes = _expert(record, module)
        else:
            weight, reading, notes = _read(record, module, stored=stored)
        array = as_array(weight)
    return stored_bank(array, record, source_of(network), notes, "stored" if stored else reading)


def find_stored(network: Model, file: Path) -> StoredKernels | None:
    """Where the kernels of a model are in a safetensors file, which is compared with what was loaded.

    None if there are none, or if the network has convolutions whose kernels cannot be read at all.
    """
    weights, first = network.source.weights, first_convolution(network, network.input_size)
    if first is None or left_out(network, "*"):
        return None
    prefixes = {"", weights.prefix or ""} if weights else {""}
    tensors = {}
    with contextlib.suppress(OSError, ValueError), opened(file) as held:
        for name, weight in _plain_weights(network):
            for tensor in held.names & {f"{prefix}{name}.weight" for prefix in prefixes}:
                if _is_same(held, tensor, weight):
                    tensors[name] = tensor
    layers = tuple(list_layers(network))
    return StoredKernels(network.source, names_of(network), first, layers, tensors, str(file)) if tensors else None


def architecture_of(network: Model | nn.Module) -> Architecture:
    """A network without its numbers, which may be on ``meta``.

    Raises:
        NoConvolutionsError: it has no convolution whose kernels can be read.
    """
    first = first_convolution(network, network.input_size if isinstance(network, Model) else None)
    if first is None:
        raise no_convolutions(network)
    tensors = {
        name: (str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape))
        for name, tensor in root_of(network).state_dict().items()
        if isinstance(tensor, Tensor) and not is_lazy(tensor)
    }
    plain = tuple(record.name for record, _ in _plain_layers(network))
    return Architecture(source_of(network), names_of(network), first, tuple(list_layers(network)), plain, tensors)


def plain_weights(network: Model | nn.Module) -> dict[str, Array]:
    """The weights of the layers that convolve with a parameter as it is, by the parameter's name."""
    return {f"{name}.weight": weight for name, weight in _plain_weights(network)}


def _plain_weights(network: Model | nn.Module) -> Iterator[tuple[str, Array]]:
    for record, module in _plain_layers(network):
        yield record.name, as_array(module.weight)


def _plain_layers(network: Model | nn.Module) -> Iterator[tuple[ConvLayer, Any]]:
    """The layers that convolve with a parameter as it is, each with its module."""
    root = root_of(network)
    modules = dict(root.named_modules())
    modules.setdefault(type(root).__name__, root)  # a network that is a single convolution
    for record in list_layers(network):
        module: Any = modules.get(record.name)
        if module is None or record.expert is not None or is_quantised(module) or reworker(module):
            continue
        if isinstance(module.weight, Tensor) and module.weight.is_floating_point():
            yield record, module


def _is_same(file: StoredTensors, name: str, weight: Array) -> bool:
    """Whether a tensor of a file has exactly these numbers."""
    try:
        held = as_array(file.read(name))
    except (ValueError, UsageError):
        return False
    return (held.shape, held.dtype, held.tobytes()) == (weight.shape, weight.dtype, weight.tobytes())


def _expert(record: ConvLayer, module: Any) -> tuple[Tensor, Reading, tuple[str, ...]]:
    """The bank of one expert."""
    _check_readable(record, module.weight)
    of = f"expert {record.expert} of {experts_of(module)}: the network mixes their kernels for every image"
    return module.weight[record.expert].reshape(record.weight_shape), None, (of,)


def _read(record: ConvLayer, module: nn.Module, *, stored: bool) -> tuple[Tensor, Reading, tuple[str, ...]]:
    """The weight, whether it is the effective one, and notes about it."""
    weight: Any = module.weight  # of a parametrised layer this computes it
    if is_quantised(module):
        quantised = weight()
        kind = str(quantised.dtype).removeprefix("torch.")
        return quantised.dequantize(), None, (f"dequantised: the layer stores its weight as {kind}",)
    _check_readable(record, weight)
    who = reworker(module)
    if not who:
        return weight, None, ()
    observed, held = observed_weight(module), stored_weight(module)
    if stored:
        if held is None:
            what = f"The layer {shown(record.name)} stores no weight of the shape that it convolves with."
            raise UsageError(what, f"It is computed by {who}.", "Omit --stored, or stored=True, for the effective one.")
        return held, None, (f"the weight as stored; {who} computes the effective weight from it",)
    if observed.weight is None:
        return weight, None, (f"the weight as stored, the effective one is unknown: {observed.why}",)
    if held is not None and torch.equal(observed.weight, held):
        return weight, None, ()
    return observed.weight, "effective", (f"the effective weight, computed by {who} from the stored one",)


def _check_readable(record: ConvLayer, weight: object) -> None:
    if not isinstance(weight, Tensor) or not weight.is_floating_point() or weight.layout != torch.strided:
        what = f"The layer {shown(record.name)} ({record.kind}) holds no plain floating-point weights."
        raise UsageError(what, hint="Read the kernels before the network is quantised, pruned to sparse or compiled.")
    if weight.is_meta:
        what = f"The layer {shown(record.name)} has no weights: the network was built without them."
        raise UsageError(what, hint='Load it with weights, for example `load_model(name, weights="random")`.')

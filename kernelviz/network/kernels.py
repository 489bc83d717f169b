"""From a layer of a network to its kernels, as arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from kernelviz.errors import UsageError
from kernelviz.network.layers import find_convolution, undisturbed
from kernelviz.network.models import Model
from kernelviz.records import ConvLayer, KernelBank, Source, as_array

if TYPE_CHECKING:
    from kernelviz.records import Array

_ONLY_PADS = frozenset({"Conv2dSame", "Conv2dSameExport"})  # these convolve with the stored weight


def read_kernels(network: Model | nn.Module, layer: str | ConvLayer) -> KernelBank:
    """The kernels of one convolution, (out_channels, in_channels / groups, *kernel_size), as the module stores them.

    Kernel i makes output channel i, in transposed convolutions too. Notes say where the layer may convolve with
    something else than it stores.

    Raises:
        UnknownLayerError: the network has no convolution of this name.
        NoConvolutionsError: it has no convolution at all.
        UsageError: the layer holds no numbers that could be read.
    """
    record, module = find_convolution(network, layer if isinstance(layer, str) else layer.name)
    with undisturbed(module):
        weight: Any = module.weight  # of a parametrised layer this computes it
        _check_readable(record, weight)
        array = as_array(weight)
    return KernelBank(
        weight=_turned(array, record.groups) if record.transposed else array,
        layer=record,
        source=source_of(network),
        groups=record.groups,
        notes=_notes(record, module),
    )


def _check_readable(record: ConvLayer, weight: object) -> None:
    if not isinstance(weight, Tensor) or not weight.is_floating_point() or weight.layout != torch.strided:
        what = f"The layer {record.name} ({record.kind}) holds no plain floating-point weights."
        raise UsageError(what, hint="Read the kernels before the network is quantised, pruned to sparse or compiled.")
    if weight.is_meta:
        what = f"The layer {record.name} has a shape, but no numbers: the network was built without weights."
        raise UsageError(what, hint='Load it with weights, `load_model(name, weights="random")` for one.')


def _turned(weight: Array, groups: int) -> Array:
    """(in, out / groups, *k) of a transposed convolution as (out, in / groups, *k)."""
    inputs, outputs, *kernel = weight.shape
    grouped = weight.reshape(groups, inputs // groups, outputs, *kernel).swapaxes(1, 2)
    return grouped.reshape(groups * outputs, inputs // groups, *kernel)


def _notes(record: ConvLayer, module: nn.Module) -> tuple[str, ...]:
    """What is odd about the weight of this layer."""
    notes = []
    if record.transposed:
        notes.append("transposed convolution: axes turned to (out, in / groups, ...)")
    if parametrize.is_parametrized(module, "weight"):
        notes.append("the weight as its parametrisation computes it")
    elif "weight" not in dict(module.named_parameters(recurse=False)):
        notes.append("the weight as last computed; the layer computes it anew before each pass")
    if _convolves_its_own_way(module):
        notes.append(f"the weight as stored; {record.kind} may rework it before it convolves")
    return tuple(notes)


def _convolves_its_own_way(module: nn.Module) -> bool:
    """Whether the code that runs is not that of torch's own classes."""
    authors = [
        next(kind for kind in type(module).__mro__ if method in vars(kind)) for method in ("forward", "_conv_forward")
    ]
    return any(author.__module__ != nn.Conv2d.__module__ and author.__name__ not in _ONLY_PADS for author in authors)


def source_of(network: Model | nn.Module) -> Source:
    """What is known of where a network's numbers come from."""
    if isinstance(network, Model):
        return network.source
    name = type(network).__name__
    parameters = list(network.parameters())
    return Source(
        model=name,
        label=name,
        stem=name,
        params=sum(parameter.numel() for parameter in parameters),
        device=str(parameters[0].device) if parameters else "cpu",
        versions={"torch": torch.__version__},
        threads=torch.get_num_threads(),
    )

"""From a layer of a network to its kernels as arrays, as the convolution really multiplies with them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import torch
from torch import Tensor, nn

from kernelviz.errors import UsageError
from kernelviz.network.effective import reworker, stored_weight, watched_weight
from kernelviz.network.layers import find_convolution
from kernelviz.network.models import Model
from kernelviz.network.refusals import experts_of
from kernelviz.network.state import undisturbed
from kernelviz.records import ConvLayer, KernelBank, Source, as_array

if TYPE_CHECKING:
    from kernelviz.records import Array


Reading: TypeAlias = Literal["effective"] | None


def read_kernels(network: Model | nn.Module, layer: str | ConvLayer, *, stored: bool = False) -> KernelBank:
    """The kernels of one convolution, (out_channels, in_channels / groups, *kernel_size), as it convolves with them.

    Where a layer reworks its weight first (weight standardisation, a parametrisation, a hook), these are the effective
    kernels, seen by watching its convolution run; with ``stored`` those that the module holds. Kernel i makes output
    channel i, in transposed convolutions too. Notes say what is odd, and where the effective weight is not known.

    Raises:
        UnknownLayerError: the network has no convolution of this name.
        NoConvolutionsError: it has no convolution at all.
        UsageError: the layer holds no numbers that could be read.
    """
    record, module = find_convolution(network, layer if isinstance(layer, str) else layer.name)
    with undisturbed(module):
        if record.expert is not None:
            weight, reading, notes = _expert(record, module)
        else:
            weight, reading, notes = _read(record, module, stored=stored)
        array = as_array(weight)
    if record.transposed:
        notes = ("transposed convolution: axes turned to (out, in / groups, ...)", *notes)
    return KernelBank(
        weight=_turned(array, record.groups) if record.transposed else array,
        layer=record,
        source=source_of(network),
        groups=record.groups,
        notes=notes,
        reading="stored" if stored else reading,
    )


def _expert(record: ConvLayer, module: Any) -> tuple[Tensor, Reading, tuple[str, ...]]:
    """One of the banks that are mixed for each image."""
    _check_readable(record, module.weight)
    of = f"expert {record.expert} of {experts_of(module)}: the network mixes their kernels anew for every image"
    return module.weight[record.expert].reshape(record.weight_shape), None, (of,)


def _read(record: ConvLayer, module: nn.Module, *, stored: bool) -> tuple[Tensor, Reading, tuple[str, ...]]:
    """The weight, which of the two it is, and what is said about it."""
    weight: Any = module.weight  # of a parametrised layer this computes it
    _check_readable(record, weight)
    who = reworker(module)
    if not who:
        return weight, None, ()
    watched, held = watched_weight(module), stored_weight(module)
    if stored:
        if held is None:
            what = f"The layer {record.name} stores no weight of the shape that it convolves with."
            raise UsageError(what, f"It comes of {who}.", "Leave out --stored, or stored=True, for the effective one.")
        return held, None, (f"the weight as stored; {who} makes another of it, the effective one",)
    if watched.weight is None:
        return weight, None, (f"the weight as stored, the effective one is not known: {watched.why}",)
    if held is not None and torch.equal(watched.weight, held):
        return weight, None, ()
    return watched.weight, "effective", (f"the effective weight: what {who} makes of the stored one",)


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

"""Compare two weights of one architecture: their convolutions kernel by kernel, all other tensors as a whole."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from kernelviz.errors import KernelvizError, UsageError
from kernelviz.network.convolutions import first_convolution, list_layers, no_convolutions
from kernelviz.network.kernels import architecture_of, plain_weights, read_kernels, source_of
from kernelviz.network.model import Model, missing_weights, named_stages, root_of
from kernelviz.network.named import select_layers
from kernelviz.network.selection import few, without_expert
from kernelviz.network.stored_kernels import stored_bank
from kernelviz.network.weights.checkpoints import is_counted
from kernelviz.network.weights.stored import open_weights
from kernelviz.records import as_array, as_bank, shape_text
from kernelviz.views.comparisons import ComparedLayer, Comparison, compare_banks, compare_tensors, same_bits
from kernelviz.views.pairing import pair_kernels
from kernelviz.wording import counted, shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kernelviz.records import ConvLayer, KernelBank, Progress


def compare_weights(
    a: object,
    b: object,
    layers: str | Sequence[str] | None = None,
    *,
    match: bool = False,
    progress: Progress | None = None,
) -> Comparison:
    """Compare two weights of one architecture: how far each kernel and each layer moved from A to B.

    Kernels are compared as the convolutions use them, all arithmetic is in float64.

    Args:
        a: The first weights: a ``Model`` or any ``nn.Module``; a state dict, whose tensors of three to five axes are taken
            as kernels; or the kernels of one layer, as ``plot_kernels`` takes them.
        b: The second weights, of the same kind.
        layers: Patterns of layers, as in ``select_layers``; all convolutions without them, and then all other tensors, too.
        match: Also find which kernels of B match those of A best, for the layer that reads the image; see ``Pairing``.
        progress: Called with a label, what is done and the total.

    Raises:
        UsageError: the two are of different kinds, or ``match`` is requested for a layer that does not read the image.
        UnknownLayerError: a pattern matches no layer.
        KernelvizError: no layer can be compared.
    """
    networks = [isinstance(each, Model | nn.Module) for each in (a, b)]
    mappings = [isinstance(each, Mapping) for each in (a, b)]
    if networks[0] != networks[1] or mappings[0] != mappings[1]:
        kinds = " and ".join(type(each).__name__ for each in (a, b))
        raise UsageError(f"A and B must be of one kind, but got {kinds}.", hint="Give two models or two state dicts.")
    if isinstance(a, Model | nn.Module) and isinstance(b, Model | nn.Module):
        return _compare_networks(a, b, layers, match=match, progress=progress)
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        found = _compare_states(a, b, layers)
        return _paired(found, found.layers[0].name, progress) if match else found
    try:
        found = Comparison((compare_banks(as_bank(a), as_bank(b)),))
    except UsageError as error:
        raise KernelvizError("The kernels cannot be compared.", error.what, error.hint) from None
    return _paired(found, "", progress) if match else found


def _compare_networks(
    a: Model | nn.Module,
    b: Model | nn.Module,
    patterns: str | Sequence[str] | None,
    *,
    match: bool,
    progress: Progress | None,
) -> Comparison:
    banks = _Banks(a), _Banks(b)
    records = banks[0].records
    if not records:
        raise no_convolutions(a)
    chosen = [layer.name for layer in select_layers(a, patterns)] if patterns else list(records)
    reads = first_convolution(a, a.input_size if isinstance(a, Model) else None) if match else None
    if match and patterns:
        _check_reads(chosen, reads)
    states = [
        {name: value for name, value in root_of(each).state_dict(keep_vars=True).items() if _is_numbers(value)}
        for each in (a, b)
    ]
    compared, left_out = [], {}
    for name in chosen:
        why = _difference(name, banks)
        if not why:
            try:
                first, second = (each.read(name) for each in banks)
                plain = all(each.is_plain(name) for each in banks)
                same = plain or _is_stored_same(name, states)
                compared.append(compare_banks(first, second, name, stored_same=same))
            except KernelvizError as error:
                why = f"cannot be read: {error.what}"
        if why:
            left_out[name] = why
    if not compared:
        raise _nothing_comparable(left_out, states)
    if match and reads in left_out:
        raise KernelvizError(f"Kernels of {shown(reads)} cannot be matched.", f"It {left_out[reads]}.")
    missing = {*missing_weights(a), *missing_weights(b)}
    owned = tuple(f"{without_expert(name)}." for name in records)
    others = [] if patterns else [
        compare_tensors(name, as_array(value), as_array(states[1][name]))
        for name, value in states[0].items()
        if name in states[1] and states[1][name].shape == value.shape and is_counted(name)
        if not (name.startswith(owned) and not name.endswith(".bias"))
        if name not in missing
    ]  # fmt: skip
    sources = source_of(a), source_of(b)
    files = [
        source.weights and (source.weights.sha256, source.weights.key, source.weights.prefix) for source in sources
    ]
    found = Comparison(
        tuple(compared), tuple(others), left_out, sources, _stages(a, list(records)),
        identical=bool(files[0] and files[0][0] and files[0] == files[1]),
    )  # fmt: skip
    return _paired(found, reads or "", progress) if match else found


def load_similar(model: Model, path: str, *, key: str | None = None) -> tuple[Model, dict[str, str]]:
    """The network of a model with those weights of a file that fit it, and why the others do not, by layer.

    Unlike ``load_model`` this also takes weights of a network in which some layers have other shapes. The weights that do
    not fit are NaN, and ``missing`` in the source.

    Args:
        model: The network, which is copied.
        path: The file.
        key: Which weights of the file, as ``weights_key`` of ``load_model``.

    Raises:
        BadWeightsError: the file cannot be read, or has fewer than half of the weights.
    """
    name, wanted = model.source.model, architecture_of(model).tensors
    stored = open_weights(path, wanted, name, key=key)
    module = copy.deepcopy(model.module)
    lacking = {}
    with torch.no_grad():
        for tensor, value in module.state_dict(keep_vars=True).items():
            shape = stored.shape(tensor)
            if shape == tuple(value.shape):
                value.copy_(torch.from_numpy(stored.read(tensor)).to(value.dtype))
            elif is_counted(tensor):
                lacking[tensor] = shape
                if value.is_floating_point():
                    value.fill_(math.nan)
    counted_tensors = [tensor for tensor in wanted if is_counted(tensor)]
    numbers = f"{len(counted_tensors) - len(lacking)} of {len(counted_tensors)} tensors"
    file = stored.weights.name
    source = replace(
        model.source, label=f"{name}, weights of {shown(file)} (partial: {numbers})", tag=None, licence=None,
        stem=f"{name}.{Path(file).stem}", weights=replace(stored.weights, missing=tuple(lacking)),
        notes=(f"{shown(file)} holds {numbers} of the network", *stored.notes),
    )  # fmt: skip
    reasons = {
        tensor.removesuffix(".weight"): f"is {shape_text(wanted[tensor][1])}, but {shape_text(shape)} in {shown(file)}"
        for tensor, shape in lacking.items()
        if shape is not None and tensor.endswith(".weight")
    }
    return replace(model, module=module, source=source, sums=()), reasons


class _Banks:
    """The kernels of a network by layer, which are read one by one."""

    def __init__(self, network: Model | nn.Module) -> None:
        self.network = network
        self.records = {layer.name: layer for layer in list_layers(network)}
        self.missing = {name.rpartition(".")[0] for name in missing_weights(network)}
        self._source = source_of(network)
        self._plain = plain_weights(network)

    def is_plain(self, name: str) -> bool:
        """Whether a layer convolves with a parameter as it is."""
        return f"{name}.weight" in self._plain

    def read(self, name: str) -> KernelBank:
        """The kernels of a layer, as ``read_kernels`` reads them."""
        if (weight := self._plain.get(f"{name}.weight")) is not None:
            return stored_bank(weight, self.records[name], self._source)
        return read_kernels(self.network, name)


def _difference(name: str, banks: Sequence[_Banks]) -> str:
    """Why a layer cannot be compared, as the end of a sentence that begins with its name; empty if it can."""
    lacking = [which for which, each in zip("AB", banks, strict=True) if without_expert(name) in each.missing]
    if lacking:
        return f"has no weights in {' and '.join(lacking)}"
    first, second = (each.records.get(name) for each in banks)
    if second is None or first is None:
        return "is in A alone"
    shapes = _shape(first), _shape(second)
    if shapes[0] != shapes[1]:
        return f"is {shape_text(shapes[0])} in A, but {shape_text(shapes[1])} in B"
    return ""


def _shape(layer: ConvLayer) -> tuple[int, ...]:
    return (layer.out_channels, layer.in_channels // layer.groups, *layer.kernel_size)


def _is_numbers(value: object) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point() and not value.is_quantized and not value.is_meta


def _is_stored_same(name: str, states: Sequence[Mapping[str, Tensor]]) -> bool:
    """Whether all tensors that a layer stores, but for its bias, are bitwise the same."""
    prefix = f"{without_expert(name)}."
    own = [key for key in states[0] if key.startswith(prefix) and not key.endswith(".bias")]
    return all(key in states[1] and same_bits(as_array(states[0][key]), as_array(states[1][key])) for key in own)


def _nothing_comparable(left_out: Mapping[str, str], states: Sequence[Mapping[str, Any]]) -> KernelvizError:
    alike = sum(name in states[1] and states[1][name].shape == value.shape for name, value in states[0].items())
    most = max(map(len, states))
    layers = few([*left_out])
    what = f"{alike} of {counted(most, 'tensor')} have the same shape: no layer of A and B can be compared."
    why = "\n".join(f"{shown(name)} {reason}." for name, reason in [*left_out.items()][:3])
    return KernelvizError(what, why or f"{layers}.", "Give two weights of one architecture.")


def _check_reads(names: Sequence[str], reads: str | None) -> None:
    """Reject layers whose kernels read maps instead of the image.

    Raises:
        UsageError: there is one.
    """
    for name in names:
        if name != reads:
            raise UsageError(
                f"Kernels of {shown(name)} cannot be matched: the layer does not read the image.",
                "The order of its input channels is that of another layer's kernels, which differs between A and B.",
                f"Match {shown(reads)}, the first convolution: --layer {shown(reads)}." if reads else "",
            )


def _paired(found: Comparison, name: str, progress: Progress | None) -> Comparison:
    """The comparison with the pairs of one of its layers."""
    layers = [_with_pairs(layer, progress) if layer.name == name else layer for layer in found.layers]
    return replace(found, layers=tuple(layers))


def _with_pairs(layer: ComparedLayer, progress: Progress | None) -> ComparedLayer:
    usable = ~(layer.zero_a | layer.broken), ~(layer.zero_b | layer.broken)
    return replace(layer, pairing=pair_kernels(layer.a.weight, layer.b.weight, usable, progress=progress))


def _stages(network: Model | nn.Module, names: Sequence[str]) -> tuple[str, ...]:
    """The modules that group the layers in a picture: the stages, or else the outermost modules with several layers."""
    stages = named_stages(network)
    if stages:
        return stages
    tops = [name.partition(".")[0] for name in names if "." in name]
    return tuple(top for top in dict.fromkeys(tops) if tops.count(top) > 1)


def _compare_states(
    a: Mapping[str, object], b: Mapping[str, object], patterns: str | Sequence[str] | None
) -> Comparison:
    """Compare two state dicts: tensors of three to five axes are kernels, (out, in / groups, *kernel_size)."""
    from fnmatch import fnmatchcase

    wanted = [patterns] if isinstance(patterns, str) else patterns
    arrays = [{str(name): as_array(value) for name, value in each.items() if _has_numbers(value)} for each in (a, b)]
    compared, others, left_out = [], [], {}
    for name, one in arrays[0].items():
        layer, other = name.removesuffix(".weight"), arrays[1].get(name)
        if wanted and not any(fnmatchcase(layer, pattern) for pattern in wanted):
            continue
        is_kernel = 3 <= one.ndim <= 5
        if other is None or other.shape != one.shape:
            if is_kernel:
                here = shape_text(one.shape)
                left_out[layer] = (
                    "is in A alone" if other is None else f"is {here} in A, but {shape_text(other.shape)} in B"
                )
        elif is_kernel:
            compared.append(compare_banks(as_bank(one, layout="torch"), as_bank(other, layout="torch"), layer))
        elif is_counted(name) and not wanted:
            others.append(compare_tensors(name, one, other))
    if not compared:
        raise _nothing_comparable(left_out, arrays)
    return Comparison(tuple(compared), tuple(others), left_out)


def _has_numbers(value: Any) -> bool:
    """Whether a value of a state dict is a tensor or an array of floating-point numbers, and not empty."""
    kind = str(getattr(value, "dtype", ""))
    return "float" in kind and 0 not in getattr(value, "shape", (0,))

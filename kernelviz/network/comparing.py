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
from kernelviz.network.kernels import architecture_of, plain_weights, read_kernels
from kernelviz.network.model import Model, missing_weights, named_stages, root_of, source_of
from kernelviz.network.named import select_layers
from kernelviz.network.selection import (
    NetworkNames,
    convolutions_of,
    unknown_layer,
    with_containers,
    without_expert,
)
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
            as kernels, only those called ``weight`` if there are such; or the kernels of one layer, as ``plot_kernels``
            takes them. Files are loaded with ``load_model``.
        b: The second weights, of the same kind.
        layers: Patterns of layers, as in ``select_layers``; all convolutions without them, and then all other tensors, too.
        match: Also find which kernels of B match those of A best, for the layer that reads the image, which in a state dict
            is the first one; see ``Pairing``.
        progress: Called with a label, what is done and the total.

    Raises:
        UsageError: the two are of different kinds, or ``match`` is requested for a layer that does not read the image.
        UnknownLayerError: a pattern matches no layer.
        KernelvizError: no layer can be compared.

    Example:
        >>> network = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(), torch.nn.Conv2d(8, 8, 3))
        >>> before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        >>> with torch.no_grad():
        ...     network[0].weight *= 2  # a training
        >>> comparison = kernelviz.compare_weights(before, network.state_dict())
        >>> for layer in comparison.layers:
        ...     print(layer.name, round(layer.change, 6), layer.same)
        0 1.0 False
        2 0.0 True
    """
    networks = [isinstance(each, Model | nn.Module) for each in (a, b)]
    mappings = [isinstance(each, Mapping) for each in (a, b)]
    if networks[0] != networks[1] or mappings[0] != mappings[1]:
        kinds = " and ".join(type(each).__name__ for each in (a, b))
        raise UsageError(f"A and B must be of one kind, but got {kinds}.", hint="Give two models or two state dicts.")
    if isinstance(a, Model | nn.Module) and isinstance(b, Model | nn.Module):
        return _compare_networks(a, b, layers, match=match, progress=progress)
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return _compare_states(a, b, layers, match=match, progress=progress)
    if isinstance(a, str | Path) or isinstance(b, str | Path):
        hint = "Load them: load_model(name, weights=path), or torch.load(path) for a state dict."
        raise UsageError("A and B must be weights, not the names of files.", hint=hint)
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
    every = dict.fromkeys([*records, *banks[1].records])
    chosen = [layer.name for layer in select_layers(a, patterns)] if patterns else [*every]
    reads = first_convolution(a, a.input_size if isinstance(a, Model) else None) if match else None
    if match and patterns:
        _check_reads(chosen, reads)
    states = [
        {name: value for name, value in root_of(each).state_dict(keep_vars=True).items() if _is_numbers(value)}
        for each in (a, b)
    ]
    compared, left_out = _compare_layers(chosen, banks, states)
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


def _compare_layers(
    names: Sequence[str], banks: tuple[_Banks, _Banks], states: Sequence[Mapping[str, Tensor]]
) -> tuple[list[ComparedLayer], dict[str, str]]:
    """The layers that can be compared, and why the others cannot, by layer.

    Raises:
        KernelvizError: no layer can be compared.
    """
    compared, left_out = [], {}
    for name in names:
        if why := _difference(name, banks):
            left_out[name] = why
            continue
        try:
            first, second = (each.read(name) for each in banks)
            plain = all(each.is_plain(name) for each in banks)
            same = plain or _is_stored_same(name, states)
            compared.append(compare_banks(first, second, name, stored_same=same))
        except KernelvizError as error:
            left_out[name] = f"cannot be read: {error.what}"
    if not compared:
        raise _nothing_comparable(left_out, states)
    return compared, left_out


def load_similar(
    model: Model, path: str, *, key: str | None = None, timeout: float = 10.0
) -> tuple[Model, dict[str, str]]:
    """The network of a model with those weights of a file that fit it, and why the others do not, by layer.

    Unlike ``load_model`` this also takes weights of a network in which some layers have other shapes. The weights that do
    not fit are NaN, and ``missing`` in the source.

    Args:
        model: The network, which is copied.
        path: The file.
        key: Which weights of the file, as ``weights_key`` of ``load_model``.
        timeout: As ``load_model`` takes it.

    Raises:
        BadWeightsError: the file cannot be read, or has fewer than half of the weights.
    """
    name, wanted = model.source.model, architecture_of(model).tensors
    stored = open_weights(path, wanted, name, key=key, timeout=timeout)
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
    stem = model.source.stem.removesuffix(model.source.weights_stem) + Path(file).stem
    source = replace(
        model.source, label=f"{model.source.title}, weights of {shown(file)} (partial: {numbers})", tag=None, licence=None,
        stem=stem, weights=replace(stored.weights, missing=tuple(lacking)),
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
    first, second = (_shape(each.records[name]) if name in each.records else None for each in banks)
    return _unlike(first, second)


def _unlike(first: tuple[int, ...] | None, second: tuple[int, ...] | None) -> str:
    """How the shapes of a layer in A and B differ, as the end of such a sentence; a layer that is absent has none."""
    if first is None or second is None:
        return f"is only in {'B' if first is None else 'A'}"
    return "" if first == second else f"is {shape_text(first)} in A, but {shape_text(second)} in B"


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
    what = f"{alike} of {counted(most, 'tensor')} have the same shape: no layer of A and B can be compared."
    why = "\n".join(f"{shown(name)} {reason}." for name, reason in [*left_out.items()][:3])
    return KernelvizError(what, why, "Give two sets of weights of one architecture.")


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
    a: Mapping[str, object],
    b: Mapping[str, object],
    patterns: str | Sequence[str] | None,
    *,
    match: bool,
    progress: Progress | None,
) -> Comparison:
    """Compare two state dicts: tensors of three to five axes are kernels, (out, in / groups, *kernel_size).

    If some of them are called ``weight``, the others are none: they are embeddings of positions, for example. The first
    kernels are taken as those that read the image.
    """
    arrays = [{str(name): as_array(value) for name, value in each.items() if _has_numbers(value)} for each in (a, b)]
    banks = [name for each in arrays for name, array in each.items() if 3 <= array.ndim <= 5]
    banks = [name for name in banks if name.rpartition(".")[2] == "weight"] or banks
    kernels = [{name.removesuffix(".weight"): each[name] for name in each if name in banks} for each in arrays]
    names = [*dict.fromkeys([*kernels[0], *kernels[1]])]
    if not names:
        what = "A and B hold no kernels: no tensors of three to five axes of floating-point numbers."
        raise KernelvizError(what, hint="Give two state dicts, as `network.state_dict()` returns them.")
    chosen = _named(names, patterns) if patterns else names
    if match and patterns:
        _check_reads(chosen, names[0])
    compared, left_out = [], {}
    for name in chosen:
        shapes = [each[name].shape if name in each else None for each in kernels]
        if why := _unlike(*shapes):
            left_out[name] = why
        else:
            first, second = (as_bank(each[name], layout="torch") for each in kernels)
            compared.append(compare_banks(first, second, name))
    if not compared:
        raise _nothing_comparable(left_out, arrays)
    others = [] if patterns else [
        compare_tensors(name, value, arrays[1][name])
        for name, value in arrays[0].items()
        if name in arrays[1] and arrays[1][name].shape == value.shape and is_counted(name) and name not in banks
    ]  # fmt: skip
    found = Comparison(tuple(compared), tuple(others), left_out)
    return _paired(found, names[0], progress) if match else found


def _named(names: Sequence[str], patterns: str | Sequence[str]) -> list[str]:
    """Those of the names that the patterns name, as in ``select_layers``.

    Raises:
        UnknownLayerError: a pattern names none of them.
    """
    network = NetworkNames(tuple(with_containers(names)), (), {})
    chosen: dict[str, None] = {}
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        found = convolutions_of(pattern, names, network)
        if not found:
            raise unknown_layer(pattern, names, "")
        chosen |= dict.fromkeys(found)
    return list(chosen)


def _has_numbers(value: Any) -> bool:
    """Whether a value of a state dict is a tensor or an array of floating-point numbers, and not empty."""
    kind = str(getattr(value, "dtype", ""))
    return "float" in kind and 0 not in getattr(value, "shape", (0,))

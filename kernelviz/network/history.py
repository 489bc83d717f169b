"""Read how kernels changed over the checkpoints of a training: one tensor of each file, where that is enough."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from torch import nn

from kernelviz.errors import BadWeightsError, KernelvizError, UsageError
from kernelviz.network.stored_kernels import stored_bank
from kernelviz.network.weights.checkpoints import Contents, read_contents
from kernelviz.network.weights.stored import STEP_KEYS, StoredWeights, find_stored_weights
from kernelviz.records import Weights, shape_text
from kernelviz.storage.uris import as_path
from kernelviz.views.kernel_history import MOST, NUMBERED, HistoryTally, as_history, as_steps
from kernelviz.wording import counted, last_number, shown

if TYPE_CHECKING:
    from collections.abc import Callable

    from kernelviz.network.architecture import Architecture
    from kernelviz.network.model import Model
    from kernelviz.records import Array, ConvLayer, KernelBank, Progress
    from kernelviz.views.kernel_history import KernelHistory


Given: TypeAlias = "str | os.PathLike[str] | Mapping[str, Any]"
"""A weights file, or the state of a network."""


def read_history(
    model: Model | nn.Module | str | None,
    checkpoints: Any,
    layer: str | None = None,
    *,
    steps: Sequence[float] | None = None,
    channels: str | Sequence[int] | None = None,
    top: int | None = None,
    weights_key: str | None = None,
    model_args: Mapping[str, Any] | None = None,
    on_error: Callable[[int, KernelvizError], None] | None = None,
    progress: Progress | None = None,
) -> KernelHistory:
    """Read how the kernels of a layer changed over a training.

    Of a layer that convolves with its stored weight only this tensor is read from each file, and the network is not built
    for it. Memory holds three banks of the layer, and the kernels that are kept.

    Args:
        model: A name as for ``load_model``, a ``Model``, or any module, which is not changed; None for plain arrays.
        checkpoints: Weights files as ``load_model`` takes them, states (``net.state_dict()``) or modules, in their order;
            or plain weights: one array or tensor (T, O, I, kh, kw), or a list of (O, I, kh, kw). A mapping has the steps
            as keys. States and weights that are kept during a training must be copies, for example
            ``copy.deepcopy(net.state_dict())``, since an optimiser changes tensors in place.
        layer: The name of a convolution; by default the first one.
        steps: The step of each checkpoint. By default that which the files state beside the tensors (``global_step``,
            ``step``, ``iteration`` or ``epoch``), else the last number in their names, else 1, 2, ….
        channels: The kernels whose weights are kept, numbers or a string like ``0-3,7``; by default all.
        top: Keep only as many kernels, those that moved most: 1 − cosine of the first and the last checkpoint.
        weights_key: Where the weights are in each file, as for ``load_model``.
        model_args: Arguments of the class or function that builds the network, if ``model`` is a name.
        on_error: Called with the position and the error of a checkpoint that cannot be used; it is left out. By default
            the error is raised.
        progress: Called with (label, done, total).

    Raises:
        UsageError: the checkpoints are neither files nor states nor arrays, or the steps are not as many.
        UnknownLayerError: the network has no such layer.
        KernelvizError: a checkpoint cannot be used, or fewer than two are left.

    Example:
        >>> network = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU())
        >>> states = {}
        >>> for epoch in range(3):
        ...     with torch.no_grad():
        ...         network[0].weight += 0.1 * torch.randn(8, 3, 3, 3)  # an epoch of training
        ...     states[epoch] = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        >>> history = kernelviz.read_history(network, states, "0")
        >>> history.steps, history.weights.shape
        ((0, 1, 2), (3, 8, 3, 3, 3))
    """
    if isinstance(checkpoints, Mapping):
        checkpoints, steps = list(checkpoints.values()), list(checkpoints) if steps is None else steps
    try:
        given: Any = checkpoints if hasattr(checkpoints, "shape") else _listed(checkpoints)
        count = len(given)
    except TypeError:
        raise UsageError(f"Checkpoints must be a list, but got {shown(repr(checkpoints))}.") from None
    steps = None if steps is None else as_steps(steps)
    check_count(count, steps)
    if hasattr(given, "shape") or all(hasattr(each, "shape") for each in given):
        return as_history(given, steps=steps, channels=channels, top=top)
    given = [_file_or_state(each) for each in given]
    if not isinstance(layer, str | None):
        raise UsageError(f"The layer must be the name of a convolution, but got {shown(repr(layer))}.")
    if model is None:
        raise UsageError(
            "Checkpoints need a model.", hint="Give its name or the network: read_history(net, checkpoints)."
        )
    architecture, load = _opened(model, weights_key, model_args)
    chosen = architecture.select(None if layer is None else [layer])
    if chosen is None or len(chosen) != 1:
        chosen = _selected(model, layer, model_args)
    (found,) = read_histories(
        architecture, given, chosen, load=load, key=weights_key, steps=steps, channels=channels, top=top,
        on_error=on_error or _raise, progress=progress,
    ).values()  # fmt: skip
    if isinstance(found, KernelvizError):
        raise found
    return found


def _listed(checkpoints: Any) -> list[Any]:
    """Checkpoints as a list; the letters of a path are none."""
    if isinstance(checkpoints, str | bytes | os.PathLike):
        raise UsageError(
            f"Checkpoints must be a list of files, but got {shown(str(checkpoints))}.",
            hint="For example sorted(Path('checkpoints').glob('*.pt')).",
        )
    return list(checkpoints)


def _file_or_state(checkpoint: Any) -> Given:
    module = checkpoint if isinstance(checkpoint, nn.Module) else getattr(checkpoint, "module", None)
    if isinstance(module, nn.Module):
        return module.state_dict()
    if not isinstance(checkpoint, str | os.PathLike | Mapping):
        what = f"A checkpoint must be a file, a state_dict() or a module, but got {shown(type(checkpoint).__name__)}."
        raise UsageError(what)
    return checkpoint


def check_count(count: int, steps: Sequence[float] | None) -> None:
    """Check that there are from two to ``MOST`` checkpoints, and as many steps.

    Raises:
        UsageError: there are not.
    """
    if count < 2:
        raise UsageError(f"A history needs two checkpoints or more, but got {counted(count, 'checkpoint')}.")
    if count > MOST:
        raise UsageError(f"A history takes at most {MOST:,} checkpoints, but got {count:,}.")
    if steps is not None and len(steps) != count:
        raise UsageError(f"There must be one step per checkpoint, but got {counted(len(steps), 'step')} for {count:,}.")


def _raise(_: int, error: KernelvizError) -> None:
    raise error


def _opened(
    model: Model | nn.Module | str, key: str | None, arguments: Mapping[str, Any] | None
) -> tuple[Architecture, Callable[[Given], Any]]:
    """The architecture of a network, and a function that returns it with the weights of a checkpoint."""
    from kernelviz.network.kernels import architecture_of
    from kernelviz.network.model import load_model

    if isinstance(model, str):
        name: str = model
        made = architecture_of(load_model(name, weights=None, model_args=arguments))

        def load(checkpoint: Given) -> Any:
            if isinstance(checkpoint, Mapping):
                return _with_state(load_model(name, weights="random", model_args=arguments), checkpoint, key)
            return load_model(name, weights=checkpoint, weights_key=key, model_args=arguments)

        return made, load
    return architecture_of(model), lambda checkpoint: _with_state(model, checkpoint, key)


def _selected(
    model: Model | nn.Module | str, layer: str | None, arguments: Mapping[str, Any] | None
) -> list[ConvLayer]:
    """The one layer of this name.

    Raises:
        UnknownLayerError: there is none.
        UsageError: there are several.
    """
    from kernelviz.network.model import load_model
    from kernelviz.network.named import select_layers

    network = load_model(model, weights=None, model_args=arguments) if isinstance(model, str) else model
    found = select_layers(network, layer)
    if len(found) > 1:
        raise UsageError(f"{shown(layer)} means {len(found)} layers.", hint=f"Choose one, for example {found[0].name}.")
    return found


def _with_state(network: Model | nn.Module, checkpoint: Given, key: str | None) -> nn.Module:
    """A copy of a network with the weights of a checkpoint."""
    import copy

    from kernelviz.network.model import root_of
    from kernelviz.network.weights.searching import find_weights

    module = copy.deepcopy(root_of(network)).eval()

    def build(tensors: dict[str, Any], *, headless: bool) -> nn.Module:
        del tensors, headless
        return module

    return find_weights(_contents(checkpoint, 0), module, build, type(module).__name__, key=key).network


def _contents(checkpoint: Given, at: int, timeout: float = 10.0) -> Contents:
    if isinstance(checkpoint, Mapping):
        name = f"checkpoint {at + 1}"
        return Contents(dict(checkpoint), Path(name), Weights("file", name))
    return read_contents(checkpoint, mapped=True, timeout=timeout)


@dataclass
class _Checkpoint:
    """What is known of a checkpoint once it was read."""

    weights: Weights | None = None
    path: str = ""
    averaged: bool = False
    steps: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


class _Reader:
    """Reads the kernels of layers from checkpoints, and keeps what is known of each checkpoint and its error."""

    def __init__(
        self, architecture: Architecture, given: Sequence[Given], load: Callable[[Given], Any], key: str | None,
        timeout: float,
    ) -> None:  # fmt: skip
        self.architecture, self.given, self._load, self._key, self._timeout = architecture, given, load, key, timeout
        self.known = [_Checkpoint() for _ in given]
        self.errors: dict[int, KernelvizError] = {}
        self.layer_errors: dict[str, dict[int, KernelvizError]] = {}
        self.notes: dict[str, tuple[str, ...]] = {}
        self._adapted = False

    def banks(self, at: int, layers: Sequence[ConvLayer]) -> dict[str, Array]:
        """The kernels of these layers at one checkpoint, by name; without those that cannot be read."""
        if at in self.errors:
            return {}
        try:
            contents = _contents(self.given[at], at, self._timeout)
            stored = self._open(contents, layers, at)
            self.known[at] = _Checkpoint(stored.weights, stored.path, stored.averaged, stored.steps, stored.notes)
            network = None
            if any(self.architecture.weight_of(layer.name) is None for layer in layers):
                network = self._load(self.given[at])
        except KernelvizError as error:
            self.errors[at] = error
            return {}
        found = {}
        for layer in layers:
            try:
                found[layer.name] = self._bank(stored, network, layer, contents)
            except KernelvizError as error:
                self.layer_errors.setdefault(layer.name, {})[at] = error
        return found

    def _open(self, contents: Contents, layers: Sequence[ConvLayer], at: int) -> StoredWeights:
        """The tensors of a file; the first file that is read may state another number of input channels or classes."""
        architecture = self.architecture
        error: BadWeightsError | None = None
        stored = None
        try:
            stored = find_stored_weights(contents, architecture.tensors, architecture.source.model, key=self._key)
        except BadWeightsError as raised:
            error = raised
        if not self._adapted and not isinstance(self.given[at], Mapping):
            if stored is None or any(self._differs(stored, layer) for layer in layers):
                stored = self._adapt(contents, at) or stored
            self._adapted = stored is not None
        if stored is None:
            raise error or BadWeightsError("There are no weights.")
        return stored

    def _differs(self, stored: StoredWeights, layer: ConvLayer) -> bool:
        name = self.architecture.weight_of(layer.name)
        shape = None if name is None else stored.shape(name)
        return shape is not None and name is not None and shape != self.architecture.tensors[name][1]

    def _adapt(self, contents: Contents, at: int) -> StoredWeights | None:
        """Build the network as a file shows it, for example with one input channel; None if it does not fit."""
        from kernelviz.network.kernels import architecture_of

        try:
            made = architecture_of(self._load(self.given[at]))
            stored = find_stored_weights(contents, made.tensors, made.source.model, key=self._key)
        except KernelvizError:
            return None
        self.architecture = replace(made, source=self.architecture.source)
        return stored

    def record(self, layer: ConvLayer) -> ConvLayer:
        """The layer as the checkpoints show it."""
        return next((each for each in self.architecture.layers if each.name == layer.name), layer)

    def _bank(self, stored: StoredWeights, network: Any, layer: ConvLayer, contents: Contents) -> Array:
        name, record = self.architecture.weight_of(layer.name), self.record(layer)
        if name is None:
            from kernelviz.network.kernels import read_kernels

            bank: KernelBank = read_kernels(network, layer.name)
        else:
            shape, wanted = stored.shape(name), self.architecture.tensors[name][1]
            if shape is None:
                raise BadWeightsError(
                    f"{shown(contents.weights.name)} has no kernels of the layer {shown(layer.name)}."
                )
            if shape != wanted:
                raise BadWeightsError(
                    f"The weight of {shown(layer.name)} is {shape_text(shape)}, not {shape_text(wanted)}."
                )
            bank = stored_bank(stored.read(name), record, self.architecture.source)
        self.notes[layer.name] = bank.notes
        return bank.weight


def read_histories(
    architecture: Architecture,
    checkpoints: Sequence[Given],
    layers: Sequence[ConvLayer],
    *,
    load: Callable[[Given], Any],
    key: str | None = None,
    steps: Sequence[float] | None = None,
    channels: str | Sequence[int] | None = None,
    top: int | None = None,
    on_error: Callable[[int, KernelvizError], None],
    progress: Progress | None = None,
    timeout: float = 10.0,
) -> dict[str, KernelHistory | KernelvizError]:
    """The histories of several layers of a network, or why there is none, by the names of the layers.

    Each checkpoint is read once, but for the last and the first one, which are read before the others.

    Args:
        architecture: Of the network.
        checkpoints: Files or states in their order.
        layers: The convolutions.
        load: Returns the network with the weights of a checkpoint; for layers that compute their weight.
        key: Keys and prefix of the weights in each file.
        steps: One per checkpoint.
        channels: The kernels that are kept.
        top: How many are kept, those that moved most.
        on_error: Called once with the position and the error of a checkpoint that cannot be used, for one layer or all.
        progress: Called with (label, done, total).
        timeout: Seconds without progress after which a file of the hub is given up.

    Raises:
        UsageError: a kernel does not exist.
    """
    reader = _Reader(architecture, checkpoints, load, key, timeout)
    last = _ends(reader, layers, range(len(checkpoints) - 1, -1, -1))
    first = _ends(reader, layers, range(len(checkpoints)))
    tallies = {
        layer.name: HistoryTally(
            first[layer.name][1], last[layer.name][1], 1 if layer.expert is not None else layer.groups,
            channels=channels, top=top,
        )
        for layer in layers
        if layer.name in last and first[layer.name][0] != last[layer.name][0]
    }  # fmt: skip
    used: dict[str, list[int]] = {name: [] for name in tallies}
    active = [layer for layer in layers if layer.name in tallies]
    for at in range(len(checkpoints)):
        if progress is not None:
            progress("reading checkpoints", at, len(checkpoints))
        known = {name: bank for ends in (first, last) for name, (where, bank) in ends.items() if where == at}
        unread = [layer for layer in active if layer.name not in known]
        banks = known | (reader.banks(at, unread) if unread else {})
        for name, tally in tallies.items():
            if name in banks:
                tally.add(banks[name])
                used[name].append(at)
    errors = {at: error for each in reader.layer_errors.values() for at, error in each.items()} | reader.errors
    for at, error in sorted(errors.items()):
        on_error(at, error)
    return {
        layer.name: _finished(reader, layer, tallies[layer.name], used[layer.name], steps)
        if layer.name in tallies
        else KernelvizError(
            f"Fewer than two checkpoints hold kernels of {shown(layer.name)}.",
            hint="A history needs two; `kernelviz kernels MODEL --weights FILE` draws one.",
        )
        for layer in layers
    }


def _ends(reader: _Reader, layers: Sequence[ConvLayer], order: range) -> dict[str, tuple[int, Array]]:
    """For each layer the first checkpoint in this order that holds its kernels, and these."""
    found: dict[str, tuple[int, Array]] = {}
    for at in order:
        left = [layer for layer in layers if layer.name not in found]
        if not left:
            break
        found |= {name: (at, bank) for name, bank in reader.banks(at, left).items()}
    return found


def labels_of(checkpoints: Sequence[Given]) -> list[str]:
    """The names of checkpoints, with their folders if several have one name."""
    paths = [None if isinstance(each, Mapping) else as_path(each) for each in checkpoints]
    names = [f"checkpoint {at + 1}" if path is None else shown(path.name) for at, path in enumerate(paths)]
    if len(set(names)) == len(names):
        return names
    return [
        name if path is None else shown(f"{path.parent.name}/{path.name}")
        for name, path in zip(names, paths, strict=True)
    ]


def numbers_in(names: Sequence[str]) -> list[float] | None:
    """The number of ``last_number`` in each name, if the names are equal otherwise; else None."""
    found = [last_number(name) for name in names]
    numbers = [number for number, _ in found if number is not None]
    return numbers if len({rest for _, rest in found}) == 1 and len(numbers) == len(names) else None


def _steps(reader: _Reader, used: Sequence[int], given: Sequence[float] | None) -> tuple[tuple[float, ...], str]:
    """The steps of checkpoints, and where they come from; one number in all files is no step."""
    if given is not None:
        return tuple(given[at] for at in used), "as given"
    for key in STEP_KEYS:
        found = [reader.known[at].steps.get(key) for at in used]
        if all(each is not None for each in found) and len(set(found)) > 1:
            return tuple(each for each in found if each is not None), f"{key} in the files"
    paths = [reader.given[at] for at in used]
    files = [as_path(each) for each in paths if not isinstance(each, Mapping)]
    if len(files) == len(paths):
        for names in ([each.stem for each in files], [each.parent.name for each in files]):
            if (numbers := numbers_in(names)) is not None:
                return tuple(numbers), "the file names"
            if len(set(names)) > 1:
                break
    return tuple(range(1, len(used) + 1)), NUMBERED


def _finished(
    reader: _Reader,
    layer: ConvLayer,
    tally: HistoryTally,
    used: Sequence[int],
    given: Sequence[float] | None,
) -> KernelHistory:
    steps, step_source = _steps(reader, used, given)
    labels = labels_of(reader.given)
    known, names = [reader.known[at] for at in used], [labels[at] for at in used]
    notes = [*reader.notes.get(layer.name, ()), *_notes(reader, used)]
    source = reader.architecture.source
    ends = [re.sub(r"(\.pth)?\.\w+$", "", name).replace("/", "-") for name in (names[0], names[-1])]
    label = f"{_plain_label(source.label)}, weights of {len(used):,} checkpoints, {names[0]} to {names[-1]}"
    digests = [each.weights.sha256 if each.weights else None for each in known]
    digest = None if None in digests else hashlib.sha256("".join(filter(None, digests)).encode()).hexdigest()
    stem = f"{source.stem.removesuffix('.architecture')}.{ends[0]}-to-{ends[1]}"
    weights = Weights("file", f"{names[0]} to {names[-1]}", digest)
    source = replace(source, label=label, stem=stem, weights=weights)
    return tally.result(
        steps, names, layer=reader.record(layer), step_source=step_source, source=source,
        sources=tuple(each.weights for each in known), notes=notes,
        in_memory=all(isinstance(reader.given[at], Mapping) for at in used),
    )  # fmt: skip


def _plain_label(label: str) -> str:
    return label.removesuffix(", architecture alone")


def _notes(reader: _Reader, used: Sequence[int]) -> list[str]:
    """How many checkpoints were left out, whether averaged and plain weights are mixed, and the notes of the files."""
    known = [reader.known[at] for at in used]
    left = len(reader.given) - len(used)
    notes = [f"{left:,} of {counted(len(reader.given), 'checkpoint')} left out"] if left else []
    averaged = [each for each in known if each.averaged]
    if averaged and len(averaged) < len(known):
        notes.append(
            f"averaged weights in {len(averaged):,} of {len(known):,} checkpoints (under `{shown(averaged[0].path)}`), "
            "plain weights in the others: they are not comparable"
        )
    return [*notes, *dict.fromkeys(note for each in known for note in each.notes)]

"""Find the weights of a network in a checkpoint: under any keys, with any prefix, beside anything else."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.parameter import is_lazy

from kernelviz.errors import BadWeightsError
from kernelviz.network.weights.checkpoints import (
    SAVE_WEIGHTS,
    Checkpoint,
    Contents,
    bad_file,
    check_plain,
    fit,
    fits,
    is_counted,
    load_fitting,
    name_list,
    no_tensors,
)
from kernelviz.threads import no_warnings
from kernelviz.wording import counted, shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from typing import Protocol

    from torch import nn

    from kernelviz.records import Weights

    class Build(Protocol):
        """Builds the network that tensors fit, of their number of classes and input channels.

        If they have no classifier, neither has the network, unless ``headless`` is False.
        """

        def __call__(self, tensors: dict[str, Tensor], *, headless: bool) -> nn.Module:
            """The network, in eval mode."""
            ...


_WRAPPED = frozenset({"module", "_orig_mod"})  # what parallel training and torch.compile put into names
_AVERAGED = frozenset({"avg", "ema", "swa", "averaged", "average", "averaging", "polyak", "shadow"})
# What follows a network that is trained, or precedes it: it comes last. A teacher is an average in some methods, and in
# distillation a network of its own; its name does not state which, so it is not taken for an average.
_FOLLOWING = frozenset({"teacher", "target", "momentum", "k", "key", "old", "prev", "previous", "init", "initial"})
_FIRST = ("state_dict", "model")  # of several that fit, after averaged ones
_DEEPEST = 16  # levels of mappings
_MOST_ENTRIES = 3_000_000  # values of a file; a small file may hold one mapping many times
_MOST_CANDIDATES = 12
_SETS_LISTED = 3
_FEW_VALUES = 16

# Left-overs that are no weights of a network. Words are looked for in the first part of a name.
_OF_TRAINING = re.compile(
    r"criteri|loss|metric|(^|_)(acc|accuracy|auroc|auc|f1|confmat|ema|teacher|queue)($|_|\d)", re.IGNORECASE
)
_COUNTERS = frozenset({"total_ops", "total_params", "n_averaged"})  # of profilers and of averaging
_OBSERVERS = re.compile(r"(^|\.)(activation_post_process|\w*fake_quant)(\.|$)")
_QUANTISED = frozenset({"scale", "zero_point"})
_PACKED = re.compile(r"\._packed_params\._packed_params\.([01])$")  # weight and bias of a quantised linear layer
# What optimisers store: tensors of the shapes of the weights, often under their names, but no weights.
_MOMENTS = re.compile(r"(?:max_)?exp_(?:avg|inf)\w*|momentum_buffer|square_avg|acc_delta|grad_avg")
# Keys that suggest an optimiser or gradients. Weights below them are used if they fit completely and no others do.
_OF_OPTIMISERS = re.compile(r"(?:.*_)?(?i:optim(?:i[sz]er)?s?)(?:[_A-Z].*)?|grads?|gradients")
_INDEXED = re.compile(r"^(\w+?)_(\d+)(?=\.)")


@dataclass(frozen=True)
class Entry:
    """One tensor of a file: the keys of the mapping that contains it, joined by dots, and its name there."""

    key: str
    name: str
    tensor: Tensor

    @property
    def plain(self) -> str:
        """The full name, without what parallel training and compiling put into the tensor's own name."""
        return _joined(self.key, _PACKED.sub(lambda end: (".weight", ".bias")[int(end[1])], _unwrapped(self.name)))


@dataclass(frozen=True)
class Candidate:
    """Tensors of a file that have the names of the network's, once ``start`` is taken off.

    ``others`` begin the same, but are called as nothing in the network; ``foreign`` are beside them in the same mapping.
    """

    start: str
    matched: dict[str, Entry]
    others: dict[str, Entry] = field(default_factory=dict)
    foreign: tuple[str, ...] = ()

    @cached_property
    def key(self) -> str:
        """The keys of the mapping that contains the tensors, joined by dots; empty at the top level."""
        keys = {entry.key for entry in self.matched.values()}
        return keys.pop() if len(keys) == 1 else self.start

    @cached_property
    def prefix(self) -> str:
        """What the names in that mapping begin with, before the network's own; ends with a dot if not empty."""
        if len({entry.key for entry in self.matched.values()}) > 1:
            return ""
        begins = [_begin(entry.name, wanted) for wanted, entry in self.matched.items()]
        common = itertools.takewhile(lambda parts: len(set(parts)) == 1, zip(*begins, strict=False))
        return "".join(f"{parts[0]}." for parts in common)

    @property
    def path(self) -> str:
        """What chooses it: the keys and the prefix."""
        return _joined(self.key, self.prefix.rstrip("."))

    @property
    def text(self) -> str:
        """Where it is in the file."""
        under = f"under `{shown(self.key)}`" if self.key else "at the top level"
        return f"{under}, prefix `{shown(self.prefix)}`" if self.prefix else under

    @property
    def is_averaged(self) -> bool:
        """Whether its keys or prefix call the weights an average over the training."""
        return not _AVERAGED.isdisjoint(self.words)

    @property
    def entries(self) -> list[Entry]:
        """All tensors under its keys and prefix."""
        return [*self.matched.values(), *self.others.values()]

    @property
    def words(self) -> list[str]:
        """The words of its keys and prefix."""
        return _words(self.path)

    @property
    def rank(self) -> tuple[bool, bool, int, int]:
        """The lower, the better, of several that fit."""
        first = _FIRST.index(self.path) if self.path in _FIRST else len(_FIRST)
        return not self.is_averaged, not _FOLLOWING.isdisjoint(self.words), first, self.path.count(".")


@dataclass(frozen=True)
class Comparison:
    """A candidate with the network that was built for it, how its tensors fit, and the ``rest`` of the candidates."""

    candidate: Candidate
    network: nn.Module
    tensors: dict[str, Tensor]
    total: int
    lacking: tuple[str, ...]
    unexpected: tuple[str, ...]
    ignored: tuple[str, ...]
    dequantised: tuple[str, ...]
    rest: tuple[Comparison, ...] = ()
    nameless: str = ""
    """Where averaged weights without names are."""

    @property
    def is_complete(self) -> bool:
        """Whether the network gets all its weights, and none of its kind are left over."""
        return not self.lacking and not self.unexpected

    @property
    def matching(self) -> int:
        """The number of the network's tensors that the file has."""
        return self.total - len(self.lacking)

    @property
    def order(self) -> tuple[Any, ...]:
        """The lower, the better: weights that fit completely, most of the network, the rank, few others."""
        averaged = self.candidate.is_averaged and self.is_complete
        return not self.is_complete, not averaged, -self.matching, self.candidate.rank, len(self.unexpected)

    @property
    def text(self) -> str:
        """Where they are in the file, and how they fit if they do not fit completely."""
        path = self.candidate.path
        how = [f"{self.matching} of {self.total} tensors"] if self.lacking else []
        how += [name_list("beside", list(self.unexpected)).replace(":", "", 1)] if self.unexpected else []
        return (f"under `{shown(path)}`" if path else "at the top level") + (f" ({', '.join(how)})" if how else "")

    @property
    def may_be_partial(self) -> bool:
        """Whether the file has most of the network, or the network most of the file, but for a replaced or added end.

        Weights of the network's own modules that are left over before that end belong to another architecture.
        """
        own = list(self.network.state_dict())
        last = max((at for at, name in enumerate(own) if name in self.tensors and name not in self.lacking), default=-1)
        ends = {part: at for at, name in enumerate(own) for part in (*_parents(name), name)}
        other = (*self.unexpected, *(name for name in self.lacking if name in self.tensors))
        places = (next((ends[part] for part in (name, *_parents(name)[::-1]) if part in ends), None) for name in other)
        stray = any(end is not None and end <= last for end in places)
        given = sum(map(is_counted, self.tensors)) + len(self.unexpected) + len(self.candidate.foreign)
        return 2 * self.matching >= min(self.total, given) > 0 and not stray

    @property
    def most_layers_fit(self) -> bool:
        """Whether most layers have all their weights."""
        return 2 * len(self.layers_without) <= len(_layers(filter(is_counted, self.network.state_dict())))

    @property
    def layers_without(self) -> tuple[str, ...]:
        """The layers that lack a tensor."""
        return tuple(_layers(self.lacking))


@dataclass(frozen=True)
class Found:
    """A network with weights from a file, notes about them, and what the model's label states about them."""

    network: nn.Module
    weights: Weights
    notes: tuple[str, ...] = ()
    mark: str = ""


def find_weights(
    contents: Contents,
    default: nn.Module,
    build: Build,
    architecture: str,
    *,
    key: str | None = None,
    partial: bool = False,
) -> Found:
    """Load the weights of a network from the contents of a file.

    Args:
        contents: of the file.
        default: The network as it is by default, even on ``meta``: the names of its tensors are looked for.
        build: Builds the network that given tensors fit.
        architecture: The name of the network, for messages.
        key: Keys and prefix of the weights, joined by dots; empty for the mapping at the top level.
        partial: Load what fits; what the file lacks is filled with NaN.

    Raises:
        BadWeightsError: the file does not contain the weights of the network, or not all of them.
    """
    key = None if key is None else key.rstrip(".")
    best = chosen_weights(contents, default, build, key)
    if best.is_complete:
        return _loaded(contents, best, default, architecture, key)
    if partial and best.may_be_partial:
        return _partially_loaded(contents, best, key)
    raise _misfit(contents, best, default, architecture)


def chosen_weights(contents: Contents, default: nn.Module, build: Build, key: str | None) -> Comparison:
    """The tensors of a file that are the weights of a network, as ``find_weights`` chooses them; they may not fit.

    Raises:
        BadWeightsError: the file contains no tensors, or only the state of an optimiser.
    """
    key = None if key is None else key.rstrip(".")
    every = list(_entries(contents))
    if not every:
        raise no_tensors(contents.file, contents.value)
    entries, doubtful = _weights_alone(every, default)
    if not entries and not doubtful:
        raise _no_weights(contents, every, default)
    best = _best(contents, entries, default, build, key) if entries else None
    if doubtful and not (best and best.is_complete):
        other = _best(contents, [*entries, *doubtful], default, build, key)
        if other.is_complete:
            best = other
    if best is None:
        raise _no_weights(contents, every, default)
    return best


def _best(contents: Contents, entries: list[Entry], default: nn.Module, build: Build, key: str | None) -> Comparison:
    """The weights that fit best, and others beside them."""
    state = default.state_dict()
    below = entries if key is None else _below(contents, entries, key, state)
    candidates = _candidates(contents, below, state, chosen=key is not None) or [_largest(below)]
    rated = [_compare(contents, candidate, build) for candidate in candidates]
    rated.sort(key=lambda each: (each.candidate.path != key, *each.order))
    nameless = _nameless_averages(entries, len(list(default.parameters())))
    rest = tuple(each for each in rated[1:] if 2 * each.matching >= each.total)
    return replace(rated[0], rest=rest, nameless=nameless)


def _nameless_averages(entries: list[Entry], parameters: int) -> str:
    """The path of a list of averaged weights without names; empty if there is none."""
    lists = Counter(path for each in entries if each.tensor.ndim for path in _list_paths(each))
    return next((path for path, number in lists.items() if 2 * number >= parameters > 1), "")


def _list_paths(entry: Entry) -> list[str]:
    path, _, number = _joined(entry.key, entry.name).rpartition(".")
    return [path] if number.isdecimal() and not _AVERAGED.isdisjoint(_words(path)) else []


def _loaded(contents: Contents, best: Comparison, default: nn.Module, architecture: str, key: str | None) -> Found:
    candidate = best.candidate
    weights = replace(contents.weights, key=candidate.key or None, prefix=candidate.prefix or None)
    own = best.network.state_dict()
    without = _layers(name for name in default.state_dict() if is_counted(name) and name not in own)
    notes = []
    if candidate.path or best.rest or best.ignored or without:
        text = f"{best.total} tensors {candidate.text}"
        notes.append("; ".join(filter(None, [text, name_list("built without what the file lacks", without)])))
    notes += more_notes(best)
    notes += fit(best.network, Checkpoint(best.tensors, weights), architecture)
    marks = [_which(best, key), name_list("without", without).replace(":", "", 1)]
    return Found(best.network, weights, tuple(notes), _mark(best, marks))


def _which(best: Comparison, key: str | None) -> str:
    """What a label calls the weights, if there are others, or if they were chosen or averaged."""
    chosen = best.rest or key is not None or best.candidate.is_averaged
    return (shown(best.candidate.path) or "top level") if chosen else ""


def _mark(best: Comparison, marks: list[str]) -> str:
    return ", ".join(filter(None, [*marks, "dequantised" if best.dequantised else ""]))


def _partially_loaded(contents: Contents, best: Comparison, key: str | None) -> Found:
    candidate = best.candidate
    weights = replace(
        contents.weights, key=candidate.key or None, prefix=candidate.prefix or None, missing=best.lacking
    )
    network, lacking = best.network, set(best.lacking)
    tensors = {name: value for name, value in best.tensors.items() if name not in lacking}
    numbers = f"{best.matching} of {best.total} tensors"
    without = name_list("layers without weights", list(best.layers_without))
    notes = ["; ".join(filter(None, [f"{numbers} {candidate.text}", without]))]
    if best.unexpected:
        notes.append(name_list("not of this network", list(best.unexpected)))
    notes += more_notes(best)
    notes += load_fitting(network, Checkpoint(tensors, weights))
    state = network.state_dict()
    with torch.no_grad():
        for name in lacking:
            if state[name].is_floating_point():
                state[name].fill_(float("nan"))
    return Found(network, weights, tuple(notes), _mark(best, [_which(best, key), f"partial: {numbers}"]))


def more_notes(best: Comparison) -> list[str]:
    """Notes about the other sets of weights, about what was ignored and what was dequantised."""
    notes, rest = [], best.rest
    if rest:
        more = f" and {len(rest) - _SETS_LISTED} more" if len(rest) > _SETS_LISTED else ""
        others = ", ".join(each.text for each in rest[:_SETS_LISTED])
        why = "; averaged weights come first" if best.candidate.is_averaged else ""
        notes.append(f"weights of this network are also {others}{more}{why}; --weights-key chooses")
    if best.nameless:
        notes.append(f"the averaged weights under `{shown(best.nameless)}` have no names, and are not used")
    elsewhere = {entry.name for each in rest for entry in each.candidate.entries}
    ignored = [name for name in best.ignored if name not in elsewhere]
    if ignored:
        notes.append(name_list("ignored in the weights file", ignored))
    if best.dequantised:
        verb = "was" if len(best.dequantised) == 1 else "were"
        notes.append(f"{counted(len(best.dequantised), 'quantised tensor')} {verb} dequantised to float32")
    return notes


def _entries(contents: Contents) -> Iterator[Entry]:
    """Every tensor in the mappings of a file.

    A file may set attributes of its tensors and mappings, also those that are called like methods; these are not used.
    """
    visited = itertools.count(1)

    def walk(items: Iterable[tuple[Any, Any]], key: str, begin: str, level: int) -> Iterator[Entry]:
        for name, item in items:
            if level > _DEEPEST or next(visited) > _MOST_ENTRIES:
                raise bad_file(contents.file, "holds more or deeper mappings than weights need")
            if isinstance(item, Tensor):
                if not is_lazy(item):
                    yield Entry(key, f"{begin}{name}", Tensor.detach(item))
            elif isinstance(item, tuple | list) and not _are_pairs(item):
                yield from walk(enumerate(item), key, f"{begin}{name}.", level + 1)
            elif isinstance(item, dict | tuple | list):
                yield from walk(_pairs(item), _joined(key, f"{begin}{name}"), "", level + 1)

    yield from walk(_pairs(contents.value), "", "", 0)


def _pairs(value: object) -> Iterable[tuple[Any, Any]]:
    """Keys and values of a mapping, of a list of such pairs, or of another list, by their numbers."""
    if isinstance(value, dict):
        return dict.items(value)
    if isinstance(value, tuple | list):
        return value if _are_pairs(value) else enumerate(value)
    return ()


def _are_pairs(items: Sequence[object]) -> bool:
    """Whether the items are pairs of a name and a tensor, as of ``list(state_dict.items())``."""
    return len(items) > 0 and all(
        isinstance(each, tuple | list) and len(each) == 2 and isinstance(each[0], str) and isinstance(each[1], Tensor)
        for each in items
    )


def _below(contents: Contents, entries: list[Entry], key: str, state: Mapping[str, Tensor]) -> list[Entry]:
    """The tensors below keys or a prefix.

    Raises:
        BadWeightsError: there are none.
    """
    start = f"{key}."
    found = [each for each in entries if (_joined(each.key, each.name).startswith(start) if key else not each.key)]
    if not found:
        paths = [each.path for each in _candidates(contents, entries, state, chosen=True)]
        paths = list(dict.fromkeys(paths or [each.key for each in entries]))
        more = f" and {len(paths) - _MOST_CANDIDATES} more" if len(paths) > _MOST_CANDIDATES else ""
        named = ", ".join(shown(path) if path else "'' (the top level)" for path in paths[:_MOST_CANDIDATES])
        where = f"under {shown(key)}" if key else "at the top level"
        raise bad_file(contents.file, f"holds no tensors {where}", f"There are tensors under: {named}{more}.")
    return found


def _weights_alone(entries: list[Entry], default: nn.Module) -> tuple[list[Entry], list[Entry]]:
    """The tensors without those of an optimiser, and those whose keys only suggest one."""
    own = {part for name in default.state_dict() for part in name.split(".")}
    weights: list[Entry] = []
    doubtful: list[Entry] = []
    for each in entries:
        parts = [part for part in _parts(each) if part not in own]
        if not any(map(_MOMENTS.fullmatch, parts)):
            (doubtful if any(map(_OF_OPTIMISERS.fullmatch, parts)) else weights).append(each)
    return weights, doubtful


def _no_weights(contents: Contents, entries: list[Entry], default: nn.Module) -> BadWeightsError:
    """The error for a file that holds the state of an optimiser alone."""
    own = {part for name in default.state_dict() for part in name.split(".")}
    found = dict.fromkeys(part for each in entries for part in _parts(each) if part not in own)
    parts = [part for part in found if _MOMENTS.fullmatch(part) or _OF_OPTIMISERS.fullmatch(part)]
    what = f"holds no weights, but the state of an optimiser: {name_list('', parts).removeprefix(': ')}"
    return bad_file(contents.file, what, f"Instead, {SAVE_WEIGHTS}")


def _parts(entry: Entry) -> list[str]:
    return _joined(entry.key, entry.name).split(".")


def _candidates(
    contents: Contents, entries: list[Entry], state: Mapping[str, Tensor], *, chosen: bool
) -> list[Candidate]:
    """The parts of a file that have at least half as many names of the network as the best one, in the file's order.

    If they were ``chosen`` by their keys, of names that are there twice those without ``module.`` are taken.
    """
    wanted = {_unwrapped(name): name for name in state}
    if len(wanted) < len(state):
        wanted = {name: name for name in state}
    depth = max((name.count(".") for name in wanted), default=0)
    found: dict[str, dict[str, Entry]] = {}
    twice: dict[str, tuple[str, Entry]] = {}
    for entry in entries:
        parts = entry.plain.rsplit(".", depth + 1)
        ends = (wanted.get(".".join(parts[at:])) for at in range(len(parts)))
        for at, name in ((at, name) for at, name in enumerate(ends) if name is not None):
            matched = found.setdefault(start := ".".join(parts[:at]), {})
            kept = matched.setdefault(name, entry)
            if kept is entry:
                continue
            if chosen:
                matched[name] = min(kept, entry, key=lambda each: len(_parts(each)))
            elif not _equal(kept.tensor, entry.tensor):
                twice.setdefault(start, (name, entry))
    numbers = {start: sum(map(is_counted, matched)) for start, matched in found.items()}
    most = max(numbers.values(), default=0)
    starts = [start for start, number in numbers.items() if number and 2 * number >= most]
    if len(starts) > _MOST_CANDIDATES:
        starts = sorted(starts, key=numbers.__getitem__, reverse=True)[:_MOST_CANDIDATES]
    for start in filter(twice.__contains__, starts):
        name, entry = twice[start]
        raise _found_twice(contents, name, found[start][name], entry)
    return [_with_others(start, found[start], entries, starts) for start in starts]


def _found_twice(contents: Contents, name: str, first: Entry, second: Entry) -> BadWeightsError:
    """The error for two tensors of one name, with what chooses between them."""
    paths = [_joined(each.key, ".".join(_begin(each.name, name))) for each in (first, second)]
    if paths[0] == paths[1]:
        return bad_file(contents.file, f"cannot be used: it holds {shown(name)} twice, with and without a prefix")
    hint = " or ".join(f"`--weights-key {shown(path) or chr(39) * 2}`" for path in sorted(paths, key=len))
    return bad_file(contents.file, f"holds {shown(name)} twice, with and without a prefix", f"{hint} chooses.")


def _with_others(start: str, matched: dict[str, Entry], entries: list[Entry], sets: list[str]) -> Candidate:
    """A candidate with the other tensors of its mapping; those of another of the ``sets`` inside are not its own."""
    keys, taken = {each.key for each in matched.values()}, {id(each) for each in matched.values()}
    begin = f"{start}." if start else ""
    inside = tuple(f"{each}." for each in sets if each.startswith(begin) and each != start)
    others: dict[str, Entry] = {}
    foreign: list[str] = []
    for each in entries:
        if id(each) in taken or (len(keys) == 1 and each.key not in keys):
            continue
        twice = each.plain.startswith(begin) and each.plain.removeprefix(begin) in matched
        if twice or (inside and each.plain.startswith(inside)):
            foreign.append(each.name)
        elif each.plain.startswith(begin):
            others.setdefault(each.plain.removeprefix(begin), each)
        elif each.key in keys:
            foreign.append(each.name)
    return Candidate(start, matched, others, tuple(foreign))


def _largest(entries: list[Entry]) -> Candidate:
    """The tensors of the largest mapping, none of which has a name of the network."""
    sizes: dict[str, int] = {}
    for each in entries:
        sizes[each.key] = sizes.get(each.key, 0) + 1
    key = max(sizes, key=sizes.__getitem__)
    return Candidate(key, {}, {_unwrapped(each.name): each for each in entries if each.key == key})


def _compare(contents: Contents, candidate: Candidate, build: Build) -> Comparison:
    """Build the network for a candidate, and compare their tensors."""
    tensors, dequantised = {}, []
    for name, entry in candidate.matched.items():
        value = entry.tensor
        check_plain(contents.file, entry.name, value, quantised=True)
        if value.is_quantized:
            dequantised.append(name)
            with no_warnings():
                value = value.dequantize()
        tensors[name] = value
    network = build(tensors, headless=True)
    left = {name: each.tensor for name, each in candidate.others.items() if is_counted(name)}
    if dequantised:  # beside each weight are the scale and the zero of the layer's output
        left = {name: value for name, value in left.items() if name.rpartition(".")[2] not in _QUANTISED}
    unexpected = [name for name, value in left.items() if _is_weight(name, value, network, tensors)]
    if unexpected:
        network = build(tensors, headless=False)
    state = {name: value for name, value in network.state_dict().items() if is_counted(name)}
    extra = [name for name in tensors if is_counted(name) and name not in state]
    ignored = [name for name in left if name not in unexpected]
    return Comparison(
        candidate, network, tensors, len(state),
        tuple(name for name in state if name not in tensors or not fits(tensors[name], state[name])),
        (*unexpected, *extra),
        (*ignored, *filter(is_counted, candidate.foreign)),
        tuple(dequantised),
    )  # fmt: skip


def _is_weight(name: str, value: Tensor, network: nn.Module, tensors: Mapping[str, Tensor]) -> bool:
    """Whether a tensor whose name the network lacks would belong to a layer of a network."""
    leaf = name.rpartition(".")[2]
    if leaf in _COUNTERS or _OBSERVERS.search(name):
        return False
    state = network.state_dict()
    if _top(name) not in {_top(each) for each in state}:
        leaves = {each.rpartition(".")[2] for each in state}
        return not _OF_TRAINING.search(_top(name)) and (leaf in leaves or value.numel() > _FEW_VALUES)
    # A single number of a type that no weight has is a counter.
    return value.numel() != 1 or value.dtype in {each.dtype for each in tensors.values() if each.is_floating_point()}


def _misfit(contents: Contents, best: Comparison, default: nn.Module, architecture: str) -> BadWeightsError:
    """The error for weights that do not fit: what the file is, if that is known, and what to do."""
    if not best.candidate.matched and all(each.name.isdecimal() for each in best.candidate.others.values()):
        return bad_file(contents.file, "holds tensors without names", f"Instead, {SAVE_WEIGHTS}")
    names = set(map(_unwrapped, default.state_dict()))
    numbered = _numbered(best.candidate)
    if numbered and not any(name[0].isdecimal() for name in names):
        what = f"names its layers by numbers ({name_list('it has', numbered)}), as an nn.Sequential of parts does"
        example = name_list("for example", list(default.state_dict())[:2])
        hint = f"Rename its tensors as {architecture} does ({example}), and save them again."
        return bad_file(contents.file, what, hint)
    split = [name for name in best.candidate.others if _INDEXED.sub(r"\1.\2", name) in names]
    if len(split) > best.matching / 2:
        joined = Counter(_top(name) for name in split).most_common(1)[0][0]
        dotted = _INDEXED.sub(r"\1.\2", f"{joined}.")
        return bad_file(
            contents.file,
            f"holds {architecture} as built with features_only=True, which names its parts `{joined}.`, not `{dotted}`",
            f"Rename its tensors, `{joined}.` to `{dotted}` and so on, and save them again.",
        )
    rebuilt = [name for name in best.unexpected if "reparam" in name]
    fitting = best.tensors.keys() - set(best.lacking)
    folded = [name for name in best.unexpected if name.endswith(".bias") and f"{name[:-4]}weight" in fitting]
    unnormalised = sum(name.endswith("running_mean") for name in best.lacking)
    if rebuilt or 2 * len(folded) > unnormalised > 0:
        how = "reparametrised" if rebuilt else "fused, its normalisations folded into the convolutions,"
        return bad_file(
            contents.file,
            f"holds a network that was {how} for inference ({name_list('it has', rebuilt or folded)})",
            "Give the weights from before that; in Python, `kernelviz.read_kernels(network, layer)` reads yours.",
        )
    shown_names = best.unexpected if best.tensors else best.candidate.others
    left = {name: each.tensor for name, each in best.candidate.others.items() if name in shown_names}
    try:
        fit(best.network, Checkpoint(best.tensors | left, contents.weights), architecture)
    except BadWeightsError as error:
        if not best.may_be_partial or "cannot be used" in error.what:
            return error
        layers = name_list("All layers but", list(best.layers_without)).replace(":", "", 1) or "All layers"
        layers = layers if best.most_layers_fit else f"{best.matching} of {best.total} tensors"
        hint = f"{layers} fit: `--partial` (partial=True) uses them."
        return BadWeightsError(
            error.what, error.why, f"{hint} Or name the architecture that the file was trained with."
        )
    raise AssertionError  # pragma: no cover


def _numbered(candidate: Candidate) -> list[str]:
    """The names in its mapping if, after a common prefix, all begin with one of several numbers; else nothing."""
    names = [*(each.name for each in candidate.entries), *candidate.foreign]
    parts = [name.split(".") for name in names]
    same = sum(1 for _ in itertools.takewhile(lambda each: len(set(each)) == 1, zip(*parts, strict=False)))
    firsts = {each[same] for each in parts if len(each) > same + 1}
    short = any(len(each) <= same + 1 for each in parts)
    if len(firsts) < 2 or short or not all(first.isdecimal() for first in firsts):
        return []
    return sorted(names, key=lambda name: int(name.split(".")[same]))


def _layers(names: Iterable[str]) -> list[str]:
    """The modules whose tensors these are."""
    return list(dict.fromkeys(name.rpartition(".")[0] or name for name in names))


def _parents(name: str) -> list[str]:
    """The modules that contain a tensor, from the outermost."""
    parts = name.split(".")
    return [".".join(parts[:at]) for at in range(1, len(parts))]


def _top(name: str) -> str:
    return name.partition(".")[0]


def _words(path: str) -> list[str]:
    """The words of keys, in lower case; a capital begins one: ``modelEMA`` are two."""
    return re.split(r"[._\-\s]", re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", path).lower())


def _joined(key: str, name: str) -> str:
    return f"{key}.{name}" if key and name else key or name


def _unwrapped(name: str) -> str:
    return ".".join(part for part in name.split(".") if part not in _WRAPPED)


def _begin(name: str, wanted: str) -> list[str]:
    """The parts at the beginning of a tensor's name in the file, before the name that the network has for it."""
    left = len(_unwrapped(wanted).split("."))
    parts = _PACKED.sub(".weight", name).split(".")
    while parts and left:
        left -= parts.pop() not in _WRAPPED
    return parts


def _equal(first: Tensor, second: Tensor) -> bool:
    """Whether two tensors have the same bits, as far as that can be compared."""
    try:
        return first is second or (first.dtype == second.dtype and torch.equal(first, second))
    except (RuntimeError, NotImplementedError):
        return False

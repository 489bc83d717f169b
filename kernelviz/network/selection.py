"""Which layers a pattern names: one grammar for ``kernels``, ``features``, ``layers``, ``match`` and ``explain layer``.

A pattern is the first of these that applies:

1. the exact dotted name of a module, ``layer1.0.conv1``; of a module with several names any of them, and a network that
   is a single layer, or has parameters of its own, is named by its class;
2. such a name with a run or a part: ``name#2`` is the second run, ``name:0`` the first tensor of a tuple, or the first
   expert of a CondConv2d. Kernels are the same in every run: there ``name#2`` means the kernels of ``name``;
3. a stage, ``stage:0`` or ``stage:-1``, as timm numbers them, or as ``tracing.stages`` finds them in other networks;
4. a shell pattern over dotted names, in which ``*`` crosses dots.

A module that contains other modules selects the convolutions inside it in ``kernels`` and ``match``, and its only
convolution or pool in ``explain layer``, which takes one layer. In ``features`` it selects itself, and with a kind the
modules of that kind inside it. In ``layers`` it selects the modules inside it, since it has no row of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from kernelviz.errors import UnknownLayerError
from kernelviz.wording import nearest_text, shown, split_name, stage_index

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from kernelviz.records import ConvLayer

TAKE_ALL = "`--layer '*'` takes all of them"
LISTED = "`kernelviz layers MODEL` lists all layers."

_STAGE = "stage:"
_MOST_LISTED = 3


@dataclass(frozen=True)
class LayerMatch:
    """The modules that a pattern names, in the order of their definition, at least one.

    ``exact`` is False for a shell pattern. ``run`` and ``part`` count from 0 and are None unless the pattern contains them;
    ``stage`` is the index of a stage, None for other patterns.
    """

    names: tuple[str, ...]
    exact: bool = True
    run: int | None = None
    part: int | None = None
    stage: int | None = None


def match_layers(pattern: str, modules: Collection[str], stages: Sequence[str], *, hint: str = "") -> LayerMatch | None:
    """The modules that a pattern names; None if there are none.

    Args:
        pattern: As described for this module.
        modules: The names to choose from, in the order of their definition.
        stages: The modules that ``stage:0``, ``stage:1``, ... mean.
        hint: What to do instead, for the error.

    Raises:
        UnknownLayerError: there is no such stage, or no run 0.
    """
    if pattern in modules:
        return LayerMatch((pattern,))
    module, run, part = split_name(pattern)
    if module in modules:
        if run == -1:
            raise UnknownLayerError(f"There is no {shown(pattern)}: runs are counted from 1.", hint=hint)
        return LayerMatch((module,), run=run, part=part)
    if is_stage(pattern):
        index = _stage_index(pattern, stages, hint)
        if stages[index] not in modules:
            why = f"The network calls this stage {shown(stages[index])}, but has no such module."
            raise UnknownLayerError(f"There is no module for {shown(pattern)}.", why, hint)
        return LayerMatch((stages[index],), stage=index)
    names = tuple(name for name in modules if fnmatchcase(name, pattern))
    return LayerMatch(names, exact=False) if names else None


def with_first_name(pattern: str, first_names: Mapping[str, str]) -> str:
    """The pattern with the first name of a module that has several; a run and a part are kept."""
    if pattern in first_names:
        return first_names[pattern]
    module, _, _ = split_name(pattern)
    return first_names.get(module, module) + pattern[len(module) :]


def is_stage(pattern: str) -> bool:
    """Whether a pattern names a stage, unless a module has this name."""
    return pattern.startswith(_STAGE)


def _stage_index(pattern: str, stages: Sequence[str], hint: str) -> int:
    index = stage_index(pattern, len(stages))
    if index is None:
        known = f"Its stages are stage:0 to stage:{len(stages) - 1}." if stages else "This network names no stages."
        raise UnknownLayerError(f"There is no {shown(pattern)}.", known, hint)
    return index


def unknown_layer(pattern: str, names: Iterable[str], hint: str) -> UnknownLayerError:
    """The error for a pattern that names none of these layers, with the nearest of their names."""
    if not pattern:
        return UnknownLayerError("The layer's name is empty.", hint=hint)
    return UnknownLayerError(f"No layer is called {shown(pattern)}.", nearest_text(names, pattern), hint)


def inside_of(names: Iterable[str], container: str) -> list[str]:
    """The names that are this one, are inside the module of this name, or are its experts, ``name:0``."""
    return [name for name in names if name == container or name.startswith((f"{container}.", f"{container}:"))]


def members(match: LayerMatch, names: Sequence[str]) -> list[str]:
    """Those of the names that a match means if a container stands for what is inside it.

    A shell pattern means the names that it matches, and containers only if it matches none of the names.
    """
    matched = set(match.names)
    direct = [name for name in names if name in matched or without_expert(name) in matched]
    if direct and not match.exact:
        return direct
    inside = {name for container in match.names for name in inside_of(names, container)}
    return [name for name in names if name in inside]


@dataclass(frozen=True)
class NetworkNames:
    """The names in a network by which layers are chosen.

    ``modules`` are all but the network itself in the order of definition, ``stages`` what ``stage:0``, ``stage:1``, ...
    mean, and ``first_names`` maps further names of modules to the first one.
    """

    modules: tuple[str, ...]
    stages: tuple[str, ...]
    first_names: Mapping[str, str]


def convolutions_of(pattern: str, names: Sequence[str], network: NetworkNames, hint: str = "") -> list[str]:
    """Those of the convolutions ``names`` of a network that one pattern means.

    Raises:
        UnknownLayerError: there is no such stage, or it contains no convolution.
    """
    if pattern not in network.modules and pattern not in names:
        pattern = with_first_name(pattern, network.first_names)
    match = match_layers(pattern, dict.fromkeys([*network.modules, *names]), network.stages, hint=hint)
    found = members(match, names) if match and not is_missing_part(match, names) else []
    if match and match.stage is not None and not found:
        found = between_stages(names, network, match.stage)
        if not found:
            what = f"{shown(pattern)} contains no convolution. It ends at {shown(match.names[0])}."
            raise UnknownLayerError(what, hint=hint)
    return found


def chosen_records(
    patterns: Sequence[str] | None, layers: Sequence[ConvLayer], network: NetworkNames, first: str
) -> list[ConvLayer] | None:
    """The convolutions among ``layers`` that the patterns name, by default the ``first``; None if one names none.

    Raises:
        UnknownLayerError: there is no such stage.
    """
    records = {layer.name: layer for layer in layers}
    found = [convolutions_of(pattern, list(records), network) for pattern in patterns or ()]
    names = [name for each in found for name in each] if patterns else [first]
    complete = all(found) and all(name in records for name in names)
    return [records[name] for name in dict.fromkeys(names)] if complete else None


def is_missing_part(match: LayerMatch, names: Sequence[str]) -> bool:
    """Whether a match means a part of one of the convolutions ``names`` that it does not have: they return one tensor."""
    return bool(match.part) and any(match.names[0] in (name, without_expert(name)) for name in names)


def between_stages(names: Sequence[str], network: NetworkNames, index: int) -> list[str]:
    """Those of the names between the module of the stage before and that of this one, for stages that end at a module."""
    before = inside_of(network.modules, network.stages[index - 1]) if index else []
    start = network.modules.index(before[-1]) + 1 if before else 0
    between = set(network.modules[start : network.modules.index(network.stages[index])])
    return [name for name in names if name in between or without_expert(name) in between]


def without_expert(name: str) -> str:
    """The module's name in the name of an expert, ``name:0``."""
    module, colon, number = name.rpartition(":")
    return module if colon and number.isdigit() else name


def with_containers(names: Iterable[str]) -> list[str]:
    """The names, each after the modules that contain it: ``a.b.c`` comes after ``a`` and ``a.b``."""
    found: dict[str, None] = {}
    for name in names:
        parts = name.split(".")
        found |= dict.fromkeys(".".join(parts[:length]) for length in range(1, len(parts) + 1))
    return list(found)


def few(names: Sequence[str]) -> str:
    """``a, b, c and 2 more``: up to three of the names."""
    more = len(names) - _MOST_LISTED
    return ", ".join(map(shown, names[:_MOST_LISTED])) + (f" and {more} more" if more > 0 else "")

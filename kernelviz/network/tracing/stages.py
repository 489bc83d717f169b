"""The stages of a network that names none: the last map at each resolution of an observed forward pass."""

from __future__ import annotations

import re
from itertools import groupby
from math import prod
from typing import TYPE_CHECKING

from kernelviz.errors import BrokenPassError, KernelvizError, UnknownLayerError
from kernelviz.network.convolutions import CONVOLUTIONS
from kernelviz.network.model import Model, root_of, usual_input_size
from kernelviz.network.snapshot import is_scripted
from kernelviz.network.tracing import reads
from kernelviz.network.tracing.watch import ObservedPass, blank_batch, observe_pass

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from torch import nn

    from kernelviz.network.tracing.watch import ModuleVisit

_FEW, _MOST = 3, 12
_PASSED_OVER = re.compile(r"Pool|Dropout|StochasticDepth|DropPath|Identity|Flatten|Upsample|Permute")
"""Classes of modules that are no end of a stage."""


def find_stages(network: Model | nn.Module, input_size: tuple[int, ...] | None = None) -> tuple[str, ...]:
    """The stages of a network that names none, by a traced forward pass of an image of ``input_size``.

    Without ``input_size`` it is that of the ``Model``, or the one that is assumed for a network of this kind. If the
    forward pass breaks, they are the stages before that.

    Raises:
        UnknownLayerError: the forward pass fails before the first of them.
    """
    size = input_size or (network.input_size if isinstance(network, Model) else usual_input_size(network))
    try:
        return stages_by_resolution(observe_pass(root_of(network), size, blank_batch(root_of(network), size)))
    except KernelvizError as error:
        before = error.observed if isinstance(error, BrokenPassError) else None
        if isinstance(before, ObservedPass) and (stages := stages_by_resolution(before)):
            return stages
        what = "The network names no stages, and they cannot be found: a forward pass failed."
        raise UnknownLayerError(
            what, error.what, "Name its layers instead: `--layer '*'` takes all of them."
        ) from error


def stages_by_resolution(observed: ObservedPass) -> tuple[str, ...]:
    """The modules whose maps are the last ones at each resolution along the forward pass, by their names.

    A module counts as a whole if the maps of its children have at most two resolutions, as those of a residual block with a
    stride have; otherwise its children are looked at. Maps of a single unit do not count. If a head, or a convolution that
    makes the output, is the last one, the one before it is a stage too. With fewer than three resolutions, the stages are
    the blocks of the module that has most of them. There are at most twelve, evenly spread.
    """
    order = {name: at for at, name in reversed([*enumerate(observed.ended)])}
    found = _Units(observed.network, observed.visits, order)
    groups = [found.ends(group) for _, group in groupby(found.inside(""), found.resolution)]
    groups = [group for group in groups if group]
    stages = [group[-1] for group in groups]
    if groups and (before := found.before_head(groups[-1])):
        stages.insert(-1, before)
    if len(stages) < _FEW:
        stages = max([stages, *map(found.blocks, found.modules)], key=len)
    if len(stages) > _MOST:
        stages = [stages[round(at * (len(stages) - 1) / (_MOST - 1))] for at in range(_MOST)]
    return tuple(stages)


class _Units:
    """The modules of an observed forward pass that have one map of one image, with the number of its units."""

    def __init__(self, network: nn.Module, visits: Mapping[str, ModuleVisit], order: Mapping[str, int]) -> None:
        self.modules = dict(network.named_modules())
        self.visits, self.order = visits, order

    def resolution(self, name: str) -> int:
        """The number of units of a module's map; 0 if it has none, or a single one."""
        visit = self.visits.get(name)
        if not name or visit is None or not visit.given or len(visit.given[0].tensors) != 1 or not visit.shape:
            return 0
        words = reads.layout(visit.found, visit.shape).split()
        sides = [side for word, side in zip(words, visit.shape, strict=True) if set(word) <= set("HWLD")]
        units = prod(sides) if sides and "?" not in words and visit.shape[0] == 1 else 0
        return units if units > 1 else 0

    def _all_children(self, name: str) -> Iterator[str]:
        """The children that ran, and those of children that did not, such as lists of modules."""
        if is_scripted(self.modules[name]):
            return
        for child in self.modules[name]._modules:  # noqa: SLF001
            full = f"{name}.{child}" if name else child
            if full in self.visits:
                yield full
            elif full in self.modules:
                yield from self._all_children(full)

    def children(self, name: str) -> list[str]:
        """The children with a map, in the order in which they ran."""
        return sorted(filter(self.resolution, self._all_children(name)), key=self.order.__getitem__)

    def inside(self, name: str) -> list[str]:
        """The units inside a module, in the order in which they ran."""
        found = [unit for child in self._all_children(name) for unit in self._unit(child)]
        return sorted(dict.fromkeys(found), key=self.order.__getitem__)

    def _unit(self, name: str) -> list[str]:
        """A module alone, or the units inside it if it changes the resolution more than once."""
        if (
            self.resolution(name) and len(set(map(self.resolution, self.children(name)))) <= 2
        ):  # before and after a stride
            return [name]
        return self.inside(name)

    def ends(self, names: Iterable[str]) -> list[str]:
        """The modules that may end a stage."""
        return [name for name in names if not _PASSED_OVER.search(type(self.modules[name]).__name__)]

    def before_head(self, names: Sequence[str]) -> str:
        """The last of the modules of one resolution before a head, or before a convolution at the end; empty if none."""
        *others, last = names
        before = [name for name in others if not isinstance(self.modules[name], CONVOLUTIONS)]
        if before and (isinstance(self.modules[last], CONVOLUTIONS) or _parent(last) != _parent(before[-1])):
            return before[-1]
        return ""

    def blocks(self, name: str) -> list[str]:
        """The children with a map that contain other modules."""
        return [child for child in self.children(name) if any(self.modules[child].children())]


def _parent(name: str) -> str:
    return name.rpartition(".")[0]

"""Which modules of a forward pass are captured, and how their outputs become maps (C, H, W), the right way up.

The observed pass carries for each element its own row, column and channel; a ``Layout`` is what these say of one tensor:
a permutation and, where windows or rolls have moved rows about, the order that puts them back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import TYPE_CHECKING, Literal, NoReturn

import numpy as np
import torch

from kernelviz.errors import KernelvizError, UnknownLayerError, UsageError
from kernelviz.network.convolutions import list_layers
from kernelviz.network.selection import LISTED, TAKE_ALL, inside_of, match_layers, unknown_layer
from kernelviz.network.tracing.reads import POSITION, TORN
from kernelviz.network.tracing.reads import layout as words_of
from kernelviz.network.tracing.trace import receptive_field
from kernelviz.records import shape_text
from kernelviz.wording import shown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from kernelviz.network.selection import LayerMatch
    from kernelviz.network.tracing.rules import Found
    from kernelviz.network.tracing.watch import ObservedPass, RunTensors
    from kernelviz.records import Array
    from kernelviz.traces import Trace


@dataclass(frozen=True, eq=False)
class Layout:
    """How a tensor of ``shape``, that of one image, becomes maps of ``size`` (C, H, W).

    ``order`` puts the dimensions of channels first and those of places last; ``positions`` are the flat positions of the
    map's units along the latter, None where they lie in order already. ``words`` names the dimensions for people.
    """

    shape: tuple[int, ...]
    size: tuple[int, int, int]
    order: tuple[int, ...]
    positions: Array | None
    words: str

    def maps(self, tensor: Tensor) -> Tensor:
        """The maps (C, H, W) of such a tensor: a view of it where that is possible, else a copy."""
        channels, height, width = self.size
        lined = tensor.permute(self.order).reshape(channels, -1)
        if self.positions is not None:
            lined = lined[:, torch.as_tensor(self.positions, device=lined.device)]
        return lined.reshape(channels, height, width)


class NoMapError(Exception):
    """A tensor is no map, or which of its dimensions is which is not known; the message says why."""


def layout_of(found: Found, shape: Sequence[int]) -> Layout:
    """The layout of a tensor of this shape by what the observed forward pass knows of it.

    Raises:
        NoMapError: the elements have no rows and columns, or not one value for each channel at each place.
    """
    shape = tuple(shape)
    if found is None:
        raise NoMapError("it does not depend on the image")
    if found.lost:
        raise NoMapError(f"which dimension is which was lost: {found.lost}")
    if not 1 <= len(found.axes) <= 2:
        raise NoMapError("what the network takes is no image of rows and columns")
    lines = [reads.planes[POSITION] for reads in found.axes]
    if any(line.ndim != len(shape) for line in lines):
        raise NoMapError("which dimension is which was lost")
    channels = _channel_dims(found.channel, shape)
    along = {dim for line in lines for dim in range(len(shape)) if _varies(line, dim)}
    spatial = sorted(along - set(channels))  # merged patches are channels, at the place of their first
    if any((line == TORN).any() for line in lines):
        raise NoMapError("it was put together from several places, as the states of a recurrent layer are")
    _check_dims(shape, spatial, channels, flat=bool(along) and not spatial)
    rest = [dim for dim in range(len(shape)) if dim not in spatial and dim not in channels]
    positions, height, width = _positions(lines, [shape[dim] for dim in spatial], spatial, len(shape))
    size = (prod(shape[dim] for dim in channels), height, width)
    return Layout(shape, size, (*rest, *channels, *spatial), positions, words_of(found, shape))


def _varies(plane: Array, dim: int) -> bool:
    return plane.shape[dim] > 1 and bool((plane.take([0], axis=dim) != plane).any())


def _channel_dims(channel: Array | None, shape: tuple[int, ...]) -> list[int]:
    if channel is None or channel.ndim != len(shape) + 1:
        return []
    return [dim for dim in range(len(shape)) if channel.shape[dim + 1] > 1]


def _check_dims(shape: tuple[int, ...], spatial: list[int], channels: list[int], *, flat: bool) -> None:
    """Each dimension is one of channels, or of places, or has size 1."""
    if not spatial and (flat or len(shape) < 4):
        several = sum(size > 1 for size in shape) > 1
        raise NoMapError(
            "none of its dimensions is rows or columns" if several
            else f"it is a vector of {prod(shape):,} numbers without rows and columns"
        )  # fmt: skip
    for dim, size in enumerate(shape):
        if size > 1 and dim not in spatial and dim not in channels:
            raise NoMapError(f"dimension {dim} of {shape_text(shape)} is neither channels nor places of the image")


def _positions(
    lines: Sequence[Array], sizes: Sequence[int], spatial: Sequence[int], rank: int
) -> tuple[Array | None, int, int]:
    """Where along the flattened dimensions of places each unit of the map lies, and the map's height and width."""
    flat = []
    for line in lines:
        slice_of_one = line[tuple(slice(None) if dim in spatial else 0 for dim in range(rank))]
        flat.append(np.broadcast_to(slice_of_one, sizes).reshape(-1))
    if not spatial:
        return None, 1, 1
    flat = [line if line.min() < line.max() else np.zeros_like(line) for line in flat]  # one row: a mean, a strip
    rows, columns = flat if len(flat) == 2 else (np.zeros_like(flat[0]), flat[0])
    positioned = (rows >= 0) & (columns >= 0)
    row_numbers, row = np.unique(rows[positioned], return_inverse=True)
    column_numbers, column = np.unique(columns[positioned], return_inverse=True)
    height, width = len(row_numbers), len(column_numbers)
    cells = row * width + column
    if not len(cells) or len(cells) != height * width or len(np.unique(cells)) != height * width:
        raise NoMapError("it does not hold exactly one value for each place of a map")
    positions = np.empty(height * width, dtype=np.int64)
    positions[cells] = np.flatnonzero(positioned)
    in_order = len(positioned) == len(positions) and bool((positions == np.arange(len(positions))).all())
    return (None if in_order else positions), height, width


Side = Literal["output", "input"]
KINDS = ("conv", "norm", "act", "pool", "linear", "all")


@dataclass(frozen=True)
class Tap:
    """One tensor to be caught: of which module, in which of its runs (from 0), which part of what it gives."""

    module: str
    run: int
    part: int
    layout: Layout
    name: str
    kind: str
    known: Found

    @cached_property
    def centres(self) -> tuple[Array, Array] | None:
        """The rows and columns of the input where the units' fields have their middle; None where that is not known."""
        found = receptive_field(self.known)
        if found is None or len(found.axes) != 2:
            return None
        lines = []
        for axis, units in zip(found.axes, self.layout.size[1:], strict=True):
            if axis.jump is None or axis.offset is None or len(axis.first) != units:
                return None
            lines.append(axis.offset + axis.jump * np.arange(units) + (axis.size - 1) / 2)
        return lines[0], lines[1]


@dataclass(frozen=True)
class Taps:
    """What is to be caught in a pass, the modules that were asked for but have no map, and why."""

    taps: tuple[Tap, ...]
    without: Mapping[str, str]


def choose_taps(
    observed: ObservedPass,
    trace: Trace,
    patterns: str | Sequence[str] | None,
    *,
    kind: str = "all",
    side: Side = "output",
) -> Taps:
    """The tensors that the patterns name, in the order of the pass.

    A pattern is a module's exact name, with ``#2`` for its second run and ``:0`` for a part of a tuple; a shell pattern
    over dotted names (``*`` crosses dots); or ``stage:0``. Without patterns: the first convolution and the stages.
    A module that is named by itself must have a map; what a glob matches and has none is told in ``without``.

    Raises:
        UnknownLayerError: a pattern matches nothing.
        UsageError: a module that was named has no map (its shape and why), or no such kind or side.
        KernelvizError: a module that was named does not run in a pass.
    """
    if kind not in KINDS:
        raise UsageError(f"The kind must be one of {', '.join(KINDS)}, but got {kind!r}.")
    if side not in ("output", "input"):
        raise UsageError(f"The tap must be output or input, but got {side!r}.")
    patterns = [patterns] if isinstance(patterns, str) else patterns
    if patterns is not None and not (
        isinstance(patterns, Sequence) and all(isinstance(pattern, str) for pattern in patterns)
    ):
        what = f"Layers must be given as one or several names or patterns, but got {patterns!r}."
        raise UsageError(what, hint='Give "layer1", ["layer1", "layer2"], or "*".')
    chosen = _Choice(observed, trace, side, lenient=kind != "all")
    if patterns:
        for pattern in patterns:
            chosen.add(pattern)
    elif kind != "all":
        chosen.add("*")
    else:
        chosen.add_usual()
    if kind != "all":
        chosen.narrow(kind)
    return chosen.taps()


class _Choice:
    """The runs and parts chosen so far, as (module, run, part)."""

    def __init__(self, observed: ObservedPass, trace: Trace, side: Side, *, lenient: bool) -> None:
        self.observed, self.trace, self.side, self.lenient = observed, trace, side, lenient
        self.requested: dict[str, None] = {}
        self.modules = {name: module for name, module in observed.network.named_modules() if name}
        every = observed.network.named_modules(remove_duplicate=False)
        first = {id(module): name for name, module in self.modules.items()}
        self.first_names = {name: first[id(module)] for name, module in every if id(module) in first}
        self.found: dict[tuple[str, int, int], Layout] = {}
        self.without: dict[str, str] = {}

    def add(self, pattern: str) -> None:
        """What one pattern means."""
        pattern = self.first_names.get(pattern, pattern)  # a module may have several names
        match = match_layers(pattern, self.modules, self.trace.stages, parts=True, hint=LISTED)
        if match is None:
            raise unknown_layer(pattern, self.modules, f"{LISTED[:-1]}; {TAKE_ALL}.")
        if match.run is not None or match.part is not None:
            self._add_part(match, pattern)
        elif match.exact:
            self._add_module(match.names[0], named=True)
        else:
            for name in match.names:
                self._add_module(name, named=False)
            if not self.lenient and not any(module in match.names for module, _, _ in self.found):
                name = match.names[0]
                raise UsageError(f"What matches {shown(pattern)} has no map.", f"{name}: {self.without[name]}.")

    def add_usual(self) -> None:
        """The first convolution and the stages, as far as they have a map; else all that has one."""
        ran = set(self.observed.visits)
        convolutions = {layer.name for layer in list_layers(self.observed.network)}
        first = next((layer.name for layer in self.trace.layers if layer.name in convolutions and layer.runs), None)
        for name in dict.fromkeys([*([first] if first else []), *self.trace.stages]):
            if name in self.modules and name in ran:
                self._add_module(name, named=False)
        if not self.found:
            self.add("*")
            self.without.clear()

    def narrow(self, kind: str) -> None:
        """Keep what is of one kind, and take what is of it inside the modules asked for."""
        family = {layer.name: layer.family for layer in self.trace.layers}
        inside = [name for requested in self.requested for name in inside_of(self.modules, requested)]
        for name in inside:
            if family.get(name) == kind and name not in self.requested:
                self._add_module(name, named=False)
        known = {str(family[name]) for name in dict.fromkeys([*self.requested, *inside]) if name in family}
        self.found = {key: layout for key, layout in self.found.items() if family.get(key[0]) == kind}
        self.without = {name: why for name, why in self.without.items() if family.get(name) == kind}
        if self.found:
            return
        for name, why in self.without.items():
            raise UsageError(f"None of the requested layers of kind {kind} has a map.", f"{name}: {why}.")
        others = ", ".join(other for other in KINDS if other in known)
        why = f"Their kinds: {others}." if others else ""
        raise UnknownLayerError(
            f"None of the requested layers is of kind {kind}.", why, "Give `--kind all` for every kind."
        )

    def taps(self) -> Taps:
        """What was chosen, in the order of the pass."""
        order = {name: position for position, name in enumerate(dict.fromkeys(self.observed.ended))}
        taps = tuple(
            Tap(*key, layout, self._name(*key), type(self.modules[key[0]]).__name__, self._known(*key))
            for key, layout in sorted(self.found.items(), key=lambda item: (order[item[0][0]], item[0]))
        )
        return Taps(taps, self.without)

    def _passed(self, name: str) -> Sequence[RunTensors]:
        visit = self.observed.visits[name]
        return visit.given if self.side == "output" else visit.taken

    def _name(self, module: str, run: int, part: int) -> str:
        text = module if run == 0 else f"{module}#{run + 1}"
        return text if self._passed(module)[run].alone else f"{text}:{part}"

    def _known(self, module: str, run: int, part: int) -> Found:
        return self._passed(module)[run].tensors[part][1]

    def _add_module(self, name: str, *, named: bool) -> None:
        """All runs and parts of a module that are maps; one that is ``named`` has to have one, unless kinds are chosen."""
        self.requested[name] = None
        named = named and not self.lenient
        if name not in self.observed.visits:
            if named:
                raise KernelvizError(
                    f"The layer {shown(name)} did not run.",
                    "The network contains it, but the forward pass does not reach it.",
                    "`kernelviz layers MODEL` lists the layers that run.",
                )
            self.without[name] = "it did not run"
            return
        keys = [(run, part) for run, passed in enumerate(self._passed(name)) for part in range(len(passed.tensors))]
        reasons = [reason for run, part in keys if (reason := self._add_tensor(name, run, part))]
        if len(reasons) == len(keys):
            self.without[name] = why = (
                reasons[0] if reasons else f"it {'takes' if self.side == 'input' else 'gives'} no tensor"
            )
            if named:
                self._refuse_map(name, why)

    def _add_tensor(self, module: str, run: int, part: int) -> str:
        """Choose one tensor; where it is no map, its shape and why."""
        shape, known = self._passed(module)[run].tensors[part]
        try:
            self.found[module, run, part] = layout_of(known, shape)
        except NoMapError as error:
            return f"its {self.side} {shape_text(shape)} is no map: {error}"
        return ""

    def _add_part(self, match: LayerMatch, pattern: str) -> None:
        """One run, one part, or both, of a module."""
        module, run, part = match.names[0], match.run, match.part
        self.requested[module] = None
        if module not in self.observed.visits:
            self._add_module(module, named=True)
        passed = self._passed(module)
        runs = range(len(passed)) if run is None else [run]
        if not all(0 <= each < len(passed) for each in runs):
            raise UnknownLayerError(f"{module} runs {_counted(len(passed), 'time')}, so there is no {shown(pattern)}.")
        reasons = []
        for each in runs:
            parts = range(len(passed[each].tensors)) if part is None else [part]
            if not all(number < len(passed[each].tensors) for number in parts):
                verb, count = (
                    "takes" if self.side == "input" else "gives",
                    _counted(len(passed[each].tensors), "tensor"),
                )
                raise UnknownLayerError(f"{module} {verb} {count}, so there is no {shown(pattern)}.")
            reasons += [reason for number in parts if (reason := self._add_tensor(module, each, number))]
            if len(reasons) == len(parts):
                self._refuse_map(pattern, reasons[0])

    def _refuse_map(self, name: str, why: str) -> NoReturn:
        raise UsageError(
            f"The layer {shown(name)} has no map.",
            f"{why[0].upper()}{why[1:]}.",
            "`--layer '*'` draws all layers that have one.",
        )


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"

"""Which tensors of a forward pass are captured, and how they become maps (C, H, W) in the orientation of the image.

The observed forward pass knows the row, column and channel of each element of a tensor. A ``Layout`` is derived from
these: a permutation and, if windows or rolls have moved rows, the order that restores them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from typing import TYPE_CHECKING, Literal, NoReturn

import numpy as np
import torch

from kernelviz.errors import UnknownLayerError, UsageError
from kernelviz.network.convolutions import list_layers
from kernelviz.network.selection import LISTED, TAKE_ALL, inside_of, match_layers, unknown_layer, with_first_name
from kernelviz.network.snapshot import SCRIPTED, is_scripted, scripted_error
from kernelviz.network.tracing.reads import POSITION, SEVERAL_IMAGES, TORN, TensorReads, located
from kernelviz.network.tracing.reads import layout as words_of
from kernelviz.network.tracing.trace import centres_with_padding, receptive_field, unsettled
from kernelviz.records import shape_text
from kernelviz.traces import no_such_run, not_reached
from kernelviz.wording import inflected, shown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from kernelviz.network.selection import LayerMatch
    from kernelviz.network.tracing.rules import Found
    from kernelviz.network.tracing.watch import ObservedPass, RunTensors
    from kernelviz.records import Array, Field
    from kernelviz.traces import Trace


@dataclass(frozen=True, eq=False)
class Layout:
    """How a tensor of ``shape``, for one image, becomes maps of ``size`` (C, H, W).

    ``order`` moves the dimensions of channels to the front and those of rows and columns to the end; ``positions`` are the
    flat indices of the map's units along the latter, None if they are in order. ``words`` names the dimensions as text.
    Maps of three axes have the size (C, D, H, W). ``rows`` is the size of a first axis that is not that of the images, such
    as one row per box: ``shape`` is then that of one row.
    """

    shape: tuple[int, ...]
    size: tuple[int, ...]
    order: tuple[int, ...]
    positions: Array | None
    words: str
    rows: int = 1

    @property
    def has_rows(self) -> bool:
        """Whether the first axis may have any size, since it has neither channels nor positions of a map."""
        return self.order[0] == 0 and self.shape[0] == 1

    def maps(self, tensor: Tensor) -> Tensor:
        """The maps (C, H, W) of such a tensor: a view of it if that is possible, else a copy."""
        channels, *sides = self.size
        lined = tensor.permute(self.order).reshape(channels, -1)
        if self.positions is not None:
            lined = lined[:, torch.as_tensor(self.positions, device=lined.device)]
        return lined.reshape(channels, *sides)


class NoMapError(Exception):
    """A tensor is not a map, or the meaning of its dimensions is not known; the message is the reason."""


def layout_of(found: Found, shape: Sequence[int]) -> Layout:
    """The layout of a tensor of this shape, from what is known of it.

    Raises:
        NoMapError: the elements have no rows and columns, or not one value per channel and position.
    """
    shape = tuple(shape)
    if shape[:1] != (1,) and _has_rows(found, shape):
        return replace(layout_of(found, (1, *shape[1:])), rows=shape[0])
    if 0 in shape:
        raise NoMapError("it has no values")
    if found is None:
        raise NoMapError("it does not depend on the image")
    if found.lost and not found.axes:
        raise NoMapError(f"which dimension is which was lost: {found.lost}")
    if not 1 <= len(found.axes) <= 3:
        raise NoMapError("the network's input has neither one, two nor three axes")
    lines = [reads.planes[POSITION] for reads in found.axes]
    if any(line.ndim != len(shape) for line in lines):
        raise NoMapError("which dimension is which was lost")
    channels = _channel_dims(found.channel, shape)
    along = {dim for line in lines for dim in range(len(shape)) if _varies(line, dim)}
    spatial = sorted(along - set(channels))  # merged patches are channels, at the position of their first
    if any((line == TORN).any() for line in lines):
        raise NoMapError("it was put together from several places, as the states of a recurrent layer are")
    if found.several_images or (0 in along.intersection(channels) and len(shape) > len(found.axes) + 1):
        raise NoMapError(SEVERAL_IMAGES)
    _check_dims(shape, spatial, channels, flat=bool(along) and not spatial)
    rest = [dim for dim in range(len(shape)) if dim not in spatial and dim not in channels]
    positions, sides = _positions(lines, [shape[dim] for dim in spatial], spatial, len(shape))
    size = (prod(shape[dim] for dim in channels), *(1,) * (2 - len(sides)), *sides)
    return Layout(shape, size, (*rest, *channels, *spatial), positions, words_of(found, shape))


def _has_rows(found: Found, shape: tuple[int, ...]) -> bool:
    """Whether a tensor holds maps (C, H, W) in order along a first axis that is neither theirs nor that of the image."""
    rank = len(shape)
    if found is None or not found.axes or rank != len(found.axes) + 2:
        return False
    lines = [reads.planes[POSITION] for reads in found.axes]
    if any(line.ndim != rank for line in lines) or not set(_channel_dims(found.channel, shape)) <= {1}:
        return False
    return all(set(reads.varies_along) <= {dim + 2} for dim, reads in enumerate(found.axes))


def _varies(plane: Array, dim: int) -> bool:
    return plane.shape[dim] > 1 and bool((plane.take([0], axis=dim) != plane).any())


def _channel_dims(channel: Array | None, shape: tuple[int, ...]) -> list[int]:
    if channel is None or channel.ndim != len(shape) + 1:
        return []
    return [dim for dim in range(len(shape)) if channel.shape[dim + 1] > 1]


def _check_dims(shape: tuple[int, ...], spatial: list[int], channels: list[int], *, flat: bool) -> None:
    """Check that each dimension is one of channels or positions, or has size 1."""
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
) -> tuple[Array | None, tuple[int, ...]]:
    """The flat index of each unit of the map along the spatial dimensions, and the sides of the map."""
    flat = []
    for line in lines:
        slice_of_one = line[tuple(slice(None) if dim in spatial else 0 for dim in range(rank))]
        flat.append(np.broadcast_to(slice_of_one, sizes).reshape(-1))
    if not spatial:
        return None, (1,) * len(lines)
    flat = [line if line.min() < line.max() else np.zeros_like(line) for line in flat]  # one row: a mean, a strip
    positioned = np.logical_and.reduce([line >= 0 for line in flat])
    numbered = [np.unique(line[positioned], return_inverse=True) for line in flat]
    sides = tuple(len(numbers) for numbers, _ in numbered)
    units = prod(sides)
    if not units or np.count_nonzero(positioned) != units:
        raise NoMapError("it does not hold exactly one value for each place of a map")
    cells = np.ravel_multi_index([at for _, at in numbered], sides)
    if len(np.unique(cells)) != units:
        raise NoMapError("it does not hold exactly one value for each place of a map")
    positions = np.empty(units, dtype=np.int64)
    positions[cells] = np.flatnonzero(positioned)
    in_order = len(positioned) == units and bool((positions == np.arange(units)).all())
    return (None if in_order else positions), sides


Side = Literal["output", "input"]
_NOT_RUN = "it did not run"
KINDS = ("conv", "norm", "act", "pool", "linear", "all")


@dataclass(frozen=True)
class Tap:
    """One tensor to capture: its module, the number of the run (from 0), and the part of the output.

    ``named``: its exact name was given, so that it must have a map.
    """

    module: str
    run: int
    part: int
    layout: Layout
    name: str
    kind: str
    known: Found
    sides: tuple[int, ...]
    named: bool
    runs: int = 1

    @property
    def exact_name(self) -> str:
        """A name that stands for this tensor alone: of a layer that runs again, ``layer#1`` for the first run."""
        if self.runs == 1 or self.run:
            return self.name
        return f"{self.module}#1{self.name.removeprefix(self.module)}"

    @property
    def notes(self) -> tuple[str, ...]:
        """Why the receptive fields are not known, if they are not."""
        lost = self.known.lost if self.known is not None else ""
        return (f"receptive field unknown: {lost}",) if lost else ()

    @cached_property
    def _observed(self) -> Field | None:
        """The receptive fields as in this forward pass; None if they are not known."""
        return receptive_field(self.known)

    @cached_property
    def field(self) -> Field | None:
        """The receptive fields of the units of a map of rows and columns; None if they are not known.

        A size that depends on the size of the image is None.
        """
        found = self._observed
        if self.known is None or found is None or len(found.axes) != 2:
            return None
        if any(len(axis.first) != units for axis, units in zip(found.axes, self.layout.size[1:], strict=True)):
            return None
        axes = (
            replace(axis, size=None) if reads.torn or self.known.uncertain else axis
            for axis, reads in zip(found.axes, self.known.axes, strict=True)
        )
        return replace(found, axes=tuple(axes))

    @property
    def lost(self) -> str:
        """Why the receptive fields are not known; empty if they are."""
        if self.field is not None:
            return ""
        if len(self.layout.size) != 3:
            return "its maps do not have rows and columns"
        known = self.known
        return (known.lost or unsettled(known) if known is not None else "") or "it has no receptive field"

    @cached_property
    def centres(self) -> tuple[Array, Array] | None:
        """The centres of the receptive fields as rows and columns of the input; None if they are not known or irregular.

        Those of units that read padding of the batch are beyond the image.
        """
        found = self._observed
        if found is None or len(found.axes) != 2:
            return None
        lines = []
        for axis, units in zip(found.axes, self.layout.size[1:], strict=True):
            if axis.size is None or axis.jump is None or axis.offset is None or len(axis.first) != units:
                return self._centres_with_padding
            lines.append(axis.offset + axis.jump * np.arange(units) + (axis.size - 1) / 2)
        return lines[0], lines[1]

    @property
    def _centres_with_padding(self) -> tuple[Array, Array] | None:
        found = None if self.known is None else centres_with_padding(self.known, self.sides)
        if found is None or tuple(map(len, found)) != self.layout.size[1:]:
            return None
        return found[0], found[1]


@dataclass(frozen=True)
class Taps:
    """The tensors to capture, why requested modules have no map, and those that a broken forward pass did not reach."""

    taps: tuple[Tap, ...]
    without: Mapping[str, str]
    missing: tuple[str, ...] = ()


def choose_taps(
    observed: ObservedPass,
    trace: Trace,
    patterns: str | Sequence[str] | None,
    *,
    kind: str = "all",
    side: Side = "output",
    broken: bool = False,
) -> Taps:
    """The tensors that the patterns name, in the order of the forward pass.

    Of a ``broken`` forward pass those are chosen that it reached, the others are listed in ``missing``; there may be none.

    A pattern is a module's exact name, with ``#2`` for its second run and ``:0`` for a part of a tuple; a shell pattern
    over dotted names (``*`` crosses dots); or ``stage:0``. By default: the first convolution and the stages. A module that
    contains others stands for itself. A module named exactly must have a map; those without one that a shell pattern
    matches are listed in ``without``.

    Raises:
        UnknownLayerError: a pattern matches nothing.
        UsageError: a named module has no map, or there is no such kind or side.
        KernelvizError: a named module does not run in a forward pass.
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
    chosen = _Choice(observed, trace, side, lenient=kind != "all", broken=broken)
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


_NOT_PLACES = "its rows and columns are not those of the image"


class _Choice:
    """The tensors chosen so far, as (module, run, part)."""

    def __init__(
        self, observed: ObservedPass, trace: Trace, side: Side, *, lenient: bool, broken: bool = False
    ) -> None:
        self.observed, self.trace, self.side, self.lenient, self.broken = observed, trace, side, lenient, broken
        self.requested: dict[str, None] = {}
        self.named: set[str] = set()
        self.modules = {name: module for name, module in observed.network.named_modules() if name}
        self.title = type(observed.network).__name__
        self.found: dict[tuple[str, int, int], Layout] = {}
        self.assumed: dict[tuple[str, int, int], TensorReads] = {}  # maps by the contract of the operation alone
        self.without: dict[str, str] = {}

    def add(self, pattern: str) -> None:
        """Add the tensors that one pattern names."""
        if pattern not in self.modules:
            pattern = with_first_name(pattern, self.trace.first_names)
        if pattern == self.title and pattern not in self.modules:
            self.modules[""] = self.observed.network
            self._add_module("", named=True)
            return
        match = match_layers(pattern, self.modules, self.trace.stages, hint=LISTED)
        if match is None:
            raise unknown_layer(pattern, self.modules, f"{LISTED[:-1]}; {TAKE_ALL}.")
        if match.run is not None or match.part is not None:
            self._add_part(match, pattern)
        elif match.exact:
            self._add_module(match.names[0], named=True)
        else:
            for name in match.names:
                self._add_module(name, named=False)
            seen = [name for name in match.names if self.without.get(name) != _NOT_RUN]
            if not self.lenient and not any(module in match.names for module, _, _ in self.found):
                if self.broken and not seen:
                    return
                name = (seen or match.names)[0]
                raise UsageError(f"What matches {shown(pattern)} has no map.", f"{shown(name)}: {self.without[name]}.")

    def add_usual(self) -> None:
        """Add the first run of the first convolution and of the stages that have a map; if none has, all that have one."""
        ran = set(self.observed.visits)
        convolutions = {layer.name for layer in list_layers(self.observed.network)}
        first = next((layer.name for layer in self.trace.layers if layer.name in convolutions and layer.runs), None)
        for name in dict.fromkeys([*([first] if first else []), *self.trace.stages]):
            if name in self.modules and (name in ran or self.broken):
                self._add_module(name, named=False)
        self.found = {key: layout for key, layout in self.found.items() if key[1] == 0}
        if not self.found:
            missing = {name: why for name, why in self.without.items() if self.broken and why == _NOT_RUN}
            self.add("*")
            self.without = missing

    def narrow(self, kind: str) -> None:
        """Keep the modules of one kind, and add those of this kind inside the requested modules."""
        family = {layer.name: layer.family for layer in self.trace.layers}
        inside = [name for requested in self.requested for name in inside_of(self.modules, requested)]
        for name in inside:
            if family.get(name) == kind and name not in self.requested:
                self._add_module(name, named=False)
        known = {str(family[name]) for name in dict.fromkeys([*self.requested, *inside]) if name in family}
        self.found = {key: layout for key, layout in self.found.items() if family.get(key[0]) == kind}
        self.without = {name: why for name, why in self.without.items() if family.get(name) == kind}
        if self.found or (self.broken and _NOT_RUN in self.without.values()):
            return
        for name, why in self.without.items():
            raise UsageError(f"None of the requested layers of kind {kind} has a map.", f"{shown(name)}: {why}.")
        others = ", ".join(other for other in KINDS if other in known)
        why = f"Their kinds: {others}." if others else ""
        raise UnknownLayerError(
            f"None of the requested layers is of kind {kind}.", why, "Give `--kind all` for every kind."
        )

    def taps(self) -> Taps:
        """The chosen tensors in the order of the forward pass."""
        sides = tuple(self.trace.input_size[1:])
        order = {name: position for position, name in enumerate(dict.fromkeys(self.observed.ended))}
        taps = tuple(
            Tap(
                *key,
                layout,
                self._name(*key),
                type(self.modules[key[0]]).__name__,
                self._known(*key),
                sides,
                key[0] in self.named,
                len(self._passed(key[0])),
            )
            for key, layout in sorted(self.found.items(), key=lambda item: (order[item[0][0]], item[0]))
        )
        if not self.broken:
            return Taps(taps, self.without)
        missing = tuple(name for name, why in self.without.items() if why == _NOT_RUN)
        return Taps(taps, {name: why for name, why in self.without.items() if name not in missing}, missing)

    def _passed(self, name: str) -> Sequence[RunTensors]:
        visit = self.observed.visits[name]
        return visit.given if self.side == "output" else visit.taken

    def _name(self, module: str, run: int, part: int) -> str:
        text = module or self.title
        text = text if run == 0 else f"{text}#{run + 1}"
        return text if self._passed(module)[run].alone else f"{text}:{part}"

    def _known(self, module: str, run: int, part: int) -> Found:
        return self.assumed.get((module, run, part)) or self._passed(module)[run].tensors[part][1]

    def _add_module(self, name: str, *, named: bool) -> None:
        """Add all maps of a module; a ``named`` module must have one, unless a kind is chosen."""
        self.requested[name] = None
        named = named and not self.lenient
        if named:
            self.named.add(name)
        if is_scripted(self.modules[name]):
            if named:
                raise scripted_error(name)
            self.without[name] = SCRIPTED
            return
        if name not in self.observed.visits:
            if named and not self.broken:
                raise not_reached(name, "`kernelviz layers MODEL` lists the layers that run.")
            self.without[name or self.title] = _NOT_RUN
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
        """Add one tensor; return the reason if it is not a map."""
        passed = self._passed(module)[run]
        shape, known = passed.tensors[part]
        try:
            self.found[module, run, part] = layout_of(known, shape)
        except NoMapError as error:
            if known is None or not passed.maps[part] or len(shape) != len(known.axes) + 2 or 0 in shape:
                return f"its {self.side} {shape_text(shape)} is not a map: {error}"
            self.assumed[module, run, part] = assumed = located(shape, _NOT_PLACES)
            self.found[module, run, part] = layout_of(assumed, shape)
        return ""

    def _add_part(self, match: LayerMatch, pattern: str) -> None:
        """Add one run, one part, or both, of a module."""
        module, run, part = match.names[0], match.run, match.part
        self.named.add(module)
        self.requested[module] = None
        if module not in self.observed.visits:
            self._add_module(module, named=True)
            return
        passed = self._passed(module)
        runs = range(len(passed)) if run is None else [run]
        if not all(0 <= each < len(passed) for each in runs):
            if self.broken:
                self.without[pattern] = _NOT_RUN
                return
            raise no_such_run(module, len(passed), pattern)
        reasons = []
        for each in runs:
            many = len(passed[each].tensors)
            parts = range(many) if part is None else [part]
            if not all(number < many for number in parts):
                verb, count = "takes" if self.side == "input" else "gives", f"{many} {inflected(many, 'tensor')}"
                raise UnknownLayerError(f"{shown(module)} {verb} {count}, so there is no {shown(pattern)}.")
            reasons += [reason for number in parts if (reason := self._add_tensor(module, each, number))]
            if len(reasons) == len(parts):
                self._refuse_map(pattern, reasons[0])

    def _refuse_map(self, name: str, why: str) -> NoReturn:
        raise UsageError(
            f"The layer {shown(name)} has no map.",
            f"{why[0].upper()}{why[1:]}.",
            "`--layer '*'` draws all layers that have one.",
        )

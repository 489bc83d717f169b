"""Many layers in one forward pass: each map with the convolution that made it, and the strongest terms of its values."""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch

from kernelviz.errors import KernelvizError, UsageError
from kernelviz.network.capture import CaptureHooks, run_through
from kernelviz.network.classes import first_classes
from kernelviz.network.convolutions import CONVOLUTIONS
from kernelviz.network.model import Model
from kernelviz.network.units import CallRecorder, LayerReads, recorded_call
from kernelviz.traces import UnitTerms

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from torch import nn

    from kernelviz.network.capture import CapturePlan
    from kernelviz.network.inputs import Input
    from kernelviz.records import Array, ClassScore, ConvLayer, FeatureMaps

    OnLayer = Callable[[FeatureMaps, "LayerRun | KernelvizError | None"], object]


_AT_ONCE = 2**18
"""Factors that are multiplied at once, so that they stay near the processor."""


@dataclass(frozen=True, eq=False)
class LayerRun:
    """A convolution as it ran: what its values are computed from.

    ``reads_input``: its input is the network's own. ``reads_image``: so it is, with rows and columns, and each value reads
    all channels. ``zeros``: what is around its input are zeros, not repeated rows.
    """

    reads: LayerReads
    reads_image: bool
    reads_input: bool

    @property
    def record(self) -> ConvLayer:
        """The sizes of the layer as it ran."""
        return self.reads.record

    @property
    def pointwise(self) -> bool:
        """Whether its windows are single values."""
        return math.prod(self.reads.call.weight.shape[2:]) == 1

    @property
    def zeros(self) -> bool:
        """Whether the padding is zeros, not mirrored, repeated or wrapped rows."""
        return not self.reads.call.filling

    @property
    def in_float32(self) -> bool:
        """Whether the network multiplies in float32."""
        return self.reads.call.weight.dtype == self.reads.call.source.dtype == torch.float32

    @property
    def around(self) -> tuple[int, int, int, int]:
        """(top, bottom, left, right): the padding, including what the layer adds itself."""
        return self.reads.around

    @property
    def stride(self) -> tuple[int, int]:
        """The stride of rows and columns."""
        rows, columns = self.reads.sides
        return rows[1], columns[1]

    @property
    def dilation(self) -> tuple[int, int]:
        """The dilation of rows and columns."""
        rows, columns = self.reads.sides
        return rows[3], columns[3]

    def weights(self, channels: Sequence[int]) -> tuple[Array, Array | None]:
        """The weights (n, inputs, kh, kw) of some channels of a convolution that is not transposed, and their biases."""
        bias = self.reads.bias
        return self.reads.weight[list(channels)], None if bias is None else bias[list(channels)]

    def extremes(self, channels: Sequence[int]) -> Array:
        """The units (n, 3) to work out: of each channel the largest value in size, and the largest of the other sign.

        No channel is named twice. The units are chosen where the window contains no padding, if there is such a place: a
        padded layer has its largest values at its border.
        """
        reads, numbers, maps = self.reads, np.arange(len(self.reads.output)), self.reads.output
        if len(channels) < len(maps):
            numbers = np.sort(np.asarray(channels))
            maps = maps[numbers]
        places, values = _extremes(maps, reads.inside)
        if not np.isfinite(values).all():
            places, values = _extremes(np.nan_to_num(maps, nan=0.0, posinf=0.0, neginf=0.0), reads.inside)
        upward = values[0] >= -values[1]
        both = np.stack([np.where(upward, *places), np.where(upward, *places[::-1])], axis=1)
        chosen = np.ones(both.shape, bool)
        chosen[:, 1] = np.where(upward, values[1] < 0, values[0] > 0)
        at = np.empty((np.count_nonzero(chosen), 3), np.int64)
        at[:, 0] = numbers if len(at) == len(numbers) else np.repeat(numbers, chosen.sum(axis=1))
        np.divmod(both[chosen], maps.shape[2], out=(at[:, 1], at[:, 2]))
        return at

    def terms(self, at: Array, most: int) -> UnitTerms:
        """Units at (n, 3) channels in ascending order, rows and columns, with the ``most`` strongest terms of each.

        Values, factors and the sums of the terms are those of ``trace_unit``; equal sums may be in another order.
        """
        reads, (channels, *position) = self.reads, np.ascontiguousarray(at.T)
        places, taps = self._places(*position)
        chosen = most < reads.inputs
        numbers = (
            self._strongest(channels, places.reshape(len(at), -1), most)
            if chosen
            else np.array(reads.numbers(channels))
        )
        windows, kernels = self._windows(numbers, places), reads.kernels(channels, numbers)
        values, bias = reads.output[channels, *position], None if reads.bias is None else reads.bias[channels]
        rest = np.zeros(len(at))
        with np.errstate(all="ignore"):
            sums = (windows.astype(np.float64) * kernels).sum(axis=(2, 3))
            numbers, sums, windows, kernels = _strongest_first(numbers, sums, windows, kernels)
            if chosen:
                rest = values.astype(np.float64) - sums.sum(axis=1) - (0.0 if bias is None else bias)
        return UnitTerms(
            at=at, values=values, numbers=numbers, windows=windows, kernels=kernels, sums=sums, rest=rest, taps=taps,
            of=reads.inputs, bias=bias,
        )  # fmt: skip

    def _places(self, rows: Array, columns: Array) -> tuple[Array, Array]:
        """(n, kh, kw): the place of each tap in the source, behind the last if there is none; and what it reads."""
        reads = self.reads
        (down, across), inside = reads.cells, reads.inside
        places = (down.index * reads.size[1])[rows][:, :, None] + across.index[columns][:, None]
        taps = np.zeros(places.shape, np.uint8)
        if inside and not reads.call.transposed and _within(rows, inside[0]) and _within(columns, inside[1]):
            return places, taps
        down, across = down.at(rows), across.at(columns)
        padding = down.padding[:, :, None] | across.padding[:, None]
        taps[padding] = 1
        taps[(down.between[:, :, None] | across.between[:, None]) & ~padding] = 2
        places[~(down.present[:, :, None] & across.present[:, None])] = reads.size[0] * reads.size[1]
        return places, taps

    def _windows(self, numbers: Array, places: Array) -> Array:
        """(n, t, kh, kw): the values of the input channels ``numbers`` at ``places`` of the source; 0 behind the last."""
        count, places, numbers = self.reads.size[0] * self.reads.size[1], places[:, None], numbers[:, :, None, None]
        absent = places == count
        some = bool(absent.any())
        if some:
            places = np.where(absent, 0, places)
        if self.reads.source.flags.c_contiguous:
            found = self.reads.source.reshape(-1).take(numbers * count + places)
        else:
            found = self.reads.source.reshape(-1, count)[numbers, places]
        if some:
            found[np.broadcast_to(absent, found.shape)] = 0
        return np.asarray(found)

    def _strongest(self, channels: Array, places: Array, most: int) -> Array:
        """(n, most): the input channels that contribute most to n units, summed in float32, the strongest first."""
        if self.reads.call.groups == 1 and not self.reads.call.transposed:
            return self._strongest_of_all(channels, places, most)
        numbers = self.reads.numbers(channels)
        found = np.empty((len(channels), most), np.int64)
        for part in _parts(len(channels), numbers.shape[1] * places.shape[1]):
            windows = self._windows(numbers[part], places[part, None]).reshape(*numbers[part].shape, -1)
            kernels = self.reads.kernels(channels[part], numbers[part]).reshape(windows.shape)
            sums = np.einsum("ntk,ntk->nt", windows, kernels).astype(np.float32, copy=False)
            found[part] = _largest(np.abs(sums, out=sums), most)
        return np.take_along_axis(numbers, found, axis=1)

    def _strongest_of_all(self, channels: Array, places: Array, most: int) -> Array:
        """The same, of a convolution in which every channel reads all inputs.

        The units of a channel are worked out together, since reading the weights takes most of the time. The channels
        ascend; those between them that are not wanted are worked out too, which takes less time than a copy of the weights
        of the others.
        """
        new = np.ones(len(channels), bool)
        np.not_equal(channels[1:], channels[:-1], out=new[1:])
        rank = np.arange(len(channels)) - np.flatnonzero(new)[np.cumsum(new) - 1]  # among the units of its channel
        weights = self.reads.weight.reshape(*self.reads.weight.shape[:2], -1).astype(np.float32, copy=False)
        span, ranks = int(channels[-1] - channels[0]) + 1, int(rank.max()) + 1
        if span * ranks <= 2 * len(channels):
            weights, number = weights[channels[0] : channels[-1] + 1], channels - channels[0]
        else:
            weights, number, rank, ranks = weights[channels], np.arange(len(channels)), rank * 0, 1
        (count, inputs), cells = weights.shape[:2], places.shape[1]
        every = np.zeros((ranks, count, cells), np.int64)
        every[rank, number] = places
        found = np.empty((ranks, count, most), np.int64)
        for part in _parts(count, ranks * inputs * cells):
            values = self._inputs_at(every[:, part])
            if cells == 1:
                sums = np.multiply(values[:, :, 0], weights[part, :, 0])
            else:
                sums = np.einsum("rnkc,nkc->rnc", values, np.ascontiguousarray(weights[part].transpose(0, 2, 1)))
            found[:, part] = _largest(np.abs(sums, out=sums).reshape(-1, inputs), most).reshape(ranks, -1, most)
        return np.asarray(found[rank, number])

    @cached_property
    def _by_place(self) -> Array:
        """(places + 1, in): the source in float32, with zeros at the end."""
        source = torch.from_numpy(self.reads.source).float().flatten(1)
        found = torch.zeros(source.shape[1] + 1, len(source))
        found[:-1] = source.T
        return found.numpy()

    def _inputs_at(self, places: Array) -> Array:
        """(…, in): the inputs at these places of the source in float32; 0 behind the last."""
        count = self.reads.size[0] * self.reads.size[1]
        if "_by_place" in vars(self) or 4 * places.size > count:
            return self._by_place.take(places, axis=0)
        absent = places == count
        found = self.reads.source.reshape(-1, count).T[np.where(absent, 0, places)].astype(np.float32, copy=False)
        found[absent] = 0
        return found


def _parts(count: int, size: int) -> list[slice]:
    step = max(1, _AT_ONCE // max(1, size))
    return [slice(start, start + step) for start in range(0, count, step)]


def _within(positions: Array, part: slice) -> bool:
    return bool(positions.min() >= part.start and positions.max() < part.stop)


def _extremes(maps: Array, inside: tuple[slice, slice] | None) -> tuple[Array, Array]:
    """Where in these rows and columns of n maps the largest and the smallest value of each is, and these values.

    Returns:
        The places (2, n), counted along the rows of the whole map, and the values (2, n).
    """
    count, height, width = maps.shape
    rows, columns = inside or (slice(0, height), slice(0, width))
    share = (rows.stop - rows.start) * (columns.stop - columns.start) / (height * width)
    if share < 0.75:
        return _extremes_of_copies(maps, rows, columns)
    values, each, places = maps.reshape(count, -1), np.arange(count), np.empty((2, count), np.int64)
    for part in _parts(count, height * width):  # the second time they are near the processor
        values[part].argmax(axis=1, out=places[0, part])
        values[part].argmin(axis=1, out=places[1, part])
    found = values[each, places]
    if share < 1:
        down, across = np.divmod(places, width)
        there = (down >= rows.start) & (down < rows.stop) & (across >= columns.start) & (across < columns.stop)
        others = np.flatnonzero(~there.all(axis=0))
        if len(others):
            places[:, others], found[:, others] = _extremes_of_copies(maps[others], rows, columns)
    return places, found


def _extremes_of_copies(maps: Array, rows: slice, columns: slice) -> tuple[Array, Array]:
    """The same by way of a copy of these rows and columns."""
    inner = np.ascontiguousarray(maps[:, rows, columns])
    places, values = _extremes(inner, None)
    down, across = np.divmod(places, inner.shape[2])
    return (down + rows.start) * maps.shape[2] + across + columns.start, values


def _largest(sizes: Array, most: int) -> Array:
    """(n, most): the positions of the largest sizes of each row, which are overwritten; nan is the largest.

    A few maxima of NumPy take a fraction of the time of ``topk``.
    """
    starts = np.arange(len(sizes)) * sizes.shape[1]
    found = np.empty((most, len(sizes)), np.int64)
    for each in found:
        sizes.argmax(axis=1, out=each)
        sizes.reshape(-1)[starts + each] = -1
    return found.T


def _strongest_first(numbers: Array, sums: Array, *factors: Array) -> tuple[Array, ...]:
    """The terms of n units in the order of their sums' sizes, equal ones in that of their input channels.

    Most are in this order already.
    """
    sizes = np.where(np.isnan(sums), np.inf, np.abs(sums))
    mixed = np.flatnonzero(~(sizes[:, :-1] > sizes[:, 1:]).all(axis=1))
    if len(mixed):
        order = np.lexsort((numbers[mixed], -sizes[mixed]))
        for part in (numbers, sums, *factors):
            part[mixed] = part[mixed[:, None], order]
    return numbers, sums, *factors


def run_layers(plan: CapturePlan, given: Input, on_layer: OnLayer) -> tuple[ClassScore, ...]:
    """Run one image through the network, to its end unless that breaks; call ``on_layer`` with each map and what made it.

    That is a ``LayerRun`` for a convolution, an error that states why its values cannot be worked out, or None for other
    layers. The maps are bitwise those of ``capture_features``. Returns the first classes.

    Raises:
        KernelvizError: the forward pass failed, or a layer did not run.
    """
    every = dict(plan.module.named_modules())
    modules = {tap.module: every[tap.module] for tap in plan.taps.taps}
    convolving = {layer.name for layer in plan.trace.layers if layer.family == "conv"}
    recorders = {
        (tap.module, tap.run): CallRecorder(tap.run, copies=False)
        for tap in plan.taps.taps
        if tap.module in convolving or isinstance(modules[tap.module], CONVOLUTIONS)
    }
    taps = {tap.name: tap for tap in plan.taps.taps}

    def on_map(_: int, maps: FeatureMaps) -> None:
        tap = taps[str(maps.layer)]
        recorder = recorders.get((tap.module, tap.run))
        if recorder is None or tap.part or not recorder.ran:
            on_layer(maps, None)
            return
        on_layer(maps, _layer_run(plan, given, modules[tap.module], recorder, maps))
        recorder.calls.clear()
        recorder.given = None

    capture = CaptureHooks(plan, [given], on_map, to_the_end=plan.broken is None)

    @contextlib.contextmanager
    def hooks() -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            for (name, _), recorder in recorders.items():  # before the hooks that report what was recorded
                stack.enter_context(recorder.within(modules[name], lambda: None))
            stack.enter_context(capture.hooks(plan.module))
            yield

    output = run_through(plan.preserved, given, hooks(), ours=lambda: capture.failed_outside)
    capture.check_all_ran()
    return first_classes(plan.network, output) if isinstance(plan.network, Model) else ()


def _layer_run(
    plan: CapturePlan, given: Input, module: nn.Module, recorder: CallRecorder, maps: FeatureMaps
) -> LayerRun | KernelvizError:
    """The convolution that a recorder met, or why there is no single one of two axes."""
    try:
        call = recorded_call(plan.network, module, recorder, str(maps.layer))
        if not call.convolves:
            raise UsageError("It pools.")
        fits = maps.values.ndim == 3 and maps.values.shape[0] == call.output.shape[1]
        reads = LayerReads(str(maps.layer), module, call, maps.values if fits else None)
    except KernelvizError as error:
        return error
    reads_input = reads.is_input(given)
    return LayerRun(reads, reads_input and reads.is_image(given), reads_input)

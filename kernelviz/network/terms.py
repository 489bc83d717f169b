"""Many layers in one forward pass: each map with the convolution that made it, and the strongest terms of its values."""

from __future__ import annotations

import contextlib
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


_AT_ONCE = 2**19
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

    @cached_property
    def inner(self) -> tuple[slice, slice]:
        """The rows and columns of the units whose windows contain no padding; all of them if there are none."""
        found = []
        for axis, side in enumerate(self.reads.output.shape[1:]):
            inside = np.flatnonzero(~self.reads.cells(axis, np.arange(side)).padding.any(axis=1))
            found.append(slice(int(inside[0]), int(inside[-1]) + 1) if len(inside) else None)
        rows, columns = found
        return (rows, columns) if rows and columns else (slice(None), slice(None))

    def extremes(self, channels: Sequence[int]) -> Array:
        """The units (n, 3) to work out: of each channel the largest value in size, and the largest of the other sign.

        They are chosen where the window contains no padding, if there is such a place: a padded layer has its largest
        values at its border.
        """
        numbers, inner = np.asarray(channels), self.inner
        whole = len(numbers) == len(self.reads.output)
        part = (self.reads.output if whole else self.reads.output[numbers])[:, *inner]
        values = part.reshape(len(numbers), -1)
        each = np.arange(len(numbers))
        places = [values.argmax(axis=1), values.argmin(axis=1)]
        high, low = (values[each, place] for place in places)
        if not (np.isfinite(high).all() and np.isfinite(low).all()):
            values = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
            places = [values.argmax(axis=1), values.argmin(axis=1)]
            high, low = (values[each, place] for place in places)
        upward = high >= -low
        first, second = (np.where(upward, *pair) for pair in (places, places[::-1]))
        opposite = np.where(upward, low < 0, high > 0)
        rows, columns = np.divmod(np.concatenate([first, second[opposite]]), part.shape[2])
        starts = [each.start or 0 for each in inner]
        at = np.stack([np.concatenate([numbers, numbers[opposite]]), rows + starts[0], columns + starts[1]], axis=1)
        return np.asarray(at[np.argsort(at[:, 0], kind="stable")])

    def terms(self, at: Array, most: int) -> UnitTerms:
        """Units at (n, 3) channels in ascending order, rows and columns, with the ``most`` strongest terms of each.

        Values, factors and the sums of the terms are those of ``trace_unit``; equal sums may be in another order.
        """
        reads = self.reads
        down, across = (reads.cells(axis, at[:, axis + 1]) for axis in (0, 1))
        padding = down.padding[:, :, None] | across.padding[:, None]
        between = (down.between[:, :, None] | across.between[:, None]) & ~padding
        there = down.present[:, :, None] & across.present[:, None]
        places = np.where(
            there, down.index[:, :, None] * reads.size[1] + across.index[:, None], reads.size[0] * reads.size[1]
        )
        numbers, inputs, each = reads.numbers(at[:, 0]), reads.numbers(at[:1, 0]).shape[1], np.arange(len(at))[:, None]
        if most < inputs:
            numbers = numbers[each, self._strongest(at[:, 0], numbers, places.reshape(len(at), -1), most)]
        windows, kernels = self._windows(numbers, places), reads.kernels(at[:, 0], numbers)
        with np.errstate(all="ignore"):
            sums = (windows.astype(np.float64) * kernels).sum(axis=(2, 3))
            order = np.argsort(-np.where(np.isnan(sums), np.inf, np.abs(sums)), axis=1, kind="stable")
        numbers, sums, windows, kernels = (part[each, order] for part in (numbers, sums, windows, kernels))
        values, bias = reads.output[tuple(at.T)], None if reads.bias is None else reads.bias[at[:, 0]]
        rest = np.zeros(len(at))
        if most < inputs:
            with np.errstate(all="ignore"):
                rest = values.astype(np.float64) - sums.sum(axis=1) - (0.0 if bias is None else bias)
        return UnitTerms(
            at=at, values=values, numbers=numbers, windows=windows, kernels=kernels, sums=sums, rest=rest,
            taps=padding.astype(np.uint8) + 2 * between.astype(np.uint8), of=inputs, bias=bias,
        )  # fmt: skip

    def _windows(self, numbers: Array, places: Array) -> Array:
        """(n, t, kh, kw): the values of the input channels ``numbers`` at ``places`` of the source; 0 behind the last."""
        source = self.reads.source.reshape(len(self.reads.source), -1)
        absent = places[:, None] == source.shape[1]
        if not absent.any():
            return np.asarray(source[numbers[:, :, None, None], places[:, None]])
        found = source[numbers[:, :, None, None], np.where(absent, 0, places[:, None])]
        found[np.broadcast_to(absent, found.shape)] = 0
        return np.asarray(found)

    def _strongest(self, channels: Array, numbers: Array, places: Array, most: int) -> Array:
        """(n, most): the positions, in ascending order, of the input channels that contribute most, summed in float32."""
        found = np.empty((len(channels), most), np.int64)
        again = np.concatenate([[False], channels[1:] == channels[:-1]])
        plain = self.reads.call.groups == 1 and not self.reads.call.transposed
        by_place = plain and places.size > self.reads.size[0] * self.reads.size[1]
        for units in (np.flatnonzero(~again), np.flatnonzero(again)):  # each channel once, so that none is copied
            for part in _parts(len(units), numbers.shape[1] * places.shape[1]):
                chosen = units[part]
                if plain:
                    sums = self._sums(channels[chosen], places[chosen], by_place=by_place)
                else:
                    sums = self._grouped_sums(channels[chosen], numbers[chosen], places[chosen])
                found[chosen] = _largest(sums, most)
        return np.sort(found, axis=1)

    def _sums(self, channels: Array, places: Array, *, by_place: bool) -> torch.Tensor:
        """(n, in): what each input channel contributes to n units, summed in float32 cell by cell of the kernel.

        The channels ascend. Those between them that are not wanted are worked out too: that takes less time than a copy of
        the weights of the others.
        """
        weights, at = self.reads.call.weight.flatten(2), channels - channels[0]
        if at[-1] < 2 * len(at):
            weights = weights[channels[0] : channels[-1] + 1]
            every = np.zeros((len(weights), places.shape[1]), places.dtype)
            every[at] = places
        else:
            weights, every, at = weights[torch.from_numpy(channels).to(weights.device)], places, np.arange(len(at))
        weights = weights.float().cpu()
        found = torch.zeros(weights.shape[:2])
        for cell in range(every.shape[1]):
            found.addcmul_(self._inputs_at(every[:, cell], by_place=by_place), weights[:, :, cell])
        return found if len(found) == len(at) else found[torch.from_numpy(at)]

    def _grouped_sums(self, channels: Array, numbers: Array, places: Array) -> torch.Tensor:
        """(n, inputs): what each input channel contributes to n units, summed in float32."""
        windows = self._windows(numbers, places[:, None]).reshape(*numbers.shape, -1)
        kernels = self.reads.kernels(channels, numbers).reshape(windows.shape)
        return torch.from_numpy(np.einsum("ntk,ntk->nt", windows, kernels))

    @cached_property
    def _by_place(self) -> torch.Tensor:
        """(places + 1, in): the source in float32, with zeros at the end."""
        source = self.reads.call.source[0].float().cpu().flatten(1)
        found = torch.zeros(source.shape[1] + 1, len(source))
        found[:-1] = source.T
        return found

    def _inputs_at(self, places: Array, *, by_place: bool) -> torch.Tensor:
        """(n, in): the inputs at n places of the source in float32; 0 behind the last."""
        if by_place:
            return self._by_place.index_select(0, torch.from_numpy(places))
        source = self.reads.call.source[0].float().cpu().flatten(1)
        absent = places == source.shape[1]
        found = source.index_select(1, torch.from_numpy(np.where(absent, 0, places))).T
        if absent.any():
            found[torch.from_numpy(absent)] = 0
        return found


def _parts(count: int, size: int) -> list[slice]:
    step = max(1, _AT_ONCE // max(1, size))
    return [slice(start, start + step) for start in range(0, count, step)]


def _largest(sums: torch.Tensor, most: int) -> Array:
    """(n, most): the positions of the largest sums in size of each row; nan is the largest.

    A few maxima of NumPy take a fraction of the time of ``topk``.
    """
    sizes, rows = sums.abs().numpy(), np.arange(len(sums))
    found = np.empty((len(sums), most), np.int64)
    for at in range(most):
        found[:, at] = sizes.argmax(axis=1)
        sizes[rows, found[:, at]] = -1
    return found


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
    return LayerRun(reads, reads.is_image(given), reads.is_input(given))

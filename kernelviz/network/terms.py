"""Many layers in one forward pass: each map with the convolution that made it, and the strongest terms of its values."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

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

    from kernelviz.network.capture import CapturePlan, Input
    from kernelviz.records import Array, ClassScore, ConvLayer, FeatureMaps

    OnLayer = Callable[[FeatureMaps, "LayerRun | KernelvizError | None"], object]


_AT_ONCE = 2**18
"""Factors that are multiplied at once, so that they stay near the processor."""


@dataclass(frozen=True, eq=False)
class LayerRun:
    """A convolution as it ran: what its values are computed from.

    ``reads_image``: its input is the network's own. ``zeros``: what is around its input are zeros, not repeated rows.
    """

    reads: LayerReads
    reads_image: bool

    @property
    def record(self) -> ConvLayer:
        """The sizes of the layer as it ran."""
        return self.reads.record

    @property
    def zeros(self) -> bool:
        """Whether the padding is zeros, not mirrored, repeated or wrapped rows."""
        return not self.reads.call.filling

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
    def inner(self) -> Array:
        """(H, W): the units whose windows contain no padding."""
        rows, columns = (
            self.reads.cells(axis, np.arange(side)).padding for axis, side in enumerate(self.reads.output.shape[1:])
        )
        return np.asarray(~(rows.any(axis=1, keepdims=True) | np.asarray(columns.any(axis=1))))

    def extremes(self, channels: Sequence[int]) -> Array:
        """The units (n, 3) to work out: of each channel the largest value in size, and the largest of the other sign.

        They are chosen where the window contains no padding, if there is such a place: a padded layer has its largest
        values at its border.
        """
        maps = self.reads.output[list(channels)].reshape(len(channels), -1)
        usable = self.inner.reshape(-1) if self.inner.any() else np.ones(maps.shape[1], bool)
        places = np.flatnonzero(usable)
        values = np.nan_to_num(maps[:, places], nan=0.0, posinf=0.0, neginf=0.0)
        each = np.arange(len(channels))
        most, least = values.argmax(axis=1), values.argmin(axis=1)
        high, low = values[each, most], values[each, least]
        upward = high >= -low
        first, second = np.where(upward, most, least), np.where(upward, least, most)
        opposite = np.where(upward, low < 0, high > 0)
        numbers = np.asarray(channels)
        chosen = [(numbers, places[first]), (numbers[opposite], places[second[opposite]])]
        flat = np.concatenate([place for _, place in chosen])
        rows, columns = np.divmod(flat, self.reads.output.shape[2])
        at = np.stack([np.concatenate([number for number, _ in chosen]), rows, columns], axis=1)
        return np.asarray(at[np.argsort(at[:, 0], kind="stable")])

    def terms(self, at: Array, most: int) -> UnitTerms:
        """Units at (n, 3) channels, rows and columns, with their ``most`` strongest terms each.

        All factors, values and the sums of each input channel are those of ``trace_unit``.
        """
        reads = self.reads
        down, across = (reads.cells(axis, at[:, axis + 1]) for axis in (0, 1))
        numbers = reads.numbers(at[:, 0])
        taps = down.padding[:, :, None] | across.padding[:, None]
        between = (down.between[:, :, None] | across.between[:, None]) & ~taps
        there = down.present[:, :, None] & across.present[:, None]
        kept = min(most, numbers.shape[1])
        parts = []
        for part in _parts(len(at), numbers.shape[1] * there[0].size):
            windows = reads.source[numbers[part, :, None, None], down.index[part, None, :, None],
                                   across.index[part, None, None, :]]  # fmt: skip
            windows[~np.broadcast_to(there[part, None], windows.shape)] = 0
            kernels = reads.kernels(at[part, 0], numbers[part])
            parts.append(_strongest(numbers[part], windows, kernels, kept))
        picked, windows, kernels, sums, rest = (np.concatenate(each) for each in zip(*parts, strict=True))
        bias = reads.bias
        return UnitTerms(
            at=at, values=reads.output[tuple(at.T)], numbers=picked, windows=windows, kernels=kernels, sums=sums, rest=rest,
            taps=taps.astype(np.uint8) + 2 * between.astype(np.uint8), of=numbers.shape[1],
            bias=None if bias is None else bias[at[:, 0]],
        )  # fmt: skip


def _parts(count: int, size: int) -> list[slice]:
    step = max(1, _AT_ONCE // max(1, size))
    return [slice(start, start + step) for start in range(0, count, step)]


def _strongest(numbers: Array, windows: Array, kernels: Array, most: int) -> tuple[Array, ...]:
    """Of some units the numbers, windows, kernels and sums of the strongest input channels, and the sum of the others."""
    count, inputs = numbers.shape
    each, everything = np.arange(count)[:, None], np.broadcast_to(np.arange(inputs), (count, inputs))
    with np.errstate(all="ignore"):
        sums = (windows.astype(np.float64) * kernels).sum(axis=(2, 3))
        sizes = np.where(np.isnan(sums), np.inf, np.abs(sums))
        picked = np.sort(np.argpartition(-sizes, most - 1, axis=1)[:, :most], axis=1) if most < inputs else everything
        picked = picked[each, np.argsort(-sizes[each, picked], axis=1, kind="stable")]
        rest = sums.sum(axis=1) - sums[each, picked].sum(axis=1) if most < inputs else np.zeros(count)
    return numbers[each, picked], windows[each, picked], kernels[each, picked], sums[each, picked], rest


def run_layers(plan: CapturePlan, given: Input, on_layer: OnLayer) -> tuple[ClassScore, ...]:
    """Run one image through the network to its end, and call ``on_layer`` with each map and what made it.

    That is a ``LayerRun`` for the first run of a convolution, an error that states why its values cannot be worked out, or
    None for other layers and further runs. The maps are bitwise those of ``capture_features``. Returns the first classes.

    Raises:
        KernelvizError: the forward pass failed, or a layer did not run.
    """
    every = dict(plan.module.named_modules())
    modules = {tap.module: every[tap.module] for tap in plan.taps.taps}
    convolving = {layer.name for layer in plan.trace.layers if layer.family == "conv"}
    recorders = {
        name: CallRecorder(copies=False)
        for name, module in modules.items()
        if name in convolving or isinstance(module, CONVOLUTIONS)
    }
    taps = {tap.name: tap for tap in plan.taps.taps}

    def on_map(_: int, maps: FeatureMaps) -> None:
        tap = taps[str(maps.layer)]
        recorder = recorders.get(tap.module)
        if recorder is None or tap.run or tap.part or not recorder.ran:
            on_layer(maps, None)
            return
        on_layer(maps, _layer_run(plan, given, modules[tap.module], recorder, maps))
        recorder.calls.clear()
        recorder.given = None

    capture = CaptureHooks(plan, [given], on_map, to_the_end=True)

    @contextlib.contextmanager
    def hooks() -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            for name, recorder in recorders.items():  # before the hooks that report what was recorded
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
    return LayerRun(reads, reads.is_image(given))

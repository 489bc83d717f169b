"""How many maps of each layer a page has room for, and which are dropped from a page that became too large."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from kernelviz.errors import UsageError
from kernelviz.wording import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kernelviz.records import Array
    from kernelviz.report.contents import Report, ReportLayer


LEAST = 4
"""Maps that each layer has at least, if it has so many."""
MEGABYTE = 1_000_000

_PAGE = 150_000  # bytes of script, style and markup
_LAYER = 1_200  # of a layer's entry in the index, its row and its bar
_NUMBER = 12  # of a limit in the index
_PIXEL = 5  # of a pixel, in the picture and in the block
_VALUE = 1.1  # for each value of a map, which is noise to deflate: 0.82 · 4/3
_WEIGHT = 4.8  # for each weight in float32
_UNIT, _TERM, _FACTOR = 30.0, 13.0, 2.9  # of a unit, of each of its terms, and of each factor, as deflated text


@dataclass(frozen=True)
class LayerSizes:
    """What a shown channel of a layer consists of: values of a map, cells of a kernel, and the terms of its two units.

    A term has ``taps`` values and weights. ``weights`` are those that the page works with itself; a layer that has them
    has no units.
    """

    channels: int
    values: int
    cells: int = 0
    terms: int = 0
    taps: int = 0
    weights: int = 0

    def bytes_of(self, images: int) -> int:
        """Bytes of the page for one channel."""
        units = 2 * _unit_bytes(self.terms, self.taps) if self.terms and not self.weights else 0.0
        numbers = _NUMBER * (images + (self.cells > 0))
        return round(images * (_VALUE * self.values + units) + _VALUE * self.cells + _WEIGHT * self.weights + numbers)


def _unit_bytes(terms: int, taps: int) -> float:
    return _UNIT + terms * (_TERM + 2 * _FACTOR * taps)


def quotas(layers: Sequence[LayerSizes], most: int, *, images: int, pixels: int) -> list[int]:
    """How many channels of each layer are shown on a page of at most ``most`` bytes, at least ``LEAST``.

    Each layer shows the same number; what those with fewer channels leave goes to the others. ``pixels`` are those of one
    image.
    """
    left = most - _PAGE - len(layers) * _LAYER - images * _PIXEL * pixels
    return _filled([layer.channels for layer in layers], [layer.bytes_of(images) for layer in layers], left)


def _filled(channels: Sequence[int], costs: Sequence[float], room: float) -> list[int]:
    """The largest equal number of channels for all layers that fits, at least ``LEAST``; a layer may have fewer."""
    low, high = LEAST, max(channels, default=LEAST)
    while low < high:
        middle = (low + high + 1) // 2
        if sum(min(count, middle) * cost for count, cost in zip(channels, costs, strict=True)) <= room:
            low = middle
        else:
            high = middle - 1
    return [min(count, low) for count in channels]


def fitted(report: Report, most: int) -> Report:
    """The report with as many maps as fit on a page of ``most`` bytes: those of the smallest spread are dropped.

    ``quotas`` estimates what a compressor makes of maps; this is for maps that turn out larger. A note is added about the
    maps that are left out.

    Raises:
        UsageError: ``LEAST`` maps a layer are too large.
    """
    done = _with_note(report)
    while (size := len(done.html.encode("utf-8"))) > most:
        counts = _fewer(report.layers, size - most)
        if counts is None:
            needed = -(-size // (MEGABYTE // 10)) / 10
            what = f"--max-size {most / MEGABYTE:g} is too small for {LEAST} maps of each layer."
            raise UsageError(what, hint=f"Give --max-size {needed:g}, or choose fewer layers with --layer.")
        layers = [_with_widest(layer, count) for layer, count in zip(report.layers, counts, strict=True)]
        report = replace(report, layers=tuple(layers))
        done = _with_note(report)
    return done


def _fewer(layers: Sequence[ReportLayer], excess: int) -> list[int] | None:
    """How many maps of each layer are left if a page loses this many bytes; None if no layer can lose any."""
    shown = [len(layer.shown) for layer in layers]
    costs = [_bytes_of(layer) / count for layer, count in zip(layers, shown, strict=True)]
    total = sum(count * cost for count, cost in zip(shown, costs, strict=True))
    counts = _filled(shown, costs, total - 1.05 * excess)
    if counts == shown:
        counts = _filled(shown, [1.0] * len(shown), sum(shown) - 1)
    return None if counts == shown else counts


def _bytes_of(layer: ReportLayer) -> float:
    """About how many bytes of the page a layer takes."""
    units = sum(
        len(each.at) * _unit_bytes(each.numbers.shape[1], each.taps[0].size) for each in layer.units if len(each.at)
    )
    cells = sum(maps.levels.size for maps in layer.maps) + (layer.kernels.levels.size if layer.kernels else 0)
    return _VALUE * cells + units + _WEIGHT * (layer.live.weights.size if layer.live else 0)


def _with_note(report: Report) -> Report:
    """The report with a note about the maps that are left out."""
    shown, total = sum(len(layer.shown) for layer in report.layers), sum(layer.outputs for layer in report.layers)
    if shown == total:
        return report
    cut = counted(sum(len(layer.shown) < layer.outputs for layer in report.layers), "layer")
    note = (
        f"{shown:,} of {total:,} maps are shown; near-duplicates and the least varied maps of "
        f"{report.images[0].name} are left out, in {cut}"
    )
    return replace(report, notes=(*report.notes, note))


def _with_widest(layer: ReportLayer, count: int) -> ReportLayer:
    """The layer with the channels whose maps have the largest spread."""
    if count >= len(layer.shown):
        return layer
    maps = layer.maps[0]
    spreads = maps.levels.reshape(len(layer.shown), -1).astype(np.float64).std(axis=1) * maps.limits
    kept = np.sort(np.argsort(-np.nan_to_num(spreads), kind="stable")[:count])
    return with_channels(layer, kept)


def with_channels(layer: ReportLayer, kept: Array) -> ReportLayer:
    """The layer with these positions of its shown channels alone."""
    shown = tuple(layer.shown[at] for at in kept)
    there = set(shown)
    kernels, live = layer.kernels, layer.live
    if kernels is not None:
        kernels = replace(
            kernels, levels=kernels.levels[kept], limits=kernels.limits[kept],
            zero=tuple(each for each in kernels.zero if each in there),
            faint=tuple(each for each in kernels.faint if each in there),
            nonfinite={channel: count for channel, count in kernels.nonfinite.items() if channel in there},
        )  # fmt: skip
    if live is not None:
        live = replace(live, weights=live.weights[kept], bias=None if live.bias is None else live.bias[kept])
    maps = tuple(
        replace(
            each, levels=each.levels[kept], limits=each.limits[kept], dead=tuple(at for at in each.dead if at in there),
            nonfinite={channel: count for channel, count in each.nonfinite.items() if channel in there},
        )
        for each in layer.maps
    )  # fmt: skip
    units = tuple(each.only(np.isin(each.at[:, 0], shown)) for each in layer.units)
    return replace(layer, shown=shown, kernels=kernels, live=live, maps=maps, units=units)

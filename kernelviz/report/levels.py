"""Kernels and maps of a layer as the levels and limits of a report: those that ``make_sheet`` draws."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from kernelviz.drawing.captions import find_marks, kernels_of
from kernelviz.drawing.colour import levels, make_scale, rgb_pixels, tile_limits
from kernelviz.report.budget import LEAST
from kernelviz.report.contents import NO_CELL, NOT_FINITE, ReportKernels, ReportMaps
from kernelviz.views.kernel_views import kernel_tiles, resolve_view
from kernelviz.views.map_views import distinct_channels, map_tiles

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kernelviz.records import Array, FeatureMaps, KernelBank


def chosen_channels(maps: FeatureMaps, count: int) -> tuple[int, ...]:
    """The channels that are shown, in ascending order: all, or at most ``count`` of the largest spread.

    Near-duplicates are left out. There are at least four, if the layer has so many: dead ones too if there are no others.
    """
    values = as_planes(maps).values
    if count >= len(values):
        return tuple(range(len(values)))
    chosen = list(distinct_channels(values, count))
    others = (channel for channel in range(len(values)) if channel not in chosen)
    chosen += [channel for channel, _ in zip(others, range(min(LEAST, count) - len(chosen)), strict=False)]
    return tuple(sorted(chosen))


def as_planes(maps: FeatureMaps) -> FeatureMaps:
    """Maps (C, H, W); the slices of maps of three axes are put below each other."""
    if maps.values.ndim == 3:
        return maps
    channels, depth, height, width = maps.values.shape
    return replace(maps, values=maps.values.reshape(channels, depth * height, width))


def report_maps(maps: FeatureMaps, shown: Sequence[int]) -> ReportMaps:
    """The maps of these channels, each at the levels of its own scale."""
    tiles = map_tiles(as_planes(maps), channels=shown)
    scale = make_scale(tiles)
    found = levels(tiles.values, scale)
    broken = ~np.isfinite(tiles.values)
    found[broken] = NOT_FINITE
    marks = find_marks(tiles, scale)
    return ReportMaps(
        signed=tiles.signed,
        levels=found,
        limits=tile_limits(tiles.values, scale).reshape(-1),
        extent=tiles.extent,
        dead=tuple(shown[at] for at in marks.dead),
        nonfinite=_counts(broken, shown),
    )


def report_kernels(bank: KernelBank, shown: Sequence[int]) -> ReportKernels:
    """The kernels of these channels in their usual view."""
    view = resolve_view(bank.weight.shape, bank.groups)
    tiles = kernel_tiles(bank, channels=shown)
    scale = make_scale(tiles)
    planes = bank.weight[list(shown)]
    broken = ~np.isfinite(planes)
    marks = find_marks(tiles, scale)
    if view == "matrix":
        cells = levels(planes.reshape(len(shown), -1), scale)
        cells[broken.reshape(cells.shape)] = NOT_FINITE
        found, limits = _in_tiles(cells), np.full(len(shown), scale.limit)
    else:
        values = tiles.values
        found = rgb_pixels(values, scale) if view == "rgb" else levels(values, scale)
        if view != "rgb":
            found[~np.isfinite(values)] = NOT_FINITE
        limits = tile_limits(values, scale).reshape(-1)
        if tiles.layout == "table":  # one row of tiles per slice
            stacked = found.reshape(-1, len(shown), *found.shape[1:]).swapaxes(0, 1)
            found = stacked.reshape(len(shown), -1, *found.shape[2:])
            limits = limits.reshape(-1, len(shown)).max(axis=0)
    zero, faint = (
        tuple(shown[at] for at in each) if view == "matrix" else kernels_of(tiles, each)
        for each in (marks.zero, marks.faint)
    )
    return ReportKernels(
        view="rgb" if view == "rgb" else "inputs" if view == "matrix" else "sum",
        levels=np.ascontiguousarray(found), limits=limits, zero=zero, faint=faint, nonfinite=_counts(broken, shown),
        notes=tuple(note for note in bank.notes if "axes swapped" not in note),  # kernels are drawn, not indexed
    )  # fmt: skip


def tile_of(shape: Sequence[int], groups: int) -> int:
    """How many bytes the tile of a kernel takes, by the shape of the weight (out, in / groups, *kernel_size)."""
    view = resolve_view(shape, groups)
    if view == "matrix":
        width = _side(shape[1])
        return width * math.ceil(shape[1] / width)
    return math.prod(shape[2:]) * (3 if view == "rgb" else 1)


def _side(count: int) -> int:
    return math.ceil(math.sqrt(count))


def _in_tiles(cells: Array) -> Array:
    """Rows of cells as near-square tiles, filled row by row."""
    count, inputs = cells.shape
    width = _side(inputs)
    height = math.ceil(inputs / width)
    padded = np.full((count, height * width), NO_CELL, np.uint8)
    padded[:, :inputs] = cells
    return padded.reshape(count, height, width)


def _counts(broken: Array, shown: Sequence[int]) -> dict[int, int]:
    """The number of values that are not finite by channel, of those that have any."""
    counts = broken.reshape(len(shown), -1).sum(axis=1).tolist()
    return {channel: count for channel, count in zip(shown, counts, strict=True) if count}

"""Levels and limits of a report are bitwise those of ``make_sheet``."""

from __future__ import annotations

import numpy as np
import pytest

from kernelviz import make_sheet
from kernelviz.drawing.colour import levels, rgb_pixels, tile_limits
from kernelviz.records import FeatureMaps, KernelBank
from kernelviz.report.contents import NO_CELL, NOT_FINITE
from kernelviz.report.levels import chosen_channels, report_kernels, report_maps, tile_of

RANDOM = np.random.default_rng(0)


def noise(*shape):
    """Random float32."""
    return RANDOM.standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("signed", [True, False])
def test_maps_have_the_levels_of_a_sheet(signed):
    """Each map is at the levels of its own scale; signed ones around 100, others from 0."""
    values = noise(8, 9, 7) if signed else np.abs(noise(8, 9, 7))
    values[3] = 0.0
    shown = (0, 2, 3, 7)
    sheet = make_sheet(FeatureMaps(values), channels=list(shown))
    found = report_maps(FeatureMaps(values), shown)
    assert np.array_equal(found.levels, levels(sheet.tiles.values, sheet.scale))
    assert np.array_equal(found.limits, tile_limits(sheet.tiles.values, sheet.scale).reshape(-1))
    assert (found.signed, found.dead, found.extent) == (signed, (3,), sheet.tiles.extent)


def test_values_that_are_not_finite_are_marked():
    """They have a level of their own and are counted; the other values of the map are at their levels."""
    values = noise(3, 4, 4)
    values[1, 2, :2] = np.nan, np.inf
    found = report_maps(FeatureMaps(values), (0, 1, 2))
    assert found.nonfinite == {1: 2}
    assert (found.levels[1, 2, :2] == NOT_FINITE).all()
    assert (found.levels == NOT_FINITE).sum() == 2


def test_slices_are_below_each_other():
    """A map of three axes has one limit, and its slices are below each other."""
    values = noise(2, 3, 4, 5)
    found = report_maps(FeatureMaps(values), (0, 1))
    assert found.levels.shape == (2, 12, 5)
    assert found.limits.tolist() == np.abs(values).reshape(2, -1).max(axis=1).tolist()


KERNELS = {
    "rgb": ((6, 3, 3, 3), 1, "rgb", (3, 3)),
    "dense": ((6, 5, 3, 5), 1, "sum", (3, 5)),
    "depthwise": ((6, 1, 5, 5), 6, "sum", (5, 5)),
    "grouped": ((6, 3, 3, 3), 2, "sum", (3, 3)),
    "pointwise": ((6, 10, 1, 1), 1, "inputs", (3, 4)),
    "one axis": ((6, 4, 5), 1, "sum", (1, 5)),
    "three axes": ((6, 2, 3, 4, 5), 1, "sum", (12, 5)),
    "three axes, three channels": ((6, 3, 2, 4, 4), 1, "sum", (8, 4)),
}


@pytest.mark.parametrize("name", KERNELS)
def test_kernels_have_the_levels_of_a_sheet(name):
    """In their usual view, at the usual scale, whatever the number of axes and groups."""
    shape, groups, view, tile = KERNELS[name]
    bank, shown = KernelBank(noise(*shape), groups=groups), (1, 2, 5)
    found = report_kernels(bank, shown)
    assert (found.view, found.levels.shape[1:3]) == (view, tile)
    assert tile_of(shape, groups) == found.levels[0].size
    sheet = make_sheet(bank, channels=list(shown))
    draw = rgb_pixels if view == "rgb" else levels
    drawn = draw(sheet.tiles.values, sheet.scale)
    if view == "inputs":
        assert sheet.tiles.view == "matrix"
        cells = found.levels.reshape(3, -1)
        assert (cells[:, 10:] == NO_CELL).all()
        weights = levels(bank.weight[list(shown), :, 0, 0], sheet.scale)
        assert np.array_equal(cells[:, :10], weights)
    elif len(shape) == 5:
        assert np.array_equal(np.concatenate(drawn.reshape(-1, 3, *drawn.shape[1:])[:, 1], axis=0), found.levels[1])
    else:
        assert np.array_equal(found.levels, drawn)
        assert np.array_equal(found.limits, tile_limits(sheet.tiles.values, sheet.scale).reshape(-1))


def test_faint_and_zero_kernels_are_listed():
    """A kernel as good as zero and a faint one are named, as in the caption of a picture."""
    weight = noise(4, 2, 3, 3)
    weight[1], weight[2] = 0.0, weight[2] * 0.01
    found = report_kernels(KernelBank(weight), (0, 1, 2, 3))
    assert (found.zero, found.faint) == ((1,), (2,))


def test_near_duplicates_are_left_out():
    """Of more maps than there is space for, those of the largest spread are kept, each shape once."""
    values = noise(20, 6, 6) * np.linspace(1, 3, 20, dtype=np.float32)[:, None, None]
    values[18] = -1.5 * values[19]
    values[17] = 0.0
    maps = FeatureMaps(values)
    assert chosen_channels(maps, 20) == tuple(range(20))
    chosen = chosen_channels(maps, 8)
    assert len(chosen) == 8
    assert not {18, 19} <= set(chosen)
    assert 17 not in chosen


def test_four_maps_are_kept_even_if_they_are_dead():
    """A layer has at least four maps, if it has so many."""
    values = np.zeros((6, 4, 4), np.float32)
    values[5] = noise(4, 4)
    assert chosen_channels(FeatureMaps(values), 4) == (0, 1, 2, 5)

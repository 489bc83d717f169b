"""Tiles of maps: chosen, ranked, reduced, and the most distinct ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from kernelviz.drawing.sheets import make_sheet
from kernelviz.errors import UsageError
from kernelviz.records import FeatureMaps, as_maps
from kernelviz.views.map_views import distinct_channels, map_tiles, reduced


def test_maps_come_of_records_arrays_and_tensors():
    """(C, H, W), or (1, C, H, W); a record stays itself."""
    values = np.arange(24.0).reshape(2, 3, 4)
    for given in (values, values[None], torch.from_numpy(values), torch.from_numpy(values)[None].requires_grad_()):
        assert np.array_equal(as_maps(given).values, values)
    record = FeatureMaps(values)
    assert as_maps(record) is record


@pytest.mark.parametrize("shape", [(3, 4), (2, 3, 4, 5), (3,), (0, 4, 4), (2, 0, 3), (1, 1, 2, 3, 4)], ids=str)
def test_other_shapes_are_refused_by_name(shape):
    """The message has the shape."""
    with pytest.raises(UsageError) as error:
        as_maps(np.zeros(shape))
    assert ", ".join(map(str, shape)) in error.value.what


@pytest.mark.parametrize(
    ("view", "oracle"),
    [
        ("mean", lambda tensor: tensor.mean(0)),
        ("max", lambda tensor: tensor.amax(0)),
        ("norm", lambda tensor: torch.linalg.vector_norm(tensor, dim=0)),
    ],
)
def test_reductions_are_those_of_torch(view, oracle):
    """Reductions are over the chosen channels only, at every position, in float64."""
    values = torch.randn(9, 5, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert np.allclose(reduced(values.numpy(), view), oracle(values), rtol=1e-13)
    tiles = map_tiles(as_maps(values), view=view, channels="2,5-6")
    assert np.allclose(tiles.values[0], oracle(values[[2, 5, 6]]), rtol=1e-13)
    assert (tiles.numbers, tiles.total, len(tiles.values)) == ((2, 5, 6), 9, 1)


def test_a_norm_of_huge_values_does_not_overflow():
    """1e308 and 1e308 make √2 · 1e308, not infinity."""
    assert reduced(np.full((2, 1, 1), 1e308), "norm")[0, 0] == pytest.approx(np.sqrt(2) * 1e308)


def test_distinct_channels_are_no_near_duplicates():
    """By numpy.corrcoef no chosen pair has a |correlation| of 0.98, and each skipped map has one with a chosen map."""
    random = np.random.default_rng(0)
    values = random.standard_normal((10, 8, 8)) * np.arange(1, 11)[:, None, None]
    values[8] = -3 * values[9] + 0.01 * random.standard_normal((8, 8))
    values[5] = values[7] * 0.9 + 4
    chosen = distinct_channels(values, 5)
    flat = values.reshape(10, -1)
    correlation = np.abs(np.corrcoef(flat))
    assert (np.triu(correlation[np.ix_(chosen, chosen)], 1) < 0.98).all()
    ranked = np.argsort(-flat.std(axis=1)).tolist()
    for number in ranked[: ranked.index(chosen[-1])]:
        if number not in chosen:
            assert correlation[number, list(chosen)].max() >= 0.98
    assert len(chosen) == 5


def test_dead_and_broken_maps_are_never_chosen():
    """They are never chosen, even if fewer than requested are left; ties are in the order of numbers."""
    values = np.random.default_rng(0).standard_normal((5, 4, 4))
    values[0], values[1, 0, 0], values[2, 0, 0], values[4] = 3.0, np.nan, np.inf, values[3]
    assert distinct_channels(values, 5) == (3,)


@pytest.mark.parametrize(
    ("choice", "title"),
    [
        ({}, "Feature maps of blocks.2"),
        ({"channels": "0-15"}, "Feature maps of blocks.2, channels 0 to 15"),
        ({"channels": "7"}, "Feature maps of blocks.2, channel 7"),
        ({"channels": "7,2"}, "Feature maps of blocks.2, 2 chosen channels"),
        ({"top": 12, "sort": "std"}, "Feature maps of blocks.2, the 12 with the largest std"),
        ({"sort": "max"}, "Feature maps of blocks.2, sorted by maximum"),
        ({"view": "norm"}, "Feature maps of blocks.2, their norm"),
        ({"view": "max", "channels": "0-3"}, "Feature maps of blocks.2, the maximum of channels 0 to 3"),
        ({"view": "mean", "top": 3}, "Feature maps of blocks.2, the mean of the 3 with the largest norm"),
    ],
    ids=str,
)
def test_the_title_names_the_choice(choice, title):
    """Which channels, in which order, and what was made of them."""
    maps = FeatureMaps(np.random.default_rng(0).standard_normal((40, 4, 4)), layer="blocks.2")
    assert make_sheet(maps, **choice).title == title


def test_a_single_map_is_not_compared_with_other_tiles():
    """The scale of a reduction speaks of one tile."""
    maps = FeatureMaps(np.random.default_rng(0).standard_normal((4, 3, 3)))
    assert any("whole layer" in line for line in make_sheet(maps, scale="layer").caption)
    assert not any("tiles" in line or "whole layer" in line for line in make_sheet(maps, view="norm").caption)


def test_4096_maps_note_how_many_are_shown():
    """If a page holds only some of the maps, title, caption and recipe have both numbers."""
    sheet = make_sheet(FeatureMaps(np.zeros((4096, 28, 28), np.float32), layer="x"))
    assert sheet.shown < 4096
    assert any(f"{sheet.shown:,} of 4,096 maps" in line for line in sheet.caption)
    assert (sheet.recipe["shown"], sheet.recipe["total"]) == (sheet.shown, 4096)
    assert sheet.title == f"Feature maps of x, channels 0 to {sheet.shown - 1}"


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.uint8, bool])
def test_every_kind_of_number_is_drawn(dtype):
    """Half precision, whole numbers and booleans draw as the same values in float64."""
    values = (np.arange(32).reshape(2, 4, 4) % 7).astype(dtype)
    sheet, same = (make_sheet(as_maps(each)) for each in (values, values.astype(np.float64)))
    assert np.array_equal(sheet.tiles.values.astype(np.float64), same.tiles.values)


def test_vast_and_broken_maps_have_a_scale():
    """±1e308 has a finite scale, all-NaN an empty one; dead and broken maps are counted."""
    values = np.zeros((4, 2, 2))
    values[0], values[1], values[2, 0, 0] = [[1e308, -1e308], [0, 1]], np.nan, np.inf
    sheet = make_sheet(FeatureMaps(values))
    assert (sheet.scale.low, sheet.scale.high) == (-1e308, 1e308)
    assert (sheet.marks.nonfinite, sheet.marks.dead, sheet.marks.broken) == (5, (3,), (1, 2))


@pytest.fixture
def maps():
    """Eight maps."""
    return FeatureMaps(np.random.default_rng(0).normal(size=(8, 5, 7)).astype(np.float32))


def test_chosen_channels_keep_their_numbers_and_the_scale_of_all(maps):
    """A part of the maps is drawn on the scale of the layer."""
    tiles = map_tiles(maps, top=3, sort="std")
    order = np.argsort(-maps.values.reshape(8, -1).std(1), kind="stable")[:3]
    assert tiles.numbers == tuple(order.tolist())
    np.testing.assert_array_equal(tiles.values, maps.values[order])
    assert tiles.extent == (maps.values.min(), maps.values.max())
    assert tiles.total == 8
    assert tiles.signed

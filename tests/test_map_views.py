"""Tiles of feature maps: channels chosen as asked, reductions NumPy's own, and maps that say the most."""

from __future__ import annotations

import numpy as np
import pytest

from kernelviz.errors import UsageError
from kernelviz.map_views import as_maps, map_tiles, telling_channels
from kernelviz.records import FeatureMaps


@pytest.fixture
def maps():
    """Eight maps."""
    return FeatureMaps(np.random.default_rng(0).normal(size=(8, 5, 7)).astype(np.float32))


@pytest.mark.parametrize(
    ("view", "expected"),
    [
        ("mean", lambda values: values.mean(0)),
        ("max", lambda values: values.max(0)),
        ("norm", lambda values: np.sqrt((values**2).sum(0))),
    ],
)
def test_reductions(maps, view, expected):
    """Place by place, over the chosen channels alone, in double precision."""
    values = maps.values.astype(np.float64)
    np.testing.assert_allclose(map_tiles(maps, view=view).values[0], expected(values), rtol=1e-12)
    chosen = map_tiles(maps, view=view, channels="1,4-5")
    np.testing.assert_allclose(chosen.values[0], expected(values[[1, 4, 5]]), rtol=1e-12)
    assert chosen.extent == (chosen.values.min(), chosen.values.max())


def test_norms_do_not_overflow():
    """Values whose squares are beyond float64 have a norm."""
    tiles = map_tiles(FeatureMaps(np.full((4, 2, 2), 1e308)), view="norm", channels=[0])
    np.testing.assert_allclose(tiles.values, 1e308)


def test_chosen_channels_keep_their_numbers_and_the_scale_of_all(maps):
    """A part of the maps is drawn on the scale of the layer."""
    tiles = map_tiles(maps, top=3, sort="std")
    order = np.argsort(-maps.values.reshape(8, -1).std(1), kind="stable")[:3]
    assert tiles.numbers == tuple(order.tolist())
    np.testing.assert_array_equal(tiles.values, maps.values[order])
    assert tiles.extent == (maps.values.min(), maps.values.max())
    assert tiles.total == 8
    assert tiles.signed


def test_plain_arrays(maps):
    """(C, H, W) and (1, C, H, W) are taken; other ranks, empty ones and words are refused with their shape."""
    assert as_maps(maps) is maps
    np.testing.assert_array_equal(as_maps(maps.values[None]).values, maps.values)
    for wrong in (np.zeros((2, 3)), np.zeros((2, 3, 4, 4)), np.zeros((0, 3, 3))):
        with pytest.raises(UsageError, match=rf"\({wrong.shape[0]}, "):
            as_maps(wrong)
    with pytest.raises(UsageError, match="one by one"):
        map_tiles(maps, view="sum")
    with pytest.raises(UsageError):
        map_tiles(maps, channels="8")


def test_telling_channels_leave_out_doubles_and_the_dead():
    """By spread; a multiple or negative of a map that was taken, a flat one and one with NaN are left out."""
    base = np.random.default_rng(1).normal(size=(4, 6, 6))
    values = np.stack(
        [base[0], 3 * base[1], -2.5 * base[1] + 1, np.full((6, 6), 9.0), base[2] * 2, base[3] * np.nan, base[0] + 1e-3]
    )
    assert telling_channels(values, 5)[:2] == (1, 4)
    assert telling_channels(values, 5)[2:] in ((0,), (6,))
    assert telling_channels(values, 2) == (1, 4)
    chosen = telling_channels(np.random.default_rng(2).normal(size=(20, 4, 4)), 20)
    flat = np.random.default_rng(2).normal(size=(20, 16))[list(chosen)]
    assert (np.abs(np.corrcoef(flat)) - np.eye(len(chosen)) < 0.98).all()

"""How many maps a page has room for, and what is dropped from one that is too large."""

from __future__ import annotations

import numpy as np
import pytest
import reports

from kernelviz.errors import UsageError
from kernelviz.report.budget import LEAST, LayerSizes, fitted, quotas, with_channels
from kernelviz.report.page import report_page

LAYERS = [LayerSizes(16, 100), LayerSizes(64, 10_000, 9, 3, 9), LayerSizes(512, 49, 400, 8, 1), LayerSizes(3, 10)]


def test_everything_is_shown_if_there_is_room():
    """With room for all, each layer shows all its channels."""
    assert quotas(LAYERS, 10**8, images=1, pixels=1000) == [16, 64, 512, 3]


def test_all_layers_show_the_same_number():
    """Layers of few maps show all of them, the others one number each, the largest for which there is room."""
    found = quotas(LAYERS, 700_000, images=1, pixels=1000)
    assert (found[0], found[3]) == (16, 3)
    assert LEAST < found[1] == found[2] < 64
    sizes = [layer.bytes_of(1) * count for layer, count in zip(LAYERS, found, strict=True)]
    more = sum(sizes) + LAYERS[1].bytes_of(1) + LAYERS[2].bytes_of(1)
    assert sum(sizes) < 700_000
    assert more > 700_000 - 200_000  # script, style and markup take the rest


def test_more_images_leave_fewer_maps():
    """Each image takes its share."""
    one, three = (quotas(LAYERS, 700_000, images=images, pixels=1000) for images in (1, 3))
    assert three[1] < one[1]


def test_four_maps_are_the_least():
    """However small the page, a layer keeps four maps, or all it has."""
    assert quotas(LAYERS, 1, images=2, pixels=10**6) == [4, 4, 4, 3]


def test_a_page_that_is_too_large_loses_the_maps_of_smallest_spread():
    """The page then fits, states what is left out, and keeps kernels, maps, units and weights together."""
    report = reports.make_report(side=64, renderer=report_page)
    size = len(report.html.encode())
    small = fitted(report, size - 3000)
    assert len(small.html.encode()) <= size - 3000
    assert "are shown; near-duplicates" in small.notes[-1]
    wide, cut = report.layers[2], small.layers[2]
    assert set(cut.shown) < set(wide.shown)
    spread = {
        channel: np.std(maps) for channel, maps in zip(wide.shown, wide.maps[0].levels.astype(float), strict=True)
    }
    scaled = {channel: spread[channel] * limit for channel, limit in zip(wide.shown, wide.maps[0].limits, strict=True)}
    assert set(cut.shown) == set(sorted(scaled, key=scaled.get)[-len(cut.shown) :])


def test_too_small_a_page_states_which_size_would_do():
    """Four maps a layer that do not fit are an error with the size that they take."""
    report = reports.make_report(renderer=report_page)
    with pytest.raises(UsageError, match="too small for 4 maps") as error:
        fitted(report, 10_000)
    needed = float(error.value.hint.split("--max-size ")[1].split(",")[0])
    assert fitted(report, round(needed * 10**6)).layers


def test_channels_are_cut_everywhere():
    """A layer of fewer channels has those kernels, maps, units and weights."""
    layer = reports.make_report().layers[0]
    cut = with_channels(layer, np.array([1, 4]))
    assert cut.shown == (1, 4)
    assert np.array_equal(cut.live.weights, layer.live.weights[[1, 4]])
    assert np.array_equal(cut.maps[0].levels, layer.maps[0].levels[[1, 4]])
    deep = with_channels(reports.make_report().layers[1], np.array([0, 3]))
    assert set(deep.units[0].at[:, 0]) == {0, 3}
    assert (deep.kernels.zero, deep.kernels.faint) == ((), (3,))

"""An image that moves: which maps stay, which move along, and where a difference comes from."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from kernelviz.errors import UsageError
from kernelviz.exploring import make_report
from kernelviz.files.images import read_image
from kernelviz.network.inputs import Input
from kernelviz.network.shift import shift_image
from kernelviz.streaming import seen_pixels
from kernelviz.views.shifts import shift_entry

LAYERS = ("conv_stem", "blocks.1", "blocks.2", "blocks.3", "blocks.4", "blocks.6")


@pytest.fixture(scope="module")
def moved(bundled):
    """The photograph moved by 16 pixels, without the shifts between."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("kernelviz.network.shift.measured_shifts", tuple)
        return shift_image(bundled, read_image("sample:grace_hopper"), (0, 16), LAYERS)


def test_columns_that_do_not_read_the_border_are_equal_to_the_last_bit(moved):
    """What a moved map lacks to the unmoved one moved along is the border: every other column is bitwise equal."""
    found = [layer.columns[16] for layer in moved.layers[:-1]]
    assert [(one.equal, one.total) for one in found] == [(103, 104), (47, 52), (17, 26), (4, 13), (0, 13)]
    assert all(one.inside == one.equal for one in found)
    assert 16 not in moved.layers[-1].columns


def test_the_cosines_are_those_of_all_maps(moved):
    """Invariance compares with the maps that stay, equivariance with those moved along, over the cells that both have."""
    stays = [moved.invariance[name][16] for name in LAYERS]
    moves = [moved.equivariance[name].get(16) for name in LAYERS]
    assert np.allclose(stays, (0.587, 0.236, 0.190, 0.532, 0.494, 0.915), atol=6e-4)
    assert np.allclose(moves[:-1], (0.9997, 0.9930, 0.9849, 0.9746, 0.9678), atol=6e-5)
    assert moves[-1] is None
    assert [layer.jump for layer in moved.layers] == [2, 4, 8, 16, 16, 32]
    assert moved.layers[-1].centred_invariance[16] == pytest.approx(0.885, abs=1e-3)
    assert [one.label for one in moved.classes] == ["academic gown", "mortarboard"]


def test_the_moved_image_is_another_window_of_the_photograph(moved):
    """No pixel is invented: what both windows see is the same, and the rest comes from the photograph."""
    first, last = moved.pictures
    assert (first[:, :-16] == last[:, 16:]).all()
    assert (moved.room, moved.repeated) == (16, 0)
    assert len(np.unique(last[:, :16].reshape(-1, 3), axis=0)) > 500


def test_a_shift_beyond_the_photograph_needs_an_edge(bundled):
    """A shift beyond what is beside the input is refused with the room there is."""
    with pytest.raises(UsageError, match=r"right by at most 16 pixels, but got 20"):
        shift_image(bundled, read_image("sample:grace_hopper"), (20,))


@pytest.fixture
def small():
    """A network of two strided convolutions and a gate that reads the whole image."""

    class Gate(nn.Module):
        def forward(self, maps):
            return maps * maps.mean((2, 3), keepdim=True).sigmoid()

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(3, 5, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(5, 4, 3, stride=2), Gate())


@pytest.mark.parametrize("along", ["right", "down"])
def test_a_tensor_moves_with_its_edge_repeated(small, along):
    """A tensor has no photograph beside it: its edge is repeated, and stated to be, along the axis that was chosen."""
    image = torch.rand(3, 33, 40, generator=torch.Generator().manual_seed(1))
    found = shift_image(small, image, (0, 3, 4, 8), along=along, layers=["0", "1", "2"])
    assert (found.room, found.repeated, found.measured) == (0, 8, tuple(range(9)))
    assert all(one.equal == one.inside > 0 for layer in found.layers[:2] for one in layer.columns.values())
    assert list(found.equivariance["2"]) == [0, 4, 8]
    assert found.layers[0].signed
    assert not found.layers[1].signed
    length = 40 if along == "right" else 33
    assert found.layers[0].columns[8].total == (length + 1) // 2 - 4


def test_a_gate_breaks_equality_and_is_named(small):
    """Maps behind a gate move along only nearly: there is a cosine, and no claim about bits."""
    image = torch.rand(3, 33, 40, generator=torch.Generator().manual_seed(1))
    (layer,) = shift_image(small, image, (0, 4), "3").layers
    assert layer.mixes_image
    assert not layer.columns
    assert 0.9 < layer.equivariance[4] < 1


def test_units_that_are_not_evenly_spaced_have_no_rings():
    """Without a jump there is no exact moved map: the reason is stated, and only the cosine with the map that stays."""
    network = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.AdaptiveAvgPool2d(5))
    (layer,) = (found := shift_image(network, torch.rand(3, 33, 33), (0, 4), "1")).layers
    assert (layer.jump, layer.lost) == (None, "its units are not evenly spaced")
    assert not found.equivariance["1"]
    assert 0 < found.invariance["1"][4] <= 1


def test_more_layers_than_fit_a_page_are_refused():
    """At most six layers are on a page."""
    network = nn.Sequential(*(nn.Conv2d(3, 3, 1) for _ in range(7)))
    with pytest.raises(UsageError, match="At most 6 layers fit on one page, but 7"):
        shift_image(network, torch.zeros(3, 8, 8), (0, 1), "*")


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"by": (-1,)}, "whole numbers of pixels from 0"),
        ({"by": range(9)}, "At most 8 shifts"),
        ({"by": (0,)}, "by 0 pixels stays"),
        ({"along": "up"}, "moves right or down"),
        ({"layers": "0", "channels": 5}, "has 5 channels, but got 5"),
        ({"layers": ["0", "2"], "channels": (1, 2, 3)}, "2 layers, but 3 channels"),
    ],
)
def test_what_cannot_be_is_refused(small, choices, message):
    """Shifts, directions and channels that do not exist are refused with what there is."""
    with pytest.raises(UsageError, match=message):
        shift_image(small, torch.zeros(3, 16, 16), **{"by": (0, 1), **choices})


def test_maps_without_length_have_no_cosine(small):
    """A black image has maps whose cosine is not a number, and JSON can hold it as text."""
    for parameter in small.parameters():
        parameter.data.zero_()
    found = shift_image(small, torch.zeros(3, 16, 16), (0, 1), "0")
    assert np.isnan(found.invariance["0"][1])
    assert shift_entry(found)["layers"][0]["name"] == "0"


@pytest.mark.parametrize(("channels", "drawn"), [(1, 1), (2, 1), (3, 3), (4, 3)])
def test_every_page_draws_a_tensor_by_one_rule(channels, drawn):
    """A shift, a report and patches draw the same pixels of a tensor: its first three channels, else the first."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = nn.Sequential(nn.Conv2d(channels, 2, 3))
    values = np.random.default_rng(0).random((channels, 9, 8)).astype(np.float32)
    values[0, 1, 1], values[0, 2, 2], values[0, 3, 3] = np.nan, np.inf, -np.inf
    image = torch.from_numpy(values)
    found = shift_image(network, image, (0, 1), "0")
    pixels = make_report(network, image, "0").images[0].pixels
    assert np.array_equal(found.pictures[0], pixels)
    assert np.array_equal(seen_pixels(Input(image[None])), pixels)
    assert len(np.unique(pixels.reshape(-1, 3).T, axis=0)) == drawn
    assert pixels[1:4, 1:4, 0].diagonal().tolist() == [0, 255, 0]
    assert pixels.min() == 0
    assert any(f"of {channels}" in note for note in found.notes) == (channels not in (1, 3))

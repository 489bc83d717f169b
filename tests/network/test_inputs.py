"""Inputs of every shape: of one, two and three axes, and several of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import kernelviz
from kernelviz import capture_features, trace
from kernelviz.errors import BrokenPassError, UsageError


class Two(nn.Module):
    """A network of two images."""

    def __init__(self):
        super().__init__()
        self.left, self.right, self.both = nn.Conv2d(3, 8, 3), nn.Conv2d(3, 8, 5, padding=1), nn.Conv2d(16, 2, 1)

    def forward(self, x, y):
        """Both, convolved and joined."""
        return self.both(torch.cat([self.left(x), self.right(y)], 1))


class Timed(nn.Module):
    """A network of an image and a step, as in diffusion."""

    def __init__(self):
        super().__init__()
        self.conv, self.steps = nn.Conv2d(3, 8, 3), nn.Embedding(10, 8)

    def forward(self, x, t):
        """The image, shifted by the step."""
        return self.conv(x) + self.steps(t)[:, :, None, None]


def two_images():
    """Two random batches of one image."""
    generator = torch.Generator().manual_seed(0)
    return torch.rand(1, 3, 16, 16, generator=generator), torch.rand(1, 3, 16, 16, generator=generator)


@pytest.mark.parametrize("shape", [(1, 100), (1, 1, 100)])
def test_one_axis(shape):
    """(C, L) and (1, C, L) are one signal for a network of one axis; its maps are strips (C, 1, L), those of a hook."""
    network, signal = nn.Sequential(nn.Conv1d(1, 8, 9, stride=4), nn.ReLU()), torch.rand(shape)
    maps = kernelviz.capture_features(network, signal, "0")[0]
    assert torch.equal(torch.from_numpy(maps.values)[:, 0], network[0](signal.reshape(1, 1, 100))[0].detach())
    assert kernelviz.plot_features(maps)


@pytest.mark.parametrize("shape", [(1, 8, 16, 16), (1, 1, 8, 16, 16)])
def test_three_axes(shape):
    """(C, D, H, W) and (1, C, D, H, W) are one volume; its maps are those of a hook, and drawn as slices."""
    network, volume = nn.Sequential(nn.Conv3d(1, 4, 3), nn.ReLU()), torch.rand(shape)
    maps = kernelviz.capture_features(network, volume, "0")[0]
    assert torch.equal(torch.from_numpy(maps.values), network[0](volume.reshape(1, 1, 8, 16, 16))[0].detach())
    sheet = kernelviz.make_sheet(maps)
    assert sheet.tiles.values.shape == (6 * 4, 14, 14)
    assert (sheet.tiles.values[4 * 2 + 3] == maps.values[3, 2]).all()  # slice 2 of map 3
    mean = kernelviz.make_sheet(maps, view="mean")
    assert mean.tiles.values.shape == (6, 14, 14)
    assert mean.shown == 4
    assert kernelviz.plot_features(maps)
    assert kernelviz.plot_features(torch.from_numpy(maps.values)[None], reduce="max")
    for draw in (kernelviz.plot_overview, kernelviz.plot_overlay, kernelviz.ChannelTally().add):
        with pytest.raises(UsageError, match="drawn as slices by plot_features only"):
            draw([maps] if draw is kernelviz.plot_overview else maps)


def test_what_is_refused_says_how_the_input_must_look():
    """The axes are those of the network's convolutions."""
    with pytest.raises(UsageError, match=r"must be \(C, L\) or \(1, C, L\)"):
        kernelviz.capture_features(nn.Sequential(nn.Conv1d(1, 8, 9), nn.ReLU()), torch.rand(2, 3, 4, 5, 6))
    with pytest.raises(UsageError, match=r"must be \(C, D, H, W\) or \(1, C, D, H, W\)"):
        kernelviz.capture_features(nn.Sequential(nn.Conv3d(1, 8, 3), nn.ReLU()), torch.rand(2, 1, 8, 8, 8))


@pytest.mark.parametrize("form", ["tuple", "list", "names", "without batch"])
def test_several_inputs(form):
    """A tuple, a list, names, with and without the axis of the batch: every map is that of the network itself."""
    network, (x, y) = Two(), two_images()
    given = {"tuple": (x, y), "list": [x, y], "names": {"x": x, "y": y}, "without batch": (x[0], y[0])}[form]
    maps = {each.layer: torch.from_numpy(each.values) for each in kernelviz.capture_features(network, given, "*")}
    expected = {"left": network.left(x), "right": network.right(y), "both": network(x, y)}
    assert maps.keys() == expected.keys()
    assert all(torch.equal(maps[name], expected[name][0].detach()) for name in maps)


def test_an_input_of_whole_numbers():
    """A step keeps its type, with the tensor itself and in its place."""
    network, (x, _) = Timed(), two_images()
    for given in ((x, torch.tensor([3])), {"x": x, "t": torch.tensor([3])}):
        maps = kernelviz.capture_features(network, given, "Timed" if isinstance(given, tuple) else "conv")
        assert maps[0].values.shape == (8, 14, 14)


@pytest.mark.parametrize("sizes", [[(3, 16, 16), (3, 16, 16)], {"x": (3, 16, 16), "y": (3, 16, 16)}])
def test_a_trace_of_several_inputs(sizes):
    """Units read the pixels of both images at the same places."""
    rows = kernelviz.trace(Two(), sizes).layers
    assert [(row.name, row.field.axes[0].size) for row in rows] == [("left", 3), ("right", 5), ("both", 5)]


def test_a_trace_of_an_input_of_whole_numbers():
    """A tensor in place of a size has the type that the network needs."""
    for sizes in ({"x": (3, 16, 16), "t": torch.tensor([3])}, (*two_images()[:1], torch.tensor([3]))):
        rows = {row.name: row for row in kernelviz.trace(Timed(), sizes).layers}
        assert rows["conv"].field.largest == 3
        assert rows["steps"].output_shape == (8,)


def test_the_number_of_inputs_is_stated():
    """A network of two inputs that gets one says so, and how to give them; its size is not blamed."""
    with pytest.raises(BrokenPassError, match="The network takes 2 inputs: x, y") as caught:
        kernelviz.trace(Two(), (3, 16, 16))
    assert "In Python, give a tuple of the arguments" in caught.value.hint
    with pytest.raises(BrokenPassError, match="takes 2 inputs"):
        kernelviz.capture_features(Two(), two_images()[0], "*")
    with pytest.raises(UsageError, match="One of the inputs must be a tensor, the image, but got float, int"):
        kernelviz.capture_features(Two(), (0.5, 3))


def test_plain_maps_of_one_and_three_axes():
    """(C, L) and (1, C, D, H, W) are clear from their ranks; other shapes need the number of axes."""
    signal, volume = torch.rand(5, 300), torch.rand(4, 6, 7, 8)
    assert kernelviz.plot_features(signal)
    assert kernelviz.plot_features(signal[None], axes=1)
    assert kernelviz.plot_features(volume[None])
    assert kernelviz.plot_features(volume, axes=3, reduce="mean")
    for given, axes in ((volume, None), (signal, 2), (volume, 1)):
        with pytest.raises(UsageError, match="Feature maps must be") as caught:
            kernelviz.plot_features(given, axes=axes)
        assert "axes=1 or axes=3" in caught.value.hint
    with pytest.raises(UsageError, match="axes must be 1, 2 or 3"):
        kernelviz.plot_features(signal, axes=4)


def test_slices_of_a_map_share_its_range():
    """A slice is not scaled on its own, and one of a single value is not called dead; a map of a single value is."""
    values = torch.zeros(2, 3, 4, 5)
    values[0, 1, 2, 2], values[0, 2] = 8, 4
    sheet = kernelviz.make_sheet(kernelviz.FeatureMaps(values.numpy()))
    assert any("maps do not compare" in line for line in sheet.caption)
    assert [note for note in sheet.notes if "dead" in note] == ["1 map is dead, one value everywhere, left grey: 1"]
    pixels = kernelviz.make_mosaic(sheet).pixels
    middle = [int(pixels[top + 1, sheet.grid.lefts[0] + 1]) for top in sheet.grid.tops]  # of map 0
    assert middle == [0, 0, 100]


@pytest.mark.filterwarnings("ignore")
def test_the_order_of_inputs_does_not_matter():
    """The image is the input that a convolution can read, wherever it stands; the others are given as they are."""

    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale, self.conv = nn.Linear(8, 4), nn.Conv2d(3, 4, 3)

        def forward(self, t, x):
            return self.conv(x) + self.scale(t)[..., None, None]

    network, t, x = Scaled().eval(), torch.rand(1, 8), torch.rand(1, 3, 20, 20)
    wanted = network.conv(x)[0].detach().numpy()
    for given in ((t, x), {"t": t, "x": x}, {"x": x, "t": t}, (t[0], x[0]), {"t": t[0], "x": x[0]}):
        (maps,) = capture_features(network, given, "conv")
        assert np.array_equal(maps.values, wanted)
    for sizes in ([(8,), (3, 20, 20)], {"t": (8,), "x": (3, 20, 20)}, {"x": (3, 20, 20), "t": (8,)}):
        assert trace(network, sizes).layer("conv").output_shape == (4, 18, 18)


@pytest.mark.filterwarnings("ignore")
def test_a_quantised_output_is_dequantised_and_said():
    """Its map is the numbers that it stands for."""

    class Quantised(nn.Module):
        def forward(self, x):
            return torch.quantize_per_tensor(x, 0.1, 0, torch.quint8)

    network = nn.Sequential(nn.Conv2d(3, 4, 3), Quantised()).eval()
    image = torch.rand(1, 3, 12, 12)
    (maps,) = capture_features(network, image, "1")
    assert np.array_equal(maps.values, network(image).dequantize()[0].detach().numpy())
    assert maps.notes == ("dequantised: the layer returns quint8",)

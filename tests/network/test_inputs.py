"""Inputs of every shape: of one, two and three axes, and several of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from timm.layers.bottleneck_attn import BottleneckAttn
from torch import nn

import kernelviz
from kernelviz import capture_features, trace
from kernelviz.errors import BrokenPassError, InputSizeError, KernelvizError, UsageError


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
    assert "In Python, give a tuple of them" in caught.value.hint
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
    assert any("not comparable between maps" in line for line in sheet.caption)
    assert [note for note in sheet.notes if "dead" in note] == [
        "1 map is dead (the same value everywhere), drawn grey: 1"
    ]
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


class Listed(nn.Module):
    """A network of one list of images, as torchvision's detectors are."""

    def __init__(self):
        super().__init__()
        self.left, self.right = nn.Conv2d(3, 8, 3), nn.Conv2d(3, 8, 5, padding=1)

    def forward(self, images, scale=1.0):
        """Both, added up."""
        return self.left(images[0]) * scale + self.right(images[1])


class Optional(nn.Module):
    """A network of an image and what may be left out."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)

    def forward(self, x, t=1.0, *, mode=None, more=None):
        """The image, scaled, negated and shifted."""
        out = self.conv(x) * t
        out = -out if mode == "negative" else out
        return out if more is None else out + more["shifts"][0]


def test_a_list_is_one_argument_of_a_network_that_requires_one():
    """A list is passed as a list, a tuple holds the arguments; a list inside of it stays one."""
    network, (x, y) = Listed().eval(), two_images()
    with torch.no_grad():
        wanted = {1.0: network([x, y]), 0.5: network([x, y], 0.5)}
    for given, scale in (
        ([x, y], 1.0),
        (([x, y],), 1.0),
        (([x, y], 0.5), 0.5),
        ({"images": (x, y), "scale": 0.5}, 0.5),
    ):
        (maps,) = capture_features(network, given, "Listed")
        assert np.array_equal(maps.values, wanted[scale][0].numpy())
    for sizes in ([(3, 16, 16), (3, 16, 16)], ([(3, 16, 16), (3, 16, 16)], 0.5), [x, y]):
        assert [layer.field.largest for layer in trace(network, sizes).layers] == [3, 5]


def test_images_in_a_list_are_passed_as_they_are():
    """A list of images without the axis of the batch is what the network gets; one without such an axis gets it first."""

    class Batching(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)

        def forward(self, images):
            assert all(image.ndim == 3 for image in images)
            return self.conv(torch.stack(images))

    network, (x, y) = Batching().eval(), two_images()
    (maps,) = capture_features(network, [x[0], y[0]], "conv")
    assert np.array_equal(maps.values, network.conv(torch.cat([x, y]))[0].detach().numpy())
    assert maps.notes == ("1 of 2 along its first axis: the first is drawn",)
    assert trace(network, [x[0]]).layer("conv").output_shape == (4, 14, 14)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ((0.5,), {}),
        ((2,), {}),
        ((True,), {}),
        ((torch.tensor(3.0),), {}),
        ((), {"mode": "negative"}),
        ((0.5,), {"more": {"shifts": (torch.ones(1, 8, 1, 1), None), "name": "shift"}}),
        ((), {"mode": None, "more": None}),
    ],
)
def test_further_inputs_of_any_kind(given, named):
    """Numbers, texts, None and containers of these are passed as torch takes them, in a trace too."""
    network, (x, _) = Optional().eval(), two_images()
    with torch.no_grad():
        wanted = network(x, *given, **named)[0].numpy()
    forms = [{"x": x, **dict(zip(["t"], given, strict=False)), **named}]
    sizes = [{**forms[0], "x": (3, 16, 16)}]
    if not named:
        forms.append((x, *given))
        sizes.append(((3, 16, 16), *given))
    for form in forms:
        (maps,) = capture_features(network, form, "Optional")
        assert np.array_equal(maps.values, wanted)
    for form in sizes:
        assert trace(network, form).layer("conv").output_shape == (8, 14, 14)


def test_a_dict_with_other_keys_is_one_argument():
    """A batch in a dict, as loaders make it: its keys are no parameters of ``forward``."""

    class Keyed(Optional):
        def forward(self, batch):
            return self.conv(batch["image"])

    x = two_images()[0]
    (maps,) = capture_features(Keyed(), {"image": x, "label": 3}, "conv")
    assert maps.values.shape == (8, 14, 14)


def test_a_network_that_makes_images_of_other_inputs():
    """Clips whose frames are convolved and samples that become a spectrogram: the maps are those of a hook."""

    class Clip(Optional):
        def forward(self, clip):
            return self.conv(clip.flatten(0, 1))

    class Spectrogram(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(1, 4, 3)

        def forward(self, samples):
            window = torch.hann_window(64, device=samples.device)
            return self.conv(torch.stft(samples, 64, window=window, return_complex=True).abs()[:, None])

    for network, given in ((Clip(), torch.rand(1, 5, 3, 16, 16)), (Spectrogram(), torch.rand(1, 2000))):
        (maps,) = capture_features(network, given, "conv")
        seen = []
        network.conv.register_forward_hook(lambda _module, _inputs, output, seen=seen: seen.append(output))
        network(given)
        assert np.array_equal(maps.values, seen[0][0].detach().numpy())
        assert any("receptive field unknown" in note for note in maps.notes)


SIGNALS, IMAGES, VOLUMES = (
    nn.Sequential(nn.Conv1d(1, 8, 9), nn.ReLU()),
    nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU()),
    nn.Sequential(nn.Conv3d(1, 4, 3), nn.ReLU()),
)


@pytest.mark.parametrize(
    ("network", "shape", "wanted"),
    [
        (SIGNALS, (3, 16, 16), "(C, L) or (1, C, L)"),
        (SIGNALS, (1, 3, 16, 16), "(C, L) or (1, C, L)"),
        (SIGNALS, (2, 1, 100), "more than one signal"),
        (SIGNALS, (1, 2, 100), "(1, L) or (1, 1, L)"),
        (IMAGES, (100,), "(C, H, W) or (1, C, H, W)"),
        (IMAGES, (1, 100), "(C, H, W) or (1, C, H, W)"),
        (IMAGES, (4, 16, 16), "(3, H, W) or (1, 3, H, W)"),
        (IMAGES, (2, 3, 16, 16), "more than one image"),
        (IMAGES, (1, 1, 8, 8, 8), "(C, H, W) or (1, C, H, W)"),
        (VOLUMES, (3, 16, 16), "(C, D, H, W) or (1, C, D, H, W)"),
        (VOLUMES, (2, 8, 8, 8), "(1, D, H, W) or (1, 1, D, H, W)"),
    ],
)
def test_a_refused_input_states_how_it_must_look(network, shape, wanted):
    """Of a wrong rank, batch or number of channels; the size is not blamed. A trace states the same."""
    with pytest.raises(KernelvizError) as caught:
        capture_features(network, torch.rand(shape), "*")
    assert wanted in str(caught.value)
    assert "built for" not in str(caught.value)
    size = shape[1:] if shape[0] == 1 and len(shape) > 2 else shape
    if "more than" not in wanted and size != (3, 16, 16):
        with pytest.raises(KernelvizError) as caught:
            trace(network, size)
        assert wanted in str(caught.value)


def test_a_convolution_never_takes_the_batch_for_channels():
    """Convolutions take inputs without a batch: (1, 16, 16) would be a volume's slices."""
    with pytest.raises(UsageError, match=r"must be \(C, D, H, W\)"):
        trace(VOLUMES, (3, 16, 16))
    with pytest.raises(UsageError, match=r"must be \(C, L\)"):
        trace(SIGNALS, (100,))


def test_several_inputs_where_one_is_taken():
    """A tensor is wanted, and what was given instead is named."""
    x, y = two_images()
    for given, text in (((x, y), "a tuple of 2"), ([x], "a list of 1"), ({"image": x}, "a dict of 1")):
        with pytest.raises(BrokenPassError, match="The network takes 1 input: input") as caught:
            capture_features(IMAGES, given, "*")
        assert text in caught.value.what
    with pytest.raises(BrokenPassError, match="The network takes 2 inputs: x, y"):
        capture_features(Two(), {"x": x}, "*")


class IndexedBy(nn.Module):
    """Takes numbers of a table by its input."""

    def forward(self, x):
        """As indices."""
        return torch.arange(10, device=x.device)[x]


class Paired(nn.Module):
    """Reads a coloured and a grey image."""

    def __init__(self):
        super().__init__()
        self.colour, self.grey = nn.Conv2d(3, 4, 3), nn.Conv2d(1, 4, 3)

    def forward(self, x, y):
        """Their maps, added."""
        return self.colour(x) + self.grey(y)


@pytest.mark.parametrize("by_name", [False, True])
@pytest.mark.parametrize(
    ("channels", "text"),
    [
        ((1, 3), "The input x must have 3 channels: give (3, H, W)"),
        ((3, 2), "The input y must have 1 channel: give (1, H"),
    ],
)
def test_the_input_with_wrong_channels_is_named(channels, text, by_name):
    """Of several inputs the one that the layer cannot read, in a capture and in a trace."""
    sizes = [(each, 16, 16) for each in channels]
    tensors = tuple(map(torch.rand, sizes))
    for call in (
        lambda: capture_features(Paired(), dict(zip("xy", tensors, strict=True)) if by_name else tensors, "*"),
        lambda: trace(Paired(), dict(zip("xy", sizes, strict=True)) if by_name else sizes),
    ):
        with pytest.raises(BrokenPassError) as caught:
            call()
        assert caught.value.hint.startswith(text)


def test_an_unknown_name_of_an_input_is_named():
    """A dict with another key than the several required inputs is no argument by itself."""
    for call in (
        lambda: capture_features(Paired(), {"x": torch.rand(3, 16, 16), "z": torch.rand(1, 16, 16)}, "*"),
        lambda: trace(Paired(), {"x": (3, 16, 16), "z": (1, 16, 16)}),
    ):
        with pytest.raises(UsageError, match=r"The network takes no input z\.\nIt takes x, y\."):
            call()


@pytest.mark.parametrize(
    ("module", "hint"),
    [
        (nn.Embedding(10, 4), ".long()"),
        (IndexedBy(), ".long()"),
        (nn.Conv2d(8, 4, 1).half(), ".float()"),
        (nn.Conv2d(8, 4, 1).double(), ".float()"),
    ],
)
def test_advice_about_types_of_numbers(module, hint):
    """A layer that reads indices needs whole numbers; only of floating-point types one is to be chosen for all."""
    network = nn.Sequential(nn.Conv2d(3, 8, 3), module)
    for call in (
        lambda: trace(network, (3, 16, 16)),
        lambda: capture_features(network, torch.rand(3, 16, 16), "*"),
    ):
        with pytest.raises(BrokenPassError) as caught:
            call()
        assert hint in caught.value.hint


class Faulty(nn.Module):
    """Raises an error in a module inside it, after a convolution."""

    def __init__(self, error):
        super().__init__()
        self.conv, self.error = nn.Conv2d(3, 8, 3), error
        self.inner = nn.Sequential(nn.ReLU())
        self.inner.forward = self.fail

    def fail(self, _x):
        """Raise it."""
        raise self.error

    def forward(self, x):
        """The convolution, then the error."""
        return self.inner(self.conv(x))


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (RuntimeError("no weights were set"), "RuntimeError: no weights were set"),
        (ValueError("mode must be sum"), "ValueError: mode must be sum"),
        (KeyError("mask"), "KeyError: 'mask'"),
        (NotImplementedError(), "NotImplementedError"),
    ],
)
def test_a_fault_of_the_network_is_reported_as_it_is(error, text):
    """With its layer, its type, its text and the line; the size of the input is not blamed."""
    for call in (
        lambda: trace(Faulty(error), (3, 16, 16)),
        lambda: capture_features(Faulty(error), torch.rand(3, 16, 16), "*"),
    ):
        with pytest.raises(BrokenPassError, match="The forward pass failed for an input of 3 × 16 × 16") as caught:
            call()
        assert type(caught.value) is BrokenPassError
        assert "inner (Sequential) got 8 × 14 × 14" in caught.value.what
        assert f"{text}. Raised in" in caught.value.why
        assert "test_inputs.py, line" in caught.value.why
        assert caught.value.hint == ""


def test_a_fault_about_a_size_has_advice_about_the_size():
    """An error whose text is about sizes keeps the advice."""
    with pytest.raises(BrokenPassError, match="does not take an input of 3 × 16 × 16") as caught:
        trace(Faulty(ValueError("the height must be a multiple of 32")), (3, 16, 16))
    assert "built for" in caught.value.hint


def test_an_assertion_of_timm_about_a_size_is_one_about_a_size():
    """Its condition is the reason, although ``torch._assert`` raises it, and the size of the input is blamed."""
    network = nn.Sequential(nn.Conv2d(3, 16, 1), BottleneckAttn(16, feat_size=(8, 8), num_heads=2)).eval()
    trace(network, (3, 8, 8))
    for call in (lambda: trace(network, (3, 9, 8)), lambda: capture_features(network, torch.rand(3, 9, 8), "*")):
        with pytest.raises(InputSizeError, match="does not take an input of 3 × 9 × 8") as caught:
            call()
        assert caught.value.why.startswith("AssertionError: assert H == self.pos_embed.height")
        assert "built for" in caught.value.hint

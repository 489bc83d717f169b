"""A traced value is the very one that the network gives, and its numbers are those that torch multiplies."""

from __future__ import annotations

import numpy as np
import pytest
import timm
import torch
from torch import nn
from torch.nn import functional

from kernelviz import capture_features, list_layers, load_model, read_image, trace_unit
from kernelviz.errors import KernelvizError, UnknownLayerError, UsageError
from kernelviz.network.units import trace_units

ROUNDING = 3e-6  # float32 keeps 7 digits; a sum of thousands of products loses some


def maps_of(network, image, layer):
    """What the layer gives, by a hook of torch's."""
    kept = []
    module = dict(network.named_modules())[layer]
    handle = module.register_forward_hook(lambda _m, _i, output: kept.append(output.detach().clone()))
    with torch.no_grad():
        network.eval()(image[None])
    handle.remove()
    return kept[0][0].numpy()


def units_of(shape, count=3, seed=0):
    """Random units of a map, and two of its corners."""
    channels, *sides = shape
    height, width = (1, *sides)[-2:]
    numbers = np.random.default_rng(seed)
    some = [tuple(int(numbers.integers(side)) for side in (channels, height, width)) for _ in range(count)]
    return [*some, (0, 0, 0), (channels - 1, height - 1, width - 1)]


def check(network, image, layer):
    """Each unit's value is the hooked map's, its products and bias add up to it, and what they are made of is there."""
    maps = maps_of(network, image, layer)
    planar = maps if maps.ndim == 3 else maps[:, None]
    positions = units_of(maps.shape)
    for at, unit in zip(positions, trace_units(network, image, layer, positions), strict=True):
        assert unit.value == planar[at]
        np.testing.assert_array_equal(unit.map, planar[at[0]])
        size = abs(unit.products).sum() + abs(unit.bias or 0)
        assert abs(unit.total - unit.value) <= ROUNDING * size + 1e-30
        np.testing.assert_array_equal(unit.products, unit.window * unit.kernel)
        assert (unit.window[:, unit.stretched] == 0).all()
        for row in range(unit.window.shape[1]):
            for column in range(unit.window.shape[2]):
                if unit.layer.transposed or unit.padding[row, column]:
                    continue
                dilation = (1, *unit.layer.dilation)[-2:]
                there = unit.inputs[:, unit.rows[0] + row * dilation[0], unit.columns[0] + column * dilation[1]]
                np.testing.assert_array_equal(unit.window[:, row, column], there)


class Around(nn.Module):
    """One layer between others, so that its input is no image."""

    def __init__(self, layer, channels):
        super().__init__()
        rank = len(layer.kernel_size)
        self.before = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[rank - 1](3, channels, 1)
        self.layer = layer

    def forward(self, image):
        """The layer between two rectifiers."""
        return torch.relu(self.layer(torch.relu(self.before(image))))


LAYERS = {
    "plain": lambda: nn.Conv2d(8, 6, 3, bias=False),
    "stride and padding": lambda: nn.Conv2d(8, 6, (3, 5), stride=(2, 3), padding=(1, 2)),
    "grouped": lambda: nn.Conv2d(8, 12, 3, padding=1, groups=4),
    "depthwise": lambda: nn.Conv2d(8, 16, 5, padding=2, groups=8),
    "dilated": lambda: nn.Conv2d(8, 4, 3, padding=4, dilation=(2, 3)),
    "same, even": lambda: nn.Conv2d(8, 4, (4, 2), padding="same"),
    "mirrored": lambda: nn.Conv2d(8, 4, 5, padding=2, padding_mode="reflect"),
    "repeated": lambda: nn.Conv2d(8, 4, 3, padding=1, padding_mode="replicate"),
    "wrapped": lambda: nn.Conv2d(8, 4, 3, padding=(1, 2), stride=2, padding_mode="circular"),
    "wrapped, same": lambda: nn.Conv2d(8, 4, (3, 2), padding="same", padding_mode="circular"),
    "wrapped row": lambda: nn.Conv1d(8, 5, 3, padding=2, padding_mode="circular"),
    "transposed": lambda: nn.ConvTranspose2d(8, 6, 3),
    "transposed, stride": lambda: nn.ConvTranspose2d(
        8, 6, (4, 3), stride=(2, 3), padding=(1, 0), output_padding=(1, 2)
    ),
    "transposed, groups": lambda: nn.ConvTranspose2d(8, 12, 3, stride=2, groups=4, dilation=2, padding=3),
    "one row": lambda: nn.Conv1d(8, 5, 5, stride=2, padding=2, dilation=2),
    "one row, transposed": lambda: nn.ConvTranspose1d(8, 6, 4, stride=3, padding=1, output_padding=1, groups=2),
}


@pytest.mark.filterwarnings("ignore:Using padding='same':UserWarning")  # torch's own, of an uneven padding
@pytest.mark.parametrize("name", LAYERS)
def test_every_setting_of_torch_is_traced(name):
    """Groups, strides, paddings of every mode, dilations and transposed ones: the hooked value comes out."""
    torch.manual_seed(0)
    layer = LAYERS[name]()
    image = torch.randn(3, 15) if isinstance(layer, nn.Conv1d | nn.ConvTranspose1d) else torch.randn(3, 13, 11)
    check(Around(layer, 8), image, "layer")


NETWORKS = {
    "test_resnet": ["conv1.0", "layer2.0.conv1", "layer3.0.downsample.1"],
    "test_efficientnet": ["conv_stem", "blocks.1.0.conv_exp", "blocks.3.0.conv_dw", "blocks.3.0.se.conv_reduce"],
    "test_nfnet": ["stem.conv1", "stages.1.0.conv2"],
    "test_convnext": ["stem.0", "stages.1.blocks.0.conv_dw", "stages.2.downsample.1"],
    "test_vit": ["patch_embed.proj"],
}
SLOW = {
    "tf_mixnet_s": ["conv_stem", "blocks.1.0.conv_pw.1", "blocks.1.0.conv_dw", "blocks.1.1.conv_pwl.0"],
    "tf_efficientnet_cc_b0_4e": ["blocks.5.0.conv_pw", "blocks.5.0.conv_dw"],
    "resnext50_32x4d": ["conv1", "layer1.0.conv2", "layer4.2.conv2"],
    "resnetv2_50x1_bit": ["stem.conv", "stages.2.blocks.0.conv2"],
    "dilated": [],
    "repvgg_a0": ["stem.conv_kxk.conv"],
    "mobilenetv3_small_050": ["blocks.2.0.se.conv_reduce", "blocks.2.0.conv_dw"],
    "coat_lite_tiny": ["patch_embed2.proj", "cpe1.proj", "crpe1.conv_list.1"],
    "hrnet_w18_small": ["stage2.0.fuse_layers.0.1.0"],
}


def network_of(name):
    """A network of timm's with random weights, its statistics too."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        if name == "dilated":
            return timm.create_model("resnet18", output_stride=8).eval()
        return timm.create_model(name).eval()


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_of_timm_are_traced(name):
    """Depthwise, squeezing, weight-standardised, patch-embedding convolutions within real networks."""
    network = network_of(name)
    torch.manual_seed(1)
    for layer in NETWORKS[name]:
        check(network, torch.randn(3, 160, 160), layer)


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW)
def test_more_networks_of_timm_are_traced(name):
    """Mixed kernels, conditional, grouped and dilated convolutions, padding as TensorFlow does it."""
    network = network_of(name)
    torch.manual_seed(1)
    layers = SLOW[name] or ["layer3.0.conv1", "layer4.1.conv2"]
    for layer in layers:
        check(network, torch.randn(3, 224, 224), layer)


def test_real_weights_on_the_photograph(bundled):
    """The values of EfficientNet-Lite0 on a photograph, and torch's own sum over the window."""
    image = read_image("sample:grace_hopper")
    for layer, at in (("conv_stem", (15, 69, 73)), ("blocks.2.1.conv_dw", (149, 20, 15)),
                      ("blocks.4.0.conv_pwl", (102, 10, 5)), ("conv_stem", (31, 111, 111))):  # fmt: skip
        unit = trace_unit(bundled, image, layer, at)
        (maps,) = capture_features(bundled, image, layer)
        assert unit.value == maps.values[at]
        theirs = functional.conv2d(torch.tensor(unit.window)[None], torch.tensor(unit.kernel)[None])
        assert unit.total == pytest.approx(theirs.item(), rel=1e-12)
        assert unit.total == pytest.approx(unit.value, rel=1e-5)
        assert unit.reads_image == (layer == "conv_stem")
        assert unit.box is not None


def test_what_lies_around_is_reported():
    """Padding that a layer adds by itself is masked on the side where it was put, and counted."""
    network = network_of("tf_mobilenetv3_small_minimal_100")
    first = trace_unit(network, torch.randn(3, 64, 64), "conv_stem", (0, 0, 0))
    last = trace_unit(network, torch.randn(3, 64, 64), "conv_stem", (0, 31, 31))
    assert first.around == last.around == (0, 1, 0, 1)
    assert not first.padding.any()
    assert last.padding.tolist() == [[False, False, True], [False, False, True], [True, True, True]]
    assert (last.rows, last.columns) == ((62, 64), (62, 64))
    assert (last.window[:, last.padding] == 0).all()


def test_wrapped_padding_is_reported():
    """Torch wraps by copies: the layer's own input is told none the less, and what of the window lies around it."""
    image = torch.randn(3, 8, 8)
    unit = trace_unit(nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, padding_mode="circular")), image, "0", (1, 7, 7))
    assert (unit.rows, unit.columns, unit.around) == ((6, 8), (6, 8), (1, 1, 1, 1))
    assert unit.reads_image
    np.testing.assert_array_equal(unit.inputs, image.numpy())
    assert unit.padding.tolist() == [[False, False, True], [False, False, True], [True, True, True]]
    np.testing.assert_array_equal(unit.window[:, 2, 2], image[:, 0, 0].numpy())
    plain = trace_unit(nn.Sequential(nn.Conv2d(3, 4, 3, padding_mode="circular")), image, "0", (1, 5, 5))
    assert (plain.rows, plain.around) == ((5, 7), (0, 0, 0, 0))


def test_nothing_outside_of_its_box_changes_a_unit(tiny):
    """The box holds every pixel of the image with which the value changes."""
    image = torch.randn(3, 160, 160)
    unit = trace_unit(tiny, image, "layer2.0.conv1", (3, 7, 9))
    box = unit.box
    inside = torch.zeros(160, 160, dtype=torch.bool)
    inside[box.top : box.bottom + 1, box.left : box.right + 1] = True
    changed = trace_unit(tiny, torch.where(inside, image, image + 1), "layer2.0.conv1", (3, 7, 9))
    assert changed.value == unit.value
    within = trace_unit(tiny, torch.where(inside, image + 1, image), "layer2.0.conv1", (3, 7, 9))
    assert within.value != unit.value


def test_the_network_stays_as_it_was(tiny):
    """No hook is left, and modes and the random state are as before."""
    tiny.module.train()
    state = torch.random.get_rng_state()
    trace_unit(tiny, torch.randn(3, 160, 160, generator=torch.Generator().manual_seed(0)), "conv1.0", (0, 0, 0))
    assert tiny.module.training
    tiny.module.eval()
    assert torch.equal(state, torch.random.get_rng_state())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in tiny.module.modules())


class Doubled(nn.Conv2d):
    """A convolution that doubles its values."""

    def forward(self, image):
        """Twice the convolution's output."""
        return 2 * super().forward(image)


class Repeated(nn.Conv2d):
    """A convolution that runs twice."""

    def forward(self, image):
        """The second output."""
        return super().forward(super().forward(image))


class Odd(nn.Module):
    """What cannot be traced: two convolutions in one, one that never runs, and one over three axes."""

    def __init__(self):
        super().__init__()
        self.two = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1))
        self.one = nn.Sequential(nn.Conv2d(4, 4, 1), nn.Hardswish())
        self.more, self.calls = Doubled(4, 4, 1), Repeated(4, 4, 1)
        self.never = nn.Conv2d(4, 4, 1)
        self.deep = nn.Conv3d(4, 2, 1)

    def forward(self, image):
        """All but the one that never runs."""
        found = self.calls(self.more(self.one(self.two(image))))
        return self.deep(found[:, :, None])


@pytest.mark.parametrize(
    ("layer", "at", "error", "words"),
    [
        ("two.0", (4, 0, 0), UsageError, "gives 4 maps of 8 × 9 values, but got channel 4"),
        ("two.0", (0, 8, 0), UsageError, "row 8"),
        ("two.0", (0, 0, -1), UsageError, "column -1"),
        ("two", (0, 0, 0), UsageError, "with 2 convolutions and pools"),
        ("more", (0, 0, 0), UsageError, "does more than convolve"),
        ("calls", (0, 0, 0), UsageError, "runs 2 convolutions"),
        ("one.1", (0, 0, 0), UsageError, "is a Hardswish and runs no convolution"),
        ("never", (0, 0, 0), KernelvizError, "did not run"),
        ("deep", (0, 0, 0), UsageError, "convolves over three axes"),
        ("tow.0", (0, 0, 0), UnknownLayerError, "No layer is called tow.0"),
    ],
)
def test_what_cannot_be_traced_is_refused(layer, at, error, words):
    """No such unit, layers that never run, and values that no single window makes."""
    with pytest.raises(error, match=words.replace("(", r"\(")):
        trace_unit(Odd(), torch.randn(3, 8, 9), layer, at)


def test_a_network_without_numbers_is_refused():
    """A network on ``meta`` has none."""
    with pytest.raises(UsageError, match="without weights"):
        trace_unit(load_model("test_resnet", weights=None), torch.randn(3, 160, 160), "conv1.0", (0, 0, 0))


def test_a_network_may_be_one_convolution():
    """Its value, and the class as the layer's name, as ``list_layers`` tells it."""
    network, image = nn.Conv2d(3, 4, 3, padding=1), torch.randn(3, 8, 9, generator=torch.Generator().manual_seed(0))
    unit = trace_unit(network, image, "Conv2d", (2, 0, 5))
    with torch.no_grad():
        assert unit.value == network(image[None])[0, 2, 0, 5].item()
    assert unit.layer.name == list_layers(network)[0].name == "Conv2d"
    with pytest.raises(UsageError, match="The layer ReLU is a ReLU"):
        trace_unit(nn.ReLU(), image, "ReLU", (0, 0, 0))

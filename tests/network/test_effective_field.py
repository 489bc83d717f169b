"""Effective receptive fields: right by differences and closed forms, and a network that stays as it is."""

from __future__ import annotations

import random
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from kernelviz.errors import BrokenPassError, KernelvizError, UsageError
from kernelviz.files.images import read_image
from kernelviz.network.effective_field import FieldTally, effective_field, effective_fields
from kernelviz.network.model import load_model


def seeded(make):
    """A module with seeded weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return make()


def noise(*shape, seed=1):
    """Seeded numbers around zero."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture
def network():
    """Convolutions, a normalisation and smooth activations in float64, in training mode."""

    def make():
        return nn.Sequential(
            nn.Conv2d(3, 6, 3, stride=2, padding=1), nn.BatchNorm2d(6), nn.SiLU(inplace=True),
            nn.Conv2d(6, 5, 3, padding=1), nn.GELU(), nn.Dropout(0.5), nn.Conv2d(5, 4, 3),
        )  # fmt: skip

    return seeded(make).double()


def test_it_equals_central_differences(network):
    """Each value is the mean over images of the absolute differences of the unit's sum, over the three colours."""
    images = [noise(3, 21, 17, seed=seed) for seed in (1, 2)]
    found = effective_field(network, images, "6", at=(4, 3), channels=[0, 2])
    still, step = seeded(lambda: network).eval(), 1e-6
    for row, column in ((8, 6), (10, 9), (12, 4), (0, 0)):
        slopes = np.zeros((2, 3))
        for number, image in enumerate(images):
            for colour in range(3):
                ends = []
                for sign in (1, -1):
                    moved = image.clone()
                    moved[colour, row, column] += sign * step
                    with torch.no_grad():
                        ends.append(float(still(moved[None])[0, [0, 2], 4, 3].sum()))
                slopes[number, colour] = (ends[0] - ends[1]) / (2 * step)
        assert found.values[row, column] == pytest.approx(np.abs(slopes).sum(axis=1).mean(), abs=1e-6)


@pytest.mark.parametrize("count", [1, 3, 6])
def test_stacked_means_have_the_closed_form(count):
    """Stacked means of 3 × 3 are the n-fold convolution of a box: the product of trinomial rows."""

    def mean():
        layer = nn.Conv2d(1, 1, 3, padding=1, bias=False).double()
        nn.init.constant_(layer.weight, 1 / 9)
        return layer

    found = effective_field(nn.Sequential(*(mean() for _ in range(count))), noise(1, 33, 33), str(count - 1))
    line = np.ones(1)
    for _ in range(count):
        line = np.convolve(line, np.ones(3) / 3)
    expected = np.zeros((33, 33))
    expected[16 - count : 17 + count, 16 - count : 17 + count] = np.outer(line, line)
    assert np.allclose(found.values, expected, rtol=0, atol=1e-15)
    assert found.centroid == pytest.approx((16, 16), abs=1e-12)
    assert (found.outside, found.size, found.middle) == (0, (2 * count + 1,) * 2, (16, 16))


def test_the_numbers_of_a_photograph(bundled):
    """EfficientNet-Lite0 on one photograph: sums, largest values, centroids and sides, as they were measured."""
    fields = effective_fields(bundled, read_image("sample:grace_hopper"), ["blocks.2", "blocks.3"])
    first, second = fields
    assert [each.unit for each in fields] == [(14, 14), (7, 7)]
    assert first.sum == pytest.approx(12932.0883, rel=1e-5)
    assert second.sum == pytest.approx(19382.66, rel=1e-5)
    assert first.largest == (pytest.approx(105.0852, rel=1e-5), 116, 114)
    assert second.largest == (pytest.approx(64.6326, rel=1e-5), 118, 115)
    assert first.centroid == pytest.approx((116.092, 115.919), rel=1e-5)
    assert second.centroid == pytest.approx((124.133, 123.537), rel=1e-5)
    assert [[square.side for square in each.squares] for each in fields] == [[9, 11, 16, 53], [14, 18, 29, 102]]
    assert [each.outside for each in fields] == [0, 0]
    assert [each.size for each in fields] == [(67, 67), (147, 147)]


@pytest.mark.slow
def test_the_numbers_of_all_photographs(bundled):
    """The sides over seventeen photographs of Matplotlib, scikit-learn and scikit-image at 448, as they were measured."""
    names = "astronaut brick camera chelsea coffee coins grass gravel hubble_deep_field ihc moon motorcycle_left"
    folders = (Path(str(files("sklearn"))) / "datasets" / "images", Path(str(files("skimage"))) / "data")
    paths = ["sample:grace_hopper"]
    for folder, chosen in zip(folders, ("china flower", f"{names} retina rocket"), strict=True):
        paths += [next(folder.glob(f"{name}.*")) for name in chosen.split()]
    fields = effective_fields(bundled, map(read_image, paths), ["blocks.2", "blocks.3", "blocks.4"], input_size=448)
    sides = [[square.side for square in each.squares] for each in fields]
    assert len(fields[0].images) == 17
    assert sides == [[7, 9, 14, 53], [14, 18, 28, 95], [24, 33, 55, 206]]


FAMILIES = [
    ("test_resnet", "layer2.0"), ("test_convnext", "stages.1"), ("resnet18", "layer3"), ("vgg11", "features.8"),
    ("mobilenetv2_050", "blocks.3"), ("densenet121", "features.denseblock2"), ("regnetx_002", "s2"),
    ("tf_efficientnet_lite0", "blocks.2"), ("hrnet_w18_small", "layer1"), ("darknet53", "stages.2"),
]  # fmt: skip
SLOW = {"densenet121", "hrnet_w18_small", "darknet53", "vgg11", "resnet18", "regnetx_002", "mobilenetv2_050"}


@pytest.mark.parametrize(
    ("name", "layer"), [pytest.param(*each, marks=pytest.mark.slow if each[0] in SLOW else ()) for each in FAMILIES]
)
def test_nothing_is_outside_of_the_receptive_field(name, layer):
    """Without gates not one pixel outside of the theoretical receptive field has a gradient, in any family."""
    model = load_model(name, weights="random")
    found = effective_field(model, noise(3, 192, 160).float(), layer, at=(2, 3))
    assert not found.mixes_image
    assert found.box is not None
    assert found.outside == 0
    assert not found.reads_all


def test_a_gate_reads_the_rest_of_the_image():
    """With a gate a small share is outside of the box, and the record states that the image is mixed in."""

    class Gate(nn.Module):
        def forward(self, maps):
            return maps * maps.mean((2, 3), keepdim=True).sigmoid()

    network = seeded(lambda: nn.Sequential(nn.Conv2d(3, 4, 3), Gate()))
    found = effective_field(network, noise(3, 30, 30).float(), "1")
    assert found.mixes_image
    assert 0 < found.outside < 0.5


def test_several_layers_are_those_of_each_alone(network):
    """One forward pass with a backward pass for each layer gives the same bits as a pass for each."""
    images = [noise(3, 20, 20, seed=seed) for seed in (1, 2, 3)]
    together = effective_fields(network, images, ["0", "3", "6"])
    for each in together:
        alone = effective_field(network, iter(images), each.layer)
        assert np.array_equal(each.values, alone.values)
        assert each.squares == alone.squares


def test_a_layer_that_is_overwritten_is_taken_before(network):
    """The unit is that of the layer's output, not of what an in-place activation makes of it."""
    image = noise(3, 20, 20)
    found = effective_field(network, image, "1", at=(3, 3))
    leaf = image[None].clone().requires_grad_()
    taken = network.eval()[:2](leaf)[0, :, 3, 3].sum()
    expected = torch.autograd.grad(taken, leaf)[0][0].abs().sum(0)
    assert np.array_equal(found.values, expected.numpy())


def test_the_first_module_may_overwrite_its_input():
    """A network that begins with an in-place activation gets a copy that it may overwrite."""
    network = seeded(lambda: nn.Sequential(nn.ReLU(inplace=True), nn.Conv2d(3, 2, 3)))
    image = noise(3, 9, 9).float()
    before = image.clone()
    assert effective_field(network, image, "1").sum > 0
    assert torch.equal(image, before)


@pytest.mark.parametrize("surrounding", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_the_network_stays_as_it_is(network, surrounding):
    """Weights, their gradients and flags, buffers, modes, hooks and every random state are as before, in any grad mode."""
    network[0].weight.grad = torch.ones_like(network[0].weight)
    network[3].weight.requires_grad_(requires_grad=False)
    network[4].eval()
    state = {key: value.clone() for key, value in network.state_dict().items()}
    modes = [module.training for module in network.modules()]
    states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    with surrounding():
        mode = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
        assert effective_field(network, noise(3, 20, 20), "6").sum > 0
        assert (torch.is_grad_enabled(), torch.is_inference_mode_enabled()) == mode
    assert all(torch.equal(value, state[key]) for key, value in network.state_dict().items())
    assert [module.training for module in network.modules()] == modes
    assert torch.equal(network[0].weight.grad, torch.ones_like(network[0].weight))
    assert all(parameter.grad is None for name, parameter in network.named_parameters() if name != "0.weight")
    assert not network[3].weight.requires_grad
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.array_equal(np.random.get_state()[1], states[1])  # noqa: NPY002
    assert random.getstate() == states[2]


def test_images_without_a_usable_gradient_are_left_out_and_counted():
    """A black image behind a ReLU has no gradient and a NaN none that is finite: the mean is over the others."""
    network = nn.Sequential(nn.ReLU(), nn.Conv2d(1, 1, 3, bias=False))
    nn.init.constant_(network[1].weight, 1)
    good, dark, broken = torch.ones(1, 9, 9), -torch.ones(1, 9, 9), torch.ones(1, 9, 9)
    square = nn.Sequential(network, Square())
    broken[0, 4, 4] = np.nan
    found = effective_field(square, [good, dark, broken, good], "1")
    assert (found.zero, found.nonfinite, len(found.images)) == (1, 1, 4)
    assert np.array_equal(found.values, effective_field(square, good, "1").values)
    assert found.notes[:2] == (
        "1 of 4 images left out: no gradient anywhere",
        "1 of 4 images left out: a gradient that is not finite",
    )
    with pytest.raises(KernelvizError, match=r"Nothing reaches unit 3, 3 of 1\."):
        effective_field(square, [dark, dark], "1")


class Square(nn.Module):
    """Squares its input, so that a NaN reaches its gradient."""

    def forward(self, maps):
        """The square."""
        return maps * maps


def test_a_token_is_a_unit_and_a_class_token_has_no_place():
    """Of tokens those of the image have rows and columns; what has no place is refused with the reason."""
    model = load_model("test_vit", weights="random")
    (found,) = effective_fields(model, noise(3, 160, 160).float(), ["blocks.0"], at=(9, 9))
    assert found.shape == (64, 10, 10)
    assert found.mixes_image
    peak = found.largest[1:]
    assert min(peak) >= 144
    with pytest.raises(UsageError, match="has no map"):
        effective_field(model, noise(3, 160, 160).float(), "head")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layer": "6", "at": (9, 0)}, r"6 has 8 × 8 units, but got row 9, column 0"),
        ({"layer": "6", "channels": [7]}, r"6: There are channels 0 to 3, but got '7'"),
        ({"layer": "*"}, r"stands for 7 maps"),
        ({"layer": "nosuch"}, r"nosuch"),
        ({"layer": "6", "at": 3}, r"two whole numbers, its row and column, but got 3"),
        ({"layer": "6", "at": (1.5, 0)}, r"but got \(1\.5, 0\)"),
    ],
)
def test_what_is_not_there_is_refused(network, arguments, message):
    """Units, channels and layers that do not exist are refused with what there is."""
    with pytest.raises(UsageError, match=message):
        effective_field(network, noise(3, 20, 20), **arguments)


def test_images_of_several_sizes_and_of_other_axes_are_refused(network):
    """All images have one input size, and it has rows and columns."""
    tally = FieldTally(network, "6")
    with pytest.raises(UsageError, match="No image was added"):
        tally.result()
    tally.add(noise(3, 20, 20))
    with pytest.raises(UsageError, match=r"must have one input size, but got \(3, 20, 24\) after \(3, 20, 20\)"):
        tally.add(noise(3, 20, 24))
    with pytest.raises(UsageError, match=r"has rows and columns, but the input is \(2, 30\)"):
        effective_field(nn.Sequential(nn.Conv1d(2, 3, 5)), noise(2, 30).float(), "0")


def test_what_cannot_be_differentiated_is_one_message():
    """A layer that is not differentiable, and a forward pass that breaks, name themselves."""

    class Rounded(nn.Module):
        def forward(self, maps):
            return maps.detach()

    class Broken(nn.Module):
        def forward(self, maps):
            raise RuntimeError(maps.shape)

    network = seeded(lambda: nn.Sequential(nn.Conv2d(3, 2, 3), Rounded()))
    with pytest.raises(KernelvizError, match=r"The gradient of unit 3, 3 of 1 does not reach the image\.\s.*detach"):
        effective_field(network, noise(3, 9, 9).float(), "1")
    network = seeded(lambda: nn.Sequential(nn.Conv2d(3, 2, 3), Broken(), nn.Conv2d(2, 2, 1)))
    assert effective_field(network, noise(3, 9, 9).float(), "0").sum > 0
    with pytest.raises(BrokenPassError):
        effective_field(network, noise(3, 9, 9).float(), "2")


class Imaginary(nn.Module):
    """Makes complex numbers."""

    def forward(self, maps):
        """Complex maps."""
        return torch.complex(maps, maps)


def test_a_layer_without_a_real_gradient_fails_alone():
    """A layer of complex numbers is named in the end; the fields of the others are those without it."""
    network = seeded(lambda: nn.Sequential(nn.Conv2d(3, 2, 3), Imaginary(), nn.Conv2d(2, 2, 1, dtype=torch.complex64)))
    tally = FieldTally(network, "*")
    tally.add(noise(3, 9, 9).float())
    with pytest.raises(KernelvizError, match=r"The gradient of the layer 2 cannot be computed\."):
        tally.field_of("2")
    expected = effective_field(network, noise(3, 9, 9).float(), "0")
    assert np.array_equal(tally.field_of("0").values, expected.values)
    with pytest.raises(KernelvizError, match=r"The gradient of the layer 2 cannot be computed\."):
        effective_field(network, noise(3, 9, 9).float(), "2")


def test_each_run_of_a_layer_has_a_name():
    """The names that the message lists stand for one run each, the first one too."""

    class Twice(nn.Sequential):
        def forward(self, maps):
            return self[0](self[0](maps))

    network = seeded(lambda: Twice(nn.Conv2d(3, 3, 3)))
    with pytest.raises(UsageError, match=r"0 stands for 2 maps: 0#1, 0#2\."):
        effective_field(network, noise(3, 9, 9).float(), "0")
    sizes = [effective_field(network, noise(3, 9, 9).float(), name).size for name in ("0#1", "0#2")]
    assert sizes == [(3, 3), (5, 5)]

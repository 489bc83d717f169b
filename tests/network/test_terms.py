"""The terms of many values of many layers, found in one forward pass, are those of ``trace_unit``."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from kernelviz import capture_features, load_model, read_image
from kernelviz.errors import KernelvizError
from kernelviz.network.capture import make_taps
from kernelviz.network.inputs import as_input
from kernelviz.network.terms import LayerRun, run_layers
from kernelviz.network.units import trace_units


def runs_of(network, image, layers=None, work=None):
    """What made each layer's maps, or what ``work`` makes of it."""
    work = work or (lambda *found: found[1])
    given = as_input(network, image)
    plan = make_taps(network, given.size, layers, kind="all" if layers else "conv", batch=given.batch)
    found = {}
    run_layers(plan, given, lambda maps, run: found.update({maps.layer: work(maps, run)}))
    return found


def check(network, image, layers=None):
    """Terms, factors and sums of the extremes of each layer are those that are traced one layer at a time."""

    def terms(maps, run):
        assert isinstance(run, LayerRun), run
        return run.terms(run.extremes(range(0, len(maps.values), 2)), 3)

    for layer, found in runs_of(network, image, layers, terms).items():
        units = trace_units(network, image, layer, [tuple(map(int, at)) for at in found.at])
        for at, unit in enumerate(units):
            strongest = list(unit.strongest(found.numbers.shape[1]))
            assert unit.value == found.values[at]
            assert [unit.numbers[number] for number in strongest] == found.numbers[at].tolist()
            assert np.array_equal(unit.window[strongest], found.windows[at])
            assert np.array_equal(unit.kernel[strongest], found.kernels[at])
            np.testing.assert_allclose(unit.sums[strongest], found.sums[at], rtol=1e-12, atol=1e-15)
            assert np.array_equal(found.taps[at] == 1, unit.padding)
            assert np.array_equal(found.taps[at] == 2, unit.stretched)
            assert found.of == len(unit.numbers)
            total = found.sums[at].sum() + found.rest[at] + (found.bias[at] if found.bias is not None else 0)
            assert total == pytest.approx(unit.total, rel=1e-5, abs=1e-6)


LAYERS = {
    "plain": lambda: nn.Conv2d(8, 6, 3, bias=False),
    "stride and padding": lambda: nn.Conv2d(8, 6, (3, 5), stride=(2, 3), padding=(1, 2)),
    "grouped": lambda: nn.Conv2d(8, 12, 3, padding=1, groups=4),
    "depthwise": lambda: nn.Conv2d(8, 16, 5, padding=2, groups=8),
    "dilated, same": lambda: nn.Conv2d(8, 4, 3, padding="same", dilation=(2, 3)),
    "mirrored": lambda: nn.Conv2d(8, 4, 5, padding=2, padding_mode="reflect"),
    "wrapped": lambda: nn.Conv2d(8, 4, 3, padding=(1, 2), stride=2, padding_mode="circular"),
    "transposed": lambda: nn.ConvTranspose2d(8, 6, (4, 3), stride=(2, 3), padding=(1, 0), output_padding=(1, 2)),
    "transposed, groups": lambda: nn.ConvTranspose2d(8, 12, 3, stride=2, groups=4, dilation=2, padding=3),
    "one row": lambda: nn.Conv1d(8, 5, 5, stride=2, padding=2, dilation=2),
    "one row, transposed": lambda: nn.ConvTranspose1d(8, 6, 4, stride=3, padding=1, output_padding=1, groups=2),
    "pointwise": lambda: nn.Conv2d(8, 9, 1),
}


@pytest.mark.parametrize("name", LAYERS)
def test_every_setting_has_the_terms_of_a_traced_unit(name):
    """Groups, strides, paddings, dilations and transposed ones: each factor is bitwise that of ``trace_unit``."""
    torch.manual_seed(0)
    layer = LAYERS[name]()
    flat = isinstance(layer, nn.Conv1d | nn.ConvTranspose1d)
    before = (nn.Conv1d if flat else nn.Conv2d)(3, 8, 1)
    check(
        nn.Sequential(before, nn.Sigmoid(), layer), torch.randn(3, 15) if flat else torch.randn(3, 13, 11), ["0", "2"]
    )


def test_all_layers_of_a_network_in_one_pass():
    """All convolutions of a real network are traced while it runs once, and the maps are those of ``capture_features``."""
    model, image = load_model("test_efficientnet", weights="random"), read_image("sample:grace_hopper")
    maps = runs_of(model, image, work=lambda maps, _: maps)
    for captured in capture_features(model, image, list(maps)):
        assert np.array_equal(captured.values, maps[captured.layer].values)
    check(model, image)


@pytest.mark.parametrize("layout", [{"dtype": torch.float64}, {"memory_format": torch.channels_last}], ids=str)
def test_other_layouts_of_tensors_have_the_same_terms(layout):
    """Networks in float64 or with their channels last have the terms of a traced unit."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 1), nn.Conv2d(8, 6, 3, padding=1), nn.Conv2d(6, 8, 3, groups=2))
    check(network.to(**layout), torch.randn(3, 13, 11), ["0", "1", "2"])


def test_several_units_of_a_few_channels_have_the_terms_of_a_traced_unit():
    """Channels far apart, one of them with more units than the others, have the same terms as one by one."""
    torch.manual_seed(0)
    network, image = nn.Sequential(nn.Conv2d(8, 64, 3)), torch.randn(8, 9, 9)
    at = np.array([[2, 0, 1], [2, 3, 3], [2, 6, 6], [2, 1, 5], [60, 2, 2]])
    found = runs_of(network, image, ["0"], lambda _, run: run.terms(at, 3))["0"]
    for number, unit in enumerate(trace_units(network, image, "0", [tuple(map(int, each)) for each in at])):
        assert list(unit.strongest(3)) == found.numbers[number].tolist()
        assert np.array_equal(unit.window[found.numbers[number]], found.windows[number])


def test_values_that_are_not_finite_are_not_worked_out():
    """The extremes of a map with nan and infinities are its finite ones, those of other maps are as without."""
    layer = nn.Conv2d(2, 2, 1, groups=2, bias=False)
    nn.init.ones_(layer.weight)
    image = torch.arange(32.0).reshape(2, 4, 4) - 8
    expected = runs_of(nn.Sequential(layer), image, ["0"])["0"].extremes(range(2))
    image[0, 1, 1], image[0, 2, 2] = torch.nan, torch.inf
    assert expected.tolist() == [[0, 0, 0], [0, 3, 3], [1, 3, 3]]
    assert runs_of(nn.Sequential(layer), image, ["0"])["0"].extremes(range(2)).tolist() == expected.tolist()


@pytest.mark.parametrize("side", [12, 40])
def test_the_extremes_are_the_largest_of_each_sign_inside(side):
    """The traced values are the largest in size and the largest of the other sign, where no padding is read."""
    torch.manual_seed(0)
    network, image = nn.Sequential(nn.Conv2d(3, 5, 3, padding=2)), torch.randn(3, side, side)
    image[:, 0, 0] = 100  # at the border, read by windows with padding and by one without
    run = runs_of(network, image, ["0"])["0"]
    maps = run.reads.output[:, 2:-2, 2:-2]
    at = run.extremes(range(5))
    for channel in range(5):
        values = [run.reads.output[tuple(place)] for place in at if place[0] == channel]
        assert sorted(values) == [maps[channel].min(), maps[channel].max()]
        assert abs(values[0]) >= abs(values[1])


class Overwriting(nn.Module):
    """A convolution whose output its own module overwrites."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, image):
        """The convolution, rectified in place."""
        return torch.relu_(self.conv(image))


def test_what_overwrites_its_convolution_has_no_terms():
    """A module that changes the output of its convolution has no terms, and says why; the convolution inside has."""
    found = runs_of(nn.Sequential(Overwriting()), torch.randn(3, 8, 8), ["0", "0.conv"])
    assert isinstance(found["0.conv"], LayerRun)
    outer = runs_of(nn.Sequential(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())), torch.randn(3, 8, 8), ["0"])["0"]
    assert outer is None or isinstance(outer, KernelvizError)


def test_three_axes_are_a_reason():
    """The values of a convolution over three axes are not worked out, for a stated reason."""
    run = runs_of(nn.Sequential(nn.Conv3d(1, 2, 3)), torch.randn(1, 6, 6, 6), ["0"])["0"]
    assert "three axes" in run.what


def test_the_network_is_as_before():
    """Hooks, modes and grad mode are restored, also if what reads the layers fails."""
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}

    def fail(*_):
        raise KernelvizError("enough")

    with pytest.raises(KernelvizError, match="enough"):
        runs_of(network, torch.randn(3, 8, 8), ["0"], fail)
    assert all(module.training for module in network.modules())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())

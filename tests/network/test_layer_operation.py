"""The arithmetic of a layer is that of what torch runs there."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from kernelviz import load_model, trace
from kernelviz.errors import KernelvizError, UsageError
from kernelviz.explain.texts import layer_lines
from kernelviz.network.layer_operation import layer_operation, window_operations

LAYERS = {
    "plain": lambda: nn.Conv2d(3, 6, (3, 5), stride=(2, 1), padding=(1, 2), dilation=(1, 2)),
    "same, even": lambda: nn.Conv2d(3, 6, (4, 2), padding="same", bias=False),
    "mirrored": lambda: nn.Conv2d(3, 6, 5, padding=2, padding_mode="reflect"),
    "wrapped": lambda: nn.Conv2d(3, 6, (3, 4), padding=(1, 2), padding_mode="circular"),
    "wrapped, same": lambda: nn.Conv2d(3, 6, (3, 2), padding="same", padding_mode="circular"),
    "wrapped by nothing": lambda: nn.Conv2d(3, 6, 3, padding_mode="circular"),
    "grouped": lambda: nn.Conv2d(3, 9, 3, groups=3),
    "transposed": lambda: nn.ConvTranspose2d(3, 6, 4, stride=(2, 3), padding=1, output_padding=(1, 2), groups=3),
    "max": lambda: nn.MaxPool2d(3, 2, 1, ceil_mode=True),
    "dilated max": lambda: nn.MaxPool2d(3, 1, dilation=2),
    "average": lambda: nn.AvgPool2d((2, 3), count_include_pad=False, padding=(1, 1)),
    "adaptive": lambda: nn.AdaptiveAvgPool2d((3, 2)),
    "adaptive max": lambda: nn.AdaptiveMaxPool2d((3, 2)),
    "global": lambda: nn.AdaptiveAvgPool2d(1),
}


@pytest.mark.filterwarnings("ignore:Using padding='same':UserWarning")  # torch's own, of an uneven padding
@pytest.mark.parametrize("name", LAYERS)
def test_sizes_and_parameters_are_those_of_torch(name):
    """Input and output size, parameters and multiply-adds of every kind of convolution and pool."""
    layer = LAYERS[name]()
    found = layer_operation(nn.Sequential(nn.Identity(), layer), "1", (3, 17, 20))
    given = layer(torch.zeros(1, 3, 17, 20))
    assert found.operation.input_size == (17, 20)
    assert (found.operation.out_channels, *found.operation.output_size) == tuple(given.shape[1:])
    assert found.operation.parameters == sum(parameter.numel() for parameter in layer.parameters())
    assert found.operation.macs == found.layer.macs
    noted = name.split(",")[0] if name in {"mirrored", "wrapped", "wrapped, same"} else ""
    assert found.notes == ((f"the padding is not zeros but {noted} rows and columns",) if noted else ())


@pytest.mark.parametrize(
    ("layer", "error", "words"),
    [
        ("1", UsageError, "is a ReLU, neither"),
        ("2", UsageError, "over three axes"),
        ("5", UsageError, "No layer is called 5"),
    ],
)
def test_what_is_no_window_is_refused(layer, error, words):
    """What is neither a convolution nor a pool, and what has three axes."""

    class Lift(nn.Module):
        """A map with one more axis."""

        def forward(self, image):
            """The same with depth 1."""
            return image[:, :, None]

    network = nn.Sequential(Lift(), nn.ReLU(), nn.Conv3d(3, 2, 1))
    with pytest.raises(error, match=words):
        layer_operation(network, layer, (3, 8, 8))


def test_what_never_runs_is_refused():
    """A layer that no forward pass meets has no sizes."""

    class Idle(nn.Module):
        """A convolution that is never called."""

        def __init__(self):
            super().__init__()
            self.idle = nn.Conv2d(3, 3, 1)

        def forward(self, image):
            """The image."""
            return image + 1

    with pytest.raises(KernelvizError, match="did not run"):
        layer_operation(Idle(), "idle", (3, 8, 8))


@pytest.mark.parametrize("module", [nn.Conv2d(3, 4, 3, padding=1), nn.ConvTranspose2d(3, 4, 3), nn.MaxPool2d(2)])
def test_a_network_may_be_one_layer(module):
    """Of a network that is itself the layer, called by its class as everywhere, and of one that holds only that layer."""
    given = module(torch.zeros(1, 3, 8, 9))
    for network, name in ((module, type(module).__name__), (nn.Sequential(module), "0")):
        found = layer_operation(network, name, (3, 8, 9))
        assert (found.operation.out_channels, *found.operation.output_size) == tuple(given.shape[1:])
        assert found.layer.name == name
        assert layer_lines(found)[0] == f"{name}: {type(module).__name__} of image 3 × 8 × 9"


@pytest.mark.parametrize(
    "name",
    ["test_efficientnet", "vgg11", *(pytest.param(n, marks=pytest.mark.slow) for n in (
        "tf_mixnet_s", "resnetblur18", "inception_v3", "tf_efficientnet_cc_b0_4e", "xcit_nano_12_p16_224",
    ))],
)  # fmt: skip
def test_all_operations_of_a_network_at_once(name):
    """Those found in one forward pass are those of each layer by itself, also if layers pad their input themselves."""
    network = load_model(name, weights=None)
    names, found = window_operations(network, trace(network))
    assert len(found) >= 10
    assert found.keys() == set(names)
    for layer, one in found.items():
        assert str(one) == str(alone := layer_operation(network, layer))
        assert (one.operation, one.notes, one.source) == (alone.operation, alone.notes, alone.source)

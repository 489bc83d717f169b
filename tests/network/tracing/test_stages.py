"""The stages of networks that name none."""

from __future__ import annotations

import pytest
import timm
import torch
from torch import nn

import kernelviz
from kernelviz.network.tracing.trace import trace

models = pytest.importorskip("torchvision").models


@pytest.mark.parametrize(
    ("name", "stages"),
    [
        ("resnet18", ["relu", "layer1", "layer2", "layer3", "layer4"]),
        pytest.param("resnet50", ["relu", "layer1", "layer2", "layer3", "layer4"], marks=pytest.mark.slow),
        ("vgg11", ["features.1", "features.4", "features.9", "features.14", "features.19"]),
        pytest.param(
            "mobilenet_v2",
            ["features.1", "features.3", "features.6", "features.13", "features.18"],
            marks=pytest.mark.slow,
        ),
        ("fcn_resnet50", ["backbone.relu", "backbone.layer1", "backbone.layer4", "classifier"]),
        pytest.param(
            "swin_t", ["features.1", "features.3", "features.5", "features.7", "norm"], marks=pytest.mark.slow
        ),
        pytest.param(
            "vit_b_16", [f"encoder.layers.encoder_layer_{block}" for block in range(12)], marks=pytest.mark.slow
        ),
    ],
)
def test_the_last_map_at_each_resolution_is_a_stage(name, stages):
    """Blocks with a stride count as a whole, a head does not hide the map before it, equal blocks are stages."""
    with torch.device("meta"):
        network = models.get_model(name, weights=None, **({"weights_backbone": None} if "fcn" in name else {}))
    assert list(trace(network, (3, 224, 224)).stages) == stages


class UNet(nn.Module):
    """Down and up again."""

    def __init__(self):
        super().__init__()
        self.down, self.middle, self.up = (nn.Sequential(nn.Conv2d(*pair, 3, padding=1), nn.ReLU()) for pair in PAIRS)
        self.pool, self.enlarge, self.head = nn.MaxPool2d(2), nn.ConvTranspose2d(8, 4, 2, 2), nn.Conv2d(4, 1, 1)

    def forward(self, x):
        """With a connection across."""
        fine = self.down(x)
        return self.head(self.up(torch.cat([fine, self.enlarge(self.middle(self.pool(fine)))], 1)))


PAIRS = (3, 4), (4, 8), (8, 4)


def test_a_network_of_ones_own_is_drawn_at_each_resolution():
    """By default these are captured after the first convolution, and ``stage:1`` names one."""
    network, image = UNet(), torch.rand(3, 16, 16)
    found = [maps.layer for maps in kernelviz.capture_features(network, image)]
    assert found == ["down.0", "down", "middle", "up", "head"]
    assert [maps.layer for maps in kernelviz.capture_features(network, image, "stage:1")] == ["middle"]
    network.pool = nn.Identity()
    network.enlarge = nn.Conv2d(8, 4, 1)
    assert trace(network, (3, 16, 16)).stages


def test_a_stage_that_runs_several_times_is_drawn_once():
    """By default it is its first run."""
    network = UNet()
    network.up = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 4, 3, padding=1))
    network.down[1] = network.up[1] = nn.Sequential(nn.Conv2d(4, 4, 1))
    network.up[0] = nn.Conv2d(8, 4, 3, padding=1)
    assert all("#" not in maps.layer for maps in kernelviz.capture_features(network, torch.rand(3, 16, 16)))


def test_networks_of_timm_have_their_own_stages_only():
    """The stages of ``feature_info``, or none."""
    network = timm.create_model("test_resnet")
    assert trace(network, (3, 64, 64)).stages == tuple(each["module"] for each in network.feature_info)
    network.feature_info = None
    assert trace(network, (3, 64, 64)).stages == ()

"""A quantised network has the receptive fields, layouts and multiply-accumulates of the network it was made from."""

from __future__ import annotations

import copy
import warnings

import numpy as np
import pytest
import torch
from torch import nn

from kernelviz.network.capture import capture_features
from kernelviz.network.tracing.trace import trace


class Network(nn.Module):
    """Every kind of layer that torch quantises in eager mode."""

    def __init__(self):
        super().__init__()
        self.quant = torch.ao.quantization.QuantStub()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)
        self.grouped = nn.Conv2d(8, 8, 3, padding=2, dilation=2, groups=4)
        self.up = nn.ConvTranspose2d(16, 4, 2, stride=2)
        self.joined = torch.ao.nn.quantized.FloatFunctional()
        self.act = nn.Hardswish()
        self.mean = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(4, 5)
        self.dequant = torch.ao.quantization.DeQuantStub()

    def forward(self, image):
        """Residual sum, concatenation, transposed convolution, classifier."""
        maps = self.pool(self.stem(self.quant(image)))
        maps = self.joined.add_relu(maps, self.grouped(maps))
        maps = self.act(self.up(self.joined.cat([maps, maps], 1)))
        return self.dequant(self.head(self.mean(maps).flatten(1)))


@pytest.fixture(scope="module")
def networks():
    """The network, and its quantised twin."""
    plain = Network().eval()
    quantised = torch.ao.quantization.fuse_modules(copy.deepcopy(plain), ["stem.0", "stem.1", "stem.2"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quantised.qconfig = torch.ao.quantization.get_default_qconfig("x86")
        quantised.up.qconfig = torch.ao.quantization.default_qconfig  # one scale for all channels
        torch.ao.quantization.prepare(quantised, inplace=True)
        quantised(torch.randn(2, 3, 32, 24))
        torch.ao.quantization.convert(quantised, inplace=True)
    return plain, quantised


def test_fields_are_those_of_the_plain_network(networks):
    """Of convolutions, pools, sums, concatenations, activations and classifiers."""
    plain, quantised = (trace(network, (3, 32, 24)) for network in networks)
    assert not any(layer.lost for layer in quantised.layers)
    for name, twin in [("stem.0", "stem.2"), *((name, name) for name in ("pool", "grouped", "up", "act", "mean"))]:
        found, expected = quantised.layer(name), plain.layer(twin)
        assert found.layout == expected.layout == "N C H W"
        for axis, other in zip(found.field.axes, expected.field.axes, strict=True):
            np.testing.assert_array_equal((axis.first, axis.last), (other.first, other.last))
            assert (axis.size, axis.jump) == (other.size, other.jump)
    for name in ("stem.0", "grouped", "up", "head"):
        assert quantised.layer(name).macs == plain.layer(name).macs
        assert quantised.layer(name).family == plain.layer(name).family


def test_maps_are_dequantised(networks):
    """Those that a hook sees."""
    network, image = networks[1], torch.randn(1, 3, 32, 24)
    given = []
    handle = network.up.register_forward_hook(lambda *all_of: given.append(all_of[2].dequantize()))
    network(image)
    handle.remove()
    (maps,) = capture_features(network, image, "up")
    np.testing.assert_array_equal(maps.values, given[0][0].numpy())

"""Which layer made an input channel, as far as the operations between keep channels apart."""

from __future__ import annotations

import torch
from torch import nn

from kernelviz.network.capture import make_taps
from kernelviz.network.inputs import as_input
from kernelviz.network.makers import makers_of
from kernelviz.traces import Maker


def makers(network, channels=3):
    """The makers of each convolution of a network."""
    given = as_input(network, torch.randn(channels, 16, 16))
    return makers_of(make_taps(network, given.size, kind="conv", batch=given.batch), given)


class Branches(nn.Module):
    """Two branches that are joined, gated, summed with a shortcut, shuffled and cut."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(3, 2, 1)
        self.joined = nn.Conv2d(6, 6, 1)
        self.gate = nn.Conv2d(6, 6, 1)
        self.gated = nn.Conv2d(6, 6, 1)
        self.summed = nn.Conv2d(6, 6, 1)
        self.part = nn.Conv2d(4, 4, 1)
        self.shuffled = nn.Conv2d(4, 4, 1)

    def forward(self, image):
        """All of them."""
        x = torch.cat([torch.relu(self.one(image)), self.two(image)], 1)
        x = nn.functional.silu(self.joined(x))
        x = x * torch.sigmoid(self.gate(x.mean((2, 3), keepdim=True)))
        y = self.gated(nn.functional.max_pool2d(x, 2))
        z = self.summed(y + nn.functional.avg_pool2d(x, 2))
        part = self.part(z[:, 2:])
        return self.shuffled(part.reshape(1, 2, 2, 8, 8).transpose(1, 2).reshape(1, 4, 8, 8))


def test_channels_are_followed_to_the_layer_that_made_them():
    """Joined, pooled and gated channels are known, sums by their latest layer, shuffled ones not."""
    found = makers(Branches())
    assert found["one"] == ()
    assert found["joined"] == (Maker(0, 4, "one", 0), Maker(4, 2, "two", 0))
    assert found["gate"] == found["gated"] == (Maker(0, 6, "joined", 0),)
    assert found["summed"] == (Maker(0, 6, "gated", 0, added=True),)
    assert found["part"] == (Maker(0, 4, "summed", 2),)
    assert found["shuffled"] == ()


def test_a_norm_and_an_activation_keep_channels():
    """Normalisation and activations between two convolutions keep each channel."""
    layers = [nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU6(inplace=True), nn.ZeroPad2d(1), nn.Conv2d(8, 4, 1)]
    assert makers(nn.Sequential(*layers))["4"] == (Maker(0, 8, "0", 0),)

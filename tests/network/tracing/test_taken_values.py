"""Values of the image that become numbers, lists or arrays in a forward pass, and return to it as tensors."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from kernelviz.network.capture import capture_features
from kernelviz.network.tracing.trace import trace


class Between(nn.Module):
    """Two convolutions with ``step`` between them."""

    def __init__(self, step):
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.step = step
        self.second = nn.Conv2d(4, 5, 3, padding=1)
        self.act = nn.ReLU()
        self.offset = [torch.ones(1)]

    def forward(self, image):
        """First, step, second, activation."""
        return self.act(self.second(self.step(self.first(image))))


def without_gradients(maps):
    """In-place arithmetic on ``data``."""
    maps.data.mul_(2)
    return maps


TAKEN = {
    "numpy": lambda maps: torch.from_numpy(maps.detach().cpu().numpy() * 2),
    "asarray": lambda maps: torch.as_tensor(np.asarray(maps)[:, ::-1].copy()),
    "float": lambda maps: maps * float(maps.mean()),
    "item": lambda maps: maps + maps.max().item(),
    "computed": lambda maps: maps / (maps.abs().max().item() * 2),
    "tolist": lambda maps: torch.tensor(maps.tolist()),
    "full": lambda maps: torch.full_like(maps, float(maps.mean())),
    "tensor of numbers": lambda maps: (
        maps * torch.tensor([float(each) for each in maps.mean((0, 2, 3))]).view(-1, 1, 1)
    ),
}
KEPT = {
    "same memory": lambda maps: torch.from_numpy(maps.numpy()),
    "tensor of array": lambda maps: torch.tensor(maps.numpy()),
    "data": lambda maps: maps.data * 2,
    "data in place": without_gradients,
    "detach": lambda maps: maps.detach().clone(),
    "condition": lambda maps: maps if maps.mean() > 9 else maps * 2,
    "whole number": lambda maps: maps if int((maps > 9).sum()) else maps + 0.5,
    "deepcopy": copy.deepcopy,
    "DLPack": lambda maps: torch.utils.dlpack.from_dlpack(torch.utils.dlpack.to_dlpack(maps)),
}


def check_maps(network, image):
    """The second convolution's maps are those that a hook sees."""
    maps = capture_features(network, image, ["second", "act"])
    given = []
    handles = [part.register_forward_hook(lambda *all_of: given.append(all_of[2].clone())) for part in
               (network.second, network.act)]  # fmt: skip
    with torch.no_grad():
        network(image)
    for handle in handles:
        handle.remove()
    for found, tensor in zip(maps, given, strict=True):
        np.testing.assert_array_equal(found.values, tensor[0].numpy())


@pytest.mark.parametrize("name", TAKEN)
def test_taken_values_have_an_unknown_field_and_a_map(name):
    """The reason is that the values were taken out, never that the layer reads no image."""
    network = Between(TAKEN[name]).eval()
    traced = trace(network, (3, 9, 8))
    assert traced.layer("first").field is not None
    for layer in ("second", "act"):
        assert "were taken out of torch as" in traced.layer(layer).lost
        assert traced.layer(layer).layout == "N C H W"
    check_maps(network, torch.randn(1, 3, 9, 8))


@pytest.mark.parametrize("name", KEPT)
def test_the_same_memory_has_the_same_field(name):
    """Tensors in the memory of a map, and values that only decide, keep the field of 5 × 5."""
    network = Between(KEPT[name]).eval()
    assert [axis.size for axis in trace(network, (3, 9, 8)).layer("act").field.axes] == [5, 5]
    check_maps(network, torch.randn(1, 3, 9, 8))


def test_constants_after_values_were_taken_stay_constants():
    """Weights, buffers and plain attributes do not depend on the values."""

    class Logged(Between):
        def forward(self, image):
            self.seen = float(self.first(image).mean())
            return self.act(self.second(self.first(image) + self.offset[0]))

    network = Logged(None).eval()
    assert [axis.size for axis in trace(network, (3, 9, 8)).layer("act").field.axes] == [5, 5]

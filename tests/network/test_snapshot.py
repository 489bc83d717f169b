"""The caller's network is given back as it was."""

from __future__ import annotations

import copy
import warnings

import numpy as np
import pytest
import timm
import torch
from torch import nn
from torch.nn.parameter import is_lazy

from kernelviz.errors import KernelvizError
from kernelviz.network.capture import capture_features
from kernelviz.network.snapshot import undisturbed


class Counting(nn.Module):
    """Counts its forward passes in every way that a module can."""

    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.register_buffer("rebound", torch.zeros(()))
        self.register_buffer("added", torch.zeros(()))
        self.register_buffer("late", None)
        self.plain, self.last = torch.zeros(()), None
        self.kept, self.seen, self.kinds = {}, [], set()

    def forward(self, image):
        """Leave traces."""
        self.rebound = self.rebound + 1
        self.added += 1
        self.late = torch.ones(2)
        self.register_buffer("new", torch.ones(2))
        self.plain += 1
        self.last = self.kept["last"] = image
        self.seen.append(image)
        self.kinds.add(image.dtype)
        return self.norm(self.convolution(image))


def check_as_new(network):
    """No trace of a forward pass is left."""
    assert network.rebound == network.added == network.plain == 0
    assert network.late is None
    assert network.last is None
    assert not network.kept
    assert not network.seen
    assert not network.kinds
    assert "new" not in dict(network.named_buffers())
    assert network.training
    assert network.norm.training
    assert network.norm.num_batches_tracked == 0


def test_a_pass_leaves_no_trace():
    """Buffers that are rebound, changed or new, plain attributes and collections: the same objects with the same values."""
    network = Counting().train()
    held = {name: id(value) for name, value in vars(network).items()}
    buffers = {name: id(value) for name, value in network.named_buffers()}
    capture_features(network, torch.rand(3, 8, 8), "*")
    check_as_new(network)
    assert {name: id(value) for name, value in vars(network).items()} == held
    assert {name: id(value) for name, value in network.named_buffers()} == buffers


def test_errors_leave_no_trace():
    """An error inside changes nothing about it."""
    network = Counting().train()

    def fails():
        with undisturbed(network):
            assert not network.norm.training
            network(torch.rand(1, 3, 8, 8))
            raise KeyError

    with pytest.raises(KeyError):
        fails()
    check_as_new(network)


def test_lazy_modules_stay_lazy():
    """A network that has no shapes yet is rejected, and has none afterwards."""
    network = nn.Sequential(nn.LazyConv2d(4, 3), nn.ReLU())
    with pytest.raises(KernelvizError, match="without a shape yet"):
        capture_features(network, torch.rand(3, 8, 8), "1")
    assert is_lazy(network[0].weight)


@pytest.mark.parametrize("name", ["levit_128s", pytest.param("efficientformerv2_s0", marks=pytest.mark.slow)])
def test_a_network_in_training_keeps_nothing_of_the_pass(name):
    """Maps after an optimizer's step are those of the new weights, and eval mode afterwards goes by these too."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = timm.create_model(name, num_classes=10).train()
        image = torch.rand(1, 3, 224, 224)
    for norm in (module for module in network.modules() if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)):
        nn.init.ones_(norm.weight)
    part = next(path for path, module in network.named_modules() if hasattr(module, "attention_biases"))
    first = capture_features(network, image, part)[0].values
    assert not network.get_submodule(part).attention_bias_cache
    with torch.no_grad():
        for path, parameter in network.named_parameters():
            if "attention_biases" in path:
                parameter.add_(torch.linspace(-9, 9, parameter.numel()).reshape(parameter.shape))
    network.get_submodule(part).attention_bias_cache["cpu"] = torch.zeros(1)  # is stale
    second = capture_features(network, image, part)[0].values
    assert list(network.get_submodule(part).attention_bias_cache) == ["cpu"]
    twin = timm.create_model(name, num_classes=10)
    twin.load_state_dict(copy.deepcopy(network.state_dict()))
    assert np.array_equal(second, capture_features(twin.eval(), image, part)[0].values)
    assert not np.array_equal(second, first)


def test_the_callers_tensor_is_kept():
    """A first module that overwrites its input overwrites a copy, in the forward pass and when the network is observed."""
    image = torch.randn(1, 3, 8, 8)
    before = image.clone()
    capture_features(nn.Sequential(nn.ReLU(inplace=True), nn.Conv2d(3, 4, 1)), image, "1")
    assert torch.equal(image, before)
    network = nn.Sequential(nn.ReLU(inplace=True), Choosy())
    capture_features(network, image, "1.convolution")
    assert torch.equal(image, before)


class Choosy(nn.Module):
    """Cannot be observed without numbers."""

    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv2d(3, 4, 1)

    def forward(self, image):
        """Go by a number."""
        return self.convolution(image) if image.max() > 0 else image


def test_scripted_networks_are_refused():
    """They take no hooks; the sentence says what does."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls it deprecated
        network = torch.jit.trace(nn.Sequential(nn.Conv2d(3, 4, 3)), torch.rand(1, 3, 8, 8))
    with pytest.raises(KernelvizError, match="scripted") as caught:
        capture_features(network, torch.rand(3, 8, 8))
    assert "Python module" in caught.value.hint

"""Kernels are the numbers that the layer holds, turned so that kernel i makes channel i."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from timm.layers import Conv2dSame, ScaledStdConv2d, StdConv2d
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations, prune

from kernelviz.errors import NoConvolutionsError, UnknownLayerError, UsageError
from kernelviz.network.convolutions import list_layers
from kernelviz.network.kernels import read_kernels
from kernelviz.network.model import load_model

KINDS = {
    "plain": lambda: nn.Conv2d(3, 8, 3),
    "pointwise": lambda: nn.Conv2d(5, 4, 1),
    "depthwise": lambda: nn.Conv2d(6, 6, (3, 5), groups=6),
    "grouped": lambda: nn.Conv2d(6, 4, 3, groups=2),
    "1-D": lambda: nn.Conv1d(4, 6, 5, groups=2),
    "3-D": lambda: nn.Conv3d(2, 3, (1, 2, 3)),
    "pads by itself": lambda: Conv2dSame(3, 4, 3, stride=2),
    "double precision": lambda: nn.Conv2d(3, 4, 3).double(),
}
TRANSPOSED = {
    "plain": lambda: nn.ConvTranspose2d(6, 4, 3),
    "grouped": lambda: nn.ConvTranspose2d(6, 4, 3, groups=2),
    "depthwise": lambda: nn.ConvTranspose2d(6, 6, (2, 3), groups=6),
    "1-D": lambda: nn.ConvTranspose1d(6, 9, 4, groups=3),
    "3-D": lambda: nn.ConvTranspose3d(4, 2, 2, groups=2),
}
CONVOLVE = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}


@pytest.fixture(autouse=True)
def seeded():
    """The same numbers in every run."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        yield


@pytest.mark.parametrize("kind", KINDS)
def test_kernels_are_the_stored_weights(kind):
    """Kernel i is the module's i-th slice, bit for bit and in its precision, and a copy."""
    network = nn.Sequential(KINDS[kind]())
    bank = read_kernels(network, "0")
    for index, kernel in enumerate(bank.weight):
        np.testing.assert_array_equal(kernel, network[0].weight[index].detach().numpy(), strict=True)
    assert len(bank.weight) == network[0].out_channels
    assert bank.groups == network[0].groups
    assert bank.layer == list_layers(network)[0]
    assert bank.notes == ()
    bank.weight[...] = 7
    assert not (network[0].weight == 7).any()


@pytest.mark.parametrize("kind", TRANSPOSED)
def test_transposed_kernels_make_their_own_channel(kind):
    """A full convolution with the turned, flipped kernels gives what the transposed convolution gives."""
    module = TRANSPOSED[kind]().double()
    bank = read_kernels(nn.Sequential(module), "0")
    assert bank.weight.shape == (module.out_channels, module.in_channels // module.groups, *module.kernel_size)
    rank = len(module.kernel_size)
    image = torch.randn(1, module.in_channels, *[5] * rank, dtype=torch.float64)
    flipped = torch.from_numpy(bank.weight).flip(list(range(2, 2 + rank)))
    padding = [size - 1 for size in module.kernel_size]
    made = CONVOLVE[rank](image, flipped, module.bias, padding=padding, groups=module.groups)
    torch.testing.assert_close(made, module(image))
    assert bank.notes == ("transposed convolution: axes swapped to (out, in / groups, ...)",)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_read_exactly(dtype):
    """float32 holds every half-precision number."""
    network = nn.Sequential(nn.Conv2d(3, 4, 3)).to(dtype)
    weight = read_kernels(network, "0").weight
    assert weight.dtype == np.float32
    np.testing.assert_array_equal(weight, network[0].weight.detach().float().numpy())


@pytest.mark.parametrize("fill", [float("nan"), float("inf"), 0.0])
def test_odd_numbers_are_read_as_they_are(fill):
    """NaN, Inf and zeros come through unchanged and without a word from NumPy."""
    network = nn.Sequential(nn.Conv2d(1, 1, 2))
    nn.init.constant_(network[0].weight, fill)
    np.testing.assert_array_equal(read_kernels(network, "0").weight, np.full((1, 1, 2, 2), fill, np.float32))


def test_a_bank_of_a_model_knows_its_source(bundled):
    """The model's own source travels with the kernels."""
    bank = read_kernels(bundled, "conv_stem")
    assert bank.source is bundled.source
    assert bank.weight.shape == (32, 3, 3, 3)
    np.testing.assert_array_equal(bank.weight, bundled.module.conv_stem.weight.detach().numpy())
    np.testing.assert_array_equal(read_kernels(bundled, bank.layer).weight, bank.weight)


def test_a_plain_module_has_a_source_too():
    """Any network is called by its class."""
    source = read_kernels(nn.Sequential(nn.Conv2d(1, 2, 3)), "0").source
    assert (source.model, source.label, source.stem, source.params, source.weights) == (*["Sequential"] * 3, 20, None)


@pytest.mark.parametrize("kind", [ScaledStdConv2d, StdConv2d])
def test_reworked_weights_are_reported(kind):
    """A standardised layer gives the weight that it convolves with, the stored one when asked, and says which."""
    network = nn.Sequential(kind(3, 4, 3))
    bank, stored = read_kernels(network, "0"), read_kernels(network, "0", stored=True)
    np.testing.assert_allclose(bank.weight.mean(axis=(1, 2, 3)), 0, atol=1e-6)
    np.testing.assert_array_equal(stored.weight, network[0].weight.detach().numpy())
    assert (bank.reading, stored.reading) == ("effective", "stored")
    assert bank.notes == (f"the effective weight, computed by {kind.__name__} from the stored one",)
    assert stored.notes == (f"the weight as stored; {kind.__name__} computes the effective weight from it",)


def test_parametrised_weights_are_computed_without_a_trace():
    """The computed weight is read, in eval mode: power iteration would move the caller's buffers."""
    network = nn.Sequential(parametrizations.spectral_norm(nn.Conv2d(3, 4, 3))).train()
    state = copy.deepcopy(network.state_dict())
    bank = read_kernels(network, "0")
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())
    assert all(part.training for part in network.modules())
    np.testing.assert_array_equal(bank.weight, network.eval()[0].weight.detach().numpy())
    assert bank.notes == ("the effective weight, computed by its parametrisation (SpectralNorm) from the stored one",)


def test_weights_that_a_hook_computes_are_reported():
    """Of pruned layers it is the pruned weight, and the whole one when asked."""
    network = nn.Sequential(nn.Conv2d(3, 4, 3))
    prune.l1_unstructured(network[0], "weight", amount=0.5)
    bank = read_kernels(network, "0")
    assert (bank.weight == 0).sum() == bank.weight.size // 2
    assert bank.notes == ("the effective weight, computed by a forward pre-hook from the stored one",)
    stored = read_kernels(network, "0", stored=True)
    np.testing.assert_array_equal(stored.weight, network[0].weight_orig.detach().numpy())


def test_reading_leaves_the_network_alone():
    """Neither mode nor gradients nor numbers nor the random state move."""
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).train()
    state, random_state = copy.deepcopy(network.state_dict()), torch.get_rng_state()
    read_kernels(network, "0")
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())
    assert all(part.training for part in network.modules())
    assert network[0].weight.requires_grad
    assert torch.equal(torch.get_rng_state(), random_state)


def test_an_architecture_alone_has_no_kernels():
    """Weights on meta have a shape only, and the way on is named."""
    with pytest.raises(UsageError, match="has no weights") as caught:
        read_kernels(load_model("test_resnet", weights=None), "conv1.0")
    assert 'weights="random"' in caught.value.hint


@pytest.mark.parametrize(
    ("weight", "expected"),
    [
        (torch.ones(2, 1, 1, 1, dtype=torch.int8), "no plain"),
        (torch.ones(2, 1, 1, 1).to_sparse(), "no plain"),
        (None, "no plain"),
    ],
)
def test_layers_without_plain_weights_are_refused(weight, expected):
    """Whole numbers that stand for others, sparse weights, and none at all."""
    conv = nn.Conv2d(1, 2, 1, bias=False)
    del conv.weight
    conv.weight = weight
    with pytest.raises(UsageError, match=expected):
        read_kernels(conv, "Conv2d")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("", "empty"),
        ("3", "No layer is called 3"),
        ("1", "is a ReLU, not a convolution"),
        ("2", "is a Sequential, not a convolution"),
        ("*", "is a pattern"),
    ],
)
def test_only_the_exact_name_of_a_convolution_will_do(name, expected):
    """Anything else says what it is."""
    network = nn.Sequential(nn.Conv2d(1, 1, 1), nn.ReLU(), nn.Sequential(nn.Conv2d(1, 1, 1)))
    with pytest.raises(UnknownLayerError, match=expected):
        read_kernels(network, name)


def test_a_network_without_convolutions_has_no_kernels():
    """It says so, by its own name."""
    with pytest.raises(NoConvolutionsError, match="Linear has no convolution"):
        read_kernels(nn.Linear(2, 2), "weight")

"""The effective weight is what the convolution of a real forward pass multiplies with."""

from __future__ import annotations

import copy
import warnings

import numpy as np
import pytest
import torch
from timm.layers import ScaledStdConv2d
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations, parametrize, prune, spectral_norm, weight_norm

from kernelviz.errors import UsageError
from kernelviz.network import kernels
from kernelviz.network.convolutions import list_layers
from kernelviz.network.kernels import read_kernels
from kernelviz.network.model import load_model
from kernelviz.network.tracing.trace import trace

WATCHED = [
    ("test_nfnet", 25),
    ("resnetv2_50x1_bit", 53),
    ("tf_efficientnet_cc_b0_4e", 0),
    ("mixnet_s", 0),
    ("cpubone_nano", 0),
]


@pytest.fixture
def called(monkeypatch):
    """Runs a network on a random image: with which weight, and from which module, torch's functions were called."""

    def spy(name, calls, stack):
        real = getattr(functional, name)

        def convolve(image, weight, *args, **kwargs):
            calls.append((stack[-1], weight.detach().clone()))
            return real(image, weight, *args, **kwargs)

        return convolve

    def run(network, size):
        calls, stack, hooks = [], [], []
        for name, module in network.named_modules():
            hooks += [
                module.register_forward_pre_hook(
                    lambda _, inputs, name=name: stack.append((name, inputs)), prepend=True
                ),
                module.register_forward_hook(lambda *_: stack.pop() and None),
            ]
        image = torch.rand(1, *size, generator=torch.Generator().manual_seed(3))
        with monkeypatch.context() as patched, torch.no_grad():
            for name in ("conv2d", "conv_transpose2d"):
                patched.setattr(functional, name, spy(name, calls, stack))
            network(image)
        for hook in hooks:
            hook.remove()
        return calls

    return run


@pytest.mark.parametrize(("name", "reworked"), WATCHED)
def test_kernels_are_those_of_a_real_pass(name, reworked, called):
    """For every convolution the bank equals, bit for bit, what ``conv2d`` was called with; of experts, their mix does."""
    model = load_model(name, weights="random")
    banks = {layer.name: read_kernels(model, layer) for layer in list_layers(model)}
    expected = {bank.layer.name for bank in banks.values() if bank.reading == "effective"}
    assert len(expected) == reworked
    size = (3, 64, 64) if name in {"resnetv2_50x1_bit", "mixnet_s", "tf_efficientnet_cc_b0_4e"} else model.input_size
    seen = set()
    for (layer, inputs), weight in called(model.module, size):
        if type(model.module.get_submodule(layer)).__name__ == "CondConv2d":
            experts = torch.stack([torch.from_numpy(banks[f"{layer}:{number}"].weight) for number in range(4)])
            mixed = torch.einsum("e,eoihw->oihw", inputs[1][0], experts)
            torch.testing.assert_close(mixed, weight, rtol=1e-5, atol=1e-6)
            assert "expert 3 of 4" in banks[f"{layer}:3"].notes[0]
            seen |= {f"{layer}:{number}" for number in range(4)}
        elif layer in banks:
            transposed = banks[layer].layer.transposed
            expected = weight.swapaxes(0, 1).numpy() if transposed and banks[layer].groups == 1 else weight.numpy()
            if transposed and banks[layer].groups > 1:
                expected = expected.reshape(banks[layer].weight.shape)  # depthwise: the two axes are alike
            np.testing.assert_array_equal(banks[layer].weight, expected)
            seen.add(layer)
    assert seen == set(banks)


def reworked_layers():
    """Networks of one convolution that stores another weight than it convolves with."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield "weight_norm", weight_norm(nn.Conv2d(3, 4, 3)), "weight_v"
        yield "spectral_norm", spectral_norm(nn.Conv2d(3, 4, 3)), "weight_orig"
    yield "pruned", prune.random_unstructured(nn.Conv2d(3, 4, 3), "weight", amount=0.5), "weight_orig"
    yield (
        "parametrised weight_norm",
        parametrizations.weight_norm(nn.Conv2d(3, 4, 3)),
        "parametrizations.weight.original1",
    )
    yield "parametrised", parametrizations.spectral_norm(nn.Conv2d(3, 4, 3)), "parametrizations.weight.original"
    yield "transposed", weight_norm_of(nn.ConvTranspose2d(3, 4, 3)), "parametrizations.weight.original1"
    yield "standardised", ScaledStdConv2d(3, 4, 3), "weight"


def weight_norm_of(module):
    """Its weight in two parts, the first of which is not as it was."""
    parametrizations.weight_norm(module)
    nn.init.constant_(module.parametrizations.weight.original0, 3)
    return module


@pytest.mark.parametrize(("kind", "module", "held"), [pytest.param(*each, id=each[0]) for each in reworked_layers()])
def test_every_kind_of_weight_reparametrisation(kind, module, held, called):
    """Norms, pruning and parametrisations: the effective weight is the pass's, the stored one the module's own tensor."""
    del kind
    network = nn.Sequential(module).eval()
    ((_, weight),) = called(network, (3, 9, 9))
    bank, stored = read_kernels(network, "0"), read_kernels(network, "0", stored=True)
    turned = weight.swapaxes(0, 1) if bank.layer.transposed else weight
    np.testing.assert_array_equal(bank.weight, turned.numpy())
    own = dict(network[0].named_parameters())[held].detach()
    np.testing.assert_array_equal(stored.weight, (own.swapaxes(0, 1) if bank.layer.transposed else own).numpy())
    assert stored.reading == "stored"


@pytest.mark.parametrize("module", [pytest.param(module, id=kind) for kind, module, _ in reworked_layers()])
def test_watching_leaves_no_trace(module):
    """Hooks, modes, buffers, gradients, attributes, the random state and grad mode are as before; hooks do not run."""
    network = nn.Sequential(module).train()
    calls = []
    module.register_forward_hook(lambda *_: calls.append(1))
    module.register_forward_pre_hook(lambda *_: calls.append(1))
    before, state = dict(vars(module)), copy.deepcopy(network.state_dict())
    hooks = [list(getattr(module, name)) for name in ("_forward_hooks", "_forward_pre_hooks")]
    random_state, weight = torch.get_rng_state(), vars(module).get("weight")
    read_kernels(network, "0")
    assert not calls
    assert [list(getattr(module, name)) for name in ("_forward_hooks", "_forward_pre_hooks")] == hooks
    assert vars(module).keys() == before.keys()
    assert all(vars(module)[name] is value for name, value in before.items())
    assert vars(module).get("weight") is weight
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())
    assert all(part.training for part in network.modules())
    assert torch.equal(torch.get_rng_state(), random_state)
    assert torch.is_grad_enabled()


def test_inference_mode_changes_nothing():
    """What is read and traced inside it is what is read and traced outside."""
    network = nn.Sequential(ScaledStdConv2d(3, 4, 3))
    outside, traced = read_kernels(network, "0").weight, trace(network, (3, 9, 9)).layer("0")
    with torch.inference_mode():
        inside, again = read_kernels(network, "0"), trace(network, (3, 9, 9)).layer("0")
    np.testing.assert_array_equal(inside.weight, outside)
    assert inside.reading == "effective"
    assert (again.macs, again.family, again.layout) == (traced.macs, "conv", "N C H W")
    assert again.field is not None


class Dynamic(nn.Conv2d):
    """Makes its kernels of the image."""

    def forward(self, image):
        """Scales them by its mean square."""
        return functional.conv2d(image, self.weight * (1 + image.square().mean()))


class Twice(nn.Conv2d):
    """Convolves with two weights of one shape."""

    def forward(self, image):
        """Adds both."""
        return functional.conv2d(image, self.weight) + functional.conv2d(image, -2 * self.weight)


class Choosy(nn.Conv2d):
    """Takes more than an image."""

    def forward(self, image, factor):
        """Scales."""
        return functional.conv2d(image, self.weight * factor)


@pytest.mark.parametrize(
    ("kind", "why"),
    [(Dynamic, "depends on the image"), (Twice, "or more than one"), (Choosy, "does not run by itself (TypeError)")],
)
def test_what_cannot_be_observed_is_reported(kind, why):
    """The stored weight then, and why the effective one is not known."""
    network = nn.Sequential(kind(3, 4, 3))
    bank = read_kernels(network, "0")
    np.testing.assert_array_equal(bank.weight, network[0].weight.detach().numpy())
    assert bank.reading is None
    assert bank.notes[0].startswith("the weight as stored, the effective one is unknown")
    assert why in bank.notes[0]


def test_a_class_of_ones_own_that_convolves_plainly():
    """Another class alone is nothing to say."""

    class Own(nn.Conv2d):
        def forward(self, image):
            return functional.conv2d(image, self.weight)

    bank = read_kernels(nn.Sequential(Own(3, 4, 3)), "0")
    assert (bank.reading, bank.notes) == (None, ())


def test_plain_convolutions_are_not_run(monkeypatch):
    """Reading a network of plain convolutions costs no forward pass."""
    monkeypatch.setattr(kernels, "_WeightRecorder", None)
    model = load_model("test_resnet", weights="random")
    assert all(read_kernels(model, layer).reading is None for layer in list_layers(model))


def test_a_weight_that_is_stored_in_pieces_only():
    """Where no stored tensor has the weight's shape, requesting the stored one is rejected."""

    class Outer(nn.Module):
        def forward(self, one, other):
            return (one @ other).reshape(4, 3, 3, 3)

        def right_inverse(self, weight):
            return torch.ones(4, 1), weight.reshape(4, 27)[:1]

    module = nn.Conv2d(3, 4, 3)
    parametrize.register_parametrization(module, "weight", Outer())
    assert read_kernels(nn.Sequential(module), "0").reading == "effective"
    with pytest.raises(UsageError, match="stores no weight of the shape"):
        read_kernels(nn.Sequential(module), "0", stored=True)

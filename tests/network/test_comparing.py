"""Two weights of a network: every convolution, all other tensors, what cannot be compared, and which layers are matched."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import kernelviz as kv
from kernelviz.errors import KernelvizError, UnknownLayerError, UsageError
from kernelviz.network.comparing import load_similar


def perturbed(network, seed=0, strength=0.1):
    """A copy of a network with all parameters moved by seeded noise."""
    other = copy.deepcopy(network)
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(strength * torch.randn(parameter.shape, generator=random))
    return other


@pytest.fixture(scope="module")
def lite0():
    """EfficientNet-Lite0 with its trained weights."""
    return kv.load_model("tf_efficientnet_lite0", weights="bundled")


@pytest.fixture(scope="module")
def small():
    """A small network with random weights, and the same with noise."""
    model = kv.load_model("test_resnet", weights="random")
    return model, replace(model, module=perturbed(model.module))


def test_all_numbers_are_those_of_numpy_on_the_state(lite0):
    """21,008 kernels of 49 layers of EfficientNet-Lite0, from its state dicts, with formulas written down anew."""
    other = perturbed(lite0.module, strength=0.02)
    found = kv.compare_weights(lite0, replace(lite0, module=other))
    one, two = lite0.module.state_dict(), other.state_dict()
    assert (len(found.layers), sum(len(layer.changes) for layer in found.layers)) == (49, 21_008)
    assert sum(len(layer.zero) for layer in found.layers) < 130
    for layer in found.layers:
        a, b = (each[f"{layer.name}.weight"].double().flatten(1).numpy() for each in (one, two))
        limit = max(np.abs(a).max(), np.abs(b).max())
        live = (np.abs(a).max(1) > 0.005 * limit) & (np.abs(b).max(1) > 0.005 * limit)
        assert np.array_equal(layer.live, live)
        a, b = a[live], b[live]
        lengths = np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1)
        cosines = (a * b).sum(1) / (lengths[0] * lengths[1])
        assert np.allclose(layer.cosines[live], cosines, rtol=1e-12)
        assert np.allclose(layer.angles[live], np.degrees(np.arccos(np.clip(cosines, -1, 1))), atol=1e-5)
        assert np.allclose(layer.ratios[live], lengths[1] / lengths[0], rtol=1e-12)
        assert np.allclose(layer.changes[live], np.linalg.norm(b - a, axis=1) / lengths[0], rtol=1e-12)
        whole = [each[f"{layer.name}.weight"].double() for each in (one, two)]
        assert layer.change == pytest.approx(float((whole[1] - whole[0]).norm() / whole[0].norm()), rel=1e-12)


def test_the_trained_weights_beside_themselves(lite0):
    """Everything is bitwise the same; 130 of the kernels are as good as zero."""
    found = kv.compare_weights(lite0, lite0)
    assert found.identical
    assert len(found.same) == len(found.layers) == 49
    assert sum(len(layer.zero) for layer in found.layers) == 130
    assert {(layer.change, layer.quantiles) for layer in found.layers} == {(0.0, (0.0, 0.0, 0.0))}
    assert {(other.change, other.same) for other in found.others} == {(0.0, True)}


def test_frozen_layers_are_told_from_those_that_moved(small):
    """The layers that were copied are bitwise the same, and no other."""
    a, b = small
    other = copy.deepcopy(b.module)
    other.layer1.load_state_dict(a.module.layer1.state_dict())
    found = kv.compare_weights(a, replace(b, module=other))
    names = [layer.name for layer in found.layers]
    assert set(found.same) == {name for name in names if name.startswith("layer1.")}
    same = {tensor.name for tensor in found.others if tensor.same}
    assert {name for name in same if "running" not in name} == {
        name for name in a.module.state_dict() if name.startswith("layer1.") and "num_batches" not in name
        and name.removesuffix(".weight") not in names and "running" not in name
    }  # fmt: skip


def test_other_tensors_are_all_that_are_no_kernels(small):
    """Biases, normalisations and the classifier, each once."""
    a, b = small
    found = kv.compare_weights(a, b)
    kernels = {f"{layer.name}.weight" for layer in found.layers}
    wanted = [
        name for name in a.module.state_dict() if name not in kernels and not name.endswith("num_batches_tracked")
    ]
    assert [other.name for other in found.others] == wanted
    assert found.stages
    one = kv.compare_weights(a, b, "layer1")
    assert {layer.name for layer in one.layers} == {name for name in kernels_of(found) if name.startswith("layer1.")}
    assert one.others == ()


def kernels_of(found):
    """The names of the compared layers."""
    return [layer.name for layer in found.layers]


def test_effective_weights_are_compared():
    """A layer whose weight is standardised first is compared as it convolves, and is the same only if its storage is."""
    a = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 4, 3)))
    b = copy.deepcopy(a)
    stored = dict(b.named_parameters())["0.parametrizations.weight.original1"]
    with torch.no_grad():
        stored.mul_(2)  # the direction: weight_norm undoes its length
    (layer,) = kv.compare_weights(a, b).layers
    assert layer.change < 1e-6
    assert not layer.same
    assert np.allclose(layer.a.weight, a[0].weight.detach().numpy())
    assert kv.compare_weights(a, copy.deepcopy(a)).layers[0].same


def test_kernel_numbers_of_transposed_convolutions_are_those_of_output_channels():
    """The axes are turned, so that kernel i makes channel i."""
    a = nn.Sequential(nn.ConvTranspose2d(3, 5, 2))
    b = copy.deepcopy(a)
    with torch.no_grad():
        b[0].weight[:, 3] = 0
    (layer,) = kv.compare_weights(a, b).layers
    assert (layer.died, len(layer.changes)) == ((3,), 5)


def test_layers_of_other_shapes_are_named_and_left_out():
    """The others are compared; nothing comparable is an error with the number of equal shapes."""
    a = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 6, 3))
    b = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Conv2d(4, 6, 3))
    found = kv.compare_weights(a, b)
    assert found.left_out == {"0": "is (4, 3, 3, 3) in A, but (4, 1, 3, 3) in B"}
    assert kernels_of(found) == ["1"]
    with pytest.raises(KernelvizError, match=r"3 of 4 tensors have the same shape") as caught:
        kv.compare_weights(a, b, "0")
    assert "0 is (4, 3, 3, 3) in A" in caught.value.why
    with pytest.raises(KernelvizError, match="cannot be matched"):
        kv.compare_weights(a, b, match=True)
    with pytest.raises(UnknownLayerError):
        kv.compare_weights(a, b, "nothing")


def test_matching_is_for_the_layer_that_reads_the_image(small):
    """Without layers it is matched alone; a deeper layer is refused, with the reason."""
    a, b = small
    order = torch.randperm(16, generator=torch.Generator().manual_seed(0))
    other = copy.deepcopy(a.module)
    with torch.no_grad():
        first = other.conv1[0].weight
        first.copy_(first[order[: len(first)].argsort()])
    found = kv.compare_weights(a, replace(b, module=other), match=True)
    assert [layer.name for layer in found.layers if layer.pairing] == ["conv1.0"]
    pairs = found.layer("conv1.0").pairing
    assert np.allclose(pairs.cosines, 1)
    assert pairs.better
    with pytest.raises(UsageError, match="does not read the image") as caught:
        kv.compare_weights(a, b, ["conv1.0", "layer1.0.conv1"], match=True)
    assert "conv1.0" in caught.value.hint


def test_state_dicts_and_arrays_are_taken(small):
    """A training loop can compare its snapshots; a bank alone is a layer without a name."""
    a, b = (model.module.state_dict() for model in small)
    found, wanted = kv.compare_weights(a, b), kv.compare_weights(*small)
    assert {layer.name: layer.change for layer in found.layers} == {layer.name: layer.change for layer in wanted.layers}
    assert {other.name for other in found.others} == {other.name for other in wanted.others}
    assert kernels_of(kv.compare_weights(a, b, "layer1.*")) == [
        name for name in kernels_of(wanted) if name.startswith("layer1.")
    ]
    one = a["conv1.0.weight"]
    (layer,) = kv.compare_weights(one, 2 * one).layers
    assert (layer.name, layer.change) == ("", 1.0)
    assert kv.compare_weights(one, one.flip(0), match=True).layers[0].pairing.better
    with pytest.raises(UsageError, match="of one kind"):
        kv.compare_weights(a, small[1])
    with pytest.raises(KernelvizError, match="cannot be compared"):
        kv.compare_weights(one, one[:2])


def test_what_fits_of_a_file_is_loaded(small, tmp_path):
    """A layer of another shape has NaN and is missing, with both shapes as the reason; the model is unchanged."""
    model, _ = small
    state = {
        name: value + 1 if value.is_floating_point() else value for name, value in model.module.state_dict().items()
    }
    state["conv1.0.weight"] = state["conv1.0.weight"][:, :1]
    torch.save(state, tmp_path / "other.pt")
    before = {name: value.clone() for name, value in model.module.state_dict().items()}
    other, reasons = load_similar(model, str(tmp_path / "other.pt"))
    shape = tuple(before["conv1.0.weight"].shape)
    assert reasons == {"conv1.0": f"is {shape}, but {(shape[0], 1, *shape[2:])} in other.pt"}
    assert other.source.weights.missing == ("conv1.0.weight",)
    found = kv.compare_weights(model, other)
    assert found.left_out == {"conv1.0": "has no weights in B"}
    assert all(torch.equal(value, before[name]) for name, value in model.module.state_dict().items())
    moved = other.module.state_dict()["layer1.0.conv1.weight"]
    assert torch.equal(moved, before["layer1.0.conv1.weight"] + 1)


def test_patterns_name_layers_of_a_state_as_those_of_a_network(small):
    """Containers and shell patterns, in the order of the state; a name of no layer is an error with the nearest ones."""
    a, b = (model.module.state_dict() for model in small)
    for patterns in ("layer1", ["conv1.0", "layer2.*.conv1"], "*"):
        assert kernels_of(kv.compare_weights(a, b, patterns)) == kernels_of(kv.compare_weights(*small, patterns))
    with pytest.raises(UnknownLayerError, match=r"No layer is called layer9") as caught:
        kv.compare_weights(a, b, "layer9")
    assert "layer1.0.conv1" in caught.value.why


def test_the_first_kernels_of_a_state_are_those_that_read_the_image(small):
    """They alone are matched; deeper layers are rejected, as those of a network are."""
    a, b = (model.module.state_dict() for model in small)
    assert [layer.name for layer in kv.compare_weights(a, b, match=True).layers if layer.pairing] == ["conv1.0"]
    with pytest.raises(UsageError, match="does not read the image"):
        kv.compare_weights(a, b, "layer1.0.conv1", match=True)


@pytest.mark.parametrize("what", [lambda network: network, lambda network: network.state_dict()])
def test_layers_of_one_network_alone_are_left_out(what):
    """Those of B are named like those of A."""
    short, long = nn.Sequential(nn.Conv2d(3, 4, 3)), nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3))
    assert kv.compare_weights(what(short), what(long)).left_out == {"1": "is only in B"}
    assert kv.compare_weights(what(long), what(short)).left_out == {"1": "is only in A"}


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({}, "hold no kernels"),
        ({"conv.weight": torch.ones(4, 3, 3, 3, dtype=torch.int8)}, "hold no kernels"),
        ("a.pt", "not the names of files"),
        (nn.LazyConv2d(4, 3), "no convolution"),
    ],
)
def test_what_has_no_kernels_is_rejected(weights, message):
    """With the reason: no tensors of kernels, integers, a file, a layer that never ran."""
    with pytest.raises(KernelvizError, match=message):
        kv.compare_weights(weights, weights)


def test_embeddings_of_positions_are_no_kernels():
    """Of tensors with three to five axes those called ``weight`` are kernels; without such names, all are."""
    embedding, kernels = torch.ones(1, 5, 8), torch.randn(8, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    state = {"pos_embed": embedding, "patch_embed.proj.weight": kernels}
    found = kv.compare_weights(state, state, match=True)
    assert kernels_of(found) == ["patch_embed.proj"]
    assert found.layers[0].pairing.better
    assert [other.name for other in found.others] == ["pos_embed"]
    assert kernels_of(kv.compare_weights({"conv1": kernels}, {"conv1": kernels})) == ["conv1"]

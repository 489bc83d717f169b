"""``kernelviz training`` draws how kernels changed, names what it cannot use, and reads no more than it needs."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image

from kernelviz import read_recipe
from kernelviz.cli import loading
from kernelviz.files.finding import find_checkpoints, in_order

NETWORK = """
from torch import nn

class Net(nn.Module):
    def __init__(self, width=16):
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 7)
        self.conv2 = nn.Conv2d(width, 8, 3)
"""


@pytest.fixture
def training(tmp_path):
    """A network of one's own and its checkpoints at the steps 0, 900 and 1000, in a folder."""
    (tmp_path / "net.py").write_text(NETWORK)
    (tmp_path / "runs").mkdir()
    numbers = np.random.default_rng(0)
    shapes = {"conv1.weight": (16, 3, 7, 7), "conv1.bias": (16,), "conv2.weight": (8, 16, 3, 3), "conv2.bias": (8,)}
    weights = {name: np.zeros(shape) for name, shape in shapes.items()}
    kept = []
    for step in (0, 900, 1000):
        weights = {name: value + numbers.normal(size=value.shape) for name, value in weights.items()}
        state = {name: torch.tensor(value, dtype=torch.float32) for name, value in weights.items()}
        torch.save(state, tmp_path / "runs" / f"step-{step}.pt")
        kept.append(state["conv1.weight"].numpy())
    return np.stack(kept)


def test_the_film_strip_the_animation_and_the_arrays(run, training):
    """Their numbers are those of torch.load, and the document has those of all kernels."""
    result = run(
        "training", "net.py:Net", "runs", "-r", "--animate", "--arrays", "--json", "--channels", "2,0", "--shown", "2"
    )
    strip, animation, arrays = result.document["outputs"]
    assert (result.code, result.document["steps"]) == (0, [0, 900, 1000])
    assert strip["path"].endswith("net.Net.step-0-to-step-1000-conv1-training.png")
    assert (strip["shown"], strip["total"], strip["columns"]["shown"]) == (2, 16, 2)
    with Image.open(animation["path"]) as image:
        assert (image.format, image.n_frames) == ("WEBP", 3)
    flat = training.reshape(3, 16, -1).astype(np.float64)
    norms = np.linalg.norm(flat, axis=2)
    cosines = (flat * flat[-1]).sum(axis=2) / (norms * norms[-1])
    with np.load(arrays["path"]) as held:
        assert held["steps"].tolist() == [0, 900, 1000]
        np.testing.assert_allclose(held["norms"], norms, rtol=1e-14)
        np.testing.assert_allclose(held["cosines"], cosines, atol=1e-14)
        assert held["shown"].tolist() == [2, 0]
        assert np.array_equal(held["weights"], training[:, [2, 0]])
    (layer,) = result.document["layers"]
    assert (layer["name"], layer["limit"]) == ("conv1", np.abs(training).max())
    assert [kernel["moved"] for kernel in layer["kernels"]] == pytest.approx((1 - cosines[0]).tolist())
    assert [each["step"] for each in layer["checkpoints"]] == [0, 900, 1000]
    recipe = read_recipe(strip["path"])
    assert [each["sha256"] for each in recipe["checkpoints"]] == [each["sha256"] for each in layer["checkpoints"]]


def test_folders_and_patterns_are_sorted_by_numbers_and_typed_files_are_not(run, training):
    """``step-900`` is before ``step-1000``; files keep the order in which they are typed."""
    del training
    pattern = run("training", "net.py:Net", "runs/*.pt", "--json", "-q")
    assert pattern.document["steps"] == [0, 900, 1000]
    typed = run("training", "net.py:Net", "runs/step-1000.pt", "runs/step-0.pt", "--json", "-q")
    assert typed.document["steps"] == [1000, 0]
    assert any("the steps do not grow" in text for text in typed.document["warnings"])
    chosen = run("training", "net.py:Net", "runs/*.pt", "--steps", "1,2,2.5", "--json", "-q", "--force")
    assert chosen.document["steps"] == [1, 2, 2.5]


def test_what_a_folder_holds_besides_is_left_out_and_named(tmp_path):
    """By its suffix; numbers in the names of folders order files of one name."""
    for step in (5, 50, 500):
        (tmp_path / f"checkpoint-{step}").mkdir()
        (tmp_path / f"checkpoint-{step}" / "model.bin").write_bytes(b"x")
        for name in ("config.json", "optimizer.bin"):
            (tmp_path / f"checkpoint-{step}" / name).write_bytes(b"x")
    paths, notes, _ = find_checkpoints([str(tmp_path)], recursive=True)
    assert [path.split("/")[-2] for path in paths] == ["checkpoint-5", "checkpoint-50", "checkpoint-500"]
    assert notes == (f"{tmp_path}: 6 files left out, not weights by their names",)


def test_a_folder_that_cannot_be_read_is_named(run, training, monkeypatch):
    """Exit code 3 if others hold checkpoints, and 1 with the reason if it is the only one."""
    del training
    Path("runs/sub").mkdir()
    scandir = os.scandir

    def closed(path):
        if str(path).endswith("sub"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", closed)
    for folder, code in (("runs", 3), ("runs/sub", 1)):
        result = run("training", "net.py:Net", folder, "-r", "--json")
        assert (result.code, result.document["errors"][0]["input"]) == (code, "runs/sub")
        assert "cannot be read" in result.err


@pytest.mark.parametrize(
    "names",
    [
        "a9.pt a10.pt b.pt",
        "epoch=0-step=90.ckpt epoch=1-step=180.ckpt epoch=1-step=180-v1.ckpt best-0.92.ckpt last.ckpt last-v1.ckpt",
        "epoch=02-val_loss=0.90.ckpt epoch=03-val_loss=0.25.ckpt epoch=10-val_loss=0.07.ckpt",
        "run_0.5.pt run_1.25.pt run_10.0.pt",
        "net8.9.pt net8.10.pt",
        "checkpoint-9.pth.tar checkpoint-10.pth.tar model_best.pth.tar",
    ],
)
def test_names_are_in_the_order_of_the_training(names):
    """By their last whole number, before names without one; a loss in a name is no step."""
    files = names.split()
    assert in_order(sorted(files)) == files


def test_a_checkpoint_that_cannot_be_used_is_named_and_the_others_are_drawn(run, training):
    """Exit code 3; it is left out of the steps, and said in the picture."""
    del training
    Path("runs/step-950.pt").write_text("no weights")
    torch.save({"conv1.weight": torch.zeros(16, 3, 5, 5), "conv1.bias": torch.zeros(16)}, "runs/step-960.pt")
    result = run("training", "net.py:Net", "runs", "-r", "--json")
    assert (result.code, result.document["steps"]) == (3, [0, 900, 1000])
    assert [error["input"] for error in result.document["errors"]] == ["step-950.pt", "step-960.pt"]
    assert any("2 of 5 checkpoints left out" in note for note in result.document["outputs"][0]["notes"])


def test_nothing_in_a_file_runs(run, training, tmp_path):
    """A pickle that would run code is named, and does not run."""
    del training

    class Evil:
        def __reduce__(self):
            return open, (str(tmp_path / "ran"), "w")

    torch.save({"conv1.weight": Evil()}, "runs/step-950.pt")
    result = run("training", "net.py:Net", "runs", "-r", "--json")
    assert result.code == 3
    assert "Loading it would import" in result.document["errors"][0]["message"]
    assert "Loading it would import" in run("training", "net.py:Net", "runs", "-r", "-v").err
    assert not (tmp_path / "ran").exists()


def test_not_finite_from_a_step_on_is_said(run, training):
    """In the document, on stderr, and in the picture."""
    del training
    for step in (900, 1000):
        state = torch.load(f"runs/step-{step}.pt")
        state["conv1.weight"][3] = float("nan")
        torch.save(state, f"runs/step-{step}.pt")
    result = run("training", "net.py:Net", "runs", "-r", "--json", "--channels", "3")
    note = "Not finite from step 900 on: 147 of 2,352 weights there"
    assert (result.code, note in result.document["warnings"], note in result.err) == (0, True, True)
    assert result.document["outputs"][0]["nonfinite"] == 2 * 147
    assert result.document["layers"][0]["kernels"][3] == {
        "kernel": 3, "norm": [pytest.approx(12, abs=3), None], "cosine": None, "moved": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ("net.py:Net runs/step-0.pt", 1, "needs two checkpoints"),
        ("net.py:Net runs/step-0.pt ./runs/step-0.pt", 1, "the same file"),
        ("net.py:Net runs", 1, "is a folder"),
        ("net.py:Net nosuch*.pt", 1, "No file matches"),
        ("net.py:Net runs/step-0.pt nosuch.pt", 1, "Fewer than two checkpoints"),
        ("net.py:Net runs -r -l nosuch", 2, "No layer is called nosuch"),
        ("net.py:Net runs -r --channels 99", 2, "There are channels 0 to 15"),
        ("net.py:Net runs -r --channels 1 --top 2", 2, "cannot be combined"),
        ("net.py:Net runs -r --steps 1,2", 2, "2 numbers for 3 checkpoints"),
        ("net.py:Net runs -r --steps one", 2, "--steps must be numbers"),
        ("net.py:Net runs -r --scale layer", 2, "--scale must be training"),
        ("net.py:Net runs -r --scale 1,0", 2, "--scale must be training"),
        ("net.py:Net runs -r --format gif", 2, "is for an animation"),
        ("net.py:Net runs -r -o x.png", 2, "--output takes a directory"),
        ("runs/step-0.pt runs/step-900.pt", 2, "the model comes first"),
        ("resnet-18d runs -r", 2, "resnet18d"),
    ],
)
def test_wrong_usage_and_what_is_missing_end_in_one_message(run, training, words, code, message):
    """With its exit code, and nothing is written."""
    del training
    result = run("training", *words.split(), "--json")
    assert result.code == code
    errors = result.document["errors"]
    assert message in " ".join(f"{error['message']} {error['hint']}" for error in errors)
    assert result.document["outputs"] == []


def test_a_gif_states_its_colours_in_the_document(run, training):
    """Kernels of three channels have more than 256 colours."""
    del training
    result = run("training", "net.py:Net", "runs", "-r", "--animate", "--format", "gif", "--json", "--top", "6")
    strip, animation = result.document["outputs"]
    (note,) = animation["notes"]
    assert (strip["path"][-4:], animation["path"][-4:], strip["notes"]) == (".png", ".gif", [])
    assert note.startswith("colours to within ")
    assert note in result.document["warnings"]


def test_nothing_is_written_if_the_animation_is_in_the_way(run, training, tmp_path):
    """All paths are checked before the film strip is written."""
    del training
    out = tmp_path / "out"
    out.mkdir()
    (out / "net.Net.step-0-to-step-1000-conv1-training.webp").write_bytes(b"mine")
    words = ("training", "net.py:Net", "runs", "-r", "--animate", "--arrays", "-o", out)
    result = run(*words)
    assert (result.code, "conv1-training.webp is in the way" in result.complaint[0]) == (1, True)
    assert [path.read_bytes() for path in out.iterdir()] == [b"mine"]
    assert len(run(*words, "--force").paths) == 3
    assert len(run(*words).paths) == 3


def test_several_layers_are_read_together(run, training):
    """One picture for each; a checkpoint is opened once for all of them."""
    del training
    result = run("training", "net.py:Net", "runs", "-r", "-l", "conv*", "--json")
    assert [layer["name"] for layer in result.document["layers"]] == ["conv1", "conv2"]
    assert len(result.document["outputs"]) == 2


def test_the_key_of_the_weights_is_one_of_the_files(run, training):
    """``--weights-key`` chooses in each file; the model alone is built without it."""
    for step in (0, 900, 1000):
        state = torch.load(f"runs/step-{step}.pt")
        doubled = {name: 2 * value for name, value in state.items()}
        torch.save({"state_dict": state, "state_dict_ema": doubled}, f"runs/step-{step}.pt")
    result = run("training", "net.py:Net", "runs", "-r", "--json", "--weights-key", "state_dict")
    assert result.code == 0
    assert result.document["layers"][0]["limit"] == np.abs(training).max()
    assert {each["key"] for each in result.document["layers"][0]["checkpoints"]} == {"state_dict"}


def test_the_second_run_builds_nothing(run, monkeypatch, tmp_path):
    """What is known of an architecture is remembered: only tensors are read, and the bytes are the same."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for seed in range(2):
        torch.manual_seed(seed)
        torch.save(timm.create_model("test_resnet").state_dict(), f"{seed}.pt")
    first = run("training", "test_resnet", "0.pt", "1.pt")
    before = first.paths[0].read_bytes()

    def build(*_, **__):
        pytest.fail("a network is built")

    monkeypatch.setattr(loading, "load", build)
    again = run("training", "test_resnet", "0.pt", "1.pt")
    assert (first.code, again.code) == (0, 0)
    assert again.paths[0].read_bytes() == before


def test_a_reparametrised_layer_is_drawn_as_it_convolves(run):
    """Weight standardisation takes the network; the picture says so."""
    for seed in range(2):
        torch.manual_seed(seed)
        torch.save({"state_dict": timm.create_model("test_nfnet").state_dict(), "epoch": seed}, f"{seed}.ckpt")
    result = run("training", "test_nfnet", "0.ckpt", "1.ckpt", "--json")
    assert (result.code, result.document["steps"]) == (0, [0, 1])
    assert any("the effective weight" in note for note in result.document["outputs"][0]["notes"])

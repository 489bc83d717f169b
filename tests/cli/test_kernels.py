"""``kernelviz kernels`` makes the pictures that were asked for, and tells programs about them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kernelviz import __version__
from kernelviz.files.recipes import read_recipe

FIELDS = {"kernelviz", "schema", "command", "environment", "model", "outputs", "warnings", "errors"}
OUTPUT_FIELDS = {"path", "layer", "image", "shape", "shown", "total", "limits", "nonfinite", "notes"}

SAME_BYTES = """
import sys
from kernelviz.cli.main import main
for line in sys.stdin:
    assert main(line.split()) == 0
"""


def fill(value):
    """A change of a weight that makes every number ``value``."""
    return lambda weight: weight.fill_(value)


def test_the_document_has_its_fields(run, checkpoint):
    """Programs rely on these names: environment, model, weights and each output."""
    import hashlib

    import timm
    import torch

    weights = checkpoint("good.pth")
    result = run("kernels", "test_resnet", "--weights", weights, "--arrays", "--json")
    assert result.code == 0
    document = result.document
    assert set(document) == FIELDS
    assert (document["kernelviz"], document["schema"], document["command"]) == (__version__, 1, "kernels")
    assert document["environment"] == {
        "torch": torch.__version__,
        "timm": timm.__version__,
        "device": "cpu",
        "threads": torch.get_num_threads(),
    }
    assert document["model"] == {
        "name": "test_resnet",
        "tag": None,
        "licence": None,
        "params": 469_688,
        "weights": {
            "source": "file",
            "name": "good.pth",
            "sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
            "key": None,
            "prefix": None,
            "missing": None,
        },
        "arguments": None,
        "code": None,
    }
    assert (document["warnings"], document["errors"]) == ([], [])
    picture, arrays = document["outputs"]
    assert {Path(picture["path"]).suffix, Path(arrays["path"]).suffix} == {".png", ".npz"}
    for output in (picture, arrays):
        assert set(output) >= OUTPUT_FIELDS
        assert (output["layer"], output["image"], output["shape"]) == ("conv1.0", None, [16, 3, 3, 3])
        assert (output["shown"], output["total"], output["nonfinite"], output["notes"]) == (16, 16, 0, [])
    largest = float(np.abs(torch.load(weights, weights_only=True)["conv1.0.weight"].numpy()).max())
    assert picture["limits"] == [-largest, largest]


def test_two_runs_give_the_same_document(draw):
    """The document depends on nothing but the command and the machine."""
    assert draw("-l", "conv1", "--json").out == draw("-l", "conv1", "--json").out


def test_the_recipe_agrees_with_the_document(draw):
    """What the file says of itself is what the document says of it, and holds no path."""
    document = draw("--json").document
    (output,) = document["outputs"]
    recipe = read_recipe(output["path"])
    weights = dict.fromkeys(("key", "prefix", "missing")) | recipe["model"]["weights"]
    model = dict.fromkeys(("arguments", "code")) | recipe["model"]  # a recipe states only what applies
    assert model | {"weights": weights} == document["model"]
    assert recipe["command"] == document["command"]
    assert {key: recipe[key] for key in ("layer", "view", "shape", "shown", "total", "limits")} == {
        key: output[key] for key in ("layer", "view", "shape", "shown", "total", "limits")
    }
    assert os.getcwd() not in str(recipe)  # noqa: PTH109


def test_without_a_layer_it_is_the_first(draw):
    """The bare command draws the first convolution of the pass."""
    assert [path.name for path in draw().paths] == ["test_resnet.random-conv1.0-kernels-rgb.png"]


def test_all_layers_have_a_picture_each(draw):
    """'*' takes every convolution, in the order of the network; the paths stand on stdout in that order."""
    result = draw("-l", "*", "--json")
    layers = [output["layer"] for output in result.document["outputs"]]
    assert (len(layers), layers[0], layers[-1]) == (15, "conv1.0", "layer4.0.downsample.1")
    paths = [output["path"] for output in result.document["outputs"]]
    assert [str(path) for path in draw("-l", "*").paths] == paths
    assert len(set(paths)) == 15


@pytest.mark.parametrize("view", ["rgb", "sum", "norm", "channels", "matrix", "spectrum"])
@pytest.mark.parametrize("style", ["bare", "figure"])
def test_each_view_has_a_picture_of_its_own(run, view, style):
    """No view replaces another's picture; each opens as a PNG."""
    words = ("kernels", "test_resnet", "--weights", "random", "--style", style)
    other = run(*words, "--view", "sum" if view != "sum" else "norm").paths[0]
    before = other.read_bytes()
    result = run(*words, "--view", view)
    assert result.code == 0
    (path,) = result.paths
    assert path.name == f"test_resnet.random-conv1.0-kernels-{view}.png"
    Image.open(path).load()
    assert other.read_bytes() == before


@pytest.mark.parametrize(("suffix", "magic"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_each_format_holds_its_recipe(run, suffix, magic):
    """Figures come in three formats, each with the recipe inside."""
    (path,) = run("kernels", "test_resnet", "--weights", "random", "--format", suffix).paths
    assert path.suffix == f".{suffix}"
    assert path.read_bytes().startswith(magic)
    assert read_recipe(path)["layer"] == "conv1.0"


def test_arrays_stand_beside_the_picture(draw):
    """--arrays writes the numbers under the picture's own name; NumPy reads them without pickles."""
    picture, arrays = draw("--arrays", "-l", "layer1.0.conv1").paths
    assert arrays == picture.with_suffix(".npz")
    with np.load(arrays, allow_pickle=False) as archive:
        assert list(archive["names"]) == ["layer1.0.conv1"]
        assert archive["layer1.0.conv1"].shape == (32, 3, 3)
    assert read_recipe(arrays) == read_recipe(picture)


def test_an_earlier_run_is_replaced(draw):
    """The same picture with another look takes its place, without --force."""
    path = draw("--arrays").paths[0]
    before = path.read_bytes()
    again = draw("--arrays", "--zoom", "2")
    assert (again.code, again.paths[0]) == (0, path)
    assert path.read_bytes() != before


def test_two_checkpoints_are_two_pictures(draw, checkpoint):
    """Files of other names have pictures of other names; two of one name in different folders have two pictures too."""
    first = draw(weights=checkpoint("first.pth")).paths[0]
    before = first.read_bytes()
    second = draw(weights=checkpoint("second.pth", change=fill(0.25))).paths[0]
    assert first != second
    of_one_name = checkpoint("other/first.pth", change=fill(0.5))
    third = draw(weights=of_one_name)
    assert (third.code, len({first, second, *third.paths})) == (0, 3)
    assert draw(weights=of_one_name).paths == third.paths
    assert first.read_bytes() == before


def test_names_that_would_meet_get_a_hash(draw, monkeypatch):
    """Layers whose safe names are one name have two files all the same."""
    from torch import nn

    from kernelviz.network import model

    class Meeting(nn.Module):
        """Two convolutions whose names differ in letter case alone."""

        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)
            self.CONV = nn.Conv2d(3, 4, 3)
            self.add_module("a/b", nn.Conv2d(3, 4, 3))
            self.add_module("a:b", nn.Conv2d(3, 4, 3))
            self.add_module("x" * 300, nn.Conv2d(3, 4, 3))
            self.pretrained_cfg = {}

    monkeypatch.setattr(model.timm, "create_model", lambda *_, **__: Meeting())
    result = draw("-l", "*", "--json")
    assert result.code == 0
    paths = [Path(output["path"]) for output in result.document["outputs"]]
    assert [output["layer"] for output in result.document["outputs"]] == ["conv", "CONV", "a/b", "a:b", "x" * 300]
    assert len({path.name.casefold() for path in paths}) == 5
    assert all(path.is_file() and path.parent.name == "kernelviz-out" for path in paths)
    assert max(len(path.name) for path in paths) < 200


@pytest.mark.slow
def test_the_same_bytes_in_two_processes(start, run):
    """PNG, SVG, PDF and npz of another process are equal byte for byte, whatever order its sets have."""
    lines = [
        f"kernels test_resnet --weights random --arrays -q -o {{}}{more}"
        for more in ("", " --format svg", " --format pdf", "/bare --style bare")
    ]
    other = start("-W", "error", "-c", SAME_BYTES, environment={"PYTHONHASHSEED": "1"}, stdin=subprocess.PIPE)
    _, err = other.communicate("\n".join(line.format("there") for line in lines), timeout=120)
    assert other.returncode == 0, err
    for line in lines:
        assert run(*line.format("here").split()).code == 0
    written = {path.relative_to("there"): path.read_bytes() for path in Path("there").rglob("*.*")}
    assert {path.suffix for path in written} == {".png", ".svg", ".pdf", ".npz"}
    assert len(written) == 6
    assert written == {path.relative_to("here"): path.read_bytes() for path in Path("here").rglob("*.*")}


@pytest.mark.parametrize("more", [(), ("--format", "svg"), ("--format", "pdf"), ("--style", "bare")])
def test_the_same_command_twice_gives_the_same_bytes(run, more):
    """A second run in the same process changes no byte."""
    words = ("kernels", "test_resnet", "--weights", "random", "--arrays", *more)
    before = {path: path.read_bytes() for path in run(*words).paths}
    assert len(before) == 2
    assert {path: path.read_bytes() for path in run(*words).paths} == before


@pytest.mark.parametrize(("classes", "channels"), [(7, 3), (1000, 1), (0, 4)])
def test_a_fine_tuned_checkpoint_shows_how_it_is_built(draw, checkpoint, classes, channels):
    """Another class count, one or four input channels: the network is built as the file shows."""
    path = checkpoint(f"tuned-{classes}-{channels}.pth", num_classes=classes, in_chans=channels)
    result = draw("--json", weights=path)
    assert result.code == 0
    assert result.document["outputs"][0]["shape"] == [16, channels, 3, 3]
    assert result.document["outputs"][0]["view"] == ("rgb" if channels == 3 else "sum")


ODD = {
    "nan": (fill(float("nan")), "432 of 432 values are not finite", 432),
    "one infinity": (lambda weight: weight[3, 0, 0, :1].fill_(float("inf")), "1 of 432 values is not finite", 1),
    "zero": (fill(0.0), "16 kernels are as good as zero", 0),
    "equal": (fill(0.5), "16 kernels are constant", 0),
    "huge": (lambda weight: weight.mul_(1e38), None, 0),
    "tiny": (lambda weight: weight.mul_(1e-38), None, 0),
}


@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize("view", ["rgb", "sum", "norm", "channels", "matrix", "spectrum"])
@pytest.mark.parametrize("style", ["bare", "figure"])
def test_odd_weights_are_drawn_and_told(run, checkpoint, kind, view, style):
    """NaN, infinities, zeros and constants make a picture that says so, with no word from NumPy."""
    change, said, nonfinite = ODD[kind]
    path = checkpoint(f"odd-{kind}.pth", change=change)
    result = run("kernels", "test_resnet", "--weights", path, "--view", view, "--style", style, "--arrays", "--json")
    assert result.code == 0
    picture = result.document["outputs"][0]
    Image.open(picture["path"]).load()
    assert all(isinstance(limit, float) for limit in picture["limits"])
    if nonfinite:
        assert picture["nonfinite"] > 0
        assert any("not finite" in note for note in picture["notes"])
        assert "not finite" in result.err
    else:
        assert picture["nonfinite"] == 0
    if view == "rgb":
        assert picture["nonfinite"] == nonfinite
        assert said is None or any(said in note for note in picture["notes"])


KINDS = {
    "1 × 1": ("test_resnet", "layer2.0.downsample.1", "matrix", [48, 32, 1, 1], "32 of 32 input channels"),
    "depthwise": ("test_efficientnet", "blocks.3.0.conv_dw", "sum", [128, 1, 3, 3], "depthwise Conv2d, 128 channels"),
    "grouped": ("test_nfnet", "stages.1.0.conv2", "sum", None, "groups"),
    "standardised": (
        "test_nfnet",
        "stem.conv1",
        "rgb",
        [16, 3, 3, 3],
        "computed by ScaledStdConv2d from the stored one",
    ),
    "same padding": ("tf_efficientnet_cc_b0_4e", "conv_stem", "rgb", [32, 3, 3, 3], "Conv2dSame 3 → 32"),
    "patches": ("test_vit", "patch_embed.proj", "rgb", [64, 3, 16, 16], "64 of 64 kernels"),
    "transposed": ("lowformer_b0", "stages.2.1.attn.main.1.upsampling", "sum", [64, 128, 4, 4], "axes swapped"),
    "1-D": ("eca_resnext26ts", "stages.0.0.attn.conv", "sum", [1, 1, 3], "1 of 1 kernel"),
    "3-D": ("lambda_resnet26t", "stages.2.1.self_attn.conv_lambda", "sum", [16, 1, 9, 9, 1], "16 of 16 kernels"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_convolution_has_one_stated_result(run, kind):
    """Whatever convolves is drawn by a stated rule, and what is special about it is said."""
    model, layer, view, shape, said = KINDS[kind]
    result = run("kernels", model, "--weights", "random", "-l", layer, "--json")
    assert result.code == 0
    (output,) = result.document["outputs"]
    assert (output["layer"], output["view"]) == (layer, view)
    assert shape is None or output["shape"] == shape
    assert said in result.err


def test_the_stored_weight_is_another_picture(run):
    """--stored draws beside the effective kernels, over neither, and all of file, document, recipe and figure say which."""
    words = ("kernels", "test_nfnet", "--weights", "random", "-l", "stem.conv1", "--json")
    effective, stored = run(*words).document["outputs"][0], run(*words, "--stored").document["outputs"][0]
    assert [Path(each["path"]).name for each in (effective, stored)] == [
        "test_nfnet.random-stem.conv1-kernels-rgb.png",
        "test_nfnet.random-stem.conv1-kernels-rgb-stored.png",
    ]
    assert (effective["weight"], stored["weight"]) == ("effective", "stored")
    assert [read_recipe(each["path"])["weight"] for each in (effective, stored)] == ["effective", "stored"]
    assert effective["limits"] != stored["limits"]
    assert run(*words, "--stored").code == run(*words).code == 0
    os.replace(stored["path"], effective["path"])  # noqa: PTH105
    assert run(*words).code == 1


def test_experts_have_a_picture_each(run):
    """The four experts of a conditional convolution, numbered, with a word on how they are mixed."""
    words = ("kernels", "tf_efficientnet_cc_b0_4e", "--weights", "random", "--style", "bare", "--json")
    outputs = run(*words, "-l", "blocks.4.0.conv_dw").document["outputs"]
    assert [output["layer"] for output in outputs] == [f"blocks.4.0.conv_dw:{number}" for number in range(4)]
    assert all("mixes their kernels for every image" in output["notes"][-1] for output in outputs)
    assert len({output["path"] for output in outputs}) == 4


@pytest.mark.parametrize("style", ["bare", "figure"])
@pytest.mark.parametrize("side", ["kernels", "inputs"])
def test_four_thousand_channels_are_counted_everywhere(run, checkpoint, side, style):
    """What is shown, and of how many, stands on stderr, in the document and in the recipe."""
    words, wide = ["--view", "channels", "--style", style, "--json"], side == "inputs"
    if wide:
        path = checkpoint("wide.pth", in_chans=4096)
        result = run("kernels", "test_resnet", "--weights", path, *words)
    else:
        path = checkpoint("many.pth", "resnetv2_18", num_classes=4096)
        result = run("kernels", "resnetv2_18", "--weights", path, "-l", "head.fc", *words)
    (output,) = result.document["outputs"]
    total = 16 if wide else 4096
    assert output["total"] == total
    assert output["shape"] == ([16, 4096, 3, 3] if wide else [4096, 512, 1, 1])
    counted = f"{output['shown']:,} of {total:,} kernels"
    assert counted in result.err
    if style == "figure":
        note = next(note for note in output["notes"] if note.startswith(counted))
        assert f" of {4096 if wide else 512:,} input channels" in note
        assert note in result.err
    recipe = read_recipe(output["path"])
    assert (recipe["shown"], recipe["total"]) == (output["shown"], total)


def test_a_seed_without_use_is_said_to_be(draw, checkpoint):
    """A file's weights do not change with a seed: that is said, and in the document too."""
    path = checkpoint("seeded.pth")
    result = draw("--seed", "3", "--json", weights=path)
    told = "--seed 3 has no effect: it is for --weights random"
    assert (result.code, result.document["warnings"]) == (0, [told])
    assert told in result.err
    assert draw("--seed", "3", "--json").document["warnings"] == []


def test_the_palette_is_in_the_recipe_and_in_the_document(draw):
    """Unless it is the standard one; where it has no effect, the pixels stay."""
    rows = [draw(*words, "--force", "--json").document["outputs"][0] for words in ((), ("--palette", "safe"))]
    assert [row["palette"] for row in rows] == [None, "safe"]
    assert [row["shown"] for row in rows] == [16, 16]
    assert read_recipe(rows[1]["path"])["palette"] == "safe"
    pixels = []
    for palette in ("standard", "safe"):
        (path,) = draw("--view", "sum", "--style", "bare", "--palette", palette, "--force").paths
        assert read_recipe(path).get("palette", "standard") == palette
        with Image.open(path) as image:
            pixels.append(np.asarray(image))
    assert np.array_equal(*pixels)

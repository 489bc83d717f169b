"""``kernelviz features`` draws what layers gave for images, and tells programs about it."""

from __future__ import annotations

import hashlib
import io
import os
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image

import kernelviz
from kernelviz import __version__
from kernelviz.files.recipes import read_recipe

FIELDS = {
    "kernelviz",
    "schema",
    "command",
    "environment",
    "model",
    "outputs",
    "warnings",
    "errors",
    "images",
    "preprocessing",
}
OUTPUT_FIELDS = {"path", "layer", "image", "view", "shape", "shown", "total", "limits", "nonfinite", "notes"}
STEM = "cat-test_resnet.random"


@pytest.fixture
def cat(tmp_path):
    """A small picture with a gradient and noise."""
    numbers = np.random.default_rng(0).integers(0, 120, (170, 180, 3))
    numbers[..., 0] += np.arange(180) * 135 // 180
    path = tmp_path / "cat.png"
    Image.fromarray(numbers.astype(np.uint8)).save(path)
    return path


@pytest.fixture
def look(run, cat):
    """A function that draws maps of a tiny network with random weights as bare tiles, which is fast."""

    def finish(*arguments, model="test_resnet", weights="random", images=(cat.name,), style="bare"):
        return run("features", model, *images, "--weights", weights, "--style", style, *arguments)

    return finish


def names(result):
    """The names of the files on stdout, without the stem that they share."""
    return [path.name.removeprefix(f"{STEM}-") for path in result.paths]


def arrays_of(path):
    """The arrays of an npz by their true names."""
    with np.load(path, allow_pickle=False) as file:
        keys = [key for key in file.files if key not in {"names", "recipe"}]
        return dict(zip(file["names"].tolist(), (file[key] for key in keys), strict=True))


def captured(image, layers, **choices):
    """The same maps by the library."""
    model = kernelviz.load_model("test_resnet", weights="random")
    return kernelviz.capture_features(model, kernelviz.read_image(image), layers, **choices)


def test_without_a_layer_the_stages_and_an_overview(look, cat):
    """The bare command draws the first convolution and timm's stages, and one overview of them all."""
    result = look(style="figure")
    stages = [each["module"] for each in timm.create_model("test_resnet").feature_info]
    assert result.code == 0
    assert names(result) == [*(f"{layer}-features.png" for layer in ["conv1.0", *stages]), "overview.png"]
    recipe = read_recipe(result.paths[-1])
    assert (recipe["view"], [each["name"] for each in recipe["layers"]]) == ("overview", ["conv1.0", *stages])
    assert recipe["image"] == {"name": "cat.png", "sha256": hashlib.sha256(cat.read_bytes()).hexdigest()}
    assert "conv1.0: Conv2d, 16 × 80 × 80; 16 of 16 maps" in result.err.splitlines()


def test_the_document_has_its_fields(look):
    """Programs rely on these names; random weights name no classes."""
    document = look("-l", "conv1.0", "--arrays", "--json").document
    assert set(document) == FIELDS
    assert (document["kernelviz"], document["schema"], document["command"]) == (__version__, 1, "features")
    assert document["environment"]["threads"] == torch.get_num_threads()
    assert document["images"] == [{"path": "cat.png", "top": []}]
    assert [Path(output["path"]).suffix for output in document["outputs"]] == [".png", ".npz"]
    for output in document["outputs"]:
        assert set(output) >= OUTPUT_FIELDS
        assert (output["layer"], output["image"], output["view"]) == ("conv1.0", "cat.png", "maps")
        assert (output["shape"], output["shown"], output["total"]) == ([16, 80, 80], 16, 16)
        assert output["nonfinite"] == 0
    (maps,) = captured("cat.png", "conv1.0")
    largest = float(np.abs(maps.values).max())
    assert document["outputs"][0]["limits"] == [-largest, largest]
    assert look("-l", "conv1.0", "--arrays", "--json").document == document


def test_the_recipe_agrees_with_the_document_and_holds_no_path(look):
    """What a file says of itself is what the document says of it, with the input's size and place in the image."""
    (output,) = look("-l", "conv1.0", "--input-size", "96,128", "--json").document["outputs"]
    recipe = read_recipe(output["path"])
    for key in ("layer", "view", "shape", "shown", "total", "limits"):
        assert recipe[key] == output[key]
    assert recipe["input_size"] == [3, 96, 128]
    assert set(recipe["seen"]) == {"offset", "scale"}
    assert os.getcwd() not in str(recipe)  # noqa: PTH109


@pytest.mark.parametrize("choice", [(), ("--channels", "3,0-1"), ("--top", "4", "--sort", "std")], ids=str)
def test_the_arrays_are_what_the_layers_gave(look, choice):
    """Bit for bit what the library captures, in the order of the tiles."""
    result = look("-l", "layer1.0.act2", *choice, "--arrays")
    (maps,) = captured("cat.png", "layer1.0.act2")
    numbers = {"--channels": [3, 0, 1], "--top": np.argsort(-maps.values.std(axis=(1, 2)), kind="stable")[:4]}
    expected = maps.values[numbers[choice[0]]] if choice else maps.values
    drawn = arrays_of(result.paths[1])["layer1.0.act2"]
    assert drawn.dtype == np.float32
    assert np.array_equal(drawn, expected)


@pytest.mark.parametrize(
    ("reduce", "oracle"), [("mean", torch.mean), ("max", torch.amax), ("norm", torch.linalg.vector_norm)]
)
def test_a_reduction_is_one_map_a_layer(look, reduce, oracle):
    """The mean, maximum or norm over the channels, as torch finds it."""
    result = look("-l", "layer2", "--reduce", reduce, "--arrays")
    assert names(result) == [f"layer2-features-{reduce}.png", f"layer2-features-{reduce}.npz"]
    (maps,) = captured("cat.png", "layer2")
    drawn = arrays_of(result.paths[1])["layer2"]
    assert np.allclose(drawn, oracle(torch.from_numpy(maps.values).double(), dim=0)[None], rtol=1e-12)
    assert f"layer2: Sequential, 48 × 20 × 20; one map, the {reduce} of 48" in result.err.splitlines()


class LooksAtNumbers(torch.nn.Module):
    """A network that chooses its way by its values, so that no pass without numbers can be watched."""

    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, image):
        """Take a look."""
        return self.module(image if float(image.mean()) < 10 else -image)


def test_a_network_that_looks_at_its_numbers_is_drawn(look, monkeypatch):
    """Where the pass on meta cannot go by, one of an image without content is watched; the maps are the same."""
    network = kernelviz.load_model("test_resnet", weights="random")
    looking = replace(network, module=LooksAtNumbers(network.module).eval())
    monkeypatch.setattr("kernelviz.network.model.load_model", lambda *_, **__: looking)
    result = look("-l", "module.layer2", "--arrays")
    assert result.code == 0
    (maps,) = captured("cat.png", "layer2")
    assert np.array_equal(arrays_of(result.paths[1])["module.layer2"], maps.values)


def test_what_goes_into_a_layer(look):
    """``--tap input`` draws the inputs under a name of their own."""
    result = look("-l", "layer2", "--tap", "input", "--arrays")
    assert names(result) == ["layer2-inputs.png", "layer2-inputs.npz"]
    (before,) = captured("cat.png", "layer1")
    assert np.array_equal(arrays_of(result.paths[1])["layer2"], before.values)


def test_a_kind_narrows(look):
    """``--kind conv`` leaves the convolutions of what was asked for."""
    layers = [output["layer"] for output in look("-l", "conv1*", "--kind", "conv", "--json").document["outputs"]]
    assert layers == ["conv1.0", "conv1.3", "conv1.6"]


def test_a_layer_that_runs_twice_has_two_pictures(look):
    """Each run by its number, alone or together."""
    words = {"model": "dla46x_c"}
    both = look("-l", "level3.tree1.tree1.relu", "--json", **words).document["outputs"]
    assert [output["layer"] for output in both][:2] == ["level3.tree1.tree1.relu", "level3.tree1.tree1.relu#2"]
    assert len({output["path"] for output in both}) == len(both)
    (second,) = look("-l", "level3.tree1.tree1.relu#2", "--json", **words).document["outputs"]
    assert second["layer"] == "level3.tree1.tree1.relu#2"
    assert any(note.startswith("run 2 of ") for note in second["notes"])


@pytest.mark.parametrize(("model", "layer"), [("test_vit", "blocks.1"), ("test_convnext", "stages.1.blocks.0.mlp.act")])
def test_tokens_and_channels_last_become_maps(look, model, layer):
    """Layers that do not give (C, H, W) are brought to it; their own shape stays in the document."""
    (output,) = look("-l", layer, "--json", model=model).document["outputs"]
    recipe = read_recipe(output["path"])
    assert recipe["shape"] == output["shape"]
    assert output["total"] == output["shape"][-1]


def test_overlays_have_a_picture_each(run, cat):
    """Of the norm unless said, of a reduction, or of each channel; not finite values are counted in each."""
    words = ("features", "test_resnet", cat.name, "--weights", "random", "-l", "layer3", "--overlay", "--json")
    for more, views in (
        ((), ["overlay-norm"]),
        (("--reduce", "mean"), ["overlay-mean"]),
        (("--channels", "7,2"), ["overlay-7", "overlay-2"]),
    ):
        outputs = run(*words, *more).document["outputs"]
        assert [output["view"] for output in outputs] == views
        assert [Path(output["path"]).name for output in outputs] == [
            f"{STEM}-layer3-features-{view}.png" for view in views
        ]
        assert {output["nonfinite"] for output in outputs} == {0}
        assert {output["total"] for output in outputs} == {192}
    (maps,) = captured("cat.png", "layer3")
    assert outputs[1]["limits"] == [float(maps.values[2].min()), float(maps.values[2].max())]


def test_an_overview_beside_chosen_layers(look):
    """With ``--overview`` the stages are seen too, but only the layers asked for are drawn."""
    result = look("-l", "layer1.0.conv1", "--overview")
    assert names(result) == ["layer1.0.conv1-features.png", "overview.png"]
    assert read_recipe(result.paths[1])["layers"][-1]["name"] == "layer4"
    assert names(look("--no-overview", "-l", "stage:-1")) == ["layer4-features.png"]


def test_the_first_classes(run, bundled):
    """By name, as the network's own softmax has them, on stderr, in the document and in the overview."""
    words = ("features", "tf_efficientnet_lite0", "sample:grace_hopper")
    result = run(*words, "--json")
    (image,) = result.document["images"]
    batch, _ = kernelviz.network.preprocessing.prepare(bundled, kernelviz.read_image(words[2]))
    with torch.no_grad():
        shares = bundled.module(batch).double().softmax(1)[0].topk(5)
    assert [each["index"] for each in image["top"]] == shares.indices.tolist()
    assert [each["probability"] for each in image["top"]] == shares.values.tolist()
    assert [each["label"] for each in image["top"]][:3] == ["academic gown", "mortarboard", "military uniform"]
    assert "sample:grace_hopper: academic gown 24.2%, mortarboard 20.9%" in result.err
    overview = result.document["outputs"][-1]
    assert (overview["layer"], overview["image"]) == (None, "sample:grace_hopper")
    assert [each["label"] for each in read_recipe(overview["path"])["classes"]] == [
        each["label"] for each in image["top"]
    ]
    short = run(*words, "-l", "conv_stem", "--no-classes", "--style", "bare", "--json").document
    assert short["images"] == [{"path": "sample:grace_hopper", "top": []}]


def test_cropped_or_whole(look, tmp_path):
    """--crop cuts out the middle, --no-crop shows everything; what was left out is said."""
    Image.new("RGB", (400, 200), "white").save(tmp_path / "wide.png")
    for option, word in (("--crop", "cropped"), ("--no-crop", "")):
        document = look("-l", "conv1.0", option, "--json", images=("wide.png",)).document
        assert any(word in note for note in document["warnings"]) or not word
        assert not any("cropped" in note for note in document["warnings"]) or word


@pytest.mark.parametrize(("kind", "magic"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_every_format_holds_its_recipe(look, kind, magic):
    """Figures are written as PNG, SVG and PDF, each with how it was made."""
    (path,) = look("-l", "layer4", "--format", kind, style="figure").paths
    assert path.read_bytes().startswith(magic)
    assert read_recipe(path)["layer"] == "layer4"


SAME = """
import sys
from kernelviz.cli.main import main
words = ["features", "test_resnet", "cat.png", "--weights", "random", "-q", "-o", "other"]
for more in sys.argv[2:]:
    assert main([*words, *more.split(), "--threads", sys.argv[1]]) == 0
"""


def test_the_same_command_gives_the_same_bytes(fresh, run, cat, tmp_path):
    """In another process, with another hash seed, each file is the same."""
    choices = ["-l conv1.0 --arrays --style bare", "-l layer4 --overview --format svg", "-l layer4 --overlay"]
    other = fresh("-c", SAME, str(torch.get_num_threads()), *choices, environment={"PYTHONHASHSEED": "7"})
    assert other.code == 0, other.err
    for choice in choices:
        assert run("features", "test_resnet", cat.name, "--weights", "random", *choice.split()).code == 0
    written = sorted((tmp_path / "other").iterdir())
    assert len(written) == 5
    for path in written:
        assert path.read_bytes() == (tmp_path / "kernelviz-out" / path.name).read_bytes(), path.name


def test_threads_are_told(look):
    """The number of threads of the pass stands in the document and in the recipe."""
    before = torch.get_num_threads()
    try:
        document = look("-l", "conv1.0", "--threads", "1", "--json").document
    finally:
        torch.set_num_threads(before)
    assert document["environment"]["threads"] == 1
    assert read_recipe(document["outputs"][0]["path"])["environment"]["threads"] == 1


def test_folders_globs_and_standard_input(look, cat, tmp_path, monkeypatch):
    """A folder with -r, a pattern, and ``-``; each image once, those of a folder sorted."""
    folder = tmp_path / "more"
    (folder / "deep").mkdir(parents=True)
    for name in ("b.png", "a.png", "deep/c.png"):
        (folder / name).write_bytes(cat.read_bytes())
    (folder / "notes.txt").write_text("no image")
    result = look("-l", "conv1.0", "-r", "--json", images=("more", "more/a.png"))
    assert [image["path"] for image in result.document["images"]] == ["more/a.png", "more/b.png", "more/deep/c.png"]
    result = look("-l", "conv1.0", "--json", images=("more/[ab].png",))
    assert [image["path"] for image in result.document["images"]] == ["more/a.png", "more/b.png"]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(cat.read_bytes())))
    result = look("-l", "conv1.0", images=("-",))
    assert [path.name for path in result.paths] == ["stdin-test_resnet.random-conv1.0-features.png"]


def test_two_images_of_one_name_have_two_pictures(look, cat, tmp_path):
    """Within a run and across runs, none is over the other, and the same run again replaces its own."""
    for folder, turn in (("one", Image.Transpose.ROTATE_90), ("two", Image.Transpose.ROTATE_180)):
        (tmp_path / folder).mkdir()
        Image.open(cat).transpose(turn).save(tmp_path / folder / "x.png")
    words = ("-l", "conv1.0")
    together = look(*words, images=("one/x.png", "two/x.png")).paths
    assert len(set(together)) == 2
    apart = [look(*words, images=(f"{folder}/x.png",)) for folder in ("one", "two")]
    assert [each.code for each in apart] == [0, 0]
    assert "is taken by a picture of another image" in apart[1].err
    again = look(*words, images=("two/x.png",)).paths
    assert again == apart[1].paths
    first, second = (read_recipe(each.paths[0])["image"]["sha256"] for each in apart)
    digests = [hashlib.sha256((tmp_path / folder / "x.png").read_bytes()).hexdigest() for folder in ("one", "two")]
    assert [first, second] == digests
    assert [read_recipe(path)["image"]["sha256"] for path in together] == digests


@pytest.mark.parametrize(
    "name",
    [
        "a b .png",
        "[1].png",
        "[bold]x.png",
        "$\\foo$.png",
        "two\nlines.png",
        "\x1b[31m.png",
        "🦜.png",
        "模型.png",
    ],
)
def test_any_name_of_an_image(look, cat, tmp_path, name):
    """It works, is shown escaped, and makes a safe file name inside the directory, with the letters of any script."""
    cat.rename(tmp_path / name)
    result = look("-l", "conv1.0", "--overview", images=(name,))
    assert result.code == 0
    assert all(line.isprintable() for line in result.err.splitlines())
    assert all(path.parent.name == "kernelviz-out" for path in result.paths)
    assert all(char.isascii() or char in "模型" for path in result.paths for char in path.name)
    assert all(path.name.startswith("模型-") for path in result.paths if name.startswith("模型"))
    assert len(result.paths) == 2


def test_quiet_and_verbose(look):
    """-q leaves the paths alone; -v says what the captions say."""
    assert look("-l", "conv1.0", "-q").err == ""
    scale = "  Full colour is the largest absolute value of each tile, so colours are not comparable between tiles"
    assert scale in look("-l", "conv1.0", "-v").err


def test_components_and_overlays_take_a_palette(run, cat):
    """Their recipes and the document hold it."""
    for words in (("--reduce", "pca"), ("--overlay",)):
        result = run(
            "features", "test_resnet", cat.name, "--weights", "random", "-l", "layer1", "--no-classes", *words,
            "--palette", "safe", "--json",
        )  # fmt: skip
        row = next(row for row in result.document["outputs"] if row["path"].endswith(".png"))
        recipe = read_recipe(row["path"])
        assert [recipe["palette"], recipe["asked"]["palette"], row["palette"]] == ["safe"] * 3

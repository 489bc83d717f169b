"""``kernelviz explain layer`` tells a layer's sizes, traces one value, and draws kernels beside their maps."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from kernelviz import capture_features, load_model, read_image, read_recipe


@pytest.fixture
def photo(tmp_path):
    """A small photograph of noise."""
    path = tmp_path / "photo.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)).save(path)
    return path


def test_the_sizes_are_those_of_the_layer(run):
    """Formula, parameters and field of a layer at the model's own input size, without weights or an image."""
    text = run("explain", "layer", "tf_efficientnet_lite0", "conv_stem").out
    assert "⌊(224 + 0 + 1 − 3) / 2⌋ + 1 = 112" in text
    assert "padding 0 above, 1 below, 0 left, 1 right" in text
    assert "32 × 3 × 3 × 3 = 864 weights, no bias" in text
    assert "the receptive field of a unit is 3 × 3 pixels of the image; those of neighbouring units are 2 apart" in text


@pytest.mark.parametrize(
    ("model", "name", "size"),
    [("test_resnet", "layer2.0.conv1", 160), ("test_resnet", "maxpool", 97),
     ("test_efficientnet", "blocks.3.0.conv_dw", 64), ("test_nfnet", "stages.1.0.conv2", 96),
     ("test_resnet", "global_pool.pool", 160)],
)  # fmt: skip
def test_json_says_what_torch_gives(run, model, name, size):
    """Output size, parameters and work are those of the module in a real pass of an image of that size."""
    told = run("explain", "layer", model, name, "--input-size", size, "--json").document
    network = load_model(model, weights="random").module
    module = dict(network.named_modules())[name]
    shapes = []
    handle = module.register_forward_hook(lambda _m, given, output: shapes.append((given[0].shape, output.shape)))
    with torch.no_grad():
        network(torch.zeros(1, 3, size, size))
    handle.remove()
    taken, given = shapes[0]
    assert told["input_size"] == list(taken[2:])
    assert told["output_size"] == (list(given[2:]) or [1, 1])
    if name != "stages.1.0.conv2":  # a standardised one learns its gain, too
        assert told["parameters"] == sum(parameter.numel() for parameter in module.parameters())
    assert told["macs"] == told["layer"]["macs"]
    assert told["layer"]["name"] == name
    assert (told["command"], told["steps"]) == ("explain", [])


def test_one_value_is_traced(run, photo, monkeypatch):
    """Text and JSON tell the very value that the network gave, and what it is the sum of."""
    monkeypatch.setenv("COLUMNS", "200")
    asked = ["explain", "layer", "test_resnet", "layer2.0.conv1", "--weights", "random", "--image", photo]
    told = run(*asked, "--channels", "3", "--at", "4,5", "--json").document
    (step,) = told["steps"]
    model = load_model("test_resnet", weights="random")
    (maps,) = capture_features(model, read_image(photo), "layer2.0.conv1")
    assert step["value"] == maps.values[3, 4, 5]
    products = np.array(step["products"])
    np.testing.assert_array_equal(products, np.array(step["window"]) * np.array(step["kernel"]))
    assert products.sum() == pytest.approx(step["sum"], rel=1e-9)
    assert (step["at"], step["channel"]) == ([4, 5], 3)
    text = run(*asked, "--channels", "3", "--at", "4,5").out
    assert text == step["text"] + "\n"
    assert "in the network" in text.splitlines()[-1]


def test_pictures_are_written_with_recipes(run, photo):
    """At most 64 channels and one of a unit, each by its own name, with the numbers; the same again is replaced."""
    asked = ["explain", "layer", "test_resnet", "conv1.0", "--weights", "random", "--image", photo, "-o", "out"]
    result = run(*asked, "--channels", "1,7")
    assert (result.code, len(result.paths)) == (0, 2)
    assert [path.name for path in result.paths] == [
        f"photo-test_resnet.random-conv1.0-map-{number}.png" for number in (1, 7)
    ]
    again = [path.read_bytes() for path in result.paths]
    assert [path.read_bytes() for path in run(*asked, "--channels", "1,7").paths] == again
    drawn, numbers = run(*asked, "--channels", "1", "--at", "3,4", "--arrays").paths
    assert read_recipe(drawn)["view"] == "unit 1,3,4"
    assert read_recipe(result.paths[0])["view"] == "map 1"
    with np.load(numbers, allow_pickle=False) as arrays:
        assert arrays["window"].shape == arrays["kernel"].shape == (3, 3, 3)
    other = run(*asked, "--channels", "1", "--at", "5,4", "--format", "svg").paths
    assert other[0].suffix == ".svg"
    assert read_recipe(other[0])["layer"] == "conv1.0"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["conv1.0", "--at", "1,1"], 2, "--at needs an image"),
        (["conv1.0", "--channels", "1"], 2, "--channels needs an image"),
        (["conv1.0", "-o", "out"], 2, "-o needs an image"),
        (["conv1.0", "--image", "photo.png"], 2, "--at, -o or --csv is needed"),
        (["conv1.0", "--force"], 2, "are for files"),
        (["conv1.0", "--image", "photo.png", "--at", "one"], 2, "ROW,COLUMN"),
        (["conv1.0", "--image", "photo.png", "--at", "1,1", "--channels", "1,2"], 2, "takes one channel"),
        (["conv1.0", "--image", "photo.png", "--at", "1,1", "--channels", "99"], 2, "but got channel 99"),
        (["conv1.0", "--image", "photo.png", "--at", "999,1"], 2, "row 999"),
        (["conv1.0", "--image", "photo.png", "-o", "out.png"], 2, "takes a directory"),
        (["conv1.0", "--image", "photo.png", "-o", "out", "--channels", "0-99"], 2, "at most 64 channels"),
        (["conv1.0", "--image", "nosuch.png", "--at", "1,1"], 1, "nosuch.png"),
        (["bn1"], 2, "is a BatchNorm2d, neither a convolution nor a pool"),
        (["layer2.0"], 2, "is a BasicBlock with 4 convolutions and pools"),
        (["fc"], 2, "is a Linear"),
        (["conv1.9"], 2, "Nearest: conv1"),
        (["bn1", "--image", "photo.png", "--at", "1,1"], 2, "runs no convolution"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_explained_is_refused(run, photo, arguments, code, words):
    """One clear error, with its exit code, and nothing is made."""
    result = run(
        "explain", "layer", "test_resnet", *arguments, *(["--weights", "random"] if "--image" in arguments else [])
    )
    assert (result.code, result.out) == (code, "")
    assert words in "\n".join(result.complaint)
    assert not (photo.parent / "out").exists()


@pytest.mark.parametrize(
    "more", [[], ["--weights", "random", "--image", "photo.png", "--at", "1,1"]], ids=["sizes", "value"]
)
def test_a_layer_that_no_pass_reaches_is_said_to(run, photo, more):
    """Exit code 1 and a clear message, for its sizes and for a value; with --json in one document."""
    result = run("explain", "layer", "test_efficientnet", "blocks.0.0.drop_path", *more, "--json")
    assert result.code == 1
    assert result.complaint[:2] == [
        "Error: The layer blocks.0.0.drop_path did not run.",
        "The network contains it, but the forward pass does not reach it.",
    ]
    assert result.document["errors"][0]["message"] == " ".join(
        line.removeprefix("Error: ") for line in result.complaint
    )
    assert photo.exists()

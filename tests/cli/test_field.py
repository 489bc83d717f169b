"""``kernelviz field`` draws effective receptive fields, and refuses what cannot be compared."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from kernelviz import read_recipe
from kernelviz.network.effective_field import effective_field
from kernelviz.network.model import load_model

ARGUMENTS = ("field", "test_resnet", "--weights", "random", "-l", "layer1")


@pytest.fixture
def photos(tmp_path):
    """A folder of three small images."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 255, (180, 200, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


def test_the_document_the_arrays_and_the_lines_hold_the_same(run, photos):
    """Numbers are those of the library; the picture's name has the layer, and its recipe the images."""
    ended = run(*ARGUMENTS, photos, "-r", "--arrays", "--json")
    document = ended.document
    (layer,) = document["layers"]
    picture, arrays = (row["path"] for row in document["outputs"])
    assert (ended.code, picture) == (0, "kernelviz-out/test_resnet.random-layer1-field.png")
    with np.load(arrays) as held:
        assert held["layer1"].sum() == layer["sum"]
        assert held["layer1"].shape == (160, 160)
    assert [square["share"] for square in layer["squares"]] == [0.2, 0.3, 0.5, 0.99]
    assert f"99 % in {layer['squares'][-1]['side']} px" in ended.err
    assert layer["images"] == ["0.png", "1.png", "2.png"]
    assert read_recipe(picture)["image"]["name"] == "3 images"
    assert layer["outside"] == 0
    from kernelviz.files.images import read_image

    images = [read_image(photos / f"{number}.png") for number in range(3)]
    found = effective_field(load_model("test_resnet", weights="random"), images, "layer1")
    assert found.sum == layer["sum"]


def test_other_weights_are_a_row_of_their_own(run, photos, checkpoint):
    """``--against`` takes a file of weights of the same model, and the document holds both."""
    ended = run(*ARGUMENTS, photos / "0.png", "--against", checkpoint("other.pth"), "--json", "--arrays")
    document = ended.document
    assert ended.code == 0
    assert document["model"]["weights"]["source"] == "random"
    assert document["against"]["model"]["weights"]["source"] == "file"
    assert document["against"]["layers"][0]["sum"] != document["layers"][0]["sum"]
    assert "-against-test_resnet.other" in document["outputs"][0]["path"]
    assert [model["weights"]["source"] for model in read_recipe(document["outputs"][0]["path"])["model"]] == [
        "random",
        "file",
    ]
    with np.load(document["outputs"][1]["path"]) as held:
        assert {"layer1", "against_layer1"} <= set(held.files)


def test_another_model_must_have_the_same_input_size(run, photos):
    """At another input size shares of area mean nothing: refused with the size that would do; at one size it is drawn."""
    words = (*ARGUMENTS[:4], photos / "0.png", "--against", "resnet18", "-l", "layer1")
    ended = run(*words)
    assert ended.code == 2
    assert ended.complaint[0] == "Error: test_resnet takes 160 × 160 pixels, but resnet18 224 × 224."
    assert ended.complaint[2] == "Give one to both: --input-size 160,160"
    assert run(*words, "--input-size", "160,160").code == 0


def test_an_image_that_fails_is_named_and_the_others_go_on(run, photos):
    """Exit 3 with the picture of the others; the only image that fails is exit 1."""
    (photos / "bad.png").write_bytes(b"no image")
    ended = run(*ARGUMENTS, photos, "-r")
    assert (ended.code, len(ended.paths)) == (3, 1)
    assert "bad.png" in ended.err
    assert "3 images" in ended.err
    assert run(*ARGUMENTS, photos / "bad.png").code == 1


def test_nothing_reaches_a_unit(run, photos, checkpoint):
    """Of weights that are all zero nothing reaches a unit: exit 1, and no picture."""

    def change(weight):
        weight.zero_()

    ended = run(
        "field", "test_resnet", photos / "0.png", "--weights", checkpoint("zero.pth", change=change), "-l", "layer1"
    )
    assert (ended.code, ended.out) == (1, "")
    assert ended.complaint[0] == "Error: Nothing reaches unit 20, 20 of layer1."


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--at", "99,0"), "layer1 has 40 × 40 units, but got row 99, column 0"),
        (("--at", "1"), "A unit must be ROW,COLUMN"),
        (("--channels", "999"), "layer1: There are channels 0 to"),
        (("-l", "nosuch"), "nosuch"),
        (("-l", "*"), "At most 12 layers"),
        (("--against", "random"), "--against is the model itself"),
        (("--against", "nosuch_model"), "nosuch_model"),
        (("--against", "test_efficientnet"), "test_efficientnet: No layer is called layer1."),
    ],
)
def test_wrong_usage_ends_with_2(run, photos, words, message):
    """What is not there is refused in one line before any image is read, and nothing is written."""
    ended = run(*ARGUMENTS, photos / "0.png", *words)
    assert (ended.code, ended.out) == (2, "")
    assert message in ended.complaint[0]


def test_a_missing_file_of_other_weights_is_called_a_file(run, photos):
    """``--against other.pth`` is never taken for the name of a model."""
    ended = run(*ARGUMENTS, photos / "0.png", "--against", "nosuch.pth")
    assert (ended.code, ended.complaint[0]) == (1, "Error: There is no weights file nosuch.pth.")


def test_chosen_units_and_channels_are_in_the_name_and_a_rerun_replaces(run, photos):
    """Another unit is another picture; the same command replaces its own picture byte for byte."""
    first = run(*ARGUMENTS, photos / "0.png").paths[0]
    other = run(*ARGUMENTS, photos / "0.png", "--at", "3,4", "--channels", "0,2").paths[0]
    resized = run(*ARGUMENTS, photos / "0.png", "--at", "3,4", "--no-crop").paths[0]
    assert read_recipe(resized)["asked"]["crop"] is False
    assert other.name == "0-test_resnet.random-layer1-field-at-3-4-channels-0-2.png"
    before = first.read_bytes()
    assert run(*ARGUMENTS, photos / "0.png").paths == [first]
    assert first.read_bytes() == before


def test_grad_mode_is_as_before(run, photos):
    """The command leaves torch as it was."""
    assert run(*ARGUMENTS, photos / "0.png").code == 0
    assert torch.is_grad_enabled()


def test_files_of_the_same_bytes_are_counted_once(run, photos):
    """The field is that of the images without the copy, which a note names."""
    alone = run(*ARGUMENTS, photos, "-r", "--json").document["layers"][0]
    (photos / "copy.png").write_bytes((photos / "1.png").read_bytes())
    ended = run(*ARGUMENTS, photos, "-r", "--json")
    (layer,) = ended.document["layers"]
    assert ended.code == 0
    assert (layer["sum"], layer["images"]) == (alone["sum"], alone["images"])
    note = "1 image is identical to an earlier image, counted once: copy.png"
    assert note in layer["notes"]
    assert note in ended.document["warnings"]

"""How an image was read and preprocessed is chosen by the same options in every command, and stated everywhere."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import save_file

RNG = np.random.default_rng(31)
NOTE = "16-bit values: 0 became 0 and 65535 became 1; they range from 3 to 65000"
LEFT_OUT = "bands 1, 2, 3 of 5 bands: 2 bands are left out"

COMMANDS = {
    "filter": "filter {} --kernel sobel-x",
    "filter --from": "filter {} --from test_resnet:conv1.0:1 --weights random",
    "features": "features test_resnet {} --weights random -l layer1",
    "features --overview": "features test_resnet {} --weights random --overview -l layer1",
    "features --overlay": "features test_resnet {} --weights random --overlay -l layer1",
    "features --reduce": "features test_resnet {} --weights random --reduce norm -l layer1",
    "features --reduce pca": "features test_resnet {} --weights random --reduce pca -l layer1",
    "features --statistics": "features test_resnet {} --weights random --statistics -l layer1",
    "features --contact": "features test_resnet {} --weights random --contact -l layer1",
    "patches": "patches test_resnet {} --weights random -l layer1",
    "explain layer --at": "explain layer test_resnet conv1.0 --image {} --weights random --at 3,4 -o kernelviz-out",
    "explain layer": "explain layer test_resnet conv1.0 --image {} --weights random -o kernelviz-out",
}
"""Every command that takes an image, and every picture that it draws of one."""


@pytest.fixture
def wide():
    """A 16-bit image whose numbers are known."""
    values = RNG.integers(4, 65000, (170, 170), dtype=np.uint16)
    values[0, :2] = 3, 65000
    Image.fromarray(values).save("wide.png")
    return "wide.png"


@pytest.fixture
def five():
    """An image of five bands."""
    values = RNG.integers(4, 65000, (170, 170, 5), dtype=np.uint16)
    values[0, :2] = [[3] * 5, [65000] * 5]
    np.save("five.npy", values)
    return "five.npy"


@pytest.mark.sampled
@pytest.mark.parametrize("name", COMMANDS)
def test_every_note_of_an_image_is_stated_everywhere(name, wide, five, run, texts_drawn):
    """Each note on how an image was read is on stderr, in the JSON document, and in each figure, in every command."""
    for image, notes in ((wide, [NOTE]), (five, [NOTE, LEFT_OUT])):
        texts_drawn.clear()
        told = run(*COMMANDS[name].format(image).split(), "--force")
        assert told.code == 0, told.err
        shown = " ".join(" ".join(texts_drawn).split())
        document = run(*COMMANDS[name].format(image).split(), "--force", "--json").document
        for note in notes:
            assert note in told.err
            assert any(note in warning for warning in document["warnings"])
            assert note.lower() in shown.lower()
            pictures = [row for row in document["outputs"] if row["view"] != "basis"]
            assert pictures
            assert all(any(note.lower() in each.lower() for each in row["notes"]) for row in pictures)


@pytest.fixture
def texts_drawn(monkeypatch):
    """The texts that are drawn on pages."""
    from kernelviz.drawing import page

    texts = []
    create = page.Text.__init__

    def record(self, *arguments, **words):
        create(self, *arguments, **words)
        texts.append(self.text)

    monkeypatch.setattr(page.Text, "__init__", record)
    return texts


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_takes_range_and_bands(name, five, run):
    """``--range`` and ``--bands`` choose what is read, in every command, and recipe and JSON name them."""
    from kernelviz.files.recipes import read_recipe

    words = COMMANDS[name].format(five).split()
    chosen = run(*words, "--range=0,70000", "--bands", "4,3,2", "--force", "--json")
    assert chosen.code == 0, chosen.err
    assert any("bands 4, 3, 2 of 5 bands" in warning for warning in chosen.document["warnings"])
    assert any("0 became 0 and 70000 became 1" in warning for warning in chosen.document["warnings"])
    for row in chosen.document["outputs"]:
        if row["view"] == "basis":
            continue
        recipe = read_recipe(row["path"])
        held = recipe.get("asked") or recipe.get("seen") or recipe
        assert held["range"] == [0, 70000]
        assert held["bands"] == [4, 3, 2]


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "filter"])
def test_chosen_preprocessing_is_stated_everywhere(name, wide, run, texts_drawn):
    """``--mean`` and ``--std`` are on stderr, in the JSON document, in the recipe and in the figure."""
    from kernelviz.files.recipes import read_recipe

    told = run(*COMMANDS[name].format(wide).split(), "--mean", "0.1,0.2,0.3", "--std", "0.4", "--json")
    document, text = told.document, "(x − (0.1, 0.2, 0.3)) / 0.4"
    assert text in told.err
    assert text in " ".join(" ".join(texts_drawn).split())
    used = document["preprocessing"]
    assert (used["mean"], used["std"], used["chosen"]) == ([0.1, 0.2, 0.3], [0.4] * 3, ["mean", "std"])
    assert used.get("interpolation", "") == ("" if name == "filter --from" else "bilinear")
    assert any(text in warning for warning in document["warnings"])
    for row in document["outputs"]:
        assert read_recipe(row["path"])["preprocessing"] == used


def test_grey_enters_by_the_chosen_numbers(run):
    """Grey 128 enters a network that was trained with 0.5 / 0.5 as 0.0039; without the choice a guess is stated."""
    import timm

    save_file(timm.create_model("test_resnet", in_chans=1).state_dict(), "grey.safetensors")
    Image.fromarray(np.full((160, 160), 128, np.uint8)).save("grey.png")
    words = [
        "explain",
        "layer",
        "test_resnet",
        "conv1.0",
        "--weights",
        "grey.safetensors",
        "--image",
        "grey.png",
        "--at",
        "40,40",
    ]
    chosen = run(*words, "--mean", "0.5", "--std", "0.5", "--json").document
    windows = chosen["steps"][0]["window"]
    assert np.allclose(windows, 0.0039, atol=5e-5)
    assert not any("guess" in warning for warning in chosen["warnings"])
    guessed = run(*words)
    assert "is a guess" in guessed.err or "are a guess" in guessed.err


def test_the_interpolation_is_used_and_stated(wide, run):
    """``--interpolation`` changes how an image is resized, and is stated."""
    words = f"features test_resnet {wide} --weights random -l layer1 --force --json"
    chosen = run(*words.split(), "--interpolation", "nearest").document
    assert any("nearest" in warning for warning in chosen["warnings"])
    assert chosen["preprocessing"]["interpolation"] == "nearest"


@pytest.mark.parametrize("name", ["features", "explain layer --at"])
def test_the_models_own_preprocessing_is_stated_too(name, wide, run, texts_drawn):
    """What was used is on stderr, in the document and the recipe; in the figure only if it is not the model's own."""
    from kernelviz.files.recipes import read_recipe

    ran = run(*COMMANDS[name].format(wide).split(), "--json")
    assert "input: (x − 0.5) / 0.5, bilinear" in ran.err
    used = {"mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bilinear", "chosen": [], "guessed": []}
    assert ran.document["preprocessing"] == used
    assert ran.document["outputs"]
    for row in ran.document["outputs"]:
        assert read_recipe(row["path"])["preprocessing"] == used
    assert "preprocessed by" not in " ".join(texts_drawn)


def test_a_classical_filter_reads_no_network(wide, run):
    """Only a learned kernel reads the image less the mean of its network."""
    learned = run(*f"filter {wide} --from test_resnet:conv1.0:0 --weights random --json".split())
    assert learned.document["preprocessing"]["mean"] == [0.5] * 3
    assert "input: (x − 0.5) / 0.5" in learned.err
    assert run(*f"filter {wide} --kernel sobel-x --json".split()).document["preprocessing"] is None


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--range", "1"), ("--range", "1,1"), ("--range", "a,b"), ("--range", "0,inf"), ("--range", "1,2,3"),
        ("--bands", "0"), ("--bands", "1,x"), ("--bands", ""), ("--bands", "-1"), ("--bands", "1.5"),
        ("--mean", "x"), ("--mean", "0.5,"), ("--mean", "nan"), ("--std", "0"), ("--std", "none,1"),
        ("--interpolation", "cubic"),
    ],
)  # fmt: skip
def test_wrong_choices_are_wrong_usage(option, value, wide, run):
    """A malformed choice ends with exit code 2, before a model is loaded, and names the option."""
    for words in (f"features nosuch {wide}", f"explain layer nosuch conv --image {wide} --at 0,0"):
        told = run(*words.split(), f"{option}={value}")
        assert told.code == 2
        assert option in told.err


def test_numbers_for_other_channels_are_wrong_usage(wide, run):
    """Two numbers for three channels end with exit code 2, with the number of channels."""
    told = run(*f"features test_resnet {wide} --weights random --mean 0.1,0.2".split())
    assert told.code == 2
    assert "3, one per input channel, but got 2 numbers" in told.err


def test_a_band_that_is_not_there_is_wrong_usage(five, run):
    """A band beyond those of the image ends with exit code 2, with their number."""
    told = run(*f"filter {five} --kernel sobel-x --bands 6".split())
    assert told.code == 2
    assert "has 5 bands, but got band 6" in told.err


def test_a_folder_of_arrays_is_read(run):
    """``.npy`` files in a folder are images."""
    from pathlib import Path

    Path("folder").mkdir()
    np.save("folder/a.npy", RNG.random((64, 64)).astype(np.float32))
    Image.fromarray(RNG.integers(0, 255, (64, 64), dtype=np.uint8)).save("folder/b.png")
    told = run(*["features", "test_resnet", "folder", "-r", "--weights", "random", "-l", "layer1", "--style", "bare"])
    assert told.code == 0
    assert len(told.paths) == 2


def test_options_of_an_image_need_one(run):
    """``filter --list`` and ``explain layer`` without an image reject options of images."""
    for words in ("filter --list --range=0,1", "explain layer test_resnet conv1.0 --bands 1,2,3"):
        assert run(*words.split()).code == 2
    told = run(*["filter", "sample:grace_hopper", "--kernel", "sobel-x", "--mean", "0.5"])
    assert told.code == 2
    assert "--from" in told.err

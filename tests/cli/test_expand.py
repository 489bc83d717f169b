"""``kernelviz expand`` draws linear weights with their truth, and refuses what it cannot stand for."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from kernelviz import read_recipe

NETWORK = """
from torch import nn

class Net(nn.Sequential):
    def __init__(self):
        super().__init__(
            nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 6, 3), nn.Sigmoid(), nn.Softmax2d(), nn.Conv2d(6, 2, 1)
        )
"""


@pytest.fixture
def arguments(tmp_path):
    """A network of one's own, three images, and its third module."""
    (tmp_path / "net.py").write_text(NETWORK)
    for seed in range(3):
        pixels = np.random.default_rng(seed).integers(0, 255, (20, 20, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{seed}.png")
    photos = [str(tmp_path / f"{seed}.png") for seed in range(3)]
    return ("expand", f"{tmp_path}/net.py:Net", *photos, "--weights", "random", "--input-size", "20")


def test_it_draws_and_reports_what_is_explained(run, arguments):
    """The picture, the arrays of all channels, and the document with the share of each channel."""
    result = run(*arguments, "-l", "2", "--arrays", "--json", "--channels", "1-2")
    (entry,) = result.document["layers"]
    picture, arrays = result.document["outputs"]
    assert (result.code, picture["shown"], picture["total"], picture["view"]) == (0, 2, 6, "expanded")
    assert (entry["measured"], entry["judged"]) == (["0.png", "2.png"], ["1.png"])
    top, left, bottom, right = entry["box"]
    assert (entry["name"], bottom - top, right - left) == ("2", 4, 4)
    with np.load(arrays["path"]) as held:
        assert held["weights"].shape == (6, 3, 5, 5)
        assert held["explained"].tolist() == [each["explained"] for each in entry["channels"]]
    assert picture["path"].endswith("-2-expanded.png")
    again = run(*arguments, "-l", "2", "--slopes", "one", "--json")
    assert again.document["outputs"][0]["path"].endswith("-2-expanded-one.png")


def test_channels_that_do_not_fit_are_counted_in_a_message(run, arguments, tmp_path):
    """Of very many channels the first hundred are drawn by default, and the message states it as the caption does."""
    (tmp_path / "net.py").write_text(
        NETWORK.replace("nn.Conv2d(3, 4, 3)", "nn.Conv2d(3, 104, 3)").replace("(4, 6", "(104, 6")
    )
    result = run(*arguments, "-l", "0")
    assert "half or more of 104 of 104 channels" in result.err
    assert "\nthe picture shows 100 of them, from 0 on; --channels shows others\n" in result.err
    assert "the picture shows" not in run(*arguments, "-l", "0", "--channels", "0-3", "--force").err


def test_one_of_several_layers_without_a_stand_in_fails_alone(run, arguments):
    """It is named with the module on the way; the others are drawn, exit code 3."""
    result = run(*arguments, "-l", "0", "-l", "5", "--json")
    assert (result.code, len(result.document["outputs"])) == (3, 1)
    (error,) = result.document["errors"]
    assert (error["input"], error["code"]) == ("5", "failed")
    assert error["message"].startswith("4 has no linear stand-in: it weighs places by the values of the image")


def test_each_run_of_a_layer_has_a_picture(run, arguments, tmp_path):
    """A layer that runs twice is expanded twice, also if only a pattern matches it; ``#1`` selects the first run."""
    (tmp_path / "net.py").write_text(
        "from torch import nn\nclass Net(nn.Sequential):\n    def __init__(self):\n"
        "        super().__init__(nn.Conv2d(3, 3, 3))\n    def forward(self, x):\n        return self[0](self[0](x))\n"
    )
    for pattern in ("0", "*"):
        result = run(*arguments, "-l", pattern, "--json", "--force")
        assert (result.code, [each["name"] for each in result.document["layers"]]) == (0, ["0", "0#2"])
        assert [each["size"] for each in result.document["layers"]] == [[3, 3], [5, 5]]
        assert len({each["path"] for each in result.document["outputs"]}) == 2
    only = run(*arguments, "-l", "0#1", "--json", "--force")
    assert (only.code, [each["name"] for each in only.document["layers"]]) == (0, ["0"])


def test_layers_of_a_pattern_without_weights_are_left_out(run, arguments, monkeypatch):
    """They are summed up in one note per reason, exit code 0; it is an error if one was named, or nothing is drawn."""
    result = run(*arguments, "-l", "*", "--json")
    document = result.document
    notes = [line for line in document["warnings"] if "left out" in line]
    assert (result.code, document["errors"], [row["layer"] for row in document["outputs"]]) == (
        0,
        [],
        ["0", "1", "2", "3"],
    )
    note = "2 layers are left out: 4 has no linear stand-in: it weighs places by the values of the image"
    assert [line.replace(", as attention does (softmax)", "") for line in notes] == [f"{note}. Likewise 5."]
    assert note in result.err
    assert [each["name"] for each in document["left_out"]] == ["4", "5"]
    both = run(*arguments, "-l", "[25]", "-l", "4", "--json").document
    assert [error["input"] for error in both["errors"]] == ["4"]
    assert [each["name"] for each in both["left_out"]] == ["5"]
    alone = run(*arguments, "-l", "[45]", "--json")
    assert (alone.code, len(alone.document["errors"]), alone.document["outputs"]) == (1, 1, [])
    monkeypatch.setattr("kernelviz.views.linear_weights.HALF", 2.0)
    half = run(*arguments, "-l", "[024]")
    assert (half.code, half.complaint[0]) == (
        1,
        "Error: No channel of 0 has linear weights that explain one half of its output.",
    )


def test_images_that_cannot_be_read_are_named(run, arguments, tmp_path):
    """The others are used, exit code 3."""
    (tmp_path / "bad.png").write_bytes(b"no image")
    result = run(*arguments, str(tmp_path / "bad.png"), "-l", "0", "-l", "2", "--json")
    assert (result.code, len(result.document["errors"]), len(result.document["outputs"])) == (3, 1, 2)
    assert result.document["errors"][0]["code"] == "bad-image"


def test_what_was_done_to_images_is_stated(run, arguments, tmp_path):
    """Notes on dropped transparency and on equal files are in the document and in the picture's row."""
    Image.open(tmp_path / "0.png").convert("RGBA").save(tmp_path / "alpha.png")
    with Image.open(tmp_path / "alpha.png") as alpha:
        alpha.putalpha(Image.effect_noise(alpha.size, 90).convert("L"))
        alpha.save(tmp_path / "alpha.png")
    (tmp_path / "copy.png").write_bytes((tmp_path / "0.png").read_bytes())
    result = run(*arguments, str(tmp_path / "alpha.png"), str(tmp_path / "copy.png"), "-l", "2", "-l", "0", "--json")
    row, _ = result.document["outputs"]
    assert result.code == 0
    assert result.err.count("counted once") == 1
    assert "1 image is identical to another, counted once: copy.png" in row["notes"]
    assert "transparent parts are drawn on white (1 of 4 images)" in row["notes"]
    alone = run(*arguments[:3], str(tmp_path / "copy.png"), *arguments[5:], "-l", "2")
    assert (alone.code, "is identical to another" in alone.complaint[1]) == (1, True)


def test_other_images_do_not_replace_a_picture(run, arguments):
    """The recipe has the images, their preprocessing and the chosen options; a picture of others gets another name."""
    first = run(*arguments, "-l", "2", "--no-crop").paths[0]
    recipe, before = read_recipe(first), first.read_bytes()
    assert (recipe["image"]["name"], recipe["asked"]) == ("3 images", {"size": [20, 20], "crop": False})
    assert recipe["preprocessing"]["mean"]
    other = run(*arguments[:4], *arguments[5:], "-l", "2", "--no-crop").paths[0]
    assert (other != first, first.read_bytes()) == (True, before)
    assert run(*arguments, "-l", "2", "--no-crop").paths == [first]
    assert first.read_bytes() == before


@pytest.mark.parametrize(("change", "message"), [("inf", "The weights of 0 are not finite."), ("0", "as good as zero")])
def test_weights_that_are_not_finite_or_zero_are_the_stated_reason(run, arguments, tmp_path, change, message):
    """A network of such weights is rejected for them, not for a layer without a linear stand-in."""
    body = f"{NETWORK}\n        nn.init.constant_(self[0].weight, float('{change}'))\n"
    (tmp_path / "net.py").write_text(body)
    words = [*arguments[:-4], "--input-size", "20"]  # the weights are those of its code
    result = run(*words, "-l", "2")
    assert (result.code, message in result.complaint[0]) == (1, True)


def test_a_layer_of_which_nothing_is_explained_is_not_drawn(run, arguments, monkeypatch):
    """Exit code 1 with the numbers and the last layer that works; ``--all`` draws it veiled."""
    monkeypatch.setattr("kernelviz.views.linear_weights.HALF", 0.9999)
    result = run(*arguments, "-l", "2", "--json")
    assert (result.code, result.document["outputs"]) == (1, [])
    assert "The last convolution before it that works is 0." in result.document["errors"][0]["hint"]
    assert result.document["layers"][0]["last_explained_layer"] == "0"
    assert run(*arguments, "-l", "2", "--all").code == 0


def test_the_last_layer_that_works_may_be_inside_a_container(run, arguments, tmp_path, monkeypatch):
    """The convolutions of a container are before its output, though it is entered before them."""
    for package in ("views", "network"):
        monkeypatch.setattr(f"kernelviz.{package}.linear_weights.HALF", 0.9999)
    inner = "nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 6, 3)), "
    (tmp_path / "net.py").write_text(NETWORK.replace("nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 6, 3), ", inner))
    result = run(*arguments, "-l", "0", "--json")
    assert result.document["layers"][0]["last_explained_layer"] == "0.0"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "A layer is missing"),
        (("-l", "2", "--channels", "9"), "channels 0 to 5"),
        (("-l", "2", "--slopes", "half"), "slopes"),
        (("-l", "nothing"), "nothing"),
    ],
)
def test_wrong_usage_ends_with_2(run, arguments, words, message):
    """What cannot be is refused in one line, and nothing is written."""
    result = run(*arguments, *words)
    assert result.code == 2
    assert message in result.complaint[0]
    assert not result.out

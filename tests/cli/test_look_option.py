"""``--look`` and ``--no-caption``: what is left out of a picture is printed, and what has no effect is rejected."""

from __future__ import annotations

import json
import re

import pytest
from PIL import Image

from kernelviz import read_recipe

TINY = ("test_resnet", "--weights", "random")


@pytest.mark.parametrize(
    "arguments",
    [
        ("kernels", *TINY, "--look", "slides"),
        ("kernels", *TINY, "--look", "slide", "--style", "bare"),
        ("kernels", *TINY, "--no-caption", "--style", "bare"),
        ("features", *TINY, "sample:grace_hopper", "--single", "--look", "slide"),
        ("features", *TINY, "sample:grace_hopper", "--single", "--no-caption"),
        ("explain", "conv", "--look", "slide"),
        ("explain", "Conv2D(8, 3)", "--no-caption"),
    ],
    ids=" ".join,
)
def test_a_look_that_has_no_effect_or_does_not_exist_is_wrong_usage(run, arguments):
    """Nothing is drawn, and one sentence states why."""
    result = run(*arguments)
    assert result.code == 2
    assert result.err.startswith("Error: ")
    assert not result.paths


def test_without_caption_its_lines_are_printed_once(run):
    """Two layers have the same scale line, which is printed once; what differs is printed for each."""
    result = run("kernels", *TINY, "-l", "layer1.0.*", "--view", "sum", "--no-caption")
    assert result.code == 0
    recipes = [read_recipe(path) for path in result.paths]
    assert len(recipes) > 1
    for line in {line for recipe in recipes for line in recipe["left_out"]}:
        assert result.err.count(f"  {line}\n") == 1
    assert result.err.count("left out of the picture:") == len(recipes)


@pytest.mark.parametrize("look", [("--look", "slide"), ("--no-caption",)], ids=" ".join)
@pytest.mark.parametrize(
    "command", [("kernels", "alpha.pth"), ("match", "random"), ("features", "alpha.png", "-l", "layer1")], ids=" ".join
)
def test_what_is_printed_about_a_picture_is_printed_once(run, checkpoint, command, look):
    """With -v, no line stands both among those that the look leaves out and among the notes of the picture."""
    name, what, *more = command
    Image.new("RGBA", (60, 50), (200, 0, 0, 99)).save("alpha.png")
    weights = (
        checkpoint("alpha.pth", change=lambda weight: weight[3].fill_(float("inf")))
        if what[-4:] == ".pth"
        else "random"
    )
    images = [what] if what[-4:] == ".png" else []
    result = run(name, "test_resnet", *images, "--weights", weights, *more, *look, "-v")
    assert result.code == 0
    lines = [line.strip().casefold() for line in result.err.splitlines() if len(line) > 50]
    assert [line for line in lines if lines.count(line) > 1] == []
    assert result.err.count("a name needs") <= 1
    assert result.err.count("are not finite") <= 1


def test_a_slide_of_every_command_is_stated_in_document_and_recipe(run):
    """The document of a run names the look, and so does each picture; ordinary pages name none."""
    result = run("kernels", *TINY, "--look", "slide", "--json")
    document = json.loads(result.out)
    path = document["outputs"][0]["path"]
    assert document["look"] == read_recipe(path)["look"] == "slide"
    with Image.open(path) as picture:
        assert picture.size == (1280, 720)
    assert "look" not in json.loads(run("kernels", *TINY, "--json").out)
    assert "look" not in read_recipe(path)


def test_another_look_is_another_picture(run):
    """With ``--skip-existing`` pictures in one look are not taken for those in another."""
    words = ("features", *TINY, "sample:grace_hopper", "-l", "layer1", "--skip-existing")
    assert "skipped" not in run(*words).err
    assert "skipped" in run(*words).err
    assert "skipped" not in run(*words, "--look", "slide").err
    assert "skipped" in run(*words, "--look", "slide").err


def test_an_animation_of_slides(run):
    """All frames have the size of a slide."""
    result = run(
        "explain", "conv", "--input", "3", "--kernel", "2", "--animate", "--look", "slide", "-o", "kernelviz-out"
    )
    with Image.open(result.paths[0]) as picture:
        assert picture.size == (1280, 720)
        assert picture.n_frames == 4


def test_what_a_slide_draws_of_a_picture_is_stated(run):
    """Fewer tiles than the page has are in the recipe, in the description, and on stderr."""
    words = ("kernels", "tf_efficientnet_lite0", "-l", "blocks.6.0.conv_pw", "--weights", "random", "--look", "slide")
    result = run(*words)
    assert result.code == 0
    (path,) = result.paths
    (drawn,) = read_recipe(path)["drawn"]
    shown, total = re.match(r"(\d+) of ([\d,]+) kernels", drawn).groups()
    assert int(shown) < 1152
    assert total == "1,152"
    assert f"in the picture: {drawn}" in result.err
    assert result.err.count("of 1,152 kernels") == 1  # not also the count of the page
    with Image.open(path) as image:
        assert image.text["Description"].endswith(drawn)
    (row,) = run(*words, "--force", "--json").document["outputs"]
    assert (row["shown"], row["total"]) == (int(shown), 1152)
    assert drawn in row["notes"]


def test_a_slide_as_svg_has_the_pixels_of_a_slide(run):
    """Browsers draw it at 1280 × 720."""
    (path,) = run(
        "explain", "conv", "--input", "5", "--kernel", "3", "--look", "slide", "--format", "svg", "-o", "x"
    ).paths
    assert b'width="1280" height="720"' in path.read_bytes()[:1000]


def test_print_draws_planes_and_keeps_the_weights_in_arrays(run):
    """Red, green and blue would be greys that look alike; what ``--arrays`` holds does not depend on the look."""
    words = ("kernels", *TINY, "-l", "conv1.0", "--view", "rgb", "--arrays")
    page, print_ = (run(*words, "--json", *more).document["outputs"] for more in ((), ("--look", "print", "--force")))
    assert [row["palette"] for row in page] == [None, None]
    assert [row["palette"] for row in print_] == ["planes", None]

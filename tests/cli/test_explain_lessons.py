"""The views of ``explain`` for lessons: on the terminal, as a document, as files, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from kernelviz import read_recipe

COMMANDS = {
    "maps": ["conv", "--input", "4", "--kernel", "2", "--out-channels", "2", "--maps", "--relu", "--pool", "avg2"],
    "sharing": ["sharing", "--units", "3"],
    "uses": ["conv", "--input", "4", "--padding", "1", "--uses"],
    "chain": ["chain", "--input", "9", "conv3", "pool2"],
    "cost": ["cost", "conv3", "dw3+conv1", "--input", "9", "--in-channels", "4"],
    "pools": ["pool", "--input", "3", "--kind", "both", "--stride", "1"],
    "matrix": ["conv", "--input", "3", "--kernel", "2", "--matrix", "--at", "1,0"],
}


QUICK = ("chain", "cost", "uses")  # the pictures of the others take a second


@pytest.mark.parametrize(
    "view", [*QUICK, *(pytest.param(view, marks=pytest.mark.slow) for view in COMMANDS if view not in QUICK)]
)
def test_each_view_is_printed_and_drawn(run, view):
    """Text on stdout, a picture with a recipe of that view, and the same bytes again."""
    text = run("explain", *COMMANDS[view])
    assert (text.code, text.err) == (0, "")
    assert len(text.out.splitlines()) > 4
    drawn = run("explain", *COMMANDS[view], "-o", "out")
    assert drawn.code == 0
    assert read_recipe(drawn.paths[0])["view"].split()[0] == view
    before = drawn.paths[0].read_bytes()
    again = run("explain", *COMMANDS[view], "-o", "out")
    assert (again.code, again.paths[0].read_bytes()) == (0, before)


def test_the_documents_hold_the_numbers(run):
    """Every number that is shown is in the document."""
    maps = run("explain", *COMMANDS["maps"], "--json").document
    assert (maps["relu"], maps["pool"]) == (True, {"size": 2, "kind": "average"})
    assert [each["map"] for each in maps["maps"]] == maps["output"]
    uses = run("explain", *COMMANDS["uses"], "--json").document
    assert uses["uses"]["uses"][0] == [4, 6, 6, 4]
    assert uses["uses_without_padding"]["uses"][0] == [1, 2, 2, 1]
    chain = run("explain", *COMMANDS["chain"], "--json").document
    assert (chain["chain"]["sizes"], chain["chain_without_padding"]) == ([9, 7, 3], None)
    pools = run("explain", *COMMANDS["pools"], "--json").document
    (low, high), values = (np.array(each["output"][0]) for each in pools["pools"]), np.array(pools["input"][0])
    windows = np.lib.stride_tricks.sliding_window_view(values, (2, 2))
    assert (low == windows.max(axis=(2, 3))).all()
    assert (high == windows.mean(axis=(2, 3))).all()
    cost = run("explain", *COMMANDS["cost"], "--json").document
    assert [each["parameters"] for each in cost["settings"]] == [144, 52]
    assert [each["macs"] for each in cost["settings"]] == [144 * 49, 52 * 49]
    sharing = run("explain", *COMMANDS["sharing"], "--json").document
    assert sharing["weights"] == {"dense": 9, "local": 7, "shared": 3}
    matrix = run("explain", *COMMANDS["matrix"], "--json").document
    assert (len(matrix["matrix"]), len(matrix["matrix"][0]), matrix["matrix_row"]["row"]) == (4, 9, 2)


@pytest.mark.parametrize("view", [["--html", "-o", "out"], ["--maps"], ["--matrix"]])
def test_the_documents_of_one_convolution_agree(run, view):
    """The document of each view of a convolution states what the plain one states: numbers, seed, filters, warnings."""
    numbers = ["explain", "conv", "--input", "4", "--kernel-values", "1 0; 0 -1", "--seed", "7"]
    plain, found = (run(*numbers, *more, "--json").document for more in ([], view))
    assert (plain["made_up"], plain["seed"], len(plain["known_filters"])) == (["input"], 7, 1)
    assert plain["known_filters"][0]
    own = {"outputs", "steps"} if view[0] != "--html" else {"outputs"}
    assert {name: found[name] for name in plain.keys() - own} == {name: plain[name] for name in plain.keys() - own}


def test_a_sum_that_overflows_is_a_warning_of_the_matrix_too(run):
    """Every view of a convolution states values that are not finite, as the plain one does."""
    found = run("explain", "conv", "--input", "1e308 1e308", "--kernel-values", "1 1", "--matrix", "--json")
    assert found.document["warnings"] == ["1 of 1 values of the output are not finite"]


def test_kernels_that_are_filters_get_their_names(run):
    """A kernel that is a classical filter up to a factor is called by its name."""
    kernels = "2 0 -2; 4 0 -4; 2 0 -2 | 1 2 3; 4 5 6; 7 8 10"
    found = run("explain", "conv", "--input", "4", "--kernel-values", kernels, "--maps", "--json").document
    assert [each["name"] for each in found["maps"]] == ["−sobel-x", "kernel 1"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["conv", "--relu"], "--relu needs --maps"),
        (["conv", "--pool", "2"], "--pool needs --maps"),
        (["conv", "--maps", "--uses"], "--maps and --uses exclude each other"),
        (["conv", "--maps", "--at", "0,0"], "--maps and --at exclude each other"),
        (["conv", "--uses", "--animate", "-o", "out"], "--uses and --animate exclude each other"),
        (["conv", "--matrix", "--relu"], "--relu is for --maps"),
        (["conv", "--maps", "--pool", "two"], "--pool must be a number"),
        (["conv", "--maps", "--pool", "9"], "larger than the map"),
        (["transpose", "--maps"], "not a map of matches"),
        (["chain", "--input", "3", "conv6"], "No layer fits: 3 − 6 + 1 < 1"),
        (["chain", "conv3", "--padding", "1"], "--padding must be same or valid"),
        (["pool", "--kind", "both", "--steps"], "--steps draws one kind"),
        (["pool", "--kind", "both", "--dilation", "2"], "no dilation"),
        (["pool", "--kind", "both", "--input", "70", "-o", "out"], "up to 64 × 64"),
        (["cost", "conv3", "--padding", "1"], "--padding must be same or valid"),
        (["cost", "conv3", "conv70"], "The setting 'conv70' does not fit"),
        (["sharing", "--kernel", "4"], "no middle"),
        (["sharing", "--image", "3"], "height, width and channels"),
        (["sharing", "--image", "3x3x1"], "kernel is larger than the image"),
    ],
)
def test_what_does_not_fit_is_refused(run, arguments, message):
    """Wrong usage exits with 2 and a reason, and writes nothing."""
    result = run("explain", *arguments)
    assert result.code == 2
    assert message in result.err


def test_a_chain_that_ends_early_is_drawn(run):
    """The exit code is 0 as long as the first layer fits, and what was left out is stated."""
    result = run("explain", "chain", "--input", "16", *["conv6"] * 5, "-o", "out")
    assert result.code == 0
    assert "3 of 5 layers fit" in result.err
    assert read_recipe(result.paths[0])["total"] == 5


def test_the_message_about_a_chain_names_both_paddings(run):
    """A picture of two towers is not described by the first one alone."""
    result = run("explain", "chain", "--input", "16", "conv6", "--padding", "same", "-o", "out")
    assert result.err == "one dimension, 16 values, conv6, with no padding and with same padding\n"


def test_maps_have_frames(run):
    """``--frames`` writes the animation of the maps as numbered pictures, in any look, and other views refuse it."""
    drawn = run(
        "explain", "conv", "--input", "3", "--kernel", "2", "--maps", "--frames", "--look", "slide", "-o", "out"
    )
    frames = [line for line in drawn.out.splitlines() if line]
    assert [path[-7:] for path in frames] == ["000.png", "001.png", "002.png", "003.png", "004.png"]
    assert "left out of the picture" in drawn.err
    with Image.open(frames[-1]) as image:
        assert image.size == (1280, 720)
        assert image.text["Title"] == "One kernel makes one map"
        assert "4 weights, no bias" in image.text["Description"]
    refused = run("explain", "conv", "--input", "3", "--uses", "--frames", "-o", "out")
    assert refused.code == 2
    assert "exclude" in refused.err

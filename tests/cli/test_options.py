"""Options that cannot be meant are refused at once, with what to type."""

from __future__ import annotations

from pathlib import Path

import pytest

from kernelviz.cli.options import SortName, ViewName
from kernelviz.cli.outputs import parse_scale
from kernelviz.errors import UsageError
from kernelviz.files.recipes import read_recipe
from kernelviz.records import SORTS, VIEWS


def test_the_choices_of_the_command_are_those_of_the_library():
    """Every view and every order of the library can be asked for, and no other."""
    assert tuple(ViewName) == VIEWS
    assert tuple(SortName) == SORTS


@pytest.mark.parametrize("path", ["", "a\0b", "file:///a%00b"], ids=["empty", "NUL", "NUL in a URI"])
@pytest.mark.parametrize("option", ["-o", "--csv"])
def test_a_path_of_the_output_that_cannot_be_meant_is_wrong_usage(run, option, path):
    """An empty path does not mean the current directory, and NUL is in no path: one error, and nothing is written."""
    result = run("explain", "conv", "--input", "3", option, path, "--json")
    assert (result.code, result.document["errors"][0]["code"]) == (2, "usage")
    assert result.complaint[0].startswith("Error: The path of the output ")
    assert not any(Path().iterdir())


@pytest.mark.parametrize(
    ("name", "why"), [("", "There is no file (an empty name)."), ("a\0b", "a\\x00b cannot be read")]
)
def test_an_image_whose_name_cannot_be_meant_is_named_alone(run, name, why):
    """One of several images has an impossible path: the others are drawn, and one line names it."""
    result = run("features", "test_resnet", name, "sample:grace_hopper", "--weights", "random", "-l", "conv1.0")
    assert result.code == 3
    assert sum(line.startswith(why) for line in result.err.splitlines()) == 1


@pytest.mark.parametrize("text", [None, "tile", "layer"])
def test_a_scale_in_words_is_kept(text):
    """The words pass as they are."""
    assert parse_scale(text) == text


@pytest.mark.parametrize("text", ["", "1", "1,2,3", "a,b", "1,-1", "2,2", "nan,1", "0,inf", "-inf,0", "Tile"])
def test_a_scale_that_is_no_range_is_refused(text):
    """Two finite numbers, the lower one first; the message shows what was given."""
    with pytest.raises(UsageError, match="tile, layer or LO,HI") as caught:
        parse_scale(text)
    assert repr(text) in caught.value.what


@pytest.mark.parametrize("words", [["--scale=-0.5,1"], ["--scale", "-0.5,1"]], ids=["equals sign", "two words"])
def test_a_scale_may_begin_with_a_minus(draw, words):
    """A negative lower end is no option."""
    result = draw(*words, "--json")
    assert result.code == 0
    assert result.document["outputs"][0]["limits"] == [-0.5, 1]
    recipe = read_recipe(result.document["outputs"][0]["path"])
    assert (recipe["scale"], recipe["limits"]) == ("range", [-0.5, 1])


BAD = {
    "top": (["--top", "0"], "greater than or equal to 1", "kernelviz kernels --help"),
    "zoom": (["--zoom", "0"], "greater than or equal to 1", "kernelviz kernels --help"),
    "vast zoom": (["--zoom", "99999999999999999999"], "less than or equal to 10000", "kernelviz kernels --help"),
    "columns": (["--columns", "-3"], "greater than or equal to 1", "kernelviz kernels --help"),
    "seed": (["--seed", "-1"], "greater than or equal to 0", "kernelviz kernels --help"),
    "number": (["--top", "many"], "valid integer", "kernelviz kernels --help"),
    "scale": (["--scale", "1,-1"], "'1,-1'", "--scale=-1,1"),
    "channels": (["--channels", "x"], "'x'", ""),
    "no such channel": (["--channels", "0-16"], "channels 0 to 15", ""),
    "turned channels": (["--channels", "3-1"], "'3-1'", ""),
    "colour map": (["--cmap", "nosuch"], "'nosuch'", "viridis"),
    "near colour map": (["--cmap", "viridus"], "'viridus'", "viridis"),
    "view": (["--view", "nosuch"], "'rgb', 'sum', 'norm'", "kernelviz kernels --help"),
    "view that does not fit": (["-l", "layer1.0.conv1", "--view", "rgb"], "needs three", "--view channels"),
    "sort": (["--sort", "name"], "'index', 'norm'", "kernelviz kernels --help"),
    "format": (["--format", "gif"], "'png', 'svg', 'pdf'", "kernelviz kernels --help"),
    "style": (["--style", "plain"], "'figure', 'bare'", "kernelviz kernels --help"),
    "bare svg": (["--style", "bare", "--format", "svg"], "as PNG, not as SVG", "Omit --format or --style."),
    "picture": (["-o", "x.png"], "takes a directory, but x.png", "Type `-o .`."),
    "picture elsewhere": (["-o", "a b/x.SVG"], "takes a directory", "Type `-o 'a b' --format svg`."),
    "other picture": (["-o", "a/x.jpg"], "takes a directory", "Type `-o a`."),
    "arrays": (["-o", "a/x.npz"], "takes a directory", "Type `-o a --arrays`."),
}


@pytest.mark.parametrize("words", [(), ("--json",)], ids=["plain", "json"])
@pytest.mark.parametrize("choice", BAD)
def test_a_bad_choice_is_wrong_usage(run, tmp_path, words, choice):
    """Exit code 2, at most three lines, what to type, and nothing made."""
    arguments, said, hint = BAD[choice]
    result = run("kernels", "test_resnet", "--weights", "random", *arguments, *words)
    assert result.code == 2
    assert said in result.complaint[0]
    assert len(result.complaint) <= 3
    assert hint in result.complaint[-1]
    assert not list(tmp_path.iterdir())
    if not words:
        assert result.out == ""
    else:
        (error,) = result.document["errors"]
        assert error["code"] == "usage"
        assert said in error["message"]
        assert result.document["outputs"] == []


@pytest.mark.parametrize(
    "arguments",
    [["--channels", "1000"], ["--channels", "x"], ["--cmap", "nosuch"], ["--scale", "5,1"], ["--zoom", "0"]],
)
def test_what_is_wrong_for_every_layer_is_said_once(draw, arguments):
    """A bad choice and many layers give one message and exit code 2, not one a layer."""
    result = draw("-l", "*", *arguments)
    assert result.code == 2
    assert len(result.complaint) <= 3
    assert result.err.count("Error") == 1


def test_channels_that_only_large_layers_have_are_refused_layer_by_layer(draw):
    """The layers that have the channel are drawn, the others are named: exit code 3."""
    result = draw("-l", "conv1", "--channels", "20", "--json")
    assert result.code == 3
    assert [output["layer"] for output in result.document["outputs"]] == ["conv1.6"]
    assert [error["input"] for error in result.document["errors"]] == ["conv1.0", "conv1.3"]


def test_a_directory_that_looks_like_a_picture_is_one(draw, tmp_path):
    """-o x.png is refused only where no such directory is."""
    (tmp_path / "x.png").mkdir()
    result = draw("-o", "x.png")
    assert result.code == 0
    assert result.paths[0].parent.name == "x.png"


@pytest.mark.parametrize("option", [("--layer",), ("-l",)])
def test_a_layer_option_may_be_repeated(draw, option):
    """Several patterns choose several layers, each once."""
    result = draw(*option, "conv1.3", *option, "conv1.*", "--json")
    assert [output["layer"] for output in result.document["outputs"]] == ["conv1.3", "conv1.0", "conv1.6"]


def test_the_seed_chooses_other_random_weights(draw):
    """Each seed has its own file and its own numbers; it is named in both."""
    first, second = draw("--json").document, draw("--seed", "1", "--json").document
    assert second["model"]["weights"]["name"] == "seed 1"
    assert first["outputs"][0]["path"] != second["outputs"][0]["path"]
    assert first["outputs"][0]["limits"] != second["outputs"][0]["limits"]


def test_columns_and_zoom_are_obeyed(draw):
    """A bare picture of four columns and three pixels a weight has that many pixels."""
    result = draw("--columns", "4", "--zoom", "3", "--json")
    recipe = read_recipe(result.document["outputs"][0]["path"])
    assert (recipe["tiles_a_row"], recipe["zoom"]) == (4, 3)


def test_top_keeps_the_first_by_norm(draw):
    """Four of sixteen, the order said in the recipe."""
    result = draw("--top", "4", "--json").document["outputs"][0]
    assert (result["shown"], result["total"]) == (4, 16)
    assert read_recipe(result["path"])["sort"] == "norm"
    assert any("4 of 16 kernels" in note for note in result["notes"])


@pytest.mark.parametrize("view", [[], ["--view", "rgb"]])
def test_a_colour_map_that_would_be_ignored_is_wrong_usage(run, view):
    """``--cmap`` with the colours of rgb ends with 2 before anything is drawn, in a line that names the other views."""
    result = run("kernels", "test_resnet", "--weights", "random", "-l", "conv1.0", "--cmap", "PuOr", *view)
    assert (result.code, result.out) == (2, "")
    assert "the views sum, norm, channels, matrix and spectrum take one" in result.complaint[0]
    assert "Choose the view sum" in result.complaint[-1]
    assert not list(Path().glob("kernelviz-out/*"))


def test_an_overview_obeys_the_colour_map(run):
    """The page that is drawn by default beside the maps has their colours, and its recipe says so."""
    result = run(
        "features",
        "test_resnet",
        "sample:grace_hopper",
        "--weights",
        "random",
        "--cmap",
        "viridis",
        "-q",
        "--no-classes",
    )
    assert result.code == 0
    recipes = [read_recipe(path) for path in result.paths]
    assert {recipe["cmap"] for recipe in recipes} == {"viridis"}
    assert "overview" in {recipe["view"] for recipe in recipes}

"""``kernelviz match`` says what kernels resemble, for people, for programs and as a picture."""

from __future__ import annotations

import numpy as np
import pytest

from kernelviz.files.recipes import read_recipe
from kernelviz.filters.bank import find_filter

FIELDS = {"layer", "kernel", "plane", "kind", "name", "score", "chance", "orientation"}


@pytest.fixture
def planted(checkpoint):
    """A checkpoint whose first kernels are a light–dark Sobel, a box in red alone, and zero."""

    def plant(weight):
        import torch

        weight[0] = torch.tensor(find_filter("sobel-y").values)
        weight[1] = 0
        weight[1, 0] = 1
        weight[2] = 0

    return checkpoint("planted.pt", change=plant)


def test_planted_kernels_are_told(run, planted):
    """In the document: kind, name, orientation, colour and chance of each; zero is zero."""
    result = run("match", "test_resnet", "--weights", planted, "--json")
    told = result.document
    assert (result.code, told["command"]) == (0, "match")
    assert set(told["kernels"][0]) >= FIELDS
    rows = {(row["kernel"], row["plane"]): row for row in told["kernels"]}
    sobel = rows[0, "strongest"]
    assert (sobel["layer"], sobel["kind"], sobel["name"]) == ("conv1.0", "edge", "sobel-y")
    assert (sobel["orientation"], sobel["colour"]["name"]) == (0, "light–dark")
    assert sobel["score"] == pytest.approx(1)
    assert sobel["chance"] < 1e-4
    assert rows[0, "sum"]["name"] == rows[0, 2]["name"] == "sobel-y"
    assert (rows[1, "strongest"]["kind"], rows[1, "strongest"]["colour"]["name"]) == ("blur", "red")
    assert [rows[1, plane]["kind"] for plane in (0, 1, 2)] == ["blur", "zero", "zero"]
    assert rows[2, "strongest"]["kind"] == "zero"
    assert rows[2, "strongest"]["score"] is None
    (output,) = told["outputs"]
    assert sum(output["counts"].values()) == output["total"]
    assert output["fit_threshold"] is None


def test_the_table_and_the_picture(run, planted):
    """The path on stdout, the table on stderr, the recipe in the picture; quiet says the path alone."""
    result = run("match", "test_resnet", "--weights", planted)
    assert result.code == 0
    (path,) = result.paths
    assert read_recipe(path)["layer"] == "conv1.0"
    lines = result.err.splitlines()
    head = next(line for line in lines if line.startswith("kernel"))
    assert head.split()[:6] == ["kernel", "plane", "kind", "closest", "score", "chance"]
    assert any("sobel-y" in line and "1.000" in line and "<0.0001" in line for line in lines)
    again = run("match", "test_resnet", "--weights", planted, "-q")
    assert (again.code, again.err, again.paths) == (0, "", [path])


def test_one_kind_is_drawn_and_listed_alone(run, planted):
    """``--kind`` leaves other kinds out of the picture and the table; its picture has a name of its own."""
    result = run("match", "test_resnet", "--weights", planted, "--kind", "edge", "--verbose")
    (path,) = result.paths
    assert path.name.endswith("-match-edge.png")
    assert read_recipe(path)["kinds"] == ["edge"]
    assert "only those of the kind edge" in result.err
    table = result.err.splitlines()
    rows = table[next(at for at, line in enumerate(table) if line.startswith("kernel")) + 1 :]
    assert {line.split()[2] for line in rows if line.strip()[:1].isdigit()} == {"edge"}
    missing = run("match", "test_resnet", "--weights", planted, "--kind", "corner")
    assert missing.code == 2
    assert "No kernel of this layer is of the kind corner" in missing.err


def test_arrays_hold_what_is_drawn(run, planted):
    """Patterns, filters times their factors, scores and kinds, a row a kernel."""
    result = run("match", "test_resnet", "--weights", planted, "--arrays")
    with np.load(result.paths[1], allow_pickle=False) as held:
        assert held["patterns"].shape == held["filters"].shape
        assert held["filters"][0] == pytest.approx(held["patterns"][0], abs=1e-5)
        assert held["scores"][0] == pytest.approx(1)
        assert list(held["kinds"][:3]) == ["edge", "blur", "zero"]


def test_the_number_of_kernels_that_are_drawn_is_that_of_the_page(run, checkpoint):
    """Kernels that are not finite are listed, not drawn."""
    weights = checkpoint("infinite.pth", change=lambda weight: weight[3].fill_(float("inf")))
    result = run("match", "test_resnet", "--weights", weights, "--json", "-v")
    (row,) = result.document["outputs"]
    assert (row["shown"], row["total"]) == (15, 16)
    assert "of 15 kernels are drawn" not in result.err


def test_another_level_another_picture(run):
    """A level of one's own and no Gabor fits are in the name, so that no picture is written over by a different one."""
    arguments = ("match", "test_convnext", "--weights", "random", "-l", "stages.0.blocks.0.conv_dw", "-q")
    names = [run(*arguments, *more).paths[0].name for more in ([], ["--level", "0.05"], ["--no-gabor"])]
    assert len(set(names)) == 3
    assert "level0.05" in names[1]
    assert "no-gabor" in names[2]
    short = ("match", "test_resnet", "--weights", "random", "-q")
    assert run(*short).paths == run(*short, "--no-gabor").paths


def test_other_weights_of_the_same_name_are_drawn_beside(run, checkpoint):
    """A name that is taken by the picture of other weights gets digits, as in every command; both files stay."""
    files = checkpoint("a/same.pt"), checkpoint("b/same.pt", change=lambda weight: weight.mul_(-1))
    first, second = (run("match", "test_resnet", "--weights", path, "--arrays", "--no-gabor") for path in files)
    assert (first.code, second.code) == (0, 0)
    assert len({path.name for path in first.paths + second.paths}) == 4
    assert "is taken by a picture of other weights" in second.err
    assert {path.stem for path in second.paths} == {second.paths[0].stem}


def test_one_layer_is_counted_as_one(run):
    """Counts have the singular."""
    words = ("match", "test_resnet", "--weights", "random", "-l", "conv1.0", "--like", "edge", "--top", "1")
    assert "16 kernels of 1 layer compared with edge\n" in run(*words).err


def test_planes_are_told_when_asked_for(run):
    """A deep layer has its sums, and each input plane with --planes."""
    arguments = ("match", "test_resnet", "--weights", "random", "-l", "layer1.0.conv1", "--json", "--force")
    short = {row["plane"] for row in run(*arguments).document["kernels"]}
    long = {row["plane"] for row in run(*arguments, "--planes").document["kernels"]}
    assert short == {"sum"}
    assert {"sum", 0, 1} <= long


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["test_resnet", "--weights", "random", "--level", "2"], 2, "between 0 and 1"),
        (["test_resnet", "--weights", "random", "-l", "nosuch"], 2, "nosuch"),
        (["test_resnet", "--weights", "random", "--kind", "spt"], 2, "Nearest: spot"),
        (["test_resnet", "--weights", "random", "-o", "a.png"], 2, "--output takes a directory"),
        (["test_convnext", "--weights", "random", "-l", "head*"], 2, ""),
        (["nosuch"], 2, "There is no model"),
    ],
)
def test_what_is_wrong_is_said(run, arguments, code, told):
    """One message, the documented exit code, nothing on stdout."""
    result = run("match", *arguments)
    assert (result.code, result.out) == (code, "")
    assert told in result.err
    assert 1 <= len(result.complaint) <= 3


def test_layers_without_filters_are_left_out(run):
    """A layer of 1 × 1 has none: alone it is refused, among others it is named."""
    alone = run("match", "test_efficientnet", "--weights", "random", "-l", "*conv_pw")
    assert alone.code == 2
    assert "2 × 2 to 32 × 32" in alone.err
    among = run("match", "test_efficientnet", "--weights", "random", "-l", "blocks.1.0*", "--json")
    assert among.code == 0
    assert any("1 × 1" in warning for warning in among.document["warnings"])

"""Kernels by what they do: their numbers, those most like a filter, families of filters, edges, names of typed numbers."""

from __future__ import annotations

import numpy as np
import pytest

NETWORK = ("test_resnet", "--weights", "random")


def test_numbers_are_drawn_printed_and_in_the_document(run):
    """The picture, the terminal and the document have the numbers of the same kernels."""
    result = run("kernels", *NETWORK, "--numbers", "--channels", "2,5", "--arrays")
    picture, arrays = result.paths
    assert picture.name == "test_resnet.random-conv1.0-kernels-numbers.png"
    with np.load(arrays) as held:
        weight = held["conv1.0"]
    assert weight.shape == (2, 3, 3, 3)
    lines = result.err.splitlines()
    assert "conv1.0: 2 of 16 kernels" in lines
    first = lines[lines.index("kernel 2") + 1].replace("−", "-").replace("|", "").split()
    assert np.allclose([float(number) for number in first], weight[0, :, 0].ravel(), rtol=1e-3)
    document = run("kernels", *NETWORK, "--numbers", "--channels", "2,5", "--json", "--force").document
    assert [one["kernel"] for one in document["kernels"]] == [2, 5]
    assert np.allclose(document["kernels"][0]["values"], weight[0])


def test_the_kernels_most_like_a_filter_are_searched_in_all_layers(run):
    """The rows come from several layers, the most similar first, and the picture has the name of the filter."""
    result = run("match", *NETWORK, "-l", "*", "--like", "edge", "--top", "4", "--json")
    kernels, row = result.document["kernels"], result.document["outputs"][0]
    scores = [one["score"] for one in kernels]
    assert (len(scores), row["shown"], row["view"]) == (4, 4, "like-edge")
    assert scores == sorted(scores, reverse=True)
    assert row["total"] > 100
    assert row["path"].endswith("test_resnet.random-like-edge-top4.png")


def test_the_layers_that_were_searched_are_in_the_name(run):
    """The kernels of other layers are another picture, which replaces none."""
    words = ("match", *NETWORK, "--like", "edge", "-q")
    names = [run(*words, *more).paths[0].name for more in ((), ("-l", "layer1*"), ("-l", "layer2*"))]
    assert [name.partition("like-")[2] for name in names] == [
        "edge-conv1.0.png",
        "edge-layer1_.png",
        "edge-layer2_.png",
    ]


def test_a_family_and_the_strength_of_edges(run):
    """A kind draws its members; sobel alone draws strength and direction, whose arrays are hypot and arctan2."""
    family = run("filter", "sample:grace_hopper", "-k", "blur", "--json").document
    assert [one["name"] for one in family["filters"]] == ["box", "gaussian"]
    result = run("filter", "sample:grace_hopper", "--kernel", "sobel", "--arrays")
    picture, arrays = result.paths
    assert picture.name == "grace_hopper-filter-sobel.png"
    with np.load(arrays) as held:
        x, y = held["sobel-x"], held["sobel-y"]
        assert np.allclose(held["strength"], np.hypot(x, y))
        assert np.allclose(held["direction"], np.degrees(np.arctan2(y, x)))


def test_typed_numbers_get_their_name(run):
    """Numbers that are a known filter are called that, scaled and negated."""
    words = ("--kernel-values", "2 0 -2; 4 0 -4; 2 0 -2")
    assert "kernel      = 2 × sobel-x, negated" in run("explain", "conv", "--input", "4", *words).out
    assert run("explain", "conv", "--input", "4", *words, "--json").document["known_filters"] == [
        "2 × sobel-x, negated"
    ]
    assert "= 2 × sobel-x, negated" in run("filter", "sample:grace_hopper", *words).err
    plain = run("explain", "conv", "--input", "4", "--kernel-values", "1 2 3; 4 5 6; 7 8 9")
    assert "kernel      =" not in plain.out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("kernels", *NETWORK, "--numbers", "--view", "sum"), "--numbers takes no --view"),
        (("match", *NETWORK, "--top", "3"), "--top is for --like"),
        (("match", *NETWORK, "--like", "edge", "--planes"), "--like takes no --planes"),
        (("match", *NETWORK, "--like", "sobbel"), "There is no filter 'sobbel'"),
        (("filter", "--kernel", "sobel"), "An image is missing"),
    ],
)
def test_wrong_usage_ends_with_2(run, words, message):
    """What has no effect or does not exist is refused in one line."""
    result = run(*words)
    assert result.code == 2
    assert message in result.complaint[0]

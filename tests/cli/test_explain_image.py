"""An image as numbers: ``explain image``, and as the input of a convolution, a transposed one and a pool."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kernelviz import read_recipe

DIGIT = np.array(
    [[0, 0, 0, 0, 0], [0, 255, 255, 255, 0], [0, 0, 100, 255, 0], [0, 30, 255, 0, 0], [0, 128, 127, 0, 0]], np.uint8
)


@pytest.fixture(autouse=True)
def _images():
    Image.fromarray(DIGIT).save("digit.png")
    Image.fromarray(np.stack([DIGIT, DIGIT // 2, 255 - DIGIT], -1)).save("colour.png")
    Image.new("L", (300, 200), 7).save("large.png")


def test_an_image_is_its_numbers(run):
    """The grid has the numbers of the file, counted from 0, and width times height is the number of pixels."""
    found = run("explain", "image", "digit.png")
    assert found.out.splitlines()[0] == "digit.png: 5 wide × 5 high = 25 pixels"
    assert "  4 |   0 128 127   0   0" in found.out.splitlines()
    document = run("explain", "image", "digit.png", "--json").document
    assert (document["planes"], document["pixels"]) == ({"grey": DIGIT.tolist()}, 25)
    colour = run("explain", "image", "colour.png", "--json").document["planes"]
    assert colour == {"red": DIGIT.tolist(), "green": (DIGIT // 2).tolist(), "blue": (255 - DIGIT).tolist()}


def test_levels_are_of_equal_width(run):
    """Level ⌊value · N / 256⌋: with two levels 128 is white and 127 is black."""
    two = run("explain", "image", "digit.png", "--levels", "2", "--json").document
    assert two["planes"]["grey"] == (DIGIT >= 128).astype(int).tolist()
    five = run("explain", "image", "digit.png", "--levels", "5", "--json").document
    assert five["planes"]["grey"] == (DIGIT.astype(int) * 5 // 256).tolist()


def test_a_large_image_shows_a_part(run):
    """300 × 200 = 60,000; the part that was asked for is printed, cut off at the edge; none outside."""
    found = run("explain", "image", "large.png", "--at", "195,290", "--size", "10x8")
    assert found.out.splitlines()[0].endswith("300 wide × 200 high = 60,000 pixels")
    assert "numbers of rows 195 to 199 and columns 290 to 297: 40 of 60,000 pixels" in found.out
    assert run("explain", "image", "large.png", "--at", "200,0").complaint[0].endswith("no pixel at row 200, column 0.")
    assert run("explain", "image", "large.png", "--size", "33").code == 2
    assert run("explain", "image", "nosuch.png").code == 1


@pytest.mark.parametrize("operation", ["conv", "transpose", "pool"])
def test_an_image_is_the_input_of_an_operation(run, operation):
    """The input is its grey levels; a coloured one becomes grey, with a note; a large one is refused with what to do."""
    found = run("explain", operation, "--input", "digit.png", "--levels", "2", "--json").document
    assert found["input"] == [(DIGIT >= 128).astype(float).tolist()]
    grey = run("explain", operation, "--input", "colour.png", "--json").document
    assert "0.299 red" in grey["warnings"][0]
    refused = run("explain", operation, "--input", "large.png")
    assert (refused.code, "has 300 × 200 pixels" in refused.complaint[0]) == (2, True)
    assert "Add --resize 16" in refused.complaint[2]
    assert run("explain", operation, "--input", "5", "--levels", "2").code == 2


def test_an_image_is_resized_as_the_input_of_a_convolution_is(run):
    """--resize is the same option in both: the numbers and the note are equal, also those of the picture."""
    Image.fromarray(np.arange(60 * 45, dtype=np.uint8).reshape(60, 45)).save("large.png")
    image = run("explain", "image", "large.png", "--resize", "8", "-o", "out", "--json").document
    conv = run("explain", "conv", "--input", "large.png", "--resize", "8", "--json").document
    assert [image["planes"]["grey"]] == conv["input"]
    assert image["warnings"] == conv["warnings"]
    assert (image["width"], image["height"]) == (6, 8)
    assert read_recipe(image["outputs"][0]["path"])["view"] == "image 0,0 8 × 6"
    for wrong, words in (("33", "must be 1 to 32 rows and columns"), ("x", "must be the longer side")):
        assert words in run("explain", "image", "large.png", "--resize", wrong).complaint[0]


def test_a_size_in_pixels_is_width_times_height(run):
    """The image of 300 × 200 pixels is that everywhere: in the title, on its picture, in errors and beside a filter."""
    assert "It has 300 × 200 pixels." in run("explain", "image", "large.png", "--at", "200,0").err
    assert "300 × 200 pixels" in run("explain", "conv", "--input", "large.png").err
    assert run("explain", "image", "large.png", "--size", "5x8", "-o", "out").code == 0
    assert run("filter", "large.png", "--kernel", "box", "-o", "out").code == 0
    for path in Path("out").iterdir():
        with Image.open(path) as picture:
            text = picture.text["Description"]
        assert "300 × 200 pixels" in text
        assert "200 × 300" not in text


def test_a_slide_is_named_after_the_part_that_it_draws(run):
    """Name, recipe and message are of the drawn rows and columns; the same command again replaces the same file."""
    words = ("explain", "image", "large.png", "--size", "30", "--at", "100,200", "--look", "slide", "-o", "out")
    first, again = run(*words), run(*words)
    recipe = read_recipe(first.paths[0])
    row, column = re.fullmatch(r"image (\d+),(\d+) 10 × 10", recipe["view"]).groups()
    assert first.paths == again.paths
    assert first.paths[0].name.endswith(f"-{row}-{column}-10x10.png")
    assert f"numbers of rows {row} to {int(row) + 9}" in first.err
    assert run(*words, "--json").document["outputs"][0]["view"] == recipe["view"]


def test_a_larger_image_is_resized_by_averaging(run):
    """Each pixel is the mean of the area that it covers; the rest is as for a small image, and the note states it."""
    large = np.random.default_rng(0).integers(0, 256, (60, 45)).astype(np.uint8)
    Image.fromarray(large).save("large.png")
    refused = run("explain", "conv", "--input", "large.png")
    assert (refused.code, "--resize 16" in refused.err) == (2, True)
    found = run("explain", "conv", "--input", "large.png", "--resize", "20", "--kernel-values", "1", "--json").document
    means = large.reshape(20, 3, 15, 3).mean((1, 3))
    assert np.array_equal(found["output"][0], np.rint(means))
    assert found["warnings"] == [
        "resized from 45 × 60 pixels to 20 rows and 15 columns, each pixel the mean of the area that it covers"
    ]
    fine = np.repeat(np.repeat(large, 8, 0), 7, 1).astype(float)  # 480 × 315 cells: 8 × 7 pixels cover whole ones
    words = ("--input", "large.png", "--resize", "8x7", "--kernel-values", "1", "--levels", "4", "--json")
    found = run("explain", "conv", *words).document
    exact = np.rint(fine.reshape(8, 60, 7, 45).mean((1, 3)))
    assert np.array_equal(found["output"][0], exact * 4 // 256)


@pytest.mark.parametrize(
    ("image", "size", "said"),
    [
        ("digit.png", "33", "must be 1 to 32 rows and columns, but got 33"),
        ("digit.png", "0x4", "but got 0 × 4"),
        ("digit.png", "big", "the longer side, or rows and columns, but got 'big'"),
        ("5", "4", "--resize is for an image."),
    ],
)
def test_a_size_that_cannot_be_is_wrong_usage(run, image, size, said):
    """Two lines and exit code 2."""
    result = run("explain", "pool", "--input", image, "--resize", size)
    assert result.code == 2
    assert said in result.complaint[0]


def test_the_largest_number_is_where_the_kernel_answers_most(run):
    """Its cell and value are told, the first of equal ones, with their number; not in a pool, or if all are equal."""
    x = "-1 -1 1; -1 1 -1; 1 -1 -1"
    kernel = ["--kernel-values", "-1 1; 1 -1"]
    assert run("explain", "conv", "--input", x, *kernel).out.splitlines()[-1] == (
        "  the response is largest, 4, at row 0, column 1 and at 1 more place"
    )
    told = run("explain", "conv", "--input", x, *kernel, "--json").document["largest"]
    assert told == [{"at": [0, 1], "value": 4.0, "more": 1}]
    assert run("explain", "conv", "--input", "0 0; 0 0", "--kernel", "1", "--json").document["largest"] == [None]
    assert "response is largest" not in run("explain", "pool", "--input", x).out


def test_the_step_of_an_image_is_the_one_with_the_largest_number(run):
    """The corner of an image is often black: without ``--at`` the picture shows where the response is largest."""
    kernel = "0 0 0;0 0 0;0 0 1"
    document = run("explain", "conv", "--input", "digit.png", "--kernel-values", kernel, "-o", "out", "--json").document
    row, column = document["largest"][0]["at"]
    assert document["outputs"][0]["path"].endswith(f"-{row}-{column}.png")
    assert (row, column) != (0, 0)

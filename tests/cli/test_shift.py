"""``kernelviz shift`` moves an image, and refuses what cannot be moved."""

from __future__ import annotations

import numpy as np
import pytest

ARGUMENTS = ("shift", "test_resnet", "sample:grace_hopper", "--weights", "random", "-l", "conv1.0")


def test_it_draws_and_reports_the_cosines(run):
    """The picture, the arrays and the document hold the same cosines; the default goes as far as the photograph."""
    result = run(*ARGUMENTS, "--arrays", "--json")
    document = result.document
    assert (result.code, document["by"], document["room"], document["repeated"]) == (0, [0, 1, 2, 4], 4, 0)
    (layer,) = document["layers"]
    picture, arrays = (row["path"] for row in document["outputs"])
    assert picture.endswith("-shift-conv1.0-by0-1-2-4.png")
    with np.load(arrays) as held:
        assert held["conv1.0_invariance"].tolist() == [layer["invariance"][str(shift)] for shift in range(5)]
        assert held["conv1.0_maps"].shape == (4, 80, 80)
    assert list(layer["equivariance"]) == ["0", "2", "4"]
    assert all(one["inside"] == one["equal"] > 0 for one in layer["columns"].values())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--by", "8"), "right by at most 4 pixels, but got 8"),
        (("--by", "1,x"), "--by takes whole numbers separated by commas"),
        (("--along", "left"), "moves right or down"),
        (("--by", "0,2", "--channels", "99"), "has 16 channels, but got 99"),
    ],
)
def test_wrong_usage_ends_with_2(run, words, message):
    """What cannot be is refused in one line, and nothing is written."""
    result = run(*ARGUMENTS, *words)
    assert result.code == 2
    assert message in result.complaint[0]
    assert not result.out


@pytest.mark.slow
def test_what_makes_it_another_picture_is_in_its_name(run):
    """Layers, channels, shifts, direction, edge and input make other pictures; none replaces another."""
    words = (*ARGUMENTS[:-2], "-q", "--by", "0,1")
    every = [
        run(*words, *more).paths
        for more in (
            ("-l", "conv1.0"),
            ("-l", "layer1", "-l", "conv1.0", "--channels", "5,6"),
            ("-l", "conv1.0", "--along", "down", "--by", "0,6", "--edge", "--input-size", "64", "--no-crop"),
        )
    ]
    assert [path.name.partition("-shift-")[2] for (path,) in every] == [
        "conv1.0-by0-1.png",
        "conv1.0-layer1-channel5-6-by0-1.png",
        "conv1.0-by0-6-down-edge-64x64-no-crop.png",
    ]


@pytest.mark.parametrize(
    "words",
    [
        "shift test_resnet WORD --weights random",
        "filter WORD --kernel sobel-x",
        "filter WORD --kernel sobel",
        "explain image WORD",
        "explain layer test_resnet conv1.0 --image WORD --weights random --at 1,1",
    ],
)
@pytest.mark.parametrize("word", ["folder", "none.png"])
def test_a_command_of_one_image_does_not_advise_options_for_folders(run, tmp_path, words, word):
    """A folder, or a file that does not exist: what to type is an image, as the command takes no ``-r``."""
    (tmp_path / "folder").mkdir()
    result = run(*words.replace("WORD", word).split())
    assert (result.code, word in result.complaint[0]) == (1, True)
    assert result.complaint[1:] == ["Give one image, for example sample:grace_hopper."]

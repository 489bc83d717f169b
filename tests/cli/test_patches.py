"""``kernelviz patches`` draws what excites the channels of a layer, and refuses what cannot be."""

from __future__ import annotations

import errno
import io
import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import kernelviz as kv
from kernelviz.files import writing

MODEL = ("patches", "test_resnet", "--weights", "random", "--input-size", "64")


@pytest.fixture
def photos(tmp_path):
    """Four photographs."""
    pixels = kv.read_image("sample:grace_hopper").pixels
    folder = tmp_path / "photos"
    folder.mkdir()
    for number, (top, left) in enumerate(((0, 0), (0, 200), (250, 0), (250, 200))):
        Image.fromarray(pixels[top : top + 300, left : left + 300]).save(folder / f"{number}.png")
    return folder


def test_it_draws_and_the_document_has_every_patch(run, photos):
    """The picture, the arrays of all channels and the document hold the same values, units, boxes and images."""
    result = run(
        *MODEL, photos, "-r", "-l", "layer1.0.conv1", "--channels", "3,1", "--patches", "3", "--arrays", "--json"
    )
    document = result.document
    assert (result.code, document["errors"]) == (0, [])
    (found,) = document["layers"]
    assert {image["top"] for image in document["images"]} == {None}  # class scores do not apply
    assert (found["name"], found["images"]) == ("layer1.0.conv1", ["0.png", "1.png", "2.png", "3.png"])
    assert [each["channel"] for each in found["channels"]] == [3, 1]
    picture, arrays = document["outputs"]
    assert (picture["shown"], picture["total"], picture["layer"], picture["view"]) == (
        2,
        32,
        "layer1.0.conv1",
        "patches",
    )
    assert picture["path"].endswith("test_resnet.random-layer1.0.conv1-patches.png")
    with np.load(arrays["path"]) as held:
        assert (held["values"].dtype, held["values"].shape, held["places"].shape) == (np.float32, (32, 3), (32, 3, 3))
        for each in found["channels"]:
            for rank, patch in enumerate(each["patches"]):
                assert held["values"][each["channel"], rank] == np.float32(patch["value"])
                image, *unit = held["places"][each["channel"], rank].tolist()
                assert (held["images"][image], unit) == (patch["image"], patch["at"])
                assert held["boxes"][each["channel"], rank].tolist() == patch["box"]
                top, left, bottom, right = patch["box"]
                assert patch["inside"] == (min(top, left) >= 0 and max(bottom, right) < 64)
    recipe = kv.read_recipe(picture["path"])
    assert recipe["image"]["name"] == "4 images"
    assert {len(image["sha256"]) for image in recipe["images"]} == {64}
    assert recipe["channels"] == [3, 1]
    assert run(*MODEL, photos, "-r", "-l", "layer1.0.conv1", "--channels", "3,1", "--patches", "3").code == 0  # again


def test_the_library_draws_the_same_patches(run, photos, tiny):
    """``capture_many``, ``PatchTally`` and ``crop_patches`` give the values and crops of the command."""
    document = run(*MODEL, photos, "-r", "-l", "conv1.0", "--top", "2", "--json").document
    tally = kv.PatchTally()
    kv.capture_many(tiny, sorted(photos.iterdir()), "conv1.0", on_map=tally.add, input_size=64)
    patches = kv.crop_patches(tiny, tally.result(), input_size=64)
    with pytest.raises(kv.KernelvizError, match="Give the input_size of the tally"):
        kv.crop_patches(tiny, tally.result())
    (photos / "0.png").write_bytes((photos / "1.png").read_bytes())
    with pytest.raises(kv.KernelvizError, match="has changed since"):
        kv.crop_patches(tiny, tally.result(), input_size=64)
    channels = patches.chosen(top=2)
    assert [each["channel"] for each in document["layers"][0]["channels"]] == list(channels)
    figure = kv.plot_patches(patches, top=2, kernels=kv.read_kernels(tiny, "conv1.0"))
    kept = kv.read_recipe(document["outputs"][0]["path"])
    assert {key: figure.recipe[key] for key in ("channels", "images", "image")} == {
        key: kept[key] for key in ("channels", "images", "image")
    }
    for (image, row, column), crop in patches.crops.items():
        if image == 0:  # overwritten above
            continue
        seen = kv.capture_features(tiny, kv.read_image(patches.paths[image]), "conv1.0", input_size=64)[0].seen.pixels
        top, left = 2 * row - 1, 2 * column - 1
        assert (crop.box[0], crop.box[2]) == (top, left)
        part = seen[max(0, top) : top + 3, max(0, left) : left + 3]
        np.testing.assert_array_equal(crop.pixels, part)


def test_tensors_of_own_networks_are_cropped():
    """Tensors are cropped by their position; an image that was not given, or that has changed, is named."""
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3))
    images = list(torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(0)))
    tally = kv.PatchTally(2)
    kv.capture_many(network, images, "0", on_map=tally.add)
    found = kv.crop_patches(network, tally.result(), images)
    assert {crop.pixels.shape for crop in found.crops.values()} == {(3, 3, 3)}
    with pytest.raises(kv.KernelvizError, match="is missing"):
        kv.crop_patches(network, tally.result(), images[:1])
    with pytest.raises(kv.KernelvizError, match="were not cut"):
        kv.plot_patches(tally.result())


def test_images_that_cannot_be_read_are_named_and_equal_ones_counted_once(run, photos):
    """An unreadable image ends with exit code 3 after the picture of the others; a copy is not another image."""
    shutil.copy(photos / "0.png", photos / "copy.png")
    (photos / "broken.png").write_bytes(b"no image")
    result = run(*MODEL, photos, "-r", "-l", "conv1.0", "--json")
    document = result.document
    assert result.code == 3
    assert [error["input"] for error in document["errors"]] == [str(photos / "broken.png")]
    (found,) = document["layers"]
    assert found["duplicates"] == ["copy.png"]
    assert "1 image is identical to an earlier image, counted once: copy.png" in document["outputs"][0]["notes"]
    assert result.err.count("ropped: the network sees") == 1  # of all images together
    assert sum("cropped: the network sees" in line for line in document["warnings"]) == 5
    alone = run(*MODEL, photos / "broken.png", "-l", "conv1.0")
    assert (alone.code, alone.out) == (1, "")


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("-l", "layer1", "--lowest"), 2, "layer1 has no lowest patches."),
        (("-l", "layer4.0.conv1", "--inside"), 2, "No receptive field of layer4.0.conv1 is inside the image."),
        (("-l", "fc"), 2, "fc"),
        (("-l", "conv1.0", "--channels", "99"), 2, "There are channels 0 to 15, but got '99'."),
        (("-l", "conv1.0", "--channels", "1", "--top", "2"), 2, "--channels and --top cannot be combined."),
        (("-l", "nosuch"), 2, "nosuch"),
        (("-l", "conv1.0", "--single", "--look", "dark"), 2, "--single takes no --look dark."),
        (("-l", "conv1.0", "--patches", "0"), 2, "--patches"),
    ],
)
def test_what_cannot_be_ends_in_one_line(run, photos, words, code, message):
    """Nothing is written, and the reason is given."""
    result = run(*MODEL, photos / "0.png", *words)
    assert (result.code, result.out) == (code, "")
    assert message in result.complaint[0]


def test_a_refused_layer_among_others_is_named_or_counted(run, photos):
    """Named layers that are refused end with exit code 3, those that a pattern matches are counted."""
    named = run(*MODEL, photos / "0.png", "-l", "conv1.0", "-l", "layer4.0.conv1", "--inside", "--json")
    assert named.code == 3
    assert [error["input"] for error in named.document["errors"]] == ["layer4.0.conv1"]
    matched = run(*MODEL, photos / "0.png", "-l", "*.conv1", "--inside", "--force", "--json")
    assert matched.code == 0
    assert any(line.startswith("layer4.0.conv1: No receptive field") for line in matched.document["warnings"])
    lowest = run(*MODEL, photos / "0.png", "-l", "conv1.0", "-l", "layer1", "--lowest", "--json")
    assert (lowest.code, [error["input"] for error in lowest.document["errors"]]) == (3, ["layer1"])


def test_single_patches_are_files_of_their_own(run, photos):
    """A PNG per patch at the size of the receptive field, and an index with its value, image and unit."""
    result = run(
        *MODEL, photos, "-r", "-l", "layer1.0.conv1", "--channels", "2", "--single", "--patches", "2", "--arrays"
    )
    index, arrays = result.paths
    content = json.loads(index.read_text())
    assert [entry["file"] for entry in content["files"]] == ["0002-01.png", "0002-02.png"]
    assert content["recipe"]["command"] == "patches"
    for entry in content["files"]:
        top, left, bottom, right = entry["box"]
        with Image.open(index.parent / entry["file"]) as picture:
            assert picture.size == (right - left + 1, bottom - top + 1)
    assert arrays.name == "patches.npz"
    assert run(*MODEL, photos, "-r", "-l", "layer1.0.conv1", "--channels", "2", "--single", "--patches", "2").code == 0


def test_single_patches_of_an_earlier_run_are_deleted(run, photos):
    """The folder has the files of its index; all other files stay, and nothing changes if one of them is in the way."""
    words = (*MODEL, photos, "-r", "-l", "layer1.0.conv1", "--single")
    (index,) = run(*words, "--channels", "1-2", "--patches", "3").paths
    folder = index.parent
    (folder / "notes.png").write_bytes(b"mine")
    (folder / "0007-01.png").write_bytes(b"mine")
    assert run(*words, "--channels", "2", "--patches", "2").code == 0
    listed = {entry["file"] for entry in json.loads(index.read_text())["files"]}
    assert listed == {"0002-01.png", "0002-02.png"}
    assert {path.name for path in folder.iterdir()} == {*listed, "index.json", "notes.png", "0007-01.png"}
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    result = run(*words, "--channels", "2,7", "--patches", "1")
    assert (result.code, "0007-01.png is in the way" in result.complaint[0]) == (1, True)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_standard_input_is_read_once(run, photos, monkeypatch):
    """An image from a pipe is kept for the second look at it."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO((photos / "1.png").read_bytes())))
    result = run(*MODEL, "-", "-l", "conv1.0")
    assert result.code == 0
    assert len(result.paths) == 1


def test_names_and_lowest_values_are_in_tables_of_their_own(run, photos):
    """The table of the smallest values has a head of its own, and a line break in a file name is escaped."""
    image = (photos / "0.png").rename(photos / "a\nb.png")
    result = run(*MODEL, image, "-l", "conv1.0", "--lowest", "--top", "2", "--patches", "1")
    lines = result.err.splitlines()
    assert result.code == 0
    assert [line.split()[2] for line in lines if line.startswith("channel ")] == ["best", "lowest"]
    assert sum(line.endswith("  a\\nb.png") for line in lines) == 4


@pytest.mark.parametrize("output", ["taken", "taken/deeper", "locked/deeper"])
def test_a_place_that_cannot_hold_files_is_found_before_the_images(run, photos, tmp_path, monkeypatch, output):
    """A file in place of the directory, or a directory that is read-only, ends the command before any forward pass."""
    (tmp_path / "taken").write_bytes(b"mine")
    (tmp_path / "locked").mkdir()
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "locked" and access(path, mode))
    result = run(*MODEL, photos, "-r", "-o", output)
    assert (result.code, result.out) == (1, "")
    assert result.err.splitlines() == [
        f"Error: {Path(output)} could not be written.",
        "locked is read-only." if "locked" in output else "taken is not a directory.",
        "Nothing was changed. Choose another --output, or free disk space.",
    ]
    assert not list((tmp_path / "locked").iterdir())


def test_it_states_how_many_of_the_chosen_channels_fit_into_the_picture(run, photos):
    """Channels that were requested and are not in the picture are counted in a message, as in the caption."""
    result = run(*MODEL, photos, "-r", "-l", "conv1.0", "--lowest", "--channels", "0-15")
    assert "  The picture shows 4 of these 16 channels, as many as fit\n" in result.err
    assert "as many as fit" not in run(*MODEL, photos, "-r", "-l", "conv1.0", "--channels", "0-3", "--force").err


def test_batches_and_looks_change_neither_values_nor_units(run, photos):
    """In batches the patches are the same up to rounding; every look draws."""
    found = [
        run(*MODEL, photos, "-r", "-l", "conv1.0", "--batch-size", size, "-o", f"batch{size}", "--look", look, "--json")
        for size, look in (("1", "slide"), ("3", "dark"))
    ]
    one, other = (
        [[patch["at"] for patch in each["patches"]] for each in result.document["layers"][0]["channels"]]
        for result in found
    )
    assert one == other
    assert [result.code for result in found] == [0, 0]


@pytest.mark.parametrize("before", [False, True])
def test_a_full_disk_leaves_the_folder_of_patches_as_it_was(run, photos, monkeypatch, before):
    """Files one by one are made apart and moved in together: one that fails leaves what was there, and no other file."""
    words = (*MODEL, photos, "-r", "-l", "conv1.0", "--single", "-o", "out")
    if before:
        assert run(*words).code == 0
    files = {path: path.read_bytes() for path in Path("out").rglob("*") if path.is_file()}
    write_new, written = writing._write_new, []

    def full(path, data):
        written.append(path)
        if len(written) > 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write_new(path, data)

    monkeypatch.setattr(writing, "_write_new", full)
    result = run(*words, "--patches", "3")
    assert (result.code, result.complaint[1]) == (1, "No space left on device.")
    assert result.complaint[0] == "Error: out/test_resnet.random-conv1.0-patches could not be written."
    assert {path: path.read_bytes() for path in Path("out").rglob("*") if path.is_file()} == files
    assert not [path for path in Path("out").rglob("*") if path.name.startswith(".kernelviz")]


def test_a_layer_that_is_left_out_is_not_captured(run, photos, tmp_path):
    """Complex numbers of a layer without receptive fields fail no image; the layers around it have their patches."""
    (tmp_path / "net.py").write_text(
        "import torch\nfrom torch import nn\nclass Net(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        "        self.one, self.last = nn.Conv2d(3, 2, 3), nn.Conv2d(2, 2, 3)\n"
        "        self.twin = nn.Conv2d(2, 2, 1, dtype=torch.complex64)\n"
        "    def forward(self, x):\n        x = self.one(x)\n        self.twin(torch.complex(x, x))\n"
        "        return self.last(x)\n"
    )
    network = ("patches", f"{tmp_path}/net.py:Net", "--weights", "random", "--input-size", "20")
    result = run(*network, photos, "-r", "-l", "*", "--json")
    assert (result.code, result.document["errors"]) == (0, [])
    assert [each["name"] for each in result.document["layers"]] == ["one", "last"]

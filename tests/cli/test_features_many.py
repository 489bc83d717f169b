"""``kernelviz features`` over many images: batches, what is there already, single maps, components, statistics."""

from __future__ import annotations

import errno
import io
import json
import os
import re
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.decomposition import PCA

import kernelviz
from kernelviz.drawing.colour import LEVELS
from kernelviz.files import images
from kernelviz.files.recipes import read_recipe
from kernelviz.files.writing import read_basis

BAD = {7: b"", 21: b"no picture", 33: None}  # empty, text, cut short


def make_images(folder, count, bad=BAD):
    """Small pictures, each another one; those in ``bad`` cannot be read."""
    folder.mkdir()
    numbers = np.random.default_rng(0)
    for number in range(count):
        path = folder / f"{number:04d}.png"
        pixels = numbers.integers(0, 255, (6, 7, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((40, 40)).save(path)
        if number in bad:
            data = bad[number]
            path.write_bytes(path.read_bytes()[:100] if data is None else data)


@pytest.fixture
def folder(tmp_path):
    """Forty images, three of them bad."""
    make_images(tmp_path / "images", 40)


@pytest.fixture
def few(tmp_path):
    """Five good images."""
    make_images(tmp_path / "images", 5)


@pytest.fixture
def look(run):
    """A function that looks at the folder with a tiny network of random weights, small inputs."""

    def finish(*arguments, model="test_resnet"):
        choices = ("-r", "--weights", "random", "--input-size", "32", *arguments)
        return run("features", model, "images", *choices)

    return finish


def content(directory="kernelviz-out"):
    """Every file with its bytes."""
    return {
        str(path.relative_to(directory)): path.read_bytes() for path in Path(directory).rglob("*.*") if path.is_file()
    }


def maps_of(layer, model="test_resnet"):
    """What the library gives for each good image, by name."""
    network = kernelviz.load_model(model, weights="random")
    found = {}
    kernelviz.capture_many(
        network, sorted(Path("images").iterdir()), layer, input_size=32,
        on_map=lambda maps: found.__setitem__(maps.image.name, maps.values),
    )  # fmt: skip
    return found


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("batch", ["1", "8"])
def test_three_bad_images_are_named_and_the_others_done(look, batch):
    """Exit 3; each bad one is an error of its own with its path; every other has its picture, in order."""
    result = look("-l", "layer1", "--style", "bare", "--batch-size", batch, "--json")
    assert result.code == 3
    bad = [f"images/{number:04d}.png" for number in BAD]
    assert [error["input"] for error in result.document["errors"]] == bad
    good = [f"images/{number:04d}.png" for number in range(40) if number not in BAD]
    assert [each["path"] for each in result.document["images"]] == good
    assert [output["image"] for output in result.document["outputs"]] == good
    assert len(content()) == 37
    assert all(any(path in line for line in result.err.splitlines()) for path in bad)


@pytest.mark.usefixtures("few")
def test_batches_draw_the_same_pictures_within_rounding(look):
    """Each image of a batch gets its own maps; the batch size is in the recipe, where it is not 1."""
    one = look("-l", "layer1", "--arrays", "-o", "one")
    four = look("-l", "layer1", "--arrays", "--batch-size", "4", "-o", "four")
    assert (one.code, four.code) == (0, 0)
    for first, second in zip(one.paths[1::2], four.paths[1::2], strict=True):
        with np.load(first) as alone, np.load(second) as together:
            np.testing.assert_allclose(together["layer1"], alone["layer1"], atol=1e-4)
    assert "batch_size" not in read_recipe(one.paths[0])["asked"]
    assert read_recipe(four.paths[0])["asked"]["batch_size"] == 4


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("choice", [(), ("--style", "bare", "--arrays"), ("--single",)], ids=str)
def test_a_broken_run_goes_on_where_it_was(look, choice):
    """Files that are there with these choices are left, all else is made: in the end as in one go."""
    choice = ("-l", "layer1", "-l", "conv1.0", *choice)
    assert look(*choice).code == 0
    whole = content()
    paths = sorted(Path("kernelviz-out").rglob("*.*"))
    kept = {path: path.stat().st_mtime_ns for path in paths if path.is_file() and "0001" in str(path.relative_to("."))}
    for path in (path for path in paths if path.is_file() and re.search(r"000[23]-.*layer1", str(path))):
        path.unlink()
    result = look(*choice, "--skip-existing", "--json")
    assert [each["path"][-8:-4] for each in result.document["images"] if each.get("skipped")] == [
        "0000",
        "0001",
        "0004",
    ]
    assert content() == whole
    assert [
        path for path, when in kept.items() if path.stat().st_mtime_ns != when and "single/00" not in str(path)
    ] == []


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("choice", [("--style", "bare"), ("--single",)], ids=str)
def test_a_resumed_run_ends_as_the_first(look, choice):
    """Pictures that exist count as done: with bad images the exit code is 3, however often the run is repeated."""
    runs = [look("-l", "layer1", *choice, "--skip-existing") for _ in range(3)]
    assert [result.code for result in runs] == [3, 3, 3]
    assert runs[2].paths == []


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("choice", [("--style", "bare", "--arrays"), ("--single",)], ids=str)
@pytest.mark.parametrize("output", ["images/drawn", "images", "."])
def test_pictures_of_earlier_runs_are_no_images(look, choice, output):
    """If the output is inside the folder, or is the folder, every run draws the same images, and counts the others."""
    for _ in range(3):
        result = look("-l", "layer1", *choice, "-o", output, "--json")
        assert result.code == 0
        assert len(result.document["images"]) == 5
    if output != ".":
        assert any("left out" in note for note in result.document["warnings"])


@pytest.mark.usefixtures("few")
def test_a_pattern_leaves_out_pictures_of_earlier_runs(run):
    """A pattern that matches pictures of an earlier run does not take them as images; a named file is taken."""
    options = ("--weights", "random", "--input-size", "32", "-l", "layer1", "--style", "bare", "-o", "images", "--json")
    for _ in range(2):
        result = run("features", "test_resnet", "images/*.png", *options)
        assert len(result.document["images"]) == 5
    drawn = result.document["outputs"][0]["path"]
    assert len(run("features", "test_resnet", drawn, *options).document["images"]) == 1


@pytest.mark.usefixtures("few")
def test_an_unreadable_subfolder_is_named_and_the_others_drawn(look, monkeypatch):
    """One folder that cannot be read is an error of its own and ends no run: exit 3, also when resumed."""
    Path("images/locked").mkdir()
    scandir = os.scandir

    def closed(path):
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", closed)
    for _ in range(2):
        result = look("-l", "layer1", "--style", "bare", "--skip-existing", "--json")
        assert (result.code, len(result.document["images"])) == (3, 5)
        assert [error["input"] for error in result.document["errors"]] == ["images/locked"]
        assert "The folder images/locked cannot be read." in result.err.splitlines()


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("choice", [("--reduce", "pca"), ("--reduce", "pca", "--skip-existing"), ("--skip-existing",)])
def test_standard_input_is_kept(run, monkeypatch, choice):
    """An image on standard input may be read several times in a run."""
    for _ in range(2):
        data = io.BytesIO(Path("images/0000.png").read_bytes())
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(data))
        assert run("features", "test_resnet", "-", "--weights", "random", "-l", "layer1", *choice).code == 0


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("share", [0.6, *(pytest.param(share, marks=pytest.mark.slow) for share in (0.99, 0.01, 0))])
@pytest.mark.parametrize(
    ("choice", "end"),
    [
        (("--style", "bare", "--arrays"), ".png"), (("--arrays",), ".npz"), (("--format", "svg"), ".svg"),
        pytest.param(("--format", "pdf"), ".pdf", marks=pytest.mark.slow),
        (("--single",), "0003.png"), (("--single",), "index.json"),
    ],
)  # fmt: skip
def test_a_damaged_file_is_made_anew(look, choice, end, share):
    """A file that is cut, or empty, does not count as done, and is replaced although it may have lost its recipe."""
    choice = ("-l", "layer1", *choice, "--skip-existing", "--json")
    assert look(*choice).code == 0
    whole = content()
    path = next(path for path in sorted(Path("kernelviz-out").rglob(f"*{end}")) if "0001" in str(path))
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    result = look(*choice)
    assert result.code == 0
    assert [bool(each.get("skipped")) for each in result.document["images"]] == [True, False, True, True, True]
    assert content() == whole


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize(
    "choice",
    [("--style", "bare"), ("--single",), pytest.param(("--format", "pdf"), marks=pytest.mark.slow), ("--arrays",)],
)
def test_a_file_with_lost_blocks_is_made_anew(look, choice):
    """A picture whose second half is zeros, as after a crash of the machine, does not count as done, whatever its size."""
    choice = ("-l", "layer1", *choice, "--skip-existing", "--json")
    assert look(*choice).code == 0
    whole = content()
    path = next(path for path in sorted(Path("kernelviz-out").rglob("*.???")) if "0001-" in str(path))
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2].ljust(len(data), b"\0"))
    result = look(*choice)
    assert result.code == 0
    assert [bool(each.get("skipped")) for each in result.document["images"]] == [True, False, True, True, True]
    assert content() == whole


@pytest.mark.usefixtures("few")
def test_a_foreign_damaged_file_stays(look):
    """A damaged file that is not the beginning of the picture is in the way: it may be another one."""
    look("-l", "layer1")
    path = min(Path("kernelviz-out").iterdir())
    path.write_bytes(b"%PDF-1.4 mine")
    assert look("-l", "layer1", "--skip-existing").code == 3
    assert path.read_bytes() == b"%PDF-1.4 mine"


@pytest.mark.usefixtures("few")
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such names")
@pytest.mark.parametrize("names", [("a b.png", "a:b.png", "a?b.png", "a*b.png"), ("写真.png", "映画.png", "фото.png")])
def test_copies_with_similar_names_have_pictures_of_their_own(run, names):
    """The name of an image counts where pictures are told apart, also if the contents are the same."""
    options = ("--weights", "random", "--input-size", "32", "-l", "layer1", "--style", "bare")
    for _ in range(2):
        for name in names:
            Path(name).write_bytes(Path("images/0000.png").read_bytes())
            assert run("features", "test_resnet", name, *options).code == 0
    assert len(content()) == len(names)


@pytest.mark.usefixtures("few")
def test_what_a_killed_run_left_is_swept(look):
    """Temporary files and folders of our names go after an hour; younger ones and all others stay."""
    output = Path("kernelviz-out")
    names = {".kernelviz-0123456789abcdef": 7200, ".kernelviz-0123456789abcde0": 60, ".kernelviz-mine": 7200}
    output.mkdir()
    for name, age in names.items():
        (output / name).write_bytes(b"x")
        os.utime(output / name, (time.time() - age,) * 2)
    folder = output / ".kernelviz-0123456789abcde1"
    folder.mkdir()
    (folder / "0000.png").write_bytes(b"x")
    os.utime(folder, (time.time() - 7200,) * 2)
    assert look("-l", "layer1", "--style", "bare").code == 0
    assert {path.name for path in output.glob(".*")} == {".kernelviz-0123456789abcde0", ".kernelviz-mine"}


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("choice", ["--style=bare", "--arrays", "--single"])
def test_a_full_disk_ends_a_run(look, monkeypatch, choice):
    """When the disk is full the run stops at once; the message names the picture, and nothing temporary remains."""

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    result = look("-l", "layer1", choice)
    monkeypatch.undo()
    assert result.code == 1
    assert sum("No space left" in line for line in result.err.splitlines()) == 1
    assert ".kernelviz-" not in result.err
    assert "0000-test_resnet" in result.err
    assert not list(Path().rglob(".kernelviz-*"))


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("choice", [pytest.param("--style=bare", marks=pytest.mark.slow), "--single"])
def test_two_runs_at_once_both_succeed(start, run, choice):
    """Two runs that draw the same pictures at the same time end with 0, and leave what one run makes."""
    words = ("features", "test_resnet", "images", "-r", "--weights", "random", "-l", "layer1", choice)
    other = start("-m", "kernelviz", *words, environment={"OMP_NUM_THREADS": "1"})
    first = other.stdout.readline()  # from here on both write
    result = run(*words)
    _, err = other.communicate(timeout=100)
    assert (other.returncode, bool(first)) == (0, True), err
    assert result.code == 0, result.err
    assert len(list(Path("kernelviz-out").iterdir())) == 5
    assert not list(Path().rglob(".kernelviz-*"))


@pytest.mark.usefixtures("few")
def test_other_choices_are_drawn_again(look):
    """A picture of the same name that looks otherwise is not what was asked for."""
    look("-l", "layer1")
    result = look("-l", "layer1", "--top", "3", "--skip-existing", "--json")
    assert not any(each.get("skipped") for each in result.document["images"])
    assert {output["shown"] for output in result.document["outputs"]} == {3}
    result = look("-l", "layer1", "--top", "3", "--skip-existing", "--json")
    assert all(each["skipped"] for each in result.document["images"])


@pytest.mark.usefixtures("few")
def test_single_maps_have_their_own_pixels_and_an_index(look):
    """A file a channel, a pixel a value, coloured by the limits that the index and its own recipe tell."""
    result = look("-l", "layer1", "--single")
    assert [path.name for path in result.paths] == ["index.json"] * 5
    index = json.loads(result.paths[2].read_text())
    values = maps_of("layer1")["0002.png"]
    assert (index["layer"], index["shape"]) == ("layer1", list(values.shape[1:]))
    assert [each["channel"] for each in index["files"]] == list(range(len(values)))
    for each, tile in zip(index["files"], values, strict=True):
        path = result.paths[2].parent / each["file"]
        with Image.open(path) as picture:
            levels = np.asarray(picture)
        low, high = each["limits"]
        assert high == pytest.approx(np.abs(tile).max())
        if tile.min() < tile.max():
            np.testing.assert_array_equal(
                levels, np.rint((tile.astype(np.float64) - low) / (high - low) * (LEVELS - 1))
            )
        recipe = read_recipe(path)
        assert (recipe["channels"], recipe["limits"]) == (str(each["channel"]), each["limits"])
    assert read_recipe(result.paths[2])["view"] == "single"


@pytest.mark.usefixtures("few")
def test_single_maps_are_chosen_zoomed_and_scaled(look):
    """``--channels``, ``--zoom`` and ``--scale`` mean what they mean for pages."""
    result = look("-l", "layer1", "--single", "--channels", "5,2", "--zoom", "3", "--scale=layer")
    index = json.loads(result.paths[0].read_text())
    assert [(each["file"], each["channel"]) for each in index["files"]] == [("0005.png", 5), ("0002.png", 2)]
    whole = maps_of("layer1")["0000.png"]
    assert index["files"][0]["limits"] == index["files"][1]["limits"] == [0.0, pytest.approx(whole.max())]
    with Image.open(result.paths[0].parent / "0005.png") as picture:
        assert picture.size == tuple(3 * side for side in whole.shape[:0:-1])


@pytest.mark.usefixtures("few")
def test_a_missing_single_map_is_made_again(look):
    """An index alone does not make an image done: one file that is gone, and it is made; of fewer channels none is left."""
    look("-l", "layer1", "--single")
    whole = content()
    lost = Path("kernelviz-out/0002-test_resnet.random-layer1-features-single/0003.png")
    lost.unlink()
    result = look("-l", "layer1", "--single", "--skip-existing", "--json")
    assert [bool(each.get("skipped")) for each in result.document["images"]] == [True, True, False, True, True]
    assert content() == whole
    look("-l", "layer1", "--single", "--channels", "0-3")
    assert {Path(name).name for name in content()} == {"0000.png", "0001.png", "0002.png", "0003.png", "index.json"}


@pytest.mark.usefixtures("few")
def test_what_is_no_single_map_of_this_run_is_left(look):
    """A file of somebody else's in the folder is in the way; the other images go on."""
    place = Path("kernelviz-out/0001-test_resnet.random-layer1-features-single/0003.png")
    place.parent.mkdir(parents=True)
    place.write_bytes(b"mine")
    result = look("-l", "layer1", "--single")
    assert result.code == 3
    assert "in the way" in result.err
    assert place.read_bytes() == b"mine"
    assert not (place.parent / "index.json").exists()
    assert look("-l", "layer1", "--single", "--force").code == 0


def test_notes_on_many_images_are_printed_together(run):
    """Notes that differ in their numbers alone are one line with the number of images; -v and the document have each."""
    for number, side in enumerate((60, 80, 90)):
        Image.effect_noise((side, side), 30).convert("RGB").save(f"{number}.png")
    words = ("features", "test_resnet", "--weights", "random", "--input-size", "64", "-l", "conv1.0", "--style", "bare")
    lines = run(*words, "0.png", "1.png", "2.png").err.splitlines()
    at = lines.index("2.png")
    assert lines[at + 1 :] == [
        "enlarged 1.12 times to 67 × 67 pixels (1 of 3 images)",
        "cropped: the network sees the middle 57 × 57 of 60 × 60 pixels (and others)",
    ]
    assert "\n  cropped: " in run(*words, "0.png").err
    assert run(*words, "0.png", "1.png", "2.png", "-v").err.count("\n  cropped: ") == 3
    document = run(*words, "0.png", "1.png", "2.png", "--json").document
    assert sum("cropped: " in each for each in document["warnings"]) == 3


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize(("model", "layer"), [("test_resnet", "layer2"), ("test_vit", "blocks.2")])
def test_components_are_scikit_learn_s_over_all_images(run, model, layer):
    """Colours are the scores of one PCA over every position of every image, up to sign, in deviations."""
    size = "32" if model == "test_resnet" else "160"
    result = run(
        "features", model, "images", "-r", "--weights", "random", "--input-size", size, "-l", layer,
        "--reduce", "pca", "--arrays", "--json",
    )  # fmt: skip
    assert result.code == 0
    paths = [Path(output["path"]) for output in result.document["outputs"]]
    network = kernelviz.load_model(model, weights="random")
    images = []
    files = sorted(Path("images").iterdir())
    kernelviz.capture_many(network, files, layer, on_map=lambda maps: images.append(maps.values), input_size=int(size))
    flat = np.concatenate([values.reshape(len(values), -1) for values in images], axis=1).T.astype(np.float64)
    oracle = PCA(3).fit(flat)
    expected = oracle.transform(flat) / np.sqrt(oracle.explained_variance_)
    arrays = [path for path in paths if path.name.endswith("-pca.npz")]
    drawn = np.concatenate([np.load(path)[layer][0].reshape(-1, 3) for path in arrays])
    signs = np.sign((drawn * expected).sum(axis=0))
    np.testing.assert_allclose(drawn * signs, expected, atol=1e-4 * np.abs(expected).max())
    clipped = int((np.abs(expected) > 2.5).sum())
    pictures = [output for output in result.document["outputs"] if output["path"].endswith("png")]
    told = [note for output in pictures for note in output["notes"] if note.endswith("and clipped")]
    told = [int(note.partition(" ")[0].replace(",", "")) for note in told]
    assert sum(told) == clipped > 0
    basis = read_basis(paths[0])
    assert (basis.layer, basis.images, basis.positions) == (layer, 5, len(flat))
    np.testing.assert_allclose(basis.share, oracle.explained_variance_ratio_, rtol=1e-6)


@pytest.mark.usefixtures("few")
def test_a_basis_is_used_again(look):
    """With the file of one run another image gets the very colours that it had in it; nothing is fitted anew."""
    first = look("-l", "layer2", "--reduce", "pca")
    basis, *pictures = first.paths
    again = look("-l", "layer2", "--reduce", "pca", "--basis", basis, "-o", "again")
    assert [path.name for path in again.paths] == [path.name for path in pictures]
    for one, other in zip(pictures, again.paths, strict=True):
        assert one.read_bytes() == other.read_bytes()
    assert look("-l", "layer2", "--reduce", "pca", "--skip-existing", "--json").document["images"][0]["skipped"]


@pytest.mark.usefixtures("few")
def test_a_basis_of_other_weights_is_told(run, look):
    """On stderr, in the document, and in every picture's own notes; of the same weights nothing is said."""
    basis = str(look("-l", "layer2", "--reduce", "pca").paths[0])
    choices = ("features", "test_resnet", "images", "-r", "--weights", "random", "--input-size", "32", "-l", "layer2")
    same = run(*choices, "--reduce", "pca", "--basis", basis, "--json", "-o", "same")
    other = run(*choices, "--seed", "5", "--reduce", "pca", "--basis", basis, "--json", "-o", "other")
    assert (same.code, other.code) == (0, 0)
    note = "the components were fitted to other weights: test_resnet, random weights (seed 0)"
    assert note not in same.out + same.err
    assert f"{basis}: {note}" in other.document["warnings"]
    assert f"{basis}: {note}" in other.err.splitlines()
    assert all(note in output["notes"] for output in other.document["outputs"])
    twice = look("-l", "layer2", "--reduce", "pca", "--basis", basis, "--basis", basis)
    assert (twice.code, twice.complaint[0]) == (2, "Error: Two bases were given for layer2.")


@pytest.mark.usefixtures("few")
def test_a_basis_that_does_not_fit_is_refused(look, tmp_path):
    """No file, no basis, another layer, another network: one sentence each, and nothing is drawn."""
    basis = str(look("-l", "layer1", "--reduce", "pca").paths[0])
    (tmp_path / "text.npz").write_text("text")
    cases = {
        ("layer1", "nothing.npz"): "nothing.npz is not a basis.",
        ("layer1", "text.npz"): "text.npz is not a basis.",
        ("layer2", basis): "The basis is of layer1, which is not drawn.",
    }
    for (layer, file), message in cases.items():
        result = look("-l", layer, "--reduce", "pca", "--basis", file, "-o", "new")
        assert result.code == 2
        assert result.complaint[0] == f"Error: {message}"
    with np.load(basis) as file:
        arrays = dict(file)
    for name, value, message in (
        ("mean", arrays["mean"] * np.nan, "not finite"),
        ("components", arrays["components"][:2], "do not fit"),
    ):
        np.savez("spoilt.npz", **{**arrays, name: value})
        result = look("-l", "layer1", "--reduce", "pca", "--basis", "spoilt.npz", "-o", "new")
        assert message in result.complaint[1]
    halved = {"mean": arrays["mean"][:4], "components": arrays["components"][:, :4]}
    np.savez("halved.npz", **{**arrays, **halved})
    assert "has 4 channels" in look("-l", "layer1", "--reduce", "pca", "--basis", "halved.npz").complaint[0]
    assert not Path("new").exists()


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("batch", ["1", "5"])
def test_statistics_are_numpy_s_over_all_images(look, batch):
    """Every number equals NumPy's over the stacked maps, whatever the batch size; bad images are left out."""
    result = look("-l", "layer1", "--statistics", "--batch-size", batch, "--arrays", "--json")
    assert result.code == 3
    (told,) = result.document["statistics"]
    maps = maps_of("layer1")
    stacked = np.stack(list(maps.values())).astype(np.float64)
    axes = (0, 2, 3)
    assert (told["layer"], told["images"], told["values"]) == ("layer1", list(maps), stacked[:, 0].size)
    np.testing.assert_allclose(told["mean"], stacked.mean(axes), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(told["deviation"], stacked.std(axes), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(told["largest"], stacked.max(axes), rtol=1e-4)
    np.testing.assert_allclose(told["zeros"], (stacked == 0).mean(axes), atol=1e-4)
    assert told["image"] == [list(maps)[at] for at in stacked.max(axis=(2, 3)).argmax(axis=0)]
    paths = [output["path"] for output in result.document["outputs"]]
    stem = "test_resnet.random-layer1-features-statistics"
    assert [Path(path).name for path in paths] == [f"{stem}.png", f"{stem}.npz"]
    with np.load(paths[1], allow_pickle=False) as file:
        np.testing.assert_array_equal(file["mean"], told["mean"])
    assert read_recipe(paths[0])["images"] == 37


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("choice", ["--statistics", "--reduce=pca"])
def test_files_of_the_same_bytes_are_counted_once(look, choice):
    """Statistics and components are those of the images without the copy, which a note names; each file is still drawn."""
    Path("images/0009.png").write_bytes(Path("images/0001.png").read_bytes())
    result = look("-l", "layer1", *choice.split("="), "--json")
    note = "1 image is identical to an earlier image, counted once: 0009.png"
    assert result.code == 0
    if choice == "--statistics":
        (found,) = result.document["statistics"]
        assert (len(found["images"]), note in result.err) == (5, True)
    else:
        assert read_basis(result.document["outputs"][0]["path"]).images == 5
        assert (len(result.document["outputs"]), note in result.document["warnings"]) == (7, True)
    assert note in result.document["outputs"][0]["notes"]


@pytest.mark.usefixtures("few")
def test_copies_of_one_image_are_one_image(look):
    """If all files have the same bytes, the statistics are those of one image, and the line for people counts one."""
    for number in range(1, 5):
        Path(f"images/{number:04d}.png").write_bytes(Path("images/0000.png").read_bytes())
    result = look("-l", "layer1", "--statistics")
    assert (result.code, "channels over 1 image\n" in result.err) == (0, True)
    assert "4 images are identical to earlier images, counted once: 0001.png, 0002.png, 0003.png …" in result.err


@pytest.mark.usefixtures("few")
def test_the_table_names_channels_and_images(look):
    """People read a line a channel, the extremes of the means unless ``-v``."""
    result = look("-l", "layer1", "--statistics")
    lines = [line.split() for line in result.err.splitlines() if re.match(r" *\d+ ", line)]
    assert len(lines) == 17  # and how many were left out
    assert all(line[-1].endswith(".png") for line in lines[:16])
    whole = look("-l", "layer1", "--statistics", "-v")
    assert [int(line.split()[0]) for line in whole.err.splitlines() if re.match(r" *\d+ ", line)] == list(range(32))


@pytest.mark.usefixtures("few")
def test_a_contact_sheet_has_a_row_an_image(look):
    """One picture a layer, the channels asked for, every image by name."""
    result = look("-l", "layer1", "-l", "layer2", "--contact", "--channels", "3,1")
    names = [f"test_resnet.random-{layer}-features-contact.png" for layer in ("layer1", "layer2")]
    assert [path.name for path in result.paths] == names
    recipe = read_recipe(result.paths[0])
    assert (recipe["channels"], recipe["images"]) == ([3, 1], [f"000{number}.png" for number in range(5)])
    values = np.stack([maps[[3, 1]] for maps in maps_of("layer1").values()])
    assert recipe["limits"] == [0, pytest.approx(values.max())]


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("choice", [("--statistics", "--arrays"), ("--contact",), ("--reduce", "pca")], ids=str)
def test_other_images_do_not_take_the_place_of_the_first(run, look, choice):
    """What is told of another folder stands beside that of the first; the same images again replace their own."""
    look("-l", "layer1", *choice)
    first = content()
    make_images(Path("others"), 4, bad={})
    Path("others/0001.png").unlink()
    for _ in range(2):
        result = run(
            "features", "test_resnet", "others", "-r", "--weights", "random", "--input-size", "32", "-l", "layer1",
            *choice,
        )  # fmt: skip
        assert result.code == 0
        after = content()
        assert {name: after[name] for name in first if "features-pca" not in name} == {
            name: data for name, data in first.items() if "features-pca" not in name
        }
        new = [name for name in after if name not in first and "features-pca" not in name]
        assert len(new) == len([name for name in first if "features-pca" not in name])
        assert "is taken by a picture of other images or weights" in result.err
        assert all(read_recipe(Path("kernelviz-out", name))["image"]["name"] == "3 images" for name in new)


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize(
    ("choice", "end"),
    [
        (("--statistics",), "statistics.png"),
        (("--statistics", "--arrays"), "statistics.npz"),
        (("--contact",), "contact.png"),
        (("--reduce", "pca"), "basis.npz"),
    ],
    ids=str,
)
def test_the_way_is_looked_at_before_any_image_passes(look, choice, end):
    """Somebody else's file is in the way at once: no image is passed for nothing; with ``--force`` it is replaced."""
    place = Path(f"kernelviz-out/test_resnet.random-layer1-features-{end}")
    place.parent.mkdir()
    place.write_bytes(b"mine")
    result = look("-l", "layer1", *choice, "--json")
    assert result.code == 1
    assert f"{place} is in the way." in result.complaint[0]
    assert result.document["images"] == []
    assert content() == {place.name: b"mine"}
    assert look("-l", "layer1", *choice, "--force").code == 0
    assert place.read_bytes() != b"mine"


@pytest.mark.usefixtures("few")
def test_where_one_layer_s_way_is_not_free_the_others_go_on(look):
    """Exit 3, the layer that has no place is named, and the other has its statistics."""
    place = Path("kernelviz-out/test_resnet.random-layer1-features-statistics.png")
    place.parent.mkdir()
    place.write_bytes(b"mine")
    result = look("-l", "layer1", "-l", "layer2", "--statistics", "--json")
    assert result.code == 3
    assert [error["input"] for error in result.document["errors"]] == ["layer1"]
    assert [output["layer"] for output in result.document["outputs"]] == ["layer2"]
    assert place.read_bytes() == b"mine"


@pytest.mark.usefixtures("few")
def test_the_image_of_the_maximum_is_known_from_the_arrays_alone(look):
    """``images`` lists the names that ``image`` counts, those of one name with their folders in front."""
    Path("images/sub").mkdir()
    Path("images/0001.png").rename("images/sub/0000.png")
    result = look("-l", "layer1", "--statistics", "--arrays", "--json")
    (told,) = result.document["statistics"]
    with np.load(result.document["outputs"][1]["path"], allow_pickle=False) as file:
        names, image = file["images"].tolist(), file["image"]
    assert sorted(names) == ["0000.png", "0002.png", "0003.png", "0004.png", "sub/0000.png"]
    assert told["images"] == names
    assert [names[at] for at in image] == told["image"]


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("batch", ["1", "5"])
@pytest.mark.parametrize("choice", [("--statistics",), ("--reduce", "pca")], ids=str)
def test_an_image_that_fails_half_way_is_told(look, monkeypatch, choice, batch):
    """Layers that had taken it in before it failed say so; each of the others is counted once in every layer."""
    from kernelviz.errors import KernelvizError
    from kernelviz.network.capture import CaptureHooks

    real = CaptureHooks._maps

    def maps_of_catcher(*arguments):
        maps = real(*arguments)
        if (maps.layer, maps.image.name) == ("layer2", "0001.png"):
            raise KernelvizError("The pass failed.")
        return maps

    monkeypatch.setattr(CaptureHooks, "_maps", maps_of_catcher)
    result = look("-l", "layer1", "-l", "layer2", *choice, "--batch-size", batch, "--json")
    assert result.code == 3
    assert [error["input"] for error in result.document["errors"]] == ["images/0001.png"]
    assert "images/0001.png: it failed later, but counts in layer1" in result.document["warnings"]
    assert "images/0001.png: it failed later, but counts in layer1" in result.err.splitlines()
    for told in result.document.get("statistics", []):
        assert sorted(told["images"]) == [f"000{at}.png" for at in range(5) if at != 1 or told["layer"] == "layer1"]
    bases = [read_recipe(each["path"]) for each in result.document["outputs"] if each["view"] == "basis"]
    assert [basis["images"] for basis in bases] == ([5, 4] if "pca" in choice else [])


@pytest.fixture
def spoilt(monkeypatch):
    """``layer1`` gives a row of NaN in map 1 of every second image, and something huge in map 3 of the last one."""
    from kernelviz.network.capture import CaptureHooks

    count, real = [0], CaptureHooks._maps

    def maps_of_catcher(*arguments):
        maps = real(*arguments)
        if maps.layer == "layer1":
            count[0] += 1
            maps.values[1, 0] = np.nan if count[0] % 2 else maps.values[1, 0]
            maps.values[3, 0, 0] = 1e6 if maps.image.name == "0049.png" else 0.0
        return maps

    monkeypatch.setattr(CaptureHooks, "_maps", maps_of_catcher)


@pytest.mark.usefixtures("spoilt")
def test_a_contact_sheet_says_what_is_odd(look, tmp_path):
    """Broken values and images without room are on stderr, in the document and in the recipe; limits are those drawn."""
    make_images(tmp_path / "images", 50, bad={})
    result = look("-l", "layer1", "--contact", "--channels", "0-15", "--json")
    (output,) = result.document["outputs"]
    recipe = read_recipe(output["path"])
    shown, wide = recipe["shown"], maps_of("layer1")["0000.png"].shape[2]
    assert (shown < 49, recipe["total"]) == (True, 50)
    assert output["nonfinite"] == recipe["nonfinite"] == 25 * wide
    assert output["limits"] == recipe["limits"]
    assert recipe["limits"][1] < 1e5
    assert output["notes"] == recipe["notes"]
    assert f"layer1: {shown} of 50 images, 16 maps of each" in result.err
    assert any(f"{(shown + 1) // 2 * wide} values are not finite (chequered)" in line for line in output["notes"])
    assert all(f"  {note}" in result.err.splitlines() for note in output["notes"])


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize(
    ("choices", "message"),
    [
        (("--top", "20"), "Error: A contact sheet takes at most 16 channels, but got 20."),
        (("--channels", "0-17"), "Error: layer3: A contact sheet takes at most 16 channels, but got 18."),
        (("--channels", "0,60"), "Error: layer1: There are channels 0 to 31, but got '60'."),
    ],
    ids=str,
)
def test_channels_of_a_contact_sheet_are_checked_at_once(look, choices, message):
    """Too many, or one that a layer has not, is wrong usage before any image is read; the layer is named."""
    result = look("-l", "layer3", *(["-l", "layer1"] if "0,60" in choices else []), "--contact", *choices)
    assert (result.code, result.complaint[0]) == (2, message)
    assert "0000.png" not in result.err
    assert not Path("kernelviz-out").exists()


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize(
    ("choices", "option"),
    [
        (("--single", "--overlay"), "--single and --overlay"),
        (("--statistics", "--reduce", "mean"), "--statistics and --reduce"),
        (("--basis", "x.npz"), "principal components"),
        (("--skip-existing", "--force"), "--skip-existing"),
        (("--statistics", "--skip-existing"), "--skip-existing"),
        (("--statistics", "--top", "3"), "--top"),
        (("--contact", "--zoom", "3"), "--zoom"),
        (("--reduce", "pca", "--cmap", "magma"), "--cmap"),
        (("--single", "--columns", "3"), "--columns"),
        (("--reduce", "pca", "--overlay"), "--overlay"),
    ],
    ids=str,
)
def test_choices_that_change_nothing_are_refused(look, choices, option):
    """Two kinds of pictures at once, or what a kind does not take, is wrong usage and says what to leave out."""
    result = look("-l", "layer1", *choices)
    assert result.code == 2
    assert option in result.complaint[0]
    assert not Path("kernelviz-out").exists()


COMMAND = (
    "-m", "kernelviz", "features", "test_resnet", "images", "-r", "--weights", "random", "--input-size", "32",
    "-l", "layer1", "--style", "bare",
)  # fmt: skip


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
def test_interrupted_and_started_again_makes_the_same_files(tmp_path, start, look):
    """Ctrl-C in the middle leaves whole files; with ``--skip-existing`` the rest is made, as in one go."""
    make_images(tmp_path / "images", 150, bad={})
    process = start(*COMMAND, "-q")
    deadline = time.monotonic() + 60
    while len(list(tmp_path.glob("kernelviz-out/*.png"))) < 20 and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    before = content()
    assert 20 <= len(before) < 150
    assert not list(tmp_path.glob("kernelviz-out/.kernelviz-*"))
    assert look("-l", "layer1", "--style", "bare", "--skip-existing").code == 0
    after = content()
    assert look("-l", "layer1", "--style", "bare", "-o", "whole", "-q").code == 0
    assert after == content("whole")
    assert {name: after[name] for name in before} == before


MEMORY = """
import resource, sys
from kernelviz.cli import many
from kernelviz.cli.main import main
used, count, real = {}, [0], many.tell_image
def tell_image(*arguments):
    count[0] += 1
    if count[0] in (50, 997):
        used[count[0]] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return real(*arguments)
many.tell_image = tell_image
code = main(sys.argv[1:])
print(code, count[0], used[997] - used[50], file=sys.stderr)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss counts kilobytes there")
def test_a_thousand_images(tmp_path, fresh):
    """997 done, three named, exit 3; the most memory ever held is within 20 MB of that until the fiftieth."""
    make_images(tmp_path / "images", 1000)
    result = fresh("-c", MEMORY, *COMMAND[2:], "-q")
    *lines, last = result.err.splitlines()
    code, count, grown = map(int, last.split())
    assert (code, count) == (3, 997)
    assert len(list(tmp_path.glob("kernelviz-out/*.png"))) == len(result.paths) == 997
    assert [line.split(":")[0] for line in lines] == [f"images/{number:04d}.png" for number in BAD]
    assert grown < 20 * 1024


@pytest.mark.usefixtures("few")
def test_what_is_there_is_not_decoded(look, monkeypatch):
    """``--skip-existing`` reads the bytes of an image, and no more where all its files are there."""
    look("-l", "layer1", "--style", "bare")
    Path("kernelviz-out/0003-test_resnet.random-layer1-features.png").unlink()
    decoded, real = [], images.decode
    monkeypatch.setattr(images, "decode", lambda data, name, *rest: decoded.append(name) or real(data, name, *rest))
    result = look("-l", "layer1", "--style", "bare", "--skip-existing", "--json")
    assert decoded == ["images/0003.png"]
    assert [bool(each.get("skipped")) for each in result.document["images"]] == [True, True, True, False, True]
    shuffled = [path.read_bytes() for path in sorted(Path("images").iterdir())]
    Path("images/0000.png").write_bytes(shuffled[4])
    result = look("-l", "layer1", "--style", "bare", "--skip-existing", "--json")
    assert decoded[1:] == ["images/0000.png"]
    assert len(result.document["outputs"]) == 1


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("batch", ["1", "3", "8"])
def test_of_a_batch_that_fails_the_guilty_alone_is_named(look, monkeypatch, batch):
    """The others of its batch pass one by one; what was handed on before the batch failed is not handed on again."""
    Image.fromarray(np.full((40, 40, 3), 255, np.uint8)).save("images/0002.png")
    network = kernelviz.load_model("test_resnet", weights="random")
    white = []

    def notice(_module, inputs):
        white[:] = [bool((inputs[0].flatten(2).std(2).amax(1) < 1e-5).any())]

    def refuse(_module, _inputs):
        if white[0]:
            raise RuntimeError("no white")

    network.module.register_forward_pre_hook(notice)
    network.module.layer2.register_forward_pre_hook(refuse)
    monkeypatch.setattr("kernelviz.network.model.load_model", lambda *_, **__: network)
    result = look("-l", "layer1", "-l", "layer2", "--style", "bare", "--batch-size", batch, "--json")
    assert result.code == 3
    assert [error["input"] for error in result.document["errors"]] == ["images/0002.png"]
    drawn = [(output["image"][-8:-4], output["layer"]) for output in result.document["outputs"]]
    every = {(f"000{number}", layer) for number in range(5) for layer in ("layer1", "layer2")}
    assert len(drawn) == 9
    assert set(drawn) == every - {("0002", "layer2")}
    (told,) = look("-l", "layer1", "--statistics", "--batch-size", batch, "--json").document["statistics"]
    assert len(told["images"]) == 5

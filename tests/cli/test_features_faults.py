"""What goes wrong with images and layers ends in one clear message with its exit code, and loses nothing."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from restraints import file_limit

from kernelviz.files.recipes import read_recipe

WORDS = ("features", "test_resnet")
RANDOM = ("--weights", "random", "--style", "bare")


@pytest.fixture
def cat(tmp_path):
    """A small picture."""
    path = tmp_path / "cat.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (90, 70, 3)).astype(np.uint8)).save(path)
    return path


@pytest.fixture
def look(run, cat):
    """A function that draws maps of a tiny network with random weights as bare tiles, which is fast."""

    def finish(*arguments, model="test_resnet", images=(cat.name,)):
        return run("features", model, *images, *RANDOM, *arguments)

    return finish


def check_refusal(run, arguments, code, kind, said):
    """The same refusal for people and for programs: its code, its words, three lines at most, and nothing written."""
    plain = run(*arguments)
    assert (plain.code, plain.out) == (code, "")
    assert 1 <= len(plain.complaint) <= 3
    for part in said:
        assert part in "\n".join(plain.complaint)
    assert all(line.isprintable() for line in plain.err.splitlines())
    told = run(*arguments, "--json")
    assert (told.code, told.complaint) == (code, plain.complaint)
    assert [error["code"] for error in told.document["errors"]] == [kind]
    assert (told.document["outputs"], told.document["images"]) == ([], [])
    assert not Path("kernelviz-out").exists()


LAYERS = {
    "unknown": (["-l", "nosuch"], 2, "unknown-layer", ["No layer is called nosuch.", "Nearest: ", "kernelviz layers"]),
    "glob": (["-l", "nosuch*"], 2, "unknown-layer", ["nosuch*", "Nearest: "]),
    "empty": (["-l", ""], 2, "unknown-layer", ["name is empty", "--layer '*'"]),
    "stage": (["-l", "stage:9"], 2, "unknown-layer", ["no stage:9", "stage:0 to stage:4"]),
    "escape": (["-l", "\x1b]0;x\x07"], 2, "unknown-layer", ["\\x1b]0;x\\x07"]),
    "vector": (["-l", "fc"], 2, "usage", ["The layer fc has no map.", "(1, 1000)", "vector"]),
    "glob of vectors": (["-l", "f*c"], 2, "usage", ["f*c has no map", "(1, 1000)"]),
    "run": (["-l", "conv1.0#2"], 2, "unknown-layer", ["runs 1 time,", "conv1.0#2"]),
    "part": (["-l", "conv1.0:3"], 2, "unknown-layer", ["gives 1 tensor,", "conv1.0:3"]),
    "kind": (["-l", "conv1.0", "--kind", "norm"], 2, "unknown-layer", ["kind norm"]),
    "channels": (["--channels", "4000"], 2, "usage", ["channels 0 to 191"]),
    "many channels": (["--overlay", "--channels", "0-999999999", "--style", "figure"], 2, "usage", ["0 to 191"]),
    "device": (["--device", "mps"], 2, "usage", ["no device mps", "--device auto"]),
    "input size": (["--input-size", "x"], 2, "usage", ["SIDE, H,W or C,H,W"]),
    "vast input": (["--input-size", "60000"], 2, "usage", ["at most 8192"]),
    "directory": (["-o", "x.png"], 2, "usage", ["--output takes a directory"]),
    "bare overlay": (["--overlay"], 2, "usage", ["not bare tiles"]),
    "overlay and top": (["--overlay", "--top", "3"], 2, "usage", ["--channels"]),
    "overlay and arrays": (["--overlay", "--style", "figure", "--arrays"], 2, "usage", ["no --arrays"]),
    "overlay and colours": (["--overlay", "--style", "figure", "--cmap", "magma"], 2, "usage", ["no --cmap"]),
    "overlay of a part": (
        ["--overlay", "--reduce", "max", "--channels", "1"],
        2,
        "usage",
        ["single maps or one reduction"],
    ),
    "columns of one": (["--reduce", "max", "--columns", "4"], 2, "usage", ["no columns"]),
    "overview of inputs": (["--overview", "--tap", "input"], 2, "usage", ["the outputs of layers"]),
}


@pytest.mark.parametrize(("arguments", "code", "kind", "said"), LAYERS.values(), ids=LAYERS)
def test_a_choice_that_cannot_be(run, arguments, code, kind, said):
    """Layers, parts, channels and options that are not there or exclude each other: 2, before any image is read."""
    check_refusal(run, [*WORDS, "missing.png", *RANDOM, *arguments], code, kind, said)


def bad_images(directory):
    """One file of every bad kind, by name."""
    good = Image.new("RGB", (64, 64), "red")
    good.save(directory / "whole.png")
    good.save(directory / "x.eps")
    (directory / "folder").mkdir()
    (directory / "empty.png").touch()
    (directory / "text.png").write_text("no picture\n" * 9)
    (directory / "x.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    (directory / "x.pdf").write_bytes(b"%PDF-1.7\n")
    (directory / "x.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3)).astype(np.uint8))
    noise.save(directory / "cut.jpg")
    (directory / "cut.jpg").write_bytes((directory / "cut.jpg").read_bytes()[:-700])
    header = b"IHDR" + (60000).to_bytes(4, "big") * 2 + b"\x08\x02\0\0\0"
    check = zlib.crc32(header).to_bytes(4, "big")
    (directory / "huge.png").write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\r" + header + check + b"\0\0\0\x09IDAT" + b"\0" * 40)


IMAGES = {
    "missing.png": "no file",
    "folder": "folder",
    "empty.png": "empty",
    "text.png": "text",
    "x.svg": "SVG",
    "x.pdf": "PDF",
    "x.heic": "HEI",
    "x.eps": "EPS",
    "cut.jpg": "truncated",
    "huge.png": "60000 × 60000",
    "nosuch*.png": "nosuch*.png",
}


@pytest.mark.parametrize(("name", "said"), IMAGES.items(), ids=IMAGES)
def test_an_image_that_cannot_be_read(run, tmp_path, name, said):
    """Exit code 1, the file and what is wrong with it by name; nothing is drawn."""
    bad_images(tmp_path)
    result = run(*WORDS, name, *RANDOM, "-l", "conv1.0")
    assert (result.code, result.out) == (1, "")
    assert 1 <= len(result.complaint) <= 3
    assert name in result.complaint[0]
    assert said.casefold() in "\n".join(result.complaint).casefold()
    assert run(*WORDS, name, *RANDOM, "-l", "conv1.0", "--json").document["errors"][0]["code"] == "bad-image"
    assert not Path("kernelviz-out").exists()


def test_a_folder_of_which_some_images_are_bad(look, tmp_path):
    """Exit code 3: each bad one is named, on stderr and in the document, all others are drawn."""
    folder = tmp_path / "all"
    folder.mkdir()
    for number in range(6):
        Image.new("RGB", (40, 40), (number * 40, 9, 9)).save(folder / f"{number}.png")
    for number in (1, 4):
        (folder / f"{number}.png").write_text("no picture")
    result = look("-l", "conv1.0", "-r", "--json", images=("all",))
    assert result.code == 3
    document = result.document
    assert [image["path"] for image in document["images"]] == [f"all/{number}.png" for number in (0, 2, 3, 5)]
    assert [error["input"] for error in document["errors"]] == ["all/1.png", "all/4.png"]
    assert len(document["outputs"]) == 4
    assert all(f"\nall/{number}.png " in result.err for number in (1, 4))
    assert look("-l", "conv1.0", images=("all/1.png", "all/4.png")).code == 1


@pytest.mark.parametrize("size", [(1, 1), (7, 7), (3, 900)])
def test_tiny_and_long_images_are_enlarged_and_that_is_said(look, tmp_path, size):
    """They are drawn; what was done to them stands on stderr and in the document."""
    Image.new("RGB", size, (200, 30, 30)).save(tmp_path / "x.png")
    result = look("-l", "conv1.0", "--json", images=("x.png",))
    assert result.code == 0
    assert any("enlarged" in warning for warning in result.document["warnings"])
    assert "enlarged" in result.err


def test_layers_without_a_map_are_counted_in_a_glob(look):
    """What a glob takes and has no map is no failure: its count is said, and each with its shape and why on -v."""
    result = look("-l", "*", "-v", "--json")
    assert result.code == 0
    without = [warning for warning in result.document["warnings"] if " is not a map: " in warning]
    assert any(warning.startswith("fc: its output (1, 1000)") for warning in without)
    assert f"{len(without)} layers have no map" in result.err
    assert f"  {without[0]}" in result.err
    assert "(-v lists them)" in look("-l", "*").err


def test_a_layer_that_never_runs(run, cat):
    """Exit code 1, and that it did not run."""
    arguments = ["features", "test_efficientnet", cat.name, *RANDOM, "-l", "blocks.0.0.drop_path"]
    check_refusal(run, arguments, 1, "failed", ["blocks.0.0.drop_path did not run", "kernelviz layers"])


def test_input_sizes_that_a_network_refuses(run, cat):
    """A fixed grid takes one size only; the error reports which. What ran before is drawn."""
    arguments = ["features", "test_maxvit", cat.name, *RANDOM, "--input-size", "96"]
    plain = run(*arguments)
    assert plain.code == 1
    assert "does not take an input of 3 × 96 × 96" in plain.complaint[0]
    assert plain.complaint[-1] == "The smallest side above 96 that it takes is 159."
    outputs = run(*arguments, "--json").document["outputs"]
    assert [output["layer"] for output in outputs] == ["stem.conv1", "stem"]
    nothing = run(*arguments, "-l", "head", "--json").document
    assert (nothing["outputs"], nothing["errors"][0]["code"]) == ([], "input-size")


def test_a_layer_that_lacks_a_channel_is_named(look):
    """Of several layers those that lack it are named, the others drawn."""
    result = look("-l", "conv1.0", "-l", "layer3", "--channels", "100", "--json")
    assert result.code == 3
    assert [output["layer"] for output in result.document["outputs"]] == ["layer3"]
    assert [error["input"] for error in result.document["errors"]] == ["conv1.0"]


def test_weights_that_are_not_finite(run, cat, checkpoint):
    """A picture that says how many values are not finite; no class, no warning of NumPy; the overview says it too."""
    weights = checkpoint("nan.pth", change=lambda weight: weight[2].fill_(float("nan")))
    words = (*WORDS, cat.name, "--weights", weights)
    document = run(*words, "--json").document
    first = document["outputs"][0]
    assert (first["layer"], first["nonfinite"]) == ("conv1.0", 80 * 80)
    assert any("6,400 of 102,400 values are not finite" in note for note in first["notes"])
    assert document["images"][0]["top"] == []
    overview = document["outputs"][-1]
    assert overview["nonfinite"] > 0
    assert "1 of 16 maps of conv1.0 hold values that are not finite: left out" in overview["notes"]
    (output,) = run(*words, "-l", "conv1.0", "--overlay", "--channels", "2", "--json").document["outputs"]
    assert output["nonfinite"] == 80 * 80


@pytest.mark.parametrize("kind", ["file", "directory", "link"])
@pytest.mark.parametrize("end", ["conv1.0-features.png", "conv1.0-features.npz", "overview.png"])
def test_what_is_in_the_way_stays(look, tmp_path, kind, end):
    """Anything but this picture's earlier run is exit code 1, stays, and is found before the pass; --force replaces."""
    there = tmp_path / "kernelviz-out" / f"cat-test_resnet.random-{end}"
    there.parent.mkdir()
    (tmp_path / "target").write_bytes(b"mine")
    {
        "file": lambda: there.write_bytes(b"mine"),
        "directory": there.mkdir,
        "link": lambda: there.symlink_to(tmp_path / "target"),
    }[kind]()
    words = ("-l", "conv1.0", "--arrays", "--overview")
    result = look(*words)
    assert (result.code, result.out) == (1, "")
    assert result.complaint[0] == f"Error: kernelviz-out/{there.name} is in the way."
    assert [each.name for each in there.parent.iterdir()] == [there.name]
    assert kind == "directory" or there.read_bytes() == b"mine"
    if kind != "directory":
        assert look(*words, "--force").code == 0
        assert read_recipe(there)["command"] == "features"
    assert (tmp_path / "target").read_bytes() == b"mine"


def test_another_model_or_layer_is_never_replaced(look, cat):
    """An earlier run is one of the same command, model, weights, layer, view and image; other weights get digits."""
    first = look("-l", "conv1.0").paths
    other = look("-l", "conv1.0", "--seed", "1")
    assert other.code == 0
    assert other.paths != first
    shutil.copy(look("-l", "layer1").paths[0], first[0])
    assert look("-l", "conv1.0").code == 1
    assert cat.exists()


@pytest.mark.parametrize("output", ["taken", "taken/deeper", "/dev/null/x"])
def test_a_place_that_cannot_hold_files(look, tmp_path, output):
    """A file where a directory should be is exit code 1, and stays."""
    (tmp_path / "taken").write_bytes(b"mine")
    result = look("-l", "conv1.0", "-o", output, "--json")
    assert result.code == 1
    assert result.document["errors"][0]["code"] == "write-failed"
    assert (tmp_path / "taken").read_bytes() == b"mine"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write into read-only directories")
def test_a_read_only_directory(look, tmp_path):
    """Exit code 1, and nothing is left in it."""
    (tmp_path / "fixed").mkdir(mode=0o500)
    assert look("-l", "conv1.0", "-o", "fixed").code == 1
    assert not list((tmp_path / "fixed").iterdir())


def test_a_full_disk_leaves_whole_files(look):
    """Wherever the room ends the exit code is 1, files that were there stay, and what is new is whole or absent."""
    words = ["--arrays", "--style", "bare", "-q", "-l", "conv1.0", "--overview"]
    assert look(*words).code == 0
    before = {path: path.read_bytes() for path in sorted(Path("kernelviz-out").iterdir())}
    assert len(before) == 3
    sizes = sorted(map(len, before.values()))
    for room in (0, sizes[0] - 1, sizes[1] - 1, sizes[2] - 1):
        for directory in ("kernelviz-out", f"new{room}"):
            with file_limit(room):
                result = look(*words, "--output", directory)
            assert result.code == 1, (room, directory)
            assert "could not be written.\nFile too large.\nNothing was changed." in result.err
        for path in Path(f"new{room}").iterdir():
            assert path.read_bytes() == before[Path("kernelviz-out") / path.name], path
        assert {path: path.read_bytes() for path in Path("kernelviz-out").iterdir()} == before


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)], ids=str)
def test_a_signal_in_the_middle_leaves_whole_files(start, cat, tmp_path, number):
    """Ctrl-C is 130, SIGTERM dies of the signal; every file is whole, none is temporary, no traceback is shown."""
    copies = [shutil.copy(cat, tmp_path / f"{copy}.png") for copy in range(60)]
    process = start("-m", "kernelviz", *WORDS, *copies, "--weights", "random", "-l", "*")
    assert process.stdout.readline()
    time.sleep(0.1)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == (130 if number == signal.SIGINT else -signal.SIGTERM)
    assert "Traceback" not in err
    written = list((tmp_path / "kernelviz-out").iterdir())
    assert 1 <= len(written) < 60 * 60
    assert all(read_recipe(path)["command"] == "features" for path in written)


def test_ctrl_c_inside_the_pass_ends_it(look, monkeypatch):
    """An interruption while a map is drawn, inside a hook, goes through; nothing partial is left."""
    from kernelviz.cli import outputs

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(outputs, "save_sheet", interrupted)
    with pytest.raises(KeyboardInterrupt):
        look("-l", "layer1")
    assert not Path("kernelviz-out").exists()


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_what_ends_a_run_loses_no_earlier_image(run, monkeypatch, capsys, error):
    """Pictures of the images before the one that was interrupted, or that failed unexpectedly, are written and reported."""
    from kernelviz.cli import outputs
    from kernelviz.cli.session import Report

    real, calls = outputs.save_sheet, []

    def ending(*arguments, **choices):
        calls.append(arguments)
        if len(calls) == 5:  # the first layer of the third image
            raise error
        real(*arguments, **choices)

    monkeypatch.setattr(outputs, "save_sheet", ending)
    for name in ("a", "b", "c", "d"):
        Image.fromarray(np.full((40, 50, 3), ord(name), np.uint8)).save(f"{name}.png")
    words = ["test_resnet", "a.png", "b.png", "c.png", "d.png", "--weights", "random", "-l", "layer1", "-l", "layer2"]
    printed = ""
    with contextlib.suppress(KeyboardInterrupt):
        result = run("features", *words)
        assert result.code == 1
        printed = result.out
    printed += capsys.readouterr().out
    assert sorted(path.name[0] for path in Path("kernelviz-out").iterdir()) == ["a", "a", "b", "b"]
    assert [Path(path).name[0] for path in printed.split()] == ["a", "a", "b", "b"]
    assert [each["path"] for each in Report.latest.more["images"]] == ["a.png", "b.png"]


def test_what_breaks_inside_a_pass_is_no_fault_of_the_layer(look, monkeypatch):
    """An unexpected error while drawing is exit code 1 with one message, and names its kind."""
    from kernelviz.cli import outputs

    def broken(*_, **__):
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(outputs, "save_sheet", broken)
    result = look("-l", "layer1", "--json")
    assert result.code == 1
    assert "ZeroDivisionError" in result.complaint[0]
    assert result.document["errors"][0]["code"] == "failed"

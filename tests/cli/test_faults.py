"""What goes wrong ends in one clear message with its exit code, and leaves what was there."""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path

import pytest
from restraints import file_limit

NAMES = {
    "unknown": (["kernels", "nosuch"], 2, "unknown-model", ["no model called nosuch", "`kernelviz models`"]),
    "capitals": (["kernels", "RESNET18D"], 2, "unknown-model", ["RESNET18D", "Nearest: resnet18d, "]),
    "dash": (["kernels", "resnet-18d"], 2, "unknown-model", ["resnet-18d", "`kernelviz kernels resnet18d`"]),
    "empty": (["kernels", ""], 2, "unknown-model", ["name is empty", "tf_efficientnet_lite0"]),
    "escape": (["kernels", "\x1b[31m\n"], 2, "unknown-model", ["\\x1b[31m\\n"]),
    "tag": (["kernels", "resnet18d.nosuchtag"], 2, "unknown-model", ["no tag nosuchtag", "Its tags: ra2_in1k", "Try "]),
    "empty tag": (["kernels", "resnet18d."], 2, "unknown-model", ["no tag (empty)"]),
    "not here": (["kernels", "resnet18d"], 4, "no-weights", ["HF_HUB_OFFLINE forbids", "`--weights random`"]),
    "none": (
        ["kernels", "resnet14t", "--weights", "bundled"],
        4,
        "no-weights",
        ["no bundled weights", "--weights FILE"],
    ),
    "hub": (
        ["kernels", "test_resnet", "--weights", "hub"],
        4,
        "no-weights",
        ["HF_HUB_OFFLINE forbids", "--weights random"],
    ),
    "no convolution": (
        ["kernels", "naflexvit_base_patch16_gap", "--weights", "random"],
        1,
        "no-convolutions",
        ["has no convolution", "is a Linear", "kernelviz kernels tf_efficientnet_lite0"],
    ),
}
LAYERS = {
    "unknown": ("nosuch", ["No layer is called nosuch.", "Nearest: conv1.0, ", "--layer '*'"]),
    "glob": ("nosuch*", ["nosuch*", "Nearest: ", "--layer '*'"]),
    "empty": ("", ["name is empty", "--layer '*'"]),
    "ReLU": ("act1", ["act1 is a ReLU, not a convolution", "--layer '*'"]),
    "norms": ("*bn1", ["not a convolution, but a BatchNorm2d"]),
    "stage": ("stage:9", ["no stage:9", "stage:0 to stage:4"]),
    "escape": ("\x1b]0;x\x07", ["\\x1b]0;x\\x07"]),
}


class Evil:
    """Runs a shell command as soon as it is unpickled."""

    def __reduce__(self):
        return os.system, ("touch ran",)


def bad_files(directory, good):
    """One weights file of every bad kind, by name."""
    import pickle

    import timm
    import torch

    data = good.read_bytes()
    (directory / "folder.pth").mkdir()
    (directory / "empty.pth").touch()
    (directory / "text.pth").write_text("These are no weights.\n" * 9)
    (directory / "cut.pth").write_bytes(data[: len(data) // 2])
    (directory / "torn.safetensors").write_bytes(b"\x40\0\0\0\0\0\0\0{" + b"x" * 20)
    (directory / "evil.pth").write_bytes(pickle.dumps(Evil(), protocol=2))
    torch.save({"conv1.0.weight": Evil()}, directory / "evil2.pth")
    torch.save(timm.create_model("test_resnet"), directory / "module.pth")
    torch.save([1, 2], directory / "list.pth")


FILES = {
    "missing.pth": ["There is no weights file missing.pth", "auto, hub, bundled, random"],
    "folder.pth": ["folder.pth is a directory"],
    "empty.pth": ["empty.pth is empty"],
    "text.pth": ["it is text", ".safetensors"],
    "cut.pth": ["cut.pth is cut short or damaged"],
    "torn.safetensors": ["torn.safetensors is cut short or damaged"],
    "evil.pth": ["posix.system", "none of its code ran"],
    "evil2.pth": ["posix.system", "none of its code ran"],
    "module.pth": ["timm.models.resnet.ResNet", "none of its code ran", "torch.save(model.state_dict()"],
    "list.pth": ["no tensors by name"],
}


def check_refusal(run, arguments, code, kind, said, *, most_lines=3):
    """The same refusal for people and for programs: its code, its words, its length."""
    plain = run(*arguments)
    assert (plain.code, plain.out) == (code, "")
    assert plain.complaint
    assert len(plain.complaint) <= most_lines
    text = "\n".join(plain.complaint)
    for part in said:
        assert part in text
    assert all(line.isprintable() for line in plain.err.splitlines())
    told = run(*arguments, "--json")
    assert told.code == code
    assert told.complaint == plain.complaint
    document = told.document
    assert [error["code"] for error in document["errors"]] == [kind]
    assert document["errors"][0]["message"].startswith(plain.complaint[0].removeprefix("Error: ")[:40].rstrip())
    assert document["outputs"] == []
    assert not Path("kernelviz-out").exists()


@pytest.mark.parametrize(("arguments", "code", "kind", "said"), NAMES.values(), ids=NAMES)
def test_a_model_that_cannot_be_had(run, arguments, code, kind, said):
    """Unknown names are exit code 2 with the nearest ones, missing weights 4 with what to give instead."""
    check_refusal(run, arguments, code, kind, said)


def test_what_is_suggested_can_be_had(run):
    """The command that is named is for a model with weights, be it not the nearest."""
    words = run("kernels", "densenet264").complaint
    assert words[1].startswith("Nearest: densenet264d, densenet")
    assert "`kernelviz kernels densenet" in words[2]
    assert "densenet264d" not in words[2]


def test_an_architecture_that_timm_has_no_weights_for(run):
    """It is said that there are none at all, not only none here."""
    import timm
    from timm.models import get_arch_pretrained_cfgs

    without = next(
        name
        for name in timm.list_models()
        if not any(cfg.has_weights for cfg in get_arch_pretrained_cfgs(name).values())
    )
    check_refusal(run, ["kernels", without], 4, "no-weights", [f"timm has no weights for {without}.", "random"])


@pytest.mark.parametrize(("pattern", "said"), LAYERS.values(), ids=LAYERS)
def test_a_layer_that_is_not_there(run, pattern, said):
    """Exit code 2 with the nearest names, and what to type for all layers."""
    arguments = ["kernels", "test_resnet", "--weights", "random", "--layer", pattern]
    check_refusal(run, arguments, 2, "unknown-layer", said)


@pytest.mark.parametrize(("name", "said"), FILES.items(), ids=FILES)
def test_a_weights_file_that_cannot_be_read(run, checkpoint, tmp_path, name, said):
    """Exit code 1, the file and what is wrong with it; no code in it runs."""
    bad_files(tmp_path, checkpoint("good.pth"))
    check_refusal(run, ["kernels", "test_resnet", "--weights", name], 1, "bad-weights", said)
    assert not (tmp_path / "ran").exists()


def test_the_weights_of_another_architecture(run, checkpoint):
    """How many tensors match, and examples of each kind of mismatch, in at most ten lines."""
    path = checkpoint("good.pth")
    said = [" tensors match: good.pth", "missing: ", "not of this network: ", "and ", "--weights FILE"]
    check_refusal(run, ["kernels", "test_efficientnet", "--weights", path], 1, "bad-weights", said, most_lines=10)


def test_a_hostile_name_of_a_weights_file(run, checkpoint, tmp_path):
    """A file's name is shown escaped, and makes a safe file name."""
    name = "w\x1b[31m [bold]\n$\\foo$.pth"
    shutil.copy(checkpoint("good.pth"), tmp_path / name)
    result = run("kernels", "test_resnet", "--weights", tmp_path / name)
    assert result.code == 0
    assert "weights of w\\x1b[31m [bold]\\n$\\\\foo$.pth" in result.err
    (path,) = result.paths
    assert path.name == "test_resnet.w_31m_bold_foo_-conv1.0-kernels-rgb.png"


def test_a_traceback_is_for_those_who_ask(draw):
    """--debug shows where an error was raised; without it no line of code is shown."""
    assert "Traceback" not in draw("-l", "nosuch").err
    told = draw("-l", "nosuch", "--debug")
    assert "Traceback (most recent call last):" in told.err
    assert told.complaint == draw("-l", "nosuch").complaint


@pytest.mark.parametrize("kind", ["file", "other picture", "directory", "link"])
@pytest.mark.parametrize("suffix", [".png", ".npz"])
def test_what_is_in_the_way_stays(draw, tmp_path, kind, suffix):
    """Anything but this picture's earlier run is exit code 1 and stays byte for byte; nothing else is written."""
    stem = "test_resnet.random-conv1.0-kernels-rgb"
    there = tmp_path / "kernelviz-out" / f"{stem}{suffix}"
    if kind == "other picture":
        other = draw("--view", "sum", "--arrays").paths
        other[suffix == ".npz"].rename(there)
        other[suffix == ".png"].unlink()
    else:
        there.parent.mkdir()
        (tmp_path / "target").write_bytes(b"mine")
        {
            "file": lambda: there.write_bytes(b"mine"),
            "directory": there.mkdir,
            "link": lambda: there.symlink_to(tmp_path / "target"),
        }[kind]()
    before = None if there.is_dir() else there.read_bytes()
    result = draw("--arrays")
    assert (result.code, result.out) == (1, "")
    assert result.complaint[0] == f"Error: kernelviz-out/{there.name} is in the way."
    assert [each.name for each in there.parent.iterdir()] == [there.name]
    assert before is None or there.read_bytes() == before
    forced = draw("--arrays", "--force")
    assert forced.code == (1 if kind == "directory" else 0)
    if kind == "link":
        assert (tmp_path / "target").read_bytes() == b"mine"


def test_several_layers_are_checked_before_any_is_drawn(draw, tmp_path):
    """Something in the way of the last picture is found before the first is written."""
    directory = tmp_path / "kernelviz-out"
    directory.mkdir()
    (directory / "test_resnet.random-conv1.6-kernels-sum.png").write_bytes(b"mine")
    assert draw("-l", "conv1").code == 1
    assert len(list(directory.iterdir())) == 1


@pytest.mark.parametrize("output", ["taken", "taken/deeper", "/dev/null/x"])
def test_a_place_that_cannot_hold_files(draw, tmp_path, output):
    """A file where a directory should be is exit code 1, and stays."""
    (tmp_path / "taken").write_bytes(b"mine")
    result = draw("-o", output, "--json")
    assert result.code == 1
    assert result.document["errors"][0]["code"] == "write-failed"
    assert len(result.complaint) == 3
    assert (tmp_path / "taken").read_bytes() == b"mine"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write into read-only directories")
def test_a_read_only_directory(draw, tmp_path):
    """Exit code 1, and nothing is left in it."""
    directory = tmp_path / "fixed"
    directory.mkdir(mode=0o500)
    assert draw("-o", "fixed").code == 1
    assert not list(directory.iterdir())


def test_a_full_disk_leaves_whole_files(draw):
    """Wherever the room ends the exit code is 1, files that were there stay, and what is new is whole or absent."""
    words = ["--arrays", "--layer", "layer4.0.conv2", "--view", "channels", "--zoom", "1"]
    assert draw(*words).code == 0
    arrays, picture = sorted(Path("kernelviz-out").iterdir())
    before = {path: path.read_bytes() for path in (picture, arrays)}
    sizes = [len(data) for data in before.values()]
    assert sizes[0] < sizes[1]
    for room in (0, 1, sizes[0] - 1, sizes[1] - 1):
        for directory in ("kernelviz-out", f"new{room}"):
            with file_limit(room):
                result = draw(*words, "--output", directory)
            assert result.code == 1, (room, directory)
            assert "could not be written.\nFile too large.\nNothing was changed." in result.err
        expected = [before[picture]] if room >= sizes[0] else []
        assert [path.read_bytes() for path in Path(f"new{room}").iterdir()] == expected
        assert {path: path.read_bytes() for path in Path("kernelviz-out").iterdir()} == before


def test_what_was_written_before_the_disk_was_full_is_reported(draw, monkeypatch):
    """The picture is whole where its arrays no longer fit: it is among the outputs, and the arrays among the errors."""
    from kernelviz.errors import WriteError
    from kernelviz.files import writing

    def full(*_, **__):
        raise WriteError("x.npz could not be written.", "No space left on device.")

    monkeypatch.setattr(writing, "save_arrays", full)
    document = draw("--arrays", "--json")
    assert document.code == 1
    assert [Path(output["path"]).suffix for output in document.document["outputs"]] == [".png"]
    assert [error["code"] for error in document.document["errors"]] == ["write-failed"]
    assert [path.suffix for path in draw("--arrays").paths] == [".png"]


def test_layers_that_the_view_does_not_fit_are_named_and_the_others_drawn(draw):
    """Several layers, some of which cannot be drawn: exit code 3, each of those named, the others made."""
    result = draw("-l", "*", "--view", "rgb", "--json")
    assert result.code == 3
    document = result.document
    assert [output["layer"] for output in document["outputs"]] == ["conv1.0"]
    assert len(document["errors"]) == 14
    assert {error["code"] for error in document["errors"]} == {"usage"}
    for error in document["errors"]:
        assert f"{error['input']}: The view rgb needs three input channels" in result.err
        assert error["hint"].startswith("--view channels")
    assert Path(document["outputs"][0]["path"]).is_file()


def test_when_no_layer_can_be_drawn_the_command_failed(draw):
    """Exit code 3 is for some of several; with nothing made it is 1."""
    result = draw("-l", "layer1.*", "--view", "rgb", "--json")
    assert result.code == 1
    assert result.document["outputs"] == []
    assert len(result.document["errors"]) == 2


OFFLINE = """
import runpy, socket, sys
def refuse(*_, **__):
    raise SystemExit("a connection was tried")
socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
sys.argv = ["kernelviz", "kernels", "resnet18d"]
runpy.run_module("kernelviz", run_name="__main__")
"""


def test_nothing_is_asked_of_the_network(run, monkeypatch):
    """Offline, weights that are not here end with exit code 4, without a single connection."""

    def refuse(*_, **__):
        raise AssertionError("a connection was tried")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    result = run("kernels", "resnet18d")
    assert result.code == 4, result.err
    assert "resnet18d.ra2_in1k is not in the cache, and HF_HUB_OFFLINE forbids" in result.complaint[0]


@pytest.mark.slow
def test_nothing_is_asked_of_the_network_while_modules_are_imported(fresh):
    """A process of its own ends in the same way: no import makes a connection either."""
    result = fresh("-W", "error", "-c", OFFLINE)
    assert result.code == 4, result.err
    assert "resnet18d.ra2_in1k is not in the cache, and HF_HUB_OFFLINE forbids" in result.complaint[0]

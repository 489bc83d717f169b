"""Whatever a user types ends as documented: generated arguments of every command, with files of every kind."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import os
import socket
from enum import Enum
from pathlib import Path
from typing import get_args

import matplotlib as mpl
import numpy as np
import pytest
import torch
import typer.main
from hostile_checkpoints import FIRST, checkpoints, save
from hostile_environment import COMMANDS as FULL_COMMANDS
from hostile_environment import environments, make_places, run_in
from hostile_files import KINDS, PLACES, remove
from huggingface_hub import constants
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from restraints import bounds, permissions_that_bind

from kernelviz.cli.main import _app, main

CODES = {0, 1, 2, 3, 4}
EXAMPLES = int(os.environ.get("KERNELVIZ_FUZZ", "1000"))
TEXTS = [
    "", " ", "nosuch", "-1", "0", "1", "3", "3x5", "0x0", "1,0,1,0", "2,2", "9999999999999999999999", "1e309",
    "nan", "-inf", "'", '"', "a" * 300, "é" * 200, "\n", "\x1b[31m", "[/bold]", "$\\foo$", "模型", "..", "/",
    "/dev/null", "/proc/self/mem", "~", "stage:0", "stage:-1", "stage:99", "stage:x", "*", "[", "layer1",
    "layer*", "conv1.0", "conv1.0#2", "conv1.0:0", "fc", "tile", "layer", "-1,1", "1,-1", "0-15,40", "0-3",
    "0-99999999", "3-1", "viridis", "sobel-x", "sobel-x@5", "box@99999999999", "laplacian,gabor", "1 2; 3 4",
    "1 2; 3", "1|2", "same", "valid", "repeat", "-5;", "resnet18d.x", "test_resnet:conv1.0:0",
    "test_resnet:conv1.0:999", "a:b:c", "hf-hub:", "hf-hub:a/b@c", "local-dir:", "local-dir:folder",
    "photo.png", "bad.png", "empty.png", "folder", "missing.png", "numbers.csv", "holes.csv", "pipe", "socket",
    "secret", "weights.pth", "sample:grace_hopper", "sample:nosuch",
]  # fmt: skip
"""Plausible and hostile words; everything that takes text gets all of them."""

NUMBERS = [1, 1, 2, 2, 3, 3, 4, -1, 0, 7, 16, 100, 10**6, 10**12, 2**63, 10**30]
DIRECTORIES = ["out", "out/deeper", "photo.png", "x.png", "a" * 300, "pipe", "é模"]
SIZES = ["32", "64,32", "0", "-1", "1000000", "99999999999", "x", "32,", "1"]
QUICK = {
    "weights": ["random"],
    "seed": [0, 1],
    "output": DIRECTORIES,
    "input_size": SIZES,
    "threads": [1, 2],
    "workers": [10_000],
    "ray": ["nobody"],
}
"""Options whose values are chosen so that a run stays fast, or inside the working directory."""

_TWO = ["random", "random", "auto", "bundled", "r160_in1k", "weights.pth", "folder", "nosuch"]
PLAUSIBLE = {
    "a": _TWO,
    "b": _TWO,
    "image": ["photo.png"], "images": ["photo.png"], "pattern": ["*lite0", "test_*", "resnet18"],
    "layer": ["conv1.0", "layer1", "layer*.conv1", "stage:0", "*"], "channels": ["0-3", "0", "2,1"],
    "scale": ["tile", "layer", "-1,1"], "cmap": ["viridis"], "kernel": ["3", "2x3", "sobel-x", "laplacian"],
    "kernel_values": ["1 2; 3 4", "numbers.csv", "0 1 0; 1 -4 1; 0 1 0"], "from_model": ["test_resnet:conv1.0:0"],
    "border": ["mirror", "zero"], "at": ["0,0", "1,2"], "input_": ["6", "5x7", "1 2 3; 4 5 6; 7 8 9", "numbers.csv"],
    "stride": ["1", "2", "1x2"], "padding": ["1", "same", "0,1,0,1"], "dilation": ["1", "2"], "bias": ["1"],
    "output_padding": ["0", "1"], "adaptive": ["2", "2x3"],
    "line": ["Conv2D(4, 3, input_shape=(9, 9, 1))", "nn.Conv2d(3, 8, 3, 2, 1)", "MaxPooling2D(2)", "Conv2D(n)"],
}  # fmt: skip
"""Values that a parameter takes, so that half of the lines come as far as drawing."""

MODELS = ["test_resnet"] * 20 + ["test_vit", "nosuch", "", "resnet18d.nosuch", "local-dir:folder", "hf-hub:a/b"]


def commands():
    """Each command by the words that call it, with its parameters."""
    group = typer.main.get_command(_app()).commands
    for name, command in group.items():
        for inner, leaf in getattr(command, "commands", {"": command}).items():
            yield f"{name} {inner}".strip(), leaf


COMMANDS = dict(commands())


def values_of(parameter):
    """A strategy for the words that a parameter may be given as."""
    if parameter.name == "model":
        return st.sampled_from(MODELS)
    if parameter.name in QUICK:
        return st.sampled_from(QUICK[parameter.name]).map(str)
    kinds = {getattr(parameter.type_descriptor, "annotation", None)}
    kinds |= {inner for kind in kinds for inner in get_args(kind)}
    enums = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Enum)]
    if enums:
        return st.sampled_from([*map(str, enums[0]), "nosuch", ""])
    if kinds & {int, float}:
        return st.sampled_from(NUMBERS).map(str) | st.sampled_from(["x", "", "nan", "1.5"])
    hostile = st.sampled_from(TEXTS) | st.text(max_size=12)
    plausible = PLAUSIBLE.get(parameter.name)
    if plausible is None:
        return hostile
    return st.integers(0, 5).flatmap(lambda dice: st.sampled_from(plausible) if dice else hostile)


@st.composite
def lines(draw, name):
    """A command line: all arguments, some options."""
    words = name.split()
    options = [parameter for parameter in COMMANDS[name].params if parameter.opts[0].startswith("-")]
    arguments = [parameter for parameter in COMMANDS[name].params if not parameter.opts[0].startswith("-")]
    chosen = draw(st.lists(st.sampled_from(options), max_size=6, unique_by=lambda each: each.name))
    if "weights" in {each.name for each in options} and draw(st.integers(0, 9)):
        words += ["--weights", "random"]
        chosen = [each for each in chosen if each.name != "weights"]
    for option in chosen:
        flag = draw(
            st.sampled_from([word for word in (*option.opts, *option.secondary_opts) if word != "--help"] or ["-h"])
        )
        words += [flag] if option.is_flag else [f"{flag}={draw(values_of(option))}" if flag.startswith("--") else flag]
        if not option.is_flag and not flag.startswith("--"):
            words.append(draw(values_of(option)))
    values = [draw(values_of(argument)) for argument in arguments]
    return [*words, "--", *values] if draw(st.booleans()) else [*words, *values]


def make_files():
    """Files of every kind in the working directory."""
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 50, 3)).astype(np.uint8)).save("photo.png")
    Path("bad.png").write_bytes(Path("photo.png").read_bytes()[:100])
    Path("empty.png").touch()
    Path("folder").mkdir()
    Path("folder/config.json").write_text('{"architecture": "test_resnet"}')
    Path("numbers.csv").write_text("1,2\n3,4\n")
    Path("holes.csv").write_text("1,2\n,4\n")
    Path("weights.pth").write_bytes(b"\x80\x04.")
    Path("secret").write_text("x")
    Path("secret").chmod(0)
    os.mkfifo("pipe")
    with socket.socket(socket.AF_UNIX) as server, contextlib.suppress(OSError):
        server.bind("socket")


def finish(words):
    """The exit code, stdout and stderr of a command line in this process."""
    out, err = io.TextIOWrapper(io.BytesIO(), "utf-8", "surrogateescape"), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(words)
    out.flush()
    return code, out.buffer.getvalue().decode("utf-8", "replace"), err.getvalue()


def check(words, before, *, made=("out", "x.png", "é模", "kernelviz-out")):
    """A documented exit code, a line that says what is wrong, no file but the announced ones, nothing unexpected."""
    code, out, err = finish(words)
    check_end(words, code, err)
    if "--json" in words and code != 2:
        json.loads(out)
    if any("--csv" in word for word in words):  # it may make a file or a directory of any name
        for path in Path().iterdir():
            if path.name not in before and path.name not in made:
                remove(path)
    assert {path.name for path in Path().iterdir()} - before <= set(made), words
    return code, err


def check_end(words, code, err):
    """The exit code and what people read."""
    assert code in CODES, (words, err)
    assert "unexpected" not in err, (words, err)
    assert "not enough memory" not in err, (words, err)
    assert "Traceback" not in err or "--debug" in words, (words, err)
    assert "\x1b" not in err, words
    if code:
        assert err.strip(), words
    assert not list(Path().rglob(".kernelviz-*")), words


def many_times(strategy, test, examples, *, seeded):
    """Run a test on many generated values."""

    @settings(
        max_examples=examples, deadline=None, database=None, derandomize=seeded, suppress_health_check=list(HealthCheck)
    )
    @given(strategy)
    def run(value):
        test(value)

    run()


def fuzz(name, directory, examples, *, seeded):
    """Run many generated lines of one command."""
    kept = Path.cwd()
    os.chdir(directory)
    mpl.get_cachedir()
    make_files()
    before = {path.name for path in Path().iterdir()}
    try:
        many_times(lines(name), lambda words: check(words, before), examples, seeded=seeded)
    finally:
        os.chdir(kept)


@pytest.mark.sampled
@pytest.mark.parametrize("name", COMMANDS)
def test_a_sample_of_arguments_ends_as_documented(tmp_path, name):
    """The same few lines at every run; fewer of the commands that run a network."""
    fuzz(
        name,
        tmp_path,
        6 if name in ("compare", "expand", "features", "field", "kernels", "match", "report", "shift") else 12,
        seeded=True,
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_any_arguments_end_as_documented(tmp_path, name):
    """New lines at every run; ``KERNELVIZ_FUZZ`` is their number."""
    fuzz(name, tmp_path, EXAMPLES, seeded=False)


def try_checkpoint(checkpoint):
    """A checkpoint is drawn with its values as float32, or rejected in a message that names it."""
    content, saved, cut, must = checkpoint
    name = "w.safetensors" if saved in ("safetensors", "header") else "w.pth"
    for path in ("out", "w.pth", "w.safetensors"):
        remove(path)
    if not save(name, content, saved, cut):
        return
    words = f"kernels test_resnet --weights {name} --style bare --arrays -l conv1.0 -o out".split()
    code, err = check(words, {name})
    assert code in ((0,) if must else (0, 1)), err
    if code:
        assert name in err
        assert len(err.splitlines()) <= 10
    elif must:
        state = content.get("state_dict", content)
        values = state[FIRST if FIRST in state else f"module.{FIRST}"].float().movedim(1, -1)
        with np.load(next(Path("out").glob("*.npz"))) as arrays:
            np.testing.assert_array_equal(arrays["conv1.0"], values)


def test_a_sample_of_checkpoints_ends_as_documented():
    """The same few dozen checkpoints at every run."""
    many_times(checkpoints(), try_checkpoint, 25, seeded=True)


@pytest.mark.slow
def test_any_checkpoint_ends_as_documented():
    """New checkpoints at every run."""
    many_times(checkpoints(), try_checkpoint, EXAMPLES, seeded=False)


@pytest.fixture
def caches(tmp_path, monkeypatch):
    """A directory for each example, in which the caches of kernelviz, the hub and torch are."""
    directory = tmp_path / "here"
    monkeypatch.setenv("XDG_CACHE_HOME", str(directory / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(directory / "hub"))
    kept = torch.hub.get_dir()
    torch.hub.set_dir(str(directory / "torch/hub"))
    yield directory
    torch.hub.set_dir(kept)
    remove(directory)


def try_file(directory, place, kind):
    """A file of some kind in some place is used or rejected, soon and without filling the memory."""
    target, prepare, line = PLACES[place]
    os.chdir(directory.parent)
    remove(directory)
    directory.mkdir()
    os.chdir(directory)
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 50, 3)).astype(np.uint8)).save("photo.png")
    prepare()
    KINDS[kind](Path(target))
    before = {path.name for path in Path().iterdir()}
    with permissions_that_bind(), bounds():
        check(line.split(), before, made=("out", "cache"))


PAIRS = list(itertools.product(PLACES, KINDS))
NEEDS_POSIX = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no such files here")


@NEEDS_POSIX
def test_a_sample_of_files_of_every_kind_ends_as_documented(caches):
    """The same few dozen kinds and places at every run."""
    many_times(st.sampled_from(PAIRS), lambda pair: try_file(caches, *pair), 25, seeded=True)


@NEEDS_POSIX
@pytest.mark.slow
@pytest.mark.parametrize("place", PLACES)
def test_files_of_every_kind_end_as_documented_in_every_place(caches, place):
    """All of them."""
    for kind in KINDS:
        try_file(caches, place, kind)


def try_environment(directory, case):
    """A command in a process with these variables ends as documented."""
    environment, line = case
    os.chdir(directory.parent)
    for name in ("here", "home"):
        remove(directory.parent / name)
        (directory.parent / name).mkdir()
    os.chdir(directory)
    make_places()
    code, _, err = run_in(environment, line.split(), home=directory.parent / "home")
    check_end(line, code, err)


CASES = st.tuples(environments(), st.sampled_from(FULL_COMMANDS))


@NEEDS_POSIX
def test_a_sample_of_environments_ends_as_documented(tmp_path):
    """The same few environments at every run."""
    many_times(CASES, lambda case: try_environment(tmp_path / "here", case), 2, seeded=True)


@NEEDS_POSIX
@pytest.mark.slow
def test_any_environment_ends_as_documented(tmp_path):
    """New environments at every run; each takes seconds, so there are fewer of them."""
    many_times(CASES, lambda case: try_environment(tmp_path / "here", case), max(1, EXAMPLES // 20), seeded=False)

"""A ``config.json`` of a directory may contain anything: each command that reads one ends as documented."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from kernelviz.cli.main import main

CODES = {0, 1, 2, 3, 4}
MOST_MEMORY = 1500 * 2**20
"""Bytes that the process may have allocated at its peak beyond what it had before."""

ODD = [
    None, True, 0, 1, -1, 2, 3, 1.5, 2**20, 2**31, 10**12, 10**400, -(10**12), 1e308, float("nan"), float("inf"), "", "3",
    "nosuch", "\x1b[31m", "é\udc80", "a" * 5000, [], [[]], [1], [3, 64], [3, 64, 64], [3, 0, 64], [0, 0, 0], [3, 10**9, 64],
    [3, -1, 64], ["3", "64", "64"], [0, 0, 0.0], [float("nan")] * 3, [1e-300] * 3, [1e300] * 3, [0.5], [0.5] * 5, {},
    {"a": 1}, [{}], {"": None}, [None], ["a", 3],
]  # fmt: skip
"""Values that do not fit, for any key."""

ARCHITECTURES = ["test_resnet"] * 8 + ["test_vit", "test_efficientnet", "test_nfnet", "resnet18"]
FACTS = {
    "num_classes": [0, 1, 10, 1000, 10**5, 2**20, 10**9],
    "input_size": [[3, 64, 64], [1, 32, 32], [3, 64, 48], [4, 64, 64]],
    "mean": [[0.5, 0.5, 0.5], [0], [0.5]],
    "std": [[0.5, 0.5, 0.5], [1], [1e-3] * 3],
    "crop_pct": [0.5, 0.95, 1, 1.2, 0.0001, 5],
    "interpolation": ["bicubic", "bilinear", "nearest", "random", "lanczos"],
    "crop_mode": ["center", "squash", "border"],
    "label_names": [["a", "b"], ["x"] * 1000, {"a": "b"}],
    "label_descriptions": [{"a": "An a"}, {"a": 3}],
    "classifier": ["fc", "nosuch", ["fc"]],
    "first_conv": ["conv1.0", "nosuch", ["conv1.0"]],
    "fixed_input_size": [True, False],
    "test_input_size": [[3, 96, 96]],
    "min_input_size": [[3, 96, 96]],
    "pool_size": [[7, 7]],
    "license": ["mit"],
    "tag": ["mine"],
    "url": ["http://localhost:9/x.pth", "/etc/passwd", "file:///etc/passwd"],
    "file": ["/etc/passwd"],
    "hf_hub_id": ["a/b"],
    "custom_load": [True],
    "nosuch": [1],
}
ARGUMENTS = {
    "num_classes": [5, 10**5, 10**9], "in_chans": [1, 3, 4, 0, -1, 10**6, 10**9], "global_pool": ["avg", "", "nosuch"],
    "layers": [[1, 1, 1, 1], [10**6] * 4, [], [0]], "channels": [[8, 8, 8, 8], [10**6] * 4], "img_size": [32, 10**6],
    "depth": [1, 10**6, 2**20], "embed_dim": [16, 10**6], "act_layer": ["relu", "nosuch"], "pretrained": [True],
    "checkpoint_path": ["/etc/passwd"], "features_only": [True], "out_indices": [[0, 1]], "scriptable": [True],
    "drop_rate": [0.1, 5], "output_stride": [8, 3], "stem_width": [4, 10**6], "block": ["nosuch"], "patch_size": [1, 10**6],
    "pretrained_cfg": ["nosuch", {}], "pretrained_cfg_overlay": [{"num_classes": 3}], "cache_dir": ["/nosuch"],
}  # fmt: skip

odd = st.sampled_from(ODD) | st.recursive(
    st.sampled_from(ODD), max_leaves=5,
    extend=lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)  # fmt: skip


def objects(keys):
    """A strategy for an object with some of these keys, most with plausible values."""

    def value(key):
        return st.integers(0, 3).flatmap(lambda dice: st.sampled_from(keys[key]) if dice else odd)

    some = st.lists(st.sampled_from(list(keys)), max_size=3, unique=True)
    return some.flatmap(lambda chosen: st.fixed_dictionaries({key: value(key) for key in chosen}))


@st.composite
def contents(draw):
    """The bytes of a ``config.json``."""
    kind = draw(st.integers(0, 11))
    if kind == 11:
        return draw(st.binary(max_size=50))
    config = {"architecture": draw(st.sampled_from(ARCHITECTURES) if draw(st.integers(0, 9)) else odd)}
    facts = draw(objects(FACTS) if draw(st.integers(0, 9)) else odd)
    if kind == 10:
        config = draw(odd)
    elif kind > 7 and isinstance(facts, dict):
        config |= facts
    else:
        config["pretrained_cfg"] = facts
    if isinstance(config, dict) and draw(st.booleans()):
        config["model_args"] = draw(objects(ARGUMENTS) if draw(st.integers(0, 9)) else odd)
    if isinstance(config, dict) and not draw(st.integers(0, 3)):
        config |= draw(objects({key: FACTS[key] for key in ("num_classes", "label_names", "label_descriptions")}))
    return spoilt(json.dumps(config), draw(st.integers(0, 15)))


def spoilt(text, how):
    """The text as bytes, in most cases as it is."""
    encoded = text.encode("utf-8", "surrogatepass")
    if how == 11:
        return b"\xef\xbb\xbf" + encoded
    if how == 12:
        return text.encode("utf-16", "surrogatepass")
    if how == 13:
        return encoded[:-1]
    if how == 14:
        return encoded[:1] + b'"architecture": "test_vit", ' + encoded[1:]
    if how == 15:
        return encoded + b" " * 10_000_000
    return encoded


COMMANDS = {
    "kernels": ["kernels", "local-dir:d", "--style", "bare"],
    "features": ["features", "local-dir:d", "ok.png", "--style", "bare"],
    "layers": ["layers", "local-dir:d"],
    "match": ["match", "local-dir:d", "--no-gabor"],
}
WEIGHTS = {"right": "test_resnet", "other": "test_vit", "none": "", "damaged": ""}


def peak():
    """The peak of this process's memory since it was reset, in bytes; 0 where the system does not tell."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) * 1024
    return 0


def reset_peak():
    """Let the peak begin anew."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def check(name, config, weights, how):
    """A documented exit code, one line that says what is wrong, bounded memory, no file but the announced ones."""
    shutil.rmtree("d", ignore_errors=True)
    shutil.rmtree("kernelviz-out", ignore_errors=True)
    Path("d").mkdir()
    Path("d/config.json").write_bytes(config)
    if weights != "none":
        shutil.copy(f"{weights}.pth", "d/model.pth")
    words = [*COMMANDS[name], *(how if name != "layers" else [])]
    reset_peak()
    before, memory = set(Path().iterdir()), peak()
    out, err = io.TextIOWrapper(io.BytesIO(), "utf-8", "surrogateescape"), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(words)
    text = err.getvalue()
    context = (words, config[:300], weights, text[-800:])
    assert code in CODES, context
    assert "Something unexpected" not in text, context
    assert "\x1b" not in text, context
    assert "Traceback" not in text, context
    assert code == 0 or any(line.startswith("Error: ") or ": " in line for line in text.splitlines()), context
    assert max(map(len, text.splitlines()), default=0) < 700, context
    assert {path.name for path in set(Path().iterdir()) - before} <= {"kernelviz-out"}, context
    assert peak() - memory < MOST_MEMORY, (peak() - memory, context)
    return code, text


def make_files():
    """An image, and weights of several kinds."""
    pixels = np.random.default_rng(0).integers(0, 255, (40, 50, 3)).astype(np.uint8)
    Image.fromarray(pixels).save("ok.png")
    for name, architecture in WEIGHTS.items():
        if architecture:
            torch.save(timm.create_model(architecture).state_dict(), f"{name}.pth")
    Path("damaged.pth").write_bytes(Path("right.pth").read_bytes()[:1000])


def fuzz(name, directory, examples, *, seeded):
    """Run one command with many generated configurations."""
    kept = Path.cwd()
    os.chdir(directory)
    make_files()

    @settings(
        max_examples=examples, deadline=None, database=None, derandomize=seeded, suppress_health_check=list(HealthCheck)
    )
    @given(contents(), st.sampled_from(list(WEIGHTS)), st.sampled_from([[], ["--weights", "random"]]))
    def run(config, weights, how):
        check(name, config, weights, how)

    try:
        run()
    finally:
        os.chdir(kept)


REFUSALS = {
    "classes": ({"num_classes": 10**9}, {}, "num_classes must be a whole number from 0 to 1,048,576"),
    "no classes": ({"num_classes": -1}, {}, "num_classes must be"),
    "class text": ({"num_classes": "10"}, {}, "num_classes must be"),
    "std": ({"std": [0.1, 0, 0.1]}, {}, "std must be a list of positive numbers"),
    "nan": ({"mean": [float("nan")] * 3}, {}, "mean must be a list of finite numbers"),
    "length": ({"mean": [0.5] * 5}, {}, "mean has 5 numbers"),
    "side": ({"input_size": [3, 10**6, 64]}, {}, "of at most 8192"),
    "rank": ({"input_size": [64, 64]}, {}, "input_size must be three whole numbers"),
    "interpolation": ({"interpolation": "random"}, {}, "interpolation must be one of nearest, bilinear"),
    "crop": ({"crop_pct": 0}, {}, "crop_pct must be a number above 0"),
    "labels": ({"label_names": [1, 2]}, {}, "label_names must be a list of texts"),
    "number": ({}, {"in_chans": 10**9}, "model_args must be an object with numbers of at most 1,048,576"),
    "parameters": ({}, {"channels": [2**20] * 4, "layers": [1] * 4}, "asks for a network of"),
    "modules": ({}, {"layers": [2**20] * 4}, "more than 50,000 modules"),
}


@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=pytest.mark.slow if case == "modules" else ()) for case in REFUSALS]
)
def test_a_value_that_no_model_has_is_refused_before_anything_is_built(run, tmp_path, case):
    """The message names the key and what it must be; no memory for the network is allocated."""
    facts, arguments, text = REFUSALS[case]
    (tmp_path / "d").mkdir()
    config = {"architecture": "test_resnet", "pretrained_cfg": facts, "model_args": arguments}
    (tmp_path / "d/config.json").write_text(json.dumps(config))
    reset_peak()
    before = peak()
    result = run("kernels", "local-dir:d", "--weights", "random")
    assert result.code == 1
    assert text in result.err
    assert peak() - before < 400 * 2**20


@pytest.mark.parametrize("kind", ["missing", "directory", "pipe", "large", "device"])
def test_a_config_that_is_no_plain_file_is_refused(run, tmp_path, kind):
    """Nothing is read from directories, pipes and devices, nor from a file beyond all configurations."""
    (tmp_path / "d").mkdir()
    path = tmp_path / "d/config.json"
    if kind == "directory":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "large":
        with path.open("wb") as file:
            file.truncate(2**40)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    result = run("layers", "local-dir:d")
    assert result.code == 1
    assert result.complaint[0] == "Error: The config.json of d cannot be read."


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", COMMANDS)
def test_a_sample_of_configurations_ends_as_documented(tmp_path, name):
    """The same few configurations at every run."""
    fuzz(name, tmp_path, 20, seeded=True)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", COMMANDS)
def test_any_configuration_ends_as_documented(tmp_path, name):
    """New configurations at every run; ``KERNELVIZ_FUZZ`` is their number."""
    fuzz(name, tmp_path, int(os.environ.get("KERNELVIZ_FUZZ", "1000")), seeded=False)

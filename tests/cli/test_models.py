"""``kernelviz models``: which there are, which are here, and soon enough to be completed in a shell."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import timm
from loopback_hub import COMMIT, pointed_at

from kernelviz.cli.completion import complete_model, index_path, known_models
from kernelviz.cli.main import main

KEYS = ["tag", "licence", "cached", "bundled"]


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A cache directory of the user's that keeps the list of models."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def user(kept, monkeypatch):
    """Whose cache directory that is."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(kept))


def listed(capsys, *words):
    """The document of the command."""
    assert main(["models", "--json", *words]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["schema"], document["command"]) == (1, "models")
    return document["models"]


def test_the_document_has_its_names(capsys):
    """An architecture with its tags, licence, and where its weights are."""
    (model,) = listed(capsys, "resnet18d")
    assert list(model) == ["name", "tags"]
    assert all(list(tag) == KEYS for tag in model["tags"])
    assert model["tags"][0] == {"tag": "ra2_in1k", "licence": "apache-2.0", "cached": False, "bundled": False}


def test_all_names_are_timms(capsys):
    """Without a pattern all architectures, in timm's order; with --pretrained those that have weights, tag by tag."""
    assert [model["name"] for model in listed(capsys)] == timm.list_models()
    trained = listed(capsys, "--pretrained")
    names = {f"{model['name']}.{tag['tag']}" for model in trained for tag in model["tags"] if not tag["bundled"]}
    assert names == set(timm.list_models(pretrained=True))


@pytest.mark.parametrize("pattern", ["resnet*", "*nfnet_f0", "test_*", "resnet50"])
def test_a_pattern_over_architectures(capsys, pattern):
    """What timm finds for it."""
    assert [model["name"] for model in listed(capsys, pattern)] == timm.list_models(pattern)


@pytest.mark.parametrize("pattern", ["*fcmae*", "resnet18.a*", "ra2_in1k"])
def test_a_pattern_over_tags(capsys, pattern):
    """Only the tags that match, be it alone or behind their architecture."""
    found = {f"{model['name']}.{tag['tag']}" for model in listed(capsys, pattern) for tag in model["tags"]}
    wanted = pattern if "*" in pattern else f"*.{pattern}"
    assert found == set(timm.list_models(wanted, pretrained=True))
    assert len(found) > 2


def test_bundled_weights_have_no_tag(capsys):
    """Pip's weights are beside timm's tag, not under it."""
    (model,) = listed(capsys, "tf_efficientnet_lite0")
    assert [(tag["tag"], tag["bundled"]) for tag in model["tags"]] == [("in1k", False), (None, True)]


def test_what_is_cached_is_marked(capsys, tmp_path):
    """A file in the hub's cache shows, another repository's does not."""
    for repo, name in [("resnet18d.ra2_in1k", "model.safetensors"), ("resnet18.a1_in1k", "README.md")]:
        home = tmp_path / f"models--timm--{repo}"
        for path, content in [(home / "refs" / "main", COMMIT), (home / "snapshots" / COMMIT / name, "x")]:
            path.parent.mkdir(parents=True)
            path.write_text(content)
    with pointed_at("http://127.0.0.1:9", tmp_path):
        models = listed(capsys, "resnet18*")
    assert [(m["name"], tag["tag"]) for m in models for tag in m["tags"] if tag["cached"]] == [
        ("resnet18d", "ra2_in1k")
    ]


def test_the_table(capsys):
    """A line for each set of weights on stdout, its columns under the head on stderr."""
    assert main(["models", "tf_efficientnet_lite0"]) == 0
    out, err = capsys.readouterr()
    assert [line.split() for line in out.splitlines()] == [
        ["tf_efficientnet_lite0", "in1k", "apache-2.0", "-", "-"],
        ["tf_efficientnet_lite0", "-", "apache-2.0", "-", "bundled"],
    ]
    assert err.split() == ["architecture", "tag", "licence", "cached", "bundled"]
    assert err.index("licence") == out.splitlines()[0].index("apache")


def test_nothing_matches(capsys):
    """Exit 2 with the nearest names, also as JSON."""
    assert main(["models", "resnet-18d", "--json"]) == 2
    out, err = capsys.readouterr()
    assert "Nearest: resnet18d, " in err
    assert json.loads(out)["errors"][0]["code"] == "unknown-model"
    assert main(["models", "nosuch"]) == 2
    assert capsys.readouterr().err.splitlines() == [
        "Error: No model matches 'nosuch'.",
        "`kernelviz models` lists all of them.",
    ]


def test_letter_case_does_not_count(capsys):
    """Neither for an architecture nor for a tag."""
    assert listed(capsys, "RESNET18") == listed(capsys, "resnet18")
    assert listed(capsys, "ResNet18*.RA*") == listed(capsys, "resnet18*.ra*")


def test_completion():
    """Architectures first, tags behind a dot, nothing for what is unknown."""
    known_models()
    assert {"resnet18", "resnet18d"} <= set(complete_model("resnet1"))
    assert complete_model("resnet18d.") == ["resnet18d.ra2_in1k", "resnet18d.ra4_e3600_r224_in1k"]
    assert complete_model("resnet18d.ra4") == ["resnet18d.ra4_e3600_r224_in1k"]
    assert complete_model("nosuch.") == complete_model("nosuch") == []


def test_completion_never_builds_the_list(tmp_path, monkeypatch):
    """Without a cached list it knows no architecture and imports nothing; ``layers`` caches the list."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("kernelviz.network.model.read_registry", lambda: pytest.fail("timm was asked"))
    assert (complete_model("torchv"), complete_model("resnet1"), complete_model("torchvision:r")) == (
        ["torchvision:"], [], []
    )  # fmt: skip
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert main(["layers", "test_resnet", "-q"]) == 0
    assert "resnet18" in complete_model("resnet1")


@pytest.mark.parametrize("words", [["models", "resnet18*"], []])
def test_the_cached_list_needs_no_torch(words):
    """With the list cached, neither the command nor a shell's completion imports torch or NumPy.

    The garbage collector is off until a command begins, and on while it runs.
    """
    known_models()
    assert index_path().is_file()
    code = (
        "import atexit, gc, sys; from kernelviz.cli.main import run; sys.argv[0] = 'kernelviz'; "
        "heavy = {'torch', 'timm', 'numpy'}; "
        "atexit.register(lambda: print(gc.isenabled(), sorted(heavy & set(sys.modules)), file=sys.stderr)); run()"
    )
    variables = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    if not words:
        variables |= {
            "_KERNELVIZ_COMPLETE": "complete_bash",
            "COMP_WORDS": "kernelviz kernels resnet18",
            "COMP_CWORD": "2",
        }
    done = subprocess.run(
        [sys.executable, "-c", code, *words], env=variables, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[0].split()[0] == "resnet18"
    assert done.stderr.splitlines()[-1] == f"{bool(words)} []"

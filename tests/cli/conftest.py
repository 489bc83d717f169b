"""The command in this process, in processes of its own, and small weights files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from processes import started_processes

import kernelviz
from kernelviz.cli.main import main


def strict_json(text):
    """The one document in a text; NaN and Infinity are refused."""

    def refuse(literal):
        raise ValueError(f"{literal} is not JSON")

    return json.loads(text, parse_constant=refuse)


@dataclass(frozen=True)
class Run:
    """How a command ended and what it said."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The one JSON document on stdout."""
        return strict_json(self.out)

    @property
    def paths(self) -> list[Path]:
        """The paths on stdout, a line each."""
        return [Path(line) for line in self.out.splitlines()]

    @property
    def complaint(self) -> list[str]:
        """The lines of the error, from ``Error:`` on."""
        lines = self.err.splitlines()
        starts = [i for i, line in enumerate(lines) if line.startswith("Error: ")]
        return lines[starts[0] :] if starts else []


@pytest.fixture(autouse=True)
def _somewhere_else(tmp_path, monkeypatch):
    """Every test works in a directory of its own."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def run(capsys):
    """A function that runs the command in this process; pictures go to ``kernelviz-out`` in ``tmp_path``."""

    def finish(*arguments):
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        assert "Traceback" not in err or "--debug" in arguments
        assert "\x1b" not in out + err
        return Run(code, out, err)

    return finish


@pytest.fixture
def draw(run):
    """A function that draws a tiny network with random weights as bare tiles, which is fast."""

    def finish(*arguments, model="test_resnet", weights="random"):
        return run("kernels", model, "--weights", weights, "--style", "bare", *arguments)

    return finish


@pytest.fixture
def start(tmp_path):
    """A function that starts Python in a process of its own, where Ctrl-C means what it means in a terminal."""
    root = str(Path(kernelviz.__file__).parents[1])

    with started_processes() as start_process:

        def begin(*arguments, environment=None, **choices):
            pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | choices
            return start_process(
                [sys.executable, *map(str, arguments)],
                cwd=tmp_path,
                env=os.environ | {"PYTHONPATH": root} | (environment or {}),
                text=True,
                **pipes,
            )

        yield begin


@pytest.fixture
def fresh(start):
    """A function that runs Python in a process of its own to its end."""

    def finish(*arguments, **choices):
        process = start(*arguments, **choices)
        out, err = process.communicate(timeout=120)
        return Run(process.returncode, out or "", err or "")

    return finish


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    """A function that saves the state of a network, changed as asked, and returns the path; each is made once."""
    directory = tmp_path_factory.mktemp("weights")

    def save(name, architecture="test_resnet", change=None, **choices):
        import timm
        import torch

        path = directory / name
        if not path.exists():
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(1)
                state = timm.create_model(architecture, **choices).state_dict()
            if change is not None:
                change(state["conv1.0.weight"])
            path.parent.mkdir(exist_ok=True)
            torch.save(state, path)
        return path

    return save

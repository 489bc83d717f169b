"""What the README tells people to type works as it stands there."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import matplotlib as mpl
import pytest

from kernelviz.cli.main import main

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
PYTHON = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
CONSOLE = [line for block in re.findall(r"```console\n(.*?)```", README, re.DOTALL) for line in block.splitlines()]


@pytest.fixture
def photo(tmp_path, monkeypatch):
    """A directory to work in, with a photograph."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(Path(mpl.get_data_path()) / "sample_data" / "grace_hopper.jpg", tmp_path / "photo.jpg")
    return tmp_path / "photo.jpg"


def test_the_lines_of_python_run(photo):
    """One after the other, as they stand there."""
    assert len(PYTHON) >= 3
    names = {}
    for block in PYTHON:
        exec(block, names)
    assert (photo.parent / "stem.svg").is_file()


@pytest.mark.usefixtures("photo")
@pytest.mark.parametrize("line", CONSOLE)
def test_the_commands_run(line, capsys):
    """Those that are given whole, each with exit code 0."""
    command = shlex.split(line.removeprefix("$ "))
    assert command[0] == "kernelviz"
    assert main(command[1:]) == 0
    assert capsys.readouterr().out

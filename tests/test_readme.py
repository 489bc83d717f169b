"""What the README tells people to type works as it stands there."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import matplotlib as mpl
import pytest

from kernelviz.cli.main import main

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
RECIPES = (ROOT / "examples" / "README.md").read_text(encoding="utf-8")
PAGES = {"README.md": README, "examples/README.md": RECIPES}


def _blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def _lines(text: str) -> list[str]:
    return [line for block in _blocks(text, "console") for line in block.splitlines()]


PYTHON = _blocks(README, "python")
CONSOLE = _lines(README) + [pytest.param(line, marks=pytest.mark.slow) for line in _lines(RECIPES)]


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


@pytest.mark.slow
@pytest.mark.usefixtures("photo")
def test_the_python_of_the_recipes_runs():
    """One after the other, as they stand there."""
    names = {}
    for block in _blocks(RECIPES, "python"):
        exec(block, names)


def _anchor(heading: str) -> str:
    """The anchor that GitHub gives to a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_to_a_file_or_a_heading(page):
    """A relative link of the README or of the recipes exists, with its heading."""
    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", PAGES[page]) if "://" not in link]
    assert links
    for link in links:
        path, _, heading = link.partition("#")
        target = (ROOT / page).parent / path if path else ROOT / page
        assert target.exists(), link
        if heading:
            headings = re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            assert heading in map(_anchor, headings), link


def test_the_readme_stays_short():
    """The README has fewer than 400 lines, and prose of both pages at most 125 characters a line."""
    assert README.count("\n") < 400
    long = [
        line for text in PAGES.values() for line in text.splitlines() if len(line) > 125 and not line.startswith("|")
    ]
    assert not [line for line in long if "](" not in line]

from __future__ import annotations

import math
import re
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from kernelviz import read_recipe
from kernelviz.errors import RecipeError

ROOT = Path(__file__).parents[1]
# All but those that make no picture alone: a table of every architecture (tests/test_zoo.py), and a page.
SCRIPTS = sorted(path for path in (ROOT / "examples").glob("*.py") if path.name not in {"zoo.py", "report.py"})
PICTURES = ROOT / "examples" / "pictures"


LONG = {
    "checkpoint",
    "compare",
    "detector",
    "expand",
    "field",
    "layer",
    "match",
    "shift",
    "sixteen_bits",
    "training",
}  # each takes seconds
EACH = [pytest.param(path, id=path.stem, marks=pytest.mark.slow if path.stem in LONG else ()) for path in SCRIPTS]


def draw(script, directory):
    """Run an example; its pictures go to the directory."""
    arguments = sys.argv
    sys.argv = [str(script), str(directory)]
    try:
        with torch.random.fork_rng(devices=[]):
            runpy.run_path(str(script), run_name="__main__")
    finally:
        sys.argv = arguments


def pixels(path):
    """The picture as RGB numbers."""
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"), dtype=np.float64)


def what_was_drawn(path):
    """The recipe without the versions of what drew it; None where the picture has none."""
    try:
        recipe = read_recipe(path)
    except RecipeError:
        return None
    return {key: value for key, value in recipe.items() if key not in {"kernelviz", "environment"}}


TRAINED = {"training.png", "training.webp"}
"""Pictures of a training that another machine repeats in its numbers alone: not in their last bits, nor in their files."""


def trained_numbers(path):
    """The numbers in the recipe of such a picture."""
    return {key: read_recipe(path)[key] for key in ("limits", "norms", "cosines", "shape", "steps", "columns")}


def near(one, other):
    """Whether numbers, and lists and mappings of them, differ by at most 1e-3."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(near(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(near, one, other))
    return abs(one - other) <= 1e-3 if isinstance(one, float) else one == other


def alike(one, other):
    """Whether two recipes are equal, numbers within what another processor or thread count makes of a network."""
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-3, abs_tol=1e-6)
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(alike(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(alike, one, other))
    return one == other


@pytest.mark.parametrize("script", EACH)
def test_the_committed_pictures_are_those_that_the_examples_make(tmp_path, script):
    """What an example draws is in the repository, as the code of today draws it."""
    draw(script, tmp_path)
    names = [path.name for path in tmp_path.iterdir() if path.is_file()]
    assert names
    for name in names:
        if name in TRAINED:
            assert near(trained_numbers(tmp_path / name), trained_numbers(PICTURES / name)), name
            continue
        if not name.endswith(".svg"):
            ours, kept = pixels(tmp_path / name), pixels(PICTURES / name)
            assert ours.shape == kept.shape, name
            assert np.abs(ours - kept).mean() < 1, name
        assert alike(what_was_drawn(tmp_path / name), what_was_drawn(PICTURES / name)), name


@pytest.mark.slow
def test_every_committed_picture_is_made_by_an_example(tmp_path):
    """No picture is left of an example that draws another one today."""
    for script in SCRIPTS:
        draw(script, tmp_path)
    pictures = {path.name for path in PICTURES.iterdir()} - {"report.png", "report-patches.png", "playground.png"}
    assert {path.name for path in tmp_path.iterdir() if path.is_file()} == pictures


@pytest.mark.slow
def test_the_report_of_the_readme_is_made(tmp_path):
    """The example makes a page of at most 8 MB; its picture needs a browser, whose fonts differ between machines."""
    draw(ROOT / "examples" / "report.py", tmp_path)
    assert (tmp_path / "report.html").stat().st_size <= 8 * 10**6


def test_the_readme_shows_pictures_and_files_that_are_there():
    """Every relative link and picture of the README leads to a file."""
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", (ROOT / "README.md").read_text())
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []

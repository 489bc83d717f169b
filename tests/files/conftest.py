"""Small pictures, and fresh processes that have them at hand."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import sample_pictures
from processes import started_processes
from sample_pictures import RECIPE, make_figure, make_mosaic

import kernelviz.files


@pytest.fixture
def recipe():
    """A recipe with everything that is awkward in one format or another."""
    return RECIPE


@pytest.fixture
def mosaic():
    """A mosaic with a palette."""
    return make_mosaic()


@pytest.fixture
def new_mosaic():
    """The function that makes mosaics."""
    return make_mosaic


@pytest.fixture
def new_figure():
    """The function that makes figures."""
    return make_figure


@pytest.fixture
def python(tmp_path):
    """A function that starts fresh Python code; the mosaic and figure of this file are at hand there."""
    paths = [str(Path(kernelviz.files.__file__).parents[2]), str(Path(sample_pictures.__file__).parent)]

    with started_processes() as start_process:

        def start(code, *arguments, **environment):
            return start_process(
                [sys.executable, "-W", "error", "-c", code, *map(str, arguments)],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                cwd=tmp_path,
                env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)} | environment,
            )

        yield start


@pytest.fixture
def run(python):
    """A function that runs fresh Python code to its end and returns what it printed."""

    def finish(code, *arguments, **environment):
        process = python(code, *arguments, **environment)
        out, err = process.communicate(timeout=120)
        assert (process.returncode, err) == (0, "")
        return out

    return finish

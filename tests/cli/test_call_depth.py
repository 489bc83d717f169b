"""Few files and functions lie between a command and its picture, so that a stranger can follow it."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import pytest

import kernelviz
from kernelviz.cli.main import main

ROOT = str(Path(kernelviz.__file__).parent)
MOST_FILES = {
    "kernels tf_efficientnet_lite0 -q": 32,
    "features tf_efficientnet_lite0 sample:grace_hopper -l blocks.1 -q": 48,
    "explain conv --input 6 --stride 2 --padding 1 -o out": 26,
}
DEEPEST = 15


@pytest.mark.parametrize("words", MOST_FILES)
def test_few_files_are_entered_and_few_functions_are_open_while_drawing(words, tmp_path, monkeypatch):
    """The files in which a function is called, in any thread, and the functions of ours on the stack while drawing."""
    monkeypatch.chdir(tmp_path)
    files, depths = set(), [0]

    def entered(frame, event, _):
        name = frame.f_code.co_filename
        if event != "call" or not name.startswith(ROOT) or not frame.f_code.co_flags & 2:  # module and class bodies
            return
        files.add(name)
        if name.startswith(f"{ROOT}/drawing"):
            depth = 0
            while frame is not None:
                depth += frame.f_code.co_filename.startswith(ROOT) and bool(frame.f_code.co_flags & 2)
                frame = frame.f_back
            depths.append(depth)

    before = sys.getprofile()
    threading.setprofile(entered)
    sys.setprofile(entered)
    try:
        assert main(words.split()) == 0
    finally:
        sys.setprofile(before)
        threading.setprofile(None)
    assert len(files) <= MOST_FILES[words], sorted(files)
    assert max(depths) <= DEEPEST or not words.startswith("features")

"""Few files and functions lie between a command and its picture, so that a stranger can follow it."""

from __future__ import annotations

import importlib
import pkgutil
import sys
import threading
from pathlib import Path

import pytest

import kernelviz
from kernelviz.cli.main import main

ROOT = str(Path(kernelviz.__file__).parent)
FEATURES = "features tf_efficientnet_lite0 sample:grace_hopper -l blocks.1 -q"
MOST_FILES = {  # three run the command, load for it and write for it
    "kernels tf_efficientnet_lite0 -q": 41,  # one knows what a URI is, one lets the C library keep memory
    FEATURES: 59,  # eight follow the axes through the forward pass, three know an image, one the workers, one memory
    "report test_resnet sample:grace_hopper --weights random --input-size 64 -q": 64,
    "explain conv --input 6 --stride 2 --padding 1 -o out": 30,
}
DEEPEST = 15


def files_and_depth(words):
    """The files in which a function was called, in any thread, and how many functions were at most open in ``drawing``."""
    for module in pkgutil.walk_packages(kernelviz.__path__, "kernelviz."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)  # what runs when a module is imported depends on what ran before
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
    return files, max(depths)


@pytest.mark.parametrize("words", MOST_FILES)
def test_few_files_are_entered(words, tmp_path, monkeypatch):
    """A run goes through few files of the package."""
    monkeypatch.chdir(tmp_path)
    files, _ = files_and_depth(words)
    assert len(files) <= MOST_FILES[words], sorted(files)


def test_few_functions_are_open_while_a_layer_is_drawn(tmp_path, monkeypatch):
    """For one image and one layer, at most fifteen of our functions are on the stack."""
    monkeypatch.chdir(tmp_path)
    _, depth = files_and_depth(FEATURES)
    assert 0 < depth <= DEEPEST

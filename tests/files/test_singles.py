from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from kernelviz import make_singles, save_singles
from kernelviz.errors import FileInTheWayError, WriteError
from kernelviz.files import singles as module
from kernelviz.files.recipes import read_recipe
from kernelviz.records import FeatureMaps

VALUES = np.random.default_rng(0).normal(size=(150, 5, 7)).astype(np.float32)


def made(values=VALUES, **choices):
    """Pictures of one layer, with a recipe that tells which."""
    singles = make_singles(FeatureMaps(values, layer="one"), **choices)
    return replace(singles, recipe={**singles.recipe, "command": "features"})


def times(folder):
    """When each file was written, and which file it is."""
    return {path.name: (path.stat().st_mtime_ns, path.stat().st_ino) for path in folder.glob("*.png")}


@pytest.mark.parametrize("threads", [1, 3])
def test_every_channel_has_its_file(tmp_path, threads):
    """Pillow reads the levels, the index tells file, channel and limits, each recipe those of its own."""
    singles = made(channels="3-149")
    index = json.loads(save_singles(singles, tmp_path / "new", threads=threads).read_text())
    assert (index["layer"], index["shape"], len(index["files"])) == ("one", [5, 7], 147)
    for number, entry in enumerate(index["files"]):
        with Image.open(tmp_path / "new" / entry["file"]) as picture:
            np.testing.assert_array_equal(np.asarray(picture), singles.levels[number])
        recipe = read_recipe(tmp_path / "new" / entry["file"])
        assert (recipe["channels"], recipe["limits"]) == (str(entry["channel"]), entry["limits"])
        assert entry["limits"] == [-np.abs(VALUES[entry["channel"]]).max(), np.abs(VALUES[entry["channel"]]).max()]
    assert len(list((tmp_path / "new").iterdir())) == 148
    assert read_recipe(tmp_path / "new" / "index.json") == json.loads(json.dumps(dict(singles.recipe)))


def test_what_is_there_already_is_not_written_again(tmp_path):
    """Of the same bytes each file stays; one that is damaged, or looks otherwise, is replaced."""
    folder = tmp_path / "folder"
    save_singles(made(), folder)
    before = times(folder)
    other = VALUES.copy()
    other[7] *= 2
    save_singles(made(other), folder)
    after = times(folder)
    assert [name for name in before if before[name] != after[name]] == ["0007.png"]


@pytest.mark.parametrize("spoil", ["text", "link", "folder"])
def test_what_is_in_the_way_stays(tmp_path, spoil):
    """A file of somebody else, a link to a file of ours, or a folder is refused, whatever its bytes."""
    folder = tmp_path / "folder"
    save_singles(made(), folder)
    path = folder / "0005.png"
    if spoil == "text":
        path.write_text("mine")
    else:
        path.rename(tmp_path / "away.png")
        path.mkdir() if spoil == "folder" else path.symlink_to(tmp_path / "away.png")
    with pytest.raises(FileInTheWayError, match=r"0005\.png"):
        save_singles(made(), folder)
    assert path.is_dir() if spoil == "folder" else path.is_symlink() or path.read_text() == "mine"


def test_a_new_folder_is_there_whole_or_not_at_all(tmp_path, monkeypatch):
    """A disk that is full at the hundredth file leaves no folder and nothing temporary."""
    real = module.write_new

    def full(path, data):
        if path.endswith("0099.png"):
            raise WriteError("full")
        real(path, data)

    monkeypatch.setattr(module, "write_new", full)
    with pytest.raises(WriteError):
        save_singles(made(), tmp_path / "new")
    assert not list(tmp_path.iterdir())

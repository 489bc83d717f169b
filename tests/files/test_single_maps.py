from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from restraints import permissions_that_bind

from kernelviz import make_singles, save_singles
from kernelviz.errors import FileInTheWayError, WriteError
from kernelviz.files import single_maps as module
from kernelviz.files.recipes import read_recipe
from kernelviz.files.single_maps import is_complete
from kernelviz.records import FeatureMaps

VALUES = np.random.default_rng(0).normal(size=(150, 5, 7)).astype(np.float32)


def made(values=VALUES, **choices):
    """Pictures of one layer with a recipe."""
    singles = make_singles(FeatureMaps(values, layer="one"), **choices)
    return replace(singles, recipe={**singles.recipe, "command": "features"})


def times(folder):
    """When each file was written, and which file it is."""
    return {path.name: (path.stat().st_mtime_ns, path.stat().st_ino) for path in folder.glob("*.png")}


@pytest.mark.parametrize("threads", [1, 3])
def test_every_channel_has_its_file(tmp_path, threads):
    """Pillow reads the levels, the index has file, channel and limits, and every file has its own recipe."""
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
    """A foreign file, a link to our file, or a folder is not replaced, even with the same bytes."""
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


@pytest.mark.parametrize("at", ["0000.png", "0099.png", "0149.png"])
def test_a_folder_that_is_there_stays_as_it_is_where_a_run_fails(tmp_path, monkeypatch, at):
    """If any file cannot be written, the earlier run is complete with its index, and no temporary file remains."""
    folder = tmp_path / "folder"
    save_singles(made(scale="tile", zoom=1), folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    real = module.write_new

    def full(path, data):
        if path.endswith(at):
            raise WriteError("full")
        real(path, data)

    monkeypatch.setattr(module, "write_new", full)
    with pytest.raises(WriteError):
        save_singles(made(scale="layer", zoom=3), folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert list(tmp_path.iterdir()) == [folder]


@pytest.mark.parametrize("kill", [0, 1, 80, 149])
def test_no_index_lies_over_files_of_two_runs(tmp_path, monkeypatch, kill):
    """A process that is killed while moving files leaves no index, and the next run repairs the folder."""
    folder = tmp_path / "folder"
    save_singles(made(), folder)
    new = made(scale="layer", zoom=3)
    whole = {path.name: path.read_bytes() for path in save_singles(new, tmp_path / "whole").parent.iterdir()}
    count, real = [0], Path.replace

    def replace_some(path, target):
        count[0] += 1
        if count[0] > kill:
            raise KeyboardInterrupt
        return real(path, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", replace_some)
        with pytest.raises(KeyboardInterrupt):
            save_singles(new, folder)
    assert not (folder / "index.json").exists()
    save_singles(new, folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == whole


def test_files_of_other_channels_go_and_those_of_others_stay(tmp_path):
    """The folder holds what its index lists, and what was never a single map of this layer."""
    folder = tmp_path / "folder"
    save_singles(made(), folder)
    foreign = save_singles(replace(made(), recipe={**made().recipe, "layer": "two"}), tmp_path / "two").parent
    (folder / "0100.png").write_bytes((foreign / "0100.png").read_bytes())
    (folder / "notes.txt").write_text("mine")
    save_singles(made(channels="0-3"), folder)
    kept = {path.name for path in folder.iterdir()}
    assert kept == {"0000.png", "0001.png", "0002.png", "0003.png", "index.json", "0100.png", "notes.txt"}


def test_a_folder_is_complete_with_every_file_that_its_index_lists(tmp_path):
    """A missing file, a link instead of a file, or an invalid index is not complete."""
    index = save_singles(made(channels="0-5"), tmp_path / "folder")
    assert is_complete(index)
    path = index.parent / "0003.png"
    path.rename(tmp_path / "away.png")
    assert not is_complete(index)
    path.symlink_to(tmp_path / "away.png")
    assert not is_complete(index)
    (tmp_path / "index.json").write_text("[]")
    assert not is_complete(tmp_path / "index.json")
    assert not is_complete(tmp_path / "none.json")


def test_a_file_where_the_folder_should_be_is_in_the_way(tmp_path):
    """It stays, with and without force."""
    (tmp_path / "folder").write_text("mine")
    for force in (False, True):
        with pytest.raises(FileInTheWayError):
            save_singles(made(), tmp_path / "folder", force=force)
    assert (tmp_path / "folder").read_text() == "mine"


def test_threads_that_save_the_same_maps_all_succeed(tmp_path):
    """Writers of the same folder at the same time all end well, and the folder is complete."""
    with ThreadPoolExecutor(2) as pool:
        for attempt in range(10):
            folder = tmp_path / str(attempt)
            results = [pool.submit(save_singles, made(), folder) for _ in range(2)]
            assert [result.result() for result in results] == [folder / "index.json"] * 2
            assert module.is_complete(folder / "index.json")


def test_a_link_to_what_may_not_be_examined_is_in_the_way(tmp_path):
    """A link into another user's private folder is an error, not a reason to fail unexpectedly."""
    (tmp_path / "private").mkdir(mode=0)
    (tmp_path / "one").symlink_to("private/one")
    with permissions_that_bind(), pytest.raises(FileInTheWayError):
        save_singles(made(), tmp_path / "one", force=True)
    (tmp_path / "private").chmod(0o700)


@pytest.mark.parametrize("mode", [0, 0o300, 0o500, 0o600])
@pytest.mark.parametrize("force", [False, True])
def test_a_folder_that_may_not_be_used_stays_as_it_is(tmp_path, mode, force):
    """If it may not be listed, entered or written, that is the error, and no file of it changes."""
    index = save_singles(made(channels="0-3"), tmp_path / "folder")
    before = {path.name: path.read_bytes() for path in index.parent.iterdir()}
    index.parent.chmod(mode)
    try:
        with permissions_that_bind(), pytest.raises(WriteError, match="folder could not be written") as raised:
            save_singles(made(channels="0-3", scale="layer", zoom=3), index.parent, force=force)
    finally:
        index.parent.chmod(0o700)
    assert raised.value.why == "Permission denied."
    assert "Nothing was changed" in raised.value.hint
    assert {path.name: path.read_bytes() for path in index.parent.iterdir()} == before
    assert list(tmp_path.iterdir()) == [index.parent]

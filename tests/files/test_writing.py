import errno
import os
import signal
import stat
import sys
import time

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from kernelviz.errors import FileInTheWayError, UsageError, WriteError
from kernelviz.files import writing
from kernelviz.files.names import file_stems
from kernelviz.files.recipes import read_recipe
from kernelviz.files.writing import check_target, may_replace, save_arrays, save_picture, write_whole

HOSTILE = ["..", "CON", "a/b", "a:b", "x" * 300, "$\\foo$", "new\nline", "\x1b[1m", "😀", "模型", "Case", "case", "[1]"]
FAILURES = [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt(), SystemExit(1), MemoryError()]
LIMITED = """
import resource, signal, sys
from pathlib import Path
from kernelviz.errors import WriteError
from kernelviz.files.writing import write_whole
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
path, size = Path(sys.argv[1]), 200_000
for limit in (0, 1, 511, 4096, 65_536, size - 1):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    for target in (path, path.with_name("new.png")):
        try:
            write_whole(target, bytes(size), replace=True)
        except WriteError as error:
            print(limit, error.why)
    assert path.read_bytes() == b"before"
    assert [each.name for each in path.parent.iterdir()] == [path.name]
resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
write_whole(path, bytes(size), replace=True)
assert path.read_bytes() == bytes(size)
"""
KILLED = """
import sys
from pathlib import Path
from kernelviz.files.writing import write_whole
path = Path(sys.argv[1])
print("ready", flush=True)
while True:
    for letter in b"ab":
        write_whole(path, bytes([letter]) * 3_000_000, replace=True)
"""


@pytest.fixture
def target(tmp_path):
    """A file that is there already, alone in its directory."""
    path = tmp_path / "out" / "picture.png"
    path.parent.mkdir()
    path.write_bytes(b"before")
    return path


def as_before(target):
    """Whether the file is unchanged and alone in its directory."""
    return target.read_bytes() == b"before" and list(target.parent.iterdir()) == [target]


def raiser(error):
    """A function that raises for all arguments."""

    def fail(*_args, **_kwargs):
        raise error

    return fail


def test_a_file_is_written_whole(tmp_path):
    """The bytes arrive, directories are made, and no temporary file stays."""
    path = tmp_path / "a" / "b" / "x.png"
    write_whole(path, b"data", replace=False)
    assert path.read_bytes() == b"data"
    write_whole(path, b"", replace=True)
    assert path.read_bytes() == b""
    assert list(path.parent.iterdir()) == [path]


def test_permissions_follow_the_umask(tmp_path):
    """A new file may be read by whom the user's umask lets."""
    before = os.umask(0o027)
    try:
        write_whole(tmp_path / "x", b"", replace=False)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == 0o640


def test_short_writes_are_continued(tmp_path, monkeypatch):
    """A system that writes a few bytes at a time receives all of them."""
    write = os.write
    monkeypatch.setattr(writing.os, "write", lambda descriptor, data: write(descriptor, data[:3]))
    write_whole(tmp_path / "x", b"0123456789", replace=False)
    monkeypatch.undo()
    assert (tmp_path / "x").read_bytes() == b"0123456789"


@pytest.mark.parametrize("call", ["open", "write", "fsync", "close", "replace"])
@pytest.mark.parametrize("error", FAILURES, ids=lambda error: type(error).__name__)
def test_a_failure_anywhere_leaves_all_as_before(target, monkeypatch, call, error):
    """If any call fails, in any way, the old file is kept and no other file remains."""
    real = getattr(os, call)

    def fail(*args, **kwargs):
        if call == "close":
            real(*args, **kwargs)
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(writing.os, call, fail)
        with pytest.raises(WriteError if isinstance(error, OSError) else type(error)) as caught:
            write_whole(target, b"after", replace=True)
    assert as_before(target)
    if isinstance(error, OSError):
        assert str(target) in caught.value.what
        assert caught.value.why == "No space left on device."


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
def test_a_disk_that_fills_at_any_byte_leaves_all_as_before(target, run):
    """If the disk is full at any byte, the old file is kept and no other file remains."""
    lines = run(LIMITED, target).splitlines()
    assert len(lines) == 12
    assert {line.partition(" ")[2] for line in lines} == {"File too large."}


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signal")
def test_a_killed_process_leaves_the_old_file_or_the_new_one(tmp_path, python):
    """After SIGKILL the file is absent or whole; only then may a temporary file stay."""
    rng = np.random.default_rng(0)
    path = tmp_path / "out" / "x.png"
    for _ in range(5):
        with python(KILLED, path) as process:
            assert process.stdout.readline() == "ready\n"
            time.sleep(rng.uniform(0, 0.03))
            process.send_signal(signal.SIGKILL)
        if path.exists():
            data = path.read_bytes()
            assert (len(data), len(set(data))) == (3_000_000, 1)


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="permissions do not bind this user")
def test_a_read_only_directory_is_reported(target):
    """In a read-only directory the error has the reason, and nothing is changed."""
    target.parent.chmod(0o500)
    try:
        with pytest.raises(WriteError, match="Permission denied"):
            write_whole(target, b"after", replace=True)
        assert as_before(target)
    finally:
        target.parent.chmod(0o700)


def test_a_read_only_file_system_is_reported(target, monkeypatch):
    """The reason is the message of the system."""
    with monkeypatch.context() as patch:
        patch.setattr(writing.os, "open", raiser(OSError(errno.EROFS, os.strerror(errno.EROFS))))
        with pytest.raises(WriteError, match="Read-only file system"):
            write_whole(target, b"after", replace=True)
    assert as_before(target)


@pytest.mark.parametrize("replace", [False, True])
@pytest.mark.parametrize("name", ["picture.png/x.png", "picture.png/a/x.png", "n" * 300 + ".png", "nul\0byte"])
def test_impossible_paths_are_reported(target, name, replace):
    """A parent that is a file, a name that is too long or no name: a WriteError with the path."""
    with pytest.raises(WriteError) as caught:
        write_whole(target.parent / name, b"after", replace=replace)
    assert str(target.parent) in caught.value.what
    assert caught.value.why
    assert as_before(target)


def test_a_directory_is_never_replaced(tmp_path):
    """A directory in the way stays, with force too."""
    (tmp_path / "x.png").mkdir()
    with pytest.raises(WriteError, match="directory"):
        write_whole(tmp_path / "x.png", b"after", replace=True)
    for force in (False, True):
        with pytest.raises(FileInTheWayError, match="directory"):
            check_target(tmp_path / "x.png", {"command": "kernels"}, force=force)
    assert [each.name for each in tmp_path.iterdir()] == ["x.png"]


@pytest.mark.parametrize("links", [True, False])
def test_nothing_is_replaced_unasked(target, monkeypatch, links):
    """Without ``replace`` a file stays as it is, on file systems without hard links too."""
    if not links:
        monkeypatch.setattr(writing.os, "link", raiser(OSError(errno.EPERM, "Operation not permitted")))
    with pytest.raises(FileInTheWayError) as caught:
        write_whole(target, b"after", replace=False)
    assert "--force" in caught.value.hint
    assert as_before(target)
    write_whole(target.with_name("other"), b"after", replace=False)
    assert sorted(each.name for each in target.parent.iterdir()) == ["other", "picture.png"]


def test_what_comes_in_between_stays(tmp_path, mosaic, monkeypatch):
    """A file that appears after the check is not written over."""
    path = tmp_path / "x.png"

    def check_and_lose(*_args, **_kwargs):
        path.write_bytes(b"somebody else's")

    monkeypatch.setattr(writing, "check_target", check_and_lose)
    with pytest.raises(FileInTheWayError):
        save_picture(mosaic, path)
    assert path.read_bytes() == b"somebody else's"


def test_a_link_is_replaced_itself(tmp_path, mosaic):
    """A link is in the way; with force it is replaced, and what it led to stays."""
    outside = tmp_path / "outside.png"
    save_picture(mosaic, outside)
    data = outside.read_bytes()
    link = tmp_path / "link.png"
    for aim in (outside, tmp_path / "nothing"):
        link.symlink_to(aim)
        assert not may_replace(link, mosaic.recipe)
        with pytest.raises(FileInTheWayError):
            save_picture(mosaic, link)
        save_picture(mosaic, link, force=True)
        assert not link.is_symlink()
        link.unlink()
    assert outside.read_bytes() == data
    assert not (tmp_path / "nothing").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such files")
def test_a_device_is_never_replaced(tmp_path):
    """A pipe or a device is not replaced, even with force."""
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(FileInTheWayError, match="not a regular file"):
        check_target(tmp_path / "pipe.png", {"command": "kernels"}, force=True)


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({}, True),
        ({"scale": "layer", "versions": {"torch": "9"}}, True),
        ({"image": None}, True),
        ({"command": "features"}, False),
        ({"layer": "conv1"}, False),
        ({"view": "norm"}, False),
        ({"image": {"sha256": "1"}}, False),
        ({"model": {"name": "m", "tag": None, "weights": {"sha256": "b"}}}, False),
        ({"model": None}, False),
    ],
)
def test_only_the_same_picture_is_replaced(tmp_path, new_mosaic, change, same):
    """A file is replaced if command, model, weights, layer, view and image agree; absent and None are equal."""
    first = {"command": "kernels", "layer": "a", "view": "sum", "model": {"name": "m", "weights": {"sha256": "a"}}}
    first["model"]["tag"] = None
    path = save_picture(new_mosaic(recipe=first), tmp_path / "x.png")
    before = path.read_bytes()
    second = new_mosaic(rgb=True, recipe=first | change)
    assert may_replace(path, second.recipe) is same
    if same:
        save_picture(second, path)
        assert read_recipe(path) == first | change
    else:
        with pytest.raises(FileInTheWayError):
            save_picture(second, path)
        assert path.read_bytes() == before
        save_picture(second, path, force=True)
        assert path.read_bytes() != before


def test_tuples_and_lists_agree(tmp_path, new_mosaic):
    """A recipe in memory is the same as its JSON in the file."""
    recipe = {"command": "explain", "image": ("a", 1)}
    path = save_picture(new_mosaic(recipe=recipe), tmp_path / "x.png")
    assert may_replace(path, recipe)


def test_strangers_are_not_replaced(tmp_path, mosaic, new_mosaic):
    """A file without a recipe is not replaced, nor is any file by a picture with no or an empty recipe."""
    (tmp_path / "text.png").write_text("text")
    Image.new("L", (2, 2)).save(tmp_path / "plain.png")
    for name in ("text.png", "plain.png"):
        assert not may_replace(tmp_path / name, mosaic.recipe)
    for recipe in (None, {}, {"scale": "tile"}):
        path = save_picture(new_mosaic(recipe=recipe), tmp_path / "none.png", force=True)
        assert not may_replace(path, recipe)
    assert may_replace(tmp_path / "absent.png", None)
    assert may_replace(tmp_path / "text.png" / "below", None)


@pytest.mark.parametrize("name", ["x.png", "x.PNG", "x.svg", "x.pdf"])
def test_the_suffix_determines_the_format(tmp_path, new_figure, recipe, name):
    """The suffix determines the format, the path is returned, and a second run replaces the first."""
    for _ in range(2):
        path = save_picture(new_figure(), str(tmp_path / name))
        assert path == tmp_path / name
        assert read_recipe(path) == recipe
    assert [each.name for each in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", ["x", "x.jpg", "x.", ".png", "kernelviz-out/"])
def test_an_unknown_suffix_is_refused(tmp_path, mosaic, name):
    """The suffixes there are are named, and nothing is written."""
    with pytest.raises(UsageError, match=r"\.png, \.svg, \.pdf"):
        save_picture(mosaic, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_the_format_may_be_given(tmp_path, new_figure, mosaic):
    """A given format overrides the suffix; an unknown one is rejected."""
    assert save_picture(new_figure(), tmp_path / "x.png", format="svg").read_bytes().startswith(b"<?xml")
    assert save_picture(mosaic, tmp_path / "x", format="png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(UsageError, match="jpg"):
        save_picture(mosaic, tmp_path / "y", format="jpg")


def test_a_figure_that_cannot_be_drawn_leaves_the_old_file(target):
    """Everything is encoded before the disk is touched."""
    figure = Figure()
    figure.text(0, 0, "$\\nosuchcommand$")
    with pytest.raises(ValueError, match="nosuchcommand"):
        save_picture(figure, target, force=True)
    assert as_before(target)


def test_arrays_are_saved_like_pictures(tmp_path, recipe):
    """Arrays are replaced by the same run's, and by no other."""
    path = save_arrays({"a": np.arange(3.0)}, tmp_path / "x.npz", recipe=recipe)
    save_arrays({"a": np.arange(4.0)}, path, recipe=recipe)
    with np.load(path, allow_pickle=False) as archive:
        assert archive["a"].tolist() == [0, 1, 2, 3]
    with pytest.raises(FileInTheWayError):
        save_arrays({"a": np.arange(5.0)}, path, recipe=recipe | {"layer": "other"})


def test_hostile_names_stay_inside_and_share_no_file(tmp_path, new_mosaic):
    """Every name is a separate file, directly in its directory."""
    stems = file_stems([(name,) for name in HOSTILE])
    for name, stem in zip(HOSTILE, stems, strict=True):
        save_picture(new_mosaic(recipe={"command": "kernels", "layer": name}), tmp_path / "out" / f"{stem}.png")
    paths = list((tmp_path / "out").iterdir())
    assert {read_recipe(path)["layer"] for path in paths} == set(HOSTILE)
    assert list(tmp_path.iterdir()) == [tmp_path / "out"]

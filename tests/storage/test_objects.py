"""Objects of other file systems: read in ranges, written whole or not at all, errors without secrets."""

from __future__ import annotations

import importlib
import io
from types import SimpleNamespace

import fsspec
import pytest
from file_systems import SECRET, Forgetful, Fragile, emptied

from kernelviz.errors import UsageError
from kernelviz.files.finding import find_images
from kernelviz.reading import open_regular, read_regular
from kernelviz.storage import objects, uris
from kernelviz.storage.objects import check_back_end, delete, kind_of, listed, matching, open_object, put


@pytest.fixture(autouse=True)
def _empty():
    emptied()
    yield
    emptied()


@pytest.fixture
def fragile():
    """The file system that fails."""
    return Fragile()


def test_an_object_is_read_as_a_file(fragile):
    """Any part in any order, two readers beside each other, and only what is needed."""
    data = bytes(range(256)) * 4096
    fragile.pipe("/a/b c%20.bin", data)
    with open_regular("fragile://a/b c%20.bin") as one, open_object("fragile://a/b c%20.bin") as two:
        assert (one.read(8), two.read(4)) == (data[:8], data[:4])
        assert max(size for kind, _, size in fragile.requests if kind == "get") < len(data) / 10
        assert one.seek(-6, io.SEEK_END) == len(data) - 6
        assert (one.read(), one.read(1), two.read()) == (data[-6:], b"", data[4:])
    assert read_regular("fragile://a/b c%20.bin", len(data)) == data
    with pytest.raises(OSError, match="too large"):
        read_regular("fragile://a/b c%20.bin", 9)


def test_what_is_no_object_is_an_error_of_a_file():
    """A missing object and a folder are the errors that files have."""
    put("fragile://a/b.png", b"1", replace=False)
    with pytest.raises(FileNotFoundError):
        open_object("fragile://a/c.png")
    with pytest.raises(IsADirectoryError):
        open_object("fragile://a")
    assert [kind_of(f"fragile://a{end}") for end in ("", "/b.png", "/c.png")] == ["directory", "file", None]


def test_objects_are_listed_by_names_below(fragile):
    """Folders and patterns return URIs that lead back to the objects, with any characters."""
    names = ["x::y.png", "d/ü #1.png", "d/e/100%.png", "d/e/q.txt"]
    for name in names:
        fragile.pipe(f"/a/{name}", b"123")
    assert listed("fragile://a") == dict.fromkeys(names, 3)
    assert sorted(matching("fragile://a/d/*")[0]) == ["fragile://a/d/ü #1.png"]
    assert matching("fragile://a/d/*")[1] == 1
    assert sorted(matching("fragile://?/d/e/*")[0]) == ["fragile://a/d/e/100%.png", "fragile://a/d/e/q.txt"]
    for name in names:
        assert read_regular(f"fragile://a/{name}", 3) == b"123"


QUERY = f"?sig={SECRET}"


def test_no_old_listing_is_taken_for_the_present(monkeypatch):
    """What back ends remember is forgotten: at once if objects are listed or looked for, in time if they are opened."""
    system = Forgetful(sig=SECRET)
    system.pipe_file("/b/a.png", b"1")
    assert listed(f"forgetful://b{QUERY}") == {"a.png": 1}
    system.pipe_file("/b/a.png", b"12")
    system.pipe_file("/b/c.png", b"123")
    assert listed(f"forgetful://b{QUERY}") == {"a.png": 2, "c.png": 3}
    assert len(matching(f"forgetful://b/*{QUERY}")[0]) == 2
    system.pipe_file("/b/d.png", b"1234")
    assert kind_of(f"forgetful://b/d.png{QUERY}") == "file"
    assert listed(f"forgetful://b{QUERY}").keys() == {"a.png", "c.png", "d.png"}
    Forgetful.asked.clear()
    for name, data in {"a": b"12", "c": b"123"}.items():
        assert open_object(f"forgetful://b/{name}.png{QUERY}").read() == data
    assert Forgetful.asked == []  # the sizes are those of the listing
    system.pipe_file("/b/e.png", b"12345")
    assert open_object(f"forgetful://b/e.png{QUERY}").read() == b"12345"
    listed(f"forgetful://b{QUERY}")
    system.pipe_file("/b/a.png", b"longer")
    monkeypatch.setattr(objects, "_REMEMBERED", 0)
    assert open_object(f"forgetful://b/a.png{QUERY}").read() == b"longer"


def test_the_query_of_a_folder_is_that_of_its_images():
    """A folder with a signature is listed, and its images are opened, with it; nothing shows it."""
    system = Forgetful(sig=SECRET)
    for name in ("a.png", "d/b.jpg", "notes.txt", "out/own.png"):
        system.pipe_file(f"/b/{name}", b"123")
    found = find_images([f"forgetful://b{QUERY}"], recursive=True, output="forgetful://b/out")
    assert [uris.plain(image) for image in found.images] == ["forgetful://b/a.png", "forgetful://b/d/b.jpg"]
    assert [read_regular(image, 9) for image in found.images] == [b"123", b"123"]
    assert [note.partition(": ")[2] for note in found.notes] == [
        "1 file left out, below forgetful://b/out", "1 file left out, not images by its suffix"
    ]  # fmt: skip
    by_pattern = find_images([f"forgetful://b/*.png{QUERY}"])
    assert by_pattern.images == found.images[:1]
    assert SECRET not in f"{found}{by_pattern}"
    with pytest.raises(PermissionError):
        read_regular("forgetful://b/a.png", 9)


def test_an_object_is_put_in_one_request(fragile):
    """A new object is created only if there is none; an old one is replaced only if that is wanted; deleting is silent."""
    put("fragile://a/b", b"old", replace=False)
    with pytest.raises(FileExistsError):
        put("fragile://a/b", b"new", replace=False)
    assert fragile.cat_file("/a/b") == b"old"
    put("fragile://a/b", b"new", replace=True)
    assert fragile.cat_file("/a/b") == b"new"
    assert sum(kind == "put" for kind, _, _ in fragile.requests) == 2
    delete("fragile://a/b")
    delete("fragile://a/b")
    assert kind_of("fragile://a/b") is None


@pytest.mark.parametrize("at", [0, 1, 999])
def test_nothing_partial_stays_of_a_new_object(fragile, at, monkeypatch):
    """If writing fails at any byte, nothing of a new object stays; an empty object of somebody else does."""
    monkeypatch.setattr(Fragile, "fails_at", at)
    with pytest.raises(OSError, match="connection reset"):
        put("fragile://a/b", bytes(1000), replace=False)
    assert fragile.store == {}


def test_a_back_end_without_conditions_is_checked_first(fragile, monkeypatch):
    """Where an object cannot be created exclusively, it is looked for, and then put."""

    def pipe_file(system, path, value, **options):
        assert "mode" not in options
        fragile_pipe(system, path, value)

    def refuse(_system, _path, _value, mode="overwrite", **_):
        if mode == "create":
            raise OSError("A header you provided implies functionality that is not implemented")
        fragile_pipe(fragile, _path, _value)

    fragile_pipe = Fragile.pipe_file
    for function in (pipe_file, refuse):
        emptied()
        monkeypatch.setattr(Fragile, "pipe_file", function)
        put("fragile://a/b", b"1", replace=False)
        with pytest.raises(FileExistsError):
            put("fragile://a/b", b"2", replace=False)
        assert fragile.store["/a/b"].getvalue() == b"1"


def test_no_message_holds_a_secret(fragile, monkeypatch):
    """Passwords, signatures and the options of a file system are in no error, which is one line."""
    fragile.pipe("/host/b.png", bytes(100))
    monkeypatch.setattr(Fragile, "fails_at", 10)
    uri = f"fragile://me:{SECRET}@host/b.png"
    for work in (
        lambda: open_object(uri).read(),
        lambda: put(uri + "2", bytes(100), replace=False),
        lambda: (monkeypatch.setattr(Fragile, "is_dead", True), kind_of(uri)),
        lambda: listed(uri),
    ):
        with pytest.raises(OSError, match="connection reset") as caught:
            work()
        assert SECRET not in str(caught.value)
        assert "connection reset and more" in str(caught.value)
        assert caught.value.__suppress_context__
        assert caught.value.__cause__ is None


def test_a_server_that_does_not_answer_is_no_missing_file(monkeypatch):
    """Where a back end reports each failure as a missing file, its cause is reported, unless it is that."""

    class RefusedError(Exception):
        status = 403

    class AbsentError(Exception):
        status = 404

    for cause, kind in {
        RefusedError("Forbidden"): OSError, OSError(111, "Refused"): OSError, AbsentError(): FileNotFoundError,
        KeyError("x"): FileNotFoundError, None: FileNotFoundError,
    }.items():  # fmt: skip

        def info(*_, cause=cause, **__):
            raise FileNotFoundError("https://host/x") from cause

        monkeypatch.setattr(Fragile, "info", info)
        with pytest.raises(kind) as caught:
            open_object("fragile://x")
        assert isinstance(caught.value, FileNotFoundError) == (kind is FileNotFoundError)


def test_an_object_that_ends_early_is_an_error(fragile, monkeypatch):
    """Fewer bytes than were promised are never taken for the whole; a server without ranges is served from the whole."""
    data = bytes(range(250))
    fragile.pipe("/a", data)
    monkeypatch.setattr(Fragile, "cat_file", lambda *_, **__: data[:100])
    with pytest.raises(OSError, match="ended after 100 of 250 bytes"):
        open_object("fragile://a").read()
    monkeypatch.setattr(Fragile, "cat_file", lambda *_, **__: data)
    with open_object("fragile://a") as file:
        file.seek(200)
        assert file.raw.readinto(part := bytearray(10)) == 10
        monkeypatch.undo()
        fragile.requests.clear()
        assert file.raw.readall() == data[210:]
        assert not fragile.requests  # it is sent once
    assert part == data[200:210]


def test_an_object_of_unknown_size_is_read(fragile, monkeypatch):
    """A server that states no size is read to the end."""
    fragile.pipe("/a", b"123")
    monkeypatch.setattr(Fragile, "info", lambda *_, **__: {"type": "file", "size": None})
    with open_object("fragile://a") as file:
        assert file.read() == b"123"


def test_a_missing_back_end_is_named(monkeypatch):
    """An unknown file system, and one whose package is missing, is one error with what to install."""
    with pytest.raises(UsageError, match="no file system nosuch://"):
        check_back_end("nosuch://a")
    for chain in ("simplecache::s3://me:pw@a", "zip://a.png::s3://me:pw@a/b.zip"):
        for work in (check_back_end, open_object):
            with pytest.raises(UsageError, match="is a chain of file systems") as caught:
                work(chain)
            assert "pw" not in str(caught.value)

    def missing(_):
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec, "get_filesystem_class", missing)
    for scheme, package in {"s3": "s3fs", "gs": "gcsfs", "https": '"fsspec[http]"', "sftp": '"fsspec[sftp]"'}.items():
        with pytest.raises(UsageError) as caught:
            check_back_end(f"{scheme}://a")
        assert caught.value.hint == f"Type `pip install {package}`."


def test_the_hub_sends_no_more_than_is_read(monkeypatch):
    """Each range is a request of its own, so that what the hub's file reads ahead would be lost, and seem no progress."""
    hub = importlib.import_module("huggingface_hub.hf_file_system")
    data, ranges = bytes(range(256)) * 1024, []

    def fetch(_, start, end):
        ranges.append((start, end))
        return data[start:end]

    monkeypatch.setattr(hub.HfFileSystemFile, "_fetch_range", fetch)
    monkeypatch.setattr(
        hub.HfFileSystem, "resolve_path", lambda *_, **__: SimpleNamespace(unresolve=lambda: "me/it/x.pt")
    )
    monkeypatch.setattr(hub.HfFileSystem, "info", lambda *_, **__: {"type": "file", "size": len(data)})
    with open_object("hf://me/it/x.pt") as file:
        assert file.read(1 << 15) + file.read(1 << 16) == data[: 3 << 15]
    assert ranges == [(0, 1 << 15), (1 << 15, 3 << 15)]

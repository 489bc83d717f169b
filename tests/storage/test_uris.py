"""Which texts are URIs, what they are without their credentials, and URIs as paths."""

from __future__ import annotations

import io
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from file_systems import emptied

from kernelviz import capture_many, read_image, save_arrays
from kernelviz.errors import UsageError
from kernelviz.files.finding import find_images
from kernelviz.storage import uris
from kernelviz.storage.objects import put
from kernelviz.storage.uris import (
    Uri,
    as_path,
    check_users,
    complete,
    fixed_part,
    is_uri,
    joined,
    name_in,
    resolved,
    secrets,
    without_credentials,
)


@pytest.fixture(autouse=True)
def _nothing_kept(monkeypatch):
    """No test knows the credentials of another."""
    monkeypatch.setattr(uris, "_users", {})
    monkeypatch.setattr(uris, "_queries", {})


PLAIN = [
    "a.png",
    "C:\\photos\\a.png",
    "C:/photos/a.png",
    "C://a.png",
    "sample:grace_hopper",
    "-",
    "",
    "a:b",
    "s3:/a",
    "://a",
]


@pytest.mark.parametrize("text", PLAIN)
def test_other_paths_stay_as_they_are(text):
    """Without a scheme of two characters and two slashes a text is a path, whatever else is in it."""
    assert not is_uri(text)
    assert resolved(text) == text
    assert without_credentials(text) == text
    assert type(as_path(text)) is type(Path())


@pytest.mark.skipif(os.name == "nt", reason="paths have drives there")
def test_file_uris_are_plain_paths():
    """A file URI is decoded as RFC 8089 states it, byte by byte; one of another machine is refused."""
    names = {"a%20b%25.png": "a b%.png", "a+b?c=d#e.png": "a+b?c=d#e.png", "%E4%BD%A0.png": "你.png", "100%": "100%"}
    for typed, meant in names.items():
        assert resolved(f"file:///tmp/{typed}") == resolved(f"FILE://localhost/tmp/{typed}") == f"/tmp/{meant}"
    assert os.fsencode(resolved("file:///tmp/%ff")) == b"/tmp/\xff"
    assert as_path("file:///tmp/a.png") == Path("/tmp/a.png")
    for text in ("file://server/a.png", "file://a.png", "file://me:s3cret@server/a.png"):
        with pytest.raises(UsageError, match="no file of this machine") as caught:
            resolved(text)
        assert "s3cret" not in str(caught.value)
        assert "s3cret" not in without_credentials(f"-o{text}")


CREDENTIALS = {
    "s3://key:s3cret@bucket/a.png": ("s3://bucket/a.png", "s3cret"),
    "sftp://me:p%40ss@host:22/a b.png": ("sftp://host:22/a b.png", "p@ss"),
    "ftp://me:pa/ss@host/a.png": ("ftp://host/a.png", "pa/ss"),
    "https://host/a.png?X-Amz-Signature=abc123": ("https://host/a.png?query-", "abc123"),
    "https://host/a.png?token5678#x": ("https://host/a.png?query-", "token5678"),
    "https://tok3n@other/a.png": ("https://other/a.png", "tok3n"),
    "https://host/a.png?sig=YWJjMTIz==": ("https://host/a.png?query-", "YWJjMTIz=="),
    "simplecache::s3://key:s3cret@bucket/a.png": ("simplecache::s3://bucket/a.png", "s3cret"),
    "abfs://box/a.png?sig=abc123": ("abfs://box/a.png?query-", "abc123"),
}


@pytest.mark.parametrize("text", CREDENTIALS)
def test_credentials_are_kept_apart(text):
    """A URI is shown without password and query, opened with them, and unchanged if it is resolved again."""
    public, secret = CREDENTIALS[text]
    found = resolved(text)
    assert found.startswith(public)
    assert secret not in found
    assert secret not in f"{as_path(text)} {as_path(text)!r} {as_path(text).name}"
    assert complete(found) == text
    assert resolved(found) == found
    assert secret in secrets()
    assert without_credentials(f"--weights={text}") == f"--weights={found}"
    for before in ("-o", "width=", "--model-arg=width=", "hf-hub:", "local-dir:"):
        assert without_credentials(f"{before}{text}") == f"{before}{found}"


def test_each_address_keeps_its_own_user():
    """Two users of one host: what is typed, and what is below it, is opened with its own; others with the nearest."""
    for typed in ("sftp://one:first@pair/a/x.png", "sftp://two:second@pair/b/", "sftp://three:third@pair/a/c/y.png"):
        assert complete(resolved(typed)) == typed
    users = {
        "a/x.png": "one:first@", "b/d/z.png": "two:second@", "a/c/y.npz": "three:third@", "a/x.npz": "one:first@",
        "b/": "two:second@", "e": "one:first@",
    }  # fmt: skip
    assert [complete(f"sftp://pair/{path}") for path in users] == [f"sftp://{users[path]}pair/{path}" for path in users]
    assert complete("sftp://pai/e") == "sftp://pai/e"
    assert {"first", "second", "third"} <= secrets()


def test_a_pattern_has_its_own_user_for_what_it_finds():
    """Objects that match a pattern are opened with its user, though another one was given for one beside them."""
    for uri in ("s3://me:pass1@bucket/a/x.png", "s3://you:pass2@bucket/a/*.png"):
        resolved(uri)
    assert complete("s3://bucket/a/x.png") == "s3://me:pass1@bucket/a/x.png"
    assert complete("s3://bucket/a/y.png") == "s3://you:pass2@bucket/a/y.png"


@pytest.mark.parametrize("name", ["x.png", "*.png", "*.jpg"])
def test_a_command_line_has_one_user_for_each_uri(name):
    """Different credentials for one URI, or for patterns of one folder, are wrong usage; the message has none of them."""
    first = "x.png" if name == "x.png" else "*.png"
    check_users(["features", f"s3://me:pass1@bucket/{name}", f"s3://me:pass1@bucket/{name}", "s3://bucket/x.png"])
    check_users(["s3://me:pass1@bucket/x.png", "--weights=s3://you:pass2@bucket/y.pt", "https://a/b?sig=1"])
    with pytest.raises(UsageError, match="There are different credentials for s3://bucket/") as caught:
        check_users([f"s3://me:pass1@bucket/{first}", f"--weights=s3://you:pass2@bucket/{name}"])
    assert "pass" not in str(caught.value)


def test_a_query_holds_for_what_is_below_a_folder():
    """The objects of a folder, and those that match a pattern, have the query of what was typed; it is shown nowhere."""
    folder, pattern = resolved("own://host/photos?sig=abc123"), resolved("own://host/photos/*.png?sig=abc123")
    child = joined(folder, "d/a.png")
    assert child.startswith("own://host/photos/d/a.png?query-")
    assert resolved(child) == child
    assert complete(child) == "own://host/photos/d/a.png?sig=abc123"
    assert complete(pattern) == "own://host/photos/*.png?sig=abc123"
    assert complete(joined(fixed_part(pattern), "b.png")) == "own://host/photos/b.png?sig=abc123"
    assert name_in(child) == "a.png"
    assert complete("own://host/photos/a.png?query-00000000") == "own://host/photos/a.png?query-00000000"


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("s3://bucket/a b.png", "s3://bucket/a b.png"),
        ("s3://me:pa55word@bucket/a.png", "s3://bucket/a.png"),
        ("file:///tmp/a.png", "file:///tmp/a.png"),
    ],
)
def test_a_uri_that_was_a_path_is_rejected_with_the_text_to_give(uri, shown, tmp_path, monkeypatch):
    """``pathlib`` leaves out a slash: nothing is looked for, or written, in a folder ``s3:`` that does not exist."""
    monkeypatch.chdir(tmp_path)
    path = Path(uri)
    works = [
        as_path,
        read_image,
        lambda path: save_arrays({"a": np.eye(2)}, path, recipe=None),
        lambda path: find_images([path]),
    ]
    for work in works:
        with pytest.raises(UsageError, match=r"A pathlib\.Path cannot hold") as caught:
            work(path)
        assert caught.value.hint == f'Give the URI as text: "{shown}".'
        assert "pa55word" not in str(caught.value)
    (failed,) = capture_many(torch.nn.Conv2d(3, 1, 1), [path], on_map=lambda _: None)
    assert "cannot hold" in failed.error.what
    assert "pa55word" not in failed.name
    assert not list(tmp_path.iterdir())
    folder = path.parts[0]
    (tmp_path / folder).mkdir()
    assert as_path(path) == path


def test_a_uri_does_what_a_path_does_with_its_object():
    """Reading asks the file system; what needs a disk is an error of its own, in every version of Python."""
    emptied()
    path = as_path("fragile://maps/a.txt")
    assert (path.exists(), path.is_file(), path.is_dir()) == (False, False, False)
    with pytest.raises(FileNotFoundError):
        path.read_bytes()
    put(path, "größer\n".encode(), replace=False)
    assert (path.exists(), path.is_file(), path.parent.exists(), path.parent.is_file()) == (True, True, True, False)
    assert (path.read_bytes(), path.read_text("utf-8")) == ("größer\n".encode(), "größer\n")
    with path.open("rb") as file:
        assert file.read(3) == b"gr\xc3"
    for work in (lambda: path.open("wb"), path.stat, path.unlink, lambda: path.write_bytes(b""), path.parent.mkdir):
        with pytest.raises(io.UnsupportedOperation, match="but got fragile://maps"):
            work()
    assert (path.resolve(), path.absolute(), path.expanduser(), path.is_absolute()) == (path, path, path, True)
    assert path.as_uri() == path.as_posix() == str(path)
    assert path.relative_to("fragile://maps").as_posix() == "a.txt"
    assert path.is_relative_to(path.parent)
    assert not path.is_relative_to("fragile://map")
    with pytest.raises(ValueError, match="is not below"):
        path.relative_to("fragile://other")
    without_disk = {
        "as_posix", "match", "full_match", "with_segments", "is_reserved", "with_stem", "cwd", "home", "from_uri",
        "suffixes", "parser", "drive", "root", "anchor", "parts", "link_to",
    }  # fmt: skip
    assert {name for name in dir(Path) if name[0] != "_"} - vars(Uri).keys() <= without_disk
    emptied()


def test_what_is_no_credential_stays():
    """An account, a revision, a port and a pattern are no credentials; queries that differ remain different."""
    for text in (
        "abfs://box@account.dfs.core.windows.net/a.png", "hf://datasets/me/photos@main/a.png", "sftp://me@host/a.png",
        "github://me:photos@main/a.png", "ftp://[::1]:21/a@b.png", "s3://bucket/a?.png", "s3://bucket/a:b@c.png",
        "memory://a/b%20c.png",
    ):  # fmt: skip
        assert resolved(text) == text
    assert resolved("https://host/a?id=1") != resolved("https://host/a?id=2")
    assert name_in(resolved("https://host/a%20b.png?id=1")) == "a b.png"


def test_a_uri_is_a_path_for_what_is_written():
    """Parts, suffixes and siblings are as those of a path, and no slash is lost."""
    folder = as_path("hdfs:///maps/")
    path = folder / "a b.tar.png"
    assert str(path) == os.fspath(path) == "hdfs:///maps/a b.tar.png"
    assert (path.name, path.stem, path.suffix, str(path.parent)) == ("a b.tar.png", "a b.tar", ".png", "hdfs:///maps")
    assert str(path.with_suffix(".npz")) == "hdfs:///maps/a b.tar.npz"
    assert str(path.with_name("c.gif").parent / "d") == "hdfs:///maps/d"
    assert str(path.parent.parent) == str(path.parent.parent.parent) == "hdfs://"
    assert [str(each) for each in path.parents] == ["hdfs:///maps", "hdfs://"]
    roots = {"memory://": "memory://a", "hdfs:///": "hdfs:///a", "s3://b": "s3://b/a", "s3://b//": "s3://b/a"}
    assert {root: str(as_path(root) / "a") for root in roots} == roots
    assert [fixed_part(f"{root}*.png") for root in ("memory://", "hdfs:///", "s3://b/", "s3://b/c?d/")] == [
        "memory://", "hdfs:///", "s3://b", "s3://b"
    ]  # fmt: skip
    assert folder.joinpath("a b.tar.png") == path
    assert path.parts[-1] == "a b.tar.png"
    assert isinstance(path, Path)
    assert not path.is_dir()
    assert pickle.loads(pickle.dumps(path)) == path == Uri(str(path))
    assert len({path, Uri(str(path)), folder}) == 2
    assert sorted([path, folder]) == [folder, path]

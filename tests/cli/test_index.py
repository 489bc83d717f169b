"""The list of models is kept between runs, and a bad one is as good as none."""

from __future__ import annotations

import json

import pytest

from kernelviz.cli.completion import index_path, kept_index
from kernelviz.network.weights.names import Entry, Registry, WeightsLocation, hub_location

REGISTRY = Registry(
    {
        "net": (
            Entry("a1", "mit", hub_location("org/net.a1")),
            Entry("b", None, WeightsLocation(url="http://there/net-01.pth")),
        ),
        "bare": (Entry(),),
        "none": (),
    },
    {"old": "net.a1"},
)


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A cache directory of the user's."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def kept_registry(version, find_out):
    """The registry, kept as the command keeps it."""
    return kept_index(version, find_out, as_plain=Registry.as_plain, from_plain=Registry.from_plain)


def never():
    """Nobody may ask."""
    raise AssertionError


def test_the_second_time_nobody_is_asked():
    """What was found out comes back whole."""
    assert kept_registry("1.0", lambda: REGISTRY) == REGISTRY
    assert kept_registry("1.0", never) == REGISTRY
    assert [each.name for each in index_path().parent.iterdir()] == ["models.json"]


def test_another_version_replaces_it():
    """There is only ever one list."""
    kept_registry("1.0", lambda: Registry({}, {}))
    assert kept_registry("2.0", lambda: REGISTRY) == REGISTRY
    assert kept_registry("2.0", never) == REGISTRY
    assert len(list(index_path().parent.iterdir())) == 1


def broken(path):
    """Every way in which a file can be no list."""
    good = json.loads(path.read_bytes())
    yield path.read_bytes()[:-50]
    yield b""
    yield b"[" * 100_000
    yield b"\xff\xfe"
    yield b"null"
    yield json.dumps(good | {"content": {"architectures": [1]}}).encode()
    yield json.dumps(good | {"content": {"architectures": {"net": [["a1"]]}, "renamed": {}}}).encode()
    row = ["a", None, 7, "", [], ""]
    yield json.dumps(good | {"content": {"architectures": {"net": [row]}, "renamed": {}}}).encode()
    yield b" " * 5_000_000


def test_a_broken_list_is_none():
    """It is found out anew, and replaced."""
    kept_registry("1.0", lambda: REGISTRY)
    for content in broken(index_path()):
        index_path().write_bytes(content)
        assert kept_registry("1.0", lambda: REGISTRY) == REGISTRY
        assert kept_registry("1.0", never) == REGISTRY


def test_a_list_that_cannot_be_kept(tmp_path):
    """Where there is no room for it, it is found out each time."""
    (tmp_path / "kernelviz").write_text("in the way")
    assert kept_registry("1.0", lambda: REGISTRY) == REGISTRY
    assert (tmp_path / "kernelviz").read_text() == "in the way"

"""The list of all models, kept between runs: finding it out takes seconds, reading it none."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kernelviz.errors import KernelvizError
from kernelviz.files.writing import write_whole
from kernelviz.network.places import Place
from kernelviz.network.registry import Entry, Registry

if TYPE_CHECKING:
    from collections.abc import Callable

_FORMAT = 1
_LARGEST = 4_000_000  # bytes; today's list takes 0.2 MB


def kept_registry(version: str, find_out: Callable[[], Registry]) -> Registry:
    """The list for this version of the library that has the models; found out and kept where it is not there.

    A list of another version, a broken one or one that cannot be kept is as good as none.
    """
    path = index_path()
    registry = _read(path, version)
    if registry is None:
        registry = find_out()
        with contextlib.suppress(KernelvizError):
            write_whole(path, _encoded(registry, version), replace=True)
    return registry


def index_path() -> Path:
    """Where the list is kept: one file in the user's cache directory."""
    home = Path.home()
    default = home / ".cache"
    if sys.platform == "win32":
        default = Path(os.getenv("LOCALAPPDATA") or home / "AppData" / "Local")
    elif sys.platform == "darwin":
        default = home / "Library" / "Caches"
    return Path(os.getenv("XDG_CACHE_HOME") or default) / "kernelviz" / "models.json"


def _read(path: Path, version: str) -> Registry | None:
    try:
        if path.stat().st_size > _LARGEST:
            return None
        content = json.loads(path.read_bytes())
        if (content["format"], content["version"]) != (_FORMAT, version):
            return None
        names = {name: tuple(map(_entry, rows)) for name, rows in content["architectures"].items()}
        return Registry(names, dict(content["renamed"]))
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def _encoded(registry: Registry, version: str) -> bytes:
    content = {
        "format": _FORMAT,
        "version": version,
        "architectures": {name: [_row(entry) for entry in rows] for name, rows in registry.architectures.items()},
        "renamed": dict(registry.renamed),
    }
    return json.dumps(content, separators=(",", ":")).encode()


def _row(entry: Entry) -> list[Any]:
    place = entry.place
    return [entry.tag, entry.licence, place.repo, place.revision, list(place.files), place.url]


def _entry(row: list[Any]) -> Entry:
    tag, licence, repo, revision, files, url = row
    if not all(isinstance(each, str) for each in (tag, licence or "", repo, revision, url, *files)):
        raise ValueError(row)
    return Entry(tag, licence, Place(repo, revision, tuple(files), url))

"""What is remembered between runs: JSON in the user's cache directory, each entry valid while the files behind it are.

An entry is written whole or not at all, and read only if its checksum, its key and all files that it depends on are as
they were; anything else counts as not remembered, and so do an entry of another user and one whose use ended in an error.
Entries beyond ``MOST_BYTES`` are removed, the oldest first. The directory is created for its user alone.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import sys
import tempfile
import time
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from kernelviz.errors import KernelvizError
from kernelviz.reading import open_regular, read_regular

if TYPE_CHECKING:
    from collections.abc import Mapping

_FORMAT = 1
MOST_BYTES = 64_000_000
_LARGEST = 16_000_000  # bytes of one entry; that of a network with 5,000 layers takes 2 MB
_SETTLED = 2_000_000_000  # nanoseconds: a file changed just before it was hashed may change again in the same tick
_SUFFIX = ".json"
_OURS = re.compile(r"[0-9a-f]{32}\.json|\w+\.safetensors|\.kernelviz-[0-9a-f]{16}")
_NO_FILES: Mapping[Path, str | None] = MappingProxyType({})
_used: dict[Path, int] = {}
_doubted: set[Path] = set()


def cache_directory() -> Path | None:
    """The directory of kernelviz in the user's cache directory; None if there is no home directory."""
    home = Path(os.path.expanduser("~"))  # noqa: PTH111  (pathlib raises an error if there is none)
    default = home / ".cache"
    if sys.platform == "win32":
        default = Path(os.getenv("LOCALAPPDATA") or home / "AppData" / "Local")
    elif sys.platform == "darwin":
        default = home / "Library" / "Caches"
    found = Path(os.getenv("XDG_CACHE_HOME") or default) / "kernelviz"
    return found if found.is_absolute() else None


def entries_directory() -> Path | None:
    """The directory of the entries; None if there is no home directory."""
    base = cache_directory()
    return base and base / "networks"


def can_remember() -> bool:
    """Whether the directory of the entries exists, or can be created."""
    directory = entries_directory()
    if directory is None:
        return False
    try:
        _make_own(directory)
    except (OSError, ValueError):
        return False
    return os.access(directory, os.W_OK)


def _make_own(directory: Path) -> None:
    """Create a directory that only its user can read, unless it exists."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    directory.mkdir(mode=0o700, exist_ok=True)


def may_remember() -> bool:
    """Whether the directory of the entries can be written, or created in the first directory above it that exists."""
    directory = entries_directory()
    if directory is None:
        return False
    existing = next((each for each in (directory, *directory.parents) if os.path.lexists(each)), None)
    return existing is not None and existing.is_dir() and _is_writable(existing)


def _is_writable(directory: Path) -> bool:
    """Whether a file can be made in a directory: some file systems refuse it whatever the permissions state."""
    try:
        with tempfile.TemporaryFile(dir=directory):
            return True
    except OSError:
        return False


def entries_size() -> int:
    """The bytes of all entries."""
    return sum(size for _, size, _ in _entries())


def recall(key: Mapping[str, Any]) -> Any | None:
    """What was remembered under this key, as JSON has it; None if nothing is, or it no longer holds."""
    path = _path(key)
    if path is None or path in _doubted or not _is_own(path):
        return None
    try:
        checksum, text = read_regular(path, _LARGEST).split(b"\n", 1)
        if hashlib.sha256(text).hexdigest().encode() != checksum:
            return None
        entry = json.loads(text)
        if entry["format"] != _FORMAT or entry["key"] != _plain(key):
            return None
        renewed = {name: _renewed(Path(name), mark) for name, mark in entry["files"].items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    if any(mark is False for mark in renewed.values()):
        return None
    if renewed != entry["files"]:  # touched, with the same content
        _write(path, {**entry, "files": renewed})
    _used[path] = time.monotonic_ns()
    return entry["content"]


def _is_own(path: Path) -> bool:
    """Whether a file belongs to this user or to root, if there are users."""
    try:
        return not hasattr(os, "geteuid") or path.stat().st_uid in (os.geteuid(), 0)
    except OSError:
        return False


def doubt_used(since: int) -> bool:
    """Count the entries recalled since a time (``time.monotonic_ns``) as not remembered until they are written anew.

    Returns whether there are any.
    """
    found = {path for path, then in _used.items() if then >= since}
    _doubted.update(found)
    return bool(found)


def remember(key: Mapping[str, Any], content: object, files: Mapping[Path, str | None] = _NO_FILES) -> None:
    """Keep ``content`` under this key while the content of these files does not change, and absent ones stay absent.

    ``files`` has the SHA-256 of each file where it is known. If nothing can be written, nothing is kept.
    """
    path = _path(key)
    if path is None:
        return
    try:
        marks = {str(file.absolute()): _mark(file, digest) for file, digest in files.items()}
        entry = {"format": _FORMAT, "key": _plain(key), "files": marks, "content": content}
        _write(path, entry)
        _remove_oldest()
    except (OSError, ValueError):
        return


def _path(key: Mapping[str, Any]) -> Path | None:
    directory = entries_directory()
    name = hashlib.sha256(json.dumps(_plain(key), sort_keys=True).encode()).hexdigest()[:32]
    return directory and directory / f"{name}{_SUFFIX}"


def _plain(key: Mapping[str, Any]) -> Any:
    return json.loads(json.dumps(key))


def _write(path: Path, entry: Mapping[str, Any]) -> None:
    from kernelviz.files.writing import write_whole

    text = json.dumps(entry, separators=(",", ":"), allow_nan=False).encode()
    if len(text) < _LARGEST:
        with contextlib.suppress(KernelvizError, OSError, ValueError):
            _make_own(path.parent)
            write_whole(path, hashlib.sha256(text).hexdigest().encode() + b"\n" + text, replace=True)
            _doubted.discard(path)


def _mark(file: Path, digest: str | None = None) -> dict[str, Any] | None:
    """What identifies the content of a file: its hash and, if that was settled, its state; None for an absent file."""
    now = time.time_ns()
    if not os.path.lexists(file):
        return None
    with open_regular(file) as stream:
        state = _state(os.fstat(stream.fileno()))
        digest = digest or hashlib.file_digest(stream, "sha256").hexdigest()
    return {"sha256": digest, "state": state if state[3] + _SETTLED < now else None}


def _state(status: os.stat_result) -> list[int]:
    return [status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns]


def _renewed(file: Path, mark: dict[str, Any] | None) -> Any:
    """The mark if the file is as it was, with its new state if only that changed; False if its content changed."""
    if mark is None:
        return False if os.path.lexists(file) else None
    if mark["state"] is not None and _state(file.stat()) == mark["state"]:
        return mark
    now = _mark(file)
    return now if now and now["sha256"] == mark["sha256"] else False


def _entries() -> list[tuple[int, int, Path]]:
    """(time of change in nanoseconds, bytes, path) of all files of this module in the directory of the entries."""
    directory, found = entries_directory(), []
    with contextlib.suppress(OSError):
        for each in os.scandir(directory) if directory else ():
            if not _OURS.fullmatch(each.name):
                continue
            with contextlib.suppress(OSError):
                status = each.stat(follow_symlinks=False)
                found.append((status.st_mtime_ns, status.st_size, Path(each.path)))
    return found


def _remove_oldest() -> None:
    entries = sorted(_entries(), key=lambda entry: entry[0])
    excess = sum(size for _, size, _ in entries) - MOST_BYTES
    for _, size, path in entries:
        if excess <= 0:
            return
        with contextlib.suppress(OSError):
            path.unlink()
            excess -= size

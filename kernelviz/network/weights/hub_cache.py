"""The local cache of the hub's client: look up, check and add files; and temporary copies of weights from elsewhere."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from huggingface_hub import constants

from kernelviz.network.weights.endpoint import set_endpoint, shown_endpoint
from kernelviz.reading import open_regular, read_regular

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from kernelviz.network.weights.names import WeightsLocation


_HASH = re.compile(r"[0-9a-f]{64}|[0-9a-f]{40}")
_TORCH_HASH = re.compile(r"-([a-f0-9]{8,64})\.")
_OURS = re.compile(r"[0-9a-f]{16}")
_CHUNK = 1 << 20
_LEAST_PART, _MOST_PART = 1 << 16, 1 << 24  # bytes of one request for weights from elsewhere
LARGEST_FILE = 16 << 30  # bytes; the largest vision checkpoints hold about 6 billion numbers of two bytes
_LONGEST_NOTE = 100  # bytes
_NOTES = ".kernelviz"  # beside snapshots; the hub's client ignores unknown names there
_ATTEMPTS = 100
_STALE = 3600  # seconds without growth after which a download of another process counts as killed


def cache_directory() -> Path:
    """The directory of the hub's client."""
    return Path(constants.HF_HUB_CACHE)


def hub_facts() -> dict[str, Any]:
    """The address of the hub, the cache directories, and whether requests are disabled."""
    return {
        "endpoint": shown_endpoint(set_endpoint(constants.ENDPOINT)),
        "offline": constants.is_offline_mode(),
        "cache": str(cache_directory()),
        "links": str(link_directory()),
    }


@contextlib.contextmanager
def temporary_path() -> Iterator[Path]:
    """The path of a file for a copy of weights; deleted afterwards, even if an abandoned thread writes it."""
    with tempfile.TemporaryDirectory(prefix="kernelviz-", ignore_cleanup_errors=True) as directory:
        yield Path(directory, "weights")


def write_copy(stream: IO[bytes], path: Path, beat: Callable[[int, int], None] | None = None) -> None:
    """Write the rest of a stream into a new file, at most ``LARGEST_FILE`` bytes and one more.

    ``beat`` is called after each part; parts grow with the speed, so that one does not take long.

    Raises:
        OSError: the stream cannot be read, or the copy not be written.
    """
    with path.open("xb") as file:
        left, part, began = LARGEST_FILE + 1, _LEAST_PART, time.monotonic()
        while left and (data := stream.read(min(left, part))):
            file.write(data)
            left -= len(data)
            if beat is not None:
                beat(0, 0)
            took, began = time.monotonic() - began, time.monotonic()
            part = min(2 * part, _MOST_PART) if took < 1 else max(part // 2, _LEAST_PART)


def repository_directory(repo: str) -> Path:
    """The directory of one repository in the cache."""
    return cache_directory() / constants.REPO_ID_SEPARATOR.join(["models", *repo.split("/")])


def revision_file(location: WeightsLocation) -> Path:
    """The file that notes which commit a revision was when it was last requested; commits themselves have none."""
    return repository_directory(location.repo) / "refs" / (location.revision or constants.DEFAULT_REVISION)


def link_directory() -> Path:
    """The directory in which torch and timm keep files from plain links."""
    if hub := sys.modules.get("torch.hub"):
        return Path(hub.get_dir()) / "checkpoints"
    # The same rule, for callers that have not imported torch.
    home = os.getenv("TORCH_HOME") or Path(os.getenv("XDG_CACHE_HOME", "~/.cache")) / "torch"
    expanded = Path(os.path.expanduser(home))  # noqa: PTH111  (pathlib raises an error if there is no home)
    return expanded / "hub" / "checkpoints"


def cached_file(location: WeightsLocation) -> Path | None:
    """The cached file of this location, None if there is none; makes no request."""
    if location.url:
        with contextlib.suppress(OSError):
            path = link_directory() / location.name
            return path if path.is_file() else None
        return None
    return next((found for name in location.files if (found := cached_in_repository(location, name))), None)


def cached_locations(locations: Iterable[WeightsLocation]) -> set[WeightsLocation]:
    """The locations whose file is cached; only repositories in the cache are examined."""
    there = set()
    with contextlib.suppress(OSError):
        there = {each.name for each in cache_directory().iterdir()}
    likely = (
        location
        for location in locations
        if location.url or (location.repo and repository_directory(location.repo).name in there)
    )
    return {location for location in likely if cached_file(location)}


def cached_in_repository(location: WeightsLocation, filename: str) -> Path | None:
    """One file of a repository, None if it is not in the cache or the cache is damaged."""
    try:
        if not repository_directory(location.repo).is_dir():
            return None
        revision = revision_file(location)
        if revision.is_file():
            read_regular(revision, _LONGEST_NOTE)  # the client would read all of it
        from huggingface_hub import try_to_load_from_cache

        found = try_to_load_from_cache(
            location.repo, filename, cache_dir=cache_directory(), revision=location.revision or None
        )
    except (OSError, ValueError):  # the name of a revision may contain any bytes
        return None
    return Path(found) if isinstance(found, str) else None


def checksum_of(path: Path) -> str:
    """The checksum in the name of a cached file, or in a note if there are no symbolic links; else empty."""
    promised = _HASH.fullmatch(path.resolve().name)
    return promised[0] if promised else _noted_checksum(path) or link_checksum(path.name)


def _noted_checksum(path: Path) -> str:
    try:
        repository, snapshots, commit, *name = path.relative_to(cache_directory()).parts
        noted = read_regular(cache_directory() / repository / _NOTES / commit / Path(*name), _LONGEST_NOTE).decode()
    except (ValueError, OSError):
        return ""
    return noted if snapshots == "snapshots" and _HASH.fullmatch(noted) else ""


def link_checksum(filename: str) -> str:
    """The first digits of the SHA-256 in a file's name by torch's convention; empty if there are none."""
    found = _TORCH_HASH.search(filename)
    return found[1] if found else ""


def hasher(checksum: str, size: int | None) -> Any:
    """The hash of this checksum: that of git blobs, which needs the size, for 40 digits, else SHA-256."""
    if len(checksum) != 40 or size is None:
        return hashlib.sha256()
    git = hashlib.sha1(usedforsecurity=False)
    git.update(b"blob %d\0" % size)
    return git


def is_whole(path: Path, checksum: str | None = None) -> bool:
    """Whether a file that is neither empty nor too large matches a checksum, by default that in its name; "" matches all.

    Raises:
        OSError: it cannot be read.
    """
    checksum = checksum_of(path) if checksum is None else checksum
    size = path.stat().st_size
    if not 0 < size <= LARGEST_FILE:
        return False
    counted = hasher(checksum, size)
    with open_regular(path) as stream:
        while chunk := stream.read(_CHUNK):
            counted.update(chunk)
    return str(counted.hexdigest()).startswith(checksum)


class StoreError(Exception):
    """A file could not be written into the cache."""

    def __init__(self, error: OSError) -> None:
        super().__init__(error.strerror)
        self.number, self.reason = error.errno, error.strerror or type(error).__name__


@contextlib.contextmanager
def storing() -> Iterator[None]:
    """Turn every OSError into a StoreError."""
    try:
        yield
    except OSError as error:
        raise StoreError(error) from None


@contextlib.contextmanager
def new_file(directory: Path) -> Iterator[tuple[Path, IO[bytes]]]:
    """An empty file with a unique name; it is deleted afterwards, unless it was renamed.

    Directories created for it are deleted too if they are empty, and so are the files of killed downloads. The writer
    closes the stream: a thread that hangs in a request may still use it afterwards.

    Raises:
        StoreError: the file cannot be created.
    """
    path = directory / f"{secrets.token_hex(8)}.incomplete"
    with _made(directory):
        _remove_stale(directory)
        try:
            with storing():
                stream = _opened(path)
            yield path, stream
        finally:
            with contextlib.suppress(OSError):
                path.unlink()


@contextlib.contextmanager
def _made(directory: Path) -> Iterator[None]:
    """A directory that may be created inside; afterwards, empty directories of a repository are deleted."""
    home = cache_directory()
    exists = os.path.exists  # unlike pathlib's, it takes what may not be examined
    passing = [each for each in (directory, *directory.parents) if home in each.parents or not exists(each)]
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            for each in passing:
                each.rmdir()


def _opened(path: Path) -> IO[bytes]:
    """A new file in a directory that is created if missing, even if other processes keep deleting it while empty."""
    for _ in range(_ATTEMPTS):
        with contextlib.suppress(FileNotFoundError, FileExistsError):
            path.parent.mkdir(parents=True, exist_ok=True)
            return path.open("xb", buffering=0)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("xb", buffering=0)


def _remove_stale(directory: Path) -> None:
    with contextlib.suppress(OSError):
        for each in list(directory.glob("*.incomplete")):
            if _OURS.fullmatch(each.stem) and time.time() - each.stat().st_mtime > _STALE:
                each.unlink()


def put_in_repository(written: Path, location: WeightsLocation, filename: str, *, etag: str, commit: str) -> Path:
    """Add a complete file to the cache; each step is atomic, and the name comes last.

    Without symbolic links the file itself has that name, as in the hub's client, and its checksum is noted.

    Raises:
        StoreError: the cache cannot be written.
    """
    home = repository_directory(location.repo)
    blob, pointer = home / "blobs" / etag, home / "snapshots" / commit / filename
    revision = location.revision or constants.DEFAULT_REVISION
    with contextlib.suppress(OSError):
        if _leads_to(pointer, written) and cached_in_repository(location, filename) == pointer:
            return pointer  # writes nothing, since the cache may be read-only
    with _made(pointer.parent), _made(blob.parent), storing():
        for each in (pointer, blob):
            each.parent.mkdir(parents=True, exist_ok=True)
        temporary = pointer.with_name(f".{secrets.token_hex(8)}")
        try:
            if _linked(temporary, os.path.relpath(blob, pointer.parent)):
                written.replace(blob)
                temporary.replace(pointer)
            else:
                _write_text(home / _NOTES / commit / filename, etag)
                # Other names may link to a blob, so it is kept.
                whole = Path(shutil.copyfile(written, temporary)) if written == blob else written
                whole.replace(pointer)
        finally:
            temporary.unlink(missing_ok=True)
        if revision != commit:
            _write_text(home / "refs" / revision, commit)
    return pointer


def _leads_to(pointer: Path, blob: Path) -> bool:
    """Whether this name in the cache links to the blob already."""
    return pointer.is_symlink() and pointer.exists() and pointer.samefile(blob)


def put_link(written: Path, location: WeightsLocation) -> Path:
    """Rename the file of a link to the name that torch and timm use.

    Raises:
        StoreError: the cache cannot be written.
    """
    with storing():
        return written.replace(link_directory() / location.name)


def _linked(link: Path, target: str) -> bool:
    """Create a symbolic link; False if the system cannot, or the user has disabled them."""
    try:
        if not constants.HF_HUB_DISABLE_SYMLINKS:
            link.symlink_to(target)
    except OSError:
        return False
    return link.is_symlink()


def _write_text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{secrets.token_hex(8)}")
    try:
        temporary.write_text(text, encoding="ascii")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)

"""The hub client's cache on this machine: what is in it, whether it is whole, and how a file gets in."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from huggingface_hub import constants

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from kernelviz.network.places import Place

_HASH = re.compile(r"[0-9a-f]{64}|[0-9a-f]{40}")
_TORCH_HASH = re.compile(r"-([a-f0-9]{8,64})\.")
_CHUNK = 1 << 20


def cache_directory() -> Path:
    """Where the hub's client keeps its files."""
    return Path(constants.HF_HUB_CACHE)


def repository_directory(repo: str) -> Path:
    """The part of the cache that belongs to one repository."""
    return cache_directory() / constants.REPO_ID_SEPARATOR.join(["models", *repo.split("/")])


def link_directory() -> Path:
    """Where torch, and timm with it, keeps files that came from a plain link."""
    if hub := sys.modules.get("torch.hub"):
        return Path(hub.get_dir()) / "checkpoints"
    # The same rule, for whoever only wants to know what is there and does not want to wait for torch.
    home = os.getenv("TORCH_HOME") or Path(os.getenv("XDG_CACHE_HOME", "~/.cache")) / "torch"
    return Path(home).expanduser() / "hub" / "checkpoints"


def cached_file(place: Place) -> Path | None:
    """The file of this place that is on this machine, None where there is none; asks nobody else."""
    if place.url:
        path = link_directory() / place.name
        return path if path.is_file() else None
    return next((found for name in place.files if (found := cached_in_repository(place, name))), None)


def cached_places(places: Iterable[Place]) -> set[Place]:
    """Those of many places whose file is on this machine; looks closely only where there is anything."""
    home = cache_directory()
    there = {each.name for each in home.iterdir()} if home.is_dir() else set()
    likely = (place for place in places if place.url or (place.repo and repository_directory(place.repo).name in there))
    return {place for place in likely if cached_file(place)}


def cached_in_repository(place: Place, filename: str) -> Path | None:
    """One file of a repository, None where it is not in the cache."""
    if not repository_directory(place.repo).is_dir():
        return None
    from huggingface_hub import try_to_load_from_cache

    try:
        found = try_to_load_from_cache(
            place.repo, filename, cache_dir=cache_directory(), revision=place.revision or None
        )
    except OSError:
        return None
    return Path(found) if isinstance(found, str) else None


def checksum_of(path: Path) -> str:
    """The checksum that the name of a cached file promises; empty where it promises none."""
    promised = _HASH.fullmatch(path.resolve().name)
    return promised[0] if promised else link_checksum(path.name)


def link_checksum(filename: str) -> str:
    """The first digits of the SHA-256 that torch's convention puts into a file's name; empty where there are none."""
    found = _TORCH_HASH.search(filename)
    return found[1] if found else ""


def hasher(checksum: str, size: int | None) -> Any:
    """What counts towards this checksum: git's own for 40 digits, which knows the size before, else SHA-256."""
    if len(checksum) != 40 or size is None:
        return hashlib.sha256()
    git = hashlib.sha1(usedforsecurity=False)
    git.update(b"blob %d\0" % size)
    return git


def is_whole(path: Path) -> bool:
    """Whether a cached file is what its name promises; True where it promises nothing."""
    checksum = checksum_of(path)
    counted = hasher(checksum, path.stat().st_size)
    with path.open("rb") as stream:
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
    """What fails in here fails because the cache cannot be written."""
    try:
        yield
    except OSError as error:
        raise StoreError(error) from None


@contextlib.contextmanager
def new_file(directory: Path) -> Iterator[tuple[Path, IO[bytes]]]:
    """An empty file under a name of its own; it is gone afterwards, unless it got another name.

    Whoever writes closes the stream: a thread that hangs in a request may still hold it when nobody waits any more.

    Raises:
        StoreError: it cannot be made.
    """
    path = directory / f"{secrets.token_hex(8)}.incomplete"
    try:
        with storing():
            directory.mkdir(parents=True, exist_ok=True)
            stream = path.open("xb", buffering=0)
        yield path, stream
    finally:
        with contextlib.suppress(OSError):
            path.unlink()


def put_in_repository(written: Path, place: Place, filename: str, *, etag: str, commit: str) -> Path:
    """Let the cache see a file that was written beside its blobs; each step is whole, and the name comes last.

    Raises:
        StoreError: the cache cannot be written.
    """
    home = repository_directory(place.repo)
    blob, pointer = home / "blobs" / etag, home / "snapshots" / commit / filename
    revision = place.revision or constants.DEFAULT_REVISION
    with storing():
        written.replace(blob)
        pointer.parent.mkdir(parents=True, exist_ok=True)
        _point(pointer, blob)
        if revision != commit:
            _write_text(home / "refs" / revision, commit)
    return pointer


def put_link(written: Path, place: Place) -> Path:
    """Give a file that came from a link the name under which torch and timm look for it.

    Raises:
        StoreError: the cache cannot be written.
    """
    with storing():
        return written.replace(link_directory() / place.name)


def _point(pointer: Path, blob: Path) -> None:
    """A link from the snapshot to the blob, or the blob itself where there are no links."""
    temporary = pointer.with_name(f".{secrets.token_hex(8)}")
    if not _linked(temporary, os.path.relpath(blob, pointer.parent)):
        blob.replace(pointer)
        return
    try:
        temporary.replace(pointer)
    finally:
        temporary.unlink(missing_ok=True)


def _linked(link: Path, target: str) -> bool:
    """Whether this system makes links, and the user has not forbidden them."""
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

"""Download one file from the hub or a link with a timeout, into the cache or not at all."""

from __future__ import annotations

import errno
import os
import re
import shutil
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, TypeAlias

from huggingface_hub import constants, get_hf_file_metadata, get_session, hf_hub_url
from huggingface_hub.utils import (  # type: ignore[attr-defined]  # documented there, and imported lazily
    build_hf_headers,
    hf_raise_for_status,
)

from kernelviz.errors import BadWeightsError
from kernelviz.network.weights.checkpoints import read_checkpoint
from kernelviz.network.weights.hub_cache import (
    StoreError,
    cached_file,
    hasher,
    is_whole,
    link_checksum,
    link_directory,
    new_file,
    put_in_repository,
    put_link,
    repository_directory,
    storing,
)
from kernelviz.network.weights.hub_errors import check_endpoint, is_missing, no_weights, offline
from kernelviz.network.weights.request import (
    BadTokenError,
    CutShortError,
    EndlessError,
    NoCheckpointError,
    NoHubError,
    Request,
    UnknownSizeError,
    UnreadableTokenError,
    WrongHashError,
)
from kernelviz.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from kernelviz.network.weights.names import WeightsLocation
    from kernelviz.network.weights.request import Beat, StallTimeout

    Progress: TypeAlias = Callable[[str, int, int], None]


_REDIRECTS = 20
_ETAG = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{0,127}")
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class _Promise:
    """What the server reports about a file before the download."""

    url: str
    size: int | None
    checksum: str
    etag: str = ""
    commit: str = ""


def fetch(
    location: WeightsLocation, stall_timeout: StallTimeout, progress: Progress, *, architecture: str = ""
) -> Path:
    """The file of this location, downloaded unless the same file is in the cache.

    ``architecture`` is for the error message, as in ``Request``.

    Raises:
        NoWeightsError: the file is not available; no partial file is left.
    """
    if location.url:
        return fetch_link(location, stall_timeout, progress)
    requests = [Request(location, filename, stall_timeout.seconds, architecture) for filename in location.files]
    for request in requests[:-1]:
        try:
            return _fetch_from_repository(request, stall_timeout, progress, may_be_missing=True)
        except FileNotFoundError:
            continue
    return _fetch_from_repository(requests[-1], stall_timeout, progress)


def _fetch_from_repository(
    request: Request, stall_timeout: StallTimeout, progress: Progress, *, may_be_missing: bool = False
) -> Path:
    """One file of a repository: request its metadata, download it, and name it in the cache.

    Raises:
        NoWeightsError: the file is not available.
        FileNotFoundError: the repository has no such file, and it ``may_be_missing``.
    """
    location, filename = request.location, request.filename
    _check_online(request)
    progress(f"asking {request.endpoint} for {location.name}", 0, 0)
    try:
        check_endpoint(request)
        promise = stall_timeout.wait_for(lambda _beat: _promised(location, filename, stall_timeout.seconds))
        names = {"etag": promise.etag, "commit": promise.commit}
        if kept := _kept(location, filename, promise):
            return put_in_repository(kept, location, filename, **names)
        with new_file(repository_directory(location.repo) / "blobs") as (written, stream):
            _download(promise, stream, request, stall_timeout, progress)
            return put_in_repository(written, location, filename, **names)
    except Exception as error:  # noqa: BLE001 - the client raises the errors of several libraries
        if may_be_missing and not request.hosts and is_missing(error):
            raise FileNotFoundError(filename) from None
        raise no_weights(error, request) from None


def fetch_link(location: WeightsLocation, stall_timeout: StallTimeout, progress: Progress) -> Path:
    """The file of a link, checked by the hash in its name, in the directory in which torch and timm keep it.

    Raises:
        NoWeightsError: the file is not available.
    """
    request = Request(location, location.name, stall_timeout.seconds)
    kept = cached_file(location)
    if kept and link_checksum(location.name) and is_whole(kept):
        return kept
    _check_online(request)
    progress(f"asking {request.endpoint} for {location.name}", 0, 0)
    try:
        with new_file(link_directory()) as (written, stream):
            promise = _Promise(location.url, None, link_checksum(location.name))
            _download(promise, stream, request, stall_timeout, progress)
            if not promise.checksum:
                _check_readable(written)
            return put_link(written, location)
    except Exception as error:  # noqa: BLE001 - as above
        raise no_weights(error, request) from None


def _check_online(request: Request) -> None:
    if constants.is_offline_mode():
        raise offline(request)


def _promised(location: WeightsLocation, filename: str, seconds: float) -> _Promise:
    """The hub's metadata of a file; runs in a thread."""
    url = hf_hub_url(location.repo, filename, revision=location.revision or None)
    headers = _headers(token=None)
    facts = get_hf_file_metadata(url, timeout=seconds, headers=headers, token=False)
    etag, commit = facts.etag or "", facts.commit_hash or ""
    if not (_ETAG.fullmatch(etag) and _COMMIT.fullmatch(commit)):
        raise NoHubError
    checksum = etag if re.fullmatch(r"[0-9a-f]{64}|[0-9a-f]{40}", etag) else ""
    of_this_commit = hf_hub_url(location.repo, filename, revision=commit)
    return _Promise(of_this_commit, facts.size, checksum, etag, commit)


def _kept(location: WeightsLocation, filename: str, promise: _Promise) -> Path | None:
    """The same file in the cache: as a blob or, without symbolic links, under its own name."""
    home = repository_directory(location.repo)
    for path in (home / "blobs" / promise.etag, home / "snapshots" / promise.commit / filename):
        with suppress(OSError):  # one that cannot be read is downloaded again
            if path.is_file() and promise.size in {None, path.stat().st_size} and is_whole(path, promise.checksum):
                return path
    return None


def _download(
    promise: _Promise, stream: IO[bytes], request: Request, stall_timeout: StallTimeout, progress: Progress
) -> None:
    """Write the whole file into ``stream``, which is closed afterwards.

    Raises:
        CutShortError: the download is truncated.
        WrongHashError: its hash differs.
        StoreError: it cannot be written.
    """

    def show(done: int, total: int) -> None:
        progress(f"downloading {request.location.name}", done, total)

    stall_timeout.wait_for(lambda beat: _receive(promise, stream, request, beat), show)


def _receive(promise: _Promise, stream: IO[bytes], request: Request, beat: Beat) -> None:
    """The download itself; runs in a thread, and ends at the next bytes if it is no longer waited for."""
    with stream, _answer(promise, request) as response:
        hf_raise_for_status(response)
        if "html" in response.headers.get("Content-Type", ""):
            raise NoHubError
        announced = response.headers.get("Content-Length", "")
        total = promise.size or (int(announced) if announced.isdecimal() else 0)
        if not (total or promise.checksum):
            raise UnknownSizeError
        _check_room(stream, total)
        counted, done = hasher(promise.checksum, promise.size), 0
        try:
            for chunk in response.iter_bytes():
                _write(stream, chunk)
                counted.update(chunk)
                done += len(chunk)
                beat(done, total)
        except Exception as error:
            if _ended_early(error, done, total):
                raise CutShortError(done, total) from None
            raise
        if total and done != total:
            raise CutShortError(done, total) if done < total else WrongHashError
        if not counted.hexdigest().startswith(promise.checksum):
            raise WrongHashError
        with storing():
            os.fsync(stream.fileno())


@contextmanager
def _answer(promise: _Promise, request: Request) -> Iterator[Any]:
    """The response with the file; records each redirect, and sends the user's token to the hub only."""
    headers = _headers(token=None if promise.commit else False) | {"Accept-Encoding": "identity"}
    session = get_session()
    step: Any = session.build_request("GET", promise.url, headers=headers, timeout=request.seconds)
    for _ in range(_REDIRECTS):
        request.hosts.append(step.url.host)
        response = session.send(step, stream=True, follow_redirects=False)
        with closing(response):
            if response.next_request is None:
                yield response
                return
        step = response.next_request  # without the token for another server
    raise EndlessError


def _headers(*, token: bool | None) -> dict[str, str]:
    """The headers of a request, with the user's token unless ``token`` is False.

    Raises:
        BadTokenError: the token is not valid in a header; the client would show it in its error.
        UnreadableTokenError: the token file cannot be read.
    """
    try:
        headers = build_hf_headers(token=token, library_name="kernelviz", library_version=__version__)
    except NotADirectoryError:  # the user's directory for the hub is not a directory, so there is no token
        return _headers(token=False)
    except OSError as error:
        raise UnreadableTokenError(error) from None
    except ValueError:
        raise BadTokenError from None
    if not re.fullmatch(r"(Bearer [\x21-\x7e]+)?", headers.get("authorization", "")):
        raise BadTokenError
    return headers


def _check_readable(written: Path) -> None:
    """Reject files without a known hash that contain no weights."""
    try:
        read_checkpoint(written)
    except BadWeightsError:
        raise NoCheckpointError from None


def _write(stream: IO[bytes], chunk: bytes) -> None:
    rest = memoryview(chunk)
    with storing():
        while rest:
            rest = rest[stream.write(rest) :]


def _ended_early(error: Exception, done: int, total: int) -> bool:
    """Whether the server closed the connection; the name of the error depends on the version of the client."""
    return done < total and type(error).__name__ in {"RemoteProtocolError", "ReadError"}


def _check_room(stream: IO[bytes], size: int) -> None:
    """Reject a file early if the disk has no space for it."""
    if size > shutil.disk_usage(stream.name).free:
        raise StoreError(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))

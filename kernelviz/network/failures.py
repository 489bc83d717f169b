"""What can go wrong between here and a model hub, each in a sentence of its own; nothing of a token is in any."""

from __future__ import annotations

import errno
import socket
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from huggingface_hub import constants, errors

from kernelviz.errors import NoWeightsError
from kernelviz.network.cache import StoreError, cache_directory, link_directory
from kernelviz.network.patience import StandstillError
from kernelviz.network.places import BUNDLED_MODEL

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from kernelviz.network.places import Place

_FULL = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}
_LOG_IN = "Type `hf auth login`"
_TRY = "Try again later"
_CHECK_NAME = "Check the name"
_CHECK_WAY = "Check the connection and HF_ENDPOINT"


class NoHubError(Exception):
    """What answers is no model hub."""


class CutShortError(Exception):
    """The download ended too early."""

    def __init__(self, got: int, wanted: int) -> None:
        super().__init__(got, wanted)
        self.got, self.wanted = got, wanted


class WrongHashError(Exception):
    """What came is not what was promised."""


@dataclass(frozen=True)
class Request:
    """What was asked for: enough to say what did not come."""

    place: Place
    filename: str
    seconds: float

    @property
    def endpoint(self) -> str:
        """The server without user name, password or anything else that is nobody's business."""
        parts = urlsplit(self.place.url or constants.ENDPOINT)
        port = f":{parts.port}" if parts.port else ""
        path = "" if self.place.url else parts.path
        return f"{parts.scheme}://{parts.hostname or ''}{port}{path}"

    @property
    def cache(self) -> Path:
        """The directory in which the file would lie."""
        return link_directory() if self.place.url else cache_directory()


def no_weights(error: Exception, request: Request) -> NoWeightsError:
    """The error for the user: what happened, where it was asked and kept, what to type next."""
    what, hint = _sentence(error, request)
    return NoWeightsError(what, whereabouts(request), f"{hint}; or {_other_weights(request)}.")


def whereabouts(request: Request) -> str:
    """The endpoint and the cache directory, for the second line of every message."""
    return f"Endpoint: {request.endpoint}; cache directory: {request.cache}."


def offline(request: Request) -> NoWeightsError:
    """The user has forbidden requests, and the file is not in the cache."""
    what = f"{request.filename} of {request.place.name} is not in the cache, and HF_HUB_OFFLINE forbids to ask the hub."
    return NoWeightsError(what, whereabouts(request), f"Unset HF_HUB_OFFLINE; or {_other_weights(request)}.")


def damaged_in_cache(path: Path, request: Request) -> NoWeightsError:
    """A file got into the cache that is not what its name says."""
    what = f"The cached weights of {request.place.name} are damaged: {path} is not what its checksum says."
    hint = f"Fetch them anew with `--weights hub`; or {_other_weights(request)}."
    return NoWeightsError(what, whereabouts(request), hint)


def _other_weights(request: Request) -> str:
    """What needs no hub."""
    if BUNDLED_MODEL in request.place.name:
        return "give `--weights bundled`, `--weights random` or `--weights FILE`"
    return f"give `--weights random` or `--weights FILE`, or try {BUNDLED_MODEL} with `--weights bundled`"


def _sentence(error: Exception, request: Request) -> tuple[str, str]:
    for tell in (_about_the_file, _about_the_answer, _about_the_way):
        told = tell(error, request)
        if told:
            return told
    return f"The hub could not be asked for {request.place.name}: {type(error).__name__}.", _CHECK_WAY


def _about_the_file(error: Exception, request: Request) -> tuple[str, str] | None:
    """What came is not good, or could not be kept."""
    file = f"{request.filename} of {request.place.name}"
    if isinstance(error, CutShortError):
        return f"The download of {file} was cut short: {error.got:,} of {error.wanted:,} bytes came.", _TRY
    if isinstance(error, WrongHashError):
        return f"The download of {file} has a wrong hash: it is not the file that the hub promised.", _TRY
    if isinstance(error, StoreError) and error.number in _FULL:
        hint = "Make room, or set HF_HOME to another place"
        return f"There is not enough room on the disk for {file}.", hint
    if isinstance(error, StoreError):
        hint = "Set HF_HOME to a directory that you may write to"
        return f"The cache cannot be written, so {file} was not kept: {error.reason}.", hint
    return None


def _about_the_answer(error: Exception, request: Request) -> tuple[str, str] | None:
    """The server answered, but not with the file."""
    if isinstance(error, NoHubError):
        what = "What answers there is no model hub, but perhaps the sign-in page of a network."
        return what, "Open any page in a browser and sign in, or check HF_ENDPOINT"
    return _about_the_repository(error, request) or _about_the_status(_status(error), request)


def _about_the_repository(error: Exception, request: Request) -> tuple[str, str] | None:
    """The hub knows what is wrong."""
    place, told = request.place, None
    if isinstance(error, errors.GatedRepoError):
        hint = f"Ask for access on the page of {place.name}, then type `hf auth login`"
        told = f"The repository {place.name} is gated: its owner has not let you in.", hint
    elif isinstance(error, errors.RevisionNotFoundError):
        told = f"The repository {place.repo} has no revision {place.revision or 'main'}.", _CHECK_NAME
    elif isinstance(error, errors.EntryNotFoundError):
        told = f"The repository {place.name} holds no file {request.filename}.", _CHECK_NAME
    elif "credentials" in _headers(error).get("X-Error-Message", ""):
        told = "The hub does not accept the token that is kept here.", _LOG_IN
    elif _status(error) == 401:
        what = f"The hub does not show {place.name} without a login: it is private, or there is no such repository."
        told = what, "Check the name, or type `hf auth login`"
    elif isinstance(error, errors.RepositoryNotFoundError):
        told = f"The hub has no repository {place.name}.", _CHECK_NAME
    return told


def _about_the_status(status: int | None, request: Request) -> tuple[str, str] | None:
    if status is None:
        return None
    if status == 404:
        return f"The server has no {request.filename} of {request.place.name} (404).", _CHECK_NAME
    if status == 403:
        what = f"The hub forbids access to {request.place.name} (403)."
        return what, _LOG_IN
    if status == 429:
        return "The hub has had too many requests from here (429).", "Wait, or type `hf auth login`"
    if status >= 500:
        return f"The server has an error of its own ({status}).", _TRY
    return f"The server did not give {request.filename} of {request.place.name} ({status}).", _CHECK_WAY


def _about_the_way(error: Exception, request: Request) -> tuple[str, str] | None:
    """Nobody answered."""
    host = urlsplit(request.endpoint).hostname or request.endpoint
    chain = list(_chain(error))
    if isinstance(error, errors.OfflineModeIsEnabled):
        return offline(request).what, "Unset HF_HUB_OFFLINE"
    if any(isinstance(each, StandstillError) or "Timeout" in type(each).__name__ for each in chain):
        hint = "Wait longer with --timeout, or work without the hub with HF_HUB_OFFLINE=1"
        return f"Nothing came from {host} for {request.seconds:g} s.", hint
    for each in chain:
        if isinstance(each, socket.gaierror):
            return f"The name {host} is unknown here: no network, or a misspelt endpoint.", _CHECK_WAY
        if isinstance(each, ConnectionRefusedError):
            return f"{host} refused the connection.", _CHECK_WAY
        if isinstance(each, ssl.SSLError):
            return f"The certificate of {host} is not trusted here.", _CHECK_WAY
    known = next((each for each in chain if isinstance(each, OSError) and each.strerror), None)
    return (f"{host} cannot be reached: {known.strerror}.", _CHECK_WAY) if known else None


def _status(error: Exception) -> int | None:
    response: Any = getattr(error, "response", None)
    return None if response is None else int(response.status_code)


def _headers(error: Exception) -> Mapping[str, str]:
    response: Any = getattr(error, "response", None)
    return {} if response is None else response.headers


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error and what led to it."""
    seen: set[int] = set()
    each: BaseException | None = error
    while each is not None and id(each) not in seen:
        seen.add(id(each))
        yield each
        each = each.__cause__ or each.__context__

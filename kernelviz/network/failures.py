"""What can go wrong between here and a model hub, each in a sentence of its own; nothing of a token is in any."""

from __future__ import annotations

import errno
import os
import socket
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from huggingface_hub import constants, errors

from kernelviz.errors import NoWeightsError
from kernelviz.network.cache import StoreError, cache_directory, cached_file, link_directory
from kernelviz.network.endpoint import endpoint_fault, set_endpoint, shown_endpoint
from kernelviz.network.patience import StandstillError
from kernelviz.network.places import BUNDLED_MODEL

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from kernelviz.network.places import Place

_FULL = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}
_TRY = "Try again later"
_CHECK_NAME = "Check the name"
_CHECK_WAY = "Check the connection and HF_ENDPOINT"


class WrongEndpointError(Exception):
    """The address of the hub is none."""


class BadTokenError(Exception):
    """The token of the user cannot be read, or no header can hold it; which it is, nobody is told."""


class NoCheckpointError(Exception):
    """What came whole holds no weights."""


class UnknownSizeError(Exception):
    """Neither size nor hash was told, so nothing says whether all has come."""


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
        if self.place.url:
            parts = urlsplit(self.place.url)
            return shown_endpoint(f"{parts.scheme}://{parts.netloc}")
        return shown_endpoint(set_endpoint(constants.ENDPOINT))

    @property
    def host(self) -> str:
        """The server's name alone."""
        try:
            return urlsplit(self.endpoint).hostname or self.endpoint
        except ValueError:
            return self.endpoint

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


def check_endpoint(request: Request) -> None:
    """Raise WrongEndpointError where the hub is to be asked and its address is none."""
    if not request.place.url and endpoint_fault(set_endpoint(constants.ENDPOINT)):
        raise WrongEndpointError


def offline(request: Request) -> NoWeightsError:
    """The user has forbidden requests, and the file is not in the cache, or the hub was to be asked all the same."""
    file = f"{request.filename} of {request.place.name}"
    if cached_file(request.place):
        what = f"HF_HUB_OFFLINE forbids to ask the hub for {request.place.name}, which is in the cache."
    else:
        what = f"{file} is not in the cache, and HF_HUB_OFFLINE forbids to ask the hub."
    return NoWeightsError(what, whereabouts(request), f"Unset HF_HUB_OFFLINE; or {_other_weights(request)}.")


def damaged_in_cache(path: Path, request: Request) -> NoWeightsError:
    """A file got into the cache that is not what its name says."""
    what = f"The cached weights of {request.place.name} are damaged: {path} is not what its checksum says."
    first = "Unset HF_HUB_OFFLINE and fetch" if constants.is_offline_mode() else "Fetch"
    hint = f"{first} them anew with `--weights hub`; or {_other_weights(request, cached=False)}."
    return NoWeightsError(what, whereabouts(request), hint)


def _other_weights(request: Request, *, cached: bool = True) -> str:
    """What needs no hub."""
    if cached and cached_file(request.place):
        return "take those in the cache with `--weights auto`"
    if BUNDLED_MODEL in request.place.name:
        return "give `--weights bundled`, `--weights random` or `--weights FILE`"
    return f"give `--weights random` or `--weights FILE`, or try {BUNDLED_MODEL} with `--weights bundled`"


def _sentence(error: Exception, request: Request) -> tuple[str, str]:
    for tell in (_about_the_settings, _about_the_file, _about_the_answer, _about_the_way):
        told = tell(error, request)
        if told:
            return told
    return f"The hub could not be asked for {request.place.name}: {type(error).__name__}.", _CHECK_WAY


def _about_the_settings(error: Exception, request: Request) -> tuple[str, str] | None:
    """What the user has set keeps the hub from being asked."""
    if isinstance(error, WrongEndpointError):
        fault = endpoint_fault(set_endpoint(constants.ENDPOINT))
        what = f"HF_ENDPOINT, {request.endpoint or 'empty'}, is no address of a hub: {fault}."
        return what, "Correct HF_ENDPOINT or unset it"
    if isinstance(error, BadTokenError):
        what = "The token kept for the hub cannot be sent: it cannot be read, or holds signs that no token has."
        return what, _other_token()
    return None


def _about_the_file(error: Exception, request: Request) -> tuple[str, str] | None:
    """What came is not good, or could not be kept."""
    file = f"{request.filename} of {request.place.name}"
    if isinstance(error, CutShortError):
        return f"The download of {file} was cut short: {error.got:,} of {error.wanted:,} bytes came.", _TRY
    if isinstance(error, WrongHashError):
        return f"The download of {file} has a wrong hash: it is not the file that the hub promised.", _TRY
    if isinstance(error, NoCheckpointError):
        return f"{file} came, but holds no weights that can be read.", _TRY
    if isinstance(error, UnknownSizeError):
        what = f"{file} was not fetched: the server tells neither its size nor a hash, so it could be cut short unseen."
        return what, _TRY
    return _about_the_cache(error, file) if isinstance(error, StoreError) else None


def _about_the_cache(error: StoreError, file: str) -> tuple[str, str]:
    if error.number in _FULL:
        return f"There is not enough room on the disk for {file}.", "Make room, or set HF_HOME to another place"
    hint = "Set HF_HOME to a directory that you may write to"
    return f"The cache cannot be written, so {file} was not kept: {error.reason}.", hint


def _about_the_answer(error: Exception, request: Request) -> tuple[str, str] | None:
    """The server answered, but not with the file."""
    if isinstance(error, NoHubError):
        what = "What answers there is no model hub, but perhaps the sign-in page of a network."
        return what, "Open any page in a browser and sign in, or check HF_ENDPOINT"
    if type(error).__name__ == "TooManyRedirects":
        return f"{request.host} sends from one address to the next without end.", _CHECK_WAY
    told = None if request.place.url else _about_the_repository(error, request)
    return told or _about_the_status(error, request)


def _about_the_repository(error: Exception, request: Request) -> tuple[str, str] | None:
    """The hub knows what is wrong."""
    place, told = request.place, None
    if isinstance(error, errors.GatedRepoError):
        told = _about_a_gate(error, place)
    elif isinstance(error, errors.RevisionNotFoundError):
        told = f"The repository {place.repo} has no revision {place.revision or 'main'}.", _CHECK_NAME
    elif isinstance(error, errors.EntryNotFoundError):
        files = place.files if request.filename in place.files else (request.filename,)
        told = f"The repository {place.name} holds no file {' or '.join(files)}.", _CHECK_NAME
    elif _status(error) == 401 and _sent_token(error):
        told = "The hub does not accept the token that is kept here: it is wrong or has expired.", _other_token()
    elif _status(error) == 401:
        what = f"The hub does not show {place.name} without a login: it is private, or there is no such repository."
        told = what, f"{_CHECK_NAME}, or type `hf auth login`"
    elif isinstance(error, errors.RepositoryNotFoundError):
        unseen = ", or your token may not see it" if _sent_token(error) else ""
        told = f"The hub has no repository {place.name}{unseen}.", _CHECK_NAME
    return told


def _about_a_gate(error: Exception, place: Place) -> tuple[str, str]:
    ask = f"Ask for access on the page of {place.name}"
    if _sent_token(error):
        what = f"The repository {place.name} is gated, and the token that is kept here has no access to it."
        return what, f"{ask} and wait for it, or use another token: {_other_token(begin=False)}"
    return f"The repository {place.name} is gated: it asks for a login.", f"{ask}, then type `hf auth login`"


def _about_the_status(error: Exception, request: Request) -> tuple[str, str] | None:
    status = _status(error)
    if status == 404:
        return f"The server has no {request.filename} of {request.place.name} (404).", _CHECK_NAME
    if status == 403:
        return _about_no_access(error, request)
    if status == 429:
        wait = "Wait" if request.place.url or _sent_token(error) else "Wait, or type `hf auth login`"
        return "The server has had too many requests from here (429).", wait
    if status and status >= 500:
        return f"The server has an error of its own ({status}).", _TRY
    file = f"{request.filename} of {request.place.name}"
    return (f"The server did not give {file} ({status}).", _CHECK_WAY) if status else None


def _about_no_access(error: Exception, request: Request) -> tuple[str, str]:
    name = request.place.name
    if request.place.url:
        return f"The server forbids access to {name} (403).", _TRY
    if _sent_token(error):
        hint = f"Let it read this repository; or {_other_token(begin=False)}"
        return f"The token that is kept here gives no access to {name} (403).", hint
    return f"The hub forbids access to {name} (403).", "Type `hf auth login`"


def _about_the_way(error: Exception, request: Request) -> tuple[str, str] | None:
    """Nobody answered."""
    host = request.host
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


def _sent_token(error: Exception) -> bool:
    """Whether the request that was answered so had a token with it."""
    response: Any = getattr(error, "response", None)
    return response is not None and response.request.headers.get("authorization", "").startswith("Bearer ")


def _other_token(*, begin: bool = True) -> str:
    """How another token comes to be used: one in the environment hides that of ``hf auth login``."""
    name = next((each for each in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN") if os.environ.get(each)), None)
    way = f"correct or unset {name}" if name else "type `hf auth login`"
    return way[0].upper() + way[1:] if begin else way


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error and what led to it."""
    seen: set[int] = set()
    each: BaseException | None = error
    while each is not None and id(each) not in seen:
        seen.add(id(each))
        yield each
        each = each.__cause__ or each.__context__

"""Messages for failed downloads from a model hub; they never contain a token."""

from __future__ import annotations

import errno
import os
import socket
import ssl
from typing import TYPE_CHECKING, Any

from huggingface_hub import constants, errors

from kernelviz.errors import NoWeightsError
from kernelviz.network.weights.endpoint import endpoint_fault, set_endpoint
from kernelviz.network.weights.hub_cache import StoreError, cached_file
from kernelviz.network.weights.names import BUNDLED_MODEL, CONFIG, hub_location, is_bundled
from kernelviz.network.weights.request import (
    BadTokenError,
    CutShortError,
    EndlessError,
    NoCheckpointError,
    NoHubError,
    StalledError,
    UnknownSizeError,
    UnreadableTokenError,
    WrongEndpointError,
    WrongHashError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from kernelviz.errors import BadWeightsError
    from kernelviz.network.weights.names import WeightsLocation
    from kernelviz.network.weights.request import Request


def _file_text(request: Request) -> str:
    """``model.safetensors of timm/resnet18.a1_in1k``; behind a link a file is its own name."""
    name = request.location.name
    return name if name == request.filename else f"{request.filename} of {name}"


def no_weights(error: Exception, request: Request) -> NoWeightsError:
    """The error for the user: what happened, the endpoint and the cache, and what to type next."""
    if isinstance(error, errors.OfflineModeIsEnabled):
        return offline(request)
    what, hint = sentence(error, request)
    return NoWeightsError(what, whereabouts(request), f"{hint}; or {_other_weights(request)}.")


def whereabouts(request: Request) -> str:
    """The endpoint and the cache directory, the second line of every message."""
    return f"Endpoint: {request.endpoint}; cache directory: {request.cache}."


def check_endpoint(request: Request) -> None:
    """Raise WrongEndpointError if the request is to the hub and its address is not valid."""
    if not request.location.url and endpoint_fault(set_endpoint(constants.ENDPOINT)):
        raise WrongEndpointError


def offline(request: Request) -> NoWeightsError:
    """The error if the user has disabled requests, and the file is not cached or the hub was requested."""
    file = _file_text(request)
    if cached_file(request.location):
        what = f"HF_HUB_OFFLINE forbids requests to the hub for {request.location.name}, which is in the cache."
    else:
        what = f"{file} is not in the cache, and HF_HUB_OFFLINE forbids requests to the hub."
    return NoWeightsError(what, whereabouts(request), f"Unset HF_HUB_OFFLINE; or {_other_weights(request)}.")


def damaged_in_cache(path: Path, request: Request) -> NoWeightsError:
    """The error for a cached file that does not match its checksum."""
    what = f"The cached weights of {request.location.name} are damaged: {path} does not match its checksum."
    return NoWeightsError(what, whereabouts(request), _fetch_anew(request))


def unreadable_in_cache(error: BadWeightsError, request: Request) -> NoWeightsError:
    """The error for a cached file without a checksum that contains no weights."""
    what = f"The cached weights of {request.location.name} cannot be read."
    return NoWeightsError(what, f"{error.what} {whereabouts(request)}", _fetch_anew(request))


def _fetch_anew(request: Request) -> str:
    first = "Unset HF_HUB_OFFLINE and fetch" if constants.is_offline_mode() else "Fetch"
    return f"{first} them again with `--weights hub`; or {_other_weights(request, cached=False)}."


def _other_weights(request: Request, *, cached: bool = True) -> str:
    """The alternatives that need no hub."""
    location, bundled = request.location, f"try {BUNDLED_MODEL} with `--weights bundled`"
    if cached and cached_file(location) and (request.filename != CONFIG or cached_file(hub_location(location.name))):
        return "use those in the cache with `--weights auto`"
    if is_bundled(location):
        return "give `--weights bundled`, `--weights random` or `--weights FILE`"
    if request.filename != CONFIG:
        return f"give `--weights random` or `--weights FILE`, or {bundled}"
    if request.architecture:  # timm knows the architecture without its repository
        return (
            f"type `kernelviz kernels {request.architecture}` with `--weights random` or `--weights FILE`, or {bundled}"
        )
    return f"name an architecture of timm with `--weights random` or `--weights FILE`, or {bundled}"


_FULL = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}
_HUNG_UP = {"RemoteProtocolError", "ReadError", "WriteError"}  # by name, since the client has changed its HTTP library
_TRY = "Try again later"
_CHECK_NAME = "Check the name"


def sentence(error: Exception, request: Request) -> tuple[str, str]:
    """What happened, and what to do about it, without a full stop."""
    for describe in (_about_the_settings, _about_the_file, _about_the_answer, _about_no_answer):
        found = describe(error, request)
        if found:
            return found
    return f"The request for {request.location.name} failed: {type(error).__name__}.", _check_connection(request)


def is_missing(error: Exception) -> bool:
    """Whether the server lacks this file but may have another; a mirror may answer with the status alone."""
    if isinstance(error, errors.RepositoryNotFoundError | errors.RevisionNotFoundError):
        return False
    return isinstance(error, errors.EntryNotFoundError) or _status(error) == 404


def _about_the_settings(error: Exception, request: Request) -> tuple[str, str] | None:
    """Wrong settings of the user."""
    if isinstance(error, WrongEndpointError):
        fault = endpoint_fault(set_endpoint(constants.ENDPOINT))
        what = f"HF_ENDPOINT, {request.endpoint or 'empty'}, is not a valid hub address: {fault}."
        return what, "Correct HF_ENDPOINT or unset it"
    if isinstance(error, BadTokenError):
        return "The stored hub token cannot be sent: it contains characters that no token has.", _other_token()
    if isinstance(error, UnreadableTokenError):
        return (
            f"The token file cannot be read: {error.reason}.",
            "Correct HF_HOME or HF_TOKEN_PATH, or the file's rights",
        )
    return None


def _about_the_file(error: Exception, request: Request) -> tuple[str, str] | None:
    """The file is damaged, or cannot be stored."""
    file = _file_text(request)
    if isinstance(error, CutShortError):
        return f"The download of {file} was cut short: {error.got:,} of {error.wanted:,} bytes came.", _TRY
    if isinstance(error, WrongHashError):
        return f"The download of {file} has a wrong hash: it is not the file that the hub promised.", _TRY
    if isinstance(error, NoCheckpointError):
        return f"{file} came, but holds no weights that can be read.", _TRY
    if isinstance(error, UnknownSizeError):
        what = f"{file} was not fetched: the server reports neither its size nor a hash, so it could be truncated."
        return what, _TRY
    return _about_the_cache(error, file) if isinstance(error, StoreError) else None


def _about_the_cache(error: StoreError, file: str) -> tuple[str, str]:
    if error.number in _FULL:
        return f"There is not enough disk space for {file}.", "Free some space, or set HF_HOME to another directory"
    hint = "Set HF_HOME to a directory that you may write to"
    return f"The cache cannot be written, so {file} was not kept: {error.reason}.", hint


def _about_the_answer(error: Exception, request: Request) -> tuple[str, str] | None:
    """The server answered without the file."""
    if isinstance(error, NoHubError):
        where = f" at {request.host}" if request.is_elsewhere else ""
        what = f"The server{where} is not a model hub, but perhaps the sign-in page of a network."
        return what, "Open any page in a browser and sign in, or check HF_ENDPOINT"
    if isinstance(error, EndlessError) or type(error).__name__ == "TooManyRedirects":
        return f"{request.host} redirects endlessly.", _check_connection(request)
    found = None if request.location.url or request.is_elsewhere else _about_the_repository(error, request)
    return found or _about_the_status(error, request)


def _about_the_repository(error: Exception, request: Request) -> tuple[str, str] | None:
    """The hub reports an error about the repository."""
    location, found = request.location, None
    if isinstance(error, errors.GatedRepoError):
        found = _about_a_gate(error, location)
    elif isinstance(error, errors.RevisionNotFoundError):
        found = f"The repository {location.repo} has no revision {location.revision or 'main'}.", _CHECK_NAME
    elif isinstance(error, errors.EntryNotFoundError):
        found = f"The repository {location.name} holds no file {_files(request)}.", _CHECK_NAME
    elif _status(error) == 401 and _sent_token(error):
        found = "The hub does not accept the stored token: it is wrong or has expired.", _other_token()
    elif _status(error) == 401:
        what = f"The hub does not show {location.name} without a login: it is private, or there is no such repository."
        found = what, f"{_CHECK_NAME}, or type `hf auth login`"
    elif isinstance(error, errors.RepositoryNotFoundError):
        unseen = ", or your token may not see it" if _sent_token(error) else ""
        found = f"The hub has no repository {location.name}{unseen}.", _CHECK_NAME
    return found


def _about_a_gate(error: Exception, location: WeightsLocation) -> tuple[str, str]:
    ask = f"Ask for access on the page of {location.name}"
    if _sent_token(error):
        what = f"The repository {location.name} is gated, and the stored token has no access to it."
        return what, f"{ask} and wait for it, or use another token: {_other_token(begin=False)}"
    return f"The repository {location.name} is gated: it requires a login.", f"{ask}, then type `hf auth login`"


def _about_the_status(error: Exception, request: Request) -> tuple[str, str] | None:
    status, server = _status(error), f"The server {request.host}" if request.is_elsewhere else "The server"
    if status == 404:
        file = _file_text(request) if request.location.url else f"{_files(request)} of {request.location.name}"
        return f"{server} has no {file} (404).", _CHECK_NAME
    if status == 403:
        return _about_no_access(error, request, server)
    if status == 429:
        wait = "Wait" if request.location.url or _sent_token(error) else "Wait, or type `hf auth login`"
        return f"{server} received too many requests from this machine (429).", wait
    if status and status >= 500:
        return f"{server} reported an internal error ({status}).", _TRY
    file = _file_text(request)
    return (f"{server} did not send {file} ({status}).", _check_connection(request)) if status else None


def _about_no_access(error: Exception, request: Request, server: str) -> tuple[str, str]:
    name = request.location.name
    if request.location.url or request.is_elsewhere:
        return f"{server} forbids access to {name} (403).", _TRY
    if _sent_token(error):
        hint = f"Let it read this repository; or {_other_token(begin=False)}"
        return f"The stored token gives no access to {name} (403).", hint
    return f"The hub forbids access to {name} (403).", "Type `hf auth login`"


def _about_no_answer(error: Exception, request: Request) -> tuple[str, str] | None:
    """No server answered."""
    host, chain = request.host, list(_chain(error))
    if any(isinstance(each, StalledError) or "Timeout" in type(each).__name__ for each in chain):
        hint = "Raise --timeout, or set HF_HUB_OFFLINE=1 to work without the hub"
        return f"No data came from {host} for {request.seconds:g} s.", hint
    found = next((found for each in chain if (found := _about_the_connection(each, request))), None)
    if found:
        return found
    if any(type(each).__name__ in _HUNG_UP for each in chain):
        return f"{host} closed the connection, or does not speak HTTP.", _check_connection(request)
    known = next((each for each in chain if isinstance(each, OSError) and each.strerror), None)
    return (f"{host} cannot be reached: {known.strerror}.", _check_connection(request)) if known else None


def _about_the_connection(error: BaseException, request: Request) -> tuple[str, str] | None:
    """Errors of the operating system or TLS."""
    host = request.host
    if isinstance(error, socket.gaierror):
        why = "no network" if request.is_elsewhere or request.location.url else "no network, or a misspelt endpoint"
        return f"The host name {host} cannot be resolved: {why}.", _check_connection(request)
    if isinstance(error, ConnectionRefusedError):
        return f"{host} refused the connection.", _check_connection(request)
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"The certificate of {host} is not trusted here.", _check_connection(request)
    if isinstance(error, ssl.SSLError):
        return (
            f"{host} does not speak TLS.",
            "Set HF_ENDPOINT to an address with http://, if the server speaks plain HTTP",
        )
    return None


_PROXIES = {"http_proxy", "https_proxy", "all_proxy"}


def _check_connection(request: Request) -> str:
    """What to check first: a link does not depend on the hub's address; variables for connections only if they are set."""
    names = [] if request.location.url else ["HF_ENDPOINT"]
    direct = "*" in (os.environ.get("NO_PROXY"), os.environ.get("no_proxy"))
    for name, value in sorted(os.environ.items()):
        wrong = name in ("SSL_CERT_FILE", "SSL_CERT_DIR") and not os.access(value, os.R_OK)
        if value and (wrong or name == "HF_OIDC_RESOURCE" or (name.lower() in _PROXIES and not direct)):
            names.append(name)
    first = "Check the connection"
    return f"{first}, {', '.join(names)}" if len(names) > 1 else " and ".join([first, *names])


def _files(request: Request) -> str:
    """The names that were requested one after the other; a single one if its contents were requested."""
    files = request.location.files
    return " or ".join(files) if request.filename in files and not request.hosts else request.filename


def _status(error: Exception) -> int | None:
    response: Any = getattr(error, "response", None)
    return None if response is None else int(response.status_code)


def _sent_token(error: Exception) -> bool:
    """Whether the request contained a token."""
    response: Any = getattr(error, "response", None)
    return response is not None and response.request.headers.get("authorization", "").startswith("Bearer ")


def _other_token(*, begin: bool = True) -> str:
    """How to use another token: one in the environment overrides that of ``hf auth login``."""
    name = next((each for each in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN") if os.environ.get(each)), None)
    text = f"correct or unset {name}" if name else "type `hf auth login`"
    return text[0].upper() + text[1:] if begin else text


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error and its causes."""
    seen: set[int] = set()
    each: BaseException | None = error
    while each is not None and id(each) not in seen:
        seen.add(id(each))
        yield each
        each = each.__cause__ or each.__context__

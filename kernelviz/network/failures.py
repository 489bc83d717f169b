"""When weights are not to be had: the error for the user, with what else could be typed; nothing of a token is in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from huggingface_hub import constants, errors

from kernelviz.errors import NoWeightsError
from kernelviz.network.cache import cached_file
from kernelviz.network.endpoint import endpoint_fault, set_endpoint
from kernelviz.network.places import BUNDLED_MODEL, CONFIG, hub_place, is_bundled
from kernelviz.network.request import WrongEndpointError
from kernelviz.network.sentences import sentence

if TYPE_CHECKING:
    from pathlib import Path

    from kernelviz.errors import BadWeightsError
    from kernelviz.network.request import Request


def no_weights(error: Exception, request: Request) -> NoWeightsError:
    """The error for the user: what happened, where it was asked and kept, what to type next."""
    if isinstance(error, errors.OfflineModeIsEnabled):
        return offline(request)
    what, hint = sentence(error, request)
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
    return NoWeightsError(what, whereabouts(request), _fetch_anew(request))


def unreadable_in_cache(error: BadWeightsError, request: Request) -> NoWeightsError:
    """A file of the cache that no checksum vouches for holds no weights."""
    what = f"The cached weights of {request.place.name} cannot be read."
    return NoWeightsError(what, f"{error.what} {whereabouts(request)}", _fetch_anew(request))


def _fetch_anew(request: Request) -> str:
    first = "Unset HF_HUB_OFFLINE and fetch" if constants.is_offline_mode() else "Fetch"
    return f"{first} them anew with `--weights hub`; or {_other_weights(request, cached=False)}."


def _other_weights(request: Request, *, cached: bool = True) -> str:
    """What needs no hub."""
    place, bundled = request.place, f"try {BUNDLED_MODEL} with `--weights bundled`"
    if cached and cached_file(place) and (request.filename != CONFIG or cached_file(hub_place(place.name))):
        return "take those in the cache with `--weights auto`"
    if is_bundled(place):
        return "give `--weights bundled`, `--weights random` or `--weights FILE`"
    if request.filename != CONFIG:
        return f"give `--weights random` or `--weights FILE`, or {bundled}"
    if request.architecture:  # what its repository says of it cannot be had, but what timm says can
        return (
            f"type `kernelviz kernels {request.architecture}` with `--weights random` or `--weights FILE`, or {bundled}"
        )
    return f"name an architecture of timm with `--weights random` or `--weights FILE`, or {bundled}"

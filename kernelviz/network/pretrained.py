"""The file with a model's pretrained weights: from the cache without a request, or from the hub."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from kernelviz.errors import BadWeightsError
from kernelviz.network.cache import cached_file, checksum_of, is_whole
from kernelviz.network.checkpoints import Checkpoint, read_checkpoint
from kernelviz.network.failures import damaged_in_cache, unreadable_in_cache
from kernelviz.network.places import CONFIG
from kernelviz.network.request import Request
from kernelviz.wording import shown

if TYPE_CHECKING:
    from pathlib import Path

    from kernelviz.network.hub import Progress
    from kernelviz.network.patience import Patience
    from kernelviz.network.places import Place
    from kernelviz.records import WeightsSource


_UNCHECKED = "the weights were not checked against a hash: none is known for their file"


def checkpoint_beside(directory: Path, file: Path | None) -> Checkpoint:
    """The weights in a directory of the user's, which are ``file``.

    Raises:
        BadWeightsError: there are none, or they cannot be read.
    """
    if file is None:
        hint = "Put model.safetensors there, or give `--weights random` or `--weights FILE`."
        raise BadWeightsError(f"The directory {shown(directory)} holds no weights.", hint=hint)
    return read_checkpoint(file)


def cached_checkpoint(place: Place, patience: Patience) -> Checkpoint | None:
    """The weights that are on this machine, None where they are not; makes no request.

    Raises:
        NoWeightsError: what lies in the cache is damaged, or cannot be read and no checksum vouches for it.
        BadWeightsError: what lies in the cache is whole, but cannot be read.
    """
    path = cached_file(place)
    if path is None:
        return None
    try:
        return _read(path, place, "url" if place.url else "cache")
    except BadWeightsError as error:
        if not checksum_of(path):
            raise unreadable_in_cache(error, Request(place, path.name, patience.seconds)) from None
        if not is_whole(path):
            raise _damaged(path, place, patience) from None
        raise
    except ValueError:
        raise _damaged(path, place, patience) from None


def fetched_checkpoint(place: Place, patience: Patience, progress: Progress) -> Checkpoint:
    """The weights that the hub has now, downloaded unless the very same file is in the cache.

    Raises:
        NoWeightsError: they are not to be had.
        BadWeightsError: they cannot be read.
    """
    from kernelviz.network.hub import fetch

    path = fetch(place, patience, progress)
    return _read(path, place, "url" if place.url else "hub")


def config_file(
    place: Place, patience: Patience, progress: Progress, *, ask: bool = False, architecture: str = ""
) -> Path:
    """The ``config.json`` of a repository, from the cache or the hub; with ``ask`` the hub's own.

    ``architecture`` is for what is said when it is not to be had, as ``Request`` has it.

    Raises:
        NoWeightsError: it is not to be had.
    """
    config = replace(place, files=(CONFIG,))
    path = None if ask else cached_file(config)
    if path is None:
        from kernelviz.network.hub import fetch

        return fetch(config, patience, progress, architecture=architecture)
    if not is_whole(path):
        raise _damaged(path, config, patience, architecture)
    return path


def _read(path: Path, place: Place, source: WeightsSource) -> Checkpoint:
    """Read a file of the cache; ValueError where it is not what its name promises."""
    checkpoint = read_checkpoint(path)
    digest, checksum = checkpoint.weights.sha256 or "", checksum_of(path)
    if not digest.startswith(checksum) and not is_whole(path):
        raise ValueError(path)
    notes = () if checksum else (_UNCHECKED,)
    return replace(checkpoint, weights=replace(checkpoint.weights, source=source, name=place.name), notes=notes)


def _damaged(path: Path, place: Place, patience: Patience, architecture: str = "") -> Exception:
    return damaged_in_cache(path, Request(place, path.name, patience.seconds, architecture))

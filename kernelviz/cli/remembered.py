"""What the commands remember of a network, so that the next run of the same command needs neither torch nor timm."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import os
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from kernelviz.errors import KernelvizError
from kernelviz.files.remembered import can_remember, entries_directory, recall, remember
from kernelviz.reading import read_regular
from kernelviz.storage.uris import is_uri
from kernelviz.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from kernelviz.cli.model_choices import ModelChoices
    from kernelviz.network.architecture import Architecture
    from kernelviz.network.model import Model
    from kernelviz.network.stored_kernels import StoredKernels
    from kernelviz.network.weights.names import WeightsLocation
    from kernelviz.traces import LayerOperation, Trace

Restored = TypeVar("Restored")

_LARGEST_VERSION = 10_000  # bytes of a version.py
_THREADS = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
_CACHES = ("HOME", "USERPROFILE", "XDG_CACHE_HOME", "TORCH_HOME", "HUGGINGFACE_HUB_CACHE")


def recalled_trace(choices: ModelChoices) -> Trace | None:
    """The trace of a model without weights for an input size as typed; None if it is not remembered."""
    from kernelviz.files.facts import trace_from_plain

    key = _key("trace", choices)
    return None if key is None else _restored(trace_from_plain, recall(key))


def remember_trace(choices: ModelChoices, network: Model, found: Trace) -> None:
    """Keep the trace of a whole forward pass, with the operations of all convolutions and pools."""
    key = _key("trace", choices)
    if key is not None and not _is_too_special(network.source.arguments) and can_remember():
        from kernelviz.files.facts import trace_as_plain
        from kernelviz.network.layer_operation import window_operations
        from kernelviz.network.model import published_source

        published = replace(found, source=published_source(network))
        remember(key, trace_as_plain(published, network.source, *window_operations(network, found)))


def recalled_operation(choices: ModelChoices, layer: str) -> LayerOperation | None:
    """The operation of a layer of a model without weights; None if it is not remembered."""
    from kernelviz.files.facts import operation_from_plain, operation_in_trace

    keys = _key("trace", choices), _key("operation", choices, layer=layer)
    if None in keys:
        return None
    found = _restored(lambda plain: operation_in_trace(plain, layer), recall(keys[0] or {}))
    return found or _restored(operation_from_plain, recall(keys[1] or {}))


def remember_operation(
    choices: ModelChoices, layer: str, network: Model, found: LayerOperation, traced: Trace | None
) -> None:
    """Keep the trace with the operations of all layers, and that of this one if its name, as typed, is not among them."""
    if traced is not None:
        remember_trace(choices, network, traced)
    key = _key("operation", choices, layer=layer)
    if key is not None and not _is_too_special(network.source.arguments) and recalled_operation(choices, layer) is None:
        from kernelviz.files.facts import operation_as_plain

        remember(key, operation_as_plain(found))


def recalled_names(model: str, arguments: Sequence[str] = ()) -> list[str]:
    """The layers of a model and the modules that contain them, if anything of it is remembered."""
    from kernelviz.cli.model_choices import ModelChoices
    from kernelviz.network.selection import with_containers

    bare = ModelChoices(model, None, arguments=arguments, runs=True)
    if found := recalled_trace(bare):
        return with_containers(layer.name for layer in found.layers)
    kernels = recalled_kernels(replace(bare, weights="auto", runs=False))
    return list(kernels.names.modules) if kernels else []


def recalled_architecture(choices: ModelChoices) -> Architecture | None:
    """A model without its numbers; None if it is not remembered."""
    from kernelviz.files.facts import architecture_from_plain

    key = _key("architecture", choices)
    return None if key is None else _restored(architecture_from_plain, recall(key))


def remember_architecture(choices: ModelChoices, found: Architecture) -> None:
    """Keep a model without its numbers."""
    key = _key("architecture", choices)
    if key is not None and not _is_too_special(found.source.arguments) and can_remember():
        remember(key, asdict(found))


def recalled_kernels(choices: ModelChoices) -> StoredKernels | None:
    """Where the kernels of a model are stored, if it is remembered and the file with its weights is as it was."""
    from kernelviz.files.facts import stored_kernels_from_plain

    key = _key("kernels", choices)
    return None if key is None else _restored(stored_kernels_from_plain, recall(key))


def remember_kernels(choices: ModelChoices, network: Model) -> None:
    """Keep where the kernels of a model are stored, if they are in a safetensors file or in the bundled one."""
    key, weights = _key("kernels", choices), network.source.weights
    if key is None or weights is None or weights.missing or _is_too_special(network.source.arguments):
        return
    if not can_remember():
        return
    find = {"file": _of_file, "cache": _of_cache, "bundled": _of_bundled}.get(weights.source)
    with contextlib.suppress(OSError, KernelvizError):
        found = find(choices, network, weights.sha256) if find else None
        if found is not None:
            kernels, files = found
            remember(key, asdict(kernels), files)


_Found: TypeAlias = "tuple[StoredKernels, dict[Path, str | None]] | None"


def _of_file(choices: ModelChoices, network: Model, digest: str | None) -> _Found:
    from kernelviz.network.kernels import find_stored

    path = Path(choices.weights or "").absolute()
    kernels = find_stored(network, path)
    return (kernels, {path: digest}) if kernels else None


def _of_cache(choices: ModelChoices, network: Model, digest: str | None) -> _Found:
    """Kernels in the hub's cache, while its note of the newest version is the same."""
    from kernelviz.network.kernels import find_stored
    from kernelviz.network.weights.hub_cache import cached_file, repository_directory, revision_file

    location = _location(choices)
    path = cached_file(location)
    kernels = find_stored(network, path) if path else None
    if not kernels or not path or not location.repo:
        return None
    earlier = [repository_directory(location.repo) / "snapshots" / path.parent.name / name for name in location.files]
    absent = dict.fromkeys(earlier[: earlier.index(path)] if path in earlier else [])
    return kernels, {path: digest, revision_file(location): None, **absent}


def _of_bundled(choices: ModelChoices, network: Model, digest: str | None) -> _Found:
    """Kernels of the bundled weights, whose file is a checkpoint of torch: from a copy of them in the user's cache."""
    from kernelviz.files.writing import write_whole
    from kernelviz.network.kernels import find_stored, plain_weights
    from kernelviz.network.stored_kernels import tensors_file
    from kernelviz.network.weights.hub_cache import repository_directory
    from kernelviz.network.weights.names import bundled_path

    directory, original = entries_directory(), bundled_path()
    if directory is None or original is None:
        return None
    copy, content = directory / f"{digest}.safetensors", tensors_file(plain_weights(network))
    if not _holds(copy, content):
        write_whole(copy, content, replace=True)
    kernels = find_stored(network, copy)
    cached = {repository_directory(_location(choices).repo): None} if choices.weights == "auto" else {}
    if kernels is None or any(map(os.path.lexists, cached)):
        return None
    return kernels, {original: digest, copy: None, **cached}


def _holds(path: Path, content: bytes) -> bool:
    try:
        return read_regular(path, len(content)) == content
    except (OSError, ValueError):
        return False


def _location(choices: ModelChoices) -> WeightsLocation:
    from kernelviz.network.model import read_registry
    from kernelviz.network.weights.names import find_spec

    return find_spec(choices.name, read_registry(), lambda *_: Path()).location


def _is_too_special(arguments: Mapping[str, Any]) -> bool:
    """Whether JSON has no such values."""
    return not all(value is None or isinstance(value, str | int | float) for value in arguments.values())


def _restored(restore: Callable[[Any], Restored], plain: Any) -> Restored | None:
    if plain is None:
        return None
    try:
        found: Any = restore(plain)
        found.source.preprocessing_entry()  # of unfit values, or without a source, it raises
    except Exception:  # noqa: BLE001  (anything may be in a file)
        return None
    restored: Restored = found
    return restored


def _key(kind: str, choices: ModelChoices, **more: str) -> dict[str, Any] | None:
    """All that a result depends on, besides the files of weights; None for models that are not remembered."""
    if ":" in choices.name or choices.weights in {"random", "hub"} or choices.device != "cpu" or choices.seed:
        return None  # code of the user, a configuration, random numbers, the hub's current weights
    weights = choices.weights
    if weights is not None and is_uri(weights):
        return None  # its content may change at any time
    if weights is not None and weights not in {"auto", "bundled"}:
        weights = str(Path(weights).absolute())
    names = sorted(name for name in os.environ if name.startswith("HF_") or name in _CACHES)
    settings = json.dumps({name: os.environ[name] for name in names if "TOKEN" not in name})
    return {
        "kind": kind,
        **more,
        "versions": [__version__, _fingerprint(), *map(_version_text, ("timm", "torch"))],
        "model": choices.name,
        "arguments": sorted(choices.arguments or ()),
        "weights": weights,
        "weights_key": choices.weights_key,
        "partial": choices.partial,
        "input_size": choices.input_size,
        "threads": [os.environ.get(name) for name in _THREADS] + [choices.threads, _processors()],
        # An address may contain a password.
        "caches": hashlib.sha256(settings.encode("ascii")).hexdigest() if weights == "auto" else "",
    }


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _version_text(library: str) -> str:
    """What identifies an installed version of a library that has a file ``version.py``; imports nothing."""
    spec = importlib.util.find_spec(library)
    if spec is None or not spec.origin:
        return ""
    try:
        return read_regular(Path(spec.origin).with_name("version.py"), _LARGEST_VERSION).decode()
    except (OSError, ValueError):
        from importlib.metadata import version

        return version(library)


def _fingerprint() -> list[int]:
    """The number, the size and the latest change of the modules that compute what is remembered.

    They may change without a new version, in a checkout.
    """
    root = Path(__file__).parents[1]
    states = [
        each.stat()
        for directory in (
            root,
            root / "network",
            root / "network" / "tracing",
            root / "network" / "weights",
            root / "files",
        )
        for each in os.scandir(directory)
        if each.name.endswith(".py")
    ]
    return [len(states), sum(one.st_size for one in states), max(one.st_mtime_ns for one in states)]

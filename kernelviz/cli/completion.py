"""The list of all model names, cached between runs, and shell completion from it."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any, TypeVar

from kernelviz.errors import KernelvizError
from kernelviz.files.remembered import cache_directory
from kernelviz.reading import read_regular

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from kernelviz.network.weights.names import Registry


Index = TypeVar("Index")

_FORMAT = 1
_LARGEST = 4_000_000  # bytes; today's list takes 0.3 MB


def kept_index(
    version: str,
    find_out: Callable[[], Index],
    *,
    as_plain: Callable[[Index], Any],
    from_plain: Callable[[Any], Index],
    library: str = "timm",
) -> Index:
    """The list of models of this version of a library: read from the cache, else built by ``find_out`` and cached.

    A cached list of another version, or one that ``from_plain`` cannot read, is replaced; one that cannot be written is
    not cached.
    """
    path = index_path()
    if path is None:
        return find_out()
    path = path if library == "timm" else path.with_stem(library)
    try:
        return from_plain(_read(path, version))
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        index = find_out()
    from kernelviz.files.writing import write_whole

    content = {"format": _FORMAT, "version": version, "content": as_plain(index)}
    with contextlib.suppress(KernelvizError):
        write_whole(path, json.dumps(content, separators=(",", ":")).encode(), replace=True)
    return index


def index_path() -> Path | None:
    """The file in the user's cache directory that holds the list; None if there is no home directory."""
    directory = cache_directory()
    return directory and directory / "models.json"


def _read(path: Path, version: str) -> Any:
    """The cached content; ValueError if it is of another version."""
    kept = json.loads(read_regular(path, _LARGEST))
    if (kept["format"], kept["version"]) != (_FORMAT, version):
        raise ValueError(version)
    return kept["content"]


def timm_version() -> str:
    """The version of timm, without importing it."""
    from importlib.metadata import version

    return version("timm")


def known_models(*, imports: bool = True) -> Registry:
    """All models; the first call takes as long as importing timm.

    Without ``imports`` only a cached list is returned.

    Raises:
        LookupError: none is cached, and ``imports`` is False.
    """
    from kernelviz.network.weights.names import Registry

    def find_out() -> Registry:
        if not imports:
            raise LookupError("models")
        from kernelviz.network.model import read_registry

        return read_registry()

    return kept_index(timm_version(), find_out, as_plain=Registry.as_plain, from_plain=Registry.from_plain)


def known_torchvision_models(*, imports: bool = True) -> Registry:
    """All models of torchvision; the first call takes as long as importing it.

    Without ``imports`` only a cached list is returned.

    Raises:
        LookupError: none is cached, and ``imports`` is False.
        KernelvizError: it is not installed.
    """
    from importlib.metadata import PackageNotFoundError, version

    from kernelviz.network.weights.names import Registry

    def find_out() -> Registry:
        if not imports:
            raise LookupError("torchvision")
        from kernelviz.network.torchvision_models import read_torchvision_registry

        return read_torchvision_registry()

    try:
        installed = version("torchvision")
    except PackageNotFoundError:
        return find_out()  # built in another way, or the error
    return kept_index(
        installed, find_out, as_plain=Registry.as_plain, from_plain=Registry.from_plain, library="torchvision"
    )


def keep_models(name: str) -> None:
    """Cache the list of models for completion, if the library of this model is imported anyway."""
    from kernelviz.network.weights.names import TORCHVISION

    if name.startswith(TORCHVISION):
        known_torchvision_models()
    elif ":" not in name:
        known_models()


def complete_model(incomplete: str) -> list[str]:
    """The names that start with this text: architectures or, if it has a dot, those with their tags.

    They are those of the cached list; without one, only ``torchvision:`` is known.
    """
    from kernelviz.network.weights.names import TORCHVISION, Registry

    known = known_torchvision_models if incomplete.startswith(TORCHVISION) else known_models
    try:
        registry = known(imports=False)
    except Exception:  # noqa: BLE001  (completion must not print errors)
        registry = Registry({}, {})
    if "." not in incomplete:
        others = [TORCHVISION] if TORCHVISION.startswith(incomplete) and incomplete not in ("", TORCHVISION) else []
        return [name for name in registry.architectures if name.startswith(incomplete)] + others
    architecture = incomplete.partition(".")[0]
    if architecture not in registry.architectures:
        return []
    names = (f"{architecture}.{tag}" for tag in registry.tags(architecture))
    return [name for name in names if name.startswith(incomplete)]


def complete_layer(model: object, arguments: object, incomplete: str) -> list[str]:
    """The layers and containers of a model that start with this text, if an earlier run remembered the model."""
    from kernelviz.cli.remembered import recalled_names

    if not isinstance(model, str):
        return []
    try:
        names = recalled_names(model, list(arguments) if isinstance(arguments, list | tuple) else [])
    except Exception:  # noqa: BLE001  (completion must not print errors)
        return []
    return [name for name in names if name.startswith(incomplete)]

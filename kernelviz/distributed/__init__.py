"""Image sets over many processes and machines: the engines that run the chunks, and what is gathered from them."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kernelviz.distributed.engines import Chunk as Chunk
    from kernelviz.distributed.engines import ChunkItem as ChunkItem
    from kernelviz.distributed.engines import Engine as Engine
    from kernelviz.distributed.engines import InThisProcess as InThisProcess
    from kernelviz.distributed.engines import WorkerLostError as WorkerLostError
    from kernelviz.distributed.gathering import Gathering as Gathering
    from kernelviz.distributed.gathering import Tally as Tally
    from kernelviz.distributed.gathering import gather_many as gather_many
    from kernelviz.distributed.ray_engine import Ray as Ray

_HOMES = {
    "Chunk": "engines",
    "ChunkItem": "engines",
    "Engine": "engines",
    "Gathering": "gathering",
    "InThisProcess": "engines",
    "Ray": "ray_engine",
    "Tally": "gathering",
    "WorkerLostError": "engines",
    "gather_many": "gathering",
}

if not TYPE_CHECKING:  # a type checker reads the imports above
    __all__ = [*_HOMES]  # noqa: PLE0604  (they are strings)


def __getattr__(name: str) -> Any:
    """Import a public name at its first use (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'kernelviz.distributed' has no attribute {name!r}")
    value = getattr(import_module(f"kernelviz.distributed.{_HOMES[name]}"), name)
    globals()[name] = value
    return value

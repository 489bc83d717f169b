"""Which model a command reads, as it was requested; free of the options and of the session, which completion imports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class ModelChoices:
    """Which model, with which weights, on which device; ``runs`` if it will run, on inputs of ``input_size``.

    Without ``cache`` what an earlier run remembered is not used.
    """

    name: str
    weights: str | None
    seed: int = 0
    timeout: float = 10.0
    device: str = "cpu"
    threads: int | None = None
    weights_key: str | None = None
    partial: bool = False
    arguments: Sequence[str] | None = None
    runs: bool = False
    input_size: str | None = None
    cache: bool = True

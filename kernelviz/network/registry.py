"""The names there are: architectures with their tags, and where the weights of each lie. Plain records."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kernelviz.network.places import NOWHERE, Place

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Entry:
    """One set of pretrained weights of an architecture, or a variant without; ``tag`` is empty for the only one."""

    tag: str = ""
    licence: str | None = None
    place: Place = NOWHERE


@dataclass(frozen=True)
class Registry:
    """All architectures in timm's own order, the default entry of each first, and the old names of some."""

    architectures: Mapping[str, tuple[Entry, ...]]
    renamed: Mapping[str, str]

    def tags(self, architecture: str) -> list[str]:
        """The tags that an architecture has."""
        return [entry.tag for entry in self.architectures[architecture] if entry.tag]

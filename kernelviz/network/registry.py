"""The names there are: architectures with their tags, where the weights of each lie, and which match a pattern."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatch
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

    def matching(self, pattern: str) -> dict[str, tuple[Entry, ...]]:
        """What a shell pattern finds: an architecture with all its weights, or those whose tag or full name matches."""
        found = {}
        for architecture, entries in self.architectures.items():
            published = tuple(entry for entry in entries if entry.place.kind != "none")
            if fnmatch(architecture, pattern):
                found[architecture] = published
                continue
            some = tuple(each for each in published if _matches(architecture, each.tag, pattern))
            if some:
                found[architecture] = some
        return found


def _matches(architecture: str, tag: str, pattern: str) -> bool:
    return bool(tag) and (fnmatch(tag, pattern) or fnmatch(f"{architecture}.{tag}", pattern))

"""The names there are: architectures with their tags, where the weights of each lie, and which match a pattern."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

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
        """What a shell pattern finds: an architecture with all its weights, or those whose tag or full name matches.

        Letter case does not count, on any system.
        """
        found = {}
        for architecture, entries in self.architectures.items():
            published = tuple(entry for entry in entries if entry.place.kind != "none")
            if _alike(architecture, pattern):
                found[architecture] = published
                continue
            some = tuple(each for each in published if _matches(architecture, each.tag, pattern))
            if some:
                found[architecture] = some
        return found

    def as_plain(self) -> dict[str, Any]:
        """Lists and texts that ``from_plain`` makes a registry of."""
        names = {name: [_row(entry) for entry in rows] for name, rows in self.architectures.items()}
        return {"architectures": names, "renamed": dict(self.renamed)}

    @classmethod
    def from_plain(cls, plain: Any) -> Registry:
        """The registry again.

        Raises:
            ValueError, TypeError, KeyError, AttributeError: it is none.
        """
        names = {name: tuple(map(_entry, rows)) for name, rows in plain["architectures"].items()}
        return cls(names, dict(plain["renamed"]))


def _row(entry: Entry) -> list[Any]:
    place = entry.place
    return [entry.tag, entry.licence, place.repo, place.revision, list(place.files), place.url]


def _entry(row: list[Any]) -> Entry:
    tag, licence, repo, revision, files, url = row
    if not all(isinstance(each, str) for each in (tag, licence or "", repo, revision, url, *files)):
        raise ValueError(row)
    return Entry(tag, licence, Place(repo, revision, tuple(files), url))


def _matches(architecture: str, tag: str, pattern: str) -> bool:
    return bool(tag) and (_alike(tag, pattern) or _alike(f"{architecture}.{tag}", pattern))


def _alike(name: str, pattern: str) -> bool:
    return fnmatchcase(name.lower(), pattern.lower())

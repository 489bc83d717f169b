"""Which images were gathered into one result: what they are called, and one digest that tells them from others."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kernelviz.records import FeatureMaps


class Gathered:
    """Images, taken in one after the other."""

    def __init__(self) -> None:
        self._names: list[str] = []
        self._paths: list[str | None] = []
        self._digests: list[str | None] = []

    def __len__(self) -> int:
        return len(self._names)

    def add(self, maps: FeatureMaps, name: str | None = None) -> None:
        """Take in the image of these maps, which is called ``name`` unless it has a name of its own."""
        image = maps.image
        self._names.append(name or (image.name if image else f"image {len(self)}"))
        self._paths.append(image.path if image and not name else None)
        self._digests.append(image.sha256 if image else None)

    @property
    def names(self) -> tuple[str, ...]:
        """What each is called; those of one name in different folders have the folders that tell them apart in front."""
        many = Counter(self._names)
        shared = {path for name, path in zip(self._names, self._paths, strict=True) if path and many[name] > 1}
        return tuple(
            _below(path, shared) if path and many[name] > 1 else name
            for name, path in zip(self._names, self._paths, strict=True)
        )

    def as_recipe(self) -> dict[str, Any] | None:
        """The part of a recipe called ``image``: how many they are and the SHA-256 of theirs, in their order.

        None where what one of them was made of is not known.
        """
        digests = [digest for digest in self._digests if digest is not None]
        if not digests or len(digests) < len(self):
            return None
        name = f"{len(self):,} image{'s' if len(self) > 1 else ''}"
        return {"name": name, "sha256": hashlib.sha256("".join(digests).encode("ascii")).hexdigest()}


def _below(path: str, paths: set[str]) -> str:
    """A path without the folders that all of them share."""
    try:
        folders = {os.path.dirname(each) for each in paths}  # noqa: PTH120
        return PurePath(os.path.relpath(path, os.path.commonpath(folders) or ".")).as_posix()
    except ValueError:  # on several drives, or absolute and relative
        return PurePath(path).as_posix()

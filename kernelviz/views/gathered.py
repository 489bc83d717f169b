"""The images that were added to a tally, by their place among all images; NumPy only, and that where it is needed."""

from __future__ import annotations

import hashlib
import os
import re
from array import array
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from kernelviz.errors import UsageError
from kernelviz.wording import counted, inflected, preprocessing_notes

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from kernelviz.records import FeatureMaps


_NUMBER = re.compile(r"[-+]?\d[\d.,e+-]*")


@lru_cache(maxsize=64)
def _without_numbers(text: str) -> str:
    return _NUMBER.sub("", text)


_HASH = 32  # bytes of a SHA-256
_ABSENT, _UNKNOWN, _KNOWN = range(3)  # an image that is not there, without a hash, with one


class ImageList:
    """Names, paths and hashes of images, by place; the tallies of a run share one, so that each image is kept once.

    ``given`` are the paths of all images of the run, if they are known: a path and a name that follow from it take no
    memory of their own.
    """

    def __init__(self, given: Sequence[str] = ()) -> None:
        self._given = given
        self._first = 0
        self._names: list[str | None] = []  # None: the last part of the path
        self._paths: list[str | None] = []
        self._hashes = bytearray()
        self._states = bytearray()
        self._texts: dict[int, str] = {}  # hashes that are no SHA-256
        self._index: _HashIndex | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the paths of all images."""
        return {**self.__dict__, "_given": ()}

    def add(self, place: int, name: str, path: str | None, digest: str | None) -> None:
        """Add an image, or the same one again."""
        at = self._at(place)
        if path is not None and place < len(self._given) and self._given[place] == path:
            path = self._given[place]  # the same object
        new = self._states[at] != _KNOWN
        self._names[at] = None if path is not None and name == os.path.basename(path) else name  # noqa: PTH119  (a Path interns its parts)
        self._paths[at] = path
        self._states[at] = _UNKNOWN if digest is None else _KNOWN
        if digest is not None:
            raw = _raw(digest)
            self._hashes[at * _HASH : (at + 1) * _HASH] = raw or bytes(_HASH)
            if raw is None:
                self._texts[place] = digest
            if new and self._index is not None:
                self._index.add(digest, place)

    def places_of(self, digest: str) -> Iterator[int]:
        """The places of the images with this hash."""
        if self._index is None:
            self._index = _HashIndex()
            for at, state in enumerate(self._states):
                if state == _KNOWN:
                    self._index.add(self.of(self._first + at)[2] or "", self._first + at)
        return (place for place in self._index.find(digest) if self.of(place)[2] == digest)

    def _at(self, place: int) -> int:
        """The index of a place, which is made if there is none."""
        at = place - self._first
        if 0 <= at < len(self._states):
            return at
        if not self._states:
            self._first = place
        below = max(0, self._first - place)
        if below:
            self._names[:0] = [None] * below
            self._paths[:0] = [None] * below
            self._states[:0] = bytes(below)
            self._hashes[:0] = bytes(below * _HASH)
            self._first = place
        above = max(0, place - self._first + 1 - len(self._states))
        if above:
            self._names += [None] * above
            self._paths += [None] * above
            self._states += bytes(above)
            self._hashes += bytes(above * _HASH)
        return place - self._first

    def merge(self, other: ImageList) -> None:
        """Add the images of another list; those that the tally of another layer has brought are here already."""
        if other is not self:
            for at, state in enumerate(other._states):
                place = other._first + at
                if state not in (_ABSENT, self._state(place)):
                    self.add(place, *other.of(place))

    def _state(self, place: int) -> int:
        at = place - self._first
        return self._states[at] if 0 <= at < len(self._states) else _ABSENT

    def of(self, place: int) -> tuple[str, str | None, str | None]:
        """The name, path and hash of an image."""
        at = place - self._first
        name, path = self._names[at], self._paths[at]
        if name is None:
            name = os.path.basename(path or "")  # noqa: PTH119
        digest = self._texts.get(place) or bytes(self._hashes[at * _HASH : (at + 1) * _HASH]).hex()
        return name, path, digest if self._states[at] == _KNOWN else None


@lru_cache(maxsize=64)
def _raw(digest: str) -> bytes | None:
    """The bytes of a SHA-256; None if the text is none."""
    try:
        raw = bytes.fromhex(digest)
    except ValueError:
        return None
    return raw if len(raw) == _HASH and raw.hex() == digest else None


class _HashIndex:
    """The places of images by the first 64 bits of their hash: 16 bytes per image, and some recent ones."""

    def __init__(self) -> None:
        import numpy as np

        self._recent: dict[int, list[int]] = {}
        self._keys, self._places = np.zeros(0, np.uint64), np.zeros(0, np.int64)

    @staticmethod
    def _key(digest: str) -> int:
        raw = _raw(digest) or hashlib.blake2b(digest.encode()).digest()
        return int.from_bytes(raw[:8], "little")

    def add(self, digest: str, place: int) -> None:
        """Add an image."""
        import numpy as np

        self._recent.setdefault(self._key(digest), []).append(place)
        if len(self._recent) > max(256, len(self._keys) // 8):
            pairs = [(key, each) for key, places in self._recent.items() for each in places]
            keys = np.concatenate([self._keys, np.array([key for key, _ in pairs], np.uint64)])
            places = np.concatenate([self._places, np.array([each for _, each in pairs], np.int64)])
            order = np.argsort(keys, kind="stable")
            self._keys, self._places, self._recent = keys[order], places[order], {}

    def find(self, digest: str) -> list[int]:
        """The places of images with this hash, and perhaps of others."""
        import numpy as np

        key = self._key(digest)
        if not len(self._keys):
            return list(self._recent.get(key, ()))
        first, end = (int(np.searchsorted(self._keys, np.uint64(key), side)) for side in ("left", "right"))
        return [*self._places[first:end].tolist(), *self._recent.get(key, ())]


@dataclass
class _Note:
    """Notes that differ in their numbers alone: how many there are, and the first of them, which is ``at`` this place."""

    count: int
    at: tuple[int, int]
    text: str
    differ: bool = False

    def merge(self, other: _Note) -> None:
        """Add others."""
        self.count += other.count
        self.differ = self.differ or other.differ or self.text != other.text
        if other.at < self.at:
            self.at, self.text = other.at, other.text


class Gathered:
    """The images that a tally counts: their names and hashes, and how they were read.

    Images are ordered by their place among all images, in whatever order they are added. ``listed`` holds what is known of
    each; several tallies may share it. With ``of_view`` the notes also state what the network sees of an image.
    """

    def __init__(self, listed: ImageList | None = None, *, of_view: bool = False) -> None:
        self._of_view = of_view
        self.listed = ImageList() if listed is None else listed
        self._first = 0
        self._here = array("I")  # 0, or 1 and the kind of the image if it is counted
        self._count = 0
        self._notes: dict[str, _Note] = {}

    def __len__(self) -> int:
        return self._count

    def __contains__(self, place: int) -> bool:
        return 0 <= place - self._first < len(self._here) and bool(self._here[place - self._first])

    @property
    def next_place(self) -> int:
        """The place after the last image."""
        return self._first + len(self._here)

    @property
    def places(self) -> Iterator[int]:
        """The places of the images, ascending."""
        return (self._first + at for at, here in enumerate(self._here) if here)

    def add(self, maps: FeatureMaps, name: str | None = None, place: int | None = None, kind: int = 0) -> int:
        """Add the image of these maps, and return its place; ``name`` is used if given, else the name of the image.

        ``kind`` is any small number that the tally keeps with the image.

        Raises:
            UsageError: the place is taken.
        """
        image = maps.image
        place = self.next_place if place is None else self.check_place(place)
        path = image.path if image and not name else None
        name = name or (image.name if image else f"image {place}")
        self.listed.add(place, name, path, image.sha256 if image else None)
        self._mark(place, kind)
        for at, note in enumerate(dict.fromkeys(self._notes_of(maps))):
            self._add_note(_Note(1, (place, at), note))
        return place

    def _notes_of(self, maps: FeatureMaps) -> tuple[str, ...]:
        seen = maps.seen.notes if self._of_view and maps.seen is not None else ()
        return reading_notes(maps, seen)

    def check_place(self, place: int) -> int:
        """Check that the place of an image is free, and return it.

        Raises:
            UsageError: it is negative, too large or taken.
        """
        if not 0 <= place < 2**31:
            raise UsageError(f"The place of an image is a number from 0 to {2**31 - 1:,}, but got {place:,}.")
        if place in self:
            raise UsageError(f"There is an image with the number {place} already.")
        return place

    def _add_note(self, note: _Note) -> None:
        key = _without_numbers(note.text)
        if key in self._notes:
            self._notes[key].merge(note)
        else:
            self._notes[key] = note

    def kind(self, place: int) -> int:
        """The kind of an image, as it was added."""
        return self._here[place - self._first] - 1

    def place_of(self, digest: str) -> int | None:
        """The place of an image with this hash; None if there is none."""
        return next((place for place in self.listed.places_of(digest) if place in self), None)

    def move(self, before: int, maps: FeatureMaps, place: int, name: str | None = None) -> None:
        """Let an image be at an earlier place, at which there is another file of the same bytes, ``name`` if given."""
        kind = self.kind(before)
        self._here[before - self._first] = 0
        self._count -= 1
        while self._here and not self._here[-1]:
            self._here.pop()
        image = maps.image
        if image is not None:
            self.listed.add(place, name or image.name, None if name else image.path, image.sha256)
        self._mark(place, kind)
        for at, note in enumerate(dict.fromkeys(self._notes_of(maps))):
            first = self._notes.get(_without_numbers(note))
            if first is not None:  # the file may have been read in another way, with other notes
                first.at, first.text = min((first.at, first.text), ((place, at), note))

    def _mark(self, place: int, kind: int) -> None:
        if not self._here:
            self._first = place
        if place < self._first:
            self._here[:0] = array("I", [0]) * (self._first - place)
            self._first = place
        if (more := place + 1 - self._first - len(self._here)) > 0:
            self._here.extend(array("I", [0]) * more)
        self._here[place - self._first] = 1 + kind
        self._count += 1

    def check_apart(self, other: Gathered) -> None:
        """Check that no image is in both.

        Raises:
            UsageError: there is one.
        """
        smaller, larger = sorted((self, other), key=len)
        taken = next((place for place in smaller.places if place in larger), None)
        if taken is not None:
            what = f"Both tallies have an image with the number {taken}."
            raise UsageError(what, hint="Give each image its number in all: tally.add(maps, place=number).")

    def merge(self, other: Gathered, kinds: Sequence[int] = (0,)) -> None:
        """Add the images of another tally; ``kinds`` are what its kinds are called here.

        Raises:
            UsageError: an image is in both.
        """
        self.check_apart(other)
        self.listed.merge(other.listed)
        for place in other.places:
            self._mark(place, kinds[other.kind(place)])
        for note in other._notes.values():
            self._add_note(_Note(note.count, note.at, note.text, note.differ))

    @property
    def names(self) -> tuple[str, ...]:
        """The names; equal names from different folders are preceded by the folders in which they differ."""
        each = [self.listed.of(place)[:2] for place in self.places]
        many = Counter(name for name, _ in each)
        shared = {path for name, path in each if path and many[name] > 1}
        return tuple(_below(path, shared) if path and many[name] > 1 else name for name, path in each)

    def notes(self) -> tuple[str, ...]:
        """Notes on the images."""
        return self.reading_notes()

    def reading_notes(self) -> tuple[str, ...]:
        """How the images were read: each note with the number of images that it is about, if that is not all."""
        return tuple(self._joined(note) for note in sorted(self._notes.values(), key=lambda note: note.at))

    def _joined(self, note: _Note) -> str:
        """The first of notes that differ in their numbers alone, with the number of images that they are about."""
        about = ["and others"] if note.differ else []
        about += [] if note.count == len(self) else [f"{note.count:,} of {counted(len(self), 'image')}"]
        return f"{note.text} ({', '.join(about)})" if about else note.text

    def as_recipe(self) -> dict[str, Any] | None:
        """The part of a recipe called ``image``: the number of images and the SHA-256 of their hashes, in their order.

        None if the hash of one of them is unknown.
        """
        return identity_of(self.listed.of(place)[2] for place in self.places)


class CountedOnce(Gathered):
    """The images that a tally counts, each once: of files of the same bytes that at the first place.

    ``duplicates`` are the names of the other files by their place. ``copies`` are places that are left out too, because
    an image with these bytes is in a tally into which this one will be merged.
    """

    def __init__(self, listed: ImageList | None = None, copies: Collection[int] = (), *, of_view: bool = False) -> None:
        super().__init__(listed, of_view=of_view)
        self.duplicates: dict[int, str] = {}
        self._copies = frozenset(copies)
        self._left_out: set[str] = set()  # hashes of images at these places, of which there may be further files
        self._after_copies = 0

    @property
    def next_place(self) -> int:
        """The place after the last image and the last copy."""
        return max(super().next_place, self._after_copies)

    def check_place(self, place: int) -> int:
        """Check that the place of an image is free, and return it.

        Raises:
            UsageError: it is negative, too large or taken.
        """
        if place in self.duplicates:
            raise UsageError(f"There is an image with the number {place} already.")
        return super().check_place(place)

    def is_copy(
        self,
        maps: FeatureMaps,
        place: int,
        on_move: Callable[[int, int], object] = lambda *_: None,
        name: str | None = None,
    ) -> bool:
        """Whether an image was added before as a file of the same bytes, or will be: it is kept as a duplicate.

        If it is at an earlier place than that file, the file becomes the duplicate, and ``on_move`` is called with its
        place and that of the image. ``name`` is as in ``add``.
        """
        image = maps.image
        if image is None:
            return False
        before = self.place_of(image.sha256)
        left_out = place in self._copies or image.sha256 in self._left_out
        if left_out:
            self._left_out.add(image.sha256)
        elif before is None:
            return False
        if before is None or left_out or place > before:
            self._add_duplicate(place, name or image.name)
        else:
            self._add_duplicate(before, self.listed.of(before)[0])
            self.move(before, maps, place, name)
            on_move(before, place)
        return True

    def _add_duplicate(self, place: int, name: str) -> None:
        self.duplicates[place] = name
        self._after_copies = max(self._after_copies, place + 1)

    def copies_in(self, other: Gathered) -> tuple[int, ...]:
        """The places of images of another tally that are in this one, as files of the same bytes."""
        digests = ((place, other.listed.of(place)[2]) for place in other.places)
        return tuple(place for place, digest in digests if digest and self.place_of(digest) is not None)

    def check_apart(self, other: Gathered) -> None:
        """Check that no image is in both, nor a copy of one.

        Raises:
            UsageError: there is one.
        """
        super().check_apart(other)
        theirs = other.duplicates if isinstance(other, CountedOnce) else {}
        taken = {place for place in self.duplicates if place in theirs or place in other}
        taken |= {place for place in theirs if place in self}
        if taken:
            what = f"Both tallies have an image with the number {min(taken)}."
            raise UsageError(what, hint="Give each image its number in all: tally.add(maps, place=number).")
        for place in self.copies_in(other):
            name = other.listed.of(place)[0]
            raise UsageError(f"Both tallies have the image {name}.", hint="Add each image to one of them.")

    def merge(self, other: Gathered, kinds: Sequence[int] = (0,)) -> None:
        """Add the images and the duplicates of another tally; ``kinds`` are what its kinds are called here.

        Raises:
            UsageError: an image is in both.
        """
        super().merge(other, kinds)
        for place, name in (other.duplicates if isinstance(other, CountedOnce) else {}).items():
            self._add_duplicate(place, name)

    @property
    def duplicate_names(self) -> tuple[str, ...]:
        """The names of the duplicates, in the order of their places."""
        return tuple(self.duplicates[place] for place in sorted(self.duplicates))

    def duplicates_notes(self) -> tuple[str, ...]:
        """Which files are duplicates, as a note; none if there are none."""
        text = duplicates_text(self.duplicate_names)
        return (text,) if text else ()

    def notes(self) -> tuple[str, ...]:
        """Which files are duplicates, and how the images were read."""
        return (*self.duplicates_notes(), *self.reading_notes())


def duplicates_text(names: Sequence[str]) -> str:
    """Which images have the bytes of earlier ones; empty if none has."""
    if not names:
        return ""
    same = inflected(len(names), "is identical to an earlier image", "are identical to earlier images")
    first = ", ".join(names[:3]) + (" …" if len(names) > 3 else "")
    return f"{counted(len(names), 'image')} {same}, counted once: {first}"


def identity_of(digests: Iterable[str | None]) -> dict[str, Any] | None:
    """The number of images and the SHA-256 of their hashes, in their order; None if one is unknown, or there is none."""
    whole, count = hashlib.sha256(), 0
    for digest in digests:
        if digest is None:
            return None
        whole.update(digest.encode("ascii"))
        count += 1
    return {"name": counted(count, "image"), "sha256": whole.hexdigest()} if count else None


def reading_notes(maps: FeatureMaps, more: tuple[str, ...] = ()) -> tuple[str, ...]:
    """How the image of these maps was read; ``more`` are further notes on it."""
    image = maps.image
    bands = image.bands_for(maps.input_size[0])[1] if image and maps.input_size else ()
    chosen = preprocessing_notes(maps.source.preprocessing) if image and maps.source else ()
    return (*(image.notes if image else ()), *(more if image else ()), *bands, *chosen)


def _below(path: str, paths: set[str]) -> str:
    """A path without the folders that all paths share."""
    try:
        folders = {os.path.dirname(each) for each in paths}  # noqa: PTH120
        return PurePath(os.path.relpath(path, os.path.commonpath(folders) or ".")).as_posix()
    except ValueError:  # on several drives, or absolute and relative
        return PurePath(path).as_posix()

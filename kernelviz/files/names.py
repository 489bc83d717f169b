"""File names that are safe on every file system and unique within one run."""

from __future__ import annotations

import hashlib
import json
import re
import sys
import unicodedata
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from kernelviz.storage.uris import name_in

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence


LONGEST = 150
"""The most bytes of a stem in UTF-8, with a reserve for suffixes and for prefixes of other programs."""

_DIGITS = 8
_LEAST = 24  # bytes that are left of a part that is cut
_MOST_DIGITS = 64
_UNSAFE = re.compile(r"(?:(?![A-Za-z0-9._+-])[\x00-\x7f])+")
_LETTERS = "LMN"  # the categories of Unicode that are kept: letters, marks and numbers
_BAD_ENDS = re.compile(r"^[.-]+|\.+$")
_RESERVED = re.compile(r"(?:con|prn|aux|nul|com[\d¹²³]|lpt[\d¹²³])(?:\.|$)", re.IGNORECASE)


def safe_part(text: str) -> str:
    """Make one part of a file name safe on every file system.

    Letters and digits of any script, ``.``, ``_``, ``-`` and ``+`` are kept, in Unicode's form NFC; every run of other
    characters becomes one ``_``. If the names of files are not in Unicode, only what their encoding has is kept. The part
    is never empty, does not start with ``.`` or ``-``, does not end with ``.``, is not a device name of Windows, and has at
    most ``LONGEST`` bytes.
    """
    return _cut(_clean(text), LONGEST)


def file_stems(full_names: Sequence[Sequence[str]], *, taken: Collection[str] = ()) -> list[str]:
    """Return one file stem per full name, in the same order; all differ, even ignoring case and compatible forms.

    The parts of a name are made safe and joined by ``-``. If stems collide with each other or with ``taken``, or are too
    long, ``-`` and eight hex digits of a hash of the full name are appended; of a long stem the longest part is cut. All
    colliding stems are changed, so that the order does not matter; if eight digits do not suffice, there are more.

    Args:
        full_names: the parts of each name, such as ``("resnet18d.random", "layer1.0.conv1", "kernels", "sum")``.
        taken: stems that must not be used.

    Raises:
        ValueError: a full name is given twice.
    """
    if len({tuple(parts) for parts in full_names}) < len(full_names):
        raise ValueError("Each full name must be given once.")
    bases = ["-".join(map(_clean, parts)) or "_" for parts in full_names]
    digests = [_digest(parts) for parts in full_names]
    digits = [_DIGITS if _size(base) > LONGEST else 0 for base in bases]
    while True:
        stems = [_stem(*each) for each in zip(full_names, bases, digests, digits, strict=True)]
        meeting = list(_meeting(stems, taken))
        if not meeting:
            return stems
        for index in meeting:
            digits[index] = min(digits[index] + _DIGITS, _MOST_DIGITS)


class ImageStems:
    """The names of images in file names, by path; equal ones get digits of a hash of their path."""

    def __init__(self, paths: Sequence[str]) -> None:
        counts = Counter(comparable(safe_part(self._plain(path))) for path in paths)
        self._shared = frozenset(stem for stem, count in counts.items() if count > 1)

    @staticmethod
    def _plain(path: str) -> str:
        return Path(name_in(path).removeprefix("sample:")).stem if path != "-" else "stdin"

    def __getitem__(self, path: str) -> str:
        stem = self._plain(path)
        return f"{stem}-{short_hash(path)}" if comparable(safe_part(stem)) in self._shared else stem


def short_hash(*parts: str) -> str:
    """Eight hex digits of the hash of a full name."""
    return _digest(parts)[:_DIGITS]


def _clean(text: str) -> str:
    """``safe_part`` without the limit of length."""
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
        text = "".join(char if char.isascii() or _is_letter(char) else " " for char in text)
    part = _BAD_ENDS.sub("_", _UNSAFE.sub("_", text)) or "_"
    return f"_{part}" if _RESERVED.match(part) else part


def _is_letter(char: str) -> bool:
    """Whether a character outside ASCII is kept."""
    if unicodedata.category(char)[0] not in _LETTERS:
        return False
    try:
        char.encode(sys.getfilesystemencoding())
    except UnicodeEncodeError:
        return False
    return True


def _size(text: str) -> int:
    return len(text.encode())


def _cut(part: str, longest: int) -> str:
    """The beginning of a safe part, still safe."""
    return part if _size(part) <= longest else _BAD_ENDS.sub("_", _beginning(part, longest))


def _beginning(text: str, longest: int) -> str:
    """As many whole characters as fit into so many bytes."""
    return text.encode()[:longest].decode(errors="ignore")


def _stem(full_name: Sequence[str], base: str, digest: str, digits: int) -> str:
    if digits == 0:
        return base
    return f"{_shortened(full_name, base, LONGEST - digits - 1)}-{digest[:digits]}"


def _shortened(full_name: Sequence[str], base: str, most: int) -> str:
    """A stem of at most so many bytes: its longest part is cut, or its end if little of that part would be left."""
    parts = list(map(_clean, full_name))
    if _size(base) <= most or not parts:
        return _beginning(base, most)
    longest = max(range(len(parts)), key=lambda at: _size(parts[at]))
    left = most - (_size(base) - _size(parts[longest]))
    if left < _LEAST:
        return _beginning(base, most)
    parts[longest] = _cut(parts[longest], left)
    return "-".join(parts)


def _digest(parts: Sequence[str]) -> str:
    """A hash of the full name; in JSON ``("a-b",)`` and ``("a", "b")`` differ."""
    return hashlib.sha256(json.dumps(list(parts)).encode("ascii")).hexdigest()


def _meeting(stems: Sequence[str], taken: Collection[str]) -> Iterator[int]:
    """The indices of the stems that are not unique, ignoring case and compatible forms of letters."""
    counts = Counter(map(comparable, stems))
    counts.update(map(comparable, taken))
    for index, stem in enumerate(stems):
        if counts[comparable(stem)] > 1:
            yield index


def comparable(stem: str) -> str:
    """A stem as file systems compare names: without case, and without differences of compatible forms."""
    return stem.casefold() if stem.isascii() else unicodedata.normalize("NFKC", stem.casefold()).casefold()

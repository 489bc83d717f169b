"""File names that are safe on every file system and unique within one run."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence


LONGEST = 150
"""The most characters of a stem, with a reserve for suffixes and for prefixes of other programs."""

_DIGITS = 8
_MOST_DIGITS = 64
_UNSAFE = re.compile(r"[^A-Za-z0-9._+-]+")
_KEPT = re.compile(r"[A-Za-z0-9]")
_BAD_ENDS = re.compile(r"^[.-]+|\.+$")
_RESERVED = re.compile(r"(?:con|prn|aux|nul|com\d|lpt\d)(?:\.|$)", re.IGNORECASE)


def safe_part(text: str) -> str:
    """Make one part of a file name safe on every file system.

    ASCII letters, digits, ``.``, ``_``, ``-`` and ``+`` are kept; every run of other characters becomes one ``_``. If no
    letter or digit of a text outside ASCII is left, eight hex digits of a hash of it are appended. The part is never empty,
    does not start with ``.`` or ``-``, does not end with ``.``, is not a device name of Windows, and has at most
    ``LONGEST`` characters.
    """
    return _cut(_clean(text), LONGEST)


def file_stems(full_names: Sequence[Sequence[str]], *, taken: Collection[str] = ()) -> list[str]:
    """Return one file stem per full name, in the same order; all differ, even ignoring case.

    The parts of a name are made safe and joined by ``-``. If stems collide with each other or with ``taken``, or are too
    long, ``-`` and eight hex digits of a hash of the full name are appended. All colliding stems are changed, so that
    the order does not matter; if eight digits do not suffice, there are more.

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
    digits = [_DIGITS if len(base) > LONGEST else 0 for base in bases]
    while True:
        stems = [_stem(*each) for each in zip(bases, digests, digits, strict=True)]
        meeting = list(_meeting(stems, taken))
        if not meeting:
            return stems
        for index in meeting:
            digits[index] = min(digits[index] + _DIGITS, _MOST_DIGITS)


def short_hash(*parts: str) -> str:
    """Eight hex digits of the hash of a full name."""
    return _digest(parts)[:_DIGITS]


def _clean(text: str) -> str:
    """``safe_part`` without the limit of length."""
    part = _BAD_ENDS.sub("_", _UNSAFE.sub("_", text)) or "_"
    if not text.isascii() and not _KEPT.search(part):
        part = f"{part}-{short_hash(text)}"
    return f"_{part}" if _RESERVED.match(part) else part


def _cut(part: str, longest: int) -> str:
    """The beginning of a safe part, still safe."""
    return part if len(part) <= longest else _BAD_ENDS.sub("_", part[:longest])


def _stem(base: str, digest: str, digits: int) -> str:
    if digits == 0:
        return base
    return f"{base[: LONGEST - digits - 1]}-{digest[:digits]}"


def _digest(parts: Sequence[str]) -> str:
    """A hash of the full name; in JSON ``("a-b",)`` and ``("a", "b")`` differ."""
    return hashlib.sha256(json.dumps(list(parts)).encode("ascii")).hexdigest()


def _meeting(stems: Sequence[str], taken: Collection[str]) -> Iterator[int]:
    """The indices of the stems that are not unique, ignoring case."""
    counts = Counter(stem.casefold() for stem in stems)
    counts.update(stem.casefold() for stem in taken)
    for index, stem in enumerate(stems):
        if counts[stem.casefold()] > 1:
            yield index

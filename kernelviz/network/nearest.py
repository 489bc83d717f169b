"""The nearest right names for a wrong one."""

from __future__ import annotations

from difflib import SequenceMatcher
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_BEGUN = 0.95  # one letter of ten that differs costs as much
NEAR = 0.65  # what people mistype keeps more of a model's name than that; what they make up, less
_LONGEST = 100  # the comparison takes quadratic time, and no name is longer


def nearest_names(names: Iterable[str], *spellings: str, count: int = 3, least: float = 0.0) -> list[str]:
    """The ``count`` names that look most like one of the ``spellings``, best first, none less alike than ``least``.

    Likeness, 0 to 1, is twice the number of letters in common by that of all letters. Letter case does not count, nor
    whether parts are joined with ``-``, ``.`` or ``_``. A name that goes on where the spelling ends is nearer than one
    that differs in a letter.
    """
    wanted = [_normalised(spelling)[:_LONGEST] for spelling in spellings if spelling]
    matchers = [SequenceMatcher(None, "", spelling, autojunk=False) for spelling in wanted]

    def likeness(name: str) -> float:
        normal = _normalised(name)
        for matcher in matchers:
            matcher.set_seq1(normal)
        ratio = max(matcher.ratio() for matcher in matchers)
        return max(ratio, _BEGUN + ratio / 100) if normal.startswith(tuple(wanted)) else ratio

    rated = [(likeness(name), name) for name in names] if matchers else []
    near = [(rating, name) for rating, name in rated if rating >= least]
    return [name for _, name in sorted(near, key=lambda each: each[0], reverse=True)[:count]]


def _normalised(name: str) -> str:
    return name.lower().replace("-", "_").replace(".", "_")

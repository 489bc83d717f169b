"""The nearest right names for a wrong one."""

from __future__ import annotations

from difflib import SequenceMatcher
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_BEGUN = 0.95  # one letter of ten that differs costs as much
_LONGEST = 100  # the comparison takes quadratic time, and no name is longer


def nearest_names(names: Iterable[str], *spellings: str, count: int = 3) -> list[str]:
    """The ``count`` names that look most like one of the ``spellings``, best first.

    Letter case does not count, nor whether parts are joined with ``-``, ``.`` or ``_``. A name that goes on where the
    spelling ends is nearer than one that differs in a letter.
    """
    wanted = [_normalised(spelling)[:_LONGEST] for spelling in spellings if spelling]
    matchers = [SequenceMatcher(None, "", spelling, autojunk=False) for spelling in wanted]

    def likeness(name: str) -> float:
        normal = _normalised(name)
        for matcher in matchers:
            matcher.set_seq1(normal)
        ratio = max(matcher.ratio() for matcher in matchers)
        return max(ratio, _BEGUN + ratio / 100) if normal.startswith(tuple(wanted)) else ratio

    return sorted(names, key=likeness, reverse=True)[:count] if matchers else []


def _normalised(name: str) -> str:
    return name.lower().replace("-", "_").replace(".", "_")

"""The nearest right names for a wrong one."""

from __future__ import annotations

from difflib import SequenceMatcher
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_LONGEST = 100  # the comparison takes quadratic time, and no name is longer


def nearest_names(names: Iterable[str], *spellings: str, count: int = 3) -> list[str]:
    """The ``count`` names that look most like one of the ``spellings``, best first.

    Letter case does not count, nor whether parts are joined with ``-``, ``.`` or ``_``.
    """
    matchers = [
        SequenceMatcher(None, "", _normalised(spelling)[:_LONGEST], autojunk=False)
        for spelling in spellings
        if spelling
    ]

    def likeness(name: str) -> float:
        for matcher in matchers:
            matcher.set_seq1(_normalised(name))
        return max((matcher.ratio() for matcher in matchers), default=0.0)

    return sorted(names, key=likeness, reverse=True)[:count] if matchers else []


def _normalised(name: str) -> str:
    return name.lower().replace("-", "_").replace(".", "_")

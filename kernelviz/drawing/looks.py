"""The looks of pictures: what each one changes of a page. Pages are built without knowing which look they are drawn in."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from kernelviz.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence


LookName: TypeAlias = Literal["page", "slide", "dark", "print"]


@dataclass(frozen=True)
class Look:
    """One look.

    ``size`` is the width and height of every picture in pixels, None if each page has its own. ``smallest_type`` is the
    size in pixels of the smallest letters on such a page. Without ``caption`` a picture has no identity line and no
    caption, only what changes its meaning.
    """

    name: LookName
    size: tuple[int, int] | None = None
    smallest_type: float = 0.0
    caption: bool = True

    @property
    def is_page(self) -> bool:
        """Whether pages are drawn as they were built."""
        return self == LOOKS["page"]

    def as_recipe(self, left_out: Sequence[str] = ()) -> dict[str, Any]:
        """The part of a recipe about the look, with the lines that it leaves out; empty for an ordinary page."""
        without = {"caption": False} if LOOKS[self.name].caption and not self.caption else {}
        lines = {"left_out": list(left_out)} if left_out else {}
        return {**({} if self.name == "page" else {"look": self.name}), **without, **lines}


LOOKS: dict[str, Look] = {
    "page": Look("page"),
    "slide": Look("slide", (1280, 720), 18.0, caption=False),
    "dark": Look("dark"),
    "print": Look("print"),
}


def find_look(name: str, *, caption: bool = True) -> Look:
    """The look of this name; with ``caption=False`` without identity and caption.

    Raises:
        UsageError: There is none.
    """
    if name in LOOKS:
        return LOOKS[name] if caption else replace(LOOKS[name], caption=False)
    near = difflib.get_close_matches(str(name), get_args(LookName), 1)
    what = f"The look must be page, slide, dark or print, but got {name!r}."
    raise UsageError(what, hint=f"Did you mean {near[0]}?" if near else "")

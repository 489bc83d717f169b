"""The looks of pictures: what each one changes of a page. Pages are built without knowing which look they are drawn in.

Here are the colours of roles; those of values are in ``colour``. Standard library only, since every command reads it.

On a page the size of a value is darkness and its sign a colour. ``dark`` has a dark ground, so that size is lightness.
``print`` has no colour: size is darkness, and negative values have stripes of the same mean grey, or a minus in each cell
that is too small for stripes.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from kernelviz.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

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

    def palette(self, wanted: str) -> Any:
        """The palette of a picture for which this one is wanted: without colours there are planes instead."""
        return "planes" if self.textured else wanted

    @property
    def table(self) -> LookName:
        """The look whose colours this one has."""
        return "page" if self.name == "slide" else self.name

    @property
    def roles(self) -> Mapping[str, str]:
        """The colour of each role, as a hexadecimal number."""
        return _ROLES[self.name]

    @property
    def words(self) -> Mapping[str, str]:
        """What is said of colours on a page, and what is true in this look; none is longer than on the page."""
        return _WORDS.get(self.name, {})

    @property
    def ground(self) -> str:
        """The colour of the page."""
        return self.roles["paper"]

    @property
    def textured(self) -> bool:
        """Whether the pixels of values depend on where they are on the page."""
        return self.name == "print"


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


_ROLES: dict[str, Mapping[str, str]] = {
    "page": {
        "paper": "#ffffff",
        # Texts.
        "ink": "#1a1a1a",
        "grey": "#4d4d4d",
        "quiet": "#6b6b6b",
        # Lines between parts of a page.
        "outline": "#c4c4c4",
        "separator": "#d9dce0",
        "rule": "#b4b4b4",
        # The badge of random weights.
        "badge": "#f5b700",
        "badge ink": "#1a1a1a",
        # Worksheets: digits, frames and results; what is beside them; what does not take part; lines of cells.
        "dark": "#17191f",
        "dim": "#5a626e",
        "faint": "#8a929c",
        "line": "#c6cad0",
        "border": "#7d8590",
        "dash": "#8d949c",
        "halo": "#ffffff",
        "on dark": "#ffffff",
        # Digits on the cells of an image, which are the same in every look.
        "on light pixel": "#17191f",
        "on dark pixel": "#ffffff",
        "other step": "#9aa1aa",
        # Charts.
        "series": "#2166ac",
        "span": "#c6dbef",
        "dead": "#6e6e6e",
        "zero line": "#b4b4b4",
        "band": "#f2f3f5",
        "grid": "#d9dce0",
        "family: standard": "#1a1a1a",
        "family: grouped": "#7f7f7f",
        "family: pointwise 1 × 1": "#2166ac",
        "family: depthwise": "#92c5de",
        "pale: standard": "#a3a3a3",
        "pale: grouped": "#d0d0d0",
        "pale: pointwise 1 × 1": "#a6c3e1",
        "pale: depthwise": "#d3e8f3",
        "median: standard": "#1a1a1a",
        "median: grouped": "#6b6b6b",
        "median: pointwise 1 × 1": "#2166ac",
        "median: depthwise": "#4393c3",
        "bar": "#2166ac",
        "track": "#e4e4e4",
        "positive": "#cb4c42",
        "negative": "#3b86c0",
        "named": "#575f6b",
        "on named": "#ffffff",
        "undrawn": "#b9bec6",
        "unnamed": "#ffffff",
        "unnamed edge": "#8a919c",
        # Parts of pictures.
        "not finite": "#000000",
        "red": "#c0392b",
        "green": "#2e8b57",
        "blue": "#2e6bb0",
        "cut": "#4393c3",
        "no number": "#eceff2",
        "blank": "#eceff2",
        "darker blank": "#cdd3d9",
        "side": "#eef0f3",
    },
}
_ROLES["dark"] = {
    **_ROLES["page"],
    "paper": "#14161a",
    "ink": "#f2f4f7",
    "grey": "#b3bac4",
    "quiet": "#a6aeb9",
    "outline": "#4a515c",
    "separator": "#30353d",
    "rule": "#4a515c",
    "dark": "#f2f4f7",
    "dim": "#b3bac4",
    "faint": "#9da5b0",
    "line": "#3a4048",
    "border": "#7d8590",
    "dash": "#7d8590",
    "halo": "#14161a",
    "on dark": "#14161a",
    "other step": "#6b737e",
    "series": "#6db3f2",
    "span": "#3a6d9c",
    "dead": "#6e6e6e",
    "zero line": "#6b737e",
    "band": "#1d2026",
    "grid": "#30353d",
    "family: standard": "#f2f4f7",
    "family: grouped": "#8b939e",
    "family: pointwise 1 × 1": "#6db3f2",
    "family: depthwise": "#33709f",
    "pale: standard": "#6b727c",
    "pale: grouped": "#3d434c",
    "pale: pointwise 1 × 1": "#2c5680",
    "pale: depthwise": "#1f3d57",
    "median: standard": "#f2f4f7",
    "median: grouped": "#a6aeb9",
    "median: pointwise 1 × 1": "#6db3f2",
    "median: depthwise": "#58a0d0",
    "bar": "#6db3f2",
    "track": "#30353d",
    "positive": "#ef8468",
    "negative": "#4f9de1",
    "named": "#c3c9d2",
    "on named": "#14161a",
    "undrawn": "#4a515c",
    "unnamed": "#20242b",
    "unnamed edge": "#8a919c",
    "not finite": "#ffffff",
    "red": "#e8685a",
    "green": "#4fb37c",
    "blue": "#5b93d6",
    "cut": "#4f9de1",
    "no number": "#3a4049",
    "blank": "#262b33",
    "darker blank": "#3a4049",
    "side": "#1f242b",
}
_ROLES["print"] = {
    **_ROLES["page"],
    "grey": "#333333",
    "quiet": "#4d4d4d",
    "outline": "#9a9a9a",
    "separator": "#c4c4c4",
    "rule": "#8a8a8a",
    "badge": "#d9d9d9",
    "dark": "#171717",
    "on light pixel": "#171717",
    "dim": "#4d4d4d",
    "faint": "#6b6b6b",
    "line": "#b5b5b5",
    "border": "#6b6b6b",
    "dash": "#6b6b6b",
    "other step": "#8a8a8a",
    "series": "#333333",
    "span": "#c8c8c8",
    "zero line": "#8a8a8a",
    "band": "#f2f2f2",
    "grid": "#d6d6d6",
    "family: grouped": "#808080",
    "family: pointwise 1 × 1": "#5c5c5c",
    "family: depthwise": "#4d4d4d",
    "pale: standard": "#b0b0b0",
    "pale: pointwise 1 × 1": "#c4c4c4",
    "pale: depthwise": "#dcdcdc",
    "median: grouped": "#808080",
    "median: pointwise 1 × 1": "#4d4d4d",
    "median: depthwise": "#333333",
    "bar": "#4d4d4d",
    "positive": "#4b4b4b",
    "negative": "#5c5c5c",
    "named": "#4d4d4d",
    "undrawn": "#bdbdbd",
    "unnamed edge": "#808080",
    "red": "#4d4d4d",
    "green": "#808080",
    "blue": "#b0b0b0",
    "cut": "#6b6b6b",
    "no number": "#eeeeee",
    "blank": "#eeeeee",
    "darker blank": "#d2d2d2",
    "side": "#f0f0f0",
}
_ROLES["slide"] = _ROLES["page"]

_WORDS: dict[str, Mapping[str, str]] = {
    "dark": {
        "with a black frame": "with a white frame",
        "black: one unit": "white: one unit",
        "white: never read": "dark: never read",
        "Mid-grey, white in component 3": "Mid-grey, dark in component 3",
    },
    "print": {"red positive, blue negative": "solid +, striped −"},
}

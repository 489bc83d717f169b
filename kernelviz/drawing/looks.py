"""The looks of pictures: what each one changes of a page. Pages are built without knowing which look they are drawn in.

On a page the size of a value is darkness and its sign a colour. ``dark`` has a dark ground, so that size is lightness.
``print`` has no colour: size is darkness, and negative values have stripes of the same mean grey, or a minus in each cell
that is too small for stripes.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import numpy as np

from kernelviz.drawing.colour import (
    DARK_MARK,
    DEAD,
    INKS,
    LEVELS,
    LIGHT_MARK,
    NOT_FINITE,
    OUTLINE,
    PAPER,
    RD_BU,
    WHITE_RED,
    ZERO_LEVEL,
    ramp,
)
from kernelviz.drawing.rasters import Indexed, Overlaid, Ramp, Tiles, TintRamp, Veiled
from kernelviz.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from kernelviz.drawing.rasters import Content, Palette
    from kernelviz.records import Array

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

    def colour(self, role: str) -> str:
        """The colour of a role, as a hexadecimal number."""
        return _ROLES[_TABLES[self.name]][role]

    @property
    def ground(self) -> str:
        """The colour of the page."""
        return self.colour("paper")

    @property
    def textured(self) -> bool:
        """Whether the pixels of values depend on where they are on the page, see ``textured_pixels``."""
        return self.name == "print"

    def palette(self, palette: Palette) -> Array:
        """The (n, 3) uint8 colours of a palette."""
        return _table(_TABLES[self.name], palette)

    def pixels(self, content: Content) -> Array:
        """A raster as (H, W, 3) uint8, without the textures of a look that has them."""
        match content:
            case Indexed():
                return np.asarray(np.take(self.palette(content.palette), content.index, axis=0))
            case Tiles():
                return self._tiles(content)
            case Overlaid():
                return self._overlaid(content)
            case Veiled():
                shown = self._photograph(content.pixels)
                veiled = np.rint(shown + (np.array(_rgb(self.ground), float) - shown) * _VEIL)
                pixels = veiled.astype(np.uint8)
                pixels[content.clear] = shown[content.clear]
                return pixels
            case _:
                return self._photograph(content)

    def key(self, contents: Iterable[Content]) -> list[str]:
        """The lines of a caption about what this look makes of these rasters."""
        if self.name != "print":
            return []
        shown = list(contents)
        values = [each for each in shown if isinstance(each, Indexed) and _has_darkness(each.palette)]
        over = [each for each in shown if isinstance(each, Overlaid)]
        lines = []
        if any(map(_has_stripes, values)) or any((each.shares < 0).any() for each in over):
            small = ", or with a minus in small cells" if any(map(_has_minus, values)) else ""
            lines.append(f"Solid: positive · striped{small}: negative, from {_BLANK} % on · the darker, the larger")
        elif values or over:
            lines.append("The darker, the larger")
        if any(isinstance(each, Tiles) and _coloured(each.pixels) for each in shown):
            lines.append("Colours in grey: different ones may look alike; the looks page and dark keep them")
        elif any(_coloured(each.pixels if isinstance(each, Veiled) else each) for each in shown
                 if isinstance(each, Veiled | np.ndarray)):  # fmt: skip
            lines.append("Photographs in grey")
        return lines

    def text(self, text: str) -> str:
        """A text of a page, with what is said of colours as it is in this look."""
        for page, own in _WORDS.get(self.name, {}).items():
            text = text.replace(page, own)
        return text

    def _photograph(self, pixels: Array) -> Array:
        return _grey(pixels) if self.name == "print" else pixels

    def _tiles(self, tiles: Tiles) -> Array:
        if _TABLES[self.name] == "page":
            return tiles.pixels
        pixels, gaps, inks = self._photograph(tiles.pixels).copy(), tiles.gaps, self.palette(Ramp(None, signed=True))
        for ink in (PAPER, OUTLINE, NOT_FINITE):
            pixels[gaps & (tiles.pixels == INKS[ink]).all(axis=2)] = inks[ink]
        return pixels

    def _overlaid(self, over: Overlaid) -> Array:
        look = _OVERLAYS[_TABLES[self.name]]
        ground = (look.dimmest + look.share * over.ground)[..., None] if look.share != 1 else over.ground[..., None]
        colours = np.where((over.shares < 0)[..., None], np.array(look.negative, float), np.array(look.positive, float))
        opacity = (_STRONGEST * np.abs(np.clip(over.shares, -1, 1)))[..., None]
        return np.asarray(np.rint(ground * (1 - opacity) + colours * opacity), dtype=np.uint8)

    def textured_pixels(self, content: Content, size: tuple[int, int], at: tuple[int, int], scale: float) -> Array:
        """A raster with its textures, as (rows, columns, 3) uint8 in the pixels of the picture.

        Args:
            content: What is drawn.
            size: Rows and columns.
            at: The row and the column of its first pixel in the picture; stripes of all rasters are parts of one pattern.
            scale: Pixels of the picture for a pixel of the page.
        """
        down, across = (np.arange(new) * old // new for new, old in zip(size, content.shape[:2], strict=True))
        if isinstance(content, Overlaid):
            part = np.ix_(down, across)
            return _striped_overlay(content.ground[part], content.shares[part], at, scale)
        if not isinstance(content, Indexed):
            return np.asarray(np.take(np.take(self.pixels(content), down, axis=0), across, axis=1))
        index = np.take(np.take(content.index, down, axis=0), across, axis=1)
        cells = content.cells or (np.arange(content.shape[0]), np.arange(content.shape[1]))
        return _printed(index, content.palette, (cells[0][down], cells[1][across]), at, scale)


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


_TABLES: dict[str, str] = {"page": "page", "slide": "page", "dark": "dark", "print": "print"}
"""Whose colours each look has."""

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
    "span": "#33618c",
    "dead": "#6e6e6e",
    "zero line": "#6b737e",
    "band": "#1d2026",
    "grid": "#30353d",
    "family: standard": "#f2f4f7",
    "family: grouped": "#8b939e",
    "family: pointwise 1 × 1": "#6db3f2",
    "family: depthwise": "#33709f",
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
    "bar": "#4d4d4d",
    "positive": "#4b4b4b",
    "negative": "#a0a0a0",
    "named": "#4d4d4d",
    "undrawn": "#bdbdbd",
    "unnamed edge": "#808080",
    "red": "#4d4d4d",
    "green": "#808080",
    "blue": "#b0b0b0",
    "blank": "#eeeeee",
    "darker blank": "#d2d2d2",
    "side": "#f0f0f0",
}
_WORDS: dict[str, Mapping[str, str]] = {
    "dark": {"with a black frame": "with a white frame"},
    "print": {"red positive, blue negative": "solid +, striped −"},
}
"""Words about colours on a page, and in a look in which they would be wrong; none is longer than on the page."""

_STRIPED = {"family: depthwise"}
"""Roles whose areas are striped in print."""

_WHITE = (255, 255, 255)
# On a page: blue and red through white, the zero of every matrix; dark digits are legible on the middle half.
_PALE = (RD_BU[3], RD_BU[4], _WHITE, RD_BU[6], RD_BU[7])
_FULL = (*RD_BU[:5], _WHITE, *RD_BU[6:])
# On a dark page, by the share of full colour; light digits are legible up to 0.4.
_DARK = {
    -1.0: (0xA6, 0xD8, 0xFF), -0.7: (0x4F, 0x9D, 0xE1), -0.4: (0x27, 0x53, 0x82), 0.0: (0x20, 0x24, 0x2B),
    0.4: (0x84, 0x3A, 0x31), 0.7: (0xDF, 0x6A, 0x50), 1.0: (0xFF, 0xC0, 0xA8),
}  # fmt: skip
_DIGITS_REACH = 0.4
# In print: how much darker than paper the largest value is, also below digits; the ink of stripes.
_DARKEST, _DARKEST_DIGITS = 180.0, 85.0
_STRIPE_INK = 55.0
_BLANK = 2  # percent of full colour below which negative values are blank
_PERIOD, _SMALL_CELL, _SMALLEST_CELL = 9, 12, 5  # pixels of the page
_VEIL, _STRONGEST = 0.55, 0.85


@dataclass(frozen=True)
class _OverlayColours:
    """The colours of a map over a photograph, and how light this is: ``dimmest`` + ``share`` · grey."""

    negative: tuple[int, int, int]
    positive: tuple[int, int, int]
    dimmest: float = 0.0
    share: float = 1.0


_OVERLAYS = {
    "page": _OverlayColours((0x21, 0x66, 0xAC), (0xB2, 0x18, 0x2B)),
    "dark": _OverlayColours((0xA6, 0xD8, 0xFF), (0xFF, 0xC0, 0xA8), -30.0, 0.62),
    "print": _OverlayColours((0x20, 0x20, 0x20), (0x20, 0x20, 0x20), 150.0, 0.41),
}


def greys() -> Array:
    """The (256, 3) uint8 palette of greys, from black to white."""
    return np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)


def _rgb(colour: str) -> tuple[int, int, int]:
    red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return red, green, blue


def _grey(pixels: Array) -> Array:
    """Pixels as grey of the same luma (Rec. 601)."""
    grey = np.rint(pixels @ np.array([0.299, 0.587, 0.114])).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=-1)


@lru_cache(maxsize=64)
def _table(name: str, palette: Palette) -> Array:
    """The colours of a palette in the look of this name; those of print are the mean greys of its textures."""
    match palette:
        case TintRamp():
            levels = _tint_levels(name, palette)
            table = np.vstack([levels, _inks(name), [_BROKEN_CELLS[name]]])
        case Ramp():
            levels, kept = _levels(name, palette)
            table = np.vstack([levels, _inks(name, kept=kept)])
        case _:
            table = np.array([_rgb(_ROLES[name][role]) for role in palette])
    result = np.asarray(table, np.uint8)
    result.setflags(write=False)
    return result


_BROKEN_CELLS = {"page": (222, 222, 222), "dark": (58, 63, 71), "print": (222, 222, 222)}


def _inks(name: str, *, kept: bool = False) -> Array:
    """Paper, outline and marks; beside the levels of a page, ``kept``, marks are legible in their own colours."""
    roles, inks = _ROLES[name], dict(INKS)
    inks[PAPER], inks[OUTLINE], inks[NOT_FINITE] = (_rgb(roles[role]) for role in ("paper", "outline", "not finite"))
    if name in ("dark", "print") and not kept:  # values that are as good as zero have the same ground in all palettes
        inks[DARK_MARK] = inks[LIGHT_MARK] = _rgb(roles["ink"])
    return np.array([inks[ink] for ink in INKS])


def _levels(name: str, palette: Ramp) -> tuple[Array, bool]:
    """The colours of the levels, and whether they are those of a page, or their greys."""
    own = palette.name is None or palette.name == WHITE_RED
    page = ramp(palette.name, signed=palette.signed)
    if name == "page" or (name == "dark" and (not own or (palette.name is None and not palette.signed))):
        return page, True
    shares = np.linspace(-1.0 if palette.signed else 0.0, 1.0, LEVELS)
    if name == "dark":
        return _mixed(shares, tuple(_DARK), tuple(_DARK.values())), False
    grey = _grey(page)
    steps = np.diff(grey[:, 0].astype(int))
    if not own and ((steps >= 0).all() or (steps <= 0).all()):
        return grey, True
    return _darkness(shares, _DARKEST), False


def _tint_levels(name: str, palette: TintRamp) -> Array:
    shares = np.arange(-ZERO_LEVEL, ZERO_LEVEL + 1) / ZERO_LEVEL
    if name == "print":
        return _darkness(shares, _DARKEST_DIGITS if palette.pale else _DARKEST)
    if name == "dark":
        return _mixed(_DIGITS_REACH * shares if palette.pale else shares, tuple(_DARK), tuple(_DARK.values()))
    anchors = _PALE if palette.pale else _FULL
    return _mixed(shares, np.linspace(-1, 1, len(anchors)), anchors)


def _mixed(shares: Array, positions: object, anchors: tuple[tuple[int, ...], ...]) -> Array:
    mixed = [np.interp(shares, np.asarray(positions), channel) for channel in zip(*anchors, strict=True)]
    return np.asarray(np.rint(np.stack(mixed, axis=-1)), np.uint8)


def _darkness(shares: Array, darkest: float) -> Array:
    return np.repeat(np.rint(255 - darkest * np.abs(shares)).astype(np.uint8)[:, None], 3, axis=1)


@lru_cache(maxsize=8)
def _coverage(period: int, most: float) -> Array:
    """(101, period): the share of a pixel that stripes cover, by percent of ``most`` and by row plus column.

    A pixel spreads over two steps of row plus column, most of it over the middle.
    """
    fine = 32
    offsets = (np.arange(2 * fine) + 0.5) / fine
    weights = 1 - np.abs(offsets - 1)
    places = (np.arange(period)[:, None] + offsets[None]) % period
    widths = np.arange(101)[:, None, None] / 100 * most * period
    inside = np.clip((widths / 2 - np.abs(places - period / 2)) * fine + 0.5, 0, 1)
    return np.asarray((inside * weights).sum(axis=-1) / weights.sum())


def _phase(shape: tuple[int, int], at: tuple[int, int], period: int) -> Array:
    return (np.arange(at[0], at[0] + shape[0])[:, None] + np.arange(at[1], at[1] + shape[1])[None]) % period


def _printed(index: Array, palette: Palette, cells: tuple[Array, Array], at: tuple[int, int], scale: float) -> Array:
    """Indices of a palette, one for each pixel of the picture, with the textures of print."""
    grey = _table("print", palette)[:, 0][index]
    period = _PERIOD * max(1, round(scale))
    if isinstance(palette, tuple):
        striped = np.isin(index, [number for number, role in enumerate(palette) if role in _STRIPED])
        if striped.any():
            cover = _coverage(period, 1.0)[55][_phase(grey.shape, at, period)]
            grey[striped] = np.rint(255 - (255.0 - grey) * cover).astype(np.uint8)[striped]
        return np.repeat(grey[..., None], 3, axis=2)
    if is_striped(palette):
        grey = _signed(grey, index, _DARKEST_DIGITS if isinstance(palette, TintRamp) and palette.pale else _DARKEST,
                       cells, (at, period, scale))  # fmt: skip
    dead = index == DEAD
    if dead.any():
        lines = np.arange(at[0], at[0] + len(grey)) // max(1, round(scale)) % 4 > 0
        grey[dead & lines[:, None]] = 255
    return np.repeat(grey[..., None], 3, axis=2)


def is_striped(palette: Palette) -> bool:
    """Whether negative values of this palette have stripes in print."""
    if isinstance(palette, TintRamp):
        return not palette.digits
    return isinstance(palette, Ramp) and palette.signed and _has_darkness(palette)


def _signed(
    grey: Array, index: Array, darkest: float, cells: tuple[Array, Array], pattern: tuple[tuple[int, int], int, float]
) -> Array:
    """The greys with stripes, or a minus in each cell, where the level is negative."""
    at, period, scale = pattern
    percent = np.clip(ZERO_LEVEL - index.astype(np.int16), 0, None)
    size = min(_cell_size(cells[0]), _cell_size(cells[1])) / scale
    negative = percent >= _BLANK
    grey = np.where((percent > 0) & ~negative, 255, grey)
    if _SMALLEST_CELL <= size < _SMALL_CELL:
        marked = _minus(cells)
        share = max(marked[1], 1e-6)
        dark = darkest * percent / 100
        inside = np.where(dark > _LIGHT_FROM, 0.0, np.minimum(200.0, dark / share))
        around = (dark - share * inside) / (1 - share)
        drawn = 255 - np.where(marked[0], inside, around)
    else:
        drawn = (
            255
            - (255 - _STRIPE_INK)
            * _coverage(period, darkest / (255 - _STRIPE_INK))[percent, _phase(grey.shape, at, period)]
        )
    return np.asarray(np.where(negative, np.rint(np.clip(drawn, 0, 255)), grey), np.uint8)


_LIGHT_FROM = 110.0  # how much darker than paper a small cell is whose minus is light


def _has_darkness(palette: Palette) -> bool:
    """Whether size is darkness in this palette in print: all but requested colour maps and roles."""
    return isinstance(palette, TintRamp) or (isinstance(palette, Ramp) and not _levels("print", palette)[1])


def _has_stripes(content: Indexed) -> bool:
    return is_striped(content.palette) and bool((content.index <= ZERO_LEVEL - _BLANK).any())


def _has_minus(content: Indexed) -> bool:
    """Whether negative cells of this raster, one page pixel a pixel, have a minus instead of stripes."""
    if content.cells is None or not _has_stripes(content):
        return False
    return _SMALLEST_CELL <= min(map(_cell_size, content.cells)) < _SMALL_CELL


def _coloured(pixels: Array) -> bool:
    return bool((pixels[..., :1] != pixels[..., 1:]).any())


def _runs(cells: Array) -> tuple[Array, Array]:
    """The position of each pixel in its cell along one side, and the length of the cell."""
    starts = np.concatenate([[0], np.flatnonzero(np.diff(cells)) + 1])
    lengths = np.diff(starts, append=len(cells))
    return np.arange(len(cells)) - np.repeat(starts, lengths), np.repeat(lengths, lengths)


def _cell_size(cells: Array) -> float:
    """The usual length of a cell in pixels."""
    lengths = _runs(cells)[1][cells >= 0]
    return float(np.median(lengths)) if lengths.size else 1.0


def _minus(cells: tuple[Array, Array]) -> tuple[Array, float]:
    """Where the minus of each cell is, and the share of a cell that it takes."""
    (down, tall), (across, wide) = _runs(cells[0]), _runs(cells[1])
    size = min(_cell_size(cells[0]), _cell_size(cells[1]))
    thick, inset = max(1, round(size / 5)), max(1, round(size / 6))
    rows = np.abs(2 * down + 1 - tall) <= thick
    columns = np.abs(2 * across + 1 - wide) <= wide - 2 * inset
    shares = [float(each[cell >= 0].mean()) for each, cell in zip((rows, columns), cells, strict=True)]
    return rows[:, None] & columns[None], shares[0] * shares[1]


def _striped_overlay(ground: Array, shares: Array, at: tuple[int, int], scale: float) -> Array:
    look = _OVERLAYS["print"]
    period = _PERIOD * max(1, round(scale))
    opacity = _STRONGEST * np.abs(np.clip(shares, -1, 1))
    stripes = _coverage(period, 1.0)[np.rint(100 * opacity).astype(int), _phase(ground.shape, at, period)]
    cover = np.where(shares >= 0, opacity, np.where(shares <= -_BLANK / 100, stripes, 0.0))
    grey = (look.dimmest + look.share * ground) * (1 - cover) + look.positive[0] * cover
    return np.repeat(np.rint(grey).astype(np.uint8)[..., None], 3, axis=2)

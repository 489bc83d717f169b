"""What a colour means: scales, colour levels, palettes, and the pixels of rasters in each look.

The rasters of a page have no colours: the look that draws the page gives them.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

import numpy as np

from kernelviz.drawing.looks import LOOKS
from kernelviz.errors import UsageError
from kernelviz.records import LUMA

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kernelviz.drawing.looks import Look
    from kernelviz.records import Array, Tiles


ScaleChoice: TypeAlias = Literal["tile", "layer"] | tuple[float, float]
Palette: TypeAlias = Literal["standard", "safe", "planes"]
PALETTES: tuple[str, ...] = get_args(Palette)
"""``safe`` replaces the colours that lose their meaning to protanopes, deuteranopes or tritanopes; the others stay."""

LEVELS = 201
ZERO_LEVEL = 100
PAPER, OUTLINE, DARK_MARK, LIGHT_MARK, CHEQUER_DARK, CHEQUER_LIGHT, NOT_FINITE, DEAD = range(LEVELS, LEVELS + 8)
INKS = {
    PAPER: (255, 255, 255),
    OUTLINE: (196, 196, 196),
    DARK_MARK: (26, 26, 26),
    LIGHT_MARK: (255, 255, 255),
    CHEQUER_DARK: (64, 64, 64),
    CHEQUER_LIGHT: (212, 212, 212),
    NOT_FINITE: (0, 0, 0),
    DEAD: (110, 110, 110),
}
# Only in the palettes of worksheets: a value that is not finite, beside digits, and a cell without a number.
BROKEN, BLANK = LEVELS + len(INKS), LEVELS + len(INKS) + 1
GOOD_AS_ZERO = 0.5 / ZERO_LEVEL  # half a colour level: no pixel of such a tile leaves the level of zero
FAINT = 0.05

# ColorBrewer's 11-class RdBu (colorbrewer2.org, Apache-2.0) from blue to red: matplotlib's RdBu_r without its import.
RD_BU = (
    (0x05, 0x30, 0x61), (0x21, 0x66, 0xAC), (0x43, 0x93, 0xC3), (0x92, 0xC5, 0xDE), (0xD1, 0xE5, 0xF0),
    (0xF7, 0xF7, 0xF7),
    (0xFD, 0xDB, 0xC7), (0xF4, 0xA5, 0x82), (0xD6, 0x60, 0x4D), (0xB2, 0x18, 0x2B), (0x67, 0x00, 0x1F),
)  # fmt: skip


@dataclass(frozen=True)
class Scale:
    """What a colour means in one picture.

    ``kind`` is ``tile``, ``layer`` or ``range``; ``low`` and ``high`` are the ends of the colour bar (those of the layer
    if each tile has its own). ``below`` and ``above`` count the finite values outside, which take the end colour. A tile
    whose largest value is at most ``floor`` is not scaled up to full colour.
    """

    kind: Literal["tile", "layer", "range"]
    low: float
    high: float
    signed: bool
    below: int = 0
    above: int = 0
    floor: float = 0.0

    @property
    def limit(self) -> float:
        """The size of the value with full colour."""
        return max(abs(self.low), abs(self.high))


def make_scale(tiles: Tiles, choice: ScaleChoice | None = None) -> Scale:
    """The scale of these tiles; the default is ``tile`` for rgb and for maps, ``layer`` for every other view.

    Principal components share one range unless ``tile`` is requested; values outside of it are counted.

    Raises:
        UsageError: The scale is unknown, or the two numbers are not a range.
    """
    if choice is None:
        own = tiles.view == "maps" or (tiles.view == "rgb" and tiles.values.ndim == 4)
        choice = "tile" if own else "layer"
    if tiles.view == "pca" and choice == "layer":
        choice = tiles.extent
    if isinstance(choice, str):
        if choice not in ("tile", "layer"):
            raise UsageError(f"The scale must be tile, layer or LOW,HIGH, but got {choice!r}.")
        low, high = tiles.extent
        limit = max(abs(low), abs(high))
        floor = GOOD_AS_ZERO * limit if tiles.noun == "kernel" else 0.0  # noise of a kernel shows nothing, a map's may
        ends = (-limit, limit) if tiles.signed else (min(low, 0.0), high)
        return Scale(choice, *ends, tiles.signed, floor=floor)
    try:
        low, high = map(float, choice)
    except (TypeError, ValueError):
        raise UsageError(f"The scale must be tile, layer or two numbers, but got {choice!r}.") from None
    if not (np.isfinite(low) and np.isfinite(high) and low < high):
        raise UsageError(f"The scale LOW,HIGH needs two numbers, the lower one first, but got {low:g},{high:g}.")
    with np.errstate(invalid="ignore", over="ignore"):  # 1e308 is infinite beside float32
        below = int(np.count_nonzero((tiles.values < low) & np.isfinite(tiles.values)))
        above = int(np.count_nonzero((tiles.values > high) & np.isfinite(tiles.values)))
    return Scale("range", low, high, tiles.signed, below, above)


_AT_ONCE = 2**16
"""Values that are coloured at once: each takes some 20 bytes meanwhile, and these stay near the processor."""


def tile_limits(values: Array, scale: Scale) -> Array:
    """The size of full colour for each tile, (n, 1, …): its own finite maximum, or the scale's limit."""
    shape = (len(values),) + (1,) * (values.ndim - 1)
    if scale.kind != "tile":
        return np.full(shape, scale.limit)
    finite = np.isfinite(values)
    flat = (values if finite.all() else np.where(finite, values, 0)).reshape(len(values), -1)
    ends = (flat.max(axis=1, initial=0), flat.min(axis=1, initial=0))
    own = np.maximum(*(np.abs(end.astype(np.float64)) for end in ends))
    return np.where(own <= scale.floor, scale.limit, own).reshape(shape)


def fractions(values: Array, scale: Scale) -> Array:
    """Values as fractions of full colour, in float64: [−1, 1] for signed ones, [0, 1] from ``low`` to ``high`` for others.

    Values that are not finite become 0; they are marked separately.
    """
    limits = tile_limits(values, scale)
    finite = np.isfinite(values)
    clean = values.astype(np.float64) if finite.all() else np.where(finite, values, 0).astype(np.float64)
    if scale.kind == "range":
        np.clip(clean, scale.low, scale.high, out=clean)
    start = 0.0 if scale.signed or scale.kind == "tile" else scale.low
    end = limits if scale.signed or scale.kind == "tile" else np.full_like(limits, scale.high)
    half = end / 2 - start / 2  # halves, since from −1e308 to 1e308 it is farther than float64 goes
    clean /= 2
    clean -= start / 2
    with np.errstate(over="ignore"):
        clean /= np.where(half > 0, half, np.inf)
    return np.asarray(clean)


def levels(values: Array, scale: Scale) -> Array:
    """Colour levels 0 … 200 as uint8; for signed values level 100 is zero exactly and a level is 1 % of the limit."""
    result = np.empty(values.shape, np.uint8)
    step = max(1, _AT_ONCE * len(values) // max(1, values.size))
    for start in range(0, len(values), step):
        share = fractions(values[start : start + step], scale)
        share *= ZERO_LEVEL if scale.signed else LEVELS - 1
        share += ZERO_LEVEL if scale.signed else 0
        result[start : start + step] = np.rint(share, out=share)
    return result


def rgb_pixels(values: Array, scale: Scale) -> Array:
    """Red, green and blue weights (…, 3) as 127.5 + 127.5 · w / limit, rounded, uint8."""
    return np.asarray(np.rint(127.5 + 127.5 * fractions(values, scale)), dtype=np.uint8)


# L* of the mean and its range for one component, a* and b* at the end of the other: orange–blue, of the axes through grey
# the one whose ends stay furthest apart for the worst of the four kinds of colour vision.
_LIGHTNESS, _LIGHTER, _ORANGE = 58.0, 34.0, (19.0, 41.0)
_D65 = np.array([0.9505, 1.0, 1.089])
_TO_LINEAR = np.array(
    [[3.2406, -1.5372, -0.4986], [-0.9689, 1.8758, 0.0415], [0.0557, -0.2040, 1.0570]]
)  # IEC 61966-2-1


def check_palette(palette: str) -> None:
    """Reject a name that is no palette.

    Raises:
        UsageError: there is no such palette.
    """
    if palette not in PALETTES:
        raise UsageError(f"The palette must be {', '.join(PALETTES[:-1])} or {PALETTES[-1]}, but got {palette!r}.")


def component_pixels(first: Array, second: Array) -> Array:
    """Two components in [−1, 1] as colours (…, 3), uint8: the first is light or dark, the second orange or blue.

    In CIE L*a*b* (D65) the lightness is 58 + 34 · first, and (a*, b*) is (19, 41) · second. Colours outside of sRGB are
    clipped, which changes their lightness by less than 5.
    """
    root = (_LIGHTNESS + _LIGHTER * first + 16) / 116
    roots = np.stack([root + second * (_ORANGE[0] / 500), root, root - second * (_ORANGE[1] / 200)], axis=-1)
    shares = np.where(roots > 6 / 29, roots**3, (roots - 4 / 29) * (3 * (6 / 29) ** 2))
    linear = np.clip(shares * _D65 @ _TO_LINEAR.T, 0, 1)
    curved = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.asarray(np.rint(255 * curved), dtype=np.uint8)


WHITE_RED = "white to red"
"""The upper half of blue–white–red: maps after a ReLU have the colours that they had before it."""


def map_colours(*, signed: bool) -> str | None:
    """The default colour map of feature maps, as ``ramp`` takes it."""
    return None if signed else WHITE_RED


def colours_of(tiles: Tiles, cmap: str | None) -> str | None:
    """The colour map of some tiles, as ``ramp`` takes it: the requested one, or the default of their view."""
    if cmap is None and tiles.noun == "map" and tiles.view != "norm":
        return map_colours(signed=tiles.signed)
    return cmap


@lru_cache(maxsize=16)
def ramp(name: str | None, *, signed: bool) -> Array:
    """The (201, 3) uint8 colours of the levels: blue–white–red or magma, white to red, or a colour map of matplotlib.

    Raises:
        UsageError: matplotlib has no such colour map.
    """
    if name == WHITE_RED or (name is None and signed):
        anchors = np.linspace(0, LEVELS - 1, len(RD_BU))
        shades = np.linspace(ZERO_LEVEL, LEVELS - 1, LEVELS) if name == WHITE_RED else np.arange(LEVELS)
        mixed = [np.interp(shades, anchors, channel) for channel in zip(*RD_BU, strict=True)]
        return np.asarray(np.rint(np.stack(mixed, axis=1)), dtype=np.uint8)
    import matplotlib as mpl

    wanted = "magma" if name is None else name
    if wanted not in mpl.colormaps:
        near = difflib.get_close_matches(wanted, list(mpl.colormaps), 3)
        raise UsageError(
            f"There is no colour map {wanted!r}.",
            hint=f"The nearest names: {', '.join(near)}." if near else "For example RdBu_r, coolwarm, magma, viridis.",
        )
    colours = mpl.colormaps[wanted].resampled(LEVELS)(np.arange(LEVELS))
    return np.asarray(np.rint(255 * np.asarray(colours)[:, :3]), dtype=np.uint8)


def palette(name: str | None, *, signed: bool) -> Array:
    """The (209, 3) uint8 palette of a mosaic: 201 levels, then paper, outline and marks."""
    return np.vstack([ramp(name, signed=signed), np.array(list(INKS.values()), np.uint8)])


def mark_on(colour: Array) -> int:
    """The colour index of a line that is visible on this colour."""
    return DARK_MARK if float(colour @ LUMA) > 140 else LIGHT_MARK


@dataclass(frozen=True)
class Ramp:
    """The palette of values: the colours of all levels by ``colour.ramp``, then paper, outline and marks."""

    name: str | None
    signed: bool


@dataclass(frozen=True)
class TintRamp:
    """The palette of worksheets: levels from −1 to 1 through the ground of the page, then paper, outline and marks.

    ``pale`` takes the part on which digits are legible; with ``digits`` the cells also contain numbers with their signs.
    """

    pale: bool
    digits: bool = False


ColourTable: TypeAlias = Ramp | TintRamp | tuple[str, ...]
"""The colours of indices; a tuple holds roles."""


@dataclass(frozen=True, eq=False)
class Indexed:
    """Indices (H, W) of a palette, uint8.

    ``cells`` are the number of the value that each row and each column of pixels shows, negative in the gaps; None if each
    pixel is a value of its own.
    """

    index: Array
    palette: ColourTable
    cells: tuple[Array, Array] | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.index.shape[0], self.index.shape[1]


@dataclass(frozen=True, eq=False)
class ColourTiles:
    """Tiles of colour (H, W, 3) uint8; paper, outlines and frames between them have the inks of a white page.

    ``cells`` are as in ``Indexed``; ``blanks`` are boxes (top, left, bottom, right) without a tile. If some columns of
    tiles show values instead, ``levels`` are those of the whole raster, and ``valued`` (W,) is True in these columns.
    """

    pixels: Array
    cells: tuple[Array, Array]
    blanks: tuple[tuple[int, int, int, int], ...] = ()
    levels: Indexed | None = None
    valued: Array | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.pixels.shape[0], self.pixels.shape[1]

    @property
    def colours(self) -> Array:
        """The pixels without the columns that show values."""
        return self.pixels if self.valued is None else self.pixels[:, ~self.valued]

    @property
    def gaps(self) -> Array:
        """(H, W) bool: the pixels between tiles."""
        down, across = self.cells
        gaps = (down < 0)[:, None] | (across < 0)[None]
        for top, left, bottom, right in self.blanks:
            gaps[top:bottom, left:right] = True
        return gaps


@dataclass(frozen=True, eq=False)
class Overlaid:
    """A map over a grey picture: ``ground`` (H, W), 0 to 255, and the map's ``shares`` of full opacity, −1 to 1."""

    ground: Array
    shares: Array
    palette: Palette = "standard"

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.shares.shape[0], self.shares.shape[1]


@dataclass(frozen=True, eq=False)
class Veiled:
    """A photograph (H, W, 3) that fades into the page except in one part, ``clear``."""

    pixels: Array
    clear: tuple[slice, slice]

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.pixels.shape[0], self.pixels.shape[1]


Content: TypeAlias = "Array | Indexed | ColourTiles | Overlaid | Veiled"


def plain(role: str) -> Indexed:
    """One pixel in the colour of a role."""
    return Indexed(np.zeros((1, 1), np.uint8), (role,))


def content_key(content: Content) -> bytes:
    """Equal for equal contents, whatever look draws them."""
    match content:
        case Indexed():
            return repr(content.palette).encode() + content.index.tobytes()
        case ColourTiles():
            return content.pixels.tobytes() + (b"" if content.levels is None else content_key(content.levels))
        case Overlaid():
            return content.palette.encode() + content.ground.tobytes() + content.shares.tobytes()
        case Veiled():
            return content.pixels.tobytes() + repr(content.clear).encode()
        case _:
            return content.tobytes()


def changed_pixels(before: Content, after: Content) -> Array:
    """(H, W) bool: the pixels in which two contents of one shape may differ in some look."""
    if isinstance(before, Indexed) and isinstance(after, Indexed) and before.palette == after.palette:
        return np.asarray(before.index != after.index)
    if isinstance(before, np.ndarray) and isinstance(after, np.ndarray):
        return np.asarray((before != after).any(axis=-1))
    return np.full(after.shape[:2], fill_value=content_key(before) != content_key(after))


def bar_levels(low: float, high: float, count: int, *, signed: bool, cmap: str | None = None) -> Indexed:
    """(1, count): the colours from one value to another."""
    limit = max(abs(low), abs(high)) or 1.0  # in shares of it: the span of ±1e308 is not a finite number
    scale = Scale("layer", low / limit, high / limit, signed)
    share = np.linspace(scale.low, scale.high, count)[None]
    return Indexed(levels(share, scale), Ramp(cmap, signed))


STRIPED = {"family: depthwise", "negative"}
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
    """The colours of a map over a photograph in a palette, and how light this is: ``dimmest`` + ``share`` · grey."""

    negative: tuple[int, int, int]
    positive: tuple[int, int, int]
    dimmest: float = 0.0
    share: float = 1.0


_OVERLAYS = {
    ("page", "standard"): _OverlayColours((0x21, 0x66, 0xAC), (0xB2, 0x18, 0x2B)),
    ("page", "safe"): _OverlayColours((0x00, 0x96, 0xFF), (0xFF, 0x78, 0x00)),
    ("dark", "standard"): _OverlayColours((0xA6, 0xD8, 0xFF), (0xFF, 0xC0, 0xA8), -30.0, 0.62),
    ("dark", "safe"): _OverlayColours((0x00, 0x96, 0xFF), (0xFF, 0x78, 0x00), -30.0, 0.62),
    ("print", "standard"): _OverlayColours((0x20, 0x20, 0x20), (0x20, 0x20, 0x20), 150.0, 0.41),
    ("print", "safe"): _OverlayColours((0x20, 0x20, 0x20), (0x20, 0x20, 0x20), 150.0, 0.41),
}


def palette_in(look: Look, palette: ColourTable) -> Array:
    """The (n, 3) uint8 colours of a palette in a look; those of print are the mean greys of its textures."""
    return _table(look.table, palette)


def pixels_in(look: Look, content: Content) -> Array:
    """A raster as (H, W, 3) uint8, without the textures of a look that has them."""
    match content:
        case Indexed():
            return np.asarray(np.take(palette_in(look, content.palette), content.index, axis=0))
        case ColourTiles():
            return _tiles(look, content)
        case Overlaid():
            return _overlaid(look, content)
        case Veiled():
            shown = _photograph(look, content.pixels)
            veiled = np.rint(shown + (np.array(_rgb(look.ground), float) - shown) * _VEIL)
            pixels = veiled.astype(np.uint8)
            pixels[content.clear] = shown[content.clear]
            return pixels
        case _:
            return _photograph(look, content)


def key_in(look: Look, contents: Iterable[Content]) -> list[str]:
    """The lines of a caption about what a look makes of these rasters."""
    if look.name != "print":
        return []
    shown = list(contents)
    shown += [each.levels for each in shown if isinstance(each, ColourTiles) and each.levels is not None]
    values = [each for each in shown if isinstance(each, Indexed) and _has_darkness(each.palette)]
    over = [each for each in shown if isinstance(each, Overlaid)]
    lines = []
    if any(map(_has_stripes, values)) or any((each.shares < 0).any() for each in over):
        small = ", or with a minus in small cells" if any(map(_has_minus, values)) else ""
        lines.append(
            f"Solid: positive · striped{small}: negative, from {_BLANK} % of full colour · the darker, the larger"
        )
    elif over or any(map(_shows_sizes, values)):
        lines.append("The darker, the larger")
    if any(isinstance(each, ColourTiles) and _coloured(each.colours) for each in shown):
        lines.append("Colours in grey: different ones may look alike; page, dark and the palette safe keep them")
    elif any(_coloured(each.pixels if isinstance(each, Veiled) else each) for each in shown
             if isinstance(each, Veiled | np.ndarray)):  # fmt: skip
        lines.append("Photographs in grey, below the map lightened" if over else "Photographs in grey")
    return lines


def _photograph(look: Look, pixels: Array) -> Array:
    return _grey(pixels) if look.name == "print" else pixels


def _tiles(look: Look, tiles: ColourTiles) -> Array:
    if look.table == "page":
        return tiles.pixels
    pixels, gaps, inks = _photograph(look, tiles.pixels).copy(), tiles.gaps, palette_in(look, Ramp(None, signed=True))
    for ink in (PAPER, OUTLINE, NOT_FINITE):
        pixels[gaps & (tiles.pixels == INKS[ink]).all(axis=2)] = inks[ink]
    if tiles.levels is not None and tiles.valued is not None:
        pixels[:, tiles.valued] = pixels_in(look, tiles.levels)[:, tiles.valued]
    return pixels


def _overlaid(look: Look, over: Overlaid) -> Array:
    own = _OVERLAYS[look.table, "standard" if over.palette == "standard" else "safe"]
    ground = (own.dimmest + own.share * over.ground)[..., None] if own.share != 1 else over.ground[..., None]
    colours = np.where((over.shares < 0)[..., None], np.array(own.negative, float), np.array(own.positive, float))
    opacity = (_STRONGEST * np.abs(np.clip(over.shares, -1, 1)))[..., None]
    return np.asarray(np.rint(ground * (1 - opacity) + colours * opacity), dtype=np.uint8)


def textured_pixels(look: Look, content: Content, size: tuple[int, int], at: tuple[int, int], scale: float) -> Array:
    """A raster with its textures, as (rows, columns, 3) uint8 in the pixels of the picture.

    Args:
        look: A look with textures.
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
        pixels = np.asarray(np.take(np.take(pixels_in(look, content), down, axis=0), across, axis=1))
        if isinstance(content, ColourTiles) and content.levels is not None and content.valued is not None:
            valued = content.valued[across]
            pixels[:, valued] = textured_pixels(look, content.levels, size, at, scale)[:, valued]
        return pixels
    index = np.take(np.take(content.index, down, axis=0), across, axis=1)
    cells = content.cells or (np.arange(content.shape[0]), np.arange(content.shape[1]))
    return _printed(index, content.palette, (cells[0][down], cells[1][across]), at, scale)


def greys() -> Array:
    """The (256, 3) uint8 palette of greys, from black to white."""
    return np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)


def _rgb(colour: str) -> tuple[int, int, int]:
    red, green, blue = bytes.fromhex(colour[1:])
    return red, green, blue


def _grey(pixels: Array) -> Array:
    """Pixels as grey of the same luma (Rec. 601)."""
    grey = np.rint(pixels @ LUMA).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=-1)


@lru_cache(maxsize=64)
def _table(name: str, palette: ColourTable) -> Array:
    """The colours of a palette in the look of this name; those of print are the mean greys of its textures."""
    match palette:
        case TintRamp():
            levels = _tint_levels(name, palette)
            table = np.vstack([levels, _inks(name), [_BROKEN_CELLS[name], _rgb(LOOKS[name].roles["no number"])]])
        case Ramp():
            levels, kept = _levels(name, palette)
            table = np.vstack([levels, _inks(name, kept=kept)])
        case _:
            table = np.array([_rgb(LOOKS[name].roles[role]) for role in palette])
    result = np.asarray(table, np.uint8)
    result.setflags(write=False)
    return result


_BROKEN_CELLS = {"page": (222, 222, 222), "dark": (58, 63, 71), "print": (222, 222, 222)}


def _inks(name: str, *, kept: bool = False) -> Array:
    """Paper, outline and marks; beside the levels of a page, ``kept``, marks are legible in their own colours."""
    roles, inks = LOOKS[name].roles, dict(INKS)
    for ink, role in ((PAPER, "paper"), (OUTLINE, "outline"), (NOT_FINITE, "not finite")):
        inks[ink] = _rgb(roles[role])
    if name in ("dark", "print") and not kept:  # values that are as good as zero have the same ground in all palettes
        inks[DARK_MARK] = inks[LIGHT_MARK] = _rgb(roles["ink"])
    return np.array(list(inks.values()))


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


def _printed(
    index: Array, palette: ColourTable, cells: tuple[Array, Array], at: tuple[int, int], scale: float
) -> Array:
    """Indices of a palette, one for each pixel of the picture, with the textures of print."""
    grey = _table("print", palette)[:, 0][index]
    period = _PERIOD * max(1, round(scale))
    if isinstance(palette, tuple):
        striped = np.isin(index, [number for number, role in enumerate(palette) if role in STRIPED])
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


@dataclass(frozen=True)
class StripedCells:
    """A raster for print as vectors: ``base`` without its negative values, and where these are.

    ``boxes`` (n, 4) are the top, left, bottom and right of cells in pixels of the raster, ``shares`` (n,) how much of each
    its stripes cover.
    """

    base: Indexed
    boxes: Array
    shares: Array


MOST_STRIPED = 4000  # cells that are vectors


def striped_cells(content: Content, scale: float) -> StripedCells | None:
    """The cells of a raster that have stripes; None without any, with too many, or if they are too small for stripes.

    Args:
        content: What is drawn.
        scale: Pixels of the page for a pixel of the raster.
    """
    if not isinstance(content, Indexed) or not _has_stripes(content):
        return None
    cells = content.cells or (np.arange(content.shape[0]), np.arange(content.shape[1]))
    if min(map(_cell_size, cells)) * scale < _SMALL_CELL:
        return None
    sides = []
    for side in cells:
        starts = np.concatenate([[0], np.flatnonzero(np.diff(side)) + 1])
        ends = np.append(starts[1:], len(side))
        sides.append((starts[side[starts] >= 0], ends[side[starts] >= 0]))
    (tops, bottoms), (lefts, rights) = sides
    percent = np.clip(ZERO_LEVEL - content.index[np.ix_(tops, lefts)].astype(np.int16), 0, None)
    rows, columns = np.nonzero(percent >= _BLANK)
    if len(rows) > MOST_STRIPED:
        return None
    darkest = _DARKEST_DIGITS if isinstance(content.palette, TintRamp) and content.palette.pale else _DARKEST
    boxes = np.stack([tops[rows], lefts[columns], bottoms[rows], rights[columns]], axis=1)
    index = np.where(content.index < ZERO_LEVEL, ZERO_LEVEL, content.index).astype(content.index.dtype)
    shares = percent[rows, columns] / 100 * darkest / (255 - _STRIPE_INK)
    return StripedCells(Indexed(index, content.palette, content.cells), boxes, shares)


STRIPE_PERIOD, STRIPE_INK = _PERIOD, "#373737"  # of row plus column, in pixels of the page


def is_striped(palette: ColourTable) -> bool:
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


def _has_darkness(palette: ColourTable) -> bool:
    """Whether size is darkness in this palette in print: all but requested colour maps and roles."""
    return isinstance(palette, TintRamp) or (isinstance(palette, Ramp) and not _levels("print", palette)[1])


def _shows_sizes(content: Indexed) -> bool:
    """Whether any of these values is not zero."""
    zero = 0 if isinstance(content.palette, Ramp) and not content.palette.signed else ZERO_LEVEL
    return bool(((content.index < LEVELS) & (content.index != zero)).any())


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
    look = _OVERLAYS["print", "standard"]
    period = _PERIOD * max(1, round(scale))
    opacity = _STRONGEST * np.abs(np.clip(shares, -1, 1))
    stripes = _coverage(period, 1.0)[np.rint(100 * opacity).astype(int), _phase(ground.shape, at, period)]
    cover = np.where(shares >= 0, opacity, np.where(shares <= -_BLANK / 100, stripes, 0.0))
    grey = (look.dimmest + look.share * ground) * (1 - cover) + look.positive[0] * cover
    return np.repeat(np.rint(grey).astype(np.uint8)[..., None], 3, axis=2)

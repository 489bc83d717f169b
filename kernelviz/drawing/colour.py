"""What a colour means: scales, colour levels, palettes."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from kernelviz.drawing.rasters import Indexed, Ramp
from kernelviz.errors import UsageError

if TYPE_CHECKING:
    from kernelviz.records import Array, Tiles


ScaleChoice: TypeAlias = Literal["tile", "layer"] | tuple[float, float]

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
BROKEN = LEVELS + len(INKS)  # only in the palettes of worksheets: a value that is not finite, beside digits
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
        choice = "tile" if tiles.view in ("rgb", "maps") else "layer"
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


def bar_levels(low: float, high: float, count: int, *, signed: bool, cmap: str | None = None) -> Indexed:
    """(1, count): the colours from one value to another."""
    limit = max(abs(low), abs(high)) or 1.0  # in shares of it: the span of ±1e308 is not a finite number
    scale = Scale("layer", low / limit, high / limit, signed)
    share = np.linspace(scale.low, scale.high, count)[None]
    return Indexed(levels(share, scale), Ramp(cmap, signed))


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
    return DARK_MARK if float(colour @ np.array([0.299, 0.587, 0.114])) > 140 else LIGHT_MARK

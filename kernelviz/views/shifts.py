"""What a layer makes of a moved image: maps that stay, maps that move along, and how nearly; NumPy only."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from kernelviz.errors import UsageError
from kernelviz.notebook import record_repr
from kernelviz.records import check_positive

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kernelviz.records import Array, ClassScore, Image, SeenImage, Source


Fields: TypeAlias = tuple[int, int, int]
"""Receptive fields along one axis: where the first one starts, the pixels to the next, and the size of each."""
Along: TypeAlias = Literal["right", "down"]
AXES = {"down": 0, "right": 1}
"""The axis of the image along which it moves: rows or columns."""
MOST_SHIFTS, MOST_LAYERS, MOST_PASSES = 8, 6, 33
USUAL = (0, 1, 2, 4, 8, 16)


@dataclass(frozen=True)
class ShiftedLayer:
    """One layer for an image that moves by some pixels of the network's input.

    ``maps`` (n, h, w) is the map of ``channel`` for each drawn shift, ``shape`` is (C, H, W) of all maps of the layer.
    ``jump`` is the number of input pixels from one cell to the next, None if there is none, and ``lost`` is the reason.

    ``invariance`` is the cosine of all maps with the unmoved ones, by shift. ``equivariance`` is the cosine with the
    unmoved maps moved along, over the cells that both have, for shifts that are multiples of ``jump``: only then is
    there such a map without interpolation. The ``centred`` ones are those after the mean of each map was subtracted.
    A cosine is NaN if one side has no length or holds values that are not finite.

    ``columns`` counts, by shift, the columns (rows, if the image moves down) that both have: how many have a receptive
    field that is inside both images, how many of these are equal to the last bit, and how many there are. ``mixes_image``:
    a gate, a mean or attention adds the whole image to every unit, so that nothing is equal to the last bit.
    ``peak`` is the row and column of the largest value in the unmoved map, of those that stay in the picture.

    Example:
        >>> network = torch.nn.Conv2d(3, 8, 3, padding=1)
        >>> layer = kernelviz.shift_image(network, torch.rand(3, 32, 32), by=[0, 4], layers="Conv2d").layers[0]
        >>> layer.name, layer.jump
        ('Conv2d', 1)
        >>> layer.columns[4].inside, layer.columns[4].total  # columns whose receptive field is inside both images
        (26, 28)
    """

    name: str
    shape: tuple[int, ...]
    channel: int
    maps: Array
    jump: int | None
    lost: str
    mixes_image: bool
    invariance: Mapping[int, float]
    equivariance: Mapping[int, float]
    centred_invariance: Mapping[int, float]
    centred_equivariance: Mapping[int, float]
    columns: Mapping[int, ColumnCounts]
    peak: tuple[int, int] | None
    signed: bool = True
    nonfinite: int = 0

    __repr__ = record_repr


@dataclass(frozen=True)
class ColumnCounts:
    """Of ``total`` columns of a map that both images have, those with a field ``inside``, and the ``equal`` of these."""

    inside: int
    equal: int
    total: int


@dataclass(frozen=True)
class ShiftedImage:
    """An image that moves, and what the layers of a network make of it.

    ``by`` are the drawn shifts in pixels of the network's input, ``measured`` all that ran. ``pictures`` (n, H, W, 3) are
    the moved images, uint8. ``classes`` holds the likeliest class for each drawn shift, () if the network has none.
    ``room`` is the number of pixels by which the image can move within the photograph; beyond it its edge is repeated,
    ``repeated`` pixels wide for the largest shift.

    Example:
        >>> network = torch.nn.Conv2d(3, 8, 3, padding=1)
        >>> shifted = kernelviz.shift_image(network, torch.rand(3, 32, 32), by=[0, 2, 4], layers="Conv2d")
        >>> shifted.by, shifted.measured
        ((0, 2, 4), (0, 1, 2, 3, 4))
        >>> shifted.pictures.shape
        (3, 32, 32, 3)
    """

    by: tuple[int, ...]
    measured: tuple[int, ...]
    along: Along
    room: int
    repeated: int
    pictures: Array
    layers: tuple[ShiftedLayer, ...]
    classes: tuple[ClassScore, ...] = ()
    source: Source | None = None
    image: Image | None = None
    seen: SeenImage | None = None
    input_size: tuple[int, ...] | None = None
    notes: tuple[str, ...] = ()

    __repr__ = record_repr

    @property
    def invariance(self) -> dict[str, Mapping[int, float]]:
        """By layer and shift: the cosine with the unmoved maps; 1 means that the maps stay as they are."""
        return {layer.name: layer.invariance for layer in self.layers}

    @property
    def equivariance(self) -> dict[str, Mapping[int, float]]:
        """By layer and shift: the cosine with the unmoved maps moved along; 1 means that the maps move with the image."""
        return {layer.name: layer.equivariance for layer in self.layers}


def check_shifts(by: Sequence[int]) -> tuple[int, ...]:
    """The shifts in ascending order, with 0.

    Raises:
        UsageError: one is negative or no whole number, or there are too many.
    """
    wrong = [shift for shift in by if isinstance(shift, bool) or not isinstance(shift, int | np.integer) or shift < 0]
    if wrong or not by:
        raise UsageError(
            f"Shifts are whole numbers of pixels from 0, but got {wrong[0]!r}." if wrong else "There is no shift.",
            hint="For example 0,1,2,4,8,16.",
        )
    found = tuple(sorted({0, *map(int, by)}))
    if len(found) > MOST_SHIFTS:
        raise UsageError(f"At most {MOST_SHIFTS} shifts are drawn, 0 among them, but got {len(found)}.")
    if len(found) == 1:
        raise UsageError("An image that moves by 0 pixels stays.", hint="For example 0,1,2,4,8,16.")
    return found


def measured_shifts(by: Sequence[int]) -> tuple[int, ...]:
    """Every whole shift up to the largest; of more than 33 those drawn, and others evenly between them."""
    largest = max(by)
    if largest < MOST_PASSES:
        return tuple(range(largest + 1))
    chosen = set(by)
    for shift in np.linspace(0, largest, MOST_PASSES - len(chosen), dtype=int).tolist():
        chosen.add(shift)
    return tuple(sorted(chosen))


def check_along(along: str) -> int:
    """The axis of a direction.

    Raises:
        UsageError: it is neither right nor down.
    """
    if along not in AXES:
        raise UsageError(f"The image moves right or down, but got {along!r}.")
    return AXES[along]


def check_channels(channels: int | Sequence[int] | None, layers: int) -> list[int] | None:
    """One channel for each layer; a single one is that of all of them.

    Raises:
        UsageError: there are more or fewer than layers.
    """
    if channels is None:
        return None
    given = [channels] if isinstance(channels, int) else list(channels)
    for number in given:
        if number:
            check_positive("channel", number)
    found = given * layers if len(given) == 1 else given
    if len(found) != layers:
        raise UsageError(
            f"There are {layers} layers, but {len(found)} channels.", hint="Give one channel, or one for each layer."
        )
    return found


def cosine(one: Array, other: Array, *, centred: bool = False) -> float:
    """The cosine of two arrays (C, H, W) as long vectors, in float64; NaN if there is none.

    With ``centred`` the mean of each map is subtracted first.
    """
    with np.errstate(all="ignore"):
        first, second = one.astype(np.float64), other.astype(np.float64)
        if centred:
            first -= first.mean(axis=(1, 2), keepdims=True)
            second -= second.mean(axis=(1, 2), keepdims=True)
        lengths = math.sqrt(float(np.vdot(first, first)) * float(np.vdot(second, second)))
        return float(np.vdot(first, second)) / lengths if 0 < lengths < math.inf else math.nan


def overlapping(moved: Array, still: Array, cells: int, axis: int) -> tuple[Array, Array]:
    """The cells that both have of maps (C, H, W) moved by ``cells`` along an axis of the image, and the unmoved ones."""
    length = still.shape[axis + 1]
    after, before = [slice(None)] * 3, [slice(None)] * 3
    after[axis + 1], before[axis + 1] = slice(cells, None), slice(0, max(0, length - cells))
    return moved[tuple(after)], still[tuple(before)]


def count_columns(both: tuple[Array, Array], field: Fields, cells: int, axis: int, pixels: int) -> ColumnCounts:
    """Of the overlapping columns: those with receptive fields inside both images of so many pixels, and the equal ones."""
    moved, still = both
    total = moved.shape[axis + 1]
    inside = inside_cells(field, total, pixels - cells * field[1])
    same = (moved == still).all(axis=(0, 2 - axis))
    return ColumnCounts(len(inside), int(np.count_nonzero(same[inside.start : inside.stop])), total)


def peak_of(values: Array, axis: int, moved: float, read: range) -> tuple[int, int] | None:
    """The row and column of the largest finite value of a map (h, w) that stays in the picture.

    Args:
        values: The unmoved map.
        axis: The axis along which the image moves.
        moved: By how many cells at most.
        read: The cells along the axis that do not read the border, before and after; preferred if there are any.
    """
    kept = range(max(0, math.floor(values.shape[axis] - moved)))
    kept = read or kept
    part = np.take(values, kept, axis=axis)
    if not part.size or not np.isfinite(part).any():
        return None
    found = np.unravel_index(int(np.argmax(np.where(np.isfinite(part), part, -np.inf))), part.shape)
    row, column = int(found[0]), int(found[1])
    return (kept[row], column) if axis == 0 else (row, kept[column])


def inside_cells(field: Fields, total: int, pixels: int) -> range:
    """Those of the first ``total`` cells whose receptive fields are inside the first ``pixels`` of the image."""
    offset, jump, size = field
    first = offset + jump * np.arange(total)
    inside = np.flatnonzero((first >= 0) & (first + size <= pixels))
    return range(int(inside[0]), int(inside[-1]) + 1) if inside.size else range(0)


def cosine_text(value: float, decimals: int) -> str:
    """A cosine; 1 only if it is 1, and never rounded up to it."""
    text = f"{value:.{decimals}f}"
    if float(text) == 1 and value < 1:
        text = f"{math.floor(value * 10**decimals) / 10**decimals:.{decimals}f}"
    return text.lstrip("-") if float(text) == 0 else text.replace("-", "−")


def shift_entry(shifted: ShiftedImage) -> dict[str, Any]:
    """All numbers as JSON; shifts are keys."""

    def keyed(values: Mapping[int, Any]) -> dict[str, Any]:
        return {str(shift): value for shift, value in values.items()}

    return {
        "by": list(shifted.by),
        "measured": list(shifted.measured),
        "along": shifted.along,
        "room": shifted.room,
        "repeated": shifted.repeated,
        "layers": [
            {
                "name": layer.name,
                "shape": list(layer.shape),
                "channel": layer.channel,
                "jump": layer.jump,
                "unknown": layer.lost or None,
                "global": layer.mixes_image,
                "peak": layer.peak and list(layer.peak),
                "invariance": keyed(layer.invariance),
                "equivariance": keyed(layer.equivariance),
                "centred_invariance": keyed(layer.centred_invariance),
                "centred_equivariance": keyed(layer.centred_equivariance),
                "columns": {
                    str(shift): {"inside": one.inside, "equal": one.equal, "total": one.total}
                    for shift, one in layer.columns.items()
                },
            }
            for layer in shifted.layers
        ],
        "classes": [
            {"shift": shift, "index": one.index, "label": one.label, "probability": one.probability}
            for shift, one in zip(shifted.by, shifted.classes, strict=False)
        ],
    }

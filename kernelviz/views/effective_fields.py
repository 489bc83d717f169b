"""Effective receptive fields as numbers: their squares, their centroid, and what is outside of the receptive field."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from kernelviz.notebook import record_repr

if TYPE_CHECKING:
    from kernelviz.records import Array, Box, Recipe, Source


SHARES = (0.2, 0.3, 0.5, 0.99)
"""The shares of the sum for which squares are found."""
MOST_FIELDS = 12
"""Layers that a page has room for."""
_EQUAL = 1e-12  # of the whole sum: rounding of an integral image


@dataclass(frozen=True)
class Square:
    """The smallest square that holds at least ``share`` of a sum: its side in pixels, and its upper left pixel.

    ``held`` is the share that it does hold. A square that is larger than the shorter side of an image covers that side.

    Example:
        >>> network = torch.nn.Conv2d(1, 1, 5, padding=2)
        >>> field = kernelviz.effective_field(network, torch.rand(1, 9, 9), "Conv2d", at=(4, 4))
        >>> square = field.squares[-1]
        >>> square.share, square.side, square.top, square.left
        (0.99, 5, 2, 2)
    """

    share: float
    side: int
    top: int
    left: int
    held: float


@dataclass(frozen=True)
class EffectiveField:
    """How much the pixels of images change one unit of a layer: ``values`` (H, W), float64.

    Each is the mean over the images of the absolute gradient of the unit, the sum of its channels, with respect to that
    pixel of the network's input, summed over the input's channels. ``unit`` is its row and column in maps of ``shape``
    (C, H', W'); ``channels`` are those in the sum, None for all of them.

    ``box`` is the receptive field inside the image, and ``size`` the rows and columns that it would have without a border;
    both are None if they are not known, and ``lost`` is the reason. If ``mixes_image``, a gate, a mean or attention adds
    the rest of the image. ``middle`` is the middle of the receptive field, as if the image had no border.

    ``squares`` are the smallest ones that hold 20, 30, 50 and 99 % of the sum of ``values``, ``centroid`` is the row and
    column of its centre of mass, and ``outside`` the share of the sum outside of ``box``, None if that is not known.

    ``images`` are the names of all images; ``zero`` of them had no gradient anywhere and ``nonfinite`` one that is not
    finite, and both were left out. ``identity`` identifies the images in a recipe.

    Example:
        >>> layer = torch.nn.Conv2d(1, 1, 3, padding=1)
        >>> with torch.no_grad():
        ...     layer.weight[:] = 1
        >>> field = kernelviz.effective_field(layer, torch.rand(1, 9, 9), "Conv2d", at=(4, 4))
        >>> field.values[3:6, 2:7]
        array([[0., 1., 1., 1., 0.],
               [0., 1., 1., 1., 0.],
               [0., 1., 1., 1., 0.]])
        >>> field.box, field.centroid
        (Box(top=3, bottom=5, left=3, right=5), (4.0, 4.0))
    """

    values: Array
    layer: str
    unit: tuple[int, int]
    box: Box | None
    squares: tuple[Square, ...]
    centroid: tuple[float, float]
    outside: float | None
    images: tuple[str, ...]
    source: Source | None = None
    notes: tuple[str, ...] = ()
    shape: tuple[int, ...] = ()
    channels: tuple[int, ...] | None = None
    size: tuple[int, int] | None = None
    middle: tuple[float, float] | None = None
    mixes_image: bool = False
    lost: str = ""
    zero: int = 0
    nonfinite: int = 0
    input_size: tuple[int, ...] | None = None
    identity: Recipe | None = None

    __repr__ = record_repr

    @property
    def sum(self) -> float:
        """The sum of all values."""
        return float(self.values.sum())

    @property
    def largest(self) -> tuple[float, int, int]:
        """The largest value, with its row and column."""
        row, column = np.unravel_index(int(np.argmax(self.values)), self.values.shape)
        return float(self.values[row, column]), int(row), int(column)

    @property
    def distance(self) -> float | None:
        """From the middle of the receptive field to the centroid, in pixels; None if the middle is not known."""
        if self.middle is None:
            return None
        return math.hypot(self.centroid[0] - self.middle[0], self.centroid[1] - self.middle[1])

    @property
    def reads_all(self) -> bool:
        """Whether the receptive field covers the whole image."""
        rows, columns = self.values.shape
        box = self.box
        return box is not None and (box.top, box.bottom, box.left, box.right) == (0, rows - 1, 0, columns - 1)

    def area(self, square: Square) -> float:
        """The share of the image that a square covers."""
        rows, columns = self.values.shape
        return float(min(square.side, rows) * min(square.side, columns) / (rows * columns))


def smallest_square(values: Array, share: float) -> Square:
    """The smallest square, anywhere in an array (H, W), that holds at least this share of its sum.

    Of equally large ones that with the largest sum, then the uppermost, then the leftmost; sums that differ by less than
    1e-12 of the whole are equal. Values are not negative, and some are positive.
    """
    rows, columns = values.shape
    integral = np.zeros((rows + 1, columns + 1))
    np.cumsum(np.cumsum(values, axis=0, dtype=np.float64), axis=1, out=integral[1:, 1:])
    total = float(integral[-1, -1])

    def sums(side: int) -> Array:
        tall, wide = min(side, rows), min(side, columns)
        found = integral[tall:, wide:] - integral[:-tall, wide:] - integral[tall:, :-wide] + integral[:-tall, :-wide]
        return np.asarray(found)

    low, high = 1, max(rows, columns)  # the sum of the best square grows with its side
    while low < high:
        middle = (low + high) // 2
        if sums(middle).max() >= (share - _EQUAL) * total:
            high = middle
        else:
            low = middle + 1
    found = sums(low)
    first = int(np.argmax(found >= found.max() - _EQUAL * total))
    top, left = (int(at) for at in np.unravel_index(first, found.shape))
    return Square(share, low, top, left, float(found[top, left]) / total)


def centroid_of(values: Array) -> tuple[float, float]:
    """The row and column of the centre of mass of an array (H, W)."""
    along = (values.sum(axis=1), values.sum(axis=0))
    row, column = (float(np.arange(len(line)) @ line / line.sum()) for line in along)
    return row, column


def outside_of(values: Array, box: Box | None) -> float | None:
    """The share of the sum of an array (H, W) outside of a box; exactly 0 if all values there are 0."""
    if box is None:
        return None
    rest = values.copy()
    rest[box.top : box.bottom + 1, box.left : box.right + 1] = 0
    return float(rest.sum() / values.sum())


def field_entry(field: EffectiveField) -> dict[str, Any]:
    """All numbers as JSON; what is not known is None."""
    box, (largest, row, column) = field.box, field.largest
    return {
        "name": field.layer,
        "shape": list(field.shape),
        "unit": list(field.unit),
        "channels": None if field.channels is None else list(field.channels),
        "box": None if box is None else [box.top, box.left, box.bottom, box.right],
        "size": None if field.size is None else list(field.size),
        "middle": None if field.middle is None else list(field.middle),
        "unknown": field.lost or None,
        "global": field.mixes_image,
        "sum": field.sum,
        "largest": {"value": largest, "at": [row, column]},
        "centroid": list(field.centroid),
        "distance": field.distance,
        "outside": field.outside,
        "squares": [
            {"share": each.share, "side": each.side, "at": [each.top, each.left], "area": field.area(each),
             "held": each.held}
            for each in field.squares
        ],
        "images": list(field.images),
        "left_out": {"zero": field.zero, "nonfinite": field.nonfinite},
        "notes": list(field.notes),
    }  # fmt: skip

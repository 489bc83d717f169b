"""Which rows (or columns) of the input each element of a tensor reads, carried through operations one axis at a time.

A ``Reads`` holds five planes for one axis of the image. Each has the tensor's rank; a dimension along which nothing
changes is kept as 1. ``FIRST`` and ``LAST`` are the rows read inside the image, ``FREE_FIRST`` and ``FREE_LAST`` those
read if the image went on beyond its border, and ``PLACE`` is the element's own row in its map, -1 where it has none.
What reads nothing has a first row beyond its last one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kernelviz.records import Array

FIRST, LAST, FREE_FIRST, FREE_LAST, PLACE = range(5)
FAR = 2**40  # further than any row of any image
NOWHERE = -FAR  # a tap that reads nothing

_LARGEST = 2**22  # numbers of one plane; beyond it a tensor's layout is given up


@dataclass(frozen=True)
class Reads:
    """The planes (5, *dims) of one axis; how far the input moves a step of the map; what was mixed in.

    ``pooled``: the elements have no place along this axis any more, as after a mean. ``mixed``: something that reads
    the whole axis took part.
    """

    planes: Array
    jump: Fraction = Fraction(1)
    pooled: bool = False
    mixed: bool = False

    def moved(self, move: Callable[[Array], Array]) -> Reads:
        """The same reads after ``move`` rearranged the planes, whose first dimension it must leave alone."""
        return replace(self, planes=move(self.planes))

    @property
    def spread(self) -> tuple[int, ...]:
        """The dimensions of the tensor along which elements differ."""
        return tuple(dim for dim, size in enumerate(self.planes.shape[1:]) if size > 1)

    @property
    def home(self) -> int | None:
        """The one dimension along which places differ, if there is one."""
        place = self.planes[PLACE]
        dims = [dim for dim in self.spread if (place.take([0], axis=dim) != place).any()]
        return dims[0] if len(dims) == 1 else None


class TooLargeError(Exception):
    """The planes of a tensor would not be worth their memory."""


def image_axis(size: int, dim: int, rank: int) -> Reads:
    """The reads of the image itself along the axis that lies on dimension ``dim`` of ``rank``."""
    shape = [1] * rank
    shape[dim] = size
    rows = np.arange(size, dtype=np.int64).reshape(shape)
    return Reads(np.stack([rows] * 5))


def nothing(rank: int) -> Array:
    """Planes (5, 1, ..., 1) of what reads nothing."""
    return np.array([FAR, -FAR, FAR, -FAR, -1], dtype=np.int64).reshape(5, *[1] * rank)


def joined(parts: Sequence[Reads]) -> Reads:
    """Several tensors of one rank, combined element by element: the union of what they read.

    What has lost its place (a gate, the mean of an image) joins no rows but counts as ``mixed``, as long as something
    with a place takes part.
    """
    if len(parts) == 1 or all(part is parts[0] for part in parts):
        return parts[0]
    placed = [part for part in parts if not part.pooled] or list(parts)
    planes = placed[0].planes
    for part in placed[1:]:
        planes = _union(planes, part.planes)
    jumps = [part.jump for part in placed if part.spread] or [placed[0].jump]
    return Reads(
        planes,
        jump=jumps[0],
        pooled=all(part.pooled for part in parts),
        mixed=any(part.mixed for part in parts) or len(placed) < len(parts),
    )


def _union(one: Array, other: Array) -> Array:
    if one.shape == other.shape and np.array_equal(one, other):
        return one
    bigger = np.broadcast_shapes(one.shape, other.shape)
    _check_size(bigger)
    planes = np.empty(bigger, dtype=np.int64)
    np.minimum(one[::2][:2], other[::2][:2], out=planes[:4:2])
    np.maximum(one[1::2], other[1::2], out=planes[1::2])
    first, second = one[PLACE], other[PLACE]
    planes[PLACE] = first if first.size > 1 and first.min() != first.max() else second if second.size > 1 else first
    return planes


def _check_size(shape: Sequence[int]) -> None:
    if int(np.prod(shape[1:])) > _LARGEST:
        raise TooLargeError


def together(reads: Reads, dim: int, *, keep_places: bool = False) -> Reads:
    """Every element reads what all along ``dim`` read together; the dimension stays, with size 1.

    With ``keep_places`` elements keep their place (as in a softmax), else places along ``dim`` are gone.
    """
    planes = reads.planes
    if planes.shape[dim + 1] == 1:
        return reads
    united = np.empty([5, *(1 if axis == dim else size for axis, size in enumerate(planes.shape[1:]))], dtype=np.int64)
    united[:4:2] = planes[:4:2].min(axis=dim + 1, keepdims=True)
    united[1::2] = planes[1::2].max(axis=dim + 1, keepdims=True)
    if keep_places:
        spread = np.broadcast_to(united, planes.shape).copy()
        spread[PLACE] = planes[PLACE]
        same = all((spread[plane] == spread[plane].flat[0]).all() for plane in (FIRST, LAST))
        return replace(reads, planes=spread, mixed=reads.mixed or same)
    place = planes[PLACE]
    lowest, highest = place.min(axis=dim, keepdims=True), place.max(axis=dim, keepdims=True)
    remaining = lowest if united[PLACE].size > 1 and lowest.min() != lowest.max() else np.where(lowest < highest, -1, lowest)
    united[PLACE] = remaining
    whole = united[PLACE].size == 1 or all(united[plane].min() == united[plane].max() for plane in (FIRST, LAST))
    return replace(reads, planes=united, mixed=reads.mixed or whole)


def gathered(reads: Reads, dim: int, taps: Array, size: int, *, at_home: bool) -> Reads:
    """Output o along ``dim`` reads the positions ``taps[o]`` of ``size``; ``taps`` is (outputs, at most so many).

    Positions outside are padding and read nothing, except in the free planes, where the image goes on: there the
    pattern of positions repeats with the jump. ``at_home`` says that this dimension is the axis' own.
    """
    planes = reads.planes
    if planes.shape[dim + 1] == 1 and not at_home:
        return reads
    if planes.shape[dim + 1] == 1 and reads.pooled:
        return reads
    _check_size([5, *planes.shape[1:], *taps.shape])
    inside = (taps >= 0) & (taps < size)
    read = taps != NOWHERE
    source, shift = _continued(taps, size, reads.jump if at_home else Fraction(0))
    stored = planes.shape[dim + 1]
    source = np.minimum(source, stored - 1)
    around = [1] * (planes.ndim + 1)
    around[dim + 1], around[dim + 2] = taps.shape

    def pick(plane: int, mask: Array, empty: int, moved_by: Array | int) -> Array:
        values = planes[plane : plane + 1].take(source, axis=dim + 1)
        shifted = values + (moved_by.reshape(around) if isinstance(moved_by, np.ndarray) else moved_by)
        kept: Array = np.where(mask.reshape(around), shifted, empty)
        return kept

    axis = dim + 2
    united = [
        pick(FIRST, inside, FAR, 0).min(axis=axis),
        pick(LAST, inside, -FAR, 0).max(axis=axis),
        pick(FREE_FIRST, read, FAR, shift).min(axis=axis),
        pick(FREE_LAST, read, -FAR, shift).max(axis=axis),
    ]
    outputs = [1] * planes.ndim
    outputs[dim + 1] = len(taps)
    if at_home:
        place = np.arange(len(taps), dtype=np.int64).reshape(outputs)
    elif len(taps) == size:
        place = planes[PLACE : PLACE + 1]
    else:
        place = np.full(outputs, -1, dtype=np.int64)
    shape = np.broadcast_shapes(united[0].shape, place.shape)
    return replace(reads, planes=np.concatenate([np.broadcast_to(plane, shape) for plane in (*united, place)]))


def _continued(taps: Array, size: int, jump: Fraction) -> tuple[Array, Array]:
    """For positions beyond the ends, the position inside that looks the same, and how far it lies from there."""
    period, step = jump.denominator, jump.numerator
    before, after = np.maximum(0, -taps), np.maximum(0, taps - size + 1)
    periods = -(-before // period) - -(-after // period)
    source = np.clip(taps + periods * period, 0, size - 1)
    return source, np.where(taps == NOWHERE, 0, -periods * step)


def steps_of(places: Array) -> Fraction:
    """How many old places a step along these places is: 2 for 0, 2, 4; one half for 0, 0, 1, 1."""
    known = np.unique(places[places >= 0])
    if len(known) < 2 or places.size < 2:
        return Fraction(1)
    gap = Fraction(int(known[-1] - known[0]), len(known) - 1)
    return gap * Fraction(len(known), int(places.size))


def as_taps(windows: Sequence[Sequence[int]]) -> Array:
    """Windows of several lengths as one array (outputs, longest)."""
    longest = max((len(window) for window in windows), default=0)
    taps = np.full((len(windows), max(longest, 1)), NOWHERE, dtype=np.int64)
    for row, window in zip(taps, windows, strict=True):
        row[: len(window)] = window
    return taps


def reshaped(planes: Array, before: Sequence[int], after: Sequence[int]) -> Array:
    """Planes (n, *dims) of a tensor of shape ``before``, seen as shape ``after``.

    Dimensions are matched in groups of equal products, so that only groups in which something differs take memory.
    """
    pieces: list[int] = []
    sources: list[Sequence[int]] = []
    for ours, theirs in _groups(before, after):
        stored = [planes.shape[dim + 1] for dim in ours]
        if all(size == 1 for size in stored):
            sources.append([])
            pieces += [1] * len(theirs)
        else:
            sources.append(ours)
            pieces += [after[dim] for dim in theirs]
    full = [planes.shape[0]] + [
        before[dim] if any(dim in group for group in sources) else 1 for dim in range(len(before))
    ]
    _check_size(full)
    return _compact(np.broadcast_to(planes, full).reshape([planes.shape[0], *pieces]))


def _groups(before: Sequence[int], after: Sequence[int]) -> list[tuple[list[int], list[int]]]:
    """Runs of dimensions of two shapes of one size whose products are equal, as short as they come."""
    groups: list[tuple[list[int], list[int]]] = []
    i = j = 0
    while i < len(before) or j < len(after):
        ours, theirs, left, right = [], [], 1, 1
        if i < len(before):
            ours.append(i)
            left = before[i]
            i += 1
        if j < len(after) and not (left == 1 and after[j] != 1):
            theirs.append(j)
            right = after[j]
            j += 1
        while left != right:
            if left < right:
                ours.append(i)
                left *= before[i]
                i += 1
            else:
                theirs.append(j)
                right *= after[j]
                j += 1
        groups.append((ours, theirs))
    return groups


def _compact(planes: Array) -> Array:
    """The same with size 1 wherever nothing differs along a dimension."""
    for dim in range(1, planes.ndim):
        if planes.shape[dim] > 1:
            start = planes.take([0], axis=dim)
            if (planes == start).all():
                planes = start
    return planes


def aligned(planes: Array, rank: int) -> Array:
    """Planes of a tensor that is broadcast to a higher rank."""
    missing = rank - (planes.ndim - 1)
    return planes.reshape(planes.shape[0], *[1] * missing, *planes.shape[1:]) if missing > 0 else planes


def as_line(reads: Reads) -> Any:
    """For each place of the map what its elements read together: four arrays; one place where there are none."""
    place = reads.planes[PLACE]
    known = np.where(place < 0, 0, place) if place.max() <= 0 else place
    count = int(known.max()) + 1
    shape = reads.planes.shape[1:]
    index = np.broadcast_to(known, shape).ravel()
    used = index >= 0
    lines = []
    for plane, empty, unite in ((0, FAR, np.minimum), (1, -FAR, np.maximum), (2, FAR, np.minimum), (3, -FAR, np.maximum)):
        line = np.full(count, empty, dtype=np.int64)
        unite.at(line, index[used], reads.planes[plane].ravel()[used])
        lines.append(line)
    return lines

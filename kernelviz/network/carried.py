"""What the watched pass knows of one tensor: where its elements read the image, and which dimension is which."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from kernelviz.network.fields import PLACE, Reads, image_axis, joined, nothing, together, whole
from kernelviz.network.shapes import aligned

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kernelviz.records import Array


AXIS_LETTERS = {1: "L", 2: "HW", 3: "DHW"}


@dataclass(frozen=True, eq=False)
class Carried:
    """The reads along each axis of the image, and the channel numbers (1, *dims); or why they are ``lost``."""

    axes: tuple[Reads, ...] = ()
    channel: Array | None = None
    lost: str = ""

    def moved(self, move: Callable[[Array], Array]) -> Carried:
        """After ``move`` rearranged all planes alike."""
        channel = None if self.channel is None else move(self.channel)
        return replace(self, axes=tuple(reads.moved(move) for reads in self.axes), channel=channel)

    def each(self, change: Callable[[Reads], Reads]) -> Carried:
        """After ``change`` of every axis."""
        return replace(self, axes=tuple(map(change, self.axes)))

    def with_channels(self, count: int, dim: int, rank: int) -> Carried:
        """With ``count`` channels numbered along ``dim``."""
        shape = [1] * (rank + 1)
        shape[dim % rank + 1] = count
        return replace(self, channel=np.arange(count, dtype=np.int64).reshape(shape))

    def home(self, axis: int) -> int | None:
        """The one dimension along which the places of an axis lie; channels that hold several places do not count."""
        dims = self.axes[axis].lies_along
        if len(dims) > 1 and self.channel is not None and self.channel.ndim == self.axes[axis].planes.ndim:
            dims = tuple(dim for dim in dims if self.channel.shape[dim + 1] == 1)
        return dims[0] if len(dims) == 1 else None

    @property
    def mixed(self) -> bool:
        """Whether something that reads a whole axis took part."""
        return any(reads.mixed or reads.pooled for reads in self.axes)


def image(shape: Sequence[int]) -> Carried:
    """The input (1, C, *axes) itself."""
    rank = len(shape)
    axes = tuple(image_axis(shape[dim], dim, rank) for dim in range(2, rank))
    return Carried(axes).with_channels(shape[1], 1, rank)


def elementwise(parts: Sequence[Carried], rank: int) -> Carried:
    """What comes of combining tensors element by element, broadcast to ``rank``."""
    if len(parts) == 1 and all(reads.planes.ndim == rank + 1 for reads in parts[0].axes):
        return parts[0]
    parts = [part.moved(lambda planes: aligned(planes, rank)) for part in parts]
    axes = tuple(joined(reads) for reads in zip(*(part.axes for part in parts), strict=True))
    channels = [part.channel for part in parts if part.channel is not None]
    largest = max(channels, key=lambda channel: channel.size, default=None)
    return Carried(axes, largest)


def reduced(carried: Carried, dims: Sequence[int], *, keep: bool) -> Carried:
    """After a reduction over ``dims``: what is left of an axis that was reduced whole is pooled."""

    def reduce(reads: Reads) -> Reads:
        had_place = reads.placed
        for dim in dims:
            reads = together(reads, dim)
        pooled = reads.pooled or (had_place and not reads.placed)
        return replace(reads, pooled=pooled)

    result = carried.each(reduce)
    if carried.channel is not None:
        channel = carried.channel
        for dim in dims:
            channel = channel.take([0], axis=dim + 1)
        result = replace(result, channel=channel)
    return result if keep else result.moved(lambda planes: planes.squeeze(tuple(dim + 1 for dim in dims)))


def mixed_over(carried: Carried, dims: Sequence[int]) -> Carried:
    """After a normalisation over ``dims``: an axis that lies along one of them is mixed."""
    return carried.each(lambda reads: replace(reads, mixed=reads.mixed or bool(set(dims) & set(reads.spread))))


def concatenated(parts: Sequence[Carried | None], sizes: Sequence[int], dim: int, rank: int) -> Carried:
    """After ``cat`` along ``dim`` of parts of these sizes; None is a part that reads nothing of the image."""
    known = [part for part in parts if part is not None]
    axes = tuple(
        _concatenated([None if part is None else part.axes[axis] for part in parts], sizes, dim, rank)
        for axis in range(len(known[0].axes))
    )
    numbered = [part.channel for part in known if part.channel is not None and part.channel.size > 1]
    along = all(channel.shape[dim + 1] > 1 for channel in numbered)
    if numbered and not along:
        return Carried(axes, max(numbered, key=lambda channel: channel.size))
    return Carried(axes).with_channels(sum(sizes), dim, rank) if numbered else Carried(axes)


def _concatenated(parts: Sequence[Reads | None], sizes: Sequence[int], dim: int, rank: int) -> Reads:
    parts = [None if part is None else whole(part) for part in parts]
    known = [part for part in parts if part is not None]
    placed = [part for part in known if not part.pooled] or known
    beside = _empty_beside(placed[0], dim, rank)
    planes = [part.planes if part in placed else beside for part in parts]
    mixed = any(part.mixed for part in known) or len(placed) < len(known)
    same = all(other.shape == planes[0].shape and np.array_equal(other, planes[0]) for other in planes)
    if same and planes[0].shape[dim + 1] == 1 and dim not in placed[0].spread:
        return replace(placed[0], mixed=mixed)
    shapes = [np.broadcast_shapes(*((*part.shape[: dim + 1], 1, *part.shape[dim + 2 :]) for part in planes))]
    pieces = []
    for part, size in zip(planes, sizes, strict=True):
        shape = list(shapes[0])
        shape[dim + 1] = size
        pieces.append(np.broadcast_to(part, shape))
    return replace(placed[0], planes=np.concatenate(pieces, axis=dim + 1), mixed=mixed)


def _empty_beside(part: Reads, dim: int, rank: int) -> Array:
    """Planes that read nothing, at the places of ``part`` where these are the same all along ``dim``."""
    place = part.planes[PLACE]
    if not place.size:
        return nothing(rank)
    first = place.take([0], axis=dim)
    if (first != place).any() or first.size == 1:
        return nothing(rank)
    planes = np.broadcast_to(nothing(rank), (5, *first.shape)).copy()
    planes[PLACE] = first
    return planes


def layout(carried: Carried | None, shape: Sequence[int]) -> str:
    """A word a dimension: ``N C H W``, ``N HW C`` for tokens, ``HW HW C`` for windows; ``?`` where it is not known.

    Channels that hold several places of a map are called channels.
    """
    words = ["N", *["?"] * (len(shape) - 1)] if shape else []
    if carried is None or carried.lost:
        return " ".join(words)
    letters = AXIS_LETTERS.get(len(carried.axes), "?" * len(carried.axes))
    along: list[str] = [""] * len(shape)
    channel = carried.channel
    for dim in range(len(shape)):
        if channel is not None and channel.ndim == len(shape) + 1 and channel.shape[dim + 1] > 1:
            along[dim] += "C"
        for axis, (letter, reads) in enumerate(zip(letters, carried.axes, strict=True)):
            if reads.planes.ndim != len(shape) + 1 or dim not in reads.lies_along:
                continue
            if carried.home(axis) in {None, dim}:
                along[dim] += letter
    waiting = [letter for letter in ("C" + letters if channel is not None else letters) if letter not in "".join(along)]
    free = [dim for dim in range(1, len(shape)) if not along[dim] and shape[dim] == 1]
    for dim, letter in zip(free, waiting, strict=False):
        along[dim] = letter
    return " ".join(found or word for found, word in zip(along, words, strict=True))

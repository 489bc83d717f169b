"""Statistics of every channel of a layer over many images, with exact sums; NumPy only."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from kernelviz.errors import UsageError
from kernelviz.notebook import gathered_repr, record_repr
from kernelviz.records import as_maps
from kernelviz.views.exact_sums import ExactSums, deviations, means
from kernelviz.views.gathered import CountedOnce
from kernelviz.wording import UNKNOWN, aligned

if TYPE_CHECKING:
    from collections.abc import Collection

    from kernelviz.records import Array, FeatureMaps, Recipe


def check_channels(before: int, now: int) -> None:
    """Check that all maps of a layer have the same number of channels.

    Raises:
        UsageError: they have not.
    """
    if before != now:
        raise UsageError(f"The layer had {before:,} channels before, but now it has {now:,}.")


def check_alike(one: Any, other: Any) -> None:
    """Check that tallies that are to be merged are of one kind and of one layer; an empty name is not known.

    Raises:
        UsageError: they are not.
    """
    if not isinstance(other, type(one)) and not isinstance(one, type(other)):
        kinds = f"{type(one).__name__} and {type(other).__name__}"
        raise UsageError(f"Only tallies of one kind are merged, but got {kinds}.")
    if one.layer and other.layer and one.layer != other.layer:
        raise UsageError(f"Only tallies of one layer are merged, but got {one.layer} and {other.layer}.")


_USUAL = 60  # numbers between 2 ** ±60 and their squares are in the range of float32
_SMALLEST_POWER = -1000  # so that 2 ** 1000 is still finite
_MEAN_BITS = 24  # of float32
_SPLIT = 2.0**27 + 1


@dataclass(frozen=True)
class ChannelStatistics:
    """Each channel of a layer over all positions of all images; arrays of (C,).

    ``mean`` and ``deviation`` (of the population, as NumPy's ``std``) are over ``values`` numbers per channel, ``zeros`` is
    the share of exact zeros, ``largest`` the largest value and ``image`` the index in ``images`` of the first image that
    has it. ``images`` are names; equal names from several folders are preceded by the folders. ``identity`` identifies the
    images in a recipe, None if unknown. Values that are not finite are left out and counted in ``nonfinite``; if none is
    left, the numbers are NaN and the image is -1. ``notes`` states how the images were read.

    Example:
        >>> tally = kernelviz.ChannelTally()
        >>> tally.add(np.array([[[0.0, 1.0], [3.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]]]))  # two channels of 2 × 2
        >>> statistics = tally.result()
        >>> statistics.mean, statistics.zeros, statistics.largest
        (array([1., 0.]), array([0.5, 1. ]), array([3., 0.]))
        >>> statistics.dead
        array([False,  True])
    """

    layer: str
    images: tuple[str, ...]
    values: int
    mean: Array
    deviation: Array
    zeros: Array
    smallest: Array
    largest: Array
    image: Array
    nonfinite: Array
    identity: Recipe | None = None
    notes: tuple[str, ...] = ()

    __repr__ = record_repr

    @property
    def dead(self) -> Array:
        """The channels that had one value everywhere, (C,) bool; a channel of a single number is not dead."""
        return np.asarray((self.smallest == self.largest) & (self.nonfinite == 0) & (self.values > 1))


class ChannelTally:
    """Accumulates the statistics of one layer; ``add`` is called with the maps of one image after the other.

    The sums over images are exact, so that the result is the same to the last bit whatever the order in which images are
    added and tallies merged. Files of the same bytes are counted once, which ``notes`` of the result state.

    Example:
        >>> tally = kernelviz.ChannelTally()
        >>> network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU())
        >>> images = [torch.rand(3, 8, 8) for _ in range(5)]
        >>> kernelviz.capture_many(network, images, "1", on_map=tally.add)
        ()
        >>> statistics = tally.result()
        >>> statistics.layer, statistics.values, statistics.mean.shape
        ('1', 180, (4,))
    """

    def __init__(self, layer: str = "") -> None:
        self.layer = layer
        self.images = CountedOnce()
        self._sums: _Sums | None = None

    __repr__ = gathered_repr

    def add(self, maps: FeatureMaps | Array, image: str | None = None, place: int | None = None) -> None:
        """Add the maps (C, H, W) of one image.

        Args:
            maps: Those of the image.
            image: Its name, by default that of the maps.
            place: Its position among all images, by default the next one. Of equal maxima the image of the lowest place is
                kept. Tallies that will be merged need different places.

        Raises:
            UsageError: another number of channels than before, or the place is taken.
        """
        subject = as_maps(maps)
        channels = len(subject.values)
        if self._sums is not None:
            check_channels(len(self._sums.count), channels)
        place = self.images.next_place if place is None else self.images.check_place(place)
        if self.images.is_copy(subject, place, partial(self._move, subject.values), image):
            return
        self.images.add(subject, image, place)
        if self._sums is None:
            self._sums = _Sums(channels)
        self._sums.add(subject.values, place)
        self.layer = self.layer or subject.layer or ""

    def _move(self, maps: Array, before: int, place: int) -> None:
        if self._sums is not None:
            self._sums.move(maps, before, place)

    def fresh(self, copies: Collection[int] = ()) -> ChannelTally:
        """An empty tally of the same layer, to be merged into this one; ``copies`` are places not to be counted."""
        found = type(self)(self.layer)
        found.images = CountedOnce(copies=copies)
        return found

    def copies_in(self, other: ChannelTally) -> tuple[int, ...]:
        """The places of images of another tally that are in this one, as files of the same bytes."""
        return self.images.copies_in(other.images)

    def merge(self, other: ChannelTally) -> None:
        """Add everything that another tally of the same layer has.

        Raises:
            UsageError: it is of another layer, or has other channels or an image of this tally.
        """
        check_alike(self, other)
        if self._sums is not None and other._sums is not None:
            check_channels(len(self._sums.count), len(other._sums.count))
        self.images.merge(other.images)
        if other._sums is None:
            return
        if self._sums is None:
            self._sums = _Sums(len(other._sums.count))
        self._sums.merge(other._sums)
        self.layer = self.layer or other.layer

    def result(self) -> ChannelStatistics:
        """The statistics of all maps that were added.

        Raises:
            UsageError: there were none.
        """
        sums = self._sums
        if sums is None:
            raise UsageError("No maps were added.")
        some, counts = sums.count > 0, sums.count.tolist()
        places = np.fromiter(self.images.places, np.int64, len(self.images))
        return ChannelStatistics(
            layer=self.layer,
            images=self.images.names,
            values=sums.values,
            mean=means(sums.sums, counts),
            deviation=np.where(some & (sums.low == sums.high), 0.0, deviations(sums.sums, sums.squares, counts)),
            zeros=np.where(some, sums.zeros / np.maximum(sums.count, 1), np.nan),
            smallest=np.where(some, sums.low, np.nan),
            largest=np.where(some, sums.high, np.nan),
            image=np.where(sums.holder >= 0, np.searchsorted(places, sums.holder), -1),
            nonfinite=sums.values - sums.count,
            identity=self.images.as_recipe(),
            notes=self.images.notes(),
        )


class _Sums:
    """The running sums of each channel: the count of finite numbers, exact sums of them and their squares, and extremes.

    ``holder`` is the lowest place of an image with the largest number, -1 for none.
    """

    def __init__(self, channels: int) -> None:
        self.values = 0
        self.count = np.zeros(channels, np.int64)
        self.sums, self.squares = ExactSums(channels), ExactSums(channels)
        self.zeros = np.zeros(channels, np.int64)
        self.low, self.high = np.full(channels, np.inf), np.full(channels, -np.inf)
        self.holder = np.full(channels, -1)

    def add(self, maps: Array, place: int) -> None:
        """Add the maps (C, H, W) of one image.

        The sums of an image are those of its deviations from a rounded mean, in float64, and what that mean contributes,
        which is exact: ``m`` has 24 bits, so that the sum of ``x`` is ``n m + r``, and that of its squares is
        ``q + 2 m r + n m²``, with ``r`` and ``q`` the sums of ``x - m`` and its squares.
        """
        flat = maps.reshape(len(maps), -1).astype(np.float64)
        finite = np.isfinite(flat)
        every = bool(finite.all())
        count = np.full(len(flat), flat.shape[1]) if every else finite.sum(axis=1)
        high = (flat if every else np.where(finite, flat, -np.inf)).max(axis=1)
        low = (flat if every else np.where(finite, flat, np.inf)).min(axis=1)
        if not every:
            flat = np.where(finite, flat, 0.0)
        power = power_of(np.where(count > 0, np.maximum(np.abs(low), np.abs(high)), 0.0))
        if power.any():
            flat = flat * np.ldexp(1.0, -power)[:, None]
        mean = (flat.sum(axis=1) / np.maximum(count, 1)).astype(np.float32)
        apart = flat - mean.astype(np.float64)[:, None]
        if not every:
            apart[~finite] = 0.0
        self._add_sums(count, mean, apart, power)
        self._add_extremes(low, high, np.where(count > 0, place, -1))
        self.zeros += np.count_nonzero(maps.reshape(len(maps), -1) == 0, axis=1)
        self.count += count
        self.values += flat.shape[1]

    def _add_sums(self, count: Array, mean: Array, apart: Array, power: Array) -> None:
        """Add the sums of an image, in units of ``2 ** power``."""
        rest, squares = apart.sum(axis=1), (apart * apart).sum(axis=1)
        wide = mean.astype(np.float64)
        self.sums.add(np.stack([count * wide, rest]), power)
        upper = rest * _SPLIT
        upper -= upper - rest  # the first 26 bits, by Veltkamp; products with those of the mean are exact
        mixed = np.stack([2 * wide * upper, squares + 2 * wide * (rest - upper)])
        mantissa, exponent = np.frexp(wide)
        whole = np.ldexp(mantissa, _MEAN_BITS).astype(np.int64) ** 2
        exponent = 2 * (exponent.astype(np.int64) - _MEAN_BITS)
        above = count * (whole >> _MEAN_BITS).astype(np.float64)
        below = count * (whole & (2**_MEAN_BITS - 1)).astype(np.float64)
        powers = 2 * power + np.stack([np.zeros_like(exponent)] * 2 + [exponent + _MEAN_BITS, exponent])
        self.squares.add(np.concatenate([mixed, np.stack([above, below])]), powers)

    def move(self, maps: Array, before: int, place: int) -> None:
        """Let an image with these maps be at an earlier place."""
        flat = np.where(np.isfinite(maps), maps, -np.inf).reshape(len(maps), -1).astype(np.float64)
        largest = (self.holder >= 0) & (flat.max(axis=1) == self.high)
        self.holder[self.holder == before] = place
        self.holder[largest] = np.minimum(self.holder, place)[largest]

    def _add_extremes(self, low: Array, high: Array, holder: Array) -> None:
        same = (high == self.high) & (self.holder >= 0)
        first = np.where(same, np.minimum(self.holder, holder), self.holder)
        self.holder = np.where(high > self.high, holder, first)
        self.low, self.high = np.minimum(self.low, low), np.maximum(self.high, high)

    def merge(self, other: _Sums) -> None:
        """Add the sums of another tally."""
        self.sums.merge(other.sums)
        self.squares.merge(other.squares)
        self._add_extremes(other.low, other.high, other.holder)
        self.zeros += other.zeros
        self.count += other.count
        self.values += other.values


def power_of(largest: Array) -> Array:
    """Powers of two by which channels with these largest numbers are divided, so that squares stay in range; mostly 0."""
    usual = (largest == 0) | ((largest > 2.0**-_USUAL) & (largest < 2.0**_USUAL))
    return np.where(usual, 0, np.maximum(np.frexp(largest)[1], _SMALLEST_POWER)).astype(np.int64)


def statistics_entry(found: ChannelStatistics) -> dict[str, Any]:
    """The statistics of one layer as JSON: lists of one number per channel; null is not finite."""

    def numbers(values: Any) -> list[float | None]:
        return [float(value) if math.isfinite(value) else None for value in values]

    return {
        "layer": found.layer,
        "images": list(found.images),
        "values": found.values,
        "mean": numbers(found.mean),
        "deviation": numbers(found.deviation),
        "zeros": numbers(found.zeros),
        "smallest": numbers(found.smallest),
        "largest": numbers(found.largest),
        "image": [found.images[at] if at >= 0 else None for at in found.image.tolist()],
        "nonfinite": [int(count) for count in found.nonfinite],
        "dead": [int(channel) for channel in found.dead.nonzero()[0]],
    }


_MOST_CHANNELS = 16


def statistics_table(found: ChannelStatistics, *, whole: bool = False, width: int | None = None) -> list[str]:
    """Aligned lines, one per channel: all of up to sixteen channels or if ``whole``, else those of extreme means."""
    order = [int(at) for at in (-found.mean).argsort(kind="stable")]
    cut = len(order) > _MOST_CHANNELS and not whole
    shown = [*order[: _MOST_CHANNELS // 2], *order[-_MOST_CHANNELS // 2 :]] if cut else list(range(len(order)))
    heads = ("channel", "mean", "deviation", "zero", "smallest", "largest", "in")
    rows = [
        (
            f"{at}", f"{found.mean[at]:.4g}", f"{found.deviation[at]:.4g}", f"{found.zeros[at]:.1%}",
            f"{found.smallest[at]:.4g}", f"{found.largest[at]:.4g}",
            found.images[found.image[at]] if found.image[at] >= 0 else UNKNOWN,
        )
        for at in shown
    ]  # fmt: skip
    lines = aligned(heads, rows, set(heads[:-1]), width=width).splitlines()
    dead = int(found.dead.sum())
    notes = [f"{dead:,} of {len(order):,} dead: the same value in all images"] if dead else []
    left = len(order) - len(shown)
    if left:
        notes.insert(0, f"{left:,} between the largest and the smallest means left out, -v shows all")
    return [*lines, *notes]

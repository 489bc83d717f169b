"""What the channels of a layer do over many images, gathered image by image in float64. NumPy only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kernelviz.errors import UsageError
from kernelviz.gathered import Gathered
from kernelviz.records import as_maps

if TYPE_CHECKING:
    from kernelviz.records import Array, FeatureMaps, Recipe


_SMALLEST_POWER = -1000  # two to the opposite is still a number


@dataclass(frozen=True)
class ChannelStatistics:
    """Each channel of a layer over all positions of all images; arrays of (C,).

    ``mean`` and ``deviation`` (of the population, as NumPy's ``std``) are over ``values`` numbers a channel, ``zeros`` is
    the share of exact zeros, ``largest`` the largest value and ``image`` the place in ``images`` of the first image that
    has it. ``images`` are their names; those of one name in several folders have the folders in front. ``identity`` tells
    them from other images in a recipe, where it is known. What is not finite is left out and counted in ``nonfinite``;
    where nothing is left, the numbers are NaN and the image is -1.
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

    @property
    def dead(self) -> Array:
        """Which channels had one value everywhere, (C,) bool; a single value proves nothing."""
        return np.asarray((self.smallest == self.largest) & (self.nonfinite == 0) & (self.values > 1))


class ChannelTally:
    """Gathers the statistics of one layer; ``add`` takes the maps of one image after the other.

    Means and squared deviations are merged by the formulas of Chan, Golub and LeVeque (1979), "Updating formulae and a
    pairwise algorithm for computing sample variances", so that the order and the number of images hardly matter.
    """

    def __init__(self, layer: str = "") -> None:
        self.layer = layer
        self.images = Gathered()
        self._sums: _Sums | None = None

    def add(self, maps: FeatureMaps | Array, image: str | None = None) -> None:
        """Take in the maps (C, H, W) of one image, which is called ``image`` unless the maps know its name.

        Raises:
            UsageError: another number of channels than before.
        """
        subject = as_maps(maps)
        new = _Sums.of(subject.values, len(self.images))
        self._sums = new if self._sums is None else self._sums.merged(new)
        self.layer = self.layer or subject.layer or ""
        self.images.add(subject, image)

    def result(self) -> ChannelStatistics:
        """The statistics of what was taken in.

        Raises:
            UsageError: nothing was.
        """
        sums = self._sums
        if sums is None:
            raise UsageError("There are no maps to tell statistics of.")
        some, counts = sums.count > 0, np.maximum(sums.count, 1)
        return ChannelStatistics(
            layer=self.layer,
            images=self.images.names,
            values=sums.values,
            mean=np.where(some, np.ldexp(sums.mean, sums.power), np.nan),
            deviation=np.where(some, np.ldexp(np.sqrt(sums.squares / counts), sums.power), np.nan),
            zeros=np.where(some, sums.zeros / counts, np.nan),
            smallest=np.where(some, sums.low, np.nan),
            largest=np.where(some, sums.high, np.nan),
            image=sums.holder,
            nonfinite=sums.values - sums.count,
            identity=self.images.as_recipe(),
        )


@dataclass(frozen=True)
class _Sums:
    """What is kept of each channel: how many finite numbers, their mean, squared deviations, zeros, and extremes.

    Mean and squares are those of the numbers divided by two to the ``power``, so that no square is too large or too small
    for float64; that costs no digit.
    """

    values: int
    count: Array
    power: Array
    mean: Array
    squares: Array
    zeros: Array
    low: Array
    high: Array
    holder: Array

    @classmethod
    def of(cls, maps: Array, number: int) -> _Sums:
        """Of one image's maps (C, H, W)."""
        flat = maps.reshape(len(maps), -1).astype(np.float64)
        finite = np.isfinite(flat)
        count = finite.sum(axis=1)
        high = np.where(finite, flat, -np.inf).max(axis=1)
        low = np.where(finite, flat, np.inf).min(axis=1)
        largest = np.where(count > 0, np.maximum(np.abs(low), np.abs(high)), 0.0)
        power = np.where(largest > 0, np.maximum(np.frexp(largest)[1], _SMALLEST_POWER), _SMALLEST_POWER)
        scaled = np.where(finite, flat, 0.0) * np.ldexp(1.0, -power)[:, None]
        mean = scaled.sum(axis=1) / np.maximum(count, 1)
        squares = (np.where(finite, scaled - mean[:, None], 0.0) ** 2).sum(axis=1)
        return cls(
            values=flat.shape[1],
            count=count,
            power=power,
            mean=mean,
            squares=squares,
            zeros=(flat == 0).sum(axis=1),
            low=low,
            high=high,
            holder=np.where(count > 0, number, -1),
        )

    def _in_units_of(self, power: Array) -> tuple[Array, Array]:
        """Mean and squared deviations of the numbers divided by two to a larger ``power``."""
        return np.ldexp(self.mean, self.power - power), np.ldexp(self.squares, 2 * (self.power - power))

    def merged(self, other: _Sums) -> _Sums:
        """Both together; of equal maxima the earlier image keeps the channel."""
        if len(self.count) != len(other.count):
            what = f"The layer had {len(self.count):,} channels before, but now it has {len(other.count):,}."
            raise UsageError(what)
        count = self.count + other.count
        share = other.count / np.maximum(count, 1)
        power = np.maximum(self.power, other.power)
        (mean, squares), (other_mean, other_squares) = self._in_units_of(power), other._in_units_of(power)
        step = other_mean - mean
        return _Sums(
            values=self.values + other.values,
            count=count,
            power=power,
            mean=mean + step * share,
            squares=squares + other_squares + step**2 * self.count * share,
            zeros=self.zeros + other.zeros,
            low=np.minimum(self.low, other.low),
            high=np.maximum(self.high, other.high),
            holder=np.where(other.high > self.high, other.holder, self.holder),
        )

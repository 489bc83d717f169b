"""Statistics of every channel of a layer over many images, accumulated image by image in float64; NumPy only."""

from __future__ import annotations

import hashlib
import math
import os
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import numpy as np

from kernelviz.errors import UsageError
from kernelviz.notebook import gathered_repr, record_repr
from kernelviz.records import as_maps
from kernelviz.wording import UNKNOWN, aligned, counted, preprocessing_notes

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kernelviz.records import Array, FeatureMaps, Recipe


_NUMBER = re.compile(r"[-+]?\d[\d.,e+-]*")


class Gathered:
    """The names and hashes of the images that were added one by one."""

    def __init__(self) -> None:
        self._names: list[str] = []
        self._paths: list[str | None] = []
        self._digests: list[str | None] = []
        self._notes: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._names)

    def add(self, maps: FeatureMaps, name: str | None = None) -> None:
        """Add the image of these maps; ``name`` is used if given, else the name of the image."""
        image = maps.image
        name, path = name or (image.name if image else f"image {len(self)}"), image.path if image and not name else None
        self.add_image(name, path, image.sha256 if image else None, reading_notes(maps))

    def add_image(self, name: str, path: str | None, digest: str | None, notes: Iterable[str]) -> None:
        """Add an image by what is known of it."""
        self._names.append(name)
        self._paths.append(path)
        self._digests.append(digest)
        self._notes.update(dict.fromkeys(notes, 1))

    @property
    def names(self) -> tuple[str, ...]:
        """The names; equal names from different folders are preceded by the folders in which they differ."""
        many = Counter(self._names)
        shared = {path for name, path in zip(self._names, self._paths, strict=True) if path and many[name] > 1}
        return tuple(
            _below(path, shared) if path and many[name] > 1 else name
            for name, path in zip(self._names, self._paths, strict=True)
        )

    def notes(self) -> tuple[str, ...]:
        """How the images were read: each note with the number of images that it is about, if that is not all."""
        alike: dict[str, list[str]] = {}
        for note in self._notes:
            alike.setdefault(_NUMBER.sub("", note), []).append(note)
        return tuple(map(self._joined, alike.values()))

    def _joined(self, notes: list[str]) -> str:
        """The first of notes that differ in their numbers alone, with the number of images that they are about."""
        count = sum(self._notes[note] for note in notes)
        about = [] if len(notes) == 1 else ["and alike"]
        about += [] if count == len(self) else [f"{count:,} of {counted(len(self), 'image')}"]
        return f"{notes[0]} ({', '.join(about)})" if about else notes[0]

    def as_recipe(self) -> dict[str, Any] | None:
        """The part of a recipe called ``image``: the number of images and the SHA-256 of their hashes, in their order.

        None if the hash of one of them is unknown.
        """
        digests = [digest for digest in self._digests if digest is not None]
        if not digests or len(digests) < len(self):
            return None
        return {
            "name": counted(len(self), "image"),
            "sha256": hashlib.sha256("".join(digests).encode("ascii")).hexdigest(),
        }


def reading_notes(maps: FeatureMaps) -> tuple[str, ...]:
    """How the image of these maps was read."""
    image = maps.image
    bands = image.bands_for(maps.input_size[0])[1] if image and maps.input_size else ()
    chosen = preprocessing_notes(maps.source.preprocessing) if image and maps.source else ()
    return (*(image.notes if image else ()), *bands, *chosen)


def check_channels(before: int, now: int) -> None:
    """Check that all maps of a layer have the same number of channels.

    Raises:
        UsageError: they have not.
    """
    if before != now:
        raise UsageError(f"The layer had {before:,} channels before, but now it has {now:,}.")


def _below(path: str, paths: set[str]) -> str:
    """A path without the folders that all paths share."""
    try:
        folders = {os.path.dirname(each) for each in paths}  # noqa: PTH120
        return PurePath(os.path.relpath(path, os.path.commonpath(folders) or ".")).as_posix()
    except ValueError:  # on several drives, or absolute and relative
        return PurePath(path).as_posix()


_SMALLEST_POWER = -1000  # so that 2 ** 1000 is still finite


@dataclass(frozen=True)
class ChannelStatistics:
    """Each channel of a layer over all positions of all images; arrays of (C,).

    ``mean`` and ``deviation`` (of the population, as NumPy's ``std``) are over ``values`` numbers per channel, ``zeros`` is
    the share of exact zeros, ``largest`` the largest value and ``image`` the index in ``images`` of the first image that
    has it. ``images`` are names; equal names from several folders are preceded by the folders. ``identity`` identifies the
    images in a recipe, None if unknown. Values that are not finite are left out and counted in ``nonfinite``; if none is
    left, the numbers are NaN and the image is -1. ``notes`` states how the images were read.
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

    Means and squared deviations are merged by the formulas of Chan, Golub and LeVeque (1979), "Updating formulae and a
    pairwise algorithm for computing sample variances", so that the order and the number of images hardly matter.
    """

    def __init__(self, layer: str = "") -> None:
        self.layer = layer
        self.images = Gathered()
        self._sums: _Sums | None = None

    __repr__ = gathered_repr

    def add(self, maps: FeatureMaps | Array, image: str | None = None) -> None:
        """Add the maps (C, H, W) of one image; ``image`` is its name, by default that of the maps.

        Raises:
            UsageError: another number of channels than before.
        """
        subject = as_maps(maps)
        new = _Sums.of(subject.values, len(self.images))
        self._sums = new if self._sums is None else self._sums.merged(new)
        self.layer = self.layer or subject.layer or ""
        self.images.add(subject, image)

    def result(self) -> ChannelStatistics:
        """The statistics of all maps that were added.

        Raises:
            UsageError: there were none.
        """
        sums = self._sums
        if sums is None:
            raise UsageError("No maps were added.")
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
            notes=self.images.notes(),
        )


@dataclass(frozen=True)
class _Sums:
    """The running sums of each channel: the count of finite numbers, their mean, squared deviations, zeros and extremes.

    Mean and squares are of the numbers divided by ``2 ** power``, so that squares neither overflow nor underflow; this is
    exact.
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
        """The sums of the maps (C, H, W) of one image."""
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
        """Mean and squared deviations of the numbers divided by ``2 ** power``, for a larger power."""
        return np.ldexp(self.mean, self.power - power), np.ldexp(self.squares, 2 * (self.power - power))

    def merged(self, other: _Sums) -> _Sums:
        """The sums of both; of equal maxima the earlier image is kept."""
        check_channels(len(self.count), len(other.count))
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
    notes = [f"{dead:,} of {len(order):,} dead: one value in all images"] if dead else []
    left = len(order) - len(shown)
    if left:
        notes.insert(0, f"{left:,} between the largest and the smallest means left out, -v shows all")
    return [*lines, *notes]

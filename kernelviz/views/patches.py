"""The units of many images that excite each channel of a layer most, and what they read of the images; NumPy only."""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from kernelviz.errors import UsageError
from kernelviz.notebook import gathered_repr, record_repr
from kernelviz.records import as_array, as_maps, check_positive
from kernelviz.views.exact_sums import ExactSums, deviations, means
from kernelviz.views.gathered import CountedOnce, duplicates_text
from kernelviz.views.kernel_views import named_channels
from kernelviz.views.statistics import check_alike, check_channels, power_of
from kernelviz.wording import UNKNOWN, aligned, counted, inflected, number_text, numbers_text, shown

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from kernelviz.records import Array, AxisField, FeatureMaps, Field, Recipe, Source

    Span = tuple[int, int]
    """The first and the last row, or column."""
    Place = tuple[int, int, int]
    """A unit: the index of its image, its row and its column."""


@dataclass(frozen=True)
class Ranking:
    """The chosen units of each channel: the best k, by value, then by image, row and column.

    ``values`` (C, k) are their values, NaN where a row ends; ``places`` (C, k, 3) their image, row and column; ``boxes``
    (C, k, 4) the first and the last row, the first and the last column that they read, as if the image had no border. Both
    are -1 where a row ends. ``units`` (C,) counts the units that have the best value, ``shared`` (C,) their images.
    """

    values: Array
    places: Array
    boxes: Array
    units: Array
    shared: Array

    __repr__ = record_repr

    @property
    def counts(self) -> Array:
        """(C,): how many units each channel has."""
        return np.asarray((self.places[:, :, 0] >= 0).sum(axis=1))


@dataclass(frozen=True)
class Crop:
    """What a unit reads of the network's input: ``pixels`` (h, w, 3) uint8 are those inside the image.

    ``box`` holds the first and the last row, the first and the last column that the unit reads, as if the image had no
    border, ``inside`` those of them that are in the image; all inclusive.

    Example:
        >>> network, image = torch.nn.Conv2d(3, 1, 3), torch.rand(3, 8, 8)
        >>> tally = kernelviz.PatchTally(patches=1)
        >>> kernelviz.capture_many(network, [image], on_map=tally.add)
        ()
        >>> patches = kernelviz.crop_patches(network, tally.result(), [image])
        >>> for crop in patches.crops.values():
        ...     print(crop.pixels.shape, crop.crosses_border)
        (3, 3, 3) False
    """

    pixels: Array
    box: tuple[int, int, int, int]
    inside: tuple[int, int, int, int]

    __repr__ = record_repr

    @property
    def crosses_border(self) -> bool:
        """Whether a part of the receptive field is outside the image."""
        return self.box != self.inside


@dataclass(frozen=True)
class Patches:
    """The units with the largest values of each channel over many images, at most ``per_image`` of one image.

    Places count ``images``, in their order. ``lowest`` is the same for the smallest values, None unless it was requested.
    ``crops`` holds what the units read, by place, as far as ``crop_patches`` has cut it.

    ``mean``, ``deviation``, ``smallest``, ``largest`` and ``nonfinite`` (C,) are over all units of all images; values that
    are not finite are left out and counted. ``sizes`` are the rows and columns that a unit reads, None if that depends on
    the unit; ``exact`` states whether receptive fields are known beyond the border. If ``mixes_image``, a gate, a mean or
    attention adds the rest of the image. ``border`` is the share of units in the outermost rows and columns of a map,
    among all units and among the chosen ones. ``duplicates`` are images with the bytes of an earlier one, not counted.
    ``input_size`` is (C, H, W) and ``map_size`` the rows and columns of a map, None if the images differ in it.
    ``identity`` identifies the images in a recipe, and ``digests`` are their SHA-256; None if unknown.

    Example:
        >>> tally = kernelviz.PatchTally(patches=2)
        >>> images = [torch.rand(3, 16, 16) for _ in range(3)]
        >>> kernelviz.capture_many(torch.nn.Conv2d(3, 4, 5), images, on_map=tally.add)
        ()
        >>> patches = tally.result()
        >>> patches.values.shape  # of each channel the two largest values, at most one per image
        (4, 2)
        >>> patches.places.shape  # image, row, column
        (4, 2, 3)
        >>> patches.sizes
        (5, 5)
    """

    layer: str
    images: tuple[str, ...]
    highest: Ranking
    lowest: Ranking | None
    mean: Array
    deviation: Array
    smallest: Array
    largest: Array
    nonfinite: Array
    per_image: int
    inside: bool
    sizes: tuple[int, int] | None
    exact: bool
    mixes_image: bool
    border: tuple[float, float]
    duplicates: tuple[str, ...] = ()
    paths: tuple[str | None, ...] = ()
    digests: tuple[str | None, ...] = ()
    input_size: tuple[int, ...] | None = None
    source: Source | None = None
    identity: Recipe | None = None
    notes: tuple[str, ...] = ()
    crops: Mapping[Place, Crop] = field(default_factory=dict, repr=False)
    map_size: tuple[int, int] | None = None

    __repr__ = record_repr

    @property
    def values(self) -> Array:
        """(C, k): the largest values of each channel, NaN where a row ends."""
        return self.highest.values

    @property
    def places(self) -> Array:
        """(C, k, 3): their image, row and column; -1 where a row ends."""
        return self.highest.places

    @property
    def dead(self) -> Array:
        """(C,) bool: the channels that have one value everywhere in all images."""
        return np.asarray((self.smallest == self.largest) & (self.nonfinite == 0))

    @property
    def rankings(self) -> tuple[Ranking, ...]:
        """The largest values and, if requested, the smallest."""
        return (self.highest,) if self.lowest is None else (self.highest, self.lowest)

    def prominent(self, count: int) -> tuple[int, ...]:
        """The channels whose patches are highest above their channel's mean, in its deviations; ties by number."""
        found = np.isfinite(self.values)
        some = found.any(axis=1) & (self.deviation > _ROUNDING * np.abs(self.mean))
        best = np.where(found, self.values.astype(np.float64), 0.0).sum(axis=1) / np.maximum(found.sum(axis=1), 1)
        with np.errstate(all="ignore"):
            rank = np.where(some, (best - self.mean) / np.where(self.deviation > 0, self.deviation, 1.0), -np.inf)
        rank = np.nan_to_num(rank, nan=-np.inf, posinf=np.inf, neginf=-np.inf)
        order = np.lexsort((np.arange(len(rank)), -rank))
        alive = [int(channel) for channel in order if some[channel]]
        return tuple(alive[:count]) or tuple(range(min(count, len(rank))))

    def chosen(self, channels: str | Sequence[int] | None = None, top: int | None = None) -> tuple[int, ...]:
        """The requested channels, else the ``top`` most prominent ones.

        Raises:
            UsageError: there is no such channel, or ``top`` is below 1.
        """
        if channels is not None:
            return named_channels(channels, len(self.mean))[:top]
        return self.prominent(check_positive("number of channels", top) or USUAL_CHANNELS)

    @property
    def possible(self) -> int:
        """How many patches a channel can have at most: few images have few."""
        return min(int(self.values.shape[1]), len(self.images) * self.per_image)

    @property
    def exceeds_image(self) -> bool:
        """Whether receptive fields are larger than the image along both axes, so that only parts inside it are drawn."""
        sides = self.input_size[1:] if self.input_size else ()
        return self.sizes is not None and bool(sides) and all(map(operator.gt, self.sizes, sides))

    @property
    def covers_image(self) -> bool:
        """Whether each unit reads the whole image, so that its patch does not show where it is."""
        sides = self.input_size[1:] if self.input_size else ()
        return not self.exact and bool(sides) and self.sizes is not None and all(map(operator.ge, self.sizes, sides))

    def places_of(self, channels: Sequence[int]) -> tuple[Place, ...]:
        """The units of these channels, each once, in the order of their images."""
        every = {
            (int(image), int(row), int(column))
            for ranking in self.rankings
            for image, row, column in ranking.places[list(channels)].reshape(-1, 3)
            if image >= 0
        }
        return tuple(sorted(every))

    def cut(self, place: Place, pixels: Array) -> Crop:
        """What a unit reads of its image, whose ``pixels`` (H, W, 3) are those of the network's input."""
        for ranking in self.rankings:
            at = np.argwhere((ranking.places == place).all(axis=-1))
            if len(at):
                box = tuple(ranking.boxes[tuple(at[0])].tolist())
                return crop_of(pixels, box)
        raise UsageError(f"There is no patch of image {place[0]} at {place[1:]}.")


_ROUNDING = 2.0**-20  # times its mean: a channel that varies by less varies in the last bits of single precision alone
USUAL_CHANNELS = 6
USUAL_PATCHES = 8
MOST_PATCHES = 64


def crop_of(pixels: Array, box: tuple[int, int, int, int]) -> Crop:
    """The part of an image (H, W, 3) in a box (top, bottom, left, right), both ends inclusive."""
    top, bottom, left, right = box
    rows, columns = pixels.shape[:2]
    inside = (max(0, top), min(rows - 1, bottom), max(0, left), min(columns - 1, right))
    part = pixels[inside[0] : inside[1] + 1, inside[2] : inside[3] + 1]
    return Crop(np.array(part, np.uint8), box, inside)


def shrunk(crop: Crop, by: int) -> tuple[Array, tuple[int, ...], tuple[int, ...]]:
    """The pixels as means of ``by`` by ``by`` of the box, those inside the image alone, and both boxes in these steps."""
    pixels = crop.pixels.astype(np.float64)
    ends = []
    for axis in (0, 1):
        start = crop.inside[2 * axis] - crop.box[2 * axis]
        cells = (start + np.arange(pixels.shape[axis])) // by
        starts = np.flatnonzero(np.diff(cells, prepend=-1))
        counts = np.diff(starts, append=len(cells))
        pixels = np.add.reduceat(pixels, starts, axis=axis) / np.expand_dims(counts, tuple({0, 1, 2} - {axis}))
        size = -(-(crop.box[2 * axis + 1] - crop.box[2 * axis] + 1) // by)
        ends.append((size, int(cells[0]), int(cells[-1])))
    box = (0, ends[0][0] - 1, 0, ends[1][0] - 1)
    inside = (ends[0][1], ends[0][2], ends[1][1], ends[1][2])
    return np.rint(pixels).astype(np.uint8), box, inside


def extents(axis: Any) -> tuple[Array, Array]:
    """The first and the last row that each unit reads: of the extent, if it is known, else those inside the image."""
    if not is_exact(axis):
        return axis.first, axis.last
    first = axis.offset + axis.jump * np.arange(len(axis.first))
    return first, first + axis.size - 1


def wraps(axis: AxisField) -> Array:
    """Which units also read pixels that are not in their extent: those at the opposite border, behind circular padding."""
    first, last = extents(axis)
    return np.asarray((axis.first <= axis.last) & ((axis.first < np.maximum(first, 0)) | (axis.last > last)))


def is_exact(axis: Any) -> bool:
    """Whether the rows that a unit reads are known as if the image had no border."""
    return axis.jump is not None and axis.offset is not None and axis.size is not None


def check_field(found: Field | None, layer: str, lost: str, *, per_image: int = 1) -> Field:
    """The receptive fields of a layer.

    Raises:
        UsageError: they are not known, or not well enough for several units of one image.
    """
    if found is None:
        what = f"The receptive field of {shown(layer) if layer else 'the layer'} is not known."
        hint = "Choose a layer before it." if layer or lost else "Add maps of `capture_many` or `capture_features`."
        raise UsageError(what, sentence_of(lost), hint)
    if per_image > 1 and not all(map(is_exact, found.axes)):
        what = f"Of {shown(layer)} only one unit of each image can be chosen."
        why = "Its receptive fields are not evenly spaced, so it is not known which of them overlap."
        raise UsageError(what, why, "Omit --per-image.")
    return found


def sentence_of(reason: str) -> str:
    """A reason as a sentence; empty if there is none."""
    return f"{reason[:1].upper()}{reason[1:].rstrip('.')}." if reason else ""


def inside_units(axis: AxisField, pixels: int) -> Array:
    """The units along one axis whose whole receptive field is in an image of so many pixels."""
    if is_exact(axis):
        first, last = extents(axis)
        return np.flatnonzero((first >= 0) & (last < pixels))
    return np.flatnonzero((axis.first > 0) & (axis.last < pixels - 1) & (axis.first <= axis.last))


def check_inside(found: Field, layer: str, sides: Sequence[int]) -> None:
    """Check that some unit has its whole receptive field inside an image of so many rows and columns.

    Raises:
        UsageError: there is none.
    """
    if any(not len(inside_units(axis, side)) for axis, side in zip(found.axes, sides, strict=True)):
        size = " × ".join(UNKNOWN if axis.size is None else str(axis.size) for axis in found.axes)
        what = f"No receptive field of {shown(layer)} is inside the image."
        why = f"Its units read {size} px, the network sees {' × '.join(map(str, sides))} px."
        raise UsageError(what, why, "Omit --inside, give a larger --input-size, or choose an earlier layer.")


@dataclass(frozen=True, slots=True)
class _Facts:
    """What many images have in common: the sides of their maps, the receptive fields, and the size of the input."""

    sides: tuple[int, int]
    field: Field
    input_size: tuple[int, ...] | None

    def is_like(self, other: _Facts) -> bool:
        """Whether they have one and the same field, as most images of a run, whose key need not be made then."""
        return self.field is other.field and self.sides == other.sides and self.input_size == other.input_size

    @property
    def key(self) -> tuple[object, ...]:
        """Equal for equal facts; fields hold arrays."""
        axes = [
            (axis.first.tobytes(), axis.last.tobytes(), axis.size, axis.jump, axis.offset) for axis in self.field.axes
        ]
        return self.sides, self.input_size, self.field.mixes_image, *axes


class PatchTally:
    """Accumulates the units that excite each channel of one layer most; ``add`` is called with the maps of each image.

    Units are ordered by their value, the larger first, then by image, row and column, so that the result depends neither
    on batches nor on the order in which images are added or tallies merged. Only numbers are kept, so memory does not grow
    with the images but for their names. ``crop_patches`` cuts the patches out of the images afterwards.

    Args:
        patches: The number of units kept of each channel.
        per_image: At most so many units of one image; a further one is left out if the centre of its receptive field is
            nearer than half a receptive field to that of a chosen one, along both axes.
        lowest: Also keep the units with the smallest values.
        inside: Only consider units whose whole receptive field is inside the image.

    Raises:
        UsageError: one of the numbers is below 1, or more than 64 patches are requested.

    Example:
        >>> tally = kernelviz.PatchTally(patches=2)
        >>> images = [torch.rand(3, 16, 16) for _ in range(3)]
        >>> kernelviz.capture_many(torch.nn.Conv2d(3, 4, 5), images, on_map=tally.add)
        ()
        >>> patches = tally.result()
        >>> patches.values.shape, patches.images
        ((4, 2), ('image 0', 'image 1', 'image 2'))
    """

    def __init__(
        self, patches: int = USUAL_PATCHES, per_image: int = 1, *, lowest: bool = False, inside: bool = False
    ) -> None:
        self.patches = check_positive("number of patches", patches) or 1
        self.per_image = min(check_positive("number of patches of an image", per_image) or 1, self.patches)
        if self.patches > MOST_PATCHES:
            raise UsageError(f"At most {MOST_PATCHES} patches of a channel are kept, but got {self.patches:,}.")
        self.lowest, self.inside = lowest, inside
        self.layer = ""
        self.source: Source | None = None
        self.mixes_image = False
        self.images = CountedOnce(of_view=True)
        self._facts: list[_Facts] = []
        self._kinds: dict[tuple[object, ...], int] = {}
        self._sums: _Moments | None = None
        self._best: tuple[_Best, ...] = ()

    __repr__ = gathered_repr

    @property
    def numbers(self) -> tuple[int, ...]:
        """The numbers of the images that are counted, ascending, as ``add`` was called with them."""
        return tuple(self.images.places)

    def add(self, maps: FeatureMaps, place: int | None = None) -> None:
        """Add the maps of one image; one with the same bytes as an earlier one is not counted.

        Args:
            maps: As ``capture_features`` returns them, with their receptive fields.
            place: The position of the image among all images; by default the next one. Tallies that will be merged need
                different places.

        Raises:
            UsageError: the receptive field is not known, no unit has it inside the image though ``inside`` was requested,
                the place is taken, or there are another layer or other channels than before.
        """
        subject = as_maps(maps)
        if subject.values.dtype.char not in "fd":  # a record that was made of other numbers
            subject = replace(subject, values=as_array(subject.values))
        layer = self.layer or subject.layer or ""
        if subject.layer and subject.layer != layer:
            what = f"A tally is of one layer, but got maps of {shown(subject.layer)} after those of {shown(layer)}."
            raise UsageError(what, hint="Make a tally for each layer.")
        found = check_field(subject.field, layer, subject.lost, per_image=self.per_image)
        place = self.images.next_place if place is None else self.images.check_place(place)
        if self.images.is_copy(subject, place, partial(self._move, subject, found, layer)):
            return
        if self._sums is not None:
            check_channels(len(self._sums.count), len(subject.values))
        image, (rows, columns) = _ImageMoments.of(subject.values), subject.values.shape[1:]
        best = self._best_of(subject, found, place, layer, image)
        self._sums = self._sums or self._start(len(subject.values), image.low.dtype)
        self._sums.add(image)
        for one, new in zip(self._best, best, strict=True):
            one.add(new)
        self.layer, self.source = layer, self.source or subject.source
        self.mixes_image |= found.mixes_image
        kind = self._kind(_Facts((int(rows), int(columns)), found, subject.input_size))
        self.images.add(subject, place=place, kind=kind)

    def _kind(self, facts: _Facts) -> int:
        """The number of the facts of an image."""
        if self._facts and facts.is_like(self._facts[0]):
            return 0
        key = facts.key
        if key not in self._kinds:
            self._kinds[key] = len(self._facts)
            self._facts.append(facts)
        return self._kinds[key]

    def _start(self, channels: int, dtype: Any) -> _Moments:
        """Make the numbers of no image."""
        self._best = tuple(_Best(sign, channels, self.patches, dtype) for sign in self._signs)
        return _Moments(channels, dtype)

    @property
    def _signs(self) -> tuple[int, ...]:
        return (1, -1) if self.lowest else (1,)

    def _move(self, maps: FeatureMaps, found: Field, layer: str, before: int, place: int) -> None:
        """Let an image with these maps be at an earlier place."""
        best = self._best_of(maps, found, place, layer, _ImageMoments.of(maps.values))
        for one, new in zip(self._best, best, strict=True):
            one.move(before, new)

    def fresh(self, copies: Collection[int] = ()) -> PatchTally:
        """An empty tally with the same settings, to be merged into this one; ``copies`` are numbers not to be counted."""
        found = PatchTally(self.patches, self.per_image, lowest=self.lowest, inside=self.inside)
        found.images = CountedOnce(copies=copies, of_view=True)
        return found

    def copies_in(self, other: PatchTally) -> tuple[int, ...]:
        """The numbers of images of another tally that are in this one, as files of the same bytes."""
        return self.images.copies_in(other.images)

    def _best_of(
        self, maps: FeatureMaps, found: Field, number: int, layer: str, moments: _ImageMoments
    ) -> list[_ImageBest]:
        """The units of one image: those of largest and, if requested, of smallest value."""
        values, extremes = maps.values, moments.extremes
        lines: list[Array] = []
        if self.inside:
            sides = maps.input_size[1:] if maps.input_size else (0, 0)
            check_inside(found, layer, sides)
            lines = [inside_units(axis, side) for axis, side in zip(found.axes, sides, strict=True)]
            values, extremes = values[:, lines[0]][:, :, lines[1]], None
        apart = tuple(-(-axis.size // (2 * axis.jump)) for axis in found.axes) if self.per_image > 1 else ()  # type: ignore[operator]
        result = []
        for at, sign in enumerate(self._signs):
            best = _units_of(
                values,
                self.per_image,
                apart,
                sign,
                finite=moments.finite,
                first=self._best[at].first if self._best else None,
                extreme=extremes[at] if extremes else None,
            )
            if lines:
                rows, columns = np.divmod(best.keys, values.shape[2])
                best.keys = lines[0][rows] * maps.values.shape[2] + lines[1][columns]
            best.keys = best.keys + (number << _UNIT_BITS)
            if self.per_image > 1 or not moments.finite:
                best.keys = np.where(best.ranks < np.inf, best.keys, _NOWHERE)
            result.append(best)
        return result

    def merge(self, other: PatchTally) -> None:
        """Add everything that another tally of the same layer has.

        Raises:
            UsageError: it has other settings or another layer, or an image of this tally.
        """
        check_alike(self, other)
        for name in ("patches", "per_image", "lowest", "inside"):
            if getattr(self, name) != getattr(other, name):
                what = f"Only tallies with equal settings are merged, but {name} is {getattr(self, name)} and"
                raise UsageError(f"{what} {getattr(other, name)}.")
        if self._sums is not None and other._sums is not None:
            check_channels(len(self._sums.count), len(other._sums.count))
        self.images.merge(other.images, [self._kind(facts) for facts in other._facts])
        if other._sums is None:
            return
        self._sums = self._sums or self._start(len(other._sums.count), other._sums.low.dtype)
        for one, new in zip(self._best, other._best, strict=True):
            one.merge(new)
        self._sums.merge(other._sums)
        self.layer, self.source = self.layer or other.layer, self.source or other.source
        self.mixes_image |= other.mixes_image

    def result(self) -> Patches:
        """The patches of all maps that were added.

        Raises:
            UsageError: there were none, or ``lowest`` was requested and the smallest value of the layer is 0.
        """
        sums = self._sums
        if sums is None:
            raise UsageError("No maps were added.")
        if self.lowest and not (sums.low[sums.count > 0] < 0).any():
            floor = float(sums.low.min())
            what = f"{shown(self.layer) if self.layer else 'The layer'} has no lowest patches."
            why = f"Its smallest value is {number_text(floor)}, as after an activation."
            raise UsageError(what, why, "Omit --lowest, or choose the layer before the activation.")
        numbers = self.numbers
        listed = [self.images.listed.of(number) for number in numbers]
        kinds = np.fromiter(map(self.images.kind, numbers), np.int64, len(numbers))
        added = [self._facts[kind] for kind in np.unique(kinds)]
        mean, deviation = sums.statistics()
        some = sums.count > 0
        low, high = (np.where(some, end, np.nan) + 0 for end in (sums.low, sums.high))  # without -0.0
        rankings = [self._ranking(best, numbers, low if best.sign > 0 else high) for best in self._best]
        names = self.images
        sizes = {tuple(axis.size for axis in each.field.axes) for each in added}
        (size,) = sizes if len(sizes) == 1 else ((None, None),)
        input_sizes, map_sizes = {each.input_size for each in added}, {each.sides for each in added}
        return Patches(
            layer=self.layer,
            images=names.names,
            highest=rankings[0],
            lowest=rankings[1] if self.lowest else None,
            mean=mean,
            deviation=deviation,
            smallest=low,
            largest=high,
            nonfinite=sums.values - sums.count,
            per_image=self.per_image,
            inside=self.inside,
            sizes=None if None in size else size,
            exact=all(is_exact(axis) for each in added for axis in each.field.axes),
            mixes_image=self.mixes_image,
            border=_border_shares(np.array([facts.sides for facts in self._facts], np.int64)[kinds], rankings[0]),
            duplicates=names.duplicate_names,
            paths=tuple(path for _, path, _ in listed),
            digests=tuple(digest for *_, digest in listed),
            input_size=next(iter(input_sizes)) if len(input_sizes) == 1 else None,
            source=self.source,
            identity=names.as_recipe(),
            notes=(*self._wrapped(rankings, numbers), *names.reading_notes()),
            map_size=next(iter(map_sizes)) if len(map_sizes) == 1 else None,
        )

    def _wrapped(self, rankings: Sequence[Ranking], numbers: Sequence[int]) -> list[str]:
        """A note if units of the patches also read the opposite border of the image."""
        wrapping = [[wraps(axis) for axis in facts.field.axes] for facts in self._facts]
        if not any(some.any() for axes in wrapping for some in axes):
            return []
        count = 0
        for image, row, column in np.concatenate([each.places[each.places[..., 0] >= 0] for each in rankings]).tolist():
            down, across = wrapping[self.images.kind(numbers[image])]
            count += bool(down[row] or across[column])
        read = inflected(count, "unit of a patch reads", "units of patches read")
        return [f"{count:,} {read} the opposite border too, behind circular padding: it is not drawn"] if count else []

    def _ranking(self, best: _Best, numbers: Sequence[int], worst: Array) -> Ranking:
        """The units without those that have the channel's worst value, which is no excitation, with their boxes."""
        best.settle()
        values = -best.sign * best.ranks
        kept = np.isfinite(values) & (values != worst[:, None])
        images, units = best.keys >> _UNIT_BITS, best.keys & (2**_UNIT_BITS - 1)
        places, boxes = np.full((*kept.shape, 3), -1, np.int64), np.full((*kept.shape, 4), -1, np.int64)
        for number in np.unique(images[kept]).tolist():
            here = kept & (images == number)
            facts = self._facts[self.images.kind(number)]
            at = np.divmod(units[here], facts.sides[1])
            places[here] = np.stack([np.full_like(at[0], np.searchsorted(numbers, number)), *at], axis=-1)
            for axis, (found, positions) in enumerate(zip(facts.field.axes, at, strict=True)):
                for end, pixels in enumerate(extents(found)):
                    boxes[here, 2 * axis + end] = pixels[positions]
        chosen = np.where(kept, values + 0, np.nan).astype(values.dtype)
        some = kept.any(axis=1)
        return Ranking(chosen, places, boxes, np.where(some, best.units, 0), np.where(some, best.shared, 0))


_UNIT_BITS = 32
_NOWHERE = -1  # the key of no unit
_MOST_WAITING = 16


@dataclass(slots=True)
class _ImageBest:
    """The best units of one image for each channel: ranks and keys (C, n) as in ``_Best``.

    ``rows`` (m,) are the channels in which no earlier image is better, and ``units`` (m,) how many units of this one have
    the best value there.
    """

    ranks: Array
    keys: Array
    rows: Array
    units: Array


def _units_of(
    values: Array,
    count: int,
    apart: tuple[int, ...],
    sign: int,
    *,
    finite: bool,
    first: Array | None,
    extreme: tuple[Array, Array] | None,
) -> _ImageBest:
    """The best units of the maps (C, H, W) of one image, their keys without the image.

    Units that are nearer than ``apart`` to an earlier one along both axes are left out. A value that is not finite is never
    chosen; where there is no further unit, the rank is infinite. ``first`` (C,) are the best ranks so far; ``extreme`` are
    the flat places and the values of the best units here, if known.
    """
    channels, rows, columns = values.shape
    flat = values.reshape(channels, -1)
    find, worst = (np.argmax, -np.inf) if sign > 0 else (np.argmin, np.inf)
    if not finite:
        flat = np.where(np.isfinite(flat), flat, np.asarray(worst, flat.dtype))
    at, here = extreme or _taken(flat, find(flat, axis=1))
    ranks, places = [-here if sign > 0 else here], [at]
    good = ranks[0] < np.inf if first is None else ranks[0] <= first
    if first is not None and not finite:
        good &= ranks[0] < np.inf
    reached = good.nonzero()[0]
    units = reached
    if len(reached):
        alike = (flat[reached] == here[reached, None]).reshape(-1).nonzero()[0]
        units = np.bincount(alike // flat.shape[1], minlength=len(reached))
    if count == 1:
        return _ImageBest(ranks[0][:, None], at[:, None], reached, units)
    left = flat.reshape(channels, rows, columns).copy()
    for _ in range(count - 1):
        near = [
            np.abs(np.arange(side) - position[:, None]) < distance
            for side, position, distance in zip((rows, columns), np.divmod(places[-1], columns), apart, strict=True)
        ]
        left[near[0][:, :, None] & near[1][:, None, :]] = worst
        at, here = _taken(left.reshape(channels, -1), find(left.reshape(channels, -1), axis=1))
        ranks.append(-sign * here)
        places.append(at)
    return _ImageBest(np.array(ranks).T, np.array(places).T, reached, units)


@lru_cache(maxsize=16)
def _starts(rows: int, columns: int) -> Array:
    """Where the rows of an array start."""
    return np.arange(0, rows * columns, max(columns, 1))


def _taken(flat: Array, at: Array) -> tuple[Array, Array]:
    """Places (C,) in the rows of an array (C, n), and the values there."""
    return at, flat.reshape(-1).take(_starts(*flat.shape) + at)


class _Best:
    """The best units of each channel so far: ranks and keys (C, n), in their order, and counts (C,) as in ``Ranking``.

    A rank is a value times ``-sign``, 1 for the largest values and -1 for the smallest, so that the best is the smallest;
    it is infinite where there is no unit. A key is the number of the image times 2 ** 32, plus the flat index of the unit
    in its map, so that equal ranks are in the order of their keys. ``first`` (C,) are the best ranks, also of those that
    wait to be sorted in: sorting several at once costs as much as sorting one.
    """

    def __init__(self, sign: int, channels: int, most: int, dtype: Any) -> None:
        self.sign = sign
        self.ranks, self.keys = np.full((channels, most), np.inf, dtype), np.full((channels, most), _NOWHERE)
        self.units, self.shared = np.zeros(channels, np.int64), np.zeros(channels, np.int64)
        self.first = np.full(channels, np.inf, dtype)
        self._waiting: list[tuple[Array, Array]] = []

    def add(self, image: _ImageBest) -> None:
        """Add the units of an image."""
        if len(image.rows):
            self._count(image.rows, image.ranks[image.rows, 0], image.units, 1)
        self._waiting.append((image.ranks, image.keys))
        if len(self._waiting) >= _MOST_WAITING:
            self.settle()

    def merge(self, other: _Best) -> None:
        """Add the units of other images."""
        rows = np.flatnonzero(other.first <= self.first)
        self._count(rows, other.first[rows], other.units[rows], other.shared[rows])
        self._waiting += [(other.ranks, other.keys), *other._waiting]
        self.settle()  # the arrays of the other one may change

    def _count(self, rows: Array, first: Array, units: Array, shared: Array | int) -> None:
        """Count the best units of other images in channels in which these are at least as good as those so far."""
        same = first == self.first[rows]
        if first.dtype.itemsize > self.first.dtype.itemsize:  # float64 in some images
            self.first = self.first.astype(first.dtype)
        self.first[rows] = first
        self.units[rows] = units + same * self.units[rows]
        self.shared[rows] = shared + same * self.shared[rows]

    def settle(self) -> None:
        """Sort the units that wait into their places."""
        if not self._waiting:
            return
        ranks, keys = (np.concatenate(each, axis=1) for each in zip(*self._waiting, strict=True))
        self._waiting.clear()
        rows = np.flatnonzero((ranks <= self.ranks[:, -1:]).any(axis=1))
        self._put(rows, *(np.concatenate([kept[rows], new[rows]], axis=1)
                          for kept, new in ((self.ranks, ranks), (self.keys, keys))))  # fmt: skip

    def move(self, before: int, image: _ImageBest) -> None:
        """Replace the units of an image by those of its copy at an earlier place, of which some may come in now."""
        self.settle()
        here = self.keys >> _UNIT_BITS == before
        self.ranks[here], self.keys[here] = np.inf, _NOWHERE
        self._put(np.arange(len(self.ranks)), np.concatenate([self.ranks, image.ranks], axis=1),
                  np.concatenate([self.keys, image.keys], axis=1))  # fmt: skip

    def _put(self, rows: Array, ranks: Array, keys: Array) -> None:
        """Replace the units of these channels by the best of some."""
        order = np.lexsort((keys, ranks), axis=-1)[:, : self.ranks.shape[1]]
        every = np.arange(len(rows))[:, None]
        self.ranks = self.ranks.astype(ranks.dtype, copy=False)  # float64 if some images have it
        self.ranks[rows], self.keys[rows] = ranks[every, order], keys[every, order]


@dataclass(slots=True)
class _ImageMoments:
    """Sums and squares (C,) of the finite values of one image, times ``2 ** -power``, their number, and the extremes.

    ``extremes`` are the flat places and the values of the largest and of the smallest, if all values are finite.
    """

    values: int
    count: Array | int
    sums: Array
    squares: Array
    power: Array | int
    low: Array
    high: Array
    extremes: tuple[tuple[Array, Array], tuple[Array, Array]] | None = None

    @classmethod
    def of(cls, maps: Array) -> _ImageMoments:
        """Those of the maps (C, H, W) of an image."""
        flat = maps.reshape(len(maps), -1)
        size = flat.shape[1]
        sums, squares = (each.astype(np.float64, copy=False) for each in _sums(flat))
        if not np.maximum.reduce(squares) < np.inf:  # some values or their squares are not finite
            finite = np.isfinite(flat)
            count = finite.sum(axis=1)
            low, high = np.where(finite, flat, np.inf).min(axis=1), np.where(finite, flat, -np.inf).max(axis=1)
            return cls(size, count, *_wide_sums(np.where(finite, flat, 0), low, high), low, high)
        # NumPy finds the place of an extreme in a short row faster than its value
        largest, smallest = _taken(flat, flat.argmax(axis=1)), _taken(flat, flat.argmin(axis=1))
        found = cls(size, size, sums, squares, 0, smallest[1], largest[1], (largest, smallest))
        inexact = squares - sums * (sums / size) < squares * _LEAST_SPREAD  # far from 0 compared with the deviation
        if np.minimum.reduce(squares) < _LEAST_SQUARE[flat.dtype.char]:
            inexact |= (squares < _LEAST_SQUARE[flat.dtype.char]) & ((found.low < 0) | (found.high > 0))
        rows = inexact.nonzero()[0]
        if len(rows):
            power = np.zeros(len(flat), np.int64)
            sums[rows], squares[rows], power[rows] = _wide_sums(flat[rows], found.low[rows], found.high[rows])
            found.power = power if power.any() else 0
        return found

    @property
    def finite(self) -> bool:
        """Whether all values are finite."""
        return self.extremes is not None or bool((self.count == self.values).all())  # type: ignore[union-attr]


_LEAST_SPREAD = 1 / 16  # of a mean square: below that, rounding in single precision shows in the deviation
_LEAST_SQUARE = {"f": 2.0**-100, "d": 2.0**-900}  # below that, the squares of some numbers may be rounded to 0
_BLOCK = 4096
_LONG = 4 * _BLOCK


def _sums(flat: Array) -> tuple[Array, Array]:
    """The sums of the numbers (C, n) and of their squares, in one thread and one order, unlike those of linear algebra.

    Rounding grows with the length of a sum, so long rows are added in blocks, and these in double precision.
    """
    if flat.shape[1] <= _LONG:
        return np.einsum("ij->i", flat), np.einsum("ij,ij->i", flat, flat)
    blocks, end = flat.shape[1] // _BLOCK, flat.shape[1] // _BLOCK * _BLOCK
    head, tail = flat[:, :end].reshape(len(flat), blocks, _BLOCK), flat[:, end:]
    sums, squares = np.einsum("ijk->ij", head), np.einsum("ijk,ijk->ij", head, head)
    return (
        sums.sum(axis=1, dtype=np.float64) + np.einsum("ij->i", tail),
        squares.sum(axis=1, dtype=np.float64) + np.einsum("ij,ij->i", tail, tail),
    )


def _wide_sums(flat: Array, low: Array, high: Array) -> tuple[Array, Array, Array | int]:
    """The sums of finite numbers (C, n) and of their squares in double precision, times ``2 ** -power``, and the powers.

    ``low`` and ``high`` (C,) are the extremes, infinite where there is no number.
    """
    wide = flat.astype(np.float64)
    power: Array | int = 0
    if flat.dtype == np.float64:  # the squares of numbers of single precision are in range
        largest = np.maximum(np.abs(low), np.abs(high))
        power = power_of(np.where(np.isfinite(largest), largest, 0.0))
        wide *= np.ldexp(1.0, -power)[:, None]
    return wide.sum(axis=1), (wide * wide).sum(axis=1), power


class _Moments:
    """Count, exact sums of the sums and squares of each image, and extremes of each channel's finite values."""

    def __init__(self, channels: int, dtype: Any) -> None:
        self.values, self.count = 0, np.zeros(channels, np.int64)
        self.low, self.high = np.full(channels, np.inf, dtype), np.full(channels, -np.inf, dtype)
        self.sums, self.squares = ExactSums(channels), ExactSums(channels)

    def add(self, image: _ImageMoments) -> None:
        """Add those of an image."""
        self.sums.add(image.sums, image.power)
        self.squares.add(image.squares, 2 * image.power)
        self._include(image)

    def merge(self, other: _Moments) -> None:
        """Add those of other images."""
        self.sums.merge(other.sums)
        self.squares.merge(other.squares)
        self._include(other)

    def _include(self, other: _Moments | _ImageMoments) -> None:
        self.values += other.values
        self.count = self.count + other.count
        self.low, self.high = np.minimum(self.low, other.low), np.maximum(self.high, other.high)

    def statistics(self) -> tuple[Array, Array]:
        """Mean and deviation, float32; NaN for a channel without finite values."""
        counts = self.count.tolist()
        spread = np.where((self.low == self.high) & (self.count > 0), 0.0, deviations(self.sums, self.squares, counts))
        with np.errstate(over="ignore"):
            return means(self.sums, counts).astype(np.float32), spread.astype(np.float32)


def _border_shares(sides: Array, ranking: Ranking) -> tuple[float, float]:
    """The share of units in the outermost rows and columns, among all of the maps and among the chosen ones.

    ``sides`` (n, 2) are the rows and columns of the maps of each image.
    """
    inner = np.maximum(sides - 2, 0).prod(axis=1).sum()
    everything = 1 - float(inner) / float(sides.prod(axis=1).sum())
    places = ranking.places[ranking.places[..., 0] >= 0]
    if not len(places):
        return everything, 0.0
    ends = sides[places[:, 0]]
    outer = (places[:, 1:] == 0) | (places[:, 1:] == ends - 1)
    return everything, float(outer.any(axis=1).mean())


def choice_text(patches: Patches) -> str:
    """Which patches are chosen: ``The 8 largest values, at most one per image``."""
    count, per = patches.possible, patches.per_image
    of_each = "at most one per image" if per == 1 else f"at most {per} per image, at least half a receptive field apart"
    inside = "receptive field inside the image, " if patches.inside else ""
    return f"The {f'{count} largest values' if count > 1 else 'largest value'}, {inside}{of_each}"


def ties_text(ranking: Ranking, channel: int) -> str:
    """How many units have the best value of a channel, in how many images, and how many are drawn; empty if it is one."""
    units, images = int(ranking.units[channel]), int(ranking.shared[channel])
    if units < 2:
        return ""
    drawn = int(np.count_nonzero(ranking.values[channel] == ranking.values[channel, 0]))
    which = "all are drawn" if drawn == units else "the first is drawn" if drawn == 1 else f"{drawn} are drawn"
    best = number_text(float(ranking.values[channel, 0]), plus=True)
    where = f"in {counted(images, 'image')}" if images > 1 else "in one image"
    return f"{best} in {counted(units, 'unit')}, {where}: {which}"


def end_text(patches: Patches, ranking: Ranking, channel: int) -> str:
    """What is stated where the row of a channel ends early; empty if it does not."""
    count, most = int(ranking.counts[channel]), patches.possible
    if count >= most:
        return ""
    if patches.dead[channel]:
        return f"dead: {number_text(float(patches.largest[channel]))} everywhere"
    if math.isnan(patches.largest[channel]):
        return "no value is finite"
    return f"{count} of {most}"


def border_text(patches: Patches, channels: Sequence[int]) -> str:
    """How many patches of these channels reach beyond the border of the image; empty if none does, or it is not known."""
    beyond = every = 0
    for ranking in patches.rankings:
        there = ranking.places[list(channels)][..., 0] >= 0
        boxes, places = ranking.boxes[list(channels)][there], ranking.places[list(channels)][there]
        every += len(boxes)
        if patches.input_size:
            beyond += int(_crosses(boxes, patches.input_size).sum())
        else:
            crops = (patches.crops.get((at, row, column)) for at, row, column in places.tolist())
            beyond += sum(crop is not None and crop.crosses_border for crop in crops)
    if not beyond:
        return ""
    of = f"{beyond:,} of {counted(every, 'patch', 'patches')}"
    return f"{of} reach beyond the image" if patches.exceeds_image else f"hatched: outside the image, in {of}"


def _crosses(boxes: Array, input_size: tuple[int, ...]) -> Array:
    """Which of the boxes (n, 4) reach beyond the border of inputs of this size."""
    rows, columns = input_size[1:]
    return np.asarray((boxes[:, [0, 2]] < 0).any(axis=1) | (boxes[:, 1] >= rows) | (boxes[:, 3] >= columns))


def _may_read_padding(patches: Patches) -> bool:
    """Whether a chosen unit reads padding, as far as it is known."""
    if not patches.exact or not patches.input_size:
        return True
    return bool(_crosses(patches.highest.boxes[patches.places[..., 0] >= 0], patches.input_size).any())


def clipping_texts(patches: Patches) -> list[str]:
    """What is drawn instead of the field where that is larger than the image, or all of it."""
    if patches.exceeds_image:
        return [
            "Receptive fields are larger than the image: only their parts inside it are drawn, a cross marks the centre"
        ]
    if patches.covers_image and patches.map_size:
        rows, columns = patches.map_size
        cell = f"its cell in a grid of {rows:,} × {columns:,} units over the image"
        return [f"Each unit reads the whole image: a frame marks {cell}"]
    return []


def reduction_text(by: int) -> str:
    """How patches are made smaller; empty if they are not."""
    return f"Patches are reduced: each pixel is the mean of {by} × {by} pixels" if by > 1 else ""


def irregularities(patches: Patches, channels: Sequence[int]) -> list[str]:
    """What padding excites, dead channels, rows that end, values that are not finite, and duplicates."""
    lines = []
    everywhere, chosen = patches.border
    if chosen >= 2 * everywhere and not patches.inside and chosen > 0 and _may_read_padding(patches):
        lines.append(
            f"Effect of padding: {100 * everywhere:.1f} % of the units are at the border, "
            f"but {100 * chosen:.1f} % of all patches"
        )
    if patches.mixes_image:
        lines.append("+: a gate, a mean or attention mixes in the rest of the image")
    if not patches.exact:
        lines.append("Only what the units read inside the image is drawn: how far they reach beyond it is not known")
    dead = np.flatnonzero(patches.dead)
    if dead.size:
        are = counted(dead.size, "channel is", "channels are")
        lines.append(f"{are} dead (the same value in all images): {numbers_text(dead.tolist())}")
    if any((ranking.counts[list(channels)] % patches.possible).any() for ranking in patches.rankings):
        apart = "unit half a receptive field away" if patches.per_image > 1 else "image"
        lines.append(f"A row ends where no further {apart} has more than the channel's smallest value")
    lost = int(patches.nonfinite.sum())
    if lost:
        broken = int(np.count_nonzero(patches.nonfinite))
        lines.append(
            f"{counted(lost, 'value is', 'values are')} not finite, in {counted(broken, 'channel')}, and left out"
        )
    return [*lines, *filter(None, [duplicates_text(patches.duplicates)])]


def patches_entry(found: Patches, channels: Sequence[int]) -> dict[str, Any]:
    """The patches of these channels as JSON; null is not known or not finite."""

    def number(value: Any) -> float | None:
        return float(value) if math.isfinite(value) else None

    def rows(ranking: Ranking, channel: int) -> list[dict[str, Any]]:
        return [patch_entry(found, ranking, channel, at) for at in range(int(ranking.counts[channel]))]

    dead = found.dead
    return {
        "name": found.layer,
        "images": list(found.images),
        "duplicates": list(found.duplicates),
        "field": {
            "size": None if found.sizes is None else list(found.sizes),
            "beyond_border": found.exact,
            "global": found.mixes_image,
        },
        "per_image": found.per_image,
        "inside": found.inside,
        "border": {"units": found.border[0], "patches": found.border[1]},
        "dead": np.flatnonzero(dead).tolist(),
        "nonfinite": {str(at): int(found.nonfinite[at]) for at in np.flatnonzero(found.nonfinite)},
        "channels": [
            {
                "channel": channel,
                "mean": number(found.mean[channel]),
                "deviation": number(found.deviation[channel]),
                "smallest": number(found.smallest[channel]),
                "largest": number(found.largest[channel]),
                "dead": bool(dead[channel]),
                "nonfinite": int(found.nonfinite[channel]),
                "ties": {"units": int(found.highest.units[channel]), "images": int(found.highest.shared[channel])},
                "patches": rows(found.highest, channel),
                "lowest": None if found.lowest is None else rows(found.lowest, channel),
            }
            for channel in channels
        ],
    }


def patch_entry(found: Patches, ranking: Ranking, channel: int, at: int) -> dict[str, Any]:
    """A patch as JSON: ``inside`` is whether the whole receptive field is in the image, null if that is not known."""
    place = ranking.places[channel, at].tolist()
    crop = found.crops.get(tuple(place)) if found.exact else None
    return {
        "image": found.images[place[0]],
        "at": place[1:],
        "box": sides_first(ranking.boxes[channel, at]).tolist(),
        "inside": None if crop is None else not crop.crosses_border,
        "value": float(ranking.values[channel, at]),
    }


def sides_first(boxes: Array) -> Array:
    """Boxes (…, 4) as files have them: top, left, bottom, right."""
    return boxes[..., [0, 2, 1, 3]]


def patches_table(found: Patches, channels: Sequence[int], *, width: int | None = None) -> list[str]:
    """Aligned lines, one per channel: its best value, where it is, how many have it, and its last value.

    A second table, if requested, has the smallest values.
    """
    lines: list[str] = []
    for ranking, best in zip(found.rankings, ("best", "lowest"), strict=False):
        heads = ("channel", "patches", best, "unit", "ties", "last", f"{best} image")
        rows = []
        for channel in channels:
            count = int(ranking.counts[channel])
            if not count:
                rows.append((str(channel), "0", *("–",) * 5))
                continue
            image, row, column = ranking.places[channel, 0].tolist()
            rows.append((
                str(channel), str(count), number_text(float(ranking.values[channel, 0]), plus=True),
                f"({row}, {column})", f"{int(ranking.units[channel]):,}",
                number_text(float(ranking.values[channel, count - 1]), plus=True), found.images[image],
            ))  # fmt: skip
        lines += aligned(heads, rows, set(heads[:-1]), width=width).splitlines()
    return lines

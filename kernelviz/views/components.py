"""The principal components of a layer's features over many images; NumPy only."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kernelviz.errors import UsageError
from kernelviz.notebook import gathered_repr, record_repr
from kernelviz.records import as_maps
from kernelviz.threads import one_blas_thread
from kernelviz.views.gathered import CountedOnce
from kernelviz.views.statistics import check_alike, check_channels
from kernelviz.wording import counted

if TYPE_CHECKING:
    from collections.abc import Collection

    from kernelviz.records import Array, FeatureMaps, Recipe, Source


COLOURS = 3
CHUNK = 32
"""The number of consecutive images whose moments are summed before they are joined with those of others."""
MOST_BYTES = 256 * 2**20
"""Moments of chunks that wait for those before them."""
FULL = 2.5
"""The number of standard deviations at which a colour is full."""


@dataclass(frozen=True)
class Basis:
    """The three components of the largest variance of a layer with C channels, fitted over all positions of all images.

    ``mean`` (C,) is subtracted first; ``components`` (3, C) have length 1, with a sign such that the largest weight is
    positive; ``deviations`` (3,) are the standard deviations along them; ``share`` (3,) is the share of the variance that
    each explains. If a layer has fewer channels, or constant ones, the remaining components are zeros. ``model`` and
    ``identity`` identify the network and the images that it was fitted to, as in recipes.

    Example:
        >>> maps = np.zeros((3, 2, 2))
        >>> maps[1] = [[1, 2], [3, 4]]  # only the second channel varies
        >>> tally = kernelviz.CovarianceTally()
        >>> tally.add(maps)
        >>> basis = tally.basis()
        >>> basis.components[0], basis.share
        (array([0., 1., 0.]), array([1., 0., 0.]))
        >>> basis.scores(maps)[0]
        array([[-1.5, -0.5],
               [ 0.5,  1.5]])
    """

    mean: Array
    components: Array
    deviations: Array
    share: Array
    layer: str = ""
    images: int = 0
    positions: int = 0
    model: Recipe | None = None
    identity: Recipe | None = None

    __repr__ = record_repr

    @property
    def digest(self) -> str:
        """SHA-256 of its numbers."""
        numbers = (self.mean, self.components, self.deviations)
        return hashlib.sha256(b"".join(np.ascontiguousarray(each, "<f8").tobytes() for each in numbers)).hexdigest()

    def scores(self, maps: FeatureMaps | Array) -> Array:
        """The scores of every position of the maps (C, H, W) along the components, (3, H, W) in float64.

        Raises:
            UsageError: the maps have another number of channels than the basis.
        """
        values = as_maps(maps).values
        if len(values) != len(self.mean):
            what = f"The basis has {counted(len(self.mean), 'channel')}, but the layer has {len(values):,}."
            raise UsageError(what, hint="Use a basis that was fitted on this layer of this network.")
        flat = values.reshape(len(values), -1).astype(np.float64) - self.mean[:, None]
        with np.errstate(invalid="ignore", over="ignore"):
            return np.asarray((self.components @ flat).reshape(len(self.components), *values.shape[1:]))

    def in_deviations(self, maps: FeatureMaps | Array) -> Array:
        """The scores divided by the standard deviations of the components, (H, W, 3)."""
        units = np.where(self.deviations > 0, self.deviations, 1.0)
        return np.asarray(np.moveaxis(self.scores(maps) / units[:, None, None], 0, -1))

    def colours(self, maps: FeatureMaps | Array) -> Array:
        """The maps as colour, (H, W, 3) in [-1, 1]: scores in units of two and a half deviations, clipped."""
        return np.asarray(np.clip(self.in_deviations(maps) / FULL, -1, 1))


def fit_note(basis: Basis | None, source: Source | None) -> tuple[str, ...]:
    """A note if the basis was fitted to another network, or to other weights."""
    if basis is None or source is None:
        return ()
    if basis.model is None:
        return ("it is not known which network and weights the components were fitted to",)
    here = source.as_recipe()
    ours, theirs = here["weights"] or {}, basis.model.get("weights") or {}
    same = ours == theirs or (ours.get("sha256") is not None and ours.get("sha256") == theirs.get("sha256"))
    alike = here["name"] == basis.model.get("name")
    if same and alike:
        return ()
    weights = f"{theirs.get('source')} weights ({theirs.get('name')})" if theirs else "weights that are not known"
    other = "other weights" if alike else "another network"
    return (f"the components were fitted to {other}: {basis.model.get('name')}, {weights}",)


class CovarianceTally:
    """Accumulates mean and C × C covariance of a layer, image by image, in float64; ``basis`` returns its components.

    The images are summed in chunks of 32 places, in their order, and the chunks in theirs, so that tallies of whole chunks
    are merged to the same bits as one tally of all images: in any order, as long as the chunks between which others are
    missing take no more than 256 MB. Files of the same bytes are counted once.

    Example:
        >>> tally = kernelviz.CovarianceTally()
        >>> for _ in range(4):
        ...     tally.add(np.random.default_rng(0).normal(size=(8, 14, 14)))
        >>> tally.positions
        784
        >>> tally.basis().components.shape
        (3, 8)
    """

    def __init__(self) -> None:
        self.images = CountedOnce()
        self.source: Source | None = None
        self.layer = ""
        self._channels = 0
        self._done = _Moments()  # of the chunks before ``_end``
        self._end = 0
        self._chunks: dict[int, _Moments] = {}

    __repr__ = gathered_repr

    @property
    def positions(self) -> int:
        """How many positions there are."""
        return self._done.positions + sum(chunk.positions for chunk in self._chunks.values())

    def add(self, maps: FeatureMaps | Array, place: int | None = None) -> None:
        """Add the maps (C, H, W) of one image; positions that are not finite in every channel are left out.

        Args:
            maps: Those of the image.
            place: Its position among all images, by default the next one.

        Raises:
            UsageError: another number of channels than before, or the place is taken.
        """
        subject = as_maps(maps)
        flat = subject.values.reshape(len(subject.values), -1).astype(np.float64)
        flat = flat[:, np.isfinite(flat).all(axis=0)]
        if self._channels:
            check_channels(self._channels, len(flat))
        place = self.images.next_place if place is None else self.images.check_place(place)
        if self.images.is_copy(subject, place):
            return
        self.images.add(subject, place=place)
        self._note(subject.layer or "", subject.source, len(flat))
        chunk = place // CHUNK
        self._chunk(chunk).merge(_Moments.of(flat))
        self._join(chunk)

    def _note(self, layer: str, source: Source | None, channels: int) -> None:
        self.layer, self.source = self.layer or layer, self.source or source
        self._channels = self._channels or channels

    def _chunk(self, number: int) -> _Moments:
        """The moments of a chunk; if later ones were joined to it already, those of all of them."""
        return self._done if number < self._end else self._chunks.setdefault(number, _Moments())

    def _join(self, current: int) -> None:
        """Join the chunks that are complete: those before the ``current`` one that follow each other, or too many."""
        most = max(2, MOST_BYTES // (8 * max(1, self._channels) ** 2))
        for number in sorted(self._chunks):
            if number >= current or (number > self._end and len(self._chunks) <= most):
                return
            self._done.merge(self._chunks.pop(number))
            self._end = number + 1

    def fresh(self, copies: Collection[int] = ()) -> CovarianceTally:
        """An empty tally, to be merged into this one; ``copies`` are places not to be counted."""
        found = CovarianceTally()
        found.images = CountedOnce(copies=copies)
        return found

    def copies_in(self, other: CovarianceTally) -> tuple[int, ...]:
        """The places of images of another tally that are in this one, as files of the same bytes."""
        return self.images.copies_in(other.images)

    def merge(self, other: CovarianceTally) -> None:
        """Add everything that another tally of the same layer has.

        Raises:
            UsageError: it is of another layer, or has other channels or an image of this tally.
        """
        check_alike(self, other)
        if self._channels and other._channels:
            check_channels(self._channels, other._channels)
        self.images.merge(other.images)
        if not other.images:
            return
        self._note(other.layer, other.source, other._channels)
        self._done.merge(other._done)
        self._end = max(self._end, other._end)
        for number in sorted(other._chunks):
            self._chunk(number).merge(other._chunks[number])
        self._join(max(self._chunks, default=0))

    def _moments(self) -> _Moments:
        whole = self._done.copy()
        for number in sorted(self._chunks):
            whole.merge(self._chunks[number])
        return whole

    def basis(self) -> Basis:
        """The three components of the largest variance.

        Raises:
            UsageError: there are fewer than two positions.
        """
        moments = self._moments()
        if moments.positions < 2:
            raise UsageError(
                "There are too few positions to fit components to.", hint="Choose a layer with larger maps."
            )
        covariance = moments.products / (moments.positions - 1)
        with one_blas_thread():
            variances, vectors = np.linalg.eigh(covariance)
        order = np.argsort(variances)[::-1][:COLOURS]
        whole = float(np.trace(covariance)) or 1.0
        components, deviations = np.zeros((COLOURS, len(moments.mean))), np.zeros(COLOURS)
        for at, number in enumerate(order):
            vector = vectors[:, number]
            if variances[number] > 1e-12 * whole:
                components[at] = vector * np.sign(vector[np.argmax(np.abs(vector))])
                deviations[at] = np.sqrt(variances[number])
        share = deviations**2 / whole
        model = self.source.as_recipe() if self.source else None
        return Basis(
            moments.mean, components, deviations, share, self.layer, len(self.images), moments.positions, model,
            self.images.as_recipe(),
        )  # fmt: skip


class _Moments:
    """The number of positions, their mean (C,), and the sums of products of deviations from it (C, C)."""

    def __init__(self) -> None:
        self.positions = 0
        self.mean: Array = np.zeros(0)
        self.products: Array = np.zeros((0, 0))

    @classmethod
    def of(cls, flat: Array) -> _Moments:
        """Those of positions (C, n)."""
        found = cls()
        found.positions = flat.shape[1]
        if found.positions:
            found.mean = flat.mean(axis=1)
            centred = flat - found.mean[:, None]
            with one_blas_thread():
                found.products = centred @ centred.T
        return found

    def copy(self) -> _Moments:
        """The same in arrays of its own."""
        found = _Moments()
        found.positions, found.mean, found.products = self.positions, self.mean.copy(), self.products.copy()
        return found

    def merge(self, other: _Moments) -> None:
        """Add other positions, by the formula of Chan, Golub and LeVeque (1979)."""
        total = self.positions + other.positions
        if not other.positions:
            return
        if not self.positions:
            self.mean, self.products = other.mean.copy(), other.products.copy()
        else:
            step = other.mean - self.mean
            self.products += other.products
            self.products += np.outer(step, step) * (self.positions * other.positions / total)
            self.mean = self.mean + step * (other.positions / total)
        self.positions = total

"""The principal components of a layer's features over many images; NumPy only."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kernelviz.errors import UsageError
from kernelviz.notebook import gathered_repr, record_repr
from kernelviz.records import as_maps
from kernelviz.views.statistics import Gathered, check_channels

if TYPE_CHECKING:
    from kernelviz.records import Array, FeatureMaps, Recipe, Source


COLOURS = 3
FULL = 2.5
"""The number of standard deviations at which a colour is full."""


@dataclass(frozen=True)
class Basis:
    """The three components of the largest variance of a layer with C channels, fitted over all positions of all images.

    ``mean`` (C,) is subtracted first; ``components`` (3, C) have length 1, with a sign such that the largest weight is
    positive; ``deviations`` (3,) are the standard deviations along them; ``share`` (3,) is the share of the variance that
    each explains. If a layer has fewer channels, or constant ones, the remaining components are zeros. ``model`` and
    ``identity`` identify the network and the images that it was fitted to, as in recipes.
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
            what = f"The basis has {len(self.mean):,} channels, but the layer has {len(values):,}."
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
    """Accumulates mean and C × C covariance of a layer, image by image, in float64; ``basis`` returns its components."""

    def __init__(self) -> None:
        self.images = Gathered()
        self.source: Source | None = None
        self.positions = 0
        self.layer = ""
        self._mean: Array = np.zeros(0)
        self._moments: Array = np.zeros((0, 0))

    __repr__ = gathered_repr

    def add(self, maps: FeatureMaps | Array) -> None:
        """Add the maps (C, H, W) of one image; positions that are not finite in every channel are left out.

        Raises:
            UsageError: another number of channels than before.
        """
        subject = as_maps(maps)
        flat = subject.values.reshape(len(subject.values), -1).astype(np.float64)
        flat = flat[:, np.isfinite(flat).all(axis=0)]
        if not self.images:
            self.layer, self.source = subject.layer or "", subject.source
            self._mean, self._moments = np.zeros(len(flat)), np.zeros((len(flat), len(flat)))
        check_channels(len(self._mean), len(flat))
        self.images.add(subject)
        count = flat.shape[1]
        if not count:
            return
        total = self.positions + count
        mean = flat.mean(axis=1)
        step = mean - self._mean
        centred = flat - mean[:, None]
        self._moments += centred @ centred.T + np.outer(step, step) * (self.positions * count / total)
        self._mean = self._mean + step * (count / total)
        self.positions = total

    def basis(self) -> Basis:
        """The three components of the largest variance.

        Raises:
            UsageError: there are fewer than two positions.
        """
        if self.positions < 2:
            raise UsageError(
                "There are too few positions to fit components to.", hint="Choose a layer with larger maps."
            )
        covariance = self._moments / (self.positions - 1)
        variances, vectors = np.linalg.eigh(covariance)
        order = np.argsort(variances)[::-1][:COLOURS]
        whole = float(np.trace(covariance)) or 1.0
        components, deviations = np.zeros((COLOURS, len(self._mean))), np.zeros(COLOURS)
        for at, number in enumerate(order):
            vector = vectors[:, number]
            if variances[number] > 1e-12 * whole:
                components[at] = vector * np.sign(vector[np.argmax(np.abs(vector))])
                deviations[at] = np.sqrt(variances[number])
        share = deviations**2 / whole
        model = self.source.as_recipe() if self.source else None
        return Basis(
            self._mean, components, deviations, share, self.layer, len(self.images), self.positions, model,
            self.images.as_recipe(),
        )  # fmt: skip

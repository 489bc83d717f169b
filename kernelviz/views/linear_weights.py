"""The linear weights of a deep layer on the pixels, and how much of what its channels really give they explain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from kernelviz.errors import UsageError
from kernelviz.notebook import record_repr

if TYPE_CHECKING:
    from kernelviz.records import Array, Recipe, Source


Slopes: TypeAlias = Literal["mean", "one"]
HALF = 0.5
"""The share of the variation that the weights of a channel must explain to be drawn as its picture."""
NEGLIGIBLE = 0.005
"""Of the largest weight of the layer: a channel without a larger one is as good as zero, as a kernel is."""


@dataclass(frozen=True)
class LinearWeights:
    """The channels of a layer as linear weights on the pixels of the network's input.

    In a copy of the network each activation was replaced by z ↦ s·z, with one s per channel. ``weights`` (C, I, h, w) is
    what one unit of each channel then computes from the pixels of its receptive field, plus ``constant`` (C,); both are
    float64, in the units of kernels of the first layer. ``explained`` (C,) is r², or 0 if r < 0, with r the correlation of
    this response with the real output of the channel, over all units whose receptive field is inside the image, and over
    the ``judged`` images; NaN if one of the two is constant.

    ``slopes`` is ``mean`` if s is the mean slope of the activation over all units of the ``measured`` images, ``one`` if
    it is 1. ``unit`` (row, column) is a unit of this receptive field, and ``box`` are the first and the last row, the
    first and the last column of the field in an input of ``input_size`` (C, H, W). ``units`` is the number of values per
    channel that were compared, ``activations`` the number of replaced activations, ``pools`` the names of the layers whose
    maxima were replaced by means. ``works`` is the last convolution before this layer with a channel of which one half is
    explained, if this layer has none; empty if there is no such convolution. ``identity`` identifies the images in a
    recipe; None if one of them is not known.

    Example:
        >>> network = torch.nn.Conv2d(3, 4, 5)
        >>> expanded = kernelviz.expand_units(network, [torch.rand(3, 12, 12) for _ in range(2)], "Conv2d")
        >>> np.allclose(expanded.weights, network.weight.detach())  # a convolution is linear already
        True
        >>> expanded.explained.round(6)
        array([1., 1., 1., 1.])
    """

    weights: Array
    explained: Array
    constant: Array
    layer: str
    slopes: Slopes
    unit: tuple[int, int]
    box: tuple[int, int, int, int]
    units: int
    measured: tuple[str, ...]
    judged: tuple[str, ...]
    input_size: tuple[int, ...]
    activations: int = 0
    pools: tuple[str, ...] = ()
    works: str = ""
    source: Source | None = None
    image_recipes: tuple[dict[str, Any] | None, ...] = ()
    notes: tuple[str, ...] = ()
    identity: Recipe | None = None

    __repr__ = record_repr

    @property
    def negligible(self) -> Array:
        """The channels (C,) with weights as good as zero beside the largest of the layer."""
        largest: Array = np.abs(self.weights).max(axis=(1, 2, 3))
        return np.asarray(largest <= NEGLIGIBLE * largest.max(initial=0.0))

    @property
    def dead(self) -> Array:
        """The channels (C,) with weights as good as zero, or of which an output is constant over the judged images."""
        return np.asarray(self.negligible | np.isnan(self.explained))

    @property
    def half(self) -> Array:
        """The channels (C,) of which one half or more is explained."""
        return ~self.dead & (np.nan_to_num(self.explained) >= HALF)

    @property
    def median(self) -> float:
        """The median of ``explained`` over the channels that are not dead; NaN if all are."""
        alive = self.explained[~self.dead]
        return float(np.median(alive)) if alive.size else float("nan")


def check_slopes(slopes: str) -> Slopes:
    """One of the two kinds of slopes.

    Raises:
        UsageError: it is another one.
    """
    if slopes == "mean":
        return "mean"
    if slopes == "one":
        return "one"
    raise UsageError(f"The slopes must be mean or one, but got {slopes!r}.")


class CorrelationTally:
    """The correlation of two series for each channel, added up image by image."""

    def __init__(self) -> None:
        self.count = 0
        self._shift: Array | None = None
        self._sums: Array = np.zeros(0)

    def add(self, one: Array, other: Array) -> None:
        """Add the values (C, n) of an image."""
        pair = np.stack([one, other]).astype(np.float64)
        if self._shift is None:
            self._shift = pair.mean(axis=2, keepdims=True)
            self._sums = np.zeros((5, pair.shape[1]))
        pair -= self._shift
        first, second = pair
        self.count += first.shape[1]
        self._sums += np.stack(
            [first.sum(1), second.sum(1), (first**2).sum(1), (second**2).sum(1), (first * second).sum(1)]
        )

    def explained(self) -> Array:
        """r² for each channel, 0 if r < 0; NaN if a series is constant."""
        with np.errstate(all="ignore"):
            one, other, ones, others, both = self._sums
            spread = ones - one**2 / self.count, others - other**2 / self.count
            constant = (spread[0] <= 1e-24 * ones) | (spread[1] <= 1e-24 * others)
            r = (both - one * other / self.count) / np.sqrt(spread[0] * spread[1])
        found = np.where(r > 0, np.minimum(r, 1.0) ** 2, np.where(np.isnan(r), np.nan, 0.0))
        return np.where(constant, np.nan, found)


def expanded_entry(expanded: LinearWeights) -> dict[str, Any]:
    """What the JSON document states of a layer; the explained shares of all its channels, null for dead ones."""
    dead, median, (top, bottom, left, right) = expanded.dead, expanded.median, expanded.box
    return {
        "name": expanded.layer,
        "slopes": expanded.slopes,
        "size": list(expanded.weights.shape[2:]),
        "input_size": list(expanded.input_size),
        "unit": list(expanded.unit),
        "box": [top, left, bottom, right],
        "total": len(dead),
        "half": int(expanded.half.sum()),
        "median": None if np.isnan(median) else median,
        "channels": [
            {"channel": at, "dead": bool(gone), "explained": None if gone else float(share)}
            for at, (gone, share) in enumerate(zip(dead, expanded.explained, strict=True))
        ],
        "units": expanded.units,
        "measured": list(expanded.measured),
        "judged": list(expanded.judged),
        "activations": expanded.activations,
        "pools": list(expanded.pools),
        "last_explained_layer": expanded.works or None,
        "notes": list(expanded.notes),
    }

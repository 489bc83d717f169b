"""How far two weights of one architecture are from each other, kernel by kernel and layer by layer; NumPy only."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from kernelviz.errors import UsageError
from kernelviz.notebook import record_repr
from kernelviz.records import shape_text
from kernelviz.views.linear_weights import NEGLIGIBLE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kernelviz.records import Array, ConvLayer, KernelBank, Source
    from kernelviz.views.pairing import Pairing


QUANTILES = (0.05, 0.5, 0.95)
"""Of the angles of a layer: the ends of the band in the chart, and its median."""
_SAFE = 1e-100, 1e100  # sizes of weights whose squares are neither 0 nor infinite


@dataclass(frozen=True)
class ComparedLayer:
    """The kernels of one layer in two weights, A and B.

    All arrays have one number per kernel, computed in float64. ``changes`` is ‖b − a‖ / ‖a‖, ``ratios`` is ‖b‖ / ‖a‖,
    ``cosines`` is that of the angle between a and b, and ``angles`` is this angle in degrees. A kernel is as good as zero
    if no weight of it exceeds 0.5 % of the layer's largest weight in A and B: ``zero_a``, ``zero_b``. ``broken`` kernels
    have values that are not finite in A or B. These, and kernels as good as zero in both, have no numbers (NaN); those as
    good as zero in one have no cosine and no angle. ``equal`` kernels are bitwise the same.

    ``change`` is ‖B − A‖ / ‖A‖ of all kernels that are finite, NaN if none is. ``same`` is True if the whole stored weight
    is bitwise the same: −0 is not 0, and NaN equals NaN if their bits are equal. ``quantiles`` are the 5, 50 and 95 %
    quantiles of the angles. ``pairing`` is which kernels of B match those of A, if that was requested.

    Example:
        >>> before = np.random.default_rng(0).normal(size=(4, 3, 3, 3))
        >>> after = before.copy()
        >>> after[1] *= 2
        >>> after[2] *= -1
        >>> layer = kernelviz.compare_weights(before, after).layers[0]
        >>> layer.changes
        array([0., 1., 2., 0.])
        >>> layer.cosines.round(6)
        array([ 1.,  1., -1.,  1.])
        >>> layer.equal
        array([ True, False, False,  True])
    """

    name: str
    a: KernelBank
    b: KernelBank
    change: float
    same: bool
    quantiles: tuple[float, float, float]
    changes: Array
    ratios: Array
    cosines: Array
    angles: Array
    zero_a: Array
    zero_b: Array
    broken: Array
    equal: Array
    pairing: Pairing | None = None
    notes: tuple[str, ...] = ()

    __repr__ = record_repr

    @property
    def layer(self) -> ConvLayer | None:
        """The convolution, None if the weights are plain arrays."""
        return self.a.layer

    @property
    def live(self) -> Array:
        """The kernels (O,) that are finite and not as good as zero in both weights."""
        return ~(self.zero_a | self.zero_b | self.broken)

    @property
    def died(self) -> tuple[int, ...]:
        """The numbers of the kernels that are as good as zero in B alone."""
        return _numbers(self.zero_b & ~self.zero_a)

    @property
    def born(self) -> tuple[int, ...]:
        """The numbers of the kernels that are as good as zero in A alone."""
        return _numbers(self.zero_a & ~self.zero_b)

    @property
    def zero(self) -> tuple[int, ...]:
        """The numbers of the kernels that are as good as zero in both weights."""
        return _numbers(self.zero_a & self.zero_b)

    @property
    def order(self) -> tuple[int, ...]:
        """All kernels: those that died or were born, then not finite ones, then by change, then those as good as zero.

        The largest change is first; ties are by number.
        """
        live = np.flatnonzero(self.live)
        moved = live[np.argsort(-self.changes[live], kind="stable")]
        return (*sorted((*self.died, *self.born)), *_numbers(self.broken), *map(int, moved), *self.zero)

    def entry(self, kernels: Sequence[int] | None = None) -> dict[str, Any]:
        """What the JSON document states of the layer, with the numbers of these kernels; None for no kernel."""
        columns = zip(
            self.changes.tolist(), self.ratios.tolist(), self.cosines.tolist(), self.angles.tolist(), strict=True
        )
        rows = [
            {"kernel": number, "change": change, "ratio": ratio, "cosine": cosine, "angle": angle}
            for number, (change, ratio, cosine, angle) in enumerate(columns)
        ]
        return {
            "name": self.name,
            "shape": list(self.a.weight.shape),
            "change": self.change,
            "same": self.same,
            "angle": list(self.quantiles),
            "died": list(self.died),
            "born": list(self.born),
            "zero": list(self.zero),
            "nonfinite": list(_numbers(self.broken)),
            "equal": int(np.count_nonzero(self.equal)),
            "total": len(self.changes),
            "kernels": None if kernels is None else [rows[number] for number in kernels],
            "match": None if self.pairing is None else self.pairing.entry(),
            "notes": list(self.notes),
        }


@dataclass(frozen=True)
class ComparedTensor:
    """A tensor that is no kernel: a bias, a weight or a statistic of a normalisation, a fully connected layer.

    Example:
        >>> before = {"conv.weight": np.ones((4, 3, 3, 3)), "conv.bias": np.ones(4)}
        >>> after = {"conv.weight": np.ones((4, 3, 3, 3)), "conv.bias": 1.5 * np.ones(4)}
        >>> kernelviz.compare_weights(before, after).others
        (ComparedTensor(name='conv.bias', change=0.5, same=False),)
    """

    name: str
    change: float
    same: bool

    __repr__ = record_repr

    def entry(self) -> dict[str, Any]:
        """What the JSON document states of the tensor."""
        return {"name": self.name, "change": self.change, "same": self.same}


@dataclass(frozen=True)
class Comparison:
    """Two weights, A and B, of one architecture.

    ``layers`` are the compared convolutions in the order in which the network defines them, ``others`` all other tensors of
    numbers. ``left_out`` are the convolutions that cannot be compared, with the reason. ``stages`` are names of modules
    that group the layers. ``identical`` is True if both weights are the same file.

    Example:
        >>> before = np.random.default_rng(0).normal(size=(4, 3, 3, 3))
        >>> after = before.copy()
        >>> after[1] *= 2
        >>> after[2] *= -1
        >>> comparison = kernelviz.compare_weights({"conv.weight": before}, {"conv.weight": after})
        >>> [layer.name for layer in comparison.layers], comparison.identical
        (['conv'], False)
        >>> comparison.layer("conv").changes.round(6)
        array([0., 1., 2., 0.])
    """

    layers: tuple[ComparedLayer, ...]
    others: tuple[ComparedTensor, ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)
    sources: tuple[Source | None, Source | None] = (None, None)
    stages: tuple[str, ...] = ()
    identical: bool = False
    notes: tuple[str, ...] = ()

    __repr__ = record_repr

    @property
    def same(self) -> tuple[str, ...]:
        """The names of the layers that are bitwise the same."""
        return tuple(layer.name for layer in self.layers if layer.same)

    def layer(self, name: str | None = None) -> ComparedLayer:
        """The layer of this name, the first one without a name.

        Raises:
            UsageError: there is none of this name.
        """
        found = next((layer for layer in self.layers if name in (None, layer.name)), None)
        if found is None:
            why = f"It {self.left_out[name]}." if name and name in self.left_out else ""
            raise UsageError(f"The layer {name} was not compared.", why, "Compare it: compare_weights(a, b, layers).")
        return found


def _numbers(flags: Array) -> tuple[int, ...]:
    return tuple(map(int, np.flatnonzero(flags)))


def compare_banks(a: KernelBank, b: KernelBank, name: str = "", *, stored_same: bool | None = None) -> ComparedLayer:
    """Compare the kernels of a layer in two weights of one shape, kernel i of A with kernel i of B.

    Args:
        a: The kernels in A.
        b: The kernels in B.
        name: Of the layer.
        stored_same: Whether the stored tensors are bitwise the same, if the kernels are computed from them.

    Raises:
        UsageError: the shapes differ.
    """
    if a.weight.shape != b.weight.shape:
        raise UsageError(f"A is {shape_text(a.weight.shape)}, but B is {shape_text(b.weight.shape)}.")
    equal = _equal_rows(a.weight, b.weight)
    one, other = (each.weight.reshape(len(each.weight), -1) for each in (a, b))
    sizes = [
        np.abs(each).max(axis=1, initial=0).astype(np.float64) for each in (one, other)
    ]  # not finite if one is not
    broken = ~(np.isfinite(sizes[0]) & np.isfinite(sizes[1]))
    limit = _largest(a.weight, b.weight) if broken.any() else float(max(map(np.max, sizes)))
    zero_a, zero_b = (~broken & (size <= NEGLIGIBLE * limit) for size in sizes)
    factor = 1.0 if _SAFE[0] < limit < _SAFE[1] or not limit else _to_about_one(limit)
    kept = broken[:, None]
    x, y = ((np.where(kept, 0, each) if broken.any() else each).astype(np.float64) for each in (one, other))
    if factor != 1.0:
        x, y = x * factor, y * factor
    lengths = _lengths(x), _lengths(y)
    moved = _lengths(y - x)
    with np.errstate(divide="ignore", invalid="ignore"):
        changes, ratios = moved / lengths[0], lengths[1] / lengths[0]
        x /= lengths[0][:, None]
        y /= lengths[1][:, None]
        cosines = np.clip(np.einsum("ij,ij->i", x, y), -1, 1)
        y -= x
        apart = _lengths(y)
        x *= 2
        x += y
        angles = np.degrees(2 * np.arctan2(apart, _lengths(x)))
        total = float(np.linalg.norm(moved) / np.linalg.norm(lengths[0])) if (~broken).any() else math.nan
    for values, of_equal in ((changes, 0.0), (ratios, 1.0), (cosines, 1.0), (angles, 0.0)):
        values[equal] = of_equal
        values[broken | (zero_a & zero_b)] = np.nan
    cosines[zero_a | zero_b] = angles[zero_a | zero_b] = np.nan
    living = angles[~np.isnan(angles)]
    low, median, high = _quantiles(living)
    same = bool(equal.all()) and stored_same is not False
    return ComparedLayer(
        name, a, b, 0.0 if equal.all() else total, same, (low, median, high), changes, ratios, cosines, angles,
        np.asarray(zero_a), np.asarray(zero_b), np.asarray(broken), equal,
        notes=tuple(dict.fromkeys((*a.notes, *b.notes))),
    )  # fmt: skip


def _quantiles(values: Array) -> tuple[float, float, float]:
    """The 5, 50 and 95 % quantiles, interpolated linearly as ``numpy.quantile`` does; NaN of no values."""
    if not values.size:
        return math.nan, math.nan, math.nan
    low, median, high = np.interp(np.array(QUANTILES) * (values.size - 1), np.arange(values.size), np.sort(values))
    return float(low), float(median), float(high)


def _lengths(rows: Array) -> Array:
    return np.asarray(np.sqrt(np.einsum("ij,ij->i", rows, rows)))


def _largest(*arrays: Array) -> float:
    """The largest finite size of a number; 0 if there is none."""
    return max(float(np.abs(each[np.isfinite(each)]).max(initial=0)) for each in arrays)


def _to_about_one(size: float) -> float:
    """The power of two that brings a number near 1; the largest one for numbers that are subnormal."""
    return math.ldexp(1.0, min(-math.frexp(size)[1], 1023))


def _equal_rows(a: Array, b: Array) -> Array:
    """Which rows along the first axis have the same bits."""
    if a.dtype != b.dtype:
        return np.zeros(len(a), dtype=bool)
    bits = f"u{a.dtype.itemsize}"
    one, other = (np.ascontiguousarray(each).reshape(len(each), -1).view(bits) for each in (a, b))
    return np.asarray((one == other).all(axis=1))


def same_bits(a: Array, b: Array) -> bool:
    """Whether two arrays have the same shape, type and bits."""
    return (a.shape, a.dtype) == (b.shape, b.dtype) and bool(_equal_rows(a.reshape(1, -1), b.reshape(1, -1)).all())


def compare_tensors(name: str, a: Array, b: Array) -> ComparedTensor:
    """Compare two arrays of one shape; the change is NaN if a number is not finite, infinite if A is 0 and B is not."""
    if same_bits(a, b):
        return ComparedTensor(name, 0.0, same=True)
    x, y = (each.ravel().astype(np.float64) for each in (a, b))
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        length, moved = np.linalg.norm(x), np.linalg.norm(y - x)
        if not (_SAFE[0] < length < _SAFE[1] and moved < _SAFE[1]) and (limit := _largest(x, y)):
            factor = _to_about_one(limit)
            length, moved = np.linalg.norm(x * factor), np.linalg.norm((y - x) * factor)
        change = 0.0 if moved == 0 else float(moved / length)
    return ComparedTensor(name, change, same=False)

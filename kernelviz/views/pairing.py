"""Which kernels of one bank match those of another best, one to one, and how well banks match by chance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from kernelviz.notebook import record_repr

if TYPE_CHECKING:
    from collections.abc import Callable

    from kernelviz.records import Array


BANKS, MANY_KERNELS, FEWER_BANKS = 200, 512, 50
"""Random banks for the chance level: of more than so many kernels only the smaller number, since each takes seconds."""
PERCENT = 98


@dataclass(frozen=True)
class Pairing:
    """The kernels of B that match those of A best, one to one, by signed cosine: ``a[i]`` with ``b[i]``.

    The pairs are in the order of their ``cosines``, the largest first; kernels as good as zero or not finite are in no
    pair. ``mean`` is the mean cosine of all pairs, ``own`` that of the kernels with equal numbers. ``chance`` is the mean
    of ``mean`` over ``banks`` random banks in place of B, mixtures of the kernels of B, and ``bound`` its 98th percentile.
    """

    a: Array
    b: Array
    cosines: Array
    ratios: Array
    mean: float
    own: float
    chance: float
    bound: float
    banks: int

    __repr__ = record_repr

    @property
    def better(self) -> bool:
        """Whether the pairs are better than those of 98 of 100 random banks."""
        return self.mean > self.bound

    def entry(self) -> dict[str, Any]:
        """What the JSON document states of the pairs."""
        pairs = zip(self.a.tolist(), self.b.tolist(), self.cosines.tolist(), self.ratios.tolist(), strict=True)
        return {
            "mean": self.mean,
            "own_order": self.own,
            "chance": self.chance,
            "percentile_98": self.bound,
            "banks": self.banks,
            "better_than_chance": self.better,
            "pairs": [{"a": a, "b": b, "cosine": cosine, "ratio": ratio} for a, b, cosine, ratio in pairs],
        }


def pair_kernels(
    a: Array,
    b: Array,
    usable: tuple[Array, Array],
    *,
    banks: int | None = None,
    seed: int = 0,
    progress: Callable[[str, int, int], None] | None = None,
) -> Pairing:
    """Match the kernels of two banks (O, …), one to one, so that the sum of their cosines is as large as possible.

    Signed cosines, since a ReLU does not allow a kernel of opposite sign for another. The chance level is that of random
    mixtures of the unit kernels of B: all of them are rotated by one random orthogonal matrix (O, O), so that the mixtures
    have the second moments of B. Kernels that are only smooth, or only grey, are no match then.

    Args:
        a: The kernels of A.
        b: The kernels of B.
        usable: Which kernels (O,) of each take part.
        banks: The number of random banks; by default 200, and 50 of layers with more than 512 kernels.
        seed: Of the random banks.
        progress: Called with a label, the number of random banks so far and of all.
    """
    numbers = [np.flatnonzero(each) for each in usable]
    units, lengths = zip(*(_units(each[kept]) for each, kept in zip((a, b), numbers, strict=True)), strict=True)
    one, other = units
    both = usable[0] & usable[1]
    same = [np.searchsorted(kept, np.flatnonzero(both)) for kept in numbers]
    own = np.einsum("ij,ij->i", one[same[0]], other[same[1]])
    cosines = np.clip(one @ other.T, -1, 1)
    rows, columns = _assigned(cosines)
    found = cosines[rows, columns]
    order = np.argsort(-found, kind="stable")
    rows, columns, found = rows[order], columns[order], found[order]
    count = banks or (BANKS if len(other) <= MANY_KERNELS else FEWER_BANKS)
    chances = _chances(one, other, count, seed, progress)
    return Pairing(
        a=numbers[0][rows],
        b=numbers[1][columns],
        cosines=found,
        ratios=lengths[1][columns] / lengths[0][rows],
        mean=float(found.mean()) if found.size else float("nan"),
        own=float(own.mean()) if own.size else float("nan"),
        chance=float(chances.mean()),
        bound=float(np.percentile(chances, PERCENT)),
        banks=count,
    )


def _units(bank: Array) -> tuple[Array, Array]:
    """The kernels as unit vectors in float64 (n, …), and their lengths."""
    flat = bank.reshape(len(bank), int(np.prod(bank.shape[1:]))).astype(np.float64)
    sizes = np.abs(flat).max(axis=1, keepdims=True, initial=0)
    flat = flat / sizes  # squares of very large weights are infinite
    lengths = np.linalg.norm(flat, axis=1, keepdims=True)
    return flat / lengths, (lengths * sizes)[:, 0]


def _assigned(cosines: Array) -> tuple[Array, Array]:
    """The rows and the columns of the pairs whose cosines have the largest sum."""
    from scipy.optimize import linear_sum_assignment

    rows, columns = linear_sum_assignment(cosines, maximize=True)
    return np.asarray(rows), np.asarray(columns)


def _chances(
    one: Array, other: Array, banks: int, seed: int, progress: Callable[[str, int, int], None] | None
) -> Array:
    """The mean cosines of A with random banks in place of B, (banks,)."""
    if not len(one) or not len(other):
        return np.full(banks, np.nan)
    random = np.random.default_rng(seed)
    means = np.empty(banks)
    for number in range(banks):
        if progress is not None:
            progress("chance level", number, banks)
        turned, upper = np.linalg.qr(random.standard_normal((len(other), len(other))))
        mixed = (turned * np.sign(np.diag(upper))) @ other  # uniform among all rotations and reflections
        mixed /= np.linalg.norm(mixed, axis=1, keepdims=True)
        cosines = one @ mixed.T
        means[number] = cosines[_assigned(cosines)].mean()
    return means

"""Matching of kernels: permuted copies are found back, unrelated banks match no better than chance."""

from __future__ import annotations

import inspect
from itertools import permutations

import numpy as np
import pytest

from kernelviz.views import pairing
from kernelviz.views.pairing import pair_kernels


def bank(seed, count=24, shape=(3, 5, 5)):
    """Seeded kernels."""
    return np.random.default_rng(seed).standard_normal((count, *shape))


def pair(a, b, **choices):
    """Two banks, matched, all kernels of which are usable."""
    return pair_kernels(a, b, (np.ones(len(a), bool), np.ones(len(b), bool)), **choices)


def test_a_permuted_copy_is_found_back_exactly():
    """Each kernel of A with its copy, of whatever length, with cosine 1, far above the chance level."""
    a = bank(0)
    order = np.random.default_rng(1).permutation(24)
    lengths = np.linspace(0.25, 4, 24)
    found = pair(a, a[order] * lengths[:, None, None, None])
    assert np.array_equal(order[found.b], found.a)
    assert np.allclose(found.cosines, 1, atol=1e-14)
    assert np.allclose(found.ratios, lengths[found.b])
    assert (found.better, found.banks) == (True, 200)
    assert abs(found.own) < 0.2


def test_a_noisy_permuted_copy_lies_above_the_98th_percentile():
    """A little noise hides no match."""
    a = bank(0)
    order = np.random.default_rng(1).permutation(24)
    found = pair(a, a[order] + 0.3 * bank(2))
    assert np.array_equal(order[found.b], found.a)
    assert found.mean > found.bound > found.chance


def test_opposite_kernels_are_no_match():
    """Cosines are signed: a ReLU does not allow −w for w."""
    a = bank(0)
    assert pair(a, -a).cosines.max() < 0.9


@pytest.mark.parametrize("shape", [(3, 7, 7), (3, 3, 3)])
def test_unrelated_banks_match_no_better_than_chance(shape):
    """The chance level of two unrelated random banks is their match, within 0.02, and few of them are above 98 of 100."""
    pairs = [pair(bank(seed, 32, shape), bank(seed + 100, 32, shape), banks=60) for seed in range(10)]
    assert abs(np.mean([each.mean - each.chance for each in pairs])) < 0.02
    assert sum(each.better for each in pairs) <= 2
    found = pair(bank(0, 32, shape), bank(100, 32, shape))
    assert abs(found.mean - found.chance) < 0.02
    assert not found.better


def test_smooth_banks_are_no_match_because_they_are_smooth():
    """Two unrelated banks of blurred noise match much better than white noise, and no better than their own chance."""
    smooth = [np.cumsum(np.cumsum(bank(seed, 16, (1, 7, 7)), axis=2), axis=3) for seed in (0, 1)]
    white = pair(bank(0, 16, (1, 7, 7)), bank(1, 16, (1, 7, 7)))
    found = pair(*smooth)
    assert found.mean > white.bound
    assert not found.better


def test_the_assignment_is_the_best_of_all():
    """Of all orders of six kernels none has a larger sum of cosines."""
    a, b = bank(0, 6), bank(1, 6)
    units = [each.reshape(6, -1) / np.linalg.norm(each.reshape(6, -1), axis=1, keepdims=True) for each in (a, b)]
    cosines = units[0] @ units[1].T
    best = max(cosines[range(6), order].sum() for order in permutations(range(6)))
    found = pair(a, b, banks=2)
    assert found.cosines.sum() == pytest.approx(best, rel=1e-13)
    assert np.array_equal(found.cosines, np.sort(found.cosines)[::-1])
    assert np.allclose(found.cosines, cosines[found.a, found.b])


def test_the_chance_level_is_that_of_200_banks_with_the_second_moments_of_b():
    """Mean and 98th percentile of 200 banks of seed 0, each the unit kernels of B turned by a random rotation."""
    a, b = bank(0, 8), bank(1, 8)
    seen = []

    def keep(cosines):
        seen.append(cosines.copy())
        return assigned(cosines)

    assigned = pairing._assigned
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pairing, "_assigned", keep)
        found = pair(a, b)
    means = [cosines[assigned(cosines)].mean() for cosines in seen[1:]]
    assert (len(means), found.banks) == (200, 200)
    assert found.chance == pytest.approx(np.mean(means))
    assert found.bound == pytest.approx(np.percentile(means, 98))
    assert inspect.signature(pair_kernels).parameters["seed"].default == 0
    again = pair(a, b)
    assert (again.chance, again.bound) == (found.chance, found.bound)


def test_kernels_as_good_as_zero_take_no_part():
    """The others are matched; if one bank has fewer, some of the other stay alone."""
    a = bank(0, 6)
    usable = np.array([True, True, False, True, True, True]), np.array([True, False, True, True, False, True])
    found = pair_kernels(a, a[::-1].copy(), usable, banks=3)
    assert len(found.a) == 4
    assert not {2} & set(found.a.tolist())
    assert not {1, 4} & set(found.b.tolist())
    entry = found.entry()
    assert len(entry["pairs"]) == 4
    assert entry["better_than_chance"] is found.better
    none = pair_kernels(a, a, (np.zeros(6, bool), np.ones(6, bool)), banks=3)
    assert (len(none.a), none.better) == (0, False)


def test_progress_is_reported():
    """Once per bank."""
    calls = []
    pair(bank(0, 4), bank(1, 4), banks=5, progress=lambda *call: calls.append(call))
    assert [call[1:] for call in calls] == [(number, 5) for number in range(5)]

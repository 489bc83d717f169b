"""The numbers of a comparison: identities, angles beside exact arithmetic, bits, and kernels that died or were born."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction

import mpmath
import numpy as np
import pytest

from kernelviz.errors import UsageError
from kernelviz.records import KernelBank
from kernelviz.views.comparisons import Comparison, compare_banks, compare_tensors, same_bits

NAMES = ("changes", "ratios", "cosines", "angles")


def bank(seed=0, shape=(24, 3, 3, 3), dtype=np.float32):
    """Seeded kernels."""
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def compare(a, b):
    """Two banks, compared."""
    return compare_banks(KernelBank(a), KernelBank(b), "layer")


def numbers(layer):
    """All numbers of all kernels, (4, O)."""
    return np.stack([getattr(layer, name) for name in NAMES])


@pytest.mark.parametrize("shape", [(24, 3, 3, 3), (8, 1, 5, 5), (6, 40, 1, 1), (5, 2, 7), (4, 2, 3, 3, 3)])
def test_weights_beside_themselves_have_not_moved(shape):
    """Change and angle are 0, ratio and cosine 1, exactly; the layer is bitwise the same."""
    weight = bank(shape=shape)
    layer = compare(weight, weight.copy())
    assert np.array_equal(numbers(layer), np.array([[0.0], [1.0], [1.0], [0.0]]) * np.ones(len(weight)))
    assert (layer.change, layer.same, layer.quantiles) == (0.0, True, (0.0, 0.0, 0.0))
    assert layer.equal.all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_twice_as_long_weights_have_the_same_directions(dtype):
    """B = 2A: each angle is 0, each ratio 2, each change 1, without rounding."""
    weight = bank(dtype=dtype)
    layer = compare(weight, 2 * weight)
    assert np.array_equal(layer.angles, np.zeros(24))
    assert np.array_equal(layer.ratios, np.full(24, 2.0))
    assert np.array_equal(layer.changes, np.ones(24))
    assert (layer.change, layer.same) == (1.0, False)


def test_swapped_weights_have_inverse_ratios_and_the_same_angles():
    """The angle does not know which is A; the ratios of both directions multiply to 1."""
    a, b = bank(0), bank(1)
    there, back = compare(a, b), compare(b, a)
    assert np.allclose(there.ratios * back.ratios, 1, rtol=1e-14)
    assert np.allclose(there.angles, back.angles, rtol=1e-14)
    assert np.allclose(there.cosines, back.cosines, rtol=1e-14)
    assert (there.died, there.born) == (back.born, back.died)


def exact(a, b):
    """Change, ratio, cosine and angle of two kernels with 60 digits."""
    with mpmath.workdps(60):
        x, y = ([mpmath.mpf(Fraction(float(value)).numerator) / Fraction(float(value)).denominator for value in each.flat]
                for each in (a, b))  # fmt: skip

        def norm(values):
            return mpmath.sqrt(mpmath.fsum(value**2 for value in values))

        dot = mpmath.fsum(one * other for one, other in zip(x, y, strict=True))
        lengths = norm(x), norm(y)
        moved = norm([other - one for one, other in zip(x, y, strict=True)])
        cosine = dot / (lengths[0] * lengths[1])
        angle = mpmath.degrees(mpmath.acos(min(mpmath.mpf(1), cosine)))
        return [float(each) for each in (moved / lengths[0], lengths[1] / lengths[0], cosine, angle)]


@pytest.mark.parametrize("step", [1.0, 1e-2, 1e-5, 1e-9, 1e-13])
def test_all_numbers_are_those_of_exact_arithmetic(step):
    """Also angles for which a cosine in float64 is 1: the arc cosine of that is off by 1e-6 degrees and more."""
    a = bank(0, dtype=np.float64)[:6]
    b = a + step * bank(1, dtype=np.float64)[:6]
    layer = compare(a, b)
    wanted = np.array([exact(one, other) for one, other in zip(a, b, strict=True)]).T
    found = numbers(layer)
    assert np.allclose(found[:3], wanted[:3], rtol=1e-12 / min(1, step * 1e3), atol=1e-15)
    assert np.abs(found[3] - wanted[3]).max() <= 1e-13
    assert (found[3] > 0).all()


def test_opposite_kernels_are_180_degrees_apart():
    """B = −A: the angle is 180°, the change 2."""
    layer = compare(bank(), -bank())
    assert np.array_equal(layer.angles, np.full(24, 180.0))
    assert np.array_equal(layer.changes, np.full(24, 2.0))


def test_died_and_born_kernels_are_found_and_come_first():
    """As good as zero in one weight: no angle, listed by number before those that moved; in both: at the end."""
    a, b = bank(0), bank(0)
    b[9], a[4], a[17] = 1e-5, 0, 0
    a[2], b[2] = 1e-5, 0
    b[6] *= -1
    b[20] *= 1.1
    layer = compare(a, b)
    assert (layer.died, layer.born, layer.zero) == ((9,), (4, 17), (2,))
    assert layer.order[:5] == (4, 9, 17, 6, 20)
    assert layer.order[-1] == 2
    assert sorted(layer.order) == list(range(24))
    assert np.isnan(layer.angles[[2, 4, 9, 17]]).all()
    assert np.isnan(numbers(layer)[:, 2]).all()
    assert layer.quantiles[0] == 0
    assert int(layer.live.sum()) == 20


def test_as_good_as_zero_is_half_a_percent_of_the_largest_weight_of_both():
    """The limit is that of A and B together, so that a layer that shrank has died."""
    a = np.ones((3, 1, 2, 2), np.float32)
    b = a * np.array([0.0049, 0.0051, 1.0], np.float32)[:, None, None, None]
    assert compare(a, b).died == (0,)
    b[2] = 1000
    assert compare(a, b).born == (2,)
    assert compare(a, b).zero == (0, 1)


def test_the_bits_decide_what_is_the_same():
    """−0 is not 0, and NaN of equal bits are equal."""
    a = bank()
    a[3, 0, 0, 0], a[5, 1, 1, 1] = np.nan, 0.0
    b = a.copy()
    assert compare(a, b).same
    b[5, 1, 1, 1] = -0.0
    layer = compare(a, b)
    assert (layer.same, layer.changes[5], layer.change) == (False, 0.0, 0.0)
    assert not layer.equal[5]
    assert layer.equal.sum() == 23
    other = a.copy()
    other.view(np.uint32)[3, 0, 0, 0] ^= 1  # another NaN
    assert not compare(a, other).same
    assert not same_bits(a, a.astype(np.float64))


def test_kernels_that_are_not_finite_have_no_numbers():
    """They are left out of the change of the layer, too, and of its quantiles."""
    a, b = bank(0), bank(1)
    whole = compare(np.delete(a, [2, 7], 0), np.delete(b, [2, 7], 0))
    b[2, 0, 1, 1], a[7] = np.inf, np.nan
    layer = compare(a, b)
    assert np.flatnonzero(layer.broken).tolist() == [2, 7]
    assert np.isnan(numbers(layer)[:, [2, 7]]).all()
    assert layer.change == pytest.approx(whole.change, rel=1e-14)
    assert layer.quantiles == pytest.approx(whole.quantiles, rel=1e-14)
    assert layer.order[:2] == (2, 7)
    entry = layer.entry(range(24))
    assert entry["nonfinite"] == [2, 7]
    nothing = compare(a * np.nan, b)
    assert np.isnan(nothing.change)
    assert np.isnan(nothing.quantiles).all()


@pytest.mark.parametrize("size", [1e-300, 1e300])
def test_sizes_whose_squares_leave_float64_change_nothing(size):
    """Weights of ±1e300, and of 1e-300, have the numbers of those of ±1."""
    a, b = bank(0, dtype=np.float64), bank(1, dtype=np.float64)
    b[3] = 0
    found, wanted = compare(a * size, b * size), compare(a, b)
    assert np.allclose(numbers(found), numbers(wanted), rtol=1e-12, equal_nan=True)
    assert found.change == pytest.approx(wanted.change, rel=1e-12)
    assert compare_tensors("x", a * size, b * size).change == pytest.approx(wanted.change, rel=1e-12)


def test_two_types_of_numbers():
    """float32 beside float64 that leaves its range: nothing overflows, nothing is the same."""
    layer = compare(bank(0), bank(1, dtype=np.float64) * 1e300)
    assert (layer.born, layer.same) == (tuple(range(24)), False)
    assert not layer.equal.any()


def test_weights_of_zeros():
    """Zeros beside zeros have not moved; from zeros to numbers the change is infinite."""
    zeros = np.zeros((4, 1, 3, 3), np.float32)
    layer = compare(zeros, zeros.copy())
    assert (layer.change, layer.same, layer.zero) == (0.0, True, (0, 1, 2, 3))
    assert np.isnan(layer.quantiles).all()
    layer = compare(zeros, bank(shape=(4, 1, 3, 3)))
    assert (layer.change, layer.born) == (np.inf, (0, 1, 2, 3))


def test_the_quantiles_are_those_of_numpy():
    """5, 50 and 95 % of the angles of live kernels, with linear interpolation."""
    a, b = bank(0), bank(1)
    b[3] = 0
    layer = compare(a, b)
    assert layer.quantiles == pytest.approx(np.quantile(np.delete(layer.angles, 3), [0.05, 0.5, 0.95]), rel=1e-14)


def test_other_tensors_have_a_change_and_bits():
    """A bias that is the same, one that moved, one that is not finite."""
    one, other = np.arange(1.0, 4.0), np.arange(2.0, 5.0)
    same, moved = compare_tensors("a", one, one.copy()), compare_tensors("b", one, other)
    assert (same.change, same.same, moved.same) == (0.0, True, False)
    assert moved.change == pytest.approx((3 / 14) ** 0.5)
    assert np.isnan(compare_tensors("c", one * np.nan, other).change)
    assert compare_tensors("d", one * 0, other).change == np.inf


def test_entries_are_documents():
    """All numbers of all kernels, or none; a layer that was not compared is named with the reason."""
    layer = compare(bank(0), bank(1))
    entry = layer.entry(range(24))
    assert json.loads(json.dumps(entry)) == entry
    assert entry["kernels"][5] == {
        "kernel": 5, "change": layer.changes[5], "ratio": layer.ratios[5], "cosine": layer.cosines[5],
        "angle": layer.angles[5],
    }  # fmt: skip
    assert layer.entry()["kernels"] is None
    found = Comparison((layer,), left_out={"stem": "is (8, 3, 3, 3) in A, but (8, 1, 3, 3) in B"})
    assert found.layer() is found.layer("layer") is layer
    with pytest.raises(UsageError, match="It is \\(8, 3, 3, 3\\) in A"):
        found.layer("stem")
    with pytest.raises(UsageError, match="A is \\(24, 3, 3, 3\\), but B is \\(24, 3, 5, 5\\)"):
        compare(bank(), bank(shape=(24, 3, 5, 5)))
    assert replace(layer, same=True).same

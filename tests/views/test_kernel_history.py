"""The numbers of kernels over a training, against NumPy and identities."""

from __future__ import annotations

import numpy as np
import pytest

from kernelviz.errors import UsageError
from kernelviz.views.kernel_history import (
    HistoryTally,
    as_history,
    as_steps,
    changes,
    cosines,
    even_positions,
    history_of,
    irregularities,
    kernel_norms,
    step_text,
    tile_values,
)

NUMBERS = np.random.default_rng(0)


def banks(count=5, shape=(6, 3, 7, 7), dtype=np.float32):
    """A bank that walks at random."""
    return np.cumsum(NUMBERS.normal(size=(count, *shape)), axis=0).astype(dtype)


def test_norms_cosines_and_changes_are_those_of_numpy():
    """In float64, kernel by kernel, whatever number of kernels is computed at a time."""
    weights = banks(4, (300, 40, 5, 5))
    history = history_of(weights)
    flat = weights.reshape(4, 300, -1).astype(np.float64)
    norms = np.linalg.norm(flat, axis=2)
    last, first = ((flat * flat[at]).sum(axis=2) / (norms * norms[at]) for at in (-1, 0))
    steps = np.linalg.norm(flat[1:] - flat[:-1], axis=2) / norms[:-1]
    np.testing.assert_allclose(history.norms, norms, rtol=1e-14)
    np.testing.assert_allclose(history.cosines, last, atol=1e-14)
    np.testing.assert_allclose(history.first_cosines, first, atol=1e-14)
    np.testing.assert_allclose(history.changes[1:], steps, rtol=1e-13)
    assert np.isnan(history.changes[0]).all()
    assert history.limit == np.abs(weights).max()
    assert history.sum_limit == pytest.approx(np.abs(flat.reshape(weights.shape).sum(axis=2)).max(), rel=1e-12)


def test_the_same_bank_each_time_did_not_change():
    """Cosine 1 and change 0 everywhere, exactly."""
    bank = banks(1)[0]
    history = history_of([bank] * 5)
    assert (history.cosines == 1).all()
    assert (history.first_cosines == 1).all()
    assert (history.changes[1:] == 0).all()
    assert (history.moved == 0).all()


@pytest.mark.parametrize("factor", [3.0, 1e-160, 1e150])
def test_a_factor_changes_the_norms_alone(factor):
    """Three times the weights are three times the norms; the cosines stay, to 1e-15."""
    weights = banks(3, dtype=np.float64)
    history, other = history_of(weights), history_of(np.stack([weights[0], factor * weights[1], weights[2]]))
    np.testing.assert_allclose(other.norms[1], factor * history.norms[1], rtol=1e-14)
    np.testing.assert_allclose(other.cosines, history.cosines, atol=1e-15)


def test_a_kernel_that_is_zero_or_not_finite_has_no_cosine():
    """NaN, and nothing else; the kernels beside it have theirs."""
    weights = banks(4)
    weights[2:, 1, 0, 0, 0] = np.nan
    weights[3, 2, 0, 0, 0] = np.inf
    weights[:, 4] = 0
    history = history_of(weights)
    assert np.isnan(history.cosines[:, [1, 2, 4]]).all()
    assert np.isfinite(history.cosines[:, [0, 3, 5]]).all()
    assert history.norms[:, 4].tolist() == [0, 0, 0, 0]
    assert np.isnan(history.norms[2:, 1]).all()
    assert np.isnan(history.changes[1:, 4]).all()
    assert history.nonfinite.tolist() == [0, 0, 1, 2]
    assert irregularities(history)[0] == "Not finite from checkpoint 3 on: 1 of 882 weights there"
    assert history.shown(top=6) == (*history.shown(top=3), 1, 2, 4)


def test_steps_are_finite_numbers_that_a_recipe_can_hold():
    """Of any type of number, whole ones as int; anything else is rejected, and steps that do not grow are stated."""
    weights = banks(3)
    assert as_steps(np.array([1, 2])) == as_steps([np.float32(1), np.int64(2)]) == (1, 2)
    assert [type(step) for step in as_steps([np.int64(3), 0.5])] == [int, float]
    assert as_history({0: weights[0], 10: weights[1]}).steps == (0, 10)
    for steps in (["1", "2", "3"], [1, 2, np.nan], [1, 2, None], [1, 2, np.inf]):
        with pytest.raises(UsageError, match="Steps must be finite numbers"):
            history_of(weights, steps=steps)
    assert [step_text(step) for step in as_steps([-5, 1e300])] == ["−5", "1.00×10³⁰⁰"]
    assert history_of(weights[[0, 1, 1]], steps=[0, 5, 5]).axis == (0, 5, 5)  # a file called last.ckpt
    assert history_of(weights, steps=[0, 5, 5]).axis == (1, 2, 3)
    assert history_of(weights[[0, 1, 0]], steps=[1, 3, 2]).notes == (
        "checkpoint 1, checkpoint 3 hold the same kernels, bit for bit",
        "the steps do not grow: the axis counts the checkpoints as they were given",
    )


def test_those_that_moved_most_come_first():
    """By 1 − cosine of the first and the last checkpoint, ties by number."""
    first = np.tile([1.0, 0.0], (4, 1, 1, 1))
    last = np.array([[1, 0], [0, 1], [-1, 0], [0, 1]], float).reshape(4, 1, 1, 2)
    history = history_of([first, last])
    assert history.shown() == (2, 1, 3, 0)
    assert history.shown(top=2) == (2, 1)
    assert history.shown("0-1") == (0, 1)
    assert history_of([weights := banks(1)[0], 3 * weights]).shown() == tuple(range(6))
    tally = HistoryTally(first, last, top=2)
    tally.add(first)
    tally.add(last)
    kept = tally.result((0, 1), ("a", "b"))
    assert kept.kernels == kept.shown() == (2, 1)
    assert kept.weights.shape == (2, 2, 1, 1, 2)
    with pytest.raises(UsageError, match="does not hold the weights of kernel 3"):
        kept.shown([3])


def test_equal_banks_are_found_wherever_they_are():
    """By their bits: minus zero is not zero."""
    one, other = banks(2)
    zero, minus = np.zeros_like(one), -np.zeros_like(one)
    tally = HistoryTally(one, one)
    for bank in (one, other, one, zero, minus, other):
        tally.add(bank)
    assert tally.same == [[0, 2], [1, 5]]


def test_positions_are_spread_evenly_with_both_ends():
    """Of a list, whatever its steps are."""
    assert even_positions(24, 12) == (0, 2, 4, 6, 8, 10, 13, 15, 17, 19, 21, 23)
    assert even_positions(5, 12) == (0, 1, 2, 3, 4)
    assert even_positions(400, 2) == (0, 399)


def test_tiles_are_colour_sums_or_all_weights_of_a_point():
    """Three channels are colours, others are added up, and 1 × 1 kernels are nearly square."""
    rgb, deep, point = banks(1)[0], NUMBERS.normal(size=(4, 8, 3, 3)), NUMBERS.normal(size=(4, 7, 1, 1))
    assert np.array_equal(tile_values(rgb, "rgb"), np.moveaxis(rgb, 1, -1))
    np.testing.assert_allclose(tile_values(deep, "sum"), deep.sum(axis=1))
    assert tile_values(point, "inputs").shape == (4, 3, 3)
    assert np.array_equal(tile_values(point, "inputs").reshape(4, 9)[:, :7], point.reshape(4, 7))


def test_two_banks_are_compared_in_parts_without_overflow():
    """Weights near the ends of float64 have norms, cosines and changes too."""
    one = np.full((2, 1, 1, 2), 1e300)
    assert kernel_norms(one) == pytest.approx(np.sqrt(2) * 1e300)
    assert cosines(one, -one) == pytest.approx([-1, -1], abs=1e-15)
    assert changes(one, 2 * one).tolist() == [1, 1]

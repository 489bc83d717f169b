"""Filters hidden in weights are found, random kernels are not named, and all numbers are correct."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from scipy import stats

from kernelviz.errors import UsageError
from kernelviz.filters.bank import LARGEST, classical_filters, find_filter, unit_rows
from kernelviz.filters.formulas import gabor
from kernelviz.filters.matching import (
    COLOURS,
    FIT,
    LEAST,
    LEVEL,
    UNNAMED,
    chance_of,
    match_kernel,
    match_kernels,
    name_from,
    naming_threshold,
    scores_of_chance,
)
from kernelviz.records import KernelBank


def planted(size, count, seed=0):
    """Filters from the bank, each scaled, half of them negative, with noise of a tenth of their length."""
    random = np.random.default_rng(seed)
    bank = classical_filters(size, everywhere=True)
    chosen = [bank[at] for at in random.integers(len(bank), size=count)]
    clean = np.stack([one.values / np.linalg.norm(one.values) for one in chosen])
    noise = random.standard_normal(clean.shape)
    noise *= 0.1 / np.linalg.norm(noise, axis=(1, 2), keepdims=True)
    factors = random.choice([-1, 1], count) * 10.0 ** random.uniform(-3, 3, count)
    return chosen, (clean + noise) * factors[:, None, None], factors


@pytest.mark.parametrize(("size", "least"), [(3, 95), (4, 98), (5, 98), (7, 98), (8, 98), (11, 98)])
def test_planted_filters_are_found_again(size, least):
    """Of 100 filters at least 98 (at 3 × 3 95) are found with family, kind, orientation and sign."""
    hits, count = 0, 1000
    chosen, kernels, factors = planted(size, count)
    for one, row, factor in zip(
        chosen,
        match_kernels(kernels[:, None] / np.abs(factors)[:, None, None, None], gabor=False).rows,
        factors,
        strict=True,
    ):
        same = row.kind == one.kind and row.closest.family == one.family and row.closest.orientation == one.orientation
        hits += same
        if same and row.closest.name == one.name:
            assert np.sign(row.factor) == np.sign(factor)
    assert hits / count * 100 >= least


@pytest.mark.parametrize("size", [3, 5, 7])
def test_scale_does_not_matter(size):
    """Kernels of one layer a million times as large as others are found; only up to 0.5 % of the largest is zero."""
    _, kernels, factors = planted(size, 200)
    whole = match_kernels(kernels[:, None]).rows
    alone = match_kernels((kernels / np.abs(factors)[:, None, None])[:, None]).rows
    limit = np.abs(kernels).max()
    for row, single, kernel in zip(whole, alone, kernels, strict=True):
        zero = np.abs(kernel).max() <= 0.005 * limit
        assert row.kind == ("zero" if zero else single.kind)


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("name", ["sobel-x", "line-45", "corner-45", "line-end-90", "prewitt-45", "difference-x"])
def test_a_turned_filter_is_turned(name, turns):
    """A quarter turn adds 90° to the orientation."""
    one = find_filter(name)
    (row,) = match_kernels(np.rot90(one.values, turns)).rows
    around = 360 if one.kind in ("corner", "line end") else 180
    assert row.closest.orientation == (one.orientation + 90 * turns) % around
    assert (row.closest.family, row.score) == (one.family, pytest.approx(1))


@pytest.mark.sampled
@pytest.mark.parametrize("size", [3, 4, 5, 7])
@pytest.mark.parametrize("fitted", [False, True])
def test_random_kernels_get_no_name(size, fitted):
    """Of 1,000 random kernels at most 50 get one, and no more than the level and four deviations allow: 20 + 18."""
    kernels = np.random.default_rng(42).standard_normal((1000, 1, size, size))
    named = sum(row.kind not in UNNAMED for row in match_kernels(kernels, gabor=fitted).rows)
    assert named <= stats.binom.isf(3e-5, len(kernels), LEVEL) < 0.05 * len(kernels)


@pytest.mark.slow
def test_filters_and_fits_share_one_level():
    """At 5 × 5, where random kernels are fitted well, bank and fit together name at most the level."""
    kernels = np.random.default_rng(8).standard_normal((2500, 1, 5, 5))
    found = match_kernels(kernels, level=0.05)
    named = sum(row.kind not in UNNAMED for row in found.rows)
    assert 0.035 < named / len(kernels) < 0.06
    naming = naming_threshold(5, 0.05, gabor=True)
    by_chance = np.mean(scores_of_chance(5) >= naming.threshold)
    assert by_chance + naming.fit_level <= 0.05 + 1e-12
    assert (found.threshold, found.fit_threshold) == (naming.threshold, naming.fit_threshold)
    fits = [row for row in found.rows if row.closest.name == FIT]
    assert fits
    assert min(row.score for row in fits) >= found.fit_threshold
    assert match_kernels(kernels[:1], gabor=False).fit_threshold is None


@pytest.mark.parametrize("size", [3, 4, 5, 7])
@pytest.mark.parametrize("fitted", [False, True])
def test_none_is_chance_and_weak_is_more(size, fitted):
    """What chance does as well is ``none``, by the filter and by the fit; what it does not is ``weak``."""
    clean = unit_rows(planted(size, 300, seed=3)[1])
    noise = unit_rows(np.random.default_rng(9).standard_normal(clean.shape))
    found = match_kernels((clean + noise).reshape(-1, 1, size, size), gabor=fitted)
    for row in found.rows:
        by_fit = row.gabor is not None and row.gabor.chance <= LEVEL
        if row.kind in UNNAMED:
            assert row.kind == ("weak" if row.chance <= LEVEL or by_fit else "none")
            assert row.score < found.threshold
    assert found.counts.get("weak", 0) > 0 or size == 3


def test_a_fit_replaces_a_filter_that_is_far_worse():
    """A fit replaces a filter below 0.95 that leaves over three times as much; better filters keep their name."""
    long = gabor(5, angle=12, wavelength=3.4, phase=60)
    (alone,), (row,) = match_kernels(long, gabor=False).rows, match_kernels(long).rows
    assert alone.kind not in UNNAMED
    assert alone.score < 0.95
    assert row.closest.name == FIT
    assert 1 - row.score**2 < (1 - alone.score**2) / 3
    blur = find_filter("gaussian", 5).values + 0.01 * np.random.default_rng(0).standard_normal((5, 5))
    (row,) = match_kernels(blur).rows
    assert row.closest.name == "gaussian"
    assert row.gabor.unexplained < 1 - row.score**2


def test_sums_are_zero_beside_sums():
    """A kernel whose planes cancel but for a fifth of the largest sum is compared; one of rounding alone is zero."""
    weight = 1e-3 * np.ones((3, 64, 3, 3))
    noise = np.random.default_rng(0).standard_normal((64, 3, 3))
    weight[0] = noise - noise.mean(axis=0) + 0.2 * 0.064 / 2 / 64 * find_filter("sobel-x").values
    weight[2] = noise - noise.mean(axis=0)
    edge, blur, nothing = match_kernels(weight.astype(np.float32)).rows
    assert np.abs(edge.pattern).max() == pytest.approx(0.2 * np.abs(blur.pattern).max(), rel=1e-3)
    assert (edge.kind, blur.kind, nothing.kind) == ("edge", "blur", "zero")


def test_one_kernel_is_matched_as_in_its_layer():
    """Alone it has the row that it has among all others, its Gabor fit and what is zero there included."""
    kernels = np.random.default_rng(0).standard_normal((40, 1, 5, 5))
    kernels[:30, 0] *= gabor(5, angle=40, wavelength=4, phase=30)
    kernels[7] *= 1e-3
    bank = KernelBank(kernels)
    found = match_kernels(bank)
    assert "zero" in found.counts
    assert any(row.closest is not None and row.closest.name == FIT for row in found.rows)
    for row in found.main_rows:
        alone = match_kernel(bank, row.kernel)
        assert (alone.kernel, alone.kind, alone.plane) == (row.kernel, row.kind, row.plane)
        assert alone.score == (row.score if row.score is None else pytest.approx(row.score, abs=1e-6))


def test_random_colour_kernels_get_no_name():
    """The pattern of the strongest colour direction is as random as a plane."""
    named = sum(
        row.kind not in UNNAMED for row in match_kernels(np.random.default_rng(4).standard_normal((1000, 3, 3, 3))).rows
    )
    assert named <= 50


def test_chance_is_what_random_kernels_do():
    """Chances of fresh random kernels are uniform between 0 and 1 (Kolmogorov and Smirnov, by scipy)."""
    rows = match_kernels(np.random.default_rng(5).standard_normal((4000, 1, 3, 3))).rows
    assert stats.kstest([row.chance for row in rows], "uniform").pvalue > 0.01


def test_chance_against_one_filter_is_the_known_distribution():
    """|cosine| of a random direction with a fixed one: its square is Beta(1/2, (d − 1) / 2); these add up at most."""
    size, score = 3, 0.93
    alone = stats.beta.sf(score**2, 0.5, (size**2 - 1) / 2)
    count = len(classical_filters(size, everywhere=True))
    chance = float(chance_of(size, np.array([score]))[0])
    assert alone < chance < count * alone


@pytest.mark.parametrize("size", [2, 3, 5, 16])
@pytest.mark.parametrize("level", [0.001, 0.02, 0.05])
def test_a_name_is_given_from_the_level_on(size, level):
    """The threshold is the lowest score whose chance is no more than the level, and never below 0.8."""
    threshold = name_from(size, level)
    assert threshold >= LEAST
    assert chance_of(size, np.array([threshold]))[0] <= level
    if threshold > LEAST:
        assert chance_of(size, np.array([threshold - 1e-3]))[0] > level * 0.9


def test_score_and_factor_are_those_of_least_squares():
    """The factor times the filter is the projection of the pattern, and the score its share (by numpy's lstsq)."""
    kernels = np.random.default_rng(6).standard_normal((50, 1, 5, 5))
    for row in match_kernels(kernels, gabor=False).rows:
        template = row.closest.values.reshape(-1, 1)
        (factor,), (left,), *_ = np.linalg.lstsq(template, row.pattern.ravel(), rcond=None)
        assert row.factor == pytest.approx(factor)
        assert row.score**2 == pytest.approx(1 - left / (row.pattern**2).sum())
        others = [abs((one.values * row.pattern).sum()) / np.linalg.norm(one.values) for one in classical_filters(5)]
        assert max(others) <= row.score * np.linalg.norm(row.pattern) + 1e-9


@pytest.mark.parametrize("colour", COLOURS)
@pytest.mark.parametrize("sign", [-1, 1])
def test_a_colour_direction_is_found_with_its_pattern(colour, sign):
    """A filter in one colour direction is found as both, with the right sign between them."""
    template, direction = find_filter("sobel-y").values, np.array(COLOURS[colour])
    weight = sign * direction[:, None, None] * template
    (row,) = match_kernels(weight[None]).rows
    assert (row.plane, row.kind, row.colour.name) == ("strongest", "edge", colour)
    assert row.colour.share == pytest.approx(1)
    assert np.array(row.colour.weights)[:, None, None] * row.pattern == pytest.approx(weight)
    assert row.factor * sign > 0


def test_every_plane_is_compared_on_request():
    """Main rows first, one a kernel; then the sum and each input plane."""
    weight = np.random.default_rng(1).standard_normal((4, 3, 3, 3))
    found = match_kernels(weight, planes=True)
    assert [row.plane for row in found.rows] == [name for name in ("strongest", "sum", 0, 1, 2) for _ in range(4)]
    assert np.array_equal(found.rows[4].pattern, weight[0].sum(axis=0))
    assert np.array_equal(found.rows[19].pattern, weight[3, 2])
    deep = match_kernels(np.ones((2, 5, 3, 3)), planes=True)
    assert [row.plane for row in deep.rows] == [name for name in ("sum", 0, 1, 2, 3, 4) for _ in range(2)]
    assert deep.main_rows == deep.rows[:2]
    assert {row.plane for row in match_kernels(np.ones((2, 1, 3, 3)), planes=True).rows} == {0}
    grouped = KernelBank(weight.astype(np.float32), groups=2)
    assert {row.plane for row in match_kernels(grouped).rows} == {"sum"}


def test_irregularities_are_reported():
    """Zeros and values that are not finite are listed as such, and the others are compared all the same."""
    weight = np.zeros((4, 1, 3, 3))
    weight[0, 0] = find_filter("box").values
    weight[1, 0] = 1e-9
    weight[3, 0] = np.nan
    found = match_kernels(weight)
    assert [row.kind for row in found.rows] == ["blur", "zero", "zero", "not finite"]
    assert found.counts == {"blur": 1, "zero": 2, "not finite": 1}
    broken = np.ones((2, 3, 3, 3))
    broken[1, 0, 0, 0] = np.inf
    assert [row.kind for row in match_kernels(broken, planes=True).rows[:2]] == ["blur", "not finite"]
    assert [row.kind for row in match_kernels(np.zeros((2, 3, 5, 5))).rows] == ["zero", "zero"]


def test_huge_and_tiny_weights_are_compared():
    """No overflow and no loss of precision, for any scale of the weights."""
    for scale in (1e-300, 1e-30, 1e30, 1e150):
        for weight in (find_filter("sobel-x").values[None, None], np.ones((1, 3, 3, 3))):
            (row,) = match_kernels(weight * scale).rows
            assert row.score == pytest.approx(1)


@pytest.mark.parametrize("shape", [(4, 3, 1, 1), (4, 3, 1, 7), (4, 3, 5), (2, 2, 3, 3, 3), (1, 1, 33, 33)])
def test_kernels_that_are_no_squares_are_refused(shape):
    """There is nothing to compare them with."""
    with pytest.raises(UsageError):
        match_kernels(np.ones(shape))


def test_a_level_is_a_share():
    """Outside 0 … 1 it is none; a stricter one names fewer."""
    with pytest.raises(UsageError, match="level"):
        match_kernels(np.ones((3, 3)), level=1.5)
    kernels = np.random.default_rng(3).standard_normal((500, 1, 3, 3))
    loose = match_kernels(kernels, level=0.3)
    assert loose.counts["none"] < match_kernels(kernels, level=LEVEL).counts["none"]


def test_the_largest_kernels_are_compared_within_bounds():
    """At the largest size memory is below 300 MB and a filter at any position is found; one more row is rejected."""
    kernels = np.random.default_rng(3).standard_normal((3, 1, LARGEST, LARGEST))
    kernels[1, 0] = 0
    kernels[1, 0, 3, 7:9] = -1, 1
    kernels[2] = unit_rows(find_filter("sobel-45", LARGEST).values[None]).reshape(1, LARGEST, LARGEST)
    tracemalloc.start()
    rows = match_kernels(kernels, gabor=False).rows
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [row.kind for row in rows] == ["none", "difference", "edge"]
    assert rows[1].closest.name == "difference-x-r3c7"
    assert peak < 300e6
    with pytest.raises(UsageError, match=f"to {LARGEST} × {LARGEST}"):
        match_kernels(np.ones((LARGEST + 1, LARGEST + 1)))


def test_a_blob_beside_the_middle_is_no_corner():
    """Kernel 86 of EfficientNet-Lite0's blocks.2.0.conv_dw: stride 2 leaves the surround of a spot on two sides alone."""
    blob = [[-0.29, -0.61, -0.34, 0.2, 0.24], [-0.51, -1, -0.53, 0.23, 0.36], [-0.28, -0.57, -0.28, 0.13, 0.18],
            [0.14, 0.14, 0.08, 0.09, -0.02], [0.32, 0.32, 0.17, 0.08, 0.04]]  # fmt: skip
    for turns in range(4):
        (row,) = match_kernels(np.rot90(blob, turns), gabor=False).rows
        assert (row.kind, row.score > 0.93) == ("spot", True)
    assert match_kernels(find_filter("corner-135", 5).values).rows[0].kind == "corner"

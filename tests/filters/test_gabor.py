"""Fitted Gabor functions are found again, and scipy's own least squares finds none that are better."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import least_squares

from kernelviz.filters.formulas import chance_of_fit, fit_gabors, gabor
from kernelviz.filters.matching import match_kernels


@pytest.mark.parametrize("size", [5, *(pytest.param(size, marks=pytest.mark.slow) for size in (7, 11))])
def test_gabor_functions_are_found_again(size):
    """Orientation, wavelength, width and centre of a Gabor function without noise, for any sign and scale."""
    random = np.random.default_rng(0)
    for _ in range(12):
        angle, wave = random.uniform(0, 180), random.uniform(3, 0.8 * size)
        clean = gabor(size, angle=angle, wavelength=wave, phase=random.uniform(0, 360))
        (fit,) = fit_gabors(-3 * clean[None])
        assert fit.unexplained < 1e-3
        assert fit.values == pytest.approx(-3 * clean, abs=0.2)
        assert abs((fit.orientation - angle + 90) % 180 - 90) < 6
        assert fit.chance < 0.02


def function(params, x, y):
    """A Gabor function written down anew, for scipy."""
    a, b, x0, y0, angle, wavelength, width, length = params
    across = (x - x0) * np.sin(angle) + (y - y0) * np.cos(angle)
    along = (x - x0) * np.cos(angle) - (y - y0) * np.sin(angle)
    bell = np.exp(-(across**2) / (2 * np.exp(width) ** 2) - along**2 / (2 * np.exp(length) ** 2))
    wave = 2 * np.pi * across / np.exp(wavelength)
    return (bell * (a * np.cos(wave) + b * np.sin(wave))).ravel()


def polished(kernel, start):
    """The least that scipy leaves of a kernel from this start, within our bounds."""
    size = len(kernel)
    half, largest = size / 2, np.log([4 * size, 2 * size, 2 * size])
    low = np.array([-np.inf, -np.inf, -half, -half, -np.inf, *np.log([2, 0.4, 0.4])])
    high = np.array([np.inf, np.inf, half, half, np.inf, *largest])
    x, y = np.meshgrid(np.arange(size) - (size - 1) / 2, np.arange(size) - (size - 1) / 2)
    inside = np.clip(start, low + 1e-6, high - 1e-6)
    found = least_squares(lambda p: function(p, x, y) - kernel.ravel(), inside, bounds=(low, high), max_nfev=150)
    return 2 * found.cost / (kernel**2).sum()


def test_scipy_finds_no_better_fit_nearby():
    """Polished by scipy from ours and from eight other starts, the best leaves on average hardly less."""
    random = np.random.default_rng(1)
    ours, theirs = [], []
    for kernel in random.standard_normal((5, 5, 5)):
        (fit,) = fit_gabors(kernel[None])
        weights = np.cos(np.deg2rad(fit.phase)), -np.sin(np.deg2rad(fit.phase))
        shape = [*fit.centre, np.deg2rad(fit.orientation), *np.log([fit.wavelength, fit.width, fit.length])]
        starts = [[*weights, *shape]]
        waves = (2.5, 3, 4, 6) * 2
        starts += [[1, 1, *random.uniform(-1, 1, 2), random.uniform(0, 3), *np.log([wave, 1, 1])] for wave in waves]
        ours.append(fit.unexplained)
        theirs.append(min(polished(kernel, start) for start in starts))
        assert fit.unexplained == pytest.approx(((kernel - fit.values) ** 2).sum() / (kernel**2).sum())
    assert np.mean(ours) < 1.1 * np.mean(theirs)


def test_chance_is_what_random_kernels_leave():
    """Eight numbers explain much of any 5 × 5 kernel: what counts is to leave less than chance does."""
    left = chance_of_fit(5)
    assert np.all(np.diff(left) >= 0)
    assert 0.3 < np.median(left) < 0.7
    fresh = [fit.chance for fit in fit_gabors(np.random.default_rng(2).standard_normal((100, 5, 5)))]
    assert 0.35 < np.mean(fresh) < 0.65


def test_matches_carry_their_fit():
    """From 5 × 5 on, for the main plane, unless it is not wanted; a kernel that only the fit explains is named by it."""
    wave = gabor(5, angle=31, wavelength=3.5, phase=20)
    assert match_kernels(wave, gabor=False).rows[0].gabor is None
    assert match_kernels(wave[:3, :3]).rows[0].gabor is None
    (row,) = match_kernels(wave).rows
    assert row.gabor.orientation == pytest.approx(31, abs=2)
    narrow = np.pad(gabor(5, angle=70, wavelength=3.4, phase=10), ((2, 0), (0, 2)))
    (row,) = match_kernels(narrow).rows
    assert (row.kind, row.closest.name) == ("gabor", "gabor-fit")
    assert row.score == pytest.approx(np.sqrt(1 - row.gabor.unexplained))


def test_a_fit_is_called_by_what_is_seen_of_it():
    """Kernels 135 and 20 of EfficientNet-Lite0's blocks.2.0.conv_dw: a blob beside the middle, and an edge."""
    blob = [[0.17, 0.4, 0.24, -0.08, -0.12], [0.56, 1, 0.68, 0.01, -0.15], [0.48, 0.77, 0.49, 0.06, -0.12],
            [-0.05, -0.11, -0.11, -0.03, -0.01], [-0.17, -0.27, -0.19, -0.04, 0.05]]  # fmt: skip
    edge = [[-0.08, -0.45, 0.11, 0.28, 0.06], [-0.48, -1, 0.41, 0.83, 0.16], [-0.41, -0.75, 0.39, 0.72, 0.14],
            [-0.01, -0.25, 0.12, 0.2, 0.06], [0, -0.16, -0.01, -0.01, 0.14]]  # fmt: skip
    wave = gabor(5, angle=30, wavelength=3, phase=10)
    fits = fit_gabors(np.array([blob, edge, wave, -np.array(blob)]))
    assert [fit.kind for fit in fits] == ["blur", "edge", "gabor", "blur"]
    assert fits[0].score > 0.98

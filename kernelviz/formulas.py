"""The formulas behind the classical filters: each gives (size, size) numbers for cross-correlation. NumPy only."""

from __future__ import annotations

from math import comb, gcd, log, pi, sqrt
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kernelviz.records import Array


SIGMA_BY_WAVELENGTH = 3 / pi * sqrt(log(2) / 2)
"""The width of a Gabor function's bell of one octave in its wavelengths, 0.562, as scikit-image has it."""


def grid(size: int) -> tuple[Array, Array]:
    """The places: x to the right and y downwards, each (size, size), from the middle."""
    along = np.arange(size) - (size - 1) / 2
    x, y = np.meshgrid(along, along)
    return x, y


def sigma_of(size: int) -> float:
    """The width of a Gaussian that fits into so many pixels, by OpenCV's rule."""
    return 0.3 * ((size - 1) / 2 - 1) + 0.8


def gaussian(size: int, sigma: float, at: tuple[float, float] = (0.0, 0.0)) -> Array:
    """A Gaussian that adds up to 1: (size, size), ``at`` so many pixels (down, right) of the middle."""
    x, y = grid(size)
    values = np.exp(-((x - at[1]) ** 2 + (y - at[0]) ** 2) / (2 * sigma**2))
    return np.asarray(values / values.sum())


def laplacian_of_gaussian(size: int, sigma: float, at: tuple[float, float] = (0.0, 0.0)) -> Array:
    """(1 − r² / 2σ²) exp(−r² / 2σ²) less its mean, so that a flat image gives 0: (size, size), positive in the middle."""
    x, y = grid(size)
    share = ((x - at[1]) ** 2 + (y - at[0]) ** 2) / (2 * sigma**2)
    values = (1 - share) * np.exp(-share)
    return np.asarray(values - values.mean())


def difference_of_gaussians(size: int, sigma: float, at: tuple[float, float] = (0.0, 0.0)) -> Array:
    """A Gaussian minus one 1.6 times as wide, less its mean: (size, size), positive in the middle."""
    values = gaussian(size, sigma, at) - gaussian(size, 1.6 * sigma, at)
    return np.asarray(values - values.mean())


def gabor(size: int, *, angle: float, wavelength: float, phase: float) -> Array:
    """exp(−r² / 2σ²) cos(2πu / λ + phase), u across the stripes, with σ = 0.562 λ (one octave); angles in degrees."""
    x, y = grid(size)
    across = x * np.sin(np.deg2rad(angle)) + y * np.cos(np.deg2rad(angle))
    sigma = SIGMA_BY_WAVELENGTH * wavelength
    bell = np.exp(-(x**2 + y**2) / (2 * sigma**2))
    return np.asarray(bell * np.cos(2 * np.pi * across / wavelength + np.deg2rad(phase)))


def edges(size: int) -> Iterator[tuple[str, Array]]:
    """Each edge filter for brightness that grows to the right."""
    smooth = np.array([comb(size - 1, i) for i in range(size)])
    slope = np.convolve([comb(size - 3, i) for i in range(size - 2)], [-1, 0, 1])
    yield "sobel", np.outer(smooth, slope)
    if size == 3:
        yield "scharr", np.outer([3, 10, 3], [-1, 0, 1])
    ramp = np.arange(size) * 2 - (size - 1)
    yield "prewitt", np.outer(np.ones(size), ramp / gcd(*map(int, ramp)))


def turned(values: Array, angle: float) -> Array:
    """A filter of vertical edges for edges of this angle: 3 × 3 around its ring, larger ones as a mix of both axes."""
    if len(values) != 3:
        mixed = values * np.sin(np.deg2rad(angle)) + values.T * np.cos(np.deg2rad(angle))
        return np.asarray(mixed if angle % 90 else np.rint(mixed))
    ring = [(0, 0), (0, 1), (0, 2), (1, 2), (2, 2), (2, 1), (2, 0), (1, 0)]
    result = np.array(values)
    for at, place in enumerate(ring):
        result[ring[(at + round((90 - angle) / 45)) % 8]] = values[place]
    return result


def zero_mean(size: int, inside: Callable[[Array, Array], Array]) -> Array:
    """Positive inside and negative outside, in the smallest whole numbers that add up to 0."""
    mask = inside(*grid(size))
    within, without = int(mask.sum()), int((~mask).sum())
    return np.asarray(np.where(mask, without, -within) / gcd(within, without))


def on_line(angle: float, x: Array, y: Array) -> Array:
    """Whether a place lies on the line through the middle that runs in this direction."""
    return np.asarray(np.abs(x * np.sin(np.deg2rad(angle)) + y * np.cos(np.deg2rad(angle))) < 0.1)


def on_ray(angle: float, x: Array, y: Array) -> Array:
    """Whether a place lies on the half line from the middle in this direction."""
    ahead = x * np.cos(np.deg2rad(angle)) - y * np.sin(np.deg2rad(angle)) > -0.1
    return np.asarray(on_line(angle, x, y) & ahead)


def in_quadrant(angle: float, x: Array, y: Array) -> Array:
    """Whether a place lies in the quadrant, with its border, around this direction."""
    right, down = np.sign(np.cos(np.deg2rad(angle))), -np.sign(np.sin(np.deg2rad(angle)))
    return np.asarray((x * right >= 0) & (y * down >= 0))

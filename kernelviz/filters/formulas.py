"""The formulas behind the classical filters, and Gabor functions fitted to kernels; NumPy only.

Arrays are (size, size), for cross-correlation. A Gabor function is
exp(−u² / 2σ² − v² / 2τ²) (a cos(2πu / λ) + b sin(2πu / λ)), with u across its stripes and v along them, relative to its
centre (Daugman 1985; Jones and Palmer 1987). The other six parameters determine the best a and b, so the fit is over six
parameters (variable projection, Golub and Pereyra 1973) by the Levenberg-Marquardt method, for all kernels of a layer at
once.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import comb, gcd, log, pi, sqrt
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kernelviz.records import Array


SIGMA_BY_WAVELENGTH = 3 / pi * sqrt(log(2) / 2)
"""The standard deviation of a Gabor function with a bandwidth of one octave, in wavelengths: 0.562, as in scikit-image."""


def grid(size: int) -> tuple[Array, Array]:
    """The coordinates relative to the middle: x to the right and y downwards, each (size, size)."""
    along = np.arange(size) - (size - 1) / 2
    x, y = np.meshgrid(along, along)
    return x, y


def sigma_of(size: int) -> float:
    """The standard deviation of a Gaussian for a support of this many pixels, by OpenCV's rule."""
    return 0.3 * ((size - 1) / 2 - 1) + 0.8


def gaussian(size: int, sigma: float, at: tuple[float, float] = (0.0, 0.0)) -> Array:
    """A Gaussian with sum 1: (size, size), centred ``at`` (down, right) pixels from the middle."""
    x, y = grid(size)
    values = np.exp(-((x - at[1]) ** 2 + (y - at[0]) ** 2) / (2 * sigma**2))
    return np.asarray(values / values.sum())


def laplacian_of_gaussian(size: int, sigma: float, at: tuple[float, float] = (0.0, 0.0)) -> Array:
    """(1 − r² / 2σ²) exp(−r² / 2σ²) minus its mean: (size, size), positive in the middle."""
    x, y = grid(size)
    share = ((x - at[1]) ** 2 + (y - at[0]) ** 2) / (2 * sigma**2)
    values = (1 - share) * np.exp(-share)
    return np.asarray(values - values.mean())


def difference_of_gaussians(size: int, sigma: float, at: tuple[float, float] = (0.0, 0.0)) -> Array:
    """A Gaussian minus one 1.6 times as wide, minus the mean: (size, size), positive in the middle."""
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
    """The edge filters, for brightness that increases to the right."""
    smooth = np.array([comb(size - 1, i) for i in range(size)])
    slope = np.convolve([comb(size - 3, i) for i in range(size - 2)], [-1, 0, 1])
    yield "sobel", np.outer(smooth, slope)
    if size == 3:
        yield "scharr", np.outer([3, 10, 3], [-1, 0, 1])
    ramp = np.arange(size) * 2 - (size - 1)
    yield "prewitt", np.outer(np.ones(size), ramp / gcd(*map(int, ramp)))


def turned(values: Array, angle: float) -> Array:
    """A filter of vertical edges turned to this angle: 3 × 3 by shifting its ring, larger ones as a mix of both axes."""
    if len(values) != 3:
        mixed = values * np.sin(np.deg2rad(angle)) + values.T * np.cos(np.deg2rad(angle))
        return np.asarray(mixed if angle % 90 else np.rint(mixed))
    ring = [(0, 0), (0, 1), (0, 2), (1, 2), (2, 2), (2, 1), (2, 0), (1, 0)]
    result = np.array(values)
    for at, position in enumerate(ring):
        result[ring[(at + round((90 - angle) / 45)) % 8]] = values[position]
    return result


def zero_mean(size: int, inside: Callable[[Array, Array], Array]) -> Array:
    """Positive inside and negative outside, in the smallest whole numbers with sum 0."""
    mask = inside(*grid(size))
    within, without = int(mask.sum()), int((~mask).sum())
    return np.asarray(np.where(mask, without, -within) / gcd(within, without))


def on_line(angle: float, x: Array, y: Array) -> Array:
    """Whether a position is on the line through the middle in this direction."""
    return np.asarray(np.abs(x * np.sin(np.deg2rad(angle)) + y * np.cos(np.deg2rad(angle))) < 0.1)


def on_ray(angle: float, x: Array, y: Array) -> Array:
    """Whether a position is on the half line from the middle in this direction."""
    ahead = x * np.cos(np.deg2rad(angle)) - y * np.sin(np.deg2rad(angle)) > -0.1
    return np.asarray(on_line(angle, x, y) & ahead)


def in_quadrant(angle: float, x: Array, y: Array) -> Array:
    """Whether a position is in the closed quadrant around this direction."""
    right, down = np.sign(np.cos(np.deg2rad(angle))), -np.sign(np.sin(np.deg2rad(angle)))
    return np.asarray((x * right >= 0) & (y * down >= 0))


SMALLEST = 5
"""The smallest size for fits: smaller kernels have too few values for eight parameters."""
_NULL, _LARGE_NULL = 1000, 400  # random kernels fitted to measure chance, up to 6 × 6 and beyond
_ROUNDS, _STARTS, _CHUNK = 40, 3, 2048
_STEP, _GAIN, _STIFF = 1e-5, 1e-5, 1e6
_ONE_LOBE = 0.1  # share of the energy with the other sign: up to 0.06 in learned blobs, from 0.20 on in learned waves
_WAVES = 5  # standard deviations per wave: 1 / 0.562 = 1.8 for one octave; from 5 on only one lobe is visible


@dataclass(frozen=True)
class GaborFit:
    """The Gabor function fitted to a kernel.

    ``orientation`` is that of its stripes (degrees, as for filters), ``wavelength`` in pixels (``frequency`` is its
    inverse), ``width`` and ``length`` the standard deviations across and along the stripes, ``centre`` (x, y) in pixels
    from the middle of the kernel, x to the right and y downwards, ``phase`` in degrees at the centre. ``unexplained`` is
    the remaining share of the kernel's energy, ``chance`` the share of random kernels of this size with as little of it.
    ``values`` is the fitted kernel.
    """

    orientation: float
    wavelength: float
    width: float
    length: float
    phase: float
    centre: tuple[float, float]
    unexplained: float
    chance: float
    values: Array

    @property
    def frequency(self) -> float:
        """Cycles per pixel."""
        return 1 / self.wavelength

    @property
    def score(self) -> float:
        """Its |cosine| with the kernel: the square root of the explained share."""
        return float(np.sqrt(1 - self.unexplained))

    @property
    def kind(self) -> str:
        """``blur`` if only one lobe is visible, ``edge`` if the bell spans hardly a wave, else ``gabor``."""
        energy = [float((np.maximum(sign * self.values, 0) ** 2).sum()) for sign in (1, -1)]
        if min(energy) < _ONE_LOBE * sum(energy):
            return "blur"
        return "gabor" if self.wavelength <= _WAVES * self.width else "edge"


def fit_gabors(kernels: Array) -> list[GaborFit]:
    """The least-squares fit of a Gabor function to each of the kernels (n, size, size)."""
    size = kernels.shape[-1]
    left_by_chance = chance_of_fit(size)
    found = []
    for start in range(0, len(kernels), _CHUNK):
        chunk = kernels[start : start + _CHUNK].reshape(-1, size * size).astype(np.float64)
        largest = np.abs(chunk).max(axis=1, keepdims=True)
        params, weights, fitted, left = _search(chunk / largest, size)
        for at in range(len(chunk)):
            chance = (1 + int(np.searchsorted(left_by_chance, left[at], side="right"))) / (1 + len(left_by_chance))
            values = (fitted[at] * largest[at]).reshape(size, size)
            found.append(_as_fit(params[at], weights[at], float(left[at]), chance, values))
    return found


@lru_cache(maxsize=16)
def chance_of_fit(size: int) -> Array:
    """The unexplained shares of random kernels of this size, in ascending order; deterministic.

    There are 1,000 kernels up to 6 × 6, and 400 beyond, where no fit to a random kernel is good enough for a name.
    """
    count = _NULL if size <= 6 else _LARGE_NULL
    noise = np.random.default_rng(7).standard_normal((count, size * size))
    return np.asarray(np.sort(_search(noise, size)[3]))


def _as_fit(params: Array, weights: Array, left: float, chance: float, values: Array) -> GaborFit:
    x, y, angle, wavelength, width, length = map(float, params)
    return GaborFit(
        orientation=float(np.rad2deg(angle) % 180),
        wavelength=float(np.exp(wavelength)),
        width=float(np.exp(width)),
        length=float(np.exp(length)),
        phase=float(np.rad2deg(np.arctan2(-weights[1], weights[0])) % 360),
        centre=(x, y),
        unexplained=left,
        chance=chance,
        values=values,
    )


def _search(rows: Array, size: int) -> tuple[Array, Array, Array, Array]:
    """Parameters (n, 6), weights (n, 2), fits (n, d) and unexplained shares (n,) of rows (n, d)."""
    energy = (rows**2).sum(axis=1)
    starts = _starts(rows, size)
    many = np.repeat(rows, _STARTS, axis=0)
    params = _descend(starts.reshape(-1, 6), many, size)
    weights, fitted = _project(params, many, size)
    left = ((many - fitted) ** 2).sum(axis=1).reshape(-1, _STARTS)
    best = np.arange(len(rows)) * _STARTS + left.argmin(axis=1)
    return params[best], weights[best], fitted[best], np.clip(left.min(axis=1) / energy, 0, 1)


def _starts(rows: Array, size: int) -> Array:
    """The best of a coarse grid of Gabor functions for each row, (n, starts, 6): with distinct wavelengths."""
    waves = 2 ** np.arange(1.5, np.log2(4 * size), 0.5)
    centres = np.array([-0.25, 0, 0.25]) * size
    angles = np.arange(8) * np.pi / 8
    per_wave, params = [], []
    for wave in waves:
        x, y, angle = (axis.ravel() for axis in np.meshgrid(centres, centres, angles))
        bell = np.full_like(x, np.log(min(SIGMA_BY_WAVELENGTH * wave, size / 3)))
        at = np.stack([x, y, angle, np.full_like(x, np.log(wave)), bell, bell], axis=1)
        even, odd = np.moveaxis(_basis(at, size), 1, 0)
        even = even / np.linalg.norm(even, axis=1, keepdims=True)
        odd = odd - (odd * even).sum(axis=1, keepdims=True) * even
        odd = odd / np.maximum(np.linalg.norm(odd, axis=1, keepdims=True), 1e-12)
        explained = (rows @ even.T) ** 2 + (rows @ odd.T) ** 2
        best = explained.argmax(axis=1)
        per_wave.append(explained[np.arange(len(rows)), best])
        params.append(at[best])
    order = np.argsort(-np.stack(per_wave, axis=1), axis=1, kind="stable")[:, :_STARTS]
    return np.asarray(np.stack(params, axis=1)[np.arange(len(rows))[:, None], order])


def _descend(params: Array, rows: Array, size: int) -> Array:
    """Levenberg–Marquardt on all rows at once, each until it converges; steps without improvement are rejected."""
    low, high = _bounds(size)
    params = params.copy()
    residual = rows - _project(params, rows, size)[1]
    cost, damping = (residual**2).sum(axis=1), np.full(len(rows), 1e-2)
    going = np.arange(len(rows))
    for _ in range(_ROUNDS):
        step = _step(params[going], rows[going], residual[going], damping[going], size)
        tried = np.clip(params[going] + np.clip(step, -1, 1), low, high)
        after = rows[going] - _project(tried, rows[going], size)[1]
        gain = cost[going] - (after**2).sum(axis=1)
        better = gain > 0
        taken = going[better]
        params[taken], residual[taken] = tried[better], after[better]
        cost[taken] -= gain[better]
        damping[going] = np.where(better, damping[going] / 5, damping[going] * 5)
        going = going[(better & (gain > _GAIN * cost[going])) | (~better & (damping[going] < _STIFF))]
        if not len(going):
            break
    return params


def _step(params: Array, rows: Array, residual: Array, damping: Array, size: int) -> Array:
    """One damped Gauss–Newton step for each row, with slopes by forward differences."""
    slopes = []
    for at in range(6):
        moved = params.copy()
        moved[:, at] += _STEP
        slopes.append((rows - _project(moved, rows, size)[1] - residual) / _STEP)
    jacobian = np.stack(slopes, axis=1)
    square = jacobian @ jacobian.swapaxes(1, 2)
    diagonal = np.einsum("nii->ni", square)
    heavier = square + np.eye(6) * (damping[:, None] * (diagonal + 1e-9) + 1e-12)[:, None, :]
    return np.asarray(np.linalg.solve(heavier, -(jacobian @ residual[:, :, None]))[..., 0])


def _bounds(size: int) -> tuple[Array, Array]:
    """Clip the parameters: centre in the kernel, wavelength from 2 pixels (Nyquist) to 4 sizes, bell from 0.4 pixels."""
    half = size / 2
    low = np.array([-half, -half, -np.inf, np.log(2), np.log(0.4), np.log(0.4)])
    high = np.array([half, half, np.inf, np.log(4 * size), np.log(2 * size), np.log(2 * size)])
    return low, high


def _basis(params: Array, size: int) -> Array:
    """The bell times cosine and sine, (n, 2, d)."""
    x, y = (axis.ravel() for axis in grid(size))
    x0, y0, angle, wavelength, width, length = (column[:, None] for column in params.T)
    across = (x - x0) * np.sin(angle) + (y - y0) * np.cos(angle)
    along = (x - x0) * np.cos(angle) - (y - y0) * np.sin(angle)
    bell = np.exp(-0.5 * (across * np.exp(-width)) ** 2 - 0.5 * (along * np.exp(-length)) ** 2)
    wave = 2 * np.pi * across * np.exp(-wavelength)
    return np.stack([bell * np.cos(wave), bell * np.sin(wave)], axis=1)


def _project(params: Array, rows: Array, size: int) -> tuple[Array, Array]:
    """The best weights (n, 2) of cosine and sine for each row, and the fits (n, d)."""
    even, odd = np.moveaxis(_basis(params, size), 1, 0)
    ee, oo, eo = (even**2).sum(axis=1) + 1e-12, (odd**2).sum(axis=1) + 1e-12, (even * odd).sum(axis=1)
    e, o = (even * rows).sum(axis=1), (odd * rows).sum(axis=1)
    determinant = ee * oo - eo**2 + 1e-18
    weights = np.stack([(e * oo - o * eo) / determinant, (o * ee - e * eo) / determinant], axis=1)
    return weights, weights[:, :1] * even + weights[:, 1:] * odd

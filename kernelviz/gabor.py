"""Gabor functions fitted to kernels: all kernels of a layer at once, by damped least squares. NumPy only.

A Gabor function here is exp(−u² / 2σ² − v² / 2τ²) (a cos(2πu / λ) + b sin(2πu / λ)), u across its stripes and v along
them, from a centre of its own (Daugman 1985; Jones and Palmer 1987). For any six others the best a and b are known, so
the search goes over six numbers (variable projection, Golub and Pereyra 1973) by Levenberg's and Marquardt's method.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from kernelviz.formulas import SIGMA_BY_WAVELENGTH, grid

if TYPE_CHECKING:
    from kernelviz.records import Array


SMALLEST = 5
"""Kernels of fewer rows have too few values for eight numbers."""
_NULL, _LARGE_NULL = 1000, 400  # random kernels whose fits say what chance explains, up to 6 × 6 and beyond
_ROUNDS, _STARTS, _CHUNK = 40, 3, 2048
_STEP, _GAIN, _STIFF = 1e-5, 1e-5, 1e6
_ONE_LOBE = 0.1  # of the energy has the other sign: learned blobs have up to 0.06 of it, learned waves from 0.20 on
_WAVES = 5  # a bell of one octave spans 1 / 0.562 = 1.8 of its standard deviations a wave; from 5 on one lobe is seen


@dataclass(frozen=True)
class GaborFit:
    """The Gabor function nearest to a kernel.

    ``orientation`` is that of its stripes (degrees, as filters have it), ``wavelength`` in pixels (``frequency`` is one
    over it), ``width`` and ``length`` the bell's standard deviations across and along the stripes, ``centre`` (x, y) in
    pixels from the kernel's middle, x to the right and y downwards, ``phase`` in degrees there. ``unexplained`` is the
    share of the kernel's energy that it leaves, ``chance`` how often it leaves a random kernel of this size as little.
    ``values`` are the fitted kernel itself.
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
        """Waves a pixel."""
        return 1 / self.wavelength

    @property
    def score(self) -> float:
        """Its |cosine| with the kernel: the square root of what it explains."""
        return float(np.sqrt(1 - self.unexplained))

    @property
    def kind(self) -> str:
        """``blur`` where one lobe alone is seen; else ``gabor``, or ``edge`` where hardly a wave is left in the bell."""
        energy = [float((np.maximum(sign * self.values, 0) ** 2).sum()) for sign in (1, -1)]
        if min(energy) < _ONE_LOBE * sum(energy):
            return "blur"
        return "gabor" if self.wavelength <= _WAVES * self.width else "edge"


def fit_gabors(kernels: Array) -> list[GaborFit]:
    """The Gabor function nearest to each of the kernels (n, size, size), in the least squares sense."""
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
    """The shares that Gabor functions leave of random kernels of this size, in rising order (always the same ones).

    There are 1,000 of them up to 6 × 6, and 400 beyond, where no random kernel is explained well enough for a name.
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
    """Parameters (n, 6), weights (n, 2), fits (n, d) and the shares left (n,) of rows (n, d)."""
    energy = (rows**2).sum(axis=1)
    starts = _starts(rows, size)
    many = np.repeat(rows, _STARTS, axis=0)
    params = _descend(starts.reshape(-1, 6), many, size)
    weights, fitted = _project(params, many, size)
    left = ((many - fitted) ** 2).sum(axis=1).reshape(-1, _STARTS)
    best = np.arange(len(rows)) * _STARTS + left.argmin(axis=1)
    return params[best], weights[best], fitted[best], np.clip(left.min(axis=1) / energy, 0, 1)


def _starts(rows: Array, size: int) -> Array:
    """The best of a coarse grid of Gabor functions for each row, (n, starts, 6): each of another wavelength."""
    waves = 2 ** np.arange(1.5, np.log2(4 * size), 0.5)
    places = np.array([-0.25, 0, 0.25]) * size
    angles = np.arange(8) * np.pi / 8
    per_wave, params = [], []
    for wave in waves:
        x, y, angle = (axis.ravel() for axis in np.meshgrid(places, places, angles))
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
    """Levenberg–Marquardt on every row at once, each until it gains no more; a step that does not help is not taken."""
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
    """Centres inside the kernel, waves from two pixels (Nyquist) to four kernels, bells from 0.4 pixels to two kernels."""
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
    """The best weights (n, 2) of cosine and sine for each row, and what they make, (n, d)."""
    even, odd = np.moveaxis(_basis(params, size), 1, 0)
    ee, oo, eo = (even**2).sum(axis=1) + 1e-12, (odd**2).sum(axis=1) + 1e-12, (even * odd).sum(axis=1)
    e, o = (even * rows).sum(axis=1), (odd * rows).sum(axis=1)
    determinant = ee * oo - eo**2 + 1e-18
    weights = np.stack([(e * oo - o * eo) / determinant, (o * ee - e * eo) / determinant], axis=1)
    return weights, weights[:, :1] * even + weights[:, 1:] * odd

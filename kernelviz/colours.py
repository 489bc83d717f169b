"""Directions in colour, and which of them is the strongest in a kernel that reads red, green and blue. NumPy only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kernelviz.filters import unit_rows

if TYPE_CHECKING:
    from kernelviz.records import Array


@dataclass(frozen=True)
class ColourDirection:
    """A direction in colour by its ``weights`` (red, green, blue), what it is for, and where its numbers come from."""

    name: str
    weights: tuple[float, float, float]
    about: str
    source: str


_CONES = "Ruderman, Cronin and Chiao 1998, Statistics of cone responses to natural images"
_ALONE, _PAIR, _REST = "by definition", "one channel less another", "one channel less the mean of the others"
_DIRECTIONS = tuple(
    ColourDirection(name, weights, about, source)
    for name, weights, about, source in (
        ("light–dark", (1, 1, 1), "brightness, whatever the colour", _CONES),
        ("red–green", (1, -1, 0), "reds against greens", _CONES),
        ("red–blue", (1, 0, -1), "warm colours against cold ones", _PAIR),
        ("green–blue", (0, 1, -1), "greens against blues", _PAIR),
        ("yellow–blue", (1, 1, -2), "yellows against blues: sky from land", _CONES),
        ("magenta–green", (1, -2, 1), "greens against all that lacks green", _REST),
        ("red–cyan", (2, -1, -1), "reds against all that lacks red", _REST),
        ("red", (1, 0, 0), "how much red, bright or not", _ALONE),
        ("green", (0, 1, 0), "how much green, bright or not", _ALONE),
        ("blue", (0, 0, 1), "how much blue, bright or not", _ALONE),
        ("yellow", (1, 1, 0), "brightness without blue", _ALONE),
        ("magenta", (1, 0, 1), "brightness without green", _ALONE),
        ("cyan", (0, 1, 1), "brightness without red", _ALONE),
    )
)
COLOURS: dict[str, tuple[float, float, float]] = {one.name: one.weights for one in _DIRECTIONS}
"""Directions in colour, (red, green, blue): light against dark, opponents, single channels and pairs of them."""


def colour_directions() -> tuple[ColourDirection, ...]:
    """The directions in colour that kernels of three channels are compared with, in a fixed order."""
    return _DIRECTIONS


@dataclass(frozen=True)
class Colour:
    """The strongest direction in colour: the nearest name, its |cosine|, the three ``weights``, its share of the energy."""

    name: str
    score: float
    weights: tuple[float, float, float]
    share: float


def strongest(weight: Array) -> tuple[Array, list[Colour]]:
    """The pattern (n, h, w) and the direction in colour that make the most of each kernel's energy."""
    whole = np.asarray(np.isfinite(weight).all(axis=(1, 2, 3)))
    flat = np.where(whole[:, None, None], weight.reshape(len(weight), 3, -1), 0)
    size = np.abs(flat).max(axis=(1, 2), keepdims=True)
    size = np.where(size > 0, size, 1)
    directions, strengths, patterns = np.linalg.svd(flat / size, full_matrices=False)
    names, table = list(COLOURS), unit_rows(np.array(list(COLOURS.values())))
    cosines = directions[:, :, 0] @ table.T
    nearest = np.abs(cosines).argmax(axis=1)
    at = np.arange(len(weight))
    signs = np.sign(cosines[at, nearest])
    shares = strengths[:, 0] ** 2 / np.maximum((strengths**2).sum(axis=1), 1e-300)
    result = patterns[:, 0] * (signs * strengths[:, 0])[:, None] * size[:, 0]
    colours = []
    for i, name in enumerate(nearest):
        red, green, blue = map(float, directions[i, :, 0] * signs[i])
        colours.append(Colour(names[name], float(abs(cosines[i, name])), (red, green, blue), float(shares[i])))
    return np.where(whole[:, None], result, np.nan).reshape(len(weight), *weight.shape[2:]), colours

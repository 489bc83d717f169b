"""Directions in colour are unlike each other, and the strongest one of a kernel is that of its singular values."""

from __future__ import annotations

import numpy as np

import kernelviz
from kernelviz.filters.bank import unit_rows
from kernelviz.filters.matching import colour_directions, strongest


def test_each_direction_has_a_purpose_and_a_source():
    """By name, in one line, with its source; no two are one and the same."""
    directions = colour_directions()
    rows = unit_rows(np.array([one.weights for one in directions]))
    assert np.abs(rows @ rows.T - np.eye(len(rows))).max() < 0.95
    assert len({one.name for one in directions}) == len(directions)
    assert all(one.about and one.source and "\n" not in one.about for one in directions)
    assert kernelviz.colour_directions() == directions


def test_opponents_see_no_grey():
    """Directions that contrast colours, with a dash in their name, are 0 for every grey."""
    for one in colour_directions():
        assert (sum(one.weights) == 0) == ("–" in one.name and one.name != "light–dark"), one.name


def test_the_strongest_direction_is_numpys():
    """Its share of the energy is that of the largest singular value, and both signs make the same product."""
    weight = np.random.default_rng(0).standard_normal((7, 3, 5, 5))
    patterns, colours = strongest(weight)
    for kernel, pattern, colour in zip(weight, patterns, colours, strict=True):
        u, values, v = np.linalg.svd(kernel.reshape(3, -1))
        assert np.isclose(colour.share, values[0] ** 2 / (values**2).sum())
        best = values[0] * np.outer(u[:, 0], v[0]).reshape(3, 5, 5)
        assert np.allclose(np.array(colour.weights)[:, None, None] * pattern, best)

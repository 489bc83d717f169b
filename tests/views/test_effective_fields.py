"""The numbers of an effective receptive field: its smallest squares, its centroid, and what is outside of a box."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

from kernelviz.records import Box
from kernelviz.views.effective_fields import centroid_of, outside_of, smallest_square


def tried_out(values, share):
    """The smallest square by trying all of them: (side, top, left), of equal ones the largest sum, upper, left."""
    rows, columns = values.shape
    for side in range(1, max(rows, columns) + 1):
        sums = sliding_window_view(values, (min(side, rows), min(side, columns))).sum(axis=(2, 3))
        places = [(-sums[at], *at) for at in np.ndindex(*sums.shape) if sums[at] >= share * values.sum()]
        if places:
            return side, *min(places)[1:]
    raise AssertionError


def arrays():
    """Whole numbers with many ties, one array all of ones, one of a single place, one that is wide."""
    numbers = np.random.default_rng(0)
    yield numbers.integers(0, 2, (40, 40))
    sparse = np.zeros((40, 40))
    sparse[numbers.integers(0, 40, 9), numbers.integers(0, 40, 9)] = 1
    yield sparse
    yield np.ones((40, 40))
    yield np.kron(numbers.integers(0, 3, (10, 10)), np.ones((4, 4)))
    alone = np.zeros((40, 40))
    alone[39, 0] = 7
    yield alone
    yield numbers.integers(0, 4, (12, 40))


@pytest.mark.parametrize("values", tuple(arrays()))
def test_the_smallest_square_is_that_of_trying_all(values):
    """Side and place are those of a search through every square, ties included."""
    for share in (0.2, 0.3, 0.5, 0.99):
        found = smallest_square(values.astype(float), share)
        assert (found.side, found.top, found.left) == tried_out(values, share)
        part = values[found.top : found.top + found.side, found.left : found.left + found.side]
        assert found.held == pytest.approx(part.sum() / values.sum(), rel=1e-14)


def test_ties_of_numbers_that_are_not_exact_are_ties():
    """Rounding decides nothing: among equal squares of 0.1s the upper left one is taken."""
    found = smallest_square(np.full((40, 40), 0.1), 0.25)
    assert (found.side, found.top, found.left) == (20, 0, 0)


def test_the_centroid_and_what_is_outside():
    """The centre of mass is in pixels, and the share outside of a box is exactly 0 where all is inside."""
    values = np.zeros((6, 8))
    values[2, 3], values[2, 5], values[4, 4] = 1, 1, 2
    assert centroid_of(values) == (3, 4)
    assert outside_of(values, Box(2, 4, 3, 5)) == 0
    assert outside_of(values, Box(2, 2, 3, 5)) == 0.5
    assert outside_of(values, None) is None

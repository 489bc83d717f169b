"""One number is two sides, and what is no side is refused."""

from __future__ import annotations

import numpy as np
import pytest

from kernelviz.errors import UsageError
from kernelviz.sides import edges, pair, sides_text, size_text


def test_numbers_become_pairs_and_edges():
    """Height before width, top and bottom before left and right; NumPy's numbers too."""
    assert pair("kernel", 3) == pair("kernel", [3, 3]) == pair("kernel", np.int64(3)) == (3, 3)
    assert edges("padding", 1) == (1, 1, 1, 1)
    assert edges("padding", (1, 2)) == (1, 1, 2, 2)
    assert edges("padding", (1, 2, 3, 4)) == (1, 2, 3, 4)


@pytest.mark.parametrize("value", [0, (1, 2, 3), 1.5, "3", None, (), 1 << 30])
def test_what_is_no_pair_is_refused(value):
    """In words that name it."""
    with pytest.raises(UsageError, match="The kernel"):
        pair("kernel", value)


def test_sides_as_people_write_them():
    """A square is one number where it is short, and both where it is a size."""
    assert (sides_text((3, 3)), sides_text((3, 5)), size_text((3, 3))) == ("3", "3 × 5", "3 × 3")

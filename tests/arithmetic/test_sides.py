"""One number is both sides; anything else is rejected."""

from __future__ import annotations

import numpy as np
import pytest

from kernelviz.arithmetic.windows import count, edges, pair, sides_text, size_text
from kernelviz.errors import UsageError


def test_numbers_become_pairs_and_edges():
    """Height before width, top and bottom before left and right; NumPy's numbers too."""
    assert pair("kernel", 3) == pair("kernel", [3, 3]) == pair("kernel", np.int64(3)) == (3, 3)
    assert edges("padding", 1) == (1, 1, 1, 1)
    assert edges("padding", (1, 2)) == (1, 1, 2, 2)
    assert edges("padding", (1, 2, 3, 4)) == (1, 2, 3, 4)


def test_arrays_and_whatever_holds_whole_numbers_are_taken():
    """NumPy's arrays, ranges and generators."""
    assert pair("kernel", np.array([3, 4])) == pair("kernel", range(3, 5)) == pair("kernel", iter([3, 4])) == (3, 4)
    assert edges("padding", np.arange(4)) == (0, 1, 2, 3)
    assert count("groups", np.int64(2)) == 2


@pytest.mark.parametrize("value", [(2, 3), [2], np.array([1, 2]), True, 1.0, "2", None, 0])
def test_what_is_no_count_is_refused(value):
    """Two numbers are no count, and neither is a truth."""
    with pytest.raises(UsageError, match="groups"):
        count("groups", value)


@pytest.mark.parametrize("refused", [lambda: pair("kernel", 0), lambda: edges("padding", -1), lambda: count("groups", 0),
                                     lambda: edges("padding", (1, 2, 3)), lambda: pair("kernel", 1 << 30),
                                     lambda: pair("kernel", "x"), lambda: pair("kernel", (1, 2, 3))])  # fmt: skip
def test_every_refusal_has_its_why_and_its_hint(refused):
    """What, why, and what to do."""
    with pytest.raises(UsageError) as caught:
        refused()
    assert caught.value.why
    assert caught.value.hint


@pytest.mark.parametrize("value", [0, (1, 2, 3), 1.5, "3", None, (), 1 << 30, True, (True, 2), np.array([1.0, 2.0])])
def test_what_is_no_pair_is_refused(value):
    """The message has the name."""
    with pytest.raises(UsageError, match="The kernel"):
        pair("kernel", value)


def test_sides_as_people_write_them():
    """A square is one number in a short text, and both sides in a size."""
    assert (sides_text((3, 3)), sides_text((3, 5)), size_text((3, 3))) == ("3", "3 × 5", "3 × 3")

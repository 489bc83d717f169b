"""Numbers that are a known filter get its name, and a word means a family of filters."""

from __future__ import annotations

import numpy as np
import pytest

from kernelviz.errors import UsageError
from kernelviz.filters.bank import classical_filters, find_filter, find_filters, known_filter
from kernelviz.filters.filtering import apply_filter


def typed(text):
    """The numbers of rows that are separated by semicolons."""
    return [[float(number) for number in row.split()] for row in text.split(";")]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("-1 0 1; -2 0 2; -1 0 1", "sobel-x"),
        ("1 0 -1; 2 0 -2; 1 0 -1", "sobel-x, negated"),
        ("-2 0 2; -4 0 4; -2 0 2", "2 × sobel-x"),
        ("-1 -2 -1; 0 0 0; 1 2 1", "sobel-y"),
        ("0 1 0; 1 -4 1; 0 1 0", "laplacian-4, negated"),
        ("1 1 1; 1 1 1; 1 1 1", "9 × box"),
        ("0 0 0; 0 0.5 0; 0 0 0", "0.5 × identity"),
        ("1 0; 0 -1", "roberts-45@2"),
    ],
)
def test_typed_numbers_that_are_a_filter_get_its_name(text, name):
    """A filter is recognised up to an exact factor, and its sign and scale are stated."""
    assert known_filter(typed(text)).text == name


def test_a_quarter_turn_is_stated():
    """A filter that is in the bank in one orientation only is recognised in the others, with the turn."""
    only = find_filter("difference-x").values
    turned = known_filter(np.rot90(only))
    assert turned.turned or turned.filter.name != "difference-x"
    assert np.allclose(np.rot90(float(turned.factor) * turned.filter.values, turned.turned // 90), np.rot90(only))


@pytest.mark.parametrize(
    "values", [typed("1 2 3; 4 5 6; 7 8 9"), np.zeros((3, 3)), np.ones((2, 3)), [[np.nan, 0], [0, 1]]]
)
def test_other_numbers_get_no_name(values):
    """Nearly a filter is not one."""
    assert known_filter(values) is None
    nearly = find_filter("sobel-x").values.copy()
    nearly[0, 0] += 1e-6
    assert known_filter(nearly) is None


@pytest.mark.parametrize("size", [2, 3, *(pytest.param(size, marks=pytest.mark.slow) for size in (4, 5, 7))])
def test_every_filter_is_found_from_its_own_numbers(size):
    """What is recognised is the filter itself, scaled and turned, for the whole bank and any factor."""
    for one in classical_filters(size):
        if one.kind != "gabor" and not one.stem.startswith("gabor"):
            known = known_filter(-3 * one.values)
            again = np.rot90(float(known.factor) * known.filter.values, known.turned // 90)
            assert np.allclose(again, -3 * one.values)


def test_a_response_to_typed_numbers_states_the_name():
    """The purpose of a typed filter begins with the name of the known one."""
    image = np.random.default_rng(0).random((6, 6))
    assert apply_filter(image, np.array(typed("1 0 -1; 2 0 -2; 1 0 -1"))).about.startswith(
        "= sobel-x, negated: vertical edges"
    )
    assert apply_filter(image, np.arange(9.0).reshape(3, 3)).about == ""


@pytest.mark.parametrize(
    ("word", "size", "names"),
    [
        ("blur", 3, ["box", "gaussian"]),
        ("sobel", 3, ["sobel-x", "sobel-y", "sobel-45", "sobel-135"]),
        ("laplacian", 3, ["laplacian"]),
        ("edge@5", 3, [f"{stem}-{end}" for end in ("x", "y", "45", "135") for stem in ("sobel", "prewitt")]),
        ("sobel-x@5", 3, ["sobel-x"]),
    ],
)
def test_a_word_means_a_filter_or_its_family(word, size, names):
    """A kind, a filter in all orientations, or a name; without Gabor functions unless they are requested."""
    assert [one.name for one in find_filters(word, size)] == names


def test_an_unknown_word_is_refused_with_the_nearest():
    """The message is that of a filter which does not exist."""
    with pytest.raises(UsageError, match=r"no filter 'sobbel' of 3 × 3"):
        find_filters("sobbel")

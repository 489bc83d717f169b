"""Every text of every page of a traced unit is asked where it stands."""

from __future__ import annotations

import pytest
from page_checks import check_page
from traced_units import UNITS, broken_unit

from kernelviz.drawing.unit import plot_kernel_and_map, plot_unit


@pytest.mark.parametrize("name", UNITS)
def test_the_texts_of_every_unit_have_their_own_room(name):
    """The page of one value leaves its texts legible, apart, in their cells and on the page."""
    check_page(plot_unit(UNITS[name]()))


@pytest.mark.parametrize("name", UNITS)
def test_the_texts_of_every_kernel_and_map_have_their_own_room(name):
    """The page of a kernel and its map leaves its texts legible, apart, in their cells and on the page."""
    check_page(plot_kernel_and_map(UNITS[name]()))


@pytest.mark.parametrize("channels", [1, 3, 30])
@pytest.mark.parametrize("plot", [plot_unit, plot_kernel_and_map])
def test_values_that_are_not_finite_have_their_own_room(plot, channels):
    """Not a number, infinities: a page, and the count in its caption."""
    figure = plot(broken_unit(channels))
    check_page(figure)
    assert figure.recipe["nonfinite"] == 4

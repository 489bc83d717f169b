"""The strength and the direction of edges are those of NumPy and SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from page_checks import check_texts
from scipy import ndimage

from kernelviz.drawing.arrangement import arrange
from kernelviz.drawing.looks import find_look
from kernelviz.drawing.page import Raster, Strokes, Text
from kernelviz.errors import UsageError
from kernelviz.filters.gradient import apply_gradient, gradient_page, plot_gradient


@pytest.mark.parametrize(("name", "across"), [("sobel", ndimage.sobel), ("prewitt", ndimage.prewitt)])
def test_strength_and_direction_are_hypot_and_arctan2(name, across):
    """SciPy's two responses make the same strength and the same direction."""
    image = np.random.default_rng(0).random((40, 30))
    found = apply_gradient(image, name)
    x, y = (across(image, axis=axis, mode="nearest") for axis in (1, 0))
    assert np.allclose(found.strength, np.hypot(x, y))
    assert np.allclose(np.radians(found.direction), np.arctan2(y, x))


def test_a_ramp_points_to_where_it_becomes_brighter():
    """0 degrees is to the right and 90 down; a flat image has no direction."""
    rows, columns = np.mgrid[0:20, 0:20] / 20.0
    for image, angle in ((columns, 0), (rows, 90), (-columns, 180), (-rows, -90), (rows + columns, 45)):
        inside = apply_gradient(image).direction[2:-2, 2:-2]
        assert np.allclose(np.abs(inside) if angle == 180 else inside, angle)
    flat = apply_gradient(np.full((9, 9), 0.5))
    assert not flat.strength.any()
    assert not flat.direction.any()


def test_the_page_is_legible():
    """Flat images and others leave its texts apart and on the page."""
    for image in (np.zeros((9, 9)), np.eye(12)):
        check_texts(plot_gradient(apply_gradient(image)))


def test_other_filters_have_no_strength_of_edges():
    """Only filters with two forms across each other have one."""
    with pytest.raises(UsageError, match="sobel, scharr, prewitt"):
        apply_gradient(np.zeros((5, 5)), "laplacian")


def test_a_slide_has_strength_and_direction():
    """The panels of the title come first, and what is left out is stated; all arrows are inside their frame."""
    image = np.random.default_rng(0).random((60, 40))
    page = gradient_page(apply_gradient(image))
    slide = arrange(page, find_look("slide"))
    texts = [item.text for item in slide.items if isinstance(item, Text)]
    assert {"strength", "direction"} <= set(texts)
    assert "without the panels of sobel-x and sobel-y" in " ".join(texts)
    arrows = next(item for item in reversed(page.items) if isinstance(item, Strokes) and len(item.lines) > 9)
    frame = [item for item in page.items if isinstance(item, Raster)][-1]
    xs, ys = (np.array([line[at::2] for line in arrows.lines[::3]]) for at in (0, 1))
    assert frame.left <= xs.min() <= xs.max() <= frame.left + frame.width
    assert frame.top <= ys.min() <= ys.max() <= frame.top + frame.height

"""A map is drawn over the image at the centres of its receptive fields, in colours of its values."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from kernelviz import capture_features
from kernelviz.drawing.colour import Scale, pixels_in
from kernelviz.drawing.figures import RasterArtist
from kernelviz.drawing.looks import LOOKS
from kernelviz.drawing.overlay import blended, make_overlay, nearest, overlay_page, plot_overlay
from kernelviz.drawing.page import Raster
from kernelviz.errors import UsageError

GREY = np.full((12, 12, 3), 100, np.uint8)
RED, BLUE = (0xB2, 0x18, 0x2B), (0x21, 0x66, 0xAC)


def test_clear_where_the_map_is_zero():
    """Under no opacity the image is grey by Rec. 601, lifted by a quarter towards white."""
    pixels = np.random.default_rng(0).integers(0, 256, (6, 8, 3)).astype(np.uint8)
    drawn = pixels_in(LOOKS["page"], blended(pixels, np.zeros((2, 2)), Scale("layer", -1, 1, signed=True)))
    weights = np.array([0.299, 0.587, 0.114])
    expected = np.rint(0.25 * 255 + 0.75 * (pixels @ weights))
    assert np.array_equal(drawn, np.repeat(expected[..., None], 3, axis=2).astype(np.uint8))


@pytest.mark.parametrize(("value", "ink"), [(1.0, RED), (-1.0, BLUE), (0.5, RED), (-0.25, BLUE)])
def test_opacity_grows_with_the_magnitude(value, ink):
    """A value v of a limit of 1 covers the ground by 0.85 · |v|: red above zero, blue below."""
    drawn = pixels_in(LOOKS["page"], blended(GREY, np.full((3, 3), value), Scale("layer", -1, 1, signed=True)))
    ground, share = 0.25 * 255 + 0.75 * 100, 0.85 * abs(value)
    assert np.array_equal(drawn[0, 0], np.rint(ground * (1 - share) + np.array(ink) * share))
    assert (drawn == drawn[0, 0]).all()


def test_a_map_without_negative_values_is_clear_at_its_smallest():
    """So that a norm, which is never near zero, is no veil over everything."""
    overlay = make_overlay(np.array([[[20.0, 30.0], [40.0, 30.0]]]), 0, image=GREY)
    assert (overlay.scale.low, overlay.scale.high, overlay.scale.signed) == (20.0, 40.0, False)
    drawn = pixels_in(LOOKS["page"], blended(GREY, overlay.tiles.values[0], overlay.scale))
    clear = round(0.25 * 255 + 0.75 * 100)
    assert drawn[0, 0].tolist() == [clear] * 3
    assert drawn[-1, 0, 0] > drawn[0, -1, 0] > clear
    assert overlay.recipe["limits"] == [20.0, 40.0]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("rest", [5.0, -5.0])
def test_what_is_not_finite_is_clear_and_counted(bad, rest):
    """Its cells show the image alone, the others are unchanged, and the notes count them."""
    values = np.full((1, 4, 4), rest)
    values[0, 0, 1], values[0, 3, 3] = bad, 2 * rest
    overlay = make_overlay(values, 0, image=GREY)
    drawn = pixels_in(LOOKS["page"], blended(GREY, overlay.tiles.values[0], overlay.scale))
    assert drawn[0, 4].tolist() == [round(0.25 * 255 + 0.75 * 100)] * 3
    assert overlay.marks.nonfinite == 1
    assert "1 of 16 values is not finite, drawn transparent" in overlay.notes
    assert not np.array_equal(drawn[-1, -1], drawn[0, 4])


def test_a_pixel_shows_the_unit_whose_middle_is_nearest():
    """Borders are half-way between the centres; the outermost units reach to the edge."""
    centres = np.array([1.0, 5.0, 6.0])
    pixels = np.arange(10)
    expected = [int(np.abs(centres - pixel).argmin()) for pixel in pixels]
    assert nearest(centres, 3, 10).tolist() == expected
    assert nearest(None, 5, 10).tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]


@pytest.mark.parametrize(("stride", "padding", "dilation"), [(4, 0, 1), (2, 3, 1), (3, 1, 2), (1, 6, 3)])
def test_a_unit_lies_where_its_gradient_has_its_middle(stride, padding, dilation):
    """Where autograd finds a unit's field on the input, there the overlay colours."""
    network = nn.Sequential(nn.Conv2d(3, 1, 3, stride, padding, dilation, bias=False))
    with torch.no_grad():
        network[0].weight.fill_(1.0)
    batch = torch.rand(1, 3, 24, 24)
    (maps,) = capture_features(network, batch, "0")
    units = maps.values.shape[1]
    unit = units // 2
    tensor = batch.clone().requires_grad_()
    network(tensor)[0, 0, unit, unit].backward()
    rows = np.flatnonzero(tensor.grad[0].abs().sum(dim=(0, 2)).numpy())
    delta = np.zeros((units, units))
    delta[unit, unit] = 1.0
    drawn = pixels_in(
        LOOKS["page"], blended(np.zeros((24, 24, 3), np.uint8), delta, Scale("layer", 0, 1, signed=False), maps.centres)
    )
    coloured = np.flatnonzero((drawn[..., 0] != drawn[..., 1]).any(axis=1))
    assert abs(coloured.mean() - rows.mean()) <= 0.5
    assert len(coloured) == stride


def test_plain_arrays_and_tensors_lie_over_a_given_image():
    """A tensor draws as its array does; the picture holds the image and the overlay, pixel for pixel enlarged."""
    values = np.random.default_rng(0).standard_normal((3, 4, 4))
    figure = plot_overlay(values, 2, image=GREY)
    saw, over, *_ = [raster.pixels for raster in figure.findobj(RasterArtist)]
    assert np.array_equal(saw, GREY)
    assert over.shape == GREY.shape
    again = plot_overlay(torch.from_numpy(values), 2, image=GREY).findobj(RasterArtist)[1].pixels
    assert np.array_equal(over, again)
    assert figure.recipe["view"] == "overlay-2"


@pytest.mark.parametrize(
    ("image", "said"),
    [(None, "no image"), (np.zeros((4, 4)), "uint8"), (np.zeros((0, 4, 3), np.uint8), "uint8")],
    ids=str,
)
def test_what_is_no_image_is_refused(image, said):
    """There must be an image, (H, W, 3) uint8."""
    with pytest.raises(UsageError, match=said):
        plot_overlay(np.zeros((1, 2, 2)), image=image)


def test_a_channel_that_is_not_there_is_refused():
    """Channel 3 of three maps does not exist."""
    with pytest.raises(UsageError):
        plot_overlay(np.zeros((3, 2, 2)), 3, image=GREY)


@pytest.mark.parametrize("channel", [1.5, True, "1"])
def test_a_channel_is_a_whole_number(channel):
    """Anything else is refused, not rounded."""
    with pytest.raises(UsageError, match="whole number"):
        plot_overlay(np.ones((3, 4, 5)), channel, image=np.zeros((8, 10, 3), np.uint8))


@pytest.mark.parametrize("seen", [(96, 96), (97, 31), (20, 33)])
def test_the_pictures_are_on_whole_pixels_on_the_page_and_in_a_box(seen):
    """On the page and in a box one rule puts both pictures on whole pixels, in one row."""
    overlay = make_overlay(np.arange(9.0).reshape(1, 3, 3), image=np.zeros((*seen, 3), np.uint8))
    page = overlay_page(overlay)
    for panel in (page, page.parts().body):
        pictures = [item for item in panel.items if isinstance(item, Raster)][:2]
        assert all(side == int(side) for one in pictures for side in (one.left, one.top, one.width, one.height))
        assert pictures[0].top == pictures[1].top
        assert pictures[1].left > pictures[0].left + pictures[0].width

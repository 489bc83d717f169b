"""Overlays of networks that pad the batch on one side, as detectors do."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from kernelviz.drawing.overlay import blended, make_overlay, overlay_page
from kernelviz.drawing.page import Text
from kernelviz.network.capture import capture_features


class Padded(nn.Module):
    """The image twice as large, in a batch whose sides are multiples of 32, and convolutions of stride 2."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(*(nn.Conv2d(3 if at == 0 else 4, 4, 3, 2, 1) for at in range(3)))

    def forward(self, image):
        """Enlarge, pad, convolve."""
        image = functional.interpolate(image, scale_factor=2, mode="bilinear", recompute_scale_factor=True)
        sides = [-(-side // 32) * 32 for side in image.shape[2:]]
        batch = image.new_zeros((1, 3, *sides))
        batch[0, :, : image.shape[2], : image.shape[3]].copy_(image[0])
        return self.body(batch)


@pytest.mark.parametrize(("layer", "step", "columns", "undrawn"), [("body.0", 1, 48, 8), ("body.1", 2, 24, 4)])
def test_columns_of_padding_are_not_drawn_over_the_image(layer, step, columns, undrawn):
    """Each pixel shows the unit in its place, and the caption contains the number of columns of padding."""
    (maps,) = capture_features(Padded().eval(), torch.rand(3, 32, 40), layer)
    assert maps.values.shape[1:] == (32 // step, columns)
    seen = np.zeros((32, 40, 3), np.uint8)
    overlay = make_overlay(maps, 0, image=seen)
    ramp = np.broadcast_to(np.linspace(0, 1, columns), (32 // step, columns))
    shares = blended(seen, ramp, make_overlay(ramp[None], 0, image=seen).scale, maps.centres).shares
    shown = shares[16] * (columns - 1)
    assert np.abs(shown - np.arange(40) / step).max() <= 1
    caption = " ".join(item.text for item in overlay_page(overlay).items if isinstance(item, Text))
    assert f"Not drawn: {undrawn} of {columns} columns, which are padding" in caption
    assert f"about {step} × {step} pixels" in caption


def test_the_place_of_units_is_kept_if_no_column_is_padding_alone():
    """Five columns of 8 pixels and one that begins in the image share a padded side of 48 pixels."""
    (maps,) = capture_features(Padded().eval(), torch.rand(3, 32, 44), "body.2")
    np.testing.assert_allclose(maps.centres[1], np.arange(12) * 4, atol=2)

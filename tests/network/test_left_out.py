"""Layers that return no values for an image, or do not run for it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from kernelviz.errors import KernelvizError, UsageError
from kernelviz.network.capture import as_input, capture_features, make_taps, run


class Rows(nn.Module):
    """One row per image that is brighter than ``threshold``, and a layer that runs for dark images only."""

    def __init__(self):
        super().__init__()
        self.first, self.rows, self.dark = (nn.Conv2d(3, 4, 3, padding=1) for _ in range(3))
        self.none, self.threshold = nn.Identity(), 0.5

    def forward(self, image):
        """Rows of bright images."""
        self.none(image[:, :0])
        self.rows(image[image.flatten(1).amax(1) > self.threshold])
        if image.max() < self.threshold:
            self.dark(image)
        return self.first(image)


BRIGHT, DARK = torch.ones(1, 3, 7, 7), torch.zeros(1, 3, 7, 7)


@pytest.mark.parametrize(("image", "expected"), [(BRIGHT, ["first", "rows"]), (DARK, ["first", "dark"])])
def test_a_pattern_leaves_them_out(image, expected):
    """The other layers that match are captured."""
    assert sorted(maps.layer for maps in capture_features(Rows(), image, "*")) == sorted(expected)


def test_a_plan_for_one_image_leaves_out_what_another_lacks():
    """The reason of each is kept in the plan."""
    network, kept = Rows(), []
    plan = make_taps(network, (3, 7, 7), "*", batch=BRIGHT)
    run(plan, as_input(network, DARK), kept.append, to_the_end=False)
    assert [maps.layer for maps in kept] == ["first"]
    assert plan.left_out == {"rows": "its output (0, 4, 7, 7) has no values for this image"}
    plan = make_taps(network, (3, 7, 7), "*", batch=DARK)
    run(plan, as_input(network, BRIGHT), kept.append, to_the_end=False)
    assert plan.left_out == {"dark": "it did not run for this image"}


@pytest.mark.parametrize("layer", ["rows", "row*", "none"])
def test_named_alone_they_are_an_error(layer):
    """By name, or by a pattern that nothing else matches."""
    error = UsageError if layer == "none" else KernelvizError
    with pytest.raises(error, match="has no map") as caught:
        capture_features(Rows(), DARK, layer)
    assert "has no values" in str(caught.value)

"""Windows laid out as columns read what a convolution of the same windows reads, and put back they read no less."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gradient_boxes import gradient_boxes, positive
from torch import nn

from kernelviz.network.capture import capture_features
from kernelviz.network.tracing.trace import trace


class Unfolded(nn.Module):
    """A convolution by im2col, its columns as a module's output, and a fold back."""

    def __init__(self, kernel, stride, padding, dilation):
        super().__init__()
        self.before = nn.Conv2d(3, 2, 3, padding=1)
        self.unfold = nn.Unfold(kernel, dilation=dilation, padding=padding, stride=stride)
        self.same = nn.Identity()
        self.fold_choices = {"kernel_size": kernel, "stride": stride, "padding": padding, "dilation": dilation}
        self.after = nn.Conv2d(2, 2, 1)

    def forward(self, image):
        """Convolution, columns, fold, convolution."""
        image = self.before(image)
        columns = self.same(self.unfold(image))
        return self.after(nn.functional.fold(columns, image.shape[2:], **self.fold_choices))


CHOICES = [((2, 2), 2, 0, 1), ((3, 3), 1, 1, 1), ((3, 2), (2, 1), (1, 0), 1), ((3, 3), 2, 2, 2)]


@pytest.mark.parametrize("choices", CHOICES)
def test_fields_through_columns_and_back(choices):
    """What units of the folded map read is where their gradient is."""
    network, size = Unfolded(*choices), (3, 8, 12)
    traced = trace(network, size)
    wanted = [("after", (2, 3), row, column) for row, column in ((0, 0), (3, 5), (7, 11), (0, 11), (6, 1))]
    for (name, _, row, column), box in zip(wanted, gradient_boxes(positive(network), size, wanted), strict=True):
        found = traced.field_of(name, row, column)
        if box is not None:
            assert (found.top, found.bottom, found.left, found.right) == box


@pytest.mark.parametrize("choices", CHOICES)
def test_columns_are_maps(choices):
    """Each place of a kernel and channel is a map: that of a convolution that picks this one value."""
    network, batch = Unfolded(*choices).eval(), torch.randn(1, 3, 8, 12)
    (maps,) = capture_features(network, batch, "same")
    kernel, stride, padding, dilation = choices
    number = 2 * kernel[0] * kernel[1]
    picks = torch.eye(number).reshape(number, 2, *kernel)
    with torch.no_grad():
        picked = nn.functional.conv2d(network.before(batch), picks, None, stride, padding, dilation)[0]
    assert maps.values.shape == tuple(picked.shape)
    np.testing.assert_allclose(maps.values, picked.numpy(), atol=1e-6)

"""Sizes and windows on plain integers are those of torch and of the published guide."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from kernelviz.arithmetic.windows import (
    adaptive_window,
    convolution_size,
    interpolated_window,
    pooling_size,
    same_padding,
    transposed_size,
    transposed_window,
    unread,
    window,
)


@pytest.mark.parametrize(
    ("shape", "output"),
    [((4, 3, 1, 0, 1), 2), ((5, 4, 1, 2, 1), 6), ((5, 3, 1, 1, 1), 5), ((5, 3, 2, 1, 1), 3), ((6, 3, 2, 1, 1), 3),
     ((7, 3, 1, 0, 2), 3), ((25, 5, 2, 0, 1), 11), ((2, 3, 1, 0, 1), 0)],
)  # fmt: skip
def test_sizes_of_the_guide(shape, output):
    """Dumoulin and Visin's table holds, and the size is 0 if no window fits."""
    assert convolution_size(*shape) == output


@pytest.mark.parametrize(
    ("shape", "floor", "ceiling"),
    [((6, 3, 2, 0), 2, 3), ((5, 2, 2, 0), 2, 3), ((4, 3, 2, 1), 2, 3), ((4, 2, 3, 1), 2, 2)],
)
def test_pools_round_like_torch(shape, floor, ceiling):
    """The last window of ceil_mode must start inside the input or the left padding."""
    assert pooling_size(*shape) == floor
    assert pooling_size(*shape, ceil_mode=True) == ceiling
    pooled = functional.max_pool1d(torch.zeros(1, 1, shape[0]), *shape[1:], ceil_mode=True)
    assert pooled.shape[-1] == ceiling


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("padding", [0, 1])
def test_transposed_convolutions_are_torchs(stride, dilation, padding):
    """Size and windows are those at which torch's output depends on the input."""
    image = torch.rand(1, 1, 5, dtype=torch.float64, requires_grad=True)
    weight = torch.ones(1, 1, 3, dtype=torch.float64)
    output = functional.conv_transpose1d(image, weight, stride=stride, padding=padding, dilation=dilation)[0, 0]
    assert transposed_size(5, 3, stride, padding, dilation) == len(output)
    for position in range(len(output)):
        (gradient,) = torch.autograd.grad(output[position], image, retain_graph=True)
        read = [at for at in transposed_window(position, 3, stride, padding, dilation) if 0 <= at < 5]
        assert read == gradient[0, 0].nonzero().flatten().tolist()


@pytest.mark.parametrize("sizes", [(7, 3), (3, 7), (8, 8), (5, 1)])
def test_adaptive_windows_are_torchs(sizes):
    """An adaptive pool's windows are those that its gradient shows."""
    size, outputs = sizes
    image = torch.rand(1, 1, size, dtype=torch.float64, requires_grad=True)
    pooled = functional.adaptive_avg_pool1d(image, outputs)[0, 0]
    for position in range(outputs):
        (gradient,) = torch.autograd.grad(pooled[position], image, retain_graph=True)
        assert list(adaptive_window(position, size, outputs)) == gradient[0, 0].nonzero().flatten().tolist()


@pytest.mark.parametrize(("mode", "kind"), [("nearest", "nearest"), ("nearest-exact", "nearest-exact"),
                                            ("bilinear", "linear"), ("bicubic", "cubic")])  # fmt: skip
@pytest.mark.parametrize("sizes", [(4, 8), (5, 13), (9, 4), (1, 6)])
@pytest.mark.parametrize("corners", [False, True])
def test_enlargements_read_what_torch_reads(mode, kind, sizes, corners):
    """The outermost positions of a window are those of the gradient."""
    if corners and "nearest" in mode:
        pytest.skip("torch has no such combination")
    size, outputs = sizes
    image = torch.rand(1, 1, size, 1, dtype=torch.float64, requires_grad=True)
    choice = {} if "nearest" in mode else {"align_corners": corners}
    enlarged = functional.interpolate(image, (outputs, 1), mode=mode, **choice)[0, 0, :, 0]
    for position in range(outputs):
        (gradient,) = torch.autograd.grad(enlarged[position], image, retain_graph=True)
        read = gradient[0, 0, :, 0].nonzero().flatten().tolist()
        found = interpolated_window(position, size, outputs, kind, corners=corners)
        assert (found[0], found[-1]) == (read[0], read[-1])


def test_windows_reach_into_the_padding():
    """The first window of a padded convolution begins before the input."""
    assert list(window(0, 3, 2, 1, 2)) == [-1, 1, 3]


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "pads"), [(224, 3, 2, (0, 1)), (7, 3, 1, (1, 1)), (5, 1, 2, (0, 0))]
)
def test_same_padding_puts_the_odd_one_after(size, kernel, stride, pads):
    """As TensorFlow does it."""
    assert same_padding(size, kernel, stride) == pads


def test_what_no_window_reads_is_counted_at_once():
    """Of random settings, and of the largest there are, without walking through their windows."""
    random = np.random.default_rng(0)
    for size, kernel, stride, dilation, windows in random.integers(1, (40, 7, 9, 9, 9), (3000, 5)).tolist():
        read = {stride * at + dilation * tap for at in range(windows) for tap in range(kernel)} & set(range(size))
        assert unread(size, kernel, stride, dilation, windows) == (size - len(read), size - 1 - max(read))
    assert unread(1 << 24, 1 << 23, 1, 1, 1 << 23) == (1, 1)
    assert unread(1 << 24, 1 << 12, 1 << 12, 1 << 11, 4000) == ((1 << 24) - (1 << 13), (1 << 11) - 1)

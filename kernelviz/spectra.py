"""How kernels answer to waves: the size of their discrete Fourier transform. NumPy only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kernelviz.records import Array


SMALLEST = 33  # odd, so that frequency 0 has a middle to lie in and both halves are alike


def response_size(kernel: Sequence[int]) -> int:
    """To how many values a side kernels of this size are padded: an odd number, and none of theirs is cut off."""
    return max(SMALLEST, *(side + 1 - side % 2 for side in kernel))


def frequency_response(weight: Array) -> Array:
    """The frequency response of each kernel of ``weight`` (n, in_channels, height, width), as (n, S, S) in float64.

    It is |F|, the size of the kernel's discrete Fourier transform, zero-padded to S = ``response_size`` a side, and over
    the input channels the root of the sum of |F|²: the strongest answer to a wave of that frequency that the channels
    bring with amplitudes of length 1. Index i stands for (i − S // 2) / S cycles per pixel, down and to the right, so
    that frequency 0 lies in the middle. Kernels of height 1 (a convolution along one axis) give (n, 1, S).
    """
    count, inputs, height, width = weight.shape
    size = response_size((height, width))
    down = 1 if height == 1 < width else size
    result = np.zeros((count, down, size))
    with np.errstate(invalid="ignore", over="ignore"):  # NaN and Inf come through, and are marked
        planes = weight.astype(np.float64)
        if inputs > height * width:
            factors: Any = np.linalg.qr(planes.reshape(count, inputs, -1), mode="r")  # with the same sum of |F|²
            planes = factors.reshape(count, -1, height, width)
        for plane in planes.swapaxes(0, 1):
            result = np.hypot(result, np.abs(np.fft.fft2(plane, s=(down, size))))
    return np.asarray(np.fft.fftshift(result, axes=(1, 2)))

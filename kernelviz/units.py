"""One value of a feature map with the numbers that made it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from kernelviz.records import Array, ConvLayer, Image, SeenImage, Source
    from kernelviz.traces import Box


@dataclass(frozen=True)
class Unit:
    """One value of a convolution's feature map, worked out.

    ``at`` is (channel, row, column), ``value`` what the network gave there. ``window`` (n, kh, kw) holds what the kernel
    met in the ``numbers`` of the n input channels that it reads. ``padding`` (kh, kw) tells what lies around the input
    (zeros, unless the layer mirrors, repeats or wraps it), ``stretched`` the zeros between the rows of a transposed one's.
    ``kernel`` (n, kh, kw) lies on it tap by tap (that of a transposed convolution is turned by 180°). ``rows`` and
    ``columns`` are the first and the last of ``inputs`` (n, H, W) under the kernel; they may lie outside.
    ``around`` is the padding (top, bottom, left, right), of the layer and what it puts around its input by itself.
    ``reads_image`` says that these inputs are the network's own. ``map`` (h, w) is the whole feature map.

    ``box`` is what the unit sees of the image through convolutions and pools; where ``mixes_image``, a gate, a mean or
    attention mixes in the rest. It is None where that is not known, and ``unseen`` says why. All sums are in float64.
    """

    layer: ConvLayer
    at: tuple[int, int, int]
    value: float
    numbers: tuple[int, ...]
    inputs: Array
    window: Array
    kernel: Array
    padding: Array
    stretched: Array
    rows: tuple[int, int]
    columns: tuple[int, int]
    bias: float | None
    map: Array
    around: tuple[int, int, int, int] = (0, 0, 0, 0)
    reads_image: bool = False
    box: Box | None = None
    mixes_image: bool = False
    unseen: str = ""
    source: Source | None = None
    image: Image | None = None
    seen: SeenImage | None = None
    input_size: tuple[int, ...] | None = None

    @property
    def products(self) -> Array:
        """(n, kh, kw): what each tap contributes."""
        with np.errstate(all="ignore"):
            return self.window * self.kernel

    @property
    def sums(self) -> Array:
        """(n,): what each input channel contributes."""
        with np.errstate(all="ignore"):
            return np.asarray(self.products.sum(axis=(1, 2)))

    @property
    def total(self) -> float:
        """All contributions and the bias, added up: ``value`` before float32 rounded it."""
        with np.errstate(all="ignore"):
            return float(self.sums.sum()) + (self.bias or 0.0)

    def strongest(self, count: int) -> tuple[int, ...]:
        """The places, in ``numbers``, of the channels that contribute most in size, the largest first."""
        sizes = abs(self.sums)
        return tuple(sorted(range(len(sizes)), key=lambda place: (-float(sizes[place]), place))[:count])

"""Kernel banks of every kind, small and seeded."""

from __future__ import annotations

import math

import numpy as np
import pytest

from kernelviz.records import ConvLayer, KernelBank, Source


def make_bank(shape=(32, 3, 3, 3), *, name="conv1", label="resnet18, random weights (seed 0)", groups=1, weight=None):
    """A bank of seeded weights, or of the given ones, with a layer and a source that have these names."""
    if weight is None:
        weight = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    outputs, inputs, *kernel = weight.shape
    rank = len(kernel)
    layer = ConvLayer(
        name=name,
        kind=f"Conv{rank}d",
        in_channels=inputs * groups,
        out_channels=outputs,
        kernel_size=tuple(kernel),
        stride=(1,) * rank,
        padding=(0,) * rank,
        dilation=(1,) * rank,
        groups=groups,
        bias=False,
        transposed=False,
        weight_shape=weight.shape,
        params=math.prod(weight.shape),
    )
    return KernelBank(weight, layer, Source("resnet18", label, "resnet18.random", 1), groups)


def make_odd_weight():
    """Sixteen kernels of 5 × 5 within ±1: 3 as good as zero, 5, 9 and 12 broken, 6 constant, 11 faint, 14 too large."""
    weight = np.random.default_rng(3).uniform(-0.8, 0.8, (16, 1, 5, 5))
    weight[3] = 0.004
    weight[5, 0, 1, 3] = np.nan
    weight[6] = 0.35
    weight[9] = np.nan
    weight[11] *= 0.04
    weight[12, 0, 2, 2] = -np.inf
    weight[14] *= 6
    return weight


@pytest.fixture
def new_bank():
    """The function that makes banks."""
    return make_bank


@pytest.fixture
def odd_weight():
    """A weight with every oddity that pictures mark."""
    return make_odd_weight()

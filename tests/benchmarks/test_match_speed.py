"""Matching is little more than the one matrix product that it stands on."""

from __future__ import annotations

import numpy as np
import pytest
from bench import ratio, seconds

from kernelviz import match_kernels
from kernelviz.filters.bank import classical_filters

pytestmark = pytest.mark.benchmark


def test_a_hundred_thousand_kernels_are_matched_at_once():
    """100,000 kernels of 3 × 3, with all that is told of each, cost at most 2.5 times a bare loop of products."""
    kernels = np.random.default_rng(0).standard_normal((100_000, 1, 3, 3)).astype(np.float32)
    bank = np.stack([one.values.ravel() / np.linalg.norm(one.values) for one in classical_filters(3, everywhere=True)])

    def loop() -> None:
        for kernel in kernels:
            flat = kernel.ravel().astype(np.float64)
            int(np.abs(bank @ (flat / np.linalg.norm(flat))).argmax())

    times = ratio(lambda: match_kernels(kernels, gabor=False), loop, pairs=3)
    print(f"\n100,000 kernels in {seconds(lambda: match_kernels(kernels, gabor=False)):.2f} s, "
          f"{times:.2f} times as fast as a product a kernel")  # fmt: skip
    assert times >= 0.4

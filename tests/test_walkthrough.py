"""What is worked out is what torch computes, refuses what it refuses, and the published examples."""

from __future__ import annotations

import numpy as np
import pytest
import random_settings

KINDS = {"conv": random_settings.convolution, "transpose": random_settings.transposed, "pool": random_settings.pooling}


def compare(kind, seed, count):
    """Ours against torch on this many random settings; how many of them were allowed."""
    random, allowed = np.random.default_rng(seed), 0
    for _ in range(count):
        ours, theirs = KINDS[kind](random)
        assert (ours is None) == (theirs is None), ours and ours.operation
        if ours is None:
            continue
        allowed += 1
        assert ours.output.shape == theirs.shape == (len(theirs), *ours.operation.output_size), ours.operation
        np.testing.assert_allclose(ours.output, theirs, rtol=1e-12, atol=1e-12, err_msg=str(ours.operation))
        check_steps(ours)
    return allowed


def check_steps(worked):
    """One step adds up to its cell, and reads what the operation says."""
    rows, columns = worked.operation.output_size
    at = rows - 1, columns // 2
    step = worked.step(*at, len(worked.output) - 1)
    if step.products is not None:
        assert step.products.sum() + (step.bias or 0) == step.value
        assert step.sums.sum() == step.products.sum()
    window = worked.operation.window(*at)
    assert step.window.shape[1:] == tuple(map(len, window))
    reads = worked.operation.reads(*at)
    real = (~step.padding & ~step.stretched).sum()
    assert real == len(reads[0]) * len(reads[1])


@pytest.mark.parametrize("kind", KINDS)
def test_a_sample_of_settings_is_as_torch_has_it(kind):
    """The same sizes, numbers and refusals on 2,000 random settings of each kind."""
    assert 800 < compare(kind, 0, 2000) < 2000


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_twenty_thousand_settings_are_as_torch_has_them(kind):
    """The same sizes, numbers and refusals on 20,000 random settings of each kind."""
    assert compare(kind, 1, 20_000) > 8000

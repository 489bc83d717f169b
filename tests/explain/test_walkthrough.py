"""What is worked out is what torch computes, refuses what it refuses, and the published examples."""

from __future__ import annotations

import numpy as np
import pytest
import random_settings

from kernelviz import Convolution, Pooling, TransposedConvolution, work_out
from kernelviz.errors import UsageError
from kernelviz.explain.walkthrough import example_numbers

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
    """One step adds up to its cell, and reads the window of the operation."""
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


EXAMPLES = {
    "counting": (Convolution(5, 3), np.arange(1, 26).reshape(5, 5), np.arange(1, 10).reshape(3, 3),
                 [[411, 456, 501], [636, 681, 726], [861, 906, 951]]),
    "diagonal": (Convolution(5, 3), [[1, 1, 1, 0, 0], [0, 1, 1, 1, 0], [0, 0, 1, 1, 1], [0, 0, 1, 1, 0], [0, 1, 1, 0, 0]],
                 [[1, 0, 1], [0, 1, 0], [1, 0, 1]], [[4, 3, 4], [2, 4, 3], [2, 3, 4]]),
    "guide": (Convolution(5, 3), [[3, 3, 2, 1, 0], [0, 0, 1, 3, 1], [3, 1, 2, 2, 3], [2, 0, 0, 2, 2], [2, 0, 0, 0, 1]],
              [[0, 1, 2], [2, 2, 0], [0, 1, 2]], [[12, 12, 17], [10, 17, 19], [9, 6, 14]]),
    "one step": (Convolution(3, 3), [[-1, 1, 1], [1, -1, 1], [1, 1, -1]], [[1, 1, 1], [-1, -1, -1], [1, 1, 1]], [[1]]),
    "pool": (Pooling(4, 2), [[1, 1, 2, 4], [5, 6, 7, 8], [3, 2, 1, 0], [1, 2, 3, 4]], None, [[6, 8], [3, 4]]),
}  # fmt: skip


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_worked_examples_of_articles_and_guide(name):
    """What introductions to convolution print is what comes out."""
    operation, data, kernel, output = EXAMPLES[name]
    assert work_out(operation, data, kernel).output.tolist() == [output]


def test_stamps_add_up_to_the_output():
    """The two ways to see a transposed convolution give the same numbers."""
    operation = TransposedConvolution(
        (3, 2), 3, stride=2, padding=1, output_padding=1, in_channels=4, out_channels=6, groups=2, bias=True
    )
    worked = work_out(operation, *example_numbers(operation, 3))
    for channel in range(6):
        total = sum(worked.stamp(*place, channel) for place in np.ndindex(3, 2))
        np.testing.assert_array_equal(total + worked.bias[channel], worked.output[channel])


def test_results_equal_those_of_scipy():
    """Correlation as in scipy.signal, and convolution with the kernel turned."""
    signal = pytest.importorskip("scipy.signal")
    data, kernel = (
        np.random.default_rng(0).normal(size=(2, 9, 9))[:, :, :],
        np.random.default_rng(1).normal(size=(4, 3)),
    )
    ours = work_out(Convolution(9, (4, 3)), data[0], kernel).output[0]
    np.testing.assert_allclose(ours, signal.correlate2d(data[0], kernel, mode="valid"))
    np.testing.assert_allclose(ours, signal.convolve2d(data[0], kernel[::-1, ::-1], mode="valid"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(([[1, 2]], [[1]]), "input must have the shape"), ((np.ones((3, 3)), np.ones((3, 3))), "kernel must have the shape"),
     ((np.ones((3, 3)), np.ones((2, 2)), [1]), "no bias")],
)  # fmt: skip
def test_numbers_of_another_shape_are_refused(arguments, said):
    """The error states the required shape."""
    with pytest.raises(UsageError, match=said):
        work_out(Convolution(3, 2), *arguments)


def test_too_much_work_is_refused():
    """A layer of a real network is rejected, not computed for minutes."""
    with pytest.raises(UsageError, match="multiply-adds"):
        work_out(Convolution(224, 7, out_channels=64, in_channels=3), np.zeros((3, 224, 224)))


def test_a_step_that_is_not_there_is_refused():
    """Rows, columns and channels have their bounds."""
    worked = work_out(*EXAMPLES["counting"][:3])
    for place in ((3, 0, 0), (0, -1, 0), (0, 0, 1)):
        with pytest.raises(UsageError, match="There is no output"):
            worked.step(*place)


def test_examples_of_a_seed_are_the_same_again():
    """The same seed yields the same numbers, another seed other numbers."""
    operation = Convolution(5, 3, bias=True)
    first, again, other = (example_numbers(operation, seed) for seed in (1, 1, 2))
    for one, two in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, two)
    assert (first[0] != other[0]).any()

"""Maximum and average pooling beside each other: the numbers of torch, legible pages, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from matplotlib.text import Text
from page_checks import check_page
from torch.nn import functional

import kernelviz
from kernelviz import Convolution, Pooling, work_out
from kernelviz.drawing.figures import draw_page
from kernelviz.errors import UsageError
from kernelviz.explain.pools import means_text, pool_pair, pools_page
from kernelviz.explain.walkthrough import example_numbers
from kernelviz.files.numbers import typed_numbers


def worked(operation):
    """Example numbers pooled."""
    return work_out(operation, example_numbers(operation)[0])


@pytest.mark.parametrize("kind", ["max", "average"])
@pytest.mark.parametrize(
    ("size", "kernel", "choices"),
    [
        (6, 2, {}),
        ((7, 5), (3, 2), {"stride": (2, 1), "padding": (1, 0), "ceil_mode": True}),
        (5, 3, {"padding": 1, "count_include_pad": False}),
        (7, None, {"adaptive": (3, 2)}),
    ],
)
def test_both_kinds_are_those_of_torch(kind, size, kernel, choices):
    """From a pool of either kind come the maximum and the average of the same windows."""
    operation = Pooling(size, kernel, kind=kind, in_channels=2, **choices)
    pair = pool_pair(work_out(operation, np.random.default_rng(0).normal(size=(2, *operation.input_size))))
    data = torch.from_numpy(pair.maximum.input)[None]
    if kernel is None:
        theirs = functional.adaptive_max_pool2d(data, (3, 2)), functional.adaptive_avg_pool2d(data, (3, 2))
    else:
        more = {key: value for key, value in choices.items() if key != "count_include_pad"}
        theirs = functional.max_pool2d(data, kernel, **more), functional.avg_pool2d(data, kernel, **choices)
    for (_, ours), expected in zip(pair.both, theirs, strict=True):
        np.testing.assert_allclose(ours.output, expected[0].numpy(), rtol=1e-12, atol=1e-14)


CASES = {
    "plain": (Pooling(4, 2), (0, 0)),
    "overlapping": (Pooling(6, 3, stride=1, padding=1), (2, 2)),
    "channels": (Pooling(12, 2, in_channels=3), (2, 2)),
    "large": (Pooling(64, 4), (2, 3)),
    "row": (Pooling((1, 16), (1, 4)), (0, 1)),
    "column": (Pooling((16, 1), (4, 1)), (1, 0)),
    "global": (Pooling(7, adaptive=1), (0, 0)),
    "one": (Pooling(1, 1), (0, 0)),
}


@pytest.mark.parametrize(
    "name", ["plain", *(pytest.param(name, marks=pytest.mark.slow) for name in CASES if name != "plain")]
)
@pytest.mark.parametrize("values", ["digits", "real"])
def test_both_kinds_are_legible(name, values):
    """No text meets another, leaves the page or is too small, for short numbers and for long ones."""
    operation, at = CASES[name]
    shown = worked(operation)
    if values == "real":
        shown = work_out(operation, np.random.default_rng(0).normal(size=shown.input.shape))
    filled = name not in ("column", "one")
    check_page(draw_page(pools_page(pool_pair(shown), at, 0)), filled=filled)


def test_the_page_has_both_sums_and_the_means():
    """The framed cell of each kind with its terms, and that averages of whole windows keep the mean of the input."""
    shown = worked(Pooling(4, 2))
    texts = [text.get_text() for text in kernelviz.plot_pools(shown, at=(0, 1)).findobj(Text)]
    assert {"max(5, 2, 0, 0)", "(5 + 2 + 0 + 0) / 4", "1.75"} <= set(texts)
    assert means_text(pool_pair(shown), 0) == "mean of all values: input 4.6875, max pool 7.5, average pool 4.6875"
    assert not means_text(pool_pair(work_out(Pooling(2, 2), [[1, np.inf], [2, 3]])), 0)


def test_typed_numbers_stay_as_typed_in_both():
    """3.10 keeps its zero, also in the terms of the kind that was not requested."""
    data = typed_numbers("3.10 1; 2 4", "input")
    pair = pool_pair(work_out(Pooling(2, 2), type(data)(data.values[0], data.texts[0])))
    assert [worked.typed["input"][0, 0, 0] for _, worked in pair.both] == ["3.10", "3.10"]


def test_an_animation_fills_both_outputs():
    """One frame for each cell; the last one shows both outputs whole, and is that of the picture of its cell."""
    animation = kernelviz.animate_pools(worked(Pooling(4, 2)))
    assert len(animation.pages) == 4
    counts = [sum(getattr(item, "text", "") in ("8", "9", "5") for item in page.items) for page in animation.pages]
    assert counts == sorted(counts)
    assert counts[0] < counts[-1]


def test_what_has_no_second_kind_is_refused():
    """Convolutions, dilated pools and large inputs."""
    with pytest.raises(UsageError, match="for a pool"):
        kernelviz.plot_pools(work_out(Convolution(4, 2), np.zeros((4, 4)), np.ones((2, 2))))
    with pytest.raises(UsageError, match="no dilation"):
        kernelviz.plot_pools(worked(Pooling(6, 2, dilation=2)))
    with pytest.raises(UsageError, match="up to 64 × 64"):
        kernelviz.plot_pools(worked(Pooling(65, 2)))

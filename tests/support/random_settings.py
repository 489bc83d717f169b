"""Random settings of convolutions and pools, allowed and not, ours beside torch's own."""

from __future__ import annotations

import warnings

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from kernelviz import Convolution, Pooling, TransposedConvolution, work_out
from kernelviz.errors import UsageError


def two(random, low, high):
    """One number for both sides, or one for each."""
    return int(random.integers(low, high)) if random.random() < 0.5 else tuple(map(int, random.integers(low, high, 2)))


def numbers(random, *shape):
    """Whole numbers as float64: sums of products of them are exact, in whatever order."""
    return random.integers(-9, 10, shape).astype(np.float64)


def channels(random):
    """Input and output channels and groups, which mostly divide them."""
    groups = int(random.choice([1, 1, 1, 2, 3]))
    if random.random() < 0.1:
        return int(random.integers(1, 5)), int(random.integers(1, 5)), groups
    return groups * int(random.integers(1, 3)), groups * int(random.integers(1, 3)), groups


def of_torch(work):
    """What torch computes; None where it refuses."""
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # even kernels with ``same`` are told to be slow
            return work()[0].numpy()
    except (RuntimeError, ValueError):
        return None


def of_ours(work):
    """What we work out; None where we refuse, in words."""
    try:
        return work()
    except UsageError:
        return None


def convolution(random):
    """Ours and torch's result of one random convolution."""
    inputs, outputs, groups = channels(random)
    size = tuple(map(int, random.integers(1, 9, 2)))
    choices = {"stride": two(random, 0 if random.random() < 0.05 else 1, 4), "dilation": two(random, 1, 4)}
    kernel, bias = two(random, 0 if random.random() < 0.05 else 1, 5), bool(random.random() < 0.4)
    drawn = random.random()
    padding = "same" if drawn < 0.1 else "valid" if drawn < 0.2 else two(random, -1 if drawn > 0.95 else 0, 4)
    asymmetric = tuple(map(int, random.integers(0, 4, 4))) if 0.2 <= drawn < 0.4 else None
    data = numbers(random, inputs, *size)
    sides = (kernel, kernel) if isinstance(kernel, int) else kernel
    weight = numbers(random, outputs, max(1, inputs // groups), *sides)
    shift = numbers(random, outputs) if bias else None

    def ours():
        settings = Convolution(
            size, kernel, padding=asymmetric or padding, groups=groups, in_channels=inputs, out_channels=outputs,
            bias=bias, **choices,
        )  # fmt: skip
        return work_out(settings, data, weight, shift)

    def theirs():
        around = 0 if asymmetric else padding
        module = nn.Conv2d(inputs, outputs, kernel, padding=around, groups=groups, bias=bias, **choices).double()
        top, bottom, left, right = asymmetric or (0, 0, 0, 0)
        module.weight.copy_(torch.from_numpy(weight))
        if bias:
            module.bias.copy_(torch.from_numpy(shift))
        return module(functional.pad(torch.from_numpy(data)[None], (left, right, top, bottom)))

    return of_ours(ours), of_torch(theirs)


def transposed(random):
    """Ours and torch's result of one random transposed convolution."""
    inputs, outputs, groups = channels(random)
    size = tuple(map(int, random.integers(1, 6, 2)))
    low = 0 if random.random() < 0.05 else 1
    choices = {
        "stride": two(random, low, 4),
        "dilation": two(random, low, 4),
        "padding": two(random, -1 if random.random() < 0.05 else 0, 4),
        "output_padding": two(random, 0, 3) if random.random() < 0.5 else 0,
    }
    kernel, bias = two(random, low, 5), bool(random.random() < 0.4)
    data = numbers(random, inputs, *size)
    sides = (kernel, kernel) if isinstance(kernel, int) else kernel
    weight = numbers(random, inputs, max(1, outputs // groups), *sides)
    shift = numbers(random, outputs) if bias else None

    def ours():
        settings = TransposedConvolution(
            size, kernel, groups=groups, in_channels=inputs, out_channels=outputs, bias=bias, **choices
        )
        return work_out(settings, data, weight, shift)

    def theirs():
        module = nn.ConvTranspose2d(inputs, outputs, kernel, groups=groups, bias=bias, **choices).double()
        module.weight.copy_(torch.from_numpy(weight))
        if bias:
            module.bias.copy_(torch.from_numpy(shift))
        return module(torch.from_numpy(data)[None])

    return of_ours(ours), of_torch(theirs)


def pooling(random):
    """Ours and torch's result of one random pool."""
    size, count = tuple(map(int, random.integers(1, 10, 2))), int(random.integers(1, 3))
    kind = "max" if random.random() < 0.5 else "average"
    data = numbers(random, count, *size)
    tensor = torch.from_numpy(data)[None]
    if random.random() < 0.25:
        asked = two(random, 1, 8)
        module = {"max": nn.AdaptiveMaxPool2d, "average": nn.AdaptiveAvgPool2d}[kind](asked)
        ours = of_ours(lambda: work_out(Pooling(size, kind=kind, adaptive=asked, in_channels=count), data))
        return ours, of_torch(lambda: module(tensor))
    low = 0 if random.random() < 0.05 else 1
    kernel = two(random, low, 6)
    choices = {
        "stride": two(random, low, 5) if random.random() < 0.8 else None,
        "padding": two(random, -1 if random.random() < 0.05 else 0, 3),
        "ceil_mode": bool(random.random() < 0.5),
    }
    dilation = two(random, low, 3) if kind == "max" and random.random() < 0.5 else 1
    include = bool(random.random() < 0.5)

    def ours():
        more = {"count_include_pad": include} if kind == "average" else {"dilation": dilation}
        return work_out(Pooling(size, kernel, kind=kind, in_channels=count, **choices, **more), data)

    def theirs():
        if kind == "max":
            return functional.max_pool2d(tensor, kernel, dilation=dilation, **choices)
        return functional.avg_pool2d(tensor, kernel, count_include_pad=include, **choices)

    return of_ours(ours), of_torch(theirs)

"""Traced units made up from numbers, of every kind that pictures tell apart."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np

from kernelviz.arithmetic.operations import Pooling
from kernelviz.records import Box, ConvLayer, Image, SeenImage, Source
from kernelviz.traces import PooledUnit, Unit


def make_unit(
    channels=3, kernel=(3, 3), size=(28, 28), *, at=(5, 3, 4), bias=None, seen=True, image=False, scale=1.0,
    corner=False, transposed=False, **more,
):  # fmt: skip
    """A unit whose window is cut out of random inputs, whose sums are right, in a map of ``size``."""
    numbers = np.random.default_rng(0)
    inputs = scale * numbers.standard_normal((channels, *size))
    rows, columns = kernel
    top, left = (-1, -1) if corner else (max(0, min(at[1], size[0] - rows)), max(0, min(at[2], size[1] - columns)))
    padded = np.pad(inputs, ((0, 0), (1, rows), (1, columns)))
    window = padded[:, top + 1 : top + 1 + rows, left + 1 : left + 1 + columns]
    around = np.pad(np.zeros(size, bool), ((1, rows), (1, columns)), constant_values=True)
    weights = scale * numbers.standard_normal((channels, rows, columns))
    value = float((window * weights).sum() + (bias or 0.0))
    values = scale * numbers.standard_normal(size).astype(np.float32)
    row, column = min(at[1], size[0] - 1), min(at[2], size[1] - 1)
    values[row, column] = value
    pixels = numbers.integers(0, 256, (*(size if image else (160, 160)), 3), dtype=np.uint8)
    layer = ConvLayer(
        "stages.3.blocks.1.conv_dw", "Conv2d", channels, 64, kernel, (1, 1), (1, 1), (1, 1), 1, bias is not None,
        transposed, (64, channels, *kernel), 64 * channels * rows * columns,
    )  # fmt: skip
    source = Source("some_network", "some_network, random weights (seed 0)", "some_network.random", 1)
    facts = {"box": Box(10, 50, 0, 159), **more}
    return Unit(
        layer=layer, at=(at[0], row, column), value=value, numbers=tuple(range(channels)), inputs=inputs, window=window,
        kernel=weights, padding=around[top + 1 : top + 1 + rows, left + 1 : left + 1 + columns],
        stretched=np.zeros(kernel, bool), rows=(top, top + rows - 1), columns=(left, left + columns - 1), bias=bias,
        map=values, around=(1, 1, 1, 1), reads_image=image, source=source,
        image=Image(pixels, "photo.jpg", "photo", None, "0" * 64, "JPEG", "RGB") if seen else None,
        seen=SeenImage(pixels, (0.0, 0.0), (1.0, 1.0)) if seen else None, input_size=(3, *pixels.shape[:2]), **facts,
    )  # fmt: skip


def pooled_unit(*, maximum=True):
    """A unit of a pool of 3 × 3 with stride 2."""
    inputs = np.random.default_rng(1).standard_normal((1, 56, 56))
    window = inputs[:, 6:9, 8:11]
    kernel = (window == window.max()).astype(float) if maximum else np.full((1, 3, 3), 1 / 9)
    windows = np.lib.stride_tricks.sliding_window_view(inputs[0], (3, 3))[::2, ::2]
    made = (windows.max(axis=(2, 3)) if maximum else windows.mean(axis=(2, 3))).astype(np.float32)
    unit = make_unit(1, size=(56, 56))
    facts = {each.name: getattr(unit, each.name) for each in fields(unit)}
    facts |= {
        "layer": replace(unit.layer, name="pool1", kind="MaxPool2d"), "at": (5, 3, 4), "value": float(made[3, 4]),
        "numbers": (5,), "inputs": inputs, "window": window, "kernel": kernel, "rows": (6, 8), "columns": (8, 10),
        "map": made, "padding": np.zeros((3, 3), bool), "stretched": np.zeros((3, 3), bool),
    }  # fmt: skip
    operation = Pooling(56, 3, stride=2, kind="max" if maximum else "average")
    return PooledUnit(**facts, operation=operation, counted=None if maximum else 9)


UNITS = {
    "image": lambda: make_unit(image=True, size=(112, 112), at=(15, 60, 70)),
    "image, corner": lambda: make_unit(image=True, size=(112, 112), corner=True, at=(15, 0, 0), bias=-0.25),
    "image, 7 × 7": lambda: make_unit(kernel=(7, 7), image=True, size=(112, 112), at=(15, 60, 70)),
    "image, 5 × 5": lambda: make_unit(kernel=(5, 5), image=True, size=(64, 48), at=(1015, 63, 47)),
    "grouped": lambda: make_unit(4, size=(56, 56), bias=0.5),
    "two channels": lambda: make_unit(2, size=(7, 7), at=(2047, 6, 6)),
    "depthwise": lambda: make_unit(1, (5, 5)),
    "depthwise, 3 × 3": lambda: make_unit(1, bias=1.5, corner=True, size=(14, 14), at=(0, 0, 0)),
    "depthwise, 11 × 11": lambda: make_unit(1, (11, 11), size=(14, 20)),
    "dense": lambda: make_unit(128, bias=0.1),
    "dense, few": lambda: make_unit(5, (5, 5)),
    "dense, seven": lambda: make_unit(7),
    "pointwise": lambda: make_unit(480, (1, 1), size=(14, 14)),
    "pointwise of three": lambda: make_unit(3, (1, 1), image=True, size=(64, 64)),
    "pointwise of one": lambda: make_unit(1, (1, 1)),
    "one value": lambda: make_unit(64, (1, 1), size=(1, 1), at=(3, 0, 0), bias=0.0, mixes_image=True),
    "a row": lambda: make_unit(16, (1, 3), size=(1, 64), at=(2, 0, 9)),
    "a row of one": lambda: make_unit(1, (1, 3), size=(1, 64), at=(2, 0, 9), box=None, unseen="a permutation"),
    "rows": lambda: make_unit(3, (1, 3), size=(1, 200), at=(2, 0, 90)),
    "rows of an image": lambda: make_unit(3, (1, 3), size=(1, 200), at=(2, 0, 190), image=True),
    "short rows": lambda: make_unit(2, (1, 5), size=(1, 9), at=(2, 0, 4), bias=0.25),
    "columns": lambda: make_unit(4, (3, 1), size=(300, 1), at=(2, 290, 0)),
    "a long row": lambda: make_unit(1, (1, 9), size=(1, 5000), at=(2, 0, 4000)),
    "wide": lambda: make_unit(3, size=(20, 300), at=(2, 10, 290)),
    "tall": lambda: make_unit(6, size=(300, 20), at=(2, 299, 0)),
    "huge": lambda: make_unit(24, size=(400, 400), at=(4095, 399, 399)),
    "very many channels": lambda: make_unit(2048, size=(14, 14), at=(4095, 13, 13)),
    "without image": lambda: make_unit(seen=False, box=None, unseen="the network is not known"),
    "without sight": lambda: make_unit(64, box=None, unseen="view mixes rows and columns with channels"),
    "sees nothing": lambda: make_unit(8, box=Box(0, -1, 0, -1)),
    "tiny": lambda: make_unit(scale=1e-9, image=True, size=(64, 64)),
    "large": lambda: make_unit(1, scale=3e4, bias=-12345.678),
    "large and dense": lambda: make_unit(64, scale=1e4, bias=-12345.678),
    "zeros": lambda: make_unit(3, scale=0.0),
    "zeros, many": lambda: make_unit(30, scale=0.0),
    "transposed": lambda: make_unit(1, (4, 4), transposed=True),
}


def broken_unit(channels=3):
    """A unit whose window and map hold what is not finite."""
    unit = make_unit(channels)
    window, values = unit.window.copy(), unit.map.copy()
    window[0, 0, 0], values[0, :3], values[unit.at[1:]] = np.nan, (np.nan, np.inf, -np.inf), np.nan
    from dataclasses import replace

    return replace(unit, window=window, map=values, value=float("nan"))

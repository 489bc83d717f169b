"""Small reports made up from numbers: each kind of layer once, with values that a test can work out."""

from __future__ import annotations

import numpy as np

from kernelviz.records import AxisField, ClassScore, Field, Source, Weights
from kernelviz.report.contents import (
    NO_CELL,
    LiveSums,
    Report,
    ReportImage,
    ReportKernels,
    ReportLayer,
    ReportMaps,
)
from kernelviz.traces import Maker, TracedLayer, UnitTerms

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
HOSTILE = ("<img src=x onerror=alert(1)>", "\"'&</script><script>alert(1)</script>", "a\u2028b\u2029c", "x" * 200)


def make_report(images=1, side=32, *, names=None, trained=True, renderer=None, notes=()):
    """A report of eight layers: read from the image, depthwise, 1 × 1, after a ReLU, dense, grouped, transposed, no field.

    ``names`` replaces the names of image, model, and the first layers.
    """
    random = np.random.default_rng(0)
    names = list(names or ())
    pixels = [random.integers(0, 256, (side, side, 3), dtype=np.uint8) for _ in range(images)]
    photographs = tuple(
        ReportImage(
            names[0] if names else f"photo {at}.jpg", each, sha256=f"{at:064}", offset=(2.5, 3.0), scale=(2.0, 2.0),
            exact=True, notes=("cropped: the network sees the middle 64 × 64 of 70 × 69 pixels",),
            top=tuple(ClassScore(index, names[0] if names else f"class {index}", 0.5 / (index + 1)) for index in range(5))
            if trained else (),
        )
        for at, each in enumerate(pixels)
    )  # fmt: skip
    layers = _layers(random, pixels, side)
    for at, name in enumerate(names[: len(layers)]):
        layers[at] = _renamed(layers[at], name)
    model = names[1] if len(names) > 1 else "tiny_net"
    weights = Weights("random", "seed 0") if not trained else Weights("file", "tiny.pt", "1" * 64)
    source = Source(model, f"{model}, random weights (seed 0)" if not trained else model, "tiny_net", 1234, weights)
    return Report(
        label=source.label, input_size=(3, side, side), images=photographs, layers=tuple(layers),
        recipe={"kernelviz": "0", "command": "report", "model": source.as_recipe(), "image": None},
        source=source, mean=MEAN, std=STD, notes=tuple(notes), renderer=renderer,
    )  # fmt: skip


def input_of(image):
    """The network's input (C, H, W) in float64 that the pixels of an image stand for."""
    return ((image.pixels / 255 - np.array(MEAN)) / np.array(STD)).transpose(2, 0, 1)


def convolved(values, weights, bias, stride, around):
    """The convolution of (C, H, W) with (n, C, kh, kw)."""
    padded = np.pad(values, ((0, 0), around[:2], around[2:]))
    windows = np.lib.stride_tricks.sliding_window_view(padded, weights.shape[2:], axis=(1, 2))
    found = np.einsum("chwij,ncij->nhw", windows[:, :: stride[0], :: stride[1]], weights.astype(np.float64))
    return found + (0 if bias is None else bias[:, None, None])


def as_maps(values):
    """Maps (n, H, W) at 201 levels, each by its own limit."""
    finite = np.where(np.isfinite(values), values, 0.0)
    limits = np.abs(finite).max(axis=(1, 2))
    signed = bool(finite.min() < 0)
    share = finite / np.where(limits > 0, limits, np.inf)[:, None, None]
    levels = np.rint(share * (100 if signed else 200) + (100 if signed else 0)).astype(np.uint8)
    levels[~np.isfinite(values)] = 255
    broken = {at: int(count) for at, count in enumerate((~np.isfinite(values)).sum(axis=(1, 2))) if count}
    dead = tuple(at for at, each in enumerate(values) if each.min() == each.max())
    return ReportMaps(signed, levels, limits, (float(finite.min()), float(finite.max())), dead, broken)


def _field(size, jump, side, units, *, mixed=False):
    start = -(size // 2)
    first = start + jump * np.arange(units)
    axis = AxisField(np.maximum(first, 0), np.minimum(first + size - 1, side - 1), size, jump, start)
    return Field((axis, axis), mixed)


def _traced(name, kind="Conv2d", field=None, **facts):
    facts = {"kernel": None, "stride": None, "padding": None, "dilation": None, "groups": None, "bias": None, **facts}
    return TracedLayer(
        name, kind, "conv", 100, 10_000, 1, field=field, lost="" if field else "an attention mixes all places", **facts
    )


def _sizes(kernel, stride, padding, groups=1, *, bias=False):
    return {"kernel": (kernel,) * 2, "stride": (stride,) * 2, "padding": (padding,) * 2, "dilation": (1, 1),
            "groups": groups, "bias": bias}  # fmt: skip


def _units(random, values, inputs, kernel, *, terms=3):
    """The largest and the smallest value of each map, with made-up factors whose sums are right."""
    at = []
    for channel, each in enumerate(values):
        places = sorted({int(each.argmax()), int(each.argmin())})
        at += [(channel, *map(int, np.unravel_index(place, each.shape))) for place in places]
    count, terms = len(at), min(terms, inputs)
    found = np.array([values[place] for place in at])
    windows, kernels = (random.standard_normal((count, terms, kernel, kernel)).astype(np.float32) for _ in range(2))
    sums = (windows.astype(float) * kernels).sum(axis=(2, 3))
    order = np.argsort(-np.abs(sums), axis=1)
    picked = np.arange(count)[:, None], order
    numbers = np.tile(np.arange(terms), (count, 1))[picked]
    taps = np.zeros((count, kernel, kernel), np.uint8)
    if kernel > 1:
        taps[0, 0] = 1
    rest = found - sums.sum(axis=1) if inputs > terms else np.zeros(count)
    values = found if inputs > terms else sums.sum(axis=1)
    return UnitTerms(np.array(at), values, numbers, windows[picked], kernels[picked], sums[picked], rest, taps, inputs)


def _kernels(random, view, count, tile, **facts):
    shape = (count, *tile, 3) if view == "rgb" else (count, *tile)
    levels = random.integers(0, 256 if view == "rgb" else 201, shape, dtype=np.uint8)
    if view == "inputs":
        levels[:, -1, -1] = NO_CELL
    return ReportKernels(view, levels, np.linspace(0.5, 1.0, count), **facts)


def _layers(random, pixels, side):
    half, images = side // 2, range(len(pixels))
    weights = random.standard_normal((6, 3, 3, 3)).astype(np.float32)
    bias = random.standard_normal(6).astype(np.float32)
    live = LiveSums(weights, bias, (2, 2), (1, 1), (0, 1, 0, 1))
    stem = tuple(
        as_maps(convolved((each / 255 - MEAN).transpose(2, 0, 1) / np.array(STD)[:, None, None], weights, bias, (2, 2),
                          live.around))
        for each in pixels
    )  # fmt: skip

    def noise(count, size=half):
        return [random.standard_normal((count, size, size)) * np.linspace(0.5, 3, count)[:, None, None] for _ in images]

    def layer(name, values, shown, traced, **facts):
        return ReportLayer(
            name, traced, facts.pop("outputs", len(shown)), values[0].shape[1:], tuple(shown), tuple(map(as_maps, values)),
            **facts,
        )  # fmt: skip

    def units(values, inputs, kernel, terms=3):
        return tuple(_units(random, each, inputs, kernel, terms=terms) for each in values)

    deep, wide, small = noise(6), noise(8), noise(4, 4)
    relu = [np.maximum(each, 0) for each in noise(8)]
    for each in relu:
        each[1] = 0.0
    broken = noise(4)
    for each in broken:
        each[2, 3, 4:6] = np.nan
    dense = units(small, 12, 7)
    dense[0].kernels[:2, 0, -1, -1] = np.inf  # a weight of channel 0
    field = _field(3, 2, side, half)
    return [
        ReportLayer(
            "stem", _traced("stem", field=field, **_sizes(3, 2, 0, bias=True)), 6, (half, half), tuple(range(6)), stem,
            conv="dense", inputs=3, kernels=_kernels(random, "rgb", 6, (3, 3)), live=live, reads_input=True,
        ),
        layer("blocks.0.dw", deep, range(6), _traced("blocks.0.dw", field=_field(7, 2, side, half), **_sizes(3, 1, 1, 6)),
              conv="depthwise", inputs=6, kernels=_kernels(random, "sum", 6, (3, 3), zero=(2,), faint=(3,)),
              units=units(deep, 1, 3), makers=(Maker(0, 6, "stem", 0),)),
        layer("blocks.0.pw", wide, (0, 1, 2, 4, 6, 8, 10, 11),
              _traced("blocks.0.pw", field=_field(7, 2, side, half), **_sizes(1, 1, 0, bias=False)), conv="pointwise",
              inputs=6, outputs=12, kernels=_kernels(random, "inputs", 8, (2, 4)), units=units(wide, 6, 1, 4),
              makers=(Maker(0, 6, "blocks.0.dw", 0),)),
        layer("blocks.0.act", relu, range(8), _traced("blocks.0.act", "ReLU", _field(7, 2, side, half, mixed=True))),
        layer("blocks.1.conv", small, range(4), _traced("blocks.1.conv", field=_field(23, 8, side, 4),
              **_sizes(7, 4, 3)), conv="dense", inputs=12, kernels=_kernels(random, "sum", 4, (7, 7)),
              units=dense, makers=(Maker(0, 12, "blocks.0.pw", 0, added=True),)),
        layer("blocks.1.grouped", broken, range(4), _traced("blocks.1.grouped", field=_field(5, 1, side, half),
              **_sizes(3, 1, 1, 2)), conv="grouped", inputs=4, kernels=_kernels(random, "sum", 4, (3, 3)),
              notes=("run 1 of 2",)),
        layer("up", noise(4, side), range(4), _traced("up", "ConvTranspose2d", _field(5, 1, side, side),
              **_sizes(2, 2, 0)), conv="transposed", inputs=4, kernels=_kernels(random, "sum", 4, (2, 2))),
        layer("attention", noise(4, 4), range(4), _traced("attention", "Attention")),
    ]  # fmt: skip


def _renamed(layer, name):
    from dataclasses import replace

    return replace(layer, name=name, traced=replace(layer.traced, name=name))

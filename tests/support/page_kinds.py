"""One page of every kind, made up from numbers, without a network."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from patch_maps import many_maps, patches_of
from traced_units import UNITS, broken_unit, make_unit, pooled_unit

from kernelviz.arithmetic.costs import compare_costs
from kernelviz.arithmetic.operations import Convolution, Pooling, TransposedConvolution
from kernelviz.arithmetic.sharing import ImageWeights, Sharing
from kernelviz.drawing.changes_page import changes_page
from kernelviz.drawing.comparison_page import comparison_page, make_pairs
from kernelviz.drawing.contact import ContactSheet, contact_page
from kernelviz.drawing.growth import growth_page
from kernelviz.drawing.looks import LOOKS
from kernelviz.drawing.mosaic import make_mosaic
from kernelviz.drawing.overlay import make_overlay, overlay_page
from kernelviz.drawing.overview import overview_page
from kernelviz.drawing.patches_page import patches_page
from kernelviz.drawing.sheet_page import mosaic_page
from kernelviz.drawing.sheets import make_sheet
from kernelviz.drawing.statistics_page import statistics_page
from kernelviz.drawing.training_page import make_strip, strip_page
from kernelviz.explain.call_page import _Page
from kernelviz.explain.call_reader import read_call
from kernelviz.explain.chain import chain_page, work_out_chain
from kernelviz.explain.costs import cost_page
from kernelviz.explain.image_page import image_page, part_of
from kernelviz.explain.map_pages import maps_page
from kernelviz.explain.maps import as_maps_of
from kernelviz.explain.matrix import as_matrix, matrix_page
from kernelviz.explain.plots import explaining_page
from kernelviz.explain.pools import pool_pair, pools_page
from kernelviz.explain.sharing import sharing_page
from kernelviz.explain.unit_pages import kernel_and_map_page, unit_page
from kernelviz.explain.uses import uses_page, work_out_uses
from kernelviz.explain.walkthrough import example_numbers, work_out
from kernelviz.filters.filter_pages import bank_page, filter_page
from kernelviz.filters.filtering import apply_filter
from kernelviz.filters.gradient import apply_gradient, gradient_page
from kernelviz.filters.likeness import likeness_page, most_alike
from kernelviz.filters.match_pages import matches_page
from kernelviz.filters.matching import match_kernels
from kernelviz.records import (
    AxisField,
    ClassScore,
    ConvLayer,
    FeatureMaps,
    Field,
    Image,
    KernelBank,
    SeenImage,
    as_bank,
)
from kernelviz.traces import Trace, TracedLayer
from kernelviz.views.comparisons import Comparison, compare_banks
from kernelviz.views.kernel_history import as_history
from kernelviz.views.map_views import highlights_of
from kernelviz.views.pairing import pair_kernels
from kernelviz.views.pixels import as_pixels
from kernelviz.views.statistics import ChannelTally

PHOTO = np.random.default_rng(2).integers(0, 256, (96, 128, 3), dtype=np.uint8)


def make_weight(shape=(32, 3, 3, 3)):
    """A seeded weight."""
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def odd_weight():
    """Kernels within ±1: 3 as good as zero, 5 and 9 broken, 6 constant, 14 too large."""
    weight = np.random.default_rng(3).uniform(-0.8, 0.8, (16, 1, 5, 5))
    weight[3], weight[5, 0, 1, 3], weight[6], weight[9] = 0.004, np.nan, 0.35, np.nan
    weight[14] *= 6
    return weight


def as_image(pixels):
    """A photograph of these pixels."""
    return Image(pixels, "photo.jpg", "photo", None, "0" * 64, "JPEG", "RGB")


def make_maps(shape=(8, 14, 14), *, negative=True):
    """Seeded feature maps of a photograph; one of the non-negative ones is dead."""
    values = make_weight(shape)
    if not negative:
        values = np.maximum(values, 0)
        values[1] = 0.5
    image = as_image(PHOTO)
    seen = SeenImage(PHOTO, (0.0, 0.0), (1.0, 1.0))
    return FeatureMaps(values, "layer1", "Conv2d", values.shape, image=image, seen=seen, input_size=(3, 96, 128))


def call(line, **choices):
    """The page of a call."""
    kernels = choices.pop("kernels", None)
    return _Page(read_call(line, **choices), PHOTO, None if kernels is None else as_bank(kernels), None).panel()


def mosaic(subject, **choices):
    """The page of a mosaic."""
    sheet = make_sheet(subject, **choices)
    return mosaic_page(sheet, make_mosaic(sheet))


def worked(operation):
    """An operation worked out with seeded whole numbers."""
    return work_out(operation, *example_numbers(operation))


def explaining(operation, **choices):
    """The page of such an operation."""
    return explaining_page(worked(operation), at=(0, 0), channel=0, **choices)


def contact():
    """A contact sheet of two images, one with a map that is not finite and one that is dead."""
    sheet = ContactSheet()
    for _ in range(2):
        maps = make_maps((8, 6, 6))
        maps.values[0, 2], maps.values[3] = np.nan, 0.5
        sheet.add(maps)
    return contact_page(sheet).panel


def statistics():
    """Statistics of channels, one of them dead."""
    tally = ChannelTally("layer1")
    values = np.maximum(make_weight((40, 7, 7)), 0)
    for number in range(2):
        others = values * (1 + number)
        others[3] = 0.25
        tally.add(others, f"{number}.png")
    return statistics_page(tally.result())


def growth():
    """A growing network of every family."""
    layers = []
    for at in range(24):
        axis = AxisField(np.arange(64 >> at // 8), np.arange(64 >> at // 8) + at, 3 + 4 * at, 1, 0)
        groups, kernel = ((1, (3, 3)), (1, (1, 1)), (8 + at, (3, 3)), (2, (3, 3)))[at % 4]
        layers.append(
            TracedLayer(
                f"stages.{at // 8}.conv{at}", "Conv2d", "conv", 1, 1, 1,
                output_shape=(8 + at, 64 >> at // 8, 64 >> at // 8), kernel=kernel, groups=groups,
                field=Field((axis, axis)),
            )
        )  # fmt: skip
    return growth_page(Trace((3, 64, 64), tuple(layers), 24, 24, stages=("stages.0", "stages.1", "stages.2")))


def overview():
    """Layers of both kinds, and classes."""
    layers = [make_maps((8, 14, 14)), make_maps((8, 7, 7), negative=False)]
    scores = [ClassScore(number, "a class", 0.2) for number in range(5)]
    return overview_page([highlights_of(each) for each in layers], scores, 2)


def two_weights(shape=(24, 3, 3, 3), *, match=False):
    """Kernels and the same with noise; one died, one was born, one is as good as zero, one is not finite."""
    a = make_weight(shape)
    b = a + 0.2 * np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    a[1], b[2], a[3], b[3] = 1e-4, 1e-4, 0, 1e-4
    b[5].flat[0] = np.nan
    layer = compare_banks(KernelBank(a), KernelBank(b), "conv1")
    if match:
        usable = ~(layer.zero_a | layer.broken), ~(layer.zero_b | layer.broken)
        layer = replace(layer, pairing=pair_kernels(a, b, usable, banks=5))
    return Comparison((layer,), notes=("a note",))


def compared(shape=(24, 3, 3, 3), **choices):
    """The page of two weights of a layer."""
    match = choices.pop("match", False)
    return comparison_page(make_pairs(two_weights(shape, match=match), look=LOOKS["page"], **choices))


def changes():
    """The chart of a network with every family of convolutions; two layers are bitwise the same, one left out."""
    layers = []
    for at in range(24):
        groups, shape = ((1, (8, 3, 3, 3)), (1, (8, 4, 1, 1)), (8, (8, 1, 5, 5)), (2, (8, 4, 3, 3)))[at % 4]
        a = make_weight(shape)
        b = (
            a
            if at in (4, 5)
            else a + 0.04 * (at + 1) * np.random.default_rng(at).standard_normal(shape).astype(np.float32)
        )
        record = ConvLayer(
            f"stages.{at // 8}.conv{at}", "Conv2d", shape[1] * groups, 8, shape[2:], (1, 1), (0, 0), (1, 1), groups,
            bias=False, transposed=False, weight_shape=shape, params=a.size,
        )  # fmt: skip
        layers.append(compare_banks(KernelBank(a, record), KernelBank(b, record), record.name))
    left_out = {"head": "is (8, 3, 3, 3) in A, but (8, 1, 3, 3) in B"}
    return changes_page(Comparison(tuple(layers), left_out=left_out, stages=("stages.0", "stages.1", "stages.2")))


def history_page(shape):
    """A film strip of kernels that walk at random."""
    history = as_history(np.cumsum(np.random.default_rng(0).normal(size=shape), axis=0))
    return strip_page(make_strip(history, history.shown(), 12, (None, "linear"), LOOKS["page"]))[0]


KINDS = {
    "kernels rgb": lambda: mosaic(make_weight()),
    "kernels sum": lambda: mosaic(make_weight(), view="sum"),
    "kernels norm": lambda: mosaic(make_weight(), view="norm"),
    "kernels channels": lambda: mosaic(make_weight((8, 3, 3, 3)), view="channels"),
    "small cells": lambda: mosaic(make_weight((2048, 3, 3, 3)), view="sum"),
    "512 kernels": lambda: mosaic(make_weight((512, 3, 3, 3)), view="sum"),
    "pointwise": lambda: mosaic(make_weight((40, 24, 1, 1))),
    "marks": lambda: mosaic(odd_weight(), view="sum", scale=(-1.0, 1.0)),
    "marks of norms": lambda: mosaic(odd_weight(), view="norm"),
    "viridis": lambda: mosaic(make_weight((8, 3, 3, 3)), view="sum", cmap="viridis"),
    "maps": lambda: mosaic(make_maps()),
    "non-negative maps": lambda: mosaic(make_maps((16, 28, 28), negative=False)),
    "principal components": lambda: mosaic(make_maps((16, 14, 14)), view="pca"),
    "overlay": lambda: overlay_page(make_overlay(make_maps(), 3)),
    "overview": overview,
    "contact": contact,
    "patches": lambda: patches_page(patches_of(many_maps(9)), range(4), as_bank(make_weight((5, 1, 3, 3)))).panel,
    "history": lambda: history_page((12, 16, 3, 7, 7)),
    "history of sums": lambda: history_page((5, 9, 8, 3, 3)),
    "statistics": statistics,
    "growth": growth,
    "changes": changes,
    "two weights": compared,
    "two weights, pointwise": lambda: compared((24, 16, 1, 1)),
    "two weights, matched": lambda: compared(match=True),
    "step": lambda: explaining(Convolution(5, 3, stride=2, padding=1, bias=True), view="step"),
    "step of channels": lambda: explaining(Convolution(4, 3, in_channels=3), view="step"),
    "large step": lambda: explaining(Convolution(25, 5, stride=2), view="step"),
    "steps": lambda: explaining(Convolution(5, 3), view="steps"),
    "pool": lambda: explaining(Pooling(4, 2), view="step"),
    "stamps": lambda: explaining(TransposedConvolution(2, 2, stride=2), view="stamps"),
    "stamps of channels": lambda: explaining(
        TransposedConvolution(2, 2, stride=2, in_channels=2, out_channels=2, bias=True), view="stamps"
    ),
    "numbers of an image": lambda: image_page(part_of(as_pixels(as_image(PHOTO[..., :1].repeat(3, axis=2))))),
    "numbers of colours": lambda: image_page(part_of(as_pixels(as_image(PHOTO[:8, :8])))),
    "pooled unit": lambda: unit_page(pooled_unit()),
    "pooled map": lambda: kernel_and_map_page(pooled_unit()),
    "unit of an image": lambda: unit_page(UNITS["image"]()),
    "unit of one channel": lambda: unit_page(make_unit(1, (5, 5))),
    "dense unit": lambda: unit_page(make_unit(128, bias=0.1)),
    "broken unit": lambda: unit_page(broken_unit(3)),
    "kernel and map": lambda: kernel_and_map_page(UNITS["image"]()),
    "call": lambda: call("Conv2D(32, (3, 3), activation='relu', input_shape=(48, 64, 3))"),
    "call with kernels": lambda: call(
        "Conv2d(3, 8, 3, stride=2, padding=1)", kernels=make_weight((8, 3, 3, 3)), input_size=64
    ),
    "filter": lambda: filter_page([apply_filter(PHOTO, name) for name in ("sobel-x", "gaussian", "laplacian")]),
    "filters": lambda: bank_page(3),
    "matches": lambda: matches_page(match_kernels(make_weight((24, 3, 3, 3)))),
    "gradient": lambda: gradient_page(apply_gradient(PHOTO)),
    "likeness": lambda: likeness_page(most_alike([as_bank(make_weight((24, 3, 3, 3)))], "edge", 5)),
    "kernels, safe": lambda: mosaic(make_weight((12, 3, 3, 3)), palette="safe"),
    "planes, safe": lambda: mosaic(make_weight((40, 3, 3, 3)), palette="safe"),
    "principal components, safe": lambda: mosaic(make_maps((16, 14, 14)), view="pca", palette="safe"),
    "overlay, safe": lambda: overlay_page(make_overlay(make_maps(), 3, palette="safe")),
    "matches, safe": lambda: matches_page(match_kernels(make_weight((24, 3, 3, 3)), gabor=False), palette="safe"),
    "several maps": lambda: maps_page(as_maps_of(worked(Convolution(6, 3, out_channels=2)), relu=True, pool=2)),
    "sharing": lambda: sharing_page(Sharing(5, 3), ImageWeights((10, 10, 3), 100, 5, 300)),
    "uses": lambda: uses_page(work_out_uses(Convolution(5, 3, padding=1))),
    "uses of a large input": lambda: uses_page(work_out_uses(Convolution(40, 5, stride=2, padding=2))),
    "chain": lambda: chain_page(work_out_chain(16, ["conv6"] * 3, padding="same")),
    "both pools": lambda: pools_page(pool_pair(worked(Pooling(4, 2))), (0, 0), 0),
    "costs": lambda: cost_page(compare_costs(56, ["conv7", "3xconv3", "dw7+conv1", "conv7s2"], in_channels=64)),
    "convolution as a matrix": lambda: matrix_page(as_matrix(worked(Convolution(4, 3)))),
}

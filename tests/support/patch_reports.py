"""Small reports with patches made up from numbers, whose pixels a test can work out."""

from __future__ import annotations

import numpy as np
import reports
from patch_maps import make_maps

from kernelviz.files.encoding import jpeg_bytes
from kernelviz.records import AxisField, Field, Image, SeenImage
from kernelviz.report.page import report_page
from kernelviz.report.patches import PatchSource, Ranked, with_patches
from kernelviz.views.patches import PatchTally

SIDE = 32


def pixels_of(number):
    """The pixels of an image of the set; image 0 is the first of the report."""
    if number == 0:
        return reports.make_report(1, SIDE).images[0].pixels
    smooth = np.indices((SIDE, SIDE)).sum(axis=0)[..., None] * np.array([1, 2, 3]) + 20 * number
    return (smooth % 256).astype(np.uint8)


def make_tally(layer, field, channels, *, images=6, units=16, relu=False):
    """The units of images of noise; channel 1 is dead, channel 2 has a tie and few values above its smallest."""
    tally = PatchTally(8)
    for number in range(images):
        values = np.random.default_rng(number).standard_normal((channels, units, units)).astype(np.float32)
        values = np.maximum(values, 0) if relu else values
        values[1] = 0.5
        values[2] = 0
        if number < 3:
            values[2, 1, 1] = 3 - (number == 2)
        image = Image(pixels_of(number), f"set {number}.png", "", None, f"{number:064}", "PNG", "RGB")
        seen = SeenImage(pixels_of(number), (0.0, 0.0), (1.0, 1.0))
        tally.add(make_maps(values, number, pixels=SIDE, field=field, layer=layer, image=image, seen=seen))
    return tally


def even(size, jump, units, *, mixed=False):
    """Evenly spaced fields, as those of the layers of the made-up report."""
    start = -(size // 2)
    first = start + jump * np.arange(units)
    axis = AxisField(np.maximum(first, 0), np.minimum(first + size - 1, SIDE - 1), size, jump, start)
    return Field((axis, axis), mixed)


def everywhere(units):
    """Units that all read the whole image."""
    axis = AxisField(np.zeros(units, int), np.full(units, SIDE - 1), SIDE, None, None)
    return Field((axis, axis), mixes_image=True)


def tallies():
    """The patches of five of its layers: small fields, larger ones, beyond the image, and all of it."""
    return {
        "stem": make_tally("stem", even(3, 2, 16), 6),
        "blocks.0.dw": make_tally("blocks.0.dw", even(7, 2, 16), 6, relu=True),
        "blocks.0.pw": make_tally("blocks.0.pw", even(19, 2, 16), 12),
        "blocks.1.conv": make_tally("blocks.1.conv", even(71, 8, 4), 4, units=4),
        "blocks.1.grouped": make_tally("blocks.1.grouped", everywhere(16), 4),
    }


def make_source(names=None):
    """The patches of six images, of which the first is in the report; ``names`` replaces names of images."""
    found = {name: Ranked(tally.result(), tally.numbers) for name, tally in tallies().items()}
    images = {number: ((names or {}).get(number, f"set {number}.png"), f"{number:064}") for number in range(6)}
    reasons = {"attention": "The receptive field of attention is not known. An attention mixes all places."}
    return PatchSource(found, reasons, images, 6, lambda ranked, image: pixels_of(ranked.numbers[image]), jpeg_bytes)


def make_report(count=1, *, most=3_000_000, names=None, **more):
    """The made-up report with patches."""
    return with_patches(reports.make_report(count, SIDE, renderer=report_page, **more), make_source(names), most)

"""Maps with receptive fields, patches made of them, and the same patches by brute force."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from kernelviz.records import AxisField, FeatureMaps, Field, Image, SeenImage, Source
from kernelviz.views.patches import PatchTally, crop_of


def make_field(units, pixels, *, size=7, jump=4, offset=-3, mixes_image=False):
    """Evenly spaced receptive fields of a square map in a square image."""
    first = offset + jump * np.arange(units)
    axis = AxisField(np.maximum(first, 0), np.minimum(first + size - 1, pixels - 1), size, jump, offset)
    return Field((axis, axis), mixes_image)


def make_image(number, pixels=32):
    """An image of noise, and what the network sees of it."""
    noise = np.random.default_rng(number).integers(0, 256, (pixels, pixels, 3), dtype=np.uint8)
    image = Image(
        noise, f"image-{number}.png", f"image-{number}", f"image-{number}.png", f"{number:064d}", "PNG", "RGB"
    )
    return image, SeenImage(noise, (0.0, 0.0), (1.0, 1.0))


def make_maps(values, number, *, pixels=32, field=None, layer="layer1", **more):
    """The maps of one image."""
    image, seen = make_image(number, pixels)
    field = field or make_field(values.shape[1], pixels)
    source = Source("resnet18", "resnet18, weights of a.pth", "resnet18.a", 1)
    facts = {"layer": layer, "image": image, "seen": seen, "input_size": (3, pixels, pixels), "source": source}
    return FeatureMaps(values, field=field, **(facts | more))


def many_maps(count=6, channels=5, units=8, *, levels=None, seed=0, **more):
    """The maps of several images; with ``levels`` only so many values, so that many are equal."""
    numbers = np.random.default_rng(seed)
    for number in range(count):
        values = numbers.standard_normal((channels, units, units)).astype(np.float32)
        if levels is not None:
            values = np.floor(values * levels).astype(np.float32) / levels
        yield make_maps(values, number, **more)


def cut(patches, channels, pixels=32):
    """The patches with the crops of these channels, out of the images of noise."""
    crops = {}
    for place in patches.places_of(channels):
        number = int(patches.digests[place[0]])
        crops[place] = patches.cut(place, make_image(number, pixels)[1].pixels)
    return replace(patches, crops=crops)


def patches_of(maps, channels=range(4), *, pixels=32, **choices):
    """The patches of some maps, cut for these channels."""
    tally = PatchTally(**choices)
    for each in maps:
        tally.add(each)
    return cut(tally.result(), channels, pixels)


def brute_force(every, count, *, per_image=1, sign=1, apart=(1, 1)):
    """For each channel the values and the places (image, row, column) of the best units, by sorting all of them."""
    values = np.stack([maps.values for maps in every])  # (N, C, H, W)
    result = []
    for channel in range(values.shape[1]):
        of_channel = values[:, channel].astype(np.float64)
        finite = np.isfinite(of_channel)
        worst = (of_channel[finite].min() if sign > 0 else of_channel[finite].max()) if finite.any() else None
        order = np.argsort(
            np.where(finite, -sign * of_channel, np.inf), axis=None, kind="stable"
        )  # C order: ties by place
        chosen = []
        for image, row, column in zip(*(axis.tolist() for axis in np.unravel_index(order, finite.shape)), strict=True):
            if len(chosen) == min(count, len(every) * per_image) or not finite[image, row, column]:
                break
            near = [
                one for _, one in chosen
                if one[0] == image and abs(one[1] - row) < apart[0] and abs(one[2] - column) < apart[1]
            ]  # fmt: skip
            if not near and sum(one[0] == image for _, one in chosen) < per_image:
                chosen.append((float(of_channel[image, row, column]), (image, row, column)))
        result.append([(value, place) for value, place in chosen if value != worst])
    return result


def as_lists(ranking):
    """A ranking in the form of ``brute_force``."""
    return [
        [(float(value), tuple(place)) for value, place in zip(values, places.tolist(), strict=True) if place[0] >= 0]
        for values, places in zip(ranking.values, ranking.places, strict=True)
    ]


__all__ = [
    "as_lists",
    "brute_force",
    "crop_of",
    "cut",
    "make_field",
    "make_image",
    "make_maps",
    "many_maps",
    "patches_of",
]

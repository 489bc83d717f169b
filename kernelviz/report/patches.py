"""The patches of a report: how many there is room for, and their pixels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from kernelviz.report.contents import LayerPatches, PatchImage
from kernelviz.views.gathered import duplicates_text
from kernelviz.views.patches import (
    border_text,
    choice_text,
    clipping_texts,
    crop_of,
    end_text,
    irregularities,
    reduction_text,
    shrunk,
    ties_text,
)
from kernelviz.wording import counted, sentence

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from kernelviz.records import Array
    from kernelviz.report.contents import Report, ReportImage
    from kernelviz.views.patches import Crop, Patches


TOO_LARGE = "they do not fit into the page; give a larger --max-size"
"""Why the layers of a page have no patches if none fits."""

SHARE = 1 / 3
"""Of the largest size of a page, what is kept for patches if there are any."""

_PIXEL = 0.8 * 3  # bytes of the page for a pixel, of which deflate saves more than base64 adds
_JPEG, _JPEG_HEAD = 0.45, 500  # of a pixel of a JPEG, and of its tables
_PATCH, _IMAGE, _LAYER = 24, 220, 700  # of the numbers of a patch, of the entry of an image, of the texts of a layer
_LEAST_CELLS = 16  # across a patch that is cut out of a reduced image
_MOST_CELLS = 24  # across one that has pixels of its own
_SMALLEST = 56  # pixels across a reduced image
_TRIES = 6


@dataclass(frozen=True)
class Ranked:
    """The patches of one layer; ``numbers`` are the numbers of its images among those of all layers."""

    patches: Patches
    numbers: tuple[int, ...]

    @cached_property
    def indices(self) -> dict[int, int]:
        """The index of each image in the patches, by its number."""
        return {number: index for index, number in enumerate(self.numbers)}


@dataclass(frozen=True)
class PatchSource:
    """The ranked units of each layer, or the reason why it has none, and the images to cut the patches out of.

    ``images`` are names and SHA-256 by number, ``count`` is the number of images that were searched. ``read`` returns the
    pixels uint8 (H, W, 3) of an image of a layer as the network saw them, given its index there. ``encode`` makes a JPEG of
    pixels.
    """

    layers: Mapping[str, Ranked]
    reasons: Mapping[str, str]
    images: Mapping[int, tuple[str, str | None]]
    count: int
    read: Callable[[Ranked, int], Array]
    encode: Callable[[Array], bytes]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Choice:
    """What a page has of the patches: how many of a channel, of how many channels of each layer, and of which pictures.

    Pictures are reduced by ``scale``, and JPEGs if ``lossy``.
    """

    patches: int
    scale: int
    lossy: bool
    channels: int


@dataclass(frozen=True)
class _Layer:
    """A layer of the report with its ranked units; of its ``channels`` the first ones are the most prominent."""

    name: str
    ranked: Ranked
    shown: tuple[int, ...]

    @cached_property
    def channels(self) -> tuple[int, ...]:
        """The shown channels, those whose patches are highest above their mean first."""
        found = self.ranked.patches
        order = {channel: at for at, channel in enumerate(found.prominent(len(found.mean)))}
        return tuple(sorted(self.shown, key=lambda channel: (order.get(channel, len(order)), channel)))

    @cached_property
    def sides(self) -> tuple[int, int]:
        """Rows and columns of the largest patch, as it is drawn."""
        found = self.ranked.patches
        boxes = found.highest.boxes[found.places[..., 0] >= 0]
        if not len(boxes):
            return 1, 1
        sides = (boxes[:, [1, 3]] - boxes[:, [0, 2]]).max(axis=0) + 1
        if found.exceeds_image and found.input_size:
            sides = np.minimum(sides, found.input_size[1:])
        return int(sides[0]), int(sides[1])

    def reduced(self, choice: _Choice) -> int:
        """By how much its patches are reduced; 0 if they are cut out of the images."""
        side = max(self.sides)
        if choice.scale == 1 or side >= _LEAST_CELLS * choice.scale:
            return 0
        return -(-side // _MOST_CELLS)

    def numbers(self, choice: _Choice) -> Array:
        """(n,): for each patch the number of its image."""
        places = self.ranked.patches.places[list(self.channels[: choice.channels]), : choice.patches, 0]
        return np.asarray(self.ranked.numbers, np.int64)[places[places >= 0]]


def with_patches(report: Report, source: PatchSource, most: int) -> Report:
    """The report with as many patches as a page of ``most`` bytes has room for, and notes about what is left out.

    Images are read again one by one, those alone that have patches.
    """
    layers = [
        _Layer(layer.name, source.layers[layer.name], layer.shown)
        for layer in report.layers if layer.name in source.layers
    ]  # fmt: skip
    bare = replace(
        report, notes=(*report.notes, *source.notes), patch_set=source.count,
        recipe={**report.recipe, "patches": _recipe(source)} if source.layers else report.recipe,
        layers=tuple(replace(layer, without_patches=source.reasons.get(layer.name, "")) for layer in report.layers),
    )  # fmt: skip
    if not layers:
        return bare
    room: float = most - len(bare.html.encode("utf-8"))
    for _ in range(_TRIES):
        choice = _chosen(report, layers, source, room)
        if choice is None:
            break
        done = _made(bare, layers, source, choice)
        excess = len(done.html.encode("utf-8")) - most
        if excess <= 0:
            return done
        room -= 1.1 * excess + 0.02 * room
    note = f"No patches are shown: {TOO_LARGE}"
    cut = tuple(
        replace(layer, without_patches=layer.without_patches or TOO_LARGE) if layer.name in source.layers else layer
        for layer in bare.layers
    )
    return replace(bare, notes=(*bare.notes, note), layers=cut)


def _chosen(report: Report, layers: Sequence[_Layer], source: PatchSource, room: float) -> _Choice | None:
    """The most patches that fit: reduced before fewer per channel, and fewer before those of fewer channels."""
    side = max(layer.ranked.patches.input_size[-1] if layer.ranked.patches.input_size else 224 for layer in layers)
    every = max(len(layer.shown) for layer in layers)
    most = max(layer.ranked.patches.values.shape[1] for layer in layers)
    scales = [scale for scale in (1, 2, 3, 4) if side >= _SMALLEST * scale] or [1]
    steps = [(most, scale, False) for scale in scales[:2]]
    steps += [(count, scale, True) for count in dict.fromkeys((most, min(4, most))) for scale in scales[1:]]
    there = {image.sha256 for image in report.images} - {None}
    free = {number for number, (_, digest) in source.images.items() if digest in there}
    choice = _Choice(most, 1, lossy=False, channels=every)
    for count, scale, lossy in steps:
        choice = _Choice(count, scale, lossy, every)
        if _bytes_of(layers, choice, free) <= room:
            return choice
    low, high = 0, every
    while low < high:
        middle = (low + high + 1) // 2
        if _bytes_of(layers, replace(choice, channels=middle), free) <= room:
            low = middle
        else:
            high = middle - 1
    return replace(choice, channels=low) if low else None


def _bytes_of(layers: Sequence[_Layer], choice: _Choice, free: set[int]) -> float:
    """About how many bytes of a page the patches take; the images ``free`` are in it already."""
    numbers: set[int] = set()
    total = area = 0.0
    for layer in layers:
        found = layer.numbers(choice)
        numbers.update(found.tolist())
        reduced, (rows, columns) = layer.reduced(choice), layer.sides
        pixels = -(-rows // reduced) * -(-columns // reduced) if reduced else 0
        total += _LAYER + len(found) * (_PATCH + _PIXEL * pixels)
        area = max(area, int(np.prod(layer.ranked.patches.input_size[1:])) if layer.ranked.patches.input_size else 0)
    area /= choice.scale**2
    picture = _JPEG_HEAD + _JPEG * area if choice.lossy else _PIXEL * area
    return total + _IMAGE * len(numbers) + picture * len(numbers - free)


def _made(report: Report, layers: Sequence[_Layer], source: PatchSource, choice: _Choice) -> Report:
    """The report with these patches and their pixels."""
    cutting = _Cutting(layers, source, choice, report.images)
    numbers = sorted({number for layer in layers for number in layer.numbers(choice).tolist()})
    for number in numbers:
        cutting.read(number)
    order = {number: at for at, number in enumerate(numbers)}
    by_name = {layer.name: _patches_of(layer, cutting, order) for layer in layers}
    done = tuple(replace(layer, patches=by_name.get(layer.name)) for layer in report.layers)
    images = tuple(cutting.images[number] for number in numbers)
    return replace(
        report, layers=done, patch_images=images, notes=(*report.notes, *_left_out(report, layers, choice, images)),
        recipe={**report.recipe, "patches": _recipe(source) | _recipe_of(choice, images)},
    )  # fmt: skip


def _recipe(source: PatchSource) -> dict[str, object]:
    """What the recipe of the page states of the patches: all their images together, and how they are chosen."""
    first = max((ranked.patches for ranked in source.layers.values()), key=lambda found: len(found.images))
    return {"image": first.identity, "per_image": first.per_image, "inside": first.inside}


def _recipe_of(choice: _Choice, images: Sequence[PatchImage]) -> dict[str, object]:
    """The images that are shown one by one."""
    shown = [{"name": image.name, "sha256": image.sha256} for image in images]
    return {"patches": choice.patches, "images": shown}


class _Cutting:
    """The images and crops of a page, cut image by image."""

    def __init__(
        self, layers: Sequence[_Layer], source: PatchSource, choice: _Choice, shown: Sequence[ReportImage]
    ) -> None:
        self.layers, self.source, self.choice = layers, source, choice
        self.kept = {layer.name: _kept(layer, choice) for layer in layers}
        self.there: dict[tuple[str | None, tuple[int, ...]], int] = {
            (image.sha256, image.pixels.shape[:2]): at for at, image in enumerate(shown) if image.sha256
        }
        self.images: dict[int, PatchImage] = {}
        self.crops: dict[str, dict[tuple[int, int], Array]] = {layer.name: {} for layer in layers}

    def read(self, number: int) -> None:
        """Read an image again, and keep what is shown of it."""
        ranked = next(layer.ranked for layer in self.layers if number in layer.ranked.indices)
        pixels = self.source.read(ranked, ranked.indices[number])
        name, digest = self.source.images[number]
        size = (pixels.shape[0], pixels.shape[1])
        whole = crop_of(pixels, (0, size[0] - 1, 0, size[1] - 1))
        if (shown := self.there.get((digest, size))) is not None:
            self.images[number] = PatchImage(name, size, shown=shown, sha256=digest)
        else:
            scale = self.choice.scale
            small = _reduced(whole, scale)
            jpeg = self.source.encode(small) if self.choice.lossy else None
            self.images[number] = PatchImage(name, size, small, scale, sha256=digest, jpeg=jpeg)
        for layer in self.layers:
            if layer.reduced(self.choice) and number in layer.ranked.indices:
                self._cut(layer, number, pixels)

    def _cut(self, layer: _Layer, number: int, pixels: Array) -> None:
        """Keep the patches of a layer that are of this image."""
        found, image = self.kept[layer.name], layer.ranked.indices[number]
        channels = np.array(layer.channels[: self.choice.channels])
        for at, rank in np.argwhere(found.places[channels, :, 0] == image).tolist():
            channel = int(channels[at])
            crop = crop_of(pixels, tuple(found.highest.boxes[channel, rank].tolist()))
            self.crops[layer.name][channel, rank] = _reduced(_drawn(crop, found), layer.reduced(self.choice))


def _kept(layer: _Layer, choice: _Choice) -> Patches:
    """The patches of a layer with at most so many of a channel."""
    found = layer.ranked.patches
    count = min(choice.patches, found.possible)
    best = found.highest
    best = replace(best, values=best.values[:, :count], places=best.places[:, :count], boxes=best.boxes[:, :count])
    return replace(found, highest=best, lowest=None)


def _drawn(crop: Crop, found: Patches) -> Crop:
    """The patch as it is drawn: its part inside alone if fields are larger than the image."""
    return replace(crop, box=crop.inside) if found.exceeds_image else crop


def _reduced(crop: Crop, by: int) -> Array:
    return shrunk(crop, by)[0] if by > 1 and crop.pixels.size else crop.pixels


def _patches_of(layer: _Layer, cutting: _Cutting, order: Mapping[int, int]) -> LayerPatches:
    """The patches of a layer as the page has them."""
    choice, found, crops = cutting.choice, cutting.kept[layer.name], cutting.crops[layer.name]
    channels = tuple(sorted(layer.channels[: choice.channels]))
    chosen, best, reduced = list(channels), found.highest, layer.reduced(choice)
    places = best.places[chosen].astype(np.int32)
    images = np.array([order.get(number, -1) for number in layer.ranked.numbers], np.int32)
    places[..., 0] = np.where(places[..., 0] >= 0, images[places[..., 0]], -1)
    ends = {channel: end_text(found, best, channel) for channel in channels}
    ties = {channel: ties_text(best, channel) for channel in channels}
    texts = [
        border_text(found, channels), *clipping_texts(found), _reduction(reduced, choice),
        *irregularities(replace(found, duplicates=()), channels),
    ]  # fmt: skip
    return LayerPatches(
        channels=channels, values=best.values[chosen].astype(np.float32), places=places,
        boxes=best.boxes[chosen].astype(np.int32), choice=choice_text(found), reduced=max(1, reduced),
        crops=tuple(crops[key] for key in sorted(crops)) if reduced else None,
        ties={channel: text for channel, text in ties.items() if text},
        ends={channel: text for channel, text in ends.items() if text},
        dead=tuple(channel for channel in channels if found.dead[channel]),
        clipped=found.exceeds_image, framed=found.covers_image,
        notes=tuple(sentence(text) for text in texts if text),
    )  # fmt: skip


def _reduction(reduced: int, choice: _Choice) -> str:
    """How the patches of a layer are made smaller; empty if they are not."""
    text = reduction_text(reduced or choice.scale)
    return f"{text}, from compressed images (JPEG)" if choice.lossy and not reduced else text


def _left_out(report: Report, layers: Sequence[_Layer], choice: _Choice, images: Sequence[PatchImage]) -> Iterator[str]:
    """Notes about the patches that are left out or reduced, and about the images they are of."""
    every = sum(len(layer.shown) for layer in layers)
    shown = sum(min(choice.channels, len(layer.shown)) for layer in layers)
    most = max(layer.ranked.patches.possible for layer in layers)
    if shown < every:
        yield (
            f"the patches of {shown:,} of {counted(every, 'channel')} are shown, those that are highest above their "
            "channel's mean; a larger --max-size includes more"
        )
    if choice.patches < most:
        yield f"{choice.patches} of {most} patches of a channel are shown"
    pictures = sum(image.pixels is not None for image in images)
    if choice.scale > 1 and pictures:
        have = counted(pictures, "image with patches is", "images with patches are")
        lossy = ", and compressed (JPEG)" if choice.lossy else ""
        yield f"{have} reduced: a pixel is the mean of {choice.scale} × {choice.scale}{lossy}"
    lacking = sum(bool(layer.without_patches) for layer in report.layers)
    if lacking:
        yield f"{counted(lacking, 'layer has', 'layers have')} no patches, for the reason stated there"
    duplicates = layers[0].ranked.patches.duplicates
    if duplicates:
        yield duplicates_text(duplicates)
    yield from layers[0].ranked.patches.notes

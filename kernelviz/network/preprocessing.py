"""Preprocess an image for a network: resize, crop and normalise it as timm does.

The steps are those of ``timm.data.create_transform`` for evaluation. Sizes and offsets are computed first, so that the
mapping from the input back to the image is known, and only the visible part of a long image is enlarged. Measured values
take the same steps in floating point, and are clipped where pixels of 8 bits are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image as Pillow

from kernelviz.errors import InputSizeError, UsageError
from kernelviz.network.model import check_reads_images
from kernelviz.network.weights.names import LARGEST_SIDE
from kernelviz.records import LUMA, Image, SeenImage, check_positive
from kernelviz.views.pixels import drawn_channels
from kernelviz.wording import counted, preprocessing_notes

if TYPE_CHECKING:
    from torch import Tensor

    from kernelviz.network.model import Model
    from kernelviz.records import Array


_MOST_PIXELS = 1 << 23  # of a resized image; of a larger one only the visible part is resized


@dataclass(frozen=True)
class _Plan:
    """The image is resized to ``resized``, and the input begins at ``origin`` in it, which is negative for a border."""

    resized: tuple[int, int]
    origin: tuple[int, int]
    target: tuple[int, int]
    fill: tuple[int, ...]


def prepare(
    model: Model, image: Image, *, input_size: int | Sequence[int] | None = None, crop: bool | None = None
) -> tuple[Tensor, SeenImage]:
    """The input of a network for an image, (1, C, H, W) float32, and the part of the image that the network sees.

    A network of one input channel gets the luma of ITU-R BT.601, 0.299 R + 0.587 G + 0.114 B, of an image of three bands.
    Of more bands than the network has inputs the first are taken.

    Args:
        model: ``source.preprocessing`` is timm's data configuration.
        image: As ``read_image`` returns it.
        input_size: Side, or rows and columns, of the input; None for the size in the model's configuration.
        crop: None follows the configuration. True crops the centre by its ``crop_pct``. False shows the whole image, with a
            border in the mean colour, or stretched if the configuration says ``squash``.

    Raises:
        InputSizeError: the network takes no input of this size, or more channels than the image has bands.
        UsageError: ``input_size`` is not valid.
    """
    plan = _planned(model, image, input_size, crop=crop)
    batch, shown, grey, notes, settings = _made(model, image, plan)
    offset, scale = _input_geometry(image.size, plan)
    notes += _notes(image.size, plan, offset, scale, grey=grey) + preprocessing_notes(model.source.preprocessing)
    return batch, SeenImage(np.broadcast_to(shown, (*plan.target, 3)).copy(), offset, scale, notes, settings)


def prepare_strip(
    model: Model,
    image: Image,
    before: int,
    axis: int,
    *,
    input_size: int | Sequence[int] | None = None,
    crop: bool | None = None,
) -> tuple[Tensor, Array, SeenImage]:
    """The input of a network, with at most ``before`` further rows (axis 0) or columns (axis 1) of the image before it.

    Returns the longer batch and its pixels, uint8, whose last rows and columns are the input itself, and the part of the
    image that the network sees. There are fewer rows or columns before it if the resized image has no more.

    Raises:
        KernelvizError: as ``prepare``.
    """
    seen = prepare(model, image, input_size=input_size, crop=crop)[1]
    plan = _planned(model, image, input_size, crop=crop)
    room = [0, 0]
    room[axis] = max(0, min(before, plan.origin[axis]))
    origin = plan.origin[0] - room[0], plan.origin[1] - room[1]
    longer = replace(plan, origin=origin, target=(plan.target[0] + room[0], plan.target[1] + room[1]))
    batch, shown, *_ = _made(model, image, longer)
    return batch, np.broadcast_to(shown, (*longer.target, 3)), seen


def _planned(model: Model, image: Image, input_size: int | Sequence[int] | None, *, crop: bool | None) -> _Plan:
    """How an image becomes the input of a network.

    Raises:
        KernelvizError: as ``prepare``.
    """
    target = input_size_of(model, input_size)
    facts = model.source.preprocessing
    channels = len(facts["mean"])
    image = image.read_by(channels)
    _check_channels(model, image, channels)
    fraction, mode = facts["crop_pct"], facts.get("crop_mode") or "center"
    if crop is not None:
        fraction = fraction if crop else 1.0
        mode = "center" if crop else {"squash": "squash"}.get(mode, "border")
    fill = tuple(round(255 * min(max(value, 0), 1)) for value in facts["mean"]) if mode == "border" else (0,) * channels
    return _plan(image.size, target, fraction, mode, fill)


def _made(model: Model, image: Image, plan: _Plan) -> tuple[Tensor, Array, bool, tuple[str, ...], dict[str, Any]]:
    """The normalised input, its pixels, whether it was turned into grey, notes about the bands, and the settings."""
    facts = model.source.preprocessing
    channels = len(facts["mean"])
    grey = channels == 1 and image.channels == 3
    used, notes = image.bands_for(channels)
    if image.values is None and channels in (1, 3):
        levels = _resized(image.pixels, plan, facts["interpolation"], grey=grey)
        shown, batch = levels, _normalised(levels, facts["mean"], facts["std"])
    else:
        shares = _resized_shares(image, used, plan, facts["interpolation"], grey=grey)
        shown, batch = _as_levels(shares), _normalised_shares(shares, facts["mean"], facts["std"])
    settings = image.reading_recipe()
    if len(used) < image.channels and "bands" not in settings:
        settings["bands"] = [channel + 1 for channel in used]
    return batch, shown, grey, notes, settings


def _check_channels(model: Model, image: Image, channels: int) -> None:
    """Check that an image has enough bands for a network; grey is enough for three channels.

    Raises:
        InputSizeError: it has not.
    """
    if image.channels < channels and not (image.channels == 1 and channels == 3):
        raise InputSizeError(
            f"{model.source.model} takes images of {channels} channels.",
            f"{image.name} has {counted(image.channels, 'band')}{' as chosen' if image.bands else ''}.",
            "Give a TIFF or .npy file with as many bands, or choose them by --bands, which may repeat one.",
        )


def input_size_of(model: Model, wanted: int | Sequence[int] | None) -> tuple[int, int]:
    """Rows and columns of the input.

    Whether the network takes this size is found out by its forward pass: what timm states about fixed and smallest sizes is
    not true of many networks.

    Raises:
        UsageError: ``wanted`` is not valid, or the network reads no images.
    """
    check_reads_images(model)
    _, height, width = model.input_size
    if wanted is None:
        return height, width
    sides = tuple(wanted) if isinstance(wanted, Sequence) else (wanted, wanted)
    if len(sides) != 2:
        raise UsageError(f"The input size must be one number, or rows and columns, but got {wanted!r}.")
    rows, columns = (check_positive("input size", side) or 0 for side in sides)
    if max(rows, columns) > LARGEST_SIDE:
        raise UsageError(f"The input size must be at most {LARGEST_SIDE}, but got {max(rows, columns)}.")
    return rows, columns


def _plan(size: tuple[int, int], target: tuple[int, int], fraction: float, mode: str, fill: tuple[int, ...]) -> _Plan:
    """How large the image becomes, and where the input is cut out of it.

    ``timm.data.transforms_factory.transforms_imagenet_eval``; the sizes are rounded as torchvision's ``Resize`` and timm's
    ``ResizeKeepRatio`` do it, the origin as ``CenterCrop`` and ``CenterCropOrPad``.
    """
    wanted = (math.floor(target[0] / fraction), math.floor(target[1] / fraction))
    ratios = (size[0] / wanted[0], size[1] / wanted[1])
    if mode == "squash":
        resized = wanted
    elif mode == "border" or wanted[0] != wanted[1]:
        ratio = max(ratios) if mode == "border" else min(ratios)
        resized = (max(1, round(size[0] / ratio)), max(1, round(size[1] / ratio)))
    else:
        short = min(size)
        resized = (int(wanted[0] * size[0] / short), int(wanted[0] * size[1] / short))
    origin = (_origin(resized[0], target[0]), _origin(resized[1], target[1]))
    return _Plan(resized, origin, target, fill)


def _origin(length: int, target: int) -> int:
    return -((target - length) // 2) if length < target else round((length - target) / 2)


def _resized(pixels: Array, plan: _Plan, interpolation: str, *, grey: bool) -> Array:
    """The network's input as levels, uint8 (H, W, 1 or 3)."""
    picture = Pillow.fromarray(pixels)
    if grey:
        picture = picture.convert("L")
    filter_ = Pillow.Resampling[interpolation.upper()]
    (rows, columns), (top, left), (height, width) = plan.resized, plan.origin, plan.target
    first, last = (max(0, top), max(0, left)), (min(rows, top + height), min(columns, left + width))
    if rows * columns <= _MOST_PIXELS:
        part = np.asarray(picture.resize((columns, rows), filter_))[first[0] : last[0], first[1] : last[1]]
    else:
        down, across = picture.height / rows, picture.width / columns
        box = (first[1] * across, first[0] * down, last[1] * across, last[0] * down)
        part = np.asarray(picture.resize((last[1] - first[1], last[0] - first[0]), filter_, box))
    levels = np.full((height, width, len(plan.fill)), plan.fill, np.uint8)
    levels[first[0] - top : last[0] - top, first[1] - left : last[1] - left] = part.reshape(*part.shape[:2], -1)
    return levels


def _normalised(levels: Array, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """``(levels / 255 − mean) / std`` in float32, in the order in which torchvision computes it: bit for bit.

    A lookup table of the 256 levels of each channel makes one thread as fast as several, which the forward pass needs.
    """
    every = torch.arange(256, dtype=torch.uint8).to(torch.float32).div(255).expand(len(mean), 256)
    table = every.sub(torch.tensor(mean)[:, None]).div_(torch.tensor(std)[:, None]).numpy()
    tensor = np.empty((1, len(mean), *levels.shape[:2]), np.float32)
    for channel, looked_up in enumerate(table):
        np.take(looked_up, levels[..., channel], out=tensor[0, channel], mode="clip")
    return torch.from_numpy(tensor)


def _resized_shares(image: Image, used: Sequence[int], plan: _Plan, interpolation: str, *, grey: bool) -> Array:
    """The network's input from 0 to 1, float32 (C, H, W); if there are more channels than bands, they are alike."""
    planes = (image.shares(channel) for channel in used)
    if grey:
        red, green, blue = (plane * np.float32(weight) for plane, weight in zip(planes, LUMA, strict=True))
        planes = (plane for plane in [red + green + blue])
    shares = np.empty((len(plan.fill), *plan.target), np.float32)
    shares[:] = np.array(plan.fill, np.float32)[:, None, None] / 255
    (rows, columns), (top, left), (height, width) = plan.resized, plan.origin, plan.target
    first, last = (max(0, top), max(0, left)), (min(rows, top + height), min(columns, left + width))
    for channel, plane in enumerate(planes):
        part = _resized_plane(plane, plan, Pillow.Resampling[interpolation.upper()], first, last)
        to = slice(None) if len(used) == 1 or grey else slice(channel, channel + 1)
        shares[to, first[0] - top : last[0] - top, first[1] - left : last[1] - left] = part
    return shares


def _resized_plane(
    plane: Array, plan: _Plan, filter_: Pillow.Resampling, first: tuple[int, int], last: tuple[int, int]
) -> Array:
    """The part of one resized channel from ``first`` to ``last``.

    Rows are resized before columns and clipped in between, as Pillow does with 8 bits: negative lobes of a filter would
    otherwise leave the range, and come back into it.
    """
    rows, columns = plan.resized
    picture = Pillow.fromarray(np.ascontiguousarray(plane, np.float32))
    height, width = plane.shape
    if rows * columns <= _MOST_PIXELS:
        across = _clipped(picture.resize((columns, height), filter_))
        down = _clipped(across.resize((columns, rows), filter_))
        return np.asarray(down)[first[0] : last[0], first[1] : last[1]]
    down_scale, across_scale = height / rows, width / columns
    size = last[1] - first[1], last[0] - first[0]
    across = _clipped(
        picture.resize((size[0], height), filter_, (first[1] * across_scale, 0, last[1] * across_scale, height))
    )
    box = (0, first[0] * down_scale, size[0], last[0] * down_scale)
    return np.asarray(_clipped(across.resize(size, filter_, box)))


def _clipped(picture: Pillow.Image) -> Pillow.Image:
    return Pillow.fromarray(np.clip(np.asarray(picture), 0, 1))


def _as_levels(shares: Array) -> Array:
    """The first three channels as levels, uint8 (H, W, 3); of one or two channels the first, (H, W, 1)."""
    levels: Array = np.rint(np.moveaxis(drawn_channels(shares), 0, -1) * 255).astype(np.uint8)
    return levels


def _normalised_shares(shares: Array, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """``(shares − mean) / std``, (1, C, H, W) float32."""
    tensor = torch.from_numpy(shares)[None]
    return tensor.sub(torch.tensor(mean)[:, None, None]).div_(torch.tensor(std)[:, None, None])


def _input_geometry(size: tuple[int, int], plan: _Plan) -> tuple[tuple[float, float], tuple[float, float]]:
    """The offset of the input in the image, and its scale: image pixels per input pixel."""
    scale = (size[0] / plan.resized[0], size[1] / plan.resized[1])
    return (plan.origin[0] * scale[0], plan.origin[1] * scale[1]), scale


def _notes(
    size: tuple[int, int], plan: _Plan, offset: tuple[float, float], scale: tuple[float, float], *, grey: bool
) -> tuple[str, ...]:
    """Notes about resizing and cropping."""
    notes = []
    if grey:
        notes.append("converted to grey (BT.601 luma) for a network with one input channel")
    if min(scale) < 1:
        notes.append(f"enlarged {1 / min(scale):.3g} times to {plan.resized[1]} × {plan.resized[0]} pixels")
    if abs(scale[0] / scale[1] - 1) > 0.01:
        word = "stretched" if min(scale) < 1 else "shrunk unevenly"
        notes.append(f"{word}: {1 / scale[1]:.3g} times its width, {1 / scale[0]:.3g} times its height")
    seen = [min(size[axis], round(plan.target[axis] * scale[axis])) for axis in (0, 1)]
    if max(offset) > 0.5:
        notes.append(f"cropped: the network sees the middle {seen[1]} × {seen[0]} of {size[1]} × {size[0]} pixels")
    if min(plan.origin) < 0:
        notes.append("padded: the image does not fill the input")
    return tuple(notes)

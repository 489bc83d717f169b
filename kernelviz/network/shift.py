"""Move an image and capture what some layers make of it: which maps stay, and which move along."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from kernelviz.errors import UsageError
from kernelviz.network.capture import make_taps, run
from kernelviz.network.inputs import Input, as_input
from kernelviz.network.model import Model
from kernelviz.network.preprocessing import prepare_strip
from kernelviz.network.tracing.trace import receptive_field
from kernelviz.records import Image, as_array
from kernelviz.views.map_views import distinct_channels
from kernelviz.views.pixels import tensor_picture
from kernelviz.views.shifts import (
    AXES,
    MOST_LAYERS,
    USUAL,
    ColumnCounts,
    ShiftedImage,
    ShiftedLayer,
    check_along,
    check_channels,
    check_shifts,
    cosine,
    count_columns,
    inside_cells,
    measured_shifts,
    overlapping,
    peak_of,
)
from kernelviz.wording import shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from kernelviz.network.taps import Tap
    from kernelviz.records import Array, ClassScore, FeatureMaps, SeenImage
    from kernelviz.views.shifts import Along, Fields


@dataclass(frozen=True)
class _Strip:
    """The input with what comes into it when the image moves: ``before`` rows or columns, ``repeated`` of its edge."""

    batch: Tensor
    pixels: Array
    before: int
    room: int
    repeated: int
    axis: int
    size: tuple[int, ...]
    image: Image | None
    seen: SeenImage | None
    notes: tuple[str, ...]

    def input(self, shift: int) -> Input:
        """The input for the image moved by so many pixels."""
        start, length = self.before - shift, self.size[self.axis + 1]
        return Input(self.batch.narrow(self.axis + 2, start, length).clone(), self.image, self.seen)

    def picture(self, shift: int) -> Array:
        """Its pixels (H, W, 3)."""
        start = self.before - shift
        part = slice(start, start + self.size[self.axis + 1])
        return self.pixels[part] if self.axis == 0 else self.pixels[:, part]


def shift_image(
    network: Model | nn.Module,
    image: Image | Tensor,
    by: Sequence[int] | None = None,
    layers: str | Sequence[str] | None = None,
    *,
    channels: int | Sequence[int] | None = None,
    along: Along = "right",
    edge: bool = False,
    input_size: int | Sequence[int] | None = None,
    crop: bool | None = None,
) -> ShiftedImage:
    """Move an image by some pixels of the network's input, and compare the maps of some layers with the unmoved ones.

    The image moves within the photograph: another window of it is cut out, so that real pixels come in. Every shift runs
    in a forward pass of its own, of one image, so that equal sums are equal to the last bit.

    Args:
        network: A ``Model``, or any module that takes one batch of images.
        image: An ``Image`` from ``read_image``, or a tensor (C, H, W) or (1, C, H, W), whose edge is repeated.
        by: The shifts that are drawn, at most eight with 0; every whole shift up to the largest is measured, and at most
            33 of them. By default 0, 1, 2, 4, 8 and 16, as far as the photograph goes.
        layers: As in ``capture_features``, at most six; by default the first convolution, and of the stages the last one
            of each further map size.
        channels: The channel to draw, or one for each layer; by default the one with the largest standard deviation.
        along: ``right`` or ``down``.
        edge: Whether the edge of the image is repeated for shifts beyond the photograph. It is anyway if there is no
            photograph beside the input.
        input_size: As in ``capture_features``.
        crop: As in ``capture_features``.

    Raises:
        UsageError: a shift is beyond the photograph, there are too many shifts or layers, or no such channel.
        KernelvizError: as ``capture_features``.

    Example:
        >>> network = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.ReLU())
        >>> shifted = kernelviz.shift_image(network, torch.rand(3, 32, 32), by=[0, 2, 4], layers="1")
        >>> layer = shifted.layers[0]
        >>> layer.maps.shape, layer.jump
        ((3, 32, 32), 1)
    """
    axis, drawn = check_along(along), None if by is None else check_shifts(by)
    strip = _strip(network, image, max(drawn) if drawn else None, axis, edge=edge, input_size=input_size, crop=crop)
    drawn = drawn or tuple(shift for shift in USUAL if shift <= strip.before)
    plan = make_taps(network, strip.size, layers, batch=strip.input(0).batch)
    taps = _chosen(plan.taps.taps, usual=layers is None)
    numbers = check_channels(channels, len(taps))
    shifts = measured_shifts(drawn)
    of_layers = [_Layer(tap, None if numbers is None else numbers[at], strip, drawn) for at, tap in enumerate(taps)]
    by_name = {each.tap.name: each for each in of_layers}
    classes: list[ClassScore] = []
    for shift in shifts:

        def keep(maps: FeatureMaps, shift: int = shift) -> None:
            if maps.layer in by_name:
                by_name[maps.layer].add(shift, maps)

        scores = run(plan, strip.input(shift), keep)
        if shift in drawn:
            classes += scores[:1]
    given = strip.input(0)
    notes = [*(given.image.notes if given.image else ()), *(given.seen.notes if given.seen else ()), *strip.notes]
    source = next(iter(of_layers)).source
    return ShiftedImage(
        by=drawn,
        measured=shifts,
        along=along,
        room=strip.room,
        repeated=strip.repeated,
        pictures=np.stack([strip.picture(shift) for shift in drawn]),
        layers=tuple(each.result() for each in of_layers),
        classes=tuple(classes) if len(classes) == len(drawn) else (),
        source=source,
        image=given.image,
        seen=given.seen,
        input_size=strip.size,
        notes=tuple(notes),
    )


def _strip(
    network: Model | nn.Module,
    image: Image | Tensor,
    largest: int | None,
    axis: int,
    *,
    edge: bool,
    input_size: int | Sequence[int] | None,
    crop: bool | None,
) -> _Strip:
    """The input and what comes into it.

    Raises:
        UsageError: the photograph ends before the largest shift.
    """
    seen, notes, photograph = None, tuple[str, ...](), image if isinstance(image, Image) else None
    if photograph is not None and isinstance(network, Model):
        batch, pixels, seen = prepare_strip(network, photograph, 1 << 30, axis, input_size=input_size, crop=crop)
        own = seen.pixels.shape[:2]
    else:
        batch = as_input(network, image, input_size=input_size, crop=crop).batch
        if batch.ndim != 4:
            raise UsageError("Only an image of rows and columns can be moved.", hint="Give a tensor (C, H, W).")
        pixels, note = tensor_picture(as_array(batch[0]))
        notes = () if batch.shape[1] in (1, 3) else (note,)
        own = int(batch.shape[2]), int(batch.shape[3])
    room = int(batch.shape[axis + 2]) - own[axis]
    if largest is None:
        largest = max(USUAL) if edge or not room else min(room, max(USUAL))
    if largest > room and room and not edge:
        to = next(name for name, one in AXES.items() if one == axis)
        raise UsageError(
            f"The image can move {to} by at most {room} pixels, but got {largest}.",
            "Beyond that the photograph ends beside what the network sees.",
            "Give smaller shifts, or --edge (edge=True) to repeat its edge.",
        )
    repeated = max(0, largest - room)
    if repeated:
        first = batch.narrow(axis + 2, 0, 1)
        batch = torch.cat([*([first] * repeated), batch], dim=axis + 2)
        pixels = np.concatenate([np.repeat(np.take(pixels, [0], axis=axis), repeated, axis=axis), pixels], axis=axis)
    size = int(batch.shape[1]), *own
    return _Strip(batch, pixels, room + repeated, room, repeated, axis, size, photograph, seen, notes)


def _chosen(taps: Sequence[Tap], *, usual: bool) -> list[Tap]:
    """The layers to show; without a request the first one, and the last one of each further map size.

    Raises:
        UsageError: there are more than six, or one has no map of rows and columns.
    """
    for tap in taps:
        if len(tap.layout.size) != 3:
            raise UsageError(f"The maps of {shown(tap.name)} have three axes.", hint="Choose another layer.")
    if usual:
        last = {tap.layout.size[1:]: tap for tap in taps if tap.layout.size[1:] != taps[0].layout.size[1:]}
        found = [taps[0], *last.values()] if last else [taps[0], *taps[-1:]] if len(taps) > 1 else [*taps]
        return found if len(found) <= MOST_LAYERS else [found[0], *found[1 - MOST_LAYERS :]]
    if len(taps) > MOST_LAYERS:
        raise UsageError(
            f"At most {MOST_LAYERS} layers fit on one page, but {len(taps)} were requested.",
            hint="Name them: -l conv_stem -l blocks.1",
        )
    return list(taps)


class _Layer:
    """The measurements of one layer so far."""

    def __init__(self, tap: Tap, channel: int | None, strip: _Strip, drawn: Sequence[int]) -> None:
        axis = strip.axis
        self.tap, self.axis, self.pixels, self.largest = tap, axis, strip.size[axis + 1], max(drawn)
        self.drawn, self.channel = drawn, -1 if channel is None else channel
        channels = tap.layout.size[0]
        if channel is not None and channel >= channels:
            what = f"{shown(tap.name)} has {channels:,} channels, but got {channel}."
            raise UsageError(what, hint="They are counted from 0.")
        self.field, self.lost, self.mixes_image = _field(tap, axis)
        self.jump = None if self.field is None else self.field[1]
        self.still: Array | None = None
        self.source: Any = None
        self.maps: list[Array] = []
        self.cosines: tuple[dict[int, float], ...] = ({}, {}, {}, {})
        self.columns: dict[int, ColumnCounts] = {}
        self.nonfinite = 0

    def add(self, shift: int, maps: FeatureMaps) -> None:
        """Compare the maps of one shift with those of the first, which are unmoved."""
        values, self.source = maps.values, maps.source
        if self.still is None:
            self.still = values
            if self.channel < 0:
                self.channel = next(iter(distinct_channels(values, 1)), 0)
        if shift in self.drawn:
            self.maps.append(values[self.channel].copy())
            self.nonfinite += int(values.size - np.count_nonzero(np.isfinite(values)))
        still, (stays, moves, stays_centred, moves_centred) = self.still, self.cosines
        stays[shift] = cosine(values, still)
        stays_centred[shift] = cosine(values, still, centred=True)
        if self.field is None or not self.jump or shift % self.jump:
            return
        cells = shift // self.jump
        if cells >= still.shape[self.axis + 1]:
            return
        both = overlapping(values, still, cells, self.axis)
        moves[shift] = cosine(*both)
        moves_centred[shift] = cosine(*both, centred=True)
        if not self.mixes_image:
            self.columns[shift] = count_columns(both, self.field, cells, self.axis, self.pixels)

    def result(self) -> ShiftedLayer:
        """The record of the layer."""
        still = self.still if self.still is not None else np.zeros(self.tap.layout.size, np.float32)
        unmoved = still[self.channel]
        moved = self.largest / self.jump if self.jump else self.largest * unmoved.shape[self.axis] / self.pixels
        read = range(0)
        if self.field is not None:
            read = inside_cells(self.field, unmoved.shape[self.axis], self.pixels - self.largest)
        stays, moves, stays_centred, moves_centred = self.cosines
        finite = still[np.isfinite(still)]
        return ShiftedLayer(
            name=self.tap.name,
            shape=tuple(still.shape),
            channel=self.channel,
            maps=np.stack(self.maps),
            jump=self.jump,
            lost=self.lost,
            mixes_image=self.mixes_image,
            invariance=stays,
            equivariance=moves,
            centred_invariance=stays_centred,
            centred_equivariance=moves_centred,
            columns=self.columns,
            peak=peak_of(unmoved, self.axis, moved, read),
            signed=bool(finite.size and finite.min() < 0),
            nonfinite=self.nonfinite,
        )


def _field(tap: Tap, axis: int) -> tuple[Fields | None, str, bool]:
    """The receptive fields along an axis of the image, why they have no jump, and whether the whole image is mixed in."""
    found = receptive_field(tap.known)
    if found is None or len(found.axes) != 2:
        lost = tap.known.lost if tap.known is not None else ""
        return None, lost or "its receptive fields are not known", False
    field = found.axes[axis]
    if (
        field.jump is None
        or field.offset is None
        or field.size is None
        or len(field.first) != tap.layout.size[axis + 1]
    ):
        why = (
            "a gate, a mean or attention reads the whole image"
            if found.mixes_image
            else "its units are not evenly spaced"
        )
        return None, why, found.mixes_image
    return (field.offset, field.jump, field.size), "", found.mixes_image

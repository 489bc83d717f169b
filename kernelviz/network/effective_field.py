"""Effective receptive fields: the gradient of one unit of a layer with respect to the pixels, over many images."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import torch
from torch import Tensor, nn

from kernelviz.errors import KernelvizError, UsageError
from kernelviz.network.capture import CaptureHooks, StopPassError, fitting, make_taps
from kernelviz.network.failures import broken_pass, cut_gradient
from kernelviz.network.inputs import as_input
from kernelviz.network.model import source_of
from kernelviz.network.tracing.rules import tensors_in
from kernelviz.network.tracing.trace import receptive_field, unsettled
from kernelviz.records import FeatureMaps, Image, shape_text
from kernelviz.views.effective_fields import (
    MOST_FIELDS,
    SHARES,
    EffectiveField,
    centroid_of,
    outside_of,
    smallest_square,
)
from kernelviz.views.gathered import CountedOnce
from kernelviz.views.kernel_views import named_channels
from kernelviz.wording import counted, reason_text, shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from kernelviz.network.capture import CapturePlan
    from kernelviz.network.inputs import Input
    from kernelviz.network.model import Model
    from kernelviz.network.taps import Tap
    from kernelviz.records import Array


def effective_field(
    network: Model | nn.Module,
    images: Image | Tensor | Iterable[Image | Tensor],
    layer: str,
    at: tuple[int, int] | None = None,
    channels: int | str | Sequence[int] | None = None,
    *,
    input_size: int | Sequence[int] | None = None,
    crop: bool | None = None,
) -> EffectiveField:
    """How much each pixel of some images changes one unit of a layer: its effective receptive field.

    For each image the gradient of the unit, the sum of its channels, with respect to the network's input is taken in eval
    mode; its absolute values are summed over the input's channels and averaged over the images, in float64 and in their
    order. Files of the same bytes are counted once. ``outside`` is exactly 0 unless a gate, a mean or attention mixes in
    the whole image.

    Args:
        network: A ``Model``, or any module that takes one batch of images.
        images: ``Image`` values from ``read_image``, or tensors (C, H, W), all of one input size; any iterable of them, of
            which one is held at a time, or a single one.
        layer: As in ``capture_features``, but a single map: a name, ``name#2``, ``name:0`` or ``stage:0``.
        at: The row and column of the unit; by default the middle one, (H // 2, W // 2) of the map.
        channels: The channels that are summed, ``"0-15,40"`` or numbers; by default all.
        input_size: As in ``capture_features``.
        crop: As in ``capture_features``.

    Weights, their gradients, hooks, modes, buffers and the random state stay as they are.

    Raises:
        UsageError: the layer has no single map of rows and columns, there is no such unit or channel, or images differ in
            their input size.
        KernelvizError: as ``capture_features``; or no pixel of any image changes the unit.

    Example:
        >>> network = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.Conv2d(8, 8, 3, padding=1))
        >>> images = [torch.rand(3, 15, 15) for _ in range(4)]
        >>> field = kernelviz.effective_field(network, images, "1", at=(7, 7))
        >>> field.values.shape, field.box, field.outside
        ((15, 15), Box(top=5, bottom=9, left=5, right=9), 0.0)
    """
    tally = FieldTally(network, layer, at, channels, input_size=input_size, crop=crop)
    for image in _several(images):
        tally.add(image)
    count = len(tally.units)
    if count > 1:
        names = ", ".join(unit.tap.exact_name for unit in tally.units[:3])
        what = f"{shown(layer)} stands for {count} maps: {names}{', …' if count > 3 else ''}."
        raise UsageError(what, hint="Name one of them, or use effective_fields.")
    return tally.result()[0]


def effective_fields(
    network: Model | nn.Module,
    images: Image | Tensor | Iterable[Image | Tensor],
    layers: str | Sequence[str] | None = None,
    at: tuple[int, int] | None = None,
    channels: int | str | Sequence[int] | None = None,
    *,
    input_size: int | Sequence[int] | None = None,
    crop: bool | None = None,
) -> tuple[EffectiveField, ...]:
    """The effective receptive fields of several layers, of one forward pass per image and a backward pass per layer.

    ``layers`` are as in ``capture_features``, by default the first convolution and the stages. ``network``, ``images``,
    ``at``, ``channels``, ``input_size`` and ``crop`` are as in ``effective_field``.

    Example:
        >>> network = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.Conv2d(8, 8, 3, padding=1))
        >>> for field in kernelviz.effective_fields(network, torch.rand(3, 15, 15), ["0", "1"]):
        ...     print(field.layer, field.size)
        0 (3, 3)
        1 (5, 5)
    """
    tally = FieldTally(network, layers, at, channels, input_size=input_size, crop=crop)
    for image in _several(images):
        tally.add(image)
    return tally.result()


def _several(images: Any) -> Iterable[Image | Tensor]:
    """The images one by one; a single one may be given without a list."""
    one = isinstance(images, Image) or (isinstance(images, Tensor) and images.ndim < 4)
    return [images] if one else images


def _position(at: tuple[int, int] | None) -> tuple[int, int] | None:
    """The row and column of a unit.

    Raises:
        UsageError: it is not two whole numbers.
    """
    if at is None:
        return None
    try:
        row, column = map(operator.index, at)
    except (TypeError, ValueError):
        raise UsageError(f"A unit is given by two whole numbers, its row and column, but got {at!r}.") from None
    return row, column


@dataclass(frozen=True)
class _Unit:
    """The unit of one layer: what is captured, where it is, and which channels are summed."""

    tap: Tap
    at: tuple[int, int]
    channels: tuple[int, ...] | None

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum of its channels in the layer's output."""
        column = self.tap.layout.maps(tensor)[:, self.at[0], self.at[1]]
        return (column if self.channels is None else column[list(self.channels)]).sum()


class _UnitHooks(CaptureHooks):
    """Takes the unit of each layer during the forward pass, before anything overwrites the layer's output."""

    def __init__(self, plan: CapturePlan, given: Input, units: Sequence[_Unit]) -> None:
        super().__init__(plan, [given], lambda *_: None, to_the_end=False)
        self.units = {unit.tap.name: unit for unit in units}
        self.sums: dict[str, Tensor] = {}
        self.finished = False

    def _catch(self, name: str, values: Any) -> None:
        if self.finished:  # checkpointed layers run again in the backward pass
            return
        run = self.runs[name]
        self.runs[name] += 1
        tensors = tensors_in(values)
        for tap in self.wanted[name].get(run, ()):
            shape, one = tuple(tensors[tap.part].shape) if tap.part < len(tensors) else (), tap.layout.shape
            rows = tap.layout.has_rows and shape[1:] == one[1:] and bool(shape[:1] > (0,))
            if shape != one and not rows:
                what = f"The output of the layer {shown(tap.name)} has an unexpected shape."
                raise KernelvizError(
                    what, f"The traced forward pass had {shape_text(one)}, this one {shape_text(shape)}."
                )
            tensor = tensors[tap.part] if shape == one else tensors[tap.part][:1]
            self.sums[tap.name] = self.units[tap.name].sum(tensor)
            self.left -= 1
        if not self.left:
            self.finished = True
            raise StopPassError


class FieldTally:
    """The effective receptive fields of some layers, image by image; memory does not grow with their number.

    The arguments are those of ``effective_fields``. ``add`` takes one image, ``result`` returns the fields.

    Example:
        >>> tally = kernelviz.FieldTally(torch.nn.Conv2d(3, 8, 3), "Conv2d")
        >>> for _ in range(3):
        ...     tally.add(torch.rand(3, 16, 16))
        >>> field = tally.result()[0]
        >>> len(field.images), field.values.shape
        (3, (16, 16))
    """

    def __init__(
        self,
        network: Model | nn.Module,
        layers: str | Sequence[str] | None = None,
        at: tuple[int, int] | None = None,
        channels: int | str | Sequence[int] | None = None,
        *,
        input_size: int | Sequence[int] | None = None,
        crop: bool | None = None,
    ) -> None:
        self.network, self.layers, self.at, self.channels = network, layers, _position(at), channels
        self.input_size, self.crop = input_size, crop
        self.images = CountedOnce()
        self.units: tuple[_Unit, ...] = ()
        self._plan: CapturePlan | None = None
        self._sums: dict[str, Array] = {}
        self._zero: dict[str, int] = {}
        self._nonfinite: dict[str, int] = {}
        self._cut: set[str] = set()
        self._failed: dict[str, KernelvizError] = {}

    def __repr__(self) -> str:
        return f"FieldTally({self.layers!r}, {counted(len(self.images), 'image')})"

    def plan(self, size: tuple[int, ...], batch: Tensor | None = None) -> CapturePlan:
        """Find the units for inputs of this size, (C, H, W), once; ``batch`` is as in ``make_taps``.

        Raises:
            UsageError: as ``effective_field``.
            KernelvizError: as ``capture_features``.
        """
        if self._plan is None:
            if len(size) != 3:
                what = f"An effective receptive field has rows and columns, but the input is {shape_text(size)}."
                raise UsageError(what, hint="Choose a network of images, (C, H, W).")
            plan = make_taps(self.network, size, self.layers, batch=batch)
            plan.check_complete()
            units = tuple(self._unit(tap) for tap in plan.taps.taps)
            if len(units) > MOST_FIELDS:
                raise UsageError(
                    f"At most {MOST_FIELDS} layers are compared at once, but {len(units)} were requested.",
                    hint="Name them: -l conv_stem -l blocks.1",
                )
            self._plan, self.units = plan, units
            self._sums = {unit.tap.name: np.zeros(size[1:]) for unit in units}
            self._zero, self._nonfinite = dict.fromkeys(self._sums, 0), dict.fromkeys(self._sums, 0)
        if size != self._plan.input_size:
            first = shape_text(self._plan.input_size)
            what = f"All images must have one input size, but got {shape_text(size)} after {first}."
            raise UsageError(what, hint="Resize or crop them, or give Image values.")
        return self._plan

    def _unit(self, tap: Tap) -> _Unit:
        """The unit of a layer, and its channels.

        Raises:
            UsageError: the layer has none, or no such channels.
        """
        if len(tap.layout.size) != 3:
            raise UsageError(f"The maps of {shown(tap.name)} have three axes.", hint="Choose another layer.")
        total, rows, columns = tap.layout.size
        at = (rows // 2, columns // 2) if self.at is None else self.at
        if not (0 <= at[0] < rows and 0 <= at[1] < columns):
            what = f"{shown(tap.name)} has {rows} × {columns} units, but got row {at[0]}, column {at[1]}."
            raise UsageError(what, hint="Rows and columns count from 0.")
        if self.channels is None:
            return _Unit(tap, at, None)
        wanted = [self.channels] if isinstance(self.channels, int) else self.channels
        try:
            return _Unit(tap, at, named_channels(wanted, total))
        except UsageError as error:
            raise UsageError(f"{tap.name}: {error.what}", error.why, error.hint) from error

    def add(self, image: Image | Tensor) -> None:
        """Add the gradients of one image.

        Raises:
            UsageError: as ``effective_field``.
            KernelvizError: the forward pass failed, or the backward passes of all layers; nothing was added.
        """
        given = as_input(self.network, image, input_size=self.input_size, crop=self.crop)
        plan = self.plan(given.size, given.batch)
        source = source_of(self.network)
        facts = FeatureMaps(np.zeros(0), image=given.noted_image, input_size=given.size, source=source)
        if self.images.is_copy(facts, self.images.next_place):
            return
        gradients = self._gradients(plan, given)
        self.images.add(facts)
        for name, values in gradients.items():
            if not np.isfinite(values).all():
                self._nonfinite[name] += 1
            elif not values.any():
                self._zero[name] += 1
            else:
                self._sums[name] += values

    def _gradients(self, plan: CapturePlan, given: Input) -> dict[str, Array]:
        """(H, W) of each layer: the absolute gradient of its unit, summed over the input's channels, in float64."""
        module, hooks = plan.module, _UnitHooks(plan, given, self.units)
        with plan.preserved.undisturbed(), torch.inference_mode(mode=False), torch.enable_grad():
            pixels = fitting(given.batch, module).requires_grad_()
            try:
                with hooks.hooks(module):  # the network gets a copy, which its first module may overwrite
                    given.further.call(module, pixels.clone(), partial(fitting, module=module, is_image=False))
            except StopPassError:
                pass
            except (KernelvizError, KeyboardInterrupt):
                raise
            except Exception as error:
                raise broken_pass(error, module, given.size, "") from error
            hooks.check_all_ran()
            hooks.finished = True
            found: dict[str, Array] = {}
            failed: dict[str, KernelvizError] = {}
            for left, (name, unit) in enumerate(reversed(hooks.sums.items())):
                try:
                    gradient = self._gradient(name, unit, pixels, keep=left + 1 < len(hooks.sums))
                except KernelvizError as error:
                    failed[name] = error
                    continue
                if gradient is None:
                    self._cut.add(name)
                found[name] = np.zeros(given.size[1:]) if gradient is None else _size_of(gradient)
        if not found:
            raise failed[min(failed, key=list(hooks.sums).index)]
        self._failed = failed | self._failed
        return found

    @staticmethod
    def _gradient(name: str, unit: Tensor, pixels: Tensor, *, keep: bool) -> Tensor | None:
        """The gradient of a unit with respect to the input alone; None if it does not depend on it."""
        if not unit.requires_grad:
            return None
        try:
            return torch.autograd.grad(unit, pixels, retain_graph=keep, allow_unused=True)[0]
        except torch.OutOfMemoryError:
            raise
        except (RuntimeError, NotImplementedError) as error:
            what = f"The gradient of the layer {shown(name)} cannot be computed."
            raise KernelvizError(what, reason_text(error)) from error

    def result(self) -> tuple[EffectiveField, ...]:
        """The effective receptive fields of all layers, in the order of the forward pass.

        Raises:
            UsageError: no image was added.
            KernelvizError: as ``field_of``.
        """
        if not len(self.images):
            raise UsageError("No image was added.", hint="Give at least one.")
        return tuple(self.field_of(unit.tap.name) for unit in self.units)

    def field_of(self, layer: str) -> EffectiveField:
        """The effective receptive field of one of the layers.

        Raises:
            KernelvizError: no pixel of any image changes its unit, or its gradient cannot be computed.
        """
        if layer in self._failed:
            raise self._failed[layer]
        unit = next(each for each in self.units if each.tap.name == layer)
        zero, nonfinite = self._zero[layer], self._nonfinite[layer]
        used = len(self.images) - zero - nonfinite
        if not used:
            self._refuse(unit, zero, nonfinite)
        values = self._sums[layer] / used
        found = _receptive_field(unit)
        left_out = [
            *([f"{zero:,} of {counted(len(self.images), 'image')} left out: no gradient anywhere"] if zero else []),
            *(
                [f"{nonfinite:,} of {counted(len(self.images), 'image')} left out: a gradient that is not finite"]
                if nonfinite
                else []
            ),
        ]
        return EffectiveField(
            values=values,
            layer=layer,
            unit=unit.at,
            squares=tuple(smallest_square(values, share) for share in SHARES),
            centroid=centroid_of(values),
            outside=outside_of(values, found["box"]),
            images=self.images.names,
            source=source_of(self.network),
            notes=(*left_out, *self.images.notes()),
            shape=unit.tap.layout.size,
            channels=unit.channels,
            zero=zero,
            nonfinite=nonfinite,
            input_size=None if self._plan is None else self._plan.input_size,
            identity=self.images.as_recipe(),
            **found,
        )

    def _refuse(self, unit: _Unit, zero: int, nonfinite: int) -> NoReturn:
        where = f"unit {unit.at[0]}, {unit.at[1]} of {shown(unit.tap.name)}"
        if nonfinite:
            why = f"It is not finite in {nonfinite:,} of {counted(len(self.images), 'image')}, and zero in {zero:,}."
            raise KernelvizError(f"The {where} has no usable gradient.", why)
        if unit.tap.name in self._cut:
            raise cut_gradient(where)
        many = counted(len(self.images), "image")
        why = f"No pixel changes it, in {many}: its gradient is zero everywhere."
        raise KernelvizError(f"Nothing reaches {where}.", why, "Choose another unit (--at, at=) or other channels.")


def _size_of(gradient: Tensor) -> Array:
    """(H, W): absolute values (1, C, H, W), summed over the channels in float64."""
    return np.asarray(gradient[0].detach().cpu().to(torch.float64).abs().sum(dim=0).numpy())


def _receptive_field(unit: _Unit) -> dict[str, Any]:
    """The fields of an ``EffectiveField`` about the receptive field of a unit."""
    tap, (row, column) = unit.tap, unit.at
    found = receptive_field(tap.known)
    _, rows, columns = tap.layout.size
    if found is None or tuple(len(axis.first) for axis in found.axes) != (rows, columns):
        lost = "" if tap.known is None else tap.known.lost or unsettled(tap.known)
        return {"box": None, "lost": lost or "the layer's rows and columns are not those of the image"}
    down, across = found.axes
    sizes = None if down.size is None or across.size is None else (down.size, across.size)
    if tap.known is not None and tap.known.uncertain:
        sizes = None
    return {
        "box": found.box(row, column),
        "size": sizes,
        "middle": None if tap.centres is None else (float(tap.centres[0][row]), float(tap.centres[1][column])),
        "mixes_image": found.mixes_image,
        "lost": tap.known.lost if tap.known is not None else "",
    }

"""The channels of a layer as linear weights on the pixels, and how much of their real output over images they explain."""

from __future__ import annotations

from collections.abc import Sequence, Sized
from dataclasses import dataclass, replace
from math import lcm, prod
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import torch

from kernelviz.errors import KernelvizError, UsageError
from kernelviz.network.affine import AffineCopy, is_plain
from kernelviz.network.capture import make_taps
from kernelviz.network.failures import cut_gradient
from kernelviz.network.inputs import as_input
from kernelviz.network.model import source_of
from kernelviz.network.snapshot import preserved_random_state
from kernelviz.network.taps import choose_taps
from kernelviz.network.tracing.trace import receptive_field
from kernelviz.records import Box, FeatureMaps, Image
from kernelviz.views.gathered import Gathered
from kernelviz.views.linear_weights import HALF, CorrelationTally, LinearWeights, check_slopes
from kernelviz.wording import counted, inflected, shown

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

    from kernelviz.network.capture import CapturePlan
    from kernelviz.network.inputs import Input
    from kernelviz.network.model import Model
    from kernelviz.network.taps import Tap
    from kernelviz.records import Array, AxisField
    from kernelviz.views.linear_weights import Slopes


PERIOD = 32
"""Sizes that differ by a multiple of it, as most strides do, are padded alike; a smaller input of such a size is used."""
AT_ONCE = 1 << 20
"""Values of the input that are differentiated in one batch."""
ALIKE = 1e-9


@dataclass(frozen=True)
class _Fields:
    """The receptive fields of a map in an image of some size, (rows, columns), and the units that have theirs inside."""

    axes: tuple[AxisField, AxisField]
    size: tuple[int, ...]
    inside: tuple[range, range]

    @property
    def unit(self) -> tuple[int, int]:
        """The unit in the middle of those."""
        rows, columns = self.inside
        return rows[len(rows) // 2], columns[len(columns) // 2]

    def box(self, unit: tuple[int, int]) -> Box:
        """The receptive field of a unit."""
        tops = [(axis.offset or 0) + (axis.jump or 1) * at for axis, at in zip(self.axes, unit, strict=True)]
        sides = [axis.size or 1 for axis in self.axes]
        return Box(tops[0], tops[0] + sides[0] - 1, tops[1], tops[1] + sides[1] - 1)


def expand_units(
    network: Model | nn.Module,
    images: Sequence[Any],
    layer: str,
    *,
    slopes: Slopes = "mean",
    read: Callable[[Any], Image | Tensor] | None = None,
    on_error: Callable[[int, KernelvizError], object] | None = None,
    progress: Callable[[str, int, int], object] | None = None,
    input_size: int | Sequence[int] | None = None,
    crop: bool | None = None,
) -> LinearWeights:
    """The channels of a layer as linear weights on pixels, and how much of their variation over images these explain.

    In a copy of the network in float64 each elementwise activation is replaced by z ↦ s·z, with one s per channel, and
    each max pool by a mean pool; convolutions, norms with stored statistics, sums and mean pools stay. A unit is then an
    affine function of the pixels of its receptive field, the same for each unit whose field is inside the image. The
    network itself is not run, and not changed.

    Args:
        network: A ``Model``, or any module that takes one batch of images.
        images: Images of ``read_image`` or tensors (C, H, W), or what ``read`` takes. The slopes are measured on the
            first, the third, the fifth … of them, and the weights are judged on the others.
        layer: The name of the layer, as in ``capture_features``.
        slopes: ``mean``: s is the mean of the activation's derivative over all units of the measured images. ``one``: s
            is 1, and images only judge.
        read: Called with each of ``images`` when it is needed, such as ``kernelviz.read_image`` with paths.
        on_error: Called with the index and the error of an image that cannot be read or run, which is left out; without
            it the error is raised.
        progress: Called with a label, and the numbers of steps done and of all steps.
        input_size: As in ``capture_features``.
        crop: As in ``capture_features``.

    Raises:
        UnknownLayerError: there is no such layer.
        UsageError: ``layer`` names several layers, or there are not enough images.
        KernelvizError: something between the image and the layer has no linear stand-in, such as attention, a gate, or a
            norm over the image, or no receptive field is inside the image.

    Example:
        >>> network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Conv2d(4, 4, 3))
        >>> images = [torch.rand(3, 12, 12) for _ in range(4)]
        >>> expanded = kernelviz.expand_units(network, images, "2")
        >>> expanded.weights.shape  # those of one unit of each channel on a 5 × 5 receptive field
        (4, 3, 5, 5)
        >>> expanded.explained.shape
        (4,)
    """
    chosen = check_slopes(slopes)
    if not isinstance(images, Sized) or isinstance(images, str | Image) or getattr(images, "ndim", 4) == 3:
        raise UsageError("The images must be several.", hint="Give a list of them.")
    reading = _Reading(
        read or (lambda each: each), on_error, progress or (lambda *_: None), {"input_size": input_size, "crop": crop}
    )
    work = _Work(network, list(images), layer, reading)
    with preserved_random_state():
        return work.expand(chosen)


@dataclass(frozen=True)
class _Reading:
    """How images are read and prepared, and what is called meanwhile."""

    read: Callable[[Any], Image | Tensor]
    on_error: Callable[[int, KernelvizError], object] | None
    progress: Callable[[str, int, int], object]
    preparing: dict[str, Any]


_FEW = 30  # of so many independent numbers, chance explains one half in fewer than one of 10,000 channels


class _Work:
    """One layer of a network that is being expanded."""

    def __init__(
        self,
        network: Model | nn.Module,
        images: list[Any],
        layer: str,
        reading: _Reading,
    ) -> None:
        self.network, self.images, self.layer, self.reading = network, images, layer, reading
        self.parts: dict[int, str] = {}
        self.recipes: dict[int, dict[str, Any] | None] = {}
        self.gathered = Gathered()
        self.hashes: dict[str, int] = {}
        self.duplicates: list[str] = []
        self.plans: dict[tuple[int, ...], CapturePlan] = {}
        self.failed: set[int] = set()
        self.copy: AffineCopy | None = None
        self.apart = 0  # receptive fields that do not overlap, in all judged images

    def expand(self, slopes: Slopes) -> LinearWeights:
        """The record of the layer."""
        total = len(self.images)
        first, others = list(range(0, total, 2)), list(range(1, total, 2))
        if slopes == "one" and total == 1:
            first, others = [], [0]
        if not others:
            what = "At least two images are needed: the slopes are measured on one, and the weights judged on another."
            if slopes == "one":
                what = "At least one image is needed, on which the weights are judged."
            raise UsageError(what, hint="Give more images." if total else "Give some images.")
        if slopes == "mean":
            for number in first:
                self._each(number, self._measure, "measured")
            if self.copy is None:
                self._refuse("the slopes are measured")
            self.copy.set_mean_slopes()
        tally = CorrelationTally()
        for number in others:
            self._each(number, lambda given: self._judge(given, tally), "judged")
        if not tally.count or self.copy is None:
            self._refuse("the weights are judged")
        self.reading.progress(f"expanding {self.layer}", total, total)
        size, plan = next(iter(self.plans.items()))
        tap = _only_tap(plan, self.layer)
        fields = fields_of(tap, size)
        weights, constant = linear_weights(self.copy, tap, fields)
        box = fields.box(fields.unit)
        few = _few_text(self.apart) if self.copy.replaced or self.copy.pools else []  # an affine network needs no proof
        found = LinearWeights(
            weights=weights,
            explained=tally.explained(),
            constant=constant,
            layer=tap.name,
            slopes=slopes,
            unit=fields.unit,
            box=(box.top, box.bottom, box.left, box.right),
            units=tally.count,
            measured=self._names_of("measured"),
            judged=self._names_of("judged"),
            input_size=size,
            activations=len(self.copy.replaced),
            pools=tuple(self.copy.pools),
            source=source_of(self.network),
            image_recipes=tuple(self.recipes[number] for number in sorted(self.recipes)),
            notes=(*few, *self._duplicates_text(), *self.gathered.notes()),
            identity=self.gathered.as_recipe(),
        )
        return found if found.half.any() else replace(found, works=self._last_that_works(others))

    def _names_of(self, part: str) -> tuple[str, ...]:
        """The names of the measured or judged images, in their order."""
        named = zip(self.gathered.places, self.gathered.names, strict=True)
        return tuple(name for number, name in named if self.parts[number] == part)

    def _duplicates_text(self) -> list[str]:
        """Which images have the bytes of others; empty if none has."""
        if not self.duplicates:
            return []
        same = inflected(len(self.duplicates), "is identical to another", "are identical to others")
        first = ", ".join(self.duplicates[:3]) + (" …" if len(self.duplicates) > 3 else "")
        return [f"{counted(len(self.duplicates), 'image')} {same}, counted once: {first}"]

    def _refuse(self, what: str) -> NoReturn:
        """Raise an error: no image is left for one of the two parts."""
        why = "".join(f"{line}." for line in self._duplicates_text())
        raise KernelvizError(f"None of the images on which {what} could be used.", why, "Give more images.")

    def _each(self, number: int, work: Callable[[Input], None], part: str) -> None:
        """Read an image and work on it; one that is the same as another is left out, one that fails is reported."""
        if number in self.failed:
            return
        self.reading.progress("images", len(self.parts), len(self.images))
        try:
            image = self.reading.read(self.images[number])
            if isinstance(image, Image) and self.hashes.setdefault(image.sha256, number) != number:
                self.failed.add(number)
                self.duplicates.append(image.name)
                return
            given = as_input(self.network, image, **self.reading.preparing)
            work(given)
        except UsageError:
            raise
        except KernelvizError as error:
            if self.reading.on_error is None or isinstance(error, _LayerError):
                raise
            self.failed.add(number)
            self.reading.on_error(number, error)
            return
        if number not in self.recipes:
            self.parts[number] = part
            source = source_of(self.network)
            facts = FeatureMaps(np.zeros(0), image=given.noted_image, input_size=given.size, source=source)
            self.gathered.add(facts, place=number)
            self.recipes[number] = image.as_recipe() if isinstance(image, Image) else None

    def _prepared(self, given: Input) -> tuple[AffineCopy, _Fields]:
        """The copy and the receptive fields for images of this size.

        Raises:
            KernelvizError: the layer has no linear weights.
        """
        if given.further.structure is not None or len(given.size) != 3:
            raise UsageError("Only networks that take one image of rows and columns have linear weights on pixels.")
        if given.size not in self.plans:
            self.plans[given.size] = make_taps(self.network, given.size, self.layer, batch=given.batch)
        plan = self.plans[given.size]
        tap = _only_tap(plan, self.layer)
        try:
            if self.copy is None:
                made = AffineCopy(plan.module, [tap])
                made.check(given.size)
                fields = fields_of(tap, given.size)
                self.copy = made
            else:
                self.copy.taps = (tap,)
                fields = fields_of(tap, given.size)
        except KernelvizError as error:
            raise _LayerError(error.what, error.why, error.hint) from None
        return self.copy, fields

    def _measure(self, given: Input) -> None:
        prepared, _ = self._prepared(given)
        _check_finite(given)
        prepared.measure(given.batch)

    def _judge(self, given: Input, tally: CorrelationTally) -> None:
        """Compare the affine response of all units with their fields inside with the real one."""
        prepared, fields = self._prepared(given)
        _check_finite(given)
        with torch.no_grad():
            affine, real = (prepared.run(given.batch, kind)[0][0] for kind in ("affine", "real"))
        tally.add(inside_of(affine, fields), inside_of(real, fields))
        self.apart += prod(side // (axis.size or 1) for side, axis in zip(given.size[1:], fields.axes, strict=True))

    def _last_that_works(self, judged: Sequence[int]) -> str:
        """The last convolution before the layer with a channel of which one half is explained; empty if there is none."""
        size, plan = next(iter(self.plans.items()))
        found = choose_taps(plan.observed, plan.trace, None, kind="conv", side="output").taps
        end = _only_tap(plan, self.layer)
        order = list(plan.observed.visits)
        before = []
        for tap in found:
            inner = tap.module.startswith(f"{end.module}.")  # a container ends after the convolutions in it
            if tap.module in order and (inner or order.index(tap.module) < order.index(end.module)) and tap.run == 0:
                try:
                    before.append((tap, fields_of(tap, size)))
                except KernelvizError:
                    continue
        if self.copy is None or not before:
            return ""
        self.copy.taps = (*(tap for tap, _ in before), end)
        tallies = [CorrelationTally() for _ in before]

        def judge(given: Input) -> None:
            if self.copy is None or given.size != size:
                return
            with torch.no_grad():
                affine, real = (self.copy.run(given.batch, kind) for kind in ("affine", "real"))
            for at, (_, fields) in enumerate(before):
                tallies[at].add(inside_of(affine[at][0], fields), inside_of(real[at][0], fields))

        for number in judged:
            self._each(number, judge, "judged")
        works = [
            tap.name
            for (tap, _), tally in zip(before, tallies, strict=True)
            if tally.count and (np.nan_to_num(tally.explained()) >= HALF).any()
        ]
        return works[-1] if works else ""


def _few_text(apart: int) -> list[str]:
    """That few receptive fields apart judge little: of eight independent numbers r² is one half in one of 40 channels."""
    if apart >= _FEW:
        return []
    fields = f"{apart} {inflected(apart, 'receptive field', 'separate receptive fields')}"
    judging = f"the images on which the weights are judged contain only {fields}"
    return [f"few data: {judging}, so some of the variance is explained by chance"]


class _LayerError(KernelvizError):
    """The layer has no linear weights, whatever the image."""


def _check_finite(given: Input) -> None:
    if not bool(torch.isfinite(given.batch).all()):
        raise KernelvizError("The image has values that are not finite.")


def _only_tap(plan: CapturePlan, layer: str) -> Tap:
    """The one tensor that a name stands for.

    Raises:
        UsageError: there are several.
    """
    taps = plan.taps.taps
    if len(taps) != 1:
        names = ", ".join(tap.exact_name for tap in taps[:3])
        raise UsageError(f"One layer must be named, but {shown(layer)} names {len(taps)}.", f"The first: {names}.")
    return taps[0]


def inside_of(maps: Tensor, fields: _Fields) -> Array:
    """The values (C, n) of the units of maps (C, H, W) that have their field inside the image."""
    rows, columns = fields.inside
    part = maps[:, rows.start : rows.stop, columns.start : columns.stop]
    found: Array = part.reshape(len(maps), -1).detach().cpu().numpy()
    return found


def fields_of(tap: Tap, size: tuple[int, ...]) -> _Fields:
    """The receptive fields of a layer in an image (C, H, W).

    Raises:
        KernelvizError: they are not known, not evenly spaced, or none is inside the image.
    """
    found = receptive_field(tap.known)
    if found is None or len(found.axes) != 2 or len(tap.layout.size) != 3:
        why = (tap.known.lost if tap.known is not None else "") or "its output is not a map of rows and columns"
        raise KernelvizError(f"The receptive fields of {shown(tap.name)} are not known.", f"{why}.".capitalize())
    if found.mixes_image:
        what = f"A unit of {shown(tap.name)} reads the whole image."
        raise KernelvizError(what, "A mean or a gate over the image is before it.", "Choose a layer before it.")
    inside = []
    for axis, side, units in zip(found.axes, size[1:], tap.layout.size[1:], strict=True):
        if axis.size is None or axis.offset is None or axis.jump is None or len(axis.first) != units:
            raise _not_alike(tap, "They are not evenly spaced, so that there is no one set of weights for all of them.")
        start = -(axis.offset // axis.jump)
        stop = (side - axis.size - axis.offset) // axis.jump + 1
        start, stop = max(0, start), min(units, stop)
        if start >= stop:
            what = (
                f"No unit of {shown(tap.name)} has its receptive field of {axis.size} px inside an image of {side} px."
            )
            raise KernelvizError(what, hint="Choose a layer before it, or a larger --input-size.")
        inside.append(range(start, stop))
    return _Fields((found.axes[0], found.axes[1]), size, (inside[0], inside[1]))


def _not_alike(tap: Tap, why: str) -> KernelvizError:
    return KernelvizError(f"The units of {shown(tap.name)} do not all read the image in the same way.", why)


def linear_weights(network: AffineCopy, tap: Tap, fields: _Fields) -> tuple[Array, Array]:
    """The weights (C, I, h, w) of the unit in the middle, and the constants (C,).

    They are read off a smaller input if one gives the same weights.

    Raises:
        KernelvizError: units read pixels outside of their fields, or differ from each other.
    """
    network.taps = (tap,)
    channels = tap.layout.size[0]
    signs = torch.where(torch.rand(channels, generator=torch.Generator().manual_seed(2)) < 0.5, -1.0, 1.0).double()
    unit, box = fields.unit, fields.box(fields.unit)
    image = torch.zeros(1, *fields.size, dtype=torch.float64)
    expected = _gradient(network, image, unit, signs[None])
    scale = expected.abs().max()
    outside = expected.clone()
    outside[:, :, box.top : box.bottom + 1, box.left : box.right + 1] = 0
    if outside.any():
        raise KernelvizError(f"Units of {shown(tap.name)} read pixels outside of their receptive fields.")
    expected = _cut(expected, box)
    rows, columns = fields.inside
    corner = rows[0], columns[0]
    if (
        _cut(_gradient(network, image, corner, signs[None]), fields.box(corner)) - expected
    ).abs().max() > ALIKE * scale:
        raise _not_alike(tap, "The linear weights of one unit are not those of another.")
    smaller = _smaller(fields) if is_plain(tap) else None
    if smaller is not None:
        small, place = smaller
        found = _weights(network, torch.zeros(1, *small, dtype=torch.float64), place, fields.box(place), channels)
        if found is not None:
            total = (signs[:, None, None, None] * found[0]).sum(0, keepdim=True)
            if (total - expected).abs().max() <= ALIKE * scale:
                return found[0].cpu().numpy(), found[1].cpu().numpy()
    whole = _weights(network, image, unit, box, channels)
    if whole is None:
        raise KernelvizError(f"The weights of {shown(tap.name)} could not be computed.")
    return whole[0].cpu().numpy(), whole[1].cpu().numpy()


def _smaller(fields: _Fields) -> tuple[tuple[int, ...], tuple[int, int]] | None:
    """The size of a smaller input with one field inside, which is padded as the image is, and that field's unit."""
    sides, unit = [], []
    for axis, side, inside in zip(fields.axes, fields.size[1:], fields.inside, strict=True):
        period = lcm(PERIOD, axis.jump or 1)
        need = (axis.offset or 0) + (axis.jump or 1) * inside[0] + (axis.size or 1)
        sides.append(need + (side - need) % period)
        unit.append(inside[0])
    if any(small > side for small, side in zip(sides, fields.size[1:], strict=True)) or tuple(sides) == fields.size[1:]:
        return None
    return (fields.size[0], *sides), (unit[0], unit[1])


def _weights(
    network: AffineCopy, image: Tensor, unit: tuple[int, int], box: Box, channels: int
) -> tuple[Tensor, Tensor] | None:
    """The weights and the constants of all channels of a unit; None if a smaller image cannot be run."""
    many = max(1, AT_ONCE // image.numel()) if is_plain(network.taps[0]) and image.numel() < AT_ONCE // 8 else 1
    chosen = torch.eye(channels, dtype=torch.float64)
    try:
        parts = []
        for start in range(0, channels, many):
            part = chosen[start : start + many]
            parts.append(_cut(_gradient(network, image.expand(len(part), -1, -1, -1), unit, part), box))
        with torch.no_grad():
            constant = network.run(image, "affine")[0][0, :, unit[0], unit[1]]
    except (KernelvizError, IndexError):
        if many == 1:
            raise
        return None
    return torch.cat(parts), constant


def _gradient(network: AffineCopy, images: Tensor, unit: tuple[int, int], shares: Tensor) -> Tensor:
    """For each image n the derivative (N, I, H, W) of the sum of all channels of a unit, weighted by shares (N, C)."""
    given = images.clone().requires_grad_()
    with torch.enable_grad():
        (maps,) = network.run(given, "affine")
        total = (maps[:, :, unit[0], unit[1]] * shares.to(maps.device)).sum()
        if not total.requires_grad:
            raise cut_gradient(shown(network.taps[0].name))
        (found,) = torch.autograd.grad(total, given)
    return found


def _cut(gradient: Tensor, box: Box) -> Tensor:
    return gradient[:, :, box.top : box.bottom + 1, box.left : box.right + 1]

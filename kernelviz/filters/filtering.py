"""Apply filters to an image by cross-correlation, as convolutional networks do; NumPy only."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from kernelviz.errors import UsageError
from kernelviz.filters.bank import Filter, find_filter, known_filter
from kernelviz.filters.matching import match_kernel
from kernelviz.notebook import record_repr
from kernelviz.records import Image, as_array, shape_text
from kernelviz.wording import preprocessing_notes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kernelviz.filters.matching import KernelMatch
    from kernelviz.records import Array, KernelBank, Source


Border: TypeAlias = Literal["repeat", "mirror", "zero"]

BORDERS: dict[str, Literal["edge", "symmetric", "constant"]] = {
    "repeat": "edge", "mirror": "symmetric", "zero": "constant",
}  # fmt: skip
"""NumPy's padding mode of each border rule; scipy.ndimage calls them nearest, reflect and constant."""
MOST = 1e300
"""Larger responses count as infinite, so that differences and means of responses cannot overflow."""
_WHOLE = {"uint8": 255, "uint16": 65535}
LIGHT = np.array([0.299, 0.587, 0.114])
"""The weights of red, green and blue in luma: ITU-R BT.601, as in Pillow's conversion to L."""


@dataclass(frozen=True)
class Response:
    """The response ``values`` (H, W) of an image to a filter.

    ``image`` is (H, W) luma, or (H, W, 3), from 0 to 1; ``kernel`` is (h, w), or (3, h, w) with one plane per colour.
    ``about`` is the purpose of the filter, ``notes`` lists the conversions of the image, ``source`` is the model of a
    learned kernel. ``reading`` lists the notes of an image record, on how it was read.

    Example:
        >>> image = np.zeros((4, 6))
        >>> image[:, 3:] = 1  # dark on the left, bright on the right
        >>> response = kernelviz.apply_filter(image, [[-1, 1]])
        >>> response.values[0]
        array([0., 0., 0., 1., 0., 0.])
        >>> response.keeps_light
        False
    """

    name: str
    image: Array
    kernel: Array
    values: Array
    border: str
    about: str = ""
    notes: tuple[str, ...] = ()
    agreement: float | None = None
    source: Source | None = None
    reading: tuple[str, ...] = ()

    __repr__ = record_repr

    @property
    def keeps_light(self) -> bool:
        """Whether a flat image is unchanged, so that the response is an image again."""
        return self.kernel.ndim == 2 and abs(float(self.kernel.sum()) - 1) < 1e-6 and not self.notes


def as_pixels(image: object) -> Array:
    """Convert an image record, a tensor or an array to float64 (H, W) or (H, W, 3); 0 is black and 1 white.

    Of an image record with measured values the first three bands are taken, or the first of two. (C, H, W) and (1, C, H, W)
    with one or three channels, the usual layouts of tensors, are accepted too. uint8 and uint16 are divided by their
    largest value; a fourth channel (alpha) is rejected.

    Raises:
        UsageError: the shape is another one or ambiguous, there is no pixel, or values are other integers or not finite.
    """
    if isinstance(image, Image) and image.values is not None:
        planes = [image.shares(channel, np.float64) for channel in _bands_read(image)[0]]
        return np.stack(planes, axis=-1) if len(planes) == 3 else planes[0]
    held = getattr(image, "pixels", image)
    array = as_array(held)
    kind = str(getattr(held, "dtype", None) or np.asarray(held).dtype).removeprefix("torch.")
    values = _channels_last(array.astype(np.float64), tensor=hasattr(held, "detach"))
    if "int" in kind and kind not in _WHOLE:
        raise UsageError(
            f"An image of integers must be uint8 or uint16, but got {kind}.",
            hint="Convert it by image.astype(numpy.uint8), or divide it so that 0 is black and 1 white.",
        )
    if not np.isfinite(values).all():
        raise UsageError("The image holds values that are not finite.")
    return values / _WHOLE.get(kind, 1)


def _bands_read(image: Image) -> tuple[range, tuple[str, ...]]:
    """The bands of an image that filters read, three or one, and a note about the others."""
    return image.chosen_bands(3 if image.channels >= 3 else 1)


def reading_notes(image: object) -> tuple[str, ...]:
    """The notes of an image record on how it was read, and which bands are left out; none of other values."""
    return (*image.notes, *_bands_read(image)[1]) if isinstance(image, Image) else ()


def _channels_last(values: Array, *, tensor: bool) -> Array:
    """Convert an array with channels first or last to (H, W) or (H, W, 3)."""
    shape = values.shape
    if values.ndim == 4 and shape[0] == 1:
        values, tensor = values[0], tensor and shape[1] not in (1, 3)
        first = shape[1] in (1, 3)
    else:
        first = values.ndim == 3 and shape[0] in (1, 3) and shape[2] not in (1, 3)
    if values.ndim == 3 and tensor and {shape[-3], shape[-1]} <= {1, 3}:
        raise UsageError(
            f"The image tensor {shape_text(shape)} is ambiguous: its channels may be first or last.",
            hint="Give it as (1, C, H, W), or as a NumPy array (H, W, C).",
        )
    if values.ndim == 3 and first:
        values = np.moveaxis(values, 0, -1)
    if values.ndim == 3 and values.shape[2] == 1:
        values = values[:, :, 0]
    if values.ndim not in (2, 3) or (values.ndim == 3 and values.shape[2] != 3) or 0 in values.shape:
        raise UsageError(f"An image must be (H, W), (H, W, 3) or (3, H, W), but the shape is {shape_text(shape)}.")
    return values


def as_light(pixels: Array) -> Array:
    """The luma (H, W) of (H, W) or (H, W, 3): 0.299 red + 0.587 green + 0.114 blue."""
    return pixels if pixels.ndim == 2 else np.asarray(pixels @ LIGHT)


def apply_filter(image: object, kernel: object, *, border: Border = "repeat") -> Response:
    """Apply a filter to an image; the response has the size of the image.

    response[r, c] = Σ kernel[i, j] · image[r + i − h // 2, c + j − w // 2]: cross-correlation, without normalising the
    kernel. Beyond the border pixels are repeated, mirrored (the border pixel twice), or zero.

    Args:
        image: (H, W) or (H, W, 3), see ``as_pixels``. A kernel of one plane is applied to its luma.
        kernel: the name of a classical filter (``sobel-x``, ``sobel-x@5``), a Filter, or numbers (h, w); (3, h, w) is
            applied to red, green and blue and summed. Leading axes of length 1 are removed.
        border: ``repeat``, ``mirror`` or ``zero``.

    Raises:
        UsageError: there is no such filter or border rule, or a shape is another one.

    Example:
        >>> image = np.zeros((4, 6))
        >>> image[:, 3:] = 1  # dark on the left, bright on the right
        >>> response = kernelviz.apply_filter(image, "sobel-x")
        >>> response.values
        array([[0., 0., 4., 4., 0., 0.],
               [0., 0., 4., 4., 0., 0.],
               [0., 0., 4., 4., 0., 0.],
               [0., 0., 4., 4., 0., 0.]])
    """
    pixels = as_pixels(image)
    if isinstance(kernel, str):
        kernel = find_filter(kernel)
    name, about = (full_name(kernel), kernel.about) if isinstance(kernel, Filter) else ("kernel", "")
    values = as_array(kernel.values if isinstance(kernel, Filter) else kernel).astype(np.float64)
    while values.ndim > 2 and len(values) == 1:
        values = values[0]
    check_kernel(values)
    if not isinstance(kernel, Filter) and (known := known_filter(values)):
        about = f"= {known.text}: {known.filter.about}"
    if values.ndim == 3 and pixels.ndim == 2:
        pixels = np.repeat(pixels[:, :, None], 3, axis=2)
    read = pixels if values.ndim == 3 else as_light(pixels)
    return Response(name, read, values, correlate(read, values, border), border, about, reading=reading_notes(image))


def full_name(one: Filter) -> str:
    """``sobel-x``, or ``sobel-x@5`` if it is not of 3 × 3."""
    size = len(one.values)
    return one.name if size == 3 or "@" in one.name else f"{one.name}@{size}"


def apply_kernel(image: object, bank: KernelBank, kernel: int, *, border: Border = "repeat") -> tuple[Response, ...]:
    """Apply a learned kernel to an image, and the filter closest to it for comparison.

    A kernel of three input channels is applied to the normalised image, as in its network (without the bias). For any other
    kernel the main plane of ``match_kernels`` is applied to the luma, which the network never does. The second response is
    that of the closest filter, scaled to the kernel; it is missing if the kernel is zero. Its ``agreement`` is the
    correlation of both over all pixels. ``kernel`` is its number in the ``bank``; ``border`` is as in ``apply_filter``.

    Raises:
        UsageError: there is no such kernel, it is not finite, or the image or the layer has another shape.

    Example:
        >>> bank = kernelviz.KernelBank(np.array([[[[1, 0, -1], [2, 0, -2], [1, 0, -1]]]]))
        >>> image = kernelviz.read_image("sample:grace_hopper")
        >>> learned, closest = kernelviz.apply_kernel(image, bank, 0)
        >>> closest.name, round(closest.agreement, 3)
        ('sobel-x', 1.0)
    """
    if not (hasattr(kernel, "__index__") and 0 <= operator.index(kernel) < len(bank.weight)):
        raise UsageError(f"There are kernels 0 to {len(bank.weight) - 1}, but got {kernel!r}.")
    row, pixels = match_kernel(bank, kernel), as_pixels(image)
    name = f"{bank.layer.name}:{kernel}" if bank.layer else f"kernel {kernel}"
    template = None if row.closest is None or row.factor is None else row.factor * row.closest.values
    if row.plane == "strongest":
        shown = pixels if pixels.ndim == 3 else np.repeat(pixels[:, :, None], 3, axis=2)
        facts = bank.source.preprocessing if bank.source else {}
        mean, deviation = np.array(facts.get("mean", (0.0,) * 3)), np.array(facts.get("std", (1.0,) * 3))
        read, values = (shown - mean) / deviation, bank.weight[kernel].astype(np.float64)
        notes: tuple[str, ...] = ("normalised as for the network: minus its mean, divided by its standard deviation",)
        notes += preprocessing_notes(facts) if facts else ()
        if template is not None and row.colour:
            template = np.array(row.colour.weights)[:, None, None] * template
    else:
        shown = read = as_light(pixels)
        values, inputs = row.pattern, bank.weight.shape[1]
        which = "" if inputs == 1 else f", summed over its {inputs:,} inputs,"
        notes = (f"the kernel{which} is applied to the luma of the image",)
    check_kernel(values)
    reading = reading_notes(image)
    learned = Response(
        name, shown, values, correlate(read, values, border), border, _likeness(row), notes, None, bank.source, reading
    )
    if template is None or row.closest is None:
        return (learned,)
    beside = correlate(read, template, border)
    about = f"the filter closest to it{f', in {row.colour.name}' if row.colour else ''}"
    agreement = agreement_of(learned.values, beside)
    closest = Response(row.closest.name, shown, template, beside, border, about, notes, agreement, bank.source, reading)
    return learned, closest


def seen_by(responses: Sequence[Response]) -> Array:
    """The common image of some responses, in colour if one of them reads colours.

    Raises:
        UsageError: the images or the border rules differ.
    """
    seen = max((each.image for each in responses), key=lambda image: image.ndim)
    for each in responses:
        same = as_light(seen) if each.image.ndim == 2 else seen
        if same.shape != each.image.shape or not np.allclose(same, each.image, atol=1e-9):
            raise UsageError("The responses are of different images.", hint="Draw a picture for each image.")
        if each.border != responses[0].border:
            raise UsageError("The responses have different border rules.", hint="Draw a picture for each of them.")
    return seen


def _likeness(row: KernelMatch) -> str:
    if row.score is None:
        return "a kernel of the network, almost zero"
    if row.kind == "none":
        return f"a kernel of the network, similar to no filter (similarity to the closest: {row.score:.2f})"
    return f"a kernel of the network, {row.kind} (similarity to the closest filter: {row.score:.2f})"


def check_kernel(values: Array) -> None:
    """Check the kernel of an image filter.

    Raises:
        UsageError: it is neither (h, w) nor (3, h, w), or not finite.
    """
    if values.ndim not in (2, 3) or 0 in values.shape or (values.ndim == 3 and len(values) != 3):
        raise UsageError(
            f"The kernel of an image must be (h, w) or (3, h, w), but the shape is {shape_text(values.shape)}."
        )
    if not np.isfinite(values).all():
        raise UsageError("The kernel holds values that are not finite.")


def check_border(border: str) -> None:
    """Check the name of a border rule.

    Raises:
        UsageError: there is no such rule.
    """
    if border not in BORDERS:
        raise UsageError(f"The border rule must be one of {', '.join(BORDERS)}, but got {border!r}.")


def correlate(image: Array, kernel: Array, border: str = "repeat") -> Array:
    """Correlate an image (H, W) with (h, w), or (H, W, C) with (C, h, w) and sum; (H, W) in float64.

    Raises:
        UsageError: there is no such border rule, or the response overflows.
    """
    check_border(border)
    planes = [(image, kernel)] if kernel.ndim == 2 else [(image[:, :, at], one) for at, one in enumerate(kernel)]
    with np.errstate(over="ignore", invalid="ignore"):
        result = np.asarray(sum((_correlate(pixels, one, border) for pixels, one in planes), np.zeros(image.shape[:2])))
    if not np.abs(result).max(initial=0) <= MOST:
        raise UsageError(
            "The response overflows.",
            f"The kernel has values up to {np.abs(kernel).max():.0e}.",
            "Scale the kernel down.",
        )
    return result


def _correlate(image: Array, kernel: Array, border: str) -> Array:
    height, width = kernel.shape
    above, left = height // 2, width // 2
    rows, columns = image.shape
    around = ((above, height - 1 - above), (left, width - 1 - left))
    padded = np.pad(image, around, mode=BORDERS[border])
    result = np.zeros(image.shape)
    part = np.empty(image.shape)
    for i, j in np.argwhere(kernel):  # zeros contribute nothing
        np.multiply(padded[i : i + rows, j : j + columns], kernel[i, j], out=part)
        result += part
    return result


def agreement_of(first: Array, second: Array) -> float | None:
    """Pearson's correlation of two responses over all pixels; None if one of them is constant."""
    a, b = (each - each.mean() for each in (_scaled(first), _scaled(second)))
    size = float(np.linalg.norm(a) * np.linalg.norm(b))
    return None if size == 0 else float(np.clip((a * b).sum() / size, -1, 1))


def _scaled(values: Array) -> Array:
    """Values scaled to ±1, because squares of 1e200 would overflow."""
    return values / (float(np.abs(values).max(initial=0)) or 1.0)

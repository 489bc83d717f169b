"""Tiles of a kernel bank: views, reductions over the input channels, selection and ranking; NumPy only."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

from kernelviz.errors import UsageError
from kernelviz.records import SORTS, VIEWS, Axis, KernelBank, Tiles, are_colours, check_positive, shape_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kernelviz.records import Array, ConvLayer


RGB = ("red", "green", "blue")
OPPONENTS = ("L", "Y−B", "R−G")
"""The names of the planes of ``opponent_planes``."""
_RUN = re.compile(r"\s*(\d{1,9})\s*(?:-\s*(\d{1,9})\s*)?", re.ASCII)


def parse_channels(text: str, total: int) -> tuple[int, ...]:
    """The numbers of ``0-15,40``, in that order, without repetitions.

    Raises:
        UsageError: another form, or a number outside 0 … total − 1.
    """
    numbers: dict[int, None] = {}
    for part in text.split(","):
        run = _RUN.fullmatch(part)
        if run is None:
            raise UsageError(f"Channels must be numbers like 0-15,40, but got {text!r}.")
        first, last = int(run[1]), int(run[2] or run[1])
        if last < first:
            raise UsageError(f"A range of channels must be ascending, but got {part.strip()!r}.")
        if last >= total:
            raise UsageError(f"There are channels 0 to {total - 1}, but got {part.strip()!r}.")
        numbers.update(dict.fromkeys(range(first, last + 1)))
    return tuple(numbers)


def named_channels(channels: str | Sequence[int], total: int) -> tuple[int, ...]:
    """The numbers of ``0-15,40`` or of a list of whole numbers, in that order, without repetitions.

    Raises:
        UsageError: another form, no number, or a number outside 0 … total − 1.
    """
    try:
        text = channels if isinstance(channels, str) else ",".join(str(int(number)) for number in channels)
    except (TypeError, ValueError):
        raise UsageError(f"Channels must be a list of numbers or text like 0-15,40, but got {channels!r}.") from None
    return parse_channels(text, total)


def choose_channels(
    values: Array, *, channels: str | Sequence[int] | None = None, top: int | None = None, sort: str | None = None
) -> tuple[tuple[int, ...], str]:
    """The chosen channels of ``values`` (C, …) in their order, and the name of that order.

    ``channels`` selects, ``sort`` orders by a statistic of each channel (largest first, ties by number, not finite last),
    ``top`` keeps the first ones. With ``top`` and no ``sort`` the order is by norm.

    Raises:
        UsageError: no such channel, no such order, or ``top`` below 1.
    """
    total = len(values)
    numbers = tuple(range(total)) if channels is None else named_channels(channels, total)
    order = sort or ("index" if top is None else "norm")
    if order not in SORTS:
        raise UsageError(f"The order of channels must be one of {', '.join(SORTS)}, but got {order!r}.")
    top = check_positive("number of channels to keep", top)
    if order != "index":
        rank = _statistic(order, values)
        numbers = tuple(sorted(numbers, key=lambda number: (-rank[number], number)))
    return numbers[:top], order


def _statistic(name: str, values: Array) -> Array:
    flat = values.reshape(len(values), -1).astype(np.float64)
    statistics: dict[str, Callable[[Array], Array]] = {
        "norm": lambda rows: np.linalg.norm(rows, axis=1),
        "mean": lambda rows: rows.mean(axis=1),
        "max": lambda rows: rows.max(axis=1),
        "std": lambda rows: rows.std(axis=1),
    }
    with np.errstate(invalid="ignore", over="ignore"):
        result = statistics[name](flat)
    return np.where(np.isfinite(result), result, -np.inf)


def resolve_view(shape: Sequence[int], groups: int = 1, view: str = "auto", layer: ConvLayer | None = None) -> str:
    """The view that ``auto`` means for a shape of weights; any other view is checked against the shape.

    ``layer`` is that of the weights, if it is known.

    Raises:
        UsageError: no such view, or one that this shape does not allow.
    """
    _, inputs, *kernel = shape
    if view not in VIEWS:
        raise UsageError(f"The view must be one of {', '.join(VIEWS)}, but got {view!r}.")
    if view == "auto":
        if len(kernel) == 2 and are_colours(shape, groups, layer):
            return "rgb"
        return "matrix" if tuple(kernel) == (1, 1) and inputs > 1 else "sum"
    if view == "rgb" and (inputs != 3 or groups != 1 or len(kernel) == 1):
        raise UsageError(
            f"The view rgb needs three input channels, but the weight is {shape_text(shape)}.",
            hint="--view channels shows each input channel separately, --view sum adds them up.",
        )
    if view in ("channels", "matrix", "spectrum") and len(kernel) == 3:
        raise UsageError(
            f"The view {view} draws one- and two-dimensional kernels, but the weight is {shape_text(shape)}.",
            hint="--view sum or --view norm shows the slices of three-dimensional kernels.",
        )
    return view


def check_cmap(view: str, cmap: str | None, *, chosen: bool = True) -> None:
    """Reject a colour map for a view whose colours are red, green and blue.

    ``chosen`` is False if the view was not requested, but follows from the shape of the weight.

    Raises:
        UsageError: the view takes no colour map.
    """
    if cmap is None or view not in ("rgb", "pca"):
        return
    if view == "pca":
        raise UsageError(
            "Principal components are drawn in fixed colours: pca takes no cmap; mean, max and norm take one.",
            hint="Choose norm, or omit the colour map.",
        )
    others = [name for name in VIEWS if name not in ("auto", "rgb")]
    raise UsageError(
        f"{'The view rgb' if chosen else 'The default view of kernels of three channels, rgb,'} takes no cmap; "
        f"the views {', '.join(others[:-1])} and {others[-1]} take one.",
        hint="Choose the view sum, or omit the colour map.",
    )


def kernel_tiles(
    bank: KernelBank,
    *,
    view: str = "auto",
    channels: str | Sequence[int] | None = None,
    top: int | None = None,
    sort: str | None = None,
    opponent: bool = False,
) -> Tiles:
    """The tiles of a kernel bank: one view of the chosen kernels, in the chosen order.

    ``sum`` and ``norm`` are taken over the input channels in float64: sum of w, and the square root of the sum of w²;
    ``spectrum`` is ``frequency_response``. With ``opponent`` the values of the view ``rgb`` are those of
    ``opponent_planes`` instead of the weights.

    Raises:
        UsageError: a view that the shape does not allow, no such channel, no such order.
    """
    view = resolve_view(bank.weight.shape, bank.groups, view, bank.layer)
    numbers, order = choose_channels(bank.weight, channels=channels, top=top, sort=sort)
    weight = bank.weight if bank.weight.ndim > 3 else bank.weight[:, :, None, :]
    if view in ("channels", "matrix"):
        return _by_input(bank, weight, view, numbers, order)
    opponent = opponent and view == "rgb"
    if view == "rgb":
        planes = np.moveaxis(weight, 1, -1)
        planes = opponent_planes(planes) if opponent else planes
    elif view == "spectrum":
        planes = frequency_response(weight)
    elif weight.shape[1] == 1:
        planes = weight[:, 0] if view == "sum" else np.abs(weight[:, 0])
    else:
        planes = _reduce(view, weight)
    chosen = planes[list(numbers)]
    rows = columns = None
    if weight.ndim == 5:  # (n, depth, h, w[, 3]): one row per slice, one column per kernel
        rows = Axis("slice", tuple(map(str, range(weight.shape[2]))), weight.shape[2])
        if opponent:  # one row per plane of a slice
            chosen = np.moveaxis(chosen, -1, 2).reshape(len(chosen), -1, *weight.shape[3:])
            names = tuple(f"{depth} {name}" for depth in rows.labels for name in OPPONENTS)
            rows = Axis("plane", names, len(names))
        chosen = chosen.swapaxes(0, 1).reshape(-1, *chosen.shape[2:])
        columns = Axis("kernel", tuple(map(str, numbers)), len(weight))
    return Tiles(
        values=chosen,
        view=view,
        layout="grid" if rows is None else "table",
        numbers=numbers,
        total=len(weight),
        extent=extent(planes),
        quantity=_quantity(view, weight.shape[1]),
        explanation=_OPPONENT if opponent else _explanation(bank, view),
        signed=view not in ("norm", "spectrum"),
        numbers_along="tiles" if rows is None else "columns",
        rows=rows,
        columns=columns,
        order=order,
        parts=OPPONENTS if opponent else ("R", "G", "B"),
        pictures=OPPONENTS if opponent and rows is None else (),
    )


def kernel_pictures(bank: KernelBank, view: str) -> Array:
    """All kernels of a bank in a view, each as planes of values: (O, planes, h, w), of the view rgb (O, 1, h, w, 3).

    The planes are the slices of kernels of three axes, and in the views ``channels`` and ``matrix`` the input channels.

    Raises:
        UsageError: a view that the shape does not allow.
    """
    view = resolve_view(bank.weight.shape, bank.groups, view, bank.layer)
    if view in ("channels", "matrix"):
        return bank.weight if bank.weight.ndim == 4 else bank.weight[:, :, None, :]
    tiles = kernel_tiles(bank, view=view)
    if tiles.layout == "grid":
        return tiles.values[:, None]
    slices = tiles.values.reshape(-1, len(bank.weight), *tiles.values.shape[1:])
    return slices.swapaxes(0, 1)


_OPPONENT = (
    "L = (R + G + B) / √3, light–dark; Y−B = (R + G − 2B) / √6, yellow–blue; R−G = (R − G) / √2, red–green; "
    "the sum of their squares is the squared norm of the kernel"
)


def opponent_planes(weights: Array) -> Array:
    """Red, green and blue weights (…, 3) as light–dark, yellow–blue and red–green ones (…, 3), in float64.

    L = (R + G + B) / √3, Y−B = (R + G − 2B) / √6 and R−G = (R − G) / √2: an orthonormal change of basis, so that the sum of
    squares stays and ``rgb_weights`` is its inverse.
    """
    red, green, blue = np.moveaxis(weights.astype(np.float64), -1, 0)
    with np.errstate(invalid="ignore", over="ignore"):
        planes = (red + green + blue) / 3**0.5, (red + green - 2 * blue) / 6**0.5, (red - green) / 2**0.5
    return np.stack(planes, axis=-1)


def rgb_weights(planes: Array) -> Array:
    """The red, green and blue weights (…, 3) of opponent planes (…, 3)."""
    light, yellow, red = np.moveaxis(planes, -1, 0)
    with np.errstate(invalid="ignore", over="ignore"):
        grey, warm, apart = light / 3**0.5, yellow / 6**0.5, red / 2**0.5
        return np.stack([grey + warm + apart, grey + warm - apart, grey - 2 * warm], axis=-1)


def extent(values: Array) -> tuple[float, float]:
    """The smallest and the largest finite value; (0, 0) if there is none."""
    finite = values if np.isfinite(values).all() else values[np.isfinite(values)]
    return (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)


def _reduce(view: str, weight: Array) -> Array:
    with np.errstate(invalid="ignore", over="ignore"):
        if view == "sum":
            return np.asarray(weight.sum(axis=1, dtype=np.float64))
        return np.asarray(np.hypot.reduce(weight, axis=1, dtype=np.float64))  # squares would overflow from 1e154 on


def _quantity(view: str, inputs: int) -> str:
    if view == "spectrum":
        return "frequency response"
    if inputs == 1:
        return "magnitude of weight" if view == "norm" else "weight"
    return {"sum": "sum of weights", "norm": "norm of weights"}.get(view, "weight")


def _explanation(bank: KernelBank, view: str) -> str:
    inputs = bank.weight.shape[1]
    tile = {3: "strip", 4: "tile", 5: "column of slices"}[bank.weight.ndim]
    depthwise = inputs == 1 and bank.groups > 1
    if view == "spectrum":
        return _spectrum_explanation(bank)
    if view == "rgb":
        return "red, green and blue weights as colour (for colour-blind readers: palette safe, or view channels)"
    if depthwise:
        what = "" if view == "sum" else ", the magnitudes of its weights"
        return f"depthwise, one {tile} per kernel{what}; each kernel reads one channel"
    of_group = " of its group" if bank.groups > 1 else ""
    if inputs == 1:
        return f"one {tile} per kernel" + (", the magnitudes of its weights" if view == "norm" else "")
    what = "its weights summed" if view == "sum" else "the norm of its weights"
    return f"one {tile} per kernel, {what} over the {inputs:,} input channels{of_group}"


def _spectrum_explanation(bank: KernelBank) -> str:
    inputs, *kernel = bank.weight.shape[1:]
    size = response_size(kernel)
    over = f", as the root of the sum of squares over the {inputs:,} input channels" if inputs > 1 else ""
    over += " of its group" if inputs > 1 and bank.groups > 1 else ""
    axes = "to the right" if len(kernel) == 1 else "down and to the right"
    padded = " × ".join([str(size)] * len(kernel))
    return (
        f"the magnitude |F| of each kernel's Fourier transform, zero-padded to {padded}{over}; "
        f"frequency 0 in the middle, −0.5 to 0.5 cycles per pixel {axes}"
    )


def _by_input(bank: KernelBank, weight: Array, view: str, numbers: tuple[int, ...], order: str) -> Tiles:
    """Every plane of every kernel: a table of tiles, or one heat map if each plane is a single weight."""
    total, inputs, height, width = weight.shape
    chosen = weight[list(numbers)]
    heat = view == "matrix" and height * width == 1
    kernels = Axis("output channel" if heat else "kernel", _labels(numbers), total)
    names = RGB if bank.are_colours else _labels(range(inputs))
    input_axis = Axis("input channel of its group" if bank.groups > 1 else "input channel", names, inputs)
    turned = view == "channels" or len(numbers) > inputs
    if turned:
        chosen = chosen.swapaxes(0, 1)
    rows, columns = (input_axis, kernels) if turned else (kernels, input_axis)
    return Tiles(
        values=chosen.reshape(1, *chosen.shape[:2]) if heat else chosen.reshape(-1, height, width),
        view=view,
        layout="heatmap" if heat else "table",
        numbers=numbers,
        total=total,
        extent=extent(weight),
        quantity="weight",
        explanation=_table_explanation(view, turned=turned, heat=heat),
        numbers_along="columns" if turned else "rows",
        rows=rows,
        columns=columns,
        order=order,
    )


def _table_explanation(view: str, *, turned: bool, heat: bool) -> str:
    if view == "channels":
        return "one column per kernel, one row per input channel"
    if turned:
        if not heat:
            return "axes swapped to fit, as in the view channels: one column per kernel, one row per input channel"
        return "axes swapped to fit: one column per kernel, one row per input channel"
    return "one row per kernel, one column per input channel"


def _labels(numbers: Sequence[int]) -> tuple[str, ...]:
    return tuple(map(str, numbers))


SMALLEST = 33  # odd, so that frequency 0 is in the middle


def response_size(kernel: Sequence[int]) -> int:
    """The odd number of values per axis to which kernels of this size are padded."""
    return max(SMALLEST, *(side + 1 - side % 2 for side in kernel))


def frequency_response(weight: Array) -> Array:
    """The frequency response of each kernel of ``weight`` (n, in_channels, height, width), as (n, S, S) in float64.

    This is |F|, the magnitude of the discrete Fourier transform of the kernel, zero-padded to S = ``response_size`` values
    per axis, and over the input channels the root of the sum of |F|²: the strongest response to a wave of that frequency
    whose amplitudes in the channels have length 1. Index i is (i − S // 2) / S cycles per pixel, down and to the right, so
    that frequency 0 is in the middle. Kernels of height 1 (a convolution along one axis) result in (n, 1, S).
    """
    count, inputs, height, width = weight.shape
    size = response_size((height, width))
    down = 1 if height == 1 < width else size
    result = np.zeros((count, down, size))
    with np.errstate(invalid="ignore", over="ignore"):  # NaN and Inf are kept, and marked when drawn
        planes = weight.astype(np.float64)
        if inputs > height * width:
            factors: Any = np.linalg.qr(planes.reshape(count, inputs, -1), mode="r")  # with the same sum of |F|²
            planes = factors.reshape(count, -1, height, width)
        for plane in planes.swapaxes(0, 1):
            result = np.hypot(result, np.abs(np.fft.fft2(plane, s=(down, size))))
    return np.asarray(np.fft.fftshift(result, axes=(1, 2)))

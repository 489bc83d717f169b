"""The texts around a picture: title, identity, caption, and irregularities of its tiles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kernelviz.drawing.colour import FAINT, GOOD_AS_ZERO, Scale
from kernelviz.notebook import record_repr
from kernelviz.records import Axis, ConvLayer, FeatureMaps, KernelBank, Tiles, shape_text
from kernelviz.views.kernel_views import OPPONENTS
from kernelviz.wording import PART, counted, inflected, number_text, numbers_text, sentence

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kernelviz.records import Array


@dataclass(frozen=True)
class Marks:
    """Irregularities of a sheet: indices of the tiles concerned, and the number of values that are not finite."""

    zero: tuple[int, ...]
    faint: tuple[int, ...]
    constant: tuple[int, ...]
    broken: tuple[int, ...]
    nonfinite: int
    dead: tuple[int, ...] = ()

    __repr__ = record_repr


def find_marks(tiles: Tiles, scale: Scale) -> Marks:
    """Find tiles as good as zero (all values within half a colour level), faint or constant, or with values not finite.

    A map is dead if it has one value everywhere. A map scaled to its own range is never faint.
    """
    per_tile = tiles.values
    if tiles.layout == "heatmap":  # there a kernel is a row or a column of pixels
        per_tile = np.moveaxis(per_tile[0], 0 if tiles.numbers_along == "rows" else 1, 0)
    flat = per_tile.reshape(len(per_tile), -1)
    finite = np.isfinite(flat)
    whole = finite.all(axis=1)
    size = np.abs(np.where(finite, flat, 0)).max(axis=1, initial=0).astype(np.float64)
    limit = scale.limit if scale.kind == "range" else max(map(abs, tiles.extent))
    zero = np.asarray(whole & (size <= GOOD_AS_ZERO * limit))
    faint = np.asarray(whole & ~zero & (size < FAINT * limit))
    flat_tile = np.asarray(whole & (flat == flat[:, :1]).all(axis=1) & (flat.shape[1] > 1))
    constant, dead = flat_tile & ~zero, np.zeros_like(zero)
    if tiles.noun == "map":
        dead, constant, faint = flat_tile, np.zeros_like(zero), np.zeros_like(zero)
        if (volumes := tiles.as_volumes) is not None:  # a map is dead, not a slice of it
            flat_map = np.asarray([whole_map.min() == whole_map.max() for whole_map in volumes])
            dead = np.tile(flat_map, volumes.shape[1])
        zero = zero & ~dead & (scale.kind != "tile")
    return Marks(
        zero=_where(zero),
        faint=_where(faint),
        constant=_where(constant & ~faint),
        broken=_where(np.asarray(~whole)),
        nonfinite=int(flat.size - np.count_nonzero(finite)),
        dead=_where(dead),
    )


def _where(flags: Array) -> tuple[int, ...]:
    return tuple(map(int, np.flatnonzero(flags)))


def kernels_of(tiles: Tiles, indices: Sequence[int]) -> tuple[int, ...]:
    """The kernel numbers of tile indices; in a table, the kernels all of whose tiles are among them."""
    if tiles.layout != "table" or tiles.columns is None or tiles.rows is None:
        return tuple(tiles.numbers[index] for index in indices)
    flags = np.zeros(len(tiles.values), dtype=bool)
    flags[list(indices)] = True
    table = flags.reshape(len(tiles.rows.labels), len(tiles.columns.labels))
    return tuple(tiles.numbers[i] for i in np.flatnonzero(table.all(axis=0 if tiles.numbers_along == "columns" else 1)))


def kernels_touched(tiles: Tiles, indices: Sequence[int]) -> tuple[int, ...]:
    """The kernel numbers that have at least one of these tiles."""
    if tiles.layout != "table" or tiles.columns is None:
        return tuple(tiles.numbers[index] for index in indices)
    across = len(tiles.columns.labels)
    columns = tiles.numbers_along == "columns"
    return tuple(tiles.numbers[i] for i in sorted({k % across if columns else k // across for k in indices}))


def kernel_title(bank: KernelBank, tiles: Tiles) -> str:
    """``Kernels of LAYER``, followed by the view, unless the tiles are the kernels as they are."""
    name = f"Kernels of {bank.layer.name}" if bank.layer else "Kernels"
    if tiles.quantity == "magnitude of weight":
        return f"{name}, magnitudes of weights"
    if tiles.layout == "heatmap" or _is_plain(tiles):
        return name
    if tiles.parts == OPPONENTS:
        return f"{name}, as opponent colours"
    same = tiles.view == "matrix" and tiles.numbers_along == "columns"  # turned, it is what the view channels draws
    return f"{name}, {_VIEWS['channels' if same else tiles.view]}"


_VIEWS = {
    "rgb": "as RGB",
    "sum": "summed over channels",
    "norm": "norm over channels",
    "channels": "channel by channel",
    "matrix": "input by input",
    "spectrum": "frequency responses",
}


def _is_plain(tiles: Tiles) -> bool:
    """Whether a view that sums over the input channels had one to sum."""
    return tiles.view in ("sum", "norm") and tiles.quantity in ("weight", "magnitude of weight")


def kernel_identity(bank: KernelBank) -> str:
    """Model and weights, the layer's settings, the weight's shape."""
    parts = [bank.source.short_label] if bank.source else []
    if bank.layer:
        parts.append(layer_text(bank.layer))
    weight = f"{bank.reading} weight" if bank.reading else "weight"
    return PART.join([*parts, f"{weight} {shape_text(bank.layer.weight_shape if bank.layer else bank.weight.shape)}"])


def map_title(maps: FeatureMaps, tiles: Tiles) -> str:
    """``Feature maps of LAYER``, with the reduction drawn and the channels chosen."""
    of = "into" if maps.tap == "input" else "of"
    name = f"Feature maps {of} {maps.layer}" if maps.layer else "Feature maps"
    which = chosen_text(tiles)
    if tiles.view == "maps":
        return f"{name}, {which}" if which else name
    return f"{name}, the {REDUCED[tiles.view]} of {which}" if which else f"{name}, their {REDUCED[tiles.view]}"


def chosen_text(tiles: Tiles) -> str:
    """``channels 0 to 15``, ``the 12 with the largest norm``; empty if all are shown in order."""
    numbers = tiles.numbers
    if tiles.order != "index":
        measure = _MEASURES[tiles.order]
        if len(numbers) == tiles.total:
            return f"sorted by {measure}"
        many = f"{len(numbers):,}" if len(numbers) > 1 else "one"
        return f"the {many} with the largest {measure}"
    if len(numbers) == tiles.total:
        return ""
    if numbers == tuple(range(numbers[0], numbers[0] + len(numbers))):
        ends = f"{numbers[0]} to {numbers[-1]}" if len(numbers) > 1 else f"{numbers[0]}"
        return f"{inflected(len(numbers), 'channel')} {ends}"
    return f"{len(numbers):,} chosen channels"


REDUCED = {"mean": "mean", "max": "maximum", "norm": "norm", "pca": "principal components"}
_MEASURES = {"norm": "norm", "mean": "mean", "max": "maximum", "std": "std"}


def map_identity(maps: FeatureMaps) -> str:
    """Model and weights, the module with the shape of its tensor, the image as the network saw it."""
    shape = f"{maps.tap} {shape_text(maps.shape or maps.values.shape)}"
    parts = [maps.source.short_label] if maps.source else []
    parts.append(f"{maps.kind}, {shape}" if maps.kind else shape)
    if maps.image and maps.input_size:
        parts.append(f"image {maps.image.name} at {' × '.join(map(str, maps.input_size[1:]))}")
    return PART.join(parts)


def map_notes(maps: FeatureMaps) -> tuple[str, ...]:
    """Irregularities of the maps, of the image, and of the network's input."""
    return (*maps.notes, *(maps.image.notes if maps.image else ()), *(maps.seen.notes if maps.seen else ()))


def layer_text(layer: ConvLayer) -> str:
    """``Conv2d 3 → 32, 3 × 3, stride 2``: a layer's settings that differ from the defaults."""
    size = " × ".join(map(str, layer.kernel_size))
    if layer.depthwise and layer.in_channels == layer.out_channels:
        parts = [f"depthwise {layer.kind}, {layer.in_channels:,} channels", size]
    else:
        parts = [f"{layer.kind} {layer.in_channels:,} → {layer.out_channels:,}", size]
        if layer.groups > 1:
            parts.append(f"{layer.groups} groups")
    for name in ("stride", "dilation"):
        values = getattr(layer, name)
        if any(value != 1 for value in values):
            parts.append(f"{name} {values[0] if len(set(values)) == 1 else ' × '.join(map(str, values))}")
    return ", ".join(parts)


def caption(tiles: Tiles, scale: Scale, marks: Marks, extra: Sequence[str]) -> tuple[str, ...]:
    """The lines below a picture: view and n of m, scale and limit, irregularities, notes."""
    view = sentence(tiles.explanation) if _is_plain(tiles) else f"View {tiles.view}: {tiles.explanation}"
    colours = _opponent_scale_text if tiles.parts == OPPONENTS else scale_text
    lines = [view, f"{count_text(tiles)}", colours(tiles, scale)]
    if tiles.layout == "grid":
        lines[:2] = [f"{lines[0]}{PART}{lines[1]}"]
    more = map(sentence, extra) if tiles.noun == "map" else extra
    return tuple(line for line in (*lines, *irregularities(tiles, scale, marks), *more) if line)


def notes(tiles: Tiles, scale: Scale, marks: Marks, extra: Sequence[str]) -> tuple[str, ...]:
    """The warnings, each a sentence: cut, clipped, not finite, as good as zero, and the notes of the bank."""
    cut = [count_text(tiles)] if is_cut(tiles) else []
    return (
        *cut,
        *([clipped_text(tiles, scale)] if scale.below + scale.above else []),
        *irregularities(tiles, scale, marks),
        *extra,
    )


def is_cut(tiles: Tiles) -> bool:
    """Whether some of the kernels, or some rows or columns of a table, are not drawn."""
    axes = (tiles.rows, tiles.columns)
    return len(tiles.numbers) < tiles.total or any(axis is not None and len(axis.labels) < axis.total for axis in axes)


def count_text(tiles: Tiles) -> str:
    """``32 of 32 kernels``; for a table also the count along the other axis."""
    text = f"{len(tiles.numbers):,} of {counted(tiles.total, tiles.noun)}"
    other = {"rows": tiles.columns, "columns": tiles.rows}.get(tiles.numbers_along)
    if other is not None and (len(other.labels) < other.total or tiles.layout == "heatmap"):
        text += f", {len(other.labels):,} of {_plural(other)}"
    return text if tiles.order == "index" else f"{text}, sorted by {tiles.order}, largest first"


def _plural(axis: Axis) -> str:
    first, *rest = axis.name.split(" ")
    words = [first, rest[0] + "s", *rest[1:]] if rest else [first + "s"]
    return f"{axis.total:,} {' '.join(words)}"


def scale_text(tiles: Tiles, scale: Scale) -> str:
    """The line of the caption that explains the colours."""
    clipped = f"{PART}{clipped_text(tiles, scale)}" if scale.below + scale.above else ""
    if tiles.view == "pca" and scale.kind == "range" and (scale.low, scale.high) == tiles.extent:
        full = number_text(scale.limit)
        each = len(tiles.pictures) == len(tiles.parts)
        mean = "White" if each else "Mid-grey, white in component 3," if tiles.pictures else "Mid-grey"
        return f"{mean} is the mean, full colour is {full} or more standard deviations of a component{clipped}"
    if scale.kind == "range":
        return f"{requested_scale_text(scale)}{clipped}"
    if scale.kind == "tile":
        one = "tile" if tiles.as_volumes is None else "map"
        return own_scale_text(one, _size(tiles, signed=scale.signed), grey=tiles.view == "rgb")
    if scale.limit == 0:
        return "Every value is 0"
    limit = f"±{number_text(scale.limit)}" if scale.signed else f"0 to {number_text(scale.high)}"
    if tiles.layout == "heatmap" or tiles.is_reduced:
        return f"Colour scale: {limit}"
    full = f"mid-grey is 0, full colour is {limit}" if tiles.view == "rgb" else limit
    return f"One colour scale for the whole layer: {full}"


def requested_scale_text(scale: Scale) -> str:
    """The line of a caption about a colour scale that was given by its ends."""
    return f"Requested colour scale: {number_text(scale.low, plus=True)} to {number_text(scale.high, plus=True)}"


def own_scale_text(one: str, size: str, *, grey: bool = False) -> str:
    """The line of a caption about colour scales of single tiles: what full colour and, for colours, mid-grey means."""
    full = "Mid-grey is 0, full colour" if grey else "Full colour"
    return f"{full} is the largest {size} of each {one}, so colours are not comparable between {one}s"


def _opponent_scale_text(tiles: Tiles, scale: Scale) -> str:
    rgb = "mid-grey is 0, full colour is the largest absolute weight of the kernel"
    rgb = f"{PART}rgb: {rgb}" if len(tiles.pictures) > len(OPPONENTS) else ""
    clipped = f"{PART}{clipped_text(tiles, scale)}" if scale.below + scale.above else ""
    if scale.kind == "range":
        return f"{requested_scale_text(scale)}{clipped}{rgb}"
    if scale.kind == "tile":
        return f"{own_scale_text('kernel', 'absolute value in the three planes')}{rgb}"
    if scale.limit == 0:
        return "Every value is 0"
    return f"One colour scale for all planes of the layer: ±{number_text(scale.limit)}{rgb}"


def _size(tiles: Tiles, *, signed: bool = False) -> str:
    size = "weight" if tiles.quantity == "weight" else "value"
    return f"absolute {size}" if signed else size


def clipped_text(tiles: Tiles, scale: Scale) -> str:
    """The number of values outside the scale."""
    return outside_text(scale.below + scale.above, tiles.values.size)


def outside_text(count: int, total: int) -> str:
    """How many of the values are outside the colour scale."""
    return f"{count:,} of {total:,} values are outside the colour scale and clipped"


def irregularities(tiles: Tiles, scale: Scale, marks: Marks) -> list[str]:
    """Counts and numbers of the marked tiles: not finite, as good as zero, faint, constant."""
    lines = []
    if marks.nonfinite:
        broken = kernels_touched(tiles, marks.broken)
        many = f"in {len(broken)} {inflected(len(broken), tiles.noun)}"
        framed = "" if tiles.layout == "heatmap" else " with a black frame"
        verb = inflected(marks.nonfinite, "is", "are")
        lines.append(
            f"{marks.nonfinite:,} of {tiles.values.size:,} values {verb} not finite (chequered), {many}{framed}: "
            f"{numbers_text(broken)}"
        )
    parts = []
    what = "sum" if tiles.quantity == "sum of weights" else tiles.noun  # it can be zero although its kernel is not
    if dead := kernels_of(tiles, marks.dead):
        are = counted(len(dead), "map is", "maps are")
        lines.append(f"{are} dead (the same value everywhere), drawn grey: {numbers_text(dead)}")
    if zero := kernels_of(tiles, marks.zero):
        struck = "" if tiles.layout == "heatmap" else ", struck through"
        are = counted(len(zero), f"{what} is", f"{what}s are")
        parts.append(f"{are} as good as zero{struck}: {numbers_text(zero)}")
    if tiles.layout == "grid":
        if faint := kernels_of(tiles, marks.faint):
            limit = "full colour" if scale.kind != "tile" else f"the largest {_size(tiles)} of the layer"
            are = counted(len(faint), f"{what} is", f"{what}s are")
            parts.append(f"{are} faint, below 5 % of {limit}: {numbers_text(faint)}")
        if constant := kernels_of(tiles, marks.constant):
            are = counted(len(constant), f"{what} is", f"{what}s are")
            parts.append(f"{are} constant: {numbers_text(constant)}")
    return [*lines, *([PART.join(parts)] if parts else [])]

"""Which layers moved from A to B: the change of each layer and the angles of its kernels, on one axis of layers."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from kernelviz.drawing.colour import plain
from kernelviz.drawing.comparison_page import MATTERING, NORMALISED, sources_facts, weights_text
from kernelviz.drawing.layer_axis import (
    BARS,
    LEFT,
    TYPE,
    Band,
    Chart,
    bands_of,
    draw_bands,
    draw_frame,
    draw_legend,
    family_of,
    slot_width,
    unlabelled_text,
)
from kernelviz.drawing.looks import find_look
from kernelviz.drawing.page import (
    GREY,
    MARGIN,
    PAGE_WIDTH,
    TITLE,
    Body,
    Item,
    PageParts,
    Panel,
    Raster,
    Text,
    caption_block,
    drawable,
    heading,
    moved,
)
from kernelviz.records import is_untrained
from kernelviz.wording import PART, counted, number_text, sentence

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kernelviz.drawing.figures import PageFigure
    from kernelviz.drawing.looks import LookName
    from kernelviz.drawing.page import Box
    from kernelviz.views.comparisons import ComparedLayer, Comparison


RIGHT = PAGE_WIDTH - MARGIN
FEW, WIDEST_BAR = 8, 60.0  # layers whose numbers are written at their bars; pixels
APART = 96.0  # pixels between the charts
SAME = "grey"  # the role of the mark of layers that are bitwise the same
MOVED, NAMED = 3, 6  # layers that the caption names
PALE = {kind: f"pale: {kind}" for kind in BARS}
MEDIANS = {kind: f"median: {kind}" for kind in BARS}
_STEPS = (1, 2, 2.5, 5, 10)
_ANGLES = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 45, 60, 90)


def plot_changes(comparison: Comparison, *, look: LookName = "page", caption: bool = True) -> PageFigure:
    """Draw which layers moved: for each layer the change ‖B − A‖ / ‖A‖ of its weights, and the angles of its kernels.

    Bars are the change, below them the median angle with a band from the 5 to the 95 % quantile; layers that are bitwise
    the same have a mark below the axis.

    Args:
        comparison: As ``compare_weights`` returns it.
        look: ``page``, ``slide``, ``dark`` or ``print``.
        caption: Whether identity and caption are drawn.

    Example:
        >>> before = {f"conv{i}.weight": np.random.default_rng(i).normal(size=(8, 8, 3, 3)) for i in range(4)}
        >>> after = {name: weight + np.eye(3) for name, weight in before.items()}
        >>> figure = kernelviz.plot_changes(kernelviz.compare_weights(before, after))
    """
    from kernelviz.drawing.figures import draw_page

    recipe = changes_recipe(comparison)
    models = recipe["model"] or []
    untrained = bool(models) and all(is_untrained({"model": each}) for each in models)
    return draw_page(changes_page(comparison), recipe, find_look(look, caption=caption), badge=untrained)


def changes_recipe(comparison: Comparison) -> dict[str, Any]:
    """The recipe of the chart; it contains no path."""
    return {
        **sources_facts(comparison.sources),
        "layer": None,
        "view": "changes",
        "layers": [layer.name for layer in comparison.layers],
        "shown": len(comparison.layers),
        "total": len(comparison.layers) + len(comparison.left_out),
    }


def changes_page(comparison: Comparison) -> Panel:
    """The page: title, bands of stages, two charts, a legend and a caption."""
    identity = PART.join([*weights_text(comparison), _count(comparison)])
    items, top = heading("Which layers changed", identity, (MARGIN, 0.75 * MARGIN), PAGE_WIDTH - 2 * MARGIN, 1.0)
    body, foot = _body(comparison, top + 84)
    lines = _caption(comparison)
    words, below = caption_block(lines, (MARGIN, foot + 46), PAGE_WIDTH - 2 * MARGIN, 1.0)
    parts = lambda: PageParts(  # noqa: E731
        "Which layers changed", _alone(comparison, 1.0), source=PART.join(weights_text(comparison)),
        identity=identity, caption=tuple(lines), notices=_notices(comparison),
        versions=(lambda box: _boxed(comparison, box),), size=TITLE,
    )  # fmt: skip
    return Panel((*items, *body, *words), PAGE_WIDTH, round(below + 0.6 * MARGIN), parts)


def _boxed(comparison: Comparison, box: Box) -> Body:
    """The charts as tall as the box allows with letters that are large enough."""
    free = box.height * 23 / (1.02 * box.smallest)
    return Body(_alone(comparison, max(0.2, min(1.0, (free - 330) / 640))))


def _alone(comparison: Comparison, share: float) -> Panel:
    """The charts, of this share of their usual height, with the legend."""
    items, foot = _body(comparison, 74.0, share)
    return Panel(moved(Panel(tuple(items), 0, 0), -MARGIN, 0), PAGE_WIDTH - 2 * MARGIN, foot + 34)


def _body(comparison: Comparison, top: float, share: float = 1.0) -> tuple[list[Item], float]:
    """The charts from this y on, with the bands of the stages and the legend; and the y of the legend."""
    change, angle = (replace(chart, height=round(chart.height * share)) for chart in _charts(comparison))
    apart = APART * max(0.75, share)
    foot = top + change.height + apart + angle.height
    layers = comparison.layers
    items: list[Item] = [*draw_bands(_bands(comparison), top, foot - 14)]
    items += draw_frame(change, top, RIGHT, _percent)
    items += _bars(layers, change, top)
    items += _sames(layers, top + change.height)
    top += change.height + apart
    items += draw_frame(angle, top, RIGHT, _degrees)
    items += _spans(layers, angle, top)
    marks = [(SAME, "bitwise the same")] if comparison.same else []
    legend, y = draw_legend(((_family(layer), _kernel(layer)) for layer in layers), foot + 42, marks)
    return [*items, *legend], y


def _charts(comparison: Comparison) -> tuple[Chart, Chart]:
    changes = [layer.change for layer in comparison.layers]
    angles = [layer.quantiles[2] for layer in comparison.layers]
    most_change = max((value for value in changes if math.isfinite(value)), default=0.0)
    most_angle = max((value for value in angles if math.isfinite(value)), default=0.0)
    by_change, by_angle = _step(most_change or 1.0), _angle_step(most_angle or 1.0)
    ends = [step * max(1, math.ceil(most / step - 1e-9)) for most, step in
            ((most_change, by_change), (most_angle, by_angle))]  # fmt: skip
    return (
        Chart("change", ("‖B − A‖ / ‖A‖", "of all weights", "of the layer"), changes,
              _ticks(ends[0], by_change, most_change), 330, lambda value: min(value, ends[0]) / ends[0]),
        Chart("angle", ("between kernels", "of A and B: median,", "5 to 95 % quantiles"), angles,
              _ticks(ends[1], by_angle, most_angle), 300, lambda value: value / ends[1]),
    )  # fmt: skip


def _step(most: float) -> float:
    """A round number, of which the largest value is at most seven times as much."""
    power = 10.0 ** math.floor(math.log10(most / 7)) if most else 1.0
    return next(step * power for step in _STEPS if most <= 7.0001 * step * power)


def _angle_step(most: float) -> float:
    """A round number of degrees, of which the largest angle is at most five times as much."""
    return next((step for step in _ANGLES if most <= 5.0001 * step), 45) if most > 0.1 else _step(most)


def _ticks(end: float, step: float, most: float) -> list[float]:
    """From 0 to the end; 0 alone if no value is larger, since the end has no meaning then."""
    return [step * number for number in range(round(end / step) + 1 if most else 1)]


def _percent(share: float) -> str:
    """``70 %``, with as many digits as the number needs."""
    return f"{_plain(100 * share)} %"


def _degrees(angle: float) -> str:
    return f"{_plain(angle)}°"


def _plain(value: float) -> str:
    return f"{value:,.6g}" if value == 0 or 1e-3 <= value < 1e6 else number_text(value)


def change_text(change: float) -> str:
    """``68.9 %``: a change with three digits."""
    if math.isinf(change):
        return "from 0"
    return f"{number_text(100 * change)} %" if math.isfinite(change) else "not finite"


def _wide(count: int) -> float:
    return min(0.76 * slot_width(count, RIGHT), WIDEST_BAR)


def _middle(at: int, count: int) -> float:
    return LEFT + (at + 0.5) * slot_width(count, RIGHT)


def _bars(layers: Sequence[ComparedLayer], chart: Chart, top: float) -> list[Item]:
    """A bar for each layer; of few layers with the change above it."""
    items: list[Item] = []
    count, wide = len(layers), _wide(len(layers))
    for at, layer in enumerate(layers):
        middle = _middle(at, count)
        tall = 0.0
        if not math.isnan(layer.change) and not layer.same:
            tall = max(2.0, chart.height * chart.share(layer.change))
            base = top + chart.height - tall
            items.append(Raster(plain(BARS[_family(layer)]), middle - wide / 2, base, wide, tall))
        if count <= FEW:
            text = "same" if layer.same else change_text(layer.change)
            items.append(Text(middle, top + chart.height - tall - 8, text, TYPE, GREY, align="center"))
    return items


def _sames(layers: Sequence[ComparedLayer], y: float) -> list[Item]:
    """The marks of layers that are bitwise the same; those beside each other touch."""
    width = slot_width(len(layers), RIGHT)
    return [Raster(plain(SAME), LEFT + at * width, y + 5, width, 7) for at, layer in enumerate(layers) if layer.same]


def _spans(layers: Sequence[ComparedLayer], chart: Chart, top: float) -> list[Item]:
    """The median angle of each layer, on a pale band from its 5 to its 95 % quantile."""
    items: list[Item] = []
    count, wide = len(layers), _wide(len(layers))
    for at, layer in enumerate(layers):
        if not math.isfinite(layer.quantiles[1]) or layer.same:
            continue
        left = _middle(at, count) - wide / 2
        high, middle, low = (top + chart.height * (1 - chart.share(value)) for value in reversed(layer.quantiles))
        family = _family(layer)
        items.append(Raster(plain(PALE[family]), left, high, wide, max(1.0, low - high)))
        items.append(Raster(plain(MEDIANS[family]), left, middle - 2.5, wide, 5))
        if count <= FEW:
            items.append(Text(left + wide + 10, middle, f"{number_text(layer.quantiles[1])}°", TYPE, GREY, middle=True))
    return items


def _family(layer: ComparedLayer) -> str:
    record = layer.layer
    if record is None:
        return family_of(_kernel(layer), 1, None)
    return family_of(record.kernel_size, record.groups, record.out_channels)


def _kernel(layer: ComparedLayer) -> tuple[int, ...]:
    return tuple(layer.a.weight.shape[2:])


def _bands(comparison: Comparison) -> list[Band]:
    return bands_of([layer.name for layer in comparison.layers], comparison.stages, RIGHT)


def _count(comparison: Comparison) -> str:
    count, total = len(comparison.layers), len(comparison.layers) + len(comparison.left_out)
    of = f"{count:,} of " if count < total else ""
    order = " in the order in which the network defines them" if count > 1 else ""
    return f"{of}{counted(total, 'convolution')}{order}"


def same_text(comparison: Comparison) -> str:
    """How many layers are bitwise the same, and the first of them."""
    names, total = comparison.same, len(comparison.layers)
    text = f"Bitwise the same in A and B: {len(names):,} of {counted(total, 'layer')}"
    if names and len(names) < total:
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        text += f": {', '.join(map(drawable, names[:NAMED]))}{more}"
    return text


def moved_text(comparison: Comparison) -> str:
    """The layers with the largest change; empty if none has changed."""
    moving = [layer for layer in comparison.layers if layer.change > 0]
    most = sorted(moving, key=lambda layer: -layer.change)[:MOVED]
    names = ", ".join(f"{drawable(layer.name)} {change_text(layer.change)}" for layer in most)
    return f"Largest changes: {names}" if most else ""


def odd_lines(comparison: Comparison) -> list[str]:
    """How many kernels died, were born or are not finite, and layers of which all weights were 0."""
    lines = []
    layers = comparison.layers
    for verb, what in (("died", "died"), ("born", "were born")):
        counts = {layer.name: len(getattr(layer, verb)) for layer in layers if getattr(layer, verb)}
        if counts:
            where = f"in {counted(len(counts), 'layer')}" if len(counts) > 1 else f"in {drawable(next(iter(counts)))}"
            lines.append(f"{counted(sum(counts.values()), 'kernel')} {what}, {where}")
    broken = {layer.name: int(layer.broken.sum()) for layer in layers if layer.broken.any()}
    if broken:
        names = ", ".join(map(drawable, [*broken][:NAMED])) + (" …" if len(broken) > NAMED else "")
        have = counted(sum(broken.values()), "kernel has", "kernels have")
        lines.append(f"{have} values that are not finite, and no angle: {names}")
    from_zero = [drawable(layer.name) for layer in layers if math.isinf(layer.change)]
    if from_zero:
        lines.append(f"All weights of A are 0, so that the change is infinite: {', '.join(from_zero[:NAMED])}")
    return lines


def _left_out(comparison: Comparison) -> list[str]:
    """The layers that could not be compared."""
    lines = []
    for name, why in [*comparison.left_out.items()][:MOVED]:
        lines.append(f"Left out: {drawable(name)} {why}")
    if len(comparison.left_out) > MOVED:
        lines.append(f"Left out: {len(comparison.left_out) - MOVED} more")
    return lines


def _caption(comparison: Comparison) -> list[str]:
    identical = ["A and B are the same file: everything is bitwise the same"] if comparison.identical else []
    zero = sum(len(layer.zero) for layer in comparison.layers)
    total = sum(len(layer.changes) for layer in comparison.layers)
    dead = [f"{zero:,} of {counted(total, 'kernel')} are as good as zero in both, and have no angle"] if zero else []
    return [
        *identical,
        *filter(None, [moved_text(comparison)]),
        same_text(comparison),
        NORMALISED,
        MATTERING,
        *odd_lines(comparison),
        *_left_out(comparison),
        *dead,
        *unlabelled_text(_bands(comparison)),
        *map(sentence, comparison.notes),
    ]


def _notices(comparison: Comparison) -> tuple[str, ...]:
    """The lines that change the meaning of the chart."""
    return (
        same_text(comparison), *odd_lines(comparison), *_left_out(comparison), *map(sentence, comparison.notes),
    )  # fmt: skip

"""Pictures of a traced unit: the one value with what made it, and a kernel beside its map."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from kernelviz.drawing.sheets import map_facts
from kernelviz.drawing.sights import ink_of, ink_text
from kernelviz.drawing.unit_numbers import single_page, stacked_page
from kernelviz.drawing.worksheets import worksheet
from kernelviz.records import FeatureMaps
from kernelviz.unit_texts import SHOWN, at_text, settings_text, value_of

if TYPE_CHECKING:
    from kernelviz.drawing.figures import PageFigure
    from kernelviz.drawing.page import Panel
    from kernelviz.traces import Unit


FEW = 4  # channels whose matrices are written out
TITLE = "One value of a feature map"


def plot_unit(unit: Unit) -> PageFigure:
    """Draw how one value of a feature map came about.

    Up to four input channels are written out, window × kernel = products; of more of them those that contribute most, as
    bars that add up to the value. Beside it the map with the unit in it, and what of the image the unit can see.

    Args:
        unit: what ``trace_unit`` gave.
    """
    from kernelviz.drawing.figures import draw_page

    figure = draw_page(unit_page(unit))
    figure.recipe = unit_recipe(unit, whole=False)
    return figure


def plot_kernel_and_map(unit: Unit) -> PageFigure:
    """Draw a kernel, what it slides over, and the map that it makes, side by side.

    Of many input channels those that the kernel weighs most are shown. The unit's row and column do not matter.

    Args:
        unit: what ``trace_unit`` gave for any unit of that map.
    """
    from kernelviz.drawing.figures import draw_page
    from kernelviz.drawing.kernel_and_map import kernel_and_map_page

    figure = draw_page(kernel_and_map_page(unit))
    figure.recipe = unit_recipe(unit, whole=True)
    return figure


def unit_recipe(unit: Unit, *, whole: bool) -> dict[str, Any]:
    """How the picture is made; of the ``whole`` map, or of the one unit."""
    place = ",".join(map(str, unit.at))
    limit = ink_of(unit.map)
    maps = FeatureMaps(
        unit.map[None], unit.layer.name, unit.layer.kind, source=unit.source, image=unit.image, seen=unit.seen,
        input_size=unit.input_size,
    )  # fmt: skip
    shown = min(len(unit.numbers), SHOWN if len(unit.numbers) > FEW else FEW)
    return {
        **map_facts(maps),
        "command": "explain",
        "view": f"map {unit.at[0]}" if whole else f"unit {place}",
        "shown": shown,
        "limits": [-limit.limit if limit.negative else 0.0, limit.limit] if limit.known else None,
        "nonfinite": int(np.count_nonzero(~np.isfinite(unit.map))),
        "notes": notes(unit),
    }


def unit_page(unit: Unit) -> Panel:
    """The page of ``plot_unit``."""
    identity = [unit.source.model if unit.source else "", unit.layer.name, at_text(unit)]
    settings = " · ".join(part for part in identity if part)
    n, rows, columns = unit.window.shape
    if rows * columns == 1 or n > FEW:
        from kernelviz.drawing.waterfall import waterfall_page

        body, more = waterfall_page(unit)
    else:
        body, more = (single_page(unit) if n == 1 else stacked_page(unit)), ""
    said = [
        more,
        "rounded for display, summed before",
        f"the network gave {value_of(unit.value)}",
        ink_text(ink_of(unit.map)),
    ]
    return worksheet(TITLE, settings, body, [], [*captions(unit), *said, *notes(unit)])


def captions(unit: Unit) -> list[str]:
    """The layer, its weights, and what the network expects of an image."""
    lines = [settings_text(unit)]
    if unit.layer.depthwise:
        lines[0] += ": one kernel reads one channel"
    if unit.layer.transposed:
        lines.append("transposed: as a convolution with the kernel turned by 180°, zeros between the values")
    if unit.reads_image and unit.source and unit.source.preprocessing:
        lines.append(_input_text(unit.source.preprocessing))
    if unit.source and unit.source.label != unit.source.model:  # of a plain module both are its class
        lines.append(f"weights: {unit.source.label}")
    if unit.padding.any():
        lines.append("dashed: padding around the input")
    if unit.mixes_image:
        lines.append("+: a gate, a mean or attention mixes in the whole image")
    if unit.box is None:
        lines.append(f"what the unit can see is not known: {unit.unseen}")
    return lines


def _input_text(facts: Any) -> str:
    mean, deviation = (_one(facts[key]) for key in ("mean", "std"))
    return f"input (x − {mean}) / {deviation}"


def _one(values: Any) -> str:
    """One number where all channels have the same."""
    numbers = [f"{float(value):.4g}" for value in values]
    return numbers[0] if len(set(numbers)) == 1 else f"({', '.join(numbers)})"


def notes(unit: Unit) -> list[str]:
    """What is odd: of the image, of what the network saw, and values that are not finite."""
    lines = [*(unit.image.notes if unit.image else ()), *(unit.seen.notes if unit.seen else ())]
    for name, values in (("map", unit.map), ("window", unit.window), ("kernel", unit.kernel)):
        broken = int(np.count_nonzero(~np.isfinite(values)))
        if broken:
            lines.append(f"{broken:,} of {values.size:,} values of the {name} are not finite: grey or chequered")
    if unit.map.size > 1 and (unit.map == unit.map.flat[0]).all():
        lines.append(f"the map is constant: every value is {value_of(float(unit.map.flat[0]))}")
    return lines

"""The layers of a report as a strip of bars, in SVG: numbers in, markup out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import TYPE_CHECKING

from markupsafe import Markup, escape

if TYPE_CHECKING:
    from collections.abc import Sequence

SLOT = 24
"""The least width of a bar with its gap, in CSS pixels: that of a target."""

_TOP, _TALLEST, _SHORTEST, _BASE = 14, 60, 6, 92
_WIDEST, _NARROWEST = 18, 4
_LETTER = 6.6  # width of a letter of a label


@dataclass(frozen=True)
class Bar:
    """One layer: ``resolution`` is the side of its maps, ``seen`` the share of the image's side that a unit sees, or None.

    ``mixes`` marks layers that only mix maps, as 1 × 1 convolutions do. ``text`` is its full name and description.
    """

    name: str
    text: str
    address: str
    resolution: float
    channels: int
    seen: float | None
    mixes: bool


def skyline(bars: Sequence[Bar], stages: Sequence[str], side: float) -> Markup:
    """The strip: bars with links, the line of what a unit sees, and the names of the stages where they fit.

    ``side`` is the resolution of the input, that of a full bar. ``stages`` has the stage of each layer, empty for none. All
    positions along the strip are percentages, so that it is as wide as the page, or as wide as its bars need.
    """
    resolutions, channels = [bar.resolution for bar in bars], [float(bar.channels) for bar in bars]
    heights = _scaled(resolutions, _SHORTEST, _TALLEST, (1.0, max(side, *resolutions)))
    widths = _scaled(channels, _NARROWEST, _WIDEST, (min(channels), max(channels)))
    parts = [
        _bar(bar, number, len(bars), height, width)
        for number, (bar, height, width) in enumerate(zip(bars, heights, widths, strict=True))
    ]
    whole = Markup('<line class="all" x1="0" x2="100%" y1="{0}" y2="{0}"/>').format(_TOP)
    return Markup(
        '<svg id="strip" width="100%" height="112" role="group" aria-label="Layers in order">'
        '{whole}{bars}<g aria-hidden="true">{line}{labels}</g>'
        '<circle id="skyline-dot" class="scripted" hidden r="4.5"/></svg>'
    ).format(
        whole=whole if any(bar.seen is not None for bar in bars) else "", bars=Markup("").join(parts), line=_line(bars),
        labels=_labels(stages),
    )  # fmt: skip


def stages_of(names: Sequence[str]) -> list[str]:
    """The stage of each layer, by the parts of its name: ``blocks.1`` of ``blocks.1.0.conv``, empty for a layer outside.

    As few parts as make more than three of them, or else as make most.
    """
    split = [name.split(".") for name in names]
    depths = [[".".join(parts[:depth]) if len(parts) > depth else "" for parts in split] for depth in (1, 2, 3)]
    return next((each for each in depths if len(set(each)) > _FEW), max(depths, key=lambda each: len(set(each))))


_FEW = 3


def _scaled(values: Sequence[float], low: float, high: float, ends: tuple[float, float]) -> list[float]:
    """Logarithms of sizes between two lengths, which stand for the ``ends``."""
    logs = [math.log2(max(value, 1)) for value in values]
    least, most = (math.log2(max(end, 1)) for end in ends)
    span = most - least
    return [low + (high - low) * (log - least) / span if span else (low + high) / 2 for log in logs]


def _percent(number: float, count: int) -> str:
    return f"{100 * number / count:.3f}%"


def _seen_at(seen: float) -> float:
    """The height of the line for a share of the photograph."""
    return round(_BASE - (_BASE - _TOP) * min(1.0, seen), 1)


def _bar(bar: Bar, number: int, count: int, height: float, width: float) -> Markup:
    middle = _percent(number + 0.5, count)
    line = "" if bar.seen is None else Markup(' data-y="{}"').format(_seen_at(bar.seen))
    return Markup(
        '<a href="{address}" data-layer="{number}" data-x="{middle}"{line} aria-label="{text}"><title>{text}</title>'
        '<rect class="slot" x="{left}" width="{slot}" y="0" height="{base}"/><svg class="bar-at" x="{middle}" y="0">'
        '<rect class="{kind}" x="{x:.1f}" width="{width:.1f}" y="{y:.1f}" height="{height:.1f}"/></svg></a>'
    ).format(
        address=bar.address, number=number, middle=middle, line=line, text=bar.text, left=_percent(number, count),
        slot=_percent(1, count), base=_BASE, kind="mix" if bar.mixes else "space", x=-width / 2, width=width,
        y=_BASE - height, height=height,
    )  # fmt: skip


def _line(bars: Sequence[Bar]) -> Markup:
    """What a unit sees from layer to layer, broken where it is not known and past the gates; rings are at the branches."""
    gates = _gates(bars)
    trunk = [(number, bar.seen) for number, bar in enumerate(bars) if number not in gates]
    parts = [
        Markup('<line class="seen" x1="{}" y1="{}" x2="{}" y2="{}"/>').format(
            _percent(before + 0.5, len(bars)), _seen_at(less), _percent(after + 0.5, len(bars)), _seen_at(more)
        )
        for (before, less), (after, more) in pairwise(trunk)
        if less is not None and more is not None
    ]
    rings = [
        Markup('<circle class="beside" cx="{}" cy="{}" r="3.5"/>').format(_percent(at + 0.5, len(bars)), _seen_at(seen))
        for at, seen in branches(bars)
    ]
    return Markup("").join([*parts, *rings])


def _gates(bars: Sequence[Bar]) -> set[int]:
    """The layers whose maps are one value, before others that are larger: they weigh the maps of the trunk."""
    larger = max((number for number, bar in enumerate(bars) if bar.resolution > 1), default=0)
    return {number for number, bar in enumerate(bars[:larger]) if bar.resolution <= 1}


def branches(bars: Sequence[Bar]) -> list[tuple[int, float]]:
    """The layers beside the trunk, with what a unit of them sees: gates, and layers that see less than the one before."""
    gates = _gates(bars)
    known = {number: bar.seen for number, bar in enumerate(bars) if bar.seen is not None}
    trunk = [number for number in range(len(bars)) if number not in gates]
    less = {after for before, after in pairwise(trunk) if known.get(after, 1.0) < known.get(before, 0.0)}
    return [(number, seen) for number, seen in known.items() if number in gates | less]


def _labels(stages: Sequence[str]) -> Markup:
    slot = max(SLOT, min(5 * SLOT, 320 / len(stages)))  # the narrowest, on the narrowest page
    parts, at, free = [], 0, 0.0
    for stage, group in groupby(stages):
        size = len(list(group))
        if stage:
            parts.append(
                Markup('<line class="tick" x1="{0}" x2="{0}" y1="94" y2="98"/>').format(_percent(at, len(stages)))
            )
        if stage and at * slot >= free and len(stage) * _LETTER <= size * slot + 40:
            room = size * slot
            text = stage if len(stage) * _LETTER <= room else ""
            if text:
                parts.append(
                    Markup('<text x="{}" dx="3" y="108">{}</text>').format(_percent(at, len(stages)), escape(text))
                )
                free = at * slot + len(text) * _LETTER
        at += size
    return Markup("").join(parts)

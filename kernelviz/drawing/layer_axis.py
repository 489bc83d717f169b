"""Charts with the layers of a network along their axis: bands of stages, families of convolutions, ticks and legend."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kernelviz.drawing.colour import plain
from kernelviz.drawing.page import GREY, INK, MARGIN, PAGE_WIDTH, Item, Raster, Text, drawable, text_width

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence


TYPE = 25.0
LEFT, RIGHT = 364.0, 1440.0  # the ends of the axis; another right end if nothing is written after it
BAND, GRID = "band", "grid"
STANDARD = "standard"  # a convolution of all channels; "dense" is a fully connected layer
BARS = {kind: f"family: {kind}" for kind in (STANDARD, "grouped", "pointwise 1 × 1", "depthwise")}


@dataclass(frozen=True)
class Chart:
    """One panel: its name, what it counts, its values, and the height of a value in it (0 at the bottom, 1 at the top)."""

    name: str
    words: tuple[str, ...]
    values: Sequence[float]
    ticks: Sequence[float]
    height: float
    share: Callable[[float], float]
    unit: str = ""


def slot_width(count: int, right: float = RIGHT) -> float:
    """The width that each of so many layers has on the axis."""
    return (right - LEFT) / count


def draw_frame(
    chart: Chart, top: float, right: float = RIGHT, write: Callable[[float], str] = "{:,}".format
) -> list[Item]:
    """The name of a panel, its ticks and the lines at them."""
    items: list[Item] = [Text(MARGIN, top + TYPE, chart.name, TYPE, INK, bold=True)]
    items += [Text(MARGIN, top + TYPE * (2.3 + 1.25 * at), word, 23) for at, word in enumerate(chart.words) if word]
    taken = -100.0
    for tick in sorted(chart.ticks):
        y = top + chart.height * (1 - chart.share(tick))
        items.append(Raster(plain(GRID), LEFT, y - 1, right - LEFT, 2))  # below the bars, where a Rule would lie above
        if abs(taken - y) >= 1.3 * TYPE:
            items.append(Text(LEFT - 14, y, write(tick), TYPE, GREY, align="right", middle=True))
            taken = y
    return items


def family_of(kernel: Collection[int] | None, groups: int | None, channels: int | None) -> str:
    """The family of a convolution by its kernel size, its groups and its output channels, as far as they are known."""
    if groups and groups > 1 and channels and groups == channels:
        return "depthwise"
    if groups and groups > 1:
        return "grouped"
    return "pointwise 1 × 1" if kernel and set(kernel) == {1} else STANDARD


def draw_legend(families: Iterable[tuple[str, tuple[int, ...] | None]], y: float) -> list[Item]:
    """The colours of the families that there are, with their kernel sizes."""
    x, items = LEFT, list[Item]()
    known = list(families)
    for kind, colour in BARS.items():
        sizes = {kernel for family, kernel in known if kernel and family == kind}
        if not sizes:
            continue
        words = kind if kind.endswith("1 × 1") else f"{kind} {_sizes_text(sizes)}"
        items += [Raster(plain(colour), x, y, 20, 20), Text(x + 32, y + 10, words, TYPE, middle=True)]
        x += 32 + text_width(words, TYPE) + 44
    return items


def _sizes_text(sizes: Collection[tuple[int, ...]]) -> str:
    """``3 × 3 and 5 × 5``, or from the smallest to the largest."""
    words = [" × ".join(map(str, size)) for size in sorted(sizes)]
    return " and ".join(words) if len(words) < 3 else f"{words[0]} to {words[-1]}"


@dataclass(frozen=True)
class Band:
    """A run of layers of one stage: its sides, the stage, and its label, empty if there is no room for it."""

    left: float
    right: float
    stage: str
    label: str


def draw_bands(bands: Sequence[Band], top: float, foot: float) -> list[Item]:
    """Every second stage as a pale band, with its name on top if it fits."""
    items = list[Item]()
    for number, band in enumerate(bands):
        if number % 2 == 0:
            items.append(Raster(plain(BAND), band.left, top - 30, band.right - band.left, foot - top + 60))
        if band.label:
            items.append(Text((band.left + band.right) / 2, top - 44, band.label, TYPE, align="center"))
    return items


def bands_of(names: Sequence[str], stages: Sequence[str], right: float = RIGHT) -> list[Band]:
    """The bands of the stages, labelled with their names; with the last parts of these if not all names fit."""
    owners = [_stage_of(stages, name) for name in names]
    full = _labelled(owners, {owner: drawable(owner) for owner in owners}, right)
    if all(band.label or not band.stage for band in full):
        return full
    short = _labelled(owners, _short_names(owners), right)
    return short if sum(bool(band.label) for band in short) > sum(bool(band.label) for band in full) else full


def _short_names(owners: Sequence[str]) -> dict[str, str]:
    """The last part of the name of each stage that has the parent of most; the others keep their names."""
    parents = [owner.rpartition(".")[0] for owner in dict.fromkeys(owners) if owner]
    parent = max(parents, key=parents.count)
    short = f"{parent}." if parent and parents.count(parent) > 1 else ""
    return {owner: drawable(owner.removeprefix(short)) for owner in owners}


def _labelled(owners: Sequence[str], names: Mapping[str, str], right_end: float) -> list[Band]:
    """A band for each run of equal owners, with its name if that fits above it."""
    starts = [at for at in range(len(owners)) if not at or owners[at] != owners[at - 1]]
    width, taken, bands = slot_width(len(owners), right_end), LEFT - 20, list[Band]()
    for start, end in zip(starts, [*starts[1:], len(owners)], strict=True):
        left, right, name = LEFT + start * width, LEFT + end * width, names[owners[start]]
        half, middle = text_width(name, TYPE) / 2, (left + right) / 2
        fits = 2 * half <= right - left + 24 and middle - half >= taken + 12 and middle + half <= PAGE_WIDTH - MARGIN
        taken = middle + half if name and fits else taken
        bands.append(Band(left, right, owners[start], name if fits else ""))
    return bands


def _stage_of(stages: Sequence[str], name: str) -> str:
    """The stage that contains a layer, or the module beside a stage; empty outside."""
    for stage in stages:
        parent = stage.rpartition(".")[0]
        if f"{name}.".startswith(f"{stage}."):
            return stage
        if parent and name.startswith(f"{parent}.") and name.count(".") > stage.count("."):
            return ".".join(name.split(".")[: stage.count(".") + 1])
    return ""


def unlabelled_text(bands: Sequence[Band]) -> list[str]:
    """What the labels of the bands lack: stages with short names, and stages without any."""
    narrow = dict.fromkeys(drawable(band.stage) for band in bands if band.stage and not band.label)
    short = [(band.label, drawable(band.stage)) for band in bands if band.label not in ("", drawable(band.stage))]
    more = f" and {len(narrow) - 12} more" if len(narrow) > 12 else ""
    return [
        *([f"stages {short[0][0]} to {short[-1][0]}: {short[0][1]} to {short[-1][1]}"] if short else []),
        *([f"too narrow for their names: {', '.join(list(narrow)[:12])}{more}"] if narrow else []),
    ]

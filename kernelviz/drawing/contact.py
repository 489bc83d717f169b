"""A contact sheet: the same channels of one layer for every image, one row per image, on one scale."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kernelviz.drawing.sheets import source_facts
from kernelviz.errors import UsageError
from kernelviz.records import as_maps, check_positive
from kernelviz.views.kernel_views import named_channels
from kernelviz.views.map_views import telling_channels
from kernelviz.views.statistics import Gathered

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kernelviz.drawing.figures import PageFigure
    from kernelviz.records import Array, FeatureMaps, Source


MOST_CHANNELS = 16
MOST_ROWS = 120  # no figure has room for more
THUMBNAIL = 168


@dataclass(frozen=True)
class ContactRow:
    """One image: what the network saw of it in small (h, w, 3), and the chosen maps (n, H, W)."""

    thumbnail: Array | None
    values: Array


class ContactSheet:
    """Gathers the rows, image by image; the channels are chosen at the first one, and rows kept as far as they fit.

    ``channels`` are numbers, or a text like ``0-3,7``; without them the ``count`` maps that differ most over the first
    image are taken. ``total`` counts the images, ``nonfinite`` the values of the chosen maps that are not finite, those
    of images without room too.

    Raises:
        UsageError: more than sixteen channels, or none.
    """

    def __init__(self, channels: str | Sequence[int] | None = None, count: int = 8) -> None:
        check_count(check_positive("number of channels", count) or 1)
        self.wanted = channels
        self.channels: tuple[int, ...] | None = None
        self.count = count
        self.images = Gathered()
        self.nonfinite = 0
        self.rows: list[ContactRow] = []
        self.layer = ""
        self.source: Source | None = None
        self.of_channels = 0

    @property
    def total(self) -> int:
        """How many images there are."""
        return len(self.images)

    def add(self, maps: FeatureMaps | Array) -> None:
        """Take in the maps (C, H, W) of one image.

        Raises:
            UsageError: a channel that there is not, more than sixteen, or another number of channels than before.
        """
        subject = as_maps(maps)
        total = len(subject.values)
        if self.channels is None:
            self.channels = self._chosen(subject.values)
            self.layer, self.source, self.of_channels = subject.layer or "", subject.source, total
        if total != self.of_channels:
            raise UsageError(f"The layer had {self.of_channels:,} channels before, but now it has {total:,}.")
        values = subject.values[list(self.channels)]
        self.images.add(subject)
        self.nonfinite += int(values.size - np.count_nonzero(np.isfinite(values)))
        if len(self.rows) < MOST_ROWS:
            small = _thumbnail(subject.seen.pixels) if subject.seen else None
            self.rows.append(ContactRow(small, values))

    def _chosen(self, values: Array) -> tuple[int, ...]:
        if self.wanted is not None:
            return contact_channels(self.wanted, len(values))
        return telling_channels(values, self.count) or tuple(range(min(self.count, len(values))))


def contact_channels(channels: str | Sequence[int], total: int) -> tuple[int, ...]:
    """The channels that were asked for, of a layer with ``total`` of them.

    Raises:
        UsageError: no such channel, or more than sixteen.
    """
    chosen = named_channels(channels, total)
    check_count(len(chosen))
    return chosen


def check_count(count: int) -> None:
    """Refuse more channels than a row has room for.

    Raises:
        UsageError: they are more than sixteen.
    """
    if count > MOST_CHANNELS:
        hint = "Choose fewer with --channels, or with --top."
        raise UsageError(f"A contact sheet has room for {MOST_CHANNELS} channels, but got {count:,}.", hint=hint)


def _thumbnail(pixels: Array) -> Array:
    step = max(1, max(pixels.shape[:2]) // THUMBNAIL)
    rows, columns = (max(1, side // step) for side in pixels.shape[:2])
    across, down = min(step, pixels.shape[1]), min(step, pixels.shape[0])
    cut = pixels[: rows * down, : columns * across].reshape(rows, down, columns, across, 3)
    return np.asarray(np.rint(cut.mean(axis=(1, 3))), np.uint8)


def plot_contact(
    sheet: ContactSheet | Sequence[FeatureMaps], channels: str | Sequence[int] | None = None
) -> PageFigure:
    """Draw the same channels of one layer for several images, a row an image with the image in front, on one scale.

    ``sheet`` is a ``ContactSheet``, or the maps of one layer for each image; ``channels`` then says which of them (numbers,
    or a text like ``0-3,7``), else the eight that differ most over the first image. Rows that do not fit on a page are
    left out, and said.

    Raises:
        UsageError: there is no row, no such channel, more than sixteen of them, or none.
    """
    from kernelviz.drawing.contact_page import contact_page
    from kernelviz.drawing.figures import draw_page

    if not isinstance(sheet, ContactSheet):
        gathered = ContactSheet(channels)
        for maps in sheet:
            gathered.add(maps)
        sheet = gathered
    if not sheet.rows or sheet.channels is None:
        raise UsageError("There is no image to put on the contact sheet.")
    page = contact_page(sheet)
    figure = draw_page(page.panel)
    figure.recipe = {
        **source_facts("features", sheet.source),
        "layer": sheet.layer or None,
        "view": "contact",
        "image": sheet.images.as_recipe(),
        "channels": list(sheet.channels),
        "images": list(sheet.images.names[: page.shown]),
        "shown": page.shown,
        "total": sheet.total,
        "limits": [page.scale.low, page.scale.high],
        "nonfinite": sheet.nonfinite,
        "notes": list(page.notes),
    }
    return figure

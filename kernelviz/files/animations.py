"""Animations as bytes: GIF with one palette for all frames, or lossless WebP; the recipe inside."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, TypeGuard

import numpy as np

from kernelviz.files.recipes import recipe_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from kernelviz.drawing.figures import Animation, PageFigure
    from kernelviz.drawing.page import Panel
    from kernelviz.records import Array, Progress


ANIMATED = ("gif", "webp")
WIDTH = 720  # pixels of a frame across
COLOURS = 256
MAPPED = 2048  # colours at a time that are compared with the palette


def is_animation(picture: object) -> TypeGuard[Animation]:
    """Whether a picture is an animation."""
    return hasattr(picture, "pages") and hasattr(picture, "durations")


def animation_bytes(animation: Animation, file_format: str, progress: Progress | None = None) -> bytes:
    """An animation as the bytes of a GIF or a WebP file, which repeats for ever; ``progress`` hears of every frame."""
    text = recipe_text(animation.recipe).encode("ascii")
    return (_webp if file_format == "webp" else _gif)(Film(animation, progress), text)


class Film:
    """The frames of an animation as (H, W, 3) pixels, in any order; of each only that is drawn which is new in it."""

    def __init__(self, animation: Animation, progress: Progress | None = None) -> None:
        self._animation = animation
        self._progress = progress
        self._drawn_frames = 0
        self._figure: PageFigure | None = None
        self._last: tuple[Panel, Array] | None = None

    def frame(self, at: int) -> Array:
        """One page, pixel for pixel as it is drawn alone."""
        page = self._animation.pages[at]
        pixels = self._drawn(page) if self._last is None else self._redrawn(page, *self._last)
        self._last = page, pixels
        self._drawn_frames += 1
        if self._progress is not None:
            self._progress("drawing frames", self._drawn_frames, len(self._animation.pages))
        return pixels

    @property
    def animation(self) -> Animation:
        """What it is of."""
        return self._animation

    def _redrawn(self, page: Panel, before: Panel, shown: Array) -> Array:
        from kernelviz.drawing.changes import changed_boxes, pixels_of, touching

        boxes = changed_boxes(before, page)
        if boxes is None:
            return self._drawn(page)
        region = np.zeros(shown.shape[:2], bool)
        for box in boxes:
            region[pixels_of(box, _scale(page), region.shape)] = True
        result = shown.copy()
        result[region] = self._drawn(touching(page, region, _scale(page)))[region]
        return result

    def _drawn(self, page: Panel) -> Array:
        from kernelviz.drawing.figures import DPI, draw_again, draw_page, figure_pixels

        if self._figure is None:
            self._figure = draw_page(page)
            self._figure.recipe = self._animation.recipe
            self._figure.set_dpi(DPI * _scale(page))
        else:
            draw_again(self._figure, page)
        return figure_pixels(self._figure)


def _scale(page: Panel) -> float:
    """Pixels of a frame in a page pixel."""
    return min(1.0, WIDTH / page.width)


def _gif(film: Film, comment: bytes) -> bytes:
    """The palette comes from some frames of all; each frame is drawn, mapped and let go."""
    from PIL import Image

    animation = film.animation
    count = len(animation.pages)
    sampled = {at: film.frame(at) for at in sorted({round(at * (count - 1) / 7) for at in range(8)})}
    palette = Palette(sampled.values())

    def images() -> Iterator[Image.Image]:
        for at in range(count):
            frame = sampled.pop(at) if at in sampled else film.frame(at)
            image = Image.fromarray(palette.nearest(frame), "P")
            image.putpalette(palette.colours.tobytes())
            yield image

    first, *rest = images()
    buffer = io.BytesIO()
    first.save(
        buffer, "GIF", save_all=True, append_images=rest, duration=list(animation.durations), loop=0,
        optimize=False, disposal=1, comment=comment,
    )  # fmt: skip
    return buffer.getvalue()


def _webp(film: Film, xmp: bytes) -> bytes:
    from PIL import Image

    animation = film.animation
    images = (Image.fromarray(film.frame(at)) for at in range(len(animation.pages)))
    buffer = io.BytesIO()
    next(images).save(
        buffer, "WEBP", save_all=True, append_images=images, duration=list(animation.durations), loop=0,
        lossless=True, quality=60, method=2, xmp=xmp,
    )  # fmt: skip
    return buffer.getvalue()


def _chosen(colours: Array, counts: Array) -> Array:
    """(n, 3) uint8: half of the palette are the colours that cover most, half those that would be missed most."""
    kept = list(range(min(len(colours), COLOURS // 2)))
    away = np.min([((colours - colours[at]) ** 2).sum(axis=1) for at in kept], axis=0)
    while len(kept) < min(len(colours), COLOURS):
        missed = int((away * counts).argmax())
        kept.append(missed)
        away = np.minimum(away, ((colours - colours[missed]) ** 2).sum(axis=1))
    return np.asarray(colours[kept], np.uint8)


class Palette:
    """The colours that matter most in some frames, and for each colour the exactly nearest of them.

    Pillow's own way to quantize turns white into what is nearly white.
    """

    def __init__(self, frames: Iterable[Array]) -> None:
        from PIL import Image

        counts: dict[tuple[int, int, int], int] = {}
        for frame in frames:
            image = Image.fromarray(frame)
            for count, colour in image.getcolors(1 << 16) or image.getcolors(1 << 24) or []:
                key: tuple[int, int, int] = colour  # type: ignore[assignment]  # of an RGB image
                counts[key] = counts.get(key, 0) + count
        found = sorted(counts, key=lambda colour: (-counts[colour], colour))
        self.colours = _chosen(np.array(found), np.array([counts[colour] for colour in found]))
        self._known = np.zeros(1 << 24, np.uint16)  # index + 1 of every colour that was met; zeros take no memory

    def nearest(self, frame: Array) -> Array:
        """(H, W) uint8 indices into the colours."""
        wide = frame.astype(np.int32)
        packed = wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2]
        found = self._known[packed]
        if not found.all():
            new = np.unique(packed[found == 0])
            parts = np.stack([new >> 16, new >> 8 & 255, new & 255], axis=1)
            table = self.colours.astype(np.int32)
            for at in range(0, len(new), MAPPED):
                away = ((parts[at : at + MAPPED, None] - table) ** 2).sum(axis=2)
                self._known[new[at : at + MAPPED]] = away.argmin(axis=1) + 1
            found = self._known[packed]
        return np.asarray(found - 1, np.uint8)

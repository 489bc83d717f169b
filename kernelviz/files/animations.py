"""Animations as bytes: GIF with one palette for all frames, or lossless WebP; the recipe inside."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, TypeGuard

import numpy as np

from kernelviz.files.recipes import recipe_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from kernelviz.drawing.animation import Animation
    from kernelviz.records import Array

ANIMATED = ("gif", "webp")
WIDTH = 720  # pixels of a frame across
COLOURS = 256


def is_animation(picture: object) -> TypeGuard[Animation]:
    """Whether a picture is an animation."""
    return hasattr(picture, "pages") and hasattr(picture, "durations")


def animation_bytes(animation: Animation, file_format: str) -> bytes:
    """An animation as the bytes of a GIF or a WebP file, which repeats for ever."""
    text = recipe_text(animation.recipe).encode("ascii")
    return _webp(animation, text) if file_format == "webp" else _gif(animation, text)


def _frame(animation: Animation, at: int) -> Array:
    """One page as (H, W, 3) pixels."""
    from kernelviz.drawing.figures import DPI, draw_page
    from kernelviz.files.encoding import figure_pixels

    page = animation.pages[at]
    figure = draw_page(page)
    figure.recipe = animation.recipe
    figure.set_dpi(DPI * min(1.0, WIDTH / page.width))
    return figure_pixels(figure)


def _gif(animation: Animation, comment: bytes) -> bytes:
    """The palette comes from some frames of all; each frame is drawn, mapped and let go."""
    from PIL import Image

    count = len(animation.pages)
    sampled = {at: _frame(animation, at) for at in sorted({round(at * (count - 1) / 7) for at in range(8)})}
    palette = Palette(sampled.values())

    def images() -> Iterator[Image.Image]:
        for at in range(count):
            frame = sampled.pop(at) if at in sampled else _frame(animation, at)
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


def _webp(animation: Animation, xmp: bytes) -> bytes:
    from PIL import Image

    images = (Image.fromarray(_frame(animation, at)) for at in range(len(animation.pages)))
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
            self._known[new] = [int(((table - colour) ** 2).sum(axis=1).argmin()) + 1 for colour in parts]
            found = self._known[packed]
        return np.asarray(found - 1, np.uint8)

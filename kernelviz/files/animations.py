"""Animations as bytes: GIF with one palette for all frames, or lossless WebP; the recipe inside."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, TypeGuard

import numpy as np

from kernelviz.files.recipes import recipe_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kernelviz.drawing.animation import Animation
    from kernelviz.records import Array

ANIMATED = ("gif", "webp")
WIDTH = 800  # pixels of a frame across
COLOURS = 256


def is_animation(picture: object) -> TypeGuard[Animation]:
    """Whether a picture is an animation."""
    return hasattr(picture, "pages") and hasattr(picture, "durations")


def animation_bytes(animation: Animation, file_format: str) -> bytes:
    """An animation as the bytes of a GIF or a WebP file, which repeats for ever."""
    frames = list(_frames(animation))
    text = recipe_text(animation.recipe)
    return _webp(frames, animation, text) if file_format == "webp" else _gif(frames, animation, text)


def _frames(animation: Animation) -> Iterator[Array]:
    """Each page as (H, W, 3) pixels."""
    from kernelviz.drawing.figures import DPI, draw_page
    from kernelviz.files.encoding import figure_pixels

    for page in animation.pages:
        figure = draw_page(page)
        figure.recipe = animation.recipe
        figure.set_dpi(DPI * min(1.0, WIDTH / page.width))
        yield figure_pixels(figure)


def _gif(frames: list[Array], animation: Animation, text: str) -> bytes:
    from PIL import Image

    palette = _palette(frames)
    indexed = []
    for frame in frames:
        image = Image.fromarray(_nearest(frame, palette), "P")
        image.putpalette(palette.tobytes())
        indexed.append(image)
    buffer = io.BytesIO()
    indexed[0].save(
        buffer, "GIF", save_all=True, append_images=indexed[1:], duration=list(animation.durations), loop=0,
        optimize=False, disposal=1, comment=text.encode("ascii"),
    )  # fmt: skip
    return buffer.getvalue()


def _webp(frames: list[Array], animation: Animation, text: str) -> bytes:
    from PIL import Image

    images = [Image.fromarray(frame) for frame in frames]
    buffer = io.BytesIO()
    images[0].save(
        buffer, "WEBP", save_all=True, append_images=images[1:], duration=list(animation.durations), loop=0,
        lossless=True, quality=60, method=2, xmp=text.encode("ascii"),
    )  # fmt: skip
    return buffer.getvalue()


def _packed(frame: Array) -> Array:
    """(H, W) of one number a colour."""
    wide = frame.astype(np.uint32)
    return np.asarray(wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2])


def _palette(frames: list[Array]) -> Array:
    """(n, 3): the colours of all frames, those that cover most where there are too many."""
    counts: dict[int, int] = {}
    for frame in frames:
        colours, seen = np.unique(_packed(frame), return_counts=True)
        for colour, count in zip(colours.tolist(), seen.tolist(), strict=True):
            counts[colour] = counts.get(colour, 0) + count
    kept = sorted(counts, key=lambda colour: (-counts[colour], colour))[:COLOURS]
    return np.array([(colour >> 16, colour >> 8 & 255, colour & 255) for colour in kept], np.uint8)


def _nearest(frame: Array, palette: Array) -> Array:
    """(H, W) indices of the exactly nearest colour; Pillow's own way turns white into nearly white."""
    colours, where = np.unique(_packed(frame), return_inverse=True)
    parts = np.stack([colours >> 16, colours >> 8 & 255, colours & 255], axis=1).astype(np.int32)
    table = palette.astype(np.int32)
    indices = np.array([int(((table - colour) ** 2).sum(axis=1).argmin()) for colour in parts], np.uint8)
    return indices[where].reshape(frame.shape[:2])

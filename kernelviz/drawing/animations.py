"""Pages in motion: GIF with one palette for all frames, or lossless WebP."""

from __future__ import annotations

import base64
import io
import math
from collections import Counter
from dataclasses import dataclass, field, replace
from html import escape
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from kernelviz.drawing.arrangement import arrange_all
from kernelviz.drawing.colour import changed_pixels, content_key
from kernelviz.drawing.looks import LOOKS, Look
from kernelviz.drawing.page import Panel, Raster, Rule, Shape, Strokes, Text, paragraphs, text_width
from kernelviz.notebook import LONGEST_TEXT

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence

    from kernelviz.drawing.figures import PageFigure
    from kernelviz.drawing.page import Item
    from kernelviz.records import Array, Progress, Recipe


Box: TypeAlias = tuple[float, float, float, float]  # left, top, right, bottom
EDGE = 2.0  # pixels of tolerance for antialiasing and rounding
FEW = 64  # the most changed cells with a box each


def changed_boxes(before: Panel, after: Panel) -> list[Box] | None:
    """Boxes outside which two pages look the same; None if they may differ anywhere."""
    old, new = [_key(item) for item in before.items], [_key(item) for item in after.items]
    gone, come = Counter(old) - Counter(new), Counter(new) - Counter(old)
    kept = [key for key in old if key not in gone]
    if (before.width, before.height) != (after.width, after.height) or kept != [key for key in new if key not in come]:
        return None
    lost = [item for item, key in zip(before.items, old, strict=True) if key in gone]
    found = [item for item, key in zip(after.items, new, strict=True) if key in come]
    rasters = {_extent(item): item for item in lost if isinstance(item, Raster)}
    boxes: list[Box] = []
    for item in found:
        other = rasters.get(_extent(item)) if isinstance(item, Raster) else None
        if other is not None and isinstance(item, Raster):
            boxes += _changed_cells(other, item)
            lost = [each for each in lost if each is not other]
        else:
            boxes += boxes_of(item)
    return boxes + [box for item in lost for box in boxes_of(item)]


def touching(page: Panel, region: Array, scale: float) -> Panel:
    """The page with only those items that overlap the region (rows, columns) of its picture, in their order."""

    def reaches(item: Item) -> bool:
        return any(region[pixels_of(box, scale, region.shape)].any() for box in boxes_of(item))

    return Panel(tuple(item for item in page.items if reaches(item)), page.width, page.height)


def pixels_of(box: Box, scale: float, shape: tuple[int, ...]) -> tuple[slice, slice]:
    """Rows and columns of a picture of this scale that a box may touch."""
    left, top, right, bottom = (side * scale for side in box)
    rows = slice(max(0, int(top - EDGE)), max(0, min(shape[0], int(bottom + EDGE) + 1)))
    return rows, slice(max(0, int(left - EDGE)), max(0, min(shape[1], int(right + EDGE) + 1)))


def boxes_of(item: Item) -> list[Box]:
    """Boxes that cover an item; those of a text have a margin, because hinting may widen it."""
    match item:
        case Raster():
            return [(item.left, item.top, item.left + item.width, item.top + item.height)]
        case Text():
            return [_text_box(item)]
        case Rule():
            return [_around([(item.x0, item.y0), (item.x1, item.y1)], item.width)]
        case Strokes():
            return [_around([(x0, y0), (x1, y1)], item.width) for x0, y0, x1, y1 in item.lines]
        case Shape() if item.width == 0:
            return [_around(item.points, 0)]
        case Shape():
            ends = (*item.points[1:], item.points[0])
            return [_around(side, 2 * item.width) for side in zip(item.points, ends, strict=True)]


def _text_box(item: Text) -> Box:
    size = item.size
    long = 1.1 * text_width(item.text, size, bold=item.bold) + 0.6 * size
    if item.upright:
        return item.x - long, item.y - long, item.x + long, item.y + long
    before = {"left": 0.3 * size, "center": long / 2, "right": long - 0.3 * size}[item.align]
    above, below = (0.8 * size, 0.8 * size) if item.middle else (size, 0.4 * size)
    return item.x - before, item.y - above, item.x - before + long, item.y + below


def _around(points: Sequence[tuple[float, float]], width: float) -> Box:
    across, down = zip(*points, strict=True)
    return min(across) - width, min(down) - width, max(across) + width, max(down) + width


def _key(item: Item) -> Hashable:
    if isinstance(item, Raster):
        return (*_extent(item), content_key(item.content))
    return item


def _extent(item: Raster) -> tuple[object, ...]:
    return item.left, item.top, item.width, item.height, item.content.shape[:2]


def _changed_cells(before: Raster, after: Raster) -> Iterator[Box]:
    """The cells in which two rasters of the same extent differ in colour."""
    rows, columns = np.nonzero(changed_pixels(before.content, after.content))
    tall, wide = after.height / after.content.shape[0], after.width / after.content.shape[1]
    ends = list(zip(rows, columns, rows, columns, strict=True))
    for top, left, bottom, right in (
        ends if len(ends) <= FEW else [(rows.min(), columns.min(), rows.max(), columns.max())]
    ):
        yield (
            after.left + left * wide,
            after.top + top * tall,
            after.left + (right + 1) * wide,
            after.top + (bottom + 1) * tall,
        )


ANIMATED = ("gif", "webp")
WIDTH = 720  # pixels, width of a frame
COLOURS = 256
MAPPED = 2048  # colours compared with the palette at a time


MOST_SHOWN = 5_000_000  # bytes of an animation in a notebook


@dataclass(frozen=True)
class Animation:
    """Pages of one size, the duration of each (milliseconds, multiples of 10), the recipe, and the look.

    As the last line of a notebook cell it plays; ``save_picture`` writes it as GIF or WebP, ``save_frames`` as pictures.
    ``facts`` and ``replaced`` are as in ``PageFigure``. With ``own_palettes`` each frame of a GIF has 256 colours of its
    own, with exactly those of its rasters if they are few; else all frames share them.
    """

    pages: tuple[Panel, ...]
    durations: tuple[int, ...]
    recipe: Recipe
    look: Look = LOOKS["page"]
    facts: Mapping[str, Any] = field(default_factory=dict)
    replaced: tuple[str, ...] = ()
    own_palettes: bool = False

    def __post_init__(self) -> None:
        if len(self.pages) != len(self.durations):
            raise ValueError("Each page needs a duration.")

    def __repr__(self) -> str:
        seconds, page = sum(self.durations) / 1000, self.pages[0] if self.pages else Panel((), 0, 0)
        view = str(self.recipe.get("view", ""))[:LONGEST_TEXT]
        return f"Animation({view!r}, {len(self.pages)} frames of {page.width:g} × {page.height:g}, {seconds:.1f} s)"

    @property
    def scale(self) -> float:
        """Pixels of a frame per unit of the page."""
        return 1.0 if self.look.size else min(1.0, WIDTH / self.pages[0].width)

    @property
    def alternative(self) -> tuple[str, ...]:
        """The text alternative: the title, and the paragraphs of the caption of the first frame."""
        return self.alternative_of(0) if self.pages else ()

    def alternative_of(self, frame: int) -> tuple[str, ...]:
        """The text alternative of one frame, with what its look leaves out."""
        return (*paragraphs(self.pages[frame]), *self.recipe.get("left_out", ()))

    def _repr_html_(self) -> str:
        """The animation as an image that plays; if it is too large for a notebook, how to save it."""
        data = animation_bytes(self, "gif", lambda _: b"kernelviz")
        if len(data) > MOST_SHOWN:
            size = f"{len(data) / 1e6:.1f} MB"
            return f"{escape(repr(self))}: {size}, too large for a cell. <code>save_picture(animation, 'it.gif')</code>"
        page = self.pages[0]
        width, text = round(page.width * self.scale), escape(". ".join((*self.alternative, repr(self))), quote=True)
        return f'<img src="data:image/gif;base64,{base64.b64encode(data).decode()}" width="{width}" alt="{text}">'


def animation_bytes(
    animation: Animation, file_format: str, text: Callable[[Sequence[str]], bytes], progress: Progress | None = None
) -> bytes:
    """Encode an animation as a GIF or a WebP file that repeats forever; ``progress`` is called for every frame.

    ``text`` is called with notes about the file and returns what is stored as the comment of a GIF, the XMP of a WebP; the
    text alternative is a second comment of a GIF. Of a GIF with own palettes the note is how far its colours are from those
    of the pages.
    """
    film = Film(animation, progress)
    if file_format == "webp":
        return _webp(film, text(()))
    return _gif_with_own_palettes(film, text) if animation.own_palettes else _gif(film, text(()))


def make_animation(
    pages: Sequence[Panel], durations: Sequence[int], recipe: Recipe, look: Look, *, own_palettes: bool = False
) -> Animation:
    """The animation of pages in a look, all of one size; its recipe also states the first and the last duration."""
    parts = None if look.caption or pages[0].parts is None else pages[0].parts()
    pages = arrange_all(pages, look)
    drawn, facts = pages[0].notices, pages[0].facts
    replaced = tuple(line for line in parts.notices if line not in drawn) if parts and drawn else ()
    left_out = [line for line in parts.lines if not (drawn and line in parts.notices)] if parts else []
    shown = {"drawn": list(drawn)} if drawn else {}
    width, height = (math.ceil(max(getattr(page, side) for page in pages)) for side in ("width", "height"))
    return Animation(
        tuple(replace(page, width=width, height=height) for page in pages),
        tuple(durations),
        {**recipe, "durations": [durations[0], durations[-1]], **look.as_recipe(left_out), **shown, **facts},
        look,
        facts,
        replaced,
        own_palettes,
    )


class Film:
    """The frames of an animation as (H, W, 3) pixels, in any order; only what changes is drawn again.

    Frames are at most ``width`` pixels wide; by default those of a slide are whole.
    """

    def __init__(self, animation: Animation, progress: Progress | None = None, *, width: float | None = None) -> None:
        self._animation = animation
        self._progress = progress
        self._scale = animation.scale if width is None else min(1.0, width / animation.pages[0].width)
        self._drawn_frames = 0
        self._figure: PageFigure | None = None
        self._last: tuple[Panel, Array] | None = None

    def frame(self, at: int) -> Array:
        """One page, with the same pixels as if drawn alone."""
        page = self._animation.pages[at]
        pixels = self._drawn(page) if self._last is None else self._redrawn(page, *self._last)
        self._last = page, pixels
        self._drawn_frames += 1
        if self._progress is not None:
            self._progress("drawing frames", self._drawn_frames, len(self._animation.pages))
        return pixels

    @property
    def animation(self) -> Animation:
        """The pages and settings of the animation."""
        return self._animation

    def _redrawn(self, page: Panel, before: Panel, shown: Array) -> Array:

        boxes = changed_boxes(before, page)
        if boxes is None:
            return self._drawn(page)
        region = np.zeros(shown.shape[:2], bool)
        for box in boxes:
            region[pixels_of(box, self._scale, region.shape)] = True
        result = shown.copy()
        result[region] = self._drawn(touching(page, region, self._scale))[region]
        return result

    def _drawn(self, page: Panel) -> Array:
        from kernelviz.drawing.figures import DPI, draw_again, draw_page, figure_pixels

        if self._figure is None:
            self._figure = draw_page(page, look=self._animation.look)
            self._figure.recipe = self._animation.recipe
            self._figure.set_dpi(DPI * self._scale)
        else:
            draw_again(self._figure, page)
        return figure_pixels(self._figure)


def _gif(film: Film, comment: bytes) -> bytes:
    """Encode with a palette of sample frames; frames are drawn and mapped one by one, to bound memory."""
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
    return buffer.getvalue()[:-1] + _gif_comment("\n".join(animation.alternative).encode()) + b";"


def _gif_with_own_palettes(film: Film, text: Callable[[Sequence[str]], bytes]) -> bytes:
    """Encode with a palette for each frame: first the colours of its rasters if they are few.

    The first comment is inserted afterwards, since it states the largest errors.
    """
    from PIL import Image

    animation = film.animation
    errors = {True: 0, False: 0}  # of rasters, and of the rest

    def images() -> Iterator[Image.Image]:
        for at, page in enumerate(animation.pages):
            frame = film.frame(at)
            inside = _inside_rasters(page, animation.scale, frame.shape[:2])
            palette = Palette([frame], first=np.unique(frame[inside], axis=0))
            index = palette.nearest(frame)
            away = np.abs(palette.colours[index].astype(np.int16) - frame).max(axis=2)
            for of_rasters, where in ((True, inside), (False, ~inside)):
                errors[of_rasters] = max(errors[of_rasters], int(away[where].max(initial=0)))
            image = Image.fromarray(index, "P")
            image.putpalette(palette.colours.tobytes())
            yield image

    frames = images()
    buffer = io.BytesIO()
    next(frames).save(
        buffer, "GIF", save_all=True, append_images=frames, duration=list(animation.durations), loop=0,
        optimize=False, disposal=1,
    )  # fmt: skip
    data = buffer.getvalue()
    head = 13 + (3 << ((data[10] & 7) + 1) if data[10] & 0x80 else 0)  # the size of the screen and its colours
    worst = max(errors.values())
    what = "colours" if errors[True] else "letters and lines, not kernels,"
    note = [f"{what} to within {worst} of 255: a frame of a GIF has 256 colours; WebP is exact"] if worst else []
    alternative = _gif_comment("\n".join(animation.alternative).encode())
    return data[:head] + _gif_comment(text(note)) + data[head:-1] + alternative + b";"


def _inside_rasters(page: Panel, scale: float, shape: tuple[int, int]) -> Array:
    """(H, W) bool: the pixels of a picture of this scale that are inside a raster of the page."""
    inside = np.zeros(shape, bool)
    for item in page.items:
        if isinstance(item, Raster):
            left, top, right, bottom = (side * scale for side in boxes_of(item)[0])
            inside[math.ceil(top) + 1 : int(bottom) - 1, math.ceil(left) + 1 : int(right) - 1] = True
    return inside


def _gif_comment(text: bytes) -> bytes:
    """A comment extension: blocks of at most 255 bytes, each after its length, up to an empty one."""
    blocks = [text[at : at + 255] for at in range(0, len(text), 255)]
    return b"".join([b"\x21\xfe", *(bytes([len(block)]) + block for block in blocks), b"\x00"])


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


def _chosen(colours: Array, counts: Array, kept: list[int]) -> Array:
    """(n, 3) uint8: the colours that are ``kept``, and those with the largest error otherwise, times their ``counts``."""
    away = np.min([((colours - colours[at]) ** 2).sum(axis=1) for at in kept], axis=0)
    while len(kept) < min(len(colours), COLOURS):
        missed = int((away * counts).argmax())
        kept.append(missed)
        away = np.minimum(away, ((colours - colours[missed]) ** 2).sum(axis=1))
    return np.asarray(colours[kept], np.uint8)


MOST_FIRST = 224
"""Colours of a palette that are chosen before any others."""


class Palette:
    """The most important colours of some frames, and for each colour exactly the nearest of them.

    One half are the most frequent colours, the other half those with the largest error otherwise. With ``first`` (n, 3) all
    of these are taken if there are few, and rare colours count as much as frequent ones: the largest error is small.
    Pillow's quantization would turn white into nearly white.
    """

    def __init__(self, frames: Iterable[Array], *, first: Array | None = None) -> None:
        from PIL import Image

        counts: dict[tuple[int, int, int], int] = {}
        for frame in frames:
            image = Image.fromarray(frame)
            for count, colour in image.getcolors(1 << 16) or image.getcolors(1 << 24) or []:
                key: tuple[int, int, int] = colour  # type: ignore[assignment]  # of an RGB image
                counts[key] = counts.get(key, 0) + count
        found = sorted(counts, key=lambda colour: (-counts[colour], colour))
        if first is None:
            kept, weights = list(range(min(len(found), COLOURS // 2))), np.array([counts[each] for each in found])
        else:
            wanted = set(map(tuple, first.tolist())) if len(first) <= MOST_FIRST else set()
            kept = [at for at, each in enumerate(found) if each in wanted or at < COLOURS // 16]
            weights = np.ones(len(found))
        self.colours = _chosen(np.array(found), weights, kept)
        self._known = np.zeros(1 << 24, np.uint16)  # index + 1 of every colour seen so far; zero pages take no memory

    def nearest(self, frame: Array) -> Array:
        """Map pixels to (H, W) uint8 indices of the colours."""
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

"""What every page has to keep: its texts legible, apart, in their cells and on the page."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.lines import Line2D
from matplotlib.patches import PathPatch
from matplotlib.text import Text

from kernelviz.drawing.figures import RasterArtist


def check_texts(figure):
    """No text overlaps another, leaves the page, or is too small at 640 pixels; the texts, and their boxes."""
    FigureCanvasAgg(figure).draw()
    renderer, page = figure.canvas.get_renderer(), figure.bbox
    texts = [text for text in figure.findobj(Text) if text.get_text().strip() and text.get_visible()]
    boxes = np.array([text.get_window_extent(renderer).extents for text in texts])
    words = [text.get_text() for text in texts]
    outside = (boxes[:, :2] < 0).any(axis=1) | (boxes[:, 2:] > (page.width, page.height)).any(axis=1)
    assert not [word for word, out in zip(words, outside, strict=True) if out]
    heights = (boxes[:, 3] - boxes[:, 1]) * 640 / page.width
    assert not [word for word, height in zip(words, heights, strict=True) if height < 9]
    inked = boxes + np.array([0, 0.18, 0, -0.1])[None] * (boxes[:, 3] - boxes[:, 1])[:, None]  # without descenders
    low, high = np.maximum(inked[:, None, :2], inked[None, :, :2]), np.minimum(inked[:, None, 2:], inked[None, :, 2:])
    met = np.triu((low < high).all(axis=-1), 1)
    pairs = [(words[i], words[j]) for i, j in np.argwhere(met)]
    assert not pairs, f"texts on each other: {pairs}"
    return words, boxes, inked


def check_page(figure, *, filled=True):
    """No text overlaps another, leaves the page, meets a line or the border of a cell, or is too small at 640 pixels.

    ``filled`` is that of ``check_composition``.
    """
    words, boxes, inked = check_texts(figure)
    assert 1200 <= figure.bbox.width <= 1485
    check_composition(figure, words, boxes, filled=filled)
    lines = _lines(figure)
    assert not [words[i] for i, box in enumerate(inked) if lines.size and _meets(lines, box).any()]
    for raster in figure.findobj(RasterArtist):
        place, (rows, columns) = raster.get_window_extent(), raster.pixels.shape[:2]
        wide, tall = place.width / columns, place.height / rows
        for word, box in zip(words, inked, strict=True):
            if box[0] < place.x1 and box[2] > place.x0 and box[1] < place.y1 and box[3] > place.y0:
                across = int((box[0] - place.x0) // wide), int((box[2] - place.x0) // wide)
                down = int((box[1] - place.y0) // tall), int((box[3] - place.y0) // tall)
                assert across[0] == across[1] and down[0] == down[1], word  # noqa: PT018


def check_composition(figure, words, boxes, *, filled=True):
    """No text is as near to another picture as to its own, no caption ends in a lone word, no third of a page is empty.

    ``figure`` is drawn already; ``boxes`` (n, 4) are the extents of its texts, the ``words``. Pages that are not ``filled``
    may be empty, since their sizes were chosen, their shape is that of what they show, or there is nothing to draw.
    """
    boxes = np.reshape(boxes, (-1, 4))
    places = np.array([each.get_window_extent().extents for each in figure.findobj(RasterArtist)]).reshape(-1, 4)
    between = [
        words[at] for at in _between(boxes, places) if any(map(str.isalnum, words[at]))
    ]  # a sign belongs to both
    lone = _lone_words(words, boxes)
    assert not between, f"between two pictures: {between}"
    assert not lone, f"a line of the caption of its own: {lone}"
    if not filled:
        return
    pixels = np.asarray(figure.canvas.buffer_rgba()).view(np.uint32)[::3, ::3, 0]
    empty = _empty_share(pixels != np.uint32(0xFFFFFFFF))
    assert empty < 0.35, f"{empty:.0%} of the page are empty"


def _between(boxes, places):
    """Which texts are between two pictures above each other, about as far from the one as from the other."""
    if not len(places) or not len(boxes):
        return []
    tall = (boxes[:, 3] - boxes[:, 1])[:, None]
    low, high = boxes[:, 1, None] + 0.18 * tall, boxes[:, 3, None] - 0.1 * tall  # without descenders
    beside = (boxes[:, 0, None] < places[None, :, 2]) & (places[None, :, 0] < boxes[:, 2, None])
    above, below = places[None, :, 1] - high, low - places[None, :, 3]
    near = [np.where(beside & (gaps >= 0), gaps, np.inf).min(axis=1) for gaps in (above, below)]
    nearest, other = np.minimum(*near), np.maximum(*near)
    other_text = np.zeros(len(boxes), bool)  # of several lines the outer ones are each nearer to one picture
    for at in np.flatnonzero((other < 1.5 * tall[:, 0]) & (nearest > 0.75 * other)):
        column = (boxes[:, 0] < boxes[at, 2]) & (boxes[at, 0] < boxes[:, 2])
        reach = (boxes[:, 1] < boxes[at, 3] + near[0][at]) & (boxes[at, 1] - near[1][at] < boxes[:, 3])
        other_text[at] = np.count_nonzero(column & reach) == 1
    return np.flatnonzero(other_text)


def _lone_words(words, boxes):
    """The lines of the caption that are one short word for which the line above had no space."""
    left = boxes[np.argmax(boxes[:, 3]), 0]  # that of the title
    margin = sorted((box[3], *box[:3], word) for word, box in zip(words, boxes, strict=True) if abs(box[0] - left) < 3)
    block = margin[:1]
    for line in margin[1:]:  # from the lowest line upwards
        if line[2] - block[-1][0] > 0.9 * (line[0] - line[2]):
            break
        block.append(line)
    right = max((line[3] for line in block), default=0)
    return [
        line[4]
        for line, before in pairwise(block)
        if " " not in line[4].strip()
        and len(line[4]) <= 20
        and " " in before[4].strip()
        and before[3] + line[3] - line[1] > right
    ]


def _empty_share(inked, parts=32):
    """The share of the page of its largest empty rectangle, in steps of a ``parts``-th of its sides."""
    rows, columns = (side // parts * parts for side in inked.shape)
    blocks = inked[:rows, :columns].reshape(parts, rows // parts, parts, columns // parts)
    free, best, tall = ~blocks.any(axis=(1, 3)), 0, np.zeros(parts, int)
    for row in free:
        tall = np.where(row, tall + 1, 0)
        stack = []
        for at, height in enumerate([*tall.tolist(), 0]):
            start = at
            while stack and stack[-1][1] >= height:
                start, top = stack.pop()
                best = max(best, top * (at - start))
            stack.append((start, height))
    return best / parts**2


def _lines(figure):
    """(n, 4) x0, y0, x1, y1: every straight line that stands by itself, and the sides of every frame, in pixels."""
    found = []
    for line in figure.findobj(Line2D):
        points = line.get_transform().transform(line.get_xydata())
        found += [points.ravel()] if points.shape == (2, 2) else []  # those of an Axes' ticks are empty
    for patch in figure.findobj(PathPatch):
        if patch.get_zorder() > 2 and patch.get_linewidth():  # hatching and the lines between cells lie behind digits
            corners = patch.get_transform().transform(patch.get_path().vertices)
            found += list(np.hstack([corners[:-1], corners[1:]]))
    return np.array(found).reshape(-1, 4)


def _meets(lines, box):
    """Which lines go through a box, by Liang and Barsky's clipping."""
    start, way = lines[:, :2], lines[:, 2:] - lines[:, :2]
    with np.errstate(divide="ignore", invalid="ignore"):
        ends = (box[None, :2] - start) / way, (box[None, 2:] - start) / way
    inside = (box[None, :2] < start) & (start < box[None, 2:])
    low = np.where(way == 0, np.where(inside, -np.inf, np.inf), np.minimum(*ends)).max(axis=1)
    high = np.where(way == 0, np.where(inside, np.inf, -np.inf), np.maximum(*ends)).min(axis=1)
    return np.maximum(low, 0) < np.minimum(high, 1)

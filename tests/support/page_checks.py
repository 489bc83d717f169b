"""What every page has to keep: its texts legible, apart, in their cells and on the page."""

from __future__ import annotations

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
    assert not [(words[i], words[j]) for i, j in np.argwhere(met)]
    return words, inked


def check_page(figure):
    """No text overlaps another, leaves the page, meets a line or the border of a cell, or is too small at 640 pixels."""
    words, inked = check_texts(figure)
    assert 1200 <= figure.bbox.width <= 1485
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

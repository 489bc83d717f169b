"""What every page has to keep: its texts legible, apart, in their cells and on the page."""

from __future__ import annotations

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from kernelviz.drawing.artists import RasterArtist


def check_page(figure):
    """No text overlaps another, leaves the page, crosses the border of a cell, or is too small at 640 pixels."""
    FigureCanvasAgg(figure).draw()
    renderer, page = figure.canvas.get_renderer(), figure.bbox
    texts = [text for text in figure.findobj(Text) if text.get_text().strip() and text.get_visible()]
    boxes = np.array([text.get_window_extent(renderer).extents for text in texts])
    words = [text.get_text() for text in texts]
    assert 1200 <= page.width <= 1485
    outside = (boxes[:, :2] < 0).any(axis=1) | (boxes[:, 2:] > (page.width, page.height)).any(axis=1)
    assert not [word for word, out in zip(words, outside, strict=True) if out]
    heights = (boxes[:, 3] - boxes[:, 1]) * 640 / page.width
    assert not [word for word, height in zip(words, heights, strict=True) if height < 9]
    inked = boxes + np.array([0, 0.18, 0, -0.1])[None] * (boxes[:, 3] - boxes[:, 1])[:, None]  # without descenders
    low, high = np.maximum(inked[:, None, :2], inked[None, :, :2]), np.minimum(inked[:, None, 2:], inked[None, :, 2:])
    met = np.triu((low < high).all(axis=-1), 1)
    assert not [(words[i], words[j]) for i, j in np.argwhere(met)]
    for raster in figure.findobj(RasterArtist):
        place, (rows, columns) = raster.get_window_extent(), raster.pixels.shape[:2]
        wide, tall = place.width / columns, place.height / rows
        for word, box in zip(words, inked, strict=True):
            if box[0] < place.x1 and box[2] > place.x0 and box[1] < place.y1 and box[3] > place.y0:
                across = int((box[0] - place.x0) // wide), int((box[2] - place.x0) // wide)
                down = int((box[1] - place.y0) // tall), int((box[3] - place.y0) // tall)
                assert across[0] == across[1] and down[0] == down[1], word  # noqa: PT018

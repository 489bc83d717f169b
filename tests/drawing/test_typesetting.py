from __future__ import annotations

import io

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.text import Text

from kernelviz.drawing.figures import LineArtist, _text_mask

PLACES = [
    {"horizontalalignment": horizontal, "verticalalignment": vertical, "rotation": rotation}
    for horizontal in ("left", "center", "right")
    for vertical in ("baseline", "center_baseline", "center", "top", "bottom")
    for rotation in (0, 90, 30)
]


def pixels(kind, *, at=(150.375, 60.5), dpi=100, **edit) -> np.ndarray:
    """A page of 3 × 1.2 inches with one text at a position in pixels, changed as a caller would."""
    figure = Figure((3, 1.2), dpi=dpi)
    artist = kind(*np.array(at) / dpi, "+12 jÅg.", parse_math=False, transform=figure.dpi_scale_trans)
    figure.add_artist(artist)
    artist.set(**edit)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].astype(int)


@pytest.mark.parametrize("place", PLACES, ids=lambda place: "-".join(map(str, place.values())))
def test_a_line_is_drawn_as_matplotlib_draws_it(place):
    """At eighths of a pixel a line has the pixels of matplotlib's own text, within rounding, however it is aligned."""
    found, expected = pixels(LineArtist, **place), pixels(Text, **place)
    assert (expected < 255).any()
    assert np.abs(found - expected).max() <= 2


def test_any_position_is_near_enough():
    """Between the eighths a line is off by a sixteenth of a pixel at most: no pixel differs by an eighth of the scale."""
    at = np.random.default_rng(0).uniform([100, 40], [200, 80], (20, 2))
    assert max(np.abs(pixels(LineArtist, at=each) - pixels(Text, at=each)).max() for each in at) < 32


@pytest.mark.parametrize(
    "edit",
    [
        {"text": "two\nlines"},
        {"text": "$x^2$", "parse_math": True},
        {"alpha": 0.5},
        {"color": (1, 0, 0, 0.5)},
        {"path_effects": [withStroke(linewidth=3, foreground="red")]},
        {"bbox": {"facecolor": "red"}},
        {"visible": False},
        {"text": " "},
        {"text": ""},
        {"x": float("nan")},
        {"color": "#336699", "fontsize": 17, "fontweight": "bold", "text": "edited"},
        {"antialiased": False},
        {"rotation_mode": "anchor", "rotation": 45},
        {"clip_box": mpl.transforms.Bbox([[160, 50], [180, 62]]), "clip_on": True},
        {"text": "m" * 120},
    ],
    ids="-".join,
)
def test_a_line_is_edited_as_any_text(edit):
    """Whatever a caller changes, a line looks as matplotlib's text does then."""
    found, expected = pixels(LineArtist, **edit), pixels(Text, **edit)
    assert np.abs(found - expected).max() <= 2
    unseen = bool(edit.keys() & {"visible", "x"}) or not edit.get("text", "x").strip()
    assert unseen != (expected < 255).any()


def test_resolutions_are_kept_apart():
    """A line drawn at one resolution, then at another, is drawn anew."""
    for dpi in (100, 50, 200, 100):
        assert np.abs(pixels(LineArtist, dpi=dpi) - pixels(Text, dpi=dpi)).max() <= 2


def test_hinting_is_kept_apart():
    """A line drawn under another hinting is drawn anew."""
    for hinting in ("default", "no_autohint", "none", "default"):
        with mpl.rc_context({"text.hinting": hinting}):
            assert np.abs(pixels(LineArtist) - pixels(Text)).max() <= 2


def test_a_line_that_was_drawn_is_put_down_again():
    """The same line at another whole pixel, in another colour, is not shaped again."""
    pixels(LineArtist)
    before = _text_mask.cache_info()
    pixels(LineArtist, at=(170.375, 30.5), color="red")
    after = _text_mask.cache_info()
    assert (after.misses, after.hits) == (before.misses, before.hits + 1)


@pytest.mark.parametrize("file_format", ["svg", "pdf"])
def test_vector_formats_keep_text(file_format):
    """Where a format has text or outlines, a line is no pixels."""
    figure = Figure((3, 1))
    figure.add_artist(LineArtist(0.5, 0.5, "seen"))
    buffer = io.BytesIO()
    with mpl.rc_context({"svg.fonttype": "none", "pdf.compression": 0}):
        figure.savefig(buffer, format=file_format)
    data = buffer.getvalue()
    assert b"<image" not in data
    assert b"/Subtype /Image" not in data
    assert (b">seen<" if file_format == "svg" else b"BT") in data

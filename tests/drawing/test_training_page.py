"""Film strips and animations of kernels show what the checkpoints hold, on one scale, in exact colours."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import numpy as np
import pytest
from page_checks import check_texts
from PIL import Image

import kernelviz as kv
from kernelviz.drawing import colour
from kernelviz.drawing.animations import Film
from kernelviz.drawing.figures import draw_page
from kernelviz.drawing.kernel_tile import planes_tile
from kernelviz.drawing.looks import find_look
from kernelviz.drawing.page import Raster, Strokes, Text
from kernelviz.drawing.training_page import MOST_FRAMES, axis_shares, make_strip, strip_page
from kernelviz.errors import UsageError
from kernelviz.files.encoding import encode_picture
from kernelviz.records import Source
from kernelviz.views.kernel_history import as_history, history_of

NUMBERS = np.random.default_rng(0)


def weights(count=5, shape=(16, 3, 7, 7)):
    """Kernels that grow from noise."""
    return np.cumsum(NUMBERS.normal(size=(count, *shape)), axis=0)


def page_of(values, channels=None, *, shown=12, scale=None, look="page"):
    """The page of a film strip as values."""
    history = as_history(values)
    return strip_page(make_strip(history, history.shown(channels), shown, (scale, "linear"), find_look(look)))[0]


def rasters(page, shape):
    """The rasters of this many rows and columns of a page."""
    return [item.content for item in page.items if isinstance(item, Raster) and item.content.shape[:2] == shape]


def texts(page):
    """All texts of a page."""
    return [item.text for item in page.items if isinstance(item, Text)]


def frames(data):
    """The frames of an animated file as RGB numbers."""
    with Image.open(io.BytesIO(data)) as image:
        for at in range(image.n_frames):
            image.seek(at)
            yield np.asarray(image.convert("RGB")), image.info["duration"]


def test_tiles_have_one_scale_over_the_whole_training():
    """Each tile is 127.5 + 127.5 w / limit, with the largest weight of all kernels at all checkpoints."""
    values = weights()
    figure = kv.plot_history(values, [3, 1], shown=3)
    drawn = rasters(page_of(values, [3, 1], shown=3), (7, 7))
    limit = np.abs(values).max()
    expected = [np.rint(127.5 + 127.5 * np.moveaxis(values[at, kernel], 0, -1) / limit)
                for kernel in (3, 1) for at in (0, 2, 4)]  # fmt: skip
    assert len(drawn) == len(expected)
    assert all(np.array_equal(one, other) for one, other in zip(drawn, expected, strict=True))
    assert figure.recipe["limits"] == [-limit, limit]
    own = rasters(page_of(values, [3], shown=3, scale="tile"), (7, 7))
    assert all(each.max() == 255 or each.min() == 0 for each in own)
    assert "one colour scale per tile" in " ".join(texts(page_of(values, scale="tile")))


def test_curves_are_of_all_checkpoints_with_a_gap_where_there_is_no_value():
    """Drawn are 3 of 9 columns; a kernel that is not finite at one of them has two pieces of a curve."""
    values = weights(9)
    values[4, 2, 0, 0, 0] = np.nan
    page = page_of(values, [2], shown=3)
    curves = [item.lines for item in page.items if isinstance(item, Strokes) and item.colour == "series"]
    assert [len(lines) for lines in curves] == [6, 6]
    whole = page_of(values, [1], shown=3)
    assert [len(item.lines) for item in whole.items if isinstance(item, Strokes) and item.colour == "series"] == [8, 8]
    assert any("Not finite at checkpoint 5: 1 of 2,352 weights there" in text for text in texts(page))


def test_values_that_are_not_finite_are_chequered_and_framed():
    """As in every picture of kernels; a kernel of zeros is struck through."""
    values = weights(3)
    values[1, 0, 0, 2, 2] = np.nan
    values[:, 1] = 0
    page = page_of(values, [0, 1])
    large = [each for each in rasters(page, (7, 7)) if each.shape[:2] == (7, 7)]
    assert len(large) == 2
    (broken, *struck) = sorted(
        (item for item in page.items
         if isinstance(item, Raster) and isinstance(item.content, np.ndarray) and item.content.shape[0] > 50),
        key=lambda item: -len(np.unique(item.content)),
    )  # fmt: skip
    inks = {tuple(colour.INKS[ink]) for ink in (colour.CHEQUER_DARK, colour.CHEQUER_LIGHT)}
    assert inks <= {tuple(pixel) for pixel in broken.content.reshape(-1, 3).tolist()}
    assert sum(getattr(item, "colour", "") == "not finite" for item in page.items) == 1
    assert len(struck) == 3
    for tile in struck:  # as in pages of two weights
        zoom = tile.content.shape[0] // 7
        planes, _ = planes_tile(
            np.zeros((1, 7, 7, 3)), colour.Scale("layer", -1.0, 1.0, signed=True), (0, 0), (zoom, zoom), zero=True
        )
        assert np.array_equal(tile.content, planes.content)


def test_positions_on_the_axis():
    """Linear, or by the logarithm of 1 + step."""
    assert axis_shares((0, 10, 100), "linear").tolist() == [0, 0.1, 1]
    np.testing.assert_allclose(axis_shares((0, 9, 99), "log"), [0, 0.5, 1])
    with pytest.raises(UsageError, match="negative"):
        kv.plot_history(history_of(weights(2), steps=(-1, 1)), axis="log")


def test_webp_decodes_to_the_pixels_of_the_pages():
    """Each frame exactly, and none in between; half a second each, the last 2.5 seconds."""
    animation = kv.animate_kernels(weights(3))
    found = list(frames(encode_picture(animation, "webp")))
    assert [duration for _, duration in found] == [500, 500, 2500]
    for at, (pixels, _) in enumerate(found):
        assert np.array_equal(pixels, Film(animation).frame(at))


def test_the_note_of_a_gif_in_colour_is_its_largest_error():
    """The file itself states n of 255, and no channel of a pixel is further off; one is."""
    animation = kv.animate_kernels(weights(2))
    data = encode_picture(animation, "gif")
    errors = [
        np.abs(pixels.astype(int) - Film(animation).frame(at)).max() for at, (pixels, _) in enumerate(frames(data))
    ]
    with Image.open(io.BytesIO(data)) as image:
        (note,) = json.loads(image.info["comment"])["notes"]
    assert note.startswith(f"colours to within {max(errors)} of 255")
    assert 0 < max(errors) < 20


def test_a_gif_of_one_channel_has_the_exact_colours_of_its_kernels():
    """They have 201 levels; only letters and lines have fewer greys, which the file states."""
    animation = kv.animate_kernels(weights(3, (6, 1, 5, 5)))
    data = encode_picture(animation, "gif")
    with Image.open(io.BytesIO(data)) as image:
        notes = json.loads(image.info["comment"])["notes"]
    assert all(note.startswith("letters and lines, not kernels, to within") for note in notes)
    for at, (pixels, _) in enumerate(frames(data)):
        page = animation.pages[at]
        exact = Film(animation).frame(at)
        for tile in [item for item in page.items if isinstance(item, Raster) and item.content.shape == (5, 5)]:
            middle = np.s_[round((tile.top + tile.height / 2) * animation.scale), :][0]
            left, right = (round(x * animation.scale) for x in (tile.left + 4, tile.left + tile.width - 4))
            assert np.array_equal(pixels[middle, left:right], exact[middle, left:right])


def test_a_long_training_has_400_frames(monkeypatch):
    """Evenly spread, the first and the last always, and stated; here four of nine."""
    assert MOST_FRAMES == 400
    monkeypatch.setattr("kernelviz.drawing.training_page.MOST_FRAMES", 4)
    animation = kv.animate_kernels(weights(9, (2, 1, 3, 3)))
    assert len(animation.pages) == 4
    assert "4 of 9 checkpoints" in " ".join(texts(animation.pages[0]))
    assert "9 of 9 checkpoints" in " ".join(texts(animation.pages[-1]))


@pytest.mark.parametrize(
    "shape", [(9, 1, 3, 3), (40, 64, 3, 3), (20, 30, 1, 1), (8, 4, 9), (4, 2, 3, 3, 3), (3, 1, 1, 1)]
)
@pytest.mark.parametrize("look", ["page", "slide"])
def test_kernels_of_every_shape_are_drawn(shape, look):
    """Sums, all weights of 1 × 1 kernels, strips and slices; nothing leaves the page."""
    assert kv.plot_history(weights(3, shape), look=look)._repr_png_()
    page = page_of(weights(3, shape))
    assert all(
        item.left >= 0 and item.left + item.width <= page.width for item in page.items if isinstance(item, Raster)
    )
    assert all(item.top + item.height <= page.height for item in page.items if isinstance(item, Raster))
    assert kv.animate_kernels(weights(3, shape), look=look).pages


LEGIBLE = {
    "usual": (weights(24), {}),
    "two": (weights(2), {}),
    "huge steps": (history_of(weights(24), steps=[1234567 * at for at in range(24)]), {}),
    "fractions": (history_of(weights(12), steps=[0.001234 * at for at in range(12)]), {"axis": "log"}),
    "many": (weights(40, (64, 1, 3, 3)), {"top": 60, "shown": 40}),
    "long names": (
        replace(history_of(weights(3)), source=Source("x" * 90, "x" * 300, "x", 1), notes=("a note " * 40,)), {}
    ),
    "all zero": (np.zeros((3, 4, 3, 3, 3)), {}),
    "all broken": (np.full((3, 4, 1, 3, 3), np.nan), {}),
    "tiny and huge": (history_of([1e-30 * weights(1)[0], 1e30 * weights(1)[0]]), {}),
}  # fmt: skip


FEW = {"huge steps", "long names", "all broken", "tiny and huge"}


@pytest.mark.parametrize(
    "case", [case if case in FEW else pytest.param(case, marks=pytest.mark.slow) for case in LEGIBLE]
)
def test_its_texts_are_legible_and_apart(case):
    """Steps, numbers and captions neither meet nor leave the page."""
    history, choices = LEGIBLE[case]
    check_texts(kv.plot_history(history, **choices))


@pytest.mark.parametrize("shape", [(16, 3, 7, 7), (100, 1, 3, 3), (5, 200, 1, 1), (4, 1, 300, 1), (4, 1, 400, 400)])
def test_texts_of_frames_are_legible_and_apart(shape):
    """Numbers of kernels, the step and the ends of the time bar."""
    animation = kv.animate_kernels(weights(3, shape))
    check_texts(draw_page(animation.pages[1]))


def test_numbers_of_four_digits_are_apart_in_frames():
    """Tiles are as wide as the numbers above them."""
    animation = kv.animate_kernels(weights(2, (1500, 1, 1, 3)), range(1000, 1300))
    check_texts(draw_page(animation.pages[1]))
    assert animation.recipe["shown"] < 300


@pytest.mark.parametrize(
    "choices",
    [
        {"axis": "square"},
        {"scale": (1, 0)},
        {"scale": "layer"},
        {"shown": 1},
        {"shown": "all"},
        {"channels": [99]},
        {"channels": 3},
        {"channels": ["one"]},
        {"channels": [1], "top": 2},
    ],
)
def test_a_choice_that_does_not_fit_is_rejected(choices):
    """Before anything is drawn."""
    with pytest.raises(UsageError):
        kv.plot_history(weights(2), **choices)


def test_clipped_values_are_those_of_the_tiles():
    """Of sums over the channels, and of the kernels and checkpoints that are drawn."""
    values = np.full((3, 2, 4, 3, 3), 0.5)  # sums of 2
    values[:, 1] *= 0.1
    assert any(
        "some values are outside the colour scale" in text for text in texts(page_of(values, [0], scale=(-1.0, 1.0)))
    )
    assert not any("outside" in text for text in texts(page_of(values, [1], scale=(-0.3, 0.3))))


def test_the_largest_sum_is_the_limit_in_print():
    """Without colours a kernel of three channels is the sum over them."""
    values = weights(3)
    figure = kv.plot_history(values, look="print")
    assert figure.recipe["limits"][1] == pytest.approx(np.abs(values.sum(axis=2)).max())

import io

import numpy as np
import pytest
from PIL import Image

from kernelviz.files.encoding import png_bytes, png_series

RNG = np.random.default_rng(1)
SHAPES = [(1, 1), (1, 9), (9, 1), (7, 5), (300, 4000)]


def decoded(data):
    """The pixels as Pillow reads them."""
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        return np.asarray(image.convert("RGB"))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("colours", [1, 2, 5, 200, 256])
def test_palettes_decode_exactly(shape, colours):
    """A PNG shows palette[pixels], for every shape and number of colours."""
    palette = RNG.integers(0, 256, (colours, 3), dtype=np.uint8)
    pixels = RNG.integers(0, colours, shape, dtype=np.uint8)
    pixels[1::2] = pixels[: len(pixels) - 1 : 2]
    assert np.array_equal(decoded(png_bytes(pixels, palette, {})), palette[pixels])


@pytest.mark.parametrize("shape", SHAPES)
def test_rgb_decodes_exactly(shape):
    """A PNG without a palette shows its pixels, views and repeated rows too."""
    pixels = RNG.integers(0, 256, (*shape, 3), dtype=np.uint8)
    pixels[1::3] = pixels[: len(pixels) - 1 : 3]
    assert np.array_equal(decoded(png_bytes(pixels, None, {})), pixels)
    assert np.array_equal(decoded(png_bytes(pixels[::-1, ::-1], None, {})), pixels[::-1, ::-1])


@pytest.mark.parametrize("shape", SHAPES)
def test_a_series_decodes_exactly(shape):
    """Each picture of many, packed or too small for that, shows palette[pixels] and its own text."""
    palette = RNG.integers(0, 256, (256, 3), dtype=np.uint8)
    pixels = RNG.integers(0, 256, (3, *shape), dtype=np.uint8)
    pixels[:, 1::2] = pixels[:, : shape[0] - 1 : 2]
    texts = ['{"a":1}', "", "é"]
    for data, picture, text in zip(png_series(pixels, palette, "k", texts), pixels, texts, strict=True):
        assert np.array_equal(decoded(data), palette[picture])
        with Image.open(io.BytesIO(data)) as image:
            assert image.info == {"k": text}


def test_repeated_rows_take_little_space():
    """A map zoomed four times needs little more than at its own size."""
    pixels = RNG.integers(0, 256, (1, 64, 64), dtype=np.uint8)
    palette = RNG.integers(0, 256, (256, 3), dtype=np.uint8)
    sizes = [len(next(png_series(pixels.repeat(zoom, 1).repeat(zoom, 2), palette, "k", [""]))) for zoom in (1, 4)]
    assert sizes[1] < 2 * sizes[0]


def test_texts_are_read_by_others():
    """Pillow reads the iTXt chunk before it decodes a pixel."""
    data = png_bytes(np.zeros((2, 2), np.uint8), np.zeros((1, 3), np.uint8), {"kernelviz": '{"a":"é"}'})
    with Image.open(io.BytesIO(data)) as image:
        assert image.info == {"kernelviz": '{"a":"é"}'}


@pytest.mark.parametrize(
    ("pixels", "palette"),
    [
        (np.zeros((2, 2)), np.zeros((1, 3), np.uint8)),
        (np.zeros((0, 2), np.uint8), np.zeros((1, 3), np.uint8)),
        (np.zeros((2, 2), np.uint8), None),
        (np.zeros((2, 2, 3), np.uint8), np.zeros((1, 3), np.uint8)),
        (np.ones((2, 2), np.uint8), np.zeros((1, 3), np.uint8)),
        (np.zeros((2, 2), np.uint8), np.zeros((257, 3), np.uint8)),
        (np.zeros(4, np.uint8), np.zeros((1, 3), np.uint8)),
    ],
)
def test_what_is_no_mosaic_is_refused(pixels, palette):
    """Arrays of another shape or type, and indices outside the palette, are a fault of the program."""
    with pytest.raises(ValueError, match="must be 8-bit"):
        png_bytes(pixels, palette, {})


@pytest.mark.parametrize("dpi", [72, 100, 300])
def test_the_resolution_is_read_by_others(dpi):
    """Pillow reads the given resolution (the format has whole pixels per metre), or none."""
    pixels = np.zeros((2, 2, 3), np.uint8)
    with Image.open(io.BytesIO(png_bytes(pixels, None, {}, dpi=dpi))) as image:
        assert image.info["dpi"] == pytest.approx((dpi, dpi), rel=1e-3)
    with Image.open(io.BytesIO(png_bytes(pixels, None, {}))) as image:
        assert "dpi" not in image.info

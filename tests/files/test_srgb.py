import io
from struct import pack

import numpy as np
import pytest
from PIL import Image, ImageCms
from sample_images import ALPHA, GREY, RGB, RNG, WIDE, close, encoded, grey3, over_white, png, swapped_profile

from kernelviz.files.images import read_image

PALETTE = Image.fromarray(RGB).quantize(16)
INDICES = np.asarray(PALETTE)
COLOURS = np.array(PALETTE.getpalette(), float).reshape(-1, 3)
TRANSPARENT = RNG.integers(0, 256, 16, dtype=np.uint8)
CMYK = RNG.integers(0, 256, (13, 17, 4), dtype=np.uint8)
FLOATS = RNG.random((13, 17), np.float32)
MODES = {
    "1": (Image.fromarray(GREY > 127), "PNG", {}, grey3((GREY > 127) * 255), None),
    "L": (Image.fromarray(GREY), "PNG", {}, grey3(GREY), None),
    "LA": (
        Image.merge("LA", [Image.fromarray(GREY), Image.fromarray(ALPHA)]),
        "PNG",
        {},
        over_white(grey3(GREY), ALPHA),
        "white",
    ),
    "P": (PALETTE, "PNG", {}, COLOURS[INDICES], None),
    "P with one transparent": (
        PALETTE,
        "PNG",
        {"transparency": 3},
        over_white(COLOURS[INDICES], np.where(INDICES == 3, 0, 255)),
        "white",
    ),
    "P with alpha": (
        PALETTE,
        "PNG",
        {"transparency": TRANSPARENT.tobytes()},
        over_white(COLOURS[INDICES], TRANSPARENT[INDICES]),
        "white",
    ),
    "P of a GIF": (PALETTE, "GIF", {"transparency": 3}, None, "white"),
    "RGBA": (Image.fromarray(np.dstack([RGB, ALPHA])), "PNG", {}, over_white(RGB, ALPHA), "white"),
    "RGBA of WebP": (
        Image.fromarray(np.dstack([RGB, ALPHA])),
        "WEBP",
        {"lossless": True, "exact": True},
        over_white(RGB, ALPHA),
        "white",
    ),
    "opaque RGBA": (Image.fromarray(np.dstack([RGB, np.full_like(GREY, 255)])), "PNG", {}, RGB, None),
    "L with a transparent value": (
        Image.fromarray(GREY),
        "PNG",
        {"transparency": int(GREY[0, 0])},
        over_white(grey3(GREY), np.where(GREY[0, 0] == GREY, 0, 255)),
        "white",
    ),
    "RGB with a transparent colour": (
        Image.fromarray(RGB),
        "PNG",
        {"transparency": tuple(map(int, RGB[0, 0]))},
        over_white(RGB, np.where((RGB[0, 0] == RGB).all(2), 0, 255)),
        "white",
    ),
    "CMYK": (
        Image.frombytes("CMYK", (17, 13), CMYK.tobytes()),
        "TIFF",
        {},
        (255.0 - CMYK[..., :3]) * (255.0 - CMYK[..., 3:]) / 255,
        "CMYK",
    ),
    "16-bit PNG": (Image.fromarray(WIDE), "PNG", {}, grey3(WIDE / 257), "65535 became 1"),
    "16-bit TIFF": (Image.fromarray(WIDE), "TIFF", {}, grey3(WIDE / 257), "65535 became 1"),
    "16-bit PGM": (Image.fromarray(WIDE.astype(np.int32)), "PPM", {}, grey3(WIDE / 257), "65535 became 1"),
    "float in [0, 1]": (Image.fromarray(FLOATS), "TIFF", {}, grey3(FLOATS * 255), "1 became 1"),
    "float in [0, 255]": (Image.fromarray(FLOATS * 255), "TIFF", {}, grey3(FLOATS * 255), "255 became 1"),
    "float elsewhere": (
        Image.fromarray(FLOATS * 6 - 3),
        "TIFF",
        {},
        grey3((FLOATS - FLOATS.min()) / (FLOATS.max() - FLOATS.min()) * 255),
        "became 0",
    ),
    "32-bit like 8": (Image.fromarray(GREY.astype(np.int32)), "TIFF", {}, grey3(GREY), "255 became 1"),
    "32-bit": (
        Image.fromarray(WIDE.astype(np.int32)),
        "TIFF",
        {},
        grey3((WIDE - float(WIDE.min())) / float(WIDE.max() - WIDE.min()) * 255),
        f"{WIDE.max()} became 1",
    ),
}


@pytest.mark.parametrize("name", MODES)
def test_every_mode_equals_its_reference(name):
    """Each mode becomes the computed RGB within one level of 255, and the conversion is noted."""
    picture, kind, options, reference, word = MODES[name]
    image = read_image(encoded(picture, kind, **options))
    if reference is None:
        reference = over_white(COLOURS[INDICES], np.where(INDICES == 3, 0, 255))
    assert close(image, reference)
    assert (word is None) == (image.notes == ())
    assert word is None or any(word in note for note in image.notes)


def test_sixteen_bits_of_colour_are_kept():
    """A PNG with 16 bits a channel keeps all of them, over white where it has alpha, and shows them divided by 257."""
    wide = RNG.integers(0, 65536, (5, 4, 4), dtype=np.uint16)
    for colour, channels in ((2, 3), (6, 4)):
        used = wide[..., :channels]
        rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in used)
        image = read_image(png(4, 5, 16, colour, rows))
        share = used[..., 3:] / 65535 if channels == 4 else 1
        reference = used[..., :3] * share + 65535 * (1 - share)
        assert np.abs(image.values - reference).max() <= 0.5
        assert np.abs(image.pixels - reference / 257).max() <= 0.51
        assert any("16-bit values: 0 became 0 and 65535 became 1" in note for note in image.notes)


def test_one_transparent_value_of_sixteen_bits():
    """The transparent value of a 16-bit PNG becomes white, in grey and in colour."""
    grey = np.array([[0, 1000, 65535]], np.uint16)
    image = read_image(png(3, 1, 16, 0, b"\0" + grey.astype(">u2").tobytes(), (b"tRNS", pack(">H", 1000))))
    assert image.pixels[0, :, 0].tolist() == [0, 255, 255]
    colour = np.array([[[1000, 2000, 3000], [1000, 2000, 3001]]], np.uint16)
    data = png(2, 1, 16, 2, b"\0" + colour.astype(">u2").tobytes(), (b"tRNS", pack(">HHH", 1000, 2000, 3000)))
    image = read_image(data)
    assert image.values.tolist() == [[[65535] * 3, [1000, 2000, 3001]]]
    assert any("white" in note for note in image.notes)


def test_values_that_are_not_finite_are_counted():
    """NaN and infinities of a float image become black and white, are counted, and leave the others alone."""
    values = np.array([[np.nan, np.inf, -np.inf, 0.5, 1.0]], np.float32)
    image = read_image(encoded(values, "TIFF"))
    assert image.pixels[0, :, 0].tolist() == [0, 255, 0, 128, 255]
    assert any("3 of 5 values are not finite" in note for note in image.notes)
    assert read_image(encoded(values[:, :3], "TIFF")).pixels[0, :, 0].tolist() == [0, 255, 0]


def test_the_largest_floats_are_stretched():
    """The range of float32 does not overflow."""
    values = np.array([[-3e38, 0, 3e38]], np.float32)
    assert read_image(encoded(values, "TIFF")).pixels[0, :, 0].tolist() == [0, 128, 255]


def test_a_profile_is_converted():
    """Colours of another RGB space, of grey with a gamma, and of Lab are converted to sRGB by littleCMS."""
    swapped = swapped_profile()
    data = encoded(RGB, "PNG", icc_profile=swapped)
    image = read_image(data)
    with Image.open(io.BytesIO(data)) as picture:
        reference = ImageCms.profileToProfile(
            picture, ImageCms.ImageCmsProfile(io.BytesIO(swapped)), ImageCms.createProfile("sRGB"), renderingIntent=1
        )
    assert np.abs(image.pixels.astype(int) - np.asarray(reference)).max() <= 1
    assert np.abs(image.pixels.astype(int) - RGB[..., [1, 0, 2]]).max() <= 3
    assert any("converted to sRGB" in note for note in image.notes)


def test_a_long_profile_is_used():
    """A profile of more than a megabyte converts the colours as a short one does."""
    long = bytearray(swapped_profile() + np.random.default_rng(0).bytes(2 << 20))
    long[:4] = len(long).to_bytes(4, "big")
    expected = read_image(encoded(RGB, "PNG", icc_profile=swapped_profile())).pixels
    assert np.array_equal(read_image(encoded(RGB, "PNG", icc_profile=bytes(long))).pixels, expected)


def test_a_profile_with_alpha_is_converted_before_white():
    """Transparent pixels of another RGB space are converted first and composed then."""
    rgba = np.dstack([RGB, ALPHA])
    image = read_image(encoded(rgba, "PNG", icc_profile=swapped_profile()))
    assert np.abs(image.pixels - over_white(RGB[..., [1, 0, 2]].astype(float), ALPHA)).max() <= 3


def test_an_srgb_profile_changes_nothing():
    """A picture with an sRGB profile is unchanged, bit for bit, without a note."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for picture in (RGB, GREY, np.dstack([RGB, np.full_like(GREY, 255)])):
        image = read_image(encoded(picture, "PNG", icc_profile=profile))
        assert np.array_equal(image.pixels, RGB if picture.ndim == 3 else grey3(GREY))
        assert image.notes == ()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_a_bad_profile_is_ignored(kind):
    """An invalid profile, or one of another colour space, is ignored with a note."""
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    options = {"lossless": True} if kind == "WEBP" else {}
    plain = read_image(encoded(RGB, kind, **options)).pixels
    for profile in (b"this is no profile", lab, lab[:100], b"\0" * 200):
        image = read_image(encoded(RGB, kind, icc_profile=profile, **options))
        assert np.array_equal(image.pixels, plain)
        assert any("profile" in note and "ignored" in note for note in image.notes)


def test_inks_of_a_jpeg_are_the_right_way_round():
    """Adobe stores inverted CMYK in JPEG; white paper is read as white."""
    inks = Image.new("CMYK", (32, 32), (0, 0, 0, 0))
    inks.paste((255, 0, 0, 51), (16, 0, 32, 32))
    pixels = read_image(encoded(inks, "JPEG", quality=100)).pixels.astype(int)
    assert np.abs(pixels[:, :8] - 255).max() <= 3
    assert np.abs(pixels[:, 24:] - [0, 204, 204]).max() <= 3


def test_lab_comes_back_from_lab():
    """Colours that littleCMS converted to CIELAB in a TIFF are restored, except for the rounding of Lab to 8 bits."""
    to_lab = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
    muted = RGB // 2 + 64
    stored = ImageCms.applyTransform(Image.fromarray(muted), to_lab)
    image = read_image(encoded(stored, "TIFF"))
    assert image.mode == "LAB"
    assert np.abs(image.pixels.astype(int) - muted).max() <= 6


def test_palettes_with_alpha_stand_on_white():
    """The alpha beside a palette's indices, and that inside a palette, are composed with white."""
    beside = Image.merge("RGBA", [*Image.fromarray(COLOURS[INDICES].astype(np.uint8)).split(), Image.fromarray(ALPHA)])
    palette_and_alpha = Image.frombytes("PA", (17, 13), np.dstack([INDICES, ALPHA]).tobytes())
    palette_and_alpha.putpalette(PALETTE.getpalette())
    assert close(read_image(palette_and_alpha), over_white(COLOURS[INDICES], ALPHA))
    assert close(read_image(beside), over_white(COLOURS[INDICES], ALPHA))
    inside = PALETTE.copy()
    four = np.column_stack([COLOURS[:16], TRANSPARENT]).astype(np.uint8)
    inside.putpalette(four.tobytes(), "RGBA")
    assert close(read_image(inside), over_white(COLOURS[INDICES], TRANSPARENT[INDICES]))


def test_the_callers_picture_stays_what_it_is():
    """What is known of a picture in memory is not changed by reading it."""
    picture = Image.fromarray(RGB)
    picture.info = {"transparency": (1000, 2, 3), "icc_profile": b"bad", "other": 1}
    before = dict(picture.info)
    read_image(picture)
    assert picture.info == before
    assert picture.mode == "RGB"


OPAQUE = Image.fromarray(RGB)
BYTES = {
    "RGBX": np.dstack([RGB, GREY]).tobytes(),
    "I;16B": WIDE.astype(">u2").tobytes(),
    "I;16L": WIDE.astype("<u2").tobytes(),
    "RGBa": np.dstack([np.minimum(RGB, ALPHA[..., None]), ALPHA]).tobytes(),
}
OTHER_MODES = {
    "YCbCr": (OPAQUE.convert("YCbCr"), np.asarray(OPAQUE.convert("YCbCr").convert("RGB"))),
    "HSV": (OPAQUE.convert("HSV"), np.asarray(OPAQUE.convert("HSV").convert("RGB"))),
    "RGBX": (Image.frombytes("RGBX", (17, 13), BYTES["RGBX"]), RGB),
    "I;16B": (Image.frombytes("I;16B", (17, 13), BYTES["I;16B"]), grey3(WIDE / 257)),
    "I;16L": (Image.frombytes("I;16L", (17, 13), BYTES["I;16L"]), grey3(WIDE / 257)),
    "RGBa": (
        Image.frombytes("RGBa", (17, 13), BYTES["RGBa"]),
        np.minimum(RGB, ALPHA[..., None]) + 255.0 - ALPHA[..., None],
    ),
}


@pytest.mark.parametrize("mode", OTHER_MODES)
def test_pillows_other_modes_are_read(mode):
    """Modes that Pillow has only in memory are converted by their definition."""
    picture, reference = OTHER_MODES[mode]
    assert picture.mode == mode
    assert close(read_image(picture), reference.astype(float))

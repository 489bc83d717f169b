import io
import os
import sys
import zlib
from struct import pack

import numpy as np
import pytest
from matplotlib import cbook
from PIL import Image, ImageCms, ImageFile

from kernelviz.errors import BadImageError, UsageError
from kernelviz.files.images import read_image

RNG = np.random.default_rng(5)
RGB = RNG.integers(0, 256, (13, 17, 3), dtype=np.uint8)
GREY = RNG.integers(0, 256, (13, 17), dtype=np.uint8)
ALPHA = RNG.integers(0, 256, (13, 17), dtype=np.uint8)
WIDE = RNG.integers(0, 65536, (13, 17), dtype=np.uint16)


def encoded(picture, kind="PNG", **options):
    """The bytes of a file of a Pillow image or an array."""
    buffer = io.BytesIO()
    (picture if isinstance(picture, Image.Image) else Image.fromarray(picture)).save(buffer, kind, **options)
    return buffer.getvalue()


def grey3(values):
    """A grey picture as (H, W, 3)."""
    return np.repeat(np.asarray(values, float)[..., None], 3, axis=2)


def over_white(colour, alpha):
    """The composition with white, in real numbers."""
    share = alpha[..., None] / 255
    return colour * share + 255 * (1 - share)


def close(image, reference):
    """Whether pixels are those of a reference, within one level."""
    return image.pixels.shape == reference.shape and np.abs(image.pixels - reference).max() <= 1.0


def test_a_photograph_comes_as_it_is(tmp_path):
    """A plain file gives Pillow's own pixels, its name, its stem and the hash of its bytes; nothing is noted."""
    path = tmp_path / "a photo.v2.png"
    path.write_bytes(encoded(RGB))
    image = read_image(path)
    assert np.array_equal(image.pixels, RGB)
    assert image.pixels.dtype == np.uint8
    assert (image.name, image.stem, image.path) == ("a photo.v2.png", "a photo.v2", str(path))
    assert (image.format, image.mode, image.notes, image.size) == ("PNG", "RGB", (), (13, 17))
    import hashlib

    assert image.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert image.as_recipe() == {"name": "a photo.v2.png", "sha256": image.sha256}


def test_the_sample_is_matplotlibs():
    """``sample:grace_hopper`` is the photograph, as Pillow reads it."""
    image = read_image("sample:grace_hopper")
    with Image.open(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)) as picture:
        assert np.array_equal(image.pixels, np.asarray(picture))
    assert (image.name, image.stem, image.path) == ("sample:grace_hopper", "grace_hopper", None)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "GIF", "TIFF", "PPM", "WEBP", "JPEG"])
def test_every_format_is_read(kind):
    """Each format gives what Pillow gives, whatever the file is called."""
    data = encoded(RGB, kind, **({"lossless": True} if kind == "WEBP" else {}))
    with Image.open(io.BytesIO(data)) as picture:
        reference = np.asarray(picture.convert("RGB"))
    image = read_image(data)
    assert np.array_equal(image.pixels, reference)
    assert image.format == kind


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
    "16-bit PNG": (Image.fromarray(WIDE), "PNG", {}, grey3(WIDE / 257), "257"),
    "16-bit TIFF": (Image.fromarray(WIDE), "TIFF", {}, grey3(WIDE / 257), "257"),
    "16-bit PGM": (Image.fromarray(WIDE.astype(np.int32)), "PPM", {}, grey3(WIDE / 257), "257"),
    "float in [0, 1]": (Image.fromarray(FLOATS), "TIFF", {}, grey3(FLOATS * 255), "255"),
    "float in [0, 255]": (Image.fromarray(FLOATS * 255), "TIFF", {}, grey3(FLOATS * 255), "rounded"),
    "float elsewhere": (
        Image.fromarray(FLOATS * 6 - 3),
        "TIFF",
        {},
        grey3((FLOATS - FLOATS.min()) / (FLOATS.max() - FLOATS.min()) * 255),
        "stretched",
    ),
    "32-bit like 8": (Image.fromarray(GREY.astype(np.int32)), "TIFF", {}, grey3(GREY), "as they are"),
    "32-bit like 16": (Image.fromarray(WIDE.astype(np.int32)), "TIFF", {}, grey3(WIDE / 257), "257"),
}


@pytest.mark.parametrize("name", MODES)
def test_every_mode_equals_its_reference(name):
    """Each mode becomes the RGB that arithmetic says, within one level of 255, and what was done is noted."""
    picture, kind, options, reference, word = MODES[name]
    image = read_image(encoded(picture, kind, **options))
    if reference is None:
        reference = over_white(COLOURS[INDICES], np.where(INDICES == 3, 0, 255))
    assert close(image, reference)
    assert (word is None) == (image.notes == ())
    assert word is None or any(word in note for note in image.notes)


def png(width, height, depth, colour, rows, *chunks):
    """A PNG made by hand."""

    def chunk(kind, data):
        return pack(">I", len(data)) + kind + data + pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    more = b"".join(chunk(*each) for each in chunks)
    return b"\x89PNG\r\n\x1a\n" + header + more + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")


def test_sixteen_bits_of_colour_are_reduced():
    """A PNG with 16 bits a channel is that divided by 257, within one level, with alpha too."""
    wide = RNG.integers(0, 65536, (5, 4, 4), dtype=np.uint16)
    for colour, channels in ((2, 3), (6, 4)):
        used = wide[..., :channels]
        rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in used)
        image = read_image(png(4, 5, 16, colour, rows))
        reference = used[..., :3] / 257
        if channels == 4:  # colour and alpha have each lost up to one level before they meet
            reference = over_white(reference, used[..., 3] / 257)
        assert np.abs(image.pixels - reference).max() <= (1 if channels == 3 else 2)
        assert any("16-bit" in note for note in image.notes)


def test_one_transparent_value_of_sixteen_bits():
    """The transparent value of a 16-bit grey PNG becomes white; that of 16-bit colours is said to be left out."""
    grey = np.array([[0, 1000, 65535]], np.uint16)
    image = read_image(png(3, 1, 16, 0, b"\0" + grey.astype(">u2").tobytes(), (b"tRNS", pack(">H", 1000))))
    assert image.pixels[0, :, 0].tolist() == [0, 255, 255]
    colour = np.array([[[1000, 2000, 3000]]], np.uint16)
    data = png(1, 1, 16, 2, b"\0" + colour.astype(">u2").tobytes(), (b"tRNS", pack(">HHH", 1000, 2000, 3000)))
    image = read_image(data)
    assert close(image, colour / 257)
    assert any("not applied" in note for note in image.notes)


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


QUARTERS = {
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: lambda a: np.fliplr(np.rot90(a, -1)),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: np.fliplr(np.rot90(a, 1)),
    8: lambda a: np.rot90(a, -1),
}
"""How a camera stores an upright picture for each orientation: the inverse of what a reader must do."""


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "JPEG"])
def test_every_orientation_comes_upright(kind, orientation):
    """What is stored turned comes out as the upright original, in every format that has EXIF, and as Pillow turns it."""
    from PIL import ImageOps

    blocks = np.repeat(np.repeat(RNG.integers(0, 256, (2, 3, 1), dtype=np.uint8), 16, 0), 16, 1).repeat(3, 2)
    stored = np.ascontiguousarray(QUARTERS[orientation](blocks))
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(stored, kind, exif=exif, **({"lossless": True} if kind == "WEBP" else {}))
    image = read_image(data)
    assert np.abs(image.pixels.astype(int) - blocks).max() <= (2 if kind == "JPEG" else 0)
    with Image.open(io.BytesIO(data)) as picture:
        assert np.array_equal(image.pixels, np.asarray(ImageOps.exif_transpose(picture).convert("RGB")))
        assert np.array_equal(read_image(picture).pixels, image.pixels)
    noted = [note for note in image.notes if "upright" in note]
    assert noted == ([] if orientation == 1 else [f"turned upright (EXIF orientation {orientation})"])


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "JPEG"])
@pytest.mark.parametrize(
    "exif", [b"Exif\0\0garbage", b"Exif\0\0MM\0*\xff\xff\xff\xff", b"Exif\0\0II*\0\x08\0\0\0\xff\xff", b"x"]
)
def test_garbage_exif_is_ignored(kind, exif):
    """EXIF that cannot be read turns nothing and stops nothing."""
    image = read_image(encoded(RGB, kind, exif=exif, **({"lossless": True} if kind == "WEBP" else {})))
    assert image.pixels.shape == RGB.shape
    assert kind == "JPEG" or np.array_equal(image.pixels, RGB)


@pytest.mark.parametrize("value", [0, 9, 4711])
def test_an_orientation_that_is_none_is_ignored(value):
    """A number beyond 1 to 8 turns nothing; 0, which cameras write for unknown, is not worth a word."""
    exif = Image.Exif()
    exif[0x0112] = value
    image = read_image(encoded(RGB, "PNG", exif=exif))
    assert np.array_equal(image.pixels, RGB)
    assert bool(image.notes) == (value != 0)


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_the_first_of_several_frames_is_taken(kind):
    """Of what moves, or has pages, the first is read, and that is said."""
    frames = [Image.new("RGB", (9, 8), colour) for colour in ("red", "blue", "green")]
    image = read_image(encoded(frames[0], kind, save_all=True, append_images=frames[1:]))
    assert np.abs(image.pixels.astype(int) - np.array([255, 0, 0])).max() <= 3
    assert any("first of several" in note for note in image.notes)


def test_a_profile_is_converted():
    """Colours of another RGB space, of grey with a gamma, and of Lab's own space come to sRGB by littleCMS."""
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


def swapped_profile():
    """The sRGB profile with the red and the green primary exchanged: converting with it exchanges the channels."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    count = int.from_bytes(data[128:132], "big")
    for index in range(count):
        at = 132 + 12 * index
        name = bytes(data[at : at + 4])
        data[at : at + 4] = {b"rXYZ": b"gXYZ", b"gXYZ": b"rXYZ"}.get(name, name)
    return bytes(data)


def test_a_profile_with_alpha_is_converted_before_white():
    """Transparent pixels of another RGB space are converted first and composed then."""
    rgba = np.dstack([RGB, ALPHA])
    image = read_image(encoded(rgba, "PNG", icc_profile=swapped_profile()))
    assert np.abs(image.pixels - over_white(RGB[..., [1, 0, 2]].astype(float), ALPHA)).max() <= 3


def test_an_srgb_profile_changes_nothing():
    """A picture that says it is sRGB stays what it is, bit for bit, without a word."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for picture in (RGB, GREY, np.dstack([RGB, np.full_like(GREY, 255)])):
        image = read_image(encoded(picture, "PNG", icc_profile=profile))
        assert np.array_equal(image.pixels, RGB if picture.ndim == 3 else grey3(GREY))
        assert image.notes == ()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_a_bad_profile_is_ignored(kind):
    """A profile that is none, or one of another colour space, is left out, and that is said."""
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    options = {"lossless": True} if kind == "WEBP" else {}
    plain = read_image(encoded(RGB, kind, **options)).pixels
    for profile in (b"this is no profile", lab, lab[:100], b"\0" * 200):
        image = read_image(encoded(RGB, kind, icc_profile=profile, **options))
        assert np.array_equal(image.pixels, plain)
        assert any("profile" in note and "ignored" in note for note in image.notes)


OTHERS = {
    "PDF": b"%PDF-1.7\n%\xe2\xe3\n",
    "PostScript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
    "SVG": b'<?xml version="1.0"?>\n<!-- x -->\n<svg xmlns="http://www.w3.org/2000/svg"/>',
    "HEIC": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
    "AVIF": b"\0\0\0\x18ftypavif\0\0\0\0mif1",
    "video": b"\0\0\0\x18ftypisom\0\0\2\0",
    "JPEG 2000": b"\0\0\0\x0cjP  \r\n\x87\n",
    "JPEG XL": b"\xff\x0a\x00",
    "raw": b"II*\0\x10\0\0\0CR\2\0",
    "Photoshop": b"8BPS\0\1",
    "icon": b"\0\0\1\0\1\0",
    "HTML": b"<!DOCTYPE html><html>",
    "NumPy": b"\x93NUMPY\1\0",
    "zip": b"PK\3\4",
    "text": "not an image, äöü\n".encode(),
    "unknown": bytes(range(1, 255)),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_formats_are_named(name, tmp_path, monkeypatch):
    """What is no image that is read is refused by what it is, whatever it is called, and no program is started."""

    def never(*_, **__):
        raise AssertionError("a program was started")

    monkeypatch.setattr("subprocess.Popen", never)
    monkeypatch.setattr("os.system", never)
    path = tmp_path / "picture.png"
    path.write_bytes(OTHERS[name])
    with pytest.raises(BadImageError) as caught:
        read_image(path)
    assert name.lower() in str(caught.value).lower()
    assert "PNG, JPEG" in caught.value.why


def test_real_svg_pdf_and_eps_are_named(tmp_path):
    """What matplotlib writes in the formats of documents is refused by name."""
    from matplotlib.figure import Figure

    for suffix, word in (("svg", "SVG"), ("pdf", "PDF"), ("eps", "EPS")):
        path = tmp_path / f"figure.{suffix}"
        Figure().savefig(path)
        with pytest.raises(BadImageError, match=word):
            read_image(path)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "GIF", "TIFF", "LZW", "PPM", "WEBP", "JPEG", "progressive"])
def test_a_picture_cut_short_is_refused(kind):
    """Wherever a file is cut, it is either refused or still the whole picture: never a half-grey one."""
    noise = RNG.integers(0, 256, (40, 50, 3), dtype=np.uint8)
    options = {"progressive": {"progressive": True}, "LZW": {"compression": "tiff_lzw"}}.get(kind, {})
    data = encoded(noise, {"progressive": "JPEG", "LZW": "TIFF"}.get(kind, kind), **options)
    whole = read_image(data).pixels
    refused = 0
    for size in sorted({*range(16, len(data), len(data) // 40), len(data) - 1}):
        try:
            pixels = read_image(data[:size]).pixels
        except BadImageError:
            refused += 1
        else:
            assert np.array_equal(pixels, whole)
    assert refused >= 35


def test_a_picture_cut_short_is_refused_for_a_caller_who_allows_them(monkeypatch):
    """Pillow's own switch for truncated files changes nothing here, and is left as it was."""
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    data = encoded(RNG.integers(0, 256, (40, 50, 3), dtype=np.uint8), "JPEG")
    with pytest.raises(BadImageError, match="cut short"):
        read_image(data[: len(data) // 2])
    assert ImageFile.LOAD_TRUNCATED_IMAGES


def test_any_damage_ends_in_one_error_or_a_picture():
    """Bytes changed at random never raise anything else, nor warn."""
    rng = np.random.default_rng(8)
    for kind in ("PNG", "BMP", "GIF", "TIFF", "PPM", "WEBP", "JPEG"):
        data = encoded(RGB, kind, exif=b"Exif\0\0II*\0") if kind in {"PNG", "JPEG"} else encoded(RGB, kind)
        for _ in range(150):
            damaged = bytearray(data)
            for at in rng.integers(0, len(data), 3):
                damaged[at] = rng.integers(256)
            try:
                pixels = read_image(bytes(damaged)).pixels
            except BadImageError:
                continue
            assert pixels.dtype == np.uint8
            assert pixels.shape[2] == 3


def claims(width, height):
    """The beginnings of files of every format that claim to be this large."""
    bmp = b"BM" + pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
    tags = [(256, 4, width), (257, 4, height), (258, 3, 8), (259, 3, 1), (262, 3, 1), (273, 4, 200), (277, 3, 1)]
    tags += [(278, 4, height), (279, 4, 9)]
    tiff = b"II*\0\x08\0\0\0" + pack("<H", len(tags)) + b"".join(pack("<HHII", t, k, 1, v) for t, k, v in tags)
    side, tall = min(width, 65500), min(height, 65500)
    jpeg = b"\xff\xd8\xff\xc0\0\x11\x08" + pack(">HH", tall, side) + b"\3\1\x22\0\2\x11\1\3\x11\1\xff\xda\0\x0c"
    canvas = pack("<I", min(width, 16383) - 1)[:3] + pack("<I", min(height, 16383) - 1)[:3]
    return {
        "PNG": png(width, height, 8, 2, b""),
        "BMP": bmp,
        "TIFF": tiff + bytes(200),
        "JPEG": jpeg + bytes(40),
        "PPM": b"P6 %d %d 255\n" % (width, height),
        "GIF": b"GIF89a" + pack("<HH", side, tall) + b"\0\0\0," + pack("<HHHHB", 0, 0, side, tall, 0) + b"\2\0;",
        "WEBP": b"RIFF" + pack("<I", 100) + b"WEBPVP8X" + pack("<I", 10) + bytes(4) + canvas + bytes(60),
    }


@pytest.mark.parametrize("kind", claims(1, 1))
def test_what_claims_to_be_huge_is_refused_by_its_header(kind):
    """A file that claims 60000×60000 pixels is refused before memory is taken for them, with its size and the limit."""
    import tracemalloc

    data = claims(60000, 60000)[kind]
    tracemalloc.start()
    with pytest.raises(BadImageError, match="too large") as caught:
        read_image(data)
    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    tracemalloc.stop()
    assert "×" in caught.value.why
    assert "the limit is 240 MB" in caught.value.why


def test_a_bomb_is_refused_and_little_memory_taken(run):
    """81 megapixels in 0.1 MB are refused, and what just fits is read, within 300 MB above the baseline."""
    code = """
import os
from pathlib import Path
from PIL import Image
from kernelviz.errors import BadImageError
from kernelviz.files.images import read_image

def peak():
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])

def apart(work):  # each in a process of its own, for a peak of its own
    child = os.fork()
    if not child:
        work()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0

def read():
    before = peak()
    try:
        told = read_image("picture").size
    except BadImageError as error:
        told = error.what
    print(told, peak() - before < 300_000, flush=True)

for mode, size, kind in [("L", (9000, 9000), "PNG"), ("RGBA", (6800, 5000), "PNG"), ("RGB", (4300, 3400), "WEBP")]:
    apart(lambda: Image.new(mode, size).save("picture", kind))
    apart(read)
"""
    assert run(code).splitlines() == ["picture is too large. True", "(5000, 6800) True", "(3400, 4300) True"]


def test_a_large_jpeg_is_decoded_smaller():
    """A photograph beyond the bound comes at half size and says so, near to what a box filter makes of it."""
    ramp = np.linspace(0, 255, 8000, dtype=np.float32).astype(np.uint8)
    data = encoded(np.broadcast_to(ramp[None, :, None], (6000, 8000, 3)), "JPEG")
    image = read_image(data)
    assert image.size == (3000, 4000)
    assert image.notes == ("decoded smaller: 8000×6000 pixels as 4000×3000",)
    assert np.abs(image.pixels[::300, :, 0] - ramp.reshape(-1, 2).mean(1)).max() <= 3


def test_long_and_thin_pictures_are_bounded():
    """A side may be a thousand times the other and no more."""
    assert read_image(encoded(np.zeros((1, 1000), np.uint8))).size == (1, 1000)
    with pytest.raises(BadImageError, match="too long and thin"):
        read_image(png(1, 6000, 1, 0, b"\0\0" * 6000))


@pytest.mark.parametrize("size", [(1, 1), (7, 7)])
def test_tiny_pictures_are_read(size):
    """One pixel is a picture."""
    pixels = RNG.integers(0, 256, (*size, 3), dtype=np.uint8)
    assert np.array_equal(read_image(encoded(pixels)).pixels, pixels)


def test_too_many_bytes_are_refused(tmp_path, monkeypatch):
    """A file, a stream and bytes beyond the limit are refused, and no more than the limit is read."""
    monkeypatch.setattr("kernelviz.files.images.MOST_BYTES", 1 << 20)
    path = tmp_path / "large.png"
    path.write_bytes(bytes(1 << 20) + b"x")

    class Endless(io.RawIOBase):
        asked = 0

        def read(self, size=-1):
            """As many zeros as are asked for."""
            assert size >= 0
            self.asked += size
            return bytes(size)

    endless = Endless()
    for source in (path, path.read_bytes(), endless):
        with pytest.raises(BadImageError, match="too large"):
            read_image(source)
    assert endless.asked == (1 << 20) + 1


def test_missing_empty_and_odd_files_are_named(tmp_path):
    """What is no regular file, or not there, ends at once in its own sentence: no pipe and no device is waited for."""
    (tmp_path / "empty.png").touch()
    os.mkfifo(tmp_path / "pipe.png")
    cases = {
        tmp_path / "nosuch.png": "no file",
        tmp_path / "empty.png" / "below.png": "no file",
        tmp_path: "is a directory",
        tmp_path / "empty.png": "is empty",
        tmp_path / "pipe.png": "not a regular file",
        "/dev/zero": "not a regular file",
        "": "no file",
        "a\0b": "cannot be read",
        "x" * 5000: "cannot be read",
    }
    for path, word in cases.items():
        with pytest.raises(BadImageError, match=word) as caught:
            read_image(path)
        assert caught.value.hint


@pytest.mark.parametrize(
    "name", ["with space.png", "[1].png", "[bold].png", "$\\foo$.png", "a\nb.png", "\x1b[1m.png", "😀文.png"]
)
def test_awkward_names_are_read(tmp_path, name):
    """Whatever a file may be called, it is read and keeps its name."""
    (tmp_path / name).write_bytes(encoded(RGB))
    image = read_image(tmp_path / name)
    assert (image.name, image.stem) == (name, name.removesuffix(".png"))


class Stdin(io.TextIOWrapper):
    """A standard input with these bytes; on a terminal or not."""

    def __init__(self, data, *, terminal=False):
        super().__init__(io.BytesIO(data))
        self.terminal = terminal

    def isatty(self):
        """Whether it says to be a terminal."""
        return self.terminal


def test_standard_input_is_read(monkeypatch):
    """``-`` reads what is piped in, and never waits for a terminal."""
    monkeypatch.setattr(sys, "stdin", Stdin(encoded(RGB)))
    image = read_image("-")
    assert np.array_equal(image.pixels, RGB)
    assert (image.name, image.stem, image.path) == ("standard input", "stdin", None)
    for stdin in (Stdin(b"", terminal=True), None):
        monkeypatch.setattr(sys, "stdin", stdin)
        with pytest.raises(BadImageError, match="standard input"):
            read_image("-")
    monkeypatch.setattr(sys, "stdin", Stdin(b""))
    with pytest.raises(BadImageError, match="standard input is empty"):
        read_image("-")


def test_pictures_in_memory_are_read(tmp_path):
    """Bytes, open files, Pillow images and arrays give the same pixels; the caller's own are not changed."""
    data = encoded(RGB)
    (tmp_path / "x.png").write_bytes(data)
    with (tmp_path / "x.png").open("rb") as file:
        image = read_image(file)
    assert (image.name, image.stem) == ("x.png", "x")
    picture = Image.fromarray(np.dstack([RGB, ALPHA]))
    before = picture.tobytes()
    sources = [data, bytearray(data), memoryview(data), io.BytesIO(data), Image.fromarray(RGB), RGB]
    for source in sources:
        assert np.array_equal(read_image(source).pixels, RGB)
    assert close(read_image(picture), over_white(RGB, ALPHA))
    assert picture.tobytes() == before
    assert read_image(RGB, name="mine").name == "mine"
    copy = read_image(RGB).pixels
    assert not np.shares_memory(copy, RGB)


def test_arrays_are_taken_by_their_type():
    """Numbers become 8 bits by a rule that does not look at their range; what fits no rule is refused with its shape."""
    assert close(read_image(RGB / np.float32(255)), RGB)
    assert close(read_image(WIDE), grey3(WIDE / 257))
    assert close(read_image(GREY > 127), grey3((GREY > 127) * 255))
    assert close(read_image(GREY[..., None]), grey3(GREY))
    assert close(read_image(np.dstack([RGB, ALPHA])), over_white(RGB, ALPHA))
    assert close(read_image(RGB[:, ::-1]), RGB[:, ::-1])
    for wrong in (
        RGB.transpose(2, 0, 1),
        np.zeros(3),
        np.zeros((0, 3, 3)),
        RGB.astype(int),
        RGB.astype(float),
        np.full((2, 2), np.nan),
    ):
        with pytest.raises(UsageError):
            read_image(wrong)
    for wrong in (None, 3, [[1, 2]], io.StringIO("x")):
        with pytest.raises(UsageError):
            read_image(wrong)


def test_equal_pixels_have_equal_hashes():
    """What has no file is told apart by its pixels and its shape."""
    assert read_image(RGB).sha256 == read_image(Image.fromarray(RGB)).sha256
    assert read_image(RGB).sha256 != read_image(RGB.reshape(17, 13, 3)).sha256

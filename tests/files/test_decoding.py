import io
import sys
import tracemalloc
import zlib
from struct import pack

import numpy as np
import pytest
from peak_memory import PEAK
from PIL import Image, ImageFile, ImageOps
from sample_images import RGB, RNG, encoded, png

from kernelviz.errors import BadImageError
from kernelviz.files.images import read_image

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
    """An image that is stored rotated is read upright, in every format that has EXIF, as by Pillow."""
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
    assert noted == ([] if orientation == 1 else [f"rotated upright (EXIF orientation {orientation})"])


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
    """An orientation outside 1 to 8 is ignored with a note; 0, which cameras write for unknown, without one."""
    exif = Image.Exif()
    exif[0x0112] = value
    image = read_image(encoded(RGB, "PNG", exif=exif))
    assert np.array_equal(image.pixels, RGB)
    assert bool(image.notes) == (value != 0)


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_the_first_of_several_frames_is_taken(kind):
    """Of several frames or pages the first is read, with a note."""
    frames = [Image.new("RGB", (9, 8), colour) for colour in ("red", "blue", "green")]
    image = read_image(encoded(frames[0], kind, save_all=True, append_images=frames[1:]))
    assert np.abs(image.pixels.astype(int) - np.array([255, 0, 0])).max() <= 3
    assert any("first of several" in note for note in image.notes)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "GIF", "TIFF", "LZW", "PPM", "WEBP", "JPEG", "progressive"])
def test_a_picture_cut_short_is_refused(kind):
    """A truncated file is either rejected or complete: never half grey."""
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
    """Pillow's switch for truncated files has no effect, and is preserved."""
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    data = encoded(RNG.integers(0, 256, (40, 50, 3), dtype=np.uint8), "JPEG")
    with pytest.raises(BadImageError, match="truncated"):
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
    """A file that claims 60000×60000 pixels is rejected before memory is allocated, with its size and the limit."""
    data = claims(60000, 60000)[kind]
    tracemalloc.start()
    with pytest.raises(BadImageError, match="too large") as caught:
        read_image(data)
    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    tracemalloc.stop()
    assert "×" in caught.value.why
    assert "the limit is 240 MB" in caught.value.why


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
def test_a_bomb_is_refused_and_little_memory_taken(run):
    """81 megapixels in 0.1 MB are rejected, and the largest allowed image is read within 300 MB above the baseline."""
    code = (
        PEAK
        + """
from PIL import Image
from kernelviz.errors import BadImageError
from kernelviz.files.images import read_image

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
    )
    assert run(code).splitlines() == ["picture is too large. True", "(5000, 6800) True", "(3400, 4300) True"]


def test_a_large_jpeg_is_decoded_smaller():
    """A photograph beyond the limit is read at half size with a note, close to the result of a box filter."""
    ramp = np.linspace(0, 255, 8000, dtype=np.float32).astype(np.uint8)
    data = encoded(np.broadcast_to(ramp[None, :, None], (6000, 8000, 3)), "JPEG")
    image = read_image(data)
    assert image.size == (3000, 4000)
    assert image.notes == ("decoded at 4000 × 3000 instead of 8000 × 6000 pixels",)
    assert np.abs(image.pixels[::300, :, 0] - ramp.reshape(-1, 2).mean(1)).max() <= 3


def test_long_and_thin_pictures_are_bounded():
    """A side may be a thousand times the other and no more."""
    assert read_image(encoded(np.zeros((1, 1000), np.uint8))).size == (1, 1000)
    with pytest.raises(BadImageError, match="too long and thin"):
        read_image(png(1, 6000, 1, 0, b"\0\0" * 6000))


def with_chunks(data, *chunks):
    """A PNG with more chunks behind its header."""
    made = b"".join(pack(">I", len(rest)) + kind + rest + pack(">I", zlib.crc32(kind + rest)) for kind, rest in chunks)
    return data[:33] + made + data[33:]


MEGABYTES = zlib.compress(bytes(3 << 20))
"""Three megabytes, compressed to three kilobytes."""


@pytest.mark.parametrize(
    "chunk",
    [
        (b"zTXt", b"Comment\0\0" + MEGABYTES),
        (b"zTXt", b"Raw profile type exif\0\0" + MEGABYTES),
        (b"zTXt", b"Comment\0\x07unknown method"),
        (b"iTXt", b"Comment\0\1\0\0\0" + MEGABYTES),
        (b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + MEGABYTES),
        (b"tEXt", b"Comment\0" + bytes(70 << 20)),
        (b"gAMA", b"\0"),
        (b"pHYs", b"\0"),
        (b"iCCP", b"profile\0\0" + MEGABYTES),
        (b"iCCP", b"profile\0\0" + zlib.compress(bytes(40 << 20))),
        (b"iCCP", b"profile\0\x07unknown method"),
        (b"iCCP", b""),
    ],
    ids=lambda chunk: f"{chunk[0].decode()}-{len(chunk[1])}",
)
def test_what_is_not_pixels_never_stops_a_png(chunk):
    """Text, profiles and other chunks that cannot be used are ignored; the pixels are those of the file without them."""
    image = read_image(with_chunks(encoded(RGB, "PNG"), chunk))
    assert np.array_equal(image.pixels, RGB)
    profile = "its colour profile cannot be used and was ignored"
    assert image.notes == ((profile,) if chunk[0] == b"iCCP" else ())


def test_an_orientation_in_a_compressed_text_turns_a_png():
    """The EXIF that older programs write as compressed text still turns the picture upright."""
    exif = Image.Exif()
    exif[0x0112] = 6
    raw = exif.tobytes()[6:]
    text = b"\nexif\n%8d\n" % (len(raw) + 6) + (b"Exif\0\0" + raw).hex().encode() + b"\n"
    data = with_chunks(encoded(RGB, "PNG"), (b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(text)))
    assert np.array_equal(read_image(data).pixels, np.rot90(RGB, -1))

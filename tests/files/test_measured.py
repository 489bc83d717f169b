"""Images of more than 8 bits and of any number of bands keep their numbers, and state what became 0 and 1."""

from __future__ import annotations

import io
import sys
import zlib

import numpy as np
import pytest
from peak_memory import PEAK
from PIL import Image as Pillow
from sample_images import RGB, WIDE, close, encoded, grey3, png, swapped_profile

import kernelviz
from kernelviz.errors import BadImageError, UsageError
from kernelviz.files.images import read_image

RNG = np.random.default_rng(18)
HOUNSFIELD = np.clip(RNG.normal(0, 400, (60, 70)), -1000, 2000).astype(np.int16)
FIVE = RNG.integers(0, 10000, (40, 50, 5), dtype=np.uint16)


def npy(values, **options):
    """The bytes of an ``.npy`` file."""
    buffer = io.BytesIO()
    np.save(buffer, values, **options)
    return buffer.getvalue()


def test_filters_read_twelve_bits_as_they_are():
    """Nothing is rounded to 8 bits before it is computed with: Sobel's response is that of scipy on the numbers."""
    ndimage = pytest.importorskip("scipy.ndimage")
    rows, columns = np.mgrid[0:96, 0:128]
    values = np.rint(2000 + 1900 * np.sin(columns / 6) * np.cos(rows / 9)).astype(np.uint16)
    image = read_image(encoded(values))
    response = kernelviz.apply_filter(image, "sobel-x")
    assert np.allclose(response.values, ndimage.correlate(values / 65535, response.kernel, mode="nearest"), atol=1e-12)
    assert np.abs(response.values).max() == pytest.approx(0.0384, abs=5e-5)
    numbers = "0 became 0 and 65535 became 1; they range from 100 to 3900"
    assert image.notes == (f"16-bit values: {numbers} (see --range)",)
    assert response.reading == image.notes


def test_an_image_of_16_bits_keeps_them():
    """The measured values are those of the file, in grey and in colour; the 8-bit pixels only show them."""
    colour = RNG.integers(0, 65536, (5, 4, 3), dtype=np.uint16)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in colour)
    grey_alpha = RNG.integers(0, 65536, (5, 4, 2), dtype=np.uint16)
    opaque = b"".join(
        b"\0" + row.astype(">u2").tobytes() for row in np.dstack([grey_alpha[..., 0], 0 * WIDE[:5, :4] - 1])
    )
    cases = [
        (read_image(encoded(WIDE)), WIDE[..., None]),
        (read_image(encoded(WIDE, "TIFF")), WIDE[..., None]),
        (read_image(png(4, 5, 16, 2, rows)), colour),
        (read_image(png(4, 5, 16, 4, opaque)), grey_alpha[..., :1]),
        (read_image(b"P6 4 5 65535\n" + colour.astype(">u2").tobytes()), colour),
        (read_image(WIDE), WIDE[..., None]),
        (read_image(Pillow.fromarray(WIDE)), WIDE[..., None]),
    ]
    for image, values in cases:
        assert np.array_equal(image.values, values)
        assert close(image, np.broadcast_to(values / 257, (*values.shape[:2], 3)))
        assert image.limits == (0, 65535)


def test_a_pgm_counts_to_the_number_in_its_header():
    """White is the largest number that the header of a PGM states."""
    image = read_image(b"P5\n# twelve bits\n17 13\n4095\n" + (WIDE >> 4).astype(">u2").tobytes())
    assert np.array_equal(image.values[..., 0], WIDE >> 4)
    assert image.limits == (0, 4095)
    assert close(image, grey3((WIDE >> 4) / 4095 * 255))


def test_16_bits_that_hold_8_are_8_bits():
    """An 8-bit image times 257 has the pixels of that image and no more; that it has 16 bits is noted."""
    image = read_image(encoded(RGB[..., 0].astype(np.uint16) * 257))
    assert image.values is None
    assert np.array_equal(image.pixels, grey3(RGB[..., 0]))
    assert "16-bit values: 0 became 0 and 65535 became 1" in image.notes[0]


@pytest.mark.parametrize("top", [1, 255])
def test_one_pixel_does_not_change_the_scale_of_floats(top):
    """Of floats in [0, 1] or [0, 255], one negative or larger value is clipped and counted; the others stay."""
    values = RNG.random((30, 40)).astype(np.float32) * top
    plain = read_image(encoded(values, "TIFF"))
    for odd in (-1.0, top * 1.3, -1000.0):
        values[3, 4] = odd
        image = read_image(encoded(values, "TIFF"))
        assert image.limits == plain.limits == (0, top)
        assert image.notes[-1] == "1 of 1,200 values is outside this range and was clipped"
        changed = (image.pixels != plain.pixels).any(axis=2)
        assert changed.sum() <= 1


@pytest.mark.parametrize("kind", ["int16", "int32", "uint32", "float32"])
def test_no_number_of_negative_values_switches_the_scale(kind):
    """One more value that is negative, or beyond the scale, changes what others become by less than a hundredth."""
    values = RNG.random((96, 128)) if kind == "float32" else RNG.integers(300, 4000, (96, 128))
    order, odd = RNG.permutation(values.size), 3.0 if kind == "float32" else 100 if kind == "uint32" else -5
    values.flat[order[0]] = odd
    before = None
    for number in [*range(118, 128), *range(240, 250), 2000]:
        values.flat[order[:number]] = odd
        image = read_image(npy(values.astype(kind)))
        after = (300 if values.max() > 3 else 0.5) - image.limits[0], image.limits[1] - image.limits[0]
        assert before is None or number in {240, 2000} or abs(after[0] / after[1] - before[0] / before[1]) < 0.01
        before = after
        if kind != "float32":
            assert image.limits == (values.min(), values.max())
            assert np.array_equal(image.shares(0) == 0, values == values.min())


def test_positive_signed_values_have_their_own_range():
    """What became 0 and 1 is stated; of a constant image that it is one, and of outliers where most values are."""
    values = RNG.integers(100, 4000, (50, 60)).astype(np.int16)
    image = read_image(npy(values))
    assert image.limits == (values.min(), values.max())
    assert image.notes == (f"16-bit signed values: {values.min()} became 0 and {values.max()} became 1",)
    values[:1, :12] = -20000
    assert "; 98 % of them are from 1" in read_image(npy(values)).notes[0]
    assert (
        read_image(npy(values), range=(4000, 0))
        .notes[0]
        .startswith("16-bit signed values: 4000 became 0 and 0 became 1, inverted")
    )
    flat = {"int16": "16-bit signed values: all are 7, drawn black (see --range)",
            "uint16": "16-bit values: 0 became 0 and 65535 became 1; all are 7"}  # fmt: skip
    for kind, note in flat.items():
        assert read_image(npy(np.full((9, 9), 7, kind))).notes == (note,)


@pytest.mark.parametrize("kind", ["int16", "int32", "int64", "float32", "float64"])
def test_padding_does_not_change_the_scale(kind):
    """The smallest and the largest number of a type do not count, however many there are, and are reported as clipped."""
    values = RNG.integers(-2900, 900, (96, 128)).astype(kind)
    plain = read_image(npy(values)).limits
    end = np.finfo(kind).min if kind[0] == "f" else np.iinfo(kind).min
    for number in (1, 2, 40, 4000):
        values.flat[:number] = end
        image = read_image(npy(values))
        assert np.allclose(image.limits, plain, rtol=0.01)
        verb = "is outside this range and was" if number == 1 else "are outside this range and were"
        assert image.notes[-1] == f"{number:,} of 12,288 values {verb} clipped"
    assert read_image(npy(np.full((20, 20), end, kind))).limits == (end, end)


@pytest.mark.parametrize("kind", ["int32", "uint32", "float32"])
def test_one_outlier_moves_the_scale_by_a_tenth_at_most(kind):
    """The further out one value is, the more it moves the range, without a jump, up to a tenth of its length."""
    values = RNG.integers(1000, 5000, (96, 128)).astype(kind)
    plain, before = read_image(npy(values)).limits, 0.0
    for top in (5000, 5100, 5300, 5390, 5410, 9000, 10**9):
        values[5, 5] = top
        low, high = read_image(npy(values)).limits
        assert low == plain[0]
        assert high == top if top < 5390 else high <= 5000 + 400
        assert before <= high
        before = high


@pytest.mark.parametrize(
    ("ends", "limits"),
    [
        ((0, 0.01), (0, 1)), ((0, 1), (0, 1)), ((-0.1, 1.1), (0, 1)), ((0, 1.11), (0, 1.11)), ((-0.11, 1), (-0.11, 1)),
        ((0, 20), (0, 20)), ((0, 127), (0, 127)), ((0, 128), (0, 255)), ((-25, 280), (0, 255)), ((0, 281), (0, 281)),
        ((-26, 250), (-26, 250)), ((270, 300), (270, 300)), ((-1000, 400), (-1000, 400)),
    ],
)  # fmt: skip
def test_the_scale_of_floats_is_decided_by_how_far_they_reach(ends, limits):
    """0 to 1 and 0 to 255 hold with a tenth at each end; 0 to 255 only above half of it; else the range is their own."""
    image = read_image(npy(np.linspace(*ends, 3000).reshape(50, 60)))
    assert image.limits == pytest.approx(limits)


def test_sparse_floats_keep_their_signal():
    """Measured values on a background of 0 are not clipped to 1, however few there are."""
    values = np.zeros((256, 256), np.float32)
    values[120:144, 120:144] = np.linspace(500, 4000, 576).reshape(24, 24)
    image = read_image(npy(values))
    assert image.limits == (0, 4000)
    assert image.notes == ("32-bit float values: 0 became 0 and 4000 became 1; 98 % of them are 0 (see --range)",)


def wide_bands(kind):
    """Bands of which the last is on another scale, and the range of the others."""
    scale = {"float32": 1.0, "int16": 1000.0, "uint8": 200.0}[kind]
    values = np.dstack([RNG.random((40, 50, 3)) * scale, RNG.random((40, 50)) * 30 * scale])
    return values.astype(kind) if kind != "uint8" else (values % 256).astype(kind)


@pytest.mark.parametrize("kind", ["float32", "int16", "uint8"])
@pytest.mark.parametrize("limits", [None, (0, 100)])
def test_bands_that_are_left_out_do_not_decide_the_scale(kind, limits):
    """Range, notes and counts are those of the bands that are read: the default equals the choice of the first three."""
    values = wide_bands(kind)
    default, chosen = (read_image(npy(values), range=limits, bands=bands) for bands in (None, (1, 2, 3)))
    assert default.limits == chosen.limits
    assert default.notes == chosen.notes[1:]
    assert np.array_equal(default.pixels, chosen.pixels)
    whole, one = default.read_by(4), default.read_by(1)
    assert whole.limits == read_image(npy(values), range=limits, bands=(1, 2, 3, 4)).limits
    assert whole.notes == read_image(npy(values), range=limits, bands=(1, 2, 3, 4)).notes[1:]
    assert one.limits == read_image(npy(values), range=limits, bands=(1,)).limits


def test_the_default_response_is_that_of_the_first_three_bands():
    """A thermal band near 280 beside three from 0.1 to 0.9 does not flatten their response."""
    columns = np.mgrid[0:96, 0:128][1]
    values = np.stack([0.5 + 0.4 * np.sin(columns / (3 + band)) for band in range(3)] + [280 + columns / 9], axis=-1)
    image = read_image(npy(values.astype(np.float32)))
    response = kernelviz.apply_filter(image, "sobel-x")
    assert image.limits == (0, 1)
    assert 0.7 < np.abs(response.values).max() < 0.9
    assert "bands 1, 2, 3 of 4 bands: 1 band is left out" in response.reading


def test_arrays_are_read_like_their_files():
    """An array has the bands, the values and the notes of the ``.npy`` file that holds it."""
    for kind in ("uint8", "uint16"):
        values = FIVE[..., :4].astype(kind)
        file, array = read_image(npy(values)), read_image(values)
        assert file.channels == array.channels == 4
        assert file.notes == array.notes
        assert np.array_equal(file.values, array.values)


@pytest.mark.parametrize("depth", [8, 16])
def test_opacity_is_a_band_for_a_network_of_as_many_inputs(depth):
    """A file with as many bands as a network has inputs is read as a whole; others get its colours over white."""
    values = RNG.integers(0, 2**depth, (5, 4, 4)).astype(np.uint16)
    rows = b"".join(b"\0" + row.astype(">u2" if depth == 16 else np.uint8).tobytes() for row in values)
    image = read_image(png(4, 5, depth, 6, rows))
    assert image.channels == 3
    assert image.read_by(3) is image
    whole = image.read_by(4)
    assert np.array_equal(whole.values, values)
    assert whole.bands == (1, 2, 3, 4)
    assert whole.notes[-1] == "opacity is read as band 4"
    if depth == 8:
        picture = Pillow.fromarray(values.astype(np.uint8))
        assert np.array_equal(read_image(picture).read_by(4).values, values)


def test_the_range_is_what_was_chosen():
    """``range`` is what becomes 0 and 1; the default of signed values is stated, and what is clipped counted."""
    default = read_image(npy(HOUNSFIELD))
    low, high = int(HOUNSFIELD.min()), int(HOUNSFIELD.max())
    assert default.notes == (f"16-bit signed values: {low} became 0 and {high} became 1",)
    image = read_image(npy(HOUNSFIELD), range=(-1000, 400))
    assert np.array_equal(image.values[..., 0], HOUNSFIELD)
    assert np.allclose(image.shares(0), np.clip((HOUNSFIELD + 1000.0) / 1400, 0, 1), atol=1e-6)
    assert close(image, grey3(np.clip((HOUNSFIELD + 1000.0) / 1400, 0, 1) * 255))
    assert "-1000 became 0 and 400 became 1" in image.notes[0]
    assert image.notes[1] == f"{(HOUNSFIELD > 400).sum()} of 4,200 values are outside this range and were clipped"
    assert np.allclose(read_image(npy(HOUNSFIELD), range=(400, -1000)).shares(0), 1 - image.shares(0), atol=1e-6)
    array = read_image(HOUNSFIELD, range=(-1000, 400))
    assert np.array_equal(array.pixels, image.pixels)
    eight = read_image(encoded(RGB), range=(50, 200))
    assert np.allclose(eight.shares(1), np.clip((RGB[..., 1] - 50.0) / 150, 0, 1), atol=1e-6)


@pytest.mark.parametrize("choice", [{"range": (1, 1)}, {"range": (0, np.nan)}, {"range": "ab"}, {"range": (1, 2, 3)}])
def test_a_wrong_range_is_rejected(choice):
    """A range must be two different finite numbers."""
    with pytest.raises(UsageError, match="range"):
        read_image(encoded(RGB), **choice)


@pytest.mark.parametrize("bands", [(), (0,), (1.5,), "ab", (1, 6)])
def test_wrong_bands_are_rejected(bands):
    """Bands are whole numbers from 1 to the number of bands."""
    with pytest.raises(UsageError, match=r"[bB]and"):
        read_image(npy(FIVE), bands=bands)


def test_bands_are_chosen_in_their_order():
    """``bands`` selects bands of any file, from 1; opacity is then one of them."""
    image = read_image(npy(FIVE), bands=(4, 3, 2))
    assert np.array_equal(image.values, FIVE[..., [3, 2, 1]])
    assert image.notes[0] == "bands 4, 3, 2 of 5 bands"
    assert np.array_equal(read_image(encoded(RGB), bands=(3, 2, 1)).pixels, RGB[..., ::-1])
    four = np.dstack([RGB, RGB[..., :1]])
    assert np.array_equal(read_image(encoded(four), bands=(4, 1, 2)).pixels, four[..., [3, 0, 1]])
    assert np.array_equal(read_image(encoded(four), bands=(4, 3, 2, 1)).values, four[..., ::-1])
    assert np.array_equal(read_image(encoded(RGB), bands=(2,)).pixels, grey3(RGB[..., 1]))


@pytest.mark.parametrize("mode", ["L", "1", "LA", "RGBA", "I;16"])
def test_bands_are_those_of_the_file(mode):
    """Grey has one band, whatever shows it, and opacity is one more: the others do not exist."""
    total = {"LA": 2, "RGBA": 4}.get(mode, 1)
    picture = Pillow.fromarray(WIDE) if mode == "I;16" else Pillow.fromarray(RGB).convert(mode)
    data = encoded(picture)
    for band in range(1, total + 1):
        image = read_image(data, bands=(band,))
        levels = np.asarray(picture).reshape(13, 17, -1)[..., band - 1]
        levels = levels // 257 if mode == "I;16" else levels * (255 if mode == "1" else 1)
        assert close(image, grey3(levels))
        assert image.channels == 1
        assert (f"band {band} of {total} bands" in image.notes) == (total > 1)
    with pytest.raises(UsageError, match=f"has {total} band"):
        read_image(data, bands=(total + 1,))


def test_more_chosen_bands_than_are_read_are_refused():
    """What was chosen is never left out: filters read one band or three, a network as many as it has inputs."""
    for bands, read in (((1, 2), "one band is"), ((5, 4, 3, 2), "3 bands are")):
        with pytest.raises(UsageError, match=f"Bands {', '.join(map(str, bands))} of image were .* only {read} read"):
            kernelviz.apply_filter(read_image(npy(FIVE), bands=bands), "sobel-x")
    assert read_image(npy(FIVE), bands=(4, 3, 2)).bands_for(1)[1] == ()
    with pytest.raises(UsageError, match="only 3 bands are read"):
        read_image(npy(FIVE), bands=(4, 3, 2, 1)).bands_for(3)


@pytest.mark.parametrize(
    "shape", [(40, 50), (40, 50, 1), (1, 40, 50), (40, 50, 3), (3, 40, 50), (32, 32, 3), (40, 50, 5), (13, 40, 50)]
)
@pytest.mark.parametrize("kind", ["uint8", "uint16", "float32", ">f8", "int16", "bool"])
def test_npy_files_are_images(shape, kind):
    """An array is an image, with its channels first or last, whatever numbers it holds."""
    values = (RNG.random(shape) * (1 if kind[-2] in "f3" or kind == ">f8" else 200)).astype(kind)
    for held in (values, np.asfortranarray(values)):
        image = read_image(npy(held))
        assert image.format == "NPY"
        last = values[..., None] if values.ndim == 2 else np.moveaxis(values, 0, -1) if shape[0] < 20 else values
        assert image.size == last.shape[:2]
        if image.values is None:
            assert kind in ("uint8", "bool")
            assert np.array_equal(image.pixels[..., : last.shape[2]], last * (255 if kind == "bool" else 1))
        else:
            assert np.array_equal(image.values, last)


@pytest.mark.parametrize("shape", [(3, 3, 3), (4, 50, 4), (64, 64, 64), (145, 145, 200), (3, 40, 3)])
def test_an_ambiguous_npy_is_refused_with_both_readings(shape):
    """Where the channels may be first or last, both readings are stated."""
    with pytest.raises(BadImageError, match="ambiguous") as caught:
        read_image(npy(np.zeros(shape, np.uint8)))
    assert f"{shape[1]} × {shape[0]} pixels and {shape[2]} bands" in caught.value.why
    assert f"{shape[2]} × {shape[1]} pixels and {shape[0]} bands" in caught.value.why


def test_other_npy_files_are_refused():
    """Objects are not unpickled; other shapes and types, truncated files and headers that claim much end in one error."""
    pickled = npy(np.array([[1, "a"]], object), allow_pickle=True)
    huge = bytearray(npy(np.zeros((10, 10))))
    at = huge.index(b"(10, 10)")
    huge[at : at + 8] = b"(9999999"[:8]
    for data, word in [
        (pickled, "Python objects"),
        (npy(np.zeros((4, 4), complex)), "complex128"),
        (npy(np.zeros(5)), r"\(5,\)"),
        (npy(np.zeros((2, 3, 4, 5))), r"\(2, 3, 4, 5\)"),
        (npy(np.zeros((0, 5))), r"\(0, 5\)"),
        (npy(np.zeros((9, 9)))[:-1], "truncated"),
        (npy(np.zeros((9, 9)))[:20], "truncated"),
        (bytes(huge), "truncated"),
    ]:
        with pytest.raises(BadImageError, match=word):
            read_image(data)


@pytest.mark.parametrize("shape", [(True, 5), (5, True)])
def test_truth_values_in_the_header_of_an_npy_are_numbers(shape):
    """A header that NumPy accepts never ends in an error of Python."""
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}}}".ljust(117) + "\n"
    data = b"\x93NUMPY\1\0" + len(header).to_bytes(2, "little") + header.encode() + bytes(800)
    assert read_image(data).size == tuple(map(int, shape))


def test_alpha_of_an_npy_is_a_band():
    """No tag of an ``.npy`` file states opacity, so a fourth band is none."""
    four = np.dstack([RGB, RGB[..., :1]])
    image = read_image(npy(four))
    assert np.array_equal(image.values, four)
    assert np.array_equal(image.pixels, RGB)
    assert image.chosen_bands(3)[1] == ("bands 1, 2, 3 of 4 bands: 1 band is left out",)
    assert kernelviz.apply_filter(image, "sobel-x").reading == image.chosen_bands(3)[1]


def test_arrays_without_a_range_are_refused():
    """Integers that are not unsigned, and floats beyond [0, 1], need a range in Python."""
    for values in (HOUNSFIELD, HOUNSFIELD.astype(float)):
        with pytest.raises(UsageError, match="uint8, uint16") as caught:
            read_image(values)
        assert "range=" in caught.value.hint


def test_16_bit_colours_with_a_profile_are_converted():
    """Colours of another space are converted to sRGB, which Pillow does with 8 bits; both are noted."""
    colour = np.repeat(WIDE[..., None], 3, axis=2) // [1, 2, 3]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in colour)
    profile = b"swapped\0\0" + zlib.compress(swapped_profile())
    image = read_image(png(17, 13, 16, 2, rows, (b"iCCP", profile)))
    assert image.values is None
    assert np.abs(image.pixels - colour[..., [1, 0, 2]] / 257).max() <= 3
    assert image.notes[0] == "16-bit channels were reduced to 8 bits, to convert their colour profile"
    grey = read_image(
        png(17, 13, 16, 0, b"".join(b"\0" + row.astype(">u2").tobytes() for row in WIDE), (b"iCCP", profile))
    )
    assert np.array_equal(grey.values[..., 0], WIDE)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
def test_measured_values_take_bounded_memory(run):
    """Large images of 16 bits, of many bands and of floating-point numbers are read within 300 MB above the baseline."""
    pytest.importorskip("tifffile")
    code = (
        PEAK
        + """
import numpy as np
import tifffile
from PIL import Image
from kernelviz.files.images import read_image

def read():
    before = peak()
    print(read_image("picture").values.shape, peak() - before < 300_000, flush=True)

def grey():
    Image.fromarray(np.arange(6000, dtype=np.uint16)[None].repeat(6000, 0)).save("picture", "PNG", compress_level=1)

def bands():
    values = np.arange(3800 * 2500 * 5, dtype=np.uint16).reshape(3800, 2500, 5)
    tifffile.imwrite("picture", values, photometric="minisblack", planarconfig="contig", compression="zlib")

def array():
    with open("picture", "wb") as file:
        np.save(file, np.arange(5000, dtype=np.float32)[None].repeat(4800, 0))

for write in (grey, bands, array):
    apart(write)
    apart(read)
"""
    )
    shapes = ["(6000, 6000, 1) True", "(3800, 2500, 5) True", "(4800, 5000, 1) True"]
    assert run(code).splitlines() == shapes

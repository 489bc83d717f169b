"""TIFF files of many bands and of numbers that Pillow does not hold, and what is reported where they cannot be read."""

from __future__ import annotations

import io
import logging
import struct
import subprocess
import sys
import tracemalloc
import zlib

import numpy as np
import pytest
from sample_images import close, encoded, over_white

from kernelviz.errors import BadImageError
from kernelviz.files.images import read_image

tifffile = pytest.importorskip("tifffile")

RNG = np.random.default_rng(19)
FIVE = RNG.integers(0, 65536, (40, 50, 5), dtype=np.uint16)
COLOUR = FIVE[..., :3]
FOUR = RNG.integers(0, 256, (40, 50, 4), dtype=np.uint8)


def tiff(values, **options):
    """The bytes of a TIFF that tifffile writes."""
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, values, **options)
    return buffer.getvalue()


def bands(values, **options):
    """A TIFF of grey bands, one pixel's bands after the other."""
    return tiff(values, **{"photometric": "minisblack", "planarconfig": "contig", **options})


def without_extra_samples(data):
    """A little-endian TIFF whose tag of extra samples is gone: a second tag of the sample format is in its place."""
    changed = bytearray(data)
    at = changed.index((338).to_bytes(2, "little") + (3).to_bytes(2, "little"))
    changed[at : at + 2] = (339).to_bytes(2, "little")
    changed[at + 8 : at + 10] = (1).to_bytes(2, "little")
    return bytes(changed)


WRITTEN = [
    {}, {"byteorder": ">"}, {"compression": "zlib"}, {"compression": "zlib", "predictor": True},
    {"compression": "zlib", "byteorder": ">"}, {"tile": (16, 16)}, {"tile": (16, 16), "compression": "zlib"},
    {"rowsperstrip": 7}, {"bigtiff": True},
]  # fmt: skip


@pytest.mark.parametrize("options", WRITTEN, ids=str)
def test_all_bits_of_all_bands_are_read(options):
    """However a TIFF is written, its bands and its 16-bit colours are read in full."""
    assert np.array_equal(read_image(bands(FIVE, **options)).values, FIVE)
    assert np.array_equal(read_image(tiff(COLOUR, photometric="rgb", **options)).values, COLOUR)
    if "rowsperstrip" not in options:
        apart = np.moveaxis(FIVE, -1, 0)
        data = tiff(apart, photometric="minisblack", planarconfig="separate", **options)
        assert np.array_equal(read_image(data).values, FIVE)
        data = tiff(apart[:3], photometric="rgb", planarconfig="separate", **options)
        assert np.array_equal(read_image(data).values, COLOUR)


@pytest.mark.parametrize("kind", ["int8", "uint32", "int32", "int16", "float16", "float64"])
def test_every_type_of_number_is_read(kind):
    """Numbers of any type keep their value and their type."""
    values = (RNG.random((40, 50)) * 100 - (0 if kind[0] == "u" else 50)).astype(kind)
    image = read_image(tiff(values))
    assert np.array_equal(image.values[..., 0], values)
    assert image.values.dtype == values.dtype
    if kind == "uint32":
        values[0, 0] = 2**32 - 5
        assert read_image(tiff(values)).values[0, 0, 0] == 2**32 - 5


def test_a_band_is_opacity_only_if_a_tag_states_it():
    """A fourth sample without a tag, or of unspecified meaning, is a band; with the tag of opacity it is blended."""
    plain = tiff(FOUR, photometric="rgb", extrasamples=["unspecified"])
    for data in (plain, without_extra_samples(plain)):
        image = read_image(data)
        assert np.array_equal(image.values, FOUR)
        assert np.array_equal(image.pixels, FOUR[..., :3])
    alpha = tiff(FOUR, photometric="rgb", extrasamples=["unassalpha"])
    assert close(read_image(alpha), over_white(FOUR[..., :3], FOUR[..., 3]))
    assert np.array_equal(read_image(alpha, bands=(4, 3, 2)).pixels, FOUR[..., [3, 2, 1]])
    wide = FOUR.astype(np.uint16) * 256 + 3
    share = wide[..., 3:] / 65535
    image = read_image(tiff(wide, photometric="rgb", extrasamples=["unassalpha"]))
    assert np.abs(image.values - (wide[..., :3] * share + 65535 * (1 - share))).max() <= 0.5


def test_white_may_be_zero():
    """Where a TIFF counts from white, as X-rays do, its largest number becomes 0."""
    image = read_image(tiff(FIVE[..., 0], photometric="miniswhite"))
    assert image.limits == (65535, 0)
    assert np.allclose(image.shares(0), 1 - FIVE[..., 0] / 65535, atol=1e-6)
    assert "65535 became 0 and 0 became 1" in image.notes[0]


def test_what_was_not_measured_is_left_out():
    """The number by which GDAL marks missing values does not stretch the scale."""
    values = (RNG.random((40, 50)) * 30 + 270).astype(np.float32)
    values[:5] = -9999
    image = read_image(tiff(values, extratags=[(42113, "s", 0, "-9999", True)]))
    assert np.isnan(image.values[:5]).all()
    assert image.limits == (values[5:].min(), values[5:].max())
    assert image.notes[0] == "250 values are marked as missing (-9999)"


@pytest.mark.parametrize(
    ("kind", "mark", "limits"),
    [
        ("int16", -9999, (100, 199)),
        ("uint16", 65535, (0, 65535)),
        ("uint16", 0, (0, 65535)),
        ("int32", -9999, (100, 199)),
    ],
)
def test_missing_integers_keep_the_scale_of_their_type(kind, mark, limits):
    """Missing numbers are reported, and drawn black; the others keep the range and the name of their type."""
    values = (np.arange(2000) % 100 + 100).reshape(40, 50).astype(kind)
    values[:5] = mark
    image = read_image(tiff(values, extratags=[(42113, "s", 0, str(mark), True)]))
    assert image.limits == limits
    assert image.notes[0] == f"250 values are marked as missing ({mark})"
    assert image.notes[-1].startswith(f"{8 * values.dtype.itemsize}-bit ")
    assert (image.shares(0)[:5] == 0).all()


def test_missing_values_are_counted_in_the_bands_that_are_read():
    """What is missing in a band that is left out is neither counted nor does it change the scale."""
    values = RNG.random((40, 50, 5)).astype(np.float32)
    values[:3, :, 0], values[:, :, 4] = -9999, -9999
    image = read_image(bands(values, extratags=[(42113, "s", 0, "-9999", True)]))
    assert image.limits == (0, 1)
    assert image.notes[0] == "150 values are marked as missing (-9999)"
    assert image.read_by(5).notes[0] == "2,150 values are marked as missing (-9999)"


def test_twelve_bits_count_to_4095():
    """White is the largest number that the bits of a sample can hold."""
    values = RNG.integers(0, 4096, (12, 16)).astype(np.uint32)
    pairs = values.reshape(-1, 2)
    packed = np.stack([pairs[:, 0] >> 4, (pairs[:, 0] & 15) << 4 | pairs[:, 1] >> 8, pairs[:, 1] & 255], -1)
    data = packed.astype(np.uint8).tobytes()
    tags = [
        (256, 16),
        (257, 12),
        (258, 12),
        (259, 1),
        (262, 1),
        (273, 134),
        (277, 1),
        (278, 12),
        (279, len(data)),
        (284, 1),
    ]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, number) for tag, number in tags)
    image = read_image(b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + entries + bytes(4) + data)
    assert np.array_equal(image.values[..., 0], values)
    assert image.limits == (0, 4095)
    assert image.notes[0].startswith("12-bit values: 0 became 0 and 4095 became 1")


def test_lzw_is_read():
    """Bands that are compressed by LZW are read with imagecodecs, which the extra installs."""
    pytest.importorskip("imagecodecs")
    data = bands(FIVE, compression="lzw", predictor=True)
    assert np.array_equal(read_image(data).values, FIVE)
    with pytest.raises(BadImageError, match="damaged or truncated"):
        read_image(data[:-3000])


def test_a_file_cut_short_is_refused():
    """A TIFF of many bands is rejected wherever it was cut, and never read in part."""
    for options in ({}, {"compression": "zlib", "rowsperstrip": 8}, {"tile": (16, 16), "compression": "zlib"}):
        data = bands(FIVE, **options)
        for size in range(300, len(data), len(data) // 23):
            with pytest.raises(BadImageError):
                read_image(data[:size])


def test_any_damage_ends_in_one_error_or_an_image():
    """Bytes changed at random raise nothing else, and print nothing."""
    for data in (bands(FIVE), bands(FIVE, compression="zlib", predictor=True), tiff(FIVE[..., 0].astype(np.float64))):
        for _ in range(60):
            damaged = bytearray(data)
            for at in RNG.integers(0, 400, 3):
                damaged[at] = RNG.integers(256)
            try:
                assert read_image(bytes(damaged)).pixels.dtype == np.uint8
            except BadImageError:
                continue


def test_a_bomb_is_refused():
    """A strip that inflates to much more than its rows is rejected before it is inflated."""
    data = bytearray(bands(np.zeros((40, 50, 5), np.uint16), compression="zlib"))
    page = tifffile.TiffFile(io.BytesIO(bytes(data))).pages[0]
    bomb = zlib.compress(bytes(300 << 20), 9)
    for code, value in ((273, len(data)), (279, len(bomb))):
        at = page.tags[code].valueoffset
        data[at : at + 4] = value.to_bytes(4, "little")
        entry = page.tags[code].offset
        data[entry + 2 : entry + 4] = (4).to_bytes(2, "little")
        data[entry + 8 : entry + 12] = value.to_bytes(4, "little")
    tracemalloc.start()
    with pytest.raises(BadImageError, match="damaged"):
        read_image(bytes(data) + bomb)
    assert tracemalloc.get_traced_memory()[1] < 20_000_000
    tracemalloc.stop()


def test_what_claims_to_be_huge_is_refused():
    """A TIFF of many bands that claims to be large is rejected by its header."""
    data = bytearray(bands(FIVE))
    tags = tifffile.TiffFile(io.BytesIO(bytes(data))).pages[0].tags
    for code in (256, 257):
        at = tags[code].offset
        data[at + 2 : at + 4] = (4).to_bytes(2, "little")
        data[at + 8 : at + 12] = (50000).to_bytes(4, "little")
    with pytest.raises(BadImageError, match="too large"):
        read_image(bytes(data))


def test_where_tifffile_is_missing_the_message_reports_it(monkeypatch):
    """Without tifffile, a TIFF that needs it is not called damaged; three colours of four 8-bit bands are still read."""
    monkeypatch.setitem(sys.modules, "tifffile", None)
    for data in (
        bands(FIVE),
        tiff(FIVE[..., 0].astype(np.float64)),
        tiff(np.moveaxis(COLOUR, -1, 0), photometric="rgb"),
    ):
        with pytest.raises(BadImageError) as caught:
            read_image(data)
        assert "tifffile" in str(caught.value)
        assert "kernelviz[tiff]" in caught.value.hint
        assert "damaged" not in str(caught.value)
    plain = tiff(FOUR, photometric="rgb", extrasamples=["unspecified"])
    image = read_image(plain)
    assert np.array_equal(image.pixels, FOUR[..., :3])
    assert "3 of 4 bands were read" in image.notes[0]
    assert np.array_equal(read_image(without_extra_samples(plain)).values, FOUR)
    with pytest.raises(BadImageError, match="Pillow does not decode"):
        read_image(plain, bands=(4, 3, 2))


def test_colours_that_nothing_decodes_are_named():
    """Inks in five samples, and compressions that neither decodes, are named."""
    with pytest.raises(BadImageError, match="does not decode") as caught:
        read_image(tiff(FIVE, photometric="separated", planarconfig="contig"))
    assert "SEPARATED" in caught.value.why
    for values, options in ((FIVE, {}), (FOUR[..., :3], {"photometric": "rgb"})):
        data = bytearray((bands if values is FIVE else tiff)(values, **options))
        tag = tifffile.TiffFile(io.BytesIO(bytes(data))).pages[0].tags[259]
        for number, kind in ((34712, "JPEG 2000"), (50001, "WebP"), (50123, "scheme 50123")):
            data[tag.valueoffset : tag.valueoffset + 2] = number.to_bytes(2, "little")
            with pytest.raises(BadImageError, match="Pillow does not decode") as caught:
                read_image(bytes(data))
            assert f"compressed by {kind}, which kernelviz[tiff] does not decode either" in caught.value.why


def test_no_library_prints(tmp_path):
    """Neither libtiff nor a logger of Pillow or tifffile writes to stderr what is wrong with a file."""
    data = bytearray(encoded(FOUR[..., 0], "TIFF", compression="tiff_lzw"))
    data[500], data[900] = data[500] ^ 77, data[900] ^ 3
    (tmp_path / "damaged.tif").write_bytes(data)
    odd = bytearray(bands(FIVE, description="x"))
    odd[odd.index((270).to_bytes(2, "little")) + 2] = 99
    (tmp_path / "odd.tif").write_bytes(odd)
    code = (
        "import logging\nfrom kernelviz.files.images import read_image\nfrom kernelviz.errors import BadImageError\n"
        "for name in ('damaged.tif', 'odd.tif'):\n"
        "    try:\n        read_image(name)\n"
        "    except BadImageError:\n        pass\n"
        "logging.getLogger('tifffile').warning('no')\nlogging.getLogger('PIL').error('no')\n"
    )
    process = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (process.returncode, process.stderr) == (0, "")
    assert logging.getLogger("PIL").handlers

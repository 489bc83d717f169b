"""TIFF files that Pillow does not decode, or not in full: many bands, and numbers other than its modes hold.

Which file is one of these is decided by its tags. tifffile then decodes it, after its segments were checked: each must be
within the file, and inflate to its size, so that neither a truncated file nor a bomb reaches the decoder.
"""

from __future__ import annotations

import io
import logging
import math
import zlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import TiffImagePlugin

from kernelviz.errors import BadImageError, KernelvizError
from kernelviz.files.measured import Numbers
from kernelviz.wording import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kernelviz.records import Array


_COLOURS = {2: 3, 6: 3, 8: 3, 5: 4}
"""The number of colours by photometric interpretation; one for others."""
_ALPHA = (1, 2, 999)  # of ExtraSamples: associated, unassociated, and what CorelDRAW 10 writes
_SINGLE = {(8, 1), (16, 1), (16, 2), (32, 1), (32, 2), (32, 3)}
"""Bits and sample formats of the grey images that Pillow reads in full."""
_NO_COMPRESSION, _DEFLATE = 1, (8, 32946)
_COMPRESSIONS = {5: "LZW", 32773: "PackBits", 34925: "LZMA", 50000: "Zstandard"}
"""Others that are decoded, all by imagecodecs, which stops at the size of the segment."""
_NOT_DECODED = {
    2: "CCITT", 3: "CCITT fax 3", 4: "CCITT fax 4", 6: "JPEG", 7: "JPEG", 22610: "JPEG XR", 33003: "JPEG 2000",
    33005: "JPEG 2000", 34712: "JPEG 2000", 34887: "LERC", 34892: "JPEG", 34933: "PNG", 34934: "JPEG XR", 50001: "WebP",
    50002: "JPEG XL", 52546: "JPEG XL",
}  # fmt: skip
"""Compressions that are decoded at most by Pillow, and only of pages that it reads in full."""
_BY_PILLOW = {_NO_COMPRESSION, *_DEFLATE, *_COMPRESSIONS, 2, 3, 4, 6, 7}

_INSTALL = "Install the extra: `pip install 'kernelviz[tiff]'`."


@dataclass(frozen=True)
class Tags:
    """The tags of the first page that determine how it is read."""

    size: tuple[int, int]
    samples: int
    bits: tuple[int, ...]
    sample_format: int
    photometric: int | None
    extra: tuple[int, ...]
    planar: int
    orientation: int
    compression: int
    segments: tuple[tuple[int, int], ...]
    missing: float | None

    @property
    def colours(self) -> int:
        """How many samples are colours, or grey."""
        return _COLOURS.get(self.photometric or 0, 1)

    @property
    def has_alpha(self) -> bool:
        """Whether the one sample beside the colours is opacity, as a tag states."""
        return self.samples == self.colours + 1 and self.extra[:1] in {(flag,) for flag in _ALPHA}

    @property
    def is_pillows(self) -> bool:
        """Whether Pillow reads the page in full, or up to the low bytes of 16-bit colours."""
        if self.samples != self.colours and not self.has_alpha:
            return False
        kind = (self.bits[0], self.sample_format)
        if self.samples == 1:
            return kind in _SINGLE or (self.bits[0] <= 12 and self.sample_format == 1)
        return self.sample_format == 1 and (self.bits[0] <= 8 or (self.bits[0] == 16 and self.planar == 1))

    @property
    def dtype(self) -> str:
        """The type of one sample, if it is an integer."""
        return f"{'int' if self.sample_format == 2 else 'uint'}{self.bits[0]}"

    def numbers(self, values: Array) -> Numbers:
        """The samples with what the tags state about them: their bits, which number is white, and what is missing."""
        read, bits = Numbers(values, inverted=self.photometric == 0), self.bits[0]
        if values.dtype.kind == "u" and 8 < bits < 8 * values.dtype.itemsize:
            read = replace(read, full=(0.0, 2.0**bits - 1), kind=f"{bits}-bit values")
        return without_missing(read, self)


def read_tags(data: bytes) -> Tags | None:
    """The tags of the first page; None if they cannot be read."""
    try:
        header = data[: 16 if 43 in (data[2], data[3]) else 8]
        directory: Any = TiffImagePlugin.ImageFileDirectory_v2(header)
        stream = io.BytesIO(data)
        stream.seek(directory.next)
        directory.load(stream)
        offsets, sizes = (_numbers(directory, *tags) for tags in ((273, 324), (279, 325)))
        samples = int(directory.get(277, 1))
        return Tags(
            size=(int(directory[257]), int(directory[256])),
            samples=samples,
            bits=_numbers(directory, 258) or (1,),
            sample_format=(_numbers(directory, 339) or (1,))[0],
            photometric=directory.get(262),
            extra=_numbers(directory, 338),
            planar=int(directory.get(284, 1)),
            orientation=int(directory.get(274, 1)),
            compression=int(directory.get(259, _NO_COMPRESSION)),
            segments=tuple(zip(offsets, sizes, strict=True)),
            missing=_missing(directory.get(42113)),
        )
    except Exception:  # noqa: BLE001 - damaged tags raise any exception, and Pillow reports them
        return None


def _numbers(directory: Any, *tags: int) -> tuple[int, ...]:
    value = next((directory[tag] for tag in tags if tag in directory), ())
    return tuple(map(int, value)) if isinstance(value, tuple) else (int(value),)


def _missing(text: object) -> float | None:
    """The number by which GDAL marks what was not measured."""
    try:
        return float(str(text).strip("\0 "))
    except ValueError:
        return None


def is_complete(tags: Tags, data: bytes) -> bool:
    """Whether all segments are in the file, so that a decoder that fails is not hindered by truncation."""
    return bool(tags.segments) and all(offset + size <= len(data) for offset, size in tags.segments)


class NotDecodedError(BadImageError):
    """A TIFF is in order as far as is known, but nothing that is installed decodes it."""


def not_decoded(name: str, why: str, hint: str = _INSTALL) -> NotDecodedError:
    """The error of such a file."""
    return NotDecodedError(f"{name} is a TIFF that Pillow does not decode.", why, hint)


def not_decompressed(name: str, tags: Tags) -> NotDecodedError:
    """The error of a file whose compression is not decoded."""
    kind = _NOT_DECODED.get(tags.compression, f"scheme {tags.compression}")
    why = f"It has {_bands_text(tags)}, compressed by {kind}, which kernelviz[tiff] does not decode either."
    return not_decoded(name, why, "Save it without compression, or with deflate or LZW.")


def why_undecoded(tags: Tags, name: str) -> NotDecodedError:
    """The error of a complete file that Pillow fails to decode."""
    if tags.compression not in _BY_PILLOW:
        return not_decompressed(name, tags)
    return not_decoded(name, f"It has {_bands_text(tags)}.", "Convert it to PNG, or to an uncompressed TIFF.")


def is_undecoded(tags: Tags | None, data: bytes, error: Exception) -> bool:
    """Whether Pillow failed because it does not decode such a file, and not because the file is damaged."""
    if tags is None or not is_complete(tags, data):
        return False
    return isinstance(error, SyntaxError | KeyError) or tags.compression not in _BY_PILLOW


def _bands_text(tags: Tags) -> str:
    """``5 bands of 16 bits``: what the samples of a page are."""
    kind = {2: " (signed)", 3: " (floating point)"}.get(tags.sample_format, "")
    return f"{counted(tags.samples, 'band')} of {tags.bits[0]} bits{kind}"


@dataclass(frozen=True)
class Page:
    """The decoded samples of a page: ``values`` (H, W, C) without opacity, ``alpha`` (H, W), and whether others follow."""

    values: Array
    alpha: Array | None
    several: bool


def read_page(
    data: bytes, tags: Tags, name: str, check_size: Callable[[tuple[int, int], int, int], None], *, keep_alpha: bool
) -> Page:
    """Decode the first page by tifffile.

    Args:
        data: the file.
        tags: its tags.
        name: of the image, for messages.
        check_size: is called with width and height, the bytes of a sample, and those of segments while they are decoded.
        keep_alpha: opacity is a band like others.

    Raises:
        NotDecodedError: tifffile, or what it needs, is not installed, or does not decode it.
        BadImageError: the page is damaged or too large.
    """
    if tags.compression not in {_NO_COMPRESSION, *_DEFLATE, *_COMPRESSIONS}:
        raise not_decompressed(name, tags)
    try:
        import tifffile
    except ImportError:
        raise not_decoded(name, f"It has {_bands_text(tags)}; tifffile, which reads them, is not installed.") from None
    logging.getLogger("tifffile").addHandler(logging.NullHandler())  # else its warnings would go to stderr
    try:
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            page: Any = file.pages[0]
            _check(page, name)
            size, sample = (int(page.imagewidth), int(page.imagelength)), np.dtype(page.dtype).itemsize
            check_size(size, sample, 0 if page.compression == _NO_COMPRESSION else 2 * _segment_size(page, 0))
            _check_segments(page, data, name)
            values = page.asarray(
                maxworkers=1, buffersize=1 << 20, squeeze=False
            )  # (separate samples, depth, H, W, samples)
            several = len(file.pages) > 1
    except (KernelvizError, MemoryError):
        raise
    except Exception as error:  # a decoder may raise any exception for a damaged file
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise _damaged(name, f"tifffile reports: {reason}.") from error
    values = values[:, 0]
    values = np.moveaxis(values[..., 0], 0, -1) if len(values) > 1 else values[0]
    alpha = None
    if tags.has_alpha and not keep_alpha:
        values, alpha = values[..., :-1], values[..., -1]
    return Page(values, alpha, several)


def without_missing(read: Numbers, tags: Tags) -> Numbers:
    """The numbers with NaN where a tag of GDAL states that nothing was measured.

    If that number is 0 in unsigned integers, it stays as it is, which is black too.
    """
    values = read.values
    if tags.missing is None:
        return read
    marked = values == tags.missing
    counts = tuple(int(number) for number in np.count_nonzero(marked, axis=(0, 1)))
    if not any(counts):
        return read
    stored = values.dtype
    if stored.kind != "u" or tags.missing:
        if stored.kind != "f":
            values = values.astype(np.float32 if stored.itemsize <= 2 else np.float64)
        values[marked] = np.nan
    return replace(read, values=values, stored=stored, missing=(tags.missing, counts))


def _check(page: Any, name: str) -> None:
    """Check that the samples of a page are such as are read.

    Raises:
        NotDecodedError: they are not.
    """
    if page.photometric not in (0, 1, 2):
        why = (
            f"Its colours are {getattr(page.photometric, 'name', page.photometric)} in {page.samplesperpixel} samples."
        )
        raise not_decoded(name, why, "Convert it to RGB.")
    if page.dtype is None or np.dtype(page.dtype).kind not in "biuf" or not isinstance(page.bitspersample, int):
        kind = f"samples of {page.bitspersample} bits in the format {page.sampleformat}"
        if page.dtype is not None and np.dtype(page.dtype).kind == "c":
            kind = "complex numbers"
        raise not_decoded(name, f"It contains {kind}.", "Convert it to integers or floating-point numbers.")
    if page.imagedepth != 1:
        raise not_decoded(name, f"It is a volume of {page.imagedepth} slices.", "Save one slice.")


def _check_segments(page: Any, data: bytes, name: str) -> None:
    """Check that each segment of a page is complete, and no bomb.

    Raises:
        NotDecodedError: nothing that is installed decodes them.
        BadImageError: one is damaged.
    """
    compression = int(page.compression)
    decoder = None if compression in (_NO_COMPRESSION, *_DEFLATE) else _decoder(compression, name)
    if not page.dataoffsets:
        raise _damaged(name, "It has no data.")
    for index, (offset, count) in enumerate(zip(page.dataoffsets, page.databytecounts, strict=True)):
        if not count and not offset:
            continue  # a sparse file leaves out what it has no data for
        if not count or offset + count > len(data):
            raise _damaged(name, f"Segment {index} is not in the file.")
        wanted, segment = _segment_size(page, index), memoryview(data)[offset : offset + count]
        if decoder is not None:
            size = len(decoder(segment, out=wanted))
        else:
            size = count if compression == _NO_COMPRESSION else _inflated_size(segment, wanted)
        if size < wanted or (size > wanted and compression in _DEFLATE):
            raise _damaged(name, f"Segment {index} holds {size:,} of {wanted:,} bytes.")


def _decoder(compression: int, name: str) -> Callable[..., Sequence[int]]:
    """The function of imagecodecs that decodes a compression."""
    try:
        import imagecodecs
    except ImportError:
        why = f"It is compressed by {_COMPRESSIONS[compression]}; imagecodecs, which decodes that, is not installed."
        raise not_decoded(name, why) from None
    decoders = {5: "lzw", 32773: "packbits", 34925: "lzma", 50000: "zstd"}
    found: Callable[..., Sequence[int]] = getattr(imagecodecs, f"{decoders[compression]}_decode")
    return found


def _segment_size(page: Any, index: int) -> int:
    """The bytes of a strip or tile; the last strip may be shorter."""
    samples = page.samplesperpixel if page.planarconfig == 1 else 1
    if page.is_tiled:
        rows, columns = page.tilelength, page.tilewidth
    else:
        strips = math.ceil(page.imagelength / page.rowsperstrip)
        rows = min(page.rowsperstrip, page.imagelength - index % strips * page.rowsperstrip)
        columns = page.imagewidth
    return int(rows) * math.ceil(int(columns) * samples * int(page.bitspersample) / 8)


def _inflated_size(segment: memoryview, most: int) -> int:
    """The size of deflated bytes; at most a little above ``most``."""
    stream, size = zlib.decompressobj(), 0
    rest: bytes | memoryview = segment
    while size <= most and not stream.eof:
        part = stream.decompress(rest, 1 << 20)
        rest, size = stream.unconsumed_tail, size + len(part)
        if not part and not rest:
            break
    return size


def _damaged(name: str, why: str) -> BadImageError:
    return BadImageError(f"{name} is damaged or truncated.", why, "Download or export it again.")

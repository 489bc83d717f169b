"""The pieces of an encoded image are counted before a decoder allocates something for each."""

from __future__ import annotations

import struct
import time
import zlib

import numpy as np
import pytest
from sample_images import RGB, encoded

from kernelviz.errors import BadImageError
from kernelviz.files.images import read_image


def with_empty_chunks(count):
    """A PNG with this many chunks without pixels before the real ones."""
    data, empty = encoded(RGB, "PNG"), struct.pack(">I4sI", 0, b"IDAT", zlib.crc32(b"IDAT"))
    return data[:33] + empty * count + data[33:]


def with_segments(count):
    """A JPEG with this many segments before its scan."""
    data = encoded(RGB, "JPEG")
    return data[:2] + b"\xff\xe1\0\4ab" * count + data[2:]


def with_comments(count):
    """A GIF with this many comments before its image."""
    data = encoded(RGB, "GIF")
    at = 13 + (3 << (data[10] & 7) + 1 if data[10] & 0x80 else 0)
    return data[:at] + b"\x21\xfe\1a\0" * count + data[at:]


def with_strips(count):
    """A TIFF whose tags list this many strips."""
    entries = [
        (256, 4, 1, 8), (257, 4, 1, 8), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (277, 3, 1, 1),
        (273, 4, count, 200), (279, 4, count, 200),
    ]  # fmt: skip
    table = b"".join(struct.pack("<HHII", *entry) for entry in sorted(entries))
    head = b"II*\0" + struct.pack("<IH", 8, len(entries)) + table + bytes(4)
    return head.ljust(200, b"\0") + bytes(8 * count)


@pytest.mark.parametrize("make", [with_empty_chunks, with_segments, with_comments, with_strips])
def test_endless_pieces_are_refused_at_once(make):
    """Millions of chunks, segments, comments or strips are one error, in a fraction of the time of reading them."""
    data = make(2_000_000)
    before = time.process_time()
    with pytest.raises(BadImageError, match="too many"):
        read_image(data)
    assert time.process_time() - before < 2


@pytest.mark.parametrize("make", [with_segments, with_comments])
def test_some_thousand_pieces_are_read(make):
    """What a camera or an editor may write is no reason to refuse a picture."""
    assert np.array_equal(read_image(make(5_000)).pixels, read_image(make(0)).pixels)

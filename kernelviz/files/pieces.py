"""Bound the number of pieces of an encoded image, for each of which a decoder takes memory and time.

Chunks of a PNG, segments of a JPEG, blocks of a GIF and strips of a TIFF: a small picture may have millions of them.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Literal

from kernelviz.errors import BadImageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


MOST_PIECES = 100_000
MOST_TAG_VALUES = 1 << 20


def check_pieces(data: bytes, kind: str, name: str) -> None:
    """Check that a decoder would not have to read endless pieces.

    Raises:
        BadImageError: there are too many.
    """
    walk = _WALKS.get(kind)
    if walk is not None and next(islice(walk(data), MOST_PIECES, None), None) is not None:
        raise BadImageError(
            f"{name} has too many parts.", f"A {kind} file may have {MOST_PIECES:,} of them.", "Export it again."
        )
    if kind == "TIFF" and max(_tag_counts(data), default=0) > MOST_TAG_VALUES:
        raise BadImageError(
            f"{name} has too many strips or tiles.", f"A tag may have {MOST_TAG_VALUES:,} values.", "Export it again."
        )


def png_chunks(data: bytes) -> Iterator[tuple[int, int]]:
    """Where each chunk begins and ends, checksum included (PNG specification, 5.3); the last may be truncated."""
    at = 8
    while at + 8 <= len(data):
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        yield at, end
        at = end


def _jpeg_segments(data: bytes) -> Iterator[int]:
    """The segments before the first scan (ITU T.81, B.1.1.4); fill bytes count as one each."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != 0xDA:
        yield at
        alone = data[at + 1] in (0x01, 0xFF) or 0xD0 <= data[at + 1] <= 0xD9
        at += (1 if data[at + 1] == 0xFF else 2) if alone else 2 + int.from_bytes(data[at + 2 : at + 4], "big")


def _gif_blocks(data: bytes) -> Iterator[int]:
    """The blocks before the first image, and the parts of each (GIF89a, section 15)."""
    if len(data) < 13:
        return
    at = 13 + (3 << (data[10] & 7) + 1 if data[10] & 0x80 else 0)
    while at + 2 < len(data) and data[at] == 0x21:
        at += 2
        yield at
        while at < len(data) and data[at]:
            yield at
            at += 1 + data[at]
        at += 1


_WALKS: dict[str, Callable[[bytes], Iterator[object]]] = {
    "PNG": png_chunks,
    "JPEG": _jpeg_segments,
    "GIF": _gif_blocks,
}


def _tag_counts(data: bytes) -> Iterator[int]:
    """The number of values of each tag of the first page (TIFF 6.0, section 2; BigTIFF has wider fields)."""
    order: Literal["little", "big"] = "little" if data[:1] == b"I" else "big"
    wide = 43 in data[2:4]

    def number(start: int, size: int) -> int:
        return int.from_bytes(data[start : start + size], order)

    start = number(8, 8) if wide else number(4, 4)
    count, first, step = (number(start, 8), start + 8, 20) if wide else (number(start, 2), start + 2, 12)
    for at in range(first, min(first + count * step, len(data)), step):
        yield number(at + 4, 8 if wide else 4)

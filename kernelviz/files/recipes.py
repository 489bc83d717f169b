"""Read and write the recipe inside a file: how the picture was made, as JSON.

It is in PNG as iTXt ``kernelviz``, in SVG as ``Description``, in PDF as ``Keywords``, in GIF as comment, in WebP as XMP,
in npz as key ``recipe``, in CSV as the last row, and in HTML in the index of a report. The headers of PNG, GIF, WebP and
npz are parsed here, because image libraries warn about large pictures, and NumPy's reader evaluates the header of an array.
"""

from __future__ import annotations

import json
import logging
import os
import re
import threading
import zipfile
import zlib
from typing import IO, TYPE_CHECKING, Any, NoReturn

from kernelviz.errors import KernelvizError, RecipeError
from kernelviz.reading import open_regular
from kernelviz.storage.uris import is_uri, resolved

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from kernelviz.records import Recipe


PNG_KEY = "kernelviz"
CSV_START = ("kernelviz", "explain")
CSV_HEAD = b'\xef\xbb\xbf"kernelviz","explain",'  # how a CSV file of ours starts
_CSV_RECIPE = b'"recipe","'
HTML_HEAD = b"<!doctype html>\n"  # how a report starts
_HTML_INDEX = b'<script type="application/json" id="kernelviz">'

_LONGEST = 1 << 22  # bytes of a recipe; a typical one has some hundreds
_LARGEST_PDF = 1 << 28  # bytes: its parser keeps much of the file in memory
LARGEST_INDEX = 1 << 26
_PNG_END = b"\0\0\0\0IEND\xaeB`\x82"
_TAIL = 1024  # bytes in which the end of a file is searched for
_XML_CHUNK = 1 << 16
_DESCRIPTION = "http://purl.org/dc/elements/1.1/ description"
_SVG = "http://www.w3.org/2000/svg svg"
_NPY = re.compile(
    rb"\x93NUMPY\x01\x00..\{'descr': '([<>])U\d+', 'fortran_order': False, 'shape': \(\), \} *\n", re.DOTALL
)
_HINT = "Only files written by kernelviz contain a recipe."
_pdf_lock = threading.Lock()


def recipe_text(recipe: Recipe) -> str:
    """Encode a recipe as compact ASCII JSON with sorted keys, so that equal recipes are equal texts.

    Raises:
        TypeError: a value is not representable in JSON.
        ValueError: a number is not finite.
    """
    return json.dumps(dict(recipe), sort_keys=True, separators=(",", ":"), allow_nan=False)


def read_recipe(path: Path | str) -> dict[str, Any]:
    """Read the recipe of a file written by kernelviz: PNG, SVG, PDF, GIF, WebP, npz, CSV, HTML or a JSON index.

    Raises:
        UsageError: the file system of a URI is unknown or not installed.
        RecipeError: the file does not exist, is not a regular file, is damaged, or contains no recipe.
    """
    path = resolved(path)
    try:
        text = _find_text(path)
        recipe = None if text is None else _parse(text)
    except KernelvizError:
        raise
    except OSError as error:
        raise RecipeError(f"{path} cannot be read.", f"{error.strerror or error}.") from error
    except Exception as error:  # a parser may raise any exception for a damaged file
        raise RecipeError(f"{path} contains no readable recipe.", "The file is damaged.", _HINT) from error
    if recipe is None:
        raise RecipeError(f"{path} contains no recipe.", "", _HINT)
    return recipe


def is_whole(path: Path | str) -> bool:
    """Whether a file that kernelviz writes is undamaged to its end.

    PNG and npz are checked by their checksums, GIF, WebP, SVG, PDF, CSV, HTML and JSON by how they end. So are all objects
    of other file systems, of which only both ends are read.
    """
    try:
        with open_regular(path) as file:
            head = file.read(12)
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _TAIL))
            tail = file.read().rstrip()
            file.seek(0)
            if head.startswith(b"\x89PNG"):
                return tail.endswith(_PNG_END) if is_uri(path) else _is_whole_png(file)
            if head.startswith(b"PK"):
                with zipfile.ZipFile(file) as archive:
                    return is_uri(path) or archive.testzip() is None
            if head.startswith(b"RIFF"):
                return int.from_bytes(head[4:8], "little") + 8 == size
            ends = {b"GIF8": b";", b"%PDF": b"%%EOF", b"{": b"}", CSV_HEAD[:12]: b'}"', HTML_HEAD[:12]: b"</html>"}
            return tail.endswith(next((end for start, end in ends.items() if head.startswith(start)), b"</svg>"))
    except Exception:  # noqa: BLE001  (a parser may raise any exception for a damaged file)
        return False


def _is_whole_png(file: IO[bytes]) -> bool:
    """Whether all checksums are right, and the last chunk is at the end of the file."""
    file.seek(8)
    while True:
        header = file.read(8)
        left, check = int.from_bytes(header[:4], "big"), zlib.crc32(header[4:])
        while left:
            data = file.read(min(left, _LONGEST))
            if not data:
                return False
            left, check = left - len(data), zlib.crc32(data, check)
        if len(header) < 8 or file.read(4) != check.to_bytes(4, "big"):
            return False
        if header[4:] == b"IEND":
            return not file.read(1)


def _find_text(path: Path | str) -> str | None:
    """The JSON of the recipe; None if the format has no field for it, or the field is empty."""
    with open_regular(path) as file:
        head = file.read(1024)
        file.seek(0)
        reader = _reader(head)
        return None if reader is None else reader(file)


def _reader(head: bytes) -> Callable[[IO[bytes]], str | None] | None:
    for magic, reader in _READERS.items():
        if head.startswith(magic):
            return reader
    return _from_svg if head.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"<") else None


def _parse(text: str) -> dict[str, Any] | None:
    recipe = json.loads(text, parse_constant=_refuse)
    return recipe if isinstance(recipe, dict) else None


def _refuse(*_: object) -> NoReturn:
    raise ValueError("kernelviz does not write this")


def _exactly(file: IO[bytes], size: int) -> bytes:
    """Read ``size`` bytes; a ValueError if the file ends before."""
    data = file.read(size) if size <= _LONGEST else b""
    if len(data) < size:
        raise ValueError("the file is truncated")
    return data


def _from_png(file: IO[bytes]) -> str | None:
    file.seek(8)
    while header := file.read(8):
        length, kind = int.from_bytes(header[:4], "big"), header[4:]
        if kind == b"iTXt":
            data, check = _exactly(file, length), _exactly(file, 4)
            if zlib.crc32(kind + data) != int.from_bytes(check, "big"):
                raise ValueError("the checksum of the text is wrong")
            keyword, _, rest = data.partition(b"\0")
            if keyword == PNG_KEY.encode("ascii"):
                return _international_text(rest)
        else:
            file.seek(length + 4, os.SEEK_CUR)
    return None


def _international_text(rest: bytes) -> str:
    """The text of an iTXt chunk: flag, method, language, translated keyword, text."""
    text = rest[2:].split(b"\0", 2)[2]
    if rest[0]:
        text = zlib.decompressobj().decompress(text, _LONGEST)
    return text.decode("utf-8")


def _from_gif(file: IO[bytes]) -> str | None:
    file.seek(10)
    file.seek(2 + _colour_table(_exactly(file, 1)[0]), os.SEEK_CUR)
    while (kind := file.read(1)) in {b"\x21", b"\x2c"}:
        if kind == b"\x21":
            label = _exactly(file, 1)
            blocks = b"".join(_sub_blocks(file))
            if label == b"\xfe":
                return blocks.decode("utf-8")
        else:
            file.seek(_colour_table(_exactly(file, 9)[8]) + 1, os.SEEK_CUR)
            for _ in _sub_blocks(file):
                pass
    return None


def _colour_table(flags: int) -> int:
    """The size in bytes of the colour table, by its flags."""
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _sub_blocks(file: IO[bytes]) -> Iterator[bytes]:
    while size := _exactly(file, 1)[0]:
        yield _exactly(file, size)


def _from_npz(file: IO[bytes]) -> str | None:
    with zipfile.ZipFile(file) as archive:
        if "recipe.npy" not in archive.namelist():
            return None
        info = archive.getinfo("recipe.npy")
        if info.file_size > _LONGEST or info.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
            _refuse()
        with archive.open(info) as entry:
            data = _exactly(entry, info.file_size)
    header = _NPY.match(data)
    if header is None:
        return None
    encoding = "utf-32-le" if header[1] == b"<" else "utf-32-be"
    return data[header.end() :].decode(encoding).rstrip("\0")


def _from_pdf(file: IO[bytes]) -> str | None:
    if file.seek(0, os.SEEK_END) > _LARGEST_PDF:
        _refuse()
    file.seek(0)
    from pypdf import PdfReader

    log = logging.getLogger("pypdf")
    with _pdf_lock:
        level = log.level
        log.setLevel(logging.CRITICAL + 1)  # it logs irregularities of a file, which our error reports
        try:
            metadata = PdfReader(file, strict=True).metadata
            keywords = metadata.get("/Keywords") if metadata is not None else None
        finally:
            log.setLevel(level)
    return keywords if isinstance(keywords, str) else None


def _from_svg(file: IO[bytes]) -> str | None:
    """The first description; reading ends there, and documents that declare entities are rejected."""
    from xml.parsers import expat

    parser = expat.ParserCreate(namespace_separator=" ")
    open_elements: list[str] = []
    parts: list[str] = []
    done = False

    def start(name: str, _: object) -> None:
        if not open_elements and name != _SVG:
            _refuse()
        open_elements.append(name)

    def end(name: str) -> None:
        nonlocal done
        open_elements.pop()
        done = done or name == _DESCRIPTION

    def characters(text: str) -> None:
        if not done and open_elements[-1] == _DESCRIPTION:
            parts.append(text)

    def doctype(_name: str, _system: str | None, _public: str | None, has_internal_subset: bool) -> None:  # noqa: FBT001
        if has_internal_subset:
            _refuse()

    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler = characters
    parser.StartDoctypeDeclHandler, parser.EntityDeclHandler = doctype, _refuse
    while not done and file.tell() < _LONGEST:
        chunk = file.read(_XML_CHUNK)
        parser.Parse(chunk, not chunk)
        if not chunk:
            break
    return "".join(parts) or None


def _from_json(file: IO[bytes]) -> str | None:
    """The recipe in the index of a folder of single maps."""
    content = json.loads(file.read(LARGEST_INDEX), parse_constant=_refuse)
    recipe = content.get("recipe") if isinstance(content, dict) else None
    return recipe_text(recipe) if isinstance(recipe, dict) else None


def _from_csv(file: IO[bytes]) -> str | None:
    """The last row of a CSV file."""
    import csv

    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _LONGEST))
    tail = file.read().rpartition(_CSV_RECIPE)
    rows = list(csv.reader([(tail[1] + tail[2]).decode("utf-8").rstrip()])) if tail[1] else []
    return rows[0][1] if rows and len(rows[0]) == 2 else None


def _from_html(file: IO[bytes]) -> str | None:
    """The recipe in the index of a report."""
    found = b""
    while _HTML_INDEX not in found:
        chunk = file.read(_XML_CHUNK)
        if not chunk:
            return None
        found = found[-len(_HTML_INDEX) :] + chunk
    text = found.partition(_HTML_INDEX)[2]
    while b"<" not in text and len(text) < LARGEST_INDEX:  # the index has none
        chunk = file.read(_LONGEST)
        if not chunk:
            _refuse()
        text += chunk
    content = json.loads(text.partition(b"<")[0], parse_constant=_refuse)
    recipe = content.get("recipe") if isinstance(content, dict) else None
    return recipe_text(recipe) if isinstance(recipe, dict) else None


def _from_webp(file: IO[bytes]) -> str | None:
    """The XMP chunk of a RIFF file: each chunk is a name, a size, and that many bytes, padded to an even number."""
    if _exactly(file, 12)[8:] != b"WEBP":
        return None
    while header := file.read(8):
        length = int.from_bytes(header[4:], "little")
        if header[:4] == b"XMP ":
            return _exactly(file, length).decode("utf-8")
        file.seek(length + length % 2, os.SEEK_CUR)
    return None


_READERS: dict[bytes, Callable[[IO[bytes]], str | None]] = {
    b"\x89PNG\r\n\x1a\n": _from_png,
    b"GIF87a": _from_gif,
    b"GIF89a": _from_gif,
    b"RIFF": _from_webp,
    b"%PDF-": _from_pdf,
    b"PK\x03\x04": _from_npz,
    b"{": _from_json,
    CSV_HEAD: _from_csv,
    HTML_HEAD: _from_html,
}

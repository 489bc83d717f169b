"""Which font draws which letters, and how wide a line is.

DejaVu Sans of matplotlib draws all that it has. For other letters the fonts of the system are searched, only when such a
letter is met. Scripts that are written from right to left, or whose letters depend on their neighbours, are drawn if
matplotlib shapes text (from 3.11 on); each run of them is laid out alone, between what is before and after it.
"""

from __future__ import annotations

import re
import threading
import unicodedata
from functools import lru_cache, partial
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from kernelviz.wording import visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from matplotlib.ft2font import FT2Font


FAMILY = "DejaVu Sans"
_UNIT = 100  # pixels per em, at which widths are measured
# Hebrew to Arabic, Indic and neighbours, Jamo, Khmer and Mongolian, Limbu to Vedic, Syloti to Meetei, presentation forms,
# historic scripts from right to left and Brahmic ones.
_SHAPED = re.compile(
    "[\u0590-\u109f\u1100-\u11ff\u1780-\u18af\u1900-\u1cff\ua800-\uabff\ufb1d-\ufdff\ufe70-\ufefe"
    "\U00010800-\U00011fff\U0001e800-\U0001efff]+"
)
_measuring = threading.Lock()  # between the calls that set and measure a text


@lru_cache(maxsize=2)
def font_file(*, bold: bool) -> str:
    """The file of DejaVu Sans in matplotlib."""
    import matplotlib as mpl

    return str(Path(mpl.get_data_path(), "fonts", "ttf", "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"))


@lru_cache(maxsize=32)
def _font(file: str, size: float = _UNIT) -> FT2Font:
    from matplotlib.ft2font import FT2Font

    font = FT2Font(file)
    font.set_size(size, 72)
    return font


@lru_cache(maxsize=4096)
def _advance(font: FT2Font, char: str) -> float:
    return float(font.load_char(ord(char)).linearHoriAdvance) / 65536 / _UNIT


@lru_cache(maxsize=2)
def _known(*, bold: bool) -> frozenset[int]:
    return frozenset(_font(font_file(bold=bold)).get_charmap())


@lru_cache(maxsize=2)
def _plain(*, bold: bool) -> frozenset[int]:
    """What DejaVu Sans draws one after the other."""
    return frozenset(code for code in _known(bold=bold) if not _SHAPED.match(chr(code)))


def family_of(file: str) -> str:
    """The name of a font's family, by which a browser finds it."""
    return FAMILY if file in (font_file(bold=False), font_file(bold=True)) else str(_font(file).family_name)


def shapes_text() -> bool:
    """Whether matplotlib orders and joins the letters of scripts such as Arabic and Devanagari."""
    from matplotlib import ft2font

    return hasattr(ft2font, "__libraqm_version__")


def drawable(text: str, *, bold: bool = False) -> str:
    """Text that can be drawn in one line; characters that no font has, or that would be drawn wrong, become escapes."""
    text = visible(text)
    if _plain(bold=bold).issuperset(map(ord, text)):
        return text
    text = unicodedata.normalize("NFC", text)
    shapes = shapes_text()
    files = _files(text, bold=bold)
    return "".join(
        char if file and (shapes or not _SHAPED.match(char)) else char.encode("unicode_escape").decode()
        for char, file in zip(text, files, strict=True)
    )


class Run(NamedTuple):
    """Consecutive letters of a line that one font draws; ``shaped`` if their order and forms depend on each other."""

    text: str
    file: str
    shaped: bool = False


@lru_cache(maxsize=1024)
def runs(text: str, *, bold: bool = False) -> tuple[Run, ...]:
    """The runs of a line, from left to right.

    A character that no font has is left to DejaVu Sans, which draws a box.
    """
    plain = font_file(bold=bold)
    if _plain(bold=bold).issuperset(map(ord, text)):
        return (Run(text, plain),)
    result: list[Run] = []
    for part, shaped in _parts(text):
        files = [file or plain for file in _files(part, bold=bold)]
        if shaped and (whole := next((file for file in dict.fromkeys(files) if _has(file, part)), None)):
            result.append(Run(part, whole, shaped=True))
            continue
        for file, letters in groupby(zip(part, files, strict=True), key=lambda each: each[1]):
            result.append(Run("".join(letter for letter, _ in letters), file, shaped))
    return tuple(result)


def _parts(text: str) -> Iterator[tuple[str, bool]]:
    """The parts of a text, each with whether it is shaped.

    A part from right to left ends with its last letter, or with the digits that touch it.
    """
    directions = [unicodedata.bidirectional(char) for char in text]
    at = start = 0
    while at < len(text):
        if directions[at] not in ("R", "AL"):
            at += 1
            continue
        yield from _upright_parts(text[start:at])
        end, ahead = at + 1, at + 1
        while ahead < len(text) and directions[ahead] != "L":
            touching = ahead == end and directions[ahead] in ("EN", "AN", "NSM")
            ahead += 1
            if directions[ahead - 1] in ("R", "AL") or touching:
                end = ahead
        yield text[at:end], True
        start = at = end
    yield from _upright_parts(text[start:])


def _upright_parts(text: str) -> Iterator[tuple[str, bool]]:
    """The parts of a text from left to right: those of shaped scripts, and what is between them."""
    start = 0
    for found in _SHAPED.finditer(text):
        if found.start() > start:
            yield text[start : found.start()], False
        yield found[0], True
        start = found.end()
    if start < len(text):
        yield text[start:], False


# The fonts of the system.


def _files(text: str, *, bold: bool) -> list[str | None]:
    """The file that draws each character: DejaVu Sans if it has it, else the best font that has; None if there is none."""
    known, plain = _known(bold=bold), font_file(bold=bold)
    missing = frozenset(char for char in text if ord(char) not in known)
    found = _search(missing, bold=bold) if missing else {}
    return [found.get(char) if char in missing else plain for char in text]


_searched: dict[tuple[str, bool], str | None] = {}


def _search(chars: Iterable[str], *, bold: bool) -> dict[str, str | None]:
    """The best font that has each character; all fonts are opened once for those that were not searched before."""
    new = {char for char in chars if (char, bold) not in _searched}
    if new:
        left = set(new)
        for file in _candidates(bold=bold):
            there = {char for char in left if _has(file, char)}
            _searched.update(((char, bold), file) for char in there)
            left -= there
            if not left:
                break
        _searched.update(((char, bold), None) for char in left)
    return {char: _searched[char, bold] for char in chars}


def _has(file: str, text: str) -> bool:
    """Whether a font has an outline for every character; some fonts have coloured pictures instead."""
    from matplotlib.ft2font import FT2Font, LoadFlags

    try:
        font = FT2Font(file)
        if not font.scalable:
            return False
        font.set_size(_UNIT, 72)
        for char in text:
            if not font.get_char_index(ord(char)):
                return False
            if not char.isspace() and not unicodedata.category(char).startswith("M"):
                font.load_char(ord(char), flags=LoadFlags.NO_HINTING)
                if not len(font.get_path()[0]):
                    return False
    except (OSError, RuntimeError, ValueError):  # a font may be damaged
        return False
    return True


@lru_cache(maxsize=2)
def _candidates(*, bold: bool) -> tuple[str, ...]:
    """The files of fonts, the best first: DejaVu Sans, the system's, upright ones without serifs first, then STIX.

    STIX, which matplotlib has for mathematics, contains single letters of some scripts, such as one of the kana.
    """
    from matplotlib.font_manager import findSystemFonts

    shipped = Path(font_file(bold=False))
    found = {str(path) for path in findSystemFonts()}
    system = sorted(found, key=lambda path: (_rank(Path(path).stem.lower(), bold=bold), path))
    return (str(shipped), *system, str(shipped.with_name("STIXGeneral.ttf")))


_OTHER_WEIGHT = re.compile("black|demi|extra|heavy|light|medium|semi|thin")
_OTHER_FACE = re.compile("cond|display|kufi|loop|mono|nastaliq|(?<!san)serif|mincho|ming|song|type")
_NO_TEXT = re.compile("emoji|fallback|lastresort|last_resort|symbol|unifont")


def _rank(name: str, *, bold: bool) -> int:
    """How far a font is from an upright sans-serif font of this weight, by the name of its file."""
    rank = 16 * bool(_NO_TEXT.search(name)) + 8 * ("italic" in name or "oblique" in name)
    rank += 4 * bool(_OTHER_WEIGHT.search(name)) + 2 * bool(_OTHER_FACE.search(name))
    return rank + (0 if "bold" in name else 1) if bold else rank + (4 if "bold" in name else 0)


# Widths.


def text_width(text: str, size: float, *, bold: bool = False) -> float:
    """The width of a text at a size in pixels, from the advances of its fonts."""
    if _plain(bold=bold).issuperset(map(ord, text)):
        return size * sum(map(partial(_advance, _font(font_file(bold=bold))), text))
    return sum(
        set_width(run.text, size, run.file)
        if run.shaped
        else size * sum(map(partial(_advance, _font(run.file)), run.text))
        for run in runs(text, bold=bold)
    )


def set_width(text: str, size: float, file: str) -> float:
    """The width of a text as it is set in a vector file, with kerning, by one font."""
    from matplotlib.ft2font import LoadFlags

    font = _font(file)
    with _measuring:
        font.set_text(text, 0.0, flags=LoadFlags.NO_HINTING)
        return float(font.get_width_height()[0]) / 64 / _UNIT * size


def drawn_width(text: str, size: float, *, bold: bool = False) -> float:
    """The width of a text as it is drawn on a raster, where hinting moves every letter to whole pixels.

    Only what continues a line of text behind another one needs it; at most sizes it differs by some pixels in a line.
    """
    return sum(run_width(run, size) for run in runs(text, bold=bold))


def run_width(run: Run, size: float) -> float:
    """``drawn_width`` of one run."""
    from matplotlib.ft2font import LoadFlags

    font = _font(run.file, size)
    with _measuring:
        font.set_text(run.text, 0.0, flags=LoadFlags.DEFAULT)
        width = float(font.get_width_height()[0])
    if not run.shaped:
        width = max(width, sum(font.load_char(ord(char), flags=LoadFlags.DEFAULT).horiAdvance for char in run.text))
    return width / 64

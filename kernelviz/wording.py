"""How numbers, names and columns are written, in pictures, on the terminal and in error messages."""

from __future__ import annotations

import math
import re
import unicodedata
from decimal import Decimal
from difflib import SequenceMatcher
from textwrap import wrap
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence


_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
MOST_NUMBERS = 12
PART = "  ·  "  # separates the parts of a line


def number_text(value: float, *, plus: bool = False) -> str:
    """Three significant digits, a true minus, ×10ⁿ outside 10⁻³ … 10⁵; ``plus`` adds a sign to positive numbers."""
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else str(value).replace("-", "−")
    sign = "−" if value < 0 else "+" if plus else ""
    mantissa, exponent = f"{abs(value):.2e}".split("e")
    power = int(exponent)
    if -3 <= power < 5:
        digits = f"{float(f'{mantissa}e{power}'):,.{max(0, 2 - power)}f}"
        return sign + digits
    return f"{sign}{mantissa}×10{str(power).translate(_SUPERSCRIPT)}"


def with_arguments(name: str, arguments: Mapping[str, object]) -> str:
    """``my_net.py:Net(width=8)``: a name with arguments; without any the name alone."""
    typed = ", ".join(f"{key}={value!r}" for key, value in arguments.items())
    return name + shown(f"({typed})") if typed else name


_FRACTION = re.compile(r"(?<![A-Za-z\d.])\d+\.\d+(?![\d.])|(?<![\d.])0\.\d+(?![\d.])")
_VERSION = re.compile(r"(?:(?<=\d)|(?<=^last))-v\d+$")  # which PyTorch Lightning appends to names that exist


def last_number(name: str) -> tuple[float | None, str]:
    """The last whole number in a name, as of a step, and the rest of the name; None if there is no number.

    Fractions, as of a loss, are not in the rest; the last of them is the number if there is no other, as a float.
    """
    plain = _VERSION.sub("", name)
    for text, pattern, kind in ((_FRACTION.sub("", plain), r"\d+", int), (plain, _FRACTION, float)):
        if matches := list(re.finditer(pattern, text)):
            start, end = matches[-1].span()
            return kind(text[start:end]), f"{text[:start]}#{text[end:]}"
    return None, plain


def numbers_text(numbers: Sequence[int]) -> str:
    """``11, 16, 28, 31``: at most twelve of them, then ``and k more``."""
    shown = ", ".join(map(str, numbers[:MOST_NUMBERS]))
    return shown if len(numbers) <= MOST_NUMBERS else f"{shown} and {len(numbers) - MOST_NUMBERS} more"


def runs_text(numbers: Sequence[int]) -> str:
    """``0-15,40``: numbers in their order, with ascending runs joined; ``parse_channels`` parses it."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)


AXES = {1: "C, L", 2: "C, H, W", 3: "C, D, H, W"}
"""The axes of an input of a network, by the number of those that its convolutions move along."""
READS = {1: "signals", 2: "images", 3: "volumes"}
"""What such a network reads."""


def form_of(axes: int) -> str:
    """``(C, H, W) or (1, C, H, W)``: how an input must look for so many axes."""
    return f"({AXES[axes]}) or (1, {AXES[axes]})"


def sentence(text: str) -> str:
    """The text with a capital letter in front."""
    return text[:1].upper() + text[1:]


def visible(text: str) -> str:
    """The text on one line: control and format characters are written as escapes."""
    if text.isprintable():
        return text
    return "".join(_escape(char) if unicodedata.category(char) in _UNSEEN else char for char in text)


_UNSEEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def _escape(char: str) -> str:
    return char.encode("unicode_escape").decode() if ord(char) < 0xD800 or ord(char) > 0xDFFF else f"\\u{ord(char):04x}"


_BEGUN = 0.95  # as much as one different letter of ten costs
NEAR = 0.65  # separates mistyped names of models from invented ones
_LONGEST = 100  # characters: the comparison takes quadratic time, and no name is longer


def nearest_names(names: Iterable[str], *spellings: str, count: int = 3, least: float = 0.0) -> list[str]:
    """The ``count`` names most similar to one of the ``spellings``, best first, with a similarity of at least ``least``.

    Similarity, from 0 to 1, is twice the number of common letters divided by the number of all letters. Letter case is
    ignored, and so is whether parts are joined by ``-``, ``.`` or ``_``. A name that starts with a spelling is more
    similar than one that differs in a letter.
    """
    wanted = [_normalised(spelling)[:_LONGEST] for spelling in spellings if spelling]
    matchers = [SequenceMatcher(None, "", spelling, autojunk=False) for spelling in wanted]

    def likeness(name: str) -> float:
        normal = _normalised(name)
        for matcher in matchers:
            matcher.set_seq1(normal)
        ratio = max(matcher.ratio() for matcher in matchers)
        return max(ratio, _BEGUN + ratio / 100) if normal.startswith(tuple(wanted)) else ratio

    rated = [(likeness(name), name) for name in names] if matchers else []
    near = [(rating, name) for rating, name in rated if rating >= least]
    return [name for _, name in sorted(near, key=lambda each: each[0], reverse=True)[:count]]


def nearest_text(names: Iterable[str], *spellings: str, least: float = 0.0) -> str:
    """``Nearest: a, b, c.`` for an error message; empty if no name is near."""
    nearest = nearest_names(names, *spellings, least=least)
    return f"Nearest: {', '.join(map(shown, nearest))}." if nearest else ""


def _normalised(name: str) -> str:
    return name.lower().replace("-", "_").replace(".", "_")


def shown(name: object) -> str:
    """An external name on one line of at most 200 characters."""
    text = str(name)
    return (text if text.isprintable() else ascii(text)[1:-1])[:200]


def naming(name: str, text: str) -> str:
    """A message about a file, a folder or a layer, behind its name unless the message contains that, or it is empty."""
    names = "|".join(re.escape(each) for each in {name, shown(name)})
    named = re.search(rf"(?:^|[/:] ?|\b(?:file|folder|image|layer) )(?:{names})(?=[\s.,:]|$)", text)
    return text if named or not name else f"{name}: {text}"


_RUN_AND_PART = re.compile(r"(?P<module>.*?)(?:#(?P<run>\d{1,6}))?(?::(?P<part>\d{1,6}))?", re.DOTALL)


def split_name(name: str) -> tuple[str, int | None, int | None]:
    """A layer's name without its run and its part, and these: ``name#2:0`` is the second run (1), part 0.

    Both count from 0, and are None unless the name contains them; the run is -1 in ``name#0``.
    """
    found = _RUN_AND_PART.fullmatch(name)
    if found is None:
        return name, None, None
    run, part = (None if number is None else int(number) for number in found.group("run", "part"))
    return found["module"], None if run is None else run - 1, part


def stage_index(name: str, stages: int) -> int | None:
    """The index of the stage that ``stage:0`` or ``stage:-1`` means among so many; None if it means none."""
    found = re.fullmatch(r"stage:(-?\d{1,4})", name)
    number = int(found[1]) if found else stages
    return number % stages if -stages <= number < stages else None


def reason_text(error: BaseException, *, with_type: bool = False) -> str:
    """The message of an error of foreign code, on one line with a capital letter in front; its class without a message.

    ``with_type`` puts the class before the message, as it is: ``KeyError: 'mask'``.
    """
    try:
        text = visible(" ".join(str(error).split())[:300])
    except Exception:  # noqa: BLE001 - the class may be anyone's
        text = ""
    name = type(error).__name__
    if with_type:
        return f"{name}: {text}" if text else name
    return sentence(text) or name


MOST_DIGITS = 6  # significant digits up to which numbers are written exactly
_WRITTEN = re.compile(r"(?P<whole>\d*)(?P<point>\.?)(?P<part>\d*)", re.ASCII)
_LONGEST_NUMBER = 12  # characters
_LONGEST_ZEROS = 8  # characters of a number whose trailing zeros are more digits than MOST_DIGITS; cells hold so many


def decimal_of(value: float | Decimal) -> Decimal:
    """The shortest decimal number that stands for this float, exactly: 0.1 for 0.1."""
    return value if isinstance(value, Decimal) else Decimal(repr(float(value)))


def is_written_exactly(value: float | Decimal) -> bool:
    """Whether ``value_text`` writes all digits of a number. What is not finite has none."""
    number = decimal_of(value)
    return not number.is_finite() or len(_digits(number)) <= MOST_DIGITS


def _digits(number: Decimal) -> str:
    """The significant digits of a finite number, without zeros at its ends."""
    return "".join(map(str, number.as_tuple().digits)).strip("0")


def value_text(value: float | Decimal) -> str:
    """A number exactly if six significant digits are enough, else in three; a true minus, ∞ and NaN.

    Numbers from 10⁻⁴ to 10⁷ are written without a power of ten, rounded ones from 10⁻³ to 10⁵. Thousands are not separated.
    """
    number = decimal_of(value)
    if not number.is_finite():
        return str(number).replace("Infinity", "∞").replace("-", "−")
    if not number:
        return "0"
    sign, digits, power = "−" if number < 0 else "", _digits(number), number.adjusted()
    if len(digits) <= MOST_DIGITS:
        low, high = -4, 7
    else:
        digits, _, exponent = f"{abs(number):.2e}".partition("e")
        digits, power, low, high = digits.replace(".", ""), int(exponent), -3, 5
    if not low <= power < high:
        digits = digits.rstrip("0")
        return f"{sign}{digits[0]}{'.' if digits[1:] else ''}{digits[1:]}×10{str(power).translate(_SUPERSCRIPT)}"
    if power < 0:
        return f"{sign}0.{'0' * (-power - 1)}{digits}"
    whole, part = digits[: power + 1].ljust(power + 1, "0"), digits[power + 1 :]
    return f"{sign}{whole}{'.' if part else ''}{part}"


def typed_text(text: str) -> str:
    """A number as it was typed, with a true minus, without a plus, and with no sign of zero.

    It is empty if the number has more than six significant digits or an exponent, so that ``value_text`` has to write it:
    typed numbers and results have one spelling.
    """
    negative, bare = text.startswith(("-", "−")), text.lstrip("+-−")
    found = _WRITTEN.fullmatch(bare)
    if found is None or len(bare) > _LONGEST_NUMBER:
        return ""
    number, value = Decimal(bare), float(bare)
    digits = (found["whole"] + found["part"]).lstrip("0")
    if len(text) <= _LONGEST_ZEROS or not found["point"]:
        digits = digits.rstrip("0")
    if len(digits) > MOST_DIGITS or number != decimal_of(value):
        return ""
    return ("−" if negative and number else "") + bare


def fixed_text(value: float, decimals: int | None) -> str:
    """A number with that many decimals, without a minus before zero; ``value_text`` if ``decimals`` is None."""
    if decimals is None or not math.isfinite(value):
        return value_text(value)
    text = f"{value:.{decimals}f}"
    return text.lstrip("-") if float(text) == 0 else text.replace("-", "−")


def factor_text(value: float | Decimal | str) -> str:
    """A number, or its text, as a factor or after an operator: in brackets if negative or written with a power of ten."""
    text = value if isinstance(value, str) else value_text(value)
    return f"({text})" if set(text) & set("−e×E") else text


def inflected(number: int, noun: str, plural: str = "") -> str:
    """The noun if the number is 1, else its plural, by default with an s; also of a verb or a phrase."""
    return noun if number == 1 else plural or f"{noun}s"


def counted(number: int, noun: str, plural: str = "") -> str:
    """``1 row``, ``2 rows``, ``no rows``; with the inflected noun."""
    return f"{f'{number:,}' if number else 'no'} {inflected(number, noun, plural)}"


UNKNOWN = "?"


def filled_columns(rows: Sequence[tuple[str, ...]]) -> list[int]:
    """The indices of the columns in which a row has a text."""
    return [at for at, column in enumerate(zip(*rows, strict=True)) if any(column)]


def aligned(
    heads: tuple[str, ...],
    rows: Sequence[tuple[str, ...]],
    numbers: Collection[str] = (),
    *,
    width: int | None = None,
) -> str:
    """Columns of equal width, numbers aligned to the right; empty columns are left out.

    If they are wider than ``width``, every row takes as many lines as needed, as the heads do.
    """
    return "\n".join(line for lines in aligned_rows(heads, rows, numbers, width=width) for line in lines)


def aligned_rows(
    heads: tuple[str, ...],
    rows: Sequence[tuple[str, ...]],
    numbers: Collection[str] = (),
    *,
    width: int | None = None,
) -> list[list[str]]:
    """The lines of the heads and of each row of ``aligned``.

    A name in the first column that is longer than half of the width has a line of its own; nothing is cut. Characters
    that are not printable, such as a line break in a file name, are escaped.
    """
    rows = [tuple(cell if cell.isprintable() else visible(cell) for cell in row) for row in rows]
    table = [heads, *rows]
    shown = filled_columns(rows)
    widths = {at: max(len(line[at]) for line in table) for at in shown}
    set_in = {at: str.rjust if heads[at] in numbers else str.ljust for at in shown}
    if width is None or sum(widths.values()) + 2 * len(shown) - 2 <= width:
        return [["  ".join(set_in[at](line[at], widths[at]) for at in shown).rstrip()] for line in table]
    name = shown[0]
    widths[name] = max(len(line[name]) for line in table if len(line[name]) <= max(width // 2, len(heads[name])))
    groups, used = [[name]], widths[name]
    for at in shown[1:]:
        used += 2 + widths[at]
        if used > width:
            groups.append([])
            used = 2 + widths[at]
        groups[-1].append(at)

    def lines_of(line: tuple[str, ...]) -> list[str]:
        long = len(line[name]) > widths[name]
        lines = [line[name]] if long else []
        for number, group in enumerate(groups):
            cells = ["" if long and at == name else line[at] for at in group]
            if number and len(group) == 1 and len(cells[0]) > width - 2:
                lines += wrap(cells[0], width, initial_indent="  ", subsequent_indent="  ", break_long_words=False)
            elif any(cells):
                text = "  ".join(set_in[at](cell, widths[at]) for at, cell in zip(group, cells, strict=True))
                lines.append(("  " * bool(number) + text).rstrip())
        return lines

    return [lines_of(line) for line in table]


_LABEL = re.compile(r"\s*(?:\S+(?: \S+)*\s{2,}(?!·))?")
_WORDS = re.compile("[A-Za-z]{2}")


def folded(line: str, width: int) -> list[str]:
    """A line of text in lines of this width, those after the first under its text; rows of numbers stay as they are."""
    if len(line) <= width or not _WORDS.search(line):
        return [line]
    found = _LABEL.match(line)
    label = len(found[0]) if found else 0
    hang = label if 0 < label <= width // 2 else 2
    return wrap(
        line, width, subsequent_indent=" " * hang, break_long_words=False, break_on_hyphens=False,
        replace_whitespace=False,
    )  # fmt: skip


def preprocessing_text(facts: Mapping[str, Any]) -> str:
    """``(x − 0.5) / 0.25, bicubic``: how a network's input is made of values from 0 to 1."""
    return f"{normalising_text(facts)}, {facts['interpolation']}"


def normalising_text(facts: Mapping[str, Any]) -> str:
    """``(x − 0.5) / 0.25``: one number if all channels have the same."""
    return f"(x − {_numbers_text(facts['mean'])}) / {_numbers_text(facts['std'])}"


def _numbers_text(values: Sequence[float]) -> str:
    numbers = [f"{float(value):.4g}" for value in values]
    return numbers[0] if len(set(numbers)) == 1 else f"({', '.join(numbers)})"


def preprocessing_notes(facts: Mapping[str, Any]) -> tuple[str, ...]:
    """What was chosen instead of the model's own preprocessing, and what of that is a guess.

    These notes are in the caption of a figure, on stderr and in the JSON document. The model's own settings are not in the
    caption: they are on stderr, in the JSON document and in the recipe.
    """
    chosen, guessed = facts.get("chosen", ()), facts.get("guessed", ())
    notes = []
    if chosen:
        names = " and ".join([", ".join(chosen[:-1]), chosen[-1]][len(chosen) == 1 :])
        notes.append(f"preprocessed by the chosen {names}: {preprocessing_text(facts)}")
    numbers = [name for name in guessed if name != "input_size"]
    if numbers:
        verb = "is a guess" if len(numbers) == 1 else "are a guess"
        text = " and ".join(f"{name} {_numbers_text(facts[name])}" for name in numbers)
        inputs = counted(len(facts["mean"]), "input channel")
        basis = "averages of timm's numbers for other channels"
        if len(facts["mean"]) == 3:
            basis = "the numbers of ImageNet"
        notes.append(f"{text} {verb} for {inputs}: {basis} (see --mean, --std)")
    return tuple(notes)

"""Numbers and names as pictures and terminals write them."""

from __future__ import annotations

import math
import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
MOST_NUMBERS = 12
PART = "  ·  "  # stands between the parts of a line


def number_text(value: float, *, plus: bool = False) -> str:
    """Three significant digits, zeros kept, a true minus; ×10ⁿ outside 10⁻³ … 10⁵; ``plus`` signs what is positive."""
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else str(value).replace("-", "−")
    sign = "−" if value < 0 else "+" if plus else ""
    mantissa, exponent = f"{abs(value):.2e}".split("e")
    power = int(exponent)
    if -3 <= power < 5:
        digits = f"{float(f'{mantissa}e{power}'):,.{max(0, 2 - power)}f}"
        return sign + digits
    return f"{sign}{mantissa}×10{str(power).translate(_SUPERSCRIPT)}"


def numbers_text(numbers: Sequence[int]) -> str:
    """``11, 16, 28, 31``: at most twelve of them, then ``and k more``."""
    shown = ", ".join(map(str, numbers[:MOST_NUMBERS]))
    return shown if len(numbers) <= MOST_NUMBERS else f"{shown} and {len(numbers) - MOST_NUMBERS} more"


def runs_text(numbers: Sequence[int]) -> str:
    """``0-15,40``: numbers in their order, ascending runs drawn together; ``parse_channels`` reads it back."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)


def sentence(text: str) -> str:
    """The text with a capital letter in front."""
    return text[:1].upper() + text[1:]


def visible(text: str) -> str:
    """Text whose control and format characters are written as escapes, so that it stays in its line."""
    return "".join(_escape(char) if unicodedata.category(char) in _UNSEEN else char for char in text)


_UNSEEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def _escape(char: str) -> str:
    return char.encode("unicode_escape").decode() if ord(char) < 0xD800 or ord(char) > 0xDFFF else f"\\u{ord(char):04x}"

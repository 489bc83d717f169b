"""The formula of a size in letters and in numbers.

Those of Dumoulin and Visin, *A guide to convolution arithmetic for deep learning*, with torch's dilation, ceiling and
output padding. One axis at a time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Formula:
    """How the output's size along one axis follows: ``numerator`` / ``denominator``, rounded, and 1 more.

    Without a denominator the numerator is the whole of it. ``where`` explains further letters and what is odd. The signs
    are those of print: ``−`` and ``·``.
    """

    letters: str
    numerator: str
    denominator: str
    rounding: Literal["floor", "ceil", ""]
    tail: str
    result: int
    where: tuple[str, ...] = ()

    @property
    def brackets(self) -> tuple[str, str]:
        """What stands around the fraction."""
        return {"floor": ("⌊", "⌋"), "ceil": ("⌈", "⌉"), "": ("", "")}[self.rounding]

    @property
    def numbers(self) -> str:
        """``⌊(5 + 2·0 − 3) / 1⌋ + 1``: the formula with the numbers in."""
        if not self.denominator:
            return self.numerator
        low, high = self.brackets
        return f"{low}({self.numerator}) / {self.denominator}{high}{self.tail}"

    @property
    def text(self) -> str:
        """The numbers and the result."""
        return self.numbers if self.numbers == str(self.result) else f"{self.numbers} = {self.result}"


def window_formula(  # noqa: PLR0917  (the order of the formula)
    size: int,
    kernel: int,
    stride: int,
    padding: tuple[int, int],
    dilation: int,
    result: int,
    *,
    ceil_mode: bool = False,
) -> Formula:
    """How many windows of a convolution or a pool there are."""
    before, after = padding
    even = before == after
    pads = ("2p", f"2·{before}") if even else ("p₀ + p₁", f"{before} + {after}")
    span = dilation * (kernel - 1) + 1
    letter = "k" if dilation == 1 else "k′"
    low, high = ("⌈", "⌉") if ceil_mode else ("⌊", "⌋")
    where = []
    if dilation > 1:
        where.append(f"k′ = d(k − 1) + 1 = {dilation}·{kernel - 1} + 1 = {span}")
    if not even:
        where.append(f"p₀ = {before} before, p₁ = {after} after")
    tail = " + 1"
    steps = size + before + after - span
    if ceil_mode and -(-steps // stride) + 1 > result:
        tail = " + 1 − 1"
        where.append("one less: the last window would begin behind the input")
    return Formula(
        letters=f"{low}(i + {pads[0]} − {letter}) / s{high}{tail}",
        numerator=f"{size} + {pads[1]} − {span}",
        denominator=str(stride),
        rounding="ceil" if ceil_mode else "floor",
        tail=tail,
        result=result,
        where=tuple(where),
    )


def transposed_formula(  # noqa: PLR0917  (the order of the formula)
    size: int, kernel: int, stride: int, padding: int, dilation: int, output_padding: int, result: int
) -> Formula:
    """How large the output of a transposed convolution is."""
    return Formula(
        letters="(i − 1)·s − 2p + d·(k − 1) + output padding + 1",
        numerator=f"({size} − 1)·{stride} − 2·{padding} + {dilation}·({kernel} − 1) + {output_padding} + 1",
        denominator="",
        rounding="",
        tail="",
        result=result,
    )


def adaptive_formula(size: int, result: int) -> Formula:
    """What the windows of an adaptive pool are, for its size is asked for."""
    return Formula(
        letters="as asked for; window n reads from ⌊n·i / o⌋ to ⌈(n + 1)·i / o⌉ − 1",
        numerator=str(result),
        denominator="",
        rounding="",
        tail="",
        result=result,
        where=(f"i = {size}, o = {result}",),
    )

"""The sum behind one cell, and the formula of the output's size, as they are written by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernelviz.drawing.page import INK, Item, Panel, Rule, Text, text_block, text_width, wrap
from kernelviz.drawing.terms import plane_terms, shortened
from kernelviz.drawing.worksheets import DARK, DIM, FAINT, FORMULA, SMALL, SUM
from kernelviz.wording import value_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kernelviz.arithmetic.windows import Formula
    from kernelviz.walkthrough import Step


def sum_panel(step: Step, room: float, *, widest: tuple[float, float] = (0.0, 0.0)) -> Panel:
    """How the marked cell came about: the terms in the kernel's rows, those of padding faint, the result bold.

    ``widest`` are the widths of the longest term and result of all steps, so that nothing moves from step to step.
    """
    row, column = step.at
    heading = f"the marked cell, row {row}, column {column}"
    items: list[Item] = [Text(0, SMALL, heading, SMALL, DIM)]
    terms = plane_terms(step, 0)
    _, height, width = step.window.shape
    term = max(widest[0], *(text_width(text, SUM) for text in terms))
    plus, tail = text_width(" + ", SUM), 20.0
    value = value_text(step.value)
    bias = "" if step.bias is None else f"{value_text(step.bias)} bias"
    result = max(widest[1], text_width(value, FORMULA, bold=True))
    whole = (
        width * (term + plus) + text_width("=", SUM) + 2 * tail + result + (text_width(bias, SUM) if bias else -plus)
    )
    if len(step.window) > 1 or height > 5 or whole > room:
        return _one_line(step, heading, room)
    y = SMALL + 44.0
    for i in range(height):
        x = 0.0
        for j in range(width):
            faint = bool(step.padding[i, j] or step.stretched[i, j])
            text = terms[i * width + j]
            items.append(Text(x + term, y, text, SUM, FAINT if faint else DARK, align="right"))
            x += term
            if (i, j) != (height - 1, width - 1) or bias:
                items.append(Text(x + plus / 2, y, "+", SUM, FAINT, align="center"))
            x += plus
        if i == height - 1:
            if bias:
                items.append(Text(x, y, bias, SUM, DARK))
                x += text_width(bias, SUM) + tail
            items.append(Text(x, y, "=", SUM, FAINT))
            items.append(Text(x + text_width("=", SUM) + tail, y, value, FORMULA - 1, INK, bold=True))
        y += 38
    return Panel(tuple(items), max(whole, text_width(heading, SMALL) + 8), y - 26)


def _one_line(step: Step, heading: str, room: float) -> Panel:
    """The first terms and the last ones of a long sum."""
    terms = [term for plane in range(len(step.window)) for term in plane_terms(step, plane)]
    head = Text(0, SMALL, f"{heading}: {len(terms):,} products", SMALL, DIM)
    bias = [] if step.bias is None else [f"({value_text(step.bias)})" if step.bias < 0 else value_text(step.bias)]
    value = value_text(step.value)
    end = 30 + text_width("=", SUM) + text_width(value, FORMULA, bold=True)
    shown, most = terms, len(terms)
    while text_width(" + ".join(shown + bias), SUM) + end > room and most > 2:
        most = min(most, 12) - 1
        shown = shortened(terms, most) if most > 2 else [terms[0], "…"]
    text = " + ".join(shown + bias)
    x = text_width(text, SUM)
    items: list[Item] = [head, Text(0, SMALL + 44, text, SUM, DARK), Text(x + 14, SMALL + 44, "=", SUM, FAINT)]
    items.append(Text(x + 30 + text_width("=", SUM), SMALL + 44, value, FORMULA - 1, INK, bold=True))
    return Panel(tuple(items), max(x + end, text_width(head.text, SMALL) + 8), SMALL + 54)


def formula_panel(formulas: tuple[Formula, Formula], room: float) -> Panel:
    """The size of the output: in numbers as it is written by hand, and in letters under it."""
    rows, columns = formulas
    items: list[Item] = [Text(0, SMALL, "the size of the output", SMALL, DIM)]
    if rows == columns and rows.denominator:
        return _fraction(rows, items, room)
    y, widest = SMALL + 10.0, 0.0
    texts = [rows.text] if rows == columns else [f"rows: {rows.text}", f"columns: {columns.text}"]
    size = min(FORMULA - 3, *((room - 20) / text_width(text, 1.0, bold=True) for text in texts))
    for text in texts:
        before, equals, result = text.rpartition(" = ")
        y += 40
        items.append(Text(0, y, (before + equals).rstrip() or text, size, INK))
        if equals:
            x = text_width(before + equals, size)
            items.append(Text(x + 16, y, result, size, INK, bold=True))
        widest = max(widest, text_width(text, size, bold=True) + 16)
    same = rows.where == columns.where
    where = (
        rows.where
        if same
        else [f"{name}: {each}" for name, one in zip(("rows", "columns"), formulas, strict=True) for each in one.where]
    )
    lines = [*dict.fromkeys((rows.letters, columns.letters)), *where]
    return _letters(items, lines, y + 12, widest, room)


def _fraction(formula: Formula, items: list[Item], room: float) -> Panel:
    top, x = SMALL + 16.0, 22.0
    width = text_width(formula.numerator, FORMULA) + 10
    middle = top + 46
    low, high = top + 4, top + 88
    right = x + width + 22
    ends = {"floor": (high,), "ceil": (low,), "": ()}[formula.rounding]
    for edge, inward in ((4.0, 9.0), (right, -9.0)):
        items.append(Rule(edge, low, edge, high, INK, 2.2))
        items += [Rule(edge, end, edge + inward, end, INK, 2.2) for end in ends]
    items.append(Text(x + width / 2, middle - 12, formula.numerator, FORMULA, INK, align="center"))
    items.append(Rule(x, middle, x + width, middle, INK, 2))
    items.append(Text(x + width / 2, middle + 34, formula.denominator, FORMULA, INK, align="center"))
    after = f"{formula.tail.strip()}  ="
    items.append(Text(right + 14, middle + 10, after, FORMULA, INK))
    x = right + 40 + text_width(after, FORMULA)
    items.append(Text(x, middle + 10, str(formula.result), FORMULA, INK, bold=True))
    return _letters(items, [formula.letters, *formula.where], high + 6, x + text_width("000", FORMULA), room)


def _letters(items: list[Item], lines: Sequence[str], y: float, width: float, room: float) -> Panel:
    broken = [part for line in lines for part in wrap(line, SMALL, room)]
    words, bottom = text_block(broken, 0, y, SMALL, colour=DIM)
    wide = max(width, *(text_width(line, SMALL) for line in broken))
    return Panel((*items, *words), wide, bottom)

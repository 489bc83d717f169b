"""Formulas are written as they are by hand."""

from __future__ import annotations

from kernelviz.arithmetic.windows import adaptive_formula, transposed_formula, window_formula


def test_a_window_formula_in_letters_and_numbers():
    """The guide's formula, with the numbers in and the result."""
    formula = window_formula(5, 3, 2, (1, 1), 1, 3)
    assert formula.letters == "⌊(i + 2p − k) / s⌋ + 1"
    assert formula.text == "⌊(5 + 2·1 − 3) / 2⌋ + 1 = 3"


def test_a_transposed_formula_is_torchs():
    """Every term of torch's formula, zeros too."""
    assert transposed_formula(2, 2, 1, 0, 1, 0, 3).text == "(2 − 1)·1 − 2·0 + 1·(2 − 1) + 0 + 1 = 3"


def test_an_adaptive_size_is_no_sum():
    """The size is the requested one."""
    assert adaptive_formula(7, 3).text == "3"

"""The text and the JSON of an explanation match the operation and its numbers."""

from __future__ import annotations

import re

import numpy as np
import pytest

from kernelviz import Convolution, Pooling, TransposedConvolution, work_out
from kernelviz.cli.session import json_text
from kernelviz.errors import UsageError
from kernelviz.explain.texts import MOST_CELLS, chosen_steps, explanation_entry, number_lines, size_lines
from kernelviz.explain.walkthrough import example_numbers, make_canvas

OPERATIONS = [
    Convolution((5, 7), 3, stride=(1, 2), padding=1, in_channels=2, out_channels=4, groups=2, bias=True),
    Convolution(9, 2, stride=4, dilation=1),
    TransposedConvolution(3, 3, stride=2, padding=1, output_padding=1, in_channels=2),
    TransposedConvolution(3, 2, padding=2, stride=3),
    Pooling(6, 3, stride=2, padding=1, ceil_mode=True, kind="average", count_include_pad=False),
    Pooling(5, adaptive=(2, 3)),
]


@pytest.mark.parametrize("operation", OPERATIONS, ids=repr)
def test_every_step_that_is_written_adds_up(operation):
    """Evaluating the text of a step yields its number."""
    worked = work_out(operation, *example_numbers(operation, 1))
    steps = chosen_steps(worked, operation.out_channels - 1, None)
    lines = number_lines(worked, steps, operation.out_channels - 1)
    written = [line.split(": ", 1)[1] for line in lines if line.startswith("  row") and re.search(" [=≈] ", line)]
    assert len(written) == len(steps) == np.prod(operation.output_size)
    for text, step in zip(written, steps, strict=True):
        terms, value = re.split(" [=≈] ", text)
        terms = terms.replace("no stamp", "0").replace("×", "*").replace("−", "-")
        assert eval(terms, {"max": max}) == pytest.approx(step.value), text
        assert float(value.replace("−", "-")) == pytest.approx(step.value, rel=6e-3)


@pytest.mark.parametrize("operation", OPERATIONS, ids=repr)
def test_the_formula_that_is_written_gives_the_size(operation):
    """Evaluating the numbers of the formula yields the size of the output."""
    text = "\n".join(size_lines(operation))
    for formula, size in zip(operation.formulas, operation.output_size, strict=True):
        assert formula.text in text
        numbers = formula.numbers
        for sign, word in {"⌊": "floor(", "⌋": ")", "⌈": "ceil(", "⌉": ")", "·": "*", "−": "-"}.items():
            numbers = numbers.replace(sign, word)
        assert eval(numbers, {"floor": np.floor, "ceil": np.ceil}) == formula.result == size


@pytest.mark.parametrize("operation", OPERATIONS, ids=repr)
def test_the_json_is_valid_and_complete(operation):
    """Every promised field is there, and what does not apply is null."""
    worked = work_out(operation, *example_numbers(operation))
    entry = explanation_entry(operation, worked, chosen_steps(worked, 0, None))
    assert json_text(entry)
    assert {"output_size", "formula", "parameters", "macs", "unread", "output", "steps"} <= set(entry)
    assert entry["steps_total"] == len(entry["steps"])
    for step in entry["steps"]:
        assert {"at", "window", "products", "sum", "text"} <= set(step)
    assert (entry["kernel_values"] is None) == isinstance(operation, Pooling)


def test_what_is_printed_is_bounded():
    """Of very many steps the first are printed, and how many of how many."""
    operation = Convolution(100, 7)
    worked = work_out(operation, *example_numbers(operation))
    steps = chosen_steps(worked, 0, None)
    assert len(steps) * 49 <= MOST_CELLS
    assert f"steps ({len(steps)} of 8836), rows and columns counted from 0" in number_lines(worked, steps, 0)


def some_operations(kind, count):
    """Random settings that are allowed."""
    random = np.random.default_rng(sum(map(ord, kind)))
    while count:
        size, kernel, stride, dilation, padding = (
            tuple(map(int, random.integers(low, high, 2))) for low, high in ((1, 13), (1, 4), (1, 6), (1, 4), (0, 4))
        )
        try:
            if kind == "convolution":
                yield Convolution(size, kernel, stride=stride, dilation=dilation, padding=padding)
            elif kind == "pool":
                ceiling = bool(random.integers(2))
                around = tuple(min(p, k // 2) for p, k in zip(padding, kernel, strict=True))
                yield Pooling(size, kernel, stride=stride, dilation=dilation, padding=around, ceil_mode=ceiling)
            else:
                yield TransposedConvolution(size, kernel, stride=stride, dilation=dilation, padding=padding)
        except UsageError:
            continue
        count -= 1


@pytest.mark.parametrize("kind", ["convolution", "pool", "transposed"])
def test_what_no_window_reads_is_counted(kind):
    """Text, JSON and picture count all rows and columns that no window reads."""
    for operation in some_operations(kind, 300):
        transposed = kind == "transposed"
        rows, columns = operation.output_size
        seen = operation.reads if transposed else operation.window
        around = (0, 0) if transposed else operation.padding if kind == "pool" else operation.padding[::2]
        read = [set(), set()]
        for at in np.ndindex(rows, columns):
            for found, side in zip(read, seen(*at), strict=True):
                found |= set(side)
        unread = [
            len(set(range(-pad, size + pad)) - found)
            for size, pad, found in zip(operation.input_size, around, read, strict=True)
        ]
        lines = size_lines(operation)
        text = " ".join(line for line in lines if line.startswith(("left over", "            ")))
        assert explanation_entry(operation, None, [])["unread"] == unread == list(operation.unread)
        assert ("left over   nothing" in lines) == (unread == [0, 0]), operation
        for number, noun in zip(unread, ("row", "column"), strict=True):
            assert sum(map(int, re.findall(rf"(\d+) {noun}s?\b", text))) == number, (operation, text)
        if not transposed:
            values = np.zeros((1, *operation.input_size))
            hatched = make_canvas(
                operation, values, np.zeros(operation.kernel) if kind == "convolution" else None
            ).unread
            assert hatched.sum() == hatched.size - np.prod(np.array(hatched.shape) - unread)


def test_what_the_padding_of_a_transposed_convolution_cuts_off_is_reported():
    """Of 25 values 24 stamp only cells that are cut off."""
    text = "\n".join(size_lines(TransposedConvolution(5, 1, padding=2)))
    assert "4 rows and 4 columns of the input reach no output cell (24 of 25 values): the padding cuts off" in text


def test_gaps_and_cuts_are_reported():
    """Rows between windows, and a padding so large that it cuts the input."""
    assert "1 row and 1 column between the windows are never read" in "\n".join(size_lines(Convolution(5, 2, stride=3)))
    assert "4 rows and 4 columns between the cells of the windows are never read: stride 2 and dilation 2" in "\n".join(
        size_lines(Convolution(9, 3, stride=2, dilation=2))
    )
    assert "cuts rows and columns off" in "\n".join(size_lines(OPERATIONS[3]))


def test_one_is_no_plural():
    """A single weight is one."""
    assert "= 1 weight, no bias" in "\n".join(size_lines(Convolution(5, 1)))


@pytest.mark.parametrize(
    ("operation", "line"),
    [
        (Convolution(5, 4, padding="same"), "padding     an even kernel has no middle: 1 zero before, 2 after"),
        (Convolution(5, 2, padding="same"), "padding     an even kernel has no middle: no zeros before, 1 after"),
        (Convolution(5, (3, 4), padding="same"), "padding     an even kernel has no middle: 1 zero before, 2 after"),
        (Convolution(5, 3, padding="same"), None),
        (Convolution(5, 4, padding="same", dilation=2), None),
        (Convolution(5, 4, padding=(0, 1, 0, 1)), None),
    ],
)
def test_uneven_padding_has_its_reason(operation, line):
    """Why same padding is uneven is stated, and nothing where it is even or chosen by hand."""
    lines = size_lines(operation)
    assert [each for each in lines if "no middle" in each] == ([line] if line else [])


def test_an_adaptive_pooling_to_one_value_is_called_global():
    """As Keras and the articles call it."""
    assert size_lines(Pooling(7, adaptive=1))[0] == "Adaptive max pooling: 7 × 7 input, to 1 × 1 (global)"

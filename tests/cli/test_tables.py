"""Tables add up, cut no name and say what is not known."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest

from kernelviz.cli.layers import legend, plain_table, rich_table
from kernelviz.records import AxisField, Field
from kernelviz.traces import HEADS, Trace, TracedLayer, field_text, layer_cells

LONG = "stages.0.blocks.1." + "deep." * 20 + "conv"


def axis(size, jump=2):
    """An axis of three units."""
    return AxisField(np.arange(3), np.arange(3) + size - 1, size, jump, 0)


def layer(name, *, macs=0, field=None, **facts):
    """A layer that ran once."""
    return TracedLayer(name, "Conv2d", "conv", 10, macs, 1, output_shape=(4, 3, 3), field=field, **facts)


@pytest.fixture
def trace():
    """A square field, an oblong one that is mixed, and an unknown one."""
    layers = (
        layer("conv", macs=1234, field=Field((axis(3), axis(3))), kernel=(3, 3), padding="same", bias=True),
        layer(LONG, macs=1, field=Field((axis(3), axis(5, None)), mixes_image=True), kernel=(1, 5)),
        layer("[bold]x\n", lost="sort is not followed"),
    )
    return Trace((3, 8, 8), layers, 30, 1235)


def test_columns_add_up_to_their_totals(trace):
    """The printed column sums to the printed total."""
    *rows, total = [line.split() for line in plain_table(trace, trace.layers).splitlines()[1:]]
    assert total[:4] == ["total", "of", "3", "layers"]
    assert total[-2:] == ["30", "1,235"]
    assert len(rows) == 3


def test_a_choice_is_totalled_and_counted(trace):
    """With some of the layers the total says of how many."""
    assert "total of 1 of 3 layers" in plain_table(trace, trace.layers[:1])


def test_names_are_never_cut(trace):
    """In a pipe and on a terminal that is wide enough a name stands whole in its line."""
    from rich.console import Console

    assert LONG in plain_table(trace, trace.layers)
    screen = io.StringIO()
    Console(file=screen, width=300).print(rich_table(trace, trace.layers))
    assert LONG in screen.getvalue()
    assert "[bold]x" in screen.getvalue()


def test_fields_say_what_is_mixed_and_what_is_unknown(trace):
    """A plus, two numbers where rows and columns differ, a question mark, nothing for what never ran."""
    first, second, third = trace.layers
    assert [field_text(one) for one in (first, second, third)] == ["3", "3 × 5+", "?"]
    assert field_text(replace(third, runs=0)) == ""
    assert any("sort is not followed" in line for line in legend(trace.layers))


def test_names_from_outside_stay_in_their_line(trace):
    """Control characters are escaped, brackets stay."""
    assert layer_cells(trace.layers[2])[0] == "[bold]x\\n"
    assert len(plain_table(trace, trace.layers).splitlines()) == 5


def test_a_row_has_a_cell_for_each_head(trace):
    """And `same` is written as such."""
    cells = dict(zip(HEADS, layer_cells(trace.layers[0]), strict=True))
    assert cells["padding"] == "same"
    assert cells["bias"] == "yes"
    assert cells["output"] == "4 × 3 × 3"

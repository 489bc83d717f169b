import numpy as np
import pytest

from kernelviz.drawing.captions import Marks, find_marks, kernels_of, kernels_touched
from kernelviz.drawing.colour import make_scale
from kernelviz.drawing.sheets import make_sheet
from kernelviz.records import as_bank
from kernelviz.views.kernel_views import kernel_tiles


def test_every_irregularity_is_found(odd_weight):
    """Tiles as good as zero, faint, constant and broken are distinguished, and broken values counted."""
    tiles = kernel_tiles(as_bank(odd_weight))
    marks = find_marks(tiles, make_scale(tiles, (-1.0, 1.0)))
    assert marks == Marks(zero=(3,), faint=(11,), constant=(6,), broken=(5, 9, 12), nonfinite=27)


@pytest.mark.parametrize(("size", "zero"), [(0.005, True), (0.00501, False), (0.0, True)])
def test_as_good_as_zero_is_half_a_level(size, zero):
    """A tile within half a percent of its layer's limit is as good as zero, and no tile beyond it."""
    weight = np.array([1.0, size]).reshape(2, 1, 1, 1)
    for scale in ("layer", "tile", (-1.0, 1.0)):
        assert (1 in make_sheet(weight, view="sum", scale=scale).marks.zero) == zero


def test_the_limit_is_that_of_the_whole_layer():
    """Kernels chosen out of a layer are marked against all of it."""
    weight = np.array([1.0, 1e-4, 1e-4]).reshape(3, 1, 1, 1)
    assert make_sheet(weight, view="sum", channels="1-2").marks.zero == (0, 1)


def test_a_layer_of_zeros_is_as_good_as_zero():
    """Where every weight is zero, every tile is marked."""
    assert make_sheet(np.zeros((3, 1, 2, 2))).marks.zero == (0, 1, 2)


@pytest.mark.parametrize("outputs", [4, 20])
def test_the_kernels_of_a_heat_map_are_its_rows_or_columns(outputs):
    """In a heat map, turned or not, marks count kernels, not pixels."""
    weight = np.random.default_rng(0).uniform(0.5, 1, (outputs, 9, 1, 1))
    weight[2] = 0
    weight[3, 5] = np.nan
    marks = make_sheet(weight, view="matrix").marks
    assert (marks.zero, marks.broken, marks.nonfinite) == ((2,), (3,), 1)


@pytest.mark.parametrize("outputs", [2, 5])
def test_the_kernels_of_a_table_are_named_by_their_tiles(outputs):
    """A kernel is zero if all its tiles are, broken if one is; turned or not."""
    weight = np.random.default_rng(0).uniform(0.5, 1, (outputs, 3, 2, 2))
    weight[1] = 0
    weight[0, 2] = 0
    weight[0, 1, 0, 0] = np.nan
    sheet = make_sheet(weight, view="matrix")
    assert kernels_of(sheet.tiles, sheet.marks.zero) == (1,)
    assert kernels_touched(sheet.tiles, sheet.marks.broken) == (0,)


def test_marks_name_the_kernels_that_were_chosen():
    """Marks of chosen kernels carry the kernels' own numbers."""
    weight = np.ones((6, 1, 1, 2))
    weight[4] = 0
    sheet = make_sheet(weight, channels="5,4", view="sum")
    assert kernels_of(sheet.tiles, sheet.marks.zero) == (4,)

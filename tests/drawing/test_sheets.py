import json

import numpy as np
import pytest

from kernelviz.drawing.sheets import make_sheet
from kernelviz.errors import UsageError
from kernelviz.views.kernel_views import parse_channels


def test_a_recipe_makes_the_same_sheet_again(new_bank):
    """View, channels, scale, columns and zoom of a recipe, requested again, give the same tiles at the same positions."""
    bank = new_bank((40, 3, 3, 3))
    first = make_sheet(bank, top=9, sort="max", scale=(-1.0, 2.0))
    recipe = json.loads(json.dumps(dict(first.recipe), allow_nan=False))
    again = make_sheet(
        bank,
        view=recipe["view"],
        channels=recipe["channels"],
        scale=tuple(recipe["limits"]),
        columns=recipe["columns"],
        zoom=recipe["zoom"],
    )
    assert np.array_equal(first.tiles.values, again.tiles.values)
    assert np.array_equal(first.grid.arrangement, again.grid.arrangement)
    assert first.scale == again.scale


def test_a_recipe_contains_the_model_the_layer_and_the_choice(new_bank):
    """A recipe has the names that other programs rely on."""
    recipe = make_sheet(new_bank((40, 3, 3, 3), name="a.b"), channels="3,9,1-4", view="norm").recipe
    assert (recipe["command"], recipe["layer"], recipe["view"], recipe["schema"]) == ("kernels", "a.b", "norm", 1)
    assert (recipe["shape"], recipe["shown"], recipe["total"]) == ([40, 3, 3, 3], 5, 40)
    assert parse_channels(recipe["channels"], 40) == (3, 9, 1, 2, 4)
    assert recipe["model"]["name"] == "resnet18"


@pytest.mark.parametrize("weight", [np.full((2, 1, 2, 2), np.nan), np.full((2, 1, 2, 2), np.inf)], ids=["NaN", "inf"])
def test_a_recipe_of_broken_weights_is_valid_json(weight):
    """Whatever the weights, a recipe has no NaN in it."""
    json.dumps(dict(make_sheet(weight).recipe), allow_nan=False)


@pytest.mark.parametrize("view", ["channels", "matrix"])
def test_a_cut_table_keeps_rows_and_columns_in_place(view):
    """A table too large for a figure keeps its first rows and columns, tile by tile."""
    weight = np.random.default_rng(0).standard_normal((300, 90, 2, 2))
    tiles = make_sheet(weight, view=view).tiles
    down, across = len(tiles.rows.labels), len(tiles.columns.labels)
    assert down * across < 300 * 90
    cells = tiles.values.reshape(down, across, 2, 2)
    assert np.array_equal(cells, weight.swapaxes(0, 1)[:down, :across])
    assert tiles.numbers == tuple(range(across))


def test_clipped_values_are_counted_in_what_is_shown():
    """In a cut picture only the values shown are counted as clipped."""
    weight = np.full((400, 2, 2, 2), 0.1)
    weight[399] = 5
    weight[0] = -5
    sheet = make_sheet(weight, view="sum", zoom=100, scale=(-1.0, 1.0))
    assert sheet.shown < 400
    assert (sheet.scale.below, sheet.scale.above) == (4, 0)


def test_an_unknown_style_is_refused():
    """A style is figure or bare, and nothing else."""
    with pytest.raises(UsageError, match="figure or bare, but got 'poster'"):
        make_sheet(np.ones((1, 1, 1, 1)), style="poster")


def test_a_bare_sheet_holds_the_same_tiles_as_a_figure(new_bank):
    """Where nothing is cut, the bare picture and the figure have the same grid."""
    figure, bare = (make_sheet(new_bank((32, 3, 3, 3)), style=style) for style in ("figure", "bare"))
    assert np.array_equal(figure.grid.tops, bare.grid.tops)
    assert figure.grid.zoom == bare.grid.zoom

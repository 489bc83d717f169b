import math

import numpy as np
import pytest

from kernelviz.drawing.mosaic import make_mosaic
from kernelviz.drawing.sheet_page import draw_sheet
from kernelviz.drawing.sheets import make_sheet, plan_heat_map, plan_table, plan_tiles
from kernelviz.errors import UsageError
from kernelviz.records import FeatureMaps

MEGAPIXEL = 1_000_000


def check_positions(grid, tiles):
    """Each tile is shown once, inside the mosaic, with room for an outline that touches no other tile."""
    cells = grid.arrangement[grid.arrangement >= 0]
    assert sorted(cells) == list(tiles)
    height, width = grid.tile[0] * grid.zoom[0], grid.tile[1] * grid.zoom[1]
    assert grid.tops[0] >= 1
    assert grid.lefts[0] >= 1
    assert (np.diff(grid.tops) >= height + 2).all()
    assert (np.diff(grid.lefts) >= width + 2).all()
    assert grid.tops[-1] + height < grid.height
    assert grid.lefts[-1] + width < grid.width


@pytest.mark.parametrize("count", [1, 2, 5, 7, 16, 33, 144, 512, 2048])
@pytest.mark.parametrize("tile", [(1, 1), (3, 3), (1, 9), (7, 1), (11, 11)])
@pytest.mark.parametrize("digits", [0, 4])
def test_every_tile_stands_once_and_none_overlap(count, tile, digits):
    """Tiles of any number and size fill a grid in their order, apart from one another."""
    grid = plan_tiles(count, tile, digits=digits, most_pixels=64 * MEGAPIXEL)
    check_positions(grid, range(count))
    flat = grid.arrangement.ravel()
    assert flat[:count].tolist() == list(range(count))


@pytest.mark.parametrize(
    ("count", "columns"),
    [(1, 1), (2, 2), (3, 3), (4, 4), (6, 3), (7, 4), (8, 4), (16, 8), (32, 8), (64, 16), (128, 16), (144, 16),
     (256, 32), (512, 32), (1024, 64), (2048, 64)],
)  # fmt: skip
def test_columns_are_even_and_the_page_is_wide(count, columns):
    """Square tiles have the number of columns that brings the page near two to one."""
    grid = plan_tiles(count, (3, 3))
    assert grid.arrangement.shape == (math.ceil(count / columns), columns)


@pytest.mark.parametrize("count", [9, 30, 64, 100, 333, 512, 777, 2048])
@pytest.mark.parametrize("tile", [(3, 3), (1, 5), (5, 1), (2, 3)])
def test_columns_are_a_power_of_two(count, tile):
    """More than eight tiles have 1, 2, 4 … 64 columns, so that row numbers are easy to add to."""
    assert plan_tiles(count, tile).arrangement.shape[1] in {1, 2, 4, 8, 16, 32, 64}


def test_a_mosaic_of_many_columns_is_grouped():
    """Beyond 16 columns every eighth gap is wider; up to 16 all gaps are alike."""
    many, few = plan_tiles(512, (3, 3)), plan_tiles(128, (3, 3))
    gaps = np.diff(many.lefts)
    assert set(np.flatnonzero(gaps > gaps.min()) % 8) == {7}
    assert len(set(np.diff(few.lefts))) == 1


@pytest.mark.parametrize("zoom", [1, 5, 12])
@pytest.mark.parametrize("columns", [1, 3, 10, 99])
def test_columns_and_zoom_are_kept(zoom, columns):
    """The number of columns and the pixels per value are those requested; there are at most as many columns as tiles."""
    grid = plan_tiles(24, (3, 4), columns=columns, zoom=zoom)
    assert (grid.zoom, grid.arrangement.shape[1]) == ((zoom, zoom), min(columns, 24))
    check_positions(grid, range(24))


@pytest.mark.parametrize("name", ["zoom", "columns"])
@pytest.mark.parametrize("value", [0, -1])
@pytest.mark.parametrize("view", ["sum", "matrix"])
def test_no_zoom_and_no_columns_are_refused(name, value, view):
    """A zoom or a number of columns below one is refused by its name."""
    with pytest.raises(UsageError, match=f"{name} must be at least 1, but got {value}"):
        make_sheet(np.ones((4, 2, 3, 3)), view=view, **{name: value})


@pytest.mark.parametrize("kernel", [1, 3])
def test_the_zoom_of_a_heat_map_is_checked_too(kernel):
    """A heat map refuses a zoom of zero like any other picture, and keeps one that it can."""
    with pytest.raises(UsageError, match="zoom must be at least 1"):
        make_sheet(np.ones((4, 2, kernel, kernel)), view="matrix", zoom=0)
    assert make_sheet(np.ones((4, 2, kernel, kernel)), view="matrix", zoom=3).grid.zoom == (3, 3)


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (3, 32), (3, 64), (3, 100), (24, 48), (8, 33), (1, 40)])
def test_every_tile_of_a_table_is_in_its_row_and_column(rows, columns):
    """Tile r · columns + c is in row r and column c, or in the band that continues it."""
    grid = plan_table(rows, columns, (3, 3))
    check_positions(grid, range(rows * columns))
    across, down = grid.arrangement.shape[1], grid.band or rows
    for (row, column), tile in np.ndenumerate(grid.arrangement):
        if tile >= 0:
            assert tile == row % down * columns + row // down * across + column


def test_bands_go_on_with_the_next_columns():
    """A table of few rows and many columns continues below after the requested number of columns."""
    grid = plan_table(3, 10, (3, 3), band=4)
    assert (grid.band, grid.arrangement.shape) == (3, (9, 4))
    assert grid.arrangement[0].tolist() == [0, 1, 2, 3]
    assert grid.arrangement[3].tolist() == [4, 5, 6, 7]
    assert grid.arrangement[6].tolist() == [8, 9, -1, -1]
    check_positions(grid, range(30))


@pytest.mark.parametrize(("rows", "columns"), [(40, 144), (1, 1000), (512, 2048), (2, 3)])
def test_a_heat_map_shows_every_row_and_column(rows, columns):
    """A heat map is one tile of rows by columns, each at least a pixel."""
    grid, down, across = plan_heat_map(rows, columns)
    assert (down, across) == grid.tile == (rows, columns)
    assert min(grid.zoom) >= 1


SHEETS = [
    ((2048, 4, 3, 3), {}),
    ((2048, 2, 15, 15), {}),
    ((2048, 3, 16, 16), {"view": "rgb"}),
    ((600, 1, 31, 31), {"zoom": 6}),
    ((512, 512, 3, 3), {"view": "matrix"}),
    ((2048, 3, 3, 3), {"view": "channels"}),
    ((2048, 2, 3, 3), {"top": 2000}),
    ((3000, 3000, 1, 1), {"view": "matrix"}),
    ((3000, 2, 1, 1), {"view": "matrix"}),
    ((64, 1, 300), {"zoom": 6}),
    ((64, 1, 3, 3), {"zoom": 300}),
    ((64, 1, 3, 3), {"zoom": 100, "columns": 64}),
    ((16, 1, 9, 64, 64), {}),
    ((9000, 1, 3, 3), {"columns": 1}),
]


@pytest.mark.parametrize(("shape", "choice"), SHEETS, ids=str)
def test_figures_hold_four_megapixels_and_report_what_is_cut(shape, choice):
    """A whole page is never larger than 4 megapixels; what was left out is reported in the caption and the notes."""
    sheet = make_sheet(np.random.default_rng(0).standard_normal(shape, np.float32), **choice)
    figure = draw_sheet(sheet)
    assert figure.bbox.width * figure.bbox.height <= 4 * MEGAPIXEL
    said = f"{sheet.shown:,} of {shape[0]:,} kernels"
    assert said in " ".join(sheet.caption)
    assert any(said in note for note in sheet.notes) == (sheet.shown < shape[0])


@pytest.mark.sampled
@pytest.mark.parametrize(("kernel", "zoom"), [((3, 3), 3000), ((3, 3), 10**9), ((2500, 2500), None), ((1, 1), 10**6)])
@pytest.mark.parametrize("view", ["sum", "matrix"])
def test_a_tile_larger_than_the_picture_is_refused(kernel, zoom, view):
    """A single tile that no picture can hold ends in a sentence, before any pixel is made."""
    with pytest.raises(UsageError, match="too large for the picture") as caught:
        make_sheet(np.ones((2, 2, *kernel)), view=view, zoom=zoom, layout="torch")
    assert ("--zoom" if zoom else "--style bare") in caught.value.hint


@pytest.mark.parametrize(
    ("shape", "choice"),
    [
        ((3000, 1, 64, 64), {"zoom": 4}),
        ((2048, 2048, 3, 3), {"view": "matrix", "zoom": 2}),
        pytest.param((9000, 9000, 1, 1), {"view": "matrix"}, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_bare_pictures_hold_sixty_four_megapixels(shape, choice):
    """A bare mosaic has up to 64 megapixels, more than a figure, and reports what is cut."""
    weight = np.broadcast_to(np.float32(1), shape)
    sheet = make_sheet(weight, style="bare", **choice)
    assert 4 * MEGAPIXEL < sheet.grid.height * sheet.grid.width <= 64 * MEGAPIXEL
    assert any(f"{sheet.shown:,} of {shape[0]:,} kernels" in note for note in sheet.notes)


def test_two_thousand_kernels_are_all_shown():
    """All of 2,048 small kernels fit one figure."""
    sheet = make_sheet(np.random.default_rng(0).standard_normal((2048, 4, 3, 3)))
    assert sheet.shown == 2048
    check_positions(sheet.grid, range(2048))
    assert not sheet.marks.broken


def test_a_cut_table_reports_both_numbers():
    """If kernels and inputs are cut, both are counted, in the caption and in the notes."""
    sheet = make_sheet(np.random.default_rng(0).standard_normal((512, 512, 3, 3), np.float32), view="matrix")
    rows, columns = len(sheet.tiles.rows.labels), len(sheet.tiles.columns.labels)
    assert (rows, columns) == (24, 48)
    said = "24 of 512 kernels, 48 of 512 input channels"
    assert said in sheet.caption
    assert said in sheet.notes


def test_the_advice_for_long_thin_maps_can_be_followed():
    """A map too large for any figure is drawn as the error message advises: bare, with every value."""
    maps = FeatureMaps(np.linspace(-1, 1, 4000).reshape(1, 4000, 1))
    with pytest.raises(UsageError, match="too large") as caught:
        make_sheet(maps)
    assert "--style bare" in caught.value.hint
    mosaic = make_mosaic(make_sheet(maps, style="bare"))
    assert max(mosaic.pixels.shape) >= 4000


def test_long_signals_are_strips_that_can_be_seen():
    """At least eight pixels high, every value in a bare picture; of a page each column is the farthest of several."""
    values = np.random.default_rng(0).standard_normal((32, 1, 4000))
    values[3, 0, 2000], values[4] = np.nan, 0
    maps = FeatureMaps(values, shape=(32, 4000))
    sheet = make_sheet(maps)
    groups = values[:, 0, :3999].reshape(32, 1333, 3)
    kept = np.take_along_axis(groups, np.abs(groups).argmax(2)[..., None], 2)[..., 0]
    assert np.array_equal(sheet.tiles.values[:, 0, :1333], kept, equal_nan=True)
    assert np.isnan(sheet.tiles.values[3]).sum() == 1
    assert "4,000 values per strip: each column shows the value farthest from zero of 3" in sheet.notes
    assert any("one strip per channel" in line for line in sheet.caption)
    assert sheet.grid.zoom[0] >= 8
    assert sheet.grid.zoom[1] == 1
    check_positions(sheet.grid, range(32))
    bare = make_sheet(maps, style="bare")
    assert np.array_equal(bare.tiles.values, values, equal_nan=True)
    assert make_mosaic(bare).pixels.shape[1] > 4000
    assert draw_sheet(sheet)


@pytest.mark.parametrize("length", [20, 105, 106, 16_000])
@pytest.mark.parametrize("choices", [{}, {"top": 3}, {"view": "pca"}])
def test_signals_of_any_length_are_drawn(length, choices):
    """With all channels, some of them, or one strip of all."""
    maps = FeatureMaps(np.random.default_rng(0).standard_normal((5, 1, length)), shape=(5, length))
    sheet = make_sheet(maps, **choices)
    assert sheet.tiles.values.shape[2] <= 1440
    assert sheet.grid.tile[0] * sheet.grid.zoom[0] >= 8
    assert draw_sheet(sheet)

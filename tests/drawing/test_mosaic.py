import numpy as np
import pytest

from kernelviz.drawing import colour
from kernelviz.drawing.mosaic import make_mosaic
from kernelviz.drawing.sheets import make_sheet

SHAPES = {
    "dense": (20, 4, 3, 3),
    "depthwise": (33, 1, 5, 2),
    "1-D": (9, 2, 7),
    "3-D": (6, 3, 2, 3, 4),
    "large": (300, 1, 3, 3),
}


def boxes(sheet):
    """Tile, top, left, bottom and right of every cell, −1 for an empty one."""
    grid = sheet.grid
    height, width = grid.tile[0] * grid.zoom[0], grid.tile[1] * grid.zoom[1]
    for (row, column), tile in np.ndenumerate(grid.arrangement):
        yield int(tile), grid.tops[row], grid.lefts[column], grid.tops[row] + height, grid.lefts[column] + width


def decode(sheet, pixels):
    """Each tile's blocks as values, read at one corner, and whether every block is of one colour."""
    down, across = sheet.grid.zoom
    read, whole = {}, True
    for tile, top, left, bottom, right in boxes(sheet):
        if tile >= 0:
            block = pixels[top:bottom, left:right]
            read[tile] = block[::down, ::across]
            whole &= np.array_equal(block, read[tile].repeat(down, axis=0).repeat(across, axis=1))
    return np.stack([read[tile] for tile in range(len(read))]), whole


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("view", ["sum", "norm", "channels", "matrix"])
@pytest.mark.parametrize("choice", [{}, {"zoom": 1}, {"channels": "5,2-4", "zoom": 3}, {"top": 3}], ids=str)
def test_every_value_is_a_block_of_its_level(shape, view, choice):
    """Read back at the positions of the grid, a mosaic holds the level of every value, in blocks of whole pixels."""
    if len(shape) == 5 and view in ("channels", "matrix"):
        view = "sum"
    sheet = make_sheet(np.random.default_rng(0).standard_normal(shape), view=view, **choice)
    found, whole = decode(sheet, make_mosaic(sheet).pixels)
    share = sheet.tiles.values / np.abs(sheet.tiles.extent).max()
    expected = np.floor(100.5 + 100 * share) if sheet.tiles.signed else np.floor(0.5 + 200 * share)
    assert whole
    assert np.array_equal(found, expected)


@pytest.mark.parametrize("scale", ["tile", "layer", (-1.0, 1.0)], ids=str)
def test_every_rgb_value_is_a_block_of_its_colour(scale):
    """Read back, an rgb mosaic holds 127.5 + 127.5 · w / limit for the three weights of every position."""
    weight = np.random.default_rng(0).standard_normal((20, 3, 3, 4))
    sheet = make_sheet(weight, scale=scale)
    found, whole = decode(sheet, make_mosaic(sheet).pixels)
    largest = {"tile": np.abs(weight).max(axis=(1, 2, 3)).reshape(-1, 1, 1, 1), "layer": np.abs(weight).max()}
    share = np.clip(weight / largest.get(scale, 1.0) if isinstance(scale, str) else weight, -1, 1)
    assert whole
    assert np.array_equal(found, np.rint(127.5 + 127.5 * share).transpose(0, 2, 3, 1))


@pytest.mark.parametrize("shape", [(40, 12, 1, 1), (12, 40, 1, 1), (5, 3, 1, 1)], ids=str)
def test_a_heat_map_is_the_weight_as_a_matrix(shape):
    """A 1 × 1 layer is one tile of its matrix, transposed if it is tall."""
    weight = np.random.default_rng(0).standard_normal(shape)
    sheet = make_sheet(weight, view="matrix")
    found, whole = decode(sheet, make_mosaic(sheet).pixels)
    matrix = weight[:, :, 0, 0].T if shape[0] > shape[1] else weight[:, :, 0, 0]
    assert whole
    assert np.array_equal(found[0], np.floor(100.5 + 100 * matrix / np.abs(weight).max()))


@pytest.mark.parametrize("view", ["sum", "rgb", "matrix"])
def test_an_outline_stands_around_every_tile_and_nothing_else_in_the_gap(view):
    """The pixels next to a tile carry the outline's grey; what is left of the gaps is paper or outline."""
    sheet = make_sheet(np.random.default_rng(0).standard_normal((20, 3, 3, 3)), view=view)
    pixels = make_mosaic(sheet).rgb.copy()
    for tile, top, left, bottom, right in boxes(sheet):
        if tile >= 0:
            around = pixels[top - 1 : bottom + 1, left - 1 : right + 1]
            for side in (around[0], around[-1], around[:, 0], around[:, -1]):
                assert (side == 0xC4).all()
            pixels[top:bottom, left:right] = 255
    assert set(np.unique(pixels)) == {0xC4, 255}


def test_empty_cells_are_paper():
    """A cell behind the last tile is white, outline and all."""
    sheet = make_sheet(np.random.default_rng(0).standard_normal((13, 1, 3, 3)))
    pixels = make_mosaic(sheet).rgb
    empty = [box for tile, *box in boxes(sheet) if tile < 0]
    assert empty
    for top, left, bottom, right in empty:
        assert (pixels[top - 1 : bottom + 1, left - 1 : right + 1] == 255).all()


@pytest.mark.parametrize("view", ["sum", "rgb"])
def test_a_tile_as_good_as_zero_is_struck_through(view):
    """A diagonal of one pixel a row rises through such a tile, and the rest of it is zero; no other tile has one."""
    weight = np.random.default_rng(0).standard_normal((8, 3, 4, 4))
    weight[5] = 1e-6
    sheet = make_sheet(weight, view=view)
    pixels = make_mosaic(sheet).rgb
    zero = colour.ramp(None, signed=True)[100] if view == "sum" else 128
    for tile, top, left, bottom, right in boxes(sheet):
        if tile == 5:
            struck = (pixels[top:bottom, left:right] != zero).any(axis=-1)
            assert np.array_equal(struck, np.fliplr(np.eye(bottom - top, dtype=bool)))
        else:
            box = pixels[top:bottom, left:right]
            blocks = box[:: sheet.grid.zoom[0], :: sheet.grid.zoom[1]]
            assert np.array_equal(box, blocks.repeat(sheet.grid.zoom[0], axis=0).repeat(sheet.grid.zoom[1], axis=1))


@pytest.mark.parametrize("view", ["sum", "rgb", "channels", "matrix"])
def test_broken_tiles_leave_the_others_as_they_were(view):
    """Chequer and frame change broken tiles and the gap around them; every other pixel is that of the clean bank."""
    clean = np.random.default_rng(0).standard_normal((8, 3, 4, 4))
    broken = clean.copy()
    broken[2, 1, 0, 3], broken[6, 0, 2, 2] = np.nan, np.inf
    sheets = [make_sheet(weight, view=view, scale=(-2.0, 2.0)) for weight in (clean, broken)]
    before, after = (make_mosaic(sheet).rgb.copy() for sheet in sheets)
    values, (down, across), pad = sheets[1].tiles.values, sheets[1].grid.zoom, sheets[1].grid.pad
    bad = ~(np.isfinite(values).all(axis=-1) if view == "rgb" else np.isfinite(values))
    assert bad.sum() == 2
    dark, light = colour.INKS[colour.CHEQUER_DARK], colour.INKS[colour.CHEQUER_LIGHT]
    for tile, top, left, bottom, right in boxes(sheets[1]):
        if tile < 0 or not bad[tile].any():
            continue
        where = bad[tile].repeat(down, axis=0).repeat(across, axis=1)
        assert {tuple(map(int, pixel)) for pixel in after[top:bottom, left:right][where]} == {dark, light}
        frame = after[top - pad : bottom + pad, left - pad : right + pad].copy()
        frame[pad:-pad, pad:-pad] = 0
        assert not frame.any()
        for picture in (before, after):
            picture[top:bottom, left:right][where] = 0
            inside = picture[top:bottom, left:right].copy()
            picture[top - pad : bottom + pad, left - pad : right + pad] = 0
            picture[top:bottom, left:right] = inside
    assert np.array_equal(before, after)


def test_broken_values_of_a_heat_map_are_chequered():
    """In a heat map a broken weight is a chequered block, and every other block is its level."""
    weight = np.random.default_rng(0).standard_normal((6, 9, 1, 1))
    weight[4, 7] = np.nan
    sheet = make_sheet(weight)
    found, _ = decode(sheet, make_mosaic(sheet).pixels)
    finite = np.isfinite(weight[:, :, 0, 0])
    expected = np.floor(100.5 + 100 * weight[:, :, 0, 0] / np.nanmax(np.abs(weight)))
    assert np.array_equal(found[0][finite], expected[finite])
    assert found[0][4, 7] in (colour.CHEQUER_DARK, colour.CHEQUER_LIGHT)


def test_a_mosaic_carries_its_palette_and_recipe():
    """The palette is that of the sheet's colour map, the recipe the sheet's own; an rgb mosaic has no palette."""
    weight = np.random.default_rng(0).standard_normal((4, 3, 3, 3))
    sheet = make_sheet(weight, view="sum", cmap="viridis")
    mosaic = make_mosaic(sheet)
    assert np.array_equal(mosaic.palette, colour.palette("viridis", signed=True))
    assert mosaic.recipe is sheet.recipe
    assert np.array_equal(mosaic.rgb, mosaic.palette[mosaic.pixels])
    assert make_mosaic(make_sheet(weight, view="rgb")).palette is None

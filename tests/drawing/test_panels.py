import numpy as np
import pytest

from kernelviz.drawing import colour
from kernelviz.drawing.mosaic import make_mosaic
from kernelviz.drawing.page import Raster, Text
from kernelviz.drawing.sheet_page import bar_panel, mosaic_page, tiles_panel
from kernelviz.drawing.sheets import make_sheet


def panel_of(sheet):
    """The tiles of a sheet with their numbers, at full size."""
    return tiles_panel(sheet, make_mosaic(sheet), 1.0)


def texts_of(panel):
    """The texts of a panel."""
    return [item for item in panel.items if isinstance(item, Text)]


def mosaic_of(panel):
    """The largest raster of a panel."""
    return max((item for item in panel.items if isinstance(item, Raster)), key=lambda item: item.pixels.size)


@pytest.mark.parametrize(
    ("shape", "choice"),
    [
        ((40, 4, 3, 3), {"top": 20}),
        ((40, 4, 3, 3), {"top": 40, "view": "channels"}),
        ((40, 4, 3, 3), {"top": 33, "view": "channels", "zoom": 1}),
        ((40, 4, 3, 3), {"channels": "30,2,9-20", "view": "channels", "zoom": 2}),
        ((512, 4, 3, 3), {"top": 100, "view": "channels"}),
        ((40, 2, 3, 3, 3), {"top": 7}),
    ],
    ids=str,
)
def test_the_number_above_a_tile_is_its_kernel_s(shape, choice):
    """Numbers above chosen kernels are over the tiles of those kernels, however many are left out."""
    sheet = make_sheet(np.random.default_rng(0).standard_normal(shape), **choice)
    panel, grid = panel_of(sheet), sheet.grid
    left, top = mosaic_of(panel).left, mosaic_of(panel).top
    half = grid.tile[1] * grid.zoom[1] / 2
    centred = [text for text in texts_of(panel) if text.align == "center"]
    numbers = [text for text in centred if text.text.isdigit()]
    assert numbers
    names = [text for text in centred if text not in numbers]
    assert [text.text for text in names] == (
        [sheet.tiles.rows.name] if sheet.tiles.rows and "zoom" not in choice else []
    )
    assert all(text.upright and text.x < left for text in names)
    for text in numbers:
        column = int(np.argmin(np.abs(grid.lefts + half - (text.x - left))))
        row = int(np.argmax(grid.tops > text.y - top))
        tile = int(grid.arrangement[row, column])
        kernel = sheet.tiles.numbers[tile % len(sheet.tiles.numbers)]
        assert text.text == str(kernel)
        assert text.x == left + grid.lefts[column] + half


def test_rows_start_with_a_kernel_s_number_and_columns_add_to_it():
    """Row and column numbers of a regular grid add up to the number of the kernel there."""
    panel = panel_of(make_sheet(np.random.default_rng(0).standard_normal((64, 4, 3, 3)), channels="32-63"))
    words = [text.text for text in texts_of(panel)]
    assert [word for word in words if word.startswith("+")] == [f"+{i}" for i in range(8)]
    assert [word for word in words if not word.startswith("+")] == ["32", "40", "48", "56"]


def test_many_columns_number_their_groups():
    """More than 16 columns carry a number at every eighth."""
    panel = panel_of(make_sheet(np.random.default_rng(0).standard_normal((512, 4, 3, 3))))
    assert [text.text for text in texts_of(panel) if text.text.startswith("+")] == ["+0", "+8", "+16", "+24"]


@pytest.mark.parametrize(
    ("choice", "ends"),
    [
        ({}, "−2.00 0 +2.00"),
        ({"scale": "tile"}, "−max 0 +max"),
        ({"view": "norm"}, "0 2.00"),
        ({"view": "norm", "scale": "tile"}, "0 max"),
        ({"scale": (-1.0, 1.0)}, "≤−1.00 0 ≥+1.00"),
        ({"scale": (-9.0, 1.0)}, "−9.00 ≥+1.00"),
    ],
    ids=str,
)
def test_a_bar_shows_its_ends(choice, ends):
    """The ends of a bar are those of the scale, with ≤ and ≥ if values were clipped, and −max and +max if tiles differ."""
    sheet = make_sheet(np.array([-1.5, 2.0]).reshape(2, 1, 1, 1), **({"view": "sum"} | choice))
    words = [text.text for text in texts_of(bar_panel(sheet, 1.0))]
    assert {word.replace(" ", "") for word in words[1:]} == set(ends.split())
    assert words[0] == ("one scale per tile" if choice.get("scale") == "tile" else sheet.tiles.quantity)


@pytest.mark.parametrize("scale", [None, (-2.0, 1.0), (-1e308, 1e308)], ids=str)
def test_a_bar_shows_the_colours_of_its_tiles(scale):
    """A bar shows the colours that values between its ends have in a tile."""
    sheet = make_sheet(np.array([-1.5, 2.0]).reshape(2, 1, 1, 1), view="sum", scale=scale)
    bar = mosaic_of(bar_panel(sheet, 1.0)).pixels[0]
    low, high = sheet.scale.low, sheet.scale.high
    share = np.arange(len(bar)) / (len(bar) - 1)
    values = low * (1 - share) + high * share
    drawn = colour.levels(values[None, None], sheet.scale)[0, 0].astype(int)
    near = np.stack([colour.ramp(None, signed=True)[np.clip(drawn + step, 0, 200)] for step in (-1, 0, 1)])
    assert (near == bar).all(axis=-1).any(axis=0).all()


def test_a_mosaic_stands_on_whole_pixels():
    """A page lays its mosaic on whole pixels, at its own size."""
    for shape in ((1, 3, 5, 5), (40, 3, 3, 3), (40, 12, 1, 1), (2048, 2, 3, 3)):
        sheet = make_sheet(np.random.default_rng(0).standard_normal(shape))
        mosaic = make_mosaic(sheet)
        raster = mosaic_of(mosaic_page(sheet, mosaic))
        assert (raster.left, raster.top) == (int(raster.left), int(raster.top))
        assert (raster.height, raster.width) == mosaic.pixels.shape[:2]

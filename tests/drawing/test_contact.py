"""Contact sheets: their rows and channels, their scale, and irregularities."""

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from kernelviz.drawing.colour import INKS, NOT_FINITE, Scale, pixels_in
from kernelviz.drawing.contact import ContactSheet, painted, plot_contact
from kernelviz.drawing.figures import RasterArtist
from kernelviz.drawing.looks import LOOKS
from kernelviz.drawing.mosaic import make_mosaic
from kernelviz.drawing.sheets import make_sheet
from kernelviz.errors import UsageError
from kernelviz.records import FeatureMaps


def rows(new_maps, count, shape=(8, 6, 6), change=None):
    """Maps of several images; ``change`` may spoil those of one, by its number."""
    result = []
    for number in range(count):
        values = np.random.default_rng(number).normal(size=shape).astype(np.float32)
        if change:
            change(number, values)
        result.append(new_maps(values=values, image=f"photo {number}.jpg"))
    return result


def spoil(number, values):
    """In the second image a NaN row in map 0 and infinity everywhere in map 3."""
    if number == 1:
        values[0, 2] = np.nan
        values[3] = np.inf


def words_of(figure):
    """All texts on a page."""
    return " ".join(text.get_text() for text in figure.findobj(Text))


def rgba(figure):
    """The page's pixels."""
    FigureCanvasAgg(figure).draw()
    return np.asarray(figure.canvas.buffer_rgba())[..., :3]


def tile_of(figure, row, channel, channels=8):
    """One map's pixels and its box: every row has the image in front of its maps."""
    raster = figure.findobj(RasterArtist)[row * (channels + 1) + 1 + channel]
    return raster.pixels, raster.get_window_extent()


def test_what_is_not_finite_is_chequered_framed_and_counted(new_maps):
    """Such values are no colour of the scale; the others of the same map keep theirs; caption and recipe count them."""
    figure = plot_contact(rows(new_maps, 3, change=spoil), range(8))
    clean = plot_contact(rows(new_maps, 3), range(8))
    pixels, box = tile_of(figure, 1, 0)
    tile = len(pixels)
    here, there = pixels[2 * tile // 6 : 3 * tile // 6], pixels[3 * tile // 6 + 1 :]
    ink = {INKS[name] for name in (205, 206)}
    assert {tuple(each) for each in here.reshape(-1, 3)[tile : -2 * tile].tolist()} == ink
    assert not {tuple(each) for each in there.reshape(-1, 3).tolist()} & ink
    whole, _ = tile_of(figure, 1, 3)
    assert {tuple(each) for each in whole.reshape(-1, 3).tolist()} == ink
    page = rgba(figure)
    above = int(figure.bbox.height - box.y1) - 2
    assert (page[above, int(box.x0) : int(box.x1)] == INKS[NOT_FINITE]).all()
    assert not (rgba(clean)[above, int(box.x0) : int(box.x1)] == INKS[NOT_FINITE]).any()
    assert (figure.recipe["nonfinite"], clean.recipe["nonfinite"]) == (42, 0)
    assert "42 values are not finite (chequered), in 2 maps with a black frame" in words_of(figure)
    assert "finite" not in words_of(clean)


def test_one_broken_value_is_seen_in_a_small_tile():
    """Where a tile has fewer pixels than the map has values, the pixel of a broken value is still chequered."""
    values = np.zeros((200, 200))
    values[101, 57] = np.nan
    tile = painted(values, Scale("layer", 0.0, 1.0, signed=False), (64, 64), dead=False, zero=False)
    assert [tuple(place) for place in np.argwhere(np.isin(tile.index, [205, 206]))] == [(32, 18)]


def test_tiles_are_coloured_and_marked_as_in_a_mosaic():
    """Dead, as good as zero, broken and usual maps: the pixels are those of a mosaic on the same scale."""
    values = np.random.default_rng(0).normal(size=(5, 4, 4)).astype(np.float32)
    values[1], values[2] = 0.5, values[2] * 1e-4
    values[3, 1, 1] = -np.inf
    sheet = make_sheet(FeatureMaps(values), scale="layer", style="bare", zoom=12, columns=5)
    mosaic, top = make_mosaic(sheet).rgb, int(sheet.grid.tops[0])
    for number, left in enumerate(map(int, sheet.grid.lefts)):
        marks = {"dead": number in sheet.marks.dead, "zero": number in sheet.marks.zero}
        tile = pixels_in(LOOKS["page"], painted(values[number], sheet.scale, (48, 48), **marks))
        theirs = mosaic[top : top + 48, left : left + 48]
        odd = np.isin(theirs.reshape(-1, 3), [INKS[205], INKS[206]]).all(axis=1).reshape(48, 48)
        np.testing.assert_array_equal(tile[~odd], theirs[~odd])
        assert odd.sum() == (144 if number == 3 else 0)
    assert (sheet.marks.dead, sheet.marks.zero) == ((1,), (2,))


def test_dead_and_faint_maps_are_counted(new_maps):
    """Dead maps are grey, those as good as zero struck through, and both are counted in the caption."""

    def change(number, values):
        if number == 1:
            values[1], values[2] = 0.0, 0.7
            values[4] *= 1e-4

    figure = plot_contact(rows(new_maps, 2, change=change), range(8))
    text = words_of(figure)
    assert "2 of 16 maps are dead (the same value everywhere), grey" in text
    assert "1 of 16 maps is as good as zero, struck through" in text
    assert list(figure.recipe["notes"]) == [line for line in figure.recipe["notes"] if line in text]


def test_the_scale_is_that_of_the_rows_that_are_drawn(new_maps):
    """An image that is left out does not affect the limits; its values that are not finite are still reported."""

    def change(number, values):
        if number == 90:
            values *= 50
            values[0, 0, 0] = np.nan

    maps = rows(new_maps, 100, change=change)
    sheet = ContactSheet(range(4))
    for each in maps:
        sheet.add(each)
    figure = plot_contact(sheet)
    shown = figure.recipe["shown"]
    assert shown < 90
    drawn = [each.values[list(sheet.channels)] for each in maps[:shown]]
    assert figure.recipe["limits"][1] == pytest.approx(max(np.abs(each).max() for each in drawn))
    assert figure.recipe["nonfinite"] == 1
    assert "1 value is not finite in images that are not shown" in words_of(figure)
    assert figure.recipe["notes"][0].startswith(f"The first {shown} of 100 images")


@pytest.mark.parametrize("channels", [1, 2, 8, 16])
def test_a_page_of_many_images_is_no_strip(new_maps, channels):
    """However many images there are, the page is at most 1.75 times as high as wide, with ten rows or more."""
    figure = plot_contact(rows(new_maps, 100, (16, 5, 5)), range(channels))
    assert figure.bbox.height <= 1.75 * figure.bbox.width
    assert figure.recipe["shown"] >= 10


@pytest.mark.parametrize(("count", "channels"), [(1, 1), (5, 1), (11, 2), (60, 3), (200, 2), (7, 8)])
def test_rows_of_few_channels_stand_side_by_side(new_maps, count, channels):
    """The order of the rows is down the first block, then the next; blocks differ by a row, and none is lost."""
    maps = rows(new_maps, count, (8, 4, 4))
    for number, each in enumerate(maps):
        each.values[:] = number + 1
        each.values[:, 0, 0] = 0
    figure = plot_contact(maps, range(channels))
    shown = figure.recipe["shown"]
    rasters = figure.findobj(RasterArtist)[: shown * (channels + 1)][1 :: channels + 1]
    boxes = [raster.get_window_extent() for raster in rasters]
    places = [(box.x0, -box.y1) for box in boxes]
    assert places == sorted(places)
    blocks = [sum(box.x0 == x for box in boxes) for x in sorted({box.x0 for box in boxes})]
    assert sum(blocks) == shown == (count if count < 60 else shown)
    assert max(blocks) - blocks[-1] <= len(blocks)
    assert shown > 30 or count < 60
    assert (len(blocks) > 1) == (count > 6 and channels < 8)
    light = [int(raster.pixels[-1, -1].astype(int).sum()) for raster in rasters]
    assert light == sorted(light, reverse=True)  # red grows darker with the number of the image


def test_channels_are_checked(new_maps):
    """Numbers and texts like ``0-3`` name them; none, negative, unknown or too many are wrong usage."""
    maps = rows(new_maps, 2, (20, 3, 3))
    assert plot_contact(maps, "0-3,7").recipe["channels"] == [0, 1, 2, 3, 7]
    assert plot_contact(maps, [4, 1]).recipe["channels"] == [4, 1]
    for channels, message in (([], "numbers like"), ([-1], "numbers like"), ("x", "numbers like"), ([20], "0 to 19"),
                              (range(17), "at most 16")):  # fmt: skip
        with pytest.raises(UsageError, match=message):
            plot_contact(maps, channels)
    for count, message in ((0, "at least 1"), (17, "at most 16")):
        with pytest.raises(UsageError, match=message):
            ContactSheet(count=count)
    with pytest.raises(UsageError, match="had 20 channels"):
        plot_contact([*maps, new_maps((8, 3, 3))])
    with pytest.raises(UsageError, match="no image"):
        plot_contact([])

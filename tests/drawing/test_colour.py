import matplotlib as mpl
import numpy as np
import pytest

from kernelviz import plot_features, plot_kernels, plot_overview
from kernelviz.drawing import colour
from kernelviz.drawing.colour import (
    WHITE_RED,
    ZERO_LEVEL,
    Scale,
    levels,
    make_scale,
    palette,
    ramp,
    rgb_pixels,
    tile_limits,
)
from kernelviz.drawing.figures import figure_pixels
from kernelviz.drawing.mosaic import make_mosaic
from kernelviz.drawing.sheets import make_sheet
from kernelviz.errors import UsageError
from kernelviz.records import VIEWS, as_bank, as_maps
from kernelviz.views.kernel_views import kernel_tiles

SIGNED = Scale("layer", -4.0, 4.0, signed=True)


def tiles_of(weight, view="sum"):
    """The tiles of a plain weight."""
    return kernel_tiles(as_bank(np.asarray(weight)), view=view)


def test_zero_is_level_100_exactly():
    """Zero of either sign takes the middle level under every signed scale."""
    zeros = np.array([[[0.0, -0.0]]])
    for limit in (1e-300, 0.3, 4.0, 1e300):
        assert np.array_equal(levels(zeros, Scale("layer", -limit, limit, signed=True)), [[[100, 100]]])


def test_a_level_is_one_hundredth_of_the_limit():
    """Every whole percent of the limit takes its own level, and the ends are levels 0 and 200."""
    percents = np.arange(-100, 101)
    assert np.array_equal(levels(4.0 * percents[None, None] / 100, SIGNED)[0, 0], percents + 100)


def test_levels_of_what_is_not_negative_start_at_the_lower_end():
    """Unsigned values take levels 0 to 200 in two hundred even steps."""
    scale = Scale("layer", 0.0, 5.0, signed=False)
    assert np.array_equal(levels(5.0 * np.arange(201)[None, None] / 200, scale)[0, 0], np.arange(201))
    assert np.array_equal(
        levels(np.array([[[2.0, 3.0, 4.0]]]), Scale("range", 2.0, 4.0, signed=False)), [[[0, 100, 200]]]
    )


def test_rgb_is_grey_at_zero_and_full_at_the_limit():
    """A weight w is the colour 127.5 + 127.5 · w / limit, rounded."""
    values = np.linspace(-4, 4, 999).reshape(1, 333, 1, 3)
    assert np.array_equal(rgb_pixels(values, SIGNED), np.rint(127.5 + 127.5 * values / 4).astype(np.uint8))
    assert rgb_pixels(np.array([[[[-4.0, 0.0, 4.0]]]]), SIGNED).ravel().tolist() == [0, 128, 255]


def test_the_default_palette_is_matplotlib_s_own():
    """The 201 colours of signed values differ from a fresh RdBu_r by at most one step of 255."""
    theirs = mpl.colormaps["RdBu_r"].resampled(201)(np.arange(201))[:, :3] * 255
    assert np.abs(ramp(None, signed=True) - theirs).max() <= 1


@pytest.mark.parametrize("name", ["viridis", "RdBu_r", "gray", "tab10"])
def test_any_colour_map_of_matplotlib_is_accepted(name):
    """A named colour map is used for signed and for unsigned values."""
    theirs = np.rint(mpl.colormaps[name].resampled(201)(np.arange(201))[:, :3] * 255)
    assert np.array_equal(ramp(name, signed=True), theirs)
    assert np.array_equal(ramp(name, signed=False), theirs)


def test_what_is_not_negative_is_drawn_in_magma():
    """Without a choice, unsigned values take a sequential map."""
    assert np.array_equal(ramp(None, signed=False), ramp("magma", signed=False))


def test_an_unknown_colour_map_lists_the_nearest_names():
    """A misspelt name is rejected with the nearest names; any other with examples."""
    with pytest.raises(UsageError, match="'virids'") as caught:
        ramp("virids", signed=True)
    assert "viridis" in caught.value.hint
    with pytest.raises(UsageError, match="'@'") as caught:
        make_sheet(np.ones((1, 1, 1, 1)), cmap="@")
    assert "RdBu_r" in caught.value.hint


def test_a_palette_holds_levels_and_inks_in_a_byte():
    """Levels, paper, outline and marks have each their own index below 256, and paper is white."""
    table = palette(None, signed=True)
    assert table.shape == (colour.LEVELS + len(colour.INKS), 3)
    assert len(table) <= 256
    assert table[colour.PAPER].tolist() == [255, 255, 255]
    assert table[colour.OUTLINE].tolist() == [0xC4] * 3
    assert np.array_equal(table[:201], ramp(None, signed=True))


def test_a_layer_s_scale_is_symmetric_about_zero():
    """Signed values take one limit, the size of the largest finite one; unsigned ones a range from zero."""
    weight = np.array([[[[-3.0, 1.0, np.nan]]], [[[2.0, np.inf, 0.0]]]])
    assert make_scale(tiles_of(weight)) == Scale("layer", -3.0, 3.0, signed=True, floor=0.015)
    assert make_scale(tiles_of(weight, "norm")) == Scale("layer", 0.0, 3.0, signed=False, floor=0.015)


def test_a_chosen_tile_keeps_the_scale_of_its_layer():
    """The scale layer is that of all kernels, drawn or not."""
    tiles = kernel_tiles(as_bank(np.array([1.0, -9.0, 2.0]).reshape(3, 1, 1, 1)), view="sum", channels="0")
    assert make_scale(tiles).limit == 9


def test_tiles_of_their_own_scale_reach_both_full_colours():
    """With the scale tile each tile's largest weight takes full colour, and a tile as good as zero is not blown up."""
    weight = np.array([[1.0, -2.0], [-0.5, 0.25], [1e-9, -1e-9], [np.nan, 0.5]]).reshape(4, 1, 1, 2)
    tiles = tiles_of(weight)
    scale = make_scale(tiles, "tile")
    assert tile_limits(tiles.values, scale).ravel().tolist() == [2.0, 0.5, 2.0, 0.5]
    assert levels(tiles.values, scale).reshape(4, 2).tolist() == [[150, 0], [0, 150], [100, 100], [100, 200]]


def test_rgb_has_its_own_scale_a_tile_and_other_views_that_of_the_layer():
    """Without a choice, rgb is scaled tile by tile and every other view by the layer."""
    weight = np.random.default_rng(0).standard_normal((4, 3, 2, 2))
    kinds = {
        view: make_scale(tiles_of(weight, view)).kind
        for view in ("rgb", "sum", "norm", "spectrum", "channels", "matrix")
    }
    assert kinds == {
        "rgb": "tile",
        "sum": "layer",
        "norm": "layer",
        "spectrum": "layer",
        "channels": "layer",
        "matrix": "layer",
    }


def test_a_range_counts_what_it_clips():
    """Finite values outside a requested range take the end colours and are counted on each side."""
    weight = np.array([-3.0, -1.0, -0.5, 1.0, 1.5, 2.0, np.nan, np.inf]).reshape(1, 1, 1, 8)
    scale = make_scale(tiles_of(weight), (-1.0, 1.0))
    assert scale == Scale("range", -1.0, 1.0, signed=True, below=1, above=2)
    assert levels(weight[:, 0], scale).ravel().tolist() == [0, 0, 50, 200, 200, 200, 100, 100]


def test_zero_stays_white_in_a_lopsided_range():
    """A range that is not symmetric keeps zero at its level and a level at 1 % of the larger end."""
    assert levels(np.array([[[-1.0, 0.0, 1.0, 2.0]]]), Scale("range", -1.0, 2.0, signed=True)).ravel().tolist() == [
        50, 100, 150, 200,
    ]  # fmt: skip


@pytest.mark.parametrize("choice", [(1.0, 1.0), (2.0, 1.0), (np.nan, 1.0), (0.0, np.inf), "global"], ids=str)
def test_what_is_no_scale_is_refused(choice):
    """Equal, reversed or infinite ends, and other strings, are rejected with what was given."""
    with pytest.raises(UsageError, match=r"The scale .* but got"):
        make_scale(tiles_of(np.ones((1, 1, 1, 1))), choice)


@pytest.mark.parametrize(("rgb", "dark"), [((0, 0, 0), False), ((255, 255, 255), True), ((128, 128, 128), False)])
def test_a_mark_is_seen_on_its_ground(rgb, dark):
    """Marks are dark on light colours and light on dark ones."""
    assert colour.mark_on(np.array(rgb)) == (colour.DARK_MARK if dark else colour.LIGHT_MARK)


def changed(weight, **values):
    """A copy of a weight with some values of one kernel replaced."""
    weight = weight.copy()
    weight[2].flat[: len(values)] = list(values.values())
    return weight


AWKWARD = {
    "one NaN": lambda weight: changed(weight, a=np.nan),
    "infinities": lambda weight: changed(weight, a=np.inf, b=-np.inf),
    "far apart": lambda weight: changed(weight, a=1e-300, b=-1e300),
    "zero": lambda weight: weight * 0,
    "equal": lambda weight: np.full_like(weight, 0.3),
    "NaN": lambda weight: weight * np.nan,
    "infinite": lambda weight: weight * np.inf,
    "1e308": lambda weight: np.sign(weight) * 1e308,
    "denormal": lambda weight: np.sign(weight) * 5e-324,
    "half": lambda weight: weight.astype(np.float16),
    "largest half": lambda weight: np.sign(weight).astype(np.float16) * np.float16(65504),
    "largest float": lambda weight: (np.sign(weight) * 3.4e38).astype(np.float32),
    "denormal float": lambda weight: (weight * 1e-44).astype(np.float32),
}


@pytest.mark.parametrize("kind", AWKWARD)
@pytest.mark.parametrize("scale", [None, "tile", "layer", (-1.0, 1.0), (-1e308, 1e308), (5e-324, 1e-323)], ids=str)
def test_awkward_values_become_colours_without_a_warning(kind, scale):
    """Whatever the values, a mosaic comes out, and every finite value in it is a level of its sign."""
    weight = AWKWARD[kind](np.random.default_rng(0).standard_normal((8, 3, 2, 2)))
    for view in ("sum", "norm", "rgb", "channels", "matrix"):
        sheet = make_sheet(weight, view=view, scale=scale)
        mosaic = make_mosaic(sheet)
        assert mosaic.pixels.shape[:2] == (sheet.grid.height, sheet.grid.width)
        if sheet.tiles.signed and view != "rgb":
            values = sheet.tiles.values.astype(np.float64)
            drawn, finite = levels(values, sheet.scale), np.isfinite(values)
            clipped = np.clip(values, *scale) if isinstance(scale, tuple) else values
            assert (drawn[finite & (clipped >= 0)] >= 100).all()
            assert (drawn[finite & (clipped <= 0)] <= 100).all()
            assert (drawn[~finite] == 100).all() or isinstance(scale, tuple)


def test_a_colour_map_is_obeyed_or_refused():
    """No function takes a colour map and draws in other colours: what is drawn as red, green and blue refuses one."""
    weight, maps = np.random.default_rng(0).standard_normal((4, 3, 3, 3)), np.random.default_rng(0).random((5, 6, 6))
    for draw in (plot_kernels, make_sheet):
        for choice, words in (({}, "default view"), ({"view": "rgb"}, "view rgb takes no")):
            with pytest.raises(UsageError, match=words) as caught:
                draw(weight, cmap="PuOr", **choice)
            assert "sum, norm, channels, matrix and spectrum" in caught.value.what
            assert "view sum" in caught.value.hint
        for view in set(VIEWS) - {"auto", "rgb"}:
            draw(weight, view=view, cmap="PuOr")
    with pytest.raises(UsageError, match="pca takes no cmap; mean, max and norm"):
        plot_features(maps, reduce="pca", cmap="PuOr")
    plain, coloured = (figure_pixels(plot_overview([as_maps(maps)], cmap=cmap)) for cmap in (None, "viridis"))
    assert not np.array_equal(plain, coloured)


def test_maps_have_the_same_colours_before_and_after_a_relu():
    """A value is drawn in one colour, whether its map has negative values or lost them, on one scale."""
    before = np.linspace(-1, 1, 21).reshape(1, 3, 7)
    after = np.maximum(before, 0)
    signed, cut = (make_mosaic(make_sheet(as_maps(values))).rgb for values in (before, after))
    same = before[0] >= 0
    for row, column in np.argwhere(same):
        zoom = signed.shape[1] // 7
        at = row * zoom + zoom // 2, column * zoom + zoom // 2
        assert np.abs(signed[at].astype(int) - cut[at]).max() <= 8, (row, column)
    assert np.array_equal(ramp(WHITE_RED, signed=False)[0], ramp(None, signed=True)[ZERO_LEVEL])
    assert np.array_equal(ramp(WHITE_RED, signed=False)[-1], ramp(None, signed=True)[-1])

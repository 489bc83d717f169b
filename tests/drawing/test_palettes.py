"""Colours keep their message for four kinds of colour vision: normal, protanopic, deuteranopic and tritanopic."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from eyes import EYES, TO_XYZ, apart, for_every_eye, lab, linear, seen

from kernelviz import make_mosaic, make_sheet, plot_features, plot_kernels, plot_overlay
from kernelviz.drawing import colour, growth
from kernelviz.drawing.captions import count_text
from kernelviz.drawing.figures import RasterArtist
from kernelviz.drawing.looks import LOOKS
from kernelviz.drawing.overlay import blended
from kernelviz.errors import UsageError
from kernelviz.filters.match_pages import plot_matches
from kernelviz.filters.matching import match_kernels
from kernelviz.records import as_bank, as_maps
from kernelviz.views.components import FULL
from kernelviz.views.kernel_views import OPPONENTS, opponent_planes, rgb_weights

GREYS = np.arange(256)[:, None].repeat(3, axis=1)
STRENGTHS = np.linspace(-1, 1, 201)
RED_BLUE, WHITE_RED = colour.ramp(None, signed=True), colour.ramp(colour.WHITE_RED, signed=False)
MAGMA = colour.ramp(None, signed=False)
TINTS = colour.palette_in(LOOKS["page"], colour.TintRamp(pale=True))[: colour.LEVELS]
LIGHT_DARK = colour.component_pixels(STRENGTHS, 0 * STRENGTHS)
ORANGE_BLUE = colour.component_pixels(0 * STRENGTHS, STRENGTHS)


def rgb(role):
    """The numbers of the colour that a role has on a page."""
    text = LOOKS["page"].roles[role]
    return [int(text[at : at + 2], 16) for at in (1, 3, 5)]


@pytest.mark.parametrize("eye", EYES)
def test_the_simulation_leaves_greys_as_they_are(eye):
    """White stays white and every grey a grey of its lightness: the matrices are applied to linear RGB."""
    assert np.abs(seen(GREYS, eye) - linear(GREYS)).max() < 1e-5
    assert np.allclose(lab(seen([255, 255, 255], eye)), [100, 0, 0], atol=0.01)


def test_the_distances_are_those_of_cie_1976():
    """Red, green and blue of sRGB have the coordinates of the literature (D65)."""
    known = [[53.24, 80.09, 67.20], [87.74, -86.18, 83.18], [32.30, 79.19, -107.86]]
    assert np.allclose(lab(linear(255 * np.eye(3))), known, atol=0.06)
    assert np.allclose(TO_XYZ.sum(axis=1), [0.9505, 1, 1.089], atol=1e-4)


ENDS = {
    "red–blue": (RED_BLUE[0], RED_BLUE[-1], [58, 35, 53, 69]),
    "rgb, red": ([0, 128, 128], [255, 128, 128], [85, 21, 47, 93]),
    "rgb, green": ([128, 0, 128], [128, 255, 128], [159, 124, 96, 106]),
    "rgb, blue": ([128, 128, 0], [128, 128, 255], [129, 119, 119, 37]),
    "light–dark": (LIGHT_DARK[0], LIGHT_DARK[-1], [68, 68, 68, 68]),
    "orange–blue": (ORANGE_BLUE[0], ORANGE_BLUE[-1], [86, 74, 85, 76]),
}


@pytest.mark.parametrize("kind", ENDS)
def test_the_ends_of_a_range_are_as_far_apart_as_published(kind):
    """The distances ΔE for the four eyes that the palettes were chosen by."""
    one, other, expected = ENDS[kind]
    assert np.allclose(for_every_eye(one, other), expected, atol=1)


RANGES = {
    "red–blue": (RED_BLUE[0], RED_BLUE[-1], 35),
    "zero to red": (RED_BLUE[100], RED_BLUE[-1], 75),
    "zero to blue": (RED_BLUE[100], RED_BLUE[0], 75),
    "white to red": (WHITE_RED[0], WHITE_RED[-1], 75),
    "magma": (MAGMA[0], MAGMA[-1], 95),
    "tints of numbers": (TINTS[0], TINTS[-1], 40),
    "zero to a red tint": (TINTS[100], TINTS[-1], 38),
    "zero to a blue tint": (TINTS[100], TINTS[0], 25),
    "light–dark": (LIGHT_DARK[0], LIGHT_DARK[-1], 67),
    "orange–blue": (ORANGE_BLUE[0], ORANGE_BLUE[-1], 73),
    "bars of a sum": (rgb("positive"), rgb("negative"), 55),
    "a class and its track": (rgb("bar"), rgb("track"), 50),
    "the badge and its word": (rgb("badge"), rgb("badge ink"), 75),
}


@pytest.mark.parametrize("kind", RANGES)
def test_the_ends_of_every_range_stay_apart(kind):
    """Each eye tells the ends of a range apart by a least distance; that of the standard rgb is 21."""
    one, other, least = RANGES[kind]
    assert min(for_every_eye(one, other)) >= least


KEYS = {
    "growth": ([*map(rgb, growth.BARS.values()), [255, 255, 255]], 25),
    "counts of match": ([rgb("named"), [255, 255, 255], rgb("undrawn")], 22),
}


@pytest.mark.parametrize("kind", KEYS)
def test_the_colours_of_every_key_stay_apart(kind):
    """Each eye tells all colours of a key from each other and from the paper, neighbours or not."""
    colours, least = KEYS[kind]
    for one, other in combinations(colours, 2):
        assert min(for_every_eye(one, other)) >= least, (one, other)


ONE_WAY = {
    "zero to red": RED_BLUE[100:], "zero to blue": RED_BLUE[100::-1], "white to red": WHITE_RED, "magma": MAGMA,
    "light–dark": LIGHT_DARK,
}  # fmt: skip


@pytest.mark.parametrize("eye", EYES)
def test_strength_is_visible_along_every_range(eye):
    """Lightness changes in one direction along every range; along orange–blue the distance to an end grows."""
    for kind, ramp in ONE_WAY.items():
        light = lab(seen(ramp, eye))[..., 0]
        steps = np.diff(light) * np.sign(light[-1] - light[0])
        assert steps.min() > -0.5, kind  # equal 8-bit colours, and their rounding
        assert (np.diff(light[:: len(ramp) // 8]) * np.sign(light[-1] - light[0]) > 1).all(), kind
    colours = lab(seen(ORANGE_BLUE, eye))
    assert (np.diff(np.linalg.norm(colours - colours[0], axis=1)[::25]) > 1).all()


@pytest.mark.parametrize("eye", EYES)
@pytest.mark.parametrize("look", ["page", "dark"])
def test_an_overlay_stands_out_from_every_grey(eye, look):
    """Over dark, middle and light greys half of the strength is at least 25 from the photograph, all of it 35.

    Red over grey is 4 and 13 for protanopes. The two signs are at least 95 apart.
    """
    seen_greys = np.repeat(np.arange(0, 256, 5, dtype=np.uint8)[None, :, None], 3, axis=2)
    scale = colour.Scale("layer", -1, 1, signed=True)
    over = {
        share: colour.pixels_in(LOOKS[look], blended(seen_greys, np.full((1, 1), share), scale, palette="safe"))[0]
        for share in (-1, -0.5, 0, 0.5, 1)
    }
    for share, least in ((-1, 35), (-0.5, 25), (0.5, 25), (1, 35)):
        assert apart(over[0], over[share], eye).min() >= least, share
    assert apart(over[-1], over[1], eye).min() >= 95


def test_components_keep_their_lightness_and_hue():
    """The first component is lightness whatever the second is, within 5 of L*; grey without the second."""
    first, second = np.meshgrid(STRENGTHS, STRENGTHS)
    light = lab(linear(colour.component_pixels(first, second)))[..., 0]
    assert np.abs(light - (58 + 34 * first)).max() < 5
    assert (np.diff(light, axis=1) > -0.5).all()
    assert (np.ptp(LIGHT_DARK.astype(int), axis=-1) <= 1).all()
    assert np.array_equal(colour.component_pixels(np.array(42 / 34), np.array(0.0)), [255, 255, 255])


def test_planes_hold_what_the_kernel_holds():
    """Squares of L, Y−B and R−G add up to the kernel's, the planes are orthonormal, and the weights come back."""
    weights = np.random.default_rng(0).standard_normal((5, 3, 4, 3))
    planes = opponent_planes(weights)
    assert np.allclose((planes**2).sum(axis=-1), (weights**2).sum(axis=-1))
    basis = opponent_planes(np.eye(3))
    assert np.allclose(basis.T @ basis, np.eye(3))
    assert np.allclose(rgb_weights(planes), weights, atol=1e-15)
    assert np.allclose(opponent_planes(np.ones(3)), [3**0.5, 0, 0])
    assert np.allclose(opponent_planes(np.array([1.0, 1, -2])), [0, 6**0.5, 0])


def stem(count=12, size=3):
    """Weights of three input channels."""
    return np.random.default_rng(1).standard_normal((count, 3, size, size)).astype(np.float32)


def pictures_of(sheet):
    """The pixel of each value in each picture: {(picture, kernel): (h, w, 3)}."""
    grid, rgb_of_page = sheet.grid, make_mosaic(sheet).rgb
    found = {}
    for (row, column), cell in np.ndenumerate(grid.arrangement):
        if cell >= 0:
            picture, kernel = divmod(int(cell), len(sheet.tiles.values))
            top, left = grid.tops[row] + grid.zoom[0] // 2, grid.lefts[column] + grid.zoom[1] // 2
            down, across = grid.tile[0] * grid.zoom[0], grid.tile[1] * grid.zoom[1]
            tile = rgb_of_page[top : top + down : grid.zoom[0], left : left + across : grid.zoom[1]]
            found[sheet.tiles.pictures[picture], kernel] = tile[: grid.tile[0], : grid.tile[1]]
    return found


def test_each_plane_is_drawn_in_the_range_of_its_kernel():
    """A plane's value is red or blue by its share of the kernel's largest one; the kernel as colour is that of rgb."""
    weights = stem()
    drawn = pictures_of(make_sheet(weights, palette="safe"))
    standard = make_sheet(weights)
    colours = colour.rgb_pixels(standard.tiles.values, standard.scale)
    for kernel, weight in enumerate(weights):
        planes = np.moveaxis(opponent_planes(np.moveaxis(weight, 0, -1)), -1, 0)
        shares = planes / np.abs(planes).max()
        for name, share in zip(OPPONENTS, shares, strict=True):
            assert np.array_equal(drawn[name, kernel], RED_BLUE[np.rint(100 + 100 * share).astype(int)])
        assert np.abs(drawn["rgb", kernel].astype(int) - colours[kernel]).max() <= 1


def test_kernels_that_look_alike_differ_in_a_plane():
    """Blue and violet, green and orange: alike as colour to a deuteranope, in the planes apart for every eye."""
    blue, violet, green, orange = (
        np.full((3, 3, 3), np.array(each)[:, None, None])
        for each in ((-1.0, 0, 1), (0.1, -1, 1), (-0.1, 1, -1), (1, -0.2, -1))
    )
    for pair in ((blue, violet), (green, orange)):
        drawn = pictures_of(make_sheet(np.stack(pair), palette="safe"))
        one, other = drawn["rgb", 0][0, 0], drawn["rgb", 1][0, 0]
        planes = [for_every_eye(drawn[name, 0][0, 0], drawn[name, 1][0, 0]) for name in OPPONENTS]
        assert np.max(planes, axis=0).min() > 34
        assert apart(one, other, "deutan") < 34


@pytest.mark.parametrize(
    ("count", "style", "shown", "pictures"),
    [(1, "figure", 1, 4), (32, "figure", 32, 4), (33, "figure", 33, 3), (100, "figure", 64, 3), (100, "bare", 100, 3)],
)
def test_a_page_holds_up_to_64_kernels_and_the_colour_of_32(count, style, shown, pictures):
    """More are left out of a page, which states it; bare tiles hold all."""
    sheet = make_sheet(stem(count), palette="safe", style=style)
    assert (sheet.shown, len(sheet.tiles.pictures)) == (shown, pictures)
    cells = sheet.grid.arrangement
    assert sorted(cells[cells >= 0]) == list(range(shown * pictures))
    assert count_text(sheet.tiles).startswith(f"{shown} of {count} kernel")
    assert any("of 100" in note for note in sheet.notes) == (shown < count)
    pixels = make_mosaic(sheet).pixels
    assert pixels.shape[:2] == (sheet.grid.height, sheet.grid.width)


@pytest.mark.parametrize("scale", ["layer", (-0.5, 0.5)], ids=str)
def test_the_scale_is_that_of_the_planes(scale):
    """A scale of the layer has the largest value of all planes as its limit; a range counts the plane values outside."""
    weights = stem()
    planes = opponent_planes(np.moveaxis(weights, 1, -1))
    sheet = make_sheet(weights, palette="safe", scale=scale)
    if scale == "layer":
        assert sheet.scale.limit == np.abs(planes).max()
    else:
        assert (sheet.scale.below, sheet.scale.above) == ((planes < -0.5).sum(), (planes > 0.5).sum())
    expected = colour.levels(planes, sheet.scale)[3, ..., 1]
    assert np.array_equal(pictures_of(sheet)["Y−B", 3], RED_BLUE[expected])


def test_what_is_not_finite_or_zero_is_marked_in_each_picture():
    """A kernel of zeros is struck through in all of its pictures; a broken blue weight leaves R−G as it is."""
    weights = stem(4)
    weights[1] = 0
    weights[2, 2, 0, 0] = np.nan
    sheet = make_sheet(weights, palette="safe")
    assert sheet.marks.zero == (1,)
    assert sheet.marks.broken == (2,)
    drawn = pictures_of(sheet)
    whole = opponent_planes(np.moveaxis(weights[2], 0, -1))
    assert np.isfinite(whole[0, 0]).tolist() == [False, False, True]
    chequers = {(64,) * 3, (212,) * 3}
    found = {name: tuple(map(int, drawn[name, 2][0, 0])) in chequers for name in ("rgb", *OPPONENTS)}
    assert found == {"rgb": True, "L": True, "Y−B": True, "R−G": False}


def test_slices_of_volumes_are_a_table_of_planes():
    """Kernels of three axes have one row per slice and plane."""
    weights = np.random.default_rng(2).standard_normal((6, 3, 2, 3, 3))
    sheet = make_sheet(weights, view="rgb", palette="safe")
    assert sheet.tiles.rows.labels == tuple(f"{depth} {name}" for depth in range(2) for name in OPPONENTS)
    planes = opponent_planes(np.moveaxis(weights, 1, -1))
    assert np.array_equal(sheet.tiles.values.reshape(6, 6, 3, 3)[4, 5], planes[5, 1, ..., 1])
    plot_kernels(weights, view="rgb", palette="safe")


def test_the_third_component_is_a_picture_of_its_own():
    """The first two are one picture, light–dark and orange–blue, the third is red–blue; the caption counts clipping."""
    maps = np.random.default_rng(3).standard_normal((6, 9, 11))
    sheet = make_sheet(as_maps(maps), view="pca", palette="safe")
    drawn = pictures_of(sheet)
    scores = np.clip(sheet.tiles.values[0] / FULL, -1, 1)
    assert np.array_equal(drawn["components 1, 2", 0], colour.component_pixels(scores[..., 0], scores[..., 1]))
    assert np.array_equal(drawn["component 3", 0], RED_BLUE[np.rint(100 + 100 * scores[..., 2]).astype(int)])
    outside = int((np.abs(sheet.tiles.values) > FULL).sum())
    assert any(f"{outside} of {maps[0].size * 3} values are outside" in line for line in sheet.caption) == (outside > 0)
    assert sheet.recipe["palette"] == "safe"


@pytest.mark.parametrize("view", ["sum", "norm", "channels", "matrix", "spectrum"])
def test_other_views_have_safe_colours_already(view):
    """The palette changes nothing there but what the recipe states."""
    plain, safe, planes = (make_sheet(stem(), view=view, palette=palette) for palette in colour.PALETTES)
    assert np.array_equal(make_mosaic(plain).pixels, make_mosaic(safe).pixels)
    assert plain.caption == safe.caption
    assert safe.recipe == {**plain.recipe, "palette": "safe"}
    assert planes.recipe == plain.recipe


def test_every_function_takes_the_palettes_that_there_are():
    """Any other name is rejected with the three."""
    for draw in (
        lambda palette: plot_kernels(stem(), palette=palette),
        lambda palette: plot_features(np.ones((3, 4, 4)), palette=palette),
        lambda palette: plot_overlay(np.ones((3, 4, 4)), image=np.zeros((8, 8, 3), np.uint8), palette=palette),
        lambda palette: plot_matches(stem(), palette=palette),
    ):
        with pytest.raises(UsageError, match=r"standard, safe or planes, but got 'pretty'"):
            draw("pretty")


def test_the_caption_of_rgb_names_what_colour_blind_readers_can_use():
    """The palette and the view that do not rest on red against green."""
    (line, *_) = make_sheet(stem()).caption
    assert "palette safe" in line
    assert "view channels" in line


def test_matched_kernels_are_drawn_as_planes_instead_of_colour():
    """No tile of the page but its badge and bars has another hue than those of red–blue, white or grey."""
    found = match_kernels(as_bank(stem(6)), gabor=False)
    figure = plot_matches(found, palette="safe")
    allowed = {tuple(shade) for shade in RED_BLUE.tolist()}
    for raster in figure.findobj(RasterArtist):
        for shade in {tuple(each) for each in raster.pixels.reshape(-1, 3).tolist()}:
            assert shade in allowed or max(shade) - min(shade) <= 20
    assert figure.recipe["palette"] == "safe"
    assert "palette" not in plot_matches(found).recipe

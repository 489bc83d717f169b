"""The overview contains the image, its classes, and the most varied maps, layer by layer."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.text import Text

from kernelviz.drawing.figures import RasterArtist
from kernelviz.drawing.overview import plot_overview
from kernelviz.errors import UsageError
from kernelviz.records import ClassScore
from kernelviz.views.map_views import highlights_of


def texts(figure):
    """Every text of a figure."""
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


def test_the_maps_of_a_layer_are_those_of_largest_spread(new_maps):
    """Numbers and values are the five with the largest standard deviation, as NumPy has it."""
    maps = new_maps((12, 9, 9))
    found = highlights_of(maps)
    expected = np.argsort(-maps.values.std(axis=(1, 2), dtype=np.float64))[:5]
    assert list(found.numbers) == expected.tolist()
    assert np.array_equal(found.values, maps.values[expected])
    assert (found.shape, found.broken, found.nonfinite) == ((12, 9, 9), 0, 0)


def test_maps_that_are_not_finite_are_left_out_and_counted(new_maps):
    """They are never chosen; the picture counts them."""
    values = np.random.default_rng(0).standard_normal((6, 4, 4))
    values[2, 1, 1], values[4] = np.nan, np.inf
    maps = new_maps(values=values)
    assert set(highlights_of(maps).numbers) == {0, 1, 3, 5}
    assert "2 of 6 maps of layer1 hold values that are not finite: left out" in texts(plot_overview([maps]))


def test_a_layer_without_a_map_that_varies_is_reported(new_maps):
    """Dead layers have no tile."""
    figure = plot_overview([new_maps(values=np.zeros((4, 5, 5)))])
    assert "no map varies" in texts(figure)


def test_it_names_image_classes_layers_and_channels(new_maps):
    """The recipe contains what the picture shows."""
    layers = [new_maps((7, 6, 6), name=name) for name in ("conv1", "layer1", "layer2", "layer3")]
    figure = plot_overview(layers, [ClassScore(3, "tabby", 0.613), ClassScore(281, None, 0.2)])
    words = texts(figure)
    for word in ("How resnet18 sees photo.jpg", "tabby", "61.3 %", "class 281", "20.0 %", "conv1", "layer3", "7 × 6²"):
        assert word in words
    for layer in figure.recipe["layers"]:
        assert all(str(channel) in words for channel in layer["channels"])
    assert [layer["name"] for layer in figure.recipe["layers"]] == ["conv1", "layer1", "layer2", "layer3"]
    assert figure.recipe["classes"][0] == {"index": 3, "label": "tabby", "probability": 0.613}
    seen = figure.findobj(RasterArtist)[0].pixels
    assert np.array_equal(seen, layers[0].seen.pixels)


@pytest.mark.parametrize(
    ("name", "most"), [("s", 9), ("backbone.body.", 6), ("features.normalisation_with_a_long_name.5.conv", 7)]
)
def test_of_many_layers_some_are_shown_from_first_to_last(new_maps, name, most):
    """Nine, fewer if names are long, but seven if five do not fit either; the page states how many there are."""
    layers = [new_maps((5, 4, 4), name=f"{name}{number}") for number in range(20)]
    assert any("before the forward pass failed" in text for text in texts(plot_overview(layers, complete=False)))
    figure = plot_overview(layers)
    shown = [layer["name"] for layer in figure.recipe["layers"]]
    assert len(shown) == most
    assert (shown[0], shown[-1]) == (f"{name}0", f"{name}19")
    assert any(f"maps of {most} of 20 layers" in word for word in texts(figure))


def test_large_maps_are_averaged_not_skipped(new_maps):
    """A tile of fewer pixels than the map shows means of blocks: a fine chequer of 0 and 1 has neither."""
    values = np.indices((1000, 1000)).sum(axis=0) % 2 + np.linspace(0, 1e-3, 1000)
    figure = plot_overview([new_maps(values=values[None])] * 4)
    tiles = [raster.pixels for raster in figure.findobj(RasterArtist)][1:]
    assert all(max(tile.shape) <= 400 for tile in tiles)
    assert (
        tiles[0].max(axis=2).max() < 150
    )  # 0 is white, the means of blocks are all near the largest of them: dark red


def test_no_layer_is_refused():
    """There must be one."""
    with pytest.raises(UsageError):
        plot_overview([])


def test_an_image_without_classes_is_larger(new_maps):
    """If no classes are listed below it, the image takes their place, up to the height of the maps beside it."""
    layers = [new_maps((8, 7, 7), name=f"layer{number}", seen=(96, 96)) for number in range(6)]
    heights = []
    for classes in ([ClassScore(number, "a class", 0.1) for number in range(5)], ()):
        image, *tiles = [each.get_window_extent() for each in plot_overview(layers, classes).findobj(RasterArtist)]
        heights.append(image.height)
        assert image.y0 > min(tile.y0 for tile in tiles[:-1])
    assert heights[1] > 1.15 * heights[0]

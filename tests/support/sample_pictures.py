"""Small pictures, with all that a recipe of ours can hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

RECIPE = {
    "command": "kernels",
    "image": None,
    "layer": "layer1.0.conv1",
    "model": {"name": "test_resnet", "tag": None, "weights": {"name": "seed 0 <&> \\ ( ) ü 模型", "sha256": None}},
    "scale": [-1.5, 0.1],
    "view": "sum",
}


@dataclass(frozen=True)
class Mosaic:
    """What files/ knows of a mosaic."""

    pixels: Any
    palette: Any
    recipe: Any


def make_mosaic(*, rgb=False, recipe=RECIPE):
    """A mosaic of nine by seven tiles, some rows repeated."""
    rng = np.random.default_rng(0)
    palette = rng.integers(0, 256, (201, 3), dtype=np.uint8)
    pixels = rng.integers(0, 201, (9, 7), dtype=np.uint8).repeat(4, axis=0).repeat(4, axis=1)
    return Mosaic(palette[pixels], None, recipe) if rgb else Mosaic(pixels, palette, recipe)


def make_figure(*, recipe=RECIPE):
    """A figure whose artists have colours of their own."""
    from matplotlib.figure import Figure
    from matplotlib.patches import Circle

    figure = Figure(figsize=(2, 1.5), dpi=100, facecolor="white", edgecolor="white")
    axes = figure.add_axes((0.1, 0.1, 0.8, 0.7), frameon=False, xticks=[], yticks=[])
    image = axes.imshow(np.arange(12).reshape(3, 4), cmap="viridis", interpolation="nearest", origin="upper")
    image.set_clip_path(Circle((1.5, 1), 1.2, transform=axes.transData))
    axes.plot([0, 1, 2], [0, 2, 1], color="red", linewidth=1, linestyle="-", marker="o", markersize=3)
    figure.text(0.1, 0.9, "conv1 $x_1$", color="black", fontsize=8)
    if recipe is not None:
        figure.recipe = recipe
    return figure

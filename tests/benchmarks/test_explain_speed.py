from __future__ import annotations

import io

import numpy as np
import pytest
from bench import cpu_ratio, ratio
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from kernelviz import Convolution, animate_convolution, work_out
from kernelviz.files.encoding import encode_picture

pytestmark = pytest.mark.benchmark

EXPLAIN = ["-m", "kernelviz", "explain", "conv", "--input", "5", "--kernel", "3"]
FLOOR = ["-c", "import typer, typer._adapters, numpy, numpy.random"]
PAGE = (
    "import typer, typer._adapters, numpy, numpy.random, PIL.Image, matplotlib.figure, matplotlib.backends.backend_agg"
)
INPUT, KERNEL = np.arange(1, 26).reshape(5, 5), np.arange(1, 10).reshape(3, 3)


def test_text_costs_little_more_than_its_imports():
    """The explanation takes at most twice the CPU time of importing Typer with what reads its options, and NumPy."""
    share = cpu_ratio(EXPLAIN, FLOOR, pairs=9)
    print(f"\nexplain conv: {share:.2f} times the CPU time of its imports")
    assert share <= 2


def test_a_picture_costs_little_more_than_its_imports(tmp_path):
    """Explanation and picture take at most twice the CPU time of importing what reads options and draws."""
    share = cpu_ratio([*EXPLAIN, "-o", str(tmp_path), "-q"], ["-c", PAGE], pairs=9)
    print(f"\nexplain conv -o: {share:.2f} times the CPU time of its imports")
    assert share <= 2


def plain_animation() -> bytes:
    """The usual way: each frame a new figure with a text in each cell, and Pillow's own palettes."""
    output = [[int((INPUT[i : i + 3, j : j + 3] * KERNEL).sum()) for j in range(3)] for i in range(3)]
    images = []
    for at in range(9):
        row, column = divmod(at, 3)
        figure = Figure(figsize=(7.2, 4.2), dpi=100)
        axes = figure.subplots(1, 3)
        shown = np.where(np.arange(9).reshape(3, 3) <= at, output, np.nan)
        for ax, values in zip(axes, (INPUT, KERNEL, shown), strict=True):
            ax.imshow(values, cmap="Reds", alpha=0.5)
            ax.axis("off")
            for (i, j), value in np.ndenumerate(values):
                ax.text(j, i, "" if np.isnan(value) else f"{value:.0f}", ha="center", va="center")
        terms = [f"{a}×{b}" for a, b in zip(INPUT[row : row + 3, column : column + 3].flat, KERNEL.flat, strict=True)]
        for line in range(3):
            figure.text(0.05, 0.15 - 0.05 * line, " + ".join(terms[3 * line : 3 * line + 3]))
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        images.append(Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB"))
    buffer = io.BytesIO()
    images[0].save(buffer, "GIF", save_all=True, append_images=images[1:], duration=900, loop=0)
    return buffer.getvalue()


def test_an_animation_beats_a_figure_a_frame():
    """The sliding window, with all it tells, costs at most a quarter more than nine plain figures with fewer words."""
    worked = work_out(Convolution(5, 3), INPUT, KERNEL)
    times = ratio(lambda: encode_picture(animate_convolution(worked), "gif"), plain_animation)
    print(f"\nanimation of 9 steps: {times:.2f} times as fast as nine plain figures")
    assert times >= 0.8

"""Any weight of any network in an Axes of your own figure, without a model, a file or a command.

Run ``python examples/own_network.py [DIRECTORY]``.
"""

import sys
from pathlib import Path

import torch
from matplotlib.figure import Figure

import kernelviz

directory = Path(sys.argv[1] if len(sys.argv) > 1 else "kernelviz-out")

torch.manual_seed(0)
conv = torch.nn.Conv2d(3, 16, kernel_size=5)

figure = Figure(figsize=(11, 3), layout="constrained")
left, right = figure.subplots(1, 2)
left.set_title("their sum")
kernelviz.plot_kernels(conv.weight, ax=left, view="sum")
right.set_title("their length")
kernelviz.plot_kernels(conv.weight, ax=right, view="norm")
print(kernelviz.save_picture(figure, directory / "own-network.png", force=True))

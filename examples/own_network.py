"""Any weight of any network in an Axes of your own figure, and what a convolution makes of a signal of two channels.

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

network = torch.nn.Sequential(torch.nn.Conv1d(2, 8, 9, padding=4), torch.nn.ReLU())
time = torch.linspace(0, 10, 400)
signal = torch.stack([torch.sin(time**2), torch.sign(torch.sin(3 * time))])  # (C, L)
maps = kernelviz.capture_features(network, signal[None], "0")
print(kernelviz.save_picture(kernelviz.plot_features(maps[0]), directory / "signal.png", force=True))

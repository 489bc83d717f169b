"""What the middle units of three layers of EfficientNet-Lite0 listen to, trained and with random weights.

The 17 photographs come with Matplotlib (Grace Hopper: public domain), scikit-learn (China, Flower: CC BY 2.0) and
scikit-image (CC0, public domain, or without known restrictions, as ``skimage.data`` states of each). Needs ``pip install
"kernelviz[offline]" scikit-learn scikit-image``. Run ``python examples/field.py [DIRECTORY]``.
"""

import sys
from importlib.resources import files
from pathlib import Path

import kernelviz

directory = Path(sys.argv[1] if len(sys.argv) > 1 else "kernelviz-out")

names = [
    "astronaut", "brick", "camera", "cell", "chelsea", "coffee", "coins", "grass", "gravel", "hubble_deep_field", "ihc",
    "moon", "retina", "rocket",
]  # fmt: skip
scikit_image = Path(str(files("skimage"))) / "data"
scikit_learn = Path(str(files("sklearn"))) / "datasets" / "images"
photographs = [
    "sample:grace_hopper",
    *(scikit_learn / f"{name}.jpg" for name in ("china", "flower")),
    *(next(scikit_image.glob(f"{name}.*")) for name in names),
]

fields: list[kernelviz.EffectiveField] = []
for weights in ("bundled", "random"):
    model = kernelviz.load_model("tf_efficientnet_lite0", weights=weights)
    images = map(kernelviz.read_image, photographs)
    fields += kernelviz.effective_fields(model, images, ["blocks.2", "blocks.3", "blocks.4"], input_size=448)
for field in fields:
    print(field.layer, field.size, [square.side for square in field.squares])
print(kernelviz.save_picture(kernelviz.plot_fields(fields), directory / "fields.png", force=True))

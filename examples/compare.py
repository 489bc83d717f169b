"""EfficientNet-Lite0 before and after a short fine-tuning: crops of two photographs are told apart, two blocks are frozen.

The chart shows that the frozen blocks are bitwise the same, and that the first convolution was not frozen with them. The
photographs are in scikit-learn (CC BY 2.0). Needs ``pip install "kernelviz[offline]" scikit-learn``. Run
``python examples/compare.py [DIRECTORY]``.
"""

import copy
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from sklearn.datasets import load_sample_images
from torch.nn import functional

import kernelviz

STEPS, BATCH, SIDE = 17, 16, 48

directory = Path(sys.argv[1] if len(sys.argv) > 1 else "kernelviz-out")

before = kernelviz.load_model("tf_efficientnet_lite0")
photographs = [torch.tensor(pixels).permute(2, 0, 1).double() / 127.5 - 1 for pixels in load_sample_images().images]
random = torch.Generator().manual_seed(0)


def crop(photograph: torch.Tensor) -> torch.Tensor:
    """A square of a photograph, anywhere in it."""
    top, left = (int(torch.randint(side - SIDE, (), generator=random)) for side in photograph.shape[1:])
    return photograph[:, top : top + SIDE, left : left + SIDE]


network: Any = copy.deepcopy(before.module)
torch.manual_seed(0)
network.reset_classifier(2)
network.blocks[:2].requires_grad_(requires_grad=False)
network.double()  # so that rounding, which depends on the machine, changes nothing that can be seen
optimiser = torch.optim.SGD([each for each in network.parameters() if each.requires_grad], lr=0.003, momentum=0.9)
for step in range(STEPS):
    classes = torch.arange(BATCH) % 2
    loss = functional.cross_entropy(network(torch.stack([crop(photographs[each]) for each in classes])), classes)
    if step % 8 == 0:
        print(f"step {step}: loss {loss.item():.3f}")
    optimiser.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    optimiser.step()

network.float()
source = replace(before.source, label=f"{before.source.model}, fine-tuned for {STEPS} steps", weights=None)
found = kernelviz.compare_weights(before, replace(before, module=network, source=source))
print(len(found.same), "of", len(found.layers), "layers are bitwise the same")
for name, figure in (
    ("compare-layers.png", kernelviz.plot_changes(found)),
    ("compare.png", kernelviz.plot_comparison(found, "conv_stem")),
):
    print(kernelviz.save_picture(figure, directory / name, force=True))

"""How the kernels of a small network change while it learns scikit-learn's handwritten digits: 10 seconds of training.

Run ``python examples/training.py [DIRECTORY]``; the checkpoints are in the folder ``checkpoints`` inside it.
"""

import sys
from pathlib import Path

import torch
from sklearn.datasets import load_digits
from torch.nn.functional import cross_entropy, interpolate

import kernelviz

directory = Path(sys.argv[1] if len(sys.argv) > 1 else "kernelviz-out")
folder = directory / "checkpoints"
folder.mkdir(parents=True, exist_ok=True)
STEPS = sorted({0, *(round(1500 ** (at / 30)) for at in range(31))})  # more of them early, when much happens


def snapshot(step: int) -> None:
    """Save the weights at some steps: three lines for any training loop."""
    if step in STEPS:
        torch.save(network.state_dict(), folder / f"step-{step:05}.pt")


threads = torch.get_num_threads()
torch.set_num_threads(1)  # sums in one order: the same numbers in each run on one machine
torch.manual_seed(0)

digits = load_digits()
images = torch.tensor(digits.images, dtype=torch.float32)[:, None]
images = interpolate((images - images.mean()) / images.std(), scale_factor=3, mode="bilinear")
labels = torch.tensor(digits.target)

network = torch.nn.Sequential()
network.add_module("conv1", torch.nn.Conv2d(1, 16, 7, stride=2, padding=3))
network.add_module("relu1", torch.nn.ReLU())
network.add_module("conv2", torch.nn.Conv2d(16, 32, 3, stride=2))
network.add_module("relu2", torch.nn.ReLU())
network.add_module("flatten", torch.nn.Flatten())
network.add_module("classifier", torch.nn.Linear(32 * 5 * 5, 10))

optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=1.0)
snapshot(0)
for step in range(1, 1501):
    batch = torch.randint(0, 1500, (64,))
    loss = cross_entropy(network(images[batch]), labels[batch])
    optimizer.zero_grad()
    torch.autograd.backward(loss)
    optimizer.step()
    snapshot(step)
with torch.no_grad():
    right = (network(images[1500:]).argmax(1) == labels[1500:]).float().mean()
print(f"{100 * right:.0f} % of the 297 other digits are recognised")
torch.set_num_threads(threads)

history = kernelviz.read_history(network, sorted(folder.glob("step-*.pt")), "conv1")
film = kernelviz.plot_history(history, axis="log")
print(kernelviz.save_picture(film, directory / "training.png", force=True))
animation = kernelviz.animate_kernels(history, axis="log")
print(kernelviz.save_picture(animation, directory / "training.webp", force=True))

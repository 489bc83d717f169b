"""What torch says of this machine."""

from __future__ import annotations

from typing import Any

import torch


def torch_facts() -> dict[str, Any]:
    """The version of torch in full, the device that a pass takes, all devices there are, and the number of threads."""
    devices = ["cpu"]
    if torch.cuda.is_available():
        devices.append("cuda")
    if torch.backends.mps.is_available():
        devices.append("mps")
    return {"torch": torch.__version__, "device": devices[-1], "devices": devices, "threads": torch.get_num_threads()}

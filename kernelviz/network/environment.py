"""What torch says of this machine."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from kernelviz.errors import UsageError
from kernelviz.threads import processors


def torch_facts() -> dict[str, Any]:
    """The version of torch in full, the device that a pass takes, all devices there are, and the number of threads."""
    devices = ["cpu"]
    if torch.cuda.is_available():
        devices.append("cuda")
    if torch.backends.mps.is_available():
        devices.append("mps")
    return {"torch": torch.__version__, "device": devices[-1], "devices": devices, "threads": torch.get_num_threads()}


def use_device(name: str, threads: int | None = None) -> str:
    """The device that ``auto`` or a name means; torch computes with ``threads`` from now on, where they are given.

    Raises:
        UsageError: there is no such device here.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    facts = torch_facts()
    if name == "auto":
        return str(facts["device"])
    if name not in facts["devices"]:
        there = f"There is {' and '.join(facts['devices'])}."
        raise UsageError(f"There is no device {name} here.", there, "Give `--device auto`.")
    return name


def takes_turns(module: nn.Module) -> bool:
    """Whether a pass takes all processors there are.

    Each operation of a pass ends when the slowest of its threads does: one that shares its processor with another thread
    holds up all others, so that reading and writing beside such a pass takes longer than before and behind it. To give
    these threads a low priority would starve them, and with them the pass, on a machine that is busy with other things.
    """
    device = next((tensor.device for tensor in module.parameters()), torch.device("cpu"))
    return device.type == "cpu" and torch.get_num_threads() >= processors()

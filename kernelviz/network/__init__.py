"""Networks: weights, layers, kernels, feature maps and receptive fields."""

from __future__ import annotations

import os
import re
import sys

from kernelviz.errors import KernelvizError
from kernelviz.network.weights.endpoint import STAND_IN, VARIABLE, endpoint_fault

_ALLOCATOR = r"(\w+:([\w.]+|\[[\w>]+:\w+(,[\w>]+:\w+)*\])(,|$))*", "of the form key:value,key:value"
_FATAL = {
    **dict.fromkeys(("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_HIP_ALLOC_CONF"), _ALLOCATOR),
    "TORCH_SYMMMEM": (r"CUDA|NVSHMEM|NCCL", "CUDA, NVSHMEM or NCCL"),
}
_SWITCH = "HF_HUB_DISABLE_TELEMETRY"


def _read_the_clients_settings() -> None:
    """Import the hub's client with safe settings before timm imports it, since it reads them on import.

    Telemetry would cost a request of up to three seconds, and with a wrong hub address neither client nor timm could be
    imported. The environment is restored afterwards.
    """
    kept = {name: os.environ.get(name) for name in (_SWITCH, VARIABLE)}
    address = kept[VARIABLE]
    try:
        os.environ.setdefault(_SWITCH, "1")
        if address is not None and endpoint_fault(address):
            os.environ[VARIABLE] = STAND_IN
        import huggingface_hub.constants  # noqa: F401
    finally:
        for name, value in kept.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def _check_settings_of_torch() -> None:
    """Reject settings that end the process when torch is imported; others raise an error then.

    Raises:
        KernelvizError: a variable is malformed.
    """
    if "torch" in sys.modules:
        return
    for name, (form, words) in _FATAL.items():
        value = os.environ.get(name)
        if value is not None and not re.fullmatch(form, re.sub(r"\s", "", value), re.ASCII):
            what = f"The environment variable {name} is malformed, so torch cannot be imported."
            raise KernelvizError(what, f"It must be {words}.", "Correct or unset it.")


_read_the_clients_settings()
_check_settings_of_torch()

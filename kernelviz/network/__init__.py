"""Networks: weights, layers, kernels, feature maps and receptive fields."""

from __future__ import annotations

import os

from kernelviz.network.weights.endpoint import STAND_IN, VARIABLE, endpoint_fault

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


_read_the_clients_settings()

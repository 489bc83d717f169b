"""Networks: where their weights come from, which convolutions they hold, and what those learned."""

from __future__ import annotations

import os

from kernelviz.network.weights.endpoint import STAND_IN, VARIABLE, endpoint_fault

_SWITCH = "HF_HUB_DISABLE_TELEMETRY"


def _read_the_clients_settings() -> None:
    """Let the hub's client read its settings, which it does when it is imported, and timm imports it.

    Its telemetry would cost a request of up to three seconds, and a wrong address of the hub would keep client and timm
    from being imported, even for what needs no hub. The environment is left as it was.
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

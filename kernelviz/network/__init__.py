"""Networks: where their weights come from, which convolutions they hold, and what those learned."""

from __future__ import annotations

import os

_SWITCH = "HF_HUB_DISABLE_TELEMETRY"


def _import_without_telemetry() -> None:
    """Read the hub client's settings with its telemetry off, which otherwise costs a request of up to three seconds.

    The client reads its switches when it is imported, and timm imports it; the environment is left as it was.
    """
    if _SWITCH in os.environ:
        return
    os.environ[_SWITCH] = "1"
    try:
        import huggingface_hub.constants  # noqa: F401
    finally:
        del os.environ[_SWITCH]


_import_without_telemetry()

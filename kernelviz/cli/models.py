"""``kernelviz models``: which models there are, and which of their weights are on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from kernelviz.cli.completion import known_models, known_torchvision_models, timm_version
from kernelviz.cli.options import Debug, Json, Quiet
from kernelviz.errors import UnknownModelError
from kernelviz.wording import NEAR, aligned_rows, nearest_names

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kernelviz.network.weights.names import Entry, Registry, WeightsLocation


Pattern = Annotated[
    str,
    typer.Argument(
        metavar="PATTERN",
        help="A glob over architectures ('resnet*') or tags ('*in22k*'); 'torchvision:*' for those of torchvision.",
        show_default=False,
    ),
]
Pretrained = Annotated[bool, typer.Option("--pretrained", help="Only models with pretrained weights.")]

HEAD = ("architecture", "tag", "licence", "cached", "bundled")


def models(
    pattern: Pattern = "*",
    *,
    pretrained: Pretrained = False,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> int:
    """List the models of timm with the tags and licences of their weights, and which of these are on this machine.

    For example: kernelviz models 'resnet18*' --pretrained
    """
    from kernelviz.cli import terminal
    from kernelviz.cli.session import Report, run_command

    def work(report: Report) -> None:
        known = known_torchvision_models if pattern.lower().startswith("torchvision:") else known_models
        listed = list_entries(known(), pattern, pretrained=pretrained)
        report.environment = {"timm": timm_version()}
        report.more = {"models": listed}
        if not as_json:
            head, *rows = table(listed, terminal.width())
            report.inform(*head)
            for row in rows:
                terminal.print_text(*row)

    return run_command("models", work, as_json=as_json, quiet=quiet, debug=debug)


def list_entries(registry: Registry, pattern: str, *, pretrained: bool) -> list[dict[str, Any]]:
    """One entry per architecture, as ``--json`` prints it.

    Raises:
        UnknownModelError: nothing matches.
    """
    from kernelviz.network.weights.hub_cache import cached_locations

    found = registry.matching(pattern)
    cached = cached_locations(entry.location for entries in found.values() for entry in entries)
    listed = [{"name": name, "tags": _tags(name, entries, cached)} for name, entries in found.items()]
    listed = [each for each in listed if each["tags"] or not pretrained]
    if not listed:
        nearest = nearest_names(registry.architectures, pattern.strip("*"), least=NEAR)
        why = f"Nearest: {', '.join(nearest)}." if nearest else ""
        raise UnknownModelError(f"No model matches {pattern!r}.", why, "`kernelviz models` lists all of them.")
    return listed


def table(listed: Iterable[dict[str, Any]], width: int | None = None) -> list[list[str]]:
    """The lines of the header, then those of each set of weights, or architecture without any; ``-``: does not apply."""
    rows = [
        (each["name"], tag["tag"] or "-", tag["licence"] or "-", *(_mark(tag, key) for key in ("cached", "bundled")))
        for each in listed
        for tag in each["tags"] or [dict.fromkeys(("tag", "licence", "cached", "bundled"))]
    ]
    return aligned_rows(HEAD, rows, width=width)


def _tags(name: str, entries: Iterable[Entry], cached: set[WeightsLocation]) -> list[dict[str, Any]]:
    """What is known of each set of weights; the bundled ones have no tag, since they were not compared with timm's."""
    from kernelviz.network.weights.names import BUNDLED_LICENCE, BUNDLED_MODEL, bundled_path

    tags = [
        {"tag": entry.tag or None, "licence": entry.licence, "cached": entry.location in cached, "bundled": False}
        for entry in entries
    ]
    if name == BUNDLED_MODEL and bundled_path():
        tags.append({"tag": None, "licence": BUNDLED_LICENCE, "cached": False, "bundled": True})
    return tags


def _mark(tag: dict[str, Any], key: str) -> str:
    return key if tag[key] else "-"

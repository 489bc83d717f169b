"""The options of ``features`` that are about many images and many maps, and which of them go together."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kernelviz.cli import options

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kernelviz.cli.pictures import Goal, Look


MANY = "Many images"

BatchSize = Annotated[
    int,
    typer.Option(
        "--batch-size",
        min=1,
        metavar="N",
        help="How many images pass at once. More than one changes the last bits of some maps.",
        rich_help_panel=MANY,
    ),
]
SkipExisting = Annotated[
    bool,
    typer.Option(
        "--skip-existing",
        help="Leave out an image whose every file is there already, with these very choices.",
        rich_help_panel=MANY,
    ),
]
Single = Annotated[
    bool,
    typer.Option(
        "--single",
        help="A bare PNG for each channel, one pixel a value unless --zoom, in a folder a layer with an index in JSON.",
        rich_help_panel=MANY,
    ),
]
Statistics = Annotated[
    bool,
    typer.Option(
        "--statistics",
        help="No picture of each image, but of each layer: what its channels do over all images, as table and figure.",
        rich_help_panel=MANY,
    ),
]
Contact = Annotated[
    bool,
    typer.Option(
        "--contact",
        help="No picture of each image, but of each layer: a row an image, the same channels of all, on one scale.",
        rich_help_panel=MANY,
    ),
]
BasisFiles = Annotated[
    list[Path] | None,
    typer.Option(
        "--basis",
        metavar="FILE",
        help="With --reduce pca: the components of an earlier run (…-basis.npz), so that colours mean the same. "
        "Repeatable.",
        show_default=False,
        rich_help_panel=MANY,
    ),
]


@dataclass(frozen=True)
class Asked:
    """What was asked for of many images."""

    single: bool
    statistics: bool
    contact: bool
    bases: tuple[Path, ...]
    skip_existing: bool


def check(asked: Asked, goal: Goal, look: Look, *, reduce: str | None, overlay: bool, overview: bool | None) -> None:
    """Refuse choices that exclude each other, and those that would change nothing.

    Raises:
        UsageError: two kinds of pictures at once, a choice that this kind does not take, or more channels than a contact
            sheet has room for.
    """
    from kernelviz.errors import UsageError

    kinds = {
        "--single": asked.single, "--statistics": asked.statistics, "--contact": asked.contact,
        "--reduce": reduce, "--overlay": overlay,
    }  # fmt: skip
    given = [name for name, value in kinds.items() if value]
    gathered = {"--statistics", "--contact"}
    if len(given) > 1 and not set(given) <= gathered and set(given) != {"--reduce", "--overlay"}:
        raise UsageError(f"{given[0]} and {given[1]} are two kinds of pictures.", hint=f"Leave out {given[1]}.")
    if asked.contact and look.top:
        from kernelviz.drawing.contact import check_count

        check_count(look.top)
    if asked.bases and reduce != "pca":
        raise UsageError("A basis is for principal components.", hint="Add --reduce pca, or leave out --basis.")
    if asked.skip_existing and goal.force:
        raise UsageError("--force writes again what --skip-existing leaves.", hint="Leave out one of them.")
    kind = "--reduce pca" if reduce == "pca" else given[0] if given else ""
    for option, value in _not_taken(kind, asked, goal, look, overview=overview, overlay=overlay).items():
        if value:
            raise UsageError(f"{kind} takes no {option}.", hint=f"Leave out {option}, or {kind}.")


def _not_taken(
    kind: str, asked: Asked, goal: Goal, look: Look, *, overview: bool | None, overlay: bool
) -> Mapping[str, object]:
    """The options that a kind of picture does not take, with what was given."""
    bare = look.style is options.Style.BARE
    if kind == "--reduce pca":
        return {"--overlay": overlay, "--channels": look.channels, "--top": look.top, "--sort": look.sort,
                "--scale": look.scale, "--cmap": look.cmap}  # fmt: skip
    if kind == "--single":
        return {"--columns": look.columns, "--arrays": goal.arrays, "--overview": overview,
                "--format": goal.suffix != ".png"}  # fmt: skip
    if kind in ("--statistics", "--contact"):
        none = {"--skip-existing": asked.skip_existing, "--overview": overview, "--style": bare, "--sort": look.sort,
                "--scale": look.scale, "--cmap": look.cmap, "--columns": look.columns, "--zoom": look.zoom}  # fmt: skip
        if not asked.contact:
            none |= {"--channels": look.channels, "--top": look.top}
        return none if asked.statistics else none | {"--arrays": goal.arrays}
    return {}

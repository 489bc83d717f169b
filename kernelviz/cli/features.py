"""``kernelviz features``: what a model's layers make of images."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kernelviz.cli import options
from kernelviz.cli.feature_pictures import Wish, draw_all, prepare
from kernelviz.cli.feature_summaries import gather, with_bases
from kernelviz.cli.session import Goal, Look, check_choices, load, parse_scale, unused_seed
from kernelviz.threads import Behind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kernelviz.cli.session import Report


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


class Side(StrEnum):
    """Which side of a module is caught."""

    OUTPUT = "output"
    INPUT = "input"


class Reduction(StrEnum):
    """What one map is made of all channels."""

    MEAN = "mean"
    MAX = "max"
    NORM = "norm"
    PCA = "pca"


Images = Annotated[
    list[str],
    typer.Argument(
        metavar="IMAGE...", help="Files, folders with -r, globs, - for standard input, or sample:grace_hopper."
    ),
]
Layers = Annotated[
    list[str] | None,
    typer.Option(
        "--layer",
        "-l",
        metavar="PATTERN",
        help="A module by its exact name (name#2 its second run, name:0 a part of a tuple), a glob over dotted names "
        "('layer*.act2'), or stage:0. Repeatable. Without it: the first convolution and the stages, and an overview.",
        show_default=False,
    ),
]
Recursive = Annotated[bool, typer.Option("--recursive", "-r", help="Take folders, with all below them.")]
Tap = Annotated[Side, typer.Option("--tap", help="What a module gives, or what goes into it.")]
Reduce = Annotated[
    Reduction | None,
    typer.Option(
        "--reduce",
        help="One map a layer: at each place this of all channels. pca: the first three principal components over all "
        "images, as red, green and blue.",
        show_default=False,
        rich_help_panel=options.PICTURES,
    ),
]
Overlay = Annotated[
    bool,
    typer.Option(
        "--overlay",
        help="Lay it over what the network saw: each of --channels, else the reduction (norm unless said).",
        rich_help_panel=options.PICTURES,
    ),
]
Overview = Annotated[
    bool | None,
    typer.Option(
        "--overview/--no-overview",
        help="One picture an image: its classes, and the maps of the stages that say most. On without --layer.",
        show_default=False,
        rich_help_panel=options.PICTURES,
    ),
]
Classes = Annotated[bool, typer.Option("--classes/--no-classes", help="Run to the end for the first five classes.")]
Channels = Annotated[
    str | None,
    typer.Option(
        "--channels", metavar="0-15,40", help="Only these maps.", show_default=False, rich_help_panel=options.PICTURES
    ),
]
Zoom = Annotated[
    int | None,
    typer.Option(
        "--zoom", min=1, max=10_000, metavar="N", help="Pixels a value of a map.", show_default=False,
        rich_help_panel=options.PICTURES,
    ),
]  # fmt: skip
Scale = Annotated[
    str | None,
    typer.Option(
        "--scale",
        metavar="tile|layer|LO,HI",
        help="What full colour means: each map's own largest value, the layer's, or this range. It is tile unless said, "
        "with --reduce layer.",
        show_default=False,
        rich_help_panel=options.PICTURES,
    ),
]


def features(
    model: options.ModelName,
    images: Images,
    *,
    layer: Layers = None,
    recursive: Recursive = False,
    kind: options.KindChoice = None,
    tap: Tap = Side.OUTPUT,
    weights: options.WeightsChoice = "auto",
    seed: options.Seed = 0,
    timeout: options.Timeout = 10.0,
    classes: Classes = True,
    input_size: options.InputSize = None,
    crop: options.Crop = None,
    device: options.Device = options.DeviceName.AUTO,
    threads: options.Threads = None,
    reduce: Reduce = None,
    overlay: Overlay = False,
    overview: Overview = None,
    channels: Channels = None,
    top: options.Top = None,
    sort: options.Sort = None,
    scale: Scale = None,
    cmap: options.Cmap = None,
    columns: options.Columns = None,
    zoom: Zoom = None,
    style: options.StyleChoice = options.Style.FIGURE,
    file_format: options.Format = options.FileFormat.PNG,
    single: Single = False,
    statistics: Statistics = False,
    contact: Contact = False,
    basis: BasisFiles = None,
    batch_size: BatchSize = 1,
    skip_existing: SkipExisting = False,
    output: options.Output = Path("kernelviz-out"),
    arrays: options.Arrays = False,
    force: options.Force = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    debug: options.Debug = False,
) -> int:
    """Run a timm model on images and draw the feature maps of its layers, a picture a layer and image.

    For example: kernelviz features tf_efficientnet_lite0 photo.jpg -l 'blocks.2' --top 16 --sort std

    A folder, read ahead, in one go: kernelviz features resnet18d photos -r -l layer1 --style bare --skip-existing
    """
    from kernelviz.cli import session, terminal
    from kernelviz.cli.session import Report, document, json_text

    report = Report("features", more={"images": []})
    try:
        goal = Goal(output, f".{file_format}", arrays, force, quiet, verbose, as_json)
        look = Look(channels, top, sort, parse_scale(scale), cmap, columns, zoom, style)
        check_choices(goal, look)
        check_kinds(goal, look, reduce, overlay=overlay)
        check_overview(tap, overview=overview)
        gathered = statistics or contact
        check(
            Asked(single, statistics, contact, tuple(basis or ()), skip_existing),
            goal, look, reduce=reduce and str(reduce), overlay=overlay, overview=overview,
        )  # fmt: skip
        paths: Sequence[str] = find(images, goal, report, recursive=recursive)
        with terminal.progress(shown=not quiet) as progress, Behind() as behind:
            network = load(model, weights, seed, timeout, progress, threads=threads, device=str(device))
            from kernelviz.network.model import uses_all_processors

            behind.exclusive = uses_all_processors(network.module)
            report.source = network.source
            told = (*network.source.notes, *unused_seed(weights, seed))
            report.warnings += told
            terminal.say(*goal.said(network.source.provenance, *told))
            plain = style is options.Style.FIGURE and not (
                layer or reduce or overlay or tap is Side.INPUT or single or gathered
            )
            size = options.parse_size(input_size, network)
            wish = Wish(
                layer, str(kind or "all"), tap.value, reduce and str(reduce), overlay,
                plain if overview is None else overview, classes and not gathered, size and size[1:], crop,
                batch_size, skip_existing, single, gathered,
            )  # fmt: skip
            progress(f"tracing {model}", 0, 0)
            run = prepare(network, wish, look, goal, report, paths=paths, behind=behind)
            if gathered:
                gather(run, paths, progress, statistics=statistics, contact=contact)
            else:
                run, paths = with_bases(run, paths, basis or (), progress)
                draw_all(run, paths, progress)
    except Exception as error:  # noqa: BLE001  (every command ends in a message)
        return session.failed(report, error, as_json=as_json, debug=debug)
    if as_json:
        terminal.result(json_text(document(report)))
    return session.outcome(report)


def check_kinds(goal: Goal, look: Look, reduce: Reduction | None, *, overlay: bool) -> None:
    """Refuse choices that exclude each other, and those that would change nothing.

    Raises:
        UsageError: columns of one map; an overlay with what it does not take.
    """
    from kernelviz.errors import UsageError

    if reduce and look.columns:
        raise UsageError("One map a layer has no columns.", hint="Leave out --columns, or --reduce.")
    if not overlay:
        return
    if look.top or look.sort:
        raise UsageError("An overlay takes the maps that --channels names.", hint="Leave out --top and --sort.")
    if reduce and look.channels:
        raise UsageError("An overlay shows single maps, or one of all.", hint="Leave out --channels, or --reduce.")
    if look.style is options.Style.BARE:
        raise UsageError("An overlay is a page, not bare tiles.", hint="Leave out --style, or --overlay.")
    without = {"--arrays": goal.arrays, "--cmap": look.cmap, "--columns": look.columns, "--zoom": look.zoom}
    for option, given in without.items():
        if given:
            raise UsageError(f"An overlay takes no {option}.", hint=f"Leave out {option}, or --overlay.")


def check_overview(tap: Side, *, overview: bool | None) -> None:
    """Refuse an overview of what goes into layers.

    Raises:
        UsageError: that was asked for.
    """
    from kernelviz.errors import UsageError

    if overview and tap is Side.INPUT:
        raise UsageError("An overview shows what layers give.", hint="Leave out --tap, or --overview.")


def find(arguments: Sequence[str], goal: Goal, report: Report, *, recursive: bool) -> tuple[str, ...]:
    """The images that the arguments mean; what was left out is said."""
    from kernelviz.cli.terminal import say
    from kernelviz.files.finding import find_images

    found = find_images(arguments, recursive=recursive)
    report.warnings += found.notes
    for note in found.notes:
        say(*goal.said(note))
    return found.images

"""``kernelviz features``: the feature maps of images."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kernelviz.cli import loading, options, outputs, session, terminal
from kernelviz.cli.advice import check_order
from kernelviz.cli.feature_pictures import FeatureChoices, ImageJob, draw_all, drawn_before_break, prepare
from kernelviz.cli.feature_summaries import draw_summaries, with_bases
from kernelviz.cli.feature_workers import draw_in_workers
from kernelviz.cli.loading import ImageChoices
from kernelviz.cli.model_choices import ModelChoices
from kernelviz.cli.outputs import OutputChoices, PictureChoices
from kernelviz.cli.session import run_command
from kernelviz.cli.worker_choices import WorkerChoices
from kernelviz.errors import UsageError
from kernelviz.storage.uris import as_path
from kernelviz.threads import BackgroundWriter

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kernelviz.cli.session import Report


BatchSize = Annotated[
    int,
    typer.Option(
        "--batch-size",
        min=1,
        max=65_536,
        metavar="N",
        help="Images per forward pass. More than one changes the last bits of some maps.",
        rich_help_panel=options.MANY,
    ),
]
SkipExisting = Annotated[
    bool,
    typer.Option(
        "--skip-existing",
        help="Skip an image if all of its files exist, made with the same options.",
        rich_help_panel=options.MANY,
    ),
]
Single = Annotated[
    bool,
    typer.Option(
        "--single",
        help="Write one bare PNG per channel, into a folder per layer with an index.json.",
        rich_help_panel=options.MANY,
    ),
]
Statistics = Annotated[
    bool,
    typer.Option(
        "--statistics",
        help="Per layer, draw statistics of its channels over all images, instead of each image.",
        rich_help_panel=options.MANY,
    ),
]
Contact = Annotated[
    bool,
    typer.Option(
        "--contact",
        help="Per layer, draw the same channels of all images on one scale, instead of each image.",
        rich_help_panel=options.MANY,
    ),
]
BasisFiles = Annotated[
    list[Path] | None,
    typer.Option(
        "--basis",
        parser=as_path,
        metavar="FILE",
        help="With --reduce pca: the components of an earlier run (…-basis.npz), so that colours are comparable. "
        "Repeatable.",
        show_default=False,
        rich_help_panel=options.MANY,
    ),
]


class Side(StrEnum):
    """Which side of a module is captured."""

    OUTPUT = "output"
    INPUT = "input"


class Reduction(StrEnum):
    """How all channels become one map."""

    MEAN = "mean"
    MAX = "max"
    NORM = "norm"
    PCA = "pca"


Images = Annotated[
    list[str],
    typer.Argument(
        metavar="IMAGE",
        help="Files, folders with -r, globs, URIs such as s3://b/photos, - for standard input, or sample:grace_hopper.",
    ),
]
Layers = Annotated[
    list[str] | None,
    typer.Option(
        "--layer",
        "-l",
        metavar="PATTERN",
        help="A module: its exact name (name#2: its second run, name:0: a part of a tuple), a glob over dotted names "
        "('layer*.act2'), or stage:0. A container selects itself. Repeatable. "
        "Default: the first convolution, the stages, and an overview; of a network without named stages, the last map at "
        "each resolution.",
        autocompletion=options.complete_layer,
        show_default=False,
    ),
]
Tap = Annotated[Side, typer.Option("--tap", help="Capture the output or the input of a module.")]
Reduce = Annotated[
    Reduction | None,
    typer.Option(
        "--reduce",
        help="Draw one map per layer, reduced over its channels. pca: the first three principal components over all "
        "images, as red, green and blue.",
        show_default=False,
        rich_help_panel=options.PICTURES,
    ),
]
Overlay = Annotated[
    bool,
    typer.Option(
        "--overlay",
        help="Draw maps over the image: each of --channels, else the reduction (default: norm).",
        rich_help_panel=options.PICTURES,
    ),
]
Overview = Annotated[
    bool | None,
    typer.Option(
        "--overview/--no-overview",
        help="Also draw one page per image: its classes and the most varied maps of each stage. Default without "
        "--layer.",
        show_default=False,
        rich_help_panel=options.PICTURES,
    ),
]
Classes = Annotated[
    bool, typer.Option("--classes/--no-classes", help="Run the network to the end, and report the top five classes.")
]
Channels = Annotated[
    str | None,
    typer.Option(
        "--channels",
        metavar="0-15,40",
        help="Draw only these maps.",
        show_default=False,
        rich_help_panel=options.PICTURES,
    ),
]
Zoom = Annotated[
    int | None,
    typer.Option(
        "--zoom", min=1, max=10_000, metavar="N", help="Pixels per value of a map.", show_default=False,
        rich_help_panel=options.PICTURES,
    ),
]  # fmt: skip
Scale = Annotated[
    str | None,
    typer.Option(
        "--scale",
        metavar="tile|layer|LO,HI",
        help="Range of the colours: one per map, one for the whole layer, or the given one. "
        "Default: tile; with --reduce: layer.",
        show_default=False,
        rich_help_panel=options.PICTURES,
    ),
]


def features(
    model: options.ModelName,
    images: Images,
    *,
    layer: Layers = None,
    recursive: options.Recursive = False,
    kind: options.KindChoice = None,
    tap: Tap = Side.OUTPUT,
    weights: options.WeightsChoice = "auto",
    weights_key: options.WeightsKey = None,
    fitting: options.Partial = False,
    model_arg: options.ModelArgs = None,
    seed: options.Seed = 0,
    timeout: options.Timeout = 10.0,
    classes: Classes = True,
    input_size: options.InputSize = None,
    crop: options.Crop = None,
    value_range: options.Range = None,
    bands: options.Bands = None,
    mean: options.Mean = None,
    std: options.Std = None,
    interpolation: options.Interpolation = None,
    device: options.Device = options.DeviceName.AUTO,
    threads: options.Threads = None,
    workers: options.Workers = None,
    ray: options.RayAddress = None,
    reduce: Reduce = None,
    overlay: Overlay = False,
    overview: Overview = None,
    channels: Channels = None,
    top: options.Top = None,
    sort: options.Sort = None,
    scale: Scale = None,
    cmap: options.Cmap = None,
    palette: options.Palette = options.PaletteName.STANDARD,
    columns: options.Columns = None,
    zoom: Zoom = None,
    style: options.StyleChoice = options.Style.FIGURE,
    look: options.LookChoice = options.LookName.PAGE,
    no_caption: options.NoCaption = False,
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
    """Run a model on images and draw the feature maps of its layers, one picture per layer and image.

    For example: kernelviz features tf_efficientnet_lite0 photo.jpg -l 'blocks.2' --top 16 --sort std

    A folder of images: kernelviz features resnet18d photos -r -l layer1 --style bare --skip-existing

    In four processes: kernelviz features resnet18d photos -r --statistics --workers 4
    """

    def work(report: Report) -> None:

        report.more["images"] = session.ImageRows()
        check_order("features", model, images)
        destination = OutputChoices(
            output, f".{file_format}", arrays, force, outputs.chosen_look(look, no_caption, report)
        )
        picture = PictureChoices(channels, top, sort, outputs.parse_scale(scale), cmap, columns, zoom, style, palette)
        outputs.check_choices(destination, picture)
        choices = FeatureChoices(
            layer, str(kind or "all"), tap.value, reduce and str(reduce), overlay, overview, classes,
            options.parse_sides(input_size), crop, batch_size, skip_existing, single, statistics, contact,
            tuple(basis or ()), picture, ImageChoices(value_range, bands, mean, std, interpolation),
        )  # fmt: skip
        check(choices, destination)
        parallel = WorkerChoices(workers, ray, threads, str(device))
        parallel.check()
        named = loading.named_images(images, output, report, recursive=recursive)
        with (
            parallel.quiet(report), terminal.progress(shown=not quiet) as progress, BackgroundWriter() as writer,
            drawn_before_break(writer),
        ):  # fmt: skip
            chosen = ModelChoices(
                model, weights, seed, timeout, str(device), parallel.threads, weights_key=weights_key, partial=fitting,
                arguments=model_arg, runs=True, input_size=input_size,
            )  # fmt: skip
            parallel.check_device(progress)
            network = choices.image.prepare(loading.load(chosen, report, progress), report)
            progress(f"tracing {model}", 0, 0)
            run = prepare(network, choices, destination, report, paths=named, writer=writer)
            run = replace(run, engine=parallel.engine(report, named, output))
            with run.engine if isinstance(run.engine, AbstractContextManager) else nullcontext():
                if choices.summarised:
                    draw_summaries(run, named, progress)
                else:
                    paths: Sequence[str] = named
                    if choices.reduce == "pca":
                        run, paths = with_bases(run, named, progress)
                    if run.engine is None:
                        draw_all(run, map(ImageJob, paths), progress)
                    else:
                        draw_in_workers(run, paths, progress)
            writer.flush()
        report.inform_tallied()
        if run.plan.broken is not None:
            raise run.plan.broken

    return run_command("features", work, as_json=as_json, quiet=quiet, verbose=verbose, debug=debug)


def check(choices: FeatureChoices, output: OutputChoices) -> None:
    """Reject options that exclude each other, and those that would have no effect.

    Raises:
        UsageError: two kinds of pictures at once, an option that this kind does not take, or more channels than a contact
            sheet has room for.
    """
    choices.image.as_recipe()
    picture, reduce = choices.picture, choices.reduce
    if reduce and picture.columns:
        raise UsageError("One map per layer has no columns.", hint="Omit --columns or --reduce.")
    if choices.overlay:
        _check_overlay(choices, output)
    if choices.overview and choices.tap == "input":
        raise UsageError("An overview shows the outputs of layers.", hint="Omit --tap or --overview.")
    kind = _kind(choices)
    if choices.contact and picture.top:
        from kernelviz.drawing.contact import check_count

        check_count(picture.top)
    if choices.bases and reduce != "pca":
        raise UsageError("--basis is for principal components.", hint="Add --reduce pca, or omit --basis.")
    if choices.skip_existing and output.force:
        raise UsageError("--force overwrites what --skip-existing keeps.", hint="Omit one of them.")
    for option, value in _without_effect(kind, choices, output).items():
        if value:
            raise UsageError(f"{kind} takes no {option}.", hint=f"Omit {option} or {kind}.")


def _check_overlay(choices: FeatureChoices, output: OutputChoices) -> None:
    picture = choices.picture
    if picture.top or picture.sort:
        raise UsageError("An overlay takes maps by --channels.", hint="Omit --top and --sort.")
    if choices.reduce and picture.channels:
        raise UsageError("An overlay shows single maps or one reduction.", hint="Omit --channels or --reduce.")
    if picture.bare:
        raise UsageError("An overlay is a page, not bare tiles.", hint="Omit --style or --overlay.")
    unused = {"--arrays": output.arrays, "--cmap": picture.cmap, "--columns": picture.columns, "--zoom": picture.zoom}
    for option, value in unused.items():
        if value:
            raise UsageError(f"An overlay takes no {option}.", hint=f"Omit {option} or --overlay.")


def _kind(choices: FeatureChoices) -> str:
    """The option that chooses the kind of pictures; empty for plain maps.

    Raises:
        UsageError: two kinds that exclude each other.
    """
    kinds = {
        "--single": choices.single, "--statistics": choices.statistics, "--contact": choices.contact,
        "--reduce": choices.reduce, "--overlay": choices.overlay,
    }  # fmt: skip
    given = [name for name, value in kinds.items() if value]
    if len(given) > 1 and not set(given) <= {"--statistics", "--contact"} and set(given) != {"--reduce", "--overlay"}:
        raise UsageError(f"{given[0]} and {given[1]} cannot be combined.", hint=f"Omit {given[1]}.")
    return "--reduce pca" if choices.reduce == "pca" else given[0] if given else ""


def _without_effect(kind: str, choices: FeatureChoices, output: OutputChoices) -> Mapping[str, object]:
    """The options that a kind of picture does not take, with their values."""
    picture = choices.picture
    if kind == "--reduce pca":
        return {"--overlay": choices.overlay, "--channels": picture.channels, "--top": picture.top,
                "--sort": picture.sort, "--scale": picture.scale, "--cmap": picture.cmap}  # fmt: skip
    if kind == "--single":
        look = output.look
        return {f"--look {look.name}": look.size, "--no-caption": not look.caption and not look.size,
                "--columns": picture.columns, "--arrays": output.arrays, "--overview": choices.overview,
                "--format": output.suffix != ".png"}  # fmt: skip
    if kind in ("--statistics", "--contact"):
        unused = {"--skip-existing": choices.skip_existing, "--overview": choices.overview, "--style": picture.bare,
                  "--sort": picture.sort, "--scale": picture.scale, "--cmap": picture.cmap,
                  "--columns": picture.columns, "--zoom": picture.zoom}  # fmt: skip
        if not choices.contact:
            unused |= {"--channels": picture.channels, "--top": picture.top}
        return unused if choices.statistics else unused | {"--arrays": output.arrays}
    return {}

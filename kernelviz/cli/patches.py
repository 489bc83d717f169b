"""``kernelviz patches``: the patches of many images that excite the channels of a layer most."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kernelviz.cli import loading, options, outputs, session, terminal
from kernelviz.cli.advice import check_order
from kernelviz.cli.feature_pictures import FeatureChoices, prepare, read
from kernelviz.cli.feature_summaries import check_paths
from kernelviz.cli.feature_workers import Jobs, gather
from kernelviz.cli.features import BatchSize, Images
from kernelviz.cli.loading import ImageChoices
from kernelviz.cli.model_choices import ModelChoices
from kernelviz.cli.outputs import OutputChoices, PictureChoices
from kernelviz.cli.session import run_command
from kernelviz.cli.worker_choices import WorkerChoices
from kernelviz.errors import KernelvizError, UsageError
from kernelviz.threads import BackgroundWriter
from kernelviz.wording import counted, inflected

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kernelviz.cli.feature_pictures import FeatureRun
    from kernelviz.cli.session import Report
    from kernelviz.cli.terminal import Progress
    from kernelviz.network.inputs import Input
    from kernelviz.records import KernelBank, Recipe
    from kernelviz.views.patches import Patches, PatchTally


Layers = Annotated[
    list[str] | None,
    typer.Option(
        "--layer",
        "-l",
        metavar="PATTERN",
        help="A layer, as in `kernelviz features`. Repeatable. Default: the first convolution and the stages.",
        autocompletion=options.complete_layer,
        show_default=False,
    ),
]
Count = Annotated[
    int, typer.Option("--patches", min=1, max=64, metavar="N", help="Patches per channel, the best on the left.")
]
PerImage = Annotated[
    int,
    typer.Option(
        "--per-image", min=1, metavar="N", help="At most N patches of one image, half a receptive field apart."
    ),
]
Lowest = Annotated[
    bool, typer.Option("--lowest", help="Also show the smallest values. Not for layers whose smallest value is 0.")
]
Inside = Annotated[
    bool,
    typer.Option("--inside", help="Only units whose whole receptive field is inside the image: padding excites too."),
]
Channels = Annotated[
    str | None,
    typer.Option(
        "--channels",
        metavar="0-15,40",
        help="Draw only these channels. Default: those whose patches are highest above the channel's mean, in its "
        "standard deviations.",
        show_default=False,
        rich_help_panel=options.PICTURES,
    ),
]
Top = Annotated[
    int | None,
    typer.Option(
        "--top", min=1, metavar="N", help="Draw only N channels. Default: 6.", show_default=False,
        rich_help_panel=options.PICTURES,
    ),
]  # fmt: skip
Single = Annotated[
    bool,
    typer.Option(
        "--single",
        help="Write one bare PNG per patch, into a folder per layer with an index.json; patches of an earlier run that are "
        "not among them are deleted.",
        rich_help_panel=options.PICTURES,
    ),
]
Arrays = Annotated[
    bool,
    typer.Option(
        "--arrays",
        help="Also write the values and positions of all channels as .npz.",
        rich_help_panel=options.OUTPUT,
    ),
]


_SINGLE = re.compile(r"\d{4,}(-lowest)?-\d{2,}\.png")


def patches(
    model: options.ModelName,
    images: Images,
    *,
    layer: Layers = None,
    recursive: options.Recursive = False,
    count: Count = 8,
    per_image: PerImage = 1,
    lowest: Lowest = False,
    inside: Inside = False,
    weights: options.WeightsChoice = "auto",
    weights_key: options.WeightsKey = None,
    fitting: options.Partial = False,
    model_arg: options.ModelArgs = None,
    seed: options.Seed = 0,
    timeout: options.Timeout = 10.0,
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
    channels: Channels = None,
    top: Top = None,
    look: options.LookChoice = options.LookName.PAGE,
    no_caption: options.NoCaption = False,
    file_format: options.Format = options.FileFormat.PNG,
    single: Single = False,
    batch_size: BatchSize = 1,
    output: options.Output = Path("kernelviz-out"),
    arrays: Arrays = False,
    force: options.Force = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    debug: options.Debug = False,
) -> int:
    """Show what excites the channels of a layer: the patches of many images with the largest values.

    For example: kernelviz patches tf_efficientnet_lite0 photos -r -l blocks.2.1.conv_dw

    In four processes: kernelviz patches tf_efficientnet_lite0 photos -r -l blocks.2.1.conv_dw --workers 4
    """

    def work(report: Report) -> None:
        report.more |= {"images": session.ImageRows(top=None), "layers": []}
        check_order("patches", model, images)
        destination = OutputChoices(
            output, f".{file_format}", arrays, force, outputs.chosen_look(look, no_caption, report)
        )
        picture = PictureChoices(channels, top, None, None, None, None, None, options.Style.FIGURE)
        wanted = PatchChoices(count, min(per_image, count), lowest, inside, single)
        _check(wanted, destination, picture)
        choices = FeatureChoices(
            patterns=layer, kind="all", tap="output", reduce=None, overlay=False, overview=False, classes=False,
            size=options.parse_sides(input_size), crop=crop, batch_size=batch_size, skip_existing=False, single=False,
            statistics=False, contact=False, bases=(), picture=picture, lists_images=verbose,
            image=ImageChoices(value_range, bands, mean, std, interpolation),
        )  # fmt: skip
        choices.image.as_recipe()
        parallel = WorkerChoices(workers, ray, threads, str(device))
        parallel.check()
        named = loading.named_images(images, output, report, recursive=recursive)
        with (
            parallel.quiet(report), terminal.progress(shown=not quiet) as progress, BackgroundWriter() as writer,
        ):  # fmt: skip
            chosen = ModelChoices(
                model, weights, seed, timeout, str(device), parallel.threads, weights_key=weights_key, partial=fitting,
                arguments=model_arg, runs=True, input_size=input_size,
            )  # fmt: skip
            parallel.check_device(progress)
            network = choices.image.prepare(loading.load(chosen, report, progress), report)
            progress(f"tracing {model}", 0, 0)
            run = prepare(network, choices, destination, report, paths=named, writer=writer)
            run = replace(run, unusual={key: value for key, value in run.unusual.items() if key != "classes"})
            run = replace(run, engine=parallel.engine(report, named, output))
            draw_patches(run, wanted, named, progress)
        if run.plan.broken is not None:
            raise run.plan.broken

    return run_command("patches", work, as_json=as_json, quiet=quiet, verbose=verbose, debug=debug)


@dataclass(frozen=True)
class PatchChoices:
    """Which patches are chosen, and whether each becomes a file of its own."""

    count: int
    per_image: int
    lowest: bool
    inside: bool
    single: bool

    def tally(self) -> PatchTally:
        """An empty tally."""
        from kernelviz.views.patches import PatchTally

        return PatchTally(self.count, self.per_image, lowest=self.lowest, inside=self.inside)

    @property
    def ending(self) -> tuple[str, ...]:
        """What the name of a file has besides the defaults."""
        chosen = {"inside": self.inside, "lowest": self.lowest, f"per-image-{self.per_image}": self.per_image > 1}
        return tuple(name for name, value in chosen.items() if value)


def _check(wanted: PatchChoices, output: OutputChoices, picture: PictureChoices) -> None:
    """Reject what is wrong in the options alone.

    Raises:
        UsageError: options that exclude each other, or have no effect.
    """
    outputs.check_directory(output.directory, writable=True)
    if picture.channels is not None and picture.top is not None:
        raise UsageError("--channels and --top cannot be combined.", hint="Omit one of them.")
    if wanted.single:
        look = output.look
        unused = {
            f"--look {look.name}": look.name != "page", "--no-caption": not look.caption and not look.size,
            "--format": output.suffix != ".png",
        }  # fmt: skip
        for option, value in unused.items():
            if value:
                raise UsageError(f"--single takes no {option}.", hint=f"Omit {option} or --single.")


def draw_patches(run: FeatureRun, wanted: PatchChoices, paths: Sequence[str], progress: Progress) -> None:
    """Run every image through the network, then draw the patches of each layer; if a layer fails, others go on."""
    layers = _usable(run, wanted)
    tallies: dict[str, PatchTally] = {}

    def begin(name: str) -> None:
        _check_channels(run, name)
        if not wanted.single:
            suffixes = [run.output.suffix, ".npz"] if run.output.arrays else [run.output.suffix]
            check_paths(run, _stem(run, wanted, name), _identity(run, name, None), suffixes)
        tallies[name] = wanted.tally()

    for name in layers:
        session.attempt(run.report, name, len(layers), partial(begin, name))
    jobs = Jobs(paths)
    if tallies:
        capture = run.plan.capture.only(tallies)  # a layer that is left out may have no real numbers to capture
        run = replace(run, plan=replace(run.plan, capture=capture))
        gather(run, jobs, {(name, "patches"): tally for name, tally in tallies.items()}, progress)
    for name, tally in tallies.items():
        if len(tally.images):
            work = partial(_draw, run, wanted, tally, jobs, progress)
            session.attempt(run.report, name, len(layers), work)


def _usable(run: FeatureRun, wanted: PatchChoices) -> list[str]:
    """The layers whose receptive fields are known; others are counted, or refused if they are named.

    Raises:
        UsageError: the only layer is refused, or none is left.
    """
    from kernelviz.views.patches import check_field, check_inside

    named = set(run.choices.patterns or ())
    usable: list[str] = []
    refused: dict[str, UsageError] = {}
    for tap in run.plan.capture.taps.taps:
        try:
            found = check_field(tap.field, tap.name, tap.lost, per_image=wanted.per_image)
            if wanted.inside:
                check_inside(found, tap.name, run.plan.capture.input_size[1:])
        except UsageError as error:
            refused[tap.name] = error
        else:
            usable.append(tap.name)
    if not usable and refused:
        raise next(iter(refused.values()))
    lines = []
    for name, reason in refused.items():
        if name in named:
            run.report.add_failure(name, reason)
        else:
            lines.append(f"{name}: {reason.what} {reason.why}".strip())
    run.report.note(*lines)
    if lines:
        verb = inflected(len(lines), "layer is", "layers are")
        run.report.inform_briefly(f"{len(lines)} {verb} left out", lines)
    return usable


def _check_channels(run: FeatureRun, name: str) -> None:
    """Reject channels that a layer does not have, before any image is read.

    Raises:
        UsageError: there is one.
    """
    from kernelviz.views.kernel_views import named_channels

    if run.choices.picture.channels is not None:
        try:
            named_channels(run.choices.picture.channels, run.plan.sizes[name])
        except UsageError as error:
            raise UsageError(f"{name}: {error.what}", error.why, error.hint or "Choose other --channels.") from error


def _stem(run: FeatureRun, wanted: PatchChoices, layer: str) -> str:
    from kernelviz.files.names import file_stems

    source = run.plan.network.source
    stems = file_stems([(source.stem, name, "patches", *wanted.ending) for name in run.plan.drawn])
    return stems[run.plan.drawn.index(layer)]


def _identity(run: FeatureRun, layer: str, images: Recipe | None) -> dict[str, Any]:
    model = run.plan.network.source.as_recipe()
    return {"command": "patches", "model": model, "layer": layer, "view": "patches", "image": images}


def _draw(run: FeatureRun, wanted: PatchChoices, tally: PatchTally, jobs: Jobs, progress: Progress) -> None:
    """Cut the patches of a layer out of their images, draw them, and report them."""
    from kernelviz.streaming import cut_patches
    from kernelviz.views.patches import patches_entry, patches_table

    found = tally.result()
    picture, report = run.choices.picture, run.report
    channels = found.chosen(picture.channels, picture.top)

    numbers = tally.numbers

    def read_again(image: int) -> Input:
        given = read(run, jobs[numbers[image]])
        if given is None:
            raise KernelvizError(f"The image {found.images[image]} cannot be read again.")
        return given

    found = cut_patches(found, found.places_of(channels), read_again, progress)
    report.more["layers"].append(patches_entry(found, channels))
    report.inform(f"{found.layer}: {counted(len(found.mean), 'channel')} over {counted(len(found.images), 'image')}")
    report.inform(*patches_table(found, channels, width=terminal.message_width()))
    if wanted.single:
        _write_singles(run, wanted, found, channels)
    else:
        _write_page(run, wanted, found, channels)


def _facts(found: Patches, recipe: Mapping[str, Any]) -> dict[str, Any]:
    """What the row of a file states."""
    return {
        "layer": found.layer, "view": "patches", "shape": (len(found.mean),), "shown": recipe["shown"],
        "total": recipe["total"], "nonfinite": recipe["nonfinite"], "notes": recipe["notes"],
    }  # fmt: skip


def _write_page(run: FeatureRun, wanted: PatchChoices, found: Patches, channels: Sequence[int]) -> None:
    """Write the picture and, with ``--arrays``, the numbers of all channels."""
    from kernelviz.drawing.patches_page import patches_recipe, plot_patches
    from kernelviz.files.writing import save_arrays

    identity = _identity(run, found.layer, found.identity)
    path = outputs.picture_path(_stem(run, wanted, found.layer), identity, run.output, run.report)
    look = run.output.look
    kernels = _kernels(run, found.layer)
    figure = plot_patches(found, channels, kernels=kernels, look=look.name, caption=look.caption)
    recipe = run.recipe(figure.recipe, None)
    figure.recipe = recipe
    outputs.save_page(figure, path, run.report, force=run.output.force)
    if recipe["shown"] < len(channels):
        run.report.inform(f"  The picture shows {recipe['shown']} of these {len(channels):,} channels, as many as fit")
    run.report.inform(*(f"  {note}" for note in recipe["notes"]))
    run.report.add_output(session.output_row(path, **_facts(found, recipe)))
    if run.output.arrays:
        recipe = run.recipe(patches_recipe(found, channels), None)
        arrays = save_arrays(_arrays(found), path.with_suffix(".npz"), recipe=recipe, force=run.output.force)
        run.report.add_output(session.output_row(arrays, **_facts(found, recipe)))


def _write_singles(run: FeatureRun, wanted: PatchChoices, found: Patches, channels: Sequence[int]) -> None:
    """Write a PNG for each patch, its pixels as the network saw them, and an index."""
    from kernelviz.drawing.patches_page import patches_recipe, single_patch
    from kernelviz.files.single_maps import INDEX, replaced_singles
    from kernelviz.files.writing import save_bytes, save_picture
    from kernelviz.views.patches import patch_entry

    identity, force = _identity(run, found.layer, found.identity), run.output.force
    output = replace(run.output, suffix=f"/{INDEX}", arrays=False)
    index = outputs.picture_path(_stem(run, wanted, found.layer), identity, output, run.report)
    recipe, files = run.recipe(patches_recipe(found, channels), None), []
    pictures: dict[str, tuple[int, Any]] = {}
    for ranking, kind in zip(found.rankings, ("", "-lowest"), strict=False):
        for channel in channels:
            for at, place in enumerate(map(tuple, ranking.places[channel, : int(ranking.counts[channel])].tolist())):
                name = f"{channel:04d}{kind}-{at + 1:02d}.png"
                pictures[name] = channel, found.crops[place]
                entry = patch_entry(found, ranking, channel, at)
                files.append({"file": name, "channel": channel, "rank": at + 1, "lowest": bool(kind), **entry})
    content = {"layer": found.layer, "recipe": dict(recipe), "files": files}
    with replaced_singles(index, pictures, recipe, own=_SINGLE, force=force) as folder:
        for name, (channel, crop) in pictures.items():
            one = {**recipe, "channels": [channel], "shown": 1}
            save_picture(single_patch(crop, one), folder / name, force=force)
        save_bytes(f"{session.json_text(content)}\n".encode("ascii"), folder / INDEX, recipe=recipe, force=force)
    run.report.inform(*(f"  {note}" for note in recipe["notes"]))
    run.report.inform(f"{found.layer}: {counted(len(files), 'patch', 'patches')}, one file each")
    run.report.add_output(session.output_row(index, **_facts(found, recipe)))
    if run.output.arrays:
        from kernelviz.files.writing import save_arrays

        path = save_arrays(_arrays(found), index.parent / "patches.npz", recipe=recipe, force=run.output.force)
        run.report.add_output(session.output_row(path, **_facts(found, recipe)))


def _kernels(run: FeatureRun, name: str) -> KernelBank | None:
    """The kernels of a layer; None if it is no convolution, or they cannot be read."""
    from kernelviz.network.convolutions import list_layers
    from kernelviz.network.kernels import read_kernels
    from kernelviz.wording import split_name

    module = split_name(name)[0]
    network = run.plan.network
    found = next((layer for layer in list_layers(network) if layer.name == module and layer.expert is None), None)
    if found is None or found.transposed:
        return None
    try:
        return read_kernels(network, found)
    except KernelvizError:
        return None


def _arrays(found: Patches) -> dict[str, Any]:
    """The values (C, k), places (C, k, 3) and boxes (C, k, 4) of all channels, and the names of the images."""
    import numpy as np

    from kernelviz.views.patches import sides_first

    arrays: dict[str, Any] = {}
    for ranking, prefix in zip(found.rankings, ("", "lowest_"), strict=False):
        boxes = sides_first(ranking.boxes)
        arrays |= {f"{prefix}values": ranking.values, f"{prefix}places": ranking.places, f"{prefix}boxes": boxes}
    return {**arrays, "images": np.array(found.images, dtype=np.str_)}

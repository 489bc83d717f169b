"""``kernelviz explain layer``: the arithmetic of a layer, one value traced, or a kernel beside its feature map."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from kernelviz.cli import loading, options, outputs, remembered, session, terminal
from kernelviz.cli.explain import Directory
from kernelviz.cli.explain_csv import Csv, PrepareTable, check_csv, prepare_csv
from kernelviz.cli.loading import ImageChoices
from kernelviz.cli.model_choices import ModelChoices
from kernelviz.cli.outputs import OutputChoices
from kernelviz.cli.session import run_command
from kernelviz.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from kernelviz.cli.session import Report
    from kernelviz.cli.terminal import Progress
    from kernelviz.network.model import Model
    from kernelviz.records import Image
    from kernelviz.traces import Unit


LayerName = Annotated[
    str,
    typer.Argument(
        metavar="LAYER",
        help="A convolution or a pooling (name#2: its second run), or a module or stage:0 that contains exactly one; "
        "`kernelviz layers` lists them.",
        autocompletion=options.complete_layer,
    ),
]
ImagePath = Annotated[
    str | None,
    typer.Option("--image", metavar="IMAGE", help="Run the model on this image.", show_default=False),
]
Channels = Annotated[
    str | None,
    typer.Option(
        "--channels", metavar="0-2,5", help="Output channels, one picture each. Default: 0.", show_default=False
    ),
]
At = Annotated[
    str | None,
    typer.Option("--at", metavar="ROW,COLUMN", help="Trace this value of the feature map.", show_default=False),
]
MOST = 64
MOST_NUMBERS = 500_000  # of maps in a document


@dataclass(frozen=True)
class LayerChoices:
    """Which layer is explained, and on which image, as typed."""

    model: ModelChoices
    layer: str
    image: str | None
    at: str | None
    channels: str | None
    input_size: str | None
    crop: bool | None
    reading: ImageChoices

    @property
    def position(self) -> tuple[int, int] | None:
        """The row and the column to trace.

        Raises:
            UsageError: the text is not two whole numbers.
        """
        return options.parse_position(self.at, "unit")


def layer(
    model: options.ModelName,
    layer: LayerName,
    *,
    image: ImagePath = None,
    channels: Channels = None,
    at: At = None,
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
    look: options.LookChoice = options.LookName.PAGE,
    no_caption: options.NoCaption = False,
    file_format: options.Format = options.FileFormat.PNG,
    output: Directory = None,
    csv: Csv = None,
    arrays: options.Arrays = False,
    no_cache: options.NoCache = False,
    force: options.Force = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> int:
    """Explain a layer of a model: its sizes; with an image, how a kernel produces its map, or how one value is computed.

    For example: kernelviz explain layer tf_efficientnet_lite0 conv_stem --image photo.jpg --channels 15 --at 69,73
    """

    def work(report: Report) -> None:
        chosen = ModelChoices(
            model, weights, seed, timeout, str(device), threads, weights_key=weights_key, partial=fitting,
            arguments=model_arg, runs=True, input_size=input_size, cache=not no_cache,
        )  # fmt: skip
        reading = ImageChoices(value_range, bands, mean, std, interpolation)
        choices = LayerChoices(chosen, layer, image, at, channels, input_size, crop, reading)
        draws = arrays or (force and csv is None) or no_caption or look != "page"
        check(choices, output, draws=draws, writes=csv is not None)
        check_csv(csv)
        chosen_look = outputs.chosen_look(look, no_caption, report)
        destination = None
        if output is not None:
            destination = OutputChoices(output, f".{file_format}", arrays, force, chosen_look)
        with terminal.progress(shown=not quiet) as progress:
            table = partial(prepare_csv, csv, report=report, force=force) if csv is not None else None
            explained = explain_sizes if image is None else partial(explain_values, output=destination)
            lines = explained(choices, report, progress, table=table)
        if destination is not None or csv is not None:
            report.inform(*terminal.fold_message(lines))
        elif not as_json:
            terminal.print_text(*terminal.fold(lines))

    return run_command("explain", work, as_json=as_json, quiet=quiet, debug=debug)


def check(choices: LayerChoices, output: Path | None, *, draws: bool, writes: bool = False) -> None:
    """Reject what is wrong in the options alone, before anything is loaded.

    Raises:
        UsageError: options that need an image, a directory, or a position.
    """
    typed = {f"--{name}": value for name, value in asdict(choices.reading).items()}
    values = {"--channels": choices.channels, "--at": choices.at, "-o": output, **typed}
    given = [name for name, value in values.items() if value is not None]
    if choices.image is None and given:
        raise UsageError(
            f"{given[0]} needs an image: a layer has values only for one.",
            hint="Add --image photo.jpg, or --image sample:grace_hopper",
        )
    if output is None and draws:
        raise UsageError("--arrays, --force, --look and --no-caption are for files.", hint="Add -o kernelviz-out")
    if choices.image is not None and choices.at is None and output is None and not writes:
        raise UsageError(
            "With --image, --at, -o or --csv is needed.",
            hint="Add --at ROW,COLUMN for one value, or -o kernelviz-out for pictures of kernel and map.",
        )
    _ = choices.position, choices.reading.as_recipe()
    options.parse_sides(choices.input_size, traced=choices.image is None)
    if output is not None:
        outputs.check_directory(output)


def explain_sizes(
    choices: LayerChoices, report: Report, progress: Progress, *, table: PrepareTable | None = None
) -> list[str]:
    """The arithmetic of the layer, without weights."""
    from kernelviz.explain.texts import layer_lines, layer_operation_entry

    bare = replace(choices.model, weights=None, weights_key=None, partial=False, device="cpu")
    found = remembered.recalled_operation(bare, choices.layer) if bare.cache else None
    if found is not None and found.source is not None:
        loading.announce(found.source, bare, report)
    else:
        network = loading.load(bare, report, progress)
        from kernelviz.network.layer_operation import operation_and_trace

        progress(f"tracing {choices.model.name}", 0, 0)
        size = options.parse_size(choices.input_size, network, traced=True)
        found, traced = operation_and_trace(network, choices.layer, size)
        if bare.cache:
            remembered.remember_operation(bare, choices.layer, network, found, traced)
    report.more |= {**layer_operation_entry(found), "preprocessing": None}
    if table is not None:
        table((*([found.source.stem] if found.source else []), found.layer.name, "sizes"), report.more)()
    return layer_lines(found)


def explain_values(
    choices: LayerChoices, report: Report, progress: Progress, output: OutputChoices | None,
    *, table: PrepareTable | None = None,
) -> list[str]:  # fmt: skip
    """What the layer computes from an image; the pictures are written, and the lines for people returned."""
    from kernelviz.explain.unit_texts import map_entry, map_line, unit_entry, unit_lines
    from kernelviz.files.images import read_one_image
    from kernelviz.views.kernel_views import parse_channels

    image = read_one_image(choices.image or "", **choices.reading.reading)
    network = choices.reading.prepare(loading.load(choices.model, report, progress), report)
    progress(f"running {choices.model.name}", 0, 0)
    numbers = parse_channels(choices.channels or "0", 1 << 30)
    found = trace(choices, network, image, numbers)
    notes = [each for part in (found[0].image, found[0].seen) if part is not None for each in part.notes]
    report.warn(*(f"{image.name}: {note}" for note in notes))
    whole = choices.position is None
    if report.as_json or table is not None:
        from kernelviz.explain.texts import layer_operation_entry
        from kernelviz.network.layer_operation import layer_operation

        report.more |= layer_operation_entry(layer_operation(network, choices.layer, found[0].input_size))
        report.more["steps"] = [] if whole else [unit_entry(found[0])]
        size = sum(unit.map.size for unit in found)
        if whole and size > MOST_NUMBERS:
            report.warn(f"the numbers of the maps are omitted: {size:,}, and at most {MOST_NUMBERS:,} are written")
        report.more["maps"] = [map_entry(unit) for unit in found] if whole and size <= MOST_NUMBERS else []
        report.more["image"] = choices.image
    write = (
        None
        if table is None
        else table((*_name(found[0], whole=whole)[:3], _numbers_name(found, whole=whole)), report.more)
    )
    if output is not None:
        draw(found, output, report, whole=whole)
    if write is not None:
        write()
    return [map_line(unit) for unit in found] if whole else unit_lines(found[0])


def trace(choices: LayerChoices, network: Model, image: Image, numbers: Sequence[int]) -> tuple[Unit, ...]:
    """The units of these channels at the requested position, or at the first one, in one forward pass.

    Raises:
        UsageError: several channels for one position, or too many.
    """
    from kernelviz.network.units import trace_units

    if choices.position is not None and len(numbers) != 1:
        raise UsageError("--at takes one channel.", hint="Give one number to --channels, or omit --at.")
    if len(numbers) > MOST:
        raise UsageError(f"--channels takes at most {MOST} channels, but got {len(numbers):,}.")
    size = options.parse_size(choices.input_size, network)
    at = choices.position or (0, 0)
    return trace_units(
        network, image, choices.layer, [(number, *at) for number in numbers],
        input_size=size[1:] if size else None, crop=choices.crop,
    )  # fmt: skip


def draw(found: Sequence[Unit], output: OutputChoices, report: Report, *, whole: bool) -> None:
    """Draw each unit, or with ``whole`` its kernel and map, into a file; nothing is drawn if a path is taken.

    Raises:
        FileInTheWayError: a path is taken.
        WriteError: a file could not be written.
    """
    from kernelviz.explain.unit_pages import plot_kernel_and_map, plot_unit, unit_recipe
    from kernelviz.files.names import file_stems
    from kernelviz.files.writing import save_arrays

    recipes = [unit_recipe(unit, whole=whole) for unit in found]
    paths = [
        outputs.picture_path(stem, recipe, output, report)
        for stem, recipe in zip(file_stems([_name(unit, whole=whole) for unit in found]), recipes, strict=True)
    ]
    for unit, path, recipe in zip(found, paths, recipes, strict=True):
        row = partial(
            session.output_row, layer=unit.layer.name, image=unit.image.path or unit.image.name if unit.image else None,
            view=recipe["view"], shape=unit.map.shape, shown=recipe["shown"], total=len(unit.numbers),
            limits=recipe["limits"], nonfinite=recipe["nonfinite"], notes=recipe["notes"],
        )  # fmt: skip
        plot = plot_kernel_and_map if whole else plot_unit
        figure = plot(unit, look=output.look.name, caption=output.look.caption)
        report.add_output(row(outputs.save_page(figure, path, report, force=output.force)))
        if output.arrays:
            arrays = {"inputs": unit.inputs, "kernel": unit.kernel, "map": unit.map}
            if not whole:
                arrays |= {"window": unit.window, "products": unit.products}
            report.add_output(row(save_arrays(arrays, path.with_suffix(".npz"), recipe=recipe, force=output.force)))


def _numbers_name(found: Sequence[Unit], *, whole: bool) -> str:
    """``maps-0-2``, or ``unit-15-69-73``."""
    if whole:
        return "-".join(["maps", *(str(number) for number in sorted({found[0].at[0], found[-1].at[0]}))])
    return "-".join(["unit", *map(str, found[0].at)])


def _name(unit: Unit, *, whole: bool) -> tuple[str, ...]:
    """The parts of a file's name."""
    stem = unit.image.stem if unit.image else "input"
    model = unit.source.stem if unit.source else "network"
    number, row, column = unit.at
    what = ("map", str(number)) if whole else ("unit", f"{number}-{row}-{column}")
    return (stem, model, unit.layer.name, *what)

"""``kernelviz explain layer``: a layer's arithmetic with its own sizes, one value traced, kernel and map side by side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kernelviz.cli import explain as own
from kernelviz.cli import options
from kernelviz.cli.session import Goal, check_directory, find_place, load

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
    typer.Argument(metavar="LAYER", help="A convolution or a pool by its exact name; `kernelviz layers` lists them."),
]
ImagePath = Annotated[
    str | None,
    typer.Option(
        "--image", metavar="IMAGE", help="Run the model on it: a file, or sample:grace_hopper.", show_default=False
    ),
]
Channels = Annotated[
    str | None,
    typer.Option(
        "--channels", metavar="0-2,5", help="Of which maps, a picture each; 0 unless said.", show_default=False
    ),
]
At = Annotated[
    str | None,
    typer.Option("--at", metavar="ROW,COLUMN", help="Trace this one value of the map.", show_default=False),
]
MOST = 64


@dataclass(frozen=True)
class Wish:
    """What was asked for, as it was typed."""

    model: str
    layer: str
    image: str | None
    at: str | None
    channels: str | None
    weights: str
    seed: int
    timeout: float
    input_size: str | None
    crop: bool | None
    device: str
    threads: int | None
    output: Path | None

    @property
    def place(self) -> tuple[int, int] | None:
        """The row and the column that were asked for.

        Raises:
            UsageError: they are no two whole numbers.
        """
        return options.parse_place(self.at, "unit")


def layer(
    model: options.ModelName,
    layer: LayerName,
    *,
    image: ImagePath = None,
    channels: Channels = None,
    at: At = None,
    weights: options.WeightsChoice = "auto",
    seed: options.Seed = 0,
    timeout: options.Timeout = 10.0,
    input_size: options.InputSize = None,
    crop: options.Crop = None,
    device: options.Device = options.DeviceName.AUTO,
    threads: options.Threads = None,
    file_format: options.Format = options.FileFormat.PNG,
    output: own.Directory = None,
    arrays: options.Arrays = False,
    force: options.Force = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> int:
    """Explain a layer of a model: its sizes; with an image how a kernel makes a map, or where one value comes from.

    For example: kernelviz explain layer tf_efficientnet_lite0 conv_stem --image photo.jpg --channels 15 --at 69,73
    """
    from kernelviz.cli import session, terminal
    from kernelviz.cli.session import Report, document, json_text

    report = Report("explain")
    wish = Wish(
        model, layer, image, at, channels, weights, seed, timeout, input_size, crop, str(device), threads, output
    )
    try:
        check(wish, draws=arrays or force)
        goal = None
        if output is not None:
            goal = Goal(output, f".{file_format}", arrays, force, quiet, verbose=False, as_json=as_json)
        with terminal.progress(shown=not quiet) as progress:
            if image is None:
                lines, more = sizes(wish, report, progress)
            else:
                lines, more = values(wish, goal, report, progress, as_json=as_json)
        if goal is not None and not quiet:
            terminal.say(*lines)
    except Exception as error:  # noqa: BLE001  (every command ends in a message)
        return session.failed(report, error, as_json=as_json, debug=debug)
    if as_json:
        terminal.result(json_text(document(report, None, **more)))
    elif goal is None:
        terminal.result("\n".join(lines))
    else:
        terminal.result("\n".join(entry["path"] for entry in report.outputs))
    return session.outcome(report)


def check(wish: Wish, *, draws: bool) -> None:
    """Refuse at once what can be told from the command alone.

    Raises:
        UsageError: choices that need an image, a place for pictures, or a unit.
    """
    from kernelviz.errors import UsageError

    asked = {"--channels": wish.channels, "--at": wish.at, "-o": wish.output}
    needy = [name for name, value in asked.items() if value is not None]
    if wish.image is None and needy:
        raise UsageError(
            f"{needy[0]} needs an image: values are what a layer makes of one.",
            hint="Add --image photo.jpg, or --image sample:grace_hopper",
        )
    if wish.output is None and draws:
        raise UsageError("--arrays and --force are of what is drawn.", hint="Add -o kernelviz-out")
    if wish.image is not None and wish.at is None and wish.output is None:
        raise UsageError(
            "With an image, what is to be shown?",
            hint="Add --at ROW,COLUMN for one value, or -o kernelviz-out for pictures of kernel and map.",
        )
    _ = wish.place
    if wish.output is not None:
        check_directory(wish.output)


def sizes(wish: Wish, report: Report, progress: Progress) -> tuple[list[str], dict[str, Any]]:
    """The arithmetic of the layer, without weights."""
    from kernelviz.explain.texts import layer_lines, layer_operation_entry

    progress("importing torch and timm", 0, 0)
    from kernelviz.network.layer_operation import layer_operation
    from kernelviz.network.model import load_model

    progress(f"tracing {wish.model}", 0, 0)
    network = load_model(wish.model, weights=None)
    report.source = network.source
    found = layer_operation(network, wish.layer, options.parse_size(wish.input_size, network))
    return layer_lines(found), layer_operation_entry(found)


def values(
    wish: Wish, goal: Goal | None, report: Report, progress: Progress, *, as_json: bool
) -> tuple[list[str], dict[str, Any]]:
    """What the layer makes of an image: the pictures are written, and what is told of them comes back."""
    from kernelviz.cli.terminal import say
    from kernelviz.explain.unit_texts import map_line, unit_entry, unit_lines
    from kernelviz.files.images import read_image
    from kernelviz.views.kernel_views import parse_channels

    image = read_image(wish.image or "")
    network = load(
        wish.model, wish.weights, wish.seed, wish.timeout, progress, threads=wish.threads, device=wish.device
    )
    report.source = network.source
    report.warnings += network.source.notes
    progress(f"running {wish.model}", 0, 0)
    numbers = parse_channels(wish.channels or "0", 1 << 30)
    found = trace(wish, network, image, numbers)
    notes = [*image.notes, *(found[0].seen.notes if found[0].seen else ())]
    report.warnings += [f"{image.name}: {note}" for note in notes]
    if not (goal and goal.quiet):
        say(network.source.provenance, *network.source.notes, *(f"{image.name}: {note}" for note in notes))
    if goal is not None:
        draw(found, goal, report, whole=wish.place is None)
    lines = [map_line(unit) for unit in found] if wish.place is None else unit_lines(found[0])
    more: dict[str, Any] = {}
    if as_json:
        from kernelviz.explain.texts import layer_operation_entry
        from kernelviz.network.layer_operation import layer_operation

        size = found[0].input_size
        more = layer_operation_entry(layer_operation(network, wish.layer, size))
        more["steps"] = [] if wish.place is None else [unit_entry(found[0])]
        more["image"] = wish.image
    return lines, more


def trace(wish: Wish, network: Model, image: Image, numbers: Sequence[int]) -> tuple[Unit, ...]:
    """The units, in one pass: the one that was asked for, or of each channel the first.

    Raises:
        UsageError: several channels of one unit, or more than can be wanted.
    """
    from kernelviz.errors import UsageError
    from kernelviz.network.units import trace_units

    if wish.place is not None and len(numbers) != 1:
        raise UsageError("One value is of one channel.", hint="Give one number to --channels, or leave out --at.")
    if len(numbers) > MOST:
        raise UsageError(f"A picture a channel, but {len(numbers):,} are asked for.", hint=f"Give at most {MOST}.")
    size = options.parse_size(wish.input_size, network)
    at = wish.place or (0, 0)
    return trace_units(
        network, image, wish.layer, [(number, *at) for number in numbers],
        input_size=size[1:] if size else None, crop=wish.crop,
    )  # fmt: skip


def draw(found: Sequence[Unit], goal: Goal, report: Report, *, whole: bool) -> None:
    """Draw each into a file of the directory; nothing is drawn where something is in the way.

    Raises:
        FileInTheWayError: something else stands there.
        WriteError: a file could not be written.
    """
    from kernelviz.explain.unit_pages import plot_kernel_and_map, plot_unit, unit_recipe
    from kernelviz.files.names import file_stems
    from kernelviz.files.writing import save_arrays, save_picture

    recipes = [unit_recipe(unit, whole=whole) for unit in found]
    names = [_name(unit, whole=whole) for unit in found]
    places = []
    for stem, recipe, unit in zip(file_stems(names), recipes, found, strict=True):
        weights = unit.source.weights if unit.source else None
        secret = (unit.source.label if unit.source else "", (weights.sha256 if weights else None) or "",
                  unit.image.sha256 if unit.image else "")  # fmt: skip
        places.append(find_place(stem, recipe, secret, goal, report))
    for unit, place, recipe in zip(found, places, recipes, strict=True):
        figure = plot_kernel_and_map(unit) if whole else plot_unit(unit)
        _tell(report, unit, save_picture(figure, place, force=goal.force), recipe)
        if goal.arrays:
            arrays = {"inputs": unit.inputs, "kernel": unit.kernel, "map": unit.map}
            if not whole:
                arrays |= {"window": unit.window, "products": unit.products}
            target = save_arrays(arrays, place.with_suffix(".npz"), recipe=recipe, force=goal.force)
            _tell(report, unit, target, recipe)


def _name(unit: Unit, *, whole: bool) -> tuple[str, ...]:
    """The parts of a file's name."""
    stem = unit.image.stem if unit.image else "input"
    model = unit.source.stem if unit.source else "network"
    number, row, column = unit.at
    what = ("map", str(number)) if whole else ("unit", f"{number}-{row}-{column}")
    return (stem, model, unit.layer.name, *what)


def _tell(report: Report, unit: Unit, path: Path, recipe: Any) -> None:
    """Keep one written file in the report."""
    image = unit.image.path or unit.image.name if unit.image else None
    report.outputs.append({
        "path": str(path), "layer": unit.layer.name, "image": image, "view": recipe["view"],
        "shape": list(unit.map.shape), "shown": recipe["shown"], "total": len(unit.numbers), "limits": recipe["limits"],
        "nonfinite": recipe["nonfinite"], "notes": recipe["notes"],
    })  # fmt: skip

"""``kernelviz shift``: an image that moves, and which maps stay, move along, or neither."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kernelviz.cli import loading, options, outputs, session, terminal
from kernelviz.cli.advice import check_order
from kernelviz.cli.loading import ImageChoices
from kernelviz.cli.model_choices import ModelChoices
from kernelviz.cli.outputs import OutputChoices
from kernelviz.cli.session import run_command
from kernelviz.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Collection

    from kernelviz.cli.session import Report
    from kernelviz.views.shifts import ShiftedImage


ImagePath = Annotated[str, typer.Argument(metavar="IMAGE", help="A photograph, a URI, or sample:grace_hopper.")]
By = Annotated[
    str | None,
    typer.Option(
        "--by",
        metavar="0,1,2,…",
        help="Shifts in pixels of the network's input, at most eight; every whole one up to the largest is measured. "
        "Default: 0,1,2,4,8,16, as far as the photograph goes.",
        show_default=False,
    ),
]
Layers = Annotated[
    list[str] | None,
    typer.Option(
        "--layer",
        "-l",
        metavar="PATTERN",
        help="A layer, as in `kernelviz features`. Repeatable, at most six. Default: the first convolution, and of the "
        "stages the last one of each further map size.",
        show_default=False,
        autocompletion=options.complete_layer,
    ),
]
Channels = Annotated[
    str | None,
    typer.Option(
        "--channels",
        metavar="N,…",
        help="The channel to draw, or one for each layer. Default: the one with the largest standard deviation.",
        show_default=False,
        rich_help_panel=options.PICTURES,
    ),
]
Along = Annotated[str, typer.Option("--along", metavar="right|down", help="Where the image moves.")]
Edge = Annotated[
    bool,
    typer.Option(
        "--edge", help="Repeat the edge of the image for shifts beyond the photograph; the picture states it."
    ),
]


def shift(
    model: options.ModelName,
    image: ImagePath,
    *,
    by: By = None,
    layer: Layers = None,
    channels: Channels = None,
    along: Along = "right",
    edge: Edge = False,
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
    output: options.Output = Path("kernelviz-out"),
    arrays: options.Arrays = False,
    force: options.Force = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> int:
    """Shift an image by some pixels, and show which maps of a model stay and which move along.

    For example: kernelviz shift tf_efficientnet_lite0 photo.jpg --by 0,1,2,4,8,16 -l conv_stem -l blocks.1
    """

    def work(report: Report) -> None:
        from kernelviz.files.images import read_one_image
        from kernelviz.views.shifts import check_along, check_shifts

        shifts = None if by is None else check_shifts(whole_numbers(by, "--by"))
        numbers = None if channels is None else whole_numbers(channels, "--channels")
        check_along(along)
        check_order("shift", model, [image])
        outputs.check_directory(output)
        destination = OutputChoices(
            output, f".{file_format}", arrays, force, outputs.chosen_look(look, no_caption, report)
        )
        sides = options.parse_sides(input_size)
        reading = ImageChoices(value_range, bands, mean, std, interpolation)
        photograph = read_one_image(image, **reading.reading)
        with terminal.progress(shown=not quiet) as progress:
            chosen = ModelChoices(
                model, weights, seed, timeout, str(device), threads, weights_key=weights_key, partial=fitting,
                arguments=model_arg, runs=True, input_size=input_size,
            )  # fmt: skip
            network = reading.prepare(loading.load(chosen, report, progress), report)
            progress(f"running {model}", 0, 0)
            from kernelviz.network.shift import shift_image

            shifted = shift_image(
                network, photograph, shifts, layer, channels=numbers, along="down" if along == "down" else "right",
                edge=edge, input_size=sides, crop=crop,
            )  # fmt: skip
            report.warn(*(f"{photograph.name}: {note}" for note in shifted.notes))
            options_typed = {
                "layers": bool(layer), "channels": channels is not None, "edge": edge, "input_size": sides is not None,
                "crop": crop is True, "no-crop": crop is False,
            }  # fmt: skip
            draw(shifted, destination, report, {name for name, given in options_typed.items() if given})

    return run_command("shift", work, as_json=as_json, quiet=quiet, debug=debug)


def whole_numbers(text: str, option: str) -> list[int]:
    """Whole numbers separated by commas.

    Raises:
        UsageError: one is not.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdecimal() and len(part) < 10 for part in parts):
        raise UsageError(
            f"{option} takes whole numbers separated by commas, but got {text!r}.", hint=f"{option} 0,4,16"
        )
    return [int(part) for part in parts]


def draw(shifted: ShiftedImage, output: OutputChoices, report: Report, chosen: Collection[str] = ()) -> None:
    """Write the picture and, if requested, the numbers, and report both; ``chosen`` names options that were typed."""
    from kernelviz.drawing.shift_page import plot_shift, shift_recipe
    from kernelviz.files.names import file_stems
    from kernelviz.files.writing import save_arrays
    from kernelviz.views.shifts import shift_entry

    recipe, unusual = shift_recipe(shifted), name_parts(shifted, chosen)
    identity = {"identity": unusual} if unusual else {}
    image = shifted.image
    source = shifted.source.stem if shifted.source else "network"
    (stem,) = file_stems([(image.stem if image else "input", source, "shift", *unusual)])
    recipe |= identity
    path = outputs.picture_path(stem, recipe, output, report)
    report.more |= shift_entry(shifted)
    report.inform(*lines(shifted))
    look = output.look
    figure = plot_shift(shifted, look=look.name, caption=look.caption)
    figure.recipe = {**(figure.recipe or {}), **identity}
    written = [outputs.save_page(figure, path, report, force=output.force)]
    if output.arrays:
        written.append(save_arrays(numbers(shifted), path.with_suffix(".npz"), recipe=recipe, force=output.force))
    nonfinite = sum(layer.nonfinite for layer in shifted.layers)
    for each in written:
        report.add_output(session.output_row(
            each, image=(image.path or image.name) if image else None, view="shift", shown=len(shifted.layers),
            total=len(shifted.layers), nonfinite=nonfinite, notes=shifted.notes,
        ))  # fmt: skip


def name_parts(shifted: ShiftedImage, chosen: Collection[str]) -> list[str]:
    """What distinguishes the picture from that of the defaults, as in its name: layers, channels, shifts, and the input."""
    from kernelviz.views.shifts import USUAL

    parts = {
        "-".join(layer.name for layer in shifted.layers): "layers" in chosen,
        f"channel{'-'.join(str(layer.channel) for layer in shifted.layers)}": "channels" in chosen,
        f"by{'-'.join(map(str, shifted.by))}": shifted.by != USUAL,
        "down": shifted.along == "down",
        "edge": "edge" in chosen and shifted.repeated > 0,
        "x".join(map(str, (shifted.input_size or ())[1:])): "input_size" in chosen,
        "crop": "crop" in chosen,
        "no-crop": "no-crop" in chosen,
    }
    return [text for text, differs in parts.items() if differs]


def lines(shifted: ShiftedImage) -> list[str]:
    """The cosines at the largest shift, one line per layer."""
    from kernelviz.views.shifts import cosine_text

    result = []
    for layer in shifted.layers:
        largest = max(shifted.measured)
        stays = cosine_text(layer.invariance[largest], 3)
        text = f"{layer.name}: shifted by {largest} px, cosine {stays} with the original maps"
        rings = [at for at in layer.equivariance if at]
        if rings:
            text += f", {cosine_text(layer.equivariance[rings[-1]], 4)} with the originals shifted as well"
            text += f" (by {rings[-1]} px)" if rings[-1] != largest else ""
            counts = layer.columns.get(rings[-1])
            if counts is not None:
                cells = "rows" if shifted.along == "down" else "columns"
                text += f"; {counts.equal} of {counts.total} {cells} exactly equal"
        elif layer.lost:
            text += f"; {layer.lost}"
        result.append(text)
    if shifted.repeated:
        result.append(f"border made up: the edge is repeated, {shifted.repeated} px wide")
    return result


def numbers(shifted: ShiftedImage) -> dict[str, Any]:
    """The drawn maps (n, h, w) of each layer, the images (n, H, W, 3), and the cosines by measured shift."""
    import numpy as np

    arrays: dict[str, Any] = {"shifts": np.array(shifted.by), "images": shifted.pictures}
    arrays["measured"] = np.array(shifted.measured)
    for layer in shifted.layers:
        arrays[f"{layer.name}_maps"] = layer.maps
        for name in ("invariance", "equivariance"):
            found = getattr(layer, name)
            arrays[f"{layer.name}_{name}"] = np.array([found.get(at, np.nan) for at in shifted.measured])
    return arrays

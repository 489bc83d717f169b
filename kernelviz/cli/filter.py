"""``kernelviz filter``: the responses of classical and learned filters to an image."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from kernelviz.cli import loading, options, outputs, session, terminal
from kernelviz.cli.advice import filter_as_image
from kernelviz.cli.loading import ImageChoices
from kernelviz.cli.model_choices import ModelChoices
from kernelviz.cli.outputs import OutputChoices
from kernelviz.cli.session import run_command
from kernelviz.errors import UsageError
from kernelviz.wording import normalising_text, preprocessing_notes, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from kernelviz.cli.session import Report
    from kernelviz.filters.filtering import Border as Rule
    from kernelviz.filters.filtering import Response
    from kernelviz.network.model import Model
    from kernelviz.records import Array, Image


def check_list(*others: object) -> None:
    """Reject what ``--list`` would ignore.

    Raises:
        UsageError: an image or a filter is given too.
    """
    if any(others):
        raise UsageError(
            "--list shows the filters alone, without an image and its options, --kernel, --kernel-values or --from.",
            hint="Omit --list to filter the image.",
        )


def parse_values(text: str) -> Array:
    """(C, h, w) of typed numbers or of a CSV file; three channels read red, green and blue.

    Raises:
        KernelvizError: it is neither, or malformed.
    """
    from kernelviz.files.numbers import EXAMPLE, read_numbers

    values = read_numbers(text, "kernel")
    if values is None:
        raise UsageError(
            f"The kernel values '{shown(text)}' are not numbers or a CSV file.",
            hint=f"{EXAMPLE} For a filter by its name use --kernel.",
        )
    return values.values


def parse_learned(texts: list[str]) -> list[tuple[str, str, int]]:
    """Model, layer and channel of each ``MODEL:LAYER:CHANNEL``; a model's name may contain colons itself.

    Raises:
        UsageError: one is malformed, or they are of several models.
    """
    kernels = []
    for text in texts:
        name, _, channel = text.rpartition(":")
        model, _, layer = name.rpartition(":")
        if not (model and layer and channel.isdecimal() and len(channel) < 10):
            hint = "For example --from tf_efficientnet_lite0:conv_stem:15"
            raise UsageError(f"--from must be MODEL:LAYER:CHANNEL, but got {text!r}.", hint=hint)
        kernels.append((model, layer, int(channel)))
    models = list(dict.fromkeys(model for model, _, _ in kernels))
    if len(models) > 1:
        raise UsageError(
            "The learned kernels of one picture must be of one model.",
            f"But --from names {' and '.join(models)}.",
            "Draw one picture for each.",
        )
    return kernels


ImageName = Annotated[
    str | None,
    typer.Argument(
        metavar="IMAGE",
        help="An image file, a URI, `-` for standard input, or sample:grace_hopper.",
        show_default=False,
    ),
]
Kernels = Annotated[
    list[str] | None,
    typer.Option(
        "--kernel",
        "-k",
        metavar="NAME,NAME@5",
        help="Classical filters by name, or families: edge, blur, spot, line, …; @5 selects a size. sobel, scharr or "
        "prewitt alone draws the strength and the direction of edges. Repeatable.",
        show_default=False,
    ),
]
Values = Annotated[
    list[str] | None,
    typer.Option(
        "--kernel-values",
        metavar="NUMBERS|CSV",
        help="A filter as numbers ('0 -1 0; -1 4 -1; 0 -1 0', three channels separated by |), or a CSV file. Repeatable.",
        show_default=False,
    ),
]
From = Annotated[
    list[str] | None,
    typer.Option(
        "--from",
        metavar="MODEL:LAYER:CHANNEL",
        help="A learned kernel, drawn beside the classical filter closest to it. Repeatable.",
        show_default=False,
    ),
]
Size = Annotated[int, typer.Option("--size", metavar="N", help="Size of the filters that are named without one.")]
Border = Annotated[
    str, typer.Option("--border", metavar="repeat|mirror|zero", help="How the image is padded at its border.")
]
List = Annotated[bool, typer.Option("--list", help="Print a table of all filters of --size, and draw them.")]


def filter_image(
    image: ImageName = None,
    *,
    kernel: Kernels = None,
    kernel_values: Values = None,
    from_model: From = None,
    size: Size = 3,
    border: Border = "repeat",
    list_all: List = False,
    value_range: options.Range = None,
    bands: options.Bands = None,
    mean: options.Mean = None,
    std: options.Std = None,
    weights: options.WeightsChoice = "auto",
    weights_key: options.WeightsKey = None,
    fitting: options.Partial = False,
    model_arg: options.ModelArgs = None,
    seed: options.Seed = 0,
    timeout: options.Timeout = 10.0,
    look: options.LookChoice = options.LookName.PAGE,
    no_caption: options.NoCaption = False,
    file_format: options.Format = options.FileFormat.PNG,
    output: options.Output = Path("kernelviz-out"),
    arrays: options.Arrays = False,
    force: options.Force = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    debug: options.Debug = False,
) -> int:
    """Apply filters to an image and draw their responses, each beside its numbers.

    For example: kernelviz filter photo.jpg --kernel sobel-x,laplacian
    """

    def work(report: Report) -> None:
        destination = OutputChoices(
            output, f".{file_format}", arrays, force, outputs.chosen_look(look, no_caption, report)
        )
        outputs.check_directory(output)
        reading = ImageChoices(value_range, bands, mean, std)
        if list_all:
            check_list(image, kernel, kernel_values, from_model, *asdict(reading).values())
            draw_bank(size, destination, report)
            return
        report.more["preprocessing"] = None
        if edges := requested_gradient(kernel, kernel_values, from_model, size):
            draw_gradient(image, edges, border, destination, report, reading=reading)
            return
        with terminal.progress(shown=not quiet) as progress:
            load = partial(loading.load, report=report, progress=progress)
            choose = partial(ModelChoices, weights_key=weights_key, partial=fitting, arguments=model_arg)
            picture, responses = respond(
                image, kernel, kernel_values, from_model, size=size, border=border, report=report, reading=reading,
                load=lambda name: load(choose(name, weights, seed, timeout)),
            )  # fmt: skip
        draw_responses(picture, responses, from_model or [], destination, report)
        report.more["filters"] = [entry(one) for one in responses]

    return run_command("filter", work, as_json=as_json, quiet=quiet, verbose=verbose, debug=debug)


def split_names(texts: Sequence[str] | None) -> list[str]:
    """The names of ``--kernel``, several of which may be in one text."""
    return [word for text in texts or () for word in text.split(",") if word.strip()]


def check_of_network(reading: ImageChoices, learned: Sequence[object]) -> None:
    """Reject the preprocessing of a network without one of its kernels.

    Raises:
        UsageError: it is chosen, but there is no learned kernel.
    """
    if any(reading.preprocessing.values()) and not learned:
        raise UsageError("--mean and --std are of a network.", hint="Add --from MODEL:LAYER:CHANNEL, or omit them.")


def requested_gradient(
    names: list[str] | None, numbers: list[str] | None, learned: list[str] | None, size: int
) -> tuple[str, int] | None:
    """``sobel``, ``scharr`` or ``prewitt`` with its size, if that is all that was requested."""
    from kernelviz.filters.gradient import gradient_name

    words = split_names(names)
    return None if numbers or learned else gradient_name(words, size)


def draw_gradient(
    image: str | None,
    edges: tuple[str, int],
    border: str,
    output: OutputChoices,
    report: Report,
    *,
    reading: ImageChoices,
) -> None:
    """Write the picture of the strength and the direction of edges and, with ``--arrays``, the numbers."""
    from kernelviz.files.images import read_one_image
    from kernelviz.files.names import file_stems
    from kernelviz.files.writing import save_arrays
    from kernelviz.filters.filtering import check_border, reading_notes
    from kernelviz.filters.gradient import apply_gradient, plot_gradient

    if image is None:
        raise UsageError("An image is missing.", hint=f"For example kernelviz filter photo.jpg --kernel {edges[0]}")
    check_of_network(reading, [])
    check_border(border)
    picture = read_one_image(image, **reading.reading)
    report.warn(*reading_notes(picture))
    found = apply_gradient(picture, *edges, border=cast("Rule", border))
    title = f"Strength and direction of edges: {found.name} on {picture.name}"
    look = output.look
    figure = plot_gradient(found, title=title, look=look.name, caption=look.caption)
    recipe = {**(figure.recipe or {}), "image": picture.as_recipe(), **picture.reading_recipe()}
    figure.recipe = recipe
    name = edges[0] if edges[1] == 3 else f"{edges[0]}@{edges[1]}"
    (stem,) = file_stems([(picture.stem, "filter", name, *([border] if border != "repeat" else []))])
    paths = [outputs.save_page(figure, output.directory / f"{stem}{output.suffix}", report, force=output.force)]
    if output.arrays:
        held = {
            "image": found.across.image, found.across.name: found.across.values, found.down.name: found.down.values,
            "strength": found.strength, "direction": found.direction,
        }  # fmt: skip
        paths.append(save_arrays(held, paths[0].with_suffix(".npz"), recipe=recipe, force=output.force))
    report.inform(f"{name}: strength 0 to {found.strength.max():.3g}; direction in degrees, 0 to the right, 90 down")
    for path in paths:
        report.add_output(session.output_row(
            path, image=picture.name, shape=found.strength.shape, shown=2, total=2, notes=found.across.reading,
        ))  # fmt: skip
    report.more["filters"] = [entry(found.across), entry(found.down)]
    report.more["strength"] = {"limits": [float(found.strength.min()), float(found.strength.max())]}


def draw_bank(size: int, output: OutputChoices, report: Report) -> None:
    """Print the tables of all filters and colour directions on stderr, and draw them into a file."""
    from kernelviz.filters.bank import classical_filters, filter_entry, filter_table
    from kernelviz.filters.filter_pages import plot_filters
    from kernelviz.filters.matching import colour_directions, colour_entry, colour_table

    figure = plot_filters(size, look=output.look.name, caption=output.look.caption)
    filters, colours = classical_filters(size), colour_directions()
    if not report.as_json:
        width, sources = terminal.message_width(), report.verbose
        report.inform(*filter_table(filters, width, sources=sources).splitlines(), "")
        report.inform(*colour_table(colours, width, sources=sources).splitlines())
        report.inform(*([] if sources else ["", "-v adds where each filter comes from"]))
    path = output.directory / f"filters-{size}{output.suffix}"
    outputs.save_page(figure, path, report, force=output.force)
    report.add_output(session.output_row(path))
    report.more["filters"] = [filter_entry(one) for one in filters]
    report.more["colours"] = [colour_entry(one) for one in colours]


def respond(
    image: str | None,
    names: list[str] | None,
    numbers: list[str] | None,
    learned: list[str] | None,
    *,
    size: int,
    border: str,
    report: Report,
    reading: ImageChoices,
    load: Callable[[str], Model],
) -> tuple[Image, list[Response]]:
    """The image and the responses of all requested filters: by name, by numbers, learned.

    Raises:
        KernelvizError: there is no image, no filter, or one that is malformed.
    """
    from kernelviz.files.images import read_one_image
    from kernelviz.filters.bank import find_filters
    from kernelviz.filters.filtering import apply_filter, apply_kernel, check_border, reading_notes

    if image is None:
        raise UsageError("An image is missing.", hint="For example kernelviz filter photo.jpg --kernel sobel-x")
    check_border(border)
    rule = cast("Rule", border)
    kernels: list[Any] = [one for word in split_names(names) for one in find_filters(word, size)]
    kernels += [parse_values(text) for text in numbers or []]
    channels = parse_learned(learned or [])
    check_of_network(reading, channels)
    if not kernels and not channels:
        if error := filter_as_image(image):
            raise error
        raise UsageError(
            "A filter is missing.", "", "Name some, --kernel sobel-x,laplacian; `kernelviz filter --list` shows them."
        )
    picture = read_one_image(image, **reading.reading)
    report.warn(*reading_notes(picture))
    responses = [apply_filter(picture, one, border=rule) for one in kernels]
    if channels:
        from kernelviz.network.kernels import read_kernels

        network = load(channels[0][0]).with_preprocessing(**reading.preprocessing)
        for _, layer, channel in channels:
            responses += apply_kernel(picture, read_kernels(network, layer), channel, border=rule)
        report_preprocessing(responses, network.source.preprocessing, report)
    return picture, responses


def report_preprocessing(responses: Sequence[Response], facts: Mapping[str, Any], report: Report) -> None:
    """Report what learned kernels read, if one of them reads colours; others read luma."""
    from kernelviz.filters.filter_pages import preprocessing_entry

    report.more["preprocessing"] = preprocessing_entry(responses)
    if report.more["preprocessing"]:
        report.inform(f"input: {normalising_text(facts)}")
        report.warn(*preprocessing_notes(facts))
    elif facts.get("chosen"):
        report.warn("--mean and --std have no effect: these kernels do not read red, green and blue")


def draw_responses(
    picture: Image, responses: list[Response], learned: list[str], output: OutputChoices, report: Report
) -> None:
    """Write the picture and, with ``--arrays``, the numbers."""
    from kernelviz.drawing.figures import draw_page
    from kernelviz.files.names import file_stems, short_hash
    from kernelviz.files.writing import save_arrays
    from kernelviz.filters.filter_pages import filter_page, filter_recipe
    from kernelviz.filters.filtering import seen_by

    recipe = filter_recipe(responses) | {"image": picture.as_recipe(), **picture.reading_recipe()}
    figure = draw_page(filter_page(responses, f"Filters on {picture.name}"), recipe, output.look)
    what = "-".join([*(one.name for one in responses if one.name != "kernel")][:3]) or "kernel"
    if len(responses) > 3 or any(one.name == "kernel" for one in responses):
        what += f"-{short_hash(*learned, *(str(one.kernel.tolist()) for one in responses))}"
    before = [report.source.stem] if report.source else []
    border = responses[0].border
    (stem,) = file_stems([(picture.stem, *before, "filter", what, *([border] if border != "repeat" else []))])
    path = outputs.save_page(figure, output.directory / f"{stem}{output.suffix}", report, force=output.force)
    for one in responses:
        agree = "" if one.agreement is None else f"; correlation of both responses {one.agreement:.3f}"
        known = f" {one.about.partition(':')[0]}" if one.about.startswith("= ") else ""
        low, high = (f"{value:.3g}".replace("-", "−") for value in (one.values.min(), one.values.max()))
        report.inform(f"{one.name}{known}: {low} to {high}{agree}")
    row = partial(
        session.output_row,
        image=picture.name,
        shape=responses[0].values.shape,
        shown=len(responses),
        total=len(responses),
        notes=responses[0].reading,
    )
    report.add_output(row(path))
    if output.arrays:
        held = {"image": seen_by(responses)}
        for at, one in enumerate(responses):
            name = one.name if one.name not in held else f"{one.name} {at}"
            held |= {name: one.values, f"kernel of {name}": one.kernel}
        report.add_output(row(save_arrays(held, path.with_suffix(".npz"), recipe=recipe, force=output.force)))


def entry(one: Response) -> dict[str, Any]:
    """One response, as JSON."""
    return {
        "name": one.name,
        "kernel": one.kernel.tolist(),
        "border": one.border,
        "limits": [float(one.values.min()), float(one.values.max())],
        "agreement": one.agreement,
        "about": one.about,
        "notes": list(one.notes),
    }

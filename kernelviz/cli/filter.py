"""``kernelviz filter``: what classical and learned filters make of an image."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from kernelviz.cli import options
from kernelviz.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from kernelviz.cli.session import Goal, Report
    from kernelviz.cli.terminal import Progress
    from kernelviz.filters.filtering import Border as Rule
    from kernelviz.filters.filtering import Response
    from kernelviz.network.model import Model
    from kernelviz.records import Array, Image


def check_alone(*others: object) -> None:
    """Refuse what ``--list`` would leave undone.

    Raises:
        UsageError: an image or a filter is given too.
    """
    if any(others):
        raise UsageError(
            "--list shows the filters alone, without an image, --kernel, --kernel-values or --from.",
            hint="Leave out --list to filter the image.",
        )


def parse_values(text: str) -> Array:
    """(C, h, w) of typed numbers or of a CSV file; three channels read red, green and blue.

    Raises:
        KernelvizError: it is neither, or malformed.
    """
    from kernelviz.files.numbers import EXAMPLE, read_numbers
    from kernelviz.wording import shown

    values = read_numbers(text, "kernel")
    if values is None:
        raise UsageError(
            f"There is no file called '{shown(text)}'.", "Kernel values are numbers or a CSV file.",
            f"{EXAMPLE} For a filter by its name use --kernel.",
        )  # fmt: skip
    return values


def parse_place(text: str) -> tuple[str, str, int]:
    """Model, layer and channel of ``MODEL:LAYER:CHANNEL``; a model's name may hold colons itself.

    Raises:
        UsageError: it is not written so.
    """
    model, _, rest = text.rpartition(":")
    model, _, layer = model.rpartition(":")
    if not (model and layer and rest.isdecimal() and len(rest) < 10):
        hint = "For example --from tf_efficientnet_lite0:conv_stem:15"
        raise UsageError(f"A learned kernel is written MODEL:LAYER:CHANNEL, but got {text!r}.", hint=hint)
    return model, layer, int(rest)


def parse_places(texts: list[str]) -> list[tuple[str, str, int]]:
    """All learned kernels that are asked for.

    Raises:
        UsageError: one is not written so, or they are of several models.
    """
    places = [parse_place(text) for text in texts]
    models = list(dict.fromkeys(model for model, _, _ in places))
    if len(models) > 1:
        raise UsageError(
            "The learned kernels of one picture are of one model.",
            f"But --from names {' and '.join(models)}.",
            "Make a picture for each.",
        )
    return places


ImageName = Annotated[
    str | None,
    typer.Argument(
        metavar="IMAGE", help="An image file, `-` for standard input, or sample:grace_hopper.", show_default=False
    ),
]
Kernels = Annotated[
    list[str] | None,
    typer.Option(
        "--kernel", "-k", metavar="NAME,NAME@5", help="Classical filters by name, with a size behind @. Repeatable.",
        show_default=False,
    ),
]  # fmt: skip
Values = Annotated[
    list[str] | None,
    typer.Option(
        "--kernel-values", metavar="NUMBERS|CSV", show_default=False,
        help="A filter by its numbers ('0 -1 0; -1 4 -1; 0 -1 0', three channels separated by |), or a CSV file of them.",
    ),
]  # fmt: skip
From = Annotated[
    list[str] | None,
    typer.Option(
        "--from", metavar="MODEL:LAYER:CHANNEL", help="A learned kernel, beside the filter closest to it. Repeatable.",
        show_default=False,
    ),
]  # fmt: skip
Size = Annotated[int, typer.Option("--size", metavar="N", help="Of filters named without one: N × N values.")]
Border = Annotated[
    str, typer.Option("--border", metavar="repeat|mirror|zero", help="What lies beyond the border of the image.")
]
List = Annotated[bool, typer.Option("--list", help="Show all filters of --size: a table and a picture.")]


def filter_image(
    image: ImageName = None,
    *,
    kernel: Kernels = None,
    kernel_values: Values = None,
    from_model: From = None,
    size: Size = 3,
    border: Border = "repeat",
    list_all: List = False,
    weights: options.WeightsChoice = "auto",
    seed: options.Seed = 0,
    timeout: options.Timeout = 10.0,
    file_format: options.Format = options.FileFormat.PNG,
    output: options.Output = Path("kernelviz-out"),
    arrays: options.Arrays = False,
    force: options.Force = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    debug: options.Debug = False,
) -> int:
    """Run filters over an image and draw what they find, each beside its numbers.

    For example: kernelviz filter photo.jpg --kernel sobel-x,laplacian
    """
    from kernelviz.cli import session, terminal
    from kernelviz.cli.session import Goal, Report, check_directory, document, json_text

    report = Report("filter")
    more: dict[str, Any] = {}
    facts: dict[str, Any]
    try:
        goal = Goal(output, f".{file_format}", arrays, force, quiet, verbose, as_json)
        check_directory(output)
        if list_all:
            check_alone(image, kernel, kernel_values, from_model)
            more = show_bank(size, goal, report)
        else:
            with terminal.progress(shown=not quiet) as progress:
                load = partial(load_and_tell, choice=(weights, seed, timeout), goal=goal, progress=progress)
                facts = {"size": size, "border": border, "report": report, "load": load}
                picture, responses = respond(image, kernel, kernel_values, from_model, **facts)
            write(picture, responses, from_model or [], goal, report)
            more = {"filters": [entry(one) for one in responses]}
    except Exception as error:  # noqa: BLE001  (every command ends in a message)
        return session.failed(report, error, as_json=as_json, debug=debug)
    if as_json:
        terminal.result(json_text(document(report, **more)))
    return session.outcome(report)


def show_bank(size: int, goal: Goal, report: Report) -> dict[str, Any]:
    """The tables on stderr and the picture in a file; what the document holds of them."""
    from kernelviz.cli import terminal
    from kernelviz.files.writing import save_picture
    from kernelviz.filters.bank import classical_filters, filter_entry, filter_table
    from kernelviz.filters.filter_pages import plot_filters
    from kernelviz.filters.matching import colour_directions, colour_entry, colour_table

    figure = plot_filters(size)
    filters, colours = classical_filters(size), colour_directions()
    lines = [*filter_table(filters).splitlines(), "", *colour_table(colours).splitlines()]
    terminal.say(*goal.said(*lines) if not goal.as_json else ())
    tell(save_picture(figure, goal.directory / f"filters-{size}{goal.suffix}", force=goal.force), goal, report)
    return {"filters": [filter_entry(one) for one in filters], "colours": [colour_entry(one) for one in colours]}


def tell(path: Path, goal: Goal, report: Report, **facts: Any) -> None:
    """Keep a file that was written, and print its path."""
    from kernelviz.cli import terminal

    known = dict.fromkeys(("layer", "image", "shape", "shown", "total", "limits", "nonfinite"))
    report.outputs.append({"path": str(path), **known, "notes": [], **facts})
    if not goal.as_json:
        terminal.result(path)


def respond(
    image: str | None,
    names: list[str] | None,
    numbers: list[str] | None,
    learned: list[str] | None,
    *,
    size: int,
    border: str,
    report: Report,
    load: Callable[[str, Report], Model],
) -> tuple[Image, list[Response]]:
    """The image and the responses of all filters asked for: by name, by numbers, learned.

    Raises:
        KernelvizError: no image, no filter, or one that is none.
    """
    from kernelviz.errors import UsageError
    from kernelviz.files.images import read_image
    from kernelviz.filters.bank import find_filter
    from kernelviz.filters.filtering import apply_filter, check_border

    if image is None:
        raise UsageError("An image is missing.", hint="For example kernelviz filter photo.jpg --kernel sobel-x")
    check_border(border)
    words = [word for part in names or [] for word in part.split(",") if word.strip()]
    kernels: list[Any] = [find_filter(word, size) for word in words]
    kernels += [parse_values(text) for text in numbers or []]
    places = parse_places(learned or [])
    if not kernels and not places:
        raise UsageError(
            "A filter is missing.", "", "Name some, --kernel sobel-x,laplacian; `kernelviz filter --list` shows them."
        )
    picture = read_image(image)
    report.warnings += picture.notes
    responses = [apply_filter(picture, one, border=cast("Rule", border)) for one in kernels]
    if places:
        network = load(places[0][0], report)
        for _, layer, channel in places:
            responses += of_model(network, picture, layer, channel, border=border)
    return picture, responses


def load_and_tell(
    name: str, report: Report, *, choice: tuple[str, int, float], goal: Goal, progress: Progress
) -> Model:
    """The model, having said whose weights these are."""
    from kernelviz.cli import terminal
    from kernelviz.cli.session import load

    network = load(name, *choice, progress)
    report.source = network.source
    report.warnings += network.source.notes
    terminal.say(*goal.said(network.source.provenance, *network.source.notes))
    return network


def of_model(network: Model, picture: Image, layer: str, channel: int, *, border: str) -> tuple[Response, ...]:
    """What a learned kernel makes of the image, and beside it the closest filter."""
    from kernelviz.filters.filtering import apply_kernel
    from kernelviz.network.kernels import read_kernels

    return apply_kernel(picture, read_kernels(network, layer), channel, border=cast("Rule", border))


def write(picture: Image, responses: list[Response], learned: list[str], goal: Goal, report: Report) -> None:
    """The picture, and the numbers where they are asked for."""
    from kernelviz.cli import terminal
    from kernelviz.drawing.figures import draw_page
    from kernelviz.files.names import file_stems, short_hash
    from kernelviz.files.writing import save_arrays, save_picture
    from kernelviz.filters.filter_pages import filter_page, filter_recipe
    from kernelviz.filters.filtering import seen_by

    rows, columns = responses[0].values.shape
    figure = draw_page(filter_page(responses, f"Filters on {picture.name}"))
    recipe = filter_recipe(responses) | {"image": picture.as_recipe()}
    figure.recipe = recipe
    what = "-".join([*(one.name for one in responses if one.name != "kernel")][:3]) or "kernel"
    if len(responses) > 3 or any(one.name == "kernel" for one in responses):
        what += f"-{short_hash(*learned, *(str(one.kernel.tolist()) for one in responses))}"
    before = [report.source.stem] if report.source else []
    border = responses[0].border
    (stem,) = file_stems([(picture.stem, *before, "filter", what, *([border] if border != "repeat" else []))])
    path = save_picture(figure, goal.directory / f"{stem}{goal.suffix}", force=goal.force)
    for one in responses:
        agree = "" if one.agreement is None else f"; the responses agree {one.agreement:.3f}"
        terminal.say(*goal.said(f"{one.name}: {one.values.min():.3g} to {one.values.max():.3g}{agree}"))
    facts = {"image": picture.name, "shape": [rows, columns], "shown": len(responses), "total": len(responses)}
    tell(path, goal, report, **facts)
    if goal.arrays:
        held = {"image": seen_by(responses)}
        for at, one in enumerate(responses):
            name = one.name if one.name not in held else f"{one.name} {at}"
            held |= {name: one.values, f"kernel of {name}": one.kernel}
        tell(save_arrays(held, path.with_suffix(".npz"), recipe=recipe, force=goal.force), goal, report, **facts)


def entry(one: Response) -> dict[str, Any]:
    """One response, for a program."""
    return {
        "name": one.name,
        "kernel": one.kernel.tolist(),
        "border": one.border,
        "limits": [float(one.values.min()), float(one.values.max())],
        "agreement": one.agreement,
        "about": one.about,
        "notes": list(one.notes),
    }

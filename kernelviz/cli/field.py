"""``kernelviz field``: the effective receptive fields of some layers over images, of one model or two."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kernelviz.cli import loading, options, outputs, session, terminal
from kernelviz.cli.loading import ImageChoices
from kernelviz.cli.model_choices import ModelChoices
from kernelviz.cli.outputs import OutputChoices
from kernelviz.cli.session import run_command
from kernelviz.errors import KernelvizError, UsageError
from kernelviz.records import WEIGHTS_WORDS
from kernelviz.storage.uris import is_uri
from kernelviz.wording import counted

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Future

    from kernelviz.cli.session import Report
    from kernelviz.cli.terminal import Progress
    from kernelviz.network.effective_field import FieldTally
    from kernelviz.network.model import Model
    from kernelviz.records import Image, Recipe
    from kernelviz.views.effective_fields import EffectiveField


Images = Annotated[
    list[str],
    typer.Argument(
        metavar="IMAGE", help="Files, folders with -r, globs, URIs, - for standard input, or sample:grace_hopper."
    ),
]
Layers = Annotated[
    list[str] | None,
    typer.Option(
        "--layer",
        "-l",
        metavar="PATTERN",
        help="A layer, as in `kernelviz features`. Repeatable, at most twelve. Default: the first convolution and the "
        "stages.",
        show_default=False,
        autocompletion=options.complete_layer,
    ),
]
Against = Annotated[
    str | None,
    typer.Option(
        "--against",
        metavar="MODEL|WEIGHTS",
        help="Compare with other weights of the model (random, bundled, hub, or a FILE) or with another model, at the same "
        "input size. For example --against random",
        show_default=False,
    ),
]
At = Annotated[
    str | None,
    typer.Option(
        "--at",
        metavar="ROW,COLUMN",
        help="The unit of each layer, counted from 0. Default: the middle one, H // 2 and W // 2 of the map.",
        show_default=False,
    ),
]
Channels = Annotated[
    str | None,
    typer.Option(
        "--channels", metavar="0-15,40", help="The channels that are summed. Default: all.", show_default=False
    ),
]


def field(
    model: options.ModelName,
    images: Images,
    *,
    recursive: options.Recursive = False,
    layer: Layers = None,
    against: Against = None,
    at: At = None,
    channels: Channels = None,
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
    """Draw effective receptive fields: how much each pixel of some images changes one unit of a layer.

    Frames mark the receptive field and the smallest squares that contain 50 and 99 % of the sum.

    10 to 50 images are enough.

    For example: kernelviz field tf_efficientnet_lite0 photos -r -l blocks.2 -l blocks.3 --against random
    """

    def work(report: Report) -> None:
        from kernelviz.cli.advice import check_order

        check_order("field", model, images)
        outputs.check_directory(output, writable=True)
        destination = OutputChoices(
            output, f".{file_format}", arrays, force, outputs.chosen_look(look, no_caption, report)
        )
        unit, sides = options.parse_position(at, "unit"), options.parse_sides(input_size)
        reading = ImageChoices(value_range, bands, mean, std, interpolation)
        reading.as_recipe()
        named = loading.named_images(images, output, report, recursive=recursive)
        with terminal.progress(shown=not quiet) as progress:
            first = ModelChoices(
                model, weights, seed, timeout, str(device), threads, weights_key=weights_key, partial=fitting,
                arguments=model_arg, runs=True, input_size=input_size,
            )  # fmt: skip
            models = [reading.prepare(loading.load(first, report, progress), report)]
            if against is not None:
                models.append(load_other(first, against, models[0], reading=reading, report=report, progress=progress))
            tallies = start(models, layers=layer, unit=unit, channels=channels, sides=sides, crop=crop)
            run_images(tallies, named, reading, report, progress)
            draw(tallies, layer, unit, destination, report, asked=reading.asked(sides, crop=crop))

    return run_command("field", work, as_json=as_json, quiet=quiet, debug=debug)


def load_other(
    first: ModelChoices, against: str, model: Model, *, reading: ImageChoices, report: Report, progress: Progress
) -> Model:
    """The model of ``--against``: other weights of the first one, or another model."""
    from kernelviz.files.finding import CHECKPOINTS

    is_file = is_uri(against) or (os.path.isfile(against) and not against.endswith(".py"))  # noqa: PTH113  (every text)
    is_file = is_file or Path(against).suffix.lower() in CHECKPOINTS - {".model", ".state"}  # one that does not exist
    if against in WEIGHTS_WORDS or is_file:
        choices = replace(first, weights=against, weights_key=first.weights_key if is_file else None)
    else:
        weights = first.weights if first.weights in WEIGHTS_WORDS else "auto"
        choices = replace(first, name=against, weights=weights, weights_key=None, arguments=None)
    source, preprocessing = report.source, report.more.get("preprocessing")
    other = reading.prepare(loading.load(choices, report, progress), report)
    report.source, report.more["preprocessing"] = source, preprocessing
    if other.source.as_recipe() == model.source.as_recipe() and choices.seed == first.seed:
        what = "--against is the model itself, with the same weights."
        raise UsageError(what, hint="Give other weights or another model.")
    return other


def start(
    models: Sequence[Model],
    *,
    layers: Sequence[str] | None,
    unit: tuple[int, int] | None,
    channels: str | None,
    sides: tuple[int, int] | None,
    crop: bool | None,
) -> list[FieldTally]:
    """A tally for each model, with its units, before any image is read.

    Raises:
        UsageError: the models have other input sizes or numbers of layers; or as ``effective_field``.
    """
    from kernelviz.network.capture import blank
    from kernelviz.network.effective_field import FieldTally
    from kernelviz.network.preprocessing import input_size_of

    sizes = [(model.input_size[0], *input_size_of(model, sides)) for model in models]
    if len({size[1:] for size in sizes}) > 1:
        texts = [" × ".join(map(str, size[1:])) for size in sizes]
        raise UsageError(
            f"{models[0].source.model} takes {texts[0]} pixels, but {models[1].source.model} {texts[1]}.",
            "Effective receptive fields are only comparable at one input size.",
            f"Give one to both: --input-size {','.join(map(str, sizes[0][1:]))}",
        )
    tallies = [FieldTally(model, layers, unit, channels, input_size=sides, crop=crop) for model in models]
    for model, tally, size in zip(models, tallies, sizes, strict=True):
        try:
            tally.plan(size, blank(size))
        except UsageError as error:
            if len(models) == 1:
                raise
            raise type(error)(f"{model.source.model}: {error.what}", error.why, error.hint) from error
    counts = [len(tally.units) for tally in tallies]
    if len(set(counts)) > 1:
        what = f"{models[0].source.model} has {counts[0]} of the layers, but {models[1].source.model} {counts[1]}."
        raise UsageError(what, "Each layer of the one is drawn above one of the other.", "Name them: -l stage:1")
    return tallies


def run_images(
    tallies: Sequence[FieldTally], paths: Sequence[str], reading: ImageChoices, report: Report, progress: Progress
) -> None:
    """Add every image to all tallies; one that fails is named, and the others go on.

    Raises:
        KernelvizError: it was the only one.
    """
    from kernelviz.files.images import read_image
    from kernelviz.network.model import root_of, uses_all_processors
    from kernelviz.threads import AHEAD, read_ahead

    def read(path: str) -> Image:
        return read_image(path, **reading.reading)

    def add(done: Future[Image]) -> None:
        image = done.result()
        for tally in tallies:
            tally.add(image)

    exclusive = uses_all_processors(root_of(tallies[0].network))
    for number, (path, image) in enumerate(read_ahead(paths, read, AHEAD, exclusive=exclusive)):
        progress("images", number, len(paths))
        session.attempt(report, path, len(paths), partial(add, image))
    progress("images", len(paths), len(paths))
    if not len(tallies[0].images):
        raise KernelvizError("None of the images could be used.", hint="The messages above name each of them.")


def draw(
    tallies: Sequence[FieldTally],
    patterns: Sequence[str] | None,
    unit: tuple[int, int] | None,
    output: OutputChoices,
    report: Report,
    *,
    asked: Recipe,
) -> None:
    """Write the picture and, if requested, the numbers, and report both; layers that nothing reaches are named.

    ``asked`` is the part of their recipe about the chosen options.
    """
    from kernelviz.drawing.field_page import field_recipe, plot_fields
    from kernelviz.files.names import file_stems
    from kernelviz.files.writing import save_arrays
    from kernelviz.views.effective_fields import field_entry

    rows: list[list[EffectiveField]] = [[] for _ in tallies]

    def add(number: int) -> None:
        found = [tally.field_of(tally.units[number].tap.name) for tally in tallies]
        for row, each in zip(rows, found, strict=True):
            row.append(each)

    count = len(tallies[0].units)
    for number in range(count):
        session.attempt(report, tallies[0].units[number].tap.name, count, partial(add, number))
    if not rows[0]:
        what = "None of the layers can be drawn."
        raise KernelvizError(
            what, "The messages above name each of them.", "Choose other layers, or another unit: --at."
        )
    recipe, every = {**field_recipe(rows), **asked}, [each for row in rows for each in row]
    (stem,) = file_stems([_name(rows, patterns, unit)])
    path = outputs.picture_path(stem, recipe, output, report)
    report.more["layers"] = [field_entry(each) for each in rows[0]]
    if len(rows) > 1:
        source = rows[1][0].source
        report.more["against"] = {
            "model": source.as_document() if source else None, "layers": [field_entry(each) for each in rows[1]],
        }  # fmt: skip
    report.inform(*lines(rows))
    look = output.look
    figure = plot_fields(every, look=look.name, caption=look.caption)
    figure.recipe = {**(figure.recipe or {}), **asked}
    notes = tuple(dict.fromkeys(note for each in every for note in each.notes))
    report.warn(*notes)
    written = [outputs.save_page(figure, path, report, force=output.force, known=notes)]
    if output.arrays:
        written.append(save_arrays(numbers(rows), path.with_suffix(".npz"), recipe=recipe, force=output.force))
    for each in written:
        report.add_output(session.output_row(
            each, image=every[0].images[0] if len(every[0].images) == 1 else None, view="field", shown=len(rows[0]),
            total=count, nonfinite=sum(one.nonfinite for one in every), notes=notes,
        ))  # fmt: skip


def _name(
    rows: Sequence[Sequence[EffectiveField]], patterns: Sequence[str] | None, unit: tuple[int, int] | None
) -> tuple[str, ...]:
    """What the picture's name has: image, model, layers, unit, channels and the other model, as far as chosen."""
    first = rows[0][0]
    sources = [row[0].source for row in rows]
    stems = [source.stem if source else "network" for source in sources]
    layers = [each.layer for each in rows[0]] if patterns else []
    image = [Path(first.images[0].removeprefix("sample:")).stem] if len(first.images) == 1 else []
    return (
        *image,
        stems[0],
        *layers,
        "field",
        *([f"at-{unit[0]}-{unit[1]}"] if unit else []),
        *(["channels-" + "-".join(map(str, first.channels))] if first.channels else []),
        *(["against", stems[1]] if len(stems) > 1 else []),
    )


def lines(rows: Sequence[Sequence[EffectiveField]]) -> list[str]:
    """The sides of the squares, one line per layer."""
    result = []
    for row in rows:
        if len(rows) > 1 and row[0].source:
            result.append(row[0].source.short_label)
        for each in row:
            sides = ", ".join(f"{100 * square.share:g} % in {square.side:,} px" for square in each.squares)
            many = counted(len(each.images) - each.zero - each.nonfinite, "image")
            text = f"{each.layer}, unit {each.unit[0]}, {each.unit[1]}, {many}: {sides}"
            if each.size is not None:
                text += f"; receptive field {' × '.join(f'{side:,}' for side in dict.fromkeys(each.size))} px"
            if each.outside:
                text += f"; {each.outside:.2%} outside of it"
            if each.lost:
                text += f"; {each.lost}"
            result.append(text)
    return result


def numbers(rows: Sequence[Sequence[EffectiveField]]) -> dict[str, Any]:
    """The values (H, W) of each layer; those of the second model have ``against`` before their names."""
    return {f"{'against_' * at}{each.layer}": each.values for at, row in enumerate(rows) for each in row}

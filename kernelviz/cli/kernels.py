"""``kernelviz kernels``: a model's convolution kernels as pictures."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kernelviz.cli import options, outputs, session, terminal
from kernelviz.cli.kernel_sources import open_kernels
from kernelviz.cli.model_choices import ModelChoices
from kernelviz.cli.outputs import OutputChoices, PictureChoices
from kernelviz.cli.session import run_command
from kernelviz.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kernelviz.cli.kernel_sources import KernelSource
    from kernelviz.cli.session import Report
    from kernelviz.drawing.sheets import Sheet
    from kernelviz.records import ConvLayer


Numbers = Annotated[
    bool,
    typer.Option(
        "--numbers",
        help="Draw the weights as numbers in cells, and print them: of each input channel of up to three, else of their "
        "sum. For example --numbers --channels 0-5",
        rich_help_panel=options.PICTURES,
    ),
]


@dataclass(frozen=True)
class KernelPicture:
    """One picture to draw: of which layer, in which view, and its path."""

    layer: ConvLayer
    view: str
    path: Path


def kernels(
    model: options.ModelName,
    *,
    layer: options.Layers = None,
    weights: options.WeightsChoice = "auto",
    weights_key: options.WeightsKey = None,
    fitting: options.Partial = False,
    model_arg: options.ModelArgs = None,
    seed: options.Seed = 0,
    timeout: options.Timeout = 10.0,
    stored: options.Stored = False,
    view: options.View = options.ViewName.AUTO,
    scale: options.Scale = None,
    channels: options.Channels = None,
    top: options.Top = None,
    sort: options.Sort = None,
    cmap: options.Cmap = None,
    palette: options.Palette = options.PaletteName.STANDARD,
    columns: options.Columns = None,
    zoom: options.Zoom = None,
    numbers: Numbers = False,
    style: options.StyleChoice = options.Style.FIGURE,
    look: options.LookChoice = options.LookName.PAGE,
    no_caption: options.NoCaption = False,
    file_format: options.Format = options.FileFormat.PNG,
    output: options.Output = Path("kernelviz-out"),
    arrays: options.Arrays = False,
    no_cache: options.NoCache = False,
    force: options.Force = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    debug: options.Debug = False,
) -> int:
    """Draw the convolution kernels of a model, one picture per layer.

    For example: kernelviz kernels tf_efficientnet_lite0 -l 'blocks.2.*conv_dw'

    Your own network: kernelviz kernels my_net.py:Net --weights my_net.pt --model-arg width=8

    As slides: kernelviz kernels tf_efficientnet_lite0 --look slide
    """

    def work(report: Report) -> None:
        destination = OutputChoices(
            output, f".{file_format}", arrays, force, outputs.chosen_look(look, no_caption, report)
        )
        picture = PictureChoices(channels, top, sort, outputs.parse_scale(scale), cmap, columns, zoom, style, palette)
        outputs.check_choices(destination, picture)
        if numbers:
            check_numbers(picture, view)
            report.more["kernels"] = []
        with terminal.progress(shown=not quiet) as progress:
            wanted = ModelChoices(
                model, weights, seed, timeout, weights_key=weights_key, partial=fitting, arguments=model_arg,
                cache=not no_cache,
            )  # fmt: skip
            found = open_kernels(wanted, layer, report, progress)
            named = "numbers" if numbers else str(view)
            pictures = plan(found, named, destination, report, stored=stored, cmap=cmap)
            check_channels(picture.channels, [each.layer for each in pictures])
            for done, each in enumerate(pictures):
                progress(each.layer.name, done, len(pictures))
                draw_each = draw_numbers if numbers else draw
                draw_one = partial(draw_each, found, each, picture, destination, report, stored=stored)
                session.attempt(report, each.layer.name, len(pictures), draw_one)

    return run_command("kernels", work, as_json=as_json, quiet=quiet, verbose=verbose, debug=debug)


def check_numbers(picture: PictureChoices, view: options.ViewName) -> None:
    """Reject options that pictures of numbers do not take.

    Raises:
        UsageError: there is one.
    """
    unused = {
        "--view": view is not options.ViewName.AUTO, "--scale": picture.scale, "--cmap": picture.cmap,
        "--columns": picture.columns, "--zoom": picture.zoom, "--style": picture.bare,
        "--palette": picture.palette is not options.PaletteName.STANDARD,
    }  # fmt: skip
    for option, value in unused.items():
        if value:
            raise UsageError(f"--numbers takes no {option}.", hint=f"Omit {option} or --numbers.")


def check_channels(channels: str | None, layers: Sequence[ConvLayer]) -> None:
    """Reject channels that no layer has, before anything is drawn.

    Raises:
        UsageError: they are malformed, or even the largest layer lacks one of them.
    """
    from kernelviz.views.kernel_views import parse_channels

    if channels is not None and layers:
        parse_channels(channels, max(layer.out_channels for layer in layers))


def plan(
    found: KernelSource,
    view: str,
    output: OutputChoices,
    report: Report,
    *,
    stored: bool,
    cmap: str | None,
) -> list[KernelPicture]:
    """One picture for each selected layer that has this view; their paths are free.

    Raises:
        KernelvizError: no layer with this view, a view that takes no colour map, or a path is taken.
    """
    from kernelviz.files.names import file_stems
    from kernelviz.views.kernel_views import check_cmap, resolve_view

    for name, why in found.left_out.items():
        report.note(f"{name} {why}")
        report.inform(f"Left out: {name} {why}")
    views: dict[str, str] = {}

    def find_view(layer: ConvLayer) -> None:
        shape = (layer.out_channels, layer.in_channels // layer.groups, *layer.kernel_size)
        resolved = view if view == "numbers" else resolve_view(shape, layer.groups, view, layer)
        if view != "numbers":
            check_cmap(resolved, cmap, chosen=view != "auto")
        views[layer.name] = resolved

    for layer in found.layers:
        session.attempt(report, layer.name, len(found.layers), partial(find_view, layer))
    source = found.source
    names = [(source.stem, name, "kernels", each, *(["stored"] if stored else [])) for name, each in views.items()]
    pictures = []
    for layer, stem in zip([each for each in found.layers if each.name in views], file_stems(names), strict=True):
        identity = {
            "command": "kernels", "model": source.as_recipe(), "layer": layer.name, "view": views[layer.name],
            "stored": stored or None,
        }  # fmt: skip
        path = outputs.picture_path(stem, identity, output, report)
        pictures.append(KernelPicture(layer, views[layer.name], path))
    return pictures


def draw(
    found: KernelSource,
    target: KernelPicture,
    picture: PictureChoices,
    output: OutputChoices,
    report: Report,
    *,
    stored: bool,
) -> None:
    """Read the kernels of one layer, draw them, write the files and report them."""
    from kernelviz.drawing.sheets import make_sheet
    from kernelviz.files.writing import save_arrays

    name = target.layer.name
    bank = found.read(target.layer, stored=stored)
    sheet = make_sheet(bank, view=target.view, **picture.of_sheet(output.look))
    outputs.save_sheet(sheet, target.path, output, report, bare=picture.bare)
    line = summary(target.layer, sheet, outputs.count_of(sheet, target.path, report))
    report.inform(*terminal.with_notes(line, outputs.sheet_notes(sheet, report)))
    report.add_output(session.sheet_row(target.path, sheet, layer=name))
    if output.arrays:
        held = make_sheet(bank, view=target.view, **asdict(picture)) if output.look.textured else sheet  # the weights
        arrays = save_arrays(
            {name: held.tiles.values}, target.path.with_suffix(".npz"), recipe=held.recipe, force=output.force
        )
        report.add_output(session.sheet_row(arrays, held, layer=name))


def draw_numbers(
    found: KernelSource,
    target: KernelPicture,
    picture: PictureChoices,
    output: OutputChoices,
    report: Report,
    *,
    stored: bool,
) -> None:
    """Draw the kernels of one layer with their numbers, print these, and report them."""
    from kernelviz.drawing.number_tiles import draw_kernel_numbers, kernel_numbers, number_lines
    from kernelviz.files.writing import save_arrays

    bank, name = found.read(target.layer, stored=stored), target.layer.name
    sheet, planes = kernel_numbers(bank, channels=picture.channels, top=picture.top, sort=picture.sort)
    figure = draw_kernel_numbers(bank, sheet, planes, output.look)
    paths = [outputs.save_page(figure, target.path, report, force=output.force)]
    if output.arrays:
        paths.append(
            save_arrays({name: planes}, target.path.with_suffix(".npz"), recipe=figure.recipe, force=output.force)
        )
    shown = (figure.recipe or {})["shown"]
    if not report.as_json:
        report.inform(
            f"{name}: {shown:,} of {sheet.tiles.total:,} kernels",
            *number_lines(sheet.tiles.numbers[:shown], planes[:shown]),
        )
    report.more["kernels"] += [
        {"layer": name, "kernel": number, "values": values.tolist()}
        for number, values in zip(sheet.tiles.numbers, planes, strict=True)
    ]
    for path in paths:
        report.add_output(session.output_row(
            path, layer=name, view="numbers", shape=bank.weight.shape, shown=shown, total=sheet.tiles.total,
            nonfinite=sheet.marks.nonfinite, notes=bank.notes,
        ))  # fmt: skip


def summary(layer: ConvLayer, sheet: Sheet, count: str) -> str:
    """One line about one picture."""
    from kernelviz.drawing.captions import layer_text

    return f"{layer.name}: {layer_text(layer)}; {', '.join(filter(None, (sheet.tiles.view, count)))}"

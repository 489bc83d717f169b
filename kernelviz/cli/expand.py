"""``kernelviz expand``: the channels of a deep layer as linear weights on pixels, with how true that is."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kernelviz.cli import loading, options, outputs, session, terminal
from kernelviz.cli.advice import check_order
from kernelviz.cli.loading import ImageChoices
from kernelviz.cli.model_choices import ModelChoices
from kernelviz.cli.outputs import OutputChoices
from kernelviz.cli.session import run_command
from kernelviz.errors import KernelvizError, UsageError
from kernelviz.wording import counted, shown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from kernelviz.cli.session import Report
    from kernelviz.cli.terminal import Progress
    from kernelviz.network.model import Model
    from kernelviz.records import Image, Recipe
    from kernelviz.views.linear_weights import LinearWeights


class SlopesName(StrEnum):
    """The slope that replaces an activation."""

    MEAN = "mean"
    ONE = "one"


Images = Annotated[
    list[str],
    typer.Argument(
        metavar="IMAGE",
        help="Two images or more: files, folders with -r, globs, URIs, or sample:grace_hopper. Slopes are measured on the "
        "first, the third, …, and the weights judged on the others. 10 to 50 are enough.",
    ),
]
Layers = Annotated[
    list[str] | None,
    typer.Option(
        "--layer",
        "-l",
        metavar="PATTERN",
        help="A layer, as in `kernelviz features`; one picture each. Repeatable. Layers that a pattern matches, as "
        "'blocks.*', are left out if they have no such weights or no channel is explained by one half.",
        show_default=False,
        autocompletion=options.complete_layer,
    ),
]
Slopes = Annotated[
    SlopesName,
    typer.Option(
        "--slopes",
        help="Each activation is replaced by multiplication by a slope. mean: its mean slope over the images, one per "
        "channel. one: 1.",
    ),
]
Channels = Annotated[
    str | None,
    typer.Option(
        "--channels",
        metavar="0-15,40",
        help="Draw only these channels. Default: the first hundred.",
        show_default=False,
        rich_help_panel=options.PICTURES,
    ),
]
All = Annotated[
    bool,
    typer.Option(
        "--all",
        help="Also draw layers in which no channel is explained by one half.",
        rich_help_panel=options.PICTURES,
    ),
]


def expand(
    model: options.ModelName,
    images: Images,
    *,
    recursive: options.Recursive = False,
    layer: Layers = None,
    slopes: Slopes = SlopesName.MEAN,
    channels: Channels = None,
    show_all: All = False,
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
    """Draw the channels of a deep layer as linear weights on pixels, each with how much of its output they explain.

    For example: kernelviz expand tf_efficientnet_lite0 photos -r -l blocks.1.0.conv_dw
    """

    def work(report: Report) -> None:
        check_order("expand", model, images)
        if not layer:
            what = "A layer is missing."
            raise UsageError(what, hint=f"Name one with --layer. `kernelviz layers {model}` lists them.")
        outputs.check_directory(output, writable=True)
        destination = OutputChoices(
            output, f".{file_format}", arrays, force, outputs.chosen_look(look, no_caption, report)
        )
        sides = options.parse_sides(input_size)
        reading = ImageChoices(value_range, bands, mean, std, interpolation)
        asked = reading.asked(sides, crop=crop)
        found = loading.named_images(images, output, report, recursive=recursive)
        with terminal.progress(shown=not quiet) as progress:
            chosen = ModelChoices(
                model, weights, seed, timeout, str(device), threads, weights_key=weights_key, partial=fitting,
                arguments=model_arg, runs=True, input_size=input_size,
            )  # fmt: skip
            network = reading.prepare(loading.load(chosen, report, progress), report)
            run = ExpandRun(
                network, found, reading.reading, {"input_size": sides, "crop": crop}, str(slopes), channels, show_all,
                destination, report, progress, asked,
            )  # fmt: skip
            report.more |= {"layers": [], "left_out": []}
            if len(found) == 1:
                run.read(found[0])  # that it cannot be read comes before that one image is not enough
            names = run.layers(layer)
            for name in names:
                session.attempt(report, name, len(names), partial(run.draw, name))
            run.report_left_out()

    return run_command("expand", work, as_json=as_json, quiet=quiet, debug=debug)


@dataclass
class ExpandRun:
    """The network, the images, and how they are drawn; each image that fails is reported once.

    ``asked`` is the part of recipes about the chosen options. A layer that is not ``named``, but matches a pattern, is
    left out if it has no weights that explain it.
    """

    network: Model
    paths: tuple[str, ...]
    reading: dict[str, Any]
    preparing: dict[str, Any]
    slopes: str
    channels: str | None
    show_all: bool
    output: OutputChoices
    report: Report
    progress: Progress
    asked: Recipe
    named: frozenset[str] = frozenset()
    failed: set[str] = field(default_factory=set)
    sizes: dict[str, int] = field(default_factory=dict)
    left_out: dict[str, KernelvizError] = field(default_factory=dict)

    def layers(self, patterns: Sequence[str]) -> list[str]:
        """The names of the layers that the patterns name, each for one map."""
        from kernelviz.network.capture import blank, make_taps
        from kernelviz.network.preprocessing import input_size_of

        size = (self.network.input_size[0], *input_size_of(self.network, self.preparing["input_size"]))
        taps = make_taps(self.network, size, patterns, batch=blank(size)).taps.taps
        self.sizes = {tap.exact_name: tap.layout.size[0] for tap in taps}
        self.named = frozenset(tap.exact_name for tap in taps if tap.named)
        return [tap.exact_name for tap in taps]

    def read(self, path: str) -> Image:
        """An image."""
        from kernelviz.files.images import read_image

        return read_image(path, **self.reading)

    def fail(self, number: int, error: KernelvizError) -> None:
        """Report an image that cannot be used."""
        path = self.paths[number]
        if path not in self.failed:
            self.failed.add(path)
            self.report.add_failure(path, error)

    def draw(self, layer: str) -> None:
        """Expand a layer and write its picture; one that only a pattern matches is left out if that is not possible."""
        try:
            found = self.expand(layer)
        except KernelvizError as error:
            if layer in self.named or isinstance(error, UsageError):
                raise
            self.left_out[layer] = error
        else:
            self.write(found)

    def expand(self, layer: str) -> LinearWeights:
        """The linear weights of a layer.

        Raises:
            KernelvizError: it has none, or no channel is explained by one half and not all are requested.
        """
        from kernelviz.drawing.expanded_page import check_explained
        from kernelviz.network.linear_weights import expand_units
        from kernelviz.views.kernel_views import named_channels
        from kernelviz.views.linear_weights import check_slopes, expanded_entry

        if self.channels is not None:
            named_channels(self.channels, self.sizes[layer])
        self.progress(f"expanding {layer}", 0, 0)
        found = expand_units(
            self.network, self.paths, layer, slopes=check_slopes(self.slopes), read=self.read, on_error=self.fail,
            progress=self.progress, **self.preparing,
        )  # fmt: skip
        self.report.more["layers"].append(expanded_entry(found))
        check_explained(found, show_all=self.show_all)
        return found

    def write(self, found: LinearWeights) -> None:
        """Write the picture of a layer and, if requested, its arrays, and report both."""
        from kernelviz.drawing.expanded_page import expanded_recipe, plot_expanded
        from kernelviz.files.names import file_stems
        from kernelviz.files.writing import save_arrays

        report, look, layer = self.report, self.output.look, found.layer
        figure = plot_expanded(
            found, channels=self.channels, show_all=self.show_all, look=look.name, caption=look.caption
        )
        recipe = figure.recipe = {**(figure.recipe or expanded_recipe(found, ())), **self.asked}
        source = self.network.source.stem
        (stem,) = file_stems([(source, layer, "expanded", *(["one"] if self.slopes == "one" else []))])
        path = outputs.picture_path(stem, recipe, self.output, report)
        report.inform(summary(found))
        if self.channels is None and recipe["shown"] < len(found.weights):
            report.inform(f"the picture shows {recipe['shown']:,} of them, from 0 on; --channels shows others")
        report.warn(*(note for note in found.notes if note not in report.warnings))
        written = [outputs.save_page(figure, path, report, force=self.output.force)]
        if self.output.arrays:
            arrays = {"weights": found.weights, "explained": found.explained, "constant": found.constant}
            target = path.with_suffix(".npz")
            written.append(save_arrays(arrays, target, recipe=recipe, force=self.output.force))
        for each in written:
            report.add_output(session.output_row(
                each, layer=layer, view="expanded", shape=found.weights.shape, shown=recipe["shown"],
                total=len(found.weights), nonfinite=0, notes=found.notes,
            ))  # fmt: skip

    def report_left_out(self) -> None:
        """Report the layers that were left out, with one note per reason.

        Raises:
            KernelvizError: the reason of the first, if nothing was drawn and nothing else has failed.
        """
        if self.left_out and not self.report.outputs and not self.report.errors:
            raise next(iter(self.left_out.values()))
        self.report.more["left_out"] = [
            {"name": name, "reason": " ".join(filter(None, (error.what, error.why)))}
            for name, error in self.left_out.items()
        ]
        self.report.warn(*left_out_notes(self.left_out))


def left_out_notes(errors: Mapping[str, KernelvizError]) -> list[str]:
    """Which layers were left out and why, one line per reason, with the reason of the first layer that has it."""
    by_reason: dict[str, list[str]] = {}
    for name, error in errors.items():
        reason = re.sub(r"[\d.,]+", "", error.what.replace(shown(name), ""))
        by_reason.setdefault(reason, []).append(name)
    lines = []
    for first, *others in by_reason.values():
        line = f"{counted(1 + len(others), 'layer is', 'layers are')} left out: {errors[first].what}"
        if others:
            line += f" Likewise {', '.join(map(shown, others[:3]))}"
            line += f" and {counted(len(others) - 3, 'other')}." if len(others) > 3 else "."
        lines.append(line)
    return lines


def summary(found: LinearWeights) -> str:
    """``blocks.1.0.conv_dw: 70 of 96 channels explained by one half or more; median 81 %, over 8 images``."""
    half, total = int(found.half.sum()), len(found.weights)
    rows, columns = found.weights.shape[2:]
    median = "" if found.dead.all() else f"median {100 * found.median:.0f} %, "
    return (
        f"{found.layer}: weights on {rows} × {columns} px explain one half or more of {half:,} of {total:,} channels "
        f"({median}over {counted(len(found.judged), 'image')})"
    )

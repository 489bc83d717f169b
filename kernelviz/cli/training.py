"""``kernelviz training``: how the kernels of a layer changed over the checkpoints of a training."""

from __future__ import annotations

import contextlib
import math
import os
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kernelviz.cli import loading, options, outputs, remembered, session, terminal
from kernelviz.cli.model_choices import ModelChoices
from kernelviz.cli.outputs import OutputChoices
from kernelviz.cli.session import run_command
from kernelviz.errors import KernelvizError, UnknownLayerError, UsageError
from kernelviz.wording import counted, shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kernelviz.cli.session import Report
    from kernelviz.cli.terminal import Progress
    from kernelviz.drawing.animations import Animation
    from kernelviz.drawing.training_page import ScaleOver
    from kernelviz.network.architecture import Architecture
    from kernelviz.records import ConvLayer
    from kernelviz.views.kernel_history import KernelHistory


class Axis(StrEnum):
    """How steps are spread along the curves."""

    LINEAR = "linear"
    LOG = "log"


Checkpoints = Annotated[
    list[str],
    typer.Argument(
        metavar="CHECKPOINT",
        help="Weights files in their order, or URIs; or folders with -r and globs, sorted by the last number in the names, "
        "those without one last.",
    ),
]
Animate = Annotated[
    bool,
    typer.Option(
        "--animate",
        help="Also write an animation with a frame per checkpoint: WebP, with exact colours, or --format gif.",
        rich_help_panel=options.PICTURES,
    ),
]
Channels = Annotated[
    str | None,
    typer.Option(
        "--channels", metavar="0-15,40", help="Draw only these kernels. Default: the eight that moved most.",
        show_default=False, rich_help_panel=options.PICTURES,
    ),
]  # fmt: skip
Top = Annotated[
    int | None,
    typer.Option(
        "--top",
        min=1,
        metavar="N",
        help="Draw the N kernels that moved most: 1 − cosine of the first and the last checkpoint.",
        show_default=False,
        rich_help_panel=options.PICTURES,
    ),
]
Shown = Annotated[
    int,
    typer.Option(
        "--shown", min=2, metavar="N", help="Checkpoints in the film strip, evenly spread in the list.",
        rich_help_panel=options.PICTURES,
    ),
]  # fmt: skip
Steps = Annotated[
    str | None,
    typer.Option(
        "--steps",
        metavar="0,10,…",
        help="The step of each checkpoint. Default: global_step, step, iteration or epoch in the files, else the last "
        "number in their names, else 1, 2, ….",
        show_default=False,
    ),
]
AxisChoice = Annotated[
    Axis,
    typer.Option(
        "--axis", help="Axis of the curves; log: of 1 + step.", rich_help_panel=options.PICTURES,
    ),
]  # fmt: skip
Scale = Annotated[
    str,
    typer.Option(
        "--scale",
        metavar="training|tile|LO,HI",
        help="Range of the colours: one for all kernels at all checkpoints, one per tile, or the given one.",
        rich_help_panel=options.PICTURES,
    ),
]
Format = Annotated[
    options.AnyFormat | None,
    typer.Option(
        "--format",
        help="File format: png, svg or pdf for the film strip, gif or webp for the animation. Default: png and webp.",
        show_default=False,
        rich_help_panel=options.PICTURES,
    ),
]
_ANIMATED = {options.AnyFormat.GIF, options.AnyFormat.WEBP}


def training(
    model: options.ModelName,
    checkpoints: Checkpoints,
    *,
    layer: options.Layers = None,
    recursive: options.Recursive = False,
    steps: Steps = None,
    weights_key: options.WeightsKey = None,
    model_arg: options.ModelArgs = None,
    timeout: options.Timeout = 10.0,
    animate: Animate = False,
    channels: Channels = None,
    top: Top = None,
    columns: Shown = 12,
    axis: AxisChoice = Axis.LINEAR,
    scale: Scale = "training",
    look: options.LookChoice = options.LookName.PAGE,
    no_caption: options.NoCaption = False,
    file_format: Format = None,
    output: options.Output = Path("kernelviz-out"),
    arrays: options.Arrays = False,
    no_cache: options.NoCache = False,
    force: options.Force = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    debug: options.Debug = False,
) -> int:
    """Draw how the kernels of a layer changed over a training, from its checkpoints.

    For example: kernelviz training my_net.py:Net checkpoints -r -l conv1

    Also as an animation: kernelviz training my_net.py:Net 'runs/*.pt' --animate

    Of most layers one tensor is read from each file; the network is not built.
    """

    def work(report: Report) -> None:
        report.more |= {"steps": [], "layers": []}
        moving = file_format in _ANIMATED
        suffix = ".png" if file_format is None or moving else f".{file_format}"
        destination = OutputChoices(output, suffix, arrays, force, outputs.chosen_look(look, no_caption, report))
        choices = TrainingChoices(
            channels, top, columns, str(axis), parse_scale(scale),
            f".{file_format}" if moving else ".webp" if animate else "",
        )  # fmt: skip
        check(choices, destination, animate=animate)
        check_model(model)
        paths = find(checkpoints, output, report, recursive=recursive)
        numbers = parse_steps(steps, len(paths))
        wanted = ModelChoices(
            model, None, timeout=timeout, weights_key=weights_key, arguments=model_arg, cache=not no_cache
        )
        with terminal.progress(shown=not quiet) as progress:
            architecture, layers = open_architecture(wanted, layer, report, progress)
            run = TrainingRun(wanted, choices, destination, report, progress)
            found = run.read(architecture, paths, layers, numbers)
            for each in layers:
                session.attempt(report, each.name, len(layers), partial(run.draw, found[each.name]))
            grown = all(getattr(each, "grows", True) for each in found.values())
            if not grown and all(map(os.path.isfile, checkpoints)):
                report.inform("A folder with -r, or a pattern in quotes, is sorted by the numbers in the names.")

    return run_command("training", work, as_json=as_json, quiet=quiet, verbose=verbose, debug=debug)


@dataclass(frozen=True)
class TrainingChoices:
    """Which kernels and checkpoints are drawn, and how; ``moving`` is the suffix of the animation, empty without one."""

    channels: str | None
    top: int | None
    shown: int
    axis: str
    scale: ScaleOver
    moving: str

    @property
    def kept(self) -> int | None:
        """How many kernels are kept of a layer if none are named: those of the animation, or of the film strip."""
        from kernelviz.drawing.training_page import MOST_MOVING
        from kernelviz.views.kernel_history import SHOWN

        default = MOST_MOVING if self.moving else SHOWN
        return None if self.channels is not None else self.top or default


def check(choices: TrainingChoices, output: OutputChoices, *, animate: bool) -> None:
    """Reject what is wrong in the options alone.

    Raises:
        UsageError: options that exclude each other, or have no effect.
    """
    outputs.check_directory(output.directory)
    if choices.channels is not None and choices.top is not None:
        raise UsageError("--channels and --top cannot be combined.", hint="Omit one of them.")
    if choices.moving and not animate:
        raise UsageError(f"--format {choices.moving[1:]} is for an animation.", hint="Give --animate too.")


def check_model(model: str) -> None:
    """Reject a checkpoint in the place of the model.

    Raises:
        UsageError: it is one.
    """
    from kernelviz.files.finding import CHECKPOINTS

    if Path(model).suffix.lower() in CHECKPOINTS - {".model", ".state"}:
        what = f"{shown(model)} is a checkpoint, but the model comes first."
        raise UsageError(what, hint="kernelviz training MODEL CHECKPOINT…, for example my_net.py:Net before the files.")


def parse_scale(text: str) -> ScaleOver:
    """``training``, ``tile`` or the two numbers of ``LO,HI``.

    Raises:
        UsageError: it is none of them.
    """
    if text == "training":
        return "training"
    if text == "layer":
        raise UsageError("--scale must be training, tile or LO,HI, but got 'layer'.", hint="Give --scale training.")
    try:
        found = outputs.parse_scale(text)
    except UsageError as error:
        raise UsageError(error.what.replace("tile, layer", "training, tile"), error.why, error.hint) from None
    return "tile" if found == "tile" or found is None or isinstance(found, str) else found


def parse_steps(text: str | None, count: int) -> list[float] | None:
    """The numbers of ``0,10,20``, one for each checkpoint.

    Raises:
        UsageError: they are no finite numbers, or not as many.
    """
    from kernelviz.views.kernel_history import as_steps

    if text is None:
        return None
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or not all(map(math.isfinite, numbers)) or "_" in text:
        raise UsageError(f"--steps must be numbers like 0,10,20, but got {shown(repr(text))}.")
    if len(numbers) != count:
        raise UsageError(f"--steps has {counted(len(numbers), 'number')} for {counted(count, 'checkpoint')}.")
    return list(as_steps(numbers))


def find(arguments: Sequence[str], output: Path, report: Report, *, recursive: bool) -> tuple[str, ...]:
    """The checkpoints that the arguments name.

    Raises:
        KernelvizError: there are fewer than two, or too many.
    """
    from kernelviz.files.finding import find_checkpoints
    from kernelviz.views.kernel_history import MOST

    paths, notes, unreadable = find_checkpoints(arguments, recursive=recursive, output=output)
    report.warn(*notes)
    for folder, error in unreadable.items():
        report.add_failure(folder, error)
    if len(paths) == 1 < len(arguments) and not unreadable:
        raise KernelvizError("A history needs two checkpoints or more, but all arguments are the same file.")
    if len(paths) < 2:
        what = f"A history needs two checkpoints or more, but there is {counted(len(paths), 'checkpoint')}."
        raise KernelvizError(what, hint="`kernelviz kernels MODEL --weights FILE` draws the kernels of one.")
    if len(paths) > MOST:
        raise KernelvizError(f"A history takes at most {MOST:,} checkpoints, but there are {len(paths):,}.")
    return paths


def open_architecture(
    choices: ModelChoices, patterns: Sequence[str] | None, report: Report, progress: Progress
) -> tuple[Architecture, list[ConvLayer]]:
    """The architecture of a model, remembered or built once without weights, and the convolutions that patterns name.

    Raises:
        KernelvizError: the model cannot be built, or has no such layer.
    """
    choices = replace(choices, weights_key=None)  # it is for the files
    known = remembered.recalled_architecture(choices) if choices.cache else None
    with contextlib.suppress(UnknownLayerError):
        layers = known.select(patterns) if known else None
        if known and layers:
            return known, layers
    model = loading.load(choices, report, progress)
    from kernelviz.network.kernels import architecture_of
    from kernelviz.network.named import left_out, select_layers

    found, chosen = architecture_of(model), select_layers(model, patterns)
    for name, why in left_out(model, patterns).items():
        report.warn(f"left out: {name} {why}")
    if choices.cache and not left_out(model, "*"):
        remembered.remember_architecture(choices, found)
    return found, chosen


@dataclass(frozen=True)
class TrainingRun:
    """The model, what is drawn of it and where, and the report."""

    model: ModelChoices
    choices: TrainingChoices
    output: OutputChoices
    report: Report
    progress: Progress

    def read(
        self,
        architecture: Architecture,
        paths: Sequence[str],
        layers: Sequence[ConvLayer],
        steps: Sequence[float] | None,
    ) -> dict[str, KernelHistory | KernelvizError]:
        """The histories of the layers; a checkpoint that cannot be used is named, and the others are read."""
        from kernelviz.network.history import labels_of, read_histories

        labels = labels_of(paths)

        def fail(at: int, error: KernelvizError) -> None:
            self.report.add_failure(labels[at], error)
            if self.report.verbose and error.why:
                self.report.inform(error.why)

        self.progress("reading checkpoints", 0, len(paths))
        return read_histories(
            architecture, paths, layers, load=self.load, key=self.model.weights_key, steps=steps,
            channels=self.choices.channels, top=self.choices.kept, on_error=fail, progress=self.progress,
            timeout=self.model.timeout,
        )  # fmt: skip

    def load(self, path: Any) -> Any:
        """The network with the weights of a checkpoint."""
        from kernelviz.network.model import load_model

        return load_model(
            self.model.name, weights=path, timeout=self.model.timeout, weights_key=self.model.weights_key,
            model_args=options.parse_model_args(self.model.arguments),
        )  # fmt: skip

    def draw(self, found: KernelHistory | KernelvizError) -> None:
        """Draw the history of a layer, write the files and report them.

        Raises:
            KernelvizError: there is none, or it cannot be drawn.
        """
        from kernelviz.drawing.training_page import plot_history
        from kernelviz.files.writing import save_arrays
        from kernelviz.views.kernel_history import history_entry, history_table, irregularities

        if isinstance(found, KernelvizError):
            raise found
        report, output, choices = self.report, self.output, self.choices
        report.source = report.source if report.more["layers"] else found.source
        report.more["steps"] = report.more["steps"] or list(found.steps)
        report.more["layers"].append(history_entry(found))
        rows = found.shown(choices.channels, choices.top)
        figure = plot_history(found, rows, shown=choices.shown, **self.how)
        recipe = figure.recipe or {}
        path = outputs.picture_path(_stem(found, choices), recipe, output, report)
        animation, target = self.animation(found, rows, path) if choices.moving else (None, path)
        report.inform(summary(found))
        report.inform(*history_table(found, rows, width=terminal.message_width()))
        known = irregularities(found)
        report.warn(*known)
        outputs.save_page(figure, path, report, force=output.force, known=known)
        facts = {
            "layer": recipe["layer"], "shape": (found.total, *found.weights.shape[2:]), "total": found.total,
            "limits": tuple(recipe["limits"]), "nonfinite": recipe["nonfinite"],
        }  # fmt: skip

        def add(target: Path, drawn: Any, count: int, notes: Sequence[str]) -> None:
            more = {"view": drawn["view"], "columns": drawn["columns"], "shown": count, "notes": list(notes)}
            report.add_output(session.output_row(target, **facts, **more))

        add(path, recipe, recipe["shown"], recipe["notes"])
        if animation is not None:
            notes = self.save(animation, target, known)
            add(target, animation.recipe, animation.recipe["shown"], notes)
        if output.arrays:
            arrays = save_arrays(_arrays(found), path.with_suffix(".npz"), recipe=recipe, force=output.force)
            add(arrays, recipe, len(found.kernels), recipe["notes"])

    @property
    def how(self) -> dict[str, Any]:
        """The choices that the film strip and the animation share."""
        look = self.output.look
        return {"scale": self.choices.scale, "axis": self.choices.axis, "look": look.name, "caption": look.caption}

    def animation(self, found: KernelHistory, rows: Sequence[int], beside: Path) -> tuple[Animation, Path]:
        """The animation, and its path beside the film strip.

        Raises:
            FileInTheWayError: something else has this path.
        """
        from kernelviz.drawing.training_page import animate_kernels
        from kernelviz.files.writing import check_target

        choices = self.choices
        chosen = rows if choices.channels is not None or choices.top is not None else None
        animation, target = animate_kernels(found, chosen, **self.how), beside.with_suffix(choices.moving)
        check_target(target, animation.recipe, force=self.output.force)
        return animation, target

    def save(self, animation: Animation, target: Path, known: Sequence[str]) -> list[str]:
        """Write the animation; the notes in the file, of which those not ``known`` are printed."""
        from kernelviz.files.recipes import read_recipe

        outputs.save_page(animation, target, self.report, force=self.output.force, progress=self.progress, known=known)
        notes: list[str] = read_recipe(target)["notes"]  # a GIF notes how exact its colours are when it is encoded
        self.report.warn(*(note for note in notes if note not in known))
        return notes


def _stem(found: KernelHistory, choices: TrainingChoices) -> str:
    from kernelviz.files.names import file_stems

    own = ["tile"] if choices.scale == "tile" else []
    source, layer = found.source.stem if found.source else "history", found.layer.name if found.layer else "layer"
    (stem,) = file_stems([(source, layer, "training", *own)])
    return stem


def _arrays(found: KernelHistory) -> dict[str, Any]:
    """The steps, the norms and cosines of all kernels, and the weights of those that are kept."""
    import numpy as np

    numbers = {"norms": found.norms, "cosines": found.cosines}
    return {"steps": np.array(found.steps), **numbers, "weights": found.weights, "shown": np.array(found.kernels)}


def _from(found: KernelHistory) -> str:
    return found.step_source if found.step_source == "as given" else f"from {found.step_source}"


def summary(found: KernelHistory) -> str:
    """``conv1: 24 checkpoints, steps 0 to 2,000, from the file names; 16 kernels, moved by 0.55 to 1.05``."""
    import numpy as np

    from kernelviz.views.kernel_history import NUMBERED, step_text
    from kernelviz.wording import number_text

    name = found.layer.name if found.layer else "layer"
    steps = f"{step_text(found.steps[0])} to {step_text(found.steps[-1])}"
    where = NUMBERED if found.step_source == NUMBERED else f"steps {steps}, {_from(found)}"
    moved = found.moved[np.isfinite(found.moved)]
    far = ""
    if moved.size:
        ends = number_text(float(moved.min())), number_text(float(moved.max()))
        far = f", moved by {ends[0]} to {ends[1]}" if moved.max() > 0 else ", none of which moved"
    return f"{name}: {counted(len(found.steps), 'checkpoint')}, {where}; {counted(found.total, 'kernel')}{far}"

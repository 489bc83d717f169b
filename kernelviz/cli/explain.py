"""``kernelviz explain``: a convolution or a pool worked out step by step, on the user's own numbers."""

from __future__ import annotations

from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kernelviz.cli import options
from kernelviz.cli.explain_inputs import Goal, Wish
from kernelviz.cli.options import OUTPUT, PICTURES, Drawn
from kernelviz.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kernelviz.arithmetic.operations import Operation
    from kernelviz.cli.session import Report
    from kernelviz.explain.walkthrough import Walkthrough


NUMBERS = "Numbers"
SIDES = "SIDE|HxW"


class PoolKind(StrEnum):
    """What a pool keeps of a window."""

    MAX = "max"
    AVERAGE = "average"


def _sides(name: str, text: str) -> object:
    return typer.Option(name, metavar=SIDES, help=text, show_default=False)


Input = Annotated[
    str,
    typer.Option(
        "--input",
        "-i",
        metavar="SIZE|NUMBERS|CSV",
        help="A size (7 or 5x7), the numbers themselves ('1 2 3; 4 5 6', channels apart by |), or a CSV file.",
    ),
]
Kernel = Annotated[str | None, _sides("--kernel", "Rows and columns of the kernel; 3 unless its values say.")]
Window = Annotated[str | None, _sides("--kernel", "Rows and columns of a window; 2 unless the pool is adaptive.")]
Stride = Annotated[str, _sides("--stride", "By how much the window moves; 1 unless said.")]
PoolStride = Annotated[str | None, _sides("--stride", "By how much the window moves; the kernel's sides unless said.")]
Stamps = Annotated[str, _sides("--stride", "How far the stamps are apart; 1 unless said.")]
ConvPadding = Annotated[
    str,
    typer.Option(
        "--padding",
        metavar="SIDE|HxW|T,B,L,R|same|valid",
        help="Zeros around the input: one number, two, or top,bottom,left,right; none unless said.",
        show_default=False,
    ),
]
PoolPadding = Annotated[str, _sides("--padding", "Around the input, at most half of the kernel; none unless said.")]
CutOff = Annotated[str, _sides("--padding", "Cut off the output at each end; none unless said.")]
OutputPadding = Annotated[str, _sides("--output-padding", "Added to the output behind; none unless said.")]
Dilation = Annotated[str, _sides("--dilation", "How far the taps of the kernel are apart; 1 unless said.")]
Groups = Annotated[int, typer.Option("--groups", min=1, help="Into how many groups the channels fall.")]
InChannels = Annotated[
    int | None,
    typer.Option(
        "--in-channels", min=1, metavar="N", help="Channels of the input; 1 unless its numbers say.", show_default=False
    ),
]
OutChannels = Annotated[
    int | None,
    typer.Option(
        "--out-channels",
        min=1,
        metavar="N",
        help="Channels of the output; as few as groups and kernel values allow unless said.",
        show_default=False,
    ),
]
Kind = Annotated[PoolKind, typer.Option("--kind", help="What a window passes on.")]
CeilMode = Annotated[bool, typer.Option("--ceil-mode", help="Count a last window that reaches out of the input, too.")]
CountPad = Annotated[
    bool,
    typer.Option("--count-include-pad/--no-count-include-pad", help="Whether padding counts in an average."),
]
Adaptive = Annotated[
    str | None, _sides("--adaptive", "An adaptive pool: the size of its output, instead of kernel, stride and padding.")
]
KernelValues = Annotated[
    str | None,
    typer.Option(
        "--kernel-values",
        metavar="NUMBERS|CSV|NAME",
        help="Written like the input, a plane for each input channel of each output channel, or one for all; "
        "or a name: sobel-x, sobel-y, laplacian.",
        show_default=False,
        rich_help_panel=NUMBERS,
    ),
]
Bias = Annotated[
    str | None,
    typer.Option(
        "--bias", metavar="NUMBERS", help="One number, or one an output channel.", show_default=False,
        rich_help_panel=NUMBERS,
    ),
]  # fmt: skip
NumberSeed = Annotated[
    int, typer.Option("--seed", min=0, help="Of the whole numbers that are not given.", rich_help_panel=NUMBERS)
]
At = Annotated[
    str | None,
    typer.Option(
        "--at",
        metavar="ROW,COLUMN",
        help="Only this output cell; the picture shows the first one unless said.",
        show_default=False,
        rich_help_panel=NUMBERS,
    ),
]
Channel = Annotated[
    int, typer.Option("--channel", min=0, metavar="N", help="Which output channel is shown.", rich_help_panel=NUMBERS)
]
Steps = Annotated[bool, typer.Option("--steps", help="Draw a sheet of all steps.", rich_help_panel=PICTURES)]
Animate = Annotated[bool, typer.Option("--animate", help="Draw the sliding window.", rich_help_panel=PICTURES)]
Fps = Annotated[
    float | None,
    typer.Option(
        "--fps",
        min=0.1,
        max=50,
        metavar="N",
        help="Steps a second; one in 0.9 seconds unless said.",
        show_default=False,
        rich_help_panel=PICTURES,
    ),
]
Format = Annotated[
    Drawn | None,
    typer.Option(
        "--format",
        help="png unless said; of an animation gif, or webp.",
        show_default=False,
        rich_help_panel=PICTURES,
    ),
]
Directory = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="DIR",
        help="Draw, into this directory; without it the explanation is printed.",
        show_default=False,
        rich_help_panel=OUTPUT,
    ),
]


WHOLE = ("steps", "animation", "stamps-animation", "numbers")  # views of no one cell


def draw(command: str, worked: Walkthrough, goal: Goal, report: Report) -> None:
    """Draw what was asked for into files of the directory; nothing is drawn where something is in the way.

    Raises:
        KernelvizError: something is in the way, too much was asked for, or a file could not be written.
    """
    from kernelviz.cli import terminal
    from kernelviz.explain.plots import explaining_recipe
    from kernelviz.files.names import file_stems
    from kernelviz.files.writing import check_target, save_arrays, save_picture

    if goal.directory is None:
        return
    pictures = _pictures(worked, goal, report)
    stems = file_stems([_name(command, worked, goal, view) for view in pictures])
    places = [goal.directory / f"{stem}.{goal.suffix}" for stem in stems]
    cell = goal.cell or (0, 0)
    recipes = [
        explaining_recipe(worked, view=view, at=None if view in WHOLE else cell, channel=goal.channel)
        for view in pictures
    ]
    for place, recipe in zip(places, recipes, strict=True):
        check_target(place, recipe, force=goal.force)
    arrays = goal.directory / f"{file_stems([_name(command, worked, goal, 'numbers')])[0]}.npz"
    if goal.arrays:
        check_target(arrays, {**recipes[0], "view": "numbers"}, force=goal.force)
    with terminal.progress(shown=goal.animate and not goal.quiet) as progress:
        for place, make, recipe in zip(places, pictures.values(), recipes, strict=True):
            path = save_picture(make(), place, force=goal.force, progress=progress)
            report.outputs.append(_entry(path, worked, recipe))
    if goal.arrays:
        named = {"input": worked.input, "kernel": worked.kernel, "bias": worked.bias, "output": worked.output}
        there = {name: values for name, values in named.items() if values is not None}
        recipe = {**recipes[0], "view": "numbers", "shown": worked.output.size, "total": worked.output.size}
        report.outputs.append(_entry(save_arrays(there, arrays, recipe=recipe, force=goal.force), worked, recipe))


def _pictures(worked: Walkthrough, goal: Goal, report: Report) -> dict[str, Callable[[], Any]]:
    """What is drawn, by the name of its view: a transposed convolution both ways."""
    from kernelviz.arithmetic.operations import TransposedConvolution
    from kernelviz.explain.plots import WorkView, plot_convolution

    if goal.animate:
        return _animations(worked, goal, report)
    views: list[WorkView] = ["steps"] if goal.steps else ["step"]
    if isinstance(worked.operation, TransposedConvolution) and not goal.steps:
        views = ["stamps", "step"]
    at = goal.cell or (0, 0)
    return {view: partial(plot_convolution, worked, at=at, channel=goal.channel, view=view) for view in views}


def _animations(worked: Walkthrough, goal: Goal, report: Report) -> dict[str, Callable[[], Any]]:
    """The window, and the stamps of a transposed convolution where they can be shown; why not, else."""
    from kernelviz.arithmetic.operations import TransposedConvolution
    from kernelviz.errors import UsageError
    from kernelviz.explain.animation import animate_convolution

    animate = partial(animate_convolution, worked, channel=goal.channel, fps=goal.fps)
    found = {"animation": animate()}  # refuses before anything is drawn
    if isinstance(worked.operation, TransposedConvolution):
        try:
            found["stamps-animation"] = animate(view="stamps")
        except UsageError as error:
            report.warnings.append(f"the window alone is animated: {error.what}")
    return {view: partial(lambda animation: animation, animation) for view, animation in found.items()}


def _name(command: str, worked: Walkthrough, goal: Goal, view: str) -> tuple[str, ...]:
    """The parts of a file's name: the operation, its sizes, the step, and a hash of settings and numbers."""
    from kernelviz.explain.plots import numbers_hash

    operation = worked.operation
    size = "x".join(map(str, operation.input_size))
    kernel = "x".join(map(str, operation.kernel))
    row, column = goal.cell or (0, 0)
    place = () if view in WHOLE else (f"{row}-{column}",)
    channel = (f"channel{goal.channel}",) if operation.out_channels > 1 else ()
    return (command, size, kernel, numbers_hash(worked)[:8], view, *channel, *place)


def _entry(path: object, worked: Walkthrough, recipe: Mapping[str, Any]) -> dict[str, Any]:
    """One file of the JSON document."""
    facts = {key: recipe[key] for key in ("view", "shown", "total", "limits", "nonfinite", "notes")}
    return {"path": str(path), "layer": None, "image": None, "shape": list(worked.output.shape), **facts}


def explain(wish: Wish, build: Callable[[], Operation], report: Report) -> None:
    """Work it out, and print the explanation, or draw it where a directory is given.

    Raises:
        KernelvizError: the settings or the numbers are refused, or a picture could not be made.
    """
    from kernelviz.cli import terminal
    from kernelviz.cli.session import document, json_text
    from kernelviz.explain.texts import broken_notes, chosen_steps, explanation_entry, number_lines, size_lines

    goal = wish.goal
    _check(goal)
    operation = build()
    worked = _worked(wish, operation, report)
    steps = [] if worked is None else chosen_steps(worked, goal.channel, goal.cell)
    if worked is not None:
        report.warnings += broken_notes(worked)
        total = operation.output_size[0] * operation.output_size[1]
        if goal.as_json and goal.cell is None and len(steps) < total:
            report.warnings.append(f"{len(steps):,} of {total:,} steps are told")
    if goal.directory is not None and worked is not None:
        draw(wish.command, worked, goal, report)
    if goal.as_json:
        terminal.result(json_text(document(report, None, **explanation_entry(operation, worked, steps))))
        return
    if goal.directory is not None:
        if not goal.quiet:
            terminal.say(*size_lines(operation), *report.warnings)
        terminal.result("\n".join(entry["path"] for entry in report.outputs))
        return
    lines = size_lines(operation)
    if worked is not None:
        lines += number_lines(worked, steps, goal.channel)
    terminal.result("\n".join(lines))
    if report.warnings and not goal.quiet:
        terminal.say(*report.warnings)


def _worked(wish: Wish, operation: Operation, report: Report) -> Walkthrough | None:
    """The numbers worked out; None where only sizes were given and they are too large for that."""
    from kernelviz.explain.walkthrough import MOST_WORK, work_needed, work_out

    goal = wish.goal
    given = wish.data is not None or goal.directory is not None or goal.cell is not None
    if not given and work_needed(operation) > MOST_WORK:
        report.warnings.append(f"the numbers are left out: that would be {work_needed(operation):,} multiply-adds")
        return None
    return work_out(operation, *wish.numbers(operation))


def _check(goal: Goal) -> None:
    """Refuse at once what can be told from the command alone.

    Raises:
        UsageError: a picture without a place for it, or choices that exclude each other.
    """
    drawing = {
        "--animate": goal.animate, "--steps": goal.steps, "--arrays": goal.arrays, "--force": goal.force,
        "--format": goal.file_format is not None,
    }  # fmt: skip
    asked = [name for name, there in drawing.items() if there]
    if goal.directory is None and asked:
        raise UsageError(f"{asked[0]} needs a directory for what is drawn.", hint="Add -o kernelviz-out")
    if goal.animate and goal.steps:
        raise UsageError("Either --animate or --steps, not both.", hint="Leave out one of them.")
    if goal.at is not None and (goal.animate or goal.steps):
        raise UsageError(
            f"--at is of one step, but {'--animate' if goal.animate else '--steps'} draws all of them.",
            hint="Leave out one of them.",
        )
    if goal.fps is not None and not goal.animate:
        raise UsageError("--fps is of an animation.", hint="Add --animate, or leave it out.")
    _ = goal.cell, goal.suffix
    if goal.directory is not None:
        from kernelviz.cli.session import check_directory

        check_directory(goal.directory)


def conv(
    *,
    input_: Input = "5",
    kernel: Kernel = None,
    stride: Stride = "1",
    padding: ConvPadding = "0",
    dilation: Dilation = "1",
    groups: Groups = 1,
    in_channels: InChannels = None,
    out_channels: OutChannels = None,
    kernel_values: KernelValues = None,
    bias: Bias = None,
    seed: NumberSeed = 0,
    at: At = None,
    channel: Channel = 0,
    steps: Steps = False,
    animate: Animate = False,
    fps: Fps = None,
    file_format: Format = None,
    output: Directory = None,
    arrays: options.Arrays = False,
    force: options.Force = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> int:
    """Explain a convolution: its size, its steps, its cost; draw it with -o.

    For example: kernelviz explain conv --input 6 --stride 2 --padding 1
    """
    from kernelviz.cli.explain_inputs import Goal, Wish

    goal = Goal(at, channel, steps, animate, fps, file_format, output, arrays, force, quiet, as_json, debug)
    wish = Wish("conv", input_, kernel, kernel_values, bias, seed, groups, in_channels, out_channels, goal)

    def build(wish: Wish) -> Operation:
        from kernelviz.arithmetic.operations import Convolution, Padding
        from kernelviz.cli.explain_inputs import sides

        numbers: Padding = sides("padding", padding, ", same or valid") if padding not in ("same", "valid") else padding  # type: ignore[assignment]
        return Convolution(
            wish.size, wish.sides, padding=numbers, stride=sides("stride", stride), dilation=sides("dilation", dilation),
            groups=groups, in_channels=wish.inputs, out_channels=wish.outputs, bias=bias is not None,
        )  # fmt: skip

    return _run(wish, build)


def transpose(
    *,
    input_: Input = "2",
    kernel: Kernel = None,
    stride: Stamps = "1",
    padding: CutOff = "0",
    output_padding: OutputPadding = "0",
    dilation: Dilation = "1",
    groups: Groups = 1,
    in_channels: InChannels = None,
    out_channels: OutChannels = None,
    kernel_values: KernelValues = None,
    bias: Bias = None,
    seed: NumberSeed = 0,
    at: At = None,
    channel: Channel = 0,
    steps: Steps = False,
    animate: Animate = False,
    fps: Fps = None,
    file_format: Format = None,
    output: Directory = None,
    arrays: options.Arrays = False,
    force: options.Force = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> int:
    """Explain a transposed convolution both ways: as stamps, and as a convolution over the stretched input.

    For example: kernelviz explain transpose --input 3 --stride 2 --padding 1
    """
    from kernelviz.cli.explain_inputs import Goal, Wish

    goal = Goal(at, channel, steps, animate, fps, file_format, output, arrays, force, quiet, as_json, debug)
    wish = Wish("transpose", input_, kernel, kernel_values, bias, seed, groups, in_channels, out_channels, goal)

    def build(wish: Wish) -> Operation:
        from kernelviz.arithmetic.operations import TransposedConvolution
        from kernelviz.cli.explain_inputs import sides

        return TransposedConvolution(
            wish.size, wish.sides, stride=sides("stride", stride), padding=sides("padding", padding),
            output_padding=sides("output padding", output_padding), dilation=sides("dilation", dilation),
            groups=groups, in_channels=wish.inputs, out_channels=wish.outputs, bias=bias is not None,
        )  # fmt: skip

    return _run(wish, build)


def pool(
    *,
    input_: Input = "4",
    kind: Kind = PoolKind.MAX,
    kernel: Window = None,
    stride: PoolStride = None,
    padding: PoolPadding = "0",
    dilation: Dilation = "1",
    ceil_mode: CeilMode = False,
    count_include_pad: CountPad = True,
    adaptive: Adaptive = None,
    in_channels: InChannels = None,
    seed: NumberSeed = 0,
    at: At = None,
    channel: Channel = 0,
    steps: Steps = False,
    animate: Animate = False,
    fps: Fps = None,
    file_format: Format = None,
    output: Directory = None,
    arrays: options.Arrays = False,
    force: options.Force = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> int:
    """Explain a max, average or adaptive pool: its windows, its rounding, what it passes on.

    For example: kernelviz explain pool --input 5 --kernel 2 --ceil-mode
    """
    from kernelviz.cli.explain_inputs import Goal, Wish

    goal = Goal(at, channel, steps, animate, fps, file_format, output, arrays, force, quiet, as_json, debug)
    window = kernel if kernel or adaptive else "2"
    wish = Wish("pool", input_, window, None, None, seed, 1, in_channels, None, goal)

    def build(wish: Wish) -> Operation:
        from kernelviz.arithmetic.operations import Pooling
        from kernelviz.cli.explain_inputs import sides
        from kernelviz.errors import UsageError

        if kind is PoolKind.MAX and not count_include_pad:
            raise UsageError(
                "--no-count-include-pad is of an average.", "A maximum takes no padding.",
                "Add --kind average, or leave it out.",
            )  # fmt: skip
        return Pooling(
            wish.size,
            sides("kernel", window) if window else None,
            kind=kind.value,
            stride=sides("stride", stride) if stride else None,
            padding=sides("padding", padding),
            dilation=sides("dilation", dilation),
            ceil_mode=ceil_mode,
            count_include_pad=count_include_pad,
            adaptive=sides("adaptive size", adaptive) if adaptive else None,
            in_channels=wish.inputs,
        )

    return _run(wish, build)


def _run(wish: Wish, build: Callable[[Wish], Operation]) -> int:
    """Work it out, print it or draw it."""
    from kernelviz.cli import session
    from kernelviz.cli.session import Report

    report = Report("explain")
    goal = wish.goal
    try:
        explain(wish, partial(build, wish), report)
    except Exception as error:  # noqa: BLE001  (every command ends in a message)
        return session.failed(report, error, as_json=goal.as_json, debug=goal.debug)
    return session.outcome(report)

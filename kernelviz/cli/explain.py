"""``kernelviz explain``: a convolution or a pooling worked out step by step, on the user's own numbers."""

from __future__ import annotations

from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kernelviz.cli import options, outputs, session, terminal
from kernelviz.cli.explain_conv_views import ConvViews, Maps, Matrix, NoMaps, PoolAfter, Relu, Uses, explain_views
from kernelviz.cli.explain_csv import Csv, prepare_csv
from kernelviz.cli.explain_html import Html, explain_html
from kernelviz.cli.explain_pools import explain_pools
from kernelviz.cli.options import OUTPUT, PICTURES, AnyFormat, target_path
from kernelviz.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from kernelviz.arithmetic.operations import Operation
    from kernelviz.cli.explain_inputs import ExplainInputs, StepChoices
    from kernelviz.cli.session import Report
    from kernelviz.drawing.looks import Look
    from kernelviz.explain.walkthrough import Walkthrough


NUMBERS = "Numbers"
SIDES = "SIDE|HxW"


class PoolKind(StrEnum):
    """What a pooling computes of a window."""

    MAX = "max"
    AVERAGE = "average"
    BOTH = "both"


def _sides(*names: str, text: str) -> object:
    """An option for sizes; the second name is that of Keras."""
    return typer.Option(*names, metavar=SIDES, help=text, show_default=False)


Input = Annotated[
    str,
    typer.Option(
        "--input",
        "-i",
        metavar="SIZE|NUMBERS|FILE",
        help="A size (7 or 5x7), the numbers ('1 2 3; 4 5 6', channels separated by |), a CSV file, "
        "or an image of at most 32 × 32 pixels (a larger one with --resize).",
    ),
]
Levels = Annotated[
    int | None,
    typer.Option(
        "--levels",
        min=2,
        max=256,
        metavar="N",
        help="With an image: reduce its grey to N levels from 0, black, to N − 1. Default: 0 to 255.",
        show_default=False,
        rich_help_panel=NUMBERS,
    ),
]
Resize = Annotated[
    str | None,
    typer.Option(
        "--resize",
        metavar=SIDES,
        help="With an image: resize it, each pixel the mean of the area that it covers; one number is the longer side. "
        "For example --input photo.jpg --resize 16",
        show_default=False,
        rich_help_panel=NUMBERS,
    ),
]
Kernel = Annotated[
    str | None, _sides("--kernel", "--kernel-size", text="Size of the kernel. Default: that of its values, else 3.")
]
Window = Annotated[
    str | None,
    _sides("--kernel", "--pool-size", "--kernel-size", text="Size of the window. Default: 2, unless it is adaptive."),
]
Stride = Annotated[str, _sides("--stride", "--strides", text="Step of the window. Default: 1.")]
PoolStride = Annotated[
    str | None, _sides("--stride", "--strides", text="Step of the window. Default: the size of the window.")
]
Stamps = Annotated[str, _sides("--stride", "--strides", text="Distance between the stamps. Default: 1.")]
ConvPadding = Annotated[
    str,
    typer.Option(
        "--padding",
        metavar="SIDE|HxW|T,B,L,R|same|valid",
        help="Zeros around the input: one number, HxW, top,bottom,left,right, same or valid. Default: 0.",
        show_default=False,
    ),
]
PoolPadding = Annotated[
    str,
    typer.Option(
        "--padding",
        metavar=f"{SIDES}|same|valid",
        help="Padding around the input, at most half of the window; or same or valid, as in Keras. Default: 0.",
        show_default=False,
    ),
]
CutOff = Annotated[
    str,
    typer.Option(
        "--padding",
        metavar=f"{SIDES}|same|valid",
        help="Rows and columns cut off the output at each end; or same or valid, as in Keras. Default: 0.",
        show_default=False,
    ),
]
OutputPadding = Annotated[
    str | None,
    _sides(
        "--output-padding",
        text="Rows and columns added to the end of the output. Default: 0, with same and valid that of Keras.",
    ),
]
Dilation = Annotated[str, _sides("--dilation", text="Spacing between the kernel's elements. Default: 1.")]
Groups = Annotated[int, typer.Option("--groups", min=1, help="Number of groups that the channels are split into.")]
InChannels = Annotated[
    int | None,
    typer.Option(
        "--in-channels",
        min=1,
        metavar="N",
        help="Channels of the input. Default: those of its numbers, else 1.",
        show_default=False,
    ),
]
OutChannels = Annotated[
    int | None,
    typer.Option(
        "--out-channels",
        "--filters",
        min=1,
        metavar="N",
        help="Channels of the output. Default: as few as groups and kernel values allow.",
        show_default=False,
    ),
]
Kind = Annotated[
    PoolKind, typer.Option("--kind", help="What is computed from each window; both: each beside the other.")
]
CeilMode = Annotated[
    bool,
    typer.Option("--ceil-mode", help="Round the output size up, so that the last window may reach beyond the input."),
]
CountPad = Annotated[
    bool | None,
    typer.Option(
        "--count-include-pad/--no-count-include-pad",
        help="Include padding in averages. Default: included, but not that of same.",
        show_default=False,
    ),
]
Adaptive = Annotated[
    str | None,
    _sides("--adaptive", text="Output size of an adaptive pooling, instead of kernel, stride and padding; 1: global."),
]
KernelValues = Annotated[
    str | None,
    typer.Option(
        "--kernel-values",
        metavar="NUMBERS|CSV|NAME",
        help="Written like the input: one plane per input channel of each output channel, or one for all; "
        "or the name of a filter, such as sobel-x.",
        show_default=False,
        rich_help_panel=NUMBERS,
    ),
]
Bias = Annotated[
    str | None,
    typer.Option(
        "--bias", metavar="NUMBERS", help="One number, or one per output channel.", show_default=False,
        rich_help_panel=NUMBERS,
    ),
]  # fmt: skip
NumberSeed = Annotated[
    int,
    typer.Option(
        "--seed",
        min=0,
        help="Seed of the example numbers that are used where none are given.",
        rich_help_panel=NUMBERS,
    ),
]
At = Annotated[
    str | None,
    typer.Option(
        "--at",
        metavar="ROW,COLUMN",
        help="Output cell to show. Default: all cells in text; in a picture the first, of an image the largest.",
        show_default=False,
        rich_help_panel=NUMBERS,
    ),
]
Channel = Annotated[
    int, typer.Option("--channel", min=0, metavar="N", help="Output channel to show.", rich_help_panel=NUMBERS)
]
Steps = Annotated[bool, typer.Option("--steps", help="Draw all steps on one page.", rich_help_panel=PICTURES)]
Animate = Annotated[
    bool, typer.Option("--animate", help="Draw an animation of the sliding window.", rich_help_panel=PICTURES)
]
Frames = Annotated[
    bool,
    typer.Option(
        "--frames",
        help="Write the frames of the animation as numbered PNGs, …-frame-000.png; with --animate the animation too.",
        rich_help_panel=PICTURES,
    ),
]
Fps = Annotated[
    float | None,
    typer.Option(
        "--fps",
        metavar="N",
        help="Frames per second of --animate, 0.1 to 50. Default: 1.1 (0.9 s per step).",
        show_default=False,
        rich_help_panel=PICTURES,
    ),
]
Format = Annotated[
    AnyFormat | None,
    typer.Option(
        "--format",
        help="File format. Default: png, or gif with --animate, which also takes webp.",
        show_default=False,
        rich_help_panel=PICTURES,
    ),
]
Directory = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        parser=target_path,
        metavar="DIR|URI",
        help="Draw into this directory instead of printing the explanation.",
        show_default=False,
        rich_help_panel=OUTPUT,
    ),
]


WHOLE = ("steps", "animation", "stamps-animation", "numbers")  # views that show more than one cell


def explain(
    command: str,
    inputs: ExplainInputs,
    choices: StepChoices,
    build: Callable[[], Operation],
    *,
    as_json: bool,
    quiet: bool,
    debug: bool,
) -> int:
    """Work out the operation that ``build`` returns, and print the explanation or draw it."""

    def work(report: Report) -> None:
        from kernelviz.explain.texts import (
            chosen_steps,
            explanation_entry,
            made_up_text,
            number_lines,
            size_lines,
        )

        choices.check()
        operation = build()
        worked = _work_out(inputs, choices, operation, report)
        steps = [] if worked is None else chosen_steps(worked, choices.channel, choices.cell)
        if worked is not None:
            choices.warn_of_limit(len(steps), operation, report)
        known = known_lines(inputs.known)
        entry: dict[str, Any] = {}
        if choices.csv is not None or as_json:
            entry = explanation_entry(operation, worked, steps) | {"known_filters": inputs.known}
        _write(_csv_name(command, operation, worked, choices), worked, choices, entry, report)
        if not choices.prints:
            if not as_json:
                made_up = "" if worked is None else made_up_text(worked)
                notes = [f"numbers     {made_up}"] if made_up else []
                report.inform(*terminal.fold_message([*size_lines(operation), *known, *notes, *report.warnings]))
        elif not as_json:
            numbers = [] if worked is None else number_lines(worked, steps, choices.channel)
            terminal.print_text(*terminal.fold([*size_lines(operation), *known, *numbers]))
            report.inform(*report.warnings)
        if as_json:
            report.more |= entry

    return session.run_command("explain", work, as_json=as_json, quiet=quiet, debug=debug)


def known_lines(known: Sequence[str | None]) -> list[str]:
    """Which planes of a kernel are classical filters, one line each; a single plane has no number."""
    single = len(known) == 1
    return [f"kernel      {'' if single else f'plane {at} '}= {one}" for at, one in enumerate(known) if one]


def _write(
    name: tuple[str, ...], worked: Walkthrough | None, choices: StepChoices, entry: Mapping[str, Any], report: Report
) -> None:
    """Write the CSV file of this name and draw the pictures that were requested; nothing if a path is taken."""
    write_csv = None
    if choices.csv is not None:
        write_csv = prepare_csv(choices.csv, name, entry, report, force=choices.force)
    if worked is not None and choices.directory is not None:
        draw(name[0], worked, choices, choices.directory, report)
    if write_csv is not None:
        write_csv()


def _work_out(inputs: ExplainInputs, choices: StepChoices, operation: Operation, report: Report) -> Walkthrough | None:
    """The worked-out numbers; None if only sizes were given and they are too large."""
    from kernelviz.explain.walkthrough import check_cost

    try:
        check_cost(operation, as_json=report.as_json or choices.csv is not None)
    except UsageError as error:
        if inputs.data is not None or choices.directory is not None or choices.cell is not None:
            raise
        report.note(f"the numbers are omitted: {error.what[0].lower()}{error.what[1:].removesuffix('.')}")
        return None
    return inputs.work_out(operation, report)


def draw(command: str, worked: Walkthrough, choices: StepChoices, directory: Path, report: Report) -> None:
    """Draw the requested pictures into the directory; nothing is drawn if a path is taken.

    Raises:
        KernelvizError: a path is taken, too much was requested, or a file could not be written.
    """
    from kernelviz.explain.plots import explaining_recipe
    from kernelviz.files.encoding import frame_recipe
    from kernelviz.files.names import file_stems
    from kernelviz.files.writing import check_target, save_arrays

    look = outputs.chosen_look(choices.look, choices.no_caption, report)
    pictures = _pictures(worked, choices, report, look)
    stems = file_stems([_name(command, worked, choices, view) for view in pictures])
    paths = [directory / f"{stem}.{choices.suffix}" for stem in stems]
    cell = _cell(worked, choices)
    recipes = [
        explaining_recipe(worked, view=view, at=None if view in WHOLE else cell, channel=choices.channel)
        for view in pictures
    ]
    if choices.draws_whole:
        for path, recipe in zip(paths, recipes, strict=True):
            check_target(path, recipe, force=choices.force)
    arrays = directory / f"{file_stems([_name(command, worked, choices, 'numbers')])[0]}.npz"
    if choices.arrays:
        check_target(arrays, {**recipes[0], "view": "numbers"}, force=choices.force)
    with terminal.progress(shown=(choices.animate or choices.frames) and not report.quiet) as progress:
        for path, plot, recipe in zip(paths, pictures.values(), recipes, strict=True):
            for each, frame in choices.save(plot(), path, report, progress):
                drawn = recipe if frame is None else frame_recipe(recipe, frame)
                report.add_output(session.recipe_row(each, drawn, shape=worked.output.shape))
    if choices.arrays:
        named = {"input": worked.input, "kernel": worked.kernel, "bias": worked.bias, "output": worked.output}
        known = {name: values for name, values in named.items() if values is not None}
        recipe = {**recipes[0], "view": "numbers", "shown": worked.output.size, "total": worked.output.size}
        save_arrays(known, arrays, recipe=recipe, force=choices.force)
        report.add_output(session.recipe_row(arrays, recipe, shape=worked.output.shape))


def _cell(worked: Walkthrough, choices: StepChoices) -> tuple[int, int]:
    """The output cell to draw: the given one; else of an image, whose corners show little, the largest, else the first."""
    from kernelviz.arithmetic.operations import Convolution

    if choices.cell is not None or worked.greys is None or not isinstance(worked.operation, Convolution):
        return choices.cell or (0, 0)
    largest = worked.largest(choices.channel)
    return largest[0] if largest else (0, 0)


def _pictures(worked: Walkthrough, choices: StepChoices, report: Report, look: Look) -> dict[str, Callable[[], Any]]:
    """The functions that draw the pictures, by view: a transposed convolution is drawn in both ways."""
    from kernelviz.arithmetic.operations import TransposedConvolution
    from kernelviz.explain.plots import WorkView, plot_convolution

    if choices.animate or choices.frames:
        return _animations(worked, choices, report, look)
    views: list[WorkView] = ["steps"] if choices.steps else ["step"]
    if isinstance(worked.operation, TransposedConvolution) and not choices.steps:
        views = ["stamps", "step"]
    at = _cell(worked, choices)
    plot = partial(plot_convolution, worked, at=at, channel=choices.channel, look=look.name, caption=look.caption)
    return {view: partial(plot, view=view) for view in views}


def _animations(worked: Walkthrough, choices: StepChoices, report: Report, look: Look) -> dict[str, Callable[[], Any]]:
    """The sliding window and, for a transposed convolution, the stamps, unless they cannot be shown."""
    from kernelviz.arithmetic.operations import TransposedConvolution
    from kernelviz.explain.animation import animate_convolution

    animate = partial(animate_convolution, worked, channel=choices.channel, fps=choices.fps,
                      look=look.name, caption=look.caption)  # fmt: skip
    found = {"animation": animate()}  # raises before anything is drawn
    if isinstance(worked.operation, TransposedConvolution):
        try:
            found["stamps-animation"] = animate(view="stamps")
        except UsageError as error:
            report.note(f"only the window is animated: {error.what}")
    return {view: partial(lambda animation: animation, animation) for view, animation in found.items()}


def _name(command: str, worked: Walkthrough, choices: StepChoices, view: str) -> tuple[str, ...]:
    """The parts of a file's name: the operation, its sizes, the step, and a hash of settings and numbers."""
    from kernelviz.explain.plots import numbers_hash

    operation = worked.operation
    size = "x".join(map(str, operation.input_size))
    kernel = "x".join(map(str, operation.kernel))
    row, column = _cell(worked, choices)
    position = () if view in WHOLE else (f"{row}-{column}",)
    channel = (f"channel{choices.channel}",) if operation.out_channels > 1 else ()
    return (command, size, kernel, numbers_hash(worked)[:8], view, *channel, *position)


def _csv_name(command: str, operation: Operation, worked: Walkthrough | None, choices: StepChoices) -> tuple[str, ...]:
    if worked is not None:
        return _name(command, worked, choices, "numbers" if choices.cell is None else "step")
    size, kernel = ("x".join(map(str, sides)) for sides in (operation.input_size, operation.kernel))
    return (command, size, kernel, "sizes")


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
    levels: Levels = None,
    resize: Resize = None,
    at: At = None,
    channel: Channel = 0,
    steps: Steps = False,
    animate: Animate = False,
    frames: Frames = False,
    fps: Fps = None,
    maps: Maps = False,
    relu: Relu = False,
    pool_after: PoolAfter = None,
    uses: Uses = False,
    matrix: Matrix = False,
    html: Html = False,
    look: options.LookChoice = options.LookName.PAGE,
    no_caption: options.NoCaption = False,
    file_format: Format = None,
    output: Directory = None,
    csv: Csv = None,
    arrays: options.Arrays = False,
    force: options.Force = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> int:
    """Explain a convolution: its output size, its steps, its cost; with -o, draw it.

    For example: kernelviz explain conv --input 6 --stride 2 --padding 1
    """
    from kernelviz.cli.explain_inputs import ExplainInputs, StepChoices, named_padding, sides

    choices = StepChoices(
        at, channel, steps, animate, frames, fps, file_format, output, arrays, force, look, no_caption, csv
    )
    inputs = ExplainInputs(input_, kernel, kernel_values, bias, seed, groups, in_channels, out_channels, levels, resize)

    def build() -> Operation:
        from kernelviz.arithmetic.operations import Convolution

        amounts: Any = named_padding(padding)
        return Convolution(
            inputs.size, inputs.sides, padding=amounts, stride=sides("stride", stride),
            dilation=sides("dilation", dilation), groups=groups, in_channels=inputs.inputs,
            out_channels=inputs.outputs, bias=bias is not None,
        )  # fmt: skip

    views = ConvViews(maps, relu, pool_after, uses, matrix)
    if html:
        return explain_html(inputs, choices, build, views, as_json=as_json, quiet=quiet, debug=debug)
    if views.requested:
        return explain_views("conv", inputs, choices, build, views, as_json=as_json, quiet=quiet, debug=debug)
    return explain("conv", inputs, choices, build, as_json=as_json, quiet=quiet, debug=debug)


def transpose(
    *,
    input_: Input = "2",
    kernel: Kernel = None,
    stride: Stamps = "1",
    padding: CutOff = "0",
    output_padding: OutputPadding = None,
    dilation: Dilation = "1",
    groups: Groups = 1,
    in_channels: InChannels = None,
    out_channels: OutChannels = None,
    kernel_values: KernelValues = None,
    bias: Bias = None,
    seed: NumberSeed = 0,
    levels: Levels = None,
    resize: Resize = None,
    at: At = None,
    channel: Channel = 0,
    steps: Steps = False,
    animate: Animate = False,
    frames: Frames = False,
    fps: Fps = None,
    maps: NoMaps = False,
    matrix: Matrix = False,
    look: options.LookChoice = options.LookName.PAGE,
    no_caption: options.NoCaption = False,
    file_format: Format = None,
    output: Directory = None,
    csv: Csv = None,
    arrays: options.Arrays = False,
    force: options.Force = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> int:
    """Explain a transposed convolution in two ways: as stamps, and as a convolution over the stretched input.

    For example: kernelviz explain transpose --input 3 --stride 2 --padding 1
    """
    from kernelviz.cli.explain_inputs import ExplainInputs, StepChoices, sides, transposed_padding

    choices = StepChoices(
        at, channel, steps, animate, frames, fps, file_format, output, arrays, force, look, no_caption, csv
    )
    inputs = ExplainInputs(input_, kernel, kernel_values, bias, seed, groups, in_channels, out_channels, levels, resize)

    def build() -> Operation:
        from kernelviz.arithmetic.operations import TransposedConvolution

        steps, apart = sides("stride", stride), sides("dilation", dilation)
        cut, more = transposed_padding(padding, output_padding, inputs.sides, steps, apart)
        return TransposedConvolution(
            inputs.size, inputs.sides, stride=steps, padding=cut, output_padding=more, dilation=apart,
            groups=groups, in_channels=inputs.inputs, out_channels=inputs.outputs, bias=bias is not None,
        )  # fmt: skip

    if maps or matrix:
        views = ConvViews(maps, False, None, False, matrix)  # noqa: FBT003
        return explain_views("transpose", inputs, choices, build, views, as_json=as_json, quiet=quiet, debug=debug)
    return explain("transpose", inputs, choices, build, as_json=as_json, quiet=quiet, debug=debug)


def pool(
    *,
    input_: Input = "4",
    kind: Kind = PoolKind.MAX,
    kernel: Window = None,
    stride: PoolStride = None,
    padding: PoolPadding = "0",
    dilation: Dilation = "1",
    ceil_mode: CeilMode = False,
    count_include_pad: CountPad = None,
    adaptive: Adaptive = None,
    in_channels: InChannels = None,
    seed: NumberSeed = 0,
    levels: Levels = None,
    resize: Resize = None,
    at: At = None,
    channel: Channel = 0,
    steps: Steps = False,
    animate: Animate = False,
    frames: Frames = False,
    fps: Fps = None,
    look: options.LookChoice = options.LookName.PAGE,
    no_caption: options.NoCaption = False,
    file_format: Format = None,
    output: Directory = None,
    csv: Csv = None,
    arrays: options.Arrays = False,
    force: options.Force = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> int:
    """Explain a max, average or adaptive pooling, or max and average beside each other: output size, windows, values.

    For example: kernelviz explain pool --input 4 --kernel 2 --kind both
    """
    from kernelviz.cli.explain_inputs import ExplainInputs, StepChoices, pool_padding, sides

    choices = StepChoices(
        at, channel, steps, animate, frames, fps, file_format, output, arrays, force, look, no_caption, csv
    )
    window = kernel if kernel or adaptive else "2"
    inputs = ExplainInputs(input_, window, None, None, seed, 1, in_channels, None, levels, resize)

    def build() -> Operation:
        from kernelviz.arithmetic.operations import Pooling

        if kind is PoolKind.MAX and count_include_pad is False:
            raise UsageError(
                "--no-count-include-pad is for averages.", "A maximum ignores padding.",
                "Add --kind average, or omit it.",
            )  # fmt: skip
        size = sides("kernel", window) if window else None
        steps, apart = sides("stride", stride) if stride else None, sides("dilation", dilation)
        around, is_left_out = pool_padding(padding, inputs.size, size, steps, apart)
        is_left_out = is_left_out and kind is not PoolKind.MAX
        return Pooling(
            inputs.size,
            size,
            kind="max" if kind is PoolKind.MAX else "average",
            stride=steps,
            padding=around,
            dilation=apart,
            ceil_mode=ceil_mode,
            count_include_pad=not is_left_out if count_include_pad is None else count_include_pad,
            adaptive=sides("adaptive size", adaptive) if adaptive else None,
            in_channels=inputs.inputs,
        )

    if kind is PoolKind.BOTH:
        return explain_pools(inputs, choices, build, as_json=as_json, quiet=quiet, debug=debug)
    return explain("pool", inputs, choices, build, as_json=as_json, quiet=quiet, debug=debug)

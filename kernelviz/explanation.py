"""A walkthrough as text for people and as JSON for programs."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

from kernelviz.arithmetic.operations import Pooling, TransposedConvolution
from kernelviz.arithmetic.windows import sides_text, size_text
from kernelviz.drawing.terms import FLIPPED, gap_text, left_over_text, macs_text, name_text, settings_text, step_text
from kernelviz.wording import counted, factor_text, value_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kernelviz.arithmetic.operations import Operation
    from kernelviz.arithmetic.windows import Formula
    from kernelviz.records import Array
    from kernelviz.walkthrough import Step, Walkthrough


MOST_CELLS = 20_000  # products, or values of a table, that are printed; at least one step is


def chosen_steps(worked: Walkthrough, channel: int, at: tuple[int, int] | None) -> list[Step]:
    """The one step that was asked for, or all of a channel as far as they can be printed."""
    if at is not None:
        return [worked.step(*at, channel)]
    first = worked.step(0, 0, channel)
    return list(islice(worked.steps(channel), max(1, MOST_CELLS // first.window.size)))


def size_lines(operation: Operation) -> list[str]:
    """What it is, how the size of its output follows, what is left over, and what it costs."""
    shape = (operation.in_channels, *operation.input_size)
    lines = [f"{name_text(operation)}: {size_text(shape if shape[0] > 1 else shape[1:])} input, {_middle(operation)}"]
    lines += ["", *_formula_lines(operation)]
    lines += [f"  {line}" for line in _implicit_lines(operation)]
    result = (operation.out_channels, *operation.output_size)
    lines += [f"output      {size_text(result if result[0] > 1 else result[1:])}"]
    left = [line for line in (left_over_text(operation), gap_text(operation)) if line]
    lines += [f"left over   {left[0] if left else 'nothing'}", *(f"            {line}" for line in left[1:])]
    return lines + _cost_lines(operation)


def _middle(operation: Operation) -> str:
    if isinstance(operation, Pooling):
        return settings_text(operation)
    outputs = f" for {operation.out_channels} output channels" if operation.out_channels > 1 else ""
    return f"{size_text(operation.kernel)} kernel{outputs}, {settings_text(operation)}"


def _formula_lines(operation: Operation) -> list[str]:
    rows, columns = operation.formulas
    lines = [f"size        {rows.letters}"]
    if rows == columns:
        return [*lines, f"            {rows.text}", *(f"            {line}" for line in rows.where)]
    if columns.letters != rows.letters:
        lines.append(f"            {columns.letters}")
    for name, formula in (("rows", rows), ("columns", columns)):
        where = f"   ({'; '.join(formula.where)})" if formula.where else ""
        lines.append(f"  {name:<10}{formula.text}{where}")
    return lines


def _implicit_lines(operation: Operation) -> list[str]:
    """How a transposed convolution is a convolution, too."""
    if not isinstance(operation, TransposedConvolution):
        return []
    top, _, left, _ = operation.implicit_padding
    lines = [
        (
            f"as a convolution: zeros between the values, s − 1 = {sides_text([s - 1 for s in operation.stride])}, and "
            f"around them, torch's implicit padding d·(k − 1) − p = {sides_text((top, left)).replace('-', '−')}"
        )
    ]
    if min(top, left) < 0:
        lines.append("a negative padding cuts rows and columns off instead")
    if any(operation.output_padding):
        more = sides_text(operation.output_padding)
        lines.append(
            f"output padding: {more} more behind, computed like the rest; a convolution with stride "
            f"{sides_text(operation.stride)} makes inputs of several sizes equal, and this says which one comes back"
        )
    return lines


def _cost_lines(operation: Operation) -> list[str]:
    if isinstance(operation, Pooling):
        return ["parameters  none: nothing is learned"]
    per = f"{operation.in_channels // operation.groups} × {size_text(operation.kernel)}"
    made = f"{operation.out_channels} × {per} = {counted(operation.weights, 'weight')}"
    biases = counted(operation.out_channels, "bias").replace("biass", "biases")
    bias = f" and {biases}: {operation.parameters:,}" if operation.bias else ", no bias"
    return [
        f"parameters  {made}{bias}; a dense layer for these sizes takes {operation.dense_parameters:,}",
        f"work        {macs_text(operation)}",
    ]


def number_lines(worked: Walkthrough, steps: Sequence[Step], channel: int) -> list[str]:
    """The numbers: input, kernel, every step, and the output."""
    operation = worked.operation
    lines = ["", "input", *_planes(worked.input)]
    if worked.kernel is not None:
        lines += ["", _kernel_heading(operation), *_planes(worked.kernel.reshape(-1, *worked.kernel.shape[2:]))]
        if not isinstance(operation, TransposedConvolution):
            lines += [f"  {FLIPPED}"]
    if worked.bias is not None:
        lines += ["", f"bias  {'  '.join(value_text(value) for value in worked.bias)}"]
    total = operation.output_size[0] * operation.output_size[1]
    if isinstance(operation, TransposedConvolution):
        lines += ["", *_stamp_lines(worked, channel), *_stretched_lines(worked, channel)]
    heading = "steps" if len(steps) == total else f"step{'s' if len(steps) > 1 else ''} ({len(steps)} of {total})"
    of = f" of output channel {channel}" if operation.out_channels > 1 else ""
    lines += ["", f"{heading}{of}"]
    lines += [f"  row {step.at[0]}, column {step.at[1]}: {step_text(operation, step)}" for step in steps]
    return [*lines, "", "output", *_planes(worked.output)]


def _kernel_heading(operation: Operation) -> str:
    if isinstance(operation, TransposedConvolution):
        return "kernel, which every input value stamps onto the output"
    return "kernel"


def _stamp_lines(worked: Walkthrough, channel: int) -> list[str]:
    """What each input value stamps, and where."""
    operation = worked.operation
    if not isinstance(operation, TransposedConvolution):
        return []
    lines, shown = ["stamps (what overlaps adds up)"], 0
    one = operation.in_channels // operation.groups == 1
    for row in range(operation.input_size[0]):
        for column in range(operation.input_size[1]):
            if shown * operation.kernel[0] * operation.kernel[1] > MOST_CELLS // 4:
                return [*lines, f"  … and {operation.input_size[0] * operation.input_size[1] - shown:,} more"]
            y, x = (
                at * stride - padding
                for at, stride, padding in zip((row, column), operation.stride, operation.padding, strict=True)
            )
            first = (
                channel // (operation.out_channels // operation.groups) * (operation.in_channels // operation.groups)
            )
            what = (
                f"{factor_text(worked.input[first, row, column])} × kernel" if one else "all channels × their kernels"
            )
            where = f"from row {y}, column {x} of the output on".replace("-", "−")
            lines.append(f"  row {row}, column {column}: {what}, {where}")
            shown += 1
    return lines


def _stretched_lines(worked: Walkthrough, channel: int) -> list[str]:
    """The same as a convolution: what the turned kernel slides over."""
    kernel = worked.canvas.kernel
    if kernel is None:
        return []
    lines = [
        "",
        "the same as a convolution with stride 1 over the stretched and padded input",
        *_planes(worked.canvas.values),
    ]
    return [*lines, "", "with the kernel turned by 180°", *_planes(kernel[channel])]


def _planes(values: Array) -> list[str]:
    """Tables below each other, numbered where there are several; right-aligned."""
    if values.size > MOST_CELLS:
        return [f"  {size_text(values.shape)} numbers, from {value_text(values.min())} to {value_text(values.max())}"]
    texts = [[[value_text(value) for value in row] for row in plane] for plane in values]
    width = max(len(text) for plane in texts for row in plane for text in row)
    lines: list[str] = []
    for number, plane in enumerate(texts):
        if len(texts) > 1:
            lines.append(f"  [{number}]")
        lines += ["  " + " ".join(text.rjust(width) for text in row) for row in plane]
    return lines


def explanation_entry(operation: Operation, worked: Walkthrough | None, steps: Sequence[Step]) -> dict[str, Any]:
    """The fields of the JSON document."""
    rows, columns = operation.formulas
    weighted = not isinstance(operation, Pooling)
    return {
        "operation": name_text(operation),
        "settings": settings_text(operation),
        "input_size": list(operation.input_size),
        "kernel": list(operation.kernel),
        "in_channels": operation.in_channels,
        "out_channels": operation.out_channels,
        "output_size": list(operation.output_size),
        "formula": rows.text if rows == columns else f"rows: {rows.text}; columns: {columns.text}",
        "formulas": [_formula_entry(formula) for formula in operation.formulas],
        "parameters": operation.parameters,
        "dense_parameters": operation.dense_parameters if weighted else None,
        "macs": operation.macs,
        "unread": list(operation.unread),
        "input": None if worked is None else worked.input.tolist(),
        "kernel_values": None if worked is None or worked.kernel is None else worked.kernel.tolist(),
        "bias": None if worked is None or worked.bias is None else worked.bias.tolist(),
        "output": None if worked is None else worked.output.tolist(),
        "steps_total": operation.output_size[0] * operation.output_size[1],
        "steps": [_step_entry(operation, step) for step in steps],
    }


def _formula_entry(formula: Formula) -> dict[str, Any]:
    return {
        "letters": formula.letters,
        "numbers": formula.numbers,
        "result": formula.result,
        "where": list(formula.where),
    }


def _step_entry(operation: Operation, step: Step) -> dict[str, Any]:
    return {
        "at": list(step.at),
        "channel": step.channel,
        "channels": list(step.channels),
        "window": step.window.tolist(),
        "padding": step.padding.tolist(),
        "products": None if step.products is None else step.products.tolist(),
        "bias": step.bias,
        "sum": step.value,
        "text": step_text(operation, step),
    }

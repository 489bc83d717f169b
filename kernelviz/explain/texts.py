"""A walkthrough as text for people, and as JSON; pictures use the same texts."""

from __future__ import annotations

import math
from itertools import islice, product
from typing import TYPE_CHECKING, Any

from kernelviz.arithmetic.operations import Convolution, Pooling, TransposedConvolution
from kernelviz.arithmetic.windows import sides_text, size_text
from kernelviz.records import TypedNumber, listed
from kernelviz.wording import MOST_DIGITS, counted, factor_text, inflected, is_written_exactly, value_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kernelviz.arithmetic.operations import Operation
    from kernelviz.arithmetic.steps import Step
    from kernelviz.arithmetic.windows import Formula
    from kernelviz.explain.walkthrough import Walkthrough
    from kernelviz.records import Array
    from kernelviz.traces import LayerOperation, TracedLayer


MOST_TERMS = 2000  # of one sum; longer sums are shortened in the middle
FLIPPED = "the kernel is not flipped: what torch calls convolution is cross-correlation in mathematics"


def number_texts(values: Array, typed: Array | None = None) -> Array:
    """How numbers are written, floats or ``Decimal``: as typed, else by ``value_text``; an array of that shape."""
    import numpy as np

    found = [value_text(value) for value in values.flat]
    if typed is not None:
        found = [text or ours for text, ours in zip(typed.flat, found, strict=True)]
    return np.array([*found, None], object)[:-1].reshape(values.shape)


def window_texts(step: Step) -> Array:
    """The numbers under the window (C, h, w) as text."""
    return number_texts(step.window, step.window_texts)


def weight_texts(step: Step) -> Array:
    """The weights of a step (C, h, w) as text."""
    return number_texts(step.window if step.weights is None else step.weights, step.weight_texts)


def bias_number(step: Step) -> str:
    """The bias as text; empty if there is none."""
    return "" if step.bias is None else step.bias_text or value_text(step.bias)


def product_text(value: str, weight: str) -> str:
    """``7×(−1)``: two numbers as factors."""
    return f"{factor_text(value)}×{factor_text(weight)}"


def plane_terms(step: Step, plane: int, *, real_only: bool = False) -> list[str]:
    """The terms of one input channel in the order of the kernel's cells.

    ``real_only`` leaves out those of padding and of the zeros from stretching.
    """
    window = number_texts(step.window[plane], None if step.window_texts is None else step.window_texts[plane])
    cells = [*product(*map(range, window.shape))]
    if real_only:
        cells = [cell for cell in cells if not (step.padding[cell] or step.stretched[cell])]
    if step.weights is None:
        return [window[cell] for cell in cells]
    weights = number_texts(step.weights[plane], None if step.weight_texts is None else step.weight_texts[plane])
    return [product_text(window[cell], weights[cell]) for cell in cells]


def added_text(terms: Sequence[str]) -> str:
    """``2 − 6.25 + 0``: terms added up, each minus as an operator; powers of ten in brackets."""
    first, *rest = ((term.startswith("−"), _part_text(term.removeprefix("−"))) for term in terms)
    start = f"−{first[1]}" if first[0] else first[1]
    return start.replace("−(", "(−") + "".join(f" {'−' if minus else '+'} {term}" for minus, term in rest)


def _part_text(term: str) -> str:
    """A term without its sign: a power of ten is in brackets."""
    return factor_text(term) if "×" in term else term


def equals_sign(*printed: Array | None) -> str:
    """The sign before a result: ``=``, or ``≈`` if one of the numbers of the line, result included, is rounded."""
    return "≈" if is_rounded(*printed) else "="


def sum_numbers(step: Step, *, real_only: bool = False) -> list[Array | None]:
    """The numbers that the sum of a step prints: factors, bias and result; ``real_only`` as in ``plane_terms``."""
    window, weights = step.window, step.weights
    if real_only:
        real = ~(step.padding | step.stretched)
        window, weights = window[:, real], None if weights is None else weights[:, real]
    return [window, weights, *bias_and_result(step)]


def bias_and_result(step: Step) -> list[Array | None]:
    """The bias of a step, if it has one, and its result."""
    import numpy as np

    return [None if step.bias is None else np.array([step.bias]), np.array([step.exact], object)]


def worked_text(step: Step) -> str:
    """``2 − 6.25 + 0 − 2 = −6.25``: the products and the bias added up; ``≈`` if rounded; empty for a pool."""
    products = step.exact_products
    if products is None:
        return ""
    terms = [*number_texts(products).flat, *([bias_number(step)] if step.bias is not None else [])]
    return f"{added_text(terms)} {equals_sign(products, *bias_and_result(step))} {value_text(step.exact)}"


def step_text(operation: Operation, step: Step) -> str:
    """``1×1 + 2×2 + … = 411``: how an output cell is computed, with every term; ``≈`` if a number is rounded."""
    return " ".join(step_parts(operation, step))


def step_parts(operation: Operation, step: Step, most: int | None = None) -> tuple[str, str, str]:
    """The terms of an output cell, ``=`` or ``≈``, and the result.

    For a transposed convolution only the stamps on that cell; several input channels are in brackets each. Of a pool
    about ``most`` terms are written.
    """
    value = value_text(step.exact)
    if isinstance(operation, Pooling):
        maximum = operation.kind == "max"
        real_only = maximum or not operation.count_include_pad
        terms, equals = plane_terms(step, 0, real_only=real_only), equals_sign(*sum_numbers(step, real_only=real_only))
        if maximum:
            return f"max({', '.join(shortened(terms, most or MOST_TERMS))})", equals, value
        return f"({' + '.join(map(bracketed, shortened(terms, most or MOST_TERMS)))}) / {step.counted}", equals, value
    real_only = isinstance(operation, TransposedConvolution)
    planes = [plane_terms(step, plane, real_only=real_only) for plane in range(len(step.window))]
    sums = [" + ".join(shortened(terms)) for terms in planes if terms]
    if len(sums) > 1:
        sums = [f"({each})" for each in shortened(sums)]
    bias = [] if step.bias is None else [factor_text(bias_number(step))]
    return " + ".join(sums + bias) or "no stamp", equals_sign(*sum_numbers(step, real_only=real_only)), value


def bracketed(term: str) -> str:
    """A term of a sum: a negative one in brackets."""
    return f"({term})" if term.startswith("−") else term


def shortened(terms: list[str], most: int = MOST_TERMS) -> list[str]:
    """The first and last terms of very many."""
    return terms if len(terms) <= most else [*terms[: most // 2 + 1], "…", *terms[-(most // 2) :]]


def name_text(operation: Operation) -> str:
    """What it is."""
    if isinstance(operation, Pooling):
        kind = operation.kind
        return f"Adaptive {kind} pooling" if operation.adaptive else f"{kind.capitalize()} pooling"
    return "Transposed convolution" if isinstance(operation, TransposedConvolution) else "Convolution"


def settings_text(operation: Operation) -> str:
    """Stride, padding and other settings that differ from the defaults."""
    if isinstance(operation, Pooling):
        return _pool_settings(operation)
    parts = [f"stride {sides_text(operation.stride)}", padding_text(operation)]
    if operation.dilation != (1, 1):
        parts.append(f"dilation {sides_text(operation.dilation)}")
    if isinstance(operation, TransposedConvolution) and any(operation.output_padding):
        parts.append(f"output padding {sides_text(operation.output_padding)}")
    if operation.groups > 1:
        parts.append(f"{operation.groups} groups")
    return ", ".join(parts)


def padding_text(operation: Operation) -> str:
    """``no padding``, ``padding 1``, ``padding same (1)``; four numbers if the sides differ."""
    if not any(operation.padding):
        return "padding same (0)" if getattr(operation, "padding_name", "") == "same" else "no padding"
    text = sides_text(operation.padding)
    if isinstance(operation, Convolution):
        top, bottom, left, right = operation.padding
        if (top, left) == (bottom, right):
            text = sides_text((top, left))
        else:
            text = f"{top} above, {bottom} below, {left} left, {right} right"
        if operation.padding_name == "same":
            text = f"same ({text})"
    return f"padding {text}"


def uneven_text(operation: Operation) -> str:
    """Why same padding has not as many zeros before the input as after it; empty if it has."""
    if not isinstance(operation, Convolution) or operation.padding_name != "same":
        return ""
    top, bottom, left, right = operation.padding
    uneven = [(before, after) for before, after in ((top, bottom), (left, right)) if before != after]
    return (
        f"an even kernel has no middle: {counted(uneven[0][0], 'zero')} before, {uneven[0][1]} after" if uneven else ""
    )


def _pool_settings(operation: Pooling) -> str:
    if operation.adaptive:
        return f"to {size_text(operation.adaptive)}{' (global)' if operation.adaptive == (1, 1) else ''}"
    parts = [size_text(operation.kernel), f"stride {sides_text(operation.stride)}"]
    if any(operation.padding):
        parts.append(padding_text(operation))
    if operation.dilation != (1, 1):
        parts.append(f"dilation {sides_text(operation.dilation)}")
    if operation.ceil_mode:
        parts.append("ceil mode")
    if operation.kind == "average" and any(operation.padding):
        parts.append("padding counts" if operation.count_include_pad else "padding does not count")
    return ", ".join(parts)


def weights_text(operation: Operation, *, dense: bool = True) -> str:
    """``9 weights, no bias``, and with ``dense`` what a fully connected layer takes."""
    if isinstance(operation, Pooling):
        return "no weights"
    weights = counted(operation.weights, "weight")
    text = f"{weights} and {_biases(operation)}" if operation.bias else f"{weights}, no bias"
    return f"{text} (a fully connected, dense layer: {operation.dense_parameters:,})" if dense else text


def macs_text(operation: Operation) -> str:
    """``81 multiply–adds``."""
    return f"{operation.macs:,} multiply–adds"


SCALE = "one colour scale for the whole page, logarithmic: the same number has the same colour everywhere"
SCALE_BESIDE = "the other numbers have one colour scale, logarithmic"  # beside an input that is drawn as an image
ROUNDED = "numbers longer than six digits are rounded for display to 3 digits"
SHORTENED = "numbers too long for their cells are rounded for display further"
POWER = "e6 means ×10⁶"
LEFT_OUT = "… if nothing fits"
LARGEST_FLOAT = "1.8×10³⁰⁸"
AS_IS = "numbers as typed", "numbers as given"
OWN = {"input": "--input", "kernel": "--kernel-values"}  # the options that give these numbers


SIGNS = {
    "∗": "∗ : lay the kernel on the window, multiply cell by cell, add up",
    "× Σ": "× : multiply window and kernel cell by cell; Σ : add up the products",
    "": "each result: lay the kernel on the window, multiply cell by cell, add up",
}


def star_text(operation: Operation, sign: str) -> str:
    """What the sign between input and kernel means; if there is none, how each result is computed."""
    text = SIGNS[sign]
    if isinstance(operation, TransposedConvolution):
        return f"{text}; here the kernel is flipped (rotated by 180°)"
    return f"{text}; the kernel is not flipped, as in torch"


def made_up_text(worked: Walkthrough) -> str:
    """Which numbers come from a seed, and how to give others; empty if all were given."""
    if not worked.made_up:
        return ""
    names, own = " and ".join(worked.made_up), " and ".join(OWN[name] for name in worked.made_up)
    return f"example numbers for {names} (--seed {worked.seed}); give your own with {own}"


def origin_text(worked: Walkthrough) -> str:
    """Where the numbers come from: made up, typed or neither; as typed only if each of them is written so."""
    as_typed = worked.typed and all(text for texts in worked.typed.values() for text in texts.flat)
    return made_up_text(worked) or AS_IS[0 if as_typed else 1]


def greys_text(worked: Walkthrough) -> str:
    """What black and white are, if the input is drawn as an image; empty if it is not."""
    import numpy as np

    if worked.greys is None:
        return ""
    low, high = (value_text(value) for value in worked.greys)
    kind = "in black and white" if len(np.unique(worked.input)) <= 2 else "in grey"
    return f"the input is drawn {kind}: {low} is black, {high} is white"


def largest_text(worked: Walkthrough, channel: int, mark: str = "") -> str:
    """Where the response is largest, and how that cell is marked; empty if there is none, or it is no convolution."""
    found = worked.largest(channel) if isinstance(worked.operation, Convolution) else None
    if found is None:
        return ""
    (row, column), more = found
    value = value_text(worked.results(channel)[row, column])
    others = f" and at {more:,} more {inflected(more, 'place')}" if more else ""
    return f"the response is largest, {value}, at row {row}, column {column}{mark}{others}"


def is_rounded(*values: Array | None) -> bool:
    """Whether any of these numbers, floats or ``Decimal``, is written rounded."""
    import numpy as np

    for each in values:
        if each is None:
            continue
        if each.dtype == object:
            found = each.ravel()
        else:
            short = (each == np.rint(each)) & (np.abs(each) < 10.0**MOST_DIGITS)
            found = np.unique(each[~short])
        if not all(map(is_written_exactly, found)):
            return True
    return False


def display_text(worked: Walkthrough, *values: Array | None, marked: bool) -> str:
    """Where the numbers come from, and whether these are rounded for display, ``marked`` by ``≈``, or overflow."""
    origin = origin_text(worked)
    beyond = {name for name, _, _ in _broken(worked)} == {"output"}  # numbers that are finite make one that is not
    if not is_rounded(*values):
        return f"{origin}; results exact{f' up to {LARGEST_FLOAT}, ∞ beyond' if beyond else ''}"
    text = f"{ROUNDED} (≈)" if marked else ROUNDED
    note = (
        f"{text}, the others are exact, or as {origin.rpartition(' ')[2]}" if origin in AS_IS else f"{origin}; {text}"
    )
    return f"{note}; results beyond {LARGEST_FLOAT} are ∞" if beyond else note


def broken_count(worked: Walkthrough) -> int:
    """The number of values of input, kernel, bias and output that are not finite."""
    return sum(number for _, number, _ in _broken(worked))


def broken_notes(worked: Walkthrough) -> list[str]:
    """``2 of 9 values of the output are not finite``; of input, kernel and bias too."""
    return [f"{number:,} of {size:,} values of the {name} are not finite" for name, number, size in _broken(worked)]


def _broken(worked: Walkthrough) -> list[tuple[str, int, int]]:
    import numpy as np

    named = {"input": worked.input, "kernel": worked.kernel, "bias": worked.bias, "output": worked.output}
    sizes = [(name, values.size, values) for name, values in named.items() if values is not None]
    found = [(name, size - int(np.isfinite(values).sum()), size) for name, size, values in sizes]
    return [each for each in found if each[1]]


def short_formula(formula: Formula, result: str) -> str:
    """``5 + 2·1 − 3 + 1 = 5``: the formula of a size without what has no effect."""
    numerator = formula.numerator.replace(" + 2·0", "")
    if formula.denominator == "1":
        return f"{numerator}{formula.tail} = {result}"
    return f"⌊({numerator}) / {formula.denominator}⌋{formula.tail} = {result}"


def left_over_text(operation: Operation) -> str:
    """The rows and columns that the last stride leaves over at the end of the input, and why; empty if there are none."""
    if isinstance(operation, TransposedConvolution) or not any(operation.left_over):
        return ""
    formulas = [formula for formula, number in zip(operation.formulas, operation.left_over, strict=True) if number]
    why = [f"{f.numerator} = {_steps(f.numerator)} is no multiple of the stride {f.denominator}" for f in formulas]
    return f"{rows_text(operation.left_over)} at the end, in no window: {', '.join(dict.fromkeys(why))}"


def gap_text(operation: Operation) -> str:
    """Other cells that are never read, between the windows or their taps, or reach no output; empty if there are none."""
    if isinstance(operation, TransposedConvolution):
        if not any(operation.unread):
            return ""
        rows, columns = (size - lost for size, lost in zip(operation.input_size, operation.unread, strict=True))
        total = operation.input_size[0] * operation.input_size[1]
        lost = (
            f"{rows_text(operation.unread)} of the input reach no output cell ({total - rows * columns:,} of {total:,}"
        )
        return f"{lost} values): the padding cuts off their stamps"
    between = [every - end for every, end in zip(operation.unread, operation.left_over, strict=True)]
    if not any(between):
        return ""
    if all(dilation == 1 for dilation, number in zip(operation.dilation, between, strict=True) if number):
        return f"{rows_text(between)} between the windows are never read: the stride is larger than the kernel"
    skipped = f"stride {sides_text(operation.stride)} and dilation {sides_text(operation.dilation)} skip them"
    return f"{rows_text(between)} between the cells of the windows are never read: {skipped}"


def rows_text(numbers: Sequence[int]) -> str:
    """``1 row and 2 columns``; zero counts are left out."""
    return " and ".join(counted(n, noun) for n, noun in zip(numbers, ("row", "column"), strict=True) if n)


def _steps(numerator: str) -> int:
    """The value of ``6 + 2·1 − 3``."""
    total = 0
    for part in numerator.replace("− ", "+ -").split(" + "):
        factors = part.replace("−", "-").split("·")
        total += math.prod(map(int, factors))
    return total


MOST_CELLS = 20_000  # products, or values of a table, that are printed; at least one step is


def chosen_steps(worked: Walkthrough, channel: int, at: tuple[int, int] | None) -> list[Step]:
    """The requested step, or the steps of a channel that can be printed."""
    if at is not None:
        return [worked.step(*at, channel)]
    first = worked.step(0, 0, channel)
    return list(islice(worked.steps(channel), max(1, MOST_CELLS // first.window.size)))


def size_lines(operation: Operation) -> list[str]:
    """The operation, how its output size is computed, what is left over, and its cost."""
    shape = (operation.in_channels, *operation.input_size)
    lines = [f"{name_text(operation)}: {size_text(shape if shape[0] > 1 else shape[1:])} input, {_middle(operation)}"]
    lines += ["", *_formula_lines(operation)]
    lines += [f"  {line}" for line in _implicit_lines(operation)]
    result = (operation.out_channels, *operation.output_size)
    lines += [f"output      {size_text(result if result[0] > 1 else result[1:])}"]
    if uneven := uneven_text(operation):
        lines.append(f"padding     {uneven}")
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
    letters = f"            {', '.join(' '.join(each) for each in letter_values(operation.formulas))}"
    if signs := rounding_text(operation.formulas):
        letters += f"; {signs}"
    if rows == columns:
        return [*lines, f"            {rows.text}", *(f"            {line}" for line in rows.where), letters]
    if columns.letters != rows.letters:
        lines.append(f"            {columns.letters}")
    for name, formula in (("rows", rows), ("columns", columns)):
        where = f"   ({'; '.join(formula.where)})" if formula.where else ""
        lines.append(f"  {name:<10}{formula.text}{where}")
    return [*lines, letters]


def letter_values(formulas: tuple[Formula, Formula]) -> list[tuple[str, str, str]]:
    """The letters of the formulas of rows and columns with their names and values; ``3 × 5`` if the two differ."""
    rows, columns = ({letter: (name, value) for letter, name, value in each.values} for each in formulas)
    found = []
    for letter in {**rows, **columns}:
        name = rows.get(letter, columns.get(letter, ("", 0)))[0]
        if letter in rows and letter in columns:
            found.append((letter, name, sides_text([rows[letter][1], columns[letter][1]])))
        else:
            axis, value = ("rows", rows[letter]) if letter in rows else ("columns", columns[letter])
            found.append((letter, f"{name} of {axis}", str(value[1])))
    return found


def rounding_text(formulas: tuple[Formula, Formula]) -> str:
    """``⌊ ⌋ round down``: what the brackets in the formulas mean; empty if there are none."""
    letters = "".join(formula.letters for formula in formulas)
    meant = {"⌊": "⌊ ⌋ round down", "⌈": "⌈ ⌉ round up"}
    return ", ".join(text for bracket, text in meant.items() if bracket in letters)


def _implicit_lines(operation: Operation) -> list[str]:
    """How a transposed convolution is written as a convolution."""
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
            f"output padding: {more} more at the end, computed like the rest; a convolution with stride "
            f"{sides_text(operation.stride)} has the same output size for several input sizes, and this selects one of them"
        )
    return lines


def _biases(operation: Operation) -> str:
    return counted(operation.out_channels, "bias", "biases")


def _cost_lines(operation: Operation) -> list[str]:
    if isinstance(operation, Pooling):
        return ["parameters  none: nothing is learned"]
    per = f"{operation.in_channels // operation.groups} × {size_text(operation.kernel)}"
    made = f"{operation.out_channels} × {per} = {counted(operation.weights, 'weight')}"
    bias = f" and {_biases(operation)}: {operation.parameters:,}" if operation.bias else ", no bias"
    return [
        f"parameters  {made}{bias}; a fully connected (dense) layer for these sizes takes {operation.dense_parameters:,}",
        f"work        {macs_text(operation)}",
    ]


def number_lines(worked: Walkthrough, steps: Sequence[Step], channel: int) -> list[str]:
    """The numbers and where they come from: input, kernel, every step, and the output."""
    operation = worked.operation
    results = [worked.results(each) for each in range(len(worked.output))] if worked.output.size <= MOST_CELLS else []
    known = [worked.input, worked.kernel, worked.bias]
    shown = [None if values is None or values.size > MOST_CELLS else values for values in known]
    sums = [step_text(operation, step) for step in steps]
    note = display_text(worked, *shown, *results, marked=any("≈" in text for text in sums))
    lines = [f"numbers     {note.removeprefix('numbers ')}"]
    lines += ["", "input", *_planes(worked.input, worked.typed.get("input"))]
    if worked.kernel is not None:
        typed = worked.typed.get("kernel")
        planes = (-1, *operation.kernel)
        texts = None if typed is None else typed.reshape(planes)
        lines += ["", _kernel_heading(operation), *_planes(worked.kernel.reshape(planes), texts)]
        if not isinstance(operation, TransposedConvolution):
            lines += [f"  {FLIPPED}"]
    if worked.bias is not None:
        lines += ["", f"bias  {'  '.join(number_texts(worked.bias, worked.typed.get('bias')))}"]
    if isinstance(operation, TransposedConvolution):
        lines += ["", *_stamp_lines(worked, channel), *_stretched_lines(worked, channel)]
    return [*lines, *result_lines(worked, steps, channel, sums)]


def result_lines(worked: Walkthrough, steps: Sequence[Step], channel: int, sums: Sequence[str]) -> list[str]:
    """The steps with their ``sums`` as text, and the output."""
    import numpy as np

    operation, lines = worked.operation, list[str]()
    results = [worked.results(each) for each in range(len(worked.output))] if worked.output.size <= MOST_CELLS else []
    total = operation.output_size[0] * operation.output_size[1]
    heading = "steps" if len(steps) == total else f"{inflected(len(steps), 'step')} ({len(steps)} of {total})"
    of = f" of output channel {channel}" if operation.out_channels > 1 else ""
    lines += ["", f"{heading}{of}, rows and columns counted from 0"]
    lines += [f"  row {step.at[0]}, column {step.at[1]}: {text}" for step, text in zip(steps, sums, strict=True)]
    lines += ["", "output", *_planes(np.stack(results) if results else worked.output)]
    most = largest_text(worked, channel)
    return [*lines, f"  {most}"] if most else lines


def _kernel_heading(operation: Operation) -> str:
    if isinstance(operation, TransposedConvolution):
        return "kernel, which every input value stamps onto the output"
    return "kernel"


def _stamp_lines(worked: Walkthrough, channel: int) -> list[str]:
    """The stamp of each input value, and its position."""
    operation = worked.operation
    if not isinstance(operation, TransposedConvolution):
        return []
    lines = ["stamps (overlaps add up)"]
    one = operation.in_channels // operation.groups == 1
    first = channel // (operation.out_channels // operation.groups) * (operation.in_channels // operation.groups)
    typed = worked.typed.get("input")
    for shown, (row, column) in enumerate(product(*map(range, operation.input_size))):
        if shown * operation.kernel[0] * operation.kernel[1] > MOST_CELLS // 4:
            return [*lines, f"  … and {operation.input_size[0] * operation.input_size[1] - shown:,} more"]
        y, x = (
            at * stride - padding
            for at, stride, padding in zip((row, column), operation.stride, operation.padding, strict=True)
        )
        value = ("" if typed is None else typed[first, row, column]) or value_text(worked.input[first, row, column])
        what = f"{factor_text(value)} × kernel" if one else "all channels × their kernels"
        where = f"from row {y}, column {x} of the output on".replace("-", "−")
        lines.append(f"  row {row}, column {column}: {what}, {where}")
    return lines


def _stretched_lines(worked: Walkthrough, channel: int) -> list[str]:
    """The same as a convolution: what the turned kernel slides over."""
    canvas = worked.canvas
    if canvas.kernel is None:
        return []
    lines = [
        "",
        "the same as a convolution with stride 1 over the stretched and padded input",
        *_planes(canvas.values, canvas.texts),
    ]
    texts = None if canvas.kernel_texts is None else canvas.kernel_texts[channel]
    return [*lines, "", "with the kernel flipped (rotated by 180°)", *_planes(canvas.kernel[channel], texts)]


def _planes(values: Array, typed: Array | None = None) -> list[str]:
    """Tables below each other, numbered if there are several; right-aligned."""
    if values.size > MOST_CELLS:
        return [f"  {size_text(values.shape)} numbers, from {value_text(values.min())} to {value_text(values.max())}"]
    texts = number_texts(values, typed)
    width = max(map(len, texts.flat))
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
    typed = {} if worked is None else worked.typed
    return {
        "operation": name_text(operation),
        "settings": settings_text(operation),
        "input_size": list(operation.input_size),
        "kernel": list(operation.kernel),
        "in_channels": operation.in_channels,
        "out_channels": operation.out_channels,
        "output_size": list(operation.output_size),
        "formula": rows.text if rows == columns else f"rows: {rows.text}; columns: {columns.text}",
        "formulas": [_formula_entry("rows", rows), _formula_entry("columns", columns)],
        "parameters": operation.parameters,
        "dense_parameters": operation.dense_parameters if weighted else None,
        "macs": operation.macs,
        "unread": list(operation.unread),
        "input": None if worked is None else listed(worked.input, typed.get("input")),
        "kernel_values": None
        if worked is None or worked.kernel is None
        else listed(worked.kernel, typed.get("kernel")),
        "bias": None if worked is None or worked.bias is None else listed(worked.bias, typed.get("bias")),
        "output": None if worked is None else listed(worked.output),
        "made_up": None if worked is None else list(worked.made_up),
        "seed": None if worked is None or not worked.made_up else worked.seed,
        "largest": None if worked is None else [_largest_entry(worked, each) for each in range(len(worked.output))],
        "steps_total": operation.output_size[0] * operation.output_size[1],
        "steps": [_step_entry(operation, step) for step in steps],
    }


def _largest_entry(worked: Walkthrough, channel: int) -> dict[str, Any] | None:
    """The cell of an output channel in which the response of a convolution is largest."""
    found = worked.largest(channel) if isinstance(worked.operation, Convolution) else None
    if found is None:
        return None
    at, more = found
    return {"at": list(at), "value": float(worked.output[channel][at]) + 0.0, "more": more}


def _formula_entry(axis: str, formula: Formula) -> dict[str, Any]:
    return {
        "axis": axis,
        "letters": formula.letters,
        "numbers": formula.numbers,
        "result": formula.result,
        "where": list(formula.where),
        "values": {letter: value for letter, _, value in formula.values},
    }


def _step_entry(operation: Operation, step: Step) -> dict[str, Any]:
    return {
        "at": list(step.at),
        "channel": step.channel,
        "channels": list(step.channels),
        "window": listed(step.window, step.window_texts),
        "padding": step.padding.tolist(),
        "products": None if step.products is None else listed(step.products),
        "bias": None if step.bias is None else TypedNumber(step.bias, step.bias_text) if step.bias_text else step.bias,
        "sum": step.value + 0.0,
        "text": step_text(operation, step),
    }


def layer_lines(found: LayerOperation) -> list[str]:
    """The layer, how its output size is computed, and what its units read of the image."""
    layer = found.layer
    model = f"{found.source.model}, " if found.source else ""
    lines = [f"{layer.name}: {layer.kind} of {model}{_input_word(found)} {' × '.join(map(str, found.input_size))}", ""]
    lines += size_lines(found.operation)
    lines.append(f"field       {field_text(layer)}")
    return lines + [f"note        {note}" for note in found.notes]


def _input_word(found: LayerOperation) -> str:
    return "signal" if len(found.input_size) == 2 else "image"


def field_text(layer: TracedLayer) -> str:
    """What one unit reads of the image."""
    if layer.field is None:
        return f"not known: {layer.lost}" if layer.lost else "not known"
    if any(axis.size is None for axis in layer.field.axes):
        return f"not known: {layer.lost}"
    size = " × ".join(str(axis.size) for axis in layer.field.axes)
    jumps = [axis.jump for axis in layer.field.axes]
    unit = "samples of the signal" if len(jumps) == 1 else "pixels of the image"
    text = f"the receptive field of a unit is {size} {unit}"
    if None not in jumps:
        apart = " × ".join(map(str, jumps)) if len(set(jumps)) > 1 else str(jumps[0])
        text += f"; those of neighbouring units are {apart} apart"
    whole = "signal" if len(jumps) == 1 else "image"
    return f"{text}, and the whole {whole} is mixed in" if layer.field.mixes_image else text


def layer_operation_entry(found: LayerOperation) -> dict[str, Any]:
    """The fields of the JSON document: those of ``explain``, and the layer's row of ``layers``."""
    from kernelviz.traces import layer_entry

    return {
        "layer": layer_entry(found.layer),
        "image_size": list(found.input_size),
        "notes": list(found.notes),
        **explanation_entry(found.operation, None, []),
    }

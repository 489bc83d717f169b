"""The steps of a walkthrough, its sizes and its settings in words and signs; texts and pictures say the same."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from kernelviz.arithmetic.operations import Convolution, Pooling, TransposedConvolution
from kernelviz.arithmetic.windows import sides_text, size_text
from kernelviz.wording import counted, factor_text, value_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kernelviz.arithmetic.operations import Operation
    from kernelviz.walkthrough import Step, Walkthrough


MOST_TERMS = 2000  # of one sum; what is longer is shortened in its middle
FLIPPED = "the kernel is not flipped: what torch calls convolution is cross-correlation in mathematics"


def product_text(value: float, weight: float) -> str:
    """``7×(−1)``."""
    return f"{value_text(value)}×{factor_text(weight)}"


def plane_terms(step: Step, plane: int, *, real_only: bool = False) -> list[str]:
    """The terms of one input channel in the order of the kernel's cells.

    ``real_only`` leaves out those of padding and of the zeros from stretching.
    """
    window = step.window[plane]
    cells = [(i, j) for i in range(window.shape[0]) for j in range(window.shape[1])]
    if real_only:
        cells = [cell for cell in cells if not (step.padding[cell] or step.stretched[cell])]
    if step.weights is None:
        return [value_text(window[cell]) for cell in cells]
    return [product_text(window[cell], step.weights[plane][cell]) for cell in cells]


def step_text(operation: Operation, step: Step) -> str:
    """``1×1 + 2×2 + … = 411``: how an output cell came about, every term of it.

    Of a transposed convolution only the stamps that meet there; each input channel in brackets where there are several.
    """
    value = value_text(step.value)
    if isinstance(operation, Pooling):
        maximum = operation.kind == "max"
        terms = plane_terms(step, 0, real_only=maximum or not operation.count_include_pad)
        if maximum:
            return f"max({', '.join(shortened(terms))}) = {value}"
        return f"({' + '.join(map(bracketed, shortened(terms)))}) / {step.counted} = {value}"
    real_only = isinstance(operation, TransposedConvolution)
    planes = [plane_terms(step, plane, real_only=real_only) for plane in range(len(step.window))]
    sums = [" + ".join(shortened(terms)) for terms in planes if terms]
    if len(sums) > 1:
        sums = [f"({each})" for each in shortened(sums)]
    bias = [] if step.bias is None else [factor_text(step.bias)]
    return f"{' + '.join(sums + bias) or 'no stamp'} = {value}"


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
    """Stride, padding and what else differs from the plain case."""
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
    """``no padding``, ``padding 1``, ``padding same (1)``; four numbers where the ends differ."""
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


def _pool_settings(operation: Pooling) -> str:
    if operation.adaptive:
        return f"to {size_text(operation.adaptive)}"
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
    """``9 weights, no bias (dense: 225)``."""
    if isinstance(operation, Pooling):
        return "no weights"
    weights = f"{operation.weights:,} {'weight' if operation.weights == 1 else 'weights'}"
    biases = f"{operation.out_channels:,} {'bias' if operation.out_channels == 1 else 'biases'}"
    text = f"{weights} and {biases}" if operation.bias else f"{weights}, no bias"
    return f"{text} (dense: {operation.dense_parameters:,})" if dense else text


def macs_text(operation: Operation) -> str:
    """``81 multiply–adds``."""
    return f"{operation.macs:,} multiply–adds"


def broken_count(worked: Walkthrough) -> int:
    """How many numbers of input, kernel, bias and output are not finite."""
    return sum(number for _, number, _ in _broken(worked))


def broken_notes(worked: Walkthrough) -> list[str]:
    """``2 of 9 values of the output are not finite``; of input, kernel and bias too."""
    return [f"{number:,} of {size:,} values of the {name} are not finite" for name, number, size in _broken(worked)]


def _broken(worked: Walkthrough) -> list[tuple[str, int, int]]:
    named = {"input": worked.input, "kernel": worked.kernel, "bias": worked.bias, "output": worked.output}
    sizes = [(name, values.size, values) for name, values in named.items() if values is not None]
    found = [(name, size - int(np.isfinite(values).sum()), size) for name, size, values in sizes]
    return [each for each in found if each[1]]


def left_over_text(operation: Operation) -> str:
    """What the last stride leaves at the end of the input, and why; empty where nothing."""
    if isinstance(operation, TransposedConvolution) or not any(operation.left_over):
        return ""
    formulas = [formula for formula, number in zip(operation.formulas, operation.left_over, strict=True) if number]
    why = [f"{f.numerator} = {_steps(f.numerator)} is no multiple of the stride {f.denominator}" for f in formulas]
    return f"{rows_text(operation.left_over)} at the end, in no window: {', '.join(dict.fromkeys(why))}"


def gap_text(operation: Operation) -> str:
    """What else is never read, between the windows or their taps, or reaches no output; empty where nothing."""
    if isinstance(operation, TransposedConvolution):
        if not any(operation.unread):
            return ""
        rows, columns = (size - lost for size, lost in zip(operation.input_size, operation.unread, strict=True))
        total = operation.input_size[0] * operation.input_size[1]
        lost = (
            f"{rows_text(operation.unread)} of the input reach no output cell ({total - rows * columns:,} of {total:,}"
        )
        return f"{lost} values): the padding cuts off all that they stamp"
    between = [every - end for every, end in zip(operation.unread, operation.left_over, strict=True)]
    if not any(between):
        return ""
    if all(dilation == 1 for dilation, number in zip(operation.dilation, between, strict=True) if number):
        return f"{rows_text(between)} between the windows are never read: the stride is longer than the kernel"
    skipped = f"stride {sides_text(operation.stride)} and dilation {sides_text(operation.dilation)} skip them"
    return f"{rows_text(between)} between the cells of the windows are never read: {skipped}"


def rows_text(numbers: Sequence[int]) -> str:
    """``1 row and 2 columns``; what is 0 is left out."""
    return " and ".join(counted(n, noun) for n, noun in zip(numbers, ("row", "column"), strict=True) if n)


def _steps(numerator: str) -> int:
    """The value of ``6 + 2·1 − 3``."""
    total = 0
    for part in numerator.replace("− ", "+ -").split(" + "):
        factors = part.replace("−", "-").split("·")
        total += math.prod(map(int, factors))
    return total

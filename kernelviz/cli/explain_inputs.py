"""The sizes and numbers typed at ``kernelviz explain``, and what they mean."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from kernelviz.cli.options import parse_position
from kernelviz.errors import UsageError
from kernelviz.files.numbers import EXAMPLE, is_typed, read_numbers, typed_numbers
from kernelviz.records import Typed
from kernelviz.wording import shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kernelviz.arithmetic.operations import Operation
    from kernelviz.cli.options import AnyFormat

_SIZE = re.compile(r"\s*\d+\s*(?:[x×]\s*\d+\s*)?|\s*\(\s*\d+\s*,\s*\d+\s*\)\s*")
_BRACKETED = re.compile(r"\s*(?:\((.*)\)|\[(.*)\])\s*")
_ALONE = re.compile(r"\s*[+\-−]?(?:\d[\d.]*|\.\d+)(?:e[+\-]?\d+)?\s*", re.IGNORECASE)


@dataclass(frozen=True)
class StepChoices:
    """Which steps are shown and drawn, and where the files go; without a directory the explanation is printed."""

    at: str | None
    channel: int
    steps: bool
    animate: bool
    fps: float | None
    file_format: AnyFormat | None
    directory: Path | None
    arrays: bool
    force: bool

    @property
    def cell(self) -> tuple[int, int] | None:
        """The row and the column of the step to show.

        Raises:
            UsageError: the text is not two whole numbers.
        """
        return parse_position(self.at, "cell")

    @property
    def suffix(self) -> str:
        """The suffix of the pictures.

        Raises:
            UsageError: the format is not one of pictures, or of animations.
        """
        found = str(self.file_format or ("gif" if self.animate else "png"))
        if (found in ("gif", "webp")) != self.animate:
            what = "An animation must be gif or webp" if self.animate else "A picture must be png, svg or pdf"
            hint = "Omit --format." if self.animate else "Add --animate, or omit --format."
            raise UsageError(f"{what}, but got --format {found}.", hint=hint)
        return found


@dataclass(frozen=True)
class ExplainInputs:
    """The sizes and the numbers of an operation, as typed."""

    input: str
    kernel: str | None
    kernel_values: str | None
    bias: str | None
    seed: int
    groups: int
    in_channels: int | None
    out_channels: int | None

    @cached_property
    def data(self) -> Typed | None:
        """The input's own numbers (C, H, W); None where only a size was given."""
        if _SIZE.fullmatch(self.input):
            return None
        if _ALONE.fullmatch(self.input):
            raise UsageError(
                f"The input '{shown(self.input.strip())}' is not a size.", "One number alone is the rows and columns.",
                f"Give a whole number from 1 on, or --input '{shown(self.input.strip())};' for an input of this one value.",
            )  # fmt: skip
        data = read_numbers(self.input, "input")
        if data is None:
            raise UsageError(
                f"The input '{shown(self.input)}' is not a size, numbers or a CSV file.", "",
                "For example --input 5x7, --input '1 2 3; 4 5 6', --input numbers.csv",
            )  # fmt: skip
        if self.in_channels is not None and self.in_channels != len(data.values):
            raise UsageError(f"The input has {len(data.values)} channels, but --in-channels is {self.in_channels}.")
        return data

    @cached_property
    def planes(self) -> Typed | None:
        """The kernel's own planes (n, h, w), in the order of output channels and their input channels."""
        if self.kernel_values is None:
            return None
        planes = read_numbers(self.kernel_values, "kernel")
        if planes is None:
            from kernelviz.filters.bank import find_filter

            try:
                values = find_filter(self.kernel_values).values[None]
            except UsageError as error:
                what = f"The kernel values '{shown(self.kernel_values)}' are not numbers, a CSV file or a filter."
                raise UsageError(what, error.why, EXAMPLE) from None
            planes = Typed(values, np.full(values.shape, "", object))
        rows, columns = planes.values.shape[1:]
        if self.kernel is not None and _pair(sides("kernel", self.kernel)) != (rows, columns):
            size = f"{rows} × {columns}"
            raise UsageError(f"The kernel values are {size}, but --kernel is {self.kernel}.", hint="Omit --kernel.")
        return planes

    @property
    def size(self) -> Sequence[int]:
        """Rows and columns of the input."""
        return sides("input", self.input) if self.data is None else self.data.values.shape[1:]

    @property
    def sides(self) -> Sequence[int]:
        """Rows and columns of the kernel."""
        return sides("kernel", self.kernel or "3") if self.planes is None else self.planes.values.shape[1:]

    @property
    def inputs(self) -> int:
        """Channels of the input."""
        return self.in_channels or (1 if self.data is None else len(self.data.values))

    @property
    def outputs(self) -> int:
        """Channels of the output: as given, or as many as the planes of the kernel make."""
        if self.out_channels is not None:
            return self.out_channels
        count = 0 if self.planes is None else len(self.planes.values)
        if count > 1:
            return max(1, count * self.groups // self.inputs)
        return self.groups

    def numbers(self, operation: Operation) -> tuple[object, object, object]:
        """Input, kernel and bias; those that were not given come from the seed.

        Raises:
            UsageError: planes of the kernel or numbers of the bias are too few or too many.
        """
        from kernelviz.explain.walkthrough import example_numbers

        data, kernel, bias = example_numbers(operation, self.seed)
        return (
            data if self.data is None else self.data,
            kernel if self.planes is None or kernel is None else _spread(self.planes, kernel.shape),
            bias if self.bias is None or bias is None else _biases(self.bias, len(bias)),
        )

    def made_up(self, operation: Operation) -> tuple[str, ...]:
        """Which of input and kernel come from the seed; a bias has always been given."""
        weighted = operation.macs > 0
        given = {"input": self.data is not None, "kernel": self.planes is not None or not weighted}
        return tuple(name for name, is_given in given.items() if not is_given)


def sides(name: str, text: str, words: str = "") -> tuple[int, ...]:
    """The whole numbers of ``3``, ``3x5``, ``1,0,1,0``, ``(3, 5)`` or ``[3, 5]``; ``words`` are what else may be typed.

    Raises:
        UsageError: the text is not whole numbers.
    """
    bracketed = _BRACKETED.fullmatch(text)
    inner = (bracketed[1] or bracketed[2] or "") if bracketed else text
    try:
        return tuple(int(part) for part in re.split(r"[x×,]", inner))
    except ValueError:
        raise UsageError(
            f"The {name} must be whole numbers{words}, but got '{shown(text)}'.",
            "Rows and columns are counted.",
            f"For example 3 or 3x5 for the {name}{words}.",
        ) from None


def conv_padding(text: str) -> Literal["same", "valid"] | tuple[int, ...]:
    """The padding of a convolution: numbers, or ``same`` and ``valid`` in any case.

    Raises:
        UsageError: it is neither.
    """
    names: dict[str, Literal["same", "valid"]] = {"same": "same", "valid": "valid"}
    return names.get(text.strip().lower()) or sides("padding", text, ", same or valid")


def _pair(numbers: tuple[int, ...]) -> tuple[int, int]:
    return numbers[0], numbers[-1]


def _spread(planes: Typed, shape: tuple[int, ...]) -> Typed:
    """The planes in the kernel's shape; a single one is taken for every pair of channels."""
    wanted, count = shape[0] * shape[1], len(planes.values)
    if count not in (1, wanted):
        raise UsageError(
            f"The kernel needs {wanted} planes, separated by |, but got {count}.",
            f"It has {shape[0]} × {shape[1]} channels.",
            f"Give {wanted} planes, or one for all channels.",
        )
    return planes.spread(shape)


def _biases(text: str, wanted: int) -> Typed:
    typed = typed_numbers(text, "bias") if is_typed(text) else None
    found = None if typed is None else Typed(typed.values.ravel(), typed.texts.ravel())
    if found is None or len(found.values) not in (1, wanted):
        raise UsageError(
            f"The bias must be one number, or one for each of {wanted} output channels, but got '{shown(text)}'.",
            hint="For example --bias=-1 or --bias '1 2'",
        )
    return found.spread((wanted,))

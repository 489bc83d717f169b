"""What is typed at ``kernelviz explain``: the sizes and numbers, and which of their steps are shown."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from kernelviz.cli.explain_csv import check_csv
from kernelviz.cli.options import LookName, parse_position
from kernelviz.cli.outputs import check_directory, inform_left_out, save_page
from kernelviz.errors import UsageError
from kernelviz.files.numbers import EXAMPLE, is_typed, read_numbers, typed_numbers
from kernelviz.files.pixels import is_picture, small_pixels
from kernelviz.records import Typed
from kernelviz.wording import counted, inflected, shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kernelviz.arithmetic.operations import Operation
    from kernelviz.cli.options import AnyFormat, FileFormat
    from kernelviz.cli.session import Report
    from kernelviz.cli.terminal import Progress
    from kernelviz.explain.walkthrough import Walkthrough
    from kernelviz.views.pixels import Pixels

_SIZE = re.compile(r"\s*\d+\s*(?:[x×]\s*\d+\s*)?|\s*\(\s*\d+\s*,\s*\d+\s*\)\s*", re.ASCII)
_RESIZED = re.compile(r"\s*(\d{1,9})\s*(?:[x×,]\s*(\d{1,9})\s*)?", re.ASCII)
_WHOLE = re.compile(r"\s*[+-]?[0-9]+\s*")
_LONGEST = 100  # digits of a size
_LEAST_PATTERN = 3  # rows and columns of typed numbers that are drawn in black and white
_BRACKETED = re.compile(r"\s*(?:\((.*)\)|\[(.*)\])\s*")
_ALONE = re.compile(r"\s*[+\-−]?(?:\d[\d.]*|\.\d+)(?:e[+\-]?\d+)?\s*", re.IGNORECASE)


@dataclass(frozen=True)
class StepChoices:
    """Which steps are shown and drawn, and where the files go; without a directory the explanation is printed."""

    at: str | None = None
    channel: int = 0
    steps: bool = False
    animate: bool = False
    frames: bool = False
    fps: float | None = None
    file_format: AnyFormat | FileFormat | None = None
    directory: Path | None = None
    arrays: bool = False
    force: bool = False
    look: LookName = LookName.PAGE
    no_caption: bool = False
    csv: Path | None = None

    @property
    def prints(self) -> bool:
        """Whether the explanation is printed: nothing is written instead."""
        return self.directory is None and self.csv is None

    @property
    def cell(self) -> tuple[int, int] | None:
        """The row and the column of the step to show.

        Raises:
            UsageError: the text is not two whole numbers.
        """
        return parse_position(self.at, "cell")

    @property
    def draws_whole(self) -> bool:
        """Whether a picture or an animation is written, not only its frames."""
        return self.animate or not self.frames

    @property
    def suffix(self) -> str:
        """The suffix of the pictures.

        Raises:
            UsageError: the format is not one of pictures, or of animations.
        """
        found = str(self.file_format or ("gif" if self.animate else "png"))
        if self.frames and not self.animate and found != "png":
            hint = "Omit --format, or add --animate to write the animation too."
            raise UsageError(f"Frames are written as PNG, but got --format {found}.", hint=hint)
        if (found in ("gif", "webp")) != self.animate:
            what = "An animation must be gif or webp" if self.animate else "A picture must be png, svg or pdf"
            hint = "Omit --format." if self.animate else "Add --animate, or omit --format."
            raise UsageError(f"{what}, but got --format {found}.", hint=hint)
        return found

    def check(self) -> None:
        """Reject what is wrong in the options alone.

        Raises:
            UsageError: options that need a directory, or that exclude each other.
        """
        drawing = {
            "--animate": self.animate, "--frames": self.frames, "--steps": self.steps, "--arrays": self.arrays,
            "--force": self.force and self.csv is None,
            "--format": self.file_format is not None, "--look": self.look != "page", "--no-caption": self.no_caption,
        }  # fmt: skip
        given = [name for name, value in drawing.items() if value]
        if self.directory is None and given:
            raise UsageError(f"{given[0]} needs an output directory.", hint="Add -o kernelviz-out")
        every = [name for name in ("--animate", "--frames", "--steps") if drawing[name]]  # draw all steps
        if self.steps and len(every) > 1:
            raise UsageError(f"{every[0]} and --steps exclude each other.", hint="Omit one of them.")
        if self.at is not None and every:
            raise UsageError(f"--at selects one step, but {every[0]} draws all of them.", hint="Omit one of them.")
        if self.fps is not None and not self.animate:
            raise UsageError("--fps is for animations.", hint="Add --animate, or omit it.")
        _ = self.cell, self.suffix
        if self.csv is not None:
            check_csv(self.csv)
        if self.directory is not None:
            check_directory(self.directory)

    def warn_of_limit(self, count: int, operation: Operation, report: Report) -> None:
        """Warn if fewer steps than all are in the document or in the CSV file."""
        total = operation.output_size[0] * operation.output_size[1]
        if (report.as_json or self.csv is not None) and self.cell is None and count < total:
            report.note(f"steps is limited to {count:,} of {total:,}")

    def save(self, picture: Any, path: Path, report: Report, progress: Progress) -> list[tuple[Path, int | None]]:
        """Write the frames of an animation, the picture, or both; the paths with the numbers of frames."""
        from kernelviz.files.writing import save_frames

        written: list[tuple[Path, int | None]] = []
        if self.frames:
            frames = save_frames(picture, path.with_suffix(".png"), force=self.force, progress=progress)
            written += [(each, number) for number, each in enumerate(frames)]
        if self.draws_whole:
            written.append((save_page(picture, path, report, force=self.force, progress=progress), None))
        else:
            inform_left_out(picture, report)
        return written


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
    levels: int | None = None
    resize: str | None = None

    @cached_property
    def image(self) -> Pixels | None:
        """The image that the input is; None if it is none.

        Raises:
            KernelvizError: the image cannot be read, or is too large.
            UsageError: ``--levels`` or ``--resize`` without an image, or levels or a size that there cannot be.
        """
        if _SIZE.fullmatch(self.input) or is_typed(self.input) or not is_picture(self.input):
            for option, value in {"--levels": self.levels, "--resize": self.resize}.items():
                if value is not None:
                    hint = f"Give one, as --input digit.png, or omit {option}."
                    raise UsageError(f"{option} is for an image.", hint=hint)
            return None
        return small_pixels(self.input, self.levels, self.resized)

    @property
    def resized(self) -> tuple[int, ...] | None:
        """Rows and columns to which the image is resized, or its longer side; None if it is not resized.

        Raises:
            UsageError: the text is not one or two whole numbers.
        """
        return parse_resize(self.resize)

    @property
    def greys(self) -> tuple[float, float] | None:
        """The numbers that are drawn black and white, if the input is an image, or typed as −1 and 1, or 0 and 1."""
        if self.image is not None:
            return 0.0, float(self.image.white)
        if self.data is None or min(self.data.values.shape[1:]) < _LEAST_PATTERN:
            return None
        found = tuple(np.unique(self.data.values).tolist())
        return (found[0], found[1]) if found in ((-1.0, 1.0), (0.0, 1.0)) else None

    @cached_property
    def data(self) -> Typed | None:
        """The input's own numbers (C, H, W); None where only a size was given."""
        if self.image is not None:
            return self._fitting(
                Typed(self.image.planes.astype(np.float64), np.full(self.image.planes.shape, "", object))
            )
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
                f"The input '{shown(self.input)}' is not a size, numbers, a CSV file or an image.", "",
                "For example --input 5x7, --input '1 2 3; 4 5 6', --input numbers.csv, --input digit.png",
            )  # fmt: skip
        return self._fitting(data)

    def _fitting(self, data: Typed) -> Typed:
        if self.in_channels is not None and self.in_channels != len(data.values):
            raise UsageError(
                f"The input has {counted(len(data.values), 'channel')}, but --in-channels is {self.in_channels}."
            )
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
    def known(self) -> list[str | None]:
        """For each plane of the kernel's own numbers the classical filter that it is, as text; None if it is none."""
        if self.planes is None:
            return []
        from kernelviz.filters.bank import known_filter

        found = [known_filter(plane) for plane in self.planes.values]
        return [None if one is None else one.text for one in found]

    @property
    def size(self) -> Sequence[int]:
        """Rows and columns of the input."""
        return sides("input", self.input) if self.data is None else self.data.values.shape[1:]

    @property
    def sides(self) -> Sequence[int]:
        """Rows and columns of the kernel."""
        if self.planes is not None:
            return self.planes.values.shape[1:]
        return sides("kernel", "3" if self.kernel is None else self.kernel)

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

    def work_out(self, operation: Operation, report: Report) -> Walkthrough:
        """The operation worked out on these numbers; irregularities of the image and of the numbers become warnings."""
        from dataclasses import replace

        from kernelviz.explain.texts import broken_notes
        from kernelviz.explain.walkthrough import work_out

        worked = work_out(operation, *self.numbers(operation))
        report.note(*(self.image.notes if self.image else ()), *broken_notes(worked))
        return replace(worked, made_up=self.made_up(operation), seed=self.seed, greys=self.greys)

    def made_up(self, operation: Operation) -> tuple[str, ...]:
        """Which of input and kernel come from the seed; a bias has always been given."""
        weighted = operation.macs > 0
        given = {"input": self.data is not None, "kernel": self.planes is not None or not weighted}
        return tuple(name for name, is_given in given.items() if not is_given)


def parse_resize(text: str | None) -> tuple[int, ...] | None:
    """Rows and columns to which an image is resized, or its longer side; None if it is not.

    Raises:
        UsageError: the text is not one or two whole numbers.
    """
    if text is None:
        return None
    found = _RESIZED.fullmatch(text)
    if found is None:
        what = f"--resize must be the longer side, or rows and columns, but got '{shown(text)}'."
        raise UsageError(what, hint="For example --resize 16 or --resize 16x20")
    return tuple(int(number) for number in found.groups() if number)


def sides(name: str, text: str, words: str = "") -> tuple[int, ...]:
    """The whole numbers of ``3``, ``3x5``, ``1,0,1,0``, ``(3, 5)`` or ``[3, 5]``; ``words`` are what else may be typed.

    Raises:
        UsageError: the text is not whole numbers.
    """
    bracketed = _BRACKETED.fullmatch(text)
    inner = (bracketed[1] or bracketed[2] or "") if bracketed else text
    parts = re.split(r"[x×,]", inner)
    if not all(_WHOLE.fullmatch(part) and len(part) <= _LONGEST for part in parts):
        raise UsageError(
            f"The {name} must be whole numbers{words}, but got '{shown(text)}'.",
            "One number is for both rows and columns; 3x5 is 3 for rows and 5 for columns.",
            f"For example --{name.replace('adaptive size', 'adaptive').replace(' ', '-')} 3 or 3x5{words}.",
        )
    return tuple(map(int, parts))


def named_padding(text: str) -> Literal["same", "valid"] | tuple[int, ...]:
    """A padding: numbers, or ``same`` and ``valid`` in any case.

    Raises:
        UsageError: it is neither.
    """
    names: dict[str, Literal["same", "valid"]] = {"same": "same", "valid": "valid"}
    return names.get(text.strip().lower()) or sides("padding", text, ", same or valid")


def pool_padding(
    text: str, size: Sequence[int], kernel: Sequence[int] | None, stride: Sequence[int] | None, dilation: Sequence[int]
) -> tuple[tuple[int, ...], bool]:
    """The padding of a pool, and whether it is the ``same`` of Keras, whose averages leave the padding out.

    Raises:
        UsageError: it is neither numbers nor a name, or Keras pads more at the end than at the start.
    """
    from kernelviz.arithmetic.windows import pair, pooling_size, same_padding

    found = named_padding(text)
    if isinstance(found, tuple):
        return found, False
    if found == "valid" or kernel is None:  # an adaptive pool has no padding
        return (0,), False
    window, apart = pair("kernel", kernel), pair("dilation", dilation)
    step = window if stride is None else pair("stride", stride)
    axes = list(zip(pair("input size", size), window, step, apart, strict=True))
    ends = [same_padding(*axis) for axis in axes]
    if all(before == after for before, after in ends):
        return tuple(before for before, _ in ends), any(map(any, ends))
    ceiled = [pooling_size(n, k, s, a, d, ceil_mode=True) for (n, k, s, d), (a, _) in zip(axes, ends, strict=True)]
    fits = ceiled == [-(-n // s) for n, _, s, _ in axes] and all(
        b - a <= (s > 1) for (_, _, s, _), (a, b) in zip(axes, ends, strict=True)
    )
    around = ends[0][0] if ends[0][0] == ends[1][0] else f"{ends[0][0]}x{ends[1][0]}"
    average = "; add --no-count-include-pad to averages" if ends[0][0] or ends[1][0] else ""
    hint = f"--padding {around} --ceil-mode has the same windows{average}."
    raise UsageError(
        f"The padding cannot be same: Keras then pads {_ends_text(ends)}.",
        "Here, as in torch, a pool is padded alike at both ends.",
        hint if fits else "Give numbers, or another kernel size.",
    )


def transposed_padding(
    text: str, output_padding: str | None, kernel: Sequence[int], stride: Sequence[int],
    dilation: Sequence[int],
) -> tuple[tuple[int, ...], tuple[int, ...]]:  # fmt: skip
    """Padding and output padding of a transposed convolution; by name they are those of Keras.

    Raises:
        UsageError: they are no numbers, or Keras cuts off more at the end than at the start.
    """
    from kernelviz.arithmetic.windows import pair
    from kernelviz.explain.calls import same_crop, valid_crop

    found = named_padding(text)
    stated = None if output_padding is None else sides("output padding", output_padding)
    if isinstance(found, tuple):
        return found, stated or (0,)
    window, step, apart = pair("kernel", kernel), pair("stride", stride), pair("dilation", dilation)
    extra = (None, None) if stated is None else pair("output padding", stated, least=0)
    crop = same_crop if found == "same" else valid_crop
    ends = [crop(d * (k - 1) + 1, s, more) for k, s, d, more in zip(window, step, apart, extra, strict=True)]
    if any(a < 0 or a < b for a, b in ends):
        raise UsageError(
            f"The padding cannot be {found}: Keras then cuts {_ends_text(ends)} off the output.",
            "Here, as in torch, both ends are cut alike.",
            "Give numbers, or a kernel size that is even where the stride is even, and odd where it is odd.",
        )
    return tuple(a for a, _ in ends), tuple(a - b for a, b in ends)


def _ends_text(ends: Sequence[tuple[int, int]]) -> str:
    """``0 rows above and 1 below, 0 columns left and 1 right``."""
    (top, bottom), (left, right) = ends
    rows, columns = inflected(top, "row"), inflected(left, "column")
    return f"{top} {rows} above and {bottom} below, {left} {columns} left and {right} right"


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

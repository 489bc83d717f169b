"""Pools as plain integers: sizes, windows, and what torch refuses of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from kernelviz.arithmetic import adaptive_window, pooling_size, unread, window
from kernelviz.convolutions import check_cell, set_fields
from kernelviz.errors import UsageError
from kernelviz.sides import Pair, Sides, count, pair, size_text
from kernelviz.size_formulas import Formula, adaptive_formula, window_formula

PLAIN = ((0, 0), (1, 1), False, True)  # padding, dilation, ceiling, and whether padding counts


@dataclass(frozen=True, init=False)
class Pooling:
    """A 2-D max or average pool of an input of a known size, with torch's meaning of every number.

    Sides are (height, width). ``adaptive`` is the output size of an adaptive pool, whose windows follow from it; its
    ``kernel`` is its largest window. ``count_include_pad`` counts zeros of the padding into an average.
    """

    input_size: Pair
    kernel: Pair
    kind: Literal["max", "average"]
    stride: Pair
    padding: Pair
    dilation: Pair
    ceil_mode: bool
    count_include_pad: bool
    adaptive: Pair | None
    in_channels: int

    def __init__(
        self,
        input_size: Sides,
        kernel: Sides | None = None,
        *,
        kind: Literal["max", "average"] = "max",
        stride: Sides | None = None,
        padding: Sides = 0,
        dilation: Sides = 1,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        adaptive: Sides | None = None,
        in_channels: int = 1,
    ) -> None:
        """Take each side as one number, or as height and width.

        Args:
            input_size: rows and columns of the input.
            kernel: rows and columns of a window; None for an adaptive pool.
            kind: ``max`` or ``average``.
            stride: by how much the window moves; None for the kernel's own sides.
            padding: what is around the input: zeros for an average, less than every number for a maximum.
            dilation: how far the cells of a window are apart; for ``max`` alone.
            ceil_mode: whether a last window that reaches out of the padded input counts, too.
            count_include_pad: whether padding counts in an average.
            adaptive: the size of the output of an adaptive pool, instead of everything else.
            in_channels: channels; each is pooled by itself.

        Raises:
            UsageError: torch would refuse it: a number that is not positive, a padding above half the kernel, a dilated
                average, nothing that comes out; or choices that an adaptive pool does not have.
        """
        if kind not in ("max", "average"):
            raise UsageError(f"A pool is max or average, but got {kind!r}.")
        size = pair("input size", input_size)
        if adaptive is None and kernel is None:
            raise UsageError("A pool needs a kernel.", "", "Or the output size of an adaptive one.")
        asked = None if adaptive is None else pair("adaptive size", adaptive)
        around, apart = pair("padding", padding, least=0), pair("dilation", dilation)
        if asked and (kernel, stride, around, apart, ceil_mode, count_include_pad) != (None, None, *PLAIN):
            raise UsageError(
                "An adaptive pool takes no kernel, stride, padding, dilation or ceiling.",
                "Its windows follow from the sizes of input and output.",
                "Leave them out, or leave out the adaptive size.",
            )
        sides = _largest_windows(size, asked) if asked else pair("kernel", kernel or 0)
        values: dict[str, object] = {
            "input_size": size,
            "kernel": sides,
            "kind": kind,
            "stride": sides if stride is None else pair("stride", stride),
            "padding": around,
            "dilation": apart,
            "ceil_mode": bool(ceil_mode),
            "count_include_pad": bool(count_include_pad),
            "adaptive": asked,
            "in_channels": count("number of channels", in_channels),
        }
        set_fields(self, **values)
        self._check()

    def _check(self) -> None:
        if self.kind == "average" and self.dilation != (1, 1):
            raise UsageError("An average pool has no dilation.", "torch dilates max pools alone.", "Leave it out.")
        for padding, kernel in zip(self.padding, self.kernel, strict=True):
            if padding > kernel // 2:
                raise UsageError(
                    f"The padding must be at most half of the kernel, but got {padding} of {kernel}.",
                    "A window would lie in the padding alone.",
                    f"Take a padding of at most {kernel // 2}, or a larger kernel.",
                )
        if min(self.output_size) < 1:
            raise UsageError(
                f"Nothing comes out: no window of {size_text(self.kernel)} fits into {size_text(self.input_size)}.",
                "" if self.dilation == (1, 1) else f"The dilation is {size_text(self.dilation)}.",
                "Take a smaller kernel, or ceil mode.",
            )

    @property
    def out_channels(self) -> int:
        """As many as come in."""
        return self.in_channels

    @property
    def output_size(self) -> Pair:
        """(rows, columns) of the output."""
        if self.adaptive:
            return self.adaptive
        rows, columns = (pooling_size(*axis, ceil_mode=self.ceil_mode) for axis in self._axes())
        return rows, columns

    def window(self, row: int, column: int) -> tuple[range, range]:
        """The rows and columns that one output cell pools; those outside the input are padding.

        In ceil mode a window ends with the padded input.

        Raises:
            UsageError: there is no such cell.
        """
        check_cell(self.output_size, row, column)
        if self.adaptive:
            rows, columns = (
                adaptive_window(at, *sizes)
                for at, sizes in zip((row, column), zip(self.input_size, self.adaptive, strict=True), strict=True)
            )
            return rows, columns
        rows, columns = (
            _up_to(window(at, *axis[1:]), axis[0] + axis[3])
            for at, axis in zip((row, column), self._axes(), strict=True)
        )
        return rows, columns

    def reads(self, row: int, column: int) -> tuple[list[int], list[int]]:
        """The rows and columns of the input itself that one output cell reads.

        Raises:
            UsageError: there is no such cell.
        """
        rows, columns = (
            [at for at in side if 0 <= at < size]
            for side, size in zip(self.window(row, column), self.input_size, strict=True)
        )
        return rows, columns

    @property
    def formulas(self) -> tuple[Formula, Formula]:
        """The size of the output in letters and numbers: rows, then columns."""
        if self.adaptive:
            rows, columns = (adaptive_formula(*sizes) for sizes in zip(self.input_size, self.adaptive, strict=True))
            return rows, columns
        rows, columns = (
            window_formula(size, kernel, stride, (padding, padding), dilation, result, ceil_mode=self.ceil_mode)
            for (size, kernel, stride, padding, dilation), result in zip(self._axes(), self.output_size, strict=True)
        )
        return rows, columns

    @property
    def unread(self) -> Pair:
        """How many rows and columns of the padded input no window reads, wherever they lie."""
        rows, columns = self._unread()
        return rows[0], columns[0]

    @property
    def left_over(self) -> Pair:
        """How many of them lie at the end."""
        rows, columns = self._unread()
        return rows[1], columns[1]

    def _unread(self) -> tuple[Pair, Pair]:
        if self.adaptive:  # windows that follow from the sizes leave nothing out
            return (0, 0), (0, 0)
        rows, columns = (
            unread(size + 2 * padding, kernel, stride, dilation, outputs)
            for (size, kernel, stride, padding, dilation), outputs in zip(self._axes(), self.output_size, strict=True)
        )
        return rows, columns

    weights = parameters = dense_parameters = macs = 0

    def _axes(self) -> tuple[tuple[int, int, int, int, int], tuple[int, int, int, int, int]]:
        """Size, kernel, stride, padding and dilation of the rows, and of the columns."""
        rows, columns = zip(self.input_size, self.kernel, self.stride, self.padding, self.dilation, strict=True)
        return rows, columns


def _up_to(positions: range, end: int) -> range:
    return range(positions.start, min(positions.stop, end), positions.step)


def _largest_windows(size: Pair, output_size: Pair) -> Pair:
    rows, columns = (
        max(len(adaptive_window(at, side, outputs)) for at in range(outputs))
        for side, outputs in zip(size, output_size, strict=True)
    )
    return rows, columns

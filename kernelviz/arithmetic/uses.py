"""How many windows of a convolution read each cell of its input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kernelviz.arithmetic.windows import window

if TYPE_CHECKING:
    from kernelviz.arithmetic.operations import Convolution


@dataclass(frozen=True)
class Uses:
    """How often the rows and the columns of the padded input are read.

    A cell is read ``rows[i] * columns[j]`` times. ``inside`` are the rows and the columns of the input itself.
    """

    rows: tuple[int, ...]
    columns: tuple[int, ...]
    inside: tuple[range, range]
    windows: int

    @property
    def of_input(self) -> list[list[int]]:
        """The times that each cell of the input is read."""
        rows, columns = self.inside
        return [[self.rows[i] * self.columns[j] for j in columns] for i in rows]

    @property
    def readings(self) -> int:
        """The readings of all windows: their number times the cells of the kernel."""
        return sum(self.rows) * sum(self.columns)

    @property
    def input_readings(self) -> int:
        """The readings of cells of the input; the others are of zeros around it."""
        rows, columns = self.inside
        return sum(self.rows[i] for i in rows) * sum(self.columns[j] for j in columns)


def uses_of(operation: Convolution) -> Uses:
    """Count how often each row and column is read: ``u(i) = #{(o, t): o·s − p + d·t = i}``."""
    top, bottom, left, right = operation.padding
    axes = zip(
        operation.input_size, operation.output_size, operation.kernel, operation.stride, operation.dilation,
        (top, left), (bottom, right), strict=True,
    )  # fmt: skip
    counts, inside = [], []
    for size, outputs, kernel, stride, dilation, before, after in axes:
        found = [0] * (size + before + after)
        for position in range(outputs):
            for row in window(position, kernel, stride, 0, dilation):
                found[row] += 1
        counts.append(tuple(found))
        inside.append(range(before, before + size))
    rows, columns = operation.output_size
    return Uses(counts[0], counts[1], (inside[0], inside[1]), rows * columns)

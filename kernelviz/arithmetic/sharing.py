"""Dense, locally connected and shared weights: which weight connects which units, and how many there are."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass

from kernelviz.arithmetic.windows import count, size_text
from kernelviz.errors import UsageError

FEWEST_UNITS, MOST_UNITS = 3, 9
MOST_COUNTED = 100_000


@dataclass(frozen=True, init=False)
class Sharing:
    """As many inputs as outputs, connected densely, locally and by a convolution of one kernel with same padding.

    The three matrices have a row for each output and a column for each input; an entry is the number of the weight, from 1
    on, and 0 where there is no connection.
    """

    units: int
    kernel: int

    def __init__(self, units: int = 5, kernel: int = 3) -> None:
        units, kernel = count("number of units", units), count("kernel", kernel)
        if not FEWEST_UNITS <= units <= MOST_UNITS:
            raise UsageError(
                f"The number of units must be {FEWEST_UNITS} to {MOST_UNITS}, but got {units:,}.",
                "More lines could not be told apart."
                if units > MOST_UNITS
                else "Of fewer, none has neighbours on both sides.",
            )
        if kernel % 2 == 0:
            near = f"{kernel - 1} or {kernel + 1}" if kernel > 2 else "3"
            raise UsageError(f"A kernel of {kernel} has no middle.", hint=f"Try {near}.")
        if not 3 <= kernel <= units:
            what = f"The kernel must be 3 to {units}, as there are {units} units, but got {kernel:,}."
            raise UsageError(what, hint="Choose a smaller kernel, or more units." if kernel > units else "Try 3.")
        object.__setattr__(self, "units", units)
        object.__setattr__(self, "kernel", kernel)

    @property
    def padding(self) -> int:
        """The zeros at each end with which the convolution has as many outputs as inputs."""
        return (self.kernel - 1) // 2

    @property
    def dense(self) -> list[list[int]]:
        """Every output reads every input, each with a weight of its own."""
        n = self.units
        return [[n * output + number + 1 for number in range(n)] for output in range(n)]

    @property
    def local(self) -> list[list[int]]:
        """An output reads its neighbours, each with a weight of its own."""
        found, number = [], 0
        for output in range(self.units):
            row = [0] * self.units
            for at in range(max(0, output - self.padding), min(self.units, output + self.padding + 1)):
                number += 1
                row[at] = number
            found.append(row)
        return found

    @property
    def shared(self) -> list[list[int]]:
        """An output reads its neighbours with the weights that all outputs share."""
        offset = self.padding + 1
        return [
            [at - output + offset if abs(at - output) <= self.padding else 0 for at in range(self.units)]
            for output in range(self.units)
        ]


def number_of_weights(matrix: list[list[int]]) -> int:
    """The number of different weights in a matrix of ``Sharing``."""
    return len({entry for row in matrix for entry in row if entry})


@dataclass(frozen=True, init=False)
class ImageWeights:
    """The weights and biases of layers on an image of height × width × channels.

    ``hidden`` are the units of a dense layer, ``maps`` those of a convolution of ``kernel`` × ``kernel``.
    """

    image: tuple[int, int, int]
    maps: int
    kernel: int
    hidden: int

    def __init__(
        self, image: tuple[int, int, int] = (10, 10, 3), maps: int = 100, kernel: int = 5, hidden: int = 300
    ) -> None:
        sides = tuple(count("size of the image", side) for side in image)
        if len(sides) != 3:
            what = f"The image must be height, width and channels, but got {size_text(sides)}."
            raise UsageError(what, hint="For example 10x10x3; in Python (10, 10, 3).")
        values = {
            "image": sides, "maps": count("number of maps", maps), "kernel": count("kernel of the image", kernel),
            "hidden": count("number of hidden units", hidden),
        }  # fmt: skip
        for name, value in values.items():
            object.__setattr__(self, name, value)
        if (most := max(*self.image, self.maps, self.hidden)) > MOST_COUNTED:
            what = f"Sizes, maps and hidden units must be at most {MOST_COUNTED:,}, but got {most:,}."
            raise UsageError(what, hint="Give smaller numbers.")
        if self.kernel > min(sides[:2]):
            raise UsageError(
                f"The {size_text((self.kernel, self.kernel))} kernel is larger than the image.",
                f"The image is {size_text(sides)}.",
                "Choose a smaller --image-kernel, or a larger image.",
            )

    @property
    def values(self) -> int:
        """The numbers of the image."""
        return self.image[0] * self.image[1] * self.image[2]

    @property
    def map_size(self) -> tuple[int, int]:
        """Rows and columns of a map, without padding."""
        return self.image[0] - self.kernel + 1, self.image[1] - self.kernel + 1

    @property
    def outputs(self) -> int:
        """The numbers of all maps."""
        return self.maps * self.map_size[0] * self.map_size[1]

    @property
    def per_kernel(self) -> int:
        """The weights of one kernel."""
        return self.kernel * self.kernel * self.image[2]

    @property
    def dense(self) -> int:
        """Of a dense layer to the hidden units."""
        return self.values * self.hidden + self.hidden

    @property
    def shared(self) -> int:
        """Of a convolution, whatever the size of the image."""
        return self.per_kernel * self.maps + self.maps

    @property
    def local(self) -> int:
        """Of a locally connected layer with the outputs of the convolution."""
        return (self.per_kernel + 1) * self.outputs

    @property
    def dense_to_outputs(self) -> int:
        """Of a dense layer to as many outputs as the convolution has."""
        return (self.values + 1) * self.outputs

    def doubled(self) -> ImageWeights:
        """The same layers on an image twice as wide and high."""
        height, width, channels = self.image
        larger = copy(self)  # the limit is on sizes that are given
        object.__setattr__(larger, "image", (2 * height, 2 * width, channels))
        return larger

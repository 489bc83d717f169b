"""The README's pictures of a worked-out convolution: numbers, channels, stamps, and the sliding window.

Run ``python examples/convolution.py [DIRECTORY]``. Needs no weights and no torch.
"""

import sys
from pathlib import Path

import kernelviz

directory = Path(sys.argv[1] if len(sys.argv) > 1 else "kernelviz-out")

counted = kernelviz.work_out(
    kernelviz.Convolution(5, 3),
    [[5 * row + column + 1 for column in range(5)] for row in range(5)],
    [[1, 2, 3], [4, 5, 6], [7, 8, 9]],
)
print(counted.step(1, 2).value, counted.operation.output_size)

padded = kernelviz.Convolution(4, 3, in_channels=3, padding=1, bias=True, stride=2)
planes = [
    [[3, 1, 0, 1], [2, 3, 0, 1], [1, 2, 1, 0], [0, 1, 2, 1]],
    [[0, 3, 1, 2], [2, 1, 3, 0], [1, 2, 0, 1], [2, 0, 1, 1]],
    [[2, 0, 1, 3], [1, 2, 0, 1], [3, 1, 3, 2], [0, 1, 1, 2]],
]
kernels = [
    [[1, 0, -1], [2, 0, -2], [1, 0, -1]],
    [[0, 1, 0], [1, -4, 1], [0, 1, 0]],
    [[1, 1, 1], [0, 0, 0], [-1, -1, -1]],
]
summed = kernelviz.work_out(padded, planes, [kernels], [1])

stamped = kernelviz.work_out(kernelviz.TransposedConvolution(2, 2), [[1, 2], [3, 4]], [[2, -1], [1, 3]])

print(kernelviz.save_picture(kernelviz.plot_convolution(counted), directory / "explain-step.png"))
print(kernelviz.save_picture(kernelviz.plot_convolution(summed, at=(1, 1)), directory / "explain-channels.png"))
print(
    kernelviz.save_picture(
        kernelviz.plot_convolution(stamped, at=(1, 1), view="stamps"), directory / "explain-stamps.png"
    )
)
print(kernelviz.save_picture(kernelviz.animate_convolution(counted), directory / "explain-window.gif"))
print(kernelviz.save_picture(kernelviz.animate_convolution(stamped, view="stamps"), directory / "explain-stamping.gif"))

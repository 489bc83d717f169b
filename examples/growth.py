"""How EfficientNet-Lite0 grows: what its units see, how fine its maps are and how many there are. Needs no weights.

Run ``python examples/growth.py [DIRECTORY]``.
"""

import sys
from pathlib import Path

import kernelviz

directory = Path(sys.argv[1] if len(sys.argv) > 1 else "kernelviz-out")

told = kernelviz.trace(kernelviz.load_model("tf_efficientnet_lite0", weights=None))
print(told.field_of("blocks.2.0.conv_dw", 14, 14))
print(kernelviz.save_picture(kernelviz.plot_growth(told), directory / "growth.png", force=True))

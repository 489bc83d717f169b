"""One browser for the tests of a module."""

from __future__ import annotations

import pytest
from pages import browser_path


@pytest.fixture(scope="module")
def browser():
    """A headless Chromium."""
    path = browser_path()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=path)
        yield found
        found.close()

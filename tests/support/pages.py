"""Pages in a browser: opened, alive, and looked at by axe."""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from functools import cache
from importlib.resources import files

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
MISSING = "no browser: apt-get install --no-install-recommends chromium, or set KERNELVIZ_BROWSER"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


def browser_path():
    """The program of a Chromium; without one the test is skipped with the reason, or fails where ``CI`` is set."""
    path = os.environ.get("KERNELVIZ_BROWSER") or next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(MISSING)
    return path


@contextmanager
def opened(browser, path, address="", **context):
    """The page, alive; afterwards nothing was on the console, and nothing but the file was requested."""
    context = browser.new_context(**({"viewport": {"width": 1440, "height": 1300}} | context))
    context.set_offline(True)
    page = context.new_page()
    page.set_default_timeout(5000)
    heard, requested = [], []
    page.on("console", lambda message: heard.append(message.text))
    page.on("pageerror", lambda error: heard.append(str(error)))
    page.on("request", lambda request: requested.append(request.url))
    page.goto(f"{path.as_uri()}{address}")
    page.locator("html[data-ready]").wait_for(state="attached")
    yield page
    context.close()
    assert heard == []
    assert [url for url in requested if not url.startswith("data:")] == [path.as_uri()]


@cache
def _axe():
    return (files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")


def violations(page):
    """What axe finds."""
    page.evaluate(_axe())
    found = page.evaluate(
        "rules => axe.run(document, {runOnly: {type: 'tag', values: rules}, resultTypes: ['violations']})", RULES
    )
    return [(each["id"], node["html"][:120]) for each in found["violations"] for node in each["nodes"]]


def ready(page, layer):
    """Wait until a layer is shown."""
    page.locator(f'html[data-ready="{layer}"]').wait_for(state="attached")


OUTSIDE = """() => {
  const wide = document.documentElement.clientWidth, found = [];
  if (document.documentElement.scrollWidth > wide) found.push("sideways scroll");
  for (const part of document.querySelectorAll("#sum, .map-part, .seen, #kernels-part, #maps-part, .layer-head")) {
    const box = part.getBoundingClientRect();
    for (const each of part.querySelectorAll("*")) {
      if (each.closest(".marks, wbr") || !each.checkVisibility()) continue;
      const own = each.getBoundingClientRect();
      if (own.right > box.right + 5 || own.left < box.left - 5) found.push(`${each.tagName}.${each.className} beside`);
      if (each.matches(".cells span") && each.scrollWidth > each.clientWidth + 1) found.push(each.textContent);
    }
  }
  return [...new Set(found)].slice(0, 5);
}"""
"""What of a report scrolls sideways or is outside of its column."""

"""Pages in a browser: opened, alive, and looked at by axe."""

from __future__ import annotations

from contextlib import contextmanager
from functools import cache
from importlib.resources import files

RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


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

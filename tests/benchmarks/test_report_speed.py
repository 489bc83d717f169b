"""How soon a report is made, and its page painted and alive."""

from __future__ import annotations

import pytest
from bench import cpu_ratio
from pages import browser_path

from kernelviz import load_model, make_report, save_report

pytestmark = pytest.mark.benchmark

TIMES = """() => [performance.getEntriesByName("first-contentful-paint")[0].startTime,
                  performance.getEntriesByName("alive")[0].startTime]"""


def test_a_page_is_painted_and_alive_at_once(tmp_path):
    """With 49 layers the first paint is within half a second, and the first layer answers within a second."""
    from playwright.sync_api import sync_playwright

    report = make_report(load_model("tf_efficientnet_lite0", weights="bundled"), "sample:grace_hopper")
    path = save_report(report, tmp_path / "report.html")
    assert path.stat().st_size <= 8_000_000
    found = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path())
        for _ in range(5):
            page = browser.new_page(viewport={"width": 1440, "height": 900})
            page.goto(path.as_uri())
            page.locator("html[data-ready]").wait_for(state="attached")
            found.append(page.evaluate(TIMES))
            page.close()
        browser.close()
    paint, alive = (sorted(times)[2] for times in zip(*found, strict=True))
    print(f"\nreport: painted after {paint:.0f} ms, alive after {alive:.0f} ms, {path.stat().st_size / 1e6:.2f} MB")
    assert paint < 500
    assert alive < 1000


def test_a_report_costs_little_more_than_pictures_of_its_layers(tmp_path):
    """With every traced value, at most three times the CPU time of bare pictures of the same layers."""
    command = ["-m", "kernelviz", "{}", "tf_efficientnet_lite0", "sample:grace_hopper", "-q", "--force"]
    ours = [word.format("report") for word in command] + ["-o", str(tmp_path / "report")]
    peer = [word.format("features") for word in command] + ["-o", str(tmp_path / "features"), "--style", "bare"]
    times = cpu_ratio(ours, [*peer, "-l", "*", "--kind", "conv"], pairs=3)
    print(f"\nreport: {times:.2f} times the CPU time of features")
    assert times <= 3

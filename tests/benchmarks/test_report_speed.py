"""How soon a report is made, and its page painted and alive."""

from __future__ import annotations

import time

import pytest
import torch
from bench import cpu_ratio
from pages import browser_path

from kernelviz import load_model, make_report, read_image, save_report

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


@pytest.mark.parametrize("name", ["tf_efficientnet_lite0", "resnet18d", "resnet50", "densenet121"])
def test_tracing_units_costs_little_more_than_the_forward_pass(name):
    """Two units of every map on a page, worked out during the forward pass, take at most as long as that pass itself.

    Both in CPU time of one thread, with all maps captured; other programs only add to it, so that the least time counts.
    """
    from kernelviz.exploring import POINTWISE_TERMS, TERMS, _plan
    from kernelviz.network.inputs import as_input
    from kernelviz.network.terms import run_layers

    model = load_model(name, weights="random")
    given = as_input(model, read_image("sample:grace_hopper"))
    plan = _plan(model, given, None, 8_000_000, 1)

    def on_layer(maps, run):
        shown = range(plan.quotas[maps.layer])
        run.terms(run.extremes(shown), POINTWISE_TERMS if run.pointwise else TERMS)

    def ours():
        run_layers(plan.capture, given, on_layer)

    def peer():
        run_layers(plan.capture, given, lambda _maps, _run: None)

    def seconds(work):
        start = time.process_time()
        work()
        return time.process_time() - start

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        ours()
        peer()
        times = [(seconds(ours), seconds(peer)) for _ in range(15)]
    finally:
        torch.set_num_threads(threads)
    share = min(mine for mine, _ in times) / min(other for _, other in times)
    print(f"\ntraced units of {name}: {share:.2f} times the forward pass with its captures")
    assert share <= 2

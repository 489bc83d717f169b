"""The pages in Firefox, where it and ``marionette_driver``, which Mozilla drives it with, are installed."""

from __future__ import annotations

import os
import re
import shutil
import socket
import time
from pathlib import Path

import numpy as np
import pytest
import reports

from kernelviz import Convolution, make_playground, save_playground, work_out
from kernelviz.report.page import report_page

pytestmark = [  # the driver leaves a socket open
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def firefox():
    """A headless Firefox in dark mode."""
    program = next(filter(None, map(shutil.which, ("firefox-esr", "firefox"))), None)
    if program is None:
        pytest.skip("no Firefox: apt-get install --no-install-recommends firefox-esr")
    marionette = pytest.importorskip("marionette_driver.marionette", reason="pip install marionette_driver")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    dark = {"layout.css.prefers-color-scheme.content-override": 0}
    driver = marionette.Marionette(bin=program, headless=True, port=port, prefs=dark, gecko_log=os.devnull)
    driver.start_session()
    yield driver
    driver.quit()


def until(firefox, condition):
    """Wait until a condition of the page is true."""
    for _ in range(200):
        if firefox.execute_script(f"return {condition}"):
            return
        time.sleep(0.05)
    pytest.fail(f"never in Firefox: {condition}")


def problems(firefox, path):
    """What Firefox's console holds about a page, or about a policy."""
    with firefox.using_context("chrome"):
        heard = firefox.execute_script(
            "return Services.console.getMessageArray().map(each => each instanceof Ci.nsIScriptError ? "
            "`${each.sourceName} ${each.errorMessage}` : '')"
        )
    return [each for each in heard if Path(path).name in each and "Layout was forced" not in each]


def test_a_report_is_alive_in_firefox(firefox, tmp_path):
    """A link leads to a unit and its sum, keys to other layers, the page is dark, and nothing is on the console."""
    path = tmp_path / "report.html"
    path.write_text(report_page(reports.make_report()), encoding="utf-8")
    firefox.navigate(f"{path.as_uri()}#stem/4/7,9")
    until(firefox, "document.documentElement.dataset.ready === 'stem'")
    shown = "[document.getElementById('field-text').textContent, getComputedStyle(document.body).backgroundColor]"
    assert firefox.execute_script(f"return {shown}") == ["The unit reads rows 13–15, columns 17–19.", "rgb(18, 20, 22)"]
    value, sum_ = firefox.execute_script(
        "return [document.getElementById('is').textContent, document.querySelector('#sum .value').textContent]"
    )
    assert value == sum_
    assert re.fullmatch(r"−?\d+\.\d{3}", value)
    press = "document.dispatchEvent(new KeyboardEvent('keydown', {{key: '{}'}}))"
    firefox.execute_script(press.format("n"))
    until(firefox, "document.documentElement.dataset.ready === 'blocks.0.dw'")
    firefox.execute_script(press.format("?"))
    assert firefox.execute_script("return document.getElementById('keys').open")
    firefox.execute_script("document.getElementById('keys-close').click(); location.hash = 'blocks.0.pw/4'")
    until(firefox, "document.documentElement.dataset.ready === 'blocks.0.pw'")
    assert firefox.execute_script("return document.getElementById('map-name').textContent") == "4"
    assert problems(firefox, path) == []


def test_a_playground_is_alive_in_firefox(firefox, tmp_path):
    """A number that is typed changes the sum, and nothing is on the console."""
    path = save_playground(
        make_playground(work_out(Convolution(4, 2), np.eye(4), np.ones((2, 2)))), tmp_path / "p.html"
    )
    firefox.navigate(path.as_uri())
    until(firefox, "document.documentElement.dataset.ready === 'playground'")
    result = "document.getElementById('result').textContent"
    assert firefox.execute_script(f"return {result}") == "2"
    firefox.execute_script(
        "const cell = document.querySelector('#input-board input'); cell.value = '2.5'; "
        "cell.dispatchEvent(new Event('input'))"
    )
    assert firefox.execute_script(f"return {result}") == "3.5"
    assert problems(firefox, path) == []

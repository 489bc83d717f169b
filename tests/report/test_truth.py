"""What the page works out itself is what the network computes."""

from __future__ import annotations

import numpy as np
import pytest
from pages import opened

from kernelviz import capture_features, load_model, make_report, read_image, save_report, trace_unit

STEMS = [("tf_efficientnet_lite0", "bundled", "conv_stem"), ("resnet18", "random", "conv1"),
         ("convnext_atto", "random", "stem.0")]  # fmt: skip

SUMS = """places => {
  const maps = document.getElementById("maps"), press = key => maps.dispatchEvent(new KeyboardEvent("keydown", {key}));
  let shown = 0;
  press("Home");
  return places.map(([channel, row, column]) => {
    for (; shown < channel; shown++) press("ArrowRight");
    document.getElementById("row").value = row;
    document.getElementById("column").value = column;
    document.getElementById("column").dispatchEvent(new Event("change"));
    return Number(document.querySelector("#sum .value").dataset.value);
  });
}"""


@pytest.mark.slow
@pytest.mark.parametrize(("name", "weights", "layer"), STEMS)
def test_live_sums_equal_the_network(browser, tmp_path, name, weights, layer):
    """A thousand units of layers that read the image have the value of the network, and that of ``trace_unit``."""
    model, image = load_model(name, weights=weights), read_image("sample:grace_hopper")
    path = save_report(make_report(model, image, layer), tmp_path / "report.html")
    values = capture_features(model, image, layer)[0].values
    random = np.random.default_rng(5)
    sides = (min(16, len(values)), *values.shape[1:])
    places = sorted([int(random.integers(side)) for side in sides] for _ in range(340))
    with opened(browser, path) as page:
        found = np.array(page.evaluate(SUMS, places))
    expected = np.array([values[tuple(place)] for place in places])
    assert np.abs(found - expected).max() <= 1e-5 * max(1.0, np.abs(expected).max())
    for place, value in list(zip(places, found, strict=True))[:5]:
        assert trace_unit(model, image, layer, tuple(place)).value == pytest.approx(value, abs=1e-5)

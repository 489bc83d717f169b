"""What the page works out itself is what the network computes."""

from __future__ import annotations

import numpy as np
import pytest
from pages import opened

from kernelviz import capture_features, load_model, make_report, read_image, save_report, trace_unit
from kernelviz.exploring import POINTWISE_TERMS, TERMS
from kernelviz.network.capture import make_taps
from kernelviz.network.inputs import as_input
from kernelviz.network.terms import run_layers

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
    """340 units of each of three layers that read the image have the value of the network in the page."""
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


@pytest.mark.parametrize(
    "count", [pytest.param(12, id="sample"), pytest.param(1000, id="thousand", marks=pytest.mark.slow)]
)
def test_traced_units_equal_those_of_trace_unit(count):
    """Units at random, with the value and the sums of ``trace_unit``, in every layer that a page of a network shows."""
    model, image = load_model("test_resnet", weights="random"), read_image("sample:grace_hopper")
    given = as_input(model, image, input_size=64)
    random, found = np.random.default_rng(7), []
    plan = make_taps(model, given.size, kind="conv", batch=given.batch)
    each = -(-count // len(plan.taps.taps))

    def on_layer(maps, run):
        at = np.stack([random.integers(side, size=each) for side in maps.values.shape], axis=1)
        at = at[np.argsort(at[:, 0], kind="stable")]
        found.append((maps.layer, run.terms(at, POINTWISE_TERMS if max(run.record.kernel_size) == 1 else TERMS)))

    run_layers(plan, given, on_layer)
    assert sum(len(units.at) for _, units in found) >= count
    for layer, units in found:
        for number, at in enumerate(units.at.tolist()):
            unit = trace_unit(model, image, layer, tuple(at), input_size=64)
            assert unit.value == units.values[number]
            sums = dict(zip(unit.numbers, (unit.window * unit.kernel).sum(axis=(1, 2)), strict=True))
            assert units.sums[number] == pytest.approx([sums[term] for term in units.numbers[number]], abs=1e-12)
            kept = len(units.numbers[number])
            strongest = sorted(map(abs, sums.values()), reverse=True)[:kept]
            assert np.abs(units.sums[number]) == pytest.approx(strongest, abs=1e-5)

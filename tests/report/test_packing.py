"""The index and the blocks of a report hold exactly what the report holds."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import reports
from report_blocks import unpacked, unpacked_pixels

from kernelviz.report.packing import json_text, packed, units_text


@pytest.mark.parametrize("images", [1, 3])
def test_a_block_holds_the_levels_of_the_layer(images):
    """Unpacked kernels, maps, weights and photographs are bitwise those of the report."""
    report = reports.make_report(images)
    index, blocks = packed(report)
    index = json.loads(json_text(index))
    for layer, entry in zip(report.layers, index["layers"], strict=True):
        found = unpacked(entry, blocks[entry["block"]], images)
        assert all(np.array_equal(maps.levels, each) for maps, each in zip(layer.maps, found["maps"], strict=True))
        if layer.kernels:
            assert np.array_equal(found["kernels"], layer.kernels.levels)
        if layer.live:
            assert np.array_equal(found["weights"], layer.live.weights)
            assert np.array_equal(found["bias"], layer.live.bias)
        assert len(found.get("units", ())) == sum(len(each.at) for each in layer.units)
    for image, entry in zip(report.images, index["images"], strict=True):
        assert np.array_equal(unpacked_pixels(entry, blocks[entry["block"]]), image.pixels)


def test_the_first_layer_and_the_photographs_come_first():
    """What the first view needs is in front of the other blocks."""
    assert list(packed(reports.make_report(2))[1])[:4] == ["l0", "p0", "p1", "l1"]


def test_the_terms_of_a_unit_add_up_to_its_value():
    """Terms, rest and bias of a stored unit add up to its value, and the factors of a term to its sum."""
    report = reports.make_report()
    index, blocks = packed(report)
    entry = index["layers"][2]
    for unit in unpacked(entry, blocks["l2"])["units"]:
        total = sum(term["sum"] for term in unit["terms"]) + unit["rest"] + (unit["bias"] or 0)
        assert total == pytest.approx(unit["value"], abs=1e-5)
        for term in unit["terms"]:
            assert np.dot(term["window"], term["kernel"]) == pytest.approx(term["sum"], abs=1e-3)


def test_numbers_are_short_and_valid_json():
    """Limits have the shortest digits of their float32, and what is not finite is null."""
    report = reports.make_report()
    text = json_text(packed(report)[0])
    json.loads(text, parse_constant=pytest.fail)
    assert max(len(str(limit)) for limit in json.loads(text)["layers"][1]["maps"][0]["limits"]) <= 12
    assert json_text({"a": float("nan"), "b": [np.inf.__float__()]}) == '{"a":null,"b":[null]}'


def test_an_infinite_number_of_a_unit_keeps_its_sign():
    """±∞ are read back as ±∞, from the factors too, and NaN is null; the text is still JSON."""
    report = reports.make_report()
    units = report.layers[1].units[0]
    kernels, values = units.kernels.copy(), units.values.copy()
    kernels[0, 0, 0, :3], values[0] = (np.inf, -np.inf, np.nan), -np.inf
    text = units_text([replace(units, kernels=kernels, values=values)])
    unit = json.loads(text, parse_constant=pytest.fail)[0]
    assert unit["value"] == -np.inf
    assert unit["terms"][0]["kernel"][:3] == [np.inf, -np.inf, None]


def test_names_cannot_leave_the_index():
    """No name closes the element that the index is in, or ends a line of script."""
    text = json_text(packed(reports.make_report(names=reports.HOSTILE))[0])
    assert "<" not in text
    assert text.isascii()


def test_a_layer_that_does_not_fit_is_rejected():
    """Arrays of another shape than the layer states are a fault of the program."""
    layer = reports.make_report().layers[1]
    with pytest.raises(ValueError, match="array must be"):
        replace(layer, shown=layer.shown[:-1])
    with pytest.raises(ValueError, match="ascending"):
        replace(layer, shown=(9, *layer.shown[1:]))

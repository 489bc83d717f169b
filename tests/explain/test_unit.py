"""The numbers on the page of a traced unit are those of the trace."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from traced_units import UNITS, make_unit, pooled_unit

from kernelviz.drawing.page import Text
from kernelviz.explain.unit_pages import kernel_and_map_page, unit_page
from kernelviz.explain.unit_texts import SHOWN
from kernelviz.records import Weights


def texts(page):
    """Every text of a page, and how often it occurs."""
    return Counter(item.text for item in page.items if isinstance(item, Text))


def number(text):
    """The number of a text; None if it is none."""
    try:
        return float(text.replace("−", "-").replace(",", ""))
    except ValueError:
        return None


def places(text):
    """The number of decimals."""
    return len(text.partition(".")[2])


def check_numbers(page, values, least=1):
    """Each value is on the page, rounded to the decimals of its text."""
    shown = texts(page)
    numbers = [(text, number(text), count) for text, count in shown.items() if number(text) is not None]
    for value in np.ravel(values):
        near = [count for text, found, count in numbers if abs(found - value) <= 0.5000001 * 10.0 ** -places(text)]
        assert sum(near) >= least, value


def bold(page):
    """The bold numbers in the order of the page, with their decimals."""
    found = [item for item in page.items if isinstance(item, Text) and item.bold and number(item.text) is not None]
    return [(item.y, number(item.text), places(item.text)) for item in sorted(found, key=lambda item: item.y)]


@pytest.mark.parametrize("name", ["image", "image, corner", "grouped", "two channels", "depthwise", "depthwise, 3 × 3"])
def test_written_out_numbers_are_the_units(name):
    """Window, kernel, products, sums and the total of few channels are on the page, and the value of the network."""
    unit = UNITS[name]()
    page = unit_page(unit)
    for values in (unit.window, unit.kernel, unit.products, unit.total):
        check_numbers(page, values)
    if len(unit.numbers) > 1:
        check_numbers(page, unit.sums)
    if unit.bias is not None:
        (text,) = [text.removeprefix("Σ + ").removesuffix("  =") for text in texts(page) if "bias " in text]
        assert number(text.removeprefix("bias ")) == pytest.approx(unit.bias, abs=0.5 * 10.0 ** -places(text))
    caption = " ".join(texts(page))
    told = caption.partition("value in the network: ")[2].split()[0]
    assert number(told) == pytest.approx(unit.value, rel=1e-4)


@pytest.mark.parametrize("name", ["dense", "dense, seven", "dense, few", "pointwise", "very many channels"])
def test_the_waterfall_adds_up(name):
    """The sums of the channels shown, of the others together and the bias are the trace's, and add up to its total."""
    unit = UNITS[name]()
    page = unit_page(unit)
    order = unit.strongest(SHOWN)
    assert all(f"{unit.numbers[place]:,}" in texts(page) for place in order)
    shown = [value for _, value, _ in bold(page)]
    rest = sum(float(unit.sums[place]) for place in range(len(unit.numbers)) if place not in set(order))
    parts = [float(unit.sums[place]) for place in order]
    parts += [rest] if len(order) < len(unit.numbers) else []
    parts += [unit.bias] if unit.bias is not None else []
    step = 0.5000001 * 10.0 ** -max(decimals for _, _, decimals in bold(page))
    found = shown[-len(parts) - 1 :]
    np.testing.assert_allclose(found, [*parts, unit.total], atol=step, rtol=0)
    assert sum(found[:-1]) == pytest.approx(found[-1], abs=(len(found) + 1) * step)


@pytest.mark.parametrize(("channels", "kernel"), [(1, (3, 3)), (3, (3, 3)), (9, (1, 1))])
def test_tiny_numbers_are_written_with_a_power_of_ten(channels, kernel):
    """No cell is left without its number because this has many zeros: the heading has the power of ten."""
    unit = make_unit(channels, kernel, size=(14, 14), scale=3e-8)
    page = unit_page(unit)
    order = unit.strongest(SHOWN)
    for values in (unit.window, unit.kernel):
        shown = values[list(order)]
        power = int(np.floor(np.log10(np.abs(shown).max())))
        assert texts(page)[f"× 10{str(power).translate(str.maketrans('-0123456789', '⁻⁰¹²³⁴⁵⁶⁷⁸⁹'))}"] >= 1
        check_numbers(page, shown / 10.0**power)


def test_numbers_with_three_decimals_are_written_with_a_power_of_ten():
    """Three decimals do not fit cells of several channels: the numbers keep their place, divided by a power of ten."""
    unit = make_unit(3)
    window, kernel = (0.08 * values / np.abs(values).max() for values in (unit.window, unit.kernel))
    unit = replace(unit, window=window, kernel=kernel, value=float((kernel * window).sum()))
    page = unit_page(unit)
    assert texts(page)["× 10⁻²"] >= 1
    check_numbers(page, window * 100)


@pytest.mark.parametrize("largest", [0.0012, 0.0099])
def test_small_numbers_have_more_than_one_digit(largest):
    """Below 0.01 three decimals would leave one digit, also in the wide cells of one channel: a power of ten is used."""
    unit = make_unit(1)
    kernel = largest * unit.kernel / np.abs(unit.kernel).max()
    unit = replace(unit, kernel=kernel, value=float((kernel * unit.window).sum()))
    page = unit_page(unit)
    assert texts(page)["× 10⁻³"] >= 1
    check_numbers(page, np.round(kernel * 1000, 2))


def test_long_sums_leave_room_for_the_numbers_of_the_cells():
    """The products of a flat part of an image nearly cancel: sums have many decimals, and no cell loses its number."""
    unit = make_unit(image=True)
    kernel = unit.kernel - unit.kernel.mean((1, 2), keepdims=True) - np.array([0.006, 0.002, -0.007])[:, None, None]
    window = np.full_like(unit.window, 0.52)
    unit = replace(unit, kernel=kernel, window=window, value=float((kernel * window).sum()))
    page = unit_page(unit)
    assert any(places(text) == 5 and text.startswith("−") for text in texts(page) if number(text))
    assert texts(page)["0.52"] == window.size
    check_numbers(page, kernel)


def test_a_product_is_a_value_times_a_weight():
    """For a pointwise convolution each row has the value, the weight and their product."""
    unit = make_unit(9, (1, 1), size=(14, 14))
    page = unit_page(unit)
    for place in unit.strongest(4):
        check_numbers(page, [unit.window[place], unit.kernel[place], unit.products[place]])


@pytest.mark.parametrize("page", [unit_page, kernel_and_map_page])
@pytest.mark.parametrize("make", [UNITS["image"], pooled_unit])
def test_pages_name_bundled_weights_shortly(make, page):
    """Pages of convolutions and of pools have the label of pictures; recipes have the package and its version."""
    unit = make()
    weights = Weights("bundled", "package 0.1.0")
    unit = replace(unit, source=replace(unit.source, label="net, bundled weights (package 0.1.0)", weights=weights))
    made = page(unit)
    shown = " ".join([*texts(made), made.parts().source])
    assert "net, bundled weights" in shown
    assert "package" not in shown

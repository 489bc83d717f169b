"""The units that excite a channel most: the same as by brute force, in one order, whatever adds them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from patch_maps import as_lists, brute_force, make_field, make_maps, many_maps

import kernelviz as kv
from kernelviz.errors import UsageError
from kernelviz.records import AxisField, Field
from kernelviz.views.patches import PatchTally, end_text, irregularities, ties_text

RANKINGS = ("values", "places", "boxes", "units", "shared")


def tallied(every, numbers=None, **choices):
    """A tally of maps, with these numbers."""
    tally = PatchTally(**choices)
    for at, maps in enumerate(every):
        tally.add(maps, None if numbers is None else numbers[at])
    return tally


def check_equal(one, other):
    """All numbers of two results are equal."""
    for first, second in zip(one.rankings, other.rankings, strict=True):
        for name in RANKINGS:
            np.testing.assert_array_equal(getattr(first, name), getattr(second, name), name)
    for name in ("mean", "deviation", "smallest", "largest", "nonfinite"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), name)
    assert (one.images, one.digests, one.border) == (other.images, other.digests, other.border)


@pytest.mark.parametrize("levels", [None, 1, 2])
@pytest.mark.parametrize("per_image", [1, 3])
def test_the_patches_are_those_of_brute_force(levels, per_image):
    """Sorting all units of all images gives the same values and places, also where most values are equal."""
    every = list(many_maps(7, levels=levels))
    found = tallied(every, patches=5, per_image=per_image, lowest=True).result()
    for ranking, sign in zip(found.rankings, (1, -1), strict=True):
        assert as_lists(ranking) == brute_force(every, 5, per_image=per_image, sign=sign)


def test_several_patches_of_an_image_are_half_a_field_apart():
    """A unit is left out only if it is nearer than half a field along both axes."""
    field = make_field(8, 32, size=16, jump=4)
    every = list(many_maps(3, field=field))
    found = tallied(every, patches=6, per_image=4).result()
    assert as_lists(found.highest) == brute_force(every, 6, per_image=4, apart=(2, 2))


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_images_and_of_merging_changes_nothing(seed):
    """Images in any order, in any number of tallies merged in any order, give equal arrays, equal values included."""
    numbers = np.random.default_rng(seed)
    every = list(many_maps(9, levels=2))
    whole = tallied(every, lowest=True).result()
    order = numbers.permutation(9)
    parts = [tallied([every[at] for at in part], part, lowest=True) for part in np.array_split(order, 4)]
    merged = PatchTally(lowest=True)
    for at in numbers.permutation(4):
        merged.merge(parts[at])
    check_equal(merged.result(), whole)


def test_an_image_with_the_same_bytes_is_counted_once_in_any_order():
    """The one that is first among all images is counted, the other is named."""
    first, second, third = many_maps(3)
    again = replace(first, image=replace(first.image, name="again.png"))
    for order in ((0, 1, 2, 3), (3, 2, 1, 0), (1, 3, 0, 2)):
        every = [first, second, again, third]
        found = tallied([every[at] for at in order], order).result()
        assert found.duplicates == ("again.png",)
        assert found.images == ("image-0.png", "image-1.png", "image-2.png")
        check_equal(found, tallied([first, second, third]).result())


def test_a_copy_at_an_earlier_place_brings_in_units_that_were_dropped():
    """Of equal values the first images are kept, also if a later image, whose units were left out, has an earlier copy."""
    every = list(many_maps(6, levels=1))
    again = replace(every[5], image=replace(every[5].image, name="again.png"))
    found = tallied([*every, again], [1, 2, 3, 4, 5, 6, 0], patches=3, per_image=2, lowest=True).result()
    expected = tallied([again, *every[:5]], patches=3, per_image=2, lowest=True).result()
    check_equal(replace(found, duplicates=()), expected)
    assert found.duplicates == ("image-5.png",)
    assert (found.places[..., 0] == 0).any()


def test_maps_of_any_numbers_are_ranked():
    """Integers, booleans and half precision are ranked by their values; one image in float64 keeps its precision."""
    numbers = np.arange(32).reshape(2, 4, 4)
    for dtype in (np.int64, np.uint8, np.float16):
        found = tallied([make_maps(numbers.astype(dtype), 0)], lowest=False).result()
        assert found.values[:, 0].tolist() == [15, 31]
    assert tallied([make_maps(numbers > 20, 0)]).result().values[1, 0] == 1
    single, double = make_maps((numbers / 3).astype(np.float32), 0), make_maps(numbers / 7, 1)
    for order in ((0, 1), (1, 0)):
        found = tallied([(single, double)[at] for at in order], order, patches=2).result()
        assert found.values[1].tolist() == [np.float32(31 / 3), 31 / 7]


def test_the_place_of_an_image_is_bounded():
    """A place that no unit can be numbered by is rejected, not an overflow of NumPy."""
    maps = next(many_maps(1))
    assert tallied([maps], [2**31 - 1]).result().images == ("image-0.png",)
    for place in (-1, 2**31):
        with pytest.raises(UsageError, match="number from 0 to 2,147,483,647"):
            tallied([maps], [place])


def test_equal_best_values_are_counted_with_their_images():
    """How many units share the best value, and how many images have one."""
    values = np.zeros((2, 4, 4), np.float32)
    values[0, 1, 1] = values[0, 2, 3] = 2
    values[1, 0, 0] = 1
    other = values.copy()
    other[1, 0, 0] = 3
    found = tallied([make_maps(values, 0), make_maps(other, 1)]).result()
    assert found.highest.units.tolist() == [4, 1]
    assert found.highest.shared.tolist() == [2, 1]
    assert found.places[0].tolist()[:2] == [[0, 1, 1], [1, 1, 1]]
    assert found.places[1].tolist()[:2] == [[1, 0, 0], [0, 0, 0]]


def test_a_row_ends_before_the_smallest_value_of_the_channel():
    """Behind a ReLU a unit that is 0 is no excitation, and a channel that is 0 everywhere is dead and has no patch."""
    values = np.zeros((3, 4, 4), np.float32)
    values[0, 3, 3] = 1
    found = tallied([make_maps(values, 0), make_maps(np.zeros_like(values), 1)]).result()
    assert found.highest.counts.tolist() == [1, 0, 0]
    assert np.isnan(found.values[0, 1:]).all()
    assert (found.places[0, 1:] == -1).all()
    assert found.dead.tolist() == [False, True, True]
    assert found.prominent(3) == (0,)


def test_values_that_are_not_finite_never_win_and_are_counted():
    """NaN and both infinities are left out of patches, means and extremes."""
    every = list(many_maps(3))
    broken = [maps.values.copy() for maps in every]
    broken[0][0, :3, :3], broken[1][1], broken[2][2, 0, 0], broken[2][2, 1, 1] = np.nan, np.nan, np.inf, -np.inf
    changed = [replace(maps, values=values) for maps, values in zip(every, broken, strict=True)]
    found = tallied(changed, lowest=True).result()
    assert found.nonfinite.tolist() == [9, 64, 2, 0, 0]
    for ranking, sign in zip(found.rankings, (1, -1), strict=True):
        assert as_lists(ranking) == brute_force(changed, 8, sign=sign)
    everything = [replace(maps, values=np.full_like(maps.values, np.nan)) for maps in every]
    assert not tallied(everything).result().highest.counts.any()


def test_the_statistics_are_those_of_numpy():
    """Mean and deviation of all values, to float32."""
    every = list(many_maps(5))
    found = tallied(every).result()
    stacked = np.stack([maps.values for maps in every]).astype(np.float64)
    np.testing.assert_allclose(found.mean, stacked.mean(axis=(0, 2, 3)), atol=1e-6)
    np.testing.assert_allclose(found.deviation, stacked.std(axis=(0, 2, 3)), rtol=1e-5)


@pytest.mark.parametrize(
    ("mean", "deviation", "units"), [(100, 0.1, 40), (-1000, 1, 1), (1e-23, 1e-23, 8), (1e-30, 0, 8), (0.5, 1, 300)]
)
def test_the_deviation_is_not_lost_in_rounding(mean, deviation, units):
    """A channel far from 0, tiny values and large maps have the deviation and the mean of double precision too."""
    numbers = np.random.default_rng(0)
    every = [
        make_maps((mean + deviation * numbers.standard_normal((2, units, units))).astype(np.float32), number)
        for number in range(3)
    ]
    found = tallied(every).result()
    stacked = np.stack([maps.values for maps in every]).astype(np.float64)
    np.testing.assert_allclose(found.mean, stacked.mean(axis=(0, 2, 3)), rtol=1e-6)
    np.testing.assert_allclose(found.deviation, stacked.std(axis=(0, 2, 3)), rtol=1e-5, atol=1e-8 * abs(mean))


def test_rounding_of_a_constant_makes_no_channel_prominent():
    """A channel that varies in its last bits alone does not precede one that varies."""
    values = np.random.default_rng(0).standard_normal((2, 16, 16)).astype(np.float32)
    values[0] = 0.7
    values[0, 3, 5] = np.nextafter(np.float32(0.7), np.float32(1))
    found = tallied([make_maps(values, 0)]).result()
    assert 0 < found.deviation[0] < 1e-7
    assert found.prominent(2) == (1,)


def test_zero_has_no_sign():
    """The extremes of a channel with 0 and -0.0 do not depend on which was added first."""
    plus = np.zeros((1, 2, 2), np.float32)
    for each in ((plus, -plus), (-plus, plus)):
        found = tallied([make_maps(values, number) for number, values in enumerate(each)]).result()
        assert not np.signbit([found.smallest[0], found.largest[0]]).any()


def test_inside_takes_units_whose_whole_field_is_in_the_image():
    """No box reaches beyond the image, and the others are as by brute force; a field larger than the image is refused."""
    every = list(many_maps(4))
    found = tallied(every, inside=True).result()
    boxes = found.highest.boxes[found.places[..., 0] >= 0]
    assert boxes.min() >= 0
    assert boxes.max() < 32
    inner = [replace(maps, values=np.where(_inner(maps), maps.values, -np.inf)) for maps in every]
    expected = [[unit for unit in units if np.isfinite(unit[0])] for units in brute_force(inner, 8)]
    found = as_lists(found.highest)
    assert [units[: len(some)] for units, some in zip(found, expected, strict=True)] == expected
    large = make_field(8, 32, size=40, jump=4)
    with pytest.raises(UsageError, match=r"(?s)No receptive field of layer1 is inside the image\..*40 × 40 px"):
        tallied([make_maps(every[0].values, 0, field=large)], inside=True)


def _inner(maps):
    first = -3 + 4 * np.arange(maps.values.shape[1])
    line = (first >= 0) & (first + 6 < 32)
    return line[:, None] & line


def test_the_border_share_counts_outermost_units():
    """Of the units and of the chosen ones."""
    values = np.zeros((1, 4, 4), np.float32)
    values[0, 0, 2], values[0, 1, 1] = 2, 1
    found = tallied([make_maps(values, 0)], patches=2, per_image=2).result()
    assert found.border == (12 / 16, 0.5)


@pytest.mark.parametrize("padding", [0, 1])
def test_an_effect_of_padding_needs_padding(padding):
    """Border units that are chosen most often are attributed to padding only if some of them read it."""
    network, image = torch.nn.Conv2d(1, 1, 3, padding=padding), torch.ones(1, 16, 16)
    torch.nn.init.constant_(network.weight, -1)
    image[0, 0, 0] = 0
    tally = PatchTally()
    kv.capture_many(network, [image], on_map=tally.add)
    found = tally.result()
    assert found.border[1] == 1
    assert any("padding" in line for line in irregularities(found, [0])) == bool(padding)


def test_boxes_are_those_of_the_receptive_field_beyond_the_border():
    """Offset, jump and size give first and last row and column, as if the image had no border."""
    values = np.zeros((1, 8, 8), np.float32)
    values[0, 0, 3] = 1
    found = tallied([make_maps(values, 0)]).result()
    assert found.highest.boxes[0, 0].tolist() == [-3, 3, 9, 15]
    crop = found.cut((0, 0, 3), np.arange(32 * 32 * 3, dtype=np.uint32).reshape(32, 32, 3) % 251)
    assert (crop.box, crop.inside, crop.pixels.shape) == ((-3, 3, 9, 15), (0, 3, 9, 15), (4, 7, 3))


def uneven():
    """Fields that are not evenly spaced."""
    axis = AxisField(np.array([0, 3, 9, 10]), np.array([5, 9, 12, 31]), 22, None, None)
    return Field((axis, axis))


def test_without_known_spacing_the_part_inside_is_cut():
    """Only one patch of an image can be chosen then, and what is beyond the border is not known."""
    values = np.zeros((1, 4, 4), np.float32)
    values[0, 2, 3] = 1
    maps = make_maps(values, 0, field=uneven())
    found = tallied([maps]).result()
    assert (found.highest.boxes[0, 0].tolist(), found.exact) == ([9, 12, 10, 31], False)
    with pytest.raises(UsageError, match="only one unit of each image"):
        tallied([maps], per_image=2)


def test_what_cannot_be_is_refused():
    """An unknown field with its reason, lowest values of a ReLU, numbers used twice, tallies that do not fit."""
    first, second = many_maps(2)
    with pytest.raises(UsageError, match=r"not known\.\sRows were shuffled\."):
        PatchTally().add(replace(first, field=None, lost="rows were shuffled"))
    with pytest.raises(UsageError, match=r"not known\.\sAdd maps of `capture_many`"):
        PatchTally().add(np.zeros((3, 4, 4)))
    rectified = replace(first, values=np.maximum(first.values, 0))
    with pytest.raises(UsageError, match=r"no lowest patches\.\sIts smallest value is 0"):
        tallied([rectified], lowest=True).result()
    with pytest.raises(UsageError, match="number 0 already"):
        tallied([first, second], (0, 0))
    with pytest.raises(UsageError, match="the number 0"):
        tallied([first]).merge(tallied([second]))
    with pytest.raises(UsageError, match="Both tallies have the image image-0"):
        tallied([first]).merge(tallied([first], (5,)))
    with pytest.raises(UsageError, match="equal settings"):
        PatchTally().merge(PatchTally(3))
    with pytest.raises(UsageError, match="5 channels before, but now it has 2"):
        tallied([first, replace(second, values=second.values[:2])])
    with pytest.raises(UsageError, match="No maps"):
        PatchTally().result()
    for wrong in ((0,), (8, 0), (65,)):
        with pytest.raises(UsageError):
            PatchTally(*wrong)


def photographs():
    """Overlapping crops of one photograph."""
    pixels = kv.read_image("sample:grace_hopper").pixels
    return [
        kv.read_image(pixels[top : top + 300, left : left + 300], name=f"{top}-{left}")
        for top in (0, 150, 300)
        for left in (0, 106, 212)
    ]


LAYERS = {
    "test_resnet": ["conv1.0", "conv1.1", "layer1", "layer2.0.conv1", "layer3", "layer4"],
    "tf_efficientnet_lite0": ["conv_stem", "blocks.1.1.conv_dw", "blocks.2.1.conv_dw", "blocks.3.2.conv_dw",
                              "blocks.4.1.conv_dw"],
}  # fmt: skip


@pytest.mark.parametrize("name", ["test_resnet", pytest.param("tf_efficientnet_lite0", marks=pytest.mark.slow)])
@pytest.mark.parametrize("batch_size", [1, pytest.param(4, marks=pytest.mark.slow)])
def test_the_patches_of_a_network_are_those_of_its_stored_maps(name, batch_size, tiny, bundled):
    """On five layers and more no channel differs from brute force over the stored maps."""
    network = tiny if name == "test_resnet" else bundled
    tallies = {layer: PatchTally(lowest=layer != "layer1") for layer in LAYERS[name]}
    stored = {layer: [] for layer in tallies}

    def add(maps):
        tallies[maps.layer].add(maps)
        stored[maps.layer].append(maps)

    kv.capture_many(network, photographs(), LAYERS[name], on_map=add, batch_size=batch_size, input_size=96)
    for layer, tally in tallies.items():
        try:
            found = tally.result()
        except UsageError:  # no lowest values behind a ReLU
            assert min(maps.values.min() for maps in stored[layer]) == 0
            continue
        for ranking, sign in zip(found.rankings, (1, -1), strict=False):
            assert as_lists(ranking) == brute_force(stored[layer], 8, sign=sign), layer


HOPPER = {
    "conv_stem": {
        8: (9.552309, (87, 49), (174, 98)), 15: (6.895821, (69, 73), (138, 146)), 22: (9.806430, (72, 73), (144, 146)),
    },
    "blocks.1.1.conv_dw": {0: (1.571074, (55, 38), None)},
    "blocks.2.1.conv_dw": {
        149: (5.961650, (20, 15), (134, 94)), 209: (3.514341, (18, 24), (118, 166)), 228: (3.181617, (16, 20), (102, 134)),
    },
}  # fmt: skip
LOWEST = {("conv_stem", 15): (-7.175041, (66, 40)), ("blocks.2.1.conv_dw", 149): (-5.324567, (15, 2))}


def test_the_patches_of_a_photograph_have_the_measured_values(bundled):
    """The best values, units and upper left corners of EfficientNet-Lite0 for matplotlib's photograph."""
    image = kv.read_image("sample:grace_hopper")
    for maps in kv.capture_features(bundled, image, list(HOPPER)):
        found = tallied([maps], lowest=True).result()
        for channel, (value, unit, corner) in HOPPER[maps.layer].items():
            assert found.values[channel, 0] == pytest.approx(value, abs=2e-5)
            assert tuple(found.places[channel, 0]) == (0, *unit)
            if corner is not None:
                assert tuple(found.highest.boxes[channel, 0, [0, 2]]) == corner
        for (layer, channel), (value, unit) in LOWEST.items():
            if layer == maps.layer:
                assert found.lowest.values[channel, 0] == pytest.approx(value, abs=2e-5)
                assert tuple(found.lowest.places[channel, 0]) == (0, *unit)
        if maps.layer == "blocks.2.1.conv_dw":
            assert found.sizes == (67, 67)


def test_maps_of_another_layer_are_rejected():
    """Maps of several layers are not mixed in one tally."""
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3, padding=1), torch.nn.Conv2d(4, 4, 3, padding=1))
    tally = PatchTally()
    for maps in kv.capture_features(network, torch.randn(3, 9, 9), "0"):
        tally.add(maps)
    (other,) = kv.capture_features(network, torch.randn(3, 9, 9), "1")
    with pytest.raises(UsageError, match="got maps of 1 after those of 0"):
        tally.add(other)


def test_units_that_read_the_opposite_border_are_stated():
    """Behind circular padding a unit at the border reads more than its patch shows; other padding repeats what it shows."""
    for mode, stated in (("circular", True), ("reflect", False), ("zeros", False)):
        network = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3, padding=1, padding_mode=mode))
        image = torch.zeros(1, 9, 9)
        image[0, 0] = image[0, -1] = 1.0
        with torch.no_grad():
            network[0].weight.fill_(1.0)
        (maps,) = kv.capture_features(network, image, "0")
        tally = PatchTally(2)
        tally.add(maps)
        assert any("opposite border" in note for note in tally.result().notes) == stated


def test_a_channel_without_finite_values_states_it():
    """Its row is empty, for another reason than that of a dead channel."""
    network = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3))
    with torch.no_grad():
        network[0].weight[1] = torch.nan
    tally = PatchTally(2)
    tally.add(kv.capture_features(network, torch.randn(1, 9, 9), "0")[0])
    found = tally.result()
    assert (end_text(found, found.highest, 1), end_text(found, found.highest, 0)) == ("no value is finite", "")


@pytest.mark.parametrize(("patches", "text"), [(1, "the first is drawn"), (2, "2 are drawn"), (3, "all are drawn")])
def test_the_text_of_ties_states_how_many_are_drawn(patches, text):
    """Equal best values of several images are drawn beside each other, as far as there are columns."""
    network = torch.nn.Sequential(torch.nn.Conv2d(1, 1, 1))
    tally = PatchTally(patches)
    for at in range(3):
        image = torch.zeros(1, 4, 4)
        image[0, 1, at] = 1.0
        with torch.no_grad():
            network[0].weight.fill_(1.0)
        tally.add(kv.capture_features(network, image, "0")[0])
    found = tally.result()
    assert ties_text(found.highest, 0).endswith(f"in 3 units, in 3 images: {text}")

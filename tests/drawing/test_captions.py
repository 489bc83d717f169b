from dataclasses import replace

import numpy as np
import pytest

from kernelviz.drawing.captions import layer_text
from kernelviz.drawing.sheets import make_sheet


def test_title_and_identity_say_what_it_is(new_bank):
    """The title has the layer's full name; the identity the weights, the settings and the shape."""
    sheet = make_sheet(new_bank((32, 3, 3, 3), name="layer1.0.conv1"))
    assert sheet.title == "Kernels of layer1.0.conv1, as RGB"
    assert sheet.identity == "resnet18, random weights (seed 0)  ·  Conv2d 3 → 32, 3 × 3  ·  weight (32, 3, 3, 3)"
    assert make_sheet(new_bank(), view="channels").title.endswith(", channel by channel")
    assert make_sheet(new_bank((3, 8, 3, 3)), view="matrix").title.endswith(", input by input")
    assert make_sheet(new_bank(), view="sum").title.endswith(", summed over channels")
    assert make_sheet(new_bank(), view="norm").title.endswith(", norm over channels")
    assert make_sheet(new_bank(), view="spectrum").title.endswith(", frequency responses")


def test_equal_pictures_have_equal_titles(new_bank):
    """A matrix of more kernels than inputs is the view channels; its title is the same, and the caption states it."""
    matrix, channels = (make_sheet(new_bank((32, 3, 3, 3)), view=view) for view in ("matrix", "channels"))
    assert np.array_equal(matrix.tiles.values, channels.tiles.values)
    assert matrix.title == channels.title
    assert "as in the view channels" in " ".join(matrix.caption)


def test_no_view_is_named_where_nothing_is_summed(new_bank):
    """A kernel that reads one channel is drawn as it is: neither title nor caption speaks of a sum."""
    for bank in (new_bank((32, 1, 3, 3), groups=32), new_bank((4, 1, 3, 3))):
        sheet = make_sheet(bank, view="sum")
        assert sheet.title == f"Kernels of {bank.layer.name}"
        assert "sum" not in " ".join(sheet.caption).lower()
    assert make_sheet(new_bank((4, 1, 3, 3)), view="norm").title.endswith(", magnitudes of weights")


def test_a_plain_weight_has_a_title_and_its_shape():
    """Without a layer the page contains the kernels' shape only."""
    sheet = make_sheet(np.ones((4, 2, 3, 3)))
    assert (sheet.title, sheet.identity) == ("Kernels, summed over channels", "weight (4, 2, 3, 3)")


def test_settings_are_named_where_they_are_unusual(new_bank):
    """Stride, dilation and groups are stated if they are not one; a depthwise layer is called depthwise."""
    layer = new_bank((8, 2, 3, 5), groups=4).layer
    assert layer_text(layer) == "Conv2d 8 → 8, 3 × 5, 4 groups"
    assert layer_text(replace(layer, stride=(2, 2), dilation=(1, 3))).endswith("stride 2, dilation 1 × 3")
    depthwise = new_bank((1200, 1, 5, 5), groups=1200).layer
    assert layer_text(depthwise) == "depthwise Conv2d, 1,200 channels, 5 × 5"


def test_a_caption_keeps_its_order(new_bank, odd_weight):
    """A caption states the view and n of m, then the scale, then irregularities with counts and numbers."""
    sheet = make_sheet(new_bank(weight=odd_weight), scale=(-1.0, 1.0))
    outside = int((np.abs(odd_weight[np.isfinite(odd_weight)]) > 1).sum())
    assert sheet.caption == (
        "One tile per kernel  ·  16 of 16 kernels",
        f"Requested colour scale: −1.00 to +1.00  ·  {outside} of 400 values are outside the colour scale and clipped",
        "27 of 400 values are not finite (chequered), in 3 kernels with a black frame: 5, 9, 12",
        (
            "1 kernel is as good as zero, struck through: 3  ·  1 kernel is faint, below 5 % of full colour: 11  ·  "
            "1 kernel is constant: 6"
        ),
    )
    assert sheet.notes == (
        f"{outside} of 400 values are outside the colour scale and clipped",
        *sheet.caption[2:],
    )


def test_a_limit_is_named_only_where_there_is_one(new_bank, odd_weight):
    """With a range for each tile there is no common limit: what is faint is so beside the largest of the layer."""
    bank = new_bank(weight=odd_weight)
    words = " ".join(make_sheet(bank, scale="tile").caption)
    assert "of full colour" not in words
    assert "below 5 % of the largest weight of the layer: 11" in words
    assert "below 5 % of full colour: 11" in " ".join(make_sheet(bank, scale="layer").caption)


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        (
            {},
            (
                "Mid-grey is 0, full colour is the largest absolute weight of each tile, "
                "so colours are not comparable between tiles"
            ),
        ),
        ({"scale": "layer"}, "One colour scale for the whole layer: mid-grey is 0, full colour is ±2.00"),
        ({"view": "channels"}, "One colour scale for the whole layer: ±2.00"),
        ({"view": "norm"}, "One colour scale for the whole layer: 0 to 3.46"),
        (
            {"view": "sum", "scale": "tile"},
            "Full colour is the largest absolute value of each tile, so colours are not comparable between tiles",
        ),
        ({"view": "sum", "scale": (-9.0, 9.0)}, "Requested colour scale: −9.00 to +9.00"),
    ],
    ids=str,
)
def test_the_caption_states_the_scale_with_its_limit(choice, said):
    """The caption states the kind of range, its limit, and whether tiles compare."""
    weight = np.array([2.0, -1.0]).reshape(2, 1, 1, 1).repeat(3, axis=1)
    assert said in make_sheet(weight, **choice).caption


def test_a_layer_of_zeros_is_reported():
    """If there is no limit, the scale states that every value is 0."""
    assert "Every value is 0" in make_sheet(np.zeros((2, 1, 2, 2))).caption


def test_sorted_and_chosen_kernels_are_counted():
    """The counts and the order are stated; a choice is part of the notes, all kernels are not."""
    weight = np.random.default_rng(0).standard_normal((64, 2, 3, 3))
    sheet = make_sheet(weight, top=5, sort="std")
    assert "5 of 64 kernels, sorted by std, largest first" in sheet.caption[0]
    assert sheet.notes[0] == "5 of 64 kernels, sorted by std, largest first"
    assert make_sheet(weight).notes == ()


def test_the_caption_of_a_bank_ends_with_its_notes(new_bank):
    """The notes of a bank are last in the caption and in the notes."""
    bank = replace(new_bank(), notes=("weight standardised",))
    sheet = make_sheet(bank)
    assert (sheet.caption[-1], sheet.notes[-1]) == ("weight standardised", "weight standardised")


def test_rgb_names_the_view_for_colour_blind_readers(new_bank):
    """A caption of red against green names the view that goes without it."""
    assert "view channels" in make_sheet(new_bank()).caption[0]


def test_a_sum_of_zero_is_not_called_a_dead_kernel():
    """If weights cancel, the caption reports the sum as good as zero, not the kernel."""
    weight = np.zeros((3, 3, 3, 3))
    weight[0, 0], weight[0, 1], weight[1] = 1, -1, 0.5
    assert "2 sums are as good as zero, struck through: 0, 2" in make_sheet(weight, view="sum").caption[-1]
    assert "1 kernel is as good as zero, struck through: 2" in make_sheet(weight, view="norm").caption[-1]

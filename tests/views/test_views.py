import re

import numpy as np
import pytest
import torch

from kernelviz.errors import UsageError
from kernelviz.records import SORTS, KernelBank, as_bank
from kernelviz.views.kernel_views import choose_channels, extent, kernel_tiles, parse_channels, resolve_view

CONVOLUTIONS = {
    "dense": torch.nn.Conv2d(4, 6, (3, 5)),
    "stem": torch.nn.Conv2d(3, 8, 7),
    "grouped": torch.nn.Conv2d(8, 6, 3, groups=2),
    "depthwise": torch.nn.Conv2d(6, 6, 5, groups=6),
    "1x1": torch.nn.Conv2d(5, 7, 1),
    "one input": torch.nn.Conv2d(1, 4, 3),
    "1-D": torch.nn.Conv1d(4, 6, 9),
    "3-D": torch.nn.Conv3d(3, 5, (2, 3, 4)),
}


def seeded(name):
    """A convolution's weight, seeded, and its bank."""
    module = CONVOLUTIONS[name]
    weight = torch.randn(module.weight.shape, generator=torch.Generator().manual_seed(0))
    return weight, KernelBank(weight.numpy(), groups=module.groups)


def planes(tensor):
    """Kernels (n, …) as tiles (n, h, w); those of three dimensions as slices, all kernels of the first slice first."""
    return (
        tensor.unsqueeze(1)
        if tensor.ndim == 2
        else tensor
        if tensor.ndim == 3
        else tensor.transpose(0, 1).flatten(0, 1)
    )


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_sum_is_the_sum_over_input_channels(name):
    """The view sum adds a kernel's weights over its input channels, as torch does in float64."""
    weight, bank = seeded(name)
    np.testing.assert_allclose(
        kernel_tiles(bank, view="sum").values, planes(weight.double().sum(1)), rtol=0, atol=1e-14
    )


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_norm_is_the_length_over_input_channels(name):
    """The view norm is the Euclidean length over the input channels, as torch does in float64."""
    weight, bank = seeded(name)
    tiles = kernel_tiles(bank, view="norm")
    expected = planes(torch.linalg.vector_norm(weight.double(), dim=1))
    np.testing.assert_allclose(tiles.values, expected, rtol=1e-14, atol=0)
    assert not tiles.signed


@pytest.mark.parametrize("name", ["stem", "3-D"])
def test_rgb_puts_the_input_channels_last(name):
    """In the view rgb a tile's three colours are the weights of the three input channels, unchanged."""
    weight, bank = seeded(name)
    for channel in range(3):
        assert np.array_equal(kernel_tiles(bank, view="rgb").values[..., channel], planes(weight[:, channel]))


@pytest.mark.parametrize("name", ["dense", "stem", "grouped", "depthwise", "1x1", "1-D"])
@pytest.mark.parametrize("view", ["channels", "matrix"])
def test_tables_show_every_plane_at_its_row_and_column(name, view):
    """In a table or heat map the axes locate the plane of kernel k and input i."""
    weight, bank = seeded(name)
    tiles = kernel_tiles(bank, view=view)
    inputs = ("red", "green", "blue") if name == "stem" else tuple(map(str, range(weight.shape[1])))
    outputs = tuple(map(str, range(len(weight))))
    turned = tiles.numbers_along == "columns"
    assert (tiles.columns.labels, tiles.rows.labels) == ((outputs, inputs) if turned else (inputs, outputs))
    down, across = len(tiles.rows.labels), len(tiles.columns.labels)
    height, width = weight.shape[2:] if weight.ndim == 4 else (1, weight.shape[2])
    cells = tiles.values.reshape(down, across, height, width)
    for kernel, input_channel in np.ndindex(*weight.shape[:2]):
        cell = cells[input_channel, kernel] if turned else cells[kernel, input_channel]
        assert np.array_equal(cell, weight[kernel, input_channel].reshape(height, width))


@pytest.mark.parametrize(("outputs", "inputs", "along"), [(7, 5, "columns"), (5, 7, "rows"), (5, 5, "rows")])
@pytest.mark.parametrize("size", [1, 3])
def test_a_tall_matrix_is_turned(outputs, inputs, along, size):
    """A matrix of more kernels than inputs is transposed, with a note."""
    tiles = kernel_tiles(as_bank(np.ones((outputs, inputs, size, size)), layout="torch"), view="matrix")
    assert tiles.numbers_along == along
    assert ("axes swapped" in tiles.explanation) == (along == "columns")
    assert tiles.layout == ("heatmap" if size == 1 else "table")


@pytest.mark.parametrize(
    ("shape", "groups", "view"),
    [
        ((8, 3, 7, 7), 1, "rgb"),
        ((8, 3, 1, 1), 1, "rgb"),
        ((9, 3, 3, 3), 3, "sum"),
        ((8, 4, 3, 3), 1, "sum"),
        ((8, 1, 3, 3), 8, "sum"),
        ((8, 4, 1, 1), 1, "matrix"),
        ((8, 1, 1, 1), 8, "sum"),
        ((8, 3, 5), 1, "sum"),
        ((8, 4, 1), 1, "sum"),
        ((8, 3, 3, 3, 3), 1, "sum"),
    ],
)
def test_auto_follows_the_shape(shape, groups, view):
    """``auto`` is rgb on three input colours, a matrix for 1 × 1, else the sum."""
    assert resolve_view(shape, groups) == view
    assert kernel_tiles(KernelBank(np.ones(shape), groups=groups)).view == view


@pytest.mark.parametrize(
    ("shape", "groups", "view"),
    [
        ((8, 4, 3, 3), 1, "rgb"),
        ((9, 3, 3, 3), 3, "rgb"),
        ((8, 3, 5), 1, "rgb"),
        ((8, 4, 3, 3, 3), 1, "channels"),
        ((8, 4, 3, 3, 3), 1, "matrix"),
    ],
)
def test_a_view_that_the_shape_does_not_allow_is_refused(shape, groups, view):
    """A view that cannot be drawn is rejected with the shape and another view."""
    with pytest.raises(UsageError, match=re.escape(str(shape))) as caught:
        resolve_view(shape, groups, view)
    assert "--view sum" in caught.value.hint


def test_an_unknown_view_is_refused_with_the_known_ones():
    """An unknown view is rejected with a list of the known ones."""
    with pytest.raises(UsageError, match="auto, rgb, sum, norm, channels, matrix, spectrum, but got 'mean'"):
        resolve_view((1, 1, 1, 1), 1, "mean")


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("0-3,5", (0, 1, 2, 3, 5)),
        ("7", (7,)),
        ("5,0-3", (5, 0, 1, 2, 3)),
        (" 1 - 2 , 4 ", (1, 2, 4)),
        ("3,1-4,3", (3, 1, 2, 4)),
        ("9-9", (9,)),
    ],
)
def test_channels_are_read_in_their_order_each_once(text, numbers):
    """Ranges and single numbers keep their order, without repetitions."""
    assert parse_channels(text, 10) == numbers


@pytest.mark.parametrize("text", ["", ",", "1,", "a", "-1", "1-", "1--2", "1.5", "0x3", "1 2", "1;2"])
def test_channels_of_another_form_are_refused(text):
    """Malformed ranges are rejected with the expected form and the given text."""
    with pytest.raises(UsageError, match=re.escape(f"like 0-15,40, but got {text!r}")):
        parse_channels(text, 10)


@pytest.mark.parametrize("text", ["3-1", "1,9" + "9" * 5000, "0-" + "9" * 20])
def test_malformed_channels_are_refused(text):
    """A descending range and a very long number are wrong usage, not a fault."""
    with pytest.raises(UsageError, match=r"must be ascending|must be numbers like"):
        parse_channels(text, 10)


@pytest.mark.parametrize(("text", "part"), [("10", "10"), ("0-10", "0-10"), ("1,999999999", "9")])
def test_channels_out_of_range_are_refused(text, part):
    """A number out of range is rejected with the valid range."""
    with pytest.raises(UsageError, match=f"channels 0 to 9, but got '{part}"):
        parse_channels(text, 10)


@pytest.mark.parametrize("channels", [[3, 1], (3, 1), np.array([3, 1]), "3,1"], ids=repr)
def test_channels_may_be_given_as_numbers(channels):
    """A sequence of numbers chooses like the text that names them."""
    assert choose_channels(np.zeros((5, 2)), channels=channels) == ((3, 1), "index")


def test_all_channels_stand_in_their_order_without_a_choice():
    """Without a choice no channel is left out or moved."""
    assert choose_channels(np.random.default_rng(0).random((6, 2))) == (tuple(range(6)), "index")


@pytest.mark.parametrize("sort", [sort for sort in SORTS if sort != "index"])
def test_every_order_follows_its_statistic(sort):
    """Channels are sorted by torch's own statistic of each, the largest first."""
    values = torch.randn(9, 3, 4, generator=torch.Generator().manual_seed(1)).double()
    statistic = {
        "norm": torch.linalg.vector_norm,
        "mean": torch.mean,
        "max": torch.max,
        "std": lambda row: torch.std(row, correction=0),
    }[sort]
    expected = torch.stack([statistic(row) for row in values]).argsort(descending=True)
    numbers, order = choose_channels(values.numpy(), sort=sort)
    assert (list(numbers), order) == (expected.tolist(), sort)
    assert choose_channels(values.numpy(), sort=sort, top=4)[0] == numbers[:4]


@pytest.mark.parametrize("sort", [sort for sort in SORTS if sort != "index"])
def test_ties_go_by_number_and_what_is_not_finite_comes_last(sort):
    """Equal channels keep their order; NaN and infinities follow all others."""
    values = np.array([[1.0, 1], [np.nan, 9], [3, 4], [1, 1], [np.inf, 0], [3, 4], [-np.inf, 0]])
    numbers, _ = choose_channels(values, sort=sort)
    first = (2, 5, 0, 3)
    assert numbers in {(*first, 1, 4, 6), (*first, 6, 1, 4)} if sort == "max" else numbers == (*first, 1, 4, 6)


def test_top_alone_is_by_norm():
    """The largest few are the largest by norm, as the order states."""
    assert choose_channels(np.array([[1.0], [-5], [3]]), top=2) == ((1, 2), "norm")
    assert choose_channels(np.array([[1.0], [-5], [3]]), top=99)[0] == (1, 2, 0)
    assert choose_channels(np.array([[1.0], [-5], [3]]), top=2, sort="index") == ((0, 1), "index")


def test_sorting_stays_within_the_chosen():
    """Channels are chosen first, then sorted, then cut."""
    assert choose_channels(np.array([[1.0], [5], [3], [9]]), channels="0-2", sort="max", top=2)[0] == (1, 2)


def test_a_wrong_order_or_number_is_refused():
    """An unknown order, or fewer than one channel, is rejected with the given value."""
    with pytest.raises(UsageError, match="index, norm, mean, max, std, but got 'size'"):
        choose_channels(np.zeros((2, 1)), sort="size")
    with pytest.raises(UsageError, match="at least 1, but got 0"):
        choose_channels(np.zeros((2, 1)), top=0)


@pytest.mark.parametrize("view", ["sum", "norm", "rgb", "channels", "matrix"])
def test_chosen_tiles_are_those_of_the_whole_layer(view):
    """Choosing kernels selects tiles of the whole view: values and the extent of the layer are the same."""
    bank = as_bank(np.random.default_rng(0).standard_normal((9, 3, 2, 2)))
    every, some = kernel_tiles(bank, view=view), kernel_tiles(bank, view=view, channels="7,2")
    assert (some.numbers, some.total, some.extent) == ((7, 2), 9, every.extent)
    if view in ("sum", "norm", "rgb"):
        assert np.array_equal(some.values, every.values[[7, 2]])
    else:
        table = every.values.reshape(3, 9, 2, 2)[:, [7, 2]]  # both are turned: nine kernels of three inputs
        chosen = table if view == "channels" else table.swapaxes(0, 1)  # two kernels of three inputs are not
        assert np.array_equal(some.values, chosen.reshape(-1, 2, 2))


def test_a_chosen_kernel_of_slices_is_a_column():
    """Kernels of three dimensions are columns, in the chosen order, with one row per slice."""
    weight = np.random.default_rng(0).standard_normal((5, 1, 3, 2, 4))
    tiles = kernel_tiles(as_bank(weight), channels="4,1")
    assert (tiles.rows.labels, tiles.columns.labels) == (("0", "1", "2"), ("4", "1"))
    for row, column in np.ndindex(3, 2):
        assert np.array_equal(tiles.values[row * 2 + column], weight[(4, 1)[column], 0, row])


def test_extent_is_that_of_the_finite_values():
    """The ends of a layer are its smallest and largest finite value; without any, zero."""
    assert extent(np.array([3.0, np.nan, -7, np.inf])) == (-7, 3)
    assert extent(np.array([np.nan, -np.inf])) == (0, 0)


@pytest.mark.parametrize(("name", "shape"), [("1-D", (6, 4, 9)), ("dense", (6, 4, 3, 5)), ("3-D", (5, 3, 2, 3, 4))])
def test_weights_of_every_rank_are_banks(name, shape):
    """A module's weight is a bank as it is: parameter, detached, or array."""
    weight = CONVOLUTIONS[name].weight
    for given in (weight, weight.detach(), weight.detach().numpy()):
        assert as_bank(given).weight.shape == shape
        assert np.array_equal(as_bank(given).weight, weight.detach().numpy())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_sums_like_float(dtype):
    """Weights of half precision are summed from their exact values."""
    weight = torch.randn(4, 3, 2, 2, generator=torch.Generator().manual_seed(0)).to(dtype)
    assert np.array_equal(kernel_tiles(as_bank(weight), view="sum").values, weight.double().sum(1).numpy())


def test_a_transposed_weight_is_turned():
    """The weight of a transposed convolution, (in, out, …), becomes kernels by output channel."""
    weight = torch.nn.ConvTranspose2d(5, 2, 3).weight
    assert np.array_equal(as_bank(weight, transposed=True).weight, weight.detach().numpy().swapaxes(0, 1))


def test_a_bank_is_taken_as_it_is():
    """A record passes unchanged."""
    bank = KernelBank(np.ones((1, 1, 1, 1)))
    assert as_bank(bank) is bank


@pytest.mark.parametrize("shape", [(), (3,), (3, 3), (2, 2, 2, 2, 2, 2)])
def test_other_ranks_are_refused_with_the_shape(shape):
    """Anything else is rejected with its shape and the form of a single kernel."""
    with pytest.raises(UsageError, match=re.escape(f"shape is {shape}")) as caught:
        as_bank(np.ones(shape))
    assert "weight[None]" in caught.value.hint


@pytest.mark.parametrize("shape", [(0, 3, 3, 3), (4, 0, 3, 3), (4, 3, 0, 3)])
def test_empty_weights_are_refused_with_the_shape(shape):
    """An empty axis leaves nothing to draw, and the message has the shape."""
    with pytest.raises(UsageError, match=re.escape(str(shape))):
        as_bank(np.ones(shape))


def test_a_caller_s_array_is_left_alone():
    """No view changes the values or the flags of the caller's array."""
    weight = np.random.default_rng(0).standard_normal((4, 3, 2, 2))
    before = weight.copy()
    weight.flags.writeable = False
    for view in ("sum", "norm", "rgb", "channels", "matrix"):
        kernel_tiles(as_bank(weight), view=view, sort="norm")
    assert np.array_equal(weight, before)

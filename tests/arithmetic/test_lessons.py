"""Readings, chains, shared weights and matrices are counted as torch computes them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from kernelviz import Convolution, TransposedConvolution, work_out
from kernelviz.arithmetic.chains import make_chain, read_layer
from kernelviz.arithmetic.costs import compare_costs
from kernelviz.arithmetic.sharing import ImageWeights, Sharing, number_of_weights
from kernelviz.arithmetic.uses import uses_of
from kernelviz.arithmetic.windows import size_text
from kernelviz.errors import UsageError
from kernelviz.explain.walkthrough import example_numbers


@pytest.mark.parametrize(
    ("operation", "rows"),
    [
        (Convolution(5, 3), "1 2 3 2 1"),
        (Convolution(5, 3, padding=1), "2 3 3 3 2"),
        (Convolution(7, 3, stride=2), "1 1 2 1 2 1 1"),
        (Convolution(6, 3, stride=2), "1 1 2 1 1 0"),
        (Convolution(7, 3, padding=1, dilation=2), "1 2 2 3 2 2 1"),
        (Convolution(16, 6), "1 2 3 4 5 6 6 6 6 6 6 5 4 3 2 1"),
        (Convolution((4, 9), (2, 3), stride=(1, 2), padding=(1, 0, 2, 1), dilation=(2, 1)), None),
    ],
)
def test_uses_are_the_gradient_of_a_convolution_of_ones(operation, rows):
    """Each cell of the input is read as often as the gradient of the sum of all windows says."""
    uses = uses_of(operation)
    inside = uses.inside[0]
    if rows is not None:
        assert " ".join(str(uses.rows[at]) for at in inside) == rows
    data = torch.zeros(1, 1, *operation.input_size, requires_grad=True, dtype=torch.float64)
    top, bottom, left, right = operation.padding
    padded = torch.nn.functional.pad(data, (left, right, top, bottom))
    ones = torch.ones(1, 1, *operation.kernel, dtype=torch.float64)
    made = torch.nn.functional.conv2d(padded, ones, stride=operation.stride, dilation=operation.dilation)
    made.sum().backward()
    assert uses.of_input == data.grad[0, 0].to(int).tolist()
    assert uses.readings == uses.windows * operation.kernel[0] * operation.kernel[1]
    assert uses.input_readings == int(data.grad.sum())


def test_the_readings_of_a_padded_input_are_split():
    """Of 225 readings 169 are of the input and 56 of zeros."""
    uses = uses_of(Convolution(5, 3, padding=1))
    assert (uses.readings, uses.input_readings) == (225, 169)


@pytest.mark.parametrize(
    ("size", "layers", "same", "sizes"),
    [
        (16, ["conv6"] * 3, False, (16, 11, 6, 1)),
        (16, ["conv6"] * 3, True, (16, 16, 16, 16)),
        (4, ["up4s2p1"] * 4, False, (4, 8, 16, 32, 64)),
        (28, ["conv5", "pool2", "conv5", "pool2"], False, (28, 24, 12, 8, 4)),
        (224, ["conv7s2p3", "pool3s2p1", "conv3d2p2", "up3s2p1o1"], False, (224, 112, 56, 56, 112)),
        (25, ["conv3s2", "up2s3"], True, (25, 13, 38)),
    ],
)
def test_a_chain_has_the_sizes_and_reads_of_torch(size, layers, same, sizes):
    """Sizes are those of torch's layers, and the cells that a unit depends on are those with a gradient."""
    chain = make_chain(size, layers, same=same)
    assert chain.sizes == sizes
    values = [torch.ones(1, 1, size, dtype=torch.float64, requires_grad=True)]
    for placed in chain.layers:
        layer, data = placed.layer, values[-1]
        ones = torch.ones(1, 1, layer.kernel, dtype=torch.float64)
        if layer.kind == "up":
            made = torch.nn.functional.conv_transpose1d(
                data,
                ones,
                stride=layer.stride,
                padding=placed.before,
                output_padding=layer.output_padding,
                dilation=layer.dilation,
            )
        elif layer.kind == "pool":
            made = torch.nn.functional.avg_pool1d(data, layer.kernel, layer.stride, placed.before)
        else:
            padded = torch.nn.functional.pad(data, (placed.before, placed.after))
            made = torch.nn.functional.conv1d(padded, ones, stride=layer.stride, dilation=layer.dilation)
        made.retain_grad()
        values.append(made)
    assert tuple(value.shape[-1] for value in values) == chain.sizes
    values[-1][0, 0, chain.unit].backward()
    for value, reads in zip(values, chain.reads, strict=True):
        assert [*reads] == (value.grad[0, 0] != 0).to(int).tolist()


def test_a_chain_ends_where_no_layer_fits():
    """What no longer fits is stated with its formula, and nothing that fits at all is an error."""
    chain = make_chain(16, ["conv6"] * 5)
    assert (chain.sizes, chain.refused.formula) == ((16, 11, 6, 1), "1 − 6 + 1")
    with pytest.raises(UsageError, match="No layer fits: 3 − 6"):
        make_chain(3, ["conv6"])


@pytest.mark.parametrize(
    ("size", "layers", "message"),
    [(64, ["conv3"] * 13, "at most 12 layers, but got 13"), (10_001, ["conv3"], "at most 10,000 values"),
     (5_000, ["up3s3"], "at most 10,000 values"), (5, [], "needs a layer")],
)  # fmt: skip
def test_a_chain_has_bounds(size, layers, message):
    """Chains that fit no page are refused with the bound."""
    with pytest.raises(UsageError, match=message):
        make_chain(size, layers)


def test_an_even_kernel_pads_more_at_the_end():
    """Same padding of a kernel of 6 is two zeros before and three after, as in Keras."""
    (placed,) = make_chain(16, ["conv6"], same=True).layers
    assert (placed.before, placed.after) == (2, 3)


@pytest.mark.parametrize(
    "text", ["conv", "conv0", "conv3x2", "pool2d2", "conv3s2s2", "up2o1", "pool2p2", "", "conv3o1"]
)
def test_malformed_layers_are_refused(text):
    """A layer is a kind, a size and its own settings, each once."""
    with pytest.raises(UsageError):
        read_layer(text)


@pytest.mark.parametrize(("units", "kernel"), [(5, 3), (9, 5), (9, 9), (3, 3), (7, 3)])
def test_shared_weights_are_a_convolution(units, kernel):
    """The number of weights follows the formulas, and the shared matrix times an input is torch's convolution."""
    sharing = Sharing(units, kernel)
    assert number_of_weights(sharing.dense) == units**2
    assert number_of_weights(sharing.local) == units * kernel - (kernel**2 - 1) // 4
    assert number_of_weights(sharing.shared) == kernel
    weights, data = np.random.default_rng(0).standard_normal((2, 9))
    matrix = np.append(0, weights[:kernel])[np.array(sharing.shared)]
    one, other = (torch.from_numpy(each)[None, None] for each in (data[:units], weights[:kernel]))
    theirs = torch.nn.functional.conv1d(one, other, padding=sharing.padding)[0, 0]
    np.testing.assert_allclose(matrix @ data[:units], theirs.numpy(), atol=1e-12)


def test_the_weights_of_an_image_are_those_of_torch():
    """Dense and convolutional layers count as torch's modules, for the image and for one twice as large."""
    counts = ImageWeights()
    for each in (counts, counts.doubled()):
        modules = torch.nn.Linear(each.values, 300), torch.nn.Conv2d(3, 100, 5)
        assert [sum(map(torch.numel, module.parameters())) for module in modules] == [each.dense, each.shared]
    assert (counts.dense, counts.shared, counts.local, counts.dense_to_outputs) == (90_300, 7_600, 273_600, 1_083_600)
    assert counts.doubled().dense == 360_300


@pytest.mark.parametrize(("units", "kernel", "message"), [(5, 4, "no middle"), (5, 7, "3 to 5"), (12, 3, "3 to 9")])
def test_what_has_no_middle_or_no_space_is_refused(units, kernel, message):
    """Even kernels, kernels larger than the units, and more units than can be told apart."""
    with pytest.raises(UsageError, match=message):
        Sharing(units, kernel)


OPERATIONS = [
    Convolution(4, 2),
    Convolution((5, 6), 3, stride=(2, 1), padding=(1, 0, 2, 1), dilation=(1, 2), bias=True),
    Convolution(4, 3, in_channels=4, out_channels=6, groups=2, padding=1),
    TransposedConvolution(3, 2, stride=2),
    TransposedConvolution(
        3, 3, stride=2, padding=1, output_padding=1, in_channels=4, out_channels=2, groups=2, bias=True
    ),
]


def test_messages_are_about_what_was_given():
    """The largest size is taken although it is doubled for comparison; too few and too many units have other reasons."""
    most = ImageWeights((100_000, 100_000, 3))
    assert most.doubled().image == (200_000, 200_000, 3)
    assert (most.image, most.doubled().shared) == ((100_000, 100_000, 3), most.shared)
    with pytest.raises(UsageError, match="at most 100,000, but got 100,001"):
        ImageWeights((100_001, 9, 3))
    whys = []
    for units in (2, 10):
        with pytest.raises(UsageError, match=f"3 to 9, but got {units}") as error:
            Sharing(units)
        whys.append(error.value.why)
    assert whys == ["Of fewer, none has neighbours on both sides.", "More lines could not be told apart."]


def test_the_sides_of_a_size_are_written_alike():
    """Either all sides have separators of thousands, or none."""
    assert [size_text(size) for size in ((9604, 10_000), (9604, 9999), (3, 5))] == [
        "9,604 × 10,000",
        "9604 × 9999",
        "3 × 5",
    ]


@pytest.mark.parametrize("operation", OPERATIONS, ids=repr)
def test_the_matrix_times_the_input_is_the_output_of_torch(operation):
    """A convolution is its matrix times the flattened input, plus the bias."""
    data, kernel, bias = example_numbers(operation, 3)
    worked = work_out(operation, data, kernel, bias)
    one, weight = torch.from_numpy(data)[None], torch.from_numpy(kernel)
    choices = {"stride": operation.stride, "dilation": operation.dilation, "groups": operation.groups}
    if isinstance(operation, TransposedConvolution):
        theirs = torch.nn.functional.conv_transpose2d(
            one, weight, padding=operation.padding, output_padding=operation.output_padding, **choices
        )
    else:
        top, bottom, left, right = operation.padding
        theirs = torch.nn.functional.conv2d(torch.nn.functional.pad(one, (left, right, top, bottom)), weight, **choices)
    np.testing.assert_allclose(worked.matrix @ data.ravel(), theirs.numpy().ravel(), atol=1e-9)
    shift = np.repeat(np.zeros(operation.out_channels) if bias is None else bias, worked.output[0].size)
    np.testing.assert_allclose(worked.matrix @ data.ravel() + shift, worked.output.ravel(), atol=1e-9)


def test_the_matrix_of_a_transposed_convolution_is_transposed():
    """Its matrix is the transpose of that of the convolution from its output to its input."""
    kernel = np.arange(9.0).reshape(3, 3)
    there = work_out(TransposedConvolution(3, 3, stride=2, padding=1, output_padding=1), np.ones((3, 3)), kernel)
    back = work_out(Convolution(6, 3, stride=2, padding=1), np.ones((6, 6)), kernel)
    np.testing.assert_array_equal(there.matrix, back.matrix.T)


SETTINGS = [
    "conv7", "3xconv3", "conv1x7+conv7x1", "dw7+conv1", "conv7s2p3", "conv3s2p1d2+conv3g4c32+pool2", "conv3p1x0c16",
    "conv4",
]  # fmt: skip


def module_of(cost):
    """The layers of a setting as torch's modules."""
    layers = []
    for layer in cost.layers:
        made = layer.operation
        if isinstance(made, Convolution):
            top, bottom, left, right = made.padding
            layers += [torch.nn.ZeroPad2d((left, right, top, bottom))] if any(made.padding) else []
            layers.append(
                torch.nn.Conv2d(
                    made.in_channels, made.out_channels, made.kernel, made.stride, dilation=made.dilation,
                    groups=made.groups, bias=made.bias,
                )
            )  # fmt: skip
        else:
            layers.append(torch.nn.AvgPool2d(made.kernel, made.stride, made.padding))
    return torch.nn.Sequential(*layers).double()


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize(("padding", "bias"), [(None, False), ("same", True)])
def test_costs_are_those_of_torch(setting, padding, bias):
    """Parameters, output, multiply-adds and values are torch's, and what one value reads has a gradient."""
    (cost,) = compare_costs((40, 37), [setting], in_channels=8, padding=padding, bias=bias)
    module = module_of(cost)
    for parameter in module.parameters():
        torch.nn.init.ones_(parameter)
    macs, values = [], []

    def count(layer, _, made):
        values.append(made.numel())
        macs.append(made.numel() * layer.weight[0].numel() if isinstance(layer, torch.nn.Conv2d) else 0)

    for layer in module:
        if not isinstance(layer, torch.nn.ZeroPad2d):
            layer.register_forward_hook(count)
    data = torch.ones(1, 8, 40, 37, dtype=torch.float64, requires_grad=True)
    made = module(data)
    assert cost.output_shape == tuple(made.shape[1:])
    assert cost.parameters == sum(parameter.numel() for parameter in module.parameters())
    assert (cost.macs, cost.values) == (sum(macs), sum(values))
    made[0, 0, made.shape[2] // 2, made.shape[3] // 2].backward()
    read = np.argwhere(data.grad[0].numpy() != 0)[:, 1:]
    assert cost.receptive_field == tuple(read.max(axis=0) - read.min(axis=0) + 1)
    formula = cost.formula.replace("·", "*").replace(",", "")
    assert eval(formula) == cost.parameters


@pytest.mark.parametrize(
    ("settings", "message"),
    [(["conv3"] * 9, "At most 8 settings"), ([], "no setting"), (["13xconv3"], "at most 12 layers"),
     (["up4s2"], "no layer 'up4s2'"),
     (["conv3g2x3"], "one number each"), (["conv3+conv60"], "does not fit at conv60"),
     (["conv3g3"], "divisible by the groups"), (["conv3q1"], "has no setting q"), (["conv3+"], "no layer ''")],
)  # fmt: skip
def test_settings_that_cannot_be_compared_are_refused(settings, message):
    """What is no layer, does not fit, or is too much is refused with the setting and the reason."""
    with pytest.raises(UsageError, match=message):
        compare_costs(56, settings, in_channels=64)


def test_costs_of_one_large_kernel_and_three_small_ones():
    """The classical comparison, by hand: 49·64² against 27·64² weights, for the same 7 × 7 cells."""
    large, small = compare_costs(56, ["conv7", "conv3+conv3+conv3"], in_channels=64, padding="same")
    assert (large.parameters, small.parameters) == (49 * 64 * 64, 27 * 64 * 64)
    assert large.receptive_field == small.receptive_field == (7, 7)
    assert (large.macs, small.macs) == (49 * 64 * 64 * 56 * 56, 27 * 64 * 64 * 56 * 56)
    assert compare_costs(56, ["3xconv3"], in_channels=64, padding="same")[0].layers == small.layers

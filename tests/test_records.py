from dataclasses import FrozenInstanceError

import numpy as np
import pytest
import torch

import kernelviz
from kernelviz.errors import UsageError
from kernelviz.records import KernelBank, Source, Weights, as_array, as_bank, shape_text


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_tensors_of_every_precision_keep_their_values(dtype):
    """What becomes of a tensor is at least float32 and equal to it, value by value."""
    tensor = torch.randn(3, 4, generator=torch.Generator().manual_seed(0)).to(dtype)
    array = as_array(tensor)
    assert array.dtype == (np.float64 if dtype == torch.float64 else np.float32)
    assert np.array_equal(array.astype(np.float64), tensor.double().numpy())


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int8, np.uint8, np.int64, np.bool_])
def test_arrays_of_every_real_kind_keep_their_values(dtype):
    """What becomes of an array is a float array with its values."""
    values = np.array([[0, 1, 1], [1, 0, 1]], dtype)
    array = as_array(values)
    assert array.dtype == (np.float32 if dtype in (np.float16, np.float32) else np.float64)
    assert np.array_equal(array, values)


def test_an_array_is_a_copy():
    """What changes in the caller's array or tensor later does not change the record."""
    values, tensor = np.ones((2, 2)), torch.ones(2, 2)
    arrays = as_array(values), as_array(tensor)
    values[:] = 5
    tensor[:] = 5
    assert [array.max() for array in arrays] == [1, 1]


def test_parameters_and_views_are_read_as_they_stand():
    """A tensor that requires gradients or is not contiguous has the same values and is unchanged."""
    parameter = torch.nn.Parameter(torch.arange(12.0).reshape(3, 4))
    turned = parameter.t()[::2]
    assert np.array_equal(as_array(turned), turned.detach().numpy())
    assert parameter.requires_grad
    assert not turned.is_contiguous()


@pytest.mark.parametrize(
    "values",
    [
        np.ones(2, complex),
        torch.ones(2, dtype=torch.complex64),
        torch.ones(2, device="meta"),
        torch.ones(2, 2).to_sparse(),
        np.array(["a"]),
        "text",
        None,
        [[1, 2], [3]],
        object(),
    ],
    ids=lambda values: f"{type(values).__name__} {getattr(values, 'dtype', '')}",
)
def test_what_holds_no_real_numbers_is_refused(values):
    """Complex numbers, tensors without values, text, ragged lists and objects end in one clear sentence."""
    with pytest.raises(UsageError, match="real numbers"):
        as_array(values)


def test_records_are_frozen():
    """Nothing behind a record can be changed under the feet of another."""
    weights = Weights("file", "a.pt")
    with pytest.raises(FrozenInstanceError):
        weights.name = "b.pt"


def test_a_source_has_its_recipe():
    """The recipe of a source has the names that machines rely on."""
    weights = Weights("file", "net.pt", "ab" * 32)
    assert Source("resnet18", "resnet18, net.pt", "resnet18.net", 7, weights, licence="mit").as_recipe() == {
        "name": "resnet18",
        "tag": None,
        "licence": "mit",
        "params": 7,
        "weights": {"source": "file", "name": "net.pt", "sha256": "ab" * 32},
    }
    assert Source("resnet18", "resnet18", "resnet18", 7).as_recipe()["weights"] is None


@pytest.mark.parametrize("shape", [(), (3,), (32, 3, 3, 3)])
def test_a_shape_is_written_like_a_tuple(shape):
    """A shape in a message reads as Python writes it."""
    assert shape_text(shape) == str(shape)


TORCH = [
    *(
        (3, 3, 3, 3),
        (64, 64, 3, 3),
        (8, 3, 3, 3),
        (1, 1, 3, 3),
        (1, 1, 5, 5),
        (1, 1, 15, 15),
        (5, 5, 3, 3),
        (3, 3, 5, 5),
    ),
    *(
        (64, 3, 11, 11),
        (16, 16, 1, 1),
        (64, 64, 1, 1),
        (4, 3, 3, 5),
        (8, 1, 3, 3),
        (1, 1, 1, 1),
        (1, 1, 1, 7),
        (8, 8, 1, 7),
    ),
    *((3, 3, 3, 3, 3), (8, 3, 3, 3, 3), (64, 3, 1, 7, 7), (4, 3, 9), (16, 1, 80), (3, 3, 3), (1, 1, 1, 3, 3)),
]
"""Weights as torch holds them."""

KERAS = {
    (3, 3, 3, 32): (32, 3, 3, 3),
    (3, 3, 3, 64): (64, 3, 3, 3),
    (3, 3, 1, 1): (1, 1, 3, 3),
    (11, 11, 3, 96): (96, 3, 11, 11),
    (3, 3, 64, 64): (64, 64, 3, 3),
    (5, 5, 1, 6): (6, 1, 5, 5),
    (2, 2, 3, 8): (8, 3, 2, 2),
    (1, 1, 64, 256): (256, 64, 1, 1),
    (3, 3, 32, 1): (1, 32, 3, 3),
    (7, 7, 3, 64): (64, 3, 7, 7),
    (3, 5, 3, 32): (32, 3, 3, 5),
    (7, 2, 16, 128): (128, 16, 7, 2),
    (3, 3, 8, 8): (8, 8, 3, 3),
    (4, 4, 16, 32): (32, 16, 4, 4),
    (3, 16, 32): (32, 16, 3),
    (5, 1, 8): (8, 1, 5),
    (3, 1, 1): (1, 1, 3),
    (7, 64, 128): (128, 64, 7),
    (3, 3, 3, 1, 16): (16, 1, 3, 3, 3),
    (3, 3, 3, 16, 32): (32, 16, 3, 3, 3),
    (3, 3, 3, 1, 1): (1, 1, 3, 3, 3),
}
"""Weights as Keras holds them, and the shape of the same in torch."""


@pytest.mark.parametrize("shape", TORCH)
def test_a_weight_of_torch_is_never_doubted(shape):
    """Whatever a torch module may hold is taken as it is, from an array too."""
    values = np.arange(np.prod(shape), dtype=np.float64).reshape(shape)
    assert np.array_equal(as_bank(values).weight, values)


@pytest.mark.parametrize("shape", KERAS)
def test_a_weight_that_looks_like_one_of_keras_is_refused_with_both_readings(shape):
    """It is never drawn in a layout that was guessed; each layout takes it as it says."""
    values = np.arange(np.prod(shape), dtype=np.float64).reshape(shape)
    with pytest.raises(UsageError) as caught:
        as_bank(values)
    assert str(shape) in caught.value.what
    inputs, outputs = shape[-2:]
    assert f"{inputs:,} → {outputs:,} channels; in torch {shape[0]:,} kernel" in caught.value.why
    assert caught.value.hint == 'Pass layout="keras" or layout="torch".'
    assert np.array_equal(as_bank(values, layout="torch").weight, values)
    turned = as_bank(values, layout="keras").weight
    assert turned.shape == KERAS[shape]
    index = tuple(length - 1 for length in shape)
    assert turned[(outputs - 1, inputs - 1, *index[:-2])] == values[index]


def test_parameters_of_torch_are_never_doubted():
    """A parameter has the layout of torch, even where its shape looks like one of Keras."""
    weight = torch.nn.Conv2d(3, 3, 1).weight
    assert as_bank(weight).weight.shape == (3, 3, 1, 1)
    with pytest.raises(UsageError, match="two ways"):
        as_bank(weight.detach())


def test_a_layer_of_keras_convolves_as_in_keras():
    """Its weight, taken with ``layout="keras"``, makes what Keras' rule makes: the sum over rows, columns and inputs."""
    random = np.random.default_rng(0)
    weight, image = random.standard_normal((3, 3, 2, 5)), random.standard_normal((7, 6, 2))
    windows = np.lib.stride_tricks.sliding_window_view(image, (3, 3), axis=(0, 1))  # rows, columns, inputs, i, j
    expected = np.einsum("rcnij,ijno->orc", windows, weight)
    bank = as_bank(weight, layout="keras").weight
    found = torch.nn.functional.conv2d(torch.tensor(image).permute(2, 0, 1)[None], torch.tensor(bank))[0]
    assert np.allclose(found.numpy(), expected)


def test_a_transposed_layer_of_keras_has_its_outputs_before_its_inputs():
    """(rows, columns, out, in) of Conv2DTranspose: the message and the kernels follow."""
    values = np.arange(3 * 3 * 4 * 16.0).reshape(3, 3, 4, 16)
    with pytest.raises(UsageError, match="16 → 4 channels"):
        as_bank(values, transposed=True)
    assert np.array_equal(as_bank(values, transposed=True, layout="keras").weight, values.transpose(2, 3, 0, 1))


def test_other_layouts_are_refused():
    """There are two layouts; a record has that of torch."""
    with pytest.raises(UsageError, match="torch or keras"):
        as_bank(np.ones((1, 1, 3, 3)), layout="channels_last")
    with pytest.raises(UsageError, match="layout of torch already"):
        as_bank(KernelBank(np.ones((1, 1, 3, 3))), layout="keras")


@pytest.mark.parametrize(
    "draw", [kernelviz.plot_kernels, kernelviz.make_sheet, kernelviz.match_kernels, kernelviz.plot_matches]
)
def test_every_function_that_takes_a_plain_weight_takes_its_layout(draw):
    """None of them draws or compares a weight of Keras without being told."""
    weight = np.random.default_rng(0).standard_normal((3, 3, 3, 8))
    with pytest.raises(UsageError, match="two ways"):
        draw(weight)
    draw(weight, layout="keras")


def test_a_sign_that_is_noted_beside_the_numbers_is_applied():
    """A lazily negated tensor becomes an array of the negated values."""
    assert as_array(torch._neg_view(torch.tensor([1.0, -2.0]))).tolist() == [-1, 2]

from dataclasses import FrozenInstanceError

import numpy as np
import pytest
import torch

from kernelviz.errors import UsageError
from kernelviz.records import Source, Weights, as_array, shape_text


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


def test_a_sign_that_is_noted_beside_the_numbers_is_applied():
    """A lazily negated tensor becomes an array of the negated values."""
    assert as_array(torch._neg_view(torch.tensor([1.0, -2.0]))).tolist() == [-1, 2]

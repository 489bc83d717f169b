"""Whatever runs between two convolutions, the second one's map is the one that a plain hook sees."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils._pytree import tree_map_only

from kernelviz.network.capture import capture_features
from kernelviz.network.tracing.trace import trace


class Between(nn.Module):
    """Two convolutions with ``step``, a function or a module, between them."""

    def __init__(self, step):
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.step = step
        self.second = nn.Conv2d(4, 5, 3, padding=1)
        self.act = nn.ReLU()

    def forward(self, image):
        """First, step, second, activation."""
        return self.act(self.second(self.step(self.first(image))))


class Function(torch.autograd.Function):
    """A rectifier with its own gradient."""

    @staticmethod
    def forward(context, maps):
        """The rectifier."""
        context.mark_dirty(maps)
        return maps.clamp_(min=0)

    @staticmethod
    def backward(_context, gradient):
        """Straight through."""
        return gradient


class Wrapped(torch.Tensor):
    """A tensor that holds another one, and runs operations on it."""

    @staticmethod
    def __new__(cls, inner):
        """A tensor without values of its own."""
        return torch.Tensor._make_wrapper_subclass(cls, inner.shape, dtype=inner.dtype, device=inner.device)

    def __init__(self, inner):
        self.inner = inner

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        args, kwargs = tree_map_only(cls, lambda each: each.inner, (args, kwargs or {}))
        return tree_map_only(torch.Tensor, cls, func(*args, **kwargs))


def hooked(hook):
    """A module whose hook changes the shape of its output."""
    module = nn.Identity()
    module.register_forward_hook(hook)
    return module


def written(maps, *index):
    """Zeros in a part of a copy of the maps."""
    maps = maps.clone()
    maps[index] = 0
    return maps


def nested(maps):
    """Through a nested tensor and back."""
    return torch.nested.to_padded_tensor(torch.nested.nested_tensor([maps[0], maps[0]]) * 2, 0.0)[:1]


def assigned(maps):
    """The memory of the maps in another tensor."""
    other = torch.empty_like(maps)
    other.data = maps
    return other * 2


def swapped(maps):
    """Swaps two tensors, which torch rejects for tensors with weak references, as observation makes them."""
    one, other = maps * 1, maps * 2
    torch.utils.swap_tensors(one, other)
    return one


def strided(maps):
    """Every second row by strides."""
    *_, rows, columns = maps.shape
    sizes = (1, 4, rows // 2, columns), (4 * rows * columns, rows * columns, 2 * columns, 1)
    return maps.contiguous().as_strided(*sizes)


FOLLOWED = {
    "function": Function.apply,
    "wrapped": lambda maps: (Wrapped(maps) * 2).inner,
    "data": assigned,
    "vmap": torch.vmap(lambda each: functional.avg_pool2d(each, 1) * 2),
    "functionalised": torch.func.functionalize(lambda each: each.clone().mul_(2)),
    "einsum": lambda maps: torch.einsum("nchw,cd->ndhw", maps, torch.ones(4, 4, device=maps.device)),
    "part": lambda maps: written(maps, slice(None), slice(None), slice(0, 2)),
    "compiled": torch.compile(nn.Hardtanh(), backend="eager"),
    "gradient": torch.func.grad(lambda each: (each**2).sum()),
    "jagged": lambda maps: (
        (torch.nested.nested_tensor([maps[0].flatten(1).t()], layout=torch.jagged) * 2).values().t().reshape(maps.shape)
    ),
}
NOT_FOLLOWED = {
    "nested": nested,
    "conditional": lambda maps: torch.cond(maps.sum() > 0, lambda each: each * 2, lambda each: each + 1, (maps,)),
    "complex": lambda maps: torch.fft.ifft2(torch.fft.fft2(maps)).real,
    "strides": strided,
    "index_put": lambda maps: written(maps, slice(None), slice(None), torch.tensor([0, 2]), torch.tensor([1, 2])),
    "scatter": lambda maps: maps.clone().scatter_add_(2, torch.zeros_like(maps, dtype=torch.long), maps),
    "sparse": lambda maps: maps.to_sparse().to_dense(),
    "swapped": swapped,
}
WITH_ANOTHER_MEANING = {
    "columns twice": lambda maps: torch.einsum("nchw,nchv->nhwv", maps, maps)[:, :4],
    "distance": lambda maps: functional.pairwise_distance(maps, maps * 2, keepdim=True).expand(maps.shape),
    "hook": hooked(lambda _module, _inputs, output: functional.avg_pool2d(output, 2)),
}


def check_maps(step):
    """The captured maps are those of plain hooks."""
    network, image = Between(step).eval(), torch.randn(1, 3, 8, 10)
    given = {}
    parts = {name: network.get_submodule(name) for name in ("first", "second", "act")}
    handles = [
        part.register_forward_hook(lambda *all_of, name=name: given.update({name: all_of[2].clone()}))
        for name, part in parts.items()
    ]
    with torch.no_grad():
        network(image)
    for handle in handles:
        handle.remove()
    for maps in capture_features(network, image, list(parts)):
        np.testing.assert_array_equal(maps.values, given[maps.layer][0].numpy())
    return network


@pytest.mark.parametrize("name", FOLLOWED)
def test_followed_operations(name):
    """The field of the second convolution is 5 × 5."""
    network = check_maps(FOLLOWED[name])
    assert [axis.size for axis in trace(network, (3, 8, 10)).layer("second").field.axes] == [5, 5]


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize("name", NOT_FOLLOWED)
def test_operations_that_are_not_followed(name):
    """The reason is reported, and is not that the layer reads no image."""
    layer = trace(check_maps(NOT_FOLLOWED[name]), (3, 8, 10)).layer("second")
    assert layer.field is None
    assert layer.layout == "N C H W"
    assert "not" in layer.lost
    assert "reads no image" not in layer.lost


@pytest.mark.parametrize("name", WITH_ANOTHER_MEANING)
def test_a_convolution_returns_maps_whatever_its_rows_are(name):
    """The output of a convolution is a map by its own contract, also of a size that a hook of the caller made."""
    check_maps(WITH_ANOTHER_MEANING[name])


class OwnPool(nn.Module):
    """A pool with a window and no stride of its own."""

    kernel_size = "two"

    def forward(self, maps):
        """The largest of two by two."""
        return functional.max_pool2d(maps, 2)


@pytest.mark.parametrize("pool", [nn.FractionalMaxPool2d(2, output_size=5), OwnPool(), nn.LPPool2d(2, 2)])
def test_a_pool_without_a_usual_window_is_traced(pool):
    """Facts of a row that cannot be read are left out; the forward pass and every map remain."""
    network = nn.Sequential(nn.Conv2d(3, 8, 3), pool, nn.Conv2d(8, 2, 3)).eval()
    assert [layer.runs for layer in trace(network, (3, 16, 16)).layers] == [1, 1, 1]
    assert [maps.layer for maps in capture_features(network, torch.rand(3, 16, 16), "*")] == ["0", "1", "2"]

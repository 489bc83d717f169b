"""Maps are located, and a forward pass goes on, where receptive fields are lost."""

from __future__ import annotations

import numpy as np
import pytest
import timm
import torch
from torch import nn
from torch.nn import functional

from kernelviz.network.capture import capture_features
from kernelviz.network.tracing import rules
from kernelviz.network.tracing.trace import trace


class Between(nn.Module):
    """An operation between two convolutions; a layer inside is part of the operation."""

    def __init__(self, operation, inside=None):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 4, 3, padding=1)
        self.act, self.inside, self.operation = nn.ReLU(), inside, operation

    def forward(self, image):
        """The operation has the first map, and a layer if it needs one."""
        image = self.first(image)
        return self.act(
            self.second(self.operation(image) if self.inside is None else self.operation(image, self.inside))
        )


def negative_to_zero(x):
    """A masked assignment."""
    x[x < 0] = 0
    return x


def every_second_channel(x):
    """A write to a part of the memory that is not a block."""
    x[:, ::2] = 1
    return x


def grid(x):
    """A resampling by coordinates."""
    theta = x.new_tensor([[[0.5, 0.2, 0], [0.1, 0.6, 0]]])
    return functional.grid_sample(x, functional.affine_grid(theta, x.shape, align_corners=False), align_corners=False)


def deformed(x, layer):
    """A deformable convolution with offsets from the map."""
    return pytest.importorskip("torchvision").ops.deform_conv2d(
        x, layer(x), torch.ones(6, 6, 3, 3, device=x.device), padding=1
    )


def scattered(x):
    """Values at positions that depend on values."""
    return torch.zeros_like(x).scatter_(3, x.argsort(3), x)


def spectral(x):
    """A product in the frequency domain."""
    return torch.fft.irfft2(torch.fft.rfft2(x) * 0.5, s=x.shape[-2:])


def indexed(x):
    """Rows chosen by values."""
    return x[:, :, x.mean((0, 1, 3)).argsort()]


def diagonal_write(x):
    """A write to the diagonal of each map."""
    x.diagonal(dim1=2, dim2=3).fill_(0)
    return x


OPERATIONS = [
    negative_to_zero, every_second_channel, grid, scattered, spectral, indexed, diagonal_write,
    lambda x: x.topk(x.shape[3], 3).values,
    lambda x: x.gather(2, x.argsort(2)),
    lambda x: x.cumsum(2),
    lambda x: x.cumprod(3),
    lambda x: x.logcumsumexp(3),
    lambda x: x.sort(dim=2).values,
    lambda x: torch.cummax(x, 3).values,
    lambda x: x.rot90(1, (2, 3)).tril().triu(-20),
    lambda x: x.msort(),
    lambda x: x.masked_scatter(x > 0, x),
    lambda x: torch.einsum("nchw,ndhw->ncd", x, x).softmax(-1) @ x.flatten(2).sort().values @ torch.ones(96, 96, device=x.device),
    lambda x: x.take_along_dim(x.argsort(1), 1),
    lambda x: torch.bucketize(x, x.new_tensor([-0.5, 0.0, 0.5])).to(x.dtype),
    lambda x: x.view(1, 6, 12, 8).as_strided((1, 6, 8, 12), (576, 96, 1, 8)).clone(),
    lambda x: x.kthvalue(2, 1, keepdim=True).values.expand_as(x),
    lambda x: functional.fractional_max_pool2d(x, 2, output_size=(6, 5), _random_samples=x.new_full((1, 6, 2), 0.5)),
    lambda x: functional.max_unpool2d(*functional.max_pool2d(x, 2, return_indices=True), 2),
]  # fmt: skip


def hooked(network, batch, name):
    """The output of one layer, as a hook sees it."""
    seen = []
    handle = network.get_submodule(name).register_forward_hook(lambda *given: seen.append(given[2].clone()))
    with torch.no_grad():
        network(batch)
    handle.remove()
    return seen[0][0].numpy()


def check(network, *names, batch=None):
    """Each map is the hook's, and without a field its layer has a reason."""
    batch = torch.randn(1, 3, 12, 8, generator=torch.Generator().manual_seed(0)) if batch is None else batch
    network = network.eval()
    for name in names:
        (maps,) = capture_features(network, batch, name)
        np.testing.assert_array_equal(maps.values, hooked(network, batch, name))


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_convolution_makes_a_map_whatever_came_before(operation):
    """The second convolution and its activation are drawn as the hook sees them."""
    if "flatten" in operation.__code__.co_names:
        operation = lambda x, of=operation: of(x).view_as(x)  # noqa: E731
    network = Between(operation)
    check(network, "first", "second", "act")
    try:
        layer = trace(network, (3, 12, 8)).layer("second")
    except Exception:  # noqa: BLE001
        print("TRACE FAILED")
        raise
    print(layer.layout, layer.field is None, layer.lost)
    assert layer.layout == "N C H W"
    assert layer.field is not None or layer.lost

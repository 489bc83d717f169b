"""Maps are located, and a forward pass goes on, where receptive fields are lost."""

from __future__ import annotations

import numpy as np
import pytest
import timm
import torch
from timm.models.mvitv2 import MultiScaleVit, MultiScaleVitCfg
from torch import nn
from torch.nn import functional

from kernelviz.drawing.overlay import make_overlay, overlay_page
from kernelviz.drawing.page import Text
from kernelviz.network.capture import capture_features
from kernelviz.network.tracing import rules, watch
from kernelviz.network.tracing.trace import trace


class Step(nn.Module):
    """A function as a layer."""

    def __init__(self, step):
        super().__init__()
        self.step = step

    def forward(self, x):
        """Applies it."""
        return self.step(x)


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
    lambda x: x.flatten(2).sort().values.view_as(x),
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
        network(batch.clone())
    handle.remove()
    return seen[0][0].numpy()


def captured(network, *names):
    """The captured maps, each bitwise what the hook sees."""
    batch = torch.randn(1, 3, 12, 8, generator=torch.Generator().manual_seed(0))
    network = network.eval()
    found = [capture_features(network, batch, name)[0] for name in names]
    for maps in found:
        np.testing.assert_array_equal(maps.values, hooked(network, batch, maps.layer))
    return found


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_convolution_makes_a_map_whatever_came_before(operation):
    """The second convolution and its activation are maps although their receptive fields are not known."""
    network = Between(operation)
    captured(network, "first", "second", "act")
    layer = trace(network, (3, 12, 8)).layer("second")
    assert (layer.layout, layer.field) == ("N C H W", None)
    assert layer.lost


def test_deformable_convolutions_make_maps():
    """As a function and as a module, whose own output is a map too."""
    torchvision = pytest.importorskip("torchvision")
    offsets = nn.Conv2d(6, 18, 3, padding=1)
    captured(Between(deformed, offsets), "inside", "second")

    class Deformed(torchvision.ops.DeformConv2d):
        def forward(self, x):
            return super().forward(x, x.new_zeros(1, 18, *x.shape[2:]))

    captured(Between(lambda x, layer: layer(x), Deformed(6, 6, 3, padding=1)), "inside", "second")


def test_a_convolution_of_constants_makes_a_map():
    """It reads no image, and neither does its activation; both are drawn."""
    for maps in captured(Between(torch.zeros_like), "second", "act"):
        assert maps.notes == ("receptive field unknown: it reads no image",)


def test_a_mean_that_is_enlarged_is_a_map():
    """As of the pooled branch of a segmentation head; each of its units reads the whole image."""
    enlarged = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(6, 6, 1), nn.Upsample((12, 8)))
    captured(Between(lambda x, layer: layer(x), enlarged), "inside", "second")


def test_a_layout_of_the_wrong_dimensions_gives_way_to_the_contract():
    """Rows of a resampled map that became channels: a convolution over what is left makes rows and columns again."""

    def rearranged(x):
        return grid(x).flatten(2).transpose(1, 2).reshape(1, -1, 6, 1).expand(1, 96, 6, 8)[:, :6]

    captured(Between(rearranged), "second")


@pytest.mark.filterwarnings("ignore")
def test_quantised_layers_make_maps():
    """A network that cannot be copied to meta is observed as it is."""
    from torch.ao.nn.quantized import Conv2d

    class Quantised(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = Conv2d(6, 6, 3, padding=1)
            steps, zeros = torch.full((6,), 0.02, dtype=torch.float64), torch.zeros(6, dtype=torch.int64)
            weight = torch.quantize_per_channel(torch.randn(6, 6, 3, 3), steps, zeros, 0, torch.qint8)
            self.conv.set_weight_bias(weight, torch.zeros(6))

        def forward(self, x):
            return self.conv(torch.quantize_per_tensor(x, 0.05, 64, torch.quint8)).dequantize()

    captured(Between(lambda x, layer: layer(x), Quantised()), "first", "inside", "second", "act")


def test_a_map_without_a_field_is_stretched_over_the_image():
    """The cells of an overlay share the image evenly, and the caption reports it."""
    (maps,) = captured(Between(negative_to_zero), "second")
    assert maps.centres is None
    overlay = make_overlay(maps, 0, image=np.zeros((12, 8, 3), np.uint8))
    caption = " ".join(item.text for item in overlay_page(overlay).items if isinstance(item, Text))
    assert "stretched to the size of the image" in caption
    assert "Receptive field unknown: receptive fields are not followed through index_put_" in caption


def test_a_write_into_a_map_leaves_its_rows_where_they_are():
    """A map that was changed in its own memory is still drawn; a copy of unknown rows over it is not."""
    network = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), Step(negative_to_zero), Step(every_second_channel))
    captured(network, "1", "2")
    network[2].step = lambda x: x.copy_(x.sort(2).values)
    assert trace(network, (3, 12, 8)).layer("2").layout == "N ? ? ?"


def raising(*_given):
    """A rule with a fault."""
    raise ValueError("operands could not be broadcast together")


def test_a_rule_that_fails_loses_the_field_only(monkeypatch):
    """The forward pass goes on, the network is not blamed, and the layers behind it are maps."""
    monkeypatch.setitem(rules.RULES, "tanh", raising)
    network = Between(torch.tanh)
    traced = trace(network, (3, 12, 8))
    assert traced.layer("first").field
    assert traced.layer("second").field is None
    assert traced.layer("second").lost == "the rule for aten::tanh failed"
    captured(network, "second", "act")


def test_a_write_that_fails_to_be_followed_loses_the_field_only(monkeypatch):
    """The tensors that share the memory are lost, no more."""
    monkeypatch.setattr(watch, "after_write", raising)
    traced = trace(Between(every_second_channel), (3, 12, 8))
    assert traced.layer("second").lost.startswith("the rule for aten::")
    assert traced.layer("second").layout == "N C H W"


def test_networks_with_class_tokens_in_their_windows_are_traced():
    """Writes into a part of the scores of attention are followed."""
    with torch.device("meta"):
        network = MultiScaleVit(MultiScaleVitCfg(depths=(1, 2, 1, 1), use_cls_token=True))
    traced = trace(network, (3, 224, 224))
    assert traced.layer("head.fc").output_shape == (1000,)
    assert not any(layer.lost for layer in traced.layers)


@pytest.mark.slow
@pytest.mark.parametrize("size", ["small", "base", "large", "huge"])
def test_larger_networks_with_class_tokens_are_traced(size):
    """As those with few blocks."""
    with torch.device("meta"):
        network = timm.create_model(f"mvitv2_{size}_cls")
    assert not any(layer.lost for layer in trace(network, (3, 224, 224)).layers)

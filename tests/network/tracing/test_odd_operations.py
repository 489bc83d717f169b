"""Whatever runs between two convolutions, the second one's map is the one that a plain hook sees."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

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


class Batched(nn.Module):
    """A batch made of one image, with layers that keep, halve and double its maps."""

    def __init__(self, make):
        super().__init__()
        self.make = make
        self.layers = nn.Sequential(
            nn.Conv2d(3, 4, 3, padding=1), nn.InstanceNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Softmax2d(),
            nn.Conv2d(4, 6, 1), nn.Upsample(scale_factor=2), nn.Dropout2d(), nn.AvgPool2d(4),
        )  # fmt: skip

    def forward(self, image):
        """The layers of the batch."""
        return self.layers(self.make(image))


def crops(image, *corners):
    """Crops of eight rows and columns, as a batch."""
    return torch.cat([image[..., row : row + 8, column : column + 8] for row, column in corners])


SEVERAL = {
    "mirrored": lambda x: torch.cat([x, x.flip(-1)]),
    "upside down": lambda x: torch.stack([x[0], x[0].flip(1)]),
    "turned": lambda x: torch.cat([x.rot90(turn, (2, 3)) for turn in range(4)]),
    "transposed": lambda x: torch.cat([x, x.transpose(2, 3)]),
    "rolled": lambda x: torch.cat([x, x.roll(1, -1)]),
    "rolled, every second column": lambda x: torch.stack([x, x.roll(1, -1)], 1)[..., ::2].flatten(0, 1),
    "mirrored, left half": lambda x: torch.cat([x, x.flip(-1)])[..., :8],
    "half mirrored": lambda x: torch.cat([x[..., :8], x[..., 8:].flip(-1)]),
    "half transposed": lambda x: torch.cat([x[..., :8, :8], x[..., :8, 8:].transpose(2, 3)]),
    "repeated": lambda x: torch.cat([x, x.flip(-1)]).repeat_interleave(2, 0),
    "along channels": lambda x: torch.cat([x, x.flip(-1)], 1).view(2, 3, 16, 16),
    "along columns": lambda x: torch.cat(torch.cat([x, x.flip(-1)], 3).chunk(2, 3)),
    "five crops": lambda x: crops(x, (0, 0), (0, 8), (8, 0), (8, 8), (4, 4)),
    "two crops": lambda x: crops(x, (0, 0), (8, 8)),
    "crops with a gap": lambda x: torch.cat([x[..., :4], x[..., 12:]]),
}


@pytest.mark.parametrize("name", SEVERAL)
def test_a_batch_of_several_images_is_not_joined(name):
    """Each map is the first row that a hook sees, with a note; several images are never joined as windows of one."""
    network, image, seen = Batched(SEVERAL[name]).eval(), torch.rand(1, 3, 16, 16), {}
    for part, module in network.layers.named_children():
        module.register_forward_hook(
            lambda _module, _given, out, part=part: seen.update({f"layers.{part}": out.clone()})
        )
    found = [maps for maps in capture_features(network, image, "layers.*") if maps.layer in seen]
    assert [maps.layer for maps in found] == list(seen)
    for maps in found:
        np.testing.assert_array_equal(maps.values, seen[maps.layer][0].numpy())
        assert any("along its first axis" in note for note in maps.notes), maps.layer
    assert all(layer.field is None for layer in trace(network, (3, 16, 16)).layers)


WINDOWS = {
    "quarters": lambda x: crops(x, (0, 0), (0, 8), (8, 0), (8, 8)),
    "shifted": lambda x: x.roll((-1, -1), (2, 3)).view(1, 3, 8, 2, 8, 2).permute(0, 2, 4, 1, 3, 5).reshape(-1, 3, 2, 2),
    "spaced": lambda x: torch.cat([x[..., row::2, column::2] for row in (0, 1) for column in (0, 1)]),
}


@pytest.mark.parametrize("name", WINDOWS)
def test_windows_of_one_image_are_joined(name):
    """A batch that holds each position once, in the same order in each window, is one map."""
    image = torch.randn(1, 3, 16, 16)
    (maps,) = capture_features(Windowed(WINDOWS[name]).eval(), image, "act")
    np.testing.assert_array_equal(maps.values, image[0].relu().numpy())


class Windowed(nn.Module):
    """An activation of windows."""

    def __init__(self, cut):
        super().__init__()
        self.cut, self.act = cut, nn.ReLU()

    def forward(self, image):
        """The activation."""
        return self.act(self.cut(image))


class Unfollowed(nn.Module):
    """A layer after operations that lose where elements are."""

    def __init__(self, layer):
        super().__init__()
        self.first, self.layer = nn.Conv2d(3, 8, 3), layer

    def forward(self, image):
        """Chosen values as a map."""
        maps = self.first(image).flatten(2)
        chosen = maps.sum(1).topk(144)[1]
        return self.layer(maps.gather(2, chosen[:, None].expand(-1, 8, -1)).view(1, 8, 12, 12))


LAYERS = [
    nn.LocalResponseNorm(3), nn.Softmax2d(), nn.Dropout2d(), nn.ReflectionPad2d(1), nn.ZeroPad2d(1), nn.PixelShuffle(2),
    nn.PixelUnshuffle(2), nn.ChannelShuffle(2), nn.InstanceNorm2d(8), nn.UpsamplingBilinear2d(scale_factor=2),
    nn.Upsample(scale_factor=2), nn.LPPool2d(2, 2), nn.ConvTranspose2d(8, 2, 2),
]  # fmt: skip


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: type(layer).__name__)
def test_a_layer_of_maps_returns_maps_by_its_contract(layer):
    """The output of a 2-D layer is a map whatever came before it, as a hook sees it."""
    network, image, seen = Unfollowed(layer).eval(), torch.rand(1, 3, 14, 14), []
    with torch.no_grad():
        handle = layer.register_forward_hook(lambda _module, _given, out: seen.append(out.clone()))
        network(image)
        handle.remove()
    (maps,) = capture_features(network, image, "layer")
    np.testing.assert_array_equal(maps.values, seen[0][0].numpy())
    assert any("receptive field unknown" in note for note in maps.notes)


class InThreads(nn.Module):
    """Two branches in other threads, then their sum."""

    def __init__(self, *, item=False):
        super().__init__()
        self.first, self.left, self.right = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)
        self.last, self.item = nn.Conv2d(4, 2, 3), item

    def forward(self, image):
        """The last convolution of both branches."""
        image = self.first(image)
        image = image * image.mean().item() if self.item else image
        both = threading.Barrier(2, timeout=10)

        def branch(layer):
            both.wait()
            return torch.relu(layer(image))

        with ThreadPoolExecutor(2) as pool:
            left, right = pool.map(branch, (self.left, self.right))
        return self.last(left + right)


@pytest.mark.parametrize("item", [False, True])
def test_operations_in_other_threads(item):
    """What other threads compute is captured; that its receptive fields are not known is reported with the reason."""
    network, image = InThreads(item=item).eval(), torch.rand(3, 12, 12)
    found = {maps.layer: maps for maps in capture_features(network, image, "*")}
    assert {"first", "left", "right", "last"} <= {*found}
    with torch.no_grad():
        np.testing.assert_array_equal(found["last"].values, network(image[None])[0].numpy())
    assert all("it reads no image" not in note for maps in found.values() for note in maps.notes)
    if not item:
        assert "in other threads" in trace(network, (3, 12, 12)).layer("last").lost


def test_tensors_made_of_numbers_are_constants():
    """A weight that a forward pass makes of numbers, on the device of its input, loses no receptive fields."""
    network = Between(lambda maps: maps * maps.new_tensor([[[[2.0]]]]) + torch.tensor([0.5], device=maps.device))
    assert all(layer.field is not None for layer in trace(network, (3, 12, 12)).layers)

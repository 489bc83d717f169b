"""The size of a receptive field is that of units inside the image, and does not depend on the size of the image."""

from __future__ import annotations

import pytest
import timm
import torch
from timm_modules import one_of_each
from torch import nn
from torch.nn import functional

from kernelviz.errors import KernelvizError
from kernelviz.explain.texts import field_text as field_sentence
from kernelviz.network.tracing.trace import trace
from kernelviz.traces import field_text, layer_entry


def sizes(traced, name):
    """The sizes of a layer's receptive field, rows first."""
    return [axis.size for axis in traced.layer(name).field.axes]


def size_inside(axis, side):
    """The largest span of the boxes that do not touch the border; 0 if all do."""
    inside = (axis.first > 0) & (axis.last < side - 1) & (axis.first <= axis.last)
    return int((axis.last - axis.first + 1)[inside].max(initial=0))


def check_sizes(network, size, factor=3):
    """How many sizes are those of units inside an image of this size, or of one several times as large."""
    larger = (size[0], *(factor * side for side in size[1:]))
    small, large = trace(network, size), trace(network, larger)
    compared = 0
    for layer in small.layers:
        other = large.layer(layer.name)
        assert layer.field or layer.lost, f"{layer.name} has neither a receptive field nor a reason"
        if layer.field is None or other.field is None:
            continue
        for axis, second, side, second_side in zip(
            layer.field.axes, other.field.axes, size[1:], larger[1:], strict=True
        ):
            inside, second_inside = size_inside(axis, side), size_inside(second, second_side)
            if not inside and not second_inside:
                mixed = layer.field.mixes_image or other.field.mixes_image
                assert mixed or axis.size == second.size, layer.name
                continue  # every unit may read the whole image
            if axis.size is None or second.size is None:
                assert layer.lost or other.lost, layer.name
                continue
            assert inside <= axis.size == second.size >= second_inside, layer.name
            if 2 * axis.size <= second_side:
                compared += 1
                assert second_inside == axis.size, layer.name
    return compared


class Step(nn.Module):
    """A function as a layer."""

    def __init__(self, step):
        super().__init__()
        self.step = step

    def forward(self, x):
        """Applies it."""
        return self.step(x)


def between(step):
    """A step between convolutions."""
    convolutions = (
        nn.Conv2d(3, 4, 3, stride=2, padding=1),
        nn.LazyConv2d(4, 3, padding=1),
        nn.Conv2d(4, 4, 3, padding=1),
    )
    network = nn.Sequential(convolutions[0], Step(step), *convolutions[1:])
    network(torch.zeros(1, 3, 32, 32))
    return network


def refold(x):
    """Windows as columns, and back."""
    columns = functional.unfold(x, 3, padding=1)
    return torch.cat([x, functional.fold(columns, x.shape[2:], 3, padding=1) / 9], 1)


def in_zeros(x):
    """Padding by a write into zeros."""
    padded = x.new_zeros(*x.shape[:2], x.shape[2] + 2, x.shape[3] + 2)
    padded[:, :, 1:-1, 1:-1] = x
    return padded


def in_a_batch(x):
    """Padding by a write into a row of a batch of zeros, of an image without the axis of the batch."""
    padded = x.new_zeros(1, x.shape[1], x.shape[2] + 2, x.shape[3] + 2)
    for number, image in enumerate(x):
        padded[number, : image.shape[0], 1:-1, 1:-1].copy_(image)
    return padded


def tiles(x):
    """A map written in two halves."""
    result, half = torch.empty_like(x), x.shape[2] // 2
    result[:, :, :half], result[:, :, half:] = x[:, :, :half].relu(), x[:, :, half:].tanh()
    return result


def shifted_channels(x):
    """Some channels moved by a row, in the memory of the map."""
    result = x.clone()
    result[:, :1, 1:] = x[:, :1, :-1]
    return result


def joined_ends(x):
    """Circular padding by joining slices."""
    x = torch.cat([x[:, :, -2:], x, x[:, :, :2]], 2)
    return torch.cat([x[..., -2:], x, x[..., :2]], 3)


REGULAR = {
    "circular": (lambda x: functional.pad(x, (2, 2, 2, 2), mode="circular"), [7, 7]),
    "reflect": (lambda x: functional.pad(x, (2, 2, 2, 2), mode="reflect"), [7, 7]),
    "replicate": (lambda x: functional.pad(x, (2, 2, 2, 2), mode="replicate"), [7, 7]),
    "fold": (refold, [7, 7]),
    "in zeros": (in_zeros, [7, 7]),
    "in a batch": (in_a_batch, [7, 7]),
    "in halves": (tiles, [7, 7]),
    "joined ends": (joined_ends, [7, 7]),
    "by index": (lambda x: x[:, :, torch.arange(-2, x.shape[2] + 2) % x.shape[2]], [7, 7]),
    "shifted channels": (shifted_channels, [9, 7]),
    "turned": (lambda x: x.flip(2), [7, 7]),
    "turned beside": (lambda x: torch.cat([x, x.flip(2)], 2), [7, 7]),
    "rolled": (lambda x: x.roll((3, -2), (2, 3)), [7, 7]),
    "rolled and back": (lambda x: functional.avg_pool2d(x.roll(3, 2), 3, 1, 1).roll(-3, 2), [11, 11]),
    "rolled and added": (lambda x: x.roll(2, 3) + x, [7, 11]),
    "joined anew": (lambda x: torch.cat([x[:, :, 4:], x[:, :, :4]], 2), [7, 7]),
    "repeated": (lambda x: x.repeat(1, 1, 2, 1), [7, 7]),
    "interleaved": (lambda x: x.repeat_interleave(2, 2), [5, 7]),
    "enlarged": (lambda x: functional.interpolate(x, scale_factor=2, mode="bilinear"), [7, 7]),
    "reduced": (lambda x: functional.interpolate(x, scale_factor=0.5, mode="bilinear"), [13, 13]),
    "enlarged to a size": (lambda x: functional.interpolate(x, size=[2 * side for side in x.shape[2:]]), [5, 5]),
    "cut": (lambda x: x[:, :, 2:-3, 1:], [7, 7]),
}


@pytest.mark.parametrize("name", REGULAR)
def test_moved_rows_leave_the_size_of_a_field(name):
    """However rows were moved, copied or written, the next convolution reads as many as without."""
    step, expected = REGULAR[name]
    network = between(step)
    assert [sizes(trace(network, size), "2") for size in ((3, 32, 48), (3, 96, 64))] == [expected] * 2
    assert check_sizes(network, (3, 32, 32)) >= 8


def test_a_stride_over_columns_that_read_nothing_keeps_the_rows():
    """Zeros to the right of an image, as of a batch of images of several sizes, leave its rows where they are."""

    def widened(x):
        batch = x.new_zeros(1, 3, x.shape[2], x.shape[3] + 8)
        batch[0, :, :, : x.shape[3]] = x[0]
        return batch

    layer = trace(nn.Sequential(Step(widened), nn.Conv2d(3, 4, 3, stride=2, padding=1)), (3, 16, 24)).layer("1")
    assert (layer.layout, [axis.jump for axis in layer.field.axes]) == ("N C H W", [2, 2])


def test_a_window_of_the_whole_map_has_no_size():
    """Attention in windows that cover this image, but not one of twice the size, before a convolution."""
    with torch.device("meta"):
        network = timm.create_model("efficientvit_m0")
    layer = trace(network, (3, 224, 224)).layer("stages.1.blocks.0.dw0.m.conv")
    assert [axis.size for axis in layer.field.axes] == [None, None]
    assert "depends on the size of the image" in layer.lost


@pytest.mark.parametrize(
    ("step", "expected"),
    [(lambda x: x + x.flip(3), [3, None]), (lambda x: x[:, :, : x.shape[2] // 2] + x[:, :, x.shape[2] // 2 :], [None, 3]),
     (lambda x: functional.adaptive_avg_pool2d(x, 5), [None, None]), (lambda x: x + x.roll(3, 3), [3, None]),
     ],
)  # fmt: skip
def test_a_size_that_depends_on_the_image_is_unknown(step, expected):
    """If units inside read more of a larger image, no size is reported but the reason; boxes stay known."""
    network = between(step)
    traced = trace(network, (3, 32, 32))
    layer = traced.layer("1")
    assert sizes(traced, "1") == layer_entry(layer)["receptive_field"]["size"] == expected
    assert "depends on the size of the image" in layer.lost
    assert layer.lost == layer_entry(layer)["unknown"]
    assert "?" in field_text(layer)
    assert field_sentence(layer).startswith("not known: the number of rows")
    assert traced.field_of("1", 2, 2).bottom >= 0
    check_sizes(network, (3, 32, 32))


def test_a_convolution_after_resizing_to_a_set_size_has_no_size():
    """A unit of the resized map reads as many cells in any image, and its neighbour is as far away as the image demands."""
    traced = trace(between(lambda x: functional.interpolate(x, size=(24, 24), mode="bilinear")), (3, 32, 32))
    assert (sizes(traced, "1"), sizes(traced, "2")) == ([5, 5], [None, None])


def test_a_recurrent_layer_has_no_size():
    """A layer that goes along the rows reads all of them, how many the image may have."""

    class Recurrent(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.layer, self.out = nn.Conv2d(3, 4, 3), nn.LSTM(4, 5, batch_first=True), nn.Identity()

        def forward(self, x):
            return self.out(self.layer(self.conv(x)[0].permute(2, 1, 0))[0])

    traced = trace(Recurrent(), (3, 8, 12))
    assert sizes(traced, "out") == [None, 3]
    assert "depends on the size of the image" in traced.layer("out").lost


@pytest.mark.parametrize("size", [(3, 128, 192), (3, 64, 64), (3, 5, 4)])
def test_a_circular_convolution_reads_its_kernel(size):
    """A kernel of seven rows reads seven, in an image of any size."""
    network = nn.Sequential(nn.Conv2d(3, 8, 7, padding=3, padding_mode="circular"))
    assert sizes(trace(network, size), "0") == [7, 7]


@pytest.mark.parametrize("mode", ["zeros", "circular", "reflect", "replicate"])
@pytest.mark.parametrize("size", [(3, 224, 224), (3, 64, 96)])
def test_padding_modes_have_the_sizes_of_zeros(mode, size):
    """The fields of a ResNet are the published ones whatever its convolutions are padded with."""
    network = pytest.importorskip("torchvision").models.resnet18(weights=None)
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and module.kernel_size[0] > 1:
            module.padding_mode = mode
            module._reversed_padding_repeated_twice = [side for side in module.padding[::-1] for _ in range(2)]
    traced = trace(network, size)
    names = ("conv1", "layer1.0.conv1", "layer2.0.conv1", "layer4.1.conv2")
    assert [sizes(traced, name) for name in names] == [[side] * 2 for side in (7, 19, 51, 435)]


@pytest.mark.parametrize("size", [(3, 24, 40), (3, 96, 40)])
def test_a_folded_map_reads_no_more(size):
    """Columns that are folded back and joined with their map add nothing."""
    network = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), Step(refold), nn.Conv2d(8, 4, 3, padding=1))
    assert sizes(trace(network, size), "2") == [5, 5]


@pytest.mark.parametrize("name", ["swin_tiny_patch4_window7_224", "swinv2_cr_tiny_ns_224"])
def test_shifted_windows_read_their_windows(name):
    """Rolled windows read two windows, not both ends of the image."""
    traced = trace(timm.create_model(name), (3, 224, 224))
    names = [f"{'layers' if 'cr' not in name else 'stages'}.0.blocks.{block}.attn" for block in (0, 1)]
    assert [sizes(traced, name) for name in names] == [[28, 28], [56, 56]]


SAMPLE = [
    ("resnet18d", (64, 96)), ("test_efficientnet", (97, 81)), ("mobilenetv3_small_050", (97, 81)), ("vgg11", (64, 64)),
    ("test_convnext", (97, 81)), ("dla46x_c", (96, 64)), ("skresnet18", (64, 64)),
    ("legacy_xception", (97, 81)), ("poolformerv2_s12", (97, 81)),
    *(
        pytest.param(name, size, marks=pytest.mark.slow) for name, size in (
            ("twins_svt_small", (224, 224)), ("ghostnet_050", (97, 81)), ("hrnet_w18_small", (64, 96)),
            ("tresnet_m", (64, 64)),
        )
    ),
]  # fmt: skip


@pytest.mark.sampled
@pytest.mark.parametrize(("name", "size"), SAMPLE)
def test_sizes_are_those_of_units_inside_the_image(name, size):
    """In two images, for every layer of a sample of families."""
    check_zoo(name, size)


@pytest.mark.slow
@pytest.mark.parametrize(("module", "name"), one_of_each())
def test_sizes_of_every_module_of_timm(module, name):
    """In two images, for every layer of a network of each of timm's modules."""
    del module
    check_zoo(name, timm.get_pretrained_cfg(name, allow_unregistered=True).input_size[1:])


def check_zoo(name, size):
    """The sizes of a network that takes images of any size."""
    with torch.device("meta"):
        network = timm.create_model(name)
    try:
        check_sizes(network, (3, *size))
    except KernelvizError as error:
        assert "does not take" in error.what  # noqa: PT017
        pytest.skip("takes images of one size only")

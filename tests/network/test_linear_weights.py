"""A layer as linear weights on pixels: exact where the network is affine, and judged by what it really gives elsewhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from kernelviz import expand_units, read_image, read_kernels, select_layers, trace
from kernelviz.errors import KernelvizError, UsageError
from kernelviz.network.affine import AffineCopy
from kernelviz.network.capture import make_taps
from kernelviz.network.linear_weights import fields_of, linear_weights

TABLE = {  # of EfficientNet-Lite0: the field, then medians and channels of one half or more with s = 1 and with mean slopes
    "conv_stem": (3, 1.0, 28, 1.0, 28),
    "blocks.0.0.conv_dw": (7, 0.894, 26, 0.894, 26),
    "blocks.0.0": (7, 0.670, 15, 0.765, 15),
    "blocks.1.0.conv_dw": (11, 0.757, 67, 0.814, 67),
    "blocks.1.0": (11, 0.086, 3, 0.095, 4),
    "blocks.1.1.conv_dw": (19, 0.039, 23, 0.059, 26),
    "blocks.1.1": (19, 0.047, 0, 0.073, 1),
    "blocks.2.0.conv_dw": (35, 0.007, 3, 0.006, 10),
    "blocks.2.0": (35, 0.015, 0, 0.020, 0),
}


def photographs():
    """Seventeen photographs that pip brings, in scikit-image, scikit-learn and matplotlib."""
    import skimage
    import sklearn

    names = (
        "astronaut brick camera cell china clock_motion coffee coins flower grass gravel hubble_deep_field ihc moon "
    )
    names += "motorcycle_right rocket"
    folders = Path(skimage.__file__).parent / "data", Path(sklearn.__file__).parent / "datasets" / "images"
    files = {path.stem: path for folder in folders for path in folder.iterdir() if path.suffix in {".png", ".jpg"}}
    return [read_image(source) for source in (*(files[name] for name in names.split()), "sample:grace_hopper")]


class Net(nn.Module):
    """Two convolutions with something between them."""

    def __init__(self, between, **options):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(3)
            self.first, self.last = nn.Conv2d(3, 8, 3, **options), nn.Conv2d(8, 6, 3)
        self.between = between

    def forward(self, image):
        """The maps of the last convolution."""
        return self.last(self.between(self.first(image)))


def noise(count=4, side=24, seed=0):
    """Images of noise."""
    return list(torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(seed)))


@pytest.fixture(scope="module")
def two():
    """Two photographs."""
    return [read_image("sample:grace_hopper"), *photographs()[:1]]


def test_the_first_convolution_has_its_stored_kernels_bitwise(bundled, two):
    """No activation comes before it: its weights on pixels are its kernels, and explain all that is not constant."""
    found = expand_units(bundled, two, "conv_stem", input_size=64)
    stored = read_kernels(bundled, select_layers(bundled, "conv_stem")[0]).weight
    assert found.weights.astype(np.float32).tobytes() == stored.tobytes()
    assert (int((~found.dead).sum()), found.activations, found.constant.any()) == (28, 0, False)
    assert np.allclose(found.explained[~found.dead], 1.0, rtol=0, atol=1e-9)


def affine_copy(network, layer, size):
    """A copy with random slopes, its tensor, and its receptive fields."""
    (tap,) = make_taps(network, size, layer, batch=torch.zeros(1, *size)).taps.taps
    made = AffineCopy(getattr(network, "module", network), [tap])
    made.check(size)
    made.measure(torch.randn(1, *size, generator=torch.Generator().manual_seed(5)))
    generator = torch.Generator().manual_seed(6)
    made.slopes = {
        call: torch.randn(total.shape, generator=generator, dtype=torch.float64)
        for call, (total, _) in made.sums.items()
    }
    return made, tap, fields_of(tap, size)


@pytest.mark.parametrize(
    "layer",
    ["blocks.1.0.conv_dw", *(pytest.param(one, marks=pytest.mark.slow) for one in ("blocks.1.1", "blocks.2.0"))],
)
def test_the_response_is_that_of_the_weights_for_any_slopes(bundled, layer):
    """With random slopes, each unit with its field inside computes weights · patch + constant, to 1e-12 in float64."""
    size = (3, 64, 64)
    made, tap, fields = affine_copy(bundled, layer, size)
    weights, constant = linear_weights(made, tap, fields)
    image = torch.randn(1, *size, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    (maps,) = made.run(image, "affine")
    for row, column in ((fields.inside[0][0], fields.inside[1][-1]), fields.unit):
        box = fields.box((row, column))
        patch = image[0, :, box.top : box.bottom + 1, box.left : box.right + 1].numpy()
        expected = (weights * patch).sum((1, 2, 3)) + constant
        assert np.abs(maps[0, :, row, column].numpy() - expected).max() <= 1e-12 * np.abs(expected).max()


def test_the_weights_are_on_the_field_of_the_trace():
    """Each side of the receptive field has weights, and the box is that of the trace."""
    net = Net(nn.Sequential(nn.ReLU(), nn.AvgPool2d(2)), padding=1)
    found = expand_units(net, noise(2), "last")
    field = trace(net, (3, 24, 24)).field_of("last", *found.unit)
    assert found.box == (field.top, field.bottom, field.left, field.right)
    alive = np.abs(found.weights).max((0, 1))
    assert all(side.any() for side in (alive[0], alive[-1], alive[:, 0], alive[:, -1]))


@pytest.mark.slow
def test_the_weights_are_on_the_receptive_field(bundled, two):
    """The support of the weights is the field of the trace: rows 110 to 120 for unit 28 of blocks.1.0.conv_dw."""
    found = expand_units(bundled, two, "blocks.1.0.conv_dw", input_size=64)
    field = trace(bundled, (3, 64, 64)).field_of("blocks.1.0.conv_dw", *found.unit)
    assert found.box == (field.top, field.bottom, field.left, field.right)
    box = trace(bundled).field_of("blocks.1.0.conv_dw", 28, 28)
    assert (box.top, box.bottom, found.weights.shape) == (110, 120, (96, 3, 11, 11))
    alive = np.abs(found.weights[~found.dead]).max((0, 1))
    assert all(side.any() for side in (alive[0], alive[-1], alive[:, 0], alive[:, -1]))


@pytest.mark.slow
@pytest.mark.parametrize("layer", TABLE)
def test_what_layers_of_a_network_explain(bundled, layer):
    """Over photographs the first two blocks are explained and later ones are not; mean slopes explain more."""
    field, one, ones, mean, means = TABLE[layer]
    images = photographs()
    for slopes, median, half in (("one", one, ones), ("mean", mean, means)):
        found = expand_units(bundled, images, layer, slopes=slopes)
        assert found.weights.shape[2:] == (field, field)
        assert found.median == pytest.approx(median, abs=0.01)
        assert abs(int(found.half.sum()) - half) <= 1
    if layer == "blocks.1.0.conv_dw":
        assert np.allclose(found.explained[[1, 7, 15, 21]], (0.8893, 0.9230, 0.8084, 0.9234), atol=0.01)


def test_the_mean_slope_is_that_of_the_measured_images():
    """It is the mean derivative over all units of every second image, one per channel, and the weights follow from it."""
    net, images = Net(nn.ReLU()), noise()
    found = expand_units(net, images, "last")
    with torch.no_grad():
        slopes = torch.stack([(net.double().first(image[None].double()) > 0).double() for image in images[::2]]).mean(
            (0, 1, 3, 4)
        )
        kernel = functional.conv_transpose2d(
            net.last.weight.flip(2, 3) * slopes[:, None, None], net.first.weight.flip(2, 3)
        )
    assert np.allclose(found.weights, kernel.flip(2, 3).numpy(), rtol=0, atol=1e-12)
    assert (found.measured, found.judged) == (("image 0", "image 2"), ("image 1", "image 3"))


def test_explained_is_the_square_of_the_correlation():
    """r² over all units with their field inside and over the other images, 0 where r < 0."""
    net, images = Net(nn.ReLU(), padding=1), noise()
    found = expand_units(net, images, "last")
    responses, real = [], []
    for image in images[1::2]:
        responses.append(functional.conv2d(image[None].double(), torch.from_numpy(found.weights))[0].flatten(1))
        with torch.no_grad():
            real.append(net(image[None])[0, :, 1:-1, 1:-1].flatten(1).double())
    one, other = torch.cat(responses, 1), torch.cat(real, 1)
    expected = [np.corrcoef(a, b)[0, 1] for a, b in zip(one.numpy(), other.numpy(), strict=True)]
    assert np.allclose(found.explained, np.square(np.maximum(expected, 0)), atol=1e-6)
    assert found.units == one.shape[1]


def test_a_network_without_activations_is_explained():
    """There is nothing to replace: all of the variation is explained."""
    found = expand_units(Net(nn.Sequential(nn.BatchNorm2d(8), nn.AvgPool2d(2))), noise(), "last")
    assert np.allclose(found.explained, 1.0, atol=1e-9)
    assert (found.activations, found.pools) == (0, ())


def in_place(maps):
    """An activation that overwrites its input, and whose result is not used."""
    functional.relu(maps, True)  # noqa: FBT003 - as it may be written
    return maps


class Swish(nn.Module):
    """A smooth activation made of several operations."""

    def forward(self, maps):
        """The maps times their own gate."""
        return maps * torch.sigmoid(1.7 * maps)


class Square(torch.autograd.Function):
    """An activation that torch's functions do not show."""

    @staticmethod
    def forward(context, maps):
        """The square of positive values."""
        context.save_for_backward(maps)
        return maps.clamp(min=0) ** 2

    @staticmethod
    def backward(context, gradient):
        """Its derivative."""
        return gradient * 2 * context.saved_tensors[0].clamp(min=0)


class Hidden(nn.Module):
    """A module around it."""

    def forward(self, maps):
        """The square of positive values."""
        return Square.apply(maps)


@pytest.mark.parametrize(
    "between",
    [nn.ReLU(inplace=True), functional.gelu, torch.Tensor.relu_, in_place, nn.PReLU(8), nn.Hardswish(), Swish(), Hidden(),
     lambda maps: torch.cat([maps[:, :4].clamp(0, 6), maps[:, 4:]], 1)],
)  # fmt: skip
def test_activations_of_any_kind_are_replaced(between):
    """Modules, functions, methods, in place or not, made of several operations or hidden from torch: one is found."""
    found = expand_units(Net(between), noise(), "last")
    assert found.activations == 1
    assert (found.explained > 0.3).all()


@pytest.mark.parametrize(
    ("between", "message"),
    [
        (nn.GroupNorm(2, 8), "between has no linear stand-in: it normalises by the values of the image"),
        (nn.BatchNorm2d(8, track_running_stats=False), "batch norm without statistics"),
        (
            lambda maps: maps * maps.mean((2, 3), keepdim=True).sigmoid(),
            "multiplies values that both depend on the image",
        ),
        (nn.Softmax2d(), "as attention does"),
        (functional.dropout, "drops values at random"),
        (lambda maps: torch.where(maps > 0, maps, 0 * maps), "calls gt"),
        (lambda maps: maps / maps.norm(), "normalises by the values of the image"),
        (lambda maps: maps.detach(), "calls detach"),
        (Square.apply, "Net has no linear stand-in: it is no affine function of its input"),
        (lambda maps: maps.permute(0, 2, 3, 1).relu().permute(0, 3, 1, 2), "not all read the image in the same way"),
        (nn.Upsample(scale_factor=2), "not all read the image in the same way"),
        (lambda maps: maps + maps.mean((2, 3), keepdim=True), "reads the whole image"),
    ],
)
def test_what_has_no_linear_stand_in_is_refused_by_name(between, message):
    """Norms over the image, gates, attention and other paths are named, with the module that they are in."""
    with pytest.raises(KernelvizError, match=message):
        expand_units(Net(between), noise(), "last")


def test_maxima_become_means():
    """A max pool is replaced by a mean pool, which the record states."""
    found = expand_units(Net(nn.Sequential(nn.ReLU(), nn.MaxPool2d(2))), noise(), "last")
    assert (found.pools, found.weights.shape) == (("between.1",), (6, 3, 8, 8))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "layer", "message"),
    [
        ("efficientnet_b0", "blocks.1.0.conv_dw", r"blocks\.0\.0\.se .* as gates and attention do"),
        ("convnext_atto", "stages.0.blocks.0", r"stem\.1 .*layer_norm"),
        ("vit_tiny_patch16_224", "blocks.0", r"blocks\.0\.norm1 .*layer_norm"),
    ],
)
def test_gates_and_attention_of_networks_are_refused_by_name(name, layer, message):
    """The module on the way is named."""
    import timm

    side = 224 if "224" in name else 64
    with torch.random.fork_rng(devices=[]), pytest.raises(KernelvizError, match=message):
        expand_units(timm.create_model(name), noise(2, side), layer)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "layer"),
    [("resnet18", "layer1.0.conv1"), ("vgg11_bn", "features.4"), ("densenet121", "features.denseblock1.denselayer1.conv1"),
     ("mobilenetv2_100", "blocks.1.0.conv_dw"), ("regnetx_002", "s1.b1.conv1"), ("repvgg_a0", "stages.0.0"),
     ("darknet53", "stages.0.blocks.0.conv1"), ("xception41", "blocks.0.stack.conv1"), ("dla34", "level1"),
     ("nfnet_f0", "stem.conv2"), ("mobilenetv3_small_100", "blocks.0.0.conv_dw"), ("ghostnet_100", "blocks.0.0")],
)  # fmt: skip
def test_families_of_networks_are_affine_with_random_slopes(name, layer):
    """Of a dozen families the response equals weights · patch + constant, and the weights are on the field."""
    import timm

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = timm.create_model(name)
    size = (3, 96, 96)
    made, tap, fields = affine_copy(network, layer, size)
    weights, constant = linear_weights(made, tap, fields)
    image = torch.randn(1, *size, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    row, column = fields.unit
    box = fields.box(fields.unit)
    patch = image[0, :, box.top : box.bottom + 1, box.left : box.right + 1].numpy()
    expected = (weights * patch).sum((1, 2, 3)) + constant
    assert (
        np.abs(made.run(image, "affine")[0][0, :, row, column].numpy() - expected).max()
        <= 1e-12 * np.abs(expected).max()
    )


def test_the_network_is_not_touched():
    """Weights, modes, hooks, gradients and random states are those of before, and no hook is called more than before."""
    net = Net(nn.Sequential(nn.BatchNorm2d(8), nn.ReLU()))
    net.train()
    net.first.eval()
    net.last.register_forward_hook(lambda *_: None)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    modes, states = [part.training for part in net.modules()], (torch.get_rng_state(), np.random.get_state()[1].copy())  # noqa: NPY002
    expand_units(net, noise(), "last")
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert [part.training for part in net.modules()] == modes
    assert [len(part._forward_hooks) + len(part._forward_pre_hooks) for part in net.modules()] == [0, 0, 1, 0, 0, 0]
    assert all(parameter.grad is None and parameter.requires_grad for parameter in net.parameters())
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (np.random.get_state()[1] == states[1]).all()  # noqa: NPY002


@pytest.mark.slow
def test_a_layer_without_a_field_inside_the_image_is_refused(bundled, two):
    """There are then no weights that are the same for several units."""
    with pytest.raises(
        KernelvizError, match=r"No unit of blocks\.1\.1 has its receptive field of 19 px inside an image of 16"
    ):
        expand_units(bundled, two, "blocks.1.1", input_size=16)


def test_images_that_cannot_judge(bundled, two):
    """One image alone, and the same one twice, judge nothing; with s = 1 a single one judges."""
    with pytest.raises(UsageError, match="At least two images"):
        expand_units(Net(nn.ReLU()), noise(1), "last")
    with pytest.raises(KernelvizError, match="on which the weights are judged"):
        expand_units(bundled, [two[0], two[0]], "conv_stem", input_size=32)
    assert expand_units(Net(nn.ReLU()), noise(1), "last", slopes="one").judged == ("image 0",)
    with pytest.raises(UsageError, match="At least one image is needed, on which the weights are judged"):
        expand_units(Net(nn.ReLU()), [], "last", slopes="one")


def test_few_receptive_fields_that_explain_by_chance_are_noted():
    """Weights judged on few values are explained by chance: it is stated, unless the network is affine anyway."""
    few = expand_units(Net(nn.ReLU()), noise(6, 9), "last")  # 5 × 5 pixels are read
    assert few.notes[0].startswith("few data: the images on which the weights are judged contain only 3 separate")
    assert not expand_units(Net(nn.ReLU()), noise(6), "last").notes  # 3 × 4 × 4
    assert not expand_units(Net(nn.Identity()), noise(6, 9), "last").notes


def test_an_image_that_fails_is_left_out():
    """It is reported with its index, and the others count."""
    failed = []
    images = [*noise(3), torch.full((3, 24, 24), torch.nan), *noise(1, seed=4)]
    found = expand_units(
        Net(nn.ReLU()), images, "last", on_error=lambda number, error: failed.append((number, error.what))
    )
    assert failed == [(3, "The image has values that are not finite.")]
    assert found.judged == ("image 1",)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layer": "*"}, "One layer must be named"),
        ({"layer": "lost"}, "lost"),
        ({"slopes": "half"}, "slopes must be mean or one"),
        ({"images": torch.zeros(3, 24, 24)}, "must be several"),
        ({"images": noise(2, 4)}, "does not take an input of 3 × 4 × 4"),
    ],
)
def test_wrong_usage_is_refused(change, message):
    """What cannot be expanded is refused in one sentence."""
    arguments = {"images": noise(2), "layer": "last", "slopes": "mean"} | change
    with pytest.raises(KernelvizError, match=message):
        expand_units(Net(nn.ReLU()), arguments["images"], arguments["layer"], slopes=arguments["slopes"])

import numpy as np
import pytest
import timm
import torch
from PIL import Image as Pillow
from timm.data import create_transform, resolve_data_config, resolve_model_data_config
from timm.models import get_arch_pretrained_cfgs

from kernelviz.errors import InputSizeError, UsageError
from kernelviz.files.images import read_image
from kernelviz.network.model import Model, load_model
from kernelviz.network.preprocessing import prepare
from kernelviz.network.tracing.trace import trace
from kernelviz.records import Source

RNG = np.random.default_rng(2)
MODELS = {
    "tf_efficientnet_lite0": ("bicubic", "center"),
    "resnet18d": ("bicubic", "center"),
    "inception_v3": ("bicubic", "center"),
    "coat_lite_medium_384": ("bicubic", "squash"),
    "test_vit": ("bicubic", "center"),
    "swin_tiny_patch4_window7_224": ("bicubic", "center"),
    "volo_d4_448": ("bicubic", "center"),
    "csatv2": ("bilinear", "center"),
    "vgg11": ("bilinear", "center"),
    "vit_base_patch16_sapiens2": ("bilinear", "squash"),
    "deepseek_vit_412m": ("bicubic", "border"),
}


@pytest.fixture(scope="module")
def architecture():
    """A function that gives architectures without weights, each once."""
    known = {}

    def load(name):
        if name not in known:
            known[name] = load_model(name, weights=None)
        return known[name]

    return load


def timms(model, image, **changes):
    """What timm's own transform makes of an image for a model."""
    config = resolve_model_data_config(model.module) | changes
    return create_transform(**config, is_training=False)(Pillow.fromarray(image.pixels))[None]


@pytest.fixture(scope="module")
def photographs():
    """The sample, a landscape, a square and some odd small ones."""
    sizes = [(40, 61), (64, 64), (7, 7), (1, 1), (300, 200), (223, 500)]
    made = [read_image(RNG.integers(0, 256, (*size, 3), dtype=np.uint8)) for size in sizes]
    return [read_image("sample:grace_hopper"), *made]


@pytest.mark.parametrize("name", MODELS)
def test_the_input_is_timms_own(name, architecture, photographs):
    """For each kind of resizing, bit for bit what timm's transform gives, on the photograph and on odd sizes."""
    model = architecture(name)
    facts = model.source.preprocessing
    assert (facts["interpolation"], facts["crop_mode"]) == MODELS[name]
    for image in photographs:
        tensor, seen = prepare(model, image)
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, timms(model, image))
        mean, std = (torch.tensor(facts[key])[:, None, None] for key in ("mean", "std"))
        shown = (torch.from_numpy(seen.pixels.transpose(2, 0, 1) / 255) - mean) / std
        assert torch.allclose(shown.float(), tensor[0], atol=1e-5)


def all_configurations():
    """Each way in which timm resizes and crops for one of its pretrained networks, once."""
    keys = ("input_size", "interpolation", "crop_pct", "crop_mode")
    cfgs = (each.to_dict() for name in timm.list_models() for each in get_arch_pretrained_cfgs(name).values())
    return sorted({tuple(resolve_data_config(pretrained_cfg=cfg)[key] for key in keys) for cfg in cfgs})


@pytest.mark.slow
def test_every_configuration_of_timm_is_followed(photographs):
    """For all sizes, crops and filters that pretrained networks of timm name, the input is that of timm's transform."""
    known = all_configurations()
    assert len(known) > 100
    for size, interpolation, fraction, mode in known:
        facts = {"interpolation": interpolation, "crop_pct": fraction, "crop_mode": mode, "mean": (0.4, 0.5, 0.6)}
        facts |= {"std": (0.2, 0.3, 0.1), "input_size": size}
        model = Model(torch.nn.Identity(), Source("any", "any", "any", 0, preprocessing=facts), size)
        for image in (photographs[0], photographs[1], photographs[-1]):
            theirs = create_transform(**facts, is_training=False)(Pillow.fromarray(image.pixels))[None]
            assert torch.equal(prepare(model, image)[0], theirs), facts


@pytest.mark.parametrize("size", [(64, 64), (96, 160), (1, 3)])
def test_another_size_is_timms_too(size, architecture, photographs):
    """With another input size, square or not, the same."""
    model = architecture("resnet18d")
    for image in photographs:
        tensor, seen = prepare(model, image, input_size=size)
        assert torch.equal(tensor, timms(model, image, input_size=(3, *size)))
        assert seen.pixels.shape == (*size, 3)
    assert torch.equal(prepare(model, image, input_size=64)[0], prepare(model, image, input_size=(64, 64))[0])


def test_the_crop_can_be_chosen(architecture, photographs):
    """With a crop, or without one, the input is what timm gives for a configuration that says so."""
    for name, whole in (("resnet18d", "border"), ("coat_lite_medium_384", "squash"), ("deepseek_vit_412m", "border")):
        model = architecture(name)
        for image in photographs[:2]:
            cut = timms(model, image, crop_mode="center")
            assert torch.equal(prepare(model, image, crop=True)[0], cut)
            uncut = timms(model, image, crop_mode=whole, crop_pct=1.0)
            assert torch.equal(prepare(model, image, crop=False)[0], uncut)


@pytest.mark.parametrize("crop", [None, False])
@pytest.mark.parametrize("name", ["resnet18d", "coat_lite_medium_384", "volo_d4_448"])
def test_the_mapping_to_the_image_is_right(name, crop, architecture):
    """A ramp over rows and one over columns tell at each place of the input where in the image it came from."""
    rows, columns = np.mgrid[0:400, 0:600]
    ramps = np.stack([rows * (250 / 400), columns * (250 / 600), np.full(rows.shape, 255)], axis=2)
    image = read_image(np.rint(ramps).astype(np.uint8))
    _, seen = prepare(architecture(name), image, crop=crop)
    inside = seen.pixels[..., 2] == 255
    assert inside.mean() > 0.5
    at = np.indices(seen.pixels.shape[:2]) + 0.5
    for axis, length in ((0, 400), (1, 600)):
        expected = seen.offset[axis] + seen.scale[axis] * at[axis]
        assert np.array_equal(((expected > 0) & (expected < length)).all(1 - axis), inside.any(1 - axis))
        middle = inside & (expected > 6) & (expected < length - 6)
        assert np.abs(seen.pixels[..., axis][middle] - (expected[middle] - 0.5) * 250 / length).max() <= 1.5


def test_what_was_done_is_reported(architecture):
    """Enlarging, cutting, stretching and borders are told in numbers."""
    model = architecture("resnet18d")
    size = model.input_size[1]

    def notes(shape, **choices):
        return prepare(model, read_image(np.zeros((*shape, 3), np.uint8)), **choices)[1].notes

    assert any("enlarged" in note for note in notes((7, 7)))
    assert any("enlarged" in note for note in notes((1, 1)))
    assert notes((size, size), crop=False) == ()
    assert notes((400, 600), input_size=100, crop=False) == ("padded: the image does not fill the input",)
    fraction = model.source.preprocessing["crop_pct"]
    side = round(400 * 100 / int(100 / fraction))
    expected = f"cropped: the network sees the middle {side} × {side} of 600 × 400 pixels"
    assert notes((400, 600), input_size=100) == (expected,)
    squash = architecture("coat_lite_medium_384")
    _, seen = prepare(squash, read_image(np.zeros((800, 1600, 3), np.uint8)))
    assert seen.notes == ("shrunk unevenly: 0.24 times its width, 0.48 times its height",)


@pytest.mark.parametrize("shape", [(1, 500), (500, 1), (3, 1900)])
def test_long_and_thin_images_take_no_memory(shape, architecture, monkeypatch):
    """Of an image that would be resized to hundreds of megapixels, what is seen alone is resized: to the same pixels."""
    image = read_image(RNG.integers(0, 256, (*shape, 3), dtype=np.uint8))
    model = architecture("resnet18d")
    largest = []
    resize = Pillow.Image.resize

    def record_resize(self, size, *rest):
        largest.append(size[0] * size[1])
        return resize(self, size, *rest)

    monkeypatch.setattr(Pillow.Image, "resize", record_resize)
    tensor, seen = prepare(model, image)
    assert max(largest) < 1 << 23
    whole = np.asarray(resize(Pillow.fromarray(image.pixels), _whole(shape, model), Pillow.Resampling.BICUBIC))
    top, left = (round((length - size) / 2) for length, size in zip(whole.shape[:2], model.input_size[1:], strict=True))
    reference = whole[top : top + seen.pixels.shape[0], left : left + seen.pixels.shape[1]]
    assert np.abs(seen.pixels.astype(int) - reference).max() <= 1
    assert tensor.shape == (1, *model.input_size)


def _whole(shape, model):
    """Width and height of the whole image after torchvision's resizing."""
    short = int(model.input_size[1] / model.source.preprocessing["crop_pct"])
    return tuple(int(short * side / min(shape)) for side in reversed(shape))


def one_channel(tmp_path, channels):
    """A model whose weights file shows another number of input channels."""
    from safetensors.torch import save_file

    network = timm.create_model("test_resnet", in_chans=channels)
    save_file(network.state_dict(), tmp_path / "file.safetensors")
    return load_model("test_resnet", weights=tmp_path / "file.safetensors")


def test_a_network_of_one_channel_gets_luma(tmp_path, photographs):
    """It sees 0.299 R + 0.587 G + 0.114 B, and that is said; the input is what timm makes of Pillow's grey image."""
    model = one_channel(tmp_path, 1)
    image = photographs[0]
    tensor, seen = prepare(model, image)
    facts = model.source.preprocessing
    config = resolve_model_data_config(model.module) | {
        "mean": facts["mean"],
        "std": facts["std"],
        "input_size": (1, 160, 160),
    }
    theirs = create_transform(**config, is_training=False)(Pillow.fromarray(image.pixels).convert("L"))[None]
    assert torch.equal(tensor, theirs)
    assert any("luma" in note for note in seen.notes)
    same = read_image(np.full((160, 160, 3), (200, 100, 50), np.uint8))
    grey = prepare(model, same)[1].pixels
    assert np.abs(grey - (0.299 * 200 + 0.587 * 100 + 0.114 * 50)).max() <= 0.51
    assert (grey == grey[..., :1]).all()


def test_a_network_of_four_channels_is_refused(tmp_path, photographs):
    """Nobody can say what the fourth channel should be."""
    with pytest.raises(InputSizeError, match="4 channels"):
        prepare(one_channel(tmp_path, 4), photographs[0])


@pytest.mark.parametrize("name", ["test_vit", pytest.param("mvitv2_tiny", marks=pytest.mark.slow), "lambda_resnet26t"])
def test_a_network_that_takes_a_size_is_not_refused(name, architecture, photographs):
    """Sizes that timm calls too small, or other than the fixed one, are refused only where the forward pass fails."""
    model = architecture(name)
    tensor, _ = prepare(model, photographs[1], input_size=96)
    assert tensor.shape == (1, 3, 96, 96)
    assert trace(model, (3, 96, 96)).macs > 0


@pytest.mark.parametrize("size", [0, -3, (3,), (1, 2, 3), 2.5, (64, "x"), "224", 10**6])
def test_what_is_no_size_is_refused(size, architecture, photographs):
    """Zero, fractions, three numbers and absurd sizes are wrong usage."""
    with pytest.raises(UsageError):
        prepare(architecture("resnet18d"), photographs[1], input_size=size)

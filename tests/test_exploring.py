"""A report holds what the network computed: maps, the sums of its own arithmetic, and what was left out."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
import torch
from PIL import Image
from report_blocks import unpacked, unpacked_pixels
from torch import nn

import kernelviz as kv
from kernelviz import capture_features, load_model, make_report, make_sheet, read_image, save_report, trace_unit
from kernelviz.drawing.colour import levels
from kernelviz.errors import FileInTheWayError, KernelvizError, UnknownLayerError, UsageError
from kernelviz.report.packing import json_text, packed

SIDE = 64


@pytest.fixture(scope="module")
def model():
    """A small network with random weights."""
    return load_model("test_resnet", weights="random")


@pytest.fixture(scope="module")
def image():
    """A photograph."""
    return read_image("sample:grace_hopper")


@pytest.fixture(scope="module")
def report(model, image):
    """All its convolutions on the photograph."""
    return make_report(model, image, input_size=SIDE)


def stored(report):
    """The index as a reader of the page has it, and the parts of each layer by its name."""
    index, blocks = packed(report)
    index = json.loads(json_text(index))
    parts = {entry["name"]: unpacked(entry, blocks[entry["block"]], len(index["images"])) for entry in index["layers"]}
    pixels = [unpacked_pixels(entry, blocks[entry["block"]]) for entry in index["images"]]
    return index, parts, pixels


def worked_out(index, entry, parts, pixels, at):
    """A value as the page works it out: from pixels of 8 bits, mean, deviation and weights."""
    channel, row, column = at
    live, mean, std = entry["live"], np.array(index["input"]["mean"]), np.array(index["input"]["std"])
    top, bottom, left, right = live["around"]
    values = ((pixels / 255 - mean) / std).transpose(2, 0, 1)[: len(mean)]
    padded = np.pad(values, ((0, 0), (top, bottom), (left, right)))
    rows = row * live["stride"][0] + live["dilation"][0] * np.arange(live["kernel"][0])
    columns = column * live["stride"][1] + live["dilation"][1] * np.arange(live["kernel"][1])
    number = entry["shown"].index(channel)
    total = (padded[:, rows[:, None], columns] * parts["weights"][number]).sum()
    return total + (parts["bias"][number] if live["bias"] else 0.0)


def test_maps_are_bitwise_those_of_the_network(model, image, report):
    """What is in the blocks is what ``capture_features`` gives, at the levels of ``make_sheet``."""
    _, parts, _ = stored(report)
    layers = {layer.name: layer for layer in report.layers}
    for maps in capture_features(model, image, list(layers), input_size=SIDE):
        sheet = make_sheet(maps, channels=list(layers[maps.layer].shown), style="bare")
        assert np.array_equal(parts[maps.layer]["maps"][0], levels(sheet.tiles.values, sheet.scale))


def test_the_page_can_work_out_the_layer_that_reads_the_image(model, image, report):
    """The stored pixels and weights add up to the network's values, at borders too."""
    index, parts, pixels = stored(report)
    (entry,) = [entry for entry in index["layers"] if entry["live"]]
    height, width = entry["map"]
    for at in [(0, 0, 0), (1, height - 1, width - 1), (2, height // 2, 0), (3, 5, 7)]:
        value = trace_unit(model, image, entry["name"], at, input_size=SIDE).value
        assert worked_out(index, entry, parts[entry["name"]], pixels[0], at) == pytest.approx(value, abs=1e-5)


def test_other_values_are_stored_exactly(model, image, report):
    """Two units of each map are there, with the value that is traced and terms that add up to it."""
    index, parts, _ = stored(report)
    entry = index["layers"][3]
    units = parts[entry["name"]]["units"]
    assert {unit["at"][1] for unit in units} == set(entry["shown"])
    for unit in units[:: len(units) // 3]:
        traced = trace_unit(model, image, entry["name"], tuple(unit["at"][1:]), input_size=SIDE)
        assert np.float32(unit["value"]) == np.float32(traced.value)
        total = sum(term["sum"] for term in unit["terms"]) + unit["rest"] + (unit["bias"] or 0)
        assert total == pytest.approx(traced.value, abs=1e-4)


def test_receptive_fields_are_those_of_the_trace(model, report):
    """The index has the rows and columns that a unit reads."""
    index, _, _ = stored(report)
    traced = kv.trace(model, (3, SIDE, SIDE))
    for entry in index["layers"]:
        field = traced.layer(entry["name"]).field
        for name, axis, side in zip(("rows", "columns"), field.axes, index["input"]["size"][1:], strict=True):
            found = entry["field"][name]
            if "start" in found:
                first = found["start"] + found["jump"] * np.arange(len(axis.first))
                last = np.minimum(first + found["size"] - 1, side - 1)
                found = {"first": np.maximum(first, 0).tolist(), "last": last.tolist()}
            assert found == {"first": axis.first.tolist(), "last": axis.last.tolist()}


def test_inputs_lead_to_the_layer_that_made_them(report):
    """Each row of makers names a layer of the index and channels that it has."""
    index, _, _ = stored(report)
    makers = [row for entry in index["layers"] for row in entry["makers"]]
    assert makers
    for _, count, layer, channel, _ in makers:
        assert channel + count <= index["layers"][layer]["out"]


def test_the_same_inputs_give_the_same_bytes(model, image, report):
    """The page has no time, no path and no address in it."""
    again = make_report(model, image, input_size=SIDE)
    assert hashlib.sha256(again.html.encode()).digest() == hashlib.sha256(report.html.encode()).digest()
    assert "://" not in report.html.replace("http://www.w3.org/2000/svg", "")


def test_a_page_is_bounded_and_states_what_it_leaves_out(model, image):
    """The page of a network that does not fit is smaller than its bound, and its notes count what is shown."""
    report = make_report(load_model("test_efficientnet", weights="random"), image, max_size=1)
    assert len(report.html.encode()) <= 10**6
    assert report.images[0].top == ()
    with pytest.raises(UsageError, match="at least 1 MB"):
        make_report(model, image, max_size=0.5)


def test_several_images_share_kernels_and_channels(model, image):
    """Each image has its maps; one that cannot be read is named, and the others are shown."""
    failures = []
    blank = kv.Image(image.pixels[::2, ::2].copy(), "small.png", "small", None, "0" * 64, None, "RGB")
    report = make_report(
        model, [image, "nosuch.png", blank], ["conv1", "layer1.0.conv1"], on_error=failures.append, input_size=SIDE
    )
    assert [each.name for each in report.images] == ["sample:grace_hopper", "small.png"]
    assert report.failed == (("nosuch.png", "There is no file nosuch.png."),)
    assert [(each.number, each.name) for each in failures] == [(1, "nosuch.png")]
    _, parts, _ = stored(report)
    assert {unit["at"][0] for unit in parts["layer1.0.conv1"]["units"]} == {0, 1}
    single = make_report(model, blank, ["conv1", "layer1.0.conv1"], input_size=SIDE)
    both = next(layer for layer in report.layers if layer.name == "layer1.0.conv1")
    alone = next(layer for layer in single.layers if layer.name == "layer1.0.conv1")
    assert np.array_equal(both.maps[1].levels, alone.maps[0].levels)


def test_an_image_that_is_left_out_is_named_without_its_path(model, image, tmp_path):
    """Notes and index name a file that is missing or damaged, not its folder, however long that is."""
    folder = tmp_path / ("long" * 30) / ("folder" * 30)
    folder.mkdir(parents=True)
    (folder / "bad.png").write_bytes(b"no image")
    report = make_report(
        model, [image, str(folder / "bad.png"), folder / "nosuch.png"], "conv1", input_size=SIDE, max_size=1
    )
    assert [name for name, _ in report.failed] == ["bad.png", "nosuch.png"]
    assert "bad.png" in report.failed[0][1]
    assert "There is no file nosuch.png." in report.failed[1][1]
    assert "longlong" not in report.html


def test_images_that_fail_take_no_room(tmp_path):
    """Beside an image that cannot be read, the others are shown as they are without it."""
    (tmp_path / "bad.png").write_bytes(b"no image")
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 64, 3), nn.Conv2d(64, 64, 1))
    given, failures = torch.randn(3, 90, 90), []
    report = make_report(model, [tmp_path / "bad.png", given], max_size=1, on_error=failures.append)
    alone = make_report(model, given, max_size=1)
    assert [layer.shown for layer in report.layers] == [layer.shown for layer in alone.layers]
    assert len(alone.layers[0].shown) < 64
    assert [each.number for each in failures] == [0]


def test_a_tuple_of_paths_is_several_images(model, tmp_path):
    """Paths are images in a tuple as in a list."""
    pixels = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    paths = tuple(tmp_path / f"{name}.png" for name in "ab")
    for path in paths:
        Image.fromarray(pixels).save(path)
    report = make_report(model, (paths[0], str(paths[1])), "conv1", input_size=SIDE)
    assert [each.name for each in report.images] == ["a.png", "b.png"]


def test_without_any_image_there_is_no_report(model):
    """Images that cannot be read are an error, and so is none."""
    with pytest.raises(KernelvizError, match="None of the 2 images"):
        make_report(model, ["nosuch.png", "nor.png"])
    with pytest.raises(KernelvizError, match="no file"):
        make_report(model, "nosuch.png")
    with pytest.raises(UsageError, match="no image"):
        make_report(model, [])
    with pytest.raises(UnknownLayerError, match="layer9"):
        make_report(model, ["sample:grace_hopper", "nosuch.png"], "layer9")


class Sorts(nn.Module):
    """Every sort of layer that is shown."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.act = nn.ReLU()
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.grouped = nn.Conv2d(8, 8, 3, padding=1, groups=2)
        self.pointwise = nn.Conv2d(8, 16, 1)
        self.twice = nn.Conv2d(16, 16, 1)
        self.up = nn.ConvTranspose2d(16, 4, 2, stride=2)
        self.mirrored = nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect")
        with torch.no_grad():
            self.depthwise.weight[3] = 0
            self.depthwise.bias[3] = 0.5

    def forward(self, image):
        """All of them, one after the other, one twice."""
        x = self.grouped(self.depthwise(self.act(self.stem(image))))
        x = self.twice(self.twice(self.pointwise(x)))
        return self.mirrored(self.up(x))


def test_every_sort_of_layer_is_shown():
    """Depthwise, grouped, 1 × 1 and transposed convolutions, further runs, layers without kernels, and dead maps."""
    torch.manual_seed(0)
    report = make_report(Sorts(), torch.randn(3, 32, 32), "*")
    layers = {layer.name: layer for layer in report.layers}
    sorts = {name: layer.conv for name, layer in layers.items()}
    assert sorts == {
        "stem": "dense", "act": None, "depthwise": "depthwise", "grouped": "grouped", "pointwise": "pointwise",
        "twice": "pointwise", "twice#2": "pointwise", "up": "transposed", "mirrored": "dense",
    }  # fmt: skip
    assert layers["depthwise"].maps[0].dead == (3,)
    assert layers["act"].kernels is None
    assert not layers["act"].maps[0].signed
    assert layers["twice"].notes == ("run 1 of 2",)
    assert layers["twice#2"].units
    assert layers["twice#2"].traced.field is None
    assert layers["stem"].live  # the numbers of a tensor are not in the page: its values are traced
    assert layers["stem"].units
    assert [name for name, layer in layers.items() if layer.reads_input] == ["stem"]
    assert layers["up"].kernels.notes == ()  # nothing of how its weights are stored
    assert (report.mean, report.images[0].exact) == ((), False)
    assert [layer.name for layer in make_report(Sorts(), torch.randn(3, 32, 32)).layers].count("twice#2") == 0
    stored(report)
    assert report.html


@pytest.mark.parametrize(
    ("network", "shape", "size"),
    [
        (nn.Sequential(nn.Conv1d(2, 5, 3), nn.Conv1d(5, 4, 3)), (2, 40), (1, 38)),
        (nn.Sequential(nn.Conv3d(1, 5, 3), nn.Conv3d(5, 4, 1)), (1, 6, 7, 8), (20, 6)),
        (nn.Conv2d(3, 4, 3), (3, 9, 9), (7, 7)),
    ],
)
def test_networks_of_other_axes(network, shape, size):
    """Maps of one axis are strips, slices of three axes are below each other, and a single layer is a network."""
    report = make_report(network, torch.randn(*shape))
    layer = report.layers[0]
    assert layer.size == size
    assert layer.maps[0].levels.shape == (4 + (len(report.layers) > 1), *size)
    assert ("three axes" in layer.unknown) == (len(shape) == 4)
    index, _, _ = stored(report)
    reads = [each["reads"] for each in index["layers"]]
    assert reads == [len(shape) < 4, False][: len(reads)]  # its sums name the channels of the input
    assert ("three axes" in index["layers"][0]["lost"]) == (len(shape) == 4)
    assert report.html


def test_a_vector_is_no_picture():
    """A network that makes images of vectors has no report, since that draws the inputs: an error with a reason."""
    network = nn.Sequential(nn.Linear(10, 16), nn.Unflatten(1, (1, 4, 4)), nn.Conv2d(1, 2, 3))
    with pytest.raises(UsageError, match=r"the input is \(10,\)"):
        make_report(network, torch.zeros(1, 10), "2")


@pytest.mark.parametrize("kind", [torch.float64, torch.bfloat16])
def test_other_numbers_than_float32_are_traced(kind):
    """A page works in float64 on float32 weights: of networks in other numbers it shows traced values alone."""
    torch.manual_seed(0)
    network, image = nn.Sequential(nn.Conv2d(3, 4, 3)).to(kind), torch.randn(3, 9, 9)
    (layer,) = make_report(network, image).layers
    assert layer.live is None
    for at, value in zip(layer.units[0].at.tolist(), layer.units[0].values, strict=True):
        assert trace_unit(network, image, "0", tuple(at)).value == value


def test_a_network_without_convolutions_shows_what_it_has():
    """Without a convolution the layers that have maps are shown; without any, that is an error."""
    report = make_report(nn.Sequential(nn.AvgPool2d(2), nn.ReLU()), torch.randn(3, 8, 8))
    assert {layer.conv for layer in report.layers} == {None}
    with pytest.raises(KernelvizError):
        make_report(nn.Sequential(nn.Flatten(), nn.Linear(12, 3)), torch.randn(3, 2, 2))


def test_values_that_are_not_finite_are_counted():
    """A map with NaN is kept, marked, and its numbers are null in the page."""
    network = nn.Sequential(nn.Conv2d(3, 4, 3))
    with torch.no_grad():
        network[0].weight[1] = float("nan")
    report = make_report(network, torch.randn(3, 8, 8))
    assert report.layers[0].maps[0].nonfinite == {1: 36}
    assert report.layers[0].kernels.nonfinite == {1: 27}
    index, _, _ = stored(report)
    assert index["layers"][0]["maps"][0]["nonfinite"] == {"1": 36}


def test_a_kernel_that_is_not_finite_leaves_the_others_live(image):
    """The page works out the values of all kernels of a layer that reads the image, though one has NaN or infinity."""
    network = load_model("test_resnet", weights="random")
    with torch.no_grad():
        network.module.conv1[0].weight[1, 0, 0, 0] = float("inf")
    report = make_report(network, image, "conv1.0", input_size=SIDE)
    index, parts, pixels = stored(report)
    (entry,) = index["layers"]
    assert np.isinf(parts["conv1.0"]["weights"][entry["shown"].index(1), 0, 0, 0])
    value = trace_unit(network, image, "conv1.0", (0, 3, 3), input_size=SIDE).value
    assert worked_out(index, entry, parts["conv1.0"], pixels[0], (0, 3, 3)) == pytest.approx(value, abs=1e-5)


class Rolled(nn.Module):
    """A convolution of a rolled map, as shifted windows are."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, image):
        """Roll the map between its convolutions."""
        return self.second(self.first(image).roll((3, 3), (2, 3)))


def test_a_receptive_field_that_is_not_shown_has_a_reason():
    """Fields that wrap around the image, and those over three axes, are stated to be unknown, and why."""
    first, second = stored(make_report(Rolled(), torch.randn(3, 20, 20)))[0]["layers"]
    assert (first["field"]["size"], first["lost"]) == ([3, 3], "")
    assert second["field"] is None
    assert "both sides of the image" in second["lost"]
    (volume,) = stored(make_report(nn.Sequential(nn.Conv3d(1, 4, 3)), torch.randn(1, 6, 7, 8)))[0]["layers"]
    assert volume["field"] is None
    assert "three axes" in volume["lost"]


@pytest.fixture(scope="module")
def photos(image, tmp_path_factory):
    """The files of five images: four parts of a photograph, and the first of them again."""
    folder = tmp_path_factory.mktemp("photos")
    for number, (top, left) in enumerate(((0, 0), (0, 200), (250, 0), (250, 200), (0, 0))):
        Image.fromarray(image.pixels[top : top + 300, left : left + 300]).save(folder / f"{number}.png")
    return [str(folder / f"{number}.png") for number in range(5)]


def ranked(model, photos, layers):
    """The tallies of these layers, made by hand."""
    tallies = {name: kv.PatchTally() for name in layers}
    for photo in photos:
        for maps in capture_features(model, read_image(photo), layers, input_size=SIDE):
            tallies[maps.layer].add(maps)
    return tallies


def test_patches_are_those_of_a_tally(model, photos):
    """The patches of a set of images are those of `PatchTally`, which may be given instead of the images."""
    layers = ["conv1.0", "layer2.0.conv2"]
    tallies = ranked(model, photos, layers)
    facts = {"layers": layers, "input_size": SIDE}
    report = make_report(model, photos[1], patches_from=photos, **facts)
    given = make_report(model, photos[1], patches_from=list(tallies.values()), **facts)
    assert report.patch_set == given.patch_set == 4
    assert [(image.name, image.shown) for image in report.patch_images] == [
        ("0.png", None), ("1.png", 0), ("2.png", None), ("3.png", None)
    ]  # fmt: skip
    for layer, other in zip(report.layers, given.layers, strict=True):
        found, patches = tallies[layer.name].result(), layer.patches
        channels = list(patches.channels)
        assert patches.channels == layer.shown
        assert np.array_equal(patches.values, found.values[channels, :4], equal_nan=True)
        assert np.array_equal(patches.boxes, found.highest.boxes[channels, :4])
        assert np.array_equal(patches.places, found.places[channels, :4])
        for name in ("values", "places", "boxes", "channels", "choice", "notes", "ties", "ends"):
            assert np.array_equal(getattr(patches, name), getattr(other.patches, name), equal_nan=name == "values")
    assert "1 image is identical to an earlier image, counted once: 4.png" in report.notes
    assert make_report(model, photos[1], patches_from=photos, **facts).html == report.html
    assert report.recipe["patches"]["image"] == found.identity
    assert not any(str(photos[0])[: -len("0.png")] in text for text in (report.html, *report.notes))


@pytest.mark.slow
def test_pictures_of_many_images_are_reduced(model, tmp_path):
    """If there is no room for them they are means of whole pixels; small fields keep their pixels, and it is stated."""
    files = []
    for number in range(28):
        pixels = np.random.default_rng(number).integers(0, 256, (128, 128, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number:02}.png")
        files.append(tmp_path / f"{number:02}.png")
    facts = {"layers": ["conv1.0", "layer3.0.conv1"], "input_size": 128, "crop": False, "max_size": 1}
    report = make_report(model, "sample:grace_hopper", patches_from=files, **facts)
    assert len(report.html.encode()) <= 1_000_000
    assert {image.scale for image in report.patch_images} == {2}
    assert any("reduced: a pixel is the mean of 2 × 2" in note for note in report.notes)
    first = report.patch_images[0]
    pixels = np.asarray(Image.open(tmp_path / first.name))
    means = pixels.reshape(64, 2, 64, 2, 3).astype(float).mean(axis=(1, 3))
    assert np.array_equal(first.pixels, np.rint(means))
    small, large = (layer.patches for layer in report.layers)
    assert large.crops is None
    image, *_ = small.places[0, 0]
    top, bottom, left, right = small.boxes[0, 0]
    rows, columns = slice(max(0, top), bottom + 1), slice(max(0, left), right + 1)
    pixels = np.asarray(Image.open(tmp_path / report.patch_images[image].name))
    assert (small.reduced, len(small.crops)) == (1, int((small.places[..., 0] >= 0).sum()))
    assert np.array_equal(small.crops[0], pixels[rows, columns])


def test_an_image_for_patches_that_fails_is_named(model, photos, tmp_path):
    """It is reported with its number among them, and the page states it without its path."""
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    failed = []
    facts = {"layers": "conv1.0", "input_size": SIDE, "on_error": failed.append}
    report = make_report(model, photos[1], patches_from=[photos[0], broken, photos[2]], **facts)
    assert [(each.number, each.name) for each in failed] == [(1, str(broken))]
    assert any(note.startswith("left out of the patches: broken.png") for note in report.notes)
    assert str(tmp_path) not in report.html
    report = make_report(model, photos[1], patches_from=[broken], **facts)
    assert (report.patch_set, report.layers[0].patches) == (0, None)
    assert report.layers[0].without_patches == "None of the images for patches could be shown."


def test_patches_of_another_layer_are_refused(model, photos):
    """Patches that are of no layer of the report, and those whose images are no files."""
    tallies = ranked(model, photos[:2], ["conv1.0"])
    facts = {"input_size": SIDE}
    with pytest.raises(UsageError, match=r"The patches of conv1\.0 are not of the report"):
        make_report(model, photos[0], "layer2.0.conv2", patches_from=tallies["conv1.0"], **facts)
    tally = kv.PatchTally()
    tally.add(capture_features(model, torch.randn(3, SIDE, SIDE), "conv1.0")[0])
    with pytest.raises(UsageError, match="is no file"):
        make_report(model, photos[0], "conv1.0", patches_from=tally, **facts)


def test_tensors_and_open_files_have_patches(model, photos):
    """Images of the set may be tensors of the size of the input, and file objects, which are read once."""
    tensors = [torch.randn(3, SIDE, SIDE, generator=torch.Generator().manual_seed(seed)) for seed in range(2)]
    report = make_report(model, tensors[0], "conv1.0", patches_from=tensors)
    assert [image.shown for image in report.patch_images] == [0, None]
    with open(photos[0], "rb") as one:  # noqa: PTH123
        report = make_report(model, photos[1], "conv1.0", input_size=SIDE, patches_from=[one])
    assert report.patch_set == 1


def test_a_report_is_written_once_and_replaced_by_itself(report, image, tmp_path):
    """The file holds its recipe; another run replaces it, another model does not."""
    path = save_report(report, tmp_path / "new" / "page.html")
    recipe = kv.read_recipe(path)
    assert (recipe["command"], recipe["image"]["name"]) == ("report", "sample:grace_hopper")
    assert recipe == json.loads(json.dumps(report.recipe))
    assert "/" not in json.dumps(recipe["image"])
    save_report(report, path)
    other = make_report(load_model("test_vit", weights="random"), image)
    with pytest.raises(FileInTheWayError):
        save_report(other, path)
    assert kv.read_recipe(path) == recipe
    save_report(other, path, force=True)
    with pytest.raises(UsageError, match="must be \\.html"):
        save_report(report, tmp_path / "page.png")
    assert [each.name for each in (tmp_path / "new").iterdir()] == ["page.html"]


def test_a_report_shows_itself_in_a_notebook(report):
    """A sandboxed frame, in which the page's own script runs apart from the notebook."""
    html = report._repr_html_()
    assert html.startswith('<iframe srcdoc="')
    assert 'sandbox="allow-scripts"' in html
    assert "<script" not in html
    assert len(repr(report)) < 300


def test_a_network_is_unchanged():
    """Hooks, modes, buffers and the random state are as before."""
    torch.manual_seed(3)
    network = Sorts().train()
    before, state = {name: value.clone() for name, value in network.state_dict().items()}, torch.get_rng_state()
    make_report(network, torch.ones(3, 32, 32))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(part.training and not part._forward_hooks for part in network.modules())
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())

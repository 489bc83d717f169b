"""``kernelviz report``: one file, what it leaves out is stated, and every fault ends in a line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kernelviz import read_recipe
from kernelviz.cli.main import main

MODEL = ["report", "test_resnet", "--weights", "random", "--input-size", "64"]
NAME = "grace_hopper-test_resnet.random-report.html"


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """A folder with three photographs."""
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    for name in ("a.png", "b.png", "c.png"):
        Image.fromarray(random.integers(0, 256, (70, 90, 3), dtype=np.uint8)).save(name)
    return tmp_path


def test_one_file_with_its_recipe(here, capsys):
    """The only file is the page, whose recipe names model, image and options."""
    assert main([*MODEL, "sample:grace_hopper", "-l", "conv1", "-l", "layer2.*"]) == 0
    assert [each.name for each in (here / "kernelviz-out").iterdir()] == [NAME]
    recipe = read_recipe(here / "kernelviz-out" / NAME)
    assert recipe["command"] == "report"
    assert recipe["image"]["name"] == "sample:grace_hopper"
    assert recipe["asked"] == {"layers": ["conv1", "layer2.*"], "size": [64, 64]}
    out, err = capsys.readouterr()
    assert out.strip().endswith(NAME)
    assert "layers; the file contains the image" in err
    assert "cropped" in err


def test_what_is_left_out_is_stated_once(capsys, monkeypatch):
    """A note on the one image, and that no patches fit, are in one line of stderr each."""
    command = [*MODEL, "sample:grace_hopper", "-l", "conv1.0", "--patches-from", "sample:grace_hopper", "--json"]
    assert main(command) == 0
    document, err = document_of(capsys)
    assert sum("cropped" in line for line in err.splitlines()) == 1, err
    assert any("cropped" in warning for warning in document["warnings"])
    monkeypatch.setattr("kernelviz.report.patches._chosen", lambda *_: None)
    assert main([*command, "--force"]) == 0
    document, err = document_of(capsys)
    assert sum("patches" in line for line in err.splitlines()) == 1, err
    assert any("they do not fit" in warning for warning in document["warnings"])


def document_of(capsys):
    """The document on stdout, and stderr."""
    out, err = capsys.readouterr()
    return json.loads(out), err


def test_the_document_states_what_is_shown(capsys):
    """With --json the document counts the maps of each layer, and lists what is left out among the warnings."""
    assert main([*MODEL, "a.png", "b.png", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    (row,) = document["outputs"]
    assert row["path"].endswith("test_resnet.random-report.html")
    assert (row["view"], row["image"]) == ("report", None)
    assert row["shown"] <= row["total"] == sum(layer["total"] for layer in document["kept"])
    assert row["shown"] == sum(layer["shown"] for layer in document["kept"])
    assert document["kept"][0]["layer"] == "conv1.0"
    assert document["bytes"] == Path(row["path"]).stat().st_size
    assert [image["path"] for image in document["images"]] == ["a.png", "b.png"]
    assert document["errors"] == []


def test_what_does_not_fit_is_stated(capsys):
    """A small bound leaves maps out: in the document, on stderr and in the page."""
    command = ["report", "test_efficientnet", "a.png", "--weights", "random", "--max-size", "1"]
    assert main([*command, "--json"]) == 0
    out, err = capsys.readouterr()
    document = json.loads(out)
    (note,) = [note for note in document["warnings"] if "are shown" in note]
    assert note in err
    text = Path(document["outputs"][0]["path"]).read_text("utf-8")
    assert note in text
    assert len(text.encode()) <= 10**6
    assert document["outputs"][0]["notes"] == [note]


def test_a_bound_that_is_too_small_states_one_that_would_do(capsys):
    """Four maps a layer that do not fit end with exit code 2 and a size that fits."""
    images = ["a.png", "b.png", "c.png"]
    command = ["report", "test_resnet", *images, "--weights", "random", "--input-size", "320", "-l", "conv1.*"]
    assert main([*command, "--max-size", "1"]) == 2
    needed = capsys.readouterr().err.split("Give --max-size ")[1].split(",")[0]
    assert main([*command, "--max-size", needed]) == 0
    assert main([*MODEL, "a.png", "--max-size", "0.5"]) == 2
    assert main([*MODEL, "a.png", "--max-size", "inf"]) == 2


def test_an_image_that_cannot_be_read_is_named(capsys, here):
    """One of several: exit code 3, named on stderr, in the document and in the page; of one, or all: exit code 1."""
    (here / "bad.png").write_bytes((here / "b.png").read_bytes()[:3000])
    assert main([*MODEL, "a.png", "bad.png", "nosuch.png", "--json"]) == 3
    out, err = capsys.readouterr()
    document = json.loads(out)
    assert [error["input"] for error in document["errors"]] == ["bad.png", "nosuch.png"]
    assert "\nbad.png is damaged" in err
    page = (here / document["outputs"][0]["path"]).read_text("utf-8")
    assert "bad.png" in page
    assert main([*MODEL, "bad.png", "nosuch.png"]) == 1
    assert main([*MODEL, "nosuch.png"]) == 1
    err = capsys.readouterr().err
    assert "None of the 2 images" in err


def test_a_single_layer_is_counted_as_one(capsys):
    """The line about a page of one layer is in the singular."""
    assert main([*MODEL, "a.png", "-l", "conv1"]) == 0
    assert "1 layer; the file contains the image\n" in capsys.readouterr().err


def test_layers_that_are_not_there(capsys):
    """A name that is no layer is wrong usage, with the nearest ones; nothing is written."""
    assert main([*MODEL, "a.png", "-l", "layer9"]) == 2
    assert "layer1" in capsys.readouterr().err


def test_existing_pages(here, capsys):
    """A page is replaced by its next run, kept by --skip-existing, and never replaced by that of another model."""
    command = [*MODEL, "a.png", "-l", "conv1"]
    assert main(command) == 0
    page = here / "kernelviz-out" / "a-test_resnet.random-report.html"
    first = page.read_bytes()
    assert main(command) == 0
    assert page.read_bytes() == first
    page.touch()
    before = page.stat().st_mtime_ns
    assert main([*command, "--skip-existing"]) == 0
    assert page.stat().st_mtime_ns == before
    assert "skipped" in capsys.readouterr().err
    assert main([*MODEL, "a.png", "-l", "layer1.*", "--skip-existing"]) == 0
    assert page.read_bytes() != first
    shutil.copy(here / "b.png", here / "kernelviz-out" / "a-test_resnet.random-report.html")
    assert main(command) == 1
    assert main([*command, "--force"]) == 0
    assert page.read_bytes() == first


def test_two_images_of_one_name_are_two_pages(here, capsys):
    """Another image of the same name gets a page of its own."""
    (here / "other").mkdir()
    shutil.copy(here / "b.png", here / "other" / "a.png")
    assert main([*MODEL, "a.png", "-l", "conv1"]) == 0
    assert main([*MODEL, "other/a.png", "-l", "conv1"]) == 0
    assert len(list((here / "kernelviz-out").iterdir())) == 2
    assert "another image" in capsys.readouterr().err


def test_no_path_is_in_the_page(here, capsys):
    """The page names the image, not where it was."""
    assert main([*MODEL, str(here / "a.png"), "-l", "conv1", "-o", str(here / "out")]) == 0
    page = next((here / "out").iterdir()).read_text("utf-8")
    assert str(here) not in page
    assert str(here.parent) not in page
    assert "a.png" in page
    capsys.readouterr()


def test_no_path_of_an_image_that_fails_is_in_the_page(here, capsys):
    """The page names an image that is left out, not where it was."""
    (here / "bad.png").write_bytes(b"no image")
    images = [str(here / name) for name in ("a.png", "bad.png", "nosuch.png")]
    assert main([*MODEL, *images, "-l", "conv1", "-o", str(here / "out")]) == 3
    page = next((here / "out").iterdir()).read_text("utf-8")
    assert "left out: bad.png " in page
    assert str(here) not in page
    capsys.readouterr()


PATCHES = ("-l", "conv1.0", "-l", "layer2.0.conv2", "--patches-from")


def test_patches_of_a_folder(here, capsys):
    """The page has the patches of the images of `--patches-from`, folder or glob; stderr and document state them."""
    (here / "more").mkdir()
    shutil.copy("b.png", here / "more" / "d.png")
    assert main([*MODEL, "a.png", "-r", *PATCHES, "more", "--patches-from", "[ac].png", "--json"]) == 0
    out, err = capsys.readouterr()
    document = json.loads(out)
    assert document["patches"]["images"] == 3
    assert [(image["name"], image["of_report"]) for image in document["patches"]["shown"]] == [
        ("d.png", False), ("a.png", True), ("c.png", False)
    ]  # fmt: skip
    for layer in document["patches"]["layers"]:
        assert (layer["patches"], layer["reason"]) == (3, None)
        assert 0 < layer["channels"] <= layer["total"]
    assert "in 2 layers; the file contains 3 images of 3 for them" in err
    recipe = read_recipe(document["outputs"][0]["path"])
    assert recipe["patches"]["image"]["name"] == "3 images"
    assert recipe["asked"] == {"layers": ["conv1.0", "layer2.0.conv2"], "size": [64, 64]}


def test_an_image_for_patches_that_cannot_be_read_is_named_once(here, capsys):
    """The others go on with exit code 3, also if it is an image of the report as well; without any there is a reason."""
    (here / "broken.png").write_bytes(b"no image")
    assert main([*MODEL, "a.png", "broken.png", *PATCHES, "b.png", "--patches-from", "broken.png", "--json"]) == 3
    out, err = capsys.readouterr()
    document = json.loads(out)
    assert (len(document["errors"]), err.count("\nbroken.png ")) == (1, 1)
    assert document["patches"]["images"] == 1
    assert main([*MODEL, "a.png", *PATCHES, "broken.png", "--json"]) == 3
    out, err = capsys.readouterr()
    document = json.loads(out)
    assert "no patches: None of the images for patches could be shown." in err
    assert document["patches"]["images"] == 0
    assert {layer["reason"] for layer in document["patches"]["layers"]} == {
        "None of the images for patches could be shown."
    }
    assert main([*MODEL, "a.png", *PATCHES, "nosuch/*.png"]) == 1
    assert "nosuch" in capsys.readouterr().err
    (here / "photos").mkdir()
    assert main([*MODEL, "a.png", *PATCHES[:2], "--patches-from", "photos"]) == 1
    assert "Add -r for all images in it." in capsys.readouterr().err


def test_a_page_of_other_patches_is_not_kept(capsys):
    """With `--skip-existing` a page is kept only if its patches are those of the same images, or it has none either."""
    words = [*MODEL, "a.png", "--skip-existing", *PATCHES[:2]]
    runs = [(), ("b.png",), ("b.png",), ("c.png",), ()]
    kept = []
    for names in runs:
        more = [word for name in names for word in ("--patches-from", name)]
        assert main([*words, *more]) == 0
        kept.append("skipped, it exists" in capsys.readouterr().err)
    assert kept == [False, False, True, False, False]

"""Commands whose images, weights and results are in other file systems."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest
from file_systems import SECRET, Fragile, emptied
from PIL import Image

import kernelviz
from kernelviz.files.finding import find_images
from kernelviz.files.recipes import read_recipe

TINY = ("--weights", "random", "--input-size", "32", "-l", "layer1", "--style", "bare")


@pytest.fixture(autouse=True)
def _empty():
    emptied()
    yield
    emptied()


@pytest.fixture
def photos(tmp_path):
    """Three small images in a folder, and the same ones as objects."""
    for number, name in enumerate(("a b.png", "sub/c%20.png", "z.png")):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((40, 40), 20 + number).convert("RGB").save(path)
    for scheme in ("memory", "fragile"):
        put_folder(scheme, "photos")
    Fragile.requests.clear()
    return tmp_path / "photos"


def put_folder(scheme, folder):
    """Copy a folder to the root of a file system."""
    import fsspec

    system = fsspec.filesystem(scheme)
    for path in Path(folder).rglob("*.*"):
        system.pipe(f"/{path.as_posix()}", path.read_bytes())


def objects(scheme, folder=""):
    """The content of each object below a folder, by its name in it."""
    import fsspec

    system = fsspec.filesystem(scheme)
    return {name.removeprefix(f"/{folder}/"): system.cat_file(name) for name in system.find(f"/{folder}")}


def files(folder):
    """The content of each file below a folder, by its name in it."""
    every = [path for path in Path(folder).rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in every}


@pytest.mark.parametrize("uri", ["file", "memory"])
@pytest.mark.usefixtures("photos")
def test_images_and_results_elsewhere_are_the_same_bytes(run, tmp_path, uri):
    """A folder read from a URI and written to one makes the files that plain paths make, with the same messages."""
    plain = run("features", "test_resnet", "photos", "-r", *TINY, "--arrays", "-o", "plain")
    root = f"file://{tmp_path.as_posix()}/" if uri == "file" else "memory://"
    there = run("features", "test_resnet", f"{root}photos", "-r", *TINY, "--arrays", "-o", f"{root}out")
    assert (plain.code, there.code) == (0, 0), there.err
    made = files("plain")
    assert len(made) == 6
    assert (files("out") if uri == "file" else objects("memory", "out")) == made
    assert there.err.replace(root, "") == plain.err
    if uri == "memory":
        assert there.out == plain.out.replace("plain/", "memory://out/")


SLOW = pytest.mark.slow
COMMANDS = {
    "kernels": ("kernels test_resnet --weights random --arrays -o OUT", 2, SLOW),
    "explain": ("explain conv --csv OUT/numbers.csv -o OUT", 2, ()),
    "single": ("features test_resnet photos/z.png --single --weights random --input-size 32 -l layer1 -o OUT", 33, ()),
    "statistics": ("features test_resnet photos -r --statistics --contact --weights random -l layer1 -o OUT", 2, SLOW),
    "pca": ("features test_resnet photos -r --reduce pca --weights random -l layer1 -o OUT", 4, SLOW),
    "match": ("match test_resnet --weights random -o OUT", 1, SLOW),
    "filter": ("filter photos/z.png --kernel sobel-x -o OUT", 1, SLOW),
    "patches": ("patches test_resnet photos -r --weights random -l layer1 --single -o OUT", 2, SLOW),
    "animation": ("explain conv --animate --frames -o OUT", 2, SLOW),
    "field": ("field test_resnet photos/z.png --weights random -l layer1 --input-size 32 -o OUT", 1, SLOW),
    "shift": ("shift test_resnet photos/z.png --weights random -l layer1 --input-size 32 -o OUT", 1, SLOW),
    "report": ("report test_resnet photos/z.png --weights random --input-size 32 -o OUT", 1, SLOW),
}


@pytest.mark.parametrize("name", [pytest.param(name, marks=marks) for name, (_, _, marks) in COMMANDS.items()])
@pytest.mark.usefixtures("photos")
def test_every_command_writes_to_a_uri(run, name):
    """What a command writes to a URI is what it writes to a folder; again, it replaces its own objects."""
    words, least, _ = COMMANDS[name]
    plain = run(*words.replace("OUT", "plain").split())
    for _ in range(2):
        there = run(*words.replace("OUT", "memory://out").split())
        assert (plain.code, there.code) == (0, 0), there.err
        assert objects("memory", "out") == files("plain")
        assert len(objects("memory", "out")) >= least


@pytest.mark.parametrize("more", ["", pytest.param("--single", marks=SLOW)])
@pytest.mark.usefixtures("photos")
def test_objects_that_exist_are_skipped_by_their_heads(run, more):
    """With ``--skip-existing`` nothing is put again, and of results only the ends are read; a short one is made anew."""
    words = ("features", "test_resnet", "fragile://photos/z.png", "-o", "fragile://out", *TINY[:-2], *more.split())
    assert run(*words).code == 0
    made = objects("fragile", "out")
    Fragile.requests.clear()
    result = run(*words, "--skip-existing")
    assert (result.code, result.out, result.err.count("skipped")) == (0, "", 1)
    again = [request for request in Fragile.requests if request[1].startswith("/out")]
    assert objects("fragile", "out") == made
    assert {kind for kind, _, _ in again} == {"get"}
    if not more:
        assert max(size for _, _, size in again) < max(map(len, made.values())) / 2
    short = next(name for name in made if name.endswith(".png"))
    Fragile.store[f"/out/{short}"].truncate(len(made[short]) - 9)
    result = run(*words, "--skip-existing")
    assert (result.code, result.err.count("skipped")) == (0, 0)
    assert objects("fragile", "out") == made


@pytest.mark.usefixtures("photos")
def test_an_image_that_fails_at_a_byte_is_named(run, monkeypatch):
    """An image whose back end fails half-way is named, the others are done, exit 3; nothing of it is made."""
    sizes = sorted(len(each) for each in objects("fragile", "photos").values())
    monkeypatch.setattr(Fragile, "fails_at", sizes[-1] - 1)
    failing = next(name for name, each in objects("memory", "photos").items() if len(each) == sizes[-1])
    result = run("features", "test_resnet", "fragile://photos", "-r", *TINY, "-o", "memory://out", "--json")
    assert result.code == 3
    (error,) = result.document["errors"]
    assert error["input"] == f"fragile://photos/{failing}"
    assert "connection reset" in error["message"]
    assert SECRET not in result.out + result.err
    assert len(objects("memory", "out")) == 2
    result = run("features", "test_resnet", "fragile://photos", "-r", *TINY, "-o", "memory://out")
    assert f"fragile://photos/{failing} cannot be read: RuntimeError: GET" in result.err
    assert "connection reset" in result.err


@pytest.mark.usefixtures("photos")
def test_a_dead_back_end_is_named(run, monkeypatch):
    """A folder that nobody answers for is named: exit 3 beside other images, else 1 and nothing more."""
    monkeypatch.setattr(Fragile, "is_dead", True)
    result = run("features", "test_resnet", "fragile://photos", "photos", "-r", *TINY)
    assert (result.code, len(result.out.splitlines())) == (3, 3)
    assert "fragile://photos cannot be read: RuntimeError: GET" in result.err
    assert "connection reset" in result.err
    for words in (("fragile://photos", "-r"), ("fragile://photos/z.png",), ("fragile://photos/*.png",)):
        result = run("features", "test_resnet", *words, *TINY)
        assert (result.code, result.out) == (1, "")
        assert "connection reset" in result.err
        assert SECRET not in result.err


@pytest.mark.parametrize("more", ["--single", pytest.param("", marks=SLOW)])
@pytest.mark.usefixtures("photos")
def test_a_result_that_fails_at_a_byte_leaves_nothing(run, monkeypatch, more):
    """If putting fails, the exit code is 1, the object is named without secrets, and there is nothing partial."""
    monkeypatch.setattr(Fragile, "fails_at", 300)
    words = ("features", "test_resnet", "photos/z.png", *TINY, "--debug", "-o", f"fragile://me:{SECRET}@out")
    result = run(*words, *more.split())
    assert (result.code, result.out) == (1, "")
    assert "fragile://out/z-" in result.complaint[0]
    assert "connection reset" in result.complaint[1]
    assert SECRET not in result.err
    assert not any(name.startswith("/out") for name in Fragile.store)
    for dead in (("photos",), ("fragile://photos",)):
        monkeypatch.setattr(Fragile, "is_dead", True)
        assert run("features", "test_resnet", *dead, "-r", *TINY, "-o", "fragile://out").code == 1


@pytest.mark.usefixtures("photos")
def test_another_object_is_in_the_way(run):
    """An object that is another picture stays, unless ``--force`` replaces it."""
    words = ("features", "test_resnet", "photos/z.png", *TINY, "-o", "memory://out")
    path = run(*words).out.strip()
    other = kernelviz.files.writing.as_path(path)
    import fsspec

    memory = fsspec.filesystem("memory")
    made = memory.cat_file(path)
    memory.pipe_file(path, b"mine")
    result = run(*words)
    assert (result.code, memory.cat_file(path)) == (1, b"mine")
    assert f"{other} is in the way" in result.err
    assert run(*words, "--force").code == 0
    assert memory.cat_file(path) == made


@pytest.mark.usefixtures("photos")
def test_pictures_are_no_images_of_a_folder(run):
    """Objects drawn by kernelviz, those below the output, hidden ones and other files are left out of a folder."""
    assert run("features", "test_resnet", "memory://photos/*.png", *TINY, "-o", "memory://photos/old").code == 0
    import fsspec

    memory = fsspec.filesystem("memory")
    memory.pipe("/photos/new/x.png", b"anything")
    memory.pipe("/photos/.hidden/x.png", b"anything")
    memory.pipe("/photos/notes.txt", b"anything")
    result = run("features", "test_resnet", "memory://photos", "-r", *TINY, "-o", "memory://photos/new", "--json")
    assert result.code == 0
    names = [each["path"] for each in result.document["images"]]
    assert names == [f"memory://photos/{name}" for name in ("a b.png", "z.png", "sub/c%20.png")]
    assert "2 files left out, drawn by kernelviz" in result.err
    assert "1 file left out, below memory://photos/new" in result.err
    found = find_images(["memory://"], recursive=True).images
    assert "memory://photos/z.png" in found
    assert not any(".hidden" in each for each in found)
    assert find_images(["memory://photos/*/*.png"]).images == (
        "memory://photos/new/x.png",
        "memory://photos/sub/c%20.png",
    )
    result = run("features", "test_resnet", "memory://photos/*.gif", *TINY)
    assert (result.code, "No file matches memory://photos/*.gif." in result.err) == (1, True)


def test_different_credentials_of_one_uri_are_wrong_usage(run):
    """One of them would be opened with the other's: exit 2, before anything is loaded, and no password is shown."""
    uris = (f"fragile://me:{SECRET}@photos/z.png", "fragile://you:0ther5ecret@photos/z.png")
    for more in ((), ("--json",)):
        result = run("features", "no_such_model", *uris, *more)
        assert result.code == 2
        assert "There are different credentials for fragile://photos/z.png." in result.err
        assert not any(secret in result.err + result.out for secret in (SECRET, "0ther5ecret", "no_such_model'"))


def test_weights_elsewhere_are_those_of_the_file(run, checkpoint, monkeypatch):
    """A checkpoint at a URI makes the picture of the file; one that fails, and another file, is an error naming the URI."""
    path = checkpoint("elsewhere.pt")
    Fragile().pipe("/w/elsewhere.pt", path.read_bytes())
    Fragile().pipe("/w/text.pt", b"no weights")
    words = ("kernels", "test_resnet", "--style", "bare")
    plain = run(*words, "--weights", path, "-o", "plain")
    uri = f"fragile://me:{SECRET}@w/elsewhere.pt"
    there = run(*words, f"--weights={uri}", "-o", "there")
    assert (plain.code, there.code) == (0, 0), there.err
    assert files("plain") == files("there")
    assert SECRET not in there.err + str(read_recipe(next(Path("there").iterdir())))
    assert kernelviz.load_model("test_resnet", weights=uri).source.weights.name == "elsewhere.pt"
    result = run(*words, "--weights", "fragile://w/text.pt", "--json")
    assert (result.code, "fragile://w/text.pt holds no weights" in result.err) == (1, True)
    assert run(*words, "--weights", "fragile://w/none.pt").code == 1
    monkeypatch.setattr(Fragile, "fails_at", 1000)
    result = run(*words, "--weights", uri)
    assert result.code == 1
    assert "fragile://w/elsewhere.pt cannot be read: RuntimeError" in result.err
    assert "Check the address, the permissions and the network" in result.err
    assert SECRET not in result.err


@pytest.mark.parametrize(
    "words",
    [
        "kernels test_resnet --weights hf://some/repo",
        "compare test_resnet hf://some/repo/a.pt random",
        "training test_resnet hf://some/repo -r",
        "layers hf-hub:some/repo",
    ],
)
def test_weights_of_a_hub_that_cannot_be_reached_are_not_available(run, words):
    """Weights on the hub end with the exit code of weights that are not available, in one line that states why."""
    pytest.importorskip("fsspec")
    result = run(*words.split(), "--json")
    assert (result.code, result.document["errors"][0]["code"]) == (4, "no-weights")
    assert "HF_HUB_OFFLINE forbids requests to the hub" in result.err
    assert "OfflineMode" not in result.err


def test_checkpoints_elsewhere_make_the_same_pictures(run, checkpoint):
    """A folder of checkpoints and two weights at URIs are those of the files, in their order and under their names."""
    for number, step in enumerate((900, 1000)):
        path = checkpoint(f"at-{step}.pt", change=lambda weight, number=number: weight.mul_(1 + number))
        Path("run").mkdir(exist_ok=True)
        shutil.copy(path, f"run/at-{step}.pt")
    put_folder("memory", "run")
    for words in (
        "training test_resnet ROOTrun -r -l conv1.0",
        "compare test_resnet ROOTrun/at-900.pt ROOTrun/at-1000.pt",
    ):
        plain = run(*words.replace("ROOT", "").split(), "-o", "plain")
        there = run(*words.replace("ROOT", "memory://").split(), "-o", "there")
        assert (plain.code, there.code) == (0, 0), there.err
        assert files("there") == files("plain")
    for words in ("memory://run", "memory://nothing -r", "memory://run/*.bin", "fragile://none/*.pt"):
        assert run("training", "test_resnet", *words.split()).code in (1, 2)


@pytest.mark.usefixtures("photos")
def test_no_secret_leaves_the_command_line(run):
    """Neither messages nor documents nor recipes nor names hold what is in front of ``@`` or behind ``?``."""
    shutil.copy("photos/z.png", "z.png")
    Fragile().pipe("/in/z.png", Path("z.png").read_bytes())
    source, output = f"fragile://me:{SECRET}@in/z.png", f"fragile://me:{SECRET}@out"
    result = run("features", "test_resnet", source, *TINY, "--json", "-o", output)
    assert result.code == 0, result.err
    (row,) = result.document["outputs"]
    assert row["path"].startswith("fragile://out/z-")
    assert row["image"] == "fragile://in/z.png"
    (made,) = objects("fragile", "out").values()
    assert SECRET.encode() not in made
    for words in (
        ("kernels", source, "more"),
        ("features", source, "test_resnet"),
        ("features", "test_resnet", f"https://me:{SECRET}@host/x.png?sig={SECRET}", "-o", "nosuch://x"),
        ("kernels", "test_resnet", "-o", f"https://host/x?sig={SECRET}"),
        ("kernels", "test_resnet", "--weights", f"nosuch://me:{SECRET}@host/x.pt"),
        ("models", f"--nosuch=s3://me:{SECRET}@bucket"),
        ("explain", "conv", "--input", f"fragile://me:{SECRET}@in/none.csv"),
        ("kernels", "test_resnet", "--weights", "random", "-o", f"file://me:{SECRET}@host/x"),
        ("kernels", "test_resnet", "--weights", "random", "--model-arg", f"width=s3://me:{SECRET}@bucket"),
        ("kernels", f"local-dir:s3://me:{SECRET}@bucket/x"),
        ("kernels", f"hf-hub:https://me:{SECRET}@host/x"),
    ):
        result = run(*words)
        assert result.code in (1, 2), words
        assert SECRET not in result.out + result.err, words


def test_the_users_code_gets_a_uri_as_typed(run, tmp_path):
    """An argument of the network has its credentials, which are in no message, document or picture."""
    (tmp_path / "net.py").write_text(
        f"import torch\n\n\ndef build(data):\n    assert data == 's3://me:' + {SECRET[::-1]!r}[::-1] + '@bucket/x?v=1'\n"
        "    return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3))\n"
    )
    result = run("kernels", "net.py:build", "--model-arg", f"data=s3://me:{SECRET}@bucket/x?v=1", "--json")
    assert result.code == 0, result.err
    (row,) = result.document["outputs"]
    assert SECRET not in result.out + result.err
    assert SECRET.encode() not in Path(row["path"]).read_bytes()


@pytest.mark.usefixtures("photos")
def test_the_library_takes_uris(tmp_path):
    """Images, patches that read them again, and failures: all by their URIs, without credentials."""
    network = kernelviz.load_model("test_resnet", weights="random")
    tally = kernelviz.PatchTally(2)
    items = [f"fragile://me:{SECRET}@photos/{name}" for name in ("z.png", "a b.png", "none.png")]
    (failed,) = kernelviz.capture_many(network, items, "layer1", on_map=tally.add, input_size=32)
    assert (failed.name, SECRET in f"{failed} {failed.error}") == ("fragile://photos/none.png", False)
    patches = tally.result()
    assert set(patches.paths) == {"fragile://photos/z.png", "fragile://photos/a b.png"}
    for images in (None, items[:2]):
        assert kernelviz.crop_patches(network, patches, images, "0", input_size=32).crops
    image = kernelviz.read_image(Path("photos/z.png").absolute().as_uri())
    assert image.path == str(tmp_path / "photos" / "z.png")
    path = kernelviz.save_arrays({"a": image.pixels}, f"fragile://me:{SECRET}@out/x.npz", recipe={"command": "x"})
    assert str(path) == "fragile://out/x.npz"
    assert kernelviz.read_recipe(path) == {"command": "x"}


@pytest.mark.usefixtures("photos")
def test_plain_paths_never_load_fsspec(run, monkeypatch):
    """Without ``://`` nothing imports fsspec."""
    monkeypatch.setitem(sys.modules, "fsspec", None)
    assert run("features", "test_resnet", "photos", "-r", *TINY, "-o", "plain").code == 0
    result = run("features", "test_resnet", "memory://photos", "-r", *TINY)
    assert result.code != 0

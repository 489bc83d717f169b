"""Files of every kind, in every place from which a command reads or into which it writes."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
from functools import cache
from pathlib import Path

import timm
import torch

NOBODY = 65534


def linked(target):
    """A maker of links."""
    return lambda path: path.symlink_to(target)


def a_socket(path):
    """A socket that nobody listens at."""
    here = Path.cwd()
    os.chdir(path.parent)  # its path may have a hundred characters only
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path.name)
    finally:
        os.chdir(here)


def of_another(path):
    """Give a file or folder to another user, if this one may; nobody else may use it."""
    path.chmod(0 if os.geteuid() else 0o700)
    if not os.geteuid():
        os.chown(path, NOBODY, NOBODY)


def a_secret(path):
    """A file that may not be read."""
    path.write_text("secret")
    of_another(path)


def a_private_folder(path):
    """A folder that may not be entered."""
    path.mkdir()
    (path / "in").write_text("x")
    of_another(path)


def a_link_into_a_private_folder(path):
    """What it leads to may not even be examined."""
    a_private_folder(path.with_name(".private"))
    path.symlink_to(".private/in")


def folder(mode, *names):
    """A maker of folders with these files."""

    def make(path):
        path.mkdir()
        for name in names:
            (path / name).write_text("x")
        path.chmod(mode)

    return make


def sparse(path):
    """A file of a terabyte that takes no space."""
    path.touch()
    os.truncate(path, 1 << 40)


KINDS = {
    "pipe": os.mkfifo,
    "socket": a_socket,
    "nothing": linked("/dev/null"),
    "zeros": linked("/dev/zero"),
    "full": linked("/dev/full"),
    "random": linked("/dev/urandom"),
    "memory": linked("/proc/self/mem"),
    "status": linked("/proc/self/status"),
    "pages": linked("/proc/self/pagemap"),
    "kernel log": linked("/proc/kmsg"),
    "kernel": linked("/proc/kcore"),
    "system": linked("/sys/kernel/uevent_seqnum"),
    "process": linked("/proc/self"),
    "descriptor": linked("/proc/self/fd/999"),
    "dangling link": linked("nowhere"),
    "link to itself": lambda path: path.symlink_to(path.name),
    "folder": folder(0o755),
    "folder of files": folder(0o755, "x", "index.json"),
    "read-only folder": folder(0o555),
    "folder not to be entered": folder(0o600),
    "private folder": a_private_folder,
    "secret": a_secret,
    "link into a private folder": a_link_into_a_private_folder,
    "empty": Path.touch,
    "text": lambda path: path.write_text("hello\n" * 20),
    "bytes": lambda path: path.write_bytes(bytes(1000)),
    "braces": lambda path: path.write_text("{}"),
    "brackets": lambda path: path.write_text("[" * 100_000),
    "terabyte": sparse,
}
"""A maker of each kind of file."""


@cache
def state():
    """Weights of a small network."""
    with torch.random.fork_rng(devices=[]):
        return timm.create_model("test_resnet").state_dict()


def folders(path):
    """A preparation that makes a folder."""
    return lambda: Path(path).mkdir(parents=True)


def with_an_image():
    """A folder with one good image."""
    Path("f").mkdir()
    shutil.copy("photo.png", "f")


def a_model(left_out):
    """A preparation of a model's directory without one of its files."""

    def prepare():
        Path("model").mkdir()
        Path("model/config.json").write_text('{"architecture": "test_resnet"}')
        torch.save(state(), "model/pytorch_model.bin")
        Path("model", left_out).unlink(missing_ok=True)

    return prepare


REPOSITORY = "hub/models--timm--resnet18d.ra2_in1k"
COMMIT, BLOB = "a" * 40, "b" * 64


def the_hub(left_out):
    """A preparation of the hub's cache without a part."""

    def prepare():
        repository = Path(REPOSITORY)
        for part in ("refs", f"snapshots/{COMMIT}", "blobs"):
            (repository / part).mkdir(parents=True)
        (repository / "refs/main").write_text(COMMIT)
        (repository / "blobs" / BLOB).write_text("x" * 100)
        (repository / f"snapshots/{COMMIT}/model.safetensors").symlink_to(f"../../blobs/{BLOB}")
        path = repository / left_out
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)

    return prepare


def a_repository():
    """A repository of the hub's cache that timm does not know, without its configuration."""
    Path(f"hub/models--a--b/snapshots/{COMMIT}").mkdir(parents=True)
    Path("hub/models--a--b/refs").mkdir()
    Path("hub/models--a--b/refs/main").write_text(COMMIT)


def nothing():
    """No preparation."""


KERNELS = "kernels test_resnet --weights random --style bare -o out"
FEATURES = "features test_resnet --weights random --style bare -l conv1.0 -o out"
STATISTICS = "features test_resnet --weights random -l conv1.0 --statistics -o out"
STATES = "kernels resnet18d -o out"
PICTURE = "out/test_resnet.random-conv1.0-kernels-rgb"
MAPS = "out/photo-test_resnet.random-conv1.0-features"
SINGLES = f"{MAPS}-single"
PARTS = ("refs", "refs/main", "snapshots", f"snapshots/{COMMIT}", f"snapshots/{COMMIT}/model.safetensors", "blobs")
CHECKPOINTS = "torch/hub/checkpoints"
LINK = f"{CHECKPOINTS}/inception_v3_google-0cc3c7bd.pth"

PLACES = {
    "image": ("x.png", nothing, f"{FEATURES} x.png"),
    "second image": ("x.png", nothing, f"{FEATURES} photo.png x.png"),
    "pattern": ("x.png", nothing, f"{FEATURES} *.png"),
    "image of a folder": ("f/x.png", with_an_image, f"{FEATURES} -r f"),
    "folder": ("x", nothing, f"{FEATURES} -r x"),
    "folder of a folder": ("f/x", with_an_image, f"{FEATURES} -r f"),
    "image of statistics": ("f/x.png", with_an_image, f"{STATISTICS} -r f"),
    "image of a filter": ("x.png", nothing, "filter x.png --kernel sobel-x -o out"),
    "image explained": ("x.png", nothing, "explain layer test_resnet conv1.0 --weights random --image x.png --at 0,0"),
    "checkpoint": ("x.pth", nothing, "kernels test_resnet --weights x.pth -o out"),
    "safetensors": ("x.safetensors", nothing, "features test_resnet photo.png --weights x.safetensors -o out"),
    "weights matched": ("x", nothing, "match test_resnet --weights ./x"),
    "kernel": ("x", nothing, "explain conv --input 4 --kernel-values x"),
    "kernel in CSV": ("x.csv", nothing, "explain conv --input 4 --kernel-values x.csv"),
    "filter": ("x", nothing, "filter photo.png --kernel-values x -o out"),
    "filter in CSV": ("x.csv", nothing, "filter photo.png --kernel-values x.csv -o out"),
    "input": ("x", nothing, "explain transpose --input x --kernel 1"),
    "input in CSV": ("x.csv", nothing, "explain pool --input x.csv --kernel 1"),
    "output": ("out", nothing, KERNELS),
    "folder of output": ("out", nothing, f"{KERNELS}/y/z"),
    "output of features": ("out", nothing, f"{FEATURES} photo.png"),
    "output of single maps": ("out", nothing, f"{FEATURES} photo.png --single"),
    "output of explain": ("out", nothing, "explain conv --input 3 --kernel 2 -o out"),
    "output of filter": ("out", nothing, "filter photo.png --kernel sobel-x -o out"),
    "output of statistics": ("out", nothing, f"{STATISTICS} photo.png"),
    "output of layers": ("out", nothing, "layers test_resnet --plot -o out"),
    "picture": (f"{PICTURE}.png", folders("out"), KERNELS),
    "picture, forced": (f"{PICTURE}.png", folders("out"), f"{KERNELS} --force"),
    "maps": (f"{MAPS}.png", folders("out"), f"{FEATURES} photo.png"),
    "maps, skipped": (f"{MAPS}.png", folders("out"), f"{FEATURES} photo.png --skip-existing"),
    "arrays, skipped": (f"{MAPS}.npz", folders("out"), f"{FEATURES} photo.png --skip-existing --arrays"),
    "single maps": (SINGLES, folders("out"), f"{FEATURES} photo.png --single"),
    "single maps, forced": (SINGLES, folders("out"), f"{FEATURES} photo.png --single --force"),
    "single maps, skipped": (SINGLES, folders("out"), f"{FEATURES} photo.png --single --skip-existing"),
    "index": (f"{SINGLES}/index.json", folders(SINGLES), f"{FEATURES} photo.png --single"),
    "index, forced": (f"{SINGLES}/index.json", folders(SINGLES), f"{FEATURES} photo.png --single --force"),
    "index, skipped": (f"{SINGLES}/index.json", folders(SINGLES), f"{FEATURES} photo.png --single --skip-existing"),
    "single map": (f"{SINGLES}/0000.png", folders(SINGLES), f"{FEATURES} photo.png --single --force"),
    "basis": ("x.npz", nothing, f"{FEATURES} photo.png --reduce pca --basis x.npz"),
    "basis of output": (
        "out/test_resnet.random-conv1.0-features-basis.npz",
        folders("out"),
        f"{FEATURES} photo.png --reduce pca",
    ),
    "model": ("x", nothing, "kernels local-dir:x -o out"),
    "configuration": ("model/config.json", a_model("config.json"), "kernels local-dir:model -o out"),
    "weights of a model": ("model/pytorch_model.bin", a_model("pytorch_model.bin"), "kernels local-dir:model -o out"),
    "safetensors of a model": ("model/model.safetensors", a_model("nothing"), "kernels local-dir:model -o out"),
    "list of models": ("cache/kernelviz/models.json", folders("cache/kernelviz"), "models test_*"),
    "folder of the list": ("cache/kernelviz", folders("cache"), "models test_*"),
    "cache": ("cache", nothing, "models test_*"),
    "hub": ("hub", nothing, STATES),
    "hub, listed": ("hub", nothing, "models resnet18d"),
    "repository": (REPOSITORY, folders("hub"), STATES),
    "repository, listed": (REPOSITORY, folders("hub"), "models resnet18d"),
    **{f"hub's {part}": (f"{REPOSITORY}/{part}", the_hub(part), STATES) for part in PARTS},
    **{f"hub's {part}, listed": (f"{REPOSITORY}/{part}", the_hub(part), "models resnet18d") for part in PARTS},
    "blob": (f"{REPOSITORY}/blobs/{BLOB}", the_hub(f"blobs/{BLOB}"), STATES),
    "configuration of a repository": (
        f"hub/models--a--b/snapshots/{COMMIT}/config.json",
        a_repository,
        "kernels hf-hub:a/b -o out",
    ),
    "linked weights": (LINK, folders(CHECKPOINTS), "kernels inception_v3.tv_in1k -o out"),
    "linked weights, listed": (LINK, folders(CHECKPOINTS), "models inception_v3*"),
    "folder of linked weights": (CHECKPOINTS, folders("torch/hub"), "kernels inception_v3.tv_in1k -o out"),
}
"""Where the file is put, what is prepared, and a command that meets it."""


def remove(path):
    """Delete a file of any kind, or a folder whatever its permissions are."""
    if os.path.islink(path) or not os.path.isdir(path):  # noqa: PTH112, PTH114
        Path(path).unlink(missing_ok=True)
        return
    for directory, _, _ in os.walk(path):
        with contextlib.suppress(OSError):
            Path(directory).chmod(0o700)
    shutil.rmtree(path)

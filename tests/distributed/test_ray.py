"""Ray as an engine: the same bits as one process, whatever ends on the way, and nothing that stays behind.

Ray listens on loopback alone here, as always. One test is in every run; the others take minutes: ``pytest -m slow``.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from processes import started_processes

import kernelviz as kv
from kernelviz.distributed import Ray, cluster_address, gather_many, ray_engine
from kernelviz.errors import UsageError

pytestmark = [
    pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are read from /proc"),
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),  # Ray's
]

HERE = os.getpid()
FLAG = "KERNELVIZ_TEST_FLAG"


class Frail(kv.ChannelTally):
    """Ends the process of a worker at one place, once; it notes where that imports from, and what Ray knows of programs."""

    def add(self, maps, image=None, place=None):
        """Add the maps of an image, or end."""
        flag = Path(os.environ[FLAG])
        if place == 40 and os.getpid() != HERE and not flag.exists():
            from ray._private.state import state

            jobs = [job["Entrypoint"] for job in state.job_table()]
            mode = Path(os.environ["RAY_AUTH_TOKEN_PATH"]).parent.stat().st_mode
            flag.write_text(json.dumps({"path": sys.path, "directory": str(Path.cwd()), "jobs": jobs, "mode": mode}))
            os.kill(os.getpid(), signal.SIGKILL)
        super().add(maps, image, place)


class Net(torch.nn.Sequential):
    """A network that is in no package: it travels by its content."""

    def __init__(self):
        super().__init__(torch.nn.Conv2d(3, 8, 3, stride=2), torch.nn.ReLU(), torch.nn.Conv2d(8, 4, 3))


@pytest.fixture
def one_thread():
    """One torch thread here, as in each worker."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def check_same(found, here):
    """Check that both have the same statistics and components to the last bit, of the same images."""
    for layer in here["statistics"]:
        one, other = (each["statistics"][layer].result() for each in (found, here))
        assert one.images == other.images
        assert one.mean.tobytes() == other.mean.tobytes()
        assert one.deviation.tobytes() == other.deviation.tobytes()
        assert one.image.tobytes() == other.image.tobytes()
        assert found["components"][layer].basis().digest == here["components"][layer].basis().digest


def check_one_exit(notices):
    """One line reports the worker that ended, with the images of its one or two chunks; others report a busy machine."""
    (notice,) = (each for each in notices if "exited" in each)
    assert re.fullmatch(r"a worker exited unexpectedly; its \d+ images are processed again", notice)


@pytest.fixture
def temporary(monkeypatch):
    """A folder for temporary files, with a short path; Ray's processes are known by the files that they have open there."""
    with tempfile.TemporaryDirectory(prefix="t", dir="/tmp") as folder:
        monkeypatch.setenv("TMPDIR", folder)
        monkeypatch.setattr(tempfile, "tempdir", folder)
        yield Path(folder)


def left_behind(folder):
    """What is in the folder, and the processes that have a file of it open."""
    found = [str(path) for path in folder.iterdir() if not path.name.startswith("torchinductor")]  # torch's own cache
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            links = [str(link.readlink()) for link in (process / "fd").iterdir()]
            if any(link.startswith(f"{folder}/") for link in links):
                found.append((process / "cmdline").read_text().replace("\0", " "))
    return found


def check_nothing_is_left(folder, within=5.0):
    """Nothing of Ray is there within some seconds."""
    end = time.monotonic() + within
    while (left := left_behind(folder)) and time.monotonic() < end:
        time.sleep(0.2)
    assert not left
    assert not (Path.home() / ".ray").exists()


@pytest.mark.usefixtures("one_thread")
def test_actors_have_the_bits_of_one_process_though_one_is_killed(tmp_path, temporary, monkeypatch, capfd):
    """A worker that is killed in a chunk is replaced, its images count once, and nothing of Ray stays behind.

    Workers import nothing from the current directory, no job of Ray is listed with credentials, and nobody else can enter
    the folder with Ray's token and sockets.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(FLAG, str(tmp_path / "flag"))
    monkeypatch.setattr(sys, "argv", ["kernelviz", "features", "--weights=s3://me:pa55word@bucket/x.pt"])
    environment = dict(os.environ)
    torch.manual_seed(0)
    network, images, notices = Net().eval(), [torch.rand(3, 32, 32) for _ in range(96)], []
    engine = Ray(workers=min(2, ray_engine.processors()), notice=notices.append)
    tallies = {"statistics": Frail, "components": kv.CovarianceTally}
    found = gather_many(network, images, ["0", "2"], tallies=tallies, engine=engine)
    check_same(found, gather_many(network, images, ["0", "2"], tallies={**tallies, "statistics": kv.ChannelTally}))
    check_nothing_is_left(temporary)
    seen = json.loads(Path(os.environ[FLAG]).read_text())
    assert seen["directory"] == str(tmp_path)
    assert not {"", ".", str(tmp_path)} & {*seen["path"]}
    assert seen["mode"] & 0o077 == 0
    assert seen["jobs"] == ["kernelviz features --weights=s3://bucket/x.pt"]
    assert found.failed == ()
    assert len(found["statistics"]["0"].images) == 96
    check_one_exit(notices)
    assert {key: os.environ.get(key) for key in environment} == environment
    assert capfd.readouterr() == ("", "")


def test_a_cluster_that_another_user_noted_is_not_joined(temporary, monkeypatch):
    """``auto`` trusts the note of ``ray start`` in the temporary folder only if this user or root wrote it."""
    note = temporary / "ray" / "ray_current_cluster"
    note.parent.mkdir()
    note.write_text("10.0.0.1:6379\n")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    assert cluster_address._noted_cluster() == "10.0.0.1:6379"
    with monkeypatch.context() as patch:
        patch.setattr(os, "fstat", lambda _: os.stat_result([0o644, 0, 0, 1, os.geteuid() + 1, *[0] * 5]))
        with pytest.raises(UsageError, match="no Ray cluster of yours"):
            cluster_address._noted_cluster()
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.2:6379")
    assert cluster_address._noted_cluster() == "10.0.0.2:6379"


# The command in a process of its own

MODEL = "tf_efficientnet_lite0"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two hundred small images, the hundredth damaged."""
    directory = tmp_path_factory.mktemp("many")
    for number in range(200):
        pixels = np.random.default_rng(number).integers(0, 256, (8, 10, 3), dtype=np.uint8)
        Image.fromarray(np.kron(pixels, np.ones((12, 12, 1), np.uint8))).save(
            directory / f"{number:03d}.jpg", quality=90
        )
    damaged = directory / "100.jpg"
    damaged.write_bytes(damaged.read_bytes()[:600])
    return directory


@pytest.fixture
def start(tmp_path):
    """A function that starts the command in a directory of its own."""
    root = str(Path(kv.__file__).parents[1])
    with started_processes() as begin:

        def start(*words, **choices):
            environment = os.environ | {"PYTHONPATH": root, "OMP_WAIT_POLICY": "PASSIVE"}
            return begin(
                [sys.executable, "-m", "kernelviz", *map(str, words)], cwd=tmp_path, env=environment, text=True,
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, **choices,
            )  # fmt: skip

        yield start


@pytest.fixture
def run(start, tmp_path):
    """A function that runs the command: its exit code, document, messages, and the files of its directory."""

    def run(*words, out):
        process = start(*words, "-o", out, "--json")
        printed, err = process.communicate(timeout=600)
        files = {
            str(path.relative_to(tmp_path / out)): path.read_bytes()
            for path in sorted((tmp_path / out).rglob("*"))
            if path.is_file()
        }
        return process.returncode, json.loads(printed.replace(f'"{out}/', '"')), err, files

    return run


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        ("features", "--statistics", "--arrays", "--contact"),
        ("features", "-l", "blocks.2", "--reduce", "pca", "--style", "bare"),
        ("features", "-l", "blocks.2", "--single", "--no-classes"),
        ("patches", "-l", "blocks.1"),
    ],
    ids=" ".join,
)
def test_two_workers_write_the_bytes_of_one_process(run, folder, temporary, words):
    """Arrays, sheets, components, files and patches are equal byte for byte; one image is named; stdout is a document."""
    name, *options = words
    one = run(name, MODEL, folder, "-r", *options, "--threads", "1", out="one")
    two = run(name, MODEL, folder, "-r", *options, "--workers", "2", out="two")
    assert one[0] == two[0] == 3
    assert one[1] == two[1]
    assert [Path(error["input"]).name for error in two[1]["errors"]] == ["100.jpg"]
    assert one[3] == two[3]
    assert one[3]
    check_nothing_is_left(temporary)


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
def test_a_worker_that_is_killed_from_outside_is_replaced(folder, temporary):
    """Killed when 64 of 200 images are done: the same bits, each image counts once, and one line reports it."""
    network, paths, notices, killed = kv.load_model(MODEL), sorted(map(str, folder.iterdir())), [], []
    engine = Ray(workers=2, notice=notices.append)

    def watch(_, done, __):
        if done >= 64 and not killed:
            killed.append(engine._actors[0].pid)
            os.kill(killed[0], signal.SIGKILL)

    tallies = {"statistics": kv.ChannelTally, "components": kv.CovarianceTally}
    layers = ["blocks.2", "blocks.4"]
    found = gather_many(network, paths, layers, tallies=tallies, engine=engine, progress=watch)
    check_same(found, gather_many(network, paths, layers, tallies=tallies))
    check_nothing_is_left(temporary)
    assert killed
    assert [each.number for each in found.failed] == [100]
    assert len(found["statistics"]["blocks.2"].images) == 199
    check_one_exit(notices)


class Raising(kv.ChannelTally):
    """A tally with a fault."""

    def add(self, maps, image=None, place=None):
        """Fail."""
        del maps, image, place
        raise ValueError("it is wrong")


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
def test_a_tally_that_fails_is_one_error_and_the_workers_are_kept(temporary, capfd):
    """Nothing of Ray is printed, though other chunks fail as well after the error, and the next call works."""
    images, tallies = [torch.rand(3, 32, 32)] * 128, {"mine": Raising}
    with Ray(workers=2, notice=[].append) as engine:
        for _ in range(2):
            with pytest.raises(kv.KernelvizError, match=r"ValueError: it is wrong \(test_ray\.py, line") as caught:
                gather_many(Net(), images, "0", tallies=tallies, engine=engine)
            assert caught.value.__cause__ is None
            time.sleep(2)  # until Ray has the answers of the other chunks
        found = gather_many(Net(), images, "0", tallies={"mine": kv.ChannelTally}, engine=engine)
    assert len(found["mine"]["0"].images) == 128
    assert capfd.readouterr() == ("", "")
    check_nothing_is_left(temporary)


@pytest.mark.slow
@pytest.mark.parametrize(
    "ending",
    [("raylet", signal.SIGKILL), ("raylet", signal.SIGTERM), ("gcs_server", signal.SIGKILL)],
    ids="{0[0]} {0[1]:d}".format,
)
def test_a_ray_that_ends_ends_the_run_with_one_error(start, folder, temporary, tmp_path, ending):
    """Exit 1 with a document, within seconds; whole files are there, and no process, temporary file or folder.

    SIGTERM is what ``ray stop`` sends: workers end before their raylet.
    """
    name, number = ending
    words = ("features", MODEL, folder, "-r", "--single", "-l", "blocks.0", "--workers", "2", "--json", "-o", "out")
    process, end = start(*words), time.monotonic() + 300
    while len(list((tmp_path / "out").glob("*/index.json"))) < 5 and time.monotonic() < end:
        time.sleep(0.1)
    pids = descendants(process.pid)
    (pid,) = (pid for pid in pids if Path(f"/proc/{pid}/comm").read_text().strip() == name)
    os.kill(pid, number)
    began = time.monotonic()
    out, err = process.communicate(timeout=120)
    assert time.monotonic() - began < 30
    assert process.returncode == 1
    assert [error["message"].partition(" Its ")[0] for error in json.loads(out)["errors"]] == [
        "Ray ended unexpectedly."
    ]
    assert "Traceback" not in err
    assert list((tmp_path / "out").glob("*/index.json"))
    assert not list((tmp_path / "out").glob(".kernelviz-*"))
    check_nothing_is_left(temporary, within=0)
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]


DEADLY = """
import os
import signal

import timm


def build():
    network = timm.create_model("tf_efficientnet_lite0")
    network.register_forward_pre_hook(end)
    return network


def end(network, given):
    if given[0].min() > 0.8:  # the white image
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
def test_an_image_that_kills_workers_is_found_and_named_alone(run, folder, temporary, tmp_path):
    """Its neighbours, and the chunk that waits behind it, are counted: 198 of 200, within a minute."""
    (tmp_path / "deadly.py").write_text(DEADLY)
    words = ("features", "deadly.py:build", "photos", "-r", "--input-size", "224", "-l", "blocks.2")
    shutil.copytree(folder, tmp_path / "photos")
    Image.new("RGB", (120, 96), "white").save(tmp_path / "photos" / "037.jpg")
    began = time.monotonic()
    code, document, err, files = run(*words, "--statistics", "--arrays", "--workers", "2", out="two")
    took = time.monotonic() - began
    assert code == 3
    assert [error["input"] for error in document["errors"]] == ["photos/037.jpg", "photos/100.jpg"]
    assert "photos/037.jpg: The worker process crashes on this image." in err
    assert len(document["statistics"][0]["images"]) == 198
    (tmp_path / "photos" / "037.jpg").write_bytes((folder / "100.jpg").read_bytes())
    expected = run(*words, "--statistics", "--arrays", "--threads", "1", out="one")
    (one,), (two,) = ([name for name in each if name.endswith(".npz")] for each in (expected[3], files))
    with np.load(tmp_path / "one" / one) as here, np.load(tmp_path / "two" / two) as there:
        assert {key: value.tobytes() for key, value in here.items()} == {
            key: value.tobytes() for key, value in there.items()
        }
    check_nothing_is_left(temporary)
    assert took < 60


def descendants(pid):
    """The processes that a process has started, and their own."""
    children = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        children.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    found, todo = set(), [pid]
    while todo:
        new = [child for child in children.get(todo.pop(), ()) if child not in found]
        found.update(new)
        todo += new
    return found


def listening(pids):
    """The addresses at which processes listen, as (address in hexadecimal, inode)."""
    inodes = set()
    for pid in pids:
        try:
            links = [str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir()]
        except OSError:
            continue
        inodes |= {match[1] for link in links if (match := re.fullmatch(r"socket:\[(\d+)\]", link))}
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in inodes:
                found.add(fields[1].partition(":")[0])
    return found


LOOPBACK = {"0100007F", "00000000000000000000000001000000", "0000000000000000FFFF00000100007F"}


@pytest.mark.slow
@pytest.mark.parametrize("number", [None, signal.SIGINT, signal.SIGTERM], ids=str)
def test_ray_listens_on_loopback_and_leaves_nothing_behind(start, folder, temporary, tmp_path, number):
    """While a run lasts only loopback is listened on; after it, or Ctrl-C, no process, folder or token is there."""
    process = start("features", MODEL, folder, "-r", "--single", "-l", "blocks.0", "--workers", "2", "-o", "out")
    addresses, end = set(), time.monotonic() + 300
    while process.poll() is None and time.monotonic() < end:
        addresses |= listening({process.pid, *descendants(process.pid)})
        if number is not None and len(list((tmp_path / "out").glob("*/index.json"))) > 20:
            process.send_signal(number)
            break
        time.sleep(0.2)
    out, err = process.communicate(timeout=120)
    assert process.returncode == (3 if number is None else 130 if number == signal.SIGINT else -number), err[-2000:]
    assert addresses
    assert addresses <= LOOPBACK
    assert "Traceback" not in err
    assert all(line.startswith("out/") for line in out.splitlines())
    assert "usage" not in err
    check_nothing_is_left(temporary)


@pytest.mark.slow
def test_a_run_that_was_killed_is_continued(start, run, folder, tmp_path):
    """With ``--skip-existing`` no whole file is written again, all files are there, and no temporary one is left."""
    words = ("features", MODEL, folder, "-r", "--single", "-l", "blocks.0", "--no-classes", "--workers", "2")
    process = start(*words, "-o", "out")
    end = time.monotonic() + 300
    while len(list((tmp_path / "out").glob("*/index.json"))) < 90 and time.monotonic() < end:
        time.sleep(0.1)
    process.kill()
    process.wait()
    time.sleep(3)  # workers end with it
    whole = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*/index.json")}
    code, document, _, files = run(*words, "--skip-existing", out="out")
    assert code == 3
    assert {path: path.stat().st_mtime_ns for path in whole} == whole
    assert sum(name.endswith("index.json") for name in files) == 199
    assert sum(image.get("skipped", False) for image in document["images"]) >= len(whole) - 32
    assert not [
        path for path in (tmp_path / "out").rglob(".kernelviz-*") if path.stat().st_mtime_ns > max(whole.values())
    ]


@pytest.mark.slow
def test_a_cluster_that_does_not_answer_or_has_other_versions_is_refused(run, folder, monkeypatch):
    """Exit 2 within thirty seconds, with what is there and what to type; other versions are named with their machine."""
    for option, what in (
        (("--workers", "64"), "There is no room for 64 workers."),
        (("--ray", "127.0.0.1:9"), "There is no Ray cluster at 127.0.0.1:9."),
        (("--ray", "auto"), "There is no Ray cluster at auto."),
    ):
        began = time.monotonic()
        code, document, _, files = run("features", MODEL, folder, "-r", "--statistics", *option, out="out")
        assert (code, files) == (2, {})
        assert document["errors"][0]["message"].startswith(what)
        assert document["errors"][0]["hint"]
        assert time.monotonic() - began < 30
    versions = ray_engine._versions()
    monkeypatch.setattr(ray_engine, "_versions", lambda: {**versions, "torch": "1.0"})
    with pytest.raises(UsageError, match=r"but this process 1\.0"):
        gather_many(Net(), [torch.rand(3, 32, 32)], "0", tallies={"s": kv.ChannelTally}, engine=Ray(workers=1))

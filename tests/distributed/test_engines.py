"""``gather_many`` and the commands give one result, whatever the engine, its order, and the processes that end."""

from __future__ import annotations

import json
import logging
import pickle
import re
import signal
import site
import socket
import subprocess
import sys
import tempfile
from contextlib import ExitStack, contextmanager, nullcontext
from functools import partial
from itertools import islice
from pathlib import Path
from threading import Thread
from types import ModuleType, SimpleNamespace
from weakref import WeakSet

import numpy as np
import pytest
import torch
from engines import Futures, Shuffled
from PIL import Image

import kernelviz as kv
from kernelviz.cli import worker_choices
from kernelviz.cli.main import main
from kernelviz.cli.session import Report
from kernelviz.distributed import (
    Chunk,
    WorkerLostError,
    cluster_address,
    gather_many,
    packing,
    ray_engine,
    ray_runtime,
    signals,
)
from kernelviz.distributed.engines import ChunkItem, make_chunks, run_chunks
from kernelviz.errors import KernelvizError, UsageError
from kernelviz.storage import uris
from kernelviz.storage.uris import complete

TALLIES = {
    "statistics": kv.ChannelTally,
    "components": kv.CovarianceTally,
    "contact": partial(kv.ContactSheet, count=3),
    "patches": partial(kv.PatchTally, 4),
}
LAYERS = ("layer1", "layer2")
REAL_MAKE = worker_choices.WorkerChoices._make


@pytest.fixture(scope="module")
def images():
    """Sixty-seven small images, one of them again, and one twice in one chunk."""
    found = []
    for number in range(70):
        pixels = np.random.default_rng(number).integers(0, 256, (32, 32, 3), dtype=np.uint8)
        found.append(kv.read_image(pixels, name=f"{number}.png"))
    found[40], found[62], found[69] = found[3], found[3], found[67]
    return found


@pytest.fixture(scope="module")
def network():
    """A tiny network with random weights."""
    return kv.load_model("test_resnet", weights="random")


@pytest.fixture(scope="module")
def whole(network, images):
    """What one process gathers."""
    return gather_many(network, images, LAYERS, tallies=TALLIES, input_size=32)


def facts(gathering):
    """Everything that is gathered, as bytes and plain values."""
    found = []
    for layer in LAYERS:
        statistics = gathering["statistics"][layer].result()
        arrays = [statistics.mean, statistics.deviation, statistics.zeros, statistics.largest, statistics.image]
        patches = gathering["patches"][layer].result()
        arrays += [patches.values, patches.places, patches.mean, patches.deviation]
        sheet = gathering["contact"][layer]
        arrays += [row.values for row in sheet.rows] + [row.thumbnail for row in sheet.rows]
        found.append([each.tobytes() for each in arrays])
        found.append((gathering["components"][layer].basis().digest, sheet.channels, patches.duplicates))
        found.append((statistics.images, statistics.identity, sheet.images.as_recipe(), patches.identity))
    return found


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 6))])
def test_the_result_is_the_same_in_any_order(network, images, whole, seed):
    """Statistics, components, contact sheets and patches are those of one process to the last bit."""
    engine = Shuffled(seed)
    found = gather_many(network, images, LAYERS, tallies=TALLIES, input_size=32, engine=engine)
    assert facts(found) == facts(whole)
    assert whole["patches"]["layer1"].result().duplicates == ("3.png", "3.png", "67.png")
    assert len(engine.seen) > 3  # chunks with copies of earlier images are done again
    assert found.failed == whole.failed == ()


def test_they_are_those_of_the_tallies_of_capture_many(network, images, whole):
    """What is gathered equals what tallies of one's own have after ``capture_many``."""
    tally = kv.ChannelTally()
    kv.capture_many(network, images, "layer1", on_map=tally.add, input_size=32)
    assert tally.result().mean.tobytes() == whole["statistics"]["layer1"].result().mean.tobytes()


def test_an_image_that_ends_its_processes_is_named_alone(network, images):
    """A chunk that is lost once is done again; of one that is always lost, the guilty image alone fails."""
    engine = Shuffled(deadly={37}, frail={5})
    seen, done = [], []
    tallies = {"statistics": kv.ChannelTally}
    found = gather_many(
        network, images, "layer1", tallies=tallies, input_size=32, engine=engine, on_error=seen.append,
        progress=lambda _, count, total: done.append((count, total)),
    )  # fmt: skip
    others = [*images]
    others[37] = b"no image"
    expected = gather_many(network, others, "layer1", tallies=tallies, input_size=32)
    one, other = (each["statistics"]["layer1"].result() for each in (found, expected))
    assert (one.images, one.mean.tobytes()) == (other.images, other.mean.tobytes())
    assert [(each.number, each.name) for each in found.failed] == [(37, "37.png")]
    assert isinstance(found.failed[0].error, WorkerLostError)
    assert seen == list(found.failed)
    assert [37] in engine.seen
    assert done[0] == (0, 70)
    assert done[-1] == (70, 70)


def test_bad_images_fail_in_their_order_and_a_wrong_layer_ends_the_run(network, images):
    """Each bad image is named; what is wrong for all of them is one error."""
    bad = [*images[:40], "nosuch.png", *images[40:60], b"text"]
    for engine in (None, Shuffled()):
        found = gather_many(network, bad, "layer1", tallies=TALLIES, input_size=32, engine=engine)
        assert [each.number for each in found.failed] == [40, 61]
        assert len(found["statistics"]["layer1"].images) == 59  # number 41 is a copy of the fourth
        with pytest.raises(kv.KernelvizError, match="nosuch"):
            gather_many(network, images, "nosuch", tallies={"s": kv.ChannelTally}, engine=engine)
    with pytest.raises(UsageError, match="several"):
        gather_many(network, "photo.jpg", tallies=TALLIES)


def test_answers_are_merged_once_and_in_order():
    """Chunks that are done again, or twice, count once; processes that end whatever they do end the run."""
    merged = []

    def merge(chunk, answer):
        merged.append((chunk.number, answer))
        return Chunk(chunk.number, chunk.items, "again") if chunk.number == 2 and chunk.payload is None else None

    class Twice:
        def map_chunks(self, make_worker, chunks):
            for chunk in list(chunks)[::-1]:
                yield chunk, make_worker()(chunk)
                yield chunk, "late"

    run_chunks(Twice(), lambda: lambda chunk: len(chunk.items), make_chunks(range(10), 3, lambda: None), merge)
    assert merged == [(0, 3), (1, 3), (2, 3), (2, 3), (3, 1)]
    with pytest.raises(KernelvizError, match="crash repeatedly"):
        run_chunks(Shuffled(deadly=range(1000)), _counter, make_chunks(range(1000), 32, lambda: None), merge)
    with pytest.raises(KernelvizError, match="32 to 63 crash their process together"):
        run_chunks(Together(), _counter, make_chunks(range(99), 32, lambda: None), lambda *_: None)


def _opening():
    return lambda chunk: [complete(item.value) for item in chunk.items]


def test_workers_open_uris_as_this_process_does(monkeypatch):
    """The credentials of URIs, which are kept apart, travel with the work, and no text of it shows them."""
    typed = ["s3://me:pa55word@bucket/a.png", "https://elsewhere/a.png?sig=pa55word"]

    class Elsewhere:
        def map_chunks(self, make_worker, chunks):
            packed = pickle.dumps(make_worker)
            assert "pa55word" not in repr(make_worker)
            for name in ("_users", "_queries"):
                monkeypatch.setattr(uris, name, {})
            worker = pickle.loads(packed)()
            yield from ((chunk, worker(chunk)) for chunk in chunks)

    opened = []
    chunks = make_chunks(map(uris.resolved, typed), 3, lambda: None)
    run_chunks(Elsewhere(), _opening, [*chunks], lambda _, answer: opened.extend(answer))
    assert opened == typed


def test_uris_are_not_looked_for_on_machines(monkeypatch):
    """Of images and results at URIs no path is asked for on the machines of a cluster."""
    made = []

    def make(_self, shared, *, gpu):
        made.append((shared, gpu))
        return SimpleNamespace(threads=1, workers=2)

    monkeypatch.setattr(worker_choices.WorkerChoices, "_make", make)
    choices = worker_choices.WorkerChoices(2, "auto", 1, "cpu")
    choices.engine(Report("features"), ["s3://bucket/a.png"], uris.as_path("s3://bucket/out"))
    assert made == [([], False)]


def test_wrong_tallies_and_engines_are_rejected_with_an_example():
    """An instance in place of a class, no tally, a name or a class as engine: wrong usage before any image is read."""
    network = torch.nn.Conv2d(3, 4, 3)
    for tallies in ({}, {"s": kv.ChannelTally()}, [kv.ChannelTally]):
        with pytest.raises(UsageError, match="must map names to classes"):
            gather_many(network, [], tallies=tallies)
    for engine in ("ray", kv.InThisProcess, 4):
        with pytest.raises(UsageError, match="method map_chunks"):
            gather_many(network, [], tallies={"s": kv.ChannelTally}, engine=engine)


class Counting:
    """A tally of one's own: the number of maps."""

    def __init__(self):
        self.count = 0

    def add(self, maps, *, place):
        """Count one map."""
        del maps, place
        self.count += 1

    def merge(self, other):
        """Add the maps of another tally."""
        self.count += other.count

    def fresh(self):
        """A tally of no map."""
        return Counting()


@pytest.mark.parametrize(
    ("name", "method"),
    [
        ("add", lambda *_: None), ("add", None), ("merge", lambda _: None), ("merge", None),
        ("fresh", lambda _, __: None), ("fresh", "text"),
    ],
)  # fmt: skip
def test_a_tally_of_one_s_own_is_checked_before_any_image(monkeypatch, name, method):
    """What cannot be called later is one usage error that states what a tally must have, whatever the engine."""
    network, images = torch.nn.Conv2d(3, 4, 3), [torch.rand(3, 8, 8)] * 3
    assert gather_many(network, images, tallies={"mine": Counting})["mine"]["Conv2d"].count == 3
    monkeypatch.setattr(Counting, name, method)
    for engine in (None, Shuffled()):
        with pytest.raises(UsageError, match=f"'mine' cannot be used: Counting has no suitable method {name}") as found:
            gather_many(network, images, tallies={"mine": Counting}, engine=engine)
        assert "add(maps, *, place), merge(other), and fresh()" in found.value.hint
    with pytest.raises(UsageError, match="'size' cannot be made without arguments"):
        gather_many(network, images, tallies={"size": lambda _: Counting()})


class Losing:
    """An engine that takes or answers some of the chunks only."""

    def __init__(self, taken, lost=()):
        self.taken, self.lost = taken, lost

    def map_chunks(self, make_worker, chunks):
        """Yield some of the chunks with their answers."""
        worker = make_worker()
        for chunk in islice(chunks, self.taken):
            if chunk.number not in self.lost:
                yield chunk, worker(chunk)


@pytest.mark.parametrize("engine", [Losing(2), Losing(0), Losing(9, {1}), Losing(9, {2})])
def test_an_engine_that_loses_a_chunk_is_an_error(engine):
    """Images that no worker answered for never go missing without a word."""
    with pytest.raises(KernelvizError, match="did not yield an answer for each chunk"):
        run_chunks(engine, _counter, make_chunks(range(3), 1, dict), lambda *_: None)


def test_failed_images_are_in_their_order_in_batches_too():
    """An image that fails before those of the batch it would be in is reported after them."""
    images = [torch.rand(3, 8, 8), torch.rand(1, 8, 8), b"text", torch.rand(3, 8, 8)]

    class Rejecting(kv.ChannelTally):
        def add(self, maps, image=None, place=None):
            if place == 0:
                raise KernelvizError("It is rejected.")
            super().add(maps, image, place)

    found = gather_many(torch.nn.Conv2d(3, 4, 3), images, tallies={"s": Rejecting}, batch_size=3)
    assert [each.number for each in found.failed] == [0, 1, 2]


@pytest.mark.parametrize("how", ["another environment", "a folder of pip"])
def test_installed_packages_do_not_travel(monkeypatch, tmp_path, how):
    """Packages of another environment, or of a folder into which pip installs, are known as installed."""
    own = ModuleType("own_network")
    own.__file__ = str(tmp_path / "own_network.py")
    monkeypatch.setitem(sys.modules, "own_network", own)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert own in packing.own_modules()
    if how == "another environment":
        monkeypatch.setattr(site, "getsitepackages", lambda: [str(tmp_path)])
    else:
        (tmp_path / "own-1.0.dist-info").mkdir()
    assert own not in packing.own_modules()


class Together:
    """An engine in which one chunk ends its process, but none of its images alone."""

    def map_chunks(self, make_worker, chunks):
        """Yield each chunk with its answer."""
        del make_worker
        for chunk in chunks:
            yield chunk, WorkerLostError("It ended.") if chunk.number == 1 and len(chunk.items) > 1 else 0


def _counter():
    return lambda chunk: len(chunk.items)


@pytest.mark.slow
def test_an_engine_of_one_s_own_takes_a_few_lines(network, images, whole):
    """The standard library's processes as an engine have the result of one process with as many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        one = gather_many(network, images, LAYERS, tallies=TALLIES, input_size=32)
    finally:
        torch.set_num_threads(before)
    assert facts(gather_many(network, images, LAYERS, tallies=TALLIES, input_size=32, engine=Futures())) == facts(one)
    assert whole.failed == ()


# The command


@pytest.fixture
def command(tmp_path, monkeypatch, capsys):
    """A function that runs the command on 24 images, one of them damaged and one a copy, and returns all it makes."""
    monkeypatch.chdir(tmp_path)
    Path("images").mkdir()
    for number in range(24):
        pixels = np.random.default_rng(number).integers(0, 256, (6, 7, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((40, 40)).save(f"images/{number:02d}.png")
    Path("images/12.png").write_bytes(Path("images/12.png").read_bytes()[:90])
    Path("images/20.png").write_bytes(Path("images/02.png").read_bytes())
    engines = []

    def make(choices, *_shared, **_gpu):
        engines.append(Shuffled(workers=choices.workers, deadly=run.deadly))
        return engines[-1]

    def run(name, *options, out, model="test_resnet", images="images"):
        capsys.readouterr()
        words = [name, model, images, "-r", "--weights", "random", "--input-size", "32", "--json"]
        code = main([*words, *options, "-o", out])
        printed, err = capsys.readouterr()
        files = {path.relative_to(out): path.read_bytes() for path in sorted(Path(out).rglob("*.*")) if path.is_file()}
        return code, json.loads(printed.replace(f"{out}/", "")), files, err

    run.deadly = ()
    monkeypatch.setattr(worker_choices.WorkerChoices, "_make", make)
    run.engines = engines
    return run


@pytest.mark.parametrize(
    "options",
    [
        ("features", "-l", "layer1", "--statistics", "--contact", "--arrays"),
        pytest.param(("features", "-l", "layer1", "--reduce", "pca", "--style", "bare"), marks=pytest.mark.slow),
        ("features", "-l", "layer1", "--single", "--skip-existing", "--no-classes"),
        ("patches", "-l", "layer1.0.conv1", "--top", "2"),
        pytest.param(("features", "-l", "layer1", "--style", "bare", "--batch-size", "3"), marks=pytest.mark.slow),
        pytest.param(("features", "-l", "layer1", "--overview", "--look", "slide"), marks=pytest.mark.slow),
        pytest.param(("patches", "-l", "layer1.0.conv1", "--single", "--arrays"), marks=pytest.mark.slow),
    ],
    ids=" ".join,
)
def test_workers_make_the_files_and_the_document_of_one_process(command, options):
    """The same bytes, messages, outputs, warnings and errors in the same order, and the damaged image named."""
    one = command(*options, "--threads", "1", out="one")
    two = command(*options, "--workers", "3", out="two")
    assert (one[0], one[1]["errors"][0]["input"]) == (3, "images/12.png")
    assert one[:3] == two[:3]
    assert command.engines
    said, message = (text.replace("two/", "one/").splitlines() for text in (one[3], two[3]))
    new = [line for line in message if line not in said]
    assert new == ["3 workers of 1 thread each; the numbers are those of --threads 1"]


def test_an_image_that_ends_workers_is_named_by_the_command(command):
    """Exit 3, the image is named with what it does, and the others have their statistics."""
    command.deadly = (7,)
    code, document, _, err = command("features", "-l", "layer1", "--statistics", "--workers", "2", out="out")
    assert code == 3
    assert [error["input"] for error in document["errors"]] == ["images/07.png", "images/12.png"]
    assert "images/07.png: The worker process crashes on this image." in err
    assert len(document["statistics"][0]["images"]) == 21


BREAKING = """
import torch

class Breaking(torch.nn.Sequential):
    def __init__(self):
        super().__init__(torch.nn.Conv2d(3, 4, 3), torch.nn.Conv2d(4, 4, 3), torch.nn.Conv2d(4, 2, 3))

    def forward(self, x):
        middle = self[1](self[0](x))
        if len(x.unique()) > 3:
            raise ValueError("not this image")
        return self[2](middle)
"""


@pytest.mark.parametrize("options", [("--style", "bare"), ("--statistics",)], ids=" ".join)
def test_a_forward_pass_that_breaks_ends_as_in_one_process(command, options):
    """The layers that ran before the break are drawn and reported, then the failure is named; sums are not drawn."""
    Path("breaking.py").write_text(BREAKING)
    words = ("features", *options, "-l", "*")
    ends = {}
    for out, more in {"one": ("--threads", "1"), "two": ("--workers", "2")}.items():
        code, document, files, err = command(
            *words, *more, out=out, model="breaking.py:Breaking", images="images/03.png"
        )
        ends[out] = code, document, files, err.replace(f"{out}/", "")
    assert ends["one"][:3] == ends["two"][:3]
    assert (ends["one"][0], len(ends["one"][2])) == (1, 2 if "bare" in options else 0)
    added = "2 workers of 1 thread each; the numbers are those of --threads 1\n"
    assert ends["two"][3].replace(added, "") == ends["one"][3]
    assert "not this image" in ends["one"][3]
    assert added in ends["two"][3]


def test_without_ray_it_is_stated_what_to_install(command, monkeypatch):
    """Exit 2 with the line to type, before anything is loaded; in the library too."""
    monkeypatch.setattr(worker_choices, "find_spec", lambda _: None)
    monkeypatch.setattr(ray_engine, "find_spec", lambda _: None)
    for option in (("--workers", "2"), ("--ray", "auto")):
        code, document, files, _ = command("features", *option, out="out")
        assert (code, files) == (2, {})
        assert document["errors"][0]["hint"] == 'Type `pip install "kernelviz[ray]"`.'
    with pytest.raises(UsageError, match="not installed"):
        ray_engine.Ray(workers=2)


def test_ray_is_imported_when_it_is_used_only():
    """Neither the package, nor ``gather_many``, nor the command without workers imports it."""
    code = (
        "import sys, kernelviz, kernelviz.distributed, kernelviz.cli.features as f; kernelviz.gather_many; f.features"
    )
    subprocess.run([sys.executable, "-c", f"{code}; assert 'ray' not in sys.modules"], check=True)


def test_what_is_not_there_is_rejected_early(monkeypatch):
    """More workers than processors or GPUs, a cluster that does not answer, and other versions are wrong usage."""
    monkeypatch.setattr(ray_engine, "processors", lambda: 2)
    monkeypatch.setattr(ray_engine, "find_spec", lambda _: True)
    with pytest.raises(UsageError, match="no room for 64 workers") as found:
        ray_engine.Ray(workers=64)
    assert (found.value.why, found.value.hint) == ("1 thread each: this machine has 2 processors.", "Type --workers 2.")
    assert ray_engine.Ray().workers == 2
    with pytest.raises(UsageError, match="no room for 3 workers") as found:
        ray_engine.Ray(workers=3, gpus_per_worker=1)
    assert "GPU" in found.value.why
    with pytest.raises(UsageError, match="at least 1"):
        ray_engine.Ray(workers=0)
    for address, message in (
        ("127.0.0.1:9", "no Ray cluster at 127.0.0.1:9"), ("nobody", "takes auto or HOST:PORT"),
        ("ray://127.0.0.1:9", "takes auto or HOST:PORT"),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=message):
            cluster_address.find_cluster(address)
    here = {**ray_engine._versions(), "machine": "node-7", "missing": []}
    ray_engine._check_facts(here, [__file__])
    with pytest.raises(UsageError, match=r"A worker on node-7 has torch 1\.0, but this process"):
        ray_engine._check_facts({**here, "torch": "1.0"}, [])
    with pytest.raises(UsageError, match="is not seen from node-7"):
        ray_engine._check_facts({**here, "missing": [__file__]}, [__file__])


def test_auto_is_a_cluster_that_was_started_and_no_other_process_of_ray(monkeypatch, tmp_path):
    """It is RAY_ADDRESS, else what ``ray start`` noted; if neither exists that is wrong usage, without a wait."""
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with pytest.raises(UsageError, match="no Ray cluster at auto"):
        cluster_address.find_cluster("auto")
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray" / "ray_current_cluster").write_text("127.0.0.1:9\n")
    with pytest.raises(UsageError, match=r"no Ray cluster at 127\.0\.0\.1:9"):
        cluster_address.find_cluster("auto")
    with answering(SETTINGS) as address:
        monkeypatch.setenv("RAY_ADDRESS", address)
        assert cluster_address.find_cluster("auto") == address


SETTINGS = bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])


@contextmanager
def answering(answer):
    """A server on this machine that sends some bytes to the first that connects, or none and waits, and its address."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve():
            connection, _ = server.accept()
            with connection:
                connection.recv(64)
                if answer is not None:
                    connection.sendall(answer)
                else:
                    connection.recv(1)  # until the other side gives up

        thread = Thread(target=serve)
        thread.start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        thread.join()


@pytest.mark.parametrize(
    ("answer", "why"),
    [(b"HTTP/1.1 400 Bad Request\r\n", "another program"), (b"", "another program"), (None, "does not answer within")],
)
def test_what_is_no_cluster_is_not_waited_for(monkeypatch, answer, why):
    """Ray would try for ten minutes where a program answers that is no Ray, or none answers; gRPC greets at once."""
    monkeypatch.setattr(cluster_address, "REACHED", 0.1)
    with (
        answering(answer) as address,
        pytest.raises(UsageError, match=f"There is no Ray cluster at {address}") as found,
    ):
        cluster_address.find_cluster(address)
    assert why in found.value.why
    assert "ray start --head" in found.value.hint


@pytest.mark.parametrize("name", ["features", "patches"])
def test_workers_that_cannot_be_are_rejected_before_the_model_is_loaded(command, monkeypatch, name):
    """Exit 2 with what is there and what to type, and not even the name of the model is looked at."""
    monkeypatch.setattr(worker_choices.WorkerChoices, "_make", REAL_MAKE)
    monkeypatch.setattr(ray_engine, "processors", lambda: 2)
    for options, message, hint in (
        (
            ("--workers", "64"),
            "There is no room for 64 workers. 1 thread each: this machine has 2 processors.",
            "--workers 2",
        ),
        (("--workers", "2", "--threads", "2"), "There is no room for 2 workers. 2 threads each:", "--workers 1"),
        (("--ray", "127.0.0.1:9"), "There is no Ray cluster at 127.0.0.1:9.", "ray start --head"),
    ):
        for more in ((), ("--device", "cpu")):
            code, document, files, err = command(name, *options, *more, out="out", model="no_such_model")
            assert (code, files, len(document["errors"])) == (2, {}, 1)
            assert document["errors"][0]["message"].startswith(message)
            assert hint in document["errors"][0]["hint"]
            assert "no_such_model" not in err


def test_items_know_their_places():
    """Chunks are consecutive, and each image has its place among all."""
    chunks = list(make_chunks("abcde", 2, dict))
    assert [chunk.number for chunk in chunks] == [0, 1, 2]
    assert chunks[2].items == (ChunkItem(4, "e"),)


def test_ray_does_not_replace_the_handler_of_sigterm() -> None:
    """While Ray starts, SIGTERM keeps our handler, which ends all of Ray; other handlers are installed as usual."""
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGUSR1), signal.signal

    def ours(*_: object) -> None:
        pass

    signal.signal(signal.SIGTERM, ours)
    try:
        with signals.own_handler_of_sigterm():
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(15))
            signal.signal(signal.SIGUSR1, ours)
        assert signal.getsignal(signal.SIGTERM) is ours
        assert signal.getsignal(signal.SIGUSR1) is ours
        assert signal.signal is before[2]
    finally:
        signal.signal(signal.SIGTERM, before[0])
        signal.signal(signal.SIGUSR1, before[1])


def test_workers_that_are_kept_work_on_after_a_call_that_failed(monkeypatch):
    """Chunks of a call that failed do not count as work of its workers in the next call, which would wait for ever."""
    ray = SimpleNamespace(cancel=lambda _: None)
    monkeypatch.setitem(sys.modules, "ray", ray)
    actors = [ray_engine._Handle(SimpleNamespace(work=SimpleNamespace(remote=lambda *_: object()))) for _ in range(2)]
    engine = SimpleNamespace(_actors=actors, _runtime=SimpleNamespace(finished=None))
    shared = SimpleNamespace(key="", drop=lambda: None)
    for _ in range(2):
        flow = ray_engine._Flow(engine, make_chunks("abcdefgh", 1, dict), shared)
        flow._send()
        assert [each.chunk.number for each in flow.sent.values()] == [0, 1, 2, 3]
        flow.cancel()


def test_what_a_worker_raises_is_returned_with_its_traceback():
    """It is one error of ours that can be sent, with the line and the traceback of the user's code and nothing else."""

    def fail(_):
        raise ValueError("not\nthis image")

    actor = ray_engine._Actor.__new__(ray_engine._Actor)
    actor.key, actor.worker = "a", fail
    found = pickle.loads(pickle.dumps(actor.work("a", None)))
    assert (type(found), found.what) == (KernelvizError, "A worker failed.")
    assert re.fullmatch(r"ValueError: not this image \(test_engines\.py, line \d+\)", found.why)
    (note,) = found.__notes__
    assert "in fail" in note
    assert "ray_engine" not in note
    actor.worker = _failing
    assert type(actor.work("a", None)) is UsageError
    assert isinstance(actor.work("b", None), ray_engine._NotRead)


def _failing(_):
    raise UsageError("It is wrong.")


def test_what_ray_reports_is_logged_and_not_printed(capsys, caplog):
    """Ray prints reports of its processes on stdout; while it is ours they are logged, and afterwards printed again."""
    worker = SimpleNamespace(print_to_stdstream=print)
    with (
        ray_runtime._messages_logged(SimpleNamespace(_private=SimpleNamespace(worker=worker))),
        caplog.at_level("INFO"),
    ):
        worker.print_to_stdstream({"lines": ["A worker died."], "pid": "raylet", "is_err": False}, ignore_prefix=False)
    assert caplog.messages == ["Ray: A worker died."]
    assert capsys.readouterr().out == ""
    assert worker.print_to_stdstream is print


def test_what_ray_reports_to_a_program_that_started_it_is_on_stderr(monkeypatch, capsys):
    """Ray prints reports of its processes on stdout, which has results alone; after the work it does so again."""

    def report(data, *, ignore_prefix):
        assert not ignore_prefix
        print(*data["lines"], file=sys.stderr if data["is_err"] else sys.stdout)

    worker = SimpleNamespace(print_to_stdstream=report)
    ray = SimpleNamespace(_private=SimpleNamespace(worker=worker))
    monkeypatch.setitem(sys.modules, "ray", ray)
    runtime = ray_runtime.Runtime(None)
    for _ in range(2):
        runtime.use()
    worker.print_to_stdstream({"lines": ["A worker died."], "pid": "raylet", "is_err": False}, ignore_prefix=False)
    runtime.end([], [])
    assert capsys.readouterr() == ("", "A worker died.\n")
    assert worker.print_to_stdstream is report


@pytest.mark.parametrize("verbose", [False, True])
def test_the_command_shows_what_ray_reports_if_it_is_verbose(capsys, verbose):
    """With ``-v`` it is on stderr, else nowhere; stdout has results alone, and afterwards the log is as before."""
    log = logging.getLogger("kernelviz")
    before = log.level, [*log.handlers]
    report = Report("features", verbose=verbose)
    with worker_choices.WorkerChoices(2, None, 1, "cpu").quiet(report):
        log.info("Ray: %s", "A worker died.")
        print("printed by Ray")  # noqa: T201
    assert (log.level, log.handlers) == before
    out, err = capsys.readouterr()
    assert (out, err) == ("", "Ray: A worker died.\nprinted by Ray\n" if verbose else "")


def test_a_worker_with_another_source_of_the_same_version_is_an_error(monkeypatch):
    """Workers of a cluster must run the source of this process: a version under development has several."""
    facts = {**ray_engine._versions(), "machine": "there", "missing": []}
    ray_engine._check_facts(facts, ())
    monkeypatch.setattr(ray_engine, "_hash_of_package", lambda: "0" * 64)
    with pytest.raises(UsageError, match=rf"on there has kernelviz {re.escape(facts['kernelviz'])}, but this process"):
        ray_engine._check_facts(facts, ())


class StandInError(Exception):
    """An error of the stand-in for Ray."""


class StandIn:
    """Ray with two actors in this process; ``stored`` are the objects in shared memory that are referred to."""

    exceptions = SimpleNamespace(RayError=StandInError, RayTaskError=KeyError, ActorDiedError=KeyError)

    def __init__(self):
        self.stored, self.puts, self.ended = WeakSet(), 0, None

    def put(self, value):
        """A reference to an object in shared memory."""
        reference = StandInReference(value)
        self.stored.add(reference)
        self.puts += 1
        return reference

    def actor(self, number):
        """The handle of an actor whose calls are worked on at once."""
        actor = ray_engine._Actor.__new__(ray_engine._Actor)
        actor.key, actor.worker = "", None

        def call(name, *given):
            if number == self.ended:  # it is started again
                self.ended, actor.key, actor.worker = None, "", None
                return StandInReference(StandInError())
            values = (each.value if isinstance(each, StandInReference) else each for each in given)
            return StandInReference(getattr(actor, name)(*values))

        names = ("read", "work")
        handle = {name: SimpleNamespace(remote=partial(call, name)) for name in names}
        facts = {"machine": "elsewhere", "pid": 0}
        return SimpleNamespace(**handle, facts=SimpleNamespace(remote=lambda _: StandInReference(facts)))


class StandInReference:
    """A reference to a value."""

    def __init__(self, value):
        self.value = value


def _make_length():
    return _length


def _make_nothing():
    return _nothing


def _nothing(_):
    return None


def _length(chunk):
    return len(chunk.items)


@pytest.fixture
def ray(monkeypatch):
    """The stand-in for Ray."""
    ray = StandIn()
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.setattr(packing, "pack", lambda make, _: ("hash", np.frombuffer(pickle.dumps(make), np.uint8)))
    monkeypatch.setattr(ray_engine, "unpack", lambda _, packed: pickle.loads(packed.tobytes()))
    monkeypatch.setattr(ray_engine, "value_of", _value_of)
    return ray


def test_a_worker_may_answer_nothing(ray):
    """None is an answer as any other, as in one process: the chunk is not done again."""
    calls = iter(range(100))
    runtime = SimpleNamespace(finished=lambda references, *_: references[: 1 + next(calls)][:1])
    engine = SimpleNamespace(_actors=[ray_engine._Handle(ray.actor(0))], _runtime=runtime, notice=pytest.fail)
    flow = ray_engine._Flow(engine, make_chunks("abcd", 2, dict), packing.Shared(_make_nothing, None))
    assert [answer for _, answer in flow.answers()] == [None, None]


def test_nothing_is_kept_in_the_memory_of_ray_once_workers_have_read_it(ray):
    """Ray ends this process if its raylet ends while it refers to an object there; a worker that restarts reads another."""
    actors = [ray_engine._Handle(ray.actor(number)) for number in range(2)]
    notices = []
    runtime = SimpleNamespace(finished=lambda references, *_: references[:1])
    engine = SimpleNamespace(_actors=actors, _runtime=runtime, notice=notices.append)
    shared = packing.Shared(_make_length, None)
    flow = ray_engine._Flow(engine, make_chunks("abcdefghijklmnop", 2, dict), shared)
    answers = {}
    for chunk, answer in flow.answers():
        answers[chunk.number] = answer
        if len(answers) > 1:
            assert not ray.stored
        if len(answers) == 2:
            ray.ended = 1
    lost = [number for number, answer in answers.items() if answer != 2]
    assert sorted(answers) == list(range(8))
    assert [type(answers[number]) for number in lost] == [WorkerLostError]
    assert len(notices) == 1
    assert ray.puts == 2
    assert not ray.stored


def _value_of(reference):
    if isinstance(reference.value, Exception):
        raise reference.value
    return reference.value


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="sockets have paths elsewhere")
def test_a_ray_that_has_ended_is_an_error_in_time(monkeypatch):
    """Ray's client would end this process; without its raylet, or its head, nothing of Ray is called any more."""
    monkeypatch.setattr(ray_runtime, "PROBED", 0)
    waits = []
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(wait=lambda *_, **__: waits.append(1) or ([], [])))
    here, there = ray_runtime.Runtime(None), ray_runtime.Runtime("auto")
    with tempfile.TemporaryDirectory(prefix="t", dir="/tmp") as folder, ExitStack() as stack:
        path = f"{folder}/raylet"
        raylet = stack.enter_context(socket.socket(socket.AF_UNIX))
        raylet.bind(path)
        raylet.listen()
        head = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        address = f"127.0.0.1:{head.getsockname()[1]}"
        addresses = {"gcs_address": address, "raylet_socket_name": path}
        here._watch(addresses)
        there._watch(addresses)
        assert (here.finished([1]), waits) == ([], [1])
        head.close()
        assert there.finished([]) == []  # the head of a cluster may be started again
        with pytest.raises(KernelvizError, match=f"(?s)Ray ended unexpectedly.*head at {address}") as caught:
            here.finished([1])
        assert "--skip-existing" in caught.value.hint
        raylet.close()
        with pytest.raises(KernelvizError, match="Its raylet"):
            there.finished([])
    assert waits == [1]


def test_whatever_ray_raises_at_its_start_is_reported(monkeypatch):
    """Ray raises a bare ``Exception`` if the temporary folder is full: it is reported as an error of the user's machine."""

    def fail(**_):
        raise Exception("The current node timed out during startup.")  # noqa: TRY002  (as Ray does)

    for name in ("_job_config", "_program_without_credentials"):
        monkeypatch.setattr(ray_runtime, name, lambda *_: nullcontext())
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(init=fail))
    runtime = ray_runtime.Runtime(None)
    runtime._cluster, runtime._folder = "local", SimpleNamespace(path=Path())
    with pytest.raises(KernelvizError, match="Ray could not be started") as caught:
        runtime.start(processors=1, gpus=0, memory=0)
    assert "TMPDIR" in caught.value.hint
    there = ray_runtime.Runtime("auto")
    there._cluster = "10.0.0.1:6379"
    with pytest.raises(UsageError, match=r"The Ray cluster at 10\.0\.0\.1:6379 cannot be joined") as caught:
        there.start(processors=1, gpus=0, memory=0)
    assert "versions" in caught.value.hint

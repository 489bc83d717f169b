"""Every architecture of timm traced at its own input size, as a table; needs no weights.

Run ``python examples/zoo.py [FILE] [PATTERN] [--jobs N]``; all architectures take half an hour of one core. The table has
one row per architecture: its convolutions by kind, its parameters and multiply-adds, the receptive field of its last
convolution (``+`` if the whole image contributes too), how many layers have an unknown receptive field and why, and the
seconds of CPU time for building and tracing it. An architecture that fails has a row with the reason. ``examples/zoo.csv``
is the table of all.
"""

from __future__ import annotations

import argparse
import csv
import multiprocessing
import queue
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import TYPE_CHECKING

import kernelviz
from kernelviz.traces import field_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from kernelviz.records import ConvLayer

KINDS = ("standard", "grouped", "depthwise", "pointwise", "transposed")
COLUMNS = (
    "architecture", "input", *KINDS, "params", "macs", "layers", "last convolution", "last field", "unknown", "reason",
    "seconds",
)  # fmt: skip


READS_NONE = "it reads no image"  # such as a network of relative positions: there is no receptive field to know


def kind_of(layer: ConvLayer) -> str:
    """The column in which a convolution is counted."""
    if layer.transposed:
        return "transposed"
    if layer.groups > 1:
        return "depthwise" if layer.depthwise else "grouped"
    return "pointwise" if set(layer.kernel_size) == {1} else "standard"


def row_of(name: str) -> dict[str, object]:
    """The row of one architecture; only the reason if it cannot be traced."""
    start = time.process_time()
    try:
        row = traced_row(name)
    except kernelviz.KernelvizError as error:
        row = failed_row(name, error.what)
    except Exception as error:  # noqa: BLE001  (whatever is wrong with one architecture, the others have their rows)
        row = failed_row(name, f"{type(error).__name__}: {error}")
    return {**row, "seconds": f"{time.process_time() - start:.1f}"}


def traced_row(name: str) -> dict[str, object]:
    """What is known of one architecture.

    Raises:
        KernelvizError: it cannot be built, or does not run.
    """
    network = kernelviz.load_model(name, weights=None)
    found = kernelviz.trace(network)
    kinds = {layer.name.removesuffix(f":{layer.expert}"): kind_of(layer) for layer in kernelviz.list_layers(network)}
    convolutions = [layer for layer in found.layers if layer.name in kinds and layer.runs]  # no blur pools
    counts = Counter(kinds[layer.name] for layer in convolutions)
    reading = [layer for layer in found.layers if layer.runs and layer.lost != READS_NONE]
    unknown = [layer for layer in reading if layer.field is None or layer.field.largest is None]
    return {
        "architecture": name,
        "input": " × ".join(map(str, found.input_size)),
        **{kind: counts[kind] for kind in KINDS},
        "params": found.params,
        "macs": found.macs,
        "layers": len(found.layers),
        "last convolution": convolutions[-1].name if convolutions else "",
        "last field": field_text(convolutions[-1]) if convolutions else "",
        "unknown": len(unknown),
        "reason": "; ".join(dict.fromkeys(layer.lost for layer in unknown if layer.lost)),
    }


def failed_row(name: str, reason: str) -> dict[str, object]:
    """The row of an architecture that was not traced."""
    return {"architecture": name, "reason": f"not traced: {' '.join(reason.split())}"}


def prepare() -> None:
    """Import what a worker needs, so that no row counts it, and let each worker use one core."""
    import timm  # noqa: F401, PLC0415
    import torch  # noqa: PLC0415

    torch.set_num_threads(1)


def start_worker() -> ProcessPoolExecutor:
    """A process that computes rows."""
    return ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), initializer=prepare)


def find_rows(names: Iterable[str], jobs: int) -> Iterator[dict[str, object]]:
    """The rows of these architectures, in their order.

    Each of ``jobs`` processes computes one row at a time; one that is killed costs its row and is replaced.
    """
    workers: queue.SimpleQueue[ProcessPoolExecutor] = queue.SimpleQueue()
    for _ in range(jobs):
        workers.put(start_worker())

    def compute(name: str) -> dict[str, object]:
        worker = workers.get()
        try:
            return worker.submit(row_of, name).result()
        except BrokenProcessPool:
            worker.shutdown()
            worker = start_worker()
            return failed_row(name, "its process was killed")
        finally:
            workers.put(worker)

    try:
        with ThreadPoolExecutor(jobs) as threads:
            yield from threads.map(compute, names)
    finally:
        while not workers.empty():
            workers.get().shutdown()


def main() -> None:
    """Write the table; each row as soon as all before it are known."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("file", nargs="?", type=Path, default=Path("zoo.csv"), metavar="FILE")
    parser.add_argument("pattern", nargs="?", default="*", metavar="PATTERN", help="such as 'resnet*'; default: all")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="processes; default: 1")
    chosen = parser.parse_args()
    total = failed = unknown = 0
    with chosen.file.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, COLUMNS, restval="", lineterminator="\n")
        table.writeheader()
        for row in find_rows(kernelviz.find_models(chosen.pattern), max(1, chosen.jobs)):
            table.writerow(row)
            file.flush()
            total += 1
            failed += "params" not in row
            unknown += bool(row.get("unknown"))
    print(f"{total} architectures: {failed} not traced, {unknown} with unknown layers; {chosen.file}")


if __name__ == "__main__":
    main()

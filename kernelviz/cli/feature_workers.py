"""The images of ``features`` and ``patches`` in one process or in several: each chunk of them is done by a worker."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any

from kernelviz.cli.feature_pictures import (
    FeatureRun,
    ImageJob,
    PreparedImage,
    draw_all,
    drawn_before_break,
    prepare,
    report_image,
    run_images,
)
from kernelviz.cli.session import Report, as_drawn
from kernelviz.distributed.engines import Chunk, chunk_length, make_chunks, run_chunks
from kernelviz.distributed.gathering import TallyTotals, sendable, without_copies
from kernelviz.errors import KernelvizError
from kernelviz.threads import BackgroundWriter
from kernelviz.wording import counted

if TYPE_CHECKING:
    from kernelviz.cli.feature_pictures import FeatureChoices
    from kernelviz.cli.outputs import OutputChoices
    from kernelviz.cli.terminal import Progress
    from kernelviz.files.names import ImageStems
    from kernelviz.network.inputs import Input
    from kernelviz.network.model import Model
    from kernelviz.records import ClassScore, FeatureMaps
    from kernelviz.views.components import Basis

    Key = tuple[str, str]
    """What a tally is of: the layer and the view."""
    Tallies = Mapping[Key, Any]


SMALL = (4, 8, 16)
"""Images of a chunk if there are few of them for each worker."""
PER_WORKER = 4  # chunks, so that none waits long for the last one


def draw_in_workers(run: FeatureRun, paths: Sequence[str], progress: Progress) -> None:
    """Let workers run every image through the network, and draw the maps of its layers."""
    _run_in_workers(run, run.engine, _work(run), Jobs(paths), TallyTotals(), progress=progress)


def gather(run: FeatureRun, jobs: Jobs, tallies: Tallies, progress: Progress, *, report: bool = True) -> list[str]:
    """Run all images through the network, and add the maps of each layer to its tallies; no map is kept.

    Returns the images of which nothing failed, if they are not reported. It is a warning if an image fails after some
    layers have counted it.
    """
    totals = TallyTotals(jobs.paths)
    for key, tally in tallies.items():
        totals.add(key, tally)
    if run.engine is None:
        good, late = gather_all(run, jobs, tallies, progress, report=report)
    else:
        ordered = _chosen_first(run, jobs, tallies)
        work = replace(_work(run), gathers=True, reports=report)
        good, late = _run_in_workers(run, run.engine, work, ordered, totals, progress=progress)
    run.report.warn(
        *(f"{path}: it failed later, but counts in {', '.join(dict.fromkeys(names))}" for path, names in late.items())
    )
    return good


def gather_all(
    run: FeatureRun, jobs: Iterable[ImageJob], tallies: Tallies, progress: Progress, *, report: bool
) -> tuple[list[str], dict[str, list[str]]]:
    """Gather the maps of some images in this process.

    Returns the paths of those of which nothing failed, unless they are to be reported, and of those that failed after some
    layers have counted them, with these layers.
    """
    of_layer: dict[str, list[Any]] = {}
    for (layer, _), tally in tallies.items():
        of_layer.setdefault(layer, []).append(tally)
    late: dict[str, list[str]] = {}
    good: list[str] = []

    def add(each: PreparedImage, maps: FeatureMaps) -> None:
        for tally in of_layer.get(maps.layer or "", ()):
            tally.add(maps, place=each.number)
            late.setdefault(each.path, []).append(maps.layer or "")

    def after(each: PreparedImage, classes: Sequence[ClassScore]) -> None:
        late.pop(each.path, None)
        if report:
            report_image(run, each, classes)
        else:
            good.append(each.path)

    run_images(run, jobs, _prepare_input, add, after, progress=progress)
    return good, late


def _prepare_input(number: int, job: ImageJob, given: Input | None) -> PreparedImage | None:
    """Prepare an image that has no picture of its own."""
    return PreparedImage(number, job, given, {}) if given else None


class Jobs(Sequence[ImageJob]):
    """The images of these paths, in their order, made when they are needed.

    Standard input is read here, once: no worker can, and a second time there is nothing left.
    """

    def __init__(self, paths: Sequence[str]) -> None:
        self.paths = paths
        self._stdin: ImageJob | None = None

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, at: Any) -> Any:
        if isinstance(at, slice):
            return [self[each] for each in range(*at.indices(len(self)))]
        path = self.paths[at]
        return self._of_stdin() if path == "-" else ImageJob(path)

    def _of_stdin(self) -> ImageJob:
        from kernelviz.files.images import load_image

        if self._stdin is None:
            try:
                self._stdin = ImageJob("-", load_image("-"))
            except KernelvizError as error:
                self._stdin = ImageJob("-", error=error)
        return self._stdin


def _chosen_first(run: FeatureRun, jobs: Iterable[ImageJob], tallies: Tallies) -> Iterable[ImageJob]:
    """Let the first image that does not fail choose the channels of contact sheets, and return all images."""
    undecided = {key: tally for key, tally in tallies.items() if getattr(tally, "undecided", False)}
    source, tried = iter(jobs), []
    while undecided and (job := next(source, None)) is not None:
        tried.append(job)
        sheets = {key: tally.fresh() for key, tally in undecided.items()}
        alone = replace(run, report=_Recording.like(run.report))
        gather_all(alone, [job], sheets, lambda *_args, **_more: None, report=False)
        for key, sheet in sheets.items():
            if sheet.channels is not None:
                undecided.pop(key).channels = sheet.channels
    return chain(tried, source)


@dataclass
class _Recording(Report):
    """A report that keeps what is reported, to be reported where the command runs."""

    events: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """It is not the report of the command."""

    @classmethod
    def like(cls, report: Report) -> _Recording:
        """An empty one with the choices of a report."""
        return cls(report.command, report.as_json, report.quiet, report.verbose, report.source)

    def _keep(self, name: str, *values: Any, **more: Any) -> None:
        self.events.append((name, values, more))

    def inform(self, *lines: str) -> None:
        """Keep lines for people."""
        if lines and not self.quiet:
            self._keep("inform", *lines)

    def warn(self, *lines: str) -> None:
        """Keep warnings."""
        if lines:
            self._keep("warn", *lines)

    def note(self, *lines: str) -> None:
        """Keep warnings that are printed in another form."""
        if lines:
            self._keep("note", *lines)

    def tally(self, name: str, notes: Sequence[str]) -> None:
        """Keep the notes on one of many images."""
        self._keep("tally", name, tuple(notes))

    def inform_once(self, head: str, lines: Sequence[str]) -> None:
        """Keep lines of which each is printed once in a run."""
        if lines:
            self._keep("inform_once", head, tuple(lines))

    def add_failure(self, culprit: str, error: KernelvizError) -> None:
        """Keep what failed."""
        self._keep("add_failure", culprit, sendable(error))

    def add_image(self, path: str, **more: Any) -> None:
        """Keep an image that was done."""
        self._keep("add_image", path, **more)

    def add_kept(self) -> None:
        """Keep that files of an earlier run were kept."""
        self._keep("add_kept")

    def add_output(self, row: dict[str, Any]) -> None:
        """Keep the row of a file that was written."""
        self._keep("add_row", as_drawn(row, self.drawn.pop(row["path"], None)))

    def replay(self, report: Report) -> None:
        """Report everything."""
        for name, values, more in self.events:
            getattr(report, name)(*values, **more)


@dataclass(frozen=True)
class _Answer:
    """What a worker did with a chunk, until an ``error`` that ends the run."""

    report: _Recording
    tallies: Tallies
    good: Sequence[str]
    late: Mapping[str, Sequence[str]]
    error: KernelvizError | None = None


@dataclass(frozen=True)
class _Work:
    """What a worker does, as it is sent to its process: draws the images, or ``gathers`` them.

    Images that are gathered are ``reports``, or their paths are returned.
    """

    network: Model
    choices: FeatureChoices
    output: OutputChoices
    report: _Recording
    stems: ImageStems
    count: int
    unusual: Mapping[str, Any]
    drawn: tuple[str, ...]
    captured: tuple[str, ...]
    bases: Mapping[str, Basis]
    gathers: bool = False
    reports: bool = True

    def __call__(self) -> Callable[[Chunk], _Answer]:
        """The worker, in its process: the network is traced once."""
        from kernelviz.network.model import use_device

        device = use_device(self.network.source.device, self.network.source.threads)
        network = self.network if device == "cpu" else self.network.to(device)
        writer = BackgroundWriter()
        run = prepare(network, self.choices, self.output, _Recording.like(self.report), paths=(), writer=writer)
        plan = replace(run.plan, capture=run.plan.capture.only(self.captured), drawn=self.drawn, bases=self.bases)
        run = replace(run, plan=plan, stems=self.stems, count=self.count, unusual=self.unusual)
        return partial(self._do, run)

    def _do(self, run: FeatureRun, chunk: Chunk) -> _Answer:
        """Work on a chunk as one process does on all images: its pictures are written at the end, or before an error."""
        jobs = [replace(item.value, number=item.place, error=item.error) for item in chunk.items]
        good: list[str] = []
        late: dict[str, list[str]] = {}
        totals = TallyTotals()
        for key, tally in (chunk.payload or {}).items():
            totals.add(key, tally)

        def nothing(*_: Any, **_more: Any) -> None:
            """The command shows the progress."""

        report, error = _Recording.like(self.report), None
        try:
            with BackgroundWriter(exclusive=run.writer.exclusive) as writer, drawn_before_break(writer):
                run = replace(run, report=report, writer=writer)
                if self.gathers:
                    good, late = gather_all(run, jobs, totals.tallies, nothing, report=self.reports)
                else:
                    draw_all(run, jobs, nothing)
        except KernelvizError as raised:
            error = sendable(raised)
        report.drawn.clear()
        return _Answer(report, totals.tallies, good, late, error)


def _work(run: FeatureRun) -> _Work:
    return _Work(
        run.plan.network, run.choices, run.output, _Recording.like(run.report), run.stems, run.count, run.unusual,
        run.plan.drawn, tuple(tap.name for tap in run.plan.capture.taps.taps), run.plan.bases,
    )  # fmt: skip


def _run_in_workers(
    run: FeatureRun, engine: Any, work: _Work, jobs: Iterable[ImageJob], totals: TallyTotals, *, progress: Progress
) -> tuple[list[str], dict[str, list[str]]]:
    """Let workers do all images, and report and merge their answers in the order of the images."""
    good: list[str] = []
    late: dict[str, list[str]] = {}

    def merge(chunk: Chunk, answer: _Answer) -> Chunk | None:
        if answer.error is not None:
            answer.report.replay(run.report)
            raise answer.error
        if copies := totals.copies_in(answer.tallies):
            return without_copies(chunk, answer.tallies, copies)
        totals.merge(answer.tallies)
        answer.report.replay(run.report)
        good.extend(answer.good)
        late.update({path: list(names) for path, names in answer.late.items()})
        label = f"images, {counted(getattr(engine, 'workers', None) or 1, 'worker')}"
        progress(label, chunk.items[-1].place + 1, run.count)
        return None

    length = _length(run, [key for key in totals.tallies if key[1] == "basis"])
    progress("starting workers", 0, 0)
    run_chunks(engine, work, make_chunks(jobs, length, totals.fresh), merge)
    return good, late


def _length(run: FeatureRun, fixed: Sequence[Key]) -> int:
    """The number of images of a chunk: fewer for small sets, unless sums or batches depend on the chunks."""
    whole = chunk_length(run.choices.batch_size)
    if fixed or run.choices.batch_size > 1:
        return whole
    most = run.count / (PER_WORKER * (getattr(run.engine, "workers", None) or 1))
    return next((length for length in SMALL if length >= most), whole)

"""All images of a run: read ahead of the passes, in batches, each that fails named while the others go on."""

from __future__ import annotations

import contextlib
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from kernelviz.cli.layer_pictures import draw_layer, draw_overview
from kernelviz.cli.passes import OVERVIEW, plan
from kernelviz.cli.skipping import is_done
from kernelviz.errors import KernelvizError
from kernelviz.passing import Passes, ReadImage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from kernelviz.cli.passes import Places, Run
    from kernelviz.cli.talk import Progress
    from kernelviz.files.images import ImageFile
    from kernelviz.network.capture import Input
    from kernelviz.records import ClassScore, FeatureMaps
    from kernelviz.views.map_views import Highlights


@dataclass(frozen=True)
class Item:
    """One image of the run, perhaps with its bytes and the places of its pictures; ``done`` where these are there."""

    path: str
    file: ImageFile | None = None
    places: Places | None = None
    done: bool = False


@dataclass(frozen=True)
class Ready(ReadImage[Item]):
    """An image that was read, and where its pictures go."""

    places: Places
    columns: list[Highlights] = field(default_factory=list)

    @property
    def path(self) -> str:
        """What the image was called by whoever asked for it."""
        return self.item.path


def draw_all(run: Run, paths: Sequence[str], progress: Progress) -> None:
    """Pass every image through the network, and draw what its layers give while it goes by."""

    def drawn(each: Ready, maps: FeatureMaps) -> None:
        draw(run, each, maps, progress)

    def after(each: Ready, classes: Sequence[ClassScore]) -> None:
        tell_image(run, each, classes)
        if run.wish.overview and each.columns and (image := each.given.image):
            run.behind.settle()
            draw_overview(run, image, each.columns, classes, each.places[OVERVIEW][0][1])

    look = partial(looked_up, run) if run.wish.skip_existing else Item
    pass_all(run, map(look, paths), partial(ready_to_draw, run), drawn, after, progress=progress)
    run.behind.settle()


def looked_up(run: Run, path: str) -> Item:
    """An image with its bytes alone, which tell its pictures from those of another: it need not be decoded for that.

    What fails is left to fail when it is its turn.
    """
    from kernelviz.files.images import load_image

    with contextlib.suppress(KernelvizError):
        file = load_image(path)
        places = plan(run, file, run.stems[path])
        done = is_done(run, places)
        return Item(path, None if done else file, places, done)
    return Item(path)


def pass_all(
    run: Run,
    items: Iterable[Item],
    ready: Callable[[int, Item, Input | None], Ready | None],
    on_map: Callable[[Ready, FeatureMaps], object],
    after: Callable[[Ready, Sequence[ClassScore]], object],
    *,
    progress: Progress,
) -> None:
    """Read, pass, and hand on; ``ready`` says whether an image is to be passed at all. Each that fails is named."""
    from kernelviz.cli.ending import attempt

    def failed(_number: int, item: Item, error: KernelvizError) -> None:
        attempt(run.report, item.path, run.many, partial(again, error))

    Passes(
        read=partial(read, run), ready=ready, tapped=lambda _: run.tapped, on_map=on_map, after=after, failed=failed,
        batch_size=run.wish.batch_size, to_the_end=run.wish.classes, takes_turns=run.behind.takes_turns,
        progress=progress if run.many > 1 else lambda *_: None,
    ).run(items, run.many)  # fmt: skip


def again(error: KernelvizError) -> None:
    """Raise the error of an image."""
    raise error


def read(run: Run, item: Item) -> Input | None:
    """Read one image, and make it what the network takes; None where its pictures are there."""
    from kernelviz.files.images import load_image
    from kernelviz.network.capture import as_input

    if item.done:
        return None
    image = (item.file or load_image(item.path)).decode()
    return as_input(run.network, image, input_size=run.wish.size, crop=run.wish.crop)


def ready_to_draw(run: Run, number: int, item: Item, given: Input | None) -> Ready | None:
    """Where the pictures of an image go; None where they are all there and that is enough."""
    from kernelviz.cli.talk import say

    if given is None:
        run.report.more["images"].append({"path": item.path, "top": [], "skipped": True})
        say(*run.goal.said(f"{item.path}: skipped, its files are there"))
        return None
    if given.image is None:
        raise TypeError(item)
    places = plan(run, given.image, run.stems[item.path]) if item.places is None else item.places
    return Ready(number, item, given, places)


def draw(run: Run, each: Ready, maps: FeatureMaps, progress: Progress) -> None:
    """Draw the maps of one layer of one image; where that fails, the other layers go on."""
    from kernelviz.cli.ending import attempt
    from kernelviz.views.map_views import highlights_of

    name = maps.layer or ""
    if run.many == 1:
        names = [tap.name for tap in run.tapped.taps.taps]
        progress(name, names.index(name), len(names))
    if name in run.viewed:
        each.columns.append(highlights_of(maps))
    if name in run.drawn:
        culprit = name if run.many == 1 else each.path
        of = len(run.drawn) * run.many

        def tried(work: Callable[[], Any]) -> None:
            attempt(run.report, culprit, of, work)

        tried(partial(draw_layer, run, maps, each.places[name], tried))


def tell_image(run: Run, each: Ready, classes: Sequence[ClassScore]) -> None:
    """Say what was done to an image and what the network takes it for."""
    from kernelviz.cli.talk import say

    image, seen = each.given.image, each.given.seen
    notes = (*(image.notes if image else ()), *(seen.notes if seen else ()))
    name = image.name if image else each.path
    run.report.warnings += [f"{name}: {note}" for note in notes]
    run.report.more["images"].append({"path": each.path, "top": [asdict(score) for score in classes]})
    shares = ", ".join(f"{score.label or f'class {score.index}'} {score.probability:.1%}" for score in classes)
    say(*run.goal.said(f"{name}: {shares}" if shares else name, *(f"  {note}" for note in notes)))

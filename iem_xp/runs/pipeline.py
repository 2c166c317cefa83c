"""From images to a run: read, segment in groups, write each mask and then its row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from operator import attrgetter
from typing import NamedTuple

import numpy as np

from iem_xp.images import ImageError, Pixels, load_formats, read_stamped
from iem_xp.memory import OutOfMemoryError
from iem_xp.runs.flow import Flow
from iem_xp.runs.methods import Method, Search
from iem_xp.runs.naming import Source
from iem_xp.runs.records import Candidate, Entry, Output
from iem_xp.runs.settings import Settings
from iem_xp.runs.store import Run
from iem_xp.runs.workers import Outcome, Workers
from iem_xp.runs.writing import Writer
from iem_xp.threads import usable_cpus

Advance = Callable[[int], object]
PER_WORKER = 8
"""Images held for each worker unless `batch_size` says otherwise: two groups of four."""


_ADMITTED = 1000


_error = attrgetter("inpainting_error")


def _ignore(n: int) -> None:
    """Report no progress."""


@dataclass
class Tally:
    """What a session did.

    Images are counted as `segmented`, `done` (has its mask now), `failed`, `skipped` (had its mask before)
    and `rewritten` (has that of another initial square now). `notes` counts what the user should know of
    some; `stages` has the seconds in "read", "compute" and "write", added up over the workers.
    """

    segmented: int = 0
    done: int = 0
    failed: int = 0
    skipped: int = 0
    rewritten: int = 0
    notes: Counter[str] = field(default_factory=Counter)
    stages: dict[str, float] = field(default_factory=lambda: {"read": 0.0, "compute": 0.0, "write": 0.0})


class _Image(NamedTuple):
    """An image that has been read."""

    entry: Entry
    working: Pixels
    notes: tuple[str, ...]


class Segmenter:
    """Segments images into a run.

    Workers read, compute and write; the thread that calls the methods hands out their work, and alone uses
    the run's database. What the run holds in the end does not depend on how many they are.

    Parameters
    ----------
    run : Run
    settings : Settings
    method : Method, optional
        What finds the masks; by default the search of the paper, on the CPU.
    workers : int, optional
        Threads; by default one for each CPU that this process may use. A serial method has one more.
    batch_size : int, optional
        Images held at a time, at their working size: what an interruption may cost. By default `PER_WORKER`
        for each worker and, where one group at a time is computed, two groups, if that is more.
    outputs : collection of {"cutout", "overlay", "inpainted", "probability"}
        Pictures to write beside the masks.

    Attributes
    ----------
    tally : Tally
    method : Method
    """

    def __init__(
        self,
        run: Run,
        settings: Settings,
        method: Method | None = None,
        *,
        workers: int | None = None,
        batch_size: int | None = None,
        outputs: Iterable[Output] = (),
    ) -> None:
        self.run = run
        self.settings = settings
        self.method = method or Search(settings.config)
        self.tally = Tally()
        self._prepared = False
        self._passed = 0
        self._workers = workers or usable_cpus()
        self._serial = self.method.serial
        self._batch_size = batch_size or self._held()
        self._writer = Writer(run, settings, outputs)
        self._sides = self.method.sides
        self._one_for_all = len(self._sides) > 1 and settings.config.choose == "dataset"

    def segment(self, sources: Iterable[Source], advance: Advance = _ignore, total: int = 0) -> None:
        """Segment every image that the run does not have yet.

        `total` is the number of sources, if it is known: the method is told how many are left.

        If one initial square is to be chosen for all, the masks of every square are kept in the run, packed,
        for `choose_square`. `advance` is called with the number of images just segmented, failed or skipped.
        """
        load_formats()
        # The thread that feeds a GPU, or a network, waits for it most of the time.
        with Workers(self._workers + self._serial) as workers:

            def read(source: Source, outcome: Outcome[_Image]) -> None:
                image = self._take(source, outcome)
                if image is None:
                    leave()
                else:
                    self._prepare(image.working, total)
                    flow.gather(image.working.shape, image, self._group_size(image.working))

            def computed(images: Sequence[_Image], outcome: Outcome[list[list[Candidate]]]) -> None:
                found = self._share(images, outcome)
                if found is None:
                    leave(len(images))
                elif self._one_for_all:
                    self._keep(found)
                    leave(len(found))
                else:
                    for entry, (candidate,) in found:
                        self._write(workers, entry, candidate, leave)

            def leave(count: int = 1) -> None:
                flow.leave(count)
                advance(count)

            flow = Flow(workers, self._batch_size, self._compute, computed, serial=self._serial)
            for source in self._admitted(sources, advance):
                flow.enter()
                workers.submit(partial(self._read, source), partial(read, source), locking=True)
            flow.finish()

    def choose_square(self) -> int:
        """Choose the square for the whole data set, if that is to be done, and count the masks to write."""
        side = self.run.candidates.choose_side(self._sides)
        return 0 if side is None else self.run.candidates.count_unwritten(side)

    def write_masks(self, advance: Advance = _ignore) -> None:
        """Write the masks of the square just chosen, also over those of a square chosen before.

        `advance` is called with the number of masks just written.
        """
        side = self.run.get_meta("init_side")
        if side is None:
            return
        load_formats()
        with Workers(self._workers) as workers:
            for entry, candidate in self.run.candidates.unwritten(side):
                workers.wait(below=self._batch_size)
                self._write(workers, entry, candidate, partial(advance, 1))
            workers.wait(below=1)

    def _admitted(self, sources: Iterable[Source], advance: Advance) -> Iterator[Source]:
        sources = iter(sources)
        while found := list(islice(sources, _ADMITTED)):
            # Those that wait for the choice of their square count when they are done.
            self.tally.skipped += sum(map(self.run.is_done, found))
            admitted = self.run.admit(found)
            self._passed += len(found) - len(admitted)
            advance(len(found) - len(admitted))
            yield from admitted

    def _prepare(self, image: Pixels, total: int) -> None:
        """Prepare the method once there is an image to segment: what is not there, or done, needs none."""
        if not self._prepared:
            self._prepared = True  # also if it is interrupted: what has been read by then comes this way too
            left = total - self._passed if total else self._batch_size
            # What the workers share is waited for only in part, starting an engine in full.
            self.method.prepare(image, max(1, left // self._workers))
            used = self.run.get_meta("engines") or []
            self.run.set_meta("engines", sorted({*used, self.method.engine}))

    def _held(self) -> int:
        held = PER_WORKER * self._workers
        if not self._serial:
            return held
        # While one group is computed, the other is read. However large the images, two are 100 MB on a GPU.
        typical = np.empty((self.settings.size, self.settings.size, 3), np.uint8)
        return max(held, 2 * self.method.group_size(typical))

    def _group_size(self, image: Pixels) -> int:
        # While every worker, or the GPU, computes a group, as many images are read and written.
        groups = 2 * (1 if self._serial else self._workers)
        return min(self.method.group_size(image), max(1, self._batch_size // groups))

    # By a worker

    def _read(self, source: Source) -> _Image:
        photograph, stamp = read_stamped(source.path)
        height, width = photograph.pixels.shape[:2]
        entry = Entry(source, width, height, 0, "; ".join(photograph.notes) or None, stamp)
        return _Image(entry, self.settings.at_work(photograph.pixels), photograph.notes)

    def _compute(self, images: Sequence[_Image]) -> list[list[Candidate]]:
        """Of each image the masks of every square or, where each has its own, of the best."""
        ascents = self.method.find(np.stack([image.working for image in images]))
        found = [
            [
                Candidate(side, *(array[i] for array in ascent))
                for side, ascent in zip(self._sides, ascents, strict=True)
            ]
            for i in range(len(images))
        ]
        # Of equal errors the earlier side wins, as in `iem_xp.segmentation.choose`.
        return found if self._one_for_all else [[max(of, key=_error)] for of in found]

    # Of what comes back

    def _take(self, source: Source, outcome: Outcome[_Image]) -> _Image | None:
        """The image, with the time it took to read; None if that failed."""
        self.tally.stages["read"] += outcome.seconds
        try:
            image = outcome.result()
        except (ImageError, MemoryError) as error:
            self._fail(source, error)
            return None
        self.tally.notes.update(image.notes)
        return image._replace(entry=image.entry._replace(seconds=outcome.seconds))

    def _share(
        self, images: Sequence[_Image], outcome: Outcome[list[list[Candidate]]]
    ) -> list[tuple[Entry, list[Candidate]]] | None:
        """Each image of a group, with its share of the time, and what was found; None if that failed."""
        self.tally.stages["compute"] += outcome.seconds
        try:
            found = outcome.result()
        except MemoryError as error:  # of one image: the method computes as many together as fit
            for image in images:
                self._fail(image.entry.source, error)
            return None
        self.tally.segmented += len(images)
        seconds = outcome.seconds / len(images)
        entries = [entry._replace(seconds=entry.seconds + seconds) for entry, *_ in images]
        return list(zip(entries, found, strict=True))

    def _keep(self, found: list[tuple[Entry, list[Candidate]]]) -> None:
        with self.run.transaction():
            for entry, candidates in found:
                self.run.record_candidates(entry, candidates)

    def _write(
        self, workers: Workers, entry: Entry, candidate: Candidate, then: Callable[[], object]
    ) -> None:
        def written(outcome: Outcome[float]) -> None:
            self._record(entry, candidate, outcome)
            then()

        workers.submit(partial(self._writer.write, entry, candidate), written, locking=True)

    def _record(self, entry: Entry, candidate: Candidate, outcome: Outcome[float]) -> None:
        self.tally.stages["write"] += outcome.seconds
        try:
            share = outcome.result()
        except (ImageError, MemoryError) as error:  # gone or changed since it was segmented, or too large
            self._fail(entry.source, error)
            return
        if share in (0, 1):
            note = "mask is empty" if share == 0 else "mask is full"
            self.tally.notes[note] += 1
            entry = entry._replace(notes=f"{entry.notes}; {note}" if entry.notes else note)
        if self.run.is_done(entry.source):
            self.tally.rewritten += 1
        else:
            self.tally.done += 1
        self.run.record_done(entry, candidate, share)

    def _fail(self, source: Source, error: ImageError | MemoryError) -> None:
        if not isinstance(error, ImageError):
            remedy = "" if isinstance(error, OutOfMemoryError) else "; fewer --workers need less"
            error = ImageError(f"{source.path}: {str(error) or 'out of memory'}{remedy}")
        self.run.record_failed(source, str(error))
        self.tally.failed += 1

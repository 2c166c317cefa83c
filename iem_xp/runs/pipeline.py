"""From images to a run: read, segment in groups, write each mask and then its row."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice

import numpy as np

from iem_xp.images import Pixels, load_formats
from iem_xp.runs.flow import Flow
from iem_xp.runs.methods import Method, Search
from iem_xp.runs.naming import Source
from iem_xp.runs.recording import Recorder
from iem_xp.runs.records import Candidate, Entry, Output
from iem_xp.runs.settings import Settings
from iem_xp.runs.store import Run
from iem_xp.runs.storing import StoreOption
from iem_xp.runs.workers import Outcome, Workers
from iem_xp.runs.working import Loaded, find, is_one_for_all, load
from iem_xp.runs.writing import Writer, Written
from iem_xp.threads import usable_cpus

Advance = Callable[[int], object]
PER_WORKER = 8
"""Images held for each worker unless `batch_size` says otherwise: two groups of four."""


_ADMITTED = 1000


def _ignore(n: int) -> None:
    """Report no progress."""


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
    store : {"files", "shards"}
        Whether each is a file, or many are one tar archive.

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
        store: StoreOption = "files",
    ) -> None:
        self.run = run
        self.settings = settings
        self.method = method or Search(settings.config)
        self.recorder = Recorder(run, settings, outputs, store)
        self.tally = self.recorder.tally
        self._prepared = False
        self._passed = 0
        self._workers = workers or usable_cpus()
        self._serial = self.method.serial
        self._batch_size = batch_size or self._held()
        self._one_for_all = is_one_for_all(self.method, settings)

    def segment(self, sources: Iterable[Source], advance: Advance = _ignore, total: int = 0) -> None:
        """Segment every image that the run does not have yet.

        `total` is the number of sources, if it is known: the method is told how many are left.

        If one initial square is to be chosen for all, the masks of every square are kept in the run, packed,
        for `choose_square`. `advance` is called with the number of images just segmented, failed or skipped.
        """
        load_formats()
        # The thread that feeds a GPU, or a network, waits for it most of the time.
        with self.recorder as writer, Workers(self._workers + self._serial) as workers:

            def read(source: Source, outcome: Outcome[Loaded]) -> None:
                image = self.recorder.read(source, outcome)
                if image is None:
                    leave()
                else:
                    self._prepare(image.working, total)
                    flow.gather(image.working.shape, image, self._group_size(image.working))

            def computed(images: Sequence[Loaded], outcome: Outcome[list[list[Candidate]]]) -> None:
                found = self._share(images, outcome)
                if found is None:
                    leave(len(images))
                elif self._one_for_all:
                    self.recorder.keep(found)
                    leave(len(found))
                else:
                    for entry, (candidate,) in found:
                        self._write(workers, writer, entry, candidate, leave)

            def leave(count: int = 1) -> None:
                flow.leave(count)
                advance(count)

            flow = Flow(workers, self._batch_size, self._find, computed, serial=self._serial)
            for source in self._admitted(sources, advance):
                flow.enter()
                workers.submit(partial(load, source, self.settings), partial(read, source), locking=True)
            flow.finish()

    def choose_square(self) -> int:
        """Choose the square for the whole data set, if that is to be done, and count the masks to write."""
        side = self.run.candidates.choose_side(self.method.sides)
        return 0 if side is None else self.run.candidates.count_unwritten(side)

    def write_masks(self, advance: Advance = _ignore) -> None:
        """Write the masks of the square just chosen, also over those of a square chosen before.

        `advance` is called with the number of masks just written.
        """
        side = self.run.get_meta("init_side")
        if side is None:
            return
        load_formats()
        with self.recorder as writer, Workers(self._workers) as workers:
            for entry, candidate in self.run.candidates.unwritten(side):
                workers.wait(below=self._batch_size)
                self._write(workers, writer, entry, candidate, partial(advance, 1))
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

    def _find(self, images: Sequence[Loaded]) -> list[list[Candidate]]:
        return find(images, self.method, self._one_for_all)

    def _share(
        self, images: Sequence[Loaded], outcome: Outcome[list[list[Candidate]]]
    ) -> list[tuple[Entry, list[Candidate]]] | None:
        """Each image of a group, with its share of the time, and what was found; None if that failed."""
        self.tally.stages["compute"] += outcome.seconds
        try:
            found = outcome.result()
        except MemoryError as error:  # of one image: the method computes as many together as fit
            for image in images:
                self.recorder.fail(image.entry.source, error)
            return None
        self.tally.segmented += len(images)
        seconds = outcome.seconds / len(images)
        entries = [entry._replace(seconds=entry.seconds + seconds) for entry, *_ in images]
        return list(zip(entries, found, strict=True))

    def _write(
        self,
        workers: Workers,
        writer: Writer,
        entry: Entry,
        candidate: Candidate,
        then: Callable[[], object],
    ) -> None:
        def written(outcome: Outcome[Written]) -> None:
            self.recorder.wrote(entry, candidate, outcome)
            then()

        workers.submit(partial(writer.write, entry, candidate), written, locking=True)

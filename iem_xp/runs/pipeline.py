"""From images to a run: read, segment in groups, write each mask and then its row."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

from iem_xp.images import Pixels, load_formats
from iem_xp.runs.finding import Finder, Found, Leave
from iem_xp.runs.methods import Method, Search
from iem_xp.runs.naming import Source
from iem_xp.runs.recording import Recorder
from iem_xp.runs.records import Candidate, Entry, Output
from iem_xp.runs.settings import Settings
from iem_xp.runs.store import Run
from iem_xp.runs.storing import StoreOption
from iem_xp.runs.workers import Outcome, Workers
from iem_xp.runs.writing import Writer, Written

Advance = Callable[[int], object]


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
        self._finder = Finder(settings, self.method, workers=workers, batch_size=batch_size)
        self._passed = 0

    def segment(
        self, sources: Iterable[Source], advance: Advance = _ignore, total: int | None = None
    ) -> None:
        """Segment every image that the run does not have yet.

        `total` is the number of sources, if it is known: the method is told how many are left.

        If one initial square is to be chosen for all, the masks of every square are kept in the run, packed,
        for `choose_square`. `advance` is called with the number of images just segmented, failed or skipped.
        """
        finder = self._finder

        def prepare(image: Pixels) -> None:
            left = finder.batch_size if total is None else total - self._passed
            # What the workers share is waited for only in part, starting an engine in full.
            self.method.prepare(image, max(1, left // finder.workers))
            self.note_engine(self.method.engine)

        with self.recorder as writer, finder.open_workers() as workers:

            def take(found: Sequence[Found], leave: Leave) -> None:
                def left(count: int) -> None:
                    leave(count)
                    advance(count)

                self.take(found, writer, workers, left)

            finder.find(self.admitted(sources, advance), workers, take, prepare)

    @property
    def workers(self) -> int:
        """Threads."""
        return self._finder.workers

    @property
    def batch_size(self) -> int:
        """Images held at a time."""
        return self._finder.batch_size

    def choose_square(self) -> int:
        """Choose the square for the whole data set, if that is to be done, and count the masks to write."""
        side = self.run.candidates.choose_side(self.method.sides)
        return 0 if side is None else self.run.candidates.count_unwritten(side)

    def write_masks(self, advance: Advance = _ignore) -> None:
        """Write the masks of the square just chosen, also over those of a square chosen before.

        `advance` is called with the number of masks just written.
        """
        side = self.run.get_meta("init_side")
        if side is None or not self.run.candidates.count_unwritten(side):
            return
        load_formats()
        with self.recorder as writer, Workers(self._finder.workers) as workers:
            self.recorder.withdraw(side)
            for entry, candidate in self.run.candidates.unwritten(side):
                workers.wait(below=self._finder.batch_size)
                self._write(workers, writer, entry, candidate, partial(advance, 1))
            workers.wait(below=1)

    def admitted(self, sources: Iterable[Source], advance: Advance) -> Iterator[Source]:
        """Iterate over the images that are still to be segmented; others are counted."""
        for source in sources:
            if admitted := self.run.admit([source]):
                yield from admitted
                continue
            # Those that wait for the choice of their square count when they are done.
            self.tally.skipped += self.run.is_done(source)
            self._passed += 1
            advance(1)

    def take(self, found: Sequence[Found], writer: Writer, workers: Workers, leave: Leave) -> None:
        """Record what was found of images; masks to be written are written by workers.

        `leave` is called with the number of images that are recorded.
        """
        for one in found:
            self.recorder.count(one)
        segmented = [(one.entry, one.candidates) for one in found if one.entry is not None]
        if self._finder.one_for_all:
            self.recorder.keep(segmented)
        leave(len(found) if self._finder.one_for_all else len(found) - len(segmented))
        if not self._finder.one_for_all:
            for entry, (candidate,) in segmented:
                self._write(workers, writer, entry, candidate, partial(leave, 1))

    def note_engine(self, engine: str | None) -> None:
        """Keep in the run which engine computed."""
        used = self.run.get_meta("engines") or []
        self.run.set_meta("engines", sorted({*used, engine}))

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

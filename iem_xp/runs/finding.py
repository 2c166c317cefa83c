"""From images to masks, before anything is recorded: read, gather into groups, compute."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from iem_xp.images import ImageError, Pixels, load_formats, read_stamped
from iem_xp.memory import OutOfMemoryError
from iem_xp.runs.flow import Flow
from iem_xp.runs.methods import Method
from iem_xp.runs.naming import Source
from iem_xp.runs.records import Candidate, Entry
from iem_xp.runs.settings import Settings
from iem_xp.runs.workers import Outcome, Workers
from iem_xp.threads import usable_cpus

PER_WORKER = 8
"""Images held for each worker unless `batch_size` says otherwise: two groups of four."""


class Found(NamedTuple):
    """What came of an image.

    Attributes
    ----------
    source : Source
    entry : Entry or None
        What is known of it; None if it could not be read.
    candidates : list of Candidate
        The masks of every square or, where each image has its own, of the best; none if it failed.
    error : str or None
        Why it failed.
    notes : tuple of str
        What was left out or altered on reading.
    read, compute : float
        Seconds of a worker, its share of a group.
    """

    source: Source
    entry: Entry | None = None
    candidates: Sequence[Candidate] = ()
    error: str | None = None
    notes: tuple[str, ...] = ()
    read: float = 0.0
    compute: float = 0.0


class _Loaded(NamedTuple):
    """An image that has been read."""

    entry: Entry
    working: Pixels
    notes: tuple[str, ...]
    seconds: float = 0.0


Leave = Callable[[int], object]
Take = Callable[[Sequence[Found], Leave], object]


class Finder:
    """Finds masks of images.

    Parameters
    ----------
    settings : Settings
    method : Method
    workers : int, optional
        Threads; by default one for each CPU that this process may use.
    batch_size : int, optional
        Images held at a time, at their working size. By default `PER_WORKER` for each worker and, where one
        group at a time is computed, two groups, if that is more.

    Attributes
    ----------
    workers, batch_size : int
    one_for_all : bool
        Whether one initial square is to be chosen for all images, so that the masks of all are wanted.
    """

    def __init__(
        self,
        settings: Settings,
        method: Method,
        *,
        workers: int | None = None,
        batch_size: int | None = None,
    ) -> None:
        self.workers = workers or usable_cpus()
        self.one_for_all = len(method.sides) > 1 and settings.config.choose == "dataset"
        self._settings = settings
        self._method = method
        self.batch_size = batch_size or self._held()

    def open_workers(self) -> Workers:
        """Return threads for `find`."""
        # The thread that feeds a GPU, or a network, waits for it most of the time.
        return Workers(self.workers + self._method.serial)

    def find(
        self,
        sources: Iterable[Source],
        workers: Workers,
        take: Take,
        prepare: Callable[[Pixels], object],
    ) -> None:
        """Find the masks of images.

        Parameters
        ----------
        sources : iterable of Source
            Taken as there is room.
        workers : Workers
            Of `open_workers`.
        take : callable
            Called, in this thread, with what was found of one or more images, and what is to be called with
            their number, at once or later, when there is room for others.
        prepare : callable
            Called with the first image that has been read, before anything is computed.
        """
        load_formats()
        prepared = False

        def read(source: Source, outcome: Outcome[_Loaded]) -> None:
            nonlocal prepared
            try:
                image = outcome.result()._replace(seconds=outcome.seconds)
            except (ImageError, MemoryError) as error:
                take([Found(source, error=cause(source, error), read=outcome.seconds)], flow.leave)
                return
            if not prepared:
                prepared = True  # also if it is interrupted: what has been read by then comes this way too
                prepare(image.working)
            flow.gather(image.working.shape, image, self._group_size(image.working))

        def computed(images: Sequence[_Loaded], outcome: Outcome[list[list[Candidate]]]) -> None:
            take(list(_share(images, outcome)), flow.leave)

        flow = Flow(workers, self.batch_size, self._compute, computed, serial=self._method.serial)
        for source in sources:
            flow.enter()
            workers.submit(partial(self._load, source), partial(read, source), locking=True)
        flow.finish()

    # By a worker

    def _load(self, source: Source) -> _Loaded:
        photograph, stamp = read_stamped(source.path)
        height, width = photograph.pixels.shape[:2]
        entry = Entry(source, width, height, 0, "; ".join(photograph.notes) or None, stamp)
        return _Loaded(entry, self._settings.at_work(photograph.pixels), photograph.notes)

    def _compute(self, images: Sequence[_Loaded]) -> list[list[Candidate]]:
        found: list[list[Candidate]] = [[] for _ in images]
        for masks, errors, updates, information, start, *more in self._method.find(
            np.stack([image.working for image in images])
        ):
            sides = np.take(self._method.sides, start)
            values = zip(sides, masks, errors, updates, information, *more, strict=True)
            for candidates, one in zip(found, values, strict=True):
                candidates.append(Candidate(*one))
        return found

    def _held(self) -> int:
        held = PER_WORKER * self.workers
        if not self._method.serial:
            return held
        # While one group is computed, the other is read. However large the images, two are 100 MB on a GPU.
        typical = np.empty((self._settings.size, self._settings.size, 3), np.uint8)
        return max(held, 2 * self._method.group_size(typical))

    def _group_size(self, image: Pixels) -> int:
        # While every worker, or the GPU, computes a group, as many images are read and written.
        groups = 2 * (1 if self._method.serial else self.workers)
        return min(self._method.group_size(image), max(1, self.batch_size // groups))


def cause(source: Source, error: ImageError | MemoryError) -> str:
    """Return why an image failed, and the remedy if there is one."""
    if isinstance(error, ImageError):
        return str(error)
    remedy = "" if isinstance(error, OutOfMemoryError) else "; fewer --workers need less"
    return f"{source.path}: {str(error) or 'out of memory'}{remedy}"


def _share(images: Sequence[_Loaded], outcome: Outcome[list[list[Candidate]]]) -> Iterable[Found]:
    """What came of each image of a group, with its share of the time."""
    compute = outcome.seconds / len(images)
    try:
        found = outcome.result()
    except MemoryError as error:  # of one image: the method computes as many together as fit
        for entry, _, notes, read in images:
            source = entry.source
            yield Found(source, error=cause(source, error), notes=notes, read=read, compute=compute)
        return
    for (entry, _, notes, read), candidates in zip(images, found, strict=True):
        entry = entry._replace(seconds=read + compute)
        yield Found(entry.source, entry, candidates, None, notes, read, compute)

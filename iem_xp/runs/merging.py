"""Runs that were made apart, merged into the one that all their images together would have made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice
from pathlib import Path

from iem_xp.contents import ContentsError, read_contents
from iem_xp.runs.database import RunError
from iem_xp.runs.finding import PER_WORKER
from iem_xp.runs.naming import Source
from iem_xp.runs.parts import Part
from iem_xp.runs.pipeline import Advance, Segmenter
from iem_xp.runs.records import FOLDERS, Entry, Finished
from iem_xp.runs.results import MASKS
from iem_xp.runs.settings import Settings
from iem_xp.runs.store import Run
from iem_xp.runs.storing import Store, StoreOption, open_store
from iem_xp.runs.workers import Outcome, Workers
from iem_xp.threads import usable_cpus

_BATCH = 256


class Merger:
    """Merges runs into one, which is only added to: what an earlier session did is not done again.

    Of an image that several runs hold the first one that has its mask counts. The methods are to be called in
    their order. `advance` is called with the number of images just dealt with.

    Parameters
    ----------
    run : Run
        Of `open_merged`.
    parts : sequence of Part
        Their folders are only read.
    workers : int, optional
        Threads that copy and write; by default one for each CPU that this process may use.

    Attributes
    ----------
    copied : int
        Images whose files were copied.
    """

    def __init__(self, run: Run, parts: Sequence[Part], *, workers: int | None = None) -> None:
        configuration = run.get_meta("configuration")
        self.copied = 0
        self._run = run
        self._parts = parts
        self._outputs = configuration.get("outputs", [])
        self._option: StoreOption = configuration.get("store", "files")
        self._workers = workers or usable_cpus()
        self._segmenter = Segmenter(
            run,
            Settings.of_configuration(configuration),
            workers=self._workers,
            outputs=self._outputs,
            store=self._option,
        )
        self._finished: list[Finished] = []

    def gather(self, advance: Advance) -> None:
        """Take over the masks of every square, where one square is chosen for all images, and choose it.

        Raises
        ------
        RunError
            If an image is not the same in two runs.
        """
        for part in self._parts:
            with Run.open(part.folder, to_write=False) as opened:
                kept = opened.candidates.all()
                while batch := list(islice(kept, _BATCH)):
                    with self._run.transaction():
                        for entry, candidates in batch:
                            for source in self._admit(entry, part):
                                self._run.record_candidates(entry._replace(source=source), candidates)
                    advance(len(batch))
        self._segmenter.choose_square()
        side: int | None = self._run.get_meta("init_side")
        if side is not None:
            self._run.candidates.withdraw(side)

    def copy(self, advance: Advance) -> None:
        """Copy the masks that are those of the merged run, with their pictures; and the failures.

        Raises
        ------
        RunError
            If an image is not the same in two runs.
        OSError
            If a file cannot be written.
        """
        store = open_store(self._run, self._option, self._outputs)
        try:
            for part in self._parts:  # one after the other, so that it is known what the ones before hold
                with Run.open(part.folder, to_write=False) as opened:
                    try:
                        self._copy_masks(opened, part, store, advance)
                    finally:
                        self._commit(store)
                    self._copy_failures(opened, advance)
        finally:
            store.close()

    def count_unwritten(self) -> int:
        """Count the masks that are left for `write`."""
        side = self._run.get_meta("init_side")
        return 0 if side is None else self._run.candidates.count_unwritten(side)

    def write(self, advance: Advance) -> None:
        """Write the masks of the chosen square where the runs had chosen another, or none."""
        self._segmenter.write_masks(advance)

    @property
    def written(self) -> int:
        """Masks that were written."""
        return self._segmenter.tally.done + self._segmenter.tally.rewritten

    def _admit(self, entry: Entry, part: Part) -> list[Source]:
        """The image with its place in the merged run, or nothing if that has it."""
        admitted = self._run.admit([entry.source._replace(shard="")])
        if not admitted and entry.stamp is not None:
            path, known = entry.source.path, self._run.digest(entry.source.path)
            if known is not None and known != entry.stamp.digest:
                raise RunError(
                    f"{path}: is another image in {part.folder} than in {self._find(path, known)}; "
                    "continue the older one with --redo-changed, then merge with --overwrite"
                )
        return admitted

    def _find(self, path: Path, digest: bytes) -> Path:
        """The run that an image was taken from."""
        for part in self._parts:
            with Run.open(part.folder, to_write=False) as opened:
                if opened.digest(path) == digest:
                    return part.folder
        return self._run.folder

    def _copy_masks(self, opened: Run, part: Part, store: Store, advance: Advance) -> None:
        side: int | None = self._run.get_meta("init_side")
        with Workers(self._workers) as workers:
            for finished in opened.finished():
                entry = finished.entry
                places = self._admit(entry, part) if side is None else self._chosen(finished, side)
                if not places:
                    advance(1)
                for place in places:
                    workers.wait(below=PER_WORKER * self._workers)
                    workers.submit(
                        partial(self._copy_files, opened.folder, entry.source, place, store),
                        partial(self._end, finished, place, store, partial(advance, 1)),
                    )
            workers.wait(below=1)

    def _chosen(self, finished: Finished, side: int) -> list[Source]:
        """The image with its place in the merged run, if that lacks just this mask."""
        kept = self._run.candidates.unwritten_of(finished.entry.source.path, side)
        if kept is None or finished.init_side != side:
            return []
        entry, candidate = kept
        # In another run than that whose candidates are kept it may have been found otherwise.
        found = (finished.inpainting_error, finished.updates)
        return [entry.source] if found == (candidate.inpainting_error, candidate.updates) else []

    def _copy_files(self, folder: Path, source: Source, place: Source, store: Store) -> Source:
        # The mask comes last: where it is, the pictures are.
        names = [*(FOLDERS[output] for output in self._outputs), MASKS]
        made = {name: read_contents(folder / name / source.shard / source.mask).data for name in names}
        return store.put(place, made)

    def _end(
        self,
        finished: Finished,
        place: Source,
        store: Store,
        then: Callable[[], object],
        outcome: Outcome[Source],
    ) -> None:
        """Take what came of copying an image's files."""
        entry = finished.entry
        try:
            entry = entry._replace(source=outcome.result())
        except ContentsError as error:
            if self._run.candidates.of(place.path) is None:  # otherwise it is written anew
                cause = f"{place.path}: cannot be copied with its mask, {entry.source.mask}: {error}"
                self._run.record_failed(place, f"{cause}; iem-xp segment makes it anew")
        else:
            self._finished.append(finished._replace(entry=entry))
            if len(self._finished) >= _BATCH:
                self._commit(store)
        then()

    def _commit(self, store: Store) -> None:
        """Commit the rows of what has been copied, once it would outlast a power cut."""
        copied, self._finished = self._finished, []
        store.sync()
        with self._run.transaction():
            for finished in copied:
                self._run.record_finished(finished)
        self.copied += len(copied)

    def _copy_failures(self, opened: Run, advance: Advance) -> None:
        failed = opened.failed()
        while batch := list(islice(failed, _BATCH)):
            with self._run.transaction():
                for path, error in batch:
                    if not self._run.knows(path):
                        self._run.record_failed(Source(path, ""), error)
            advance(len(batch))

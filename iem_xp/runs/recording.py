"""What comes of images, recorded in their run and counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from iem_xp.images import ImageError
from iem_xp.runs.finding import Found, cause
from iem_xp.runs.naming import Source
from iem_xp.runs.records import Candidate, Entry, Output
from iem_xp.runs.settings import Settings
from iem_xp.runs.store import Run
from iem_xp.runs.storing import StoreOption, open_store
from iem_xp.runs.workers import Outcome
from iem_xp.runs.writing import Writer, Written


@dataclass
class Tally:
    """What a session did.

    Images are counted as `segmented`, `done` (has its mask now), `failed`, `skipped` (had its mask before)
    and `rewritten` (has that of another initial square now). `notes` counts what the user should know of
    some, `noted` names the first of these; `stages` has the seconds in "read", "compute" and "write", added
    up over the workers.
    """

    segmented: int = 0
    done: int = 0
    failed: int = 0
    skipped: int = 0
    rewritten: int = 0
    notes: Counter[str] = field(default_factory=Counter)
    noted: dict[str, Path] = field(default_factory=dict)
    stages: dict[str, float] = field(default_factory=lambda: {"read": 0.0, "compute": 0.0, "write": 0.0})

    def note(self, source: Source, notes: Iterable[str]) -> None:
        """Count what the user should know of an image."""
        for note in notes:
            self.notes[note] += 1
            self.noted.setdefault(note, source.path)


class _Row(NamedTuple):
    entry: Entry
    candidate: Candidate
    share: float


class Recorder:
    """Records images in a run, in the one thread that uses its database.

    A context manager, again and again: at its end, also by an error, what has been written is committed.

    Parameters
    ----------
    run : Run
    settings : Settings
    outputs : collection of {"cutout", "overlay", "inpainted", "probability"}
        Pictures to write beside the masks.
    store : {"files", "shards"}
        Whether each is a file, or many are one tar archive.

    Attributes
    ----------
    tally : Tally
    """

    def __init__(
        self, run: Run, settings: Settings, outputs: Iterable[Output] = (), store: StoreOption = "files"
    ) -> None:
        self.tally = Tally()
        self._run = run
        self._settings = settings
        self._outputs = tuple(outputs)
        self._option = store
        self._written: list[_Row] = []
        self._withdrawn = 0

    def count(self, found: Found) -> None:
        """Count what came of an image, and record it if it failed."""
        self.tally.stages["read"] += found.read
        self.tally.stages["compute"] += found.compute
        self.tally.note(found.source, found.notes)
        if found.error is not None:
            self.fail(found.source, found.error)
        else:
            self.tally.segmented += 1

    def keep(self, found: Iterable[tuple[Entry, Sequence[Candidate]]]) -> None:
        """Keep the masks of every square of images."""
        with self._run.transaction():
            for entry, candidates in found:
                self._run.record_candidates(entry, candidates)

    def withdraw(self, side: int) -> None:
        """Take back that images are done which have the mask of another square; they count as rewritten."""
        self._withdrawn = self._run.candidates.withdraw(side)
        self.tally.rewritten += self._withdrawn

    def wrote(self, entry: Entry, candidate: Candidate, outcome: Outcome[Written]) -> None:
        """Take what came of writing an image's files."""
        self.tally.stages["write"] += outcome.seconds
        try:
            source, share = outcome.result()
        except (ImageError, MemoryError) as error:  # gone or changed since it was segmented, or too large
            self.fail(entry.source, cause(entry.source, error))
            return
        if share in (0, 1):
            note = "mask is empty" if share == 0 else "mask is full"
            self.tally.note(entry.source, [note])
            entry = entry._replace(notes=f"{entry.notes}; {note}" if entry.notes else note)
        self._written.append(_Row(entry._replace(source=source), candidate, share))
        if len(self._written) >= self._store.together:
            self.commit()

    def commit(self) -> None:
        """Commit the rows of what has been written, once it would outlast a power cut."""
        rows, self._written = self._written, []
        if not rows:
            return
        self._store.sync()
        with self._run.transaction():
            for entry, candidate, share in rows:
                self.tally.done += not self._withdrawn
                self._withdrawn -= bool(self._withdrawn)
                self._run.record_done(entry, candidate, share)

    def fail(self, source: Source, error: str) -> None:
        """Record why an image failed."""
        self._run.record_failed(source, error)
        self.tally.failed += 1

    def __enter__(self) -> Writer:
        """Return what writes the files, for any thread."""
        self._store = open_store(self._run, self._option, self._outputs)
        return Writer(self._store, self._settings, self._outputs)

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        try:
            self.commit()
        except OSError:
            if error is None:  # otherwise it comes of that one
                raise
        finally:
            self._store.close()

"""A run: a folder with one SQLite file, a row per image, and the masks."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any, Self

from iem_xp.files import make_folder, remove, sync_folder
from iem_xp.runs.database import (
    NO_STAMP,
    UNFINISHED,
    Database,
    RunError,
    stored_path,
    stored_source,
    stored_text,
)
from iem_xp.runs.locking import LOCK, RunLock
from iem_xp.runs.naming import Source, distinct
from iem_xp.runs.records import FOLDERS, Candidate, Entry, Finished
from iem_xp.runs.results import FILE, MASKS, Results
from iem_xp.runs.settings import differences

_PARTIAL = "partial"
_CLEARED = f"{FILE}.cleared"
"""Name of the database of a run that is being removed."""

_OWN_FOLDERS = (_PARTIAL, MASKS, "refined", "rounds", "models", "report", *FOLDERS.values())


class Run(Results):
    """A run, open; made by `create`, `open` or `resume`, and a context manager that closes it.

    Attributes
    ----------
    partial : Path
        Folder for files that are being written; what another session left in it is deleted.

    Notes
    -----
    Every method that writes is a transaction of its own unless it is called within `transaction`. A mask's
    file is written before its row, so that a row always has its mask.
    """

    def __init__(self, folder: Path, database: Database, lock: RunLock | None = None) -> None:
        super().__init__(folder, database)
        self.partial = folder / _PARTIAL
        self._lock = lock
        # Images in work, which have no row yet, and the names of their masks.
        self._claims: dict[Path, str] = {}
        self._claimed: set[str] = set()

    @classmethod
    def create(
        cls,
        folder: Path,
        configuration: Mapping[str, Any],
        meta: Mapping[str, Any] | None = None,
        *,
        overwrite: bool = False,
    ) -> Self:
        """Make a run in a new or empty folder.

        Parameters
        ----------
        folder : Path
            Folder of the run; its parents are made too.
        configuration : mapping
            What another session must agree with to continue this run, as JSON values by name.
        meta : mapping, optional
            Further facts to keep, such as versions, as JSON values by name.
        overwrite : bool
            Whether to `clear` a run that is there.

        Raises
        ------
        RunError
            If the folder is not empty or, with `overwrite`, holds no run.
        """
        if is_run(folder) and not overwrite:
            raise RunError(f"{folder}: is a run already; use another -o, or --overwrite to replace it")
        _check_place(folder)
        make_folder(folder)

        def make(file: Path) -> Database:
            if is_run(folder) and not overwrite:
                raise RunError(f"{folder}: another process has just made a run there; use another -o")
            _clear(folder)
            make_folder(folder / MASKS)
            return Database.create(file, {**(meta or {}), "configuration": configuration})

        return cls._locked(folder, make)

    @classmethod
    def open(cls, folder: Path, *, to_write: bool = True) -> Self:
        """Open a run that exists, to read alone if it is not `to_write`.

        Raises
        ------
        RunError
            If the folder is no run, or was made by a newer version.
        """
        if not is_run(folder):
            raise RunError(f"{folder}: not a run, there is no {FILE} in it; make one with: iem-xp segment")
        if not to_write:
            return cls(folder, Database.open(folder / FILE, to_write=False))
        return cls._locked(folder, Database.open)

    @classmethod
    def _locked(cls, folder: Path, get: Callable[[Path], Database]) -> Self:
        lock = RunLock(folder)
        try:
            remove(folder / _PARTIAL)
            return cls(folder, get(folder / FILE), lock)
        except BaseException:
            lock.release()
            raise

    @classmethod
    def resume(
        cls, folder: Path, configuration: Mapping[str, Any], meta: Mapping[str, Any] | None = None
    ) -> Self:
        """Open a run to continue it, or make it where there is none; the parameters are those of `create`.

        Raises
        ------
        RunError
            As `create` and `open` do, and if the run was made with another configuration.
        """
        if not is_run(folder):
            return cls.create(folder, configuration, meta)
        run = cls.open(folder)
        if lines := differences(run.get_meta("configuration"), configuration):
            run.close()
            raise RunError(
                f"{folder}: was made with another configuration\n{lines}"
                "give what is there to continue it; use another -o to keep it, or --overwrite to replace it"
            )
        return run

    @staticmethod
    def clear(folder: Path) -> None:
        """Remove a run, but nothing else that its folder holds.

        Raises
        ------
        RunError
            If the folder is neither a run, nor empty, nor missing.
        """
        _check_place(folder)
        if folder.exists():
            with RunLock(folder):
                _clear(folder)

    def close(self) -> None:
        """Close the run."""
        self._database.close()
        if self._lock is not None:
            with suppress(OSError):
                self.partial.rmdir()
            self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def transaction(self) -> AbstractContextManager[None]:
        """Write all that the ``with`` block records, or nothing if it raises."""
        return self._database.transaction()

    def set_meta(self, key: str, value: Any) -> None:
        """Keep a JSON value under a key."""
        self._database.set_meta(key, value)

    def admit(self, sources: Iterable[Source]) -> list[Source]:
        """Return the images still to do, each with a mask name of its own.

        Images that are done or have candidates are left out, so is one admitted already; a failed one is
        tried again. An image whose mask's name belongs to another one gets another name.
        """
        admitted = []
        for source in sources:
            path = stored_path(source.path)
            if source.path in self._claims or self._exists("path = ? AND status = 'done'", "path = ?", path):
                continue
            if self._is_taken(source.mask):
                source = distinct(source)
            self._claims[source.path] = source.mask
            self._claimed.add(source.mask)
            admitted.append(source)
        return admitted

    def holds(self, shard: str, mask: str) -> bool:
        """Whether a row says that a mask is in an archive, by their names."""
        query = "SELECT 1 FROM images WHERE mask = ? AND shard = ?"
        return self._database.execute(query, (stored_path(mask), shard)).fetchone() is not None

    def knows(self, path: Path) -> bool:
        """Whether an image is done, has candidates or has failed."""
        return self._exists("path = ?", "path = ?", stored_path(path))

    def forget(self, paths: Iterable[Path]) -> None:
        """Forget images, which are then to be segmented anew."""
        files: list[str | bytes] = []
        query = "SELECT mask FROM images WHERE path = ? AND status = 'done' AND shard IS NULL"
        with self._database.lasting_transaction():  # archives keep nothing of their masks from now on
            for path in map(stored_path, paths):
                files += (mask for (mask,) in self._database.execute(query, (path,)))
                self._database.execute("DELETE FROM images WHERE path = ?", (path,))
                self._database.execute("DELETE FROM entries WHERE path = ?", (path,))
        for mask in files:
            for name in (MASKS, *FOLDERS.values()):
                remove(self.folder / name / stored_source("", mask).mask)

    def _is_taken(self, mask: str) -> bool:
        return mask in self._claimed or self._exists("mask = ?", "mask = ?", stored_path(mask))

    def _release(self, source: Source) -> None:
        self._claimed.discard(self._claims.pop(source.path, source.mask))

    def _exists(self, image: str, entry: str, value: str | bytes) -> bool:
        query = f"SELECT 1 FROM images WHERE {image} UNION ALL SELECT 1 FROM entries WHERE {entry}"
        return self._database.execute(query, (value, value)).fetchone() is not None

    def record_candidates(self, entry: Entry, candidates: Sequence[Candidate]) -> None:
        """Record the masks of every initial square for an image; they replace a failure."""
        self.candidates.add(entry, candidates)
        self._release(entry.source)

    def record_done(self, entry: Entry, candidate: Candidate, foreground_share: float) -> None:
        """Record an image whose mask is written; it replaces a failure or an earlier mask's row."""
        side, _, error, updates, information, _ = candidate
        # NumPy's numbers would be stored as BLOBs.
        found = int(side), float(error), int(updates), float(information)
        self.record_finished(Finished(entry, *found, float(foreground_share)))

    def record_finished(self, finished: Finished) -> None:
        """Record an image as another run did, whose files are copied; otherwise as `record_done`."""
        entry, *found = finished
        source = entry.source
        path = stored_path(source.path)
        with self.transaction():
            self._database.execute("DELETE FROM images WHERE path = ?", (path,))
            self._database.execute(
                "INSERT INTO images (path, status, width, height, mask, shard, init_side, inpainting_error,"
                " updates, information, foreground_share, seconds, notes, file_size, file_modified, digest)"
                " VALUES (?, 'done', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    path,
                    entry.width,
                    entry.height,
                    stored_path(source.mask),
                    source.shard or None,
                    *found,
                    entry.seconds,
                    stored_text(entry.notes),
                    *(entry.stamp or NO_STAMP),
                ),
            )
        self._release(source)

    def record_failed(self, source: Source, error: str) -> None:
        """Record why an image failed; it replaces an earlier failure, never a mask."""
        path = stored_path(source.path)
        with self.transaction():
            self._database.execute("DELETE FROM entries WHERE path = ?", (path,))
            self._database.execute(
                "INSERT INTO images (path, status, error) VALUES (?, 'failed', ?)"
                " ON CONFLICT (path) DO UPDATE SET error = excluded.error WHERE status = 'failed'",
                (path, stored_text(error)),
            )
        self._release(source)


def is_run(folder: Path) -> bool:
    """Whether a folder is a run."""
    return (folder / FILE).is_file()


def _clear(folder: Path) -> None:
    """Remove the run in a folder, or the rest of one; the caller has its lock."""
    file, cleared = folder / FILE, folder / _CLEARED
    if file.exists():
        # From now on it is no run whose masks are there, however far this comes.
        os.replace(file, cleared)
        sync_folder(folder)
    if cleared.exists():
        for name in (f"{FILE}-wal", f"{FILE}-shm", f"{FILE}-journal", *_OWN_FOLDERS, _CLEARED):
            remove(folder / name)


def _check_place(folder: Path) -> None:
    """See that a folder holds a run, or the rest of one, or nothing, or is not there."""
    if folder.exists() and not folder.is_dir():
        raise RunError(f"{folder}: is a file, not a folder; use another -o")
    if not folder.is_dir() or is_run(folder) or (folder / _CLEARED).exists():
        return
    if not all(map(_left_by_beginning, folder.iterdir())):
        raise RunError(f"{folder}: is no run and not empty, nothing in it is overwritten; use another -o")


def _left_by_beginning(path: Path) -> bool:
    """Whether this is all that a session left that was killed as it began."""
    if path.name == MASKS:
        return path.is_dir() and not any(path.iterdir())
    return path.name == LOCK or path.name.startswith(FILE + UNFINISHED)

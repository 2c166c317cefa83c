"""A run: a folder with one SQLite file, a row per image, and the masks."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Self

from iem_xp.files import remove
from iem_xp.labels import FOREGROUND, read_labels
from iem_xp.runs.candidates import Candidates
from iem_xp.runs.database import UNFINISHED, Database, RunError, stored_path, stored_text
from iem_xp.runs.naming import Source, distinct
from iem_xp.runs.records import FOLDERS, Candidate, Counts, Entry, Failure, Ranked
from iem_xp.runs.settings import differences

_FILE = "run.sqlite"
_OWN_FOLDERS = ("masks", "refined", "rounds", "models", *FOLDERS.values())


class Run:
    """A run, open; made by `create`, `open` or `resume`, and a context manager that closes it.

    Every method that writes is a transaction of its own unless it is called within `transaction`. A mask's
    file is written before its row, so that a row always has its mask.

    Attributes
    ----------
    folder : Path
        The run's folder.
    masks : Path
        Its folder of masks, which `Source.mask` is relative to.
    candidates : Candidates
        The masks of every initial square, where one square is chosen for all images.

    Notes
    -----
    Paths are TEXT, as they are; one that is not valid Unicode, from a file name in another encoding, is a
    BLOB of its bytes. `os.fsdecode` gives the path back from either.
    """

    def __init__(self, folder: Path, database: Database) -> None:
        self.folder = folder
        self.masks = folder / "masks"
        self.candidates = Candidates(database)
        self._database = database
        # Masks of the images in work, which have no row yet, and these images.
        self._claims: dict[str, Path] = {}

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
        if overwrite:
            cls.clear(folder)
        elif is_run(folder):
            raise RunError(f"{folder}: is a run already; use another -o, or --overwrite to replace it")
        else:
            _check_vacant(folder)
        folder.mkdir(parents=True, exist_ok=True)
        run = cls(folder, Database.create(folder / _FILE, {**(meta or {}), "configuration": configuration}))
        run.masks.mkdir()
        return run

    @classmethod
    def open(cls, folder: Path, *, to_write: bool = True) -> Self:
        """Open a run that exists, to read alone if it is not `to_write`.

        Raises
        ------
        RunError
            If the folder is no run, or was made by a newer version.
        """
        if not is_run(folder):
            raise RunError(f"{folder}: not a run, there is no {_FILE} in it; make one with: iem-xp segment")
        return cls(folder, Database.open(folder / _FILE, to_write=to_write))

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
                "use another -o to keep it, or --overwrite to replace it"
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
        if not is_run(folder):
            _check_vacant(folder)
            return
        # The database goes last: until then, the folder is known as a run and can be cleared again.
        for name in (*_OWN_FOLDERS, f"{_FILE}-wal", f"{_FILE}-shm", f"{_FILE}-journal", _FILE):
            remove(folder / name)

    def close(self) -> None:
        """Close the run."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def transaction(self) -> AbstractContextManager[None]:
        """Write all that the ``with`` block records, or nothing if it raises."""
        return self._database.transaction()

    def get_meta(self, key: str) -> Any:
        """Return the JSON value kept under a key, or None."""
        return self._database.get_meta(key)

    def set_meta(self, key: str, value: Any) -> None:
        """Keep a JSON value under a key."""
        self._database.set_meta(key, value)

    def is_done(self, source: Source) -> bool:
        """Whether an image has its mask."""
        query = "SELECT 1 FROM images WHERE path = ? AND status = 'done'"
        return self._database.execute(query, (stored_path(source.path),)).fetchone() is not None

    def admit(self, sources: Iterable[Source]) -> list[Source]:
        """Return the images still to do, each with a mask name of its own.

        Images that are done or have candidates are left out, so is one admitted already; a failed one is
        tried again. An image whose mask's name belongs to another one gets another name.
        """
        admitted = []
        for source in sources:
            path = stored_path(source.path)
            if self._exists("path = ? AND status = 'done'", "path = ?", path):
                continue
            if self._is_taken(source):
                source = distinct(source)
            if source.mask not in self._claims:
                self._claims[source.mask] = source.path
                admitted.append(source)
        return admitted

    def _is_taken(self, source: Source) -> bool:
        owner = self._claims.get(source.mask)
        if owner is not None:
            return owner != source.path
        return self._exists("mask = ?", "mask = ?", stored_path(source.mask))

    def _exists(self, image: str, entry: str, value: str | bytes) -> bool:
        query = f"SELECT 1 FROM images WHERE {image} UNION ALL SELECT 1 FROM entries WHERE {entry}"
        return self._database.execute(query, (value, value)).fetchone() is not None

    def record_candidates(self, entry: Entry, candidates: Sequence[Candidate]) -> None:
        """Record the masks of every initial square for an image; they replace a failure."""
        self.candidates.add(entry, candidates)
        self._claims.pop(entry.source.mask, None)

    def record_done(self, entry: Entry, candidate: Candidate, foreground_share: float) -> None:
        """Record an image whose mask is written; it replaces a failure or an earlier mask's row."""
        source = entry.source
        path = stored_path(source.path)
        with self.transaction():
            self._database.execute("DELETE FROM images WHERE path = ?", (path,))
            self._database.execute(
                "INSERT INTO images (path, status, width, height, mask, init_side, inpainting_error, updates,"
                " foreground_share, seconds, notes)"
                " VALUES (?, 'done', ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    path,
                    entry.width,
                    entry.height,
                    stored_path(source.mask),
                    # NumPy's numbers would be stored as BLOBs.
                    int(candidate.side),
                    float(candidate.inpainting_error),
                    int(candidate.updates),
                    float(foreground_share),
                    entry.seconds,
                    stored_text(entry.notes),
                ),
            )
        self._claims.pop(source.mask, None)

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
        self._claims.pop(source.mask, None)

    def counts(self) -> Counts:
        """Count the images in each state."""
        states = dict(
            self._database.execute("SELECT status, COUNT(*) FROM images GROUP BY status").fetchall()
        )
        return Counts(states.get("done", 0), states.get("failed", 0), self.candidates.count_unwritten(None))

    def segmented(self) -> Iterator[Entry]:
        """Iterate over the images that are done, in the order of their masks' names."""
        query = (
            "SELECT path, mask, width, height, seconds, notes FROM images WHERE status = 'done' ORDER BY mask"
        )
        for path, mask, *known in self._database.execute(query):
            yield Entry(Source(Path(os.fsdecode(path)), os.fsdecode(mask)), *known)

    def written(self, path: Path) -> tuple[Entry, Candidate] | None:
        """Return an image that is done, with the mask that was written; an ImageError if that is gone."""
        query = (
            "SELECT mask, width, height, seconds, notes, init_side, inpainting_error, updates FROM images"
            " WHERE path = ? AND status = 'done'"
        )
        row = self._database.execute(query, (stored_path(path),)).fetchone()
        if row is None:
            return None
        name, *known, side, error, updates = row
        source = Source(path, os.fsdecode(name))
        mask = read_labels(self.masks / source.mask) == FOREGROUND
        return Entry(source, *known), Candidate(side, mask, error, updates)

    def ranked(self) -> Iterator[Ranked]:
        """Iterate over the images that are done, from the highest inpainting error; ties by mask's name."""
        query = (
            "SELECT path, mask, width, height, inpainting_error, init_side FROM images"
            " WHERE status = 'done' ORDER BY inpainting_error DESC, mask"
        )
        for path, mask, *known in self._database.execute(query):
            yield Ranked(Source(Path(os.fsdecode(path)), os.fsdecode(mask)), *known)

    def failures(self, limit: int = -1) -> list[Failure]:
        """List the images that failed, by path; all of them, or the first so many."""
        query = "SELECT path, error FROM images WHERE status = 'failed' ORDER BY path LIMIT ?"
        rows = self._database.execute(query, (limit,))
        return [Failure(Path(os.fsdecode(path)), error) for path, error in rows]

    def mean_inpainting_error(self) -> float | None:
        """Return the mean over the images that are done, None if there is none."""
        query = "SELECT AVG(inpainting_error) FROM images WHERE status = 'done'"
        mean: float | None = self._database.execute(query).fetchone()[0]
        return mean


def is_run(folder: Path) -> bool:
    """Whether a folder is a run."""
    return (folder / _FILE).is_file()


def _check_vacant(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise RunError(f"{folder}: is a file, not a folder; use another -o")
    unfinished = _FILE + UNFINISHED  # left by a session that was killed as it began
    if folder.is_dir() and any(not path.name.startswith(unfinished) for path in folder.iterdir()):
        raise RunError(f"{folder}: is no run and not empty, nothing in it is overwritten; use another -o")

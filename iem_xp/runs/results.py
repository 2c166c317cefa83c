"""What a run holds: its images, those that failed, and those of the best masks."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from iem_xp.contents import Stamp, find_changed
from iem_xp.labels import FOREGROUND, read_labels
from iem_xp.runs.candidates import Candidates
from iem_xp.runs.database import Database, stored_path, stored_source
from iem_xp.runs.naming import Source
from iem_xp.runs.records import Candidate, Counts, Entry, Failure, Finished, Ranked

FILE = "run.sqlite"
MASKS = "masks"

_BATCH = 256

_FINISHED = (
    "path, mask, shard, width, height, seconds, notes, file_size, file_modified, digest,"
    " init_side, inpainting_error, updates, information, foreground_share"
)
"""Columns of a `Finished`."""


class Results:
    """The results of a run, to be read.

    Attributes
    ----------
    folder : Path
        The run's folder.
    masks : Path
        Its folder of masks.
    candidates : Candidates
        The masks of every initial square, where one square is chosen for all images.

    Notes
    -----
    Paths are TEXT, as they are; one that is not valid Unicode, from a file name in another encoding, is a
    BLOB of its bytes. `os.fsdecode` gives the path back from either.
    """

    def __init__(self, folder: Path, database: Database) -> None:
        self.folder = folder
        self.masks = folder / MASKS
        self.candidates = Candidates(database)
        self._database = database

    def get_meta(self, key: str) -> Any:
        """Return the JSON value kept under a key, or None."""
        return self._database.get_meta(key)

    def is_done(self, source: Source) -> bool:
        """Whether an image has its mask."""
        query = "SELECT 1 FROM images WHERE path = ? AND status = 'done'"
        return self._database.execute(query, (stored_path(source.path),)).fetchone() is not None

    def counts(self) -> Counts:
        """Count the images in each state."""
        states = dict(
            self._database.execute("SELECT status, COUNT(*) FROM images GROUP BY status").fetchall()
        )
        return Counts(states.get("done", 0), states.get("failed", 0), self.candidates.count_unwritten(None))

    def segmented(self) -> Iterator[Entry]:
        """Iterate over the images that are done, in the order of their masks' names."""
        query = (
            "SELECT path, mask, shard, width, height, seconds, notes FROM images"
            " WHERE status = 'done' ORDER BY mask"
        )
        for path, mask, shard, *known in self._database.execute(query):
            yield Entry(stored_source(path, mask, shard), *known)

    def finished(self) -> Iterator[Finished]:
        """Iterate over the images that are done, as their rows say; rows may be written meanwhile."""
        return map(_finished, self._rows(_FINISHED, "done"))

    def failed(self) -> Iterator[Failure]:
        """Iterate over the images that failed; rows may be written meanwhile."""
        for path, error in self._rows("path, error", "failed"):
            yield Failure(Path(os.fsdecode(path)), error)

    def _rows(self, columns: str, status: str) -> Iterator[list[Any]]:
        query = (
            f"SELECT rowid, {columns} FROM images"
            f" WHERE status = ? AND rowid > ? ORDER BY rowid LIMIT {_BATCH}"
        )
        last = 0
        while rows := self._database.execute(query, (status, last)).fetchall():
            last = rows[-1][0]
            for _, *row in rows:
                yield row

    def digest(self, path: Path) -> bytes | None:
        """Return the digest of what an image was when it was segmented, None if that is not known."""
        query = (
            "SELECT digest FROM entries WHERE path = :path"
            " UNION ALL SELECT digest FROM images WHERE path = :path AND status = 'done'"
        )
        row = self._database.execute(query, {"path": stored_path(path)}).fetchone()
        return None if row is None else row[0]

    def written(self, path: Path) -> tuple[Entry, Candidate] | None:
        """Return an image that is done, with the mask that was written; an ImageError if that is gone."""
        query = (
            "SELECT mask, shard, width, height, seconds, notes, init_side, inpainting_error, updates,"
            " information FROM images WHERE path = ? AND status = 'done'"
        )
        row = self._database.execute(query, (stored_path(path),)).fetchone()
        if row is None:
            return None
        name, shard, *known, side, error, updates, information = row
        source = stored_source(os.fspath(path), name, shard)
        mask = read_labels(self.masks / source.shard / source.mask) == FOREGROUND
        return Entry(source, *known), Candidate(side, mask, error, updates, information)

    def ranked(self) -> Iterator[Ranked]:
        """Iterate over the images that are done, from the best mask; ties by mask's name.

        The best is that of highest inpainting error, or of highest information in a run whose initial squares
        were chosen by it.
        """
        columns = "path, mask, shard, width, height, inpainting_error, information, init_side, digest"
        for path, mask, shard, *known in self._best(columns):
            yield Ranked(stored_source(path, mask, shard), *known)

    def best(self) -> Iterator[Finished]:
        """Iterate over the images that are done, in the order of `ranked`, as their rows say."""
        return map(_finished, self._best(_FINISHED))

    def _best(self, columns: str) -> Iterator[Sequence[Any]]:
        configuration = self.get_meta("configuration") or {}
        by = "information" if configuration.get("choose") == "information" else "inpainting_error"
        query = f"SELECT {columns} FROM images WHERE status = 'done' ORDER BY {by} DESC, mask"
        return self._database.execute(query)

    def changed(self) -> Iterator[Path]:
        """Iterate over the images that are segmented and whose contents are others since."""
        query = (
            "SELECT path, file_size, file_modified, digest FROM entries WHERE digest IS NOT NULL"
            " UNION ALL SELECT path, file_size, file_modified, digest FROM images"
            " WHERE digest IS NOT NULL AND path NOT IN (SELECT path FROM entries)"
        )
        known = ((os.fsdecode(path), Stamp(*stamp)) for path, *stamp in self._database.execute(query))
        return map(Path, find_changed(known))

    def failures(self, limit: int = -1) -> list[Failure]:
        """List the images that failed, by path; all of them, or the first so many."""
        query = "SELECT path, error FROM images WHERE status = 'failed' ORDER BY path LIMIT ?"
        rows = self._database.execute(query, (limit,))
        return [Failure(Path(os.fsdecode(path)), error) for path, error in rows]

    def means(self) -> dict[str, float | None]:
        """Return the means over the images that are done, by the summary's names; None of none."""
        query = "SELECT AVG(inpainting_error), AVG(information) FROM images WHERE status = 'done'"
        error, information = self._database.execute(query).fetchone()
        return {"mean_inpainting_error": error, "mean_information": information}


def _finished(row: Sequence[Any]) -> Finished:
    stamp = None if row[7] is None else Stamp(*row[7:10])
    width, height, seconds, notes = row[3:7]
    return Finished(Entry(stored_source(*row[:3]), width, height, seconds, notes, stamp), *row[10:])

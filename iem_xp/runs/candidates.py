"""The masks of every initial square, kept so that one square can be chosen for the whole data set."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

from iem_xp.contents import Stamp
from iem_xp.runs.database import NO_STAMP, Database, stored_path, stored_source, stored_text
from iem_xp.runs.records import Candidate, Entry, from_bits, to_bits

_BATCH = 256
_COLUMNS = (
    "id, entries.path, entries.mask, entries.width, entries.height, entries.seconds, entries.notes,"
    " entries.file_size, entries.file_modified, entries.digest, working_width, working_height, side,"
    " candidates.mask, candidates.inpainting_error, candidates.updates"
)
_WRITTEN = (
    "LEFT JOIN images ON images.path = entries.path AND images.status = 'done'"
    " AND images.init_side = ifnull(:side, images.init_side)"
)


class Candidates:
    """Images with the masks of every initial square, in the database of a run: `Run.candidates`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, entry: Entry, candidates: Sequence[Candidate]) -> None:
        """Keep an image's candidates, one for each initial square; they replace a failure."""
        path = stored_path(entry.source.path)
        ((working_height, working_width),) = {candidate.mask.shape for candidate in candidates}
        with self._database.transaction():
            self._database.execute("DELETE FROM images WHERE path = ? AND status = 'failed'", (path,))
            self._database.execute("DELETE FROM entries WHERE path = ?", (path,))
            image = self._database.execute(
                "INSERT INTO entries (path, mask, width, height, working_width, working_height, seconds,"
                " notes, file_size, file_modified, digest) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    path,
                    stored_path(entry.source.mask),
                    entry.width,
                    entry.height,
                    working_width,
                    working_height,
                    entry.seconds,
                    stored_text(entry.notes),
                    *(entry.stamp or NO_STAMP),
                ),
            ).lastrowid
            for side, mask, error, updates, *_ in candidates:  # NumPy's numbers would be stored as BLOBs
                self._database.execute(
                    "INSERT INTO candidates (entry, side, inpainting_error, updates, mask)"
                    " VALUES (?, ?, ?, ?, ?)",
                    (image, int(side), float(error), int(updates), zlib.compress(to_bits(mask))),
                )

    def choose_side(self, sides: Sequence[int]) -> int | None:
        """Choose the initial square of highest mean inpainting error over all images.

        Parameters
        ----------
        sides : sequence of int
            Sides of the initial squares; the earlier one wins a tie.

        Returns
        -------
        int or None
            The side, also kept as ``init_side`` of the run's facts; None if there is no image.
        """
        with self._database.transaction():
            means = dict(
                self._database.execute(
                    "SELECT side, AVG(inpainting_error) FROM candidates GROUP BY side"
                ).fetchall()
            )
            if not means:
                return None
            chosen = max(sides, key=means.__getitem__)
            self._database.set_meta("init_side", chosen)
        return chosen

    def count_unwritten(self, side: int | None) -> int:
        """Count the images that have no mask yet, or that of another square; with None, those without one."""
        query = f"SELECT COUNT(*) FROM entries {_WRITTEN} WHERE images.path IS NULL"
        count: int = self._database.execute(query, {"side": side}).fetchone()[0]
        return count

    def withdraw(self, side: int) -> int:
        """Take back that images are done which have the mask of another square, and count them.

        Otherwise a row might be of another mask than is there, if the session ends between the two.
        """
        with self._database.lasting_transaction():
            return self._database.execute(
                "DELETE FROM images WHERE status = 'done' AND init_side <> ?"
                " AND path IN (SELECT path FROM entries)",
                (side,),
            ).rowcount

    def unwritten(self, side: int) -> Iterator[tuple[Entry, Candidate]]:
        """Iterate over the images of `count_unwritten`, each with its candidate of that side.

        Images may be recorded as done or failed meanwhile.
        """
        query = (
            f"SELECT {_COLUMNS} FROM entries JOIN candidates ON entry = id AND side = :side {_WRITTEN}"
            " WHERE images.path IS NULL AND id > :last ORDER BY id LIMIT :batch"
        )
        values = {"side": side, "last": 0, "batch": _BATCH}
        while rows := self._database.execute(query, values).fetchall():
            values["last"] = rows[-1][0]
            yield from map(_from_row, rows)

    def unwritten_of(self, path: Path, side: int) -> tuple[Entry, Candidate] | None:
        """Return an image with its candidate of that side, if `unwritten` would yield it."""
        query = (
            f"SELECT {_COLUMNS} FROM entries JOIN candidates ON entry = id AND side = :side {_WRITTEN}"
            " WHERE images.path IS NULL AND entries.path = :path"
        )
        row = self._database.execute(query, {"side": side, "path": stored_path(path)}).fetchone()
        return None if row is None else _from_row(row)

    def count(self) -> int:
        """Count the images that have candidates."""
        count: int = self._database.execute("SELECT COUNT(*) FROM entries").fetchone()[0]
        return count

    def all(self) -> Iterator[tuple[Entry, list[Candidate]]]:
        """Iterate over the images that have candidates, with these by side; rows may be written meanwhile."""
        query = (
            f"SELECT {_COLUMNS}"
            f" FROM (SELECT * FROM entries WHERE id > ? ORDER BY id LIMIT {_BATCH}) AS entries"
            " JOIN candidates ON entry = id ORDER BY id, side"
        )
        last = 0
        while rows := self._database.execute(query, (last,)).fetchall():
            last = rows[-1][0]
            for _, of in groupby(rows, itemgetter(0)):
                found = list(map(_from_row, of))
                yield found[0][0], [candidate for _, candidate in found]

    def of(self, path: Path) -> tuple[Entry, list[Candidate]] | None:
        """Return what is kept of an image: its candidates, by side; None if there are none."""
        query = (
            f"SELECT {_COLUMNS} FROM entries JOIN candidates ON entry = id"
            " WHERE entries.path = ? ORDER BY side"
        )
        found = list(map(_from_row, self._database.execute(query, (stored_path(path),))))
        return (found[0][0], [candidate for _, candidate in found]) if found else None


def _from_row(row: Sequence[Any]) -> tuple[Entry, Candidate]:
    """An image and one candidate, of a row of `_COLUMNS`."""
    _, path, name, width, height, seconds, notes = row[:7]
    working_width, working_height, side, packed, error, updates = row[10:]
    source = stored_source(path, name)
    stamp = None if row[7] is None else Stamp(*row[7:10])
    mask = from_bits(zlib.decompress(packed), working_height, working_width)
    return Entry(source, width, height, seconds, notes, stamp), Candidate(side, mask, error, updates)

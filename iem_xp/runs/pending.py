"""Images that wait for one initial square to be chosen for the whole data set."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from iem_xp.images import Mask
from iem_xp.runs.database import Database, stored_path, stored_text
from iem_xp.runs.records import Candidate, Entry
from iem_xp.runs.sources import Source

_BATCH = 256


class PendingImages:
    """The waiting images of a run, in its database: `Run.pending`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def __len__(self) -> int:
        count: int = self._database.execute("SELECT COUNT(*) FROM pending").fetchone()[0]
        return count

    def add(self, entry: Entry, candidates: Sequence[Candidate]) -> None:
        """Keep an image's candidates, one for each square, until the choice; they replace a failure."""
        source = entry.source
        path = stored_path(source.path)
        ((working_height, working_width),) = {candidate.mask.shape for candidate in candidates}
        with self._database.transaction():
            self._database.execute("DELETE FROM images WHERE path = ? AND status = 'failed'", (path,))
            self._database.execute("DELETE FROM pending WHERE path = ?", (path,))
            image = self._database.execute(
                "INSERT INTO pending (path, mask, width, height, working_width, working_height, seconds,"
                " notes) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    path,
                    stored_path(source.mask),
                    entry.width,
                    entry.height,
                    working_width,
                    working_height,
                    entry.seconds,
                    stored_text(entry.notes),
                ),
            ).lastrowid
            for side, mask, error, updates in candidates:  # NumPy's numbers would be stored as BLOBs
                self._database.execute(
                    "INSERT INTO candidates (pending, side, inpainting_error, updates, mask)"
                    " VALUES (?, ?, ?, ?, ?)",
                    (image, int(side), float(error), int(updates), _packed(mask)),
                )
        self._database.claims.pop(source.mask, None)

    def choose_side(self, sides: Sequence[int]) -> int | None:
        """Choose the initial square of highest mean inpainting error, once for the whole run.

        The choice is kept: images that come later, after an interruption or in a folder that has grown, get
        the same square.

        Parameters
        ----------
        sides : sequence of int
            Sides of the initial squares; the earlier one wins a tie.

        Returns
        -------
        int or None
            The side, None if nothing was chosen before and no image waits.
        """
        with self._database.transaction():
            chosen: int | None = self._database.get_meta("init_side")
            if chosen is None:
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

    def with_side(self, side: int) -> Iterator[tuple[Entry, Candidate]]:
        """Iterate over the images, each with its candidate of one side.

        Images may be recorded as done or failed meanwhile.
        """
        last = 0
        while rows := self._database.execute(
            "SELECT id, path, pending.mask, width, height, working_width, working_height, seconds, notes,"
            " candidates.mask, inpainting_error, updates"
            " FROM pending JOIN candidates ON candidates.pending = pending.id AND side = ?"
            " WHERE id > ? ORDER BY id LIMIT ?",
            (side, last, _BATCH),
        ).fetchall():
            last = rows[-1][0]
            for _, path, name, width, height, *working, seconds, notes, packed, error, updates in rows:
                source = Source(Path(os.fsdecode(path)), os.fsdecode(name))
                candidate = Candidate(side, _unpacked(packed, *working), error, updates)
                yield Entry(source, width, height, seconds, notes), candidate


def _packed(mask: Mask) -> bytes:
    return zlib.compress(np.packbits(mask).tobytes())


def _unpacked(packed: bytes, width: int, height: int) -> Mask:
    bits = np.frombuffer(zlib.decompress(packed), np.uint8)
    return np.unpackbits(bits, count=height * width).view(np.bool_).reshape(height, width)

"""Images that wait for one initial square to be chosen for the whole data set."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from iem_xp.runs.database import Database, stored_path, stored_text
from iem_xp.runs.sources import Source

_BATCH = 256


class Candidate(NamedTuple):
    """What the search made of one initial square.

    Attributes
    ----------
    side : int
        Side of the square, as in `IEMConfig.init_sides`.
    mask : ndarray of bool, (height, width)
        The mask at working size.
    inpainting_error : float
        Inpainting error of `mask`.
    updates : int
        Updates computed.
    """

    side: int
    mask: NDArray[np.bool_]
    inpainting_error: float
    updates: int


class PendingImage(NamedTuple):
    """An image with the candidate of the chosen square; the other fields are those of `PendingImages.add`."""

    source: Source
    candidate: Candidate
    width: int
    height: int
    seconds: float
    notes: str | None


class PendingImages:
    """The waiting images of a run, in its database: `Run.pending`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def __len__(self) -> int:
        count: int = self._database.execute("SELECT COUNT(*) FROM pending").fetchone()[0]
        return count

    def add(
        self,
        source: Source,
        candidates: Sequence[Candidate],
        *,
        width: int,
        height: int,
        seconds: float,
        notes: str | None = None,
    ) -> None:
        """Keep an image's candidates until the choice; they replace a failure.

        Parameters
        ----------
        source : Source
            The image.
        candidates : sequence of Candidate
            One for each initial square, masks of one shape.
        width, height : int
            Size of the image itself, in pixels.
        seconds : float
            Time spent on the image so far.
        notes : str, optional
            What the user should know of this image.
        """
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
                    int(width),
                    int(height),
                    working_width,
                    working_height,
                    float(seconds),
                    stored_text(notes),
                ),
            ).lastrowid
            for side, mask, error, updates in candidates:
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

    def with_side(self, side: int) -> Iterator[PendingImage]:
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
                mask = _unpacked(packed, *working)
                yield PendingImage(
                    Source(Path(os.fsdecode(path)), os.fsdecode(name)),
                    Candidate(side, mask, error, updates),
                    width,
                    height,
                    seconds,
                    notes,
                )


def _packed(mask: NDArray[np.bool_]) -> bytes:
    return zlib.compress(np.packbits(mask).tobytes())


def _unpacked(packed: bytes, width: int, height: int) -> NDArray[np.bool_]:
    bits = np.frombuffer(zlib.decompress(packed), np.uint8)
    return np.unpackbits(bits, count=height * width).view(np.bool_).reshape(height, width)

"""Whether a data set is all there: what is missing of it, and where to get that."""

from __future__ import annotations

import glob
import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from iem_xp.datasets.examples import DatasetError

MISSING_SHARE = 0.1
"""Share of a data set's files beyond which it counts as not unpacked; fewer fail alone, when read."""

_LEVELS = 4
"""Folders upwards in which an archive is looked for, from the file that should have come out of it."""


@dataclass(frozen=True)
class Origin:
    """Where a part of a data set comes from.

    Attributes
    ----------
    archive : str
        Name of the file in which it is published.
    page : str
        Address where that is to be had.
    """

    archive: str
    page: str

    def check(self, part: Path) -> Path:
        """Return a file or folder; a DatasetError says what to do if it is not there."""
        if os.path.exists(part):
            return part
        near = _find_near(part)
        if near is not None:
            raise DatasetError(
                f"{part} is not there, but {near} is; give the folder that holds it as the root"
            )
        absent = part
        while not os.path.exists(absent.parent):
            absent = absent.parent
        raise DatasetError(f"{absent} is not there; {self._remedy(part)}")

    def check_files(self, files: Sequence[Path]) -> None:
        """Raise a DatasetError if more than a tenth of the files, at least one, is missing."""
        check_share(missing_files(files), len(files), "files", self._remedy(files[0]))

    def packed(self, part: Path) -> Path | None:
        """Return the archive, if it lies near a part that should have come out of it."""
        near = islice(part.absolute().parents, _LEVELS)
        return next((folder / self.archive for folder in near if (folder / self.archive).is_file()), None)

    def _remedy(self, part: Path) -> str:
        archive = self.packed(part)
        return f"{archive} is there: unpack it" if archive else f"get {self.archive} from {self.page}"


def _find_near(part: Path) -> Path | None:
    """A part of that name one folder higher or lower, as where another root was meant."""
    folder = part.absolute().parent
    higher = folder.parent / part.name
    lower = sorted(folder.glob(f"*/{glob.escape(part.name)}"))
    return higher if higher.exists() else lower[0] if lower else None


def check_share(missing: Sequence[object], total: int, what: str, remedy: str) -> None:
    """Raise a DatasetError if more than a tenth of what a data set lists is missing."""
    if len(missing) > MISSING_SHARE * total:
        raise DatasetError(
            f"{len(missing):,} of {total:,} {what} are missing, the first is {missing[0]}; {remedy}"
        )


def check_split(split: str, splits: Collection[str]) -> None:
    """Raise a DatasetError if a data set has no such split."""
    if split not in splits:
        raise DatasetError(f"there is no split {split!r}; there are {', '.join(splits)}")


def missing_files(files: Sequence[Path]) -> list[Path]:
    """Files that are not there, in the given order; each folder is listed once, which is quick for many."""
    there = {folder: _names(folder) for folder in {file.parent for file in files}}
    return [file for file in files if file.name not in there[file.parent]]


def _names(folder: Path) -> frozenset[str]:
    try:
        return frozenset(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return frozenset()
    except OSError as error:
        raise DatasetError(f"{folder}: {error.strerror}") from error

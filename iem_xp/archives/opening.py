"""Archives by their names, and files by paths that lead into them."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import NamedTuple

from iem_xp.archives import lmdb, parquet, tar
from iem_xp.archives.base import Archive

_TARS = (".tar", ".tgz", ".tbz2", ".txz", ".tar.gz", ".tar.bz2", ".tar.xz")
_PARQUET = ".parquet"

SUFFIXES = (*_TARS, _PARQUET)
"""Lower-case suffixes of archives; LMDB is a folder with a file `data.mdb`."""

OPEN = 16
"""Archives kept open: where their members lie is known then."""

_opening = Lock()


class Member(NamedTuple):
    """A file in an archive: the archive's path, and the member's name."""

    archive: Path
    name: str


def is_archive(path: str | os.PathLike[str]) -> bool:
    """Whether a path has the name of an archive."""
    name = os.path.basename(path).lower()
    return name == lmdb.FILE or name.endswith(SUFFIXES)


def find_member(path: str | os.PathLike[str]) -> Member | None:
    """Return what a path such as ``shards/00000.tar/a/b.jpg`` leads to; None if to no archive."""
    archive = find_archive(os.path.dirname(path))
    return None if archive is None else Member(Path(archive), os.fspath(path)[len(archive) + 1 :])


def find_archive(folder: str) -> str | None:
    """Return the archive that a folder is, or is in; None if it is a folder of the file system."""
    while not (is_archive(folder) and os.path.isfile(folder)):
        folder, part = os.path.split(folder)
        if not part:
            return None
    return folder


def open_archive(path: Path) -> Archive:
    """Open an archive, or return it as it has been opened, unless it has changed since.

    Raises
    ------
    ArchiveError
        If it cannot be read, or the package that reads it is not installed.
    OSError
        If there is no such file.
    """
    status = path.stat()
    with _opening:  # one that is large is not looked through twice at once
        return _open(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=OPEN)
def _open(path: Path, size: int, modified: int) -> Archive:
    if path.name.lower() == lmdb.FILE:
        return lmdb.Lmdb(path)
    if path.name.lower().endswith(_PARQUET):
        return parquet.Parquet(path)
    return tar.Tar(path)

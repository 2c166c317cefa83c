"""LMDB environments of images, as LSUN is distributed: keys, and the contents of image files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from threading import Lock
from typing import Any
from urllib.parse import quote_from_bytes, unquote_to_bytes

from iem_xp.archives.base import ArchiveError, too_large

FILE = "data.mdb"

_PAGE = 10_000
"""Keys read at a time, in between which others may read."""

_one_at_a_time = Lock()
"""LMDB opens an environment once at a time in a process. It takes 50 microseconds, so none is kept open."""


class Lmdb:
    """An LMDB environment, as an `Archive`: opened to read, never locked or written to.

    A member's name is its key: bytes other than ASCII letters, digits and ``_.-~`` are written as in a URL,
    as ``%2F``, and so is a leading dot.

    Parameters
    ----------
    path : Path
        Its file, `data.mdb`.

    Raises
    ------
    ArchiveError
        If it cannot be read, or `lmdb` is not installed.
    """

    has_suffixes = False
    damage: str | None = None

    def __init__(self, path: Path) -> None:
        self._path = path
        with transaction(path) as read:
            self._length: int = read.stat()["entries"]

    def __len__(self) -> int:
        return self._length

    def names(self) -> Iterator[str]:
        """Iterate over the names of all keys, in their order."""
        last = b""
        while keys := self._page(last):
            yield from map(name_of, keys)
            last = keys[-1]

    def _page(self, last: bytes) -> list[bytes]:
        with transaction(self._path) as read:
            cursor = read.cursor()
            if not (cursor.set_range(last) if last else cursor.first()):
                return []
            skipped = bool(last) and cursor.key() == last
            return list(islice(cursor.iternext(values=False), skipped, skipped + _PAGE))

    def read(self, name: str) -> bytes:
        """Return the contents of a key."""
        with transaction(self._path, buffers=True) as read:
            contents = read.get(unquote_to_bytes(name))
            if contents is None:
                raise ArchiveError("not in this database")
            if objection := too_large(len(contents)):
                raise ArchiveError(objection)
            return bytes(contents)


def name_of(key: bytes) -> str:
    """Name of a key: see `Lmdb`."""
    name = quote_from_bytes(key, safe="")
    return "%2E" + name[1:] if name.startswith(".") else name


@contextmanager
def transaction(path: Path, *, buffers: bool = False) -> Iterator[Any]:
    """Open a transaction that reads an environment, by its `data.mdb`; with `buffers`, without copies.

    Raises
    ------
    ArchiveError
        If it cannot be read, or `lmdb` is not installed.
    """
    try:
        import lmdb
    except ImportError as error:
        raise ArchiveError("LMDB is read with lmdb: pip install 'iem-xp[lmdb]'") from error
    try:
        with (
            _one_at_a_time,
            lmdb.open(str(path.parent), readonly=True, lock=False, readahead=False) as environment,
            environment.begin(buffers=buffers) as opened,  # type: ignore[call-overload]
        ):
            # The file is mapped into memory: to read beyond its end would kill the process.
            if path.stat().st_size < (environment.info()["last_pgno"] + 1) * environment.stat()["psize"]:
                raise ArchiveError("is truncated")
            yield opened
    except (lmdb.Error, OSError) as error:
        raise ArchiveError(f"cannot be read: {error}") from error

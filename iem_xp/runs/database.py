"""The SQLite file of a run: its tables, transactions and how values are stored."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from iem_xp.files import sync_folder
from iem_xp.runs.naming import Source

FORMAT_VERSION = 3
UNFINISHED = ".new"
"""Suffix of the file while its tables are made."""

NO_STAMP = (None, None, None)
"""The columns of a stamp that is not known."""

# `entries` and `candidates` hold the images of a run whose initial square is chosen for all of them. They
# stay when the masks are written: images that come later may change the choice.
_SCHEMA = """
CREATE TABLE meta (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
);
CREATE TABLE images (
    path TEXT PRIMARY KEY,
    status TEXT NOT NULL CHECK (status IN ('done', 'failed')),
    error TEXT,
    width INTEGER,
    height INTEGER,
    mask TEXT UNIQUE,
    shard TEXT,
    init_side INTEGER,
    inpainting_error REAL,
    updates INTEGER,
    information REAL,
    foreground_share REAL,
    seconds REAL,
    notes TEXT,
    file_size INTEGER,
    file_modified INTEGER,
    digest BLOB
);
CREATE TABLE entries (
    id INTEGER PRIMARY KEY,
    path TEXT NOT NULL UNIQUE,
    mask TEXT NOT NULL UNIQUE,
    width INTEGER NOT NULL,
    height INTEGER NOT NULL,
    working_width INTEGER NOT NULL,
    working_height INTEGER NOT NULL,
    seconds REAL NOT NULL,
    notes TEXT,
    file_size INTEGER,
    file_modified INTEGER,
    digest BLOB
);
CREATE TABLE candidates (
    entry INTEGER NOT NULL REFERENCES entries (id) ON DELETE CASCADE,
    side INTEGER NOT NULL,
    inpainting_error REAL NOT NULL,
    updates INTEGER NOT NULL,
    mask BLOB NOT NULL,
    PRIMARY KEY (entry, side)
)
"""


class RunError(ValueError):
    """A folder cannot serve as the run asked for."""


class Database:
    """The SQLite file of a run, open; made by `create` or `open`.

    Parameters
    ----------
    file : Path
    mode : {"rwc", "ro", "ro&immutable=1"}
        How SQLite opens it: to write, to read, or to read what nobody can write.
    """

    def __init__(self, file: Path, mode: str = "rwc") -> None:
        try:
            self._connection = sqlite3.connect(
                f"{file.absolute().as_uri()}?mode={mode}", timeout=30, isolation_level=None, uri=True
            )
        except sqlite3.Error as error:
            raise RunError(f"{file}: {error}; check its permissions") from error

    @classmethod
    def create(cls, file: Path, meta: Mapping[str, Any]) -> Self:
        """Make the tables in a new file, and keep facts about the run; the file is complete or not there."""
        unfinished = file.with_name(file.name + UNFINISHED)
        unfinished.unlink(missing_ok=True)
        database = cls(unfinished)
        try:
            with database.transaction():
                for statement in _SCHEMA.split(";"):
                    database.execute(statement)
                for key, value in {**meta, "format_version": FORMAT_VERSION}.items():
                    database.set_meta(key, value)
        finally:
            database.close()
        unfinished.replace(file)
        sync_folder(file.parent)
        return cls.open(file)

    @classmethod
    def open(cls, file: Path, *, to_write: bool = True) -> Self:
        """Open a file that exists.

        Raises
        ------
        RunError
            If it is not a run's, or a newer version's.
        """
        # Beside a file in write-ahead logging SQLite makes others, also to read it, unless it is told that
        # nobody writes, when it does not look at the log either.
        log = file.with_name(f"{file.name}-wal")
        frozen = not os.access(file.parent, os.W_OK) and not (log.exists() and log.stat().st_size)
        database = cls(file, "rwc" if to_write else "ro&immutable=1" if frozen else "ro")
        try:
            if to_write:
                database._prepare()
            version = database.get_meta("format_version")
            if version != FORMAT_VERSION:
                older = isinstance(version, int) and version < FORMAT_VERSION
                remedy = "make it anew" if older else "upgrade with: pip install -U iem-xp"
                raise RunError(f"{file}: has format {version}, this iem-xp has {FORMAT_VERSION}; {remedy}")
        except BaseException as error:
            database.close()
            if isinstance(error, sqlite3.DatabaseError) and not _is_of_disk(error):
                remedy = "unless another program holds it, start anew with --overwrite"
                if not os.access(file, os.W_OK):
                    remedy = "check its permissions, or use another -o"
                if not to_write and log.exists():
                    remedy = f"its last changes are in {log.name}: read it where it can be written to"
                raise RunError(f"{file}: cannot be read as a run: {error}; {remedy}") from error
            raise
        return database

    def _prepare(self) -> None:
        # Readers, such as a report on a run in progress, do not wait for the writer, nor it for them.
        self.execute("PRAGMA journal_mode = WAL")
        self.execute("PRAGMA foreign_keys = ON")
        # A power cut may cost the last transactions, never the file: their images are then done again,
        # which is cheaper than a wait for the disk at every batch.
        self.execute("PRAGMA synchronous = NORMAL")

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def execute(self, statement: str, values: Sequence[Any] | Mapping[str, Any] = ()) -> sqlite3.Cursor:
        """Execute a statement with bound values."""
        return self._connection.execute(statement, values)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Write all that the ``with`` block writes, or nothing if it raises; within another, join it."""
        if self._connection.in_transaction:
            yield
            return
        try:
            self.execute("BEGIN IMMEDIATE")
            yield
            self.execute("COMMIT")
        except BaseException:
            # A full disk, for one, has SQLite roll back by itself.
            if self._connection.in_transaction:
                self.execute("ROLLBACK")
            raise

    @contextmanager
    def lasting_transaction(self) -> Iterator[None]:
        """As `transaction`, not within another, and what is written outlasts a power cut."""
        self.execute("PRAGMA synchronous = FULL")
        try:
            with self.transaction():
                yield
        finally:
            self.execute("PRAGMA synchronous = NORMAL")

    def get_meta(self, key: str) -> Any:
        """Return the JSON value kept under a key, or None."""
        row = self.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return None if row is None else json.loads(row[0])

    def set_meta(self, key: str, value: Any) -> None:
        """Keep a JSON value under a key."""
        self.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, json.dumps(value)))


def _is_of_disk(error: sqlite3.Error) -> bool:
    """Whether a disk is full or fails, for which the run is not to blame."""
    code = getattr(error, "sqlite_errorcode", 0)  # the module's own errors have none
    return code & 0xFF in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)


def stored_path(path: str | os.PathLike[str]) -> str | bytes:
    """Return a path as SQLite can hold it: as it is, or its bytes if the file name is not valid Unicode.

    `os.fsdecode` gives the path back from either.
    """
    text = os.fspath(path)
    try:
        text.encode()
    except UnicodeEncodeError:
        return os.fsencode(text)
    return text


def stored_source(path: str | bytes, mask: str | bytes, shard: str | None = None) -> Source:
    """Return the source that has been stored.

    Raises
    ------
    RunError
        If its mask would not be in the run.
    """
    name = os.fsdecode(mask)
    for part in (name, shard or ""):
        if part.startswith("/") or ".." in part.split("/"):
            raise RunError(f"{part!r} is no name of a mask; the run.sqlite it is from was not made by iem-xp")
    return Source(Path(os.fsdecode(path)), name, shard or "")


def stored_text(text: str | None) -> str | None:
    """Return a message as SQLite can hold it, with what is not valid Unicode escaped."""
    return None if text is None else text.encode(errors="backslashreplace").decode()

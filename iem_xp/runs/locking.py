"""One process at a time works on a run."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from filelock import BaseFileLock, FileLock, Timeout

from iem_xp.runs.database import Database, RunError

FILE = "run.lock"


def lock(folder: Path, database: str) -> BaseFileLock:
    """Lock the folder of a run, until the lock is released or the process ends, in whatever way.

    Where a file system has no locks that end with their process, a file stands for one; that of a process of
    this machine that has died is recognised.

    Raises
    ------
    RunError
        If another process has locked it.
    """
    held: BaseFileLock = FileLock(folder / FILE, thread_local=False)
    try:
        held.acquire(blocking=False)
    except Timeout as error:
        raise RunError(
            f"{folder}: another process works on this run{_holder(folder / database)}; let it finish, or "
            "stop it; the same command continues then"
        ) from error
    except OSError as error:
        raise RunError(f"{folder}: cannot be written to: {error.strerror}; use another -o") from error
    return held


def sign(database: Database) -> None:
    """Keep in a locked run who works on it."""
    database.set_meta("holder", {"process": os.getpid(), "host": socket.gethostname()})


def _holder(file: Path) -> str:
    if not file.is_file():
        return ""
    try:
        database = Database.open(file, to_write=False)
    except RunError:
        return ""
    try:
        holder = database.get_meta("holder")
    finally:
        database.close()
    return f" (process {holder['process']} on {holder['host']})" if holder else ""

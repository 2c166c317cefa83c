"""One process at a time works on a run."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout

from iem_xp.runs.database import RunError

LOCK = "run.lock"


class RunLock:
    """The lock of a run's folder: held until it is released, or the process ends in whatever way.

    Where a file system has no locks that end with their process, a file stands for one; that of a process of
    this machine that has died is recognised.

    Parameters
    ----------
    folder : Path
        A folder that exists.

    Raises
    ------
    RunError
        If another process holds it, or the folder cannot be written to.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / LOCK
        self._held: BaseFileLock = FileLock(self._file, thread_local=False)
        try:
            self._held.acquire(blocking=False)
        except Timeout as error:
            raise RunError(
                f"{folder}: another process works on this run{self._holder()}; let it finish, or stop it; "
                "the same command continues then"
            ) from error
        except OSError as error:
            raise RunError(f"{folder}: cannot be written to: {error.strerror}; use another -o") from error
        self._sign(f"process {os.getpid()} on {socket.gethostname()}")

    def release(self) -> None:
        """Let others work on the run."""
        self._sign("")
        self._held.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def _sign(self, text: str) -> None:
        if not isinstance(self._held, SoftFileLock):  # whose file is signed already
            with suppress(OSError):
                self._file.write_text(text)

    def _holder(self) -> str:
        try:
            text = self._file.read_text()
        except (OSError, UnicodeDecodeError):
            return ""
        return f" ({' '.join(text.split())})" if text else ""

"""Files that are there complete or not at all."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory


def remove(path: Path) -> None:
    """Remove a file, a link or a folder with all that is in it; nothing if there is none."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def make_folder(folder: Path) -> None:
    """Make a folder and those that it is in, unless they are there; they outlast a power cut."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    try:
        folder.mkdir(exist_ok=True)  # another thread may have been there first
    except FileExistsError:
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder)) from None
    sync_folder(folder.parent)


@contextmanager
def replacing(path: str | os.PathLike[str], partial: Path | None = None) -> Iterator[Path]:
    """Give the ``with`` block a temporary file to write, which becomes `path` at its end.

    Folders are made, and what was at `path` is replaced. If the block raises, nothing is left behind. At the
    end, the file is on the disk: it outlasts a power cut.

    Parameters
    ----------
    path : path
    partial : Path, optional
        Folder for the temporary file, on the file system of `path`; by default that of `path`, hidden.
    """
    path = Path(path)
    make_folder(path.parent)
    if partial is not None:
        partial.mkdir(exist_ok=True)
    # A rename is atomic only within a file system. Opened as any other file, since those of `tempfile` are
    # closed to everyone else.
    temporary = (partial or path.parent) / f".{secrets.token_hex(8)}.tmp"
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
        sync_folder(path.parent)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename == os.fspath(temporary):
            error.filename = os.fspath(path)  # nobody asked for the other one
        raise


def sync_folder(folder: Path) -> None:
    """Return when the names in a folder would outlast a power cut, where the system can tell."""
    with suppress(OSError):  # Windows opens no folder, and some network file systems synchronise none
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def placing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give the ``with`` block a name for a new file or folder, which is moved to `path` at its end.

    As `replacing`, for what may be a folder. The block may leave other files beside that name: they are
    deleted. A folder that was at `path` is gone only when the new one is complete.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".", suffix=".tmp", dir=path.parent) as folder:
        new = Path(folder, "new")
        yield new
        old = Path(folder, "old")
        if path.is_dir() or (new.is_dir() and path.exists()):
            os.rename(path, old)  # a folder can neither replace nor be replaced
        try:
            os.replace(new, path)
        except BaseException:
            if old.exists() and not path.exists():
                os.rename(old, path)
            raise

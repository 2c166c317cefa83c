"""Files that are there complete or not at all."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory


def remove(path: Path) -> None:
    """Remove a file, a link or a folder with all that is in it; nothing if there is none."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give the ``with`` block a temporary file to write, which becomes `path` at its end.

    Folders are made, and what was at `path` is replaced. If the block raises, nothing is left behind.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # In the same folder, since a rename is atomic only within a file system; opened as any other file,
    # since those of `tempfile` are closed to everyone else.
    temporary = path.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename == os.fspath(temporary):
            error.filename = os.fspath(path)  # nobody asked for the other one
        raise


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

"""Where the files of an image go: each into a file of its own, or many into one tar archive."""

from __future__ import annotations

import errno
import os
import tarfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from io import BytesIO
from pathlib import Path
from threading import Lock
from typing import IO, Literal, Protocol

from iem_xp.files import make_folder, sync_folder
from iem_xp.images import write_atomically
from iem_xp.runs.naming import Source
from iem_xp.runs.records import FOLDERS, Output
from iem_xp.runs.results import MASKS
from iem_xp.runs.store import Run

StoreOption = Literal["files", "shards"]

PER_SHARD = 10_000
"""Images whose masks one archive holds: 20 MB of masks of 500 x 375."""


def open_store(run: Run, option: StoreOption, outputs: Sequence[Output]) -> Store:
    """Open where the masks of a run go, and the pictures beside them."""
    if option == "files":
        return Files(run.folder, run.partial)
    return Shards(run.folder, [MASKS, *(FOLDERS[output] for output in outputs)], run.holds)


class Store(Protocol):
    """Takes the files of images, in any thread.

    Attributes
    ----------
    together : int
        Images that are best committed at once.
    """

    together: int

    def put(self, source: Source, made: Mapping[str, bytes]) -> Source:
        """Write the files of an image, by their folders; return the source with where they are."""

    def sync(self) -> None:
        """Return when all that was put would outlast a power cut: before the rows are committed."""

    def close(self) -> None:
        """Put nothing any more."""


class Files:
    """A file for each, as a `Store`: `<folder>/<name of the mask>`.

    Parameters
    ----------
    folder : Path
        The folder of the run.
    partial : Path
        Folder for what is being written, on the same file system.
    """

    together = 1

    def __init__(self, folder: Path, partial: Path) -> None:
        self._folder = folder
        self._partial = partial

    def put(self, source: Source, made: Mapping[str, bytes]) -> Source:
        """Write each file, complete or not at all."""
        for folder, data in made.items():
            write_atomically(self._folder / folder / source.mask, data, self._partial)
        return source

    def sync(self) -> None:
        """Do nothing: each file has been synchronised."""

    def close(self) -> None:
        """Do nothing."""


class Shards:
    """Numbered tar archives, as a `Store`: `<folder>/00012.tar` holds `PER_SHARD` images or fewer.

    What an image has in several folders lies in archives of the same number.

    Parameters
    ----------
    folder : Path
        The folder of the run.
    folders : sequence of str
        The folders below it that images have files in.
    is_known : callable
        Whether a row says that an archive, by its name, holds a mask, by its name. What the last archives
        hold beyond that, from a session that ended before it committed, is cut off.
    """

    together = 64

    def __init__(self, folder: Path, folders: Sequence[str], is_known: Callable[[str, str], bool]) -> None:
        self._folders = [folder / name for name in folders]
        self._is_known = is_known
        self._lock = Lock()
        self._files: list[IO[bytes]] = []
        self._tars: dict[str, tarfile.TarFile] = {}
        self._names: set[str] = set()
        self._broken = self._lost = False
        numbers = [int(path.stem) for path in self._folders[0].glob("[0-9]*.tar") if path.stem.isdecimal()]
        self._number = max(numbers, default=-1)
        if numbers:
            self._open()

    def put(self, source: Source, made: Mapping[str, bytes]) -> Source:
        """Append each file to the archive of its folder."""
        with self._lock:
            # A mask that is written anew goes to another archive, so that no archive has a name twice.
            if not self._tars or len(self._names) >= PER_SHARD or source.mask in self._names:
                self._close()
                self._number += 1
                self._open()
            if self._broken:
                raise OSError(errno.EIO, "an archive could not be written to", self._name)
            self._broken = True  # until all of it is written: nothing may follow half a member
            for folder, data in made.items():
                member = tarfile.TarInfo(source.mask)
                member.size = len(data)
                self._tars[folder].addfile(member, BytesIO(data))
            self._broken = False
            self._names.add(source.mask)
            return source._replace(shard=self._name)

    def sync(self) -> None:
        """Synchronise the archives that are open; an OSError if others were not when they were closed."""
        with self._lock:
            if self._lost:
                raise OSError(errno.EIO, "an archive could not be completed", self._name)
            _synchronise(self._files)

    def close(self) -> None:
        """Complete the archives."""
        with self._lock:
            self._close()

    @property
    def _name(self) -> str:
        return f"{self._number:05d}.tar"

    def _open(self) -> None:
        for folder in self._folders:
            make_folder(folder)
            path = folder / self._name
            names = self._cut(path)
            if folder == self._folders[0]:
                self._names = names
            file = path.open("ab")
            self._files.append(file)
            # As to a file of its own: mode "a" does not take one that is empty, and looks for its end.
            self._tars[folder.name] = tarfile.TarFile(fileobj=file, mode="w", format=tarfile.PAX_FORMAT)
            sync_folder(folder)

    def _cut(self, path: Path) -> set[str]:
        """Cut off what no row knows of; return the names of what is left."""
        if not path.exists():
            return set()
        met: list[str] = []
        kept = end = 0
        try:
            with tarfile.open(path, "r:") as tar:
                for member in tar:
                    met.append(member.name)
                    if self._is_known(self._name, member.name):
                        kept = len(met)  # with what no row knows of any more, but lies before it
                        end = member.offset_data + -(-member.size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
        except tarfile.TarError:
            pass  # the end of what was written
        os.truncate(path, end)
        return set(met[:kept])

    def _close(self) -> None:
        files, tars = self._files, self._tars
        self._files, self._tars, self._names = [], {}, set()
        self._lost, lost = True, self._lost  # until they are on the disk
        with ExitStack() as stack:
            for file in files:
                stack.callback(file.close)
            if not self._broken:
                for tar in tars.values():
                    tar.close()
                _synchronise(files)
        self._lost = lost


def _synchronise(files: Iterable[IO[bytes]]) -> None:
    for file in files:
        file.flush()
        os.fsync(file.fileno())

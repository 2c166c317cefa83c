"""Tar archives, such as the shards of WebDataset; compressed ones too."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import weakref
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Lock
from typing import IO, Any

from iem_xp.archives.base import ArchiveError, safe_name, too_large

_DECOMPRESS: dict[bytes, Callable[[Path], Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ": lzma.open,
}
_KEPT = 1 << 25
"""Bytes of a compressed archive that are kept, decompressed. To go back further is to start from its
beginning; threads that take members in turn do not."""

_Damage = (tarfile.TarError, EOFError, OSError, zlib.error, lzma.LZMAError)


class Tar:
    """A tar archive, as an `Archive`. Of members of one name the last counts, as for ``tar``.

    Nothing is unpacked: where each member lies is found out once, and its contents are read from there.

    Parameters
    ----------
    path : Path

    Raises
    ------
    ArchiveError
        If nothing of it can be read as a tar archive.
    """

    has_suffixes = True

    def __init__(self, path: Path) -> None:
        self.damage: str | None = None
        self._lock = Lock()
        self._places: dict[str, tuple[int, int]] = {}
        try:
            self._file = _opened(path)
            weakref.finalize(self, self._file.close)
            with tarfile.open(fileobj=self._file, mode="r:") as tar:
                self._index(tar)
        except _Damage as error:
            raise ArchiveError(f"cannot be read as a tar archive: {error}") from error

    def __len__(self) -> int:
        return len(self._places)

    def names(self) -> Iterator[str]:
        """Iterate over the names of the regular files."""
        return iter(self._places)

    def read(self, name: str) -> bytes:
        """Return the contents of a member."""
        if name not in self._places:
            raise ArchiveError("not in this archive")
        place, size = self._places[name]
        if objection := too_large(size):
            raise ArchiveError(objection)
        try:
            with self._lock:
                self._file.seek(place)
                data = self._file.read(size)
        except _Damage as error:
            raise ArchiveError(f"the archive is damaged: {error}") from error
        if len(data) < size:
            raise ArchiveError("the archive ends within this file")
        return data

    def _index(self, tar: tarfile.TarFile) -> None:
        try:
            while (member := tar.next()) is not None:
                tar.members.clear()  # type: ignore[attr-defined]  # each would be described
                if member.isreg() and member.sparse is None and (name := safe_name(member.name)):
                    self._places[name] = member.offset_data, member.size
            # `tarfile` takes a header that it cannot read for the end.
            self._file.seek(tar.offset)
            if self._file.read(tarfile.BLOCKSIZE).strip(b"\0"):
                self.damage = f"is damaged at byte {tar.offset:,}; the files before are read"
        except _Damage as error:
            self.damage = f"is damaged: {error}; the files before are read"


class _Decompressed(io.RawIOBase):
    """A compressed file that gives what there is of it before it fails."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return int(self._file.seek(offset, whence))

    def tell(self) -> int:
        return int(self._file.tell())

    def readinto(self, buffer: Any) -> int:
        filled, view = 0, memoryview(buffer)
        try:
            # All of it: what is in one buffer may be gone back in for nothing.
            while data := self._file.read1(len(view) - filled):
                view[filled : filled + len(data)] = data
                filled += len(data)
        except _Damage:
            if not filled:
                raise
        return filled

    def close(self) -> None:
        self._file.close()
        super().close()


def _opened(path: Path) -> IO[bytes]:
    """Open a file, decompressed."""
    with path.open("rb") as file:
        start = file.read(6)
    for magic, decompress in _DECOMPRESS.items():
        if start.startswith(magic):
            return io.BufferedReader(_Decompressed(decompress(path)), _KEPT)
    return path.open("rb", buffering=0)

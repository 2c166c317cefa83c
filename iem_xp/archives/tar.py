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

_HEADERS = 1 << 17
"""Bytes of the headers of one member: of names and attributes, which file systems limit to 64 KiB."""

_LINK = -1, -1
"""Place and size of a symbolic link, which has none."""

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
            headers = _Headers(self._file)
            with tarfile.open(fileobj=headers, mode="r:") as tar:  # type: ignore[call-overload]
                self._index(tar, headers)
        except Exception as error:  # see `_index`
            raise ArchiveError(f"cannot be read as a tar archive: {_cause(error)}") from error

    def __len__(self) -> int:
        return len(self._places)

    def names(self) -> Iterator[str]:
        """Iterate over the names of the files, and of links, of which a symbolic one cannot be read."""
        return iter(self._places)

    def read(self, name: str) -> bytes:
        """Return the contents of a member."""
        if name not in self._places:
            raise ArchiveError("not in this archive")
        place, size = self._places[name]
        if (place, size) == _LINK:
            raise ArchiveError("a symbolic link, which is not followed in an archive")
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

    def _index(self, tar: tarfile.TarFile, headers: _Headers) -> None:
        end = 0
        try:
            while (member := tar.next()) is not None:
                # Sizes may be negative, and lead in circles.
                if member.size < 0 or tar.offset <= end:
                    raise ArchiveError(f"a size at byte {member.offset:,} is impossible")
                end, headers.left = tar.offset, _HEADERS
                tar.members.clear()  # type: ignore[attr-defined]  # each would be described
                if not (name := safe_name(member.name)):
                    continue
                if member.isreg() and member.sparse is None:
                    self._places[name] = member.offset_data, member.size
                elif member.islnk() and (linked := self._places.get(safe_name(member.linkname))):
                    self._places[name] = linked  # the same file, once more
                elif member.issym():
                    self._places[name] = _LINK
            # `tarfile` takes a header that it cannot read for the end.
            self._file.seek(tar.offset)
            if self._file.read(tarfile.BLOCKSIZE).strip(b"\0"):
                self.damage = f"is damaged at byte {tar.offset:,}; the files before are read"
        except Exception as error:  # `tarfile` meets damaged headers with errors of every type
            self.damage = f"is damaged: {_cause(error)}; the files before are read"


class _Headers:
    """A tar archive as `tarfile` reads headers from it, which may say that they are longer than memory.

    Attributes
    ----------
    left : int
        Bytes that may be read before the next member.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self.left = _HEADERS
        self.seek, self.tell = file.seek, file.tell
        self._read = file.read

    def read(self, size: int) -> bytes:
        """Return so many bytes, or those that there are."""
        if not 0 <= size <= self.left:
            raise ArchiveError(f"the headers of a file have more than {_HEADERS:,} bytes, or fewer than none")
        self.left -= size
        return self._read(size)


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


def _cause(error: Exception) -> str:
    return str(error) or type(error).__name__


def _opened(path: Path) -> IO[bytes]:
    """Open a file, decompressed."""
    with path.open("rb") as file:
        start = file.read(6)
    for magic, decompress in _DECOMPRESS.items():
        if start.startswith(magic):
            return io.BufferedReader(_Decompressed(decompress(path)), _KEPT)
    return path.open("rb", buffering=0)

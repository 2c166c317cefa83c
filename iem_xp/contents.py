"""What is in the files of images, and whether it is still the same."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from iem_xp.archives.base import ArchiveError, too_large
from iem_xp.archives.opening import Member, find_archive, find_member, open_archive


class ContentsError(ValueError):
    """The contents of a file cannot be had; the message names the cause, not the file."""


class Stamp(NamedTuple):
    """By what contents are known again.

    Attributes
    ----------
    size : int
        Bytes of the file on disk: of the archive, if that is where the contents are.
    modified : int
        When that file was last modified, in nanoseconds since 1970.
    digest : bytes
        BLAKE2b of the contents, 16 bytes.
    """

    size: int
    modified: int
    digest: bytes


class Contents(NamedTuple):
    """The bytes of an image's file, and their stamp."""

    data: bytes
    stamp: Stamp


def read_contents(path: str | os.PathLike[str]) -> Contents:
    """Read a file, or a member of an archive, as `iem_xp.archives.opening.find_member` finds it.

    Raises
    ------
    ContentsError
        If it is missing, not a file, larger than `iem_xp.archives.base.LARGEST`, or cannot be read.
    """
    try:
        # A pipe, for one, would be waited for.
        if not Path(path).is_file() and Path(path).exists():
            raise ContentsError("not a file")
        with Path(path).open("rb") as file:
            status = os.fstat(file.fileno())
            if objection := too_large(status.st_size):
                raise ContentsError(objection)
            data = file.read()
    except OSError as error:
        if (member := find_member(path)) is None:
            raise ContentsError(error.strerror or str(error)) from error
        status, data = _read_member(member)
    return Contents(data, Stamp(status.st_size, status.st_mtime_ns, digest(data)))


def is_missing(path: str | os.PathLike[str]) -> bool:
    """Whether there is no such file, nor the archive that it is in."""
    return not os.path.exists(path) and find_member(path) is None


def _read_member(member: Member) -> tuple[os.stat_result, bytes]:
    try:
        status = member.archive.stat()
        return status, open_archive(member.archive).read(member.name)
    except ArchiveError as error:
        raise ContentsError(str(error)) from error
    except OSError as error:
        raise ContentsError(error.strerror or str(error)) from error


def digest(data: bytes) -> bytes:
    """Return the digest of a `Stamp`."""
    return hashlib.blake2b(data, digest_size=16).digest()


def find_changed(known: Iterable[tuple[str, Stamp]]) -> Iterator[str]:
    """Iterate over the paths whose contents are others than they were, by their stamps.

    What is gone, or cannot be read, has not changed. A file that was only touched, or copied, is read again
    to see.
    """
    archive_of = lru_cache(maxsize=64)(_archive_state)  # many are in one, and it is looked at once
    for path, stamp in known:
        state = archive_of(os.path.dirname(path)) or _state(path)
        if state is not None and state != stamp[:2]:
            with suppress(ContentsError):
                if read_contents(path).stamp.digest != stamp.digest:
                    yield path


def _archive_state(folder: str) -> tuple[int, int] | None:
    archive = find_archive(folder)
    return None if archive is None else _state(archive)


def _state(path: str) -> tuple[int, int] | None:
    """Size of a file, and when it was modified; None if it is not there."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns

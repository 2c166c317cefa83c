"""What every kind of archive offers."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from typing import Protocol

LARGEST = 1 << 31
"""Bytes of the largest file that is read, in an archive or not: 2 GiB."""

_LONGEST_NAME = 1000
_LONGEST_PART = 240
_SPECIAL = str.maketrans({character: f"%{ord(character):02X}" for character in "\\:\0"})


class ArchiveError(ValueError):
    """An archive, or a member of it, cannot be read; the message names the cause, not the file."""


class Archive(Protocol):
    """A file that holds others, its members; for use by several threads.

    Attributes
    ----------
    has_suffixes : bool
        Whether members are named as files are, so that their suffixes tell which are images.
    damage : str or None
        Why not all members can be named, once that is known.
    """

    has_suffixes: bool
    damage: str | None

    def __hash__(self) -> int:
        """An archive that is open is like no other, whatever it holds."""

    def __len__(self) -> int:
        """Return the number of members."""

    def names(self) -> Iterator[str]:
        """Iterate over the names of all members, in their order in the archive; each is a `safe_name`."""

    def read(self, name: str) -> bytes:
        """Return the contents of a member; an ArchiveError if it has none, or they cannot be read."""


def too_large(size: int) -> str | None:
    """Why a file of this size, in bytes, is not read; None if it is."""
    return f"has {size:,} bytes, more than an image of 2 GiB; shrink it" if size > LARGEST else None


def safe_name(name: str) -> str:
    """Return a member's name as that of a file below the archive, whatever the name is.

    It is parts with ``/`` between them, of which none is empty, ``.`` or ``..``; what has a meaning to some
    file system is written as in a URL. Too long a name is its SHA-256, with the suffix.
    """
    parts = [part for part in name.translate(_SPECIAL).split("/") if part not in ("", ".")]
    safe = "/".join("%2E%2E" if part == ".." else part for part in parts)
    longest = max(len(os.fsencode(part)) for part in ("", *parts[:-1]))
    if longest > _LONGEST_PART or len(os.fsencode(safe)) > _LONGEST_NAME:
        return hashlib.sha256(os.fsencode(name)).hexdigest() + os.path.splitext(safe)[1][:16]
    return safe

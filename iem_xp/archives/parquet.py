"""Parquet files with images in them, in the layout of the image feature of Hugging Face's `datasets`."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path
from threading import Lock
from typing import Any

from iem_xp.archives.base import ArchiveError


class Parquet:
    """A Parquet file, as an `Archive`: its rows, whose names are their numbers from 0, as ``000042``.

    The contents of images are in a column of structures ``{bytes, path}`` or of plain bytes; of several, that
    named `image`, or else the first. Paths are not looked at. The row group read last is kept in memory.

    Parameters
    ----------
    path : Path

    Raises
    ------
    ArchiveError
        If it cannot be read, has no such column, or `pyarrow` is not installed.
    """

    has_suffixes = False
    damage: str | None = None

    def __init__(self, path: Path) -> None:
        try:
            import pyarrow as pa
            from pyarrow import parquet
        except ImportError as error:
            raise ArchiveError("Parquet is read with pyarrow: pip install 'iem-xp[parquet]'") from error
        self._lock = Lock()
        self._error = pa.ArrowException
        self._group: tuple[int, Any] = (-1, None)
        try:
            self._file = parquet.ParquetFile(path)
        except (pa.ArrowException, OSError) as error:
            raise ArchiveError(f"cannot be read as Parquet: {error}") from error
        self._column = _column(self._file.schema_arrow)
        self._first: list[int] = [0]
        for group in range(self._file.num_row_groups):
            self._first.append(self._first[-1] + self._file.metadata.row_group(group).num_rows)
        self._digits = max(6, len(str(len(self))))

    def __len__(self) -> int:
        return self._first[-1]

    def names(self) -> Iterator[str]:
        """Iterate over the numbers of all rows."""
        return (f"{row:0{self._digits}}" for row in range(len(self)))

    def read(self, name: str) -> bytes:
        """Return the bytes of a row's image."""
        if not name.isdecimal() or int(name) >= len(self):
            raise ArchiveError("no row of this file")
        group = bisect_right(self._first, int(name)) - 1
        try:
            with self._lock:
                if self._group[0] != group:
                    self._group = group, self._file.read_row_group(group, columns=[self._column]).column(0)
                value = self._group[1][int(name) - self._first[group]].as_py()
        except (self._error, OSError) as error:
            raise ArchiveError(f"cannot be read as Parquet: {error}") from error
        data: bytes | None = value["bytes"] if isinstance(value, dict) else value
        if data is None:
            raise ArchiveError("this row has no bytes of an image")
        return data


def _column(schema: Any) -> str:
    """Name of the column that has the contents of images, or of the part of it that does."""
    from pyarrow import types

    def is_binary(kind: Any) -> bool:
        return types.is_binary(kind) or types.is_large_binary(kind)

    found = {}
    for field in schema:
        if is_binary(field.type):
            found[field.name] = field.name
        elif types.is_struct(field.type) and any(
            part.name == "bytes" and is_binary(part.type) for part in field.type
        ):
            found[field.name] = f"{field.name}.bytes"
    if not found:
        raise ArchiveError(f"no column has the bytes of images; there are {', '.join(schema.names)}")
    return found.get("image") or next(iter(found.values()))

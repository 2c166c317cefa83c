"""Parquet files with images in them, in the layout of the image feature of Hugging Face's `datasets`."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Iterator
from functools import lru_cache, partial
from pathlib import Path
from threading import Lock
from typing import Any

from iem_xp.archives.base import ArchiveError, too_large

_KEPT, _KEPT_ROWS = 1 << 25, 100
"""Bytes, and number, of the rows read last that are kept: threads do not take them quite in turn."""

_BUFFER = 1 << 20
"""Bytes of a file that are read at a time."""

_one_at_a_time = Lock()
"""Of all files one decodes, and keeps rows: images are read from one file after the other."""


class Parquet:
    """A Parquet file, as an `Archive`: its rows, whose names are their numbers from 0, as ``000042``.

    The contents of images are in a column of structures ``{bytes, path}`` or of plain bytes; of several, that
    named `image`, or else the first. Paths are not looked at. Rows are decoded one at a time: a row group of
    a kilobyte may have gigabytes.

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
        self._error = pa.ArrowException
        try:
            self._file = parquet.ParquetFile(path, buffer_size=_BUFFER, pre_buffer=False)
            self._column = _column(self._file.schema_arrow)
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:  # the last of a column's name
            raise ArchiveError(f"cannot be read as Parquet: {error}") from error
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
            with _one_at_a_time:
                row = _rows(self._file, group, self._column).read(int(name) - self._first[group])
            if objection := too_large(row.nbytes):
                raise ArchiveError(objection)
            value = row[0].as_py()
        except (self._error, OSError) as error:
            raise ArchiveError(f"cannot be read as Parquet: {error}") from error
        data: bytes | None = value["bytes"] if isinstance(value, dict) else value
        if data is None:
            raise ArchiveError("this row has no bytes of an image")
        return data


class _Rows:
    """Rows of a row group, decoded one after the other."""

    def __init__(self, file: Any, group: int, column: str) -> None:
        self._decode = partial(file.iter_batches, 1, [group], [column], use_threads=False)
        self._start()

    def _start(self) -> None:
        self._batches: Iterator[Any] = self._decode()
        self._kept: deque[Any] = deque()
        self._size = 0
        self._end = 0

    def read(self, number: int) -> Any:
        """Return a row as an array of one; those kept, and those that follow, are read the fastest."""
        if number < self._end - len(self._kept):
            self._start()
        while self._end <= number:
            batch = next(self._batches, None)
            if batch is None:
                raise ArchiveError("cannot be read as Parquet: its row group ends before this row")
            self._kept.append(batch.column(0))
            self._size += self._kept[-1].nbytes
            self._end += 1
            while len(self._kept) > (_KEPT_ROWS if self._size <= _KEPT else 1):
                self._size -= self._kept.popleft().nbytes
        return self._kept[number - self._end]


_rows = lru_cache(maxsize=1)(_Rows)


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

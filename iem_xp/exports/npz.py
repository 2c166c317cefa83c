"""Masks as NumPy's arrays in one compressed file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import numpy as np
from numpy.lib.format import write_array
from numpy.typing import NDArray

from iem_xp.exports.reading import Item, name_of
from iem_xp.files import replacing
from iem_xp.runs.database import stored_text
from iem_xp.runs.results import Results

_LEVEL = 4
"""Of zlib, as for masks in PNG."""


class _Made(NamedTuple):
    row: tuple[Any, ...]
    data: bytes


_ROW = ("mask", "path", "width", "height", "inpainting_error", "information", "foreground_share")
"""Arrays with a value for each image."""


@contextmanager
def open_npz(path: Path, run: Results) -> Iterator[Npz]:
    """Give the ``with`` block a writer of a file for `numpy.load`, which is at `path` when it ends."""
    with replacing(path) as temporary, ZipFile(temporary, "w") as file:
        writer = Npz(file)
        yield writer
        writer.finish()


class Npz:
    """A `Writer` of the format, made by `open_npz`.

    Parameters
    ----------
    file : ZipFile
    """

    def __init__(self, file: ZipFile) -> None:
        self._file = file
        self._rows: list[tuple[Any, ...]] = []

    def make(self, item: Item) -> _Made:
        """Make the array of an image."""
        found, entry = item.finished, item.finished.entry
        numbers = found.inpainting_error, found.information, found.foreground_share
        row = name_of(entry.source), stored_text(str(entry.source.path)), entry.width, entry.height, *numbers
        return _Made(row, _stored(item.mask))

    def add(self, made: _Made) -> None:
        """Write the array of the next image."""
        self._write(made.row[0], made.data)
        self._rows.append(made.row)

    def finish(self) -> None:
        """Write the arrays of all images."""
        for name, values in zip(_ROW, zip(*self._rows, strict=True), strict=True):
            self._write(name, _stored(np.array(values)))

    def _write(self, name: str, data: bytes) -> None:
        member = ZipInfo(f"{name}.npy")  # of 1980: the same masks make the same file
        self._file.writestr(member, data, ZIP_DEFLATED, _LEVEL)


def _stored(array: NDArray[Any]) -> bytes:
    file = BytesIO()
    write_array(file, array, allow_pickle=False)
    return file.getvalue()

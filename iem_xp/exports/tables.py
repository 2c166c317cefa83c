"""Rows of a run as CSV, and with the masks, and images if wanted, as Parquet."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from iem_xp.contents import ContentsError, read_contents
from iem_xp.exports.reading import Exported, ExportError, Item, name_of, size_and_fit
from iem_xp.files import replacing
from iem_xp.images import ImageError, encode_png, fit_image, read_again
from iem_xp.runs.database import NO_STAMP, stored_text
from iem_xp.runs.records import Finished
from iem_xp.runs.results import Results
from iem_xp.runs.selection import Selection

_ROWS, _BYTES = 1000, 1 << 25
"""Rows of a row group of Parquet, and bytes of their images and masks: what is held in memory."""

_NUMBERS = {
    "width": "int32",
    "height": "int32",
    "init_side": "int32",
    "inpainting_error": "float64",
    "information": "float64",
    "updates": "int32",
    "foreground_share": "float64",
    "seconds": "float64",
}
_PICTURES = ("image", "mask")
_COLUMNS = ("path", "status", "error", "mask", *_NUMBERS, "notes", "file_size", "file_modified", "digest")
"""Of CSV."""


def write_csv(
    path: Path,
    run: Results,
    selection: Selection,
    *,
    top: int | None = None,
    advance: Callable[[int], object] = lambda count: None,
) -> Exported:
    """Write a row for each image: those that are done, from the best mask, then those that failed.

    Masks are not read. Names that are not valid Unicode are escaped. No value begins with a character by
    which spreadsheets know formulas: paths are absolute, those of masks begin with ``masks/``.

    Parameters
    ----------
    path : Path
    run : Results
    selection : Selection
        The images to take.
    top : int, optional
        How many of those that are done, the best; there are none then that failed.
    advance : callable
        Is given the number of rows written since it was called last.
    """
    exported = Exported()
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        rows = csv.DictWriter(file, _COLUMNS, lineterminator="\n")
        rows.writeheader()
        for finished in exported.selected(run.best(), selection):
            size, modified, digest = finished.entry.stamp or NO_STAMP
            stamp = {"file_size": size, "file_modified": modified, "digest": digest and digest.hex()}
            rows.writerow(
                {**_row(finished), "mask": name_of(finished.entry.source), "status": "done", **stamp}
            )
            exported.count += 1
            exported.empty += not finished.foreground_share
            advance(1)
            if exported.count == top:
                return exported
        for failure in run.failures() if top is None else ():
            if not selection.objection(failure.path):
                failed = {"path": stored_text(str(failure.path)), "status": "failed", "error": failure.error}
                rows.writerow(failed)
    return exported


@contextmanager
def open_parquet(path: Path, run: Results, *, with_images: bool = False) -> Iterator[Parquet]:
    """Give the ``with`` block a writer of a Parquet file, which is at `path` when it ends.

    Parameters
    ----------
    path : Path
    run : Results
        Whose masks are written.
    with_images : bool
        Whether to write the images too: their files as they are or, if masks are of crops, these crops.

    Raises
    ------
    ExportError
        If pyarrow is not installed.
    """
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        raise ExportError(
            f"Parquet is written with pyarrow: pip install 'iem-xp[parquet]' ({error})"
        ) from error
    picture = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    kinds: dict[str, Any] = {
        "path": pa.string(),
        **({"image": picture} if with_images else {}),
        "mask": picture,
    }
    kinds |= {name: pa.type_for_alias(kind) for name, kind in _NUMBERS.items()} | {"notes": pa.string()}
    schema = pa.schema(list(kinds.items())).with_metadata({"huggingface": json.dumps(_features(kinds))})
    with replacing(path) as temporary, parquet.ParquetWriter(temporary, schema) as file:
        writer = Parquet(
            lambda rows: file.write_table(pa.Table.from_pylist(rows, schema)),
            size_and_fit(run) if with_images else None,
        )
        yield writer
        writer.flush()


def _features(kinds: dict[str, Any]) -> dict[str, Any]:
    """What Hugging Face's `datasets` reads of the columns."""
    values = {name: {"dtype": _NUMBERS.get(name, "string"), "_type": "Value"} for name in kinds}
    pictures = {name: {"_type": "Image"} for name in kinds if name in _PICTURES}
    return {"info": {"features": {**values, **pictures}}}


class Parquet:
    """A `Writer` of the format, made by `open_parquet`.

    Parameters
    ----------
    write : callable
        Writes a list of rows as a row group.
    images : pair, optional
        Size and fit of the images, if they are to be written.
    """

    def __init__(self, write: Callable[[list[dict[str, Any]]], object], images: Any) -> None:
        self._write = write
        self._images = images
        self._rows: list[dict[str, Any]] = []
        self._bytes = 0

    def make(self, item: Item) -> dict[str, Any]:
        """Make the row of an image."""
        source = item.finished.entry.source
        row = _row(item.finished) | {"mask": {"bytes": item.data, "path": name_of(source)}}
        if self._images is not None:
            row["image"] = {"bytes": self._image(item.finished), "path": stored_text(source.path.name)}
        return row

    def add(self, made: dict[str, Any]) -> None:
        """Keep a row, and write those that are kept if they are many."""
        self._rows.append(made)
        self._bytes += sum(len(made[name]["bytes"]) for name in _PICTURES if name in made)
        if len(self._rows) >= _ROWS or self._bytes >= _BYTES:
            self.flush()

    def flush(self) -> None:
        """Write the rows that are kept."""
        if self._rows:
            self._write(self._rows)
        self._rows, self._bytes = [], 0

    def _image(self, finished: Finished) -> bytes:
        path, stamp = finished.entry.source.path, finished.entry.stamp
        size, fit = self._images
        if fit == "crop":
            pixels = read_again(path, finished.entry.height, finished.entry.width, stamp and stamp.digest)
            return encode_png(fit_image(pixels, size, fit))
        try:
            contents = read_contents(path)
        except ContentsError as error:
            raise ImageError(f"{path}: {error}") from error
        if stamp is not None and contents.stamp.digest != stamp.digest:
            raise ImageError(f"{path}: has changed since it was segmented")
        return contents.data


def _row(finished: Finished) -> dict[str, Any]:
    """What the row of an image that is done says, but for its mask and its stamp."""
    known = finished.entry._asdict() | finished._asdict()
    texts = {"path": stored_text(str(finished.entry.source.path)), "notes": finished.entry.notes}
    return {**texts, **{name: known[name] for name in _NUMBERS}}

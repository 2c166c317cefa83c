"""The formats that masks are exported to, by name, and where they may be written."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple

from iem_xp.config import whole_number
from iem_xp.exports.coco import open_coco
from iem_xp.exports.npz import open_npz
from iem_xp.exports.reading import Exported, ExportError, Writer, export_masks
from iem_xp.exports.tables import open_parquet, write_csv
from iem_xp.exports.yolo import FACTS, FILES, open_yolo
from iem_xp.runs.results import Results
from iem_xp.runs.selection import Selection


class Format(NamedTuple):
    """How a format is written.

    Attributes
    ----------
    open : callable
        Of the place, the run and the options, by name: a context manager that gives a writer. None for CSV,
        for which no mask is read.
    options : tuple of str
        Names of its options.
    """

    open: Callable[..., AbstractContextManager[Writer[Any]]] | None
    options: tuple[str, ...] = ()


FORMATS = {
    "coco": Format(open_coco, ("category", "polygons")),
    "yolo": Format(open_yolo, ("category",)),
    "parquet": Format(open_parquet, ("with_images",)),
    "csv": Format(None),
    "npz": Format(open_npz),
}
"""Formats by name; all but yolo, which is a folder, are files."""


def export_run(
    run: Results,
    to: str,
    path: Path,
    selection: Selection | None = None,
    *,
    top: int | None = None,
    overwrite: bool = False,
    workers: int | None = None,
    advance: Callable[[int], object] = lambda count: None,
    **options: Any,
) -> Exported:
    """Write the masks of a run in a format of other programs; it is at `path` when it is complete.

    Parameters
    ----------
    run : Results
    to : str
        One of `FORMATS`.
    path : Path
        File, or folder for yolo, to write.
    selection : Selection, optional
        The images to take; by default all.
    top : int, optional
        How many of them, the best, >= 1; by default all.
    overwrite : bool
        Whether to replace what is there: a file, or a folder of yolo.
    workers : int, optional
        Threads that read; by default one for each CPU.
    advance : callable
        Is given the number of images that were dealt with since it was called last.
    options
        Those of the format.

    Raises
    ------
    ExportError
        If the format is unknown, if there is something at `path` that is not to be replaced, if packages that
        this takes are not installed, or if there is no mask, or none that can be written so.
    ValueError
        If `top` is less than 1.
    TypeError
        If an option is not one of the format.
    OSError
        If `path` cannot be written. What was there before is kept, as after an interruption.
    """
    if to not in FORMATS:
        raise ExportError(f"{to!r}: no such format; known are {', '.join(FORMATS)}")
    if top is not None:
        whole_number("top", top, 1)
    selection = selection or Selection()
    _check_place(path, to == "yolo", overwrite)
    open_format = FORMATS[to].open
    if open_format is None:
        return write_csv(path, run, selection, top=top, advance=advance, **options)
    with open_format(path, run, **options) as writer:
        exported = export_masks(run, writer, selection, top=top, workers=workers, advance=advance)
        if not exported.count:
            causes = [*exported.left_out, *(failure.error for failure in exported.failed[:1])]
            raise ExportError(
                f"{run.folder}: has no mask to export" + "".join(f"; {cause}" for cause in causes)
            )
    return exported


def _check_place(path: Path, folder: bool, overwrite: bool) -> None:
    if not path.exists():
        return
    if path.is_dir() != folder:
        raise ExportError(f"{path}: is a {'file' if folder else 'folder'}; use another -o")
    if folder:
        names = {name.name for name in path.iterdir()}
        if others := names - FILES if FACTS in names else names:
            raise ExportError(
                f"{path}: is a folder of something else, it holds {min(others)}; use another -o"
            )
        if not names:
            return
    if not overwrite:
        raise ExportError(f"{path}: exists; use another -o, or --overwrite to replace it")

"""COCO's JSON of instances: one annotation for the foreground of each image."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from iem_xp.exports.polygons import check_polygons, outlines
from iem_xp.exports.reading import Item, check_category, refuse_crops
from iem_xp.files import replacing
from iem_xp.images import ImageError, Mask
from iem_xp.runs.results import Results

_BITS = 5
"""Of a number that one character holds."""


class _Made(NamedTuple):
    image: dict[str, Any]
    annotation: dict[str, Any] | None


@contextmanager
def open_coco(
    path: Path, run: Results, *, category: str = "foreground", polygons: bool = False
) -> Iterator[Coco]:
    """Give the ``with`` block a writer of a JSON file, which is at `path` when it ends.

    Parameters
    ----------
    path : Path
    run : Results
        Whose masks are written.
    category : str
        Name of the foreground.
    polygons : bool
        Whether to write polygons instead of run lengths, which are exact.

    Raises
    ------
    ExportError
        If the masks are of crops, the category is no name, or OpenCV is not installed, which polygons need.
    """
    refuse_crops(run, "coco")
    check_category(category)
    if polygons:
        check_polygons()
    root = _common_folder(run)
    version = metadata.version("iem-xp")
    facts = {"description": "Foreground by iem-xp, not by people", "version": version, "images": root}
    head = {"info": facts, "licenses": [], "categories": [{"id": 1, "name": category, "supercategory": ""}]}
    with (
        replacing(path) as temporary,
        temporary.open("w", encoding="ascii") as file,
        TemporaryFile("w+", encoding="ascii", dir=path.parent) as annotations,
    ):
        file.write(json.dumps(head)[:-1] + ', "images": [')
        yield Coco(root, polygons, file, annotations)
        file.write('\n], "annotations": [')
        annotations.seek(0)
        shutil.copyfileobj(annotations, file)
        file.write("\n]}\n")


class Coco:
    """A `Writer` of the format, made by `open_coco`.

    Parameters
    ----------
    root : str
        The folder that names of images start from.
    polygons : bool
    images, annotations : text files
        What is written of each list, without its brackets.
    """

    def __init__(self, root: str, polygons: bool, images: IO[str], annotations: IO[str]) -> None:
        self._root = root
        self._polygons = polygons
        self._images, self._annotations = images, annotations
        self._count = 0
        self._annotated = False

    def make(self, item: Item) -> _Made:
        """Make the entries of an image, without their numbers."""
        finished, mask = item.finished, item.mask
        entry = finished.entry
        path = os.fspath(entry.source.path)
        try:
            path.encode()
        except UnicodeEncodeError:
            raise ImageError(f"{path}: its name is not valid Unicode, as JSON has to be; rename it") from None
        image = {
            "file_name": Path(os.path.relpath(path, self._root)).as_posix(),
            "width": entry.width,
            "height": entry.height,
            "inpainting_error": finished.inpainting_error,
            "information": finished.information,
        }
        if not mask.any():
            return _Made(image, None)
        segmentation: object = encode_rle(mask)
        if self._polygons:
            found = outlines(mask, drawn=False)
            segmentation = [polygon.ravel().round(2).tolist() for polygon in found]
        facts = {"bbox": _box(mask), "area": int(mask.sum()), "iscrowd": 0}
        return _Made(image, {"category_id": 1, **facts, "segmentation": segmentation})

    def add(self, made: _Made) -> None:
        """Write the entries of the next image."""
        self._images.write(",\n" if self._count else "\n")
        self._count += 1
        self._images.write(json.dumps({"id": self._count, **made.image}))
        if made.annotation is not None:
            self._annotations.write(",\n" if self._annotated else "\n")
            self._annotated = True
            numbers = {"id": self._count, "image_id": self._count}
            self._annotations.write(json.dumps(numbers | made.annotation))


def encode_rle(mask: Mask) -> dict[str, Any]:
    """Run lengths of a mask, bool (H, W), as `pycocotools.mask.encode` has them, as JSON values.

    Lengths are counted down the columns, of background first. From the fourth on, the difference to that two
    before is written, five bits a character, the lowest first, with a sixth bit if more follow.
    """
    values = mask.ravel(order="F")
    changes = np.flatnonzero(values[1:] != values[:-1]) + 1
    counts = np.diff(changes, prepend=0, append=values.size)
    if values[0]:
        counts = np.concatenate([[0], counts])
    left = counts.copy()
    left[3:] -= counts[1:-2]
    return {"size": list(mask.shape), "counts": _characters(left)}


def _characters(numbers: NDArray[np.int64]) -> str:
    """Write whole numbers as characters, the lowest bits first."""
    columns, written = [], []
    more = np.ones(len(numbers), bool)
    while more.any():
        written.append(more)
        bits = numbers & (2**_BITS - 1)
        numbers = numbers >> _BITS
        # The highest bit is that of the sign: nothing more follows if all the rest is like it.
        more = more & (numbers != np.where(bits & 2 ** (_BITS - 1), -1, 0))
        columns.append(bits + 2**_BITS * more + ord("0"))
    table = np.stack(columns, axis=1).astype(np.uint8)
    return table[np.stack(written, axis=1)].tobytes().decode("ascii")


def _box(mask: Mask) -> list[int]:
    """Left, top, width and height of a mask that is not empty."""
    columns, rows = (np.flatnonzero(mask.any(axis=axis)) for axis in (0, 1))
    left, top = int(columns[0]), int(rows[0])
    return [left, top, int(columns[-1]) + 1 - left, int(rows[-1]) + 1 - top]


def _common_folder(run: Results) -> str:
    """The deepest folder that all images of a run are in."""
    root = ""
    for entry in run.segmented():
        folder = os.path.dirname(entry.source.path)
        root = os.path.commonpath([root, folder]) if root else folder
    return root

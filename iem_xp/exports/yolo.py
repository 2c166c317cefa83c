"""A folder to train Ultralytics' YOLO with: images, and their masks as polygons."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np

from iem_xp.contents import ContentsError, find_changed, is_missing, read_contents
from iem_xp.exports.polygons import check_polygons, outlines
from iem_xp.exports.reading import Item, check_category, refuse_crops
from iem_xp.files import placing
from iem_xp.images import ImageError, encode_png, read_stamped
from iem_xp.runs.results import Results

IMAGES, LABELS, FACTS = "images", "labels", "data.yaml"

FILES = frozenset({IMAGES, LABELS, FACTS, "labels.cache"})
"""What such a folder holds, with what Ultralytics adds to it."""

_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
"""Of images that YOLO reads; others are written anew, as PNG."""


class _Made(NamedTuple):
    """What is written of an image at `path`: its file, or a link if there are no data, and its label."""

    path: Path
    data: bytes | None
    image: str
    label: str
    text: str


@contextmanager
def open_yolo(path: Path, run: Results, *, category: str = "foreground") -> Iterator[Yolo]:
    """Give the ``with`` block a writer of a folder, which is at `path` when it ends.

    Parameters
    ----------
    path : Path
    run : Results
        Whose masks are written.
    category : str
        Name of the foreground.

    Raises
    ------
    ExportError
        If the masks are of crops, the category is no name, or OpenCV is not installed.
    """
    refuse_crops(run, "yolo")
    check_category(category)
    check_polygons()
    with placing(path) as folder:
        for name in (IMAGES, LABELS):
            (folder / name).mkdir(parents=True)
        facts = ("train: images", "val: images", "names:", f"  0: {json.dumps(category, ensure_ascii=False)}")
        (folder / FACTS).write_text("\n".join([*facts, ""]), encoding="utf-8")
        yield Yolo(folder)


class Yolo:
    """A `Writer` of the format, made by `open_yolo`.

    Images and labels have the names of masks, which are distinct without their suffixes: YOLO finds a label
    by the name of its image without the suffix, in `labels` instead of the last folder that is called
    `images`, so that no folder below may be called that.

    Parameters
    ----------
    folder : Path
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def make(self, item: Item) -> _Made:
        """Make the label of an image, and its file if there can be no link to it."""
        (path, mask, _), *_, stamp = item.finished.entry
        if is_missing(path):
            raise ImageError(f"{path}: is not there any more")
        if stamp is not None and any(find_changed([(os.fspath(path), stamp)])):
            raise ImageError(f"{path}: has changed since it was segmented")
        *folders, last = mask.removesuffix(".png").split("/")
        name = "/".join([*(f"{part}_" if part == IMAGES else part for part in folders), last])
        known = path.suffix.lower() in _SUFFIXES
        data = None
        if not known:
            data = encode_png(read_stamped(path)[0].pixels)
        elif not path.is_file() or _is_mended(path):
            data = _read(path)
        scale = np.array(item.mask.shape[::-1])
        parts = [(polygon / scale).ravel() for polygon in outlines(item.mask, drawn=True)]
        lines = [" ".join(["0", *(f"{number:.6f}" for number in part)]) + "\n" for part in parts]
        return _Made(path, data, name + (path.suffix if known else ".png"), f"{name}.txt", "".join(lines))

    def add(self, made: _Made) -> None:
        """Write the files of an image."""
        image, label = self._folder / IMAGES / made.image, self._folder / LABELS / made.label
        try:
            for path in (label, image):
                path.parent.mkdir(parents=True, exist_ok=True)
            # The label comes first: an image without one would be background.
            with label.open("x", encoding="ascii") as text:
                text.write(made.text)
            if made.data is not None or not _link(made.path, image):
                with image.open("xb") as file:
                    file.write(_read(made.path) if made.data is None else made.data)
        except (FileExistsError, IsADirectoryError, NotADirectoryError) as error:
            cause = f"the name of its image or label there, {made.image} or {made.label}, is taken"
            raise ImageError(f"{made.path}: {cause}; rename it") from error


def _read(path: Path) -> bytes:
    try:
        return read_contents(path).data
    except ContentsError as error:
        raise ImageError(f"{path}: {error}") from error


def _is_mended(path: Path) -> bool:
    """Whether Ultralytics writes this file anew in its place: a JPEG file without its end, or with more."""
    try:
        with path.open("rb") as file:
            begin = file.read(2)
            file.seek(-2, os.SEEK_END)
            return begin == b"\xff\xd8" and file.read() != b"\xff\xd9"
    except OSError as error:
        raise ImageError(f"{path}: {error.strerror}") from error


def _link(path: Path, place: Path) -> bool:
    """Whether there is a link now: a hard one, which some programs ask for, or else a symbolic one.

    Not every system, nor file system, has them, nor for everybody.
    """
    for link in (os.link, os.symlink):
        try:
            link(os.path.realpath(path), place)
            return True
        except (FileExistsError, NotADirectoryError):
            raise
        except (OSError, NotImplementedError):
            continue
    return False

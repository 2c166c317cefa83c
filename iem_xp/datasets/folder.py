"""A folder of one's own: images, and masks or boxes of them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import partial
from itertools import islice
from pathlib import Path

from iem_xp.boxes import Box, BoxError, read_boxes
from iem_xp.datasets.examples import Dataset, DatasetError, Example
from iem_xp.datasets.parts import check_share
from iem_xp.images import SUFFIXES
from iem_xp.labels import read_labels
from iem_xp.runs.inputs import SourceError, list_images
from iem_xp.runs.kinds import describe_kinds
from iem_xp.runs.naming import Source

_LAYOUT = "a folder holds images, and masks or bounding_boxes.csv or both"


def folder(root: str | os.PathLike[str]) -> Dataset:
    """A folder with `images`, and with `masks`, `bounding_boxes.csv` or both.

    Parameters
    ----------
    root : path
        A mask has the path of its image, but for the suffix: `masks/a/rose.png` is that of
        `images/a/rose.jpg`. Where two images of a folder share that name they keep their suffix, as the
        masks of a run do: `masks/rose.jpg.png`, `masks/rose.tif.png`. Masks are read by
        `iem_xp.labels.read_labels`, boxes by `iem_xp.boxes.read_boxes`; its `image` is the path below
        `images`, with suffix.

    Raises
    ------
    DatasetError
        If one of these is missing or cannot be read, two masks are of one image, or more than a tenth of the
        images have neither mask nor box. Fewer are noted.
    """
    root = Path(root)
    images, mask_folder, table = root / "images", root / "masks", root / "bounding_boxes.csv"
    if not images.is_dir():
        higher = f"give the folder that holds {images.name} as the root"
        remedy = higher if root.name == images.name else _LAYOUT
        raise DatasetError(f"{images if root.exists() else root} is not there; {remedy}")
    if not (mask_folder.exists() or table.exists()):
        raise DatasetError(f"{root}: has neither masks nor {table.name}; {_LAYOUT}")
    notes: list[str] = []
    masks = _find_masks(mask_folder, notes) if mask_folder.exists() else {}
    boxes = _read_boxes(table) if table.exists() else {}
    examples, unmasked, unboxed, bare = [], [], [], []
    for path, mask_name, _ in _search(images, notes):
        name = mask_name.removesuffix(".png")
        mask, box = masks.pop(name, None), boxes.pop(_below(path, images), None)
        if mask is not None:
            unboxed += [name] if box is None and table.exists() else []
        elif box is not None:
            unmasked += [name] if mask_folder.exists() else []
        else:
            bare.append(name)
        examples.append(Example(name, path, None if mask is None else partial(read_labels, mask), box))
    what, remedy = ("masks", _naming(masks)) if mask_folder.exists() else ("boxes", f"add them to {table}")
    check_share(bare, len(examples), f"{what} of images", remedy)
    notes += _counted(bare, "images have neither mask nor box")
    notes += _counted(unmasked, "images have a box but no mask")
    notes += _counted(unboxed, "images have a mask but no box")
    notes += _counted(list(masks), "masks belong to no image")
    notes += _counted(list(boxes), "boxes belong to no image")
    return Dataset(Path(os.path.abspath(root)).name, examples, tuple(notes))


def _naming(masks: Iterable[str]) -> str:
    """How masks are to be named, and how those that belong to no image are."""
    left = ", ".join(islice(masks, 3))
    return "a mask is named as its image" + (f", but there are {left}" if left else "")


def _find_masks(folder: Path, notes: list[str]) -> dict[str, Path]:
    """Masks by their path below a folder, without suffix."""
    masks: dict[str, Path] = {}
    for path, _, _ in _search(folder, notes):
        name = os.path.splitext(_below(path, folder))[0]
        if name in masks:
            raise DatasetError(f"{masks[name]} and {path}: two masks of one image; delete or rename one")
        masks[name] = path
    return masks


def _read_boxes(table: Path) -> dict[str, Box]:
    try:
        return read_boxes(table)
    except BoxError as error:
        raise DatasetError(str(error)) from error


def _search(folder: Path, notes: list[str]) -> list[Source]:
    """Images in a folder; what else lies there is noted."""
    try:
        found, others = list_images(folder, SUFFIXES)
    except SourceError as error:
        raise DatasetError(str(error)) from error
    if others:
        notes.append(f"left out of {folder.name}: {describe_kinds(others)}")
    return found


def _below(path: Path, folder: Path) -> str:
    return path.relative_to(os.path.abspath(folder)).as_posix()


def _counted(names: list[str], what: str) -> list[str]:
    return [f"{len(names):,} {what}, the first is {names[0]}"] if names else []

"""Caltech-UCSD Birds 200-2011."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path, PurePosixPath

from iem_xp.boxes import Box, BoxError, parse_box
from iem_xp.datasets.examples import Dataset, DatasetError, Example
from iem_xp.datasets.parts import Origin, check_split
from iem_xp.images import read_image
from iem_xp.labels import Labels, to_labels

SPLITS = ("test", "validation", "training", "all")

_REDO = {"training": "0", "validation": "1", "test": "2"}
_OFFICIAL = {"training": "1", "test": "0"}
_REDO_FILE = "train_val_test_split.txt"
_REDO_REMEDY = (
    f"for the paper's splits put datasplits/cub/{_REDO_FILE} of https://github.com/mickaelChen/ReDO "
    "beside images.txt"
)

_BIRDS = Origin("CUB_200_2011.tgz", "https://data.caltech.edu/records/65de6-vp158")
_MASKS = Origin("segmentations.tgz", "https://data.caltech.edu/records/w9d68-gec53")

_ANEW = f"unpack {_BIRDS.archive} anew"


def cub(root: str | os.PathLike[str], split: str = "test") -> Dataset:
    """CUB-200-2011 (Wah, Branson, Welinder, Perona, Belongie, 2011): masks and boxes of birds.

    Parameters
    ----------
    root : path
        The folder `CUB_200_2011`, or the one that holds it. `segmentations` may lie inside or beside it;
        without it there are boxes alone, which is noted.
    split : {"test", "validation", "training", "all"}
        With ReDO's `train_val_test_split.txt` the paper's: 1,000, 788, 10,000 and 11,788 images. Without it
        the official ones, which is noted: 5,794 test, 5,994 training.

    Raises
    ------
    DatasetError
        If the download is not complete, not unpacked or contradicts itself, or for "validation" without
        ReDO's file.
    """
    check_split(split, SPLITS)
    root = Path(root)
    base = root / "CUB_200_2011" if (root / "CUB_200_2011").is_dir() else root
    names = _read_names(_BIRDS.check(base / "images.txt"))
    boxes = _read_boxes(_BIRDS.check(base / "bounding_boxes.txt"), names)
    notes = []
    chosen = list(names)
    if split != "all":
        chosen, official = _split(base, split, names)
        notes += [f"the {split} split is the official one; {_REDO_REMEDY}"] if official else []
    images = [_BIRDS.check(base / "images") / names[number] for number in chosen]
    _BIRDS.check_files(images)
    masks = _mask_folder(base)
    truths: list[Callable[[], Labels] | None] = [None] * len(images)
    if masks is None:
        notes.append(f"there are no masks, only boxes; for masks get {_MASKS.archive} from {_MASKS.page}")
    else:
        files = [masks / PurePosixPath(names[number]).with_suffix(".png") for number in chosen]
        _MASKS.check_files(files)
        truths = [partial(read_agreement, file) for file in files]
    examples = [
        Example(os.path.splitext(names[number])[0], image, truth, boxes[number])
        for number, image, truth in zip(chosen, images, truths, strict=True)
    ]
    return Dataset(f"CUB-200-2011, {split}", examples, tuple(notes))


def read_agreement(file: str | os.PathLike[str]) -> Labels:
    """Read the agreement of annotators, in grey levels: foreground is what more than half of 255 say.

    Returns
    -------
    uint8 array (H, W) of 0 and 255

    Raises
    ------
    ImageError
        If the file cannot be read.
    """
    return to_labels(read_image(file).pixels[..., 0] > 127)


def _split(base: Path, split: str, names: dict[str, str]) -> tuple[list[str], bool]:
    """Numbers of the images of a split, and whether it is the official one."""
    file = base / _REDO_FILE
    official = not file.exists()
    if official:
        file = _BIRDS.check(base / "train_test_split.txt")
    codes = _OFFICIAL if official else _REDO
    if split not in codes:
        raise DatasetError(f"{base} has no {split} split; {_REDO_REMEDY}")
    table = _read_table(file, names)
    chosen = [number for number in names if table[number] == codes[split]]
    if not chosen:
        raise DatasetError(f"{file}: no image is of the {split} split, {codes[split]}")
    return chosen, official


def _mask_folder(base: Path) -> Path | None:
    for folder in (base / "segmentations", base.absolute().parent / "segmentations"):
        if folder.is_dir():
            return folder
    # Who has the archive wants masks: boxes in their place would be a surprise.
    return _MASKS.check(base / "segmentations") if _MASKS.packed(base / "segmentations") else None


def _read_boxes(file: Path, names: dict[str, str]) -> dict[str, Box]:
    table = _read_table(file, names)
    try:
        return {number: parse_box(text.split(), f"{file}, image {number}") for number, text in table.items()}
    except BoxError as error:
        raise DatasetError(str(error)) from error


def _read_table(file: Path, names: dict[str, str] | None = None) -> dict[str, str]:
    """Text by number of image, of a file with a line of both for each; of the same images as `names`."""
    try:
        content = file.read_bytes().removeprefix(b"\xef\xbb\xbf")
    except OSError as error:
        raise DatasetError(f"{file}: {error.strerror}") from error
    table: dict[str, str] = {}
    for line, words in enumerate((line.split(maxsplit=1) for line in content.splitlines()), 1):
        if not words:
            continue
        # Names of files need not be UTF-8: they are taken as the file system gives them.
        number, *text = (os.fsdecode(word.strip()) for word in words)
        if not number.isdecimal() or not text or number in table:
            raise DatasetError(f"{file}, line {line}: not the number of one more image and a text; {_ANEW}")
        table[number] = text[0]
    if not table:
        raise DatasetError(f"{file}: lists no image; {_ANEW}")
    if names is not None and table.keys() != names.keys():
        number = min(table.keys() ^ names.keys(), key=int)
        raise DatasetError(f"{file}: is not of the same images as images.txt, as of image {number}; {_ANEW}")
    return table


def _read_names(file: Path) -> dict[str, str]:
    """Paths of images below `images`, by number."""
    names = _read_table(file)
    for name in names.values():
        # They become paths of masks, which must not lead anywhere else.
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or not path.name:
            raise DatasetError(f"{file}: {name!r} is not a path below images")
    return names

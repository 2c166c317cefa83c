"""LSUN Car: an LMDB of photographs, to which the user adds the masks."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

from iem_xp.archives import lmdb
from iem_xp.archives.base import ArchiveError
from iem_xp.datasets.examples import Dataset, DatasetError, Example
from iem_xp.datasets.parts import Origin, check_share, check_split, missing_files
from iem_xp.images import ImageError
from iem_xp.labels import read_labels

SPLITS = ("test", "all")

FIRST = 10_000
"""Images from which the paper takes those of its test, in the order of their keys."""

TESTED = 1_040
SEED = 0
"""Of the draw that stands for the paper's, which was not published."""

_CARS = Origin("car.zip", "http://dl.yf.io/lsun/objects/car.zip, described at https://www.yf.io/p/lsun")
_ANEW = f"unpack {_CARS.archive} anew"
_MASKS_REMEDY = (
    "they are not distributed, but to be made (docs/datasets.md): 255 car, 0 background, 128 ignored"
)
_LONGEST_NAME = 200


def lsun_car(root: str | os.PathLike[str], split: str = "test") -> Dataset:
    """LSUN Car (Yu, Seff, Zhang, Song, Funkhouser, Xiao, 2015), with masks that the user made.

    Parameters
    ----------
    root : path
        Folder with `data.mdb` and, beside it, `masks/<key>.png` (read by `iem_xp.labels.read_labels`), and
        possibly `test.txt`, a key on each line; or the folder whose `car` is such a folder.
    split : {"test", "all"}
        "all" is the first 10,000 images in the order of their keys, with the masks that are there. "test" is
        the images of `test.txt`, or else 1,040 of those drawn at random, always the same.

    Raises
    ------
    DatasetError
        If the download is not complete or not unpacked, `lmdb` is not installed, or "test" lacks masks.

    Notes
    -----
    The name of an image is its key; bytes other than ASCII letters, digits and ``_.-~`` are written as in a
    URL, as ``%2F``, and so is a leading dot. Of what is longer than 200 characters it is the SHA-256.
    """
    check_split(split, SPLITS)
    base = Path(root)
    if not (base / lmdb.FILE).exists() and (base / "car").is_dir():
        base = base / "car"
    _CARS.check(base / lmdb.FILE)
    listed = base / "test.txt"
    notes: tuple[str, ...] = ()
    if split == "test" and listed.exists():
        keys = _read_keys(base, listed)
    else:
        keys = _first_keys(base)
        if split == "test":
            keys, notes = _draw(keys)
    names = [name_of(key) for key in keys]
    masks = [base / "masks" / f"{name}.png" for name in names]
    missing = missing_files(masks)
    if split == "test":
        check_share(missing, len(masks), "masks", _MASKS_REMEDY)
        missing = []
    elif missing:
        notes = (f"{len(masks) - len(missing):,} of {len(masks):,} images have a mask",)
    without = set(missing)
    examples = [
        Example(name, partial(_read, base, key), None if mask in without else partial(read_labels, mask))
        for name, key, mask in zip(names, keys, masks, strict=True)
    ]
    return Dataset(f"LSUN Car, {split}", examples, notes)


def name_of(key: bytes) -> str:
    """Name of an image by its key: see `lsun_car`."""
    name = lmdb.name_of(key)
    return name if len(name) <= _LONGEST_NAME else hashlib.sha256(key).hexdigest()


def _draw(keys: Sequence[bytes]) -> tuple[list[bytes], tuple[str, ...]]:
    """Keys of the test, in their order, and what to say of them."""
    count = min(TESTED, len(keys))
    random = Random(SEED)
    # Python promises the same numbers of `random` in every version, but not the same samples.
    drawn = sorted(range(len(keys)), key=lambda _: random.random())[:count]
    note = (
        f"the test is {count:,} of the first {len(keys):,} images, drawn with seed {SEED}: the paper's own "
        "choice was not published; test.txt, a key on each line, makes another one"
    )
    return [keys[index] for index in sorted(drawn)], (note,)


def _first_keys(base: Path) -> list[bytes]:
    with _open(base) as transaction:
        keys = list(islice(transaction.cursor().iternext(values=False), FIRST))
    if not keys:
        raise DatasetError(f"{base / 'data.mdb'}: holds no image; {_ANEW}")
    return keys


def _read_keys(base: Path, file: Path) -> list[bytes]:
    """Keys that a file lists."""
    try:
        lines = file.read_bytes().removeprefix(b"\xef\xbb\xbf").splitlines()
    except OSError as error:
        raise DatasetError(f"{file}: {error.strerror}") from error
    keys = list(dict.fromkeys(line.strip() for line in lines if line.strip()))
    if not keys:
        raise DatasetError(f"{file}: lists no key")
    with _open(base) as transaction:
        cursor = transaction.cursor()
        missing = [name_of(key) for key in keys if not cursor.set_key(key)]
    check_share(missing, len(keys), f"images of {file}", f"its lines must be keys of {base / 'data.mdb'}")
    return keys


def _read(base: Path, key: bytes) -> bytes:
    """Contents of an image's file; in any thread."""
    try:
        with _open(base) as transaction:
            contents: bytes | None = transaction.get(key)
    except DatasetError as error:
        raise ImageError(str(error)) from error
    if contents is None:
        raise ImageError(f"not in {base / 'data.mdb'}")
    return contents


@contextmanager
def _open(base: Path) -> Iterator[Any]:
    """Open a transaction that reads."""
    try:
        with lmdb.transaction(base / lmdb.FILE) as opened:
            yield opened
    except ArchiveError as error:
        raise DatasetError(f"{base / lmdb.FILE}: {error}; {_ANEW}") from error

"""Which data sets there are."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from iem_xp.datasets import cub, flowers, folder, lsun
from iem_xp.datasets.examples import Dataset, DatasetError


class Kind(NamedTuple):
    """A data set that can be opened.

    Attributes
    ----------
    title : str
    splits : tuple of str
        The first is the default; empty where there are none.
    open : callable
        Takes the root, and the split if there are any.
    """

    title: str
    splits: tuple[str, ...]
    open: Callable[..., Dataset]


KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "flowers": Kind("Oxford 102 Flowers", tuple(flowers.FLOWERS102_SPLITS), flowers.flowers102),
        "flowers17": Kind("Oxford 17 Flowers", (), flowers.flowers17),
        "cub": Kind("Caltech-UCSD Birds 200-2011", cub.SPLITS, cub.cub),
        "lsun-car": Kind("LSUN Car", lsun.SPLITS, lsun.lsun_car),
        "folder": Kind("A folder of images, with masks or boxes", (), folder.folder),
    }
)


def open_dataset(kind: str, root: str | os.PathLike[str], split: str | None = None) -> Dataset:
    """Open a data set.

    Parameters
    ----------
    kind : str
        A key of `KINDS`.
    root : path
        Where it was unpacked: see docs/datasets.md.
    split : str, optional
        By default "test", of data sets that have splits.

    Raises
    ------
    DatasetError
        If there is no such kind or split, or the data set is not complete; the message says what to do.
    """
    if kind not in KINDS:
        raise DatasetError(f"there is no data set {kind!r}; there are {', '.join(KINDS)}")
    found = KINDS[kind]
    if split is None:
        return found.open(root)
    if not found.splits:
        raise DatasetError(f"{kind} has no splits, so not {split!r} either")
    return found.open(root, split)

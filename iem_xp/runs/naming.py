"""Where the mask of an image goes: names that are short, distinct, and fit a file system."""

from __future__ import annotations

import hashlib
import os
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

_MASK_SUFFIX = ".png"
_LONGEST_NAME = 240
"""Bytes of a mask's file name: 255, the limit of most file systems, less room for a temporary suffix."""


class Source(NamedTuple):
    """An image and where its mask goes.

    Attributes
    ----------
    path : Path
        Absolute path of the image; symbolic links are not resolved.
    mask : str
        Name of the mask, with forward slashes, such as ``"sub/a.png"``.
    shard : str
        The archive in the run's `masks` folder that holds the mask, once it is written; "" for that folder
        itself, so that the mask is at ``masks / shard / mask`` in either case.
    """

    path: Path
    mask: str
    shard: str = ""


def short_name(name: str) -> str:
    """Mask name of an image's file name, with another suffix: ``"a.png"`` for ``"a.jpg"``."""
    return _fitting(_short(name), name)


def long_name(name: str) -> str:
    """Mask name of an image's file name, with one more suffix: ``"a.jpg.png"`` for ``"a.jpg"``."""
    return _fitting(name + _MASK_SUFFIX, name)


def mask_names(images: Sequence[str], folders: Iterable[str]) -> dict[str, str]:
    """Mask names of one folder's images, distinct even where a file system folds case."""
    folded = [(_folded(_short(name)), _folded(name + _MASK_SUFFIX)) for name in images]
    shorts, longs = Counter(short for short, _ in folded), Counter(long for _, long in folded)
    taken = {_folded(name) for name in folders}
    names = {}
    for name, (short, long) in zip(images, folded, strict=True):
        if shorts[short] == 1 and short not in longs and short not in taken:
            names[name] = short_name(name)
        elif longs[long] == 1 and long not in taken:
            names[name] = long_name(name)
        else:
            names[name] = _digested(name, name)
    return names


def distinct(source: Source) -> Source:
    """Give a mask a name of its own, by a digest of its image's path."""
    folder, slash, _ = source.mask.rpartition("/")
    return source._replace(mask=folder + slash + _digested(source.path.name, os.fspath(source.path)))


def _short(name: str) -> str:
    return os.path.splitext(name)[0] + _MASK_SUFFIX


def _fitting(mask: str, name: str) -> str:
    return mask if len(os.fsencode(mask)) <= _LONGEST_NAME else _digested(name, name)


def _digested(name: str, key: str) -> str:
    ending = f"-{hashlib.sha256(os.fsencode(key)).hexdigest()[:16]}{_MASK_SUFFIX}"
    # The cut may fall inside a character, which is then left out.
    return os.fsencode(name)[: _LONGEST_NAME - len(ending)].decode("utf-8", "ignore") + ending


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name.casefold())

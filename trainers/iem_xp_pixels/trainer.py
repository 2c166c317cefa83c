"""The classifier of pixels as a trainer: `fit`, `check` and `load`, as iem-xp calls them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from iem_xp.files import replacing
from iem_xp.pseudo_labels import IMAGES, MASKS, META, TABLE, read_meta
from iem_xp_pixels.network import PixelModel, from_arrays
from iem_xp_pixels.options import read_options
from iem_xp_pixels.training import Progress, draw_pixels, train

__all__ = ["REFINEMENT", "check", "fit", "load"]

REFINEMENT = {"rounds": 2, "then_iem": True}
"""Choices of `iem-xp refine` that suit this trainer."""

NETWORK = "pixels.npz"
TRAINING = "training.json"
FORMAT_VERSION = 1


def fit(
    labels_dir: Path, model_dir: Path, options: Mapping[str, Any], progress: Progress
) -> Sequence[Mapping[str, float]]:
    """Train a classifier on exported labels; an interruption in the middle costs the seconds before it.

    Parameters
    ----------
    labels_dir : Path
        With ``images.npy``, uint8 (K, S, S, 3), ``masks.npy``, uint8 (K, S, S) of 0 and 1, and ``meta.json``.
    model_dir : Path
        Gets ``pixels.npz`` and then ``training.json``, at the end.
    options : mapping
        Fields of `iem_xp_pixels.options.Options` that differ from the defaults.
    progress : callable
        Called after every epoch, with epochs done, of how many, and ``{"loss": mean of the epoch}``.

    Returns
    -------
    list of dict
        ``loss`` of every epoch.

    Raises
    ------
    ValueError
        For an unknown option or a bad value, labels that cannot be read, a folder with another training, or
        without scikit-learn.
    """
    check(options)
    labels_dir, model_dir = Path(labels_dir), Path(model_dir)
    chosen = read_options(options)
    read_meta(labels_dir)
    facts = {"format_version": FORMAT_VERSION, "options": asdict(chosen), "labels": _digest(labels_dir)}
    if (model_dir / TRAINING).exists() and (model_dir / NETWORK).exists():
        return _read_history(model_dir, facts)
    images, masks = (np.load(labels_dir / name, mmap_mode="r") for name in (IMAGES, MASKS))
    network, history = train(*draw_pixels(images, masks, chosen), chosen, progress)
    with replacing(model_dir / NETWORK) as path, path.open("wb") as file:
        np.savez(file, allow_pickle=False, **network.arrays())
    with replacing(model_dir / TRAINING) as path:
        path.write_text(json.dumps({**facts, "history": history}, indent=1), encoding="utf-8")
    return history


def check(options: Mapping[str, Any]) -> None:
    """Raise a ValueError for options that `fit` would refuse, or without scikit-learn, which it needs."""
    read_options(options)
    if find_spec("sklearn") is None:
        raise ValueError("training needs scikit-learn; install it with: pip install 'iem-xp[pixels]'")


def load(model_dir: Path) -> PixelModel:
    """Load what `fit` wrote; that needs no scikit-learn, and runs nothing that is in the file.

    Raises
    ------
    FileNotFoundError
        If there is no finished model.
    ValueError
        If it cannot be read.
    """
    path = Path(model_dir) / NETWORK
    if not path.exists():
        raise FileNotFoundError(f"{path}: is not there; train it first, or let the training finish")
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return PixelModel(from_arrays(arrays))
    except (OSError, EOFError, ValueError, KeyError, TypeError, BadZipFile, MemoryError) as error:
        raise ValueError(f"{path}: is no network of pixels ({error}); train it again") from error


def _digest(labels: Path) -> str:
    """Tells labels from others: what is said of them, not their pixels, as that takes no time."""
    digest = hashlib.sha256()
    for name in (META, TABLE):
        if (labels / name).exists():
            digest.update(hashlib.sha256((labels / name).read_bytes()).digest())
    return digest.hexdigest()


def _read_history(folder: Path, facts: Mapping[str, Any]) -> list[dict[str, float]]:
    """Figures of the training that a folder has, if it is the same."""
    another = "give another folder for the model, or delete this one to train anew"
    try:
        there = json.loads((folder / TRAINING).read_text(encoding="utf-8"))
        history = there["history"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{folder / TRAINING}: cannot be read ({error}); {another}") from error
    differing = [name for name, value in facts.items() if there.get(name) != value]
    if differing:
        raise ValueError(f"{folder}: the training there has other {', '.join(differing)}; {another}")
    return list(history)

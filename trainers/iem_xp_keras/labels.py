"""Folders of exported labels, and the batches of an epoch."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from iem_xp_keras.augmentation import AUGMENTATIONS, Augmentation, Pixels, flip
from iem_xp_keras.options import Options

FORMAT_VERSION = 1
"""Of a folder of labels."""

_HELD_BACK, _ORDER, _AUGMENTATION = range(3)
"""What random numbers are drawn for: each has its own stream."""


@dataclass(frozen=True)
class Labels:
    """Exported labels, memory-mapped.

    Attributes
    ----------
    images : uint8 (K, S, S, 3)
    masks : uint8 (K, S, S), 0 or 1
    digest : str
        Tells these labels from others.
    """

    images: NDArray[np.uint8]
    masks: NDArray[np.uint8]
    digest: str

    @property
    def size(self) -> int:
        """Side S of the images, in pixels."""
        return self.images.shape[1]


def open_labels(folder: Path) -> Labels:
    """Open a folder of exported labels.

    Raises
    ------
    ValueError
        If files are missing, of another format, or not what they should be.
    """
    # Written last, so that a folder with it is complete.
    meta = folder / "meta.json"
    if not meta.is_file():
        raise ValueError(f"{folder}: has no meta.json, so it holds no complete labels; export them again")
    try:
        version = json.loads(meta.read_text(encoding="utf-8"))["format_version"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{meta}: cannot be read; export the labels again ({error})") from error
    if version != FORMAT_VERSION:
        raise ValueError(
            f"{meta}: is of format {version!r}, not {FORMAT_VERSION}; export the labels again, with the "
            "iem-xp that this trainer came with"
        )
    images, masks = (_open_array(folder / name) for name in ("images.npy", "masks.npy"))
    if images.ndim != 4 or images.shape[-1] != 3 or images.shape[1] != images.shape[2]:
        raise ValueError(f"{folder / 'images.npy'}: must be of shape (K, S, S, 3), not {images.shape}")
    if masks.shape != images.shape[:3]:
        raise ValueError(
            f"{folder / 'masks.npy'}: must be of shape {images.shape[:3]} as the images, not {masks.shape}"
        )
    if not len(images):
        raise ValueError(f"{folder}: holds no labels; export at least one")
    digest = hashlib.sha256(repr(images.shape).encode())
    for name in ("meta.json", "labels.csv"):
        if (folder / name).exists():
            with open(folder / name, "rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    return Labels(images, masks, digest.hexdigest())


def _open_array(path: Path) -> NDArray[np.uint8]:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: cannot be read; export the labels again ({error})") from error
    if not isinstance(array, np.ndarray) or array.dtype != np.uint8:
        raise ValueError(f"{path}: must be an array of uint8; export the labels again")
    return array


def split(count: int, share: float, seed: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Indices of the labels to train with, and of those held back, each ascending.

    Raises
    ------
    ValueError
        If nothing is left to train with.
    """
    held_back = max(1, round(share * count)) if share else 0
    if held_back == count:
        raise ValueError(
            f"of {count} labels, validation {share:g} holds back {held_back}: none is left to train with; "
            "export more labels, or give validation 0"
        )
    order = np.random.default_rng((seed, _HELD_BACK)).permutation(count)
    return np.sort(order[held_back:]), np.sort(order[:held_back])


class Batches(keras.utils.PyDataset):
    """The batches of one epoch, in an order and with an augmentation that (seed, epoch, label) alone decide.

    So neither does what an epoch shows depend on how it is cut into batches, nor on the backend. What is left
    after the last whole batch is left out; it is something else in every epoch.

    Parameters
    ----------
    labels : Labels
    chosen : int (n,)
        Indices of the labels to show.
    epoch : int
        Counted from 0.
    batch : int
        Images of an update.
    parts : int
        Equal parts of a batch that are shown one after the other.
    options : Options
        Seed and augmentation.
    """

    def __init__(
        self, labels: Labels, chosen: NDArray[np.intp], epoch: int, batch: int, parts: int, options: Options
    ) -> None:
        super().__init__()
        self._labels, self._epoch, self._seed = labels, epoch, options.seed
        order = np.random.default_rng((options.seed, _ORDER, epoch)).permutation(chosen)
        self._rows = order[: len(order) // batch * batch].reshape(-1, batch // parts)
        self._augmentations: list[Augmentation] = [flip] if options.flips else []
        self._augmentations += [AUGMENTATIONS[name] for name in options.augment]

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> tuple[Pixels, Pixels]:
        """Images uint8 (n, S, S, 3) and masks uint8 (n, S, S, 1), 0 or 1."""
        shown = [self._shown(int(label)) for label in self._rows[index]]
        return np.stack([image for image, _ in shown]), np.stack([mask for _, mask in shown])[..., np.newaxis]

    def _shown(self, label: int) -> tuple[Pixels, Pixels]:
        image, mask = np.asarray(self._labels.images[label]), np.asarray(self._labels.masks[label])
        if self._augmentations:
            rng = np.random.default_rng((self._seed, _AUGMENTATION, self._epoch, label))
            for augmentation in self._augmentations:
                image, mask = augmentation(image, mask, rng)
        return image, mask

"""The Keras SegNet as a trainer: `fit`, `load` and `export`, as iem-xp calls them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from iem_xp_keras.quiet import without_remarks

# Before TensorFlow is imported: it tells of its start on standard error.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
try:
    with without_remarks():
        import keras

        keras.distribution.list_devices()  # the first look for GPUs has remarks, too
except ImportError as _error:
    raise ImportError(
        "the Keras trainer needs Keras and its backend: TensorFlow, or the one that KERAS_BACKEND names; "
        f"install them with: pip install 'iem-xp[keras]' ({_error})"
    ) from _error

from iem_xp_keras.checkpoints import Checkpoints, replacing
from iem_xp_keras.curves import write_curves
from iem_xp_keras.exporting import FORMATS, NETWORK, export
from iem_xp_keras.labels import open_labels
from iem_xp_keras.options import read_options
from iem_xp_keras.prediction import SegNetModel
from iem_xp_keras.training import Progress, train

__all__ = ["FORMATS", "check", "export", "fit", "load"]


def fit(
    labels_dir: Path, model_dir: Path, options: Mapping[str, Any], progress: Progress
) -> Sequence[Mapping[str, float]]:
    """Train a SegNet on exported labels, or go on where an earlier call was interrupted.

    Parameters
    ----------
    labels_dir : Path
        With ``images.npy``, uint8 (K, S, S, 3), ``masks.npy``, uint8 (K, S, S) of 0 and 1, and ``meta.json``.
    model_dir : Path
        Gets ``checkpoint/``, ``history.csv`` and ``curves.png`` with every epoch, ``model.keras`` at the end.
    options : mapping
        Fields of `iem_xp_keras.options.Options` that differ from those of the schedule.
    progress : callable
        Called after every update, with updates done, of how many, and ``{"loss": mean of the epoch so far}``;
        after an epoch once more, with ``val_loss`` and ``agreement`` too, if labels are held back.

    Returns
    -------
    list of dict
        ``loss``, ``val_loss`` and ``agreement`` of every epoch.

    Raises
    ------
    ValueError
        For an unknown option or a bad value, labels that cannot be read, or a checkpoint of another training.
    """
    chosen = read_options(options)
    labels = open_labels(Path(labels_dir))
    model_dir = Path(model_dir)
    checkpoints = Checkpoints(model_dir / "checkpoint", chosen, labels, partial(write_curves, model_dir))
    if not (checkpoints.finished and (model_dir / NETWORK).exists()):
        network = train(labels, chosen, checkpoints, progress)
        # On other backends Keras imports TensorFlow, if it is there, to save a network.
        with replacing(model_dir / NETWORK) as path, without_remarks():
            network.save(path)
        checkpoints.finish()
    return checkpoints.history


def check(options: Mapping[str, Any]) -> None:
    """Raise a ValueError for options that `fit` would refuse."""
    read_options(options)


def load(model_dir: Path) -> SegNetModel:
    """Load what `fit` wrote.

    Raises
    ------
    FileNotFoundError
        If there is no finished model.
    """
    path = Path(model_dir) / NETWORK
    if not path.exists():
        raise FileNotFoundError(f"{path}: is not there; train it first, or let the training finish")
    return SegNetModel(keras.models.load_model(path, compile=False, safe_mode=True))

"""Trained networks in other formats, for programs that have neither this library nor the trainer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from iem_xp.files import placing
from iem_xp.models import read_trained
from iem_xp.trainers import load_trainer

_SAVED_MODEL = "saved_model.pb"
"""What a folder must hold to be one that may be replaced."""


class ExportError(ValueError):
    """A network that cannot be exported so; the message names the cause and the remedy."""


def export_model(folder: Path, format: str, path: Path, *, overwrite: bool = False) -> dict[str, Any]:
    """Write a trained network in another format, by the function `export` of its trainer.

    It appears at `path` when it is complete; if it cannot be made, what was there stays.

    Parameters
    ----------
    folder : Path
        Of the model.
    format : str
        One of the trainer's ``FORMATS``.
    path : Path
        File or, if the format is one of folders, folder to write; the folders above it are made.
    overwrite : bool
        Whether to replace a file that is there, or the folder of a SavedModel. No other folder is replaced.

    Returns
    -------
    dict
        What `iem_xp.models` knows of the model.

    Raises
    ------
    ExportError
        If its trainer cannot export, or not to this format; if packages that this takes are not installed;
        if there is something at `path` that is not to be replaced; or if the network cannot be converted.
    ModelError
        If the folder has no network, or one whose training is not finished.
    TrainerError
        If its trainer cannot be had.
    OSError
        If `path` cannot be written.
    """
    facts = read_trained(folder)
    _check_place(path, overwrite)
    name = facts["trainer"]
    trainer = load_trainer(name)
    export = getattr(trainer, "export", None)
    if not callable(export):
        raise ExportError(f"trainer {name} cannot export its networks: it has no function export")
    formats = getattr(trainer, "FORMATS", ())
    if format not in formats:
        raise ExportError(f"trainer {name} does not export to {format!r}; it does to {', '.join(formats)}")
    with placing(path) as new:
        try:
            export(folder, format, new)
        except (ImportError, RuntimeError, ValueError) as error:
            raise ExportError(str(error)) from error
        if not new.exists():
            raise ExportError(f"trainer {name} wrote no {format}, and did not say why")
    return facts


def _check_place(path: Path, overwrite: bool) -> None:
    if not path.exists():
        return
    if path.is_dir() and not (path / _SAVED_MODEL).is_file():
        raise ExportError(f"{path}: is a folder of something else; name a new file or folder")
    if not overwrite:
        raise ExportError(f"{path}: exists; use another name, or --overwrite to replace it")

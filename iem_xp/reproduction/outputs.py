"""The folder of a reproduction: a run for each study, images that have no file of their own, and scores."""

from __future__ import annotations

import shutil
from pathlib import Path

from iem_xp.reproduction.studies import ABLATIONS, FLOORS, GRABCUT, IEM
from iem_xp.runs.database import RunError
from iem_xp.runs.store import Run, is_run

IMAGES, SCORES = "images", "scores.csv"
STUDIES = (IEM, GRABCUT, *FLOORS, *ABLATIONS)

_OWN = {IMAGES, SCORES, *(study.name for study in STUDIES)}


def check_place(place: Path, root: Path, folder: Path | None = None) -> None:
    """Check that what is written will not be taken for a data set's own, or for a part of a run.

    Parameters
    ----------
    place : Path
        Where it is to be written.
    root : Path
        Of the data set.
    folder : Path, optional
        Of the reproduction, if `place` is to be something else.

    Raises
    ------
    RunError
        If `place` lies among the images or masks of the data set, or in a run.
    """
    taken = [root / "images", root / "masks"]
    if folder is not None:
        taken += [folder / name for name in _OWN]
    for other in taken:
        if place.resolve().is_relative_to(other.resolve()):
            raise RunError(f"{place}: lies in {other}, where nothing else belongs; name another folder")


def prepare(folder: Path, overwrite: bool) -> None:
    """Check that a folder is a reproduction, or may become one; with `overwrite`, clear what it has of one.

    Raises
    ------
    RunError
        If it is something else, or holds anything else.
    """
    if is_run(folder):
        raise RunError(f"{folder}: is a run of its own, not a reproduction; use another -o")
    if folder.exists() and not folder.is_dir():
        raise RunError(f"{folder}: is a file, not a folder; use another -o")
    names = {path.name for path in folder.iterdir()} if folder.exists() else set()
    if not any(is_run(folder / study.name) for study in STUDIES):
        others = names - _OWN if overwrite else names
        if others:
            raise RunError(f"{folder}: holds {min(others)} and is no reproduction; use another -o")
    if overwrite:
        for study in STUDIES:
            Run.clear(folder / study.name)
        shutil.rmtree(folder / IMAGES, ignore_errors=True)
        (folder / SCORES).unlink(missing_ok=True)

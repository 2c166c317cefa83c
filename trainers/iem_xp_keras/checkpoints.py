"""The state of a training on disk, from which it can go on."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from iem_xp_keras.labels import Labels
from iem_xp_keras.options import Options

Arrays = dict[str, Any]
History = list[dict[str, float]]

FORMAT_VERSION = 1

_FREE = {"accumulate"}
"""Options that may change from one session to the next, since nothing in the result depends on them."""


class Checkpoints:
    """Checkpoints of one training in a folder: arrays of some epochs, and ``state.json``, written last.

    Parameters
    ----------
    folder : Path
        Made with the first checkpoint.
    options : Options
    labels : Labels
    written : callable
        Called with the history whenever it is safe on disk.

    Attributes
    ----------
    history : list of dict
        Figures of every epoch that is done.
    finished : bool
        Whether the training is at its end.

    Raises
    ------
    ValueError
        If the folder holds checkpoints of other options (the message names them) or of other labels, or
        cannot be read.
    """

    def __init__(
        self,
        folder: Path,
        options: Options,
        labels: Labels,
        written: Callable[[History], object] = lambda history: None,
    ) -> None:
        self.folder, self._written = folder, written
        facts = {"format_version": FORMAT_VERSION, "options": asdict(options), "labels": labels.digest}
        self._facts: dict[str, Any] = json.loads(json.dumps(facts))  # tuples as they come back from a file
        self.history: History = []
        self.finished = False
        if self._state.exists():
            self._open()

    @property
    def _state(self) -> Path:
        return self.folder / "state.json"

    def _open(self) -> None:
        another = "give another folder for the model, or delete this one to train anew"
        try:
            state = json.loads(self._state.read_text(encoding="utf-8"))
            there, version = state["options"], state["format_version"]
            self.history, self.finished = state["history"], state["finished"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{self._state}: cannot be read ({error}); {another}") from error
        if version != FORMAT_VERSION:
            raise ValueError(f"{self._state}: is of format {version!r}, not {FORMAT_VERSION}; {another}")
        asked = self._facts["options"]
        other = sorted(name for name in {*there, *asked} - _FREE if there.get(name) != asked.get(name))
        if other:
            changes = ", ".join(f"{name} {there.get(name)!r}, not {asked.get(name)!r}" for name in other)
            raise ValueError(f"{self.folder}: the training there has {changes}; give the same, or {another}")
        if state["labels"] != self._facts["labels"]:
            raise ValueError(f"{self.folder}: the training there has other labels; {another}")

    def load(self, epoch: int) -> Arrays:
        """Arrays of an epoch, counted from 1.

        Raises
        ------
        ValueError
            If they cannot be read.
        """
        path = self._arrays(epoch)
        try:
            with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
                return dict(arrays)
        except (OSError, ValueError, BadZipFile) as error:
            raise ValueError(
                f"{path}: cannot be read ({error}); delete {self.folder} to train anew"
            ) from error

    def save(self, arrays: Arrays, figures: Mapping[str, float], best: int) -> None:
        """Add an epoch; of those before it, only the arrays of the epoch `best` are kept."""
        epoch = len(self.history) + 1
        with replacing(self._arrays(epoch)) as path, open(path, "wb") as file:
            np.savez(file, **arrays)
        self.history = [*self.history, dict(figures)]
        self._write(keep={epoch, best})

    def finish(self) -> None:
        """Say that the training is at its end; its arrays are not needed any more."""
        self.finished = True
        self._write(keep=set())

    def _arrays(self, epoch: int) -> Path:
        return self.folder / f"epoch-{epoch}.npz"

    def _write(self, keep: set[int]) -> None:
        state = {**self._facts, "finished": self.finished, "history": self.history}
        with replacing(self._state) as path:
            path.write_text(json.dumps(state, indent=1), encoding="utf-8")
        needed = {self._arrays(epoch) for epoch in keep}
        for path in {*self.folder.glob("epoch-*.npz"), *self.folder.glob(".*.tmp.*")} - needed:
            path.unlink()
        self._written(self.history)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give the ``with`` block a file to write, with the same suffix, which becomes `path` at its end."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{secrets.token_hex(8)}.tmp{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def best_epoch(history: Sequence[Mapping[str, float]]) -> int:
    """The epoch, counted from 1, of the highest agreement with the held-back labels; the first of equals."""
    agreements = [figures["agreement"] for figures in history]
    return 1 + agreements.index(max(agreements))

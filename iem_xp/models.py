"""Folders of trained networks: what the library knows of each, beside what its trainer keeps there."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from iem_xp.images import write_atomically
from iem_xp.runs.settings import Settings, SettingsError, differences
from iem_xp.trainers import Model, Progress, load_trainer

FILE = "iem-xp.json"
FORMAT_VERSION = 1

Facts = dict[str, Any]
"""What is known of a network, as `FILE` has it.

``trainer``; ``size`` and ``fit`` of its images, and ``edges`` of their masks, as in `Settings`; ``config``,
the numbers of the method that its labels were found with; ``options`` given to the trainer; ``trained``, and
once it is: ``id``, hex digits that no other network has; ``epochs``, ``figures`` of the last one, and
``history``, those of each, which networks that were trained before it was kept have not."""


class ModelError(ValueError):
    """A network that is not there, or cannot be trained or used; the message has the remedy."""


def describe(trainer: str, settings: Settings, options: Mapping[str, Any]) -> Facts:
    """Facts of a network that is not trained yet."""
    return {
        "format_version": FORMAT_VERSION,
        "trainer": trainer,
        "size": settings.size,
        "fit": settings.fit,
        "edges": settings.edges,
        "config": asdict(settings.config),
        "options": dict(options),
        "trained": False,
    }


def settings_of(facts: Facts) -> Settings:
    """Settings that a network's images come to their size with."""
    own: Facts = {name: facts[name] for name in ("size", "fit", "edges") if name in facts}
    return Settings.of_configuration({**facts["config"], **own})


def is_begun(folder: Path) -> bool:
    """Whether a folder has a network, or one whose training has begun."""
    return (folder / FILE).is_file()


def check_options(trainer: str, options: Mapping[str, Any]) -> None:
    """Ask a trainer whether it takes these options, if it has a function ``check`` to say so.

    Raises
    ------
    ModelError
        If it refuses one.
    TrainerError
        If the trainer cannot be had.
    """
    check = getattr(load_trainer(trainer), "check", None)
    with _refusals(trainer):
        if check is not None:
            check(options)


def train_model(folder: Path, labels: Path, facts: Facts, progress: Progress) -> Facts:
    """Train a network, continue its training, or leave it if it is trained.

    Parameters
    ----------
    folder : Path
        Of the network. `FILE` is there once the trainer has begun: options that it refuses leave none.
    labels : Path
        As `iem_xp.pseudo_labels.export_labels` wrote them.
    facts : dict
        As `describe` makes them.
    progress : callable
        As for `iem_xp.trainers.Trainer`.

    Returns
    -------
    dict
        What is known of the trained network.

    Raises
    ------
    ModelError
        If another network is there, or the trainer refuses an option.
    TrainerError
        If the trainer cannot be had.
    """
    if is_begun(folder):
        there = read_facts(folder)
        known = {name: there[name] for name in facts if name in there}  # earlier ones have less
        if lines := differences(known | {"trained": False}, facts):
            raise ModelError(f"{folder}: has another network\n{lines}remove it to train this one")
        if there["trained"]:
            return there
    trainer = load_trainer(facts["trainer"])

    def begun(done: int, total: int, figures: Mapping[str, float]) -> None:
        if not is_begun(folder):
            _write(folder, facts)
        progress(done, total, figures)

    with _refusals(facts["trainer"]):
        history = trainer.fit(labels, folder, facts["options"], begun)
    kept = [{name: float(value) for name, value in figures.items()} for figures in history]
    _write(
        folder,
        {
            **facts,
            "trained": True,
            "id": secrets.token_hex(8),
            "epochs": len(kept),
            "figures": kept[-1] if kept else {},
            "history": kept,
        },
    )
    return read_facts(folder)


def read_facts(folder: Path) -> Facts:
    """Read what is known of a network, trained or not.

    Raises
    ------
    ModelError
        If the folder has none, or it was made by a newer version.
    """
    file = folder / FILE
    if not file.is_file():
        models = sorted(path.parent for path in folder.glob(f"models/*/{FILE}")) if folder.is_dir() else []
        remedy = f"did you mean {models[0]}?" if models else "iem-xp refine makes one, in models/ of its run"
        raise ModelError(f"{folder}: no network is there, there is no {FILE} in it; {remedy}")
    try:
        facts = json.loads(file.read_text(encoding="utf-8"))
        version = facts["format_version"]
        if version > FORMAT_VERSION:
            raise ModelError(
                f"{file}: has format {version}, this iem-xp reads up to {FORMAT_VERSION}; upgrade it with: "
                "pip install -U iem-xp"
            )
        settings_of(facts)
        if not (isinstance(facts["trainer"], str) and isinstance(facts["trained"], bool)):
            raise TypeError("trainer is no text, or trained neither true nor false")
        if not _are_figures(facts.get("history", [])):
            raise TypeError("history is no list of numbers by their names")
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, KeyError, TypeError, SettingsError) as error:
        raise ModelError(
            f"{file}: cannot be read: {type(error).__name__}: {error}; train the network again with: "
            "iem-xp refine --overwrite"
        ) from error
    return facts


def _are_figures(history: object) -> bool:
    return isinstance(history, list) and all(
        isinstance(epoch, dict) and all(isinstance(value, float) for value in epoch.values())
        for epoch in history
    )


def read_trained(folder: Path) -> Facts:
    """Read what is known of a trained network.

    Raises
    ------
    ModelError
        As `read_facts` does, and if the training is not finished.
    """
    facts = read_facts(folder)
    if not facts["trained"]:
        raise ModelError(
            f"{folder}: its training is not finished; the same iem-xp refine as before continues it"
        )
    return facts


def open_model(folder: Path) -> tuple[Model, Facts]:
    """Open a trained network.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    Model
        Takes uint8 images (N, S, S, 3), with S the ``size`` of the facts.
    dict
        What is known of it, see `Facts`.

    Raises
    ------
    ModelError
        If the folder has none, its training is not finished, or its trainer cannot open it.
    TrainerError
        If its trainer cannot be had.
    """
    facts = read_trained(folder)
    trainer = load_trainer(facts["trainer"])
    try:
        return trainer.load(folder), facts
    except Exception as error:  # A plugin may fail in any way.
        raise ModelError(
            f"{folder}: trainer {facts['trainer']} cannot open its network: {type(error).__name__}: {error}; "
            "train it again with: iem-xp refine --overwrite"
        ) from error


@contextmanager
def _refusals(trainer: str) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise ModelError(f"trainer {trainer}: {error}") from error


def _write(folder: Path, facts: Facts) -> None:
    write_atomically(folder / FILE, (json.dumps(facts, indent=2) + "\n").encode())

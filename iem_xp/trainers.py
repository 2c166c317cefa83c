"""Trainers of networks, found as plugins: what is installed, what each needs, and loading one.

A trainer is an entry point of the group `GROUP` in any installed distribution. It needs nothing of this
library but a folder of labels (`iem_xp.pseudo_labels`).
"""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

GROUP = "iem_xp.trainers"
"""Entry-point group of the plugins."""

OURS = "iem-xp"

Progress = Callable[[int, int, Mapping[str, float]], object]
"""Takes the steps done, of how many, and figures such as ``{"loss": 0.3}``."""


class TrainerError(ValueError):
    """A trainer that cannot be had; the message names it, the cause, and what to install."""


class Model(Protocol):
    """A trained network."""

    def predict(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Probability of the foreground, float32 (N, S, S) in [0, 1], of images, uint8 (N, S, S, 3)."""


class Trainer(Protocol):
    """Makes a network of a folder of labels; a module with these two functions is one.

    With `export`, its networks can be exported: see docs/export-model.md; with ``check(options)``, which
    raises as `fit` does, options are refused before anything is done; with ``REFINEMENT``, a mapping, it has
    other defaults for ``rounds`` and ``then_iem`` of `iem_xp.refinement.Refinement`.
    """

    def fit(
        self, labels_dir: Path, model_dir: Path, options: Mapping[str, Any], progress: Progress
    ) -> Sequence[Mapping[str, float]]:
        """Train a network, or go on with it after an interruption; a finished one is not trained again.

        Parameters
        ----------
        labels_dir : Path
            Folder that `iem_xp.pseudo_labels.export_labels` wrote.
        model_dir : Path
            Folder of the network and of what it takes to go on, made if it is not there.
        options : mapping
            By name, as the trainer defines them.
        progress : callable
            To be called now and then, see `Progress`.

        Returns
        -------
        sequence of mapping
            Figures of every epoch, such as ``{"loss": 0.3}``.

        Raises
        ------
        ValueError
            If there is no such option, or it cannot have that value; the message names it.
        """

    def load(self, model_dir: Path) -> Model:
        """Open the network that `fit` left in a folder."""


@dataclass(frozen=True)
class Listed:
    """A trainer that is installed, not loaded yet.

    Attributes
    ----------
    name : str
    distribution, version : str
        What it came with.
    module : str
        What is imported when it is loaded.
    missing : tuple of str
        Requirements that are not met, as ``"keras>=3.13"``: of the distribution's extra of the trainer's
        name. A trainer may do without some of them, as one for several libraries.
    install : str
        The command that installs what it needs.
    """

    name: str
    distribution: str
    version: str
    module: str
    missing: tuple[str, ...]
    install: str


def list_trainers() -> list[Listed]:
    """List the trainers that are installed, by name; nothing is imported.

    Warns
    -----
    UserWarning
        If two distributions have a trainer of one name: one of them is taken, ours rather than another.
    """
    return [listed for listed, _ in _find()]


def default_trainer() -> str:
    """Name of the trainer to take where none is named: keras where all it needs is installed, or pixels."""
    ready = {listed.name for listed in list_trainers() if not listed.missing}
    return "keras" if "keras" in ready or "pixels" not in ready else "pixels"


def load_trainer(name: str) -> Trainer:
    """Import a trainer.

    Raises
    ------
    TrainerError
        If there is no trainer of this name, if it cannot be imported, or is none.
    """
    found = {listed.name: (listed, entry) for listed, entry in _find()}
    if name not in found:
        close = difflib.get_close_matches(name, found, n=1)
        hint = f"did you mean {close[0]}? " if close else ""
        raise TrainerError(
            f"no trainer is named {name!r}; {hint}known: {', '.join(found) or 'none'}; others come with the "
            f"packages that have them, keras with: {_install_line(OURS, 'keras')}"
        )
    listed, entry = found[name]
    try:
        trainer = entry.load()
        if isinstance(trainer, type):
            trainer = trainer()
    except Exception as error:  # A plugin may fail in any way.
        remedy = f"; install what it needs with: {listed.install}"
        raise TrainerError(
            f"{_full_name(listed)} cannot be imported: {type(error).__name__}: {error}"
            + remedy * (listed.install not in str(error))
        ) from error
    lacking = [function for function in ("fit", "load") if not callable(getattr(trainer, function, None))]
    if lacking:
        raise TrainerError(
            f"{_full_name(listed)} is none: it has no function {' and no '.join(lacking)}; "
            f"try a newer version: {listed.install} --upgrade"
        )
    return trainer


def refinement_of(name: str) -> dict[str, Any]:
    """Import a trainer, and return its defaults for `iem_xp.refinement.Refinement`, by name.

    Raises
    ------
    TrainerError
        As by `load_trainer`, and if it has defaults for anything but ``rounds`` and ``then_iem``.
    """
    defaults = getattr(load_trainer(name), "REFINEMENT", {})
    if not isinstance(defaults, Mapping) or not all(map(_is_choice, defaults.items())):
        raise TrainerError(
            f"trainer {name}: its REFINEMENT must be a mapping with no keys but rounds, a number above 0, "
            f"and then_iem, True or False, not {defaults!r}"
        )
    return dict(defaults)


def _is_choice(item: tuple[str, Any]) -> bool:
    """Whether a name and value are a choice of a refinement that a trainer may make."""
    name, value = item
    if name == "rounds":
        return isinstance(value, int) and not isinstance(value, bool) and value > 0
    return name == "then_iem" and isinstance(value, bool)


def _find() -> Iterator[tuple[Listed, metadata.EntryPoint]]:
    offered = [(entry.dist, entry) for entry in metadata.entry_points(group=GROUP) if entry.dist is not None]
    taken: dict[str, str] = {}
    for distribution, entry in sorted(offered, key=_precedence):
        if entry.name in taken:
            warnings.warn(
                f"{taken[entry.name]} and {distribution.name} both have a trainer named {entry.name}; that "
                f"of {taken[entry.name]} is taken, uninstall what you do not want",
                stacklevel=2,
            )
        else:
            taken[entry.name] = distribution.name
            yield _describe(distribution, entry), entry


def _precedence(offer: tuple[metadata.Distribution, metadata.EntryPoint]) -> tuple[str, bool, str]:
    distribution, entry = offer
    return entry.name, distribution.name != OURS, distribution.name


def _describe(distribution: metadata.Distribution, entry: metadata.EntryPoint) -> Listed:
    needed = map(Requirement, distribution.requires or ())
    missing = [need for need in needed if _is_of_extra(need, entry.name) and not _is_met(need)]
    extras = map(canonicalize_name, distribution.metadata.get_all("Provides-Extra") or ())
    extra = entry.name if canonicalize_name(entry.name) in extras else None
    return Listed(
        name=entry.name,
        distribution=distribution.name,
        version=distribution.version,
        module=entry.value,
        missing=tuple(f"{need.name}{need.specifier}" for need in missing),
        install=_install_line(distribution.name, extra),
    )


def _is_of_extra(need: Requirement, extra: str) -> bool:
    """Whether a requirement of a distribution is one for this extra only."""
    marker = need.marker
    return marker is not None and marker.evaluate({"extra": extra}) and not marker.evaluate({"extra": ""})


def _is_met(need: Requirement) -> bool:
    try:
        return need.specifier.contains(metadata.version(need.name), prereleases=True)
    except metadata.PackageNotFoundError:
        # It may have come under another name, as TensorFlow does with tensorflow-cpu.
        return find_spec(canonicalize_name(need.name).replace("-", "_")) is not None


def _full_name(listed: Listed) -> str:
    return f"trainer {listed.name} ({listed.module}, of {listed.distribution} {listed.version})"


def _install_line(distribution: str, extra: str | None) -> str:
    return f"pip install {distribution}" if extra is None else f"pip install '{distribution}[{extra}]'"

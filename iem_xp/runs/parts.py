"""The runs that are to be merged: whether they go together, and the run that they become."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from iem_xp.runs.database import RunError
from iem_xp.runs.records import Counts
from iem_xp.runs.settings import differences
from iem_xp.runs.store import Run
from iem_xp.runs.storing import StoreOption

KEY = "merged"
"""Where a merged run keeps, in its facts, what it was merged of."""


class Part(NamedTuple):
    """A run that is to be merged.

    Attributes
    ----------
    folder : Path
        Without symbolic links.
    configuration, versions : dict
        The facts of these names.
    engines : list of str
        Those that computed.
    counts : Counts
    kept : int
        Images that it keeps the masks of every square of.
    """

    folder: Path
    configuration: dict[str, Any]
    versions: dict[str, str]
    engines: list[str]
    counts: Counts
    kept: int


def read_parts(folders: Sequence[Path]) -> list[Part]:
    """Read what is to be known of runs before they are merged.

    Raises
    ------
    RunError
        If a folder is no run or is given twice, or if the runs differ in their configurations, in more than
        how they store their masks.
    """
    parts: dict[Path, Part] = {}
    for folder in folders:
        place = folder.resolve()
        if place in parts:
            raise RunError(f"{folder}: is given twice")
        with Run.open(folder, to_write=False) as run:
            parts[place] = Part(
                place,
                run.get_meta("configuration"),
                run.get_meta("versions") or {},
                run.get_meta("engines") or [],
                run.counts(),
                run.candidates.count(),
            )
    first, *others = parts.values()
    for other in others:
        there = {**other.configuration, "store": first.configuration.get("store")}
        if lines := differences(first.configuration, there, ("in the first", "in the second")):
            raise RunError(
                f"{first.folder} and {other.folder} were made with different configurations\n{lines}"
                "only runs of one configuration make one run"
            )
    return list(parts.values())


def differing_versions(parts: Sequence[Part]) -> dict[str, list[str]]:
    """Return the packages that the runs were made with different versions of, and these."""
    versions = _versions(parts)
    return {name: found for name, found in versions.items() if len(found) > 1}


def open_merged(
    folder: Path, parts: Sequence[Part], store: StoreOption | None = None, *, overwrite: bool = False
) -> Run:
    """Make the run that others are merged into, or open it to go on.

    Parameters
    ----------
    folder : Path
    parts : sequence of Part
        Of `read_parts`.
    store : {"files", "shards"}, optional
        How to store masks; by default as the first run does.
    overwrite : bool
        Whether to replace a run that is there.

    Raises
    ------
    RunError
        If the folder cannot serve as this run: it is, contains or is in one of the others, or holds a run
        that was not merged, or not of these.
    """
    place = folder.resolve()
    for part in parts:
        if place.is_relative_to(part.folder) or part.folder.is_relative_to(place):
            raise RunError(
                f"{folder}: is not apart from {part.folder}, which is to be merged; use another -o"
            )
    configuration = dict(parts[0].configuration)
    if store is not None:
        configuration["store"] = store
    # Where versions differ, each is named: KEY has which run was made with which.
    meta = {
        "versions": {name: ", ".join(found) for name, found in _versions(parts).items()},
        "engines": sorted({engine for part in parts for engine in part.engines}),
        KEY: [
            {"run": str(part.folder), "versions": part.versions, "engines": part.engines} for part in parts
        ],
    }
    if overwrite:
        return Run.create(folder, configuration, meta, overwrite=True)
    run = Run.resume(folder, configuration, meta)
    try:
        _check_merged(run, parts)
        meta["engines"] = sorted({*meta["engines"], *(run.get_meta("engines") or [])})
        with run.transaction():
            for key, value in meta.items():
                run.set_meta(key, value)
    except BaseException:
        run.close()
        raise
    return run


def _versions(parts: Sequence[Part]) -> dict[str, list[str]]:
    """The versions of each package, without repetition."""
    found: dict[str, dict[str, None]] = {}
    for part in parts:
        for name, version in part.versions.items():
            found.setdefault(name, {})[version] = None
    return {name: list(versions) for name, versions in found.items()}


def _check_merged(run: Run, parts: Sequence[Part]) -> None:
    before = run.get_meta(KEY)
    if before is None:
        raise RunError(
            f"{run.folder}: is a run that was not merged; use another -o, or --overwrite to replace it"
        )
    left_out = {one["run"] for one in before} - {str(part.folder) for part in parts}
    if left_out:
        raise RunError(
            f"{run.folder}: was merged of {min(left_out)}, too; give that again, use another -o, or "
            "--overwrite to replace it"
        )

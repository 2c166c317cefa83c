"""What a report says of a run: a row for each image that it shows, and the facts of the whole."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from iem_xp.models import FILE, ModelError, read_facts
from iem_xp.runs.records import Failure, Finished
from iem_xp.runs.store import Run

FACTS = ("configuration", "versions", "engines", "init_side", "refinement", "merged")
"""What a report shows of what a run keeps of itself."""


class Shown(NamedTuple):
    """An image that a report shows, and its place among the masks of its run, from 1 for the best."""

    finished: Finished
    rank: int


def choose(run: Run, limit: int) -> list[Shown]:
    """List the images that are done, from the best mask as `Run.ranked` has it.

    Of more than `limit`, >= 1, so many, evenly from the best to the worst: the ranks stay those among all.
    """
    total = run.counts().done
    ranks = set(np.linspace(1, total, min(limit, total)).round().astype(int).tolist())
    return [Shown(finished, rank) for rank, finished in enumerate(run.best(), 1) if rank in ranks]


def common_root(paths: Iterable[Path]) -> str:
    """Return the folder that all paths are in, with a separator at its end; "" if there is none."""
    # What is wanted is a prefix of the text, so that a page can put the path together again.
    root = os.path.commonprefix([os.fspath(path) for path in paths])  # noqa: RUF071
    return root[: root.rfind(os.sep) + 1]


def describe_done(shown: Shown, root: str) -> dict[str, Any]:
    """Row of an image that is done, as JSON values."""
    finished, rank = shown
    entry = finished.entry
    return {
        "name": os.fspath(entry.source.path).removeprefix(root),
        "status": "done",
        "rank": rank,
        "error": _number(finished.inpainting_error),
        "information": _number(finished.information),
        "share": _number(finished.foreground_share),
        "side": finished.init_side,
        "updates": finished.updates,
        "width": entry.width,
        "height": entry.height,
        "notes": entry.notes,
    }


def describe_failed(failure: Failure, root: str) -> dict[str, Any]:
    """Row of an image that failed, as JSON values."""
    return {
        "name": os.fspath(failure.path).removeprefix(root),
        "status": "failed",
        "problem": failure.error,
    }


def describe_run(run: Run) -> dict[str, Any]:
    """Facts of a run, as JSON values."""
    facts = {name: run.get_meta(name) for name in FACTS}
    configuration = facts["configuration"] or {}
    informed = configuration.get("choose") == "information"
    return {
        "run": os.path.abspath(run.folder),
        "counts": run.counts()._asdict(),
        "ranked_by": "information" if informed else "error",
        "facts": {name: value for name, value in facts.items() if value is not None},
        "networks": list(describe_networks(run.folder)),
    }


def describe_networks(folder: Path) -> Iterator[dict[str, Any]]:
    """Iterate over what is known of the networks of a run's refinement: each with the figures of its epochs.

    Of one that cannot be read there is a ``problem`` instead.
    """
    for pattern in ("rounds/*/models/*", "models/*"):
        for model in sorted(path.parent for path in folder.glob(f"{pattern}/{FILE}")):
            name = model.relative_to(folder).as_posix()
            try:
                facts = read_facts(model)
            except ModelError as error:
                yield {"name": name, "problem": str(error)}
                continue
            yield {
                "name": name,
                "trainer": facts["trainer"],
                "trained": facts["trained"],
                "history": [_figures(epoch) for epoch in facts.get("history", [])],
            }


def _figures(epoch: Mapping[str, float]) -> dict[str, float | None]:
    return {name: _number(value) for name, value in epoch.items()}


def _number(value: float | None) -> float | None:
    """Return a number as JSON can hold it, with as many digits as a page can use."""
    if value is None or not math.isfinite(value):
        return None
    return float(f"{value:.6g}")

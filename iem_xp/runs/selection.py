"""Which images of a run are taken: those that a list names, or all but those."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from iem_xp.runs.inputs import listed_paths
from iem_xp.runs.naming import Source
from iem_xp.runs.results import Results


@dataclass(frozen=True)
class Selection:
    """Images by their paths, as a run stores them; by default all.

    Parameters
    ----------
    only : frozenset of str, optional
        The images to take; None for all.
    omit : frozenset of str
        Those of them to leave out.
    """

    only: frozenset[str] | None = None
    omit: frozenset[str] = frozenset()

    def objection(self, path: Path) -> str | None:
        """Why an image is left out, None if it is taken."""
        name = os.fspath(path)
        if name in self.omit:
            return "listed by --except"
        return None if self.only is None or name in self.only else "not listed by --only"

    def as_dict(self) -> dict[str, Any]:
        """What tells this selection from others, as JSON values; nothing of what is not given."""
        given = {"only": self.only, "except": self.omit or None}
        return {name: _digest(paths) for name, paths in given.items() if paths is not None}


def read_selected(content: bytes, name: str) -> frozenset[str]:
    """Read a list of images, in the format of `iem_xp.runs.inputs.listed_paths`, whose errors it raises."""
    return frozenset(os.fspath(Path(path)) for path in listed_paths(content, name))


def find_unknown(run: Results, paths: Iterable[str]) -> Iterator[str]:
    """Iterate over those of the paths that have no mask in a run, sorted."""
    return (path for path in sorted(paths) if not run.is_done(Source(Path(path), "")))


def _digest(paths: frozenset[str]) -> dict[str, Any]:
    listed = b"\0".join(os.fsencode(path) for path in sorted(paths))
    return {"count": len(paths), "digest": hashlib.sha256(listed).hexdigest()[:16]}

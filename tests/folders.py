"""Files for tests that work in the current folder, which the fixture `here` makes an empty one."""

from pathlib import Path


def touch(*names: str) -> None:
    """Make empty files, and their folders."""
    for name in names:
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


PAPER = ("--preset", "paper", "--fit", "whole")
"""Options for `iem-xp segment`: the paper's search, whose square is chosen for all images of a run."""

"""The runs that the tables are made of: which settings, and what finds the masks."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from iem_xp.baselines import SIDES
from iem_xp.datasets.examples import Dataset, Example
from iem_xp.images import ImageError
from iem_xp.runs.naming import Source
from iem_xp.runs.settings import PRESETS, Settings

PAPER = PRESETS["paper"]


@dataclass(frozen=True)
class Study:
    """A run over a whole data set.

    Attributes
    ----------
    name : str
        Of its folder.
    title : str
        Of its rows.
    settings : Settings
        Their initial squares are all kept in the run, so that every choice among them can be scored, unless
        each image has one mask.
    baseline : str, optional
        What finds the masks, of `iem_xp.baselines.BASELINES`; by default the search of the paper.
    single : bool
        Whether each image has one mask, as those of a network have, whatever square it comes from.
    """

    name: str
    title: str
    settings: Settings = PAPER
    baseline: str | None = None
    single: bool = False

    @property
    def sides(self) -> tuple[int, ...]:
        """Sides of the initial squares of its masks; (0,) if each image has one mask."""
        return (0,) if self.single else self.settings.config.init_sides


def _baseline(name: str, title: str) -> Study:
    return Study(name, title, PAPER.updated({"init_sides": SIDES}), name)


IEM = Study("iem", "IEM")
REFINED = Study(f"{IEM.name}/refined", "IEM + SegNet", single=True)
BEST = Study("best", "IEM, best preset", PRESETS["best"].updated({"fit": PAPER.fit}), single=True)
GRABCUT = _baseline("grabcut", "GrabCut")
FLOORS = (_baseline("square", "centred square"), _baseline("ellipse", "centred ellipse"))
ABLATIONS = (
    Study("no-diversity", "lambda = 0", PAPER.updated({"regularization": 0})),
    Study("no-smoothing", "no smoothing", PAPER.updated({"smooth": False})),
    Study("any-pixel", "not restricted to the boundary", PAPER.updated({"boundary_only": False})),
)
"""The variants of table 4, each with one thing left out."""


def find_sources(dataset: Dataset, folder: Path) -> Iterator[Source]:
    """Iterate over the images of a data set as a run takes them; those without a file go below `folder`.

    Those that cannot even be had are left out.
    """
    for example in dataset:
        with suppress(ImageError):
            yield source_of(example, folder)


def source_of(example: Example, folder: Path) -> Source:
    """An example's image as a run takes it; an ImageError says so if it cannot be had."""
    return Source(Path(os.path.abspath(example.unpack(folder))), f"{example.name}.png")

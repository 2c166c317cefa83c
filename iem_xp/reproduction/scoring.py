"""Scores of the masks in several runs against one data set, example by example."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple

from iem_xp.boxes import fit_box, reaches_beyond
from iem_xp.datasets.examples import Dataset, DatasetError, Example
from iem_xp.evaluation.comparing import have_one_aspect
from iem_xp.evaluation.scores import BOX_FIGURES, MASK_FIGURES, Means, Score, score_mask
from iem_xp.images import ImageError, fit_truth, load_formats
from iem_xp.labels import Truth, to_truth
from iem_xp.ordered import in_order
from iem_xp.reproduction.studies import PAPER, Study, source_of
from iem_xp.runs.records import Candidate, Entry
from iem_xp.runs.store import Run

FOR_DATA_SET, FOR_IMAGE, BY_TRUTH = "data set", "image", "truth"
"""How a square may be chosen: without labels, for all images or for each; or by ground truth."""


class Row(NamedTuple):
    """Means of a method over a data set.

    Attributes
    ----------
    method : str
    square : int or None
        Side of the initial square, if it is one for all images.
    choice : {"data set", "image", "truth"} or None
        By what the square was chosen, if it was.
    means : Means
    """

    method: str
    square: int | None
    choice: str | None
    means: Means


class Found(NamedTuple):
    """The mask of one initial square, scored."""

    side: int
    inpainting_error: float
    score: Score


class Choices:
    """Means of a study for every way to choose among its initial squares.

    Parameters
    ----------
    study : Study
    figures : sequence of str
        Of every score.
    """

    def __init__(self, study: Study, figures: Sequence[str]) -> None:
        self.study = study
        self._sides = study.sides
        self._by = "either_iou" if "either_iou" in figures else "box_iou"
        self._errors = Means([str(side) for side in self._sides])
        self._of_side = {side: Means(figures) for side in self._sides}
        self._of_image, self._of_truth = Means(figures), Means(figures)

    def weigh(self, candidates: Sequence[Candidate]) -> None:
        """Add an image to those that the choice for the data set is made of, whether it counts or not."""
        self._errors.add({str(candidate.side): candidate.inpainting_error for candidate in candidates})

    def add(self, found: Sequence[Found]) -> None:
        """Add what was found in an image that counts, from every square in their order."""
        for side, _, score in found:
            self._of_side[side].add(score)
        self._of_image.add(max(found, key=lambda one: one.inpainting_error).score)
        self._of_truth.add(max((one.score for one in found), key=lambda score: score[self._by]))

    @property
    def side(self) -> int:
        """The square that the paper's protocol chooses: of highest mean inpainting error."""
        errors = self._errors.mean
        return max(self._sides, key=lambda side: errors[str(side)] or 0)

    @property
    def for_each_side(self) -> list[Row]:
        """Every square by itself; that which is chosen for the data set is marked."""
        chosen = self.side
        return [
            Row(self.study.title, side, FOR_DATA_SET if side == chosen else None, means)
            for side, means in self._of_side.items()
        ]

    @property
    def for_each_image(self) -> Row:
        """The square of highest inpainting error for each image."""
        return Row(self.study.title, None, FOR_IMAGE, self._of_image)

    @property
    def by_truth(self) -> Row:
        """The square of highest IoU for each image: a bound that no choice among them can exceed."""
        return Row(self.study.title, None, BY_TRUTH, self._of_truth)

    @property
    def best_side(self) -> Row:
        """The square of highest mean IoU over the data set."""
        side = max(self._sides, key=lambda side: self._of_side[side].mean[self._by] or 0)
        return Row(self.study.title, side, BY_TRUTH, self._of_side[side])


@dataclass
class Scoring:
    """Scores of several studies over the same images.

    Attributes
    ----------
    figures : sequence of str
        Of every score.
    n : int
        Images that every study has masks of, and whose truth can be read: those that count.
    choices : dict
        Of each study, by name.
    failed : dict
        Why an image does not count, by name.
    beyond : int
        Boxes that reach out of their images, which count all the same.
    engines : dict
        What computed the masks of each study, by name.
    """

    figures: Sequence[str]
    n: int = 0
    choices: dict[str, Choices] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    beyond: int = 0
    engines: dict[str, list[str]] = field(default_factory=dict)


def score_runs(
    dataset: Dataset,
    runs: Mapping[Study, Run],
    images: Path,
    workers: int,
    watch: Callable[[str, Study, Sequence[Found]], object] = lambda name, study, found: None,
) -> Scoring:
    """Score what the runs hold of a data set's images, each against its truth at the paper's size.

    An image counts in all studies or in none, so that they can be compared.

    Parameters
    ----------
    dataset : Dataset
        With true masks, or boxes, or both.
    runs : mapping of Study to Run
        Open; made of the images of `find_sources`.
    images : Path
        Where `find_sources` has put images that have no file of their own.
    workers : int
        Threads that read and score.
    watch : callable
        Called with the name of every image that counts, each study, and what it found there.
    """
    load_formats()
    figures = list_figures(dataset)
    scoring = Scoring(figures, choices={study.name: Choices(study, figures) for study in runs})
    scoring.engines = {study.name: run.get_meta("engines") or [] for study, run in runs.items()}
    causes = {path: error for run in runs.values() for path, error in run.failures()}

    def tasks() -> Iterator[_Task]:
        for example in dataset:
            try:
                path = source_of(example, images).path
                kept = {study: find_masks(study, run, path) for study, run in runs.items()}
            except ImageError as error:
                scoring.failed[example.name] = str(error)
                continue
            found = {study: candidates for study, candidates in kept.items() if candidates is not None}
            if len(found) == len(runs):
                for study, (_, candidates) in found.items():
                    scoring.choices[study.name].weigh(candidates)
                yield _Task(example, found)
            else:
                scoring.failed[example.name] = causes.get(path, "has not been segmented")

    for task, outcome in in_order(partial(_score, figures=figures), tasks(), workers):
        if isinstance(outcome, str):
            scoring.failed[task.example.name] = outcome
            continue
        scoring.n += 1
        scoring.beyond += task.example.box is not None and reaches_beyond(task.example.box, *task.shape)
        for study, found in outcome.items():
            scoring.choices[study.name].add(found)
            watch(task.example.name, study, found)
    return scoring


def find_masks(study: Study, run: Run, path: Path) -> tuple[Entry, Sequence[Candidate]] | None:
    """What a study found in an image: a mask of each of its squares, or its only one; None if it has none.

    Raises
    ------
    ImageError
        If a mask that was written cannot be read any more.
    """
    if not study.single:
        return run.candidates.of(path)
    written = run.written(path)
    return None if written is None else (written[0], [written[1]._replace(side=0)])


def list_figures(dataset: Dataset) -> tuple[str, ...]:
    """Figures that a data set's truth allows.

    Those of masks if there are any; those of boxes if every image has one, or if there are no masks.

    Raises
    ------
    DatasetError
        If there are neither masks nor boxes.
    """
    masks = any(example.read_truth is not None for example in dataset)
    boxes = [example.box is not None for example in dataset]
    if not masks and not any(boxes):
        raise DatasetError(f"{dataset.title}: has neither masks nor boxes, so nothing can be scored")
    return (MASK_FIGURES if masks else ()) + (BOX_FIGURES if all(boxes) or not masks else ())


def fitted_truth(example: Example, height: int, width: int) -> Truth:
    """The true mask of an image of this size, at the paper's.

    Raises
    ------
    ImageError
        If there is none, it cannot be read, or it is not of this image.
    """
    labels = example.truth
    if labels is None:
        raise ImageError("has no true mask")
    if not have_one_aspect(labels.shape, (height, width)):
        raise ImageError(
            f"its true mask, {labels.shape[1]} x {labels.shape[0]}, is not of its image, {width} x {height} "
            "when upright: one of them is turned or cut"
        )
    return to_truth(fit_truth(labels, PAPER.size, PAPER.fit))


class _Task(NamedTuple):
    """An example with what every study kept of it."""

    example: Example
    kept: Mapping[Study, tuple[Entry, Sequence[Candidate]]]

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of its image, on which all studies agree."""
        entry = next(entry for entry, _ in self.kept.values())
        return entry.height, entry.width


def _score(task: _Task, figures: Sequence[str]) -> dict[Study, list[Found]] | str:
    """What each study found in an image, or why it cannot be scored."""
    example, shape = task.example, task.shape
    truth = box = None
    try:
        if MASK_FIGURES[0] in figures:
            truth = fitted_truth(example, *shape)
            if truth.ignored.all():
                return "its true mask ignores every pixel"
    except ImageError as error:
        return str(error)
    if BOX_FIGURES[0] in figures:
        if example.box is None:
            return "has no box"
        box = fit_box(example.box, *shape, PAPER.size, PAPER.fit)
    return {
        study: [
            Found(candidate.side, candidate.inpainting_error, score_mask(candidate.mask, truth, box))
            for candidate in candidates
        ]
        for study, (_, candidates) in task.kept.items()
    }

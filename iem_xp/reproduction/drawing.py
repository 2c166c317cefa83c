"""The figures of a reproduction as files."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Mapping
from importlib import import_module
from io import StringIO
from pathlib import Path

from iem_xp.datasets.examples import Dataset, Example
from iem_xp.engines import EngineOption
from iem_xp.images import ImageError, Mask, Pixels, encode_png, fit_truth, write_atomically
from iem_xp.labels import Labels, Truth, to_truth
from iem_xp.reproduction.curves import Point, draw, trace
from iem_xp.reproduction.figures import Shown, evenly, inpainting_figure, results_figure
from iem_xp.reproduction.scoring import Scoring, find_masks
from iem_xp.reproduction.studies import IEM, PAPER, REFINED, Study, source_of
from iem_xp.runs.store import Run

INPAINTING, RESULTS, CURVE, POINTS = "figure-3.png", "results.png", "curve.png", "curve.csv"
FIGURES = (INPAINTING, RESULTS, CURVE, POINTS)
"""Names of the files."""

ROWS, SHEETS = 8, 3
"""Examples in the rows of results, and in figure 3."""


class FigureError(ValueError):
    """Figures that cannot be drawn where they were asked for; the message says what to do."""


def check_figures(folder: Path, overwrite: bool) -> None:
    """Check that figures can be drawn and written, before the work begins.

    Raises
    ------
    FigureError
        If Matplotlib cannot be loaded, or figures are there and not to be overwritten.
    """
    try:
        import_module("matplotlib.figure")
    except ImportError as error:
        raise FigureError(
            f"figures need Matplotlib; install it with: pip install 'iem-xp[figures]' ({error})"
        ) from error
    if folder.exists() and not folder.is_dir():
        raise FigureError(f"{folder}: is a file, not a folder; name another one for the figures")
    if not (overwrite or _is_drawn(folder)):
        for name in FIGURES:
            if (folder / name).exists():
                raise FigureError(
                    f"{folder / name}: exists and is none of these figures; name another folder"
                )
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not (there.is_dir() and os.access(there, os.W_OK)):
        raise FigureError(f"{folder}: cannot be written to; name another folder for the figures")


def draw_figures(
    dataset: Dataset,
    scoring: Scoring,
    runs: Mapping[Study, Run],
    images: Path,
    folder: Path,
    engine: EngineOption = "auto",
) -> list[Path]:
    """Draw the paper's figures of a data set, of the square that its protocol chooses.

    Parameters
    ----------
    dataset : Dataset
    scoring : Scoring
        Of these runs at least.
    runs : mapping of Study to Run
        Of `IEM`, and of `REFINED` if its masks are to be shown.
    images : Path
        As for `score_runs`.
    folder : Path
        Where `FIGURES` go; figure 3 only if there are true masks.
    engine : {"auto", "array", "fused"}
        For the curve.

    Returns
    -------
    list of Path
        The files written.

    Raises
    ------
    ImageError
        If no image was scored, or one that was cannot be read any more. Then nothing is written.
    """
    counted = [example for example in dataset if example.name not in scoring.failed]
    if not counted:
        raise ImageError("no image counts")
    side, config = scoring.choices[IEM.name].side, PAPER.config
    rows = [_show(example, runs, images, side) for example in evenly(counted, ROWS)]
    files = {RESULTS: encode_png(results_figure(rows, config))}
    with_truth = [(shown.image, shown.labels) for shown in rows if shown.labels is not None]
    if with_truth:
        files[INPAINTING] = encode_png(inpainting_figure(evenly(with_truth, SHEETS), config))
    points = trace(_read(counted), side, config, engine)
    files[CURVE] = draw(points, f"{dataset.title}, {len(counted)} images, square {side}")
    files = {POINTS: _as_csv(points).encode(), **files}  # first, since figures are known by it
    for name, contents in files.items():
        write_atomically(folder / name, contents)
    for name in FIGURES:
        if name not in files:  # of another data set, drawn before
            (folder / name).unlink(missing_ok=True)
    return [folder / name for name in files]


def _is_drawn(folder: Path) -> bool:
    """Whether the figures in a folder are those of an earlier time, which may be drawn anew."""
    try:
        with (folder / POINTS).open(encoding="utf-8", newline="") as file:
            return next(csv.reader(file), None) == list(Point._fields)
    except (OSError, UnicodeDecodeError, csv.Error):
        return False


def _show(example: Example, runs: Mapping[Study, Run], images: Path, side: int) -> Shown:
    path = source_of(example, images).path

    def find(study: Study, side: int) -> Mask:
        found = find_masks(study, runs[study], path)
        if found is None:
            raise ImageError(f"{example.name}: has not been segmented")
        return next(candidate.mask for candidate in found[1] if candidate.side == side)

    refined = find(REFINED, 0) if REFINED in runs else None
    return Shown(PAPER.at_work(example.image), _labels(example), find(IEM, side), refined)


def _labels(example: Example) -> Labels | None:
    labels = example.truth
    return None if labels is None else fit_truth(labels, PAPER.size, PAPER.fit)


def _read(examples: list[Example]) -> Iterator[tuple[Pixels, Truth | None]]:
    for example in examples:
        labels = _labels(example)
        yield PAPER.at_work(example.image), None if labels is None else to_truth(labels)


def _as_csv(points: list[Point]) -> str:
    file = StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(Point._fields)
    writer.writerows(points)
    return file.getvalue()

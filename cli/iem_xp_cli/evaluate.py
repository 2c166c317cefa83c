"""`iem-xp evaluate`: masks against ground truth."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import TextIOWrapper
from pathlib import Path
from typing import Any, TextIO, get_args

import click

from iem_xp.boxes import LOCALISED, BoxError
from iem_xp.evaluation.comparing import RESIZED, Comparison, compare_all
from iem_xp.evaluation.matching import MatchError, Matching, match
from iem_xp.evaluation.scores import (
    BOUNDARY_FIGURES,
    BOX_FIGURES,
    HEADINGS,
    MASK_FIGURES,
    Means,
    by_polarity,
)
from iem_xp.evaluation.table import Table
from iem_xp.files import replacing
from iem_xp.images import Fit
from iem_xp.metrics import METRICS
from iem_xp.runs.database import RunError
from iem_xp.runs.inputs import SourceError
from iem_xp_cli.helping import HelpfulCommand
from iem_xp_cli.options import max_pixels_option, workers_option
from iem_xp_cli.printing import say
from iem_xp_cli.session import left_out, listed, progress


@dataclass
class _Report:
    """What is known when all pairs are compared; but for failures, in constant memory."""

    matching: Matching
    means: Means
    notes: Counter[str] = field(default_factory=Counter)
    failed: list[Comparison] = field(default_factory=list)

    def add(self, comparison: Comparison) -> None:
        self.notes.update(comparison.notes)
        if comparison.score is None:
            self.failed.append(comparison)
        else:
            self.means.add(comparison.score)


@click.command(
    "evaluate",
    cls=HelpfulCommand,
    examples={
        "iem-xp evaluate iem-run truth": "A run beside true masks",
        "iem-xp evaluate iem-run boxes.csv --csv scores.csv": "Beside boxes, with the scores of each image",
    },
)
@click.argument("predicted", type=click.Path(path_type=Path))
@click.argument("truth", type=click.Path(path_type=Path))
@click.option(
    "--fit",
    type=click.Choice(get_args(Fit)),
    help="What a folder of masks shows: whole images, those of squash too, or crop, the central squares "
    "that `segment --fit crop` makes. A run knows it itself.  [default: whole]",
)
@click.option("--size", type=click.IntRange(min=1), help="Side of these squares, in pixels.  [default: 128]")
@click.option(
    "--boundary", is_flag=True, help="Also the F-score of the masks' boundaries, which takes its time."
)
@click.option("--csv", "table", metavar="FILE", help="Also write the scores of each image; - prints them.")
@click.option("--overwrite", is_flag=True, help="Replace the CSV file that is there.")
@max_pixels_option
@workers_option
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
def command(
    predicted: Path,
    truth: Path,
    fit: Fit | None,
    size: int | None,
    boundary: bool,
    table: str | None,
    overwrite: bool,
    workers: int,
    as_json: bool,
) -> None:
    """Compare masks with true masks or boxes.

    PREDICTED is a run, or a folder of masks. TRUTH is a folder of masks (255 foreground, 0 background, 128
    ignored), or a .csv file of boxes with the columns image,x,y,width,height, in pixels of the image. They
    are matched by path below their folders, without suffix.

    Prints accuracy, IoU, mIoU and DICE, each the mean over images: "either" takes the better of a mask and
    its complement, as the paper does, "fixed" the mask as it is. For boxes: the IoU of the box around the
    mask's largest part, and the share of images where it is above one half. --boundary adds how much of the
    boundaries lie within 0.8 % of the image's diagonal of each other.

    Ground truth is never resized. A mask of another size is brought to it by nearest neighbour. Where masks
    are of central squares, the truth is cut as its image was.

    Exit status: 0 all well, 1 a mask is missing or a file cannot be used, 2 wrong usage, 130 interrupted.
    """
    if table == "-" and as_json:
        raise click.UsageError("--csv - and --json both print on standard output; give --csv a file")
    with _messages(), _opened(table, overwrite) as file:
        matching = match(predicted, truth, fit, size)
        if boundary and matching.boxes:
            raise click.UsageError(f"--boundary needs true masks, and {truth} has boxes")
        report = _compare(matching, workers, file, boundary)
    say(_remarks(report))
    if table != "-":
        click.echo(json.dumps(_as_json(report)) if as_json else "\n".join(_as_text(report)))
    if matching.missing or report.failed:
        sys.exit(1)


@contextmanager
def _messages() -> Iterator[None]:
    try:
        yield
    except (MatchError, SourceError, RunError, BoxError) as error:
        raise click.UsageError(str(error)) from error
    except BrokenPipeError:
        raise
    except OSError as error:
        raise click.ClickException(str(error)) from error


@contextmanager
def _opened(table: str | None, overwrite: bool) -> Iterator[TextIO | None]:
    """Open the CSV file, which is there only when it is complete."""
    if table is None:
        yield None
        return
    # File names that are not valid Unicode are written as their bytes.
    text: dict[str, Any] = {"encoding": "utf-8", "errors": "surrogateescape", "newline": ""}
    if table == "-":
        output = TextIOWrapper(sys.stdout.buffer, **text)
        try:
            yield output
        finally:
            output.detach()
        return
    path = Path(table)
    if path.is_dir():
        raise click.UsageError(f"{path}: is a folder; name a file in it")
    if path.exists() and not overwrite:
        raise click.UsageError(f"{path}: exists; use another name, or --overwrite to replace it")
    with replacing(path) as temporary, temporary.open("w", **text) as file:
        yield file


def _compare(matching: Matching, workers: int, file: TextIO | None, boundary: bool) -> _Report:
    figures = BOX_FIGURES if matching.boxes else (*MASK_FIGURES, *(BOUNDARY_FIGURES if boundary else ()))
    report = _Report(matching, Means(figures))
    table = None if file is None else Table(file, figures)
    done, total = 0, len(matching.pairs)
    try:
        with progress("comparing", total) as advance:
            for comparison in compare_all(matching, workers, boundary=boundary):
                report.add(comparison)
                if table is not None:
                    table.add(comparison)
                done += 1
                advance(1)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"{done} of {total} masks were compared") from None
    if table is not None:
        table.add_missing(matching.missing)
    return report


def _remarks(report: _Report) -> Iterator[str]:
    """What a user should know beyond the figures: what was left out, and each name that has no score."""
    matching = report.matching
    if matching.left_out:
        yield left_out(matching.left_out)
    for note, count in report.notes.items():
        yield f"{note}: {count} image(s)"
    missing = (f"{name}: {cause}" if cause else name for name, cause in matching.missing.items())
    yield from listed("missing", missing, len(matching.missing))
    yield from listed("extra", matching.extra, len(matching.extra))
    yield from listed("failed", (str(failed.error) for failed in report.failed), len(report.failed))


def _as_json(report: _Report) -> dict[str, Any]:
    matching, means = report.matching, report.means
    return {
        "n": means.n,
        "missing": list(matching.missing),
        "extra": matching.extra,
        "failed": [{"name": failed.name, "error": failed.error} for failed in report.failed],
        **by_polarity(means.mean),
        "standard_error": by_polarity(means.standard_error),
        "resized": report.notes[RESIZED],
    }


def _as_text(report: _Report) -> Iterator[str]:
    matching, means = report.matching, report.means
    yield (
        f"{means.n} compared, {len(matching.missing)} missing, {len(matching.extra)} extra, "
        f"{len(report.failed)} failed"
    )
    if not means.n:
        return
    yield ""
    mean, error = means.mean, means.standard_error
    if matching.boxes:
        yield _line("", map(HEADINGS.__getitem__, BOX_FIGURES))
        yield _line("fixed", [_percent(mean[figure], error[figure]) for figure in BOX_FIGURES])
    else:
        yield _line("", map(HEADINGS.__getitem__, MASK_FIGURES[: len(METRICS)]))
        for polarity in ("either", "fixed"):
            names = [f"{polarity}_{metric}" for metric in METRICS]
            yield _line(polarity, [_percent(mean[name], error[name]) for name in names])
        for figure in BOUNDARY_FIGURES:
            if figure in mean:
                yield f"{HEADINGS[figure]} {_percent(mean[figure], error[figure])}"
    yield ""
    spread = " ± its standard error" if means.n > 1 else ""
    share = f"; localised: the share above {LOCALISED}" if matching.boxes else ""
    yield f"mean over images in %{spread}{share}"


def _line(title: str, cells: Iterable[str]) -> str:
    return "".join([f"{title:8}", *(f"{cell:>14}" for cell in cells)]).rstrip()


def _percent(mean: float | None, error: float | None) -> str:
    shown = "" if mean is None else f"{100 * mean:.2f}"
    return shown if error is None else f"{shown} ± {100 * error:.2f}"

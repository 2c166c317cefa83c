"""`iem-xp report`: a page to judge a run by eye."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from iem_xp.evaluation.matching import MatchError
from iem_xp.report.making import LONGEST, PAGE, Made, ReportError, make_report
from iem_xp.runs.database import RunError
from iem_xp.runs.inputs import SourceError
from iem_xp.runs.records import Counts
from iem_xp.runs.store import Run
from iem_xp_cli.helping import HelpfulCommand
from iem_xp_cli.options import max_pixels_option, workers_option
from iem_xp_cli.printing import completing, say
from iem_xp_cli.session import listed, progress


@click.command(
    "report",
    cls=HelpfulCommand,
    groups={"Page": ("truth", "top", "limit", "panel", "opens")},
    examples={
        "iem-xp report --open": "The run in iem-run, in the browser",
        "iem-xp report trial --truth truth --top 500": "Beside true masks, with the line of the best 500",
    },
)
@click.argument("run", metavar="[RUN]", type=click.Path(path_type=Path), default=Path("iem-run"))
@click.option(
    "--truth",
    type=click.Path(path_type=Path),
    help="Folder of true masks, as for evaluate: they are shown, and the IoU of each mask.",
)
@click.option(
    "--top",
    type=click.IntRange(min=1),
    help="Mark the best masks, as export-labels takes them; the page can change it.  [default: a quarter]",
)
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=10_000,
    show_default=True,
    help="Show so many images, evenly from the best mask to the worst, and so many failures.",
)
@click.option(
    "--panel",
    type=click.IntRange(16, LONGEST),
    default=240,
    show_default=True,
    help="Longest side of each picture, in pixels.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="Folder of the report.  [default: report in the folder of the run]",
)
@click.option("--open", "opens", is_flag=True, help="Open the page in the browser.")
@max_pixels_option
@workers_option
@click.option("--json", "as_json", is_flag=True, help="Print the summary as one JSON object.")
def command(
    run: Path, output: Path | None, panel: int, opens: bool, as_json: bool, workers: int, **options: Any
) -> None:
    """Make a page to judge a run by eye, and to choose its labels.

    RUN is a folder that `iem-xp segment`, `refine` or `predict` made, by default iem-run. The page,
    report/index.html in there, is opened by a browser from the disk: each image with its mask, cut-out and
    inpainting, and the refined mask once there is one; to be sorted, searched, and marked as good or bad.

    A report of at most 200 images is one file, which can be sent; of more, the pictures lie beside it. A
    report that is there is replaced: it only shows the run, and the marks are kept by the browser.

    What is marked can be saved as a list, for --only and --except of `iem-xp refine`, `export` and
    `export-labels`.

    Exit status: 0 all well, 1 some pictures are missing or the disk is full, 2 wrong usage, 130 interrupted.
    """
    folder = run / "report" if output is None else output
    with (
        completing("no report is written", RunError, ReportError, MatchError, SourceError),
        Run.open(run, to_write=False) as opened,
    ):
        counts = opened.counts()
        with progress("drawing", min(options["limit"], counts.done)) as advance:
            made = make_report(opened, folder, longest=panel, workers=workers, advance=advance, **options)
    say(remarks(made, counts))
    page = folder / PAGE
    summary = {
        "report": str(page),
        "count": made.count,
        "failed": made.failed,
        "waiting": counts.waiting,
        "total": made.total,
        "problems": made.problems,
    }
    text = f"{made.count} images, {made.failed} failed: {page.resolve()}"
    click.echo(json.dumps(summary) if as_json else text)
    if opens:
        click.launch(page.resolve().as_uri())
    if made.problems:
        sys.exit(1)


def remarks(made: Made, counts: Counts) -> Iterator[str]:
    """What a user should know: what the page does not show, and why."""
    if counts.waiting:
        yield f"{counts.waiting} image(s) of the run wait for their masks; its command continues it"
    if made.count < made.total:
        yield f"{made.count} of {made.total} images are shown, from the best mask to the worst (--limit)"
    if made.failed < counts.failed:
        yield f"{made.failed} of {counts.failed} failures are shown (--limit)"
    yield from listed("not shown", made.problems, len(made.problems))

"""`iem-xp export`: the masks of a run in the formats of other programs."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from iem_xp.exports.formats import FORMATS, export_run
from iem_xp.exports.reading import Exported, ExportError
from iem_xp.runs.database import RunError
from iem_xp.runs.records import Counts
from iem_xp.runs.store import Run
from iem_xp_cli.helping import HelpfulCommand
from iem_xp_cli.options import max_pixels_option, workers_option
from iem_xp_cli.printing import completing, say
from iem_xp_cli.selecting import check_selection, selection_options, take_selection
from iem_xp_cli.session import listed, name_some, progress


@click.command(
    "export",
    cls=HelpfulCommand,
    examples={
        "iem-xp export --to coco -o masks.json": "iem-run's masks, with run lengths",
        "iem-xp export iem-run/refined --to yolo -o yolo --top 500": "A folder to train Ultralytics with",
        "iem-xp export --to csv -o rows.csv": "What is known of every image, also of those that failed",
    },
    groups={"Formats": ("to", "category", "polygons", "with_images")},
)
@click.argument("folder", metavar="[RUN]", type=click.Path(path_type=Path), default=Path("iem-run"))
@click.option("--to", type=click.Choice(list(FORMATS)), required=True, help="What to write.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    help="File to write; for yolo, folder.",
)
@click.option("--top", type=click.IntRange(min=1), help="Take only the best so many masks.")
@selection_options
@click.option("--category", help="coco, yolo: name of the foreground.  [default: foreground]")
@click.option(
    "--polygons",
    is_flag=True,
    help="coco: polygons instead of run lengths, for programs that do not read these.",
)
@click.option("--with-images", is_flag=True, help="parquet: the images too, not only their masks.")
@click.option("--overwrite", is_flag=True, help="Replace what is there.")
@max_pixels_option
@workers_option
@click.option("--json", "as_json", is_flag=True, help="Print the summary as one JSON object.")
def command(
    folder: Path,
    to: str,
    output: Path,
    top: int | None,
    overwrite: bool,
    workers: int,
    as_json: bool,
    **given: Any,
) -> None:
    """Write the masks of a run for other programs: COCO, YOLO, Parquet, CSV, NumPy.

    RUN is a folder that `iem-xp segment` or `predict` made, by default iem-run, or what `refine` made of it,
    iem-run/refined. Its masks are written from the best one on. docs/export.md shows how other programs read
    them.

    Exit status: 0 all well, 1 some masks or images cannot be read or the disk is full, 2 wrong usage, 130
    interrupted.
    """
    if str(output) == "-":
        raise click.UsageError("-o -: nothing is written to standard output; name a file")
    selection = take_selection(given)
    options = {name: value for name, value in given.items() if value not in (None, False)}
    for name in options:
        if name not in FORMATS[to].options:
            fitting = " and ".join(other for other, known in FORMATS.items() if name in known.options)
            raise click.UsageError(f"--{name.replace('_', '-')} is for --to {fitting}")
    start = time.perf_counter()
    with completing("nothing is written", RunError, ExportError), Run.open(folder, to_write=False) as run:
        check_selection(run, selection)
        counts, changed = run.counts(), list(run.changed())
        with progress("exporting", counts.done if top is None else min(top, counts.done)) as advance:
            exported = export_run(
                run,
                to,
                output,
                selection,
                top=top,
                overwrite=overwrite,
                workers=workers,
                advance=advance,
                **options,
            )
    say(_remarks(exported, to, top, counts, changed))
    summary = {
        "path": str(output),
        "format": to,
        "count": exported.count,
        "empty": exported.empty,
        "left_out": dict(exported.left_out),
        "failed": [{"path": str(path), "error": error} for path, error in exported.failed],
        "failed_in_run": counts.failed,
        "seconds": round(time.perf_counter() - start, 3),
    }
    click.echo(json.dumps(summary) if as_json else f"{exported.count} masks: {output}")
    if exported.failed:
        sys.exit(1)


def _remarks(
    exported: Exported, to: str, top: int | None, counts: Counts, changed: Sequence[Path]
) -> Iterator[str]:
    """What a user should know: what is not written, and why."""
    if counts.waiting:
        yield f"{counts.waiting} image(s) of the run wait for their masks; its command continues it"
    if counts.failed and to != "csv":
        yield f"{counts.failed} image(s) of the run failed, and have no mask; --to csv has their errors"
    if changed:
        yield f"{len(changed)} image(s) changed, and their masks are of before: {name_some(changed)}"
    for cause, count in exported.left_out.items():
        yield f"left out, {cause}: {count} image(s)"
    if exported.empty:
        yield f"without foreground: {exported.empty} image(s)"
    yield from listed("failed", (failure.error for failure in exported.failed), len(exported.failed))
    if top is not None and exported.count < top:
        yield f"{exported.count} masks, which are all that there are (--top {top})"

"""`iem-xp export-labels`: the best masks of a run as labels to train on."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import click

from iem_xp.curation import Curation
from iem_xp.pseudo_labels import Exported, LabelError, export_labels
from iem_xp.runs.database import RunError
from iem_xp.runs.store import Run
from iem_xp_cli.helping import HelpfulCommand
from iem_xp_cli.options import Command, max_pixels_option, workers_option
from iem_xp_cli.printing import completing, say
from iem_xp_cli.selecting import check_selection, selection_options, take_selection
from iem_xp_cli.session import listed, progress


def _share_option(flag: str, default: float, text: str) -> Callable[[Command], Command]:
    return click.option(flag, type=click.FloatRange(0, 1), default=default, show_default=True, help=text)


def curation_options(command: Command) -> Command:
    """Options for all that `Curation` has; its arguments are their values."""
    for option in (
        click.option("--fill-holes", is_flag=True, help="Fill background that does not reach the border."),
        click.option("--largest-component", is_flag=True, help="Keep a mask's largest connected part only."),
        _share_option("--max-share", 1.0, "Leave out labels with more foreground than this share."),
        _share_option("--min-share", 0.0, "Leave out labels with less foreground than this share."),
        selection_options,
    ):
        command = option(command)
    return command


def take_curation(options: dict[str, Any]) -> Curation:
    """Take the values of `curation_options` out of a command's options."""
    chosen: dict[str, Any] = {"selection": take_selection(options)}
    chosen |= {field.name: options.pop(field.name) for field in fields(Curation) if field.name not in chosen}
    try:
        return Curation(**chosen)
    except ValueError as error:
        raise click.UsageError(re.sub(r"(min|max)_share", r"--\1-share", str(error))) from error


@click.command(
    "export-labels",
    cls=HelpfulCommand,
    examples={
        "iem-xp export-labels --top 8000 -o labels": "The best 8,000 masks of iem-run",
        "iem-xp export-labels trial --top 500 --max-share 0.6 -o few": "None with more than 60 % foreground",
    },
)
@click.argument("run", metavar="[RUN]", type=click.Path(path_type=Path), default=Path("iem-run"))
@click.option("--top", type=click.IntRange(min=1), required=True, help="How many masks, or all if fewer.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True, help="Folder to write the labels to."
)
@curation_options
@click.option("--overwrite", is_flag=True, help="Replace labels that are there.")
@max_pixels_option
@workers_option
@click.option("--json", "as_json", is_flag=True, help="Print the summary as one JSON object.")
def command(
    run: Path, top: int, output: Path, overwrite: bool, workers: int, as_json: bool, **options: Any
) -> None:
    """Write the best masks of a run, with their images, as labels to train on.

    RUN is a folder that `iem-xp segment` made, by default iem-run; its best masks are those of highest
    information, or of highest inpainting error if that chose their initial squares. The labels are
    images.npy, masks.npy, labels.csv and meta.json, which docs/labels.md describes. The next best takes the
    place of an image that cannot be read any more, or whose mask is left out.

    Exit status: 0 all well, 1 some images cannot be read or the disk is full, 2 wrong usage, 130 interrupted.
    """
    curation = take_curation(options)
    with completing("no labels are written", RunError, LabelError), Run.open(run, to_write=False) as opened:
        check_selection(opened, curation.selection)
        counts = opened.counts()
        with progress("exporting", min(top, counts.done)) as advance:
            exported = export_labels(
                opened, output, top, curation, workers=workers, overwrite=overwrite, advance=advance
            )
    say(remarks(exported, top, counts.waiting))
    summary = {
        "labels": str(output),
        "count": exported.count,
        "top": top,
        "left_out": dict(exported.left_out),
        "failed": [{"path": str(path), "error": error} for path, error in exported.failed],
    }
    click.echo(json.dumps(summary) if as_json else f"{exported.count} labels: {output}")
    if exported.failed:
        sys.exit(1)


def remarks(exported: Exported, top: int, waiting: int) -> Iterator[str]:
    """What a user should know: what is not among the labels, and why."""
    if waiting:
        yield f"{waiting} image(s) of the run wait for their masks; its command continues it"
    for cause, count in exported.left_out.items():
        yield f"left out, {cause}: {count} image(s)"
    yield from listed("failed", (failure.error for failure in exported.failed), len(exported.failed))
    if exported.count < top:
        yield f"{exported.count} labels, which are all that there are (--top {top})"

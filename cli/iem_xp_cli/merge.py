"""`iem-xp merge`: runs that were made apart become one."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from iem_xp.runs.merging import Merger
from iem_xp.runs.parts import Part, differing_versions, open_merged, read_parts
from iem_xp.runs.store import Run
from iem_xp.runs.storing import StoreOption
from iem_xp_cli.helping import HelpfulCommand
from iem_xp_cli.inputs import continued_store
from iem_xp_cli.options import overwrite_option, store_option, workers_option
from iem_xp_cli.printing import say
from iem_xp_cli.session import failures, messages, progress


@click.command(
    "merge",
    cls=HelpfulCommand,
    examples={
        "iem-xp merge part-1 part-2 part-3 -o whole": "What three jobs made with --shard 1/3 and so on"
    },
)
@click.argument("runs", metavar="RUN...", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("iem-run"),
    show_default=True,
    help="Folder of the merged run.",
)
@overwrite_option
@store_option
@workers_option
@click.option("--json", "as_json", is_flag=True, help="Print the summary as one JSON object.")
def command(
    runs: tuple[Path, ...],
    output: Path,
    overwrite: bool,
    store: StoreOption | None,
    workers: int,
    as_json: bool,
) -> None:
    """Merge runs of one configuration, as of the jobs of an array, into one.

    RUN is what `iem-xp segment INPUT --shard 1/4 -o RUN` made, and so on. What comes of them is the run that
    one command would have made of all their images; where one initial square is chosen for all of them, it is
    chosen anew. The runs themselves are only read, and may be deleted afterwards.

    The same command again continues an interrupted one, and takes over what its runs have got since. It may
    name further runs.

    Exit status: 0 all well, 1 some images failed or the disk did, 2 wrong usage, 130 interrupted.
    """
    with messages():
        parts = read_parts(runs)
        store = store or continued_store(output, overwrite)
        with open_merged(output, parts, store, overwrite=overwrite) as run:
            summary = _merge(run, parts, workers, overwrite)
    say(_remarks(parts, output, summary))
    click.echo(json.dumps(summary) if as_json else _as_text(summary))
    if summary["failed"]:
        sys.exit(1)


def _merge(run: Run, parts: Sequence[Part], workers: int, overwrite: bool) -> dict[str, Any]:
    start = time.perf_counter()
    merger = Merger(run, parts, workers=workers)
    try:
        with progress("gathering", sum(part.kept for part in parts)) as advance:
            merger.gather(advance)
        with progress("copying", sum(part.counts.done + part.counts.failed for part in parts)) as advance:
            merger.copy(advance)
        with progress("writing masks", merger.count_unwritten()) as advance:
            merger.write(advance)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"{run.counts().done} images are merged; "
            f"the same command{' without --overwrite' if overwrite else ''} continues"
        ) from None
    counts = run.counts()
    return {
        "run": str(run.folder),
        "merged": [str(part.folder) for part in parts],
        "done": counts.done,
        "failed": counts.failed,
        "copied": merger.copied,
        "written": merger.written,
        "seconds": round(time.perf_counter() - start, 3),
        "init_side": run.get_meta("init_side"),
        **run.means(),
    }


def _remarks(parts: Sequence[Part], output: Path, summary: dict[str, Any]) -> Iterator[str]:
    """What a user should know beyond the summary."""
    for part in parts:
        if part.counts.waiting:
            yield f"{part.folder}: is not finished: {part.counts.waiting} image(s) waited for their masks"
    for name, versions in differing_versions(parts).items():
        yield f"{name} was not the same in all runs: {', '.join(versions)}; masks may differ a little"
    if summary["failed"]:
        yield from failures(output)


def _as_text(summary: dict[str, Any]) -> str:
    square = summary["init_side"]
    return "\n".join(
        [
            f"{summary['done']} done, {summary['failed']} failed, of {len(summary['merged'])} runs, "
            f"in {summary['seconds']:.1f} s: {summary['copied']} copied, {summary['written']} written anew",
            *([f"initial square: {square}, of all images"] if square else []),
            f"masks: {Path(summary['run']) / 'masks'}",
        ]
    )

"""`iem-xp reproduce`: the paper's tables and figures on a data set."""

from __future__ import annotations

import csv
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from iem_xp.baselines import BaselineError, BaselineMethod, check_grabcut
from iem_xp.datasets import KINDS, Dataset, DatasetError, open_dataset
from iem_xp.engines import EngineOption
from iem_xp.files import replacing
from iem_xp.images import ImageError
from iem_xp.reproduction.drawing import FigureError, check_figures, draw_figures
from iem_xp.reproduction.report import ablation_table, results_table
from iem_xp.reproduction.scoring import Found, Scoring, list_figures, score_runs
from iem_xp.reproduction.studies import ABLATIONS, FLOORS, GRABCUT, IEM, Study, find_sources
from iem_xp.reproduction.tables import Table, to_csv
from iem_xp.runs.methods import Method
from iem_xp.runs.store import Run, is_run
from iem_xp_cli.options import check_engine, device_option, engine_option, take_device, workers_option
from iem_xp_cli.session import listed, messages, printable, progress, search, segment_folder

FORMATS = ("text", "markdown", "csv", "json")

_IMAGES, _SCORES = "images", "scores.csv"
_EXPLANATION = (
    "Means over images in %, ± standard error. either: the better of each mask and its complement, as in the "
    "paper; fixed: the mask as it is. In parentheses the initial square."
)


@click.command("reproduce")
@click.argument("kind", type=click.Choice(list(KINDS)))
@click.option(
    "--root", type=click.Path(path_type=Path), required=True, help="Folder that the data set was unpacked to."
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="Folder of the runs.  [default: iem-reproduce/ and a name]",
)
@click.option("--split", help="Part of the data set.  [default: test, or all of it]")
@click.option("--limit", type=click.IntRange(min=1), help="Take only the first so many images.")
@click.option("--ablate", is_flag=True, help="Also the ablation: lambda = 0, no smoothing, any pixel free.")
@click.option(
    "--baselines/--no-baselines", default=True, show_default=True, help="Also GrabCut and centred figures."
)
@click.option("--figures", type=click.Path(path_type=Path), help="Folder to write the paper's figures to.")
@click.option(
    "--format",
    "as_format",
    type=click.Choice(FORMATS),
    default="text",
    show_default=True,
    help="Of the tables.",
)
@click.option("--json", "as_json", is_flag=True, help="As --format json.")
@click.option("--overwrite", is_flag=True, help="Replace the runs and figures that are there.")
@workers_option
@device_option
@engine_option
def command(
    kind: str,
    root: Path,
    output: Path | None,
    split: str | None,
    limit: int | None,
    ablate: bool,
    baselines: bool,
    figures: Path | None,
    as_format: str,
    as_json: bool,
    overwrite: bool,
    workers: int,
    device: str,
    engine: EngineOption,
) -> None:
    """Reproduce the paper's tables on a data set.

    KIND is a data set as it is distributed, or folder: images/ with masks/ of the same names, or with
    bounding_boxes.csv. docs/datasets.md says how each is to be unpacked.

    All images are segmented by the paper's protocol: 128 x 128 crops, 150 updates from each of three
    squares. The table has every way to choose among these, GrabCut and centred figures by the same protocol,
    and the paper's own rows. The same command again continues where it stopped.

    Exit status: 0 all well, 1 some images could not be segmented or scored, 2 wrong usage, 130 interrupted.
    """
    with _messages():
        if split in KINDS[kind].splits[:1]:
            split = None  # the default by its name makes the same runs
        dataset = open_dataset(kind, root, split)
        dataset = replace(dataset, title=printable(dataset.title), examples=dataset.examples[:limit])
        list_figures(dataset)  # or an error, before the work begins
        if figures is not None:
            check_figures(figures, overwrite)
        studies = _list_studies(ablate, baselines)
    device = take_device(device)
    check_engine(engine, device, IEM.settings)
    for note in dataset.notes:
        click.echo(printable(note), err=True)

    folder = output or _default_output(kind, root, split)
    if (folder / _SCORES).exists() and not (overwrite or is_run(folder / IEM.name)):
        raise click.UsageError(f"{folder / _SCORES}: is of something else; use another -o, or --overwrite")
    facts = {"dataset": kind, "root": os.path.abspath(root), "split": split}
    with _messages():
        for study in studies:
            method = _method(study, device, engine)
            _run(study, method, dataset, folder, facts=facts, workers=workers, overwrite=overwrite)
        scoring = _score(dataset, studies, folder, workers)
        tables = [results_table(kind, dataset.title, scoring)]
        if ablate:
            tables.append(ablation_table(kind, dataset.title, scoring))
    causes = (f"{name}: {cause}" for name, cause in scoring.failed.items())
    for line in listed("not counted", causes, len(scoring.failed)):
        click.echo(line, err=True)
    if as_json or as_format == "json":
        click.echo(json.dumps(_as_dict(kind, dataset, scoring, tables, folder)))
    else:
        click.echo(_formatted(tables, as_format), nl=False)
    if figures is not None:
        with _messages(), Run.open(folder / IEM.name) as run:
            drawn = draw_figures(dataset, scoring, run, folder / _IMAGES, figures, engine)
        click.echo(f"figures: {', '.join(map(str, drawn))}", err=True)
    if scoring.failed:
        sys.exit(1)


@contextmanager
def _messages() -> Iterator[None]:
    try:
        with messages():
            yield
    except (DatasetError, FigureError) as error:
        raise click.UsageError(str(error)) from error
    except ImageError as error:  # there is none, or it has changed since it was segmented
        raise click.ClickException(f"no figures are drawn: {error}") from error


def _list_studies(ablate: bool, baselines: bool) -> list[Study]:
    studies = [IEM]
    if baselines:
        try:
            check_grabcut()
            studies.append(GRABCUT)
        except BaselineError as error:
            click.echo(f"GrabCut is left out: {error}", err=True)
        studies += FLOORS
    return studies + (list(ABLATIONS) if ablate else [])


def _default_output(kind: str, root: Path, split: str | None) -> Path:
    names = [kind, os.path.basename(os.path.abspath(root)) if kind == "folder" else None, split]
    return Path("iem-reproduce", "-".join(name for name in names if name))


def _method(study: Study, device: str, engine: EngineOption) -> Method:
    if study.baseline is not None:
        return BaselineMethod(study.baseline, study.settings.config)
    return search(study.settings, device, engine)


def _run(
    study: Study,
    method: Method,
    dataset: Dataset,
    folder: Path,
    *,
    facts: dict[str, Any],
    workers: int,
    overwrite: bool,
) -> None:
    summary = segment_folder(
        find_sources(dataset, folder / _IMAGES),
        folder / study.name,
        study.settings,
        method,
        total=len(dataset),
        facts=facts,
        workers=workers,
        overwrite=overwrite,
        title=study.title,
    )
    new = summary["done"] - summary["continued"]
    click.echo(
        f"{study.title}: {new} segmented in {summary['seconds']:.1f} s, {summary['skipped']} done before, "
        f"{summary['failed']} failed ({summary['device']}, {summary['engine'] or 'nothing to do'})",
        err=True,
    )


def _score(dataset: Dataset, studies: Sequence[Study], folder: Path, workers: int) -> Scoring:
    """Score the runs, and keep the scores of every image beside them."""
    figures = list_figures(dataset)
    with ExitStack() as stack:
        runs = {study: stack.enter_context(Run.open(folder / study.name)) for study in studies}
        path = stack.enter_context(replacing(folder / _SCORES))
        file = stack.enter_context(path.open("w", newline="", encoding="utf-8", errors="surrogateescape"))
        advance = stack.enter_context(progress("scoring", len(dataset) * len(studies)))
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["name", "method", "side", "inpainting_error", *figures])

        def write(name: str, study: Study, found: Sequence[Found]) -> None:
            for side, error, score in found:
                writer.writerow([name, study.name, side, error, *(score[figure] for figure in figures)])
            advance(1)

        return score_runs(dataset, runs, folder / _IMAGES, workers, write)


def _formatted(tables: Sequence[Table], as_format: str) -> str:
    if as_format == "csv":
        return to_csv(tables)
    shown = (table.to_markdown() if as_format == "markdown" else table.to_text() for table in tables)
    return "\n\n".join([*shown, _EXPLANATION, ""])


def _as_dict(
    kind: str, dataset: Dataset, scoring: Scoring, tables: Sequence[Table], folder: Path
) -> dict[str, Any]:
    return {
        "dataset": kind,
        "title": dataset.title,
        "n": scoring.n,
        "failed": [{"name": name, "error": error} for name, error in scoring.failed.items()],
        "notes": list(dataset.notes),
        "init_side": scoring.choices[IEM.name].side if scoring.n else None,
        "runs": str(folder),
        **{
            key: [line.as_dict() for line in table.lines]
            for key, table in zip(("results", "ablation"), tables, strict=False)
        },
    }

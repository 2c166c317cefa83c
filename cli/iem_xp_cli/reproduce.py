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
from iem_xp.models import ModelError, check_options
from iem_xp.pseudo_labels import LabelError
from iem_xp.refinement import Refinement
from iem_xp.reproduction.drawing import FigureError, check_figures, draw_figures
from iem_xp.reproduction.outputs import IMAGES, SCORES, check_place, prepare
from iem_xp.reproduction.report import ablation_table, explain, results_table
from iem_xp.reproduction.scoring import Found, Scoring, list_figures, score_runs
from iem_xp.reproduction.studies import (
    ABLATIONS,
    BEST,
    FLOORS,
    GRABCUT,
    IEM,
    REFINED,
    Study,
    find_sources,
)
from iem_xp.reproduction.tables import Table, to_csv
from iem_xp.runs.database import RunError
from iem_xp.runs.methods import Method
from iem_xp.runs.naming import Source
from iem_xp.runs.store import Run
from iem_xp.trainers import TrainerError
from iem_xp_cli.helping import HelpfulCommand
from iem_xp_cli.options import check_engine, device_option, engine_option, take_device, workers_option
from iem_xp_cli.printing import printable, say
from iem_xp_cli.refining import refine_run
from iem_xp_cli.session import listed, messages, progress, search, segment_folder

FORMATS = ("text", "markdown", "csv", "json")


@click.command(
    "reproduce",
    cls=HelpfulCommand,
    examples={
        "iem-xp reproduce flowers --root ./102flowers --ablate": "The paper's tables for Oxford 102 Flowers",
        "iem-xp reproduce folder --root ./mine --best": "For images/ and masks/ of one's own",
    },
    groups={
        "Protocol": ("ablate", "best", "baselines", "refine"),
        "With --refine": ("trainer", "schedule", "top", "then_iem", "rounds"),
    },
)
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
@click.option("--best", is_flag=True, help="Also the best preset, on the same crops.")
@click.option(
    "--baselines/--no-baselines", default=True, show_default=True, help="Also GrabCut and centred figures."
)
@click.option("--refine", is_flag=True, help="Also IEM + SegNet: a network trained on the masks of IEM.")
@click.option("--trainer", help="With --refine: what trains, see `iem-xp trainers`.  [default: keras]")
@click.option("--schedule", help="With --refine: of the trainer.  [default: paper, for keras]")
@click.option("--top", type=click.IntRange(min=1), help="With --refine: labels to select.  [default: 8000]")
@click.option("--then-iem", is_flag=True, help="With --refine: search on from the network's masks (IEM).")
@click.option("--rounds", type=click.IntRange(min=1), help="With --refine: how often to train.  [default: 1]")
@click.option("--figures", type=click.Path(path_type=Path), help="Folder to write the paper's figures to.")
@click.option(
    "--format",
    "as_format",
    type=click.Choice(FORMATS),
    help="Of the tables.  [default: text]",
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
    best: bool,
    baselines: bool,
    refine: bool,
    figures: Path | None,
    as_format: str | None,
    as_json: bool,
    overwrite: bool,
    workers: int,
    device: str,
    engine: EngineOption,
    **refining: Any,
) -> None:
    """Reproduce the paper's tables on a data set.

    KIND is a data set as it is distributed, or folder: images/ with masks/ of the same names, or with
    bounding_boxes.csv. docs/datasets.md says how each is to be unpacked.

    All images are segmented by the paper's protocol: 128 x 128 crops, 150 updates from each of three
    squares. The table has every way to choose among these, GrabCut and centred figures by the same protocol,
    and the paper's own rows. The same command again continues where it stopped.

    With --refine a network is trained on the best masks of the square that is chosen for the data set, as by
    iem-xp refine, and the table has a row of its masks. With --best it has one of the best preset, which
    goes beyond the paper.

    Exit status: 0 all well, 1 some images could not be segmented or scored, 2 wrong usage, 130 interrupted.
    """
    if as_json and as_format not in (None, "json"):
        raise click.UsageError(f"--json and --format {as_format}: one of them only")
    as_format = "json" if as_json else as_format or "text"
    refinement = _choose_refinement(refine, **refining)
    if split in KINDS[kind].splits[:1]:
        split = None  # the default by its name makes the same runs
    folder = output or _default_output(kind, root, split)
    with _messages(overwrite):
        whole = open_dataset(kind, root, split)
        notes = [printable(note) for note in whole.notes]
        dataset = replace(whole, title=printable(whole.title), examples=whole.examples[:limit])
        list_figures(dataset)  # or an error, before the work begins
        check_place(folder, root)
        if figures is not None:
            check_place(figures, root, folder)
            check_figures(figures, overwrite)
        studies = _list_studies(ablate, best, baselines, notes)
        if refinement is not None:
            check_options(refinement.trainer, refinement.options)
    device = take_device(device)
    check_engine(engine, device, IEM.settings)

    facts: dict[str, Any] = {"dataset": kind, "root": os.path.abspath(root), "split": split}
    with _messages(overwrite):
        prepare(folder, overwrite)
        images = list(find_sources(dataset, folder / IMAGES))  # once: those of LSUN are read to be unpacked
        for study in studies:
            method = _method(study, device, engine)
            _run(study, method, images, folder, facts=facts, workers=workers, overwrite=overwrite)
        if refinement is not None:
            notes.append(_refine(refinement, folder, workers, device))
            studies.insert(1, REFINED)
        scoring = _score(dataset, studies, folder, workers)
    causes = (f"{name}: {cause}" for name, cause in scoring.failed.items())
    say(listed("not counted", causes, len(scoring.failed)))

    counted = f"{scoring.n} of {len(whole)}" if scoring.n < len(whole) else str(scoring.n)
    tables = _tables(kind, f"{dataset.title}, {counted} images", scoring, ablate)
    if as_format == "json":
        facts |= {"title": dataset.title, "total": len(whole), "notes": notes, "runs": str(folder)}
        click.echo(json.dumps(_as_dict(facts, scoring, tables)))
    if not tables:
        raise click.ClickException(f"no image of {dataset.title} counts, so there is nothing to show")
    if as_format == "csv":
        for note in notes:
            click.echo(note, err=True)
    if as_format != "json":
        below = [*explain(kind, tables, scoring), *notes]
        click.echo(_formatted(tables, as_format, below), nl=False)
    if figures is not None:
        with _messages(overwrite), _opened(studies, folder) as runs:
            drawn = draw_figures(dataset, scoring, runs, folder / IMAGES, figures, engine)
        click.echo(f"figures: {', '.join(map(str, drawn))}", err=True)
    if scoring.failed:
        sys.exit(1)


@contextmanager
def _messages(overwrite: bool) -> Iterator[None]:
    try:
        with messages():
            yield
    except (DatasetError, FigureError, LabelError, ModelError, TrainerError) as error:
        raise click.UsageError(str(error)) from error
    except ImageError as error:  # it has changed since it was segmented
        raise click.ClickException(f"no figures are drawn: {error}") from error
    except KeyboardInterrupt as error:
        again = f"the same command{' without --overwrite' if overwrite else ''} continues"
        raise KeyboardInterrupt(*(error.args or [again])) from None


def _choose_refinement(refine: bool, schedule: str | None, **given: Any) -> Refinement | None:
    given = {name: value for name, value in given.items() if value}  # the others have their defaults
    options = {"schedule": schedule} if schedule else {}
    if refine:
        return Refinement(**given, options=options)
    for name in (*given, *options):
        raise click.UsageError(f"--{name.replace('_', '-')} says how to --refine, which is not given")
    return None


def _list_studies(ablate: bool, best: bool, baselines: bool, notes: list[str]) -> list[Study]:
    """Studies to run; `notes` are added to where one cannot be."""
    studies = [IEM, *([BEST] if best else [])]
    if baselines:
        try:
            check_grabcut()
            studies.append(GRABCUT)
        except BaselineError as error:
            notes.append(f"GrabCut is left out: {error}")
        studies += FLOORS
    return studies + (list(ABLATIONS) if ablate else [])


def _default_output(kind: str, root: Path, split: str | None) -> Path:
    names = [kind, os.path.basename(os.path.abspath(root)) if kind == "folder" else None, split]
    return Path("iem-reproduce", "-".join(name for name in names if name))


def _method(study: Study, device: str, engine: EngineOption) -> Method:
    if study.baseline is not None:
        return BaselineMethod(study.baseline, study.settings.config)
    return search(study.settings, device, engine)


def _run(study: Study, method: Method, images: Sequence[Source], folder: Path, **options: Any) -> None:
    options |= {"total": len(images), "title": study.title, "redo_changed": True}
    try:
        summary = segment_folder(images, folder / study.name, study.settings, method, **options)
    except KeyboardInterrupt as error:
        raise KeyboardInterrupt(f"{study.title}: {error}") from None
    new, before = summary["done"] - summary["continued"], summary["skipped"] + summary["continued"]
    click.echo(
        f"{study.title}: {new} segmented in {summary['seconds']:.1f} s, {before} before, "
        f"{summary['failed']} failed",
        err=True,
    )


def _refine(refinement: Refinement, folder: Path, workers: int, device: str) -> str:
    """Refine the run of IEM; return a note on how."""
    try:
        with Run.open(folder / IEM.name) as run:
            summary = refine_run(run, refinement, workers, device)
    except RunError as error:
        raise RunError(
            f"{error}\n(of: iem-xp refine {folder / IEM.name}; that of reproduce deletes the searches, too)"
        ) from error
    seconds = sum(sum(past["seconds"].values()) for past in summary["rounds"])
    click.echo(f"{REFINED.title}: {summary['predicted']} predicted, {seconds:.1f} s in all", err=True)
    schedule = refinement.options.get("schedule", "default")
    rounds = f", round {refinement.rounds} of {refinement.rounds}" if refinement.rounds > 1 else ""
    return (
        f"{REFINED.title}: {summary['labels']:,} labels, {summary['epochs']} epochs of the trainer "
        f"{refinement.trainer} by its {schedule} schedule{rounds}{', then IEM' * refinement.then_iem}."
    )


@contextmanager
def _opened(studies: Sequence[Study], folder: Path) -> Iterator[dict[Study, Run]]:
    with ExitStack() as stack:
        yield {study: stack.enter_context(Run.open(folder / study.name, to_write=False)) for study in studies}


def _score(dataset: Dataset, studies: Sequence[Study], folder: Path, workers: int) -> Scoring:
    """Score the runs, and keep the scores of every image beside them."""
    figures = list_figures(dataset)
    with ExitStack() as stack:
        runs = stack.enter_context(_opened(studies, folder))
        path = stack.enter_context(replacing(folder / SCORES))
        file = stack.enter_context(path.open("w", newline="", encoding="utf-8", errors="surrogateescape"))
        advance = stack.enter_context(progress("scoring", len(dataset) * len(studies)))
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["name", "study", "square", "inpainting_error", *figures])

        def write(name: str, study: Study, found: Sequence[Found]) -> None:
            for side, error, score in found:
                writer.writerow([name, study.name, side, error, *(score[figure] for figure in figures)])
            advance(1)

        return score_runs(dataset, runs, folder / IMAGES, workers, write)


def _tables(kind: str, title: str, scoring: Scoring, ablate: bool) -> list[Table]:
    """Tables of what counts; none if nothing does."""
    if not scoring.n:
        return []
    results = results_table(kind, title, scoring)
    return [results, ablation_table(kind, title, scoring)] if ablate else [results]


def _formatted(tables: Sequence[Table], as_format: str, notes: Sequence[str]) -> str:
    if as_format == "csv":
        return to_csv(tables)
    if as_format == "markdown":
        return "\n\n".join([*(table.to_markdown() for table in tables), *notes, ""])
    return "\n\n".join([*(table.to_text() for table in tables), "\n".join([*notes, ""])])


def _as_dict(facts: dict[str, Any], scoring: Scoring, tables: Sequence[Table]) -> dict[str, Any]:
    return {
        **facts,
        "n": scoring.n,
        "failed": [{"name": name, "error": error} for name, error in scoring.failed.items()],
        "init_side": scoring.choices[IEM.name].side if scoring.n else None,
        "engines": scoring.engines,
        **{table.name: [line.as_dict() for line in table.lines] for table in tables},
    }

"""`iem-xp refine`: the best masks of a run train a network, which masks all its images anew."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from iem_xp.models import ModelError, check_options
from iem_xp.pseudo_labels import LabelError
from iem_xp.refinement import KEY, Refinement
from iem_xp.runs.database import RunError
from iem_xp.runs.store import Run
from iem_xp.trainers import TrainerError, default_trainer, list_trainers, load_trainer, refinement_of
from iem_xp_cli.export_labels import curation_options, take_curation
from iem_xp_cli.helping import HelpfulCommand
from iem_xp_cli.options import (
    Command,
    device_option,
    max_pixels_option,
    take_device,
    then_iem_option,
    workers_option,
)
from iem_xp_cli.printing import say
from iem_xp_cli.refining import refine_run
from iem_xp_cli.selecting import check_selection
from iem_xp_cli.session import failures, messages

_TRAINER_OPTIONS: dict[str, dict[str, Any]] = {
    "schedule": {"help": "Options of the trainer by name, such as paper or quick."},
    "epochs": {"type": click.IntRange(min=1), "help": "Passes over the labels."},
    "batch_size": {"type": click.IntRange(min=1), "help": "Labels in one step."},
    "learning_rate": {"type": click.FloatRange(min=0, min_open=True), "help": "Of the optimiser."},
    "width": {"type": click.IntRange(min=1), "help": "Channels of the network's first layer."},
    "seed": {"type": click.IntRange(min=0), "help": "Of all random numbers."},
    "validation": {
        "type": click.FloatRange(0, 1, max_open=True),
        "help": "Share of the labels that is held back, to watch the training.",
    },
    "mixed_precision": {"is_flag": True, "help": "Compute in 16 bits where it is safe, for GPUs."},
    "flips": {"help": "Whether to mirror labels at random."},
}
"""Options that only the trainer knows; only those that are given go to it."""


def trainer_options(command: Command) -> Command:
    """Options for the trainer; collect their values with `collect_options`."""
    other = "Another option of the trainer, such as -O depth=4. Repeat it for more."
    command = click.option("-O", "others", metavar="NAME=VALUE", multiple=True, help=other)(command)
    for name, how in reversed(_TRAINER_OPTIONS.items()):
        flag = name.replace("_", "-")
        declared = f"--{flag}/--no-{flag}" if name == "flips" else f"--{flag}"
        command = click.option(declared, name, default=None, **how)(command)
    return command


def collect_options(given: Mapping[str, Any], others: Sequence[str]) -> dict[str, Any]:
    """Options for the trainer: those given as flags, and those given by -O, read as JSON if they are."""
    options = {name: value for name, value in given.items() if value is not None}
    for other in others:
        name, equals, value = other.partition("=")
        name = name.strip().replace("-", "_")
        if not (name and equals):
            raise click.UsageError(f"-O {other}: is not of the form NAME=VALUE")
        if name in options:
            raise click.UsageError(f"-O {other}: {name} is given twice")
        try:
            options[name] = json.loads(value)
        except json.JSONDecodeError:
            options[name] = value
    return options


def complete_trainer(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Names of trainers that begin so."""
    return [trainer.name for trainer in list_trainers() if trainer.name.startswith(incomplete)]


@click.command(
    "refine",
    cls=HelpfulCommand,
    examples={
        "iem-xp refine": "By the trainer that is installed, from the best 8,000 masks of iem-run",
        "iem-xp refine --trainer pixels": "By a classifier of pixels, in seconds",
        "iem-xp refine --trainer keras --schedule quick": "By the SegNet, on a CPU",
    },
    groups={"Training": ("trainer", "rounds", *_TRAINER_OPTIONS, "others")},
)
@click.argument("folder", metavar="[RUN]", type=click.Path(path_type=Path), default=Path("iem-run"))
@click.option(
    "--top",
    type=click.IntRange(min=1),
    default=8000,
    show_default=True,
    help="Labels to select: the best masks, by information or, with --preset paper, by inpainting error.",
)
@curation_options
@click.option(
    "--trainer",
    shell_complete=complete_trainer,
    help="What trains: see `iem-xp trainers`.  [default: keras, or pixels if that is not installed]",
)
@trainer_options
@then_iem_option
@click.option(
    "--rounds",
    type=click.IntRange(min=1),
    help="How often to select and train; from the second time on, among the refined masks.  "
    "[default: that of the trainer; keras: 1, pixels: 2]",
)
@click.option(
    "--probabilities",
    is_flag=True,
    help="Also write the probability of foreground, 255 for 1, to refined/probabilities/.",
)
@click.option(
    "--overwrite", is_flag=True, help="Delete the refined masks and the network that are there; masks/ stays."
)
@max_pixels_option
@workers_option
@device_option
@click.option("--json", "as_json", is_flag=True, help="Print the summary as one JSON object.")
def command(
    folder: Path,
    top: int,
    trainer: str | None,
    others: tuple[str, ...],
    then_iem: bool | None,
    rounds: int | None,
    probabilities: bool,
    overwrite: bool,
    workers: int,
    device: str,
    as_json: bool,
    **given: Any,
) -> None:
    """Train a network on the best masks of a run, and mask all its images anew.

    RUN is what `iem-xp segment` made, by default iem-run. A network, or the classifier of pixels, is trained
    with its best masks for labels. Its masks of all images go to refined/, a run of its own.

    The same command again continues wherever it stopped, and masks images that came later. The network
    computes where its library does; --device is for inpainting errors and --then-iem.

    Exit status: 0 all well, 1 some images failed or the disk did, 2 wrong usage, 130 interrupted.
    """
    curation = take_curation(given)
    options = collect_options(given, others)
    with _messages():
        if trainer is not None:
            load_trainer(trainer)  # or an error, before anything else
    with _messages(), Run.open(folder) as run:
        counts = run.counts()
        if not counts.done:
            raise RunError(f"{folder}: no image of it is done yet; continue with iem-xp segment")
        check_selection(run, curation.selection)
        trainer = trainer or _find_trainer(run)
        choices = refinement_of(trainer)
        chosen = {"then_iem": then_iem, "rounds": rounds}
        choices |= {name: value for name, value in chosen.items() if value is not None}
        refinement = Refinement(top, curation, trainer, options, probabilities=probabilities, **choices)
        check_options(trainer, options)  # before anything is done, or deleted
        summary = refine_run(run, refinement, workers, take_device(device), overwrite=overwrite)
    if counts.failed:
        say([f"{counts.failed} image(s) of {folder} failed in segment, and have no mask here either"])
    if summary["failed"]:
        say(failures(Path(summary["run"])))
    click.echo(json.dumps(summary) if as_json else _as_text(summary))
    if summary["failed"]:
        sys.exit(1)


def _find_trainer(run: Run) -> str:
    """Name the trainer that the run was refined with before, or else the default; say which, and why."""
    before = run.get_meta(KEY)
    name: str = before["configuration"]["trainer"] if before else default_trainer()
    why = "as before" if before else "the default of what is installed"
    click.echo(f"trainer: {name} ({why})", err=True)
    return name


@contextmanager
def _messages() -> Iterator[None]:
    try:
        with messages():
            yield
    except (LabelError, ModelError, TrainerError) as error:
        raise click.UsageError(str(error)) from error


def _as_text(summary: dict[str, Any]) -> str:
    seconds, figures = summary["seconds"], summary["figures"].items()
    crop = " (masks of the centre crops)" if summary["fit"] == "crop" else ""
    before = f", {summary['skipped']} before" if summary["skipped"] else ""
    idle = [] if summary["predicted"] or summary["failed"] else ["nothing was left to do; it took, before:"]
    return "\n".join(
        [
            *idle,
            f"labels: {summary['labels']}, in {seconds['labels']:.1f} s",
            f"training: {summary['epochs']} epochs in {seconds['training']:.1f} s"
            + "".join(f", {name} {value:.4g}" for name, value in figures),
            f"prediction: {summary['predicted']} images in {seconds['prediction']:.1f} s{before}, "
            f"{summary['failed']} failed",
            f"network: {summary['model']}",
            f"masks: {Path(summary['run']) / 'masks'}{crop}",
        ]
    )

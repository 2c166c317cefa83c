"""`iem-xp demo`: a few sample photographs, their masks, and a report of them."""

from __future__ import annotations

import shutil
from importlib import resources
from pathlib import Path

import click

from iem_xp.report.making import PAGE, ReportError, make_report
from iem_xp.runs.inputs import find_images
from iem_xp.runs.settings import PRESETS
from iem_xp.runs.store import Run
from iem_xp_cli.helping import HelpfulCommand
from iem_xp_cli.options import device_option, take_device
from iem_xp_cli.session import messages, search, segment_folder

OWN = {"photographs", "run"}


@click.command(
    "demo",
    cls=HelpfulCommand,
    examples={"iem-xp demo -o trial": "To trial/"},
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("iem-demo"),
    show_default=True,
    help="Folder of the result.",
)
@click.option("--overwrite", is_flag=True, help="Replace the demo that is there.")
@device_option
def command(output: Path, overwrite: bool, device: str) -> None:
    """Segment a few sample photographs and show the result.

    Makes a run of six free-licence photographs (credits beside them), as `iem-xp segment` does, and its page,
    as `iem-xp report` does: image, mask, cut-out and inpainting of each. The cell, the cup and the tissue are
    there to show where it fails: a subject away from the centre, one of several colours, and several
    subjects.
    """
    photographs = output / "photographs"
    settings = PRESETS["best"]
    if output.exists() and not output.is_dir():
        raise click.UsageError(f"{output}: is a file, not a folder; use another -o")
    others = {path.name for path in output.iterdir()} - OWN if output.is_dir() else set()
    if others:
        raise click.UsageError(f"{output}: holds {min(others)}, which is no part of a demo; use another -o")
    method = search(settings, take_device(device))
    with messages():
        _unpack(photographs)
        images = list(find_images([str(photographs)], suffixes=frozenset({".jpg"})))
        summary = segment_folder(
            images,
            output / "run",
            settings,
            method,
            total=len(images),
            overwrite=overwrite,
        )
        report = output / "run" / "report"
        with Run.open(output / "run", to_write=False) as run:
            try:
                make_report(run, report)
            except ReportError as error:
                raise click.UsageError(str(error)) from error
    done = f"{summary['done']} photographs"
    if summary["skipped"]:
        done += f", {summary['skipped']} done before,"
    click.echo(f"{done} in {summary['seconds']:.1f} s on {summary['device']}")
    click.echo(f"look at: {(report / PAGE).resolve()}")


def _unpack(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for file in resources.files("iem_xp_cli").joinpath("samples").iterdir():
        with resources.as_file(file) as path:
            shutil.copyfile(path, folder / path.name)

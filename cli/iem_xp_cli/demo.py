"""`iem-xp demo`: a few sample photographs, their masks, and a contact sheet."""

from __future__ import annotations

import shutil
from importlib import resources
from pathlib import Path

import click
import imageio.v3 as iio

from iem_xp.images import Pixels, encode_png, read_image, write_atomically
from iem_xp.rendering import contact_sheet
from iem_xp.runs.inputs import find_images
from iem_xp.runs.records import FOLDERS, Output
from iem_xp.runs.settings import PRESETS
from iem_xp_cli.helping import HelpfulCommand
from iem_xp_cli.options import device_option, take_device
from iem_xp_cli.session import messages, search, segment_folder

OUTPUTS: tuple[Output, ...] = ("cutout", "inpainted")
SHEET = "contact-sheet.png"
OWN = {"photographs", "run", SHEET}
SAMPLES = ("flower", "cameraman", "cell", "tissue", "coffee", "cat")


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

    Writes a run of six free-licence photographs (credits beside them) and contact-sheet.png: image, mask,
    cut-out and inpainting of each. The cell, the cup and the tissue are there to show where it fails: a
    subject away from the centre, one of several colours, and several subjects.
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
        summary = segment_folder(
            find_images([str(_unpack(photographs))], suffixes=frozenset({".jpg"})),
            output / "run",
            settings,
            method,
            outputs=OUTPUTS,
            total=len(SAMPLES),
            overwrite=overwrite,
        )
        write_atomically(output / SHEET, encode_png(_sheet(photographs, output / "run")))
    done = f"{summary['done']} photographs"
    if summary["skipped"]:
        done += f", {summary['skipped']} done before,"
    click.echo(f"{done} in {summary['seconds']:.1f} s on {summary['device']}")
    click.echo(f"look at: {(output / SHEET).resolve()}")


def _unpack(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for file in resources.files("iem_xp_cli").joinpath("samples").iterdir():
        with resources.as_file(file) as path:
            shutil.copyfile(path, folder / path.name)
    return folder


def _sheet(photographs: Path, run: Path) -> Pixels:
    def row(name: str) -> list[Pixels]:
        made = [
            iio.imread(run / made / f"{name}.png")
            for made in ("masks", *(FOLDERS[output] for output in OUTPUTS))
        ]
        return [read_image(photographs / f"{name}.jpg").pixels, *made]

    return contact_sheet(["image", "mask", *OUTPUTS], [row(name) for name in SAMPLES])

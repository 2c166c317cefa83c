"""`iem-xp export-model`: a trained network for programs without its trainer."""

from __future__ import annotations

import json
from pathlib import Path

import click

from iem_xp.exporting import ExportError, export_model
from iem_xp.models import ModelError
from iem_xp.trainers import TrainerError
from iem_xp_cli.helping import HelpfulCommand

_SUFFIXES = {"litert": "tflite"}
"""Of a format's files, where it is not the format's name."""


@click.command(
    "export-model",
    cls=HelpfulCommand,
    examples={"iem-xp export-model iem-run/models/keras --format onnx": "To keras.onnx, in this folder"},
)
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "as_format",
    metavar="onnx|saved_model|litert",
    required=True,
    help="What to make: ONNX, a SavedModel of TensorFlow (a folder), or LiteRT, formerly TensorFlow Lite. "
    "Other trainers than keras may have others.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="File, or folder of a SavedModel, to write.  [default: the model's name with .onnx, .saved_model or "
    ".tflite, in the current folder]",
)
@click.option("--overwrite", is_flag=True, help="Replace the file or SavedModel that is there.")
@click.option("--json", "as_json", is_flag=True, help="Print what was made as one JSON object.")
def command(model: Path, as_format: str, output: Path | None, overwrite: bool, as_json: bool) -> None:
    """Write a trained network for programs without Keras: ONNX, SavedModel, LiteRT.

    MODEL is the folder of a network that `iem-xp refine` trained, such as iem-run/models/keras.

    The network takes "images", uint8 (N, S, S, 3), RGB, and gives "probabilities" of foreground, float32
    (N, S, S) from 0 to 1, for any N. docs/export-model.md shows how to run it, and how images become S x S.

    Exit status: 0 all well, 1 the file cannot be written, 2 wrong usage or it cannot be made, 130
    interrupted.
    """
    path = output or Path(f"{model.resolve().name}.{_SUFFIXES.get(as_format, as_format)}")
    try:
        facts = export_model(model, as_format, path, overwrite=overwrite)
    except (ExportError, ModelError, TrainerError) as error:
        raise click.UsageError(str(error)) from error
    except OSError as error:
        raise click.ClickException(str(error)) from error
    made = {"model": str(model), "format": as_format, "path": str(path)}
    made |= {name: facts[name] for name in ("trainer", "size", "fit")}
    if as_json:
        click.echo(json.dumps(made))
    else:
        click.echo(f"{path}: {as_format} of {model}, for images of {facts['size']} x {facts['size']}")

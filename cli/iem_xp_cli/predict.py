"""`iem-xp predict`: images in, a run made by a trained network out."""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

import click

from iem_xp.images import Mask, Pixels
from iem_xp.models import ModelError, is_begun, open_model, settings_of
from iem_xp.prediction import Network
from iem_xp.runs.records import Output
from iem_xp.runs.storing import StoreOption
from iem_xp.trainers import TrainerError, refinement_of
from iem_xp_cli.helping import HelpfulCommand
from iem_xp_cli.inputs import Share, choose_store, input_options, take_inputs
from iem_xp_cli.options import (
    device_option,
    max_pixels_option,
    overwrite_option,
    redo_changed_option,
    store_option,
    take_device,
    then_iem_option,
    workers_option,
)
from iem_xp_cli.printing import say
from iem_xp_cli.session import announce_engine, mask_stream, messages, rate, remarks, segment_folder


@click.command(
    "predict",
    cls=HelpfulCommand,
    examples={
        "iem-xp predict iem-run/models/pixels ./new": "Masks of new images, to iem-predictions/",
        "iem-xp predict iem-run/models/keras - < photo.jpg > mask.png": "One image",
    },
)
@click.argument("model", type=click.Path(path_type=Path))
@input_options
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="Folder of the run.  [default: iem-predictions]",
)
@then_iem_option
@click.option(
    "--probabilities",
    is_flag=True,
    help="Also write the probability of foreground, 255 for 1, to probabilities/.",
)
@overwrite_option
@redo_changed_option
@store_option
@max_pixels_option
@workers_option
@device_option
@click.option("--json", "as_json", is_flag=True, help="Print the summary as one JSON object.")
def command(
    model: Path,
    inputs: tuple[str, ...],
    files_from: Any,
    null: bool,
    share: Share | None,
    output: Path | None,
    then_iem: bool | None,
    probabilities: bool,
    overwrite: bool,
    redo_changed: bool,
    store: StoreOption | None,
    limit: int | None,
    workers: int,
    device: str,
    as_json: bool,
) -> None:
    """Find masks with a network that refine trained.

    MODEL is the folder of the network, such as iem-run/models/keras. INPUT is as for `iem-xp segment`, also -
    for one image from standard input, whose mask goes to standard output.

    What is written is a run, as by `iem-xp segment`. The same command again continues where it stopped. The
    network computes where its library does; --device is for inpainting errors and --then-iem.

    Exit status: 0 all well, 1 some images failed or the disk did, 2 wrong usage, 130 interrupted.
    """
    stream = "-" in inputs
    if stream and (len(inputs) > 1 or output or probabilities or as_json or limit or files_from or share):
        raise click.UsageError("- reads one image and writes one mask: no other INPUT, output or summary")
    for given in inputs:
        if is_begun(Path(given)) and not is_begun(model):
            raise click.UsageError(f"the network comes first: iem-xp predict {given} {model}")
    folder = output or Path("iem-predictions")
    with messages():
        taken = None if stream else take_inputs(inputs, folder, files_from, null, limit, share)
    try:
        opened, facts = open_model(model)
        settings = settings_of(facts)
        if then_iem is None:
            then_iem = refinement_of(facts["trainer"]).get("then_iem", False)
        network = Network(
            opened,
            facts,
            then_iem=then_iem,
            probabilities=probabilities,
            device=take_device(device),
            announce=announce_engine,
        )
        if taken is None:
            mask_stream(settings, partial(_find_one, network))
            return
        outputs: list[Output] = ["probability"] if probabilities else []
        with messages(folder):
            summary = segment_folder(
                taken.sources,
                folder,
                settings,
                network,
                workers=workers,
                outputs=outputs,
                total=taken.total,
                store=choose_store(store, taken, folder, overwrite),
                overwrite=overwrite,
                redo_changed=redo_changed,
                title="predicting",
            )
    except (ModelError, TrainerError) as error:
        raise click.UsageError(str(error)) from error
    say(remarks(folder, taken.search, summary))
    summary["model"] = str(model)
    click.echo(json.dumps(summary) if as_json else _as_text(summary))
    if summary["failed"] or taken.search.unreadable:
        sys.exit(1)


def _as_text(summary: dict[str, Any]) -> str:
    crop = " (masks of the centre crops)" if summary["fit"] == "crop" else ""
    return "\n".join(
        [
            f"{summary['done']} done, {summary['failed']} failed, {summary['skipped']} done before, in "
            f"{summary['seconds']:.1f} s{rate(summary)}",
            f"network: {summary['model']}",
            f"masks: {Path(summary['run']) / 'masks'}{crop}",
        ]
    )


def _find_one(network: Network, image: Pixels) -> Mask:
    network.prepare(image, 1)
    return network.find(image[None])[0][0][0]

"""`iem-xp segment`: images in, a run out."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from tqdm import tqdm

from iem_xp import segment as segment_array
from iem_xp.engines import EngineOption
from iem_xp.images import Mask, Pixels
from iem_xp.memory import useful_size
from iem_xp.runs.cluster import connect
from iem_xp.runs.finding import PER_WORKER
from iem_xp.runs.records import Output
from iem_xp.runs.remote import Work
from iem_xp.runs.settings import Settings
from iem_xp.runs.storing import StoreOption
from iem_xp_cli.helping import HelpfulCommand
from iem_xp_cli.inputs import Share, choose_store, input_options, take_inputs
from iem_xp_cli.options import (
    check_engine,
    collect_settings,
    device_option,
    engine_option,
    max_pixels_option,
    overwrite_option,
    redo_changed_option,
    settings_options,
    store_option,
    take_device,
    workers_option,
)
from iem_xp_cli.printing import say
from iem_xp_cli.session import mask_stream, messages, rate, remarks, search, segment_folder

_HELD_FOR_GPU = 2 * useful_size((128, 128, 3), cached=False)


@click.command(
    "segment",
    cls=HelpfulCommand,
    examples={
        "iem-xp segment ./images": "Masks of a folder, to iem-run/; the same command again continues",
        "iem-xp segment 'photos/**/*.jpg' --limit 20 -o trial --cutout": "Try a few first, with cut-outs",
        "iem-xp segment ./images --preset paper": "The protocol of the paper's tables",
        "iem-xp segment - < photo.jpg > mask.png": "One image",
    },
)
@input_options
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=None,
    help="Folder of the run.  [default: iem-run]",
)
@overwrite_option
@redo_changed_option
@store_option
@max_pixels_option
@workers_option
@click.option(
    "--batch-size",
    type=click.IntRange(min=1),
    default=None,
    show_default=f"{PER_WORKER} for each worker; for a GPU {_HELD_FOR_GPU:,}, fewer if --size is larger",
    help="Images held in memory at a time, at their working size; an interruption costs at most these. A GPU "
    "computes up to half of them together, as its memory allows.",
)
@device_option
@engine_option
@click.option(
    "--cluster",
    metavar="ADDRESS|local:N",
    help="Have workers of a dask scheduler find the masks, or N processes of this machine. With --device gpu "
    "each task needs a worker with the resource GPU.",
)
@click.option(
    "--cutout", is_flag=True, help="Also write the foreground on transparency (RGBA PNG), to cutouts/."
)
@click.option("--overlay", is_flag=True, help="Also write the image with its mask over it, to overlays/.")
@click.option(
    "--inpainted",
    is_flag=True,
    help="Also write every pixel's prediction from the other side, at the working size, to inpainted/.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the summary as one JSON object.")
@settings_options
def command(
    inputs: tuple[str, ...],
    files_from: Any,
    null: bool,
    share: Share | None,
    output: Path | None,
    overwrite: bool,
    redo_changed: bool,
    store: StoreOption | None,
    limit: int | None,
    workers: int,
    batch_size: int | None,
    device: str,
    engine: EngineOption,
    cluster: str | None,
    as_json: bool,
    preset: str,
    config: Path | None,
    cutout: bool,
    overlay: bool,
    inpainted: bool,
    **options: Any,
) -> None:
    """Find a mask for every image, without labels or training.

    INPUT is an image file; a folder, searched through all its folders; an archive (tar, also compressed,
    such as WebDataset's; Parquet; the folder of an LMDB); a pattern such as 'photos/*.jpg'; a .txt file with
    one path per line, relative to the current folder, where # begins a comment; or - to read one image from
    standard input and write its mask to standard output.

    The run is a folder: masks/ holds a PNG of 0 and 255 for every image, at its own size; run.sqlite a row
    for every image, also for those that failed. The same command again continues where it stopped.

    Exit status: 0 all well, 1 some images failed or the disk did, 2 wrong usage, 130 interrupted.
    """
    settings = collect_settings(preset, config, options)
    wanted: dict[Output, bool] = {"cutout": cutout, "overlay": overlay, "inpainted": inpainted}
    outputs = [name for name in wanted if wanted[name]]
    if "-" in inputs:
        if len(inputs) > 1 or output or outputs or as_json or limit or files_from or share or cluster:
            raise click.UsageError("- reads one image and writes one mask: no other INPUT, output or summary")
        device = take_device(device)
        check_engine(engine, device, settings)

        def find(image: Pixels) -> Mask:
            return segment_array(image, settings.config, device=device, engine=engine).masks[0]

        mask_stream(settings, find)
        return
    folder = output or Path("iem-run")
    device = take_device(device) if cluster is None else _of_workers(device)
    check_engine(engine, device, settings)
    others = None
    if cluster is not None:
        others = connect(cluster, Work(settings, device, engine, batch_size), _announce_cluster)
    with messages(folder):
        taken = take_inputs(inputs, folder, files_from, null, limit, share)
        summary = segment_folder(
            taken.sources,
            folder,
            settings,
            search(settings, device if others is None else "cpu", engine),
            workers=workers,
            batch_size=batch_size,
            outputs=outputs,
            total=taken.total,
            store=choose_store(store, taken, folder, overwrite),
            overwrite=overwrite,
            redo_changed=redo_changed,
            cluster=others,
        )
    say(remarks(folder, taken.search, summary))
    click.echo(json.dumps(summary) if as_json else _as_text(summary, settings))
    if summary["failed"] or taken.search.unreadable:
        sys.exit(1)


def _announce_cluster(line: str) -> None:
    tqdm.write(f"cluster: {line}", file=sys.stderr)


def _of_workers(device: str) -> str:
    """Where the workers of a cluster compute."""
    if device not in ("auto", "cpu", "gpu"):
        raise click.UsageError(
            f"--device {device}: with --cluster it is cpu or gpu; CUDA_VISIBLE_DEVICES tells a worker which"
        )
    return "gpu" if device == "gpu" else "cpu"


def _as_text(summary: dict[str, Any], settings: Settings) -> str:
    side = "chosen per image" if settings.config.choose != "dataset" else "none chosen, no image is done"
    crop = " (masks of the centre crops)" if settings.fit == "crop" else ""
    before = f" ({summary['continued']} of them segmented before)" if summary["continued"] else ""
    return "\n".join(
        [
            f"{summary['done']} done{before}, {summary['failed']} failed, {summary['skipped']} done before, "
            f"in {summary['seconds']:.1f} s{rate(summary)}, {summary['device']}",
            *_time(summary),
            f"initial square: {summary['init_side'] or side}",
            f"masks: {Path(summary['run']) / 'masks'}{crop}",
        ]
    )


def _time(summary: dict[str, Any]) -> Iterator[str]:
    """What the workers did with their time, if there was something to do."""
    workers, stages, device = summary["workers"], summary["stages"], summary["device"]
    engine = f" ({summary['engine']} engine)" if summary["engine"] else ""
    if spent := sum(stages.values()):
        reading, computing, writing = (f"{seconds / spent:.0%}" for seconds in stages.values())
        apart = 0 if device in ("cpu", "gpu") else stages["compute"]  # "gpu": those of a cluster
        busy = min(1, (spent - apart) / (workers * summary["seconds"]))
        yield (
            f"time: {reading} reading, {computing} computing{engine}, {writing} writing; "
            f"{workers} worker{'s' * (workers > 1)}, {busy:.0%} busy"
            + (f"; {device}, {apart / summary['seconds']:.0%} busy" if apart else "")
        )

"""One session of segmenting into a run: progress, interruption, summary."""

from __future__ import annotations

import math
import sqlite3
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import partial
from importlib import metadata
from itertools import islice
from pathlib import Path
from typing import Any

import click
from tqdm import tqdm

from iem_xp.archives.base import LARGEST, too_large
from iem_xp.engines import EngineOption
from iem_xp.images import ImageError, Mask, Pixels, encode_mask, read_image
from iem_xp.runs.cluster import Cluster, ClusterError
from iem_xp.runs.database import RunError
from iem_xp.runs.inputs import SourceError
from iem_xp.runs.kinds import describe_kinds
from iem_xp.runs.methods import Method, Search
from iem_xp.runs.naming import Source
from iem_xp.runs.pipeline import Advance, Segmenter
from iem_xp.runs.records import Output
from iem_xp.runs.settings import Settings
from iem_xp.runs.sources import ImageSearch
from iem_xp.runs.store import Run, is_run
from iem_xp.runs.storing import StoreOption
from iem_xp.threads import usable_cpus
from iem_xp_cli.printing import printable, say

MINUTE = 60.0
"""Seconds between lines of progress, where there is no terminal."""

LISTED = 20
"""Names of a kind listed in full."""


@contextmanager
def messages(folder: Path | None = None) -> Iterator[None]:
    """Turn the errors of a run, in `folder`, into messages: of wrong usage, or of a failing disk."""
    try:
        yield
    except (SourceError, RunError, ClusterError) as error:
        raise click.UsageError(str(error)) from error
    except (OSError, sqlite3.Error) as error:
        # Of a full disk neither the system nor SQLite says where it is.
        where = f"{folder}: " if folder and not getattr(error, "filename", None) else ""
        raise click.ClickException(
            f"{where}{error}; the same command continues once this is mended"
        ) from error


def left_out(files: Mapping[str, int]) -> str:
    """Return a line on the files that are no images, of which `files` has the number by suffix."""
    return f"not images, left out: {describe_kinds(files)}"


def listed(kind: str, names: Iterable[str], count: int) -> Iterator[str]:
    """Iterate over lines on the first of `count` names that are all of a kind, such as "missing"."""
    for name in islice(names, LISTED):
        yield f"{kind}: {name}"
    if count > LISTED:
        yield f"... {count} {kind} in all; --json lists them"


def name_some(paths: Sequence[Path | str]) -> str:
    """Return the first of some paths, for a message."""
    return ", ".join(printable(str(path)) for path in paths[:3]) + (", ..." if len(paths) > 3 else "")


@contextmanager
def progress(title: str, total: int | None) -> Iterator[Advance]:
    """Show progress if there is something to do: a bar on a terminal, elsewhere a line every minute."""
    if total != 0 and not sys.stderr.isatty():
        yield _lines(title, total)
        return
    with tqdm(total=total, desc=title, unit="image", disable=total == 0, smoothing=0.05) as bar:
        yield bar.update


def _lines(title: str, total: int | None) -> Advance:
    begun = said = time.monotonic()
    done = 0
    of = f" of {total:,}" if total else ""

    def advance(count: int) -> None:
        nonlocal said, done
        done += count
        now = time.monotonic()
        if now - said >= MINUTE:
            said = now
            say([f"{title}: {done:,}{of} images, {done / (now - begun):.1f} images/s"])

    return advance


def search(settings: Settings, device: str, engine: EngineOption = "auto") -> Search:
    """Make the search of the paper, which announces its engine on standard error."""
    return Search(settings.config, device, engine, announce_engine)


def announce_engine(line: str) -> None:
    """Say a line about the engine on standard error."""
    tqdm.write(f"engine: {line}", file=sys.stderr)


def mask_stream(settings: Settings, find: Callable[[Pixels], Mask]) -> None:
    """Write the mask of the image on standard input, as PNG, to standard output.

    `find` makes a working mask, bool (h, w), of a working image, uint8 (h, w, 3).
    """
    try:
        data = sys.stdin.buffer.read(LARGEST + 1)
        if objection := too_large(len(data)):
            raise ImageError(objection)
        photograph = read_image(data)
    except ImageError as error:
        raise click.ClickException(f"standard input: {error}") from error
    for note in photograph.notes:
        click.echo(f"standard input: {note}", err=True)
    try:
        mask = settings.along_edges(find(settings.at_work(photograph.pixels)), photograph.pixels)
    except MemoryError as error:
        raise click.ClickException(f"standard input: {str(error) or 'out of memory'}") from error
    with messages():
        sys.stdout.buffer.write(encode_mask(mask))
        sys.stdout.buffer.flush()


def remarks(folder: Path, images: ImageSearch, summary: Mapping[str, Any]) -> Iterator[str]:
    """What a user should know beyond the summary: what was left out, and each failure with its cause."""
    if images.left_out:
        yield left_out(images.left_out)
    for run in images.runs:
        yield f"{run}: is a run, whose masks are not taken for images"
    for note, count in summary["notes"].items():
        yield f"{note}: {count} image(s), the first {summary['noted'][note]}"
    if summary["rewritten"]:
        yield (
            f"{summary['rewritten']} earlier mask(s) rewritten: with all images, the initial square of "
            f"{summary['init_side']} is best"
        )
    yield from images.unreadable
    if summary["failed"]:
        yield from failures(folder)


def failures(folder: Path) -> Iterator[str]:
    """Iterate over lines on the images of a run that failed, each with its cause."""
    with Run.open(folder, to_write=False) as run:
        failed, first = run.counts().failed, run.failures(LISTED)
    for failure in first:
        yield f"failed: {failure.error}"
    if failed > len(first):
        yield f"... {failed} in the whole run: table images of {folder / 'run.sqlite'}"


def segment_folder(
    sources: Iterable[Source],
    folder: Path,
    settings: Settings,
    method: Method,
    *,
    total: int | None,
    facts: Mapping[str, Any] | None = None,
    workers: int | None = None,
    batch_size: int | None = None,
    outputs: Sequence[Output] = (),
    store: StoreOption = "files",
    overwrite: bool = False,
    redo_changed: bool = False,
    cluster: AbstractContextManager[Cluster] | None = None,
    title: str = "segmenting",
) -> dict[str, Any]:
    """Segment images into a run, with a progress bar on a terminal.

    An interruption (Ctrl-C) leaves a run that can be continued; the KeyboardInterrupt then says so.

    Parameters
    ----------
    sources : iterable of Source
    folder : Path
        Folder of the run, made or continued.
    settings : Settings
    method : Method
        What finds the masks.
    total : int, optional
        Number of `sources`; None if it is not known.
    facts : mapping, optional
        What another session must agree with to continue this run, beside settings and method.
    workers, batch_size, outputs, store
        As for `iem_xp.runs.pipeline.Segmenter`.
    overwrite : bool
        Whether to replace a run that is there.
    redo_changed : bool
        Whether to segment images anew that have changed since; otherwise they are an error.
    cluster : context manager, optional
        Of `iem_xp.runs.cluster.connect`, if its workers are to find the masks.
    title : str
        Of the progress bar.

    Returns
    -------
    dict
        The summary that ``iem-xp segment --json`` prints.

    Raises
    ------
    RunError
        If the folder cannot serve as this run, or images of it have changed.
    OSError
        If it cannot be written to.
    """
    configuration = {**settings.as_dict(), "outputs": list(outputs), "store": store, **(facts or {})}
    if method.name is not None:
        configuration["method"] = method.name
    versions = {name: metadata.version(name) for name in ("iem-xp", "numpy", "pillow", "imageio")}
    for name in ("numba", "opencv-python-headless"):
        with suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    workers = workers or usable_cpus()
    start = time.perf_counter()
    make = partial(Run.create, overwrite=True) if overwrite else Run.resume
    with (
        cluster or nullcontext() as others,
        make(folder, configuration, {"versions": versions}) as run,
        _continued(run, total, overwrite),
    ):
        _check_changes(run, redo_changed)
        segmenter = Segmenter(
            run,
            settings,
            method,
            workers=workers,
            batch_size=batch_size,
            outputs=outputs,
            store=store,
        )
        counts = run.counts()
        waiting = counts.waiting
        with progress(title, total) as advance:
            if others is None:
                segmenter.segment(sources, advance, total)
            else:
                left = math.inf if total is None else max(0, total - counts.done - waiting)
                others.segment(segmenter, sources, advance, left)
        with progress("writing masks", segmenter.choose_square()) as advance:
            segmenter.write_masks(advance)
        tally, seconds = segmenter.tally, time.perf_counter() - start
        by = others or method
        return {
            "run": str(folder),
            "done": tally.done,
            "failed": tally.failed,
            "skipped": tally.skipped,
            "rewritten": tally.rewritten,
            "continued": waiting,
            "seconds": round(seconds, 3),
            "images_per_second": round((tally.segmented + tally.failed) / seconds, 3),
            "device": by.device,
            "engine": by.engine,
            "workers": workers if others is None else others.workers,
            "init_side": method.sides[0] if len(method.sides) == 1 else run.get_meta("init_side"),
            **run.means(),
            "stages": {stage: round(spent, 3) for stage, spent in tally.stages.items()},
            "fit": settings.fit,
            "notes": dict(tally.notes),
            "noted": {note: str(path) for note, path in tally.noted.items()},
        }


def rate(summary: Mapping[str, Any]) -> str:
    """Return the images per second of a session, for a summary; nothing where none was done."""
    return f": {summary['images_per_second']:.1f} images/s" if summary["done"] else ""


@contextmanager
def _continued(run: Run, total: int | None, overwrite: bool) -> Iterator[None]:
    """Have an interruption of the ``with`` block say how far the run is, and how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        counts = run.counts()
        of = f" of {total}" if total else ""
        raise KeyboardInterrupt(
            f"{counts.done + counts.waiting}{of} images are segmented; "
            f"the same command{' without --overwrite' if overwrite else ''} continues"
        ) from None


def _check_changes(run: Run, redo: bool) -> None:
    """See that what the run holds is of the images as they are: forget what is not, or refuse to go on."""
    changed = list(run.changed())
    if not changed:
        return
    named = name_some(changed)
    if not redo:
        raise RunError(
            f"{len(changed)} image(s) changed since they were segmented: {named}; --redo-changed segments "
            "them anew, another -o all images"
        )
    run.forget(changed)
    refined = is_run(run.folder / "refined")
    later = "; masks in refined/ are of before, until iem-xp refine is run" if refined else ""
    tqdm.write(f"{len(changed)} image(s) changed, and are masked anew: {named}{later}", file=sys.stderr)

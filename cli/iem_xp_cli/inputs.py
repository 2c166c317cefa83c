"""What `segment` and `predict` take in: images, how many they are, and the part of them that is asked for."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import click

from iem_xp.images import SUFFIXES
from iem_xp.runs.inputs import find_images, stream_images
from iem_xp.runs.naming import Source
from iem_xp.runs.sources import ImageSearch
from iem_xp.runs.store import Run, is_run
from iem_xp.runs.storing import StoreOption

Command = TypeVar("Command", bound=Callable[..., Any])


class Share(NamedTuple):
    """Part `number`, from 1, of `of` parts."""

    number: int
    of: int


class Taken(NamedTuple):
    """The images of a command.

    Attributes
    ----------
    sources : iterable of Source
        The images themselves.
    search : ImageSearch
        What finds them, and then knows of what was left out.
    total : int or None
        How many they are; None if that is not known.
    store : {"files", "shards"}
        How masks are best stored: in archives, if that is where all the images are.
    """

    sources: Iterable[Source]
    search: ImageSearch
    total: int | None
    store: StoreOption


def _share(context: click.Context, parameter: click.Parameter, value: str | None) -> Share | None:
    if value is None:
        return None
    match = re.fullmatch(r"([0-9]+)/([0-9]+)", value)
    share = Share(int(match[1]), int(match[2])) if match else None
    if share is None or not 1 <= share.number <= share.of:
        raise click.BadParameter(f"{value!r} is not I/N, such as 1/4, 2/4, 3/4 or 4/4")
    return share


def input_options(command: Command) -> Command:
    """Options on what is taken in; hand their values to `take_inputs`."""
    for option in (
        click.option(
            "--shard",
            "share",
            metavar="I/N",
            callback=_share,
            help="Take the I-th of N parts of the images, each with an -o of its own, for iem-xp merge.",
        ),
        click.option("--limit", type=click.IntRange(min=1), help="Take only the first so many images."),
        click.option(
            "-0", "--null", is_flag=True, help="Paths of --files-from end with a NUL, as of find -print0."
        ),
        click.option(
            "--files-from",
            type=click.File("rb"),
            help="Instead of INPUT: a list of paths, one per line, read as it comes; - for standard input.",
        ),
        click.argument("inputs", metavar="INPUT...", nargs=-1, type=click.Path()),
    ):
        command = option(command)
    return command


def take_inputs(
    inputs: Sequence[str], folder: Path, files_from: Any, null: bool, limit: int | None, share: Share | None
) -> Taken:
    """Find the images of a command.

    Parameters
    ----------
    inputs : sequence of str
        As for `iem_xp.runs.inputs.find_images`.
    folder : Path
        Of the run, which is not searched.
    files_from, null, limit, share
        The values of `input_options`.

    Raises
    ------
    SourceError
        If there is no image.
    click.UsageError
        If the options do not go together.
    """
    if bool(inputs) == (files_from is not None):
        raise click.UsageError("give INPUT, or --files-from instead")
    if null and files_from is None:
        raise click.UsageError("--null is for --files-from")
    if files_from is not None:
        if share is not None:
            raise click.UsageError(
                "--shard needs to know how many images there are: give the list as INPUT, named .txt"
            )
        ending = b"\0" if null else b"\n"
        listed = stream_images(files_from, suffixes=SUFFIXES, exclude=folder, ending=ending)
        return Taken(islice(listed, limit), listed, None, "files")
    for given in filter(is_run, map(Path, inputs)):
        raise click.UsageError(f"{given}: is a run, whose masks are no images; give the images themselves")
    # Searched twice, first to count them: a list of millions of paths would not fit in memory.
    counted = find_images(inputs, suffixes=SUFFIXES, exclude=folder)
    total = counted.count(limit)
    store: StoreOption = "files" if counted.loose else "shards"
    search = find_images(inputs, suffixes=SUFFIXES, exclude=folder)
    if share is None:
        return Taken(islice(search, limit), search, total, store)
    first, last = (total * part // share.of for part in (share.number - 1, share.number))
    return Taken(islice(search, first, last), search, last - first, store)


def choose_store(asked: StoreOption | None, taken: Taken, folder: Path, overwrite: bool) -> StoreOption:
    """Return how to store masks: as asked, or as the run does that is continued, or as is best."""
    return asked or continued_store(folder, overwrite) or taken.store


def continued_store(folder: Path, overwrite: bool) -> StoreOption | None:
    """Return how the run that is continued stores masks, None if there is none."""
    if overwrite or not is_run(folder):
        return None
    with Run.open(folder, to_write=False) as run:
        store: StoreOption | None = run.get_meta("configuration").get("store")
    return store

"""The masks of a run, the best first, read by threads and handed to what writes a format."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple, Protocol, TypeVar

from iem_xp.contents import ContentsError, read_contents
from iem_xp.images import Fit, ImageError, Mask, load_formats
from iem_xp.labels import FOREGROUND, read_labels
from iem_xp.ordered import in_order
from iem_xp.runs.database import stored_text
from iem_xp.runs.naming import Source
from iem_xp.runs.records import Failure, Finished
from iem_xp.runs.results import MASKS, Results
from iem_xp.runs.selection import Selection
from iem_xp.threads import usable_cpus

T = TypeVar("T")


class ExportError(ValueError):
    """Masks that cannot be exported so; the message names the cause and the remedy."""


class Item(NamedTuple):
    """An image that is done, and its mask.

    Attributes
    ----------
    finished : Finished
    data : bytes
        The mask's file, PNG.
    mask : bool array (H, W)
        Of the image's size, or of that of its crop in a run of crops.
    """

    finished: Finished
    data: bytes
    mask: Mask


class Writer(Protocol[T]):
    """Writes one format."""

    def make(self, item: Item) -> T:
        """Make what is to be written of an image, in any thread, and maybe for nothing.

        An ImageError, which names the file, leaves this image out.
        """

    def add(self, made: T) -> None:
        """Write it, in the order of the images; an ImageError as above."""


@dataclass
class Exported:
    """What was exported.

    Attributes
    ----------
    count : int
        Images written.
    empty : int
        Those of them without foreground.
    left_out : Counter of str
        Images that were not taken, by cause.
    failed : list of Failure
        Images whose masks, or that themselves, could not be read.
    """

    count: int = 0
    empty: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    failed: list[Failure] = field(default_factory=list)

    def selected(self, images: Iterable[Finished], selection: Selection) -> Iterable[Finished]:
        """Iterate over the images that a selection takes, and count the others."""
        for finished in images:
            if objection := selection.objection(finished.entry.source.path):
                self.left_out[objection] += 1
            else:
                yield finished


def export_masks(
    run: Results,
    writer: Writer[Any],
    selection: Selection,
    *,
    top: int | None = None,
    workers: int | None = None,
    advance: Callable[[int], object] = lambda count: None,
) -> Exported:
    """Hand the masks of a run, from the best one, to a writer.

    The next best takes the place of one that cannot be read. Few images are held at a time.

    Parameters
    ----------
    run : Results
    writer : Writer
    selection : Selection
        The images to take.
    top : int, optional
        How many of them, the best; all by default.
    workers : int, optional
        Threads that read; by default one for each CPU.
    advance : callable
        Is given the number of images that were dealt with since it was called last.
    """
    load_formats()
    exported = Exported()
    size, fit = size_and_fit(run)
    read = partial(_read, run, writer, size if fit == "crop" else None)
    images = exported.selected(run.best(), selection)
    with closing(in_order(read, images, workers or usable_cpus())) as results:
        for finished, made in results:
            advance(1)
            try:
                if isinstance(made, ImageError):
                    raise made
                writer.add(made)
            except ImageError as error:
                exported.failed.append(Failure(finished.entry.source.path, str(error)))
                continue
            exported.count += 1
            exported.empty += not finished.foreground_share
            if exported.count == top:
                break
    return exported


def size_and_fit(run: Results) -> tuple[int, Fit]:
    """Size at work of a run's images, and how they come to it."""
    configuration = run.get_meta("configuration")
    return configuration["size"], configuration["fit"]


def refuse_crops(run: Results, format: str) -> None:
    """Raise an ExportError if the masks of a run are not of whole images, as a format needs them."""
    size, fit = size_and_fit(run)
    if fit == "crop":
        raise ExportError(
            f"{run.folder}: has masks of the central crops, {size} x {size}, and of the rest of the images "
            f"nothing is known, which {format} cannot say; segment with --fit whole, or export the crops "
            "with their masks: --to parquet --with-images"
        )


def check_category(name: str) -> None:
    """Raise an ExportError unless JSON and YAML can hold the name of a category, and people read it."""
    if not name or not name.isprintable():
        raise ExportError(f"category {name!r}: must be a name in printable characters")


def name_of(source: Source) -> str:
    """Where a mask is, below the folder of its run, in text that is valid Unicode."""
    parts = (MASKS, source.shard, source.mask)
    return stored_text("/".join(filter(None, parts))) or ""


def _read(run: Results, writer: Writer[Any], crop: int | None, finished: Finished) -> Any:
    """What the writer makes of an image, or why it makes nothing of it."""
    entry = finished.entry
    file = run.masks / entry.source.shard / entry.source.mask
    try:
        try:
            data = read_contents(file).data
            mask = read_labels(data) == FOREGROUND
        except (ContentsError, ImageError) as error:
            raise ImageError(f"{file}: {error}") from error
        if mask.shape != ((crop, crop) if crop else (entry.height, entry.width)):
            raise ImageError(f"{file}: has another size than when it was written")
        return writer.make(Item(finished, data, mask))
    except ImageError as error:
        return error

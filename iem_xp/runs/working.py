"""What is done with images before anything is recorded: read and compute, by any thread or process."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import NamedTuple

import numpy as np

from iem_xp.images import ImageError, Pixels, read_stamped
from iem_xp.memory import OutOfMemoryError
from iem_xp.runs.methods import Method
from iem_xp.runs.naming import Source
from iem_xp.runs.records import Candidate, Entry
from iem_xp.runs.settings import Settings

_error = attrgetter("inpainting_error")


class Loaded(NamedTuple):
    """An image that has been read: what is known of it, and its pixels at work, uint8 (h, w, 3)."""

    entry: Entry
    working: Pixels
    notes: tuple[str, ...]


def load(source: Source, settings: Settings) -> Loaded:
    """Read an image; an ImageError or a MemoryError if that fails."""
    photograph, stamp = read_stamped(source.path)
    height, width = photograph.pixels.shape[:2]
    entry = Entry(source, width, height, 0, "; ".join(photograph.notes) or None, stamp)
    return Loaded(entry, settings.at_work(photograph.pixels), photograph.notes)


def is_one_for_all(method: Method, settings: Settings) -> bool:
    """Whether one initial square is to be chosen for all images, so that the masks of all are wanted."""
    return len(method.sides) > 1 and settings.config.choose == "dataset"


def find(images: Sequence[Loaded], method: Method, one_for_all: bool) -> list[list[Candidate]]:
    """Find of each image the masks of every square or, where each has its own, of the best."""
    ascents = method.find(np.stack([image.working for image in images]))
    found = [
        [
            Candidate(side, *(array[i] for array in ascent))
            for side, ascent in zip(method.sides, ascents, strict=True)
        ]
        for i in range(len(images))
    ]
    # Of equal errors the earlier side wins, as in `iem_xp.segmentation.choose`.
    return found if one_for_all else [[max(of, key=_error)] for of in found]


def cause(source: Source, error: ImageError | MemoryError) -> str:
    """Why an image failed, and the remedy if there is one."""
    if isinstance(error, ImageError):
        return str(error)
    remedy = "" if isinstance(error, OutOfMemoryError) else "; fewer --workers need less"
    return f"{source.path}: {str(error) or 'out of memory'}{remedy}"

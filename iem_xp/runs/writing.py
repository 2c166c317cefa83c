"""The files of an image in a run: its mask, and the pictures beside it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from iem_xp import rendering
from iem_xp.images import ImageError, Mask, encode_mask, encode_png, read_stamped
from iem_xp.runs.naming import Source
from iem_xp.runs.records import FOLDERS, Candidate, Entry, Output
from iem_xp.runs.results import MASKS
from iem_xp.runs.settings import Settings
from iem_xp.runs.storing import Store


class Written(NamedTuple):
    """Where the mask of an image is, and the foreground's share of it."""

    source: Source
    share: float


class Writer:
    """Writes the files of images, in any thread.

    Parameters
    ----------
    store : Store
    settings : Settings
    outputs : collection of {"cutout", "overlay", "inpainted", "probability"}
        Pictures to write beside the masks.
    """

    def __init__(self, store: Store, settings: Settings, outputs: Iterable[Output]) -> None:
        self._store = store
        self._settings = settings
        self._outputs = list(outputs)

    def write(self, entry: Entry, candidate: Candidate) -> Written:
        """Write an image's files.

        Raises
        ------
        ImageError
            If pictures are to be drawn, and the image has gone or changed since it was segmented.
        """
        mask = self._settings.at_own_size(candidate.mask, entry.height, entry.width)
        # The mask comes last: where it is, the pictures are.
        made = {FOLDERS[output]: data for output, data in self._pictures(entry, candidate, mask)}
        made[MASKS] = encode_mask(mask)
        return Written(self._store.put(entry.source, made), float(np.mean(mask)))

    def _pictures(self, entry: Entry, candidate: Candidate, mask: Mask) -> Iterator[tuple[Output, bytes]]:
        drawn = [output for output in self._outputs if output != "probability"]
        if len(drawn) < len(self._outputs) and candidate.probability is not None:
            grey = self._settings.probability_at_own_size(candidate.probability, entry.height, entry.width)
            yield "probability", encode_png(grey)
        if not drawn:
            return
        photograph, stamp = read_stamped(entry.source.path)
        pixels = photograph.pixels
        working = self._settings.at_work(pixels)
        picture = working if self._settings.fit == "crop" else pixels
        if picture.shape[:2] != mask.shape or (entry.stamp and entry.stamp.digest != stamp.digest):
            raise ImageError(f"{entry.source.path}: has changed since it was segmented")
        for output in drawn:
            if output == "cutout":
                made = rendering.cutout(picture, mask)
            elif output == "overlay":
                made = rendering.overlay(picture, mask)
            else:
                made = rendering.inpainted(working, candidate.mask, self._settings.config)
            yield output, encode_png(made)

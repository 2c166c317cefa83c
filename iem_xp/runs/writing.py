"""The files of an image in a run: its mask, and the pictures beside it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from iem_xp import rendering
from iem_xp.images import Mask, Pixels, encode_mask, encode_png, read_again
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
        self._drawn = [output for output in self._outputs if output != "probability"]

    def write(self, entry: Entry, candidate: Candidate) -> Written:
        """Write an image's files.

        Raises
        ------
        ImageError
            If the image is looked at again, for the mask's edges or for pictures, and has gone or changed
            since it was segmented.
        """
        mask, made = self._look(entry, candidate)
        # The mask comes last: where it is, the pictures are.
        made[MASKS] = encode_mask(mask)
        return Written(self._store.put(entry.source, made), float(np.mean(mask)))

    def _look(self, entry: Entry, candidate: Candidate) -> tuple[Mask, dict[str, bytes]]:
        """Mask at the image's own size, and the pictures, as files, by their folders."""
        height, width = entry.height, entry.width
        made = {}
        if "probability" in self._outputs and candidate.probability is not None:
            grey = self._settings.probability_at_own_size(candidate.probability, height, width)
            made[FOLDERS["probability"]] = encode_png(grey)
        if not (self._drawn or self._settings.follows_edges):
            return self._settings.at_own_size(candidate.mask, height, width), made
        pixels = read_again(entry.source.path, height, width, entry.stamp and entry.stamp.digest)
        mask = self._settings.along_edges(candidate.mask, pixels)
        for output in self._drawn:
            made[FOLDERS[output]] = encode_png(self._draw(output, pixels, candidate.mask, mask))
        return mask, made

    def _draw(self, output: Output, pixels: Pixels, working_mask: Mask, mask: Mask) -> Pixels:
        if output == "inpainted":
            return rendering.inpainted(self._settings.at_work(pixels), working_mask, self._settings.config)
        picture = self._settings.at_work(pixels) if self._settings.fit == "crop" else pixels
        return rendering.cutout(picture, mask) if output == "cutout" else rendering.overlay(picture, mask)

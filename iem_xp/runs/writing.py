"""The files of an image in a run: its mask, and the pictures beside it."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from iem_xp import rendering
from iem_xp.images import ImageError, Mask, encode_mask, encode_png, read_image, write_atomically
from iem_xp.runs.naming import Source
from iem_xp.runs.records import FOLDERS, Candidate, Entry, Output
from iem_xp.runs.settings import Settings
from iem_xp.runs.store import Run


class Writer:
    """Writes the files of images, in any thread.

    Parameters
    ----------
    run : Run
        Of which only the folders are used.
    settings : Settings
    outputs : collection of {"cutout", "overlay", "inpainted", "probability"}
        Pictures to write beside the masks.
    """

    def __init__(self, run: Run, settings: Settings, outputs: Iterable[Output]) -> None:
        self._settings = settings
        self._masks = run.masks
        self._folders = {output: run.folder / FOLDERS[output] for output in outputs}
        self._probabilities = self._folders.pop("probability", None)

    def write(self, entry: Entry, candidate: Candidate) -> float:
        """Write an image's files and return the foreground's share of the mask.

        Raises
        ------
        ImageError
            If pictures are to be drawn, and the image has gone or changed since it was segmented.
        """
        source = entry.source
        mask = self._settings.at_own_size(candidate.mask, entry.height, entry.width)
        if self._probabilities is not None and candidate.probability is not None:
            grey = self._settings.probability_at_own_size(candidate.probability, entry.height, entry.width)
            write_atomically(self._probabilities / source.mask, encode_png(grey))
        if self._folders:
            self._write_pictures(source, candidate.mask, mask)
        write_atomically(self._masks / source.mask, encode_mask(mask))
        return float(np.mean(mask))

    def _write_pictures(self, source: Source, working_mask: Mask, mask: Mask) -> None:
        pixels = read_image(source.path).pixels
        working = self._settings.at_work(pixels)
        picture = working if self._settings.fit == "crop" else pixels
        if picture.shape[:2] != mask.shape:
            raise ImageError(f"{source.path}: has another size than when it was segmented")
        for output, folder in self._folders.items():
            if output == "cutout":
                made = rendering.cutout(picture, mask)
            elif output == "overlay":
                made = rendering.overlay(picture, mask)
            else:
                made = rendering.inpainted(working, working_mask, self._settings.config)
            write_atomically(folder / source.mask, encode_png(made))

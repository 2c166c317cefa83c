"""A run of made-up masks, to be exported."""

from __future__ import annotations

import os

import numpy as np
from numpy.typing import NDArray

import scenes
from iem_xp.images import encode_mask, encode_png, read_stamped, write_atomically
from iem_xp.runs.naming import Source
from iem_xp.runs.records import Candidate, Entry
from iem_xp.runs.store import Run

CONFIGURATION = {"fit": "whole", "size": 8, "choose": "information"}


def add(
    run: Run,
    name: str,
    information: float,
    mask: NDArray[np.bool_] | None = None,
    image: bytes | None = None,
    size: tuple[int, int] | None = None,
) -> NDArray[np.bool_]:
    """Give a run one more image of `photos`, beside it, and return its mask, which depends on the name.

    `size` is that of the image, height and width, if the mask is not of it all.
    """
    rng = np.random.default_rng(list(os.fsencode(name)))
    if mask is None:
        mask = scenes.mask(rng, 12, 17)
    height, width = size or mask.shape
    path = run.folder.parent.absolute() / "photos" / name
    write_atomically(path, encode_png(scenes.image(rng, height, width)) if image is None else image)
    source = Source(path, f"{name.rpartition('.')[0]}.png")
    write_atomically(run.masks / source.mask, encode_mask(mask))
    entry = Entry(source, width, height, 0.25, "alpha ignored", read_stamped(path)[1])
    candidate = Candidate(44, mask, 0.5, updates=3, information=information)
    run.record_done(entry, candidate, float(mask.mean()))
    return mask

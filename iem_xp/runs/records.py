"""What a run knows of an image: when it has been read, when it has been segmented, or why it has not."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from iem_xp.contents import Stamp
from iem_xp.images import Mask, Pixels
from iem_xp.runs.naming import Source

Output = Literal["cutout", "overlay", "inpainted", "probability"]
FOLDERS: dict[Output, str] = {
    "cutout": "cutouts",
    "overlay": "overlays",
    "inpainted": "inpainted",
    "probability": "probabilities",
}
"""Folder of each optional output, beside `masks`, with the same file names."""


class Entry(NamedTuple):
    """An image that has been read.

    Attributes
    ----------
    source : Source
        Where it is, and where its mask goes.
    width, height : int
        Its own size, in pixels, upright.
    seconds : float
        Time spent on it so far.
    notes : str, optional
        What the user should know of it.
    stamp : Stamp, optional
        Of its contents.
    """

    source: Source
    width: int
    height: int
    seconds: float
    notes: str | None = None
    stamp: Stamp | None = None


class Candidate(NamedTuple):
    """What was found from one initial square, or from none.

    Attributes
    ----------
    side : int
        Side of the square, as in `IEMConfig.init_sides`; 0 for none.
    mask : bool array (h, w)
        The mask at working size.
    inpainting_error : float
        L_inp of `mask`.
    updates : int
        Updates computed.
    information : float
        Share of the mask's entropy that the colours explain; 0 where they are not counted.
    probability : uint8 array (h, w), optional
        Probability of foreground, 255 for 1: what a network said, if it is to be written.
    """

    side: int
    mask: Mask
    inpainting_error: float
    updates: int
    information: float = 0.0
    probability: Pixels | None = None


class Finished(NamedTuple):
    """An image whose mask is written, and all that its row says of it.

    Attributes
    ----------
    entry : Entry
    init_side, inpainting_error, updates, information
        Of the mask, as in `Candidate`.
    foreground_share : float
        Of the mask as written, 0 to 1.
    """

    entry: Entry
    init_side: int
    inpainting_error: float
    updates: int
    information: float
    foreground_share: float


class Ranked(NamedTuple):
    """An image whose mask is written, and how good that is.

    Attributes
    ----------
    source : Source
    width, height : int
        The image's own size, in pixels, upright.
    inpainting_error : float
        L_inp of the mask.
    information : float
        Share of the mask's entropy that the colours explain; 0 where they are not counted.
    init_side : int
        Side of the initial square.
    digest : bytes or None
        Of the image's contents, as in `Stamp`; None if that is not known.
    """

    source: Source
    width: int
    height: int
    inpainting_error: float
    information: float
    init_side: int
    digest: bytes | None


class Failure(NamedTuple):
    """An image that failed, and why."""

    path: Path
    error: str


class Counts(NamedTuple):
    """How many images of a run are in each state."""

    done: int
    failed: int
    waiting: int


def to_bits(mask: Mask) -> bytes:
    """Pack a mask, bool (h, w), into an eighth of its size."""
    return np.packbits(mask).tobytes()


def from_bits(bits: bytes, height: int, width: int) -> Mask:
    """Return the mask that `to_bits` packed."""
    values = np.unpackbits(np.frombuffer(bits, np.uint8), count=height * width)
    return values.view(np.bool_).reshape(height, width)

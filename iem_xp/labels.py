"""Ground truth as labels: foreground, background, and pixels that count nowhere."""

from __future__ import annotations

import os
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from iem_xp.images import ImageError, Mask, read_image

BACKGROUND, IGNORED, FOREGROUND = 0, 128, 255
"""The values of labels, in files too: a mask of two values, and those of which nothing is said."""

Labels = NDArray[np.uint8]

_BLACK, _WHITE = 32, 223
"""Of a soft mask: what is about black, and about white."""
_MIDDLE = 0.25
"""Of a soft mask: largest share of the greys between."""
_FEW = 8
"""Greys that may as well be numbers of classes, if some are about black or white."""


class Truth(NamedTuple):
    """Labels as the metrics take them: bool arrays of one shape."""

    foreground: Mask
    ignored: Mask


def read_labels(source: str | os.PathLike[str] | bytes) -> Labels:
    """Read a mask as labels.

    255 is foreground, 0 background, and 128 is ignored. A file of only 0 and 1 is read as such. A soft mask,
    black and white but for its edges, is cut at one half, and nothing of it is ignored. Black, grey and white
    may be stored in any way, as bilevel, grey, palette or colours.

    Parameters
    ----------
    source : path or bytes
        A file, or the contents of one.

    Returns
    -------
    uint8 array (H, W) of 0, 128 and 255

    Raises
    ------
    ImageError
        If the file cannot be read, or holds colours, transparency, several frames, more than 8 bits, or
        few values of which nothing says what they mean, such as numbers of classes.
    """
    photograph = read_image(source)
    name = "" if isinstance(source, bytes) else f"{os.fspath(source)}: "
    remedy = "write masks as 8-bit grey PNG: 255 foreground, 0 background, 128 ignored"
    if photograph.notes:  # Something was left out or altered, which may have been what matters.
        raise ImageError(f"{name}is no plain mask: {', '.join(photograph.notes)}; {remedy}")
    values = photograph.pixels[..., 0]
    if (photograph.pixels != values[..., None]).any():
        raise ImageError(f"{name}is a picture in colours, not a mask; {remedy}")
    histogram = np.bincount(values.ravel(), minlength=256)
    found = np.flatnonzero(histogram)
    if found[-1] <= 1:
        return to_labels(values > 0)
    greys = np.setdiff1d(found, (BACKGROUND, IGNORED, FOREGROUND))
    if not len(greys):
        return to_labels(values == FOREGROUND, values == IGNORED)
    # The soft edges of black and white, not a photograph, nor numbers of classes.
    middle = histogram[_BLACK + 1 : _WHITE].sum() / values.size
    edges = len(greys) >= _FEW or bool(((greys > _BLACK) & (greys < _WHITE)).all())
    if found[-1] < _WHITE or middle > _MIDDLE or not edges:
        shown = ", ".join(map(str, found[:_FEW])) + (", ..." if len(found) > _FEW else "")
        raise ImageError(f"{name}holds the values {shown}, of which nothing says what they mean; {remedy}")
    return to_labels(values >= IGNORED)


def to_labels(foreground: Mask, ignored: Mask | None = None) -> Labels:
    """Labels (H, W) of a mask and, where nothing is said, `ignored`."""
    labels = np.where(foreground, np.uint8(FOREGROUND), np.uint8(BACKGROUND))
    return labels if ignored is None else np.where(ignored, np.uint8(IGNORED), labels)


def to_truth(labels: Labels) -> Truth:
    """Split labels into the foreground and what is ignored."""
    return Truth(labels == FOREGROUND, labels == IGNORED)


def resize_labels(labels: Labels, height: int, width: int) -> Labels:
    """Resize labels by nearest neighbour (Pillow's), so that they never mix."""
    return np.asarray(Image.fromarray(labels).resize((width, height), Image.Resampling.NEAREST))

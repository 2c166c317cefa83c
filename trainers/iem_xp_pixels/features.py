"""What is said of each pixel of an image: its colour, what is around it, how they compare, its place."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from iem_xp.config import REFERENCE_SIDE, IEMConfig
from iem_xp.layout import to_colours
from iem_xp.palette import find_palette, to_lab

BLURS = 2.0, 6.0
"""Standard deviations of the blurred colours, in pixels at a side of 128, as all lengths here."""
TEXTURE_FROM, TEXTURE_OVER = 2.0, 3.0
"""Texture is how far colours are from those blurred by the first, blurred by the second."""
NEARBY = 4.0
BORDER, CENTRE = 8.0, 56.0
"""Width of the image's border, and side of the square at its centre."""

_PALETTE = IEMConfig(colours=32)
"""Supplies the number of colours that are counted, fixed here: networks that are kept depend on it."""


def pixel_features(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Features of every pixel.

    Colours are those of the library (`iem_xp.palette`), so that what is near in a palette of the search is
    near here, and CIELAB is written once.

    Parameters
    ----------
    image : uint8 (S, S, 3)

    Returns
    -------
    float32 (S, S, F)
        In this order: CIELAB, as it is and at two blurs; texture; how much rarer or more frequent the
        pixel's colour is at the border, and in the centre, than in the image, as it is and blurred; CIELAB
        less the mean of the image, less that of the border, and so blurred; place. Values are of order 1.
    """
    side = len(image)
    unit = side / REFERENCE_SIDE
    colours = to_lab(to_colours(image[np.newaxis])).astype(np.float32, copy=False)
    codes = find_palette(colours, _PALETTE).codes.reshape(side, side)
    lab = np.moveaxis(colours[0], 0, -1)

    def blur(values: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
        return ndimage.gaussian_filter(values, sigma * unit, mode="nearest", axes=(0, 1), truncate=3.0)

    border = ~_centred_square(side, side - 2 * max(1, round(BORDER * unit)))
    centre = _centred_square(side, round(CENTRE * unit))
    texture = blur(np.abs(lab - blur(lab, TEXTURE_FROM)), TEXTURE_OVER)
    frequency = np.stack([_log_frequency(codes, place) for place in (border, centre)], axis=-1)
    from_border = lab - lab[border].mean(axis=0)
    y, x = np.mgrid[:side, :side].astype(np.float32) / max(side - 1, 1) * 2 - 1
    return np.concatenate(
        [
            lab,
            *(blur(lab, sigma) for sigma in BLURS),
            5 * texture,
            frequency,
            blur(frequency, NEARBY),
            lab - lab.mean(axis=(0, 1)),
            from_border,
            blur(from_border, NEARBY),
            np.stack([np.abs(x), y, y**2, x**2 + y**2], axis=-1),
        ],
        axis=-1,
        dtype=np.float32,
    )


def _centred_square(side: int, inner: int) -> NDArray[np.bool_]:
    start = (side - inner) // 2
    place = np.zeros((side, side), bool)
    place[start : start + inner, start : start + inner] = True
    return place


def _log_frequency(codes: NDArray[np.int64], place: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Log of how often each pixel's colour occurs in a place, less that in the whole image: (S, S)."""
    there, everywhere = (
        np.bincount(chosen.ravel(), minlength=_PALETTE.colours) + 0.5 for chosen in (codes[place], codes)
    )
    ratio = np.log(there / there.sum()) - np.log(everywhere / everywhere.sum())
    return ratio.astype(np.float32)[codes]

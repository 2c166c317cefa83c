"""How well the boundary of a mask follows the true one (Perazzi et al., CVPR 2016, section 4.1)."""

from __future__ import annotations

import math

import numpy as np
from scipy import ndimage

from iem_xp.images import Mask

TOLERANCE = 0.008
"""How far two boundaries may be from each other, in diagonals of the image, as for the DAVIS videos."""


def boundary_f(mask: Mask, truth: Mask) -> float:
    """F-score of a mask's boundary against the true one, within `TOLERANCE`.

    The boundary is of the foreground pixels that have a 4-neighbour in the background; the image's border is
    none. So a mask and its complement have about the same, and there is only one polarity.

    Parameters
    ----------
    mask, truth : bool array (H, W)

    Returns
    -------
    float
        In [0, 1]: the harmonic mean of the shares of each boundary that the other one is near. 1 if neither
        has one, 0 if one of them has.
    """
    near = max(1, math.ceil(TOLERANCE * math.hypot(*mask.shape)))
    found, true = _boundary(mask), _boundary(truth)
    if not found.any() or not true.any():
        return float(found.any() == true.any())
    precision, recall = (
        float((ndimage.distance_transform_edt(~other)[own] <= near).mean())
        for own, other in ((found, true), (true, found))
    )
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _boundary(mask: Mask) -> Mask:
    """Foreground pixels with a 4-neighbour in the background."""
    touching = np.zeros_like(mask)
    touching[1:] |= ~mask[:-1]
    touching[:-1] |= ~mask[1:]
    touching[:, 1:] |= ~mask[:, :-1]
    touching[:, :-1] |= ~mask[:, 1:]
    return mask & touching

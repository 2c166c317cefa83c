"""The regions' colour marginals, compiled: counts that follow the mask, as in `iem_xp.marginals`."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from iem_xp.fused.compiling import Index, Number, compiled, inlined
from iem_xp.marginals import PSEUDO_COUNTS


class Marginals(NamedTuple):
    """Colours by region, and what they say of a pixel.

    `codes` uint8 (stride,): the colour of each pixel, of K. `whole` float64 (K,): how many of the image
    have each colour; `inside`: how many of the foreground. `ratio` float32 (K,): weight times the log ratio.
    `evidence` float32 (stride,): what is added to the gradient at each pixel, whatever the mask.
    """

    codes: np.ndarray
    whole: np.ndarray
    inside: np.ndarray
    ratio: np.ndarray
    evidence: np.ndarray

    @classmethod
    def blank(cls, colours: int, stride: int) -> Marginals:
        """Room for an image; without colours of its own it has one, of which nothing follows."""
        return cls(
            np.zeros(stride, dtype=np.uint8),
            np.zeros(colours),
            np.zeros(colours),
            np.zeros(colours, dtype=np.float32),
            np.zeros(stride, dtype=np.float32),
        )


@compiled
def set_ratio(marginals: Marginals, weight: Number, size: Number, pixels: Number) -> None:
    """Weigh the log ratio of every colour, for a foreground of this size."""
    scale = np.log((pixels - size + PSEUDO_COUNTS) / (size + PSEUDO_COUNTS))
    for k in range(marginals.ratio.size):
        whole, inside = marginals.whole[k], marginals.inside[k]
        prior = PSEUDO_COUNTS * whole / pixels
        if weight > 0 and whole > 0:
            marginals.ratio[k] = weight * (np.log((inside + prior) / (whole - inside + prior)) + scale)
        else:
            marginals.ratio[k] = 0


@inlined
def pull(marginals: Marginals, p: Index) -> Number:
    """What is added to the gradient at a pixel."""
    return marginals.ratio[marginals.codes[p]] + marginals.evidence[p]

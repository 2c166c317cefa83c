"""Scores of a mask, and their means over a collection (section 4.3)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any, get_args

from iem_xp.boxes import LOCALISED, Box, box_iou, box_of
from iem_xp.evaluation.boundaries import boundary_f
from iem_xp.images import Mask
from iem_xp.labels import Truth
from iem_xp.metrics import METRICS, Polarity, count, score

POLARITIES: tuple[Polarity, ...] = get_args(Polarity)

MASK_FIGURES = tuple(f"{polarity}_{metric}" for polarity in reversed(POLARITIES) for metric in METRICS)
"""Figures of a mask against a true mask: every metric, by either polarity first, as the paper does."""

BOUNDARY_FIGURES = ("boundary_f",)
"""Figures of a mask's boundary against the true one."""

BOX_FIGURES = ("box_iou", "localisation")
"""Figures of a mask against a true box; the second is 1 or 0, so that its mean is a share."""

_NAMES = ("accuracy", "IoU", "mIoU", "DICE")
HEADINGS = {
    **dict(zip(MASK_FIGURES, _NAMES * 2, strict=True)),
    "boundary_f": "boundary F",
    **dict(zip(BOX_FIGURES, ("box IoU", "localised"), strict=True)),
}
"""Every figure as people write it, without its polarity."""

Score = dict[str, float]
"""Figures of one image by name, in [0, 1]."""


def score_mask(
    mask: Mask, truth: Truth | None = None, box: Box | None = None, *, boundary: bool = False
) -> Score:
    """Score a mask against what is known of its image.

    Parameters
    ----------
    mask : bool array (H, W)
    truth : Truth, optional
        Bool arrays (H, W). Gives `MASK_FIGURES`.
    box : Box, optional
        In pixels of the mask. Gives `BOX_FIGURES`: agreement with the box of the mask's largest connected
        part. There is no "either" of these: the complement's box is nearly always the whole picture.
    boundary : bool
        Whether a truth, without ignored pixels, gives `BOUNDARY_FIGURES` too.

    Returns
    -------
    Score

    Raises
    ------
    ValueError
        If `mask` and `truth` differ in shape.
    """
    figures: Score = {}
    if truth is not None:
        counts = count(mask[None], truth.foreground[None], truth.ignored[None])
        for polarity in POLARITIES:
            for metric in METRICS:
                figures[f"{polarity}_{metric}"] = float(score(metric, counts, polarity)[0])
        if boundary:
            figures["boundary_f"] = boundary_f(mask, truth.foreground)
    if box is not None:
        overlap = box_iou(box_of(mask), box)
        figures |= zip(BOX_FIGURES, (overlap, float(overlap > LOCALISED)), strict=True)
    return figures


def by_polarity(figures: Mapping[str, float | None]) -> dict[str, Any]:
    """Figures by polarity and metric: ``{"either": {"iou": ...}, ..., "box_iou": ...}``."""
    nested: dict[str, Any] = {}
    for figure, value in figures.items():
        if figure in MASK_FIGURES:
            polarity, _, metric = figure.partition("_")
            nested.setdefault(polarity, {})[metric] = value
        else:
            nested[figure] = value
    return nested


class Means:
    """Mean and standard error of figures, in constant memory.

    The sums are exact, as rational numbers, so that neither the order of the images nor their number changes
    a result: each is rounded once.

    Parameters
    ----------
    figures : sequence of str
        The figures that every score has, such as `MASK_FIGURES`.

    Attributes
    ----------
    n : int
        Scores added.
    """

    def __init__(self, figures: Sequence[str]) -> None:
        self.n = 0
        self._sums = dict.fromkeys(figures, Fraction(0))
        self._squares = dict.fromkeys(figures, Fraction(0))

    def add(self, score: Mapping[str, float]) -> None:
        """Add the score of one image."""
        self.n += 1
        for figure in self._sums:
            value = Fraction(score[figure])
            self._sums[figure] += value
            self._squares[figure] += value * value

    @property
    def mean(self) -> dict[str, float | None]:
        """Mean of each figure; None of no image."""
        return {figure: float(total / self.n) if self.n else None for figure, total in self._sums.items()}

    @property
    def standard_error(self) -> dict[str, float | None]:
        """Sample standard deviation of each figure over the square root of `n`; None of fewer than two."""
        return {figure: self._standard_error(figure) if self.n > 1 else None for figure in self._sums}

    def _standard_error(self, figure: str) -> float:
        spread = self._squares[figure] - self._sums[figure] ** 2 / self.n
        return math.sqrt(spread / (self.n * (self.n - 1)))

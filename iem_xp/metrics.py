"""Agreement of masks with ground truth (section 4.3), for each image.

The published numbers take the better of the mask and its complement, for each image and each metric
(``polarity="either"``), since an unsupervised two-way partition has no names for its sides. What a user of
the masks gets is ``"fixed"``. The two are never to be mixed.

Every metric is a function of four counts of pixels, of which the complement of the mask is a permutation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple, Self, get_args

from array_api_compat import array_namespace

from iem_xp.arrays import Array, exactly, namespace

Polarity = Literal["fixed", "either"]


class Counts(NamedTuple):
    """Pixels (N,) that are foreground in both, in the mask alone, in the truth alone, in neither."""

    both: Array
    mask: Array
    truth: Array
    neither: Array

    @property
    def complement(self) -> Self:
        """Counts of the complement of the mask, against the same truth."""
        return self._replace(both=self.truth, mask=self.neither, truth=self.both, neither=self.mask)


def accuracy(masks: Array, truth: Array, *, polarity: Polarity = "fixed", ignore: Array = None) -> Array:
    """Share of pixels on the right side.

    Parameters
    ----------
    masks, truth : bool array (N, H, W)
        Foreground found, and true.
    polarity : {"fixed", "either"}
        "either" takes for each image the better of the mask and its complement.
    ignore : bool array (N, H, W), optional
        Pixels that count nowhere.

    Returns
    -------
    floating array (N,)
        In [0, 1], of the library's default precision, float64 for NumPy. A ratio of nothing to nothing, as
        the IoU of two empty masks, is 1.

    Raises
    ------
    TypeError, ValueError
        If an array is not bool, the shapes differ, or `polarity` is another word.
    """
    return score("accuracy", count(masks, truth, ignore), polarity)


def iou(masks: Array, truth: Array, *, polarity: Polarity = "fixed", ignore: Array = None) -> Array:
    """Intersection over union of the foreground; arguments and result as for `accuracy`."""
    return score("iou", count(masks, truth, ignore), polarity)


def mean_iou(masks: Array, truth: Array, *, polarity: Polarity = "fixed", ignore: Array = None) -> Array:
    """Mean of the IoU of the foreground and that of the background; otherwise as `accuracy`."""
    return score("miou", count(masks, truth, ignore), polarity)


def dice(masks: Array, truth: Array, *, polarity: Polarity = "fixed", ignore: Array = None) -> Array:
    """``2 |A and B| / (|A| + |B|)`` of the foreground; arguments and result as for `accuracy`."""
    return score("dice", count(masks, truth, ignore), polarity)


def count(masks: Array, truth: Array, ignore: Array | None = None) -> Counts:
    """Count what every metric is made of; arguments and errors as for `accuracy`.

    Returns
    -------
    Counts of floating arrays (N,)
    """
    given = {"masks": masks, "truth": truth} | ({} if ignore is None else {"ignore": ignore})
    xp = namespace(**given)
    for name, array in given.items():
        if array.dtype != xp.bool:
            raise TypeError(f"{name} must be bool, not {array.dtype}; pass {name} > 0, for instance")
        if array.ndim != 3 or array.shape != masks.shape:
            raise ValueError(
                f"{name} of shape {tuple(array.shape)}: all arrays must be (N, H, W), "
                f"as masks of shape {tuple(masks.shape)}"
            )

    def total(pixels: Array) -> Array:
        ones = xp.astype(pixels & counted, xp.uint8)
        return xp.astype(xp.sum(ones, axis=(1, 2), dtype=xp.int32), floating)

    floating = xp.__array_namespace_info__().default_dtypes()["real floating"]
    with exactly(masks):
        counted = xp.ones_like(masks) if ignore is None else ~ignore
        pairs = (masks & truth, masks & ~truth, ~masks & truth, ~masks & ~truth)
        return Counts(*map(total, pairs))


def score(metric: str, counts: Counts, polarity: Polarity = "fixed") -> Array:
    """Score by a metric of `METRICS`, a floating array (N,)."""
    if polarity not in get_args(Polarity):
        raise ValueError(f'polarity must be "fixed" or "either", not {polarity!r}')
    formula = METRICS[metric]
    with exactly(counts.both):
        if polarity == "fixed":
            return formula(counts)
        return array_namespace(counts.both).maximum(formula(counts), formula(counts.complement))


def _accuracy(counts: Counts) -> Array:
    both, mask, truth, neither = counts
    return _ratio(both + neither, both + mask + truth + neither)


def _iou(counts: Counts) -> Array:
    return _ratio(counts.both, counts.both + counts.mask + counts.truth)


def _mean_iou(counts: Counts) -> Array:
    background = Counts(counts.neither, counts.truth, counts.mask, counts.both)
    return (_iou(counts) + _iou(background)) / 2


def _dice(counts: Counts) -> Array:
    return _ratio(2 * counts.both, 2 * counts.both + counts.mask + counts.truth)


def _ratio(part: Array, whole: Array) -> Array:
    xp = array_namespace(part)
    nothing = xp.astype(whole == 0, part.dtype)
    return (part + nothing) / (whole + nothing)


METRICS: dict[str, Callable[[Counts], Array]] = {
    "accuracy": _accuracy,
    "iou": _iou,
    "miou": _mean_iou,
    "dice": _dice,
}
"""The metrics of the paper's tables, in their order."""

"""Agreement of masks with ground truth (section 4.3), for each image.

The published numbers take the better of the mask and its complement, for each image and each metric
(``polarity="either"``), since an unsupervised two-way partition has no names for its sides. What a user of
the masks gets is ``"fixed"``. The two are never to be mixed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple, get_args

from array_api_compat import array_namespace

from iem_xp.arrays import Array, namespace

Polarity = Literal["fixed", "either"]


class _Counts(NamedTuple):
    """Pixels (N,) that are foreground in both, in the mask alone, in the truth alone, in neither."""

    both: Array
    mask: Array
    truth: Array
    neither: Array


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
        In [0, 1]. A ratio of nothing to nothing, as the IoU of two empty masks, is 1.

    Raises
    ------
    TypeError, ValueError
        If an array is not bool, the shapes differ, or `polarity` is another word.
    """
    return _score(
        lambda c: _ratio(c.both + c.neither, c.both + c.mask + c.truth + c.neither),
        masks, truth, polarity, ignore,
    )  # fmt: skip


def iou(masks: Array, truth: Array, *, polarity: Polarity = "fixed", ignore: Array = None) -> Array:
    """Intersection over union of the foreground; arguments and result as for `accuracy`."""
    return _score(_iou, masks, truth, polarity, ignore)


def mean_iou(masks: Array, truth: Array, *, polarity: Polarity = "fixed", ignore: Array = None) -> Array:
    """Mean of the IoU of the foreground and that of the background; otherwise as `accuracy`."""
    return _score(
        lambda c: (_iou(c) + _iou(_Counts(c.neither, c.truth, c.mask, c.both))) / 2,
        masks, truth, polarity, ignore,
    )  # fmt: skip


def dice(masks: Array, truth: Array, *, polarity: Polarity = "fixed", ignore: Array = None) -> Array:
    """``2 |A and B| / (|A| + |B|)`` of the foreground; arguments and result as for `accuracy`."""
    return _score(lambda c: _ratio(2 * c.both, 2 * c.both + c.mask + c.truth), masks, truth, polarity, ignore)


def _iou(counts: _Counts) -> Array:
    return _ratio(counts.both, counts.both + counts.mask + counts.truth)


def _ratio(part: Array, whole: Array) -> Array:
    xp = array_namespace(part)
    nothing = xp.astype(whole == 0, part.dtype)
    return (part + nothing) / (whole + nothing)


def _score(
    metric: Callable[[_Counts], Array], masks: Array, truth: Array, polarity: Polarity, ignore: Array | None
) -> Array:
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
    if polarity not in get_args(Polarity):
        raise ValueError(f'polarity must be "fixed" or "either", not {polarity!r}')

    counted = xp.ones_like(masks) if ignore is None else ~ignore

    def count(pixels: Array) -> Array:
        ones = xp.astype(pixels & counted, xp.uint8)
        return xp.astype(xp.sum(ones, axis=(1, 2), dtype=xp.int32), xp.float32)

    counts = _Counts(
        count(masks & truth), count(masks & ~truth), count(~masks & truth), count(~masks & ~truth)
    )
    score = metric(counts)
    if polarity == "fixed":
        return score
    both, mask, truth_alone, neither = counts
    return xp.maximum(score, metric(_Counts(truth_alone, neither, both, mask)))

"""Masks beside their ground truth: read, brought to one size, scored."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

from iem_xp.boxes import Box, fit_box, reaches_beyond
from iem_xp.evaluation.matching import Matching, Pair
from iem_xp.evaluation.scores import Score, score_mask
from iem_xp.images import ImageError, fit_truth, load_formats
from iem_xp.labels import FOREGROUND, IGNORED, Labels, Truth, read_labels, resize_labels, to_truth
from iem_xp.ordered import in_order

RESIZED = "mask resized to its truth"
DISTORTED = "mask and truth differ in aspect ratio"
BEYOND = "box reaches beyond its image"
"""Notes on a comparison; all but the first are reasons to doubt that mask and truth belong together."""


class Comparison(NamedTuple):
    """What came of a pair.

    Attributes
    ----------
    name : str
        Of the ground truth.
    score : Score, optional
        None if a file cannot be used.
    width, height : int, optional
        Size at which the two were compared, in pixels.
    notes : tuple of str
        What the user should know of it, one short phrase each.
    error : str, optional
        Why there is no score.
    """

    name: str
    score: Score | None = None
    width: int | None = None
    height: int | None = None
    notes: tuple[str, ...] = ()
    error: str | None = None


def compare(pair: Pair, crop: int | None = None, *, boundary: bool = False) -> Comparison:
    """Read a mask and its ground truth, and score it; a file that cannot be used gives an `error`.

    Parameters
    ----------
    pair : Pair
    crop : int, optional
        Side of the central square that the mask is of; see `Matching`.
    boundary : bool
        As for `score_mask`.

    Notes
    -----
    True masks are never resized, but cut to the central square as their images were; so are boxes. A mask of
    another size is brought to the truth's, or to its image's for a box, by nearest neighbour. Where the
    image's size is not known, it is the mask's.
    """
    try:
        return _compare(pair, crop, boundary)
    except ImageError as error:
        return Comparison(pair.name, error=str(error))


def compare_all(matching: Matching, workers: int, *, boundary: bool = False) -> Iterator[Comparison]:
    """Compare all pairs in their order, in threads; few of them are held at a time."""
    load_formats()
    score = partial(compare, crop=matching.crop, boundary=boundary)
    compared = in_order(score, matching.pairs, workers)
    return (comparison for _, comparison in compared)


def _compare(pair: Pair, crop: int | None, boundary: bool) -> Comparison:
    mask, of_image = _read_mask(pair.prediction.file), pair.prediction.shape
    truth: Truth | None = None
    box: Box | None = None
    notes = []
    if isinstance(pair.truth, Box):
        box = pair.truth
        height, width = of_image or mask.shape
        if reaches_beyond(box, height, width):
            notes.append(BEYOND)
        if crop is not None:
            box = fit_box(box, height, width, crop, "crop")
            height = width = crop
    else:
        labels = read_labels(pair.truth)
        if crop is not None:
            if of_image and not have_one_aspect(labels.shape, of_image):
                notes.append(DISTORTED)
            labels = fit_truth(labels, crop, "crop")
        truth = to_truth(labels)
        height, width = labels.shape
        if truth.ignored.all():
            raise ImageError(f"{pair.truth}: ignores every pixel, so nothing can be compared")
        if boundary and truth.ignored.any():
            raise ImageError(
                f"{pair.truth}: ignores pixels, where the true boundary may be; leave out --boundary"
            )
    if mask.shape != (height, width):
        notes.append(RESIZED)
        if not have_one_aspect(mask.shape, (height, width)):
            notes.append(DISTORTED)
        mask = resize_labels(mask, height, width)
    score = score_mask(mask == FOREGROUND, truth, box, boundary=boundary)
    return Comparison(pair.name, score, width, height, tuple(dict.fromkeys(notes)))


def _read_mask(file: str) -> Labels:
    mask = read_labels(file)
    if (mask == IGNORED).any():
        raise ImageError(
            f"{file}: has pixels of {IGNORED}, which only a truth may leave open; write masks as 255 "
            "foreground and 0 background"
        )
    return mask


def have_one_aspect(one: tuple[int, ...], other: tuple[int, ...]) -> bool:
    """Whether two shapes have one aspect ratio, but for a pixel's rounding of one of the four lengths."""
    return abs(one[0] * other[1] - one[1] * other[0]) <= max(*one, *other)
